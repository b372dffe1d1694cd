//! Why a value in a call could not be read, for the formats that have a reader of their own.

use super::{Parsed, ToolCall};

/// How deep objects and lists may be nested.
pub(super) const MAX_DEPTH: usize = 64;

/// Why something could not be read.
pub(super) enum Problem {
    /// The text ended too early.
    End,
    /// It says something else.
    Other,
}

/// What was read.
pub(super) type Read<T> = Result<T, Problem>;

/// What follows a text that has to be there.
pub(super) fn after<'a>(text: &'a str, expected: &str) -> Read<&'a str> {
    match text.strip_prefix(expected) {
        Some(rest) => Ok(rest),
        None if expected.starts_with(text) => Err(Problem::End),
        None => Err(Problem::Other),
    }
}

/// What became of a body that was read as calls.
pub(super) fn parsed(calls: Read<Vec<ToolCall>>) -> Parsed {
    match calls {
        Ok(calls) => Parsed::Calls(calls),
        Err(Problem::End) => Parsed::Unfinished,
        Err(Problem::Other) => Parsed::Malformed,
    }
}
