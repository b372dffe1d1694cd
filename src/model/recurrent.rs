//! What the gated delta nets remember: per layer a small convolution window, and per value head a square matrix.
//!
//! Unlike a KV cache this cannot be cut back to an earlier token. So copies of it are kept at a few positions
//! ([`Recurrent::save`]), and a batch of which only the first tokens may count (a draft) leaves the state as it was and keeps
//! what its tokens would write ([`Recurrent::keep`]).

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use crate::kernels::cache::{read_plain, write_plain};
use crate::kernels::simd::delta_net;
use crate::model::forward::Batch;
use crate::model::hyper::{CONV_TAPS, DeltaNet, Hyper};
use crate::model::{Shard, zeros};

/// Tokens before the batch that the convolution sees.
pub const WINDOW: usize = CONV_TAPS - 1;

/// Most tokens of a draft batch, and tokens that go through a head's state together.
pub const MAX_DRAFT_BATCH: usize = 16;

/// Copies of the state that can be kept.
pub const SLOTS: usize = 2;

/// The slot whose copy is saved together with the state: that of the end of a prompt's last message.
pub const TURN: usize = 0;

/// The state of one layer, for the heads that this shard owns.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The last inputs of the convolution: `[WINDOW, own channels]`.
    pub window: Vec<f32>,
    /// `[own value heads, head_length, head_length]`, value by key.
    pub heads: Vec<f32>,
}

impl Layer {
    /// Becomes like another one.
    fn take(&mut self, from: &Layer) {
        self.window.copy_from_slice(&from.window);
        self.heads.copy_from_slice(&from.heads);
    }
}

/// What the tokens of a draft batch would write into one layer.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Inputs of the convolution, with the window before them: `[WINDOW + tokens, own channels]`.
    pub inputs: Vec<f32>,
    /// Keys: `[own key heads, tokens, head_length]`.
    pub keys: Vec<f32>,
    /// What is kept of the state: `[own value heads, tokens]`.
    pub decay: Vec<f32>,
    /// What is written: `[own value heads, tokens, head_length]`.
    pub written: Vec<f32>,
}

/// The state of all recurrent layers; empty in a model that has none.
pub struct Recurrent {
    shape: Shape,
    /// Tokens that the state has seen; `None` while a batch is on its way, or after one that did not end.
    position: Option<usize>,
    /// The state.
    pub(super) layers: Vec<Layer>,
    /// Of the draft batch on its way or just done, layer by layer.
    pub(super) drafts: Vec<Draft>,
    /// Tokens of the draft batch that was just done.
    drafted: usize,
    slots: [Option<Slot>; SLOTS],
}

/// A copy of the state.
#[derive(Clone)]
struct Slot {
    /// Tokens it has seen; `None` until the copy is whole.
    position: Option<usize>,
    layers: Vec<Layer>,
}

/// Own heads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) head_length: usize,
    /// Own query and key heads.
    pub(super) keys: usize,
    /// Own value heads.
    pub(super) values: usize,
}

impl Shape {
    /// Own channels of the convolution.
    pub(super) fn channels(self) -> usize {
        (2 * self.keys + self.values) * self.head_length
    }

    /// Where the channels of a key head and its value heads stand in a layer's window.
    fn windows(self, head: usize) -> impl Iterator<Item = Range<usize>> {
        let (length, channels) = (self.head_length, self.channels());
        let places = [head, self.keys + head].into_iter().chain(
            (head..self.values)
                .step_by(self.keys.max(1))
                .map(move |v| 2 * self.keys + v),
        );
        let rows = places.map(move |place| place * length..(place + 1) * length);
        (0..WINDOW).flat_map(move |t| {
            rows.clone()
                .map(move |row| t * channels + row.start..t * channels + row.end)
        })
    }

    /// Where the states of a key head's value heads stand among those of a layer.
    fn squares(self, head: usize) -> impl Iterator<Item = Range<usize>> {
        let square = self.head_length * self.head_length;
        (head..self.values)
            .step_by(self.keys.max(1))
            .map(move |v| v * square..(v + 1) * square)
    }

    fn of(net: DeltaNet, shard: Shard) -> Shape {
        let keys = shard.heads(net.key_heads, shard.index).len();
        Shape {
            head_length: net.head_length,
            keys,
            values: keys * net.ratio(),
        }
    }
}

impl Recurrent {
    /// The state before the first token.
    pub fn new(hyper: &Hyper, shard: Shard) -> Result<Recurrent> {
        let count = hyper.recurrent.iter().filter(|recurrent| **recurrent).count();
        let (shape, count) = match hyper.delta_net {
            Some(net) => (Shape::of(net, shard), count),
            None => (Shape::default(), 0),
        };
        Ok(Recurrent {
            shape,
            position: Some(0),
            layers: layers(shape, count)?,
            drafts: vec![Draft::default(); count],
            drafted: 0,
            slots: [const { None }; SLOTS],
        })
    }

    /// Another one with the same state, and no copies of earlier ones.
    pub(super) fn fork(&self) -> Result<Recurrent> {
        let mut fork = Recurrent {
            shape: self.shape,
            position: self.position,
            layers: layers(self.shape, self.layers.len())?,
            drafts: vec![Draft::default(); self.drafts.len()],
            drafted: 0,
            slots: [const { None }; SLOTS],
        };
        fork.layers
            .iter_mut()
            .zip(&self.layers)
            .for_each(|(to, from)| to.take(from));
        Ok(fork)
    }

    /// Frees the copies of earlier states.
    pub(super) fn drop_copies(&mut self) {
        self.slots = [const { None }; SLOTS];
    }

    /// Whether there is no state: the model is made of attention alone.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Bytes of the state and its copies.
    pub fn bytes(&self) -> usize {
        let copies = self.slots.iter().flatten().map(|slot| bytes_of(&slot.layers));
        self.state_bytes() + copies.sum::<usize>()
    }

    /// Bytes that the state, its copies and a draft can have at most.
    pub fn most_bytes(&self) -> usize {
        let Shape {
            head_length: length,
            keys,
            values,
        } = self.shape;
        let inputs = (WINDOW + MAX_DRAFT_BATCH) * self.shape.channels();
        let draft = inputs + MAX_DRAFT_BATCH * (keys * length + values * (1 + length));
        (1 + SLOTS) * self.state_bytes() + 4 * draft * self.layers.len()
    }

    /// Bytes of the state alone.
    pub(super) fn state_bytes(&self) -> usize {
        bytes_of(&self.layers)
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Makes ready for a batch of `tokens`: see [`Batch`].
    pub(super) fn begin(&mut self, tokens: usize, batch: &Batch) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        if batch.keep > 0 {
            self.keep(batch.keep)?;
        }
        self.drafted = 0;
        if let Some(slot) = batch.restore {
            self.restore(slot)?;
        }
        if batch.first == 0 {
            for layer in &mut self.layers {
                layer.window.fill(0.0);
                layer.heads.fill(0.0);
            }
            self.position = Some(0);
        }
        if self.position != Some(batch.first) {
            let message = format!(
                "a batch at position {}, but the recurrent state is at {:?}",
                batch.first, self.position
            );
            return Err(invalid(message));
        }
        if let Some(slot) = batch.save {
            self.save(slot)?;
        }
        if let Some(mark) = batch.mark {
            if batch.draft || !(1..=tokens).contains(&mark.tokens) {
                return Err(invalid(format!(
                    "a copy after {} of {tokens} tokens, draft: {}",
                    mark.tokens, batch.draft
                )));
            }
            self.slot_mut(mark.slot)?.position = None;
        }
        if !batch.draft {
            self.position = None;
        }
        Ok(())
    }

    /// The batch has gone through all layers' state.
    pub(super) fn end(&mut self, tokens: usize, batch: &Batch) {
        if batch.draft {
            self.drafted = tokens;
            return;
        }
        self.position = Some(batch.first + tokens);
        if let Some(mark) = batch.mark
            && let Some(Some(slot)) = self.slots.get_mut(mark.slot)
        {
            slot.position = Some(batch.first + mark.tokens);
        }
    }

    /// Takes the first `tokens` of the last draft batch into the state.
    pub fn keep(&mut self, tokens: usize) -> Result<()> {
        let Some(position) = self.position.filter(|_| tokens <= self.drafted) else {
            return Err(invalid(format!(
                "{tokens} tokens of a draft of {} are to be kept",
                self.drafted
            )));
        };
        let Shape {
            head_length: length,
            keys,
            ..
        } = self.shape;
        let drafted = self.drafted;
        for (layer, draft) in self.layers.iter_mut().zip(&self.drafts) {
            let channels = self.shape.channels();
            let window = &draft.inputs[tokens * channels..][..WINDOW * channels];
            layer.window.copy_from_slice(window);
            for (h, state) in layer.heads.chunks_exact_mut(length * length).enumerate() {
                let of_head = h * drafted * length;
                let of_key = h % keys * drafted * length;
                delta_net::write(
                    state,
                    &draft.keys[of_key..][..tokens * length],
                    &draft.decay[h * drafted..][..tokens],
                    &draft.written[of_head..][..tokens * length],
                );
            }
        }
        self.position = Some(position + tokens);
        self.drafted = 0;
        Ok(())
    }

    /// Copies the state into a slot.
    pub fn save(&mut self, slot: usize) -> Result<()> {
        let position = self.position;
        let to = self.slot_mut(slot)?;
        let mut copy = std::mem::take(&mut to.layers);
        copy.iter_mut()
            .zip(&self.layers)
            .for_each(|(to, from)| to.take(from));
        let to = self.slot_mut(slot)?;
        (to.layers, to.position) = (copy, position);
        Ok(())
    }

    /// Copies a slot into the state.
    pub fn restore(&mut self, slot: usize) -> Result<()> {
        let from = self.slots.get(slot).and_then(Option::as_ref);
        let Some((from, position)) = from.and_then(|slot| Some((slot, slot.position?))) else {
            return Err(invalid(format!("nothing is saved in slot {slot}")));
        };
        self.layers
            .iter_mut()
            .zip(&from.layers)
            .for_each(|(to, from)| to.take(from));
        (self.position, self.drafted) = (Some(position), 0);
        Ok(())
    }

    /// The layers of the state, or of the copy in a slot.
    pub(super) fn layers(&self, slot: Option<usize>) -> Result<&[Layer]> {
        match slot {
            None => Ok(&self.layers),
            Some(slot) => match self.slots.get(slot) {
                Some(Some(slot)) => Ok(&slot.layers),
                _ => Err(invalid(format!("nothing is saved in slot {slot}"))),
            },
        }
    }

    /// Bytes of [`Recurrent::export`].
    pub(super) fn state_bytes_of(&self, head: usize) -> usize {
        let ranges = self.shape.windows(head).chain(self.shape.squares(head));
        4 * ranges.map(|range| range.len()).sum::<usize>()
    }

    /// Adds the state of one own key head and its value heads to `out`.
    pub(super) fn export(
        &self,
        slot: Option<usize>,
        layer: usize,
        head: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let layer = &self.layers(slot)?[layer];
        for range in self.shape.windows(head) {
            write_plain(&layer.window[range], out);
        }
        for range in self.shape.squares(head) {
            write_plain(&layer.heads[range], out);
        }
        Ok(())
    }

    /// Takes back what [`Recurrent::export`] gave.
    pub(super) fn import(
        &mut self,
        slot: Option<usize>,
        layer: usize,
        head: usize,
        mut bytes: &[u8],
    ) -> Result<()> {
        let shape = self.shape;
        let expected = self.state_bytes_of(head);
        if bytes.len() != expected {
            return Err(Error::new(
                Kind::Integrity,
                format!("{} bytes of recurrent state, expected {expected}", bytes.len()),
            ));
        }
        let layer = match slot {
            None => &mut self.layers[layer],
            Some(slot) => &mut self.slot_mut(slot)?.layers[layer],
        };
        for range in shape.windows(head) {
            read_plain(&mut bytes, &mut layer.window[range]);
        }
        for range in shape.squares(head) {
            read_plain(&mut bytes, &mut layer.heads[range]);
        }
        Ok(())
    }

    /// Makes the state, or a slot, one of this position: what is imported next.
    pub(super) fn prepare(&mut self, slot: Option<usize>, position: usize) -> Result<()> {
        match slot {
            None => (self.position, self.drafted) = (Some(position), 0),
            Some(slot) => self.slot_mut(slot)?.position = Some(position),
        }
        Ok(())
    }

    /// One layer, what its tokens would write, and the layer in the slot that is being filled.
    pub(super) fn layer(
        &mut self,
        index: usize,
        mark: Option<usize>,
    ) -> (&mut Layer, &mut Draft, Option<&mut Layer>) {
        let marked = mark.and_then(|slot| self.slots.get_mut(slot)?.as_mut()?.layers.get_mut(index));
        (&mut self.layers[index], &mut self.drafts[index], marked)
    }

    fn slot_mut(&mut self, slot: usize) -> Result<&mut Slot> {
        let (shape, count) = (self.shape, self.layers.len());
        let place = self
            .slots
            .get_mut(slot)
            .ok_or_else(|| invalid(format!("slot {slot}: there are {SLOTS}")))?;
        match place {
            Some(slot) => Ok(slot),
            None => Ok(place.insert(Slot {
                position: None,
                layers: layers(shape, count)?,
            })),
        }
    }
}

fn bytes_of(layers: &[Layer]) -> usize {
    let floats = layers.iter().map(|layer| layer.window.len() + layer.heads.len());
    4 * floats.sum::<usize>()
}

fn invalid(message: String) -> Error {
    Error::new(Kind::InvalidArgument, message).at("recurrent state")
}

/// `count` layers of zeros.
fn layers(shape: Shape, count: usize) -> Result<Vec<Layer>> {
    let layer = |_| {
        Ok(Layer {
            window: zeros(WINDOW * shape.channels())?,
            heads: zeros(shape.values * shape.head_length * shape.head_length)?,
        })
    };
    (0..count).map(layer).collect()
}
