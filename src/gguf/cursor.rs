//! Reading a header front to back: buffered, bounds-checked, and never trusting a length.

use crate::error::{Error, Kind, Result};
use crate::source::ByteSource;

/// How many bytes are fetched at a time. Headers are small beside the data, so little is read past their end.
const CHUNK: u64 = 64 * 1024;

/// The largest header that is read. That of a model with a vocabulary of 262,144 tokens takes about 16 MiB; the
/// limit keeps a hostile file from filling a 32-bit memory with metadata.
const MAX_HEADER: u64 = 128 * 1024 * 1024;

/// The longest single string. A chat template takes a few tens of KiB.
const MAX_STRING: u64 = 64 * 1024 * 1024;

/// A position in the header of one file.
pub(super) struct Cursor<'a> {
    source: &'a dyn ByteSource,
    len: u64,
    /// Bytes fetched, of which those from `used` on have not been handed out.
    chunk: Vec<u8>,
    used: usize,
    /// Where in the file the first byte after `chunk` is.
    next: u64,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `source`.
    pub(super) fn new(source: &'a dyn ByteSource) -> Self {
        Cursor {
            source,
            len: source.len(),
            chunk: Vec::new(),
            used: 0,
            next: 0,
        }
    }

    /// Length of the whole file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How far into the file the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.next - (self.chunk.len() - self.used) as u64
    }

    /// Fails unless `wanted` more bytes are there.
    pub(super) fn expect(&self, wanted: u64, what: &str) -> Result<()> {
        let at = self.position();
        let left = self.len - at;
        if wanted > left {
            let missing = wanted - left;
            return Err(malformed(format!(
                "{what} at offset {at} takes {wanted} bytes, but the file ends {missing} bytes too early: \
                 it was cut off, or is damaged"
            )));
        }
        if wanted > MAX_HEADER - at.min(MAX_HEADER) {
            return Err(malformed(format!(
                "{what} at offset {at} takes {wanted} bytes; headers of more than {MAX_HEADER} bytes are not read"
            )));
        }
        Ok(())
    }

    /// Fails unless the file can hold `count` records of at least `size` bytes each.
    pub(super) fn expect_records(&self, count: u64, size: u64, what: &str) -> Result<()> {
        match count.checked_mul(size) {
            Some(bytes) => self.expect(bytes, &format!("{count} {what}")),
            None => Err(malformed(format!(
                "{count} {what} cannot be in a file of {} bytes",
                self.len
            ))),
        }
    }

    /// Fills `into` with the next bytes.
    fn fill(&mut self, mut into: &mut [u8], what: &str) -> Result<()> {
        self.expect(into.len() as u64, what)?;
        while !into.is_empty() {
            if self.used == self.chunk.len() {
                let wanted = CHUNK.min(self.len - self.next);
                self.chunk.resize(wanted as usize, 0);
                self.source.read_at(self.next, &mut self.chunk)?;
                self.next += wanted;
                self.used = 0;
            }
            let n = into.len().min(self.chunk.len() - self.used);
            let (now, later) = into.split_at_mut(n);
            now.copy_from_slice(&self.chunk[self.used..self.used + n]);
            self.used += n;
            into = later;
        }
        Ok(())
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// The next number, as u32.
    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// The next number, as u64.
    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Appends the next `count` bytes to `arena`.
    pub(super) fn append(&mut self, arena: &mut Vec<u8>, count: u64, what: &str) -> Result<()> {
        self.expect(count, what)?;
        let (start, count) = (arena.len(), count as usize);
        arena
            .try_reserve(count)
            .map_err(|_| out_of_memory(count as u64, what))?;
        arena.resize(start + count, 0);
        self.fill(&mut arena[start..], what)
    }

    /// Appends the next string to `arena`.
    pub(super) fn append_string(&mut self, arena: &mut Vec<u8>, what: &str) -> Result<()> {
        let len = self.u64(what)?;
        if len > MAX_STRING {
            return Err(malformed(format!(
                "{what} is {len} bytes long; more than {MAX_STRING} are not read"
            )));
        }
        self.append(arena, len, what)
    }

    /// The next string.
    pub(super) fn string(&mut self, what: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append_string(&mut bytes, what)?;
        Ok(bytes)
    }

    /// The next string, which names something: UTF-8, not empty, at most `max` bytes.
    pub(super) fn name(&mut self, max: usize, what: &str) -> Result<String> {
        let at = self.position();
        let bytes = self.string(what)?;
        if bytes.is_empty() {
            return Err(malformed(format!("{what} at offset {at} is empty")));
        }
        if bytes.len() > max {
            let len = bytes.len();
            return Err(malformed(format!(
                "{what} at offset {at} has {len} bytes; at most {max} are allowed"
            )));
        }
        String::from_utf8(bytes).map_err(|_| malformed(format!("{what} at offset {at} is not UTF-8")))
    }

    /// The next `count` numbers of `N` bytes each, made by `number`.
    pub(super) fn numbers<T, const N: usize>(
        &mut self,
        count: u64,
        what: &str,
        number: fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        self.expect_records(count, N as u64, what)?;
        let mut numbers = Vec::new();
        numbers
            .try_reserve_exact(count as usize)
            .map_err(|_| out_of_memory(count * N as u64, what))?;
        for _ in 0..count {
            numbers.push(number(self.array(what)?));
        }
        Ok(numbers)
    }
}

/// An error of kind [`Kind::MalformedFile`].
pub(super) fn malformed(message: String) -> Error {
    Error::new(Kind::MalformedFile, message)
}

/// Memory for `bytes` bytes of header was refused.
pub(super) fn out_of_memory(bytes: u64, what: &str) -> Error {
    Error::new(
        Kind::OutOfMemory,
        format!("no memory for {bytes} bytes of {what}"),
    )
}
