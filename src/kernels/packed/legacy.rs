//! Groups of Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 values with a scale, some with a minimum.

use std::mem::offset_of;

use crate::quant::legacy::{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1};

use super::{Codes, Fives, Group, Nibbles, bytes, half_bits, of_half_bits};

/// The blocks of a file whose codes become `Self`: where their fields stand.
pub trait BlockLegacy: Codes {
    /// The codes of a block without a minimum.
    fn read0(block: &[u8]) -> [u8; 32];

    /// The codes of a block with a minimum.
    fn read1(block: &[u8]) -> [u8; 32];
}

impl BlockLegacy for Nibbles {
    fn read0(block: &[u8]) -> [u8; 32] {
        nibbles(bytes(block, offset_of!(BlockQ4_0, qs)))
    }

    fn read1(block: &[u8]) -> [u8; 32] {
        nibbles(bytes(block, offset_of!(BlockQ4_1, qs)))
    }
}

impl BlockLegacy for Fives {
    fn read0(block: &[u8]) -> [u8; 32] {
        fives(
            bytes(block, offset_of!(BlockQ5_0, qs)),
            *bytes(block, offset_of!(BlockQ5_0, qh)),
        )
    }

    fn read1(block: &[u8]) -> [u8; 32] {
        fives(
            bytes(block, offset_of!(BlockQ5_1, qs)),
            *bytes(block, offset_of!(BlockQ5_1, qh)),
        )
    }
}

fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    std::array::from_fn(|k| if k < 16 { qs[k] & 15 } else { qs[k - 16] >> 4 })
}

fn fives(qs: &[u8; 16], qh: [u8; 4]) -> [u8; 32] {
    let codes = nibbles(qs);
    let high = u32::from_le_bytes(qh);
    std::array::from_fn(|k| codes[k] | ((high >> k & 1) as u8) << 4)
}

/// Eight rows of Q4_0 or Q5_0: `d * (code - offset)`. With scales as floats there would be 8 to 10 % more to read.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Group0<C> {
    /// The scales, half-precision bits.
    pub d: [i16; 8],
    /// The codes.
    pub codes: C,
}

/// Eight rows of Q4_1 or Q5_1: `d * code + m`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Group1<C> {
    /// The scales, half-precision bits.
    pub d: [i16; 8],
    /// The minimums, half-precision bits.
    pub m: [i16; 8],
    /// The codes.
    pub codes: C,
}

const _: () = assert!(size_of::<Group0<Nibbles>>() == 144 && size_of::<Group1<Nibbles>>() == 160);
const _: () = assert!(size_of::<Group0<Fives>>() == 176 && size_of::<Group1<Fives>>() == 192);
const _: () = assert!(offset_of!(BlockQ4_0, d) == 0 && offset_of!(BlockQ5_0, d) == 0);
const _: () = assert!(offset_of!(BlockQ4_1, d) == 0 && offset_of!(BlockQ5_1, d) == 0);
const _: () = assert!(offset_of!(BlockQ4_1, m) == 2 && offset_of!(BlockQ5_1, m) == 2);

impl<C: BlockLegacy> Group for Group0<C> {
    const ROWS: usize = 8;
    const LEN: usize = 32;
    const ZERO: Self = Group0 {
        d: [0; 8],
        codes: C::ZERO,
    };
    const HALVES: &[usize] = &[0];

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half_bits(block, 0);
        self.codes.put(row, &C::read0(block));
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        let (offset, d) = (f32::from(C::OFFSET), of_half_bits(self.d[row]));
        out.iter_mut()
            .zip(self.codes.get(row))
            .for_each(|(out, code)| *out = (f32::from(code) - offset) * d);
    }
}

impl<C: BlockLegacy> Group for Group1<C> {
    const ROWS: usize = 8;
    const LEN: usize = 32;
    const ZERO: Self = Group1 {
        d: [0; 8],
        m: [0; 8],
        codes: C::ZERO,
    };
    const HALVES: &[usize] = &[0, 2];

    fn put(&mut self, row: usize, block: &[u8]) {
        self.d[row] = half_bits(block, 0);
        self.m[row] = half_bits(block, 2);
        self.codes.put(row, &C::read1(block));
    }

    fn get(&self, row: usize, out: &mut [f32]) {
        let [d, m] = [self.d[row], self.m[row]].map(of_half_bits);
        out.iter_mut()
            .zip(self.codes.get(row))
            .for_each(|(out, code)| *out = f32::from(code) * d + m);
    }
}
