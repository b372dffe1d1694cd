//! Text to ids and back: real vocabularies against the vectors recorded from llama.cpp, and what no vector can say.
//!
//! The vocabularies belong to their publishers and are not in the repository; without `../shared` their tests say so.

use std::fs;
use std::path::PathBuf;

use fanlight::gguf::Gguf;
use fanlight::tokenizer::Tokenizer;
use serde_json::Value;

/// The vocabularies with vectors, of the families that the engine has.
const VOCABULARIES: [&str; 11] = [
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "phi-3",
    "qwen2",
    "qwen35",
    "starcoder",
];

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/vocab")).join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {name} (../shared is absent)");
    None
}

fn vocabulary(name: &str) -> Option<Tokenizer> {
    let file = fs::File::open(shared(&format!("ggml-vocab-{name}.gguf"))?).unwrap();
    Some(Tokenizer::from_metadata(&Gguf::read(&file).unwrap().metadata).expect(name))
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

#[test]
fn ids_and_text_equal_the_recorded_vectors() {
    let mut wrong = Vec::new();
    for name in VOCABULARIES {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        let vectors = fs::read(shared(&format!("ggml-vocab-{name}.vectors.json")).unwrap()).unwrap();
        let vectors: Value = serde_json::from_slice(&vectors).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let plain = tokenizer.encode(text, false);
            if plain != ids(&case["plain"]) {
                wrong.push(format!(
                    "{name}: plain {text:?}\n  found    {plain:?}\n  expected {}",
                    case["plain"]
                ));
            }
            // The reference adds a BOS even to a text that begins with one; `with_specials` does not.
            let special = tokenizer.encode(text, true);
            let mut added = tokenizer.with_specials(special.clone());
            if tokenizer.add_bos() && special.first().is_some_and(|&id| Some(id) == tokenizer.bos()) {
                added.insert(0, tokenizer.bos().unwrap());
            }
            if added != ids(&case["special"]) {
                wrong.push(format!(
                    "{name}: special {text:?}\n  found    {added:?}\n  expected {}",
                    case["special"]
                ));
            }
            let decoded = tokenizer.decode(&ids(&case["plain"]));
            if decoded != case["detok"].as_str().unwrap() {
                wrong.push(format!(
                    "{name}: detok {text:?}\n  found    {decoded:?}\n  expected {}",
                    case["detok"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ids_equal_the_out_files() {
    let mut wrong = Vec::new();
    for name in VOCABULARIES {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        let read =
            |end: &str| fs::read_to_string(shared(&format!("ggml-vocab-{name}.gguf{end}")).unwrap()).unwrap();
        let (texts, expected) = (read(".inp"), read(".out"));
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert!(expected.len() > 30 && texts.len() >= expected.len(), "{name}");
        for (text, expected) in texts.iter().zip(&expected) {
            let expected: Vec<u32> = expected
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect();
            let found = tokenizer.encode(text, false);
            if found != expected {
                wrong.push(format!(
                    "{name}: {text:?}\n  found    {found:?}\n  expected {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
