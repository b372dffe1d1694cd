//! A catalogue of broken files, each beside its well-formed sibling.

use fanlight::Kind;
use fanlight::gguf::{Array, Value};
use fanlight::quant::Type;

use super::support::gguf_writer::Writer;
use super::*;

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
