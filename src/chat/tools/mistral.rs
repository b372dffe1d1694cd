//! Calls of Mistral's models, after `[TOOL_CALLS]`:
//!
//! ```text
//! get_weather[ARGS]{"city": "Zürich"}                         Ministral 3, Devstral
//! get_weather[CALL_ID]abc123XYZ[ARGS]{"city": "Zürich"}       Mistral Small 3.2
//! [{"name": "get_weather", "arguments": {...}, "id": "abc123XYZ"}]    Mistral Nemo and older
//! ```

use serde_json::Value;

use super::json_text::compact;
use super::live::Live;
use super::problem::Problem;
use super::{Parsed, ToolCall, json};

/// Between the name and the arguments.
pub(super) const ARGS: &str = "[ARGS]";
/// Between the name and the id.
pub(super) const CALL_ID: &str = "[CALL_ID]";

/// The longest name or id that is waited for, in bytes.
const MAX_WORD: usize = 256;

/// The byte at which the JSON of a call begins; `None` if it has not come yet, an error if it never will. What is said of
/// the beginning of a text stays true, whatever follows.
pub(super) fn json_begins(body: &str) -> Result<Option<usize>, ()> {
    let text = body.trim_start();
    if text.starts_with('[') {
        return Ok(Some(body.len() - text.len()));
    }
    let Some(mut rest) = after_word(text)? else {
        return Ok(None);
    };
    if let Some(id) = rest.strip_prefix(CALL_ID) {
        match after_word(id)? {
            Some(after) => rest = after,
            None => return Ok(None),
        }
    }
    match rest.strip_prefix(ARGS) {
        Some(arguments) => {
            let json = arguments.trim_start();
            match json.chars().next() {
                Some('{') => Ok(Some(body.len() - json.len())),
                Some(_) => Err(()),
                None => Ok(None),
            }
        }
        None if ARGS.starts_with(rest) || CALL_ID.starts_with(rest) => Ok(None),
        None => Err(()),
    }
}

/// What follows a name or an id: it begins with a bracket.
fn after_word(text: &str) -> Result<Option<&str>, ()> {
    let end = text.find('[');
    let word = &text[..end.unwrap_or(text.len())];
    match word.len() > MAX_WORD || word.contains('\n') {
        true => Err(()),
        false => Ok(end.map(|end| &text[end..])),
    }
}

/// Reads one call, or a list of them.
pub(super) fn parse(body: &str) -> Parsed {
    let text = body.trim();
    if text.starts_with('[') {
        return json::list(text);
    }
    let Some((head, arguments)) = text.split_once(ARGS) else {
        return Parsed::Malformed;
    };
    let Some((name, id)) = name_and_id(head) else {
        return Parsed::Malformed;
    };
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(_)) => compact(arguments).map_or(Parsed::Malformed, |arguments| {
            Parsed::one(ToolCall {
                id: id.map(str::to_owned),
                ..ToolCall::new(name, arguments)
            })
        }),
        Err(error) if error.is_eof() => Parsed::Unfinished,
        _ => Parsed::Malformed,
    }
}

/// Follows a call. A list of them is not followed: ids come after the arguments there.
pub(super) fn follow(body: &str, live: &mut Live) {
    live.follow(|live| {
        if live.name().is_none() {
            let at = json_begins(body).map_err(|()| Problem::Other)?;
            let at = at.ok_or(Problem::End)?;
            let head = body[..at].trim_end().strip_suffix(ARGS);
            let (name, id) = head.and_then(name_and_id).ok_or(Problem::Other)?;
            live.begin(name, id, at);
        }
        live.json(body)
    });
}

fn name_and_id(head: &str) -> Option<(&str, Option<&str>)> {
    let (name, id) = match head.split_once(CALL_ID) {
        Some((name, id)) => (name, Some(id.trim())),
        None => (head, None),
    };
    let name = name.trim();
    let is_one_word = !name.is_empty() && !name.contains(char::is_whitespace);
    is_one_word.then_some((name, id))
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn calls_and_what_is_none() {
        for (body, expected) in [
            ("f[ARGS]{\"a\": \"[ARGS]\"}", call("f", r#"{"a":"[ARGS]"}"#)),
            ("[{\"name\": \"f\", \"arguments\": {}}]", call("f", "{}")),
            ("f[ARGS]{\"a\": ", Parsed::Unfinished),
            ("f[ARGS][1]", Parsed::Malformed),
            ("f g[ARGS]{}", Parsed::Malformed),
            ("[ARGS]{}", Parsed::Malformed),
            ("f", Parsed::Malformed),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
        let with_id = Parsed::one(ToolCall {
            id: Some("abc123XYZ".into()),
            ..ToolCall::new("f", "{}")
        });
        assert_eq!(parse("f[CALL_ID]abc123XYZ[ARGS]{}"), with_id);
    }

    #[test]
    fn where_the_json_begins() {
        for (body, expected) in [
            ("f[ARGS]{", Ok(Some(7))),
            ("f[ARGS] ", Ok(None)),
            ("f[AR", Ok(None)),
            (" [{", Ok(Some(1))),
            ("f[ARGS]x", Err(())),
            ("some text\n", Err(())),
            ("f[AR\nGS]{", Err(())),
            ("f[CALL_ID]abc[ARGS] {", Ok(Some(20))),
            ("f[CALL_ID]abc", Ok(None)),
        ] {
            assert_eq!(json_begins(body), expected, "{body}");
        }
        assert_eq!(json_begins(&"x".repeat(MAX_WORD + 1)), Err(()));
    }
}
