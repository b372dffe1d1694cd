//! What the leader tells the others before each batch: what to do, and with which tokens. All numbers are below 2^24, so that
//! f32 holds them exactly: a packet is exchanged like any slice of activations.

use crate::model::{Batch, LogitsFor, MAX_BATCH, MAX_SEATS, Mark, Part};

/// Numbers before the parts: what it is, which seats are taken, how many parts, how many rows.
const HEAD: usize = 4;

/// Numbers of a part.
const PART: usize = 12;

/// Most tokens whose logits are asked for one by one. More are not worth it: a row is computed with its neighbours.
pub(super) const MAX_ROWS: usize = 256;

/// Length of a packet: the head, the parts, the tokens, the rows of the output matrix.
pub(super) const LENGTH: usize = HEAD + MAX_SEATS * PART + MAX_BATCH + MAX_ROWS;

const END: f32 = 0.0;
const BATCH: f32 = 1.0;

/// Writes the end of the request.
pub(super) fn write_end(packet: &mut [f32]) {
    packet[0] = END;
}

/// A batch, as the leader tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    /// At most [`MAX_BATCH`].
    pub(super) tokens: Vec<u32>,
    /// At most [`MAX_SEATS`].
    pub(super) parts: Vec<Part>,
    /// The tokens whose logits are wanted, at most [`MAX_ROWS`]; none for all.
    pub(super) rows: Vec<u32>,
    /// The seats that are taken, seat 1 being bit 0. The others are free from now on.
    pub(super) seats: u32,
}

impl Packet {
    /// A batch of one text, in the model's own memory.
    pub(super) fn alone(tokens: Vec<u32>, batch: Batch, rows: Vec<u32>) -> Packet {
        Packet {
            parts: vec![Part::alone(tokens.len(), batch)],
            tokens,
            rows,
            seats: 0,
        }
    }
}

/// Writes a batch.
pub(super) fn write(packet: &mut [f32], batch: &Packet) {
    let Packet {
        tokens,
        parts,
        rows,
        seats,
    } = batch;
    let ids = tokens.iter().chain(rows).map(|id| *id as usize);
    let numbers = [*seats as usize, parts.len(), rows.len()].into_iter();
    let numbers = numbers.chain(parts.iter().flat_map(part_numbers)).chain(ids);
    packet[0] = BATCH;
    for (to, number) in packet[1..].iter_mut().zip(numbers) {
        *to = number as f32;
    }
}

fn part_numbers(part: &Part) -> [usize; PART] {
    let slot = |slot: Option<usize>| slot.map_or(0, |slot| slot + 1);
    let batch = &part.batch;
    let logits = match batch.logits {
        LogitsFor::None => 0,
        LogitsFor::Last => 1,
        LogitsFor::All => 2,
        LogitsFor::Vectors => 3,
    };
    [
        part.seat,
        usize::from(part.fork),
        part.tokens,
        batch.first,
        logits,
        batch.keep,
        slot(batch.restore),
        slot(batch.save),
        slot(batch.mark.map(|mark| mark.slot)),
        batch.mark.map_or(0, |mark| mark.tokens),
        usize::from(batch.draft),
        usize::from(batch.predict),
    ]
}

fn part_of(numbers: &[f32; PART]) -> Part {
    let [
        seat,
        fork,
        tokens,
        first,
        logits,
        keep,
        restore,
        save,
        slot,
        marked,
        draft,
        predict,
    ] = numbers.map(|number| number as usize);
    let mark = slot.checked_sub(1).map(|slot| Mark { slot, tokens: marked });
    Part {
        seat,
        fork: fork == 1,
        tokens,
        batch: Batch {
            first,
            logits: match logits {
                0 => LogitsFor::None,
                1 => LogitsFor::Last,
                2 => LogitsFor::All,
                _ => LogitsFor::Vectors,
            },
            keep,
            restore: restore.checked_sub(1),
            save: save.checked_sub(1),
            mark,
            draft: draft == 1,
            predict: predict == 1,
        },
    }
}

/// The batch, or `None` for the end.
pub(super) fn read(packet: &[f32]) -> Option<Packet> {
    let (head, rest) = packet.split_first_chunk::<HEAD>()?;
    let [what, seats, parts, rows] = head.map(|number| number as usize);
    if what as f32 == END {
        return None;
    }
    let (parts, ids) = rest.split_at_checked(parts * PART)?;
    let parts: Vec<Part> = parts.as_chunks().0.iter().map(part_of).collect();
    let count = parts.iter().map(|part| part.tokens).sum();
    let mut ids = ids.iter().map(|id| *id as u32);
    let tokens = ids.by_ref().take(count).collect();
    Some(Packet {
        tokens,
        parts,
        rows: ids.take(rows).collect(),
        seats: seats as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut packet = [0.0; LENGTH];
        let plain = Batch::at(7, LogitsFor::None);
        let full = Batch {
            first: (1 << 24) - 1,
            logits: LogitsFor::All,
            keep: 3,
            restore: Some(0),
            save: Some(2),
            mark: Some(Mark { slot: 1, tokens: 128 }),
            draft: true,
            predict: true,
        };
        let tokens: Vec<u32> = (0..MAX_BATCH as u32).map(|i| i * 1000).collect();
        let alone = |batch| vec![Part::alone(MAX_BATCH, batch)];
        let together: Vec<Part> = (1..=MAX_SEATS)
            .map(|seat| Part {
                seat,
                fork: seat % 2 == 0,
                ..Part::alone(MAX_BATCH / MAX_SEATS, full)
            })
            .collect();
        for parts in [alone(plain), alone(full), together] {
            for rows in [vec![], (0..MAX_ROWS as u32).collect()] {
                let batch = Packet {
                    tokens: tokens.clone(),
                    parts: parts.clone(),
                    rows,
                    seats: (1 << MAX_SEATS) - 1,
                };
                write(&mut packet, &batch);
                assert_eq!(read(&packet).unwrap(), batch);
            }
        }
        write_end(&mut packet);
        assert!(read(&packet).is_none());
    }
}
