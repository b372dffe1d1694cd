//! The small passes that some rules run before or after the one that cuts words. Each function quotes its
//! expression.

use super::super::unicode::{Class, class};
use super::{Step, char_at, run_end};

/// `[^\n]+|[\n]+`
pub(super) fn newline_runs(text: &str, at: usize) -> Step {
    let newline = text.as_bytes()[at] == b'\n';
    Step::Match(run_end(text, at, |c| (c == '\n') == newline))
}

/// `[\r\n]`
pub(super) fn newline(text: &str, at: usize) -> Step {
    one(text, at, |c| matches!(c, '\r' | '\n'))
}

/// `\p{N}`
pub(super) fn digit(text: &str, at: usize) -> Step {
    one(text, at, |c| class(c) == Class::Number)
}

/// `\p{N}+`
pub(super) fn numbers(text: &str, at: usize) -> Step {
    run(text, at, at, |c| class(c) == Class::Number)
}

/// `\p{N}{1,3}`
pub(super) fn up_to_three_numbers(text: &str, at: usize) -> Step {
    let numbers = text[at..]
        .chars()
        .take(3)
        .take_while(|&c| class(c) == Class::Number);
    match numbers.map(char::len_utf8).sum() {
        0 => skip(text, at),
        length => Step::Match(at + length),
    }
}

/// `[0-9][0-9][0-9]`
pub(super) fn digit_triple(text: &str, at: usize) -> Step {
    match text.as_bytes().get(at..at + 3) {
        Some(three) if three.iter().all(u8::is_ascii_digit) => Step::Match(at + 3),
        _ => skip(text, at),
    }
}

/// ``[\p{P}\$\+<=>\^~\|`]+``
pub(super) fn falcon_punctuation(text: &str, at: usize) -> Step {
    run(text, at, at, |c| {
        is_punctuation(c) || matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|' | '`')
    })
}

/// `[\p{P}\$\+<=>\^~\|]+`
pub(super) fn default_punctuation(text: &str, at: usize) -> Step {
    run(text, at, at, |c| {
        is_punctuation(c) || matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|')
    })
}

/// `\s?\p{L}+`
pub(super) fn space_and_letters(text: &str, at: usize) -> Step {
    run(text, at, after_any_space(text, at), |c| class(c).is_letter())
}

/// `\s?\p{P}+`
pub(super) fn space_and_punctuation(text: &str, at: usize) -> Step {
    run(text, at, after_any_space(text, at), is_punctuation)
}

/// `\s?[A-Za-zµÀ-ÖØ-öø-ƺ…]+`: the letters with case that the model's tokenizer lists.
pub(super) fn deepseek_letters(text: &str, at: usize) -> Step {
    run(text, at, after_any_space(text, at), is_deepseek_letter)
}

/// `\s?[!-/:-~！-／：-～‘-‟　-。]+`
pub(super) fn deepseek_punctuation(text: &str, at: usize) -> Step {
    run(
        text,
        at,
        after_any_space(text, at),
        |c| matches!(c, '!'..='/' | ':'..='~' | '！'..='／' | '：'..='～' | '‘'..='‟' | '\u{3000}'..='。'),
    )
}

/// `\s+$`
pub(super) fn spaces_at_end(text: &str, at: usize) -> Step {
    let end = run_end(text, at, |c| class(c) == Class::Space);
    match end {
        _ if end == at => skip(text, at),
        _ if end == text.len() => Step::Match(end),
        // The whole run is not at the end, so no part of it is.
        _ => Step::Skip(end),
    }
}

/// `[一-龥ࠀ-一가-퟿]+`
pub(super) fn cjk_and_hangul(text: &str, at: usize) -> Step {
    run(
        text,
        at,
        at,
        |c| matches!(c, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}'),
    )
}

/// `[一-龥぀-ゟ゠-ヿ]+`
pub(super) fn cjk_and_kana(text: &str, at: usize) -> Step {
    run(
        text,
        at,
        at,
        |c| matches!(c, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}'),
    )
}

fn is_punctuation(c: char) -> bool {
    class(c) == Class::Punctuation
}

fn skip(text: &str, at: usize) -> Step {
    Step::Skip(char_at(text, at).map_or(at + 1, |(_, next)| next))
}

fn one(text: &str, at: usize, belongs: impl Fn(char) -> bool) -> Step {
    match char_at(text, at) {
        Some((c, next)) if belongs(c) => Step::Match(next),
        _ => skip(text, at),
    }
}

/// A match from `at` if what `belongs` accepts runs on from `from`.
fn run(text: &str, at: usize, from: usize, belongs: impl Fn(char) -> bool) -> Step {
    let end = run_end(text, from, belongs);
    if end > from {
        Step::Match(end)
    } else {
        skip(text, at)
    }
}

/// `\s?` at `at`.
fn after_any_space(text: &str, at: usize) -> usize {
    match char_at(text, at) {
        Some((c, next)) if class(c) == Class::Space => next,
        _ => at,
    }
}

fn is_deepseek_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    let after = DEEPSEEK_LETTERS.partition_point(|range| range.0 <= c as u32);
    after > 0 && c as u32 <= DEEPSEEK_LETTERS[after - 1].1
}

/// The ranges of [`deepseek_letters`] past ASCII: first and last code point.
#[rustfmt::skip]
static DEEPSEEK_LETTERS: [(u32, u32); 85] = [
    (0xb5, 0xb5), (0xc0, 0xd6), (0xd8, 0xf6), (0xf8, 0x1ba), (0x1bc, 0x1bf), (0x1c4, 0x293), (0x295, 0x2af),
    (0x370, 0x373), (0x376, 0x376), (0x377, 0x377), (0x37b, 0x37d), (0x37f, 0x37f), (0x386, 0x386), (0x388, 0x38a),
    (0x38c, 0x38c), (0x38e, 0x3a1), (0x3a3, 0x3f5), (0x3f7, 0x481), (0x48a, 0x52f), (0x531, 0x556),
    (0x10a0, 0x10c5), (0x13a0, 0x13f5), (0x13f8, 0x13fd), (0x1c90, 0x1cba), (0x1cbd, 0x1cbf), (0x1d00, 0x1d2b),
    (0x1d6b, 0x1d77), (0x1d79, 0x1d9a), (0x1e00, 0x1f15), (0x1f18, 0x1f1d), (0x1f20, 0x1f45), (0x1f48, 0x1f4d),
    (0x1f50, 0x1f57), (0x1f59, 0x1f59), (0x1f5b, 0x1f5b), (0x1f5d, 0x1f5d), (0x1f5f, 0x1f7d), (0x1f80, 0x1fb4),
    (0x1fb6, 0x1fbc), (0x1fbe, 0x1fbe), (0x1fc2, 0x1fc4), (0x1fc6, 0x1fcc), (0x1fd0, 0x1fd3), (0x1fd6, 0x1fdb),
    (0x1fe0, 0x1fec), (0x1ff2, 0x1ff4), (0x1ff6, 0x1ffc), (0x2102, 0x2102), (0x2107, 0x2107), (0x210a, 0x2113),
    (0x2115, 0x2115), (0x2119, 0x211d), (0x2124, 0x2124), (0x2126, 0x2126), (0x2128, 0x2128), (0x212a, 0x212d),
    (0x212f, 0x2134), (0x2139, 0x2139), (0x213c, 0x213f), (0x2145, 0x2149), (0x214e, 0x214e), (0x2183, 0x2183),
    (0x2184, 0x2184), (0x2c00, 0x2c7b), (0x2c7e, 0x2ce4), (0x2ceb, 0x2cee), (0x2cf2, 0x2cf2), (0x2cf3, 0x2cf3),
    (0xa640, 0xa66d), (0xa680, 0xa69b), (0xa722, 0xa76f), (0xa771, 0xa787), (0xa78b, 0xa78e), (0xab70, 0xabbf),
    (0xfb00, 0xfb06), (0xfb13, 0xfb17), (0xff21, 0xff3a), (0xff41, 0xff5a), (0x10400, 0x1044f), (0x104b0, 0x104d3),
    (0x104d8, 0x104fb), (0x10c80, 0x10cb2), (0x10cc0, 0x10cf2), (0x118a0, 0x118df), (0x1e900, 0x1e943),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_ranges_are_sorted_and_hold_letters() {
        assert!(DEEPSEEK_LETTERS.windows(2).all(|pair| pair[0].1 < pair[1].0));
        for &(first, last) in &DEEPSEEK_LETTERS {
            assert!(first <= last);
            for end in [first, last] {
                assert!(class(char::from_u32(end).unwrap()).is_letter(), "U+{end:04X}");
            }
        }
    }
}
