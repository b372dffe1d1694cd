//! Memories of several conversations: apart from each other, copied, saved and taken back, by any number of shards.

use fanlight::Kind;
use fanlight::gguf::Gguf;
use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::session::{Output, Request};
use fanlight::source::ByteSource;
use serde_json::json;

#[path = "support/engine.rs"]
mod engine;

use engine::{Engine, never, request, shared};

/// A request for so many tokens, whatever they are.
fn tokens(prompt: &[u32], count: usize) -> Request {
    request(json!({
        "promptTokens": prompt, "maxTokens": count, "ignoreEnd": true, "logprobs": true,
        "sampling": { "temperature": 0 }
    }))
}

fn said(output: &Output) -> Vec<(u32, u32)> {
    let logprobs = output.logprobs.iter().map(|entry| entry.logprob.to_bits());
    output.tokens.iter().copied().zip(logprobs).collect()
}

fn text(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 23 + 7) % 500).collect()
}

/// What all shards save of the memory in use.
fn save(engine: &mut Engine) -> Vec<u8> {
    let plan = engine.0[0].plan_memory().unwrap();
    let parts = engine.0.iter_mut().map(|shard| shard.save_memory(plan).unwrap());
    parts.flatten().collect()
}

fn load(engine: &mut Engine, id: u32, bytes: &[u8]) -> fanlight::Result<()> {
    engine
        .0
        .iter_mut()
        .try_for_each(|shard| shard.load_memory(id, bytes))
}

fn switch(engine: &mut Engine, id: u32) {
    engine
        .0
        .iter_mut()
        .for_each(|shard| shard.use_memory(id).unwrap());
}

#[test]
fn what_one_number_of_shards_has_saved_another_takes_back() {
    for (arch, kv_type) in [
        ("qwen3", KvType::F32),
        ("qwen3", KvType::F16),
        ("qwen35", KvType::Q16),
        ("qwen35moe", KvType::Q8),
    ] {
        let Some(path) = shared(&format!("arch/{arch}/model-f32.gguf")) else {
            return;
        };
        let options = Options {
            kv_type,
            ..Options::default()
        };
        let open = |shards| Engine::load(&path, shards, options).unwrap();
        let prompt = text(90);
        let mut engine = open(2);
        let first = engine.run(tokens(&prompt, 10), never).unwrap();
        let bytes = save(&mut engine);
        let more = [&prompt[..], &first.tokens, &[3, 4, 5]].concat();
        let expected = engine.run(tokens(&more, 12), never).unwrap();
        for shards in [1, 2, 3] {
            let mut other = open(shards);
            other.run(tokens(&text(30), 5), never).unwrap();
            load(&mut other, 7, &bytes).unwrap();
            switch(&mut other, 7);
            let found = other.run(tokens(&more, 12), never).unwrap();
            assert_eq!(said(&found), said(&expected), "{arch} in {shards} shards");
            assert_eq!(found.cached_tokens, Some(99), "{arch} in {shards} shards");
            // Nothing of the tokens that were not saved is in the file: saved at the same place, it is the same.
            load(&mut other, 8, &bytes).unwrap();
            switch(&mut other, 8);
            if shards == 2 {
                assert!(save(&mut other) == bytes, "{arch}");
            }
        }
    }
}

#[test]
fn conversations_do_not_hear_each_other() {
    let Some(path) = shared("arch/qwen35/model-f32.gguf") else {
        return;
    };
    let mut engine = Engine::load(&path, 3, Options::default()).unwrap();
    let prompt = text(50);
    engine.run(tokens(&prompt, 9), never).unwrap();
    let plan = engine.0[0].plan_memory().unwrap();
    for shard in &mut engine.0 {
        shard.copy_memory(1, plan).unwrap();
        shard.new_memory(2).unwrap();
        assert!(
            shard.new_memory(2).is_err() && shard.use_memory(9).is_err() && shard.drop_memory(0).is_err()
        );
    }
    let alone = |prompt: &[u32]| {
        let mut fresh = Engine::load(&path, 1, Options::default()).unwrap();
        said(&fresh.run(tokens(prompt, 15), never).unwrap())
    };
    let branch = |id: u32| [&prompt[..], &[100 + id; 20]].concat();
    for id in [1, 0, 2, 1, 0, 2] {
        switch(&mut engine, id);
        let output = engine.run(tokens(&branch(id), 15), never).unwrap();
        assert_eq!(said(&output), alone(&branch(id)), "memory {id}");
    }
    switch(&mut engine, 0);
    engine
        .0
        .iter_mut()
        .for_each(|shard| shard.drop_memory(1).unwrap());
    assert!(engine.0[0].use_memory(1).is_err());
}

#[test]
fn a_prompt_computed_ahead_is_known_later() {
    let Some(path) = shared("models/recital-qwen35-q8_0.gguf") else {
        return;
    };
    let mut engine = Engine::load(&path, 2, Options::default()).unwrap();
    let chat = |more: serde_json::Value| {
        let mut value = json!({
            "messages": [{ "role": "user", "content": "Hello!" }],
            "templateVariables": { "enable_thinking": false }, "sampling": { "temperature": 0 }
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        request(value)
    };
    let ahead = engine.run(chat(json!({ "promptOnly": true })), never).unwrap();
    assert_eq!((ahead.text.as_str(), ahead.tokens.len()), ("", 0));
    assert!(ahead.finish_reason.is_some() && ahead.prompt_tokens.unwrap() > 3);
    let bytes = save(&mut engine);
    load(&mut engine, 1, &bytes).unwrap();
    switch(&mut engine, 1);
    let answer = engine.run(chat(json!({})), never).unwrap();
    assert_eq!(
        answer.text,
        "Hello! I am a very small test model. I know only a few things by heart."
    );
    assert_eq!(answer.cached_tokens, ahead.prompt_tokens);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let Some(path) = shared("arch/qwen35/model-f32.gguf") else {
        return;
    };
    let model = std::fs::read(&path).unwrap();
    let open = |options| Engine::open(&model, 1, options).unwrap();
    let mut engine = open(Options::default());
    engine.run(tokens(&text(20), 4), never).unwrap();
    let bytes = save(&mut engine);
    let mut refused = |bytes: &[u8], kind: Kind, what: &str| {
        let error = load(&mut engine, 1, bytes).unwrap_err();
        assert_eq!(error.kind, kind, "{what}: {error}");
    };
    refused(&[], Kind::MalformedFile, "nothing");
    refused(b"<!doctype html>", Kind::MalformedFile, "a page");
    for at in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let kind = if at < 8 {
            Kind::MalformedFile
        } else {
            Kind::Integrity
        };
        refused(&damaged, kind, "a flipped bit");
        let kind = if at < 8 {
            Kind::MalformedFile
        } else {
            Kind::Integrity
        };
        refused(&bytes[..at], kind, "cut off");
    }
    // Half of the parts.
    let mut two = Engine::load(&path, 2, Options::default()).unwrap();
    two.run(tokens(&text(20), 4), never).unwrap();
    let plan = two.0[0].plan_memory().unwrap();
    for part in &mut two.0 {
        refused(
            &part.save_memory(plan).unwrap(),
            Kind::Integrity,
            "one of two parts",
        );
    }
    // Another cache, and a context that is too small.
    let other = Options {
        kv_type: KvType::F16,
        ..Options::default()
    };
    let small = Options {
        context_length: Some(16),
        ..Options::default()
    };
    for (options, kind) in [(other, Kind::InvalidArgument), (small, Kind::ContextFull)] {
        assert_eq!(load(&mut open(options), 1, &bytes).unwrap_err().kind, kind);
    }
    // A model of the same shape with other weights, and one of another shape.
    let file: &dyn ByteSource = &model;
    let gguf = Gguf::read_parts(&[file]).unwrap();
    let mut tuned = model.clone();
    tuned[gguf.tensors.last().unwrap().offset as usize] ^= 1;
    let mut tuned = Engine::open(&tuned, 1, Options::default()).unwrap();
    assert_eq!(
        load(&mut tuned, 1, &bytes).unwrap_err().kind,
        Kind::InvalidArgument
    );
    let moe = path
        .parent()
        .unwrap()
        .with_file_name("qwen35moe")
        .join("model-f32.gguf");
    let mut moe = Engine::load(&moe, 1, Options::default()).unwrap();
    assert_eq!(load(&mut moe, 1, &bytes).unwrap_err().kind, Kind::InvalidArgument);
    // After all that, the engine is as it was.
    assert!(save(&mut engine) == bytes);
    load(&mut engine, 1, &bytes).unwrap();
}
