//! Functions of whole vectors. What happens to one element depends on nothing but its value: the last few elements of a
//! slice go through the same instructions as the others, in a vector filled up with zeros.

use core::f32::consts::{LN_2, LOG2_E};
use std::hint::black_box;

use crate::kernels::lanes::*;

/// Up to four values as a vector, zeros behind.
#[inline(always)]
pub(super) fn load_tail(x: &[f32]) -> V128 {
    let mut four = [0.0; 4];
    four[..x.len()].copy_from_slice(x);
    load_f32(&four)
}

/// The first values of `v`, as many as `to` holds (at most four).
#[inline(always)]
pub(super) fn store_tail(to: &mut [f32], v: V128) {
    to.copy_from_slice(&f32x4_lanes(v)[..to.len()]);
}

/// `x[i] = f(x[i])`.
#[inline(always)]
fn map_in_place(x: &mut [f32], f: impl Fn(V128) -> V128) {
    let (fours, tail) = x.as_chunks_mut();
    for four in fours {
        store_f32(four, f(load_f32(four)));
    }
    let result = f(load_tail(tail));
    store_tail(tail, result);
}

/// `out[i] = f(a[i], b[i])`.
#[inline(always)]
fn map2(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(V128, V128) -> V128) {
    assert!(
        a.len() == out.len() && b.len() == out.len(),
        "vectors of one length"
    );
    let ((a, a_tail), (b, b_tail), (out, out_tail)) = (a.as_chunks(), b.as_chunks(), out.as_chunks_mut());
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        store_f32(out, f(load_f32(a), load_f32(b)));
    }
    store_tail(out_tail, f(load_tail(a_tail), load_tail(b_tail)));
}

/// `a[i] = f(a[i], b[i])`.
#[inline(always)]
fn map2_in_place(a: &mut [f32], b: &[f32], f: impl Fn(V128, V128) -> V128) {
    assert!(a.len() == b.len(), "vectors of one length");
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks_mut(), b.as_chunks());
    for (a, b) in a.iter_mut().zip(b) {
        store_f32(a, f(load_f32(a), load_f32(b)));
    }
    let result = f(load_tail(a_tail), load_tail(b_tail));
    store_tail(a_tail, result);
}

/// What `x` is multiplied with before its weight: `1 / sqrt(mean(x²) + eps)`. Sixteen partial sums.
fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (squares(x) / x.len() as f32 + eps).sqrt()
}

/// The sum of all squares, in sixteen partial sums.
pub fn squares(x: &[f32]) -> f32 {
    let (sixteens, rest) = x.as_chunks::<16>();
    let mut sums = [f32x4_splat(0.0); 4];
    let mut add = |i: usize, v: V128| sums[i] = madd(v, v, sums[i]);
    for sixteen in sixteens {
        let (fours, _) = sixteen.as_chunks();
        (0..4).for_each(|i| add(i, load_f32(&fours[i])));
    }
    let (fours, tail) = rest.as_chunks();
    fours
        .iter()
        .enumerate()
        .for_each(|(i, four)| add(i, load_f32(four)));
    add(3, load_tail(tail));
    f32x4_sum(f32x4_add(
        f32x4_add(sums[0], sums[1]),
        f32x4_add(sums[2], sums[3]),
    ))
}

/// `out[i] = weight[i] * x[i] / sqrt(mean(x²) + eps)`, within 1e-6 relative for up to 8,192 values.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = f32x4_splat(rms_scale(x, eps));
    map2(x, weight, out, |x, weight| f32x4_mul(f32x4_mul(x, scale), weight));
}

/// [`rms_norm`] where it stands.
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = f32x4_splat(rms_scale(x, eps));
    map2_in_place(x, weight, |x, weight| f32x4_mul(f32x4_mul(x, scale), weight));
}

/// `to[i] += from[i]`.
pub fn add_assign(to: &mut [f32], from: &[f32]) {
    map2_in_place(to, from, f32x4_add);
}

/// `out[i] = silu(gate[i]) * up[i]` with `silu(x) = x / (1 + exp(-x))`, within 5e-7 relative (gates below -87 give
/// something of at most 1e-35 times `up`).
pub fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let exp = Exp::ready();
    map2(gate, up, out, |gate, up| f32x4_mul(exp.silu(gate), up));
}

/// `x[i] *= 1 / (1 + exp(-gate[i]))`, within 5e-7 relative.
pub fn sigmoid_mul_in_place(x: &mut [f32], gate: &[f32]) {
    let (one, exp) = (f32x4_splat(1.0), Exp::ready());
    map2_in_place(x, gate, |x, gate| {
        f32x4_div(x, f32x4_add(one, exp.of(f32x4_neg(gate))))
    });
}

/// The exponential function, with what it needs at hand: V8 builds a constant vector anew, in three instructions, wherever code
/// names it, so a loop takes them along instead.
#[derive(Debug, Clone, Copy)]
pub struct Exp {
    highest: V128,
    lowest: V128,
    log2_e: V128,
    rounder: V128,
    bias: V128,
    minus_ln_2: [V128; 2],
    /// Of the Taylor series, from the seventh power down.
    series: [V128; 8],
}

impl Exp {
    /// The constants.
    #[inline(always)]
    pub fn ready() -> Exp {
        // ln 2 = LN_2_HIGH + LN_2_LOW; the high part has so few bits that its product with n is exact.
        const LN_2_HIGH: f32 = 355.0 / 512.0;
        const LN_2_LOW: f32 = (core::f64::consts::LN_2 - LN_2_HIGH as f64) as f32;
        const _: () = assert!(LN_2_HIGH > LN_2 && LN_2_LOW < 0.0);
        const SERIES: [f32; 8] = [
            1.0 / 5040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ];
        black_box(Exp {
            highest: f32x4_splat(88.0),
            lowest: f32x4_splat(-87.3),
            log2_e: f32x4_splat(LOG2_E),
            rounder: f32x4_splat(12_582_912.0),
            bias: i32x4_splat(127),
            minus_ln_2: [f32x4_splat(-LN_2_HIGH), f32x4_splat(-LN_2_LOW)],
            series: SERIES.map(f32x4_splat),
        })
    }

    /// `exp` of each lane, within 2e-7 relative. Exactly 0 below -87.3, where the result would be subnormal; arguments above
    /// 88 count as 88; NaN stays NaN.
    ///
    /// With `n` the integer next to `x / ln 2`, `exp(x) = 2^n exp(r)`, `r = x - n ln 2` in two steps so that nothing is lost;
    /// `|r| < 0.35`, and the Taylor series to the seventh power is off by less than 6e-9.
    ///
    /// ```text
    /// x log2(e) + 1.5 * 2^23   the sum has no room for a fraction: its low bits are n (mod 512)
    /// (those bits + 127) << 23   the float 2^n
    /// ```
    #[inline(always)]
    pub fn of(&self, x: V128) -> V128 {
        let clamped = f32x4_max_unless_nan(f32x4_min_unless_nan(x, self.highest), self.lowest);
        let rounded = madd(clamped, self.log2_e, self.rounder);
        let n = f32x4_sub(rounded, self.rounder);
        let power = i32x4_shl(i32x4_add(rounded, self.bias), 23);
        let r = madd(n, self.minus_ln_2[0], clamped);
        let r = madd(n, self.minus_ln_2[1], r);
        let [first, rest @ ..] = self.series;
        let series = rest
            .into_iter()
            .fold(first, |series, coefficient| madd(series, r, coefficient));
        let result = andnot(f32x4_mul(series, power), f32x4_lt(x, self.lowest));
        // All ones is a NaN.
        or(result, f32x4_ne(x, x))
    }

    /// `x / (1 + exp(-x))` of each lane, with the error of [`silu_mul`].
    #[inline(always)]
    pub fn silu(&self, x: V128) -> V128 {
        f32x4_div(x, f32x4_add(f32x4_splat(1.0), self.of(f32x4_neg(x))))
    }
}

/// `x[i] = exp(x[i])`, with the error of [`Exp::of`].
pub fn exp_in_place(x: &mut [f32]) {
    let exp = Exp::ready();
    map_in_place(x, |x| exp.of(x));
}

/// `x[i] = exp(x[i]) / sum(exp(x))`, within 4e-6 relative down to 64 below the largest (the difference to it is an f32);
/// zeros where every value is minus infinity.
pub fn softmax(x: &mut [f32]) {
    let largest = max(x);
    if largest == f32::NEG_INFINITY {
        return x.fill(0.0);
    }
    let (largest, exp) = (f32x4_splat(largest), Exp::ready());
    map_in_place(x, |x| exp.of(f32x4_sub(x, largest)));
    let scale = f32x4_splat(1.0 / sum(x));
    map_in_place(x, |x| f32x4_mul(x, scale));
}

/// The sum of all values, in sixteen partial sums.
pub fn sum(x: &[f32]) -> f32 {
    let (sixteens, rest) = x.as_chunks::<16>();
    let mut sums = [f32x4_splat(0.0); 4];
    for sixteen in sixteens {
        let (fours, _) = sixteen.as_chunks();
        (0..4).for_each(|i| sums[i] = f32x4_add(sums[i], load_f32(&fours[i])));
    }
    let (fours, tail) = rest.as_chunks();
    fours
        .iter()
        .enumerate()
        .for_each(|(i, four)| sums[i] = f32x4_add(sums[i], load_f32(four)));
    sums[3] = f32x4_add(sums[3], load_tail(tail));
    f32x4_sum(f32x4_add(
        f32x4_add(sums[0], sums[1]),
        f32x4_add(sums[2], sums[3]),
    ))
}

/// The largest value, NaN left aside; minus infinity if there is none.
pub fn max(x: &[f32]) -> f32 {
    largest(x, f32::NEG_INFINITY, |x| x)
}

/// The largest magnitude, NaN left aside; 0 if there is none.
pub fn max_abs(x: &[f32]) -> f32 {
    largest(x, 0.0, f32x4_abs)
}

/// The largest `f(x[i])`, which is `least` or more, NaN left aside; `least` if there is none.
#[inline(always)]
fn largest(x: &[f32], least: f32, f: impl Fn(V128) -> V128) -> f32 {
    let (sixteens, rest) = x.as_chunks::<16>();
    let mut sixteen_lanes = [f32x4_splat(least); 4];
    for sixteen in sixteens {
        let (fours, _) = sixteen.as_chunks();
        (0..4).for_each(|i| sixteen_lanes[i] = f32x4_pmax(sixteen_lanes[i], f(load_f32(&fours[i]))));
    }
    let [a, b, c, d] = sixteen_lanes;
    let mut lanes = f32x4_pmax(f32x4_pmax(a, b), f32x4_pmax(c, d));
    let (fours, tail) = rest.as_chunks();
    for four in fours {
        lanes = f32x4_pmax(lanes, f(load_f32(four)));
    }
    let mut last = [least; 4];
    last[..tail.len()].copy_from_slice(tail);
    lanes = f32x4_pmax(lanes, f(load_f32(&last)));
    f32x4_lanes(lanes)
        .into_iter()
        .fold(least, |max, x| if max < x { x } else { max })
}

/// Where the largest value stands, the first of equals, NaN left aside; 0 if there is none.
pub fn argmax(x: &[f32]) -> usize {
    let largest = max(x);
    let target = f32x4_splat(largest);
    let (fours, _) = x.as_chunks();
    let skipped = fours
        .iter()
        .take_while(|four| !any_true(f32x4_eq(load_f32(four), target)))
        .count()
        * 4;
    let rest = &x[skipped..];
    rest.iter().position(|&x| x == largest).map_or(0, |i| skipped + i)
}

/// Four halves, in the low 16 bits of each lane, as f32: exact, subnormals, infinity and NaN included.
///
/// ```text
/// half   s eeeee mmmmmmmmmm            exponent bias  15
/// float  s eeeeeeee mmmmmmmmmm0000000000000      bias 127
/// ```
/// The bits moved up by 13 are the float whose exponent lacks 112: one multiplication by 2^112 mends it, and makes
/// normal floats of subnormal halves. Exponent 31 becomes 255 by hand.
#[inline(always)]
pub fn f16_lanes_to_f32(bits: V128) -> V128 {
    let magnitude = i32x4_shl(and(bits, i32x4_splat(0x7fff)), 13);
    let sign = i32x4_shl(and(bits, i32x4_splat(0x8000)), 16);
    let finite = f32x4_mul(magnitude, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let special = i32x4_gt(magnitude, i32x4_splat((0x7c00 << 13) - 1));
    or(or(finite, sign), and(special, i32x4_splat(0x7f80_0000)))
}

/// Half-precision bits as f32, exactly.
pub fn f16_to_f32(from: &[u16], to: &mut [f32]) {
    assert!(from.len() == to.len(), "vectors of one length");
    let ((from, from_tail), (to, to_tail)) = (from.as_chunks::<4>(), to.as_chunks_mut());
    for (from, to) in from.iter().zip(to) {
        store_f32(to, f16_lanes_to_f32(load_i32(&from.map(i32::from))));
    }
    let mut four = [0; 4];
    four.iter_mut()
        .zip(from_tail)
        .for_each(|(four, &bits)| *four = i32::from(bits));
    store_tail(to_tail, f16_lanes_to_f32(load_i32(&four)));
}

/// Four floats as half-precision bits in the low 16 bits of each lane: ties to even, overflow to infinity, NaN stays NaN.
///
/// Normal halves: add half of the last place that remains (a little less where it is even), and cut 13 bits. Subnormal
/// halves: the last place of a sum with 0.5 is 2^-24, exactly theirs, so the addition rounds.
#[inline(always)]
fn f32_to_f16_lanes(x: V128) -> V128 {
    let sign = u32x4_shr(and(x, i32x4_splat(i32::MIN)), 16);
    let magnitude = and(x, i32x4_splat(i32::MAX));
    let half = f32x4_splat(0.5);
    let subnormal = i32x4_sub(f32x4_add(magnitude, half), half);
    let odd = and(u32x4_shr(magnitude, 13), i32x4_splat(1));
    let rounded = i32x4_add(i32x4_add(magnitude, odd), i32x4_splat(0xfff - (112 << 23)));
    let normal = u32x4_shr(rounded, 13);
    // The smallest normal half is 2^-14; from 65,520 on, the nearest half is infinity.
    let is_subnormal = i32x4_gt(i32x4_splat((127 - 14) << 23), magnitude);
    let finite = bitselect(subnormal, normal, is_subnormal);
    let overflows = i32x4_gt(magnitude, i32x4_splat(65_520.0_f32.to_bits() as i32 - 1));
    let is_nan = i32x4_gt(magnitude, i32x4_splat(0x7f80_0000));
    let special = or(i32x4_splat(0x7c00), and(is_nan, i32x4_splat(0x200)));
    or(sign, bitselect(special, finite, overflows))
}

/// To half precision, ties to even, overflow to infinity.
pub fn f32_to_f16(from: &[f32], to: &mut [u16]) {
    assert!(from.len() == to.len(), "vectors of one length");
    let ((from, from_tail), (to, to_tail)) = (from.as_chunks(), to.as_chunks_mut::<4>());
    for (from, to) in from.iter().zip(to) {
        *to = i32x4_lanes(f32_to_f16_lanes(load_f32(from))).map(|bits| bits as u16);
    }
    let halves = i32x4_lanes(f32_to_f16_lanes(load_tail(from_tail)));
    to_tail
        .iter_mut()
        .zip(halves)
        .for_each(|(to, bits)| *to = bits as u16);
}
