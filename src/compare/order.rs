//! Order across identities: which outputs came late in a drive, measured in one pass over the pairs in order of arrival.
//!
//! An output is late where one that stands behind it in the first drive of old has already come (RFC 4737, type-P-reordered);
//! its extent is how far it fell behind, in outputs.

use std::collections::BTreeMap;

use super::CompareError;
use super::buckets::{BUCKETS, Buckets, Item, number_at};
use super::sorted::Sorter;
use super::threads::one_ahead;
use super::watched::go_on;
use crate::outcome::Channel;
use crate::spill::SpillSpace;

/// An output of the first drive of old and its equal in another drive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// Sequence in the first drive of old.
    pub(super) old: i64,
    /// Sequence in `drive`.
    pub(super) other: i64,
    pub(super) topic: u16,
    pub(super) drive: u8,
    pub(super) channel: Channel,
    /// Further pairs that follow it directly on both sides.
    pub(super) more: u32,
}

impl Item for Pair {
    const SIZE: usize = 24;

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut item = [0; Self::SIZE];
        item[..8].copy_from_slice(&self.old.to_le_bytes());
        item[8..16].copy_from_slice(&self.other.to_le_bytes());
        item[16..18].copy_from_slice(&self.topic.to_le_bytes());
        [item[18], item[19]] = [self.drive, self.channel as u8];
        item[20..].copy_from_slice(&self.more.to_le_bytes());
        bytes.extend_from_slice(&item);
    }

    fn read(bytes: &[u8]) -> Self {
        let channel = match bytes[19] {
            0 => Channel::Output,
            1 => Channel::DeadLetter,
            2 => Channel::Http,
            _ => Channel::Sink,
        };
        Self {
            old: number_at(bytes, 0) as i64,
            other: number_at(bytes, 8) as i64,
            topic: u16::from_le_bytes([bytes[16], bytes[17]]),
            drive: bytes[18],
            channel,
            more: u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]),
        }
    }

    fn count(&self) -> u64 {
        u64::from(self.more) + 1
    }

    fn nth(&self, n: u64) -> Self {
        Self { old: self.old + n as i64, other: self.other + n as i64, more: 0, ..*self }
    }

    fn join(&mut self, next: &Self) -> bool {
        let follows = |one: i64, other: i64| one.wrapping_add(i64::from(self.more) + 1) == other;
        let alike = (self.topic, self.drive, self.channel) == (next.topic, next.drive, next.channel);
        let joins = alike && follows(self.old, next.old) && follows(self.other, next.other) && next.more == 0;
        joins && self.more.checked_add(1).map(|more| self.more = more).is_some()
    }
}

/// A set of sequences, a bit each where they are dense.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<i64, u64>);

impl Marks {
    /// Adds a sequence.
    pub(super) fn set(&mut self, sequence: i64) {
        *self.0.entry(sequence >> 6).or_default() |= 1 << (sequence & 63);
    }

    /// Whether a sequence was added.
    pub(super) fn has(&self, sequence: i64) -> bool {
        self.0.get(&(sequence >> 6)).is_some_and(|bits| bits >> (sequence & 63) & 1 == 1)
    }
}

/// Bucket of a sequence, so that buckets follow each other in order.
pub(super) fn bucket(sequence: i64, last: i64) -> usize {
    let (sequence, last, all) = (sequence.max(0) as u64, last.max(0) as u64, BUCKETS as u64);
    // Where a product could overflow, numbers do without their last digits: wider division takes many times as long.
    let bucket =
        if last < u64::MAX / all { sequence.min(last) * all / (last + 1) } else { sequence / (last / all + 1) };
    (bucket as usize).min(BUCKETS - 1)
}

/// Shows every pair but those that `leave_out` names to `take`, drive by drive in order of arrival, with how far it came late
/// (zero: in time).
pub(super) fn lateness(
    pairs: &mut Buckets<'_, Pair>,
    drives: usize,
    (held_max, spill): (usize, &SpillSpace),
    leave_out: impl Fn(&Pair) -> bool,
    mut take: impl FnMut(&Pair, u64) -> Result<(), CompareError>,
) -> Result<(), CompareError> {
    let mut furthest = vec![i64::MIN; drives];
    let sorted = |bucket| {
        let mut sorter = Sorter::new(|pair: &Pair| (pair.drive, pair.other), held_max, spill);
        pairs.drain(bucket, &mut |pair| sorter.push_run(pair))?;
        sorter.finish()
    };
    one_ahead(BUCKETS, sorted, |pairs| {
        for pair in pairs.all().each() {
            go_on(spill)?;
            let pair = pair?;
            if leave_out(&pair) {
                continue;
            }
            let furthest = &mut furthest[pair.drive as usize];
            let late = if pair.old < *furthest { furthest.abs_diff(pair.old) } else { 0 };
            *furthest = (*furthest).max(pair.old);
            take(&pair, late)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_however_far_sequences_reach() {
        for last in [0, 1, 255, 256, 1_000_003, i64::MAX / 256, i64::MAX - 1, i64::MAX] {
            let places = (0..=1_000_u128).map(|at| (at * last as u128 / 1_000) as i64);
            let buckets: Vec<usize> = places.map(|sequence| bucket(sequence, last)).collect();
            assert!(buckets.is_sorted() && buckets[0] == 0, "{last}");
            assert!(last < 255 || buckets[1_000] == BUCKETS - 1, "{last}: {}", buckets[1_000]);
        }
    }
}
