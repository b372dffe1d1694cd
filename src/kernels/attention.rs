//! Causal grouped-query attention over the KV cache, with an online softmax (Milakov and Gimelshein, 2018).
//!
//! Every query that sees a page of the cache is scored against it, page by page. A query's result depends on nothing but
//! its own head, its position and the cache: pages are taken in order from position 0 whatever the batch, so a token gets
//! the same bits alone or in a batch. Memory is flat: scores exist for one page only.
//!
//! Coded caches are computed in integers: a query becomes codes with a scale per [`KEY_BLOCK`] once, and the weights of a page
//! become codes after each softmax step.

use std::ops::Range;

use crate::kernels::cache::{
    Code, Coded, Head, KEY_BLOCK, KvCache, PAGE, QUERY_LIMIT, VALUE_DIMENSIONS, scale,
};
use crate::kernels::simd::attention::{Load, Part, Query, scores, to_codes, weigh};
use crate::kernels::vector;

/// Up to so many tokens, all heads go through the pages together, which reads the cache as it lies in memory. With more, a
/// page of one head serves all tokens while it is in the processor's cache.
const FEW: usize = 4;

/// Buffers of [`attend`], kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    page: Vec<f32>,
    codes: Codes,
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

impl Part {
    /// Takes the scores of a page into the softmax of their query, and makes codes of what its values are weighed with.
    #[inline(never)]
    fn new<C: Code>(running: &mut Running, scores: &mut [f32], value_scales: &[f32]) -> Part {
        let keep = running.take(scores);
        for (weight, value_scale) in scores.iter_mut().zip(value_scales) {
            *weight *= value_scale;
        }
        let (scale, inverse) = scale(scores, C::WEIGHT_LIMIT);
        let mut part = Part {
            keep,
            scale,
            ..Part::NONE
        };
        to_codes(scores, inverse, &mut part.weights);
        part
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
        let now = at_once.min(heads - from);
        // Where the query at `place` stands in `q` and `out`: places are `[heads at once, tokens, group]`.
        let row = |place: usize| {
            let (head, t, g) = (place / (tokens * group), place / group % tokens, place % group);
            (t * heads + from + head) * group + g
        };
        let query = |place: usize| &q[row(place) * key_length..][..key_length];
        let count = now * tokens * group;
        let Scratch {
            page: floats,
            codes,
            running,
            sums,
        } = scratch;
        running.clear();
        running.resize(count, Running::START);
        sums.clear();
        sums.resize(count * padded, 0.0);
        if cache.kind().is_coded() {
            codes.encode(shape, count, query);
        }
        for page in 0..(first + tokens).div_ceil(PAGE) {
            let start = page * PAGE;
            let filled = (first + tokens - start).min(PAGE);
            for head in 0..now {
                let rows = cache.page(layer, page, from + head, filled, floats);
                // Tokens that see so much of the page, into which it is taken.
                let mut take = |seen: usize, those: Range<usize>| {
                    let places = (head * tokens + those.start) * group..(head * tokens + those.end) * group;
                    let running = &mut running[places.clone()];
                    let sums = &mut sums[places.start * padded..places.end * padded];
                    match rows {
                        Head::Floats(keys, values) => {
                            let keys = &keys[..seen * key_length];
                            let values = &values[..seen * value_length];
                            let states = running.iter_mut().zip(sums.chunks_exact_mut(padded));
                            for (place, (running, sums)) in places.zip(states) {
                                let sums = &mut sums[..value_length];
                                float_page(query(place), keys, values, shape.scale, running, sums);
                            }
                        }
                        Head::Q16(page) => coded_page(page, seen, codes, places.start, running, sums),
                        Head::Q8(page) => coded_page(page, seen, codes, places.start, running, sums),
                    }
                };
                let whole = (start + PAGE - 1).saturating_sub(first).min(tokens);
                for t in start.saturating_sub(first)..whole {
                    take(first + t + 1 - start, t..t + 1);
                }
                take(filled, whole..tokens);
            }
        }
        for (place, (running, sums)) in running.iter().zip(sums.chunks_exact(padded)).enumerate() {
            let inverse = 1.0 / running.sum;
            let out = &mut out[row(place) * value_length..][..value_length];
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = sum * inverse);
        }
    }
}

/// Queries as codes, padded to whole blocks with zeros.
#[derive(Debug, Default)]
struct Codes {
    /// `[places, blocks * KEY_BLOCK]`
    codes: Vec<i16>,
    /// `[places, blocks]`
    scales: Vec<f32>,
}

impl Codes {
    /// The queries of `count` places. The factor on the scores goes into their scales.
    fn encode<'a>(&mut self, shape: Shape, count: usize, query: impl Fn(usize) -> &'a [f32]) {
        let blocks = shape.key_length.div_ceil(KEY_BLOCK);
        self.codes.resize(count * blocks * KEY_BLOCK, 0);
        self.scales.resize(count * blocks, 0.0);
        let rows = self.codes.as_chunks_mut::<KEY_BLOCK>().0.iter_mut();
        let mut rows = rows.zip(&mut self.scales);
        for place in 0..count {
            for (block, (codes, scale_of)) in query(place).chunks(KEY_BLOCK).zip(&mut rows) {
                let (scale, inverse) = scale(block, QUERY_LIMIT);
                to_codes(block, inverse, codes);
                *scale_of = scale * shape.scale;
            }
        }
    }

    /// The query at `place`, of `blocks` blocks.
    fn query(&self, place: usize, blocks: usize) -> Query<'_> {
        Query {
            codes: &self.codes[place * blocks * KEY_BLOCK..][..blocks * KEY_BLOCK],
            scales: &self.scales[place * blocks..][..blocks],
        }
    }
}

/// Takes one coded page into the queries from `place` on, as many as `running` has: four at a time, then two.
fn coded_page<C: Load>(
    page: &Coded<C>,
    seen: usize,
    codes: &Codes,
    place: usize,
    running: &mut [Running],
    sums: &mut [f32],
) {
    let padded = sums.len() / running.len().max(1);
    let (four, rest) = running.as_chunks_mut::<4>();
    let (two, one) = rest.as_chunks_mut::<2>();
    let (fours, twos) = (4 * four.len(), 2 * two.len());
    let (four_sums, rest) = sums.split_at_mut(fours * padded);
    let (two_sums, one_sums) = rest.split_at_mut(twos * padded);
    coded_groups(page, seen, codes, place, four, four_sums);
    coded_groups(page, seen, codes, place + fours, two, two_sums);
    coded_groups(
        page,
        seen,
        codes,
        place + fours + twos,
        one.as_chunks_mut::<1>().0,
        one_sums,
    );
}

/// Takes one coded page into the running maxima, sums and weighted values of the queries from `place` on, `H` at a time.
fn coded_groups<C: Load, const H: usize>(
    page: &Coded<C>,
    seen: usize,
    codes: &Codes,
    place: usize,
    running: &mut [[Running; H]],
    sums: &mut [f32],
) {
    let blocks = page.key_scales.len() / PAGE;
    let each = sums.len() / running.len().max(1);
    for (i, running) in running.iter_mut().enumerate() {
        let mut weights = [[0.0f32; PAGE]; H];
        let queries = std::array::from_fn(|h| codes.query(place + i * H + h, blocks));
        scores(page, seen, queries, &mut weights);
        let mut parts = [Part::NONE; H];
        for h in 0..H {
            parts[h] = Part::new::<C>(&mut running[h], &mut weights[h][..seen], &page.value_scales);
        }
        let sums = &mut sums[i * each..][..each];
        // More than two at once have more sums than a processor has registers.
        let (pairs, rest) = parts.as_chunks::<2>();
        let (pair_sums, rest_sums) = sums.split_at_mut(each / H * 2 * pairs.len());
        for (pair, sums) in pairs.iter().zip(pair_sums.chunks_exact_mut(each / H * 2)) {
            weigh(page, seen, pair.each_ref(), sums);
        }
        for single in rest.as_chunks::<1>().0 {
            weigh(page, seen, single.each_ref(), rest_sums);
        }
    }
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
