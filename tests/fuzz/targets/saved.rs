//! Any bytes as a saved session: refused, or a conversation that goes on.

#![no_main]

use std::cell::RefCell;

use fanlight::session::Session;
use fanlight_fuzz::{MODELS, mend_sums, model, run, session};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SESSIONS: RefCell<Vec<Session>> = RefCell::new(MODELS.iter().map(|arch| session(&model(arch))).collect());
}

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if which & 2 != 0 {
        mend_sums(&mut bytes);
    }
    SESSIONS.with_borrow_mut(|sessions| {
        let session = &mut sessions[usize::from(which & 1)];
        if session.load_memory(1, &bytes).is_err() {
            return;
        }
        session.use_memory(1).expect("a memory that was loaded");
        let _ = run(session, vec![1, 2, 3], 2);
        let plan = session.plan_memory().expect("idle");
        session.save_memory(plan).expect("what was loaded can be saved");
        session.use_memory(0).expect("the first memory");
        session.drop_memory(1).expect("a memory that is there");
    });
});
