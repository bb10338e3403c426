//! Which outputs are held against each other to find what differences have in common: drawn by hash, so that every drive of
//! the same outputs draws the same ones.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::patterns::Candidate;

/// Differences of a pattern that are looked at.
const DIFFERING_MAX: usize = 256;

/// Outputs of a drive that are drawn, about.
const DRAWN: u64 = 2_048;

/// Drawn outputs that differ in one way, at most; a drive of old and one of new hold no more.
const DRAWN_MAX: usize = 4 * DRAWN as usize;

/// Which outputs of old and of new are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Draw {
    last: [i64; 2],
    /// Greatest number by which an output is drawn.
    most: [u64; 2],
}

impl Default for Draw {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

/// Number by which an output is drawn, for one purpose.
pub(super) fn drawn_by(sequence: i64, purpose: u64) -> u64 {
    xxh3_64_with_seed(&sequence.to_le_bytes(), purpose)
}

/// A drive that outputs are drawn of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drawn {
    Old,
    New,
}

impl Draw {
    /// Draws among the outputs of old and new up to these sequences.
    pub(in super::super) fn new(old: i64, new: i64) -> Self {
        let last = [old, new];
        let most = last.map(|last| u64::MAX / (last.unsigned_abs() + 1).div_ceil(DRAWN).max(1));
        Self { last, most }
    }

    fn has(self, drive: Drawn, sequence: i64) -> bool {
        drawn_by(sequence, 0xD4A3) <= self.most[drive as usize]
    }

    /// Sequences drawn of a drive, ascending.
    pub(super) fn of(self, drive: Drawn) -> Vec<i64> {
        (0..=self.last[drive as usize]).filter(|sequence| self.has(drive, *sequence)).collect()
    }
}

/// Differences of one pattern that are looked at, and drawn outputs that it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Sample {
    /// By hash, the smallest.
    differing: BTreeMap<u64, (Drawn, i64)>,
    drawn: BTreeSet<(Drawn, i64)>,
}

impl Sample {
    /// Notes a difference: it is looked at in what old wrote, or in what new wrote where old wrote nothing.
    pub(in super::super) fn note(&mut self, candidate: &Candidate, draw: Draw) {
        let old = candidate.old.map(|sequence| (Drawn::Old, sequence));
        let Some((drive, sequence)) = old.or(candidate.new.map(|sequence| (Drawn::New, sequence))) else { return };
        let hash = drawn_by(sequence, 0x5A47);
        let is_full = self.differing.len() >= DIFFERING_MAX;
        if !is_full || self.differing.last_key_value().is_some_and(|(last, _)| hash < *last) {
            self.differing.insert(hash, (drive, sequence));
            self.bound();
        }
        if draw.has(drive, sequence) && self.drawn.len() < DRAWN_MAX {
            self.drawn.insert((drive, sequence));
        }
    }

    /// Adds what was noted of another signature.
    pub(in super::super) fn add(&mut self, other: &Self) {
        self.differing.extend(other.differing.iter().map(|(hash, output)| (*hash, *output)));
        self.bound();
        self.drawn.extend(other.drawn.iter().copied());
    }

    fn bound(&mut self) {
        while self.differing.len() > DIFFERING_MAX {
            self.differing.pop_last();
        }
    }

    /// Differences looked at.
    pub(super) fn differing(&self) -> impl Iterator<Item = (Drawn, i64)> {
        self.differing.values().copied()
    }

    /// Whether a drawn output is one that differs.
    pub(super) fn differs(&self, drive: Drawn, sequence: i64) -> bool {
        self.drawn.contains(&(drive, sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_are_drawn_of_a_large_drive_as_of_any_other_and_all_of_a_small_one() {
        let drawn = Draw::new(1_000, 999_999);
        assert_eq!(drawn.of(Drawn::Old).len(), 1_001);
        let number = drawn.of(Drawn::New).len();
        assert!((1_800..2_300).contains(&number), "{number}");
    }

    #[test]
    fn a_sample_is_bounded_and_the_same_in_whatever_order_it_is_drawn() {
        let draw = Draw::new(99_999, 0);
        let candidate = |sequence| Candidate { at: 0, old: Some(sequence), new: None, stood: None };
        let (mut one, mut other, mut part) = (Sample::default(), Sample::default(), Sample::default());
        (0..50_000).for_each(|sequence| one.note(&candidate(sequence), draw));
        (20_000..50_000).rev().for_each(|sequence| other.note(&candidate(sequence), draw));
        (0..20_000).for_each(|sequence| part.note(&candidate(sequence), draw));
        other.add(&part);
        assert_eq!(one, other);
        assert_eq!(one.differing.len(), DIFFERING_MAX);
        assert!(
            draw.of(Drawn::Old).into_iter().all(|sequence| one.differs(Drawn::Old, sequence) == (sequence < 50_000))
        );
    }
}
