//! The innermost loops of the formats with four- and five-bit codes: 32 values of eight rows.

use crate::kernels::activations::{Block8, Block16};
use crate::kernels::lanes::*;
use crate::kernels::packed::{Codes, Fives, Nibbles};

use super::drive::{Hidden, hidden_splat};

/// How products of bytes are summed: over [`crate::kernels::activations::Dot`]. What one gives is an integer, and so small that
/// its float is exact: the ways differ in instructions, not in results.
pub trait Summing {
    /// Adds to a sum a step: four activations in every lane of 32 bits times a vector of codes.
    fn step(sum: V128, x: V128, codes: V128) -> V128;

    /// How many steps of four values may be added up, if `pairs` may in 16 bits, of `all`.
    fn steps(pairs: usize, all: usize) -> usize;

    /// What a sum starts with, given in pairs of 16-bit lanes.
    fn start(pairs: V128) -> V128;

    /// The weights of both quads of eight rows, given as 16-bit lanes.
    fn weights(rows: V128) -> [V128; 2];

    /// A sum of steps times the weights of the rows.
    fn weigh(sum: V128, weight: V128) -> V128;

    /// `total` and a sum of steps times the weights of the rows.
    fn weigh_and_add(total: V128, sum: V128, weight: V128) -> V128;

    /// A sum of steps times 1.
    fn widen(sum: V128) -> V128;

    /// The sum of two that were weighed or widened.
    fn add(a: V128, b: V128) -> V128;

    /// One that was weighed or widened, as floats.
    fn float(product: V128) -> V128;
}

/// [`crate::kernels::activations::Dot::Pairs`]: a product with the weights widens the sums.
pub struct Pairs;

/// [`crate::kernels::activations::Dot::Fours`]: sums are wide; weights are floats.
pub struct Fours;

impl Summing for Pairs {
    #[inline(always)]
    fn step(sum: V128, x: V128, codes: V128) -> V128 {
        i16x8_add(sum, maddubs(x, codes))
    }

    #[inline(always)]
    fn steps(pairs: usize, _: usize) -> usize {
        pairs
    }

    #[inline(always)]
    fn start(pairs: V128) -> V128 {
        pairs
    }

    #[inline(always)]
    fn weights(rows: V128) -> [V128; 2] {
        twice(rows)
    }

    #[inline(always)]
    fn weigh(sum: V128, weight: V128) -> V128 {
        i32x4_dot_i16x8(sum, weight)
    }

    #[inline(always)]
    fn weigh_and_add(total: V128, sum: V128, weight: V128) -> V128 {
        i32x4_add(total, i32x4_dot_i16x8(sum, weight))
    }

    #[inline(always)]
    fn widen(sum: V128) -> V128 {
        i32x4_dot_i16x8(sum, i16x8_splat(1))
    }

    #[inline(always)]
    fn add(a: V128, b: V128) -> V128 {
        i32x4_add(a, b)
    }

    #[inline(always)]
    fn float(product: V128) -> V128 {
        f32x4_convert_i32x4(product)
    }
}

impl Summing for Fours {
    #[inline(always)]
    fn step(sum: V128, x: V128, codes: V128) -> V128 {
        dot4(x, codes, sum)
    }

    #[inline(always)]
    fn steps(_: usize, all: usize) -> usize {
        all
    }

    #[inline(always)]
    fn start(pairs: V128) -> V128 {
        i32x4_dot_i16x8(pairs, i16x8_splat(1))
    }

    #[inline(always)]
    fn weights(rows: V128) -> [V128; 2] {
        [i32x4_extend_low_i16x8(rows), i32x4_extend_high_i16x8(rows)].map(f32x4_convert_i32x4)
    }

    #[inline(always)]
    fn weigh(sum: V128, weight: V128) -> V128 {
        f32x4_mul(f32x4_convert_i32x4(sum), weight)
    }

    #[inline(always)]
    fn weigh_and_add(total: V128, sum: V128, weight: V128) -> V128 {
        madd(f32x4_convert_i32x4(sum), weight, total)
    }

    #[inline(always)]
    fn widen(sum: V128) -> V128 {
        f32x4_convert_i32x4(sum)
    }

    #[inline(always)]
    fn add(a: V128, b: V128) -> V128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn float(product: V128) -> V128 {
        product
    }
}

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

    /// The sums of code times activation for each row of each quad, starting from `start`, each quad's through `weigh`.
    fn sums8<S: Summing>(
        &self,
        x: &Block8,
        start: [V128; 2],
        weigh: impl Fn(usize, V128) -> V128,
        masks: Self::Masks,
        n: Hidden,
    ) -> [V128; 2];

    /// The sums of code times activation for each row of each quad, starting from `start`.
    fn sums16(&self, x: &Block16, start: V128, masks: Self::Masks, n: Hidden) -> [V128; 2];

    /// The vectors of quad `quad`, step by step, one code per byte.
    fn unpack8(&self, quad: usize) -> [V128; 8];
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
    fn sums8<S: Summing>(
        &self,
        x: &Block8,
        start: [V128; 2],
        weigh: impl Fn(usize, V128) -> V128,
        masks: V128,
        n: Hidden,
    ) -> [V128; 2] {
        let (x, _) = x.codes.as_chunks();
        let mut sums = [S::start(start[0]); 2];
        for s in 0..n.four {
            let (low, high) = (load_splat_i8x4(&x[s]), load_splat_i8x4(&x[s + 4]));
            for q in 0..2 {
                let codes = load_u8(&self.0[s][q]);
                sums[q] = S::step(sums[q], low, and(codes, masks));
                sums[q] = S::step(sums[q], high, and(u16x8_shr(codes, 4), masks));
            }
        }
        std::array::from_fn(|q| weigh(q, sums[q]))
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
    fn sums8<S: Summing>(
        &self,
        x: &Block8,
        start: [V128; 2],
        weigh: impl Fn(usize, V128) -> V128,
        _: V128,
        _: Hidden,
    ) -> [V128; 2] {
        let (x, _) = x.codes.as_chunks();
        std::array::from_fn(|q| {
            let codes = self.unpack8(q);
            let sum = |steps: std::ops::Range<usize>, start: V128| {
                steps.fold(start, |sum, s| S::step(sum, load_splat_i8x4(&x[s]), codes[s]))
            };
            if S::steps(4, 8) == 8 {
                weigh(q, sum(0..8, i32x4_add(S::start(start[0]), S::start(start[1]))))
            } else {
                S::add(
                    weigh(q, sum(0..4, S::start(start[0]))),
                    weigh(q, sum(4..8, S::start(start[1]))),
                )
            }
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

/// Adds the products of a super-block with twelve-bit activations to the totals: integers, times the scales of both sides.
#[inline(always)]
pub fn add_products<const Q: usize>(totals: &mut [V128; Q], products: [V128; Q], d: &[V128; Q], scale: V128) {
    for q in 0..Q {
        totals[q] = madd(
            f32x4_convert_i32x4(products[q]),
            f32x4_mul(d[q], scale),
            totals[q],
        );
    }
}

/// Both quads of eight floats.
#[inline(always)]
pub fn quads(floats: &[f32; 8]) -> [V128; 2] {
    let (quads, _) = floats.as_chunks();
    [load_f32(&quads[0]), load_f32(&quads[1])]
}

/// Eight lanes of 16 bits, each twice.
#[inline(always)]
pub fn twice(lanes: V128) -> [V128; 2] {
    [interleave_low_16(lanes, lanes), interleave_high_16(lanes, lanes)]
}

/// The sixteen codes of a vector as 16-bit lanes: the even ones, then the odd ones.
#[inline(always)]
pub fn wide_codes(codes: V128) -> [V128; 2] {
    [and(codes, i16x8_splat(255)), u16x8_shr(codes, 8)]
}

/// `Q` quads by `N` tokens: the sums of code times activation over 32 values, each half from its `start`, through `weigh` for
/// each quad.
#[inline(always)]
pub fn products8<C: Product, S: Summing, const Q: usize, const N: usize>(
    codes: &[[V128; Q]; 8],
    x: [&Block8; N],
    start: [[V128; 2]; N],
    weigh: impl Fn(usize, V128) -> V128,
    n: Hidden,
) -> [[V128; Q]; N] {
    let per_sum = S::steps(C::STEPS, 8);
    let steps = if per_sum == 8 { n.eight } else { n.four };
    let x = x.map(|x| x.codes.as_chunks::<4>().0);
    let mut products = [[i32x4_splat(0); Q]; N];
    for part in 0..8 / per_sum {
        let mut sums = start.map(|start| {
            // Codes of four bits have one start for all 32 values, the others one for each half.
            let both = per_sum == 8 && C::STEPS < 8;
            let first = S::start(start[part]);
            [if both {
                i32x4_add(first, S::start(start[1]))
            } else {
                first
            }; Q]
        });
        for s in 0..steps {
            let s = part * per_sum + s;
            let x: [V128; N] = std::array::from_fn(|t| load_splat_i8x4(&x[t][s]));
            for q in 0..Q {
                for t in 0..N {
                    sums[t][q] = S::step(sums[t][q], x[t], codes[s][q]);
                }
            }
        }
        for q in 0..Q {
            for t in 0..N {
                let product = weigh(q, sums[t][q]);
                products[t][q] = if part == 0 {
                    product
                } else {
                    S::add(products[t][q], product)
                };
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
