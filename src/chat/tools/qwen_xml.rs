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

use super::{Parsed, ToolCall};

/// Reads one `<function=...>` block.
pub(super) fn parse(body: &str, tools: Option<&Value>) -> Parsed {
    let Some(rest) = body.trim_start().strip_prefix("<function=") else {
        return if "<function=".starts_with(body.trim()) {
            Parsed::Unfinished
        } else {
            Parsed::Malformed
        };
    };
    let Some((name, mut rest)) = rest.split_once('>') else {
        return Parsed::Unfinished;
    };
    if name.is_empty() || name.contains(['\n', '<']) {
        return Parsed::Malformed;
    }
    let schema = schema_of(name, tools);
    let mut arguments = Map::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("</function>") {
            return match after.trim() {
                "" => Parsed::one(ToolCall::new(name, Value::Object(arguments).to_string())),
                _ => Parsed::Malformed,
            };
        }
        let Some(parameter) = rest.strip_prefix("<parameter=") else {
            let unfinished = ["</function>", "<parameter="]
                .iter()
                .any(|tag| tag.starts_with(rest));
            return if unfinished {
                Parsed::Unfinished
            } else {
                Parsed::Malformed
            };
        };
        let Some((key, value)) = parameter.split_once('>') else {
            return Parsed::Unfinished;
        };
        let value = value.strip_prefix('\n').unwrap_or(value);
        // The value ends before the newline that precedes its closing tag; a value on one line ends at the tag.
        let Some((text, after)) = split_value(value) else {
            return Parsed::Unfinished;
        };
        let types = schema
            .and_then(|schema| schema.get(key))
            .map(types_of)
            .unwrap_or_default();
        arguments.insert(key.to_owned(), typed(text, &types));
        rest = after;
    }
}

/// The text of a value, and what follows its closing tag.
fn split_value(value: &str) -> Option<(&str, &str)> {
    const END: &str = "</parameter>";
    // An empty value leaves the closing tag on the first line.
    if let Some(after) = value.strip_prefix(END) {
        return Some(("", after));
    }
    value
        .split_once("\n</parameter>")
        .or_else(|| value.split_once(END))
}

/// `function.parameters.properties` of the tool with this name.
fn schema_of<'a>(name: &str, tools: Option<&'a Value>) -> Option<&'a Value> {
    let tool = tools?
        .as_array()?
        .iter()
        .map(|tool| tool.get("function").unwrap_or(tool))
        .find(|function| function.get("name").and_then(Value::as_str) == Some(name))?;
    tool.get("parameters")?.get("properties")
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

/// Only a string: the text itself. Otherwise JSON if it is JSON (or one of Python's constants), else the text.
fn typed(text: &str, types: &[&str]) -> Value {
    if types == ["string"] {
        return text.into();
    }
    match text.trim() {
        "True" => true.into(),
        "False" => false.into(),
        "None" => Value::Null,
        trimmed => match serde_json::from_str::<Value>(trimmed) {
            // Quoted text in a place for a string or something else is more likely meant to be quoted.
            Ok(Value::String(_)) if types.contains(&"string") || types.is_empty() => text.into(),
            Ok(value) => value,
            Err(_) => text.into(),
        },
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
            "kind": {"enum": ["1", "2"]}, "deep": {"anyOf": [{"type": "object"}, {"type": "null"}]}
        }}}}]);
        let body = "\n<function=f>\n<parameter=text>\n3\n</parameter>\n<parameter=count>\n3\n</parameter>\n\
            <parameter=both>\n3\n</parameter>\n<parameter=kind>\n1\n</parameter>\n<parameter=deep>\n{\"a\": [1]}\n\
            </parameter>\n<parameter=new>\nTrue\n</parameter>\n</function>\n";
        assert_eq!(
            arguments(body, Some(&tools)),
            json!({"text": "3", "count": 3, "both": 3, "kind": "1", "deep": {"a": [1]}, "new": true})
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
