//! Drafts copied from the text itself: where the last tokens have stood before, what followed them then may follow now
//! (prompt lookup decoding). Verifying a draft costs almost as much as its tokens would, so a draft is proposed only where
//! a long copy seems to be under way.

use std::collections::HashMap;

/// Tokens by which an earlier place is found.
const KEY: usize = 3;

/// Least and most tokens of a draft; with the token before it, batches of 8 and 16.
const SHORT: usize = 7;
const LONG: usize = 15;

/// Least and most tokens that must be the same before a draft is proposed.
const EAGER: usize = 4;
const RELUCTANT: usize = 64;

/// The places of all runs of tokens, and how well drafts have done.
#[derive(Debug)]
pub(super) struct Lookup {
    /// After which token a run last ended, all but the end of the text.
    places: HashMap<[u32; KEY], usize>,
    /// Tokens whose runs are in `places`.
    seen: usize,
    /// Tokens that must be the same: more after drafts that failed.
    wanted: usize,
    /// Tokens of the next draft.
    length: usize,
}

impl Lookup {
    pub(super) fn new() -> Lookup {
        Lookup {
            places: HashMap::new(),
            seen: 0,
            wanted: 2 * EAGER,
            length: SHORT,
        }
    }

    /// Writes into `draft` what may follow `text`, at most `most` tokens; nothing where that does not promise to pay. `text`
    /// only grows from call to call.
    pub(super) fn draft(&mut self, text: &[u32], most: usize, draft: &mut Vec<u32>) {
        draft.clear();
        for end in (self.seen + 1).max(KEY)..text.len() {
            if let Some(run) = text[..end].last_chunk() {
                self.places.insert(*run, end);
            }
        }
        self.seen = text.len().saturating_sub(1);
        let place = text.last_chunk().and_then(|run| self.places.get(run));
        let Some(&place) = place else { return };
        let before = text[..place].iter().rev().zip(text.iter().rev());
        let same = before.take(RELUCTANT).take_while(|(a, b)| a == b).count();
        let length = self.length.min(most);
        if same < self.wanted || length < SHORT {
            return;
        }
        // The copy may run into itself: a text that repeats itself at short distance goes on doing so.
        for i in 0..length {
            draft.push(
                text.get(place + i)
                    .copied()
                    .unwrap_or_else(|| draft[place + i - text.len()]),
            );
        }
    }

    /// Of a draft of `drafted` tokens, `accepted` were right.
    pub(super) fn learn(&mut self, drafted: usize, accepted: usize) {
        if accepted == drafted {
            (self.length, self.wanted) = (LONG, EAGER);
        } else if 3 * accepted < 2 * drafted {
            (self.length, self.wanted) = (SHORT, (2 * self.wanted).min(RELUCTANT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(lookup: &mut Lookup, text: &[u32], most: usize) -> Vec<u32> {
        let mut draft = vec![1, 2, 3];
        lookup.draft(text, most, &mut draft);
        draft
    }

    #[test]
    fn a_long_copy_is_continued() {
        let source: Vec<u32> = (0..40).collect();
        let mut text = source.clone();
        text.extend([100, 101]);
        let mut lookup = Lookup::new();
        assert!(draft(&mut lookup, &text, 99).is_empty());
        for id in 5..12 {
            text.push(id);
            assert!(draft(&mut lookup, &text, 99).is_empty(), "too short to tell");
        }
        text.push(12);
        assert_eq!(draft(&mut lookup, &text, 99), source[13..20]);
        lookup.learn(7, 7);
        assert_eq!(draft(&mut lookup, &text, 99), source[13..28]);
        assert_eq!(draft(&mut lookup, &text, 9), source[13..22]);
        assert!(draft(&mut lookup, &text, 3).is_empty(), "not worth it");
        // Failures make it hard to please.
        lookup.learn(15, 1);
        lookup.learn(7, 0);
        assert!(draft(&mut lookup, &text, 99).is_empty());
    }

    #[test]
    fn the_last_of_several_places_counts() {
        let mut text: Vec<u32> = [[1, 2, 3, 4, 5, 6, 7, 8, 50], [1, 2, 3, 4, 5, 6, 7, 8, 60]].concat();
        text.extend([9; 8]);
        text.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(draft(&mut Lookup::new(), &text, 99), [60, 9, 9, 9, 9, 9, 9]);
    }

    #[test]
    fn a_copy_may_run_into_itself() {
        let text = [[1, 2]; 6].concat();
        assert_eq!(draft(&mut Lookup::new(), &text, 99), [1, 2, 1, 2, 1, 2, 1]);
        assert_eq!(draft(&mut Lookup::new(), &[5; 12], 99), [5; 7]);
    }
}
