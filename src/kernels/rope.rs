//! Rotary position embedding: pairs of a head's elements are turned by an angle that grows with the position
//! (Su et al., 2021, "RoFormer").

/// Which elements of a head are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Elements `2j` and `2j + 1`.
    Adjacent,
    /// Elements `j` and `j + dimensions / 2` ("NEOX").
    Halves,
}

/// Cosines and sines of a batch of positions. Made once per batch, used by every layer and head.
#[derive(Debug)]
pub struct RopeTable {
    /// Angle per position of each pair, `[dimensions / 2]`.
    frequencies: Vec<f32>,
    /// `[tokens, dimensions / 2]`
    cos: Vec<f32>,
    /// `[tokens, dimensions / 2]`
    sin: Vec<f32>,
}

impl RopeTable {
    /// For heads of which `dimensions` elements are turned: pair j by `position / scale * base^(-2j / dimensions)`,
    /// divided by `factors[j]` where there are some.
    pub fn new(
        dimensions: usize,
        base: f32,
        scale: f32,
        factors: Option<&[f32]>,
        max_tokens: usize,
    ) -> RopeTable {
        let half = dimensions / 2;
        let frequencies = (0..half)
            .map(|j| {
                let frequency = (base as f64).powf(-2.0 * j as f64 / dimensions as f64) / scale as f64;
                (frequency / factors.map_or(1.0, |f| f[j] as f64)) as f32
            })
            .collect();
        RopeTable {
            frequencies,
            cos: vec![0.0; half * max_tokens],
            sin: vec![0.0; half * max_tokens],
        }
    }

    /// Computes the angles of positions `first .. first + tokens`, for the tokens of the batch from `row` on.
    pub fn at(&mut self, row: usize, first: usize, tokens: usize) {
        let half = self.frequencies.len();
        for t in row..row + tokens {
            let position = (first + t - row) as f32;
            for (j, frequency) in self.frequencies.iter().enumerate() {
                // The product is rounded to f32 as the reference does it; sine and cosine of that are then exact to f32.
                let angle = (position * frequency) as f64;
                self.cos[t * half + j] = angle.cos() as f32;
                self.sin[t * half + j] = angle.sin() as f32;
            }
        }
    }

    /// Turns one head of token `t` of the batch in place. Elements past the rotated dimensions stay as they are.
    pub fn rotate(&self, pairs: RopePairs, t: usize, head: &mut [f32]) {
        let half = self.frequencies.len();
        let cos = &self.cos[t * half..][..half];
        let sin = &self.sin[t * half..][..half];
        match pairs {
            RopePairs::Adjacent => {
                for ((pair, c), s) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
                    let (x, y) = (pair[0], pair[1]);
                    pair[0] = x * c - y * s;
                    pair[1] = x * s + y * c;
                }
            }
            RopePairs::Halves => {
                let (low, rest) = head.split_at_mut(half);
                for (((x, y), c), s) in low.iter_mut().zip(rest).zip(cos).zip(sin) {
                    (*x, *y) = (*x * c - *y * s, *x * s + *y * c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pairings_turn_by_the_angle_of_the_position() {
        let mut table = RopeTable::new(4, 100.0, 1.0, None, 2);
        table.at(0, 3, 2);
        // Frequencies 1 and 100^(-1/2) = 0.1; token 1 of the batch is position 4: angles 4 and 0.4.
        let turn = |x: f32, y: f32, a: f64| {
            let (s, c) = (a.sin() as f32, a.cos() as f32);
            (x * c - y * s, x * s + y * c)
        };
        let mut head = [1.0, 2.0, 3.0, 4.0, 9.0];
        table.rotate(RopePairs::Adjacent, 1, &mut head);
        let ((a, b), (c, d)) = (turn(1.0, 2.0, 4.0), turn(3.0, 4.0, 0.4f32 as f64));
        for (got, want) in head.iter().zip([a, b, c, d, 9.0]) {
            assert!((got - want).abs() < 1e-6, "{head:?}");
        }
        let mut head = [1.0, 2.0, 3.0, 4.0, 9.0];
        table.rotate(RopePairs::Halves, 1, &mut head);
        let ((a, c), (b, d)) = (turn(1.0, 3.0, 4.0), turn(2.0, 4.0, 0.4f32 as f64));
        for (got, want) in head.iter().zip([a, b, c, d, 9.0]) {
            assert!((got - want).abs() < 1e-6, "{head:?}");
        }
    }

    #[test]
    fn factors_and_scale_slow_the_rotation() {
        let mut table = RopeTable::new(2, 10_000.0, 2.0, Some(&[4.0]), 1);
        table.at(0, 8, 1);
        let mut head = [1.0, 0.0];
        table.rotate(RopePairs::Halves, 0, &mut head);
        assert!((head[0] - 1f32.cos()).abs() < 1e-6 && (head[1] - 1f32.sin()).abs() < 1e-6);
    }
}
