//! Groups of Q4_K and Q5_K: super-blocks of eight sub-blocks, each with a scale and a minimum of six bits.

use std::mem::offset_of;

use crate::quant::k::{BlockQ4K, BlockQ5K, scale_and_min};

use super::{Codes, Fives, Group, Nibbles, bytes, half};

/// The blocks of a file whose codes become `Self`: where their fields stand.
pub trait BlockK: Codes {
    /// The eight scales and minimums.
    fn scales(block: &[u8]) -> &[u8; 12];

    /// The codes of sub-block `j`.
    fn read(block: &[u8], j: usize) -> [u8; 32];
}

impl BlockK for Nibbles {
    fn scales(block: &[u8]) -> &[u8; 12] {
        bytes(block, offset_of!(BlockQ4K, scales))
    }

    fn read(block: &[u8], j: usize) -> [u8; 32] {
        nibbles(bytes(block, offset_of!(BlockQ4K, qs)), j)
    }
}

impl BlockK for Fives {
    fn scales(block: &[u8]) -> &[u8; 12] {
        bytes(block, offset_of!(BlockQ5K, scales))
    }

    fn read(block: &[u8], j: usize) -> [u8; 32] {
        let codes = nibbles(bytes(block, offset_of!(BlockQ5K, qs)), j);
        let high: &[u8; 32] = bytes(block, offset_of!(BlockQ5K, qh));
        std::array::from_fn(|k| codes[k] | (high[k] >> j & 1) << 4)
    }
}

fn nibbles(qs: &[u8; 128], j: usize) -> [u8; 32] {
    let qs: &[u8; 32] = bytes(qs, j / 2 * 32);
    let shift = j % 2 * 4;
    qs.map(|byte| byte >> shift & 15)
}

/// Eight rows of a super-block: `d * scale * code - dmin * min`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupK<C> {
    /// The scales of the scales.
    pub d: [f32; 8],
    /// The scales of the minimums.
    pub dmin: [f32; 8],
    /// The minimums of sub-blocks `2i` and `2i + 1`, by turns, row by row: `[i][row][2]`.
    pub mins: [[[u8; 2]; 8]; 4],
    /// The scales: `[sub-block][row]`.
    pub scales: [[u8; 8]; 8],
    /// The codes of each sub-block.
    pub codes: [C; 8],
}

const _: () = assert!(size_of::<GroupK<Nibbles>>() == 1216 && size_of::<GroupK<Fives>>() == 1472);
const _: () = assert!(offset_of!(BlockQ4K, d) == 0 && offset_of!(BlockQ5K, d) == 0);
const _: () = assert!(offset_of!(BlockQ4K, dmin) == 2 && offset_of!(BlockQ5K, dmin) == 2);

impl<C: BlockK> Group for GroupK<C> {
    const ROWS: usize = 8;
    const LEN: usize = 256;
    const ZERO: Self = GroupK {
        d: [0.0; 8],
        dmin: [0.0; 8],
        mins: [[[0; 2]; 8]; 4],
        scales: [[0; 8]; 8],
        codes: [C::ZERO; 8],
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half(block, 0);
        self.dmin[row] = half(block, 2);
        let scales = C::scales(block);
        for j in 0..8 {
            let (scale, min) = scale_and_min(scales, j);
            self.scales[j][row] = scale;
            self.mins[j / 2][row][j % 2] = min;
            self.codes[j].put(row, &C::read(block, j));
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (j, out) in out.chunks_mut(32).enumerate() {
            let scale = self.d[row] * f32::from(self.scales[j][row]);
            let min = self.dmin[row] * f32::from(self.mins[j / 2][row][j % 2]);
            let codes = self.codes[j].get(row);
            out.iter_mut()
                .zip(codes)
                .for_each(|(out, code)| *out = scale * f32::from(code) - min);
        }
    }
}
