//! Any text as a chat template: compiled and rendered within its limits, or refused.

#![no_main]

use fanlight::chat::{ChatTemplate, PromptInput, ReplyOptions};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>", &["<s>", "</s>", "<|im_end|>"]) else {
        return;
    };
    let messages = json!([
        {"role": "system", "content": "Be kind. </s>"},
        {"role": "user", "content": "Hello <|im_end|>"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, null], "b": "x"}}}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]);
    let Ok(messages) = template.normalize(&messages) else {
        return;
    };
    let input = PromptInput {
        messages,
        tools: Some(
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
        ),
        add_generation_prompt: true,
        variables: json!({"enable_thinking": false})
            .as_object()
            .cloned()
            .unwrap_or_default(),
        now: None,
    };
    let _ = template.render(&input);
    let _ = ReplyOptions::for_prompt(&template, &input);
});
