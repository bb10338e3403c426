//! What chance moves together counts once: units of dependence, and exact tests over them.
//!
//! Outputs of one key or of one cause depend on each other, and what happens at one time, such as a flush, moves neighbours. So
//! findings are counted by unit twice. By key or cause a unit has one vote: for the way, such as the drive that is odd, that it
//! shows most often. By stretch of a drive's outputs every finding counts, but all of a stretch change places together: under the
//! hypothesis that drives are exchangeable, a stretch that shows its ways so and so often is as likely to show them in any other
//! order, so what falls to one way is a sum that takes of each stretch one of these numbers, each as likely as the others.
//! Where findings are independent that is as strong as counting them; where a stretch changed in one go, that is one piece of
//! evidence, however many outputs it holds.

use std::collections::BTreeMap;

/// Outputs in a row that one cause of noise may well change together, such as one flush of a batch: a stretch has no fewer.
const STRETCH_MIN: i64 = 32;

/// Stretches of the longest outcome: what changes up to a sixty-fourth of it in one go counts twice at most.
const STRETCHES_MAX: i64 = 64;

/// Outputs of a step at least, and steps of the longest outcome: what is found in neighbouring steps is taken for one burst, wherever
/// stretches end.
const STEP_MIN: i64 = 8;
const STEPS_MAX: i64 = 4_096;

/// One in so many steps is few.
const SELDOM: i64 = 8;

/// Stretches below which they could not tell a change of everything from chance in a family of some size.
const STRETCHES_MIN: i64 = 16;

/// Key and cause are told apart by as many bits: those that fall together are one unit, which only takes from a test's power.
const UNIT_BITS: u32 = 18;

/// Units by key or cause of all patterns together; those beyond are left out of the test, whoever is odd there.
pub(super) const UNITS_IN_ALL_MAX: usize = 1_000_000;

/// Sums that are told apart exactly; where there are more, values are rounded against the finding.
const SUMS_MAX: u64 = 1 << 13;

/// Where an identity stands: what depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Hash of its key or cause, where other identities may have the same.
    pub(super) unit: Option<u64>,
    /// Stretch of the outputs.
    pub(super) stretch: u16,
    /// Step of the outputs, which is finer.
    pub(super) step: u16,
}

/// How outcomes are cut into stretches of the same number of outputs, and into steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stretches {
    stretches: i64,
    steps: i64,
}

/// So many outputs cut into parts of `least` outputs, `most` of them at most.
const fn parts(outputs: i64, least: i64, most: i64) -> i64 {
    let parts = outputs / least;
    if parts < 1 {
        1
    } else if parts > most {
        most
    } else {
        parts
    }
}

impl Stretches {
    /// Cuts outcomes of which the longest has so many outputs.
    pub(super) const fn of(outputs: i64) -> Self {
        Self { stretches: parts(outputs, STRETCH_MIN, STRETCHES_MAX), steps: parts(outputs, STEP_MIN, STEPS_MAX) }
    }

    /// The place of an output whose drive ends at `last`, with what else depends on its key or cause.
    pub(super) fn place(self, unit: Option<u64>, sequence: i64, last: i64) -> Place {
        let at = |parts: i64| {
            let share = i128::from(sequence.max(0)) * i128::from(parts) / (i128::from(last.max(0)) + 1);
            share.min(i128::from(parts.max(1)) - 1) as u16
        };
        Place { unit, stretch: at(self.stretches), step: at(self.steps) }
    }

    /// Whether what is found in two steps, with nothing between them, is one piece of evidence where something is found in `found` of all
    /// steps: they are of one stretch, or neighbours. Where it is found in many, some are neighbours by chance.
    pub(super) fn are_one(self, (one, other): (u16, u16), found: usize) -> bool {
        let stretch = |step: u16| i64::from(step) * self.stretches / self.steps.max(1);
        let is_seldom = found as i64 <= self.steps / SELDOM;
        is_seldom && one.abs_diff(other) <= 1 || stretch(one) == stretch(other)
    }

    /// Whether there are enough of them to tell anything.
    pub(super) fn tell(self) -> bool {
        self.stretches >= STRETCHES_MIN
    }
}

/// How often each way was seen, by unit and by stretch.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    shared: BTreeMap<(u32, u16), u32>,
    stretches: BTreeMap<(u16, u16), u32>,
    /// Votes of identities that are units of their own, by way.
    single: BTreeMap<u16, u64>,
}

impl Units {
    /// Notes that `way` was seen at `place`; returns how many units more are told apart. Without `room`, no further ones are.
    pub(super) fn note(&mut self, way: u16, place: Place, room: bool) -> usize {
        let Some(unit) = place.unit else {
            *self.stretches.entry((place.stretch, way)).or_default() += 1;
            *self.single.entry(way).or_default() += 1;
            return 0;
        };
        let unit = (unit >> (64 - UNIT_BITS)) as u32;
        let is_known = self.shared.range((unit, 0)..=(unit, u16::MAX)).next().is_some();
        if !is_known && !room {
            return 0;
        }
        *self.stretches.entry((place.stretch, way)).or_default() += 1;
        *self.shared.entry((unit, way)).or_default() += 1;
        usize::from(!is_known)
    }

    /// Adds what was seen elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        for (unit, times) in &other.shared {
            *self.shared.entry(*unit).or_default() += times;
        }
        for (stretch, times) in &other.stretches {
            *self.stretches.entry(*stretch).or_default() += times;
        }
        for (way, times) in &other.single {
            *self.single.entry(*way).or_default() += times;
        }
    }

    /// Entries held.
    pub(super) fn entries(&self) -> usize {
        self.shared.len() + self.stretches.len() + self.single.len()
    }

    /// Votes by unit: those for `way`, and all.
    pub(super) fn votes(&self, way: u16) -> (u64, u64) {
        let (mut own, mut all) = (self.single.get(&way).copied().unwrap_or_default(), self.single.values().sum());
        let units: Vec<((u32, u16), u32)> = self.shared.iter().map(|(unit, times)| (*unit, *times)).collect();
        for unit in units.chunk_by(|one, other| one.0.0 == other.0.0) {
            if let Some(most) = most_often(unit) {
                all += 1;
                own += u64::from(most == way);
            }
        }
        (own, all)
    }

    /// How likely `way`, one of `ways`, is to be seen so often by chance where each stretch is one piece of evidence.
    pub(super) fn p_by_stretch(&self, way: u16, ways: u64) -> f64 {
        self.p_by_piece((way, ways), |one, other| one == other)
    }

    /// The same where what stands for a stretch is a step.
    pub(super) fn p_by_step(&self, way: u16, ways: u64, stretches: Stretches) -> f64 {
        let found = self.steps();
        self.p_by_piece((way, ways), |one, other| stretches.are_one((one, other), found))
    }

    /// Pieces of evidence, where what stands for a stretch is a step.
    pub(super) fn pieces_by_step(&self, stretches: Stretches) -> usize {
        let found = self.steps();
        self.pieces(|one, other| stretches.are_one((one, other), found)).len()
    }

    /// Stretches, or what stands for them, in which anything was seen.
    fn steps(&self) -> usize {
        self.pieces(|one, other| one == other).len()
    }

    fn p_by_piece(&self, (way, ways): (u16, u64), are_one: impl Fn(u16, u16) -> bool) -> f64 {
        let mut all: Vec<Vec<u64>> = Vec::new();
        let mut seen = 0;
        for piece in self.pieces(are_one) {
            seen += piece.get(&way).copied().unwrap_or_default();
            all.push(piece.into_values().collect());
        }
        sum_tail(&all, ways, seen)
    }

    /// How often each way was seen in each piece of evidence: stretches that follow each other and are one.
    fn pieces(&self, are_one: impl Fn(u16, u16) -> bool) -> Vec<BTreeMap<u16, u64>> {
        let mut pieces: Vec<BTreeMap<u16, u64>> = Vec::new();
        let mut before = None;
        for ((stretch, way), times) in &self.stretches {
            if !before.is_some_and(|before| before == *stretch || are_one(before, *stretch)) {
                pieces.push(BTreeMap::new());
            }
            before = Some(*stretch);
            if let Some(piece) = pieces.last_mut() {
                *piece.entry(*way).or_default() += u64::from(*times);
            }
        }
        pieces
    }
}

/// The way that a unit shows most often: of exchangeable ways each is equally likely to be it. None where two are.
fn most_often(unit: &[((u32, u16), u32)]) -> Option<u16> {
    let most = unit.iter().map(|(_, times)| *times).max()?;
    let mut ways = unit.iter().filter(|(_, times)| *times == most).map(|((_, way), _)| *way);
    ways.next().filter(|_| ways.next().is_none())
}

/// P(ΣX ≥ `least`), where each X takes one of `ways` values with the same probability: those given, the rest being zero.
///
/// Exact by convolution, O(Σ values · range of the sum). Where the range exceeds what is held, values are rounded up to whole
/// steps of it and `least` is not, so that the result is an upper bound: that of a sum smaller by a step a unit at most.
pub(super) fn sum_tail(units: &[Vec<u64>], ways: u64, least: u64) -> f64 {
    let lowest = |values: &Vec<u64>| {
        let all = values.len() as u64 >= ways;
        if all { values.iter().copied().min().unwrap_or_default() } else { 0 }
    };
    let highest = |values: &Vec<u64>| values.iter().copied().max().unwrap_or_default();
    let least = least.saturating_sub(units.iter().map(lowest).sum());
    let range: u64 = units.iter().map(|values| highest(values) - lowest(values)).sum();
    let step = (range / SUMS_MAX).max(1);
    let (least, share) = (least.div_ceil(step) as usize, 1.0 / ways.max(1) as f64);
    let mut chances = vec![1.0];
    for values in units {
        let low = lowest(values);
        let values: Vec<usize> = values.iter().map(|value| (value - low).div_ceil(step) as usize).collect();
        let most = values.iter().copied().max().unwrap_or_default();
        let zeros = ways.saturating_sub(values.len() as u64) as f64 * share;
        let mut next = vec![0.0; chances.len() + most];
        for (sum, chance) in chances.iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
            next[sum] += chance * zeros;
            for value in &values {
                next[sum + value] += chance * share;
            }
        }
        chances = next;
    }
    if least == 0 { 1.0 } else { chances.iter().skip(least).sum::<f64>().min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::super::noise::binomial_tail;
    use super::*;

    fn at(stretch: u16) -> Place {
        Place { unit: None, stretch, step: 0 }
    }

    #[test]
    fn the_tail_of_a_sum_is_exact() {
        // One of three drives is odd in each of five units: the binomial.
        let ones = vec![vec![1]; 5];
        assert!((sum_tail(&ones, 3, 5) - 1.0 / 243.0).abs() < 1e-15);
        assert!((sum_tail(&ones, 3, 2) - binomial_tail(5, 1.0 / 3.0, 2)).abs() < 1e-12);
        // Two units of 30, 2, 1 and of 5, 0, 0: seven of nine sums are below 31.
        let units = [vec![30, 2, 1], vec![5]];
        assert!((sum_tail(&units, 3, 31) - 1.0 / 9.0).abs() < 1e-15);
        assert!((sum_tail(&units, 3, 30) - 1.0 / 3.0).abs() < 1e-15);
        assert!((sum_tail(&units, 3, 36)).abs() < 1e-15);
        assert!((sum_tail(&[], 3, 0) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn where_sums_are_too_many_to_tell_apart_the_tail_is_no_smaller() {
        let units: Vec<Vec<u64>> = (0..64).map(|unit| vec![9_000 + unit, 8_900, 8_800 - unit]).collect();
        let middle: u64 = units.iter().map(|values| values.iter().sum::<u64>()).sum::<u64>() / 3;
        let rounded = sum_tail(&units, 3, middle + 2_000);
        // σ² = 64 · variance of about 9,000 ± 120: z is about 2,000 / 870.
        assert!((0.005..0.02).contains(&rounded), "{rounded}");
        let all: u64 = units.iter().map(|values| values[0]).sum();
        assert!(sum_tail(&units, 3, all) < 1e-20);
    }

    #[test]
    fn findings_of_one_stretch_are_one_piece_of_evidence_and_of_many_as_many() {
        let (mut burst, mut spread) = (Units::default(), Units::default());
        for number in 0..30 {
            burst.note(2, at(7), true);
            spread.note(2, at(number), true);
        }
        assert_eq!((burst.votes(2), spread.votes(2)), ((30, 30), (30, 30)));
        assert!((burst.p_by_stretch(2, 3) - 1.0 / 3.0).abs() < 1e-12);
        assert!((spread.p_by_stretch(2, 3) - 3_f64.powi(-30)).abs() < 1e-25);
    }

    #[test]
    fn independent_noise_is_told_from_a_change_as_well_as_by_counting() {
        // Each stretch shows 100 of each drive's; new has 8 more.
        let mut units = Units::default();
        for stretch in 0..64 {
            for (way, times) in [(0, 95 + stretch % 11), (1, 105 - stretch % 11), (2, 108)] {
                for _ in 0..times {
                    units.note(way, at(stretch), true);
                }
            }
        }
        let (own, all) = units.votes(2);
        let (counted, by_stretch) = (binomial_tail(all, 1.0 / 3.0, own), units.p_by_stretch(2, 3));
        assert!(counted < 1e-4 && by_stretch < 1e-4, "{counted} {by_stretch}");
        assert!(units.p_by_stretch(0, 3) > 0.5);
    }

    #[test]
    fn a_unit_votes_once_for_what_it_shows_most_often() {
        let mut units = Units::default();
        let key = |key: u64| Place { unit: Some(key << (64 - UNIT_BITS)), ..Place::default() };
        for (unit, way) in [(1, 2), (1, 2), (1, 0), (2, 1), (3, 0), (3, 2)] {
            units.note(way, key(unit), true);
        }
        assert_eq!(units.votes(2), (1, 2));
        // Without room further units are left out, whoever is odd there; those that are known go on.
        assert_eq!((units.note(2, key(4), false), units.note(1, key(2), false)), (0, 0));
        assert_eq!(units.votes(2), (1, 2));
    }

    #[test]
    fn a_stretch_is_a_share_of_the_outputs_and_never_a_few_of_them() {
        let of = Stretches::of;
        assert_eq!((of(10).stretches, of(511).stretches, of(1_000_000).stretches), (1, 15, 64));
        assert_eq!((of(10).steps, of(511).steps, of(1_000_000).steps), (1, 63, 4_096));
        assert!(!of(511).tell() && of(512).tell());
        let at = |outputs: i64, sequence: i64| {
            let Place { stretch, step, .. } = of(outputs).place(None, sequence, outputs - 1);
            (stretch, step)
        };
        assert_eq!((at(6_400, 0), at(6_400, 99), at(6_400, 100)), ((0, 0), (0, 12), (1, 12)));
        assert_eq!((at(6_400, 6_399), at(6_400, 9_000), at(0, 0)), ((63, 799), (63, 799), (0, 0)));
    }

    #[test]
    fn a_burst_over_the_end_of_a_stretch_is_one_piece_of_evidence() {
        let of = Stretches::of(6_400);
        // Stretches of 100 outputs and steps of 8: the first ends within the thirteenth step.
        let are_one = |one: u16, other: u16| of.are_one((one, other), 100);
        assert!(are_one(0, 11) && are_one(12, 13) && !are_one(11, 14) && !are_one(3, 14));
        assert!(!of.are_one((12, 13), 101) && of.are_one((0, 11), 101));
        let mut units = Units::default();
        for sequence in [90, 95, 101, 110, 5_000, 5_300] {
            let Place { unit, step, .. } = of.place(None, sequence, 6_399);
            units.note(2, Place { unit, stretch: step, step }, true);
        }
        assert_eq!(units.pieces_by_step(of), 3);
        let p = units.p_by_step(2, 6, of);
        assert!((p - 1.0 / 216.0).abs() < 1e-12, "{p}");
    }
}
