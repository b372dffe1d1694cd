//! Bounds for the template engine's own functions that take lengths: it makes room for what they are told, or overflows, and
//! a template is untrusted code.

use minijinja::value::{Kwargs, Rest, StringInput};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, functions};
use minijinja_contrib::pycompat::unknown_method_callback;

/// The largest length, width or number of parts; pages of text have fewer.
const MOST: i64 = 10_000;
/// The farthest that a range may begin or end, and step.
const FARTHEST: i64 = 1 << 29;

/// Replaces those functions.
pub(super) fn install(env: &mut Environment<'static>) {
    env.add_filter(
        "slice",
        |state: &State, value: Value, count: i64, fill: Option<Value>| {
            filters::slice(state, value, length("slice", count)?, fill)
        },
    );
    env.add_filter(
        "batch",
        |state: &State, value: Value, count: i64, fill: Option<Value>| {
            filters::batch(state, value, length("batch", count)?, fill)
        },
    );
    env.add_filter("indent", indent);
    env.add_filter("format", |state: &State, text: &Value, args: Rest<Value>| {
        check_format(text, &args)?;
        filters::format(state, text, args)
    });
    env.add_function("range", |lower: i64, upper: Option<i64>, step: Option<i64>| {
        for number in [Some(lower), upper, step].into_iter().flatten() {
            within("range", number, FARTHEST)?;
        }
        let [upper, step] = [upper, step].map(|number| number.map(|number| number as isize));
        functions::range(lower as isize, upper, step)
    });
}

/// The methods of strings, lists and mappings.
pub(super) fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if name == "format" {
        check_format(value, args)?;
    }
    // Nothing is everywhere in a text: it would be counted without end.
    if name == "count" && args.first().is_some_and(|arg| arg.as_str() == Some("")) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "count: found \"\", expected a text",
        ));
    }
    unknown_method_callback(state, value, name, args)
}

fn within(name: &str, number: i64, most: i64) -> Result<(), Error> {
    if number.unsigned_abs() <= most.unsigned_abs() {
        return Ok(());
    }
    let message = format!("{name}: found {number}, expected at most {most}");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn length(name: &str, number: i64) -> Result<usize, Error> {
    within(name, number, MOST)?;
    usize::try_from(number)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("{name}: found {number}")))
}

fn indent(
    text: StringInput<'_>,
    width: Option<i64>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    if let Some(width) = kwargs.get("width")? {
        length("indent", width)?;
    }
    let width = width.map(|width| length("indent", width)).transpose()?;
    filters::indent(text, width, first, blank, kwargs)
}

/// Refuses widths and precisions beyond [`MOST`], written in the format or given as arguments of `*`.
fn check_format(text: &Value, args: &[Value]) -> Result<(), Error> {
    let text = text.as_str().unwrap_or_default();
    for digits in specifications(text).flat_map(|part| part.split(|c: char| !c.is_ascii_digit())) {
        if !digits.is_empty() {
            within("format", digits.parse().unwrap_or(i64::MAX), MOST)?;
        }
    }
    if text.contains('*') {
        for number in args.iter().filter(|arg| arg.is_number()) {
            within("format", i64::try_from(number.clone()).unwrap_or(0), MOST)?;
        }
    }
    Ok(())
}

/// What in a text says how to write values, in either style: from `%` to a letter, and from `{` to `}`.
fn specifications(text: &str) -> impl Iterator<Item = &str> {
    let until = |part: &'_ str, end: fn(char) -> bool| part.find(end).unwrap_or(part.len());
    let printf = text.split('%').skip(1);
    let braces = text.split('{').skip(1);
    printf
        .map(move |part| &part[..until(part, |c| c.is_alphabetic())])
        .chain(braces.map(move |part| &part[..until(part, |c| c == '}')]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_formats_a_value_is_looked_at() {
        for (text, fits) in [
            ("123456: %s, {} and %5.2f of 99999", true),
            ("%10000d {:>10000}", true),
            ("%-10001d", false),
            ("%.99999999999999999999f", false),
            ("{name:>10001}", false),
            ("{:é>10001", false),
        ] {
            assert_eq!(check_format(&Value::from(text), &[]).is_ok(), fits, "{text}");
        }
        let wide = Value::from(10_001);
        assert!(check_format(&Value::from("%d"), std::slice::from_ref(&wide)).is_ok());
        assert!(check_format(&Value::from("%*d"), std::slice::from_ref(&wide)).is_err());
    }
}
