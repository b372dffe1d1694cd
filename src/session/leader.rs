//! The leader's half of a session: the prompt, the sampler, and the answer in the making.

mod prompt;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::chat::{ChatTemplate, StopMatcher};
use crate::constrain::Constraints;
use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::model::{Logits, MAX_BATCH, Model};
use crate::sample::Sampler;
use crate::session::answer::{Answer, ThinkingBudget};
use crate::session::defaults::{Defaults, Proposal};
use crate::session::group::Group;
use crate::session::lookup::Lookup;
use crate::session::packet::{self, Packet};
use crate::session::pooling::{Pool, Pooling};
use crate::session::prediction::Prediction;
use crate::session::request::{Output, Request, invalid};
use crate::session::scoring::Scoring;
use crate::session::sequence::{Prepared, Sequence, Sizes, Work};
use crate::session::timeline::{Reach, Timeline};
use crate::tokenizer::Tokenizer;
use prompt::{ChatReply, control_spellings, markup_tokens, spelling};

/// Most logits of a draft: 8 MB. Eight tokens of the largest vocabularies.
const DRAFT_LOGITS: usize = 1 << 21;

/// What only shard 0 has.
pub(super) struct Leader {
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Who runs constraints, if anybody does.
    pub(super) constraints: Option<Rc<dyn Constraints>>,
    pub(super) sizes: Sizes,
    /// Tokens in the context.
    pub(super) capacity: usize,
    /// Compiled at load; a broken template is an error only for those who use it.
    template: Result<ChatTemplate>,
    defaults: Defaults,
    /// Control tokens that are markup in replies, with their names: they have no text otherwise.
    markup: Vec<(u32, String)>,
    /// The request in flight, if it is a single one, in the memory that is kept between requests.
    pub(super) main: Sequence,
    /// The requests in flight, if they are several.
    pub(super) group: Option<Group>,
    /// The model has a block that predicts further tokens, and it is in memory.
    predicts: bool,
    pooling: Result<Pooling>,
    /// What is to be said.
    pub(super) outputs: VecDeque<Output>,
    /// Chats answered so far: makes the ids of tool calls differ.
    requests: u64,
}

/// A request whose prompt is made, and found to fit.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) prompt: Vec<u32>,
    reply: Option<ChatReply>,
    /// The tokens of the texts to be weighed.
    texts: Vec<Vec<u32>>,
}

impl Leader {
    pub(super) fn new(tokenizer: Tokenizer, gguf: &Gguf, model: &Model) -> Result<Leader> {
        let tokenizer = Arc::new(tokenizer);
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
            sizes: Sizes {
                logits: model.hyper.vocabulary,
                width: model.hyper.embedding_length,
                longest_draft: (DRAFT_LOGITS / model.hyper.vocabulary).saturating_sub(1),
            },
            capacity: model.state.seats.own.cache.capacity(),
            template,
            defaults,
            markup,
            main: Sequence::new(Timeline::new(!model.state.seats.own.recurrent.is_empty())),
            group: None,
            predicts: model.weights.prediction.is_some(),
            pooling: Pooling::read(&gguf.metadata, model.hyper.architecture),
            outputs: VecDeque::new(),
            requests: 0,
        })
    }

    /// Begins a request, or several.
    pub(super) fn start(&mut self, request: Request, model: &Model) -> Result<()> {
        self.outputs.clear();
        if !request.together.is_empty() {
            let group = Group::new(self, request, model)?;
            self.group = Some(group);
            return Ok(());
        }
        let asked = self.ask(request)?;
        let prepared = self.prepare(&asked)?;
        self.main.begin(prepared, &self.tokenizer)?;
        // The constraint may have left the model no choice at all.
        if self.main.is_finished() {
            self.outputs.push_back(self.main.take_output());
        }
        Ok(())
    }

    /// Tokenises the prompt of a request, and refuses what makes no sense or does not fit.
    pub(super) fn ask(&mut self, request: Request) -> Result<Asked> {
        request.validate()?;
        let (mut prompt, reply) = self.prompt(&request)?;
        if request.embed {
            prompt = self.tokenizer.with_specials(prompt);
        }
        let texts = self.texts(&request)?;
        let longest = texts.iter().map(|text| text.len() + 1).max().unwrap_or(1);
        if prompt.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "the prompt is empty: there is nothing to continue",
            ));
        }
        if prompt.len() + longest > self.capacity {
            return Err(Error::new(
                Kind::ContextFull,
                format!(
                    "the prompt has {} tokens, and the context holds {}, the answer included: shorten it, or load the model with \
                     a larger contextLength",
                    prompt.len(),
                    self.capacity
                ),
            ));
        }
        Ok(Asked {
            request,
            prompt,
            reply,
            texts,
        })
    }

    /// Makes a request ready to begin.
    pub(super) fn prepare(&self, asked: &Asked) -> Result<Prepared> {
        let Asked {
            request,
            prompt,
            reply,
            texts,
        } = asked;
        let talk = reply.as_ref().map(|reply| reply.talk).unwrap_or_default();
        let logits = self.sizes.logits;
        let gate = request.gate(&self.tokenizer, self.constraints.as_ref(), talk, logits)?;
        let defaults = match reply {
            Some(reply) => self.defaults.chat(reply.thinks, &request.sampling),
            None => self.defaults.text(),
        };
        let params = request.params(defaults, |text| self.tokenizer.encode_continuation(text))?;
        if let Some((id, _)) = params
            .logit_bias
            .iter()
            .find(|(id, _)| *id as usize >= self.tokenizer.len())
        {
            return Err(self.no_such_token(*id).at("logit_bias"));
        }
        let mut prepared = Prepared {
            prompt: prompt.clone(),
            messages: Vec::new(),
            lookup: None,
            prediction: None,
            work: Work::Nothing,
        };
        if let Some(score) = &request.score {
            prepared.work = Work::Score(Scoring::new(prompt.clone(), texts.clone(), score.with_end));
            return Ok(prepared);
        }
        if request.embed {
            prepared.work = Work::Embed(Pool::new(self.pooling.clone()?));
            return Ok(prepared);
        }
        let mut sampler = Sampler::new(params, self.tokenizer.suppressed())?;
        for id in prompt {
            sampler.accept(*id);
        }
        prepared.messages = (1..=prompt.len())
            .filter(|end| self.tokenizer.is_end_of_generation(prompt[end - 1]))
            .collect();
        if let (true, Some(end)) = (request.prompt_only, prepared.messages.last()) {
            prepared.prompt.truncate(*end);
        }
        let guesses = request.speculation.unwrap_or(true);
        prepared.lookup = guesses.then(Lookup::new);
        prepared.prediction = (guesses && self.predicts).then(Prediction::new);
        let (length, stop) = (prepared.prompt.len(), StopMatcher::new(request.stop.clone())?);
        let mut answer = Answer::new(sampler, stop, length);
        answer.left = request
            .max_tokens
            .unwrap_or(usize::MAX)
            .min(self.capacity - length);
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
                .zip(closing.clone())
                .map(|(left, closing)| ThinkingBudget { left, closing });
            answer.reply = Some(parser.clone());
        }
        prepared.work = Work::Answer(Box::new(answer));
        Ok(prepared)
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

    /// What is remembered of the request in flight, or of the last one.
    pub(super) fn timeline(&self) -> &Timeline {
        &self.main.timeline
    }

    /// The same.
    pub(super) fn timeline_mut(&mut self) -> &mut Timeline {
        &mut self.main.timeline
    }

    /// Writes the packet of the next batch, or that of the end.
    pub(super) fn announce(&mut self, packet: &mut [f32]) {
        if let Some(mut group) = self.group.take() {
            if group.announce(self, packet) {
                self.group = Some(group);
            } else {
                packet::write_end(packet);
            }
            return;
        }
        match self.main.next(self.sizes, MAX_BATCH) {
            Some((tokens, batch, rows)) => {
                if !rows.is_empty() {
                    self.main.skips(self.sizes.logits - rows.len());
                }
                packet::write(packet, &Packet::alone(tokens, batch, rows));
            }
            None => packet::write_end(packet),
        }
    }

    /// The batch on its way is done. True if there are logits to sample from, or vectors to be pooled. `vectors`: those of the batch,
    /// if they were asked for.
    pub(super) fn batch_done(&mut self, vectors: &[f32]) -> bool {
        match self.group.as_mut() {
            Some(group) => group.batch_done(&mut self.main, vectors, self.sizes.width),
            None => self.main.batch_done(vectors, self.sizes.width),
        }
    }

    /// Whether the batch that is done was one of the block that predicts further tokens, which only guesses for a request that is
    /// alone. `logits`: those of its last token, if it was to bring a guess.
    pub(super) fn predicted(&mut self, logits: Logits) -> bool {
        self.group.is_none() && self.main.predicted(logits)
    }

    /// Takes the logits of a batch, those of all tokens that want some.
    pub(super) fn sample(&mut self, logits: Logits) -> Result<()> {
        if let Some(group) = self.group.as_mut() {
            group.sample(&self.tokenizer, logits, &mut self.outputs);
            return Ok(());
        }
        self.main.sample(&self.tokenizer, logits)?;
        if self.main.has_output() {
            self.outputs.push_back(self.main.take_output());
        }
        Ok(())
    }

    /// Drops what is in flight; the batch on its way came this far.
    pub(super) fn cancel(&mut self, reach: Reach) {
        self.outputs.clear();
        self.group = None;
        self.main.cancel(reach);
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
