//! Random weights of every type, as bytes of a file.

use std::mem::offset_of;

use fanlight::quant::{Type, iq, k, legacy, ternary};
use half::f16;

use super::random::Random;

/// Rows of random blocks: every code occurs, scales are random and of both signs, about 0.01.
pub fn random_rows(ty: Type, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    let blocks = rows * cols / ty.block_len();
    let mut raw: Vec<u8> = (0..blocks * ty.block_bytes())
        .map(|_| random.bits() as u8)
        .collect();
    for block in raw.chunks_exact_mut(ty.block_bytes()) {
        for &at in half_fields(ty) {
            let scale = f16::from_f32(random.signed() * 0.02);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        match ty {
            Type::F32 => block.copy_from_slice(&random.normal().to_le_bytes()),
            Type::F64 => block.copy_from_slice(&f64::from(random.normal()).to_le_bytes()),
            Type::F16 => block.copy_from_slice(&f16::from_f32(random.normal()).to_le_bytes()),
            Type::Bf16 => block.copy_from_slice(&half::bf16::from_f32(random.normal()).to_le_bytes()),
            Type::Q8K => block[..4].copy_from_slice(&(random.signed() * 0.02).to_le_bytes()),
            Type::I64 => block.copy_from_slice(&(random.below(2001) as i64 - 1000).to_le_bytes()),
            Type::Mxfp4 => block[0] = 120 + random.below(8) as u8,
            // The scale's four nibbles are the top nibbles of four words: 0x2.. is a half of about 0.01.
            Type::Iq1M => block[55] = block[55] & 0x0f | 0x20,
            _ => {}
        }
    }
    raw
}

/// Sets every byte of every block but the float scales.
#[allow(dead_code)] // each test uses what it needs
pub fn fill_codes(ty: Type, raw: &mut [u8], filling: u8) {
    for block in raw.chunks_exact_mut(ty.block_bytes()) {
        let scales: Vec<_> = half_fields(ty)
            .iter()
            .map(|&at| (at, [block[at], block[at + 1]]))
            .collect();
        block.fill(filling);
        scales
            .iter()
            .for_each(|&(at, bytes)| block[at..at + 2].copy_from_slice(&bytes));
    }
}

/// Where half-precision fields stand in a block.
fn half_fields(ty: Type) -> &'static [usize] {
    match ty {
        Type::Q4_0 => &[offset_of!(legacy::BlockQ4_0, d)],
        Type::Q4_1 => &[offset_of!(legacy::BlockQ4_1, d), offset_of!(legacy::BlockQ4_1, m)],
        Type::Q5_0 => &[offset_of!(legacy::BlockQ5_0, d)],
        Type::Q5_1 => &[offset_of!(legacy::BlockQ5_1, d), offset_of!(legacy::BlockQ5_1, m)],
        Type::Q8_0 => &[offset_of!(legacy::BlockQ8_0, d)],
        Type::Q8_1 => &[offset_of!(legacy::BlockQ8_1, d), offset_of!(legacy::BlockQ8_1, s)],
        Type::Q2K => &[offset_of!(k::BlockQ2K, d), offset_of!(k::BlockQ2K, dmin)],
        Type::Q3K => &[offset_of!(k::BlockQ3K, d)],
        Type::Q4K => &[offset_of!(k::BlockQ4K, d), offset_of!(k::BlockQ4K, dmin)],
        Type::Q5K => &[offset_of!(k::BlockQ5K, d), offset_of!(k::BlockQ5K, dmin)],
        Type::Q6K => &[offset_of!(k::BlockQ6K, d)],
        Type::Iq1S => &[offset_of!(iq::BlockIq1S, d)],
        Type::Iq2Xxs => &[offset_of!(iq::BlockIq2Xxs, d)],
        Type::Iq2Xs => &[offset_of!(iq::BlockIq2Xs, d)],
        Type::Iq2S => &[offset_of!(iq::BlockIq2S, d)],
        Type::Iq3Xxs => &[offset_of!(iq::BlockIq3Xxs, d)],
        Type::Iq3S => &[offset_of!(iq::BlockIq3S, d)],
        Type::Iq4Nl => &[offset_of!(iq::BlockIq4Nl, d)],
        Type::Iq4Xs => &[offset_of!(iq::BlockIq4Xs, d)],
        Type::Tq1_0 => &[offset_of!(ternary::BlockTq1_0, d)],
        Type::Tq2_0 => &[offset_of!(ternary::BlockTq2_0, d)],
        Type::Q1_0 => &[offset_of!(ternary::BlockQ1_0, d)],
        Type::Q2_0 => &[offset_of!(ternary::BlockQ2_0, d)],
        _ => &[],
    }
}
