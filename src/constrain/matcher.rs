//! A text in the making, and what may come next: by the automata of the crate.

use llguidance::Matcher;
use llguidance::api::StopReason;

use super::translate::translate;
use super::vocabulary::Closers;
use super::{Constraint, Grammar, Vocabulary};
use crate::error::{Error, Kind, Result};

/// A constraint that is run here.
pub(super) struct Run {
    matcher: Matcher,
    /// Tokens that bring a text to its end.
    closers: Closers,
}

impl Run {
    /// At the beginning of a text. [`Kind::Schema`] for what cannot be used as a constraint.
    pub(super) fn new(vocabulary: &Vocabulary, grammar: &Grammar) -> Result<Run> {
        let parser = vocabulary.factory().create_parser(translate(grammar)?);
        let mut matcher = Matcher::new(parser);
        if let Some(message) = matcher.get_error() {
            return Err(refused(&message));
        }
        // What matches only the empty text would have nothing to choose from.
        if matcher.is_stopped() || matcher.compute_mask().is_err() {
            return Err(refused("no text but the empty one satisfies it"));
        }
        Ok(Run {
            matcher,
            closers: vocabulary.closers().clone(),
        })
    }

    /// One like it, which goes on by itself.
    pub(super) fn another(&self) -> Run {
        Run {
            matcher: self.matcher.deep_clone(),
            closers: self.closers.clone(),
        }
    }
}

impl Constraint for Run {
    fn forced(&mut self) -> Result<Vec<u32>> {
        Ok(match self.is_complete() {
            true => Vec::new(),
            false => self.matcher.compute_ff_tokens(),
        })
    }

    fn allowed(&mut self) -> Result<Vec<u32>> {
        match self.matcher.compute_mask_or_eos() {
            Ok(mask) => Ok(mask.as_slice().to_vec()),
            Err(error) => Err(too_complex(&self.matcher, &error.to_string())),
        }
    }

    fn accept(&mut self, id: u32) -> Result<()> {
        self.matcher
            .consume_token(id)
            .map_err(|error| too_complex(&self.matcher, &error.to_string()))
    }

    fn may_end(&mut self) -> bool {
        self.is_complete() || self.matcher.is_accepting().unwrap_or(false)
    }

    fn is_complete(&self) -> bool {
        let reason = self.matcher.stop_reason();
        reason != StopReason::NotStopped && reason.is_ok()
    }

    fn ending(&self, next: Option<u32>, most: usize) -> Option<Vec<u32>> {
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
            let id = self.closers.best(&mask)?;
            matcher.consume_token(id).ok()?;
            ids.push(id);
        }
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
