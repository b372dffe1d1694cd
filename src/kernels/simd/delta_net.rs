//! The gated delta rule and the convolution before it (Yang et al., 2025, "Gated Delta Networks").
//!
//! The plain algorithm takes a token at a time: decay the state, read it with the key, write the correction, read it with
//! the query. Departures:
//! 1. Row `j` of the state concerns value `j` alone, so four rows go through all tokens before the next four are touched:
//!    they stay in the first cache, which a whole state does not fit in.
//! 2. Both products with a row are taken of the state as it was, in one pass; what the token writes reaches its own output
//!    through `key . query`. The second pass decays and writes: each value of the state is loaded twice and stored once.

use crate::kernels::lanes::*;

use super::vector;

/// Some tokens of one head. Queries and keys are `[tokens, width]`, values `[tokens, width]`.
#[derive(Debug)]
pub struct Tokens<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// What is kept of the state: `[tokens]`.
    pub decay: &'a [f32],
    /// How much of the correction is written: `[tokens]`.
    pub beta: &'a [f32],
}

/// Takes tokens through the state of one head, `[width, width]`, value by key. `v` holds the values, and then what was
/// written: `beta (v - decay state k)`. `out[t] = state q`, with the state that has seen token `t`.
pub fn delta_rule(state: &mut [f32], tokens: &Tokens, v: &mut [f32], out: &mut [f32]) {
    let Tokens { q, k, decay, beta } = tokens;
    let width = q.len() / decay.len();
    for (block, rows) in state.chunks_exact_mut(4 * width).enumerate() {
        for (t, (q, k)) in q.chunks_exact(width).zip(k.chunks_exact(width)).enumerate() {
            let at = t * width + 4 * block;
            let (v, out) = (&mut v[at..at + 4], &mut out[at..at + 4]);
            if let (Some(v), Some(out)) = (v.first_chunk_mut(), out.first_chunk_mut()) {
                four_rows(rows, q, k, decay[t], beta[t], v, out);
            }
        }
    }
}

/// One token through four rows of the state.
#[inline(always)]
fn four_rows(
    rows: &mut [f32],
    q: &[f32],
    k: &[f32],
    decay: f32,
    beta: f32,
    v: &mut [f32; 4],
    out: &mut [f32; 4],
) {
    let (q, k) = (q.as_chunks::<4>().0, k.as_chunks::<4>().0);
    let mut sums = [[f32x4_splat(0.0); 4]; 2];
    let mut kq = f32x4_splat(0.0);
    {
        // All of one length, so that the loop needs no checks.
        let whole = q.len().min(k.len());
        let (q, k) = (&q[..whole], &k[..whole]);
        let rows = four(rows).map(|row| &row[..whole]);
        for i in 0..whole {
            let (q, k) = (load_f32(&q[i]), load_f32(&k[i]));
            kq = madd(k, q, kq);
            for r in 0..4 {
                let s = load_f32(&rows[r][i]);
                sums[0][r] = madd(s, k, sums[0][r]);
                sums[1][r] = madd(s, q, sums[1][r]);
            }
        }
    }
    let total = |sums: [V128; 4]| {
        let [a, b, c, d] = transpose_32x4(sums);
        f32x4_mul(f32x4_add(f32x4_add(a, c), f32x4_add(b, d)), f32x4_splat(decay))
    };
    let known = total(sums[0]);
    let written = f32x4_mul(f32x4_sub(load_f32(v), known), f32x4_splat(beta));
    store_f32(out, madd(written, f32x4_splat(f32x4_sum(kq)), total(sums[1])));
    store_f32(v, written);
    write_rows(rows, k, decay, *v);
}

/// Decays four rows of the state and adds `written[r] k` to each.
#[inline(always)]
fn write_rows(rows: &mut [f32], k: &[[f32; 4]], decay: f32, written: [f32; 4]) {
    let decay = f32x4_splat(decay);
    let written = written.map(f32x4_splat);
    let width = rows.len() / 4;
    let (ab, cd) = rows.split_at_mut(2 * width);
    let ((a, b), (c, d)) = (ab.split_at_mut(width), cd.split_at_mut(width));
    let [a, b, c, d] = [a, b, c, d].map(|row| row.as_chunks_mut::<4>().0);
    let whole = k.len();
    let rows = [&mut a[..whole], &mut b[..whole], &mut c[..whole], &mut d[..whole]];
    for i in 0..whole {
        let k = load_f32(&k[i]);
        for r in 0..4 {
            let s = load_f32(&rows[r][i]);
            store_f32(&mut rows[r][i], madd(written[r], k, f32x4_mul(s, decay)));
        }
    }
}

/// Takes into the state what tokens wrote that went through a copy of it: the same to the last bit. `written` is what
/// [`delta_rule`] left in `v`.
pub fn write(state: &mut [f32], k: &[f32], decay: &[f32], written: &[f32]) {
    let Some(width) = k.len().checked_div(decay.len()) else {
        return;
    };
    for (block, rows) in state.chunks_exact_mut(4 * width).enumerate() {
        for ((k, decay), written) in k.chunks_exact(width).zip(decay).zip(written.chunks_exact(width)) {
            let (four, _) = written.as_chunks::<4>();
            write_rows(rows, k.as_chunks::<4>().0, *decay, four[block]);
        }
    }
}

/// The rows of a block, four values at a time.
#[inline(always)]
fn four(rows: &[f32]) -> [&[[f32; 4]]; 4] {
    let width = rows.len() / 4;
    std::array::from_fn(|r| rows[r * width..][..width].as_chunks::<4>().0)
}

/// Channels whose taps are at hand while the tokens go by: 4 KB of them, and whole cache lines of each token.
const CHANNELS: usize = 64;

/// Causal convolution over four tokens, channel by channel, then SiLU. `u` holds the three tokens before the batch and
/// the batch, `[3 + tokens, width]`; `weights` are `[width, 4]`, the newest token last. The results of the batch are left in
/// the first `tokens` rows; the last three rows stay, for the next batch.
pub fn convolve(u: &mut [f32], weights: &[f32], width: usize) {
    let (weights, _) = weights.as_chunks::<4>();
    for first in (0..width).step_by(CHANNELS) {
        let count = (width - first).min(CHANNELS);
        let weights = &weights[first..first + count];
        let mut taps = [[f32x4_splat(0.0); 4]; CHANNELS / 4];
        for (taps, weights) in taps.iter_mut().zip(weights.chunks(4)) {
            let mut rows = [f32x4_splat(0.0); 4];
            rows.iter_mut()
                .zip(weights)
                .for_each(|(row, four)| *row = load_f32(four));
            *taps = transpose_32x4(rows);
        }
        let mut rest = &mut u[first..];
        // The oldest row gives way to the result, which nothing after it reads.
        while rest.len() > 3 * width {
            let (oldest, newer) = rest.split_at_mut(width);
            let seen = [0, 1, 2].map(|t| &newer[t * width..][..count]);
            convolve_row(&mut oldest[..count], seen, &taps);
            rest = newer;
        }
    }
}

/// One token of up to [`CHANNELS`] channels: `row` is that of the oldest token, and becomes the result.
#[inline(never)]
fn convolve_row(row: &mut [f32], newer: [&[f32]; 3], taps: &[[V128; 4]; CHANNELS / 4]) {
    let exp = vector::Exp::ready();
    let result = |oldest: V128, newer: [V128; 3], taps: &[V128; 4]| {
        let sum = f32x4_mul(taps[0], oldest);
        let sum = madd(taps[1], newer[0], sum);
        let sum = madd(taps[2], newer[1], sum);
        exp.silu(madd(taps[3], newer[2], sum))
    };
    let (fours, tail) = row.as_chunks_mut::<4>();
    let newer_fours = newer.map(|row| row.as_chunks::<4>().0);
    let whole = fours.len();
    for (i, four) in fours.iter_mut().enumerate() {
        let newer = newer_fours.map(|row| load_f32(&row[i]));
        store_f32(four, result(load_f32(four), newer, &taps[i]));
    }
    if !tail.is_empty() {
        let newer = newer.map(|row| vector::load_tail(&row[4 * whole..]));
        let last = result(vector::load_tail(tail), newer, &taps[whole]);
        vector::store_tail(tail, last);
    }
}

/// `out[i] = x[i] * scale / sqrt(sum(x²) + eps)`.
pub fn l2_norm(x: &[f32], scale: f32, eps: f32, out: &mut [f32]) {
    let factor = scale / (vector::squares(x) + eps).sqrt();
    out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor);
}
