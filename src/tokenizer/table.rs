//! The one hash table shape of the tokenizer: open addressing over `u32` indices, the keys staying where they
//! are.

use crate::error::{Error, Kind, Result};

/// Longest walk before a table is given up. Half-full tables of honest keys need a few dozen steps; a file
/// whose keys were chosen to collide would otherwise make loading quadratic.
const LONGEST_WALK: usize = 2048;

/// Maps keys to indices; the caller knows the key of an index.
///
/// A slot is an index in the low bits and, in the bits that indices leave over, a tag from the hash: most
/// keys that are somewhere else or nowhere are told apart without a look at them, which would miss the cache.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<u32>,
    /// The bits of the index; all of them set mark a free slot.
    index_bits: u32,
}

impl Table {
    /// A table for at most `keys` keys, at most half full, with indices below `indices`.
    pub(super) fn new(keys: usize, indices: usize) -> Table {
        let slots = (keys.max(1) * 2).next_power_of_two();
        // One bit pattern more than there are indices, for "free".
        let index_bits = usize::BITS - indices.leading_zeros();
        Table {
            slots: vec![u32::MAX; slots],
            index_bits: index_bits.clamp(1, 32),
        }
    }

    fn index_mask(&self) -> u32 {
        u32::MAX >> (32 - self.index_bits)
    }

    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.index_mask()
    }

    /// The index with this hash that `is_it` recognises.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (slots, tag) = (self.slots.len() - 1, self.tag(hash));
        let mut at = hash as usize & slots;
        loop {
            let slot = self.slots[at];
            let index = slot & self.index_mask();
            if index == self.index_mask() {
                return None;
            }
            if slot ^ index == tag && is_it(index) {
                return Some(index);
            }
            at = (at + 1) & slots;
        }
    }

    /// Enters `index` unless `is_it` recognises one that is there already: the first of equal keys stays.
    /// True if entered.
    pub(super) fn insert(&mut self, hash: u64, index: u32, is_it: impl Fn(u32) -> bool) -> Result<bool> {
        let (slots, tag) = (self.slots.len() - 1, self.tag(hash));
        debug_assert!(index < self.index_mask());
        let mut at = hash as usize & slots;
        for _ in 0..LONGEST_WALK {
            let slot = self.slots[at];
            let there = slot & self.index_mask();
            if there == self.index_mask() {
                self.slots[at] = index | tag;
                return Ok(true);
            }
            if slot ^ there == tag && is_it(there) {
                return Ok(false);
            }
            at = (at + 1) & slots;
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
        let mut table = Table::new(keys.len(), keys.len());
        for (i, key) in keys.iter().enumerate() {
            table
                .insert(hash_bytes(key.as_bytes()), i as u32, |j| keys[j as usize] == *key)
                .unwrap();
        }
        let find = |key: &str| table.find(hash_bytes(key.as_bytes()), |j| keys[j as usize] == key);
        assert_eq!((find("a"), find("b"), find("c")), (Some(0), Some(1), None));
    }

    #[test]
    fn keys_that_collide_are_refused() {
        let mut table = Table::new(10_000, 10_000);
        let result = (0..10_000).try_for_each(|i| table.insert(7, i, |_| false).map(drop));
        assert_eq!(result.unwrap_err().kind, Kind::MalformedFile);
    }

    #[test]
    fn honest_keys_spread() {
        // A quarter of a million spellings and pairs, as in a large vocabulary: insertion never walks far.
        let mut words = Table::new(250_000, 250_000);
        let mut pairs = Table::new(250_000, 250_000);
        for i in 0..250_000u32 {
            words
                .insert(hash_bytes(format!(" tok{i}").as_bytes()), i, |_| false)
                .unwrap();
            pairs.insert(hash_pair(i % 500, i / 500), i, |_| false).unwrap();
        }
    }
}
