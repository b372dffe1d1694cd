//! The token ids of a text, with the vocabulary of a GGUF file: how anyone checks the tokenizer against another one.

use std::io::{Read, Write};
use std::process::ExitCode;

use fanlight::gguf::Gguf;
use fanlight::tokenizer::Tokenizer;

const HELP: &str = "tokenize -- VOCAB.gguf [--special] [--json texts.json]

Reads a text from standard input and writes its token ids, separated by spaces.
  --special           control tokens written in the text are those tokens; BOS and EOS are added as the file asks
  --json texts.json   reads an array of texts and writes one array of id arrays";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tokenize: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut vocab, mut json, mut special) = (None, None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            "--special" => special = true,
            "--json" => json = Some(args.next().ok_or("--json needs the name of a file")?),
            option if option.starts_with('-') => return Err(format!("unknown option {option}\n{HELP}")),
            _ if vocab.is_none() => vocab = Some(arg),
            _ => return Err(format!("one vocabulary, please\n{HELP}")),
        }
    }
    let vocab = vocab.ok_or(HELP)?;
    let file = std::fs::File::open(&vocab).map_err(|error| format!("{vocab}: {error}"))?;
    let tokenizer = Gguf::read(&file)
        .and_then(|gguf| Tokenizer::from_metadata(&gguf.metadata))
        .map_err(|error| error.at(&vocab).to_string())?;
    let encode = |text: &str| {
        let ids = tokenizer.encode(text, special);
        if special {
            tokenizer.with_specials(ids)
        } else {
            ids
        }
    };
    let output = match json {
        Some(name) => {
            let file = std::fs::read(&name).map_err(|error| format!("{name}: {error}"))?;
            let texts: Vec<String> =
                serde_json::from_slice(&file).map_err(|error| format!("{name}: {error}"))?;
            let ids: Vec<Vec<u32>> = texts.iter().map(|text| encode(text)).collect();
            serde_json::to_string(&ids).map_err(|error| error.to_string())?
        }
        None => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .map_err(|error| format!("standard input: {error}"))?;
            let ids = encode(&String::from_utf8_lossy(&text));
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        }
    };
    writeln!(std::io::stdout(), "{output}").map_err(|error| format!("standard output: {error}"))
}
