//! Bytes to a checked description of a GGUF file: metadata, tensor names, shapes, types and places.
//! No arithmetic on weights here. May import: `error`, `source`, `quant`.
