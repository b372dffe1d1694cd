//! From what a text must look like to the grammars that the crate reads.

use std::fmt::Write;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use super::pattern::{Grammar, Pattern, without_anchors};
use super::schema;
use crate::error::{Error, Kind, Result};

/// Bytes of a regular expression or grammar, at most.
const MOST_TEXT: usize = 256 << 10;

/// As the crate takes it. [`Kind::Schema`] for a schema that cannot be used.
pub(super) fn translate(grammar: &Grammar) -> Result<TopLevelGrammar> {
    let limited = |text: &str| match text.len() {
        0 => Err(Error::new(Kind::Schema, "an empty grammar matches nothing")),
        1..=MOST_TEXT => Ok(()),
        n => Err(Error::new(
            Kind::Schema,
            format!("a grammar of {n} bytes: expected at most {MOST_TEXT}"),
        )),
    };
    match grammar {
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
            Pattern::List(part, between) if between.is_empty() => format!("{}+", self.rule(part)?),
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
