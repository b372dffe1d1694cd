//! What clients send, in the form that a template takes.
//!
//! The OpenAI API allows more than most templates understand: `developer` messages, `content: null`, content in
//! parts, arguments as a string of JSON, fields that are there and null. What a template takes is found out by
//! rendering small conversations ([`Capabilities::probe`]) rather than by guessing from its text.

use serde_json::{Map, Value, json};

use super::template::{ChatTemplate, PromptInput};
use super::tools::Format;
use crate::{Error, Kind, Result};

/// What a template can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It prints a system message. Otherwise its text goes before the first user message.
    pub system: bool,
    /// It knows the role `developer`. Otherwise such a message becomes a system message.
    pub developer: bool,
    /// It prints `content` that is a string.
    pub text_content: bool,
    /// It prints `content` that is a list of parts.
    pub part_content: bool,
    /// It prints the definitions of tools. Otherwise the model cannot know of them.
    pub tools: bool,
    /// It prints tool calls whose arguments are an object (otherwise: a string of JSON).
    pub object_arguments: bool,
    /// It prints no tool calls at all: they are written into the content, in this form.
    pub calls_as_text: Option<Format>,
    /// It prints tool calls of a message only if its `content` is null.
    pub calls_need_null_content: bool,
    /// It takes thoughts as `reasoning_content` (otherwise they are left out of the history).
    pub reasoning_content: bool,
    /// It takes thoughts as content parts of type `thinking`.
    pub thinking_parts: bool,
}

impl Capabilities {
    /// Renders small conversations and looks what of them is in the prompt.
    pub fn probe(template: &ChatTemplate) -> Capabilities {
        let tools = json!([{"type": "function", "function": {"name": "probe_tool", "description": "probe-definition",
            "parameters": {"type": "object", "properties": {"k": {"type": "string", "description": "d"}}}}}]);
        let text_of = |messages: Value| {
            let input = PromptInput {
                messages,
                tools: Some(tools.clone()),
                now: super::Time::from_unix(0, 0).ok(),
                ..PromptInput::default()
            };
            template.render_text(&input).unwrap_or_default()
        };
        let shows = |messages: Value, needle: &str| text_of(messages).contains(needle);
        let user = |content: Value| json!({"role": "user", "content": content});
        let call = |content: Value, arguments: Value| {
            json!([user("probe-user".into()), {"role": "assistant", "content": content, "tool_calls": [
                {"id": "probe0000", "type": "function",
                 "function": {"name": "probe_tool", "arguments": arguments}}]}])
        };
        let object = json!({"k": "probe-argument"});
        let parts = text_of(json!([user(json!([{"type": "text", "text": "probe-user"}]))]));
        let system =
            |role: &str| json!([{"role": role, "content": "probe-system"}, user("probe-user".into())]);
        let empty = shows(call("".into(), object.clone()), "probe-argument");
        let null = shows(call(Value::Null, object.clone()), "probe-argument");
        let text = shows(call("".into(), object.to_string().into()), "probe-argument");
        Capabilities {
            system: shows(system("system"), "probe-system"),
            developer: template.source().contains("developer") && shows(system("developer"), "probe-system"),
            text_content: shows(json!([user("probe-user".into())]), "probe-user"),
            // A list printed as Python prints lists is not support.
            part_content: parts.contains("probe-user") && !parts.contains("'type'"),
            tools: shows(json!([user("probe-user".into())]), "probe-definition"),
            object_arguments: empty || null || !text,
            calls_as_text: template.tool_format().filter(|_| !empty && !null && !text),
            calls_need_null_content: !empty && null,
            reasoning_content: template.source().contains("reasoning_content"),
            thinking_parts: template.source().contains("'thinking'") && template.source().contains("[THINK]"),
        }
    }
}

/// Brings messages into the form that a template with these capabilities takes.
///
/// Nothing is changed that the template can take as it is, except that absent and null fields become the same.
pub fn normalize(messages: &Value, template: &Capabilities) -> Result<Value> {
    let Value::Array(list) = messages else {
        return Err(wrong("messages", "something else", "a list of messages"));
    };
    if list.is_empty() {
        return Err(wrong("messages", "an empty list", "at least one message"));
    }
    let mut out: Vec<Map<String, Value>> = Vec::with_capacity(list.len());
    let mut system_text: Vec<String> = Vec::new();
    for (at, message) in list.iter().enumerate() {
        let at = format!("messages[{at}]");
        let Value::Object(message) = message else {
            return Err(wrong(&at, "something else", "an object with role and content"));
        };
        let mut message: Map<String, Value> = message.clone();
        message.retain(|key, value| {
            let no_calls = key == "tool_calls" && value.as_array().is_some_and(Vec::is_empty);
            !value.is_null() && !no_calls
        });
        let Some(role) = message.get("role").and_then(Value::as_str).map(str::to_owned) else {
            return Err(wrong(&at, "no role", "a role such as \"user\""));
        };
        if role == "developer" && !template.developer {
            message.insert("role".into(), "system".into());
        }
        content(&at, &mut message, template)?;
        calls(&at, &mut message, template)?;
        if let Some(format) = template.calls_as_text {
            calls_into_content(&mut message, format);
        }
        if role == "assistant" {
            reasoning(&mut message, template);
        }
        let is_system = message.get("role").and_then(Value::as_str) == Some("system");
        match message.get("content") {
            Some(Value::String(text)) if is_system && !template.system => system_text.push(text.clone()),
            _ => out.push(message),
        }
    }
    if !system_text.is_empty() {
        prepend_to_user(&mut out, &system_text.join("\n\n"));
    }
    Ok(Value::Array(out.into_iter().map(Value::Object).collect()))
}

fn wrong(at: &str, found: &str, expected: &str) -> Error {
    Error::new(
        Kind::InvalidArgument,
        format!("{at}: found {found}, expected {expected}"),
    )
}

fn content(at: &str, message: &mut Map<String, Value>, template: &Capabilities) -> Result<()> {
    let has_calls = message.contains_key("tool_calls");
    let content = match message.remove("content") {
        None if has_calls && template.calls_need_null_content => Value::Null,
        Some(Value::String(text)) if text.is_empty() && has_calls && template.calls_need_null_content => {
            Value::Null
        }
        None => "".into(),
        Some(Value::Array(parts)) if !template.part_content => joined(at, &parts)?.into(),
        Some(Value::String(text)) if !template.text_content && template.part_content => {
            json!([{"type": "text", "text": text}])
        }
        Some(content @ (Value::String(_) | Value::Array(_) | Value::Object(_))) => content,
        Some(_) => {
            return Err(wrong(
                &format!("{at}.content"),
                "a number or a truth value",
                "a string or a list of parts",
            ));
        }
    };
    message.insert("content".into(), content);
    Ok(())
}

/// The text of all parts, a line each, as other servers join them.
fn joined(at: &str, parts: &[Value]) -> Result<String> {
    let texts = parts
        .iter()
        .enumerate()
        .map(|(i, part)| match (part, part.get("text")) {
            (Value::String(text), _) | (_, Some(Value::String(text))) => Ok(text.as_str()),
            _ => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("?");
                Err(wrong(
                    &format!("{at}.content[{i}]"),
                    &format!("a part of type {kind:?}"),
                    "text: this model reads text only",
                ))
            }
        });
    Ok(texts.collect::<Result<Vec<_>>>()?.join("\n"))
}

fn calls(at: &str, message: &mut Map<String, Value>, template: &Capabilities) -> Result<()> {
    let calls = match message.get_mut("tool_calls") {
        None => return Ok(()),
        Some(Value::Array(calls)) => calls,
        Some(_) => {
            return Err(wrong(
                &format!("{at}.tool_calls"),
                "something else",
                "a list of calls",
            ));
        }
    };
    for (i, call) in calls.iter_mut().enumerate() {
        let at = format!("{at}.tool_calls[{i}]");
        let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) else {
            return Err(wrong(
                &at,
                "no function",
                "{\"type\": \"function\", \"function\": {...}}",
            ));
        };
        let arguments = function.entry("arguments").or_insert_with(|| json!({}));
        match arguments {
            Value::String(text) if template.object_arguments => {
                let text = if text.trim().is_empty() { "{}" } else { text };
                // A string that is not an object stays as the model wrote it: some templates can print it.
                if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
                    *arguments = object;
                }
            }
            Value::Object(_) if !template.object_arguments => *arguments = arguments.to_string().into(),
            Value::String(_) | Value::Object(_) => {}
            _ => {
                return Err(wrong(
                    &format!("{at}.function.arguments"),
                    "something else",
                    "an object, or its JSON text",
                ));
            }
        }
    }
    Ok(())
}

/// Puts the calls of a message at the end of its text, as the model wrote them.
fn calls_into_content(message: &mut Map<String, Value>, format: Format) {
    let Some(Value::Array(calls)) = message.get("tool_calls") else {
        return;
    };
    let calls: Vec<(&str, &Value)> = calls
        .iter()
        .filter_map(|call| {
            let function = call.get("function")?;
            Some((function.get("name")?.as_str()?, function.get("arguments")?))
        })
        .collect();
    let text = format.write(&calls);
    if let (Some(text), Some(Value::String(content))) = (text, message.get_mut("content")) {
        content.push_str(&text);
    }
}

/// `reasoning` and `reasoning_content` are two names for one thing; Mistral wants it in the content.
fn reasoning(message: &mut Map<String, Value>, template: &Capabilities) {
    let text = match message
        .get("reasoning_content")
        .or_else(|| message.get("reasoning"))
    {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        _ => return,
    };
    if template.thinking_parts {
        let mut parts = vec![json!({"type": "thinking", "thinking": text})];
        match message.get("content") {
            Some(Value::String(answer)) if !answer.is_empty() => {
                parts.push(json!({"type": "text", "text": answer}))
            }
            Some(Value::Array(rest)) => parts.extend(rest.iter().cloned()),
            _ => {}
        }
        message.insert("content".into(), parts.into());
    } else if template.reasoning_content {
        message.insert("reasoning_content".into(), text.into());
    }
}

fn prepend_to_user(messages: &mut Vec<Map<String, Value>>, text: &str) {
    let user = messages
        .iter_mut()
        .find(|m| m.get("role").and_then(Value::as_str) == Some("user"));
    match user {
        Some(user) => match user.get_mut("content") {
            Some(Value::Array(parts)) => {
                parts.insert(0, json!({"type": "text", "text": format!("{text}\n\n")}))
            }
            Some(Value::String(content)) => content.insert_str(0, &format!("{text}\n\n")),
            _ => {
                user.insert("content".into(), text.into());
            }
        },
        None => {
            let user = [("role", "user"), ("content", text)];
            messages.insert(0, user.into_iter().map(|(k, v)| (k.into(), v.into())).collect());
        }
    }
}
