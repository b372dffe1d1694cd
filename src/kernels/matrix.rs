//! A matrix of weights in the layout that its kernel reads, and the product with a batch of activations.

use crate::error::{Error, Kind, Result};
use crate::kernels::activations::{Activations, Dot, Form};
use crate::kernels::layout::{self, Layout};
use crate::quant::Type;

/// `rows × cols` weights, in the precision of their file.
pub struct Matrix {
    ty: Type,
    rows: usize,
    cols: usize,
    weights: Box<dyn Layout>,
}

impl Matrix {
    /// Room for a matrix, whose rows are then [put](Matrix::put_rows). `cols` must be whole blocks of the type.
    pub fn new(ty: Type, rows: usize, cols: usize) -> Result<Matrix> {
        if cols == 0 || !cols.is_multiple_of(ty.block_len()) {
            let (name, len) = (ty.name(), ty.block_len());
            let message = format!("{name} has blocks of {len} values: a row of {cols} values cannot be");
            return Err(Error::new(Kind::MalformedFile, message));
        }
        Ok(Matrix {
            ty,
            rows,
            cols,
            weights: layout::new(ty, rows, cols)?,
        })
    }

    /// The bytes that a matrix would take in memory, without making it.
    pub fn bytes_of(ty: Type, rows: usize, cols: usize) -> u64 {
        layout::bytes(ty, rows, cols)
    }

    /// How many rows of this type are interleaved with one another.
    pub fn group_rows(ty: Type) -> usize {
        layout::group_rows(ty)
    }

    /// Takes rows as they are in the file, from row `first` on. They may come in any order and any pieces; the last one must have
    /// come before there are products.
    pub fn put_rows(&mut self, first: usize, raw: &[u8]) -> Result<()> {
        let row_bytes = self.cols / self.ty.block_len() * self.ty.block_bytes();
        let count = raw.len() / row_bytes;
        let whole = raw.len().is_multiple_of(row_bytes);
        if !whole || first.checked_add(count).is_none_or(|end| end > self.rows) {
            let (bytes, rows) = (raw.len(), self.rows);
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "{bytes} bytes from row {first} on: a row has {row_bytes} bytes, and there are {rows} rows"
                ),
            ));
        }
        self.weights.put_rows(first, raw);
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
        self.weights.bytes()
    }

    /// The form of the activations that this matrix is multiplied with.
    pub fn input(&self) -> Form {
        self.forms()[0]
    }

    /// The form to multiply it with where `asked` is wanted: that one or, if it is for the same instruction, its like; the
    /// matrix's own if there is no kernel for either.
    pub fn form_for(&self, asked: Option<Form>) -> Form {
        let like = match asked {
            Some(Form::I8(Dot::Fours)) => Some(Form::Planes),
            other => other,
        };
        [asked, like]
            .into_iter()
            .flatten()
            .find(|form| self.forms().contains(form))
            .unwrap_or(self.input())
    }

    /// All forms that it can be multiplied with, the best of this build first.
    pub fn forms(&self) -> &'static [Form] {
        self.weights.forms()
    }

    /// The values of one row, exactly as [`crate::quant::dequantize`] gives them.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        self.weights.row(row, &mut out[..self.cols]);
    }
}

/// `out[t * stride + r]` is the sum over `k` of `w[r][k] * x[t][k]`, for all rows `r` of the matrix and all tokens `t` of the
/// batch, which was prepared in the form that the matrix asks for.
pub fn multiply(matrix: &Matrix, x: &Activations, out: &mut [f32], stride: usize) {
    multiply_as(matrix, x, matrix.input(), out, stride);
}

/// [`multiply`] with activations in another of the matrix's forms.
pub fn multiply_as(matrix: &Matrix, x: &Activations, form: Form, out: &mut [f32], stride: usize) {
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
    assert!(
        matrix.forms().contains(&form),
        "{} has no kernel for {form:?}",
        matrix.ty.name()
    );
    if matrix.rows > 0 && x.tokens() > 0 {
        matrix.weights.multiply(x, form, out, stride);
    }
}

/// `out[i]` is the product of row `rows[i]`, which ascend, with the only token of the batch, which was prepared in `form`: the
/// same bits as [`multiply_as`] gives. Rows that are interleaved with a wanted one are computed along with it.
pub fn multiply_rows(matrix: &Matrix, x: &Activations, form: Form, rows: &[usize], out: &mut [f32]) {
    assert!(
        x.cols() == matrix.cols && x.tokens() == 1,
        "one token of {} values",
        matrix.cols
    );
    assert!(
        out.len() == rows.len(),
        "{} results of {} rows",
        out.len(),
        rows.len()
    );
    assert!(
        matrix.forms().contains(&form),
        "{} has no kernel for {form:?}",
        matrix.ty.name()
    );
    assert!(
        rows.is_sorted() && rows.last().is_none_or(|last| *last < matrix.rows),
        "rows of a matrix that has {}",
        matrix.rows
    );
    matrix.weights.multiply_rows(x, form, rows, out);
}
