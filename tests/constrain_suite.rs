//! The published JSON-Schema-Test-Suite, draft 2020-12: every valid datum of a schema that we accept can be written, no
//! invalid one can.

#![cfg(not(target_family = "wasm"))]

#[path = "support/walk.rs"]
mod walk;

use std::path::{Path, PathBuf};

use fanlight::Kind;
use fanlight::constrain::{Constraints, Grammar};
use serde_json::{Map, Value, json};
use walk::Words;

/// What became of one file of the suite.
#[derive(Default)]
struct Tally {
    schemas: usize,
    accepted: usize,
    valid: usize,
    written: usize,
    invalid: usize,
    kept_out: usize,
    /// Data that can be written and are not valid, or the other way round.
    wrong: Vec<String>,
}

#[test]
fn valid_data_can_be_written_and_invalid_data_cannot() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../shared/fixtures/json-schema/tests/draft2020-12");
    if !folder.exists() {
        println!("SKIPPED: {} is absent", folder.display());
        return;
    }
    let words = Words::load(&root.join("www/models/tiny-chat-q8_0.gguf"));
    let mut table = String::from("| keyword | schemas | valid | invalid |\n| --- | --- | --- | --- |\n");
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).unwrap().with_extension("");
        let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let tally = walk_all(&words, &groups);
        let name = name.display().to_string();
        let optional = name.starts_with("optional");
        assert_eq!(tally.kept_out, tally.invalid, "{name}: {:#?}", tally.wrong);
        if optional {
            continue;
        }
        // In the required tests, formats mean nothing; and a meta-schema of its own says that `minimum` does not either.
        if name != "vocabulary" && name != "format" {
            assert_eq!(tally.written, tally.valid, "{name}: {:#?}", tally.wrong);
        }
        let Tally {
            schemas,
            accepted,
            valid,
            written,
            invalid,
            kept_out,
            ..
        } = tally;
        if accepted > 0 {
            table += &format!(
                "| {name} | {accepted} of {schemas} | {written} of {valid} | {kept_out} of {invalid} |\n"
            );
        }
    }
    let document = std::fs::read_to_string(root.join("docs/structured-output.md")).unwrap();
    assert!(
        document.contains(&table),
        "docs/structured-output.md has another table than\n{table}"
    );
}

fn walk_all(words: &Words, groups: &[Value]) -> Tally {
    let mut tally = Tally::default();
    for group in groups {
        tally.schemas += 1;
        let grammar = Grammar::json(group["schema"].clone());
        if let Err(error) = words.constraints.begin(&grammar) {
            assert_eq!(error.kind, Kind::Schema);
            continue;
        }
        tally.accepted += 1;
        for test in group["tests"].as_array().unwrap() {
            let can = spellings(&test["data"])
                .iter()
                .any(|text| words.writes(&grammar, text).unwrap_or(false));
            let valid = test["valid"] == true;
            if valid {
                tally.valid += 1;
                tally.written += usize::from(can);
            } else {
                tally.invalid += 1;
                tally.kept_out += usize::from(!can);
            }
            if can != valid {
                let wrong = format!(
                    "{} / {}: {}",
                    group["description"], test["description"], test["data"]
                );
                tally.wrong.push(wrong);
            }
        }
    }
    tally
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// The texts of a value: all orders of keys, whole numbers with and without a fraction.
fn spellings(value: &Value) -> Vec<String> {
    const MOST: usize = 200;
    match value {
        Value::Number(n) => {
            let mut out = vec![n.to_string()];
            if let Some(x) = n.as_f64()
                && x.fract() == 0.0
                && x.abs() < 1e18
            {
                out.push(format!("{}", x as i64));
                out.push(format!("{:.1}", x));
            }
            if let Some(x) = n.as_f64()
                && x.abs() < 1e-3
            {
                out.push(format!("{x}"));
            }
            if let Some(x) = n.as_f64()
                && x.abs() >= 1e18
            {
                out.push(format!("{x:.0}"));
                out.push(format!("{x:.1}"));
            }
            out.dedup();
            out
        }
        Value::Array(values) => {
            let mut out = vec![String::new()];
            for value in values {
                out = out
                    .iter()
                    .flat_map(|begin| {
                        spellings(value).into_iter().map(move |s| {
                            if begin.is_empty() {
                                s
                            } else {
                                format!("{begin}, {s}")
                            }
                        })
                    })
                    .take(MOST)
                    .collect();
            }
            out.into_iter().map(|s| format!("[{s}]")).collect()
        }
        Value::Object(object) => orders(object)
            .into_iter()
            .take(MOST)
            .flat_map(|keys| {
                let mut out = vec![String::new()];
                for key in keys {
                    let name = Value::from(key.as_str()).to_string();
                    out = out
                        .iter()
                        .flat_map(|begin| {
                            spellings(&object[key]).into_iter().map({
                                let name = name.clone();
                                move |s| {
                                    if begin.is_empty() {
                                        format!("{name}: {s}")
                                    } else {
                                        format!("{begin}, {name}: {s}")
                                    }
                                }
                            })
                        })
                        .take(MOST)
                        .collect();
                }
                out.into_iter().map(|s| format!("{{{s}}}")).collect::<Vec<_>>()
            })
            .take(MOST)
            .collect(),
        other => vec![other.to_string()],
    }
}

fn orders(object: &Map<String, Value>) -> Vec<Vec<&String>> {
    let keys: Vec<&String> = object.keys().collect();
    if keys.len() > 5 {
        return vec![keys];
    }
    let mut out = vec![vec![]];
    for _ in 0..keys.len() {
        out = out
            .iter()
            .flat_map(|begin: &Vec<&String>| {
                keys.iter()
                    .filter(|k| !begin.contains(k))
                    .map(|k| [begin.clone(), vec![*k]].concat())
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    out
}

/// From anywhere in an answer the way to its end is short: strings are closed, not filled, and numbers end where they are.
#[test]
fn an_end_is_near_wherever_the_text_stands() {
    let words = Words::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/tiny-chat-q8_0.gguf"));
    let text = json!({"type": ["string", "null"], "maxLength": 500});
    let schema = json!({
        "type": "object",
        "properties": {
            "shop": text, "total": {"type": "number"}, "day": {"type": "string", "format": "date"},
            "items": {"type": "array", "items": {
                "type": "object", "properties": {"name": text, "price": {"type": "number"}},
                "required": ["name", "price"], "additionalProperties": false
            }},
            "city": text
        },
        "required": ["shop", "total", "day", "items", "city"], "additionalProperties": false
    });
    let answer = r#"{"shop": "Lento }]", "total": 471.90, "day": "2026-03-14", "items": [{"name": "Tea", "price": -12.5}, {"name": null, "price": 3}], "city": "Cusco"}"#;
    let mut constraint = words.constraints.begin(&Grammar::json(schema)).unwrap();
    let mut written = Vec::new();
    for id in words.tokenizer.encode(answer, false) {
        let ending = constraint
            .ending(None, 1000)
            .unwrap_or_else(|| panic!("no end after {}", String::from_utf8_lossy(&written)));
        assert!(
            ending.len() <= 60,
            "{} tokens after {}",
            ending.len(),
            String::from_utf8_lossy(&written)
        );
        let whole: Vec<u8> = ending.iter().fold(written.clone(), |mut text, id| {
            text.extend(words.tokenizer.token_bytes(*id));
            text
        });
        let value: Value = serde_json::from_slice(&whole).expect("JSON");
        assert!(
            value["total"].as_f64().is_some_and(|total| total < 5000.0),
            "{value}"
        );
        constraint.accept(id).unwrap();
        written.extend(words.tokenizer.token_bytes(id));
    }
    assert!(constraint.is_complete() || constraint.may_end());
}

/// Where standards and validators do not agree, only what both take comes out.
#[test]
fn formats_are_what_validators_take() {
    let words = Words::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/tiny-chat-q8_0.gguf"));
    for (format, good, bad) in [
        (
            "uri",
            &[
                "https://a.example/b?c#d",
                "mailto:a@b.example",
                "urn:a:b",
                "file:///etc",
                "a:/",
            ][..],
            &["abc:", "abc:?a", "abc:#a", "abc", "//a.example"][..],
        ),
        ("email", &["a@b.example"], &["a@b", "a@"]),
    ] {
        let grammar = Grammar::json(json!({"type": "string", "format": format}));
        for text in good {
            assert!(
                words.writes(&grammar, &json!(text).to_string()).unwrap(),
                "{text}"
            );
        }
        for text in bad {
            assert!(
                !words.writes(&grammar, &json!(text).to_string()).unwrap(),
                "{text}"
            );
        }
    }
}
