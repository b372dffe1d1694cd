//! Finding the tokens that are names in a text: control, unknown and user-defined ones.
//!
//! The order is llama.cpp's: the longest name first, each from left to right in the text that is still
//! unread. One walk along a trie of the names finds which of them occur at all, so a text without names is
//! read once.

use std::ops::Range;

use super::vocab::{CONTROL, MARKUP, TokenKind, Vocab};
use crate::error::{Error, Kind, Result};

/// Names longer than this are refused. The longest in use have some forty bytes.
const LONGEST_NAME: usize = 512;

/// A part of a text: read as a token, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fragment {
    /// The bytes of the text that this fragment is.
    Text(Range<usize>),
    /// A special token.
    Token(u32),
}

/// Which names may be found where.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    /// Every name, or all but those of control and unknown tokens.
    Whole {
        /// Read control and unknown tokens too.
        special: bool,
    },
    /// Every name within these ranges of the text (sorted, apart from each other). Elsewhere, and across
    /// their borders, only user-defined tokens that do not look like markup.
    Trusted(&'a [Range<usize>]),
}

impl Reading<'_> {
    /// The flags of tokens that text must not turn into by merging.
    pub(super) fn barred(self) -> u8 {
        match self {
            Reading::Whole { .. } => CONTROL,
            Reading::Trusted(_) => CONTROL | MARKUP,
        }
    }

    fn allows(self, vocab: &Vocab, token: u32, place: Range<usize>) -> bool {
        match self {
            Reading::Whole { special } => special || !vocab.has(token, CONTROL),
            Reading::Trusted(ranges) => {
                if !vocab.has(token, CONTROL | MARKUP) {
                    return true;
                }
                let after = ranges.partition_point(|range| range.start <= place.start);
                after > 0 && place.end <= ranges[after - 1].end
            }
        }
    }
}

/// The names, and the trie that finds them.
#[derive(Debug, Default)]
pub(super) struct Specials {
    /// Longest name first.
    tokens: Vec<u32>,
    nodes: Vec<Node>,
    /// By first byte: the node, or 0.
    roots: Vec<u32>,
    /// Tokens after which white space is swallowed.
    right_strip: Vec<u32>,
}

/// A node of the trie; 0 stands for no node.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    byte: u8,
    sibling: u32,
    child: u32,
    /// Index in `tokens`, plus one.
    token: u32,
}

impl Specials {
    /// Collects the names. `strips_right` says after which tokens white space is swallowed.
    pub(super) fn new(vocab: &Vocab, strips_right: impl Fn(u32) -> bool) -> Result<Specials> {
        let named = |&id: &u32| {
            let special = matches!(
                vocab.kind(id),
                TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown
            );
            // A name that is not UTF-8 is in no text, and one that another token has first is never found.
            let first = vocab.find_name(vocab.text(id)) == Some(id);
            special && first && std::str::from_utf8(vocab.text(id)).is_ok()
        };
        let mut tokens: Vec<u32> = (0..vocab.len() as u32).filter(named).collect();
        tokens.sort_by_key(|&id| std::cmp::Reverse(vocab.text(id).len()));
        let mut specials = Specials {
            roots: vec![0; 256],
            nodes: vec![Node::default()],
            ..Specials::default()
        };
        for (index, &id) in tokens.iter().enumerate() {
            let name = vocab.text(id);
            if name.len() > LONGEST_NAME {
                let message = format!(
                    "token {id} is special and has {} bytes; at most {LONGEST_NAME}",
                    name.len()
                );
                return Err(Error::new(Kind::MalformedFile, message));
            }
            specials.add(name, index as u32 + 1);
        }
        specials.right_strip = tokens.iter().copied().filter(|&id| strips_right(id)).collect();
        specials.right_strip.sort_unstable();
        specials.tokens = tokens;
        Ok(specials)
    }

    fn add(&mut self, name: &[u8], token: u32) {
        let mut at = 0;
        for (depth, &byte) in name.iter().enumerate() {
            let first = if depth == 0 {
                self.roots[usize::from(byte)]
            } else {
                self.nodes[at as usize].child
            };
            let mut found = self.among(first, byte);
            if found == 0 {
                found = self.nodes.len() as u32;
                self.nodes.push(Node {
                    byte,
                    sibling: if depth == 0 { 0 } else { first },
                    child: 0,
                    token: 0,
                });
                if depth == 0 {
                    self.roots[usize::from(byte)] = found;
                } else {
                    self.nodes[at as usize].child = found;
                }
            }
            at = found;
        }
        self.nodes[at as usize].token = token;
    }

    fn among(&self, mut node: u32, byte: u8) -> u32 {
        while node != 0 && self.nodes[node as usize].byte != byte {
            node = self.nodes[node as usize].sibling;
        }
        node
    }

    /// Cuts `text` into the special tokens that `reading` allows and the text between them.
    pub(super) fn partition(&self, vocab: &Vocab, text: &str, reading: Reading<'_>) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(0..text.len()));
        }
        for index in self.occurring(vocab, text, reading) {
            let token = self.tokens[index];
            let mut cut = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                match fragment {
                    Fragment::Text(range) => self.cut(vocab, text, range, token, reading, &mut cut),
                    token => cut.push(token),
                }
            }
            fragments = cut;
        }
        fragments
    }

    /// The indices of the tokens that are found somewhere, in their order.
    fn occurring(&self, vocab: &Vocab, text: &str, reading: Reading<'_>) -> Vec<usize> {
        let mut found = vec![false; self.tokens.len()];
        let bytes = text.as_bytes();
        for start in 0..if self.tokens.is_empty() { 0 } else { bytes.len() } {
            let mut node = self.roots[usize::from(bytes[start])];
            let mut end = start + 1;
            while node != 0 {
                let here = self.nodes[node as usize];
                if let Some(index) = (here.token as usize).checked_sub(1) {
                    found[index] = found[index] || reading.allows(vocab, self.tokens[index], start..end);
                }
                let Some(&byte) = bytes.get(end) else { break };
                node = self.among(here.child, byte);
                end += 1;
            }
        }
        (0..found.len()).filter(|&index| found[index]).collect()
    }

    /// Cuts one token out of one fragment.
    fn cut(
        &self,
        vocab: &Vocab,
        text: &str,
        range: Range<usize>,
        token: u32,
        reading: Reading<'_>,
        out: &mut Vec<Fragment>,
    ) {
        let Ok(name) = std::str::from_utf8(vocab.text(token)) else {
            return out.push(Fragment::Text(range));
        };
        // What is before `unread` is done; the search goes on from `from`.
        let (mut unread, mut from) = (range.start, range.start);
        while let Some(offset) = text[from..range.end].find(name) {
            let start = from + offset;
            let end = start + name.len();
            if !reading.allows(vocab, token, start..end) {
                from = start + text[start..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            if unread < start {
                out.push(Fragment::Text(unread..start));
            }
            out.push(Fragment::Token(token));
            unread = end;
            if self.right_strip.binary_search(&token).is_ok() {
                let rest = &text.as_bytes()[end..range.end];
                unread += rest
                    .iter()
                    .take_while(|&&byte| byte == b' ' || (9..=13).contains(&byte))
                    .count();
            }
            from = unread;
        }
        if unread < range.end {
            out.push(Fragment::Text(unread..range.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::hash_pair;
    use super::super::vocab::Spelling;
    use super::*;

    const NAMES: [(&str, TokenKind); 8] = [
        ("<a>", TokenKind::Control),
        ("<aa>", TokenKind::Control),
        ("a><", TokenKind::Control),
        ("><", TokenKind::UserDefined),
        ("<b>", TokenKind::UserDefined),
        ("<think>", TokenKind::UserDefined),
        ("<unk>", TokenKind::Unknown),
        ("aa", TokenKind::UserDefined),
    ];

    fn specials(strips_right: impl Fn(u32) -> bool) -> (Vocab, Specials) {
        let tokens = NAMES.iter().map(|name| (name.0.as_bytes(), name.1));
        let vocab = Vocab::new(Spelling::ByteLevel, tokens, NAMES.len()).unwrap();
        let specials = Specials::new(&vocab, strips_right).unwrap();
        (vocab, specials)
    }

    /// The definition: name by name, longest first, search every unread part from the left.
    fn by_definition(text: &str, allowed: impl Fn(usize, Range<usize>) -> bool) -> Vec<Fragment> {
        let mut order: Vec<usize> = (0..NAMES.len()).collect();
        order.sort_by_key(|&id| std::cmp::Reverse(NAMES[id].0.len()));
        let mut fragments = vec![Fragment::Text(0..text.len())];
        for id in order {
            let name = NAMES[id].0;
            let mut at = 0;
            while at < fragments.len() {
                if let Fragment::Text(range) = fragments[at].clone() {
                    let place = |start| start..start + name.len();
                    let found = (range.start..range.end).find(|&i| {
                        place(i).end <= range.end && &text[place(i)] == name && allowed(id, place(i))
                    });
                    if let Some(start) = found {
                        let parts = [
                            Fragment::Text(range.start..start),
                            Fragment::Token(id as u32),
                            Fragment::Text(place(start).end..range.end),
                        ];
                        fragments.splice(at..=at, parts);
                    }
                }
                at += 1;
            }
        }
        fragments.retain(|fragment| *fragment != Fragment::Text(0..0));
        fragments.retain(|fragment| !matches!(fragment, Fragment::Text(range) if range.is_empty()));
        fragments
    }

    #[test]
    fn names_are_found_by_the_definition() {
        let (vocab, specials) = specials(|_| false);
        for seed in 0..3000u32 {
            let bits = |i: usize| hash_pair(seed, i as u32) as usize;
            let parts = ["<a>", "<aa", "a", ">", "<", "<b>", "<think>", "<unk>", " "];
            let text: String = (0..seed as usize % 12)
                .map(|i| parts[bits(i) % parts.len()])
                .collect();
            let control = |id: usize| matches!(NAMES[id].1, TokenKind::Control | TokenKind::Unknown);
            for special in [false, true] {
                let expected = by_definition(&text, |id, _| special || !control(id));
                assert_eq!(
                    specials.partition(&vocab, &text, Reading::Whole { special }),
                    expected,
                    "{text:?}"
                );
            }
            let (start, end) = (bits(90) % (text.len() + 1), bits(91) % (text.len() + 1));
            let trusted = start.min(end)..start.max(end);
            let expected = by_definition(&text, |id, place| {
                let inside = trusted.start <= place.start && place.end <= trusted.end;
                // `><` and `aa` look like text, `<b>` is HTML.
                inside || !(control(id) || NAMES[id].0 == "<think>")
            });
            let ranges = [trusted.clone()];
            let found = specials.partition(&vocab, &text, Reading::Trusted(&ranges));
            assert_eq!(found, expected, "{text:?} trusted {trusted:?}");
        }
    }

    #[test]
    fn a_token_may_swallow_the_white_space_after_it() {
        let (vocab, specials) = specials(|id| id == 0);
        let text = "<a> \n x<a>\t<aa> y";
        let expected = [
            Fragment::Token(0),
            Fragment::Text(6..7),
            Fragment::Token(0),
            Fragment::Token(1),
            Fragment::Text(15..17),
        ];
        assert_eq!(
            specials.partition(&vocab, text, Reading::Whole { special: true }),
            expected
        );
    }
}
