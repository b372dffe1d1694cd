//! The GGUF reader: what is written is read, and what is broken is refused, with a reason, without a panic, and
//! without taking more memory than the file justifies.

mod support;

use std::cell::RefCell;
use std::path::Path;

use fanlight::gguf::{Array, Gguf, Strings, Value};
use fanlight::quant::Type;
use fanlight::source::ByteSource;
use fanlight::{Error, Kind, Result};
use support::alloc::{Counting, peak_of};
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

// ---- what is written is read ----

#[test]
fn every_value_type_comes_back() {
    for version in [2, 3] {
        let mut writer = Writer::new();
        writer.version = version;
        for (key, value) in every_value() {
            writer = writer.key(key, value);
        }
        let gguf = read(&writer.build()).unwrap();
        assert_eq!(gguf.version, version);
        assert_eq!(gguf.metadata.len(), every_value().len());
        for ((key, value), (found_key, found)) in every_value().iter().zip(gguf.metadata.iter()) {
            assert_eq!((found_key, found), (*key, value));
            assert_eq!(gguf.metadata.get(key), Some(value));
        }
        assert_eq!(gguf.metadata.get("v"), None);
        assert!(gguf.tensors.is_empty());
    }
}

#[test]
fn every_tensor_type_comes_back_with_its_place() {
    let mut writer = Writer::new();
    for ty in Type::ALL {
        let (cols, rows) = (2 * ty.block_len() as u64, 3);
        let bytes = ty.row_bytes(cols).unwrap() * rows;
        writer = writer.tensor(ty.name(), ty, &[cols, rows], vec![ty.id() as u8; bytes as usize]);
    }
    let file = writer.build();
    let gguf = read(&file).unwrap();
    assert_eq!(gguf.tensors.len(), Type::ALL.len());
    for (tensor, ty) in gguf.tensors.iter().zip(Type::ALL) {
        assert_eq!((tensor.name.as_str(), tensor.ty, tensor.part), (ty.name(), ty, 0));
        assert_eq!((tensor.cols(), tensor.rows()), (2 * ty.block_len() as u64, 3));
        assert_eq!(tensor.bytes, (6 * ty.block_bytes()) as u64);
        assert_eq!(tensor.offset % 32, 0);
        let data = &file[tensor.offset as usize..][..tensor.bytes as usize];
        assert!(data.iter().all(|&byte| byte == ty.id() as u8), "{}", ty.name());
        assert_eq!(gguf.tensor(ty.name()), Some(tensor));
    }
    assert_eq!(gguf.tensor("absent"), None);
}

#[test]
fn shapes_have_one_to_four_dimensions() {
    let writer = Writer::new()
        .f32s("scalar", &[], &[3.0])
        .f32s("line", &[5], &[0.0; 5])
        .f32s("plane", &[5, 2], &[0.0; 10])
        .f32s("cube", &[5, 2, 3], &[0.0; 30])
        .f32s("four", &[5, 2, 3, 2], &[0.0; 60]);
    let gguf = read(&writer.build()).unwrap();
    let shapes: Vec<_> = gguf
        .tensors
        .iter()
        .map(|t| (t.dims.as_slice(), t.cols(), t.rows(), t.bytes))
        .collect();
    let expected: [(&[u64], u64, u64, u64); 5] = [
        (&[1], 1, 1, 4), // a single number, which some writers store with no dimension at all
        (&[5], 5, 1, 20),
        (&[5, 2], 5, 2, 40),
        (&[5, 2, 3], 5, 6, 120),
        (&[5, 2, 3, 2], 5, 12, 240),
    ];
    assert_eq!(shapes, expected);
}

#[test]
fn data_keep_to_the_alignment_of_the_file() {
    for alignment in [1, 8, 32, 64, 4096] {
        let file = small().alignment(alignment).build();
        let gguf = read(&file).unwrap();
        let part = gguf.parts[0];
        assert_eq!(
            (part.alignment, part.len),
            (u64::from(alignment), file.len() as u64)
        );
        assert_eq!(part.data_start % u64::from(alignment), 0);
        assert_eq!(gguf.tensors[0].offset, part.data_start);
        for tensor in &gguf.tensors {
            assert_eq!(tensor.offset % u64::from(alignment), 0, "{alignment}");
        }
        let one = gguf.tensor("one").unwrap();
        assert_eq!(
            support::f32s(&file[one.offset as usize..][..one.bytes as usize]),
            [0.5; 16]
        );
    }
}

#[test]
fn a_vocabulary_without_tensors_needs_no_padding() {
    for tokens in 1..40 {
        let file = Writer::new()
            .strings("tokenizer.ggml.tokens", vec!["x"; tokens])
            .build();
        let gguf = read(&file).unwrap();
        assert_eq!(
            gguf.metadata
                .strings("tokenizer.ggml.tokens")
                .unwrap()
                .unwrap()
                .len(),
            tokens
        );
        assert_eq!(gguf.parts[0].data_start, file.len() as u64);
    }
    read(&Writer::new().build()).expect("a file with nothing in it");
}

#[test]
fn gaps_and_trailing_bytes_do_no_harm() {
    let mut writer = small();
    writer.tensors[2].offset = Some(4096);
    let mut file = writer.build();
    file.resize(file.len() + 8192, 0xEE);
    let gguf = read(&file).unwrap();
    assert_eq!(gguf.tensors[2].offset, gguf.parts[0].data_start + 4096);
}

#[test]
fn tensors_may_lie_in_any_order() {
    let mut writer = small();
    writer.tensors[0].offset = Some(32);
    writer.tensors[0].data = vec![0; 64];
    writer.tensors[2].offset = Some(0);
    writer.tensors[1].offset = Some(96);
    let gguf = read(&writer.build()).unwrap();
    let start = gguf.parts[0].data_start;
    let offsets: Vec<_> = gguf.tensors.iter().map(|t| t.offset - start).collect();
    assert_eq!(offsets, [32, 96, 0]);
}

// ---- typed getters ----

#[test]
fn integers_of_every_width_are_accepted() {
    let sevens = [
        Value::U8(7),
        Value::I8(7),
        Value::U16(7),
        Value::I16(7),
        Value::U32(7),
        Value::I32(7),
        Value::U64(7),
        Value::I64(7),
    ];
    for value in sevens {
        let name = value.type_name().into_owned();
        let metadata = read(&Writer::new().key("n", value).build()).unwrap().metadata;
        assert_eq!(metadata.u32("n").unwrap(), Some(7), "{name}");
        assert_eq!(metadata.u64("n").unwrap(), Some(7), "{name}");
        assert_eq!(metadata.i32("n").unwrap(), Some(7), "{name}");
        assert_eq!(metadata.f32("n").unwrap(), Some(7.0), "{name}");
        assert_eq!(
            metadata.u32_or_array("n", 3).unwrap(),
            Some(vec![7, 7, 7]),
            "{name}"
        );
    }
    let arrays = [
        Array::U8(vec![1, 2]),
        Array::I8(vec![1, 2]),
        Array::U16(vec![1, 2]),
        Array::I16(vec![1, 2]),
        Array::U32(vec![1, 2]),
        Array::I32(vec![1, 2]),
        Array::U64(vec![1, 2]),
        Array::I64(vec![1, 2]),
    ];
    for array in arrays {
        let name = array.element_name();
        let metadata = read(&Writer::new().key("n", array).build()).unwrap().metadata;
        assert_eq!(metadata.i32s("n").unwrap().unwrap(), [1, 2].as_slice(), "{name}");
        assert_eq!(metadata.u32s("n").unwrap().unwrap(), [1, 2].as_slice(), "{name}");
        assert_eq!(metadata.u32_or_array("n", 2).unwrap(), Some(vec![1, 2]), "{name}");
    }
}

#[test]
fn getters_return_what_is_there() {
    let writer = Writer::new()
        .key("text", "kůň")
        .key("flag", true)
        .key("x", 0.25)
        .key("wide", Value::F64(0.5))
        .key("xs", vec![1.0, 2.0])
        .key("flags", Array::Bool(vec![true, false]))
        .strings("names", [&b"\xFF"[..], b"b"]);
    let metadata = read(&writer.build()).unwrap().metadata;
    assert_eq!(metadata.str("text").unwrap(), Some("kůň"));
    assert_eq!(metadata.bool("flag").unwrap(), Some(true));
    assert_eq!(metadata.f32("x").unwrap(), Some(0.25));
    assert_eq!(metadata.f32("wide").unwrap(), Some(0.5));
    assert_eq!(metadata.f32s("xs").unwrap(), Some(&[1.0, 2.0][..]));
    assert_eq!(metadata.f32_or_array("xs", 2).unwrap(), Some(vec![1.0, 2.0]));
    assert_eq!(metadata.f32_or_array("x", 2).unwrap(), Some(vec![0.25, 0.25]));
    assert_eq!(
        metadata.bool_or_array("flags", 2).unwrap(),
        Some(vec![true, false])
    );
    assert_eq!(metadata.bool_or_array("flag", 2).unwrap(), Some(vec![true, true]));
    let names = metadata.strings("names").unwrap().unwrap();
    assert_eq!(
        (names.len(), names.get(0), names.get(1)),
        (2, &b"\xFF"[..], &b"b"[..])
    );
    assert_eq!(names.iter().collect::<Vec<_>>(), [&b"\xFF"[..], b"b"]);

    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert_eq!(metadata.str("absent").unwrap(), None);
    assert!(metadata.strings("absent").unwrap().is_none());
    assert_eq!(metadata.u32_or_array("absent", 2).unwrap(), None);
}

#[test]
fn values_that_do_not_fit_name_key_found_and_expected() {
    let writer = Writer::new()
        .key("minus", Value::I32(-1))
        .key("big", Value::U64(1 << 40))
        .key("text", "7")
        .key("bad_text", Value::String(vec![0xFF]))
        .key("three", vec![1, 2, 3])
        .key("mixed", vec![1, -2, 3])
        .key("xs", vec![1.0])
        .key("byte", Value::U8(1))
        .strings("names", ["a"]);
    let metadata = read(&writer.build()).unwrap().metadata;
    let cases: [(Option<Error>, &[&str]); 15] = [
        (
            metadata.u32("minus").err(),
            &["\"minus\"", "-1 (i32)", "an integer of 32 bits"],
        ),
        (
            metadata.u64("minus").err(),
            &["\"minus\"", "-1 (i32)", "not negative"],
        ),
        (metadata.u32("big").err(), &["\"big\"", "1099511627776 (u64)"]),
        (
            metadata.i32("big").err(),
            &["\"big\"", "signed integer of 32 bits"],
        ),
        (metadata.u32("text").err(), &["\"text\"", "string"]),
        (metadata.f32("text").err(), &["\"text\"", "a number"]),
        (metadata.bool("byte").err(), &["\"byte\"", "a bool", "1 (u8)"]),
        (metadata.str("bad_text").err(), &["\"bad_text\"", "UTF-8"]),
        (metadata.str("names").err(), &["\"names\"", "array of 1 string"]),
        (
            metadata.strings("three").err(),
            &["\"three\"", "array of strings", "array of 3 i32"],
        ),
        (metadata.f32s("three").err(), &["\"three\"", "array of f32"]),
        (metadata.i32s("xs").err(), &["\"xs\"", "array of 1 f32"]),
        (
            metadata.u32_or_array("three", 4).err(),
            &["\"three\"", "array of 4", "array of 3 i32"],
        ),
        (metadata.u32_or_array("mixed", 3).err(), &["\"mixed\""]),
        (
            metadata.bool_or_array("byte", 3).err(),
            &["\"byte\"", "array of 3 bools"],
        ),
    ];
    for (error, words) in cases {
        let error = error.unwrap_or_else(|| panic!("{words:?} should be refused"));
        assert_eq!(error.kind, Kind::MalformedFile);
        for word in words {
            assert!(error.message.contains(word), "{word:?} is not in: {error}");
        }
    }
}

// ---- not a GGUF file ----

#[test]
fn other_files_are_recognised_by_their_first_bytes() {
    let cases: [(&[u8], &str); 10] = [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"  \n<html>", "HTML"),
        (b"{\"error\":\"not found\"}", "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "LFS"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x1F\x8B\x08\x00", "gzip"),
        (
            b"\x40\x00\x00\x00\x00\x00\x00\x00{\"__metadata__\"",
            "safetensors",
        ),
        (b"tjgg\x03\x00\x00\x00", "older than GGUF"),
        (b"\x89PNG\r\n\x1a\n", "\\x89PNG\\r\\n"),
    ];
    for (start, word) in cases {
        assert_refused(read(start), Kind::NotAGguf, &["not a GGUF file", word]);
    }
    refused(small(), |w| w.magic = *b"GGUG", Kind::NotAGguf, &["GGUG"]);
}

#[test]
fn other_versions_are_refused() {
    malformed(small(), |w| w.version = 1, &["version 1"]);
    malformed(small(), |w| w.version = 0, &["version 0"]);
    malformed(small(), |w| w.version = 4, &["version 4"]);
    malformed(small(), |w| w.version = u32::MAX, &["version 4294967295"]);
    malformed(small(), |w| w.version = 3 << 24, &["big-endian"]);
    malformed(small(), |w| w.version = 2 << 24, &["big-endian"]);
}

#[test]
fn files_that_are_not_models_are_refused() {
    let adapter = || Writer::new().key("general.type", "model");
    let renamed = |ty: &'static str| move |w: &mut Writer| *w = Writer::new().key("general.type", ty);
    refused(
        adapter(),
        renamed("adapter"),
        Kind::InvalidArgument,
        &["LoRA", "give the model"],
    );
    refused(
        adapter(),
        renamed("imatrix"),
        Kind::InvalidArgument,
        &["importance matrix"],
    );
    malformed(
        adapter(),
        |w| *w = Writer::new().key("general.type", 1),
        &["general.type"],
    );
    read(&Writer::new().key("general.type", "mmproj").build()).expect("an image encoder");
}

// ---- hostile counts ----

#[test]
fn hostile_tensor_count() {
    for count in [4, 1 << 20, 1 << 32, 1 << 62, i64::MAX as u64, u64::MAX] {
        malformed(small(), |w| w.tensor_count = Some(count), &[]);
    }
    malformed(
        small(),
        |w| w.tensor_count = Some(1 << 32),
        &["4294967296 tensors"],
    );
}

#[test]
fn hostile_key_count() {
    for count in [4, 1 << 20, 1 << 32, 1 << 62, i64::MAX as u64, u64::MAX] {
        malformed(small(), |w| w.key_count = Some(count), &[]);
    }
    malformed(small(), |w| w.key_count = Some(1 << 60), &["metadata keys"]);
}

#[test]
fn hostile_array_count() {
    for element in 0..=12u32 {
        for count in [
            1 << 16,
            1 << 31,
            1 << 32,
            1 << 60,
            (1 << 61) + 1,
            u64::MAX / 8 + 1,
            u64::MAX,
        ] {
            let harm = |w: &mut Writer| {
                w.keys[0].ty = 9;
                w.keys[0].value = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
            };
            malformed(small(), harm, &[]);
        }
    }
}

#[test]
fn hostile_string_length() {
    for len in [1_u64 << 12, 1 << 27, 1 << 32, 1 << 62, i64::MAX as u64, u64::MAX] {
        malformed(
            small(),
            |w| w.keys[0].value = len.to_le_bytes().to_vec(),
            &["general.architecture"],
        );
        let tokens = |w: &mut Writer| w.keys[2].value[12..20].copy_from_slice(&len.to_le_bytes());
        malformed(small(), tokens, &["tokenizer.ggml.tokens"]);
    }
}

// ---- keys and values ----

#[test]
fn empty_key() {
    malformed(small(), |w| w.keys[1].name.clear(), &["a metadata key", "empty"]);
}

#[test]
fn key_that_is_not_utf8() {
    malformed(small(), |w| w.keys[1].name = vec![b'a', 0xFF], &["not UTF-8"]);
}

#[test]
fn key_that_is_too_long() {
    let long = |n: usize| Writer::new().key(&"k".repeat(n), 1);
    malformed(long(65_535), |w| *w = long(65_536), &["65536 bytes"]);
}

#[test]
fn duplicate_key() {
    let good = Writer::new().key("a", 1).key("b", 2).key("ab", 3);
    malformed(good, |w| w.keys[2].name = b"a".into(), &["\"a\"", "twice"]);
}

#[test]
fn unknown_value_type() {
    for ty in [13, 255, u32::MAX] {
        malformed(
            small(),
            |w| w.keys[1].ty = ty,
            &["llama.block_count", &ty.to_string()],
        );
        let element = |w: &mut Writer| w.keys[2].value[..4].copy_from_slice(&ty.to_le_bytes());
        malformed(small(), element, &["tokenizer.ggml.tokens", &ty.to_string()]);
    }
}

#[test]
fn nested_array() {
    let good = Writer::new().key("nested", vec![1, 2]);
    malformed(
        good,
        |w| w.keys[0].value[..4].copy_from_slice(&9u32.to_le_bytes()),
        &["nested", "array of arrays"],
    );
}

#[test]
fn bool_that_is_neither() {
    malformed(
        Writer::new().key("b", true),
        |w| w.keys[0].value = vec![2],
        &["\"b\"", "0 or 1", "2"],
    );
    let bools = Writer::new().key("bs", Array::Bool(vec![true, false]));
    malformed(
        bools,
        |w| *w.keys[0].value.last_mut().unwrap() = 0xFF,
        &["\"bs\"", "255"],
    );
}

#[test]
fn alignment_that_is_no_alignment() {
    let aligned = || small().alignment(32);
    let with = |value: Value| move |w: &mut Writer| *w = small().key("general.alignment", value);
    for bad in [0, 3, 33, (1 << 20) + 1, 1 << 21, 1 << 31, u32::MAX] {
        malformed(
            aligned(),
            with(Value::U32(bad)),
            &["general.alignment", &bad.to_string()],
        );
    }
    malformed(aligned(), with(Value::U64(1 << 63)), &["general.alignment"]);
    malformed(aligned(), with(Value::I32(-32)), &["general.alignment"]);
    malformed(aligned(), with(Value::F32(32.0)), &["general.alignment", "f32"]);
    malformed(
        aligned(),
        with(Value::String(b"32".into())),
        &["general.alignment", "string"],
    );
    read(&small().key("general.alignment", Value::U64(32)).build()).expect("another width of integer");
}

// ---- tensors ----

#[test]
fn tensor_name_empty_or_too_long() {
    let named = |n: usize| Writer::new().f32s(&"t".repeat(n), &[8], &[0.0; 8]);
    malformed(named(64), |w| *w = named(65), &["65 bytes"]);
    malformed(named(1), |w| *w = named(0), &["a tensor name", "empty"]);
    malformed(named(1), |w| w.tensors[0].name = vec![0xC0], &["not UTF-8"]);
}

#[test]
fn duplicate_tensor_name() {
    malformed(
        small(),
        |w| w.tensors[2].name = b"one".into(),
        &["tensor \"one\"", "twice"],
    );
}

#[test]
fn too_many_dimensions() {
    let good = || Writer::new().f32s("t", &[2, 2, 2, 2], &[0.0; 16]);
    malformed(good(), |w| w.tensors[0].dims.push(1), &["\"t\"", "5 dimensions"]);
    malformed(
        good(),
        |w| w.tensors[0].n_dims = Some(u32::MAX),
        &["4294967295 dimensions"],
    );
}

#[test]
fn dimension_of_zero() {
    for i in 0..4 {
        let good = Writer::new().f32s("t", &[2, 2, 2, 2], &[0.0; 16]);
        malformed(good, |w| w.tensors[0].dims[i] = 0, &["\"t\"", "zero"]);
    }
}

#[test]
fn product_of_dimensions_that_overflows() {
    let cases: [&[u64]; 8] = [
        &[u64::MAX],
        &[1 << 63],
        &[1 << 32, 1 << 32],
        &[1 << 32, 1 << 31],
        &[(1 << 42) + 1, 1 << 21, 1, 1],
        &[1 << 16, 1 << 16, 1 << 16, 1 << 16],
        &[u64::MAX, u64::MAX, u64::MAX, u64::MAX],
        // 2^64 + 16: wraps to the right size
        &[16, (1 << 60) + 1],
    ];
    for dims in cases {
        let good = Writer::new().f32s("t", &[4, 4], &[0.0; 16]);
        malformed(
            good,
            |w| w.tensors[0].dims = dims.to_vec(),
            &["\"t\"", "more values than can be counted"],
        );
    }
    // The values can be counted, their bytes cannot.
    let good = Writer::new().f32s("t", &[4, 4], &[0.0; 16]);
    malformed(
        good,
        |w| w.tensors[0].dims = vec![1 << 31, 1 << 31],
        &["more bytes than can be counted"],
    );
}

#[test]
fn tensor_far_larger_than_the_file() {
    for dims in [vec![1 << 42, 1], vec![1 << 20, 1 << 20], vec![17], vec![4, 5]] {
        let good = Writer::new().f32s("t", &[4, 4], &[0.0; 16]);
        malformed(
            good,
            |w| w.tensors[0].dims = dims,
            &["\"t\"", "bytes are missing"],
        );
    }
}

#[test]
fn row_that_is_not_whole_blocks() {
    let good = || Writer::new().tensor("t", Type::Q4K, &[512, 2], vec![0; 144 * 4]);
    for cols in [1, 255, 257, 511] {
        malformed(
            good(),
            |w| w.tensors[0].dims[0] = cols,
            &["\"t\"", "Q4_K", "blocks of 256"],
        );
    }
    // As many values, cut differently.
    malformed(good(), |w| w.tensors[0].dims = vec![128, 8], &["rows of 128"]);
}

#[test]
fn removed_and_unknown_types() {
    let refuse = |id: u32, words: &[&str]| {
        refused(
            small(),
            |w| w.tensors[1].ty = id,
            Kind::UnsupportedQuantization,
            words,
        );
    };
    for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, 100, u32::MAX] {
        refuse(id, &["\"two\"", &format!("type {id},")]);
    }
    refuse(4, &["Q4_2"]);
    refuse(31, &["Q4_0_4_4", "use a Q4_0 file"]);
    refuse(36, &["IQ4_NL"]);
    refuse(43, &["newer"]);
}

#[test]
fn offset_that_is_not_aligned() {
    for offset in [1, 16, 65, 127] {
        malformed(
            small(),
            |w| w.tensors[1].offset = Some(offset),
            &["\"two\"", "not aligned to 32"],
        );
    }
}

#[test]
fn offset_beyond_the_end() {
    for offset in [1 << 10, 1 << 32, 1 << 62, u64::MAX - 31] {
        malformed(small(), |w| w.tensors[2].offset = Some(offset), &["\"three\""]);
    }
    malformed(
        small(),
        |w| w.tensors[2].offset = Some(u64::MAX - 31),
        &["absurd"],
    );
}

#[test]
fn overlapping_tensors() {
    malformed(
        small(),
        |w| w.tensors[1].offset = Some(0),
        &["\"one\"", "\"two\"", "overlap"],
    );
    malformed(small(), |w| w.tensors[1].offset = Some(32), &["overlap"]);
    malformed(
        small(),
        |w| w.tensors[2].offset = Some(576),
        &["\"two\"", "\"three\"", "overlap"],
    );
    malformed(small(), |w| w.tensors[0].offset = Some(576), &["overlap"]);
}

// ---- cut short ----

#[test]
fn every_truncation_is_an_error() {
    let mut everything = small();
    for (key, value) in every_value() {
        everything = everything.key(key, value);
    }
    let vocabulary = Writer::new().strings("tokenizer.ggml.tokens", ["a", "b"]);
    for file in [
        everything.build(),
        small().alignment(1).build(),
        vocabulary.build(),
    ] {
        read(&file).unwrap();
        for len in 0..file.len() {
            let error = read(&file[..len]).expect_err(&format!("the first {len} of {} bytes", file.len()));
            let expected = if len == 0 {
                Kind::NotAGguf
            } else {
                Kind::MalformedFile
            };
            assert_eq!(error.kind, expected, "{len}: {error}");
        }
    }
}

#[test]
fn a_cut_file_says_how_much_is_missing() {
    let file = small().build();
    assert_refused(
        read(&file[..file.len() - 1]),
        Kind::MalformedFile,
        &["\"three\"", "1 bytes are missing"],
    );
    assert_refused(
        read(&file[..file.len() - 40]),
        Kind::MalformedFile,
        &["40 bytes are missing"],
    );
    assert_refused(
        read(&file[..6]),
        Kind::MalformedFile,
        &["the version", "2 bytes too early"],
    );
    assert_refused(read(&file[..2]), Kind::MalformedFile, &["cut off"]);
}

// ---- anything goes ----

/// Reads a changed file: whatever comes out, it is no panic, it takes little memory, and a description that is
/// accepted keeps its promises.
fn read_changed(file: &[u8], what: impl Fn() -> String) {
    let source = file.to_vec();
    let (result, peak) = peak_of(|| Gguf::read(&source));
    assert!(
        peak <= 16 * file.len() + (1 << 20),
        "{}: {peak} bytes for a file of {}",
        what(),
        file.len()
    );
    let Ok(gguf) = result else { return };
    for tensor in &gguf.tensors {
        let row = tensor.ty.row_bytes(tensor.cols()).expect("whole blocks");
        assert_eq!(row.checked_mul(tensor.rows()), Some(tensor.bytes), "{}", what());
        assert!(tensor.offset + tensor.bytes <= file.len() as u64, "{}", what());
    }
}

fn file_with_everything() -> Vec<u8> {
    let mut writer = small().alignment(32);
    for (key, value) in every_value() {
        writer = writer.key(key, value);
    }
    writer
        .tensor("blocks", Type::Iq2Xs, &[256, 2, 1, 3], vec![0; 74 * 6])
        .build()
}

#[test]
fn no_single_changed_byte_does_harm() {
    let good = file_with_everything();
    let header = read(&good).unwrap().parts[0].data_start as usize;
    let mut file = good.clone();
    for at in 0..header {
        for byte in 0..=255 {
            file[at] = byte;
            read_changed(&file, || format!("byte {at} changed to {byte}"));
        }
        file[at] = good[at];
    }
}

#[test]
fn no_extreme_number_anywhere_does_harm() {
    let good = file_with_everything();
    let header = read(&good).unwrap().parts[0].data_start as usize;
    let mut extremes = vec![
        0,
        u64::MAX,
        u64::MAX - 31,
        u64::MAX / 8 + 1,
        u64::MAX / 34 + 1,
        i64::MAX as u64,
    ];
    extremes.extend(
        (8..64)
            .step_by(4)
            .flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]),
    );
    let mut file = good.clone();
    for at in 0..header - 8 {
        for extreme in &extremes {
            file[at..at + 8].copy_from_slice(&extreme.to_le_bytes());
            read_changed(&file, || format!("{extreme:#x} at {at}"));
        }
        file[at..at + 8].copy_from_slice(&good[at..at + 8]);
    }
}

#[test]
fn reading_takes_memory_in_proportion_to_the_header() {
    // Much metadata: close to what it takes in the file.
    let tokens = (0..100_000).map(|i| format!("token{i}"));
    let file = Writer::new()
        .strings("tokenizer.ggml.tokens", tokens)
        .key("xs", vec![0.5; 100_000])
        .build();
    let (gguf, peak) = peak_of(|| Gguf::read(&file));
    gguf.unwrap();
    assert!(peak <= 2 * file.len(), "{peak} bytes for {}", file.len());

    // Very small keys and tensors, the most costly there are.
    let mut writer = Writer::new();
    for i in 0..50_000u32 {
        writer = writer
            .key(&format!("{i:x}"), Value::U8(1))
            .f32s(&format!("{i:x}"), &[], &[0.0]);
    }
    writer = writer.alignment(1);
    let file = writer.build();
    let (gguf, peak) = peak_of(|| Gguf::read(&file));
    assert_eq!(gguf.unwrap().tensors.len(), 50_000);
    assert!(peak <= 16 * file.len(), "{peak} bytes for {}", file.len());
}

// ---- the byte source ----

/// A file whose data are zeros that nobody has stored; remembers how far it was read.
struct Watched {
    header: Vec<u8>,
    len: u64,
    read_up_to: RefCell<u64>,
}

impl ByteSource for Watched {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let end = offset + into.len() as u64;
        assert!(end <= self.len, "{end} is beyond the end");
        let mut up_to = self.read_up_to.borrow_mut();
        *up_to = end.max(*up_to);
        for (byte, at) in into.iter_mut().zip(offset as usize..) {
            *byte = self.header.get(at).copied().unwrap_or(0);
        }
        Ok(())
    }
}

#[test]
fn only_the_header_is_read_even_of_a_file_beyond_4_gib() {
    let mut writer = Writer::new().f32s("a", &[8], &[0.0; 8]);
    writer.tensors[0].dims = vec![1 << 20, 3000];
    let header = writer.build();
    let len = header.len() as u64 - 32 + (3000 << 22);
    assert!(len > 1 << 33);
    let file = Watched {
        header,
        len,
        read_up_to: RefCell::new(0),
    };
    let gguf = Gguf::read(&file).unwrap();
    assert_eq!(gguf.tensors[0].bytes, 3000 << 22);
    assert!(*file.read_up_to.borrow() <= 64 * 1024);

    let short = Watched {
        len: file.len - 1,
        ..file
    };
    assert_refused(Gguf::read(&short), Kind::MalformedFile, &["1 bytes are missing"]);
}

#[test]
fn a_source_that_fails_is_believed() {
    struct Broken;
    impl ByteSource for Broken {
        fn len(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> Result<()> {
            Err(Error::new(Kind::Integrity, "the disk is on fire"))
        }
    }
    assert_refused(Gguf::read(&Broken), Kind::Integrity, &["on fire"]);
}

// ---- split files ----

/// Three parts of a model; only the first has its metadata.
fn parts() -> [Writer; 3] {
    let split = |writer: Writer, number: u16| {
        writer
            .key("split.no", Value::U16(number))
            .key("split.count", Value::U16(3))
            .key("split.tensors.count", Value::I32(4))
    };
    [
        split(Writer::new().key("general.architecture", "llama"), 0).f32s("a", &[8], &[1.0; 8]),
        split(Writer::new(), 1)
            .alignment(64)
            .f32s("b", &[8], &[2.0; 8])
            .f32s("c", &[8], &[3.0; 8]),
        split(Writer::new(), 2).f32s("d", &[8], &[4.0; 8]),
    ]
}

fn build(parts: [Writer; 3]) -> [Vec<u8>; 3] {
    parts.map(|part| part.build())
}

#[test]
fn all_parts_together_are_one_model() {
    let files = build(parts());
    let gguf = read_parts(&files).unwrap();
    assert_eq!(gguf.metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(gguf.parts.len(), 3);
    assert_eq!(gguf.parts[1].alignment, 64);
    for (name, part, value) in [("a", 0, 1.0), ("b", 1, 2.0), ("c", 1, 3.0), ("d", 2, 4.0)] {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.part, part, "{name}");
        let data = &files[part][tensor.offset as usize..][..tensor.bytes as usize];
        assert_eq!(support::f32s(data), [value; 8], "{name}");
    }
}

#[test]
fn parts_missing_or_in_the_wrong_order() {
    let [a, b, c] = build(parts());
    let wrong = |files: &[&Vec<u8>], words: &[&str]| {
        let files: Vec<Vec<u8>> = files.iter().map(|&file| file.clone()).collect();
        assert_refused(read_parts(&files), Kind::InvalidArgument, words);
    };
    wrong(&[], &["none was given"]);
    wrong(&[&a], &["part 1 of a model in 3 files", "1 were given"]);
    wrong(&[&b], &["part 2 of a model in 3 files"]);
    wrong(&[&a, &b], &["part 1 of 2", "in 3 files", "2 were given"]);
    wrong(&[&a, &c, &b], &["part 3 of 3", "given as part 2"]);
    wrong(&[&b, &a, &c], &["part 2 of 3", "given as part 1"]);
    wrong(&[&a, &a, &c], &["part 1 of 3", "given as part 2"]);
    wrong(&[&a, &b, &c, &c], &["4 were given"]);
    assert_refused(read(&a), Kind::InvalidArgument, &["give all parts"]);

    let whole = small().build();
    wrong(&[&whole, &whole], &["not split", "2 were given"]);
}

#[test]
fn parts_that_do_not_belong_together() {
    let broken = |harm: &dyn Fn(&mut [Writer; 3]), words: &[&str]| {
        read_parts(&build(parts())).expect("the well-formed sibling");
        let mut bad = parts();
        harm(&mut bad);
        assert_refused(read_parts(&build(bad)), Kind::MalformedFile, words);
    };
    broken(
        &|p| p[2].tensors[0].name = b"a".into(),
        &["tensor \"a\"", "twice"],
    );
    broken(&|p| p[1].tensors.truncate(1), &["3 tensors together", "says 4"]);
    broken(&|p| p[1].keys[0].ty = 8, &["part 2 of 3"]);
    broken(
        &|p| p[2].tensors[0].dims[0] = 9,
        &["part 3 of 3", "bytes are missing"],
    );
    broken(
        &|p| p[2].keys[2] = Writer::new().key("split.tensors.count", "four").keys.remove(0),
        &["split.tensors.count"],
    );
}

#[test]
fn a_merged_file_says_it_has_no_parts() {
    let merged = small()
        .key("split.count", Value::U16(0))
        .key("split.no", Value::U16(0));
    read(&merged.build()).unwrap();
    read(&small().key("split.count", Value::U16(1)).build()).unwrap();
}

// ---- real files ----

#[test]
fn every_real_file_is_read_and_no_half_of_one() {
    let Some(fixtures) = support::shared_fixtures("reading every real GGUF file of the fixtures") else {
        return;
    };
    let mut files = Vec::new();
    find_gguf(&fixtures, &mut files);
    assert!(files.len() >= 40, "{} files found", files.len());
    for path in files {
        let file = std::fs::File::open(&path).unwrap();
        let gguf = Gguf::read(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(gguf.version, 3, "{}", path.display());
        assert!(
            gguf.metadata.str("general.architecture").unwrap().is_some(),
            "{}",
            path.display()
        );
        // The tensors fill the file to its end.
        let end = gguf
            .tensors
            .iter()
            .map(|t| t.offset + t.bytes)
            .max()
            .unwrap_or(gguf.parts[0].data_start);
        assert_eq!(
            end.next_multiple_of(if gguf.tensors.is_empty() { 1 } else { 32 }),
            gguf.parts[0].len
        );

        let half = Watched {
            header: std::fs::read(&path).unwrap(),
            len: gguf.parts[0].len / 2,
            read_up_to: RefCell::new(0),
        };
        assert_refused(Gguf::read(&half), Kind::MalformedFile, &[]);
    }
}

fn find_gguf(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_gguf(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "gguf") {
            found.push(path);
        }
    }
}
