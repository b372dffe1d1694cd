//! Changes to the logits of single tokens: bias, suppression, and the penalties on repetition.

use super::history::History;
use super::params::Params;

/// No NaN and no positive infinity: what the rest of the chain counts on. Two comparisons, false for NaN, which the
/// compiler makes SIMD code of.
#[inline(always)]
pub(crate) fn sane(logit: f32) -> f32 {
    let number = if logit > f32::NEG_INFINITY {
        logit
    } else {
        f32::NEG_INFINITY
    };
    if number < f32::MAX { number } else { f32::MAX }
}

/// Adds the bias of each token, and forbids the suppressed ones.
pub(crate) fn bias(logits: &mut [f32], bias: &[(u32, f32)], suppressed: &[u32]) {
    for &(id, bias) in bias {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = sane(*logit + bias);
        }
    }
    for &id in suppressed {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// For a token that occurs `count` times in the window: a positive logit is divided by the repetition penalty and
/// any other multiplied with it; then `count × frequency + presence` is subtracted.
pub(crate) fn repetition(logits: &mut [f32], history: &History, params: &Params) {
    let Params {
        repeat_penalty,
        frequency_penalty,
        presence_penalty,
        ..
    } = *params;
    if repeat_penalty == 1.0 && frequency_penalty == 0.0 && presence_penalty == 0.0 {
        return;
    }
    for (id, count) in history.counts() {
        if let Some(logit) = logits.get_mut(id as usize) {
            let scaled = if *logit > 0.0 {
                *logit / repeat_penalty
            } else {
                *logit * repeat_penalty
            };
            *logit = sane(scaled - (count as f32 * frequency_penalty + presence_penalty));
        }
    }
}
