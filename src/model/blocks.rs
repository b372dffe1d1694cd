//! The blocks that layers are made of, shared by all architectures. Each function computes one stage between two
//! exchange points: it reads what was gathered, and leaves this shard's slice of the next activation.

use crate::kernels::{self, Form, attention, vector};
use crate::model::forward::Part;
use crate::model::logits::Taken;
use crate::model::weights::{Attention, FeedForward, Linear, MatrixId, Mixer, VectorId};
use crate::model::{Model, carve};

impl Model {
    /// This shard's rows of the embedding, for those tokens of the batch that it owns, in order. `predict`: of that of the block
    /// that predicts further tokens.
    pub(super) fn embed(&mut self, tokens: &[u32], predict: bool) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let width = hyper.embedding_length;
        for s in 0..shard.count {
            let owned = shard.rows(hyper.vocabulary, s);
            let rows = tokens
                .iter()
                .filter(|id| owned.contains(&(**id as usize)))
                .count();
            state.gather.begin_slice(s, rows, width);
        }
        let owned = shard.rows(hyper.vocabulary, shard.index);
        let prediction = weights.prediction.filter(|_| predict);
        let matrix = weights.matrix(prediction.map_or(weights.embedding, |block| block.embedding));
        let mut rows = state.gather.slice_mut(shard.index).chunks_exact_mut(width);
        for id in tokens
            .iter()
            .map(|id| *id as usize)
            .filter(|id| owned.contains(id))
        {
            if let Some(row) = rows.next() {
                matrix.row_to_f32(id - owned.start, row);
            }
        }
    }

    /// Brings the gathered embedding rows back into the order of the batch: the residual stream.
    pub(super) fn take_embedding(&mut self, tokens: &[u32]) {
        let Model {
            hyper, shard, state, ..
        } = self;
        let width = hyper.embedding_length;
        let mut next = vec![0; shard.count];
        for (t, id) in tokens.iter().enumerate() {
            let owner = shard.owner(hyper.vocabulary, *id as usize);
            let row = &state.gather.slice(owner)[next[owner] * width..][..width];
            state.x[t * width..][..width].copy_from_slice(row);
            next[owner] += 1;
        }
    }

    /// Adds the gathered output of a block to the residual stream.
    pub(super) fn add_gathered(&mut self, tokens: usize) {
        let width = self.hyper.embedding_length;
        for (t, x) in self.state.x.chunks_exact_mut(width).take(tokens).enumerate() {
            self.state.gather.add_row(t, x);
        }
    }

    /// Own heads of the layer's mixer, over the normalised residual stream.
    pub(super) fn mix(&mut self, layer: usize, tokens: usize, parts: &[Part]) {
        let (norm, mixer) = (
            self.weights.layers[layer].mixer_norm,
            self.weights.layers[layer].mixer.clone(),
        );
        let next = match &mixer {
            Mixer::Attention(_, handles) => handles.q,
            Mixer::DeltaNet(_, handles) => handles.qkv,
        };
        self.normalise(norm, 0..tokens, Some(next.matrix));
        match mixer {
            Mixer::Attention(index, handles) => self.attend(index, handles, tokens, parts),
            Mixer::DeltaNet(index, handles) => self.delta_net(index, handles, tokens, parts),
        }
    }

    /// Own heads: q, k and v, head norms, rotation, cache, attention. Leaves `[tokens, own heads * value_length]`.
    fn attend(&mut self, layer: usize, handles: Attention, tokens: usize, parts: &[Part]) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            arch,
        } = self;
        let heads = state.seats.own.cache.heads();
        let (kl, vl, group) = (hyper.key_length, hyper.value_length, hyper.group());
        let (q_width, k_width, v_width) = (heads * group * kl, heads * kl, heads * vl);
        let all = shard.heads(hyper.head_count_kv, shard.index);
        debug_assert_eq!(all.len(), heads);
        state.gather.begin(tokens, |s| {
            let heads = shard.heads(hyper.head_count_kv, s);
            heads.start * group * vl..heads.end * group * vl
        });
        if heads == 0 {
            return;
        }
        let gated = arch.attention.gate;
        let gated_width = if gated { 2 * q_width } else { 0 };
        let widths = [q_width, k_width, v_width, gated_width];
        let [q, k, v, gated_q] = carve(&mut state.room, widths.map(|width| tokens * width));
        let (asked, asked_width) = match gated {
            true => (&mut *gated_q, gated_width),
            false => (&mut *q, q_width),
        };
        let v_form = form_of_values(weights, handles.v).or(state.form);
        for (linear, form, out, width) in [
            (handles.q, state.form, asked, asked_width),
            (handles.k, state.form, &mut *k, k_width),
            (handles.v, v_form, &mut *v, v_width),
        ] {
            multiply(weights, linear, form, &mut state.input, out, width);
        }
        if gated {
            let heads = q.chunks_exact_mut(kl).zip(gated_q.chunks_exact(2 * kl));
            heads.for_each(|(q, joined)| q.copy_from_slice(&joined[..kl]));
        }
        let Some(rope) = state.rope.as_ref() else { return };
        let (q_norm, k_norm) = handles.head_norms.unzip();
        let place = |t: usize, head: &mut [f32], norm: Option<VectorId>| {
            if let Some(norm) = norm {
                vector::rms_norm_in_place(head, weights.vector(norm), hyper.rms_epsilon);
            }
            rope.rotate(arch.attention.rope, t, head);
        };
        let shape = attention::Shape {
            group,
            key_length: kl,
            value_length: vl,
            scale: hyper.attention_scale,
        };
        let out = state.gather.slice_mut(shard.index);
        let mut from = 0;
        for part in parts {
            let Some(memory) = state.seats.get_mut(part.seat) else {
                continue;
            };
            let (cache, first) = (&mut memory.cache, part.batch.first);
            let to = from + part.tokens;
            for t in from..to {
                for head in q[t * q_width..][..q_width].chunks_exact_mut(kl) {
                    place(t, head, q_norm);
                }
                // A key goes into the cache as soon as it is turned.
                let keys = k[t * k_width..][..k_width].chunks_exact_mut(kl);
                let values = v[t * v_width..][..v_width].chunks_exact(vl);
                for (h, (key, value)) in keys.zip(values).enumerate() {
                    place(t, key, k_norm);
                    cache.put(layer, first + t - from, h, key, value);
                }
            }
            let heads = heads * group;
            attention::attend(
                cache,
                layer,
                shape,
                first,
                &q[from * q_width..to * q_width],
                &mut out[from * heads * vl..to * heads * vl],
                &mut state.attention,
            );
            from = to;
        }
        if gated {
            let heads = out.chunks_exact_mut(vl).zip(gated_q.chunks_exact(2 * kl));
            heads.for_each(|(out, joined)| vector::sigmoid_mul_in_place(out, &joined[kl..]));
        }
    }

    /// Own rows of the mixer's output matrix, over all gathered heads. Leaves `[tokens, own rows of embedding]`.
    pub(super) fn mix_output(&mut self, layer: usize, tokens: usize) {
        let linear = self.weights.layers[layer].output;
        match self.hyper.net_of(layer) {
            None => self.project(linear, tokens, self.hyper.head_count * self.hyper.value_length, 1),
            Some(net) => self.project(linear, tokens, net.value_width(), net.ratio()),
        }
    }

    /// Own rows of the first half of the feed-forward, over the normalised residual stream.
    pub(super) fn gate_up(&mut self, layer: usize, tokens: usize) {
        let next = match &self.weights.layers[layer].ffn {
            FeedForward::Dense(handles) => handles.gate,
            FeedForward::Experts { router, .. } => *router,
        };
        self.normalise(self.weights.layers[layer].ffn_norm, 0..tokens, Some(next.matrix));
        if self.hyper.experts.is_some() {
            return self.experts_gate_up(layer, tokens);
        }
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let FeedForward::Dense(handles) = &weights.layers[layer].ffn else {
            return;
        };
        state
            .gather
            .begin(tokens, |s| shard.rows(hyper.feed_forward_length, s));
        let width = state.gather.width(shard.index);
        let [gate, up] = carve(&mut state.room, [tokens * width; 2]);
        multiply(weights, handles.gate, state.form, &mut state.input, gate, width);
        multiply(weights, handles.up, state.form, &mut state.input, up, width);
        vector::silu_mul(gate, up, state.gather.slice_mut(shard.index));
    }

    /// Own rows of the second half, over all gathered rows of the first. Leaves `[tokens, own rows of embedding]`.
    pub(super) fn down(&mut self, layer: usize, tokens: usize) {
        match &self.weights.layers[layer].ffn {
            FeedForward::Dense(handles) => {
                let linear = handles.down;
                self.project(linear, tokens, self.hyper.feed_forward_length, 1);
            }
            FeedForward::Experts { .. } => self.experts_down(layer, tokens),
        }
    }

    /// Own rows of the logits of these tokens of the batch. Leaves `[tokens, own rows of vocabulary]`, or only the rows that are wanted, if
    /// not all are. `predict`: of the block that predicts further tokens.
    pub(super) fn output(&mut self, tokens: &[usize], predict: bool) {
        let (norm, matrix, vocabulary) = match self.weights.prediction.filter(|_| predict) {
            Some(block) => (block.norm, block.output, block.rows),
            None => (
                self.weights.output_norm,
                self.weights.output,
                self.hyper.vocabulary,
            ),
        };
        if !self.state.rows.is_empty() && !predict {
            return self.some_rows(tokens);
        }
        self.normalise(norm, tokens.iter().copied(), Some(matrix));
        let Model {
            shard,
            weights,
            state,
            ..
        } = self;
        let linear = Linear { matrix, bias: None };
        state
            .gather
            .begin_for_leader(*shard, tokens.len(), |s| shard.rows(vocabulary, s));
        let width = state.gather.width(shard.index);
        multiply(
            weights,
            linear,
            state.form,
            &mut state.input,
            state.gather.slice_mut(shard.index),
            width,
        );
    }

    /// [`Model::output`], where not all rows are wanted: one token after the other.
    fn some_rows(&mut self, tokens: &[usize]) {
        let (shard, all) = (self.shard, self.hyper.vocabulary);
        let own = shard.rows(all, shard.index);
        let rows = &self.state.rows;
        let wanted = |s: usize| {
            let own = shard.rows(all, s);
            rows.partition_point(|row| *row < own.start)..rows.partition_point(|row| *row < own.end)
        };
        self.state.gather.begin_for_leader(shard, tokens.len(), wanted);
        let rows: Vec<usize> = rows[wanted(shard.index)]
            .iter()
            .map(|row| row - own.start)
            .collect();
        if rows.is_empty() {
            return;
        }
        for (i, token) in tokens.iter().enumerate() {
            self.normalise(
                self.weights.output_norm,
                [*token].into_iter(),
                Some(self.weights.output),
            );
            let state = &mut self.state;
            let matrix = self.weights.matrix(self.weights.output);
            let form = matrix.form_for(state.form);
            let out = &mut state.gather.slice_mut(shard.index)[i * rows.len()..][..rows.len()];
            kernels::multiply_rows(matrix, &state.input, form, &rows, out);
        }
    }

    /// Keeps the vectors that the output matrix would be applied to, on the leader.
    pub(super) fn keep_vectors(&mut self, tokens: usize) {
        let norm = self.weights.output_norm;
        self.normalise(norm, 0..tokens, None);
        let width = self.hyper.embedding_length;
        self.state.vectors.resize(tokens * width, 0.0);
        for (t, out) in self.state.vectors.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(self.state.input.row(t));
        }
    }

    /// The gathered logits of so many tokens may be looked at, on the leader.
    pub(super) fn take_logits(&mut self, rows: usize, predict: bool) {
        let prediction = self.weights.prediction.filter(|_| predict);
        self.state.taken = Taken {
            rows,
            vocabulary: prediction.map_or(self.hyper.vocabulary, |block| block.rows),
            some: !predict,
        };
    }

    /// These tokens of the residual stream, normalised, as the next matrices' input, in the form that the first of them asks for.
    fn normalise(
        &mut self,
        norm: VectorId,
        mut tokens: impl ExactSizeIterator<Item = usize>,
        next: Option<MatrixId>,
    ) {
        let Model {
            hyper,
            weights,
            state,
            ..
        } = self;
        let width = hyper.embedding_length;
        let form = next.map_or(Form::F32, |next| weights.matrix(next).form_for(state.form));
        let norm = weights.vector(norm);
        state.input.fill(tokens.len(), width, form, |_, row| {
            let x = &state.x[tokens.next().unwrap_or(0) * width..][..width];
            vector::rms_norm(x, norm, hyper.rms_epsilon, row);
        });
    }

    /// Gathered rows of `width` through this shard's rows of a matrix into the residual's width. Every shard's slice is made
    /// of `runs` pieces: the whole row is the first pieces of all shards, then the second ones, and so on.
    fn project(&mut self, linear: Linear, tokens: usize, width: usize, runs: usize) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let gather = &state.gather;
        let form = weights.matrix(linear.matrix).form_for(state.form);
        state.input.fill(tokens, width, form, |t, row| {
            for (run, row) in row.chunks_exact_mut(width / runs).enumerate() {
                let piece = |s: usize| gather.width(s) / runs;
                gather.copy_columns(t, |s| run * piece(s)..(run + 1) * piece(s), row);
            }
        });
        state
            .gather
            .begin(tokens, |s| shard.rows(hyper.embedding_length, s));
        let own = state.gather.width(shard.index);
        multiply(
            weights,
            linear,
            state.form,
            &mut state.input,
            state.gather.slice_mut(shard.index),
            own,
        );
    }
}

/// Twelve bits for V where its format has blocks of 32. What is rounded there goes into the residual stream as it is: no
/// softmax or norm dampens it. With eight bits, such a file's logits were at times further from the exact ones than ggml's,
/// with twelve never; the matrix is small. Super-blocks of 256 need none: ggml rounds their activations more coarsely.
fn form_of_values(weights: &crate::model::Weights, linear: Linear) -> Option<Form> {
    (weights.matrix(linear.matrix).ty().block_len() == 32).then_some(Form::I16)
}

/// `out[t, r] = matrix[r] . input[t] + bias[r]`
pub(super) fn multiply(
    weights: &crate::model::Weights,
    linear: Linear,
    form: Option<Form>,
    input: &mut kernels::Activations,
    out: &mut [f32],
    width: usize,
) {
    if width == 0 {
        return;
    }
    let matrix = weights.matrix(linear.matrix);
    let form = matrix.form_for(form);
    input.prepare(form);
    kernels::multiply_as(matrix, input, form, out, width);
    if let Some(bias) = linear.bias {
        for row in out.chunks_exact_mut(width) {
            vector::add_assign(row, weights.vector(bias));
        }
    }
}
