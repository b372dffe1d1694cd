//! The set of tokens allowed next, by a JSON schema, a regular expression or a grammar. May import: `error`, `tokenizer`.
//!
//! The automata are those of the `llguidance` crate. Ours are the vocabulary in the form that it takes ([`Vocabulary`]),
//! the check of schemas before it sees them ([`schema`]), small patterns to build grammars from ([`Pattern`]), and what a
//! text in the making needs ([`Constraint`]): the tokens allowed next, those that are forced, and the shortest end.
//!
//! JSON comes out on one line, as Python's `json.dumps` writes it: `, ` between items, `: ` after a key. No choice is left
//! in the white space, so a schema forces as many tokens as it can. Properties come in the order of the schema.

mod constraint;
mod pattern;
pub mod schema;
mod strings;
mod vocabulary;

pub use constraint::Constraint;
pub use pattern::{Grammar, Pattern};
pub use vocabulary::{LazyVocabulary, Vocabulary};
