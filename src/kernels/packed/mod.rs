//! Weights as the kernels read them: rows interleaved, so that one vector holds four consecutive values of each of four
//! rows, and lane `i` of 32 bits sums row `i`. No sum ever runs across a vector.
//!
//! ```text
//! byte      0  1  2  3 │ 4  5  6  7 │ 8  9 10 11 │12 13 14 15
//! value    row 0, k..k+4  row 1        row 2        row 3
//! ```
//!
//! A *group* is the same block of four or eight rows, with their scales in front: as floats, or as the halves that they
//! are where a group is small and they are not. A *quad* is four of its rows.
//! Groups of one row group stand one behind the other, so a kernel reads one stream. Every group holds exactly what the
//! blocks of the file hold, and gives it back bit for bit.

mod codes;
mod k;
mod legacy;
mod levels;
mod low_k;
mod q6_k;
mod q8_0;

pub use codes::{Codes, Fives, Nibbles};
pub use k::{BlockK, GroupK};
pub use legacy::{BlockLegacy, Group0, Group1};
pub use levels::{BlockLevels, GroupLevels, Iq4Nl, Iq4Xs, Mxfp4};
pub use low_k::{GroupQ2K, GroupQ3K, Twos};
pub use q6_k::GroupQ6K;
pub use q8_0::GroupQ8_0;

use half::f16;

/// One block of several rows, interleaved.
pub trait Group: Copy {
    /// How many rows.
    const ROWS: usize;

    /// How many values of each row: 32 or 256.
    const LEN: usize;

    /// A group of weights that are all zero.
    const ZERO: Self;

    /// Where blocks of the file have halves that the kernels take for finite.
    const HALVES: &[usize] = &[];

    /// Takes the block of one row, as it is in the file.
    fn put(&mut self, row: usize, block: &[u8]);

    /// The values of one row, [`Group::LEN`] of them, exactly as dequantisation gives them.
    fn get(&self, row: usize, out: &mut [f32]);
}

/// The half-precision number at an offset of a block.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes(*bytes(block, at)).to_f32()
}

/// The bits of the half-precision number at an offset of a block.
fn half_bits(block: &[u8], at: usize) -> i16 {
    i16::from_le_bytes(*bytes(block, at))
}

/// Whether the half-precision number at an offset of a block is neither infinite nor NaN.
pub fn is_finite_half(block: &[u8], at: usize) -> bool {
    half_bits(block, at) & 0x7c00 != 0x7c00
}

/// The float that these bits of a half are.
pub fn of_half_bits(bits: i16) -> f32 {
    f16::from_bits(bits as u16).to_f32()
}

/// `N` bytes at an offset of a block.
fn bytes<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("a field lies inside its block")
}
