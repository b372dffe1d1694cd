//! Published chat templates against Jinja2, messages that try to write control tokens, and hostile templates.

use std::path::{Path, PathBuf};

use fanlight::Kind;
use fanlight::chat::{ChatTemplate, PromptInput, TextSpan, Time};
use serde_json::{Map, Value};

/// The folder of templates and expected renderings, if it is here.
fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/fixtures/templates"
    ));
    folder.is_dir().then(|| folder.to_owned())
}

/// 2026-03-14T15:09:26, the moment of all recorded renderings.
fn now() -> Option<Time> {
    Some(Time::from_unix(1_773_500_966, 0).unwrap())
}

fn joined(spans: &[TextSpan]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}

struct Fixture {
    name: String,
    source: String,
    cases: Vec<Value>,
}

fn all_fixtures() -> Option<Vec<Fixture>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(fixtures()?).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.to_str().unwrap().strip_suffix(".cases.json") else {
            continue;
        };
        let cases: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(cases["now"], "2026-03-14T15:09:26");
        all.push(Fixture {
            name: name.rsplit('/').next().unwrap().to_owned(),
            source: std::fs::read_to_string(format!("{name}.jinja")).unwrap(),
            cases: cases["cases"].as_array().unwrap().clone(),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!all.is_empty());
    Some(all)
}

fn input_of(case: &Value) -> PromptInput {
    let mut variables: Map<String, Value> = case["vars"].as_object().unwrap().clone();
    for name in ["bos_token", "eos_token"] {
        variables.remove(name);
    }
    PromptInput {
        messages: case["messages"].clone(),
        tools: case.get("tools").filter(|tools| !tools.is_null()).cloned(),
        add_generation_prompt: variables
            .remove("add_generation_prompt")
            .unwrap()
            .as_bool()
            .unwrap(),
        variables,
        now: now(),
    }
}

#[test]
fn published_templates_render_as_jinja2_does() {
    let Some(fixtures) = all_fixtures() else {
        println!("SKIPPED: published chat templates (../shared is absent)");
        return;
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for fixture in &fixtures {
        for case in &fixture.cases {
            count += 1;
            let token = |name: &str| case["vars"][name].as_str().unwrap_or("").to_owned();
            let (bos, eos) = (token("bos_token"), token("eos_token"));
            // Typical control tokens, so that marking takes its full course.
            let control = [&bos, &eos, "<|im_start|>", "[INST]"].map(|s: &str| s);
            let control: Vec<&str> = control.into_iter().filter(|s| !s.is_empty()).collect();
            let name = format!("{} {}", fixture.name, case["name"]);
            let rendered = ChatTemplate::new(&fixture.source, &bos, &eos, &control)
                .and_then(|t| t.render(&input_of(case)));
            match (case["output"].as_str(), rendered) {
                (Some(expected), Ok(spans)) if joined(&spans) == expected => {
                    if spans.iter().any(|span| !span.trusted) {
                        wrong.push(format!("{name}: untrusted text"));
                    }
                }
                (Some(expected), Ok(spans)) => {
                    let found = joined(&spans);
                    let at = expected
                        .bytes()
                        .zip(found.bytes())
                        .take_while(|(a, b)| a == b)
                        .count();
                    let show = |text: &str| {
                        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(20)..])
                            .chars()
                            .take(80)
                            .collect::<String>()
                    };
                    wrong.push(format!(
                        "{name}: at {at}: expected {:?}, found {:?}",
                        show(expected),
                        show(&found)
                    ));
                }
                (Some(_), Err(error)) => wrong.push(format!("{name}: {error}")),
                (None, Ok(_)) => wrong.push(format!("{name}: expected {}", case["error"])),
                (None, Err(error)) => {
                    let expected = case["error"].as_str().unwrap();
                    let own_words = expected.strip_prefix("TemplateError: ");
                    if error.kind != Kind::Template || own_words.is_some_and(|words| words != error.message) {
                        wrong.push(format!("{name}: expected {expected}, found {error}"));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
