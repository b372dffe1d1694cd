//! Text to token ids and back, from the vocabulary in the GGUF file. May import: `error`, `gguf`.
