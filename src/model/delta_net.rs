//! The gated delta net of a layer (Yang et al., 2025): projections, a short causal convolution, the delta rule on a square
//! state per head, and a gated norm.

use crate::error::Result;
use crate::kernels::simd::delta_net::{self, Tokens};
use crate::kernels::vector;
use crate::model::blocks::multiply;
use crate::model::forward::Part;
use crate::model::recurrent::{MAX_DRAFT_BATCH, Recurrent, Shape, WINDOW};
use crate::model::{MAX_BATCH, Model, Weights, renew, weights, zeros};

/// Tokens that go through a head's state together: their keys and queries fit in the first cache.
const CHUNK: usize = MAX_DRAFT_BATCH;

/// Buffers of the delta nets, allocated once.
#[derive(Debug)]
pub(super) struct Buffers {
    /// Inputs, then outputs of the convolution: `[WINDOW + MAX_BATCH, own channels]`. Nothing between two layers: it is in the room
    /// of the state, where others want it.
    inputs: Vec<f32>,
    /// Output gates: `[MAX_BATCH, own value heads * head_length]`.
    z: Vec<f32>,
    /// `[MAX_BATCH, own value heads]` each.
    alpha: Vec<f32>,
    beta: Vec<f32>,
    /// Of one head: `[CHUNK, head_length]` each.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    out: Vec<f32>,
    /// The copy of a head's state that a draft goes through.
    state: Vec<f32>,
}

/// Numbers that the inputs of a layer take.
pub(super) fn room(shape: Shape) -> usize {
    (WINDOW + MAX_BATCH) * shape.channels()
}

impl Buffers {
    pub(super) fn new(shape: Shape) -> Result<Buffers> {
        Ok(Buffers {
            inputs: Vec::new(),
            z: zeros(MAX_BATCH * shape.values * shape.head_length)?,
            alpha: zeros(MAX_BATCH * shape.values)?,
            beta: zeros(MAX_BATCH * shape.values)?,
            q: zeros(CHUNK * shape.head_length)?,
            k: zeros(CHUNK * shape.head_length)?,
            v: zeros(CHUNK * shape.head_length)?,
            out: zeros(CHUNK * shape.head_length)?,
            state: Vec::new(),
        })
    }

    pub(super) fn all(&self) -> [&Vec<f32>; 3] {
        [&self.z, &self.alpha, &self.beta]
    }
}

impl Model {
    /// Own heads of a gated delta net. Leaves `[tokens, own value heads * head_length]`, run by run (see
    /// [`crate::model::hyper::DeltaNet`]).
    pub(super) fn delta_net(
        &mut self,
        index: usize,
        handles: weights::DeltaNet,
        tokens: usize,
        parts: &[Part],
    ) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let Some(net) = hyper.delta_net else { return };
        let shape = state.seats.own.recurrent.shape();
        let Shape {
            head_length: length,
            keys,
            values,
        } = shape;
        state.gather.begin(tokens, |s| {
            let width = shard.heads(net.key_heads, s).len() * net.ratio() * length;
            0..width
        });
        if keys == 0 {
            return;
        }
        let channels = shape.channels();
        let buffers = &mut state.delta_net;
        std::mem::swap(&mut buffers.inputs, &mut state.room);
        let rows = &mut buffers.inputs[WINDOW * channels..(WINDOW + tokens) * channels];
        let z = &mut buffers.z[..tokens * values * length];
        let (alpha, beta) = (
            &mut buffers.alpha[..tokens * values],
            &mut buffers.beta[..tokens * values],
        );
        for (linear, out, width) in [
            (handles.qkv, rows, channels),
            (handles.z, z, values * length),
            (handles.alpha, &mut *alpha, values),
            (handles.beta, &mut *beta, values),
        ] {
            multiply(weights, linear, state.form, &mut state.input, out, width);
        }
        let (a, dt) = (weights.vector(handles.a), weights.vector(handles.dt));
        for (alpha, beta) in alpha.chunks_exact_mut(values).zip(beta.chunks_exact_mut(values)) {
            for h in 0..values {
                alpha[h] = (a[h] * softplus(alpha[h] + dt[h])).exp();
                beta[h] = 1.0 / (1.0 + (-beta[h]).exp());
            }
        }
        let slice = state.gather.slice_mut(shard.index);
        let mut from = 0;
        for part in parts {
            if let Some(memory) = state.seats.get_mut(part.seat) {
                let out = &mut slice[from * values * length..][..part.tokens * values * length];
                let recurrent = &mut memory.recurrent;
                buffers.through(
                    recurrent,
                    index,
                    weights,
                    handles,
                    hyper.rms_epsilon,
                    from,
                    part,
                    out,
                );
            }
            from += part.tokens;
        }
        std::mem::swap(&mut buffers.inputs, &mut state.room);
    }
}

impl Buffers {
    /// Takes the tokens of a part, which are those from `from` on, through the convolution and the state of its text.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a layer is made of, and where the part is"
    )]
    fn through(
        &mut self,
        recurrent: &mut Recurrent,
        index: usize,
        weights: &Weights,
        handles: weights::DeltaNet,
        epsilon: f32,
        from: usize,
        part: &Part,
        slice: &mut [f32],
    ) {
        let shape = recurrent.shape();
        let Shape {
            head_length: length,
            keys,
            values,
        } = shape;
        let (tokens, batch, channels) = (part.tokens, part.batch, shape.channels());
        let buffers = self;
        let (layer, draft, mut marked) = recurrent.layer(index, batch.mark.map(|mark| mark.slot));

        // The rows before those of the part are the last ones of the part before it, which has taken its window from them.
        let inputs = &mut buffers.inputs[from * channels..(from + WINDOW + tokens) * channels];
        inputs[..WINDOW * channels].copy_from_slice(&layer.window);
        let z = &buffers.z[from * values * length..];
        let (alpha, beta) = (&buffers.alpha[from * values..], &buffers.beta[from * values..]);
        if batch.draft {
            renew(&mut draft.inputs, inputs.len());
            draft.inputs.copy_from_slice(inputs);
            renew(&mut draft.keys, keys * tokens * length);
            renew(&mut draft.decay, values * tokens);
            renew(&mut draft.written, values * tokens * length);
        }
        if let (Some(mark), Some(marked)) = (batch.mark, marked.as_mut()) {
            let window = &inputs[mark.tokens * channels..][..WINDOW * channels];
            marked.window.copy_from_slice(window);
        }
        delta_net::convolve(inputs, weights.vector(handles.conv), channels);
        if !batch.draft {
            layer.window.copy_from_slice(&inputs[tokens * channels..]);
        }

        let norm = weights.vector(handles.norm);
        let scale = 1.0 / (length as f32).sqrt();
        for key in 0..keys {
            let mut from = 0;
            while from < tokens {
                let to = (from + CHUNK).min(match batch.mark {
                    Some(mark) if from < mark.tokens => mark.tokens,
                    _ => tokens,
                });
                let count = to - from;
                let head = |t: usize, head: usize| &inputs[(from + t) * channels + head * length..][..length];
                let (q, k) = (&mut buffers.q[..count * length], &mut buffers.k[..count * length]);
                let rows = q.chunks_exact_mut(length).zip(k.chunks_exact_mut(length));
                for (t, (q, k)) in rows.enumerate() {
                    delta_net::l2_norm(head(t, key), scale, epsilon, q);
                    delta_net::l2_norm(head(t, keys + key), 1.0, epsilon, k);
                }
                if batch.draft {
                    draft.keys[key * tokens * length..][..count * length].copy_from_slice(k);
                }
                for value in (key..values).step_by(keys) {
                    let (v, out) = (
                        &mut buffers.v[..count * length],
                        &mut buffers.out[..count * length],
                    );
                    let (mut decay, mut write) = ([0.0; CHUNK], [0.0; CHUNK]);
                    for (t, v) in v.chunks_exact_mut(length).enumerate() {
                        v.copy_from_slice(head(t, 2 * keys + value));
                        decay[t] = alpha[(from + t) * values + value];
                        write[t] = beta[(from + t) * values + value];
                    }
                    let through = Tokens {
                        q,
                        k,
                        decay: &decay[..count],
                        beta: &write[..count],
                    };
                    let square = value * length * length..(value + 1) * length * length;
                    let memory = &mut layer.heads[square.clone()];
                    if batch.draft {
                        buffers.state.clear();
                        buffers.state.extend_from_slice(memory);
                        delta_net::delta_rule(&mut buffers.state, &through, v, out);
                        draft.decay[value * tokens..][..count].copy_from_slice(&decay[..count]);
                        draft.written[value * tokens * length..][..count * length].copy_from_slice(v);
                    } else {
                        delta_net::delta_rule(memory, &through, v, out);
                    }
                    if let (Some(mark), Some(marked)) = (batch.mark, marked.as_mut())
                        && mark.tokens == to
                    {
                        marked.heads[square.clone()].copy_from_slice(memory);
                    }
                    for (t, out) in out.chunks_exact_mut(length).enumerate() {
                        let at = (from + t) * values * length + value * length;
                        vector::rms_norm_in_place(out, norm, epsilon);
                        vector::silu_mul(&z[at..at + length], out, &mut slice[at..at + length]);
                    }
                }
                from = to;
            }
        }
    }
}

/// `ln(1 + exp(x))`; `x` itself where the difference is lost in rounding.
fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}
