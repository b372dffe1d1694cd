//! Causal grouped-query attention over the KV cache, with an online softmax (Milakov and Gimelshein, 2018).
//!
//! Every query that sees a page of the cache is scored against it, page by page. A query's result depends on nothing but
//! its own head, its position and the cache: pages are taken in order from position 0 whatever the batch, so a token gets
//! the same bits alone or in a batch. Memory is flat: scores exist for one page only.
//!
//! Coded caches are computed in integers: a query becomes codes with a scale per [`KEY_BLOCK`] once, and the weights of a page
//! become codes after each softmax step.

use std::ops::Range;

use crate::kernels::cache::{Coded, Head, KEY_BLOCK, KvCache, PAGE, QUERY_LIMIT, VALUE_DIMENSIONS, scale};
use crate::kernels::simd::attention::{Load, Query, scores, to_codes, weigh};
use crate::kernels::vector;

/// Up to so many tokens, all heads go through the pages together, which reads the cache as it lies in memory. With more, a
/// page of one head serves all tokens while it is in the processor's cache.
const FEW: usize = 4;

/// Buffers of [`attend`], kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    page: Vec<f32>,
    /// Queries as codes: `[heads at once, tokens, group, key_length]`, padded to whole blocks.
    codes: Vec<i16>,
    /// `[heads at once, tokens, group, blocks]`
    scales: Vec<f32>,
    /// Weighted values: `[heads at once, tokens, group, value_length]`, padded to whole panels.
    sums: Vec<f32>,
    /// Running maximum and sum of each query: `[heads at once, tokens, group]`.
    running: Vec<Running>,
}

/// The online softmax of one query.
#[derive(Debug, Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Running {
    const START: Running = Running {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// Turns the scores of the next page into weights relative to the new maximum, and says by what the sums so far are
    /// to be multiplied.
    fn take(&mut self, scores: &mut [f32]) -> f32 {
        let max = self.max.max(vector::max(scores));
        scores.iter_mut().for_each(|score| *score -= max);
        vector::exp_in_place(scores);
        let keep = (self.max - max).exp();
        self.max = max;
        self.sum = self.sum * keep + vector::sum(scores);
        keep
    }
}

/// Shape of one call of [`attend`].
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Query heads per key-value head.
    pub group: usize,
    /// Width of a query or key head.
    pub key_length: usize,
    /// Width of a value head.
    pub value_length: usize,
    /// Factor on the scores.
    pub scale: f32,
}

/// Attention of a batch whose first token is at position `first`; its keys and values are in the cache already.
///
/// `q`: `[tokens, heads * group, key_length]`, `out`: `[tokens, heads * group, value_length]`, `heads` being those of the
/// cache.
pub fn attend(
    cache: &KvCache,
    layer: usize,
    shape: Shape,
    first: usize,
    q: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let Shape {
        group,
        key_length,
        value_length,
        ..
    } = shape;
    let heads = cache.heads();
    if heads == 0 || q.is_empty() {
        return;
    }
    let tokens = q.len() / (heads * group * key_length);
    let padded = value_length.next_multiple_of(VALUE_DIMENSIONS);
    let at_once = if tokens <= FEW { heads } else { 1 };
    for from in (0..heads).step_by(at_once) {
        let heads_now = from..heads.min(from + at_once);
        let now = heads_now.len();
        let index = |t: usize, head: usize, g: usize| (t * heads + head) * group + g;
        let query = |t: usize, head: usize, g: usize| &q[index(t, head, g) * key_length..][..key_length];
        let Scratch {
            page: floats,
            codes,
            scales,
            sums,
            running,
        } = scratch;
        running.clear();
        running.resize(now * tokens * group, Running::START);
        sums.clear();
        sums.resize(now * tokens * group * padded, 0.0);
        let mut coded = false;
        for page in 0..(first + tokens).div_ceil(PAGE) {
            let start = page * PAGE;
            let filled = (first + tokens - start).min(PAGE);
            for (slot, head) in heads_now.clone().enumerate() {
                let rows = cache.page(layer, page, head, filled, floats);
                if !coded && !matches!(rows, Head::Floats(..)) {
                    encode_queries(shape, heads_now.clone(), tokens, query, codes, scales);
                    coded = true;
                }
                for t in start.saturating_sub(first)..tokens {
                    let seen = (first + t + 1 - start).min(PAGE);
                    let place = slot * tokens + t;
                    let running = &mut running[place * group..][..group];
                    let sums = &mut sums[place * group * padded..][..group * padded];
                    match rows {
                        Head::Floats(keys, values) => {
                            for g in 0..group {
                                let sums = &mut sums[g * padded..][..value_length];
                                let keys = &keys[..seen * key_length];
                                float_page(
                                    query(t, head, g),
                                    keys,
                                    &values[..seen * value_length],
                                    shape.scale,
                                    &mut running[g],
                                    sums,
                                );
                            }
                        }
                        Head::Q16(page) => coded_page(page, seen, place, codes, scales, running, sums),
                        Head::Q8(page) => coded_page(page, seen, place, codes, scales, running, sums),
                    }
                }
            }
        }
        for (slot, head) in heads_now.enumerate() {
            for t in 0..tokens {
                for g in 0..group {
                    let place = (slot * tokens + t) * group + g;
                    let inverse = 1.0 / running[place].sum;
                    let sums = &sums[place * padded..][..value_length];
                    let out = &mut out[index(t, head, g) * value_length..][..value_length];
                    out.iter_mut()
                        .zip(sums)
                        .for_each(|(out, sum)| *out = sum * inverse);
                }
            }
        }
    }
}

/// Queries of some heads as codes. The factor on the scores goes into their scales.
fn encode_queries<'a>(
    shape: Shape,
    heads: Range<usize>,
    tokens: usize,
    query: impl Fn(usize, usize, usize) -> &'a [f32],
    codes: &mut Vec<i16>,
    scales: &mut Vec<f32>,
) {
    let blocks = shape.key_length.div_ceil(KEY_BLOCK);
    codes.resize(heads.len() * tokens * shape.group * blocks * KEY_BLOCK, 0);
    scales.resize(heads.len() * tokens * shape.group * blocks, 0.0);
    let mut rows = codes.as_chunks_mut::<KEY_BLOCK>().0.iter_mut().zip(scales);
    for head in heads {
        for t in 0..tokens {
            for g in 0..shape.group {
                for (block, (codes, scale_of)) in query(t, head, g).chunks(KEY_BLOCK).zip(&mut rows) {
                    let (scale, inverse) = scale(block, QUERY_LIMIT);
                    to_codes(block, inverse, codes);
                    *scale_of = scale * shape.scale;
                }
            }
        }
    }
}

/// Takes one coded page into all queries of one token and head, which stand at `place`, two at a time.
fn coded_page<C: Load>(
    page: &Coded<C>,
    seen: usize,
    place: usize,
    codes: &[i16],
    scales: &[f32],
    running: &mut [Running],
    sums: &mut [f32],
) {
    let group = running.len();
    let padded = sums.len() / group;
    let per_query = page.key_scales.len() / PAGE;
    let query = |g: usize| {
        let at = (place * group + g) * per_query;
        Query {
            codes: &codes[at * KEY_BLOCK..][..per_query * KEY_BLOCK],
            scales: &scales[at..][..per_query],
        }
    };
    let (mut running, mut sums) = (running.as_chunks_mut::<2>(), sums.chunks_exact_mut(padded));
    for (i, pair) in running.0.iter_mut().enumerate() {
        if let (Some(a), Some(b)) = (sums.next(), sums.next()) {
            coded_queries(page, seen, [query(2 * i), query(2 * i + 1)], pair, [a, b]);
        }
    }
    if let ([last], Some(sums)) = (&mut running.1, sums.next()) {
        coded_queries(page, seen, [query(group - 1)], std::array::from_mut(last), [sums]);
    }
}

/// Takes one coded page into the running maxima, sums and weighted values of `H` queries.
fn coded_queries<C: Load, const H: usize>(
    page: &Coded<C>,
    seen: usize,
    queries: [Query; H],
    running: &mut [Running; H],
    sums: [&mut [f32]; H],
) {
    let mut weights = [[0.0f32; PAGE]; H];
    scores(page, seen, queries, &mut weights);
    let mut codes = [[0i16; PAGE]; H];
    let (mut keep, mut scale_of) = ([0.0; H], [0.0; H]);
    for h in 0..H {
        let weights = &mut weights[h][..seen];
        keep[h] = running[h].take(weights);
        for (weight, value_scale) in weights.iter_mut().zip(&page.value_scales) {
            *weight *= value_scale;
        }
        let (scale, inverse) = scale(weights, C::WEIGHT_LIMIT);
        to_codes(weights, inverse, &mut codes[h]);
        scale_of[h] = scale;
    }
    weigh(page, seen, codes.each_ref(), scale_of, keep, sums);
}

/// Takes one page of floats into a query's running maximum, sum and weighted values.
fn float_page(q: &[f32], keys: &[f32], values: &[f32], scale: f32, running: &mut Running, sums: &mut [f32]) {
    let mut scores = [0.0; PAGE];
    let scores = &mut scores[..keys.len() / q.len()];
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(q.len())) {
        *score = dot(q, key) * scale;
    }
    let keep = running.take(scores);
    sums.iter_mut().for_each(|x| *x *= keep);
    for (weight, value) in scores.iter().zip(values.chunks_exact(sums.len())) {
        sums.iter_mut().zip(value).for_each(|(sum, x)| *sum += weight * x);
    }
}

/// `a . b`, summed in eight lanes, so that the compiler can use vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + tail
}
