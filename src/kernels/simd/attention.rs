//! The two products of attention over one coded page of one head: queries with keys, weights with values.
//!
//! The plain algorithm is a dot product per token, and a weighted sum of rows. Departures:
//! 1. Codes are 16-bit integers (8-bit ones are widened by the load), so one `i32x4_dot_i16x8` does eight multiply-adds, and
//!    sums stay exact until a scale is due.
//! 2. Keys of eight tokens are interleaved by pairs of dimensions: a lane is a token, so there are no horizontal sums.
//!    Values of two tokens are interleaved: a lane is a dimension.
//! 3. `H` queries that share the key-value head go through the loop together: a page is read once for them.

use crate::kernels::cache::{Code, Coded, KEY_BLOCK, KEY_TOKENS, PAGE, VALUE_DIMENSIONS};
use crate::kernels::lanes::*;

/// A code that can be loaded eight at a time.
pub trait Load: Code {
    /// Eight codes as lanes of 16 bits.
    fn load(from: &[Self; 8]) -> V128;
}

impl Load for i16 {
    #[inline(always)]
    fn load(from: &[i16; 8]) -> V128 {
        load_i16(from)
    }
}

impl Load for u8 {
    #[inline(always)]
    fn load(from: &[u8; 8]) -> V128 {
        load_extend_i8(from)
    }
}

/// A query as codes, padded to whole blocks with zeros.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// `[key_length]`
    pub codes: &'a [i16],
    /// `[key_length / KEY_BLOCK]`
    pub scales: &'a [f32],
}

/// `scores[h][t] = query[h] . key[t]` for the first `tokens` tokens of the page, rounded up to whole groups.
#[inline(never)]
pub fn scores<C: Load, const H: usize>(
    page: &Coded<C>,
    tokens: usize,
    queries: [Query; H],
    scores: &mut [[f32; PAGE]; H],
) {
    let blocks = queries[0].scales.len();
    let group_codes = blocks * KEY_BLOCK * KEY_TOKENS;
    for group in 0..tokens.div_ceil(KEY_TOKENS) {
        let (codes, _) = page.keys[group * group_codes..][..group_codes].as_chunks::<8>();
        let (scales, _) =
            page.key_scales[group * blocks * KEY_TOKENS..][..blocks * KEY_TOKENS].as_chunks::<4>();
        let mut sums = [[f32x4_splat(0.0); 2]; H];
        for block in 0..blocks {
            let codes = &codes[block * KEY_BLOCK..][..KEY_BLOCK];
            let pairs = queries.map(|query| query.codes[block * KEY_BLOCK..][..KEY_BLOCK].as_chunks::<2>().0);
            let mut exact = [[i32x4_splat(0); 2]; H];
            for (pair, keys) in codes.as_chunks::<2>().0.iter().enumerate() {
                let (low, high) = (C::load(&keys[0]), C::load(&keys[1]));
                for h in 0..H {
                    let query = load_splat_i16x2(&pairs[h][pair]);
                    exact[h][0] = i32x4_add(exact[h][0], i32x4_dot_i16x8(low, query));
                    exact[h][1] = i32x4_add(exact[h][1], i32x4_dot_i16x8(high, query));
                }
            }
            for half in 0..2 {
                let scale = load_f32(&scales[block * 2 + half]);
                for h in 0..H {
                    let scaled = f32x4_mul(f32x4_convert_i32x4(exact[h][half]), scale);
                    sums[h][half] = madd(scaled, f32x4_splat(queries[h].scales[block]), sums[h][half]);
                }
            }
        }
        for h in 0..H {
            let (fours, _) = scores[h].as_chunks_mut::<4>();
            store_f32(&mut fours[group * 2], sums[h][0]);
            store_f32(&mut fours[group * 2 + 1], sums[h][1]);
        }
    }
}

/// What one query takes from a page of values.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// What the sums so far are multiplied with.
    pub keep: f32,
    /// What the codes are multiplied with.
    pub scale: f32,
    /// The weight of each token as a code, 0 for those that the query does not see.
    pub weights: [i16; PAGE],
}

impl Part {
    /// Nothing.
    pub const NONE: Part = Part {
        keep: 1.0,
        scale: 0.0,
        weights: [0; PAGE],
    };
}

/// `out[h] = out[h] * keep[h] + scale[h] * sum_t weights[h][t] value[t]` over the first `tokens` tokens of the page, rounded
/// up to a pair. `out`: `[H, value_length]`, the length rounded up to [`VALUE_DIMENSIONS`].
#[inline(never)]
pub fn weigh<C: Load, const H: usize>(page: &Coded<C>, tokens: usize, parts: [&Part; H], out: &mut [f32]) {
    const PANEL: usize = VALUE_DIMENSIONS * PAGE;
    let pairs = tokens.div_ceil(2);
    let weights = parts.map(|part| part.weights.as_chunks::<2>().0);
    let (out, _) = out.as_chunks_mut::<4>();
    let row = out.len() / H;
    for panel in 0..row / 4 {
        let (codes, _) = page.values[panel * PANEL..][..PANEL].as_chunks::<8>();
        let mut exact = [[i32x4_splat(0); 4]; H];
        for (pair, values) in codes.as_chunks::<4>().0.iter().take(pairs).enumerate() {
            let splat = weights.map(|weights| load_splat_i16x2(&weights[pair]));
            for quarter in 0..4 {
                let values = C::load(&values[quarter]);
                for h in 0..H {
                    exact[h][quarter] = i32x4_add(exact[h][quarter], i32x4_dot_i16x8(values, splat[h]));
                }
            }
        }
        for h in 0..H {
            let (scale, keep) = (f32x4_splat(parts[h].scale), f32x4_splat(parts[h].keep));
            for quarter in 0..4 {
                let out = &mut out[h * row + panel * 4 + quarter];
                let kept = f32x4_mul(load_f32(out), keep);
                let sum = f32x4_convert_i32x4(exact[h][quarter]);
                store_f32(out, madd(sum, scale, kept));
            }
        }
    }
}

/// `to[i] = round(x[i] * factor)`, which is within 16 bits; zeros behind.
pub fn to_codes(x: &[f32], factor: f32, to: &mut [i16]) {
    let factor = f32x4_splat(factor);
    let code = |x: &[f32; 4]| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(load_f32(x), factor)));
    let (eights, tail) = x.as_chunks::<8>();
    let (head, rest) = to.split_at_mut(eights.len() * 8);
    for (x, to) in eights.iter().zip(head.as_chunks_mut::<8>().0) {
        let (fours, _) = x.as_chunks::<4>();
        store_i16(to, i16x8_narrow_i32x4(code(&fours[0]), code(&fours[1])));
    }
    rest.fill(0);
    for (x, to) in tail.iter().zip(rest) {
        *to = i32x4_lanes(code(&[*x; 4]))[0] as i16;
    }
}
