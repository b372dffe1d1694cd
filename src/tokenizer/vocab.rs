//! The tokens: what each one spells, what kind it is, and which token spells this.

use super::byte_level;
use super::table::{Table, hash_bytes};
use crate::error::{Error, Kind, Result};

/// What a token is for. The numbers in the file (`tokenizer.ggml.token_type`) are 1 to 6 in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for what the vocabulary cannot spell (`<unk>`).
    Unknown,
    /// Structure of the conversation, never text (`<|im_end|>`).
    Control,
    /// A piece of text that is always one token (`<think>`).
    UserDefined,
    /// Fills a gap in the numbering; means nothing.
    Unused,
    /// One byte, spelled `<0xHH>`.
    Byte,
}

impl TokenKind {
    /// The kind with this number in the file. Numbers outside the list mean nothing, as in llama.cpp.
    pub(super) fn from_file(number: i32) -> TokenKind {
        match number {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            6 => TokenKind::Byte,
            _ => TokenKind::Unused,
        }
    }
}

/// How the vocabulary spells its text tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// In GPT-2's disguise of bytes.
    ByteLevel,
    /// In UTF-8 with U+2581 for a space, and `<0xHH>` for bytes.
    SpaceMark,
}

/// U+2581, the mark for a space.
pub(super) const SPACE_MARK: &str = "\u{2581}";

/// Control and unknown tokens: nothing but a name in trusted text may become one.
pub(super) const CONTROL: u8 = 1;
/// User-defined tokens that look like control markup, see [`is_markup`].
pub(super) const MARKUP: u8 = 2;
/// Found by name, or not at all because a lower id is spelled alike.
const NOT_TEXT: u8 = 4;

/// All tokens. Text is stored as the bytes it stands for, one after the other.
#[derive(Debug)]
pub(super) struct Vocab {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`; it begins where the one before it ends.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    flags: Vec<u8>,
    /// Tokens that are text, by their text.
    texts: Table,
    /// The others, by their names.
    names: Table,
    /// Longest text token in bytes.
    longest: usize,
}

impl Vocab {
    /// Collects the tokens in the order of their ids. Of two tokens with one spelling, the lower id is the
    /// one found.
    pub(super) fn new<'a>(
        spelling: Spelling,
        tokens: impl Iterator<Item = (&'a [u8], TokenKind)>,
        count: usize,
    ) -> Result<Vocab> {
        let mut vocab = Vocab {
            bytes: Vec::new(),
            ends: Vec::with_capacity(count),
            kinds: Vec::with_capacity(count),
            flags: Vec::with_capacity(count),
            texts: Table::new(count, count),
            names: Table::new(0, count),
            longest: 0,
        };
        let mut named = Vec::new();
        for (id, (raw, kind)) in tokens.enumerate() {
            let id = u32::try_from(id).map_err(|_| too_large())?;
            let start = vocab.bytes.len();
            let kind = if raw.is_empty() { TokenKind::Unused } else { kind };
            let kind = match kind {
                TokenKind::Byte if byte_value(raw).is_none() => match spelling {
                    Spelling::ByteLevel => TokenKind::Normal,
                    Spelling::SpaceMark => return Err(bad_byte_token(id, raw)),
                },
                kind => kind,
            };
            let is_name = vocab.push_text(spelling, raw, kind);
            vocab
                .ends
                .push(u32::try_from(vocab.bytes.len()).map_err(|_| too_large())?);
            vocab.kinds.push(kind);
            vocab.flags.push(match kind {
                TokenKind::Control | TokenKind::Unknown => CONTROL,
                TokenKind::UserDefined if is_markup(raw) => MARKUP,
                _ => 0,
            });
            let text = &vocab.bytes[start..];
            if is_name {
                vocab.flags[id as usize] |= NOT_TEXT;
                named.push(id);
            } else if !text.is_empty() {
                vocab.longest = vocab.longest.max(text.len());
                let is_it = |other| slice(&vocab.bytes, &vocab.ends, other) == text;
                if !vocab.texts.insert(hash_bytes(text), id, is_it)? {
                    vocab.flags[id as usize] |= NOT_TEXT;
                }
            }
        }
        vocab.names = Table::new(named.len(), count);
        for id in named {
            let name = slice(&vocab.bytes, &vocab.ends, id);
            let is_it = |other| slice(&vocab.bytes, &vocab.ends, other) == name;
            vocab.names.insert(hash_bytes(name), id, is_it)?;
        }
        Ok(vocab)
    }

    /// Appends what the token stands for; true if it is stored as a name and not as text.
    fn push_text(&mut self, spelling: Spelling, raw: &[u8], kind: TokenKind) -> bool {
        let start = self.bytes.len();
        let text = matches!(kind, TokenKind::Normal | TokenKind::Unused);
        match spelling {
            Spelling::ByteLevel if text => {
                let decoded = std::str::from_utf8(raw)
                    .ok()
                    .and_then(|s| byte_level::decode(s, &mut self.bytes));
                if decoded.is_some() {
                    return false;
                }
                self.bytes.truncate(start);
            }
            // A user-defined token with the mark in it is a run of spaces: text arrives without marks, so it
            // is found as text or not at all.
            Spelling::SpaceMark
                if (text || (kind == TokenKind::UserDefined && has_mark(raw))) && !raw.contains(&b' ') =>
            {
                unmark(raw, &mut self.bytes);
                return false;
            }
            _ => {}
        }
        self.bytes.extend_from_slice(raw);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The text of a token, or its name; empty for an id that the vocabulary does not have.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        if (id as usize) < self.ends.len() {
            slice(&self.bytes, &self.ends, id)
        } else {
            &[]
        }
    }

    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// True if the token has one of these flags.
    pub(super) fn has(&self, id: u32, flags: u8) -> bool {
        self.flags.get(id as usize).is_some_and(|own| own & flags != 0)
    }

    /// The text token that stands for these bytes.
    pub(super) fn find_text(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.longest {
            return None;
        }
        self.texts.find(hash_bytes(bytes), |id| {
            slice(&self.bytes, &self.ends, id) == bytes
        })
    }

    /// As [`Vocab::find_text`], looking at the token `near` and the one after it first: what a caller asks
    /// for in the order of the ids costs no search then.
    pub(super) fn find_text_near(&self, bytes: &[u8], near: u32) -> Option<u32> {
        let guesses = [near, near.wrapping_add(1)];
        let hit = guesses
            .into_iter()
            .find(|&id| self.text(id) == bytes && !self.has(id, NOT_TEXT));
        hit.filter(|_| !bytes.is_empty())
            .or_else(|| self.find_text(bytes))
    }

    /// The token with this name, of those that are not text: special tokens, bytes, and what is not in the
    /// vocabulary's disguise.
    pub(super) fn find_name(&self, name: &[u8]) -> Option<u32> {
        self.names
            .find(hash_bytes(name), |id| slice(&self.bytes, &self.ends, id) == name)
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let start = (id as usize)
        .checked_sub(1)
        .map_or(0, |before| ends[before] as usize);
    &bytes[start..ends[id as usize] as usize]
}

/// Appends `raw` with every U+2581 turned into a space.
pub(super) fn unmark(raw: &[u8], into: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|&byte| byte == SPACE_MARK.as_bytes()[0]) {
        into.extend_from_slice(&rest[..at]);
        rest = match rest[at..].strip_prefix(SPACE_MARK.as_bytes()) {
            Some(after) => {
                into.push(b' ');
                after
            }
            None => {
                into.push(rest[at]);
                &rest[at + 1..]
            }
        };
    }
    into.extend_from_slice(rest);
}

fn has_mark(raw: &[u8]) -> bool {
    raw.windows(SPACE_MARK.len())
        .any(|window| window == SPACE_MARK.as_bytes())
}

/// The byte that `<0xHH>` names: exactly this shape.
pub(super) fn byte_value(raw: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', high, low, b'>'] = *raw else {
        return None;
    };
    let digit = |c: u8| char::from(c).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// True for user-defined tokens that steer a model although they are not of type control: `<think>`,
/// `<tool_call>`, `<|fim_prefix|>`, `[TOOL]`. By their first character; what HTML writes is text.
fn is_markup(raw: &[u8]) -> bool {
    match raw {
        [b'<', rest @ ..] => !is_html_tag(rest),
        [b'[', ..] => true,
        _ => false,
    }
}

/// True for `name>` and `/name>` with the name of an HTML element that vocabularies hold (Gemma's). `s` is
/// not among them: `</s>` ends a sequence elsewhere.
fn is_html_tag(after_bracket: &[u8]) -> bool {
    const ELEMENTS: &str = " a b blockquote br caption code div em h1 h2 h3 h4 h5 h6 hr i img li ol p pre span strong sub sup \
                            table tbody td tfoot th thead tr u ul ";
    let Some(name) = after_bracket.strip_suffix(b">") else {
        return false;
    };
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    !name.is_empty() && ELEMENTS.split(' ').any(|element| element == name)
}

fn too_large() -> Error {
    Error::new(Kind::MalformedFile, "the vocabulary has more than 4 GiB of text")
}

fn bad_byte_token(id: u32, raw: &[u8]) -> Error {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(40)]).into_owned();
    Error::new(
        Kind::MalformedFile,
        format!("token {id} is of type byte and spelled {text:?}; expected <0xHH>"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_tokens_have_exactly_one_shape() {
        assert_eq!(byte_value(b"<0x0A>"), Some(10));
        assert_eq!(byte_value(b"<0xff>"), Some(255));
        for wrong in [
            "<0x-1>", "<0x 1>", "<0x1>", "<0x001>", "<0xGG>", "0x0A", "<0x0A> ", "<0x+1>",
        ] {
            assert_eq!(byte_value(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn markup_is_told_from_html() {
        for markup in [
            "<think>",
            "</think>",
            "<tool_call>",
            "<|fim_prefix|>",
            "<s>",
            "</s>",
            "[INST]",
            "<>",
        ] {
            assert!(is_markup(markup.as_bytes()), "{markup}");
        }
        for text in ["<table>", "</h1>", "\n\n", "  ", "õ"] {
            assert!(!is_markup(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn names_and_text_are_apart() {
        let tokens: [(&[u8], TokenKind); 5] = [
            ("Ġ".as_bytes(), TokenKind::Normal),
            (b" ", TokenKind::UserDefined),
            ("Ġ".as_bytes(), TokenKind::Normal),
            (b"<s>", TokenKind::Control),
            (b"", TokenKind::Normal),
        ];
        let vocab = Vocab::new(Spelling::ByteLevel, tokens.into_iter(), 5).unwrap();
        assert_eq!(
            vocab.find_text(b" "),
            Some(0),
            "the lower id of two equal spellings"
        );
        assert_eq!(vocab.find_name(b" "), Some(1));
        assert_eq!(vocab.text(2), b" ");
        assert_eq!(
            (vocab.find_text(b"<s>"), vocab.find_name(b"<s>")),
            (None, Some(3))
        );
        assert_eq!(vocab.kind(4), TokenKind::Unused);
        assert_eq!(vocab.text(99), b"");
    }
}
