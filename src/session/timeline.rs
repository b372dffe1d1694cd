//! What the shards remember of a conversation, as the leader knows it: which tokens are in the KV cache, which of them the
//! recurrent state has seen, at which positions there are copies of that state, and so what the next batch has to do.

use serde::{Deserialize, Serialize};

use crate::model::recurrent::{SLOTS, TURN};
use crate::model::{Batch, Loaded, LogitsFor, Mark, Saving};

// There are two slots. `TURN` is the end of a prompt's last message: the next prompt of the same conversation is the same up
// to there, even if its template leaves out what the model thought. In a text without messages it is where the last prompt
// left the one before it. Each takes as much memory as the state itself, so there are no more.

/// The slot that follows the text as it is computed, so that not much is lost when a request is cancelled.
const PROGRESS: usize = 1;

/// Tokens after which the state is copied into [`PROGRESS`]: their computation costs far more than the copy.
const PROGRESS_TOKENS: usize = 32;

/// Fewer tokens than this are not worth a copy.
const WORTH_A_COPY: usize = 32;

/// Tokens and where they are.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The model has recurrent layers; without them only `tokens` and `cached` matter.
    recurrent: bool,
    /// No copies of its recurrent state are made: it is one of several, and they would not fit.
    bare: bool,
    /// Prompt and answer so far.
    tokens: Vec<u32>,
    /// How many of them the KV cache holds.
    cached: usize,
    /// Where the recurrent state is, `keep` included; `None` where a cancelled batch has left it anywhere.
    state: Option<usize>,
    /// Tokens of the last batch, a draft, that the state has still to take.
    keep: usize,
    /// The next batch begins from this slot.
    restore: Option<usize>,
    /// Where each slot's copy was made.
    slots: [Option<usize>; SLOTS],
    /// Where the copy of the turn is to be made.
    wanted: Option<usize>,
    /// The batch on its way.
    flight: Option<Flight>,
}

/// A batch on its way.
#[derive(Debug)]
struct Flight {
    batch: Batch,
    /// Its tokens, without those of a draft.
    count: usize,
    /// What the timeline held before: `keep`, `restore`, `slots`.
    before: (usize, Option<usize>, [Option<usize>; SLOTS]),
}

/// How far a batch came that will not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// No shard has begun it.
    Nowhere,
    /// Some may have.
    Somewhere,
    /// All have.
    Everywhere,
}

impl Timeline {
    pub(super) fn new(recurrent: bool) -> Timeline {
        Timeline {
            recurrent,
            state: Some(0),
            ..Timeline::default()
        }
    }

    /// Prompt and answer so far.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Adds a token of the answer.
    pub(super) fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Goes on with this prompt; says how many of its tokens need not be computed again. `messages` are the positions
    /// after the ends of its messages, ascending.
    pub(super) fn begin(&mut self, prompt: Vec<u32>, messages: &[usize]) -> usize {
        // The last token is computed again even if it is cached: its logits are wanted.
        let most = prompt.len() - 1;
        self.begin_with(prompt, messages, most)
    }

    /// Goes on with what several prompts begin with, of which no logits are wanted.
    pub(super) fn begin_shared(&mut self, prefix: Vec<u32>) {
        let most = prefix.len();
        self.begin_with(prefix, &[], most);
    }

    /// [`Timeline::begin`]; `most` tokens need not be computed again.
    fn begin_with(&mut self, prompt: Vec<u32>, messages: &[usize], most: usize) -> usize {
        self.flight = None;
        let known = &self.tokens[..self.cached];
        let same = known.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
        let shared = same.min(most);
        self.tokens = prompt;
        if !self.recurrent {
            self.cached = shared;
            return shared;
        }
        let live = self.state.filter(|at| *at == self.cached && *at <= shared);
        let copies = self.slots.iter().enumerate();
        let copy = copies
            .filter_map(|(slot, at)| Some((at.filter(|at| *at <= shared)?, slot)))
            .max();
        (self.cached, self.restore) = match (live, copy) {
            // It may be on its way to a copy already, if no batch was computed since.
            (Some(live), _) => (live, self.restore),
            (None, Some((at, slot))) => (at, Some(slot)),
            (None, None) => (0, None),
        };
        if live.is_none() {
            self.keep = 0;
        }
        self.state = Some(self.cached);
        // The cache is written over from here on, so later copies have lost their keys and values.
        for slot in &mut self.slots {
            *slot = slot.filter(|at| *at <= self.cached);
        }
        self.want(shared, messages);
        self.cached
    }

    /// Where on the way through the prompt a copy is worth making.
    fn want(&mut self, shared: usize, messages: &[usize]) {
        if self.bare {
            self.wanted = None;
            return;
        }
        let ahead = |at: &&usize| (self.cached + 1..=self.tokens.len()).contains(*at);
        let turn = messages.iter().rfind(ahead).copied();
        let parting = Some(shared).filter(|at| *at >= self.cached + WORTH_A_COPY);
        self.wanted = turn.or(parting.filter(|_| messages.is_empty()));
    }

    /// How many tokens are computed.
    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// How many tokens are known and not computed.
    pub(super) fn left(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// The next batch: its tokens, at most `most` of those that are known, and what it is. `draft` may follow the known tokens, if they
    /// are down to one. The last token gets logits if they are `wanted`.
    pub(super) fn next(&mut self, draft: &[u32], wanted: bool, most: usize) -> (Vec<u32>, Batch) {
        let left = self.left();
        let count = left.min(most);
        let ends = self.cached + 1..=self.cached + count;
        let mark = self.wanted.filter(|at| ends.contains(at));
        let draft = if left == 1 && mark.is_none() { draft } else { &[] };
        let mut tokens = self.tokens[self.cached..self.cached + count].to_vec();
        tokens.extend(draft);
        let logits = match (draft.is_empty(), count == left) {
            (false, _) => LogitsFor::All,
            (true, true) if wanted => LogitsFor::Last,
            (true, _) => LogitsFor::None,
        };
        let before = (self.keep, self.restore, self.slots);
        let mut batch = Batch {
            draft: !draft.is_empty(),
            ..Batch::at(self.cached, logits)
        };
        if self.recurrent {
            batch.keep = std::mem::take(&mut self.keep);
            batch.restore = self.restore.take();
            batch.save = Some(PROGRESS).filter(|_| self.is_progress(count));
            batch.mark = mark.map(|at| Mark {
                slot: TURN,
                tokens: at - self.cached,
            });
            if batch.save.is_some() {
                self.slots[PROGRESS] = Some(self.cached);
            }
            if let Some(mark) = batch.mark {
                self.slots[mark.slot] = None;
            }
        }
        self.flight = Some(Flight { batch, count, before });
        (tokens, batch)
    }

    /// Whether the state before a batch of this many tokens is worth a copy: there is none near.
    fn is_progress(&self, tokens: usize) -> bool {
        if self.bare {
            return false;
        }
        let last = self.slots.iter().flatten().max().copied().unwrap_or(0);
        self.cached >= last + PROGRESS_TOKENS || (tokens >= PROGRESS_TOKENS && self.cached > last)
    }

    /// The timeline of another text that begins with these tokens, all of them computed.
    pub(super) fn fork(&self, tokens: usize) -> Timeline {
        Timeline {
            bare: true,
            tokens: self.tokens[..tokens].to_vec(),
            cached: tokens,
            state: Some(tokens),
            ..Timeline::new(self.recurrent)
        }
    }

    /// The first of several forks is made by the next batch: what of the last draft the state has to take before that, and which copy it
    /// has to become. No copies are left after it. The batch ends or is abandoned like any other.
    pub(super) fn settle(&mut self) -> (usize, Option<usize>) {
        let before = (self.keep, self.restore, self.slots);
        let mut batch = Batch::at(self.cached, LogitsFor::None);
        batch.keep = std::mem::take(&mut self.keep);
        batch.restore = self.restore.take();
        self.slots = [None; SLOTS];
        let count = 0;
        self.flight = Some(Flight { batch, count, before });
        (batch.keep, batch.restore)
    }

    /// The batch on its way is done. Of a draft only the first token counts, until [`Timeline::accept_one`].
    pub(super) fn batch_done(&mut self) {
        let Some(Flight { batch, count, .. }) = self.flight.take() else {
            return;
        };
        self.cached += count;
        self.state = Some(self.cached);
        if let Some(mark) = batch.mark {
            self.slots[mark.slot] = Some(batch.first + mark.tokens);
        }
        let cached = self.cached;
        self.wanted = self.wanted.filter(|at| *at > cached);
        self.keep = if batch.draft && self.recurrent { count } else { 0 };
    }

    /// The last token was the next one of the draft: it is computed already.
    pub(super) fn accept_one(&mut self) {
        self.cached += 1;
        self.state = Some(self.cached);
        if self.recurrent {
            self.keep += 1;
        }
    }

    /// Takes back the last token, which was computed with a draft after it of which nothing was accepted.
    pub(super) fn take_back(&mut self) {
        self.tokens.pop();
        self.cached -= 1;
        self.state = Some(self.cached);
        self.keep = 0;
    }

    /// The next tokens are all computed, whatever is known of them.
    pub(super) fn forget(&mut self) {
        self.cached = 0;
        self.state = None;
        self.slots = [None; SLOTS];
    }

    /// Whether all tokens but the last are computed.
    pub(super) fn lacks_one(&self) -> bool {
        self.cached + 1 == self.tokens.len()
    }

    /// Whether all tokens are computed, so that the logits of the last one are there.
    pub(super) fn is_complete(&self) -> bool {
        self.cached == self.tokens.len()
    }

    /// The batch on its way will not end.
    pub(super) fn abandon(&mut self, reach: Reach) {
        let Some(Flight { batch, before, .. }) = self.flight.take() else {
            return;
        };
        if reach == Reach::Nowhere {
            (self.keep, self.restore, self.slots) = before;
            return;
        }
        if !self.recurrent {
            return;
        }
        // A draft leaves the state where it was, once every shard has brought it there.
        let intact = batch.draft && reach == Reach::Everywhere;
        self.state = intact.then_some(batch.first);
        if let Some(slot) = batch.save.filter(|_| reach == Reach::Somewhere) {
            self.slots[slot] = None;
        }
    }
}

/// What of a conversation can be saved: see [`Timeline::saving`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavePlan {
    /// Tokens of the last draft that each shard has to take into its state first.
    keep: usize,
    /// How many positions are saved.
    position: usize,
    /// The recurrent state is the copy in this slot.
    slot: Option<usize>,
    /// The copy of the last turn is saved too; it was made here.
    turn: Option<usize>,
}

impl SavePlan {
    /// Tokens of the last draft that each shard has to take into its state first.
    pub(super) fn keep(&self) -> usize {
        self.keep
    }

    /// What a shard saves; only the leader has tokens.
    pub(super) fn saving<'a>(&self, tokens: &'a [u32]) -> Saving<'a> {
        Saving {
            tokens,
            position: self.position,
            slot: self.slot,
            turn: self.turn,
        }
    }
}

impl Timeline {
    /// What can be saved: all that is computed, or as much of it as there is a copy of the recurrent state for.
    pub(super) fn saving(&self) -> SavePlan {
        let live = self.state == Some(self.cached) && self.restore.is_none();
        let (position, slot) = match live || !self.recurrent {
            true => (self.cached, None),
            false => {
                let copies = self.slots.iter().enumerate();
                let copies =
                    copies.filter_map(|(slot, at)| Some((at.filter(|at| *at <= self.cached)?, slot)));
                copies.max().map_or((0, None), |(at, slot)| (at, Some(slot)))
            }
        };
        SavePlan {
            keep: if live { self.keep } else { 0 },
            position,
            slot,
            turn: self.slots[TURN].filter(|at| *at < position),
        }
    }

    /// The shards have taken the last draft into their state.
    pub(super) fn settled(&mut self) {
        self.keep = 0;
    }

    /// The timeline of what was loaded.
    pub(super) fn of(loaded: Loaded, recurrent: bool) -> Timeline {
        let mut slots = [None; SLOTS];
        slots[TURN] = loaded.turn;
        Timeline {
            cached: loaded.position,
            state: Some(loaded.position),
            tokens: loaded.tokens,
            slots,
            ..Timeline::new(recurrent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MAX_BATCH;

    /// Computes all that is known; the batches, by their first token and their number of tokens.
    fn compute(timeline: &mut Timeline) -> Vec<(usize, usize, Batch)> {
        let mut batches = Vec::new();
        while !timeline.is_complete() {
            let (tokens, batch) = timeline.next(&[], true, MAX_BATCH);
            timeline.batch_done();
            batches.push((batch.first, tokens.len(), batch));
        }
        batches
    }

    fn prompt(parts: &[(u32, usize)]) -> Vec<u32> {
        parts
            .iter()
            .flat_map(|(id, count)| std::iter::repeat_n(*id, *count))
            .collect()
    }

    #[test]
    fn a_turn_goes_on_from_the_end_of_the_last_message() {
        let mut timeline = Timeline::new(true);
        assert_eq!(timeline.begin(prompt(&[(1, 100), (2, 10)]), &[40, 100]), 0);
        let batches = compute(&mut timeline);
        let mark = |tokens| Some(Mark { slot: TURN, tokens });
        assert_eq!((batches[0].1, batches[0].2.mark), (110, mark(100)));
        timeline.push(5);
        compute(&mut timeline);
        // The thoughts are left out: the prompt parts from the last one after its generation prompt has begun.
        let next = prompt(&[(1, 100), (2, 5), (3, 20)]);
        assert_eq!(timeline.begin(next, &[40, 100, 115]), 100);
        let batches = compute(&mut timeline);
        assert_eq!(batches[0].2.restore, Some(TURN));
        assert_eq!(batches[0].2.mark, mark(15));
    }

    #[test]
    fn an_exact_continuation_needs_no_copy() {
        let mut timeline = Timeline::new(true);
        timeline.begin(vec![1, 2, 3], &[]);
        compute(&mut timeline);
        timeline.push(4);
        assert_eq!(timeline.begin(vec![1, 2, 3, 4, 5], &[]), 3);
        assert_eq!(
            timeline.next(&[], true, MAX_BATCH).1,
            Batch::at(3, LogitsFor::Last)
        );
        timeline.batch_done();
        // The same prompt again: the state has gone past it, and there is no copy.
        assert_eq!(timeline.begin(vec![1, 2, 3, 4, 5], &[]), 0);
        let mut attention = Timeline::new(false);
        attention.begin(vec![1, 2, 3], &[]);
        compute(&mut attention);
        assert_eq!(attention.begin(vec![1, 2, 3], &[]), 2);
    }

    #[test]
    fn where_prompts_part_a_copy_is_made() {
        let mut timeline = Timeline::new(true);
        timeline.begin(prompt(&[(1, 90), (2, 8)]), &[]);
        compute(&mut timeline);
        assert_eq!(timeline.begin(prompt(&[(1, 90), (3, 8)]), &[]), 0);
        compute(&mut timeline);
        assert_eq!(timeline.begin(prompt(&[(1, 90), (4, 8)]), &[]), 90);
    }

    #[test]
    fn the_way_back_to_a_copy_outlives_a_request_that_computes_nothing_on_it() {
        let mut timeline = Timeline::new(true);
        timeline.begin(prompt(&[(1, 90), (2, 8)]), &[]);
        compute(&mut timeline);
        timeline.begin(prompt(&[(1, 90), (3, 8)]), &[]);
        compute(&mut timeline);
        // Back to where the two part, twice, with no batch in between.
        for id in [4, 5] {
            assert_eq!(timeline.begin(prompt(&[(1, 90), (id, 8)]), &[]), 90);
        }
        assert_eq!(compute(&mut timeline)[0].2.restore, Some(TURN));
    }

    #[test]
    fn cancelling_loses_little_and_never_too_little() {
        for (reach, cached) in [
            (Reach::Nowhere, 256),
            (Reach::Somewhere, 0),
            (Reach::Everywhere, 256),
        ] {
            let mut timeline = Timeline::new(true);
            let ids: Vec<u32> = (0..300).collect();
            timeline.begin(ids.clone(), &[]);
            timeline.next(&[], true, MAX_BATCH);
            timeline.batch_done();
            timeline.next(&[], true, MAX_BATCH);
            timeline.batch_done();
            timeline.next(&[], true, MAX_BATCH);
            timeline.abandon(reach);
            assert_eq!(timeline.begin(ids, &[]), cached, "{reach:?}");
        }
    }

    #[test]
    fn a_draft_is_kept_as_far_as_it_was_right() {
        let mut timeline = Timeline::new(true);
        timeline.begin(vec![1, 2], &[]);
        compute(&mut timeline);
        timeline.push(3);
        let (tokens, batch) = timeline.next(&[4, 5, 6], true, MAX_BATCH);
        assert_eq!(tokens, [3, 4, 5, 6]);
        assert!(batch.draft && batch.first == 2 && batch.logits == LogitsFor::All);
        timeline.batch_done();
        assert!(timeline.is_complete());
        timeline.push(4);
        timeline.accept_one();
        timeline.push(9);
        assert_eq!(timeline.tokens(), [1, 2, 3, 4, 9]);
        let (tokens, batch) = timeline.next(&[], true, MAX_BATCH);
        assert_eq!((tokens, batch.first, batch.keep), (vec![9], 4, 2));
        // Cancelled before anyone has heard of it: the draft is still to be kept.
        timeline.abandon(Reach::Nowhere);
        assert_eq!(timeline.next(&[], true, MAX_BATCH).1.keep, 2);
        // Nothing is kept of a draft that did not end; the state is where it was.
        timeline.batch_done();
        timeline.push(7);
        timeline.next(&[8, 8], true, MAX_BATCH);
        timeline.abandon(Reach::Everywhere);
        assert_eq!(timeline.begin(vec![1, 2, 3, 4, 9, 7, 7], &[]), 5);
        assert_eq!(timeline.next(&[], true, MAX_BATCH).1.keep, 0);
    }
}
