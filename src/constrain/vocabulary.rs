//! The tokens as a trie of their bytes: what grammars are matched against. Built when the first constraint is asked for.

use std::sync::{Arc, OnceLock};

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::error::{Error, Kind, Result};
use crate::tokenizer::{TokenKind, Tokenizer};

/// A run of this many characters in a JSON string is looked up instead of walked: inside a string nearly the whole
/// vocabulary is allowed. One such set: each costs three more tries (measured with 151,936 tokens, natively: 13 MB for this
/// one, 52 MB for the four that the crate proposes, and 0.13 against 0.04 ms for an average mask).
const STRING_SLICE: &str = r#"[^"\\\x00-\x1F\x7F]{1,30}"#;

/// The trie counts parents and subtrees in few bits. Real vocabularies stay far below both.
const LONGEST_TOKEN: usize = 512;
const MOST_BYTES: usize = 4_000_000;

/// The tokens of a model in the form that constraints work on.
pub struct Vocabulary {
    factory: ParserFactory,
    closers: Vec<u32>,
}

/// What brings JSON, and most other texts, to an end: the best first. A digit ends a number that has begun.
const CLOSERS: [&str; 6] = ["}", "]", "\"", "0", ")", ">"];

/// A vocabulary that is built when it is first needed.
#[derive(Clone)]
pub struct LazyVocabulary {
    tokenizer: Arc<Tokenizer>,
    built: Arc<OnceLock<Vocabulary>>,
}

impl LazyVocabulary {
    /// Of this tokenizer.
    pub fn new(tokenizer: Arc<Tokenizer>) -> LazyVocabulary {
        LazyVocabulary {
            tokenizer,
            built: Arc::default(),
        }
    }

    /// The vocabulary.
    pub fn get(&self) -> Result<&Vocabulary> {
        match self.built.get() {
            Some(vocabulary) => Ok(vocabulary),
            None => {
                let vocabulary = Vocabulary::new(&self.tokenizer)?;
                Ok(self.built.get_or_init(|| vocabulary))
            }
        }
    }
}

impl Vocabulary {
    /// The trie of all tokens. Takes a third of a second and about 220 bytes a token.
    pub fn new(tokenizer: &Arc<Tokenizer>) -> Result<Vocabulary> {
        let words: Vec<Vec<u8>> = (0..tokenizer.len() as u32)
            .map(|id| word(tokenizer, id))
            .collect();
        if words.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
            return Err(too_large());
        }
        let size = u32::try_from(words.len()).map_err(|_| too_large())?;
        let ends = tokenizer.end_of_generation();
        let first_end = ends.first().copied();
        let info = TokRxInfo::new(size, first_end.unwrap_or(llguidance::toktrie::INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        if first_end.is_some() {
            trie = trie.with_eos_tokens(ends);
        }
        drop(words);
        let tokens: TokEnv = Arc::new(Tokens {
            tokenizer: Arc::clone(tokenizer),
            trie,
        });
        let abilities = InferenceCapabilities {
            ff_tokens: true,
            ..InferenceCapabilities::default()
        };
        let mut factory =
            ParserFactory::new(&tokens, abilities, &[STRING_SLICE.to_string()]).map_err(|e| {
                Error::new(
                    Kind::Schema,
                    format!("the vocabulary cannot be used for constraints: {e}"),
                )
            })?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            verbose_errors: false,
            ..ParserLimits::default()
        };
        let trie = tokens.tok_trie();
        let closers = CLOSERS.iter().filter_map(|text| trie.token_id(text.as_bytes()));
        let closers = closers.collect();
        Ok(Vocabulary { factory, closers })
    }

    /// Number of token ids.
    pub fn len(&self) -> usize {
        self.factory.tok_env().tok_trie().vocab_size()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens to end a text with, the best first.
    pub(super) fn closers(&self) -> &[u32] {
        &self.closers
    }

    pub(super) fn factory(&self) -> &ParserFactory {
        &self.factory
    }
}

/// What the trie knows a token by: its text, or the name of a control token behind a byte that is never text. Empty for
/// what must not come out of a constraint.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let text = tokenizer.token_text(id);
    let hidden = text.len() > LONGEST_TOKEN || tokenizer.suppressed().binary_search(&id).is_ok();
    match tokenizer.kind(id) {
        _ if hidden => Vec::new(),
        TokenKind::Control => [&[MARK], text].concat(),
        _ => match tokenizer.token_bytes(id) {
            [MARK, ..] => Vec::new(),
            bytes => bytes.to_vec(),
        },
    }
}

fn too_large() -> Error {
    Error::new(Kind::Schema, "the vocabulary is too large for constraints")
}

/// The tokenizer, as the crate asks for it.
struct Tokens {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie
            .tokenize_with_greedy_fallback(bytes, |text| self.tokenizer.encode_continuation(text))
    }
}
