//! A batch of token vectors, in the forms that kernels read.

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::kernels::lanes;
use crate::kernels::simd::quantise;

/// A form of the activations: what a matrix multiplies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are, opposite float weights and the formats without a fast path.
    F32,
    /// Eight bits, a scale per 32 values: opposite a dot product of bytes.
    I8(Dot),
    /// Twelve bits, a scale per 256 values: opposite the 16-bit dot product that every browser has.
    I16,
    /// The same twelve bits in two planes of bytes without sign: opposite a dot product of fours of bytes with a sign.
    Planes,
}

impl Form {
    /// The best of this build for the formats of up to six bits, if nothing was timed.
    pub fn of_this_build() -> Form {
        if lanes::RELAXED {
            Form::I8(Dot::Pairs)
        } else {
            Form::I16
        }
    }
}

/// The dot product of bytes of which relaxed SIMD has two. Both give the same bits; which is faster is the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dot {
    /// Pairs, summed in 16 bits: `i16x8_relaxed_dot_i8x16_i7x16_s`. Two instructions on x86 of any age.
    Pairs,
    /// Fours, summed in 32 bits: `i32x4_relaxed_dot_i8x16_i7x16_add_s`. One instruction with AVX-VNNI and with Arm's SDOT, five
    /// elsewhere.
    Fours,
}

/// 32 activations as bytes. What formats with an offset subtract is here as well, split over the lanes of 16 bits in which
/// the kernels sum, so that a sum can start there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Block8 {
    /// `round(x / scale)`, within ±127.
    pub codes: [i8; 32],
    /// The largest magnitude / 127, or / 126 where that brings the codes closer to the values: 8 % less squared error
    /// on normally distributed values, for a block of 32 has few values and luck decides.
    pub scale: f32,
    /// What the values add up to: the sum of the codes, times the scale.
    pub sum: f32,
    /// -4 times the sum of the codes, twice: Q4_0, whose weights are code - 8.
    pub minus_4: [i16; 2],
    /// -8 times the sum of each half of the codes, twice each: Q5_0, whose weights are code - 16.
    pub minus_8: [[i16; 2]; 2],
    /// -16 times the sum of each half of the codes, twice each: Q6_K, whose weights are code - 32.
    pub minus_16: [[i16; 2]; 2],
}

/// 256 activations in eight blocks. A vector that ends inside has zeros there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Super8 {
    /// The values.
    pub blocks: [Block8; 8],
    /// What each block's values add up to, for the formats with minimums.
    pub sums: Sums,
}

/// 32 activations as sixteen-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Block16 {
    /// `round(x / scale)`, within ±2047; each four values in the order 0, 2, 1, 3, which is how four bytes of weights come
    /// apart into even and odd ones.
    pub codes: [[i16; 2]; 16],
    /// The largest magnitude of the 256 values / 2047.
    pub scale: f32,
    /// What the values add up to: the sum of the codes, times the scale.
    pub sum: f32,
    /// -8 times the sum of the codes: Q4_0, whose weights are code - 8.
    pub minus_8: i32,
    /// -16 times the sum of the codes: Q5_0, whose weights are code - 16.
    pub minus_16: i32,
    /// -32 times the sum of each half of the codes: Q6_K, whose weights are code - 32.
    pub minus_32: [i32; 2],
}

/// 256 activations in eight blocks with one scale. A vector that ends inside has zeros there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Super16 {
    /// The values.
    pub blocks: [Block16; 8],
    /// What each block's values add up to, for the formats with minimums.
    pub sums: Sums,
}

/// 32 activations of [`Block16`] as two planes of bytes: `code = 128 * (high - 16) + low`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct BlockPlanes {
    /// Bits 0 to 6.
    pub low: [u8; 32],
    /// The bits above, plus 16: at most 31.
    pub high: [u8; 32],
    /// The scale of [`Block16`].
    pub scale: f32,
}

/// 256 activations in eight blocks with one scale. A vector that ends inside has zeros there.
pub type SuperPlanes = [BlockPlanes; 8];

/// The sums of eight blocks as sixteen-bit numbers: block `j` adds up to `-codes[j] * minus_scale`, within 1/65534 of the
/// largest of the eight.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Sums {
    /// The sums.
    pub codes: [i16; 8],
    /// Their scale, negative: minimums are subtracted.
    pub minus_scale: f32,
}

impl Block8 {
    /// Nothing but zeros.
    pub const ZERO: Block8 = Block8 {
        codes: [0; 32],
        scale: 0.0,
        sum: 0.0,
        minus_4: [0; 2],
        minus_8: [[0; 2]; 2],
        minus_16: [[0; 2]; 2],
    };
}

impl Super8 {
    /// Nothing but zeros.
    pub const ZERO: Super8 = Super8 {
        blocks: [Block8::ZERO; 8],
        sums: Sums::ZERO,
    };
}

impl Block16 {
    /// Nothing but zeros.
    pub const ZERO: Block16 = Block16 {
        codes: [[0; 2]; 16],
        scale: 0.0,
        sum: 0.0,
        minus_8: 0,
        minus_16: 0,
        minus_32: [0; 2],
    };

    /// The codes in the order of the values.
    pub fn values(&self) -> [i32; 32] {
        std::array::from_fn(|k| self.codes[k / 4 * 2 + k % 2][k % 4 / 2].into())
    }
}

impl Super16 {
    /// Nothing but zeros.
    pub const ZERO: Super16 = Super16 {
        blocks: [Block16::ZERO; 8],
        sums: Sums::ZERO,
    };
}

impl BlockPlanes {
    /// Nothing but zeros.
    pub const ZERO: BlockPlanes = BlockPlanes {
        low: [0; 32],
        high: [16; 32],
        scale: 0.0,
    };
}

impl Sums {
    /// Nothing but zeros.
    pub const ZERO: Sums = Sums {
        codes: [0; 8],
        minus_scale: 0.0,
    };
}

/// A batch of token vectors. The buffers are allocated once, for the largest batch and the longest vector; that of an integer form
/// when it is first asked for, as no model asks for all.
///
/// Use: [`fill`](Activations::fill) with the form that the first matrix asks for, or [`begin`](Activations::begin) and write the rows; then
/// [`prepare`](Activations::prepare) the form that each matrix asks for, and multiply.
#[derive(Debug, PartialEq)]
pub struct Activations {
    max_tokens: usize,
    max_cols: usize,
    tokens: usize,
    cols: usize,
    rows: Vec<f32>,
    supers8: Vec<Super8>,
    supers16: Vec<Super16>,
    planes: Vec<SuperPlanes>,
    ready8: bool,
    ready16: bool,
    ready_planes: bool,
}

impl Activations {
    /// Room for batches of up to `max_tokens` vectors of up to `max_cols` values.
    pub fn new(max_tokens: usize, max_cols: usize) -> Result<Self> {
        let values = max_tokens
            .checked_mul(max_cols)
            .ok_or_else(|| too_large(max_tokens, max_cols))?;
        let room = |_| too_large(max_tokens, max_cols);
        Ok(Activations {
            max_tokens,
            max_cols,
            tokens: 0,
            cols: 0,
            rows: filled(values, 0.0).map_err(room)?,
            supers8: Vec::new(),
            supers16: Vec::new(),
            planes: Vec::new(),
            ready8: false,
            ready16: false,
            ready_planes: false,
        })
    }

    /// Starts a batch of `tokens` vectors of `cols` values. What the rows hold is left over from before.
    pub fn begin(&mut self, tokens: usize, cols: usize) {
        assert!(
            tokens <= self.max_tokens && cols <= self.max_cols,
            "a batch of {tokens} x {cols} in room for {} x {}",
            self.max_tokens,
            self.max_cols
        );
        (self.tokens, self.cols) = (tokens, cols);
        self.touch();
    }

    /// The vector of token `t`, to be written.
    pub fn row_mut(&mut self, t: usize) -> &mut [f32] {
        self.touch();
        &mut self.rows[t * self.cols..][..self.cols]
    }

    /// All vectors, one behind the other, to be written: `tokens × cols`.
    pub fn rows_mut(&mut self) -> &mut [f32] {
        self.touch();
        &mut self.rows[..self.tokens * self.cols]
    }

    /// All vectors, one behind the other.
    pub fn rows(&self) -> &[f32] {
        &self.rows[..self.tokens * self.cols]
    }

    /// The vector of token `t`.
    pub fn row(&self, t: usize) -> &[f32] {
        &self.rows[t * self.cols..][..self.cols]
    }

    /// Starts a batch of `tokens` vectors of `cols` values: `write` writes each, and at once it comes into this form, while the processor
    /// has it at hand.
    pub fn fill(&mut self, tokens: usize, cols: usize, form: Form, mut write: impl FnMut(usize, &mut [f32])) {
        self.begin(tokens, cols);
        for t in 0..tokens {
            write(t, &mut self.rows[t * cols..][..cols]);
            self.bring(t..t + 1, form);
        }
        self.mark(form);
    }

    /// Brings the rows into this form, unless they already are. The integer forms need whole blocks of 32 values.
    pub fn prepare(&mut self, form: Form) {
        let ready = match form {
            Form::F32 => true,
            Form::I8(_) => self.ready8,
            Form::I16 => self.ready16,
            Form::Planes => self.ready_planes,
        };
        if !ready {
            self.bring(0..self.tokens, form);
            self.mark(form);
        }
    }

    /// Brings the rows of some tokens into this form.
    fn bring(&mut self, some: Range<usize>, form: Form) {
        let (tokens, cols, most) = (self.tokens, self.cols, self.max_supers());
        let rows = &self.rows[some.start * cols..some.end * cols];
        match form {
            Form::F32 => {}
            Form::I8(_) => {
                ready(&mut self.supers8, most, Super8::ZERO);
                quantise::to_i8(rows, tokens, cols, &mut self.supers8[some.start..]);
            }
            Form::I16 => {
                ready(&mut self.supers16, most, Super16::ZERO);
                quantise::to_i16(rows, tokens, cols, &mut self.supers16[some.start..]);
            }
            Form::Planes => {
                if !self.ready16 {
                    self.bring(some.clone(), Form::I16);
                }
                ready(&mut self.planes, most, [BlockPlanes::ZERO; 8]);
                for s in 0..cols.div_ceil(256) {
                    let some = s * tokens + some.start..s * tokens + some.end;
                    quantise::to_planes(&self.supers16[some.clone()], &mut self.planes[some]);
                }
            }
        }
    }

    /// All rows are in this form.
    fn mark(&mut self, form: Form) {
        match form {
            Form::F32 => {}
            Form::I8(_) => self.ready8 = true,
            Form::I16 => self.ready16 = true,
            Form::Planes => (self.ready16, self.ready_planes) = (true, true),
        }
    }

    /// How many vectors the batch has.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many values a vector has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The bytes of all buffers, if every form is asked for.
    pub fn most_bytes(&self) -> usize {
        let integers = size_of::<Super8>() + size_of::<Super16>() + size_of::<SuperPlanes>();
        size_of_val(&self.rows[..]) + self.max_supers() * integers
    }

    fn max_supers(&self) -> usize {
        self.max_tokens * self.max_cols.div_ceil(256)
    }

    /// The batch in eight bits: super-block `s` of token `t` is number `s * tokens + t`.
    pub(super) fn supers8(&self) -> &[Super8] {
        assert!(self.ready8, "prepare(Form::I8(_)) comes before multiplication");
        &self.supers8[..self.tokens * self.cols.div_ceil(256)]
    }

    /// The batch in twelve bits: super-block `s` of token `t` is number `s * tokens + t`.
    pub(super) fn supers16(&self) -> &[Super16] {
        assert!(self.ready16, "prepare(Form::I16) comes before multiplication");
        &self.supers16[..self.tokens * self.cols.div_ceil(256)]
    }

    /// The batch in twelve bits as planes: super-block `s` of token `t` is number `s * tokens + t`.
    pub(super) fn planes(&self) -> &[SuperPlanes] {
        assert!(
            self.ready_planes,
            "prepare(Form::Planes) comes before multiplication"
        );
        &self.planes[..self.tokens * self.cols.div_ceil(256)]
    }

    fn touch(&mut self) {
        (self.ready8, self.ready16, self.ready_planes) = (false, false, false);
    }
}

/// Makes a buffer of `len`, if it is none yet.
fn ready<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
    if buffer.is_empty() {
        *buffer = filled(len, value).expect("memory for the activations of a batch");
    }
}

/// `len` copies of `value`, or an error where memory has no room for them.
pub(super) fn filled<T: Clone>(
    len: usize,
    value: T,
) -> std::result::Result<Vec<T>, std::collections::TryReserveError> {
    let mut all = Vec::new();
    all.try_reserve_exact(len)?;
    all.resize(len, value);
    Ok(all)
}

fn too_large(tokens: usize, cols: usize) -> Error {
    Error::new(
        Kind::OutOfMemory,
        format!(
            "no memory for a batch of {tokens} vectors of {cols} values; load with a smaller batch or context"
        ),
    )
}
