//! When a constraint applies to an answer: from its beginning, after the model's thoughts, or inside each tool call.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::constrain::{Constraint, Constraints, Grammar};
use crate::error::Result;
use crate::sample::TokenMask;
use crate::tokenizer::Tokenizer;

/// Where the constraint begins.
#[derive(Debug, Clone)]
pub(super) enum Begins {
    /// With the answer.
    AtOnce,
    /// With the answer, unless the model opens its thoughts with this token: then after them.
    AtOnceOr { open: u32, close: &'static str },
    /// After the thoughts, which are open.
    AfterThoughts { close: &'static str },
    /// After each occurrence of one of these markers, up to the end of what the grammar says; in between, anything goes.
    AtMarkers(Vec<&'static str>),
}

/// Tokens before the end of the budget at which an end is kept in reach, at least.
const NEAR_THE_END: usize = 128;
/// No way to the end is looked for farther from it than this.
const FARTHEST: usize = 2048;
/// Farther from it, the way to the end is measured every so many tokens.
const MEASURE_EVERY: usize = 64;

/// The constraint on one answer.
pub(super) struct Gate {
    constraints: Rc<dyn Constraints>,
    grammar: Grammar,
    begins: Begins,
    /// There while it applies.
    constraint: Option<Box<dyn Constraint>>,
    /// What was written last, as long as a marker may begin in it. Only while one is waited for.
    tail: Vec<u8>,
    /// What the next token may be, if that is limited.
    mask: TokenMask,
    limited: bool,
    /// Forced tokens that are to be drawn one by one all the same.
    queue: VecDeque<u32>,
    /// A way to the end from here, if one is known.
    ending: Option<VecDeque<u32>>,
    /// The end is being written.
    is_ending: bool,
    /// There is no end in reach.
    is_hopeless: bool,
    /// So many tokens before the end of the budget, an end is kept in reach.
    zone: usize,
}

/// What is to be done with a token that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Take,
    /// This one is.
    Instead(u32),
    /// None is: the text is whole, and no more fits.
    End,
}

impl Gate {
    /// `size`: how many logits there are.
    pub(super) fn new(
        constraints: Rc<dyn Constraints>,
        grammar: Grammar,
        begins: Begins,
        size: usize,
    ) -> Result<Gate> {
        let constraint = match begins {
            Begins::AtMarkers(_) => None,
            // Also where it begins later: what is wrong with it is known before the first token.
            _ => Some(constraints.begin(&grammar)?),
        };
        let constraint = constraint.filter(|_| !matches!(begins, Begins::AfterThoughts { .. }));
        Ok(Gate {
            constraints,
            grammar,
            begins,
            constraint,
            tail: Vec::new(),
            mask: TokenMask::none(size),
            limited: false,
            queue: VecDeque::new(),
            ending: None,
            is_ending: false,
            is_hopeless: false,
            zone: NEAR_THE_END,
        })
    }

    /// Tokens that come next whatever the model would say.
    pub(super) fn forced(&mut self) -> Result<Vec<u32>> {
        match (&self.begins, &mut self.constraint) {
            (Begins::AtOnceOr { .. }, _) | (_, None) => Ok(Vec::new()),
            (_, Some(constraint)) => constraint.forced(),
        }
    }

    /// These forced tokens are drawn one by one, like any others.
    pub(super) fn queue(&mut self, forced: Vec<u32>) {
        self.queue = forced.into();
    }

    /// Finds out what may come next: see [`Gate::mask`].
    pub(super) fn look(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let size = self.mask.vocabulary();
        self.limited = true;
        match (&self.begins, &mut self.constraint, self.queue.front()) {
            (_, _, Some(id)) => {
                self.mask.clear();
                self.mask.insert(*id);
            }
            (Begins::AtMarkers(_), None, _) => self.limited = false,
            (_, None, _) => {
                // An answer does not end with the thoughts.
                self.mask = TokenMask::all(size);
                for id in tokenizer.end_of_generation() {
                    self.mask.remove(*id);
                }
            }
            (begins, Some(constraint), _) => {
                self.mask = TokenMask::from_words(constraint.allowed()?, size);
                if let Begins::AtOnceOr { open, .. } = begins {
                    self.mask.insert(*open);
                }
            }
        }
        Ok(())
    }

    /// What the next token may be, by the last look; `None` for anything.
    pub(super) fn mask(&self) -> Option<&TokenMask> {
        self.limited.then_some(&self.mask)
    }

    /// Whether this token must not be written though the mask allows it: it ends a marker and goes on, over the place
    /// where the constraint begins. Then it is no longer in the mask.
    pub(super) fn overruns(&mut self, tokenizer: &Tokenizer, id: u32) -> bool {
        let overruns = self.constraint.is_none()
            && self
                .after_marker(bytes(tokenizer, id))
                .is_some_and(|rest| !rest.iter().all(u8::is_ascii_whitespace));
        if overruns {
            if !self.limited {
                self.mask = TokenMask::all(self.mask.vocabulary());
                self.limited = true;
            }
            self.mask.remove(id);
        }
        overruns
    }

    /// Keeps an end in reach when the budget is nearly used up. `left`: tokens that may still be written, `id` included.
    pub(super) fn judge(&mut self, id: u32, left: usize) -> Verdict {
        let (Some(constraint), false) = (&self.constraint, self.is_hopeless) else {
            return Verdict::Take;
        };
        // Forced tokens are taken without asking, however they are fed.
        let forced = !self.queue.is_empty();
        if forced || matches!(self.begins, Begins::AtOnceOr { .. }) {
            return Verdict::Take;
        }
        if left > self.zone {
            if left.is_multiple_of(MEASURE_EVERY) && left <= FARTHEST {
                let ending = constraint.ending(None, left);
                self.zone = NEAR_THE_END + 2 * ending.map_or(0, |ending| ending.len());
            }
            return Verdict::Take;
        }
        if !self.is_ending
            && let Some(ending) = constraint.ending(Some(id), left.saturating_sub(1))
        {
            self.ending = Some([id].into_iter().chain(ending).collect());
            return Verdict::Take;
        }
        if self.ending.is_none() {
            self.ending = constraint.ending(None, left).map(VecDeque::from);
        }
        match &self.ending {
            None => {
                self.is_hopeless = true;
                Verdict::Take
            }
            Some(ending) => {
                self.is_ending = true;
                ending.front().map_or(Verdict::End, |id| Verdict::Instead(*id))
            }
        }
    }

    /// Takes note of a token of the answer.
    pub(super) fn accept(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<()> {
        self.queue.pop_front_if(|front| *front == id);
        self.ending = self.ending.take().filter(|ending| ending.front() == Some(&id));
        if let Some(ending) = &mut self.ending {
            ending.pop_front();
        }
        if let Begins::AtOnceOr { open, close } = self.begins {
            self.begins = match id == open {
                true => {
                    self.constraint = None;
                    Begins::AfterThoughts { close }
                }
                false => Begins::AtOnce,
            };
            if id == open {
                return Ok(());
            }
        }
        if let Some(constraint) = self.constraint.as_mut() {
            constraint.accept(id)?;
            if constraint.is_complete() && matches!(self.begins, Begins::AtMarkers(_)) {
                self.constraint = None;
                self.ending = None;
                self.is_ending = false;
                self.is_hopeless = false;
                self.tail.clear();
            }
            return Ok(());
        }
        let bytes = bytes(tokenizer, id);
        if self.after_marker(bytes).is_some() {
            self.tail.clear();
            match (self.constraints.begin(&self.grammar), &mut self.begins) {
                (Ok(constraint), _) => self.constraint = Some(constraint),
                // A call that need not have been made is not held to what cannot be enforced.
                (Err(_), Begins::AtMarkers(markers)) => markers.clear(),
                (Err(error), _) => return Err(error),
            }
        } else {
            self.tail.extend_from_slice(bytes);
            let longest = self.markers().map(str::len).max().unwrap_or(0);
            let keep = self.tail.len().min(longest);
            self.tail.drain(..self.tail.len() - keep);
        }
        Ok(())
    }

    /// Whether the answer is whole.
    pub(super) fn is_complete(&self) -> bool {
        self.constraint
            .as_ref()
            .is_some_and(|constraint| constraint.is_complete())
    }

    /// Whether it is whole because the budget was nearly used up.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_ending && (self.is_complete() || self.ending.as_ref().is_some_and(VecDeque::is_empty))
    }

    fn markers(&self) -> impl Iterator<Item = &'static str> {
        let (one, several): (Option<&'static str>, &[&'static str]) = match &self.begins {
            Begins::AtOnce => (None, &[]),
            Begins::AtOnceOr { close, .. } | Begins::AfterThoughts { close } => (Some(*close), &[]),
            Begins::AtMarkers(markers) => (None, markers),
        };
        one.into_iter().chain(several.iter().copied())
    }

    /// What follows the marker that ends within these bytes.
    fn after_marker<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let text = [&self.tail, bytes].concat();
        let ends = self.markers().filter_map(|marker| {
            let marker = marker.as_bytes();
            let at = text.windows(marker.len()).position(|window| window == marker)?;
            (at + marker.len()).checked_sub(self.tail.len())
        });
        ends.min().map(|end| &bytes[end..])
    }
}

/// The bytes of a token, or its name: markers may be control tokens.
fn bytes(tokenizer: &Tokenizer, id: u32) -> &[u8] {
    match tokenizer.token_bytes(id) {
        [] => tokenizer.token_text(id),
        bytes => bytes,
    }
}
