//! An answer in the making: token by token to text, to the parts of a message, to its end.

use crate::chat::{ReplyParser, StopMatcher};
use crate::error::Result;
use crate::sample::Sampler;
use crate::session::gate::Gate;
use crate::session::request::{FinishReason, Output};
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// What is known of an answer while it is written.
pub(super) struct Answer {
    pub(super) sampler: Sampler,
    pub(super) stop: StopMatcher,
    pub(super) reply: Option<ReplyParser>,
    /// Control tokens that the reply's parser has to see, ascending.
    pub(super) named: Vec<u32>,
    pub(super) thinking: Option<ThinkingBudget>,
    /// What the answer must look like.
    pub(super) gate: Option<Gate>,
    /// Forced tokens are computed together, not drawn one by one.
    pub(super) fast_forward: bool,
    /// Where few tokens are allowed, only their logits are computed.
    pub(super) some_rows: bool,
    /// Tokens still allowed.
    pub(super) left: usize,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    pub(super) logprobs: Option<usize>,
    pub(super) ignore_end: bool,
    /// There is no answer: only the prompt is computed.
    pub(super) prompt_only: bool,
    pub(super) finished: bool,
    decoder: StreamDecoder,
    generated: usize,
    /// Of the tokens of the answer that were chosen among several: how many, and the sum of their log probabilities.
    chosen: (usize, f64),
}

/// How long a model may think.
pub(super) struct ThinkingBudget {
    /// Tokens left for thoughts.
    pub(super) left: usize,
    /// The tokens that end them.
    pub(super) closing: Vec<u32>,
}

impl Answer {
    /// An answer with nothing in it, to a prompt of so many tokens.
    pub(super) fn new(sampler: Sampler, stop: StopMatcher, prompt_tokens: usize) -> Answer {
        Answer {
            sampler,
            stop,
            reply: None,
            named: Vec::new(),
            thinking: None,
            gate: None,
            fast_forward: true,
            some_rows: false,
            left: usize::MAX,
            prompt_tokens,
            cached_tokens: 0,
            logprobs: None,
            ignore_end: false,
            prompt_only: false,
            finished: false,
            decoder: StreamDecoder::new(),
            generated: 0,
            chosen: (0, 0.0),
        }
    }

    /// Takes note of how likely a token was among those that it was chosen from, before it is added.
    pub(super) fn weigh(&mut self, logprob: f32) {
        if !self.reply.as_ref().is_some_and(ReplyParser::is_thinking) {
            self.chosen.0 += 1;
            self.chosen.1 += f64::from(logprob);
        }
    }

    /// Adds a token, drawn or forced, and says in `output` what it brought. Does nothing once the answer is finished.
    /// [`Kind::Schema`](crate::Kind::Schema) if the constraint turns out to be too complex.
    pub(super) fn add(&mut self, tokenizer: &Tokenizer, id: u32, output: &mut Output) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        self.sampler.accept(id);
        if let Some(gate) = &mut self.gate {
            gate.accept(tokenizer, id)?;
        }
        if self.generated == 0 {
            output.prompt_tokens = Some(self.prompt_tokens);
            output.cached_tokens = Some(self.cached_tokens);
        }
        self.generated += 1;
        self.left = self.left.saturating_sub(1);
        output.tokens.push(id);

        let ended = !self.ignore_end && tokenizer.is_end_of_generation(id);
        let text = match (ended, self.named.binary_search(&id)) {
            (true, _) => String::new(),
            (false, Ok(_)) => self.decoder.push_with_names(tokenizer, id),
            (false, Err(_)) => self.decoder.push(tokenizer, id),
        };
        let mut finish = match (ended, self.left) {
            (true, _) => Some(FinishReason::Stop),
            (false, 0) => Some(FinishReason::Length),
            _ => None,
        };
        match &self.gate {
            Some(gate) if gate.is_cut_short() => finish = Some(FinishReason::Length),
            Some(gate) if gate.is_complete() => finish = Some(FinishReason::Stop),
            _ => {}
        }
        self.show(text, finish, output);
        Ok(())
    }

    /// Ends the answer where it is: no more fits.
    pub(super) fn cut_short(&mut self, output: &mut Output) {
        self.show(String::new(), Some(FinishReason::Length), output);
    }

    /// Says in `output` what a piece of text brought, and, if the answer ends with it, the rest.
    fn show(&mut self, mut text: String, mut finish: Option<FinishReason>, output: &mut Output) {
        if finish.is_some() {
            text.push_str(&self.decoder.finish());
        }
        let mut shown = self.stop.push(&text);
        if shown.matched.is_some() {
            finish = Some(FinishReason::Stop);
        } else if finish.is_some() {
            shown.text.push_str(&self.stop.finish());
        }
        match self.reply.as_mut() {
            None => output.text.push_str(&shown.text),
            Some(reply) => {
                let thinking = reply.is_thinking();
                output.add(reply.push(&shown.text));
                if let (true, Some(budget)) = (thinking && reply.is_thinking(), self.thinking.as_mut()) {
                    budget.left = budget.left.saturating_sub(1);
                }
                if finish.is_some() {
                    output.add(reply.finish());
                }
                if finish == Some(FinishReason::Stop) && reply.tool_calls() > 0 {
                    finish = Some(FinishReason::ToolCalls);
                }
            }
        }
        self.finished = finish.is_some();
        output.finish_reason = finish;
        if self.finished {
            let (count, sum) = self.chosen;
            output.confidence = Some((sum / count.max(1) as f64).exp() as f32);
        }
    }

    /// Ends the answer without a token: the prompt is computed.
    pub(super) fn end_with_prompt(&mut self, output: &mut Output) {
        output.prompt_tokens = Some(self.prompt_tokens);
        output.cached_tokens = Some(self.cached_tokens);
        output.finish_reason = Some(FinishReason::Stop);
        self.finished = true;
    }

    /// The tokens that end the thoughts, once, when they have used up their budget; not in the middle of a character or
    /// of what may become a marker.
    pub(super) fn closing(&mut self) -> Option<Vec<u32>> {
        let reply = self.reply.as_ref()?;
        let due = |budget: &mut ThinkingBudget| budget.left == 0 && reply.is_thinking() && reply.is_settled();
        if self.finished || !self.decoder.is_whole() {
            return None;
        }
        self.thinking.take_if(due).map(|budget| budget.closing)
    }
}
