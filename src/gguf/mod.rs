//! Bytes to a checked description of a GGUF file: metadata, tensor names, shapes, types and places.
//! No arithmetic on weights here. May import: `error`, `source`, `quant`.
//!
//! ```text
//! "GGUF" │ version u32 │ tensor count u64 │ key count u64
//! key count times:     key string │ value type u32 │ value
//! tensor count times:  name string │ dimensions u32 │ that many u64 │ type u32 │ offset u64
//! zeros up to a multiple of general.alignment, then the data; offsets count from there
//! ```
//!
//! All numbers are little-endian; a string is its length as u64, then its bytes. The file is untrusted: every
//! count is held against the bytes that are left before memory is reserved, all sums are checked, in u64, and
//! what [`Gguf`] describes lies inside the file and does not overlap.

mod array;
mod cursor;
mod metadata;
mod parts;
mod tensor;

pub use array::{Array, Strings};
pub use metadata::{Metadata, Value};
pub use parts::{Gguf, Part};
pub use tensor::TensorInfo;
