//! The gated delta rule and its convolution as their authors write them, a token at a time, in f64.

use crate::kernels::simd::delta_net::Tokens;

/// Takes tokens through the state of one head, `[width, width]`, value by key; `v` holds the values, and then what was
/// written.
pub fn delta_rule(state: &mut [f32], tokens: &Tokens, v: &mut [f32], out: &mut [f32]) {
    let width = tokens.q.len() / tokens.decay.len();
    for t in 0..tokens.decay.len() {
        let token = t * width..(t + 1) * width;
        let (q, k) = (&tokens.q[token.clone()], &tokens.k[token.clone()]);
        for (j, row) in state.chunks_exact_mut(width).enumerate() {
            let decayed: Vec<f64> = row
                .iter()
                .map(|s| f64::from(*s) * f64::from(tokens.decay[t]))
                .collect();
            let v = &mut v[token.start + j];
            let written = f64::from(tokens.beta[t]) * (f64::from(*v) - dot(&decayed, k));
            let updated: Vec<f64> = decayed
                .iter()
                .zip(k)
                .map(|(s, k)| s + written * f64::from(*k))
                .collect();
            out[token.start + j] = dot(&updated, q) as f32;
            *v = written as f32;
            row.iter_mut().zip(updated).for_each(|(s, new)| *s = new as f32);
        }
    }
}

/// Takes into the state what tokens wrote.
pub fn write(state: &mut [f32], k: &[f32], decay: &[f32], written: &[f32]) {
    let width = k.len() / decay.len();
    for t in 0..decay.len() {
        for (j, row) in state.chunks_exact_mut(width).enumerate() {
            for (s, k) in row.iter_mut().zip(&k[t * width..]) {
                *s = *s * decay[t] + written[t * width + j] * k;
            }
        }
    }
}

/// Causal convolution over four tokens, channel by channel, then SiLU, in place: `[3 + tokens, width]`.
pub fn convolve(u: &mut [f32], weights: &[f32], width: usize) {
    for t in 0..u.len() / width - 3 {
        for c in 0..width {
            let tap = |m: usize| f64::from(weights[4 * c + m]) * f64::from(u[(t + m) * width + c]);
            let sum: f64 = (0..4).map(tap).sum();
            u[t * width + c] = (sum / (1.0 + (-sum).exp())) as f32;
        }
    }
}

/// `out[i] = x[i] * scale / sqrt(sum(x²) + eps)`.
pub fn l2_norm(x: &[f32], scale: f32, eps: f32, out: &mut [f32]) {
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let factor = f64::from(scale) / (squares + f64::from(eps)).sqrt();
    out.iter_mut()
        .zip(x)
        .for_each(|(out, x)| *out = (f64::from(*x) * factor) as f32);
}

fn dot(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}
