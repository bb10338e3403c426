//! Couples: two drives that say the same of an identity where all others say another same thing; and the test of whether those of
//! new are too many, one way of departing from the others at a time.
//!
//! If new behaves like old, all k+2 drives are exchangeable (new was driven twice, old k times). Where the drives fall into two
//! camps, one of them a couple, then given what both camps say each of the (k+2)(k+1)/2 couples is equally likely to be it: whichever
//! drives change places, what is said is as likely. With two drives of old there are two couples, of which each departs from the other.
//!
//! A couple is of a class: what it says against what the others say (see `cause::likeness`), which does not depend on whose couple it is. So
//! given the classes, in each of them the number of couples that are new's is binomial with share 2/((k+2)(k+1)), a sixth where old
//! was driven twice. Noise goes wrong in its own ways, a change of the build in another: ten couples of a class of its own prove
//! what ten more of a thousand would not.
//!
//! Drives of one build may still go wrong at rates of their own, such as one that ran while the machine was busy, from its beginning to its
//! end, which no stretch shows. How often each drive departs alone, in the same class, tells: where drives go wrong each by itself, the
//! couples of two drives are as many as the product of these numbers has it, whatever share of the places is prone to it. Where that gives
//! the couples of new a larger share than an even one, it counts instead. A class of its own has no drives that depart alone.
//!
//! Chance may strike any class, so the classes share the error. With n the couples of a class and p its p-value, s is the least p · n
//! of all classes. Then P(min p · n ≤ s) ≤ Σ P(p ≤ s/n) over the classes, whatever their dependence (Boole), and P(p ≤ s/n) is zero
//! for a class whose p can never be so small (Tarone 1990), else s/n at most. So the sum of s/n over the classes that can reach it is a
//! p-value: where n stands for weights, which is fair as n counts couples whoever they are, a class of thousands that chance makes
//! takes next to nothing from a class of ten.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::cause::Likeness;
use super::cause::{likeness, names};
use super::engine::Engine;
use super::matching::Signature;
use super::matching::{Feature, Seen};
use super::noise::binomial_tail;
use super::odd::Compared;
use super::patterns::{Apart, pairs_of};
use super::scan::mix;
use super::strays::Tag;
use super::units::{Place, Stretches, Units};
use super::{Couples, Statistics};

/// Entries held of all classes of one family; beyond, half the classes are given up, by their hash.
const ENTRIES_MAX: usize = 1 << 18;

/// Bits by which keys and causes are told apart within a class: a class holds few of them, and those that fall together are one unit.
const UNIT_BITS: u32 = 12;

/// Bits of the places at which departures of single drives are counted.
const ALONE_BITS: u32 = 20;

/// Departures that each drive is taken to have beside those that were seen, so that few of them say little.
const ALONE_LEAST: f64 = 3.0;

/// How often each drive departs alone from all others, by class, in all patterns. Classes that fall together count as one.
#[derive(Debug, Clone, Default)]
pub(super) struct Alone(Vec<u32>);

impl Alone {
    /// Notes that `drive` departs alone in the way of `class`.
    pub(super) fn note(&mut self, class: u64, drive: usize) {
        if self.0.is_empty() {
            self.0.resize(1 << ALONE_BITS, 0);
        }
        let times = &mut self.0[Self::place(hash(class), drive)];
        *times = times.saturating_add(1);
    }

    fn place(class: u64, drive: usize) -> usize {
        (mix(class, drive as u64) >> (u64::BITS - ALONE_BITS)) as usize
    }

    /// Share of the couples of a class, by its hash, that is the two of `way` by what of `drives` departs alone; at least an even one. A
    /// standard error is added to the two: what is estimated must not prove by its own error.
    fn share(&self, class: u64, way: u16, drives: u64) -> f64 {
        let even = 1.0 / pairs_of(drives).max(1) as f64;
        let seen = |drive: usize| f64::from(self.0.get(Self::place(class, drive)).copied().unwrap_or_default());
        let is_of_way = |drive: usize| drive == usize::from(way >> 8) || drive == usize::from(way & 0xff);
        let rate = |drive: usize| {
            let seen = seen(drive);
            seen + ALONE_LEAST + if is_of_way(drive) { seen.sqrt() } else { 0.0 }
        };
        let rates = (0..drives as usize).map(rate);
        let (all, squares) = rates.fold((0.0, 0.0), |(all, squares), rate| (all + rate, squares + rate * rate));
        let [one, other] = [way >> 8, way & 0xff].map(|drive| rate(usize::from(drive)));
        (one * other / ((all * all - squares) / 2.0)).max(even)
    }
}

/// Hash by which a class is told from others.
fn hash(class: u64) -> u64 {
    xxh3_64(&class.to_le_bytes())
}

/// Couples of one pattern, by class; what is one piece of evidence is told by steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Classes(BTreeMap<u64, Units>);

/// Which classes are told apart in all patterns: those whose hash begins with so many zeros. It rises where too much is held, so that
/// what is left in the end is whole and does not depend on the order in which couples came, nor on whose they are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    zeros: u32,
    entries: usize,
}

impl Told {
    /// Of so many classes one is told.
    fn one_in(self) -> u64 {
        1 << self.zeros.min(63)
    }

    /// Notes how many entries more are held; where they are too many, half of `all` classes are given up until they are not.
    pub(super) fn hold<'c>(&mut self, more: usize, all: impl Iterator<Item = &'c mut Classes>) {
        self.entries += more;
        if self.entries <= ENTRIES_MAX {
            return;
        }
        let mut all: Vec<&mut Classes> = all.collect();
        while self.entries > ENTRIES_MAX {
            self.zeros += 1;
            self.entries = all.iter_mut().map(|classes| classes.thin_out(self.zeros)).sum();
        }
    }
}

impl Classes {
    /// Notes a couple of `class`, as `way`; returns how many entries more are held.
    pub(super) fn note(&mut self, way: u16, class: u64, place: Place, told: Told) -> usize {
        let class = hash(class);
        if class.leading_zeros() < told.zeros {
            return 0;
        }
        let unit = place.unit.map(|unit| unit & !(u64::MAX >> UNIT_BITS));
        let units = self.0.entry(class).or_default();
        let before = units.entries();
        units.note(way, Place { unit, stretch: place.step, ..place }, true);
        units.entries() - before
    }

    /// Gives up all classes but those whose hash begins with so many zeros; returns how many entries are held then.
    fn thin_out(&mut self, zeros: u32) -> usize {
        self.0.retain(|class, _| class.leading_zeros() >= zeros);
        self.0.values().map(Units::entries).sum()
    }

    /// Adds couples of another signature.
    pub(super) fn add(&mut self, other: &Self) {
        for (class, units) in &other.0 {
            self.0.entry(*class).or_default().add(units);
        }
    }

    /// Tests whether `way`, two of `drives`, is seen too often in any class; none where there is no class.
    pub(super) fn test(
        &self,
        (way, drives): (u16, u64),
        (told, alone): (Told, &Alone),
        stretches: Stretches,
    ) -> Option<Couples> {
        let ways = pairs_of(drives).max(1);
        let even = 1.0 / ways as f64;
        let votes = self.0.iter().map(|(class, units)| (*class, units, units.votes(way)));
        let votes: Vec<(u64, &Units, (u64, u64))> = votes.filter(|(_, _, (_, any))| *any > 0).collect();
        let mut found: Option<Couples> = None;
        let mut least = f64::INFINITY;
        for (class, units, (new, any)) in &votes {
            let share = alone.share(*class, way, drives);
            let counted = binomial_tail(*any, share, *new);
            // By pieces of evidence it is no less: most classes need no closer look.
            if counted * (*any as f64) < least {
                // Of fewer ways each is likelier: a larger share, rounded up.
                let ways = if share > even { ((1.0 / share) as u64).max(1) } else { ways };
                let p_value = counted.max(units.p_by_step(way, ways, stretches));
                if p_value * (*any as f64) < least {
                    least = p_value * *any as f64;
                    found = Some(Couples {
                        classes: votes.len() as u64,
                        one_in: told.one_in(),
                        new: *new,
                        any: *any,
                        p_value,
                    });
                }
            }
        }
        // The least p that a class can have: all of it new's, in each of its pieces of evidence.
        let part = |(_, units, (_, any)): &(u64, &Units, (u64, u64))| {
            let part = least / *any as f64;
            // A hair more, as rounding may lift the least p above the very limit.
            let reaches = |pieces: u64| libm::pow(even, pieces as f64) <= part * (1.0 + 1e-9);
            let may = reaches(*any) && reaches(units.pieces_by_step(stretches) as u64);
            if may { part } else { 0.0 }
        };
        let p_value = votes.iter().map(part);
        let p_value = p_value.sum::<f64>().min(1.0);
        found.map(|found| Couples { p_value, ..found })
    }
}

/// The two camps that drives are of, the first drive's first: all of a camp agree, and disagree with all of the other. None where they
/// are of more.
pub(super) fn camps(drives: usize, agree: impl Fn(usize, usize) -> bool) -> Option<[Vec<usize>; 2]> {
    let is_first: Vec<bool> = (0..drives).map(|drive| drive == 0 || agree(0, drive)).collect();
    let is_clear = |one: usize| (one + 1..drives).all(|other| agree(one, other) == (is_first[one] == is_first[other]));
    let of = |first: bool| (0..drives).filter(|drive| is_first[*drive] == first).collect();
    (0..drives).all(is_clear).then(|| [of(true), of(false)])
}

impl Engine<'_> {
    /// Finds for each feature which two drives stand apart together from all others, which agree.
    pub(super) fn note_apart(&mut self, sides: &[Vec<Seen>], place: Place, compared: &Compared) {
        // Of three drives no two can be held against two others.
        if sides.len() < 4 {
            return;
        }
        for feature in compared.features(sides.len()) {
            let agree = |one: usize, other: usize| !compared.between(one, other).has(&feature);
            let Some([first, others]) = camps(sides.len(), agree) else { continue };
            if let [one, other] = others[..] {
                let apart = Apart { drives: (one as u8, other as u8), place };
                let mut seen = BTreeSet::new();
                for finding in &compared.between(0, one).findings {
                    if finding.signature.feature() == feature && seen.insert(finding.signature.beyond_precision()) {
                        self.note(finding, (&sides[0], &sides[one]), Tag::Apart(apart));
                    }
                }
            }
            for (camp, from) in [(&others, first.first()), (&first, others.first())] {
                let (Some(one), Some(from)) = (camp.first(), from) else { continue };
                if camp.len() > 2 {
                    continue;
                }
                for (signature, alike) in self.departing(sides, (*from, *one), &feature, compared) {
                    match camp[..] {
                        [one, other] => {
                            let couple = Apart { drives: (one as u8, other as u8), place };
                            self.tally.patterns.couple(signature, couple, alike);
                        }
                        _ => self.tally.patterns.alone(*one, alike),
                    }
                }
            }
        }
    }

    /// What the drive `one` says against `from`, of which all others are: the class of its departing.
    ///
    /// It must not depend on whose it is, not even where new does something else that is no difference. So there is none where values
    /// agree that do not say the same, nor in arrays and bytes, nor where drives wrote more or fewer outputs of the identity; and
    /// none of an output that is there or not.
    fn departing<'c>(
        &self,
        sides: &[Vec<Seen>],
        (from, one): (usize, usize),
        feature: &Feature,
        compared: &'c Compared,
    ) -> Vec<(&'c Signature, Likeness)> {
        let mut found = Vec::new();
        if sides.iter().any(|side| side.len() != sides[0].len()) {
            return found;
        }
        let mut seen = BTreeSet::new();
        for finding in &compared.departing(from, one).findings {
            let signature = &finding.signature;
            let path = signature.path.as_deref().filter(|_| signature.feature() == *feature);
            let (Some(path), Some((at, to))) = (path, finding.old.zip(finding.new)) else { continue };
            let (old, new) = (&sides[from][at], &sides[one][to]);
            let rules = self.rules.of(&old.output.topic);
            let is_exact = names(path).is_some_and(|names| rules.is_exact(path, &names));
            let values = old.value().zip(new.value()).filter(|_| is_exact);
            let alike = values.and_then(|(old, new)| likeness(path, old, new));
            if let Some(alike) = alike.filter(|_| seen.insert(signature.beyond_precision())) {
                found.push((signature, alike));
            }
        }
        found
    }
}

impl Statistics {
    /// The tests of couples that took place.
    pub(super) fn couples(&self) -> impl Iterator<Item = &Couples> {
        self.couples_by_change.iter().chain(&self.couples_by_value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::mix;
    use super::*;

    const OUTPUTS: u64 = 2_000;
    const STRETCHES: Stretches = Stretches::of(OUTPUTS as i64);

    /// Both drives of new, and the couples of two drives of old and two of new.
    const NEW: u16 = 2 << 8 | 3;
    const DRIVES: u64 = 4;

    /// Both families of classes, and what departs alone in them.
    type Families = [(Classes, Alone); 2];

    fn drawn(seed: u64, what: [u64; 3]) -> u64 {
        xxh3_64(&what.iter().fold(mix(seed, 17), |all, next| mix(all, *next)).to_le_bytes())
    }

    fn place(number: u64) -> Place {
        STRETCHES.place(None, number as i64, OUTPUTS as i64 - 1)
    }

    /// Tests by what changed, and by what it became.
    fn tested(families: &Families) -> [Option<Couples>; 2] {
        families.each_ref().map(|(classes, alone)| classes.test((NEW, DRIVES), (Told::default(), alone), STRETCHES))
    }

    fn note(families: &mut Families, way: u16, classes: [u64; 2], place: Place) {
        for ((family, _), class) in families.iter_mut().zip(classes) {
            family.note(way, class, place, Told::default());
        }
    }

    /// Classes of what four drives say of numbers: by how much each is wrong.
    fn classes(wrong: impl Fn(u64, u64) -> i64) -> Families {
        let mut classes = Families::default();
        for number in 0..OUTPUTS {
            let said: Vec<i64> = (0..4).map(|drive| wrong(drive, number)).collect();
            let Some([first, others]) = camps(4, |one, other| said[one] == said[other]) else { continue };
            for (couple, from) in [(&others, &first), (&first, &others)] {
                let (Some(one), Some(from)) = (couple.first(), from.first()) else { continue };
                let of = [(said[*one] - said[*from]) as u64, (number as i64 % 97 + said[*one]) as u64];
                match couple[..] {
                    [one, other] => note(&mut classes, (one << 8 | other) as u16, of, place(number)),
                    [one] => classes.iter_mut().zip(of).for_each(|((_, alone), class)| alone.note(class, one)),
                    _ => {}
                }
            }
        }
        classes
    }

    /// Ways in which a build may go wrong by chance.
    #[derive(Debug, Clone, Copy)]
    enum Noise {
        FewValues,
        ManyValues,
        Bursts,
        PhasesOfADrive,
        RateOfADrive,
    }

    const ALL: [Noise; 5] =
        [Noise::FewValues, Noise::ManyValues, Noise::Bursts, Noise::PhasesOfADrive, Noise::RateOfADrive];

    fn wrong(noise: Noise, seed: u64, drive: u64, number: u64) -> i64 {
        let draw = drawn(seed, [1, drive, number]);
        let (strikes, which) = (draw % 100, (draw >> 32) as i64);
        match noise {
            Noise::FewValues if strikes < 15 => 1 - which % 2 * 3,
            Noise::ManyValues if strikes < 30 => 1 + which % 40,
            // Trouble at the same places in all drives, which strikes each of them or not, and moves all that stands there.
            Noise::Bursts => {
                let trouble = drawn(seed, [2, 0, number / 20]);
                let strikes = drawn(seed, [3, drive, number / 20]).is_multiple_of(2);
                if trouble.is_multiple_of(5) && strikes { 1 + (trouble >> 32) as i64 % 4 } else { 0 }
            }
            // A drive goes wrong often in some stretches, and seldom in others.
            Noise::PhasesOfADrive => {
                let phase = drawn(seed, [4, drive, u64::from(place(number).stretch)]);
                let (rate, step) = ([2, 40][phase as usize % 2], 1 + (phase >> 32) as i64 % 3);
                if strikes < rate { step } else { 0 }
            }
            // A drive goes wrong throughout at a rate of its own, at a third of all places.
            Noise::RateOfADrive => {
                let rate = [6, 9, 14, 21][drawn(seed, [6, drive, 0]) as usize % 4];
                let is_prone = drawn(seed, [7, 0, number]).is_multiple_of(3);
                i64::from(is_prone && strikes < rate)
            }
            Noise::FewValues | Noise::ManyValues => 0,
        }
    }

    #[test]
    fn p_values_of_one_build_against_itself_are_no_smaller_than_chance_has_them() {
        const TRIALS: u64 = 400;
        for noise in ALL {
            let found: Vec<[Option<Couples>; 2]> =
                (0..TRIALS).map(|seed| tested(&classes(|drive, number| wrong(noise, seed, drive, number)))).collect();
            for at in 0..2 {
                let p_values: Vec<f64> = found.iter().filter_map(|found| Some(found[at]?.p_value)).collect();
                assert!(p_values.len() as u64 > TRIALS * 9 / 10, "{noise:?} {at}: {} tested", p_values.len());
                for level in [0.01, 0.05, 0.2] {
                    let below = p_values.iter().filter(|p| **p <= level).count() as f64;
                    let sampling = 3.0 * (level * (1.0 - level) * TRIALS as f64).sqrt();
                    assert!(below <= level * TRIALS as f64 + sampling, "{noise:?} {at}: {below} at {level}");
                }
                assert!(p_values.iter().any(|p| *p < 0.9), "{noise:?} {at}: nothing was tested");
            }
        }
    }

    #[test]
    fn a_change_of_its_own_class_is_found_beside_any_noise() {
        for noise in ALL {
            let found = (0..40).filter(|seed| {
                let planted = |number: u64| drawn(*seed, [5, 0, number / 200]) % 200 == number % 200;
                let said = |drive: u64, number: u64| {
                    if drive >= 2 && planted(number) { 7_000 } else { wrong(noise, *seed, drive, number) }
                };
                let [by_change, by_value] = tested(&classes(said)).map(Option::unwrap);
                assert!(by_change.any <= 20 && by_value.classes > by_change.classes / 2, "{by_change:?} {by_value:?}");
                by_change.p_value <= 0.01 / 3.0 * 0.2
            });
            // Ten are planted, of which noise hides up to two thirds where it strikes a drive at every third number.
            let found = found.count();
            assert!(found >= if matches!(noise, Noise::FewValues) { 36 } else { 20 }, "{noise:?}: {found} of 40");
        }
    }

    #[test]
    fn a_class_counts_by_itself_and_weighs_by_its_couples() {
        let of = |couples: &[(u64, u64, u64)]| {
            let mut classes = Families::default();
            for (class, new, others) in couples {
                for at in 0..new + others {
                    let way = if at < *new { NEW } else { [1, 2, 3, 1 << 8 | 2, 1 << 8 | 3][at as usize % 5] };
                    note(&mut classes, way, [*class, 1], place((at * 331 + class * 7) % OUTPUTS));
                }
            }
            tested(&classes).map(Option::unwrap)
        };
        let six = |times: i32| libm::pow(6.0, -f64::from(times));
        let [alone, all] = of(&[(7, 5, 0)]);
        assert!((alone.p_value - six(5)).abs() < 1e-12 && all == alone, "{alone:?}");
        let [beside, all] = of(&[(7, 5, 0), (1, 200, 1_000), (2, 200, 1_000), (3, 1, 3), (4, 0, 2)]);
        assert_eq!((beside.classes, beside.new, beside.any), (5, 5, 5));
        // The two of 1,200 could be as small and take 5 of 1,200 parts each; those of 4 and of 2 could not.
        assert!((beside.p_value - six(5) * (1.0 + 10.0 / 1_200.0)).abs() < 1e-12, "{beside:?}");
        assert!(all.p_value > 0.2 && (all.classes, all.any) == (1, 2_411), "{all:?}");
        // A class of five that is nobody's could be as small, too.
        let [shared, _] = of(&[(7, 5, 0), (8, 0, 5)]);
        assert!((shared.p_value - 2.0 * six(5)).abs() < 1e-12, "{shared:?}");
    }

    #[test]
    fn couples_of_one_stretch_or_one_key_are_one_piece_of_evidence() {
        for (apart, unit, pieces) in [(2, None, 1), (0, None, 1), (200, Some(5 << 60), 1), (200, None, 10)] {
            let mut classes = Families::default();
            for number in 0..10 {
                note(&mut classes, NEW, [1, 1], Place { unit, ..place(100 + number * apart) });
            }
            let [found, _] = tested(&classes).map(Option::unwrap);
            assert!((found.p_value - libm::pow(6.0, -f64::from(pieces))).abs() < 1e-12, "{apart}: {found:?}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_the_same_in_whatever_order_couples_come() {
        let held = |numbers: &mut dyn Iterator<Item = u64>| {
            let (mut classes, mut told) = (Classes::default(), Told::default());
            for number in numbers {
                let more = classes.note(NEW, number / 2, place(number % OUTPUTS), told);
                told.hold(more, [&mut classes].into_iter());
            }
            let entries = classes.0.values().map(Units::entries).sum::<usize>();
            assert!(entries == told.entries && entries <= ENTRIES_MAX && entries > ENTRIES_MAX / 4, "{entries}");
            let votes = classes.0.iter().map(|(class, units)| (*class, units.votes(NEW))).collect::<Vec<_>>();
            (votes, classes.test((NEW, DRIVES), (told, &Alone::default()), STRETCHES))
        };
        let forth = held(&mut (0..400_000));
        assert!(forth.0.iter().all(|(_, votes)| *votes == (2, 2)), "what is left is whole");
        assert!(forth.1.is_some_and(|found| found.one_in > 1), "what was given up is told");
        assert_eq!(forth, held(&mut (0..400_000).rev()));
    }

    #[test]
    fn drives_are_of_two_camps_or_of_none() {
        for (said, expected) in [
            ("aabb", Some([vec![0, 1], vec![2, 3]])),
            ("abba", Some([vec![0, 3], vec![1, 2]])),
            ("aaab", Some([vec![0, 1, 2], vec![3]])),
            ("aabc", None),
            ("abac", None),
            ("abbbb", Some([vec![0], vec![1, 2, 3, 4]])),
            ("babaa", Some([vec![0, 2], vec![1, 3, 4]])),
        ] {
            let said = said.as_bytes();
            assert_eq!(camps(said.len(), |one, other| said[one] == said[other]), expected, "{said:?}");
        }
        // Within a tolerance drives may agree with the next and not with the one after: nobody knows who is of which camp.
        let near = [1.0_f64, 1.5, 2.0, 9.0];
        assert_eq!(camps(4, |one, other| (near[one] - near[other]).abs() <= 0.5), None);
    }
}
