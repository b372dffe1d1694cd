//! Stop strings in a stream of text.

use crate::{Error, Kind, Result};

/// The length in bytes of the longest suffix of `text` that is a proper prefix of one of the strings: what must be
/// held back, because it may become one of them.
pub(crate) fn held_suffix<'a>(text: &str, strings: impl IntoIterator<Item = &'a str>) -> usize {
    let longest = |string: &str| {
        let reach = text.len().min(string.len().saturating_sub(1));
        (1..=reach)
            .rev()
            .find(|&n| text.as_bytes()[text.len() - n..] == string.as_bytes()[..n])
    };
    strings.into_iter().filter_map(longest).max().unwrap_or(0)
}

/// What a [`StopMatcher`] lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stop {
    /// Text that can be shown: no stop string is in it, and none can begin in it.
    pub text: String,
    /// A stop string was met: its index in the list. Nothing after it is ever returned.
    pub matched: Option<usize>,
}

/// Finds the first stop string in text that arrives in pieces, and lets through what is certainly before it.
///
/// The string that is complete first wins; of two that end together, the longer. So the result does not depend on how
/// the text was cut.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    strings: Vec<String>,
    held: String,
    matched: Option<usize>,
}

impl StopMatcher {
    /// For these strings; an empty list lets everything through.
    pub fn new(strings: Vec<String>) -> Result<StopMatcher> {
        match strings.iter().position(String::is_empty) {
            Some(at) => {
                let message = format!("stop[{at}]: found an empty string, expected at least one character");
                Err(Error::new(Kind::InvalidArgument, message))
            }
            None => Ok(StopMatcher {
                strings,
                held: String::new(),
                matched: None,
            }),
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &str) -> Stop {
        if self.matched.is_some() {
            return Stop {
                text: String::new(),
                matched: self.matched,
            };
        }
        if self.strings.is_empty() {
            return Stop {
                text: piece.to_owned(),
                matched: None,
            };
        }
        self.held.push_str(piece);
        let found = self.strings.iter().enumerate().filter_map(|(index, string)| {
            let start = self.held.find(string.as_str())?;
            Some((start + string.len(), start, index))
        });
        if let Some((_, start, index)) = found.min() {
            self.matched = Some(index);
            self.held.truncate(start);
            return Stop {
                text: std::mem::take(&mut self.held),
                matched: self.matched,
            };
        }
        let keep = held_suffix(&self.held, self.strings.iter().map(String::as_str));
        let tail = self.held.split_off(self.held.len() - keep);
        Stop {
            text: std::mem::replace(&mut self.held, tail),
            matched: None,
        }
    }

    /// The text has ended: returns what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `size` characters.
    fn run(stops: &[&str], text: &str, size: usize) -> (String, Option<usize>) {
        let mut matcher = StopMatcher::new(stops.iter().map(|s| s.to_string()).collect()).unwrap();
        let mut out = String::new();
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(size) {
            let step = matcher.push(&piece.iter().collect::<String>());
            out += &step.text;
            if step.matched.is_some() {
                return (out, step.matched);
            }
        }
        (out + &matcher.finish(), None)
    }

    #[test]
    fn the_first_complete_string_ends_the_text() {
        for (stops, text, expected, matched) in [
            (&["END"][..], "the END of it", "the ", Some(0)),
            (&["END"], "the EN", "the EN", None),
            (&["aab"], "aaab", "a", Some(0)),
            (&["abc", "b"], "xabcd", "xa", Some(1)),
            (&["b", "ab"], "xab", "x", Some(1)),
            (&["\n\n", "\nUser:"], "hi\nUse\nUser: x", "hi\nUse", Some(1)),
            (&["é!"], "caf\u{e9}\u{e9}!", "caf\u{e9}", Some(0)),
            (&[], "anything", "anything", None),
        ] {
            for size in 1..=text.chars().count() {
                assert_eq!(
                    run(stops, text, size),
                    (expected.to_owned(), matched),
                    "{stops:?} {text:?} by {size}"
                );
            }
        }
    }

    #[test]
    fn only_what_may_still_match_is_held_back() {
        let mut matcher = StopMatcher::new(vec!["</end>".into()]).unwrap();
        assert_eq!(matcher.push("a < b </e").text, "a < b ");
        assert_eq!(matcher.push("m>").text, "</em>");
        assert_eq!(
            matcher.push("</end>more"),
            Stop {
                text: String::new(),
                matched: Some(0)
            }
        );
        assert_eq!(
            matcher.push("more"),
            Stop {
                text: String::new(),
                matched: Some(0)
            }
        );
        assert_eq!(
            StopMatcher::new(vec![String::new()]).unwrap_err().kind,
            Kind::InvalidArgument
        );
    }
}
