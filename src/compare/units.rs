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
}

/// How outcomes are cut into stretches of the same number of outputs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stretches(i64);

impl Stretches {
    /// Cuts outcomes of which the longest has so many outputs.
    pub(super) const fn of(outputs: i64) -> Self {
        let stretches = outputs / STRETCH_MIN;
        Self(if stretches < 1 {
            1
        } else if stretches > STRETCHES_MAX {
            STRETCHES_MAX
        } else {
            stretches
        })
    }

    /// The stretch in which an output stands whose drive ends at `last`.
    pub(super) fn at(self, sequence: i64, last: i64) -> u16 {
        let share = i128::from(sequence.max(0)) * i128::from(self.0) / (i128::from(last.max(0)) + 1);
        share.min(i128::from(self.0.max(1)) - 1) as u16
    }

    /// Whether there are enough of them to tell anything.
    pub(super) fn tell(self) -> bool {
        self.0 >= STRETCHES_MIN
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
        let all: Vec<((u16, u16), u32)> = self.stretches.iter().map(|(stretch, times)| (*stretch, *times)).collect();
        let stretches: Vec<Vec<u64>> = all
            .chunk_by(|one, other| one.0.0 == other.0.0)
            .map(|stretch| stretch.iter().map(|(_, times)| u64::from(*times)).collect())
            .collect();
        let seen = all.iter().filter(|((_, other), _)| *other == way).map(|(_, times)| u64::from(*times)).sum();
        sum_tail(&stretches, ways, seen)
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
        Place { unit: None, stretch }
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
        let key = |key: u64| Place { unit: Some(key << (64 - UNIT_BITS)), stretch: 0 };
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
        assert_eq!((of(10).0, of(511).0, of(1_000_000).0), (1, 15, 64));
        assert!(!of(511).tell() && of(512).tell());
        assert_eq!((of(6_400).at(0, 6_399), of(6_400).at(99, 6_399), of(6_400).at(100, 6_399)), (0, 0, 1));
        assert_eq!((of(6_400).at(6_399, 6_399), of(6_400).at(9_000, 6_399), of(0).at(0, 0)), (63, 63, 0));
    }
}
