//! What a partition remembers of its producers: the last batches of each, so that a retry is told from news, and open
//! transactions. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::drive::stage::batch::BatchHeader;

/// Batches remembered of a producer: as many as it may have on their way.
const REMEMBERED: usize = 5;

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

#[derive(Debug, Clone, Default)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
    /// First offset of the transaction that is open.
    open_since: Option<i64>,
}

/// The producers of one partition, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Producers(BTreeMap<i64, Producer>);

impl Producers {
    /// Decides about a batch as Kafka's `ProducerAppendInfo` does.
    pub(super) fn admit(&self, batch: &BatchHeader) -> Admission {
        if batch.producer_id < 0 {
            return Admission::Append;
        }
        // Nothing is known of the producer: any sequence may be its first here.
        let Some(known) = self.0.get(&batch.producer_id) else { return Admission::Append };
        let (first, last) = (batch.base_sequence, last_sequence(batch));
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

    /// Remembers a batch that was appended at `base_offset`.
    pub(super) fn note(&mut self, batch: &BatchHeader, base_offset: i64) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self.0.entry(batch.producer_id).or_default();
        if producer.epoch != batch.producer_epoch {
            producer.batches.clear();
        }
        producer.epoch = batch.producer_epoch;
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset,
            append_time: if batch.is_append_time() { batch.max_timestamp } else { -1 },
        });
        if batch.is_transactional() {
            producer.open_since.get_or_insert(base_offset);
        }
    }

    /// Ends the transaction of a producer; returns its first offset here, if it wrote anything here.
    pub(super) fn end(&mut self, producer_id: i64, epoch: i16) -> Option<i64> {
        let producer = self.0.entry(producer_id).or_default();
        if producer.epoch != epoch {
            producer.batches.clear();
            producer.epoch = epoch;
        }
        producer.open_since.take()
    }

    /// First offset of any open transaction.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.0.values().filter_map(|producer| producer.open_since).min()
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
        let mut producers = Producers::default();
        producers.note(&batch(0, 0, 3), 100);
        producers.note(&batch(0, 3, 2), 103);
        assert_eq!(producers.admit(&batch(0, 0, 3)), Admission::Duplicate { base_offset: 100, append_time: -1 });
        assert_eq!(producers.admit(&batch(0, 5, 1)), Admission::Append);
        assert_eq!(producers.admit(&batch(0, 6, 1)), Admission::OutOfOrder);
        assert_eq!(producers.admit(&batch(0, 0, 2)), Admission::OutOfOrder);
    }

    #[test]
    fn a_younger_epoch_begins_at_zero_and_fences_the_older() {
        let mut producers = Producers::default();
        producers.note(&batch(1, 0, 3), 100);
        assert_eq!(producers.admit(&batch(0, 3, 1)), Admission::Fenced);
        assert_eq!(producers.admit(&batch(2, 3, 1)), Admission::OutOfOrder);
        assert_eq!(producers.admit(&batch(2, 0, 1)), Admission::Append);
        producers.end(9, 2);
        assert_eq!(producers.admit(&batch(1, 3, 1)), Admission::Fenced);
        assert_eq!(producers.admit(&batch(2, 0, 1)), Admission::Append);
    }

    #[test]
    fn sequences_go_on_behind_the_largest() {
        let mut producers = Producers::default();
        producers.note(&batch(0, i32::MAX - 1, 3), 0);
        assert_eq!(producers.admit(&batch(0, 1, 1)), Admission::Append);
        producers.note(&batch(0, 1, 1), 3);
        let first = producers.admit(&batch(0, i32::MAX - 1, 3));
        assert_eq!(first, Admission::Duplicate { base_offset: 0, append_time: -1 });
    }

    #[test]
    fn a_transaction_is_open_from_its_first_offset_to_its_end() {
        let mut producers = Producers::default();
        let transactional = |first| BatchHeader { attributes: 1 << 4, ..batch(0, first, 1) };
        producers.note(&batch(0, 0, 1), 6);
        assert_eq!(producers.first_open(), None);
        producers.note(&transactional(1), 7);
        producers.note(&transactional(2), 8);
        assert_eq!(producers.first_open(), Some(7));
        assert_eq!(producers.end(9, 0), Some(7));
        assert_eq!((producers.first_open(), producers.end(9, 0)), (None, None));
    }

    proptest! {
        /// A producer that keeps up to five batches on their way, loses answers and retries in order: each batch is kept once.
        #[test]
        fn however_answers_are_lost_each_batch_is_kept_once(sizes in prop::collection::vec((1..4_i32, 0..3_usize), 1..60)) {
            let mut producers = Producers::default();
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
                            producers.note(batch, log.len() as i64);
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
