//! Tool calls as the model families write them: one file per form of writing. [`Format`] says which markers open a
//! call, where it ends, and what it says; [`super::ReplyParser`] finds the markers and decides what is text.
//!
//! A call is read when it is whole; before that, [`Live`] tells what is certain of it. Everything here is a function of the
//! text alone.

mod end;
mod gemma;
mod grammar;
mod json;
mod json_text;
mod live;
mod mistral;
mod notation;
mod problem;
mod pythonic;
mod qwen_xml;

use serde_json::Value;

pub(crate) use end::{End, Scan};
pub use grammar::{CallPattern, Callable};
pub(crate) use live::Live;

/// One call of a tool, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Which function.
    pub name: String,
    /// Its arguments: the text of a JSON object.
    pub arguments: String,
    /// The id that the model gave it, where the family does so.
    pub id: Option<String>,
}

impl ToolCall {
    fn new(name: impl Into<String>, arguments: impl Into<String>) -> ToolCall {
        ToolCall {
            name: name.into(),
            arguments: arguments.into(),
            id: None,
        }
    }
}

/// How a model family writes its tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Qwen2.5, Qwen3, SmolLM3, Granite 4.
    Hermes,
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`: Qwen3.5, Qwen3-Coder,
    /// Nemotron 3.
    QwenXml,
    /// `<|tool_call>call:NAME{key:<|"|>text<|"|>,n:3}<tool_call|>`: Gemma 4.
    Gemma,
    /// `[TOOL_CALLS]NAME[ARGS]{...}`, with `[CALL_ID]` before the arguments in some models, or a JSON array after the
    /// marker in older ones: Mistral, Ministral, Devstral.
    Mistral,
    /// `{"name": ..., "parameters": {...}}` as the whole answer, or `<|python_tag|>NAME.call(key="text")`: Llama 3.
    Llama,
    /// `<|tool_call_start|>[NAME(key="text")]<|tool_call_end|>`: LFM2.
    Lfm,
    /// `<TOOLCALL>[{"name": ..., "arguments": {...}}]</TOOLCALL>`: Nemotron Nano v2.
    Nemotron,
}

/// What the text of a call turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Calls, at least one.
    Calls(Vec<ToolCall>),
    /// The beginning of a call: the end that was seen belongs to an argument.
    Unfinished,
    /// It began like a call, and no continuation can make it one.
    Malformed,
    /// It is an answer that only looked like a call for a moment: JSON that names no function.
    Text,
}

impl Parsed {
    fn one(call: ToolCall) -> Parsed {
        Parsed::Calls(vec![call])
    }
}

/// Every format.
pub const FORMATS: [Format; 7] = [
    Format::QwenXml,
    Format::Hermes,
    Format::Gemma,
    Format::Mistral,
    Format::Llama,
    Format::Lfm,
    Format::Nemotron,
];

impl Format {
    /// The format that a chat template teaches, by the markers in its source; the telling ones first.
    pub fn of_template(source: &str) -> Option<Format> {
        let has = |marker: &str| source.contains(marker);
        Some(match () {
            () if has("<|tool_call>") => Format::Gemma,
            () if has("[TOOL_CALLS]") => Format::Mistral,
            // LFM2.5 teaches its calls by training alone: the list of tools is what its template shows.
            () if has("<|tool_call_start|>") || has("<|tool_list_start|>") || has("\"List of tools: [\"") => {
                Format::Lfm
            }
            () if has("<TOOLCALL>") => Format::Nemotron,
            () if has("<tool_call>") && has("<function=") => Format::QwenXml,
            () if has("<tool_call>") => Format::Hermes,
            () if has("<|python_tag|>") || (has("ipython") && has("\"parameters\": ")) => Format::Llama,
            () => return None,
        })
    }

    /// What opens a call. An opening that is part of the call's own text says so.
    pub(crate) fn openings(self) -> &'static [Opening] {
        const fn outer(marker: &'static str) -> Opening {
            Opening {
                marker,
                in_body: false,
            }
        }
        match self {
            Format::Hermes => const { &[outer("<tool_call>")] },
            // Qwen3-Coder sometimes forgets the outer opening.
            Format::QwenXml => {
                const INNER: Opening = Opening {
                    marker: "<function=",
                    in_body: true,
                };
                const { &[outer("<tool_call>"), INNER] }
            }
            Format::Gemma => const { &[outer("<|tool_call>")] },
            Format::Mistral => const { &[outer("[TOOL_CALLS]")] },
            Format::Llama => const { &[outer("<|python_tag|>")] },
            Format::Lfm => const { &[outer("<|tool_call_start|>")] },
            Format::Nemotron => const { &[outer("<TOOLCALL>")] },
        }
    }

    /// Whether a JSON object that begins an answer may be a call.
    pub(crate) fn bare_json(self) -> bool {
        self == Format::Llama
    }

    /// What ends a call, where that is a marker. The other formats end with the JSON value of the arguments.
    pub fn closing(self) -> Option<&'static str> {
        match self {
            Format::Hermes | Format::QwenXml => Some("</tool_call>"),
            Format::Gemma => Some("<tool_call|>"),
            Format::Lfm => Some("<|tool_call_end|>"),
            Format::Nemotron => Some("</TOOLCALL>"),
            Format::Mistral | Format::Llama => None,
        }
    }

    /// Where the call that `body` begins with ends. `scan` remembers how far this was looked at.
    pub(crate) fn end(self, body: &str, scan: &mut Scan) -> End {
        match (self.closing(), self) {
            (Some(closing), _) => scan.marker(body, closing),
            (None, Format::Mistral) => match mistral::json_begins(body) {
                Ok(Some(at)) => scan.json(body, at),
                Ok(None) => End::NotYet,
                Err(()) => End::Never,
            },
            (None, _) => match json::may_begin_call(body) {
                Some(at) => scan.json(body, at),
                // After `<|python_tag|>`: code, up to the end of the answer.
                None if !body.trim_start().starts_with('{') => End::NotYet,
                None => End::Never,
            },
        }
    }

    /// Reads the text of a call. `tools`: the definitions given to the model (OpenAI's `tools`), which say whether an
    /// argument is a string.
    pub(crate) fn parse(self, body: &str, tools: Option<&Value>) -> Parsed {
        match self {
            Format::Hermes => json::one(body),
            Format::QwenXml => qwen_xml::parse(body, tools),
            Format::Gemma => gemma::parse(body),
            Format::Mistral => mistral::parse(body),
            Format::Llama => match body.trim_start().starts_with('{') {
                true => json::bare(body),
                false => pythonic::parse(body),
            },
            Format::Lfm => pythonic::parse(body),
            Format::Nemotron => json::list(body),
        }
    }

    /// Reads on in the call that `body` is the beginning of.
    pub(crate) fn follow(self, body: &str, tools: Option<&Value>, live: &mut Live) {
        match self {
            Format::Hermes | Format::Nemotron => json::follow(body, live),
            Format::QwenXml => qwen_xml::follow(body, tools, live),
            Format::Gemma => gemma::follow(body, live),
            Format::Mistral => mistral::follow(body, live),
            Format::Llama if body.trim_start().starts_with('{') => json::follow(body, live),
            Format::Llama | Format::Lfm => pythonic::follow(body, live),
        }
    }

    /// The calls as the model would have written them, for a template that prints none itself. `None` for formats whose
    /// templates do.
    pub(crate) fn write(self, calls: &[(&str, &Value)]) -> Option<String> {
        match self {
            Format::Hermes => Some(json::write(calls)),
            Format::Lfm => Some(pythonic::write(calls)),
            _ => None,
        }
    }

    /// Control tokens inside a call's text, besides the markers around it.
    fn inner_markers(self) -> &'static [&'static str] {
        match self {
            Format::Gemma => &[gemma::QUOTE],
            Format::Mistral => &[mistral::ARGS, mistral::CALL_ID],
            _ => &[],
        }
    }

    /// Every marker that [`super::ReplyParser`] must see in the text of a reply, also where it is a control token, which
    /// has no text otherwise.
    pub fn markers(self) -> impl Iterator<Item = &'static str> {
        let openings = self.openings().iter().map(|opening| opening.marker);
        openings
            .chain(self.closing())
            .chain(self.inner_markers().iter().copied())
    }
}

/// A marker that opens a tool call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    /// Its text.
    pub marker: &'static str,
    /// The marker is also the beginning of the text to parse.
    pub in_body: bool,
}

/// Everything that a model may write in its own turn as markup, of every family: what an assistant's message may
/// contain without being taken for an attempt to write a turn marker.
pub(crate) fn markup() -> impl Iterator<Item = &'static str> {
    FORMATS
        .into_iter()
        .flat_map(|format| {
            let openings = format.openings().iter().map(|opening| opening.marker);
            openings.chain(format.closing())
        })
        .chain(
            super::reasoning::FAMILIES
                .into_iter()
                .flat_map(|family| [family.open.trim_end(), family.close]),
        )
        .chain(RESULTS)
}

/// Markup around tool results; some templates look for it in user turns. Listed here until a format that reads
/// or writes them brings its own.
const RESULTS: [&str; 2] = ["<tool_response>", "</tool_response>"];

#[cfg(test)]
fn call(name: &str, arguments: &str) -> Parsed {
    Parsed::one(ToolCall::new(name, arguments))
}
