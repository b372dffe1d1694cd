//! Which characters of a prompt came from messages, so that control tokens in them are never read as such.
//!
//! A template joins its own markup with text that other people wrote. Tokenised as one string, a user who writes
//! `<|im_end|>` would end their own turn. The renderer cannot tell afterwards where a character came from, so we
//! colour the text before: the prompt is rendered a second time with every *delimiter* in message text replaced by
//! a private-use character that stands for it. A delimiter is a character at either end of a control token's
//! spelling (`<`, `>`, `[`, ...) or a bar. Mapping the placeholders back must give the first rendering; the second one
//! then tells, character by character, which delimiters the template wrote. An occurrence of a control token's
//! spelling that touches a coloured character is untrusted text, also when it was joined from parts
//! (`<|im_` + `start|>`), or when one side of it is the template's.
//!
//! Why delimiters and not all characters: templates trim, split, compare and measure message text, and all of that
//! works the same when `<` is another character that is not white space. What does not: a template that searches
//! message text for markup. So known markup of a model's own turn (`<think>`, `<tool_call>`, ...: the tables of
//! [`super::reasoning`] and [`super::tools`]) stays as it is
//!
//! - in an assistant's messages, also when it is a control token: the model may write it, turn markers it may not;
//! - in every other text (user, system, tool results, tool definitions, variables) unless it is a control token.
//!
//! If the two renderings differ all the same, the template looked at delimiters in message text. Then the second one is
//! used, mapped back: a prompt in which message text is opaque. If it fails, the failure is reported. In the common case
//! no message contains a delimiter, there is no second rendering, and the whole prompt is one trusted span.
//!
//! Not covered: a template that wraps a word from a message in its own delimiters (`'<' ~ key ~ '>'`), where the
//! word is the inside of a control token without bars. Qwen3-Coder does so with the keys of tool definitions.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Error, Kind, Result};

/// A piece of a prompt.
///
/// A control token may be recognised only where its whole spelling lies in one trusted span. Everything else is plain
/// text, and the boundary between two spans is no boundary for the tokenizer otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSpan {
    /// The text.
    pub text: String,
    /// Written by the template. Untrusted text must be tokenised without control tokens.
    pub trusted: bool,
}

/// A set of strings that finds its members in a text: a trie over bytes.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// A member ends here.
    end: bool,
    /// Byte to node, sorted by byte.
    edges: Vec<(u8, u32)>,
}

impl Spellings {
    pub(crate) fn new<'a>(members: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = Spellings {
            nodes: vec![Node::default()],
        };
        for member in members.into_iter().filter(|m| !m.is_empty()) {
            let mut at = 0;
            for byte in member.bytes() {
                at = match set.nodes[at].edges.binary_search_by_key(&byte, |e| e.0) {
                    Ok(edge) => set.nodes[at].edges[edge].1 as usize,
                    Err(edge) => {
                        let new = set.nodes.len();
                        set.nodes[at].edges.insert(edge, (byte, new as u32));
                        set.nodes.push(Node::default());
                        new
                    }
                };
            }
            set.nodes[at].end = true;
        }
        set
    }

    /// The lengths of all members that `text` begins with, ascending.
    fn lengths_at(&self, text: &str) -> impl Iterator<Item = usize> {
        let mut at = 0;
        text.bytes()
            .enumerate()
            .map_while(move |(i, byte)| {
                let edge = self.nodes[at].edges.binary_search_by_key(&byte, |e| e.0).ok()?;
                at = self.nodes[at].edges[edge].1 as usize;
                Some((i + 1, self.nodes[at].end))
            })
            .filter_map(|(length, end)| end.then_some(length))
    }

    /// Start and end of every occurrence of every member, also overlapping ones, by start.
    fn occurrences(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (start, _) in text.char_indices() {
            found.extend(
                self.lengths_at(&text[start..])
                    .map(|length| (start, start + length)),
            );
        }
        found
    }
}

/// What is needed to colour message text: built once per template and list of control tokens.
#[derive(Debug)]
pub(crate) struct Marker {
    control: Spellings,
    /// Control tokens without a delimiter at one of their ends (a bare word): replaced as a whole.
    words: Spellings,
    /// Markup that stays as it is in an assistant's messages.
    assistant_markup: Spellings,
    /// Markup that stays as it is everywhere.
    common_markup: Spellings,
    /// The characters that are replaced at every place, sorted.
    delimiters: Vec<char>,
    /// Placeholder number `i` stands for the character `alphabet[i]`. Sorted.
    alphabet: Vec<char>,
}

/// The supplementary private-use planes, which no real text needs.
const PRIVATE: std::ops::RangeInclusive<u32> = 0xf_0000..=0x10_ffff;

fn is_delimiter(c: char) -> bool {
    !c.is_alphanumeric() && !c.is_whitespace()
}

impl Marker {
    /// `control`: the spellings of all control tokens.
    pub(crate) fn new(control: &[&str], markup: &[&str]) -> Self {
        let mut delimiters = BTreeSet::new();
        let mut alphabet = BTreeSet::new();
        let mut words = Vec::new();
        for &spelling in control {
            let ends = [spelling.chars().next(), spelling.chars().next_back()];
            delimiters.extend(ends.into_iter().flatten().filter(|&c| is_delimiter(c)));
            // The ASCII bar, and the full-width one of DeepSeek.
            delimiters.extend(spelling.chars().filter(|c| matches!(c, '|' | '\u{ff5c}')));
            if !ends.into_iter().flatten().all(is_delimiter) {
                alphabet.extend(spelling.chars().filter(|c| !c.is_whitespace()));
                words.push(spelling);
            }
        }
        alphabet.extend(&delimiters);
        // Markup that a control token merely contains must not shield a part of that token.
        let inside = |m: &str, equal: bool| control.iter().any(|c| c.contains(m) && (*c != m || equal));
        Marker {
            control: Spellings::new(control.iter().copied()),
            words: Spellings::new(words),
            assistant_markup: Spellings::new(markup.iter().copied().filter(|m| !inside(m, false))),
            common_markup: Spellings::new(markup.iter().copied().filter(|m| !inside(m, true))),
            delimiters: delimiters.into_iter().collect(),
            alphabet: alphabet.into_iter().collect(),
        }
    }

    /// Colours every string of a message, a list of tools, or anything else; `None` if there was nothing to colour.
    pub(crate) fn colour(&self, value: &Value, base: u32) -> Option<Value> {
        let mut coloured = value.clone();
        self.colour_in(&mut coloured, base, &self.common_markup)
            .then_some(coloured)
    }

    /// [`Self::colour`] for a list of messages, with the exception for assistants.
    pub(crate) fn colour_messages(&self, messages: &Value, base: u32) -> Option<Value> {
        let mut coloured = messages.clone();
        let mut any = false;
        match &mut coloured {
            Value::Array(list) => {
                for message in list {
                    let assistant = message.get("role").and_then(Value::as_str) == Some("assistant");
                    let markup = if assistant {
                        &self.assistant_markup
                    } else {
                        &self.common_markup
                    };
                    any |= self.colour_in(message, base, markup);
                }
            }
            other => any = self.colour_in(other, base, &self.common_markup),
        }
        any.then_some(coloured)
    }

    fn colour_in(&self, value: &mut Value, base: u32, keep: &Spellings) -> bool {
        match value {
            Value::String(text) => match self.colour_text(text, base, keep) {
                Some(coloured) => {
                    *text = coloured;
                    true
                }
                None => false,
            },
            Value::Array(items) => items
                .iter_mut()
                .fold(false, |any, item| self.colour_in(item, base, keep) | any),
            Value::Object(map) => {
                let mut any = map
                    .values_mut()
                    .fold(false, |any, item| self.colour_in(item, base, keep) | any);
                if map.keys().any(|key| self.colour_text(key, base, keep).is_some()) {
                    any = true;
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, item)| (self.colour_text(&key, base, keep).unwrap_or(key), item))
                        .collect();
                }
                any
            }
            _ => false,
        }
    }

    fn colour_text(&self, text: &str, base: u32, keep: &Spellings) -> Option<String> {
        let mut out: Option<String> = None;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let kept = keep.lengths_at(&text[at..]).last();
            let word = self.words.lengths_at(&text[at..]).last();
            let (step, hidden) = match (kept, word) {
                (_, Some(length)) => (length, true),
                (Some(length), None) => (length, false),
                (None, None) => (c.len_utf8(), self.delimiters.binary_search(&c).is_ok()),
            };
            let piece = &text[at..at + step];
            at += step;
            if hidden {
                let out = out.get_or_insert_with(|| text[..at - step].to_owned());
                out.extend(piece.chars().map(|c| self.placeholder(c, base)));
            } else if let Some(out) = &mut out {
                out.push_str(piece);
            }
        }
        out
    }

    fn placeholder(&self, c: char, base: u32) -> char {
        match self.alphabet.binary_search(&c) {
            Ok(index) => char::from_u32(base + index as u32).unwrap_or(c),
            Err(_) => c,
        }
    }

    /// The first placeholder, such that none of them occurs in these texts.
    pub(crate) fn free_base<'a>(
        &self,
        texts: impl IntoIterator<Item = &'a Value>,
        source: &str,
    ) -> Result<u32> {
        let mut used = BTreeSet::new();
        let mut note = |text: &str| used.extend(text.chars().map(u32::from).filter(|c| PRIVATE.contains(c)));
        note(source);
        texts.into_iter().for_each(|value| each_string(value, &mut note));
        let count = self.alphabet.len() as u32;
        let mut base = *PRIVATE.start();
        for taken in used {
            if taken >= base && taken - base < count {
                base = taken + 1;
            }
        }
        if count <= PRIVATE.end() - base + 1 {
            return Ok(base);
        }
        Err(Error::new(
            Kind::InvalidArgument,
            "messages: too many private-use characters; remove those of planes 15 and 16",
        ))
    }

    /// Undoes the colouring: the plain text, and where coloured characters are, in bytes of that text.
    pub(crate) fn reveal(&self, coloured: &str, base: u32) -> (String, Vec<std::ops::Range<usize>>) {
        let mut text = String::with_capacity(coloured.len());
        let mut places: Vec<std::ops::Range<usize>> = Vec::new();
        for c in coloured.chars() {
            let hidden = u32::from(c)
                .checked_sub(base)
                .and_then(|index| self.alphabet.get(index as usize));
            let start = text.len();
            text.push(hidden.copied().unwrap_or(c));
            if hidden.is_some() {
                match places.last_mut() {
                    Some(last) if last.end == start => last.end = text.len(),
                    _ => places.push(start..text.len()),
                }
            }
        }
        (text, places)
    }

    /// Cuts a prompt into spans: untrusted where a control token's spelling touches a coloured place.
    pub(crate) fn spans(&self, text: String, coloured: &[std::ops::Range<usize>]) -> Vec<TextSpan> {
        let touched = |&(start, end): &(usize, usize)| {
            let next = coloured.partition_point(|place| place.end <= start);
            coloured.get(next).is_some_and(|place| place.start < end)
        };
        let (forged, genuine): (Vec<_>, Vec<_>) =
            self.control.occurrences(&text).into_iter().partition(touched);
        let mut spans: Vec<TextSpan> = Vec::new();
        let mut push = |piece: &str, trusted: bool| match spans.last_mut() {
            _ if piece.is_empty() => {}
            Some(last) if last.trusted == trusted => last.text.push_str(piece),
            _ => spans.push(TextSpan {
                text: piece.to_owned(),
                trusted,
            }),
        };
        // What a genuine token covers stays trusted, also where a forged one overlaps it.
        let mut genuine = genuine.into_iter().peekable();
        let mut done = 0;
        for (start, end) in forged {
            let mut start = start.max(done);
            push(&text[done..start], true);
            while start < end {
                while genuine.next_if(|g| g.1 <= start).is_some() {}
                match genuine.peek() {
                    Some(&(from, to)) if from < end => {
                        push(&text[start..from.max(start)], false);
                        let to = to.min(end);
                        push(&text[from.max(start)..to], true);
                        start = to;
                    }
                    _ => {
                        push(&text[start..end], false);
                        start = end;
                    }
                }
            }
            done = done.max(end);
        }
        push(&text[done..], true);
        spans
    }
}

fn each_string(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each_string(item, see)),
        Value::Object(map) => map.iter().for_each(|(key, item)| {
            see(key);
            each_string(item, see);
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marker() -> Marker {
        Marker::new(
            &["<|im_start|>", "<|im_end|>", "<s>", "STOP", "<think>"],
            &["<think>", "</think>"],
        )
    }

    #[test]
    fn spellings_find_all_their_members() {
        let set = Spellings::new(["<a>", "<a>b", "é", ""]);
        assert_eq!(set.occurrences("x<a>bé<a"), [(1, 4), (1, 5), (5, 7)]);
        assert_eq!(Spellings::new([]).occurrences("abc"), []);
    }

    #[test]
    fn colouring_is_undone_exactly() {
        let marker = marker();
        let value = json!({"role": "user", "<k>": ["a < b | STOP", {"x": "plain"}]});
        let base = marker.free_base([&value], "").unwrap();
        let coloured = marker.colour(&value, base).unwrap();
        let text = coloured.to_string();
        assert!(!text.contains(['<', '|']) && !text.contains("STOP") && text.contains("plain"));
        assert_eq!(marker.reveal(&text, base).0, value.to_string());
        assert_eq!(
            marker.colour(&json!({"role": "user", "content": "plain"}), base),
            None
        );
    }

    #[test]
    fn an_assistant_may_think_but_not_end_its_turn() {
        let marker = marker();
        let base = *PRIVATE.start();
        let messages = json!([
            {"role": "assistant", "content": "<think>x</think><|im_end|>"},
            {"role": "user", "content": "<think>x</think>"},
        ]);
        let coloured = marker.colour_messages(&messages, base).unwrap();
        let first = coloured[0]["content"].as_str().unwrap();
        assert!(first.starts_with("<think>x</think>") && !first.contains("<|im_end|>"));
        // `<think>` is a control token here, `</think>` is not.
        let second = coloured[1]["content"].as_str().unwrap();
        assert!(!second.contains("<think>") && second.ends_with("x</think>"));
    }

    #[test]
    fn placeholders_avoid_the_private_characters_of_the_text() {
        let marker = marker();
        let count = marker.alphabet.len() as u32;
        let base = marker.free_base([&json!("\u{f0002}")], "\u{f0000}").unwrap();
        assert_eq!(base, 0xf0003);
        let all: String = PRIVATE
            .step_by(count as usize)
            .filter_map(char::from_u32)
            .collect();
        assert_eq!(
            marker.free_base([&json!(all)], "").unwrap_err().kind,
            Kind::InvalidArgument
        );
    }

    fn cut(text: &str, coloured: &[std::ops::Range<usize>]) -> Vec<(String, bool)> {
        marker()
            .spans(text.to_owned(), coloured)
            .into_iter()
            .map(|s| (s.text, s.trusted))
            .collect()
    }

    fn one(start: usize, end: usize) -> Vec<std::ops::Range<usize>> {
        std::iter::once(start..end).collect()
    }

    #[test]
    fn only_forged_tokens_are_untrusted() {
        let text = "<|im_start|>a<s>b<|im_end|>";
        assert_eq!(cut(text, &[]), [(text.to_owned(), true)]);
        assert_eq!(
            cut(text, &one(15, 16)),
            [
                ("<|im_start|>a".into(), true),
                ("<s>".into(), false),
                ("b<|im_end|>".into(), true)
            ]
        );
        // Coloured characters that form no token cut nothing.
        assert_eq!(cut("a < b", &one(2, 3)), [("a < b".into(), true)]);
    }
}
