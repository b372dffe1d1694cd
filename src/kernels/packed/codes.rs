//! The codes of 32 values of eight rows, packed for unpacking by few instructions.

/// Codes of 32 values of eight rows. A *step* is four values: one vector for each quad.
pub trait Codes: Copy {
    /// What the codes of the formats without a minimum have too much: half their range.
    const OFFSET: u8;

    /// All codes zero.
    const ZERO: Self;

    /// Takes the codes of one row.
    fn put(&mut self, row: usize, codes: &[u8; 32]);

    /// The codes of one row.
    fn get(&self, row: usize) -> [u8; 32];
}

/// Four bits. Vector `s` of a quad holds step `s` (values 4s..4s+4) in its low nibbles and step `s + 4` in its high ones.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Nibbles(
    /// `[step][quad]`.
    pub [[[u8; 16]; 2]; 4],
);

impl Codes for Nibbles {
    const OFFSET: u8 = 8;
    const ZERO: Self = Nibbles([[[0; 16]; 2]; 4]);

    fn put(&mut self, row: usize, codes: &[u8; 32]) {
        let (steps, _) = codes.as_chunks::<4>();
        for (s, vectors) in self.0.iter_mut().enumerate() {
            let word = u32::from_le_bytes(steps[s]) | u32::from_le_bytes(steps[s + 4]) << 4;
            *four_of(&mut vectors[row / 4], row % 4) = word.to_le_bytes();
        }
    }

    fn get(&self, row: usize) -> [u8; 32] {
        std::array::from_fn(|k| {
            let byte = self.0[k / 4 % 4][row / 4][row % 4 * 4 + k % 4];
            if k < 16 { byte & 15 } else { byte >> 4 }
        })
    }
}

/// Five bits. Five vectors of a quad hold steps 0 to 4 in their low five bits, and steps 5 to 7 in the rest:
///
/// ```text
/// bit        7            6  5         4 3 2 1 0
/// vector 0   step 5: bits 2  1  0      step 0
/// vector 1   step 6: bits 2  1  0      step 1
/// vector 2   step 7: bits 2  1  0      step 2
/// vector 3   step 7: 3 │  step 5: 4 3  step 3
/// vector 4   step 7: 4 │  step 6: 4 3  step 4
/// ```
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Fives(
    /// `[quad][vector]`.
    pub [[[u8; 16]; 5]; 2],
);

impl Codes for Fives {
    const OFFSET: u8 = 16;
    const ZERO: Self = Fives([[[0; 16]; 5]; 2]);

    fn put(&mut self, row: usize, codes: &[u8; 32]) {
        let (steps, _) = codes.as_chunks::<4>();
        let step = |s: usize| u32::from_le_bytes(steps[s]);
        // The same bits of four bytes, moved together: what leaves a byte was masked off before.
        let bits = |s: usize, mask: u8, up: u32| (step(s) & (u32::from(mask) * 0x0101_0101)) << up;
        let words = [
            step(0) | bits(5, 7, 5),
            step(1) | bits(6, 7, 5),
            step(2) | bits(7, 7, 5),
            step(3) | bits(5, 0x18, 2) | bits(7, 8, 4),
            step(4) | bits(6, 0x18, 2) | bits(7, 16, 3),
        ];
        for (vector, word) in self.0[row / 4].iter_mut().zip(words) {
            *four_of(vector, row % 4) = word.to_le_bytes();
        }
    }

    fn get(&self, row: usize) -> [u8; 32] {
        let vectors = &self.0[row / 4];
        std::array::from_fn(|k| {
            let byte = |v: usize| vectors[v][row % 4 * 4 + k % 4];
            match k / 4 {
                5 => byte(0) >> 5 | (byte(3) >> 2 & 0x18),
                6 => byte(1) >> 5 | (byte(4) >> 2 & 0x18),
                7 => byte(2) >> 5 | (byte(3) >> 4 & 8) | (byte(4) >> 3 & 16),
                step => byte(step) & 31,
            }
        })
    }
}

/// The bytes of row `row` (0..4) in the vector of a quad.
pub(super) fn four_of(vector: &mut [u8; 16], row: usize) -> &mut [u8; 4] {
    &mut vector.as_chunks_mut().0[row]
}
