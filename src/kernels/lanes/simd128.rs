//! The vocabulary over WebAssembly's `simd128` instructions.

#![allow(unsafe_code)]

use core::arch::wasm32 as w;

/// One 128-bit vector.
pub type V128 = w::v128;

/// Loads of sixteen bytes from an array.
macro_rules! loads {
    ($($name:ident, $store:ident: $array:ty;)*) => {$(
        #[doc = concat!("The vector in a `", stringify!($array), "`.")]
        #[inline(always)]
        pub fn $name(from: &$array) -> V128 {
            // SAFETY: the array is 16 readable bytes, and the instruction has no alignment requirement.
            unsafe { w::v128_load(core::ptr::from_ref(from).cast()) }
        }

        #[doc = concat!("Writes the vector into a `", stringify!($array), "`.")]
        #[inline(always)]
        pub fn $store(to: &mut $array, v: V128) {
            // SAFETY: the array is 16 writable bytes, and the instruction has no alignment requirement.
            unsafe { w::v128_store(core::ptr::from_mut(to).cast(), v) }
        }
    )*};
}

loads! {
    load_u8, store_u8: [u8; 16];
    load_i8, store_i8: [i8; 16];
    load_i16, store_i16: [i16; 8];
    load_i32, store_i32: [i32; 4];
    load_f32, store_f32: [f32; 4];
}

/// Loads of four bytes into every lane of 32 bits.
macro_rules! splat_loads {
    ($($name:ident: $array:ty;)*) => {$(
        #[doc = concat!("The `", stringify!($array), "` four times.")]
        #[inline(always)]
        pub fn $name(from: &$array) -> V128 {
            // SAFETY: the array is 4 readable bytes, and the instruction has no alignment requirement.
            unsafe { w::v128_load32_splat(core::ptr::from_ref(from).cast()) }
        }
    )*};
}

splat_loads! {
    load_splat_i8x4: [i8; 4];
    load_splat_u8x4: [u8; 4];
    load_splat_i16x2: [i16; 2];
    load_splat_i32: i32;
    load_splat_f32: f32;
}

/// Eight signed bytes as eight lanes of 16 bits.
#[inline(always)]
pub fn load_extend_i8(from: &[u8; 8]) -> V128 {
    // SAFETY: the array is 8 readable bytes, and the instruction has no alignment requirement.
    unsafe { w::i16x8_load_extend_i8x8(from.as_ptr().cast()) }
}

/// Four signed numbers of 16 bits as lanes of 32 bits.
#[inline(always)]
pub fn load_extend_i16(from: &[i16; 4]) -> V128 {
    // SAFETY: the array is 8 readable bytes, and the instruction has no alignment requirement.
    unsafe { w::i32x4_load_extend_i16x4(from.as_ptr()) }
}

/// The four lanes as an array.
#[inline(always)]
pub fn f32x4_lanes(v: V128) -> [f32; 4] {
    [
        w::f32x4_extract_lane::<0>(v),
        w::f32x4_extract_lane::<1>(v),
        w::f32x4_extract_lane::<2>(v),
        w::f32x4_extract_lane::<3>(v),
    ]
}

/// The four lanes as an array.
#[inline(always)]
pub fn i32x4_lanes(v: V128) -> [i32; 4] {
    [
        w::i32x4_extract_lane::<0>(v),
        w::i32x4_extract_lane::<1>(v),
        w::i32x4_extract_lane::<2>(v),
        w::i32x4_extract_lane::<3>(v),
    ]
}

/// `d[0] a[0] d[1]`: lanes of `a` and `b` by turns, from their low or high halves.
macro_rules! interleave {
    ($($name:ident: $shuffle:ident [$($lane:literal),*];)*) => {$(
        /// Lanes of `a` and `b` by turns, from the half that the name says.
        #[inline(always)]
        pub fn $name(a: V128, b: V128) -> V128 {
            w::$shuffle::<$($lane),*>(a, b)
        }
    )*};
}

interleave! {
    interleave_low_8: i8x16_shuffle [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
    interleave_high_8: i8x16_shuffle [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];
    interleave_low_16: i16x8_shuffle [0, 8, 1, 9, 2, 10, 3, 11];
    interleave_high_16: i16x8_shuffle [4, 12, 5, 13, 6, 14, 7, 15];
    interleave_low_32: i32x4_shuffle [0, 4, 1, 5];
    interleave_high_32: i32x4_shuffle [2, 6, 3, 7];
    interleave_low_64: i64x2_shuffle [0, 2];
    interleave_high_64: i64x2_shuffle [1, 3];
}

/// Functions that are one instruction, by their instruction's name.
macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) = $inner:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($($arg: $ty),*) -> V128 {
            w::$inner($($arg),*)
        }
    )*};
}

instructions! {
    /// The value in every lane.
    f32x4_splat(value: f32) = f32x4_splat;
    /// The value in every lane.
    i32x4_splat(value: i32) = i32x4_splat;
    /// The value in every lane.
    i16x8_splat(value: i16) = i16x8_splat;
    /// The value in every lane.
    i8x16_splat(value: i8) = i8x16_splat;
    /// `a & b`.
    and(a: V128, b: V128) = v128_and;
    /// `a & !b`.
    andnot(a: V128, b: V128) = v128_andnot;
    /// `a | b`.
    or(a: V128, b: V128) = v128_or;
    /// `a ^ b`.
    xor(a: V128, b: V128) = v128_xor;
    /// The bits of `yes` where `mask` has ones, of `no` elsewhere.
    bitselect(yes: V128, no: V128, mask: V128) = v128_bitselect;
    /// Lane by lane, wrapping.
    i8x16_add(a: V128, b: V128) = i8x16_add;
    /// Lane by lane, wrapping.
    i8x16_sub(a: V128, b: V128) = i8x16_sub;
    /// Lane by lane, wrapping.
    i16x8_add(a: V128, b: V128) = i16x8_add;
    /// Lane by lane, wrapping.
    i16x8_sub(a: V128, b: V128) = i16x8_sub;
    /// Lane by lane, wrapping.
    i16x8_mul(a: V128, b: V128) = i16x8_mul;
    /// Lane by lane, wrapping.
    i32x4_add(a: V128, b: V128) = i32x4_add;
    /// Lane by lane, wrapping.
    i32x4_sub(a: V128, b: V128) = i32x4_sub;
    /// Lane by lane, wrapping.
    i32x4_mul(a: V128, b: V128) = i32x4_mul;
    /// Products of the sixteen-bit lanes, summed in pairs: lane `i` is `a[2i] b[2i] + a[2i+1] b[2i+1]`.
    i32x4_dot_i16x8(a: V128, b: V128) = i32x4_dot_i16x8;
    /// Each lane shifted left.
    i16x8_shl(v: V128, bits: u32) = i16x8_shl;
    /// Each lane shifted right, zeros in.
    u16x8_shr(v: V128, bits: u32) = u16x8_shr;
    /// Each lane shifted right, sign in.
    i16x8_shr(v: V128, bits: u32) = i16x8_shr;
    /// Each lane shifted left.
    i32x4_shl(v: V128, bits: u32) = i32x4_shl;
    /// Each lane shifted right, zeros in.
    u32x4_shr(v: V128, bits: u32) = u32x4_shr;
    /// Each lane shifted right, sign in.
    i32x4_shr(v: V128, bits: u32) = i32x4_shr;
    /// The low eight lanes, signed, widened.
    i16x8_extend_low_i8x16(v: V128) = i16x8_extend_low_i8x16;
    /// The high eight lanes, signed, widened.
    i16x8_extend_high_i8x16(v: V128) = i16x8_extend_high_i8x16;
    /// The low eight lanes, unsigned, widened.
    i16x8_extend_low_u8x16(v: V128) = i16x8_extend_low_u8x16;
    /// The high eight lanes, unsigned, widened.
    i16x8_extend_high_u8x16(v: V128) = i16x8_extend_high_u8x16;
    /// The low four lanes, signed, widened.
    i32x4_extend_low_i16x8(v: V128) = i32x4_extend_low_i16x8;
    /// The high four lanes, signed, widened.
    i32x4_extend_high_i16x8(v: V128) = i32x4_extend_high_i16x8;
    /// The low four lanes, unsigned, widened.
    i32x4_extend_low_u16x8(v: V128) = i32x4_extend_low_u16x8;
    /// The high four lanes, unsigned, widened.
    i32x4_extend_high_u16x8(v: V128) = i32x4_extend_high_u16x8;
    /// Neighbouring signed bytes summed into lanes of 16 bits.
    i16x8_extadd_pairwise_i8x16(v: V128) = i16x8_extadd_pairwise_i8x16;
    /// Neighbouring signed lanes of 16 bits summed into lanes of 32 bits.
    i32x4_extadd_pairwise_i16x8(v: V128) = i32x4_extadd_pairwise_i16x8;
    /// Eight lanes of 32 bits, clamped to 16 bits.
    i16x8_narrow_i32x4(low: V128, high: V128) = i16x8_narrow_i32x4;
    /// Sixteen lanes of 16 bits, clamped to 8 bits.
    i8x16_narrow_i16x8(low: V128, high: V128) = i8x16_narrow_i16x8;
    /// Byte `i` of the result is byte `index[i]` of `v`, or zero where the index is 16 or more. With constant
    /// indices one instruction in V8.
    i8x16_swizzle(v: V128, index: V128) = i8x16_swizzle;
    /// The larger of each two lanes, signed.
    i32x4_max(a: V128, b: V128) = i32x4_max;
    /// All ones in the lanes that are equal.
    i32x4_eq(a: V128, b: V128) = i32x4_eq;
    /// All ones in the lanes where `a > b`, signed.
    i32x4_gt(a: V128, b: V128) = i32x4_gt;
    /// Lane by lane.
    f32x4_add(a: V128, b: V128) = f32x4_add;
    /// Lane by lane.
    f32x4_sub(a: V128, b: V128) = f32x4_sub;
    /// Lane by lane.
    f32x4_mul(a: V128, b: V128) = f32x4_mul;
    /// Lane by lane.
    f32x4_div(a: V128, b: V128) = f32x4_div;
    /// Each lane without its sign.
    f32x4_abs(v: V128) = f32x4_abs;
    /// Each lane with the other sign.
    f32x4_neg(v: V128) = f32x4_neg;
    /// Each lane rounded to the nearest integer, ties to even.
    f32x4_nearest(v: V128) = f32x4_nearest;
    /// All ones in the lanes where `a < b`.
    f32x4_lt(a: V128, b: V128) = f32x4_lt;
    /// All ones in the lanes where `a > b`.
    f32x4_gt(a: V128, b: V128) = f32x4_gt;
    /// All ones in the lanes that are not equal; a NaN is equal to nothing.
    f32x4_ne(a: V128, b: V128) = f32x4_ne;
    /// All ones in the lanes that are equal; a NaN is equal to nothing.
    f32x4_eq(a: V128, b: V128) = f32x4_eq;
    /// Signed integers as floats, rounded to nearest.
    f32x4_convert_i32x4(v: V128) = f32x4_convert_i32x4;
    /// Floats as integers, towards zero, clamped; a NaN is 0.
    i32x4_trunc_sat_f32x4(v: V128) = i32x4_trunc_sat_f32x4;
}

/// Whether any bit is set.
#[inline(always)]
pub fn any_true(v: V128) -> bool {
    w::v128_any_true(v)
}

/// `if b < a { b } else { a }`.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn f32x4_pmin(a: V128, b: V128) -> V128 {
    w::f32x4_pmin(a, b)
}

/// `if a < b { b } else { a }`.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn f32x4_pmax(a: V128, b: V128) -> V128 {
    w::f32x4_pmax(a, b)
}

/// The smaller of each two lanes; beside a NaN, any of them.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn f32x4_min_unless_nan(a: V128, b: V128) -> V128 {
    f32x4_pmin(a, b)
}

/// The larger of each two lanes; beside a NaN, any of them.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn f32x4_max_unless_nan(a: V128, b: V128) -> V128 {
    f32x4_pmax(a, b)
}

/// `a * b + c`. Rounded twice here; once in the relaxed build where the machine has the instruction.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn madd(a: V128, b: V128, c: V128) -> V128 {
    w::f32x4_add(w::f32x4_mul(a, b), c)
}

/// Lane `i` of 16 bits is `a[2i] w[2i] + a[2i+1] w[2i+1]`, for signed bytes `a` and unsigned bytes `w` of at most 127.
/// Many instructions here: kernels of this build multiply 16-bit lanes instead.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn maddubs(a: V128, w: V128) -> V128 {
    let low = i16x8_mul(i16x8_extend_low_i8x16(a), i16x8_extend_low_u8x16(w));
    let high = i16x8_mul(i16x8_extend_high_i8x16(a), i16x8_extend_high_u8x16(w));
    let even = w::i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(low, high);
    let odd = w::i16x8_shuffle::<1, 3, 5, 7, 9, 11, 13, 15>(low, high);
    i16x8_add(even, odd)
}

/// `c` plus, in lane `i` of 32 bits, the sum of `a[4i+j] w[4i+j]` over `j < 4`: signed bytes `a`, unsigned bytes `w` of
/// at most 127.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
pub fn dot4(a: V128, w: V128, c: V128) -> V128 {
    i32x4_add(i32x4_extadd_pairwise_i16x8(maddubs(a, w)), c)
}
