//! The IQ formats. IQ4 looks a nibble up in a table of 16 uneven levels. IQ1, IQ2 and IQ3 cut a row into vectors
//! of 4 or 8 values and store for each the number of the nearest vector in a codebook (`iq_grids.rs`),
//! with the signs kept apart.
//!
//! The values of a super-block stand in eight sub-blocks of 32, each with four groups of 8. Signs come as a byte
//! per group, bit i for value i, set for minus. Where only seven bits are stored, the eighth makes the number of
//! minus signs even.

use half::f16;

use super::block::{Block, Fields};
use super::iq_grids as grids;
use super::k::SUPER;
use super::legacy::nibbles;

/// The sixteen levels of IQ4_NL and IQ4_XS.
pub const IQ4_LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// IQ4_NL: 32 values; `d * level`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq4Nl {
    /// Scale.
    pub d: f16,
    /// Nibbles: the first 16 values low, the other 16 high.
    pub qs: [u8; 16],
}

/// IQ4_XS: `d * (scale - 32) * level`, sub-blocks of 32, each laid out as in IQ4_NL.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq4Xs {
    /// Scale of the scales.
    pub d: f16,
    /// Top two bits of scale s at bits 2s, 2s+1.
    pub scales_h: u16,
    /// Low four bits of the scales, low nibble first.
    pub scales_l: [u8; 4],
    /// Nibbles, 16 bytes per sub-block.
    pub qs: [u8; 128],
}

/// IQ2_XXS: `d * (scale + ½) / 4 * ±component`; one scale per sub-block.
///
/// ```text
/// sub-block s = bytes 8s..8s+8
///   bytes 0..4    codebook index of groups 0..4
///   bytes 4..8    u32:  bits 31..28 scale │ 27..21 signs 3 │ 20..14 signs 2 │ 13..7 signs 1 │ 6..0 signs 0
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq2Xxs {
    /// Scale of the scales.
    pub d: f16,
    /// Indices, signs and scales, as drawn.
    pub qs: [u8; 64],
}

/// IQ2_XS: `d * (scale + ½) / 4 * ±component`; one scale per 16 values, low nibble first.
///
/// ```text
/// qs[g]         bits 15..9 signs │ 8..0 codebook index         of group g (0..32)
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq2Xs {
    /// Scale of the scales.
    pub d: f16,
    /// Index and signs of each group.
    pub qs: [u16; 32],
    /// Four-bit scales.
    pub scales: [u8; 8],
}

/// IQ2_S: `d * (scale + ½) / 4 * ±component`; one scale per 16 values, low nibble first.
///
/// ```text
/// qs[g]         low eight bits of the codebook index of group g; its top two are bits 2(g % 4), +1 of qh[g / 4]
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq2S {
    /// Scale of the scales.
    pub d: f16,
    /// Low bits of the indices.
    pub qs: [u8; 32],
    /// Signs of each group, all eight stored.
    pub signs: [u8; 32],
    /// Top bits of the indices.
    pub qh: [u8; 8],
    /// Four-bit scales.
    pub scales: [u8; 8],
}

/// IQ3_XXS: `d * (scale + ½) / 2 * ±component`; a group is two vectors of four.
///
/// ```text
/// qs[2g], qs[2g+1]    codebook indices of the two vectors of group g (0..32)
/// scales_signs        per sub-block a u32, laid out as in IQ2_XXS
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq3Xxs {
    /// Scale of the scales.
    pub d: f16,
    /// Indices.
    pub qs: [u8; 64],
    /// Scale and signs of each sub-block.
    pub scales_signs: [u8; 32],
}

/// IQ3_S: `d * (1 + 2 scale) * ±component`; one scale per sub-block, low nibble first.
///
/// ```text
/// qs[2g], qs[2g+1]    low eight bits of the codebook indices of the two vectors of group g (0..32); their ninth
///                     bits are bits 2(g % 4) and 2(g % 4) + 1 of qh[g / 4]
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq3S {
    /// Scale of the scales.
    pub d: f16,
    /// Low bits of the indices.
    pub qs: [u8; 64],
    /// Ninth bits of the indices.
    pub qh: [u8; 8],
    /// Signs of each group, all eight stored.
    pub signs: [u8; 32],
    /// Four-bit scales.
    pub scales: [u8; 4],
}

/// IQ1_S: `d * (2 scale + 1) * (component ± ⅛)`; one scale and one shift per sub-block.
///
/// ```text
/// qs[g]         low eight bits of the codebook index of group g (0..32)
/// qh[s]         bit 15: shift is minus │ 14..12 scale │ 11..9, 8..6, 5..3, 2..0: top bits of groups 3, 2, 1, 0
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq1S {
    /// Scale of the scales.
    pub d: f16,
    /// Low bits of the indices.
    pub qs: [u8; 32],
    /// Top bits of the indices, scale and shift of each sub-block.
    pub qh: [u16; 8],
}

/// IQ1_M: `d * (2 scale + 1) * (component ± ⅛)`; one scale per 16 values, one shift per group.
///
/// ```text
/// qs[g]         low eight bits of the codebook index of group g (0..32)
/// qh            nibble g:  bit 3: shift is minus │ bits 2..0: top bits of the index
/// scales        four u16; number i holds   bits 15..12: nibble i of d │ four scales of 3 bits, lowest first
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockIq1M {
    /// Low bits of the indices.
    pub qs: [u8; 32],
    /// Top bits and shift of each group.
    pub qh: [u8; 16],
    /// Scales, and the bits of `d` in between.
    pub scales: [u16; 4],
}

const _: () = assert!(size_of::<BlockIq4Nl>() == 18);
const _: () = assert!(size_of::<BlockIq4Xs>() == 136);
const _: () = assert!(size_of::<BlockIq2Xxs>() == 66);
const _: () = assert!(size_of::<BlockIq2Xs>() == 74);
const _: () = assert!(size_of::<BlockIq2S>() == 82);
const _: () = assert!(size_of::<BlockIq3Xxs>() == 98);
const _: () = assert!(size_of::<BlockIq3S>() == 110);
const _: () = assert!(size_of::<BlockIq1S>() == 50);
const _: () = assert!(size_of::<BlockIq1M>() == 56);

/// All eight signs, from the lower seven bits of `stored`.
fn even_signs(stored: u32) -> u8 {
    let seven = (stored & 127) as u8;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// Nibble `i` of `bytes`, low ones first.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 2] >> (4 * (i % 2)) & 15
}

/// Writes one codebook vector times `scale`, with the lowest `N` bits of `signs`.
fn put_signed<const BITS: u32>(out: &mut [f32], entry: u16, levels: &[u8], scale: f32, signs: u8) {
    for (i, out) in (0..).zip(out) {
        let level = f32::from(levels[usize::from(entry >> (BITS * i) & ((1 << BITS) - 1))]);
        let value = scale * level;
        *out = if signs >> i & 1 == 1 { -value } else { value };
    }
}

/// Writes one vector of the IQ1 codebook, shifted, times `scale`.
fn put_shifted(out: &mut [f32], index: usize, scale: f32, minus: bool) {
    let shift = if minus { -0.125 } else { 0.125 };
    for (i, out) in out.iter_mut().enumerate() {
        let level = grids::IQ1_LEVELS[usize::from(grids::IQ1[index] >> (2 * i) & 3)];
        *out = scale * (f32::from(level) + shift);
    }
}

impl Block for BlockIq4Nl {
    const LEN: usize = 32;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq4Nl {
            d: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (out, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *out = d * f32::from(IQ4_LEVELS[usize::from(q)]);
        }
    }
}

impl BlockIq4Xs {
    /// The scale of sub-block `s` (0..8), the 32 already taken off.
    pub fn scale(&self, s: usize) -> i8 {
        let top = (self.scales_h >> (2 * s) & 3) as u8;
        (nibble(&self.scales_l, s) | top << 4) as i8 - 32
    }
}

impl Block for BlockIq4Xs {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        let (d, [scales_h]) = (fields.f16(), fields.words());
        BlockIq4Xs {
            d,
            scales_h,
            scales_l: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        let (qs, _) = self.qs.as_chunks();
        for (s, (out, qs)) in out.chunks_exact_mut(32).zip(qs).enumerate() {
            let scale = d * f32::from(self.scale(s));
            for (out, q) in out.iter_mut().zip(nibbles(qs)) {
                *out = scale * f32::from(IQ4_LEVELS[usize::from(q)]);
            }
        }
    }
}

impl Block for BlockIq2Xxs {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq2Xxs {
            d: fields.f16(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        let (subs, _) = self.qs.as_chunks();
        for (out, &[i0, i1, i2, i3, s0, s1, s2, s3]) in out.chunks_exact_mut(32).zip(subs) {
            let packed = u32::from_le_bytes([s0, s1, s2, s3]);
            let scale = d * (0.5 + (packed >> 28) as f32) * 0.25;
            for (g, (out, index)) in out.chunks_exact_mut(8).zip([i0, i1, i2, i3]).enumerate() {
                let entry = grids::IQ2_XXS[usize::from(index)];
                put_signed::<2>(
                    out,
                    entry,
                    &grids::IQ2_XXS_LEVELS,
                    scale,
                    even_signs(packed >> (7 * g)),
                );
            }
        }
    }
}

impl Block for BlockIq2Xs {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq2Xs {
            d: fields.f16(),
            qs: fields.words(),
            scales: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (g, (out, &q)) in out.chunks_exact_mut(8).zip(&self.qs).enumerate() {
            let scale = d * (0.5 + f32::from(nibble(&self.scales, g / 2))) * 0.25;
            let entry = grids::IQ2_XS[usize::from(q & 511)];
            put_signed::<2>(
                out,
                entry,
                &grids::IQ2_XS_LEVELS,
                scale,
                even_signs(u32::from(q >> 9)),
            );
        }
    }
}

impl Block for BlockIq2S {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq2S {
            d: fields.f16(),
            qs: fields.bytes(),
            signs: fields.bytes(),
            qh: fields.bytes(),
            scales: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (g, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * (0.5 + f32::from(nibble(&self.scales, g / 2))) * 0.25;
            let top = usize::from(self.qh[g / 4] >> (2 * (g % 4)) & 3);
            let entry = grids::IQ2_S[usize::from(self.qs[g]) | top << 8];
            put_signed::<2>(out, entry, &grids::IQ2_S_LEVELS, scale, self.signs[g]);
        }
    }
}

impl Block for BlockIq3Xxs {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq3Xxs {
            d: fields.f16(),
            qs: fields.bytes(),
            scales_signs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        let (subs, _) = self.scales_signs.as_chunks();
        for (g, out) in out.chunks_exact_mut(8).enumerate() {
            let packed = u32::from_le_bytes(subs[g / 4]);
            let scale = d * (0.5 + (packed >> 28) as f32) * 0.5;
            let signs = even_signs(packed >> (7 * (g % 4)));
            for (v, out) in out.chunks_exact_mut(4).enumerate() {
                let entry = grids::IQ3_XXS[usize::from(self.qs[2 * g + v])];
                put_signed::<4>(out, entry, &grids::IQ3_XXS_LEVELS, scale, signs >> (4 * v));
            }
        }
    }
}

impl Block for BlockIq3S {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq3S {
            d: fields.f16(),
            qs: fields.bytes(),
            qh: fields.bytes(),
            signs: fields.bytes(),
            scales: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (g, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * f32::from(1 + 2 * nibble(&self.scales, g / 4));
            for (v, out) in out.chunks_exact_mut(4).enumerate() {
                let ninth = usize::from(self.qh[g / 4] >> (2 * (g % 4) + v) & 1);
                let entry = grids::IQ3_S[usize::from(self.qs[2 * g + v]) | ninth << 8];
                put_signed::<4>(out, entry, &grids::IQ3_S_LEVELS, scale, self.signs[g] >> (4 * v));
            }
        }
    }
}

impl Block for BlockIq1S {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq1S {
            d: fields.f16(),
            qs: fields.bytes(),
            qh: fields.words(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (g, out) in out.chunks_exact_mut(8).enumerate() {
            let qh = self.qh[g / 4];
            let scale = d * f32::from(2 * (qh >> 12 & 7) + 1);
            let top = usize::from(qh >> (3 * (g % 4)) & 7);
            put_shifted(out, usize::from(self.qs[g]) | top << 8, scale, qh >> 15 == 1);
        }
    }
}

impl BlockIq1M {
    /// The scale of the scales, put together from the four top nibbles.
    pub fn d(&self) -> f16 {
        let nibbles = self.scales.iter().enumerate();
        f16::from_bits(nibbles.fold(0, |bits, (i, word)| bits | (word >> 12) << (4 * i)))
    }
}

impl Block for BlockIq1M {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockIq1M {
            qs: fields.bytes(),
            qh: fields.bytes(),
            scales: fields.words(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d().to_f32();
        for (g, out) in out.chunks_exact_mut(8).enumerate() {
            let pair = g / 2;
            let scale = d * f32::from(2 * (self.scales[pair / 4] >> (3 * (pair % 4)) & 7) + 1);
            let high = nibble(&self.qh, g);
            let index = usize::from(self.qs[g]) | usize::from(high & 7) << 8;
            put_shifted(out, index, scale, high & 8 != 0);
        }
    }
}
