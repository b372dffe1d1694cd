//! One request on its way: its text so far, what is to become of it, and what the next batch has to compute for it.

use crate::error::Result;
use crate::model::{Batch, Logits, LogitsFor};
use crate::sample::{self, TokenMask};
use crate::session::answer::Answer;
use crate::session::gate::{Gate, Verdict};
use crate::session::lookup::Lookup;
use crate::session::packet;
use crate::session::pooling::Pool;
use crate::session::prediction::Prediction;
use crate::session::request::{FinishReason, Output, TokenLogprob};
use crate::session::scoring::Scoring;
use crate::session::timeline::{Reach, Timeline};
use crate::tokenizer::Tokenizer;

/// Sizes of a model that requests depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// How many logits there are.
    pub(super) logits: usize,
    /// Numbers in a vector.
    pub(super) width: usize,
    /// So that the logits of a draft do not take too much memory.
    pub(super) longest_draft: usize,
}

/// What a request wants.
pub(super) enum Work {
    /// There is none, or nothing is left to do.
    Nothing,
    Answer(Box<Answer>),
    Score(Scoring),
    Embed(Pool),
}

/// A request, ready to begin.
pub(super) struct Prepared {
    pub(super) prompt: Vec<u32>,
    /// The positions after the ends of its messages, ascending.
    pub(super) messages: Vec<usize>,
    pub(super) lookup: Option<Lookup>,
    /// If the block that predicts further tokens takes part in it.
    pub(super) prediction: Option<Prediction>,
    pub(super) work: Work,
}

/// A request, and the text that it is about.
pub(super) struct Sequence {
    /// Prompt and answer so far, and what is remembered of them. Kept between requests: the next prompt may begin the same
    /// way.
    pub(super) timeline: Timeline,
    /// The tokens at the end of the batch on its way that are a guess.
    draft: Vec<u32>,
    /// They are guessed by the block that predicts further tokens.
    is_predicted: bool,
    lookup: Option<Lookup>,
    /// What that block does for the answer in the making. It goes on from what the last batch has left in the model, so that it
    /// only works for a sequence whose batches have no other parts.
    prediction: Option<Prediction>,
    work: Work,
    output: Output,
}

/// A sequence's part in the next batch: the tokens, what is to be done with them, and the only tokens whose logits are wanted, if
/// that are not all.
pub(super) type Next = (Vec<u32>, Batch, Vec<u32>);

impl Sequence {
    pub(super) fn new(timeline: Timeline) -> Sequence {
        Sequence {
            timeline,
            draft: Vec::new(),
            is_predicted: false,
            lookup: None,
            prediction: None,
            work: Work::Nothing,
            output: Output::default(),
        }
    }

    /// Goes on with a request.
    pub(super) fn begin(&mut self, prepared: Prepared, tokenizer: &Tokenizer) -> Result<()> {
        let length = prepared.prompt.len();
        self.work = prepared.work;
        (self.lookup, self.prediction) = (prepared.lookup, prepared.prediction);
        self.draft.clear();
        if let Work::Embed(_) = self.work {
            // Every token's vector counts, also of those that are known from before.
            self.timeline.forget();
        }
        let known = self.timeline.begin(prepared.prompt, &prepared.messages);
        self.output = Output::default();
        match &mut self.work {
            Work::Answer(answer) => {
                answer.cached_tokens = known;
                self.go_on(tokenizer).inspect_err(|_| self.work = Work::Nothing)?;
            }
            _ => (self.output.prompt_tokens, self.output.cached_tokens) = (Some(length), Some(known)),
        }
        Ok(())
    }

    /// Whether there is something to tell: of a request that is no answer, only the end.
    pub(super) fn has_output(&self) -> bool {
        matches!(self.work, Work::Answer(_)) || self.is_finished()
    }

    /// Whether the request has nothing left to compute.
    pub(super) fn is_finished(&self) -> bool {
        match &self.work {
            Work::Nothing => true,
            Work::Answer(answer) => answer.finished,
            Work::Score(_) | Work::Embed(_) => self.output.finish_reason.is_some(),
        }
    }

    pub(super) fn take_output(&mut self) -> Output {
        let finished = self.is_finished();
        let output = std::mem::take(&mut self.output);
        if finished {
            self.work = Work::Nothing;
        }
        output
    }

    /// How many tokens are to be computed next, and for how many of them all logits, if everything goes into one batch.
    pub(super) fn ahead(&self) -> (usize, usize) {
        match &self.work {
            Work::Score(scoring) => scoring.ahead(&self.timeline),
            Work::Embed(_) => (self.timeline.left(), 0),
            _ => (self.timeline.left(), 1),
        }
    }

    /// What the next batch has to compute, at most `most` tokens of what is known; `None` if nothing is left to do.
    pub(super) fn next(&mut self, sizes: Sizes, most: usize) -> Option<Next> {
        if self.is_finished() {
            return None;
        }
        let timeline = &mut self.timeline;
        let answer = match &mut self.work {
            Work::Nothing => return None,
            Work::Score(scoring) => {
                let (tokens, batch) = scoring.next(timeline, most);
                return Some((tokens, batch, Vec::new()));
            }
            Work::Embed(_) => {
                let (tokens, mut batch) = timeline.next(&[], true, most);
                batch.logits = LogitsFor::Vectors;
                return Some((tokens, batch, Vec::new()));
            }
            Work::Answer(answer) => answer,
        };
        // The token after a draft is always there as well, so that one less than is allowed can be guessed.
        let longest = answer.left.saturating_sub(1).min(sizes.longest_draft);
        self.draft.clear();
        self.is_predicted = false;
        if let Some(lookup) = &mut self.lookup {
            lookup.draft(timeline.tokens(), longest, &mut self.draft);
        }
        if let Some(prediction) = &mut self.prediction {
            // What is copied is as good and costs nothing, and what is constrained is guessed too badly.
            let guess = self.draft.is_empty() && timeline.lacks_one() && answer.gate.is_none();
            if let Some((tokens, batch)) = prediction.next(timeline.tokens(), if guess { longest } else { 0 })
            {
                return Some((tokens, batch, Vec::new()));
            }
            if self.draft.is_empty() {
                self.draft.extend_from_slice(prediction.draft());
                self.is_predicted = !self.draft.is_empty();
            }
        }
        let (tokens, batch) = timeline.next(&self.draft, !answer.prompt_only, most);
        if !batch.draft {
            self.draft.clear();
        }
        let rows = match batch.logits {
            LogitsFor::Last if answer.some_rows => wanted_rows(answer, sizes.logits),
            _ => Vec::new(),
        };
        Some((tokens, batch, rows))
    }

    /// So many logits of this sequence are not computed in the batch on its way.
    pub(super) fn skips(&mut self, rows: usize) {
        self.output.skipped_rows += rows;
    }

    /// The batch on its way is done. True if it was the last of what is known, so that a token is sampled next.
    /// `vectors`: those of the sequence's tokens, if they were asked for.
    pub(super) fn batch_done(&mut self, vectors: &[f32], width: usize) -> bool {
        if let Work::Embed(pool) = &mut self.work {
            pool.add(vectors, width);
        }
        let first = self.timeline.cached();
        self.timeline.batch_done();
        if let Some(prediction) = &mut self.prediction {
            prediction.computed(first, self.timeline.cached() - first);
        }
        self.timeline.is_complete()
    }

    /// Whether the batch that is done was one of the block that predicts further tokens. `logits`: those of its last token, if it
    /// was to bring a guess.
    pub(super) fn predicted(&mut self, mut logits: Logits) -> bool {
        let (Some(prediction), Work::Answer(answer)) = (&mut self.prediction, &self.work) else {
            return false;
        };
        prediction.take(|| answer.sampler.likeliest(logits.row(0)))
    }

    /// Chooses the next token, and further ones as long as they are those of the draft; says what they add to the answer.
    /// `logits`: those of the last token and of the draft's.
    pub(super) fn sample(&mut self, tokenizer: &Tokenizer, mut logits: Logits) -> Result<()> {
        let output = &mut self.output;
        match &mut self.work {
            Work::Nothing => return Ok(()),
            Work::Score(scoring) => {
                scoring.take(tokenizer, logits, &mut self.timeline);
                if scoring.is_done() {
                    output.scores = scoring.scores();
                    output.finish_reason = Some(FinishReason::Stop);
                }
                return Ok(());
            }
            Work::Embed(pool) => {
                output.vector = pool.vector();
                output.finish_reason = Some(FinishReason::Stop);
                return Ok(());
            }
            Work::Answer(answer) if answer.prompt_only => {
                answer.end_with_prompt(output);
                return Ok(());
            }
            Work::Answer(_) => {}
        }
        let draft = std::mem::take(&mut self.draft);
        let mut right = 0;
        for position in 0..logits.len() {
            self.sample_one(tokenizer, logits.row(position))?;
            // Was this token guessed, and is it the last one? Then the logits after it are those of the next row.
            let guessed = draft.get(right) == self.timeline.tokens().last();
            if !(guessed && !self.is_finished() && self.timeline.lacks_one()) {
                break;
            }
            self.timeline.accept_one();
            right += 1;
        }
        if !draft.is_empty() {
            self.output.drafted += draft.len();
            self.output.accepted += right;
            if let (Some(lookup), false) = (&mut self.lookup, self.is_predicted) {
                lookup.learn(draft.len(), right);
            }
            if let Some(prediction) = &mut self.prediction {
                prediction.accepted(right);
                if self.is_predicted {
                    prediction.learn(right);
                }
            }
        }
        self.draft = draft;
        Ok(())
    }

    fn sample_one(&mut self, tokenizer: &Tokenizer, logits: &[f32]) -> Result<()> {
        let (Work::Answer(answer), output) = (&mut self.work, &mut self.output) else {
            return Ok(());
        };
        let mut choice = answer
            .sampler
            .sample(logits, answer.gate.as_ref().and_then(Gate::mask));
        if let Some(gate) = &mut answer.gate {
            while gate.overruns(tokenizer, choice.id) {
                if gate.mask().is_some_and(TokenMask::is_empty) {
                    answer.cut_short(output);
                    return Ok(());
                }
                choice = answer.sampler.sample(logits, gate.mask());
            }
            match gate.judge(choice.id, answer.left) {
                Verdict::Take => answer.weigh(choice.logprob_allowed),
                Verdict::Instead(id) => {
                    choice.id = id;
                    choice.logprob = sample::logprob(logits, id);
                }
                Verdict::End => {
                    answer.cut_short(output);
                    return Ok(());
                }
            }
        } else {
            answer.weigh(choice.logprob);
        }
        self.timeline.push(choice.id);
        if let Some(top) = answer.logprobs {
            let mut entry = token_logprob(tokenizer, choice.id, choice.logprob);
            let best = sample::top_logprobs(logits, top);
            entry.top = best
                .iter()
                .map(|(id, logprob)| token_logprob(tokenizer, *id, *logprob))
                .collect();
            output.logprobs.push(entry);
        }
        answer.add(tokenizer, choice.id, output)?;
        self.close_thoughts(tokenizer)?;
        self.go_on(tokenizer)
    }

    /// Ends thoughts that have used up their budget: the closing tokens are part of the answer, and the next batch.
    fn close_thoughts(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let Work::Answer(answer) = &mut self.work else {
            return Ok(());
        };
        for id in answer.closing().into_iter().flatten() {
            if answer.finished {
                break;
            }
            self.timeline.push(id);
            answer.add(tokenizer, id, &mut self.output)?;
        }
        Ok(())
    }

    /// Adds the tokens that the constraint forces, which are part of the next batch, and looks what may come after them.
    fn go_on(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let Work::Answer(answer) = &mut self.work else {
            return Ok(());
        };
        let Some(gate) = answer
            .gate
            .as_mut()
            .filter(|_| !answer.finished && !answer.prompt_only)
        else {
            return Ok(());
        };
        let forced = gate.forced()?;
        // Where log probabilities are asked for, each token is drawn for the sake of its logits.
        if !answer.fast_forward || answer.logprobs.is_some() {
            gate.queue(forced);
        } else {
            for id in forced {
                if answer.finished {
                    break;
                }
                self.timeline.push(id);
                let before = self.output.text.len();
                answer.add(tokenizer, id, &mut self.output)?;
                self.output.was_forced(before);
            }
        }
        match answer.gate.as_mut().filter(|_| !answer.finished) {
            Some(gate) => gate.look(tokenizer),
            None => Ok(()),
        }
    }

    /// Drops the request; the batch on its way came this far.
    pub(super) fn cancel(&mut self, reach: Reach) {
        self.work = Work::Nothing;
        self.prediction = None;
        self.timeline.abandon(reach);
    }
}

/// The tokens whose logits are wanted next, if they are so few that it pays to compute them one by one; else none, for all.
/// `all`: how many logits there are.
fn wanted_rows(answer: &Answer, all: usize) -> Vec<u32> {
    /// A row is computed with its neighbours, eight at most.
    const WITH_NEIGHBOURS: usize = 8;
    let most = packet::MAX_ROWS.min(all / WITH_NEIGHBOURS);
    match answer.gate.as_ref().and_then(Gate::mask) {
        Some(mask) if (1..=most).contains(&mask.count()) => mask.iter().collect(),
        _ => Vec::new(),
    }
}

fn token_logprob(tokenizer: &Tokenizer, id: u32, logprob: f32) -> TokenLogprob {
    let bytes = tokenizer.token_bytes(id);
    TokenLogprob {
        id,
        token: String::from_utf8_lossy(bytes).into_owned(),
        bytes: bytes.to_vec(),
        logprob,
        top: Vec::new(),
    }
}
