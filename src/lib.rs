//! Fanlight: small open language models inside a web page.
//!
//! The engine reads a GGUF file through a [`source::ByteSource`], keeps its weights quantised, and runs the
//! forward pass as a resumable program ([`session::Session::run`]) that does no I/O of its own: it returns an
//! event whenever it needs the world. `ARCHITECTURE.md` draws the map and lists the invariants.

pub mod chat;
pub mod constrain;
pub mod error;
pub mod gguf;
pub mod kernels;
pub mod model;
pub mod quant;
pub mod sample;
pub mod session;
pub mod source;
pub mod tokenizer;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
pub mod wasm;

pub use error::{Error, Kind, Result};
