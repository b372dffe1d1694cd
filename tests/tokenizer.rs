//! Text to ids and back with real vocabularies, against the vectors recorded from llama.cpp.
//! (`tokenizer_small.rs` has the vocabularies made for a test.)
//!
//! The vocabularies belong to their publishers and are not in the repository; without `../shared` their tests
//! say so.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use fanlight::Kind;
use fanlight::gguf::Gguf;
use fanlight::tokenizer::{Span, StreamDecoder, TokenKind, Tokenizer};
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

/// A file of the fixtures.
fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(name);
    if path.exists() {
        return Some(path);
    }
    // Past the test harness, which hides what a passing test prints.
    let line = format!("SKIPPED: {name} (../shared is absent)\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

fn vocabulary(name: &str) -> Option<Tokenizer> {
    tokenizer(&format!("vocab/ggml-vocab-{name}.gguf"))
}

fn tokenizer(name: &str) -> Option<Tokenizer> {
    let file = fs::File::open(shared(name)?).unwrap();
    Some(Tokenizer::from_metadata(&Gguf::read(&file).unwrap().metadata).expect(name))
}

fn vectors(name: &str) -> Vec<Value> {
    let file = fs::read(shared(&format!("vocab/ggml-vocab-{name}.vectors.json")).unwrap()).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    serde_json::from_value(file["cases"].take()).unwrap()
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
        let cases = vectors(name);
        assert_eq!(cases.len(), 229, "{name}");
        for case in &cases {
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
        let read = |end: &str| {
            fs::read_to_string(shared(&format!("vocab/ggml-vocab-{name}.gguf{end}")).unwrap()).unwrap()
        };
        let (texts, expected) = (read(".inp"), read(".out"));
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert!(expected.len() >= 46 && texts.len() >= expected.len(), "{name}");
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

#[test]
fn a_stream_of_tokens_gives_the_text_back() {
    for name in VOCABULARIES {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        for case in vectors(name) {
            // Where U+2581 marks spaces, one in the text comes back as a space.
            let text = case["text"].as_str().unwrap();
            let expected = if matches!(name, "gemma-4" | "llama-spm" | "phi-3") {
                text.replace('▁', " ")
            } else {
                text.into()
            };
            let mut decoder = StreamDecoder::at_message_start(&tokenizer);
            let mut streamed = String::new();
            for id in tokenizer.encode(text, false) {
                let piece = decoder.push(&tokenizer, id);
                assert!(
                    !piece.contains('\u{fffd}') || text.contains('\u{fffd}'),
                    "{name}: half a character of {text:?}"
                );
                streamed += &piece;
            }
            streamed += &decoder.finish();
            assert_eq!(streamed, expected, "{name}");
        }
    }
}

#[test]
fn no_special_token_comes_from_untrusted_text() {
    for name in VOCABULARIES {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        let steers = |id: u32| match tokenizer.kind(id) {
            TokenKind::Control | TokenKind::Unknown => true,
            TokenKind::UserDefined => tokenizer
                .token_text(id)
                .first()
                .is_some_and(|first| b"<[".contains(first)),
            _ => false,
        };
        let named: Vec<u32> = (0..tokenizer.len() as u32).filter(|&id| steers(id)).collect();
        assert!(!named.is_empty(), "{name}");
        for &id in &named {
            let Ok(token) = std::str::from_utf8(tokenizer.token_text(id)) else {
                continue;
            };
            let text = format!("{token} x{token}\n\n{token}");
            let user = Span {
                text: &text,
                trusted: false,
            };
            let found = tokenizer.encode_spans(&[
                Span {
                    text: token,
                    trusted: true,
                },
                user,
            ]);
            assert_eq!(
                found.iter().filter(|&&id| steers(id)).collect::<Vec<_>>(),
                [&id],
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn the_tokens_that_end_generation() {
    let expected: [(&str, &[u32]); 6] = [
        // `</s>` of Qwen is no text of its own: the split rule cuts it.
        ("qwen2", &[128247, 151643, 151645]),
        ("llama-bpe", &[128001, 128009]),
        ("gemma-4", &[1, 50, 106]),
        ("llama-spm", &[2]),
        ("phi-3", &[2, 32000, 32007]),
        ("gpt-2", &[50256]),
    ];
    for (name, expected) in expected {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        assert_eq!(tokenizer.end_of_generation(), expected, "{name}");
        assert!(expected.iter().all(|&id| tokenizer.is_end_of_generation(id)));
        assert!(!tokenizer.is_end_of_generation(5));
    }
}

#[test]
fn fillers_are_never_sampled() {
    let Some(tokenizer) = vocabulary("qwen2") else {
        return;
    };
    // 151,646 tokens are real; the rest pad the matrix.
    assert_eq!(tokenizer.suppressed(), (151646..151936).collect::<Vec<u32>>());
}

/// A megabyte without a place to split, and a quarter of one of many other kinds: nothing may be quadratic.
/// Freezing is the failure.
#[test]
fn a_megabyte_in_one_word_does_not_freeze() {
    for name in ["qwen2", "llama-spm", "gemma-4"] {
        let Some(tokenizer) = vocabulary(name) else {
            continue;
        };
        for unit in ["a", " ", "7", "\n", "中文", "🦙", "<|im_start|", "\n ", "'"] {
            let length = if unit == "a" { 1 << 20 } else { 1 << 18 };
            let text = unit.repeat(length / unit.len());
            let ids = tokenizer.encode(&text, true);
            let mut decoder = StreamDecoder::at_message_start(&tokenizer);
            let mut back: String = ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
            back += &decoder.finish();
            assert!(back == text, "{name}: {unit:?}");
        }
    }
}

#[test]
fn word_piece_is_refused_by_name() {
    let Some(path) = shared("vocab/ggml-vocab-bert-bge.gguf") else {
        return;
    };
    let gguf = Gguf::read(&fs::File::open(path).unwrap()).unwrap();
    let error = Tokenizer::from_metadata(&gguf.metadata).unwrap_err();
    assert_eq!(error.kind, Kind::UnsupportedArchitecture);
    assert!(error.message.contains("\"bert\""), "{error}");
}

#[test]
fn prompts_and_replies_of_whole_models() {
    for name in [
        "recital-qwen3",
        "recital-qwen35",
        "stories260K",
        "tinystories-656k",
    ] {
        let model = if name.starts_with("recital") {
            "q8_0"
        } else {
            "f32"
        };
        let Some(tokenizer) = tokenizer(&format!("models/{name}-{model}.gguf")) else {
            continue;
        };
        let recorded = fs::read(shared(&format!("models/{name}.expected.json")).unwrap()).unwrap();
        let recorded: Value = serde_json::from_slice(&recorded).unwrap();
        let items = recorded["items"].as_array().unwrap();
        assert!(items.len() >= 4, "{name}");
        for item in items {
            let (text, trusted) = (item["prompt"].as_str().unwrap(), true);
            let prompt = tokenizer.with_specials(tokenizer.encode(text, true));
            assert_eq!(prompt, ids(&item["prompt_ids"]), "{name}: {text:?}");
            let spans = tokenizer.encode_spans(&[Span { text, trusted }]);
            assert_eq!(tokenizer.with_specials(spans), prompt, "{name}: {text:?}");
            let (reply, reply_ids) = match item.get("reply") {
                Some(reply) => (reply, ids(&item["reply_ids"])),
                None => (&item["greedy_text"], ids(&item["greedy_ids"])),
            };
            if item.get("greedy_text").is_some()
                && reply_ids.iter().any(|&id| tokenizer.token_bytes(id).is_empty())
            {
                continue; // recorded with the names of control tokens, which are no text
            }
            let mut decoder = StreamDecoder::new();
            let mut text: String = reply_ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
            text += &decoder.finish();
            // The recorders differ in whether the space before a continuation belongs to it.
            let trimmed = |text: &str| text.strip_prefix(' ').unwrap_or(text).to_string();
            assert_eq!(trimmed(&text), trimmed(reply.as_str().unwrap()), "{name}");
        }
    }
}
