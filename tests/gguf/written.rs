//! What is written is read.

use std::path::{Path, PathBuf};

use fanlight::gguf::{Array, Gguf, Value};
use fanlight::quant::Type;
use fanlight::{Error, Kind};

use super::support::gguf_writer::Writer;
use super::*;

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
        let file = std::fs::read(&path).unwrap();
        let gguf = Gguf::read(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        #[cfg(unix)]
        assert_eq!(
            Gguf::read(&std::fs::File::open(&path).unwrap()).unwrap(),
            gguf,
            "{}",
            path.display()
        );
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

        let half = &file[..file.len() / 2];
        assert_refused(read(half), Kind::MalformedFile, &[]);
    }
}

fn find_gguf(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_gguf(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "gguf") {
            found.push(path);
        }
    }
}
