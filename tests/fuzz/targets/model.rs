//! Any bytes as a model: measured, opened, loaded and asked, or refused.

#![no_main]

use fanlight::model::Options;
use fanlight::session::{Session, estimate};
use fanlight_fuzz::run;
use libfuzzer_sys::fuzz_target;

/// Files beyond this would only be slow.
const LONGEST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > LONGEST {
        return;
    }
    let bytes = bytes.to_vec();
    let options = Options {
        context_length: Some(64),
        ..Options::default()
    };
    let Ok(expected) = estimate(&[&bytes], &options) else {
        return;
    };
    // What the file justifies: weights of about its own size.
    assert!(
        expected.weight_bytes <= 64 * bytes.len() as u64 + (1 << 20),
        "{}",
        expected.weight_bytes
    );
    let Ok(mut session) = Session::open(&[&bytes], &options) else {
        return;
    };
    loop {
        match session.load_step(&[&bytes]) {
            Ok(false) => continue,
            Ok(true) => break,
            Err(_) => return,
        }
    }
    let _ = run(&mut session, vec![1, 2, 3], 2);
});
