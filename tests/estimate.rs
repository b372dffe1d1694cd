//! What a model will weigh, known from its header alone: the same numbers that it has once it is loaded.

use std::cell::Cell;

use fanlight::kernels::Matrix;
use fanlight::kernels::cache::KvType;
use fanlight::model::{Options, Shard};
use fanlight::quant::Type;
use fanlight::session::{Info, Session, estimate};
use fanlight::source::ByteSource;
use fanlight::{Error, Kind, Result};

#[path = "support/engine.rs"]
mod engine;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/models/tiny-chat-q8_0.gguf");

/// A file of which only the beginning can be read.
struct Beginning {
    bytes: Vec<u8>,
    length: u64,
    furthest: Cell<u64>,
}

impl ByteSource for Beginning {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let end = offset + into.len() as u64;
        self.furthest.set(self.furthest.get().max(end));
        if end > self.bytes.len() as u64 {
            return Err(Error::new(Kind::Integrity, "not here yet"));
        }
        self.bytes.read_at(offset, into)
    }
}

#[test]
fn the_header_says_what_every_shard_will_weigh() {
    let file = std::fs::read(MODEL).expect("the model of the repository");
    let beginning = Beginning {
        bytes: file[..file.len() / 4].to_vec(),
        length: file.len() as u64,
        furthest: Cell::new(0),
    };
    for count in 1..=3 {
        let mut read = 0;
        for index in 0..count {
            for (context_length, kv_type) in [(None, KvType::default()), (Some(200), KvType::F32)] {
                let options = Options {
                    shard: Shard::new(index, count).unwrap(),
                    context_length,
                    kv_type,
                    activations: None,
                    predict: false,
                };
                let expected = estimate(&[&beginning], &options).unwrap();
                let mut session = Session::open(&[&file], &options).unwrap();
                while !session.load_step(&[&file]).unwrap() {}
                let found = Info {
                    defaults: None, // the leader's alone, and no matter of weight
                    ..session.info().clone()
                };
                assert_eq!(found, expected, "shard {index} of {count}");
                read = expected.weight_bytes.max(read);
            }
        }
        assert!(read > 0);
    }
    assert!(beginning.furthest.get() < file.len() as u64 / 4);
}

/// Copies of a recurrent state are made as they are needed; the header counts them all.
#[test]
fn the_state_of_delta_nets_counts_with_all_that_a_chat_makes_of_it() {
    let Some(path) = engine::shared("arch/qwen35/model-f32.gguf") else {
        return;
    };
    for shards in 1..=3 {
        let mut engine = engine::Engine::load(&path, shards, Options::default()).unwrap();
        let of = |engine: &engine::Engine| -> Vec<usize> {
            let states = engine.0.iter().map(|shard| &shard.model().state.seats.own);
            states.map(|own| own.recurrent.bytes()).collect()
        };
        let fresh = of(&engine);
        // Two prompts that part late, and an answer that repeats itself: a copy where they part, one on the way, and drafts.
        for last in [3, 4] {
            let prompt: Vec<u32> = (0..120).map(|i| i * 23 % 500).chain([last; 40]).collect();
            let request = engine::request(serde_json::json!({
                "promptTokens": prompt, "maxTokens": 60, "ignoreEnd": true,
                "sampling": { "temperature": 0, "logit_bias": { "30": 1000.0 } }
            }));
            assert!(engine.run(request, engine::never).unwrap().drafted > 0);
        }
        let parts = fresh.iter().zip(of(&engine)).zip(&engine.0);
        for ((fresh, now), shard) in parts {
            assert_eq!(now, 3 * fresh, "{shards} shards");
            let state = &shard.model().state;
            let counted = shard.info().buffer_bytes - state.buffer_bytes() as u64;
            assert!(counted >= now as u64, "{shards} shards: {now}, {counted}");
        }
    }
}

#[test]
fn a_header_that_is_not_all_here_says_so() {
    let file = std::fs::read(MODEL).expect("the model of the repository");
    let beginning = Beginning {
        bytes: file[..1000].to_vec(),
        length: file.len() as u64,
        furthest: Cell::new(0),
    };
    let error = estimate(&[&beginning], &Options::default()).unwrap_err();
    assert_eq!(error.kind, Kind::Integrity);
    assert!(beginning.furthest.get() > 1000);
}

#[test]
fn a_matrix_takes_what_it_was_said_to_take() {
    let mut seen = 0;
    for ty in Type::ALL {
        let cols = ty.block_len() * 3;
        for rows in [1, 7, 8, 33] {
            let matrix = Matrix::new(ty, rows, cols).unwrap();
            let said = Matrix::bytes_of(ty, rows, cols);
            assert_eq!(matrix.bytes() as u64, said, "{rows} rows of {}", ty.name());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}
