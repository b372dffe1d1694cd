//! A matrix of weights in the layout that its kernel reads, and the product with a batch of activations.

use crate::error::{Error, Kind, Result};
use crate::kernels::activations::{Activations, Form, filled};
use crate::kernels::simd::float;
use crate::quant::{self, Type};

/// `rows × cols` weights, in the precision of their file.
pub struct Matrix {
    ty: Type,
    rows: usize,
    cols: usize,
    weights: Weights,
}

/// The weights, by layout.
enum Weights {
    /// Row by row, each filled up with zeros to a multiple of four.
    F32(Vec<f32>),
    /// Row by row as 16 bits, filled up likewise. `special`: infinity or NaN is among them.
    F16 { bits: Vec<i16>, special: bool },
    /// Row by row: the upper 16 bits of floats, filled up likewise.
    Bf16(Vec<i16>),
    /// The blocks of the file, for formats without a kernel of their own.
    Raw(Vec<u8>),
}

impl Matrix {
    /// A matrix of zeros. `cols` must be whole blocks of the type.
    pub fn new(ty: Type, rows: usize, cols: usize) -> Result<Matrix> {
        let row_bytes = ty.row_bytes(cols as u64).filter(|_| cols > 0).ok_or_else(|| {
            let (name, len) = (ty.name(), ty.block_len());
            Error::new(
                Kind::MalformedFile,
                format!("{name} has blocks of {len} values: a row of {cols} values cannot be"),
            )
        })?;
        let no_room = || {
            let name = ty.name();
            Error::new(
                Kind::OutOfMemory,
                format!("no memory for {rows} x {cols} weights as {name}; more shards would share the model"),
            )
        };
        let in_fours = rows.checked_mul(cols.next_multiple_of(4)).ok_or_else(no_room)?;
        let weights = match ty {
            Type::F32 => filled(in_fours, 0.0).map(Weights::F32),
            Type::F16 => filled(in_fours, 0).map(|bits| Weights::F16 { bits, special: false }),
            Type::Bf16 => filled(in_fours, 0).map(Weights::Bf16),
            _ => {
                let bytes = row_bytes
                    .checked_mul(rows as u64)
                    .and_then(|bytes| usize::try_from(bytes).ok());
                filled(bytes.ok_or_else(no_room)?, 0).map(Weights::Raw)
            }
        };
        Ok(Matrix {
            ty,
            rows,
            cols,
            weights: weights.map_err(|_| no_room())?,
        })
    }

    /// How many rows of this type are interleaved with one another.
    pub fn group_rows(_ty: Type) -> usize {
        1
    }

    /// Takes rows as they are in the file, from row `first` on, which is a multiple of [`Matrix::group_rows`].
    pub fn put_rows(&mut self, first: usize, raw: &[u8]) -> Result<()> {
        let row_bytes = self.row_bytes();
        let count = raw.len() / row_bytes;
        let whole = raw.len().is_multiple_of(row_bytes) && first.is_multiple_of(Matrix::group_rows(self.ty));
        if !whole || first.checked_add(count).is_none_or(|end| end > self.rows) {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "{} bytes from row {first} on: a row of this matrix has {row_bytes} bytes, and it has {} rows",
                    raw.len(),
                    self.rows
                ),
            ));
        }
        let stride = self.cols.next_multiple_of(4);
        let values = first * stride..(first + count) * stride;
        match &mut self.weights {
            Weights::F32(weights) => {
                put_values(&mut weights[values], stride, raw, row_bytes, f32::from_le_bytes);
            }
            Weights::F16 { bits, special } => {
                put_values(
                    &mut bits[values.clone()],
                    stride,
                    raw,
                    row_bytes,
                    i16::from_le_bytes,
                );
                *special |= bits[values].iter().any(|bits| bits & 0x7c00 == 0x7c00);
            }
            Weights::Bf16(bits) => {
                put_values(&mut bits[values], stride, raw, row_bytes, i16::from_le_bytes);
            }
            Weights::Raw(blocks) => blocks[first * row_bytes..][..raw.len()].copy_from_slice(raw),
        }
        Ok(())
    }

    /// How many rows there are: the length of a result.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many values a row has: the length of an input.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The type of the weights in the file.
    pub fn ty(&self) -> Type {
        self.ty
    }

    /// The bytes that the weights take in memory.
    pub fn bytes(&self) -> usize {
        match &self.weights {
            Weights::F32(weights) => size_of_val(&weights[..]),
            Weights::F16 { bits, .. } | Weights::Bf16(bits) => size_of_val(&bits[..]),
            Weights::Raw(blocks) => blocks.len(),
        }
    }

    /// The form of the activations that this matrix is multiplied with.
    pub fn input(&self) -> Form {
        Form::F32
    }

    /// The values of one row, exactly as [`quant::dequantize`] gives them.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        self.unfold(row, 0, &mut out[..self.cols]);
    }

    /// Values of a row from `k` on, which is the begin of a block, as many as `out` takes, which are whole blocks.
    fn unfold(&self, row: usize, k: usize, out: &mut [f32]) {
        let start = row * self.cols.next_multiple_of(4) + k;
        match &self.weights {
            Weights::F32(weights) => out.copy_from_slice(&weights[start..][..out.len()]),
            Weights::F16 { bits, .. } => {
                let bits = &bits[start..][..out.len().next_multiple_of(4)];
                unfold_fours(bits, out, float::four_f16_special);
            }
            Weights::Bf16(bits) => {
                unfold_fours(
                    &bits[start..][..out.len().next_multiple_of(4)],
                    out,
                    float::four_bf16,
                );
            }
            Weights::Raw(blocks) => {
                let (block_len, block_bytes) = (self.ty.block_len(), self.ty.block_bytes());
                let from = row * self.row_bytes() + k / block_len * block_bytes;
                let raw = &blocks[from..][..out.len() / block_len * block_bytes];
                quant::dequantize(self.ty, raw, out).expect("whole blocks, as the caller promised");
            }
        }
    }

    /// Bytes of a row in the file. No overflow: the weights have been allocated.
    fn row_bytes(&self) -> usize {
        self.cols / self.ty.block_len() * self.ty.block_bytes()
    }
}

/// Copies rows of little-endian numbers, with room for `stride` of them each.
fn put_values<T, const BYTES: usize>(
    to: &mut [T],
    stride: usize,
    raw: &[u8],
    row_bytes: usize,
    read: impl Fn([u8; BYTES]) -> T,
) {
    for (to, raw) in to.chunks_exact_mut(stride).zip(raw.chunks_exact(row_bytes)) {
        to.iter_mut()
            .zip(raw.as_chunks().0)
            .for_each(|(to, &bytes)| *to = read(bytes));
    }
}

/// Writes `bits`, filled up to whole fours, as floats.
fn unfold_fours(bits: &[i16], out: &mut [f32], four: impl Fn(&[i16; 4]) -> crate::kernels::lanes::V128) {
    for (bits, out) in bits.as_chunks().0.iter().zip(out.chunks_mut(4)) {
        out.copy_from_slice(&crate::kernels::lanes::f32x4_lanes(four(bits))[..out.len()]);
    }
}

/// `out[t * stride + r]` is the sum over `k` of `w[r][k] * x[t][k]`, for all rows `r` of the matrix and all tokens `t` of the
/// batch, which was prepared in the form that the matrix asks for.
pub fn multiply(matrix: &Matrix, x: &Activations, out: &mut [f32], stride: usize) {
    assert!(
        x.cols() == matrix.cols,
        "{} values times a matrix of {} columns",
        x.cols(),
        matrix.cols
    );
    assert!(
        stride >= matrix.rows,
        "results of {} rows, {stride} apart",
        matrix.rows
    );
    let width = matrix.cols.next_multiple_of(4);
    if x.tokens() == 1 {
        let (x, out) = (x.row(0), &mut out[..matrix.rows]);
        match &matrix.weights {
            Weights::F32(weights) => return float::vector(weights, width, x, out, float::four_f32),
            Weights::F16 { bits, special: false } => {
                return float::vector(bits, width, x, out, float::four_f16);
            }
            Weights::Bf16(bits) => return float::vector(bits, width, x, out, float::four_bf16),
            Weights::F16 { .. } | Weights::Raw(_) => {}
        }
    }
    float::batch(matrix.rows, matrix.cols, x.rows(), out, stride, &|row, k, out| {
        matrix.unfold(row, k, out)
    });
}
