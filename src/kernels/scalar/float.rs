//! Products with float weights, as mathematics writes them.

/// One vector times all rows, in f64: `out[r]` for each row of `stride` weights, of which `x.len()` count.
pub fn vector<W>(weights: &[W], stride: usize, x: &[f32], out: &mut [f32], value: impl Fn(&W) -> f32) {
    for (row, out) in weights.chunks(stride).zip(out) {
        *out = row
            .iter()
            .zip(x)
            .map(|(w, &x)| f64::from(value(w)) * f64::from(x))
            .sum::<f64>() as f32;
    }
}
