//! What all block structs share: reading one from bytes, and unfolding it to f32.

use half::f16;

/// One block of a quantised row. Implementors are `#[repr(C)]` structs whose fields stand in file order.
pub trait Block: Sized {
    /// How many values one block holds.
    const LEN: usize;

    /// How many bytes one block takes in the file.
    const BYTES: usize = size_of::<Self>();

    /// The block that `fields` spells out, field by field.
    fn read(fields: &mut Fields<'_>) -> Self;

    /// Writes the block's values to `out`, which holds [`Block::LEN`] of them.
    fn dequantize(&self, out: &mut [f32]);
}

/// The fields of one block, taken from the front one after the other. All numbers are little-endian.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of the block in `raw`, which holds exactly [`Block::BYTES`] bytes.
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Fields(raw)
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .expect("a block struct asks for its own size, no more");
        self.0 = rest;
        *head
    }

    /// The next `N` signed bytes.
    pub(super) fn signed<const N: usize>(&mut self) -> [i8; N] {
        self.bytes().map(|b: u8| b as i8)
    }

    /// The next `N` 16-bit words.
    pub(super) fn words<const N: usize>(&mut self) -> [u16; N] {
        std::array::from_fn(|_| u16::from_le_bytes(self.bytes()))
    }

    /// The next half-precision number.
    pub(super) fn f16(&mut self) -> f16 {
        f16::from_le_bytes(self.bytes())
    }
}

/// Unfolds whole blocks; the caller has checked that the two lengths belong together.
pub(super) fn dequantize_blocks<B: Block>(raw: &[u8], out: &mut [f32]) {
    for (raw, out) in raw.chunks_exact(B::BYTES).zip(out.chunks_exact_mut(B::LEN)) {
        B::read(&mut Fields::new(raw)).dequantize(out);
    }
}

/// The f32 that has the same value as these half-precision bits.
pub fn f16_to_f32(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}
