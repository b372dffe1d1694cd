//! The loops around the kernels: rows in groups and tiles, tokens in tiles, and where results go.

use std::hint::black_box;

use crate::kernels::lanes::*;
use crate::kernels::packed::Group;

/// Tokens that share one unpacking of a tile of weights.
const TOKENS: usize = 128;

/// Counts that the optimiser may not see through. If it knew them it would unroll the loop, and then order the long body
/// sum by sum, so that every operand stays alive and spills: 12 to 15 Gw/s for Q4_K instead of 35.
#[derive(Clone, Copy)]
pub struct Hidden {
    /// 4, known to be no more: an unrolled loop with exits, which keep the order.
    pub four: usize,
    /// 8, likewise.
    pub eight: usize,
    /// 16, likewise.
    pub sixteen: usize,
    /// 8 sub-blocks, not known to be no more: a loop.
    pub blocks: usize,
}

impl Hidden {
    /// The counts.
    #[inline(always)]
    pub fn numbers() -> Self {
        Hidden {
            four: black_box(4).min(4),
            eight: black_box(8).min(8),
            sixteen: black_box(16).min(16),
            blocks: black_box(8),
        }
    }
}

/// A byte in every lane, kept in a register: a constant would be built anew in each turn of the loop, 3 to 10 % for Q6_K.
#[inline(always)]
pub fn hidden_splat(byte: u8) -> V128 {
    black_box(i8x16_splat(byte as i8))
}

/// In how many places at once a matrix is read. A processor fetches ahead in each of several streams, but only within a page:
/// with one, a core of an Intel Xeon waits at every page and reads Q4_K at 5.2 GB/s, with four at 7.
const STREAMS: usize = 4;

/// Groups at a turn, if they are of 32 values: 5 to 20 % faster from memory than eight at a turn. Groups of 256 values are not
/// divided: that costs a quarter of the speed in cache and brings nothing from memory.
const TURN: usize = 2;

/// One vector times all rows. `groups` holds `per_row` groups for each `Q` quads of rows; `step` adds to the totals of such a
/// row the products of a turn: some groups, and the one of `x` that they are multiplied with, from which group of it on. An `x`
/// has `per_super` groups.
#[inline(always)]
pub fn vector<G, X, const Q: usize>(
    groups: &[G],
    per_row: usize,
    per_super: usize,
    x: &[X],
    out: &mut [f32],
    step: impl Fn(&mut [V128; Q], &[G], &X, usize),
) {
    let rows = groups.len() / per_row;
    let long = rows / STREAMS;
    let turn = per_super.min(TURN);
    // Not known to be four, or the kernel would be there four times.
    let streams = black_box(STREAMS).min(STREAMS);
    // The first turn walks in streams, the second takes the rows that are left, in one.
    for (first, count, streams) in [(0, long, streams), (long * STREAMS, rows % STREAMS, 1)] {
        for r in first..first + count {
            let mut totals = [[f32x4_splat(0.0); Q]; STREAMS];
            for i in (0..per_row).step_by(turn) {
                let x = &x[i / per_super];
                for (s, totals) in totals[..streams].iter_mut().enumerate() {
                    let row = &groups[(s * long + r) * per_row..][..per_row];
                    step(totals, &row[i..per_row.min(i + turn)], x, i % per_super);
                }
            }
            for (s, totals) in totals[..streams].iter().enumerate() {
                let at = 4 * Q * (s * long + r);
                let end = out.len().min(at + 4 * Q);
                store_quads(&mut out[at..end], *totals);
            }
        }
    }
}

/// Writes the rows that there are, at most `4 * Q`.
#[inline(always)]
fn store_quads<const Q: usize>(out: &mut [f32], sums: [V128; Q]) {
    let (fours, rest) = out.as_chunks_mut::<4>();
    for (four, sum) in fours.iter_mut().zip(sums) {
        store_f32(four, sum);
    }
    if let Some(&sum) = sums.get(fours.len()) {
        rest.copy_from_slice(&f32x4_lanes(sum)[..rest.len()]);
    }
}

/// How a format is multiplied with a batch: `Q` quads of rows by `T` tokens at a time, a super-block of 256 values in a
/// panel of unpacked weights.
pub trait Tile<const Q: usize, const T: usize> {
    /// The weights.
    type Group: Group;
    /// 256 activations of a token.
    type X;
    /// Unpacked weights of `Q` quads.
    type Panel;

    /// Unpacks a super-block of the `slot`-th row group of the panel: one group of 256 values, or up to eight of 32; none
    /// for rows that do not exist, whose results are dropped.
    fn unpack(panel: &mut Self::Panel, slot: usize, groups: &[Self::Group]);

    /// Adds the products of the panel with the super-blocks of `N` tokens to their totals.
    fn multiply<const N: usize>(panel: &Self::Panel, x: [&Self::X; N], totals: &mut [[V128; Q]; N]);
}

/// What a batch multiplies.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Rows of the matrix.
    pub rows: usize,
    /// Values in a row.
    pub cols: usize,
    /// Vectors in the batch.
    pub tokens: usize,
    /// Where the results of the next token begin.
    pub stride: usize,
}

/// A batch times all rows: `out[t * stride + r]`. Super-block `s` of token `t` is `x[s * tokens + t]`. For a few tokens the time is
/// that of reading the weights, and so they are read in several streams, as in [`vector`]: 4 tokens cost up to a tenth less.
#[inline(always)]
pub fn batch<K: Tile<Q, T>, const Q: usize, const T: usize>(
    panel: &mut K::Panel,
    groups: &[K::Group],
    shape: Shape,
    x: &[K::X],
    out: &mut [f32],
) {
    let Shape {
        rows,
        cols,
        tokens,
        stride,
    } = shape;
    let per_row = cols / K::Group::LEN;
    let per_super = 256 / K::Group::LEN;
    let mut totals = [[f32x4_splat(0.0); Q]; TOKENS];
    for first_token in (0..tokens).step_by(TOKENS) {
        let count = (tokens - first_token).min(TOKENS);
        let streams = if count * STREAMS <= TOKENS { STREAMS } else { 1 };
        let tiles = rows.div_ceil(4 * Q);
        let long = tiles / streams;
        // As in [`vector`]: in streams, and what is left in one.
        for (first, tiles, streams) in [(0, long, streams), (long * streams, tiles % streams, 1)] {
            for tile in first..first + tiles {
                let first_row = |stream: usize| (stream * long + tile) * 4 * Q;
                totals.fill([f32x4_splat(0.0); Q]);
                for (s, x) in x.chunks_exact(tokens).enumerate() {
                    for (stream, totals) in totals.chunks_exact_mut(count).take(streams).enumerate() {
                        for slot in 0..4 * Q / K::Group::ROWS {
                            let row_group = first_row(stream) / K::Group::ROWS + slot;
                            let row = groups
                                .get(row_group * per_row..(row_group + 1) * per_row)
                                .unwrap_or(&[]);
                            let rest = row.get(s * per_super..).unwrap_or(&[]);
                            K::unpack(panel, slot, &rest[..rest.len().min(per_super)]);
                        }
                        multiply_panel::<K, Q, T>(panel, &x[first_token..][..count], totals);
                    }
                }
                for (stream, totals) in totals.chunks_exact(count).take(streams).enumerate() {
                    let row = first_row(stream);
                    let end = rows.min(row + 4 * Q);
                    for (t, totals) in totals.iter().enumerate() {
                        let out = &mut out[(first_token + t) * stride..][..stride];
                        store_quads(&mut out[row..end], *totals);
                    }
                }
            }
        }
    }
}

/// One tile. A function of its own: inside the loop over the tokens, the whole panel would be loaded ahead of it. The
/// tokens come as a slice: where LLVM knows that more than four bytes can be read, it makes a load and a shuffle of a load
/// into all lanes.
#[inline(never)]
fn multiply_tile<K: Tile<Q, T>, const Q: usize, const T: usize, const N: usize>(
    panel: &K::Panel,
    x: &[K::X],
    totals: &mut [[V128; Q]; N],
) {
    K::multiply(panel, std::array::from_fn(|t| &x[t]), totals);
}

/// All tokens of a batch, `T` at a time and the last ones alone.
#[inline(never)]
fn multiply_panel<K: Tile<Q, T>, const Q: usize, const T: usize>(
    panel: &K::Panel,
    x: &[K::X],
    totals: &mut [[V128; Q]],
) {
    let (tiles, rest) = x.as_chunks::<T>();
    let (tile_totals, _) = totals.as_chunks_mut::<T>();
    for (x, totals) in tiles.iter().zip(tile_totals) {
        multiply_tile::<K, Q, T, _>(panel, x, totals);
    }
    let done = tiles.len() * T;
    for (x, totals) in rest
        .as_chunks::<1>()
        .0
        .iter()
        .zip(totals[done..].as_chunks_mut::<1>().0)
    {
        multiply_tile::<K, Q, T, _>(panel, x, totals);
    }
}
