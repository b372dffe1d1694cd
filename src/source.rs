//! Where bytes come from: a length and "read at offset". A file, a slice, browser storage.

mod checked;

use crate::error::{Error, Kind, Result};

pub use checked::{BLOCK, Checked, Digest, block_sum};

/// Random access to the bytes of one file. Reading is synchronous: the browser's storage offers that in workers.
pub trait ByteSource {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// True if there is not a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes that begin at `offset`; [`Kind::Integrity`] if they are not all there.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()>;
}

impl ByteSource for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(into.len())?))
            .ok_or_else(|| beyond_end(offset, into.len(), ByteSource::len(self)))?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}

impl ByteSource for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.as_slice().read_at(offset, into)
    }
}

#[cfg(unix)]
impl ByteSource for std::fs::File {
    fn len(&self) -> u64 {
        self.metadata().map(|m| m.len()).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        self.read_exact_at(into, offset).map_err(|e| {
            Error::new(
                Kind::Integrity,
                format!("reading {} bytes at {offset}: {e}", into.len()),
            )
        })
    }
}

/// Where there is no positioned read: seek, then read. The cursor is the file's own, so one reader at a time.
#[cfg(not(unix))]
impl ByteSource for std::fs::File {
    fn len(&self) -> u64 {
        self.metadata().map(|m| m.len()).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(into))
            .map_err(|e| {
                Error::new(
                    Kind::Integrity,
                    format!("reading {} bytes at {offset}: {e}", into.len()),
                )
            })
    }
}

fn beyond_end(offset: u64, wanted: usize, len: u64) -> Error {
    Error::new(
        Kind::Integrity,
        format!("{wanted} bytes wanted at offset {offset}, but the file has {len} bytes"),
    )
}
