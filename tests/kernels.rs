//! Products of weights of every type with activations: against exact sums, and with themselves under every change that
//! must not matter.

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/random.rs"]
mod random;

use blocks::{random_rows, weight_types};
use fanlight::kernels::{Activations, Matrix, multiply};
use fanlight::quant::{self, Type};
use random::Random;

const ROWS: [usize; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17];
const TOKENS: [usize; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33];

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

/// The products of a batch, `out[t][r]`.
fn product(matrix: &Matrix, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut batch = Activations::new(x.len(), matrix.cols()).unwrap();
    batch.begin(x.len(), matrix.cols());
    x.iter()
        .enumerate()
        .for_each(|(t, x)| batch.row_mut(t).copy_from_slice(x));
    batch.prepare(matrix.input());
    // Wider than the results, so that a kernel that writes past its rows is found.
    let stride = matrix.rows() + 3;
    let mut out = vec![f32::NAN; x.len() * stride];
    multiply(matrix, &batch, &mut out, stride);
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

/// Fails unless the product is the exact sum within what rounding the activations may do: `x` to its form, sums to f32.
#[track_caller]
fn assert_near_exact(case: &Case, first: usize, x: &[f32], found: &[f32]) {
    for (r, &found) in found.iter().enumerate() {
        let w = &case.exact[(first + r) * case.cols..][..case.cols];
        let exact: f64 = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
        let size: f64 = w
            .iter()
            .zip(x)
            .map(|(&w, &x)| (f64::from(w) * f64::from(x)).abs())
            .sum();
        let error = (f64::from(found) - exact).abs();
        assert!(
            error <= size * 1e-6 + 1e-30,
            "{} row {r} of {} columns: {found}, exactly {exact}",
            case.ty.name(),
            case.cols
        );
    }
}

#[test]
fn every_type_gives_the_exact_sum_for_all_tails() {
    let mut random = Random::new(1);
    for ty in weight_types() {
        for cols in columns(ty) {
            let case = Case::new(ty, 17, cols, &mut random);
            for rows in ROWS {
                let matrix = case.matrix(0, rows);
                let x = vectors(1 + rows % 3, cols, &mut random);
                for (x, found) in x.iter().zip(product(&matrix, &x)) {
                    assert_near_exact(&case, 0, x, &found);
                }
            }
        }
    }
}

#[test]
fn rows_come_back_bit_for_bit() {
    let mut random = Random::new(2);
    for ty in weight_types() {
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
    for ty in weight_types() {
        for cols in [columns(ty)[1], 512, MAX_COLS] {
            let case = Case::new(ty, 21, cols, &mut random);
            let matrix = case.matrix(0, 21);
            let x = vectors(33, cols, &mut random);
            let alone: Vec<_> = x
                .iter()
                .map(|x| product(&matrix, std::slice::from_ref(x))[0].clone())
                .collect();
            for tokens in TOKENS {
                for (t, found) in product(&matrix, &x[..tokens]).iter().enumerate() {
                    assert_eq!(
                        bits(found),
                        bits(&alone[t]),
                        "{}: token {t} of {tokens}",
                        ty.name()
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_at_every_place() {
    let mut random = Random::new(4);
    for ty in weight_types() {
        let cols = 512;
        let case = Case::new(ty, 40, cols, &mut random);
        let x = vectors(3, cols, &mut random);
        let whole = product(&case.matrix(0, 40), &x);
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
            for (t, found) in product(&case.matrix(first, count), &x).iter().enumerate() {
                let name = ty.name();
                assert_eq!(
                    bits(found),
                    bits(&whole[t][first..first + count]),
                    "{name}: {count} rows from {first}"
                );
            }
        }
    }
}

#[test]
fn rows_may_arrive_in_pieces() {
    let mut random = Random::new(5);
    for ty in weight_types() {
        let group = Matrix::group_rows(ty);
        let rows = 3 * group + 1;
        let case = Case::new(ty, rows, 256, &mut random);
        let x = vectors(1, 256, &mut random);
        let mut matrix = Matrix::new(ty, rows, 256).unwrap();
        for first in [2 * group, 0, 3 * group, group] {
            let count = group.min(rows - first);
            matrix
                .put_rows(
                    first,
                    &case.raw[first * case.row_bytes()..][..count * case.row_bytes()],
                )
                .unwrap();
        }
        assert_eq!(
            product(&matrix, &x),
            product(&case.matrix(0, rows), &x),
            "{}",
            ty.name()
        );
    }
}

#[test]
fn rows_that_do_not_fit_are_an_error() {
    for ty in weight_types() {
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
    for ty in weight_types() {
        let case = Case::new(ty, 9, 512, &mut random);
        let found = product(&case.matrix(0, 9), &[vec![0.0; 512], vec![-0.0; 512]]);
        assert!(
            found.as_flattened_values().all(|x| x == 0.0),
            "{}: zero activations",
            ty.name()
        );
        // A matrix whose rows never came is a matrix of zero bytes: whatever that means, it is finite.
        let empty = Matrix::new(ty, 9, 512).unwrap();
        let found = product(&empty, &vectors(2, 512, &mut random));
        assert!(
            found.as_flattened_values().all(f32::is_finite),
            "{}: zero weights",
            ty.name()
        );
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
    for ty in weight_types() {
        let case = Case::new(ty, 9, 512, &mut random);
        let matrix = case.matrix(0, 9);
        for special in specials {
            let mut x = vectors(3, 512, &mut random);
            x[1][300] = special;
            let found = product(&matrix, &x);
            assert!(
                found[0].iter().chain(&found[2]).all(|x| x.is_finite()),
                "{}: another token's value",
                ty.name()
            );
            if special.is_nan() {
                assert!(found[1].iter().all(|x| x.is_nan()), "{}: NaN got lost", ty.name());
            }
        }
        // Blocks of ones: the scales are NaN in most formats.
        let mut matrix = Matrix::new(ty, 9, 512).unwrap();
        matrix.put_rows(0, &vec![0xff; 9 * case.row_bytes()]).unwrap();
        product(&matrix, &vectors(3, 512, &mut random));
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
        assert!(product(&matrix, &x)[0][0].is_nan());
    }
    let mut matrix = Matrix::new(Type::F16, 1, 4).unwrap();
    matrix.put_rows(0, &row[..2].repeat(4)).unwrap();
    assert_eq!(product(&matrix, &[vec![1.0; 4]])[0][0], f32::INFINITY);
}

/// All values of all vectors.
trait Values {
    fn as_flattened_values(&self) -> impl Iterator<Item = f32>;
}

impl Values for Vec<Vec<f32>> {
    fn as_flattened_values(&self) -> impl Iterator<Item = f32> {
        self.iter().flatten().copied()
    }
}
