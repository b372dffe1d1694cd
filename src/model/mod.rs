//! Hyper-parameters, weights, KV cache and the forward pass. May import: `error`, `source`, `quant`, `gguf`, `kernels`.
