//! Messages to a prompt (the file's own chat template), and generated text back to messages.
//! May import: `error`, `gguf`, `tokenizer`.
