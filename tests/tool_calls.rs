//! Tool calls as the published templates write them: each is read back, however the text is cut.
//!
//! The expected renderings in `../shared/fixtures/templates` were made by Jinja2 from messages with known calls. What such a
//! template prints for an assistant's turn is what the model was trained to write, so it must parse to those calls.

use fanlight::chat::reasoning::FAMILIES as REASONING;
use fanlight::chat::tools::Format;
use fanlight::chat::{ChatTemplate, Delta, PromptInput, ReplyOptions, ReplyParser, Time};
use serde_json::{Value, json};

#[path = "support/random.rs"]
mod random;
use random::Random;

/// Template, format, and what comes before and after a turn of the assistant.
const FAMILIES: [(&str, Format, &str, &str); 14] = [
    (
        "Qwen-Qwen2.5-7B-Instruct",
        Format::Hermes,
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "Qwen-Qwen3-0.6B",
        Format::Hermes,
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "ibm-granite-granite-4.0",
        Format::Hermes,
        "<|start_of_role|>assistant<|end_of_role|>",
        "<|end_of_text|>",
    ),
    (
        "Qwen3.5-4B",
        Format::QwenXml,
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "Qwen3-Coder",
        Format::QwenXml,
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        Format::QwenXml,
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "google-gemma-4-31B-it",
        Format::Gemma,
        "<|turn>model\n",
        "<|tool_response>",
    ),
    (
        "google-gemma-4-31B-it-interleaved",
        Format::Gemma,
        "<|turn>model\n",
        "<turn|>",
    ),
    (
        "mistralai-Ministral-3-14B-Reasoning-2512",
        Format::Mistral,
        "[/INST]",
        "</s>",
    ),
    (
        "Mistral-Small-3.2-24B-Instruct-2506",
        Format::Mistral,
        "[/INST]",
        "</s>",
    ),
    (
        "unsloth-mistral-Devstral-Small-2507",
        Format::Mistral,
        "[/INST]",
        "</s>",
    ),
    (
        "mistralai-Mistral-Nemo-Instruct-2407",
        Format::Mistral,
        "[/INST]",
        "</s>",
    ),
    (
        "NVIDIA-Nemotron-Nano-v2",
        Format::Nemotron,
        "<SPECIAL_11>Assistant\n",
        "<SPECIAL_12>",
    ),
    (
        "meta-llama-Llama-3.2-3B-Instruct",
        Format::Llama,
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
];

/// The source of a template and its recorded cases, or nothing, with a line that says so.
fn fixture(name: &str) -> Option<(String, Vec<Value>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/templates");
    let Ok(source) = std::fs::read_to_string(format!("{folder}/{name}.jinja")) else {
        println!("SKIPPED: tool calls of {name} (../shared is absent)");
        return None;
    };
    let cases = std::fs::read(format!("{folder}/{name}.cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    Some((source, cases["cases"].as_array().unwrap().clone()))
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>", "</s>", &[]).unwrap()
}

fn parse(options: &ReplyOptions, pieces: &[&str]) -> Delta {
    let mut parser = ReplyParser::new(options.clone());
    let mut whole = Delta::default();
    let deltas: Vec<Delta> = pieces.iter().map(|piece| parser.push(piece)).collect();
    for delta in deltas.into_iter().chain([parser.finish()]) {
        whole.join(delta);
    }
    whole
}

/// The reply, which is the same at once, character by character, and in two pieces cut anywhere.
fn reply(options: &ReplyOptions, text: &str) -> Delta {
    let at_once = parse(options, &[text]);
    let cuts = || text.char_indices().map(|(at, _)| at);
    for at in cuts() {
        assert_eq!(
            parse(options, &[&text[..at], &text[at..]]),
            at_once,
            "{text:?} cut at {at}"
        );
    }
    let ends = cuts().skip(1).chain([text.len()]);
    let single: Vec<&str> = cuts().zip(ends).map(|(from, to)| &text[from..to]).collect();
    assert_eq!(parse(options, &single), at_once, "{text:?} by character");
    at_once
}

/// Name and arguments of each call.
fn calls(delta: &Delta) -> Vec<(String, Value)> {
    let one = |call: &fanlight::chat::ToolCallDelta| {
        let arguments = serde_json::from_str(&call.arguments).unwrap();
        (call.name.clone(), arguments)
    };
    delta.tool_calls.iter().map(one).collect()
}

/// The same, with the arguments as they are written.
fn written(delta: &Delta) -> Vec<(&str, &str)> {
    let calls = delta.tool_calls.iter();
    calls
        .map(|call| (call.name.as_str(), call.arguments.as_str()))
        .collect()
}

fn calls_of(message: &Value) -> Vec<(String, Value)> {
    let one = |call: &Value| {
        let function = &call["function"];
        (
            function["name"].as_str().unwrap().to_owned(),
            function["arguments"].clone(),
        )
    };
    message["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(one)
        .collect()
}

fn options_for(template: &ChatTemplate, case: &Value) -> ReplyOptions {
    ReplyOptions {
        reasoning: template.reasoning(),
        tool_format: template.tool_format(),
        tools: Some(case["tools"].clone()),
        ..ReplyOptions::default()
    }
}

#[test]
fn calls_of_published_templates_are_read_back() {
    for (name, format, before, after) in FAMILIES {
        let Some((source, cases)) = fixture(name) else {
            continue;
        };
        let template = template(&source);
        assert_eq!(template.tool_format(), Some(format), "{name}");
        let mut seen = 0;
        for case_name in [
            "tool_call_pending",
            "tool_reasoning_result",
            "tool_parallel_nested",
        ] {
            let case = cases.iter().find(|case| case["name"] == case_name).unwrap();
            let Some(output) = case["output"].as_str() else {
                continue; // Llama's template refuses parallel calls
            };
            let message = &case["messages"][1];
            let (_, turn) = output.rsplit_once("What is the weather in Zürich?").unwrap();
            let (_, turn) = turn
                .split_once(before)
                .unwrap_or_else(|| panic!("{name} {case_name}: {turn}"));
            let (turn, _) = turn
                .split_once(after)
                .unwrap_or_else(|| panic!("{name} {case_name}: {turn}"));
            let delta = reply(&options_for(&template, case), turn);
            assert_eq!(calls(&delta), calls_of(message), "{name} {case_name}: {turn:?}");
            assert!(!delta.malformed_tool_call, "{name} {case_name}");
            // Nothing of the markup is left over; templates differ in whether they print the rest.
            let content = message["content"].as_str().unwrap();
            assert!(
                ["", content].contains(&delta.content.as_str()),
                "{name} {case_name}: {delta:?}"
            );
            let thoughts = message["reasoning_content"].as_str().unwrap_or_default();
            assert!(
                ["", thoughts].contains(&delta.reasoning.as_str()),
                "{name} {case_name}: {delta:?}"
            );
            let ids: Vec<&str> = delta.tool_calls.iter().map(|call| call.id.as_str()).collect();
            let given: Vec<&str> = message["tool_calls"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["id"].as_str().unwrap())
                .collect();
            if turn.contains(given[0]) {
                assert_eq!(ids, given, "{name} {case_name}: the model's own ids");
            }
            seen += 1;
        }
        assert!(seen >= 2, "{name}");
    }
}

#[test]
fn a_template_that_prints_no_calls_gets_them_as_the_model_writes_them() {
    let Some((source, cases)) = fixture("LFM2.5-Instruct") else {
        return;
    };
    let template = template(&source);
    assert_eq!(template.tool_format(), Some(Format::Lfm));
    let case = cases
        .iter()
        .find(|case| case["name"] == "tool_parallel_nested")
        .unwrap();
    let input = PromptInput {
        messages: template.normalize(&case["messages"]).unwrap(),
        tools: Some(case["tools"].clone()),
        ..PromptInput::default()
    };
    let text = template.render_text(&input).unwrap();
    let turn = text.split_once("<|im_start|>assistant\n").unwrap().1;
    let turn = turn.split_once("<|im_end|>").unwrap().0;
    assert_eq!(
        turn,
        "Let me look.<|tool_call_start|>[search(query=\"line one\\nline \\\"two\\\" <b>\", limit=3, \
         filters={\"lang\": \"de\", \"year\": 2024}, tags=[\"a\", \"b c\"]), get_weather(city=\"Paris\")]<|tool_call_end|>"
    );
    let delta = reply(&options_for(&template, case), turn);
    assert_eq!(calls(&delta), calls_of(&case["messages"][1]));
    assert_eq!(delta.content, "Let me look.");
}

/// Name, then the arguments, as they appear while a text is written character by character.
fn appearing(options: &ReplyOptions, text: &str) -> Vec<String> {
    let mut parser = ReplyParser::new(options.clone());
    let mut seen: Vec<String> = Vec::new();
    let mut pieces = |delta: Delta| {
        for call in delta.tool_calls {
            if !call.id.is_empty() {
                seen.push(format!("{}:{}", call.index, call.name));
            }
            if !call.arguments.is_empty() {
                seen.push(call.arguments);
            }
            if call.malformed {
                seen.push(format!("not {}", call.index));
            }
        }
    };
    for c in text.chars() {
        pieces(parser.push(&c.to_string()));
    }
    pieces(parser.finish());
    seen
}

#[test]
fn a_call_appears_as_it_is_written() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
        "a": {"type": "string"}, "n": {"type": "integer"}}}}}]);
    let cases: &[(Format, &str, &[&str])] = &[
        // JSON as it is written, without the white space between its parts.
        (
            Format::Hermes,
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x y\", \"n\": 12}}\n</tool_call>",
            &[
                "0:f", "{", "\"", "a", "\"", ":", "\"", "x", " ", "y", "\"", ",", "\"", "n", "\"", ":", "12",
                "}",
            ],
        ),
        // Otherwise each argument when it is whole.
        (
            Format::QwenXml,
            "<tool_call>\n<function=f>\n<parameter=a>\nx\ny\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>\n\
             </tool_call>",
            &["0:f", "{\"a\":\"x\\ny\"", ",\"n\":3", "}"],
        ),
        (
            Format::Gemma,
            "<|tool_call>call:f{a:<|\"|>x<|\"|>,n:3,o:{b:[1]}}<tool_call|>",
            &["0:f", "{\"a\":\"x\"", ",\"n\":3", ",\"o\":{\"b\":[1]}", "}"],
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
            &["0:f", "{", "\"", "a", "\"", ":", "1}", "1:g", "{", "}"],
        ),
        (
            Format::Llama,
            "{\"name\": \"f\", \"parameters\": {\"n\": 1}}",
            &["0:f", "{", "\"", "n", "\"", ":", "1", "}"],
        ),
        // The first call of a list; the others with the end of the list.
        (
            Format::Lfm,
            "<|tool_call_start|>[f(a='x', n=3), g(n=1)]<|tool_call_end|>",
            &["0:f", "{\"a\":\"x\"", ",\"n\":3", "}", "1:g", "{\"n\":1}"],
        ),
        (
            Format::Nemotron,
            "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}, {\"name\": \"g\", \"arguments\": {}}]</TOOLCALL>",
            &["0:f", "{", "\"", "n", "\"", ":", "1", "}", "1:g", "{}"],
        ),
        // An id that comes last: nothing is told before.
        (
            Format::Mistral,
            "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"n\": 1}, \"id\": \"abc123XYZ\"}]",
            &["0:f", "{\"n\":1}"],
        ),
        // What was no call is taken back, its last bracket never told, and its index is not used again.
        (
            Format::Mistral,
            "[TOOL_CALLS]f[ARGS]{\"a\": x}[TOOL_CALLS]g[ARGS]{}",
            &["0:f", "{", "\"", "a", "\"", ":", "not 0", "1:g", "{", "}"],
        ),
        (
            Format::Hermes,
            "<tool_call>{\"name\": \"f\", \"arguments\": {}, \"name\": \"g\"}</tool_call>",
            &["0:f", "{", "not 0"],
        ),
        (
            Format::QwenXml,
            "<tool_call>\n<function=f>\n<parameter=n>\n3\n</parameter>\n",
            &["0:f", "{\"n\":3", "not 0"],
        ),
        // Code that is no call is not told at all.
        (Format::Llama, "<|python_tag|>print(1)", &[]),
    ];
    for (format, text, expected) in cases {
        let options = ReplyOptions {
            tool_format: Some(*format),
            tools: Some(tools.clone()),
            ..ReplyOptions::default()
        };
        assert_eq!(appearing(&options, text), *expected, "{text}");
        reply(&options, text);
    }
    // Among thoughts, only what turned out to be a call.
    let options = ReplyOptions {
        reasoning: Some(REASONING[2]),
        reasoning_open: true,
        tool_format: Some(Format::Hermes),
        ..ReplyOptions::default()
    };
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}";
    let talk = format!("Say {call}, or not.</think>\n");
    assert_eq!(appearing(&options, &talk), [""; 0]);
    assert_eq!(appearing(&options, &format!("{call}</tool_call>")), ["0:f", "{}"]);
}

#[test]
fn what_is_no_call_stays_text_and_is_flagged() {
    const W: &[(&str, &str)] = &[("w", "{\"city\":\"Bern\"}")];
    type Case = (
        Format,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        bool,
    );
    let cases: &[Case] = &[
        (
            Format::Gemma,
            "<|tool_call>call:w{city:Bern}<tool_call|>",
            "<|tool_call>call:w{city:Bern}<tool_call|>",
            &[],
            true,
        ),
        (
            Format::Gemma,
            "a <|tool_call>call:w{city:<|\"|>Bern<|\"|>}<tool_call|>",
            "a",
            W,
            false,
        ),
        // A marker inside a text does not end the call; a call whose end is missing is still one.
        (
            Format::Gemma,
            "<|tool_call>call:w{city:<|\"|>Bern<|\"|>}",
            "",
            W,
            false,
        ),
        (
            Format::Mistral,
            "Hm. [TOOL_CALLS]w[ARGS]{\"city\": \"Bern\"}",
            "Hm.",
            W,
            false,
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS]w[CALL_ID]x[ARGS]{\"city\": \"Bern\"} and more",
            "and more",
            W,
            false,
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS]w[ARGS]{\"city\": ",
            "[TOOL_CALLS]w[ARGS]{\"city\": ",
            &[],
            true,
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS]w[ARGS]{city: 1}",
            "[TOOL_CALLS]w[ARGS]{city: 1}",
            &[],
            true,
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS] no\ncall",
            "[TOOL_CALLS] no\ncall",
            &[],
            true,
        ),
        (
            Format::Llama,
            "{\"name\": \"w\", \"parameters\": {\"city\": \"Bern\"}}",
            "",
            W,
            false,
        ),
        (
            Format::Llama,
            "\n<|python_tag|>{\"name\": \"w\", \"parameters\": {\"city\": \"Bern\"}}",
            "",
            W,
            false,
        ),
        (Format::Llama, "<|python_tag|>w.call(city=\"Bern\")", "", W, false),
        (
            Format::Llama,
            "<|python_tag|>print(1)",
            "<|python_tag|>print(1)",
            &[],
            true,
        ),
        (
            Format::Llama,
            "{\"name\": \"Ada\", \"born\": 1815}",
            "{\"name\": \"Ada\", \"born\": 1815}",
            &[],
            false,
        ),
        (
            Format::Llama,
            "{\"answer\": {\"name\": 1}}",
            "{\"answer\": {\"name\": 1}}",
            &[],
            false,
        ),
        (
            Format::Llama,
            "{\"name\": \"w\", \"parameters\": 3}",
            "{\"name\": \"w\", \"parameters\": 3}",
            &[],
            true,
        ),
        (
            Format::Llama,
            "So: {\"name\": \"w\", \"parameters\": {}}",
            "So: {\"name\": \"w\", \"parameters\": {}}",
            &[],
            false,
        ),
        (
            Format::Lfm,
            "<|tool_call_start|>[w(city='Bern')]<|tool_call_end|>Checking.",
            "Checking.",
            W,
            false,
        ),
        (
            Format::Lfm,
            "<|tool_call_start|>w<|tool_call_end|>",
            "<|tool_call_start|>w<|tool_call_end|>",
            &[],
            true,
        ),
        (
            Format::Nemotron,
            "<TOOLCALL>[{\"name\": \"w\", \"arguments\": {\"city\": \"Bern\"}}]</TOOLCALL>\n",
            "",
            W,
            false,
        ),
        (
            Format::Nemotron,
            "<TOOLCALL>{w}</TOOLCALL>",
            "<TOOLCALL>{w}</TOOLCALL>",
            &[],
            true,
        ),
    ];
    for (format, text, content, expected, malformed) in cases {
        let options = ReplyOptions {
            tool_format: Some(*format),
            ..ReplyOptions::default()
        };
        let delta = reply(&options, text);
        assert_eq!(written(&delta), *expected, "{text}");
        assert_eq!(
            (delta.content.as_str(), delta.malformed_tool_call),
            (*content, *malformed),
            "{text}"
        );
    }
    // Two in a row, as Llama 3.2 writes them although it was told not to.
    let options = ReplyOptions {
        tool_format: Some(Format::Llama),
        ..ReplyOptions::default()
    };
    let one = "{\"name\": \"w\", \"parameters\": {\"city\": \"Bern\"}}";
    let delta = reply(&options, &format!("{one}; {one}"));
    assert_eq!(written(&delta), [W, W].concat());
    assert_ne!(delta.tool_calls[0].id, delta.tool_calls[1].id);
}

/// Whoever joins the pieces and does not look at `malformed` finds text that does not parse.
fn arguments_of_calls_taken_back_are_no_json(options: &ReplyOptions, text: &str) {
    let mut parser = ReplyParser::new(options.clone());
    let mut deltas: Vec<Delta> = text.chars().map(|c| parser.push(&c.to_string())).collect();
    deltas.push(parser.finish());
    let pieces = || deltas.iter().flat_map(|delta| &delta.tool_calls);
    for taken_back in pieces().filter(|piece| piece.malformed) {
        let same = pieces().filter(|piece| piece.index == taken_back.index);
        let joined: String = same.map(|piece| piece.arguments.as_str()).collect();
        assert!(
            serde_json::from_str::<Value>(&joined).is_err(),
            "{text:?}: {joined}"
        );
    }
}

/// Texts that are almost calls: characters lost, doubled, moved, and pieces of markup in the wrong places. Nothing panics, how
/// the text is cut changes nothing, arguments are always an object, and without a call no word is lost.
#[test]
fn damaged_calls_are_text_or_calls_and_nothing_else() {
    const SEEDS: [(Format, &str); 8] = [
        (
            Format::Hermes,
            "So:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x}\", \"b\": [1]}}\n</tool_call>",
        ),
        (
            Format::QwenXml,
            "<tool_call>\n<function=f>\n<parameter=a>\nZürich\n</parameter>\n</function>\n</tool_call>",
        ),
        (
            Format::Gemma,
            "<|tool_call>call:f{a:<|\"|>x}<|\"|>,b:{c:[1,true]}}<tool_call|>",
        ),
        (
            Format::Mistral,
            "Hm [TOOL_CALLS]f[CALL_ID]abc123XYZ[ARGS]{\"a\": \"é\"}[TOOL_CALLS]g[ARGS]{}",
        ),
        (
            Format::Mistral,
            "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abc123XYZ\"}]",
        ),
        (
            Format::Llama,
            "{\"name\": \"f\", \"parameters\": {\"a\": \"x\"}}; {\"name\": \"g\", \"parameters\": {}}",
        ),
        (
            Format::Lfm,
            "<|tool_call_start|>[f(a=\"x\", b=[1, {'k': None}]), g()]<|tool_call_end|> ok",
        ),
        (
            Format::Nemotron,
            "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]</TOOLCALL>\n",
        ),
    ];
    let mut random = Random::new(7);
    let mut below = |end: usize| random.below(end);
    for (format, seed) in SEEDS {
        let markers: Vec<&str> = format.markers().collect();
        for reasoning in [None, Some(REASONING[2])] {
            for _ in 0..300 {
                let mut text: Vec<char> = seed.chars().collect();
                for _ in 0..=below(4) {
                    let at = below(text.len().max(1));
                    match below(5) {
                        0 => drop(text.drain(at..(at + 1 + below(3)).min(text.len()))),
                        1 => text.insert(at, ['"', '{', '}', ']', '\n', '\\', 'é', '<'][below(8)]),
                        2 => drop(text.splice(at..at, markers[below(markers.len())].chars())),
                        3 => drop(text.splice(at..at, "</think>".chars())),
                        _ => text.truncate(at),
                    }
                }
                let text: String = text.into_iter().collect();
                let options = ReplyOptions {
                    reasoning,
                    reasoning_open: reasoning.is_some(),
                    tool_format: Some(format),
                    ..ReplyOptions::default()
                };
                let delta = parse(&options, &[&text]);
                let single: Vec<String> = text.chars().map(String::from).collect();
                let single: Vec<&str> = single.iter().map(String::as_str).collect();
                assert_eq!(parse(&options, &single), delta, "{format:?} {text:?}");
                for (_, arguments) in calls(&delta) {
                    assert!(arguments.is_object(), "{format:?} {text:?}");
                }
                arguments_of_calls_taken_back_are_no_json(&options, &text);
                if delta.tool_calls.is_empty() && reasoning.is_none() {
                    let trimmed = |text: &str| text.split_whitespace().collect::<String>();
                    assert_eq!(trimmed(&delta.content), trimmed(&text), "{format:?} {text:?}");
                }
            }
        }
    }
}

#[test]
fn tools_given_without_a_known_format_are_no_reason_to_fail() {
    let template = template("{% for m in messages %}{{ m.content }}{% endfor %}");
    let input = PromptInput {
        messages: json!([{"role": "user", "content": "hi"}]),
        tools: Some(json!([{"type": "function", "function": {"name": "f"}}])),
        now: Some(Time::from_unix(0, 0).unwrap()),
        ..PromptInput::default()
    };
    let options = ReplyOptions::for_prompt(&template, &input).unwrap();
    assert_eq!(options.tool_format, None);
    assert_eq!(reply(&options, "<tool_call>x").content, "<tool_call>x");
}
