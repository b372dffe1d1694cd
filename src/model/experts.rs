//! A mixture of experts: a router sends each token to a few of many feed-forward blocks, and adds what they say by weight
//! (Shazeer et al., 2017). An expert is computed only for the tokens that chose it, together.

use crate::error::Result;
use crate::kernels::{Activations, vector};
use crate::model::blocks::multiply;
use crate::model::hyper::{Experts, Hyper};
use crate::model::weights::FeedForward;
use crate::model::{MAX_BATCH, Model, Shard, zeros};

/// The chosen experts' weights are divided by their sum, or by this if that is smaller.
const LEAST_SUM: f32 = 6.103_515_6e-5;

/// Buffers of the experts, allocated once.
#[derive(Default)]
pub(super) struct Buffers {
    /// The input of one expert.
    input: Option<Activations>,
    /// The router's probabilities: `[MAX_BATCH, experts]`.
    router: Vec<f32>,
    /// Which experts the tokens go to, and with which weight: `[tokens, used]`, the likeliest first.
    choices: Vec<(usize, f32)>,
    /// How much of the shared expert is added: `[tokens]`.
    shared: Vec<f32>,
    /// Results of one expert: `[MAX_BATCH, own rows]` each.
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Buffers {
    pub(super) fn new(hyper: &Hyper, shard: Shard) -> Result<Buffers> {
        let Some(experts) = hyper.experts else {
            return Ok(Buffers::default());
        };
        let longest = experts.feed_forward_length.max(experts.shared_length);
        let own = shard
            .own(longest)
            .len()
            .max(shard.own(hyper.embedding_length).len());
        Ok(Buffers {
            input: Some(Activations::new(MAX_BATCH, longest.max(hyper.embedding_length))?),
            router: zeros(MAX_BATCH * experts.count)?,
            choices: Vec::with_capacity(MAX_BATCH * experts.used),
            shared: zeros(MAX_BATCH)?,
            gate: zeros(MAX_BATCH * own)?,
            up: zeros(MAX_BATCH * own)?,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let floats = self.router.len() + self.shared.len() + self.gate.len() + self.up.len();
        let choices = self.choices.capacity() * size_of::<(usize, f32)>();
        4 * floats + choices + self.input.as_ref().map_or(0, Activations::most_bytes)
    }
}

/// Columns of a shard's slice between the two halves: for each choice of a token its own rows of that expert, then those of
/// the shared expert.
fn columns(shape: Experts, shard: Shard, of: usize) -> (usize, usize) {
    let own = |n: usize| shard.rows(n, of).len();
    (own(shape.feed_forward_length), own(shape.shared_length))
}

impl Model {
    /// Routes the tokens, and computes own rows of gate and up of the experts they go to. Leaves `[tokens, used * own rows +
    /// own rows of the shared expert]`.
    pub(super) fn experts_gate_up(&mut self, layer: usize, tokens: usize) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let FeedForward::Experts {
            router,
            experts,
            shared,
        } = &weights.layers[layer].ffn
        else {
            return;
        };
        let (Some(shape), buffers) = (hyper.experts, &mut state.experts) else {
            return;
        };
        let Some(input) = buffers.input.as_mut() else {
            return;
        };
        state.gather.begin(tokens, |s| {
            let (own, own_shared) = columns(shape, *shard, s);
            0..shape.used * own + own_shared
        });
        let width = state.gather.width(shard.index);
        let (own, own_shared) = columns(shape, *shard, shard.index);

        let scores = &mut buffers.router[..tokens * shape.count];
        multiply(
            weights,
            *router,
            state.form,
            &mut state.input,
            scores,
            shape.count,
        );
        buffers.choices.clear();
        for scores in scores.chunks_exact_mut(shape.count) {
            choose(scores, shape, &mut buffers.choices);
        }

        let slice = state.gather.slice_mut(shard.index);
        for (e, expert) in experts.iter().enumerate() {
            let chosen = chosen(&buffers.choices, e);
            let count = chosen.clone().count();
            if count == 0 || own == 0 {
                continue;
            }
            // All tokens of the batch: their input is ready, and in the form of the last matrix.
            let input = if count == tokens {
                &mut state.input
            } else {
                let form = weights.matrix(expert.gate.matrix).form_for(state.form);
                let mut rows = chosen.clone().map(|(at, _)| state.input.row(at / shape.used));
                input.fill(count, hyper.embedding_length, form, |_, row| {
                    row.copy_from_slice(rows.next().unwrap_or_default());
                });
                &mut *input
            };
            let (gate, up) = (&mut buffers.gate[..count * own], &mut buffers.up[..count * own]);
            multiply(weights, expert.gate, state.form, input, gate, own);
            multiply(weights, expert.up, state.form, input, up, own);
            let rows = gate.chunks_exact(own).zip(up.chunks_exact(own));
            for ((at, _), (gate, up)) in chosen.zip(rows) {
                let to = at / shape.used * width + at % shape.used * own;
                vector::silu_mul(gate, up, &mut slice[to..to + own]);
            }
        }
        let Some((shared, amount)) = shared else { return };
        let amounts = &mut buffers.shared[..tokens];
        multiply(weights, *amount, state.form, &mut state.input, amounts, 1);
        amounts
            .iter_mut()
            .for_each(|amount| *amount = 1.0 / (1.0 + (-*amount).exp()));
        if own_shared > 0 {
            let (gate, up) = (
                &mut buffers.gate[..tokens * own_shared],
                &mut buffers.up[..tokens * own_shared],
            );
            multiply(
                weights,
                shared.gate,
                state.form,
                &mut state.input,
                gate,
                own_shared,
            );
            multiply(weights, shared.up, state.form, &mut state.input, up, own_shared);
            let rows = gate.chunks_exact(own_shared).zip(up.chunks_exact(own_shared));
            for (slice, (gate, up)) in slice.chunks_exact_mut(width).zip(rows) {
                vector::silu_mul(gate, up, &mut slice[shape.used * own..]);
            }
        }
    }

    /// Own rows of down of the same experts, added up by weight: in the order of the experts, the shared one last. Leaves
    /// `[tokens, own rows of embedding]`.
    pub(super) fn experts_down(&mut self, layer: usize, tokens: usize) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let FeedForward::Experts { experts, shared, .. } = &weights.layers[layer].ffn else {
            return;
        };
        let (Some(shape), buffers) = (hyper.experts, &mut state.experts) else {
            return;
        };
        let Some(input) = buffers.input.as_mut() else {
            return;
        };
        let own = shard.own(hyper.embedding_length).len();
        // The slices that were gathered are read until the last product, so the sums stand beside them.
        let sums = &mut buffers.up[..tokens * own];
        sums.fill(0.0);
        for (e, expert) in experts.iter().enumerate() {
            let chosen = chosen(&buffers.choices, e);
            let count = chosen.clone().count();
            if count == 0 || own == 0 {
                continue;
            }
            let form = weights.matrix(expert.down.matrix).form_for(state.form);
            let mut places = chosen.clone().map(|(at, _)| at);
            input.fill(count, shape.feed_forward_length, form, |_, row| {
                let at = places.next().unwrap_or(0);
                let piece = |s: usize| {
                    let own = columns(shape, *shard, s).0;
                    at % shape.used * own..(at % shape.used + 1) * own
                };
                state.gather.copy_columns(at / shape.used, piece, row);
            });
            let out = &mut buffers.gate[..count * own];
            multiply(weights, expert.down, state.form, input, out, own);
            for ((at, weight), out) in chosen.zip(out.chunks_exact(own)) {
                let sum = &mut sums[at / shape.used * own..][..own];
                sum.iter_mut().zip(out).for_each(|(sum, x)| *sum += weight * x);
            }
        }
        if let Some((shared, _)) = shared
            && own > 0
        {
            let form = weights.matrix(shared.down.matrix).form_for(state.form);
            input.fill(tokens, shape.shared_length, form, |t, row| {
                let piece = |s: usize| {
                    let (own, own_shared) = columns(shape, *shard, s);
                    shape.used * own..shape.used * own + own_shared
                };
                state.gather.copy_columns(t, piece, row);
            });
            let out = &mut buffers.gate[..tokens * own];
            multiply(weights, shared.down, state.form, input, out, own);
            let rows = sums.chunks_exact_mut(own).zip(out.chunks_exact(own));
            for ((sum, out), amount) in rows.zip(&buffers.shared) {
                sum.iter_mut().zip(out).for_each(|(sum, x)| *sum += amount * x);
            }
        }
        state
            .gather
            .begin(tokens, |s| shard.rows(hyper.embedding_length, s));
        state.gather.slice_mut(shard.index).copy_from_slice(sums);
    }
}

/// The places in `choices` where expert `e` was chosen, with its weight.
fn chosen(choices: &[(usize, f32)], e: usize) -> impl Iterator<Item = (usize, f32)> + Clone {
    let places = choices.iter().enumerate();
    places.filter_map(move |(at, (expert, weight))| (*expert == e).then_some((at, *weight)))
}

/// Adds a token's experts to `choices`: the likeliest, the first of equals, with weights that add up to `shape.scale`.
fn choose(scores: &mut [f32], shape: Experts, choices: &mut Vec<(usize, f32)>) {
    vector::softmax(scores);
    // Where there is no number, all would be of one kind, and an expert would be chosen twice.
    scores.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.0);
    let first = choices.len();
    for _ in 0..shape.used {
        let best = vector::argmax(scores);
        choices.push((best, scores[best]));
        scores[best] = f32::NEG_INFINITY;
    }
    let sum: f32 = choices[first..].iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut choices[first..] {
        *weight *= shape.scale / sum.max(LEAST_SUM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_chosen_and_their_weights_add_up() {
        let shape = Experts {
            count: 5,
            used: 2,
            feed_forward_length: 1,
            shared_length: 0,
            scale: 1.0,
        };
        let mut choices = vec![(9, 9.0)];
        choose(&mut [0.0, 2.0, 1.0, 2.0, -1.0], shape, &mut choices);
        assert_eq!(choices[1..], [(1, 0.5), (3, 0.5)]);
        let mut scores = [f32::NAN; 5];
        choose(&mut scores, shape, &mut choices);
        assert!(choices.iter().all(|(e, _)| *e < 5 || *e == 9));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut choices = Vec::new();
            choose(
                &mut [0.0, bad, 1.0, 2.0, -1.0],
                Experts { used: 5, ..shape },
                &mut choices,
            );
            let mut chosen: Vec<usize> = choices.iter().map(|(e, _)| *e).collect();
            chosen.sort_unstable();
            assert_eq!(chosen, [0, 1, 2, 3, 4], "a score of {bad}");
        }
    }
}
