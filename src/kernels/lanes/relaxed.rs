//! The vocabulary with relaxed SIMD: `simd128`, and one instruction each for [`madd`], [`maddubs`] and
//! [`dot4`].

use core::arch::wasm32 as w;

pub use super::simd128::*;

/// `if b < a { b } else { a }`, spelt out: of the instruction, LLVM makes the relaxed minimum, which gives any of the two
/// beside a NaN.
#[inline(always)]
pub fn f32x4_pmin(a: V128, b: V128) -> V128 {
    bitselect(b, a, f32x4_lt(b, a))
}

/// `if a < b { b } else { a }`, spelt out for the same reason.
#[inline(always)]
pub fn f32x4_pmax(a: V128, b: V128) -> V128 {
    bitselect(b, a, f32x4_lt(a, b))
}

/// The smaller of each two lanes; beside a NaN, any of them.
#[inline(always)]
pub fn f32x4_min_unless_nan(a: V128, b: V128) -> V128 {
    w::f32x4_relaxed_min(a, b)
}

/// The larger of each two lanes; beside a NaN, any of them.
#[inline(always)]
pub fn f32x4_max_unless_nan(a: V128, b: V128) -> V128 {
    w::f32x4_relaxed_max(a, b)
}

/// `a * b + c`, rounded once where the machine has the instruction and twice elsewhere: the same within one machine.
#[inline(always)]
pub fn madd(a: V128, b: V128, c: V128) -> V128 {
    w::f32x4_relaxed_madd(a, b, c)
}

/// Lane `i` of 16 bits is `a[2i] w[2i] + a[2i+1] w[2i+1]`, for signed bytes `a` and unsigned bytes `w` of at most 127:
/// within that range every machine gives the same.
#[inline(always)]
pub fn maddubs(a: V128, w: V128) -> V128 {
    w::i16x8_relaxed_dot_i8x16_i7x16(a, w)
}

/// `c` plus, in lane `i` of 32 bits, the sum of `a[4i+j] w[4i+j]` over `j < 4`: signed bytes `a`, unsigned bytes `w` of
/// at most 127.
#[inline(always)]
pub fn dot4(a: V128, w: V128, c: V128) -> V128 {
    w::i32x4_relaxed_dot_i8x16_i7x16_add(a, w, c)
}
