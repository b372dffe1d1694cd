//! The logits of a batch, where they were gathered: a row is joined only when somebody looks at it.

use std::ops::Range;

use super::gather::Gather;

/// What the last batch left on the leader to be looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Taken {
    /// Positions that have logits.
    pub(super) rows: usize,
    /// Tokens of the vocabulary that they are for.
    pub(super) vocabulary: usize,
    /// Only the wanted tokens have some.
    pub(super) some: bool,
}

/// Logits of the last forward pass that asked for some, `[positions, vocabulary]`.
pub struct Logits<'a> {
    gather: &'a Gather,
    /// The tokens that have some, ascending; empty for all.
    wanted: &'a [usize],
    vocabulary: usize,
    positions: Range<usize>,
    /// One row, where it does not lie in one piece.
    joined: &'a mut Vec<f32>,
}

impl<'a> Logits<'a> {
    pub(super) fn new(
        gather: &'a Gather,
        taken: Taken,
        wanted: &'a [usize],
        joined: &'a mut Vec<f32>,
    ) -> Logits<'a> {
        Logits {
            gather,
            wanted: if taken.some { wanted } else { &[] },
            vocabulary: taken.vocabulary,
            positions: 0..taken.rows,
            joined,
        }
    }

    /// How many positions there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Some of the positions.
    pub fn part(&mut self, positions: Range<usize>) -> Logits<'_> {
        let from = self.positions.start;
        Logits {
            gather: self.gather,
            wanted: self.wanted,
            vocabulary: self.vocabulary,
            positions: from + positions.start..(from + positions.end).min(self.positions.end),
            joined: self.joined,
        }
    }

    /// Those of a position, `[vocabulary]`. Tokens that were not wanted have negative infinity.
    pub fn row(&mut self, position: usize) -> &[f32] {
        let row = self.positions.start + position;
        debug_assert!(row < self.positions.end, "no logits at position {position}");
        if self.wanted.is_empty() {
            if let Some(whole) = self.gather.whole_row(row) {
                return whole;
            }
            self.joined.resize(self.vocabulary, 0.0);
            self.gather.copy_row(row, self.joined);
        } else {
            self.joined.clear();
            self.joined.resize(self.vocabulary, f32::NEG_INFINITY);
            for (token, value) in self.wanted.iter().zip(self.gather.row(row).flatten()) {
                self.joined[*token] = *value;
            }
        }
        self.joined
    }
}
