//! All arithmetic on tensors: safe functions over slices. `scalar/` holds the readable twin of every kernel, `simd/` the
//! same functions over the 128-bit vocabulary of `lanes/`. May import: `error`, `quant`.
//!
//! Two promises hold for every function here, and the tests prove them. A result does not depend on where a value
//! stands: a row's product is the same to the last bit at any position in its matrix, in a matrix of any number of rows,
//! and in a batch of any number of tokens, so any split of the rows over workers gives the same tokens. And nothing
//! panics or hangs on special values: NaN and infinity travel through as IEEE 754 says.

pub mod activations;
pub mod attention;
pub mod cache;
pub mod choice;
pub mod lanes;
mod layout;
pub mod matrix;
pub mod packed;
pub mod rope;
pub mod scalar;
pub mod simd;

pub use activations::{Activations, Dot, Form};
pub use matrix::{Matrix, multiply, multiply_as, multiply_rows};
pub use simd::vector;
