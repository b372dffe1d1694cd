//! Qwen 3, dense (`qwen3`).

use super::{Architecture, Attention, RopePairs};

/// As Qwen 2 without biases, with a norm on each query and key head.
pub const QWEN3: Architecture = Architecture {
    name: "qwen3",
    attention: Attention {
        rope: RopePairs::Halves,
        head_norm: true,
    },
};
