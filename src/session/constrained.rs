//! From what a request asks for to the constraint on its answer.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::chat::tools::{CallPattern, Callable, Format};
use crate::constrain::{Constraints, Grammar, Pattern};
use crate::error::{Error, Kind, Result};
use crate::session::gate::{Begins, Gate, Markers};
use crate::session::request::{Request, Shape, ToolChoice, invalid};
use crate::tokenizer::{TokenKind, Tokenizer};

/// What a chat brings along.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Talk {
    /// How this model writes calls, if it has tools.
    pub(super) format: Option<Format>,
    /// What opens and ends its thoughts, if it may think before it answers.
    pub(super) thoughts: Option<(&'static str, &'static str)>,
    /// They are open.
    pub(super) thinking: bool,
}

impl Request {
    /// The constraint on the answer, if there is one. `size`: how many logits there are.
    pub(super) fn gate(
        &self,
        tokenizer: &Tokenizer,
        constraints: Option<&Rc<dyn Constraints>>,
        talk: Talk,
        size: usize,
    ) -> Result<Option<Gate>> {
        let shape = self.constraint.as_ref().map(Shape::grammar);
        let (grammar, begins) = match self.calls(tokenizer, constraints, talk)? {
            Calls::Must(calls) => (Grammar::Pattern(calls), Begins::AtOnce),
            Calls::May(calls) => match shape {
                Some(Grammar::Pattern(answer)) => (
                    Grammar::Pattern(Pattern::Choice(vec![
                        answer,
                        opened(&calls, tokenizer, self.one_call),
                    ])),
                    Begins::AtOnce,
                ),
                Some(_) => {
                    return Err(invalid(
                        "a regular expression or grammar cannot be combined with tools: use toolChoice none, or a schema",
                    ));
                }
                None => match calls.opening {
                    Some(opening) => {
                        let markers = Markers {
                            marker: Some(opening),
                            once: self.one_call,
                            thoughts: talk.thoughts,
                            thinking: talk.thinking,
                        };
                        (Grammar::Pattern(calls.rest), Begins::AtMarkers(markers))
                    }
                    None => return Ok(None),
                },
            },
            Calls::None => match shape {
                Some(grammar) => (grammar, Begins::AtOnce),
                None => return Ok(None),
            },
        };
        let (grammar, begins) = match (begins, talk.thoughts) {
            (Begins::AtOnce, Some((_, close))) if talk.thinking => {
                (grammar.after_line_breaks(), Begins::AfterThoughts { close })
            }
            (Begins::AtOnce, Some((open, close))) => match first_token(tokenizer, open) {
                Some(open) => (grammar.after_line_breaks(), Begins::AtOnceOr { open, close }),
                None => (grammar, Begins::AtOnce),
            },
            other => (grammar, other.0),
        };
        Gate::new(Rc::clone(known(constraints)?), grammar, begins, size).map(Some)
    }

    fn calls(
        &self,
        tokenizer: &Tokenizer,
        constraints: Option<&Rc<dyn Constraints>>,
        talk: Talk,
    ) -> Result<Calls> {
        let must = self.tool_choice != ToolChoice::Auto;
        let mut tools = Callable::list(self.tools.as_ref());
        if let ToolChoice::Named(name) = &self.tool_choice {
            tools.retain(|tool| tool.name == *name);
            if tools.is_empty() {
                return Err(invalid(format!(
                    "toolChoice names \"{name}\", which is not among the tools"
                )));
            }
        }
        let Some(format) = talk.format.filter(|_| !tools.is_empty()) else {
            return match must {
                true => Err(invalid(
                    "toolChoice asks for a call, but there are no tools, or this model's chat template does not say how it calls them",
                )),
                false => Ok(Calls::None),
            };
        };
        let constraints = known(constraints)?;
        let strict = strict_tools(self.tools.as_ref());
        for tool in &mut tools {
            let grammar = Grammar::json(tool.arguments.clone());
            if must || strict.contains(&tool.name) {
                constraints
                    .begin(&grammar)
                    .map_err(|error| error.at(format!("tool {}", tool.name)))?;
            } else if constraints.check(&tool.arguments).is_err() {
                // A tool that need not be called is not refused for its schema: its arguments are any object then.
                tool.arguments = json!({"type": "object"});
            }
        }
        let pattern = format.pattern(&tools, self.one_call, |marker| mark(tokenizer, marker));
        match (pattern, must) {
            (Some(pattern), false) => Ok(Calls::May(pattern)),
            (Some(pattern), true) => Ok(Calls::Must(opened(&pattern, tokenizer, self.one_call))),
            (None, false) => Ok(Calls::None),
            (None, true) => Err(Error::new(
                Kind::Schema,
                format!(
                    "toolChoice asks for a call, and calls in the form {format:?} with these schemas cannot be enforced: use \"auto\""
                ),
            )),
        }
    }
}

fn known(constraints: Option<&Rc<dyn Constraints>>) -> Result<&Rc<dyn Constraints>> {
    constraints
        .ok_or_else(|| invalid("this request needs constraints, and the engine has none: set them first"))
}

/// How tools bear on an answer.
enum Calls {
    None,
    May(CallPattern),
    Must(Pattern),
}

impl Shape {
    fn grammar(&self) -> Grammar {
        match self {
            Shape::Schema(schema) => Grammar::json(schema.clone()),
            Shape::Regex(regex) => Grammar::Regex(regex.clone()),
            Shape::Lark(lark) => Grammar::Lark(lark.clone()),
        }
    }
}

/// Names of the tools that want their schemas obeyed in any case.
fn strict_tools(tools: Option<&Value>) -> Vec<String> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten();
    tools
        .filter_map(|tool| tool.get("function"))
        .filter(|function| function.get("strict") == Some(&Value::Bool(true)))
        .filter_map(|function| Some(function.get("name")?.as_str()?.to_string()))
        .collect()
}

/// One call or several, with the marker that opens each.
fn opened(calls: &CallPattern, tokenizer: &Tokenizer, one_call: bool) -> Pattern {
    let opening = calls.opening.map(|marker| mark(tokenizer, marker));
    let call = Pattern::Sequence(opening.into_iter().chain([calls.rest.clone()]).collect());
    match calls.between {
        Some(between) if !one_call => Pattern::List(Box::new(call), between.to_string()),
        _ => call,
    }
}

/// A marker in a pattern: control tokens have no text.
fn mark(tokenizer: &Tokenizer, marker: &str) -> Pattern {
    match tokenizer.id_of(marker.as_bytes()) {
        Some(id) if tokenizer.kind(id) == TokenKind::Control => Pattern::Token(id),
        _ => Pattern::Text(marker.to_string()),
    }
}

/// The token that a marker begins with, if it is one that is never text by accident.
fn first_token(tokenizer: &Tokenizer, marker: &str) -> Option<u32> {
    let first = *tokenizer.encode(marker, true).first()?;
    let special = matches!(tokenizer.kind(first), TokenKind::Control | TokenKind::UserDefined);
    special.then_some(first)
}
