//! From the vectors of all tokens of a text to one: the work behind `embed`.

use crate::error::{Error, Kind, Result};
use crate::gguf::Metadata;

/// Which vectors stand for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// The mean of all.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

impl Pooling {
    /// What the file says (`pooling_type`, as llama.cpp numbers it); the mean where it says nothing.
    pub(super) fn read(metadata: &Metadata, architecture: &str) -> Result<Pooling> {
        match metadata.u32(&format!("{architecture}.pooling_type"))? {
            None | Some(0 | 1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::First),
            Some(3) => Ok(Pooling::Last),
            Some(other) => Err(Error::new(
                Kind::UnsupportedArchitecture,
                format!(
                    "pooling_type {other}: this model gives no vectors that can be pooled (known are mean, first and last)"
                ),
            )),
        }
    }
}

impl Pooling {
    /// What the file says, by name; nothing where it says nothing.
    pub(super) fn named(metadata: &Metadata, architecture: &str) -> Option<&'static str> {
        metadata.get(&format!("{architecture}.pooling_type"))?;
        Some(match Pooling::read(metadata, architecture).ok()? {
            Pooling::Mean => "mean",
            Pooling::First => "first",
            Pooling::Last => "last",
        })
    }
}

/// The vector of a text in the making.
pub(super) struct Pool {
    pooling: Pooling,
    sum: Vec<f64>,
    tokens: usize,
}

impl Pool {
    pub(super) fn new(pooling: Pooling) -> Pool {
        Pool {
            pooling,
            sum: Vec::new(),
            tokens: 0,
        }
    }

    /// Takes the vectors of the next tokens, `[tokens, width]`.
    pub(super) fn add(&mut self, vectors: &[f32], width: usize) {
        for vector in vectors.chunks_exact(width) {
            self.tokens += 1;
            match self.pooling {
                Pooling::Mean if self.tokens > 1 => {
                    self.sum
                        .iter_mut()
                        .zip(vector)
                        .for_each(|(sum, x)| *sum += f64::from(*x));
                }
                Pooling::First if self.tokens > 1 => {}
                _ => self.sum = vector.iter().map(|x| f64::from(*x)).collect(),
            }
        }
    }

    /// The vector, of length one.
    pub(super) fn vector(&self) -> Vec<f32> {
        let length = self.sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        self.sum.iter().map(|x| (x * scale) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_pooling() {
        for (pooling, expected) in [
            (Pooling::Mean, [0.6, 0.8]),
            (Pooling::First, [1.0, 0.0]),
            (Pooling::Last, [0.0, 1.0]),
        ] {
            let mut pool = Pool::new(pooling);
            pool.add(&[3.0, 0.0, 0.0, 2.0], 2);
            pool.add(&[0.0, 2.0], 2);
            assert_eq!(pool.vector(), expected, "{pooling:?}");
        }
    }
}
