//! Exponentials and sums over whole vocabularies.
//!
//! The exponential is our own, for two reasons: written without branches it becomes SIMD code on every target (a
//! quarter of a million of them are needed per token), and it gives the same bits everywhere, so that the same seed
//! chooses the same token in a browser and in a native test.

use super::candidates::{self, Candidate};

const LANES: usize = 8;

/// eˣ for x ≤ 0; larger x count as 0, and from -87 down, where the result would soon be denormal, it is 0. NaN gives 0.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2; eʳ by the polynomial of the Cephes library (S. Moshier, `expf`), 2ⁿ by its bits.
/// The relative error is below 2e-7.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 × 2²³ leaves the nearest integer in the low bits of the sum.
    const MAGIC: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written as comparisons, which are false for NaN.
    let clamped = if x > -87.0 { x } else { -87.0 };
    let clamped = if clamped < 0.0 { clamped } else { 0.0 };
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let result = p * (r * r) + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x > -87.0 { result * power } else { 0.0 }
}

/// The largest value; NaN is passed over, negative infinity if there is none.
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(chunks.remainder())
        .fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// Σ e^((value - max) / temperature), for a maximum above negative infinity.
pub(crate) fn sum_exp(values: &[f32], max: f32, temperature: f32) -> f64 {
    const RUN: usize = 32 * LANES;
    // The map and the sum are two loops over a small buffer, because the compiler makes SIMD code of each alone but not
    // of both in one: 0.3 ms against 1.1 ms for 248,320 values, with SSE2. A run is summed in single precision,
    // the runs in double.
    let mut buffer = [0.0f32; RUN];
    let scale = 1.0 / temperature;
    let mut total = 0.0f64;
    for run in values.chunks(RUN) {
        for (out, &value) in buffer.iter_mut().zip(run) {
            *out = exp((value - max) * scale);
        }
        let mut lanes = [0.0f32; LANES];
        let mut chunks = buffer[..run.len()].chunks_exact(LANES);
        for chunk in &mut chunks {
            lanes
                .iter_mut()
                .zip(chunk)
                .for_each(|(lane, &value)| *lane += value);
        }
        total += lanes
            .iter()
            .chain(chunks.remainder())
            .map(|&value| f64::from(value))
            .sum::<f64>();
    }
    total
}

/// ln Σ e^(value - max), and max, which is finite unless every value is negative infinity or NaN.
pub(crate) fn log_sum_exp(values: &[f32]) -> (f32, f32) {
    let max = max(values).min(f32::MAX);
    if max == f32::NEG_INFINITY {
        return ((values.len().max(1) as f32).ln(), max);
    }
    (sum_exp(values, max, 1.0).ln() as f32, max)
}

/// The log-probability of one token, from [`log_sum_exp`] of all logits.
pub(crate) fn log_probability(logit: f32, (log_sum, max): (f32, f32)) -> f32 {
    match (max == f32::NEG_INFINITY, logit.is_nan()) {
        (true, _) => -log_sum,
        (false, true) => f32::NEG_INFINITY,
        (false, false) => (logit.min(f32::MAX) - max) - log_sum,
    }
}

/// The log-probability of one token among all, as in [`top_logprobs`].
pub fn logprob(logits: &[f32], id: u32) -> f32 {
    logprobs(logits, &[id])[0]
}

/// The log-probabilities of these tokens among all.
pub fn logprobs(logits: &[f32], ids: &[u32]) -> Vec<f32> {
    let sum = log_sum_exp(logits);
    let logit = |id: &u32| logits.get(*id as usize).copied().unwrap_or(f32::NAN);
    ids.iter().map(|id| log_probability(logit(id), sum)).collect()
}

/// The `k` most likely tokens with their log-probabilities, most likely first, ties by lowest id. Of the logits as
/// they are: before bias, penalties and temperature, as in OpenAI's `top_logprobs`.
pub fn top_logprobs(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let sum = log_sum_exp(logits);
    let mut top: Vec<Candidate> = Vec::new();
    candidates::select_top(logits, k, &mut top);
    top.sort_unstable_by(candidates::likelier_first);
    top.iter()
        .map(|c| (c.id, log_probability(c.logit, sum)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_a_few_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in 0..870_000 {
            let x = -f64::from(i) * 1e-4;
            let exact = f64::from(x as f32).exp();
            worst = worst.max((f64::from(exp(x as f32)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(5.0), 1.0);
        for nothing in [-87.0, -88.0, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exp(nothing), 0.0);
        }
    }

    #[test]
    fn sums_over_odd_tails_and_odd_values() {
        for n in [1usize, 7, 8, 9, 1023, 1024, 1025, 5000] {
            let values: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 * 0.2 - 10.0).collect();
            let exact = values.iter().map(|&v| f64::from(v).exp()).sum::<f64>().ln();
            let (log_sum, max) = log_sum_exp(&values);
            assert!(
                (f64::from(log_sum + max) - exact).abs() < 2e-6 * exact.abs().max(1.0),
                "{n}"
            );
        }
        assert_eq!(log_sum_exp(&[f32::NAN, 1.0, f32::NEG_INFINITY]), (0.0, 1.0));
        assert_eq!(
            log_probability(f32::INFINITY, log_sum_exp(&[f32::INFINITY, 1.0])),
            0.0
        );
        let hopeless = log_sum_exp(&[f32::NAN, f32::NEG_INFINITY]);
        assert_eq!(log_probability(f32::NAN, hopeless), -(2f32.ln()));
    }
}
