//! Four-bit floats (E2M1) with a shared eight-bit scale: MXFP4 and NVFP4.
//!
//! ```text
//! E2M1        bit 3: sign │ bits 2,1: exponent │ bit 0: mantissa       0 ½ 1 1½ 2 3 4 6
//! ```
//! The table holds the values doubled, so that they are integers; the scales are halved to make up for it.

use super::block::{Block, Fields};
use super::legacy::nibbles;

/// The sixteen E2M1 values, doubled.
pub const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// MXFP4: 32 values, one power of two.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockMxfp4 {
    /// Scale: an exponent, biased by 127 (E8M0).
    pub e: u8,
    /// Nibbles: the first 16 values low, the other 16 high.
    pub qs: [u8; 16],
}

/// NVFP4: 64 values in four sub-blocks of 16.
///
/// ```text
/// sub-block s     qs[8s..8s+8]: its first 8 values in the low nibbles, the other 8 in the high ones
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockNvfp4 {
    /// Scale of each sub-block: an unsigned float (UE4M3).
    pub d: [u8; 4],
    /// Nibbles.
    pub qs: [u8; 32],
}

const _: () = assert!(size_of::<BlockMxfp4>() == 17);
const _: () = assert!(size_of::<BlockNvfp4>() == 36);

/// Half of the E8M0 scale `e`: 2^(e - 128). Built from bits; the two smallest are denormal, and 255, which the
/// standard calls NaN, is 2^127 as in ggml.
pub fn e8m0_half(e: u8) -> f32 {
    f32::from_bits(if e < 2 {
        0x0020_0000 << e
    } else {
        (u32::from(e) - 1) << 23
    })
}

/// Half of the UE4M3 scale `code`: four bits of exponent with bias 7, three of mantissa. 0x7F, which the standard
/// calls NaN, is zero as in ggml; the top bit adds nothing.
pub fn ue4m3_half(code: u8) -> f32 {
    let (exponent, mantissa) = (code >> 3 & 15, f32::from(code & 7));
    match (code, exponent) {
        (0 | 0x7F, _) => 0.0,
        // mantissa * 2^-9, halved
        (_, 0) => mantissa / 1024.0,
        // (1 + mantissa / 8) * 2^(exponent - 7), halved; the exponent's bits go straight into the f32
        (_, e) => (1.0 + mantissa / 8.0) * f32::from_bits((u32::from(e) + 119) << 23),
    }
}

impl Block for BlockMxfp4 {
    const LEN: usize = 32;

    fn read(fields: &mut Fields<'_>) -> Self {
        let [e] = fields.bytes();
        BlockMxfp4 {
            e,
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = e8m0_half(self.e);
        for (out, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *out = f32::from(E2M1_DOUBLED[usize::from(q)]) * d;
        }
    }
}

impl Block for BlockNvfp4 {
    const LEN: usize = 64;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockNvfp4 {
            d: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        for (s, out) in out.chunks_exact_mut(16).enumerate() {
            let d = ue4m3_half(self.d[s]);
            for (i, out) in out.iter_mut().enumerate() {
                let q = self.qs[8 * s + i % 8] >> (4 * (i / 8)) & 15;
                *out = f32::from(E2M1_DOUBLED[usize::from(q)]) * d;
            }
        }
    }
}
