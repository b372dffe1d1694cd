//! The only layer loop: a resumable program that stops at exchange points (and, in long computations, in between, so that
//! its worker can hear "cancel").
//!
//! A batch of tokens goes through: embedding, then per layer the mixer (attention or a gated delta net), its output, gate-up
//! and down, then the logits. After each of these stages every shard holds its slice of an activation, and [`Forward::step`] returns
//! [`Step::Exchange`]; the caller delivers the slices and steps on. A single shard never exchanges.

use crate::error::{Error, Kind, Result};
use crate::kernels::rope::RopeTable;
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
    /// recurrent state has no part in it. Logits are those of the first tokens of the vocabulary.
    pub predict: bool,
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
    batch: Batch,
    at: At,
    /// Multiply-adds since the last return.
    work: u64,
}

impl Forward {
    /// Begins a batch of 1 to [`MAX_BATCH`] tokens; everything before it is in the cache, and in the recurrent state.
    pub fn begin(model: &mut Model, tokens: &[u32], batch: Batch) -> Result<Forward> {
        let first = batch.first;
        if tokens.is_empty() || tokens.len() > MAX_BATCH {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("a batch of {} tokens: expected 1 to {MAX_BATCH}", tokens.len()),
            ));
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= model.hyper.vocabulary) {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("token id {id}: the model has {} tokens", model.hyper.vocabulary),
            ));
        }
        if !model.weights.is_loaded() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "the weights are not loaded yet",
            ));
        }
        if batch.draft && tokens.len() > MAX_DRAFT_BATCH {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "a draft of {} tokens: expected up to {MAX_DRAFT_BATCH}",
                    tokens.len()
                ),
            ));
        }
        model.state.cache.reserve(first + tokens.len())?;
        if batch.predict && model.weights.prediction.is_none() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "the block that predicts further tokens is not loaded",
            ));
        }
        if !batch.predict {
            model.state.recurrent.begin(tokens.len(), &batch)?;
        }
        let hyper = &model.hyper;
        let factors = model.weights.rope_factors.map(|id| model.weights.vector(id));
        let rope = model.state.rope.get_or_insert_with(|| {
            RopeTable::new(
                hyper.rope_dimensions,
                hyper.rope_base,
                hyper.rope_scale,
                factors,
                MAX_BATCH,
            )
        });
        rope.at(first, tokens.len());
        Ok(Forward {
            tokens: tokens.to_vec(),
            batch,
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
        let (start, last) = match self.batch.predict {
            true => (model.hyper.block_count, model.hyper.block_count),
            false => (0, model.hyper.block_count - 1),
        };
        let (next, exchange) = match self.at {
            At::Embed => {
                model.embed(&self.tokens, self.batch.predict);
                (At::TakeEmbedding, Some(Exchange::AllGather))
            }
            At::TakeEmbedding => {
                model.take_embedding(&self.tokens);
                match self.batch.predict {
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
                        model.mix(layer, tokens, self.batch);
                        // From here on no shard can end the batch before all have come this far.
                        if layer == last && !self.batch.predict {
                            model.state.recurrent.end(tokens, &self.batch);
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
                model.keep_for_prediction(tokens, self.batch.predict);
                match self.logits_from() {
                    None => {
                        if self.batch.logits == LogitsFor::Vectors && model.shard.is_leader() {
                            model.keep_vectors(tokens);
                        }
                        (At::Done, None)
                    }
                    Some(from) => {
                        model.output(from, tokens, self.batch.predict);
                        (At::TakeLogits, Some(Exchange::ToLeader))
                    }
                }
            }
            At::TakeLogits => {
                if let (true, Some(from)) = (model.shard.is_leader(), self.logits_from()) {
                    model.take_logits(tokens - from, self.batch.predict);
                }
                (At::Done, None)
            }
            At::Done => (At::Done, None),
        };
        self.at = next;
        exchange
    }

    /// The first token of the batch that gets logits.
    fn logits_from(&self) -> Option<usize> {
        match self.batch.logits {
            LogitsFor::None | LogitsFor::Vectors => None,
            LogitsFor::Last => Some(self.tokens.len() - 1),
            LogitsFor::All => Some(0),
        }
    }
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
    /// A shard's slice of the activation being exchanged: the own one is to be sent, the others are to be filled.
    pub fn exchange_slice(&mut self, shard: usize) -> &mut [f32] {
        self.state.gather.slice_mut(shard)
    }
}
