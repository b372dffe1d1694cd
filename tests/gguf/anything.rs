//! Whatever the bytes: an answer, no panic, little memory.

use fanlight::Kind;
use fanlight::gguf::{Gguf, Value};
use fanlight::quant::Type;

use super::support::alloc::peak_of;
use super::support::gguf_writer::Writer;
use super::*;

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
