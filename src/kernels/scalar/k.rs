//! Q4_K and Q5_K, value by value.

use crate::kernels::activations::{Sums, Super8, Super16};
use crate::kernels::packed::{BlockK, GroupK};

/// One vector in eight bits times all rows: integers exactly, floats once per sub-block.
pub fn vector8<C: BlockK>(groups: &[GroupK<C>], per_row: usize, x: &[Super8], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 8 * per_row..][..per_row], r % 8);
        let mut total = 0.0;
        for (group, x) in row.iter().zip(x) {
            let mut sum = 0.0;
            for (j, x) in x.blocks.iter().enumerate() {
                let products = dot(&group.codes[j].get(r), x.codes.map(i32::from));
                sum += (products * i32::from(group.scales[j][r])) as f32 * x.scale;
            }
            total += sum * group.d[r];
            total += minimums(group, r, &x.sums);
        }
        *out = total;
    }
}

/// One vector in twelve bits times all rows: integers exactly, floats once per super-block.
pub fn vector16<C: BlockK>(groups: &[GroupK<C>], per_row: usize, x: &[Super16], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 8 * per_row..][..per_row], r % 8);
        let mut total = 0.0;
        for (group, x) in row.iter().zip(x) {
            let mut sum = 0;
            for (j, x) in x.blocks.iter().enumerate() {
                sum += dot(&group.codes[j].get(r), x.values()) * i32::from(group.scales[j][r]);
            }
            total += sum as f32 * (group.d[r] * x.blocks[0].scale);
            total += minimums(group, r, &x.sums);
        }
        *out = total;
    }
}

/// Minus `dmin` times the sum of minimum times activation sum.
fn minimums<C>(group: &GroupK<C>, r: usize, sums: &Sums) -> f32 {
    let min = |j: usize| i32::from(group.mins[j / 2][r][j % 2]);
    let total: i32 = (0..8).map(|j| min(j) * i32::from(sums.codes[j])).sum();
    total as f32 * (group.dmin[r] * sums.minus_scale)
}

/// The sum of code times activation.
pub fn dot(codes: &[u8], x: impl IntoIterator<Item = i32>) -> i32 {
    codes.iter().zip(x).map(|(&code, x)| i32::from(code) * x).sum()
}
