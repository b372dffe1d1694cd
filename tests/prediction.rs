//! The block that predicts further tokens: what it says against an independent reading of its definition, and answers with its
//! guesses against answers without them.

use std::path::Path;

use fanlight::gguf::Gguf;
use fanlight::kernels::cache::KvType;
use fanlight::model::{Batch, LogitsFor, Options};
use fanlight::session::{Output, Request, estimate};
use fanlight::source::ByteSource;
use serde_json::json;

#[path = "support/drive.rs"]
mod drive;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/npy.rs"]
mod npy;
#[path = "support/random.rs"]
mod random;

use engine::{Engine, ids, json_file, never, request, shared};
use random::Random;

const PREDICT: Options = Options {
    shard: fanlight::model::Shard::WHOLE,
    context_length: None,
    kv_type: KvType::Q16,
    activations: None,
    predict: true,
};

/// A greedy request for so many tokens, whatever they are.
fn tokens(prompt: &[u32], count: usize) -> Request {
    request(json!({
        "promptTokens": prompt, "maxTokens": count, "ignoreEnd": true, "logprobs": true, "sampling": { "temperature": 0 }
    }))
}

/// The tokens and their log probabilities.
fn said(output: &Output) -> Vec<(u32, u32)> {
    let logprobs = output.logprobs.iter().map(|entry| entry.logprob.to_bits());
    output.tokens.iter().copied().zip(logprobs).collect()
}

/// `tests/oracle/prediction.py` records every eighth position of a prompt, and then three guesses, each from the one before.
#[test]
fn predictions_equal_the_oracle_on_any_number_of_shards() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let prompts = json_file(&path.with_file_name("prompts.json"));
    let prompt = ids(&prompts["prompts"][1]["ids"]);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prediction.npy");
    let (shape, want) = npy::read(&golden);
    let width = shape[1];
    let file = std::fs::File::open(&path).unwrap();
    let parts: [&dyn ByteSource; 1] = [&file];
    let gguf = Gguf::read_parts(&parts).unwrap();
    let mut whole: Option<Vec<u32>> = None;
    for shards in [1, 2, 3] {
        let options = Options {
            kv_type: KvType::F32,
            ..PREDICT
        };
        let mut models = drive::load(&gguf, &parts, shards, options).unwrap();
        let predict = |first: usize, logits: LogitsFor| Batch {
            predict: true,
            ..Batch::at(first, logits)
        };
        drive::forward(&mut models, &prompt, 0, LogitsFor::None).unwrap();
        drive::batch(&mut models, &prompt[1..], predict(0, LogitsFor::All)).unwrap();
        let logits = drive::taken(&mut models[0]);
        let rows: Vec<&[f32]> = logits.chunks_exact(width).collect();
        assert_eq!(rows.len(), prompt.len() - 1);
        let mut got: Vec<f32> = rows.iter().step_by(8).copied().flatten().copied().collect();
        let mut last = rows[rows.len() - 1].to_vec();
        got.extend(&last);
        for step in 0..2 {
            let best = (0..width).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
            let at = prompt.len() - 1 + step;
            drive::batch(&mut models, &[best as u32], predict(at, LogitsFor::Last)).unwrap();
            last = drive::taken(&mut models[0]);
            got.extend(&last);
        }
        assert_eq!(got.len(), want.len());
        let largest = got
            .iter()
            .zip(&want)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        println!("{shards} shards: largest difference {largest:.1e}");
        assert!(largest < 3e-3, "{shards} shards: {largest}");
        let bits: Vec<u32> = got.iter().map(|x| x.to_bits()).collect();
        assert_eq!(
            *whole.get_or_insert_with(|| bits.clone()),
            bits,
            "{shards} shards"
        );
    }
}

#[test]
fn answers_are_the_same_with_predictions() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let prompt: Vec<u32> = (0..150).map(|i| (i * 23 + 7) % 500).collect();
    for shards in [1, 2, 3] {
        let (plain, predicting) = (Options::default(), PREDICT);
        // A model of random weights foresees nothing, unless it may say one thing only. In the first case nothing is right, in the
        // second everything, in the third most.
        for (name, sampling, count) in [
            ("free", json!({ "temperature": 0 }), 60),
            ("one token", json!({ "logit_bias": { "30": 1000.0 } }), 5),
            (
                "two tokens",
                json!({ "logit_bias": { "30": 1120.0, "40": 1000.0 }, "temperature": 50.0, "seed": 3, "min_p": 0.0, "top_p": 1.0, "top_k": 2 }),
                40,
            ),
        ] {
            let ask = |prompt: &[u32]| {
                let mut request = tokens(prompt, count);
                request.sampling.extend(sampling.as_object().unwrap().clone());
                request
            };
            let expected = Engine::load(&path, shards, plain)
                .unwrap()
                .run(ask(&prompt), never)
                .unwrap();
            let mut engine = Engine::load(&path, shards, predicting).unwrap();
            let found = engine.run(ask(&prompt), never).unwrap();
            println!(
                "{name}, {shards} shards: {} drafted, {} accepted; without {}, {}",
                found.drafted, found.accepted, expected.drafted, expected.accepted
            );
            assert_eq!(said(&found), said(&expected), "{name}, {shards} shards");
            match name {
                "free" => assert!(
                    found.drafted > 0 && expected.drafted == 0,
                    "nothing was predicted"
                ),
                "one token" => assert_eq!((found.drafted, found.accepted, expected.drafted), (3, 3, 0)),
                _ => assert!((1..found.drafted).contains(&found.accepted), "not some of them"),
            }
            // What is remembered afterwards is right, too.
            let more = [&prompt[..], &found.tokens].concat();
            let (found, mut fresh) = (
                engine.run(tokens(&more, 8), never).unwrap(),
                Engine::load(&path, shards, plain).unwrap(),
            );
            assert_eq!(found.cached_tokens, Some(more.len() - 1));
            assert_eq!(said(&found), said(&fresh.run(tokens(&more, 8), never).unwrap()));
        }
    }
}

#[test]
fn cancelled_anywhere_the_next_answer_is_the_same() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let mut random = Random::new(11);
    for shards in [1, 2] {
        let mut engine = Engine::load(&path, shards, PREDICT).unwrap();
        for _ in 0..12 {
            let prompt: Vec<u32> = (0..20 + random.below(40))
                .map(|_| random.below(500) as u32)
                .collect();
            engine
                .cancel_after(tokens(&prompt, 20), random.below(150 * shards))
                .unwrap();
            let found = engine.run(tokens(&prompt, 12), never).unwrap();
            let mut fresh = Engine::load(&path, shards, Options::default()).unwrap();
            assert_eq!(
                said(&found),
                said(&fresh.run(tokens(&prompt, 12), never).unwrap())
            );
        }
    }
}

/// The block goes on from what the batch before has left, and so only works for a request that is alone: several have answers without
/// guesses, and what they leave behind does not change those with guesses.
#[test]
fn several_requests_together_are_answered_without_predictions() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let begin: Vec<u32> = (0..90).map(|i| (i * 23 + 7) % 500).collect();
    let ask = |n: u32| {
        let own: Vec<u32> = (0..1 + 9 * n).map(|i| (i * 31 + n) % 500).collect();
        tokens(&[&begin[..], &own].concat(), 20)
    };
    let mut plain = Engine::load(&path, 1, Options::default()).unwrap();
    let expected: Vec<Output> = (0..10).map(|n| plain.run(ask(n), never).unwrap()).collect();
    for shards in [1, 2, 3] {
        let mut engine = Engine::load(&path, shards, PREDICT).unwrap();
        let mut drafted = 0;
        for alone in [2, 9] {
            let found = engine.run(ask(alone), never).unwrap();
            drafted += found.drafted;
            assert_eq!(said(&found), said(&expected[alone as usize]), "{shards} shards");
            let together = engine.together((0..10).map(ask).collect()).unwrap();
            for (found, expected) in together.iter().zip(&expected) {
                assert_eq!(said(found), said(expected), "{shards} shards, together");
                assert_eq!(found.drafted, 0, "guessed for one of several");
            }
        }
        assert!(drafted > 0, "nothing was predicted for those that were alone");
        let together = Request {
            together: (0..10).map(ask).collect(),
            ..Request::default()
        };
        engine.cancel_after(together, 40 * shards).unwrap();
        let found = engine.run(ask(5), never).unwrap();
        assert_eq!(said(&found), said(&expected[5]), "{shards} shards, afterwards");
    }
}

/// A site may ship a session whether or not its visitors have memory for the block.
#[test]
fn saved_sessions_go_from_models_with_the_block_to_those_without_and_back() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let prompt: Vec<u32> = (0..100).map(|i| (i * 23 + 7) % 500).collect();
    let expected = Engine::load(&path, 1, Options::default())
        .unwrap()
        .run(tokens(&prompt, 20), never)
        .unwrap();
    for (from, to) in [(PREDICT, Options::default()), (Options::default(), PREDICT)] {
        let mut engine = Engine::load(&path, 2, from).unwrap();
        engine.run(tokens(&prompt[..80], 1), never).unwrap();
        let plan = engine.0[0].plan_memory().unwrap();
        let parts = engine.0.iter_mut().map(|shard| shard.save_memory(plan).unwrap());
        let saved: Vec<u8> = parts.flatten().collect();
        let mut engine = Engine::load(&path, 1, to).unwrap();
        engine.0[0].load_memory(1, &saved).unwrap();
        engine.0[0].use_memory(1).unwrap();
        let found = engine.run(tokens(&prompt, 20), never).unwrap();
        assert_eq!(found.cached_tokens, Some(80));
        assert_eq!(said(&found), said(&expected));
    }
}

#[test]
fn the_block_takes_memory_only_where_it_is_wanted() {
    let Some(path) = shared("arch/qwen35_mtp/model-f32.gguf") else {
        return;
    };
    let file = std::fs::File::open(&path).unwrap();
    let parts: [&dyn ByteSource; 1] = [&file];
    let [without, with] = [Options::default(), PREDICT].map(|options| {
        let estimated = estimate(&parts, &options).unwrap();
        let loaded = Engine::load(&path, 1, options).unwrap();
        let info = loaded.0[0].info();
        assert_eq!(
            (info.weight_bytes, info.kv_bytes, info.buffer_bytes),
            (estimated.weight_bytes, estimated.kv_bytes, estimated.buffer_bytes)
        );
        assert_eq!(
            (info.predicts, estimated.predicts),
            (options.predict, options.predict)
        );
        estimated
    });
    // Of four layers one is attention; the block is another.
    assert_eq!(with.kv_bytes, 2 * without.kv_bytes);
    assert!(with.weight_bytes > without.weight_bytes + 512 * 128 * 4);

    // In a file that has no such block the option does nothing.
    if let Some(other) = shared("arch/qwen35/model-f32.gguf") {
        let mut engine = Engine::load(&other, 1, PREDICT).unwrap();
        assert!(!engine.0[0].info().predicts);
        let prompt: Vec<u32> = (0..30).map(|i| (i * 23 + 7) % 500).collect();
        let found = engine.run(tokens(&prompt, 10), never).unwrap();
        assert_eq!((found.tokens.len(), found.drafted), (10, 0));
    }
}
