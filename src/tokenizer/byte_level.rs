//! The printable disguise that byte-level vocabularies spell bytes in (GPT-2's): the 188 bytes that print as
//! Latin-1 characters stand for themselves, the other 68 are U+0100 and up in byte order. A space is `Ġ`, a
//! newline `Ċ`.

/// The byte that `c` stands for.
pub(super) fn byte_of(c: char) -> Option<u8> {
    BYTES
        .get(c as usize)
        .copied()
        .filter(|&entry| entry >= 0)
        .map(|entry| entry as u8)
}

/// The bytes that a token's spelling stands for; `None` if a character of it stands for no byte.
pub(super) fn decode(spelling: &str, into: &mut Vec<u8>) -> Option<()> {
    for c in spelling.chars() {
        into.push(byte_of(c)?);
    }
    Some(())
}

const fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The byte behind each code point, or -1.
static BYTES: [i16; 256 + 68] = {
    let mut table = [-1; 256 + 68];
    let mut moved = 256;
    let mut byte = 0;
    while byte < 256 {
        if prints(byte as u8) {
            table[byte] = byte as i16;
        } else {
            table[moved] = byte as i16;
            moved += 1;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_letters_of_the_disguise() {
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('ĉ'), Some(b'\t'));
        assert_eq!(byte_of('Ń'), Some(0xad));
        assert_eq!(byte_of('é'), Some(0xe9));
        assert_eq!(byte_of(' '), None);
        assert_eq!(byte_of('中'), None);
    }

    #[test]
    fn every_byte_has_exactly_one_character() {
        let mut bytes: Vec<u8> = (0..400u32).filter_map(|c| byte_of(char::from_u32(c)?)).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }
}
