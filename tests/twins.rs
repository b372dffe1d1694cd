//! Every product kernel against its scalar twin: integers exactly, and floats too where they are rounded alike.

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/random.rs"]
mod random;

use blocks::random_rows;
use fanlight::kernels::activations::{BlockPlanes, Super8, Super16, SuperPlanes};
use fanlight::kernels::packed::{
    Fives, Group, Group0, Group1, GroupK, GroupLevels, GroupQ2K, GroupQ3K, GroupQ6K, GroupQ8_0, Iq4Nl, Iq4Xs,
    Mxfp4, Nibbles,
};
use fanlight::kernels::simd::inner::{Fours, Pairs};
use fanlight::kernels::{lanes, scalar, simd};
use fanlight::quant::Type;
use random::Random;

type Kernel<G, X> = fn(&[G], usize, &[X], &mut [f32]);

/// Compares the two kernels on matrices of all numbers of rows up to 17 and of up to nine blocks.
fn compare<G: Group, X: Copy>(
    ty: Type,
    quantise: fn(&[f32], usize, usize, &mut [X]),
    zero: X,
    kernel: Kernel<G, X>,
    twin: Kernel<G, X>,
) {
    let mut random = Random::new(u64::from(ty.id()));
    for blocks in 1..=9 {
        let cols = blocks * G::LEN;
        let raw = random_rows(ty, 17, cols, &mut random);
        let x = random.vector(cols);
        let mut supers = vec![zero; cols.div_ceil(256)];
        quantise(&x, 1, cols, &mut supers);
        for rows in 1..=17 {
            let groups: Vec<G> = pack(&raw, rows, blocks, ty.block_bytes());
            let (mut found, mut expected) = (vec![0.0; rows], vec![0.0; rows]);
            kernel(&groups, blocks, &supers, &mut found);
            twin(&groups, blocks, &supers, &mut expected);
            for (r, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let close = (found - expected).abs() <= 1e-5 * expected.abs() + 1e-6;
                let equal = found.to_bits() == expected.to_bits();
                assert!(
                    if lanes::RELAXED { close } else { equal },
                    "{} row {r} of {rows}, {cols} columns: {found}, expected {expected}",
                    ty.name()
                );
            }
        }
    }
}

/// The first `rows` rows as groups.
fn pack<G: Group>(raw: &[u8], rows: usize, blocks: usize, block_bytes: usize) -> Vec<G> {
    let mut groups = vec![G::ZERO; rows.div_ceil(G::ROWS) * blocks];
    for (i, block) in raw.chunks_exact(block_bytes).take(rows * blocks).enumerate() {
        let (row, b) = (i / blocks, i % blocks);
        groups[row / G::ROWS * blocks + b].put(row % G::ROWS, block);
    }
    groups
}

fn eight<G: Group>(ty: Type, kernel: Kernel<G, Super8>, twin: Kernel<G, Super8>) {
    compare(ty, simd::quantise::to_i8, Super8::ZERO, kernel, twin);
}

fn twelve<G: Group>(ty: Type, kernel: Kernel<G, Super16>, twin: Kernel<G, Super16>) {
    compare(ty, simd::quantise::to_i16, Super16::ZERO, kernel, twin);
}

#[test]
fn q4_0_and_q4_1() {
    eight::<Group0<Nibbles>>(
        Type::Q4_0,
        simd::legacy::vector8::<_, Pairs>,
        scalar::legacy::vector8,
    );
    eight::<Group0<Nibbles>>(
        Type::Q4_0,
        simd::legacy::vector8::<_, Fours>,
        scalar::legacy::vector8,
    );
    eight::<Group1<Nibbles>>(
        Type::Q4_1,
        simd::legacy::vector8::<_, Pairs>,
        scalar::legacy::vector8,
    );
    eight::<Group1<Nibbles>>(
        Type::Q4_1,
        simd::legacy::vector8::<_, Fours>,
        scalar::legacy::vector8,
    );
    twelve::<Group0<Nibbles>>(Type::Q4_0, simd::legacy::vector16, scalar::legacy::vector16);
    twelve::<Group1<Nibbles>>(Type::Q4_1, simd::legacy::vector16, scalar::legacy::vector16);
}

#[test]
fn q5_0_and_q5_1() {
    eight::<Group0<Fives>>(
        Type::Q5_0,
        simd::legacy::vector8::<_, Pairs>,
        scalar::legacy::vector8,
    );
    eight::<Group0<Fives>>(
        Type::Q5_0,
        simd::legacy::vector8::<_, Fours>,
        scalar::legacy::vector8,
    );
    eight::<Group1<Fives>>(
        Type::Q5_1,
        simd::legacy::vector8::<_, Pairs>,
        scalar::legacy::vector8,
    );
    eight::<Group1<Fives>>(
        Type::Q5_1,
        simd::legacy::vector8::<_, Fours>,
        scalar::legacy::vector8,
    );
    twelve::<Group0<Fives>>(Type::Q5_0, simd::legacy::vector16, scalar::legacy::vector16);
    twelve::<Group1<Fives>>(Type::Q5_1, simd::legacy::vector16, scalar::legacy::vector16);
}

fn signed<G: simd::signed::Signed + scalar::signed::Signed>(ty: Type) {
    twelve::<G>(ty, simd::signed::vector16, scalar::signed::vector16);
    compare::<G, SuperPlanes>(
        ty,
        |rows, tokens, cols, out| {
            let mut supers = vec![Super16::ZERO; out.len()];
            simd::quantise::to_i16(rows, tokens, cols, &mut supers);
            simd::quantise::to_planes(&supers, out);
        },
        [BlockPlanes::ZERO; 8],
        simd::signed::vector_planes,
        scalar::signed::vector_planes,
    );
}

#[test]
fn q8_0_iq4_and_mxfp4() {
    signed::<GroupQ8_0>(Type::Q8_0);
    signed::<GroupLevels<Iq4Nl, 1>>(Type::Iq4Nl);
    signed::<GroupLevels<Iq4Xs, 8>>(Type::Iq4Xs);
    signed::<GroupLevels<Mxfp4, 1>>(Type::Mxfp4);
}

#[test]
fn q4_k_and_q5_k() {
    eight::<GroupK<Nibbles>>(Type::Q4K, simd::k::vector8::<_, Pairs>, scalar::k::vector8);
    eight::<GroupK<Nibbles>>(Type::Q4K, simd::k::vector8::<_, Fours>, scalar::k::vector8);
    eight::<GroupK<Fives>>(Type::Q5K, simd::k::vector8::<_, Pairs>, scalar::k::vector8);
    eight::<GroupK<Fives>>(Type::Q5K, simd::k::vector8::<_, Fours>, scalar::k::vector8);
    twelve::<GroupK<Nibbles>>(Type::Q4K, simd::k::vector16, scalar::k::vector16);
    twelve::<GroupK<Fives>>(Type::Q5K, simd::k::vector16, scalar::k::vector16);
}

fn sixteens<G: simd::sixteens::Sixteens + scalar::sixteens::Sixteens>(ty: Type) {
    eight::<G>(ty, simd::sixteens::vector8::<_, Pairs>, scalar::sixteens::vector8);
    eight::<G>(ty, simd::sixteens::vector8::<_, Fours>, scalar::sixteens::vector8);
    twelve::<G>(ty, simd::sixteens::vector16, scalar::sixteens::vector16);
}

#[test]
fn q2_k_q3_k_and_q6_k() {
    sixteens::<GroupQ2K>(Type::Q2K);
    sixteens::<GroupQ3K>(Type::Q3K);
    sixteens::<GroupQ6K>(Type::Q6K);
}

#[test]
fn floats() {
    let mut random = Random::new(1);
    for cols in [1_usize, 2, 3, 4, 5, 31, 256, 257, 1000] {
        let stride = cols.next_multiple_of(4);
        for rows in 1..=9 {
            let mut weights = random.vector(rows * stride);
            weights.chunks_mut(stride).for_each(|row| row[cols..].fill(0.0));
            let x = random.vector(cols);
            let (mut found, mut expected) = (vec![0.0; rows], vec![0.0; rows]);
            simd::float::vector(&weights, stride, &x, &mut found, simd::float::four_f32);
            scalar::float::vector(&weights, stride, &x, &mut expected, |w| *w);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 1e-6 * cols as f32,
                    "{cols} columns: {found}, expected {expected}"
                );
            }
        }
    }
}
