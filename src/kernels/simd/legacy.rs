//! Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 values with a scale, some with a minimum.
//!
//! The plain algorithm, for one row and a block: `d scale sum((code - offset) a)`, where `scale` belongs to the activations,
//! plus `m sum(x)` in formats with a minimum. Codes are multiplied as they are, without sign; sums start at minus offset
//! times the sum of the activations, so that taking off the offset costs nothing.

use std::marker::PhantomData;

use crate::kernels::activations::{Block8, Block16, Super8, Super16};
use crate::kernels::lanes::*;
use crate::kernels::packed::{BlockLegacy, Codes, Group, Group0, Group1};

use super::drive::{self, Hidden, Tile};
use super::float::four_f16;
use super::inner::{Product, Summing, products8, products16, wide_codes};

/// A group with or without a minimum.
pub trait Legacy: Group {
    /// Its codes.
    type Codes: Product + BlockLegacy;

    /// Whether there is a minimum; without one, codes have an offset.
    const MINIMUM: bool;

    /// The codes.
    fn codes(&self) -> &Self::Codes;

    /// The scales of both quads.
    fn d(&self) -> [V128; 2];

    /// The minimums of both quads.
    fn m(&self) -> [V128; 2];
}

impl<C: Product + BlockLegacy> Legacy for Group0<C> {
    type Codes = C;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn codes(&self) -> &C {
        &self.codes
    }

    #[inline(always)]
    fn d(&self) -> [V128; 2] {
        quads(&self.d)
    }

    #[inline(always)]
    fn m(&self) -> [V128; 2] {
        [f32x4_splat(0.0); 2]
    }
}

impl<C: Product + BlockLegacy> Legacy for Group1<C> {
    type Codes = C;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn codes(&self) -> &C {
        &self.codes
    }

    #[inline(always)]
    fn d(&self) -> [V128; 2] {
        quads(&self.d)
    }

    #[inline(always)]
    fn m(&self) -> [V128; 2] {
        quads(&self.m)
    }
}

/// Both quads of eight halves.
#[inline(always)]
fn quads(halves: &[i16; 8]) -> [V128; 2] {
    let (quads, _) = halves.as_chunks();
    [four_f16(&quads[0]), four_f16(&quads[1])]
}

/// Where sums start.
#[inline(always)]
fn start8<G: Legacy>(x: &Block8) -> [V128; 2] {
    if G::MINIMUM {
        [i32x4_splat(0); 2]
    } else {
        G::Codes::start8(x)
    }
}

/// Where sums start.
#[inline(always)]
fn start16<G: Legacy>(x: &Block16) -> V128 {
    if G::MINIMUM {
        i32x4_splat(0)
    } else {
        G::Codes::start16(x)
    }
}

/// Adds a block to a total: `d scale products`, and `m sum` in formats with a minimum.
#[inline(always)]
fn add<G: Legacy>(total: V128, products: V128, d: V128, scale: V128, m: V128, sum: V128) -> V128 {
    let total = madd(products, f32x4_mul(d, scale), total);
    if G::MINIMUM { madd(m, sum, total) } else { total }
}

/// One vector in eight bits times all rows.
#[inline(never)]
pub fn vector8<G: Legacy, S: Summing>(groups: &[G], per_row: usize, x: &[Super8], out: &mut [f32]) {
    let (masks, n) = (G::Codes::masks(), Hidden::numbers());
    drive::vector(
        groups,
        per_row,
        8,
        x,
        out,
        |totals: &mut [V128; 2], groups, x, first| {
            for (group, x) in groups.iter().zip(&x.blocks[first..]) {
                let products = group
                    .codes()
                    .sums8::<S>(x, start8::<G>(x), |_, sum| S::widen(sum), masks, n);
                let (d, m) = (group.d(), group.m());
                let (scale, sum) = (load_splat_f32(&x.scale), load_splat_f32(&x.sum));
                for q in 0..2 {
                    totals[q] = add::<G>(totals[q], S::float(products[q]), d[q], scale, m[q], sum);
                }
            }
        },
    );
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16<G: Legacy>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let (masks, n) = (G::Codes::masks(), Hidden::numbers());
    drive::vector(
        groups,
        per_row,
        8,
        x,
        out,
        |totals: &mut [V128; 2], groups, x, first| {
            for (group, x) in groups.iter().zip(&x.blocks[first..]) {
                let products = group.codes().sums16(x, start16::<G>(x), masks, n);
                let (d, m) = (group.d(), group.m());
                let (scale, sum) = (load_splat_f32(&x.scale), load_splat_f32(&x.sum));
                for q in 0..2 {
                    totals[q] = add::<G>(
                        totals[q],
                        f32x4_convert_i32x4(products[q]),
                        d[q],
                        scale,
                        m[q],
                        sum,
                    );
                }
            }
        },
    );
}

/// What both panels hold beside the codes.
struct Scales<const Q: usize> {
    /// `[block][quad]`.
    d: [[V128; Q]; 8],
    /// `[block][quad]`.
    m: [[V128; Q]; 8],
    /// How many blocks there are: fewer than eight at the end of a row.
    blocks: usize,
}

impl<const Q: usize> Scales<Q> {
    fn new() -> Self {
        let zeros = [[i32x4_splat(0); Q]; 8];
        Scales {
            d: zeros,
            m: zeros,
            blocks: 0,
        }
    }

    #[inline(always)]
    fn unpack<G: Legacy>(&mut self, slot: usize, j: usize, group: &G) {
        let (d, m) = (group.d(), group.m());
        for q in 0..2 {
            self.d[j][2 * slot + q] = d[q];
            if G::MINIMUM {
                self.m[j][2 * slot + q] = m[q];
            }
        }
    }

    #[inline(always)]
    fn add<G: Legacy>(&self, j: usize, totals: &mut [V128; Q], products: [V128; Q], scale: V128, sum: V128) {
        for q in 0..Q {
            totals[q] = add::<G>(totals[q], products[q], self.d[j][q], scale, self.m[j][q], sum);
        }
    }
}

/// Codes as bytes.
pub struct Panel8<const Q: usize> {
    /// `[block][step][quad]`.
    codes: [[[V128; Q]; 8]; 8],
    scales: Scales<Q>,
}

/// A batch in eight bits.
pub struct Batch8<G, S>(PhantomData<(G, S)>);

impl<const Q: usize> Panel8<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        Panel8 {
            codes: [[[i32x4_splat(0); Q]; 8]; 8],
            scales: Scales::new(),
        }
    }
}

impl<G: Legacy, S: Summing, const Q: usize, const T: usize> Tile<Q, T> for Batch8<G, S> {
    type Group = G;
    type X = Super8;
    type Panel = Panel8<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel8<Q>, slot: usize, groups: &[G]) {
        if slot == 0 {
            panel.scales.blocks = groups.len();
        }
        for (j, group) in groups.iter().enumerate().take(8) {
            panel.scales.unpack(slot, j, group);
            for q in 0..2 {
                for (s, codes) in group.codes().unpack8(q).into_iter().enumerate() {
                    panel.codes[j][s][2 * slot + q] = codes;
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel8<Q>, x: [&Super8; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        for j in 0..panel.scales.blocks {
            let x = x.map(|x| &x.blocks[j]);
            let start = x.map(start8::<G>);
            let widen = |_: usize, sum: V128| S::widen(sum);
            let products = products8::<G::Codes, S, Q, N>(&panel.codes[j], x, start, widen, n);
            for t in 0..N {
                let (scale, sum) = (load_splat_f32(&x[t].scale), load_splat_f32(&x[t].sum));
                panel
                    .scales
                    .add::<G>(j, &mut totals[t], products[t].map(S::float), scale, sum);
            }
        }
    }
}

/// Codes less their offset, as 16-bit lanes.
pub struct Panel16<const Q: usize> {
    /// `[block][two values][quad]`.
    codes: [[[V128; Q]; 16]; 8],
    scales: Scales<Q>,
}

/// A batch in twelve bits.
pub struct Batch16<G>(PhantomData<G>);

impl<const Q: usize> Panel16<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        Panel16 {
            codes: [[[i32x4_splat(0); Q]; 16]; 8],
            scales: Scales::new(),
        }
    }
}

impl<G: Legacy, const Q: usize, const T: usize> Tile<Q, T> for Batch16<G> {
    type Group = G;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[G]) {
        if slot == 0 {
            panel.scales.blocks = groups.len();
        }
        let offset = if G::MINIMUM {
            0
        } else {
            i16::from(G::Codes::OFFSET)
        };
        for (j, group) in groups.iter().enumerate().take(8) {
            panel.scales.unpack(slot, j, group);
            for q in 0..2 {
                for (s, codes) in group.codes().unpack8(q).into_iter().enumerate() {
                    for (p, codes) in wide_codes(codes).into_iter().enumerate() {
                        panel.codes[j][2 * s + p][2 * slot + q] = i16x8_sub(codes, i16x8_splat(offset));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel16<Q>, x: [&Super16; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        for j in 0..panel.scales.blocks {
            let x = x.map(|x| &x.blocks[j]);
            let mut products = [[i32x4_splat(0); Q]; N];
            products16(&panel.codes[j], x, &mut products, n);
            for t in 0..N {
                let (scale, sum) = (load_splat_f32(&x[t].scale), load_splat_f32(&x[t].sum));
                panel.scales.add::<G>(
                    j,
                    &mut totals[t],
                    products[t].map(f32x4_convert_i32x4),
                    scale,
                    sum,
                );
            }
        }
    }
}
