//! The GGUF reader: what is written is read, and what is broken is refused, with a reason, without a panic, and
//! without taking more memory than the file justifies.

#[path = "gguf/anything.rs"]
mod anything;
#[path = "gguf/hostile.rs"]
mod hostile;
#[path = "gguf/source.rs"]
mod source;
#[path = "gguf/written.rs"]
mod written;

mod support;

use fanlight::gguf::{Array, Gguf, Strings, Value};
use fanlight::quant::Type;
use fanlight::source::ByteSource;
use fanlight::{Kind, Result};
use support::alloc::Counting;
use support::gguf_writer::Writer;

#[global_allocator]
static COUNTING: Counting = Counting;

/// A small model-like file: some keys, three tensors, all data a multiple of the alignment.
fn small() -> Writer {
    Writer::new()
        .key("general.architecture", "llama")
        .key("llama.block_count", 2)
        .strings("tokenizer.ggml.tokens", ["a", "b", "ab"])
        .f32s("one", &[8, 2], &[0.5; 16])
        .tensor("two", Type::Q8_0, &[32, 16], vec![7; 34 * 16])
        .f32s("three", &[8], &[1.0; 8])
}

/// One key of every type, and an array of every type.
fn every_value() -> Vec<(&'static str, Value)> {
    let strings: Strings = [&b"a"[..], b"", b"\xFF\xFE not UTF-8", "žluťoučký".as_bytes()]
        .iter()
        .collect();
    vec![
        ("v.u8", Value::U8(200)),
        ("v.i8", Value::I8(-100)),
        ("v.u16", Value::U16(60_000)),
        ("v.i16", Value::I16(-30_000)),
        ("v.u32", Value::U32(4_000_000_000)),
        ("v.i32", Value::I32(-2_000_000_000)),
        ("v.f32", Value::F32(-1.5e-30)),
        ("v.true", Value::Bool(true)),
        ("v.false", Value::Bool(false)),
        ("v.string", Value::String("řeka \0 \"quoted\"".into())),
        ("v.empty", Value::String(Vec::new())),
        ("v.bytes", Value::String(vec![0xFF, 0xC0])),
        ("v.u64", Value::U64(u64::MAX)),
        ("v.i64", Value::I64(i64::MIN)),
        ("v.f64", Value::F64(1e-300)),
        ("a.u8", Value::Array(Array::U8(vec![0, 255]))),
        ("a.i8", Value::Array(Array::I8(vec![-128, 127]))),
        ("a.u16", Value::Array(Array::U16(vec![1, 65_535]))),
        ("a.i16", Value::Array(Array::I16(vec![-32_768, 5]))),
        ("a.u32", Value::Array(Array::U32(vec![u32::MAX, 3, 4]))),
        ("a.i32", Value::Array(Array::I32(vec![i32::MIN, i32::MAX]))),
        ("a.f32", Value::Array(Array::F32(vec![0.1, -0.0, f32::INFINITY]))),
        ("a.bool", Value::Array(Array::Bool(vec![true, false, true]))),
        ("a.string", Value::Array(Array::Strings(strings))),
        ("a.u64", Value::Array(Array::U64(vec![u64::MAX]))),
        ("a.i64", Value::Array(Array::I64(vec![i64::MIN, -1]))),
        ("a.f64", Value::Array(Array::F64(vec![f64::MAX]))),
        ("a.empty", Value::Array(Array::U32(Vec::new()))),
    ]
}

fn read(file: &[u8]) -> Result<Gguf> {
    Gguf::read(&file.to_vec())
}

fn read_parts(files: &[Vec<u8>]) -> Result<Gguf> {
    let sources: Vec<&dyn ByteSource> = files.iter().map(|file| file as &dyn ByteSource).collect();
    Gguf::read_parts(&sources)
}

/// The file reads well; after `harm` it is refused, with this kind, and a message that has all of `words`.
fn refused(good: Writer, harm: impl FnOnce(&mut Writer), kind: Kind, words: &[&str]) {
    read(&good.build()).expect("the well-formed sibling");
    let mut bad = good;
    harm(&mut bad);
    assert_refused(read(&bad.build()), kind, words);
}

fn assert_refused(result: Result<Gguf>, kind: Kind, words: &[&str]) {
    let error = result.expect_err("the broken file");
    assert_eq!(error.kind, kind, "{error}");
    for word in words {
        assert!(error.message.contains(word), "{word:?} is not in: {error}");
    }
}

fn malformed(good: Writer, harm: impl FnOnce(&mut Writer), words: &[&str]) {
    refused(good, harm, Kind::MalformedFile, words);
}

#[test]
fn arrays_can_be_forgotten_and_the_rest_is_found_as_before() {
    let file = every_value()
        .into_iter()
        .rev()
        .fold(small(), |file, (key, value)| file.key(key, value));
    let mut metadata = read(&file.build()).unwrap().metadata;
    let before = metadata.len();
    metadata.forget_arrays("v.");
    assert_eq!(metadata.len(), before, "none of these is an array");
    metadata.forget_arrays("a.");
    for (key, value) in every_value() {
        let is_array = matches!(value, Value::Array(_));
        assert_eq!(metadata.get(key), Some(&value).filter(|_| !is_array), "{key}");
    }
}
