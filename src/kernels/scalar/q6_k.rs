//! Q6_K, value by value.

use crate::kernels::activations::{Super8, Super16};
use crate::kernels::packed::GroupQ6K;

/// One vector in eight bits times all rows: integers exactly, floats once per 32 values.
pub fn vector8(groups: &[GroupQ6K], per_row: usize, x: &[Super8], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 8 * per_row..][..per_row], r % 8);
        let mut total = 0.0;
        for (group, x) in row.iter().zip(x) {
            let mut sum = 0.0;
            for (j, x) in x.blocks.iter().enumerate() {
                sum += products(group, r, j, x.codes.map(i32::from)) as f32 * x.scale;
            }
            total += sum * group.d[r];
        }
        *out = total;
    }
}

/// One vector in twelve bits times all rows: integers exactly, floats once per super-block.
pub fn vector16(groups: &[GroupQ6K], per_row: usize, x: &[Super16], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 8 * per_row..][..per_row], r % 8);
        let mut total = 0.0;
        for (group, x) in row.iter().zip(x) {
            let sum: i32 = (0..8).map(|j| products(group, r, j, x.blocks[j].values())).sum();
            total += sum as f32 * (group.d[r] * x.blocks[0].scale);
        }
        *out = total;
    }
}

/// The sum of scale times (code - 32) times activation over 32 values.
fn products(group: &GroupQ6K, r: usize, j: usize, x: [i32; 32]) -> i32 {
    let half = |h: usize| -> i32 {
        let codes = group.codes(r, 2 * j + h);
        let sum: i32 = codes
            .iter()
            .zip(&x[16 * h..])
            .map(|(&code, x)| (i32::from(code) - 32) * x)
            .sum();
        sum * i32::from(group.scales[2 * j + h][r] as i8)
    };
    half(0) + half(1)
}
