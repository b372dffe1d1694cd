//! A whole model: the header of one file, or of all parts of a split one, and what must hold between them.

use crate::error::{Error, Kind, Result};
use crate::source::ByteSource;

use super::cursor::{Cursor, malformed, out_of_memory};
use super::metadata::{Metadata, sorted_unique};
use super::tensor::{MIN_INFO_BYTES, TensorInfo};

/// The alignment of tensors in a file that does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The largest alignment that is believed.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// The checked description of a GGUF file, or of all parts of a split one.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// The metadata; of a split file, that of its first part.
    pub metadata: Metadata,
    /// All tensors, in file order, part after part.
    pub tensors: Vec<TensorInfo>,
    /// The parts, in order; a file that is not split has one.
    pub parts: Vec<Part>,
    /// Numbers of the tensors, in the order of their names.
    by_name: Vec<u32>,
}

/// One file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Length of the file in bytes.
    pub len: u64,
    /// Where the tensor data begin; the header is everything before.
    pub data_start: u64,
    /// What the places of tensors are multiples of, counted from `data_start`.
    pub alignment: u64,
}

impl Gguf {
    /// Reads the header of a file that is not split. The data are not touched, but the file must be long enough
    /// to hold them.
    pub fn read(source: &dyn ByteSource) -> Result<Gguf> {
        Gguf::read_parts(&[source])
    }

    /// Reads the headers of all parts of a split file, in order; or of one file that is not split.
    pub fn read_parts(sources: &[&dyn ByteSource]) -> Result<Gguf> {
        let mut headers = Vec::new();
        for (i, &source) in sources.iter().enumerate() {
            let header = Header::read(source, i).and_then(|header| {
                header.check_split(i, sources.len())?;
                Ok(header)
            });
            headers.push(header.map_err(|error| match sources.len() {
                1 => error,
                n => error.at(format_args!("part {} of {n}", i + 1)),
            })?);
        }
        if headers.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "a model has at least one file, but none was given",
            ));
        }
        check_total(&headers)?;

        let parts = headers.iter().map(|header| header.part).collect();
        let mut headers = headers.into_iter();
        let Header {
            version,
            metadata,
            mut tensors,
            ..
        } = headers.next().expect("checked above");
        tensors.extend(headers.flat_map(|header| header.tensors));
        let by_name = sorted_unique(&tensors, |tensor| &tensor.name, "tensor")?;
        Ok(Gguf {
            version,
            metadata,
            tensors,
            parts,
            by_name,
        })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let found = self
            .by_name
            .binary_search_by(|&i| self.tensors[i as usize].name.as_str().cmp(name))
            .ok()?;
        Some(&self.tensors[self.by_name[found] as usize])
    }
}

/// The header of one file.
struct Header {
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    part: Part,
}

impl Header {
    fn read(source: &dyn ByteSource, part: usize) -> Result<Self> {
        let mut cursor = Cursor::new(source);
        check_magic(source)?;
        let _magic: [u8; 4] = cursor.array("the magic")?;
        let version = cursor.u32("the version")?;
        check_version(version)?;

        let tensor_count = cursor.u64("the number of tensors")?;
        let key_count = cursor.u64("the number of metadata keys")?;
        let metadata = Metadata::read(&mut cursor, key_count)?;
        check_is_model(&metadata)?;
        let alignment = alignment(&metadata)?;

        cursor.expect_records(tensor_count, MIN_INFO_BYTES, "tensors")?;
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            let tensor = TensorInfo::read(&mut cursor, part, alignment)?;
            tensors
                .try_reserve(1)
                .map_err(|_| out_of_memory(tensor_count, "tensors"))?;
            tensors.push(tensor);
        }

        let (header_end, len) = (cursor.position(), cursor.len());
        // A vocabulary without tensors ends where its header does: nothing to align.
        let data_start = if tensors.is_empty() {
            header_end
        } else {
            header_end.next_multiple_of(alignment)
        };
        place(&mut tensors, data_start, len)?;
        Ok(Header {
            version,
            metadata,
            tensors,
            part: Part {
                len,
                data_start,
                alignment,
            },
        })
    }

    /// Fails unless this file is part `i` of `n`.
    fn check_split(&self, i: usize, n: usize) -> Result<()> {
        // Files that were split and merged again say 0.
        let count = self.metadata.u64("split.count")?.unwrap_or(0).max(1);
        let number = self.metadata.u64("split.no")?.unwrap_or(0);
        if count != n as u64 {
            let what = match count {
                1 => "this file is not split".to_string(),
                _ => format!(
                    "this file is part {} of a model in {count} files",
                    number.saturating_add(1)
                ),
            };
            return Err(wrong_parts(format!(
                "{what}, but {n} were given; give all parts, in order"
            )));
        }
        if count > 1 && number != i as u64 {
            return Err(wrong_parts(format!(
                "this file is part {} of {count}, but was given as part {}; give all parts, in order",
                number.saturating_add(1),
                i + 1
            )));
        }
        Ok(())
    }
}

/// Fails if a part names a total number of tensors, and the parts do not have that many.
fn check_total(headers: &[Header]) -> Result<()> {
    let found: u64 = headers.iter().map(|header| header.tensors.len() as u64).sum();
    for header in headers.iter().filter(|_| headers.len() > 1) {
        match header.metadata.u64("split.tensors.count")? {
            Some(total) if total != found => {
                return Err(malformed(format!(
                    "the parts have {found} tensors together, but split.tensors.count says {total}"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Turns the tensors' offsets into places in the file. They must lie inside it, and apart.
fn place(tensors: &mut [TensorInfo], data_start: u64, len: u64) -> Result<()> {
    let mut last: Option<(u64, &str)> = None;
    for tensor in tensors.iter_mut() {
        let start = data_start.checked_add(tensor.offset);
        let (Some(start), Some(end)) = (start, start.and_then(|start| start.checked_add(tensor.bytes)))
        else {
            let (name, offset) = (&tensor.name, tensor.offset);
            return Err(malformed(format!(
                "tensor {name:?} has the data offset {offset}, which is absurd"
            )));
        };
        tensor.offset = start;
        if last.is_none_or(|(furthest, _)| end > furthest) {
            last = Some((end, &tensor.name));
        }
    }
    if let Some((end, name)) = last.filter(|&(end, _)| end > len) {
        let missing = end - len;
        return Err(malformed(format!(
            "tensor {name:?} ends at {end}, but the file has {len} bytes: {missing} bytes are missing; \
             it was cut off, or is damaged"
        )));
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if a.offset + a.bytes > b.offset {
            return Err(malformed(format!(
                "tensors {:?} and {:?} overlap at {}",
                a.name, b.name, b.offset
            )));
        }
    }
    Ok(())
}

/// The alignment of the tensor data.
fn alignment(metadata: &Metadata) -> Result<u64> {
    let alignment = metadata.u64("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        return Ok(alignment);
    }
    Err(malformed(format!(
        "general.alignment should be a power of two up to {MAX_ALIGNMENT}, but is {alignment}"
    )))
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        1 => Err(malformed(
            "this is a GGUF file of version 1, of 2023, which is not supported; convert the model again"
                .into(),
        )),
        _ if version & 0xFFFF == 0 && version != 0 => Err(malformed(format!(
            "this GGUF file is big-endian (its version reads {version:#010x}), which is not supported; \
             convert the model for a little-endian machine"
        ))),
        _ => Err(malformed(format!(
            "this GGUF file has version {version}; versions 2 and 3 are supported"
        ))),
    }
}

/// Some GGUF files are not models: say so, instead of missing their tensors later.
fn check_is_model(metadata: &Metadata) -> Result<()> {
    match metadata.str("general.type")? {
        Some("adapter") => Err(wrong_parts(
            "this file is a LoRA adapter, not a model; give the model it was made for".into(),
        )),
        Some("imatrix") => Err(wrong_parts(
            "this file is an importance matrix for quantising, not a model".into(),
        )),
        _ => Ok(()),
    }
}

/// The right format, but not what was asked for.
fn wrong_parts(message: String) -> Error {
    Error::new(Kind::InvalidArgument, message)
}

/// Fails unless the file begins with "GGUF"; says what it looks like instead.
fn check_magic(source: &dyn ByteSource) -> Result<()> {
    let mut start = [0; 64];
    let start = &mut start[..source.len().min(64) as usize];
    source.read_at(0, start)?;
    if start.starts_with(b"GGUF") {
        return Ok(());
    }
    if !start.is_empty() && b"GGUF".starts_with(start) {
        return Err(malformed(format!(
            "the file ends after {} bytes: it was cut off",
            start.len()
        )));
    }
    let text = start.trim_ascii_start().to_ascii_lowercase();
    let looks = if start.is_empty() {
        "it is empty".to_string()
    } else if text.starts_with(b"<") {
        "it looks like an HTML page: check the address, and that no login is needed".into()
    } else if text.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer, which stands for the file: download the file itself".into()
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        "it looks like JSON: check the address".into()
    } else if start.starts_with(b"PK\x03\x04") {
        "it is a ZIP archive (a PyTorch model?): convert the model to GGUF".into()
    } else if start.starts_with(&[0x1F, 0x8B]) {
        "it is compressed with gzip: unpack it".into()
    } else if start.get(8..10) == Some(b"{\"") {
        "it looks like a safetensors file: convert the model to GGUF".into()
    } else if [b"lmgg", b"fmgg", b"tjgg", b"algg"]
        .into_iter()
        .any(|magic| start.starts_with(magic))
    {
        "it is a model in a format older than GGUF: convert it again".into()
    } else {
        format!(
            "it begins with \"{}\"",
            start[..start.len().min(16)].escape_ascii()
        )
    };
    Err(Error::new(
        Kind::NotAGguf,
        format!("this is not a GGUF file; {looks}"),
    ))
}
