//! Any JSON as a schema, any text as an expression or a grammar: refused, or a constraint that keeps its word.

#![no_main]

use std::sync::Arc;

use fanlight::constrain::{Constraints, Grammar, Local};
use fanlight::tokenizer::Tokenizer;
use fanlight_fuzz::tokenizer;
use libfuzzer_sys::fuzz_target;

/// Tokens of one text.
const MOST: usize = 24;

thread_local! {
    static WORDS: (Arc<Tokenizer>, Local<Tokenizer>) = {
        let tokenizer = Arc::new(tokenizer("qwen2"));
        (Arc::clone(&tokenizer), Local::new(tokenizer))
    };
}

fuzz_target!(|input: (u8, u64, &str)| {
    let (kind, dice, text) = input;
    let grammar = match kind % 4 {
        0 => Grammar::Regex(text.to_owned()),
        1 => Grammar::Lark(text.to_owned()),
        _ => match serde_json::from_str(text) {
            Ok(schema) => Grammar::json(schema),
            Err(_) => return,
        },
    };
    WORDS.with(|(tokenizer, constraints)| walk(tokenizer, constraints, &grammar, dice));
});

fn walk(tokenizer: &Tokenizer, constraints: &Local<Tokenizer>, grammar: &Grammar, mut dice: u64) {
    let Ok(mut constraint) = constraints.begin(grammar) else {
        return;
    };
    for _ in 0..MOST {
        if constraint.is_complete() {
            assert!(constraint.may_end());
            return;
        }
        let (Ok(forced), Ok(allowed)) = (constraint.forced(), constraint.allowed()) else {
            return;
        };
        let allowed: Vec<u32> = (0..tokenizer.len() as u32)
            .filter(|id| allowed[*id as usize / 32] >> (id % 32) & 1 == 1)
            .collect();
        if let Some(id) = forced.first() {
            assert!(allowed.contains(id), "what is forced is allowed");
        }
        if allowed.is_empty() {
            return;
        }
        let id = allowed[(dice % allowed.len() as u64) as usize];
        dice = dice.rotate_right(7) ^ dice.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        constraint.ending(Some(id), 4);
        // Where it may end, the tokens that end it are allowed, and nothing comes after them.
        if constraint.accept(id).is_err() {
            return;
        }
    }
    constraint.ending(None, 64);
}
