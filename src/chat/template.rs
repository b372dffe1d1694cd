//! A model's chat template: the program in its GGUF file that writes messages as a prompt.
//!
//! Templates are written for Python's Jinja2 as the transformers library sets it up: blocks eat the newline after
//! and the indentation before them, nothing is escaped, `tojson` is `json.dumps`, and `raise_exception` and
//! `strftime_now` exist. [`super::python`] covers the differences in values; `tests/chat_templates.rs` compares
//! twenty published templates with Jinja2 byte by byte.
//!
//! A template is untrusted code. It gets no input but its arguments, at most [`FUEL`] steps, a bounded depth of
//! calls, and room for [`MAX_OUTPUT`] bytes. A string that doubles itself, or a list that is repeated without end, is bounded
//! only by the memory that a request may take in the browser (`wasm`): the engine below has no hook there, so such a template
//! ends the worker it runs in, and nothing else.
//!
//! How message text is told from markup: [`super::marking`].

use std::io;
use std::sync::OnceLock;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value as Jinja};
use serde_json::{Map, Value};

use super::marking::{Marker, TextSpan};
use super::messages::Capabilities;
use super::{Reasoning, Time, bounds, python, source, tools};
use crate::{Error, Kind, Result};

/// Steps that a template may take: two hundred messages with tools take under a million.
pub const FUEL: u64 = 20_000_000;
/// The longest prompt that a template may write, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;
/// The longest template that is accepted, in bytes; the longest published one that we know has 30 KB.
pub const MAX_SOURCE: usize = 1 << 20;
/// Depth of nested calls and blocks, in the engine's own units. A browser's stack is smaller than a native one.
const RECURSION: usize = 200;

/// A compiled chat template.
pub struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
    /// `None` when the caller named no control tokens: then there is nothing to tell apart.
    marker: Option<Marker>,
    capabilities: OnceLock<Capabilities>,
}

/// What a prompt is made from.
#[derive(Debug, Clone, Default)]
pub struct PromptInput {
    /// The conversation: an array of objects with `role`, `content`, ... as the template expects them;
    /// [`ChatTemplate::normalize`] makes it from what clients send.
    pub messages: Value,
    /// Tool definitions in OpenAI's form, or `None`.
    pub tools: Option<Value>,
    /// End with the beginning of the assistant's next turn.
    pub add_generation_prompt: bool,
    /// Further variables for the template: `enable_thinking`, `documents`, ...
    pub variables: Map<String, Value>,
    /// The answer of `strftime_now`. Without it the function does not exist.
    pub now: Option<Time>,
}

/// The source of an engine error that the template raised itself.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the spellings of these tokens ("" if the model has none); `control`
    /// lists the spellings of all tokens that must not be recognised in message text.
    pub fn new(source: &str, bos: &str, eos: &str, control: &[&str]) -> Result<ChatTemplate> {
        if source.len() > MAX_SOURCE {
            return Err(Error::new(
                Kind::Template,
                format!(
                    "chat template: found {} bytes, expected at most {MAX_SOURCE}",
                    source.len()
                ),
            ));
        }
        let mut env = Environment::new();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_undefined_behavior(UndefinedBehavior::Lenient);
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(RECURSION);
        python::install(&mut env);
        bounds::install(&mut env);
        env.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<Jinja, minijinja::Error> {
                Err(
                    minijinja::Error::new(ErrorKind::InvalidOperation, "raised by the template")
                        .with_source(Raised(message)),
                )
            },
        );
        env.add_template_owned("chat", source::prepared(source)?)
            .map_err(template_error)?;
        let markup: Vec<&str> = tools::markup().collect();
        Ok(ChatTemplate {
            env,
            source: source.to_owned(),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            marker: (!control.is_empty()).then(|| Marker::new(control, &markup)),
            capabilities: OnceLock::new(),
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The markers of the model's reasoning, if it reasons.
    pub fn reasoning(&self) -> Option<Reasoning> {
        Reasoning::of_template(&self.source)
    }

    /// The format of the model's tool calls, if the template teaches one that we know.
    pub fn tool_format(&self) -> Option<tools::Format> {
        tools::Format::of_template(&self.source)
    }

    /// What the template can take, found by rendering small conversations; remembered.
    pub fn capabilities(&self) -> &Capabilities {
        self.capabilities.get_or_init(|| Capabilities::probe(self))
    }

    /// Messages as clients send them, in the form that this template takes: see [`super::messages::normalize`].
    pub fn normalize(&self, messages: &Value) -> Result<Value> {
        super::messages::normalize(messages, self.capabilities())
    }

    /// The prompt: pieces of text in order, each marked as trusted (the template's) or untrusted (control tokens that
    /// somebody spelled in a message). Joined they are what Jinja2 prints.
    pub fn render(&self, input: &PromptInput) -> Result<Vec<TextSpan>> {
        let text = self.render_text(input)?;
        let trusted = |text: String| vec![TextSpan { text, trusted: true }];
        let Some(marker) = &self.marker else {
            return Ok(trusted(text));
        };
        let variables = Value::Object(input.variables.clone());
        let inputs = [Some(&input.messages), input.tools.as_ref(), Some(&variables)];
        let base = marker.free_base(inputs.into_iter().flatten(), &self.source)?;
        let messages = marker.colour_messages(&input.messages, base);
        let tools = input.tools.as_ref().and_then(|tools| marker.colour(tools, base));
        let variables = marker.colour(&variables, base);
        if messages.is_none() && tools.is_none() && variables.is_none() {
            return Ok(trusted(text));
        }
        let coloured = PromptInput {
            messages: messages.unwrap_or_else(|| input.messages.clone()),
            tools: tools.or_else(|| input.tools.clone()),
            variables: match variables {
                Some(Value::Object(variables)) => variables,
                _ => input.variables.clone(),
            },
            ..*input
        };
        // A placeholder has four bytes where the character may have one.
        let coloured = self
            .run(&coloured, 4 * MAX_OUTPUT)
            .map_err(|e| e.at("chat template: message text cannot be told from markup"))?;
        let (revealed, places) = marker.reveal(&coloured, base);
        Ok(marker.spans(revealed, &places))
    }

    /// The prompt as one string, without marks. Not for tokenising with control tokens.
    pub fn render_text(&self, input: &PromptInput) -> Result<String> {
        self.run(input, MAX_OUTPUT)
    }

    fn run(&self, input: &PromptInput, room: usize) -> Result<String> {
        check_depth(&input.messages, "messages")?;
        input
            .tools
            .iter()
            .try_for_each(|tools| check_depth(tools, "tools"))?;
        input
            .variables
            .iter()
            .try_for_each(|(name, value)| check_depth(value, name))?;

        // The order matters: a caller's variable must not replace the messages.
        let mut context: Vec<(String, Jinja)> = vec![("documents".into(), Jinja::from(()))];
        context.extend(
            input
                .variables
                .iter()
                .map(|(name, value)| (name.clone(), Jinja::from_serialize(value))),
        );
        context.push(("messages".into(), Jinja::from_serialize(&input.messages)));
        context.push(("tools".into(), Jinja::from_serialize(&input.tools)));
        context.push(("add_generation_prompt".into(), input.add_generation_prompt.into()));
        context.push(("bos_token".into(), self.bos.as_str().into()));
        context.push(("eos_token".into(), self.eos.as_str().into()));
        if let Some(now) = input.now {
            let strftime = Jinja::from_function(move |format: String| now.strftime(&format));
            context.push(("strftime_now".into(), strftime));
        }
        let context: Jinja = context.into_iter().collect();

        let template = self.env.get_template("chat").map_err(template_error)?;
        let mut out = Capped {
            bytes: Vec::new(),
            room,
            full: false,
        };
        let result = template.render_captured_to(context, &mut out).map(drop);
        if out.full {
            let message = format!("chat template: the prompt is longer than {room} bytes");
            return Err(Error::new(Kind::Template, message));
        }
        result.map_err(template_error)?;
        String::from_utf8(out.bytes)
            .map_err(|_| Error::new(Kind::Template, "chat template: output is not UTF-8"))
    }

    /// What the template appends for the assistant's next turn: the prompt with it, less the prompt without it.
    /// Empty if a template appends nothing, as Gemma 4 after a tool result.
    pub fn generation_prompt(&self, input: &PromptInput) -> Result<String> {
        let mut input = input.clone();
        input.add_generation_prompt = true;
        let with = self.render_text(&input)?;
        input.add_generation_prompt = false;
        let without = self.render_text(&input)?;
        let common = with
            .char_indices()
            .zip(without.chars())
            .find(|((_, a), b)| a != b);
        let at = common.map_or(without.len().min(with.len()), |((at, _), _)| at);
        Ok(with[at..].to_owned())
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A writer with room for so many bytes.
struct Capped {
    bytes: Vec<u8>,
    room: usize,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + buf.len() > self.room {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The conversion below and the engine recurse, so depth is checked first.
fn check_depth(value: &Value, name: &str) -> Result<()> {
    fn fits(value: &Value, room: usize) -> bool {
        match value {
            Value::Array(items) => room > 0 && items.iter().all(|item| fits(item, room - 1)),
            Value::Object(map) => room > 0 && map.values().all(|item| fits(item, room - 1)),
            _ => true,
        }
    }
    if fits(value, python::MAX_DEPTH) {
        return Ok(());
    }
    let message = format!("{name}: nested deeper than {} levels", python::MAX_DEPTH);
    Err(Error::new(Kind::InvalidArgument, message))
}

/// The template's own words where it raised the error, the engine's otherwise.
fn template_error(error: minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if let Some(Raised(message)) = this.downcast_ref() {
            return Error::new(Kind::Template, message.clone());
        }
        cause = this.source();
    }
    let message = match error.kind() {
        ErrorKind::OutOfFuel => format!("chat template: took more than {FUEL} steps"),
        _ => format!("chat template: {error}"),
    };
    Error::new(Kind::Template, message)
}
