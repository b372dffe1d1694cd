//! Values as some families write them in calls: not as JSON, but nearly. From a JSON schema to a pattern of what may be written.
//!
//! What a pattern cannot say (`allOf`, `oneOf`, `not`, recursion, keys that are not listed, …) gives none.

use serde_json::{Map, Value, json};

use crate::constrain::Pattern;

/// How one family writes values.
pub(super) trait Notation {
    /// The words for null, true and false.
    const WORDS: [&'static str; 3];
    /// Between items.
    const COMMA: &'static str;

    /// How objects are written.
    fn object(&self) -> Members;
    /// This text.
    fn text(&self, text: &str) -> Option<Pattern>;
    /// Any text of this schema, if that can be said.
    fn any_text(&self, schema: &Map<String, Value>) -> Option<Pattern>;
}

/// How the members of an object are written, or the arguments of a function.
#[derive(Clone, Copy)]
pub(super) struct Members {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
    /// A key and what separates it from its value; `None` for one that cannot be written.
    pub(super) key: fn(&str) -> Option<String>,
}

/// References followed, and values inside one another, at most.
const DEEPEST: usize = 12;
/// Keywords that no pattern here stands for.
const UNSAID: [&str; 17] = [
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
    "prefixItems",
    "contains",
    "uniqueItems",
    "unevaluatedProperties",
    "unevaluatedItems",
];
/// Keywords that limit nothing.
const REMARKS: [&str; 11] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
    "$defs",
    "definitions",
];
/// Items of an array that has a most, at most.
const MOST_ITEMS: u64 = 32;

/// Parts of a pattern, at most: members that may be left out, and items, are written once for each way to be there.
const MOST_PARTS: usize = 5000;

/// Values of `schema`, which is part of `root`; `None` if the notation cannot say it.
pub(super) fn value<N: Notation>(
    notation: &N,
    schema: &Value,
    root: &Value,
    depth: usize,
) -> Option<Pattern> {
    if depth > DEEPEST {
        return None;
    }
    let schema = schema.as_object()?;
    let again = |schema: &Value| value(notation, schema, root, depth + 1);
    if UNSAID.iter().any(|keyword| schema.contains_key(*keyword)) {
        return None;
    }
    // What these say is the whole: with other limits beside them, there is no pattern.
    let alone = |also: &[&str]| {
        schema
            .keys()
            .all(|key| also.contains(&key.as_str()) || REMARKS.contains(&key.as_str()))
    };
    if let Some(reference) = schema.get("$ref") {
        return alone(&["$ref"]).then(|| again(root.pointer(reference.as_str()?.strip_prefix('#')?)?))?;
    }
    if let Some(choices) = schema.get("anyOf") {
        return alone(&["anyOf"]).then(|| choice(choices.as_array()?.iter().map(again)))?;
    }
    let values = match (schema.get("const"), schema.get("enum")) {
        (Some(value), None) => Some(std::slice::from_ref(value)),
        (None, Some(values)) => Some(values.as_array()?.as_slice()),
        (None, None) => None,
        (Some(_), Some(_)) => return None,
    };
    if let Some(values) = values {
        let typed = values.iter().filter(|value| match schema.get("type") {
            Some(types) => has_type(value, types),
            None => true,
        });
        return alone(&["const", "enum", "type"])
            .then(|| choice(typed.map(|value| literal(notation, value))))?;
    }
    match schema.get("type")? {
        Value::Array(types) => choice(types.iter().map(|one| {
            let mut schema = schema.clone();
            schema.insert("type".into(), one.clone());
            again(&schema.into())
        })),
        one => match one.as_str()? {
            "null" => Some(word(N::WORDS[0])),
            "boolean" => Some(Pattern::Choice(vec![word(N::WORDS[1]), word(N::WORDS[2])])),
            "string" => notation.any_text(schema),
            "integer" | "number" => Some(Pattern::Json(schema.clone().into())),
            "array" => array::<N>(schema, again),
            "object" => members(notation, schema, root, notation.object(), depth),
            _ => None,
        },
    }
}

/// The members of an object, or the arguments of a function: those of the schema, in its order.
pub(super) fn members<N: Notation>(
    notation: &N,
    schema: &Map<String, Value>,
    root: &Value,
    written: Members,
    depth: usize,
) -> Option<Pattern> {
    let none = json!({});
    let properties = match schema.get("properties") {
        Some(properties) => properties.as_object()?,
        // Any members at all cannot be said.
        None => none.as_object().filter(|_| is_closed(schema))?,
    };
    let required: Vec<&str> = match schema.get("required") {
        Some(names) => names
            .as_array()?
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()?,
        None => Vec::new(),
    };
    if required.iter().any(|name| !properties.contains_key(*name)) {
        return None;
    }
    let member = |(name, schema): (&String, &Value)| {
        let value = value(notation, schema, root, depth + 1)?;
        let key = word(&(written.key)(name)?);
        Some((
            Pattern::Sequence(vec![key, value]),
            required.contains(&name.as_str()),
        ))
    };
    let members = properties.iter().map(member).collect::<Option<Vec<_>>>()?;
    let first = members.iter().take_while(|(_, is_required)| !is_required).count();
    if members.iter().map(|(member, _)| parts(member)).sum::<usize>() * (first + 1) > MOST_PARTS {
        return None;
    }
    let inside = listed(&members, N::COMMA);
    let (open, close) = (word(written.open), word(written.close));
    Some(Pattern::Sequence(
        [open].into_iter().chain(inside).chain([close]).collect(),
    ))
}

/// How much there is of a pattern.
fn parts(pattern: &Pattern) -> usize {
    match pattern {
        Pattern::Sequence(several) | Pattern::Choice(several) => 1 + several.iter().map(parts).sum::<usize>(),
        Pattern::Optional(one) | Pattern::List(one, _) => 1 + parts(one),
        _ => 1,
    }
}

/// Nothing but what is listed may be a member.
pub(super) fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

/// Members with commas between those that are there; `None` for nothing at all. After the first one that is there, each brings its comma.
fn listed(members: &[(Pattern, bool)], comma: &str) -> Option<Pattern> {
    let ((first, is_required), rest) = members.split_first()?;
    let more = rest.iter().map(|(member, is_required)| {
        let member = Pattern::Sequence(vec![word(comma), member.clone()]);
        match is_required {
            true => member,
            false => Pattern::Optional(Box::new(member)),
        }
    });
    let with = Pattern::Sequence([first.clone()].into_iter().chain(more).collect());
    if *is_required {
        return Some(with);
    }
    Some(match listed(rest, comma) {
        None => Pattern::Optional(Box::new(with)),
        Some(without) => Pattern::Choice(vec![with, without]),
    })
}

fn array<N: Notation>(
    schema: &Map<String, Value>,
    again: impl Fn(&Value) -> Option<Pattern>,
) -> Option<Pattern> {
    let count = |keyword: &str| schema.get(keyword).map(Value::as_u64);
    let least = count("minItems").unwrap_or(Some(0))?;
    let item = again(schema.get("items")?)?;
    let many = Pattern::List(Box::new(item.clone()), N::COMMA.into());
    let items = match (least, count("maxItems")) {
        (0, None) => Some(Pattern::Optional(Box::new(many))),
        (1, None) => Some(many),
        (_, None) => {
            let first = std::iter::repeat_n(item, usize::try_from(least.min(MOST_ITEMS)).ok()? - 1);
            let first = first.flat_map(|item| [item, word(N::COMMA)]);
            (least <= MOST_ITEMS).then(|| Pattern::Sequence(first.chain([many]).collect()))
        }
        (_, Some(most)) => {
            let most = most.filter(|most| (least..=MOST_ITEMS).contains(most))?;
            if parts(&item) * most as usize > MOST_PARTS {
                return None;
            }
            let items: Vec<_> = (0..most).map(|at| (item.clone(), at < least)).collect();
            match nested(&items, N::COMMA) {
                Some(items) => Some(items),
                None => return Some(word("[]")),
            }
        }
    };
    Some(Pattern::Sequence(vec![word("["), items?, word("]")]))
}

/// Items of which those that are there come first.
fn nested(items: &[(Pattern, bool)], comma: &str) -> Option<Pattern> {
    let mut inside: Option<Pattern> = None;
    for (at, (item, is_required)) in items.iter().enumerate().rev() {
        let mut parts = vec![item.clone()];
        if at > 0 {
            parts.insert(0, word(comma));
        }
        parts.extend(inside);
        let item = Pattern::Sequence(parts);
        inside = Some(match is_required {
            true => item,
            false => Pattern::Optional(Box::new(item)),
        });
    }
    inside
}

/// How often a character of a text is repeated, as a regular expression says it: by `minLength` and `maxLength`.
pub(super) fn count(schema: &Map<String, Value>) -> String {
    let count = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    match (count("minLength"), count("maxLength")) {
        (None | Some(0), None) => "*".into(),
        (least, most) => {
            let most = most.map_or_else(String::new, |most| most.to_string());
            format!("{{{},{most}}}", least.unwrap_or(0))
        }
    }
}

/// Whether the keyword `type` allows this value.
fn has_type(value: &Value, types: &Value) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|one| has_type(value, one)),
        one => one.as_str().is_some_and(|name| is_of(value, name)),
    }
}

/// Whether the type of this name has this value.
pub(super) fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// This value.
fn literal<N: Notation>(notation: &N, value: &Value) -> Option<Pattern> {
    match value {
        Value::Null => Some(word(N::WORDS[0])),
        Value::Bool(true) => Some(word(N::WORDS[1])),
        Value::Bool(false) => Some(word(N::WORDS[2])),
        Value::Number(number) => Some(word(&number.to_string())),
        Value::String(text) => notation.text(text),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn choice(patterns: impl Iterator<Item = Option<Pattern>>) -> Option<Pattern> {
    let patterns: Vec<_> = patterns.collect::<Option<_>>()?;
    (!patterns.is_empty()).then_some(Pattern::Choice(patterns))
}

fn word(text: &str) -> Pattern {
    Pattern::Text(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::tools::{Callable, Format};

    /// An object of `count` members that may be left out, so many levels deep.
    fn deep(levels: usize, count: usize) -> Value {
        let inside = match levels {
            0 => json!({"type": "boolean"}),
            _ => deep(levels - 1, count),
        };
        let members = (0..count).map(|at| (format!("m{at}"), inside.clone()));
        json!({"type": "object", "additionalProperties": false, "properties": members.collect::<Map<_, _>>()})
    }

    #[test]
    fn what_would_grow_without_measure_is_not_said() {
        for (levels, count, said) in [(0, 12, true), (1, 5, true), (2, 12, false), (3, 8, false)] {
            let tool = Callable {
                name: "f".into(),
                arguments: deep(levels, count),
            };
            for format in [Format::Gemma, Format::Lfm] {
                let pattern = format.pattern(std::slice::from_ref(&tool), false, |marker| {
                    Pattern::Text(marker.into())
                });
                assert_eq!(pattern.is_some(), said, "{format:?}, {levels} levels of {count}");
            }
        }
    }
}
