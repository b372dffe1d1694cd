//! One file per architecture: a description, never a loop and never arithmetic.
//!
//! A description says which blocks a layer is made of and how they differ; [`crate::model::blocks`] knows how each is
//! computed, [`crate::model::forward`] in which order. A new architecture of a known family is one file here, one line
//! in [`ARCHITECTURES`], and one golden test.

mod llama;
mod qwen2;
mod qwen3;

use crate::error::{Error, Kind, Result};
pub use crate::kernels::rope::RopePairs;

/// What makes an architecture, beyond the numbers in [`crate::model::Hyper`].
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// The attention block of each layer.
    pub attention: Attention,
}

/// How an attention block differs from the plain one.
#[derive(Debug, PartialEq, Eq)]
pub struct Attention {
    /// Which elements of a head are rotated together.
    pub rope: RopePairs,
    /// RMSNorm over each query and key head, before the rotation (`attn_q_norm`, `attn_k_norm`).
    pub head_norm: bool,
}

/// All architectures the engine runs.
pub const ARCHITECTURES: &[&Architecture] = &[&llama::LLAMA, &qwen2::QWEN2, &qwen3::QWEN3];

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
