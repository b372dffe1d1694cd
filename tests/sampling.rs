//! Every filter of the sampler on cases worked out by hand, and the order of the chain. Long for its tables.

use std::collections::{BTreeMap, BTreeSet};

use fanlight::Kind;
use fanlight::sample::{Params, Sampler, TokenMask, top_logprobs};

/// All filters off, temperature 1: what is not named in a test does nothing.
fn plain() -> Params {
    Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..Params::default()
    }
}

fn greedy() -> Params {
    Params {
        temperature: 0.0,
        ..plain()
    }
}

fn sampler(params: Params) -> Sampler {
    Sampler::new(params, &[]).unwrap()
}

fn logits_of(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

/// How often each token is chosen in 3,000 draws.
fn counts(params: Params, logits: &[f32]) -> BTreeMap<u32, u32> {
    let mut sampler = sampler(params);
    let mut counts = BTreeMap::new();
    for _ in 0..3000 {
        *counts.entry(sampler.sample(logits, None).id).or_default() += 1;
    }
    counts
}

/// The tokens that the filters leave. Every token in these tests has a probability of at least 2 %, so 3,000 draws miss
/// one with a chance below 10⁻²⁶.
fn kept(params: Params, logits: &[f32]) -> Vec<u32> {
    counts(params, logits).into_keys().collect()
}

/// The greedy choice after this text.
fn best(params: Params, text: &[u32], logits: &[f32]) -> u32 {
    let mut sampler = sampler(params);
    text.iter().for_each(|&id| sampler.accept(id));
    sampler.sample(logits, None).id
}

#[test]
fn greedy_chooses_the_same_whether_or_not_the_logits_are_copied() {
    // A bias of nothing makes the sampler work on a copy.
    let copied = || Params {
        logit_bias: vec![(0, 0.0)],
        ..greedy()
    };
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, -0.0];
    let mut state = 1u64;
    for n in 1..600 {
        let logits: Vec<f32> = (0..n)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                match (state >> 33) % 40 {
                    i @ 0..6 => strange[i as usize],
                    i => (i / 4) as f32 - 5.0,
                }
            })
            .collect();
        assert_eq!(
            best(greedy(), &[], &logits),
            best(copied(), &[], &logits),
            "{logits:?}"
        );
    }
    let nothing = [f32::NAN; 70];
    assert_eq!(best(greedy(), &[], &nothing), best(copied(), &[], &nothing));
}

#[test]
fn greedy_takes_the_most_likely_and_of_equals_the_lowest_id() {
    for (logits, id) in [
        (&[0.0, 2.0, 1.0][..], 1),
        (&[1.0, 3.0, 3.0], 1),
        (&[-5.0], 0),
        (&[f32::MIN, -1e30], 1),
    ] {
        assert_eq!(best(greedy(), &[], logits), id, "{logits:?}");
        assert_eq!(
            best(
                Params {
                    temperature: -1.0,
                    ..greedy()
                },
                &[],
                logits
            ),
            id,
            "{logits:?}"
        );
    }
    // Filters that could remove the most likely token do not apply.
    let all = Params {
        typical_p: 0.1,
        xtc_probability: 1.0,
        xtc_threshold: 0.0,
        ..greedy()
    };
    assert_eq!(best(all, &[], &logits_of(&[0.5, 0.25, 0.25])), 0);
}

#[test]
fn top_k() {
    let logits = logits_of(&[0.1, 0.4, 0.3, 0.2]);
    for (k, expected) in [
        (1, &[1][..]),
        (2, &[1, 2]),
        (3, &[1, 2, 3]),
        (9, &[0, 1, 2, 3]),
        (-1, &[0, 1, 2, 3]),
    ] {
        assert_eq!(kept(Params { top_k: k, ..plain() }, &logits), expected, "k = {k}");
    }
    // Of equals the lowest ids stay.
    assert_eq!(kept(Params { top_k: 2, ..plain() }, &[1.0, 1.0, 1.0]), [0, 1]);
}

#[test]
fn top_p() {
    // In order: 0.4, 0.7, 0.9, 1.0.
    let logits = logits_of(&[0.1, 0.4, 0.3, 0.2]);
    for (p, expected) in [
        (0.0, &[1][..]),
        (0.39, &[1]),
        (0.41, &[1, 2]),
        (0.69, &[1, 2]),
        (0.71, &[1, 2, 3]),
        (0.95, &[0, 1, 2, 3]),
    ] {
        assert_eq!(kept(Params { top_p: p, ..plain() }, &logits), expected, "p = {p}");
    }
}

#[test]
fn min_p() {
    // The largest is 0.4, so 0.5 asks for 0.2 (less a hair here), 0.6 for 0.24, 0.8 for 0.32.
    let logits = logits_of(&[0.1, 0.4, 0.3, 0.2]);
    for (p, expected) in [
        (0.2, &[0, 1, 2, 3][..]),
        (0.49, &[1, 2, 3]),
        (0.6, &[1, 2]),
        (0.8, &[1]),
        (1.0, &[1]),
    ] {
        assert_eq!(kept(Params { min_p: p, ..plain() }, &logits), expected, "p = {p}");
    }
}

#[test]
fn typical() {
    // In units of ln 2 the surprises are 1, 2, 3, 3 and the entropy is 0.5·1 + 0.25·2 + 0.125·3 + 0.125·3 = 1.75.
    // Distances 0.75, 0.25, 1.25, 1.25: the order is 1, 0, 2, 3, with sums 0.25, 0.75, 0.875, 1.
    let logits = logits_of(&[0.5, 0.25, 0.125, 0.125]);
    for (p, expected) in [
        (0.2, &[1][..]),
        (0.3, &[0, 1]),
        (0.7, &[0, 1]),
        (0.8, &[0, 1, 2]),
        (0.9, &[0, 1, 2, 3]),
    ] {
        assert_eq!(
            kept(
                Params {
                    typical_p: p,
                    ..plain()
                },
                &logits
            ),
            expected,
            "p = {p}"
        );
    }
}

#[test]
fn top_n_sigma() {
    // Mean (4+2+1+1)/4 = 2; variance (4+0+1+1)/4 = 1.5; deviation 1.2247. Floors: 4 - 1.2247 n.
    // n = 1.5 gives 2.163, n = 1.7 gives 1.918, n = 2.5 gives 0.938.
    let logits = [4.0, 2.0, 1.0, 1.0];
    for (n, expected) in [
        (1.5, &[0][..]),
        (1.7, &[0, 1]),
        (2.5, &[0, 1, 2, 3]),
        (0.0, &[0, 1, 2, 3]),
    ] {
        assert_eq!(
            kept(
                Params {
                    top_n_sigma: n,
                    ..plain()
                },
                &logits
            ),
            expected,
            "n = {n}"
        );
    }
    // A forbidden token does not count: with it, the deviation would be infinite.
    let with_forbidden = [4.0, 2.0, 1.0, 1.0, f32::NEG_INFINITY];
    assert_eq!(
        kept(
            Params {
                top_n_sigma: 1.5,
                ..plain()
            },
            &with_forbidden
        ),
        [0]
    );
}

#[test]
fn xtc() {
    let logits = logits_of(&[0.4, 0.3, 0.2, 0.1]);
    let params = |threshold| Params {
        xtc_probability: 1.0,
        xtc_threshold: threshold,
        ..plain()
    };
    // At 0.15 the top choices are 0, 1, 2, and 2 stays; at 0.25 they are 0 and 1; at 0.35 one alone, which stays.
    for (threshold, expected) in [
        (0.15, &[2, 3][..]),
        (0.25, &[1, 2, 3]),
        (0.35, &[0, 1, 2, 3]),
        (0.5, &[0, 1, 2, 3]),
    ] {
        assert_eq!(
            kept(params(threshold), &logits),
            expected,
            "threshold = {threshold}"
        );
    }
    // Of equal top choices one stays.
    assert_eq!(kept(params(0.2), &logits_of(&[0.45, 0.45, 0.1])).len(), 2);
    // Applied half the time, 0.4 becomes 0.2 and is left with 600 of 3,000 draws, give or take 5 deviations of 22.
    let half = counts(
        Params {
            xtc_probability: 0.5,
            ..params(0.15)
        },
        &logits,
    );
    assert!((490..=710).contains(&half[&0]), "{half:?}");
}

#[test]
fn temperature() {
    // ln 8 / 3 = ln 2: the odds of 8 to 1 become 2 to 1 at T = 3, so 2,000 of 3,000, deviation 26.
    let hot = counts(
        Params {
            temperature: 3.0,
            ..plain()
        },
        &[8.0f32.ln(), 0.0],
    );
    assert!((1870..=2130).contains(&hot[&0]), "{hot:?}");
    // At T = 1/2 the odds of 3 to 1 become 9 to 1: 2,700, deviation 16.
    let cold = counts(
        Params {
            temperature: 0.5,
            ..plain()
        },
        &[3.0f32.ln(), 0.0],
    );
    assert!((2620..=2780).contains(&cold[&0]), "{cold:?}");
    // So cold that only the best is left, without overflow.
    assert_eq!(
        kept(
            Params {
                temperature: 1e-30,
                ..plain()
            },
            &[3e38, 2e38, -3e38]
        ),
        [0]
    );
    assert_eq!(
        kept(
            Params {
                temperature: 1e-30,
                temperature_first: true,
                ..plain()
            },
            &[3e38, 2e38, -3e38]
        ),
        [0]
    );
}

#[test]
fn bias_and_suppressed_tokens() {
    let biased = |bias: &[(u32, f32)]| Params {
        logit_bias: bias.to_vec(),
        ..greedy()
    };
    let logits = [1.0, 2.0, 3.0];
    assert_eq!(best(biased(&[(0, 2.5)]), &[], &logits), 0); // 3.5 > 3
    assert_eq!(best(biased(&[(0, 1.5)]), &[], &logits), 2); // 2.5 < 3
    assert_eq!(best(biased(&[(2, f32::NEG_INFINITY)]), &[], &logits), 1);
    assert_eq!(best(biased(&[(2, -1.5), (99, 5.0)]), &[], &logits), 1); // 1.5 < 2; no token 99
    let mut sampler = Sampler::new(biased(&[(2, 100.0)]), &[2, 99]).unwrap();
    assert_eq!(sampler.sample(&logits, None).id, 1);
}

#[test]
fn repetition_penalties() {
    // Token 0 occurs three times among the last four. Token 1 stands still and shows on which side the result is.
    let text = [9, 0, 0, 5, 0];
    let penalized = |repeat, frequency, presence, last_n, logit: f32, other: f32| {
        let params = Params {
            repeat_penalty: repeat,
            frequency_penalty: frequency,
            presence_penalty: presence,
            penalty_last_n: last_n,
            ..greedy()
        };
        best(params, &text, &[logit, other]) == 1
    };
    for (repeat, frequency, presence, last_n, logit, result) in [
        (2.0, 0.0, 0.0, 4, 3.0, 1.5),    // 3 / 2
        (2.0, 0.0, 0.0, 4, -3.0, -6.0),  // -3 · 2
        (1.0, 0.5, 0.0, 4, 3.0, 1.5),    // 3 - 3 · 0.5
        (1.0, 0.5, 0.0, 3, 3.0, 2.0),    // 3 - 2 · 0.5: of the last three, two are token 0
        (1.0, 0.5, 0.0, 1, 3.0, 2.5),    // 3 - 1 · 0.5
        (1.0, 0.5, 0.0, -1, 3.0, 1.5),   // all five: still three
        (1.0, 0.0, 0.75, 4, 3.0, 2.25),  // 3 - 0.75, once
        (2.0, 0.5, 0.75, 4, 3.0, -0.75), // 3 / 2 - 3 · 0.5 - 0.75
        (1.0, -0.5, 0.0, 4, 3.0, 4.5),   // a negative penalty encourages
        (2.0, 0.5, 0.75, 0, 3.0, 3.0),   // no tokens looked at
    ] {
        let name = format!("{repeat} {frequency} {presence} last {last_n}: {logit} to {result}");
        assert!(
            penalized(repeat, frequency, presence, last_n, logit, result + 0.01),
            "{name}, too high"
        );
        assert!(
            !penalized(repeat, frequency, presence, last_n, logit, result - 0.01),
            "{name}, too low"
        );
    }
}

#[test]
fn dry() {
    let params = |allowed, last_n, breakers: &[&[u32]]| Params {
        dry_multiplier: 0.5,
        dry_base: 2.0,
        dry_allowed_length: allowed,
        dry_last_n: last_n,
        dry_breakers: breakers.iter().map(|b| b.to_vec()).collect(),
        ..greedy()
    };
    // 1 2 3 4 ... 1 2 3: token 4 would continue a repetition of three tokens.
    let text = [1, 2, 3, 4, 7, 8, 1, 2, 3];
    let twice = [2, 3, 5, 1, 2, 3, 4, 1, 2, 3];
    let cases: &[(&str, Params, &[u32], u32, f32)] = &[
        ("0.5 · 2^(3-2) = 1", params(2, 64, &[]), &text, 4, 1.0),
        ("0.5 · 2^(3-1) = 2", params(1, 64, &[]), &text, 4, 2.0),
        ("0.5 · 2^(3-3) = 0.5", params(3, 64, &[]), &text, 4, 0.5),
        ("too short", params(4, 64, &[]), &text, 4, 0.0),
        ("another token is free", params(2, 64, &[]), &text, 7, 0.0),
        ("all tokens", params(2, -1, &[]), &text, 4, 1.0),
        (
            "the first 1 is out of sight, so the length is 2: 0.5",
            params(2, 8, &[]),
            &text,
            4,
            0.5,
        ),
        ("none looked at", params(2, 0, &[]), &text, 4, 0.0),
        (
            "a breaker after the 1 leaves two tokens: 0.5",
            params(2, 64, &[&[1]]),
            &text,
            4,
            0.5,
        ),
        (
            "a breaker after 1 2 leaves one",
            params(2, 64, &[&[1, 2]]),
            &text,
            4,
            0.0,
        ),
        (
            "no such breaker",
            params(2, 64, &[&[2, 1], &[3, 2]]),
            &text,
            4,
            1.0,
        ),
        (
            "the last breaker counts",
            params(2, 64, &[&[1], &[2]]),
            &text,
            4,
            0.0,
        ),
        (
            "after 2 3 came 5: 0.5 · 2^(2-2) = 0.5",
            params(2, 64, &[]),
            &twice,
            5,
            0.5,
        ),
        ("and after 1 2 3 came 4: 1", params(2, 64, &[]), &twice, 4, 1.0),
        // 6 6 6 6: after three equal tokens stands one more.
        (
            "a run: 0.5 · 2^(3-2) = 1",
            params(2, 64, &[]),
            &[6, 6, 6, 6],
            6,
            1.0,
        ),
    ];
    for (name, params, text, token, penalty) in cases {
        // The token stands at 3, and token 0 shows on which side of 3 - penalty it comes to lie.
        let loses = |other: f32| {
            let mut logits = vec![-100.0; 10];
            logits[*token as usize] = 3.0;
            logits[0] = other;
            best(params.clone(), text, &logits) == 0
        };
        assert!(
            loses(3.0 - penalty + 0.01) && !loses(3.0 - penalty - 0.01),
            "{name}"
        );
    }
    // A very long repetition is a very large penalty, not a NaN.
    let long = vec![6; 5000];
    assert_eq!(
        best(
            Params {
                dry_base: 100.0,
                ..params(2, -1, &[])
            },
            &long,
            &[0.0; 10]
        ),
        0
    );
}

#[test]
fn the_order_of_the_chain() {
    // Bias before penalties: (-1 + 2) / 2 = 0.5 beats 0.25; the other way round it were -1 · 2 + 2 = 0.
    let params = Params {
        repeat_penalty: 2.0,
        logit_bias: vec![(0, 2.0)],
        ..greedy()
    };
    assert_eq!(best(params, &[0], &[-1.0, 0.25]), 0);

    // Penalties before DRY: 2 / 2 - 0.5 = 0.5 loses to 0.6; the other way round it were (2 - 0.5) / 2 = 0.75.
    let params = Params {
        repeat_penalty: 2.0,
        dry_multiplier: 0.5,
        dry_allowed_length: 1,
        ..greedy()
    };
    assert_eq!(best(params, &[0, 0], &[2.0, 0.6]), 1);

    // Top-n-sigma before top-k: over all twenty logits the deviation is √(41/20 - 0.45²) = 1.36 and the floor 3.64;
    // over 5 and 4 alone it were 0.5, and the floor 4.5.
    let mut logits = vec![0.0; 20];
    (logits[0], logits[1]) = (5.0, 4.0);
    assert_eq!(
        kept(
            Params {
                top_n_sigma: 1.0,
                top_k: 2,
                ..plain()
            },
            &logits
        ),
        [0, 1]
    );

    let four = logits_of(&[0.4, 0.3, 0.2, 0.1]);
    // Top-k before top-p: of the two that stay the first has 0.57, which is enough.
    assert_eq!(
        kept(
            Params {
                top_k: 2,
                top_p: 0.5,
                ..plain()
            },
            &four
        ),
        [0]
    );

    // Top-p before min-p: 0.6 is not 0.7 yet. Min-p first would leave 0.6 and 0.25, of which the first has 0.706.
    let logits = logits_of(&[0.6, 0.25, 0.1, 0.05]);
    assert_eq!(
        kept(
            Params {
                top_p: 0.7,
                min_p: 0.2,
                ..plain()
            },
            &logits
        ),
        [0, 1]
    );

    // Typical before top-p: 1 and 0 stay (see above) with 1/3 and 2/3, and both are needed for 0.7. Top-p first would leave
    // the same two, with entropy (2/3 · 0.58 + 1/3 · 1.58) = 0.92 ln 2, and of these typical only 0, which has 2/3 > 0.3.
    let logits = logits_of(&[0.5, 0.25, 0.125, 0.125]);
    assert_eq!(
        kept(
            Params {
                typical_p: 0.3,
                top_p: 0.7,
                ..plain()
            },
            &logits
        ),
        [0, 1]
    );

    // Min-p before XTC: 0.4 and 0.3 are left, both top choices, of which the lesser stays. XTC first would leave 0.2.
    let params = Params {
        min_p: 0.6,
        xtc_probability: 1.0,
        xtc_threshold: 0.15,
        ..plain()
    };
    assert_eq!(kept(params, &four), [1]);

    // Temperature last: the filters see 0.4, 0.3, 0.2, 0.1. First: T = 1/2 squares them to 0.53, 0.3, 0.13, 0.03.
    let params = Params {
        temperature: 0.5,
        top_p: 0.8,
        ..plain()
    };
    assert_eq!(kept(params.clone(), &four), [0, 1, 2]);
    assert_eq!(
        kept(
            Params {
                temperature_first: true,
                ..params
            },
            &four
        ),
        [0, 1]
    );
}

#[test]
fn a_mask_limits_the_choice() {
    let mut mask = TokenMask::none(5);
    [1, 3].into_iter().for_each(|id| mask.insert(id));
    let logits = [9.0, 1.0, 8.0, 2.0, 7.0];
    assert_eq!(sampler(greedy()).sample(&logits, Some(&mask)).id, 3);
    let mut chance = sampler(plain());
    let seen: BTreeSet<u32> = (0..500).map(|_| chance.sample(&logits, Some(&mask)).id).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 3]);
    // What a mask allows is chosen even if the model gives it no chance at all.
    let logits = [0.0, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0];
    assert_eq!(chance.sample(&logits, Some(&mask)).id, 1);
    // An empty mask, and one for a smaller vocabulary.
    assert_eq!(
        sampler(greedy())
            .sample(&[1.0, 2.0], Some(&TokenMask::none(2)))
            .id,
        1
    );
    assert_eq!(
        sampler(greedy())
            .sample(&[1.0, 2.0, 3.0], Some(&TokenMask::all(2)))
            .id,
        1
    );
}

#[test]
fn log_probabilities_are_those_of_the_raw_logits() {
    let logits = logits_of(&[0.125, 0.5, 0.125, 0.25]);
    let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
    // Neither bias nor temperature nor a mask changes them.
    let mut mask = TokenMask::none(4);
    mask.insert(3);
    let params = Params {
        logit_bias: vec![(3, 50.0)],
        temperature: 0.1,
        ..plain()
    };
    let choice = sampler(params).sample(&logits, Some(&mask));
    assert!(choice.id == 3 && near(choice.logprob, 0.25f32.ln()), "{choice:?}");
    // Likeliest first, equals by id.
    let top = top_logprobs(&logits, 3);
    assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 3, 0]);
    assert!(
        top.iter()
            .zip([0.5f32, 0.25, 0.125])
            .all(|(t, p)| near(t.1, p.ln())),
        "{top:?}"
    );
    assert_eq!(top_logprobs(&logits, 99).len(), 4);
    assert_eq!(top_logprobs(&logits, 0), []);
}

#[test]
fn parameters_are_read_and_checked() {
    let params: Params =
        serde_json::from_str(r#"{"temperature": 0.5, "top_k": 7, "logit_bias": [[3, -1.5]]}"#).unwrap();
    assert_eq!(
        params,
        Params {
            temperature: 0.5,
            top_k: 7,
            logit_bias: vec![(3, -1.5)],
            ..Params::default()
        }
    );

    let p = Params::default;
    let wrong: &[(&str, Params)] = &[
        (
            "temperature",
            Params {
                temperature: f32::NAN,
                ..p()
            },
        ),
        ("top_p", Params { top_p: 1.5, ..p() }),
        ("min_p", Params { min_p: -0.1, ..p() }),
        (
            "typical_p",
            Params {
                typical_p: 2.0,
                ..p()
            },
        ),
        (
            "top_n_sigma",
            Params {
                top_n_sigma: f32::INFINITY,
                ..p()
            },
        ),
        (
            "xtc_probability",
            Params {
                xtc_probability: 1.1,
                ..p()
            },
        ),
        (
            "xtc_threshold",
            Params {
                xtc_threshold: f32::NAN,
                ..p()
            },
        ),
        (
            "repeat_penalty",
            Params {
                repeat_penalty: 0.0,
                ..p()
            },
        ),
        (
            "frequency_penalty",
            Params {
                frequency_penalty: 1e9,
                ..p()
            },
        ),
        (
            "presence_penalty",
            Params {
                presence_penalty: -1e9,
                ..p()
            },
        ),
        (
            "penalty_last_n",
            Params {
                penalty_last_n: -2,
                ..p()
            },
        ),
        (
            "dry_multiplier",
            Params {
                dry_multiplier: -1.0,
                ..p()
            },
        ),
        ("dry_base", Params { dry_base: 0.5, ..p() }),
        (
            "dry_last_n",
            Params {
                dry_last_n: -7,
                ..p()
            },
        ),
        (
            "dry_allowed_length",
            Params {
                dry_allowed_length: 0,
                ..p()
            },
        ),
        (
            "dry_breakers",
            Params {
                dry_breakers: vec![vec![]],
                ..p()
            },
        ),
        (
            "logit_bias of token 4",
            Params {
                logit_bias: vec![(4, f32::INFINITY)],
                ..p()
            },
        ),
    ];
    for (name, params) in wrong {
        let error = Sampler::new(params.clone(), &[]).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(
            error.message.starts_with(&format!("{name}: found ")),
            "{}",
            error.message
        );
    }
    assert!(p().validate().is_ok() && Params::greedy().validate().is_ok());
}

#[test]
fn no_repetition_reaches_over_a_line_unless_a_request_says_so() {
    let breakers = |sampling: serde_json::Value| {
        let request = serde_json::json!({"prompt": "x", "sampling": sampling});
        let request: fanlight::session::Request = serde_json::from_value(request).unwrap();
        let bytes = |text: &str| text.bytes().map(u32::from).collect();
        request.params(&Params::default(), bytes).unwrap().dry_breakers
    };
    assert_eq!(
        breakers(serde_json::json!({"dry_multiplier": 0.5})),
        [[10], [58], [34], [42]]
    );
    let own = serde_json::json!({"dry_multiplier": 0.5, "dry_sequence_breakers": ["ab"]});
    assert_eq!(breakers(own), [[97, 98]]);
    assert!(breakers(serde_json::json!({"dry_multiplier": 0.5, "dry_sequence_breakers": []})).is_empty());
    assert!(breakers(serde_json::json!({})).is_empty());
}
