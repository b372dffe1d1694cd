//! Groups of IQ4_NL, IQ4_XS and MXFP4: four-bit codes that stand for one of sixteen signed bytes, in blocks of 32 with a scale.

use std::mem::offset_of;

use crate::quant::fp4::{BlockMxfp4, E2M1_DOUBLED, e8m0_half};
use crate::quant::iq::{BlockIq4Nl, BlockIq4Xs, IQ4_LEVELS};

use super::codes::four_of;
use super::{Group, bytes, half};

/// The blocks of a file that become a [`GroupLevels`].
pub trait BlockLevels: Copy {
    /// What the codes stand for.
    const LEVELS: [i8; 16];

    /// The scale of sub-block `j`.
    fn scale(block: &[u8], j: usize) -> f32;

    /// The codes of sub-block `j`: the first 16 values low, the other 16 high.
    fn nibbles(block: &[u8], j: usize) -> &[u8; 16];
}

/// IQ4_NL.
#[derive(Debug, Clone, Copy)]
pub struct Iq4Nl;

/// IQ4_XS.
#[derive(Debug, Clone, Copy)]
pub struct Iq4Xs;

/// MXFP4.
#[derive(Debug, Clone, Copy)]
pub struct Mxfp4;

impl BlockLevels for Iq4Nl {
    const LEVELS: [i8; 16] = IQ4_LEVELS;

    fn scale(block: &[u8], _: usize) -> f32 {
        half(block, offset_of!(BlockIq4Nl, d))
    }

    fn nibbles(block: &[u8], _: usize) -> &[u8; 16] {
        bytes(block, offset_of!(BlockIq4Nl, qs))
    }
}

impl BlockLevels for Iq4Xs {
    const LEVELS: [i8; 16] = IQ4_LEVELS;

    fn scale(block: &[u8], j: usize) -> f32 {
        let low = block[offset_of!(BlockIq4Xs, scales_l) + j / 2] >> (4 * (j % 2)) & 15;
        let high = u16::from_le_bytes(*bytes(block, offset_of!(BlockIq4Xs, scales_h))) >> (2 * j) & 3;
        let scale = i16::from(low) | (high << 4) as i16;
        half(block, offset_of!(BlockIq4Xs, d)) * f32::from(scale - 32)
    }

    fn nibbles(block: &[u8], j: usize) -> &[u8; 16] {
        bytes(block, offset_of!(BlockIq4Xs, qs) + 16 * j)
    }
}

impl BlockLevels for Mxfp4 {
    const LEVELS: [i8; 16] = E2M1_DOUBLED;

    fn scale(block: &[u8], _: usize) -> f32 {
        e8m0_half(block[offset_of!(BlockMxfp4, e)])
    }

    fn nibbles(block: &[u8], _: usize) -> &[u8; 16] {
        bytes(block, offset_of!(BlockMxfp4, qs))
    }
}

/// Four rows of a block of 32 values: `d * level[code]`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Levels {
    /// The scales.
    pub d: [f32; 4],
    /// The codes. Vector `s` holds step `s` (values 4s..4s+4 of each row) in its low nibbles and step `s + 4` in its high ones.
    pub codes: [[u8; 16]; 4],
}

/// Four rows of `BLOCKS` blocks, as in the blocks of the file.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupLevels<B, const BLOCKS: usize> {
    /// The blocks.
    pub blocks: [Levels; BLOCKS],
    of: std::marker::PhantomData<B>,
}

const _: () = assert!(size_of::<GroupLevels<Iq4Nl, 1>>() == 80 && size_of::<GroupLevels<Iq4Xs, 8>>() == 640);

impl<B: BlockLevels, const BLOCKS: usize> Group for GroupLevels<B, BLOCKS> {
    const ROWS: usize = 4;
    const LEN: usize = 32 * BLOCKS;
    const ZERO: Self = GroupLevels {
        blocks: [Levels {
            d: [0.0; 4],
            codes: [[0; 16]; 4],
        }; BLOCKS],
        of: std::marker::PhantomData,
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        for (j, levels) in self.blocks.iter_mut().enumerate() {
            levels.d[row] = B::scale(block, j);
            let (steps, _) = B::nibbles(block, j).as_chunks::<4>();
            for (vector, step) in levels.codes.iter_mut().zip(steps) {
                *four_of(vector, row) = *step;
            }
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (k, out) in out.iter_mut().enumerate() {
            *out = f32::from(self.code(row, k)) * self.blocks[k / 32].d[row];
        }
    }
}

impl<B: BlockLevels, const BLOCKS: usize> GroupLevels<B, BLOCKS> {
    /// What the code of value `k` of one row stands for.
    pub fn code(&self, row: usize, k: usize) -> i8 {
        let byte = self.blocks[k / 32].codes[k / 4 % 4][4 * row + k % 4];
        B::LEVELS[usize::from(if k % 32 < 16 { byte & 15 } else { byte >> 4 })]
    }
}
