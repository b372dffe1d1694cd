//! Which tensors of the file a shard needs, and which rows of them. Every tensor is checked to be there in the right shape.

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::gguf::{Gguf, TensorInfo};
use crate::kernels::Matrix;
use crate::model::arch::Architecture;
use crate::model::hyper::{self, CONV_TAPS, Hyper};
use crate::model::prediction::PREDICTED;
use crate::model::shard::Shard;
use crate::model::weights::{
    Attention, DeltaNet, FeedForward, Layer, Linear, MatrixId, Mixer, Pending, Prediction, Swiglu, Target,
    VectorId,
};

/// The tensors asked for so far.
pub(super) struct Plan<'a> {
    gguf: &'a Gguf,
    pub(super) matrices: Vec<Matrix>,
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) pending: Vec<Pending>,
    /// When only sizes are wanted: the bytes of the matrices, which then have no rows.
    pub(super) absent: Option<u64>,
    /// What is asked for next tells these weights from others. Not so what a caller may leave out.
    pub(super) identifies: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(gguf: &'a Gguf, sizes_only: bool) -> Plan<'a> {
        Plan {
            gguf,
            absent: sizes_only.then_some(0),
            matrices: Vec::new(),
            vectors: Vec::new(),
            pending: Vec::new(),
            identifies: true,
        }
    }

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

    /// The handles of a layer. `kind`: its place among those of its kind.
    pub(super) fn layer(
        &mut self,
        index: usize,
        kind: usize,
        hyper: &Hyper,
        arch: &Architecture,
        shard: Shard,
    ) -> Result<Layer> {
        let width = hyper.embedding_length;
        let name = |part: &str| format!("blk.{index}.{part}");
        let mixer_norm = self.vector(&name("attn_norm.weight"), width)?;
        let (mixer, output) = match hyper.net_of(index) {
            Some(shape) => {
                let mixer = self.delta_net(&name, width, shape, shard)?;
                let output =
                    self.linear(&name("ssm_out"), width, shape.value_width(), &[shard.own(width)])?;
                (Mixer::DeltaNet(kind, mixer), output)
            }
            None => {
                let heads = hyper.head_count * hyper.value_length;
                let mixer = self.attention(&name, hyper, arch, shard)?;
                let output = self.linear(&name("attn_output"), width, heads, &[shard.own(width)])?;
                (Mixer::Attention(kind, mixer), output)
            }
        };
        Ok(Layer {
            mixer_norm,
            mixer,
            output,
            ffn_norm: self.vector(&name(&format!("{}.weight", arch.ffn_norm)), width)?,
            ffn: match hyper.experts {
                None => {
                    FeedForward::Dense(self.swiglu(&name, "", width, hyper.feed_forward_length, shard)?)
                }
                Some(experts) => self.experts(&name, width, experts, shard)?,
            },
        })
    }

    /// The handles of the block that predicts further tokens, but for those of its layer. `embedding` and `norm` are the
    /// model's own, for a block that has none.
    pub(super) fn prediction(
        &mut self,
        hyper: &Hyper,
        shard: Shard,
        embedding: MatrixId,
        norm: VectorId,
    ) -> Result<Prediction> {
        let (width, vocabulary) = (hyper.embedding_length, hyper.vocabulary);
        let name = |part: &str| format!("blk.{}.nextn.{part}", hyper.block_count);
        let has = |name: &str| self.gguf.tensor(name).is_some();
        let (tokens, head_norm) = (name("embed_tokens.weight"), name("shared_head_norm.weight"));
        let heads = [
            name("shared_head_head.weight"),
            "output.weight".into(),
            "token_embd.weight".into(),
        ];
        let head = heads.iter().find(|name| has(name)).unwrap_or(&heads[2]);
        let (own_embedding, own_norm) = (has(&tokens), has(&head_norm));
        let rows = vocabulary.min(PREDICTED);
        Ok(Prediction {
            embedding: match own_embedding {
                true => self.matrix(&tokens, vocabulary, width, &[shard.own(vocabulary)])?,
                false => embedding,
            },
            token_norm: self.vector(&name("enorm.weight"), width)?,
            state_norm: self.vector(&name("hnorm.weight"), width)?,
            join: self.linear(&name("eh_proj"), width, 2 * width, &[shard.own(width)])?,
            norm: match own_norm {
                true => self.vector(&head_norm, width)?,
                false => norm,
            },
            output: self.matrix(head, vocabulary, width, &[shard.own(rows)])?,
            rows,
        })
    }

    /// The handles of an attention block's matrices.
    pub(super) fn attention(
        &mut self,
        name: &dyn Fn(&str) -> String,
        hyper: &Hyper,
        arch: &Architecture,
        shard: Shard,
    ) -> Result<Attention> {
        let width = hyper.embedding_length;
        let (kl, vl, kv) = (hyper.key_length, hyper.value_length, hyper.head_count_kv);
        let q_length = hyper.group() * kl * if arch.attention.gate { 2 } else { 1 };
        let heads = shard.heads(kv, shard.index);
        let own = |n: usize| heads.start * n..heads.end * n;
        let head_norms = if arch.attention.head_norm {
            let q = self.vector(&name("attn_q_norm.weight"), kl)?;
            Some((q, self.vector(&name("attn_k_norm.weight"), kl)?))
        } else {
            None
        };
        Ok(Attention {
            q: self.linear(&name("attn_q"), kv * q_length, width, &[own(q_length)])?,
            k: self.linear(&name("attn_k"), kv * kl, width, &[own(kl)])?,
            v: self.linear(&name("attn_v"), kv * vl, width, &[own(vl)])?,
            head_norms,
        })
    }

    /// The handles of a gated delta net's tensors. Own are some key heads, and of each run of value heads as long as all
    /// key heads the same ones.
    pub(super) fn delta_net(
        &mut self,
        name: &dyn Fn(&str) -> String,
        width: usize,
        shape: hyper::DeltaNet,
        shard: Shard,
    ) -> Result<DeltaNet> {
        let own = shard.heads(shape.key_heads, shard.index);
        let run = |first: usize, length: usize| (first + own.start) * length..(first + own.end) * length;
        let runs = |first: usize, length: usize| -> Vec<Range<usize>> {
            (0..shape.ratio())
                .map(|j| run(first + j * shape.key_heads, length))
                .collect()
        };
        let (length, values) = (shape.head_length, shape.value_heads);
        let mut channels = vec![run(0, length), run(shape.key_heads, length)];
        channels.extend(runs(2 * shape.key_heads, length));
        let all = shape.channels();
        let taps: Vec<_> = channels
            .iter()
            .map(|r| r.start * CONV_TAPS..r.end * CONV_TAPS)
            .collect();
        Ok(DeltaNet {
            qkv: self.linear(&name("attn_qkv"), all, width, &channels)?,
            z: self.linear(&name("attn_gate"), values * length, width, &runs(0, length))?,
            alpha: self.linear(&name("ssm_alpha"), values, width, &runs(0, 1))?,
            beta: self.linear(&name("ssm_beta"), values, width, &runs(0, 1))?,
            conv: self.elements(&name("ssm_conv1d.weight"), all, CONV_TAPS, &taps)?,
            a: self.elements(&name("ssm_a"), 1, values, &runs(0, 1))?,
            dt: self.elements(&name("ssm_dt.bias"), 1, values, &runs(0, 1))?,
            norm: self.vector(&name("ssm_norm.weight"), length)?,
        })
    }

    /// The handles of `ffn_{gate,up,down}{suffix}`, `length` wide inside.
    pub(super) fn swiglu(
        &mut self,
        name: &dyn Fn(&str) -> String,
        suffix: &str,
        width: usize,
        length: usize,
        shard: Shard,
    ) -> Result<Swiglu> {
        let (own, own_width) = ([shard.own(length)], [shard.own(width)]);
        let part = |part: &str| name(&format!("ffn_{part}{suffix}"));
        Ok(Swiglu {
            gate: self.linear(&part("gate"), length, width, &own)?,
            up: self.linear(&part("up"), length, width, &own)?,
            down: self.linear(&part("down"), width, length, &own_width)?,
        })
    }

    /// The handles of a mixture of experts. The file has one tensor for all experts, one behind the other; here each has
    /// matrices of its own.
    pub(super) fn experts(
        &mut self,
        name: &dyn Fn(&str) -> String,
        width: usize,
        shape: hyper::Experts,
        shard: Shard,
    ) -> Result<FeedForward> {
        let (count, length) = (shape.count, shape.feed_forward_length);
        let joined = self.gguf.tensor(&name("ffn_gate_up_exps.weight")).is_some();
        let mut expert = |e: usize| -> Result<Swiglu> {
            let rows = |n: usize, at: usize, own: Range<usize>| e * n + at + own.start..e * n + at + own.end;
            let mut part = |part: &str, n: usize, cols: usize, own: Range<usize>| {
                let matrix =
                    self.matrix(&name(&format!("ffn_{part}_exps.weight")), count * n, cols, &[own])?;
                Ok::<_, Error>(Linear { matrix, bias: None })
            };
            let own = shard.own(length);
            let (gate, up) = if joined {
                let n = 2 * length;
                (
                    part("gate_up", n, width, rows(n, 0, own.clone()))?,
                    part("gate_up", n, width, rows(n, length, own))?,
                )
            } else {
                (
                    part("gate", length, width, rows(length, 0, own.clone()))?,
                    part("up", length, width, rows(length, 0, own))?,
                )
            };
            let down = part("down", width, length, rows(width, 0, shard.own(width)))?;
            Ok(Swiglu { gate, up, down })
        };
        let experts = (0..count).map(&mut expert).collect::<Result<_>>()?;
        let shared = match shape.shared_length {
            0 => None,
            length => {
                let swiglu = self.swiglu(name, "_shexp", width, length, shard)?;
                let row = 0..1;
                let amount =
                    self.linear(&name("ffn_gate_inp_shexp"), 1, width, std::slice::from_ref(&row))?;
                Some((swiglu, amount))
            }
        };
        let all = 0..count;
        Ok(FeedForward::Experts {
            router: self.linear(&name("ffn_gate_inp"), count, width, std::slice::from_ref(&all))?,
            experts,
            shared,
        })
    }

    /// A matrix of the rows `own` of the tensor `name`, which has `rows × cols` elements.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        own: &[Range<usize>],
    ) -> Result<MatrixId> {
        let tensor = self.find(name, rows, cols)?.clone();
        let count = own.iter().map(Range::len).sum();
        let rows = match &mut self.absent {
            None => count,
            Some(bytes) => {
                *bytes += Matrix::bytes_of(tensor.ty, count, cols);
                0
            }
        };
        let matrix = Matrix::new(tensor.ty, rows, cols).map_err(|e| e.at(name))?;
        let index = self.matrices.len();
        self.matrices.push(matrix);
        self.queue(&tensor, own, |at| Target::Matrix(index, at));
        Ok(MatrixId(index))
    }

    /// A whole vector.
    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<VectorId> {
        self.elements(name, 1, len, std::slice::from_ref(&(0..len)))
    }

    /// The elements `own` of a tensor of `rows × cols` floats, as a vector.
    fn elements(&mut self, name: &str, rows: usize, cols: usize, own: &[Range<usize>]) -> Result<VectorId> {
        let tensor = self.find(name, rows, cols)?.clone();
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
        let count = own.iter().map(Range::len).sum();
        let mut vector = Vec::new();
        vector
            .try_reserve_exact(count)
            .map_err(|_| out_of_memory(name, count * 4))?;
        vector.resize(count, 0.0);
        self.vectors.push(vector);
        self.queue(&tensor, own, |at| Target::Vector(index, at));
        Ok(VectorId(index))
    }

    /// Has these rows (of a vector: elements) read one behind the other.
    fn queue(&mut self, tensor: &TensorInfo, own: &[Range<usize>], to: impl Fn(usize) -> Target) {
        let mut at = 0;
        for rows in own.iter().filter(|rows| !rows.is_empty()) {
            self.pending.push(Pending {
                tensor: tensor.clone(),
                rows: rows.start as u64..rows.end as u64,
                to: to(at),
                is_whole: true,
                identifies: self.identifies,
            });
            at += rows.len();
        }
    }

    pub(super) fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        own: &[Range<usize>],
    ) -> Result<Linear> {
        let bias = format!("{name}.bias");
        let bias = match self.gguf.tensor(&bias) {
            Some(_) => Some(self.elements(&bias, 1, rows, own)?),
            None => None,
        };
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), rows, cols, own)?,
            bias,
        })
    }
}

fn out_of_memory(name: &str, bytes: usize) -> Error {
    Error::new(
        Kind::OutOfMemory,
        format!("{name}: {bytes} bytes could not be allocated"),
    )
}
