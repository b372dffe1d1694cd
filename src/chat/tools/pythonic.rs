//! Calls written as Python calls functions: `[get_weather(city="Zürich"), add(a=1, b=[2.5, None])]`. LFM2 writes such
//! a list, Llama 3 a single `brave_search.call(query="...")`.

use serde_json::{Map, Number, Value};

use super::live::Live;
use super::notation::{self, Members, Notation};
use super::problem::{MAX_DEPTH, Problem, Read, parsed};
use super::{Parsed, ToolCall, json};
use crate::constrain::Pattern;

/// Reads a list of calls, a single call, or (LFM2 can be told to write it) the same as JSON.
pub(super) fn parse(body: &str) -> Parsed {
    let text = body.trim();
    if is_json(text) {
        return json::list(text);
    }
    let mut cursor = Cursor { rest: text };
    parsed(cursor.calls())
}

/// Follows the first call: an argument is told when it is whole.
pub(super) fn follow(body: &str, live: &mut Live) {
    if is_json(body) {
        return json::follow(body, live);
    }
    live.follow(|live| {
        if live.name().is_none() {
            let mut cursor = Cursor { rest: body };
            cursor.takes('[');
            let name = cursor.function()?;
            let at = body.len() - cursor.rest.len();
            // Code that is no call has no names before its arguments.
            cursor.argument_name()?;
            live.begin(name, None, at);
        }
        loop {
            let mut cursor = Cursor {
                rest: live.rest(body),
            };
            let Some((key, value)) = cursor.argument(live.arguments().is_empty())? else {
                return Ok(());
            };
            live.argument(key, &value);
            live.go_to(body.len() - cursor.rest.len());
        }
    });
}

fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let inside = text.strip_prefix('[').unwrap_or(text).trim_start();
    inside.starts_with(['{', ']'])
}

/// The calls as LFM2 writes them.
pub(super) fn write(calls: &[(&str, &Value)]) -> String {
    let one = |(name, arguments): &(&str, &Value)| {
        let arguments = arguments.as_object().into_iter().flatten();
        let arguments: Vec<String> = arguments
            .map(|(key, value)| format!("{key}={}", literal(value)))
            .collect();
        format!("{name}({})", arguments.join(", "))
    };
    let calls: Vec<String> = calls.iter().map(one).collect();
    format!("<|tool_call_start|>[{}]<|tool_call_end|>", calls.join(", "))
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), literal(value))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// Arguments as LFM2 writes them, as a pattern: `(city="Zürich", days=3)`.
pub(super) fn arguments(schema: &Value) -> Option<Pattern> {
    let written = Members {
        open: "(",
        close: ")",
        key: |name| {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            (!name.is_empty() && name.chars().all(is_name)).then(|| format!("{name}="))
        },
    };
    notation::members(&Python, schema.as_object()?, schema, written, 0)
}

/// How Python writes values.
struct Python;

impl Notation for Python {
    const WORDS: [&'static str; 3] = ["None", "True", "False"];
    const COMMA: &'static str = ", ";

    fn object(&self) -> Members {
        Members {
            open: "{",
            close: "}",
            key: |name| Some(format!("{}: ", Value::from(name))),
        }
    }

    fn text(&self, text: &str) -> Option<Pattern> {
        Some(Pattern::Text(Value::from(text).to_string()))
    }

    fn any_text(&self, schema: &Map<String, Value>) -> Option<Pattern> {
        if schema.contains_key("pattern") || schema.contains_key("format") {
            return Some(Pattern::Json(schema.clone().into()));
        }
        // The escapes that mean the same in Python and in JSON.
        let count = notation::count(schema);
        Some(Pattern::Regex(format!(
            r#""(?:[^"\\\x00-\x1f\x7f]|\\["\\nrt]){count}""#
        )))
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn calls(&mut self) -> Read<Vec<ToolCall>> {
        let listed = self.takes('[');
        let mut calls = vec![self.call()?];
        while listed && !self.takes(']') {
            self.expect(',')?;
            calls.push(self.call()?);
        }
        self.space();
        match self.rest.is_empty() {
            true => Ok(calls),
            false => Err(Problem::Other),
        }
    }

    fn call(&mut self) -> Read<ToolCall> {
        let name = self.function()?;
        let mut arguments = Map::new();
        while let Some((key, value)) = self.argument(arguments.is_empty())? {
            // The first one counts.
            arguments.entry(key).or_insert(value);
        }
        Ok(ToolCall::new(name, Value::Object(arguments).to_string()))
    }

    /// The name of a function and its bracket.
    fn function(&mut self) -> Read<&'a str> {
        let name = self.name()?;
        self.expect('(')?;
        Ok(name.strip_suffix(".call").unwrap_or(name))
    }

    /// The next argument; `None` at the end of them.
    fn argument(&mut self, is_first: bool) -> Read<Option<(&'a str, Value)>> {
        if self.takes(')') {
            return Ok(None);
        }
        if !is_first {
            self.expect(',')?;
        }
        let key = self.argument_name()?;
        let value = self.value(0)?;
        Ok(Some((key, value)))
    }

    fn argument_name(&mut self) -> Read<&'a str> {
        let name = self.name()?;
        self.expect('=')?;
        Ok(name)
    }

    fn name(&mut self) -> Read<&'a str> {
        self.space();
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '-'))
            .ok_or(Problem::End)?;
        let name = &self.rest[..end];
        self.rest = &self.rest[end..];
        match name.is_empty() {
            true => Err(Problem::Other),
            false => Ok(name),
        }
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > MAX_DEPTH {
            return Err(Problem::Other);
        }
        self.space();
        match self.rest.chars().next().ok_or(Problem::End)? {
            quote @ ('"' | '\'') => self.text(quote).map(Value::from),
            '[' => self.list(']', depth),
            '(' => self.list(')', depth),
            '{' => self.dictionary(depth),
            _ => self.word(),
        }
    }

    fn list(&mut self, end: char, depth: usize) -> Read<Value> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expect(',')?;
                if self.takes(end) {
                    break;
                }
            }
            items.push(self.value(depth + 1)?);
        }
        Ok(items.into())
    }

    fn dictionary(&mut self, depth: usize) -> Read<Value> {
        self.rest = &self.rest[1..];
        let mut members = Map::new();
        while !self.takes('}') {
            if !members.is_empty() {
                self.expect(',')?;
                if self.takes('}') {
                    break;
                }
            }
            let Value::String(key) = self.value(depth + 1)? else {
                return Err(Problem::Other);
            };
            self.expect(':')?;
            let value = self.value(depth + 1)?;
            members.insert(key, value);
        }
        Ok(members.into())
    }

    /// A string literal with Python's usual escapes.
    fn text(&mut self, quote: char) -> Read<String> {
        let mut chars = self.rest[1..].char_indices();
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[1 + at + c.len_utf8()..];
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().ok_or(Problem::End)?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                'u' => {
                    let mut code = 0;
                    for _ in 0..4 {
                        let digit = chars.next().ok_or(Problem::End)?.1;
                        code = code * 16 + digit.to_digit(16).ok_or(Problem::Other)?;
                    }
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                escaped @ ('\\' | '\'' | '"' | '/') => text.push(escaped),
                // Python keeps the backslash of an escape that it does not know.
                other => text.extend(['\\', other]),
            }
        }
        Err(Problem::End)
    }

    fn word(&mut self) -> Read<Value> {
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '+' | '_'))
            .ok_or(Problem::End)?;
        let word = &self.rest[..end];
        self.rest = &self.rest[end..];
        match word {
            "True" | "true" => Ok(true.into()),
            "False" | "false" => Ok(false.into()),
            "None" | "null" => Ok(Value::Null),
            word => word
                .parse::<Number>()
                .map(Value::from)
                .map_err(|_| Problem::Other),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn takes(&mut self, expected: char) -> bool {
        self.space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, expected: char) -> Read<()> {
        match self.takes(expected) {
            true => Ok(()),
            false if self.rest.is_empty() => Err(Problem::End),
            false => Err(Problem::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_and_what_is_none() {
        let deep = format!("[f(a={}", "[".repeat(MAX_DEPTH + 2));
        for (body, expected) in [
            ("[f()]", call("f", "{}")),
            (
                "[f(a=\"x, \\\"y\\\")]\\n\", b='it\\'s', c=-2.5, d=[True, None, (1,)], e={'k': 'v'})]",
                call(
                    "f",
                    r#"{"a":"x, \"y\")]\n","b":"it's","c":-2.5,"d":[true,null,[1]],"e":{"k":"v"}}"#,
                ),
            ),
            (
                "[f(a=1), g.h(b=2)]",
                Parsed::Calls(vec![
                    ToolCall::new("f", r#"{"a":1}"#),
                    ToolCall::new("g.h", r#"{"b":2}"#),
                ]),
            ),
            (
                "brave_search.call(query=\"q\")",
                call("brave_search", r#"{"query":"q"}"#),
            ),
            ("[{\"name\": \"f\", \"arguments\": {}}]", call("f", "{}")),
            ("[f(a=\"x", Parsed::Unfinished),
            ("[f(a=1)", Parsed::Unfinished),
            ("print(1)", Parsed::Malformed),
            ("x = 3\n", Parsed::Malformed),
            ("[f(a=b)]", Parsed::Malformed),
            ("[]", Parsed::Malformed),
            (&deep, Parsed::Malformed),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let arguments = json!({"q": "a \"b\"\n\\n é", "n": [1, -2.5, null, true], "o": {"k": {"x": []}}});
        let text = write(&[("f", &arguments), ("g", &json!({}))]);
        let inside = text
            .strip_prefix("<|tool_call_start|>")
            .and_then(|text| text.strip_suffix("<|tool_call_end|>"));
        let expected = vec![
            ToolCall::new("f", arguments.to_string()),
            ToolCall::new("g", "{}"),
        ];
        assert_eq!(parse(inside.unwrap()), Parsed::Calls(expected));
    }
}
