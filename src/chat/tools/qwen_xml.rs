//! The tagged form of Qwen3.5, Qwen3-Coder and Nemotron 3:
//!
//! ```text
//! <function=get_weather>
//! <parameter=city>
//! Zürich
//! </parameter>
//! </function>
//! ```
//!
//! A value is raw text up to `\n</parameter>`; what type it has, only the tool's schema says.

use serde_json::{Map, Value};

use super::live::Live;
use super::notation::is_of;
use super::problem::{Problem, Read, after, parsed};
use super::{Parsed, ToolCall};

/// Reads one `<function=...>` block.
pub(super) fn parse(body: &str, tools: Option<&Value>) -> Parsed {
    parsed(read(body, tools).map(|call| vec![call]))
}

fn read(body: &str, tools: Option<&Value>) -> Read<ToolCall> {
    let (name, mut rest) = function(body)?;
    let schema = schema_of(name, tools);
    let mut arguments = Map::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("</function>") {
            return match after.trim() {
                "" => Ok(ToolCall::new(name, Value::Object(arguments).to_string())),
                _ => Err(Problem::Other),
            };
        }
        let (key, value) = parameter(rest)?;
        // A value in lines may lack the last newline.
        let (text, after) = value
            .end()
            .or_else(|| value.text.split_once(END))
            .ok_or(Problem::End)?;
        // The first one counts.
        arguments
            .entry(key)
            .or_insert_with(|| typed(text, &types_in(schema, key)));
        rest = after;
    }
}

/// Follows a call: a parameter is told when it is whole.
pub(super) fn follow(body: &str, tools: Option<&Value>, live: &mut Live) {
    live.follow(|live| {
        if live.name().is_none() {
            let (name, rest) = function(body)?;
            live.begin(name, None, body.len() - rest.len());
        }
        let schema = live.name().and_then(|name| schema_of(name, tools));
        loop {
            let (key, value) = parameter(live.rest(body).trim_start())?;
            let (text, after) = value.end().ok_or(Problem::End)?;
            live.argument(key, &typed(text, &types_in(schema, key)));
            live.go_to(body.len() - after.len());
        }
    });
}

/// The name of the function, and what follows it.
fn function(body: &str) -> Read<(&str, &str)> {
    let rest = after(body.trim_start(), "<function=")?;
    let (name, rest) = rest.split_once('>').ok_or(Problem::End)?;
    match name.is_empty() || name.contains(['\n', '<']) {
        true => Err(Problem::Other),
        false => Ok((name, rest)),
    }
}

/// The name of the parameter that begins here, and its value with what follows it.
fn parameter(text: &str) -> Read<(&str, Begun<'_>)> {
    let rest = match after(text, "<parameter=") {
        Err(_) if "</function>".starts_with(text) => return Err(Problem::End),
        rest => rest?,
    };
    let (key, value) = rest.split_once('>').ok_or(Problem::End)?;
    let in_lines = value.starts_with('\n');
    let text = value.strip_prefix('\n').unwrap_or(value);
    Ok((key, Begun { text, in_lines }))
}

/// A value, and what follows it.
struct Begun<'a> {
    text: &'a str,
    /// It has lines of its own.
    in_lines: bool,
}

impl<'a> Begun<'a> {
    /// The text of the value, and what follows its closing tag. It ends before the newline that precedes this tag; on one line, at the tag.
    fn end(&self) -> Option<(&'a str, &'a str)> {
        // An empty value leaves the closing tag on the first line.
        match self.text.strip_prefix(END) {
            Some(after) => Some(("", after)),
            None if self.in_lines => self.text.split_once("\n</parameter>"),
            None => self.text.split_once(END),
        }
    }
}

const END: &str = "</parameter>";

/// `function.parameters.properties` of the tool with this name.
fn schema_of<'a>(name: &str, tools: Option<&'a Value>) -> Option<&'a Value> {
    let tool = tools?
        .as_array()?
        .iter()
        .map(|tool| tool.get("function").unwrap_or(tool))
        .find(|function| function.get("name").and_then(Value::as_str) == Some(name))?;
    tool.get("parameters")?.get("properties")
}

/// The type names that a parameter may have.
fn types_in<'a>(schema: Option<&'a Value>, key: &str) -> Vec<&'a str> {
    schema
        .and_then(|schema| schema.get(key))
        .map(types_of)
        .unwrap_or_default()
}

/// The type names that a property's schema allows; empty when it does not say.
pub(super) fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => match schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array)
        {
            // One level is enough to learn whether a string is allowed.
            Some(choices) => choices
                .iter()
                .filter_map(|choice| choice.get("type").and_then(Value::as_str))
                .collect(),
            None => match schema.get("enum").and_then(Value::as_array) {
                Some(values) if values.iter().all(Value::is_string) => vec!["string"],
                _ => Vec::new(),
            },
        },
    }
}

/// JSON if it is JSON (or one of Python's constants), else the text itself. Where a text is allowed, nothing else of a type that is not.
fn typed(text: &str, types: &[&str]) -> Value {
    let read = match text.trim() {
        "True" => Some(true.into()),
        "False" => Some(false.into()),
        "None" => Some(Value::Null),
        trimmed => serde_json::from_str::<Value>(trimmed).ok(),
    };
    let takes_text = types.is_empty() || types.contains(&"string");
    match read {
        // Quoted text in a place for a string or something else is more likely meant to be quoted.
        Some(Value::String(_)) if takes_text => text.into(),
        Some(value) if types.is_empty() || !takes_text || types.iter().any(|name| is_of(&value, name)) => {
            value
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(body: &str, tools: Option<&Value>) -> Value {
        match parse(body, tools) {
            Parsed::Calls(calls) => serde_json::from_str(&calls[0].arguments).unwrap(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn the_schema_decides_the_type() {
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
            "text": {"type": "string"}, "count": {"type": "integer"}, "both": {"type": ["string", "number"]},
            "kind": {"enum": ["1", "2"]}, "deep": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "zip": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "none": {"type": ["string", "null"]}
        }}}}]);
        let body = "\n<function=f>\n<parameter=text>\n3\n</parameter>\n<parameter=count>\n3\n</parameter>\n\
            <parameter=both>\n3\n</parameter>\n<parameter=kind>\n1\n</parameter>\n<parameter=deep>\n{\"a\": [1]}\n\
            </parameter>\n<parameter=zip>\n01234\n</parameter>\n<parameter=none>\nNone\n</parameter>\n\
            <parameter=new>\nTrue\n</parameter>\n</function>\n";
        assert_eq!(
            arguments(body, Some(&tools)),
            json!({"text": "3", "count": 3, "both": 3, "kind": "1", "deep": {"a": [1]}, "zip": "01234", "none": null, "new": true})
        );
    }

    #[test]
    fn text_is_kept_to_the_letter() {
        let body = "<function=f><parameter=code>\n  if a < b:\n\n    </tool_call>\n\n</parameter></function>";
        assert_eq!(
            arguments(body, None),
            json!({"code": "  if a < b:\n\n    </tool_call>\n"})
        );
        assert_eq!(
            arguments("<function=f><parameter=x>1</parameter></function>", None),
            json!({"x": 1})
        );
        assert_eq!(
            arguments("<function=f>\n<parameter=x>\n</parameter>\n</function>", None),
            json!({"x": ""})
        );
        assert_eq!(arguments("<function=f>\n</function>", None), json!({}));
        let mixed =
            "<function=f>\n<parameter=a>1</parameter>\n<parameter=code>\nx\n</parameter>\n</function>";
        assert_eq!(arguments(mixed, None), json!({"a": 1, "code": "x"}));
    }

    #[test]
    fn what_is_no_call() {
        for (body, expected) in [
            ("<func", Parsed::Unfinished),
            ("<function=f", Parsed::Unfinished),
            ("<function=f>\n<parameter=x>\nabc", Parsed::Unfinished),
            (
                "<function=f>\n<parameter=x>\nabc\n</parameter>\n",
                Parsed::Unfinished,
            ),
            ("{\"name\": \"f\"}", Parsed::Malformed),
            ("<function=>\n</function>", Parsed::Malformed),
            ("<function=f>\nhello\n</function>", Parsed::Malformed),
            ("<function=f>\n</function>\nmore", Parsed::Malformed),
        ] {
            assert_eq!(parse(body, None), expected, "{body}");
        }
    }
}
