//! Constraints that another module runs: what `constraints.rs` exports, as the engine sees it.

use std::sync::Arc;

use js_sys::Error as JsError;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use super::to_js;
use crate::constrain::{self, Constraint, Grammar, Words as _};
use crate::error::{Error, Kind, Result};
use crate::tokenizer::Tokenizer;

#[wasm_bindgen]
extern "C" {
    /// Makes constraints.
    pub type Constraints;

    #[wasm_bindgen(method, catch)]
    fn begin(this: &Constraints, grammar: JsValue) -> std::result::Result<Progress, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn check(this: &Constraints, schema: JsValue) -> std::result::Result<(), JsValue>;

    /// One of them, on a text in the making.
    pub type Progress;

    #[wasm_bindgen(method, catch)]
    fn forced(this: &Progress) -> std::result::Result<Vec<u32>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn allowed(this: &Progress) -> std::result::Result<Vec<u32>, JsValue>;

    /// Whether the text is whole then.
    #[wasm_bindgen(method, catch)]
    fn accept(this: &Progress, id: u32) -> std::result::Result<bool, JsValue>;

    #[wasm_bindgen(method, catch, js_name = mayEnd)]
    fn may_end(this: &Progress) -> std::result::Result<bool, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn ending(
        this: &Progress,
        next: Option<u32>,
        most: usize,
    ) -> std::result::Result<Option<Vec<u32>>, JsValue>;

    #[wasm_bindgen(method)]
    fn free(this: &Progress);
}

/// The other module.
pub(super) struct Remote(pub(super) Constraints);

impl constrain::Constraints for Remote {
    fn begin(&self, grammar: &Grammar) -> Result<Box<dyn Constraint>> {
        let grammar = to_js(grammar).map_err(error)?;
        let progress = self.0.begin(grammar).map_err(error)?;
        Ok(Box::new(Asked {
            progress,
            is_complete: false, // none that is whole from the beginning is accepted
        }))
    }

    fn check(&self, schema: &Value) -> Result<()> {
        let schema = to_js(schema).map_err(error)?;
        self.0.check(schema).map_err(error)
    }
}

struct Asked {
    progress: Progress,
    is_complete: bool,
}

impl Constraint for Asked {
    fn forced(&mut self) -> Result<Vec<u32>> {
        self.progress.forced().map_err(error)
    }

    fn allowed(&mut self) -> Result<Vec<u32>> {
        self.progress.allowed().map_err(error)
    }

    fn accept(&mut self, id: u32) -> Result<()> {
        self.is_complete = self.progress.accept(id).map_err(error)?;
        Ok(())
    }

    fn may_end(&mut self) -> bool {
        self.is_complete || self.progress.may_end().unwrap_or(false)
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn ending(&self, next: Option<u32>, most: usize) -> Option<Vec<u32>> {
        self.progress.ending(next, most).ok().flatten()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.progress.free();
    }
}

/// What the other module throws is about schemas, unless it has a bug: then that is said.
fn error(thrown: JsValue) -> Error {
    let message = thrown.dyn_ref::<JsError>().map_or_else(
        || "the constraint failed".to_string(),
        |error| String::from(error.message()),
    );
    Error::new(Kind::Schema, message)
}

/// The tokens of a model, for the other module.
#[wasm_bindgen]
pub struct Words(Arc<Tokenizer>);

impl Words {
    pub(super) fn new(tokenizer: Arc<Tokenizer>) -> Words {
        Words(tokenizer)
    }
}

#[wasm_bindgen]
impl Words {
    /// What all tokens are known by, one behind the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.list().concat()
    }

    /// How many bytes each has.
    pub fn lengths(&self) -> Vec<u32> {
        self.0.list().iter().map(|word| word.len() as u32).collect()
    }

    /// The tokens that end an answer.
    pub fn ends(&self) -> Vec<u32> {
        self.0.ends()
    }

    /// A text as tokens.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.0.encode_continuation(text)
    }
}
