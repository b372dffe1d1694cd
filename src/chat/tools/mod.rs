//! Tool calls as the model families write them: one file per format, each a pure function from the text between
//! the markers to a call. [`super::ReplyParser`] finds the markers and decides what is text.

mod hermes;
mod qwen_xml;

use serde_json::Value;

/// One call of a tool, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Which function.
    pub name: String,
    /// Its arguments: the text of a JSON object.
    pub arguments: String,
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
}

/// What the text between two markers turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A call.
    Call(ToolCall),
    /// The beginning of a call: the closing marker seen belongs to an argument.
    Unfinished,
    /// No call, and no continuation can make it one.
    Malformed,
}

/// Every format.
pub const FORMATS: [Format; 2] = [Format::QwenXml, Format::Hermes];

impl Format {
    /// The format that a chat template teaches, by the markers in its source.
    pub fn of_template(source: &str) -> Option<Format> {
        if !source.contains("<tool_call>") {
            None
        } else if source.contains("<function=") {
            Some(Format::QwenXml)
        } else {
            Some(Format::Hermes)
        }
    }

    /// What opens a call. An opening that is part of the call's own text says so.
    pub(crate) fn openings(self) -> &'static [Opening] {
        match self {
            Format::Hermes => &[Opening {
                marker: "<tool_call>",
                in_body: false,
            }],
            // Qwen3-Coder sometimes forgets the outer opening.
            Format::QwenXml => &[
                Opening {
                    marker: "<tool_call>",
                    in_body: false,
                },
                Opening {
                    marker: "<function=",
                    in_body: true,
                },
            ],
        }
    }

    /// What ends a call.
    pub fn closing(self) -> &'static str {
        "</tool_call>"
    }

    /// Reads the text between the markers. `tools`: the definitions given to the model (OpenAI's `tools`), which
    /// say whether an argument is a string.
    pub(crate) fn parse(self, body: &str, tools: Option<&Value>) -> Parsed {
        match self {
            Format::Hermes => hermes::parse(body),
            Format::QwenXml => qwen_xml::parse(body, tools),
        }
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
            format
                .openings()
                .iter()
                .map(|o| o.marker)
                .chain([format.closing()])
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
