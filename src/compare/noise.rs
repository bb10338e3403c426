//! What chance explains: the odd-one-out test, recurrence, and the family of all tests.
//!
//! Old is driven k times, new once. If new behaves like old, the drives are exchangeable: where exactly one of the k+1 drives
//! disagrees with all others, each is equally likely to be that one. So the number of times that it is new is binomial with
//! share 1/(k+1).
//!
//! Where new was driven again there are k+2 drives, and where old is noisy a recurrence says more than a count: noise that two
//! drives share is far rarer than noise. At an identity where the first drive of old agrees with all but two drives, and those two
//! agree with each other and stand apart, each pair of the other k+1 drives is equally likely to be the two. So the number of
//! times that it is the two of new is binomial with share 2/(k(k+1)): 1/3 where old was driven twice. Where noise is so common that
//! many drives share it, the same is asked of one way of departing from the others at a time (see `couples`).
//!
//! All tests count by unit of key or cause, and where old is noisy or new was driven again also by stretch of the outputs, of
//! which the larger p-value counts (see `units`). What is no test of this room: a build that chooses one of two ways for a whole
//! drive. For that, drives are the units, and with k of old no p-value is below 1/(k+1).

use super::patterns::pairs_of;
use super::{Couples, Standing, Statistics};

/// False discovery rate over the family of tests.
pub(super) const FALSE_DISCOVERIES: f64 = 0.01;

/// Expected chance recurrences below which a recurrence is proof.
pub(super) const CHANCE_RECURRENCES_MAX: f64 = 0.01;

/// Units up to which, in outcomes too short to be cut into stretches, a proof by count alone is held against new driven again: one
/// burst of a build's own noise, such as one flush of a batch, reaches that many identities at once.
const BURST_MAX: u64 = 30;

/// Share of a pattern's error that goes to pairs where there are any, the rest to the count (Bonferroni, weighted): pairs that
/// prove anything do so by orders of magnitude.
const SHARE_OF_PAIRS: f64 = 0.1;

/// Likewise, to couples by what changed, and by what it became: five of a class of its own are enough then, beside three tests in all.
const SHARE_OF_COUPLES: f64 = 0.2;

/// Share of identities on which drives of old may disagree before the count alone proves nothing: what moves so many of them,
/// such as how often a build writes by its wall clock, moves a drive from its beginning to its end, which no stretch shows. Pairs
/// are another matter: two drives of new would have to be moved to the same values.
const UNSTEADY_MAX: f64 = 0.1;

/// What was counted of one pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    /// Differences of old against new.
    pub(super) raw: u64,
    /// Differences of old against old again.
    pub(super) noise: u64,
    /// Identities compared.
    pub(super) compared: u64,
    /// Of the noise, what stands in a unit of which something else is counted already.
    pub(super) noise_within: u64,
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
    /// Identities on which all of old agree and new again stands apart from them, in new's place or beside it.
    pub(super) again_apart: u64,
    /// How likely new is odd so often where each stretch of the outputs is one piece of evidence; none where there are too few.
    pub(super) p_by_stretch: Option<f64>,
    /// Units on which both drives of new agree and stand apart from all of old, which agree.
    pub(super) pairs_new: u64,
    /// Units on which any two drives but the first of old do.
    pub(super) pairs_any: u64,
    /// As `p_by_stretch`, for pairs.
    pub(super) p_pairs_by_stretch: Option<f64>,
    /// Test of the couples by what changed; none where there are none, or too few stretches.
    pub(super) by_change: Option<Couples>,
    /// As `by_change`, by what it became.
    pub(super) by_value: Option<Couples>,
}

impl Counts {
    /// Adds what was counted of another pattern.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { raw, noise, compared, odd_new, odd_any, odd_all, odd_old, unsteady, odd_moving, .. } = other;
        let Self { first_odd, recurred, odd_again, again_apart, pairs_new, pairs_any, noise_within, .. } = other;
        self.raw += raw;
        self.noise += noise;
        self.noise_within += noise_within;
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
        self.again_apart += again_apart;
        self.pairs_new += pairs_new;
        self.pairs_any += pairs_any;
    }

    /// Units on which drives of old disagree.
    fn noisy_units(&self) -> u64 {
        self.unsteady.max(self.noise.saturating_sub(self.noise_within))
    }

    /// Whether drives of old differ in what the pattern is about.
    fn is_noisy(&self) -> bool {
        self.odd_old + self.first_odd + self.noise + self.odd_moving > 0
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

/// One-sided p-value: how likely new alone would be odd at least so often by chance. Where old is noisy, its noise may come in
/// bursts: then stretches count as well.
fn p_by_count(counts: &Counts, drives: Drives) -> f64 {
    let counted = binomial_tail(counts.odd_any, 1.0 / (drives.old as f64 + 1.0), counts.odd_new);
    counts.p_by_stretch.filter(|_| counts.is_noisy()).map_or(counted, |by_stretch| by_stretch.max(counted))
}

/// How likely both drives of new would stand apart together at least so often by chance; none where no two drives ever did.
fn p_by_pairs(counts: &Counts, drives: Drives) -> Option<f64> {
    if !drives.new_again || counts.pairs_any == 0 {
        return None;
    }
    let counted = binomial_tail(counts.pairs_any, 1.0 / pairs_of(drives.old as u64 + 1) as f64, counts.pairs_new);
    // Too short to be cut into stretches: a burst may have come twice.
    let by_stretch = counts.p_pairs_by_stretch.unwrap_or(if counts.pairs_new > BURST_MAX { 0.0 } else { 1.0 });
    Some(counted.max(by_stretch))
}

/// Everything about a test but its place in the family: the adjusted p-value is none until that is known.
pub(super) fn measure(counts: &Counts, drives: Drives) -> Statistics {
    let beside = |odd: u64, noise: u64| binomial_tail(odd + noise, 1.0 / (drives.old as f64 + 1.0), odd);
    let beyond = |odd: u64| beside(odd, counts.odd_moving);
    let is_tested = drives.old >= 2;
    let p_pairs = p_by_pairs(counts, drives).filter(|_| is_tested);
    let by_count = is_tested.then(|| p_by_count(counts, drives));
    let couples = |test: Option<Couples>| test.filter(|_| is_tested && drives.new_again);
    let test = Statistics {
        compared: counts.compared,
        odd_new: counts.odd_new,
        odd_any: counts.odd_any,
        odd_all: counts.odd_all,
        p_value: None,
        q_value: None,
        recurred: drives.new_again.then_some(counts.recurred),
        noise_rate: is_tested.then(|| noise_rate(counts.unsteady, counts.compared)),
        odd_moving: counts.odd_moving,
        p_beside_noise: is_tested.then(|| beyond(counts.odd_new)),
        p_again: (is_tested && drives.new_again).then(|| beyond(counts.odd_again)),
        p_again_apart: (is_tested && drives.new_again).then(|| beside(counts.again_apart, counts.noisy_units())),
        seen_in_old: counts.odd_old + counts.first_odd + counts.noise > 0,
        p_by_stretch: counts.p_by_stretch.filter(|_| is_tested),
        pairs_new: drives.new_again.then_some(counts.pairs_new),
        pairs_any: drives.new_again.then_some(counts.pairs_any),
        p_pairs,
        couples_by_change: couples(counts.by_change),
        couples_by_value: couples(counts.by_value),
    };
    Statistics { p_value: by_count.map(|by_count| joined(by_count, &test)), ..test }
}

/// The tests of what both drives of new agree on, each with its share of the error.
fn shared(test: &Statistics) -> impl Iterator<Item = (f64, f64)> {
    let pairs = test.p_pairs.map(|p| (p, SHARE_OF_PAIRS));
    pairs.into_iter().chain(test.couples().map(|couples| (couples.p_value, SHARE_OF_COUPLES)))
}

/// Joins the tests of a pattern. Which of them take place does not depend on which drives are those of new.
fn joined(by_count: f64, test: &Statistics) -> f64 {
    shared(test).map(|(p, share)| p / share).fold(by_count / left(test), f64::min).min(1.0)
}

/// The largest p-value by which the count alone proves a change beside `family` other tests. Where new was driven again, what both
/// drives of new agree on is tested as well and takes its share of the error, as it does wherever the change shows twice.
pub(super) fn limit_of_count(family: usize, drives: Drives) -> f64 {
    let shared = if drives.new_again { SHARE_OF_PAIRS + 2.0 * SHARE_OF_COUPLES } else { 0.0 };
    FALSE_DISCOVERIES / (family as f64 + 1.0) * (1.0 - shared)
}

/// The share of a pattern's error that the count has.
pub(super) fn left(test: &Statistics) -> f64 {
    1.0 - shared(test).map(|(_, share)| share).sum::<f64>()
}

/// Judges one test by its adjusted p-value, by what came back when new was driven again, and by what old shows of itself.
pub(super) fn judge(test: &Statistics) -> Judged {
    let mut judged = Judged { standing: Standing::Suspected, unjudgeable: false };
    let Some(rate) = test.noise_rate else { return judged };
    let chance_recurrences = rate * rate * test.compared as f64;
    let recurs = test.recurred.is_some_and(|recurred| recurred > 0) && chance_recurrences < CHANCE_RECURRENCES_MAX;
    let by_pairs = is_small(test.q_value) && rests_on_pairs(test);
    let by_count = is_small(test.q_value) && (test.p_beside_noise.is_none() || is_small(test.p_beside_noise));
    if recurs || by_pairs || (by_count && is_confirmed(test, chance_recurrences)) {
        judged.standing = Standing::Proven;
        return judged;
    }
    if by_count && (is_steady(test) || test.recurred.is_none()) {
        return judged;
    }
    judged.unjudgeable = test.odd_all > test.odd_any;
    let shares = shared(test).map(|(_, share)| share).sum::<f64>();
    let is_shared = shared(test).any(|(p, share)| p <= FALSE_DISCOVERIES * share / shares);
    let settled = test.recurred.is_some_and(|recurred| is_chance(recurred, chance_recurrences)) && !is_shared;
    // Old against itself shows the same: chance explains it where new is never odd alone, or where what only new showed did
    // not come back more often than chance would have it.
    if judged.unjudgeable || (test.seen_in_old && (test.odd_new == 0 || settled)) {
        judged.standing = Standing::Noise;
    }
    judged
}

fn is_small(p: Option<f64>) -> bool {
    p.is_some_and(|p| p <= FALSE_DISCOVERIES)
}

/// Whether it is what both drives of new agree on that gives a test its p-value.
fn rests_on_pairs(test: &Statistics) -> bool {
    test.p_value.is_some_and(|p| shared(test).any(|(shared, share)| shared / share <= p))
}

/// Whether new driven again bears out what the count says: the same comes back where old is steady, or as much of it is odd
/// elsewhere. A burst that comes in old's own drives as well may come back as one. More than a burst needs no
/// second witness, unless old is unsteady at many identities; where nobody knows how far one reaches, new again must stand apart as well.
fn is_confirmed(test: &Statistics, chance_recurrences: f64) -> bool {
    let Some(recurred) = test.recurred else { return is_steady(test) };
    let is_beyond = is_beyond_a_burst(test) && (!is_of_unknown_reach(test) || is_small(test.p_again_apart));
    (is_beyond && is_steady(test))
        || (test.odd_moving == 0 && !is_chance(recurred, chance_recurrences))
        || test.p_again.is_some_and(|p| p <= FALSE_DISCOVERIES)
}

/// Whether identities may be taken as independent: where old is unsteady at many of them, one chance may have moved them all.
fn is_steady(test: &Statistics) -> bool {
    test.noise_rate.is_some_and(|rate| rate <= UNSTEADY_MAX || rate * test.compared as f64 <= UNSEEN_NOISE as f64)
}

/// Whether a proof may rest on one burst, so that new should be driven again to tell.
pub(super) fn may_be_a_burst(test: &Statistics) -> bool {
    test.recurred.is_none() && test.odd_new > 0 && (!is_beyond_a_burst(test) || is_of_unknown_reach(test))
}

/// Whether nobody knows how far one burst reaches: old shows the like, and there are too few outputs for stretches.
fn is_of_unknown_reach(test: &Statistics) -> bool {
    test.seen_in_old && test.p_by_stretch.is_none()
}

/// Whether one burst of noise does not reach as far: by the stretches in which new is odd, or where there are too few, by number.
fn is_beyond_a_burst(test: &Statistics) -> bool {
    test.p_by_stretch.map_or(test.odd_new > BURST_MAX, |p| p <= FALSE_DISCOVERIES)
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
    let limit = FALSE_DISCOVERIES / tests.max(1) as f64 * left(test);
    // With k drives of old the p-value is (1/(k+1)) to the power of the identities on which new is odd.
    // A hair more, as rounding may lift a p-value at the very limit above it.
    let drives = (libm::pow(1.0 / limit, 1.0 / test.odd_new as f64) - 1.0 + 1e-9).ceil() as u64;
    let drives = (!test.seen_in_old && drives <= DRIVES_MAX).then_some(drives);
    Some(Sufficient { drives, identities: (unsteady * unsteady / CHANCE_RECURRENCES_MAX).round() as u64 + 1 })
}

/// Drives of old that one comparison takes beside two of new.
pub(super) const DRIVES_MAX: u64 = 58;

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
        // Where old does the like, how far a burst reaches nobody knows: a machine that is busy for a moment moves as many.
        let like_old = Counts { odd_any: 84, odd_old: 4, unsteady: 4, odd_moving: 4, noise: 4, ..many };
        assert!(may_be_a_burst(&measure(&like_old, TWICE)) && !may_be_a_burst(&measure(&many, TWICE)));
        assert_eq!(one(like_old, TWICE).standing, Standing::Proven);
        let again = |again_apart| one(Counts { again_apart, ..like_old }, AGAIN).standing;
        assert_eq!([0, 3, 70].map(again), [Standing::Suspected, Standing::Suspected, Standing::Proven]);
        // Sixty outputs of one key that moved in old are one key.
        let moved = |noise_within| Counts { noise: 63, noise_within, again_apart: 20, ..like_old };
        assert_eq!([0, 59].map(|within| one(moved(within), AGAIN).standing), [Standing::Suspected, Standing::Proven]);
        // Long enough for stretches, these tell.
        let long = Counts { p_by_stretch: Some(1e-9), compared: 40_000, ..like_old };
        assert_eq!(one(long, AGAIN).standing, Standing::Proven);
    }

    #[test]
    fn pairs_prove_beside_noise_what_the_count_cannot() {
        let noisy = Counts {
            raw: 10_010,
            noise: 19_900,
            compared: 1_000_000,
            odd_new: 10_010,
            odd_any: 30_000,
            odd_old: 19_990,
            unsteady: 20_000,
            odd_moving: 19_990,
            recurred: 10,
            p_by_stretch: Some(0.4),
            pairs_new: 10,
            pairs_any: 11,
            p_pairs_by_stretch: Some(3_f64.powi(-8)),
            ..Counts::default()
        };
        assert_eq!(one(noisy, TWICE).standing, Standing::Suspected);
        assert_eq!(one(noisy, AGAIN).standing, Standing::Proven);
        // Where any two drives share as much, it is no evidence; nor where all of it stands in one stretch.
        assert_eq!(one(Counts { pairs_any: 30, ..noisy }, AGAIN).standing, Standing::Noise);
        assert_eq!(one(Counts { p_pairs_by_stretch: Some(1.0 / 3.0), ..noisy }, AGAIN).standing, Standing::Noise);
        // Too short to be cut: as many as one burst prove nothing, more do.
        let short = Counts { p_by_stretch: None, p_pairs_by_stretch: None, ..noisy };
        assert_eq!(one(short, AGAIN).standing, Standing::Noise);
        assert_eq!(one(Counts { pairs_new: 31, pairs_any: 32, ..short }, AGAIN).standing, Standing::Proven);
    }

    #[test]
    fn couples_prove_where_pairs_drown_and_leave_the_count_its_share() {
        let drowned = Counts {
            raw: 50_010,
            noise: 99_900,
            compared: 1_000_000,
            odd_new: 50_010,
            odd_any: 150_000,
            odd_old: 99_990,
            unsteady: 100_000,
            odd_moving: 99_990,
            recurred: 430,
            p_by_stretch: Some(0.4),
            pairs_new: 428,
            pairs_any: 1_260,
            p_pairs_by_stretch: Some(0.3),
            by_change: Some(Couples { classes: 3, one_in: 1, new: 8, any: 8, p_value: 6e-7 }),
            by_value: Some(Couples { classes: 900, one_in: 1, new: 4, any: 6, p_value: 1.0 }),
            ..Counts::default()
        };
        assert_eq!(one(drowned, AGAIN).standing, Standing::Proven);
        assert!((measure(&drowned, AGAIN).p_value.unwrap() - 3e-6).abs() < 1e-12);
        // Without new driven again, without couples, or with couples as chance has them, nothing is proven.
        assert_eq!(one(drowned, TWICE).standing, Standing::Suspected);
        assert_eq!(one(Counts { by_change: None, by_value: None, ..drowned }, AGAIN).standing, Standing::Noise);
        let by_chance = Couples { classes: 3, one_in: 1, new: 2, any: 8, p_value: 0.4 };
        assert_eq!(one(Counts { by_change: Some(by_chance), ..drowned }, AGAIN).standing, Standing::Noise);
        // Too little for a family of some size is suspected.
        let few = Couples { classes: 3, one_in: 1, new: 4, any: 4, p_value: 0.000_8 };
        let test = measure(&Counts { by_change: Some(few), ..drowned }, AGAIN);
        let in_three = judge(&Statistics { q_value: test.p_value.map(|p| p * 3.0), ..test.clone() });
        assert_eq!(
            (judge(&Statistics { q_value: test.p_value, ..test }).standing, in_three.standing),
            (Standing::Proven, Standing::Suspected,)
        );
        // What the count proves it proves beside couples, too.
        let many = Counts { odd_new: 52_000, odd_any: 151_990, p_by_stretch: Some(1e-7), ..drowned };
        let many = Counts { by_change: Some(by_chance), by_value: Some(by_chance), ..many };
        assert!((measure(&many, AGAIN).p_value.unwrap() - 2e-7).abs() < 1e-12);
    }

    #[test]
    fn with_more_drives_of_old_a_pair_says_more() {
        let counts = Counts { pairs_new: 3, pairs_any: 3, p_pairs_by_stretch: Some(0.0), ..Counts::default() };
        for (old, share) in [(2, 1.0 / 3.0), (3, 1.0 / 6.0), (4, 0.1)] {
            let p = p_by_pairs(&counts, Drives { old, new_again: true }).unwrap();
            assert!((p - libm::pow(share, 3.0)).abs() < 1e-12, "{old}: {p}");
        }
        assert_eq!(p_by_pairs(&counts, TWICE), None);
        assert_eq!(p_by_pairs(&Counts { pairs_any: 0, ..counts }, AGAIN), None);
    }

    #[test]
    fn beside_noise_a_burst_counts_once() {
        let burst = Counts { raw: 200, compared: 6_400, odd_new: 200, odd_any: 500, odd_old: 300, ..Counts::default() };
        let moving = Counts { unsteady: 300, odd_moving: 300, noise: 300, ..burst };
        assert_eq!(one(Counts { p_by_stretch: Some(1e-6), ..moving }, TWICE).standing, Standing::Proven);
        assert_eq!(one(Counts { p_by_stretch: Some(0.3), ..moving }, TWICE).standing, Standing::Suspected);
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
    }

    #[test]
    fn what_differs_between_all_drives_cannot_be_judged() {
        let judged = one(Counts { raw: 90, noise: 90, compared: 90, odd_all: 90, ..Counts::default() }, TWICE);
        assert!(judged.unjudgeable);
        assert_eq!(judged.standing, Standing::Noise);
    }
}
