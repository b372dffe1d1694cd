//! The set of tokens allowed next, by a JSON schema, a regular expression or a grammar. May import: `error`, `tokenizer`.
//!
//! The automata are those of the `llguidance` crate. Ours are the vocabulary in the form that it takes (`Vocabulary`),
//! the check of schemas before it sees them (`schema`), small patterns to build grammars from ([`Pattern`]), and what a
//! text in the making needs ([`Constraint`]): the tokens allowed next, those that are forced, and the shortest end.
//!
//! JSON comes out on one line, as Python's `json.dumps` writes it: `, ` between items, `: ` after a key. No choice is left
//! in the white space, so a schema forces as many tokens as it can. Properties come in the order of the schema.

//!
//! What the engine knows of all this is [`Constraints`] and [`Constraint`]. The rest is left out of the engine that pages load
//! first (cargo's feature `constraints`): there it is a module of its own, which is loaded when it is needed.

mod face;
#[cfg(feature = "constraints")]
mod matcher;
mod pattern;
#[cfg(feature = "constraints")]
pub mod schema;
#[cfg(feature = "constraints")]
mod strings;
#[cfg(feature = "constraints")]
mod translate;
#[cfg(feature = "constraints")]
mod vocabulary;

pub use face::{Constraint, Constraints, MARK, Words};
pub use pattern::{Grammar, Pattern};
#[cfg(feature = "constraints")]
pub use vocabulary::{Local, Vocabulary};
