//! What a block of weights looks like: type ids, block sizes, and dequantisation to f32 for every ggml type.
//! One file per format family. May import: `error`.
