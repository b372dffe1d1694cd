//! A set of token ids: which tokens a constraint allows next.

/// A set of token ids, one bit each: id `i` is bit `i % 32` of word `i / 32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u32>,
    len: usize,
}

impl TokenMask {
    /// No token of a vocabulary of this size.
    pub fn none(vocabulary: usize) -> Self {
        TokenMask {
            words: vec![0; vocabulary.div_ceil(32)],
            len: vocabulary,
        }
    }

    /// Every token of a vocabulary of this size.
    pub fn all(vocabulary: usize) -> Self {
        let mut mask = TokenMask {
            words: vec![!0; vocabulary.div_ceil(32)],
            len: vocabulary,
        };
        mask.clear_tail();
        mask
    }

    /// From words as described above. Missing words are empty; bits past the vocabulary are dropped.
    pub fn from_words(mut words: Vec<u32>, vocabulary: usize) -> Self {
        words.resize(vocabulary.div_ceil(32), 0);
        let mut mask = TokenMask {
            words,
            len: vocabulary,
        };
        mask.clear_tail();
        mask
    }

    fn clear_tail(&mut self) {
        if let (Some(last), used @ 1..) = (self.words.last_mut(), self.len % 32) {
            *last &= (1 << used) - 1;
        }
    }

    /// The size of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.len
    }

    /// The bits.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Adds a token. An id outside the vocabulary is ignored.
    pub fn insert(&mut self, id: u32) {
        if (id as usize) < self.len {
            self.words[id as usize / 32] |= 1 << (id % 32);
        }
    }

    /// Removes a token.
    pub fn remove(&mut self, id: u32) {
        if (id as usize) < self.len {
            self.words[id as usize / 32] &= !(1 << (id % 32));
        }
    }

    /// Removes all tokens.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Whether a token is in the set.
    pub fn contains(&self, id: u32) -> bool {
        self.words
            .get(id as usize / 32)
            .is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// How many tokens are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no token is.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The tokens, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words
            .iter()
            .zip((0u32..).step_by(32))
            .flat_map(|(&word, first)| {
                let mut rest = word;
                std::iter::from_fn(move || {
                    let bit = rest.trailing_zeros();
                    rest &= rest.wrapping_sub(1);
                    (bit < 32).then_some(first + bit)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_like_any_other() {
        let mut mask = TokenMask::none(70);
        for id in [0, 31, 32, 69, 70, 1000] {
            mask.insert(id);
        }
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 31, 32, 69]);
        assert!(mask.contains(69) && !mask.contains(70) && !mask.contains(1));
        mask.remove(31);
        mask.remove(500);
        assert_eq!((mask.count(), mask.is_empty()), (3, false));
        assert_eq!(TokenMask::from_words(mask.words().to_vec(), 70), mask);
        mask.clear();
        assert!(mask.is_empty());
        assert_eq!(TokenMask::all(70).count(), 70);
        assert_eq!(TokenMask::all(64).count(), 64);
        assert_eq!(TokenMask::from_words(vec![!0, !0, !0], 40).count(), 40);
        assert_eq!(TokenMask::from_words(vec![1], 40).count(), 1);
    }
}
