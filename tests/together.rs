//! Several requests computed together, on every architecture: each gets what it would have got alone, to the bit.

use fanlight::Kind;
use fanlight::model::Options;
use fanlight::session::{FinishReason, Output, Request};
use serde_json::{Value, json};

#[path = "support/engine.rs"]
mod engine;
#[path = "support/random.rs"]
mod random;

use engine::{Engine, never, request, shared, tiny_chat};
use random::Random;

const ARCHITECTURES: [&str; 6] = ["llama", "qwen2", "qwen3", "qwen3moe", "qwen35", "qwen35moe"];

/// Tokens with the bits of their probabilities, those of texts that were weighed, those of a vector, and why it ended.
type Said = (Vec<(u32, u32)>, Vec<Vec<u32>>, Vec<u32>, Option<FinishReason>);

/// All that is said of a request's answer.
fn said(output: &Output) -> Said {
    let logprobs = output.logprobs.iter().map(|entry| entry.logprob.to_bits());
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect();
    (
        output.tokens.iter().copied().zip(logprobs).collect(),
        output.scores.iter().map(|scores| bits(scores)).collect(),
        bits(&output.vector),
        output.finish_reason,
    )
}

/// More requests than there are seats, of many lengths, which begin alike: answers, texts to be weighed, and one of each that begins
/// otherwise or is refused.
fn mixed() -> Vec<Value> {
    let mut random = Random::new(7);
    let mut some = |count: usize| -> Vec<u32> { (0..count).map(|_| 20 + random.below(200) as u32).collect() };
    let begin = some(70);
    let mut prompts: Vec<Vec<u32>> = (0..10)
        .map(|n| [begin.clone(), some(1 + n * n * 3)].concat())
        .collect();
    prompts.push(begin.clone());
    let answer = |(n, prompt): (usize, Vec<u32>)| {
        json!({
            "promptTokens": prompt, "maxTokens": 1 + 5 * (n % 4), "ignoreEnd": true, "logprobs": true,
            "sampling": { "temperature": 0 }
        })
    };
    let mut all: Vec<Value> = prompts.into_iter().enumerate().map(answer).collect();
    let texts = [
        "a",
        "ab cd",
        "one two three four five six seven eight nine ten, and so on",
    ];
    for n in [3, 40, 150] {
        let prompt = [begin.clone(), some(n)].concat();
        all.push(json!({ "promptTokens": prompt, "score": { "texts": texts, "withEnd": true } }));
    }
    all
}

fn alone(engine: &mut Engine, requests: &[Value]) -> Vec<Output> {
    let run = |value: &Value| engine.run(request(value.clone()), never).unwrap();
    requests.iter().map(run).collect()
}

fn requests(values: &[Value]) -> Vec<Request> {
    values.iter().cloned().map(request).collect()
}

#[test]
fn each_gets_what_it_would_have_got_alone() {
    for arch in ARCHITECTURES {
        let Some(path) = shared(&format!("arch/{arch}/model-f32.gguf")) else {
            return;
        };
        let asked = mixed();
        let expected = alone(&mut Engine::load(&path, 1, Options::default()).unwrap(), &asked);
        for shards in [1, 2, 3] {
            let mut engine = Engine::load(&path, shards, Options::default()).unwrap();
            // The second time, what they have in common is known.
            for known in [false, true].into_iter().take(if shards == 1 { 2 } else { 1 }) {
                let found = engine.together(requests(&asked)).unwrap();
                for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert_eq!(
                        said(found),
                        said(expected),
                        "{arch}, request {n}, {shards} shards"
                    );
                    assert_eq!((found.index, found.cached_tokens), (Some(n), Some(69)), "{arch}");
                }
                // And in between, an answer is what it was.
                if !known {
                    let answer = engine.run(request(asked[4].clone()), never).unwrap();
                    assert_eq!(said(&answer), said(&expected[4]), "{arch}, afterwards");
                }
            }
        }
    }
}

#[test]
fn vectors_are_those_of_each_text_alone() {
    let asked: Vec<Value> = (0..11)
        .map(|n| json!({ "prompt": "Once upon a time, ".repeat(1 + n * 2), "embed": true }))
        .collect();
    let mut one = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let expected = alone(&mut one, &asked);
    for shards in [1, 2] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        let found = engine.together(requests(&asked)).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(!found.vector.is_empty());
            assert_eq!(said(found), said(expected));
        }
    }
}

/// Chats held to a schema: forced tokens, few rows, answers of different lengths.
fn chats(count: usize) -> Vec<Value> {
    let schema = json!({"type": "object", "properties": {
        "colour": {"enum": ["red", "green", "blue"]}, "size": {"type": "integer", "minimum": 1, "maximum": 99},
        "words": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 12}}
    }, "required": ["colour", "size", "words"], "additionalProperties": false});
    let chat = |n: usize| {
        json!({
            "messages": [{"role": "system", "content": "Read it."}, {"role": "user", "content": format!("Text {n}: {}", "ball ".repeat(n * 3 % 7))}],
            "constraint": {"schema": schema}, "sampling": {"temperature": 1.3, "seed": n}, "maxTokens": 200
        })
    };
    (0..count).map(chat).collect()
}

#[test]
fn constrained_answers_are_the_same_together() {
    let asked = chats(12);
    let expected = alone(
        &mut Engine::load(&tiny_chat(), 1, Options::default()).unwrap(),
        &asked,
    );
    for shards in [1, 2] {
        let mut engine = Engine::load(&tiny_chat(), shards, Options::default()).unwrap();
        let found = engine.together(requests(&asked)).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((&found.text, &found.tokens), (&expected.text, &expected.tokens));
            assert_eq!(found.forced_text, expected.forced_text);
            assert_eq!(found.finish_reason, Some(FinishReason::Stop));
            assert!(found.forced > 5 && found.cached_tokens > Some(5));
        }
        assert!(found.iter().any(|output| output.skipped_rows > 0));
    }
}

#[test]
fn where_memory_is_short_some_wait_and_the_answers_are_the_same() {
    for path in [Some(tiny_chat()), shared("models/recital-qwen35-q8_0.gguf")]
        .into_iter()
        .flatten()
    {
        let asked: Vec<Value> = (0..9)
            .map(|n| json!({"prompt": format!("Once upon a time {n} {}", "there was a dog ".repeat(n)), "maxTokens": 90, "ignoreEnd": true, "sampling": {"temperature": 0}}))
            .collect();
        let options = Options {
            context_length: Some(256),
            ..Options::default()
        };
        let mut engine = Engine::load(&path, 1, options).unwrap();
        let expected = alone(&mut engine, &asked);
        let found = engine.together(requests(&asked)).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.tokens, expected.tokens, "{}", path.display());
        }
    }
}

#[test]
fn what_is_wrong_with_one_ends_only_that_one() {
    let mut engine = Engine::load(&tiny_chat(), 2, Options::default()).unwrap();
    let mut asked = chats(10);
    let expected = alone(&mut engine, &asked);
    asked[0]["messages"][1]["content"] = "word ".repeat(5000).into();
    asked[3]["constraint"] = json!({"schema": {"type": "strnig"}});
    asked[7]["maxTokens"] = json!(0);
    // Nothing is left to choose: it is answered without being computed.
    asked[8]["constraint"] = json!({"schema": {"const": 7}});
    let found = engine.together(requests(&asked)).unwrap();
    let code = |n: usize| found[n].error.as_ref().map(|error| error.code);
    assert_eq!(
        (code(0), code(3), code(7)),
        (Some("context-full"), Some("schema"), Some("invalid-argument"))
    );
    assert_eq!(found[8].text, "7");
    for n in [1, 2, 4, 5, 6, 9] {
        assert_eq!(found[n].text, expected[n].text);
        assert_eq!(found[n].error, None);
    }
    // All of them.
    let found = engine
        .together(requests(&[asked[0].clone(), asked[3].clone()]))
        .unwrap();
    assert!(found.iter().all(|output| output.error.is_some()));
    // The list itself.
    for together in [
        json!({"prompt": "x", "together": [asked[1]]}),
        json!({"together": vec![asked[1].clone(); 300]}),
    ] {
        let error = engine.each(request(together), |_| false).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidArgument, "{error}");
    }
    let nested = json!({"together": [{"together": [asked[1]]}]});
    let mut codes = Vec::new();
    engine
        .each(request(nested), |output| {
            codes.push(output.error.unwrap().code);
            false
        })
        .unwrap();
    assert_eq!(codes, ["invalid-argument"]);
}

#[test]
fn cancelled_anywhere_nothing_is_left_of_them() {
    for name in ["qwen3", "qwen35"] {
        let Some(path) = shared(&format!("arch/{name}/model-f32.gguf")) else {
            return;
        };
        let asked = mixed();
        let mut engine = Engine::load(&path, 2, Options::default()).unwrap();
        let expected = engine.run(request(asked[9].clone()), never).unwrap();
        let mut random = Random::new(3);
        for _ in 0..12 {
            let together = Request {
                together: requests(&asked),
                ..Request::default()
            };
            engine.cancel_after(together, random.below(900)).unwrap();
            let answer = engine.run(request(asked[9].clone()), never).unwrap();
            assert_eq!(said(&answer), said(&expected), "{name}");
        }
        // In the middle of what is said.
        let together = Request {
            together: requests(&asked),
            ..Request::default()
        };
        engine.each(together, |_| true).unwrap();
        let found = engine.together(requests(&asked)).unwrap();
        assert_eq!(said(&found[9]), said(&expected), "{name}");
    }
}
