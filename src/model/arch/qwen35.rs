//! Qwen 3.5, dense (`qwen35`) and with a mixture of experts (`qwen35moe`): a hybrid of gated delta nets and gated attention.

use super::{Architecture, Attention, RopePairs};

/// Three of four layers are gated delta nets; the fourth is attention with an output gate, of whose heads a part is rotated.
pub const QWEN35: Architecture = Architecture {
    name: "qwen35",
    attention: Attention {
        rope: RopePairs::Halves,
        head_norm: true,
        gate: true,
    },
    delta_net: true,
    experts: false,
    ffn_norm: "post_attention_norm",
};

/// The same with experts, one of them for every token.
pub const QWEN35_MOE: Architecture = Architecture {
    name: "qwen35moe",
    experts: true,
    ..QWEN35
};
