//! Functions of whole vectors, as mathematics writes them, in f64 where the order of a sum matters.

use half::f16;

/// `out[i] = weight[i] * x[i] / sqrt(mean(x²) + eps)`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let scale = 1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (f64::from(x) * scale * f64::from(weight)) as f32;
    }
}

/// [`rms_norm`] where it stands.
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let input = x.to_vec();
    rms_norm(&input, weight, eps, x);
}

/// `to[i] += from[i]`.
pub fn add_assign(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// `out[i] = silu(gate[i]) * up[i]` with `silu(x) = x / (1 + exp(-x))`.
pub fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        let gate = f64::from(gate);
        *out = (gate / (1.0 + (-gate).exp()) * f64::from(up)) as f32;
    }
}

/// `x[i] *= 1 / (1 + exp(-gate[i]))`.
pub fn sigmoid_mul_in_place(x: &mut [f32], gate: &[f32]) {
    for (x, &gate) in x.iter_mut().zip(gate) {
        *x = (f64::from(*x) / (1.0 + (-f64::from(gate)).exp())) as f32;
    }
}

/// `x[i] = exp(x[i])`.
pub fn exp_in_place(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = f64::from(*x).exp() as f32);
}

/// `x[i] = exp(x[i]) / sum(exp(x))`; zeros where every value is minus infinity.
pub fn softmax(x: &mut [f32]) {
    let max = max(x);
    if max == f32::NEG_INFINITY {
        return x.fill(0.0);
    }
    let exp: Vec<f64> = x.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).collect();
    let sum: f64 = exp.iter().sum();
    x.iter_mut().zip(exp).for_each(|(x, exp)| *x = (exp / sum) as f32);
}

/// The largest value, NaN left aside; minus infinity if there is none.
pub fn max(x: &[f32]) -> f32 {
    x.iter()
        .fold(f32::NEG_INFINITY, |max, &x| if max < x { x } else { max })
}

/// The largest magnitude, NaN left aside; 0 if there is none.
pub fn max_abs(x: &[f32]) -> f32 {
    x.iter()
        .fold(0.0, |max, x| if max < x.abs() { x.abs() } else { max })
}

/// Where the largest value stands, the first of equals, NaN left aside; 0 if there is none.
pub fn argmax(x: &[f32]) -> usize {
    let max = max(x);
    x.iter().position(|&x| x == max).unwrap_or(0)
}

/// Half-precision bits as f32, exactly.
pub fn f16_to_f32(from: &[u16], to: &mut [f32]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, &bits)| *to = f16::from_bits(bits).to_f32());
}

/// To half precision, ties to even, overflow to infinity.
pub fn f32_to_f16(from: &[f32], to: &mut [u16]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, &x)| *to = f16::from_f32(x).to_bits());
}
