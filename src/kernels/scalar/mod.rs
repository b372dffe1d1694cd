//! The readable twin of every kernel in `simd/`: same names, same signatures, plain loops. They define the right answer;
//! only tests call them.

pub mod attention;
pub mod float;
pub mod quantise;
pub mod vector;
