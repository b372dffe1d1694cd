//! Products with float weights, row by row as they stand in the file, and with unfolded blocks of any other format.
//!
//! The plain algorithm: `out[t][r]` is the sum of `w[r][k] * x[t][k]`. Four partial sums, for `k` modulo 4, run over a
//! panel of 256 values; the panels' partial sums are added up in order, and the four at the very end. One vector and a
//! batch of them do exactly the same operations, so they give the same bits. Short runs keep the rounding error of a long
//! row small: it grows with the root of 64, not of 1,024.
//!
//! A batch reads four rows of weights once, as f32 in a panel of 4 kB that stays in the cache, for all its tokens.

use crate::kernels::lanes::*;

/// Values in a panel row.
pub const PANEL: usize = 256;

/// Four rows of a panel.
pub type Panel = [[f32; PANEL]; 4];

/// Tokens that share one unfolding of the weights.
const TOKENS: usize = 64;

/// Four floats.
#[inline(always)]
pub fn four_f32(w: &[f32; 4]) -> V128 {
    load_f32(w)
}

/// Four BF16 numbers: the upper halves of floats.
#[inline(always)]
pub fn four_bf16(w: &[i16; 4]) -> V128 {
    i32x4_shl(load_extend_i16(w), 16)
}

/// Four finite halves, subnormals included. Infinity and NaN, which no sound file has, would count as finite: the matrix
/// looks for them when it is loaded and takes [`four_f16_special`] instead.
///
/// ```text
/// half, sign extended     ssssssss ssssssss s eeeee mmmmmmmmmm
/// up by 13                sss s eeeee mmmmmmmmmm 0000000000000      the sign in bits 28 to 31
/// bits 28 to 30 cleared   s 000 eeeee mmmmmmmmmm 0000000000000      a float whose exponent lacks 112
/// ```
#[inline(always)]
pub fn four_f16(w: &[i16; 4]) -> V128 {
    let bits = i32x4_shl(load_extend_i16(w), 13);
    let lacking = and(bits, i32x4_splat(0x8fff_ffff_u32 as i32));
    f32x4_mul(lacking, f32x4_splat(f32::from_bits((127 + 112) << 23)))
}

/// Four halves, infinity and NaN among them.
#[inline(always)]
pub fn four_f16_special(w: &[i16; 4]) -> V128 {
    super::vector::f16_lanes_to_f32(load_extend_i16(w))
}

/// One vector times all rows: `out[r]` for each row of `stride` weights, of which `x.len()` count.
#[inline(always)]
pub fn vector<W>(
    weights: &[W],
    stride: usize,
    x: &[f32],
    out: &mut [f32],
    four: impl Fn(&[W; 4]) -> V128 + Copy,
) {
    for (group, out) in weights.chunks(4 * stride).zip(out.chunks_mut(4)) {
        // A last group of fewer rows repeats its first: the results are not kept.
        let row = |r: usize| {
            if r < out.len() {
                &group[r * stride..][..stride]
            } else {
                &group[..stride]
            }
        };
        let rows = [row(0), row(1), row(2), row(3)];
        let mut totals = [f32x4_splat(0.0); 4];
        for (p, x) in x.chunks(PANEL).enumerate() {
            let rows = rows.map(|row| &row[p * PANEL..][..x.len().next_multiple_of(4)]);
            let [sums] = tile(rows, [x], four);
            totals = add(totals, sums);
        }
        out.iter_mut()
            .zip(totals)
            .for_each(|(out, total)| *out = f32x4_sum(total));
    }
}

/// A batch of vectors, `cols` values each, times `rows` rows: `out[t * stride + r]`. `unfold(r, k, panel_row)` writes the
/// weights of row `r` from `k` on, as many as the row of the panel takes.
pub fn batch(
    rows: usize,
    cols: usize,
    x: &[f32],
    out: &mut [f32],
    stride: usize,
    unfold: &dyn Fn(usize, usize, &mut [f32]),
) {
    let mut panel: Panel = [[0.0; PANEL]; 4];
    let mut totals = [[f32x4_splat(0.0); 4]; TOKENS];
    for (x, out) in x.chunks(TOKENS * cols).zip(out.chunks_mut(TOKENS * stride)) {
        for first in (0..rows).step_by(4) {
            let count = (rows - first).min(4);
            totals.fill([f32x4_splat(0.0); 4]);
            for k in (0..cols).step_by(PANEL) {
                let len = (cols - k).min(PANEL);
                for (r, row) in panel.iter_mut().take(count).enumerate() {
                    row[len..len.next_multiple_of(4)].fill(0.0);
                    unfold(first + r, k, &mut row[..len]);
                }
                multiply_panel(&panel, x, cols, k, len, &mut totals);
            }
            for (t, totals) in totals.iter().take(x.len() / cols).enumerate() {
                for (r, &total) in totals.iter().take(count).enumerate() {
                    out[t * stride + first + r] = f32x4_sum(total);
                }
            }
        }
    }
}

/// Adds to each token's totals the products of `len` values from `k` on.
#[inline(never)]
fn multiply_panel(
    panel: &Panel,
    x: &[f32],
    cols: usize,
    k: usize,
    len: usize,
    totals: &mut [[V128; 4]; TOKENS],
) {
    let rows = panel.each_ref().map(|row| &row[..len.next_multiple_of(4)]);
    for (x, totals) in x.chunks(2 * cols).zip(totals.chunks_mut(2)) {
        if x.len() == 2 * cols {
            let sums = tile(rows, [&x[k..][..len], &x[cols + k..][..len]], four_f32);
            totals[0] = add(totals[0], sums[0]);
            totals[1] = add(totals[1], sums[1]);
        } else {
            let [sums] = tile(rows, [&x[k..][..len]], four_f32);
            totals[0] = add(totals[0], sums);
        }
    }
}

/// Four rows times `T` tokens, four partial sums each. The rows are as long as the tokens, filled up with zeros to whole
/// fours.
#[inline(always)]
fn tile<W, const T: usize>(
    rows: [&[W]; 4],
    x: [&[f32]; T],
    four: impl Fn(&[W; 4]) -> V128,
) -> [[V128; 4]; T] {
    let mut sums = [[f32x4_splat(0.0); 4]; T];
    let x = x.map(<[f32]>::as_chunks::<4>);
    let whole = x[0].0.len();
    let rows = rows.map(|row| row.as_chunks::<4>().0);
    let (w, rest) = (rows.map(|row| &row[..whole]), rows.map(|row| row.get(whole)));
    let fours = x.map(|(fours, _)| &fours[..whole]);
    for i in 0..whole {
        let w: [V128; 4] = std::array::from_fn(|r| four(&w[r][i]));
        for t in 0..T {
            let x = load_f32(&fours[t][i]);
            for r in 0..4 {
                sums[t][r] = madd(w[r], x, sums[t][r]);
            }
        }
    }
    if let [Some(w0), Some(w1), Some(w2), Some(w3)] = rest {
        let w = [four(w0), four(w1), four(w2), four(w3)];
        for t in 0..T {
            let mut last = [0.0; 4];
            last[..x[t].1.len()].copy_from_slice(x[t].1);
            for r in 0..4 {
                sums[t][r] = madd(w[r], load_f32(&last), sums[t][r]);
            }
        }
    }
    sums
}

#[inline(always)]
fn add(totals: [V128; 4], sums: [V128; 4]) -> [V128; 4] {
    std::array::from_fn(|r| f32x4_add(totals[r], sums[r]))
}
