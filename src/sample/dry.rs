//! DRY ("don't repeat yourself"): a penalty on the token that would continue a repeated sequence.
//!
//! If the last `L` tokens also stand earlier in the text, the token that followed them there would make the repetition
//! longer. Its logit is lowered by `multiplier × base^(L - allowed_length)` once `L` reaches the allowed length; of
//! several earlier places the longest repetition counts. No repetition reaches over a breaker.

use super::params::Params;

/// Buffers, and the plain algorithm over them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dry {
    /// `lengths[i]`: how many tokens before place `i` from the end agree with the end of the text.
    lengths: Vec<u32>,
    /// Token and length of the repetition that it would continue.
    found: Vec<(u32, u32)>,
}

impl Dry {
    /// Lowers the logits of tokens that continue a repetition in `recent` (oldest first).
    pub(crate) fn apply(&mut self, logits: &mut [f32], recent: &[u32], params: &Params) {
        let allowed = params.dry_allowed_length;
        if params.dry_multiplier == 0.0 || recent.len() <= allowed as usize {
            return;
        }
        let limit = since_breaker(recent, &params.dry_breakers);
        if limit < allowed as usize {
            return;
        }
        self.measure(recent);
        self.found.clear();
        for (i, &length) in self.lengths.iter().enumerate().skip(1) {
            let length = length.min(limit as u32);
            if length >= allowed {
                self.found.push((recent[recent.len() - i], length));
            }
        }
        // Per token the longest last, then only that one.
        self.found.sort_unstable();
        for (i, &(id, length)) in self.found.iter().enumerate() {
            let longest = self.found.get(i + 1).is_none_or(|next| next.0 != id);
            if let (true, Some(logit)) = (longest, logits.get_mut(id as usize)) {
                // Overflow to infinity is a penalty too; the exponent is kept within what powi takes.
                let power = params
                    .dry_base
                    .powi((length - allowed).min(i32::MAX as u32) as i32);
                *logit = super::penalties::sane(*logit - params.dry_multiplier * power);
            }
        }
    }

    /// The Z-algorithm on the reversed text: `lengths[i]` is the length of the longest common prefix of `r` and
    /// `r[i..]`, where `r[j]` is token `j` from the end. Linear, because the stretch `start..end` that is known to
    /// agree with the beginning saves all comparisons within it.
    fn measure(&mut self, recent: &[u32]) {
        let n = recent.len();
        let r = |i: usize| recent[n - 1 - i];
        self.lengths.clear();
        self.lengths.resize(n, 0);
        let (mut start, mut end) = (0, 0);
        for i in 1..n {
            let mut length = if i < end {
                (self.lengths[i - start] as usize).min(end - i)
            } else {
                0
            };
            while i + length < n && r(length) == r(i + length) {
                length += 1;
            }
            if i + length > end {
                (start, end) = (i, i + length);
            }
            self.lengths[i] = length as u32;
        }
    }
}

/// How many tokens follow the end of the last breaker.
fn since_breaker(recent: &[u32], breakers: &[Vec<u32>]) -> usize {
    (0..recent.len())
        .find(|&after| {
            breakers
                .iter()
                .any(|breaker| recent[..recent.len() - after].ends_with(breaker))
        })
        .unwrap_or(recent.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, compared at every place.
    #[test]
    fn lengths_are_those_of_the_definition() {
        let mut dry = Dry::default();
        let mut random = crate::sample::Random::new(3);
        for n in 0..60 {
            let recent: Vec<u32> = (0..n).map(|_| (random.next_u64() % 3) as u32).collect();
            dry.measure(&recent);
            for i in 1..n {
                let expected = (0..n - i)
                    .take_while(|&j| recent[n - 1 - j] == recent[n - 1 - i - j])
                    .count();
                assert_eq!(dry.lengths[i] as usize, expected, "{recent:?} at {i}");
            }
        }
    }
}
