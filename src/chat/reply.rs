//! Generated text, as it arrives, into the parts of an assistant's message: answer, reasoning, tool calls.
//!
//! Nothing is shown that may still turn out to be a marker: a suffix that could begin one is held back until the next
//! piece decides. A tool call appears as it is written, its name first, then its arguments piece by piece; the bracket that
//! ends them comes when the whole call was read. One that cannot be read becomes plain text, with
//! [`Delta::malformed_tool_call`] set, so that no word of the model is lost; if it had begun to appear, it is taken back
//! ([`ToolCallDelta::malformed`]). A call among the thoughts appears when it is complete: until then it may be talk.
//!
//! White space that only separates the parts is dropped: around reasoning, before and between calls. An answer
//! of a model without reasoning and without tools passes through untouched.

use serde_json::Value;

use super::stop::held_suffix;
use super::tools::{End, Format, Live, Parsed, Scan, ToolCall};
use super::{ChatTemplate, PromptInput, Reasoning};
use crate::Result;

/// A tool call in a stream, or a piece of it: pieces with the same `index` belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ToolCallDelta {
    /// Which call of this reply. A call that was taken back keeps its index.
    pub index: u32,
    /// Nine letters and digits (the form that Mistral's templates insist on), the same for the same reply. In the first
    /// piece; empty in the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The function's name. In the first piece; empty in the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// More of its arguments: joined, the text of a JSON object.
    pub arguments: String,
    /// The call is none after all and is to be forgotten. Its text is in the reply.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub malformed: bool,
}

impl ToolCallDelta {
    /// Adds this piece to those that came before it. A call that is taken back leaves the list, if its beginning is in it.
    pub fn join(self, calls: &mut Vec<ToolCallDelta>) {
        match calls.iter().position(|call| call.index == self.index) {
            Some(at) if self.malformed && !calls[at].id.is_empty() => drop(calls.remove(at)),
            Some(at) => {
                calls[at].arguments.push_str(&self.arguments);
                calls[at].malformed |= self.malformed;
            }
            None => calls.push(self),
        }
    }
}

/// What a piece of generated text added to the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// More of the answer.
    pub content: String,
    /// More of the thoughts.
    pub reasoning: String,
    /// Calls that began or went on.
    pub tool_calls: Vec<ToolCallDelta>,
    /// Something began like a tool call and was none; its text is in `content` or `reasoning`.
    pub malformed_tool_call: bool,
}

impl Delta {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.reasoning.is_empty()
            && self.tool_calls.is_empty()
            && !self.malformed_tool_call
    }

    /// Adds what came next.
    pub fn join(&mut self, next: Delta) {
        self.content.push_str(&next.content);
        self.reasoning.push_str(&next.reasoning);
        for call in next.tool_calls {
            call.join(&mut self.tool_calls);
        }
        self.malformed_tool_call |= next.malformed_tool_call;
    }
}

/// What to look for in a reply.
#[derive(Debug, Clone, Default)]
pub struct ReplyOptions {
    /// The markers of the model's reasoning; `None` leaves them in the text.
    pub reasoning: Option<Reasoning>,
    /// The prompt already opened the reasoning.
    pub reasoning_open: bool,
    /// The format of tool calls; `None` leaves them in the text.
    pub tool_format: Option<Format>,
    /// The tools that the model was given: their schemas say which arguments are strings.
    pub tools: Option<Value>,
    /// Mixed into the ids of calls, so that two replies with the same call get different ids.
    pub id_salt: u64,
}

impl ReplyOptions {
    /// What replies to this prompt may contain: the template's markers, whether the prompt ends inside reasoning, and
    /// tool calls if there are tools.
    pub fn for_prompt(template: &ChatTemplate, input: &PromptInput) -> Result<ReplyOptions> {
        let reasoning = template.reasoning();
        let reasoning_open = match &reasoning {
            Some(markers) if input.add_generation_prompt => {
                markers.is_open_after(&template.generation_prompt(input)?)
            }
            _ => false,
        };
        let has_tools = input
            .tools
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(|tools| !tools.is_empty());
        Ok(ReplyOptions {
            reasoning,
            reasoning_open,
            tool_format: if has_tools { template.tool_format() } else { None },
            tools: if has_tools { input.tools.clone() } else { None },
            id_salt: 0,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space yet: reasoning may open here.
    Start,
    Reasoning,
    Answer,
    /// After the opening `marker` of a call.
    Call {
        marker: &'static str,
        in_body: bool,
        in_reasoning: bool,
    },
}

/// Splits one reply. See the head of this file.
#[derive(Debug, Clone)]
pub struct ReplyParser {
    options: ReplyOptions,
    state: State,
    /// Text not yet assigned. In [`State::Call`]: the call so far.
    pending: String,
    /// In [`State::Call`]: how it was read.
    reading: Reading,
    /// White space at the end of what was shown, withheld until something follows it.
    space: String,
    /// The part has just begun: white space at its beginning is dropped.
    at_beginning: bool,
    /// Nothing of the answer was shown yet, or nothing since the last call: JSON may be a call here.
    fresh: bool,
    /// Calls that are complete.
    calls: u32,
    /// Ids of the calls so far, in the order of their indices.
    ids: Vec<String>,
}

/// A call that is being read.
#[derive(Debug, Clone, Default)]
struct Reading {
    /// How far it was searched for its end.
    scan: Scan,
    live: Live,
    /// Its index, once it has appeared.
    index: Option<u32>,
    /// Bytes of its arguments that have appeared.
    told: usize,
}

impl ReplyParser {
    /// For one reply.
    pub fn new(options: ReplyOptions) -> ReplyParser {
        let state = match options.reasoning {
            Some(_) if options.reasoning_open => State::Reasoning,
            Some(_) => State::Start,
            None => State::Answer,
        };
        ReplyParser {
            at_beginning: state == State::Reasoning,
            state,
            options,
            pending: String::new(),
            reading: Reading::default(),
            fresh: true,
            space: String::new(),
            calls: 0,
            ids: Vec::new(),
        }
    }

    /// Whether the model is inside its reasoning at this point.
    pub fn is_reasoning(&self) -> bool {
        matches!(
            self.state,
            State::Reasoning
                | State::Call {
                    in_reasoning: true,
                    ..
                }
        )
    }

    /// Whether it is inside its thoughts, and not in a call among them.
    pub fn is_thinking(&self) -> bool {
        self.state == State::Reasoning
    }

    /// Whether nothing is held back that may become a marker.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many tool calls are complete.
    pub fn tool_calls(&self) -> u32 {
        self.calls
    }

    /// The markup that means something in this reply. Where a marker is a control token, its name must be in the text
    /// that is pushed.
    pub fn markers(&self) -> impl Iterator<Item = &'static str> {
        let reasoning = self
            .options
            .reasoning
            .into_iter()
            .flat_map(|family| [family.open, family.close]);
        reasoning.chain(self.options.tool_format.into_iter().flat_map(Format::markers))
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> Delta {
        self.pending.push_str(piece);
        let mut delta = Delta::default();
        while self.step(false, &mut delta) {}
        delta
    }

    /// The text has ended: what was held back is decided.
    pub fn finish(&mut self) -> Delta {
        let mut delta = Delta::default();
        while self.step(true, &mut delta) {}
        if self.state == State::Answer && self.calls == 0 && !self.at_beginning {
            delta.content.push_str(&self.space);
        }
        self.space.clear();
        delta
    }

    /// Decides one thing about the pending text; false when it has to wait for more.
    fn step(&mut self, end: bool, delta: &mut Delta) -> bool {
        match self.state {
            State::Start => self.start(end),
            State::Reasoning | State::Answer => self.text(end, delta),
            State::Call {
                marker,
                in_body,
                in_reasoning,
            } => self.call(marker, in_body, in_reasoning, end, delta),
        }
    }

    fn enter(&mut self, state: State, at_beginning: bool) {
        self.state = state;
        self.at_beginning = at_beginning;
        self.space.clear();
        self.reading = Reading::default();
    }

    fn start(&mut self, end: bool) -> bool {
        let open = self.options.reasoning.map_or("", |r| r.open);
        let text = self.pending.trim_start();
        if !open.is_empty() && text.starts_with(open) {
            self.pending = text[open.len()..].to_owned();
            self.enter(State::Reasoning, true);
            return true;
        }
        if !end && open.starts_with(text) {
            return false;
        }
        self.enter(State::Answer, false);
        true
    }

    /// Shows text up to the next marker, or up to what may become one.
    fn text(&mut self, end: bool, delta: &mut Delta) -> bool {
        let reasoning = self.state == State::Reasoning;
        if !reasoning && self.fresh && self.options.tool_format.is_some_and(Format::bare_json) {
            let between = |c: char| c.is_whitespace() || (c == ';' && self.calls > 0);
            let text = self.pending.trim_start_matches(between);
            if text.starts_with(BARE) {
                self.pending = text.to_owned();
                self.reading = Reading::default();
                self.state = State::Call {
                    marker: BARE,
                    in_body: true,
                    in_reasoning: false,
                };
                return true;
            }
            if text.is_empty() && !end {
                return false;
            }
        }
        // Every marker that means something here, and the state after it.
        let edge = match (reasoning, self.options.reasoning) {
            (true, Some(r)) => Some((r.close, State::Answer)),
            (false, Some(r)) if r.anywhere => Some((r.open, State::Reasoning)),
            _ => None,
        };
        let openings = self.options.tool_format.map_or(&[][..], Format::openings);
        let calls = openings.iter().map(|o| {
            (
                o.marker,
                State::Call {
                    marker: o.marker,
                    in_body: o.in_body,
                    in_reasoning: reasoning,
                },
            )
        });
        let next = edge
            .into_iter()
            .chain(calls)
            .filter_map(|(marker, state)| Some((self.pending.find(marker)?, marker, state)))
            .min_by_key(|&(at, ..)| at);

        if let Some((at, marker, state)) = next {
            let after = self.pending.split_off(at + marker.len());
            let mut before = std::mem::replace(&mut self.pending, after);
            before.truncate(at);
            self.show(&before, reasoning, delta);
            if let State::Call { in_body: true, .. } = state {
                self.pending.insert_str(0, marker);
            }
            match state {
                // The text goes on if this is no call, so the withheld space is kept.
                State::Call { .. } => (self.state, self.reading) = (state, Reading::default()),
                state => self.enter(state, true),
            }
            return true;
        }
        let held = if end {
            0
        } else {
            let markers = edge
                .into_iter()
                .map(|(marker, _)| marker)
                .chain(openings.iter().map(|o| o.marker));
            held_suffix(&self.pending, markers)
        };
        let tail = self.pending.split_off(self.pending.len() - held);
        let shown = std::mem::replace(&mut self.pending, tail);
        self.show(&shown, reasoning, delta);
        false
    }

    /// Adds text to the delta, without the white space that may turn out to separate it from the next part.
    fn show(&mut self, text: &str, reasoning: bool, delta: &mut Delta) {
        let text = if self.at_beginning {
            text.trim_start()
        } else {
            text
        };
        if text.is_empty() {
            return;
        }
        self.at_beginning = false;
        self.fresh &= reasoning || text.trim_start().is_empty();
        let out = if reasoning {
            &mut delta.reasoning
        } else {
            &mut delta.content
        };
        if !reasoning && self.options.tool_format.is_none() {
            out.push_str(text);
            return;
        }
        let solid = text.trim_end();
        if !solid.is_empty() {
            out.push_str(&self.space);
            out.push_str(solid);
            self.space.clear();
        }
        self.space.push_str(&text[solid.len()..]);
    }

    fn call(
        &mut self,
        marker: &'static str,
        in_body: bool,
        in_reasoning: bool,
        end: bool,
        delta: &mut Delta,
    ) -> bool {
        let Some(format) = self.options.tool_format else {
            self.enter(State::Answer, false);
            return true;
        };
        let tools = self.options.tools.as_ref();
        // A call in the middle of reasoning that does not end before the reasoning does was talk about calls.
        let reasoning_ends = self
            .options
            .reasoning
            .filter(|_| in_reasoning)
            .and_then(|family| self.pending.find(family.close));
        let talk = reasoning_ends.is_some();
        let found = format.end(&self.pending, &mut self.reading.scan);
        if !in_reasoning {
            let body = match found {
                End::At { body, .. } => &self.pending[..body],
                End::NotYet | End::Never => &self.pending,
            };
            format.follow(body, tools, &mut self.reading.live);
            self.tell(delta);
        }
        let tools = self.options.tools.as_ref();
        match found {
            End::At { body, after } if reasoning_ends.is_none_or(|at| at >= body) => {
                match format.parse(&self.pending[..body], tools) {
                    Parsed::Calls(calls) if self.is_told(&calls) => {
                        self.pending.drain(..after);
                        self.complete(calls, delta);
                    }
                    Parsed::Unfinished if format.closing().is_some() => {}
                    Parsed::Text => self.give_up(marker, in_body, in_reasoning, false, delta),
                    Parsed::Calls(_) | Parsed::Unfinished | Parsed::Malformed => {
                        self.give_up(marker, in_body, in_reasoning, true, delta);
                    }
                }
                return true;
            }
            End::Never => {
                self.give_up(marker, in_body, in_reasoning, marker != BARE, delta);
                return true;
            }
            End::At { .. } | End::NotYet => {}
        }
        if talk || end {
            match format.parse(&self.pending, tools) {
                // The closing marker may be missing: some models stop before it.
                Parsed::Calls(calls) if end && self.is_told(&calls) => {
                    self.pending.clear();
                    self.complete(calls, delta);
                }
                _ => self.give_up(marker, in_body, in_reasoning, true, delta),
            }
            return true;
        }
        false
    }

    /// Lets appear what is certain of the call that is being read.
    fn tell(&mut self, delta: &mut Delta) {
        let Some(name) = self.reading.live.name() else {
            return;
        };
        if self.reading.index.is_none() {
            let (name, id) = (name.to_owned(), self.reading.live.id().map(str::to_owned));
            self.reading.index = Some(self.begin(name, id, String::new(), delta));
        }
        let arguments = self.reading.live.arguments();
        if let Some(index) = self.reading.index
            && arguments.len() > self.reading.told
        {
            let more = ToolCallDelta {
                index,
                arguments: arguments[self.reading.told..].to_owned(),
                ..ToolCallDelta::default()
            };
            more.join(&mut delta.tool_calls);
            self.reading.told = arguments.len();
        }
    }

    /// Whether what was told is the beginning of what was read in the end.
    fn is_told(&self, calls: &[ToolCall]) -> bool {
        calls
            .first()
            .is_some_and(|call| self.reading.live.is_beginning_of(call))
    }

    /// A call appears. Returns its index.
    fn begin(&mut self, name: String, id: Option<String>, arguments: String, delta: &mut Delta) -> u32 {
        let index = self.ids.len() as u32;
        // The model's own id, unless it cannot be one for this call.
        let own = id.filter(|id| is_call_id(id) && !self.ids.contains(id));
        let id = own.unwrap_or_else(|| call_id(self.options.id_salt, index, &name));
        self.ids.push(id.clone());
        delta.tool_calls.push(ToolCallDelta {
            index,
            id,
            name,
            arguments,
            malformed: false,
        });
        index
    }

    fn complete(&mut self, calls: Vec<ToolCall>, delta: &mut Delta) {
        for call in calls {
            match self.reading.index.take() {
                Some(index) => {
                    let rest = ToolCallDelta {
                        index,
                        arguments: call.arguments[self.reading.told..].to_owned(),
                        ..ToolCallDelta::default()
                    };
                    rest.join(&mut delta.tool_calls);
                }
                None => drop(self.begin(call.name, call.id, call.arguments, delta)),
            }
            self.calls += 1;
        }
        self.enter(State::Answer, true);
        self.fresh = true;
    }

    /// The opening marker was only text. What follows it is looked at again.
    fn give_up(
        &mut self,
        marker: &'static str,
        in_body: bool,
        in_reasoning: bool,
        malformed: bool,
        delta: &mut Delta,
    ) {
        let taken_back = self.reading.index.map(|index| ToolCallDelta {
            index,
            malformed: true,
            ..ToolCallDelta::default()
        });
        delta.malformed_tool_call |= malformed || taken_back.is_some();
        if let Some(call) = taken_back {
            call.join(&mut delta.tool_calls);
        }
        if in_body {
            self.pending.drain(..marker.len());
        }
        self.state = if in_reasoning {
            State::Reasoning
        } else {
            State::Answer
        };
        self.reading = Reading::default();
        self.show(marker, in_reasoning, delta);
    }
}

/// What a call in bare JSON begins with ([`Format::bare_json`]).
const BARE: &str = "{";

fn is_call_id(id: &str) -> bool {
    id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The length that Mistral's templates insist on.
const ID_LENGTH: usize = 9;

/// Nine letters and digits from an FNV-1a hash. An id must differ from the others of its conversation, no more.
fn call_id(salt: u64, index: u32, name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let salt = salt.to_le_bytes();
    let index = index.to_le_bytes();
    for byte in [&salt[..], &index, name.as_bytes()].into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (0..ID_LENGTH)
        .map(|_| {
            let digit = DIGITS[(hash % 62) as usize];
            hash /= 62;
            char::from(digit)
        })
        .collect()
}
