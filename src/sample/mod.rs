//! Logits to one token id: a chain of small filters, then a seeded choice. May import: `error`.
//!
//! The chain, in the order of llama.cpp: logit bias and suppressed tokens, penalties, DRY, top-n-sigma, top-k,
//! typical, top-p, min-p, XTC, temperature, draw. Every filter keeps at least one token. Each is defined over
//! logits from which temperature is still absent; [`Params::temperature_first`] puts it before top-k, as the
//! transformers library and vLLM do, which is what the advice on model cards assumes.
//!
//! A vocabulary has up to 250,000 tokens and one token is chosen at a time, so nothing here sorts all of them: top-k
//! keeps a small buffer behind a rising threshold, and what needs tokens in order of probability (top-p, typical,
//! the draw itself) finds its place by selection, halving the range. Buffers belong to the [`Sampler`].

mod candidates;
mod dry;
mod history;
mod mask;
mod params;
mod penalties;
mod random;
mod sampler;
mod softmax;
mod truncate;

pub use mask::TokenMask;
pub use params::Params;
pub use random::Random;
pub use sampler::{Choice, Sampler};
pub use softmax::{logprob, logprobs, top_logprobs};
