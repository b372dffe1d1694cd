//! The check of a JSON schema before it is compiled: every keyword has the form it must have, none is there that would be
//! ignored, every reference leads somewhere, and some finite value satisfies it. What passes is what the table of
//! `docs/structured-output.md` says; whatever does not is [`Kind::Schema`] with the place in the schema.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::strings;
use crate::error::{Error, Kind, Result};

/// Keywords that are obeyed.
pub const SUPPORTED: [&str; 27] = [
    "$ref",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "required",
    "type",
];

/// Keywords of JSON Schema that are refused, rather than ignored. All others are annotations.
pub const REFUSED: [&str; 18] = [
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Schemas inside one another, references followed once included: the compiler recurses as deep.
const DEEPEST: usize = 96;
/// Schemas in a schema.
const MOST_SCHEMAS: usize = 20_000;
/// Bytes of its JSON text.
const MOST_BYTES: usize = 1 << 20;

/// Checks a schema and brings it into the form that is compiled.
pub fn prepare(schema: &Value) -> Result<Value> {
    // A value from JavaScript may be deep without any limit: this is looked at first, and without recursing further.
    let bytes = size(schema, 4 * DEEPEST).ok_or_else(|| wrong("#", "it is nested too deeply"))?;
    if bytes > MOST_BYTES {
        return Err(wrong(
            "#",
            format!("it has {bytes} bytes, expected at most {MOST_BYTES}"),
        ));
    }
    let mut walk = Walk {
        root: schema,
        targets: Vec::new(),
        schemas: 0,
    };
    let prepared = walk.schema(schema, "#", 0)?;
    let definitions: Map<String, Value> = walk
        .targets
        .into_iter()
        .enumerate()
        .map(|(n, (_, target))| (definition(n), target))
        .collect();
    if !satisfiable(&prepared, &definitions) {
        return Err(wrong(
            "#",
            "no finite value satisfies it: it is false, or what it requires contains itself without end",
        ));
    }
    let mut root = match prepared {
        Value::Object(root) => root,
        // The crate's options live in an object.
        _ => Map::from_iter([("type".to_string(), Value::from(&ANYTHING[..]))]),
    };
    if !definitions.is_empty() {
        root.insert("$defs".to_string(), Value::Object(definitions));
    }
    // One line, no choice of white space: see the head of the folder.
    let layout = json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
    root.insert("x-guidance".to_string(), layout);
    Ok(Value::Object(root))
}

const ANYTHING: [&str; 6] = ["object", "array", "string", "number", "boolean", "null"];

/// Where the target of the `n`-th reference is put: the compiler reads no escapes in references.
fn definition(n: usize) -> String {
    format!("d{n}")
}

/// A walk over a schema that copies it, checked.
struct Walk<'a> {
    root: &'a Value,
    /// What the references lead to, by pointer. `null` while it is being walked.
    targets: Vec<(String, Value)>,
    schemas: usize,
}

impl Walk<'_> {
    /// The copy of the schema at `place`.
    fn schema(&mut self, schema: &Value, place: &str, depth: usize) -> Result<Value> {
        self.schemas += 1;
        if self.schemas > MOST_SCHEMAS {
            return Err(wrong(
                place,
                format!("expected at most {MOST_SCHEMAS} schemas in all"),
            ));
        }
        if depth > DEEPEST {
            return Err(wrong(
                place,
                format!("more than {DEEPEST} schemas inside one another"),
            ));
        }
        let object = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(object) => object,
            _ => return Err(expected(place, schema, "a schema: an object, true or false")),
        };
        let mut copy = Map::new();
        for (keyword, value) in object {
            let at = format!("{place}/{keyword}");
            if let Some(value) = self.keyword(object, keyword, value, &at, depth + 1)? {
                copy.insert(keyword.clone(), value);
            }
        }
        strings::tighten(&mut copy);
        bound_numbers(&mut copy);
        close_bounds(&mut copy);
        Ok(Value::Object(copy))
    }

    /// The copy of a keyword's value; nothing for what has no meaning here.
    fn keyword(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Result<Option<Value>> {
        Ok(Some(match keyword {
            "type" => types(value, at)?,
            "enum" => {
                let values = list(value, at)?;
                values.iter().try_for_each(|value| exact(value, at))?;
                value.clone()
            }
            "const" => {
                exact(value, at)?;
                value.clone()
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                count(value, at)?
            }
            "multipleOf" => match value.as_f64() {
                Some(step) if step > 0.0 => value.clone(),
                _ => return Err(expected(at, value, "a number above 0")),
            },
            "minimum" | "maximum" if value.is_number() => value.clone(),
            // Draft 4 has truth values here.
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_number() || value.is_boolean() => {
                value.clone()
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                return Err(expected(at, value, "a number"));
            }
            "pattern" | "format" => match value.as_str() {
                Some(text) if keyword == "pattern" => Value::from(strings::ecma_spaces(text)),
                Some(_) => value.clone(),
                None => return Err(expected(at, value, "a string")),
            },
            "required" => match value.as_array() {
                Some(names) if names.iter().all(Value::is_string) => value.clone(),
                _ => return Err(expected(at, value, "an array of strings")),
            },
            "properties" | "patternProperties" => {
                let object = value
                    .as_object()
                    .ok_or_else(|| expected(at, value, "an object of schemas"))?;
                let copy = |(name, value): (&String, &Value)| {
                    Ok((name.clone(), self.schema(value, &format!("{at}/{name}"), depth)?))
                };
                Value::Object(object.iter().map(copy).collect::<Result<_>>()?)
            }
            "items" if value.is_array() => self.schemas(value, at, depth)?,
            "items" | "additionalItems" | "additionalProperties" => self.schema(value, at, depth)?,
            "prefixItems" | "anyOf" | "oneOf" | "allOf" => self.schemas(value, at, depth)?,
            "$ref" => Value::from(self.reference(value, at, depth)?),
            // A schema with its own base: references in it would mean something else.
            "$id" | "id" if depth > 1 && value.is_string() && schema.len() > 1 => {
                return Err(wrong(
                    at,
                    "only the outermost schema may have one: references inside would be relative to it",
                ));
            }
            "$schema" => value.clone(),
            "uniqueItems" if value == &Value::Bool(false) => return Ok(None),
            keyword if REFUSED.contains(&keyword) => {
                return Err(wrong(
                    at,
                    format!(
                        "the keyword is not supported; these are: {}",
                        SUPPORTED.join(", ")
                    ),
                ));
            }
            _ => return Ok(None),
        }))
    }

    fn schemas(&mut self, value: &Value, at: &str, depth: usize) -> Result<Value> {
        let copy = |(n, value)| self.schema(value, &format!("{at}/{n}"), depth);
        list(value, at)?.iter().enumerate().map(copy).collect()
    }

    /// A reference to the place where its target is put.
    fn reference(&mut self, value: &Value, at: &str, depth: usize) -> Result<String> {
        let text = value.as_str().ok_or_else(|| expected(at, value, "a string"))?;
        let pointer = text.strip_prefix('#').and_then(percent_decoded);
        let pointer = pointer.filter(|p| p.is_empty() || p.starts_with('/'));
        let Some(pointer) = pointer else {
            return Err(wrong(
                at,
                format!("{text:?} is not inside this schema: expected \"#\" or \"#/...\""),
            ));
        };
        if pointer.is_empty() {
            return Ok("#".to_string());
        }
        let known = self.targets.iter().position(|(p, _)| *p == pointer);
        let n = match known {
            Some(n) => n,
            None => {
                let root = self.root;
                let target = root
                    .pointer(&pointer)
                    .ok_or_else(|| wrong(at, format!("{text:?} leads nowhere")))?;
                let n = self.targets.len();
                self.targets.push((pointer.clone(), Value::Null));
                self.targets[n].1 = self.schema(target, &format!("#{pointer}"), depth)?;
                n
            }
        };
        Ok(format!("#/$defs/{}", definition(n)))
    }
}

fn types(value: &Value, at: &str) -> Result<Value> {
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Value::String(_) if known(value) => Ok(value.clone()),
        Value::Array(names) if !names.is_empty() && names.iter().all(known) => Ok(value.clone()),
        _ => Err(expected(
            at,
            value,
            &format!("{}, or an array of these", TYPES.join(", ")),
        )),
    }
}

fn list<'v>(value: &'v Value, at: &str) -> Result<&'v Vec<Value>> {
    value
        .as_array()
        .filter(|values| !values.is_empty())
        .ok_or_else(|| expected(at, value, "an array that is not empty"))
}

/// A whole number of at least 0; `2.0` is one.
fn count(value: &Value, at: &str) -> Result<Value> {
    let whole = |x: f64| x >= 0.0 && x.fract() == 0.0 && x <= f64::from(u32::MAX);
    match value.as_f64() {
        Some(x) if whole(x) => Ok(Value::from(x as u64)),
        _ => Err(expected(at, value, "a whole number of at least 0")),
    }
}

/// Up to here a double tells whole numbers from their neighbours; beyond, one would come out as a different one.
const LIMIT: u64 = 1 << 53;

/// Where numbers have no bounds, gives them these: what is beyond is not what a reader of JSON makes of it, and a model that
/// has begun to write digits need not find an end.
fn bound_numbers(schema: &mut Map<String, Value>) {
    let is_number = |name: &str| matches!(name, "number" | "integer");
    let numeric = match schema.get("type") {
        Some(Value::String(name)) => is_number(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is_number),
        _ => schema.contains_key("multipleOf"),
    };
    if !numeric || schema.contains_key("const") || schema.contains_key("enum") {
        return;
    }
    let limit = LIMIT as f64;
    let bound = |schema: &Map<String, Value>, names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| schema.get(*name).and_then(Value::as_f64))
    };
    let least = bound(schema, ["minimum", "exclusiveMinimum"]);
    let most = bound(schema, ["maximum", "exclusiveMaximum"]);
    if least.is_none() && most.is_none_or(|most| most > -limit) {
        schema.insert("minimum".to_string(), Value::from(-(LIMIT as i64)));
    }
    if most.is_none() && least.is_none_or(|least| least < limit) {
        schema.insert("maximum".to_string(), Value::from(LIMIT));
    }
}

/// Bounds that are not among the numbers themselves become those of the next double: 999.99…9 with digits enough is 1000 to who
/// reads it. Not so for whole numbers.
fn close_bounds(schema: &mut Map<String, Value>) {
    /// The doubles next to 0 have 324 digits.
    const NEXT_TO_ZERO: f64 = 1e-15;
    if schema.get("type").is_some_and(|name| name == "integer") {
        return;
    }
    let mut close =
        |open: &str, closed: &str, next: fn(f64) -> f64, tighter: fn(f64, f64) -> f64, zero: f64| {
            if let Some(x) = schema.get(open).and_then(Value::as_f64) {
                schema.remove(open);
                let bound = if x == 0.0 { zero } else { next(x) };
                let known = schema.get(closed).and_then(Value::as_f64);
                schema.insert(
                    closed.to_string(),
                    Value::from(known.map_or(bound, |known| tighter(known, bound))),
                );
            }
        };
    close(
        "exclusiveMinimum",
        "minimum",
        f64::next_up,
        f64::max,
        NEXT_TO_ZERO,
    );
    close(
        "exclusiveMaximum",
        "maximum",
        f64::next_down,
        f64::min,
        -NEXT_TO_ZERO,
    );
}

/// Whole numbers that a double tells from their neighbours.
fn exact(value: &Value, at: &str) -> Result<()> {
    match value {
        Value::Number(number)
            if number.as_i64().is_some_and(|n| n.unsigned_abs() > LIMIT)
                || number.as_u64().is_some_and(|n| n > LIMIT)
                || number.as_f64().is_none_or(|x| x.abs() > LIMIT as f64) =>
        {
            Err(wrong(
                at,
                format!("{number} is beyond 2^53, where not every whole number can be told from the next"),
            ))
        }
        Value::Array(values) => values.iter().try_for_each(|value| exact(value, at)),
        Value::Object(values) => values.values().try_for_each(|value| exact(value, at)),
        _ => Ok(()),
    }
}

/// Whether some finite value satisfies the schema, as far as references go: the least fixed point over all definitions.
fn satisfiable(root: &Value, definitions: &Map<String, Value>) -> bool {
    let mut known: HashSet<&str> = HashSet::new();
    loop {
        let before = known.len();
        for (name, schema) in definitions
            .iter()
            .map(|(n, s)| (n.as_str(), s))
            .chain([("#", root)])
        {
            if !known.contains(name) && has_value(schema, &known) {
                known.insert(name);
            }
        }
        if known.contains("#") {
            return true;
        }
        if known.len() == before {
            return false;
        }
    }
}

/// Whether a value satisfies the schema that contains no definition but those that are known to have one.
fn has_value(schema: &Value, known: &HashSet<&str>) -> bool {
    let object = match schema {
        Value::Bool(any) => return *any,
        Value::Object(object) => object,
        _ => return false,
    };
    let all = |keyword: &str| {
        object
            .get(keyword)
            .and_then(Value::as_array)
            .is_none_or(|schemas| schemas.iter().all(|s| has_value(s, known)))
    };
    let any = |keyword: &str| {
        object
            .get(keyword)
            .and_then(Value::as_array)
            .is_none_or(|schemas| schemas.iter().any(|s| has_value(s, known)))
    };
    let reference = object.get("$ref").and_then(Value::as_str);
    let target = reference.map(|r| r.strip_prefix("#/$defs/").unwrap_or(r));
    if target.is_some_and(|name| !known.contains(name)) || !all("allOf") || !any("anyOf") || !any("oneOf") {
        return false;
    }
    let types: Vec<&str> = match object.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return true,
    };
    types.iter().any(|name| match *name {
        "object" => object_has_value(object, known),
        "array" => array_has_value(object, known),
        _ => true,
    })
}

fn object_has_value(schema: &Map<String, Value>, known: &HashSet<&str>) -> bool {
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    required.iter().filter_map(Value::as_str).all(|name| {
        let property = schema.get("properties").and_then(|p| p.get(name));
        property
            .or_else(|| schema.get("additionalProperties"))
            .is_none_or(|property| has_value(property, known))
    })
}

fn array_has_value(schema: &Map<String, Value>, known: &HashSet<&str>) -> bool {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    let (first, rest) = match (schema.get("prefixItems"), schema.get("items")) {
        (None, Some(items @ Value::Array(_))) => (Some(items), schema.get("additionalItems")),
        (first, rest) => (first, rest),
    };
    let first = first.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let needed = first.iter().take(least.min(first.len() as u64) as usize);
    let beyond = least > first.len() as u64;
    needed.into_iter().all(|item| has_value(item, known))
        && (!beyond || rest.is_none_or(|item| has_value(item, known)))
}

/// Bytes of the JSON text, about; `None` if it is nested deeper than `depth`.
fn size(value: &Value, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => {
            let sizes = values.iter().map(|value| size(value, depth));
            sizes.sum::<Option<usize>>()? + values.len() + 2
        }
        Value::Object(values) => {
            let sizes = values
                .iter()
                .map(|(name, value)| Some(size(value, depth)? + name.len() + 4));
            sizes.sum::<Option<usize>>()? + 2
        }
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn wrong(at: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Schema, format!("schema {at}: {what}"))
}

fn expected(at: &str, found: &Value, expected: &str) -> Error {
    let found: String = found.to_string().chars().take(60).collect();
    wrong(at, format!("expected {expected}, found {found}"))
}
