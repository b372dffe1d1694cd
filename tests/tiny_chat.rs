//! The model of our own against what transformers recorded of it (`training/README.md`): prompts, ids, replies, logits.

use fanlight::chat::{ChatTemplate, Delta, PromptInput, ReplyOptions, ReplyParser};
use fanlight::gguf::Gguf;
use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::source::ByteSource;
use fanlight::tokenizer::{Span, Tokenizer};
use serde_json::{Map, Value, json};

#[path = "support/drive.rs"]
mod drive;
#[path = "support/npy.rs"]
mod npy;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/models/tiny-chat-q8_0.gguf");
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
/// Control tokens: those that a user's text must not become.
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(format!("{GOLDEN}/{name}")).unwrap()).unwrap()
}

fn entries(golden: &Value, kinds: &[&str]) -> Vec<Value> {
    let all: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| golden[kind].as_array().unwrap().clone())
        .collect();
    assert!(!all.is_empty());
    all
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn input(chat: &Value) -> PromptInput {
    PromptInput {
        messages: chat["messages"].clone(),
        tools: Some(chat["tools"].clone()).filter(|tools| !tools.is_null()),
        add_generation_prompt: true,
        variables: Map::from_iter([("enable_thinking".into(), chat["enable_thinking"].clone())]),
        now: None,
    }
}

fn opened() -> (Gguf, Tokenizer, ChatTemplate) {
    let gguf = Gguf::read(&std::fs::File::open(MODEL).unwrap()).unwrap();
    let tokenizer = Tokenizer::from_metadata(&gguf.metadata).unwrap();
    let source = gguf.metadata.str("tokenizer.chat_template").unwrap().unwrap();
    let template = ChatTemplate::new(source, CONTROL[0], CONTROL[2], &CONTROL).unwrap();
    (gguf, tokenizer, template)
}

#[test]
fn prompts_render_and_encode_as_recorded() {
    let (_, tokenizer, template) = opened();
    for chat in entries(&golden("tiny-chat.expected.json"), &["chats"]) {
        let name = &chat["name"];
        let mut input = input(&chat);
        input.messages = template.normalize(&input.messages).unwrap();
        let spans = template.render(&input).unwrap();
        let text: String = spans.iter().map(|span| span.text.as_str()).collect();
        assert_eq!(text, chat["prompt"], "{name}");
        let spans: Vec<Span> = spans
            .iter()
            .map(|s| Span {
                text: &s.text,
                trusted: s.trusted,
            })
            .collect();
        assert_eq!(tokenizer.encode_spans(&spans), ids(&chat["prompt_ids"]), "{name}");
    }
}

#[test]
fn replies_decode_and_parse_as_recorded() {
    let (_, tokenizer, template) = opened();
    for chat in entries(&golden("tiny-chat.expected.json"), &["chats"]) {
        let name = &chat["name"];
        let mut reply_ids = ids(&chat["reply_ids"]);
        assert!(tokenizer.is_end_of_generation(reply_ids.pop().unwrap()), "{name}");
        let reply = tokenizer.decode(&reply_ids);
        assert_eq!(reply, chat["reply"], "{name}");

        let options = ReplyOptions::for_prompt(&template, &input(&chat)).unwrap();
        let mut parser = ReplyParser::new(options);
        let mut got = parser.push(&reply);
        got.join(parser.finish());
        assert_eq!(as_message(&got), chat["message"], "{name}");
    }
}

fn as_message(reply: &Delta) -> Value {
    let mut message = json!({ "role": "assistant", "content": reply.content });
    if !reply.reasoning.is_empty() {
        message["reasoning_content"] = json!(reply.reasoning.trim_matches('\n'));
    }
    let calls = reply.tool_calls.iter().map(|call| {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
        json!({ "type": "function", "function": { "name": call.name, "arguments": arguments } })
    });
    let calls: Vec<Value> = calls.collect();
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    message
}

/// With the right beginning, the best token is the right one everywhere: that is greedy recital, in one pass.
#[test]
fn every_text_is_recited_with_every_cache() {
    let golden = golden("tiny-chat.expected.json");
    for kv in [KvType::F32, KvType::default(), KvType::Q8] {
        for chat in entries(&golden, &["chats", "completions"]) {
            let (prompt, reply) = (ids(&chat["prompt_ids"]), ids(&chat["reply_ids"]));
            let (vocabulary, logits) = logits_of(&[&prompt[..], &reply[..]].concat(), kv);
            let said: Vec<u32> = logits
                .chunks_exact(vocabulary)
                .skip(prompt.len() - 1)
                .take(reply.len())
                .map(|row| {
                    (0..vocabulary)
                        .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                        .unwrap() as u32
                })
                .collect();
            assert_eq!(said, reply, "{} {}", chat["name"], kv.name());
        }
    }
}

/// The reference computes in f32 on the dequantised weights. Kernels that round activations to 8 bits may be as far from it as
/// the reference itself is when its activations are rounded, and half as much again: the rounding errors are others.
#[test]
fn logits_are_near_the_recorded_ones() {
    let index = golden("tiny-chat-logits.json");
    let chats = entries(&golden("tiny-chat.expected.json"), &["chats"]);
    let (shape, want) = npy::read(format!("{GOLDEN}/tiny-chat-logits.npy").as_ref());
    let rows = entries(&index, &["rows"]);
    assert_eq!(shape[0], rows.len());
    let (mut max, mut sum) = (0.0f32, 0.0f64);
    for (row, want) in rows.iter().zip(want.chunks_exact(shape[1])) {
        let chat = chats.iter().find(|chat| chat["name"] == row["chat"]).unwrap();
        let all = [ids(&chat["prompt_ids"]), ids(&chat["reply_ids"])].concat();
        let position = row["position"].as_u64().unwrap() as usize;
        let (vocabulary, logits) = logits_of(&all[..=position], KvType::F32);
        let got = &logits[position * vocabulary..];
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            max = max.max((got - want).abs());
            sum += f64::from((got - want).abs());
        }
    }
    let mean = sum / want.len() as f64;
    let rounding = |key: &str| index["rounded_activations"][key].as_f64().unwrap();
    println!("max {max:.6}, mean {mean:.6}");
    assert!(f64::from(max) <= 1.5 * rounding("max"), "max {max}");
    assert!(mean <= 1.5 * rounding("mean"), "mean {mean}");
}

fn logits_of(ids: &[u32], kv: KvType) -> (usize, Vec<f32>) {
    let file = std::fs::File::open(MODEL).unwrap();
    let parts: [&dyn ByteSource; 1] = [&file];
    let gguf = Gguf::read_parts(&parts).unwrap();
    let mut models = drive::load(
        &gguf,
        &parts,
        1,
        Options {
            kv_type: kv,
            ..Options::default()
        },
    )
    .unwrap();
    let logits = drive::logits(&mut models, ids).unwrap();
    (models[0].hyper.vocabulary, logits)
}
