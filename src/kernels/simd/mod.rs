//! Kernels over `lanes`. Each has its twin of the same name in `scalar/`.

pub mod attention;
pub mod float;
pub mod quantise;
pub mod vector;
