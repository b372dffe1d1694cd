//! Any text through small vocabularies of every kind: what is encoded decodes to itself.

#![no_main]

use std::sync::OnceLock;

use fanlight::tokenizer::Tokenizer;
use fanlight_fuzz::{VOCABULARIES, tokenizer};
use libfuzzer_sys::fuzz_target;

fn tokenizers() -> &'static [Tokenizer] {
    static TOKENIZERS: OnceLock<Vec<Tokenizer>> = OnceLock::new();
    TOKENIZERS.get_or_init(|| VOCABULARIES.iter().map(|kind| tokenizer(kind)).collect())
}

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    let which = usize::from(which) % VOCABULARIES.len();
    let tokenizer = &tokenizers()[which];
    // These write a space as this sign, so it comes back as one: as the reference has it.
    let is_lossy = text.contains('▁') && matches!(VOCABULARIES[which], "sentencepiece" | "gemma4");
    for special in [false, true] {
        let ids = tokenizer.encode(text, special);
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.len()));
        let decoded: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id))
            .copied()
            .collect();
        let decoded = decoded
            .strip_prefix(b" ")
            .filter(|_| tokenizer.adds_space_prefix())
            .unwrap_or(&decoded);
        if !special && !is_lossy {
            assert_eq!(String::from_utf8_lossy(decoded), text, "{}", VOCABULARIES[which]);
        }
        tokenizer.decode(&ids);
    }
});
