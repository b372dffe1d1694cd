//! Text to token ids and back, from the vocabulary in the GGUF file. May import: `error`, `gguf`.
//!
//! ```text
//! text ─ special ─▶ fragments ─ pre ─▶ pieces ─ bpe ─▶ ids        byte-level BPE (`gpt2`) and `gemma4`
//!          │                  └─────────────── spm ─▶ ids        SentencePiece (`llama`)
//!          └─ names of control and user-defined tokens ─▶ ids
//! ```
//!
//! The ids are those of llama.cpp, with these departures. No part of a text becomes a control token by
//! merging, only by its name where names are allowed. `tekken`, `gpt-4o` and `deepseek-v3` split as the
//! models' own tokenizers do. A byte-level vocabulary that names no BOS or EOS has none. Like llama.cpp and
//! unlike Qwen's own tokenizer, nothing normalises the text to NFC: a page that wants this calls
//! `normalize()` first.

mod bpe;
mod byte_level;
mod clean;
mod load;
mod pre;
mod special;
mod spm;
mod stream;
mod table;
mod unicode;
mod unicode_table;
mod vocab;

pub use stream::StreamDecoder;
pub use vocab::TokenKind;

use crate::error::Result;
use crate::gguf::Metadata;
use bpe::{Bpe, Scratch};
use pre::Rule;
use special::{Fragment, Reading, Specials};
use spm::Spm;
use vocab::{SPACE_MARK, Vocab};

/// A part of a prompt, see [`Tokenizer::encode_spans`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// The text.
    pub text: &'a str,
    /// True for text of the chat template, in which the names of special tokens are those tokens; false for
    /// text from outside.
    pub trusted: bool,
}

/// The tokenizer of one model.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    specials: Specials,
    roles: Roles,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    clean_spaces: bool,
    end_of_generation: Vec<u32>,
    suppressed: Vec<u32>,
}

/// How text between special tokens becomes ids.
#[derive(Debug)]
enum Model {
    Bpe { bpe: Bpe, rule: Rule, space_mark: bool },
    Spm(Spm),
}

/// The tokens that have a part to play, where the vocabulary has them.
#[derive(Debug, Clone, Copy, Default)]
struct Roles {
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    eom: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
    pad: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer that the metadata describes. [`crate::Kind::UnsupportedArchitecture`] for one that the
    /// engine does not have, [`crate::Kind::MalformedFile`] for metadata that contradict themselves.
    pub fn from_metadata(meta: &Metadata) -> Result<Tokenizer> {
        load::tokenizer(meta)
    }

    /// How many tokens there are; ids are below this.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// True if there are none, which no tokenizer from a file is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of `text`, nothing added. The names of control tokens are those tokens if `special`, else
    /// plain text. User-defined tokens are always found.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        self.encode_reading(text, Reading::Whole { special }, true)
    }

    /// The ids of a text that goes on from another: as [`Tokenizer::encode`] without control tokens, and without the
    /// space that some vocabularies put before a text.
    pub fn encode_continuation(&self, text: &str) -> Vec<u32> {
        self.encode_reading(text, Reading::Whole { special: false }, false)
    }

    /// The ids of a prompt in parts, nothing added: as of one text, for merges do not stop at the borders of
    /// spans.
    ///
    /// The names of special tokens are those tokens only where every byte of them is trusted. In untrusted
    /// text, a user-defined token is found as well unless it looks like markup, that is begins with `<` or
    /// `[` and is no plain HTML tag: `<think>` or `<tool_call>` written by a user is text, a run of spaces or
    /// `<table>` is the token of the vocabulary. No merge makes one of these tokens either.
    pub fn encode_spans(&self, spans: &[Span<'_>]) -> Vec<u32> {
        let mut text = String::with_capacity(spans.iter().map(|span| span.text.len()).sum());
        let mut trusted: Vec<std::ops::Range<usize>> = Vec::new();
        for span in spans {
            let start = text.len();
            text.push_str(span.text);
            match trusted.last_mut() {
                _ if !span.trusted || span.text.is_empty() => {}
                Some(last) if last.end == start => last.end = text.len(),
                _ => trusted.push(start..text.len()),
            }
        }
        self.encode_reading(&text, Reading::Trusted(&trusted), true)
    }

    /// `begins`: whether the text begins here.
    fn encode_reading(&self, text: &str, reading: Reading<'_>, mut begins: bool) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut scratch = Scratch::default();
        let mut buffer = String::new();
        // SentencePiece puts a space before the text and after every special token.
        for fragment in self.specials.partition(&self.vocab, text, reading) {
            match fragment {
                Fragment::Token(id) => {
                    ids.push(id);
                    begins = true;
                }
                Fragment::Text(range) => {
                    let space = begins && self.add_space_prefix && matches!(self.model, Model::Spm(_));
                    let fragment = self.unmarked(&text[range], space, &mut buffer);
                    self.encode_fragment(fragment, reading.barred(), &mut scratch, &mut ids);
                    begins = false;
                }
            }
        }
        ids
    }

    /// The fragment as the model takes it: a space in front if asked for, and no U+2581, which means a space
    /// where the vocabulary marks spaces with it.
    fn unmarked<'t>(&self, text: &'t str, space: bool, buffer: &'t mut String) -> &'t str {
        let marks = match &self.model {
            Model::Spm(_) => true,
            Model::Bpe { space_mark, .. } => *space_mark,
        };
        let marks = marks && text.contains(SPACE_MARK);
        if !space && !marks {
            return text;
        }
        buffer.clear();
        if space {
            buffer.push(' ');
        }
        if marks {
            buffer.push_str(&text.replace(SPACE_MARK, " "));
        } else {
            buffer.push_str(text);
        }
        buffer
    }

    fn encode_fragment(&self, text: &str, barred: u8, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match &self.model {
            Model::Spm(spm) => spm.encode(&self.vocab, text, ids),
            Model::Bpe {
                bpe,
                rule,
                space_mark,
            } => rule.split(text, &mut |piece| {
                // Gemma 4 has tokens for runs of newlines that its merges do not reach.
                let whole = rule.ignore_merges || (*space_mark && piece.starts_with('\n'));
                match whole.then(|| self.whole_token(piece, barred)).flatten() {
                    Some(id) => ids.push(id),
                    None => bpe.encode(&self.vocab, piece, barred, scratch, ids),
                }
            }),
        }
    }

    fn whole_token(&self, piece: &str, barred: u8) -> Option<u32> {
        let named = || self.vocab.find_name(piece.as_bytes());
        let id = self.vocab.find_text(piece.as_bytes()).or_else(named)?;
        (!self.vocab.has(id, barred)).then_some(id)
    }

    /// True if [`Tokenizer::with_specials`] adds BOS.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// True if [`Tokenizer::with_specials`] adds EOS.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// True if a space is put before a text, which decoding takes away again.
    pub fn adds_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.roles.bos
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.roles.eos
    }

    /// The token that ends a turn.
    pub fn eot(&self) -> Option<u32> {
        self.roles.eot
    }

    /// The token that ends a message while the turn goes on.
    pub fn eom(&self) -> Option<u32> {
        self.roles.eom
    }

    /// The token for what the vocabulary cannot spell.
    pub fn unknown(&self) -> Option<u32> {
        self.roles.unknown
    }

    /// The token between two texts.
    pub fn separator(&self) -> Option<u32> {
        self.roles.separator
    }

    /// The token that fills a batch.
    pub fn pad(&self) -> Option<u32> {
        self.roles.pad
    }

    /// The ids with BOS and EOS as the file asks for; one that is there already (from a template, say) is not
    /// doubled.
    pub fn with_specials(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self
            .roles
            .bos
            .filter(|bos| self.add_bos && ids.first() != Some(bos))
        {
            ids.insert(0, bos);
        }
        if let Some(eos) = self
            .roles
            .eos
            .filter(|eos| self.add_eos && ids.last() != Some(eos))
        {
            ids.push(eos);
        }
        ids
    }

    /// The bytes of a token as text: empty for control, unknown and unused tokens and for ids past the
    /// vocabulary. Not always whole characters; see [`StreamDecoder`].
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let text = self.vocab.text(id);
        match self.vocab.kind(id) {
            TokenKind::Normal | TokenKind::UserDefined => text,
            TokenKind::Byte => vocab::byte_value(text).map_or(&[], |byte| &BYTES[usize::from(byte)..][..1]),
            TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => &[],
        }
    }

    /// The bytes of a token as text, or its name if it is special: `<|im_end|>`, `<0x0A>`.
    pub fn token_text(&self, id: u32) -> &[u8] {
        self.vocab.text(id)
    }

    /// What the token is for.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.vocab.kind(id)
    }

    /// The token with this name, or else the one that is this text: the reverse of [`Tokenizer::token_text`].
    /// Where several tokens are spelled alike, the lowest id.
    pub fn id_of(&self, text: &[u8]) -> Option<u32> {
        self.vocab.find_name(text).or_else(|| self.vocab.find_text(text))
    }

    /// True for the tokens after which a model has no more to say.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.end_of_generation.binary_search(&id).is_ok()
    }

    /// The tokens after which a model has no more to say, ascending.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.end_of_generation
    }

    /// The tokens that must never be sampled, ascending: those that the file says to suppress, and the
    /// fillers of the numbering, which no training has touched.
    pub fn suppressed(&self) -> &[u32] {
        &self.suppressed
    }

    /// The text of the ids, as llama.cpp's `detokenize` gives it: control tokens have no text, a space that
    /// encoding put in front goes, some older vocabularies close the gap before `.` and `'s`. Bytes that are
    /// no character become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        if self.add_space_prefix && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        if self.clean_spaces {
            bytes = clean::clean_spaces(&bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Every byte, to borrow one from.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};
