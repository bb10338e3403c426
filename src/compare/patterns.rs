//! Differences of one signature, counted together; memory is bounded whatever the outcomes hold.

use std::collections::BTreeMap;

use super::cause;
use super::matching::Signature;
use super::noise::Counts;
use super::{Change, Kind};

/// Signatures that are told apart; the rest of a kind is counted under one.
const SIGNATURES_MAX: usize = 1_000;

/// Name of the topic under which further signatures are counted.
pub(super) const OTHERS: &str = "(further patterns)";

/// Candidates for the first sighting and the examples of a pattern.
const CANDIDATES_MAX: usize = 16;

/// Units that are told apart for each pattern, and in all; those beyond are left out of the test, whoever is odd there.
const UNITS_MAX: usize = 65_536;
const UNITS_IN_ALL_MAX: usize = 1_000_000;

/// A difference that may be shown: sequences in the two drives it stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// What candidates are ordered by: arrival in microseconds, or a sequence where all of a pattern have only that.
    pub(super) at: i64,
    pub(super) old: Option<i64>,
    pub(super) new: Option<i64>,
}

/// What was found of one signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// Earliest differences, ascending.
    pub(super) candidates: Vec<Candidate>,
    /// How often a drive is odd, by unit and drive, where several identities are one unit.
    units: BTreeMap<(u64, usize), u32>,
    /// What was seen of its pairs of values.
    pub(super) seen: cause::Seen,
    /// Outputs that it is about.
    pub(super) sample: cause::Sample,
}

/// All patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    tallies: BTreeMap<Signature, Tally>,
    units: usize,
    /// Outputs that are held against those that differ.
    pub(super) draw: cause::Draw,
}

/// Which drive is odd at an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd {
    /// The drive.
    pub(super) drive: usize,
    /// The drive that is new.
    pub(super) new: usize,
    /// Whether new again wrote the same as new.
    pub(super) recurred: bool,
    /// What is correlated, where that is more than the identity.
    pub(super) unit: Option<u64>,
}

impl Patterns {
    /// Tally of a signature.
    pub(super) fn tally(&mut self, signature: &Signature) -> &mut Tally {
        if self.tallies.len() < SIGNATURES_MAX || self.tallies.contains_key(signature) {
            return self.tallies.entry(signature.clone()).or_default();
        }
        let others = Signature { kind: signature.kind, topic: OTHERS.to_owned(), path: None, change: None };
        self.tallies.entry(others).or_default()
    }

    /// Counts a difference of old against new.
    pub(super) fn raw(&mut self, signature: &Signature, candidate: Candidate) {
        let draw = self.draw;
        let tally = self.tally(signature);
        tally.counts.raw += 1;
        tally.sample.note(&candidate, draw);
        let place = tally.candidates.partition_point(|other| *other <= candidate);
        if place < CANDIDATES_MAX {
            tally.candidates.insert(place, candidate);
            tally.candidates.truncate(CANDIDATES_MAX);
        }
    }

    /// Looks at the values of a difference that was counted; those of signatures that are not told apart explain nothing.
    pub(super) fn look(&mut self, signature: &Signature, look: impl FnOnce(&mut cause::Seen)) {
        if let Some(tally) = self.tallies.get_mut(signature) {
            look(&mut tally.seen);
        }
    }

    /// Counts an identity on which one drive is odd in the way of `signature`.
    pub(super) fn odd(&mut self, signature: &Signature, odd: Odd) {
        let has_room = self.units < UNITS_IN_ALL_MAX;
        let tally = self.tally(signature);
        if odd.drive == odd.new {
            tally.counts.recurred += u64::from(odd.recurred);
        } else {
            tally.counts.odd_old += 1;
        }
        let Some(unit) = odd.unit else {
            tally.counts.odd_any += 1;
            tally.counts.odd_new += u64::from(odd.drive == odd.new);
            return;
        };
        let is_known = tally.units.range((unit, 0)..=(unit, usize::MAX)).next().is_some();
        if is_known || (has_room && tally.units.len() < UNITS_MAX) {
            *tally.units.entry((unit, odd.drive)).or_default() += 1;
            self.units += usize::from(!is_known);
        }
    }

    /// Makes one pattern of the numbers at a path, where not all of them are equal up to their precision: whoever changes a
    /// formula hits here and there upon a rounded number.
    fn fold_precision(&mut self) {
        let fine: Vec<Signature> =
            self.tallies.keys().filter(|found| found.change == Some(Change::Precision)).cloned().collect();
        for signature in fine {
            let coarse = signature.beyond_precision();
            if self.tallies.contains_key(&coarse)
                && let Some(tally) = self.tallies.remove(&signature)
            {
                self.tally(&coarse).add(tally);
            }
        }
    }

    /// Ends counting: every signature that was seen, in order.
    pub(super) fn finish(mut self, new: usize) -> impl Iterator<Item = (Signature, Tally)> {
        self.fold_precision();
        self.tallies.into_iter().map(move |(signature, mut tally)| {
            let units: Vec<((u64, usize), u32)> = std::mem::take(&mut tally.units).into_iter().collect();
            for unit in units.chunk_by(|one, other| one.0.0 == other.0.0) {
                if let Some(drive) = oddest(unit) {
                    tally.counts.odd_any += 1;
                    tally.counts.odd_new += u64::from(drive == new);
                }
            }
            (signature, tally)
        })
    }
}

impl Tally {
    /// Adds what was found of another signature.
    fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        self.candidates.extend(other.candidates);
        self.candidates.sort_unstable();
        self.candidates.truncate(CANDIDATES_MAX);
        for (unit, times) in other.units {
            *self.units.entry(unit).or_default() += times;
        }
        self.seen.add(&other.seen);
        self.sample.add(&other.sample);
    }
}

/// The drive that is odd most often in a unit: of exchangeable drives each is equally likely to be it. None where two are.
fn oddest(unit: &[((u64, usize), u32)]) -> Option<usize> {
    let most = unit.iter().map(|(_, times)| *times).max()?;
    let mut drives = unit.iter().filter(|(_, times)| *times == most).map(|((_, drive), _)| *drive);
    drives.next().filter(|_| drives.next().is_none())
}

/// Raw differences by kind, zeros left out.
pub(super) fn count(differences: &mut BTreeMap<Kind, u64>, kind: Kind) {
    *differences.entry(kind).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(path: &str) -> Signature {
        Signature { kind: Kind::Changed, topic: "t".to_owned(), path: Some(path.to_owned()), change: None }
    }

    fn candidate(at: i64) -> Candidate {
        Candidate { at, old: Some(at), new: Some(at) }
    }

    #[test]
    fn patterns_and_their_candidates_are_bounded_and_nothing_goes_uncounted() {
        let mut patterns = Patterns::default();
        for number in 0..3_000 {
            patterns.raw(&signature(&format!("$.f{number}")), candidate(number));
            patterns.raw(&signature("$.f0"), candidate(3_000 - number));
        }
        let found: Vec<(Signature, Tally)> = patterns.finish(2).collect();
        assert_eq!(found.len(), SIGNATURES_MAX + 1);
        assert_eq!(found.iter().map(|(_, tally)| tally.counts.raw).sum::<u64>(), 6_000);
        let first = found.iter().find(|(found, _)| *found == signature("$.f0")).map(|(_, tally)| &tally.candidates);
        let earliest: Vec<i64> = first.into_iter().flatten().map(|candidate| candidate.at).collect();
        assert_eq!(earliest, (0..CANDIDATES_MAX as i64).collect::<Vec<_>>());
    }

    #[test]
    fn precision_stands_alone_or_not_at_all() {
        let of = |path: &str, change| Signature { change: Some(change), ..signature(path) };
        let (fine, coarse, elsewhere) =
            (of("$.amount", Change::Precision), of("$.amount", Change::Value), of("$.share", Change::Precision));
        let mut patterns = Patterns::default();
        for (at, signature) in [&fine, &coarse, &fine, &elsewhere, &coarse].into_iter().enumerate() {
            patterns.raw(signature, candidate(at as i64));
            patterns.odd(signature, Odd { drive: 2, new: 2, recurred: at == 0, unit: Some(at as u64 % 3) });
            patterns.tally(signature).counts.noise += 1;
        }
        let found: Vec<(Signature, Tally)> = patterns.finish(2).collect();
        let signatures: Vec<&Signature> = found.iter().map(|(signature, _)| signature).collect();
        assert_eq!(signatures, [&coarse, &elsewhere]);
        let Counts { raw, noise, odd_new, odd_any, recurred, .. } = found[0].1.counts;
        assert_eq!((raw, noise, odd_new, odd_any, recurred), (4, 4, 3, 3, 1));
        let shown: Vec<i64> = found[0].1.candidates.iter().map(|candidate| candidate.at).collect();
        assert_eq!(shown, [0, 1, 2, 4]);
    }

    #[test]
    fn a_unit_counts_once_for_the_drive_that_is_odd_most_often() {
        let mut patterns = Patterns::default();
        for (unit, drive) in [(1, 2), (1, 2), (1, 0), (2, 1), (3, 0), (3, 2)] {
            patterns.odd(&signature("$"), Odd { drive, new: 2, recurred: false, unit: Some(unit) });
        }
        let counts = patterns.finish(2).next().map(|(_, tally)| tally.counts).unwrap_or_default();
        assert_eq!((counts.odd_any, counts.odd_new, counts.odd_old), (2, 1, 3));
    }
}
