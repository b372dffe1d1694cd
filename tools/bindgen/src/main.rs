//! `bindgen INPUT.wasm OUT_DIR NAME [--names]`: writes the JavaScript glue of a wasm module as
//! `OUT_DIR/NAME.js`, `NAME.d.ts` and `NAME_bg.wasm`, for browsers (`--target web` of the usual command line).
//! `--names` keeps the name section, for profiling.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: bindgen INPUT.wasm OUT_DIR NAME [--names]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (names, places): (Vec<_>, Vec<_>) = args.iter().partition(|a| *a == "--names");
    let [input, out_dir, name] = places.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name(name)
        .typescript(true)
        .remove_name_section(names.is_empty())
        .remove_producers_section(true);
    match bindgen.web(true).and_then(|b| b.generate(out_dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bindgen: {error:?}");
            ExitCode::FAILURE
        }
    }
}
