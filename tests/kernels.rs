//! Products of weights of every type with activations: against exact sums, and with themselves under every change that
//! must not matter.

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeSet;

use blocks::random_rows;
use fanlight::kernels::{Activations, Dot, Form, Matrix, multiply_as, multiply_rows};
use fanlight::quant::{self, Type};
use random::Random;

const ROWS: [usize; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17];
/// The last one is more than share one unpacking of the weights.
const TOKENS: [usize; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33, 130];

/// The largest number of values in a row that [`columns`] gives.
const MAX_COLS: usize = 1024;

/// Row lengths worth trying: a few blocks, about a panel, and odd ones where a block is one value.
fn columns(ty: Type) -> Vec<usize> {
    match ty.block_len() {
        1 => vec![1, 2, 3, 4, 5, 7, 8, 31, 64, 255, 256, 257, 515, 1024],
        32 => vec![32, 64, 96, 128, 224, 256, 288, 512, 544, 896, 1024],
        64 => vec![64, 128, 192, 256, 320, 576, 1024],
        128 => vec![128, 256, 384, 512, 896, 1024],
        _ => vec![256, 512, 768, 1024],
    }
}

/// One matrix as it came from a file, and what it means.
struct Case {
    ty: Type,
    cols: usize,
    raw: Vec<u8>,
    exact: Vec<f32>,
}

impl Case {
    fn new(ty: Type, rows: usize, cols: usize, random: &mut Random) -> Case {
        let raw = random_rows(ty, rows, cols, random);
        let mut exact = vec![0.0; rows * cols];
        quant::dequantize(ty, &raw, &mut exact).unwrap();
        Case { ty, cols, raw, exact }
    }

    fn row_bytes(&self) -> usize {
        self.ty.row_bytes(self.cols as u64).unwrap() as usize
    }

    /// The matrix of rows `first..first + count`.
    fn matrix(&self, first: usize, count: usize) -> Matrix {
        let mut matrix = Matrix::new(self.ty, count, self.cols).unwrap();
        matrix
            .put_rows(
                0,
                &self.raw[first * self.row_bytes()..][..count * self.row_bytes()],
            )
            .unwrap();
        matrix
    }
}

/// The products of a batch, `out[t][r]`, with activations in this form.
fn product_as(matrix: &Matrix, x: &[Vec<f32>], form: Form) -> Vec<Vec<f32>> {
    let mut batch = Activations::new(x.len(), matrix.cols()).unwrap();
    batch.begin(x.len(), matrix.cols());
    x.iter()
        .enumerate()
        .for_each(|(t, x)| batch.row_mut(t).copy_from_slice(x));
    batch.prepare(form);
    // Wider than the results, so that a kernel that writes past its rows is found.
    let stride = matrix.rows() + 3;
    let mut out = vec![f32::NAN; x.len() * stride];
    multiply_as(matrix, &batch, form, &mut out, stride);
    out.chunks(stride)
        .map(|out| {
            assert!(
                out[matrix.rows()..].iter().all(|x| x.is_nan()),
                "written past the last row"
            );
            out[..matrix.rows()].to_vec()
        })
        .collect()
}

fn vectors(count: usize, len: usize, random: &mut Random) -> Vec<Vec<f32>> {
    (0..count).map(|_| random.vector(len)).collect()
}

fn bits(out: &[f32]) -> Vec<u32> {
    out.iter().map(|x| x.to_bits()).collect()
}

/// Fails unless the product is the exact sum within what rounding the activations to their form may do, and sums to f32.
#[track_caller]
fn assert_near_exact(case: &Case, x: &[f32], form: Form, found: &[f32]) {
    let (block, codes) = match form {
        Form::F32 => (32, f64::INFINITY),
        // The largest is 127, or 126 where that is closer.
        Form::I8(_) => (32, 126.0),
        Form::I16 | Form::Planes => (256, 2047.0),
    };
    let largest: Vec<f64> = x
        .chunks(block)
        .map(|x| x.iter().fold(0.0, |max, x| f64::max(max, x.abs().into())))
        .collect();
    for (r, &found) in found.iter().enumerate() {
        let w = &case.exact[r * case.cols..][..case.cols];
        let (mut exact, mut size, mut rounding) = (0.0, 0.0, 0.0);
        for (k, (&w, &x)) in w.iter().zip(x).enumerate() {
            let product = f64::from(w) * f64::from(x);
            exact += product;
            size += product.abs();
            rounding += f64::from(w.abs()) * largest[k / block] / codes * 0.5;
        }
        let error = (f64::from(found) - exact).abs();
        // Formats with a minimum are sums of two large parts, of either sign.
        let bound = rounding * 1.001 + size * 1e-5 + 1e-30;
        let name = case.ty.name();
        assert!(
            error <= bound,
            "{name} as {form:?}, row {r} of {} columns: {found}, exactly {exact}",
            case.cols
        );
    }
}

#[test]
fn every_type_gives_the_exact_sum_for_all_tails() {
    let mut random = Random::new(1);
    for ty in Type::ALL {
        for cols in columns(ty) {
            let case = Case::new(ty, 17, cols, &mut random);
            for rows in ROWS {
                let matrix = case.matrix(0, rows);
                let x = vectors(1 + rows % 3, cols, &mut random);
                for &form in matrix.forms() {
                    for (x, found) in x.iter().zip(product_as(&matrix, &x, form)) {
                        assert_near_exact(&case, x, form, &found);
                    }
                }
            }
        }
    }
}

#[test]
fn rows_come_back_bit_for_bit() {
    let mut random = Random::new(2);
    for ty in Type::ALL {
        for cols in columns(ty) {
            let case = Case::new(ty, 13, cols, &mut random);
            let matrix = case.matrix(0, 13);
            let mut row = vec![0.0; cols];
            for r in 0..13 {
                matrix.row_to_f32(r, &mut row);
                assert_eq!(
                    bits(&row),
                    bits(&case.exact[r * cols..][..cols]),
                    "{} row {r}",
                    ty.name()
                );
            }
        }
    }
}

#[test]
fn a_batch_gives_the_bits_of_its_vectors() {
    let mut random = Random::new(3);
    for ty in Type::ALL {
        // A hundred rows are enough to be read in several streams, with some left over.
        for (rows, cols) in [(21, columns(ty)[1]), (101, 512), (21, MAX_COLS)] {
            let case = Case::new(ty, rows, cols, &mut random);
            let matrix = case.matrix(0, rows);
            let x = vectors(130, cols, &mut random);
            for &form in matrix.forms() {
                let alone = |x| product_as(&matrix, std::slice::from_ref(x), form)[0].clone();
                let alone: Vec<_> = x.iter().map(alone).collect();
                for tokens in TOKENS {
                    for (t, found) in product_as(&matrix, &x[..tokens], form).iter().enumerate() {
                        let name = ty.name();
                        assert_eq!(
                            bits(found),
                            bits(&alone[t]),
                            "{name} as {form:?}: token {t} of {tokens}"
                        );
                    }
                }
            }
        }
    }
}

/// So the machine may choose, and shards may choose differently.
#[test]
fn both_dot_products_give_the_same_bits() {
    let mut random = Random::new(7);
    let mut compared = BTreeSet::new();
    for ty in Type::ALL {
        for cols in columns(ty) {
            let case = Case::new(ty, 21, cols, &mut random);
            let matrix = case.matrix(0, 21);
            let forms = [
                [Form::I8(Dot::Pairs), Form::I8(Dot::Fours)],
                [Form::I16, Form::Planes],
            ];
            let Some([pairs, fours]) = forms.into_iter().find(|[_, form]| matrix.forms().contains(form))
            else {
                continue;
            };
            let mut x = vectors(4, cols, &mut random);
            // The largest sums that there can be.
            x.push(vec![1.0; cols]);
            x.push(vec![-1.0; cols]);
            for tokens in [1, 6] {
                let pairs = product_as(&matrix, &x[6 - tokens..], pairs);
                let fours = product_as(&matrix, &x[6 - tokens..], fours);
                for (a, b) in pairs.iter().zip(&fours) {
                    assert_eq!(bits(a), bits(b), "{} of {cols} columns", ty.name());
                }
            }
            compared.insert(ty.name());
        }
    }
    let expected = [
        "IQ4_NL", "IQ4_XS", "MXFP4", "Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K",
        "Q8_0",
    ];
    assert!(compared.into_iter().eq(expected), "a kernel has one only");
}

#[test]
fn a_row_gives_the_same_bits_at_every_place() {
    let mut random = Random::new(4);
    for ty in Type::ALL {
        let cols = 512;
        let case = Case::new(ty, 40, cols, &mut random);
        let x = vectors(3, cols, &mut random);
        let matrix = case.matrix(0, 40);
        for &form in matrix.forms() {
            let whole = product_as(&matrix, &x, form);
            for (first, count) in [
                (0, 1),
                (1, 1),
                (3, 5),
                (7, 17),
                (11, 29),
                (39, 1),
                (8, 16),
                (2, 38),
            ] {
                for (t, found) in product_as(&case.matrix(first, count), &x, form)
                    .iter()
                    .enumerate()
                {
                    let (name, whole) = (ty.name(), &whole[t][first..first + count]);
                    assert_eq!(
                        bits(found),
                        bits(whole),
                        "{name} as {form:?}: {count} rows from {first}"
                    );
                }
            }
        }
    }
}

#[test]
fn some_rows_give_the_bits_that_all_give() {
    let mut random = Random::new(11);
    for ty in Type::ALL {
        let cols = *columns(ty).last().unwrap();
        let case = Case::new(ty, 40, cols, &mut random);
        let x = vectors(1, cols, &mut random);
        let matrix = case.matrix(0, 39);
        for &form in matrix.forms() {
            let whole = &product_as(&matrix, &x, form)[0];
            let mut batch = Activations::new(1, cols).unwrap();
            batch.begin(1, cols);
            batch.row_mut(0).copy_from_slice(&x[0]);
            batch.prepare(form);
            let all: Vec<usize> = (0..39).collect();
            for rows in [&[0][..], &[38], &[3, 4, 7, 8, 9, 31], &[16, 17, 18, 38], &all] {
                let mut found = vec![f32::NAN; rows.len()];
                multiply_rows(&matrix, &batch, form, rows, &mut found);
                let wanted: Vec<f32> = rows.iter().map(|row| whole[*row]).collect();
                let name = ty.name();
                assert_eq!(bits(&found), bits(&wanted), "{name} as {form:?}: rows {rows:?}");
            }
        }
    }
}

#[test]
fn rows_may_arrive_in_pieces() {
    let mut random = Random::new(5);
    for ty in Type::ALL {
        let case = Case::new(ty, 25, 256, &mut random);
        let x = vectors(1, 256, &mut random);
        let mut matrix = Matrix::new(ty, 25, 256).unwrap();
        for (first, end) in [(16, 24), (0, 3), (24, 25), (3, 16)] {
            let raw = &case.raw[first * case.row_bytes()..end * case.row_bytes()];
            matrix.put_rows(first, raw).unwrap();
        }
        let (whole, form) = (case.matrix(0, 25), matrix.input());
        assert_eq!(
            product_as(&matrix, &x, form),
            product_as(&whole, &x, form),
            "{}",
            ty.name()
        );
    }
}

#[test]
fn rows_that_do_not_fit_are_an_error() {
    for ty in Type::ALL {
        let mut matrix = Matrix::new(ty, 9, 256).unwrap();
        let row_bytes = ty.row_bytes(256).unwrap() as usize;
        let raw = vec![0; 10 * row_bytes];
        assert!(matrix.put_rows(0, &raw).is_err(), "{}: too many rows", ty.name());
        assert!(
            matrix.put_rows(8, &raw[..2 * row_bytes]).is_err(),
            "{}: past the end",
            ty.name()
        );
        assert!(
            matrix.put_rows(0, &raw[..row_bytes - 1]).is_err(),
            "{}: half a row",
            ty.name()
        );
        assert!(
            matrix.put_rows(usize::MAX / 8 * 8, &raw[..row_bytes]).is_err(),
            "{}: far away",
            ty.name()
        );
        assert!(matrix.put_rows(8, &raw[..row_bytes]).is_ok());
        let ragged = ty.block_len() > 1 && Matrix::new(ty, 9, ty.block_len() + 1).is_ok();
        assert!(!ragged, "{}: columns that are no whole blocks", ty.name());
        assert!(
            Matrix::new(ty, usize::MAX / 2, 256).is_err(),
            "{}: more than there is",
            ty.name()
        );
    }
}

#[test]
fn zeros_give_zeros() {
    let mut random = Random::new(6);
    for ty in Type::ALL {
        let case = Case::new(ty, 9, 512, &mut random);
        let (matrix, mut empty) = (case.matrix(0, 9), Matrix::new(ty, 9, 512).unwrap());
        empty.put_rows(0, &vec![0; 9 * case.row_bytes()]).unwrap();
        for &form in matrix.forms() {
            let found = product_as(&matrix, &[vec![0.0; 512], vec![-0.0; 512]], form);
            assert!(
                values(&found).all(|x| x == 0.0),
                "{} as {form:?}: zero activations",
                ty.name()
            );
            // A matrix whose rows never came is finite, whatever zero bytes mean.
            let found = product_as(&empty, &vectors(2, 512, &mut random), form);
            assert!(
                values(&found).all(f32::is_finite),
                "{} as {form:?}: zero weights",
                ty.name()
            );
        }
    }
}

#[test]
fn special_values_neither_hang_nor_panic() {
    let mut random = Random::new(7);
    let specials = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-40,
    ];
    for ty in Type::ALL {
        let case = Case::new(ty, 9, 512, &mut random);
        let matrix = case.matrix(0, 9);
        // Blocks of ones: the scales are NaN in most formats.
        let mut ones = Matrix::new(ty, 9, 512).unwrap();
        ones.put_rows(0, &vec![0xff; 9 * case.row_bytes()]).unwrap();
        for &form in matrix.forms() {
            for special in specials {
                let mut x = vectors(3, 512, &mut random);
                x[1][300] = special;
                let found = product_as(&matrix, &x, form);
                let others = found[0].iter().chain(&found[2]);
                assert!(
                    others.clone().all(|x| x.is_finite()),
                    "{} as {form:?}: another token's {special}",
                    ty.name()
                );
                if special.is_nan() {
                    assert!(
                        found[1].iter().all(|x| x.is_nan()),
                        "{} as {form:?}: NaN got lost",
                        ty.name()
                    );
                }
                product_as(&ones, &x, form);
                product_as(&ones, &x[1..2], form);
            }
        }
    }
}

/// The largest codes opposite the largest activations, so that sums in 16 bits come as far as they can.
#[test]
fn extremes_do_not_overflow() {
    let mut random = Random::new(8);
    for ty in Type::ALL.into_iter().filter(|ty| ty.block_len() > 1) {
        let mut case = Case::new(ty, 9, 512, &mut random);
        for filling in [0x00, 0xff, 0x7f, 0x80, 0x3f, 0x1f] {
            blocks::fill_codes(ty, &mut case.raw, filling);
            quant::dequantize(ty, &case.raw, &mut case.exact).unwrap();
            if !case.exact.iter().all(|x| x.is_finite()) {
                continue;
            }
            let matrix = case.matrix(0, 9);
            let signs =
                |sign: &dyn Fn(usize) -> bool| (0..512).map(|k| if sign(k) { 3.0 } else { -3.0 }).collect();
            let x: Vec<Vec<f32>> = vec![
                signs(&|_| true),
                signs(&|_| false),
                signs(&|k| k % 2 == 0),
                signs(&|k| k % 4 < 2),
                signs(&|k| k % 32 < 16),
            ];
            for &form in matrix.forms() {
                for (x, found) in x.iter().zip(product_as(&matrix, &x, form)) {
                    assert_near_exact(&case, x, form, &found);
                }
            }
        }
    }
}

#[test]
fn special_halves_are_what_they_are() {
    let row: Vec<u8> = [0x7c00_u16, 0x3c00, 0xfc00, 0x7e00]
        .iter()
        .flat_map(|half| half.to_le_bytes())
        .collect();
    let mut matrix = Matrix::new(Type::F16, 1, 4).unwrap();
    matrix.put_rows(0, &row).unwrap();
    for x in [vec![vec![1.0, 1.0, 0.5, 0.0]], vec![vec![1.0, 1.0, 0.5, 0.0]; 2]] {
        assert!(product_as(&matrix, &x, Form::F32)[0][0].is_nan());
    }
    let mut matrix = Matrix::new(Type::F16, 1, 4).unwrap();
    matrix.put_rows(0, &row[..2].repeat(4)).unwrap();
    assert_eq!(
        product_as(&matrix, &[vec![1.0; 4]], Form::F32)[0][0],
        f32::INFINITY
    );
}

#[test]
fn a_row_with_a_broken_scale_is_not_finite_and_no_other_minds() {
    let mut random = Random::new(11);
    for (ty, at) in [
        (Type::Q4_0, 0),
        (Type::Q4_1, 0),
        (Type::Q4_1, 2),
        (Type::Q5_0, 0),
        (Type::Q5_1, 2),
        (Type::Q8_0, 0),
    ] {
        for half in [0x7c00_u16, 0xfc00, 0x7e00] {
            let mut case = Case::new(ty, 9, 64, &mut random);
            let sound = case.matrix(0, 9);
            let block = 5 * case.row_bytes() + ty.block_bytes();
            case.raw[block + at..][..2].copy_from_slice(&half.to_le_bytes());
            let broken = case.matrix(0, 9);
            for (x, &form) in [1, 3].into_iter().zip(sound.forms().iter().cycle()) {
                let x = vectors(x, 64, &mut random);
                let (sound, broken) = (product_as(&sound, &x, form), product_as(&broken, &x, form));
                for (sound, broken) in sound.iter().zip(&broken) {
                    assert!(!broken[5].is_finite(), "{}: {}", ty.name(), broken[5]);
                    for r in (0..9).filter(|r| *r != 5) {
                        assert_eq!(sound[r].to_bits(), broken[r].to_bits(), "{} row {r}", ty.name());
                    }
                }
            }
        }
    }
}

/// All values of all vectors.
fn values(vectors: &[Vec<f32>]) -> impl Iterator<Item = f32> {
    vectors.iter().flatten().copied()
}
