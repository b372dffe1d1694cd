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
        let rows = four(rows);
        for (i, (q, k)) in q.iter().zip(k).enumerate() {
            let (q, k) = (load_f32(q), load_f32(k));
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
    let rows = [a, b, c, d].map(|row| row.as_chunks_mut::<4>().0);
    for (i, k) in k.iter().enumerate() {
        let k = load_f32(k);
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

/// Causal convolution over four tokens, channel by channel, then SiLU. `u` holds the three tokens before the batch and
/// the batch, `[3 + tokens, width]`; `weights` are `[width, 4]`, the newest token last. The results of the batch are left in
/// the first `tokens` rows; the last three rows stay, for the next batch.
pub fn convolve(u: &mut [f32], weights: &[f32], width: usize) {
    let tokens = (u.len() / width).saturating_sub(3);
    let (weights, _) = weights.as_chunks::<4>();
    for first in (0..width).step_by(4) {
        let count = (width - first).min(4);
        let mut taps = [f32x4_splat(0.0); 4];
        for (tap, weights) in taps.iter_mut().zip(&weights[first..first + count]) {
            *tap = load_f32(weights);
        }
        let taps = transpose_32x4(taps);
        let load = |u: &[f32], t: usize| {
            let mut four = [0.0; 4];
            four[..count].copy_from_slice(&u[t * width + first..][..count]);
            load_f32(&four)
        };
        let mut seen = [load(u, 0), load(u, 1), load(u, 2)];
        for t in 0..tokens {
            let newest = load(u, t + 3);
            let sum = f32x4_mul(taps[0], seen[0]);
            let sum = madd(taps[1], seen[1], sum);
            let sum = madd(taps[2], seen[2], sum);
            let sum = madd(taps[3], newest, sum);
            let result = f32x4_lanes(vector::silu_lanes(sum));
            u[t * width + first..][..count].copy_from_slice(&result[..count]);
            seen = [seen[1], seen[2], newest];
        }
    }
}

/// `out[i] = x[i] * scale / sqrt(sum(x²) + eps)`.
pub fn l2_norm(x: &[f32], scale: f32, eps: f32, out: &mut [f32]) {
    let factor = scale / (vector::squares(x) + eps).sqrt();
    out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor);
}
