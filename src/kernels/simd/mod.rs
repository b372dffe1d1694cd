//! Kernels over `lanes`. Each has its twin of the same name in `scalar/`.

// Loops over the lanes, quads and tokens of a tile count with constants and are unrolled; several arrays go by one index.
#![allow(clippy::needless_range_loop)]

pub mod attention;
pub mod delta_net;
pub mod drive;
pub mod float;
pub mod inner;
pub mod k;
pub mod legacy;
pub mod quantise;
pub mod signed;
pub mod sixteens;
pub mod vector;
