//! Which rows and heads of each tensor a worker owns.
//!
//! Every matrix is cut by rows (output features), so each output row is computed whole by one shard and the result
//! does not depend on the number of shards. Attention is cut by key-value heads, with their query heads.

use std::ops::Range;

use crate::error::{Error, Kind, Result};

/// This worker's place among its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// 0 for the leader, which tokenises and samples.
    pub index: usize,
    /// Number of shards, 1 or more.
    pub count: usize,
}

/// Rows are dealt out in multiples of this, so that no interleaved group of a kernel is split.
pub const ROW_GRANULE: usize = 16;

/// More shards than this would only exchange.
pub const MAX_SHARDS: usize = 64;

impl Shard {
    /// The only shard of an undivided model.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// Shard `index` of `count`; [`Kind::InvalidArgument`] if there is no such one.
    pub fn new(index: usize, count: usize) -> Result<Shard> {
        if count == 0 || count > MAX_SHARDS || index >= count {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("shard {index} of {count}: expected 1 to {MAX_SHARDS} shards, counted from 0"),
            ));
        }
        Ok(Shard { index, count })
    }

    /// True for the shard that tokenises and samples.
    pub fn is_leader(self) -> bool {
        self.index == 0
    }

    /// The rows of an `n`-row matrix that shard `of` owns.
    pub fn rows(self, n: usize, of: usize) -> Range<usize> {
        let units = split(n.div_ceil(ROW_GRANULE), self.count, of);
        (units.start * ROW_GRANULE).min(n)..(units.end * ROW_GRANULE).min(n)
    }

    /// The rows of an `n`-row matrix that this shard owns.
    pub fn own(self, n: usize) -> Range<usize> {
        self.rows(n, self.index)
    }

    /// The heads, of `n`, that shard `of` owns. May be empty when there are more shards than heads.
    pub fn heads(self, n: usize, of: usize) -> Range<usize> {
        split(n, self.count, of)
    }

    /// The shard that owns row `row` of an `n`-row matrix.
    pub fn owner(self, n: usize, row: usize) -> usize {
        (0..self.count)
            .find(|&of| self.rows(n, of).contains(&row))
            .unwrap_or(0)
    }
}

/// Part `index` of `0..n` cut in `count` parts whose lengths differ by at most one, the longer ones first.
fn split(n: usize, count: usize, index: usize) -> Range<usize> {
    let (each, longer) = (n / count, n % count);
    let start = index * each + index.min(longer);
    start..start + each + usize::from(index < longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for n in 0..200 {
            for count in 1..7 {
                let shard = Shard { index: 0, count };
                let mut next = 0;
                for of in 0..count {
                    let rows = shard.rows(n, of);
                    assert_eq!(rows.start, next);
                    assert!(rows.start.is_multiple_of(ROW_GRANULE) || rows.is_empty());
                    next = rows.end;
                    for row in rows {
                        assert_eq!(shard.owner(n, row), of);
                    }
                }
                assert_eq!(next, n);
                assert_eq!((0..count).map(|of| shard.heads(n, of).len()).sum::<usize>(), n);
            }
        }
    }
}
