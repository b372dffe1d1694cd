//! All arithmetic on tensors: safe functions over slices. `scalar/` holds the readable twin of every kernel, `simd/` the
//! same functions over the 128-bit vocabulary of `lanes/`. May import: `error`, `quant`.
