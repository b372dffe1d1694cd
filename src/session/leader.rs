//! The leader's half of a session: the prompt, the sampler, and the answer in the making.

use serde_json::Value;

use crate::chat::tools::Format;
use crate::chat::{ChatTemplate, PromptInput, ReplyOptions, ReplyParser, StopMatcher, Time};
use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::model::Model;
use crate::sample::{self, Sampler};
use crate::session::answer::{Answer, ThinkingBudget};
use crate::session::defaults::{Defaults, Proposal};
use crate::session::lookup::Lookup;
use crate::session::packet;
use crate::session::request::{Output, Request, TokenLogprob};
use crate::session::timeline::{Reach, Timeline};
use crate::tokenizer::{Span, TokenKind, Tokenizer};

/// What only shard 0 has.
pub(super) struct Leader {
    pub(super) tokenizer: Tokenizer,
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
    lookup: Option<Lookup>,
    answer: Option<Answer>,
    output: Output,
    /// Chats answered so far: makes the ids of tool calls differ.
    requests: u64,
}

/// What is known of the reply to a chat before it begins.
struct ChatReply {
    parser: ReplyParser,
    /// The model may think first: the prompt has not already ended its thoughts.
    thinks: bool,
    /// The tokens that end thoughts.
    closing: Option<Vec<u32>>,
}

/// The template's variable that switches thinking.
const THINKS: &str = "enable_thinking";

impl Leader {
    pub(super) fn new(gguf: &Gguf, model: &Model) -> Result<Leader> {
        let tokenizer = Tokenizer::from_metadata(&gguf.metadata)?;
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
            tokenizer,
            template,
            defaults,
            markup,
            timeline: Timeline::new(!model.state.recurrent.is_empty()),
            draft: Vec::new(),
            lookup: None,
            answer: None,
            output: Output::default(),
            requests: 0,
        })
    }

    /// Tokenises the prompt and makes ready for the answer. `capacity` is the context's length in tokens.
    pub(super) fn start(&mut self, request: Request, capacity: usize) -> Result<()> {
        request.validate()?;
        let (mut prompt, reply) = self.prompt(&request)?;
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
        if prompt.len() >= capacity {
            return Err(Error::new(
                Kind::ContextFull,
                format!(
                    "the prompt has {} tokens, and the context holds {capacity}, the answer included: shorten it, or load the \
                     model with a larger contextLength",
                    prompt.len()
                ),
            ));
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
        self.lookup = request.speculation.unwrap_or(true).then(Lookup::new);
        self.output = Output::default();
        let mut answer = Answer::new(sampler, stop, length, known);
        answer.left = request.max_tokens.unwrap_or(usize::MAX).min(capacity - length);
        answer.logprobs = (request.logprobs || request.top_logprobs > 0).then_some(request.top_logprobs);
        answer.ignore_end = request.ignore_end;
        answer.prompt_only = request.prompt_only;
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
        Ok(())
    }

    /// What chats are answered with where a request does not say.
    pub(super) fn proposal(&self) -> Proposal {
        self.defaults.proposal()
    }

    /// How many tokens the prompt of a request has.
    pub(super) fn count(&mut self, request: &Request) -> Result<usize> {
        request.validate()?;
        Ok(self.prompt(request)?.0.len())
    }

    /// The ids of a request's prompt, and what reads the reply to a chat.
    fn prompt(&mut self, request: &Request) -> Result<(Vec<u32>, Option<ChatReply>)> {
        if let Some(ids) = &request.prompt_tokens {
            if let Some(id) = ids.iter().find(|id| **id as usize >= self.tokenizer.len()) {
                return Err(self.no_such_token(*id));
            }
            return Ok((ids.clone(), None));
        }
        if let Some(text) = &request.prompt {
            return Ok((self.with_bos(self.tokenizer.encode(text, true)), None));
        }
        let template = self.template.as_ref().map_err(Error::clone)?;
        let now = request
            .now
            .map(|now| Time::from_unix(now.unix_seconds, now.utc_offset_minutes))
            .transpose()?;
        let mut input = PromptInput {
            messages: template.normalize(request.messages.as_ref().unwrap_or(&Value::Null))?,
            tools: request.tools.clone(),
            add_generation_prompt: true,
            variables: request.template_variables.clone(),
            now,
        };
        if let (Some(thinks), None) = (self.defaults.thinks(), input.variables.get(THINKS)) {
            input.variables.insert(THINKS.into(), thinks.into());
        }
        let spans = template.render(&input)?;
        let spans: Vec<_> = spans
            .iter()
            .map(|s| Span {
                text: &s.text,
                trusted: s.trusted,
            })
            .collect();
        let mut ids = self.with_bos(self.tokenizer.encode_spans(&spans));
        let mut options = ReplyOptions::for_prompt(template, &input)?;
        self.requests += 1;
        options.id_salt = self.requests;
        let thinks = options.reasoning.is_some_and(|family| {
            !spans
                .last()
                .is_some_and(|last| last.text.trim_end().ends_with(family.close))
        });
        let family = options.reasoning;
        let closing = family.map(|family| self.tokenizer.encode(family.closing, true));
        let skipped = options.reasoning_open && request.thinking_budget == Some(0);
        let mut parser = ReplyParser::new(options);
        if let (true, Some(family), Some(closing)) = (skipped, family, &closing) {
            ids.extend(closing);
            parser.push(family.closing);
        }
        let reply = ChatReply {
            parser,
            thinks: thinks && !skipped,
            closing,
        };
        Ok((ids, Some(reply)))
    }

    pub(super) fn no_such_token(&self, id: u32) -> Error {
        let message = format!(
            "token id {id}: the vocabulary has {} tokens",
            self.tokenizer.len()
        );
        Error::new(Kind::InvalidArgument, message)
    }

    /// The token that begins every text, where the file asks for it and the template has not written it.
    fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let (true, Some(bos)) = (self.tokenizer.add_bos(), self.tokenizer.bos())
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }

    /// Writes the packet of the next batch, or that of the end.
    pub(super) fn announce(&mut self, packet: &mut [f32]) {
        let Some(answer) = self.answer.as_ref().filter(|answer| !answer.finished) else {
            self.answer = None;
            packet::write_end(packet);
            return;
        };
        // The token after a draft is always there as well, so that one less than is allowed can be guessed.
        let most = answer.left.saturating_sub(1);
        self.draft.clear();
        if let Some(lookup) = &mut self.lookup {
            lookup.draft(self.timeline.tokens(), most, &mut self.draft);
        }
        let (tokens, batch) = self.timeline.next(&self.draft, !answer.prompt_only);
        if !batch.draft {
            self.draft.clear();
        }
        packet::write(packet, &tokens, &batch);
    }

    /// The batch on its way is done. True if it was the last of what is known, so that a token is sampled next.
    pub(super) fn batch_done(&mut self) -> bool {
        self.timeline.batch_done();
        self.timeline.is_complete()
    }

    /// Chooses the next token, and further ones as long as they are those of the draft; says what they add to the answer.
    /// `logits`: `[1 + draft, vocabulary]`.
    pub(super) fn sample(&mut self, logits: &[f32]) {
        if let Some(answer) = self.answer.as_mut().filter(|answer| answer.prompt_only) {
            return answer.end_with_prompt(&mut self.output);
        }
        let draft = std::mem::take(&mut self.draft);
        let mut right = 0;
        for row in logits.chunks_exact(logits.len() / (1 + draft.len())) {
            self.sample_one(row);
            // Was this token guessed, and is it the last one? Then the logits after it are those of the next row.
            let guessed = draft.get(right) == self.timeline.tokens().last();
            let unfinished = self.answer.as_ref().is_some_and(|answer| !answer.finished);
            if !(guessed && unfinished && self.timeline.lacks_one()) {
                break;
            }
            self.timeline.accept_one();
            right += 1;
        }
        if let (Some(lookup), false) = (&mut self.lookup, draft.is_empty()) {
            self.output.drafted += draft.len();
            self.output.accepted += right;
            lookup.learn(draft.len(), right);
        }
        self.draft = draft;
    }

    fn sample_one(&mut self, logits: &[f32]) {
        let Leader {
            tokenizer,
            answer: Some(answer),
            output,
            timeline,
            ..
        } = self
        else {
            return;
        };
        let choice = answer.sampler.sample(logits, None);
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
        answer.add(tokenizer, choice.id, output);
        self.close_thoughts();
    }

    /// Ends thoughts that have used up their budget: the closing tokens are part of the answer, and the next batch.
    fn close_thoughts(&mut self) {
        let Some(answer) = self.answer.as_mut() else {
            return;
        };
        for id in answer.closing().into_iter().flatten() {
            if answer.finished {
                break;
            }
            self.timeline.push(id);
            answer.add(&self.tokenizer, id, &mut self.output);
        }
    }

    pub(super) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// Drops the answer; the batch on its way came this far.
    pub(super) fn cancel(&mut self, reach: Reach) {
        self.answer = None;
        self.timeline.abandon(reach);
    }
}

/// A token's literal text.
fn spelling(tokenizer: &Tokenizer, id: u32) -> String {
    String::from_utf8_lossy(tokenizer.token_text(id)).into_owned()
}

/// How the tokens are spelled that text from a message must never become.
fn control_spellings(tokenizer: &Tokenizer) -> Vec<String> {
    (0..tokenizer.len() as u32)
        .filter(|id| tokenizer.kind(*id) == TokenKind::Control)
        .map(|id| spelling(tokenizer, id))
        .filter(|text| !text.is_empty())
        .collect()
}

/// The control tokens that this model's replies may contain as markup of thoughts and tool calls, by ascending id.
fn markup_tokens(tokenizer: &Tokenizer, template: &ChatTemplate) -> Vec<(u32, String)> {
    let reasoning = template.reasoning();
    let reasoning = reasoning.iter().flat_map(|family| [family.open, family.close]);
    let calls = template.tool_format().into_iter().flat_map(Format::markers);
    let markers: Vec<&str> = reasoning.chain(calls).collect();
    (0..tokenizer.len() as u32)
        .filter(|id| tokenizer.kind(*id) == TokenKind::Control)
        .map(|id| (id, spelling(tokenizer, id)))
        .filter(|(_, name)| !name.is_empty() && markers.iter().any(|marker| marker.contains(name.as_str())))
        .collect()
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
