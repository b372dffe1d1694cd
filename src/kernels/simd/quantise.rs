//! Activations to integers.

use crate::kernels::activations::{Block8, Block16, BlockPlanes, Sums, Super8, Super16, SuperPlanes};
use crate::kernels::lanes::*;

/// Magnitudes below this count as zero: their reciprocal is no finite float.
const TINY: f32 = 1e-34;

/// Added to a float of less than 2^22, it leaves no room for a fraction: the sum is rounded to an integer, ties to even,
/// and its low bits are that integer.
const ROUNDER: f32 = 12_582_912.0;

/// Lanes of 16 bits, 0 1 2 3 4 5 6 7 -> 0 2 1 3 4 6 5 7: the order of [`Block16::codes`], and back.
const ORDER: [u8; 16] = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];

/// `rows` holds vectors of `cols` values, all of a batch of `tokens` or some; super-block `s` of the `t`-th becomes number `s * tokens + t`.
#[inline(never)]
pub fn to_i8(rows: &[f32], tokens: usize, cols: usize, out: &mut [Super8]) {
    each_super(rows, tokens, cols, out, |x, out| {
        let (blocks, _) = x.as_chunks();
        for (x, out) in blocks.iter().zip(&mut out.blocks) {
            block8(x, out);
        }
        out.blocks[blocks.len()..].fill(Block8::ZERO);
        out.sums = sums(&out.blocks.each_ref().map(|block| block.sum));
    });
}

/// `rows` holds vectors of `cols` values, all of a batch of `tokens` or some; super-block `s` of the `t`-th becomes number `s * tokens + t`.
#[inline(never)]
pub fn to_i16(rows: &[f32], tokens: usize, cols: usize, out: &mut [Super16]) {
    each_super(rows, tokens, cols, out, |x, out| {
        let (blocks, _) = x.as_chunks();
        let largest = blocks.iter().fold(i32x4_splat(0), |largest, block| {
            i32x4_max(largest, magnitudes(block))
        });
        let (scale, factor) = scale(largest, 2047.0);
        for (x, out) in blocks.iter().zip(&mut out.blocks) {
            block16(x, scale, f32x4_splat(factor), out);
        }
        out.blocks[blocks.len()..].fill(Block16::ZERO);
        out.sums = sums(&out.blocks.each_ref().map(|block| block.sum));
    });
}

/// The same codes in two planes.
#[inline(never)]
pub fn to_planes(supers: &[Super16], out: &mut [SuperPlanes]) {
    for (x, out) in supers.iter().zip(out) {
        for (x, out) in x.blocks.iter().zip(out) {
            planes(x, out);
        }
    }
}

/// `round(x * factor)` of each value, ties to even, for products below 2^22 that fit into sixteen bits. NaN becomes 0.
#[inline(never)]
pub fn to_codes(x: &[f32], factor: f32, out: &mut [i16]) {
    assert!(x.len() == out.len(), "vectors of one length");
    let factor = f32x4_splat(factor);
    let number = |x: V128| {
        let x = f32x4_mul(x, factor);
        and(rounded(x), f32x4_eq(x, x))
    };
    let ((x, x_tail), (out, out_tail)) = (x.as_chunks::<8>(), out.as_chunks_mut());
    let eight = |x: &[f32; 8]| {
        let (fours, _) = x.as_chunks();
        i16x8_narrow_i32x4(number(load_f32(&fours[0])), number(load_f32(&fours[1])))
    };
    for (x, out) in x.iter().zip(out) {
        store_i16(out, eight(x));
    }
    let (mut last, mut codes) = ([0.0; 8], [0; 8]);
    last[..x_tail.len()].copy_from_slice(x_tail);
    store_i16(&mut codes, eight(&last));
    out_tail.copy_from_slice(&codes[..x_tail.len()]);
}

/// Calls `f` for each super-block of values and where it goes.
#[inline(always)]
fn each_super<S>(rows: &[f32], tokens: usize, cols: usize, out: &mut [S], f: impl Fn(&[f32], &mut S)) {
    assert!(
        cols.is_multiple_of(32),
        "integer activations come in blocks of 32, not {cols} values"
    );
    for (t, row) in rows.chunks_exact(cols).take(tokens).enumerate() {
        for (x, out) in row.chunks(256).zip(out[t..].iter_mut().step_by(tokens)) {
            f(x, out);
        }
    }
}

fn block8(x: &[f32; 32], out: &mut Block8) {
    let largest = magnitudes(x);
    let (x, _) = x.as_chunks();
    let [full, less] = [127.0, 126.0].map(|most| scale(largest, most));
    // Not `<=`: with a NaN neither is closer, and the first is taken.
    let closer = distance(x, less) < distance(x, full);
    let (scale, factor) = if closer { less } else { full };
    let factor = f32x4_splat(factor);
    let ones = i16x8_splat(1);
    let (codes, _) = out.codes.as_chunks_mut();
    let mut halves = [0; 2];
    for h in 0..2 {
        let low = i16x8_narrow_i32x4(code(&x[4 * h], factor), code(&x[4 * h + 1], factor));
        let high = i16x8_narrow_i32x4(code(&x[4 * h + 2], factor), code(&x[4 * h + 3], factor));
        store_i8(&mut codes[h], i8x16_narrow_i16x8(low, high));
        halves[h] = i32x4_sum(i32x4_dot_i16x8(i16x8_add(low, high), ones)) as i16;
    }
    let times = |sum: i16, factor: i16| [sum.wrapping_mul(factor); 2];
    let all = halves[0].wrapping_add(halves[1]);
    out.scale = scale;
    out.sum = scale * f32::from(all);
    out.minus_4 = times(all, -4);
    out.minus_8 = halves.map(|half| times(half, -8));
    out.minus_16 = halves.map(|half| times(half, -16));
}

fn block16(x: &[f32; 32], scale: f32, factor: V128, out: &mut Block16) {
    let order = load_u8(&ORDER);
    let ones = i16x8_splat(1);
    let (x, _) = x.as_chunks();
    let (codes, _) = out.codes.as_flattened_mut().as_chunks_mut();
    let mut halves = [0; 2];
    for h in 0..2 {
        let low = i16x8_narrow_i32x4(code(&x[4 * h], factor), code(&x[4 * h + 1], factor));
        let high = i16x8_narrow_i32x4(code(&x[4 * h + 2], factor), code(&x[4 * h + 3], factor));
        store_i16(&mut codes[2 * h], i8x16_swizzle(low, order));
        store_i16(&mut codes[2 * h + 1], i8x16_swizzle(high, order));
        halves[h] = i32x4_sum(i32x4_dot_i16x8(i16x8_add(low, high), ones));
    }
    let all = halves[0] + halves[1];
    out.scale = scale;
    out.sum = scale * all as f32;
    (out.minus_8, out.minus_16) = (-8 * all, -16 * all);
    out.minus_32 = halves.map(|half| -32 * half);
}

fn planes(x: &Block16, out: &mut BlockPlanes) {
    let (order, low, offset) = (load_u8(&ORDER), i16x8_splat(127), i16x8_splat(16));
    let (codes, _) = x.codes.as_flattened().as_chunks();
    let (lows, _) = out.low.as_chunks_mut();
    let (highs, _) = out.high.as_chunks_mut();
    for h in 0..2 {
        let codes = [2 * h, 2 * h + 1].map(|i| i8x16_swizzle(load_i16(&codes[i]), order));
        let [a, b] = codes.map(|codes| and(codes, low));
        store_u8(&mut lows[h], i8x16_narrow_i16x8(a, b));
        // Beside a NaN, codes are anything: the mask keeps them to seven bits.
        let [a, b] = codes.map(|codes| and(i16x8_add(i16x8_shr(codes, 7), offset), low));
        store_u8(&mut highs[h], i8x16_narrow_i16x8(a, b));
    }
    out.scale = x.scale;
}

fn sums(sums: &[f32; 8]) -> Sums {
    let (fours, _) = sums.as_chunks();
    let no_sign = i32x4_splat(i32::MAX);
    let largest = i32x4_max(
        and(load_f32(&fours[0]), no_sign),
        and(load_f32(&fours[1]), no_sign),
    );
    let (scale, factor) = scale(largest, 32767.0);
    let factor = f32x4_splat(factor);
    let mut out = Sums {
        codes: [0; 8],
        minus_scale: -scale,
    };
    store_i16(
        &mut out.codes,
        i16x8_narrow_i32x4(code(&fours[0], factor), code(&fours[1], factor)),
    );
    out
}

/// In each lane, the largest bit pattern of a value without its sign. As integers such patterns have the order of the
/// floats, with NaN on top: a NaN among the values is found.
#[inline(always)]
fn magnitudes(x: &[f32; 32]) -> V128 {
    let (x, _) = x.as_chunks();
    let no_sign = i32x4_splat(i32::MAX);
    let pair = |i: usize| i32x4_max(and(load_f32(&x[i]), no_sign), and(load_f32(&x[i + 1]), no_sign));
    i32x4_max(i32x4_max(pair(0), pair(2)), i32x4_max(pair(4), pair(6)))
}

/// What a code is worth so that the largest magnitude becomes `most`, and what to multiply with to get a code. NaN among
/// the values makes the scale NaN, so that the product is NaN too.
#[inline(always)]
fn scale(largest: V128, most: f32) -> (f32, f32) {
    let lanes = i32x4_lanes(largest);
    let largest = f32::from_bits(lanes[0].max(lanes[1]).max(lanes[2].max(lanes[3])) as u32);
    if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / most, most / largest)
    }
}

/// How far the codes are from the values with this scale: the sum of the squared differences.
#[inline(always)]
fn distance(x: &[[f32; 4]], (scale, factor): (f32, f32)) -> f32 {
    let (rounder, factor) = (f32x4_splat(ROUNDER), f32x4_splat(factor));
    let sum = x.iter().fold(f32x4_splat(0.0), |sum, x| {
        let x = f32x4_mul(load_f32(x), factor);
        let off = f32x4_sub(x, f32x4_sub(f32x4_add(x, rounder), rounder));
        f32x4_add(sum, f32x4_mul(off, off))
    });
    f32x4_sum(sum) * (scale * scale)
}

#[inline(always)]
fn code(x: &[f32; 4], factor: V128) -> V128 {
    rounded(f32x4_mul(load_f32(x), factor))
}

/// The nearest integers, ties to even, of floats below 2^22.
#[inline(always)]
fn rounded(x: V128) -> V128 {
    let rounder = f32x4_splat(ROUNDER);
    i32x4_sub(f32x4_add(x, rounder), rounder)
}
