//! What can be said of a loaded model.

use serde::Serialize;

use crate::gguf::Gguf;
use crate::kernels::{Dot, Form};
use crate::model::Model;
use crate::quant::Type;
use crate::session::defaults::Proposal;
use crate::session::pooling::Pooling;

/// A model's identity and what this shard of it weighs; crosses to JavaScript as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, or nothing.
    pub name: String,
    /// Weights of the whole model.
    pub parameters: u64,
    /// Positions this session can hold.
    pub context_length: usize,
    /// Positions the model was trained for.
    pub trained_context_length: usize,
    /// The file type as its makers call it (Q4_K_M), else the type that most weights have.
    pub quantization: String,
    /// Number of token ids.
    pub vocabulary_size: usize,
    /// How the vectors of a text's tokens become one, where the file says so: it is a model for embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<&'static str>,
    /// Number of layers.
    pub block_count: usize,
    /// How keys and values are kept.
    pub kv_type: &'static str,
    /// The block that predicts further tokens is there, and in memory.
    pub predicts: bool,
    /// What the weights of up to six bits are multiplied with: `i16`, sixteen-bit activations; `i8x2` or `i8x4`, eight-bit ones
    /// by the dot product of pairs or of fours, whichever this machine runs faster.
    pub kernel: &'static str,
    /// What chats are answered with where a request does not say; on the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Proposal>,
    /// Bytes of this shard's weights in memory.
    pub weight_bytes: u64,
    /// Bytes of this shard's KV cache when the context is full.
    pub kv_bytes: u64,
    /// Bytes of this shard's buffers, and of the state of recurrent layers with its copies.
    pub buffer_bytes: u64,
}

impl Info {
    pub(super) fn new(gguf: &Gguf, model: &Model) -> Info {
        let own = &model.state.seats.own;
        let cache = &own.cache;
        Info {
            architecture: model.hyper.architecture.to_string(),
            name: model.hyper.name.clone(),
            parameters: gguf.tensors.iter().map(|t| t.cols() * t.rows()).sum(),
            context_length: cache.capacity(),
            trained_context_length: model.hyper.context_length,
            quantization: quantization(gguf),
            vocabulary_size: model.hyper.vocabulary,
            pooling: Pooling::named(&gguf.metadata, model.hyper.architecture),
            block_count: model.hyper.block_count,
            kv_type: cache.kind().name(),
            predicts: model.weights.prediction.is_some(),
            kernel: kernel(model),
            defaults: None,
            weight_bytes: model.weights.bytes(),
            kv_bytes: cache.capacity() as u64 * cache.bytes_per_token() as u64,
            buffer_bytes: (model.state.buffer_bytes() + own.recurrent.most_bytes()) as u64,
        }
    }
}

/// See [`Info::kernel`].
pub(super) fn kernel(model: &Model) -> &'static str {
    match model.form() {
        Form::F32 => "f32",
        Form::I8(Dot::Pairs) => "i8x2",
        Form::I8(Dot::Fours) | Form::Planes => "i8x4",
        Form::I16 => "i16",
    }
}

/// `general.file_type` as llama.cpp's quantiser numbers it.
fn file_type(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        25 => "IQ4_NL",
        30 => "IQ4_XS",
        32 => "BF16",
        _ => return None,
    })
}

fn quantization(gguf: &Gguf) -> String {
    if let Some(name) = gguf
        .metadata
        .u32("general.file_type")
        .ok()
        .flatten()
        .and_then(file_type)
    {
        return name.to_string();
    }
    let mut bytes: Vec<(Type, u64)> = Vec::new();
    for tensor in &gguf.tensors {
        match bytes.iter_mut().find(|(ty, _)| *ty == tensor.ty) {
            Some((_, total)) => *total += tensor.bytes,
            None => bytes.push((tensor.ty, tensor.bytes)),
        }
    }
    bytes
        .iter()
        .max_by_key(|(_, total)| *total)
        .map_or_else(String::new, |(ty, _)| ty.name().to_string())
}
