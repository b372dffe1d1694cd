//! Which of two kernels with the same results this machine runs faster: WebAssembly cannot ask, so it is timed.

use crate::kernels::activations::{Activations, Dot, Form};
use crate::kernels::matrix::{Matrix, multiply_as};
use crate::quant::Type;

/// Rows, columns and tokens of the trial: some 60 microseconds of work, well inside the first level of cache.
const SHAPE: (usize, usize, usize) = (64, 512, 16);

/// How long the trial goes on, in milliseconds: enough for the browser's optimising compiler to take over, which the kernels
/// then need not wait for in earnest.
const LIMIT_MS: f64 = 12.0;

/// Rounds of the trial that are run whatever they take: on a busy machine the time passes without the trial, and what has run
/// only a few times has not been optimised yet.
const LEAST_ROUNDS: u32 = 16;

/// By how much the dot product of fours has to win.
const MARGIN: f64 = 0.97;

/// The dot product of bytes with which a batch is multiplied faster here. `now` gives milliseconds. If there is no memory for
/// the trial, or no kernel to choose, it is the one that is good everywhere.
///
/// The browser's optimising compiler works beside the trial, and may be done with one kernel at its end and not with the other. So it is
/// to be asked twice: before the weights are loaded, which makes the compiler begin, and after that, which decides.
pub fn faster_dot(now: impl Fn() -> f64) -> Dot {
    trial(now).unwrap_or(Dot::Pairs)
}

fn trial(now: impl Fn() -> f64) -> Option<Dot> {
    let (rows, cols, tokens) = SHAPE;
    let mut matrix = Matrix::new(Type::Q4K, rows, cols).ok()?;
    let blocks = rows * cols / Type::Q4K.block_len();
    matrix
        .put_rows(0, &vec![0; blocks * Type::Q4K.block_bytes()])
        .ok()?;
    let mut x = Activations::new(tokens, cols).ok()?;
    let mut out = vec![0.0; rows * tokens];
    if !matrix.forms().contains(&Form::I8(Dot::Fours)) {
        return None;
    }
    x.begin(tokens, cols);
    for (i, value) in x.rows_mut().iter_mut().enumerate() {
        *value = (i % 251) as f32 - 125.0;
    }
    x.prepare(Form::I8(Dot::Pairs));
    let mut time = |dot: Dot| {
        let start = now();
        // Several: a page that is not isolated has a clock of a tenth of a millisecond.
        for _ in 0..4 {
            multiply_as(&matrix, &x, Form::I8(dot), &mut out, rows);
        }
        now() - start
    };
    let (mut pairs, mut fours) = (f64::INFINITY, f64::INFINITY);
    let start = now();
    let mut rounds = 0;
    // By turns, and the least of each counts: what else the machine does disturbs both alike.
    while rounds < LEAST_ROUNDS || (now() - start < LIMIT_MS && rounds < 200) {
        pairs = pairs.min(time(Dot::Pairs));
        fours = fours.min(time(Dot::Fours));
        rounds += 1;
    }
    Some(if fours < pairs * MARGIN {
        Dot::Fours
    } else {
        Dot::Pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A clock by which every second measurement takes a tenth of the first's time, from either side.
    fn clock(slow_first: bool) -> impl Fn() -> f64 {
        let calls = Cell::new(0_u32);
        let time = Cell::new(0.0);
        move || {
            // The calls of a round: loop, pairs' start and end, fours' start and end.
            let call = calls.get();
            calls.set(call + 1);
            let step = match (call.wrapping_sub(1)) % 4 {
                1 => 1.0 + 9.0 * f64::from(u8::from(slow_first)),
                3 => 1.0 + 9.0 * f64::from(u8::from(!slow_first)),
                _ => 0.0,
            };
            time.set(time.get() + step);
            time.get()
        }
    }

    #[test]
    fn the_faster_one_is_taken_and_the_trial_ends() {
        assert_eq!(faster_dot(clock(true)), Dot::Fours);
        assert_eq!(faster_dot(clock(false)), Dot::Pairs);
        // A clock that stands still decides nothing.
        assert_eq!(faster_dot(|| 0.0), Dot::Pairs);
    }
}
