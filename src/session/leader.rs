//! The leader's half of a session: the prompt, the sampler, and the answer in the making.

mod prompt;

use std::rc::Rc;
use std::sync::Arc;

use crate::chat::{ChatTemplate, StopMatcher};
use crate::constrain::Constraints;
use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::model::{LogitsFor, Model};
use crate::sample::{self, Sampler};
use crate::session::answer::{Answer, ThinkingBudget};
use crate::session::defaults::{Defaults, Proposal};
use crate::session::gate::{Gate, Verdict};
use crate::session::lookup::Lookup;
use crate::session::packet;
use crate::session::pooling::{Pool, Pooling};
use crate::session::prediction::Prediction;
use crate::session::request::{FinishReason, Output, Request, TokenLogprob, invalid};
use crate::session::scoring::Scoring;
use crate::session::timeline::{Reach, Timeline};
use crate::tokenizer::Tokenizer;
use prompt::{ChatReply, control_spellings, markup_tokens, spelling};

/// Most logits computed at a time: 8 MB, of which two copies exist. Eight tokens of the largest vocabularies.
const DRAFT_LOGITS: usize = 1 << 21;

/// What only shard 0 has.
pub(super) struct Leader {
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Who runs constraints, if anybody does.
    pub(super) constraints: Option<Rc<dyn Constraints>>,
    /// How many logits there are.
    logits: usize,
    /// Compiled at load; a broken template is an error only for those who use it.
    template: Result<ChatTemplate>,
    defaults: Defaults,
    /// Control tokens that are markup in replies, with their names: they have no text otherwise.
    markup: Vec<(u32, String)>,
    /// Prompt and answer so far, and what is remembered of them. Kept between requests: the next prompt may begin the same
    /// way.
    pub(super) timeline: Timeline,
    /// The tokens at the end of the batch on its way that are a guess.
    draft: Vec<u32>,
    /// They are guessed by the block that predicts further tokens.
    is_predicted: bool,
    lookup: Option<Lookup>,
    /// The model has a block that predicts further tokens, and it is in memory.
    predicts: bool,
    /// What it does for the answer in the making.
    prediction: Option<Prediction>,
    /// So that the logits of a draft fit in [`DRAFT_LOGITS`].
    longest_draft: usize,
    answer: Option<Answer>,
    /// A request that is no answer: there is none then.
    task: Option<Task>,
    pooling: Result<Pooling>,
    /// Numbers in a vector.
    width: usize,
    output: Output,
    /// Chats answered so far: makes the ids of tool calls differ.
    requests: u64,
}

/// What a request wants if not an answer.
enum Task {
    Score(Scoring),
    Embed(Pool),
}

impl Leader {
    pub(super) fn new(gguf: &Gguf, model: &Model) -> Result<Leader> {
        let tokenizer = Arc::new(Tokenizer::from_metadata(&gguf.metadata)?);
        if tokenizer.len() > model.hyper.vocabulary {
            return Err(Error::new(
                Kind::MalformedFile,
                format!(
                    "the vocabulary has {} tokens, the embedding only {} rows",
                    tokenizer.len(),
                    model.hyper.vocabulary
                ),
            ));
        }
        let template = match gguf.metadata.str("tokenizer.chat_template")? {
            Some(source) => {
                let name = |id: Option<u32>| id.map_or_else(String::new, |id| spelling(&tokenizer, id));
                let control = control_spellings(&tokenizer);
                let control: Vec<&str> = control.iter().map(String::as_str).collect();
                ChatTemplate::new(source, &name(tokenizer.bos()), &name(tokenizer.eos()), &control)
            }
            None => Err(Error::new(
                Kind::Template,
                "this file has no chat template: it is no chat model; use completions with a prompt instead",
            )),
        };
        let defaults = Defaults::read(&gguf.metadata)?;
        let markup = template
            .as_ref()
            .map_or_else(|_| Vec::new(), |template| markup_tokens(&tokenizer, template));
        Ok(Leader {
            constraints: built_in(&tokenizer),
            tokenizer,
            logits: model.hyper.vocabulary,
            template,
            defaults,
            markup,
            timeline: Timeline::new(!model.state.recurrent.is_empty()),
            draft: Vec::new(),
            is_predicted: false,
            lookup: None,
            predicts: model.weights.prediction.is_some(),
            prediction: None,
            longest_draft: (DRAFT_LOGITS / model.hyper.vocabulary).saturating_sub(1),
            answer: None,
            task: None,
            pooling: Pooling::read(&gguf.metadata, model.hyper.architecture),
            width: model.hyper.embedding_length,
            output: Output::default(),
            requests: 0,
        })
    }

    /// Tokenises the prompt and makes ready for the answer. `capacity` is the context's length in tokens.
    pub(super) fn start(&mut self, request: Request, capacity: usize) -> Result<()> {
        request.validate()?;
        let (mut prompt, reply) = self.prompt(&request)?;
        if request.embed {
            prompt = self.tokenizer.with_specials(prompt);
        }
        let texts = self.texts(&request)?;
        let longest = texts.iter().map(|text| text.len() + 1).max().unwrap_or(1);
        let talk = reply.as_ref().map(|reply| reply.talk).unwrap_or_default();
        let gate = request.gate(&self.tokenizer, self.constraints.as_ref(), talk, self.logits)?;
        let defaults = match &reply {
            Some(reply) => self.defaults.chat(reply.thinks, &request.sampling),
            None => self.defaults.text(),
        };
        let params = request.params(defaults, |text| self.tokenizer.encode(text, false))?;
        if let Some((id, _)) = params
            .logit_bias
            .iter()
            .find(|(id, _)| *id as usize >= self.tokenizer.len())
        {
            return Err(self.no_such_token(*id).at("logit_bias"));
        }
        if prompt.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "the prompt is empty: there is nothing to continue",
            ));
        }
        if prompt.len() + longest > capacity {
            return Err(Error::new(
                Kind::ContextFull,
                format!(
                    "the prompt has {} tokens, and the context holds {capacity}, the answer included: shorten it, or load the \
                     model with a larger contextLength",
                    prompt.len()
                ),
            ));
        }
        if request.embed || !texts.is_empty() {
            return self.start_task(request, prompt, texts);
        }
        let mut sampler = Sampler::new(params, self.tokenizer.suppressed())?;
        for id in &prompt {
            sampler.accept(*id);
        }
        let messages: Vec<usize> = (1..=prompt.len())
            .filter(|end| self.tokenizer.is_end_of_generation(prompt[end - 1]))
            .collect();
        if let (true, Some(end)) = (request.prompt_only, messages.last()) {
            prompt.truncate(*end);
        }
        let (length, stop) = (prompt.len(), StopMatcher::new(request.stop)?);
        let known = self.timeline.begin(prompt, &messages);
        self.draft.clear();
        let guesses = request.speculation.unwrap_or(true);
        self.lookup = guesses.then(Lookup::new);
        self.prediction = (guesses && self.predicts).then(Prediction::new);
        self.output = Output::default();
        let mut answer = Answer::new(sampler, stop, length, known);
        answer.left = request.max_tokens.unwrap_or(usize::MAX).min(capacity - length);
        answer.logprobs = (request.logprobs || request.top_logprobs > 0).then_some(request.top_logprobs);
        answer.ignore_end = request.ignore_end;
        answer.prompt_only = request.prompt_only;
        answer.gate = gate;
        answer.fast_forward = !request.no_fast_forward;
        // Log probabilities are among all tokens.
        answer.some_rows = !request.all_rows && answer.logprobs.is_none();
        if let Some(ChatReply { parser, closing, .. }) = reply {
            let is_marker = |name: &str| parser.markers().any(|marker| marker.contains(name));
            let named = self.markup.iter().filter(|(_, name)| is_marker(name));
            answer.named = named.map(|(id, _)| *id).collect();
            answer.thinking = request
                .thinking_budget
                .zip(closing)
                .map(|(left, closing)| ThinkingBudget { left, closing });
            answer.reply = Some(parser);
        }
        self.answer = Some(answer);
        self.go_on().inspect_err(|_| self.answer = None)
    }

    /// Begins a request that wants no answer.
    fn start_task(&mut self, request: Request, prompt: Vec<u32>, texts: Vec<Vec<u32>>) -> Result<()> {
        let length = prompt.len();
        self.task = Some(match request.score {
            Some(score) => Task::Score(Scoring::new(prompt.clone(), texts, score.with_end)),
            None => {
                // Every token's vector counts, also of those that are known from before.
                self.timeline.forget();
                Task::Embed(Pool::new(self.pooling.clone()?))
            }
        });
        (self.answer, self.prediction) = (None, None);
        self.output = Output {
            prompt_tokens: Some(length),
            ..Output::default()
        };
        self.draft.clear();
        self.output.cached_tokens = Some(self.timeline.begin(prompt, &[]));
        Ok(())
    }

    /// What chats are answered with where a request does not say.
    pub(super) fn proposal(&self) -> Proposal {
        self.defaults.proposal()
    }

    /// The tokens of the texts to be weighed.
    fn texts(&self, request: &Request) -> Result<Vec<Vec<u32>>> {
        let texts = request.score.as_ref().map_or(&[][..], |score| &score.texts);
        let tokens = |text: &String| match self.tokenizer.encode_continuation(text) {
            ids if ids.is_empty() => Err(invalid(format!("no token of the vocabulary spells {text:?}"))),
            ids => Ok(ids),
        };
        texts.iter().map(tokens).collect()
    }

    /// Whether there is something to tell after a batch: the steps of a task bring nothing.
    pub(super) fn has_output(&self) -> bool {
        self.task.is_none() || self.output.finish_reason.is_some()
    }

    /// Whether the request in flight has nothing left to compute.
    pub(super) fn is_finished(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.finished)
    }

    /// How many tokens the prompt of a request has.
    pub(super) fn count(&mut self, request: &Request) -> Result<usize> {
        request.validate()?;
        Ok(self.prompt(request)?.0.len())
    }

    pub(super) fn no_such_token(&self, id: u32) -> Error {
        let message = format!(
            "token id {id}: the vocabulary has {} tokens",
            self.tokenizer.len()
        );
        Error::new(Kind::InvalidArgument, message)
    }

    /// Writes the packet of the next batch, or that of the end.
    pub(super) fn announce(&mut self, packet: &mut [f32]) {
        if let Some(task) = self.task.as_mut().filter(|_| self.output.finish_reason.is_none()) {
            let (tokens, mut batch) = match task {
                Task::Score(scoring) => scoring.next(&mut self.timeline),
                Task::Embed(_) => self.timeline.next(&[], true),
            };
            if matches!(task, Task::Embed(_)) {
                batch.logits = LogitsFor::Vectors;
            }
            packet::write(packet, &tokens, &batch, &[]);
            return;
        }
        self.task = None;
        let Some(answer) = self.answer.as_ref().filter(|answer| !answer.finished) else {
            self.answer = None;
            packet::write_end(packet);
            return;
        };
        // The token after a draft is always there as well, so that one less than is allowed can be guessed.
        let most = answer.left.saturating_sub(1).min(self.longest_draft);
        self.draft.clear();
        self.is_predicted = false;
        if let Some(lookup) = &mut self.lookup {
            lookup.draft(self.timeline.tokens(), most, &mut self.draft);
        }
        if let Some(prediction) = &mut self.prediction {
            // What is copied is as good and costs nothing, and what is constrained is guessed too badly.
            let guess = self.draft.is_empty() && self.timeline.lacks_one() && answer.gate.is_none();
            let most = if guess { most } else { 0 };
            if let Some((tokens, batch)) = prediction.next(self.timeline.tokens(), most) {
                packet::write(packet, &tokens, &batch, &[]);
                return;
            }
            if self.draft.is_empty() {
                self.draft.extend_from_slice(prediction.draft());
                self.is_predicted = !self.draft.is_empty();
            }
        }
        let (tokens, batch) = self.timeline.next(&self.draft, !answer.prompt_only);
        if !batch.draft {
            self.draft.clear();
        }
        let rows = match batch.logits {
            LogitsFor::Last if answer.some_rows => wanted_rows(answer, self.logits),
            _ => Vec::new(),
        };
        if !rows.is_empty() {
            self.output.skipped_rows += self.logits - rows.len();
        }
        packet::write(packet, &tokens, &batch, &rows);
    }

    /// The batch on its way is done. True if it was the last of what is known, so that a token is sampled next.
    /// `vectors`: those of the batch, if they were asked for.
    pub(super) fn batch_done(&mut self, vectors: &[f32]) -> bool {
        if let Some(Task::Embed(pool)) = &mut self.task {
            pool.add(vectors, self.width);
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
    pub(super) fn predicted(&mut self, logits: &[f32]) -> bool {
        let (Some(prediction), Some(answer)) = (&mut self.prediction, &self.answer) else {
            return false;
        };
        prediction.take(|| answer.sampler.likeliest(logits))
    }

    /// Chooses the next token, and further ones as long as they are those of the draft; says what they add to the answer.
    /// `logits`: `[1 + draft, vocabulary]`.
    pub(super) fn sample(&mut self, logits: &[f32]) -> Result<()> {
        if let Some(task) = &mut self.task {
            let output = &mut self.output;
            match task {
                Task::Score(scoring) => {
                    scoring.take(&self.tokenizer, logits, self.logits, &mut self.timeline);
                    if !scoring.is_done() {
                        return Ok(());
                    }
                    output.scores = scoring.scores();
                }
                Task::Embed(pool) => output.vector = pool.vector(),
            }
            output.finish_reason = Some(FinishReason::Stop);
            return Ok(());
        }
        if let Some(answer) = self.answer.as_mut().filter(|answer| answer.prompt_only) {
            answer.end_with_prompt(&mut self.output);
            return Ok(());
        }
        let draft = std::mem::take(&mut self.draft);
        let mut right = 0;
        for row in logits.chunks_exact(logits.len() / (1 + draft.len())) {
            self.sample_one(row)?;
            // Was this token guessed, and is it the last one? Then the logits after it are those of the next row.
            let guessed = draft.get(right) == self.timeline.tokens().last();
            let unfinished = self.answer.as_ref().is_some_and(|answer| !answer.finished);
            if !(guessed && unfinished && self.timeline.lacks_one()) {
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

    fn sample_one(&mut self, logits: &[f32]) -> Result<()> {
        let Leader {
            tokenizer,
            answer: Some(answer),
            output,
            timeline,
            ..
        } = self
        else {
            return Ok(());
        };
        let mut choice = answer
            .sampler
            .sample(logits, answer.gate.as_ref().and_then(Gate::mask));
        if let Some(gate) = &mut answer.gate {
            while gate.overruns(tokenizer, choice.id) {
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
        timeline.push(choice.id);
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
        self.close_thoughts()?;
        self.go_on()
    }

    /// Ends thoughts that have used up their budget: the closing tokens are part of the answer, and the next batch.
    fn close_thoughts(&mut self) -> Result<()> {
        let Some(answer) = self.answer.as_mut() else {
            return Ok(());
        };
        for id in answer.closing().into_iter().flatten() {
            if answer.finished {
                break;
            }
            self.timeline.push(id);
            answer.add(&self.tokenizer, id, &mut self.output)?;
        }
        Ok(())
    }

    /// Adds the tokens that the constraint forces, which are part of the next batch, and looks what may come after them.
    fn go_on(&mut self) -> Result<()> {
        let Some(answer) = self.answer.as_mut() else {
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
                answer.add(&self.tokenizer, id, &mut self.output)?;
                self.output.was_forced(before);
            }
        }
        match answer.gate.as_mut().filter(|_| !answer.finished) {
            Some(gate) => gate.look(&self.tokenizer),
            None => Ok(()),
        }
    }

    pub(super) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// Drops the answer; the batch on its way came this far.
    pub(super) fn cancel(&mut self, reach: Reach) {
        self.answer = None;
        self.task = None;
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

/// The constraints that this build of the engine runs by itself.
#[cfg(feature = "constraints")]
fn built_in(tokenizer: &Arc<Tokenizer>) -> Option<Rc<dyn Constraints>> {
    Some(Rc::new(crate::constrain::Local::new(Arc::clone(tokenizer))))
}

#[cfg(not(feature = "constraints"))]
fn built_in(_: &Arc<Tokenizer>) -> Option<Rc<dyn Constraints>> {
    None
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
