//! Logits of every position of given prompts, for comparison with an oracle.
//!
//! `cargo run --release --example logits -- MODEL.gguf --prompts prompts.json --out logits.npy [--kv f32|f16] [--shards N]`
//!
//! `prompts.json` holds `{"prompts": [{"ids": [...]}, ...]}`; the output has one row per token of all prompts, in order.

use std::error::Error;
use std::path::PathBuf;

use fanlight::gguf::Gguf;
use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::source::ByteSource;

#[path = "../tests/support/drive.rs"]
mod drive;
#[path = "../tests/support/npy.rs"]
mod npy;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    let (mut prompts, mut out, mut kv, mut shards) = (None, None, KvType::F32, 1);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--prompts" => prompts = Some(PathBuf::from(value()?)),
            "--out" => out = Some(PathBuf::from(value()?)),
            "--kv" => kv = KvType::from_name(&value()?)?,
            "--shards" => shards = value()?.parse()?,
            _ => files.push(arg),
        }
    }
    let usage =
        "usage: logits -- MODEL.gguf --prompts prompts.json --out logits.npy [--kv f32|f16] [--shards N]";
    let (Some(prompts), Some(out), false) = (prompts, out, files.is_empty()) else {
        return Err(usage.into());
    };

    let files: Vec<_> = files.iter().map(std::fs::File::open).collect::<Result<_, _>>()?;
    let parts: Vec<&dyn ByteSource> = files.iter().map(|f| f as &dyn ByteSource).collect();
    let gguf = Gguf::read_parts(&parts)?;
    let prompts: serde_json::Value = serde_json::from_slice(&std::fs::read(prompts)?)?;
    let prompts = prompts["prompts"]
        .as_array()
        .ok_or("the prompts file has no \"prompts\" array")?;

    let mut models = drive::load(
        &gguf,
        &parts,
        shards,
        Options {
            kv_type: kv,
            ..Options::default()
        },
    )?;
    let mut logits = Vec::new();
    for prompt in prompts {
        let ids = prompt["ids"].as_array().ok_or("a prompt has no \"ids\" array")?;
        let ids: Vec<u32> = ids
            .iter()
            .filter_map(|id| id.as_u64())
            .map(|id| id as u32)
            .collect();
        logits.extend(drive::logits(&mut models, &ids)?);
    }
    npy::write(&out, models[0].hyper.vocabulary, &logits)?;
    Ok(())
}
