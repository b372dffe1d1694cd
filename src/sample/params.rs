//! What a caller can ask of the sampler.

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

/// The parameters of the chain. The defaults are those of llama.cpp, but for a seed that is always the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Params {
    /// Divides the logits before the draw; at 0 or less the most likely token is taken, and of the filters only bias,
    /// penalties and DRY apply.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 or less keeps all.
    pub top_k: i32,
    /// Keeps the most likely tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less likely than this times the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Keeps the tokens closest to the expected surprise that together exceed this probability; 1 keeps all.
    pub typical_p: f32,
    /// Drops tokens whose logit is more than this many standard deviations below the largest; 0 or less keeps all.
    pub top_n_sigma: f32,
    /// How often XTC applies, from 0 (never) to 1.
    pub xtc_probability: f32,
    /// XTC removes all tokens at least this likely, except the least likely of them.
    pub xtc_threshold: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1 is none.
    pub repeat_penalty: f32,
    /// Subtracted for each time a token occurs among the recent ones.
    pub frequency_penalty: f32,
    /// Subtracted once if a token occurs among the recent ones.
    pub presence_penalty: f32,
    /// How many recent tokens the three penalties look at, prompt included; -1 is all, 0 none.
    pub penalty_last_n: i32,
    /// Strength of DRY, the penalty on continuing a repeated sequence; 0 is none.
    pub dry_multiplier: f32,
    /// DRY grows by this factor with each repeated token more.
    pub dry_base: f32,
    /// Repetitions shorter than this many tokens are free.
    pub dry_allowed_length: u32,
    /// How many recent tokens DRY looks at; -1 is all, 0 none.
    pub dry_last_n: i32,
    /// Token sequences over which no repetition reaches: a line break, quotes, a turn marker, ...
    pub dry_breakers: Vec<Vec<u32>>,
    /// Puts temperature before top-k instead of before the draw.
    pub temperature_first: bool,
    /// The same seed, logits and history give the same tokens.
    pub seed: u64,
    /// Added to the logits of these tokens; negative infinity forbids one.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            top_n_sigma: -1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: 64,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_last_n: 64,
            dry_breakers: Vec::new(),
            temperature_first: false,
            seed: 0,
            logit_bias: Vec::new(),
        }
    }
}

impl Params {
    /// Always the most likely token, with no penalty of any kind.
    pub fn greedy() -> Params {
        Params {
            temperature: 0.0,
            ..Params::default()
        }
    }

    /// Refuses values that make no sense, naming the field, the value and the range.
    pub fn validate(&self) -> Result<()> {
        let float = |name: &str, value: f32, range: std::ops::RangeInclusive<f32>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (low, high) = (range.start(), range.end());
            Err(invalid(name, value, &format!("a number from {low} to {high}")))
        };
        // Wide enough for every use that we know, and far from overflow.
        float("temperature", self.temperature, -100.0..=100.0)?;
        float("top_p", self.top_p, 0.0..=1.0)?;
        float("min_p", self.min_p, 0.0..=1.0)?;
        float("typical_p", self.typical_p, 0.0..=1.0)?;
        float("top_n_sigma", self.top_n_sigma, -100.0..=100.0)?;
        float("xtc_probability", self.xtc_probability, 0.0..=1.0)?;
        float("xtc_threshold", self.xtc_threshold, 0.0..=1.0)?;
        float("repeat_penalty", self.repeat_penalty, 0.01..=100.0)?;
        float("frequency_penalty", self.frequency_penalty, -100.0..=100.0)?;
        float("presence_penalty", self.presence_penalty, -100.0..=100.0)?;
        float("dry_multiplier", self.dry_multiplier, 0.0..=100.0)?;
        float("dry_base", self.dry_base, 1.0..=100.0)?;
        for (name, value) in [
            ("penalty_last_n", self.penalty_last_n),
            ("dry_last_n", self.dry_last_n),
        ] {
            if value < -1 {
                return Err(invalid(name, value, "-1 or more"));
            }
        }
        if self.dry_allowed_length == 0 {
            return Err(invalid("dry_allowed_length", 0, "1 or more"));
        }
        if self.dry_breakers.iter().any(Vec::is_empty) {
            return Err(invalid("dry_breakers", "an empty sequence", "at least one token"));
        }
        for &(id, bias) in &self.logit_bias {
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(invalid(
                    &format!("logit_bias of token {id}"),
                    bias,
                    "a finite number, or -inf",
                ));
            }
        }
        Ok(())
    }
}

fn invalid(name: &str, found: impl std::fmt::Display, expected: &str) -> Error {
    Error::new(
        Kind::InvalidArgument,
        format!("{name}: found {found}, expected {expected}"),
    )
}
