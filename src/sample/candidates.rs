//! The tokens still in play, and how to find places among them without sorting them all.

use std::cmp::Ordering;

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub id: u32,
    /// Its logit, finite.
    pub logit: f32,
    /// Its probability, up to a factor common to all.
    pub weight: f32,
    /// What it is ordered by where that is not its logit.
    pub key: f32,
}

/// Most likely first, ties by lowest id: the order of every filter, and a total one.
pub(crate) fn likelier_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Smallest key first, ties by [`likelier_first`].
pub(crate) fn smaller_key_first(a: &Candidate, b: &Candidate) -> Ordering {
    a.key.total_cmp(&b.key).then_with(|| likelier_first(a, b))
}

/// The `k` most likely tokens, in no order; tokens at negative infinity (and NaN) never count.
///
/// One pass: a buffer of `2k` fills with what is above a threshold, and each time it is full, its better half stays and
/// gives the new threshold. Runs of logits that are all below are skipped after one vector comparison each.
pub(crate) fn select_top(logits: &[f32], k: usize, out: &mut Vec<Candidate>) {
    const RUN: usize = 64;
    out.clear();
    if k == 0 {
        return;
    }
    let room = k.saturating_mul(2).max(RUN).min(logits.len().max(1));
    let mut floor = f32::NEG_INFINITY;
    let mut first = 0u32;
    for run in logits.chunks(RUN) {
        // Without an early exit, which would keep it from being SIMD code.
        if run.iter().fold(false, |any, &logit| any | (logit > floor)) {
            for (id, &logit) in (first..).zip(run) {
                // An equal logit loses: its id is higher than those that are here already.
                if logit > floor {
                    out.push(Candidate {
                        id,
                        logit: logit.min(f32::MAX),
                        weight: 0.0,
                        key: 0.0,
                    });
                    if out.len() >= room && out.len() > k {
                        out.select_nth_unstable_by(k - 1, likelier_first);
                        out.truncate(k);
                        floor = out[k - 1].logit;
                    }
                }
            }
        }
        first += run.len() as u32;
    }
    if out.len() > k {
        out.select_nth_unstable_by(k - 1, likelier_first);
        out.truncate(k);
    }
}

/// All tokens with a logit of at least `floor`.
pub(crate) fn select_above(logits: &[f32], floor: f32, out: &mut Vec<Candidate>) {
    const RUN: usize = 64;
    out.clear();
    for (first, run) in (0u32..).step_by(RUN).zip(logits.chunks(RUN)) {
        if run.iter().fold(false, |any, &logit| any | (logit >= floor)) {
            let above = (first..).zip(run).filter(|(_, logit)| **logit >= floor);
            out.extend(above.map(|(id, &logit)| Candidate {
                id,
                logit,
                weight: 0.0,
                key: 0.0,
            }));
        }
    }
}

/// The sum of all weights.
pub(crate) fn total(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|c| f64::from(c.weight)).sum()
}

/// The length of the shortest prefix, in this order, whose weights together reach `mass` (with `beyond`: exceed it);
/// the slice is rearranged so that this prefix is at the front, its last element last. At least 1, unless empty.
///
/// Selection instead of sorting: the middle of the range is put in its place, and the half is kept in which the sum
/// passes the mark. Linear on average.
pub(crate) fn prefix_by_weight(
    candidates: &mut [Candidate],
    order: fn(&Candidate, &Candidate) -> Ordering,
    mass: f64,
    beyond: bool,
) -> usize {
    const SMALL: usize = 32;
    let reached = |sum: f64| if beyond { sum > mass } else { sum >= mass };
    let (mut low, mut high) = (0, candidates.len());
    let mut before = 0.0;
    while high - low > SMALL {
        let half = (high - low) / 2;
        let range = &mut candidates[low..high];
        range.select_nth_unstable_by(half, order);
        let sum = before + total(&range[..=half]);
        if reached(sum) {
            high = low + half + 1;
        } else {
            before = sum;
            low += half + 1;
        }
    }
    candidates[low..high].sort_unstable_by(order);
    for (at, candidate) in candidates.iter().enumerate().take(high).skip(low) {
        before += f64::from(candidate.weight);
        if reached(before) {
            return at + 1;
        }
    }
    high
}
