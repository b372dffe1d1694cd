//! The filters that leave fewer tokens: each a function over the candidates, in any order before and after.

use super::candidates::{Candidate, likelier_first, prefix_by_weight, smaller_key_first, total};
use super::softmax::exp;

/// The smallest logit that top-n-sigma keeps: `n` standard deviations below the largest. Logits at negative infinity
/// (forbidden tokens) do not count.
pub(crate) fn sigma_floor(logits: &[f32], n: f32) -> f32 {
    let allowed = || logits.iter().copied().filter(|&logit| logit > f32::NEG_INFINITY);
    let (count, sum, max) = allowed()
        .fold((0.0f64, 0.0f64, f32::NEG_INFINITY), |(count, sum, max), logit| {
            (count + 1.0, sum + f64::from(logit), max.max(logit))
        });
    let mean = sum / count.max(1.0);
    let variance = allowed()
        .map(|logit| (f64::from(logit) - mean).powi(2))
        .sum::<f64>()
        / count.max(1.0);
    (f64::from(max) - f64::from(n) * variance.sqrt()) as f32
}

/// Weights for candidates at this temperature: e^((logit - max) / temperature).
pub(crate) fn weigh(candidates: &mut [Candidate], temperature: f32) {
    let max = max_logit(candidates);
    for candidate in candidates {
        candidate.weight = exp((candidate.logit - max) * (1.0 / temperature));
    }
}

/// Divides the logits by a temperature: shifted first, so that a small one cannot overflow at the top.
pub(crate) fn scale(candidates: &mut [Candidate], temperature: f32) {
    let max = max_logit(candidates);
    candidates
        .iter_mut()
        .for_each(|c| c.logit = ((c.logit - max) / temperature).max(f32::MIN));
}

/// The largest logit.
pub(crate) fn max_logit(candidates: &[Candidate]) -> f32 {
    candidates
        .iter()
        .fold(f32::NEG_INFINITY, |max, c| max.max(c.logit))
}

/// Typical sampling: tokens by how close their surprise -ln p is to the expected one (the entropy), until their
/// probability exceeds `p`.
pub(crate) fn typical(candidates: &mut Vec<Candidate>, p: f32) {
    let sum = total(candidates);
    let max = f64::from(max_logit(candidates));
    let log_sum = sum.ln();
    // -ln p = max + ln Σ - logit, which stays exact where p itself underflows.
    let surprise = |c: &Candidate| max + log_sum - f64::from(c.logit);
    let entropy: f64 = candidates
        .iter()
        .map(|c| f64::from(c.weight) / sum * surprise(c))
        .sum();
    for candidate in candidates.iter_mut() {
        candidate.key = (surprise(candidate) - entropy).abs() as f32;
    }
    let keep = prefix_by_weight(candidates, smaller_key_first, f64::from(p) * sum, true);
    candidates.truncate(keep);
}

/// Top-p: the most likely tokens whose weights together reach `p` times the sum of all.
pub(crate) fn top_p(candidates: &mut Vec<Candidate>, p: f32, sum: f64) {
    let keep = prefix_by_weight(candidates, likelier_first, f64::from(p) * sum, false);
    candidates.truncate(keep);
}

/// Min-p: tokens at least `p` times as likely as the most likely one.
pub(crate) fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    let floor = max_logit(candidates) + p.ln();
    candidates.retain(|c| c.logit >= floor);
}

/// XTC, "exclude top choices": of the tokens with a probability of at least `threshold`, only the least likely stays.
pub(crate) fn xtc(candidates: &mut Vec<Candidate>, threshold: f32) {
    let mark = f64::from(threshold) * total(candidates);
    let is_top = |c: &Candidate| f64::from(c.weight) >= mark;
    let Some(stays) = candidates
        .iter()
        .filter(|c| is_top(c))
        .max_by(|a, b| likelier_first(a, b))
        .map(|c| c.id)
    else {
        return;
    };
    candidates.retain(|c| !is_top(c) || c.id == stays);
}
