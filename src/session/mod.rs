//! Joins the layers above; synchronous; one call of [`Session::run`] computes to the next event.
//!
//! Every shard has a session. The leader's (shard 0) tokenises, samples and writes the answer; the others follow: before
//! each batch the leader sends a small packet that says which tokens at which position, and at the end one that says so.
//! A single shard sends no packets. Nothing here waits, reads a clock or does I/O.

mod answer;
mod constrained;
mod defaults;
mod gate;
mod group;
mod info;
mod leader;
mod lookup;
mod memory;
mod packet;
mod pooling;
mod prediction;
mod request;
mod scoring;
mod sequence;
mod timeline;

pub use defaults::{Proposal, ProposedSampling};
pub use info::Info;
pub use request::{
    FinishReason, MAX_TOP_LOGPROBS, Output, Problem, Request, Score, Shape, TokenLogprob, ToolChoice,
};

use std::rc::Rc;
use std::sync::Arc;

use crate::constrain::Constraints;
use crate::error::{Error, Kind, Result};
use crate::gguf::Gguf;
use crate::kernels::Form;
use crate::model::{Exchange, Forward, Model, Options, Step};
use crate::source::ByteSource;
use crate::tokenizer::Tokenizer;
use leader::Leader;
use memory::Memories;
use timeline::Reach;
pub use timeline::SavePlan;

/// Why [`Session::run`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The request is over.
    Done,
    /// Deliver the slices ([`Session::exchange_slice`]), then run again.
    Exchange(Exchange),
    /// Run again when convenient.
    Pause,
    /// The leader has something to say: [`Session::take_output`].
    Output,
}

/// What a session does next.
#[derive(Debug)]
enum Phase {
    /// Nothing.
    Idle,
    /// What the leader has to tell is told. Then the packet.
    Say,
    /// The packet is to be exchanged: the leader has written it, the others wait for it.
    Announce,
    /// The packet is here.
    Announced,
    /// A batch is on its way.
    Forward(Forward),
    /// The logits of the last token are on the leader.
    Sample,
}

/// One shard of a loaded model, and the conversation it is in.
pub struct Session {
    model: Model,
    info: Info,
    leader: Option<Leader>,
    memories: Memories,
    phase: Phase,
    packet: Vec<f32>,
    scratch: Vec<u8>,
}

/// What a shard of the model in `parts` would weigh, by its header alone: as [`Session::info`] says it once it is loaded, but for
/// the leader's `defaults`.
pub fn estimate(parts: &[&dyn ByteSource], options: &Options) -> Result<Info> {
    let gguf = Gguf::read_parts(parts)?;
    Ok(Info::new(&gguf, &Model::sizes(&gguf, options)?))
}

impl Session {
    /// Reads the header of the model in `parts` (one source per file) and allocates this shard. Then call
    /// [`Session::load_step`] until it returns true.
    pub fn open(parts: &[&dyn ByteSource], options: &Options) -> Result<Session> {
        let mut gguf = Gguf::read_parts(parts)?;
        let is_leader = options.shard.is_leader();
        let tokenizer = is_leader
            .then(|| Tokenizer::from_metadata(&gguf.metadata))
            .transpose()?;
        // Megabytes of words, which nobody else reads: the weights come into their memory.
        gguf.metadata.forget_arrays("tokenizer.");
        let model = Model::new(&gguf, options)?;
        let leader = tokenizer
            .map(|tokenizer| Leader::new(tokenizer, &gguf, &model))
            .transpose()?;
        let mut info = Info::new(&gguf, &model);
        info.defaults = leader.as_ref().map(Leader::proposal);
        Ok(Session {
            model,
            info,
            leader,
            memories: Memories::default(),
            phase: Phase::Idle,
            packet: vec![0.0; packet::LENGTH],
            scratch: Vec::new(),
        })
    }

    /// Loads a few MB of this shard's weights; true when all are there.
    pub fn load_step(&mut self, parts: &[&dyn ByteSource]) -> Result<bool> {
        let done = self.model.weights.load_step(parts, &mut self.scratch)?;
        if done {
            self.scratch = Vec::new();
        }
        Ok(done)
    }

    /// From the next request on: see [`Options::activations`]. Either dot product gives the same bits.
    pub fn use_form(&mut self, form: Option<Form>) {
        self.model.use_form(form);
        self.info.kernel = info::kernel(&self.model);
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What can be said of the model.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The tokenizer; on the leader only.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        Ok(&self.leader()?.tokenizer)
    }

    /// The same, to be kept; on the leader only.
    pub fn shared_tokenizer(&self) -> Result<Arc<Tokenizer>> {
        Ok(Arc::clone(&self.leader()?.tokenizer))
    }

    /// Sets who runs constraints, on the leader: an engine that is built without them asks it.
    pub fn set_constraints(&mut self, constraints: Rc<dyn Constraints>) -> Result<()> {
        match self.leader.as_mut() {
            Some(leader) => leader.constraints = Some(constraints),
            None => self.leader().map(drop)?,
        }
        Ok(())
    }

    /// Text of token ids, on the leader.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String> {
        let leader = self.leader()?;
        match ids.iter().find(|id| **id as usize >= leader.tokenizer.len()) {
            Some(id) => Err(leader.no_such_token(*id)),
            None => Ok(leader.tokenizer.decode(ids)),
        }
    }

    /// Begins a request, on the leader. Nothing is computed yet, but everything that can be wrong with it is found.
    pub fn start(&mut self, request: Request) -> Result<()> {
        self.expect_idle()?;
        let Some(leader) = self.leader.as_mut() else {
            return self.leader().map(|_| ());
        };
        leader.start(request, &self.model)?;
        leader.announce(&mut self.packet);
        self.phase = Phase::Say;
        Ok(())
    }

    /// How many tokens the prompt of a request has, on the leader. Nothing is computed.
    pub fn count_prompt(&mut self, request: &Request) -> Result<usize> {
        match self.leader.as_mut() {
            Some(leader) => leader.count(request),
            None => self.leader().map(|_| 0),
        }
    }

    /// Takes part in the leader's next request, on the other shards.
    pub fn follow(&mut self) -> Result<()> {
        self.expect_idle()?;
        if self.leader.is_some() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "the leader starts requests, it does not follow",
            ));
        }
        self.phase = Phase::Announce;
        Ok(())
    }

    /// Computes to the next event.
    pub fn run(&mut self) -> Result<Event> {
        self.advance().inspect_err(|_| self.cancel())
    }

    fn advance(&mut self) -> Result<Event> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Idle => return Ok(Event::Done),
                Phase::Say => {
                    if self
                        .leader
                        .as_ref()
                        .is_some_and(|leader| !leader.outputs.is_empty())
                    {
                        self.phase = Phase::Say;
                        return Ok(Event::Output);
                    }
                    self.phase = Phase::Announce;
                }
                Phase::Announce => {
                    self.phase = Phase::Announced;
                    if self.model.shard.count > 1 {
                        return Ok(Event::Exchange(Exchange::FromLeader));
                    }
                }
                Phase::Announced => {
                    let Some(forward) = self.read_packet()? else {
                        return Ok(Event::Done);
                    };
                    self.phase = Phase::Forward(forward);
                }
                Phase::Forward(mut forward) => {
                    let step = forward.step(&mut self.model);
                    if step == Step::Done {
                        self.phase = self.after_batch();
                        continue;
                    }
                    self.phase = Phase::Forward(forward);
                    return Ok(match step {
                        Step::Exchange(exchange) => Event::Exchange(exchange),
                        Step::Pause | Step::Done => Event::Pause,
                    });
                }
                Phase::Sample => {
                    self.phase = Phase::Say;
                    if let Some(leader) = self.leader.as_mut() {
                        leader.sample(self.model.state.logits())?;
                        leader.announce(&mut self.packet);
                    }
                }
            }
        }
    }

    /// The batch that the packet announces, or `None` for the end.
    fn read_packet(&mut self) -> Result<Option<Forward>> {
        match packet::read(&self.packet) {
            Some(packet) => {
                self.model.state.seats.keep(packet.seats);
                self.model.state.want_rows(packet.rows.into_iter());
                Forward::together(&mut self.model, &packet.tokens, &packet.parts).map(Some)
            }
            None => {
                self.model.state.seats.keep(0);
                Ok(None)
            }
        }
    }

    fn after_batch(&mut self) -> Phase {
        let Some(leader) = self.leader.as_mut() else {
            return Phase::Announce;
        };
        if !leader.predicted(self.model.state.logits()) && leader.batch_done(self.model.state.vectors()) {
            return Phase::Sample;
        }
        leader.announce(&mut self.packet);
        Phase::Say
    }

    /// What is to be said. On the leader, after [`Event::Output`].
    pub fn take_output(&mut self) -> Output {
        let leader = self.leader.as_mut();
        leader
            .and_then(|leader| leader.outputs.pop_front())
            .unwrap_or_default()
    }

    /// While an exchange is pending, a shard's slice of it: the own one is to be sent, the others are to be filled.
    pub fn exchange_slice(&mut self, shard: usize) -> &mut [f32] {
        match self.phase {
            Phase::Announced if shard == 0 => &mut self.packet,
            Phase::Announced => &mut [],
            _ => self.model.exchange_slice(shard),
        }
    }

    /// Numbers in that slice, also where this shard does not need it and has no memory for it.
    pub fn exchange_len(&self, shard: usize) -> usize {
        match self.phase {
            Phase::Announced if shard == 0 => self.packet.len(),
            Phase::Announced => 0,
            _ => self.model.exchange_len(shard),
        }
    }

    /// Drops the request in flight. What was computed whole stays in the cache; the session is usable at once.
    pub fn cancel(&mut self) {
        let reach = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Announce | Phase::Say => Reach::Nowhere,
            Phase::Forward(forward) if forward.is_everywhere() => Reach::Everywhere,
            _ => Reach::Somewhere,
        };
        if let Some(leader) = self.leader.as_mut() {
            leader.cancel(reach);
        }
        self.model.state.seats.keep(0);
    }

    fn leader(&self) -> Result<&Leader> {
        self.leader
            .as_ref()
            .ok_or_else(|| Error::new(Kind::InvalidArgument, "only the leader (shard 0) does this"))
    }

    fn expect_idle(&self) -> Result<()> {
        match self.phase {
            Phase::Idle => Ok(()),
            _ => Err(Error::new(
                Kind::InvalidArgument,
                "a request is in flight: end or cancel it first",
            )),
        }
    }
}
