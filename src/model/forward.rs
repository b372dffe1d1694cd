//! The only layer loop: a resumable program that stops at exchange points (and, in long computations, in between, so that
//! its worker can hear "cancel").
//!
//! A batch of tokens goes through: embedding, then per layer the mixer (attention or a gated delta net), its output, gate-up
//! and down, then the logits. After each of these stages every shard holds its slice of an activation, and [`Forward::step`] returns
//! [`Step::Exchange`]; the caller delivers the slices and steps on. A single shard never exchanges.

use crate::error::{Error, Kind, Result};
use crate::kernels::rope::RopeTable;
use crate::model::logits::Taken;
use crate::model::{MAX_BATCH, MAX_DRAFT_BATCH, Model};

/// Multiply-adds after which a program pauses: a few milliseconds of work on a slow machine.
const WORK_PER_PAUSE: u64 = 40_000_000;

/// Which tokens of a batch get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsFor {
    /// None: the batch is the middle of a prompt.
    None,
    /// The last token.
    Last,
    /// Every token.
    All,
    /// None, but the final vectors of all tokens are kept: [`State::vectors`](crate::model::State::vectors).
    Vectors,
}

/// What a batch is, apart from its tokens, and what becomes of the recurrent state (nothing, in a model without one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Position of the first token.
    pub first: usize,
    /// Which tokens get logits.
    pub logits: LogitsFor,
    /// First of all, this many tokens of the draft batch before are taken into the recurrent state.
    pub keep: usize,
    /// Then the state is replaced by the copy in this slot.
    pub restore: Option<usize>,
    /// Then the state is copied into this slot.
    pub save: Option<usize>,
    /// On its way, the batch copies the state into a slot.
    pub mark: Option<Mark>,
    /// The tokens may be the wrong ones: the recurrent state stays as it is until the next batch says how many to keep. At
    /// most [`MAX_DRAFT_BATCH`](crate::model::MAX_DRAFT_BATCH) tokens.
    pub draft: bool,
    /// The tokens go through the block that predicts further tokens instead of the layers, each with what the batch before
    /// kept: of its first tokens, which they follow one by one, or, if that was such a batch too, of its last token. The
    /// recurrent state has no part in it. Logits are those of the first tokens of the vocabulary. Neither this batch nor the one
    /// before has parts of other texts.
    pub predict: bool,
}

/// A stretch of a batch: tokens that follow one another in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// In whose memory they go on: 0 is the model's own, up to [`MAX_SEATS`](crate::model::MAX_SEATS) others are there.
    pub seat: usize,
    /// First of all, the seat is taken by a text that begins with the first `batch.first` tokens of the one in seat 0, which by
    /// then remembers just those. `batch.keep` and `batch.restore` are about that one then.
    pub fork: bool,
    /// How many.
    pub tokens: usize,
    /// What else is to be said of them.
    pub batch: Batch,
}

impl Part {
    /// A batch of one text, in the model's own memory.
    pub fn alone(tokens: usize, batch: Batch) -> Part {
        Part {
            seat: 0,
            fork: false,
            tokens,
            batch,
        }
    }
}

/// Where a batch copies the recurrent state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Into this slot.
    pub slot: usize,
    /// When it has seen this many tokens of the batch, 1 or more.
    pub tokens: usize,
}

impl Batch {
    /// A batch at this position, and nothing else.
    pub fn at(first: usize, logits: LogitsFor) -> Batch {
        Batch {
            first,
            logits,
            keep: 0,
            restore: None,
            save: None,
            mark: None,
            draft: false,
            predict: false,
        }
    }
}

/// Who needs whose slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Every shard needs all slices.
    AllGather,
    /// All shards need the leader's.
    FromLeader,
    /// The leader needs all slices.
    ToLeader,
}

/// Why [`Forward::step`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Deliver the slices, then step on.
    Exchange(Exchange),
    /// Nothing is needed; step on when convenient.
    Pause,
    /// The batch is done: its keys and values are in the cache, its logits (if any) on the leader.
    Done,
}

/// Where a program is: the stage to be computed next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Embed,
    TakeEmbedding,
    /// Of a prediction: what the layers made of the token before joins its embedding.
    Join,
    TakeJoined,
    Layer(usize, Stage),
    Output,
    TakeLogits,
    Done,
}

/// The stages of a layer, one for each exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Mix,
    MixOutput,
    GateUp,
    Down,
}

/// One batch on its way through the model.
#[derive(Debug)]
pub struct Forward {
    tokens: Vec<u32>,
    parts: Vec<Part>,
    /// They go through the block that predicts further tokens: there is one part then.
    predict: bool,
    /// The tokens of the batch that get logits.
    wanted: Vec<usize>,
    at: At,
    /// Multiply-adds since the last return.
    work: u64,
}

impl Forward {
    /// Begins a batch of 1 to [`MAX_BATCH`] tokens of one text; everything before it is in the cache, and in the recurrent state.
    pub fn begin(model: &mut Model, tokens: &[u32], batch: Batch) -> Result<Forward> {
        Forward::together(model, tokens, &[Part::alone(tokens.len(), batch)])
    }

    /// Begins a batch of stretches of several texts, each in a seat of its own. The result for each is the same, to the bit, as if
    /// it were computed alone.
    pub fn together(model: &mut Model, tokens: &[u32], parts: &[Part]) -> Result<Forward> {
        if tokens.is_empty() || tokens.len() > MAX_BATCH {
            return Err(invalid(format!(
                "a batch of {} tokens: expected 1 to {MAX_BATCH}",
                tokens.len()
            )));
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= model.hyper.vocabulary) {
            return Err(invalid(format!(
                "token id {id}: the model has {} tokens",
                model.hyper.vocabulary
            )));
        }
        if !model.weights.is_loaded() {
            return Err(invalid("the weights are not loaded yet"));
        }
        let counts = parts.iter().map(|part| part.tokens);
        if parts.iter().any(|part| part.tokens == 0) || counts.sum::<usize>() != tokens.len() {
            return Err(invalid("the parts of a batch are not the whole"));
        }
        if let Some(draft) = parts
            .iter()
            .find(|part| part.batch.draft && part.tokens > MAX_DRAFT_BATCH)
        {
            return Err(invalid(format!(
                "a draft of {} tokens: expected up to {MAX_DRAFT_BATCH}",
                draft.tokens
            )));
        }
        let predict = parts.iter().any(|part| part.batch.predict);
        if predict && parts.len() > 1 {
            return Err(invalid("further tokens are predicted for one text at a time"));
        }
        if predict && model.weights.prediction.is_none() {
            return Err(invalid("the block that predicts further tokens is not loaded"));
        }
        let (mut parts, mut wanted) = (parts.to_vec(), Vec::new());
        let mut from = 0;
        for part in &mut parts {
            model.take_seat(part)?;
            let state = &mut model.state;
            if let Some(memory) = state.seats.get_mut(part.seat) {
                memory.cache.reserve(part.batch.first + part.tokens)?;
                if !predict {
                    memory.recurrent.begin(part.tokens, &part.batch)?;
                }
            }
            let hyper = &model.hyper;
            let factors = model.weights.rope_factors.map(|id| model.weights.vector(id));
            let rope = state.rope.get_or_insert_with(|| {
                RopeTable::new(
                    hyper.rope_dimensions,
                    hyper.rope_base,
                    hyper.rope_scale,
                    factors,
                    MAX_BATCH,
                )
            });
            rope.at(from, part.batch.first, part.tokens);
            let to = from + part.tokens;
            match part.batch.logits {
                LogitsFor::None | LogitsFor::Vectors => {}
                LogitsFor::Last => wanted.push(to - 1),
                LogitsFor::All => wanted.extend(from..to),
            }
            from = to;
        }
        model.state.taken = Taken::default();
        Ok(Forward {
            tokens: tokens.to_vec(),
            parts,
            predict,
            wanted,
            at: At::Embed,
            work: 0,
        })
    }

    /// Computes until something is needed.
    pub fn step(&mut self, model: &mut Model) -> Step {
        loop {
            let exchange = self.compute(model);
            if self.at == At::Done {
                return Step::Done;
            }
            if let Some(exchange) = exchange
                && model.shard.count > 1
            {
                self.work = 0;
                return Step::Exchange(exchange);
            }
            if self.work > WORK_PER_PAUSE {
                self.work = 0;
                return Step::Pause;
            }
        }
    }

    /// Whether all shards have begun the batch: their slices of the embedding have arrived.
    pub fn is_everywhere(&self) -> bool {
        !matches!(self.at, At::Embed | At::TakeEmbedding)
    }

    /// Computes one stage, and says which exchange its result needs.
    fn compute(&mut self, model: &mut Model) -> Option<Exchange> {
        let tokens = self.tokens.len();
        let (start, last) = match self.predict {
            true => (model.hyper.block_count, model.hyper.block_count),
            false => (0, model.hyper.block_count - 1),
        };
        let (next, exchange) = match self.at {
            At::Embed => {
                model.embed(&self.tokens, self.predict);
                (At::TakeEmbedding, Some(Exchange::AllGather))
            }
            At::TakeEmbedding => {
                model.take_embedding(&self.tokens);
                match self.predict {
                    true => (At::Join, None),
                    false => (At::Layer(start, Stage::Mix), None),
                }
            }
            At::Join => {
                model.join(tokens);
                (At::TakeJoined, Some(Exchange::AllGather))
            }
            At::TakeJoined => {
                model.take_joined(tokens);
                (At::Layer(start, Stage::Mix), None)
            }
            At::Layer(layer, stage) => {
                let gathered = Some(Exchange::AllGather);
                let next = match stage {
                    Stage::Mix => {
                        if layer > start {
                            model.add_gathered(tokens);
                        }
                        model.mix(layer, tokens, &self.parts);
                        // From here on no shard can end the batch before all have come this far.
                        if layer == last && !self.predict {
                            for part in &self.parts {
                                if let Some(memory) = model.state.seats.get_mut(part.seat) {
                                    memory.recurrent.end(part.tokens, &part.batch);
                                }
                            }
                        }
                        At::Layer(layer, Stage::MixOutput)
                    }
                    Stage::MixOutput => {
                        model.mix_output(layer, tokens);
                        At::Layer(layer, Stage::GateUp)
                    }
                    Stage::GateUp => {
                        model.add_gathered(tokens);
                        model.gate_up(layer, tokens);
                        At::Layer(layer, Stage::Down)
                    }
                    Stage::Down => {
                        model.down(layer, tokens);
                        if layer == last {
                            At::Output
                        } else {
                            At::Layer(layer + 1, Stage::Mix)
                        }
                    }
                };
                self.work += work(model, layer, stage) * tokens as u64;
                (next, gathered)
            }
            At::Output => {
                model.add_gathered(tokens);
                model.keep_for_prediction(tokens, self.predict);
                let vectors = |part: &Part| part.batch.logits == LogitsFor::Vectors;
                if model.shard.is_leader() && self.parts.iter().any(vectors) {
                    model.keep_vectors(tokens);
                }
                if self.wanted.is_empty() {
                    (At::Done, None)
                } else {
                    model.output(&self.wanted, self.predict);
                    (At::TakeLogits, Some(Exchange::ToLeader))
                }
            }
            At::TakeLogits => {
                if model.shard.is_leader() {
                    model.take_logits(self.wanted.len(), self.predict);
                }
                (At::Done, None)
            }
            At::Done => (At::Done, None),
        };
        self.at = next;
        exchange
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, message)
}

/// Multiply-adds of one token in one stage of one layer, about.
fn work(model: &Model, layer: usize, stage: Stage) -> u64 {
    let hyper = &model.hyper;
    let width = hyper.embedding_length;
    let net = hyper.net_of(layer);
    let ff = match hyper.experts {
        None => hyper.feed_forward_length,
        Some(experts) => experts.used * experts.feed_forward_length + experts.shared_length,
    };
    let all = match (stage, net) {
        (Stage::Mix, Some(net)) => {
            (net.channels() + net.value_width()) * width + 3 * net.value_width() * net.head_length
        }
        (Stage::Mix, None) => {
            let kv = hyper.head_count_kv * (hyper.key_length + hyper.value_length);
            (hyper.head_count * hyper.key_length + kv) * width
        }
        (Stage::MixOutput, Some(net)) => width * net.value_width(),
        (Stage::MixOutput, None) => width * hyper.head_count * hyper.value_length,
        (Stage::GateUp, _) => 2 * ff * width,
        (Stage::Down, _) => width * ff,
    };
    (all / model.shard.count) as u64
}

impl Model {
    /// A shard's slice of the activation being exchanged: the own one is to be sent, the others that this shard needs are to be filled.
    pub fn exchange_slice(&mut self, shard: usize) -> &mut [f32] {
        self.state.gather.slice_mut(shard)
    }

    /// Numbers in a shard's slice, also in one that this shard does not need.
    pub fn exchange_len(&self, shard: usize) -> usize {
        self.state.gather.len(shard)
    }
}
