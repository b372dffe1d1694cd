//! Generated text, cut anywhere, into answer, reasoning and tool calls.

use fanlight::chat::reasoning::FAMILIES;
use fanlight::chat::tools::Format;
use fanlight::chat::{Delta, Reasoning, ReplyOptions, ReplyParser};
use serde_json::json;

const THINK: Option<Reasoning> = Some(FAMILIES[2]);
const GEMMA: Option<Reasoning> = Some(FAMILIES[0]);

/// The whole reply when `text` arrives in pieces of `size` characters.
fn parse(options: &ReplyOptions, text: &str, size: usize) -> Delta {
    let mut parser = ReplyParser::new(options.clone());
    let mut whole = Delta::default();
    let chars: Vec<char> = text.chars().collect();
    for piece in chars.chunks(size) {
        whole.join(parser.push(&piece.iter().collect::<String>()));
    }
    whole.join(parser.finish());
    whole
}

/// Content, reasoning, calls as `name(arguments)`, and whether something was malformed: the same for all cuts.
fn reply(options: &ReplyOptions, text: &str) -> (String, String, Vec<String>, bool) {
    let at_once = parse(options, text, usize::MAX);
    for size in [1, 2, 3, 5, 7, 11, 13] {
        assert_eq!(
            parse(options, text, size),
            at_once,
            "{text:?} in pieces of {size}"
        );
    }
    let calls = at_once
        .tool_calls
        .iter()
        .map(|call| format!("{}({})", call.name, call.arguments))
        .collect();
    (
        at_once.content,
        at_once.reasoning,
        calls,
        at_once.malformed_tool_call,
    )
}

#[test]
fn reasoning_is_told_from_the_answer() {
    let closed = ReplyOptions {
        reasoning: THINK,
        ..ReplyOptions::default()
    };
    let open = ReplyOptions {
        reasoning_open: true,
        ..closed.clone()
    };
    let gemma = ReplyOptions {
        reasoning: GEMMA,
        ..ReplyOptions::default()
    };
    for (options, text, content, reasoning) in [
        (
            &closed,
            "<think>\nfirst\n\nsecond\n</think>\n\nThe answer.\n",
            "The answer.\n",
            "first\n\nsecond",
        ),
        (&closed, "<think>\n\n</think>\n\nHi", "Hi", ""),
        (&closed, "\n<think>x</think>y", "y", "x"),
        (&closed, "  plain < text\n", "  plain < text\n", ""),
        (
            &closed,
            "The <think> tag opens, </think> closes.",
            "The <think> tag opens, </think> closes.",
            "",
        ),
        (&closed, "<thin ice>", "<thin ice>", ""),
        (&closed, "<think>never closed </thin", "", "never closed </thin"),
        (&closed, "", "", ""),
        (&open, "a plan\n</think>\n\nDone", "Done", "a plan"),
        (&open, "</think>\n\nDone", "Done", ""),
        (&open, "\n\n", "", ""),
        (&gemma, "<|channel>thought\nhm\n<channel|>Yes", "Yes", "hm"),
        (&gemma, "Yes <|channel>thought\nhm<channel|>no", "Yes no", "hm"),
        (&gemma, "<|channel>other", "<|channel>other", ""),
    ] {
        assert_eq!(
            reply(options, text),
            (content.into(), reasoning.into(), vec![], false),
            "{text:?}"
        );
    }
    // Without a family, markers are text.
    let none = ReplyOptions::default();
    assert_eq!(reply(&none, "<think>a</think> b ").0, "<think>a</think> b ");
}

#[test]
fn hermes_calls_are_taken_out_of_the_text() {
    let options = ReplyOptions {
        tool_format: Some(Format::Hermes),
        ..ReplyOptions::default()
    };
    let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>";
    let cases: &[(&str, &str, &[&str], bool)] = &[
        (call, "", &["f({\"x\":1})"], false),
        (
            &format!("Let me look.\n\n{call}\n{call}\n"),
            "Let me look.",
            &["f({\"x\":1})", "f({\"x\":1})"],
            false,
        ),
        (&format!("{call}\n\nDone."), "Done.", &["f({\"x\":1})"], false),
        // The closing marker inside an argument does not end the call.
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"a</tool_call>b\"}}</tool_call>",
            "",
            &["f({\"x\":\"a</tool_call>b\"})"],
            false,
        ),
        // The model stopped before the closing marker.
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n",
            "",
            &["f({})"],
            false,
        ),
        (
            "<tool_call>\n{\"name\": \"f\", \"argu",
            "<tool_call>\n{\"name\": \"f\", \"argu",
            &[],
            true,
        ),
        (
            "a <tool_call>not json</tool_call> b",
            "a <tool_call>not json</tool_call> b",
            &[],
            true,
        ),
        (
            &format!("<tool_call>\n{call}"),
            "<tool_call>",
            &["f({\"x\":1})"],
            true,
        ),
        ("a < b <tool", "a < b <tool", &[], false),
        ("plain \n", "plain \n", &[], false),
    ];
    for (text, content, calls, malformed) in cases {
        let expected = (
            content.to_string(),
            String::new(),
            calls.iter().map(|c| c.to_string()).collect(),
            *malformed,
        );
        assert_eq!(reply(&options, text), expected, "{text:?}");
    }
}

#[test]
fn a_call_ends_reasoning_and_talk_about_calls_does_not() {
    let options = ReplyOptions {
        reasoning: THINK,
        reasoning_open: true,
        tool_format: Some(Format::Hermes),
        ..ReplyOptions::default()
    };
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    let (content, reasoning, calls, malformed) = reply(&options, &format!("I need f.\n{call}"));
    assert_eq!(
        (content.as_str(), reasoning.as_str(), calls.len(), malformed),
        ("", "I need f.", 1, false)
    );

    let (content, reasoning, calls, malformed) = reply(&options, &format!("plan\n</think>\n\nOk.\n{call}"));
    assert_eq!(
        (content.as_str(), reasoning.as_str(), calls.len(), malformed),
        ("Ok.", "plan", 1, false)
    );

    let talk = "I could write <tool_call> here.\n</think>\nNo.";
    let (content, reasoning, calls, malformed) = reply(&options, talk);
    assert_eq!(reasoning, "I could write <tool_call> here.");
    assert_eq!((content.as_str(), calls.len(), malformed), ("No.", 0, true));
}

#[test]
fn tagged_calls_of_qwen35() {
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]);
    let options = ReplyOptions {
        reasoning: THINK,
        reasoning_open: true,
        tool_format: Some(Format::QwenXml),
        tools: Some(tools),
        ..ReplyOptions::default()
    };
    let inner = "<function=get_weather>\n<parameter=city>\nZürich\n</parameter>\n<parameter=days>\n3\n</parameter>\n\
        </function>\n</tool_call>";
    let expected = vec!["get_weather({\"city\":\"Zürich\",\"days\":3})".to_owned()];
    for opening in ["<tool_call>\n", ""] {
        let text = format!("The user asks.\n</think>\n\n{opening}{inner}");
        assert_eq!(
            reply(&options, &text),
            ("".into(), "The user asks.".into(), expected.clone(), false)
        );
    }
    let broken = "</think>\n\n<function=get_weather>\nhello</tool_call>";
    assert_eq!(
        reply(&options, broken).0,
        "<function=get_weather>\nhello</tool_call>"
    );
}

#[test]
fn calls_have_distinct_ids_of_nine_characters() {
    let mut options = ReplyOptions {
        tool_format: Some(Format::Hermes),
        ..ReplyOptions::default()
    };
    let text = "<tool_call>{\"name\": \"f\"}</tool_call>".repeat(3);
    let mut ids: Vec<String> = parse(&options, &text, 4)
        .tool_calls
        .into_iter()
        .map(|call| call.id)
        .collect();
    options.id_salt = 1;
    ids.extend(
        parse(&options, &text, 4)
            .tool_calls
            .into_iter()
            .map(|call| call.id),
    );
    assert!(
        ids.iter()
            .all(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric())),
        "{ids:?}"
    );
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
