//! Seeded random numbers for tests: the same on every machine.

/// A xorshift generator.
pub struct Random(u64);

#[allow(dead_code)] // each test uses what it needs
impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    /// Uniform in -1 to 1.
    pub fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// About normal, of variance 1.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.signed() * 0.5).sum()
    }

    /// `len` values, about normal.
    pub fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal()).collect()
    }
}
