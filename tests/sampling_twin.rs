//! The sampler as a whole: hostile logits, seeds, chance, and the fast path against a slow twin.

use fanlight::sample::{Choice, Params, Random, Sampler, top_logprobs};

/// All filters off, temperature 1.
fn plain() -> Params {
    Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..Params::default()
    }
}

fn sampler(params: Params) -> Sampler {
    Sampler::new(params, &[]).unwrap()
}

#[test]
fn hostile_logits_end_in_a_choice() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let everything = Params {
        typical_p: 0.9,
        top_p: 0.9,
        min_p: 0.1,
        top_n_sigma: 1.0,
        xtc_probability: 1.0,
        repeat_penalty: 1.5,
        dry_multiplier: 1.0,
        ..plain()
    };
    for logits in [
        vec![nan; 40],
        vec![-inf; 40],
        vec![inf; 40],
        vec![f32::MIN; 40],
        vec![f32::MAX; 40],
        (0..40)
            .map(|i| [nan, inf, -inf, 1.0, f32::MAX, f32::MIN][i % 6])
            .collect(),
    ] {
        for params in [plain(), Params::greedy(), Params::default(), everything.clone()] {
            let mut sampler = sampler(params);
            (0..20).for_each(|i| sampler.accept(i % 3));
            for _ in 0..5 {
                let Choice { id, logprob, .. } = sampler.sample(&logits, None);
                assert!(id < 40 && !logprob.is_nan(), "{id} {logprob} of {logits:?}");
                sampler.accept(id);
            }
        }
        assert_eq!(
            top_logprobs(&logits, 3)
                .iter()
                .filter(|(_, p)| p.is_nan())
                .count(),
            0
        );
    }
    assert_eq!(
        sampler(Params::greedy()).sample(&[nan, -inf, 1.0, nan], None).id,
        2
    );
    let mut chance = sampler(plain());
    assert!((0..100).all(|_| [1, 2].contains(&chance.sample(&[nan, 1.0, 1.0, -inf], None).id)));
}

#[test]
fn the_seed_decides() {
    let logits: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin()).collect();
    let run = |sampler: &mut Sampler| -> Vec<u32> {
        (0..50)
            .map(|_| {
                let id = sampler.sample(&logits, None).id;
                sampler.accept(id);
                id
            })
            .collect()
    };
    let params = |seed| Params {
        seed,
        presence_penalty: 0.5,
        xtc_probability: 0.3,
        ..Params::default()
    };
    let mut first = sampler(params(7));
    let text = run(&mut first);
    assert_eq!(run(&mut sampler(params(7))), text);
    assert_ne!(run(&mut first), text, "the stream goes on");
    first.reset();
    assert_eq!(run(&mut first), text);
    assert_ne!(run(&mut sampler(params(8))), text);
}

/// Pearson's statistic against the expected counts; 4 degrees of freedom exceed 18.5 once in a thousand.
#[test]
fn draws_follow_the_probabilities() {
    let logits = [1.0f32, 0.0, 2.0, -1.0, 0.5];
    for (seed, temperature) in [(1, 1.0f32), (2, 2.0), (3, 0.6)] {
        let mut sampler = sampler(Params {
            seed,
            temperature,
            ..plain()
        });
        let n = 40_000;
        let mut seen = [0u32; 5];
        (0..n).for_each(|_| seen[sampler.sample(&logits, None).id as usize] += 1);
        let weights = logits.map(|l| f64::from(l / temperature).exp());
        let statistic: f64 = (0..5)
            .map(|i| {
                let expected = f64::from(n) * weights[i] / weights.iter().sum::<f64>();
                (f64::from(seen[i]) - expected).powi(2) / expected
            })
            .sum();
        assert!(
            statistic < 18.5,
            "temperature {temperature}: {seen:?}, {statistic}"
        );
    }
}

/// The chain again, over all tokens in sorted order, in double precision, with nothing clever in it.
mod slow {
    use super::*;

    fn softmax(tokens: &[(u32, f64)]) -> Vec<f64> {
        let max = tokens.iter().map(|t| t.1).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = tokens.iter().map(|t| (t.1 - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }

    fn sort(tokens: &mut [(u32, f64)]) {
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }

    pub fn sample(logits: &[f32], params: &Params, random: &mut Random) -> u32 {
        let mut tokens: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|&l| f64::from(l))).collect();
        if params.top_n_sigma > 0.0 {
            let n = tokens.len() as f64;
            let mean = tokens.iter().map(|t| t.1).sum::<f64>() / n;
            let sigma = (tokens.iter().map(|t| (t.1 - mean).powi(2)).sum::<f64>() / n).sqrt();
            let max = tokens.iter().map(|t| t.1).fold(f64::NEG_INFINITY, f64::max);
            tokens.retain(|t| t.1 >= max - f64::from(params.top_n_sigma) * sigma);
        }
        sort(&mut tokens);
        let temperature = f64::from(params.temperature);
        let (early, late) = if params.temperature_first {
            (temperature, 1.0)
        } else {
            (1.0, temperature)
        };
        tokens.iter_mut().for_each(|t| t.1 /= early);
        if params.top_k > 0 {
            tokens.truncate(params.top_k as usize);
        }
        let exclude = params.xtc_probability > 0.0 && random.uniform() < f64::from(params.xtc_probability);
        if params.typical_p < 1.0 {
            let p = softmax(&tokens);
            let entropy: f64 = p.iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
            let mut order: Vec<usize> = (0..tokens.len()).collect();
            order.sort_by(|&a, &b| {
                (-p[a].ln() - entropy)
                    .abs()
                    .total_cmp(&(-p[b].ln() - entropy).abs())
            });
            let mut sum = 0.0;
            let mut left = Vec::new();
            for i in order {
                left.push(tokens[i]);
                sum += p[i];
                if sum > f64::from(params.typical_p) {
                    break;
                }
            }
            tokens = left;
            sort(&mut tokens);
        }
        if params.top_p < 1.0 {
            let mut sum = 0.0;
            let keep = softmax(&tokens).iter().position(|p| {
                sum += p;
                sum >= f64::from(params.top_p)
            });
            tokens.truncate(keep.map_or(tokens.len(), |last| last + 1));
        }
        if params.min_p > 0.0 {
            let p = softmax(&tokens);
            let keep = p.iter().filter(|&&x| x >= f64::from(params.min_p) * p[0]).count();
            tokens.truncate(keep);
        }
        if exclude {
            let top = softmax(&tokens)
                .iter()
                .filter(|&&p| p >= f64::from(params.xtc_threshold))
                .count();
            tokens.drain(..top.saturating_sub(1));
        }
        tokens.iter_mut().for_each(|t| t.1 /= late);
        let mark = random.uniform();
        let mut sum = 0.0;
        let place = softmax(&tokens).iter().position(|p| {
            sum += p;
            sum > mark
        });
        tokens[place.unwrap_or(tokens.len() - 1)].0
    }
}

#[test]
fn the_fast_path_agrees_with_its_slow_twin_over_a_large_vocabulary() {
    const VOCABULARY: usize = 248_320;
    let mut noise = Random::new(99);
    // A sum of four uniform numbers is bell-shaped; spread as the logits of a model are.
    let mut logits = |spread: f32| -> Vec<f32> {
        (0..VOCABULARY)
            .map(|_| ((0..4).map(|_| noise.uniform()).sum::<f64>() as f32 - 2.0) * spread)
            .collect()
    };
    let flat = logits(3.0);
    let mut peaked = logits(6.0);
    (0..30).for_each(|i| peaked[i * 7919] += 12.0 + (i as f32) * 0.1);
    // Many equal values, as after a coarse quantisation.
    let stepped: Vec<f32> = logits(6.0).iter().map(|l| (l * 4.0).round() / 4.0).collect();

    let sets = [
        plain(),
        Params::default(),
        Params {
            top_k: 1000,
            top_p: 0.9,
            ..plain()
        },
        Params {
            top_p: 0.9,
            ..plain()
        },
        Params {
            top_p: 0.3,
            temperature: 1.5,
            ..plain()
        },
        Params {
            min_p: 0.02,
            ..plain()
        },
        Params {
            typical_p: 0.5,
            ..plain()
        },
        Params {
            typical_p: 0.9,
            top_k: 500,
            min_p: 0.01,
            ..plain()
        },
        Params {
            top_n_sigma: 2.5,
            temperature: 0.7,
            ..plain()
        },
        Params {
            xtc_probability: 0.5,
            xtc_threshold: 0.01,
            top_k: 100,
            ..plain()
        },
    ];
    for (name, logits) in [("flat", &flat), ("peaked", &peaked), ("stepped", &stepped)] {
        for (i, params) in sets.iter().enumerate() {
            let params = Params {
                seed: i as u64,
                ..params.clone()
            };
            let mut random = Random::new(params.seed);
            let mut fast = sampler(params.clone());
            for draw in 0..3 {
                let expected = slow::sample(logits, &params, &mut random);
                assert_eq!(
                    fast.sample(logits, None).id,
                    expected,
                    "{name} logits, draw {draw}, {params:?}"
                );
            }
        }
    }
}
