//! Any bytes as a GGUF file: an error or a checked description, whose vocabulary encodes and decodes, or is refused.

#![no_main]

use fanlight::gguf::Gguf;
use fanlight::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes.to_vec();
    let Ok(gguf) = Gguf::read(&bytes) else { return };
    for tensor in &gguf.tensors {
        assert!(
            tensor.offset + tensor.bytes <= bytes.len() as u64,
            "{} lies in the file",
            tensor.name
        );
    }
    if let Ok(tokenizer) = Tokenizer::from_metadata(&gguf.metadata) {
        for special in [false, true] {
            let ids = tokenizer.encode("A cat, 12 mice\n\t<s></s> und ein Häuschen 🏠", special);
            assert!(ids.iter().all(|id| (*id as usize) < tokenizer.len()));
            tokenizer.decode(&ids);
        }
    }
});
