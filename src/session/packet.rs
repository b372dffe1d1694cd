//! What the leader tells the others before each batch: what to do, and with which tokens. All numbers are below 2^24, so that
//! f32 holds them exactly: a packet is exchanged like any slice of activations.

use crate::model::{Batch, LogitsFor, MAX_BATCH, Mark};

/// Numbers before the tokens.
const HEAD: usize = 12;

/// Most tokens whose logits are asked for one by one. More are not worth it: a row is computed with its neighbours.
pub(super) const MAX_ROWS: usize = 256;

/// Length of a packet: the head, the tokens, the rows of the output matrix.
pub(super) const LENGTH: usize = HEAD + MAX_BATCH + MAX_ROWS;

const END: f32 = 0.0;
const BATCH: f32 = 1.0;

/// Writes the end of the request.
pub(super) fn write_end(packet: &mut [f32]) {
    packet[0] = END;
}

/// Writes a batch. `rows`: the tokens whose logits are wanted, at most [`MAX_ROWS`]; none for all.
pub(super) fn write(packet: &mut [f32], tokens: &[u32], batch: &Batch, rows: &[u32]) {
    let slot = |slot: Option<usize>| slot.map_or(0, |slot| slot + 1);
    let logits = match batch.logits {
        LogitsFor::None => 0,
        LogitsFor::Last => 1,
        LogitsFor::All => 2,
        LogitsFor::Vectors => 3,
    };
    let head = [
        tokens.len(),
        batch.first,
        logits,
        batch.keep,
        slot(batch.restore),
        slot(batch.save),
        slot(batch.mark.map(|mark| mark.slot)),
        batch.mark.map_or(0, |mark| mark.tokens),
        usize::from(batch.draft),
        usize::from(batch.predict),
        rows.len(),
    ];
    packet[0] = BATCH;
    let ids = tokens.iter().chain(rows).map(|id| *id as usize);
    let numbers = head.into_iter().chain(ids);
    for (to, number) in packet[1..].iter_mut().zip(numbers) {
        *to = number as f32;
    }
}

/// The tokens of a batch, what it is, and the tokens whose logits are wanted; or `None` for the end.
pub(super) fn read(packet: &[f32]) -> Option<(Vec<u32>, Batch, impl Iterator<Item = u32>)> {
    let (head, ids) = packet.split_first_chunk::<HEAD>()?;
    let [
        what,
        count,
        first,
        logits,
        keep,
        restore,
        save,
        slot,
        tokens,
        draft,
        predict,
        rows,
    ] = head.map(|number| number as usize);
    if what as f32 == END {
        return None;
    }
    let mark = slot.checked_sub(1).map(|slot| Mark { slot, tokens });
    let batch = Batch {
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
    };
    let mut ids = ids.iter().map(|id| *id as u32);
    let tokens = ids.by_ref().take(count).collect();
    Some((tokens, batch, ids.take(rows)))
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
        for batch in [plain, full] {
            let tokens: Vec<u32> = (0..MAX_BATCH as u32).map(|i| i * 1000).collect();
            for wanted in [vec![], (0..MAX_ROWS as u32).collect::<Vec<_>>()] {
                write(&mut packet, &tokens, &batch, &wanted);
                let (ids, read, rows) = read(&packet).unwrap();
                assert_eq!((ids, read), (tokens.clone(), batch));
                assert_eq!(rows.collect::<Vec<_>>(), wanted);
            }
        }
        write_end(&mut packet);
        assert!(read(&packet).is_none());
    }
}
