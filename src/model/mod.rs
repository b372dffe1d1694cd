//! Hyper-parameters, weights, what is remembered (KV cache and recurrent state), and the forward pass. May import: `error`, `source`, `quant`, `gguf`, `kernels`.
//!
//! What a model *is* ([`Hyper`], [`Weights`]), what it remembers ([`State`]), and how it computes ([`forward`]) are kept
//! apart: weights are read-only after loading, and a state can be thrown away without them.

pub mod arch;
mod blocks;
mod delta_net;
mod experts;
pub mod forward;
mod gather;
pub mod hyper;
mod logits;
mod memory;
mod plan;
mod prediction;
pub mod recurrent;
mod saved;
mod shard;
mod weights;

pub use forward::{Batch, Exchange, Forward, LogitsFor, Mark, Part, Step};
pub use hyper::Hyper;
pub use logits::Logits;
pub use memory::{MAX_SEATS, Memory, Seats};
pub use recurrent::{MAX_DRAFT_BATCH, Recurrent};
pub use saved::{Loaded, Saving};
pub use shard::{MAX_SHARDS, Shard};
pub use weights::Weights;

use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::kernels::attention;
use crate::kernels::cache::{KvCache, KvType};
use crate::kernels::rope::RopeTable;
use crate::kernels::{Activations, Form};
use arch::Architecture;
use gather::Gather;

/// Most tokens computed in one batch.
pub const MAX_BATCH: usize = 128;

/// Context length where the caller names none: enough for a chat, small enough for any machine.
pub const DEFAULT_CONTEXT: usize = 4096;

/// What the caller chooses when a model is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which part of the model this is.
    pub shard: Shard,
    /// Most tokens remembered; the smaller of the model's own and [`DEFAULT_CONTEXT`] if `None`.
    pub context_length: Option<usize>,
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// The form of the activations for the matrices that have a kernel for it; the best of this build if `None`. Values
    /// (the matrix V of attention) in a format with blocks of 32 have [`Form::I16`] in any case.
    pub activations: Option<Form>,
    /// With the block that predicts further tokens, where the file has one: its weights are loaded, and it makes drafts.
    pub predict: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            shard: Shard::WHOLE,
            context_length: None,
            kv_type: KvType::default(),
            activations: None,
            predict: false,
        }
    }
}

/// One shard of a model: its description, its weights and its state.
pub struct Model {
    /// Numbers of the whole model.
    pub hyper: Hyper,
    /// Which part of it this is.
    pub shard: Shard,
    /// This shard's weights.
    pub weights: Weights,
    /// What this shard remembers, and its buffers.
    pub state: State,
    arch: &'static Architecture,
}

/// The memory of a running model: the KV cache and every buffer of the forward pass, allocated once.
pub struct State {
    /// What is remembered of the texts in use.
    pub seats: Seats,
    /// Residual stream, `[MAX_BATCH, embedding]`.
    x: Vec<f32>,
    /// Final vectors of the last batch for the block that predicts further tokens: `[MAX_BATCH, embedding]`, or nothing.
    kept: Vec<f32>,
    /// The input of the next matrices.
    input: Activations,
    /// See [`Options::activations`].
    form: Option<Form>,
    /// For whichever half of a layer is computed; each [carves](carve) its own buffers out of it.
    room: Vec<f32>,
    delta_net: delta_net::Buffers,
    experts: experts::Buffers,
    gather: Gather,
    /// `None` until the weights that it may depend on are loaded.
    rope: Option<RopeTable>,
    attention: attention::Scratch,
    /// The logits that were asked for, which lie where they were gathered; on the leader only.
    taken: logits::Taken,
    /// One row of them.
    joined: Vec<f32>,
    /// The tokens whose logits are wanted, ascending; empty for all.
    rows: Vec<usize>,
    /// Final vectors asked for: `[tokens, embedding]`; on the leader only.
    vectors: Vec<f32>,
}

impl Model {
    /// The form of the activations for matrices of up to six bits.
    pub fn form(&self) -> Form {
        self.state.form.unwrap_or(Form::of_this_build())
    }

    /// From the next batch on: see [`Options::activations`].
    pub fn use_form(&mut self, form: Option<Form>) {
        self.state.form = form;
    }

    /// Checks the file against its architecture and allocates this shard's weights and buffers. Then
    /// [`Weights::load_step`] brings the weights in.
    pub fn new(gguf: &Gguf, options: &Options) -> Result<Model> {
        Model::build(gguf, options, false)
    }

    /// A model without its matrices, to ask it for sizes and nothing else.
    pub(crate) fn sizes(gguf: &Gguf, options: &Options) -> Result<Model> {
        Model::build(gguf, options, true)
    }

    fn build(gguf: &Gguf, options: &Options, sizes_only: bool) -> Result<Model> {
        let (hyper, arch) = Hyper::read(gguf)?;
        let shard = options.shard;
        let capacity = match options.context_length {
            None => hyper.context_length.min(DEFAULT_CONTEXT),
            Some(n) if (1..=hyper.context_length).contains(&n) => n,
            Some(n) => {
                return Err(Error::new(
                    Kind::InvalidArgument,
                    format!(
                        "a context of {n} tokens: this model was trained for 1 to {}",
                        hyper.context_length
                    ),
                ));
            }
        };
        let weights = Weights::plan(gguf, &hyper, arch, shard, options.predict, sizes_only)?;
        let predicts = weights.prediction.is_some();
        let mut state = State::new(&hyper, arch, shard, options.kv_type, capacity, predicts)?;
        state.form = options.activations;
        Ok(Model {
            hyper,
            shard,
            weights,
            state,
            arch,
        })
    }
}

impl State {
    fn new(
        hyper: &Hyper,
        arch: &Architecture,
        shard: Shard,
        kv_type: KvType,
        capacity: usize,
        predicts: bool,
    ) -> Result<State> {
        let heads = shard.heads(hyper.head_count_kv, shard.index).len();
        let ff = shard.own(hyper.feed_forward_length).len();
        let (width, kl, vl) = (hyper.embedding_length, hyper.key_length, hyper.value_length);
        let value_width = hyper.delta_net.map_or(0, |net| net.value_width());
        let widest = width
            .max(if predicts { 2 * width } else { 0 })
            .max(hyper.feed_forward_length)
            .max(hyper.head_count * vl)
            .max(value_width);
        let attention_layers = hyper.attention_layers() + usize::from(predicts);
        let buffer = |width: usize| zeros(MAX_BATCH * width);
        let recurrent = Recurrent::new(hyper, shard)?;
        let q_width = heads * hyper.group() * kl;
        let gated_width = if arch.attention.gate { 2 * q_width } else { 0 };
        let attention_width = q_width + gated_width + heads * (kl + vl);
        let ff_width = if hyper.experts.is_some() { 0 } else { 2 * ff };
        let room = (MAX_BATCH * attention_width.max(ff_width)).max(delta_net::room(recurrent.shape()));
        let cache = KvCache::new(kv_type, attention_layers, heads, kl, vl, capacity);
        Ok(State {
            x: buffer(width)?,
            kept: buffer(if predicts { width } else { 0 })?,
            input: Activations::new(MAX_BATCH, widest)?,
            form: None,
            room: zeros(room)?,
            delta_net: delta_net::Buffers::new(recurrent.shape())?,
            experts: experts::Buffers::new(hyper, shard)?,
            seats: Seats::new(Memory { cache, recurrent }),
            gather: Gather::new(shard.count),
            rope: None,
            attention: attention::Scratch::default(),
            taken: logits::Taken::default(),
            joined: Vec::new(),
            rows: Vec::new(),
            vectors: Vec::new(),
        })
    }

    /// Bytes of the buffers, without the KV cache; those that grow with use are not in it.
    pub fn buffer_bytes(&self) -> usize {
        let own = [&self.x, &self.kept, &self.room].into_iter();
        let floats = own.chain(self.delta_net.all());
        floats.map(|buffer| buffer.len() * 4).sum::<usize>() + self.input.most_bytes() + self.experts.bytes()
    }

    /// What the output matrix would be applied to, of the tokens of the last forward pass that asked for it:
    /// `[tokens, embedding]`, on the leader.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// From the next batch on, only the logits of these tokens are computed: ascending, and the same for all shards. None of them
    /// for all.
    pub fn want_rows(&mut self, rows: impl Iterator<Item = u32>) {
        self.rows.clear();
        self.rows.extend(rows.map(|id| id as usize));
    }

    /// Logits of the last forward pass if it asked for some, on the leader. The next one takes their memory.
    pub fn logits(&mut self) -> Logits<'_> {
        Logits::new(&self.gather, self.taken, &self.rows, &mut self.joined)
    }
}

/// The first numbers of `room` as buffers of these lengths, with anything in them.
fn carve<const N: usize>(room: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    let mut rest = room;
    lengths.map(|length| {
        let (buffer, others) = std::mem::take(&mut rest).split_at_mut(length);
        rest = others;
        buffer
    })
}

/// Makes a buffer this long, with any numbers in it. One that grows is given back first: both would be in memory otherwise.
fn renew(buffer: &mut Vec<f32>, len: usize) {
    if buffer.capacity() < len {
        *buffer = Vec::new();
        buffer.reserve_exact(len);
    }
    buffer.resize(len, 0.0);
}

/// A buffer of zeros, or the error that there is no memory for it.
fn zeros(len: usize) -> Result<Vec<f32>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| {
        Error::new(
            Kind::OutOfMemory,
            format!("{} bytes could not be allocated", len * 4),
        )
    })?;
    buffer.resize(len, 0.0);
    Ok(buffer)
}
