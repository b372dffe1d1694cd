//! Any generated text, cut anywhere, as a reply in each format of tool calls: the same parts however it was cut.

#![no_main]

use fanlight::chat::reasoning::FAMILIES;
use fanlight::chat::tools::Format;
use fanlight::chat::{Delta, ReplyOptions, ReplyParser};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const FORMATS: [Format; 7] = [
    Format::Hermes,
    Format::QwenXml,
    Format::Gemma,
    Format::Mistral,
    Format::Llama,
    Format::Lfm,
    Format::Nemotron,
];

fn parse(
    options: &ReplyOptions,
    pieces: impl Iterator<Item = String>,
) -> (String, String, Vec<(String, String)>) {
    let mut parser = ReplyParser::new(options.clone());
    let mut whole = Delta::default();
    let mut add = |delta: Delta| {
        whole.content += &delta.content;
        whole.reasoning += &delta.reasoning;
        for call in delta.tool_calls {
            call.join(&mut whole.tool_calls);
        }
    };
    for piece in pieces {
        add(parser.push(&piece));
    }
    add(parser.finish());
    let calls = whole
        .tool_calls
        .into_iter()
        .map(|call| (call.name, call.arguments))
        .collect();
    (whole.content, whole.reasoning, calls)
}

fuzz_target!(|input: (u8, u8, &str)| {
    let (format, cut, text) = input;
    let options = ReplyOptions {
        tool_format: Some(FORMATS[usize::from(format) % FORMATS.len()]),
        reasoning: FAMILIES.get(usize::from(format) / FORMATS.len()).copied(),
        tools: Some(
            json!([{"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "number"}}}}}]),
        ),
        ..ReplyOptions::default()
    };
    let chars: Vec<char> = text.chars().collect();
    let pieces = chars
        .chunks(usize::from(cut) % 7 + 1)
        .map(|piece| piece.iter().collect());
    assert_eq!(
        parse(&options, pieces),
        parse(&options, std::iter::once(text.to_owned()))
    );
});
