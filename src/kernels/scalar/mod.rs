//! The readable twin of every kernel in `simd/`: same names, same signatures, plain loops. They define the right answer;
//! only tests call them.

pub mod attention;
pub mod delta_net;
pub mod float;
pub mod k;
pub mod legacy;
pub mod quantise;
pub mod signed;
pub mod sixteens;
pub mod vector;
