//! The formats whose codes have a sign, in blocks of 32 with a scale: Q8_0, whose codes are bytes, and IQ4_NL, IQ4_XS and MXFP4,
//! whose codes stand for one of sixteen bytes.
//!
//! The plain algorithm, for one row and a block: `d scale sum(code a)`, where `scale` belongs to the activations. In 16 bits,
//! codes are widened and multiplied with twelve-bit activations. In planes, the activations come in two bytes without sign,
//! so that the dot product of fours takes the codes with theirs:
//! `sum(code (128 (high - 16) + low)) = 128 (sum(code high) - 16 sum(code)) + sum(code low)`. Both give the same integer.

use std::marker::PhantomData;

use crate::kernels::activations::{BlockPlanes, Super16, SuperPlanes};
use crate::kernels::lanes::*;
use crate::kernels::packed::{BlockLevels, Group, GroupLevels, GroupQ8_0};

use super::drive::{self, Hidden, Tile, hidden_splat};
use super::inner::{products16, step16};

/// Four rows of blocks of 32 signed codes.
pub trait Signed: Group {
    /// The scales of a block.
    fn d(&self, block: usize) -> V128;

    /// The codes of a block, four values of each row in a vector.
    fn codes(&self, block: usize) -> [V128; 8];
}

impl Signed for GroupQ8_0 {
    #[inline(always)]
    fn d(&self, _: usize) -> V128 {
        load_f32(&self.d)
    }

    #[inline(always)]
    fn codes(&self, _: usize) -> [V128; 8] {
        self.codes.each_ref().map(load_u8)
    }
}

impl<B: BlockLevels, const BLOCKS: usize> Signed for GroupLevels<B, BLOCKS> {
    #[inline(always)]
    fn d(&self, block: usize) -> V128 {
        load_f32(&self.blocks[block].d)
    }

    #[inline(always)]
    fn codes(&self, block: usize) -> [V128; 8] {
        let (levels, mask) = (load_i8(&B::LEVELS), i8x16_splat(15));
        let codes = self.blocks[block].codes.each_ref().map(load_u8);
        std::array::from_fn(|s| {
            let codes = if s < 4 {
                codes[s]
            } else {
                u16x8_shr(codes[s - 4], 4)
            };
            i8x16_swizzle(levels, and(codes, mask))
        })
    }
}

/// The even codes times 256 and the odd ones, as 16-bit lanes.
#[inline(always)]
fn wide(codes: V128) -> [V128; 2] {
    [i16x8_shl(codes, 8), i16x8_shr(codes, 8)]
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16<G: Signed>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let blocks = G::LEN / 32;
    drive::vector(
        groups,
        per_row,
        8 / blocks,
        x,
        out,
        |[total], groups, x, first| {
            for (i, group) in groups.iter().enumerate() {
                for b in 0..blocks {
                    let x = &x.blocks[first + i + b];
                    // 16 values * 256 * 128 * 2047 < 2^30.
                    let (mut even, mut odd) = (i32x4_splat(0), i32x4_splat(0));
                    for (s, codes) in group.codes(b).into_iter().enumerate() {
                        let codes = wide(codes);
                        even = step16(even, load_splat_i16x2(&x.codes[2 * s]), codes[0]);
                        odd = step16(odd, load_splat_i16x2(&x.codes[2 * s + 1]), codes[1]);
                    }
                    let products = i32x4_add(i32x4_shr(even, 8), odd);
                    let d = f32x4_mul(group.d(b), load_splat_f32(&x.scale));
                    *total = madd(f32x4_convert_i32x4(products), d, *total);
                }
            }
        },
    );
}

/// The products of a block from the sums of both planes and 16 times the sum of the codes.
#[inline(always)]
fn of_planes(low: V128, high: V128, sixteen: V128) -> V128 {
    f32x4_convert_i32x4(i32x4_add(low, i32x4_shl(i32x4_sub(high, sixteen), 7)))
}

/// One vector in twelve bits, in planes, times all rows.
#[inline(never)]
pub fn vector_planes<G: Signed>(groups: &[G], per_row: usize, x: &[SuperPlanes], out: &mut [f32]) {
    let blocks = G::LEN / 32;
    let sixteens = hidden_splat(16);
    drive::vector(
        groups,
        per_row,
        8 / blocks,
        x,
        out,
        |[total], groups, x, first| {
            for (i, group) in groups.iter().enumerate() {
                for b in 0..blocks {
                    let x = &x[first + i + b];
                    let (lows, highs) = (x.low.as_chunks().0, x.high.as_chunks().0);
                    let [mut low, mut high, mut sixteen] = [i32x4_splat(0); 3];
                    for (s, codes) in group.codes(b).into_iter().enumerate() {
                        low = dot4(codes, load_splat_u8x4(&lows[s]), low);
                        high = dot4(codes, load_splat_u8x4(&highs[s]), high);
                        sixteen = dot4(codes, sixteens, sixteen);
                    }
                    let d = f32x4_mul(group.d(b), load_splat_f32(&x.scale));
                    *total = madd(of_planes(low, high, sixteen), d, *total);
                }
            }
        },
    );
}

/// Codes as 16-bit lanes.
pub struct Panel16<const Q: usize> {
    /// `[block][two values][quad]`.
    codes: [[[V128; Q]; 16]; 8],
    /// `[block][quad]`.
    d: [[V128; Q]; 8],
    /// How many blocks there are: fewer than eight at the end of a row.
    blocks: usize,
}

/// A batch in twelve bits.
pub struct Batch16<G>(PhantomData<G>);

impl<const Q: usize> Panel16<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        Panel16 {
            codes: [[zeros; 16]; 8],
            d: [zeros; 8],
            blocks: 0,
        }
    }
}

impl<G: Signed, const Q: usize, const T: usize> Tile<Q, T> for Batch16<G> {
    type Group = G;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[G]) {
        let blocks = G::LEN / 32;
        if slot == 0 {
            panel.blocks = groups.len() * blocks;
        }
        for j in 0..8.min(groups.len() * blocks) {
            let (group, b) = (&groups[j / blocks], j % blocks);
            panel.d[j][slot] = group.d(b);
            for (s, codes) in group.codes(b).into_iter().enumerate() {
                let [even, odd] = wide(codes);
                panel.codes[j][2 * s][slot] = i16x8_shr(even, 8);
                panel.codes[j][2 * s + 1][slot] = odd;
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &Panel16<Q>, x: [&Super16; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        for j in 0..panel.blocks {
            let x = x.map(|x| &x.blocks[j]);
            let mut products = [[i32x4_splat(0); Q]; N];
            products16(&panel.codes[j], x, &mut products, n);
            for t in 0..N {
                let scale = load_splat_f32(&x[t].scale);
                for q in 0..Q {
                    let d = f32x4_mul(panel.d[j][q], scale);
                    totals[t][q] = madd(f32x4_convert_i32x4(products[t][q]), d, totals[t][q]);
                }
            }
        }
    }
}

/// Codes as bytes.
pub struct PanelPlanes<const Q: usize> {
    /// `[block][step][quad]`.
    codes: [[[V128; Q]; 8]; 8],
    /// 16 times the sum of the codes of each row, `[block][quad]`.
    sixteen: [[V128; Q]; 8],
    /// `[block][quad]`.
    d: [[V128; Q]; 8],
    /// How many blocks there are: fewer than eight at the end of a row.
    blocks: usize,
}

/// A batch in twelve bits, in planes.
pub struct BatchPlanes<G>(PhantomData<G>);

impl<const Q: usize> PanelPlanes<Q> {
    /// A panel for any number of matrices.
    pub fn empty() -> Self {
        let zeros = [i32x4_splat(0); Q];
        PanelPlanes {
            codes: [[zeros; 8]; 8],
            sixteen: [zeros; 8],
            d: [zeros; 8],
            blocks: 0,
        }
    }
}

impl<G: Signed, const Q: usize, const T: usize> Tile<Q, T> for BatchPlanes<G> {
    type Group = G;
    type X = SuperPlanes;
    type Panel = PanelPlanes<Q>;

    #[inline(always)]
    fn unpack(panel: &mut PanelPlanes<Q>, slot: usize, groups: &[G]) {
        let blocks = G::LEN / 32;
        if slot == 0 {
            panel.blocks = groups.len() * blocks;
        }
        let sixteens = i8x16_splat(16);
        for j in 0..8.min(groups.len() * blocks) {
            let (group, b) = (&groups[j / blocks], j % blocks);
            panel.d[j][slot] = group.d(b);
            let codes = group.codes(b);
            panel.sixteen[j][slot] = codes
                .into_iter()
                .fold(i32x4_splat(0), |sum, codes| dot4(codes, sixteens, sum));
            for (s, codes) in codes.into_iter().enumerate() {
                panel.codes[j][s][slot] = codes;
            }
        }
    }

    #[inline(always)]
    fn multiply<const N: usize>(panel: &PanelPlanes<Q>, x: [&SuperPlanes; N], totals: &mut [[V128; Q]; N]) {
        let n = Hidden::numbers();
        for j in 0..panel.blocks {
            let x: [&BlockPlanes; N] = x.map(|x| &x[j]);
            let planes = x.map(|x| [x.low.as_chunks::<4>().0, x.high.as_chunks::<4>().0]);
            let mut sums = [[[i32x4_splat(0); 2]; Q]; N];
            for s in 0..n.eight {
                for t in 0..N {
                    let x = planes[t].map(|plane| load_splat_u8x4(&plane[s]));
                    for q in 0..Q {
                        for p in 0..2 {
                            sums[t][q][p] = dot4(panel.codes[j][s][q], x[p], sums[t][q][p]);
                        }
                    }
                }
            }
            for t in 0..N {
                let scale = load_splat_f32(&x[t].scale);
                for q in 0..Q {
                    let [low, high] = sums[t][q];
                    let d = f32x4_mul(panel.d[j][q], scale);
                    totals[t][q] = madd(of_planes(low, high, panel.sixteen[j][q]), d, totals[t][q]);
                }
            }
        }
    }
}
