//! What a text must look like, and its translation into the grammars that the crate reads.

use std::fmt::Write;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use super::schema;
use crate::error::{Error, Kind, Result};

/// Bytes of a regular expression or grammar, at most.
const MOST_TEXT: usize = 256 << 10;

/// What a text must look like.
#[derive(Debug, Clone)]
pub enum Grammar {
    /// A regular expression that matches the whole text.
    Regex(String),
    /// A grammar in the Lark dialect of `llguidance`.
    Lark(String),
    /// A pattern made of parts.
    Pattern(Pattern),
}

/// A part of a text.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This text.
    Text(String),
    /// This token, a control token say.
    Token(u32),
    /// JSON by a schema.
    Json(Value),
    /// What a regular expression matches, without look-around or anchors.
    Regex(String),
    /// Any text up to and including the first occurrence of this one.
    Until(String),
    /// Up to two line breaks, as models write them after their thoughts.
    LineBreaks,
    /// One after the other.
    Sequence(Vec<Pattern>),
    /// One of these.
    Choice(Vec<Pattern>),
    /// This, or nothing.
    Optional(Box<Pattern>),
    /// One or more, with a text in between.
    List(Box<Pattern>, String),
}

impl Grammar {
    /// For JSON by a schema.
    pub fn json(schema: Value) -> Grammar {
        Grammar::Pattern(Pattern::Json(schema))
    }

    /// The same, after up to two line breaks.
    pub fn after_line_breaks(self) -> Grammar {
        match self {
            Grammar::Pattern(pattern) => {
                Grammar::Pattern(Pattern::Sequence(vec![Pattern::LineBreaks, pattern]))
            }
            Grammar::Regex(regex) => Grammar::Regex(format!("\\n{{0,2}}(?:{})", without_anchors(&regex))),
            // Its own rules say what it may begin with.
            Grammar::Lark(text) => Grammar::Lark(text),
        }
    }

    /// As the crate takes it. [`Kind::Schema`] for a schema that cannot be used.
    pub(super) fn translate(&self) -> Result<TopLevelGrammar> {
        let limited = |text: &str| match text.len() {
            0 => Err(Error::new(Kind::Schema, "an empty grammar matches nothing")),
            1..=MOST_TEXT => Ok(()),
            n => Err(Error::new(
                Kind::Schema,
                format!("a grammar of {n} bytes: expected at most {MOST_TEXT}"),
            )),
        };
        match self {
            Grammar::Regex(regex) => {
                limited(regex)?;
                let regex = without_anchors(regex);
                if regex.is_empty() {
                    return Err(Error::new(
                        Kind::Schema,
                        "the regular expression matches only the empty text",
                    ));
                }
                Ok(TopLevelGrammar::from_regex(regex))
            }
            Grammar::Lark(text) => {
                limited(text)?;
                Ok(TopLevelGrammar::from_lark(text.clone()))
            }
            Grammar::Pattern(Pattern::Json(value)) => {
                Ok(TopLevelGrammar::from_json_schema(schema::prepare(value)?))
            }
            Grammar::Pattern(pattern) => {
                let mut lark = Lark::default();
                let start = lark.rule(pattern)?;
                let _ = writeln!(lark.rules, "start: {start}"); // writing to a String cannot fail
                Ok(TopLevelGrammar::from_lark(lark.rules))
            }
        }
    }
}

/// The whole text is matched anyway, and the crate has no anchors.
fn without_anchors(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0 => rest,
        _ => regex,
    }
}

/// Rules of a Lark grammar in the making.
#[derive(Default)]
struct Lark {
    rules: String,
    count: usize,
}

impl Lark {
    /// Adds the rules of a pattern; returns the name of the one that stands for it.
    fn rule(&mut self, pattern: &Pattern) -> Result<String> {
        let mut attributes = "";
        let body = match pattern {
            Pattern::Text(text) => literal(text),
            Pattern::Token(id) => format!("<[{id}]>"),
            Pattern::Json(value) => format!("%json {}", schema::prepare(value)?),
            Pattern::Regex(regex) => format!("/{}/", llguidance::regex_to_lark(regex, "dw")),
            Pattern::Until(end) => {
                attributes = "[lazy]";
                format!("/(?s:.*)/ {}", literal(end))
            }
            Pattern::LineBreaks => "/\\n{0,2}/".to_string(),
            Pattern::Sequence(parts) => self.rules(parts)?.join(" "),
            Pattern::Choice(parts) => self.rules(parts)?.join(" | "),
            Pattern::Optional(part) => format!("{}?", self.rule(part)?),
            Pattern::List(part, between) => {
                let part = self.rule(part)?;
                format!("{part} ({} {part})*", literal(between))
            }
        };
        self.count += 1;
        let name = format!("part{}", self.count);
        let _ = writeln!(self.rules, "{name}{attributes}: {body}"); // writing to a String cannot fail
        Ok(name)
    }

    fn rules(&mut self, parts: &[Pattern]) -> Result<Vec<String>> {
        parts.iter().map(|part| self.rule(part)).collect()
    }
}

/// A text in Lark's quotes, which are those of JSON but for DEL.
fn literal(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_go_where_they_are_anchors() {
        for (regex, expected) in [
            ("^a+$", "a+"),
            ("a", "a"),
            (r"a\$", r"a\$"),
            (r"a\\$", r"a\\"),
            ("^", ""),
        ] {
            assert_eq!(without_anchors(regex), expected, "{regex}");
        }
    }
}
