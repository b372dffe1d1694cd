//! The vocabulary over plain arrays: what native tests run, and the definition of each word.

use core::array::from_fn;

/// One 128-bit vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct V128([u8; 16]);

/// Views of the sixteen bytes as lanes, little-endian as in WebAssembly.
macro_rules! views {
    ($($view:ident, $from:ident: [$lane:ty; $count:literal];)*) => {$(
        #[inline(always)]
        fn $view(v: V128) -> [$lane; $count] {
            let (lanes, _) = v.0.as_chunks();
            from_fn(|i| <$lane>::from_le_bytes(lanes[i]))
        }

        #[inline(always)]
        fn $from(lanes: [$lane; $count]) -> V128 {
            let bytes = lanes.map(<$lane>::to_le_bytes);
            V128(*bytes.as_flattened().first_chunk().expect("a vector has sixteen bytes"))
        }
    )*};
}

views! {
    u8s, from_u8s: [u8; 16];
    i8s, from_i8s: [i8; 16];
    i16s, from_i16s: [i16; 8];
    u16s, from_u16s: [u16; 8];
    i32s, from_i32s: [i32; 4];
    u32s, from_u32s: [u32; 4];
    u64s, from_u64s: [u64; 2];
    f32s, from_f32s: [f32; 4];
}

/// Loads of sixteen bytes from an array.
macro_rules! loads {
    ($($name:ident, $store:ident: $array:ty = $view:ident, $from:ident;)*) => {$(
        #[doc = concat!("The vector in a `", stringify!($array), "`.")]
        #[inline(always)]
        pub fn $name(from: &$array) -> V128 {
            $from(*from)
        }

        #[doc = concat!("Writes the vector into a `", stringify!($array), "`.")]
        #[inline(always)]
        pub fn $store(to: &mut $array, v: V128) {
            *to = $view(v);
        }
    )*};
}

loads! {
    load_u8, store_u8: [u8; 16] = u8s, from_u8s;
    load_i8, store_i8: [i8; 16] = i8s, from_i8s;
    load_i16, store_i16: [i16; 8] = i16s, from_i16s;
    load_i32, store_i32: [i32; 4] = i32s, from_i32s;
    load_f32, store_f32: [f32; 4] = f32s, from_f32s;
}

/// The `[u8; 4]` four times.
#[inline(always)]
pub fn load_splat_u8x4(from: &[u8; 4]) -> V128 {
    load_splat_i8x4(&from.map(|byte| byte as i8))
}

/// The `[i8; 4]` four times.
#[inline(always)]
pub fn load_splat_i8x4(from: &[i8; 4]) -> V128 {
    from_i8s(from_fn(|i| from[i % 4]))
}

/// The `[i16; 2]` four times.
#[inline(always)]
pub fn load_splat_i16x2(from: &[i16; 2]) -> V128 {
    from_i16s(from_fn(|i| from[i % 2]))
}

/// The `i32` four times.
#[inline(always)]
pub fn load_splat_i32(from: &i32) -> V128 {
    from_i32s([*from; 4])
}

/// The `f32` four times.
#[inline(always)]
pub fn load_splat_f32(from: &f32) -> V128 {
    from_f32s([*from; 4])
}

/// Eight signed bytes as eight lanes of 16 bits.
#[inline(always)]
pub fn load_extend_i8(from: &[u8; 8]) -> V128 {
    from_i16s(from.map(|byte| i16::from(byte as i8)))
}

/// Four signed numbers of 16 bits as lanes of 32 bits.
#[inline(always)]
pub fn load_extend_i16(from: &[i16; 4]) -> V128 {
    from_i32s(from.map(i32::from))
}

/// The four lanes as an array.
#[inline(always)]
pub fn f32x4_lanes(v: V128) -> [f32; 4] {
    f32s(v)
}

/// The four lanes as an array.
#[inline(always)]
pub fn i32x4_lanes(v: V128) -> [i32; 4] {
    i32s(v)
}

/// Lanes of two vectors by turns, from their low or high halves.
macro_rules! interleave {
    ($($low:ident, $high:ident: $view:ident, $from:ident, $half:literal;)*) => {$(
        /// Lanes of `a` and `b` by turns, from their low halves.
        #[inline(always)]
        pub fn $low(a: V128, b: V128) -> V128 {
            let (a, b) = ($view(a), $view(b));
            $from(from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] }))
        }

        /// Lanes of `a` and `b` by turns, from their high halves.
        #[inline(always)]
        pub fn $high(a: V128, b: V128) -> V128 {
            let (a, b) = ($view(a), $view(b));
            $from(from_fn(|i| if i % 2 == 0 { a[$half + i / 2] } else { b[$half + i / 2] }))
        }
    )*};
}

interleave! {
    interleave_low_8, interleave_high_8: u8s, from_u8s, 8;
    interleave_low_16, interleave_high_16: u16s, from_u16s, 4;
    interleave_low_32, interleave_high_32: u32s, from_u32s, 2;
    interleave_low_64, interleave_high_64: u64s, from_u64s, 1;
}

/// Functions of one lane, applied to all.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $view:ident, $from:ident, $f:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(v: V128) -> V128 {
            $from($view(v).map($f))
        }
    )*};
}

/// Functions of two lanes, applied to all pairs.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: $view:ident, $from:ident, $f:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(a: V128, b: V128) -> V128 {
            let (a, b) = ($view(a), $view(b));
            $from(from_fn(|i| $f(a[i], b[i])))
        }
    )*};
}

/// Shifts of each lane by the same count, modulo its width.
macro_rules! shifts {
    ($($(#[$doc:meta])* $name:ident: $view:ident, $from:ident, $f:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(v: V128, bits: u32) -> V128 {
            $from($view(v).map(|lane| $f(lane, bits)))
        }
    )*};
}

unary! {
    /// Each lane without its sign.
    f32x4_abs: f32s, from_f32s, f32::abs;
    /// Each lane with the other sign.
    f32x4_neg: f32s, from_f32s, |x| -x;
    /// Each lane rounded to the nearest integer, ties to even.
    f32x4_nearest: f32s, from_f32s, f32::round_ties_even;
    /// Signed integers as floats, rounded to nearest.
    f32x4_convert_i32x4: i32s, from_f32s, |x| x as f32;
    /// Floats as integers, towards zero, clamped; a NaN is 0.
    i32x4_trunc_sat_f32x4: f32s, from_i32s, |x| x as i32;
}

/// A lane of ones where the condition holds, of zeros elsewhere.
#[inline(always)]
fn mask(yes: bool) -> u32 {
    if yes { u32::MAX } else { 0 }
}

binary! {
    /// `a & b`.
    and: u64s, from_u64s, |a, b| a & b;
    /// `a & !b`.
    andnot: u64s, from_u64s, |a: u64, b: u64| a & !b;
    /// `a | b`.
    or: u64s, from_u64s, |a, b| a | b;
    /// `a ^ b`.
    xor: u64s, from_u64s, |a, b| a ^ b;
    /// Lane by lane, wrapping.
    i8x16_add: u8s, from_u8s, u8::wrapping_add;
    /// Lane by lane, wrapping.
    i8x16_sub: u8s, from_u8s, u8::wrapping_sub;
    /// Lane by lane, wrapping.
    i16x8_add: i16s, from_i16s, i16::wrapping_add;
    /// Lane by lane, wrapping.
    i16x8_sub: i16s, from_i16s, i16::wrapping_sub;
    /// Lane by lane, wrapping.
    i16x8_mul: i16s, from_i16s, i16::wrapping_mul;
    /// Lane by lane, wrapping.
    i32x4_add: i32s, from_i32s, i32::wrapping_add;
    /// Lane by lane, wrapping.
    i32x4_sub: i32s, from_i32s, i32::wrapping_sub;
    /// Lane by lane, wrapping.
    i32x4_mul: i32s, from_i32s, i32::wrapping_mul;
    /// The larger of each two lanes, signed.
    i32x4_max: i32s, from_i32s, i32::max;
    /// All ones in the lanes that are equal.
    i32x4_eq: i32s, from_u32s, |a, b| mask(a == b);
    /// All ones in the lanes where `a > b`, signed.
    i32x4_gt: i32s, from_u32s, |a, b| mask(a > b);
    /// Lane by lane.
    f32x4_add: f32s, from_f32s, |a, b| a + b;
    /// Lane by lane.
    f32x4_sub: f32s, from_f32s, |a, b| a - b;
    /// Lane by lane.
    f32x4_mul: f32s, from_f32s, |a, b| a * b;
    /// Lane by lane.
    f32x4_div: f32s, from_f32s, |a, b| a / b;
    /// `if b < a { b } else { a }`.
    f32x4_pmin: f32s, from_f32s, |a, b| if b < a { b } else { a };
    /// `if a < b { b } else { a }`.
    f32x4_pmax: f32s, from_f32s, |a, b| if a < b { b } else { a };
    /// All ones in the lanes where `a < b`.
    f32x4_lt: f32s, from_u32s, |a, b| mask(a < b);
    /// All ones in the lanes where `a > b`.
    f32x4_gt: f32s, from_u32s, |a, b| mask(a > b);
    /// All ones in the lanes that are not equal; a NaN is equal to nothing.
    f32x4_ne: f32s, from_u32s, |a, b| mask(a != b);
    /// All ones in the lanes that are equal; a NaN is equal to nothing.
    f32x4_eq: f32s, from_u32s, |a, b| mask(a == b);
}

shifts! {
    /// Each lane shifted left.
    i16x8_shl: i16s, from_i16s, i16::wrapping_shl;
    /// Each lane shifted right, zeros in.
    u16x8_shr: u16s, from_u16s, u16::wrapping_shr;
    /// Each lane shifted right, sign in.
    i16x8_shr: i16s, from_i16s, i16::wrapping_shr;
    /// Each lane shifted left.
    i32x4_shl: i32s, from_i32s, i32::wrapping_shl;
    /// Each lane shifted right, zeros in.
    u32x4_shr: u32s, from_u32s, u32::wrapping_shr;
    /// Each lane shifted right, sign in.
    i32x4_shr: i32s, from_i32s, i32::wrapping_shr;
}

/// The value in every lane.
#[inline(always)]
pub fn f32x4_splat(value: f32) -> V128 {
    from_f32s([value; 4])
}

/// The value in every lane.
#[inline(always)]
pub fn i32x4_splat(value: i32) -> V128 {
    from_i32s([value; 4])
}

/// The value in every lane.
#[inline(always)]
pub fn i16x8_splat(value: i16) -> V128 {
    from_i16s([value; 8])
}

/// The value in every lane.
#[inline(always)]
pub fn i8x16_splat(value: i8) -> V128 {
    from_i8s([value; 16])
}

/// The bits of `yes` where `mask` has ones, of `no` elsewhere.
#[inline(always)]
pub fn bitselect(yes: V128, no: V128, mask: V128) -> V128 {
    or(and(yes, mask), andnot(no, mask))
}

/// Products of the sixteen-bit lanes, summed in pairs: lane `i` is `a[2i] b[2i] + a[2i+1] b[2i+1]`.
#[inline(always)]
pub fn i32x4_dot_i16x8(a: V128, b: V128) -> V128 {
    let (a, b) = (i16s(a), i16s(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    from_i32s(from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
}

/// The low eight lanes, signed, widened.
#[inline(always)]
pub fn i16x8_extend_low_i8x16(v: V128) -> V128 {
    let v = i8s(v);
    from_i16s(from_fn(|i| i16::from(v[i])))
}

/// The high eight lanes, signed, widened.
#[inline(always)]
pub fn i16x8_extend_high_i8x16(v: V128) -> V128 {
    let v = i8s(v);
    from_i16s(from_fn(|i| i16::from(v[8 + i])))
}

/// The low eight lanes, unsigned, widened.
#[inline(always)]
pub fn i16x8_extend_low_u8x16(v: V128) -> V128 {
    from_i16s(from_fn(|i| i16::from(v.0[i])))
}

/// The high eight lanes, unsigned, widened.
#[inline(always)]
pub fn i16x8_extend_high_u8x16(v: V128) -> V128 {
    from_i16s(from_fn(|i| i16::from(v.0[8 + i])))
}

/// The low four lanes, signed, widened.
#[inline(always)]
pub fn i32x4_extend_low_i16x8(v: V128) -> V128 {
    let v = i16s(v);
    from_i32s(from_fn(|i| i32::from(v[i])))
}

/// The high four lanes, signed, widened.
#[inline(always)]
pub fn i32x4_extend_high_i16x8(v: V128) -> V128 {
    let v = i16s(v);
    from_i32s(from_fn(|i| i32::from(v[4 + i])))
}

/// The low four lanes, unsigned, widened.
#[inline(always)]
pub fn i32x4_extend_low_u16x8(v: V128) -> V128 {
    let v = u16s(v);
    from_i32s(from_fn(|i| i32::from(v[i])))
}

/// The high four lanes, unsigned, widened.
#[inline(always)]
pub fn i32x4_extend_high_u16x8(v: V128) -> V128 {
    let v = u16s(v);
    from_i32s(from_fn(|i| i32::from(v[4 + i])))
}

/// Neighbouring signed bytes summed into lanes of 16 bits.
#[inline(always)]
pub fn i16x8_extadd_pairwise_i8x16(v: V128) -> V128 {
    let v = i8s(v);
    from_i16s(from_fn(|i| i16::from(v[2 * i]) + i16::from(v[2 * i + 1])))
}

/// Neighbouring signed lanes of 16 bits summed into lanes of 32 bits.
#[inline(always)]
pub fn i32x4_extadd_pairwise_i16x8(v: V128) -> V128 {
    let v = i16s(v);
    from_i32s(from_fn(|i| i32::from(v[2 * i]) + i32::from(v[2 * i + 1])))
}

/// Eight lanes of 32 bits, clamped to 16 bits.
#[inline(always)]
pub fn i16x8_narrow_i32x4(low: V128, high: V128) -> V128 {
    let (low, high) = (i32s(low), i32s(high));
    let clamp = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    from_i16s(from_fn(|i| clamp(if i < 4 { low[i] } else { high[i - 4] })))
}

/// Sixteen lanes of 16 bits, clamped to 8 bits.
#[inline(always)]
pub fn i8x16_narrow_i16x8(low: V128, high: V128) -> V128 {
    let (low, high) = (i16s(low), i16s(high));
    let clamp = |x: i16| x.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
    from_i8s(from_fn(|i| clamp(if i < 8 { low[i] } else { high[i - 8] })))
}

/// Byte `i` of the result is byte `index[i]` of `v`, or zero where the index is 16 or more.
#[inline(always)]
pub fn i8x16_swizzle(v: V128, index: V128) -> V128 {
    V128(from_fn(|i| {
        if index.0[i] < 16 {
            v.0[usize::from(index.0[i])]
        } else {
            0
        }
    }))
}

/// Whether any bit is set.
#[inline(always)]
pub fn any_true(v: V128) -> bool {
    u64s(v) != [0, 0]
}

/// The smaller of each two lanes; beside a NaN, any of them.
#[inline(always)]
pub fn f32x4_min_unless_nan(a: V128, b: V128) -> V128 {
    f32x4_pmin(a, b)
}

/// The larger of each two lanes; beside a NaN, any of them.
#[inline(always)]
pub fn f32x4_max_unless_nan(a: V128, b: V128) -> V128 {
    f32x4_pmax(a, b)
}

/// `a * b + c`, rounded twice.
#[inline(always)]
pub fn madd(a: V128, b: V128, c: V128) -> V128 {
    f32x4_add(f32x4_mul(a, b), c)
}

/// Lane `i` of 16 bits is `a[2i] w[2i] + a[2i+1] w[2i+1]`, for signed bytes `a` and unsigned bytes `w` of at most 127.
#[inline(always)]
pub fn maddubs(a: V128, w: V128) -> V128 {
    debug_assert!(
        w.0.iter().all(|&byte| byte <= 127),
        "maddubs: a weight above 127 is not portable"
    );
    let (a, w) = (i8s(a), w.0);
    let product = |i: usize| i16::from(a[i]) * i16::from(w[i]);
    from_i16s(from_fn(|i| product(2 * i) + product(2 * i + 1)))
}

/// `c` plus, in lane `i` of 32 bits, the sum of `a[4i+j] w[4i+j]` over `j < 4`: signed bytes `a`, unsigned bytes `w` of
/// at most 127.
#[inline(always)]
pub fn dot4(a: V128, w: V128, c: V128) -> V128 {
    i32x4_add(i32x4_extadd_pairwise_i16x8(maddubs(a, w)), c)
}
