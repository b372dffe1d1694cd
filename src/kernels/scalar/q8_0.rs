//! Q8_0, value by value.

use crate::kernels::activations::Super16;
use crate::kernels::packed::GroupQ8_0;

/// One vector in twelve bits times all rows: integers exactly, floats once per block.
pub fn vector16(groups: &[GroupQ8_0], per_row: usize, x: &[Super16], out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / 4 * per_row..][..per_row], r % 4);
        let mut total = 0.0;
        for (group, x) in row.iter().zip(x.iter().flat_map(|x| &x.blocks)) {
            let products: i32 = x
                .values()
                .iter()
                .enumerate()
                .map(|(k, x)| i32::from(group.code(r, k)) * x)
                .sum();
            total += products as f32 * (group.d[r] * x.scale);
        }
        *out = total;
    }
}
