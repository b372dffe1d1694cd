//! One tensor of a file: what it is called, what it looks like, where it is.

use crate::error::{Error, Kind, Result};
use crate::quant::Type;

use super::cursor::{Cursor, malformed};

/// The least that one tensor takes in the header: a name of one byte, no dimensions, type and offset.
pub(super) const MIN_INFO_BYTES: u64 = 8 + 1 + 4 + 4 + 8;

/// The longest name that the format allows.
const MAX_NAME: usize = 64;

/// The most dimensions that the format allows.
const MAX_DIMS: u32 = 4;

/// A tensor that lies inside its file: sizes and places have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, unique over all parts.
    pub name: String,
    /// The type of its values.
    pub ty: Type,
    /// One to four dimensions, none of them zero, the contiguous one first: row length, rows, ...
    pub dims: Vec<u64>,
    /// Number of the part that holds it, 0 unless the file is split.
    pub part: usize,
    /// Where in that part its bytes begin, counted from the beginning of the file.
    pub offset: u64,
    /// How many bytes it takes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Length of a row: the first dimension.
    pub fn cols(&self) -> u64 {
        self.dims[0]
    }

    /// Number of rows: the product of the other dimensions.
    pub fn rows(&self) -> u64 {
        self.dims[1..].iter().product()
    }

    /// The next tensor of the header. Its `offset` still counts from the beginning of the data.
    pub(super) fn read(cursor: &mut Cursor<'_>, part: usize, alignment: u64) -> Result<Self> {
        let name = cursor.name(MAX_NAME, "a tensor name")?;
        let what = format!("tensor {name:?}");

        let n_dims = cursor.u32(&what)?;
        if n_dims > MAX_DIMS {
            return Err(malformed(format!(
                "{what} has {n_dims} dimensions; at most {MAX_DIMS} are allowed"
            )));
        }
        let mut dims = Vec::with_capacity(MAX_DIMS as usize);
        for _ in 0..n_dims {
            dims.push(cursor.u64(&what)?);
        }
        if dims.is_empty() {
            dims.push(1); // a single number
        }

        let id = cursor.u32(&what)?;
        let ty = Type::from_id(id).ok_or_else(|| unknown_type(&what, id))?;
        let bytes = checked_bytes(&what, ty, &dims)?;

        let offset = cursor.u64(&what)?;
        if !offset.is_multiple_of(alignment) {
            return Err(malformed(format!(
                "{what} begins at data offset {offset}, which is not aligned to {alignment}"
            )));
        }
        Ok(TensorInfo {
            name,
            ty,
            dims,
            part,
            offset,
            bytes,
        })
    }
}

/// How many bytes a tensor of this type and shape takes.
fn checked_bytes(what: &str, ty: Type, dims: &[u64]) -> Result<u64> {
    if dims.contains(&0) {
        return Err(malformed(format!("{what} has a dimension of zero: {dims:?}")));
    }
    // Both products stay within i64, as ggml demands of them.
    let within = |n: u64| i64::try_from(n).is_ok();
    let values = dims
        .iter()
        .try_fold(1u64, |product, &n| product.checked_mul(n).filter(|&n| within(n)));
    if values.is_none() {
        return Err(malformed(format!(
            "{what} has more values than can be counted: {dims:?}"
        )));
    }
    let cols = dims[0];
    if !cols.is_multiple_of(ty.block_len() as u64) {
        return Err(malformed(format!(
            "{what} has rows of {cols} values, which is not a whole number of {} blocks of {}",
            ty.name(),
            ty.block_len()
        )));
    }
    let rows = dims[1..].iter().product();
    ty.row_bytes(cols)
        .and_then(|row: u64| row.checked_mul(rows))
        .filter(|&bytes| within(bytes))
        .ok_or_else(|| {
            malformed(format!(
                "{what} has more bytes than can be counted: {dims:?} of {}",
                ty.name()
            ))
        })
}

/// What to say about a type that is not in the table.
fn unknown_type(what: &str, id: u32) -> Error {
    let why = match id {
        4 | 5 => "Q4_2 and Q4_3 were given up in 2023; quantise the model again",
        31..=33 => "Q4_0_4_4, Q4_0_4_8 and Q4_0_8_8 were given up in 2024; use a Q4_0 file",
        36..=38 => "IQ4_NL_4_4, IQ4_NL_4_8 and IQ4_NL_8_8 were given up in 2024; use an IQ4_NL file",
        _ => "it may be newer than this engine",
    };
    Error::new(
        Kind::UnsupportedQuantization,
        format!("{what} has type {id}, which is not supported: {why}"),
    )
}
