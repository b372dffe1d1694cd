//! One file per architecture: a description, never a loop and never arithmetic.
//!
//! A description says which blocks a layer is made of and how they differ; [`crate::model::blocks`] knows how each is
//! computed, [`crate::model::forward`] in which order. A new architecture of a known family is one file here, one line
//! in [`ARCHITECTURES`], and one golden test.

mod llama;
mod qwen2;
mod qwen3;
mod qwen35;

use crate::error::{Error, Kind, Result};
pub use crate::kernels::rope::RopePairs;

/// What makes an architecture, beyond the numbers in [`crate::model::Hyper`].
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// The attention block of each layer that has one.
    pub attention: Attention,
    /// Some layers are gated delta nets instead of attention.
    pub delta_net: bool,
    /// The feed-forward is a mixture of experts.
    pub experts: bool,
    /// Name of the norm before the feed-forward.
    pub ffn_norm: &'static str,
}

/// How an attention block differs from the plain one.
#[derive(Debug, PartialEq, Eq)]
pub struct Attention {
    /// Which elements of a head are rotated together.
    pub rope: RopePairs,
    /// RMSNorm over each query and key head, before the rotation (`attn_q_norm`, `attn_k_norm`).
    pub head_norm: bool,
    /// Each head's output is multiplied with the sigmoid of a gate, whose rows follow the head's own in `attn_q`.
    pub gate: bool,
}

/// All architectures the engine runs.
pub const ARCHITECTURES: &[&Architecture] = &[
    &llama::LLAMA,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &qwen3::QWEN3_MOE,
    &qwen35::QWEN35,
    &qwen35::QWEN35_MOE,
];

/// The description of `name`, or [`Kind::UnsupportedArchitecture`] with the list of those there are.
pub fn find(name: &str) -> Result<&'static Architecture> {
    ARCHITECTURES
        .iter()
        .find(|arch| arch.name == name)
        .copied()
        .ok_or_else(|| {
            let known: Vec<_> = ARCHITECTURES.iter().map(|arch| arch.name).collect();
            Error::new(
                Kind::UnsupportedArchitecture,
                format!(
                    "the file is of architecture \"{name}\"; supported are {}",
                    known.join(", ")
                ),
            )
        })
}
