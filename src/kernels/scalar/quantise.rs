//! Activations to integers, as defined in [`crate::kernels::activations`].

use crate::kernels::activations::{Block8, BlockPlanes, Sums, Super8, Super16, SuperPlanes};

/// Magnitudes below this count as zero: their reciprocal is no finite float.
const TINY: f32 = 1e-34;

/// `rows` holds vectors of `cols` values, all of a batch of `tokens` or some; super-block `s` of the `t`-th becomes number `s * tokens + t`.
pub fn to_i8(rows: &[f32], tokens: usize, cols: usize, out: &mut [Super8]) {
    each_super(rows, tokens, cols, out, |x| {
        let mut out = Super8::ZERO;
        for (x, out) in x.chunks(32).zip(&mut out.blocks) {
            *out = block8(x);
        }
        out.sums = sums(out.blocks.map(|block| block.sum));
        out
    });
}

/// `rows` holds vectors of `cols` values, all of a batch of `tokens` or some; super-block `s` of the `t`-th becomes number `s * tokens + t`.
pub fn to_i16(rows: &[f32], tokens: usize, cols: usize, out: &mut [Super16]) {
    each_super(rows, tokens, cols, out, |x| {
        let mut out = Super16::ZERO;
        let (scale, factor) = scale(x, 2047.0);
        for (x, out) in x.chunks(32).zip(&mut out.blocks) {
            let codes: Vec<i16> = x.iter().map(|&x| code(x, factor) as i16).collect();
            let halves = [0, 16].map(|h| codes[h..h + 16].iter().map(|&c| i32::from(c)).sum::<i32>());
            let all = halves[0] + halves[1];
            out.scale = scale;
            out.sum = scale * all as f32;
            (out.minus_8, out.minus_16) = (-8 * all, -16 * all);
            out.minus_32 = halves.map(|half| -32 * half);
            for (four, out) in codes.chunks(4).zip(out.codes.chunks_mut(2)) {
                out.copy_from_slice(&[[four[0], four[2]], [four[1], four[3]]]);
            }
        }
        out.sums = sums(out.blocks.map(|block| block.sum));
        out
    });
}

/// The same codes in two planes.
pub fn to_planes(supers: &[Super16], out: &mut [SuperPlanes]) {
    for (x, out) in supers.iter().zip(out) {
        *out = x.blocks.map(|x| BlockPlanes {
            low: x.values().map(|code| code.rem_euclid(128) as u8),
            high: x.values().map(|code| (code.div_euclid(128) + 16) as u8 & 127),
            scale: x.scale,
        });
    }
}

/// `round(x * factor)` of each value, ties to even. NaN becomes 0.
pub fn to_codes(x: &[f32], factor: f32, out: &mut [i16]) {
    for (x, out) in x.iter().zip(out) {
        *out = (x * factor).round_ties_even() as i16;
    }
}

fn each_super<S>(rows: &[f32], tokens: usize, cols: usize, out: &mut [S], f: impl Fn(&[f32]) -> S) {
    for (t, row) in rows.chunks(cols).take(tokens).enumerate() {
        for (s, x) in row.chunks(256).enumerate() {
            out[s * tokens + t] = f(x);
        }
    }
}

fn block8(x: &[f32]) -> Block8 {
    let [full, less] = [127.0, 126.0].map(|most| scale(x, most));
    let closer = distance(x, less) < distance(x, full);
    let (scale, factor) = if closer { less } else { full };
    let codes = std::array::from_fn(|i| code(x[i], factor) as i8);
    let halves = [sum(&codes[..16]), sum(&codes[16..])];
    let twice = |sum: i32| [sum as i16; 2];
    Block8 {
        codes,
        scale,
        sum: scale * (halves[0] + halves[1]) as f32,
        minus_4: twice(-4 * (halves[0] + halves[1])),
        minus_8: halves.map(|half| twice(-8 * half)),
        minus_16: halves.map(|half| twice(-16 * half)),
    }
}

fn sums(sums: [f32; 8]) -> Sums {
    let (scale, factor) = scale(&sums, 32767.0);
    Sums {
        codes: sums.map(|sum| code(sum, factor) as i16),
        minus_scale: -scale,
    }
}

/// What a code is worth so that the largest magnitude becomes `most`, and what to multiply with to get a code. NaN among
/// the values makes the scale NaN, so that the product is NaN too.
fn scale(x: &[f32], most: f32) -> (f32, f32) {
    let largest = f32::from_bits(x.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0));
    if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / most, most / largest)
    }
}

/// How far the codes are from the values with this scale: the sum of the squared differences, summed as four lanes do.
fn distance(x: &[f32], (scale, factor): (f32, f32)) -> f32 {
    let mut lanes = [0.0; 4];
    for four in x.chunks(4) {
        for (sum, x) in lanes.iter_mut().zip(four) {
            let off = x * factor - (x * factor).round_ties_even();
            *sum += off * off;
        }
    }
    ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) * (scale * scale)
}

/// The nearest integer, ties to even.
fn code(x: f32, factor: f32) -> i32 {
    (x * factor).round_ties_even() as i32
}

fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|&c| i32::from(c)).sum()
}
