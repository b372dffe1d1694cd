//! The text of a JSON object or list as it arrives: checked, and without the white space between its parts. Everything
//! else stays as it was written: how numbers and characters are spelled, the order of the members, members that come twice.

use serde_json::Value;

use super::problem::{Problem, Read};

/// Deeper than any text that `serde_json` takes.
const MAX_DEPTH: usize = 130;

/// What may come next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    /// Inside a text, which may be a key.
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    /// So many hexadecimal digits of an escape.
    Hex {
        key: bool,
        left: u8,
    },
    /// Inside a number, `true`, `false` or `null`.
    Word,
    /// It is whole.
    Nothing,
}

/// How far a text was read.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonText {
    next: Next,
    /// The brackets that are open.
    open: Vec<char>,
    word: String,
}

impl JsonText {
    /// Whether the last bracket is closed.
    pub(super) fn is_whole(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Reads more of the text and adds to `out` what is certain of it. The bracket that ends the whole is not added, and
    /// what follows it is not read. An error if this is not JSON, or no object or list.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> Read<()> {
        for c in text.chars() {
            if self.is_whole() {
                break;
            }
            self.take(c, out)?;
        }
        Ok(())
    }

    fn take(&mut self, c: char, out: &mut String) -> Read<()> {
        if self.next == Next::Word {
            if !matches!(c, ',' | '}' | ']' | ' ' | '\t' | '\r' | '\n') {
                self.word.push(c);
                return Ok(());
            }
            serde_json::from_str::<Value>(&self.word).map_err(|_| Problem::Other)?;
            out.push_str(&self.word);
            self.word.clear();
            self.next = Next::CommaOrEnd;
        }
        let in_text = matches!(
            self.next,
            Next::Text { .. } | Next::Escape { .. } | Next::Hex { .. }
        );
        if !in_text && matches!(c, ' ' | '\t' | '\r' | '\n') {
            return Ok(());
        }
        self.next = match (self.next, c) {
            (Next::Text { key: true }, '"') => Next::Colon,
            (Next::Text { key: false }, '"') => Next::CommaOrEnd,
            (Next::Text { key }, '\\') => Next::Escape { key },
            (Next::Text { key }, ' '..) => Next::Text { key },
            (Next::Escape { key }, 'u') => Next::Hex { key, left: 4 },
            (Next::Escape { key }, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Next::Text { key },
            (Next::Hex { key, left: 1 }, _) if c.is_ascii_hexdigit() => Next::Text { key },
            (Next::Hex { key, left }, _) if c.is_ascii_hexdigit() => Next::Hex { key, left: left - 1 },
            (Next::KeyOrEnd | Next::Key, '"') => Next::Text { key: true },
            (Next::Colon, ':') => Next::Value,
            (Next::Value | Next::ValueOrEnd, '{' | '[') if self.open.len() < MAX_DEPTH => {
                self.open.push(c);
                match c {
                    '{' => Next::KeyOrEnd,
                    _ => Next::ValueOrEnd,
                }
            }
            (Next::Value | Next::ValueOrEnd, '"') if !self.open.is_empty() => Next::Text { key: false },
            (Next::Value | Next::ValueOrEnd, '-' | '0'..='9' | 't' | 'f' | 'n') if !self.open.is_empty() => {
                self.word.push(c);
                self.next = Next::Word;
                return Ok(());
            }
            (Next::CommaOrEnd, ',') => match self.open.last() {
                Some('{') => Next::Key,
                _ => Next::Value,
            },
            (Next::KeyOrEnd | Next::CommaOrEnd, '}') => self.close('{')?,
            (Next::ValueOrEnd | Next::CommaOrEnd, ']') => self.close('[')?,
            _ => return Err(Problem::Other),
        };
        if !self.is_whole() {
            out.push(c);
        }
        Ok(())
    }

    fn close(&mut self, bracket: char) -> Read<Next> {
        match self.open.pop() {
            Some(open) if open == bracket && self.open.is_empty() => Ok(Next::Nothing),
            Some(open) if open == bracket => Ok(Next::CommaOrEnd),
            _ => Err(Problem::Other),
        }
    }
}

/// The object that `text` begins with, without white space between its parts. `None` if there is none.
pub(super) fn compact(text: &str) -> Option<String> {
    let mut reader = JsonText::default();
    let mut out = String::new();
    reader.push(text, &mut out).ok()?;
    if !reader.is_whole() || !out.starts_with('{') {
        return None;
    }
    out.push('}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is certain of a text, and whether it was whole or no JSON.
    fn read(text: &str) -> (String, bool, bool) {
        let mut reader = JsonText::default();
        let mut out = String::new();
        let bad = reader.push(text, &mut out).is_err();
        (out, reader.is_whole(), bad)
    }

    #[test]
    fn what_is_certain_of_a_text() {
        for (text, out, whole, bad) in [
            (" { } x", "{", true, false),
            (
                "{\"a b\" : [ 1.50 , -2e3,true ,null], \"a b\": \"\\u00e9 \\/\\\"}\"}",
                "{\"a b\":[1.50,-2e3,true,null],\"a b\":\"\\u00e9 \\/\\\"}\"",
                true,
                false,
            ),
            ("{\"a\": 12", "{\"a\":", false, false),
            ("{\"a\": 12 ", "{\"a\":12", false, false),
            ("{\"a\": \"x y", "{\"a\":\"x y", false, false),
            ("[1, [", "[1,[", false, false),
            ("{a: 1}", "{", false, true),
            ("{\"a\": 012}", "{\"a\":", false, true),
            ("{\"a\": tru}", "{\"a\":", false, true),
            ("{\"a\": 1,}", "{\"a\":1,", false, true),
            ("{\"a\": \"\\x\"}", "{\"a\":\"\\", false, true),
            ("{\"a\": \"line\nbreak\"}", "{\"a\":\"line", false, true),
            ("{\"a\": [1}", "{\"a\":[1", false, true),
            ("\"text\"", "", false, true),
            ("7", "", false, true),
        ] {
            assert_eq!(read(text), (out.to_string(), whole, bad), "{text}");
        }
        assert_eq!(compact("{\"a\": [ ]} rest").as_deref(), Some("{\"a\":[]}"));
        assert_eq!(compact("[1]"), None);
        assert!(read(&"[".repeat(MAX_DEPTH + 1)).2);
    }
}
