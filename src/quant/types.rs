//! The tensor types of ggml: number, name, block, and the way to f32.

use crate::error::{Error, Kind, Result};

use super::block::{Block, dequantize_blocks};
use super::{float, fp4, iq, k, legacy, ternary};

/// The type of a tensor's values. The discriminant is the number that GGUF files carry.
#[allow(missing_docs)] // the names are the field's; each block struct documents its own layout
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Type {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2K = 10,
    Q3K = 11,
    Q4K = 12,
    Q5K = 13,
    Q6K = 14,
    Q8K = 15,
    Iq2Xxs = 16,
    Iq2Xs = 17,
    Iq3Xxs = 18,
    Iq1S = 19,
    Iq4Nl = 20,
    Iq3S = 21,
    Iq2S = 22,
    Iq4Xs = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    Iq1M = 29,
    Bf16 = 30,
    Tq1_0 = 34,
    Tq2_0 = 35,
    Mxfp4 = 39,
    Nvfp4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

/// What there is to know about a type: name, values and bytes per block, and its dequantiser.
struct Row {
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    dequantize: fn(&[u8], &mut [f32]),
}

/// The row of the type whose block is `B`.
const fn row<B: Block>(name: &'static str) -> Row {
    Row {
        name,
        block_len: B::LEN,
        block_bytes: B::BYTES,
        dequantize: dequantize_blocks::<B>,
    }
}

impl Type {
    /// Every type there is, in the order of their numbers.
    pub const ALL: [Type; 35] = [
        Type::F32,
        Type::F16,
        Type::Q4_0,
        Type::Q4_1,
        Type::Q5_0,
        Type::Q5_1,
        Type::Q8_0,
        Type::Q8_1,
        Type::Q2K,
        Type::Q3K,
        Type::Q4K,
        Type::Q5K,
        Type::Q6K,
        Type::Q8K,
        Type::Iq2Xxs,
        Type::Iq2Xs,
        Type::Iq3Xxs,
        Type::Iq1S,
        Type::Iq4Nl,
        Type::Iq3S,
        Type::Iq2S,
        Type::Iq4Xs,
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::F64,
        Type::Iq1M,
        Type::Bf16,
        Type::Tq1_0,
        Type::Tq2_0,
        Type::Mxfp4,
        Type::Nvfp4,
        Type::Q1_0,
        Type::Q2_0,
    ];

    /// The type with this number in a GGUF file. None for numbers that were never given, and for those that were
    /// taken back: 4 and 5 (Q4_2, Q4_3), 31 to 33 and 36 to 38 (repacked variants of Q4_0 and IQ4_NL).
    pub fn from_id(id: u32) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.id() == id)
    }

    /// The number of this type in a GGUF file.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// The name that ggml gives the type: `Q4_K`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// How many values a block holds.
    pub fn block_len(self) -> usize {
        self.row().block_len
    }

    /// How many bytes a block takes.
    pub fn block_bytes(self) -> usize {
        self.row().block_bytes
    }

    /// How many bytes a row of `cols` values takes. None if `cols` is not a whole number of blocks, or if the
    /// answer does not fit.
    pub fn row_bytes(self, cols: u64) -> Option<u64> {
        let row = self.row();
        let len = row.block_len as u64;
        if cols.is_multiple_of(len) {
            (cols / len).checked_mul(row.block_bytes as u64)
        } else {
            None
        }
    }

    fn row(self) -> Row {
        match self {
            Type::F32 => row::<float::ValueF32>("F32"),
            Type::F16 => row::<float::ValueF16>("F16"),
            Type::Bf16 => row::<float::ValueBf16>("BF16"),
            Type::F64 => row::<float::ValueF64>("F64"),
            Type::I8 => row::<float::ValueI8>("I8"),
            Type::I16 => row::<float::ValueI16>("I16"),
            Type::I32 => row::<float::ValueI32>("I32"),
            Type::I64 => row::<float::ValueI64>("I64"),
            Type::Q4_0 => row::<legacy::BlockQ4_0>("Q4_0"),
            Type::Q4_1 => row::<legacy::BlockQ4_1>("Q4_1"),
            Type::Q5_0 => row::<legacy::BlockQ5_0>("Q5_0"),
            Type::Q5_1 => row::<legacy::BlockQ5_1>("Q5_1"),
            Type::Q8_0 => row::<legacy::BlockQ8_0>("Q8_0"),
            Type::Q8_1 => row::<legacy::BlockQ8_1>("Q8_1"),
            Type::Q2K => row::<k::BlockQ2K>("Q2_K"),
            Type::Q3K => row::<k::BlockQ3K>("Q3_K"),
            Type::Q4K => row::<k::BlockQ4K>("Q4_K"),
            Type::Q5K => row::<k::BlockQ5K>("Q5_K"),
            Type::Q6K => row::<k::BlockQ6K>("Q6_K"),
            Type::Q8K => row::<k::BlockQ8K>("Q8_K"),
            Type::Iq1S => row::<iq::BlockIq1S>("IQ1_S"),
            Type::Iq1M => row::<iq::BlockIq1M>("IQ1_M"),
            Type::Iq2Xxs => row::<iq::BlockIq2Xxs>("IQ2_XXS"),
            Type::Iq2Xs => row::<iq::BlockIq2Xs>("IQ2_XS"),
            Type::Iq2S => row::<iq::BlockIq2S>("IQ2_S"),
            Type::Iq3Xxs => row::<iq::BlockIq3Xxs>("IQ3_XXS"),
            Type::Iq3S => row::<iq::BlockIq3S>("IQ3_S"),
            Type::Iq4Nl => row::<iq::BlockIq4Nl>("IQ4_NL"),
            Type::Iq4Xs => row::<iq::BlockIq4Xs>("IQ4_XS"),
            Type::Tq1_0 => row::<ternary::BlockTq1_0>("TQ1_0"),
            Type::Tq2_0 => row::<ternary::BlockTq2_0>("TQ2_0"),
            Type::Q1_0 => row::<ternary::BlockQ1_0>("Q1_0"),
            Type::Q2_0 => row::<ternary::BlockQ2_0>("Q2_0"),
            Type::Mxfp4 => row::<fp4::BlockMxfp4>("MXFP4"),
            Type::Nvfp4 => row::<fp4::BlockNvfp4>("NVFP4"),
        }
    }
}

/// Unfolds the whole blocks of `raw` to f32. The two lengths must belong together: `raw` holds n blocks, `out` n
/// times [`Type::block_len`] values.
pub fn dequantize(ty: Type, raw: &[u8], out: &mut [f32]) -> Result<()> {
    let row = ty.row();
    let blocks = raw.len() / row.block_bytes;
    if !raw.len().is_multiple_of(row.block_bytes) || blocks.checked_mul(row.block_len) != Some(out.len()) {
        let (bytes, values) = (raw.len(), out.len());
        let (block_bytes, block_len, name) = (row.block_bytes, row.block_len, row.name);
        return Err(Error::new(
            Kind::InvalidArgument,
            format!(
                "{bytes} bytes of {name} cannot be {values} values: a block has {block_bytes} bytes and {block_len} values"
            ),
        ));
    }
    (row.dequantize)(raw, out);
    Ok(())
}
