//! The keys and values of the tokens seen so far, for the heads that one shard owns.
//!
//! Per layer, in pages of [`PAGE`] tokens that are allocated when the first token of a page arrives. Floats ([`KvType::F32`],
//! [`KvType::F16`]) lie as they come: for each head the keys `[PAGE, key_length]`, then the values `[PAGE, value_length]`. Codes
//! ([`KvType::Q16`], [`KvType::Q8`]) lie in the order in which the kernels of `simd/attention.rs` read them: see [`Coded`].

use std::rc::Rc;

use half::f16;

use crate::error::{Error, Kind, Result};
use crate::kernels::simd::quantise;
use crate::kernels::vector;

/// Tokens per page.
pub const PAGE: usize = 64;

/// Keys share a scale in blocks of this many dimensions.
pub const KEY_BLOCK: usize = 32;

/// Tokens whose keys are interleaved.
pub const KEY_TOKENS: usize = 8;

/// Dimensions of a value that are interleaved with those of the next token.
pub const VALUE_DIMENSIONS: usize = 16;

/// Largest code of a query.
pub const QUERY_LIMIT: f32 = 8191.0;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// 4 bytes per value: exact, for comparisons with an oracle.
    F32,
    /// 2 bytes per value, as most engines keep them.
    F16,
    /// 14-bit integers with a scale per block: the size of f16, closer to the true values, and multiplied as they are.
    #[default]
    Q16,
    /// 8-bit integers with a scale per block: half the size. Coarse for models with outliers in their keys (Qwen 2.5).
    Q8,
}

impl KvType {
    const ALL: [KvType; 4] = [KvType::F32, KvType::F16, KvType::Q16, KvType::Q8];

    /// The type of this name: `f32`, `f16`, `q16` or `q8`.
    pub fn from_name(name: &str) -> Result<KvType> {
        KvType::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| {
                let names = KvType::ALL.map(KvType::name).join(", ");
                Error::new(
                    Kind::InvalidArgument,
                    format!("KV cache type \"{name}\": expected one of {names}"),
                )
            })
    }

    /// Whether keys and values are integers with scales.
    pub fn is_coded(self) -> bool {
        matches!(self, KvType::Q16 | KvType::Q8)
    }

    /// The name in options and in `info()`.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q16 => "q16",
            KvType::Q8 => "q8",
        }
    }
}

/// The integers of a coded page.
pub trait Code: Copy + Default + Plain {
    /// Codes are within this, both ways. A key's products with a query code within [`QUERY_LIMIT`] over one [`KEY_BLOCK`],
    /// and a value's with a weight code within [`Code::WEIGHT_LIMIT`] over one [`PAGE`], fit in 32 bits.
    const LIMIT: f32;
    /// Largest code of a weight (a probability times the value's scale).
    const WEIGHT_LIMIT: f32;

    /// The code of a number within the limit.
    fn new(number: i16) -> Self;
    /// Its number.
    fn get(self) -> i32;
}

impl Code for i16 {
    const LIMIT: f32 = 8191.0;
    const WEIGHT_LIMIT: f32 = 4095.0;

    fn new(number: i16) -> i16 {
        number
    }
    fn get(self) -> i32 {
        i32::from(self)
    }
}

/// Two's complement in a `u8`, which is how the kernels load it.
impl Code for u8 {
    const LIMIT: f32 = 127.0;
    const WEIGHT_LIMIT: f32 = 32767.0;

    fn new(number: i16) -> u8 {
        number as u8
    }
    fn get(self) -> i32 {
        i32::from(self as i8)
    }
}

/// One page of one head, as integers.
///
/// ```text
/// keys    [PAGE / 8 groups of tokens][key_length / 2 pairs of dimensions][8 tokens][2 dimensions]
/// scales  [PAGE / 8 groups of tokens][key_length / 32 blocks][8 tokens]
/// values  [value_length / 16][PAGE / 2 pairs of tokens][16 dimensions][2 tokens]
/// scales  [PAGE]
/// ```
/// Lengths are rounded up to whole blocks, with zeros.
#[derive(Debug, Clone)]
pub struct Coded<C> {
    /// Codes of the keys.
    pub keys: Vec<C>,
    /// What they are multiplied by.
    pub key_scales: Vec<f32>,
    /// Codes of the values.
    pub values: Vec<C>,
    /// What they are multiplied by.
    pub value_scales: Vec<f32>,
}

impl<C: Code> Coded<C> {
    fn new(key_length: usize, value_length: usize) -> Result<Coded<C>> {
        let key_length = key_length.next_multiple_of(KEY_BLOCK);
        let value_length = value_length.next_multiple_of(VALUE_DIMENSIONS);
        Ok(Coded {
            keys: zeroed(PAGE * key_length)?,
            key_scales: zeroed(PAGE * key_length / KEY_BLOCK)?,
            values: zeroed(PAGE * value_length)?,
            value_scales: zeroed(PAGE)?,
        })
    }

    fn copy(&self) -> Result<Coded<C>> {
        Ok(Coded {
            keys: copied(&self.keys)?,
            key_scales: copied(&self.key_scales)?,
            values: copied(&self.values)?,
            value_scales: copied(&self.value_scales)?,
        })
    }

    fn put(&mut self, token: usize, key: &[f32], value: &[f32]) {
        let mut codes = [0; KEY_BLOCK];
        let blocks = key.len().div_ceil(KEY_BLOCK);
        let (group, within) = (token / KEY_TOKENS, token % KEY_TOKENS);
        for (block, x) in (group * blocks..).zip(key.chunks(KEY_BLOCK)) {
            let (scale, inverse) = scale(x, C::LIMIT);
            self.key_scales[block * KEY_TOKENS + within] = scale;
            quantise::to_codes(x, inverse, &mut codes[..x.len()]);
            let pairs = self.keys[block * KEY_BLOCK * KEY_TOKENS..].chunks_exact_mut(2 * KEY_TOKENS);
            for (pair, codes) in pairs.zip(codes[..x.len()].chunks(2)) {
                let pair = pair[2 * within..].iter_mut();
                pair.zip(codes).for_each(|(to, code)| *to = C::new(*code));
            }
        }
        let (scale, inverse) = scale(value, C::LIMIT);
        self.value_scales[token] = scale;
        let panels = self.values.chunks_exact_mut(PAGE * VALUE_DIMENSIONS);
        for (panel, x) in panels.zip(value.chunks(VALUE_DIMENSIONS)) {
            quantise::to_codes(x, inverse, &mut codes[..x.len()]);
            let places = panel[token / 2 * VALUE_DIMENSIONS * 2..].chunks_exact_mut(2);
            for (place, code) in places.zip(&codes[..x.len()]) {
                place[token % 2] = C::new(*code);
            }
        }
    }
}

/// The scale that brings `x` within `limit`, and its inverse; zeros for zeros, and for what is not finite.
pub(super) fn scale(x: &[f32], limit: f32) -> (f32, f32) {
    let largest = vector::max_abs(x);
    // Below this the inverse is no longer finite; such a block is as good as zero.
    if largest < limit * f32::MIN_POSITIVE || !largest.is_finite() {
        return (0.0, 0.0);
    }
    (largest / limit, limit / largest)
}

/// One page of one layer.
#[derive(Debug, Clone)]
enum Page {
    /// All heads in one piece.
    F32(Vec<f32>),
    F16(Vec<u16>),
    /// One for each head.
    Q16(Vec<Coded<i16>>),
    Q8(Vec<Coded<u8>>),
}

impl Page {
    /// Another one like it, or the error that there is no memory for it.
    fn copy(&self) -> Result<Page> {
        Ok(match self {
            Page::F32(page) => Page::F32(copied(page)?),
            Page::F16(page) => Page::F16(copied(page)?),
            Page::Q16(heads) => Page::Q16(heads.iter().map(Coded::copy).collect::<Result<_>>()?),
            Page::Q8(heads) => Page::Q8(heads.iter().map(Coded::copy).collect::<Result<_>>()?),
        })
    }
}

/// What attention reads of one page of one head.
pub(super) enum Head<'a> {
    /// Keys `[tokens, key_length]` and values `[tokens, value_length]`.
    Floats(&'a [f32], &'a [f32]),
    /// The page as 14-bit codes.
    Q16(&'a Coded<i16>),
    /// The page as 8-bit codes.
    Q8(&'a Coded<u8>),
}

/// Keys and values of all layers.
#[derive(Debug)]
pub struct KvCache {
    kind: KvType,
    heads: usize,
    key_length: usize,
    value_length: usize,
    capacity: usize,
    /// `[layers][pages]`. Caches of texts that begin alike share the pages of their beginning.
    layers: Vec<Vec<Rc<Page>>>,
}

impl KvCache {
    /// An empty cache of at most `capacity` tokens for `heads` key-value heads in each of `layers` layers.
    pub fn new(
        kind: KvType,
        layers: usize,
        heads: usize,
        key_length: usize,
        value_length: usize,
        capacity: usize,
    ) -> KvCache {
        let layers = (0..layers).map(|_| Vec::new()).collect();
        KvCache {
            kind,
            heads,
            key_length,
            value_length,
            capacity,
            layers,
        }
    }

    /// An empty cache like this one.
    pub fn empty(&self) -> KvCache {
        KvCache::new(
            self.kind,
            self.layers.len(),
            self.heads,
            self.key_length,
            self.value_length,
            self.capacity,
        )
    }

    /// A cache that holds the first `tokens` positions of this one, and goes on by itself. Whole pages are shared.
    pub fn fork(&self, tokens: usize) -> Result<KvCache> {
        let whole = tokens / PAGE;
        let mut fork = self.empty();
        for (to, from) in fork.layers.iter_mut().zip(&self.layers) {
            to.extend(from.iter().take(whole).map(Rc::clone));
            if let Some(begun) = from.get(whole).filter(|_| !tokens.is_multiple_of(PAGE)) {
                to.push(Rc::new(begun.copy()?));
            }
        }
        Ok(fork)
    }

    /// Frees the pages behind the first `tokens` positions.
    pub fn truncate(&mut self, tokens: usize) {
        for pages in &mut self.layers {
            pages.truncate(tokens.div_ceil(PAGE));
        }
    }

    /// The most tokens this cache holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How the values are kept.
    pub fn kind(&self) -> KvType {
        self.kind
    }

    /// Number of layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Number of key-value heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Bytes of one token in all layers.
    pub fn bytes_per_token(&self) -> usize {
        let floats = self.key_length + self.value_length;
        let keys = self.key_length.next_multiple_of(KEY_BLOCK);
        let coded = keys + self.value_length.next_multiple_of(VALUE_DIMENSIONS);
        let scales = (keys / KEY_BLOCK + 1) * 4;
        let bytes = match self.kind {
            KvType::F32 => floats * 4,
            KvType::F16 => floats * 2,
            KvType::Q16 => coded * 2 + scales,
            KvType::Q8 => coded + scales,
        };
        self.layers.len() * self.heads * bytes
    }

    /// Makes room for positions `.. tokens` in every layer.
    pub fn reserve(&mut self, tokens: usize) -> Result<()> {
        if tokens > self.capacity {
            return Err(Error::new(
                Kind::ContextFull,
                format!("{tokens} tokens do not fit in the context of {}", self.capacity),
            ));
        }
        let (kl, vl) = (self.key_length, self.value_length);
        let size = self.heads * (kl + vl) * PAGE;
        for pages in &mut self.layers {
            while pages.len() * PAGE < tokens {
                pages.push(Rc::new(match self.kind {
                    KvType::F32 => Page::F32(zeroed(size)?),
                    KvType::F16 => Page::F16(zeroed(size)?),
                    KvType::Q16 => Page::Q16(
                        (0..self.heads)
                            .map(|_| Coded::new(kl, vl))
                            .collect::<Result<_>>()?,
                    ),
                    KvType::Q8 => Page::Q8(
                        (0..self.heads)
                            .map(|_| Coded::new(kl, vl))
                            .collect::<Result<_>>()?,
                    ),
                }));
            }
        }
        Ok(())
    }

    /// Stores the key `[key_length]` and value `[value_length]` of one head at `position`, which is reserved.
    pub fn put(&mut self, layer: usize, position: usize, head: usize, key: &[f32], value: &[f32]) {
        let (kl, vl) = (self.key_length, self.value_length);
        let token = position % PAGE;
        let start = head * (kl + vl) * PAGE;
        let (k_at, v_at) = (start + token * kl, start + PAGE * kl + token * vl);
        match Rc::make_mut(&mut self.layers[layer][position / PAGE]) {
            Page::F32(page) => {
                page[k_at..k_at + kl].copy_from_slice(key);
                page[v_at..v_at + vl].copy_from_slice(value);
            }
            Page::F16(page) => {
                let halve = |to: &mut [u16], from: &[f32]| {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, from)| *to = f16::from_f32(*from).to_bits());
                };
                halve(&mut page[k_at..k_at + kl], key);
                halve(&mut page[v_at..v_at + vl], value);
            }
            Page::Q16(heads) => heads[head].put(token, key, value),
            Page::Q8(heads) => heads[head].put(token, key, value),
        }
    }

    /// The first `tokens` positions of one page of one head. Halves are brought to f32 in `scratch`.
    pub(super) fn page<'a>(
        &'a self,
        layer: usize,
        page: usize,
        head: usize,
        tokens: usize,
        scratch: &'a mut Vec<f32>,
    ) -> Head<'a> {
        let (kl, vl) = (self.key_length, self.value_length);
        let start = head * (kl + vl) * PAGE;
        let values = start + PAGE * kl;
        let (keys, values) = (start..start + tokens * kl, values..values + tokens * vl);
        match &*self.layers[layer][page] {
            Page::F32(page) => Head::Floats(&page[keys], &page[values]),
            Page::F16(page) => {
                scratch.resize((kl + vl) * PAGE, 0.0);
                let (k, v) = scratch.split_at_mut(kl * PAGE);
                let (k, v) = (&mut k[..tokens * kl], &mut v[..tokens * vl]);
                vector::f16_to_f32(&page[keys], k);
                vector::f16_to_f32(&page[values], v);
                Head::Floats(k, v)
            }
            Page::Q16(heads) => Head::Q16(&heads[head]),
            Page::Q8(heads) => Head::Q8(&heads[head]),
        }
    }
}

impl KvCache {
    /// Bytes of [`KvCache::export`].
    pub fn exported_bytes(&self, tokens: usize) -> usize {
        let (kl, vl) = (self.key_length, self.value_length);
        let coded = |size: usize| {
            let (kl, vl) = (
                kl.next_multiple_of(KEY_BLOCK),
                vl.next_multiple_of(VALUE_DIMENSIONS),
            );
            PAGE * (size * (kl + vl) + 4 * (kl / KEY_BLOCK + 1))
        };
        let page = match self.kind {
            KvType::F32 => PAGE * (kl + vl) * 4,
            KvType::F16 => PAGE * (kl + vl) * 2,
            KvType::Q16 => coded(2),
            KvType::Q8 => coded(1),
        };
        tokens.div_ceil(PAGE) * page
    }

    /// Adds the keys and values of the first `tokens` positions of one head to `out`, page by page as they are kept, with
    /// zeros for the positions behind.
    pub fn export(&self, layer: usize, head: usize, tokens: usize, out: &mut Vec<u8>) -> Result<()> {
        let (kl, vl) = (self.key_length, self.value_length);
        let start = head * (kl + vl) * PAGE;
        let pages = self.layers[layer].iter().take(tokens.div_ceil(PAGE));
        for (page, at) in pages.zip((0..).step_by(PAGE)) {
            let seen = (tokens - at).min(PAGE);
            match &**page {
                Page::F32(page) => export_floats(&page[start..], kl, vl, seen, out),
                Page::F16(page) => export_floats(&page[start..], kl, vl, seen, out),
                Page::Q16(heads) => heads[head].export(kl, vl, seen, out)?,
                Page::Q8(heads) => heads[head].export(kl, vl, seen, out)?,
            }
        }
        Ok(())
    }

    /// Takes back what [`KvCache::export`] gave, for positions that are reserved.
    /// [`Kind::Integrity`] if it has another length.
    pub fn import(&mut self, layer: usize, head: usize, tokens: usize, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.exported_bytes(tokens) {
            let (found, expected) = (bytes.len(), self.exported_bytes(tokens));
            return Err(Error::new(
                Kind::Integrity,
                format!("{found} bytes of keys and values, expected {expected}"),
            ));
        }
        let (kl, vl) = (self.key_length, self.value_length);
        let range = head * (kl + vl) * PAGE..(head + 1) * (kl + vl) * PAGE;
        let mut bytes = bytes;
        for page in self.layers[layer].iter_mut().take(tokens.div_ceil(PAGE)) {
            match Rc::make_mut(page) {
                Page::F32(page) => read_plain(&mut bytes, &mut page[range.clone()]),
                Page::F16(page) => read_plain(&mut bytes, &mut page[range.clone()]),
                Page::Q16(heads) => heads[head].import(&mut bytes),
                Page::Q8(heads) => heads[head].import(&mut bytes),
            }
        }
        Ok(())
    }
}

impl<C: Code> Coded<C> {
    fn export(&self, key_length: usize, value_length: usize, seen: usize, out: &mut Vec<u8>) -> Result<()> {
        if seen == PAGE {
            self.write(out);
            return Ok(());
        }
        let mut copy = self.copy()?;
        let (key, value) = (vec![0.0; key_length], vec![0.0; value_length]);
        for token in seen..PAGE {
            copy.put(token, &key, &value);
        }
        copy.write(out);
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_plain(&self.keys, out);
        write_plain(&self.key_scales, out);
        write_plain(&self.values, out);
        write_plain(&self.value_scales, out);
    }

    fn import(&mut self, bytes: &mut &[u8]) {
        read_plain(bytes, &mut self.keys);
        read_plain(bytes, &mut self.key_scales);
        read_plain(bytes, &mut self.values);
        read_plain(bytes, &mut self.value_scales);
    }
}

fn export_floats<T: Plain>(
    head: &[T],
    key_length: usize,
    value_length: usize,
    seen: usize,
    out: &mut Vec<u8>,
) {
    let (keys, rest) = head.split_at(PAGE * key_length);
    for (rows, length) in [(keys, key_length), (rest, value_length)] {
        write_plain(&rows[..seen * length], out);
        out.resize(out.len() + (PAGE - seen) * length * size_of::<T>(), 0);
    }
}

/// Numbers as bytes, little-endian.
pub trait Plain: Copy {
    /// Writes numbers into the bytes that they take.
    fn write(numbers: &[Self], out: &mut [u8]);
    /// Reads numbers from the bytes that they take.
    fn read(bytes: &[u8], numbers: &mut [Self]);
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Plain for $ty {
            fn write(numbers: &[$ty], out: &mut [u8]) {
                let places = out.as_chunks_mut().0.iter_mut();
                places.zip(numbers).for_each(|(place, number)| *place = number.to_le_bytes());
            }

            fn read(bytes: &[u8], numbers: &mut [$ty]) {
                let places = bytes.as_chunks().0.iter();
                numbers.iter_mut().zip(places).for_each(|(number, place)| *number = <$ty>::from_le_bytes(*place));
            }
        }
    )*};
}

plain!(u8, u16, i16, u32, u64, f32);

/// Adds numbers as bytes.
pub fn write_plain<T: Plain>(numbers: &[T], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + size_of_val(numbers), 0);
    T::write(numbers, &mut out[at..]);
}

/// Fills `numbers` from the beginning of `bytes`, which then begin behind; what bytes are too few for stays as it is.
pub fn read_plain<T: Plain>(bytes: &mut &[u8], numbers: &mut [T]) {
    let (own, rest) = bytes.split_at(size_of_val(numbers).min(bytes.len()));
    T::read(own, numbers);
    *bytes = rest;
}

fn copied<T: Copy + Default>(from: &[T]) -> Result<Vec<T>> {
    let mut copy = zeroed(from.len())?;
    copy.copy_from_slice(from);
    Ok(copy)
}

fn zeroed<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut page = Vec::new();
    page.try_reserve_exact(len).map_err(|_| {
        let bytes = len * size_of::<T>();
        Error::new(
            Kind::OutOfMemory,
            format!("{bytes} bytes for the KV cache could not be allocated"),
        )
    })?;
    page.resize(len, T::default());
    Ok(page)
}
