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
    /// After each occurrence of a marker, up to the end of what the grammar says; in between, anything goes.
    AtMarkers(Markers),
}

/// Where constraints begin in an answer that may do without.
#[derive(Debug, Clone)]
pub(super) struct Markers {
    /// What a constraint begins after; nothing any more when it could not begin.
    pub(super) marker: Option<&'static str>,
    /// The answer ends with the first.
    pub(super) once: bool,
    /// What opens and ends the model's thoughts, in which a marker is talk.
    pub(super) thoughts: Option<(&'static str, &'static str)>,
    /// They are open.
    pub(super) thinking: bool,
}

impl Markers {
    /// What is waited for.
    fn awaited(&self) -> impl Iterator<Item = &'static str> {
        let (open, close) = self.thoughts.unzip();
        let [marker, open, close] = match self.thinking {
            true => [None, None, close],
            false => [self.marker, open, None],
        };
        [marker, open, close].into_iter().flatten()
    }
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
    /// Thoughts have just ended.
    is_fresh: bool,
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
            is_fresh: false,
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
                .is_some_and(|(marker, rest)| {
                    self.is_begun_by(marker) && !rest.iter().all(u8::is_ascii_whitespace)
                });
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
        let bytes = bytes(tokenizer, id);
        if let Some(constraint) = self.constraint.as_mut() {
            // The line breaks after thoughts that were ended are none of a grammar that does not know of them.
            let is_blank = std::mem::take(&mut self.is_fresh) && bytes.iter().all(u8::is_ascii_whitespace);
            let size = self.mask.vocabulary();
            if is_blank && !TokenMask::from_words(constraint.allowed()?, size).contains(id) {
                self.is_fresh = true;
                return Ok(());
            }
            constraint.accept(id)?;
            if constraint.is_complete() && matches!(&self.begins, Begins::AtMarkers(markers) if !markers.once)
            {
                self.constraint = None;
                self.ending = None;
                self.is_ending = false;
                self.is_hopeless = false;
                self.tail.clear();
            }
            return Ok(());
        }
        if let Some(marker) = self.after_marker(bytes).map(|(marker, _)| marker) {
            self.tail.clear();
            if !self.is_begun_by(marker) {
                if let Begins::AtMarkers(markers) = &mut self.begins {
                    markers.thinking = !markers.thinking;
                }
                return Ok(());
            }
            match (self.constraints.begin(&self.grammar), &mut self.begins) {
                (Ok(constraint), begins) => {
                    self.is_fresh = !matches!(begins, Begins::AtMarkers(_));
                    self.constraint = Some(constraint);
                }
                // A call that need not have been made is not held to what cannot be enforced.
                (Err(_), Begins::AtMarkers(markers)) => markers.marker = None,
                (Err(error), _) => return Err(error),
            }
        } else {
            self.tail.extend_from_slice(bytes);
            let longest = self
                .markers()
                .iter()
                .map(|marker| marker.len())
                .max()
                .unwrap_or(0);
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

    /// What is waited for.
    fn markers(&self) -> Vec<&'static str> {
        match &self.begins {
            Begins::AtOnce => Vec::new(),
            Begins::AtOnceOr { close, .. } | Begins::AfterThoughts { close } => vec![*close],
            Begins::AtMarkers(markers) => markers.awaited().collect(),
        }
    }

    /// Whether the constraint begins after this marker; after the others, thoughts begin or end.
    fn is_begun_by(&self, marker: &str) -> bool {
        match &self.begins {
            Begins::AtMarkers(markers) => !markers.thinking && markers.marker == Some(marker),
            _ => true,
        }
    }

    /// The first marker that ends within these bytes, and what follows it.
    fn after_marker<'b>(&self, bytes: &'b [u8]) -> Option<(&'static str, &'b [u8])> {
        let text = [&self.tail, bytes].concat();
        let ends = self.markers().into_iter().filter_map(|marker| {
            let at = text
                .windows(marker.len())
                .position(|window| window == marker.as_bytes())?;
            Some(((at + marker.len()).checked_sub(self.tail.len())?, marker))
        });
        ends.min().map(|(end, marker)| (marker, &bytes[end..]))
    }
}

/// The bytes of a token, or its name: markers may be control tokens.
fn bytes(tokenizer: &Tokenizer, id: u32) -> &[u8] {
    match tokenizer.token_bytes(id) {
        [] => tokenizer.token_text(id),
        bytes => bytes,
    }
}
