//! Several requests computed together: what their prompts have in common once, and then a batch of stretches of all texts at each
//! turn, so that the weights are read once for all of them.
//!
//! A text has a seat in the model while it is computed; the next one in line takes the seat of one that is finished. All seats
//! together take no more memory than one full context does: where it runs out, the text that came last gives up its seat, and begins
//! again later.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::kernels::cache::PAGE;
use crate::model::{Logits, LogitsFor, MAX_BATCH, MAX_DRAFT_BATCH, MAX_SEATS, Model, Part};
use crate::session::leader::{Asked, Leader};
use crate::session::packet::{self, Packet};
use crate::session::request::{Output, Request};
use crate::session::sequence::Sequence;
use crate::session::timeline::Timeline;
use crate::tokenizer::Tokenizer;

/// Most tokens of a batch that have logits: as many as the longest draft.
const MOST_LOGITS: usize = MAX_DRAFT_BATCH;

/// The requests that are computed together.
pub(super) struct Group {
    /// By their places in the list that was asked for.
    waiting: VecDeque<(usize, Asked)>,
    seats: [Option<Seat>; MAX_SEATS],
    /// Tokens that all prompts begin with, which are computed in the model's own memory.
    shared: usize,
    /// The own memory is at the end of those, and at rest.
    settled: bool,
    /// The batch on its way: which seats have a part in it.
    flight: Vec<Flight>,
    /// Seats taken so far.
    taken: usize,
    memory: Sizes,
}

/// Bytes on the leader.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// For all seats.
    all: usize,
    page: usize,
    /// A recurrent state.
    state: usize,
}

/// A text that is being computed.
struct Seat {
    index: usize,
    asked: Asked,
    /// The higher, the later it came.
    age: usize,
    /// The model knows it already.
    seated: bool,
    sequence: Sequence,
}

/// A seat's part in a batch.
struct Flight {
    seat: usize,
    tokens: usize,
    /// Tokens with logits.
    rows: usize,
    /// What is known of the text is computed.
    complete: bool,
}

impl Group {
    /// Refuses what is wrong with the list. What is wrong with one of the requests only ends that one.
    pub(super) fn new(leader: &mut Leader, request: Request, model: &Model) -> Result<Group> {
        request.validate_together()?;
        let mut waiting = VecDeque::new();
        for (index, request) in request.together.into_iter().enumerate() {
            match leader.ask(request) {
                Ok(asked) => waiting.push_back((index, asked)),
                Err(error) => leader.outputs.push_back(failed(index, error)),
            }
        }
        let shared = shared_tokens(&waiting);
        let cache = &model.state.seats.own.cache;
        let page = PAGE * cache.bytes_per_token();
        let state = model.state.seats.state_bytes();
        if let (true, Some((_, first))) = (shared > 0, waiting.front()) {
            leader.main.timeline.begin_shared(first.prompt[..shared].to_vec());
        }
        Ok(Group {
            waiting,
            seats: [const { None }; MAX_SEATS],
            shared,
            settled: shared == 0,
            flight: Vec::new(),
            taken: 0,
            memory: Sizes {
                // A single request makes two copies of the recurrent state; here there are none.
                all: cache.capacity().div_ceil(PAGE) * page + 2 * state,
                page,
                state,
            },
        })
    }

    /// Writes the packet of the next batch; false if all is done.
    pub(super) fn announce(&mut self, leader: &mut Leader, packet: &mut [f32]) -> bool {
        self.flight.clear();
        if self.shared > 0 && !leader.main.timeline.is_complete() {
            let (tokens, batch) = leader.main.timeline.next(&[], false, MAX_BATCH);
            packet::write(packet, &Packet::alone(tokens, batch, Vec::new()));
            return true;
        }
        self.admit(leader);
        let batch = self.batch(leader);
        if batch.parts.is_empty() {
            return false;
        }
        packet::write(packet, &batch);
        true
    }

    /// The next batch: its tokens, whose they are, and the only logits wanted, if that are not all. Those with the least to compute come
    /// first: while one text's prompt is read, the others go on with their answers.
    fn batch(&mut self, leader: &mut Leader) -> Packet {
        let (mut tokens, mut parts) = (Vec::new(), Vec::new());
        let (mut rows, mut all_rows, mut logits) = (Vec::new(), false, 0);
        let mut order: Vec<usize> = (0..MAX_SEATS)
            .filter(|seat| self.seats[*seat].is_some())
            .collect();
        order.sort_by_key(|seat| {
            self.seats[*seat]
                .as_ref()
                .map(|seat| (seat.sequence.ahead().0, seat.age))
        });
        for seat in order {
            let room = MAX_BATCH - tokens.len();
            let Some((ahead, some)) = self.seats[seat].as_ref().map(|seat| seat.sequence.ahead()) else {
                continue;
            };
            if room < ahead.min(MAX_DRAFT_BATCH) || logits > 0 && logits + some > MOST_LOGITS {
                continue;
            }
            if !self.make_room(seat, ahead.min(room), &parts) {
                continue;
            }
            let Some(text) = self.seats[seat].as_mut() else {
                continue;
            };
            let Some((own, mut batch, wanted)) = text.sequence.next(leader.sizes, room) else {
                continue;
            };
            let fork = !text.seated;
            if fork && !self.settled {
                (batch.keep, batch.restore) = leader.main.timeline.settle();
                self.settled = true;
            }
            text.seated = true;
            let count = match batch.logits {
                LogitsFor::None | LogitsFor::Vectors => 0,
                LogitsFor::Last => 1,
                LogitsFor::All => own.len(),
            };
            logits += count;
            all_rows |= count > 0 && wanted.is_empty();
            rows.extend(wanted);
            self.flight.push(Flight {
                seat,
                tokens: own.len(),
                rows: count,
                complete: false,
            });
            parts.push(Part {
                seat: seat + 1,
                fork,
                tokens: own.len(),
                batch,
            });
            tokens.extend(own);
        }
        rows.sort_unstable();
        rows.dedup();
        if all_rows || rows.len() > packet::MAX_ROWS {
            rows.clear();
        }
        if !rows.is_empty() {
            for flight in self.flight.iter().filter(|flight| flight.rows > 0) {
                if let Some(text) = self.seats[flight.seat].as_mut() {
                    text.sequence.skips(leader.sizes.logits - rows.len());
                }
            }
        }
        let taken = (0..MAX_SEATS).filter(|seat| self.seats[*seat].is_some());
        Packet {
            tokens,
            parts,
            rows,
            seats: taken.fold(0, |seats, seat| seats | 1 << seat),
        }
    }

    /// Gives free seats to those who wait, as long as there is memory.
    fn admit(&mut self, leader: &mut Leader) {
        while let Some(seat) = self.seats.iter().position(Option::is_none) {
            let Some((_, next)) = self.waiting.front() else {
                return;
            };
            let none = self.seats.iter().all(Option::is_none);
            let needs = self.memory.state + self.own_pages(next.prompt.len() + 1) * self.memory.page;
            // Those that have a seat will need room for all that is known of them.
            let taken = self.bytes(|timeline| timeline.cached() + timeline.left() + 1);
            if !none && taken + needs > self.memory.all {
                return;
            }
            let Some((index, asked)) = self.waiting.pop_front() else {
                return;
            };
            let begun = leader.prepare(&asked).and_then(|mut prepared| {
                // Guesses are verified together with what would have been computed alone. Here nothing is.
                (prepared.lookup, prepared.prediction) = (None, None);
                let timeline = match self.shared {
                    0 => Timeline::new(self.memory.state > 0).fork(0),
                    shared => leader.main.timeline.fork(shared),
                };
                let mut sequence = Sequence::new(timeline);
                sequence.begin(prepared, &leader.tokenizer)?;
                Ok(sequence)
            });
            match begun {
                Err(error) => leader.outputs.push_back(failed(index, error)),
                Ok(mut sequence) if sequence.is_finished() => {
                    leader.outputs.push_back(of(index, sequence.take_output()));
                }
                Ok(sequence) => {
                    self.taken += 1;
                    self.seats[seat] = Some(Seat {
                        index,
                        asked,
                        age: self.taken,
                        seated: false,
                        sequence,
                    });
                }
            }
        }
    }

    /// Whether so many tokens more of this seat fit. Those that came last give up their seats for it, unless they have a part in the
    /// batch already.
    fn make_room(&mut self, seat: usize, tokens: usize, parts: &[Part]) -> bool {
        loop {
            let Some(text) = &self.seats[seat] else {
                return false;
            };
            let have = text.sequence.timeline.cached();
            let grows = self.own_pages(have + tokens) - self.own_pages(have);
            if self.used() + grows * self.memory.page <= self.memory.all {
                return true;
            }
            let others = (0..MAX_SEATS).filter(|other| !parts.iter().any(|part| part.seat == other + 1));
            let last = others
                .filter_map(|other| Some((self.seats[other].as_ref()?.age, other)))
                .max();
            let Some((_, last)) = last else { return true };
            // The only one may always go on: alone, it has the whole context.
            if last == seat && self.seats.iter().flatten().count() == 1 {
                return true;
            }
            if let Some(text) = self.seats[last].take() {
                self.waiting.push_front((text.index, text.asked));
            }
        }
    }

    /// Bytes in use.
    fn used(&self) -> usize {
        self.bytes(Timeline::cached)
    }

    /// Bytes of all texts with seats, if each has so many tokens in memory.
    fn bytes(&self, tokens: impl Fn(&Timeline) -> usize) -> usize {
        let texts = self.seats.iter().flatten();
        let own = texts.map(|text| {
            let pages = self.own_pages(tokens(&text.sequence.timeline));
            self.memory.state + pages * self.memory.page
        });
        self.shared.div_ceil(PAGE) * self.memory.page + own.sum::<usize>()
    }

    /// Pages of a text of so many tokens that it does not share with the others.
    fn own_pages(&self, tokens: usize) -> usize {
        tokens.div_ceil(PAGE).saturating_sub(self.shared / PAGE)
    }

    /// The batch on its way is done. True if there are logits to sample from, or vectors to be pooled.
    pub(super) fn batch_done(&mut self, main: &mut Sequence, vectors: &[f32], width: usize) -> bool {
        main.timeline.batch_done();
        let mut from = 0;
        let mut any = false;
        for flight in &mut self.flight {
            let to = from + flight.tokens;
            if let Some(text) = self.seats[flight.seat].as_mut() {
                let own = vectors.get(from * width..to * width).unwrap_or_default();
                flight.complete = text.sequence.batch_done(own, width);
                any |= flight.complete;
            }
            from = to;
        }
        any
    }

    /// Takes the logits of the batch, those of all tokens that want some. What is finished goes to `outputs`.
    pub(super) fn sample(
        &mut self,
        tokenizer: &Tokenizer,
        mut logits: Logits,
        outputs: &mut VecDeque<Output>,
    ) {
        let mut from = 0;
        for flight in &self.flight {
            let to = from + flight.rows;
            let own = logits.part(from..to);
            from = to;
            let Some(text) = self.seats[flight.seat].as_mut().filter(|_| flight.complete) else {
                continue;
            };
            let index = text.index;
            match text.sequence.sample(tokenizer, own) {
                Ok(()) if !text.sequence.is_finished() => continue,
                Ok(()) => outputs.push_back(of(index, text.sequence.take_output())),
                Err(error) => outputs.push_back(failed(index, error)),
            }
            self.seats[flight.seat] = None;
        }
    }
}

/// How many tokens all prompts begin with. The last one of each is not among them: its logits are wanted. None where the vectors of all
/// tokens are.
fn shared_tokens(waiting: &VecDeque<(usize, Asked)>) -> usize {
    let Some((_, first)) = waiting.front() else {
        return 0;
    };
    let same = |(_, asked): &(usize, Asked)| match asked.request.embed {
        true => 0,
        false => {
            let pairs = first.prompt.iter().zip(&asked.prompt[..asked.prompt.len() - 1]);
            pairs.take_while(|(a, b)| a == b).count()
        }
    };
    waiting.iter().map(same).min().unwrap_or(0)
}

fn of(index: usize, output: Output) -> Output {
    Output {
        index: Some(index),
        ..output
    }
}

fn failed(index: usize, error: Error) -> Output {
    Output {
        index: Some(index),
        error: Some(error.into()),
        ..Output::default()
    }
}
