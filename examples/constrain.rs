//! `cargo run --example constrain -- MODEL COUNT [SEED]`: random JSON schemas, and what a model makes of them at temperature 1.
//!
//! One line of JSON for each: `{"schema": …, "text": …, "finish": "stop" | "length"}`, or `{"schema": …, "refused": "why"}`.
//! `tools/constrain.mjs` validates them with a validator that knows nothing of this engine. Best with a model of random
//! weights: it wants to break every rule.

use std::io::Write;

use fanlight::Kind;
use fanlight::model::Options;
use fanlight::sample::Random;
use fanlight::session::{Event, FinishReason, Request, Session};
use fanlight::source::ByteSource;
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count, rest @ ..] = arguments.as_slice() else {
        return Err("expected: MODEL COUNT [SEED]".into());
    };
    let file = std::fs::File::open(path)?;
    let parts: [&dyn ByteSource; 1] = [&file];
    let mut session = Session::open(&parts, &Options::default())?;
    while !session.load_step(&parts)? {}
    let seed: u64 = rest.first().map_or(Ok(1), |seed| seed.parse())?;
    let mut out = std::io::stdout().lock();
    for n in 0..count.parse()? {
        let mut schemas = Schemas {
            random: Random::new(seed.wrapping_mul(1_000_003).wrapping_add(n)),
            definitions: Map::new(),
        };
        let mut schema = schemas.schema(0);
        if !schemas.definitions.is_empty() {
            schema["$defs"] = schemas.definitions.into();
        }
        let line = match generate(&mut session, &schema, n) {
            Ok((text, finish)) => json!({"schema": schema, "text": text, "finish": finish}),
            Err(error) if error.kind == Kind::Schema => json!({"schema": schema, "refused": error.message}),
            Err(error) => return Err(error.into()),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The text, and why it ended.
fn generate(session: &mut Session, schema: &Value, seed: u64) -> fanlight::Result<(String, &'static str)> {
    let request: Request = serde_json::from_value(json!({
        "promptTokens": [1, 2, 3], "maxTokens": 60 + seed % 240, "constraint": {"schema": schema},
        "sampling": {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "seed": seed}
    }))
    .map_err(|e| fanlight::Error::new(Kind::InvalidArgument, e.to_string()))?;
    session.start(request)?;
    let mut text = String::new();
    loop {
        match session.run()? {
            Event::Output => {
                let output = session.take_output();
                text.push_str(&output.text);
                match output.finish_reason {
                    Some(FinishReason::Length) => return finish(session, text, "length"),
                    Some(_) => return finish(session, text, "stop"),
                    None => {}
                }
            }
            Event::Pause => {}
            Event::Done | Event::Exchange(_) => return finish(session, text, "length"),
        }
    }
}

fn finish(
    session: &mut Session,
    text: String,
    why: &'static str,
) -> fanlight::Result<(String, &'static str)> {
    while session.run()? != Event::Done {}
    Ok((text, why))
}

/// Makes schemas of all supported keywords, and now and then of one that is not.
struct Schemas {
    random: Random,
    /// Of the whole schema, by name.
    definitions: Map<String, Value>,
}

const NAMES: [&str; 12] = [
    "name", "id", "total", "items", "käse", "a b", "x\"y", "next", "tags", "unit", "0", "note",
];
const PATTERNS: [&str; 7] = [
    "^[a-z]{2,5}$",
    "^\\d{3}-\\d{2}$",
    "^(foo|bar)+$",
    "[0-9]$",
    "^\\S+@\\S+$",
    "^[A-Z][a-z]*( [A-Z][a-z]*)?$",
    "é",
];
const FORMATS: [&str; 9] = [
    "date",
    "time",
    "date-time",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];

impl Schemas {
    fn below(&mut self, n: usize) -> usize {
        (self.random.uniform() * n as f64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn one<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }

    fn schema(&mut self, depth: usize) -> Value {
        let kinds = if depth > 2 { 8 } else { 14 };
        match self.below(kinds) {
            0 => json!({"type": "boolean"}),
            1 => {
                json!({"type": ["integer", "null"], "minimum": -(self.below(50) as i64), "maximum": self.below(5000)})
            }
            2 if self.chance(3) => json!({"type": ["number", "null"]}),
            2 => self.number(),
            3 | 4 => self.string(),
            5 => json!({"enum": ["red", "green", 3, null, true, {"a": [1, 2.5]}]}),
            6 => json!({"const": [self.one(&NAMES), self.below(100), false]}),
            7 if self.chance(2) => json!({"type": "integer", "multipleOf": 1 + self.below(12)}),
            7 => json!({"type": "integer"}),
            8..=10 => self.object(depth),
            11 => self.array(depth),
            12 => self.combined(depth),
            _ => self.recursive(),
        }
    }

    fn number(&mut self) -> Value {
        let mut schema = json!({"type": "number"});
        let low = self.below(200) as f64 / 4.0 - 25.0;
        if self.chance(2) {
            schema["minimum"] = low.into();
        } else {
            schema["exclusiveMinimum"] = low.into();
        }
        if self.chance(2) {
            schema["maximum"] = (low + 10.5).into();
        } else {
            schema["exclusiveMaximum"] = (low + 1000.0).into();
        }
        schema
    }

    fn string(&mut self) -> Value {
        match self.below(5) {
            0 => json!({"type": "string", "pattern": self.one(&PATTERNS)}),
            1 => json!({"type": "string", "format": self.one(&FORMATS)}),
            2 => json!({"type": "string", "minLength": self.below(4), "maxLength": 4 + self.below(12)}),
            3 => json!({"type": "string", "enum": [self.one(&NAMES), "other \\ thing", "ß"]}),
            _ => json!({"type": "string"}),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut properties = Map::new();
        for _ in 0..1 + self.below(5) {
            let name = self.one(&NAMES).to_string();
            let schema = self.schema(depth + 1);
            properties.insert(name, schema);
        }
        let required: Vec<String> = properties.keys().filter(|_| self.chance(2)).cloned().collect();
        let mut schema = json!({"type": "object", "properties": properties, "required": required});
        match self.below(6) {
            0 => {}
            1 => schema["additionalProperties"] = json!({"type": "integer", "minimum": 0, "maximum": 9}),
            2 => {
                schema["patternProperties"] = json!({"^z_": {"type": "boolean"}});
                schema["additionalProperties"] = json!(false);
            }
            _ => schema["additionalProperties"] = json!(false),
        }
        if self.chance(25) {
            schema["dependentRequired"] = json!({"name": ["id"]});
        }
        schema
    }

    fn array(&mut self, depth: usize) -> Value {
        let items = self.schema(depth + 1);
        let least = self.below(3);
        match self.below(4) {
            0 => json!({"type": "array", "prefixItems": [items, {"type": "boolean"}], "items": false}),
            1 => json!({"type": "array", "prefixItems": [{"type": "null"}], "items": items, "maxItems": 3}),
            2 if self.chance(6) => json!({"type": "array", "items": items, "uniqueItems": true}),
            _ => {
                json!({"type": "array", "items": items, "minItems": least, "maxItems": least + self.below(4)})
            }
        }
    }

    fn combined(&mut self, depth: usize) -> Value {
        match self.below(4) {
            0 => json!({"anyOf": [self.schema(depth + 1), self.schema(depth + 1)]}),
            1 => {
                json!({"oneOf": [{"type": "string", "maxLength": 5}, {"type": "array", "items": self.schema(depth + 1), "maxItems": 2}]})
            }
            2 => json!({"oneOf": [self.schema(depth + 1), self.schema(depth + 1)]}),
            _ => {
                let (one, other) = (self.object(depth + 1), self.object(depth + 1));
                json!({"allOf": [one, other]})
            }
        }
    }

    fn recursive(&mut self) -> Value {
        let value = self.schema(3);
        let name = format!("a/{}", self.definitions.len());
        let reference = json!({"$ref": format!("#/$defs/{}", name.replace('/', "~1"))});
        self.definitions.insert(
            name,
            json!({"type": "object", "properties": {"value": value, "next": {"anyOf": [reference, {"type": "null"}]}},
                "required": ["value", "next"], "additionalProperties": false}),
        );
        reference
    }
}
