//! The recent tokens, and how often each occurs among the last few.

use std::collections::HashMap;

/// The last tokens that penalties and DRY look at.
///
/// A plain vector that is cut in half when it has grown to twice what is needed: recent tokens stay contiguous, and in
/// the steady state nothing is allocated.
#[derive(Debug, Clone)]
pub(crate) struct History {
    tokens: Vec<u32>,
    /// How many tokens must be kept; `None` is all.
    keep: Option<usize>,
    /// How many tokens are counted; `None` is all.
    window: Option<usize>,
    counts: HashMap<u32, u32>,
}

/// -1 is all, otherwise a number of tokens.
fn limit(last_n: i32) -> Option<usize> {
    usize::try_from(last_n).ok()
}

impl History {
    /// Counts the last `count_last_n` tokens and keeps the last `keep_last_n`, or as many as are counted.
    pub(crate) fn new(count_last_n: i32, keep_last_n: i32) -> Self {
        let (window, keep) = (limit(count_last_n), limit(keep_last_n));
        let keep = window.zip(keep).map(|(window, keep)| window.max(keep));
        History {
            tokens: Vec::new(),
            keep,
            window,
            counts: HashMap::new(),
        }
    }

    pub(crate) fn push(&mut self, id: u32) {
        if self.keep == Some(0) {
            return;
        }
        if self.window != Some(0) {
            *self.counts.entry(id).or_default() += 1;
        }
        self.tokens.push(id);
        let len = self.tokens.len();
        if let Some(window @ 1..) = self.window
            && len > window
        {
            let left = self.tokens[len - 1 - window];
            if let Some(count) = self.counts.get_mut(&left) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&left);
                }
            }
        }
        if let Some(keep) = self.keep
            && len >= keep.saturating_mul(2).max(64)
        {
            // One more than is counted stays, because the next push takes its oldest out of the counts.
            self.tokens.drain(..len - keep - 1);
        }
    }

    /// The last `n` tokens, oldest first; -1 is all that were kept.
    pub(crate) fn last(&self, n: i32) -> &[u32] {
        let len = self.tokens.len();
        &self.tokens[len - limit(n).unwrap_or(len).min(len)..]
    }

    /// The tokens in the window, each with how often it occurs, in no order.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.counts.iter().map(|(&id, &count)| (id, count))
    }

    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.counts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_the_window() {
        for (window, keep) in [(0, 0), (3, 0), (3, 10), (10, 3), (-1, 5), (5, -1), (0, 7)] {
            let mut history = History::new(window, keep);
            let mut all: Vec<u32> = Vec::new();
            for i in 0..500u32 {
                let id = i * i % 7;
                history.push(id);
                all.push(id);
                let tail = |n: i32| &all[all.len() - limit(n).unwrap_or(all.len()).min(all.len())..];
                assert_eq!(history.last(keep), tail(keep));
                let mut expected: Vec<(u32, u32)> = Vec::new();
                for &id in tail(window) {
                    match expected.iter_mut().find(|e| e.0 == id) {
                        Some(entry) => entry.1 += 1,
                        None => expected.push((id, 1)),
                    }
                }
                let mut counts: Vec<(u32, u32)> = history.counts().collect();
                expected.sort();
                counts.sort();
                assert_eq!(counts, expected, "window {window}, keep {keep}, token {i}");
            }
        }
    }
}
