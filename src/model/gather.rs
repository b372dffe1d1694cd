//! One activation, held in slices: each shard computes its own slice, and after the exchange every shard has all.

use std::ops::Range;

use super::{Shard, renew};

/// The slices of one activation, `[rows, width of the slice]` each. On a single shard there is one slice, and it is whole.
#[derive(Debug)]
pub struct Gather {
    slices: Vec<Vec<f32>>,
    /// Width of each slice.
    widths: Vec<usize>,
    /// Rows of each slice.
    rows: Vec<usize>,
}

impl Gather {
    /// Empty slices for this many shards.
    pub fn new(shards: usize) -> Gather {
        Gather {
            slices: vec![Vec::new(); shards],
            widths: vec![0; shards],
            rows: vec![0; shards],
        }
    }

    /// Lays out the next activation: `rows` rows, of which shard s holds columns `columns(s)`.
    pub fn begin(&mut self, rows: usize, columns: impl Fn(usize) -> Range<usize>) {
        for s in 0..self.slices.len() {
            self.begin_slice(s, rows, columns(s).len());
        }
    }

    /// [`Gather::begin`], of an activation that only the leader needs: the others have memory for their own slice alone.
    pub fn begin_for_leader(&mut self, own: Shard, rows: usize, columns: impl Fn(usize) -> Range<usize>) {
        for s in 0..self.slices.len() {
            if own.is_leader() || own.index == s {
                self.begin_slice(s, rows, columns(s).len());
            } else {
                (self.rows[s], self.widths[s]) = (rows, columns(s).len());
            }
        }
    }

    /// Lays out one slice.
    pub fn begin_slice(&mut self, shard: usize, rows: usize, width: usize) {
        self.widths[shard] = width;
        self.rows[shard] = rows;
        // Grows to the largest activation ever seen, then never again.
        renew(&mut self.slices[shard], rows * width);
    }

    /// A shard's slice, `[rows, width]`.
    pub fn slice_mut(&mut self, shard: usize) -> &mut [f32] {
        &mut self.slices[shard]
    }

    /// A shard's slice, `[rows, width]`.
    pub fn slice(&self, shard: usize) -> &[f32] {
        &self.slices[shard]
    }

    /// Numbers in a shard's slice, here or where it comes from.
    pub fn len(&self, shard: usize) -> usize {
        self.rows[shard] * self.widths[shard]
    }

    /// Width of a shard's slice.
    pub fn width(&self, shard: usize) -> usize {
        self.widths[shard]
    }

    /// The pieces of row `row`, in order.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        self.slices
            .iter()
            .zip(&self.widths)
            .map(move |(slice, width)| &slice[row * width..][..*width])
    }

    /// Row `row` where it lies, on a single shard.
    pub fn whole_row(&self, row: usize) -> Option<&[f32]> {
        match (self.slices.as_slice(), self.widths.as_slice()) {
            ([whole], [width]) => Some(&whole[row * width..][..*width]),
            _ => None,
        }
    }

    /// Copies row `row` into `out`, which has its full width.
    pub fn copy_row(&self, row: usize, out: &mut [f32]) {
        let mut at = 0;
        for piece in self.row(row) {
            out[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        debug_assert_eq!(at, out.len());
    }

    /// Copies columns `columns(s)` of row `row` of every slice into `out`, one behind the other; says how many.
    pub fn copy_columns(
        &self,
        row: usize,
        columns: impl Fn(usize) -> Range<usize>,
        out: &mut [f32],
    ) -> usize {
        let mut at = 0;
        for (s, piece) in self.row(row).enumerate() {
            let piece = &piece[columns(s)];
            out[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        at
    }

    /// Adds row `row` to `out`, which has its full width.
    pub fn add_row(&self, row: usize, out: &mut [f32]) {
        let mut rest = out;
        for piece in self.row(row) {
            let (head, tail) = rest.split_at_mut(piece.len());
            head.iter_mut().zip(piece).for_each(|(x, y)| *x += y);
            rest = tail;
        }
    }
}
