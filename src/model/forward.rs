//! The only layer loop: a resumable program that stops at exchange points (and, in long computations, in between, so that
//! its worker can hear "cancel").
//!
//! A batch of tokens goes through: embedding, then per layer attention, attention output, gate-up and down, then the
//! logits. After each of these stages every shard holds its slice of an activation, and [`Forward::step`] returns
//! [`Step::Exchange`]; the caller delivers the slices and steps on. A single shard never exchanges.

use crate::error::{Error, Kind, Result};
use crate::kernels::rope::RopeTable;
use crate::model::{MAX_BATCH, Model};

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
    Layer(usize, Stage),
    Output,
    TakeLogits,
    Done,
}

/// The stages of a layer, one for each exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Attend,
    AttentionOutput,
    GateUp,
    Down,
}

/// One batch on its way through the model.
#[derive(Debug)]
pub struct Forward {
    tokens: Vec<u32>,
    /// Position of the first token.
    first: usize,
    logits: LogitsFor,
    at: At,
    /// Multiply-adds since the last return.
    work: u64,
}

impl Forward {
    /// Begins a batch of 1 to [`MAX_BATCH`] tokens at position `first`; everything before it is in the cache.
    pub fn begin(model: &mut Model, tokens: &[u32], first: usize, logits: LogitsFor) -> Result<Forward> {
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
        model.state.cache.reserve(first + tokens.len())?;
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
            first,
            logits,
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

    /// Computes one stage, and says which exchange its result needs.
    fn compute(&mut self, model: &mut Model) -> Option<Exchange> {
        let tokens = self.tokens.len();
        let last = model.hyper.block_count - 1;
        let (next, exchange) = match self.at {
            At::Embed => {
                model.embed(&self.tokens);
                (At::TakeEmbedding, Some(Exchange::AllGather))
            }
            At::TakeEmbedding => {
                model.take_embedding(&self.tokens);
                (At::Layer(0, Stage::Attend), None)
            }
            At::Layer(layer, stage) => {
                let gathered = Some(Exchange::AllGather);
                let next = match stage {
                    Stage::Attend => {
                        if layer > 0 {
                            model.add_gathered(tokens);
                        }
                        model.attend(layer, self.first, tokens);
                        At::Layer(layer, Stage::AttentionOutput)
                    }
                    Stage::AttentionOutput => {
                        model.attention_output(layer, tokens);
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
                            At::Layer(layer + 1, Stage::Attend)
                        }
                    }
                };
                self.work += work(model, stage) * tokens as u64;
                (next, gathered)
            }
            At::Output => {
                model.add_gathered(tokens);
                match self.logits_from() {
                    None => (At::Done, None),
                    Some(from) => {
                        model.output(from, tokens);
                        (At::TakeLogits, Some(Exchange::ToLeader))
                    }
                }
            }
            At::TakeLogits => {
                if let (true, Some(from)) = (model.shard.is_leader(), self.logits_from()) {
                    model.take_logits(tokens - from);
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
        match self.logits {
            LogitsFor::None => None,
            LogitsFor::Last => Some(self.tokens.len() - 1),
            LogitsFor::All => Some(0),
        }
    }
}

/// Multiply-adds of one token in one stage of one layer, about.
fn work(model: &Model, stage: Stage) -> u64 {
    let hyper = &model.hyper;
    let heads = hyper.head_count * hyper.value_length;
    let (rows, cols) = match stage {
        Stage::Attend => (
            heads + hyper.head_count_kv * (hyper.key_length + hyper.value_length),
            hyper.embedding_length,
        ),
        Stage::AttentionOutput => (hyper.embedding_length, heads),
        Stage::GateUp => (2 * hyper.feed_forward_length, hyper.embedding_length),
        Stage::Down => (hyper.embedding_length, hyper.feed_forward_length),
    };
    (rows * cols / model.shard.count) as u64
}

impl Model {
    /// A shard's slice of the activation being exchanged: the own one is to be sent, the others are to be filled.
    pub fn exchange_slice(&mut self, shard: usize) -> &mut [f32] {
        self.state.gather.slice_mut(shard)
    }
}
