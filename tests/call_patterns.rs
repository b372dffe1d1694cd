//! What a call may look like in each family's own writing, by the schemas of the tools: what is allowed is read back as a call that obeys
//! them, and what does not obey them is not allowed.

use fanlight::chat::tools::{Callable, Format};
use fanlight::chat::{ReplyOptions, ReplyParser};
use fanlight::constrain::{Constraints, Grammar, Pattern};
use serde_json::{Value, json};

#[path = "support/random.rs"]
mod random;
#[path = "support/walk.rs"]
mod walk;
use random::Random;
use walk::Words;

fn tools() -> Value {
    let search = json!({"type": "object", "properties": {
        "query": {"type": "string", "maxLength": 8}, "limit": {"type": "integer", "minimum": 1, "maximum": 9},
        "exact": {"type": "boolean"}, "lang": {"anyOf": [{"enum": ["de", "en"]}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        "where": {"$ref": "#/$defs/place"}
    }, "required": ["query", "lang"], "additionalProperties": false, "$defs": {"place": {"type": "object", "properties":
        {"x": {"type": "integer", "minimum": 0, "maximum": 9}, "y": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["y"], "additionalProperties": false}}});
    json!([
        {"type": "function", "function": {"name": "search", "parameters": search}},
        {"type": "function", "function": {"name": "stop"}}
    ])
}

const FORMATS: [(Format, &str); 3] = [
    (Format::Gemma, "<|tool_call>"),
    (Format::Mistral, "[TOOL_CALLS]"),
    (Format::Lfm, "<|tool_call_start|>"),
];

/// A call as a whole; markers are spelled out, since this vocabulary has none of them.
fn grammar(format: Format, tools: &Value) -> Option<Grammar> {
    let text = |text: &str| Pattern::Text(text.to_string());
    let calls = format.pattern(&Callable::list(Some(tools)), false, text)?;
    let opening = calls.opening.map(text);
    Some(Grammar::Pattern(Pattern::Sequence(
        opening.into_iter().chain([calls.rest]).collect(),
    )))
}

fn words() -> Words {
    Words::load(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/tiny-chat-q8_0.gguf"))
}

#[test]
fn what_obeys_the_schemas_can_be_written_and_what_does_not_cannot() {
    let words = words();
    for (format, good, bad) in [
        (
            Format::Gemma,
            &[
                "<|tool_call>call:search{query:<|\"|>a \"b\"<|\"|>,lang:<|\"|>de<|\"|>}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|><|\"|>,limit:9,exact:true,lang:null,tags:[<|\"|>x<|\"|>,<|\"|>y<|\"|>],where:{x:1,y:2}}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>ü<|\"|>,lang:null,tags:[],where:{y:2}}<tool_call|>",
                "<|tool_call>call:stop{}<tool_call|>",
            ][..],
            &[
                "<|tool_call>call:search{lang:null}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>123456789<|\"|>,lang:null}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>a<|\"|>,lang:<|\"|>fr<|\"|>}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>a<|\"|>,limit:10,lang:null}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>a<|\"|>,lang:null,tags:[<|\"|>a<|\"|>,<|\"|>b<|\"|>,<|\"|>c<|\"|>]}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>a<|\"|>,lang:null,where:{x:1}}<tool_call|>",
                "<|tool_call>call:search{query:<|\"|>a<|\"|>lang:null}<tool_call|>",
                "<|tool_call>call:other{}<tool_call|>",
            ][..],
        ),
        (
            Format::Mistral,
            &[
                "[TOOL_CALLS]search[ARGS]{\"query\": \"a\", \"lang\": null}",
                "[TOOL_CALLS]search[CALL_ID]abc123XYZ[ARGS]{\"query\": \"a\", \"lang\": \"de\", \"where\": {\"y\": 1}}",
                "[TOOL_CALLS]stop[ARGS]{}",
                "[TOOL_CALLS][{\"name\": \"stop\", \"arguments\": {}, \"id\": \"abc123XYZ\"}]",
            ],
            &[
                "[TOOL_CALLS]search[ARGS]{\"lang\": null}",
                "[TOOL_CALLS]search[CALL_ID]abc[ARGS]{\"query\": \"a\", \"lang\": null}",
                "[TOOL_CALLS]other[ARGS]{}",
                "[TOOL_CALLS][]",
            ],
        ),
        (
            Format::Lfm,
            &[
                "<|tool_call_start|>[search(query=\"a\\n\\\"b\\\"\", lang=None)]<|tool_call_end|>",
                "<|tool_call_start|>[search(query=\"\", limit=3, exact=False, lang=\"en\", tags=[\"x\", \"y\"], where={\"x\": 1, \"y\": 2}), stop()]<|tool_call_end|>",
            ],
            &[
                "<|tool_call_start|>[search(lang=None)]<|tool_call_end|>",
                "<|tool_call_start|>[search(query=\"a\", exact=false, lang=None)]<|tool_call_end|>",
                "<|tool_call_start|>[search(query=\"a\", lang=None, where={\"y\": 10})]<|tool_call_end|>",
                "<|tool_call_start|>[]<|tool_call_end|>",
            ],
        ),
    ] {
        let grammar = grammar(format, &tools()).unwrap();
        for text in good {
            assert!(words.writes(&grammar, text).unwrap(), "{text}");
        }
        for text in bad {
            assert!(!words.writes(&grammar, text).unwrap(), "{text}");
        }
    }
}

/// Whatever a model without a plan would write.
#[test]
fn whatever_is_drawn_is_read_as_calls_that_obey_their_schemas() {
    let words = words();
    let mut random = Random::new(11);
    for (format, _) in FORMATS {
        let grammar = grammar(format, &tools()).unwrap();
        let mut searched = 0;
        for _ in 0..25 {
            let mut constraint = words.constraints.begin(&grammar).unwrap();
            let mut text: Vec<u8> = Vec::new();
            for drawn in 0.. {
                if constraint.is_complete() {
                    break;
                }
                let id = match constraint.ending(None, 400).filter(|_| drawn > 60) {
                    Some(ending) => match ending.first() {
                        Some(id) => *id,
                        None => break,
                    },
                    None => {
                        let allowed = constraint.allowed().unwrap();
                        let ids = (0..words.tokenizer.len() as u32)
                            .filter(|id| allowed[*id as usize / 32] >> (id % 32) & 1 == 1);
                        let ids: Vec<u32> = ids.collect();
                        ids[random.below(ids.len())]
                    }
                };
                if words.tokenizer.is_end_of_generation(id) {
                    break;
                }
                constraint.accept(id).unwrap();
                text.extend(words.tokenizer.token_bytes(id));
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut parser = ReplyParser::new(ReplyOptions {
                tool_format: Some(format),
                tools: Some(tools()),
                ..ReplyOptions::default()
            });
            let mut calls = Vec::new();
            for delta in [parser.push(&text), parser.finish()] {
                assert!(!delta.malformed_tool_call, "{text}");
                for call in delta.tool_calls {
                    call.join(&mut calls);
                }
            }
            assert!(!calls.is_empty(), "{text}");
            for call in calls {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                if call.name == "stop" {
                    assert_eq!(arguments, json!({}), "{text}");
                    continue;
                }
                searched += 1;
                let count = |value: &Value| value.as_str().unwrap().chars().count();
                assert!(call.name == "search" && count(&arguments["query"]) <= 8, "{text}");
                assert!(
                    [json!("de"), json!("en"), Value::Null].contains(&arguments["lang"]),
                    "{text}"
                );
                if let Some(limit) = arguments.get("limit") {
                    assert!((1..=9).contains(&limit.as_u64().unwrap()), "{text}");
                }
                if let Some(place) = arguments.get("where") {
                    assert!(place["y"].as_u64().unwrap() <= 9, "{text}");
                }
                if let Some(tags) = arguments.get("tags") {
                    assert!(tags.as_array().unwrap().len() <= 2, "{text}");
                }
            }
        }
        assert!(searched > 3, "{format:?}: {searched} searches");
    }
}

#[test]
fn what_a_notation_cannot_say_gives_no_pattern() {
    let tool = |schema: Value| json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let one = |schema: Value| {
        tool(json!({"type": "object", "properties": {"a": schema}, "additionalProperties": false}))
    };
    let node = json!({"type": "object", "properties": {"next": {"$ref": "#/properties/a"}}});
    for schema in [
        one(json!({"allOf": [{"type": "string"}]})),
        one(json!({"type": "object"})),
        one(json!({"type": "array"})),
        one(json!({"type": "integer", "minimum": 5, "anyOf": [{"type": "integer"}, {"type": "null"}]})),
        one(json!({"$ref": "#/$defs/b", "maxLength": 3})),
        one(json!({"enum": ["abc", "b"], "maxLength": 1})),
        one(json!({"type": "string", "enum": [1, 2]})),
        one(json!({})),
        one(node),
        tool(json!({"type": "object"})),
        tool(json!({"type": "object", "properties": {"a b:": {"type": "null"}}})),
        tool(json!({"type": "object", "properties": {}, "required": ["a"]})),
    ] {
        for format in [Format::Gemma, Format::Lfm] {
            assert!(grammar(format, &schema).is_none(), "{format:?}: {schema}");
        }
    }
    // A value that the type rules out is not among the choices.
    let words = words();
    let mixed = one(json!({"type": ["integer", "null"], "enum": ["x", 2, 2.5, null], "title": "Number"}));
    let gemma = grammar(Format::Gemma, &mixed).unwrap();
    for (value, allowed) in [
        ("2", true),
        ("null", true),
        ("2.5", false),
        ("<|\"|>x<|\"|>", false),
    ] {
        let call = format!("<|tool_call>call:f{{a:{value}}}<tool_call|>");
        assert_eq!(words.writes(&gemma, &call).unwrap(), allowed, "{call}");
    }
    assert!(grammar(Format::QwenXml, &tool(json!({"type": "object"}))).is_none());
}
