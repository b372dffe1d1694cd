//! The passes that cut running text into words, numbers, punctuation and white space. Each function quotes
//! its regular expression; alternatives are tried in that order, and each repeats as often as it can.

use super::super::unicode::{Class, class};
use super::{Step, char_at, run_end};

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
pub(super) fn gpt2(text: &str, at: usize) -> Step {
    if let Some(end) = contraction(text, at, false) {
        return Step::Match(end);
    }
    let word = after_space(text, at);
    if let Some((c, _)) = char_at(text, word) {
        match class(c) {
            Class::Space => {}
            kind if kind.is_letter() => return Step::Match(run_end(text, word, |c| class(c).is_letter())),
            Class::Number => return Step::Match(run_end(text, word, |c| class(c) == Class::Number)),
            _ => return Step::Match(run_end(text, word, |c| is_sign(c, false))),
        }
    }
    Step::Match(spaces(text, at))
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
pub(super) fn llama3(text: &str, at: usize) -> Step {
    modern(text, at, 3, false)
}

/// As [`llama3`], with every `\p{N}` alone.
pub(super) fn qwen2(text: &str, at: usize) -> Step {
    modern(text, at, 1, false)
}

/// As [`qwen2`], with `[\p{L}\p{M}]+` for a word and `[^\s\p{L}\p{M}\p{N}]+` for signs.
pub(super) fn qwen35(text: &str, at: usize) -> Step {
    modern(text, at, 1, true)
}

fn modern(text: &str, at: usize, numbers: usize, marks: bool) -> Step {
    if let Some(end) = contraction(text, at, true) {
        return Step::Match(end);
    }
    let in_word = |c: char| class(c).is_letter() || (marks && class(c) == Class::Mark);
    let Some((c, next)) = char_at(text, at) else {
        return Step::Skip(at + 1);
    };
    if in_word(c) {
        return Step::Match(run_end(text, next, in_word));
    }
    if class(c) == Class::Number {
        return Step::Match(number_end(text, at, numbers));
    }
    if !matches!(c, '\r' | '\n') && char_at(text, next).is_some_and(|(c, _)| in_word(c)) {
        return Step::Match(run_end(text, next, in_word));
    }
    signs_or_spaces(text, at, |c| is_sign(c, marks), |c| matches!(c, '\r' | '\n'))
}

/// `[^\r\n\p{L}\p{N}]?[UPPER]*[LOWER]+|[^\r\n\p{L}\p{N}]?[UPPER]+[LOWER]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|`
/// `\s+(?!\S)|\s+`, where UPPER is `\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}` and LOWER is `\p{Ll}\p{Lm}\p{Lo}\p{M}`.
///
/// llama.cpp narrows the case classes to ASCII and leaves marks out; the models were trained with this rule.
pub(super) fn tekken(text: &str, at: usize) -> Step {
    cased(text, at, 1, false)
}

/// As [`tekken`], with `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` after a word and `\p{N}{1,3}`.
pub(super) fn gpt4o(text: &str, at: usize) -> Step {
    cased(text, at, 3, true)
}

fn cased(text: &str, at: usize, numbers: usize, contractions: bool) -> Step {
    let Some((c, next)) = char_at(text, at) else {
        return Step::Skip(at + 1);
    };
    let prefix = !matches!(c, '\r' | '\n') && !class(c).is_letter() && class(c) != Class::Number;
    let word = (prefix.then(|| capitalised_end(text, next)).flatten())
        .or_else(|| capitalised_end(text, at))
        .or_else(|| prefix.then(|| capitals_end(text, next)).flatten())
        .or_else(|| capitals_end(text, at));
    if let Some(end) = word {
        let tail = contractions.then(|| contraction(text, end, true)).flatten();
        return Step::Match(tail.unwrap_or(end));
    }
    if class(c) == Class::Number {
        return Step::Match(number_end(text, at, numbers));
    }
    signs_or_spaces(
        text,
        at,
        |c| is_sign(c, false),
        |c| matches!(c, '\r' | '\n' | '/'),
    )
}

fn is_upper(c: char) -> bool {
    matches!(class(c), Class::Upper | Class::Letter | Class::Mark)
}

fn is_lower(c: char) -> bool {
    matches!(class(c), Class::Lower | Class::Letter | Class::Mark)
}

/// The end of `[UPPER]*[LOWER]+` at `at`. The two classes share the letters without case, so when no small
/// letter follows the run of capitals, the run gives back what comes after the last character that both
/// classes hold.
fn capitalised_end(text: &str, at: usize) -> Option<usize> {
    let capitals = run_end(text, at, is_upper);
    let end = run_end(text, capitals, is_lower);
    if end > capitals {
        return Some(end);
    }
    let shared = text[at..capitals]
        .char_indices()
        .rev()
        .find(|&(_, c)| is_lower(c))?;
    Some(at + shared.0 + shared.1.len_utf8())
}

/// The end of `[UPPER]+[LOWER]*` at `at`.
fn capitals_end(text: &str, at: usize) -> Option<usize> {
    let capitals = run_end(text, at, is_upper);
    (capitals > at).then(|| run_end(text, capitals, is_lower))
}

/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|``
/// `\s*[\r\n]+|\s+(?!\S)|\s+`; numbers were cut out by the pass before it.
///
/// llama.cpp does not count `~` as a symbol here; the model's own tokenizer does.
pub(super) fn deepseek_v3(text: &str, at: usize) -> Step {
    let Some((c, next)) = char_at(text, at) else {
        return Step::Skip(at + 1);
    };
    if c.is_ascii_punctuation() {
        let end = run_end(text, next, |c| c.is_ascii_alphabetic());
        if end > next {
            return Step::Match(end);
        }
    }
    let in_word = |c: char| class(c).is_letter() || class(c) == Class::Mark;
    let is_sign = |c: char| matches!(class(c), Class::Punctuation | Class::Symbol);
    if in_word(c) {
        return Step::Match(run_end(text, next, in_word));
    }
    if !matches!(c, '\r' | '\n') && !is_sign(c) && char_at(text, next).is_some_and(|(c, _)| in_word(c)) {
        return Step::Match(run_end(text, next, in_word));
    }
    signs_or_spaces(text, at, is_sign, |c| matches!(c, '\r' | '\n'))
}

/// `'s|'t|'re|'ve|'m|'ll|'d` at `at`, in small letters or in any case.
fn contraction(text: &str, at: usize, any_case: bool) -> Option<usize> {
    let rest = text.as_bytes()[at..].strip_prefix(b"'")?;
    let letter = |i: usize| {
        let byte = rest.get(i).copied().unwrap_or(0);
        if any_case { byte.to_ascii_lowercase() } else { byte }
    };
    match (letter(0), letter(1)) {
        (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
        (b'r' | b'v', b'e') | (b'l', b'l') => Some(at + 3),
        _ => None,
    }
}

/// `[^\s\p{L}\p{N}]`, or with marks left out as well.
fn is_sign(c: char, marks_are_letters: bool) -> bool {
    match class(c) {
        Class::Space | Class::Number => false,
        Class::Mark => !marks_are_letters,
        kind => !kind.is_letter(),
    }
}

fn after_space(text: &str, at: usize) -> usize {
    at + usize::from(text.as_bytes().get(at) == Some(&b' '))
}

fn number_end(text: &str, at: usize, most: usize) -> usize {
    let numbers = text[at..]
        .chars()
        .take(most)
        .take_while(|&c| class(c) == Class::Number);
    at + numbers.map(char::len_utf8).sum::<usize>()
}

/// ` ?SIGN+TAIL*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn signs_or_spaces(
    text: &str,
    at: usize,
    is_sign: impl Fn(char) -> bool,
    in_tail: impl Fn(char) -> bool,
) -> Step {
    let signs = after_space(text, at);
    let end = run_end(text, signs, is_sign);
    if end > signs {
        return Step::Match(run_end(text, end, in_tail));
    }
    let end = run_end(text, at, |c| class(c) == Class::Space);
    if let Some(newline) = text[at..end].rfind(['\r', '\n']) {
        return Step::Match(at + newline + 1);
    }
    if end > at {
        return Step::Match(spaces(text, at));
    }
    // No alternative begins here (a character that is neither word nor sign nor space).
    Step::Skip(char_at(text, at).map_or(at + 1, |(_, next)| next))
}

/// `\s+(?!\S)|\s+`: the run of white space at `at`, without its last character when something follows it, unless
/// that would leave nothing. At a place without white space, the end of the character there.
fn spaces(text: &str, at: usize) -> usize {
    let end = run_end(text, at, |c| class(c) == Class::Space);
    let last = text[at..end].char_indices().next_back();
    match last {
        Some((start, _)) if end < text.len() && start > 0 => at + start,
        Some(_) => end,
        None => char_at(text, at).map_or(at + 1, |(_, next)| next),
    }
}
