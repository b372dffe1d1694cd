//! The module that runs constraints: what the engine's `remote.rs` asks. `pkg/src/engine.ts` declares the same interface.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::json;
use wasm_bindgen::prelude::*;

use super::{from_js, to_js_error};
use crate::constrain::{self, Constraint, Constraints as _, Grammar, Local};

#[wasm_bindgen]
extern "C" {
    /// The tokens of the engine's model: its class `Words`.
    pub type Words;

    #[wasm_bindgen(method)]
    fn bytes(this: &Words) -> Vec<u8>;

    #[wasm_bindgen(method)]
    fn lengths(this: &Words) -> Vec<u32>;

    #[wasm_bindgen(method)]
    fn ends(this: &Words) -> Vec<u32>;

    #[wasm_bindgen(method)]
    fn encode(this: &Words, text: &str) -> Vec<u32>;
}

thread_local! {
    /// A worker has one model. What lies here need not be told that there is one thread only.
    static WORDS: RefCell<Option<Words>> = const { RefCell::new(None) };
}

struct Asked;

impl constrain::Words for Asked {
    fn list(&self) -> Vec<Vec<u8>> {
        ask(|words| {
            let bytes = words.bytes();
            let mut rest = bytes.as_slice();
            let lengths = words.lengths().into_iter();
            lengths
                .map(|length| {
                    let (word, after) = rest.split_at_checked(length as usize).unwrap_or_default();
                    rest = after;
                    word.to_vec()
                })
                .collect()
        })
    }

    fn ends(&self) -> Vec<u32> {
        ask(Words::ends)
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        ask(|words| words.encode(text))
    }
}

fn ask<T: Default>(question: impl FnOnce(&Words) -> T) -> T {
    WORDS.with_borrow(|words| words.as_ref().map(question).unwrap_or_default())
}

/// Makes constraints on the texts of a model.
#[wasm_bindgen]
pub struct Constraints(Local<Asked>);

#[wasm_bindgen]
impl Constraints {
    /// Of the model with these tokens. A worker makes one. This is where all is made that is made once: the vocabulary, and a first
    /// schema, so that the browser has met most of what compiles schemas before one is waited for: see SPEED.md, "Structured work".
    #[wasm_bindgen(constructor)]
    pub fn new(words: Words) -> Constraints {
        WORDS.set(Some(words));
        let constraints = Local::new(Arc::new(Asked));
        // What is wrong with the vocabulary is told when the first constraint is asked for.
        let _ = constraints.begin(&Grammar::json(json!({
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 9},
                "code": {"type": "string", "pattern": "^[a-z]{2,4}-[0-9]+$"},
                "day": {"type": "string", "format": "date"},
                "mail": {"type": "string", "format": "email"},
                "count": {"type": "integer", "minimum": 1, "maximum": 120},
                "price": {"type": "number", "minimum": 0, "multipleOf": 0.01},
                "kind": {"enum": ["a", "b", 3]},
                "parts": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/part"}}
            },
            "required": ["text", "code", "parts"],
            "additionalProperties": false,
            "$defs": {"part": {"anyOf": [{"type": "null"}, {"type": ["boolean", "string"]}]}}
        })));
        Constraints(constraints)
    }

    /// A constraint at the beginning of a text.
    pub fn begin(&self, grammar: JsValue) -> Result<Progress, JsValue> {
        self.0
            .begin(&from_js(grammar)?)
            .map(Progress)
            .map_err(to_js_error)
    }

    /// Throws what is wrong with a schema.
    pub fn check(&self, schema: JsValue) -> Result<(), JsValue> {
        self.0.check(&from_js(schema)?).map_err(to_js_error)
    }
}

/// A constraint on a text in the making: see [`Constraint`].
#[wasm_bindgen]
pub struct Progress(Box<dyn Constraint>);

#[wasm_bindgen]
impl Progress {
    /// The tokens that must come next.
    pub fn forced(&mut self) -> Result<Vec<u32>, JsValue> {
        self.0.forced().map_err(to_js_error)
    }

    /// The tokens that may come next, one bit each.
    pub fn allowed(&mut self) -> Result<Vec<u32>, JsValue> {
        self.0.allowed().map_err(to_js_error)
    }

    /// Goes on by a token; whether the text is whole then.
    pub fn accept(&mut self, id: u32) -> Result<bool, JsValue> {
        self.0.accept(id).map_err(to_js_error)?;
        Ok(self.0.is_complete())
    }

    /// Whether the text may end here.
    #[wasm_bindgen(js_name = mayEnd)]
    pub fn may_end(&mut self) -> bool {
        self.0.may_end()
    }

    /// A short way to the end.
    pub fn ending(&self, next: Option<u32>, most: usize) -> Option<Vec<u32>> {
        self.0.ending(next, most)
    }
}
