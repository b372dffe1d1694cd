//! What a block of weights looks like: type ids, block sizes, and dequantisation to f32 for every ggml type.
//! One file per format family. May import: `error`.
//!
//! A *block* is the smallest run of consecutive values of one row that can be read by itself: a scale or two, and
//! a few bits per value. Each block is a plain struct here, its fields in file order, its size asserted; the
//! table of sizes in [`Type`] is derived from these structs. The code in this folder is the definition of the
//! right answer, written to be read; the fast paths over repacked blocks live in `kernels`.

mod block;
pub mod float;
pub mod fp4;
pub mod iq;
mod iq_grids;
pub mod k;
pub mod legacy;
pub mod ternary;
mod types;

pub use block::{Block, Fields, f16_to_f32};
pub use types::{Type, dequantize};
