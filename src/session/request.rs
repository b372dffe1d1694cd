//! What a request asks for, and what comes back. These are the plain objects that cross between Rust and TypeScript:
//! `pkg/src/engine.ts` declares the same shapes.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::chat::{Delta, ToolCallDelta};
use crate::error::{Error, Kind, Result};
use crate::sample::Params;

/// One generation. Exactly one of `messages`, `prompt` and `prompt_tokens` is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Request {
    /// A chat, in OpenAI's shape; rendered by the file's own chat template.
    pub messages: Option<Value>,
    /// Tool definitions for the template, in OpenAI's shape.
    pub tools: Option<Value>,
    /// Text to continue. Control tokens spelled out in it are read as such: the caller writes the markup here.
    pub prompt: Option<String>,
    /// Token ids to continue, as they are.
    pub prompt_tokens: Option<Vec<u32>>,
    /// Most tokens to generate; as many as fit in the context if absent.
    pub max_tokens: Option<usize>,
    /// Texts that end the answer, and are not part of it.
    pub stop: Vec<String>,
    /// How tokens are chosen: fields of [`Params`] that replace those the file or the engine proposes.
    pub sampling: Map<String, Value>,
    /// Report the log probability of each token.
    pub logprobs: bool,
    /// And those of this many alternatives, up to [`MAX_TOP_LOGPROBS`].
    pub top_logprobs: usize,
    /// Go on after an end-of-generation token (for benches).
    pub ignore_end: bool,
    /// Compute the prompt, to the end of its last message, and answer nothing: the beginning of later requests.
    pub prompt_only: bool,
    /// Guess tokens that have stood in the text before, and verify several at once; yes if absent. The answer is the same.
    pub speculation: Option<bool>,
    /// Further variables for the template: `enable_thinking` and the like.
    pub template_variables: Map<String, Value>,
    /// Most tokens for thoughts. When they are used up, the thoughts are ended and the answer begins; 0 skips them.
    pub thinking_budget: Option<usize>,
    /// What the template's `strftime_now` says; the engine has no clock.
    pub now: Option<Now>,
    /// What the answer must look like. Thoughts before it are free.
    pub constraint: Option<Shape>,
    /// Whether the model must call a tool, and which. Arguments obey the tool's schema either way.
    pub tool_choice: ToolChoice,
    /// At most one call.
    pub one_call: bool,
    /// Draw the tokens that the constraint forces one by one, instead of computing them together. The answer is the same.
    pub no_fast_forward: bool,
    /// Compute the logits of all tokens also where few are allowed. The answer is the same.
    pub all_rows: bool,
    /// Instead of an answer: how likely these texts are after the prompt.
    pub score: Option<Score>,
    /// Instead of an answer: the vector of the prompt, with the tokens around it that the file asks for.
    pub embed: bool,
    /// Instead of all else: several requests that are computed together, as far as that pays. What their prompts have in common at the
    /// beginning is computed once. Each gives one [`Output`], which says its place in this list.
    pub together: Vec<Request>,
}

/// Texts to be weighed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Score {
    /// The texts, each of at least one token.
    pub texts: Vec<String>,
    /// Also weigh that the answer ends after each.
    #[serde(default)]
    pub with_end: bool,
}

/// Most texts of a [`Score`], and bytes of all of them.
const MAX_TEXTS: usize = 4096;
const MAX_TEXT_BYTES: usize = 4 << 20;

/// Most requests of one [`Request::together`].
const MAX_TOGETHER: usize = 256;

/// What an answer must look like.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shape {
    /// JSON by this schema.
    Schema(Value),
    /// What this regular expression matches as a whole.
    Regex(String),
    /// What this grammar in Lark's notation describes.
    Lark(String),
}

/// Which tools the model may call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToolChoice {
    /// Any or none.
    #[default]
    Auto,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A moment and a place, for templates that print the date.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Now {
    /// Seconds since 1970 in UTC.
    pub unix_seconds: i64,
    /// Minutes to add for local time.
    pub utc_offset_minutes: i32,
}

/// As in OpenAI's API.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// Most stop strings of a request, and bytes of one.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;

impl Request {
    /// Refuses what makes no sense, by name.
    pub fn validate(&self) -> Result<()> {
        if !self.together.is_empty() {
            return Err(invalid("a request among several cannot be several itself"));
        }
        let given = [
            self.messages.is_some(),
            self.prompt.is_some(),
            self.prompt_tokens.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(invalid(
                "a request needs exactly one of messages, prompt and promptTokens",
            ));
        }
        if let Some(score) = &self.score {
            let bytes: usize = score.texts.iter().map(String::len).sum();
            if score.texts.is_empty() || score.texts.len() > MAX_TEXTS || bytes > MAX_TEXT_BYTES {
                return Err(invalid(format!(
                    "{} texts of {bytes} bytes to be weighed: expected 1 to {MAX_TEXTS} texts of at most {MAX_TEXT_BYTES} bytes",
                    score.texts.len()
                )));
            }
            if score.texts.iter().any(String::is_empty) {
                return Err(invalid("a text to be weighed is empty"));
            }
        }
        if self.max_tokens == Some(0) {
            return Err(invalid("maxTokens is 0, expected 1 or more"));
        }
        if self.top_logprobs > MAX_TOP_LOGPROBS {
            return Err(invalid(format!(
                "topLogprobs is {}, expected 0 to {MAX_TOP_LOGPROBS}",
                self.top_logprobs
            )));
        }
        if self.stop.len() > MAX_STOPS {
            return Err(invalid(format!(
                "{} stop strings, expected at most {MAX_STOPS}",
                self.stop.len()
            )));
        }
        if self
            .stop
            .iter()
            .any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
        {
            return Err(invalid(format!(
                "a stop string must have 1 to {MAX_STOP_BYTES} bytes"
            )));
        }
        Ok(())
    }

    /// Refuses a list of requests that makes no sense as a list.
    pub(super) fn validate_together(&self) -> Result<()> {
        if self.together.len() > MAX_TOGETHER {
            return Err(invalid(format!(
                "{} requests together, expected at most {MAX_TOGETHER}",
                self.together.len()
            )));
        }
        if self.messages.is_some() || self.prompt.is_some() || self.prompt_tokens.is_some() {
            return Err(invalid(
                "requests that are computed together have their prompts in their list",
            ));
        }
        Ok(())
    }

    /// The sampling parameters: `defaults` with the fields that the request names. `tokenize` serves the fields that are
    /// text in a request and token ids in the engine.
    pub fn params(&self, defaults: &Params, tokenize: impl Fn(&str) -> Vec<u32>) -> Result<Params> {
        let mut fields = serde_json::to_value(defaults).map_err(|e| invalid(format!("sampling: {e}")))?;
        for (name, value) in &self.sampling {
            let (name, value) = match name.as_str() {
                "repeat_last_n" => ("penalty_last_n", value.clone()),
                "dry_penalty_last_n" => ("dry_last_n", value.clone()),
                "dry_sequence_breakers" => {
                    let texts: Vec<String> = field(name, value)?;
                    ("dry_breakers", texts.iter().map(|text| tokenize(text)).collect())
                }
                "logit_bias" => ("logit_bias", logit_bias(name, value)?),
                name => (name, value.clone()),
            };
            match fields.get_mut(name) {
                Some(slot) => *slot = value,
                None => return Err(invalid(format!("sampling has no field {name}"))),
            }
        }
        let mut params: Params =
            serde_json::from_value(fields).map_err(|e| invalid(format!("sampling: {e}")))?;
        let told = ["dry_sequence_breakers", "dry_breakers"]
            .iter()
            .any(|name| self.sampling.contains_key(*name));
        if !told && params.dry_multiplier != 0.0 && params.dry_breakers.is_empty() {
            params.dry_breakers = DRY_BREAKERS.map(tokenize).into();
        }
        params.validate()?;
        Ok(params)
    }
}

/// Over these no repetition reaches, unless a request names others.
const DRY_BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// OpenAI's `{"token id": bias}` as pairs.
fn logit_bias(name: &str, value: &Value) -> Result<Value> {
    let biases: BTreeMap<String, f32> = field(name, value)?;
    let pair = |(id, bias): (&String, &f32)| match id.parse::<u32>() {
        Ok(id) => Ok(json!([id, bias])),
        Err(_) => Err(invalid(format!("{name} names \"{id}\", expected a token id"))),
    };
    biases.iter().map(pair).collect()
}

fn field<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone()).map_err(|e| invalid(format!("{name}: {e}")))
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop string.
    Stop,
    /// `max_tokens` or the context is used up.
    Length,
    /// The model asks for tools to be called.
    ToolCalls,
}

/// What became known since the last output. Only what is new crosses to JavaScript.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Text of the answer, in whole characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Text of the model's reasoning.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Tool calls, or pieces of them, as they become known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// Something began like a tool call and was none; its text is in `text`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub malformed_tool_call: bool,
    /// Ids of the tokens generated, the one that ended the answer included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// Their log probabilities, if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// Tokens of the prompt; once, with the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<usize>,
    /// Those of them that were in the KV cache already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<usize>,
    /// Tokens that were guessed.
    #[serde(skip_serializing_if = "is_zero")]
    pub drafted: usize,
    /// Those of them that were right.
    #[serde(skip_serializing_if = "is_zero")]
    pub accepted: usize,
    /// How many of the tokens were forced by the constraint, and not drawn.
    #[serde(skip_serializing_if = "is_zero")]
    pub forced: usize,
    /// The parts of `text` that came with forced tokens, as `[from, to]` in UTF-16 units: what JavaScript counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced_text: Vec<[usize; 2]>,
    /// Logits that were not computed, because their tokens were not allowed.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped_rows: usize,
    /// How sure the model was of the answer: the geometric mean of the probabilities of its tokens among those allowed.
    /// Forced tokens and thoughts do not count. Set on the last output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Log probabilities of the tokens of each text that was to be weighed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Vec<f32>>,
    /// The vector of the prompt, of length one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vector: Vec<f32>,
    /// Set on the last output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// Of requests that are computed together: whose output this is. It is the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Why that one failed; the others go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// An [`Error`] as it crosses to JavaScript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its stable code.
    pub code: &'static str,
    /// Its message.
    pub message: String,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem {
            code: error.kind.code(),
            message: error.message,
        }
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl TokenLogprob {
    /// The token.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Output {
    /// Adds what a piece of text brought to the reply.
    pub(super) fn add(&mut self, delta: Delta) {
        self.text.push_str(&delta.content);
        self.reasoning.push_str(&delta.reasoning);
        for call in delta.tool_calls {
            call.join(&mut self.tool_calls);
        }
        self.malformed_tool_call |= delta.malformed_tool_call;
    }

    /// A forced token was added; before it, `text` was `before` bytes long.
    pub(super) fn was_forced(&mut self, before: usize) {
        self.forced += 1;
        let (old, new) = self.text.split_at(before);
        if new.is_empty() {
            return;
        }
        let from = old.encode_utf16().count();
        let to = from + new.encode_utf16().count();
        match self.forced_text.last_mut() {
            Some(last) if last[1] == from => last[1] = to,
            _ => self.forced_text.push([from, to]),
        }
    }
}

/// A token and its log probability, with those of the best alternatives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprob {
    #[serde(skip)]
    pub(super) id: u32,
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability among all tokens.
    pub logprob: f32,
    /// The likeliest tokens, best first.
    pub top: Vec<TokenLogprob>,
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, message)
}
