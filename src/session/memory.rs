//! Several conversations in one model: each has its own memory, of which one at a time is in use. The others wait here. A
//! memory can be copied, saved as bytes, and made from them.
//!
//! All shards get the same calls in the same order; the numbers of memories are chosen by the caller. Number 0 is there from
//! the beginning.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::model::{Loaded, Memory};
use crate::session::Session;
use crate::session::timeline::{SavePlan, Timeline};

/// Most memories at a time: far more than fit.
const MAX_MEMORIES: usize = 256;

/// A memory that is not in use.
struct Waiting {
    memory: Memory,
    /// Only the leader's means something.
    timeline: Timeline,
}

/// All memories but the one in use.
#[derive(Default)]
pub(super) struct Memories {
    active: u32,
    waiting: BTreeMap<u32, Waiting>,
}

impl Session {
    /// A new memory, with nothing in it.
    pub fn new_memory(&mut self, id: u32) -> Result<()> {
        self.expect_new(id)?;
        let memory = self.model.empty_memory()?;
        let timeline = Timeline::new(!memory.recurrent.is_empty());
        self.memories.waiting.insert(id, Waiting { memory, timeline });
        Ok(())
    }

    /// Further requests go on in this memory.
    pub fn use_memory(&mut self, id: u32) -> Result<()> {
        self.expect_idle()?;
        if id == self.memories.active {
            return Ok(());
        }
        let Some(mut waiting) = self.memories.waiting.remove(&id) else {
            return Err(unknown(id));
        };
        self.swap(&mut waiting);
        self.memories.waiting.insert(self.memories.active, waiting);
        self.memories.active = id;
        Ok(())
    }

    /// Forgets a memory that is not in use.
    pub fn drop_memory(&mut self, id: u32) -> Result<()> {
        self.memories
            .waiting
            .remove(&id)
            .map(|_| ())
            .ok_or_else(|| unknown(id))
    }

    /// What of the memory in use can be saved; on the leader. All shards then save by this plan, at once.
    pub fn plan_memory(&self) -> Result<SavePlan> {
        self.expect_idle()?;
        Ok(self.leader()?.timeline().saving())
    }

    /// This shard's part of the memory in use: see [`crate::model::Model::save`].
    pub fn save_memory(&mut self, plan: SavePlan) -> Result<Vec<u8>> {
        self.expect_idle()?;
        if plan.keep() > 0 {
            self.model.state.seats.own.recurrent.keep(plan.keep())?;
        }
        let tokens = match self.leader.as_mut() {
            None => &[],
            Some(leader) => {
                leader.timeline_mut().settled();
                let tokens = leader.timeline().tokens();
                let saved = tokens.get(..plan.saving(&[]).position);
                saved.ok_or_else(|| Error::new(Kind::InvalidArgument, "a plan of another memory"))?
            }
        };
        self.model.save(&plan.saving(tokens))
    }

    /// A new memory from what all shards have saved: see [`crate::model::Model::load`] for the errors.
    pub fn load_memory(&mut self, id: u32, bytes: &[u8]) -> Result<()> {
        self.expect_new(id)?;
        let mut waiting = Waiting {
            memory: self.model.empty_memory()?,
            timeline: Timeline::default(),
        };
        // The model loads into the memory in use.
        self.swap(&mut waiting);
        let loaded = self.model.load(bytes);
        self.swap(&mut waiting);
        let loaded: Loaded = loaded?;
        waiting.timeline = Timeline::of(loaded, !waiting.memory.recurrent.is_empty());
        self.memories.waiting.insert(id, waiting);
        Ok(())
    }

    /// A new memory like the one in use, by the leader's plan.
    pub fn copy_memory(&mut self, id: u32, plan: SavePlan) -> Result<()> {
        let bytes = self.save_memory(plan)?;
        self.load_memory(id, &bytes)
    }

    /// Exchanges the memory in use for another one.
    fn swap(&mut self, waiting: &mut Waiting) {
        std::mem::swap(&mut self.model.state.seats.own, &mut waiting.memory);
        if let Some(leader) = self.leader.as_mut() {
            std::mem::swap(leader.timeline_mut(), &mut waiting.timeline);
        }
    }

    fn expect_new(&self, id: u32) -> Result<()> {
        self.expect_idle()?;
        let memories = &self.memories;
        if id == memories.active || memories.waiting.contains_key(&id) {
            let message = format!("memory {id} is there already");
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        if memories.waiting.len() >= MAX_MEMORIES {
            let message = format!("{MAX_MEMORIES} sessions are there already: dispose some");
            return Err(Error::new(Kind::OutOfMemory, message));
        }
        Ok(())
    }
}

fn unknown(id: u32) -> Error {
    Error::new(Kind::InvalidArgument, format!("there is no memory {id}"))
}
