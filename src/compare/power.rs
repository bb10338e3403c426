//! What a comparison could have found, and the gate `power-at-least`: green means little where little could have been proven.

use super::assess::Seen;
use super::family;
use super::figure::kind_name;
use super::gates::Gate;
use super::noise::{CHANCE_RECURRENCES_MAX, DRIVES_MAX, Drives, binomial_tail, limit_of_count, noise_rate};
use super::sentences::{count, counted};
use super::verdict::Facts;
use super::{Comparison, Standing, Statistics};

/// Standard deviations below which noise falls in one of twenty comparisons.
const LOW: f64 = 1.645;

/// Smallest number of outputs whose change would have been proven with 95 % probability, on a pattern without noise of its own
/// and beside `family` other tests: the count alone must carry it, or where new was driven again, one recurrence.
///
/// None with a single drive of old, or where there are too few outputs to prove any change.
pub(super) fn power(compared: u64, family: usize, drives: Drives) -> Option<u64> {
    if drives.old < 2 {
        return None;
    }
    let rate = noise_rate(0, compared);
    if drives.new_again && rate * rate * (compared as f64) < CHANCE_RECURRENCES_MAX {
        return Some(1);
    }
    by_count(family, drives).filter(|needed| *needed <= compared)
}

/// Changed outputs that the count alone proves. Without noise new is odd at each of them, so the probability of proof jumps from none to
/// all at one number.
fn by_count(family: usize, drives: Drives) -> Option<u64> {
    let share = 1.0 / (drives.old as f64 + 1.0);
    (drives.old >= 2).then(|| (limit_of_count(family, drives).ln() / share.ln()).ceil() as u64)
}

/// As [`power`], on a pattern beside the noise that was seen of it: the count must carry it. Changes and noise are taken to come one by
/// one; bursts ask for more.
fn power_beside_noise(test: &Statistics, family: usize, drives: Drives) -> Option<u64> {
    let of_old = test.odd_any.saturating_sub(test.odd_new).max(test.odd_moving) as f64;
    let share = 1.0 / (drives.old as f64 + 1.0);
    let limit = limit_of_count(family, drives);
    // As much of new's own as a drive of old has, in one of twenty comparisons no more than this.
    let own = of_old / drives.old as f64;
    let own = (own - LOW * own.sqrt()).max(0.0);
    let proves = |changed: u64| {
        let odd = own as u64 + changed;
        binomial_tail(of_old as u64 + odd, share, odd) <= limit
    };
    let (mut low, mut high) = (0, test.compared);
    if drives.old < 2 || !proves(high) {
        return None;
    }
    while low < high {
        let middle = low.midpoint(high);
        if proves(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}

/// What would make a change of `limit` outputs be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suffices {
    /// Drives of old in all; none where more than any run makes.
    drives: Option<u64>,
    /// Outputs compared; none where more of them do not help.
    outputs: Option<u64>,
}

impl Suffices {
    fn of(limit: u64, compared: u64, family: usize, drives: Drives) -> Self {
        let of_drives =
            |old: usize| power(compared, family, Drives { old, ..drives }).is_some_and(|least| least <= limit);
        let of_outputs = by_count(family, drives).filter(|least| *least <= limit);
        Self {
            drives: (2..=DRIVES_MAX as usize).find(|old| of_drives(*old)).map(|old| old as u64),
            outputs: of_outputs.filter(|least| *least > compared),
        }
    }

    fn sentence(self) -> String {
        let drives = self.drives.map(|drives| format!("{} of old", counted(drives, "drive")));
        let outputs = self.outputs.map(|outputs| counted(outputs, "output"));
        let ways: Vec<String> = drives.into_iter().chain(outputs).collect();
        if ways.is_empty() {
            return format!("no number of drives up to {DRIVES_MAX} would do for that");
        }
        format!("{} would have been enough for that", ways.join(" or "))
    }
}

/// Holds the power of the comparison against the limit: too little is no verdict, whatever was found.
pub(super) fn assess(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let comparison = facts.comparison;
    let (family, drives) = (family::size(comparison), family::drives(comparison));
    let suffices = || Suffices::of(limit, comparison.identities, family, drives).sentence();
    let build = comparison.noisy().name();
    let Some(least) = comparison.power else {
        let why = match drives.old {
            ..2 => format!("{build} was driven once"),
            _ => format!("{} compared are too few to prove any change", counted(comparison.identities, "output")),
        };
        return Seen::untold(gate, &format!("{why}; {}", suffices()));
    };
    if least > limit {
        let reason =
            format!("only a change of {} would have been proven (95 %); {}", counted(least, "output"), suffices());
        return Seen::suspected(gate, least.to_string(), &reason);
    }
    match noisiest(comparison, family, drives) {
        Some((what, Some(least))) if least > limit => {
            let reason =
                format!("beside the noise in {what}, only a change of {} would have been proven (95 %)", count(least));
            Seen::suspected(gate, least.to_string(), &reason)
        }
        Some((what, None)) => {
            Seen::untold(gate, &format!("beside the noise in {what}, no change at all would have been proven"))
        }
        found => {
            let note = found
                .map(|(what, least)| format!("{} beside the noise in {what}", least.map_or_else(String::new, count)));
            Seen::kept(least.to_string(), note)
        }
    }
}

/// The pattern beside whose noise least could have been proven: what it is about, and how many outputs it would have taken.
fn noisiest(comparison: &Comparison, family: usize, drives: Drives) -> Option<(String, Option<u64>)> {
    let noisy = comparison.patterns.iter().filter(|pattern| {
        let is_open = matches!(pattern.standing, Standing::Noise | Standing::Suspected) && !pattern.information;
        is_open && pattern.statistics.p_value.is_some() && pattern.statistics.seen_in_old
    });
    let powers = noisy.map(|pattern| (pattern, power_beside_noise(&pattern.statistics, family, drives)));
    // None is more than any number.
    let (pattern, least) = powers.max_by_key(|(_, least)| least.map_or((1, 0), |least| (0, least)))?;
    let place = pattern.path.as_deref().map(|path| format!(" at {path}")).unwrap_or_default();
    let kind = kind_name(pattern.kind);
    Some((format!("{kind} outputs of {}{place}", pattern.topic), least))
}

#[cfg(test)]
mod tests {
    use super::super::Couples;
    use super::super::noise::{FALSE_DISCOVERIES, left};
    use super::*;

    const TWICE: Drives = Drives { old: 2, new_again: false };

    #[test]
    fn power_is_what_the_count_alone_or_one_recurrence_proves() {
        assert_eq!(power(10_000, 0, TWICE), Some(5));
        assert_eq!(power(1_000, 3, Drives { new_again: true, ..TWICE }), Some(1));
        assert_eq!(power(4, 0, TWICE), None);
        assert_eq!(power(1_000, 1, Drives { old: 1, ..TWICE }), None);
    }

    #[test]
    fn the_count_has_half_of_the_error_where_new_was_driven_again() {
        let again = Drives { new_again: true, ..TWICE };
        // Of five hundred too many may be unsteady, unseen, for one recurrence to prove anything.
        assert_eq!((power(500, 3, TWICE), power(500, 3, again)), (Some(6), Some(7)));
        let test = noisy(10_000);
        assert!(power_beside_noise(&test, 3, again) > power_beside_noise(&test, 3, TWICE));
        // Half of it for the count is what the tests of a pattern leave where all of them take place.
        let couples = Some(Couples { p_value: 1.0, ..Couples::default() });
        let all = Statistics { p_pairs: Some(1.0), couples_by_change: couples, couples_by_value: couples, ..test };
        assert!((limit_of_count(0, again) / FALSE_DISCOVERIES - left(&all)).abs() < 1e-12);
    }

    #[test]
    fn what_suffices_is_the_least_that_does() {
        // (1/(k+1))³ ≤ 0.01 from four drives on; five changed outputs are proven by two drives, if there are five.
        assert_eq!(Suffices::of(3, 1_000, 0, TWICE), Suffices { drives: Some(4), outputs: None });
        assert_eq!(Suffices::of(5, 3, 0, TWICE), Suffices { drives: Some(4), outputs: Some(5) });
        assert_eq!(Suffices::of(1, 1_000, 0, TWICE), Suffices { drives: None, outputs: None });
        assert_eq!(
            Suffices::of(5, 3, 0, TWICE).sentence(),
            "4 drives of old or 5 outputs would have been enough for that"
        );
    }

    fn noisy(odd_moving: u64) -> Statistics {
        Statistics { compared: 1_000_000, odd_any: odd_moving, odd_moving, ..Statistics::default() }
    }

    #[test]
    fn beside_noise_it_takes_more() {
        assert_eq!(power_beside_noise(&noisy(0), 0, TWICE), power(1_000_000, 0, TWICE));
        let of_one_percent = power_beside_noise(&noisy(10_000), 0, TWICE).unwrap();
        // 15,000 in all, σ = 58 for new: 2.33 σ beyond a third, 1.645 √5,000 below it.
        assert!((250..450).contains(&of_one_percent), "{of_one_percent}");
        assert_eq!(power_beside_noise(&noisy(10), 0, Drives { old: 1, ..TWICE }), None);
    }
}
