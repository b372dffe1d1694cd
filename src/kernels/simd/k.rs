//! Q4_K and Q5_K: super-blocks of eight sub-blocks with a scale and a minimum of six bits.
//!
//! The plain algorithm, for one row and a super-block: the sum over sub-blocks `j` of
//! `d scale_j sum(code a) - dmin min_j sum(a)`. The integer scales are applied in integers: one 16-bit multiplication widens
//! the sums and scales them. With eight-bit activations, whose scale changes with each sub-block, floats come in there;
//! with twelve-bit activations once per super-block. The minimums are opposite the activations' sums, which were brought
//! to 16 bits for it.

use std::marker::PhantomData;

use crate::kernels::activations::{Sums, Super8, Super16};
use crate::kernels::lanes::*;
use crate::kernels::packed::{BlockK, GroupK};

use super::drive::{self, Hidden, Tile};
use super::inner::{Product, Summing, add_products, products8, products16, quads, step16, twice, wide_codes};

/// The scales of eight rows as 16-bit lanes. They have six bits, so no sign.
#[inline(always)]
fn rows(scales: &[u8; 8]) -> V128 {
    load_extend_i8(scales)
}

/// The scales of each quad's rows as 32-bit lanes.
#[inline(always)]
fn wide(scales: &[u8; 8]) -> [V128; 2] {
    let scales = rows(scales);
    [i32x4_extend_low_i16x8(scales), i32x4_extend_high_i16x8(scales)]
}

/// The sum over the sub-blocks of minimum times activation sum, for both quads.
#[inline(always)]
fn minimums(mins: &[[[u8; 2]; 8]; 4], sums: &Sums) -> [V128; 2] {
    let (pairs, _) = sums.codes.as_chunks();
    let mut total = [i32x4_splat(0); 2];
    for i in 0..4 {
        let sums = load_splat_i16x2(&pairs[i]);
        let mins = load_u8(mins[i].as_flattened().first_chunk().expect("eight pairs"));
        total[0] = step16(total[0], sums, i16x8_extend_low_u8x16(mins));
        total[1] = step16(total[1], sums, i16x8_extend_high_u8x16(mins));
    }
    total
}

/// Adds what the minimums take away.
#[inline(always)]
fn subtract_minimums(total: V128, dmin: V128, minimums: V128, sums: &Sums) -> V128 {
    let scale = f32x4_mul(dmin, load_splat_f32(&sums.minus_scale));
    madd(f32x4_convert_i32x4(minimums), scale, total)
}

/// One vector in eight bits times all rows.
#[inline(never)]
pub fn vector8<C: Product + BlockK, S: Summing>(
    groups: &[GroupK<C>],
    per_row: usize,
    x: &[Super8],
    out: &mut [f32],
) {
    let (masks, n) = (C::masks(), Hidden::numbers());
    let zero = [i32x4_splat(0); 2];
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
                    let weights = S::weights(rows(&group.scales[j]));
                    let weigh = |q: usize, sum: V128| S::weigh(sum, weights[q]);
                    let products = group.codes[j].sums8::<S>(block, zero, weigh, masks, n);
                    let scale = load_splat_f32(&block.scale);
                    for q in 0..2 {
                        sums[q] = madd(S::float(products[q]), scale, sums[q]);
                    }
                }
                let (d, dmin) = (quads(&group.d), quads(&group.dmin));
                let minimums = minimums(&group.mins, &x.sums);
                for q in 0..2 {
                    let total = madd(sums[q], d[q], totals[q]);
                    totals[q] = subtract_minimums(total, dmin[q], minimums[q], &x.sums);
                }
            }
        },
    );
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16<C: Product + BlockK>(groups: &[GroupK<C>], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let (masks, n) = (C::masks(), Hidden::numbers());
    drive::vector(
        groups,
        per_row,
        1,
        x,
        out,
        |totals: &mut [V128; 2], group, x, _| {
            for group in group {
                // 256 * 31 * 63 * 2047 < 2^31.
                let mut sums = [i32x4_splat(0); 2];
                for j in 0..n.blocks {
                    let products = group.codes[j].sums16(&x.blocks[j], i32x4_splat(0), masks, n);
                    let scales = wide(&group.scales[j]);
                    for q in 0..2 {
                        sums[q] = i32x4_add(sums[q], i32x4_mul(products[q], scales[q]));
                    }
                }
                let (d, dmin) = (quads(&group.d), quads(&group.dmin));
                let scale = load_splat_f32(&x.blocks[0].scale);
                let minimums = minimums(&group.mins, &x.sums);
                for q in 0..2 {
                    let total = madd(f32x4_convert_i32x4(sums[q]), f32x4_mul(d[q], scale), totals[q]);
                    totals[q] = subtract_minimums(total, dmin[q], minimums[q], &x.sums);
                }
            }
        },
    );
}

/// What both panels hold beside the codes.
struct Scales<const Q: usize> {
    d: [V128; Q],
    dmin: [V128; Q],
    /// Of sub-blocks `2i` and `2i + 1`, by turns, as 16-bit lanes.
    mins: [[V128; Q]; 4],
}

impl<const Q: usize> Scales<Q> {
    fn new() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Scales {
            d: zeros,
            dmin: zeros,
            mins: [zeros; 4],
        }
    }

    #[inline(always)]
    fn unpack<C>(&mut self, slot: usize, group: &GroupK<C>) {
        let (d, dmin) = (quads(&group.d), quads(&group.dmin));
        for q in 0..2 {
            self.d[2 * slot + q] = d[q];
            self.dmin[2 * slot + q] = dmin[q];
        }
        for (i, mins) in group.mins.iter().enumerate() {
            let mins = load_u8(mins.as_flattened().first_chunk().expect("eight pairs"));
            self.mins[i][2 * slot] = i16x8_extend_low_u8x16(mins);
            self.mins[i][2 * slot + 1] = i16x8_extend_high_u8x16(mins);
        }
    }

    /// [`subtract_minimums`] for all quads of a token.
    #[inline(always)]
    fn subtract_minimums(&self, totals: &mut [V128; Q], sums: &Sums) {
        let pairs = sums.codes.as_chunks().0;
        for q in 0..Q {
            let minimums = (0..4).fold(i32x4_splat(0), |total, i| {
                step16(total, load_splat_i16x2(&pairs[i]), self.mins[i][q])
            });
            totals[q] = subtract_minimums(totals[q], self.dmin[q], minimums, sums);
        }
    }
}

/// Codes as bytes, scales as they are.
pub struct Panel8<const Q: usize> {
    /// `[sub-block][step][quad]`.
    codes: [[[V128; Q]; 8]; 8],
    /// `[sub-block][quad]`: the scales, as the sums are weighed.
    weights: [[V128; Q]; 8],
    scales: Scales<Q>,
}

/// A batch in eight bits.
pub struct Batch8<C, S>(PhantomData<(C, S)>);

impl<const Q: usize> Panel8<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Panel8 {
            codes: [[zeros; 8]; 8],
            weights: [zeros; 8],
            scales: Scales::new(),
        }
    }
}

impl<C: Product + BlockK, S: Summing, const Q: usize, const T: usize> Tile<Q, T> for Batch8<C, S> {
    type Group = GroupK<C>;
    type X = Super8;
    type Panel = Panel8<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel8<Q>, slot: usize, groups: &[GroupK<C>]) {
        let [group] = groups else { return };
        panel.scales.unpack(slot, group);
        for j in 0..8 {
            let weights = S::weights(rows(&group.scales[j]));
            for q in 0..2 {
                panel.weights[j][2 * slot + q] = weights[q];
                for (s, codes) in group.codes[j].unpack8(q).into_iter().enumerate() {
                    panel.codes[j][s][2 * slot + q] = codes;
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel8<Q>, x: [&Super8; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        let start = [[i32x4_splat(0); 2]; N];
        let mut sums = [[f32x4_splat(0.0); Q]; N];
        for j in 0..n.blocks {
            let x = x.map(|x| &x.blocks[j]);
            let weigh = |q: usize, sum: V128| S::weigh(sum, panel.weights[j][q]);
            let products = products8::<C, S, Q, N>(&panel.codes[j], x, start, weigh, n);
            for t in 0..N {
                let scale = load_splat_f32(&x[t].scale);
                for q in 0..Q {
                    sums[t][q] = madd(S::float(products[t][q]), scale, sums[t][q]);
                }
            }
        }
        for t in 0..N {
            for q in 0..Q {
                totals[t][q] = madd(sums[t][q], panel.scales.d[q], totals[t][q]);
            }
            panel.scales.subtract_minimums(&mut totals[t], &x[t].sums);
        }
    }
}

/// Codes times scales, as 16-bit lanes: 31 * 63 is little.
pub struct Panel16<const Q: usize> {
    /// `[sub-block][two values][quad]`.
    codes: [[[V128; Q]; 16]; 8],
    scales: Scales<Q>,
}

/// A batch in twelve bits.
pub struct Batch16<C>(PhantomData<C>);

impl<const Q: usize> Panel16<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        Panel16 {
            codes: [[[i32x4_splat(0); Q]; 16]; 8],
            scales: Scales::new(),
        }
    }
}

impl<C: Product + BlockK, const Q: usize, const T: usize> Tile<Q, T> for Batch16<C> {
    type Group = GroupK<C>;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[GroupK<C>]) {
        let [group] = groups else { return };
        panel.scales.unpack(slot, group);
        for j in 0..8 {
            let scales = twice(rows(&group.scales[j]));
            for q in 0..2 {
                for (s, codes) in group.codes[j].unpack8(q).into_iter().enumerate() {
                    for (p, codes) in wide_codes(codes).into_iter().enumerate() {
                        panel.codes[j][2 * s + p][2 * slot + q] = i16x8_mul(codes, scales[q]);
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
            add_products(&mut totals[t], sums[t], &panel.scales.d, scale);
            panel.scales.subtract_minimums(&mut totals[t], &x[t].sums);
        }
    }
}
