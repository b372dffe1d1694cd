//! What is asked of the byte source, and split files with one source per part.

use std::cell::RefCell;

use fanlight::gguf::{Gguf, Value};
use fanlight::source::ByteSource;
use fanlight::{Error, Kind, Result};

use super::support::alloc::peak_of;
use super::support::gguf_writer::Writer;
use super::*;

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
fn a_huge_file_does_not_justify_a_huge_header() {
    // All of this would be in the file: 5 GiB of one array, of many strings, of one string.
    let one = 5u64 << 30;
    for (element, count) in [(0u32, one), (4, one / 4), (7, one), (8, one / 8)] {
        let mut writer = Writer::new().key("a", vec![1]);
        writer.keys[0].value = [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let file = Watched {
            header: writer.build(),
            len: 6 << 30,
            read_up_to: RefCell::new(0),
        };
        let (result, peak) = peak_of(|| Gguf::read(&file));
        assert_refused(result, Kind::MalformedFile, &["headers of more than"]);
        assert!(peak < 1 << 20, "{peak}");
    }
    let mut writer = Writer::new().key("a", "text");
    writer.keys[0].value = one.to_le_bytes().into();
    let file = Watched {
        header: writer.build(),
        len: 6 << 30,
        read_up_to: RefCell::new(0),
    };
    assert_refused(Gguf::read(&file), Kind::MalformedFile, &["\"a\"", "bytes long"]);
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
