//! Q8_0: blocks of 32 signed bytes with a scale.
//!
//! The plain algorithm, for one row and a block: `d scale sum(code a)`, where `scale` belongs to the activations. Signed
//! weights are widened to 16 bits as they are loaded and multiplied with twelve-bit activations, in both builds: the
//! eight-bit product of relaxed SIMD takes weights without sign, and in two planes it was half as fast (12.6 against
//! 23.4 Gw/s, the latter limited by memory).

use crate::kernels::activations::Super16;
use crate::kernels::lanes::*;
use crate::kernels::packed::GroupQ8_0;

use super::drive::{self, Hidden, Tile};
use super::inner::{products16, step16};

/// Two values of each row as 16-bit lanes.
#[inline(always)]
fn pairs(codes: &[[u8; 2]; 4]) -> V128 {
    load_extend_i8(codes.as_flattened().first_chunk().expect("four times two"))
}

/// One vector in twelve bits times all rows.
#[inline(never)]
pub fn vector16(groups: &[GroupQ8_0], per_row: usize, x: &[Super16], out: &mut [f32]) {
    drive::vector(groups, per_row, 8, x, out, |[total], groups, x, first| {
        for (group, x) in groups.iter().zip(&x.blocks[first..]) {
            let products = (0..16).fold(i32x4_splat(0), |sum, p| {
                step16(sum, load_splat_i16x2(&x.codes[p]), pairs(&group.codes[p]))
            });
            let d = f32x4_mul(load_f32(&group.d), load_splat_f32(&x.scale));
            *total = madd(f32x4_convert_i32x4(products), d, *total);
        }
    });
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
pub struct Batch16;

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

impl<const Q: usize, const T: usize> Tile<Q, T> for Batch16 {
    type Group = GroupQ8_0;
    type X = Super16;
    type Panel = Panel16<Q>;

    #[inline(always)]
    fn unpack(panel: &mut Panel16<Q>, slot: usize, groups: &[GroupQ8_0]) {
        if slot == 0 {
            panel.blocks = groups.len();
        }
        for (j, group) in groups.iter().enumerate().take(8) {
            panel.d[j][slot] = load_f32(&group.d);
            for (p, codes) in group.codes.iter().enumerate() {
                panel.codes[j][p][slot] = pairs(codes);
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
