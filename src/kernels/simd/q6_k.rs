//! Q6_K: super-blocks of sixteen sub-blocks with a signed scale of eight bits.
//!
//! The plain algorithm, for one row and a super-block: `d` times the sum over sub-blocks `j` of
//! `scale_j sum((code - 32) a)`. Codes are multiplied as they are, without sign; the 32 is taken off by one more product
//! of the scale with the sum of the activations.

use std::marker::PhantomData;

use crate::kernels::activations::{Super8, Super16};
use crate::kernels::lanes::*;
use crate::kernels::packed::GroupQ6K;

use super::drive::{self, Hidden, Tile, hidden_splat};
use super::inner::{Summing, products16, quads, step16, twice, wide_codes};

/// How many steps of four values can be summed in 16 bits: 2 * 2 products * 63 * 127 = 32,004.
const STEPS: usize = 2;

/// The four steps of a sub-block, one code per byte.
#[inline(always)]
fn unpack(vectors: &[[u8; 16]; 3], low: V128, top: V128) -> [V128; 4] {
    let v = vectors.each_ref().map(load_u8);
    // Bits 6 and 7 of each byte, moved to 0 and 1, 2 and 3, 4 and 5.
    let tops = [
        u16x8_shr(and(v[0], top), 6),
        u16x8_shr(and(v[1], top), 4),
        u16x8_shr(and(v[2], top), 2),
    ];
    [
        and(v[0], low),
        and(v[1], low),
        and(v[2], low),
        or(or(tops[0], tops[1]), tops[2]),
    ]
}

/// One vector in eight bits times all rows.
#[inline(never)]
pub fn vector8<S: Summing>(groups: &[GroupQ6K], per_row: usize, x: &[Super8], out: &mut [f32]) {
    let n = Hidden::numbers();
    let (low, top) = (hidden_splat(0x3f), hidden_splat(0xc0));
    drive::vector(
        groups,
        per_row,
        1,
        x,
        out,
        |totals: &mut [V128; 2], group, x, _| {
            for group in group {
                let mut sums = [f32x4_splat(0.0); 2];
                for j in 0..n.blocks {
                    let block = &x.blocks[j];
                    let (x, _) = block.codes.as_chunks();
                    let mut products = [i32x4_splat(0); 2];
                    for h in 0..2 {
                        let weights = S::weights(load_extend_i8(&group.scales[2 * j + h]));
                        let start = S::start(load_splat_i16x2(&block.minus_16[h]));
                        for q in 0..2 {
                            let codes = unpack(&group.codes[2 * j + h][q], low, top);
                            let mut sum = start;
                            for s in 0..4 {
                                // The start does not fit into 16 bits beside two steps, nor do four steps.
                                if s % S::steps(STEPS, 4) == 0 && S::steps(STEPS, 4) < 4 {
                                    products[q] = S::weigh_and_add(products[q], sum, weights[q]);
                                    sum = i32x4_splat(0);
                                }
                                sum = S::step(sum, load_splat_i8x4(&x[4 * h + s]), codes[s]);
                            }
                            products[q] = S::weigh_and_add(products[q], sum, weights[q]);
                        }
                    }
                    let scale = load_splat_f32(&block.scale);
                    for q in 0..2 {
                        sums[q] = madd(S::float(products[q]), scale, sums[q]);
                    }
                }
                let d = quads(&group.d);
                for q in 0..2 {
                    totals[q] = madd(sums[q], d[q], totals[q]);
                }
            }
        },
    );
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16(groups: &[GroupQ6K], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let n = Hidden::numbers();
    let (low, top) = (hidden_splat(0x3f), hidden_splat(0xc0));
    drive::vector(
        groups,
        per_row,
        1,
        x,
        out,
        |totals: &mut [V128; 2], group, x, _| {
            for group in group {
                // 256 * 32 * 128 * 2047 < 2^31.
                let mut sums = [i32x4_splat(0); 2];
                for j in 0..n.blocks {
                    let block = &x.blocks[j];
                    for h in 0..2 {
                        let scales = load_extend_i8(&group.scales[2 * j + h]);
                        let scales = [i32x4_extend_low_i16x8(scales), i32x4_extend_high_i16x8(scales)];
                        for q in 0..2 {
                            let codes = unpack(&group.codes[2 * j + h][q], low, top);
                            let mut products = load_splat_i32(&block.minus_32[h]);
                            for (s, codes) in codes.into_iter().enumerate() {
                                let [even, odd] = wide_codes(codes);
                                products =
                                    step16(products, load_splat_i16x2(&block.codes[8 * h + 2 * s]), even);
                                products =
                                    step16(products, load_splat_i16x2(&block.codes[8 * h + 2 * s + 1]), odd);
                            }
                            sums[q] = i32x4_add(sums[q], i32x4_mul(products, scales[q]));
                        }
                    }
                }
                let (d, scale) = (quads(&group.d), load_splat_f32(&x.blocks[0].scale));
                for q in 0..2 {
                    totals[q] = madd(f32x4_convert_i32x4(sums[q]), f32x4_mul(d[q], scale), totals[q]);
                }
            }
        },
    );
}

/// Codes as bytes.
pub struct Panel8<const Q: usize> {
    /// `[block of 32][step][quad]`.
    codes: [[[V128; Q]; 8]; 8],
    /// `[block of 32][half][quad]`: the scales, as the sums are weighed.
    weights: [[[V128; Q]; 2]; 8],
    d: [V128; Q],
}

/// A batch in eight bits.
pub struct Batch8<S>(PhantomData<S>);

impl<const Q: usize> Panel8<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Panel8 {
            codes: [[zeros; 8]; 8],
            weights: [[zeros; 2]; 8],
            d: zeros,
        }
    }
}

impl<S: Summing, const Q: usize, const T: usize> Tile<Q, T> for Batch8<S> {
    type Group = GroupQ6K;
    type X = Super8;
    type Panel = Panel8<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel8<Q>, slot: usize, groups: &[GroupQ6K]) {
        let [group] = groups else { return };
        let (low, top) = (i8x16_splat(0x3f), i8x16_splat(-64));
        let d = quads(&group.d);
        for q in 0..2 {
            let slot = 2 * slot + q;
            panel.d[slot] = d[q];
            for (j, h) in (0..16).map(|i| (i / 2, i % 2)) {
                panel.weights[j][h][slot] = S::weights(load_extend_i8(&group.scales[2 * j + h]))[q];
                for (s, codes) in unpack(&group.codes[2 * j + h][q], low, top)
                    .into_iter()
                    .enumerate()
                {
                    panel.codes[j][4 * h + s][slot] = codes;
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel8<Q>, x: [&Super8; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        let mut sums = [[f32x4_splat(0.0); Q]; N];
        for j in 0..n.blocks {
            let x = x.map(|x| &x.blocks[j]);
            let codes = x.map(|x| x.codes.as_chunks::<4>().0);
            let mut products = [[i32x4_splat(0); Q]; N];
            for h in 0..2 {
                let start = x.map(|x| S::start(load_splat_i16x2(&x.minus_16[h])));
                let mut sums = start.map(|start| [start; Q]);
                for s in 0..4 {
                    // As in [`vector8`].
                    if s % S::steps(STEPS, 4) == 0 && S::steps(STEPS, 4) < 4 {
                        weigh_all::<S, Q, N>(&mut products, &sums, &panel.weights[j][h]);
                        sums = [[i32x4_splat(0); Q]; N];
                    }
                    let x: [V128; N] = std::array::from_fn(|t| load_splat_i8x4(&codes[t][4 * h + s]));
                    for q in 0..Q {
                        for t in 0..N {
                            sums[t][q] = S::step(sums[t][q], x[t], panel.codes[j][4 * h + s][q]);
                        }
                    }
                }
                weigh_all::<S, Q, N>(&mut products, &sums, &panel.weights[j][h]);
            }
            for t in 0..N {
                let scale = load_splat_f32(&x[t].scale);
                for q in 0..Q {
                    sums[t][q] = madd(S::float(products[t][q]), scale, sums[t][q]);
                }
            }
        }
        for t in 0..N {
            for q in 0..Q {
                totals[t][q] = madd(sums[t][q], panel.d[q], totals[t][q]);
            }
        }
    }
}

/// Adds the sums times the weights of the rows.
#[inline(always)]
fn weigh_all<S: Summing, const Q: usize, const N: usize>(
    products: &mut [[V128; Q]; N],
    sums: &[[V128; Q]; N],
    weights: &[V128; Q],
) {
    for q in 0..Q {
        for t in 0..N {
            products[t][q] = S::weigh_and_add(products[t][q], sums[t][q], weights[q]);
        }
    }
}

/// (Code - 32) times scale, as 16-bit lanes: at most 32 * 128.
pub struct Panel16<const Q: usize> {
    /// `[block of 32][two values][quad]`.
    codes: [[[V128; Q]; 16]; 8],
    d: [V128; Q],
}

/// A batch in twelve bits.
pub struct Batch16;

impl<const Q: usize> Panel16<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Panel16 {
            codes: [[zeros; 16]; 8],
            d: zeros,
        }
    }
}

impl<const Q: usize, const T: usize> Tile<Q, T> for Batch16 {
    type Group = GroupQ6K;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[GroupQ6K]) {
        let [group] = groups else { return };
        let (low, top) = (i8x16_splat(0x3f), i8x16_splat(-64));
        let offset = i16x8_splat(32);
        let d = quads(&group.d);
        for q in 0..2 {
            let slot = 2 * slot + q;
            panel.d[slot] = d[q];
            for (j, h) in (0..16).map(|i| (i / 2, i % 2)) {
                let scales = twice(load_extend_i8(&group.scales[2 * j + h]))[q];
                for (s, codes) in unpack(&group.codes[2 * j + h][q], low, top)
                    .into_iter()
                    .enumerate()
                {
                    for (p, codes) in wide_codes(codes).into_iter().enumerate() {
                        let weights = i16x8_mul(i16x8_sub(codes, offset), scales);
                        panel.codes[j][8 * h + 2 * s + p][slot] = weights;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel16<Q>, x: [&Super16; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        let mut sums = [[i32x4_splat(0); Q]; N];
        for j in 0..n.blocks {
            products16(&panel.codes[j], x.map(|x| &x.blocks[j]), &mut sums, n);
        }
        for t in 0..N {
            let scale = load_splat_f32(&x[t].blocks[0].scale);
            for q in 0..Q {
                let d = f32x4_mul(panel.d[q], scale);
                totals[t][q] = madd(f32x4_convert_i32x4(sums[t][q]), d, totals[t][q]);
            }
        }
    }
}
