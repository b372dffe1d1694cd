//! Prints what a GGUF file holds: version, metadata, tensors.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use fanlight::gguf::{Array, Gguf, Value};
use fanlight::source::ByteSource;

const HELP: &str = "\
inspect: prints version, metadata (arrays shortened) and tensors of a GGUF file

usage: cargo run --release --example inspect -- MODEL.gguf [MORE-PARTS.gguf ...]

Parts of a split file are given in order.";

/// How many elements of an array are shown, and how many characters of a string.
const SHOWN: usize = 8;
const SHOWN_CHARS: usize = 120;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() || paths.iter().any(|arg| arg == "-h" || arg == "--help") {
        println!("{HELP}");
        return if paths.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    match inspect(&paths) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe may have had enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn inspect(paths: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let open = |path: &String| File::open(path).map_err(|e| format!("{path}: {e}"));
    let files = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<&dyn ByteSource> = files.iter().map(|file| file as &dyn ByteSource).collect();
    let gguf = Gguf::read_parts(&sources)?;

    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "GGUF version {}", gguf.version)?;
    for (path, part) in paths.iter().zip(&gguf.parts) {
        writeln!(
            out,
            "{path}: {} bytes, data from {}, alignment {}",
            part.len, part.data_start, part.alignment
        )?;
    }

    writeln!(out, "\n{} metadata keys", gguf.metadata.len())?;
    for (key, value) in gguf.metadata.iter() {
        writeln!(out, "  {key}: {} = {}", value.type_name(), shown(value))?;
    }

    writeln!(out, "\n{} tensors", gguf.tensors.len())?;
    for tensor in &gguf.tensors {
        let dims: Vec<String> = tensor.dims.iter().map(u64::to_string).collect();
        let part = if paths.len() > 1 {
            format!("  part {}", tensor.part + 1)
        } else {
            String::new()
        };
        writeln!(
            out,
            "  {:<40} {:<8} {:>16}  offset {}, {} bytes{part}",
            tensor.name,
            tensor.ty.name(),
            dims.join(" x "),
            tensor.offset,
            tensor.bytes
        )?;
    }
    let total: u64 = gguf.tensors.iter().map(|tensor| tensor.bytes).sum();
    writeln!(out, "  {total} bytes of tensors")?;
    out.flush()?;
    Ok(())
}

/// A value for people: strings quoted, long ones and arrays cut short.
fn shown(value: &Value) -> String {
    match value {
        Value::U8(n) => n.to_string(),
        Value::I8(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::F32(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::String(bytes) => quoted(bytes),
        Value::U64(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::F64(n) => n.to_string(),
        Value::Array(array) => match array {
            Array::U8(v) => list(v.iter().map(u8::to_string)),
            Array::I8(v) => list(v.iter().map(i8::to_string)),
            Array::U16(v) => list(v.iter().map(u16::to_string)),
            Array::I16(v) => list(v.iter().map(i16::to_string)),
            Array::U32(v) => list(v.iter().map(u32::to_string)),
            Array::I32(v) => list(v.iter().map(i32::to_string)),
            Array::F32(v) => list(v.iter().map(f32::to_string)),
            Array::Bool(v) => list(v.iter().map(bool::to_string)),
            Array::Strings(v) => list(v.iter().map(quoted)),
            Array::U64(v) => list(v.iter().map(u64::to_string)),
            Array::I64(v) => list(v.iter().map(i64::to_string)),
            Array::F64(v) => list(v.iter().map(f64::to_string)),
        },
    }
}

fn list(elements: impl ExactSizeIterator<Item = String>) -> String {
    let more = if elements.len() > SHOWN { ", ..." } else { "" };
    let shown: Vec<String> = elements.take(SHOWN).collect();
    format!("[{}{more}]", shown.join(", "))
}

fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let more = if text.chars().nth(SHOWN_CHARS).is_some() {
        " ..."
    } else {
        ""
    };
    format!("{:?}{more}", text.chars().take(SHOWN_CHARS).collect::<String>())
}
