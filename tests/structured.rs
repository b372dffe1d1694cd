//! Constrained answers: what the constraint says, whatever the model would have said.

use fanlight::Kind;
use fanlight::model::Options;
use fanlight::session::{FinishReason, Output, Request};
use serde_json::{Value, json};

#[path = "support/engine.rs"]
mod engine;

use engine::{Engine, chat, json_file, never, project, request, shared, tiny_chat};

fn receipt() -> Value {
    json!({
        "type": "object",
        "properties": {
            "shop": {"type": "string", "maxLength": 20},
            "currency": {"enum": ["EUR", "CHF", "USD"]},
            "total": {"type": "number", "minimum": 0, "maximum": 1000},
            "items": {"type": "array", "maxItems": 3, "items": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 10}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
                "required": ["name", "count"], "additionalProperties": false
            }}
        },
        "required": ["shop", "currency", "total", "items"],
        "additionalProperties": false
    })
}

/// A request for a chat about nothing, with these fields besides.
fn ask(fields: Value) -> Request {
    let mut all = json!({"messages": [{"role": "user", "content": "Read this: 3 apples, 2.50"}], "sampling": {"temperature": 0}});
    all.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    request(all)
}

fn is_receipt(text: &str) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let items = value["items"].as_array().unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys == ["shop", "currency", "total", "items"]
        && value["shop"].as_str().unwrap().chars().count() <= 20
        && ["EUR", "CHF", "USD"].contains(&value["currency"].as_str().unwrap())
        && (0.0..=1000.0).contains(&value["total"].as_f64().unwrap())
        && items.len() <= 3
        && items
            .iter()
            .all(|item| item["name"].is_string() && (1..=9).contains(&item["count"].as_u64().unwrap()))
}

#[test]
fn a_schema_is_obeyed_at_any_temperature_and_in_any_number_of_shards() {
    for shards in [1, 2] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        for seed in 0..12 {
            let output = engine
                .run(
                    ask(json!({"constraint": {"schema": receipt()}, "sampling": {"temperature": 1.5, "top_k": 0, "min_p": 0, "seed": seed}})),
                    never,
                )
                .unwrap();
            assert!(is_receipt(&output.text), "{}", output.text);
            assert_eq!(output.finish_reason, Some(FinishReason::Stop));
            assert!(output.forced > 10, "{} tokens were forced", output.forced);
            let confidence = output.confidence.unwrap();
            assert!(confidence > 0.0 && confidence < 1.0, "{confidence}");
        }
    }
}

#[test]
fn the_answer_is_the_same_however_it_is_computed() {
    for shards in [1, 2, 3] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        let mut run = |fields: Value| {
            let mut request = ask(fields);
            request.constraint = ask(json!({"constraint": {"schema": receipt()}})).constraint;
            engine.run(request, never).unwrap()
        };
        let fast = run(json!({}));
        assert!(fast.forced > 10);
        // What nobody could choose was forced, what the model chose was not. Places count as in JavaScript.
        let units: Vec<u16> = fast.text.encode_utf16().collect();
        let forced: Vec<String> = fast
            .forced_text
            .iter()
            .map(|&[from, to]| String::from_utf16(&units[from..to]).unwrap())
            .collect();
        assert!(forced[0].starts_with("{\"shop\":"), "{forced:?}");
        assert!(
            forced.iter().any(|part| part.contains("\"items\": [")),
            "{forced:?}"
        );
        assert!(
            fast.forced_text.is_sorted_by(|a, b| a[1] <= b[0]),
            "{:?}",
            fast.forced_text
        );
        let total: Value = serde_json::from_str(&fast.text).unwrap();
        assert!(!forced.concat().contains(&total["total"].to_string()));
        assert!(
            fast.skipped_rows > 1000,
            "{} rows were skipped",
            fast.skipped_rows
        );
        for fields in [
            json!({"noFastForward": true}),
            json!({"allRows": true}),
            json!({"noFastForward": true, "allRows": true}),
            json!({"logprobs": true}),
            json!({"speculation": false}),
            json!({"noFastForward": true, "allRows": true, "speculation": false}),
        ] {
            let slow = run(fields.clone());
            assert_eq!(slow.tokens, fast.tokens, "{fields}");
            assert_eq!(slow.text, fast.text, "{fields}");
        }
        let drawn = run(json!({"noFastForward": true, "allRows": true}));
        assert_eq!(
            (drawn.forced, drawn.forced_text.len(), drawn.skipped_rows),
            (0, 0, 0)
        );
    }
}

/// Tokens guessed and verified together, tokens forced, rows left out: whichever are on, greedy answers are the same.
#[test]
fn drafts_do_not_change_what_a_constraint_lets_through() {
    let (mut drafted, mut skipped) = ([0, 0], 0);
    let mut engine = Engine::load(&tiny_chat(), 2, Options::default()).unwrap();
    for constraint in [
        json!({"regex": "(one two three four five\\. ){6}"}),
        json!({"schema": {"type": "array", "minItems": 8, "maxItems": 8, "items": {
            "type": "object", "properties": {"colour": {"enum": ["red", "green", "blue"]}, "text": {"type": "string", "maxLength": 24}},
            "required": ["colour", "text"], "additionalProperties": false
        }}}),
    ] {
        let mut answers: Vec<Output> = Vec::new();
        for (fast, rows, drafts) in [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)] {
            let fields = json!({
                "constraint": constraint, "maxTokens": 400,
                "noFastForward": fast == 0, "allRows": rows == 0, "speculation": drafts == 1
            });
            let output = engine.run(ask(fields), never).unwrap();
            assert_eq!(output.forced > 0, fast == 1);
            assert!(rows == 1 || output.skipped_rows == 0);
            skipped += output.skipped_rows;
            assert!(drafts == 1 || output.drafted == 0);
            drafted[0] += output.drafted;
            drafted[1] += output.accepted;
            answers.push(output);
        }
        for other in &answers[1..] {
            assert_eq!(other.tokens, answers[0].tokens, "{}", answers[0].text);
            assert_eq!(other.text, answers[0].text);
            assert_eq!(other.finish_reason, answers[0].finish_reason);
        }
    }
    assert!(skipped > 1000, "{skipped} rows were skipped");
    assert!(drafted[1] > 20, "{drafted:?}: too few drafts to tell");
}

#[test]
fn json_is_whole_even_where_few_tokens_are_left() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let mut cut = 0;
    for max_tokens in (60..160).step_by(4) {
        let fields = json!({
            "constraint": {"schema": receipt()}, "maxTokens": max_tokens,
            "sampling": {"temperature": 1.5, "top_k": 0, "min_p": 0, "seed": max_tokens}
        });
        let output = engine.run(ask(fields), never).unwrap();
        assert!(output.tokens.len() <= max_tokens);
        // 60 tokens are more than a short receipt needs in this vocabulary.
        assert!(is_receipt(&output.text), "{max_tokens}: {}", output.text);
        cut += usize::from(output.finish_reason == Some(FinishReason::Length));
    }
    assert!(cut > 5, "{cut} answers were cut short");
    // And where no answer fits, what fits is there.
    let output = engine
        .run(
            ask(json!({"constraint": {"schema": receipt()}, "maxTokens": 5})),
            never,
        )
        .unwrap();
    assert_eq!(output.finish_reason, Some(FinishReason::Length));
    assert!(output.text.starts_with("{\"shop\""), "{}", output.text);
}

#[test]
fn expressions_and_grammars_and_what_leaves_no_choice() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let mut run = |constraint: Value| engine.run(ask(json!({"constraint": constraint})), never).unwrap();
    let date = run(json!({"regex": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}));
    assert_eq!(date.text.len(), 10, "{}", date.text);
    let sum = run(json!({"lark": "start: NUMBER \" + \" NUMBER \" = \" NUMBER\nNUMBER: /[0-9]{1,3}/\n"}));
    assert_eq!(
        sum.text.split(" = ").next().unwrap().split(" + ").count(),
        2,
        "{}",
        sum.text
    );
    // Nothing is computed at all.
    let only = run(json!({"schema": {"const": {"a": [1, true]}}}));
    assert_eq!(only.text, "{\"a\": [1, true]}");
    assert_eq!(only.forced, only.tokens.len());
    assert_eq!(only.forced_text, [[0, only.text.len()]]);
    assert_eq!(only.finish_reason, Some(FinishReason::Stop));
    assert!(only.prompt_tokens.unwrap() > 1);
    // The conversation goes on as if nothing had happened.
    assert!(is_receipt(&run(json!({"schema": receipt()})).text));
}

#[test]
fn what_cannot_be_a_constraint_is_refused_before_the_first_token() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let mut deep = json!({"type": "string"});
    for _ in 0..500 {
        deep = json!({"type": "array", "items": deep});
    }
    let chain: serde_json::Map<String, Value> = (0..4000)
        .map(|n| {
            (
                format!("n{n}"),
                json!({"type": "array", "items": {"$ref": format!("#/$defs/n{}", (n + 1) % 4000)}}),
            )
        })
        .collect();
    let wide: serde_json::Map<String, Value> = (0..30_000)
        .map(|n| (format!("p{n}"), json!({"type": "string"})))
        .collect();
    for (schema, says) in [
        (
            json!({"type": "object", "properties": {"a": {"not": {}}}}),
            "#/properties/a/not: the keyword is not supported",
        ),
        (json!({"type": "array", "uniqueItems": true}), "uniqueItems"),
        (json!({"type": "strnig"}), "#/type: expected"),
        (json!({"type": "string", "minLength": -1}), "minLength"),
        (json!({"enum": []}), "enum"),
        (json!(3), "expected a schema"),
        (json!(false), "no finite value"),
        (json!({"$ref": "#/$defs/nothing"}), "leads nowhere"),
        (
            json!({"$ref": "https://example.org/schema"}),
            "not inside this schema",
        ),
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}),
            "without end",
        ),
        (json!({"$ref": "#"}), "without end"),
        (
            json!({"type": "integer", "minimum": 5, "maximum": 4}),
            "constraint",
        ),
        (json!({"type": "string", "pattern": "(?<=a)b"}), "constraint"),
        (json!({"type": "string", "pattern": "("}), "constraint"),
        (json!({"oneOf": [{"type": "string"}, {"minLength": 2}]}), "oneOf"),
        (json!({"const": 9007199254740993_i64}), "2^53"),
        (json!({"type": "string", "format": "made-up"}), "format"),
        (deep, "deep"),
        (
            json!({"$defs": chain, "$ref": "#/$defs/n0"}),
            "inside one another",
        ),
        (json!({"type": "object", "properties": wide}), "at most"),
        (json!({"$ref": "#/\u{e9}".repeat(80)}), "leads nowhere"),
    ] {
        let error = engine
            .run(ask(json!({"constraint": {"schema": schema}})), never)
            .unwrap_err();
        assert_eq!(error.kind, Kind::Schema, "{error}");
        assert!(error.message.contains(says), "{says}: {error}");
        assert!(error.message.len() < 2000, "{error}");
    }
    for constraint in [
        json!({"regex": "("}),
        json!({"regex": ""}),
        json!({"regex": "a{2,1}"}),
        json!({"lark": "start: nothing_like_it"}),
        json!({"lark": "\u{e9}\u{e9}\u{e9}"}),
        json!({"lark": "start: start"}),
    ] {
        let error = engine
            .run(ask(json!({"constraint": constraint})), never)
            .unwrap_err();
        assert_eq!(error.kind, Kind::Schema, "{constraint}: {error}");
    }
    // Recursion that ends is welcome.
    let tree = json!({"$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer", "maximum": 99, "minimum": 0},
        "kids": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/node"}}}, "required": ["v", "kids"], "additionalProperties": false}},
        "$ref": "#/$defs/node"});
    let output = engine
        .run(
            ask(json!({"constraint": {"schema": tree}, "maxTokens": 200})),
            never,
        )
        .unwrap();
    assert!(
        serde_json::from_str::<Value>(&output.text).unwrap()["v"].is_u64(),
        "{}",
        output.text
    );
}

fn weather() -> Value {
    json!([
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
            "properties": {"city": {"type": "string", "maxLength": 30}, "days": {"type": "integer", "minimum": 1, "maximum": 7},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "days"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}}
    ])
}

fn are_calls(output: &Output) -> bool {
    !output.tool_calls.is_empty()
        && output.tool_calls.iter().all(|call| {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            match call.name.as_str() {
                "stop" => arguments == json!({}),
                "get_weather" => {
                    arguments["city"].is_string()
                        && (1..=7).contains(&arguments["days"].as_u64().unwrap())
                        && ["null", "\"celsius\"", "\"fahrenheit\""]
                            .contains(&arguments["unit"].to_string().as_str())
                }
                _ => false,
            }
        })
}

#[test]
fn a_call_is_made_where_one_must_be_and_its_arguments_obey_the_schema() {
    // Trained to recite other conversations: of their own accord they would never call these tools.
    for name in ["recital-qwen3", "recital-qwen35"] {
        let Some(path) = shared(&format!("models/{name}-q8_0.gguf")) else {
            return;
        };
        let mut engine = Engine::load(&path, 1, Options::default()).unwrap();
        for thinking in [false, true] {
            for seed in 0..2 {
                let fields = json!({
                    "tools": weather(), "toolChoice": "required", "maxTokens": 200, "thinkingBudget": 20,
                    "templateVariables": {"enable_thinking": thinking},
                    "sampling": {"temperature": 1.2, "top_k": 0, "min_p": 0, "seed": seed}
                });
                let output = engine.run(ask(fields), never).unwrap();
                assert!(are_calls(&output), "{name}: {output:?}");
                assert!(!output.malformed_tool_call);
            }
        }
        let fields = json!({"tools": weather(), "toolChoice": {"named": "stop"}, "oneCall": true, "templateVariables": {"enable_thinking": false}});
        let output = engine.run(ask(fields), never).unwrap();
        assert_eq!(output.tool_calls.len(), 1);
        assert_eq!(output.tool_calls[0].name, "stop");
        assert_eq!(output.finish_reason, Some(FinishReason::ToolCalls));

        let unknown = json!({"tools": weather(), "toolChoice": {"named": "fly"}});
        assert_eq!(
            engine.run(ask(unknown), never).unwrap_err().kind,
            Kind::InvalidArgument
        );
        let bad = json!([{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"not": {}}}}]);
        assert_eq!(
            engine.run(ask(json!({"tools": bad})), never).unwrap_err().kind,
            Kind::Schema
        );
    }
}

/// A model that recites, and one of the conversations that it knows by heart; nothing where the fixtures are absent.
fn recital(name: &str, item: &str) -> Option<(Engine, Value)> {
    let expected = json_file(&shared(&format!("models/{name}.expected.json"))?);
    let items = expected["items"].as_array().unwrap();
    let item = items.iter().find(|each| each["name"] == item).unwrap();
    let path = project(&format!("../shared/fixtures/models/{name}-q8_0.gguf"));
    let engine = Engine::load(&path, 1, Options::default()).unwrap();
    Some((engine, item.clone()))
}

#[test]
fn a_call_of_its_own_accord_is_held_to_the_schema_once_it_has_begun() {
    let mut calls = 0;
    for name in ["recital-qwen3", "recital-qwen35"] {
        let Some((mut engine, item)) = recital(name, "tool") else {
            return;
        };
        // The call is known by heart, for Paris in celsius: that would break each of these schemas.
        for (field, values) in [
            ("unit", ["kelvin", "rankine"]),
            ("unit", ["cel", "fah"]),
            ("city", ["Rome", "Oslo"]),
            ("city", ["Pa", "Parisienne"]),
        ] {
            let mut request = chat(&item);
            let tools = request.tools.as_mut().unwrap();
            tools[0]["function"]["parameters"]["properties"][field]["enum"] = json!(values);
            let output = engine.run(request, never).unwrap();
            for call in &output.tool_calls {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                let value = &arguments[field];
                assert!(
                    value.is_null() || values.contains(&value.as_str().unwrap()),
                    "{name}: {call:?}"
                );
                calls += 1;
            }
        }
    }
    assert!(calls > 0, "no model made a call");
}

#[test]
fn thoughts_are_free_and_the_answer_after_them_is_not() {
    for name in ["recital-qwen3", "recital-qwen35"] {
        let Some((mut engine, item)) = recital(name, "think") else {
            return;
        };
        let free = engine.run(chat(&item), never).unwrap();
        let mut request = chat(&item);
        request.constraint = ask(json!({"constraint": {"schema": {"enum": ["yes", "no"]}}})).constraint;
        let held = engine.run(request, never).unwrap();
        assert_eq!(held.reasoning, free.reasoning);
        assert!(
            ["\"yes\"", "\"no\""].contains(&held.text.as_str()),
            "{}",
            held.text
        );
        // A grammar knows nothing of the line breaks that come with the end of thoughts.
        for budget in [0, 3] {
            let mut request = chat(&item);
            let fields = json!({"constraint": {"lark": "start: \"yes\" | \"no\""}, "thinkingBudget": budget});
            let fields = ask(fields);
            (request.constraint, request.thinking_budget) = (fields.constraint, fields.thinking_budget);
            let held = engine.run(request, never).unwrap();
            assert!(
                ["yes", "no"].contains(&held.text.as_str()),
                "{name}, {budget}: {}",
                held.text
            );
        }
    }
}

#[test]
fn a_marker_in_thoughts_is_talk() {
    for name in ["recital-qwen3", "recital-qwen35"] {
        let Some(path) = shared(&format!("models/{name}-q8_0.gguf")) else {
            return;
        };
        let mut engine = Engine::load(&path, 1, Options::default()).unwrap();
        let marker = engine.0[0].tokenizer().unwrap().encode("<tool_call>", true);
        assert_eq!(marker.len(), 1);
        let bias = json!({ marker[0].to_string(): 1000 });
        // Only Qwen 3.5's template opens the thoughts itself.
        for thinking in [false, name == "recital-qwen35"] {
            let fields = json!({
                "tools": weather(), "maxTokens": 60, "templateVariables": {"enable_thinking": thinking},
                "sampling": {"temperature": 0, "logit_bias": bias}
            });
            let output = engine.run(ask(fields), never).unwrap();
            // Outside of thoughts the same marker begins a call that obeys the schemas.
            assert_eq!(are_calls(&output), !thinking, "{name}: {output:?}");
        }
    }
}

#[test]
fn one_call_at_most_ends_the_answer() {
    for name in ["recital-qwen3", "recital-qwen35"] {
        let Some((mut engine, item)) = recital(name, "tool") else {
            return;
        };
        for one_call in [false, true] {
            let mut request = chat(&item);
            (request.one_call, request.ignore_end, request.max_tokens) = (one_call, true, Some(200));
            let output = engine.run(request, never).unwrap();
            assert!(!output.tool_calls.is_empty());
            let ended = output.finish_reason == Some(FinishReason::ToolCalls);
            assert_eq!(ended, one_call, "{name}: {output:?}");
        }
    }
}
