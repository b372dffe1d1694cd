//! Qwen 3, dense (`qwen3`) and with a mixture of experts (`qwen3moe`).

use super::{Architecture, Attention, RopePairs};

/// As Qwen 2 without biases, with a norm on each query and key head.
pub const QWEN3: Architecture = Architecture {
    name: "qwen3",
    attention: Attention {
        rope: RopePairs::Halves,
        head_norm: true,
        gate: false,
    },
    delta_net: false,
    experts: false,
    ffn_norm: "ffn_norm",
};

/// The same with experts.
pub const QWEN3_MOE: Architecture = Architecture {
    name: "qwen3moe",
    experts: true,
    ..QWEN3
};
