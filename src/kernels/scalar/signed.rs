//! Q8_0, IQ4_NL, IQ4_XS and MXFP4, value by value.

use crate::kernels::activations::{Super16, SuperPlanes};
use crate::kernels::packed::{BlockLevels, Group, GroupLevels, GroupQ8_0};

/// A group whose codes have a sign.
pub trait Signed: Group {
    /// The code of value `k` of one row.
    fn code(&self, row: usize, k: usize) -> i8;

    /// The scale of 32 values of one row.
    fn scale(&self, row: usize, block: usize) -> f32;
}

impl Signed for GroupQ8_0 {
    fn code(&self, row: usize, k: usize) -> i8 {
        GroupQ8_0::code(self, row, k)
    }

    fn scale(&self, row: usize, _: usize) -> f32 {
        self.d[row]
    }
}

impl<B: BlockLevels, const BLOCKS: usize> Signed for GroupLevels<B, BLOCKS> {
    fn code(&self, row: usize, k: usize) -> i8 {
        GroupLevels::code(self, row, k)
    }

    fn scale(&self, row: usize, block: usize) -> f32 {
        self.blocks[block].d[row]
    }
}

/// One vector in twelve bits times all rows: integers exactly, floats once per block.
pub fn vector16<G: Signed>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    let x: Vec<_> = x
        .iter()
        .flat_map(|x| &x.blocks)
        .map(|x| (x.values(), x.scale))
        .collect();
    vector(groups, per_row, &x, out);
}

/// One vector in twelve bits, in two planes, times all rows: integers exactly, floats once per block.
pub fn vector_planes<G: Signed>(groups: &[G], per_row: usize, x: &[SuperPlanes], out: &mut [f32]) {
    let code = |low: u8, high: u8| 128 * (i32::from(high) - 16) + i32::from(low);
    let x: Vec<_> = x
        .iter()
        .flatten()
        .map(|x| (std::array::from_fn(|k| code(x.low[k], x.high[k])), x.scale))
        .collect();
    vector(groups, per_row, &x, out);
}

fn vector<G: Signed>(groups: &[G], per_row: usize, x: &[([i32; 32], f32)], out: &mut [f32]) {
    let per_group = G::LEN / 32;
    for (r, out) in out.iter_mut().enumerate() {
        let (row, r) = (&groups[r / G::ROWS * per_row..][..per_row], r % G::ROWS);
        let mut total = 0.0;
        for (b, (codes, scale)) in x.iter().enumerate().take(per_row * per_group) {
            let (group, b) = (&row[b / per_group], b % per_group);
            let products = codes
                .iter()
                .enumerate()
                .map(|(k, x)| i32::from(group.code(r, 32 * b + k)) * x);
            total += products.sum::<i32>() as f32 * (group.scale(r, b) * scale);
        }
        *out = total;
    }
}
