//! The gated delta net: its kernels against their twins, and its state through every way a prompt can be cut.

use std::path::PathBuf;

use fanlight::gguf::Gguf;
use fanlight::kernels::simd::delta_net::Tokens;
use fanlight::kernels::{scalar, simd};
use fanlight::model::{Batch, LogitsFor, MAX_DRAFT_BATCH, Mark, Model, Options};
use fanlight::source::ByteSource;

#[path = "support/drive.rs"]
mod drive;
#[path = "support/random.rs"]
mod random;

use random::Random;

/// Some tokens of one head.
struct Case {
    width: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    decay: Vec<f32>,
    beta: Vec<f32>,
}

impl Case {
    fn new(width: usize, tokens: usize, random: &mut Random) -> Case {
        let unit = |x: Vec<f32>| -> Vec<f32> {
            let mut out = vec![0.0; x.len()];
            for (x, out) in x.chunks(width).zip(out.chunks_mut(width)) {
                scalar::delta_net::l2_norm(x, 1.0, 1e-6, out);
            }
            out
        };
        let positive = |x: Vec<f32>| x.iter().map(|x| x.abs().min(1.0)).collect();
        Case {
            width,
            q: unit(random.vector(width * tokens)),
            k: unit(random.vector(width * tokens)),
            v: random.vector(width * tokens),
            decay: positive(random.vector(tokens)),
            beta: positive(random.vector(tokens)),
        }
    }

    /// The tokens `from .. to` through `state`: what was written, and the output.
    fn run(&self, kernel: Kernel, state: &mut [f32], from: usize, to: usize) -> (Vec<f32>, Vec<f32>) {
        let rows = from * self.width..to * self.width;
        let mut v = self.v[rows.clone()].to_vec();
        let mut out = vec![0.0; v.len()];
        let tokens = Tokens {
            q: &self.q[rows.clone()],
            k: &self.k[rows],
            decay: &self.decay[from..to],
            beta: &self.beta[from..to],
        };
        kernel(state, &tokens, &mut v, &mut out);
        (v, out)
    }
}

type Kernel = fn(&mut [f32], &Tokens, &mut [f32], &mut [f32]);

fn assert_close(name: &str, found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= bound;
        assert!(close, "{name}[{i}]: {found:e}, expected {expected:e}");
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn the_delta_rule_agrees_with_its_twin_token_by_token() {
    let mut random = Random::new(11);
    for width in [4, 8, 20, 32, 64, 128] {
        for tokens in [1, 2, 5, 16] {
            let case = Case::new(width, tokens, &mut random);
            let before = random.vector(width * width);
            let (mut found, mut expected) = (before.clone(), before.clone());
            let (written, out) = case.run(simd::delta_net::delta_rule, &mut found, 0, tokens);
            let (twin_written, twin_out) = case.run(scalar::delta_net::delta_rule, &mut expected, 0, tokens);
            assert_close("out", &out, &twin_out, 2e-5);
            assert_close("written", &written, &twin_written, 2e-5);
            assert_close("state", &found, &expected, 2e-5);

            // In pieces, and through a copy: the same to the last bit.
            let cut = tokens / 2;
            let mut pieces = before.clone();
            let mut joined = Vec::new();
            for (from, to) in [(0, cut), (cut, tokens)] {
                if from < to {
                    joined.extend(case.run(simd::delta_net::delta_rule, &mut pieces, from, to).1);
                }
            }
            assert_eq!((bits(&joined), bits(&pieces)), (bits(&out), bits(&found)));
            let mut later = before.clone();
            simd::delta_net::write(&mut later, &case.k, &case.decay, &written);
            assert_eq!(bits(&later), bits(&found));
            let mut twin_later = before;
            scalar::delta_net::write(&mut twin_later, &case.k, &case.decay, &written);
            assert_close("write", &later, &twin_later, 2e-5);
        }
    }
}

#[test]
fn the_convolution_and_the_norm_agree_with_their_twins() {
    let mut random = Random::new(12);
    for width in [1, 3, 4, 7, 64] {
        for tokens in [0, 1, 2, 3, 9] {
            let weights = random.vector(4 * width);
            let mut found = random.vector((3 + tokens) * width);
            let mut expected = found.clone();
            let window = found[tokens * width..].to_vec();
            simd::delta_net::convolve(&mut found, &weights, width);
            scalar::delta_net::convolve(&mut expected, &weights, width);
            assert_close("convolve", &found, &expected, 1e-5);
            assert_eq!(found[tokens * width..], window, "the last three inputs stay");
        }
        let x = random.vector(width);
        let (mut found, mut expected) = (vec![0.0; width], vec![0.0; width]);
        simd::delta_net::l2_norm(&x, 0.5, 1e-6, &mut found);
        scalar::delta_net::l2_norm(&x, 0.5, 1e-6, &mut expected);
        assert_close("l2_norm", &found, &expected, 1e-6);
    }
}

/// The hybrid test model in this many shards, or `None` with a visible line.
fn hybrid(shards: usize) -> Option<Vec<Model>> {
    let path = "../shared/fixtures/arch/qwen35/model-f32.gguf";
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if !full.exists() {
        println!("SKIPPED: {path} (../shared is absent)");
        return None;
    }
    let file = std::fs::File::open(full).unwrap();
    let parts: [&dyn ByteSource; 1] = [&file];
    let gguf = Gguf::read_parts(&parts).unwrap();
    Some(drive::load(&gguf, &parts, shards, Options::default()).unwrap())
}

/// Forty tokens.
fn tokens() -> Vec<u32> {
    (0..40).map(|i| (i * 37 + 11) % 500).collect()
}

/// A batch at `first` that wants all its logits.
fn batch(models: &mut [Model], tokens: &[u32], batch: Batch) -> Vec<u32> {
    drive::batch(models, tokens, batch).unwrap();
    bits(&drive::taken(&mut models[0]))
}

#[test]
fn any_cut_of_a_prompt_gives_the_same_bits() {
    let Some(mut models) = hybrid(2) else { return };
    let ids = tokens();
    let at = |first| Batch::at(first, LogitsFor::All);
    let whole = batch(&mut models, &ids, at(0));
    for cut in [1, 2, 3, 17, 39] {
        let mut pieces = batch(&mut models, &ids[..cut], at(0));
        pieces.extend(batch(&mut models, &ids[cut..], at(cut)));
        assert!(pieces == whole, "cut at {cut}");
    }
}

#[test]
fn a_draft_changes_the_state_only_by_what_is_kept() {
    let Some(mut models) = hybrid(3) else { return };
    let ids = tokens();
    let at = |first| Batch::at(first, LogitsFor::All);
    let whole = batch(&mut models, &ids, at(0));
    let vocabulary = whole.len() / ids.len();
    for kept in [0, 1, 3, MAX_DRAFT_BATCH] {
        let first = 10;
        let mut all = batch(&mut models, &ids[..first], at(0));
        // The draft is right for `kept` tokens, then wrong.
        let mut draft = ids[first..first + MAX_DRAFT_BATCH].to_vec();
        draft[kept..].fill(7);
        let drafted = batch(
            &mut models,
            &draft,
            Batch {
                draft: true,
                ..at(first)
            },
        );
        all.extend(&drafted[..kept * vocabulary]);
        let next = first + kept;
        let rest = Batch {
            keep: kept,
            ..at(next)
        };
        all.extend(batch(&mut models, &ids[next..], rest));
        assert!(all == whole, "{kept} tokens of the draft were kept");
    }
    let too_long = [1; MAX_DRAFT_BATCH + 1];
    let draft = Batch { draft: true, ..at(0) };
    assert!(drive::batch(&mut models, &too_long, draft).is_err());
}

#[test]
fn copies_of_the_state_bring_back_an_earlier_position() {
    let Some(mut models) = hybrid(2) else { return };
    let ids = tokens();
    let at = |first| Batch::at(first, LogitsFor::All);
    let whole = batch(&mut models, &ids, at(0));
    let vocabulary = whole.len() / ids.len();
    batch(&mut models, &ids[..5], at(0));
    // One copy before a batch, one after its first 19 tokens, which no chunk of the kernel ends at.
    let marked = Batch {
        save: Some(0),
        mark: Some(Mark { slot: 1, tokens: 19 }),
        ..at(5)
    };
    batch(&mut models, &ids[5..], marked);
    for (slot, position) in [(1, 24), (0, 5), (1, 24)] {
        let restored = Batch {
            restore: Some(slot),
            ..at(position)
        };
        let rest = batch(&mut models, &ids[position..], restored);
        assert!(rest == whole[position * vocabulary..], "slot {slot}");
    }
    // What does not fit the state is refused, and nothing is computed.
    for wrong in [
        at(3),
        Batch {
            restore: Some(0),
            ..at(6)
        },
        Batch {
            restore: Some(2),
            ..at(6)
        },
        Batch { keep: 1, ..at(5) },
    ] {
        assert!(drive::batch(&mut models, &[1], wrong).is_err(), "{wrong:?}");
    }
}
