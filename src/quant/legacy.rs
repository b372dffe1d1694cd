//! The first ggml formats: 32 values in a row share one scale `d`, and in the `_1` variants a minimum `m`.
//!
//! ```text
//! nibbles     qs[0]     qs[1]   ...   qs[15]          high 4 bits │ low 4 bits
//!             v16│v0    v17│v1        v31│v15
//! fifth bit   qh, read as a little-endian u32: bit i belongs to value i
//! ```

use half::f16;

use super::block::{Block, Fields};

/// Values in a block of this family.
const LEN: usize = 32;

/// Q4_0: `d * (nibble - 8)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ4_0 {
    /// Scale.
    pub d: f16,
    /// Nibbles, low ones first.
    pub qs: [u8; 16],
}

/// Q4_1: `d * nibble + m`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ4_1 {
    /// Scale.
    pub d: f16,
    /// Minimum.
    pub m: f16,
    /// Nibbles, low ones first.
    pub qs: [u8; 16],
}

/// Q5_0: `d * (five bits - 16)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ5_0 {
    /// Scale.
    pub d: f16,
    /// The fifth bits.
    pub qh: [u8; 4],
    /// Nibbles, low ones first.
    pub qs: [u8; 16],
}

/// Q5_1: `d * five bits + m`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ5_1 {
    /// Scale.
    pub d: f16,
    /// Minimum.
    pub m: f16,
    /// The fifth bits.
    pub qh: [u8; 4],
    /// Nibbles, low ones first.
    pub qs: [u8; 16],
}

/// Q8_0: `d * byte`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ8_0 {
    /// Scale.
    pub d: f16,
    /// Signed values.
    pub qs: [i8; LEN],
}

/// Q8_1: `d * byte`. ggml's activations opposite Q4_1 and Q5_1; no model file holds it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ8_1 {
    /// Scale.
    pub d: f16,
    /// `d` times the sum of `qs`.
    pub s: f16,
    /// Signed values.
    pub qs: [i8; LEN],
}

const _: () = assert!(size_of::<BlockQ4_0>() == 18);
const _: () = assert!(size_of::<BlockQ4_1>() == 20);
const _: () = assert!(size_of::<BlockQ5_0>() == 22);
const _: () = assert!(size_of::<BlockQ5_1>() == 24);
const _: () = assert!(size_of::<BlockQ8_0>() == 34);
const _: () = assert!(size_of::<BlockQ8_1>() == 36);

/// The 32 nibbles of `qs`: first the low ones, then the high ones.
pub(super) fn nibbles(qs: &[u8; 16]) -> impl Iterator<Item = u8> {
    qs.iter().map(|q| q & 15).chain(qs.iter().map(|q| q >> 4))
}

/// The 32 five-bit values of `qs` and `qh`.
fn five_bits(qs: &[u8; 16], qh: [u8; 4]) -> impl Iterator<Item = u8> {
    let high = u32::from_le_bytes(qh);
    nibbles(qs)
        .zip(0..)
        .map(move |(q, i)| q | (((high >> i) & 1) as u8) << 4)
}

impl Block for BlockQ4_0 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ4_0 {
            d: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *out = (f32::from(q) - 8.0) * d;
        }
    }
}

impl Block for BlockQ4_1 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ4_1 {
            d: fields.f16(),
            m: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (out, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *out = f32::from(q) * d + m;
        }
    }
}

impl Block for BlockQ5_0 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ5_0 {
            d: fields.f16(),
            qh: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, q) in out.iter_mut().zip(five_bits(&self.qs, self.qh)) {
            *out = (f32::from(q) - 16.0) * d;
        }
    }
}

impl Block for BlockQ5_1 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ5_1 {
            d: fields.f16(),
            m: fields.f16(),
            qh: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (out, q) in out.iter_mut().zip(five_bits(&self.qs, self.qh)) {
            *out = f32::from(q) * d + m;
        }
    }
}

impl Block for BlockQ8_0 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ8_0 {
            d: fields.f16(),
            qs: fields.signed(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, &q) in out.iter_mut().zip(&self.qs) {
            *out = f32::from(q) * d;
        }
    }
}

impl Block for BlockQ8_1 {
    const LEN: usize = LEN;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ8_1 {
            d: fields.f16(),
            s: fields.f16(),
            qs: fields.signed(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, &q) in out.iter_mut().zip(&self.qs) {
            *out = f32::from(q) * d;
        }
    }
}
