//! SentencePiece's BPE: adjacent symbols merge when together they are a token, the highest score first,
//! leftmost first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocab::{TokenKind, Vocab, byte_value};

/// The scores as merging needs them, and the tokens of single bytes.
#[derive(Debug)]
pub(super) struct Spm {
    /// By id: smaller is better.
    costs: Vec<u32>,
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
}

const NONE: u32 = u32::MAX;

impl Spm {
    /// `scores` has one entry per token, or none at all.
    pub(super) fn new(vocab: &Vocab, scores: &[f32], unknown: Option<u32>) -> Spm {
        let costs = (0..vocab.len())
            .map(|id| cost(scores.get(id).copied().unwrap_or(0.0)))
            .collect();
        let mut bytes = Box::new([None; 256]);
        for id in (0..vocab.len() as u32)
            .rev()
            .filter(|&id| vocab.kind(id) == TokenKind::Byte)
        {
            if let Some(value) = byte_value(vocab.text(id)) {
                bytes[usize::from(value)] = Some(id);
            }
        }
        for byte in 0..=255u8 {
            let name = format!("<0x{byte:02X}>");
            let slot = &mut bytes[usize::from(byte)];
            *slot = slot
                .or_else(|| vocab.find_text(name.as_bytes()))
                .or_else(|| vocab.find_text(&[byte]));
        }
        Spm {
            costs,
            bytes,
            unknown,
        }
    }

    /// Appends the ids of one fragment, whose spaces are spaces (the marks of the vocabulary are undone). A
    /// merge always makes a token, so every symbol at the end is one, or a character that the vocabulary does
    /// not have.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        // Where each symbol begins and where the next one does; merged symbols leave the chain.
        let starts: Vec<u32> = text
            .char_indices()
            .map(|(at, _)| at as u32)
            .chain([text.len() as u32])
            .collect();
        let count = starts.len() - 1;
        let mut next: Vec<u32> = (1..=count as u32).collect();
        let mut prev: Vec<u32> = (0..count as u32).map(|i| i.wrapping_sub(1)).collect();
        let piece = |from: usize, to: usize| &text.as_bytes()[starts[from] as usize..starts[to] as usize];
        let pair = |left: usize, right: usize, after: usize| {
            debug_assert!(left < right && right < after);
            vocab.find_text(piece(left, after)).unwrap_or(NONE)
        };

        // `pairs[i]`: the token that the symbol at i makes with the next one.
        let mut pairs: Vec<u32> = (0..count)
            .map(|i| {
                if i + 1 < count {
                    pair(i, i + 1, i + 2)
                } else {
                    NONE
                }
            })
            .collect();
        let entry = |token: u32, at: usize| Reverse(u64::from(self.costs[token as usize]) << 32 | at as u64);
        let mut heap: BinaryHeap<Reverse<u64>> = pairs
            .iter()
            .enumerate()
            .filter(|pair| *pair.1 != NONE)
            .map(|(at, &token)| entry(token, at))
            .collect();
        while let Some(Reverse(top)) = heap.pop() {
            let at = top as u32 as usize;
            // Stale: the pair here is another one by now. (If it costs the same, its turn is now as well.)
            if pairs[at] == NONE || entry(pairs[at], at) != Reverse(top) {
                continue;
            }
            let right = next[at] as usize;
            let after = next[right] as usize;
            pairs[right] = NONE;
            next[at] = after as u32;
            pairs[at] = NONE;
            if after < count {
                prev[after] = at as u32;
                pairs[at] = pair(at, after, next[after] as usize);
                if pairs[at] != NONE {
                    heap.push(entry(pairs[at], at));
                }
            }
            let before = prev[at] as usize;
            if before < count {
                pairs[before] = pair(before, at, after);
                if pairs[before] != NONE {
                    heap.push(entry(pairs[before], before));
                }
            }
        }
        let mut at = 0;
        while at < count {
            let after = next[at] as usize;
            match vocab.find_text(piece(at, after)) {
                Some(id) => out.push(id),
                None => {
                    let spelled = |byte: &u8| self.bytes[usize::from(*byte)].or(self.unknown);
                    out.extend(piece(at, after).iter().filter_map(spelled));
                }
            }
            at = after;
        }
    }
}

/// A score as an integer that sorts the other way round; what is no number is worst.
fn cost(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    // Adding zero turns -0 into 0. Negative floats sort by their flipped bits, the others above them.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_sort_against_scores() {
        let scores = [
            f32::INFINITY,
            3.5,
            1e-40,
            0.0,
            -1e-40,
            -1.0,
            -1000.0,
            f32::NEG_INFINITY,
        ];
        assert!(scores.windows(2).all(|pair| cost(pair[0]) < cost(pair[1])));
        assert_eq!(cost(0.0), cost(-0.0));
        assert!(cost(f32::NAN) > cost(f32::NEG_INFINITY));
    }
    /// The definition: merge the leftmost pair that makes the token of the highest score until none does.
    fn by_definition(tokens: &[(&str, f32)], text: &str) -> Vec<u32> {
        let mut symbols: Vec<String> = text.chars().map(String::from).collect();
        let id = |s: &str| tokens.iter().position(|token| token.0 == s);
        loop {
            let pairs =
                (1..symbols.len()).filter_map(|i| Some((i, tokens[id(&symbols[i - 1..=i].concat())?].1)));
            let best = pairs.reduce(|best, pair| if pair.1 > best.1 { pair } else { best });
            let Some((at, _)) = best else { break };
            let right = symbols.remove(at);
            symbols[at - 1] += &right;
        }
        symbols.iter().map(|s| id(s).unwrap_or(0) as u32).collect()
    }

    #[test]
    fn merging_follows_the_definition() {
        // Equal scores, a score of -0, and strings that overlap in every way.
        let tokens = [
            ("?", -9.0),
            ("a", -1.0),
            ("b", -1.0),
            ("aa", -2.0),
            ("ab", -2.0),
            ("ba", -1.5),
            ("aab", 0.0),
            ("bba", -0.0),
            ("abab", -0.5),
            ("aaaa", -3.0),
            ("baab", -0.5),
        ];
        let entries = tokens.iter().map(|token| (token.0.as_bytes(), TokenKind::Normal));
        let vocab = Vocab::new(super::super::vocab::Spelling::SpaceMark, entries, tokens.len()).unwrap();
        let scores = tokens.map(|token| token.1);
        let spm = Spm::new(&vocab, &scores, Some(0));
        for length in 0..12u32 {
            for bits in 0..1u32 << length {
                let text: String = (0..length)
                    .map(|i| if bits >> i & 1 == 0 { 'a' } else { 'b' })
                    .collect();
                let mut found = Vec::new();
                spm.encode(&vocab, &text, &mut found);
                assert_eq!(found, by_definition(&tokens, &text), "{text:?}");
            }
        }
        let mut found = Vec::new();
        spm.encode(&vocab, "aébb", &mut found);
        assert_eq!(found, [1, 0, 0, 2, 2], "two bytes without a token");
    }
}
