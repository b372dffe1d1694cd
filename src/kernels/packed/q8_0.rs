//! Groups of Q8_0: blocks of 32 bytes with a scale.

use std::mem::offset_of;

use crate::quant::legacy::BlockQ8_0;

use super::codes::four_of;
use super::{Group, bytes, half};

/// Four rows: `d * code`. The scales are floats: many are so small that as halves they would be subnormal, and a processor is
/// slow with those (half the speed of the whole kernel).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupQ8_0 {
    /// The scales.
    pub d: [f32; 4],
    /// The codes, four values of each row in a vector.
    pub codes: [[u8; 16]; 8],
}

const _: () = assert!(size_of::<GroupQ8_0>() == 144);

impl Group for GroupQ8_0 {
    const ROWS: usize = 4;
    const LEN: usize = 32;
    const ZERO: Self = GroupQ8_0 {
        d: [0.0; 4],
        codes: [[0; 16]; 8],
    };

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half(block, offset_of!(BlockQ8_0, d));
        let codes: &[u8; 32] = bytes(block, offset_of!(BlockQ8_0, qs));
        for (four, vector) in codes.as_chunks::<4>().0.iter().zip(&mut self.codes) {
            *four_of(vector, row) = *four;
        }
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        for (k, out) in out.iter_mut().enumerate() {
            *out = f32::from(self.code(row, k)) * self.d[row];
        }
    }
}

impl GroupQ8_0 {
    /// The code of value `k` of one row.
    pub fn code(&self, row: usize, k: usize) -> i8 {
        self.codes[k / 4][4 * row + k % 4] as i8
    }
}
