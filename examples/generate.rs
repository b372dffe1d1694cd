//! Text from a model, in a terminal.
//!
//! `cargo run --release --example generate -- MODEL.gguf --prompt TEXT [--chat] [--max-tokens N] [--seed N]
//! [--temperature T] [--context N] [--kv f32|f16]`
//!
//! The prompt is continued as it is, or with `--chat` put in the file's own chat template as the user's message.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use fanlight::kernels::cache::KvType;
use fanlight::model::Options;
use fanlight::session::{Event, Request, Session};
use fanlight::source::ByteSource;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    let mut request = Request::default();
    let mut options = Options::default();
    let (mut prompt, mut chat) = (None, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--prompt" => prompt = Some(value()?),
            "--chat" => chat = true,
            "--max-tokens" => request.max_tokens = Some(value()?.parse()?),
            "--seed" => drop(
                request
                    .sampling
                    .insert("seed".into(), value()?.parse::<u64>()?.into()),
            ),
            "--temperature" => drop(
                request
                    .sampling
                    .insert("temperature".into(), value()?.parse::<f32>()?.into()),
            ),
            "--context" => options.context_length = Some(value()?.parse()?),
            "--kv" => options.kv_type = KvType::from_name(&value()?)?,
            _ => files.push(arg),
        }
    }
    let (Some(prompt), false) = (prompt, files.is_empty()) else {
        return Err(
            "usage: generate -- MODEL.gguf --prompt TEXT [--chat] [--max-tokens N] [--seed N] \
                    [--temperature T] [--context N] [--kv f32|f16]"
                .into(),
        );
    };
    if chat {
        request.messages = Some(json!([{ "role": "user", "content": prompt }]));
    } else {
        request.prompt = Some(prompt);
    }

    let files: Vec<_> = files.iter().map(std::fs::File::open).collect::<Result<_, _>>()?;
    let parts: Vec<&dyn ByteSource> = files.iter().map(|f| f as &dyn ByteSource).collect();
    let started = Instant::now();
    let mut session = Session::open(&parts, &options)?;
    while !session.load_step(&parts)? {}
    eprintln!(
        "loaded in {:.2} s: {:?}",
        started.elapsed().as_secs_f64(),
        session.info()
    );

    let started = Instant::now();
    let (mut first, mut generated, mut prompt_tokens) = (None, 0, 0);
    session.start(request)?;
    loop {
        match session.run()? {
            Event::Done => break,
            Event::Output => {
                let output = session.take_output();
                first.get_or_insert_with(|| started.elapsed().as_secs_f64());
                generated += output.tokens.len();
                prompt_tokens += output.prompt_tokens.unwrap_or(0);
                print!("{}{}", output.reasoning, output.text);
                for call in &output.tool_calls {
                    print!("{}", serde_json::to_string(call)?);
                }
                std::io::stdout().flush()?;
            }
            Event::Pause | Event::Exchange(_) => {}
        }
    }
    let (first, total) = (first.unwrap_or(0.0), started.elapsed().as_secs_f64());
    println!();
    eprintln!(
        "prompt: {prompt_tokens} tokens in {first:.2} s; answer: {generated} tokens, {:.1} per second",
        generated.saturating_sub(1) as f64 / (total - first).max(1e-9)
    );
    Ok(())
}
