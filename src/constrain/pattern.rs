//! What a text must look like.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a text must look like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Grammar {
    /// A regular expression that matches the whole text.
    Regex(String),
    /// A grammar in the Lark dialect of `llguidance`.
    Lark(String),
    /// A pattern made of parts.
    Pattern(Pattern),
}

/// A part of a text.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
}

/// The whole text is matched anyway, and the crate has no anchors.
pub(super) fn without_anchors(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0 => rest,
        _ => regex,
    }
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
