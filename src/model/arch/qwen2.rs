//! Qwen 2 and 2.5, dense (`qwen2`).

use super::{Architecture, Attention, RopePairs};

/// As Llama, with biases on q, k and v (the file has them) and the other pairing of RoPE.
pub const QWEN2: Architecture = Architecture {
    name: "qwen2",
    attention: Attention {
        rope: RopePairs::Halves,
        head_norm: false,
        gate: false,
    },
    delta_net: false,
    experts: false,
    ffn_norm: "ffn_norm",
};
