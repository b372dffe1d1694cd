//! Llama 2 and 3, SmolLM2, and the many that took their shape (`llama`).

use super::{Architecture, Attention, RopePairs};

/// Plain grouped-query attention, SwiGLU; biases where the file has them.
pub const LLAMA: Architecture = Architecture {
    name: "llama",
    attention: Attention {
        rope: RopePairs::Adjacent,
        head_norm: false,
        gate: false,
    },
    delta_net: false,
    experts: false,
    ffn_norm: "ffn_norm",
};
