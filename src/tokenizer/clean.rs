//! The clean-up of spaces that some older vocabularies ask for when a whole text is decoded. It loses
//! information (a text that was written `a ,b` comes back as `a,b`), so streaming never does it.

/// The text without the spaces before `?`, `!`, `.` and `,`, around a lone apostrophe, and before `'s`, `'m`,
/// `'re`, `'ve`: three passes in this order, each over what the one before it left.
pub(super) fn clean_spaces(text: &[u8]) -> Vec<u8> {
    before_contractions(&around_apostrophes(&before_punctuation(text)))
}

fn before_punctuation(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (i, &byte) in text.iter().enumerate() {
        if i > 0 && text[i - 1] == b' ' && matches!(byte, b'?' | b'!' | b'.' | b',') {
            out.pop();
        }
        out.push(byte);
    }
    out
}

fn around_apostrophes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    // The space after an apostrophe is gone, so it is not the space before the next one.
    let mut after_space = false;
    while let Some(&byte) = text.get(i) {
        if after_space && byte == b'\'' && text.get(i + 1) == Some(&b' ') {
            out.pop();
            out.push(byte);
            after_space = false;
            i += 2;
            continue;
        }
        out.push(byte);
        after_space = byte == b' ';
        i += 1;
    }
    out
}

fn before_contractions(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (i, &byte) in text.iter().enumerate() {
        if i > 0 && text[i - 1] == b' ' && byte == b'\'' {
            match text[i + 1..] {
                [b's' | b'm', ..] | [b'r' | b'v', b'e', ..] => {
                    out.pop();
                }
                _ => {}
            }
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::clean_spaces;

    #[test]
    fn known_gaps() {
        let cases = [
            ("a , b . c ? d !", "a, b. c? d!"),
            ("  .", " ."),
            ("it 's I 'm we 're they 've", "it's I'm we're they've"),
            ("I 'll don 't he 'd", "I 'll don 't he 'd"),
            ("a ' b", "a'b"),
            ("a ' ' b", "a'' b"),
            ("' a", "' a"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(
                String::from_utf8(clean_spaces(text.as_bytes())).unwrap(),
                expected,
                "{text:?}"
            );
        }
    }
}
