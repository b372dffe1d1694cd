//! Q8_0, value by value.

use crate::kernels::activations::{Super16, SuperPlanes};
use crate::kernels::packed::GroupQ8_0;

/// One vector in twelve bits times all rows: integers exactly, floats once per block.
pub fn vector16(groups: &[GroupQ8_0], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let x: Vec<_> = x
        .iter()
        .flat_map(|x| &x.blocks)
        .map(|x| (x.values(), x.scale))
        .collect();
    vector(groups, per_row, &x, out);
}

/// One vector in twelve bits, in two planes, times all rows: integers exactly, floats once per block.
pub fn vector_planes(groups: &[GroupQ8_0], per_row: usize, x: &[SuperPlanes], out: &mut [f32]) {
    let code = |low: u8, high: u8| 128 * (i32::from(high) - 16) + i32::from(low);
    let x: Vec<_> = x
        .iter()
        .flatten()
        .map(|x| (std::array::from_fn(|k| code(x.low[k], x.high[k])), x.scale))
        .collect();
    vector(groups, per_row, &x, out);
}

fn vector(groups: &[GroupQ8_0], per_row: usize, x: &[([i32; 32], f32)], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 4 * per_row..][..per_row], r % 4);
        let mut total = 0.0;
        for (group, (codes, scale)) in row.iter().zip(x) {
            let products = codes
                .iter()
                .enumerate()
                .map(|(k, x)| i32::from(group.code(r, k)) * x);
            total += products.sum::<i32>() as f32 * (group.d[r] * scale);
        }
        *out = total;
    }
}
