//! How the weights of a matrix lie in memory, and which kernels read them so.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::kernels::activations::{Activations, Dot, Form};
use crate::kernels::lanes::{self, V128, f32x4_lanes};
use crate::kernels::packed::{
    self, BlockK, BlockLegacy, BlockLevels, Fives, Group, Group0, Group1, GroupK, GroupLevels, GroupQ2K,
    GroupQ3K, GroupQ6K, GroupQ8_0, Iq4Nl, Iq4Xs, Mxfp4, Nibbles,
};
use crate::kernels::simd::drive::{Shape, batch};
use crate::kernels::simd::inner::{Fours, Pairs, Product};
use crate::kernels::simd::legacy::Legacy;
use crate::kernels::simd::signed::Signed;
use crate::kernels::simd::{float, k, legacy, signed, sixteens};
use crate::quant::{self, Type};

/// Weights in one layout.
pub trait Layout: Send + Sync {
    /// Takes rows as they are in the file, from row `first` on. They fit.
    fn put_rows(&mut self, first: usize, raw: &[u8]);

    /// The values of one row, exactly.
    fn row(&self, row: usize, out: &mut [f32]);

    /// The bytes that the weights take.
    fn bytes(&self) -> usize;

    /// The forms of the activations that there are kernels for, the best of this build first.
    fn forms(&self) -> &'static [Form];

    /// `out[t * stride + r]`, with activations that have been prepared in `form`.
    fn multiply(&self, x: &Activations, form: Form, out: &mut [f32], stride: usize);

    /// `out[i]` is the product of row `rows[i]`, which ascend, with the only token of the batch: the same bits as in
    /// [`Layout::multiply`].
    fn multiply_rows(&self, x: &Activations, form: Form, rows: &[usize], out: &mut [f32]);
}

/// Room for rows of this type, in the layout for it.
pub fn new(ty: Type, rows: usize, cols: usize) -> Result<Box<dyn Layout>> {
    let size = Size { ty, rows, cols };
    match ty {
        Type::F32 => Floats::room(size, 0.0, f32::from_le_bytes),
        Type::F16 | Type::Bf16 => Floats::room(size, 0, i16::from_le_bytes),
        Type::Q4_0 => Packed::<Group0<Nibbles>>::room(size),
        Type::Q4_1 => Packed::<Group1<Nibbles>>::room(size),
        Type::Q5_0 => Packed::<Group0<Fives>>::room(size),
        Type::Q5_1 => Packed::<Group1<Fives>>::room(size),
        Type::Q8_0 => Packed::<GroupQ8_0>::room(size),
        Type::Q4K => Packed::<GroupK<Nibbles>>::room(size),
        Type::Q5K => Packed::<GroupK<Fives>>::room(size),
        Type::Q2K => Packed::<GroupQ2K>::room(size),
        Type::Q3K => Packed::<GroupQ3K>::room(size),
        Type::Q6K => Packed::<GroupQ6K>::room(size),
        Type::Iq4Nl => Packed::<GroupLevels<Iq4Nl, 1>>::room(size),
        Type::Iq4Xs => Packed::<GroupLevels<Iq4Xs, 8>>::room(size),
        Type::Mxfp4 => Packed::<GroupLevels<Mxfp4, 1>>::room(size),
        _ => Raw::room(size),
    }
}

/// The bytes that so many weights of this type take: what [`Layout::bytes`] would say, without allocating them.
pub fn bytes(ty: Type, rows: usize, cols: usize) -> u64 {
    let floats = |width: u64| rows as u64 * cols.next_multiple_of(4) as u64 * width;
    match ty {
        Type::F32 => floats(4),
        Type::F16 | Type::Bf16 => floats(2),
        Type::Q4_0 => packed_bytes::<Group0<Nibbles>>(rows, cols),
        Type::Q4_1 => packed_bytes::<Group1<Nibbles>>(rows, cols),
        Type::Q5_0 => packed_bytes::<Group0<Fives>>(rows, cols),
        Type::Q5_1 => packed_bytes::<Group1<Fives>>(rows, cols),
        Type::Q8_0 => packed_bytes::<GroupQ8_0>(rows, cols),
        Type::Q4K => packed_bytes::<GroupK<Nibbles>>(rows, cols),
        Type::Q5K => packed_bytes::<GroupK<Fives>>(rows, cols),
        Type::Q2K => packed_bytes::<GroupQ2K>(rows, cols),
        Type::Q3K => packed_bytes::<GroupQ3K>(rows, cols),
        Type::Q6K => packed_bytes::<GroupQ6K>(rows, cols),
        Type::Iq4Nl | Type::Mxfp4 => packed_bytes::<GroupLevels<Iq4Nl, 1>>(rows, cols),
        Type::Iq4Xs => packed_bytes::<GroupLevels<Iq4Xs, 8>>(rows, cols),
        _ => rows as u64 * (cols / ty.block_len()) as u64 * ty.block_bytes() as u64,
    }
}

fn packed_bytes<G: Kernels>(rows: usize, cols: usize) -> u64 {
    rows.div_ceil(G::ROWS) as u64 * (cols / G::LEN) as u64 * size_of::<G>() as u64
}

/// How many rows of this type are interleaved with one another.
pub fn group_rows(ty: Type) -> usize {
    match ty {
        Type::Q4_0 | Type::Q4_1 | Type::Q5_0 | Type::Q5_1 | Type::Q4K | Type::Q5K => 8,
        Type::Q2K | Type::Q3K | Type::Q6K => 8,
        Type::Q8_0 | Type::Iq4Nl | Type::Iq4Xs | Type::Mxfp4 => 4,
        _ => 1,
    }
}

/// What a matrix is, apart from its weights.
#[derive(Debug, Clone, Copy)]
struct Size {
    ty: Type,
    rows: usize,
    cols: usize,
}

impl Size {
    /// Bytes of a row in the file. No overflow: the weights have been allocated.
    fn row_bytes(self) -> usize {
        self.cols / self.ty.block_len() * self.ty.block_bytes()
    }

    /// Room for `count` values for each of `rows` rows, or the error that there is no memory.
    fn room<T: Copy>(self, rows: usize, count: usize, zero: T) -> Result<Rows<T>> {
        let room = rows
            .checked_mul(count)
            .and_then(|all| Rows::room(all, count, zero));
        room.ok_or_else(|| {
            let Size { ty, rows, cols } = self;
            Error::new(
                Kind::OutOfMemory,
                format!(
                    "no memory for {rows} x {cols} weights as {}; more shards would share the model",
                    ty.name()
                ),
            )
        })
    }
}

/// The rows of a matrix. Memory for all of them is taken at once, but touched only when they come: to fill half a gigabyte
/// with zeros first took a third of the time that loading takes.
struct Rows<T> {
    values: Vec<T>,
    /// Values of a row.
    stride: usize,
    /// All values that there will be.
    count: usize,
    zero: T,
}

impl<T: Copy> Rows<T> {
    fn room(count: usize, stride: usize, zero: T) -> Option<Rows<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).ok()?;
        Some(Rows {
            values,
            stride,
            count,
            zero,
        })
    }

    /// Row `at`, to be written. Rows before it that have not come are zeros.
    fn at(&mut self, at: usize) -> &mut [T] {
        let (from, to) = (at * self.stride, (at + 1) * self.stride);
        if self.values.len() < to {
            self.values.resize(to, self.zero);
        }
        &mut self.values[from..to]
    }

    /// Bytes of all rows.
    fn bytes(&self) -> usize {
        self.count * size_of::<T>()
    }
}

impl<T> std::ops::Deref for Rows<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

/// F32, F16 and BF16: row by row, each filled up with zeros to a multiple of four.
struct Floats<T, const BYTES: usize> {
    size: Size,
    values: Rows<T>,
    read: fn([u8; BYTES]) -> T,
    /// Halves of which some are infinite or NaN.
    special: bool,
}

impl<T: Float<BYTES>, const BYTES: usize> Floats<T, BYTES> {
    fn room(size: Size, zero: T, read: fn([u8; BYTES]) -> T) -> Result<Box<dyn Layout>> {
        let values = size.room(size.rows, size.cols.next_multiple_of(4), zero)?;
        Ok(Box::new(Floats {
            size,
            values,
            read,
            special: false,
        }))
    }

    fn stride(&self) -> usize {
        self.size.cols.next_multiple_of(4)
    }

    /// Values of a row from `k` on, a multiple of four, as many as `out` takes.
    fn unfold(&self, row: usize, k: usize, out: &mut [f32]) {
        let values = &self.values[row * self.stride() + k..][..out.len().next_multiple_of(4)];
        for (four, out) in values.as_chunks().0.iter().zip(out.chunks_mut(4)) {
            out.copy_from_slice(&f32x4_lanes(T::exact(self.size.ty, four))[..out.len()]);
        }
    }
}

/// A stored float.
trait Float<const BYTES: usize>: Copy + Send + Sync + 'static {
    /// Whether it is a half with the exponent of infinity.
    fn is_special_half(self) -> bool;

    /// Four floats of this type, whatever they are.
    fn exact(ty: Type, four: &[Self; 4]) -> V128;

    /// One vector times all rows.
    fn vector(ty: Type, values: &[Self], stride: usize, x: &[f32], out: &mut [f32]);
}

impl Float<4> for f32 {
    fn is_special_half(self) -> bool {
        false
    }

    #[inline(always)]
    fn exact(_: Type, four: &[f32; 4]) -> V128 {
        float::four_f32(four)
    }

    fn vector(_: Type, values: &[f32], stride: usize, x: &[f32], out: &mut [f32]) {
        float::vector(values, stride, x, out, float::four_f32);
    }
}

impl Float<2> for i16 {
    fn is_special_half(self) -> bool {
        self & 0x7c00 == 0x7c00
    }

    #[inline(always)]
    fn exact(ty: Type, four: &[i16; 4]) -> V128 {
        if ty == Type::F16 {
            float::four_f16_special(four)
        } else {
            float::four_bf16(four)
        }
    }

    fn vector(ty: Type, values: &[i16], stride: usize, x: &[f32], out: &mut [f32]) {
        if ty == Type::F16 {
            float::vector(values, stride, x, out, float::four_f16);
        } else {
            float::vector(values, stride, x, out, float::four_bf16);
        }
    }
}

impl<T: Float<BYTES>, const BYTES: usize> Layout for Floats<T, BYTES> {
    fn put_rows(&mut self, first: usize, raw: &[u8]) {
        for (raw, at) in raw.chunks_exact(self.size.row_bytes()).zip(first..) {
            let row = self.values.at(at);
            row.iter_mut()
                .zip(raw.as_chunks().0)
                .for_each(|(value, &bytes)| *value = (self.read)(bytes));
            if self.size.ty == Type::F16 {
                self.special |= row.iter().any(|value| value.is_special_half());
            }
        }
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        self.unfold(row, 0, out);
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::F32]
    }

    fn multiply(&self, x: &Activations, _: Form, out: &mut [f32], stride: usize) {
        let Size { ty, rows, cols } = self.size;
        if x.tokens() == 1 && !self.special {
            T::vector(ty, &self.values, self.stride(), x.rows(), &mut out[..rows]);
        } else {
            float::batch(rows, cols, x.rows(), out, stride, &|row, k, out| {
                self.unfold(row, k, out)
            });
        }
    }

    fn multiply_rows(&self, x: &Activations, _: Form, rows: &[usize], out: &mut [f32]) {
        let Size { ty, cols, .. } = self.size;
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(1)) {
            if self.special {
                let unfold = |_: usize, k: usize, out: &mut [f32]| self.unfold(*row, k, out);
                float::batch(1, cols, x.rows(), out, 1, &unfold);
            } else {
                let values = &self.values[row * self.stride()..][..self.stride()];
                T::vector(ty, values, self.stride(), x.rows(), out);
            }
        }
    }
}

/// The blocks of the file, for formats without a kernel of their own.
struct Raw {
    size: Size,
    blocks: Rows<u8>,
}

impl Raw {
    fn room(size: Size) -> Result<Box<dyn Layout>> {
        let row_blocks = size.cols / size.ty.block_len();
        let row_bytes = row_blocks.saturating_mul(size.ty.block_bytes());
        Ok(Box::new(Raw {
            size,
            blocks: size.room(size.rows, row_bytes, 0)?,
        }))
    }

    /// Values of a row from `k` on, the begin of a block, as many as `out` takes, which are whole blocks.
    fn unfold(&self, row: usize, k: usize, out: &mut [f32]) {
        let Size { ty, .. } = self.size;
        let from = row * self.size.row_bytes() + k / ty.block_len() * ty.block_bytes();
        let raw = &self.blocks[from..][..out.len() / ty.block_len() * ty.block_bytes()];
        quant::dequantize(ty, raw, out).expect("whole blocks, as the caller promised");
    }
}

impl Layout for Raw {
    fn put_rows(&mut self, first: usize, raw: &[u8]) {
        for (raw, at) in raw.chunks_exact(self.size.row_bytes()).zip(first..) {
            self.blocks.at(at).copy_from_slice(raw);
        }
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        self.unfold(row, 0, out);
    }

    fn bytes(&self) -> usize {
        self.blocks.bytes()
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::F32]
    }

    fn multiply(&self, x: &Activations, _: Form, out: &mut [f32], stride: usize) {
        let Size { rows, cols, .. } = self.size;
        float::batch(rows, cols, x.rows(), out, stride, &|row, k, out| {
            self.unfold(row, k, out)
        });
    }

    fn multiply_rows(&self, x: &Activations, _: Form, rows: &[usize], out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(1)) {
            let unfold = |_: usize, k: usize, out: &mut [f32]| self.unfold(*row, k, out);
            float::batch(1, self.size.cols, x.rows(), out, 1, &unfold);
        }
    }
}

/// Interleaved rows; missing ones of the last group are zero.
struct Packed<G> {
    size: Size,
    groups: Rows<G>,
    /// Rows with an infinite scale, or one that is no number, which the kernels would take for finite: their products are NaN.
    broken: BTreeSet<usize>,
}

/// Rows in one call of a vector kernel: short calls are optimised by the browser sooner, long ones read longer streams.
const ROWS_PER_CALL: usize = 512;

impl<G: Kernels> Packed<G> {
    fn room(size: Size) -> Result<Box<dyn Layout>> {
        let groups = size.room(size.rows.div_ceil(G::ROWS), size.cols / G::LEN, G::ZERO)?;
        Ok(Box::new(Packed {
            size,
            groups,
            broken: BTreeSet::new(),
        }))
    }

    fn per_row(&self) -> usize {
        self.size.cols / G::LEN
    }
}

impl<G: Kernels> Layout for Packed<G> {
    fn put_rows(&mut self, first: usize, raw: &[u8]) {
        for (raw, row) in raw.chunks_exact(self.size.row_bytes()).zip(first..) {
            let blocks = || raw.chunks_exact(self.size.ty.block_bytes());
            let finite = |block: &[u8]| G::HALVES.iter().all(|at| packed::is_finite_half(block, *at));
            if !G::HALVES.is_empty() && !blocks().all(finite) {
                self.broken.insert(row);
            }
            let groups = self.groups.at(row / G::ROWS);
            for (group, block) in groups.iter_mut().zip(blocks()) {
                group.put(row % G::ROWS, block);
            }
        }
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        let groups = &self.groups[row / G::ROWS * self.per_row()..][..self.per_row()];
        for (group, out) in groups.iter().zip(out.chunks_exact_mut(G::LEN)) {
            group.get(row % G::ROWS, out);
        }
    }

    fn bytes(&self) -> usize {
        self.groups.bytes()
    }

    fn forms(&self) -> &'static [Form] {
        G::FORMS
    }

    fn multiply(&self, x: &Activations, form: Form, out: &mut [f32], stride: usize) {
        let Size { rows, cols, .. } = self.size;
        if x.tokens() == 1 {
            let per_call = ROWS_PER_CALL / G::ROWS * self.per_row();
            let calls = self
                .groups
                .chunks(per_call)
                .zip(out[..rows].chunks_mut(ROWS_PER_CALL));
            calls.for_each(|(groups, out)| G::vector(groups, self.per_row(), x, form, out));
        } else {
            G::batch(
                &self.groups,
                Shape {
                    rows,
                    cols,
                    tokens: x.tokens(),
                    stride,
                },
                x,
                form,
                out,
            );
        }
        for out in out.chunks_mut(stride).take(x.tokens()) {
            self.broken.iter().for_each(|row| out[*row] = f32::NAN);
        }
    }

    fn multiply_rows(&self, x: &Activations, form: Form, rows: &[usize], out: &mut [f32]) {
        /// The most rows that are interleaved.
        const MOST: usize = 8;
        let mut products = [0.0; MOST];
        let mut computed = None;
        for (row, out) in rows.iter().zip(out) {
            let (group, place) = (row / G::ROWS, row % G::ROWS);
            if computed.replace(group) != Some(group) {
                let groups = &self.groups[group * self.per_row()..][..self.per_row()];
                G::vector(groups, self.per_row(), x, form, &mut products[..G::ROWS]);
            }
            *out = if self.broken.contains(row) {
                f32::NAN
            } else {
                products[place]
            };
        }
    }
}

/// Whether kernels for eight-bit activations are built: where they are fast, and where they are tested.
const EIGHT_BITS: bool = lanes::RELAXED || cfg!(not(all(target_arch = "wasm32", target_os = "unknown")));

/// The forms of the formats with up to six bits.
const BOTH: &[Form] = if lanes::RELAXED {
    &[Form::I8(Dot::Pairs), Form::I8(Dot::Fours), Form::I16]
} else if EIGHT_BITS {
    &[Form::I16, Form::I8(Dot::Pairs), Form::I8(Dot::Fours)]
} else {
    &[Form::I16]
};

/// The kernels of a group, and the tiles that were fastest for it.
trait Kernels: Group + Send + Sync + 'static {
    const FORMS: &'static [Form];

    /// One vector times all rows of `groups`.
    fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]);

    /// A batch times all rows.
    fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]);
}

impl<C: Product + BlockK + Send + Sync + 'static> Kernels for GroupK<C> {
    const FORMS: &'static [Form] = BOTH;

    fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
        match form {
            Form::I8(Dot::Pairs) if EIGHT_BITS => k::vector8::<C, Pairs>(groups, per_row, x.supers8(), out),
            Form::I8(Dot::Fours) if EIGHT_BITS => k::vector8::<C, Fours>(groups, per_row, x.supers8(), out),
            _ => k::vector16(groups, per_row, x.supers16(), out),
        }
    }

    fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
        let panel = &mut k::Panel8::empty();
        match form {
            Form::I8(Dot::Pairs) if EIGHT_BITS => {
                batch::<k::Batch8<C, Pairs>, 4, 2>(panel, groups, shape, x.supers8(), out)
            }
            Form::I8(Dot::Fours) if EIGHT_BITS => {
                batch::<k::Batch8<C, Fours>, 4, 2>(panel, groups, shape, x.supers8(), out)
            }
            _ => batch::<k::Batch16<C>, 2, 4>(&mut k::Panel16::empty(), groups, shape, x.supers16(), out),
        }
    }
}

/// [`Kernels`] of the groups that are [`Legacy`].
macro_rules! legacy_kernels {
    ($group:ident) => {
        impl<C: Product + BlockLegacy + Send + Sync + 'static> Kernels for $group<C>
        where
            $group<C>: Legacy,
        {
            const FORMS: &'static [Form] = BOTH;

            fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
                match form {
                    Form::I8(Dot::Pairs) if EIGHT_BITS => {
                        legacy::vector8::<Self, Pairs>(groups, per_row, x.supers8(), out)
                    }
                    Form::I8(Dot::Fours) if EIGHT_BITS => {
                        legacy::vector8::<Self, Fours>(groups, per_row, x.supers8(), out)
                    }
                    _ => legacy::vector16(groups, per_row, x.supers16(), out),
                }
            }

            fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
                let panel = &mut legacy::Panel8::empty();
                match form {
                    Form::I8(Dot::Pairs) if EIGHT_BITS => {
                        batch::<legacy::Batch8<Self, Pairs>, 4, 2>(panel, groups, shape, x.supers8(), out)
                    }
                    Form::I8(Dot::Fours) if EIGHT_BITS => {
                        batch::<legacy::Batch8<Self, Fours>, 4, 2>(panel, groups, shape, x.supers8(), out)
                    }
                    _ => {
                        let panel = &mut legacy::Panel16::empty();
                        batch::<legacy::Batch16<Self>, 4, 2>(panel, groups, shape, x.supers16(), out);
                    }
                }
            }
        }
    };
}

legacy_kernels!(Group0);
legacy_kernels!(Group1);

/// [`Kernels`] of the groups that are [`Sixteens`].
macro_rules! sixteens_kernels {
    ($group:ident) => {
        impl Kernels for $group {
            const FORMS: &'static [Form] = BOTH;

            fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
                match form {
                    Form::I8(Dot::Pairs) if EIGHT_BITS => {
                        sixteens::vector8::<Self, Pairs>(groups, per_row, x.supers8(), out)
                    }
                    Form::I8(Dot::Fours) if EIGHT_BITS => {
                        sixteens::vector8::<Self, Fours>(groups, per_row, x.supers8(), out)
                    }
                    _ => sixteens::vector16(groups, per_row, x.supers16(), out),
                }
            }

            fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
                let panel = &mut sixteens::Panel8::empty();
                match form {
                    Form::I8(Dot::Pairs) if EIGHT_BITS => {
                        batch::<sixteens::Batch8<Self, Pairs>, 2, 4>(panel, groups, shape, x.supers8(), out)
                    }
                    Form::I8(Dot::Fours) if EIGHT_BITS => {
                        batch::<sixteens::Batch8<Self, Fours>, 2, 4>(panel, groups, shape, x.supers8(), out)
                    }
                    _ => {
                        let panel = &mut sixteens::Panel16::empty();
                        batch::<sixteens::Batch16<Self>, 2, 4>(panel, groups, shape, x.supers16(), out)
                    }
                }
            }
        }
    };
}

sixteens_kernels!(GroupQ2K);
sixteens_kernels!(GroupQ3K);
sixteens_kernels!(GroupQ6K);

/// The forms of the formats whose codes have a sign.
const SIGNED: &[Form] = if EIGHT_BITS {
    &[Form::I16, Form::Planes]
} else {
    &[Form::I16]
};

/// [`Kernels::vector`] of the groups that are [`Signed`].
fn signed_vector<G: Signed>(groups: &[G], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
    match form {
        Form::Planes if EIGHT_BITS => signed::vector_planes(groups, per_row, x.planes(), out),
        _ => signed::vector16(groups, per_row, x.supers16(), out),
    }
}

/// [`Kernels::batch`] of the groups that are [`Signed`].
fn signed_batch<G: Signed>(groups: &[G], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
    match form {
        Form::Planes if EIGHT_BITS => {
            let panel = &mut signed::PanelPlanes::empty();
            batch::<signed::BatchPlanes<G>, 2, 2>(panel, groups, shape, x.planes(), out)
        }
        _ => {
            let panel = &mut signed::Panel16::empty();
            batch::<signed::Batch16<G>, 4, 2>(panel, groups, shape, x.supers16(), out)
        }
    }
}

impl Kernels for GroupQ8_0 {
    const FORMS: &'static [Form] = SIGNED;

    fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
        signed_vector(groups, per_row, x, form, out);
    }

    fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
        signed_batch(groups, shape, x, form, out);
    }
}

impl<B: BlockLevels + Send + Sync + 'static, const BLOCKS: usize> Kernels for GroupLevels<B, BLOCKS> {
    const FORMS: &'static [Form] = SIGNED;

    fn vector(groups: &[Self], per_row: usize, x: &Activations, form: Form, out: &mut [f32]) {
        signed_vector(groups, per_row, x, form, out);
    }

    fn batch(groups: &[Self], shape: Shape, x: &Activations, form: Form, out: &mut [f32]) {
        signed_batch(groups, shape, x, form, out);
    }
}
