//! The chain itself.

use super::candidates::{Candidate, likelier_first, prefix_by_weight, select_above, select_top, total};
use super::dry::Dry;
use super::history::History;
use super::mask::TokenMask;
use super::params::Params;
use super::random::Random;
use super::{penalties, softmax, truncate};
use crate::Result;

/// The token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Its id.
    pub id: u32,
    /// The natural logarithm of its probability by the logits as they came: before bias, penalties, filters and
    /// temperature, as in OpenAI's `logprobs`.
    pub logprob: f32,
    /// The same among the tokens that were allowed.
    pub logprob_allowed: f32,
}

/// Chooses tokens by one set of parameters, one text at a time.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    suppressed: Vec<u32>,
    history: History,
    random: Random,
    dry: Dry,
    /// The logits under change, as long as the vocabulary.
    logits: Vec<f32>,
    candidates: Vec<Candidate>,
    /// The logarithm of the sum of the exponentials of the allowed logits, if not all are.
    allowed_sum: Option<(f32, f32)>,
}

/// A temperature whose reciprocal is still finite.
const COLDEST: f32 = 1e-30;

/// Whether tokens are less likely for having been there.
fn counts(params: &Params) -> bool {
    params.repeat_penalty != 1.0 || params.frequency_penalty != 0.0 || params.presence_penalty != 0.0
}

impl Sampler {
    /// `suppressed`: tokens that are never chosen.
    pub fn new(params: Params, suppressed: &[u32]) -> Result<Sampler> {
        params.validate()?;
        let dry_last_n = if params.dry_multiplier > 0.0 {
            params.dry_last_n
        } else {
            0
        };
        let count_last_n = match counts(&params) {
            true => params.penalty_last_n,
            false => 0,
        };
        Ok(Sampler {
            suppressed: suppressed.to_vec(),
            history: History::new(count_last_n, dry_last_n),
            random: Random::new(params.seed),
            dry: Dry::default(),
            logits: Vec::new(),
            candidates: Vec::new(),
            allowed_sum: None,
            params,
        })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Takes note of a token of the text: each token of the prompt, and each chosen one.
    pub fn accept(&mut self, id: u32) {
        self.history.push(id);
    }

    /// Forgets the text and begins again with the seed.
    pub fn reset(&mut self) {
        self.history.clear();
        self.random = Random::new(self.params.seed);
    }

    /// Chooses the next token. `logits`: one per token of the vocabulary, at least one. `allowed` limits the choice; a
    /// set without any token of the vocabulary is no limit. Call [`Self::accept`] with the token that is used.
    ///
    /// NaN counts as negative infinity. If nothing is left to choose from, the lowest id is chosen that is allowed.
    pub fn sample(&mut self, logits: &[f32], allowed: Option<&TokenMask>) -> Choice {
        let id = self.choose(logits, allowed);
        let logit = logits.get(id as usize).copied().unwrap_or(f32::NAN);
        let logprob = softmax::logprob(logits, id);
        let logprob_allowed = match self.allowed_sum {
            None => logprob,
            Some(sum) => softmax::log_probability(logit, sum),
        };
        Choice {
            id,
            logprob,
            logprob_allowed,
        }
    }

    /// The likeliest of the first tokens, whose logits these are, with the biases that the caller asked for: a guess at what will be
    /// chosen. Nothing is drawn.
    pub fn likeliest(&self, logits: &[f32]) -> u32 {
        let bias = |id: u32| -> f32 {
            let biases = self.params.logit_bias.iter();
            biases.filter(|(of, _)| *of == id).map(|(_, bias)| bias).sum()
        };
        let best =
            |best: (u32, f32), (id, logit): (u32, f32)| if logit > best.1 { (id, logit) } else { best };
        let plain = (0u32..).zip(logits.iter().copied());
        let plain = plain.fold((0, f32::NEG_INFINITY), best);
        let biased = self.params.logit_bias.iter();
        let biased = biased.filter_map(|(id, _)| Some((*id, logits.get(*id as usize)? + bias(*id))));
        // A token whose bias makes it less likely than it looks is guessed all the same: that is no more than a wrong guess.
        biased.fold(plain, best).0
    }

    fn choose(&mut self, logits: &[f32], allowed: Option<&TokenMask>) -> u32 {
        let lowest = allowed.and_then(|mask| mask.iter().find(|&id| (id as usize) < logits.len()));
        let allowed = allowed.filter(|_| lowest.is_some());
        if allowed.is_none() && self.takes_the_likeliest() {
            self.allowed_sum = None;
            select_top(logits, 1, &mut self.candidates);
            return self.candidates.first().map_or(0, |c| c.id);
        }
        self.copy(logits, allowed);
        self.allowed_sum = allowed.map(|_| softmax::log_sum_exp(&self.logits));
        let params = &self.params;
        penalties::bias(&mut self.logits, &params.logit_bias, &self.suppressed);
        penalties::repetition(&mut self.logits, &self.history, params);
        self.dry
            .apply(&mut self.logits, self.history.last(params.dry_last_n), params);

        let greedy = params.temperature <= 0.0;
        let all = self.logits.len();
        let k = match usize::try_from(params.top_k) {
            _ if greedy => 1,
            Ok(k @ 1..) => k.min(all),
            _ => all,
        };
        if !greedy && params.top_n_sigma > 0.0 {
            let floor = truncate::sigma_floor(&self.logits, params.top_n_sigma);
            self.logits
                .iter_mut()
                .filter(|logit| **logit < floor)
                .for_each(|logit| *logit = f32::NEG_INFINITY);
        }
        if greedy {
            select_top(&self.logits, 1, &mut self.candidates);
            return self.candidates.first().map(|c| c.id).or(lowest).unwrap_or(0);
        }
        // Chance is drawn here, whether or not it is needed, so that the stream does not depend on the logits.
        let Params {
            typical_p,
            xtc_probability,
            ..
        } = self.params;
        let exclude = xtc_probability > 0.0 && self.random.uniform() < f64::from(xtc_probability);
        let chance = self.random.uniform();
        if k == all
            && typical_p >= 1.0
            && xtc_probability == 0.0
            && let Some(id) = self.choose_near_the_top(chance)
        {
            return id;
        }
        select_top(&self.logits, k, &mut self.candidates);
        if self.candidates.is_empty() {
            return lowest.unwrap_or(0);
        }
        self.filter(exclude);
        let late = self.late_temperature();
        truncate::weigh(&mut self.candidates, late);
        self.draw(chance * total(&self.candidates))
    }

    /// Whether the choice is the largest of the logits as they are: then they need not be copied.
    fn takes_the_likeliest(&self) -> bool {
        let Params {
            temperature,
            logit_bias,
            dry_multiplier,
            ..
        } = &self.params;
        let plain = logit_bias.is_empty() && self.suppressed.is_empty();
        *temperature <= 0.0 && plain && !counts(&self.params) && *dry_multiplier <= 0.0
    }

    /// The logits into our buffer, made sane, and forbidden where a constraint forbids them.
    fn copy(&mut self, logits: &[f32], allowed: Option<&TokenMask>) {
        self.logits.resize(logits.len(), f32::NEG_INFINITY);
        match allowed {
            None => {
                for (place, &logit) in self.logits.iter_mut().zip(logits) {
                    *place = penalties::sane(logit);
                }
            }
            Some(mask) => {
                self.logits.fill(f32::NEG_INFINITY);
                for (place, (&word, run)) in self
                    .logits
                    .chunks_mut(32)
                    .zip(mask.words().iter().zip(logits.chunks(32)))
                {
                    if word == 0 {
                        continue;
                    }
                    for (bit, (place, &logit)) in place.iter_mut().zip(run).enumerate() {
                        if word >> bit & 1 == 1 {
                            *place = penalties::sane(logit);
                        }
                    }
                }
            }
        }
    }

    /// What divides the logits before top-k.
    fn early_temperature(&self) -> f32 {
        if self.params.temperature_first {
            self.params.temperature.max(COLDEST)
        } else {
            1.0
        }
    }

    /// What divides them before the draw.
    fn late_temperature(&self) -> f32 {
        if self.params.temperature_first {
            1.0
        } else {
            self.params.temperature.max(COLDEST)
        }
    }

    /// The same choice without looking at the whole vocabulary one by one, for the case that only top-p, min-p and
    /// temperature are on. Nearly always the choice falls among the tokens within a few orders of magnitude of the
    /// most likely one; what the others weigh together is one vectorised sum. `None` if it does not fall there.
    fn choose_near_the_top(&mut self, chance: f64) -> Option<u32> {
        /// e⁻¹⁰ is 5 in 100,000.
        const REACH: f32 = 10.0;
        let (early, late) = (self.early_temperature(), self.late_temperature());
        let Params { top_p, min_p, .. } = self.params;
        let max = softmax::max(&self.logits);
        if max == f32::NEG_INFINITY {
            return None;
        }
        let reach = max - REACH * early * late.max(1.0);
        let min_p_floor = if min_p > 0.0 {
            max + early * min_p.ln()
        } else {
            f32::NEG_INFINITY
        };
        select_above(&self.logits, reach.max(min_p_floor), &mut self.candidates);
        if early != 1.0 {
            truncate::scale(&mut self.candidates, early);
        }
        // Whether the candidates hold all that the filters leave: all that min-p leaves, or all that top-p leaves.
        let mut complete = min_p_floor >= reach;
        if top_p < 1.0 {
            let sum = softmax::sum_exp(&self.logits, max, early);
            truncate::weigh(&mut self.candidates, 1.0);
            if total(&self.candidates) >= f64::from(top_p) * sum {
                truncate::top_p(&mut self.candidates, top_p, sum);
                complete = true;
            }
        }
        if !complete && (top_p < 1.0 || min_p > 0.0) {
            return None;
        }
        truncate::weigh(&mut self.candidates, late);
        let inside = total(&self.candidates);
        let sum = if complete {
            inside
        } else {
            softmax::sum_exp(&self.logits, max, early * late)
        };
        let mark = chance * sum;
        (complete || mark < inside).then(|| self.draw(mark))
    }

    /// From typical to XTC. The weights stay valid throughout: filters only take tokens away.
    fn filter(&mut self, exclude: bool) {
        let Params {
            typical_p,
            top_p,
            min_p,
            xtc_threshold,
            ..
        } = self.params;
        let early = self.early_temperature();
        let candidates = &mut self.candidates;
        if early != 1.0 {
            truncate::scale(candidates, early);
        }
        if typical_p < 1.0 || top_p < 1.0 || exclude {
            truncate::weigh(candidates, 1.0);
        }
        if typical_p < 1.0 {
            truncate::typical(candidates, typical_p);
        }
        if top_p < 1.0 {
            let sum = total(candidates);
            truncate::top_p(candidates, top_p, sum);
        }
        if min_p > 0.0 {
            truncate::min_p(candidates, min_p);
        }
        if exclude {
            truncate::xtc(candidates, xtc_threshold);
        }
    }

    /// The token at which the sum of weights, most likely first, passes `mark`.
    fn draw(&mut self, mark: f64) -> u32 {
        let place = prefix_by_weight(&mut self.candidates, likelier_first, mark, true);
        self.candidates.get(place.saturating_sub(1)).map_or(0, |c| c.id)
    }
}
