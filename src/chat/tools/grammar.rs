//! What a call of given tools looks like, as a pattern that a constraint can hold a model to.

use serde_json::{Map, Value, json};

use super::{Format, gemma, mistral, notation, pythonic, qwen_xml};
use crate::constrain::Pattern;

/// A tool, as far as its calls are concerned.
#[derive(Debug, Clone)]
pub struct Callable {
    /// The function's name.
    pub name: String,
    /// The JSON schema of its arguments.
    pub arguments: Value,
}

impl Callable {
    /// The functions among OpenAI's `tools`. One without `parameters` takes none.
    pub fn list(tools: Option<&Value>) -> Vec<Callable> {
        let tools = tools.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let callable = |tool: &Value| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name").and_then(Value::as_str)?;
            let arguments = function.get("parameters").filter(|schema| !schema.is_null());
            Some(Callable {
                name: name.to_string(),
                arguments: arguments
                    .cloned()
                    .unwrap_or_else(|| json!({"type": "object", "additionalProperties": false})),
            })
        };
        tools.iter().filter_map(callable).collect()
    }
}

/// How calls are written, in two parts: a model that is free to call is held to the second one once it wrote the first.
#[derive(Debug, Clone)]
pub struct CallPattern {
    /// The marker that opens a call; `None` where it begins like any JSON.
    pub opening: Option<&'static str>,
    /// Everything after it, up to and including the marker that ends the call.
    pub rest: Pattern,
    /// What separates one call from the next; `None` where `rest` may hold several, or only one call is possible.
    pub between: Option<&'static str>,
}

impl Format {
    /// The pattern of a call of one of these tools. `marker` makes a marker of the format into what stands for it in a
    /// pattern: a text or a token. `None` for schemas that the format cannot express.
    pub fn pattern(
        self,
        tools: &[Callable],
        one_call: bool,
        marker: impl Fn(&str) -> Pattern,
    ) -> Option<CallPattern> {
        let text = |text: &str| Pattern::Text(text.to_string());
        let json_calls = |key: &str| {
            let call = |tool: &Callable| {
                let name = Value::from(tool.name.as_str());
                Pattern::Sequence(vec![
                    Pattern::Text(format!("{{\"name\": {name}, \"{key}\": ")),
                    Pattern::Json(tool.arguments.clone()),
                    Pattern::Text("}".to_string()),
                ])
            };
            Pattern::Choice(tools.iter().map(call).collect())
        };
        Some(match self {
            Format::Hermes => CallPattern {
                opening: Some("<tool_call>"),
                rest: Pattern::Sequence(vec![
                    text("\n"),
                    json_calls("arguments"),
                    text("\n"),
                    marker("</tool_call>"),
                ]),
                between: Some("\n"),
            },
            Format::QwenXml => CallPattern {
                opening: Some("<tool_call>"),
                rest: Pattern::Sequence(vec![
                    text("\n"),
                    Pattern::Choice(tools.iter().map(tagged).collect::<Option<_>>()?),
                    text("\n"),
                    marker("</tool_call>"),
                ]),
                between: Some("\n"),
            },
            Format::Llama => CallPattern {
                opening: None,
                rest: json_calls("parameters"),
                between: None,
            },
            Format::Nemotron => {
                let calls = match one_call {
                    true => json_calls("arguments"),
                    false => Pattern::List(Box::new(json_calls("arguments")), ", ".to_string()),
                };
                CallPattern {
                    opening: Some("<TOOLCALL>"),
                    rest: Pattern::Sequence(vec![text("["), calls, text("]"), marker("</TOOLCALL>")]),
                    between: None,
                }
            }
            Format::Gemma => {
                let call = |tool: &Callable| {
                    let arguments = gemma::arguments(&tool.arguments, marker(gemma::QUOTE))?;
                    Some(Pattern::Sequence(vec![
                        text(&format!("call:{}", tool.name)),
                        arguments,
                    ]))
                };
                let calls = tools.iter().map(call).collect::<Option<_>>()?;
                CallPattern {
                    opening: Some("<|tool_call>"),
                    rest: Pattern::Sequence(vec![Pattern::Choice(calls), marker("<tool_call|>")]),
                    between: Some(""),
                }
            }
            Format::Mistral => {
                let id = || Pattern::Regex("[a-zA-Z0-9]{9}".to_string());
                let call = |tool: &Callable| {
                    let named = Pattern::Sequence(vec![marker(mistral::CALL_ID), id()]);
                    Pattern::Sequence(vec![
                        text(&tool.name),
                        Pattern::Optional(Box::new(named)),
                        marker(mistral::ARGS),
                        Pattern::Json(tool.arguments.clone()),
                    ])
                };
                let older = |tool: &Callable| {
                    let name = Value::from(tool.name.as_str());
                    Pattern::Sequence(vec![
                        text(&format!("{{\"name\": {name}, \"arguments\": ")),
                        Pattern::Json(tool.arguments.clone()),
                        text(", \"id\": \""),
                        id(),
                        text("\"}"),
                    ])
                };
                let older = Pattern::Choice(tools.iter().map(older).collect());
                let older = match one_call {
                    true => older,
                    false => Pattern::List(Box::new(older), ", ".to_string()),
                };
                let older = Pattern::Sequence(vec![text("["), older, text("]")]);
                let calls = tools.iter().map(call).chain([older]).collect();
                CallPattern {
                    opening: Some("[TOOL_CALLS]"),
                    rest: Pattern::Choice(calls),
                    between: Some(""),
                }
            }
            Format::Lfm => {
                let call = |tool: &Callable| {
                    let arguments = pythonic::arguments(&tool.arguments)?;
                    Some(Pattern::Sequence(vec![text(&tool.name), arguments]))
                };
                let call = Pattern::Choice(tools.iter().map(call).collect::<Option<_>>()?);
                let calls = match one_call {
                    true => call,
                    false => Pattern::List(Box::new(call), ", ".to_string()),
                };
                CallPattern {
                    opening: Some("<|tool_call_start|>"),
                    rest: Pattern::Sequence(vec![text("["), calls, text("]"), marker("<|tool_call_end|>")]),
                    between: None,
                }
            }
        })
    }
}

/// `<function=NAME>`, the parameters in the order of the schema, `</function>`. `None` if the arguments are no plain object.
fn tagged(tool: &Callable) -> Option<Pattern> {
    let schema = tool.arguments.as_object()?;
    if schema.keys().any(|keyword| {
        matches!(
            keyword.as_str(),
            "$ref" | "allOf" | "anyOf" | "oneOf" | "patternProperties"
        )
    }) {
        return None;
    }
    let none = Map::new();
    let properties = match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => properties,
        // Any parameters at all cannot be said.
        None => Some(&none).filter(|_| notation::is_closed(schema))?,
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if required.iter().any(|name| !properties.contains_key(*name)) {
        return None;
    }
    let mut parts = vec![Pattern::Text(format!("<function={}>\n", tool.name))];
    for (name, property) in properties {
        let mut parameter = vec![Pattern::Text(format!("<parameter={name}>\n"))];
        parameter.extend(value(property, schema)?);
        let parameter = Pattern::Sequence(parameter);
        parts.push(match required.contains(&name.as_str()) {
            true => parameter,
            false => Pattern::Optional(Box::new(parameter)),
        });
    }
    parts.push(Pattern::Text("</function>".to_string()));
    Some(Pattern::Sequence(parts))
}

/// A parameter's value and what closes it. A string is written as it is, anything else as JSON.
fn value(property: &Value, root: &Map<String, Value>) -> Option<Vec<Pattern>> {
    const CLOSE: &str = "\n</parameter>\n";
    let close = || Pattern::Text(CLOSE.to_string());
    let types = qwen_xml::types_of(property);
    let names = property.get("enum").and_then(Value::as_array);
    if let Some(names) = names
        && types.contains(&"string")
    {
        let text = |value: &Value| value.as_str().map(|text| Pattern::Text(text.to_string()));
        let texts = names.iter().map(text).collect::<Option<Vec<_>>>()?;
        return (!texts.is_empty()).then(|| vec![Pattern::Choice(texts), close()]);
    }
    if let Some(text) = property.get("const").and_then(Value::as_str) {
        return Some(vec![Pattern::Text(text.to_string()), close()]);
    }
    if types == ["string"] {
        let count = |keyword: &str| property.get(keyword).and_then(Value::as_u64);
        let pattern = property.get("pattern").and_then(Value::as_str);
        return Some(match (pattern, count("minLength"), count("maxLength")) {
            (None, None | Some(0), None) => vec![Pattern::Until(CLOSE.to_string())],
            // On one line, so that it cannot be taken for longer than it is.
            (None, least, most) => {
                let most = most.map_or_else(String::new, |most| most.to_string());
                let text = format!("[^\\n]{{{},{most}}}", least.unwrap_or(0));
                vec![Pattern::Regex(text), close()]
            }
            (Some(pattern), None, None) => {
                let (begin, inner) = match pattern.strip_prefix('^') {
                    Some(inner) => ("", inner),
                    None => ("[^\\n]*", pattern),
                };
                let (inner, end) = match inner.strip_suffix('$') {
                    Some(inner) if !inner.ends_with('\\') => (inner, ""),
                    _ => (inner, "[^\\n]*"),
                };
                vec![Pattern::Regex(format!("{begin}(?:{inner}){end}")), close()]
            }
            // Both at once cannot be said here.
            _ => return None,
        });
    }
    // Without a type, or where a string is one of several, the text may be anything.
    if types.is_empty() || types.contains(&"string") {
        return Some(vec![Pattern::Until(CLOSE.to_string())]);
    }
    let mut schema = property.as_object()?.clone();
    for keyword in ["$defs", "definitions"] {
        if let Some(definitions) = root.get(keyword) {
            schema.entry(keyword).or_insert_with(|| definitions.clone());
        }
    }
    Some(vec![Pattern::Json(Value::Object(schema)), close()])
}
