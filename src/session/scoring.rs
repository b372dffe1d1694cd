//! How likely texts are after a prompt: the work behind `score` and `classify`.

use crate::model::{Batch, Logits, MAX_DRAFT_BATCH};
use crate::sample;
use crate::session::timeline::Timeline;
use crate::tokenizer::Tokenizer;

/// Texts on trial after one prompt, which is computed once.
pub(super) struct Scoring {
    prompt: Vec<u32>,
    texts: Vec<Vec<u32>>,
    /// Also how likely it is that the answer ends after each text.
    with_end: bool,
    /// Log probabilities of the tokens of each text.
    scores: Vec<Vec<f32>>,
    /// What is computed next.
    at: At,
    /// The batch on its way is one of a text, not of the prompt.
    in_text: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The prompt; then the first tokens of all texts are weighed.
    Prompt,
    /// A text from this token on, at most [`MAX_DRAFT_BATCH`] of them at once.
    Text {
        text: usize,
        from: usize,
    },
    Done,
}

impl Scoring {
    /// `texts`: none of them empty.
    pub(super) fn new(prompt: Vec<u32>, texts: Vec<Vec<u32>>, with_end: bool) -> Scoring {
        Scoring {
            prompt,
            scores: vec![Vec::new(); texts.len()],
            texts,
            with_end,
            at: At::Prompt,
            in_text: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Log probabilities of the tokens of each text, in order; and of an end after it, if asked for.
    pub(super) fn scores(&mut self) -> Vec<Vec<f32>> {
        std::mem::take(&mut self.scores)
    }

    /// The next batch. Texts are computed as drafts, which leave no trace: the next text begins where this one did.
    /// Of what is known, at most `most` tokens.
    pub(super) fn next(&mut self, timeline: &mut Timeline, most: usize) -> (Vec<u32>, Batch) {
        let (At::Text { text, from }, true) = (self.at, timeline.is_complete()) else {
            self.in_text = false;
            return timeline.next(&[], true, most);
        };
        self.in_text = true;
        let ids = &self.texts[text][from..];
        let ids = &ids[..ids.len().min(MAX_DRAFT_BATCH)];
        timeline.push(ids[0]);
        // A draft has at least one token; what comes after a single one is not looked at.
        let draft = if ids.len() > 1 { &ids[1..] } else { ids };
        timeline.next(draft, true, most)
    }

    /// How many tokens are to be computed next, and for how many of them all logits.
    pub(super) fn ahead(&self, timeline: &Timeline) -> (usize, usize) {
        match self.at {
            At::Text { text, from } if timeline.is_complete() => {
                let count = (self.texts[text].len() - from).clamp(2, MAX_DRAFT_BATCH);
                (count, count)
            }
            _ => (timeline.left(), 1),
        }
    }

    /// The batch is done. `logits`: those of its last token, or of all if it was a draft.
    pub(super) fn take(&mut self, tokenizer: &Tokenizer, mut logits: Logits, timeline: &mut Timeline) {
        match self.at {
            At::Prompt => {
                let first: Vec<u32> = self.texts.iter().map(|text| text[0]).collect();
                for (scores, logprob) in self
                    .scores
                    .iter_mut()
                    .zip(sample::logprobs(logits.row(0), &first))
                {
                    scores.push(logprob);
                }
                self.at = self.after(0);
            }
            // Only the way back to the end of the prompt.
            At::Text { .. } if !self.in_text => {}
            At::Text { text, from } => {
                let ids = &self.texts[text];
                let count = (ids.len() - from).min(MAX_DRAFT_BATCH);
                for position in 0..count {
                    let (row, next) = (logits.row(position), from + 1 + position);
                    match ids.get(next) {
                        Some(id) => self.scores[text].push(sample::logprob(row, *id)),
                        None if self.with_end => {
                            let ends = sample::logprobs(row, tokenizer.end_of_generation());
                            let sum: f64 = ends.iter().map(|p| f64::from(*p).exp()).sum();
                            self.scores[text].push(sum.ln() as f32);
                        }
                        None => {}
                    }
                }
                if from + count < ids.len() {
                    // It goes on: what was computed stays.
                    for id in &ids[from + 1..from + count] {
                        timeline.push(*id);
                        timeline.accept_one();
                    }
                    self.at = At::Text {
                        text,
                        from: from + count,
                    };
                    return;
                }
                if from == 0 {
                    timeline.take_back();
                } else {
                    timeline.begin(self.prompt.clone(), &[]);
                }
                self.at = self.after(text + 1);
            }
            At::Done => {}
        }
    }

    /// The first text from this one on of which more than the first token counts.
    fn after(&self, first: usize) -> At {
        let longer = |text: &usize| self.with_end || self.texts[*text].len() > 1;
        match (first..self.texts.len()).find(longer) {
            Some(text) => At::Text { text, from: 0 },
            None => At::Done,
        }
    }
}
