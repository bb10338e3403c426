//! What a partition remembers of its producers: the last batches of each, so that a retry is told from news, and open
//! transactions. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::drive::stage::batch::BatchHeader;

/// Batches remembered of a producer: as many as it may have on their way.
const REMEMBERED: usize = 5;

/// Microseconds between two looks for producers to forget, as Kafka's `producer.id.expiration.check.interval.ms`.
const LOOK_US: i64 = 600_000_000;

/// What becomes of a batch that a producer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drive::stage) enum Admission {
    /// It is news.
    Append,
    /// It stands in the log already.
    Duplicate {
        /// Where.
        base_offset: i64,
        /// The log's own time that it was given, or -1.
        append_time: i64,
    },
    /// A batch ahead of it is missing.
    OutOfOrder,
    /// A younger producer of the same id has written since.
    Fenced,
    /// The producer has a transaction open, and the batch belongs to none.
    OutsideOfTransaction,
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    append_time: i64,
}

/// What is known of one producer.
#[derive(Debug, Clone, Default)]
struct Known {
    epoch: i16,
    batches: VecDeque<Remembered>,
    /// First offset of the transaction that is open.
    open_since: Option<i64>,
    /// When it last wrote or ended something here.
    seen_us: i64,
}

/// The producers of one partition, by id.
#[derive(Debug, Clone)]
pub(super) struct Producers {
    by_id: BTreeMap<i64, Known>,
    /// First offsets of open transactions, with whose they are.
    open: BTreeSet<(i64, i64)>,
    /// Epoch and smallest sequence of batches that were refused of producers of whom nothing stands here yet.
    refused: BTreeMap<i64, (i16, i32)>,
    /// How long a producer is remembered that is not heard of, in microseconds.
    expiration_us: i64,
    looked_us: i64,
}

impl Producers {
    /// Remembers nobody yet, and each for so long from when it was last heard of.
    pub(super) fn new(expiration_us: i64) -> Self {
        let (by_id, open, refused) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { by_id, open, refused, expiration_us, looked_us: 0 }
    }

    /// Decides about a batch as Kafka's `ProducerAppendInfo` does.
    pub(super) fn admit(&self, batch: &BatchHeader) -> Admission {
        if batch.producer_id < 0 {
            return Admission::Append;
        }
        let (first, last) = (batch.base_sequence, last_sequence(batch));
        let Some(known) = self.by_id.get(&batch.producer_id) else {
            // Nothing is known of the producer: any sequence may be its first here. Where one was refused, though, those behind it
            // may be on their way already: were one of them taken, the refused one could never be.
            return match self.refused.get(&batch.producer_id) {
                Some((epoch, smallest)) if *epoch == batch.producer_epoch && *smallest < first => Admission::OutOfOrder,
                _ => Admission::Append,
            };
        };
        if batch.producer_epoch < known.epoch {
            return Admission::Fenced;
        }
        if batch.producer_epoch > known.epoch {
            return if first == 0 { Admission::Append } else { Admission::OutOfOrder };
        }
        let same = |seen: &&Remembered| seen.first_sequence == first && seen.last_sequence == last;
        if let Some(seen) = known.batches.iter().find(same) {
            return Admission::Duplicate { base_offset: seen.base_offset, append_time: seen.append_time };
        }
        let expected = known.batches.back().map_or(0, |newest| next_sequence(newest.last_sequence));
        if first != expected {
            return Admission::OutOfOrder;
        }
        if known.open_since.is_some() && !batch.is_transactional() {
            return Admission::OutsideOfTransaction;
        }
        Admission::Append
    }

    /// Remembers that a batch was refused which its producer is to send again, as Kafka does for transactions.
    pub(super) fn note_refused(&mut self, batch: &BatchHeader) {
        if batch.producer_id < 0 || self.by_id.contains_key(&batch.producer_id) {
            return;
        }
        let (epoch, first) = (batch.producer_epoch, batch.base_sequence);
        let refused = self.refused.entry(batch.producer_id).or_insert((epoch, first));
        if refused.0 < epoch || (refused.0 == epoch && first < refused.1) {
            *refused = (epoch, first);
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn note(&mut self, batch: &BatchHeader, base_offset: i64, now_us: i64) {
        if batch.producer_id < 0 {
            return;
        }
        self.forget_silent(now_us);
        self.refused.remove(&batch.producer_id);
        let producer = self.by_id.entry(batch.producer_id).or_default();
        if producer.epoch != batch.producer_epoch {
            producer.batches.clear();
        }
        (producer.epoch, producer.seen_us) = (batch.producer_epoch, now_us);
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset,
            append_time: if batch.is_append_time() { batch.max_timestamp } else { -1 },
        });
        if batch.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(base_offset);
            self.open.insert((base_offset, batch.producer_id));
        }
    }

    /// Ends the transaction of a producer; returns its first offset here, if it wrote anything here.
    pub(super) fn end(&mut self, producer_id: i64, epoch: i16, now_us: i64) -> Option<i64> {
        self.refused.remove(&producer_id);
        let producer = self.by_id.entry(producer_id).or_default();
        if producer.epoch != epoch {
            producer.batches.clear();
            producer.epoch = epoch;
        }
        producer.seen_us = now_us;
        let first = producer.open_since.take()?;
        self.open.remove(&(first, producer_id));
        Some(first)
    }

    /// First offset of the transaction that a producer has open.
    pub(super) fn open_since(&self, producer_id: i64) -> Option<i64> {
        self.by_id.get(&producer_id)?.open_since
    }

    /// First offset of any open transaction.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.first().map(|(first, _)| *first)
    }

    /// First offset of any open transaction but that of a producer.
    pub(super) fn first_open_but(&self, producer_id: i64) -> Option<i64> {
        self.open.iter().find(|(_, id)| *id != producer_id).map(|(first, _)| *first)
    }

    /// Forgets those that have been silent for too long and have nothing open.
    fn forget_silent(&mut self, now_us: i64) {
        if now_us - self.looked_us < LOOK_US.min(self.expiration_us) {
            return;
        }
        self.looked_us = now_us;
        let expiration_us = self.expiration_us;
        self.by_id.retain(|_, known| known.open_since.is_some() || now_us - known.seen_us < expiration_us);
    }
}

fn last_sequence(batch: &BatchHeader) -> i32 {
    let last = i64::from(batch.base_sequence) + i64::from(batch.last_offset_delta);
    // Sequences go on with 0 behind the largest.
    (last % (i64::from(i32::MAX) + 1)) as i32
}

fn next_sequence(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn batch(epoch: i16, first: i32, count: i32) -> BatchHeader {
        BatchHeader {
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: first,
            last_offset_delta: count - 1,
            count,
            ..BatchHeader::default()
        }
    }

    #[test]
    fn a_retry_is_no_news_and_a_gap_is_refused() {
        let mut producers = Producers::new(DAY_US);
        producers.note(&batch(0, 0, 3), 100, 0);
        producers.note(&batch(0, 3, 2), 103, 0);
        assert_eq!(producers.admit(&batch(0, 0, 3)), Admission::Duplicate { base_offset: 100, append_time: -1 });
        assert_eq!(producers.admit(&batch(0, 5, 1)), Admission::Append);
        assert_eq!(producers.admit(&batch(0, 6, 1)), Admission::OutOfOrder);
        assert_eq!(producers.admit(&batch(0, 0, 2)), Admission::OutOfOrder);
    }

    #[test]
    fn a_younger_epoch_begins_at_zero_and_fences_the_older() {
        let mut producers = Producers::new(DAY_US);
        producers.note(&batch(1, 0, 3), 100, 0);
        assert_eq!(producers.admit(&batch(0, 3, 1)), Admission::Fenced);
        assert_eq!(producers.admit(&batch(2, 3, 1)), Admission::OutOfOrder);
        assert_eq!(producers.admit(&batch(2, 0, 1)), Admission::Append);
        producers.end(9, 2, 0);
        assert_eq!(producers.admit(&batch(1, 3, 1)), Admission::Fenced);
        assert_eq!(producers.admit(&batch(2, 0, 1)), Admission::Append);
    }

    #[test]
    fn the_batches_behind_one_that_was_refused_wait_for_it() {
        let mut producers = Producers::new(DAY_US);
        producers.note_refused(&batch(0, 3, 2));
        producers.note_refused(&batch(0, 0, 3));
        producers.note_refused(&batch(0, 3, 2));
        assert_eq!(producers.admit(&batch(0, 3, 2)), Admission::OutOfOrder);
        assert_eq!(producers.admit(&batch(0, 0, 3)), Admission::Append);
        // One that has begun anew with another epoch has given up on it.
        assert_eq!(producers.admit(&batch(1, 7, 1)), Admission::Append);
        producers.note_refused(&batch(1, 4, 1));
        assert_eq!(producers.admit(&batch(1, 7, 1)), Admission::OutOfOrder);
        producers.note(&batch(1, 4, 1), 100, 0);
        assert_eq!(producers.admit(&batch(1, 5, 1)), Admission::Append);
        // Of one that is known, its sequences tell.
        producers.note_refused(&batch(1, 5, 1));
        assert_eq!(producers.admit(&batch(1, 6, 1)), Admission::OutOfOrder);
        assert!(producers.refused.is_empty());
    }

    #[test]
    fn a_producer_that_is_silent_for_a_day_is_forgotten_unless_it_has_something_open() {
        let mut producers = Producers::new(DAY_US);
        let of = |producer_id, attributes| BatchHeader { attributes, producer_id, ..batch(0, 0, 1) };
        producers.note(&of(1, 0), 0, 0);
        producers.note(&of(2, 1 << 4), 1, 0);
        producers.note(&of(3, 0), 2, DAY_US - 1);
        producers.note(&of(4, 0), 3, DAY_US + LOOK_US);
        assert_eq!(producers.by_id.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((producers.first_open(), producers.first_open_but(2)), (Some(1), None));
    }

    #[test]
    fn sequences_go_on_behind_the_largest() {
        let mut producers = Producers::new(DAY_US);
        producers.note(&batch(0, i32::MAX - 1, 3), 0, 0);
        assert_eq!(producers.admit(&batch(0, 1, 1)), Admission::Append);
        producers.note(&batch(0, 1, 1), 3, 0);
        let first = producers.admit(&batch(0, i32::MAX - 1, 3));
        assert_eq!(first, Admission::Duplicate { base_offset: 0, append_time: -1 });
    }

    #[test]
    fn a_transaction_is_open_from_its_first_offset_to_its_end() {
        let mut producers = Producers::new(DAY_US);
        let transactional = |first| BatchHeader { attributes: 1 << 4, ..batch(0, first, 1) };
        producers.note(&batch(0, 0, 1), 6, 0);
        assert_eq!(producers.first_open(), None);
        producers.note(&transactional(1), 7, 0);
        producers.note(&transactional(2), 8, 0);
        assert_eq!(producers.first_open(), Some(7));
        assert_eq!(producers.end(9, 0, 0), Some(7));
        assert_eq!((producers.first_open(), producers.end(9, 0, 0)), (None, None));
    }

    proptest! {
        /// A producer that keeps up to five batches on their way, loses answers and retries in order: each batch is kept once.
        #[test]
        fn however_answers_are_lost_each_batch_is_kept_once(sizes in prop::collection::vec((1..4_i32, 0..3_usize), 1..60)) {
            let mut producers = Producers::new(DAY_US);
            let mut log = Vec::new();
            let mut sent: Vec<BatchHeader> = Vec::new();
            let mut sequence = 0;
            for (count, back) in sizes {
                sent.push(batch(0, sequence, count));
                sequence += count;
                // The last few are sent once more, the newest among them for the first time.
                let from = sent.len().saturating_sub(1 + back);
                for batch in &sent[from..] {
                    match producers.admit(batch) {
                        Admission::Append => {
                            producers.note(batch, log.len() as i64, 0);
                            log.extend((0..batch.count).map(|at| batch.base_sequence + at));
                        }
                        Admission::Duplicate { base_offset, .. } => {
                            prop_assert_eq!(log[base_offset as usize], batch.base_sequence);
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            prop_assert_eq!(log, (0..sequence).collect::<Vec<_>>());
        }
    }
}
