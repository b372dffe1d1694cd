//! What is remembered of a text, as bytes that can be kept and taken back: keys and values, and the recurrent state.
//!
//! Every shard writes a part, in pieces of one head each; so a model in another number of shards finds its heads in the
//! parts of several. A file is the parts one behind the other, in any order. All numbers are little-endian.
//!
//! ```text
//! part     magic [8], bytes of the part u64, sum of what follows the sum u64, head, tokens, pieces
//! head     version u32, build u32, shape of the model u64, its weights u64 (0 unless by the leader), kind of cache u32,
//!          position u32, turn u32 (0 for none), number of tokens u32 (0 unless by the leader), number of pieces u32
//! tokens   u32 each
//! piece    kind u32, layer u32, head u32, bytes u32, and so many bytes
//! ```

use std::collections::HashMap;

use crate::error::{Error, Kind, Result};
use crate::kernels::cache::{read_plain, write_plain};
use crate::kernels::lanes;
use crate::model::recurrent::TURN;
use crate::model::{Memory, Model, Shard};
use crate::source::block_sum;

const MAGIC: &[u8; 8] = b"FANLSESS";
/// Changes whenever a part would be read in another way, or a cache would mean another thing.
const VERSION: u32 = 1;
/// Bytes before the head: magic, length, sum.
const PREFIX: usize = 24;
const HEAD: usize = 11 * 4;
/// Bytes of a piece before its contents.
const PIECE: usize = 4 * 4;

/// The kinds of pieces.
const KEYS_AND_VALUES: u32 = 1;
const STATE: u32 = 2;
const TURN_STATE: u32 = 3;

/// Results differ between the builds in the last bits.
const BUILD: u32 = if lanes::RELAXED {
    2
} else if cfg!(target_arch = "wasm32") {
    1
} else {
    0
};

/// What is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct Saving<'a> {
    /// The tokens of all positions; only the leader knows them.
    pub tokens: &'a [u32],
    /// How many positions.
    pub position: usize,
    /// The recurrent state is the copy in this slot, not the live one.
    pub slot: Option<usize>,
    /// The turn's slot holds a copy made at this position.
    pub turn: Option<usize>,
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The tokens of all positions; as many as there are positions, if the leader's part was there.
    pub tokens: Vec<u32>,
    /// How many positions.
    pub position: usize,
    /// The turn's slot holds a copy made at this position.
    pub turn: Option<usize>,
}

impl Model {
    /// This shard's part.
    pub fn save(&self, what: &Saving) -> Result<Vec<u8>> {
        let Memory { cache, recurrent } = &self.state.seats.own;
        let (kv_heads, key_heads) = self.heads(self.shard.index);
        let states = [
            Some((STATE, what.slot)),
            what.turn.map(|_| (TURN_STATE, Some(TURN))),
        ];
        let states: Vec<_> = states.into_iter().flatten().collect();
        let attention = cache.layer_count() * kv_heads.len();
        let count = attention + states.len() * recurrent.layers(None)?.len() * key_heads.len();

        // It may be as large as a small model: there is never more than one copy of it.
        let mut part = Vec::new();
        let contents =
            attention * cache.exported_bytes(what.position) + states.len() * recurrent.state_bytes();
        let bytes = PREFIX + HEAD + what.tokens.len() * 4 + count * PIECE + contents;
        part.try_reserve_exact(bytes).map_err(|_| {
            let message = format!("{bytes} bytes for the saved session could not be allocated");
            Error::new(Kind::OutOfMemory, message)
        })?;
        part.extend(MAGIC);
        write_plain(&[bytes as u64, 0], &mut part);
        write_plain(&[VERSION, BUILD], &mut part);
        write_plain(&[self.shape(), self.identity()], &mut part);
        let turn = what.turn.unwrap_or(0);
        let (kind, tokens) = (cache.kind() as usize, what.tokens.len());
        let numbers = [kind, what.position, turn, tokens, count].map(|number| number as u32);
        write_plain(&numbers, &mut part);
        write_plain(what.tokens, &mut part);

        for layer in 0..cache.layer_count() {
            for (local, head) in kv_heads.clone().enumerate() {
                let length = cache.exported_bytes(what.position);
                write_plain(
                    &[KEYS_AND_VALUES, layer as u32, head as u32, length as u32],
                    &mut part,
                );
                cache.export(layer, local, what.position, &mut part)?;
            }
        }
        for (kind, slot) in states {
            for layer in 0..recurrent.layers(slot)?.len() {
                for (local, head) in key_heads.clone().enumerate() {
                    let length = recurrent.state_bytes_of(local);
                    write_plain(&[kind, layer as u32, head as u32, length as u32], &mut part);
                    recurrent.export(slot, layer, local, &mut part)?;
                }
            }
        }
        debug_assert_eq!(part.len(), bytes);
        let sum = block_sum(&part[PREFIX..]);
        part[PREFIX - 8..PREFIX].copy_from_slice(&sum.to_le_bytes());
        Ok(part)
    }

    /// Takes back what all shards have saved, in however many parts. The memory should be a new one: after an error it is
    /// of no use.
    ///
    /// [`Kind::MalformedFile`] if it is no such file, [`Kind::Integrity`] if it is damaged or lacks something,
    /// [`Kind::InvalidArgument`] if it is of another model, build, version or kind of cache, [`Kind::ContextFull`] if
    /// the context is too small for it.
    pub fn load(&mut self, mut bytes: &[u8]) -> Result<Loaded> {
        let mut loaded: Option<Loaded> = None;
        let mut pieces = HashMap::new();
        while !bytes.is_empty() {
            let part = self.part(&mut bytes, &mut pieces)?;
            let known = loaded.get_or_insert_with(|| Loaded {
                tokens: Vec::new(),
                ..part.clone()
            });
            if (known.position, known.turn) != (part.position, part.turn) {
                return Err(damaged("its parts do not belong together"));
            }
            if !part.tokens.is_empty() {
                known.tokens = part.tokens;
            }
        }
        let loaded = loaded.ok_or_else(foreign)?;
        if self.shard.is_leader() && loaded.tokens.len() != loaded.position {
            return Err(damaged("the leader's part is missing"));
        }
        self.state.seats.own.cache.reserve(loaded.position)?;
        let find = |kind: u32, layer: usize, head: usize| {
            let piece = pieces.get(&(kind, layer as u32, head as u32));
            piece.copied().ok_or_else(|| damaged("a part is missing"))
        };
        let (kv_heads, key_heads) = self.heads(self.shard.index);
        for layer in 0..self.state.seats.own.cache.layer_count() {
            for (local, head) in kv_heads.clone().enumerate() {
                let piece = match find(KEYS_AND_VALUES, layer, head) {
                    // A block that predicts tokens can do without what it has seen: its guesses get worse, the answer does not.
                    Err(_) if layer >= self.hyper.attention_layers() => continue,
                    piece => piece?,
                };
                let cache = &mut self.state.seats.own.cache;
                cache.import(layer, local, loaded.position, piece)?;
            }
        }
        let recurrent = &mut self.state.seats.own.recurrent;
        let copies = [
            Some((STATE, None, loaded.position)),
            loaded.turn.map(|turn| (TURN_STATE, Some(TURN), turn)),
        ];
        for (kind, slot, position) in copies.into_iter().flatten() {
            recurrent.prepare(slot, position)?;
            for layer in 0..recurrent.layers(None)?.len() {
                for (local, head) in key_heads.clone().enumerate() {
                    recurrent.import(slot, layer, local, find(kind, layer, head)?)?;
                }
            }
        }
        Ok(loaded)
    }

    /// Reads the part at the beginning of `bytes`, which then begin behind it.
    fn part<'a>(
        &self,
        bytes: &mut &'a [u8],
        pieces: &mut HashMap<(u32, u32, u32), &'a [u8]>,
    ) -> Result<Loaded> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(foreign)?;
        let [length, sum] = numbers::<u64, 2>(&mut rest)?;
        let length = usize::try_from(length).ok().filter(|length| *length >= PREFIX);
        let part = length.and_then(|length| bytes.get(..length));
        let part = part.ok_or_else(|| damaged("it ends too early"))?;
        *bytes = &bytes[part.len()..];
        let mut body = &part[PREFIX..];
        if block_sum(body) != sum {
            return Err(damaged("its sum is another one"));
        }
        let [version, build] = numbers::<u32, 2>(&mut body)?;
        let [shape, identity] = numbers::<u64, 2>(&mut body)?;
        let [kind, position, turn, tokens, count] = numbers::<u32, 5>(&mut body)?;
        let another = |what: &str| {
            let message = format!("the saved session is of another {what}: it cannot be used here");
            Err(Error::new(Kind::InvalidArgument, message))
        };
        if version != VERSION {
            return another("version of the format");
        }
        if shape != self.shape() || (identity != 0 && self.identity() != 0 && identity != self.identity()) {
            return another("model");
        }
        if build != BUILD {
            return another("build of the engine");
        }
        if kind != self.state.seats.own.cache.kind() as u32 {
            return another("kvType");
        }
        let own = (tokens as usize)
            .checked_mul(4)
            .and_then(|length| body.get(..length));
        let mut own = own.ok_or_else(|| damaged("it ends too early"))?;
        body = &body[own.len()..];
        let mut ids = vec![0u32; tokens as usize];
        read_plain(&mut own, &mut ids);
        for _ in 0..count {
            let [kind, layer, head, length] = numbers::<u32, 4>(&mut body)?;
            let piece = body.get(..length as usize);
            let piece = piece.ok_or_else(|| damaged("it ends too early"))?;
            body = &body[piece.len()..];
            pieces.insert((kind, layer, head), piece);
        }
        Ok(Loaded {
            tokens: ids,
            position: position as usize,
            turn: (turn > 0).then_some(turn as usize),
        })
    }

    /// The key-value heads and the delta nets' key heads that a shard owns.
    fn heads(&self, of: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let keys = self.hyper.delta_net.map_or(0, |net| net.key_heads);
        (
            self.shard.heads(self.hyper.head_count_kv, of),
            self.shard.heads(keys, of),
        )
    }

    /// A number that models of another shape do not have.
    fn shape(&self) -> u64 {
        block_sum(format!("{:?}", self.hyper).as_bytes())
    }

    /// A number that models with other weights do not have; 0 on a shard that does not know it.
    fn identity(&self) -> u64 {
        match self.shard {
            shard if shard.is_leader() => self.weights.identity(),
            Shard { .. } => 0,
        }
    }
}

/// The next numbers.
fn numbers<T: crate::kernels::cache::Plain + Default, const N: usize>(bytes: &mut &[u8]) -> Result<[T; N]> {
    let mut numbers = [T::default(); N];
    if bytes.len() < size_of_val(&numbers) {
        return Err(damaged("it ends too early"));
    }
    read_plain(bytes, &mut numbers);
    Ok(numbers)
}

fn damaged(how: &str) -> Error {
    Error::new(
        Kind::Integrity,
        format!("the saved session is damaged: {how}; save it again"),
    )
}

fn foreign() -> Error {
    Error::new(Kind::MalformedFile, "this is not a saved session")
}
