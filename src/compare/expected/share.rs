//! The interval of a share: exact, however few outputs there were.
//!
//! Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26
//! (1934): the least share under which so many or more would still come with the probability that is left on one side, and the
//! most under which so many or fewer would.

use crate::compare::noise::binomial_tail;

/// Halvings by which a bound is found: beyond the last bit of a share.
const HALVINGS: u32 = 60;

/// Returns the interval within which the share of `count` in `of` lies; `error` is left on each side of it. All of it where
/// there is nothing.
pub(super) fn interval(count: u64, of: u64, error: f64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let count = count.min(of);
    (least(count, of, error), 1.0 - least(of - count, of, error))
}

/// Least share under which `count` or more of `of` come with a probability of `error`.
fn least(count: u64, of: u64, error: f64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, count as f64 / of as f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if middle > 0.0 && binomial_tail(of, middle, count) > error {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_clopper_and_pearson() {
        // Figures of R's binom.test, at 95 % and 99 %.
        for (count, of, error, low, high) in [
            (0, 10, 0.025, 0.0, 0.308_497_1),
            (10, 10, 0.025, 0.691_502_9, 1.0),
            (5, 10, 0.025, 0.187_086_0, 0.812_914_0),
            (7, 20, 0.025, 0.153_909_2, 0.592_188_5),
            (1, 100, 0.025, 0.000_253_146, 0.054_459_4),
        ] {
            let found = interval(count, of, error);
            assert!((found.0 - low).abs() < 1e-6 && (found.1 - high).abs() < 1e-6, "{count} of {of}: {found:?}");
        }
    }

    #[test]
    fn a_share_of_many_is_found_as_well() {
        for (count, of) in [(0, 1_000_000), (10, 1_000_000), (312_000, 1_000_000), (999_999, 1_000_000), (0, 0)] {
            let (low, high) = interval(count, of, 0.005);
            let share = count as f64 / of.max(1) as f64;
            assert!(
                low <= share && share <= high && (0.0..=1.0).contains(&low) && high <= 1.0,
                "{count}: {low} {high}"
            );
        }
        let (low, high) = interval(312_000, 1_000_000, 0.005);
        assert!(high - low < 0.003, "{low} {high}");
    }

    #[test]
    fn a_share_that_stays_is_called_grown_once_in_a_hundred_runs_at_most_and_one_that_doubles_is_found() {
        // Over all that can come of the run that was accepted and of a later one: the probability that the intervals lie apart.
        let grown = |(before, was): (u64, f64), (after, is): (u64, f64)| -> f64 {
            let chances = |of: u64, share: f64| -> Vec<f64> {
                (0..=of).map(|count| binomial_tail(of, share, count) - binomial_tail(of, share, count + 1)).collect()
            };
            let most: Vec<f64> = (0..=before).map(|count| interval(count, before, 0.005).1).collect();
            let least: Vec<f64> = (0..=after).map(|count| interval(count, after, 0.005).0).collect();
            let (then, now) = (chances(before, was), chances(after, is));
            let of_then = |(most, then): (&f64, &f64)| -> f64 {
                let apart = least.iter().zip(&now).filter(|(least, _)| *least > most);
                then * apart.map(|(_, now)| now).sum::<f64>()
            };
            most.iter().zip(&then).map(of_then).sum()
        };
        for (before, after, share) in
            [(200, 200, 0.1), (50, 400, 0.02), (400, 50, 0.5), (30, 300, 0.9), (300, 300, 0.01)]
        {
            let chance = grown((before, share), (after, share));
            assert!(chance <= 0.01, "{before} {after} {share}: {chance}");
        }
        assert!(grown((300, 0.2), (300, 0.45)) > 0.95);
    }

    #[test]
    fn an_interval_covers_the_share_as_often_as_it_says() {
        // Over all that can come of 40 at a share of 0.1: the probability of what the interval misses.
        let (of, share, error) = (40, 0.1, 0.005);
        let at_least = |count: u64| binomial_tail(of, share, count);
        let missed: f64 = (0..=of)
            .filter(|count| {
                let (low, high) = interval(*count, of, error);
                share < low || share > high
            })
            .map(|count| at_least(count) - at_least(count + 1))
            .sum();
        assert!(missed <= 2.0 * error, "{missed}");
    }
}
