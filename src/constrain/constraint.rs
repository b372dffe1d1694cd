//! A text in the making, and what may come next.

use llguidance::Matcher;
use llguidance::api::StopReason;
use llguidance::toktrie::SimpleVob;

use super::{Grammar, Vocabulary};
use crate::error::{Error, Kind, Result};

/// A constraint on one text, token by token.
pub struct Constraint {
    matcher: Matcher,
    /// Tokens that bring a text to its end, the best first: see [`Vocabulary::closers`].
    closers: Vec<u32>,
}

impl Constraint {
    /// At the beginning of a text. [`Kind::Schema`] for what cannot be used as a constraint.
    pub fn new(vocabulary: &Vocabulary, grammar: &Grammar) -> Result<Constraint> {
        let parser = vocabulary.factory().create_parser(grammar.translate()?);
        let mut matcher = Matcher::new(parser);
        if let Some(message) = matcher.get_error() {
            return Err(refused(&message));
        }
        // What matches only the empty text would have nothing to choose from.
        if matcher.is_stopped() || matcher.compute_mask().is_err() {
            return Err(refused("no text but the empty one satisfies it"));
        }
        Ok(Constraint {
            matcher,
            closers: vocabulary.closers().to_vec(),
        })
    }

    /// The tokens that must come next whatever the model would say, in their usual spelling; none if there is a choice.
    pub fn forced(&mut self) -> Vec<u32> {
        match self.is_complete() {
            true => Vec::new(),
            false => self.matcher.compute_ff_tokens(),
        }
    }

    /// The tokens that may come next, one bit each: id `i` is bit `i % 32` of word `i / 32`. The tokens that end an answer
    /// are among them where the text may end. [`Kind::Schema`] if the constraint turns out to be too complex.
    pub fn allowed(&mut self) -> Result<Vec<u32>> {
        match self.matcher.compute_mask_or_eos() {
            Ok(mask) => Ok(mask.as_slice().to_vec()),
            Err(error) => Err(too_complex(&self.matcher, &error.to_string())),
        }
    }

    /// Goes on by a token. [`Kind::Schema`] if it was not allowed.
    pub fn accept(&mut self, id: u32) -> Result<()> {
        self.matcher
            .consume_token(id)
            .map_err(|error| too_complex(&self.matcher, &error.to_string()))
    }

    /// Whether the text so far satisfies the constraint, and may end here.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// Whether the text is whole: nothing can be added to it.
    pub fn is_complete(&self) -> bool {
        let reason = self.matcher.stop_reason();
        reason != StopReason::NotStopped && reason.is_ok()
    }

    /// A short way from here to where the text may end, of at most so many tokens, after `next` if there is one: brackets
    /// and quotes are closed, what is required is filled in with as little as is allowed. `None` if there is none so short.
    /// It need not be the shortest.
    pub fn ending(&self, next: Option<u32>, most: usize) -> Option<Vec<u32>> {
        let mut matcher = self.matcher.clone();
        if let Some(id) = next {
            matcher.consume_token(id).ok()?;
        }
        let mut ids = Vec::new();
        loop {
            let whole = matcher.stop_reason() != StopReason::NotStopped && matcher.stop_reason().is_ok();
            if whole || matcher.is_accepting().ok()? {
                return Some(ids);
            }
            if ids.len() >= most {
                return None;
            }
            let mask = matcher.compute_mask().ok()?;
            let id = self.closer(&mask)?;
            matcher.consume_token(id).ok()?;
            ids.push(id);
        }
    }

    fn closer(&self, mask: &SimpleVob) -> Option<u32> {
        let closer = self.closers.iter().copied().find(|id| mask.is_allowed(*id));
        closer.or_else(|| mask.first_bit_set().map(|id| id as u32))
    }
}

fn refused(message: &str) -> Error {
    let message = readable(message);
    Error::new(
        Kind::Schema,
        format!("this cannot be used as a constraint: {message}"),
    )
}

fn too_complex(matcher: &Matcher, message: &str) -> Error {
    let reason = matcher.stop_reason();
    let message = readable(message);
    Error::new(
        Kind::Schema,
        format!("the constraint is too complex for this text ({reason}): {message}"),
    )
}

/// Without what the crate adds for its own developers.
fn readable(message: &str) -> String {
    let end = message.find("\n<").unwrap_or(message.len());
    message[..end].trim().to_string()
}
