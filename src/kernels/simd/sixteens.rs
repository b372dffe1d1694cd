//! Q2_K, Q3_K and Q6_K: super-blocks of sixteen sub-blocks of 16 values with a signed scale; those of Q2_K have a minimum too.
//!
//! The plain algorithm, for one row and a super-block: `d` times the sum over sub-blocks `j` of
//! `scale_j sum((code - offset) a)`, minus `dmin` times the sum of `min_j sum(a)`. Codes are multiplied as they are, without
//! sign; the offset is taken off by where the sums start.

use std::marker::PhantomData;

use crate::kernels::activations::{Block8, Block16, Super8, Super16};
use crate::kernels::lanes::*;
use crate::kernels::packed::{Group, GroupQ2K, GroupQ3K, GroupQ6K};

use super::drive::{self, Hidden, Tile, hidden_splat};
use super::inner::{Summing, add_products, products16, quads, step16, twice, wide_codes};

/// Eight rows of sixteen sub-blocks.
pub trait Sixteens: Group {
    /// How many steps of four values can be summed in 16 bits, offset and all.
    const STEPS: usize;

    /// The offset is 32 divided by two to this power; none if there is a minimum instead.
    const OFFSET_SHIFT: Option<u32>;

    /// Constants in registers.
    type Masks: Copy;

    /// The constants.
    fn masks() -> Self::Masks;

    /// The scales of the scales.
    fn d(&self) -> [V128; 2];

    /// The scales of sub-block `j`, as 16-bit lanes.
    fn scales(&self, j: usize) -> V128;

    /// The four steps of sub-block `j` of a quad, one code per byte.
    fn codes(&self, j: usize, quad: usize, masks: Self::Masks) -> [V128; 4];

    /// The scales of the minimums, divided by 32, and the minimums of sub-block `j` as 16-bit lanes.
    fn minimums(&self, _j: usize) -> ([V128; 2], V128) {
        ([f32x4_splat(0.0); 2], i32x4_splat(0))
    }
}

impl Sixteens for GroupQ6K {
    // 2 * 2 products * 63 * 127 = 32,004: the start does not fit beside two steps.
    const STEPS: usize = 2;
    const OFFSET_SHIFT: Option<u32> = Some(0);
    type Masks = [V128; 2];

    #[inline(always)]
    fn masks() -> [V128; 2] {
        [hidden_splat(0x3f), hidden_splat(0xc0)]
    }

    #[inline(always)]
    fn d(&self) -> [V128; 2] {
        quads(&self.d)
    }

    #[inline(always)]
    fn scales(&self, j: usize) -> V128 {
        load_extend_i8(&self.scales[j])
    }

    #[inline(always)]
    fn codes(&self, j: usize, quad: usize, [low, top]: [V128; 2]) -> [V128; 4] {
        let v = self.codes[j][quad].each_ref().map(load_u8);
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
}

impl Sixteens for GroupQ3K {
    // 4 * 2 products * 7 * 127 = 7,112, and at most 4 / 7 as much for the offset.
    const STEPS: usize = 4;
    const OFFSET_SHIFT: Option<u32> = Some(3);
    type Masks = [V128; 2];

    #[inline(always)]
    fn masks() -> [V128; 2] {
        [hidden_splat(3), hidden_splat(4)]
    }

    #[inline(always)]
    fn d(&self) -> [V128; 2] {
        quads(&self.d)
    }

    #[inline(always)]
    fn scales(&self, j: usize) -> V128 {
        load_extend_i8(&self.scales[j])
    }

    #[inline(always)]
    fn codes(&self, j: usize, quad: usize, [low, third]: [V128; 2]) -> [V128; 4] {
        let codes = load_u8(&self.codes[j][quad]);
        // The sub-block's four bits as the low ones; bits of the neighbouring byte are masked off below.
        let high = u16x8_shr(load_u8(&self.high[j / 2][quad]), 4 * (j % 2) as u32);
        let step = |s: u32, high: V128| or(and(u16x8_shr(codes, 2 * s), low), and(high, third));
        [
            step(0, i16x8_shl(high, 2)),
            step(1, i16x8_shl(high, 1)),
            step(2, high),
            step(3, u16x8_shr(high, 1)),
        ]
    }
}

impl Sixteens for GroupQ2K {
    // 4 * 2 products * 3 * 127 = 3,048.
    const STEPS: usize = 4;
    const OFFSET_SHIFT: Option<u32> = None;
    type Masks = V128;

    #[inline(always)]
    fn masks() -> V128 {
        hidden_splat(3)
    }

    #[inline(always)]
    fn d(&self) -> [V128; 2] {
        quads(&self.d)
    }

    #[inline(always)]
    fn scales(&self, j: usize) -> V128 {
        and(load_extend_i8(&self.scales[j]), i16x8_splat(15))
    }

    #[inline(always)]
    fn codes(&self, j: usize, quad: usize, low: V128) -> [V128; 4] {
        let codes = load_u8(&self.codes[j][quad]);
        std::array::from_fn(|s| and(u16x8_shr(codes, 2 * s as u32), low))
    }

    #[inline(always)]
    fn minimums(&self, j: usize) -> ([V128; 2], V128) {
        let dmin = quads(&self.dmin).map(|dmin| f32x4_mul(dmin, f32x4_splat(1.0 / 32.0)));
        let mins = and(u16x8_shr(load_extend_i8(&self.scales[j]), 4), i16x8_splat(15));
        (dmin, mins)
    }
}

/// Where the sum over half `h` of a block starts.
#[inline(always)]
fn start8<G: Sixteens>(x: &Block8, h: usize) -> V128 {
    match G::OFFSET_SHIFT {
        Some(shift) => i16x8_shr(load_splat_i16x2(&x.minus_16[h]), shift),
        None => i32x4_splat(0),
    }
}

/// Where the sum over half `h` of a block starts.
#[inline(always)]
fn start16<G: Sixteens>(x: &Block16, h: usize) -> V128 {
    match G::OFFSET_SHIFT {
        Some(shift) => i32x4_shr(load_splat_i32(&x.minus_32[h]), shift),
        None => i32x4_splat(0),
    }
}

/// Eight lanes of 16 bits as lanes of 32.
#[inline(always)]
fn wide(lanes: V128) -> [V128; 2] {
    [i32x4_extend_low_i16x8(lanes), i32x4_extend_high_i16x8(lanes)]
}

/// One vector in eight bits times all rows.
#[inline(never)]
pub fn vector8<G: Sixteens, S: Summing>(groups: &[G], per_row: usize, x: &[Super8], out: &mut [f32]) {
    let (masks, n) = (G::masks(), Hidden::numbers());
    drive::vector(
        groups,
        per_row,
        1,
        x,
        out,
        |totals: &mut [V128; 2], group, x, _| {
            for group in group {
                let mut sums = [f32x4_splat(0.0); 2];
                let mut minimums = [f32x4_splat(0.0); 2];
                for j in 0..n.blocks {
                    let block = &x.blocks[j];
                    let (x, _) = block.codes.as_chunks();
                    let mut products = [i32x4_splat(0); 2];
                    let mut mins = [i32x4_splat(0); 2];
                    for h in 0..2 {
                        let weights = S::weights(group.scales(2 * j + h));
                        let start = S::start(start8::<G>(block, h));
                        for q in 0..2 {
                            let codes = group.codes(2 * j + h, q, masks);
                            let mut sum = start;
                            for s in 0..4 {
                                // With two steps there is no room for the start beside them.
                                if s % S::steps(G::STEPS, 4) == 0 && S::steps(G::STEPS, 4) < 4 {
                                    products[q] = S::weigh_and_add(products[q], sum, weights[q]);
                                    sum = i32x4_splat(0);
                                }
                                sum = S::step(sum, load_splat_i8x4(&x[4 * h + s]), codes[s]);
                            }
                            products[q] = S::weigh_and_add(products[q], sum, weights[q]);
                        }
                        if G::OFFSET_SHIFT.is_none() {
                            let twice = twice(group.minimums(2 * j + h).1);
                            let x = load_splat_i16x2(&block.minus_16[h]);
                            mins = std::array::from_fn(|q| step16(mins[q], x, twice[q]));
                        }
                    }
                    let scale = load_splat_f32(&block.scale);
                    for q in 0..2 {
                        sums[q] = madd(S::float(products[q]), scale, sums[q]);
                        if G::OFFSET_SHIFT.is_none() {
                            minimums[q] = madd(f32x4_convert_i32x4(mins[q]), scale, minimums[q]);
                        }
                    }
                }
                let (d, dmin) = (group.d(), group.minimums(0).0);
                for q in 0..2 {
                    totals[q] = madd(sums[q], d[q], totals[q]);
                    if G::OFFSET_SHIFT.is_none() {
                        totals[q] = madd(minimums[q], dmin[q], totals[q]);
                    }
                }
            }
        },
    );
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16<G: Sixteens>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let (masks, n) = (G::masks(), Hidden::numbers());
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
                let mut minimums = [i32x4_splat(0); 2];
                for j in 0..n.blocks {
                    let block = &x.blocks[j];
                    for h in 0..2 {
                        let scales = wide(group.scales(2 * j + h));
                        for q in 0..2 {
                            let codes = group.codes(2 * j + h, q, masks);
                            let mut products = start16::<G>(block, h);
                            for (s, codes) in codes.into_iter().enumerate() {
                                let [even, odd] = wide_codes(codes);
                                let x = |p: usize| load_splat_i16x2(&block.codes[8 * h + 2 * s + p]);
                                products = step16(step16(products, x(0), even), x(1), odd);
                            }
                            sums[q] = i32x4_add(sums[q], i32x4_mul(products, scales[q]));
                        }
                        if G::OFFSET_SHIFT.is_none() {
                            add_minimums(&mut minimums, block, h, &wide(group.minimums(2 * j + h).1));
                        }
                    }
                }
                let (d, dmin) = (group.d(), group.minimums(0).0);
                let scale = load_splat_f32(&x.blocks[0].scale);
                add_products(totals, sums, &d, scale);
                if G::OFFSET_SHIFT.is_none() {
                    add_products(totals, minimums, &dmin, scale);
                }
            }
        },
    );
}

/// Adds -32 times the sum of half a block times its minimums: 16 * 16 * 2047 * 32 * 15 < 2^31.
#[inline(always)]
fn add_minimums<const Q: usize>(minimums: &mut [V128; Q], x: &Block16, h: usize, mins: &[V128; Q]) {
    let x = load_splat_i32(&x.minus_32[h]);
    for q in 0..Q {
        minimums[q] = i32x4_add(minimums[q], i32x4_mul(x, mins[q]));
    }
}

/// What both panels hold beside the codes.
struct Scales<const Q: usize> {
    d: [V128; Q],
    /// The scales of the minimums, divided by 32.
    dmin: [V128; Q],
    /// `[block of 32][half][quad]`: the minimums, twice as 16-bit lanes opposite eight bits, as 32-bit lanes opposite twelve.
    mins: [[[V128; Q]; 2]; 8],
}

impl<const Q: usize> Scales<Q> {
    fn new() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Scales {
            d: zeros,
            dmin: zeros,
            mins: [[zeros; 2]; 8],
        }
    }

    #[inline(always)]
    fn unpack<G: Sixteens>(&mut self, slot: usize, group: &G, form: fn(V128) -> [V128; 2]) {
        let (d, (dmin, _)) = (group.d(), group.minimums(0));
        for q in 0..2 {
            self.d[2 * slot + q] = d[q];
            self.dmin[2 * slot + q] = dmin[q];
        }
        if G::OFFSET_SHIFT.is_none() {
            for j in 0..16 {
                let mins = form(group.minimums(j).1);
                for q in 0..2 {
                    self.mins[j / 2][j % 2][2 * slot + q] = mins[q];
                }
            }
        }
    }
}

/// Codes as bytes.
pub struct Panel8<const Q: usize> {
    /// `[block of 32][step][quad]`.
    codes: [[[V128; Q]; 8]; 8],
    /// `[block of 32][half][quad]`: the scales, as the sums are weighed.
    weights: [[[V128; Q]; 2]; 8],
    scales: Scales<Q>,
}

/// A batch in eight bits.
pub struct Batch8<G, S>(PhantomData<(G, S)>);

impl<const Q: usize> Panel8<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Panel8 {
            codes: [[zeros; 8]; 8],
            weights: [[zeros; 2]; 8],
            scales: Scales::new(),
        }
    }
}

impl<G: Sixteens, S: Summing, const Q: usize, const T: usize> Tile<Q, T> for Batch8<G, S> {
    type Group = G;
    type X = Super8;
    type Panel = Panel8<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel8<Q>, slot: usize, groups: &[G]) {
        let [group] = groups else { return };
        let masks = G::masks();
        panel.scales.unpack(slot, group, twice);
        for (j, h) in (0..16).map(|i| (i / 2, i % 2)) {
            let weights = S::weights(group.scales(2 * j + h));
            for q in 0..2 {
                panel.weights[j][h][2 * slot + q] = weights[q];
                for (s, codes) in group.codes(2 * j + h, q, masks).into_iter().enumerate() {
                    panel.codes[j][4 * h + s][2 * slot + q] = codes;
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
                let start = x.map(|x| S::start(start8::<G>(x, h)));
                let mut sums = start.map(|start| [start; Q]);
                for s in 0..4 {
                    // As in [`vector8`].
                    if s % S::steps(G::STEPS, 4) == 0 && S::steps(G::STEPS, 4) < 4 {
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
                totals[t][q] = madd(sums[t][q], panel.scales.d[q], totals[t][q]);
            }
            if G::OFFSET_SHIFT.is_none() {
                subtract_minimums8(&panel.scales, x[t], &mut totals[t]);
            }
        }
    }
}

/// Adds what the minimums take away, in the order of [`vector8`].
#[inline(always)]
fn subtract_minimums8<const Q: usize>(scales: &Scales<Q>, x: &Super8, totals: &mut [V128; Q]) {
    let mut minimums = [f32x4_splat(0.0); Q];
    for (x, halves) in x.blocks.iter().zip(&scales.mins) {
        let scale = load_splat_f32(&x.scale);
        let [first, second] = [0, 1].map(|h| load_splat_i16x2(&x.minus_16[h]));
        for q in 0..Q {
            let mins = step16(i32x4_dot_i16x8(first, halves[0][q]), second, halves[1][q]);
            minimums[q] = madd(f32x4_convert_i32x4(mins), scale, minimums[q]);
        }
    }
    for q in 0..Q {
        totals[q] = madd(minimums[q], scales.dmin[q], totals[q]);
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

/// (Code - offset) times scale, as 16-bit lanes: at most 32 * 128.
pub struct Panel16<const Q: usize> {
    /// `[block of 32][two values][quad]`.
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

impl<G: Sixteens, const Q: usize, const T: usize> Tile<Q, T> for Batch16<G> {
    type Group = G;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[G]) {
        let [group] = groups else { return };
        let masks = G::masks();
        let offset = i16x8_splat(G::OFFSET_SHIFT.map_or(0, |shift| 32 >> shift));
        panel.scales.unpack(slot, group, wide);
        for (j, h) in (0..16).map(|i| (i / 2, i % 2)) {
            let scales = twice(group.scales(2 * j + h));
            for q in 0..2 {
                for (s, codes) in group.codes(2 * j + h, q, masks).into_iter().enumerate() {
                    for (p, codes) in wide_codes(codes).into_iter().enumerate() {
                        let weights = i16x8_mul(i16x8_sub(codes, offset), scales[q]);
                        panel.codes[j][8 * h + 2 * s + p][2 * slot + q] = weights;
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
            if G::OFFSET_SHIFT.is_none() {
                let mut minimums = [i32x4_splat(0); Q];
                for (x, mins) in x[t].blocks.iter().zip(&panel.scales.mins) {
                    for h in 0..2 {
                        add_minimums(&mut minimums, x, h, &mins[h]);
                    }
                }
                add_products(&mut totals[t], minimums, &panel.scales.dmin, scale);
            }
        }
    }
}
