//! Attention over every kind of KV cache: against the definition in f64, alone and in batches, and kernel by twin.

use fanlight::kernels::attention::{Scratch, Shape, attend};
use fanlight::kernels::cache::{KvCache, KvType};

/// Repeatable numbers in -1..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

struct Case {
    heads: usize,
    group: usize,
    key_length: usize,
    value_length: usize,
    tokens: usize,
}

const CASES: [Case; 6] = [
    Case {
        heads: 1,
        group: 1,
        key_length: 8,
        value_length: 8,
        tokens: 1,
    },
    Case {
        heads: 2,
        group: 2,
        key_length: 64,
        value_length: 64,
        tokens: 70,
    },
    Case {
        heads: 2,
        group: 7,
        key_length: 64,
        value_length: 64,
        tokens: 130,
    },
    Case {
        heads: 3,
        group: 3,
        key_length: 128,
        value_length: 128,
        tokens: 65,
    },
    Case {
        heads: 1,
        group: 4,
        key_length: 80,
        value_length: 24,
        tokens: 200,
    },
    Case {
        heads: 2,
        group: 1,
        key_length: 34,
        value_length: 18,
        tokens: 129,
    },
];

/// Rows of all tokens: queries `[tokens, heads, group, key_length]`, keys and values `[tokens, heads, length]`.
struct Data {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Case {
    fn data(&self, random: &mut Random) -> Data {
        let rows = self.tokens * self.heads;
        Data {
            q: random
                .vector(rows * self.group * self.key_length)
                .iter()
                .map(|x| x * 3.0)
                .collect(),
            k: random.vector(rows * self.key_length),
            v: random.vector(rows * self.value_length),
        }
    }

    fn cache(&self, kind: KvType, data: &Data) -> KvCache {
        let mut cache = KvCache::new(
            kind,
            2,
            self.heads,
            self.key_length,
            self.value_length,
            self.tokens,
        );
        cache.reserve(self.tokens).unwrap();
        let rows = data
            .k
            .chunks_exact(self.key_length)
            .zip(data.v.chunks_exact(self.value_length));
        for (row, (key, value)) in rows.enumerate() {
            cache.put(1, row / self.heads, row % self.heads, key, value);
        }
        cache
    }

    fn shape(&self) -> Shape {
        let (group, key_length, value_length) = (self.group, self.key_length, self.value_length);
        Shape {
            group,
            key_length,
            value_length,
            scale: 1.0 / (key_length as f32).sqrt(),
        }
    }

    /// Attention of tokens `from .. to`, as one batch.
    fn run(&self, cache: &KvCache, data: &Data, from: usize, to: usize) -> Vec<f32> {
        let row = self.heads * self.group;
        let mut out = vec![f32::NAN; (to - from) * row * self.value_length];
        let q = &data.q[from * row * self.key_length..to * row * self.key_length];
        attend(cache, 1, self.shape(), from, q, &mut out, &mut Scratch::default());
        out
    }

    /// The definition.
    fn expected(&self, data: &Data) -> Vec<f64> {
        let (kl, vl) = (self.key_length, self.value_length);
        let mut out = Vec::new();
        for t in 0..self.tokens {
            for h in 0..self.heads {
                for g in 0..self.group {
                    let q = &data.q[((t * self.heads + h) * self.group + g) * kl..][..kl];
                    let score = |s: usize| {
                        let k = &data.k[(s * self.heads + h) * kl..][..kl];
                        let dot: f64 = q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        (dot * f64::from(self.shape().scale)).exp()
                    };
                    let weights: Vec<f64> = (0..=t).map(score).collect();
                    let sum: f64 = weights.iter().sum();
                    for d in 0..vl {
                        let value = |s: usize| f64::from(data.v[(s * self.heads + h) * vl + d]);
                        out.push(weights.iter().enumerate().map(|(s, w)| w * value(s)).sum::<f64>() / sum);
                    }
                }
            }
        }
        out
    }
}

#[test]
fn every_cache_is_close_to_the_definition() {
    let mut random = Random(1);
    for (i, case) in CASES.iter().enumerate() {
        let data = case.data(&mut random);
        let want = case.expected(&data);
        for (kind, bound) in [
            (KvType::F32, 2e-6),
            (KvType::F16, 2e-3),
            (KvType::Q16, 1e-3),
            (KvType::Q8, 3e-2),
        ] {
            let got = case.run(&case.cache(kind, &data), &data, 0, case.tokens);
            let worst = got
                .iter()
                .zip(&want)
                .map(|(a, b)| (f64::from(*a) - b).abs())
                .fold(0.0, f64::max);
            assert!(worst <= bound, "case {i}, {}: off by {worst:.2e}", kind.name());
        }
    }
}

#[test]
fn a_token_gets_the_same_bits_alone_and_in_a_batch() {
    let mut random = Random(2);
    for (i, case) in CASES.iter().enumerate() {
        let data = case.data(&mut random);
        for kind in [KvType::F32, KvType::F16, KvType::Q16, KvType::Q8] {
            let cache = case.cache(kind, &data);
            let whole = case.run(&cache, &data, 0, case.tokens);
            let cuts = [0, case.tokens / 3, case.tokens / 2, case.tokens];
            let pieces: Vec<f32> = cuts
                .windows(2)
                .filter(|w| w[0] < w[1])
                .flat_map(|w| case.run(&cache, &data, w[0], w[1]))
                .collect();
            let alone: Vec<f32> = (0..case.tokens)
                .flat_map(|t| case.run(&cache, &data, t, t + 1))
                .collect();
            let same = |other: &[f32]| whole.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same(&pieces) && same(&alone), "case {i}, {}", kind.name());
        }
    }
}

#[test]
fn special_values_neither_panic_nor_spread_to_other_heads() {
    let case = Case {
        heads: 2,
        group: 2,
        key_length: 64,
        value_length: 64,
        tokens: 70,
    };
    for special in [f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 8.0, f32::MAX] {
        let mut data = case.data(&mut Random(3));
        data.k[64..96].fill(special);
        data.v[64..96].fill(special);
        for kind in [KvType::F32, KvType::F16, KvType::Q16, KvType::Q8] {
            let got = case.run(&case.cache(kind, &data), &data, 0, case.tokens);
            let first_head = got.chunks_exact(2 * 64).step_by(2).flatten();
            assert!(
                first_head.into_iter().all(|x| x.is_finite()),
                "{} {special}",
                kind.name()
            );
        }
    }
}

mod twins {
    use super::Random;
    use fanlight::kernels::cache::{Code, Coded, KEY_BLOCK, PAGE};
    use fanlight::kernels::simd::attention::{Load, Part, Query};
    use fanlight::kernels::{scalar, simd};

    fn page<C: Code>(random: &mut Random, key_length: usize, value_length: usize) -> Coded<C> {
        let mut codes = |len: usize| -> Vec<C> {
            (0..len)
                .map(|_| C::new((random.next() * C::LIMIT).round() as i16))
                .collect()
        };
        let (keys, values) = (codes(PAGE * key_length), codes(PAGE * value_length));
        Coded {
            keys,
            key_scales: random.vector(PAGE * key_length / KEY_BLOCK),
            values,
            value_scales: random.vector(PAGE),
        }
    }

    fn agree<C: Load, const H: usize>(seed: u64) {
        let mut random = Random(seed);
        for (key_length, value_length) in [(32, 16), (64, 64), (96, 48), (128, 128)] {
            let page = page::<C>(&mut random, key_length, value_length);
            let codes: [Vec<i16>; H] = std::array::from_fn(|_| {
                random
                    .vector(key_length)
                    .iter()
                    .map(|x| (x * 8191.0) as i16)
                    .collect()
            });
            let scales: [Vec<f32>; H] = std::array::from_fn(|_| random.vector(key_length / KEY_BLOCK));
            let queries = std::array::from_fn(|h| Query {
                codes: &codes[h],
                scales: &scales[h],
            });
            for tokens in [1, 2, 7, 8, 9, 33, 63, 64] {
                let (mut a, mut b) = ([[0.0; PAGE]; H], [[0.0; PAGE]; H]);
                simd::attention::scores(&page, tokens, queries, &mut a);
                scalar::attention::scores(&page, tokens, queries, &mut b);
                let bound = 1e-6 * 8191.0 * C::LIMIT * key_length as f32;
                assert!(
                    a.iter()
                        .flatten()
                        .zip(b.iter().flatten())
                        .all(|(a, b)| (a - b).abs() <= bound),
                    "{key_length} {tokens}"
                );

                let parts: [Part; H] = std::array::from_fn(|h| {
                    let mut part = Part {
                        keep: 0.5 + h as f32,
                        scale: 0.5 + h as f32,
                        ..Part::NONE
                    };
                    for weight in &mut part.weights[..tokens] {
                        *weight = (random.next().abs() * C::WEIGHT_LIMIT) as i16;
                    }
                    part
                });
                let mut a = random.vector(H * value_length);
                let mut b = a.clone();
                simd::attention::weigh(&page, tokens, parts.each_ref(), &mut a);
                scalar::attention::weigh(&page, tokens, parts.each_ref(), &mut b);
                for (a, b) in a.iter().zip(&b) {
                    assert!(
                        (a - b).abs() <= 1e-6 * (1.0 + b.abs()),
                        "{value_length} {tokens}: {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_two_and_four_queries_in_both_codes() {
        agree::<i16, 1>(1);
        agree::<i16, 2>(2);
        agree::<i16, 4>(5);
        agree::<u8, 1>(3);
        agree::<u8, 2>(4);
        agree::<u8, 4>(6);
    }

    /// The largest codes: no sum may overflow.
    #[test]
    fn extreme_codes_stay_exact() {
        fn extreme<C: Load>() {
            let (key_length, value_length) = (128, 128);
            let most = C::new(C::LIMIT as i16);
            let page = Coded {
                keys: vec![most; PAGE * key_length],
                key_scales: vec![1.0; PAGE * key_length / KEY_BLOCK],
                values: vec![most; PAGE * value_length],
                value_scales: vec![1.0; PAGE],
            };
            let codes = vec![8191i16; key_length];
            let scales = vec![1.0; key_length / KEY_BLOCK];
            let mut scores = [[0.0; PAGE]; 1];
            simd::attention::scores(
                &page,
                PAGE,
                [Query {
                    codes: &codes,
                    scales: &scales,
                }],
                &mut scores,
            );
            let want = 8191.0 * C::LIMIT * key_length as f32;
            assert!(
                (scores[0][63] - want).abs() <= want * 1e-6,
                "{} {want}",
                scores[0][63]
            );
            let mut out = vec![0.0; value_length];
            let part = Part {
                keep: 0.0,
                scale: 1.0,
                weights: [C::WEIGHT_LIMIT as i16; PAGE],
            };
            simd::attention::weigh(&page, PAGE, [&part], &mut out);
            let want = C::WEIGHT_LIMIT * C::LIMIT * PAGE as f32;
            assert!((out[127] - want).abs() <= want * 1e-6, "{} {want}", out[127]);
        }
        extreme::<i16>();
        extreme::<u8>();
    }
}
