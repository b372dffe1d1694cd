//! The innermost loops of the formats with four- and five-bit codes: 32 values of eight rows.

use crate::kernels::activations::{Block8, Block16};
use crate::kernels::lanes::*;
use crate::kernels::packed::{Codes, Fives, Nibbles};

use super::drive::{Hidden, hidden_splat};

/// Codes that can be multiplied.
pub trait Product: Codes {
    /// How many steps of four values can be summed in 16 bits: products of two codes with activations of ±127, twice per
    /// step in each lane.
    const STEPS: usize;

    /// Constants in registers.
    type Masks: Copy;

    /// The constants.
    fn masks() -> Self::Masks;

    /// Where sums start so that they come out as if every code had [`Codes::OFFSET`] less: for each 16 values.
    fn start8(x: &Block8) -> [V128; 2];

    /// Where the sum over all 32 values starts, likewise.
    fn start16(x: &Block16) -> V128;

    /// The sums of code times activation for each row of each quad, starting from `start`, times the 16-bit weights of the
    /// rows (each twice).
    fn sums8(
        &self,
        x: &Block8,
        start: [V128; 2],
        weights: [V128; 2],
        masks: Self::Masks,
        n: Hidden,
    ) -> [V128; 2];

    /// The sums of code times activation for each row of each quad, starting from `start`.
    fn sums16(&self, x: &Block16, start: V128, masks: Self::Masks, n: Hidden) -> [V128; 2];

    /// The vectors of quad `quad`, step by step, one code per byte.
    fn unpack8(&self, quad: usize) -> [V128; 8];
}

/// Adds to a sum of 16-bit lanes a step: four activations in every lane of 32 bits times a vector of codes.
#[inline(always)]
pub fn step8(sum: V128, x: V128, codes: V128) -> V128 {
    i16x8_add(sum, maddubs(x, codes))
}

/// Adds to a sum of 32-bit lanes two activations in every lane times 16-bit codes.
#[inline(always)]
pub fn step16(sum: V128, x: V128, codes: V128) -> V128 {
    i32x4_add(sum, i32x4_dot_i16x8(x, codes))
}

impl Product for Nibbles {
    // 8 steps * 2 products * 15 * 127 = 30,480; less an offset of 8, at most 30,480 as well.
    const STEPS: usize = 8;
    type Masks = V128;

    #[inline(always)]
    fn masks() -> V128 {
        hidden_splat(15)
    }

    #[inline(always)]
    fn start8(x: &Block8) -> [V128; 2] {
        [load_splat_i16x2(&x.minus_4); 2]
    }

    #[inline(always)]
    fn start16(x: &Block16) -> V128 {
        load_splat_i32(&x.minus_8)
    }

    #[inline(always)]
    fn sums8(&self, x: &Block8, start: [V128; 2], weights: [V128; 2], masks: V128, n: Hidden) -> [V128; 2] {
        let (x, _) = x.codes.as_chunks();
        let mut sums = [start[0]; 2];
        for s in 0..n.four {
            let (low, high) = (load_splat_i8x4(&x[s]), load_splat_i8x4(&x[s + 4]));
            for q in 0..2 {
                let codes = load_u8(&self.0[s][q]);
                sums[q] = step8(sums[q], low, and(codes, masks));
                sums[q] = step8(sums[q], high, and(u16x8_shr(codes, 4), masks));
            }
        }
        std::array::from_fn(|q| i32x4_dot_i16x8(sums[q], weights[q]))
    }

    #[inline(always)]
    fn sums16(&self, x: &Block16, start: V128, _: V128, n: Hidden) -> [V128; 2] {
        let mask = i16x8_splat(15);
        let mut sums = [start; 2];
        for s in 0..n.four {
            let pair = |p: usize| load_splat_i16x2(&x.codes[p]);
            let (low, high) = ([pair(2 * s), pair(2 * s + 1)], [pair(2 * s + 8), pair(2 * s + 9)]);
            for q in 0..2 {
                let codes = load_u8(&self.0[s][q]);
                sums[q] = step16(sums[q], low[0], and(codes, mask));
                sums[q] = step16(sums[q], low[1], and(u16x8_shr(codes, 8), mask));
                sums[q] = step16(sums[q], high[0], and(u16x8_shr(codes, 4), mask));
                sums[q] = step16(sums[q], high[1], u16x8_shr(codes, 12));
            }
        }
        sums
    }

    #[inline(always)]
    fn unpack8(&self, quad: usize) -> [V128; 8] {
        let mask = i8x16_splat(15);
        std::array::from_fn(|s| {
            let codes = load_u8(&self.0[s % 4][quad]);
            if s < 4 {
                and(codes, mask)
            } else {
                and(u16x8_shr(codes, 4), mask)
            }
        })
    }
}

impl Product for Fives {
    // 4 steps * 2 products * 31 * 127 = 31,496; less an offset of 16, at most 31,496 as well.
    const STEPS: usize = 4;
    type Masks = V128;

    #[inline(always)]
    fn masks() -> V128 {
        hidden_splat(31)
    }

    #[inline(always)]
    fn start8(x: &Block8) -> [V128; 2] {
        [load_splat_i16x2(&x.minus_8[0]), load_splat_i16x2(&x.minus_8[1])]
    }

    #[inline(always)]
    fn start16(x: &Block16) -> V128 {
        load_splat_i32(&x.minus_16)
    }

    #[inline(always)]
    fn sums8(&self, x: &Block8, start: [V128; 2], weights: [V128; 2], _: V128, _: Hidden) -> [V128; 2] {
        let (x, _) = x.codes.as_chunks();
        std::array::from_fn(|q| {
            let codes = self.unpack8(q);
            let sum = |half: usize| {
                (0..4).fold(start[half], |sum, s| {
                    step8(sum, load_splat_i8x4(&x[4 * half + s]), codes[4 * half + s])
                })
            };
            i32x4_add(
                i32x4_dot_i16x8(sum(0), weights[q]),
                i32x4_dot_i16x8(sum(1), weights[q]),
            )
        })
    }

    #[inline(always)]
    fn sums16(&self, x: &Block16, start: V128, _: V128, _: Hidden) -> [V128; 2] {
        let low = i16x8_splat(255);
        std::array::from_fn(|q| {
            let codes = self.unpack8(q);
            (0..8).fold(start, |sum, s| {
                let sum = step16(sum, load_splat_i16x2(&x.codes[2 * s]), and(codes[s], low));
                step16(sum, load_splat_i16x2(&x.codes[2 * s + 1]), u16x8_shr(codes[s], 8))
            })
        })
    }

    #[inline(always)]
    fn unpack8(&self, quad: usize) -> [V128; 8] {
        let v = self.0[quad].each_ref().map(load_u8);
        let bits = |v: V128, down: u32, mask: i8| and(u16x8_shr(v, down), i8x16_splat(mask));
        let low = |v: V128| and(v, i8x16_splat(31));
        [
            low(v[0]),
            low(v[1]),
            low(v[2]),
            low(v[3]),
            low(v[4]),
            or(bits(v[0], 5, 7), bits(v[3], 2, 0x18)),
            or(bits(v[1], 5, 7), bits(v[4], 2, 0x18)),
            or(or(bits(v[2], 5, 7), bits(v[3], 4, 8)), bits(v[4], 3, 16)),
        ]
    }
}

/// The sixteen codes of a vector as 16-bit lanes: the even ones, then the odd ones.
#[inline(always)]
pub fn wide_codes(codes: V128) -> [V128; 2] {
    [and(codes, i16x8_splat(255)), u16x8_shr(codes, 8)]
}

/// `Q` quads by `N` tokens: the sums of code times activation over 32 values, each half from its `start`, times the 16-bit
/// weights of the rows.
#[inline(always)]
pub fn products8<C: Product, const Q: usize, const N: usize>(
    codes: &[[V128; Q]; 8],
    x: [&Block8; N],
    start: [[[V128; Q]; N]; 2],
    weights: impl Fn(usize) -> V128,
    n: Hidden,
) -> [[V128; Q]; N] {
    let steps = if C::STEPS == 8 { n.eight } else { n.four };
    let x = x.map(|x| x.codes.as_chunks::<4>().0);
    let mut products = [[i32x4_splat(0); Q]; N];
    for half in 0..8 / C::STEPS {
        let mut sums = start[half];
        for s in 0..steps {
            let s = half * C::STEPS + s;
            let x: [V128; N] = std::array::from_fn(|t| load_splat_i8x4(&x[t][s]));
            for q in 0..Q {
                for t in 0..N {
                    sums[t][q] = step8(sums[t][q], x[t], codes[s][q]);
                }
            }
        }
        for q in 0..Q {
            let weights = weights(q);
            for t in 0..N {
                products[t][q] = step16(products[t][q], sums[t][q], weights);
            }
        }
    }
    products
}

/// `Q` quads by `N` tokens: adds the products of 32 values, 16-bit weights times 16-bit activations.
#[inline(always)]
pub fn products16<const Q: usize, const N: usize>(
    weights: &[[V128; Q]; 16],
    x: [&Block16; N],
    sums: &mut [[V128; Q]; N],
    n: Hidden,
) {
    for s in 0..n.sixteen {
        let x: [V128; N] = std::array::from_fn(|t| load_splat_i16x2(&x[t].codes[s]));
        for q in 0..Q {
            for t in 0..N {
                sums[t][q] = step16(sums[t][q], x[t], weights[s][q]);
            }
        }
    }
}
