//! One or two bits per value: TQ1_0 and TQ2_0 hold -1, 0, 1 times a scale; Q1_0 holds plus or minus the scale;
//! Q2_0 holds -1, 0, 1, 2 times the scale.

use half::f16;

use super::block::{Block, Fields};

/// TQ1_0: five ternary digits in a byte, 256 values.
///
/// A byte holds a number `0.abcde` in base 3, scaled to 256: multiplying by 3 pushes the next digit out on top.
/// So digit n of byte b is `((b * 3^n mod 256) * 3) >> 8`.
///
/// ```text
/// qs[0..32]    digit n of byte m is value  32n + m               (n = 0..5)
/// qs[32..48]   digit n of byte m is value  160 + 16n + (m - 32)  (n = 0..5)
/// qh           digit n of byte m is value  240 + 4n + m          (n = 0..4)
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockTq1_0 {
    /// Five digits per byte: 240 values.
    pub qs: [u8; 48],
    /// Four digits per byte: 16 values.
    pub qh: [u8; 4],
    /// Scale.
    pub d: f16,
}

/// TQ2_0: two bits, 256 values; `d * (q - 1)`.
///
/// ```text
/// two groups of 32 bytes; in group g, bits 2j and 2j+1 of byte l hold value 128g + 32j + l
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockTq2_0 {
    /// Two bits per value.
    pub qs: [u8; 64],
    /// Scale.
    pub d: f16,
}

/// Q1_0: one bit, 128 values; bit i % 8 of byte i / 8 set: `d`, clear: `-d`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ1_0 {
    /// Scale.
    pub d: f16,
    /// One bit per value.
    pub qs: [u8; 16],
}

/// Q2_0: two bits, 64 values; value i is bits 2(i % 4) and the next of byte i / 4; `d * (q - 1)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ2_0 {
    /// Scale.
    pub d: f16,
    /// Two bits per value.
    pub qs: [u8; 16],
}

const _: () = assert!(size_of::<BlockTq1_0>() == 54);
const _: () = assert!(size_of::<BlockTq2_0>() == 66);
const _: () = assert!(size_of::<BlockQ1_0>() == 18);
const _: () = assert!(size_of::<BlockQ2_0>() == 18);

/// Digit `n` (0 = first) of the five base-3 digits in `byte`, as in the drawing above.
fn ternary_digit(byte: u8, n: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let shifted = byte.wrapping_mul(POWERS[n]);
    ((u16::from(shifted) * 3) >> 8) as u8
}

impl Block for BlockTq1_0 {
    const LEN: usize = 256;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockTq1_0 {
            qs: fields.bytes(),
            qh: fields.bytes(),
            d: fields.f16(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        let mut out = out.iter_mut();
        for (bytes, digits) in [(&self.qs[..32], 5), (&self.qs[32..], 5), (&self.qh[..], 4)] {
            for n in 0..digits {
                for (&byte, out) in bytes.iter().zip(out.by_ref()) {
                    *out = (f32::from(ternary_digit(byte, n)) - 1.0) * d;
                }
            }
        }
    }
}

impl Block for BlockTq2_0 {
    const LEN: usize = 256;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockTq2_0 {
            qs: fields.bytes(),
            d: fields.f16(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (s, out) in out.chunks_exact_mut(32).enumerate() {
            let (group, shift) = (s / 4, 2 * (s % 4));
            for (out, q) in out.iter_mut().zip(&self.qs[32 * group..]) {
                *out = (f32::from(q >> shift & 3) - 1.0) * d;
            }
        }
    }
}

impl Block for BlockQ1_0 {
    const LEN: usize = 128;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ1_0 {
            d: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (i, out) in out.iter_mut().enumerate() {
            *out = if self.qs[i / 8] >> (i % 8) & 1 == 1 { d } else { -d };
        }
    }
}

impl Block for BlockQ2_0 {
    const LEN: usize = 64;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ2_0 {
            d: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (i, out) in out.iter_mut().enumerate() {
            *out = (f32::from(self.qs[i / 4] >> (2 * (i % 4)) & 3) - 1.0) * d;
        }
    }
}
