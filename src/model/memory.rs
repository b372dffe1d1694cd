//! What a model remembers of a text, and of several texts at a time: each has a seat. Texts that are computed together begin as
//! forks of the one in the first seat, which holds what they have in common.

use crate::error::{Error, Kind, Result};
use crate::kernels::cache::KvCache;
use crate::model::forward::Part;
use crate::model::{Hyper, Model, Recurrent, Shard};

/// Most texts in one batch. Measured with qwen3-0.6b Q4_K_M: see SPEED.md, "Several texts together".
pub const MAX_SEATS: usize = 8;

/// What is remembered of one text.
pub struct Memory {
    /// Keys and values of the tokens seen.
    pub cache: KvCache,
    /// The state of the recurrent layers.
    pub recurrent: Recurrent,
}

impl Memory {
    /// Nothing, in a memory like this one.
    pub(super) fn empty(&self, hyper: &Hyper, shard: Shard) -> Result<Memory> {
        Ok(Memory {
            cache: self.cache.empty(),
            recurrent: Recurrent::new(hyper, shard)?,
        })
    }
}

/// The memories in use.
pub struct Seats {
    /// That of the model itself, or of the session in use: seat 0.
    pub own: Memory,
    /// Seats 1 to [`MAX_SEATS`].
    others: [Option<Memory>; MAX_SEATS],
}

impl Seats {
    /// With only the first one.
    pub(super) fn new(own: Memory) -> Seats {
        Seats {
            own,
            others: [const { None }; MAX_SEATS],
        }
    }

    /// The memory of a seat, if it is taken.
    pub(super) fn get_mut(&mut self, seat: usize) -> Option<&mut Memory> {
        match seat.checked_sub(1) {
            None => Some(&mut self.own),
            Some(other) => self.others.get_mut(other)?.as_mut(),
        }
    }

    /// Frees all seats but the first and these: seat 1 is bit 0.
    pub fn keep(&mut self, seats: u32) {
        for (bit, memory) in self.others.iter_mut().enumerate() {
            if seats >> bit & 1 == 0 {
                *memory = None;
            }
        }
    }

    /// Bytes of a recurrent state, without the copies of earlier ones.
    pub fn state_bytes(&self) -> usize {
        self.own.recurrent.state_bytes()
    }
}

impl Model {
    /// An empty memory like that of this model.
    pub fn empty_memory(&self) -> Result<Memory> {
        self.state.seats.own.empty(&self.hyper, self.shard)
    }

    /// Makes the seat of a part ready for it: a new text begins where the first seat's is, `part.batch.first` tokens long, once
    /// that has kept or restored what the part says. What the first seat remembers behind that is lost.
    pub(super) fn take_seat(&mut self, part: &mut Part) -> Result<()> {
        let Some(other) = part.seat.checked_sub(1) else {
            return Ok(());
        };
        if part.fork {
            let fork = match part.batch.first {
                0 => self.empty_memory()?,
                first => {
                    let own = &mut self.state.seats.own;
                    if part.batch.keep > 0 {
                        own.recurrent.keep(std::mem::take(&mut part.batch.keep))?;
                    }
                    if let Some(slot) = part.batch.restore.take() {
                        own.recurrent.restore(slot)?;
                    }
                    own.recurrent.drop_copies();
                    own.cache.truncate(first);
                    Memory {
                        cache: own.cache.fork(first)?,
                        recurrent: own.recurrent.fork()?,
                    }
                }
            };
            if let Some(seat) = self.state.seats.others.get_mut(other) {
                *seat = Some(fork);
            }
        }
        match self.state.seats.get_mut(part.seat) {
            Some(_) => Ok(()),
            None => Err(Error::new(
                Kind::InvalidArgument,
                format!("there is no text in seat {}", part.seat),
            )),
        }
    }
}
