//! Groups of Q6_K: super-blocks of sixteen sub-blocks, each with a signed scale of eight bits.

use std::mem::offset_of;

use crate::quant::k::BlockQ6K;

use super::codes::four_of;
use super::{Group, bytes, half};

/// Eight rows of a super-block: `d * scale * (code - 32)`.
///
/// The four steps of a sub-block take three vectors of each quad, the fourth step in the top bits of the others:
///
/// ```text
/// bit        7 6                5 4 3 2 1 0
/// vector 0   step 3: bits 1 0   step 0
/// vector 1   step 3: bits 3 2   step 1
/// vector 2   step 3: bits 5 4   step 2
/// ```
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupQ6K {
    /// The scales of the scales.
    pub d: [f32; 8],
    /// The scales, bytes with a sign: `[sub-block][row]`.
    pub scales: [[u8; 8]; 16],
    /// The codes: `[sub-block][quad][vector]`.
    pub codes: [[[[u8; 16]; 3]; 2]; 16],
}

const _: () = assert!(size_of::<GroupQ6K>() == 1696);

impl Group for GroupQ6K {
    const ROWS: usize = 8;
    const LEN: usize = 256;
    const ZERO: Self = GroupQ6K {
        d: [0.0; 8],
        scales: [[0; 8]; 16],
        codes: [[[[0; 16]; 3]; 2]; 16],
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half(block, offset_of!(BlockQ6K, d));
        let scales: &[u8; 16] = bytes(block, offset_of!(BlockQ6K, scales));
        for (j, quads) in self.codes.iter_mut().enumerate() {
            self.scales[j][row] = scales[j];
            let steps = read(block, j);
            for (v, vector) in quads[row / 4].iter_mut().enumerate() {
                let top = steps[3] >> (2 * v) & 0x0303_0303;
                *four_of(vector, row % 4) = (steps[v] | top << 6).to_le_bytes();
            }
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (j, out) in out.chunks_mut(16).enumerate() {
            let scale = self.d[row] * f32::from(self.scales[j][row] as i8);
            let codes = self.codes(row, j);
            out.iter_mut()
                .zip(codes)
                .for_each(|(out, code)| *out = scale * (f32::from(code) - 32.0));
        }
    }
}

impl GroupQ6K {
    /// The codes of sub-block `j` of one row.
    pub fn codes(&self, row: usize, j: usize) -> [u8; 16] {
        std::array::from_fn(|k| {
            let byte = |v: usize| self.codes[j][row / 4][v][row % 4 * 4 + k % 4];
            match k / 4 {
                3 => byte(0) >> 6 | byte(1) >> 6 << 2 | byte(2) >> 6 << 4,
                step => byte(step) & 63,
            }
        })
    }
}

/// The codes of sub-block `j` of a block of the file: four steps of four, whose bytes move together. (Byte by byte, this was
/// two thirds of the time in which a file is taken in.)
fn read(block: &[u8], j: usize) -> [u32; 4] {
    // Quarter t of the half: values 32t..32t+32, of which this sub-block is the first or second 16.
    let (half, t, first) = (j / 8, j % 8 / 2, j % 2 * 16);
    let low: &[u8; 16] = bytes(block, offset_of!(BlockQ6K, ql) + 64 * half + 32 * (t % 2) + first);
    let top: &[u8; 16] = bytes(block, offset_of!(BlockQ6K, qh) + 32 * half + first);
    let words = |bytes: &[u8; 16]| -> [u32; 4] {
        let (steps, _) = bytes.as_chunks::<4>();
        std::array::from_fn(|s| u32::from_le_bytes(steps[s]))
    };
    let (low, top) = (words(low), words(top));
    std::array::from_fn(|s| (low[s] >> (4 * (t / 2)) & 0x0f0f_0f0f) | (top[s] >> (2 * t) & 0x0303_0303) << 4)
}
