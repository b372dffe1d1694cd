//! A tiny 128-bit vocabulary: the only words in which kernels speak of vectors, and the only place with `unsafe`.
//!
//! Three implementations with the same names: `portable` (plain arrays, for native tests and for wasm without SIMD),
//! `simd128` (every browser) and `relaxed` (`simd128` with the fused multiply-add and the 8-bit dot product of
//! relaxed SIMD in place of their two slow forms). All integer functions give the same result in all three;
//! [`madd`] rounds once where the machine has a fused multiply-add and twice elsewhere.
//!
//! Names are those of the WebAssembly instructions. Loads and stores take arrays of fixed size, so that a kernel
//! proves its bounds once, when it cuts its slices into blocks.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod relaxed;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use portable::*;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub use relaxed::*;
#[cfg(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    not(target_feature = "relaxed-simd")
))]
pub use simd128::*;

/// Whether this build has the instructions of relaxed SIMD.
pub const RELAXED: bool = cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd"));

/// The sum of the four lanes, in one fixed order: `(l0 + l2) + (l1 + l3)`.
#[inline(always)]
pub fn f32x4_sum(v: V128) -> f32 {
    let l = f32x4_lanes(v);
    (l[0] + l[2]) + (l[1] + l[3])
}

/// The sum of the four lanes, wrapping.
#[inline(always)]
pub fn i32x4_sum(v: V128) -> i32 {
    let l = i32x4_lanes(v);
    l[0].wrapping_add(l[2]).wrapping_add(l[1].wrapping_add(l[3]))
}

/// The 4 × 4 values of `rows`, transposed: lane `i` of result `j` is lane `j` of `rows[i]`.
#[inline(always)]
pub fn transpose_32x4(rows: [V128; 4]) -> [V128; 4] {
    let ab_low = interleave_low_32(rows[0], rows[1]);
    let ab_high = interleave_high_32(rows[0], rows[1]);
    let cd_low = interleave_low_32(rows[2], rows[3]);
    let cd_high = interleave_high_32(rows[2], rows[3]);
    [
        interleave_low_64(ab_low, cd_low),
        interleave_high_64(ab_low, cd_low),
        interleave_low_64(ab_high, cd_high),
        interleave_high_64(ab_high, cd_high),
    ]
}
