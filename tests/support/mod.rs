//! Helpers shared by the tests. A test takes what it needs with `mod support;`.

#![allow(dead_code)] // every test binary uses a part of this

pub mod alloc;
pub mod gguf_writer;

use std::path::{Path, PathBuf};

/// The fixtures beside the repository, if they are there; otherwise says what is skipped.
pub fn shared_fixtures(what: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures"));
    if path.is_dir() {
        return Some(path.to_path_buf());
    }
    eprintln!("SKIPPED: {what} (../shared is absent)");
    None
}

/// A file of `tests/golden`.
pub fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The f32 that these little-endian bytes spell.
pub fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect()
}
