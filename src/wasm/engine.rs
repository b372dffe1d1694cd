//! The exported class `Engine`, and a `ByteSource` on what the worker reads from.
//!
//! `pkg/src/engine.ts` declares the same interface for TypeScript. Everything that crosses is small and plain; slices of
//! activations do not cross: TypeScript reads and writes them in this module's memory, by address.

use std::alloc::System;
use std::rc::Rc;

use cap::Cap;
use js_sys::Error as JsError;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::remote::{Constraints, Remote, Words};
use super::{from_js, to_js, to_js_error};
use crate::error::{Error, Kind, Result};
use crate::kernels::cache::KvType;
use crate::kernels::choice::faster_dot;
use crate::kernels::{Form, lanes};
use crate::model::{Exchange, Options, Shard};
use crate::session::{self, Event, Session};
use crate::source::{self, ByteSource, Checked};

/// What everything in this module's memory is taken from.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that a request may take in memory while it is made ready. A chat template is a program out of the file: it has fuel for its
/// steps, but a single one can make a long string twice as long.
const ROOM: usize = 256 << 20;

/// Does it with room for so much. What takes more traps, and ends this worker long before the page is short of memory.
fn within_room<T>(work: impl FnOnce() -> T) -> T {
    // Fails only where more than that is taken already.
    let _ = MEMORY.set_limit(MEMORY.allocated().saturating_add(ROOM));
    let done = work();
    let _ = MEMORY.set_limit(usize::MAX);
    done
}

#[wasm_bindgen]
extern "C" {
    /// One file of the model: `{ length, sums, read(offset, into) }`, synchronous.
    pub type Source;

    #[wasm_bindgen(method, getter)]
    fn length(this: &Source) -> f64;

    /// The sums of its blocks, where it has any.
    #[wasm_bindgen(method, getter)]
    fn sums(this: &Source) -> Option<Vec<u64>>;

    /// Fills `into`, a view of this module's memory that is not kept, or throws.
    #[wasm_bindgen(method, catch)]
    fn read(this: &Source, offset: f64, into: &mut [u8]) -> std::result::Result<(), JsValue>;
}

impl ByteSource for Source {
    fn len(&self) -> u64 {
        // Exact: file lengths are far below 2^53. A negative or absent length becomes 0.
        self.length() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.read(offset as f64, into).map_err(|thrown| {
            let message = thrown.dyn_ref::<JsError>().map_or_else(
                || "the source threw something that is no Error".to_string(),
                |e| String::from(e.message()),
            );
            Error::new(Kind::Integrity, message)
        })
    }
}

#[wasm_bindgen]
extern "C" {
    /// `performance.now()`: milliseconds.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// The `options` of the constructor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EngineOptions {
    shard: usize,
    shards: usize,
    #[serde(default)]
    context_length: Option<usize>,
    #[serde(default)]
    kv_type: Option<String>,
    #[serde(default)]
    predict: bool,
}

/// One shard of a loaded model.
#[wasm_bindgen]
pub struct Engine {
    session: Session,
    parts: Vec<Checked<Source>>,
    exchange: Option<Exchange>,
}

#[wasm_bindgen]
impl Engine {
    /// Reads the header and allocates this shard; `loadStep` then brings the weights in.
    #[wasm_bindgen(constructor)]
    pub fn new(parts: Vec<Source>, options: JsValue) -> std::result::Result<Engine, JsValue> {
        let options = Options {
            activations: faster_form(),
            ..options_of(options)?
        };
        let parts = parts.into_iter().map(|part| {
            let sums = part.sums().unwrap_or_default();
            Checked::new(part, sums).map_err(to_js_error)
        });
        let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
        let session = Session::open(&sources(&parts), &options).map_err(to_js_error)?;
        Ok(Engine {
            session,
            parts,
            exchange: None,
        })
    }

    /// What is known of the model: see [`crate::session::Info`].
    pub fn info(&self) -> std::result::Result<JsValue, JsValue> {
        to_js(self.session.info())
    }

    /// Loads a few MB of this shard's weights; true when all are there.
    #[wasm_bindgen(js_name = loadStep)]
    pub fn load_step(&mut self) -> std::result::Result<bool, JsValue> {
        let done = self
            .session
            .load_step(&sources(&self.parts))
            .map_err(to_js_error)?;
        if done {
            // Only now is the trial as good as its word: see `faster_dot`.
            self.session.use_form(faster_form());
            // The files are not needed again; let the worker close them.
            self.parts = Vec::new();
        }
        Ok(done)
    }

    /// Bytes of the file read so far by this shard.
    pub fn loaded(&self) -> f64 {
        self.session.model().weights.progress().0 as f64
    }

    /// Bytes of the file that this shard reads in all.
    #[wasm_bindgen(js_name = loadTotal)]
    pub fn load_total(&self) -> f64 {
        self.session.model().weights.progress().1 as f64
    }

    /// Token ids of a text; control tokens spelled out in it count as such only if `special`.
    pub fn tokenize(&self, text: &str, special: bool) -> std::result::Result<Vec<u32>, JsValue> {
        Ok(self
            .session
            .tokenizer()
            .map_err(to_js_error)?
            .encode(text, special))
    }

    /// Text of token ids; ids that the vocabulary lacks are refused.
    pub fn detokenize(&self, ids: &[u32]) -> std::result::Result<String, JsValue> {
        self.session.detokenize(ids).map_err(to_js_error)
    }

    /// Leader: its tokens, for the other module's constraints.
    pub fn words(&self) -> std::result::Result<Words, JsValue> {
        self.session
            .shared_tokenizer()
            .map(Words::new)
            .map_err(to_js_error)
    }

    /// Leader: who runs constraints from now on.
    #[wasm_bindgen(js_name = setConstraints)]
    pub fn set_constraints(&mut self, constraints: Constraints) -> std::result::Result<(), JsValue> {
        self.session
            .set_constraints(Rc::new(Remote(constraints)))
            .map_err(to_js_error)
    }

    /// Leader: how many tokens the prompt of a request has.
    #[wasm_bindgen(js_name = countPrompt)]
    pub fn count_prompt(&mut self, request: JsValue) -> std::result::Result<usize, JsValue> {
        let request = from_js(request)?;
        within_room(|| self.session.count_prompt(&request)).map_err(to_js_error)
    }

    /// Leader: begins a request ([`crate::session::Request`]).
    pub fn start(&mut self, request: JsValue) -> std::result::Result<(), JsValue> {
        let request = from_js(request)?;
        within_room(|| self.session.start(request)).map_err(to_js_error)
    }

    /// The other shards: take part in the leader's next request.
    pub fn follow(&mut self) -> std::result::Result<(), JsValue> {
        self.session.follow().map_err(to_js_error)
    }

    /// A new memory for another conversation: see [`Session::new_memory`].
    #[wasm_bindgen(js_name = newMemory)]
    pub fn new_memory(&mut self, id: u32) -> std::result::Result<(), JsValue> {
        self.session.new_memory(id).map_err(to_js_error)
    }

    /// Further requests go on in this memory.
    #[wasm_bindgen(js_name = useMemory)]
    pub fn use_memory(&mut self, id: u32) -> std::result::Result<(), JsValue> {
        self.session.use_memory(id).map_err(to_js_error)
    }

    /// Forgets a memory that is not in use.
    #[wasm_bindgen(js_name = dropMemory)]
    pub fn drop_memory(&mut self, id: u32) -> std::result::Result<(), JsValue> {
        self.session.drop_memory(id).map_err(to_js_error)
    }

    /// Leader: what of the memory in use can be saved, for `saveMemory` and `copyMemory` of all shards.
    #[wasm_bindgen(js_name = planMemory)]
    pub fn plan_memory(&self) -> std::result::Result<JsValue, JsValue> {
        to_js(&self.session.plan_memory().map_err(to_js_error)?)
    }

    /// This shard's part of the memory in use.
    #[wasm_bindgen(js_name = saveMemory)]
    pub fn save_memory(&mut self, plan: JsValue) -> std::result::Result<Vec<u8>, JsValue> {
        self.session.save_memory(from_js(plan)?).map_err(to_js_error)
    }

    /// A new memory like the one in use.
    #[wasm_bindgen(js_name = copyMemory)]
    pub fn copy_memory(&mut self, id: u32, plan: JsValue) -> std::result::Result<(), JsValue> {
        self.session.copy_memory(id, from_js(plan)?).map_err(to_js_error)
    }

    /// A new memory from the parts that all shards have saved, one behind the other.
    #[wasm_bindgen(js_name = loadMemory)]
    pub fn load_memory(&mut self, id: u32, bytes: &[u8]) -> std::result::Result<(), JsValue> {
        self.session.load_memory(id, bytes).map_err(to_js_error)
    }

    /// Computes to the next event: 0 done, 1 exchange, 2 pause, 3 output.
    pub fn run(&mut self) -> std::result::Result<u32, JsValue> {
        self.exchange = None;
        Ok(match self.session.run().map_err(to_js_error)? {
            Event::Done => 0,
            Event::Exchange(exchange) => {
                self.exchange = Some(exchange);
                1
            }
            Event::Pause => 2,
            Event::Output => 3,
        })
    }

    /// Leader: what was said since the last time ([`crate::session::Output`]).
    #[wasm_bindgen(js_name = takeOutput)]
    pub fn take_output(&mut self) -> std::result::Result<JsValue, JsValue> {
        to_js(&self.session.take_output())
    }

    /// The pending exchange: 0 all-gather, 1 from the leader, 2 to the leader.
    #[wasm_bindgen(js_name = exchangeKind)]
    pub fn exchange_kind(&self) -> u32 {
        match self.exchange {
            None | Some(Exchange::AllGather) => 0,
            Some(Exchange::FromLeader) => 1,
            Some(Exchange::ToLeader) => 2,
        }
    }

    /// Address of a shard's slice of the pending exchange in this module's memory.
    #[wasm_bindgen(js_name = exchangePtr)]
    pub fn exchange_ptr(&mut self, shard: usize) -> usize {
        self.session.exchange_slice(shard).as_ptr() as usize
    }

    /// Bytes of a shard's slice of the pending exchange.
    #[wasm_bindgen(js_name = exchangeLen)]
    pub fn exchange_len(&self, shard: usize) -> usize {
        self.session.exchange_len(shard) * size_of::<f32>()
    }

    /// Drops the request in flight; the engine is usable at once.
    pub fn cancel(&mut self) {
        self.session.cancel();
    }
}

/// Timed here, where the weights will be, and only by those that compute.
fn faster_form() -> Option<Form> {
    lanes::RELAXED.then(|| Form::I8(faster_dot(now)))
}

/// What a shard of the model in these files would weigh, by their headers alone: [`crate::session::Info`].
#[wasm_bindgen]
pub fn estimate(parts: Vec<Source>, options: JsValue) -> std::result::Result<JsValue, JsValue> {
    let options = options_of(options)?;
    let parts: Vec<&dyn ByteSource> = parts.iter().map(|part| part as &dyn ByteSource).collect();
    to_js(&session::estimate(&parts, &options).map_err(to_js_error)?)
}

fn options_of(options: JsValue) -> std::result::Result<Options, JsValue> {
    let options: EngineOptions = from_js(options)?;
    Ok(Options {
        shard: Shard::new(options.shard, options.shards).map_err(to_js_error)?,
        context_length: options.context_length,
        kv_type: match options.kv_type {
            None => KvType::default(),
            Some(name) => KvType::from_name(&name).map_err(to_js_error)?,
        },
        activations: None,
        predict: options.predict,
    })
}

fn sources(parts: &[Checked<Source>]) -> Vec<&dyn ByteSource> {
    parts.iter().map(|part| part as &dyn ByteSource).collect()
}

/// The sum of a block: see [`source::block_sum`].
#[wasm_bindgen(js_name = blockSum)]
pub fn block_sum(bytes: &[u8]) -> u64 {
    source::block_sum(bytes)
}

/// A SHA-256 that takes a file as it comes.
#[wasm_bindgen]
#[derive(Default)]
pub struct Digest(source::Digest);

#[wasm_bindgen]
impl Digest {
    /// Of nothing, so far.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Digest {
        Digest::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash so far, 32 bytes.
    pub fn finish(&self) -> Vec<u8> {
        self.0.finish().to_vec()
    }
}
