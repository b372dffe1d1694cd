//! Token by token to text, without ever showing half a character.

use super::Tokenizer;

/// Turns a stream of tokens into text. A token may end in the middle of a character: its bytes wait here (at
/// most three) until the rest comes. Bytes that can be no character become U+FFFD, as in `TextDecoder`.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    pending: Vec<u8>,
    /// Drop one space in front of the first text.
    strip_space: bool,
}

impl StreamDecoder {
    /// A decoder for the continuation of a text: every byte counts.
    pub fn new() -> StreamDecoder {
        StreamDecoder::default()
    }

    /// A decoder for a message of its own: drops the one space that the tokenizer puts before a text, if it
    /// does that.
    pub fn at_message_start(tokenizer: &Tokenizer) -> StreamDecoder {
        StreamDecoder {
            pending: Vec::new(),
            strip_space: tokenizer.adds_space_prefix(),
        }
    }

    /// The text that is complete with this token; control tokens have none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        self.push_bytes(tokenizer.token_bytes(id))
    }

    /// As [`StreamDecoder::push`], with control tokens by name: for a parser of tool calls.
    pub fn push_with_names(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        let bytes = tokenizer.token_bytes(id);
        self.push_bytes(if bytes.is_empty() {
            tokenizer.token_text(id)
        } else {
            bytes
        })
    }

    /// Whether no character is half there.
    pub fn is_whole(&self) -> bool {
        self.pending.is_empty()
    }

    /// The text that is complete with these bytes.
    pub fn push_bytes(&mut self, mut bytes: &[u8]) -> String {
        if let Some(&first) = bytes.first()
            && std::mem::take(&mut self.strip_space)
            && first == b' '
        {
            bytes = &bytes[1..];
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, wrong) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    rest = wrong;
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[length..];
                        }
                        None => break,
                    }
                }
            }
        }
        let kept = rest.len();
        self.pending.drain(..self.pending.len() - kept);
        text
    }

    /// The end of the stream: U+FFFD if a character was left half, else nothing. The decoder can be used
    /// again.
    pub fn finish(&mut self) -> String {
        let half = !self.pending.is_empty();
        self.pending.clear();
        if half {
            char::REPLACEMENT_CHARACTER.to_string()
        } else {
            String::new()
        }
    }
}
