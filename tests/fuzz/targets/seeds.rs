//! Not a target: writes what the others begin with, where no file of the repository will do, into the folder that
//! `FANLIGHT_SEEDS` names. A program of this kind, because the crates are built for nothing else.

#![no_main]

use std::path::PathBuf;

use fanlight_fuzz::{MODELS, model, saved, session};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write(), |_bytes: &[u8]| {});

fn write() {
    let folder = PathBuf::from(std::env::var_os("FANLIGHT_SEEDS").expect("FANLIGHT_SEEDS names a folder"));
    for (which, arch) in MODELS.iter().enumerate() {
        let file = model(arch);
        let mut session = session(&file);
        let small = saved(&mut session, 5);
        // As the target takes it: which model, with sums that are mended, and the bytes.
        let input = [&[which as u8 | 2], &small[..]].concat();
        for (target, bytes) in [("gguf", &file), ("model", &file), ("saved", &input)] {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(format!("seed-{arch}")), bytes).expect("room");
        }
    }
    std::process::exit(0);
}
