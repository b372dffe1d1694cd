//! The only Rust that knows JavaScript: exported classes, and a `ByteSource` on browser storage.
