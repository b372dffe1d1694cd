//! The work behind classify, score, embed and rerank: how likely texts are after a prompt, and the vector of a text.

use fanlight::Kind;
use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::session::Output;
use serde_json::json;

#[path = "support/engine.rs"]
mod engine;
#[path = "support/npy.rs"]
mod npy;

use engine::{Engine, json_file, never, request, shared, tiny_chat};

fn scores(engine: &mut Engine, prompt: &str, texts: &[&str], with_end: bool) -> Vec<Vec<f32>> {
    let score = json!({"texts": texts, "withEnd": with_end});
    let output = engine
        .run(request(json!({"prompt": prompt, "score": score})), never)
        .unwrap();
    assert_eq!(output.scores.len(), texts.len());
    output.scores
}

/// The same by another road: the model is made to write the text, token by token, and tells how likely each was.
fn written(engine: &mut Engine, prompt: &str, text: &str) -> Vec<f32> {
    let literal: String = text.chars().map(|c| format!("\\x{{{:X}}}", c as u32)).collect();
    let fields = json!({
        "prompt": prompt, "constraint": {"regex": literal}, "logprobs": true, "speculation": false,
        "sampling": {"temperature": 0}
    });
    let output = engine.run(request(fields), never).unwrap();
    assert_eq!(output.text, text);
    output.logprobs.iter().map(|token| token.logprob).collect()
}

fn models() -> Vec<std::path::PathBuf> {
    let recurrent = shared("models/recital-qwen35-q8_0.gguf");
    [Some(tiny_chat()), recurrent].into_iter().flatten().collect()
}

#[test]
fn a_text_is_as_likely_as_when_it_is_written() {
    let prompt = "Once upon a time";
    let long =
        ", there was a small dog. He liked to run and to play with the ball that was red and blue and green.";
    let texts = [", there was", " a", ", there was a dog", long, " cat"];
    for path in models() {
        let mut alone = Engine::load(&path, 1, Options::default()).unwrap();
        let expected: Vec<_> = texts
            .iter()
            .map(|text| written(&mut alone, prompt, text))
            .collect();
        assert!(
            expected[3].len() > 32,
            "the long text has {} tokens",
            expected[3].len()
        );
        for shards in [1, 2] {
            let mut engine = Engine::load(&path, shards, Options::default()).unwrap();
            // Twice: the prompt is known the second time.
            for _ in 0..2 {
                let found = scores(&mut engine, prompt, &texts, false);
                for ((found, expected), text) in found.iter().zip(&expected).zip(texts) {
                    // The very same products: a draft of the text, token by token, is the text.
                    assert_eq!(
                        found,
                        expected,
                        "{text:?} with {shards} shards of {}",
                        path.display()
                    );
                }
            }
            // The order of the texts changes nothing, nor what else is asked.
            let mut turned = texts;
            turned.reverse();
            let mut found = scores(&mut engine, prompt, &turned, true);
            found.reverse();
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found[..expected.len()], expected[..]);
                assert_eq!(found.len(), expected.len() + 1);
                assert!(found[expected.len()] < 0.0);
            }
            // And an answer comes out as if nothing had been weighed.
            let plain = |engine: &mut Engine| -> Output {
                let fields = json!({"prompt": prompt, "maxTokens": 8, "sampling": {"temperature": 0}});
                engine.run(request(fields), never).unwrap()
            };
            assert_eq!(plain(&mut engine).tokens, plain(&mut alone).tokens);
        }
    }
}

#[test]
fn a_vector_is_that_of_the_reference() {
    let Some(folder) = shared("arch/qwen3") else {
        return;
    };
    let prompts = json_file(&folder.join("prompts.json"));
    let (shape, hidden) = npy::read(&folder.join("hf_hidden_p1.npy"));
    let ids = engine::ids(&prompts["prompts"][1]["ids"]);
    assert_eq!(shape[1], ids.len());
    let width = shape[2];
    let last = &hidden[hidden.len() - ids.len() * width..];
    // No pooling in the file: the mean of all tokens.
    let mean: Vec<f32> = (0..width)
        .map(|i| last.iter().skip(i).step_by(width).sum::<f32>())
        .collect();
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    for shards in [1, 2] {
        let options = Options {
            kv_type: KvType::F32,
            ..Options::default()
        };
        let mut engine = Engine::load(&folder.join("model-f32.gguf"), shards, options).unwrap();
        for _ in 0..2 {
            let output = engine
                .run(request(json!({"promptTokens": ids, "embed": true})), never)
                .unwrap();
            assert_eq!(output.vector.len(), width);
            let worst = output
                .vector
                .iter()
                .zip(&mean)
                .map(|(x, y)| (x - y / length).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 1e-5, "{worst}");
        }
    }
}

#[test]
fn what_cannot_be_weighed_is_refused_by_name() {
    let mut engine = Engine::load(&tiny_chat(), 1, Options::default()).unwrap();
    let many: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    for (texts, kind) in [
        (json!([]), Kind::InvalidArgument),
        (json!([""]), Kind::InvalidArgument),
        (json!(many), Kind::InvalidArgument),
        (json!(["word ".repeat(20_000)]), Kind::ContextFull),
    ] {
        let fields = json!({"prompt": "x", "score": {"texts": texts}});
        assert_eq!(engine.run(request(fields), never).unwrap_err().kind, kind);
    }
    // 500 of them are fine.
    let texts: Vec<String> = (0..500).map(|n| format!(" {n}")).collect();
    let output = engine
        .run(request(json!({"prompt": "x", "score": {"texts": texts}})), never)
        .unwrap();
    assert!(
        output
            .scores
            .iter()
            .flatten()
            .all(|logprob| logprob.is_finite() && *logprob <= 0.0)
    );
}
