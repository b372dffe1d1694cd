//! The K formats: a *super-block* of 256 values in sub-blocks of 16 or 32. Every sub-block has a small integer
//! scale (and in some a small integer minimum); `d` and `dmin` turn these into floats.

use half::f16;

use super::block::{Block, Fields};

/// Values in a super-block.
pub const SUPER: usize = 256;

/// Q2_K: two bits; `d * scale * q - dmin * min`, sub-blocks of 16.
///
/// ```text
/// scales[s]   high 4 bits: min │ low 4 bits: scale          of sub-block s = values 16s..16s+16
/// qs          two halves of 32 bytes, for 128 values each; in a half, bits 2j and 2j+1 of byte l
///             hold value 32j + l      (j = 0..4, l = 0..32)
///             bit 7 6 │ 5 4 │ 3 2 │ 1 0
///             v 96+l    64+l   32+l   l
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ2K {
    /// Scale (low nibble) and minimum (high nibble) of each sub-block.
    pub scales: [u8; 16],
    /// Two bits per value.
    pub qs: [u8; 64],
    /// Scale of the scales.
    pub d: f16,
    /// Scale of the minimums.
    pub dmin: f16,
}

/// Q3_K: three bits; `d * (scale - 32) * (q - 4)`, sub-blocks of 16.
///
/// ```text
/// qs          the low two bits, laid out as in Q2_K
/// hmask       the third bit: bit 4h + j of byte l belongs to value 128h + 32j + l
/// scales      16 six-bit numbers; scale k has
///               low 4 bits:  nibble k / 8 (low first) of byte k % 8
///               top 2 bits:  bits 2(k/4), 2(k/4)+1 of byte 8 + k % 4
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ3K {
    /// The third bit of each value.
    pub hmask: [u8; 32],
    /// The low two bits of each value.
    pub qs: [u8; 64],
    /// Sixteen six-bit scales.
    pub scales: [u8; 12],
    /// Scale of the scales.
    pub d: f16,
}

/// Q4_K: four bits; `d * scale * q - dmin * min`, sub-blocks of 32.
///
/// ```text
/// qs          four groups of 32 bytes; group g holds sub-block 2g in its low nibbles, 2g+1 in its high ones
/// scales      see [`scale_and_min`]
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ4K {
    /// Scale of the scales.
    pub d: f16,
    /// Scale of the minimums.
    pub dmin: f16,
    /// Eight six-bit scales and eight six-bit minimums.
    pub scales: [u8; 12],
    /// Nibbles.
    pub qs: [u8; 128],
}

/// Q5_K: five bits; as Q4_K, and bit s of `qh[l]` is the fifth bit of value l of sub-block s.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ5K {
    /// Scale of the scales.
    pub d: f16,
    /// Scale of the minimums.
    pub dmin: f16,
    /// Eight six-bit scales and eight six-bit minimums.
    pub scales: [u8; 12],
    /// The fifth bits.
    pub qh: [u8; 32],
    /// Nibbles.
    pub qs: [u8; 128],
}

/// Q6_K: six bits; `d * scale * (q - 32)`, sub-blocks of 16.
///
/// ```text
/// two halves of 128 values, with 64 bytes of ql, 32 of qh, 8 scales each; in a half, for l = 0..32:
///   value       low 4 bits           top 2 bits           scale
///   l           ql[l]    low         qh[l] bits 0,1       l / 16
///   l + 32      ql[l+32] low         qh[l] bits 2,3       l / 16 + 2
///   l + 64      ql[l]    high        qh[l] bits 4,5       l / 16 + 4
///   l + 96      ql[l+32] high        qh[l] bits 6,7       l / 16 + 6
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ6K {
    /// The low four bits of each value.
    pub ql: [u8; 128],
    /// The top two bits of each value.
    pub qh: [u8; 64],
    /// Signed scales of the sub-blocks.
    pub scales: [i8; 16],
    /// Scale of the scales.
    pub d: f16,
}

/// Q8_K: `d * byte`. ggml's activations opposite the K formats; no model file holds it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BlockQ8K {
    /// Scale.
    pub d: f32,
    /// Signed values.
    pub qs: [i8; SUPER],
    /// Sums of 16 values each.
    pub bsums: [i16; 16],
}

const _: () = assert!(size_of::<BlockQ2K>() == 84);
const _: () = assert!(size_of::<BlockQ3K>() == 110);
const _: () = assert!(size_of::<BlockQ4K>() == 144);
const _: () = assert!(size_of::<BlockQ5K>() == 176);
const _: () = assert!(size_of::<BlockQ6K>() == 210);
const _: () = assert!(size_of::<BlockQ8K>() == 292);

/// The six-bit scale and minimum of sub-block `j` (0..8) of Q4_K and Q5_K.
///
/// ```text
/// byte        bit 7 6          │ 5 4 3 2 1 0
/// 0..4        scale j+4, top 2 │ scale j            (j = byte)
/// 4..8        min   j+4, top 2 │ min   j            (j = byte - 4)
/// 8..12       high nibble: min j+4, low 4 bits; low nibble: scale j+4, low 4 bits      (j = byte - 8)
/// ```
pub fn scale_and_min(scales: &[u8; 12], j: usize) -> (u8, u8) {
    if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        (
            (scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4,
            (scales[j + 4] >> 4) | (scales[j] >> 6) << 4,
        )
    }
}

impl Block for BlockQ2K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ2K {
            scales: fields.bytes(),
            qs: fields.bytes(),
            d: fields.f16(),
            dmin: fields.f16(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (s, out) in out.chunks_exact_mut(16).enumerate() {
            let (scale, min) = (
                d * f32::from(self.scales[s] & 15),
                dmin * f32::from(self.scales[s] >> 4),
            );
            let (half, shift, first) = (s / 8, 2 * (s % 8 / 2), 16 * (s % 2));
            for (out, q) in out.iter_mut().zip(&self.qs[32 * half + first..]) {
                *out = scale * f32::from(q >> shift & 3) - min;
            }
        }
    }
}

/// The scale of sub-block `k` (0..16) of Q3_K, the 32 already taken off.
pub fn scale_of_q3_k(scales: &[u8; 12], k: usize) -> i8 {
    let low = scales[k % 8] >> (4 * (k / 8)) & 15;
    let top = scales[8 + k % 4] >> (2 * (k / 4)) & 3;
    (low | top << 4) as i8 - 32
}

impl Block for BlockQ3K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ3K {
            hmask: fields.bytes(),
            qs: fields.bytes(),
            scales: fields.bytes(),
            d: fields.f16(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (s, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(scale_of_q3_k(&self.scales, s));
            let (half, step, first) = (s / 8, s % 8 / 2, 16 * (s % 2));
            let bytes = self.qs[32 * half + first..].iter().zip(&self.hmask[first..]);
            for (out, (q, high)) in out.iter_mut().zip(bytes) {
                let q = (q >> (2 * step) & 3) | (high >> (4 * half + step) & 1) << 2;
                *out = scale * (f32::from(q) - 4.0);
            }
        }
    }
}

impl Block for BlockQ4K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ4K {
            d: fields.f16(),
            dmin: fields.f16(),
            scales: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (s, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scale_and_min(&self.scales, s);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            for (out, q) in out.iter_mut().zip(&self.qs[32 * (s / 2)..]) {
                *out = scale * f32::from(q >> (4 * (s % 2)) & 15) - min;
            }
        }
    }
}

impl Block for BlockQ5K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ5K {
            d: fields.f16(),
            dmin: fields.f16(),
            scales: fields.bytes(),
            qh: fields.bytes(),
            qs: fields.bytes(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (s, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scale_and_min(&self.scales, s);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let bytes = self.qs[32 * (s / 2)..].iter().zip(&self.qh);
            for (out, (q, high)) in out.iter_mut().zip(bytes) {
                let q = (q >> (4 * (s % 2)) & 15) | (high >> s & 1) << 4;
                *out = scale * f32::from(q) - min;
            }
        }
    }
}

impl Block for BlockQ6K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ6K {
            ql: fields.bytes(),
            qh: fields.bytes(),
            scales: fields.signed(),
            d: fields.f16(),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.to_f32();
        for (s, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(self.scales[s]);
            // Quarter t of the half: values 32t..32t+32, of which this sub-block is the first or second 16.
            let (half, t, first) = (s / 8, s % 8 / 2, 16 * (s % 2));
            let low = &self.ql[64 * half + 32 * (t % 2) + first..];
            let top = &self.qh[32 * half + first..];
            for (out, (low, top)) in out.iter_mut().zip(low.iter().zip(top)) {
                let q = (low >> (4 * (t / 2)) & 15) | (top >> (2 * t) & 3) << 4;
                *out = scale * (f32::from(q) - 32.0);
            }
        }
    }
}

impl Block for BlockQ8K {
    const LEN: usize = SUPER;

    fn read(fields: &mut Fields<'_>) -> Self {
        BlockQ8K {
            d: f32::from_le_bytes(fields.bytes()),
            qs: fields.signed(),
            bsums: fields.words().map(|w: u16| w as i16),
        }
    }

    fn dequantize(&self, out: &mut [f32]) {
        for (out, &q) in out.iter_mut().zip(&self.qs) {
            *out = self.d * f32::from(q);
        }
    }
}
