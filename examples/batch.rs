//! Many requests, one after another.
//!
//! `cargo run --release --example batch -- MODEL.gguf < requests.jsonl > answers.jsonl`
//!
//! Each line of the input is a request in the engine's own shape ([`fanlight::session::Request`] as JSON:
//! `{"messages": [{"role": "user", "content": "…"}], "maxTokens": 200}`); each line of the output is an object with its `answer`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use fanlight::model::Options;
use fanlight::session::{Event, Request, Session};
use fanlight::source::ByteSource;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = std::env::args()
        .skip(1)
        .map(std::fs::File::open)
        .collect::<Result<_, _>>()?;
    if files.is_empty() {
        return Err("usage: batch -- MODEL.gguf < requests.jsonl > answers.jsonl".into());
    }
    let parts: Vec<&dyn ByteSource> = files.iter().map(|f| f as &dyn ByteSource).collect();
    let mut session = Session::open(&parts, &Options::default())?;
    while !session.load_step(&parts)? {}

    let (started, mut prompts, mut answers) = (Instant::now(), 0, 0);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        session.start(serde_json::from_str::<Request>(&line?)?)?;
        let mut answer = String::new();
        loop {
            match session.run()? {
                Event::Done => break,
                Event::Output => {
                    let output = session.take_output();
                    prompts += output.prompt_tokens.unwrap_or(0);
                    answers += output.tokens.len();
                    answer.push_str(&output.text);
                }
                Event::Pause | Event::Exchange(_) => {}
            }
        }
        writeln!(out, "{}", json!({ "answer": answer }))?;
    }
    eprintln!(
        "{prompts} tokens of prompts and {answers} of answers in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
