//! Stored blocks: any flipped bit is seen, whole files read back as they are however they are read, and the hash is SHA-256.

#[path = "support/random.rs"]
mod random;

use fanlight::source::{BLOCK, ByteSource, Checked, Digest, block_sum};
use fanlight::{Kind, Result};
use random::Random;

fn file(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

fn sums(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(BLOCK).map(block_sum).collect()
}

/// All of it, in pieces of so many bytes.
fn read_all(source: &impl ByteSource, piece: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; source.len() as usize];
    for (at, into) in (0..).step_by(piece).zip(bytes.chunks_mut(piece)) {
        source.read_at(at, into)?;
    }
    Ok(bytes)
}

#[test]
fn a_sound_file_reads_back_in_any_pieces() {
    let bytes = file(3 * BLOCK + 12_345, 1);
    let checked = Checked::new(bytes.clone(), sums(&bytes)).unwrap();
    for piece in [1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 77, bytes.len()] {
        assert!(
            read_all(&checked, piece).unwrap() == bytes,
            "in pieces of {piece}"
        );
    }
    let mut random = Random::new(2);
    for _ in 0..200 {
        let from = random.below(bytes.len());
        let mut into = vec![0; random.below(bytes.len() - from)];
        checked.read_at(from as u64, &mut into).unwrap();
        assert!(
            into == bytes[from..from + into.len()],
            "{} from {from}",
            into.len()
        );
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = file(2 * BLOCK + 4_321, 3);
    let sums = sums(&bytes);
    let mut random = Random::new(4);
    for _ in 0..1000 {
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        let checked = Checked::new(damaged, sums.clone()).unwrap();
        // The byte alone, from the middle of its block, and its whole block.
        for (from, length) in [(at, 1), (at / BLOCK * BLOCK, BLOCK)] {
            let mut into = vec![0; length.min(bytes.len() - from)];
            let error = checked.read_at(from as u64, &mut into).unwrap_err();
            assert_eq!(error.kind, Kind::Integrity, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn sums_tell_what_storage_gets_wrong() {
    let block = file(BLOCK, 5);
    let sum = block_sum(&block);
    let words = |from: usize, to: usize| {
        let mut other = block.clone();
        let (one, two) = (block[from..from + 8].to_vec(), block[to..to + 8].to_vec());
        other[from..from + 8].copy_from_slice(&two);
        other[to..to + 8].copy_from_slice(&one);
        block_sum(&other)
    };
    assert_ne!(words(0, 8), sum, "two words changed places");
    assert_ne!(words(0, 64), sum, "two words of one lane changed places");
    // The highest bits of words of one lane: a sum of products alone would let them cancel.
    let mut other = block.clone();
    other[7] ^= 0x80;
    other[64 + 7] ^= 0x80;
    assert_ne!(block_sum(&other), sum);
    for length in [0, 1, 7, 8, 9, 63, 64, 65, BLOCK - 1] {
        assert_ne!(block_sum(&block[..length]), sum, "cut to {length}");
        assert_ne!(
            block_sum(&vec![0; length]),
            block_sum(&vec![0; length + 1]),
            "zeros"
        );
        assert_ne!(block_sum(&vec![0; length]), 0);
    }
}

#[test]
fn sums_of_another_file_are_refused() {
    let bytes = file(2 * BLOCK, 6);
    let error = Checked::new(bytes.clone(), vec![1]).err().unwrap();
    assert_eq!(error.kind, Kind::Integrity);
    let unchecked = Checked::new(bytes.clone(), Vec::new()).unwrap();
    assert!(read_all(&unchecked, 5000).unwrap() == bytes);
    let checked = Checked::new(bytes.clone(), sums(&bytes)).unwrap();
    let error = checked.read_at(bytes.len() as u64 - 1, &mut [0; 2]).unwrap_err();
    assert_eq!(error.kind, Kind::Integrity);
}

/// The examples of FIPS 180-2, appendix B.
#[test]
fn the_digest_is_sha_256() {
    let hex = |digest: &Digest| digest.finish().map(|byte| format!("{byte:02x}")).concat();
    let mut digest = Digest::default();
    digest.update(b"a");
    digest.update(b"bc");
    assert_eq!(
        hex(&digest),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let mut million = Digest::default();
    for _ in 0..1000 {
        million.update(&[b'a'; 1000]);
    }
    assert_eq!(
        hex(&million),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
}
