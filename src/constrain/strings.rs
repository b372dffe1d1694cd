//! Where the crate's reading of `pattern` and `format` is wider than the standards: what is added so that nothing comes
//! out that a validator refuses.

use serde_json::{Map, Value, json};

/// White space in ECMAScript's regular expressions, as the inside of a class. The crate's `\s` has U+0085 and lacks U+FEFF.
const ECMA_SPACE: &str =
    r"\t\n\x0B\x0C\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";

/// A pattern in ECMAScript's dialect, with its `\s` and `\S` spelled out.
pub(super) fn ecma_spaces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                // A class within a class is read as a union.
                Some('s') => out.push_str(&format!("[{ECMA_SPACE}]")),
                Some('S') => out.push_str(&format!("[^{ECMA_SPACE}]")),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// Adds to a schema with `format` what the format asks for beyond the crate's expression for it.
pub(super) fn tighten(schema: &mut Map<String, Value>) {
    /// 29 February in leap years only.
    const DATE: &str = "^(?:[0-9]{4}-(?:(?:0[13-9]|1[0-2])-[0-9]{2}|02-(?:[01][0-9]|2[0-8]))|\
        (?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";
    /// Leap seconds are at the end of a day in UTC; those of other time zones are left out.
    const TIME: &str = "(?:[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\\.[0-9]+)?(?:[zZ]|[+-][0-9]{2}:[0-9]{2})|\
        23:59:60(?:\\.[0-9]+)?(?:[zZ]|[+-]00:00))$";
    /// No label with hyphens in the third and fourth place: those stand for other characters, by rules of their own.
    const LABEL: &str =
        "[a-zA-Z0-9](?:[a-zA-Z0-9-](?:[a-zA-Z0-9][a-zA-Z0-9-]*|-(?:[a-zA-Z0-9][a-zA-Z0-9-]*)?)?)?";
    /// At least two names with a dot between them: what validators ask for, and what every address has.
    const MAIL: &str =
        "@[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)+$";
    /// Something after the scheme: the standard allows `a:`, validators do not.
    const URI: &str = "^[^:]*:[^?#]";
    let more = match schema.get("format").and_then(Value::as_str) {
        Some("date") => json!([{"pattern": DATE}]),
        Some("time") => json!([{"pattern": format!("^{TIME}")}]),
        Some("date-time") => json!([{"pattern": DATE}, {"pattern": format!("[tT]{TIME}")}]),
        Some("email") => json!([{"pattern": MAIL}]),
        Some("uri") => json!([{"pattern": URI}]),
        Some("hostname") => json!([{"pattern": format!("^{LABEL}(?:\\.{LABEL})*$"), "maxLength": 253}]),
        _ => return,
    };
    let mut all = match schema.remove("allOf") {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    if let Value::Array(more) = more {
        all.extend(more);
    }
    schema.insert("allOf".to_string(), Value::Array(all));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_escape_is_rewritten() {
        assert_eq!(ecma_spaces(r"a\\s\d"), r"a\\s\d");
        assert!(ecma_spaces(r"[^\s]").starts_with(r"[^[\t"));
        assert!(ecma_spaces(r"\S").contains(r"[^\t"));
        assert_eq!(ecma_spaces("\\"), "\\");
    }
}
