//! What the engine asks of constraints, whoever runs them: it is built with them, or another module is asked.

use serde_json::Value;

use super::Grammar;
use crate::error::Result;
use crate::tokenizer::{TokenKind, Tokenizer};

/// Makes the constraints on the texts of one model.
pub trait Constraints {
    /// A constraint at the beginning of a text. [`Kind::Schema`](crate::Kind::Schema) for what cannot be used as one.
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Constraint>>;

    /// Whether a JSON schema has a form that can be used. [`Kind::Schema`](crate::Kind::Schema) says what is wrong with it.
    fn check(&self, schema: &Value) -> Result<()>;
}

/// A constraint on one text, token by token.
pub trait Constraint {
    /// The tokens that must come next whatever the model would say, in their usual spelling; none if there is a choice.
    fn forced(&mut self) -> Result<Vec<u32>>;

    /// The tokens that may come next, one bit each: id `i` is bit `i % 32` of word `i / 32`. The tokens that end an answer
    /// are among them where the text may end. [`Kind::Schema`](crate::Kind::Schema) if the constraint turns out to be too
    /// complex.
    fn allowed(&mut self) -> Result<Vec<u32>>;

    /// Goes on by a token. [`Kind::Schema`](crate::Kind::Schema) if it was not allowed.
    fn accept(&mut self, id: u32) -> Result<()>;

    /// Whether the text so far satisfies the constraint, and may end here.
    fn may_end(&mut self) -> bool;

    /// Whether the text is whole: nothing can be added to it.
    fn is_complete(&self) -> bool;

    /// A short way from here to where the text may end, of at most so many tokens, after `next` if there is one: brackets
    /// and quotes are closed, what is required is filled in with as little as is allowed. `None` if there is none so short.
    /// It need not be the shortest.
    fn ending(&self, next: Option<u32>, most: usize) -> Option<Vec<u32>>;
}

/// The tokens of a model, as constraints need them.
pub trait Words {
    /// What each token is known by, in the order of ids: its text, or the name of a control token behind [`MARK`]. Empty for
    /// what must not come out of a constraint.
    fn list(&self) -> Vec<Vec<u8>>;

    /// The tokens that end an answer.
    fn ends(&self) -> Vec<u32>;

    /// A text as tokens, as they would be in the middle of a text.
    fn encode(&self, text: &str) -> Vec<u32>;
}

/// Comes before the name of a control token: a byte that is never text.
pub const MARK: u8 = 0xff;

/// The trie of the vocabulary counts parents in few bits. Real tokens stay far below.
const LONGEST_TOKEN: usize = 512;

impl Words for Tokenizer {
    fn list(&self) -> Vec<Vec<u8>> {
        (0..self.len() as u32).map(|id| word(self, id)).collect()
    }

    fn ends(&self) -> Vec<u32> {
        self.end_of_generation().to_vec()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        self.encode_continuation(text)
    }
}

fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
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
