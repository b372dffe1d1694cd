//! Functions of whole vectors against their scalar twins: every tail, every special value.

#[path = "support/random.rs"]
mod random;

use fanlight::kernels::{scalar, vector};
use random::Random;

const LENGTHS: [usize; 20] = [
    1, 2, 3, 4, 5, 7, 8, 11, 15, 16, 17, 19, 31, 33, 64, 100, 127, 896, 1024, 4099,
];

/// Fails unless each value is within `relative` of the expected one, or both are NaN, or both are below `tiny`.
#[track_caller]
fn assert_close(name: &str, found: &[f32], expected: &[f32], relative: f32, tiny: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let equal = found == expected || (found.is_nan() && expected.is_nan());
        let close = (found - expected).abs() <= relative * expected.abs() + tiny;
        assert!(equal || close, "{name}[{i}]: {found:e}, expected {expected:e}");
    }
}

#[test]
fn norms_agree_with_the_twin_at_every_length() {
    let mut random = Random::new(1);
    for len in LENGTHS {
        let (x, weight) = (random.vector(len), random.vector(len));
        let (mut found, mut expected) = (vec![0.0; len], vec![0.0; len]);
        vector::rms_norm(&x, &weight, 1e-6, &mut found);
        scalar::vector::rms_norm(&x, &weight, 1e-6, &mut expected);
        assert_close("rms_norm", &found, &expected, 1e-6, 0.0);
        let mut in_place = x.clone();
        vector::rms_norm_in_place(&mut in_place, &weight, 1e-6);
        assert_eq!(in_place, found, "in place");
    }
    let mut zeros = [0.0; 9];
    vector::rms_norm_in_place(&mut zeros, &[1.0; 9], 1e-6);
    assert_eq!(zeros, [0.0; 9]);
}

#[test]
fn softmax_sum_max_and_argmax_agree_with_the_twin_at_every_length() {
    let mut random = Random::new(2);
    for len in LENGTHS {
        let x: Vec<f32> = random.vector(len).iter().map(|x| x * 8.0).collect();
        assert_eq!(vector::max(&x), scalar::vector::max(&x));
        assert_eq!(vector::max_abs(&x), scalar::vector::max_abs(&x));
        assert_eq!(vector::argmax(&x), scalar::vector::argmax(&x));
        let exact: f64 = x.iter().map(|&x| f64::from(x)).sum();
        let magnitude: f32 = x.iter().map(|x| x.abs()).sum();
        assert_close("sum", &[vector::sum(&x)], &[exact as f32], 0.0, magnitude * 1e-6);
        let (mut found, mut expected) = (x.clone(), x);
        vector::softmax(&mut found);
        scalar::vector::softmax(&mut expected);
        assert_close("softmax", &found, &expected, 4e-6, 1e-37);
    }
}

#[test]
fn the_largest_magnitude_skips_nan_at_every_place() {
    for len in 1..40 {
        for place in 0..len {
            let mut x = vec![f32::NAN; len];
            assert_eq!(vector::max_abs(&x), 0.0);
            x[place] = -3.0;
            assert_eq!(vector::max_abs(&x), 3.0, "{place} of {len}");
        }
    }
}

#[test]
fn the_sigmoid_gate_agrees_with_the_twin_at_every_length() {
    let mut random = Random::new(3);
    for len in LENGTHS {
        let gate: Vec<f32> = random.vector(len).iter().map(|x| x * 20.0).collect();
        let x = random.vector(len);
        let (mut found, mut expected) = (x.clone(), x);
        vector::sigmoid_mul_in_place(&mut found, &gate);
        scalar::vector::sigmoid_mul_in_place(&mut expected, &gate);
        assert_close("sigmoid_mul_in_place", &found, &expected, 5e-7, 1e-35);
    }
}

#[test]
fn softmax_gives_nothing_to_minus_infinity() {
    let mut x = [0.0, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
    vector::softmax(&mut x);
    assert_eq!(x, [0.5, 0.0, 0.5, 0.0, 0.0]);
    let mut none = [f32::NEG_INFINITY; 5];
    vector::softmax(&mut none);
    assert_eq!(none, [0.0; 5]);
}

#[test]
fn argmax_is_the_first_of_equals_and_skips_nan() {
    let mut x = vec![0.0; 37];
    x[11] = 5.0;
    x[12] = 5.0;
    x[36] = 5.0;
    x[3] = f32::NAN;
    assert_eq!(vector::argmax(&x), 11);
    assert_eq!(vector::max(&x), 5.0);
    assert_eq!(vector::argmax(&[f32::NAN; 9]), 0);
    assert_eq!(vector::argmax(&[]), 0);
    assert_eq!(vector::argmax(&[f32::NEG_INFINITY; 9]), 0);
}

#[test]
fn exp_keeps_its_stated_error_over_the_whole_range() {
    let x: Vec<f32> = (0..400_000)
        .map(|i| -87.3 + 175.3 * i as f32 / 400_000.0)
        .collect();
    let (mut found, mut expected) = (x.clone(), x);
    vector::exp_in_place(&mut found);
    scalar::vector::exp_in_place(&mut expected);
    assert_close("exp", &found, &expected, 2e-7, 0.0);

    let mut special = [
        0.0,
        -0.0,
        f32::NEG_INFINITY,
        -88.0,
        f32::NAN,
        f32::INFINITY,
        1e30,
        -1e30,
        1e-40,
    ];
    vector::exp_in_place(&mut special);
    assert_eq!(special[..4], [1.0, 1.0, 0.0, 0.0]);
    assert!(special[4].is_nan());
    assert!(special[5] > 1e38 && special[6] > 1e38 && special[7] == 0.0 && special[8] == 1.0);
}

#[test]
fn silu_and_sums_agree_with_the_twin_at_every_length() {
    let mut random = Random::new(3);
    for len in LENGTHS {
        let gate: Vec<f32> = random.vector(len).iter().map(|x| x * 20.0).collect();
        let up = random.vector(len);
        let (mut found, mut expected) = (vec![0.0; len], vec![0.0; len]);
        vector::silu_mul(&gate, &up, &mut found);
        scalar::vector::silu_mul(&gate, &up, &mut expected);
        assert_close("silu_mul", &found, &expected, 5e-7, 1e-35);
        vector::add_assign(&mut found, &up);
        scalar::vector::add_assign(&mut expected, &up);
        assert_close("add_assign", &found, &expected, 1e-5, 1e-5);
    }
    let mut out = [0.0; 4];
    vector::silu_mul(&[f32::NAN, f32::INFINITY, -200.0, 0.0], &[1.0; 4], &mut out);
    assert!(out[0].is_nan() && out[1] == f32::INFINITY && out[2].abs() < 1e-34 && out[3] == 0.0);
}

/// What a shard computes of a vector must not depend on where its slice begins.
#[test]
fn an_element_gives_the_same_bits_at_every_place() {
    let mut random = Random::new(4);
    let (gate, up) = (random.vector(64), random.vector(64));
    let mut whole = vec![0.0; 64];
    vector::silu_mul(&gate, &up, &mut whole);
    for start in 0..16 {
        for len in 1..20 {
            let mut part = vec![0.0; len];
            vector::silu_mul(&gate[start..start + len], &up[start..start + len], &mut part);
            assert_eq!(part, whole[start..start + len], "{len} values from {start}");
        }
    }
}

#[test]
fn every_half_becomes_its_float_and_comes_back() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let (mut found, mut expected) = (vec![0.0; 65_536], vec![0.0; 65_536]);
    vector::f16_to_f32(&halves, &mut found);
    scalar::vector::f16_to_f32(&halves, &mut expected);
    for (bits, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "half {bits:#06x}: {found:e}, expected {expected:e}");
    }
    let mut back = vec![0; 65_536];
    vector::f32_to_f16(&found, &mut back);
    for ((&bits, &back), x) in halves.iter().zip(&back).zip(&found) {
        let is_nan = |bits: u16| bits & 0x7fff > 0x7c00;
        assert!(
            bits == back || (is_nan(bits) && is_nan(back)),
            "{x:e}: {back:#06x}, expected {bits:#06x}"
        );
    }
}

#[test]
fn floats_between_two_halves_round_to_even() {
    let mut random = Random::new(5);
    let mut x: Vec<f32> = (0..200_003)
        .map(|_| f32::from_bits(random.bits() as u32))
        .collect();
    // All places exactly between two halves, and their neighbours.
    for bits in 0..0x7c00_u32 {
        let between = f32::from_bits(((bits << 13) | 0x1000) + (112 << 23));
        x.extend([between, between.next_up(), between.next_down(), -between]);
    }
    x.extend((0..2048).map(|i| (i as f32 + 0.5) * 2.0_f32.powi(-24)));
    x.extend([
        65_504.0,
        65_519.99,
        65_520.0,
        1e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        1e-45,
    ]);
    let (mut found, mut expected) = (vec![0; x.len()], vec![0; x.len()]);
    vector::f32_to_f16(&x, &mut found);
    scalar::vector::f32_to_f16(&x, &mut expected);
    for ((x, found), expected) in x.iter().zip(&found).zip(&expected) {
        assert!(
            found == expected || x.is_nan(),
            "{x:e}: {found:#06x}, expected {expected:#06x}"
        );
    }
}
