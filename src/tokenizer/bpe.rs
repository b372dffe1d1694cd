//! Byte pair encoding: within a piece, the adjacent pair with the lowest rank merges, leftmost first, until
//! none is left.
//!
//! The merges of a large vocabulary are a quarter of a million pairs of strings in the file. Here a merge is
//! two ids and the id they make, found by the pair in an open table: 20 bytes a merge.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::byte_level;
use super::table::{Table, hash_pair};
use super::vocab::{CONTROL, Spelling, Vocab, unmark};
use crate::error::Result;

/// A symbol that is neither a token nor part of a merge.
const NONE: u32 = u32::MAX;

/// Up to this many symbols a scan for the lowest rank beats the heap.
const SCAN_LIMIT: usize = 48;

/// The merges, and what the vocabulary spells a lone byte with.
#[derive(Debug)]
pub(super) struct Bpe {
    spelling: Spelling,
    /// By rank: the pair.
    pairs: Vec<(u32, u32)>,
    /// By rank: what the pair becomes.
    merged: Vec<u32>,
    table: Table,
    /// Strings of merges that are no tokens, numbered on from the vocabulary: steps on the way to a token.
    steps: Vec<Box<[u8]>>,
    /// The symbol of each byte (byte-level), or the token `<0xHH>`.
    bytes: Box<[u32; 256]>,
}

/// Room for one piece at a time, kept from piece to piece.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    ranks: Vec<u32>,
    prev: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Bpe {
    /// Reads the merges ("left right"), lowest rank first. A merge that no text can reach is left out.
    pub(super) fn new<'a>(
        vocab: &Vocab,
        spelling: Spelling,
        merges: impl Iterator<Item = &'a [u8]>,
        count: usize,
    ) -> Result<Bpe> {
        let mut bpe = Bpe {
            spelling,
            pairs: Vec::with_capacity(count),
            merged: Vec::with_capacity(count),
            table: Table::new(count, count),
            steps: Vec::new(),
            bytes: Box::new([NONE; 256]),
        };
        let mut names = Names {
            vocab,
            spelling,
            steps: HashMap::new(),
            text: Vec::new(),
        };
        let mut joined = Vec::new();
        let mut near = 0;
        for merge in merges {
            // The left part is at least one byte, so a merge may begin with a space.
            let Some(space) = merge.iter().skip(1).position(|&byte| byte == b' ') else {
                continue;
            };
            let (left, right) = (&merge[..space + 1], &merge[space + 2..]);
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            // Most vocabularies number the tokens in the order of the merges that make them.
            let (Some(left), Some(right), Some(whole)) =
                (names.id(left, 0), names.id(right, 0), names.id(&joined, near))
            else {
                continue;
            };
            near = whole;
            let rank = bpe.pairs.len() as u32;
            let pairs = &bpe.pairs;
            bpe.table.insert(hash_pair(left, right), rank, |other| {
                pairs[other as usize] == (left, right)
            })?;
            bpe.pairs.push((left, right));
            bpe.merged.push(whole);
        }
        for byte in 0..=255u8 {
            let found = match spelling {
                Spelling::ByteLevel => names.lone_byte(byte),
                Spelling::SpaceMark => {
                    let name = format!("<0x{byte:02X}>");
                    vocab
                        .find_name(name.as_bytes())
                        .or_else(|| vocab.find_text(name.as_bytes()))
                }
            };
            bpe.bytes[usize::from(byte)] = found.unwrap_or(NONE);
        }
        let mut steps: Vec<(u32, Box<[u8]>)> = names.steps.into_iter().map(|(text, id)| (id, text)).collect();
        steps.sort_unstable_by_key(|step| step.0);
        bpe.steps = steps.into_iter().map(|step| step.1).collect();
        Ok(bpe)
    }

    /// Appends the ids of one piece. No merge makes a token that has one of the `barred` flags.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        piece: &str,
        barred: u8,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        scratch.ids.clear();
        match self.spelling {
            Spelling::ByteLevel => scratch
                .ids
                .extend(piece.bytes().map(|byte| self.bytes[usize::from(byte)])),
            Spelling::SpaceMark => {
                // A character without a token is its bytes, between which nothing merges.
                for c in piece.chars() {
                    let mut utf8 = [0; 4];
                    let c = c.encode_utf8(&mut utf8).as_bytes();
                    match self.char_id(vocab, c, barred) {
                        Some(id) => scratch.ids.push(id),
                        None => scratch
                            .ids
                            .extend(c.iter().map(|&byte| self.bytes[usize::from(byte)])),
                    }
                }
            }
        }
        if scratch.ids.len() <= SCAN_LIMIT {
            self.merge_by_scan(vocab, barred, scratch);
        } else {
            self.merge_by_heap(vocab, barred, scratch);
        }
        for &id in &scratch.ids {
            self.emit(vocab, id, out);
        }
    }

    fn char_id(&self, vocab: &Vocab, c: &[u8], barred: u8) -> Option<u32> {
        let id = vocab.find_text(c).or_else(|| vocab.find_name(c))?;
        (!vocab.has(id, barred)).then_some(id)
    }

    /// A token as it is; a step of the merges that ended on the way, byte by byte.
    fn emit(&self, vocab: &Vocab, id: u32, out: &mut Vec<u32>) {
        let count = vocab.len() as u32;
        if id < count {
            out.push(id);
        } else if let Some(step) = self.steps.get((id - count) as usize) {
            out.extend(
                step.iter()
                    .map(|&byte| self.bytes[usize::from(byte)])
                    .filter(|&id| id < count),
            );
        }
    }

    /// The rank of the pair, or [`NONE`].
    fn rank(&self, vocab: &Vocab, left: u32, right: u32, barred: u8) -> u32 {
        if left == NONE || right == NONE {
            return NONE;
        }
        let rank = self.table.find(hash_pair(left, right), |rank| {
            self.pairs[rank as usize] == (left, right)
        });
        rank.filter(|&rank| !vocab.has(self.merged[rank as usize], barred))
            .unwrap_or(NONE)
    }

    fn merge_by_scan(&self, vocab: &Vocab, barred: u8, scratch: &mut Scratch) {
        let Scratch { ids, ranks, .. } = scratch;
        ranks.clear();
        ranks.extend(
            ids.windows(2)
                .map(|pair| self.rank(vocab, pair[0], pair[1], barred)),
        );
        // `min_by_key` takes the first of equals: the leftmost.
        while let Some((at, &rank)) = ranks.iter().enumerate().min_by_key(|entry| entry.1) {
            if rank == NONE {
                return;
            }
            ids[at] = self.merged[rank as usize];
            ids.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(vocab, ids[at - 1], ids[at], barred);
            }
            if at < ranks.len() {
                ranks[at] = self.rank(vocab, ids[at], ids[at + 1], barred);
            }
        }
    }

    /// The same for long pieces: a heap of `rank << 32 | position`. An entry is stale when the pair at its
    /// position has another rank by now; symbols only grow, so a rank never returns to a position.
    fn merge_by_heap(&self, vocab: &Vocab, barred: u8, scratch: &mut Scratch) {
        let Scratch {
            ids,
            ranks,
            prev,
            next,
            heap,
        } = scratch;
        let count = ids.len();
        ranks.clear();
        ranks.extend(
            ids.windows(2)
                .map(|pair| self.rank(vocab, pair[0], pair[1], barred)),
        );
        ranks.push(NONE);
        prev.clear();
        prev.extend((0..count as u32).map(|i| i.wrapping_sub(1)));
        next.clear();
        next.extend(1..=count as u32);
        let mut entries = std::mem::take(heap).into_vec();
        entries.clear();
        entries.extend(
            ranks
                .iter()
                .enumerate()
                .filter(|entry| *entry.1 != NONE)
                .map(|(at, &rank)| entry(rank, at)),
        );
        *heap = entries.into();
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32 as usize);
            if ranks[at] != rank {
                continue;
            }
            let right = next[at] as usize;
            ids[at] = self.merged[rank as usize];
            ids[right] = NONE;
            ranks[right] = NONE;
            let after = next[right] as usize;
            next[at] = after as u32;
            ranks[at] = NONE;
            if after < count {
                prev[after] = at as u32;
                ranks[at] = self.rank(vocab, ids[at], ids[after], barred);
                if ranks[at] != NONE {
                    heap.push(entry(ranks[at], at));
                }
            }
            let before = prev[at] as usize;
            if before < count {
                ranks[before] = self.rank(vocab, ids[before], ids[at], barred);
                if ranks[before] != NONE {
                    heap.push(entry(ranks[before], before));
                }
            }
        }
        let mut at = 0;
        let mut kept = 0;
        while at < count {
            ids[kept] = ids[at];
            kept += 1;
            at = next[at] as usize;
        }
        ids.truncate(kept);
    }
}

fn entry(rank: u32, at: usize) -> Reverse<u64> {
    Reverse(u64::from(rank) << 32 | at as u64)
}

/// Gives the strings of merges their ids, while the merges are read.
struct Names<'v> {
    vocab: &'v Vocab,
    spelling: Spelling,
    steps: HashMap<Box<[u8]>, u32>,
    text: Vec<u8>,
}

impl Names<'_> {
    /// The id of a string as the file spells it, perhaps near this one; `None` for what no text can be.
    fn id(&mut self, spelled: &[u8], near: u32) -> Option<u32> {
        self.text.clear();
        let decoded = match self.spelling {
            Spelling::ByteLevel => std::str::from_utf8(spelled)
                .ok()
                .and_then(|s| byte_level::decode(s, &mut self.text)),
            Spelling::SpaceMark => {
                unmark(spelled, &mut self.text);
                Some(())
            }
        };
        if decoded.is_some()
            && let Some(id) = self.vocab.find_text_near(&self.text, near)
        {
            return Some(id);
        }
        if let Some(id) = self.vocab.find_name(spelled) {
            return Some(id);
        }
        decoded?;
        if let Some(&id) = self.steps.get(self.text.as_slice()) {
            return Some(id);
        }
        let id = u32::try_from(self.vocab.len() + self.steps.len())
            .ok()
            .filter(|&id| id != NONE)?;
        self.steps.insert(self.text.clone().into_boxed_slice(), id);
        Some(id)
    }

    /// The symbol of a byte: a text token, a token named by the byte's disguise, or a step of some merge.
    fn lone_byte(&self, byte: u8) -> Option<u32> {
        let disguise = (0..324)
            .filter_map(char::from_u32)
            .find(|&c| byte_level::byte_of(c) == Some(byte))?;
        let mut utf8 = [0; 4];
        self.vocab
            .find_text(&[byte])
            .or_else(|| self.vocab.find_name(disguise.encode_utf8(&mut utf8).as_bytes()))
            .filter(|&id| !self.vocab.has(id, CONTROL))
            .or_else(|| self.steps.get([byte].as_slice()).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocab::TokenKind;
    use super::*;

    /// All strings of `a` and `b` up to four letters, but for every fifth; and every pair that makes one of
    /// the longer strings as a merge, in an order shuffled by `seed`.
    fn toy(seed: u64) -> (Vec<String>, Vec<String>) {
        let mut strings = vec![String::new()];
        for start in 0..15 {
            for letter in ["a", "b"] {
                let longer = strings[start].clone() + letter;
                strings.push(longer);
            }
        }
        let mut merges: Vec<String> = Vec::new();
        for whole in &strings {
            merges.extend((1..whole.len()).map(|at| format!("{} {}", &whole[..at], &whole[at..])));
        }
        merges.sort_by_key(|merge| {
            hash_pair(
                seed as u32,
                super::super::table::hash_bytes(merge.as_bytes()) as u32,
            )
        });
        let tokens = strings
            .into_iter()
            .enumerate()
            .filter(|(i, s)| s.len() == 1 || i % 5 != 4)
            .map(|(_, s)| s);
        (tokens.collect(), merges)
    }

    /// The definition: merge the leftmost pair of the lowest rank until none is left; what is no token is its
    /// letters.
    fn by_definition(tokens: &[String], merges: &[String], piece: &str) -> Vec<u32> {
        let mut symbols: Vec<String> = piece.chars().map(String::from).collect();
        let rank = |pair: &[String]| merges.iter().position(|merge| *merge == pair.join(" "));
        while let Some((_, at)) = (1..symbols.len())
            .filter_map(|i| Some((rank(&symbols[i - 1..=i])?, i)))
            .min()
        {
            let right = symbols.remove(at);
            symbols[at - 1] += &right;
        }
        let id = |s: &str| tokens.iter().position(|token| token == s).map(|id| id as u32);
        let spell = |s: &String| match id(s) {
            Some(id) => vec![id],
            None => s.chars().filter_map(|c| id(&c.to_string())).collect(),
        };
        symbols.iter().flat_map(spell).collect()
    }

    #[test]
    fn scan_and_heap_merge_by_the_definition() {
        for seed in 0..30u64 {
            let (tokens, merges) = toy(seed);
            let entries = tokens.iter().map(|token| (token.as_bytes(), TokenKind::Normal));
            let vocab = Vocab::new(Spelling::ByteLevel, entries, tokens.len()).unwrap();
            let merge_bytes = merges.iter().map(|merge| merge.as_bytes());
            let bpe = Bpe::new(&vocab, Spelling::ByteLevel, merge_bytes, merges.len()).unwrap();
            assert!(
                !bpe.steps.is_empty(),
                "some merges pass through strings that are no tokens"
            );
            for length in [0, 1, 2, 3, 7, 20, SCAN_LIMIT, SCAN_LIMIT + 1, 150] {
                let bits = |i: usize| hash_pair(seed as u32, (length * 1000 + i) as u32);
                let piece: String = (0..length)
                    .map(|i| if bits(i) & 1 == 0 { 'a' } else { 'b' })
                    .collect();
                let expected = by_definition(&tokens, &merges, &piece);
                for merge in [Bpe::merge_by_scan, Bpe::merge_by_heap] {
                    let mut scratch = Scratch::default();
                    scratch
                        .ids
                        .extend(piece.bytes().map(|byte| bpe.bytes[usize::from(byte)]));
                    merge(&bpe, &vocab, 0, &mut scratch);
                    let mut found = Vec::new();
                    scratch
                        .ids
                        .iter()
                        .for_each(|&id| bpe.emit(&vocab, id, &mut found));
                    assert_eq!(found, expected, "seed {seed}, {piece:?}");
                }
            }
        }
    }

    #[test]
    fn a_barred_token_does_not_come_from_merges() {
        let tokens: [(&[u8], TokenKind); 4] = [
            (b"<", TokenKind::Normal),
            (b"s", TokenKind::Normal),
            (b"<s", TokenKind::Control),
            (b"ss", TokenKind::Normal),
        ];
        let vocab = Vocab::new(Spelling::ByteLevel, tokens.into_iter(), 4).unwrap();
        let merges: [&[u8]; 2] = [b"< s", b"s s"];
        let bpe = Bpe::new(&vocab, Spelling::ByteLevel, merges.into_iter(), 2).unwrap();
        let encode = |barred| {
            let mut out = Vec::new();
            bpe.encode(&vocab, "<ss", barred, &mut Scratch::default(), &mut out);
            out
        };
        assert_eq!(encode(0), [2, 1]);
        assert_eq!(encode(CONTROL), [0, 3]);
    }
}
