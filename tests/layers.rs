//! The rules of the house that a compiler does not check: which layer may use which, where `unsafe` and JavaScript live,
//! what the engine never does by itself, and that no tracked file names a machine's own paths.

#![cfg(not(target_family = "wasm"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers in order: each may use those before it, never those after it. A folder whose `mod.rs` says
/// "May import: …" is held to that shorter list.
const LAYERS: [&str; 12] = [
    "error",
    "source",
    "quant",
    "gguf",
    "kernels",
    "model",
    "tokenizer",
    "constrain",
    "sample",
    "chat",
    "session",
    "wasm",
];

/// What lib.rs re-exports from `error`.
const ROOT_NAMES: [&str; 3] = ["Error", "Kind", "Result"];

#[test]
fn every_layer_is_known() {
    for name in layers_on_disk() {
        assert!(
            LAYERS.contains(&name.as_str()),
            "src/ has a new layer `{name}`: give it its place in LAYERS"
        );
    }
}

#[test]
fn a_layer_imports_only_what_it_may() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(layer) = file.layer() else { continue };
        let allowed = allowed_imports(&layer);
        for (line, name) in file.imports(&layer) {
            if name != layer && !allowed.contains(&name) {
                broken.push(format!("{}:{line}: `{layer}` may not use `{name}`", file.shown()));
            }
        }
    }
    report(broken);
}

#[test]
fn what_a_layer_may_import_lies_above_it() {
    for layer in layers_on_disk() {
        let place = LAYERS.iter().position(|l| *l == layer);
        for name in declared_imports(&layer).unwrap_or_default() {
            let above = LAYERS.iter().position(|l| *l == name);
            assert!(
                above.is_some() && above < place,
                "src/{layer}/mod.rs: `{name}` is not a layer above `{layer}`"
            );
        }
    }
}

#[test]
fn the_map_says_what_the_layers_say() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let rows: Vec<&str> = map.lines().filter(|line| line.starts_with("| `src/")).collect();
    for layer in layers_on_disk() {
        let begins = [format!("| `src/{layer}/"), format!("| `src/{layer}.rs`")];
        let row = rows
            .iter()
            .find(|row| begins.iter().any(|b| row.starts_with(b.as_str())));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for `{layer}`"));
        let Some(declared) = declared_imports(&layer) else {
            continue;
        };
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or("").trim();
        if !cell.contains("the above") {
            assert_eq!(
                cell,
                declared.join(", "),
                "ARCHITECTURE.md, what `{layer}` may use"
            );
        }
    }
}

#[test]
fn unsafe_and_intrinsics_live_in_kernels_lanes() {
    forbid(&["unsafe", "unsafe_code", "core::arch", "std::arch"], |file| {
        !file.path.starts_with("src/kernels/lanes")
    });
}

#[test]
fn only_the_wasm_layer_knows_javascript() {
    forbid(
        &[
            "wasm_bindgen",
            "js_sys",
            "web_sys",
            "serde_wasm_bindgen",
            "console_error_panic_hook",
        ],
        |file| !file.path.starts_with("src/wasm"),
    );
}

#[test]
fn the_engine_does_no_io() {
    let names = [
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "std::time",
        "std::process",
        "println!",
        "eprintln!",
        "print!",
        "eprint!",
        "dbg!",
    ];
    // A file is one of the byte sources.
    forbid(&names, |file| file.path != Path::new("src/source.rs"));
}

#[test]
fn architecture_files_hold_no_loops() {
    let mut broken = Vec::new();
    for file in sources() {
        if !file.path.starts_with("src/model/arch") || file.path.ends_with("mod.rs") {
            continue;
        }
        for (number, line) in file.engine_lines() {
            let iterates = contains_word(line, "for") && contains_word(line, "in");
            if iterates || contains_word(line, "while") || contains_word(line, "loop") {
                broken.push(format!(
                    "{}:{number}: a loop in a description: {}",
                    file.shown(),
                    line.trim()
                ));
            }
        }
    }
    report(broken);
}

#[test]
fn no_tracked_file_names_a_machine() {
    // Each in two parts, so that this file does not find itself.
    let words = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("registry.", "npmjs"),
        concat!("index.", "crates.io"),
        concat!("deb.", "debian.org"),
    ];
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let Some(listed) = listed.ok().filter(|out| out.status.success()) else {
        println!("SKIPPED: machine paths in tracked files (this is no git checkout)");
        return;
    };
    let mut broken = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue; // binary, or deleted and not yet committed
        };
        for (number, line) in text.lines().enumerate() {
            for word in words {
                // A folder of that name inside a longer path or an address is no path of a machine.
                let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric());
                if line.match_indices(word).any(|(at, _)| begins(at)) {
                    broken.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn the_checker_sees_through_comments_and_strings() {
    let text = "// crate::wasm\nlet s = \"crate::chat \\\" unsafe\"; /* unsafe /* x */ */ let c = '\"';\n\
                let r = r#\"unsafe \" \"#; fn f<'a>(x: &'a str) {} use crate::gguf;";
    let bare = without_comments_and_strings(text);
    assert_eq!(bare.lines().count(), text.lines().count());
    assert!(!contains_word(&bare, "unsafe"), "{bare}");
    assert_eq!(
        Source::new("src/kernels/x.rs", text).imports("kernels"),
        [(3, "gguf".to_string())]
    );
}

#[test]
fn the_checker_reads_groups_and_ways_out() {
    let text = "use crate::{\n    error::{Error, Kind},\n    gguf::Type,\n};\nuse super::super::model;\nuse crate::Error;";
    let imports = Source::new("src/kernels/x.rs", text).imports("kernels");
    let names: Vec<&str> = imports.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["error", "gguf", "error", "model"]);
}

/// One Rust file of `src/`.
struct Source {
    /// From the project's folder.
    path: PathBuf,
    /// Its text without comments and the contents of strings, line by line as before.
    bare: String,
}

impl Source {
    fn new(path: impl Into<PathBuf>, text: &str) -> Source {
        let (path, bare) = (path.into(), without_comments_and_strings(text));
        Source { path, bare }
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The folder or file directly under `src/`; none for lib.rs.
    fn layer(&self) -> Option<String> {
        let name = self.path.iter().nth(1)?.to_str()?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        (name != "lib").then(|| name.to_string())
    }

    /// Lines with their numbers, up to the unit tests at the foot.
    fn engine_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.bare.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }

    /// The layers that this file names, each with its line: by `crate::`, or by a `super::` that leaves the layer.
    fn imports(&self, layer: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, step) in self.bare.match_indices("crate::") {
            if !ends_in_word(&self.bare[..at]) {
                found.extend(
                    first_names(&self.bare[at + step.len()..])
                        .into_iter()
                        .map(|name| (at, name)),
                );
            }
        }
        for (at, step) in self.bare.match_indices("super::") {
            for name in first_names(&self.bare[at + step.len()..]) {
                let own = root().join("src").join(layer).join(&name);
                let is_own = own.is_dir() || own.with_extension("rs").is_file();
                if LAYERS.contains(&name.as_str()) && !is_own {
                    found.push((at, name));
                }
            }
        }
        let line = |at: usize| self.bare[..at].matches('\n').count() + 1;
        let layer = |name: String| {
            if ROOT_NAMES.contains(&name.as_str()) {
                "error".into()
            } else {
                name
            }
        };
        found
            .into_iter()
            .map(|(at, name)| (line(at), layer(name)))
            .collect()
    }
}

/// The first segments of a path or of a `{…}` group of paths.
fn first_names(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![word(text)];
    };
    let mut names = Vec::new();
    let (mut depth, mut begins) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && depth == 0 && !c.is_whitespace() => {
                names.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// Fails for each of `names` found in a file to which the rule applies.
fn forbid(names: &[&str], applies: impl Fn(&Source) -> bool) {
    let mut broken = Vec::new();
    for file in sources().iter().filter(|file| applies(file)) {
        for (number, line) in file.engine_lines() {
            for name in names.iter().filter(|name| contains_word(line, name)) {
                broken.push(format!("{}:{number}: {name}", file.shown()));
            }
        }
    }
    report(broken);
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}

/// The layers that `layer` may use: those it declares, else all above it.
fn allowed_imports(layer: &str) -> Vec<String> {
    let above = LAYERS.iter().take_while(|l| **l != layer);
    declared_imports(layer).unwrap_or_else(|| above.map(|l| l.to_string()).collect())
}

/// What the head of the layer's `mod.rs` says after "May import:".
fn declared_imports(layer: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(root().join("src").join(layer).join("mod.rs")).ok()?;
    let head: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("//!")).collect();
    let head = head.join(" ");
    let (_, list) = head.split_once("May import:")?;
    let sentence = list.split_once('.').map_or(list, |(first, _)| first);
    Some(
        sentence
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_string)
            .collect(),
    )
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = text.match_indices(word);
    found.any(|(at, _)| !ends_in_word(&text[..at]) && !text[at + word.len()..].starts_with(is_part))
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The same text, with comments and the contents of strings and characters blanked out.
fn without_comments_and_strings(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = raw_string(rest).filter(|_| !ends_in_word(&bare));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if c == '"' || (c == '\'' && is_char_literal(rest)) {
            quoted(rest, c)
        } else if let Some(length) = raw {
            length
        } else {
            bare.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        bare.push(' ');
        bare.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    bare
}

/// Length of the block comment, with those nested in it.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of the literal that begins and ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

/// True for `'x'` and `'\n'`, false for the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// Length of a raw string such as `r#"…"#` or `br"…"`.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| begin + at + end.len()))
}

/// The names directly under `src/`, but for lib.rs.
fn layers_on_disk() -> Vec<String> {
    let mut names: Vec<String> = sources().iter().filter_map(Source::layer).collect();
    names.dedup();
    names
}

/// Every Rust file of `src/`, sorted by path.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("source files are text");
                let shown = path
                    .strip_prefix(root())
                    .expect("inside the project")
                    .to_path_buf();
                files.push(Source::new(shown, &text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
