//! What chance explains: the odd-one-out test, recurrence, and the family of all tests.
//!
//! Old is driven k times, new once. If new behaves like old, the drives are exchangeable: where exactly one of the k+1 drives
//! disagrees with all others, each is equally likely to be that one. So the number of times that it is new is binomial with
//! share 1/(k+1).

use super::{Standing, Statistics};

/// False discovery rate over the family of tests.
pub(super) const FALSE_DISCOVERIES: f64 = 0.01;

/// Expected chance recurrences below which a recurrence is proof.
const CHANCE_RECURRENCES_MAX: f64 = 0.01;

/// Units up to which a proof by count alone is held against new driven again: one burst of a build's own noise, such as one
/// flush of a batch, reaches that many identities at once, and then they are not as independent as the test takes them.
const BURST_MAX: u64 = 30;

/// Share of identities on which drives of old may disagree before the count alone proves nothing: what moves so many of them,
/// such as how often a build writes by its wall clock, moves them together.
const UNSTEADY_MAX: f64 = 0.1;

/// What was counted of one pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Differences of old against new.
    pub(super) raw: u64,
    /// Differences of old against old again.
    pub(super) noise: u64,
    /// Identities compared.
    pub(super) compared: u64,
    /// Units on which only new disagrees.
    pub(super) odd_new: u64,
    /// Units on which exactly one drive disagrees.
    pub(super) odd_any: u64,
    /// Identities on which all drives differ.
    pub(super) odd_all: u64,
    /// Identities on which one drive of old is odd.
    pub(super) odd_old: u64,
    /// Identities on which drives of old do not agree in what the pattern is about, whatever its signature there: what could
    /// come back by chance.
    pub(super) unsteady: u64,
    /// Of these, the identities on which one drive of old is odd.
    pub(super) odd_moving: u64,
    /// Differences of the pattern that stand there because the first drive of old is odd.
    pub(super) first_odd: u64,
    /// Identities on which only new disagrees and new again wrote the same.
    pub(super) recurred: u64,
    /// Identities on which new again disagrees with all others, which agree.
    pub(super) odd_again: u64,
}

impl Counts {
    /// Adds what was counted of another pattern.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { raw, noise, compared, odd_new, odd_any, odd_all, odd_old, unsteady, odd_moving, .. } = other;
        let Self { first_odd, recurred, odd_again, .. } = other;
        self.raw += raw;
        self.noise += noise;
        self.compared += compared;
        self.odd_new += odd_new;
        self.odd_any += odd_any;
        self.odd_all += odd_all;
        self.odd_old += odd_old;
        self.unsteady += unsteady;
        self.first_odd += first_odd;
        self.recurred += recurred;
        self.odd_moving += odd_moving;
        self.odd_again += odd_again;
    }
}

/// Drives that were compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drives {
    /// Drives of old.
    pub(super) old: usize,
    /// Whether new was driven again.
    pub(super) new_again: bool,
}

/// What a test says once the run's family is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) standing: Standing,
    pub(super) unjudgeable: bool,
}

/// One-sided p-value: how likely new alone would be odd at least so often by chance.
pub(super) fn p_value(counts: &Counts, drives: Drives) -> Option<f64> {
    (drives.old >= 2).then(|| binomial_tail(counts.odd_any, 1.0 / (drives.old as f64 + 1.0), counts.odd_new))
}

/// Everything about a test but its place in the family: the adjusted p-value is none until that is known.
pub(super) fn measure(counts: &Counts, drives: Drives) -> Statistics {
    let beyond = |odd: u64| binomial_tail(odd + counts.odd_moving, 1.0 / (drives.old as f64 + 1.0), odd);
    Statistics {
        compared: counts.compared,
        odd_new: counts.odd_new,
        odd_any: counts.odd_any,
        odd_all: counts.odd_all,
        p_value: p_value(counts, drives),
        q_value: None,
        recurred: drives.new_again.then_some(counts.recurred),
        noise_rate: (drives.old >= 2).then(|| noise_rate(counts.unsteady, counts.compared)),
        odd_moving: counts.odd_moving,
        p_beside_noise: (drives.old >= 2).then(|| beyond(counts.odd_new)),
        p_again: (drives.old >= 2 && drives.new_again).then(|| beyond(counts.odd_again)),
        seen_in_old: counts.odd_old + counts.first_odd + counts.noise > 0,
    }
}

/// Judges one test by its adjusted p-value, by what came back when new was driven again, and by what old shows of itself.
pub(super) fn judge(test: &Statistics) -> Judged {
    let mut judged = Judged { standing: Standing::Suspected, unjudgeable: false };
    let Some(rate) = test.noise_rate else { return judged };
    let chance_recurrences = rate * rate * test.compared as f64;
    let recurs = test.recurred.is_some_and(|recurred| recurred > 0) && chance_recurrences < CHANCE_RECURRENCES_MAX;
    let is_small = |p: Option<f64>| p.is_some_and(|p| p <= FALSE_DISCOVERIES);
    let by_count = is_small(test.q_value) && (test.p_beside_noise.is_none() || is_small(test.p_beside_noise));
    if recurs || (by_count && is_confirmed(test, chance_recurrences)) {
        judged.standing = Standing::Proven;
        return judged;
    }
    if by_count && (is_steady(test) || test.recurred.is_none()) {
        return judged;
    }
    judged.unjudgeable = test.odd_all > test.odd_any;
    let settled = test.recurred.is_some_and(|recurred| is_chance(recurred, chance_recurrences));
    // Old against itself shows the same: chance explains it where new is never odd alone, or where what only new showed did
    // not come back more often than chance would have it.
    if judged.unjudgeable || (test.seen_in_old && (test.odd_new == 0 || settled)) {
        judged.standing = Standing::Noise;
    }
    judged
}

/// Whether new driven again bears out what the count says: the same comes back where old is steady, or as much of it is odd
/// elsewhere. A burst that comes in old's own drives as well may come back as one. More than a burst needs no
/// second witness, unless old is unsteady at many identities.
fn is_confirmed(test: &Statistics, chance_recurrences: f64) -> bool {
    let Some(recurred) = test.recurred else { return is_steady(test) };
    (test.odd_new > BURST_MAX && is_steady(test))
        || (test.odd_moving == 0 && !is_chance(recurred, chance_recurrences))
        || test.p_again.is_some_and(|p| p <= FALSE_DISCOVERIES)
}

/// Whether identities may be taken as independent: where old is unsteady at many of them, one chance may have moved them all.
fn is_steady(test: &Statistics) -> bool {
    test.noise_rate.is_some_and(|rate| rate <= UNSTEADY_MAX || rate * test.compared as f64 <= UNSEEN_NOISE as f64)
}

/// Whether a proof may rest on one burst, so that new should be driven again to tell.
pub(super) fn may_be_a_burst(test: &Statistics) -> bool {
    test.recurred.is_none() && (1..=BURST_MAX).contains(&test.odd_new)
}

/// Whether `recurred` identities are what chance gives where `expected` are expected.
fn is_chance(recurred: u64, expected: f64) -> bool {
    recurred == 0 || poisson_tail(recurred, expected) > CHANCE_RECURRENCES_MAX
}

/// Identities with noise that may be there where none was seen: 3/n is the upper bound of their share (95 %).
pub(super) const UNSEEN_NOISE: u64 = 3;

/// Share of `compared` identities on which drives of old do not agree, but at least its upper bound where none was seen: one
/// seen must not make a recurrence better proof than none would.
pub(super) fn noise_rate(unsteady: u64, compared: u64) -> f64 {
    (unsteady.max(UNSEEN_NOISE) as f64 / compared.max(1) as f64).min(1.0)
}

/// What would have proven a pattern that came back when new was driven again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sufficient {
    /// Drives of old in all, if none of them shows noise; none where more than any run makes.
    pub(super) drives: Option<u64>,
    /// Identities compared, with as much noise as was seen.
    pub(super) identities: u64,
}

/// Says what would have sufficed to prove a test that was suspected, among `tests` in all; none where what new did alone did not
/// come back, so that more of the same would not help.
pub(super) fn sufficient(test: &Statistics, tests: usize) -> Option<Sufficient> {
    let rate = test.noise_rate.filter(|_| test.recurred.is_some_and(|recurred| recurred > 0) && test.odd_new > 0)?;
    let unsteady = rate * test.compared as f64;
    let limit = FALSE_DISCOVERIES / tests.max(1) as f64;
    // With k drives of old the p-value is (1/(k+1)) to the power of the identities on which new is odd.
    // A hair more, as rounding may lift a p-value at the very limit above it.
    let drives = (libm::pow(1.0 / limit, 1.0 / test.odd_new as f64) - 1.0 + 1e-9).ceil() as u64;
    let drives = (!test.seen_in_old && drives <= DRIVES_MAX).then_some(drives);
    Some(Sufficient { drives, identities: (unsteady * unsteady / CHANCE_RECURRENCES_MAX).round() as u64 + 1 })
}

/// Drives of old that one comparison takes beside two of new.
const DRIVES_MAX: u64 = 58;

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
    // Without noise new is odd at every changed identity, so the probability of proof jumps from none to all at one number.
    let share = 1.0 / (drives.old as f64 + 1.0);
    let limit = FALSE_DISCOVERIES / (family as f64 + 1.0);
    let needed = (limit.ln() / share.ln()).ceil() as u64;
    (needed <= compared).then_some(needed)
}

/// P(X ≥ `least`) for X binomial over `trials` with probability `share`, exact up to rounding.
pub(super) fn binomial_tail(trials: u64, share: f64, least: u64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    if least > trials {
        return 0.0;
    }
    let (n, k) = (trials as f64, least as f64);
    let log_choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    let mut term = libm::exp(log_choose + k * libm::log(share) + (n - k) * libm::log1p(-share));
    let odds = share / (1.0 - share);
    let mut tail = 0.0;
    let mut at = k;
    // Terms rise up to the mode and fall behind it.
    while at <= n && (at <= n * share + 1.0 || term > tail * 1e-17) {
        tail += term;
        term *= (n - at) / (at + 1.0) * odds;
        at += 1.0;
    }
    if tail == 0.0 && k <= n * share { 1.0 } else { tail.min(1.0) }
}

/// P(X ≥ `least`) for X Poisson with mean `mean`.
pub(super) fn poisson_tail(least: u64, mean: f64) -> f64 {
    let mut term = libm::exp(-mean);
    let mut below = 0.0;
    for at in 0..least {
        below += term;
        term *= mean / (at as f64 + 1.0);
    }
    (1.0 - below).max(0.0)
}

/// Benjamini-Hochberg adjusted p-values; tests that did not take place stay none.
pub(super) fn adjusted(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(f64, usize)> = p_values.iter().enumerate().filter_map(|(at, p)| Some(((*p)?, at))).collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    let tests = order.len() as f64;
    let mut adjusted = vec![None; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, (p, at)) in order.iter().enumerate().rev() {
        least = least.min(p * tests / (rank as f64 + 1.0));
        adjusted[*at] = Some(least);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWICE: Drives = Drives { old: 2, new_again: false };
    const AGAIN: Drives = Drives { old: 2, new_again: true };

    fn one(counts: Counts, drives: Drives) -> Judged {
        let test = measure(&counts, drives);
        judge(&Statistics { q_value: test.p_value, ..test })
    }

    #[test]
    fn the_binomial_tail_is_exact() {
        for (trials, share, least, expected) in [
            (5, 1.0 / 3.0, 5, 1.0 / 243.0),
            (1, 1.0 / 3.0, 1, 1.0 / 3.0),
            (10, 0.5, 0, 1.0),
            (10, 0.5, 8, 56.0 / 1024.0),
            (3, 0.25, 4, 0.0),
        ] {
            assert!((binomial_tail(trials, share, least) - expected).abs() < 1e-12, "{trials} {share} {least}");
        }
        assert!(binomial_tail(1_000_000, 1.0 / 3.0, 334_000) < 0.1);
        assert!(binomial_tail(1_000_000, 1.0 / 3.0, 300_000) > 0.999);
    }

    #[test]
    fn p_values_are_adjusted_over_the_family() {
        let adjusted = adjusted(&[Some(0.01), None, Some(0.04), Some(0.03)]);
        let expected = [Some(0.03), None, Some(0.04), Some(0.04)];
        for (found, expected) in adjusted.iter().zip(expected) {
            assert_eq!(found.is_some(), expected.is_some());
            assert!((found.unwrap_or_default() - expected.unwrap_or_default()).abs() < 1e-12);
        }
    }

    #[test]
    fn four_odd_outputs_are_suspected_and_five_are_proven() {
        let counts = |odd| Counts { raw: odd, compared: 10_000, odd_new: odd, odd_any: odd, ..Counts::default() };
        assert_eq!(one(counts(4), TWICE).standing, Standing::Suspected);
        assert_eq!(one(counts(5), TWICE).standing, Standing::Proven);
        assert_eq!(power(10_000, 0, TWICE), Some(5));
    }

    #[test]
    fn what_recurs_is_proven_only_where_chance_would_not_bring_it_back() {
        let counts = |compared, odd_old| Counts {
            raw: 2,
            compared,
            odd_new: 2,
            odd_any: 2 + odd_old,
            odd_old,
            unsteady: odd_old,
            recurred: 1,
            ..Counts::default()
        };
        assert_eq!(one(counts(1_000, 0), AGAIN).standing, Standing::Proven);
        assert_eq!(one(counts(800, 0), AGAIN).standing, Standing::Suspected);
        assert_eq!(one(counts(1_000, 100), AGAIN).standing, Standing::Noise);
        let lost = Counts { recurred: 0, ..counts(1_000, 0) };
        assert_eq!(one(lost, AGAIN).standing, Standing::Suspected);
        assert_eq!(power(1_000, 3, AGAIN), Some(1));
    }

    #[test]
    fn one_burst_of_odd_outputs_is_proven_only_where_new_again_bears_it_out() {
        let burst = Counts { raw: 12, compared: 400, odd_new: 12, odd_any: 12, ..Counts::default() };
        assert_eq!(one(burst, TWICE).standing, Standing::Proven);
        assert!(may_be_a_burst(&measure(&burst, TWICE)) && !may_be_a_burst(&measure(&burst, AGAIN)));
        assert_eq!(one(burst, AGAIN).standing, Standing::Suspected);
        // Never taken for noise, even where old shows a little of it: new may break it at random.
        let beside_noise = Counts { odd_any: 13, odd_old: 1, unsteady: 1, odd_moving: 1, noise: 1, ..burst };
        assert_eq!(one(beside_noise, AGAIN).standing, Standing::Suspected);
        assert_eq!(one(Counts { recurred: 12, ..burst }, AGAIN).standing, Standing::Proven);
        assert_eq!(one(Counts { recurred: 12, ..beside_noise }, AGAIN).standing, Standing::Suspected);
        assert_eq!(one(Counts { odd_again: 9, ..burst }, AGAIN).standing, Standing::Proven);
        assert_eq!(one(Counts { odd_again: 2, ..burst }, AGAIN).standing, Standing::Suspected);
        let many = Counts { raw: 80, odd_new: 80, odd_any: 80, ..burst };
        assert_eq!(one(many, AGAIN).standing, Standing::Proven);
    }

    #[test]
    fn noise_that_goes_the_other_way_counts_against_a_proof() {
        let counts = Counts { raw: 7, compared: 400, odd_new: 7, odd_any: 7, ..Counts::default() };
        let moving = Counts { unsteady: 20, odd_moving: 20, ..counts };
        assert_eq!(one(counts, TWICE).standing, Standing::Proven);
        assert_eq!(one(moving, TWICE).standing, Standing::Suspected);
    }

    #[test]
    fn one_identity_with_noise_makes_no_recurrence_better_proof() {
        assert!(noise_rate(1, 500) >= noise_rate(0, 500));
        let counts = Counts {
            raw: 2,
            compared: 500,
            odd_new: 2,
            odd_any: 3,
            odd_old: 1,
            unsteady: 1,
            recurred: 2,
            ..Counts::default()
        };
        assert_ne!(one(counts, AGAIN).standing, Standing::Proven);
    }

    #[test]
    fn what_would_have_sufficed_suffices() {
        let counts = Counts { raw: 2, compared: 500, odd_new: 2, odd_any: 2, recurred: 2, ..Counts::default() };
        assert_eq!(one(counts, AGAIN).standing, Standing::Suspected);
        let needed = sufficient(&measure(&counts, AGAIN), 1).unwrap();
        assert_eq!((needed.drives, needed.identities), (Some(10), 901));
        assert_eq!(one(Counts { compared: 901, ..counts }, AGAIN).standing, Standing::Proven);
        assert_eq!(one(Counts { compared: 900, ..counts }, AGAIN).standing, Standing::Suspected);
        for (drives, standing) in [(10, Standing::Proven), (8, Standing::Suspected)] {
            assert_eq!(one(counts, Drives { old: drives, new_again: false }).standing, standing, "{drives}");
        }
        // One identity would take 99 drives, and what did not come back is no matter of numbers.
        let single = Counts { odd_new: 1, odd_any: 1, recurred: 1, ..counts };
        assert_eq!(sufficient(&measure(&single, AGAIN), 1).unwrap().drives, None);
        assert_eq!(sufficient(&measure(&Counts { recurred: 0, ..counts }, AGAIN), 1), None);
    }

    #[test]
    fn a_single_drive_of_old_leaves_everything_suspected() {
        let once = Drives { old: 1, new_again: false };
        let counts = Counts { raw: 1_000, compared: 1_000, ..Counts::default() };
        assert_eq!(one(counts, once).standing, Standing::Suspected);
        assert_eq!(measure(&counts, once).p_value, None);
        assert_eq!(power(1_000, 1, once), None);
    }

    #[test]
    fn what_differs_between_all_drives_cannot_be_judged() {
        let judged = one(Counts { raw: 90, noise: 90, compared: 90, odd_all: 90, ..Counts::default() }, TWICE);
        assert!(judged.unjudgeable);
        assert_eq!(judged.standing, Standing::Noise);
    }
}
