//! How a model wants to be sampled when the caller does not say: by the file's own keys, else by what its makers recommend
//! for the family.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::gguf::Metadata;
use crate::sample::Params;
use crate::session::request::Request;

/// What is proposed for one model.
#[derive(Debug)]
pub(super) struct Defaults {
    /// Of plain text: the file's keys over the engine's own values.
    text: Params,
    /// Of chats with and without thinking: the family's recommendation too, under the file's keys.
    thinking: Params,
    answering: Params,
    /// Whether the model thinks when nobody says: `None` leaves it to the chat template.
    thinks: Option<bool>,
}

/// `general.sampling.*`, and the field of [`Params`] that each sets.
const KEYS: [(&str, &str); 8] = [
    ("temp", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("penalty_repeat", "repeat_penalty"),
    ("penalty_last_n", "penalty_last_n"),
    ("xtc_probability", "xtc_probability"),
    ("xtc_threshold", "xtc_threshold"),
];

/// A recommendation from a model card or a `generation_config.json`. The rest stays as the engine has it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Card {
    temperature: f32,
    top_p: f32,
    top_k: i32,
    presence: f32,
    repeat: f32,
}

const fn card(temperature: f32, top_p: f32, top_k: i32) -> Card {
    Card {
        temperature,
        top_p,
        top_k,
        presence: 0.0,
        repeat: 1.0,
    }
}

impl Card {
    const fn presence(self, presence: f32) -> Card {
        Card { presence, ..self }
    }

    /// None of these cards wants min-p.
    fn params(self) -> Params {
        Params {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: 0.0,
            presence_penalty: self.presence,
            repeat_penalty: self.repeat,
            ..Params::default()
        }
    }
}

/// What a family's makers recommend: with thinking, without, and whether it thinks by default.
struct Family {
    thinking: Card,
    answering: Card,
    thinks: Option<bool>,
}

/// The family of a model, by its architecture and what it calls itself; `None` where we know of no recommendation.
fn family(architecture: &str, name: &str, size: &str) -> Option<Family> {
    let name = name.to_lowercase();
    let same = |card: Card| {
        Some(Family {
            thinking: card,
            answering: card,
            thinks: None,
        })
    };
    match architecture {
        // generation_config.json; the repetition penalty of the 0.5B is 1.1.
        "qwen2" => same(Card {
            repeat: if name.contains("0.5b") { 1.1 } else { 1.05 },
            ..card(0.7, 0.8, 20)
        }),
        "qwen3" | "qwen3moe" => Some(Family {
            thinking: card(0.6, 0.95, 20),
            answering: card(0.7, 0.8, 20),
            thinks: None,
        }),
        "qwen35" | "qwen35moe" => {
            // The two smallest do not think unless asked to, and are sampled differently then.
            let is = |label: &str| size.eq_ignore_ascii_case(label) || name.contains(&label.to_lowercase());
            Some(Family {
                thinking: card(1.0, 0.95, 20).presence(1.5),
                answering: match is("0.8B") {
                    true => card(1.0, 1.0, 20).presence(2.0),
                    false => card(0.7, 0.8, 20).presence(1.5),
                },
                thinks: (is("0.8B") || is("2B")).then_some(false),
            })
        }
        "gemma3" | "gemma4" => same(card(1.0, 0.95, 64)),
        "mistral3" | "mistral" => match name.contains("reasoning") {
            true => same(card(0.7, 0.95, 0)),
            false => same(card(0.15, 1.0, 0)),
        },
        "nemotron_h" | "nemotron_h_moe" => Some(Family {
            thinking: card(1.0, 1.0, 0),
            answering: card(0.6, 0.95, 0),
            thinks: None,
        }),
        // Many others share the architecture; only those that say so are Meta's.
        "llama" if name.contains("llama-3") || name.contains("llama 3") => same(card(0.6, 0.9, 0)),
        _ => None,
    }
}

/// The sampling of one mode, by the names that requests have for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProposedSampling {
    /// 0 is the likeliest token each time.
    pub temperature: f32,
    /// Keeps the most likely tokens that together reach this.
    pub top_p: f32,
    /// Keeps this many; 0 keeps all.
    pub top_k: i32,
    /// Drops tokens less likely than this times the likeliest.
    pub min_p: f32,
    /// Subtracted once if a token occurred.
    pub presence_penalty: f32,
    /// Divides the logits of recent tokens; 1 is none.
    pub repeat_penalty: f32,
}

/// What chats are answered with where a request does not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Whether the model thinks; `None` leaves it to the chat template.
    pub enable_thinking: Option<bool>,
    /// When it thinks first.
    pub thinking: ProposedSampling,
    /// When it does not.
    pub answering: ProposedSampling,
}

impl From<&Params> for ProposedSampling {
    fn from(params: &Params) -> Self {
        ProposedSampling {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            min_p: params.min_p,
            presence_penalty: params.presence_penalty,
            repeat_penalty: params.repeat_penalty,
        }
    }
}

impl Defaults {
    /// What is proposed for chats.
    pub(super) fn proposal(&self) -> Proposal {
        Proposal {
            enable_thinking: self.thinks,
            thinking: (&self.thinking).into(),
            answering: (&self.answering).into(),
        }
    }

    /// Reads the file's keys. Wrong values in them are an error of the file.
    pub(super) fn read(metadata: &Metadata) -> Result<Defaults> {
        let own = own_fields(metadata)?;
        let over = |base: &Params| {
            let request = Request {
                sampling: own.clone(),
                ..Request::default()
            };
            request
                .params(base, |_| Vec::new())
                .map_err(|e| Error::new(Kind::MalformedFile, e.message).at("general.sampling"))
        };
        let word = |key: &str| metadata.str(key).ok().flatten().unwrap_or_default();
        let family = family(
            word("general.architecture"),
            word("general.name"),
            word("general.size_label"),
        );
        let text = over(&Params::default())?;
        let [thinking, answering] = match &family {
            Some(family) => [
                over(&family.thinking.params())?,
                over(&family.answering.params())?,
            ],
            None => [text.clone(), text.clone()],
        };
        Ok(Defaults {
            text,
            thinking,
            answering,
            thinks: family.and_then(|family| family.thinks),
        })
    }

    /// For plain text.
    pub(super) fn text(&self) -> &Params {
        &self.text
    }

    /// For a chat. Where the caller wants the likeliest token each time, recommendations for drawing do not count:
    /// penalties would change what is likeliest.
    pub(super) fn chat(&self, thinks: bool, sampling: &Map<String, Value>) -> &Params {
        let greedy = sampling
            .get("temperature")
            .and_then(Value::as_f64)
            .is_some_and(|temperature| temperature <= 0.0);
        match (greedy, thinks) {
            (true, _) => &self.text,
            (false, true) => &self.thinking,
            (false, false) => &self.answering,
        }
    }

    /// Whether the model thinks when nobody says; `None` leaves it to the chat template.
    pub(super) fn thinks(&self) -> Option<bool> {
        self.thinks
    }
}

fn own_fields(metadata: &Metadata) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    for (key, field) in KEYS {
        let key = format!("general.sampling.{key}");
        let value = match metadata.get(&key) {
            None => continue,
            Some(_) => match metadata.u64(&key) {
                Ok(Some(integer)) => Value::from(integer),
                _ => Value::from(metadata.f32(&key)?.unwrap_or_default()),
            },
        };
        fields.insert(field.to_string(), value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_architecture_and_name() {
        let of = |architecture, name, size| {
            family(architecture, name, size).map(|f| (f.thinking, f.answering, f.thinks))
        };
        assert_eq!(
            of("qwen35", "Qwen3.5-0.8B", ""),
            Some((
                card(1.0, 0.95, 20).presence(1.5),
                card(1.0, 1.0, 20).presence(2.0),
                Some(false)
            ))
        );
        assert_eq!(of("qwen35", "any", "2B").unwrap().2, Some(false));
        assert_eq!(of("qwen35", "Qwen3.5 4B", "4B").unwrap().2, None);
        assert_eq!(
            of("llama", "Llama-3.2-1B-Instruct", "1B").unwrap().0,
            card(0.6, 0.9, 0)
        );
        assert_eq!(of("llama", "stories260K", ""), None);
        assert_eq!(
            of("mistral3", "Ministral-3-3B-Reasoning-2512", "").unwrap().0,
            card(0.7, 0.95, 0)
        );
    }
}
