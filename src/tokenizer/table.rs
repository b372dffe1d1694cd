//! The one hash table shape of the tokenizer: open addressing over `u32` indices, the keys staying where they are.

use crate::error::{Error, Kind, Result};

/// Longest walk before a table is given up. Half-full tables of honest keys need a few dozen steps; a file whose keys
/// were chosen to collide would otherwise make loading quadratic.
const LONGEST_WALK: usize = 2048;

const EMPTY: u32 = u32::MAX;

/// Maps keys to indices; the caller knows the key of an index.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<u32>,
}

impl Table {
    /// A table for this many keys, at most half full.
    pub(super) fn for_keys(count: usize) -> Table {
        Table {
            slots: vec![EMPTY; (count.max(1) * 2).next_power_of_two()],
        }
    }

    /// The index with this hash that `is_it` recognises.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            match *self.slots.get(at)? {
                EMPTY => return None,
                index if is_it(index) => return Some(index),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Enters `index` unless `is_it` recognises one that is there already: the first of equal keys stays.
    pub(super) fn insert(&mut self, hash: u64, index: u32, is_it: impl Fn(u32) -> bool) -> Result<()> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        for _ in 0..LONGEST_WALK {
            match self.slots[at] {
                EMPTY => {
                    self.slots[at] = index;
                    return Ok(());
                }
                there if is_it(there) => return Ok(()),
                _ => at = (at + 1) & mask,
            }
        }
        Err(Error::new(
            Kind::MalformedFile,
            "the vocabulary was made to collide in a hash table",
        ))
    }
}

/// A hash of bytes: eight at a time through a multiplication whose two halves are folded together.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = fold(state ^ u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    fold(state ^ u64::from_le_bytes(word))
}

/// A hash of a pair of ids.
pub(super) fn hash_pair(left: u32, right: u32) -> u64 {
    fold(u64::from(left) << 32 | u64::from(right))
}

fn fold(word: u64) -> u64 {
    // Odd, with bits all over (the fractional part of pi); the xor keeps zero from being a fixed point.
    let product = u128::from(word ^ 0x243f_6a88_85a3_08d3) * 0x9e6c_63d0_876a_3f6b_u128;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_keys_stays() {
        let keys = ["a", "b", "a"];
        let mut table = Table::for_keys(keys.len());
        for (i, key) in keys.iter().enumerate() {
            table
                .insert(hash_bytes(key.as_bytes()), i as u32, |j| keys[j as usize] == *key)
                .unwrap();
        }
        let find = |key: &str| table.find(hash_bytes(key.as_bytes()), |j| keys[j as usize] == key);
        assert_eq!((find("a"), find("b"), find("c")), (Some(0), Some(1), None));
        assert_eq!(Table::default().find(1, |_| true), None);
    }

    #[test]
    fn keys_that_collide_are_refused() {
        let mut table = Table::for_keys(10_000);
        let result = (0..10_000).try_for_each(|i| table.insert(7, i, |_| false));
        assert_eq!(result.unwrap_err().kind, Kind::MalformedFile);
    }

    #[test]
    fn honest_keys_spread() {
        // A quarter of a million spellings and pairs, as in a large vocabulary: insertion never walks far.
        let mut words = Table::for_keys(250_000);
        let mut pairs = Table::for_keys(250_000);
        for i in 0..250_000u32 {
            words
                .insert(hash_bytes(format!(" tok{i}").as_bytes()), i, |_| false)
                .unwrap();
            pairs.insert(hash_pair(i % 500, i / 500), i, |_| false).unwrap();
        }
    }
}
