//! The only Rust that knows JavaScript. There are two modules: the engine, which pages load first, and constraints, which it asks
//! for what a schema or a grammar allows (cargo's feature `constraints-module`).

#[cfg(feature = "constraints-module")]
mod constraints;
#[cfg(not(feature = "constraints-module"))]
mod engine;
#[cfg(not(feature = "constraints-module"))]
mod remote;

use js_sys::{Error as JsError, Reflect};
use serde::Deserialize;
#[cfg(not(feature = "constraints-module"))]
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error::{Error, Kind};

/// Called once, when the module is instantiated: panics, which are bugs, say where they happened.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// An `Error` with a `code`, which the worker passes on and the page turns into a `FanlightError`.
fn to_js_error(error: Error) -> JsValue {
    let thrown = JsError::new(&error.message);
    // Setting a property of an object made on the line above cannot fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.kind.code().into());
    thrown.into()
}

fn from_js<T: for<'a> Deserialize<'a>>(value: JsValue) -> std::result::Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|e| to_js_error(Error::new(Kind::InvalidArgument, e.to_string())))
}

#[cfg(not(feature = "constraints-module"))]
fn to_js<T: Serialize>(value: &T) -> std::result::Result<JsValue, JsValue> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|e| to_js_error(Error::new(Kind::InvalidArgument, e.to_string())))
}
