//! The tokens as a trie of their bytes: what grammars are matched against. Built when the first constraint is asked for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::toktrie::{
    InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv,
};

use serde_json::Value;

use super::face::MARK;
use super::matcher::Run;
use super::{Constraint, Constraints, Grammar, Words, schema};
use crate::error::{Error, Kind, Result};

/// A run of this many characters in a JSON string is looked up instead of walked: inside a string nearly the whole
/// vocabulary is allowed. One such set: each costs three more tries (measured with 151,936 tokens, natively: 13 MB for this
/// one, 52 MB for the four that the crate proposes, and 0.13 against 0.04 ms for an average mask).
const STRING_SLICE: &str = r#"[^"\\\x00-\x1F\x7F]{1,30}"#;

/// The trie counts subtrees in few bits. Real vocabularies stay far below.
const MOST_BYTES: usize = 4_000_000;

/// The tokens of a model in the form that constraints work on.
pub struct Vocabulary {
    factory: ParserFactory,
    closers: Closers,
}

/// Tokens that bring a text to its end.
#[derive(Debug, Clone)]
pub(super) struct Closers {
    /// The best first.
    ids: Vec<u32>,
    quote: Option<u32>,
    free: Option<u32>,
}

impl Closers {
    /// The best of those that are allowed; any that is, if none of them is.
    pub(super) fn best(&self, mask: &SimpleVob) -> Option<u32> {
        let is_free = self.free.is_some_and(|id| mask.is_allowed(id));
        let quote = self.quote.filter(|_| is_free);
        let mut ids = quote.iter().chain(&self.ids).copied();
        ids.find(|id| mask.is_allowed(*id))
            .or_else(|| mask.first_bit_set().map(|id| id as u32))
    }
}

/// What brings JSON, and most other texts, to an end: the best first. A comma ends a number that has begun, where more has to follow.
/// After a sign or a point, zeros may lead nowhere: a one comes first.
const CLOSERS: [&str; 8] = ["}", "]", "\"", ",", "1", "0", ")", ">"];

/// What ends free text, such as a string of JSON, in which brackets mean nothing.
const QUOTE: &str = "\"";

/// Where this may come next, text is free: nothing of JSON begins so.
const FREE: &str = "z";

/// Grammars that are kept compiled: many texts are asked about with the same schema.
const KEPT: usize = 4;

/// The constraints of a model. The vocabulary is built for the first of them.
pub struct Local<W> {
    words: Arc<W>,
    built: OnceLock<Vocabulary>,
    /// The grammars used last, the latest first, each at the beginning of a text. By what they are as JSON: objects that differ in
    /// the order of their keys are equal as values, but not as schemas.
    kept: Mutex<Vec<(String, Run)>>,
}

impl<W: Words + Send + Sync + 'static> Local<W> {
    /// On texts of these tokens.
    pub fn new(words: Arc<W>) -> Local<W> {
        Local {
            words,
            built: OnceLock::new(),
            kept: Mutex::new(Vec::new()),
        }
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> Result<&Vocabulary> {
        match self.built.get() {
            Some(vocabulary) => Ok(vocabulary),
            None => {
                let vocabulary = Vocabulary::new(Arc::clone(&self.words))?;
                Ok(self.built.get_or_init(|| vocabulary))
            }
        }
    }
}

impl<W: Words + Send + Sync + 'static> Constraints for Local<W> {
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Constraint>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let name = serde_json::to_string(grammar)
            .map_err(|error| Error::new(Kind::Schema, format!("the grammar is no JSON: {error}")))?;
        let entry = match kept.iter().position(|(known, _)| *known == name) {
            Some(at) => kept.remove(at),
            None => (name, Run::new(self.vocabulary()?, grammar)?),
        };
        let begun = entry.1.another();
        kept.insert(0, entry);
        kept.truncate(KEPT);
        Ok(Box::new(begun))
    }

    fn check(&self, schema: &Value) -> Result<()> {
        schema::prepare(schema).map(drop)
    }
}

impl Vocabulary {
    /// The trie of all tokens. Takes a third of a second and about 220 bytes a token.
    pub fn new<W: Words + Send + Sync + 'static>(words: Arc<W>) -> Result<Vocabulary> {
        let list = words.list();
        if list.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
            return Err(too_large());
        }
        let size = u32::try_from(list.len()).map_err(|_| too_large())?;
        let ends = words.ends();
        let first_end = ends.first().copied();
        let info = TokRxInfo::new(size, first_end.unwrap_or(llguidance::toktrie::INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &list);
        if first_end.is_some() {
            trie = trie.with_eos_tokens(&ends);
        }
        drop(list);
        let tokens: TokEnv = Arc::new(Tokens { words, trie });
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
        let id = |text: &str| trie.token_id(text.as_bytes());
        let closers = Closers {
            ids: CLOSERS.into_iter().filter_map(id).collect(),
            quote: id(QUOTE),
            free: id(FREE),
        };
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

    /// Tokens to end a text with.
    pub(super) fn closers(&self) -> &Closers {
        &self.closers
    }

    pub(super) fn factory(&self) -> &ParserFactory {
        &self.factory
    }
}

fn too_large() -> Error {
    Error::new(Kind::Schema, "the vocabulary is too large for constraints")
}

const _: () = assert!(MARK == TokTrie::SPECIAL_TOKEN_MARKER);

/// The tokens, as the crate asks for them.
struct Tokens<W> {
    words: Arc<W>,
    trie: TokTrie,
}

impl<W: Words + Send + Sync> TokenizerEnv for Tokens<W> {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie
            .tokenize_with_greedy_fallback(bytes, |text| self.words.encode(text))
    }
}
