//! What kind of character is it: the few Unicode classes that the split rules speak of.

use super::unicode_table::RANGES;

/// The class of a code point: its general category, as coarse as the split rules allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Control, format, private use, surrogate, unassigned.
    Other,
    /// `\p{Lu}` and `\p{Lt}`.
    Upper,
    /// `\p{Ll}`.
    Lower,
    /// `\p{Lm}` and `\p{Lo}`: letters without case.
    Letter,
    /// `\p{M}`.
    Mark,
    /// `\p{N}`.
    Number,
    /// `\p{P}`.
    Punctuation,
    /// `\p{S}`.
    Symbol,
    /// The property White_Space: `\s`.
    Space,
}

impl Class {
    /// `\p{L}`.
    pub(super) fn is_letter(self) -> bool {
        matches!(self, Class::Upper | Class::Lower | Class::Letter)
    }
}

/// The class of `c`: by table for ASCII, by binary search in the ranges for the rest.
pub(super) fn class(c: char) -> Class {
    match ASCII.get(c as usize) {
        Some(&class) => class,
        None => search(c as u32),
    }
}

/// The table of [`class`] for the characters that are nearly all of code and of English.
static ASCII: [Class; 128] = {
    let mut table = [Class::Other; 128];
    let mut i = 0;
    while i < 128 {
        table[i] = match i as u8 {
            b'A'..=b'Z' => Class::Upper,
            b'a'..=b'z' => Class::Lower,
            b'0'..=b'9' => Class::Number,
            b' ' | 9..=13 => Class::Space,
            b'$' | b'+' | b'<' | b'=' | b'>' | b'^' | b'`' | b'|' | b'~' => Class::Symbol,
            b'!'..=b'~' => Class::Punctuation,
            _ => Class::Other,
        };
        i += 1;
    }
    table
};

fn search(code_point: u32) -> Class {
    // The last entry that begins at or before the code point; the first entry begins at 0.
    let after = RANGES.partition_point(|entry| entry >> 4 <= code_point);
    match RANGES[after - 1] & 15 {
        1 => Class::Upper,
        2 => Class::Lower,
        3 => Class::Letter,
        4 => Class::Mark,
        5 => Class::Number,
        6 => Class::Punctuation,
        7 => Class::Symbol,
        8 => Class::Space,
        9 | 10 if (code_point & 1 == 0) == (RANGES[after - 1] & 15 == 9) => Class::Upper,
        9 | 10 => Class::Lower,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ascii_table_agrees_with_the_ranges() {
        for c in 0..128u32 {
            assert_eq!(class(char::from_u32(c).unwrap()), search(c), "U+{c:04X}");
        }
    }

    #[test]
    fn classes_of_known_characters() {
        let known = [
            ('é', Class::Lower),
            ('Ā', Class::Upper),
            ('ā', Class::Lower),
            ('Ĺ', Class::Upper),
            ('ĺ', Class::Lower),
            ('ǅ', Class::Upper),
            ('ʰ', Class::Letter),
            ('中', Class::Letter),
            ('\u{2ebf0}', Class::Letter),
            ('\u{301}', Class::Mark),
            ('٣', Class::Number),
            ('½', Class::Number),
            ('—', Class::Punctuation),
            ('€', Class::Symbol),
            ('🦙', Class::Symbol),
            ('\u{a0}', Class::Space),
            ('\u{85}', Class::Space),
            ('\u{3000}', Class::Space),
            ('\u{1c}', Class::Other),
            ('\u{200b}', Class::Other),
            ('\u{378}', Class::Other),
            ('\u{10ffff}', Class::Other),
        ];
        for (c, expected) in known {
            assert_eq!(class(c), expected, "U+{:04X}", c as u32);
        }
    }
}
