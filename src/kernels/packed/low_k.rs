//! Groups of Q2_K and Q3_K: super-blocks of sixteen sub-blocks, whose codes have two bits and a third one elsewhere.

use std::mem::offset_of;

use crate::quant::k::{BlockQ2K, BlockQ3K, scale_of_q3_k};

use super::codes::four_of;
use super::{Group, bytes, half};

/// The low two bits of the sub-blocks of eight rows, `[sub-block][quad]`: a vector holds step `s` (values 4s..4s+4 of each row)
/// in bits `2s` and `2s + 1`.
pub type Twos = [[[u8; 16]; 2]; 16];

/// Eight rows of a super-block of Q2_K: `d * scale * code - dmin * min`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupQ2K {
    /// The scales of the scales.
    pub d: [f32; 8],
    /// The scales of the minimums.
    pub dmin: [f32; 8],
    /// `[sub-block][row]`: the scale in the low nibble, the minimum in the high one.
    pub scales: [[u8; 8]; 16],
    /// The codes.
    pub codes: Twos,
}

/// Eight rows of a super-block of Q3_K: `d * scale * (code - 4)`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupQ3K {
    /// The scales of the scales.
    pub d: [f32; 8],
    /// The scales, bytes with a sign: `[sub-block][row]`.
    pub scales: [[u8; 8]; 16],
    /// The low two bits of the codes.
    pub codes: Twos,
    /// The third bits: bit `4h + s` of vector `[i][quad]` belongs to step `s` of sub-block `2i + h`.
    pub high: [[[u8; 16]; 2]; 8],
}

const _: () = assert!(size_of::<GroupQ2K>() == 704 && size_of::<GroupQ3K>() == 928);

const NO_TWOS: Twos = [[[0; 16]; 2]; 16];

impl Group for GroupQ2K {
    const ROWS: usize = 8;
    const LEN: usize = 256;
    const ZERO: Self = GroupQ2K {
        d: [0.0; 8],
        dmin: [0.0; 8],
        scales: [[0; 8]; 16],
        codes: NO_TWOS,
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half(block, offset_of!(BlockQ2K, d));
        self.dmin[row] = half(block, offset_of!(BlockQ2K, dmin));
        let scales: &[u8; 16] = bytes(block, offset_of!(BlockQ2K, scales));
        for (j, scale) in scales.iter().enumerate() {
            self.scales[j][row] = *scale;
            let codes = read(bytes(block, offset_of!(BlockQ2K, qs)), j);
            *four_of(&mut self.codes[j][row / 4], row % 4) = pack(codes, 2);
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (j, out) in out.chunks_mut(16).enumerate() {
            let scale = self.d[row] * f32::from(self.scales[j][row] & 15);
            let min = self.dmin[row] * f32::from(self.scales[j][row] >> 4);
            for (k, out) in out.iter_mut().enumerate() {
                *out = scale * f32::from(self.code(row, j, k)) - min;
            }
        }
    }
}

impl Group for GroupQ3K {
    const ROWS: usize = 8;
    const LEN: usize = 256;
    const ZERO: Self = GroupQ3K {
        d: [0.0; 8],
        scales: [[0; 8]; 16],
        codes: NO_TWOS,
        high: [[[0; 16]; 2]; 8],
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half(block, offset_of!(BlockQ3K, d));
        let scales: &[u8; 12] = bytes(block, offset_of!(BlockQ3K, scales));
        let hmask: &[u8; 32] = bytes(block, offset_of!(BlockQ3K, hmask));
        for j in 0..16 {
            self.scales[j][row] = scale_of_q3_k(scales, j) as u8;
            let codes = read(bytes(block, offset_of!(BlockQ3K, qs)), j);
            *four_of(&mut self.codes[j][row / 4], row % 4) = pack(codes, 2);
            let mask: &[u8; 16] = bytes(hmask, j % 2 * 16);
            let high = pack(mask.map(|byte| byte >> (j / 2) & 1), 1);
            let place = four_of(&mut self.high[j / 2][row / 4], row % 4);
            for (byte, high) in place.iter_mut().zip(high) {
                let shift = 4 * (j % 2);
                *byte = *byte & !(15 << shift) | high << shift;
            }
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (j, out) in out.chunks_mut(16).enumerate() {
            let scale = self.d[row] * f32::from(self.scales[j][row] as i8);
            for (k, out) in out.iter_mut().enumerate() {
                *out = scale * (f32::from(self.code(row, j, k)) - 4.0);
            }
        }
    }
}

impl GroupQ2K {
    /// The code of value `k` of sub-block `j` of one row.
    pub fn code(&self, row: usize, j: usize, k: usize) -> u8 {
        two(&self.codes, row, j, k)
    }
}

impl GroupQ3K {
    /// The code of value `k` of sub-block `j` of one row.
    pub fn code(&self, row: usize, j: usize, k: usize) -> u8 {
        let high = self.high[j / 2][row / 4][row % 4 * 4 + k % 4] >> (4 * (j % 2) + k / 4) & 1;
        two(&self.codes, row, j, k) | high << 2
    }
}

fn two(codes: &Twos, row: usize, j: usize, k: usize) -> u8 {
    codes[j][row / 4][row % 4 * 4 + k % 4] >> (2 * (k / 4)) & 3
}

/// The low two bits of sub-block `j` of a block of the file.
fn read(qs: &[u8; 64], j: usize) -> [u8; 16] {
    let (half, shift, first) = (j / 8, 2 * (j % 8 / 2), 16 * (j % 2));
    let qs: &[u8; 16] = bytes(qs, 32 * half + first);
    qs.map(|byte| byte >> shift & 3)
}

/// Four steps in four bytes: step `s` moved up by `s * bits`.
fn pack(codes: [u8; 16], bits: usize) -> [u8; 4] {
    std::array::from_fn(|i| (0..4).fold(0, |byte, s| byte | codes[4 * s + i] << (s * bits)))
}
