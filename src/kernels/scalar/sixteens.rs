//! Q2_K, Q3_K and Q6_K, value by value.

use crate::kernels::activations::{Super8, Super16};
use crate::kernels::packed::{Group, GroupQ2K, GroupQ3K, GroupQ6K};

/// Eight rows of sixteen sub-blocks.
pub trait Sixteens: Group {
    /// The codes of sub-block `j` of a row, less their offset.
    fn codes(&self, row: usize, j: usize) -> [i32; 16];

    /// The scale of sub-block `j` of a row, and its minimum.
    fn scale(&self, row: usize, j: usize) -> (i32, i32);

    /// The scales of scales and of minimums of a row; none if it has no minimums.
    fn d(&self, row: usize) -> (f32, Option<f32>);
}

impl Sixteens for GroupQ6K {
    fn codes(&self, row: usize, j: usize) -> [i32; 16] {
        GroupQ6K::codes(self, row, j).map(|code| i32::from(code) - 32)
    }

    fn scale(&self, row: usize, j: usize) -> (i32, i32) {
        (i32::from(self.scales[j][row] as i8), 0)
    }

    fn d(&self, row: usize) -> (f32, Option<f32>) {
        (self.d[row], None)
    }
}

impl Sixteens for GroupQ3K {
    fn codes(&self, row: usize, j: usize) -> [i32; 16] {
        std::array::from_fn(|k| i32::from(self.code(row, j, k)) - 4)
    }

    fn scale(&self, row: usize, j: usize) -> (i32, i32) {
        (i32::from(self.scales[j][row] as i8), 0)
    }

    fn d(&self, row: usize) -> (f32, Option<f32>) {
        (self.d[row], None)
    }
}

impl Sixteens for GroupQ2K {
    fn codes(&self, row: usize, j: usize) -> [i32; 16] {
        std::array::from_fn(|k| i32::from(self.code(row, j, k)))
    }

    fn scale(&self, row: usize, j: usize) -> (i32, i32) {
        let byte = self.scales[j][row];
        (i32::from(byte & 15), i32::from(byte >> 4))
    }

    fn d(&self, row: usize) -> (f32, Option<f32>) {
        (self.d[row], Some(self.dmin[row]))
    }
}

/// One vector in eight bits times all rows: integers exactly, floats once per 32 values.
pub fn vector8<G: Sixteens>(groups: &[G], per_row: usize, x: &[Super8], out: &mut [f32]) {
    each_row(groups, per_row, x, out, |group, r, x, total| {
        let (mut sum, mut minimums) = (0.0, 0.0);
        for (j, x) in x.blocks.iter().enumerate() {
            let (products, mins) = products(group, r, j, x.codes.map(i32::from));
            sum += products as f32 * x.scale;
            minimums += mins as f32 * x.scale;
        }
        let (d, dmin) = group.d(r);
        *total += sum * d;
        if let Some(dmin) = dmin {
            *total += minimums * (dmin / 32.0);
        }
    });
}

/// One vector in twelve bits times all rows: integers exactly, floats once per super-block.
pub fn vector16<G: Sixteens>(groups: &[G], per_row: usize, x: &[Super16], out: &mut [f32]) {
    each_row(groups, per_row, x, out, |group, r, x, total| {
        let (mut sum, mut minimums) = (0, 0);
        for (j, x) in x.blocks.iter().enumerate() {
            let (products, mins) = products(group, r, j, x.values());
            sum += products;
            minimums += mins;
        }
        let ((d, dmin), scale) = (group.d(r), x.blocks[0].scale);
        *total += sum as f32 * (d * scale);
        if let Some(dmin) = dmin {
            *total += minimums as f32 * (dmin / 32.0 * scale);
        }
    });
}

/// Calls `add` for each super-block of each row.
fn each_row<G: Group, X>(
    groups: &[G],
    per_row: usize,
    x: &[X],
    out: &mut [f32],
    add: impl Fn(&G, usize, &X, &mut f32),
) {
    for (r, out) in out.iter_mut().enumerate() {
        let row = &groups[r / G::ROWS * per_row..][..per_row];
        let mut total = 0.0;
        row.iter()
            .zip(x)
            .for_each(|(group, x)| add(group, r % G::ROWS, x, &mut total));
        *out = total;
    }
}

/// The sum of scale times code times activation over 32 values, and -32 times that of minimum times activation.
fn products<G: Sixteens>(group: &G, r: usize, j: usize, x: [i32; 32]) -> (i32, i32) {
    let half = |h: usize| {
        let ((scale, min), x) = (group.scale(r, 2 * j + h), &x[16 * h..][..16]);
        let codes = group.codes(r, 2 * j + h);
        let products: i32 = codes.iter().zip(x).map(|(code, x)| code * x).sum();
        (products * scale, -32 * min * x.iter().sum::<i32>())
    };
    let (a, b) = (half(0), half(1));
    (a.0 + b.0, a.1 + b.1)
}
