//! Q4_0, Q4_1, Q5_0 and Q5_1, value by value.

use crate::kernels::activations::{Super8, Super16};
use crate::kernels::packed::{BlockLegacy, Group0, Group1, of_half_bits};

/// A group with or without a minimum.
pub trait Legacy: Copy {
    /// The weights of a row without their scale, and the scale and minimum.
    fn parts(&self, row: usize) -> ([i32; 32], f32, Option<f32>);
}

impl<C: BlockLegacy> Legacy for Group0<C> {
    fn parts(&self, row: usize) -> ([i32; 32], f32, Option<f32>) {
        let codes = self
            .codes
            .get(row)
            .map(|code| i32::from(code) - i32::from(C::OFFSET));
        (codes, of_half_bits(self.d[row]), None)
    }
}

impl<C: BlockLegacy> Legacy for Group1<C> {
    fn parts(&self, row: usize) -> ([i32; 32], f32, Option<f32>) {
        (
            self.codes.get(row).map(i32::from),
            of_half_bits(self.d[row]),
            Some(of_half_bits(self.m[row])),
        )
    }
}

/// One vector in eight bits times all rows: integers exactly, floats once per block.
pub fn vector8<G: Legacy>(groups: &[G], per_row: usize, x: &[Super8], out: &mut [f32]) {
    let blocks = x
        .iter()
        .flat_map(|x| &x.blocks)
        .map(|x| (x.codes.map(i32::from), x.scale, x.sum));
    vector(groups, per_row, blocks, out);
}

/// One vector in twelve bits times all rows: integers exactly, floats once per block.
pub fn vector16<G: Legacy>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let blocks = x
        .iter()
        .flat_map(|x| &x.blocks)
        .map(|x| (x.values(), x.scale, x.sum));
    vector(groups, per_row, blocks, out);
}

fn vector<G: Legacy>(
    groups: &[G],
    per_row: usize,
    x: impl Iterator<Item = ([i32; 32], f32, f32)> + Clone,
    out: &mut [f32],
) {
    for (r, out) in out.iter_mut().enumerate() {
        let row = &groups[r / 8 * per_row..][..per_row];
        let mut total = 0.0;
        for (group, (x, scale, sum)) in row.iter().zip(x.clone()) {
            let (weights, d, m) = group.parts(r % 8);
            let products: i32 = weights.iter().zip(x).map(|(w, x)| w * x).sum();
            total += products as f32 * (d * scale);
            if let Some(m) = m {
                total += m * sum;
            }
        }
        *out = total;
    }
}
