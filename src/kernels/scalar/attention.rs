//! The two products of attention over one coded page of one head, by index.
#![allow(
    clippy::needless_range_loop,
    reason = "an index names the token here, as in the formula"
)]

use crate::kernels::cache::{Code, Coded, KEY_BLOCK, KEY_TOKENS, PAGE, VALUE_DIMENSIONS};
use crate::kernels::simd::attention::{Part, Query};

/// `scores[h][t] = query[h] . key[t]` for the first `tokens` tokens of the page, rounded up to whole groups.
pub fn scores<C: Code, const H: usize>(
    page: &Coded<C>,
    tokens: usize,
    queries: [Query; H],
    scores: &mut [[f32; PAGE]; H],
) {
    let blocks = queries[0].scales.len();
    for t in 0..tokens.next_multiple_of(KEY_TOKENS) {
        let (group, within) = (t / KEY_TOKENS, t % KEY_TOKENS);
        for h in 0..H {
            scores[h][t] = 0.0;
            for b in 0..blocks {
                let product = |d: usize| {
                    let pair = (group * blocks * KEY_BLOCK + b * KEY_BLOCK + d) / 2;
                    let key = page.keys[(pair * KEY_TOKENS + within) * 2 + d % 2];
                    key.get() * i32::from(queries[h].codes[b * KEY_BLOCK + d])
                };
                let exact: i32 = (0..KEY_BLOCK).map(product).sum();
                let scale = page.key_scales[(group * blocks + b) * KEY_TOKENS + within];
                scores[h][t] += exact as f32 * scale * queries[h].scales[b];
            }
        }
    }
}

/// `out[h] = out[h] * keep[h] + scale[h] * sum_t weights[h][t] value[t]` over the first `tokens` tokens of the page, rounded
/// up to a pair.
pub fn weigh<C: Code, const H: usize>(page: &Coded<C>, tokens: usize, parts: [&Part; H], out: &mut [f32]) {
    let row = out.len() / H;
    for (part, out) in parts.into_iter().zip(out.chunks_exact_mut(row)) {
        for (d, out) in out.iter_mut().enumerate() {
            let product = |t: usize| {
                let (panel, lane) = (d / VALUE_DIMENSIONS, d % VALUE_DIMENSIONS);
                let at = ((panel * PAGE / 2 + t / 2) * VALUE_DIMENSIONS + lane) * 2 + t % 2;
                page.values[at].get() * i32::from(part.weights[t])
            };
            let exact: i32 = (0..tokens.next_multiple_of(2)).map(product).sum();
            *out = *out * part.keep + exact as f32 * part.scale;
        }
    }
}
