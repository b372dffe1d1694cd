//! The weights of one shard, and how they get here: tensor by tensor in file order, a few MB per step, straight into
//! the layout the kernels read. One copy exists.

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::gguf::{Gguf, TensorInfo};
use crate::kernels::Matrix;
use crate::model::arch::Architecture;
use crate::model::{Hyper, Shard};
use crate::quant;
use crate::source::ByteSource;

/// Bytes read from the source per step of the loader, at most (but always one group of rows). Small enough that a
/// worker hears "cancel" between two steps, large enough that reading is not made of calls.
const STEP_BYTES: usize = 4 << 20;

/// A matrix in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub struct MatrixId(usize);

/// A vector in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub struct VectorId(usize);

/// Handles of the tensors of one layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// `[embedding]`
    pub attention_norm: VectorId,
    /// `[own query heads * key_length, embedding]`, and its bias.
    pub q: Linear,
    /// `[own kv heads * key_length, embedding]`
    pub k: Linear,
    /// `[own kv heads * value_length, embedding]`
    pub v: Linear,
    /// `[key_length]` each, where the architecture has them.
    pub head_norms: Option<(VectorId, VectorId)>,
    /// `[own rows of embedding, query heads * value_length]`
    pub output: Linear,
    /// `[embedding]`
    pub ffn_norm: VectorId,
    /// `[own rows of feed_forward, embedding]`
    pub gate: Linear,
    /// `[own rows of feed_forward, embedding]`
    pub up: Linear,
    /// `[own rows of embedding, feed_forward]`
    pub down: Linear,
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
    /// Factors that divide the rotary frequencies, `[rope_dimensions / 2]`.
    pub rope_factors: Option<VectorId>,
    pending: Vec<Pending>,
    loaded: u64,
    total: u64,
}

/// A tensor on its way in.
struct Pending {
    tensor: TensorInfo,
    /// Rows of the file's tensor still to be read.
    rows: Range<u64>,
    to: Target,
}

#[derive(Clone, Copy)]
enum Target {
    /// The matrix, and its row that comes next.
    Matrix(usize, usize),
    Vector(usize),
}

impl Weights {
    /// Checks that every tensor is there in the right shape, and allocates this shard's part. Nothing is read yet.
    pub fn plan(gguf: &Gguf, hyper: &Hyper, arch: &Architecture, shard: Shard) -> Result<Weights> {
        let mut plan = Plan {
            gguf,
            matrices: Vec::new(),
            vectors: Vec::new(),
            pending: Vec::new(),
        };
        let (width, ff) = (hyper.embedding_length, hyper.feed_forward_length);
        let own = |n: usize| shard.rows(n, shard.index);
        let heads = shard.heads(hyper.head_count_kv, shard.index);
        let (kl, vl, group) = (hyper.key_length, hyper.value_length, hyper.group());
        let head_rows = |n: usize| heads.start * n..heads.end * n;

        let vocabulary = hyper.vocabulary;
        let embedding = plan.matrix("token_embd.weight", vocabulary, width, own(vocabulary))?;
        let mut layers = Vec::new();
        for i in 0..hyper.block_count {
            let name = |part: &str| format!("blk.{i}.{part}");
            let head_norms = if arch.attention.head_norm {
                let q = plan.vector(&name("attn_q_norm.weight"), kl, 0..kl)?;
                Some((q, plan.vector(&name("attn_k_norm.weight"), kl, 0..kl)?))
            } else {
                None
            };
            let q_width = hyper.head_count * kl;
            layers.push(Layer {
                attention_norm: plan.vector(&name("attn_norm.weight"), width, 0..width)?,
                q: plan.linear(&name("attn_q"), q_width, width, head_rows(group * kl))?,
                k: plan.linear(&name("attn_k"), hyper.head_count_kv * kl, width, head_rows(kl))?,
                v: plan.linear(&name("attn_v"), hyper.head_count_kv * vl, width, head_rows(vl))?,
                head_norms,
                output: plan.linear(&name("attn_output"), width, hyper.head_count * vl, own(width))?,
                ffn_norm: plan.vector(&name("ffn_norm.weight"), width, 0..width)?,
                gate: plan.linear(&name("ffn_gate"), ff, width, own(ff))?,
                up: plan.linear(&name("ffn_up"), ff, width, own(ff))?,
                down: plan.linear(&name("ffn_down"), width, ff, own(width))?,
            });
        }
        let output_norm = plan.vector("output_norm.weight", width, 0..width)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => plan.matrix("output.weight", vocabulary, width, own(vocabulary))?,
            None => embedding,
        };
        let half = hyper.rope_dimensions / 2;
        let rope_factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => Some(plan.vector("rope_freqs.weight", half, 0..half)?),
            None => None,
        };

        let Plan {
            matrices,
            vectors,
            mut pending,
            ..
        } = plan;
        pending.sort_by_key(|p| std::cmp::Reverse((p.tensor.part, p.tensor.offset)));
        let total = pending.iter().map(Pending::bytes).sum();
        Ok(Weights {
            matrices,
            vectors,
            layers,
            embedding,
            output_norm,
            output,
            rope_factors,
            pending,
            loaded: 0,
            total,
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
                Target::Vector(_) => left,
            };
            let fits = (budget / row_bytes / granule * granule).max(granule).min(left);
            scratch.resize(fits * row_bytes, 0);
            let source = parts
                .get(next.tensor.part)
                .ok_or_else(|| part_missing(&next.tensor))?;
            let at = next.tensor.offset + next.rows.start * row_bytes as u64;
            let done = (|| {
                source.read_at(at, scratch)?;
                match &mut next.to {
                    Target::Matrix(index, row) => {
                        self.matrices[*index].put_rows(*row, scratch)?;
                        *row += fits;
                    }
                    Target::Vector(index) => {
                        quant::dequantize(next.tensor.ty, scratch, &mut self.vectors[*index])?
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

    /// Bytes these weights take in memory.
    pub fn bytes(&self) -> usize {
        let vectors: usize = self.vectors.iter().map(|v| v.len() * 4).sum();
        self.matrices.iter().map(Matrix::bytes).sum::<usize>() + vectors
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
            Target::Vector(_) => 1,
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

/// The tensors asked for so far.
struct Plan<'a> {
    gguf: &'a Gguf,
    matrices: Vec<Matrix>,
    vectors: Vec<Vec<f32>>,
    pending: Vec<Pending>,
}

impl Plan<'_> {
    fn find(&self, name: &str, rows: usize, cols: usize) -> Result<&TensorInfo> {
        let tensor = self
            .gguf
            .tensor(name)
            .ok_or_else(|| Error::new(Kind::MalformedFile, format!("tensor {name} is missing")))?;
        if tensor.rows() != rows as u64 || tensor.cols() != cols as u64 {
            return Err(Error::new(
                Kind::MalformedFile,
                format!(
                    "{name} is {} x {}, but the metadata asks for {rows} x {cols} (rows x columns)",
                    tensor.rows(),
                    tensor.cols()
                ),
            ));
        }
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize, own: Range<usize>) -> Result<MatrixId> {
        let tensor = self.find(name, rows, cols)?.clone();
        let matrix = Matrix::new(tensor.ty, own.len(), cols).map_err(|e| e.at(name))?;
        let index = self.matrices.len();
        self.matrices.push(matrix);
        if !own.is_empty() {
            let rows = own.start as u64..own.end as u64;
            self.pending.push(Pending {
                tensor,
                rows,
                to: Target::Matrix(index, 0),
            });
        }
        Ok(MatrixId(index))
    }

    fn vector(&mut self, name: &str, len: usize, own: Range<usize>) -> Result<VectorId> {
        let tensor = self.find(name, 1, len)?.clone();
        if tensor.ty.block_len() != 1 {
            return Err(Error::new(
                Kind::UnsupportedQuantization,
                format!(
                    "{name} is of type {}; vectors must be F32, F16 or BF16",
                    tensor.ty.name()
                ),
            ));
        }
        let index = self.vectors.len();
        let mut vector = Vec::new();
        vector
            .try_reserve_exact(own.len())
            .map_err(|_| out_of_memory(name, own.len() * 4))?;
        vector.resize(own.len(), 0.0);
        self.vectors.push(vector);
        if !own.is_empty() {
            let rows = own.start as u64..own.end as u64;
            self.pending.push(Pending {
                tensor,
                rows,
                to: Target::Vector(index),
            });
        }
        Ok(VectorId(index))
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize, own: Range<usize>) -> Result<Linear> {
        let bias = format!("{name}.bias");
        let bias = match self.gguf.tensor(&bias) {
            Some(_) => Some(self.vector(&bias, rows, own.clone())?),
            None => None,
        };
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), rows, cols, own)?,
            bias,
        })
    }
}

fn part_missing(tensor: &TensorInfo) -> Error {
    Error::new(
        Kind::InvalidArgument,
        format!("{} is in part {} of the model", tensor.name, tensor.part + 1),
    )
}

fn out_of_memory(name: &str, bytes: usize) -> Error {
    Error::new(
        Kind::OutOfMemory,
        format!("{name}: {bytes} bytes could not be allocated"),
    )
}
