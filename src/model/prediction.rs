//! The block that some files have behind their layers, which predicts the token after the next one (multi-token prediction;
//! DeepSeek-AI, 2024, "DeepSeek-V3"): `layer(join [norm(embedding of token t + 1); norm(what the layers made of token t)])`, then
//! a norm and the output matrix. Its own result takes the place of the layers' for a further guess.
//!
//! Of the output matrix only the first rows are used, which are kept once more, divided evenly among the shards: the whole
//! matrix is a third of a small model, and byte-pair tokens are numbered by how frequent they are. What is guessed wrong
//! is found when it is verified.

use crate::gguf::Gguf;
use crate::kernels::vector;
use crate::model::Model;
use crate::model::blocks::multiply;
use crate::model::hyper::Hyper;

/// Tokens that may be guessed: with ids below this.
pub(super) const PREDICTED: usize = 1 << 15;

/// Whether the file has such a block: one, with its weights. (Files exist that count it and lack it.)
pub(super) fn is_there(gguf: &Gguf, hyper: &Hyper) -> bool {
    let join = format!("blk.{}.nextn.eh_proj.weight", hyper.block_count);
    hyper.predicting == 1 && gguf.tensor(&join).is_some()
}

impl Model {
    /// Own rows of the block's input, of the embedding of each token and what is kept of the token before. Leaves
    /// `[tokens, own rows of embedding]`.
    pub(super) fn join(&mut self, tokens: usize) {
        let Model {
            hyper,
            shard,
            weights,
            state,
            ..
        } = self;
        let Some(handles) = weights.prediction else { return };
        let width = hyper.embedding_length;
        let form = weights.matrix(handles.join.matrix).form_for(state.form);
        let norms = [handles.token_norm, handles.state_norm].map(|norm| weights.vector(norm));
        state.input.fill(tokens, 2 * width, form, |t, row| {
            let parts = [&state.x, &state.kept].map(|x| &x[t * width..][..width]);
            for ((x, norm), out) in parts.into_iter().zip(norms).zip(row.chunks_exact_mut(width)) {
                vector::rms_norm(x, norm, hyper.rms_epsilon, out);
            }
        });
        state.gather.begin(tokens, |s| shard.rows(width, s));
        let own = state.gather.width(shard.index);
        let out = state.gather.slice_mut(shard.index);
        multiply(weights, handles.join, state.form, &mut state.input, out, own);
    }

    /// The gathered input becomes the residual stream.
    pub(super) fn take_joined(&mut self, tokens: usize) {
        let width = self.hyper.embedding_length;
        for (t, x) in self.state.x.chunks_exact_mut(width).take(tokens).enumerate() {
            self.state.gather.copy_row(t, x);
        }
    }

    /// Keeps what the layers have made of the batch's tokens for the next prediction; after a prediction, what the block
    /// has made of the last one.
    pub(super) fn keep_for_prediction(&mut self, tokens: usize, predicted: bool) {
        let Model {
            hyper,
            weights,
            state,
            ..
        } = self;
        let Some(handles) = weights.prediction else { return };
        let width = hyper.embedding_length;
        let (norm, from) = match predicted {
            true => (handles.norm, tokens - 1),
            false => (weights.output_norm, 0),
        };
        let rows = state.x[from * width..tokens * width].chunks_exact(width);
        for (x, kept) in rows.zip(state.kept.chunks_exact_mut(width)) {
            vector::rms_norm(x, weights.vector(norm), hyper.rms_epsilon, kept);
        }
    }
}
