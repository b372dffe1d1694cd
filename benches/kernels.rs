//! Times the matrix kernels of this build, natively, after checking their answers: weights per second, bytes per second
//! against a plain copy, and multiply-adds per second for a batch.
//!
//! `make bench`. The speeds that count are those in a browser: `www/bench.html` and `make bench-peers`.

use std::hint::black_box;
use std::time::Instant;

use fanlight::kernels::{Activations, Matrix, multiply};
use fanlight::quant::{Type, dequantize};

#[path = "../tests/support/blocks.rs"]
mod blocks;
#[path = "../tests/support/random.rs"]
mod random;

const ROWS: usize = 1024;
const COLS: usize = 1024;
const BATCH: usize = 128;
const RUNS: usize = 9;

fn main() {
    let mut random = random::Random::new(1);
    let source = vec![1u8; 64 << 20];
    let mut copy = vec![0u8; source.len()];
    let seconds = median(|| black_box(&mut copy).copy_from_slice(black_box(&source)));
    println!("copy: {:.1} GB/s\n", source.len() as f64 / seconds / 1e9);
    println!(
        "{:8} {:>12} {:>10} {:>14}",
        "type", "Gweights/s", "GB/s", "batch GOP/s"
    );
    for ty in [
        Type::F32,
        Type::F16,
        Type::Bf16,
        Type::Q4_0,
        Type::Q4_1,
        Type::Q5_0,
        Type::Q5_1,
        Type::Q8_0,
        Type::Q4K,
        Type::Q5K,
        Type::Q6K,
        Type::Iq4Xs,
    ] {
        let raw = blocks::random_rows(ty, ROWS, COLS, &mut random);
        let mut matrix = Matrix::new(ty, ROWS, COLS).expect("memory for a bench");
        matrix.put_rows(0, &raw).expect("whole rows");
        check(ty, &raw, &matrix);
        let one = time(&matrix, 1);
        let many = time(&matrix, BATCH);
        let weights = (ROWS * COLS) as f64;
        println!(
            "{:8} {:12.2} {:10.1} {:14.1}",
            ty.name(),
            weights / one / 1e9,
            matrix.bytes() as f64 / one / 1e9,
            2.0 * weights * BATCH as f64 / many / 1e9
        );
    }
}

/// Activations without a pattern, the same in every run.
fn activations(tokens: usize) -> Activations {
    let mut x = Activations::new(tokens, COLS).expect("memory for a bench");
    x.begin(tokens, COLS);
    for (i, value) in x.rows_mut().iter_mut().enumerate() {
        *value = ((i * 7919) % 2003) as f32 / 1001.0 - 1.0;
    }
    x
}

/// Each row's product is within the rounding of 8-bit activations of the exact one.
fn check(ty: Type, raw: &[u8], matrix: &Matrix) {
    let mut weights = vec![0.0; ROWS * COLS];
    dequantize(ty, raw, &mut weights).expect("whole blocks");
    let mut x = activations(1);
    x.prepare(matrix.input());
    let mut out = vec![0.0; ROWS];
    multiply(matrix, &x, &mut out, ROWS);
    for (row, got) in weights.chunks_exact(COLS).zip(&out) {
        let products = row
            .iter()
            .zip(x.row(0))
            .map(|(w, x)| f64::from(*w) * f64::from(*x));
        let exact: f64 = products.sum();
        let size: f64 = row.iter().map(|w| f64::from(w.abs())).sum();
        assert!(
            (f64::from(*got) - exact).abs() <= size / 127.0,
            "{}: {got} {exact}",
            ty.name()
        );
    }
}

fn time(matrix: &Matrix, tokens: usize) -> f64 {
    let mut x = activations(tokens);
    x.prepare(matrix.input());
    let mut out = vec![0.0; ROWS * tokens];
    median(|| multiply(black_box(matrix), &x, &mut out, ROWS))
}

/// Seconds of the middle one of several runs.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}
