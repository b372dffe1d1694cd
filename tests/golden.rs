//! Logits against those of two independent implementations (transformers and llama.cpp), and against themselves for any
//! number of shards.

use std::path::PathBuf;

use fanlight::gguf::Gguf;
use fanlight::kernels::cache::KvType;
use fanlight::kernels::{Dot, Form};
use fanlight::model::Options;
use fanlight::source::ByteSource;

#[path = "support/drive.rs"]
mod drive;
#[path = "support/npy.rs"]
mod npy;

/// The fixtures, or `None` with a visible line when they are not there.
fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(path);
    if !full.exists() {
        println!("SKIPPED: {path} (../shared is absent)");
        return None;
    }
    Some(full)
}

struct Prompts(Vec<Vec<u32>>);

impl Prompts {
    fn read(path: PathBuf) -> Prompts {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let ids = |p: &serde_json::Value| {
            p["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap() as u32)
                .collect()
        };
        Prompts(json["prompts"].as_array().unwrap().iter().map(ids).collect())
    }
}

fn logits_of(file: &PathBuf, prompts: &Prompts, shards: usize, options: Options) -> (usize, Vec<f32>) {
    let file = std::fs::File::open(file).unwrap();
    let parts: [&dyn ByteSource; 1] = [&file];
    let gguf = Gguf::read_parts(&parts).unwrap();
    let mut models = drive::load(&gguf, &parts, shards, options).unwrap();
    let logits = prompts
        .0
        .iter()
        .flat_map(|ids| drive::logits(&mut models, ids).unwrap())
        .collect();
    (models[0].hyper.vocabulary, logits)
}

struct Difference {
    max: f32,
    mean: f32,
    /// Rows whose largest logit is another one, although the reference's margin is over `margin`.
    argmax_wrong: usize,
}

fn compare(got: &[f32], want: &[f32], vocabulary: usize, margin: f32) -> Difference {
    assert_eq!(got.len(), want.len());
    let differences = || got.iter().zip(want).map(|(a, b)| (a - b).abs());
    let argmax = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let argmax_wrong = got
        .chunks_exact(vocabulary)
        .zip(want.chunks_exact(vocabulary))
        .filter(|(got, want)| {
            let best = argmax(want);
            let second = (0..vocabulary)
                .filter(|i| *i != best)
                .map(|i| want[i])
                .fold(f32::MIN, f32::max);
            argmax(got) != best && want[best] - second > margin
        })
        .count();
    assert!(got.iter().all(|x| x.is_finite()));
    Difference {
        max: differences().fold(0.0, f32::max),
        mean: (differences().map(f64::from).sum::<f64>() / got.len() as f64) as f32,
        argmax_wrong,
    }
}

/// Every architecture that has an oracle, and how far the two references support a comparison: those of the recurrent ones
/// differ from each other by up to 6.5e-4.
const ARCHITECTURES: [(&str, f32); 7] = [
    ("llama", 2e-4),
    ("qwen2", 2e-4),
    ("qwen3", 2e-4),
    ("qwen3moe", 2e-4),
    ("qwen35", 3e-3),
    ("qwen35_mtp", 3e-3),
    ("qwen35moe", 3e-3),
];

#[test]
fn logits_equal_the_oracle_for_every_architecture() {
    for (arch, exact) in ARCHITECTURES {
        let Some(folder) = shared(&format!("arch/{arch}")) else {
            return;
        };
        let prompts = Prompts::read(folder.join("prompts.json"));
        let (_, want) = npy::read(&folder.join("hf_logits.npy"));
        for (kv, tolerance, margin) in [
            (KvType::F32, exact, 2.0 * exact),
            (KvType::F16, 2e-2, 4e-2),
            (KvType::Q16, 2e-2, 4e-2),
            (KvType::Q8, 2.0, 4.0),
        ] {
            let (vocabulary, got) = logits_of(
                &folder.join("model-f32.gguf"),
                &prompts,
                1,
                Options {
                    kv_type: kv,
                    ..Options::default()
                },
            );
            let difference = compare(&got, &want, vocabulary, margin);
            println!(
                "{arch} {}: max {:.2e}, mean {:.2e}",
                kv.name(),
                difference.max,
                difference.mean
            );
            assert!(difference.mean <= tolerance, "{arch} {}", kv.name());
            // A cache as coarse as q8 tips the choice between two experts that are nearly as likely, and all is different.
            if !(arch.ends_with("moe") && kv == KvType::Q8) {
                assert!(
                    difference.max <= tolerance,
                    "{arch} {}: {}",
                    kv.name(),
                    difference.max
                );
                assert_eq!(difference.argmax_wrong, 0, "{arch} {}", kv.name());
            }
        }
    }
}

#[test]
fn any_number_of_shards_gives_the_same_bits() {
    for (arch, _) in ARCHITECTURES {
        let Some(folder) = shared(&format!("arch/{arch}")) else {
            return;
        };
        let prompts = Prompts::read(folder.join("prompts.json"));
        let model = folder.join("model-f32.gguf");
        let (_, whole) = logits_of(&model, &prompts, 1, Options::default());
        for shards in [2, 3, 5] {
            let (_, parts) = logits_of(&model, &prompts, shards, Options::default());
            assert!(
                whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{arch} in {shards} shards"
            );
        }
    }
}

/// Our logits of a quantised file may be no further from the exact ones (transformers on the dequantised weights) than
/// those of ggml, which rounds its activations as well.
#[test]
fn quantised_models_are_no_further_from_exact_than_ggml() {
    let Some(folder) = shared("quant_models/qwen3_h256") else {
        return;
    };
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("quant_report.json")).unwrap()).unwrap();
    let prompts = Prompts::read(folder.join("prompts.json"));
    let (mut failures, mut compared) = (Vec::new(), 0);
    for (name, figures) in report.as_object().unwrap() {
        if !folder.join(format!("model-{name}.gguf")).exists() {
            println!("{name}: in the report, but there is no such file");
            continue;
        }
        compared += 1;
        let (_, want) = npy::read(&folder.join(format!("{name}.exact.npy")));
        let figure = |key: &str| figures["ggml_vs_exact"][key].as_f64().unwrap() as f32;
        let (max, mean) = (figure("max_abs_diff"), figure("mean_abs_diff"));
        // Both forms that activations have in one build or another.
        for form in [Form::I16, Form::I8(Dot::Pairs)] {
            let options = Options {
                kv_type: KvType::F32,
                activations: Some(form),
                ..Options::default()
            };
            let file = folder.join(format!("model-{name}.gguf"));
            let (vocabulary, got) = logits_of(&file, &prompts, 1, options);
            let ours = compare(&got, &want, vocabulary, 0.0);
            println!(
                "{name} {form:?}: max {:.4} (ggml {max:.4}), mean {:.5} (ggml {mean:.5})",
                ours.max, ours.mean
            );
            if ours.max > max || ours.mean > mean {
                failures.push(format!("{name} {form:?}"));
            }
        }
    }
    assert_eq!(compared, 15);
    assert!(failures.is_empty(), "further from exact than ggml: {failures:?}");
}

#[test]
fn shards_agree_on_quantised_models_too() {
    let Some(folder) = shared("quant_models/qwen3_h256") else {
        return;
    };
    let prompts = Prompts::read(folder.join("prompts.json"));
    for name in ["Q4_K_M", "Q8_0", "Q5_0", "IQ4_XS"] {
        let model = folder.join(format!("model-{name}.gguf"));
        let (_, whole) = logits_of(&model, &prompts, 1, Options::default());
        for shards in [2, 3] {
            let (_, parts) = logits_of(&model, &prompts, shards, Options::default());
            assert!(
                whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{name} in {shards} shards"
            );
        }
    }
}
