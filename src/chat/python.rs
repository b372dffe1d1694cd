//! Python's idea of values, for templates that were written for Jinja2.
//!
//! Chat templates are tested by their authors with Python's Jinja2, where a printed `true` reads `True`, a missing
//! value reads `None`, a string counts as a sequence, and `tojson` is `json.dumps`. This file gives the engine the
//! same answers: [`str_of`] is `str()`, [`repr_of`] is `repr()`, [`json_dumps`] is `json.dumps`, and [`install`] puts
//! the filters and tests that depend on them into an environment.
//!
//! Known difference: `a ~ b` writes a Boolean or `none` operand in lower case, because the engine joins the two sides
//! itself. No published chat template that we know of does that.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::bounds;

/// Values nested deeper than this are refused, by every function here that recurses.
pub(crate) const MAX_DEPTH: usize = 64;

/// How [`json_dumps`] writes, with the names of Python's `json.dumps`.
#[derive(Debug, Clone)]
pub(crate) struct JsonStyle {
    /// Write everything past ASCII as escapes: a backslash, `u`, and four hexadecimal digits.
    pub ensure_ascii: bool,
    /// The unit of indentation; `None` writes one line.
    pub indent: Option<String>,
    /// Between items, and between a key and its value.
    pub separators: (String, String),
    /// Sort the keys of every object.
    pub sort_keys: bool,
}

impl Default for JsonStyle {
    fn default() -> Self {
        JsonStyle {
            ensure_ascii: false,
            indent: None,
            separators: (", ".into(), ": ".into()),
            sort_keys: false,
        }
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn too_deep() -> Error {
    invalid(format!("value is nested deeper than {MAX_DEPTH} levels"))
}

/// Python's `repr` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
pub(crate) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// Python's `str()` of a value, as `{{ value }}` prints it.
pub(crate) fn str_of(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    match value.as_str() {
        Some(text) => out.push_str(text),
        None if value.is_undefined() => {}
        None => repr_into(&mut out, value, 0)?,
    }
    Ok(out)
}

/// Python's `repr()` of a value: what a list prints for its items.
pub(crate) fn repr_of(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    repr_into(&mut out, value, 0)?;
    Ok(out)
}

fn repr_into(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => str_repr(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr_into(out, &item, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr_into(out, &key, depth + 1)?;
                out.push_str(": ");
                repr_into(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

fn number(value: &Value) -> String {
    match (value.is_integer(), f64::try_from(value.clone())) {
        (false, Ok(float)) => float_repr(float),
        _ => value.to_string(),
    }
}

/// Python quotes with `'` unless only that would need escaping, and escapes what cannot be printed.
fn str_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if unprintable(c) => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// The characters that Python escapes in a `repr` and that occur in practice: controls, every space but U+0020, and
/// invisible format characters. (Private-use characters stay: input marking needs them to pass through.)
fn unprintable(c: char) -> bool {
    c.is_control()
        || (c != ' ' && c.is_whitespace())
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `json.dumps(value, ...)`: keys in their order unless sorted, nothing escaped for HTML.
pub(crate) fn json_dumps(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    json_into(&mut out, value, style, 0)?;
    Ok(out)
}

fn json_into(out: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&json_number(value)),
        ValueKind::String => json_string(out, value.as_str().unwrap_or_default(), style.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut empty = true;
            out.push('[');
            for item in value.try_iter()? {
                open_item(out, style, depth + 1, std::mem::replace(&mut empty, false));
                json_into(out, &item, style, depth + 1)?;
            }
            close(out, style, depth, empty);
            out.push(']');
        }
        ValueKind::Map => {
            let mut keys: Vec<(String, Value)> = value
                .try_iter()?
                .map(|key| Ok((json_key(&key)?, key)))
                .collect::<Result<_, Error>>()?;
            if style.sort_keys {
                keys.sort_by(|a, b| a.0.cmp(&b.0));
            }
            out.push('{');
            for (i, (name, key)) in keys.iter().enumerate() {
                open_item(out, style, depth + 1, i == 0);
                json_string(out, name, style.ensure_ascii);
                out.push_str(&style.separators.1);
                json_into(out, &value.get_item(key)?, style, depth + 1)?;
            }
            close(out, style, depth, keys.is_empty());
            out.push('}');
        }
        kind => {
            return Err(invalid(format!(
                "a value of type {kind} is not JSON serializable"
            )));
        }
    }
    Ok(())
}

fn open_item(out: &mut String, style: &JsonStyle, depth: usize, first: bool) {
    if !first {
        out.push_str(&style.separators.0);
    }
    if let Some(indent) = &style.indent {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(indent));
    }
}

fn close(out: &mut String, style: &JsonStyle, depth: usize, empty: bool) {
    if let (false, Some(indent)) = (empty, &style.indent) {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(indent));
    }
}

fn json_key(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => Ok(json_number(key)),
        kind => Err(invalid(format!("a key of type {kind} is not JSON serializable"))),
    }
}

fn json_number(value: &Value) -> String {
    match number(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        text => text.into(),
    }
}

fn json_string(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            // Private-use planes stay as they are, also in ASCII style: input marking needs them to pass through.
            c if ensure_ascii && !matches!(c, ' '..='~' | '\u{f0000}'..) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The `tojson` filter of the transformers library: `(ensure_ascii, indent, separators, sort_keys)`, by name or place.
fn tojson(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let get = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = kwargs.get(name)?;
        Ok(named
            .or_else(|| args.get(at).cloned())
            .filter(|v| !v.is_none() && !v.is_undefined()))
    };
    let indent = match get(1, "indent")? {
        None => None,
        Some(unit) => Some(match (unit.as_str(), i64::try_from(unit.clone())) {
            (Some(text), _) => text.to_owned(),
            (None, Ok(width @ 0..=32)) => " ".repeat(width as usize),
            _ => {
                return Err(invalid(
                    "tojson: indent must be a string or a number from 0 to 32",
                ));
            }
        }),
    };
    let separators = match get(2, "separators")? {
        Some(pair) => (
            str_of(&pair.get_item_by_index(0)?)?,
            str_of(&pair.get_item_by_index(1)?)?,
        ),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => JsonStyle::default().separators,
    };
    let style = JsonStyle {
        ensure_ascii: get(0, "ensure_ascii")?.is_some_and(|v| v.is_true()),
        indent,
        separators,
        sort_keys: get(3, "sort_keys")?.is_some_and(|v| v.is_true()),
    };
    kwargs.assert_all_used()?;
    json_dumps(value, &style)
}

/// `dict|items`: nothing for an undefined value, an error for anything that is not a mapping.
fn items(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Value::from(Vec::<Value>::new())),
        ValueKind::Map => minijinja::filters::items(value),
        _ => Err(invalid("Can only get item pairs from a mapping.")),
    }
}

/// `seq|join(separator, attribute)`.
fn join(value: &Value, separator: Option<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let separator = match kwargs.get::<Option<Value>>("d")?.or(separator) {
        Some(text) => str_of(&text)?,
        None => String::new(),
    };
    let attribute: Option<String> = kwargs.get("attribute")?;
    kwargs.assert_all_used()?;
    let mut out = String::new();
    if value.is_undefined() {
        return Ok(out);
    }
    for (i, item) in value.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        let item = match &attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        out.push_str(&str_of(&item)?);
    }
    Ok(out)
}

/// Whitespace as Python's `str.strip` sees it: Unicode's, and the four ASCII separators.
fn python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn trim(value: &Value, chars: Option<&str>) -> Result<String, Error> {
    let text = str_of(value)?;
    Ok(match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)).to_owned(),
        None => text.trim_matches(python_space).to_owned(),
    })
}

/// The method that a slice with a step is written as: see [`super::source`].
pub(super) const SLICE: &str = "__slice__";

/// `value[start:stop:step]`; nothing for a value that is missing.
fn slice(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let (start, stop, step): (Option<i64>, Option<i64>, Option<i64>) = from_args(args)?;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("slice step cannot be zero"));
    }
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::from(Vec::<Value>::new()),
        ValueKind::String => {
            let chars: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            let places = places(chars.len(), start, stop, step);
            Value::from(places.map(|at| chars[at]).collect::<String>())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            let places = places(items.len(), start, stop, step);
            Value::from(places.map(|at| items[at].clone()).collect::<Vec<_>>())
        }
        kind => return Err(invalid(format!("value of type {kind} cannot be sliced"))),
    })
}

/// The places that `[start:stop:step]` picks of so many, by the rules of Python's `slice.indices`. `step` is not zero.
fn places(len: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> impl Iterator<Item = usize> {
    let len = len as i64;
    let (first, last) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let within = |at: i64| {
        if at < 0 {
            at.saturating_add(len).max(first)
        } else {
            at.min(last)
        }
    };
    let (from, to) = if step > 0 { (first, last) } else { (last, first) };
    let from = start.map_or(from, within);
    let to = stop.map_or(to, within);
    std::iter::successors(Some(from), move |at| Some(at.saturating_add(step)))
        .take_while(move |&at| if step > 0 { at < to } else { at > to })
        .map(|at| at as usize)
}

/// Replaces the filters and tests of the engine whose answers differ from Jinja2's.
pub(crate) fn install(env: &mut Environment<'static>) {
    env.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => out.write_str(&str_of(value)?).map_err(Error::from),
    });
    env.set_unknown_method_callback(|state, value, name, args| match name {
        SLICE => slice(value, args),
        _ => bounds::method(state, value, name, args),
    });

    env.add_filter("tojson", tojson);
    env.add_filter("items", items);
    env.add_filter("join", join);
    env.add_filter("trim", trim);
    env.add_filter("string", str_of);
    env.add_filter("upper", |value: &Value| {
        Ok::<_, Error>(str_of(value)?.to_uppercase())
    });
    env.add_filter("lower", |value: &Value| {
        Ok::<_, Error>(str_of(value)?.to_lowercase())
    });
    env.add_filter("pprint", repr_of);
    // Nothing is ever escaped, so the mark "safe" has no meaning here; a plain string keeps every operator working.
    env.add_filter("safe", str_of);

    use ValueKind::{Bool, Iterable, Map, Number, Seq, String, Undefined};
    env.add_test("sequence", |v: &Value| {
        matches!(v.kind(), String | Seq | Iterable | Map)
    });
    env.add_test("iterable", |v: &Value| {
        matches!(v.kind(), String | Seq | Iterable | Map | Undefined)
    });
    env.add_test("number", |v: &Value| matches!(v.kind(), Number | Bool));
    env.remove_global("debug");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_writes_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (0.0, "0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float_repr(value), text);
        }
    }

    fn render(template: &str) -> String {
        let mut env = Environment::new();
        install(&mut env);
        env.render_str(template, minijinja::context! { missing_list => Value::UNDEFINED })
            .unwrap()
    }

    /// Each right-hand side was printed by Python's Jinja2 with `tojson` as the transformers library defines it.
    #[test]
    fn expressions_as_jinja2_prints_them() {
        for (template, text) in [
            ("{{ true }} {{ none }} {{ 1.0 }} {{ nothing }}", "True None 1.0 "),
            (
                "{{ ['a', 1, true, none, {'k': 'it\\'s'}] }}",
                "['a', 1, True, None, {'k': \"it's\"}]",
            ),
            ("{{ ['\\n\\t'] }}", "['\\n\\t']"),
            ("{{ [true, 'x']|join('-') }}", "True-x"),
            ("{{ none|string ~ '!' }}", "None!"),
            ("{{ nothing|upper }}|{{ none|upper }}", "|NONE"),
            (
                "{{ 'a' is sequence }} {{ {} is sequence }} {{ 3 is sequence }}",
                "True True False",
            ),
            ("{{ 'a' is iterable }} {{ 3 is iterable }}", "True False"),
            ("{{ nothing|items|list }}", "[]"),
            (
                "{{ {'b': [1, 2.0], 'a': '<é\"\\n>'}|tojson }}",
                "{\"b\": [1, 2.0], \"a\": \"<é\\\"\\n>\"}",
            ),
            (
                "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}",
                "{\"a\": 2, \"b\": 1}",
            ),
            (
                "{{ ['é🚀']|tojson(ensure_ascii=true) }}",
                "[\"\\u00e9\\ud83d\\ude80\"]",
            ),
            (
                "{{ {'a': [1, []], 'b': {}}|tojson(indent=2) }}",
                "{\n  \"a\": [\n    1,\n    []\n  ],\n  \"b\": {}\n}",
            ),
            ("{{ [1, 2]|tojson(separators=(',', ':')) }}", "[1,2]"),
        ] {
            assert_eq!(render(template), text, "{template}");
        }
    }
}
