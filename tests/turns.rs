//! Turns, retries, cancelled requests and drafts on every architecture: always the same tokens as without.

use fanlight::model::Options;
use fanlight::session::{Output, Request};
use serde_json::json;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/random.rs"]
mod random;

use engine::{Engine, chat, ids, json_file, never, recites, request, shared};
use random::Random;

const ARCHITECTURES: [&str; 7] = [
    "llama",
    "qwen2",
    "qwen3",
    "qwen3moe",
    "qwen35",
    "qwen35_mtp",
    "qwen35moe",
];

/// A request for so many tokens, whatever they are.
fn tokens(prompt: &[u32], count: usize, speculation: bool) -> Request {
    request(json!({
        "promptTokens": prompt, "maxTokens": count, "ignoreEnd": true, "speculation": speculation,
        "logprobs": true, "sampling": { "temperature": 0 }
    }))
}

/// The tokens and their log probabilities.
fn said(output: &Output) -> Vec<(u32, u32)> {
    let logprobs = output.logprobs.iter().map(|entry| entry.logprob.to_bits());
    output.tokens.iter().copied().zip(logprobs).collect()
}

#[test]
fn drafts_change_nothing_but_the_number_of_batches() {
    for arch in ARCHITECTURES {
        let Some(path) = shared(&format!("arch/{arch}/model-f32.gguf")) else {
            return;
        };
        // Answers of one token only, which are easily guessed, and of two that are drawn, of which many are guessed wrong:
        // random models would not repeat anything by themselves.
        let mut random = Random::new(5);
        let two: Vec<u32> = (0..400).map(|_| 30 + 10 * random.below(2) as u32).collect();
        for (shards, sampling, prompt, all_right) in [
            (1, json!({ "logit_bias": { "30": 1000.0 } }), &two[..40], true),
            (
                2,
                json!({ "logit_bias": { "30": 1120.0, "40": 1000.0 }, "temperature": 50.0, "seed": 3, "min_p": 0.0, "top_p": 1.0, "top_k": 2 }),
                &two[..],
                false,
            ),
        ] {
            let ask = |speculation: bool| {
                let mut request = tokens(prompt, 60, speculation);
                request.sampling.extend(sampling.as_object().unwrap().clone());
                request
            };
            let load = || Engine::load(&path, shards, Options::default()).unwrap();
            let plain = load().run(ask(false), never).unwrap();
            assert_eq!((plain.drafted, plain.accepted), (0, 0));
            let mut engine = load();
            let fast = engine.run(ask(true), never).unwrap();
            println!("{arch}: {} drafted, {} accepted", fast.drafted, fast.accepted);
            assert_eq!(said(&fast), said(&plain), "{arch} in {shards} shards");
            assert!(fast.drafted > 0, "{arch}: nothing was tested");
            assert_eq!(fast.accepted == fast.drafted, all_right, "{arch}");
            // And what is remembered afterwards is right too.
            let more = [prompt, &plain.tokens[..]].concat();
            let next = engine.run(tokens(&more, 16, true), never).unwrap();
            assert_eq!(next.cached_tokens, Some(more.len() - 1), "{arch}");
            let expected = load().run(tokens(&more, 16, false), never).unwrap();
            assert_eq!(
                said(&next),
                said(&expected),
                "{arch} in {shards} shards, going on"
            );
        }
    }
}

/// Requests one after the other, with beginnings in common, some cancelled anywhere: each answer is that of an engine that
/// has never heard anything else.
#[test]
fn whatever_came_before_the_answer_is_the_same() {
    for (arch, shards) in [("qwen35", 1), ("qwen35", 3), ("qwen35moe", 2), ("qwen3", 2)] {
        let Some(path) = shared(&format!("arch/{arch}/model-f32.gguf")) else {
            return;
        };
        let mut engine = Engine::load(&path, shards, Options::default()).unwrap();
        let mut random = Random::new(7);
        let mut below = |n: usize| random.below(n);
        let end = 511;
        let mut text: Vec<u32> = (0..150).map(|i| (i * 17 + 3) % 500).collect();
        (text[60], text[120]) = (end, end);
        let mut reused = 0;
        for round in 0..24 {
            // Keep a part of the last text, and go on in another way.
            text.truncate(1 + below(text.len()));
            for _ in 0..5 + below(60) {
                text.push(if below(20) == 0 { end } else { below(500) as u32 });
            }
            let count = 1 + below(40);
            if round % 3 == 1 {
                let steps = below(if shards == 1 { 60 } else { 400 });
                engine.cancel_after(tokens(&text, count, true), steps).unwrap();
            }
            let found = engine.run(tokens(&text, count, round % 2 == 0), never).unwrap();
            let mut fresh = Engine::load(&path, shards, Options::default()).unwrap();
            let expected = fresh.run(tokens(&text, count, false), never).unwrap();
            assert_eq!(
                found.tokens, expected.tokens,
                "{arch} in {shards} shards, round {round}"
            );
            reused += found.cached_tokens.unwrap();
            text.extend(&found.tokens);
        }
        println!("{arch}: {reused} tokens were known");
        assert!(reused > 500, "{arch}: hardly anything was remembered");
    }
}

#[test]
fn chats_go_on_from_the_last_turn_and_can_be_asked_again() {
    let Some(path) = shared("models/recital-qwen35-q8_0.gguf") else {
        return;
    };
    let expected = json_file(&path.with_file_name("recital-qwen35.expected.json"));
    let items = expected["items"].as_array().unwrap();
    let find = |name: &str| items.iter().find(|item| item["name"] == name).unwrap();
    for shards in [1, 3] {
        let mut engine = Engine::load(&path, shards, Options::default()).unwrap();
        let think = find("think");
        let first = engine.run(chat(think), never).unwrap();
        assert_eq!(first.cached_tokens, Some(0));
        let end = engine.0[0].tokenizer().unwrap().id_of(b"<|im_end|>").unwrap();
        let message = |ids: &[u32]| ids.iter().rposition(|id| *id == end).unwrap() + 1;
        let turn = message(&ids(&think["prompt_ids"]));
        // Asked again, it begins where the model's turn begins.
        let again = engine.run(chat(think), never).unwrap();
        assert_eq!((again.cached_tokens, &again.tokens), (Some(turn), &first.tokens));
        // The next turn leaves the thoughts out, and goes on from there too.
        let mut messages = think["messages"].as_array().unwrap().clone();
        messages.push(json!({ "role": "assistant", "content": first.text }));
        messages.push(json!({ "role": "user", "content": "And now?" }));
        let next = request(json!({ "messages": messages, "maxTokens": 8, "sampling": { "temperature": 0 } }));
        let (next, fresh): (Output, Output) = (
            engine.run(next.clone(), never).unwrap(),
            Engine::load(&path, shards, Options::default())
                .unwrap()
                .run(next, never)
                .unwrap(),
        );
        assert_eq!(next.cached_tokens, Some(turn));
        assert_eq!(next.tokens, fresh.tokens);
        // Cancelled in the middle of an answer, it loses at most some forty tokens.
        let long = find("alice");
        let mut seen = 0;
        engine
            .run(chat(long), |output| {
                seen = output.tokens.len();
                seen >= 60
            })
            .unwrap();
        let known: Vec<u32> = [ids(&long["prompt_ids"]), ids(&long["reply_ids"])[..seen].to_vec()].concat();
        let more = Request {
            speculation: Some(false),
            ..request(json!({ "promptTokens": known, "maxTokens": 20, "sampling": { "temperature": 0 } }))
        };
        let more = engine.run(more, never).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(more.tokens, ids(&long["reply_ids"])[seen..][..20]);
        assert!(
            more.cached_tokens.unwrap() + 40 >= known.len(),
            "{:?}",
            more.cached_tokens
        );
        recites(&mut engine, &items[..3]);
    }
}
