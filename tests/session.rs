//! Whole requests: prompt in, answer out, over one shard and over several driven by hand, against recorded answers of
//! independent implementations.

use fanlight::Kind;
use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::session::{FinishReason, Request};
use serde_json::{Value, json};

#[path = "support/engine.rs"]
mod engine;

use engine::{Engine, chat, greedy, ids, json_file, never, project, recites, request, shared, tiny_chat};

#[test]
fn the_tiny_chat_model_answers_word_for_word() {
    let expected = json_file(&project("tests/golden/tiny-chat.expected.json"));
    let chats = expected["chats"].as_array().unwrap();
    assert!(chats.len() >= 12);
    for shards in [1, 2, 3] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        recites(&mut engine, chats);
    }
}

#[test]
fn the_recital_models_recite_fourteen_chats() {
    for name in ["recital-qwen3", "recital-qwen35"] {
        for (ty, shards) in [("f16", 1), ("q8_0", 2), ("q4_k_m", 1)] {
            let Some(path) = shared(&format!("models/{name}-{ty}.gguf")) else {
                return;
            };
            let expected = json_file(&path.with_file_name(format!("{name}.expected.json")));
            let items = expected["items"].as_array().unwrap();
            assert_eq!(items.len(), 14);
            recites(
                &mut Engine::load(&path, shards, Options::default()).unwrap(),
                items,
            );
        }
    }
}

#[test]
fn thoughts_end_when_their_budget_is_used_up() {
    for (name, opens_itself) in [("recital-qwen3", true), ("recital-qwen35", false)] {
        let Some(expected) = shared(&format!("models/{name}.expected.json")) else {
            continue;
        };
        let expected = json_file(&expected);
        let item = expected["items"].as_array().unwrap().iter();
        let item = item.clone().find(|item| item["name"] == "think").unwrap();
        let path = project(&format!("../shared/fixtures/models/{name}-q8_0.gguf"));
        let Ok(mut engine) = Engine::load(&path, 1, Options::default()) else {
            println!("SKIPPED: thinking budget with {name} (its architecture is not there)");
            continue;
        };
        let free = engine.run(chat(item), never).unwrap();
        assert_eq!(free.tokens, ids(&item["reply_ids"]));
        let closing = engine.0[0].tokenizer().unwrap().encode("\n</think>\n\n", true);
        let opening = usize::from(opens_itself);
        for budget in [1, 2, 9] {
            let request = Request {
                thinking_budget: Some(budget),
                ..chat(item)
            };
            let cut = engine.run(request.clone(), never).unwrap();
            let thoughts = opening + budget;
            assert_eq!(cut.tokens[..thoughts], free.tokens[..thoughts], "{name} {budget}");
            assert_eq!(
                cut.tokens[thoughts..][..closing.len()],
                closing,
                "{name} {budget}"
            );
            assert!(
                free.reasoning.starts_with(&cut.reasoning),
                "{name} {budget}: {}",
                cut.reasoning
            );
            assert!(cut.reasoning.len() < free.reasoning.len());
            assert!(!cut.text.is_empty(), "{name} {budget}");
            // What follows is what the model says to these tokens, when they are its prompt.
            let known = cut.prompt_tokens.unwrap();
            let prompt: Vec<u32> = ids(&item["prompt_ids"])
                .into_iter()
                .chain(cut.tokens[..thoughts + closing.len()].iter().copied())
                .collect();
            assert_eq!(known, ids(&item["prompt_ids"]).len());
            let said = request_tokens(&mut engine, prompt, cut.tokens.len() - thoughts - closing.len());
            assert_eq!(cut.tokens[thoughts + closing.len()..], said, "{name} {budget}");
            // In the middle of the closing tokens, there may be no room for more.
            let short = Request {
                max_tokens: Some(thoughts + 1),
                ..request
            };
            let short = engine.run(short, never).unwrap();
            assert_eq!(short.finish_reason, Some(FinishReason::Length));
            assert_eq!(short.tokens, cut.tokens[..thoughts + 1]);
        }
        // Enough is not cut, and none at all is an answer at once.
        let enough = Request {
            thinking_budget: Some(1000),
            ..chat(item)
        };
        assert_eq!(engine.run(enough, never).unwrap().tokens, free.tokens);
        let none = Request {
            thinking_budget: Some(0),
            ..chat(item)
        };
        let none = engine.run(none, never).unwrap();
        assert_eq!(none.reasoning, "", "{name}");
        assert!(!none.text.is_empty(), "{name}");
    }
}

/// What is said to these tokens, greedily.
fn request_tokens(engine: &mut Engine, prompt: Vec<u32>, count: usize) -> Vec<u32> {
    let request = request(json!({
        "promptTokens": prompt, "maxTokens": count, "ignoreEnd": true, "sampling": { "temperature": 0 }
    }));
    engine.run(request, never).unwrap().tokens
}

#[test]
fn sampling_follows_the_file_then_the_family() {
    let mut bytes = std::fs::read(tiny_chat()).unwrap();
    let proposal = |bytes: &Vec<u8>| {
        Engine::open(bytes, 1, Options::default()).unwrap().0[0]
            .info()
            .defaults
            .clone()
    };
    // This file says: the likeliest token each time. The rest is what the makers of Qwen3 recommend.
    let own = proposal(&bytes).unwrap();
    assert_eq!((own.thinking.temperature, own.answering.temperature), (0.0, 0.0));
    assert_eq!(
        (own.thinking.top_p, own.answering.top_p, own.answering.top_k),
        (0.95, 0.8, 20)
    );
    // Without that key, their temperatures, too.
    let key = b"general.sampling.temp";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
    bytes[at + key.len() - 1] = b'x';
    let family = proposal(&bytes).unwrap();
    assert_eq!(
        (family.thinking.temperature, family.answering.temperature),
        (0.6, 0.7)
    );
    assert_eq!(family.enable_thinking, None);
    // And what a request says goes before all.
    let mut engine = Engine::open(&bytes, 1, Options::default()).unwrap();
    let expected = json_file(&project("tests/golden/tiny-chat.expected.json"));
    let item = &expected["chats"][0];
    assert_eq!(
        engine.run(chat(item), never).unwrap().tokens,
        ids(&item["reply_ids"])
    );
}

/// Some models mark calls and thoughts with control tokens, which have no text of their own.
#[test]
fn markup_may_be_control_tokens() {
    let mut bytes = std::fs::read(tiny_chat()).unwrap();
    let kinds = {
        let key = b"tokenizer.ggml.token_type";
        // After the key: the type "array" and that of its elements (4 bytes each), and their number (8 bytes).
        bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 16
    };
    let expected = json_file(&project("tests/golden/tiny-chat.expected.json"));
    let (user_defined, control) = (4, 3);
    for id in 1527..1536 {
        let kind = &mut bytes[kinds + 4 * id..][..4];
        assert!([user_defined, control].contains(&kind[0]), "{id}: {kind:?}");
        kind[0] = control;
    }
    let mut engine = Engine::open(&bytes, 1, Options::default()).unwrap();
    recites(&mut engine, expected["chats"].as_array().unwrap());
}

#[test]
fn the_story_models_tell_the_recorded_stories() {
    for name in ["stories260K", "tinystories-656k"] {
        let Some(path) = shared(&format!("models/{name}-f32.gguf")) else {
            return;
        };
        let expected = json_file(&path.with_file_name(format!("{name}.expected.json")));
        for kv_type in [KvType::F32, KvType::default()] {
            let mut engine = Engine::load(
                &path,
                1,
                Options {
                    kv_type,
                    ..Options::default()
                },
            )
            .unwrap();
            for item in expected["items"].as_array().unwrap() {
                let want = ids(&item["greedy_ids"]);
                let mut request = greedy(item["prompt"].as_str().unwrap(), want.len());
                request.ignore_end = true;
                let output = engine.run(request, never).unwrap();
                assert_eq!(
                    output.prompt_tokens,
                    Some(ids(&item["prompt_ids"]).len()),
                    "{name}"
                );
                assert_eq!(output.tokens, want, "{name}: {}", output.text);
            }
        }
    }
}

#[test]
fn a_shared_beginning_is_not_computed_again_and_changes_nothing() {
    let expected = json_file(&project("tests/golden/tiny-chat.expected.json"));
    let chats = expected["chats"].as_array().unwrap();
    let find = |name: &str| chats.iter().find(|chat| chat["name"] == name).unwrap();
    let mut engine = Engine::load(&tiny_chat(), 2, Options::default()).unwrap();
    let first = engine.run(chat(find("colour-told")), never).unwrap();
    assert_eq!(first.cached_tokens, Some(0));
    let second = engine.run(chat(find("colour-recalled")), never).unwrap();
    assert!(
        second.cached_tokens.unwrap() >= first.prompt_tokens.unwrap(),
        "{:?}",
        second.cached_tokens
    );
    assert_eq!(second.tokens, ids(&find("colour-recalled")["reply_ids"]));
}

#[test]
fn a_cancelled_request_leaves_the_engine_usable() {
    let expected = json_file(&project("tests/golden/tiny-chat.expected.json"));
    let chats = expected["chats"].as_array().unwrap();
    for shards in [1, 3] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        for after in [1, 4] {
            engine
                .run(chat(&chats[2]), |output| output.tokens.len() == after)
                .unwrap();
        }
        // Also before anything was computed, and in the middle of a prompt.
        engine.0[0].start(chat(&chats[2])).unwrap();
        engine.0[0].run().unwrap();
        engine.0[0].cancel();
        recites(&mut engine, &chats[..4]);
    }
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let mut say = |seed: u64| {
        let sampling = json!({ "temperature": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": seed });
        engine
            .run(
                request(json!({ "prompt": "Hello", "maxTokens": 40, "sampling": sampling })),
                never,
            )
            .unwrap()
            .tokens
    };
    let first = say(1);
    assert_eq!(first, say(1));
    assert_ne!(first, say(2));
}

#[test]
fn stop_strings_lengths_and_logprobs_are_respected() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let question = json!([{ "role": "user", "content": "Count to thirty." }]);
    let counting = json_file(&project("tests/golden/tiny-chat.expected.json"))["chats"]
        .as_array()
        .unwrap()
        .iter()
        .find(|chat| chat["name"] == "count")
        .unwrap()["messages"]
        .clone();
    assert_ne!(counting, Value::Null, "{question}");
    let ask = |extra: Value| {
        let mut value = json!({ "messages": counting, "sampling": { "temperature": 0 } });
        value
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        request(value)
    };
    let stopped = engine
        .run(ask(json!({ "stop": ["5, 6", "never"] })), never)
        .unwrap();
    assert_eq!(stopped.text, "1, 2, 3, 4, ");
    assert_eq!(stopped.finish_reason, Some(FinishReason::Stop));

    let short = engine
        .run(
            ask(json!({ "maxTokens": 3, "logprobs": true, "topLogprobs": 2 })),
            never,
        )
        .unwrap();
    assert_eq!(short.tokens.len(), 3);
    assert_eq!(short.finish_reason, Some(FinishReason::Length));
    for (id, entry) in short.tokens.iter().zip(&short.logprobs) {
        // Greedy: the token chosen is the likeliest, and a tiny model that knows its text by heart is sure of it.
        assert_eq!((entry.id(), entry.top.len()), (*id, 2));
        assert_eq!(entry.top[0].id(), *id);
        assert!(entry.logprob == entry.top[0].logprob && entry.logprob > -0.5 && entry.logprob <= 0.0);
        assert!(entry.top[1].logprob < entry.top[0].logprob);
    }

    let biased =
        ask(json!({ "maxTokens": 2, "sampling": { "temperature": 0, "logit_bias": { "5": 1000.0 } } }));
    assert_eq!(engine.run(biased, never).unwrap().tokens, [5, 5]);
}

#[test]
fn control_tokens_in_a_message_are_text() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let tokenizer = engine.0[0].tokenizer().unwrap();
    let end = tokenizer.id_of(b"<|im_end|>").unwrap();
    assert!(tokenizer.is_end_of_generation(end));
    let count = |engine: &mut Engine, content: &str| {
        let messages = json!([{ "role": "user", "content": content }]);
        let request =
            request(json!({ "messages": messages, "maxTokens": 1, "sampling": { "temperature": 0 } }));
        engine.run(request, never).unwrap().prompt_tokens.unwrap()
    };
    let plain = count(&mut engine, "x");
    // One control token would add one token; spelled as text it takes several.
    assert!(count(&mut engine, "x<|im_end|>") > plain + 2);
}

#[test]
fn bad_requests_are_refused_by_name_and_harm_nothing() {
    let options = Options {
        context_length: Some(64),
        ..Options::default()
    };
    let mut engine = Engine::load(&tiny_chat(), 1, options).unwrap();
    let long = "word ".repeat(200);
    let cases = [
        (json!({}), Kind::InvalidArgument, "exactly one"),
        (
            json!({ "prompt": "a", "promptTokens": [1] }),
            Kind::InvalidArgument,
            "exactly one",
        ),
        (json!({ "prompt": "" }), Kind::InvalidArgument, "empty"),
        (json!({ "prompt": long }), Kind::ContextFull, "64"),
        (
            json!({ "promptTokens": [99_999_999] }),
            Kind::InvalidArgument,
            "99999999",
        ),
        (
            json!({ "prompt": "a", "maxTokens": 0 }),
            Kind::InvalidArgument,
            "maxTokens",
        ),
        (
            json!({ "prompt": "a", "stop": [""] }),
            Kind::InvalidArgument,
            "stop",
        ),
        (
            json!({ "prompt": "a", "topLogprobs": 21 }),
            Kind::InvalidArgument,
            "topLogprobs",
        ),
        (
            json!({ "prompt": "a", "sampling": { "top_p": 1.5 } }),
            Kind::InvalidArgument,
            "top_p",
        ),
        (
            json!({ "prompt": "a", "sampling": { "warmth": 1 } }),
            Kind::InvalidArgument,
            "warmth",
        ),
        (
            json!({ "prompt": "a", "sampling": { "logit_bias": { "x": 1 } } }),
            Kind::InvalidArgument,
            "logit_bias",
        ),
        (
            json!({ "prompt": "a", "sampling": { "logit_bias": { "1536": 1 } } }),
            Kind::InvalidArgument,
            "1536",
        ),
        (json!({ "messages": "hello" }), Kind::InvalidArgument, "messages"),
    ];
    for (value, kind, part) in cases {
        let error = engine.run(request(value.clone()), never).unwrap_err();
        assert_eq!(error.kind, kind, "{value}: {error}");
        assert!(error.message.contains(part), "{value}: {error}");
    }
    assert!(serde_json::from_value::<Request>(json!({ "prompt": "a", "colour": 1 })).is_err());
    let mut endless = greedy("Hello", 100);
    endless.ignore_end = true;
    let output = engine.run(endless, never).unwrap();
    assert_eq!(
        output.finish_reason,
        Some(FinishReason::Length),
        "the context ends the answer"
    );
    assert_eq!(output.prompt_tokens.unwrap() + output.tokens.len(), 64);
}

#[test]
fn a_file_without_a_template_says_so() {
    let Some(path) = shared("models/stories260K-f32.gguf") else {
        return;
    };
    let mut engine = Engine::load(&path, 1, Options::default()).unwrap();
    let error = engine
        .run(
            request(json!({ "messages": [{ "role": "user", "content": "x" }] })),
            never,
        )
        .unwrap_err();
    assert_eq!(error.kind, Kind::Template);
    engine.run(greedy("Once", 3), never).unwrap();
}
