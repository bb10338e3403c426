//! How sure an increase of latency is: a bootstrap over blocks of time within drives, and Student's test between them.
//!
//! Latencies close in time are alike, since one pause delays all that wait for it. Stretches of time are therefore drawn,
//! never single outputs (circular block bootstrap, Politis and Romano 1992). Swings up to a fiftieth of the replay's length are
//! told from a slow-down that way. The drives' latencies of a block are drawn together: what slows all, such as a burst of the
//! input, cancels.
//!
//! What slows one drive from its beginning to its end, such as the core it was given, shows between drives only. So drives, not
//! outputs, are the units of a second test (random effects; Hurlbert, Ecological Monographs 54, 1984; Kalibera and Jones,
//! Rigorous benchmarking in reasonable time, 2013): new against the mean of the drives of old, by how far those lie apart, with
//! one degree of freedom less than there are drives of old. Under the hypothesis that new behaves like old the statistic has
//! Student's distribution whatever share of the noise arises within drives. An increase needs both tests, so its p-value is the
//! larger (intersection-union test, Berger 1982).

use super::latency::Quantile;

/// Blocks into which the length of a replay is cut.
pub(super) const BLOCKS: usize = 64;

/// Neighbouring blocks that are drawn together, so that what spans a few blocks counts once.
const STRETCH: usize = 4;

/// Fewer blocks than this with pairs in them say nothing about how one stretch differs from the next.
const BLOCKS_MIN: usize = 8 * STRETCH;

/// Draws of the bootstrap.
const DRAWS: usize = 1_000;

/// Width of a bin: each is this much higher than the one below.
const STEP: f64 = 1.005;

/// Bins from one microsecond to 50 days, the rest being kept in the last.
const BINS: usize = 5_900;

/// Latencies of outputs that all drives wrote, counted by block of time and bin of half a percent.
///
/// Its size is fixed, 1.5 MB a drive, however many outputs it holds.
#[derive(Debug)]
pub(super) struct Blocks {
    length_us: i64,
    outputs: u64,
    /// Those of old, then new.
    drives: Vec<Counts>,
}

/// What is known of one quantile. Ratios are logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// New over the mean of the drives of old.
    pub(super) log_ratio: f64,
    /// Its 95 % interval: percentiles of the draws, widened to Student's interval where old was driven more than once.
    pub(super) interval: (f64, f64),
    /// One-sided p-value that new is no slower; that of the draws alone where old was driven once.
    pub(super) p_value: f64,
    /// How old differs from itself; none where it was driven once.
    pub(super) noise: Option<Noise>,
}

/// How drives of old differ from each other at one quantile. Ratios are logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Noise {
    /// Drives of old.
    pub(super) drives: usize,
    /// Old again over old; of several the one that is furthest off.
    pub(super) log_ratio: f64,
    /// Its 95 % interval within the drives: percentiles of the draws.
    pub(super) interval: (f64, f64),
    /// Standard deviation of a drive of old.
    pub(super) deviation: f64,
}

/// Counts by bin and block: first per bin, then, once [`Counts::accumulate`] has run, of all bins up to it.
#[derive(Debug)]
struct Counts(Vec<[u32; BLOCKS]>);

impl Blocks {
    /// Makes blocks for a replay of `length_us` microseconds into so many drives, of which the last is that of new.
    pub(super) fn new(length_us: i64, drives: usize) -> Self {
        Self { length_us: length_us.max(1), outputs: 0, drives: (0..drives).map(|_| Counts::new()).collect() }
    }

    /// Counts the latency of one output in each drive, caused by a delivery that was due at `due_us`; all in microseconds.
    pub(super) fn add(&mut self, due_us: i64, latencies_us: impl IntoIterator<Item = i64>) {
        let share = i128::from(due_us.clamp(0, self.length_us - 1)) * BLOCKS as i128 / i128::from(self.length_us);
        for (counts, latency_us) in self.drives.iter_mut().zip(latencies_us) {
            counts.add(share as usize, latency_us);
        }
        self.outputs += 1;
    }

    /// Estimates the increase at each quantile that the number of outputs allows; none where too few blocks hold any.
    ///
    /// `draw` gives evenly distributed bits for each counter, and the same for the same counter.
    pub(super) fn estimate(mut self, draw: &dyn Fn(u64) -> u64) -> Vec<(Quantile, Estimate)> {
        self.drives.iter_mut().for_each(Counts::accumulate);
        let held: Vec<usize> = (0..BLOCKS).filter(|block| self.drives[0].total(*block) > 0).collect();
        if held.len() < BLOCKS_MIN {
            return Vec::new();
        }
        let quantiles: Vec<Quantile> =
            Quantile::ALL.into_iter().filter(|quantile| quantile.is_told_by(self.outputs)).collect();
        let start = vec![0; self.drives.len()];
        let wholes: Vec<Vec<f64>> =
            quantiles.iter().map(|quantile| self.log_quantiles(&[1; BLOCKS], *quantile, &start)).collect();
        let near: Vec<Vec<usize>> = wholes.iter().map(|logs| logs.iter().map(|log| bin(*log)).collect()).collect();
        let mut draws = vec![Vec::with_capacity(DRAWS); quantiles.len()];
        for number in 0..DRAWS {
            let weights = weights(number, &held, draw);
            for ((logs, quantile), near) in draws.iter_mut().zip(&quantiles).zip(&near) {
                logs.push(self.log_quantiles(&weights, *quantile, near));
            }
        }
        let estimates = quantiles.into_iter().zip(wholes).zip(draws);
        estimates.map(|((quantile, logs), draws)| (quantile, summarize(&logs, &draws, held.len()))).collect()
    }

    /// Returns the logarithm of `quantile` in each drive; the searches begin at the bins `near`.
    fn log_quantiles(&self, weights: &[u64; BLOCKS], quantile: Quantile, near: &[usize]) -> Vec<f64> {
        let each = self.drives.iter().zip(near);
        each.map(|(counts, near)| counts.log_quantile(weights, quantile.share(), *near)).collect()
    }
}

/// The bin in which a logarithm of a latency stands.
fn bin(log: f64) -> usize {
    ((log / libm::log(STEP)) as usize).min(BINS - 1)
}

/// Draws stretches of neighbouring blocks until there are as many blocks as were held, and counts how often each came.
fn weights(number: usize, held: &[usize], draw: &dyn Fn(u64) -> u64) -> [u64; BLOCKS] {
    let mut weights = [0; BLOCKS];
    for turn in 0..held.len() / STRETCH {
        let bits = draw((number * BLOCKS + turn) as u64);
        // The high half of the product: no remainder, so no block is favoured.
        let first = ((u128::from(bits) * held.len() as u128) >> 64) as usize;
        for next in first..first + STRETCH {
            weights[held[next % held.len()]] += 1;
        }
    }
    weights
}

/// Holds new, the last of `logs`, against the drives of old; `draws` are the same logarithms of each draw.
fn summarize(logs: &[f64], draws: &[Vec<f64>], blocks: usize) -> Estimate {
    let olds = logs.len() - 1;
    let increase = |logs: &[f64]| logs[olds] - mean(&logs[..olds]);
    let (log_ratio, within) = (increase(logs), Within::of(draws.iter().map(|logs| increase(logs))));
    let p_within = beyond(log_ratio / within.deviation, blocks / STRETCH - 1);
    if olds < 2 {
        return Estimate { log_ratio, interval: within.interval, p_value: p_within, noise: None };
    }
    let again = |drive: usize| move |logs: &[f64]| logs[drive] - logs[0];
    let furthest =
        (1..olds).max_by(|one, other| again(*one)(logs).abs().total_cmp(&again(*other)(logs).abs())).unwrap_or(1);
    let deviation = deviation(&logs[..olds]);
    let noise = Noise {
        drives: olds,
        log_ratio: again(furthest)(logs),
        interval: Within::of(draws.iter().map(|logs| again(furthest)(logs))).interval,
        deviation,
    };
    let error = standard_error(deviation, olds);
    let half = error * beyond_which(0.025, olds - 1);
    Estimate {
        log_ratio,
        interval: (within.interval.0.min(log_ratio - half), within.interval.1.max(log_ratio + half)),
        p_value: p_within.max(beyond(log_ratio / error, olds - 1)),
        noise: Some(noise),
    }
}

/// What the draws say of a ratio.
struct Within {
    interval: (f64, f64),
    deviation: f64,
}

impl Within {
    fn of(logs: impl Iterator<Item = f64>) -> Self {
        let mut logs: Vec<f64> = logs.collect();
        logs.sort_by(f64::total_cmp);
        let interval = (logs[logs.len() / 40], logs[logs.len() - 1 - logs.len() / 40]);
        Self { interval, deviation: deviation(&logs) }
    }
}

pub(super) fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

pub(super) fn deviation(of: &[f64]) -> f64 {
    let mean = mean(of);
    (of.iter().map(|one| (one - mean) * (one - mean)).sum::<f64>() / (of.len() - 1) as f64).sqrt()
}

/// Standard error of one drive of new over the mean of `olds` drives, each of which has this `deviation`.
pub(super) fn standard_error(deviation: f64, olds: usize) -> f64 {
    deviation * (1.0 + 1.0 / olds as f64).sqrt()
}

/// Returns how many drives of old would have told an increase of `log_ratio` by a p-value of `p_max` if drives went on deviating
/// as they do; none where a dozen would not.
pub(super) fn drives_to_tell(log_ratio: f64, deviation: f64, p_max: f64) -> Option<usize> {
    (2..=12).find(|olds| beyond(log_ratio / standard_error(deviation, *olds), olds - 1) <= p_max)
}

/// Returns the probability of more than `t` by Student's distribution: the finite sums of Abramowitz and Stegun, 26.7.3 and
/// 26.7.4, exact for every whole number of degrees of freedom. Nothing over nothing, where all drives agree, is no increase.
pub(super) fn beyond(t: f64, freedom: usize) -> f64 {
    if t.is_nan() {
        return 1.0;
    }
    let angle = libm::atan(t.abs() / (freedom as f64).sqrt());
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let odd = freedom % 2 == 1;
    // Each term is the one before times cos² and a ratio of neighbouring numbers.
    let (mut term, mut sum) = if odd { (cos, if freedom > 1 { cos } else { 0.0 }) } else { (1.0, 1.0) };
    let mut number = if odd { 3 } else { 2 };
    while number < freedom {
        term *= cos * cos * (number - 1) as f64 / number as f64;
        sum += term;
        number += 2;
    }
    let within = if odd { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    let beyond = ((1.0 - within) / 2.0).max(0.0);
    if t > 0.0 { beyond } else { 1.0 - beyond }
}

/// Returns the value beyond which Student's distribution has `p_value`.
pub(super) fn beyond_which(p_value: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    // Each turn halves the range: the last is narrower than a millionth.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(middle, freedom) > p_value {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Finds a range that holds the first bin for which `reached` is true, in strides that double away from `near`. The last bin
/// is always reached.
fn bracket(near: usize, reached: impl Fn(usize) -> bool) -> (usize, usize) {
    let mut stride = 1;
    if reached(near) {
        let mut high = near;
        while high > 0 && reached(high.saturating_sub(stride)) {
            high = high.saturating_sub(stride);
            stride *= 2;
        }
        return (high.saturating_sub(stride), high);
    }
    let mut low = near;
    while !reached((low + stride).min(BINS - 1)) {
        low += stride;
        stride *= 2;
    }
    (low + 1, (low + stride).min(BINS - 1))
}

impl Counts {
    fn new() -> Self {
        Self(vec![[0; BLOCKS]; BINS])
    }

    fn add(&mut self, block: usize, latency_us: i64) {
        // An arrival ahead of its inferred cause is kept as the shortest latency that can be told.
        let bin = libm::log(latency_us.max(1) as f64) / libm::log(STEP);
        let cell = &mut self.0[(bin as usize).min(BINS - 1)][block];
        *cell = cell.saturating_add(1);
    }

    fn accumulate(&mut self) {
        for bin in 1..self.0.len() {
            let (below, above) = self.0.split_at_mut(bin);
            for (count, sum) in above[0].iter_mut().zip(&below[bin - 1]) {
                *count = count.saturating_add(*sum);
            }
        }
    }

    fn total(&self, block: usize) -> u32 {
        self.0[BINS - 1][block]
    }

    fn up_to(&self, bin: usize, weights: &[u64; BLOCKS]) -> u64 {
        self.0[bin].iter().zip(weights).map(|(count, weight)| u64::from(*count) * weight).sum()
    }

    /// Returns the logarithm of the quantile `share` of all blocks, each counted as often as its weight says, evenly spread
    /// within its bin. The search begins at the bin `near`: draws differ little from each other.
    fn log_quantile(&self, weights: &[u64; BLOCKS], share: f64, near: usize) -> f64 {
        let wanted = share * self.up_to(BINS - 1, weights) as f64;
        let reached = |bin: usize| self.up_to(bin, weights) as f64 >= wanted;
        let (mut low, mut high) = bracket(near, reached);
        while low < high {
            let middle = usize::midpoint(low, high);
            if reached(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let below = if low == 0 { 0 } else { self.up_to(low - 1, weights) } as f64;
        let within = self.up_to(low, weights) as f64 - below;
        let fraction = if within > 0.0 { (wanted - below) / within } else { 0.0 };
        (low as f64 + fraction) * libm::log(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed() -> [u64; BLOCKS] {
        [1; BLOCKS]
    }

    #[test]
    fn a_quantile_is_told_to_half_a_percent() {
        let mut counts = Counts::new();
        for latency_us in 1..=100_000 {
            counts.add(latency_us as usize % BLOCKS, latency_us);
        }
        counts.accumulate();
        for share in [0.5, 0.9, 0.99, 0.999] {
            let quantile = counts.log_quantile(&weighed(), share, 0).exp();
            for near in [1, 17, 1_500, 2_170, BINS - 1] {
                let again = counts.log_quantile(&weighed(), share, near).exp();
                assert!((again - quantile).abs() < 1e-9, "{share}: {again} where the search begins at {near}");
            }
            assert!((quantile / (share * 100_000.0) - 1.0).abs() < 0.005, "{share}: {quantile}");
        }
    }

    #[test]
    fn a_latency_below_zero_or_beyond_measure_is_kept_at_the_edge() {
        let mut counts = Counts::new();
        counts.add(0, -5);
        counts.add(0, i64::MAX);
        counts.accumulate();
        assert_eq!(counts.0[0][0], 1);
        assert_eq!(counts.total(0), 2);
    }

    fn draw(counter: u64) -> u64 {
        counter.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The estimate at the median of drives whose latencies never change.
    fn constant(latencies_us: &[i64]) -> Estimate {
        let mut blocks = Blocks::new(1_000, latencies_us.len());
        (0..1_000).for_each(|due| blocks.add(due, latencies_us.iter().copied()));
        let (quantile, estimate) = blocks.estimate(&draw)[0];
        assert_eq!(quantile, Quantile::P50);
        estimate
    }

    #[test]
    fn a_constant_difference_is_certain_and_none_is_none() {
        for (latencies_us, ratio, p_value) in [
            (&[1_000, 1_000][..], 1.0, 1.0),
            (&[1_000, 1_300], 1.3, 0.0),
            (&[1_000, 1_000, 1_300], 1.3, 0.0),
            (&[1_000, 1_000, 1_000], 1.0, 1.0),
            (&[1_000, 1_000, 700], 0.7, 1.0),
        ] {
            let estimate = constant(latencies_us);
            assert!((estimate.log_ratio.exp() - ratio).abs() < 0.005, "{estimate:?}");
            assert!((estimate.p_value - p_value).abs() < 1e-12, "{estimate:?}");
        }
    }

    #[test]
    fn how_far_the_drives_of_old_lie_apart_widens_the_interval() {
        // Nothing varies within the drives: all that is unsure is what drives differ by.
        let [alone, twice, thrice] =
            [&[1_000, 1_300][..], &[1_000, 1_020, 1_300], &[1_000, 1_020, 1_010, 1_300]].map(constant);
        assert!(alone.noise.is_none() && (alone.interval.1 - alone.interval.0).abs() < 1e-9);
        let noise = twice.noise.unwrap();
        assert!((noise.log_ratio.exp() - 1.02).abs() < 0.005 && noise.drives == 2, "{noise:?}");
        // Student's distribution of one degree of freedom: 12.7 standard errors of a deviation of 1.4 % and a half more.
        assert!((0.06..0.10).contains(&twice.interval.0) && twice.p_value > 0.01, "{twice:?}");
        assert!((0.19..0.23).contains(&thrice.interval.0) && thrice.p_value < 0.002, "{thrice:?}");
        assert_eq!(drives_to_tell(twice.log_ratio, noise.deviation, 0.01), Some(3));
        assert_eq!(drives_to_tell(0.01, 0.5, 0.01), None);
    }

    #[test]
    fn outputs_in_a_few_blocks_only_give_no_estimate() {
        let mut blocks = Blocks::new(1_000_000, 2);
        (0..5_000).for_each(|due| blocks.add(due, [1_000, 2_000]));
        assert!(blocks.estimate(&|counter| counter).is_empty());
    }

    #[test]
    fn the_p_value_is_that_of_students_distribution() {
        for (t, freedom, expected) in [
            (63.657, 1, 0.005),
            (9.925, 2, 0.005),
            (5.841, 3, 0.005),
            (4.541, 3, 0.01),
            (3.747, 4, 0.01),
            (2.228, 10, 0.025),
            (4.0, 20, 0.000_352),
            (3.0, 63, 0.001_93),
            (-2.228, 10, 0.975),
        ] {
            let p_value = beyond(t, freedom);
            assert!((p_value / expected - 1.0).abs() < 0.005, "t {t}, {freedom}: {p_value}");
        }
        for (freedom, expected) in [(1, 12.706), (2, 4.303), (3, 3.182), (15, 2.131)] {
            assert!((beyond_which(0.025, freedom) - expected).abs() < 0.001, "{freedom}");
        }
        assert!((beyond(0.0, 3) - 0.5).abs() < 1e-12);
        for (t, expected) in [(f64::INFINITY, 0.0), (f64::NEG_INFINITY, 1.0), (f64::NAN, 1.0)] {
            assert!((beyond(t, 1) - expected).abs() < 1e-12 && (beyond(t, 2) - expected).abs() < 1e-12, "{t}");
        }
    }

    #[test]
    fn a_due_time_outside_the_replay_falls_into_the_nearest_block() {
        let mut blocks = Blocks::new(100, 2);
        blocks.add(-1, [10, 10]);
        blocks.add(1_000, [10, 10]);
        blocks.drives[0].accumulate();
        assert_eq!((blocks.drives[0].total(0), blocks.drives[0].total(BLOCKS - 1)), (1, 1));
    }
}
