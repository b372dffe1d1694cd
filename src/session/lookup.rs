//! Drafts copied from the text itself: where the last tokens have stood before, what followed them then may follow now
//! (prompt lookup decoding).
//!
//! Verified together, 4 tokens cost 1.8 times as much as one, 8 cost 3.0 and 16 cost 5.5 (SPEED.md): so a short draft pays
//! where a few tokens have been the same, and a long one only where a long copy is under way.

use std::collections::HashMap;

/// Tokens by which an earlier place is found.
const KEY: usize = 3;

/// Tokens of a draft: longer with each that was right to its end. With the token before it, batches of 4, 8 and 16.
const LENGTHS: [usize; 4] = [3, 3, 7, 15];

/// Tokens that must be the same before a draft is proposed: at first, after one that was right, and at most.
const FIRST: usize = 5;
const EAGER: usize = 3;
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
    /// The length of the next draft, among [`LENGTHS`].
    step: usize,
}

impl Lookup {
    pub(super) fn new() -> Lookup {
        Lookup {
            places: HashMap::new(),
            seen: 0,
            wanted: FIRST,
            step: 0,
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
        let length = LENGTHS[self.step].min(most);
        if same < self.wanted || length < LENGTHS[0] {
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
            (self.step, self.wanted) = ((self.step + 1).min(LENGTHS.len() - 1), EAGER);
        } else if 3 * accepted < 2 * drafted {
            (self.step, self.wanted) = (0, (self.wanted + self.wanted.div_ceil(2)).min(RELUCTANT));
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
        for id in 5..9 {
            text.push(id);
            assert!(draft(&mut lookup, &text, 99).is_empty(), "too short to tell");
        }
        text.push(9);
        for length in [3, 3, 7, 15, 15] {
            assert_eq!(draft(&mut lookup, &text, 99), source[10..10 + length]);
            assert!(draft(&mut lookup, &text, 2).is_empty(), "not worth it");
            lookup.learn(length, length);
        }
        assert_eq!(draft(&mut lookup, &text, 9), source[10..19]);
        // Failures make it hard to please.
        for _ in 0..2 {
            lookup.learn(15, 1);
        }
        assert!(draft(&mut lookup, &text, 99).is_empty());
        for id in 10..14 {
            text.push(id);
        }
        assert_eq!(draft(&mut lookup, &text, 99), source[14..17]);
    }

    #[test]
    fn the_last_of_several_places_counts() {
        let mut text: Vec<u32> = [[1, 2, 3, 4, 5, 6, 7, 8, 50], [1, 2, 3, 4, 5, 6, 7, 8, 60]].concat();
        text.extend([9; 8]);
        text.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(draft(&mut Lookup::new(), &text, 99), [60, 9, 9]);
    }

    #[test]
    fn a_copy_may_run_into_itself() {
        let text = [[1, 2]; 6].concat();
        let mut lookup = Lookup::new();
        (0..2).for_each(|_| lookup.learn(3, 3));
        assert_eq!(draft(&mut lookup, &text, 99), [1, 2, 1, 2, 1, 2, 1]);
        assert_eq!(draft(&mut Lookup::new(), &[5; 12], 99), [5; 3]);
    }
}
