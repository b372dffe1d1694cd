//! A call followed as it is written: its name as soon as that is certain, then its arguments piece by piece.
//!
//! Only the first call of a block is followed, and only in the order of writing that the family was taught. Anything else is
//! told when the whole block has been read, which has the last word in any case: what was told is always the beginning of
//! what it says, or the call is none. The bracket that ends the arguments belongs to the end of the block, so arguments
//! that were only begun are never JSON.

use serde_json::Value;

use super::ToolCall;
use super::json_text::JsonText;
use super::problem::{Problem, Read};

/// What a call in the making is known to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    name: Option<String>,
    id: Option<String>,
    /// JSON text of the arguments, as far as it is certain; without the bracket that ends it.
    arguments: String,
    /// The arguments given so far, where they come one by one.
    given: Vec<String>,
    /// The arguments, where they are written as JSON.
    json: JsonText,
    /// How much of the text was read.
    at: usize,
    /// No more can be told before the end.
    over: bool,
}

impl Live {
    /// The name, once it is certain.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The model's own id, if it came before the arguments.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The text of the arguments so far.
    pub(crate) fn arguments(&self) -> &str {
        &self.arguments
    }

    /// Whether this is what was told of it.
    pub(crate) fn is_beginning_of(&self, call: &ToolCall) -> bool {
        self.name
            .as_ref()
            .is_none_or(|name| *name == call.name && call.arguments.starts_with(&self.arguments))
    }

    /// What has not been read. Nothing, where what looked like the end of a call, and was none, cuts it shorter than it was.
    pub(super) fn rest<'a>(&self, body: &'a str) -> &'a str {
        body.get(self.at..).unwrap_or_default()
    }

    /// The next byte to read.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads what there is with `next`, which gives up when the text ends, and takes its word that there is nothing to tell.
    pub(super) fn follow(&mut self, next: impl FnOnce(&mut Live) -> Read<()>) {
        if !self.over {
            self.over = !matches!(next(self), Err(Problem::End));
        }
    }

    /// The name is known; the arguments begin at this byte.
    pub(super) fn begin(&mut self, name: &str, id: Option<&str>, at: usize) {
        self.name = Some(name.to_owned());
        self.id = id.map(str::to_owned);
        self.at = at;
    }

    /// One more argument.
    pub(super) fn argument(&mut self, key: &str, value: &Value) {
        if self.given.iter().any(|given| given == key) {
            return; // the first one counts
        }
        self.given.push(key.to_owned());
        self.arguments.push(if self.given.len() == 1 { '{' } else { ',' });
        self.arguments.push_str(&Value::from(key).to_string());
        self.arguments.push(':');
        self.arguments.push_str(&value.to_string());
    }

    /// Arguments in JSON, up to the end of the text.
    pub(super) fn json(&mut self, body: &str) -> Read<()> {
        self.json.push(self.rest(body), &mut self.arguments)?;
        self.at = self.at.max(body.len());
        match self.json.is_whole() {
            true => Ok(()),
            false => Err(Problem::End),
        }
    }
}
