//! What happens to a template's text before the engine sees it: tags that it cannot take are refused, those that it does
//! not know are written in its words.

use std::ops::Range;

use super::python::SLICE;
use crate::{Error, Kind, Result};

/// The most words and signs in one tag; the published templates that we know have at most 59. The engine recurses over a
/// chain of operators, and in a browser the stack ends after some 3,000.
const MAX_TAG: usize = 1000;

/// The most `elif`s in a template: the engine recurses over those of one `if`.
const MAX_BRANCHES: usize = 500;

/// The text as the engine takes it.
pub(super) fn prepared(source: &str) -> Result<String> {
    Ok(without_generation_tags(&with_checked_slices(source)?))
}

/// Writes `x[a:b:c]` as a call of [`SLICE`]: the engine's own slices with a step panic where they run past an end.
/// Refuses tags of more than [`MAX_TAG`] words and signs, and more than [`MAX_BRANCHES`] branches.
fn with_checked_slices(source: &str) -> Result<String> {
    let mut edits = Vec::new();
    for_each_tag(source, |words| slices(source, words, &mut edits))?;
    edits.sort_by_key(|(place, _)| place.start);
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    for (place, text) in edits {
        out.push_str(&source[done..place.start]);
        out.push_str(&text);
        done = place.end;
    }
    out.push_str(&source[done..]);
    Ok(out)
}

/// The edits that make calls of the slices with a step in one tag, which has its words at these places.
fn slices(source: &str, words: &[Range<usize>], edits: &mut Vec<(Range<usize>, String)>) {
    /// Of an open bracket: its own place among the words, and those of the colons directly in it.
    type Marks = Vec<usize>;
    let mut open: Vec<Marks> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match &source[word.clone()] {
            "(" | "[" | "{" => open.push(vec![index]),
            ":" => open.last_mut().into_iter().for_each(|marks| marks.push(index)),
            close @ (")" | "]" | "}") => {
                let Some(&[begin, first, second]) = open.pop().as_deref() else {
                    continue;
                };
                if close != "]" || &source[words[begin].clone()] != "[" {
                    continue;
                }
                let call = format!(".{SLICE}(");
                for (at, next, sign) in [
                    (begin, first, call.as_str()),
                    (first, second, ","),
                    (second, index, ","),
                ] {
                    let part = if next == at + 1 { "none" } else { "" };
                    edits.push((words[at].clone(), format!("{sign}{part}")));
                }
                edits.push((word.clone(), ")".into()));
            }
            _ => {}
        }
    }
}

/// Calls `work` with the places of the words, signs and string literals of each tag. Tags end where the engine ends them:
/// not within brackets.
fn for_each_tag(source: &str, mut work: impl FnMut(&[Range<usize>])) -> Result<()> {
    let mut words = Vec::new();
    let mut branches = 0;
    let mut at = 0;
    while let Some(found) = source[at..].find('{') {
        at += found + 1;
        let close = match source.as_bytes().get(at) {
            Some(b'#') => {
                at = source[at..].find("#}").map_or(source.len(), |end| at + end + 2);
                continue;
            }
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            _ => continue,
        };
        at += 1;
        if let Some(text) = (close == "%}").then(|| after_tag(&source[at..], "raw")).flatten() {
            at = source.len() - after_raw(text).len();
            continue;
        }
        words.clear();
        let mut depth = 0isize;
        loop {
            at = source.len() - source[at..].trim_start().len();
            let rest = &source[at..];
            if rest.is_empty() || depth == 0 && rest.starts_with(close) {
                break;
            }
            match rest.as_bytes()[0] {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth -= 1,
                _ => {}
            }
            let end = at + word_len(rest);
            words.push(at..end);
            at = end;
            if words.len() > MAX_TAG {
                let message = format!("chat template: a tag with more than {MAX_TAG} words and signs");
                return Err(Error::new(Kind::Template, message));
            }
        }
        let first = words
            .iter()
            .map(|word| &source[word.clone()])
            .find(|word| !matches!(*word, "-" | "+"));
        branches += usize::from(close == "%}" && first == Some("elif"));
        if branches > MAX_BRANCHES {
            let message = format!("chat template: more than {MAX_BRANCHES} branches (elif)");
            return Err(Error::new(Kind::Template, message));
        }
        work(&words);
    }
    Ok(())
}

/// The length in bytes of the first word, sign or string literal of a text, which is not empty.
fn word_len(text: &str) -> usize {
    let first = text.chars().next().unwrap_or(' ');
    if matches!(first, '\'' | '"') {
        let mut escaped = true; // The opening quote does not close.
        let end = text.char_indices().find(|&(_, c)| {
            let closes = c == first && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        end.map_or(text.len(), |(at, _)| at + 1)
    } else if first.is_alphanumeric() || first == '_' {
        let after = text.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        text.len() - after.len()
    } else {
        first.len_utf8()
    }
}

/// What follows a tag of nothing but this name, of which the text is all that follows `{%`.
fn after_tag<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let text = text.trim_start().strip_prefix(name)?.trim_start();
    text.strip_prefix(['-', '+']).unwrap_or(text).strip_prefix("%}")
}

/// What follows the end of a raw block, in which there are no tags.
fn after_raw(mut text: &str) -> &str {
    while let Some((_, rest)) = text.split_once("{%") {
        if let Some(after) = after_tag(rest, "endraw") {
            return after;
        }
        text = rest;
    }
    ""
}

/// `{% generation %}` and its end mark the assistant's text for training. The engine does not know the tag; an
/// `if true` in its place keeps the rules for white space.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let inside = &rest[at + 2..];
        let sign = if inside.starts_with(['-', '+']) { 1 } else { 0 };
        let word = inside[sign..].trim_start();
        let (name, replacement) = if word.starts_with("generation") {
            ("generation", "if true")
        } else {
            ("endgeneration", "endif")
        };
        let after = word.strip_prefix(name).filter(|after| {
            let end = after.trim_start();
            ["%}", "-%}", "+%}"].iter().any(|close| end.starts_with(close))
        });
        match after {
            Some(after) => {
                out.push_str(&rest[..at + 2 + sign]);
                out.push(' ');
                out.push_str(replacement);
                out.push(' ');
                rest = after.trim_start();
            }
            None => {
                out.push_str(&rest[..at + 2]);
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_measured_without_their_strings() {
        let long = "x ".repeat(MAX_TAG + 1);
        for (source, fits) in [
            (format!("{{{{ '{long}' ~ \"a\\\"{long}\" }}}} {long}"), true),
            (format!("{{# {long} #}}{{%- set x = 1 %}}"), true),
            ("{{ 1 }}".repeat(MAX_TAG + 1), true),
            (format!("{{% raw %}}{{{{ {long} }}}}{{% endraw %}}"), true),
            (format!("{{{{ {long} }}}}"), false),
            (format!("{{% if {long}"), false),
            (format!("{{ {{{{ 1{} }}}}", "+1".repeat(MAX_TAG)), false),
            (format!("{{{{ {} 1 }}}}", "'a'+".repeat(MAX_TAG)), false),
            (
                format!("{{{{ {{1: {{2: 3}}}}{} }}}}", "+1".repeat(MAX_TAG)),
                false,
            ),
        ] {
            assert_eq!(
                prepared(&source).is_ok(),
                fits,
                "{}",
                &source[..40.min(source.len())]
            );
        }
    }

    #[test]
    fn slices_with_a_step_become_calls() {
        for (source, expected) in [
            ("{{ x[::-1] }}", "{{ x.SLICE(none,none,-1) }}"),
            (
                "{%- for m in x [a[0]:b | length : -c] -%}",
                "{%- for m in x .SLICE(a[0],b | length , -c) -%}",
            ),
            (
                "{{ x[y[::2][0]:1:] }}",
                "{{ x.SLICE(y.SLICE(none,none,2)[0],1,none) }}",
            ),
            (
                "{{ {'a': {'b': 1}}[::2]['}}'] }}",
                "{{ {'a': {'b': 1}}.SLICE(none,none,2)['}}'] }}",
            ),
            ("{{ ']'[ '[:' : : ':' ] }}", "{{ ']'.SLICE( '[:' ,none , ':' ) }}"),
            (
                "{# {{ #}{{ x[1:] ~ {1: 2, 3: 4}[1] }} x[::2]",
                "{# {{ #}{{ x[1:] ~ {1: 2, 3: 4}[1] }} x[::2]",
            ),
            (
                "{%- raw -%}{{ x[::2] }}{%+endraw%}{{ x[::2",
                "{%- raw -%}{{ x[::2] }}{%+endraw%}{{ x[::2",
            ),
            ("{{ ([x[::2)]] }", "{{ ([x[::2)]] }"),
            ("{{ \u{feff}é[:é:] }}", "{{ \u{feff}é.SLICE(none,é,none) }}"),
        ] {
            assert_eq!(
                with_checked_slices(source).unwrap(),
                expected.replace("SLICE", SLICE)
            );
        }
    }

    #[test]
    fn generation_tags_become_plain_blocks() {
        for (source, expected) in [
            (
                "a{% generation %}b{%- endgeneration -%}c",
                "a{% if true %}b{%- endif -%}c",
            ),
            (
                "{%generation%}{%+ endgeneration +%}",
                "{% if true %}{%+ endif +%}",
            ),
            ("{% generational %}{% if x %}{%", "{% generational %}{% if x %}{%"),
        ] {
            assert_eq!(without_generation_tags(source), expected);
        }
    }
}
