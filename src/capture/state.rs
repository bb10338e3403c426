//! The last value of each key of a table ahead of the window, so that a replay can start warm.
//!
//! A partition is read twice: once to find at which offset the last value of each key stands, once to take those events. What is
//! held meanwhile is a hash and an offset for each key that lives, of one partition at a time; where there are too many keys, the
//! first reading is repeated for a share of them at a time.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

/// Keys that are held at once at most; 25 bytes each, and as much again while the table grows.
const KEYS_MAX: usize = 2_000_000;

/// Which keys a reading looks at: those whose hash begins with these bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    bits: u32,
    prefix: u64,
}

impl Share {
    fn holds(self, hash: [u64; 2]) -> bool {
        self.bits == 0 || hash[0] >> (64 - self.bits) == self.prefix
    }

    fn halves(self) -> (Self, Self) {
        let half = |bit| Self { bits: self.bits + 1, prefix: self.prefix << 1 | bit };
        (half(0), half(1))
    }
}

/// Finds where the last value of each key stands. Ask for a reading with [`LastOffsets::begin`] until there is none left.
#[derive(Debug)]
pub(super) struct LastOffsets {
    keys_max: usize,
    shares: VecDeque<Share>,
    share: Share,
    last: HashMap<[u64; 2], i64>,
    found: Vec<i64>,
}

impl LastOffsets {
    pub(super) fn new() -> Self {
        Self::holding(KEYS_MAX)
    }

    fn holding(keys_max: usize) -> Self {
        let all = Share { bits: 0, prefix: 0 };
        Self { keys_max, shares: VecDeque::from([all]), share: all, last: HashMap::new(), found: Vec::new() }
    }

    /// Begins the next reading; false: all keys have been looked at.
    pub(super) fn begin(&mut self) -> bool {
        self.keep();
        match self.shares.pop_front() {
            Some(share) => {
                self.share = share;
                true
            }
            None => false,
        }
    }

    /// Takes note of the next event; `lives` is whether it has a value. Without a key it belongs to no table.
    pub(super) fn take(&mut self, key: Option<&[u8]>, lives: bool, offset: i64) {
        let Some(key) = key else { return };
        let hash = xxh3_128(key);
        let hash = [(hash >> 64) as u64, hash as u64];
        if !self.share.holds(hash) {
            return;
        }
        if !lives {
            self.last.remove(&hash);
            return;
        }
        self.last.insert(hash, offset);
        while self.last.len() > self.keys_max && self.share.bits < 64 {
            let (one, other) = self.share.halves();
            self.share = one;
            self.shares.push_front(other);
            self.last.retain(|hash, _| one.holds(*hash));
        }
    }

    /// Returns the offsets, in order.
    pub(super) fn finish(mut self) -> Vec<i64> {
        self.keep();
        self.found.sort_unstable();
        self.found
    }

    fn keep(&mut self) {
        self.found.extend(std::mem::take(&mut self.last).into_values());
    }
}

/// Stretch of offsets that holds all of `offsets`, which are in order.
pub(super) fn reach(offsets: &[i64]) -> Option<Range<i64>> {
    Some(*offsets.first()?..*offsets.last()? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as often as asked; returns offsets and the number of readings.
    fn found(events: &[(Option<&str>, bool)], keys_max: usize) -> (Vec<i64>, usize) {
        let mut offsets = LastOffsets::holding(keys_max);
        let mut readings = 0;
        while offsets.begin() {
            readings += 1;
            for (offset, (key, lives)) in (10..).zip(events) {
                offsets.take(key.map(str::as_bytes), *lives, offset);
            }
        }
        (offsets.finish(), readings)
    }

    #[test]
    fn the_last_value_of_each_key_stays_and_tombstones_remove() {
        let (a, b, c) = (Some("a"), Some("b"), Some(""));
        let events =
            [(a, true), (b, true), (None, true), (a, true), (c, true), (b, false), (c, false), (c, true), (a, true)];
        assert_eq!(found(&events, 100), (vec![17, 18], 1));
    }

    #[test]
    fn more_keys_than_may_be_held_are_found_in_several_readings() {
        let keys: Vec<String> = (0..1_000).map(|number| format!("key-{number}")).collect();
        let mut events: Vec<_> = keys.iter().map(|key| (Some(key.as_str()), true)).collect();
        events.extend(keys.iter().step_by(3).map(|key| (Some(key.as_str()), false)));
        let expected: Vec<i64> = (0..1_000).filter(|number| number % 3 != 0).map(|number| number + 10).collect();
        assert_eq!(found(&events, 1_000), (expected.clone(), 1));
        let (offsets, readings) = found(&events, 50);
        assert_eq!(offsets, expected);
        assert!(readings >= 14, "{readings}");
    }
}
