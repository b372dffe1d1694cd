//! Hyper-parameters: what the metadata says of the model's shape, checked once.

use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::model::arch::{self, Architecture};

/// Shape and constants of a model. Names follow the GGUF keys. Every field was checked to be in a sane range and
/// consistent with the others, so nothing below tests them again.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// `general.name`, or nothing.
    pub name: String,
    /// Number of layers; blocks that only predict further tokens are not among them.
    pub block_count: usize,
    /// Blocks that predict further tokens (`nextn_predict_layers`); their weights follow those of the layers.
    pub predicting: usize,
    /// Tokens the model was trained for.
    pub context_length: usize,
    /// Width of the residual stream.
    pub embedding_length: usize,
    /// Width inside a dense feed-forward block; 0 where experts take its place.
    pub feed_forward_length: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub head_count_kv: usize,
    /// Width of a query and key head.
    pub key_length: usize,
    /// Width of a value head.
    pub value_length: usize,
    /// Epsilon of RMSNorm.
    pub rms_epsilon: f32,
    /// Factor on `q . k`; 1/sqrt(key_length) unless the file says otherwise.
    pub attention_scale: f32,
    /// Dimensions of a head that are rotated; even.
    pub rope_dimensions: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// Positions are divided by this (linear scaling); 1 without scaling.
    pub rope_scale: f32,
    /// Rows of the embedding and of the output matrix.
    pub vocabulary: usize,
    /// Which layers are gated delta nets, `[block_count]`; none without [`Hyper::delta_net`].
    pub recurrent: Vec<bool>,
    /// Shape of the gated delta nets.
    pub delta_net: Option<DeltaNet>,
    /// Shape of the mixture of experts.
    pub experts: Option<Experts>,
}

/// Shape of a gated delta net (Yang et al., 2025, "Gated Delta Networks"). Value head `h` goes with key head `h % key_heads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaNet {
    /// Width of every head: of keys, queries and values.
    pub head_length: usize,
    /// Query heads and key heads.
    pub key_heads: usize,
    /// Value heads, a multiple of `key_heads`.
    pub value_heads: usize,
}

impl DeltaNet {
    /// Value heads of one key head.
    pub fn ratio(self) -> usize {
        self.value_heads / self.key_heads
    }

    /// Values of all value heads.
    pub fn value_width(self) -> usize {
        self.value_heads * self.head_length
    }

    /// Channels of the convolution: queries, keys and values.
    pub fn channels(self) -> usize {
        (2 * self.key_heads + self.value_heads) * self.head_length
    }
}

/// Shape of a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// Experts of a layer.
    pub count: usize,
    /// Experts that a token goes to.
    pub used: usize,
    /// Width inside an expert.
    pub feed_forward_length: usize,
    /// Width inside the expert that all tokens go to; 0 without one.
    pub shared_length: usize,
    /// Factor on the experts' weights, which add up to one.
    pub scale: f32,
}

/// Upper bounds no supported model comes near. They keep products of two or three fields far from overflow, also on a
/// 32-bit target; memory itself is bounded by the tensors that must be in the file.
const MAX_BLOCKS: u64 = 1 << 10;
const MAX_WIDTH: u64 = 1 << 18;
const MAX_HEADS: u64 = 1 << 12;
const MAX_CONTEXT: u64 = 1 << 24;
const MAX_EXPERTS: u64 = 1 << 12;
/// Experts of all layers together.
const MAX_ALL_EXPERTS: usize = 1 << 17;
/// Width of a delta net's head: its state is a square of this.
const MAX_HEAD: u64 = 1 << 10;
/// Numbers in the state of a layer's delta net. Nothing in the file is as large as it.
const MAX_STATE: usize = 1 << 22;
/// The taps of the delta nets' convolution.
pub const CONV_TAPS: usize = 4;

impl Hyper {
    /// Reads and checks the keys of the file's architecture.
    pub fn read(gguf: &Gguf) -> Result<(Hyper, &'static Architecture)> {
        let meta = &gguf.metadata;
        let name = meta
            .str("general.architecture")?
            .ok_or_else(|| missing("general.architecture"))?;
        let architecture = arch::find(name)?;
        if let Some(kind) = meta.str("general.type")?.filter(|kind| *kind != "model") {
            return Err(Error::new(
                Kind::UnsupportedArchitecture,
                format!(
                    "the file is of general.type \"{kind}\", not a model: load the model's own GGUF file"
                ),
            ));
        }
        let key = |suffix: &str| format!("{}.{suffix}", architecture.name);
        let size = |suffix: &str, max: u64| -> Result<Option<usize>> {
            let name = key(suffix);
            match meta.u64(&name)? {
                None => Ok(None),
                Some(value) if (1..=max).contains(&value) => Ok(Some(value as usize)),
                Some(value) => Err(malformed(format!("{name} is {value}, expected 1 to {max}"))),
            }
        };
        let required = |suffix: &str, max: u64| size(suffix, max)?.ok_or_else(|| missing(&key(suffix)));
        let positive = |suffix: &str, default: f32| -> Result<f32> {
            let name = key(suffix);
            match meta.f32(&name)? {
                None => Ok(default),
                Some(value) if value.is_finite() && value > 0.0 => Ok(value),
                Some(value) => Err(malformed(format!(
                    "{name} is {value}, expected a positive number"
                ))),
            }
        };

        let file_blocks = required("block_count", MAX_BLOCKS)?;
        let predicting = meta.u64(&key("nextn_predict_layers"))?.unwrap_or(0);
        let block_count = usize::try_from(predicting)
            .ok()
            .and_then(|n| file_blocks.checked_sub(n))
            .filter(|n| *n > 0)
            .ok_or_else(|| {
                malformed(format!(
                    "{} is {predicting}, of {file_blocks} blocks",
                    key("nextn_predict_layers")
                ))
            })?;
        let embedding_length = required("embedding_length", MAX_WIDTH)?;
        let head_count = per_layer(gguf, &key("attention.head_count"), file_blocks)?
            .ok_or_else(|| missing(&key("attention.head_count")))?;
        let head_count_kv =
            per_layer(gguf, &key("attention.head_count_kv"), file_blocks)?.unwrap_or(head_count);
        if !head_count.is_multiple_of(head_count_kv) {
            return Err(malformed(format!(
                "{head_count} query heads cannot share {head_count_kv} key-value heads evenly"
            )));
        }
        let key_length = match size("attention.key_length", MAX_WIDTH)? {
            Some(length) => length,
            None if embedding_length.is_multiple_of(head_count) => embedding_length / head_count,
            None => {
                return Err(malformed(format!(
                    "embedding length {embedding_length} is not a multiple of {head_count} heads, and {} is absent",
                    key("attention.key_length")
                )));
            }
        };
        let value_length = size("attention.value_length", MAX_WIDTH)?.unwrap_or(key_length);
        if architecture.attention.gate && value_length != key_length {
            return Err(Error::new(
                Kind::UnsupportedArchitecture,
                format!(
                    "values of {value_length} numbers behind gates of {key_length}; both must be as wide"
                ),
            ));
        }
        bounded("all query heads together", head_count, key_length)?;
        bounded("the values of all heads together", head_count, value_length)?;
        let rope_dimensions = size("rope.dimension_count", MAX_WIDTH)?.unwrap_or(key_length);
        if !rope_dimensions.is_multiple_of(2) || rope_dimensions > key_length {
            return Err(malformed(format!(
                "{} is {rope_dimensions}, expected an even number up to the head's {key_length}",
                key("rope.dimension_count")
            )));
        }
        let embedding = gguf
            .tensor("token_embd.weight")
            .ok_or_else(|| missing("tensor token_embd.weight"))?;
        let vocabulary = usize::try_from(embedding.rows())
            .ok()
            .filter(|rows| (1..=1 << 22).contains(rows))
            .ok_or_else(|| malformed(format!("token_embd.weight has {} rows", embedding.rows())))?;

        let experts = match architecture.experts {
            false => None,
            true => {
                let count = required("expert_count", MAX_EXPERTS)?;
                let used = required("expert_used_count", MAX_EXPERTS)?;
                if used > count {
                    return Err(malformed(format!("a token goes to {used} of {count} experts")));
                }
                if count * file_blocks > MAX_ALL_EXPERTS {
                    return Err(malformed(format!(
                        "{count} experts in each of {file_blocks} blocks, expected {MAX_ALL_EXPERTS} at most in all"
                    )));
                }
                let feed_forward_length = required("expert_feed_forward_length", MAX_WIDTH)?;
                bounded("the experts of a token together", used, feed_forward_length)?;
                Some(Experts {
                    count,
                    used,
                    feed_forward_length,
                    shared_length: size("expert_shared_feed_forward_length", MAX_WIDTH)?.unwrap_or(0),
                    scale: positive("expert_weights_scale", 1.0)?,
                })
            }
        };
        let feed_forward_length = match experts {
            Some(_) => 0,
            None => per_layer(gguf, &key("feed_forward_length"), file_blocks)?
                .ok_or_else(|| missing(&key("feed_forward_length")))?,
        };
        let (recurrent, delta_net) = if architecture.delta_net {
            let delta_net = DeltaNet {
                head_length: required("ssm.state_size", MAX_HEAD)?,
                key_heads: required("ssm.group_count", MAX_HEADS)?,
                value_heads: required("ssm.time_step_rank", MAX_HEADS)?,
            };
            let conv = required("ssm.conv_kernel", MAX_WIDTH)?;
            let inner = required("ssm.inner_size", MAX_HEADS * MAX_HEAD)?;
            check_delta_net(delta_net, conv, inner)?;
            let recurrent = recurrent_layers(gguf, architecture.name, file_blocks, block_count)?;
            (recurrent, Some(delta_net))
        } else {
            (vec![false; block_count], None)
        };

        let hyper = Hyper {
            architecture: architecture.name,
            name: meta
                .str("general.name")
                .ok()
                .flatten()
                .unwrap_or_default()
                .to_string(),
            block_count,
            predicting: file_blocks - block_count,
            context_length: required("context_length", MAX_CONTEXT)?,
            embedding_length,
            feed_forward_length,
            head_count,
            head_count_kv,
            key_length,
            value_length,
            rms_epsilon: positive("attention.layer_norm_rms_epsilon", 1e-5)?,
            attention_scale: positive("attention.scale", 1.0 / (key_length as f32).sqrt())?,
            rope_dimensions,
            rope_base: positive("rope.freq_base", 10_000.0)?,
            rope_scale: rope_scale(gguf, architecture.name)?,
            vocabulary,
            recurrent,
            delta_net,
            experts,
        };
        Ok((hyper, architecture))
    }

    /// The shape of a layer's gated delta net; `None` for attention.
    pub fn net_of(&self, layer: usize) -> Option<DeltaNet> {
        self.delta_net
            .filter(|_| self.recurrent.get(layer) == Some(&true))
    }

    /// Layers of attention.
    pub fn attention_layers(&self) -> usize {
        self.recurrent.iter().filter(|recurrent| !**recurrent).count()
    }

    /// Query heads that share one key-value head.
    pub fn group(&self) -> usize {
        self.head_count / self.head_count_kv
    }
}

/// Fails if `count` pieces of `length` are wider than any activation.
fn bounded(what: &str, count: usize, length: usize) -> Result<()> {
    if (count as u64) * (length as u64) <= MAX_WIDTH {
        return Ok(());
    }
    Err(malformed(format!(
        "{what} are {count} times {length} wide, expected {MAX_WIDTH} at most"
    )))
}

fn check_delta_net(shape: DeltaNet, conv: usize, inner: usize) -> Result<()> {
    let DeltaNet {
        head_length,
        key_heads,
        value_heads,
    } = shape;
    if !head_length.is_multiple_of(4) {
        return Err(malformed(format!(
            "heads of {head_length} values (ssm.state_size), expected a multiple of 4"
        )));
    }
    if !value_heads.is_multiple_of(key_heads) {
        return Err(malformed(format!(
            "{value_heads} value heads (ssm.time_step_rank) cannot share {key_heads} key heads (ssm.group_count) evenly"
        )));
    }
    if value_heads * head_length > MAX_STATE / head_length {
        return Err(malformed(format!(
            "{value_heads} heads with states of {head_length} times {head_length} numbers, expected {MAX_STATE} at most in all"
        )));
    }
    if inner != shape.value_width() {
        return Err(malformed(format!(
            "ssm.inner_size is {inner}, but {value_heads} heads of {head_length} values are {}",
            shape.value_width()
        )));
    }
    if conv != CONV_TAPS {
        return Err(Error::new(
            Kind::UnsupportedArchitecture,
            format!("a convolution over {conv} tokens (ssm.conv_kernel); only {CONV_TAPS} is supported"),
        ));
    }
    Ok(())
}

/// Which layers are recurrent: as the file lists them, else all but every n-th.
fn recurrent_layers(gguf: &Gguf, arch: &str, file_blocks: usize, block_count: usize) -> Result<Vec<bool>> {
    let meta = &gguf.metadata;
    let key = format!("{arch}.attention.recurrent_layers");
    if let Some(mut layers) = meta.bool_or_array(&key, file_blocks)? {
        layers.truncate(block_count);
        return Ok(layers);
    }
    let interval = meta
        .u64(&format!("{arch}.full_attention_interval"))?
        .unwrap_or(4)
        .max(1);
    Ok((1..=block_count as u64)
        .map(|i| !i.is_multiple_of(interval))
        .collect())
}

/// A key that may be one number or one per layer; all layers must agree.
fn per_layer(gguf: &Gguf, key: &str, block_count: usize) -> Result<Option<usize>> {
    let Some(values) = gguf.metadata.u32_or_array(key, block_count)? else {
        return Ok(None);
    };
    let first = values.first().copied().unwrap_or(0);
    if let Some(other) = values.iter().find(|value| **value != first) {
        return Err(Error::new(
            Kind::UnsupportedArchitecture,
            format!("{key} differs between layers ({first} and {other}); this architecture needs one value"),
        ));
    }
    let max = if key.ends_with("feed_forward_length") {
        MAX_WIDTH
    } else {
        MAX_HEADS
    };
    if first == 0 || u64::from(first) > max {
        return Err(malformed(format!("{key} is {first}, expected 1 to {max}")));
    }
    Ok(Some(first as usize))
}

/// The factor of linear RoPE scaling. Frequencies changed in other ways are refused, but for those that come as a
/// tensor (`rope_freqs.weight`).
fn rope_scale(gguf: &Gguf, arch: &str) -> Result<f32> {
    let meta = &gguf.metadata;
    let kind = meta.str(&format!("{arch}.rope.scaling.type"))?;
    let factor = match kind {
        Some("none") => return Ok(1.0),
        None => meta.f32(&format!("{arch}.rope.scale_linear"))?,
        Some("linear") => meta.f32(&format!("{arch}.rope.scaling.factor"))?,
        Some(other) => {
            return Err(Error::new(
                Kind::UnsupportedArchitecture,
                format!(
                    "rope scaling of type \"{other}\" is not supported (only \"none\" and \"linear\" are)"
                ),
            ));
        }
    };
    match factor {
        None => Ok(1.0),
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => Err(malformed(format!(
            "the rope scaling factor is {value}, expected a positive number"
        ))),
    }
}

fn malformed(message: String) -> Error {
    Error::new(Kind::MalformedFile, message)
}

fn missing(what: &str) -> Error {
    malformed(format!("{what} is missing"))
}
