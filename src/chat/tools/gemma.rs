//! Calls of Gemma 4: `call:get_weather{city:<|"|>Zürich<|"|>,days:3,deep:{a:[true,null]}}`.
//!
//! Keys are bare up to the colon; a text lies between two tokens `<|"|>`, with no escapes.

use serde_json::{Map, Number, Value};

use super::live::Live;
use super::notation::{self, Members, Notation};
use super::problem::{MAX_DEPTH, Problem, Read, after, parsed};
use super::{Parsed, ToolCall};
use crate::constrain::Pattern;

/// The token around texts.
pub(super) const QUOTE: &str = "<|\"|>";

/// Reads one call.
pub(super) fn parse(body: &str) -> Parsed {
    parsed(read(body.trim()).map(|call| vec![call]))
}

fn read(body: &str) -> Read<ToolCall> {
    let (name, rest) = function(body)?;
    let mut cursor = Cursor { rest };
    let arguments = cursor.value(0)?;
    match cursor.rest.trim() {
        "" => Ok(ToolCall::new(name, arguments.to_string())),
        _ => Err(Problem::Other),
    }
}

/// Follows a call: an argument is told when it is whole.
pub(super) fn follow(body: &str, live: &mut Live) {
    live.follow(|live| {
        if live.name().is_none() {
            let (name, rest) = function(body.trim_start())?;
            live.begin(name, None, body.len() - rest.len() + 1);
        }
        loop {
            let mut cursor = Cursor {
                rest: live.rest(body),
            };
            let Some((key, value)) = cursor.member(live.arguments().is_empty(), 0)? else {
                return Ok(());
            };
            live.argument(&key, &value);
            live.go_to(body.len() - cursor.rest.len());
        }
    });
}

/// The name of the function, and the arguments, from their bracket.
fn function(body: &str) -> Read<(&str, &str)> {
    let rest = after(body, "call:")?;
    let at = rest.find('{').ok_or(Problem::End)?;
    let name = rest[..at].trim();
    match name.is_empty() || name.contains(char::is_whitespace) {
        true => Err(Problem::Other),
        false => Ok((name, &rest[at..])),
    }
}

/// Arguments as a pattern. `quote` stands for [`QUOTE`].
pub(super) fn arguments(schema: &Value, quote: Pattern) -> Option<Pattern> {
    let notation = Gemma { quote };
    notation::members(&notation, schema.as_object()?, schema, notation.object(), 0)
}

/// How Gemma writes values.
struct Gemma {
    quote: Pattern,
}

impl Gemma {
    fn quoted(&self, inside: Pattern) -> Pattern {
        Pattern::Sequence(vec![self.quote.clone(), inside, self.quote.clone()])
    }
}

impl Notation for Gemma {
    const WORDS: [&'static str; 3] = ["null", "true", "false"];
    const COMMA: &'static str = ",";

    fn object(&self) -> Members {
        Members {
            open: "{",
            close: "}",
            key: |name| {
                let is_plain = |c: char| !":{}[],<\"".contains(c) && !c.is_whitespace();
                (!name.is_empty() && name.chars().all(is_plain)).then(|| format!("{name}:"))
            },
        }
    }

    fn text(&self, text: &str) -> Option<Pattern> {
        match text {
            "" => Some(Pattern::Sequence(vec![self.quote.clone(), self.quote.clone()])),
            text => (!text.contains(QUOTE)).then(|| self.quoted(Pattern::Text(text.to_string()))),
        }
    }

    fn any_text(&self, schema: &Map<String, Value>) -> Option<Pattern> {
        if schema.contains_key("pattern") || schema.contains_key("format") {
            return None;
        }
        // A text in which the mark is spelled out would end there.
        let inside = match notation::count(schema).as_str() {
            "*" => "(?s:[^<]|<+[^<|])*".to_string(),
            count => format!("(?s:[^<]){count}"),
        };
        Some(self.quoted(Pattern::Regex(inside)))
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > MAX_DEPTH {
            return Err(Problem::Other);
        }
        self.space();
        match self.rest.chars().next().ok_or(Problem::End)? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '<' => self.text().map(Value::from),
            // Not taught, but written by models that have seen much JSON.
            '"' => self.json_text().map(Value::from),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        self.skip(1);
        let mut members = Map::new();
        while let Some((key, value)) = self.member(members.is_empty(), depth)? {
            // The first one counts.
            members.entry(key).or_insert(value);
        }
        Ok(members.into())
    }

    /// The next member of an object; `None` at its end.
    fn member(&mut self, is_first: bool, depth: usize) -> Read<Option<(String, Value)>> {
        self.space();
        if self.takes('}') {
            return Ok(None);
        }
        if !is_first && !self.takes(',') {
            return Err(self.missing());
        }
        let key = self.key()?;
        let value = self.value(depth + 1)?;
        Ok(Some((key, value)))
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        self.skip(1);
        let mut items = Vec::new();
        loop {
            self.space();
            if self.takes(']') {
                return Ok(items.into());
            }
            if !items.is_empty() && !self.takes(',') {
                return Err(self.missing());
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn key(&mut self) -> Read<String> {
        self.space();
        let key = if self.rest.starts_with('<') {
            self.text()?.to_owned()
        } else if self.rest.starts_with('"') {
            self.json_text()?
        } else {
            let end = self
                .rest
                .find([':', '{', '}', '[', ']', ','])
                .ok_or(Problem::End)?;
            let key = self.rest[..end].trim();
            self.skip(end);
            key.to_owned()
        };
        self.space();
        match self.takes(':') {
            true if !key.is_empty() => Ok(key),
            _ => Err(self.missing()),
        }
    }

    fn text(&mut self) -> Read<&'a str> {
        let inside = after(self.rest, QUOTE)?;
        let (text, rest) = inside.split_once(QUOTE).ok_or(Problem::End)?;
        self.rest = rest;
        Ok(text)
    }

    fn json_text(&mut self) -> Read<String> {
        let mut parts = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        match parts.next() {
            Some(Ok(text)) => {
                self.skip(parts.byte_offset());
                Ok(text)
            }
            Some(Err(error)) if error.is_eof() => Err(Problem::End),
            _ => Err(Problem::Other),
        }
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Read<Value> {
        let end = self.rest.find([',', '}', ']']).ok_or(Problem::End)?;
        let word = self.rest[..end].trim();
        self.skip(end);
        match word {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            "null" | "none" | "None" => Ok(Value::Null),
            word => word
                .parse::<Number>()
                .map(Value::from)
                .map_err(|_| Problem::Other),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn takes(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn missing(&self) -> Problem {
        match self.rest.is_empty() {
            true => Problem::End,
            false => Problem::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn calls_and_what_is_none() {
        let deep = format!("call:f{{a:{}", "[".repeat(MAX_DEPTH + 2));
        for (body, expected) in [
            ("call:f{}", call("f", "{}")),
            (
                "call:f{a:<|\"|>x, {y}: \"z\"\n<tool_call|><|\"|>,b:-2.5,c:{d:[true,null]}}",
                call(
                    "f",
                    r#"{"a":"x, {y}: \"z\"\n<tool_call|>","b":-2.5,"c":{"d":[true,null]}}"#,
                ),
            ),
            (
                "call:f{a: \"q\\\"\" , <|\"|>b c<|\"|>: 1}",
                call("f", r#"{"a":"q\"","b c":1}"#),
            ),
            ("call:f{a:<|\"|>x<tool", Parsed::Unfinished),
            ("call:f{a:[1,2", Parsed::Unfinished),
            ("cal", Parsed::Unfinished),
            ("call:f{a:Zürich}", Parsed::Malformed),
            ("call:f{a:1}}", Parsed::Malformed),
            ("call:{a:1}", Parsed::Malformed),
            ("call:f{a:1 b:2}", Parsed::Malformed),
            ("get_weather", Parsed::Malformed),
            (&deep, Parsed::Malformed),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
    }
}
