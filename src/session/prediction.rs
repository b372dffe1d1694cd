//! Drafts by the block that predicts further tokens ([`crate::model::Batch::predict`]): it sees what the layers made of each token,
//! with the token after it, and guesses the next one; and then from its own result a few more.
//!
//! Three guesses and the batch of four that they make with the token before cost 2.3 times as much as one token, and a tenth more
//! for each that is right (SPEED.md): so a round pays where one and a half are right. What it brings is watched, and where that is
//! less, the block only looks on for a while.

use crate::model::{Batch, LogitsFor, MAX_BATCH};

/// Tokens guessed at a time.
const GUESSES: usize = 3;

/// Right guesses in a round for which it pays, on average.
const WORTH: f32 = 1.45;
/// What is believed of rounds that nobody has seen yet.
const HOPE: f32 = 2.0;
/// How much one round changes what is believed.
const CHANGE: f32 = 0.125;

/// Tokens for which nothing is guessed: at first, and at most.
const PAUSE: usize = 32;
const LONGEST_PAUSE: usize = 512;

/// The block's half of an answer.
#[derive(Debug)]
pub(super) struct Prediction {
    /// The batch that the layers have computed last and the block has not seen: its first position, and how many of its tokens count.
    fresh: Option<(usize, usize)>,
    /// A batch of the block is on its way; whether it is to bring a guess.
    flight: Option<bool>,
    /// What is guessed so far.
    draft: Vec<u32>,
    /// More is to be guessed.
    going_on: bool,
    /// Right guesses in a round, on average.
    believed: f32,
    /// Tokens for which nothing is guessed.
    paused: usize,
    next_pause: usize,
}

impl Prediction {
    pub(super) fn new() -> Prediction {
        Prediction {
            fresh: None,
            flight: None,
            draft: Vec::new(),
            going_on: false,
            believed: HOPE,
            paused: 0,
            next_pause: PAUSE,
        }
    }

    /// The layers have computed `count` tokens that count, from this position on.
    pub(super) fn computed(&mut self, first: usize, count: usize) {
        self.fresh = Some((first, count));
        self.draft.clear();
        self.going_on = false;
        self.paused = self.paused.saturating_sub(count);
    }

    /// So many tokens of the draft that was computed count, too.
    pub(super) fn accepted(&mut self, more: usize) {
        if let Some((_, count)) = &mut self.fresh {
            *count += more;
        }
    }

    /// The next batch of the block, if there is something for it to do. `text`: all tokens known. `most`: how many may be guessed
    /// after them; none as long as more than one of them is not computed.
    pub(super) fn next(&mut self, text: &[u32], most: usize) -> Option<(Vec<u32>, Batch)> {
        let most = if self.paused > 0 { 0 } else { most.min(GUESSES) };
        let (first, tokens, guess) = match self.fresh.take() {
            Some((first, count)) => {
                let after = first + 1;
                let known = text.get(after..text.len().min(after + count)).unwrap_or(&[]);
                let complete = known.len() == count && after + count == text.len();
                (first, known.to_vec(), complete && most > 0)
            }
            None if self.going_on && self.draft.len() < most => {
                let last = *self.draft.last()?;
                (text.len() + self.draft.len() - 2, vec![last], true)
            }
            None => return None,
        };
        debug_assert!(tokens.len() <= MAX_BATCH);
        if tokens.is_empty() {
            return None;
        }
        self.flight = Some(guess);
        let logits = if guess { LogitsFor::Last } else { LogitsFor::None };
        let batch = Batch {
            predict: true,
            ..Batch::at(first, logits)
        };
        Some((tokens, batch))
    }

    /// Whether the batch that is done was one of the block. `guess` says which token it predicts, if it was to.
    pub(super) fn take(&mut self, guess: impl FnOnce() -> u32) -> bool {
        let Some(wanted) = self.flight.take() else {
            return false;
        };
        self.going_on = wanted;
        if wanted {
            self.draft.push(guess());
        }
        true
    }

    /// What is guessed to follow the text.
    pub(super) fn draft(&self) -> &[u32] {
        &self.draft
    }

    /// Of the guesses of a round, `right` were right.
    pub(super) fn learn(&mut self, right: usize) {
        self.believed += CHANGE * (right as f32 - self.believed);
        if self.believed >= WORTH {
            self.next_pause = PAUSE;
            return;
        }
        self.paused = self.next_pause;
        self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
        // A single good round is to be enough to go on, a bad one to stop.
        self.believed = WORTH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the block do what there is to do; the first positions and lengths of its batches.
    fn drive(prediction: &mut Prediction, text: &[u32], most: usize) -> Vec<(usize, usize, bool)> {
        let mut batches = Vec::new();
        while let Some((tokens, batch)) = prediction.next(text, most) {
            let guess = batch.logits == LogitsFor::Last;
            batches.push((batch.first, tokens.len(), guess));
            assert!(prediction.take(|| 70 + batches.len() as u32));
        }
        assert!(!prediction.take(|| 0));
        batches
    }

    #[test]
    fn it_sees_all_that_is_computed_and_guesses_at_the_end() {
        let mut prediction = Prediction::new();
        let text: Vec<u32> = (0..10).collect();
        // The middle of a prompt, its end before the answer's first token, and after it.
        prediction.computed(0, 4);
        assert_eq!(drive(&mut prediction, &text, 0), [(0, 4, false)]);
        prediction.computed(4, 6);
        assert_eq!(drive(&mut prediction, &text, 3), [(4, 5, false)]);
        prediction.computed(4, 5);
        assert_eq!(
            drive(&mut prediction, &text, 3),
            [(4, 5, true), (9, 1, true), (10, 1, true)]
        );
        assert_eq!(prediction.draft(), [71, 72, 73]);
        // Two of them were right, and a new token follows.
        let text: Vec<u32> = (0..13).collect();
        prediction.computed(9, 3);
        assert_eq!(drive(&mut prediction, &text, 1), [(9, 3, true)]);
        assert_eq!(prediction.draft().len(), 1);
    }

    #[test]
    fn where_it_does_not_pay_it_only_looks_on() {
        let mut prediction = Prediction::new();
        let mut text: Vec<u32> = vec![0, 1];
        let mut guessed = Vec::new();
        for _ in 0..1000 {
            prediction.computed(text.len() - 2, 1);
            let batches = drive(&mut prediction, &text, 3);
            assert!(!batches.is_empty());
            guessed.push(batches[0].2);
            if batches[0].2 {
                prediction.learn(0);
            }
            text.push(7);
        }
        let rounds = guessed.iter().filter(|guessed| **guessed).count();
        assert!((4..20).contains(&rounds), "{rounds}");
        // And as soon as it does, it goes on.
        let mut prediction = Prediction::new();
        for right in [3, 0, 2, 3, 1, 2] {
            prediction.learn(right);
            assert_eq!(prediction.paused, 0);
        }
    }
}
