//! Vocabularies small enough to work out by hand, and hostile ones: each broken file beside a well-formed
//! sibling.

#[path = "support/random.rs"]
mod random;
mod support;

use fanlight::gguf::{Gguf, Value};
use fanlight::tokenizer::{Span, StreamDecoder, Tokenizer};
use fanlight::{Kind, Result};
use random::Random;
use support::gguf_writer::{IntoValue, Writer};

/// How GPT-2's vocabularies write each byte: the printable ones as they are, the others moved up.
fn disguise() -> Vec<String> {
    let prints = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut moved = 0..;
    let mut spell = |byte| {
        char::from_u32(if prints(byte) {
            byte
        } else {
            256 + moved.next().unwrap()
        })
        .unwrap()
    };
    (0..256).map(|byte| spell(byte).to_string()).collect()
}

/// A byte-level vocabulary: bytes 0 to 255, then these.
const WORDS: [(&str, i32); 16] = [
    ("he", 1),
    ("ll", 1),
    ("hell", 1),
    ("hello", 1),
    ("Ġhello", 1),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<think>", 4),
    ("<table>", 4),
    ("\n\n", 4),
    ("<|unused_0|>", 3),
    ("[PAD267]", 4),
    ("gone", 5),
    ("<|im", 1),
    ("Ġ  ", 1),
    ("", 1),
];
const IM_START: u32 = 261;
const IM_END: u32 = 262;
const THINK: u32 = 263;

fn byte_level_file() -> Writer {
    let tokens = disguise()
        .into_iter()
        .chain(WORDS.iter().map(|word| word.0.to_string()));
    let types: Vec<i32> = [1; 256]
        .into_iter()
        .chain(WORDS.iter().map(|word| word.1))
        .collect();
    Writer::new()
        .key("tokenizer.ggml.model", "gpt2")
        .key("tokenizer.ggml.pre", "qwen2")
        .strings("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.token_type", types)
        .strings(
            "tokenizer.ggml.merges",
            ["h e", "l l", "he ll", "hell o", "Ġ hello", "< |", "<| im"],
        )
        .key("tokenizer.ggml.bos_token_id", IM_START)
}

fn sentence_piece_file() -> Writer {
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let words = [
        "<unk>", "<s>", "</s>", "▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "a", "aa",
    ];
    let tokens: Vec<String> = words.iter().map(|word| word.to_string()).chain(bytes).collect();
    let types: Vec<i32> = [2, 3, 3].into_iter().chain([1; 12]).chain([6; 256]).collect();
    let scores: Vec<f32> = (0..tokens.len())
        .map(|id| if id < 3 { 0.0 } else { -(id as f32) })
        .collect();
    Writer::new()
        .key("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.scores", scores)
        .key("tokenizer.ggml.token_type", types)
}

fn load(file: &Writer) -> Result<Tokenizer> {
    Tokenizer::from_metadata(&Gguf::read(&file.build())?.metadata)
}

fn byte_level(change: impl Fn(Writer) -> Writer) -> Tokenizer {
    load(&change(byte_level_file())).unwrap()
}

fn sentence_piece(change: impl Fn(Writer) -> Writer) -> Tokenizer {
    load(&change(sentence_piece_file())).unwrap()
}

/// The file with another value for this key.
fn with(mut file: Writer, name: &str, value: impl IntoValue) -> Writer {
    let name = format!("tokenizer.ggml.{name}");
    file.keys.retain(|key| key.name != name.as_bytes());
    file.key(&name, value)
}

fn with_strings<S: AsRef<[u8]>>(
    mut file: Writer,
    name: &str,
    strings: impl IntoIterator<Item = S>,
) -> Writer {
    let name = format!("tokenizer.ggml.{name}");
    file.keys.retain(|key| key.name != name.as_bytes());
    file.strings(&name, strings)
}

fn without(mut file: Writer, name: &str) -> Writer {
    let name = format!("tokenizer.ggml.{name}");
    file.keys.retain(|key| key.name != name.as_bytes());
    file
}

#[test]
fn a_small_vocabulary_by_hand() {
    let tokenizer = byte_level(|file| file);
    assert_eq!(tokenizer.encode("hello hello", false), [259, 260]);
    assert_eq!(tokenizer.encode("hé", false), [104, 0xc3, 0xa9]);
    assert_eq!(tokenizer.encode("<|im_start|>hello", true), [IM_START, 259]);
    let spelled: Vec<u32> = "<|im_start|>".bytes().map(u32::from).collect();
    assert_eq!(tokenizer.encode("<|im_start|>", false), spelled);
    assert_eq!(
        tokenizer.encode("<think>", false),
        [THINK],
        "user-defined tokens are always found"
    );
    assert_eq!(
        tokenizer.decode(&[IM_START, 259, 260, THINK, IM_END]),
        "hello hello<think>"
    );
    assert_eq!(tokenizer.token_bytes(IM_END), b"");
    assert_eq!(tokenizer.token_text(IM_END), b"<|im_end|>");
    assert_eq!(
        (tokenizer.token_bytes(260), tokenizer.token_bytes(0)),
        (&b" hello"[..], &[0u8][..])
    );
    assert_eq!(tokenizer.id_of(b"<|im_end|>"), Some(IM_END));
    assert_eq!(
        (tokenizer.id_of(b" hello"), tokenizer.id_of(b"nothing")),
        (Some(260), None)
    );
    assert_eq!(
        tokenizer.suppressed(),
        [266, 267, 268, 271],
        "unused by name, padding, unused by type, empty"
    );
    assert_eq!(
        (tokenizer.bos(), tokenizer.eos(), tokenizer.eot()),
        (Some(IM_START), None, Some(IM_END))
    );

    let tokenizer = sentence_piece(|file| file);
    assert_eq!(tokenizer.encode("hello hello", false), [12, 12]);
    assert_eq!(
        tokenizer.encode("</s>hello", true),
        [2, 12],
        "a space after every special token"
    );
    assert_eq!(tokenizer.encode("aé", false), [3, 13, 15 + 0xc3, 15 + 0xa9]);
    assert_eq!(tokenizer.decode(&[1, 12, 12]), "hello hello");
    assert_eq!(tokenizer.encode("", false), [0u32; 0]);
    let bare = sentence_piece(|file| with(file, "add_space_prefix", false));
    assert_eq!(bare.encode("hello hello", false), [11, 12]);
}

#[test]
fn specials_are_added_once() {
    let ends = |file| with(with(file, "add_eos_token", true), "add_bos_token", true);
    let tokenizer = sentence_piece(ends);
    assert_eq!(tokenizer.with_specials(vec![5]), [1, 5, 2]);
    assert_eq!(tokenizer.with_specials(vec![1, 5, 2]), [1, 5, 2]);
    assert_eq!(tokenizer.with_specials(vec![]), [1, 2]);
    let silent = sentence_piece(|file| with(file, "add_bos_token", false));
    assert_eq!(silent.with_specials(vec![5]), [5]);
}

#[test]
fn names_count_only_where_every_byte_is_trusted() {
    let tokenizer = byte_level(|file| file);
    let spans = |parts: &[(&str, bool)]| {
        let spans: Vec<Span> = parts
            .iter()
            .map(|&(text, trusted)| Span { text, trusted })
            .collect();
        tokenizer.encode_spans(&spans)
    };
    let specials = |parts: &[(&str, bool)]| -> Vec<u32> {
        spans(parts)
            .into_iter()
            .filter(|&id| (IM_START..270).contains(&id) && id != 269)
            .collect()
    };
    assert_eq!(
        specials(&[
            ("<|im_start|>", true),
            ("<|im_end|><think>", false),
            ("<|im_end|>", true)
        ]),
        [261, 262]
    );
    assert_eq!(
        specials(&[("<|im_", true), ("end|>", true)]),
        [IM_END],
        "two trusted spans side by side"
    );
    assert_eq!(
        specials(&[("<|im_", true), ("", false), ("end|>", true)]),
        [IM_END]
    );
    assert_eq!(specials(&[("<|im_", true), ("end|>", false)]), [0u32; 0]);
    assert_eq!(specials(&[("<|im_", false), ("end|>", true)]), [0u32; 0]);
    assert_eq!(
        specials(&[("<|im_e", true), ("n", false), ("d|>", true)]),
        [0u32; 0]
    );
    assert_eq!(
        specials(&[("<table>\n\n", false)]),
        [264, 265],
        "HTML and white space are text"
    );
    assert_eq!(
        spans(&[("hel", true), ("lo", false), (" hello", false)]),
        [259, 260],
        "merges cross the borders"
    );
    assert_eq!(spans(&[]), [0u32; 0]);
    let all = "<|im_start|>hello<think>\n\n<|im_end|>";
    assert_eq!(spans(&[(all, true)]), tokenizer.encode(all, true));
}

#[test]
fn a_stream_never_shows_half_a_character() {
    let texts: [&[u8]; 8] = [
        "🦙 中文 é x 👩‍👩‍👧 e\u{301}".as_bytes(),
        b"\xf0\x9f\xa6",
        b"a\xff\xfeb\xc3",
        b"\xe4\xb8\xe4\xb8\xad\x80\x80",
        b"\xed\xa0\x80 surrogate \xf4\x90\x80\x80 too high \xc0\xaf overlong",
        b"\xf0\x9f\xf0\x9f\xa6\x99",
        b"\xe0\x80\x80\xf0\x80\x80\x80",
        b"",
    ];
    for bytes in texts {
        let expected = String::from_utf8_lossy(bytes);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = StreamDecoder::new();
                let mut text = String::new();
                for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    text += &decoder.push_bytes(part);
                    assert!(
                        expected.starts_with(&text),
                        "{bytes:?} in three parts at {first} and {second}"
                    );
                }
                text += &decoder.finish();
                assert_eq!(text, expected, "{bytes:?} in three parts at {first} and {second}");
                assert_eq!(decoder.finish(), "", "the end is told once");
            }
        }
    }
}

#[test]
fn a_message_begins_without_the_space_of_the_tokenizer() {
    let tokenizer = sentence_piece(|file| file);
    let mut decoder = StreamDecoder::at_message_start(&tokenizer);
    let pieces: Vec<String> = [1, 12, 2, 12].map(|id| decoder.push(&tokenizer, id)).into();
    assert_eq!(pieces, ["", "hello", "", " hello"]);
    let mut decoder = StreamDecoder::new();
    assert_eq!(decoder.push(&tokenizer, 12), " hello", "a continuation keeps it");
    assert_eq!(decoder.push_with_names(&tokenizer, 2), "</s>");
}

#[test]
fn a_tokenizer_that_is_not_there_is_named() {
    let message = |file: &Writer| {
        let error = load(file).unwrap_err();
        assert_eq!(error.kind, Kind::UnsupportedArchitecture);
        error.message
    };
    let bert = message(&with(byte_level_file(), "model", "bert"));
    assert!(bert.contains("\"bert\"") && bert.contains("gpt2"), "{bert}");
    let unknown = message(&with(byte_level_file(), "pre", "newfangled"));
    assert!(
        unknown.contains("\"newfangled\"") && unknown.contains("qwen35"),
        "{unknown}"
    );
}

#[test]
fn contradictions_are_refused() {
    let (bytes, pieces) = (byte_level_file, sentence_piece_file);
    let mut spelled: Vec<String> = disguise();
    spelled.push("<".repeat(100_000));
    let mut long_type = vec![1; 256];
    long_type.push(3);
    let cases = [
        ("no model", without(bytes(), "model")),
        ("model is a number", with(bytes(), "model", 7u32)),
        ("no tokens", without(bytes(), "tokens")),
        ("zero tokens", with_strings(bytes(), "tokens", [""; 0])),
        ("tokens are numbers", with(bytes(), "tokens", vec![1, 2])),
        ("token_type too short", with(bytes(), "token_type", vec![1, 1])),
        (
            "token_type is floats",
            with(bytes(), "token_type", vec![1.0f32; 300]),
        ),
        ("no merges", without(bytes(), "merges")),
        ("merges are numbers", with(bytes(), "merges", vec![1, 2])),
        ("scores too short", with(pieces(), "scores", vec![0.0f32; 3])),
        ("scores are integers", with(pieces(), "scores", vec![0; 271])),
        ("a byte that is none", with(pieces(), "token_type", vec![6; 271])),
        ("bos is a string", with(bytes(), "bos_token_id", "one")),
        ("add_bos is a number", with(bytes(), "add_bos_token", 1u32)),
        (
            "suppress_tokens is a bool",
            with(bytes(), "suppress_tokens", true),
        ),
        (
            "a name of 100,000 bytes",
            with(with_strings(bytes(), "tokens", spelled), "token_type", long_type),
        ),
    ];
    for (what, file) in cases {
        match load(&file) {
            Ok(_) => panic!("{what}: accepted"),
            Err(error) => assert_eq!(error.kind, Kind::MalformedFile, "{what}: {error}"),
        }
    }
    assert!(
        load(&bytes()).is_ok() && load(&pieces()).is_ok(),
        "the siblings that are well-formed"
    );
}

#[test]
fn oddities_are_put_up_with() {
    // Ids that are none are dropped, also those that hold when no key says otherwise.
    for wrong in [
        with(byte_level_file(), "bos_token_id", 100_000),
        with(byte_level_file(), "bos_token_id", u32::MAX),
    ] {
        assert_eq!(load(&with(wrong, "add_bos_token", true)).unwrap().bos(), None);
    }
    let minus_one = with(byte_level_file(), "bos_token_id", Value::I32(-1));
    assert_eq!(load(&minus_one).unwrap().bos(), None);
    let one = with_strings(
        without(without(sentence_piece_file(), "scores"), "token_type"),
        "tokens",
        ["a"],
    );
    let one = load(&one).unwrap();
    assert_eq!((one.bos(), one.eos(), one.unknown()), (None, None, Some(0)));
    assert_eq!(
        one.encode("aba", false),
        [0, 0, 0, 0],
        "what cannot be spelled is the unknown token"
    );

    let listed = byte_level(|file| with(file, "suppress_tokens", vec![-1, 3, 3, 1 << 30, IM_END as i32]));
    assert_eq!(
        listed.suppressed(),
        [3, 266, 267, 268, 271],
        "in the vocabulary, once, and not the end of a turn"
    );

    let merges: [&[u8]; 8] = [
        b"",
        b" ",
        b"nospace",
        b"h e",
        b"a ",
        b"\xff \xfe",
        "中 文".as_bytes(),
        b"e h e",
    ];
    let odd = byte_level(|file| with_strings(file, "merges", merges));
    assert_eq!(odd.encode("hehe", false), [256, 256]);

    let twice = byte_level(|file| {
        let tokens = disguise()
            .into_iter()
            .chain(["he", "he", "<a>", "<a>"].map(String::from));
        let types = [1; 258].into_iter().chain([3, 3]).collect::<Vec<i32>>();
        with(with_strings(file, "tokens", tokens), "token_type", types)
    });
    assert_eq!(
        twice.encode("<a>he", true),
        [258, 256],
        "of two tokens spelled alike the lower id"
    );
    assert_eq!(twice.decode(&[257]), "he");

    let scores = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45]
        .into_iter()
        .cycle()
        .take(271);
    let strange = sentence_piece(|file| with(file, "scores", scores.clone().collect::<Vec<f32>>()));
    assert_eq!(
        strange.decode(&strange.encode("hello aaa hello", false)),
        "hello aaa hello"
    );

    let untyped = byte_level(|file| without(file, "token_type"));
    assert_eq!(
        untyped.encode("<|im_start|>x", true),
        [IM_START, 120],
        "`<|…|>` is special without being said so"
    );
}

/// As with the real vocabularies of `tokenizer.rs`: nothing may be quadratic.
#[test]
fn a_megabyte_in_one_word_does_not_freeze() {
    for tokenizer in [byte_level(|file| file), sentence_piece(|file| file)] {
        for unit in ["a", "hello", " ", "\n", "é", "<|im_start|", "<table>"] {
            let text = unit.repeat((1 << 20) / unit.len());
            let ids = tokenizer.encode(&text, true);
            let mut decoder = StreamDecoder::at_message_start(&tokenizer);
            let mut back: String = ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
            back += &decoder.finish();
            assert!(back == text, "{unit:?}");
        }
    }
}

#[test]
fn merges_in_circles_end() {
    // Every merge makes a piece shorter by one symbol, whatever the file says the result is.
    let words = ["aa", "aaa", "aaaa"].map(String::from);
    let tokenizer = byte_level(|file| {
        let file = with_strings(file, "tokens", disguise().into_iter().chain(words.clone()));
        let file = with(file, "token_type", vec![1; 259]);
        with_strings(
            file,
            "merges",
            [
                "aa a",
                "a aa",
                "a a",
                "aaa a",
                "aa aa",
                "a aaa",
                "aaaa a",
                "a aaaa",
                "aaaa aaaa",
            ],
        )
    });
    for length in [1, 5, 100, 10_000] {
        let text = "a".repeat(length);
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false)), text);
    }
}

#[test]
fn damaged_vocabularies_do_not_panic() {
    let texts = ["hello <|im_start|> é\n\n  12345", "<table>'s 中文 <think>", ""];
    let mut loaded = 0;
    for (seed, file) in [byte_level_file().build(), sentence_piece_file().build()]
        .into_iter()
        .enumerate()
    {
        let mut random = Random::new(seed as u64);
        for _ in 0..1500 {
            let mut damaged = file.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(damaged.len());
                damaged[at] = random.bits() as u8;
            }
            let Ok(gguf) = Gguf::read(&damaged) else { continue };
            let Ok(tokenizer) = Tokenizer::from_metadata(&gguf.metadata) else {
                continue;
            };
            loaded += 1;
            for text in texts {
                let ids = tokenizer.with_specials(tokenizer.encode(text, true));
                let spans = [Span { text, trusted: true }, Span { text, trusted: false }];
                let ids: Vec<u32> = ids.into_iter().chain(tokenizer.encode_spans(&spans)).collect();
                assert!(ids.iter().all(|&id| (id as usize) < tokenizer.len()));
                tokenizer.decode(&ids);
            }
        }
    }
    assert!(loaded > 300, "only {loaded} files were worth the name");
}
