//! Activations to integers: against the scalar twin, bit for bit.

#[path = "support/random.rs"]
mod random;

use fanlight::kernels::activations::{BlockPlanes, Super8, Super16};
use fanlight::kernels::{Activations, Dot, Form, scalar, simd};
use random::Random;

/// Vectors of every length that comes up, with all kinds of values.
fn cases() -> Vec<(usize, usize, Vec<f32>)> {
    let mut random = Random::new(1);
    let mut cases = Vec::new();
    for cols in [32, 64, 224, 256, 288, 512, 896, 1024] {
        for tokens in [1, 2, 3, 5] {
            let mut x = random.vector(tokens * cols);
            cases.push((tokens, cols, x.clone()));
            x.iter_mut().step_by(37).for_each(|x| *x *= 100.0);
            cases.push((tokens, cols, x.clone()));
            x.iter_mut().for_each(|x| *x *= 1e-33);
            cases.push((tokens, cols, x));
        }
    }
    // Places exactly between two codes, the largest codes, zeros of both signs, subnormal values.
    let halves = (0..256)
        .map(|i| if i == 0 { 127.0 } else { (i % 200) as f32 - 99.5 })
        .collect();
    cases.push((1, 256, halves));
    cases.push((
        1,
        256,
        (0..256).map(|i| if i % 2 == 0 { 3.0 } else { -3.0 }).collect(),
    ));
    cases.push((1, 256, vec![1.0; 256]));
    cases.push((1, 256, vec![-0.0; 256]));
    cases.push((1, 256, vec![1e-40; 256]));
    cases.push((1, 256, vec![1e36; 256]));
    cases
}

#[test]
fn both_integer_forms_equal_the_twin() {
    for (tokens, cols, x) in cases() {
        let supers = tokens * cols.div_ceil(256);
        let (mut found, mut expected) = (vec![Super8::ZERO; supers], vec![Super8::ZERO; supers]);
        simd::quantise::to_i8(&x, tokens, cols, &mut found);
        scalar::quantise::to_i8(&x, tokens, cols, &mut expected);
        assert!(
            found == expected,
            "eight bits: {tokens} x {cols}: {found:?}\n{expected:?}"
        );
        let (mut found, mut expected) = (vec![Super16::ZERO; supers], vec![Super16::ZERO; supers]);
        simd::quantise::to_i16(&x, tokens, cols, &mut found);
        scalar::quantise::to_i16(&x, tokens, cols, &mut expected);
        assert!(
            found == expected,
            "twelve bits: {tokens} x {cols}: {found:?}\n{expected:?}"
        );
        let mut planes = [(); 2].map(|()| vec![[BlockPlanes::ZERO; 8]; supers]);
        simd::quantise::to_planes(&found, &mut planes[0]);
        scalar::quantise::to_planes(&found, &mut planes[1]);
        assert!(planes[0] == planes[1], "planes: {tokens} x {cols}");
        let largest = planes[0]
            .as_flattened()
            .iter()
            .flat_map(|x| x.low.iter().chain(&x.high))
            .max();
        assert!(largest <= Some(&127), "a byte without sign has seven bits here");
    }
}

#[test]
fn codes_of_sixteen_bits_equal_the_twin() {
    let mut random = Random::new(3);
    for len in (0..40).chain([64, 80, 128, 256]) {
        let mut x = random.vector(len);
        // Halfway between two codes, and what is no number.
        x.iter_mut()
            .step_by(5)
            .for_each(|x| *x = (*x * 100.0).trunc() + 0.5);
        x.iter_mut().skip(3).step_by(11).for_each(|x| *x = f32::NAN);
        for factor in [0.0, 1.0, 80.0] {
            let (mut found, mut expected) = (vec![7; len], vec![7; len]);
            simd::quantise::to_codes(&x, factor, &mut found);
            scalar::quantise::to_codes(&x, factor, &mut expected);
            assert_eq!(found, expected, "{len} values, times {factor}");
        }
    }
}

#[test]
fn a_batch_filled_row_by_row_is_the_same() {
    let mut random = Random::new(4);
    for (tokens, cols) in [(1, 32), (3, 288), (5, 1024)] {
        let x = random.vector(tokens * cols);
        for form in [Form::I8(Dot::Pairs), Form::I16, Form::Planes] {
            let mut whole = Activations::new(tokens, cols).unwrap();
            whole.begin(tokens, cols);
            whole.rows_mut().copy_from_slice(&x);
            whole.prepare(form);
            let mut by_row = Activations::new(tokens, cols).unwrap();
            by_row.fill(tokens, cols, form, |t, row| {
                row.copy_from_slice(&x[t * cols..][..cols])
            });
            assert!(by_row == whole, "{tokens} x {cols} as {form:?}");
            // A form that nobody has asked for yet comes of the same rows.
            by_row.prepare(Form::I8(Dot::Fours));
            whole.prepare(Form::I8(Dot::Fours));
            assert!(by_row == whole, "{tokens} x {cols} as {form:?}, then as bytes");
        }
    }
}

#[test]
fn codes_are_the_nearest_and_stay_in_range() {
    for (tokens, cols, x) in cases() {
        let mut supers = vec![Super8::ZERO; tokens * cols.div_ceil(256)];
        simd::quantise::to_i8(&x, tokens, cols, &mut supers);
        for (i, &x) in x.iter().enumerate() {
            let (t, k) = (i / cols, i % cols);
            let block = &supers[k / 256 * tokens + t].blocks[k % 256 / 32];
            let code = block.codes[k % 32];
            assert!(code > i8::MIN);
            let error = (f32::from(code) * block.scale - x).abs();
            assert!(
                error <= block.scale * 0.50002 + 1e-34,
                "{x} became {code} times {}",
                block.scale
            );
        }
    }
}

#[test]
fn what_lay_there_before_leaves_no_trace() {
    let mut random = Random::new(2);
    let x = random.vector(96);
    let mut stale = [Super8 { ..Super8::ZERO }];
    simd::quantise::to_i8(&random.vector(256), 1, 256, &mut stale);
    let mut fresh = [Super8::ZERO];
    simd::quantise::to_i8(&x, 1, 96, &mut stale);
    simd::quantise::to_i8(&x, 1, 96, &mut fresh);
    assert!(stale == fresh);
    let mut stale = [Super16::ZERO];
    simd::quantise::to_i16(&random.vector(256), 1, 256, &mut stale);
    let mut fresh = [Super16::ZERO];
    simd::quantise::to_i16(&x, 1, 96, &mut stale);
    simd::quantise::to_i16(&x, 1, 96, &mut fresh);
    assert!(stale == fresh);
}
