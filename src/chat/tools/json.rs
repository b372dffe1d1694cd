//! Calls as JSON: an object with `name` and `arguments` (Hermes, Llama 3), or a list of them (Nemotron Nano v2, older
//! Mistral models).

use serde_json::{Map, Value, json};

use super::json_text::compact;
use super::live::Live;
use super::problem::{Problem, Read, after};
use super::{Parsed, ToolCall};

/// Reads `{"name": ..., "arguments": {...}}`. Llama-style `parameters` and arguments as a string of JSON are taken too:
/// small models slip that way, and the meaning is clear.
pub(super) fn one(body: &str) -> Parsed {
    match serde_json::from_str::<Value>(body.trim()) {
        Ok(Value::Object(object)) => match call_of(&object) {
            Some(call) => Parsed::one(as_written(call, &object, body)),
            None => Parsed::Malformed,
        },
        Err(error) if error.is_eof() => Parsed::Unfinished,
        _ => Parsed::Malformed,
    }
}

/// Reads an object that is the whole answer: without a function's name it is an answer in JSON.
pub(super) fn bare(body: &str) -> Parsed {
    match serde_json::from_str::<Value>(body.trim()) {
        Ok(Value::Object(object)) => {
            let inner = object.get("function").and_then(Value::as_object);
            let named = inner.unwrap_or(&object);
            match call_of(named) {
                Some(call) if has_arguments(named) => Parsed::one(as_written(call, named, body)),
                _ if has_arguments(named) => Parsed::Malformed,
                _ => Parsed::Text,
            }
        }
        Err(error) if error.is_eof() => Parsed::Unfinished,
        _ => Parsed::Malformed,
    }
}

/// Reads a list of calls; a single object counts as a list of one.
pub(super) fn list(body: &str) -> Parsed {
    match serde_json::from_str::<Value>(body.trim()) {
        Ok(Value::Object(_)) => one(body),
        Ok(Value::Array(items)) => {
            let calls = items.iter().map(|item| call_of(item.as_object()?));
            match calls.collect::<Option<Vec<_>>>() {
                Some(mut calls) if !calls.is_empty() => {
                    let first = items[0].as_object().map(|object| (object, calls.remove(0)));
                    let first = first.map(|(object, call)| as_written(call, object, body));
                    Parsed::Calls(first.into_iter().chain(calls).collect())
                }
                _ => Parsed::Malformed,
            }
        }
        Err(error) if error.is_eof() => Parsed::Unfinished,
        _ => Parsed::Malformed,
    }
}

/// Follows the first call of a block in JSON.
pub(super) fn follow(body: &str, live: &mut Live) {
    live.follow(|live| {
        if live.name().is_none() {
            let (name, at) = head(body)?;
            live.begin(&name, None, at);
        }
        live.json(body)
    });
}

/// The longest beginning of a call that is waited for, in bytes.
const MAX_HEAD: usize = 512;

/// The name of a call that is written in the usual order, and where the object of its arguments begins.
fn head(body: &str) -> Read<(String, usize)> {
    let text = body.trim_start();
    let text = text.strip_prefix('[').unwrap_or(text);
    let inside = token(token(text, &["{"])?, &["\"name\""])?;
    let inside = token(inside, &[":"])?.trim_start();
    let mut name = serde_json::Deserializer::from_str(inside).into_iter::<String>();
    let (name, rest) = match name.next() {
        Some(Ok(text)) => (text, &inside[name.byte_offset()..]),
        Some(Err(error)) if error.is_eof() && inside.len() < MAX_HEAD => return Err(Problem::End),
        None => return Err(Problem::End),
        _ => return Err(Problem::Other),
    };
    let rest = token(token(rest, &[","])?, &["\"arguments\"", "\"parameters\""])?;
    let rest = token(rest, &[":"])?.trim_start();
    token(rest, &["{"])?;
    Ok((name, body.len() - rest.len()))
}

/// What follows one of these, with white space before it.
fn token<'a>(text: &'a str, expected: &[&str]) -> Read<&'a str> {
    let text = text.trim_start();
    let mut outcome = Err(Problem::Other);
    for expected in expected {
        match after(text, expected) {
            Err(Problem::Other) => {}
            found => outcome = found,
        }
    }
    outcome
}

/// The call with its arguments as they are written in `body`, which may have been told already: if this is the first
/// call in it, with nothing else in its `object`. Otherwise as they are.
fn as_written(call: ToolCall, object: &Map<String, Value>, body: &str) -> ToolCall {
    match head(body) {
        Ok((name, at)) if object.len() == 2 && name == call.name => match compact(&body[at..]) {
            Some(arguments) => ToolCall { arguments, ..call },
            None => call,
        },
        _ => call,
    }
}

fn has_arguments(object: &Map<String, Value>) -> bool {
    object.contains_key("arguments") || object.contains_key("parameters")
}

fn call_of(object: &Map<String, Value>) -> Option<ToolCall> {
    let name = object.get("name")?.as_str()?;
    let arguments = match object.get("arguments").or_else(|| object.get("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(arguments) => arguments_of(arguments)?,
    };
    Some(ToolCall {
        id: object.get("id").and_then(Value::as_str).map(str::to_owned),
        ..ToolCall::new(name, arguments)
    })
}

/// The text of an object, or of an object that is itself written as a string.
fn arguments_of(arguments: &Value) -> Option<String> {
    match arguments {
        Value::Object(_) => Some(arguments.to_string()),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(arguments @ Value::Object(_)) => Some(arguments.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The members that a call in bare JSON may begin with.
const FIRST_KEYS: [&str; 6] = ["name", "type", "id", "function", "parameters", "arguments"];

/// Where the object begins that may be a call; `None` if this text is none, or if it is no object at all.
pub(super) fn may_begin_call(body: &str) -> Option<usize> {
    let begin = body.find(|c: char| !c.is_whitespace())?;
    let inside = body[begin..].strip_prefix('{')?.trim_start();
    let key = match inside.strip_prefix('"') {
        Some(key) => key,
        None => return inside.is_empty().then_some(begin),
    };
    let fits = |first: &str| match key.split_once('"') {
        Some((whole, _)) => whole == first,
        None => first.starts_with(key),
    };
    FIRST_KEYS.into_iter().any(fits).then_some(begin)
}

/// The calls in the form of Hermes, a block each.
pub(super) fn write(calls: &[(&str, &Value)]) -> String {
    let block = |(name, arguments): &(&str, &Value)| {
        let call = json!({"name": name, "arguments": arguments});
        format!("<tool_call>\n{call}\n</tool_call>")
    };
    calls.iter().map(block).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn calls_and_what_is_none() {
        for (body, expected) in [
            (
                "\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": [2.5]}}\n",
                call("f", r#"{"b":1,"a":[2.5]}"#),
            ),
            (r#"{"name": "f"}"#, call("f", "{}")),
            (r#"{"name": "f", "parameters": {}}"#, call("f", "{}")),
            (
                r#"{"name": "f", "arguments": "{\"x\": 1}"}"#,
                call("f", r#"{"x":1}"#),
            ),
            (r#"{"name": "f", "arguments": {"html": "a "#, Parsed::Unfinished),
            (r#"{"name": "f", "arguments": [1]}"#, Parsed::Malformed),
            (r#"{"name": 3, "arguments": {}}"#, Parsed::Malformed),
            (r#"{name: f}"#, Parsed::Malformed),
            (r#"["f"]"#, Parsed::Malformed),
            (r#"{"name": "f"} {"name": "g"}"#, Parsed::Malformed),
        ] {
            assert_eq!(one(body), expected, "{body}");
        }
    }

    #[test]
    fn lists_of_calls() {
        let with_id = ToolCall {
            id: Some("abc123XYZ".into()),
            ..ToolCall::new("g", "{}")
        };
        for (body, expected) in [
            (
                r#"[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}, "id": "abc123XYZ"}]"#,
                Parsed::Calls(vec![ToolCall::new("f", r#"{"a":1}"#), with_id]),
            ),
            (r#"{"name": "f"}"#, call("f", "{}")),
            (r#"[{"name": "f"}"#, Parsed::Unfinished),
            ("[]", Parsed::Malformed),
            (r#"[{"name": "f"}, 3]"#, Parsed::Malformed),
        ] {
            assert_eq!(list(body), expected, "{body}");
        }
    }

    #[test]
    fn an_answer_in_json_is_told_from_a_call() {
        for (body, expected) in [
            (
                r#"{"name": "f", "parameters": {"x": "1"}}"#,
                call("f", r#"{"x":"1"}"#),
            ),
            (
                r#"{"type": "function", "function": {"name": "f", "parameters": {}}}"#,
                call("f", "{}"),
            ),
            (r#"{"name": "Ada", "born": 1815}"#, Parsed::Text),
            (r#"{"name": "f", "parameters": "x"}"#, Parsed::Malformed),
        ] {
            assert_eq!(bare(body), expected, "{body}");
        }
        for (body, expected) in [
            ("{", Some(0)),
            (" { \"na", Some(1)),
            ("{\"name\": \"x", Some(0)),
            ("{\"answer\"", None),
            ("{\"nap", None),
            ("{1", None),
            ("print", None),
        ] {
            assert_eq!(may_begin_call(body), expected, "{body}");
        }
    }
}
