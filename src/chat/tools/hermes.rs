//! Hermes: a JSON object with `name` and `arguments`.

use serde_json::Value;

use super::{Parsed, ToolCall};

/// Reads `{"name": ..., "arguments": {...}}`. Llama-style `parameters` and arguments as a string of JSON are taken too:
/// small models slip that way, and the meaning is clear.
pub(super) fn parse(body: &str) -> Parsed {
    let object = match serde_json::from_str::<Value>(body.trim()) {
        Ok(Value::Object(object)) => object,
        Err(error) if error.is_eof() => return Parsed::Unfinished,
        _ => return Parsed::Malformed,
    };
    let Some(Value::String(name)) = object.get("name") else {
        return Parsed::Malformed;
    };
    let arguments = match object.get("arguments").or_else(|| object.get("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(arguments @ Value::Object(_)) => arguments.to_string(),
            _ => return Parsed::Malformed,
        },
        Some(_) => return Parsed::Malformed,
    };
    Parsed::Call(ToolCall {
        name: name.clone(),
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &str) -> Parsed {
        Parsed::Call(ToolCall {
            name: name.into(),
            arguments: arguments.into(),
        })
    }

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
            assert_eq!(parse(body), expected, "{body}");
        }
    }
}
