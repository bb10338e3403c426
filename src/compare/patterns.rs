//! Differences of one signature, counted together; memory is bounded whatever the outcomes hold.

use std::collections::BTreeMap;

use super::cause;
use super::cause::Likeness;
use super::couples::{Alone, Classes, Told};
use super::matching::{Finding, Seen, Signature};
use super::noise::Counts;
use super::units::{Place, Stretches, UNITS_IN_ALL_MAX, Units};
use super::{Change, Kind};

/// Signatures that are told apart; the rest of a kind is counted under one.
const SIGNATURES_MAX: usize = 1_000;

/// Name of the topic under which further signatures are counted.
pub(super) const OTHERS: &str = "(further patterns)";

/// Candidates for the first sighting and the examples of a pattern.
const CANDIDATES_MAX: usize = 16;

/// A difference that may be shown: sequences in the two drives it stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// What candidates are ordered by: arrival in microseconds, or a sequence where all of a pattern have only that.
    pub(super) at: i64,
    pub(super) old: Option<i64>,
    pub(super) new: Option<i64>,
    /// Sequence in production's outcome of a row that the build which was driven left as it stood.
    pub(super) stood: Option<i64>,
}

impl Candidate {
    /// Where a difference between outputs of two drives stands, by its arrival; none where neither has an output.
    pub(super) fn of(finding: &Finding, (old, new): (&[Seen], &[Seen])) -> Option<Self> {
        let (old, new) = (finding.old.map(|at| &old[at]), finding.new.map(|to| &new[to]));
        // What a drive left as it stood it did not write: production did.
        let wrote = |seen: &&Seen| !seen.stood();
        let sequence = |seen: &Seen| seen.output.sequence;
        Some(Self {
            at: new.or(old)?.output.arrived_us,
            old: old.filter(wrote).map(sequence),
            new: new.filter(wrote).map(sequence),
            stood: old.into_iter().chain(new).find(|seen| seen.stood()).map(sequence),
        })
    }
}

/// What was found of one signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// Earliest differences, ascending.
    pub(super) candidates: Vec<Candidate>,
    /// Which drive is odd, and where.
    odd: Units,
    /// Which two drives stand apart together, and where.
    pairs: Units,
    /// Which two drives depart together from all others, and in which way.
    couples: [Classes; 2],
    /// What was seen of its pairs of values.
    pub(super) seen: cause::Seen,
    /// Outputs that it is about.
    pub(super) sample: cause::Sample,
}

/// All patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// Places among `tallies`.
    numbers: BTreeMap<Signature, usize>,
    tallies: Vec<Tally>,
    units: usize,
    told: [Told; 2],
    /// Which drive departs alone from all others, and in which way.
    alone: [Alone; 2],
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
    /// What depends on the identity.
    pub(super) place: Place,
}

/// Which two drives agree at an identity and stand apart from all others, which agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart {
    /// The two, the lower number first.
    pub(super) drives: (u8, u8),
    /// What depends on the identity.
    pub(super) place: Place,
}

impl Apart {
    /// The two as one number.
    fn way((one, other): (u8, u8)) -> u16 {
        u16::from(one) << 8 | u16::from(other)
    }
}

/// Whose part the tests look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge {
    /// The drive that is judged: new, or what production wrote.
    pub(super) drive: usize,
    /// Drives of which one may be odd, the judged one among them.
    pub(super) drives: usize,
    /// How outcomes are cut.
    pub(super) stretches: Stretches,
}

impl Patterns {
    /// Tally of a signature.
    pub(super) fn tally(&mut self, signature: &Signature) -> &mut Tally {
        let number = self.number(signature);
        &mut self.tallies[number]
    }

    /// Number of a signature, or of those that are not told apart, for [`Patterns::raw_at`].
    pub(super) fn number(&mut self, signature: &Signature) -> usize {
        let known = self.numbers.get(signature).copied();
        known.unwrap_or_else(|| self.number_unseen(signature))
    }

    fn number_unseen(&mut self, signature: &Signature) -> usize {
        let signature = if self.numbers.len() < SIGNATURES_MAX {
            signature.clone()
        } else {
            Signature { kind: signature.kind, topic: OTHERS.to_owned(), path: None, change: None }
        };
        *self.numbers.entry(signature).or_insert_with(|| {
            self.tallies.push(Tally::default());
            self.tallies.len() - 1
        })
    }

    /// Counts a difference of old against new.
    pub(super) fn raw(&mut self, signature: &Signature, candidate: Candidate) {
        let number = self.number(signature);
        self.raw_at(number, candidate);
    }

    /// Counts a difference of old against new whose signature has this number.
    pub(super) fn raw_at(&mut self, number: usize, candidate: Candidate) {
        let (draw, tally) = (self.draw, &mut self.tallies[number]);
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
        if let Some(number) = self.numbers.get(signature) {
            look(&mut self.tallies[*number].seen);
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
        let noted = tally.odd.note(odd.drive as u16, odd.place, has_room);
        self.units += noted;
    }

    /// Counts an identity on which two drives stand apart together in the way of `signature`.
    pub(super) fn apart(&mut self, signature: &Signature, apart: Apart) {
        let has_room = self.units < UNITS_IN_ALL_MAX;
        let noted = self.tally(signature).pairs.note(Apart::way(apart.drives), apart.place, has_room);
        self.units += noted;
    }

    /// Counts an identity on which two drives depart together from all others, as `alike` says.
    pub(super) fn couple(&mut self, signature: &Signature, couple: Apart, alike: Likeness) {
        for (family, class) in [alike.change, alike.value].into_iter().enumerate() {
            let told = self.told[family];
            let classes = &mut self.tally(signature).couples[family];
            let more = classes.note(Apart::way(couple.drives), class, couple.place, told);
            let all = self.tallies.iter_mut().map(|tally| &mut tally.couples[family]);
            self.told[family].hold(more, all);
        }
    }

    /// Counts an identity on which one drive departs alone from all others, as `alike` says.
    pub(super) fn alone(&mut self, drive: usize, alike: Likeness) {
        for (alone, class) in self.alone.iter_mut().zip([alike.change, alike.value]) {
            alone.note(class, drive);
        }
    }

    /// Makes one pattern of the numbers at a path, where not all of them are equal up to their precision: whoever changes a
    /// formula hits here and there upon a rounded number.
    fn fold_precision(&mut self) {
        let fine: Vec<Signature> =
            self.numbers.keys().filter(|found| found.change == Some(Change::Precision)).cloned().collect();
        for signature in fine {
            let coarse = signature.beyond_precision();
            if self.numbers.contains_key(&coarse)
                && let Some(number) = self.numbers.remove(&signature)
            {
                let tally = std::mem::take(&mut self.tallies[number]);
                self.tally(&coarse).add(tally);
            }
        }
    }

    /// Ends counting: every signature that was seen, in order.
    pub(super) fn finish(mut self, judge: Judge) -> impl Iterator<Item = (Signature, Tally)> {
        self.fold_precision();
        let (numbers, mut tallies) = (self.numbers, self.tallies);
        let (told, alone) = (self.told, self.alone);
        numbers.into_iter().map(move |(signature, number)| {
            let mut tally = std::mem::take(&mut tallies[number]);
            tally.count_units(judge, &told, &alone);
            (signature, tally)
        })
    }
}

impl Tally {
    /// Counts who is odd, and which two, unit by unit.
    fn count_units(&mut self, judge: Judge, told: &[Told; 2], alone: &[Alone; 2]) {
        let Judge { drive, drives, stretches } = judge;
        let (odd, pairs) = (std::mem::take(&mut self.odd), std::mem::take(&mut self.pairs));
        let couples = std::mem::take(&mut self.couples);
        (self.counts.odd_new, self.counts.odd_any) = odd.votes(drive as u16);
        let both = Apart::way((drive as u8, drive as u8 + 1));
        (self.counts.pairs_new, self.counts.pairs_any) = pairs.votes(both);
        if stretches.tell() {
            self.counts.p_by_stretch = Some(odd.p_by_stretch(drive as u16, drives as u64));
            self.counts.p_pairs_by_stretch = Some(pairs.p_by_stretch(both, pairs_of(drives as u64)));
            // The second drive of new is one more.
            let of = (both, drives as u64 + 1);
            [self.counts.by_change, self.counts.by_value] =
                [0, 1].map(|family| couples[family].test(of, (told[family], &alone[family]), stretches));
        }
    }

    /// Adds what was found of another signature.
    fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        self.candidates.extend(other.candidates);
        self.candidates.sort_unstable();
        self.candidates.truncate(CANDIDATES_MAX);
        self.odd.add(&other.odd);
        self.pairs.add(&other.pairs);
        for (own, other) in self.couples.iter_mut().zip(&other.couples) {
            own.add(other);
        }
        self.seen.add(&other.seen);
        self.sample.add(&other.sample);
    }
}

/// Pairs of so many drives.
pub(super) fn pairs_of(drives: u64) -> u64 {
    drives * drives.saturating_sub(1) / 2
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

    const TWICE: Judge = Judge { drive: 2, drives: 3, stretches: Stretches::of(10) };

    fn unit(number: u64) -> Place {
        Place { unit: Some(number << 60), ..Place::default() }
    }

    fn candidate(at: i64) -> Candidate {
        Candidate { at, old: Some(at), new: Some(at), stood: None }
    }

    #[test]
    fn patterns_and_their_candidates_are_bounded_and_nothing_goes_uncounted() {
        let mut patterns = Patterns::default();
        for number in 0..3_000 {
            patterns.raw(&signature(&format!("$.f{number}")), candidate(number));
            patterns.raw(&signature("$.f0"), candidate(3_000 - number));
        }
        let found: Vec<(Signature, Tally)> = patterns.finish(TWICE).collect();
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
            patterns.odd(signature, Odd { drive: 2, new: 2, recurred: at == 0, place: unit(at as u64 % 3) });
            patterns.tally(signature).counts.noise += 1;
        }
        let found: Vec<(Signature, Tally)> = patterns.finish(TWICE).collect();
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
        for (number, drive) in [(1, 2), (1, 2), (1, 0), (2, 1), (3, 0), (3, 2)] {
            patterns.odd(&signature("$"), Odd { drive, new: 2, recurred: false, place: unit(number) });
        }
        let counts = patterns.finish(TWICE).next().map(|(_, tally)| tally.counts).unwrap_or_default();
        assert_eq!((counts.odd_any, counts.odd_new, counts.odd_old), (2, 1, 3));
    }

    #[test]
    fn pairs_are_counted_by_unit_and_by_stretch() {
        let mut patterns = Patterns::default();
        for (number, drives) in [(1, (2, 3)), (1, (2, 3)), (1, (1, 2)), (2, (1, 3)), (3, (2, 3))] {
            let place = Place { unit: Some(number << 60), stretch: number as u16, step: 0 };
            patterns.apart(&signature("$"), Apart { drives, place });
        }
        let judge = Judge { stretches: Stretches::of(10_000), ..TWICE };
        let counts = patterns.finish(judge).next().map(|(_, tally)| tally.counts).unwrap_or_default();
        assert_eq!((counts.pairs_any, counts.pairs_new), (3, 2));
        // Of 27 sums of {0, 1, 2}, {0, 0, 1} and {0, 0, 1} six reach 3: 2 + 1 + 0 twice times two, 2 + 1 + 1, and 1 + 1 + 1.
        let expected = (2.0 * 2.0 + 1.0 + 1.0) / 27.0;
        assert!((counts.p_pairs_by_stretch.unwrap() - expected).abs() < 1e-12, "{counts:?}");
        assert_eq!(pairs_of(3), 3);
    }
}
