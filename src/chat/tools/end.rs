//! Where the text of a call ends, found as it arrives: each byte is looked at once.

/// What is known of the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The call's text has `body` bytes; the rest begins at `after`.
    At { body: usize, after: usize },
    /// It has not come yet.
    NotYet,
    /// This is no call: whatever comes, there is no end to it.
    Never,
}

/// How far a text was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The next byte to look at.
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// The next closing marker.
    pub(super) fn marker(&mut self, text: &str, closing: &str) -> End {
        if let Some(at) = text[self.at..].find(closing).map(|at| at + self.at) {
            let after = at + closing.len();
            self.at = after;
            return End::At { body: at, after };
        }
        let last = text.len().saturating_sub(closing.len() - 1);
        self.at = floor_boundary(text, last).max(self.at);
        End::NotYet
    }

    /// The end of the JSON object or array that begins at `begin`.
    pub(super) fn json(&mut self, text: &str, begin: usize) -> End {
        self.at = self.at.max(begin);
        for (i, byte) in text.bytes().enumerate().skip(self.at) {
            self.at = i + 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        let after = i + 1;
                        return End::At { body: after, after };
                    }
                }
                _ => {}
            }
        }
        End::NotYet
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_ends_with_its_last_bracket_however_it_arrives() {
        let text = r#" x {"a": "}\"]", "b": [{}, "\\"]} rest"#;
        let end = text.rfind('}').unwrap() + 1;
        let mut scan = Scan::default();
        for to in (0..=text.len()).filter(|&to| text.is_char_boundary(to)) {
            let found = scan.json(&text[..to], 3);
            if to < end {
                assert_eq!(found, End::NotYet, "{to}");
            } else {
                assert_eq!(
                    found,
                    End::At {
                        body: end,
                        after: end
                    }
                );
                break;
            }
        }
    }

    #[test]
    fn a_marker_is_found_across_pieces_and_after_the_last_one() {
        let mut scan = Scan::default();
        assert_eq!(scan.marker("a\u{e9}<", "<x>"), End::NotYet);
        assert_eq!(scan.marker("a\u{e9}<x>b", "<x>"), End::At { body: 3, after: 6 });
        assert_eq!(
            scan.marker("a\u{e9}<x>b<x>", "<x>"),
            End::At { body: 7, after: 10 }
        );
    }
}
