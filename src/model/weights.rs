//! The weights of one shard, and how they get here: tensor by tensor in file order, a few MB per step, straight into
//! the layout the kernels read. One copy exists.

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::gguf::{Gguf, TensorInfo};
use crate::kernels::Matrix;
use crate::model::arch::Architecture;
use crate::model::hyper::Hyper;
use crate::model::plan::Plan;
use crate::model::prediction;
use crate::model::shard::Shard;
use crate::quant;
use crate::source::{ByteSource, block_sum};

/// Bytes read from the source per step of the loader, at most (but always one group of rows). Small enough that a
/// worker hears "cancel" between two steps, large enough that reading is not made of calls.
const STEP_BYTES: usize = 4 << 20;

/// Bytes of each tensor's first row that tell weights from others.
const IDENTITY_BYTES: usize = 64;

/// A matrix in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub struct MatrixId(pub(super) usize);

/// A vector in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub struct VectorId(pub(super) usize);

/// Handles of the tensors of one layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// `[embedding]`
    pub mixer_norm: VectorId,
    /// What lets tokens see one another.
    pub mixer: Mixer,
    /// `[own rows of embedding, mixer's width]`
    pub output: Linear,
    /// `[embedding]`
    pub ffn_norm: VectorId,
    /// What each token goes through alone.
    pub ffn: FeedForward,
}

/// Attention or a gated delta net, and its place among those of its kind: in the KV cache, or in the recurrent state.
#[derive(Debug, Clone)]
pub enum Mixer {
    /// Softmax attention.
    Attention(usize, Attention),
    /// A gated delta net.
    DeltaNet(usize, DeltaNet),
}

/// Handles of an attention block.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// `[own query heads * key_length, embedding]`; with an output gate, the rows of each head are followed by those of its
    /// gate.
    pub q: Linear,
    /// `[own kv heads * key_length, embedding]`
    pub k: Linear,
    /// `[own kv heads * value_length, embedding]`
    pub v: Linear,
    /// `[key_length]` each, where the architecture has them.
    pub head_norms: Option<(VectorId, VectorId)>,
}

/// Handles of a gated delta net.
#[derive(Debug, Clone, Copy)]
pub struct DeltaNet {
    /// Queries, keys and values of the own heads, before the convolution: `[own channels, embedding]`.
    pub qkv: Linear,
    /// The gate on the output: `[own value heads * head_length, embedding]`.
    pub z: Linear,
    /// Of which the decay is made: `[own value heads, embedding]`.
    pub alpha: Linear,
    /// How much is written: `[own value heads, embedding]`.
    pub beta: Linear,
    /// `[own channels, CONV_TAPS]`, the newest token last.
    pub conv: VectorId,
    /// `-exp(A)`: `[own value heads]`.
    pub a: VectorId,
    /// `[own value heads]`
    pub dt: VectorId,
    /// `[head_length]`
    pub norm: VectorId,
}

/// A feed-forward block.
#[derive(Debug, Clone)]
pub enum FeedForward {
    /// One for all tokens.
    Dense(Swiglu),
    /// A mixture of experts.
    Experts {
        /// `[experts, embedding]`, whole on every shard.
        router: Linear,
        /// The experts.
        experts: Vec<Swiglu>,
        /// The expert of every token, and the row whose product says how much of it is added.
        shared: Option<(Swiglu, Linear)>,
    },
}

/// `down(silu(gate x) * up x)` (Shazeer, 2020).
#[derive(Debug, Clone, Copy)]
pub struct Swiglu {
    /// `[own rows of feed_forward, embedding]`
    pub gate: Linear,
    /// `[own rows of feed_forward, embedding]`
    pub up: Linear,
    /// `[own rows of embedding, feed_forward]`
    pub down: Linear,
}

/// Handles of the block that predicts further tokens, besides those of its layer: see [`crate::model::prediction`].
#[derive(Debug, Clone, Copy)]
pub struct Prediction {
    /// `[own rows of vocabulary, embedding]`; the model's own unless the block has one.
    pub embedding: MatrixId,
    /// Of a token's embedding: `[embedding]`.
    pub token_norm: VectorId,
    /// Of what the layers made of the token before: `[embedding]`.
    pub state_norm: VectorId,
    /// Both of them to the layer's input: `[own rows of embedding, 2 * embedding]`.
    pub join: Linear,
    /// `[embedding]`; the model's own unless the block has one.
    pub norm: VectorId,
    /// The first rows of the output matrix: `[own rows of those, embedding]`.
    pub output: MatrixId,
    /// How many they are, on all shards.
    pub rows: usize,
}

/// A matrix and the bias added to its product, if the file has one.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// The weights.
    pub matrix: MatrixId,
    /// As long as the matrix has rows.
    pub bias: Option<VectorId>,
}

/// All tensors of one shard.
pub struct Weights {
    matrices: Vec<Matrix>,
    vectors: Vec<Vec<f32>>,
    /// Handles, layer by layer.
    pub layers: Vec<Layer>,
    /// `[own rows of vocabulary, embedding]`
    pub embedding: MatrixId,
    /// `[embedding]`
    pub output_norm: VectorId,
    /// `[own rows of vocabulary, embedding]`; the embedding itself where the two are tied.
    pub output: MatrixId,
    /// What the block that predicts further tokens has besides its layer, the last one.
    pub prediction: Option<Prediction>,
    /// Factors that divide the rotary frequencies, `[rope_dimensions / 2]`.
    pub rope_factors: Option<VectorId>,
    pending: Vec<Pending>,
    loaded: u64,
    total: u64,
    /// Of the first bytes of every piece: see [`Weights::identity`].
    identity: u64,
    /// Bytes of matrices that were only measured.
    absent: u64,
}

/// Rows of a tensor on their way in.
pub(super) struct Pending {
    pub(super) tensor: TensorInfo,
    /// Rows of the file's tensor still to be read.
    pub(super) rows: Range<u64>,
    pub(super) to: Target,
    /// Nothing of it has been read yet.
    pub(super) is_whole: bool,
    /// It takes part in [`Weights::identity`].
    pub(super) identifies: bool,
}

/// Where rows go.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// The matrix, and its row that comes next.
    Matrix(usize, usize),
    /// The vector, and its element that comes next.
    Vector(usize, usize),
}

impl Weights {
    /// Checks that every tensor is there in the right shape, and allocates this shard's part. Nothing is read yet. `predict`: with
    /// the block that predicts further tokens, if the file has one; it follows the layers in [`Weights::layers`]. With
    /// `sizes_only` the matrices stay empty: [`Weights::bytes`] says what they would take.
    pub fn plan(
        gguf: &Gguf,
        hyper: &Hyper,
        arch: &Architecture,
        shard: Shard,
        predict: bool,
        sizes_only: bool,
    ) -> Result<Weights> {
        let mut plan = Plan::new(gguf, sizes_only);
        let width = hyper.embedding_length;
        let vocabulary = hyper.vocabulary;
        let embedding = plan.matrix("token_embd.weight", vocabulary, width, &[shard.own(vocabulary)])?;
        let (mut layers, mut kinds) = (Vec::new(), [0, 0]);
        for i in 0..hyper.block_count {
            let kind = &mut kinds[usize::from(hyper.net_of(i).is_some())];
            layers.push(plan.layer(i, *kind, hyper, arch, shard)?);
            *kind += 1;
        }
        let output_norm = plan.vector("output_norm.weight", width)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => plan.matrix("output.weight", vocabulary, width, &[shard.own(vocabulary)])?,
            None => embedding,
        };
        let half = hyper.rope_dimensions / 2;
        let rope_factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => Some(plan.vector("rope_freqs.weight", half)?),
            None => None,
        };
        let prediction = match predict && prediction::is_there(gguf, hyper) {
            true => {
                plan.identifies = false;
                layers.push(plan.layer(hyper.block_count, kinds[0], hyper, arch, shard)?);
                Some(plan.prediction(hyper, shard, embedding, output_norm)?)
            }
            false => None,
        };

        let Plan {
            matrices,
            vectors,
            mut pending,
            absent,
            ..
        } = plan;
        pending.sort_by_key(|p| std::cmp::Reverse((p.tensor.part, p.tensor.offset, p.rows.start)));
        let total = pending.iter().map(Pending::bytes).sum();
        Ok(Weights {
            matrices,
            vectors,
            layers,
            embedding,
            output_norm,
            output,
            prediction,
            rope_factors,
            pending,
            loaded: 0,
            total,
            identity: 0,
            absent: absent.unwrap_or(0),
        })
    }

    /// Reads the next few MB from `parts` (one source per file of the model). True once everything is here.
    pub fn load_step(&mut self, parts: &[&dyn ByteSource], scratch: &mut Vec<u8>) -> Result<bool> {
        let mut budget = STEP_BYTES;
        while let Some(next) = self.pending.last_mut() {
            let row_bytes = next.row_bytes()?;
            let left = (next.rows.end - next.rows.start) as usize;
            let granule = match next.to {
                Target::Matrix(index, _) => Matrix::group_rows(self.matrices[index].ty()),
                Target::Vector(..) => left,
            };
            let fits = (budget / row_bytes / granule * granule).max(granule).min(left);
            scratch.reserve_exact((fits * row_bytes).saturating_sub(scratch.len()));
            scratch.resize(fits * row_bytes, 0);
            let source = parts
                .get(next.tensor.part)
                .ok_or_else(|| part_missing(&next.tensor))?;
            let at = next.tensor.offset + next.rows.start * row_bytes as u64;
            let done = (|| {
                source.read_at(at, scratch)?;
                if next.is_whole && next.identifies {
                    let sample = &scratch[..row_bytes.min(IDENTITY_BYTES)];
                    self.identity = self.identity.rotate_left(7) ^ block_sum(sample);
                }
                next.is_whole = false;
                match &mut next.to {
                    Target::Matrix(index, row) => {
                        self.matrices[*index].put_rows(*row, scratch)?;
                        *row += fits;
                    }
                    Target::Vector(index, at) => {
                        let to = &mut self.vectors[*index][*at..][..fits];
                        quant::dequantize(next.tensor.ty, scratch, to)?;
                        *at += fits;
                    }
                }
                Ok(())
            })();
            done.map_err(|e: Error| e.at(&next.tensor.name))?;
            next.rows.start += fits as u64;
            self.loaded += (fits * row_bytes) as u64;
            if next.rows.is_empty() {
                self.pending.pop();
            }
            budget = budget.saturating_sub(fits * row_bytes);
            if budget == 0 {
                break;
            }
        }
        Ok(self.pending.is_empty())
    }

    /// Bytes of the file read so far, and to be read in all, by this shard.
    pub fn progress(&self) -> (u64, u64) {
        (self.loaded, self.total)
    }

    /// True once [`Weights::load_step`] has nothing left to do.
    pub fn is_loaded(&self) -> bool {
        self.pending.is_empty()
    }

    /// A number that other weights do not have, unless by chance: made of the first bytes of this shard's part of each tensor.
    /// The leader's is the same for any number of shards: it owns the first rows of all.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Bytes these weights take in memory.
    pub fn bytes(&self) -> u64 {
        let vectors: usize = self.vectors.iter().map(|v| v.len() * 4).sum();
        self.matrices.iter().map(Matrix::bytes).sum::<usize>() as u64 + vectors as u64 + self.absent
    }

    /// The matrix of a handle.
    pub fn matrix(&self, id: MatrixId) -> &Matrix {
        &self.matrices[id.0]
    }

    /// The vector of a handle.
    pub fn vector(&self, id: VectorId) -> &[f32] {
        &self.vectors[id.0]
    }
}

impl Pending {
    /// Bytes of one row in the file. A vector counts as rows of one element.
    fn row_bytes(&self) -> Result<usize> {
        let elements = match self.to {
            Target::Matrix(..) => self.tensor.cols(),
            Target::Vector(..) => 1,
        };
        let bytes = self
            .tensor
            .ty
            .row_bytes(elements)
            .and_then(|n| usize::try_from(n).ok());
        bytes.filter(|n| *n > 0).ok_or_else(|| {
            Error::new(
                Kind::MalformedFile,
                format!("{}: a row of {elements} elements", self.tensor.name),
            )
        })
    }

    fn bytes(&self) -> u64 {
        self.row_bytes().unwrap_or(0) as u64 * (self.rows.end - self.rows.start)
    }
}

fn part_missing(tensor: &TensorInfo) -> Error {
    Error::new(
        Kind::InvalidArgument,
        format!("{} is in part {} of the model", tensor.name, tensor.part + 1),
    )
}
