//! Stored files are not trusted: each block has a sum, taken when it arrived, and is held against it whenever it is read.
//!
//! The sum guards against disks, browsers and interrupted writes, not against an attacker: whoever can write to the
//! storage of the page can write the sums, too. Against a server there is [`Digest`], held against a hash that the
//! application knows.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::source::ByteSource;

/// Bytes of a block. The last one of a file may be shorter.
pub const BLOCK: usize = 1 << 18;

/// Words that are summed side by side. Each is a chain of its own, so that the processor works on all of them at once.
const LANES: usize = 8;
/// Any odd numbers will do: to multiply by one loses nothing.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const LAST_FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// The sum of a block, never 0 (which stands for a block that is not there).
///
/// Each step takes a word into its lane by an exclusive or, a rotation and a multiplication by an odd number. All three
/// can be undone, so two blocks that differ in one word have different lanes to the end, and different sums: one flipped
/// bit, or any damage within eight bytes, is always seen. Other damage escapes once in 2^64.
///
/// CRC-32 is as old and as good against single bits, and ten times slower without instructions of its own, which
/// WebAssembly lacks; so is SHA-256.
pub fn block_sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; LANES];
    for (lane, seed) in lanes.iter_mut().zip(1u64..) {
        *lane = seed.wrapping_mul(FACTOR);
    }
    let (chunks, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    // The last words, filled up with zeros: the length tells them from words that end in zeros.
    for (lane, piece) in lanes.iter_mut().zip(rest.chunks(8)) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        *lane = step(*lane, u64::from_le_bytes(word));
    }
    let sum = lanes.iter().fold(bytes.len() as u64, |sum, lane| {
        let mixed = (sum ^ lane).wrapping_mul(LAST_FACTOR);
        mixed ^ (mixed >> 32)
    });
    sum.max(1)
}

fn step(lane: u64, word: u64) -> u64 {
    (lane ^ word).rotate_left(29).wrapping_mul(FACTOR)
}

/// A source whose blocks are held against their sums as they are read.
pub struct Checked<S> {
    source: S,
    /// One for each block; empty for a source that is taken as it is (a visitor's own file).
    sums: Vec<u64>,
    /// The block that the last read took only a part of: reading goes on in it, as a rule.
    edge: RefCell<Edge>,
}

#[derive(Default)]
struct Edge {
    index: Option<u64>,
    bytes: Vec<u8>,
}

impl<S: ByteSource> Checked<S> {
    /// The source with the sums of all its blocks, or with none at all. [`Kind::Integrity`] if their number is wrong.
    pub fn new(source: S, sums: Vec<u64>) -> Result<Checked<S>> {
        let blocks = source.len().div_ceil(BLOCK as u64);
        if !sums.is_empty() && sums.len() as u64 != blocks {
            return Err(Error::new(
                Kind::Integrity,
                format!("{} sums for a file of {blocks} blocks", sums.len()),
            ));
        }
        Ok(Checked {
            source,
            sums,
            edge: RefCell::default(),
        })
    }

    fn check(&self, index: u64, bytes: &[u8]) -> Result<()> {
        let expected = usize::try_from(index).ok().and_then(|index| self.sums.get(index));
        if expected == Some(&block_sum(bytes)) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Integrity,
            format!("block {index} of the stored file is damaged"),
        ))
    }

    /// A part of one block, which is read whole for it.
    fn read_part(&self, index: u64, from: usize, into: &mut [u8]) -> Result<()> {
        let mut edge = self.edge.borrow_mut();
        if edge.index != Some(index) {
            edge.index = None;
            let start = index * BLOCK as u64;
            let length = (self.source.len() - start).min(BLOCK as u64) as usize;
            edge.bytes.resize(length, 0);
            self.source.read_at(start, &mut edge.bytes)?;
            self.check(index, &edge.bytes)?;
            edge.index = Some(index);
        }
        into.copy_from_slice(&edge.bytes[from..from + into.len()]);
        Ok(())
    }
}

impl<S: ByteSource> ByteSource for Checked<S> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    /// Whole blocks go straight to where they are wanted; only the first and the last may take a detour.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(into.len() as u64);
        if self.sums.is_empty() || end.is_none_or(|end| end > self.source.len()) {
            return self.source.read_at(offset, into);
        }
        let block = BLOCK as u64;
        let (mut at, mut left) = (offset, into);
        while !left.is_empty() {
            let (index, from) = (at / block, (at % block) as usize);
            let whole = left.len() / BLOCK * BLOCK;
            let taken = if from == 0 && whole > 0 {
                let (blocks, _) = left.split_at_mut(whole);
                self.source.read_at(at, blocks)?;
                for (bytes, index) in blocks.chunks(BLOCK).zip(index..) {
                    self.check(index, bytes)?;
                }
                whole
            } else {
                let length = (BLOCK - from).min(left.len());
                self.read_part(index, from, &mut left[..length])?;
                length
            };
            at += taken as u64;
            left = &mut left[taken..];
        }
        Ok(())
    }
}

/// A SHA-256 that takes a file as it comes.
#[derive(Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far: 32 bytes.
    pub fn finish(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}
