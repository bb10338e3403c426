//! How sure an increase of latency is: a bootstrap over blocks of time.
//!
//! Latencies close in time are alike, since one pause delays all that wait for it. Stretches of time are therefore drawn,
//! never single pairs (circular block bootstrap, Politis and Romano 1992). Swings up to a fiftieth of the replay's length are
//! told from a slow-down; what lasts longer in one drive alone cannot be. Both builds' latencies of a block are drawn together:
//! what slows both, such as a burst of the input, cancels.

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

/// Pairs of latencies, counted by block of time and bin of half a percent.
///
/// Its size is fixed, 3 MB, however many pairs it holds.
#[derive(Debug)]
pub(super) struct Blocks {
    length_us: i64,
    pairs: u64,
    old: Counts,
    new: Counts,
}

/// What the bootstrap says of one quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// Logarithm of new over old.
    pub(super) log_ratio: f64,
    /// Its 95 % interval: percentiles of the draws.
    pub(super) interval: (f64, f64),
    /// Two-sided p-value of no difference, by Student's distribution with the draws' own deviation.
    pub(super) p_value: f64,
}

/// Counts by bin and block: first per bin, then, once [`Counts::accumulate`] has run, of all bins up to it.
#[derive(Debug)]
struct Counts(Vec<[u32; BLOCKS]>);

impl Blocks {
    /// Makes blocks for a replay of `length_us` microseconds.
    pub(super) fn new(length_us: i64) -> Self {
        Self { length_us: length_us.max(1), pairs: 0, old: Counts::new(), new: Counts::new() }
    }

    /// Counts a pair of latencies of one delivery that was due at `due_us`; all in microseconds.
    pub(super) fn add(&mut self, due_us: i64, old_us: i64, new_us: i64) {
        let share = i128::from(due_us.clamp(0, self.length_us - 1)) * BLOCKS as i128 / i128::from(self.length_us);
        let block = share as usize;
        self.old.add(block, old_us);
        self.new.add(block, new_us);
        self.pairs += 1;
    }

    /// Estimates the increase at each quantile that the number of pairs allows; none where too few blocks hold pairs.
    ///
    /// `draw` gives evenly distributed bits for each counter, and the same for the same counter.
    pub(super) fn estimate(mut self, draw: &dyn Fn(u64) -> u64) -> Vec<(Quantile, Estimate)> {
        self.old.accumulate();
        self.new.accumulate();
        let held: Vec<usize> = (0..BLOCKS).filter(|block| self.old.total(*block) > 0).collect();
        if held.len() < BLOCKS_MIN {
            return Vec::new();
        }
        let quantiles: Vec<Quantile> =
            Quantile::ALL.into_iter().filter(|quantile| quantile.is_told_by(self.pairs)).collect();
        let whole = [1; BLOCKS];
        let wholes: Vec<(f64, Near)> =
            quantiles.iter().map(|quantile| self.log_ratio(&whole, *quantile, Near::default())).collect();
        let mut draws = vec![Vec::with_capacity(DRAWS); quantiles.len()];
        for number in 0..DRAWS {
            let weights = weights(number, &held, draw);
            for ((logs, quantile), (_, near)) in draws.iter_mut().zip(&quantiles).zip(&wholes) {
                logs.push(self.log_ratio(&weights, *quantile, *near).0);
            }
        }
        let estimates = quantiles.into_iter().zip(wholes).zip(draws);
        estimates.map(|((quantile, (log, _)), logs)| (quantile, summarize(log, logs, held.len()))).collect()
    }

    /// Returns the logarithm of new over old at `quantile`, and the bins where both stand; the search begins at `near`.
    fn log_ratio(&self, weights: &[u64; BLOCKS], quantile: Quantile, near: Near) -> (f64, Near) {
        let old = self.old.log_quantile(weights, quantile.share(), near.old);
        let new = self.new.log_quantile(weights, quantile.share(), near.new);
        let bin = |log: f64| ((log / libm::log(STEP)) as usize).min(BINS - 1);
        (new - old, Near { old: bin(old), new: bin(new) })
    }
}

/// Bins at which a search begins.
#[derive(Debug, Clone, Copy, Default)]
struct Near {
    old: usize,
    new: usize,
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

fn summarize(log_ratio: f64, mut logs: Vec<f64>, blocks: usize) -> Estimate {
    logs.sort_by(f64::total_cmp);
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>() / (logs.len() - 1) as f64;
    let interval = (logs[logs.len() / 40], logs[logs.len() - 1 - logs.len() / 40]);
    Estimate { log_ratio, interval, p_value: two_sided(log_ratio, variance.sqrt(), blocks / STRETCH - 1) }
}

/// Returns the two-sided p-value of Student's distribution, by Wallace's approximation (Annals of Mathematical Statistics 30,
/// 1959), good to a few percent of the value from seven degrees of freedom on.
///
/// The draws alone could not tell apart what is rarer than one in a thousand, and many tests share one budget of errors.
fn two_sided(estimate: f64, deviation: f64, freedom: usize) -> f64 {
    if estimate == 0.0 {
        return 1.0;
    }
    if deviation == 0.0 {
        return 0.0;
    }
    let t = (estimate / deviation).abs();
    let freedom = freedom as f64;
    let z = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * (freedom * libm::log1p(t * t / freedom)).sqrt();
    libm::erfc(z / std::f64::consts::SQRT_2)
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

    #[test]
    fn a_constant_difference_is_certain_and_none_is_none() {
        for (new_us, ratio, p_value) in [(1_000, 1.0, 1.0), (1_300, 1.3, 0.0)] {
            let mut blocks = Blocks::new(1_000);
            (0..1_000).for_each(|due| blocks.add(due, 1_000, new_us));
            let (quantile, estimate) = blocks.estimate(&|counter| counter.wrapping_mul(0x9E37_79B9_7F4A_7C15))[0];
            assert_eq!(quantile, Quantile::P50);
            assert!((estimate.log_ratio.exp() - ratio).abs() < 0.005, "{estimate:?}");
            assert!((estimate.p_value - p_value).abs() < 1e-12, "{estimate:?}");
        }
    }

    #[test]
    fn pairs_in_a_few_blocks_only_give_no_estimate() {
        let mut blocks = Blocks::new(1_000_000);
        (0..5_000).for_each(|due| blocks.add(due, 1_000, 2_000));
        assert!(blocks.estimate(&|counter| counter).is_empty());
    }

    #[test]
    fn the_p_value_is_that_of_students_distribution() {
        for (t, freedom, expected) in [(3.0, 63, 0.003_87), (2.0, 63, 0.049_8), (4.0, 20, 0.000_705), (2.228, 10, 0.05)]
        {
            let p_value = two_sided(t, 1.0, freedom);
            assert!((p_value / expected - 1.0).abs() < 0.02, "t {t}, {freedom}: {p_value}");
        }
    }

    #[test]
    fn a_due_time_outside_the_replay_falls_into_the_nearest_block() {
        let mut blocks = Blocks::new(100);
        blocks.add(-1, 10, 10);
        blocks.add(1_000, 10, 10);
        blocks.old.accumulate();
        assert_eq!((blocks.old.total(0), blocks.old.total(BLOCKS - 1)), (1, 1));
    }
}
