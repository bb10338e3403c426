//! Latency of each build, from the due time of a delivery to the arrival of the outputs it caused, and how new differs from old.
//!
//! Measured from the due time, never from the send: a build that blocks its input delays what waits behind, and that counts. A
//! redelivery has a due time of its own.

use std::io;

use hdrhistogram::Histogram;

use super::ages::Ages;
use super::arrivals::{Arrivals, DeliveryId, Step};
use super::bootstrap::{Blocks, Estimate, drives_to_tell};
use super::few::Few;
use super::series::Grid;
use super::watched::go_on;
use super::{CompareError, Latency, LatencyFigures, LatencyIncrease, LatencyNoise};
use crate::outcome::{CauseView, Outcome};
use crate::plan::Phase;
use crate::spill::SpillSpace;

/// Share of false alarms that all tests on timing of one run may come to.
pub(super) const ALPHA: f64 = 0.01;

/// Most drives of old that are told apart.
const DRIVES_MAX: usize = 60;

/// A quantile at which latency is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
}

impl Quantile {
    /// All of them, rising.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P95, Self::P99, Self::P999];

    /// Returns its name, as `p99`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p999",
        }
    }

    /// Returns the share of latencies at or below it.
    pub const fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }

    /// Whether `count` latencies tell it: a hundred must lie beyond it, but the median is always told.
    pub const fn is_told_by(self, count: u64) -> bool {
        match self {
            Self::P50 => count > 0,
            Self::P90 => count >= 1_000,
            Self::P95 => count >= 2_000,
            Self::P99 => count >= 10_000,
            Self::P999 => count >= 100_000,
        }
    }

    /// Returns the smallest increase that matters where no gate says otherwise: 5 % at the median, 10 % beyond.
    pub const fn minimum_effect(self) -> f64 {
        match self {
            Self::P50 => 0.05,
            _ => 0.10,
        }
    }
}

impl LatencyFigures {
    /// Returns the latency at `quantile` in microseconds; none where too few outputs tell it.
    pub fn at(&self, quantile: Quantile) -> Option<i64> {
        match quantile {
            Quantile::P50 => self.p50_us,
            Quantile::P90 => self.p90_us,
            Quantile::P95 => self.p95_us,
            Quantile::P99 => self.p99_us,
            Quantile::P999 => self.p999_us,
        }
    }
}

impl Latency {
    /// Returns the increase at `quantile`; none where too few pairs tell it.
    pub fn increase_at(&self, quantile: Quantile) -> Option<&LatencyIncrease> {
        self.increases.iter().find(|increase| (increase.quantile - quantile.share()).abs() < 1e-9)
    }

    /// Takes the adjusted p-values of the run's family of tests, one an increase and in their order, and decides anew which
    /// increases are slower. The family's tests on timing are [`LatencyIncrease::p_value`].
    pub fn settle(&mut self, q_values: &[f64]) {
        for (increase, q_value) in self.increases.iter_mut().zip(q_values) {
            increase.q_value = Some(*q_value);
            increase.slower = increase.is_proven() && increase.increase >= increase.minimum_effect();
        }
    }
}

impl LatencyIncrease {
    /// Whether chance and the machine are ruled out: old was driven more than once, the increase lies beyond what old differs
    /// from itself by, its interval lies above zero, and its adjusted p-value below 0.01. Until the run's family of tests is
    /// known, the p-value is held against its share of 0.01 among the five quantiles.
    pub fn is_proven(&self) -> bool {
        let rare = self.q_value.map_or(self.p_value * Quantile::ALL.len() as f64 <= ALPHA, |q_value| q_value <= ALPHA);
        let beyond_noise = self.noise.as_ref().is_some_and(|noise| self.increase > noise.floor);
        self.interval.0 > 0.0 && beyond_noise && rare
    }

    /// Returns how many drives of old would have proven the increase if they went on differing as they do; none where that is
    /// not known, and where a dozen would not.
    pub fn drives_to_tell(&self) -> Option<usize> {
        let noise = self.noise.as_ref().filter(|noise| self.increase > noise.floor)?;
        // What the family leaves of the budget to this test.
        let share = self.q_value.map_or(Quantile::ALL.len() as f64, |q_value| (q_value / self.p_value).max(1.0));
        drives_to_tell(libm::log1p(self.increase), noise.deviation, ALPHA / share)
    }

    fn minimum_effect(&self) -> f64 {
        let quantile = Quantile::ALL.into_iter().find(|quantile| (self.quantile - quantile.share()).abs() < 1e-9);
        quantile.map_or(0.10, Quantile::minimum_effect)
    }
}

/// Measures the latency of both builds and by how much new is slower.
///
/// `old` are the drives of old, first the one that is compared; what the others differ from it by is the machine's noise, which
/// an increase must exceed. All must have been driven alike: new driven once more, by itself when the others are through, finds
/// another machine and has no place here. Drives of old that were not timed are left out, but for the first.
///
/// Due times are those of the deliveries of old, or of `new` where old has none; all had the same plan. Outputs of the
/// warm-up, outputs without a known cause and lines that could not be read are left out. The n-th outputs that one delivery
/// caused in each drive stand for each other. `draw` gives evenly distributed bits for each counter, such as
/// [`Seed::draws`](crate::plan::Seed::draws), so that the same outcomes and seed give the same figures.
///
/// None where there is nothing to measure from: a drive was not paced, arrivals or deliveries are not known, or no output has
/// a known cause. Memory does not grow with the outcomes; what has to be sorted goes to `spill`.
///
/// # Errors
///
/// [`CompareError::NoDrive`] where there is no drive of old, [`CompareError::TooManyDrives`] where there are more than 60,
/// [`CompareError::Outcome`] where an outcome cannot be read, [`CompareError::Spill`] where the spill space cannot be written,
/// [`CompareError::Stopped`] where it is withdrawn.
pub fn latency(
    old: &[Outcome],
    new: &Outcome,
    draw: &dyn Fn(u64) -> u64,
    spill: &SpillSpace,
) -> Result<Option<Latency>, CompareError> {
    Ok(latency_and_ages(old, new, draw, None, spill)?.map(|measured| measured.latency))
}

/// Latency, and on the way the ages of events in each drive of old, then of new; none of a drive that was left out.
pub(super) struct LatencyAndAges {
    pub(super) latency: Latency,
    pub(super) ages: Vec<Option<Ages>>,
}

/// Measures latency as [`latency`] does, and on the way the ages of events over `grid`: of each drive of old, then of new; none of a drive
/// that was left out.
pub(super) fn latency_and_ages(
    old: &[Outcome],
    new: &Outcome,
    draw: &dyn Fn(u64) -> u64,
    grid: Option<Grid>,
    spill: &SpillSpace,
) -> Result<Option<LatencyAndAges>, CompareError> {
    let paced = |outcome: &&Outcome| outcome.is_timed() && outcome.ending().lateness.is_some();
    let (first, again) = old.split_first().ok_or(CompareError::NoDrive { build: "old" })?;
    if old.len() > DRIVES_MAX {
        return Err(CompareError::TooManyDrives { drives: old.len() });
    }
    if !paced(&first) || !paced(&new) {
        return Ok(None);
    }
    let drives: Vec<&Outcome> = std::iter::once(first).chain(again.iter().filter(paced)).chain([new]).collect();
    let mut meter = LatencyMeter::new(drives.len(), spill);
    if !take_due(&mut meter, first)? && !take_due(&mut meter, new)? {
        return Ok(None);
    }
    for (drive, outcome) in drives.into_iter().enumerate() {
        take_arrivals(&mut meter, drive as u8, outcome)?;
    }
    meter.ages = grid.map(|grid| vec![Ages::new(grid); meter.drives]).unwrap_or_default();
    let mut ages = Vec::new();
    let latency = meter.measure(draw, &mut ages)?;
    let mut ages = ages.into_iter();
    let taken = (0..).zip(old).map(|(at, outcome)| at == 0 || paced(&outcome)).chain([true]);
    let ages = taken.map(|is_taken| if is_taken { ages.next() } else { None }).collect();
    Ok(latency.map(|latency| LatencyAndAges { latency, ages }))
}

/// Adds the due times of an outcome; false where it has no deliveries.
fn take_due(meter: &mut LatencyMeter<'_>, outcome: &Outcome) -> Result<bool, CompareError> {
    let Some(batches) = outcome.deliveries()? else { return Ok(false) };
    for batch in batches {
        for receipt in batch? {
            let delivery = receipt.delivery;
            go_on(meter.spill())?;
            let topic = outcome.topics().get(delivery.topic as usize).filter(|_| delivery.phase != Phase::WarmUp);
            let Some(topic) = topic else { continue };
            let (partition, offset, attempt) = (delivery.partition, delivery.offset, delivery.attempt);
            meter
                .due(DeliveryId { topic, partition, offset, attempt }, delivery.due_us)
                .map_err(CompareError::Spill)?;
        }
    }
    Ok(true)
}

fn take_arrivals(meter: &mut LatencyMeter<'_>, drive: u8, outcome: &Outcome) -> Result<(), CompareError> {
    for batch in outcome.outputs()? {
        let batch = batch?;
        for row in 0..batch.len() {
            go_on(meter.spill())?;
            let output = batch.get(row);
            let counts = output.phase != Phase::WarmUp && output.malformed.is_none();
            let Some(cause) = output.cause.filter(|_| counts) else { continue };
            let CauseView { topic, partition, offset, attempt, .. } = cause;
            let delivery = DeliveryId { topic, partition, offset, attempt };
            meter.arrived(drive, delivery, output.sequence, output.arrived_us).map_err(CompareError::Spill)?;
        }
    }
    Ok(())
}

/// Gathers due times and arrivals of all drives and measures latency from them. Its memory does not grow with the recording.
#[derive(Debug)]
pub(super) struct LatencyMeter<'a> {
    arrivals: Arrivals<'a>,
    drives: usize,
    length_us: i64,
    /// Ages of events by drive; empty where nobody asks for them.
    ages: Vec<Ages>,
}

impl<'a> LatencyMeter<'a> {
    /// Makes one for so many drives: those of old, and one of new, which is the last.
    pub(super) fn new(drives: usize, spill: &'a SpillSpace) -> Self {
        Self { arrivals: Arrivals::new(drives, spill), drives, length_us: 0, ages: Vec::new() }
    }

    fn spill(&self) -> &'a SpillSpace {
        self.arrivals.spill
    }

    /// Adds when a delivery was due.
    pub(super) fn due(&mut self, delivery: DeliveryId<'_>, due_us: i64) -> io::Result<()> {
        self.length_us = self.length_us.max(due_us.saturating_add(1));
        self.arrivals.add(delivery, Step::Due, 0, due_us)
    }

    /// Adds when an output that `delivery` caused arrived in a drive, by its number.
    pub(super) fn arrived(&mut self, drive: u8, delivery: DeliveryId<'_>, sequence: i64, at_us: i64) -> io::Result<()> {
        self.arrivals.add(delivery, Step::Arrived(drive), sequence, at_us)
    }

    /// Measures both builds and tests the increases; none where no output of either has a known cause. Ages go to `ages`.
    pub(super) fn measure(
        mut self,
        draw: &dyn Fn(u64) -> u64,
        ages: &mut Vec<Ages>,
    ) -> Result<Option<Latency>, CompareError> {
        let (mut old, mut new) = (Tally::new(), Tally::new());
        let mut blocks = Blocks::new(self.length_us, self.drives);
        let mut few = Few::default();
        let last = self.drives - 1;
        self.arrivals.for_each(|answered| {
            let Some(due_us) = answered.due else { return };
            let since = |at_us: &i64| at_us.saturating_sub(due_us);
            for (tally, drive) in [(&mut old, 0), (&mut new, last)] {
                answered.arrivals[drive].iter().for_each(|at_us| tally.add(since(at_us)));
            }
            for (ages, arrival) in self.ages.iter_mut().zip(&answered.arrivals) {
                if let Some(at_us) = arrival {
                    ages.add(due_us, since(at_us));
                }
            }
            // The n-th output in one drive stands for the n-th in every other.
            if answered.arrivals.iter().all(Option::is_some) {
                blocks.add(due_us, answered.arrivals.iter().flatten().map(since));
                few.add(due_us, answered.arrivals.iter().flatten().map(since));
            }
        })?;
        ages.append(&mut self.ages);
        if old.is_empty() && new.is_empty() {
            return Ok(None);
        }
        let mut estimates = blocks.estimate(draw);
        if estimates.is_empty() {
            estimates.extend(few.estimate());
        }
        let increases = estimates.into_iter().map(|(quantile, estimate)| increase(quantile, estimate)).collect();
        Ok(Some(Latency { old: old.figures(), new: new.figures(), increases }))
    }
}

fn increase(quantile: Quantile, estimate: Estimate) -> LatencyIncrease {
    let Estimate { log_ratio, interval, p_value, noise } = estimate;
    let both = |(low, high): (f64, f64)| (libm::expm1(low), libm::expm1(high));
    let mut increase = LatencyIncrease {
        quantile: quantile.share(),
        increase: libm::expm1(log_ratio),
        interval: both(interval),
        slower: false,
        p_value,
        q_value: None,
        noise: noise.map(|noise| LatencyNoise {
            drives: noise.drives as u64,
            increase: libm::expm1(noise.log_ratio),
            interval: both(noise.interval),
            floor: libm::expm1(noise.interval.0.abs().max(noise.interval.1.abs())),
            deviation: noise.deviation,
        }),
    };
    increase.slower = increase.is_proven() && increase.increase >= quantile.minimum_effect();
    increase
}

/// Latencies of one build: quantiles to three digits, the largest exactly.
#[derive(Debug)]
struct Tally {
    histogram: Histogram<u64>,
    max_us: Option<i64>,
}

impl Tally {
    /// Longest latency that is told apart: twelve days.
    const HIGHEST_US: u64 = 1 << 40;

    fn new() -> Self {
        let histogram =
            Histogram::new_with_max(Self::HIGHEST_US, 3).expect("three digits and a bound above two are taken");
        Self { histogram, max_us: None }
    }

    /// Adds a latency; below zero, where an inferred cause was handed over after the output, it counts as zero.
    fn add(&mut self, latency_us: i64) {
        let latency_us = latency_us.max(0);
        self.histogram.saturating_record(latency_us.cast_unsigned());
        self.max_us = self.max_us.max(Some(latency_us));
    }

    fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    fn figures(&self) -> LatencyFigures {
        let count = self.histogram.len();
        let at = |quantile: Quantile| {
            quantile.is_told_by(count).then(|| self.histogram.value_at_quantile(quantile.share()) as i64)
        };
        LatencyFigures {
            count,
            p50_us: at(Quantile::P50),
            p90_us: at(Quantile::P90),
            p95_us: at(Quantile::P95),
            p99_us: at(Quantile::P99),
            p999_us: at(Quantile::P999),
            max_us: self.max_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    /// Deliveries of a trial.
    const COUNT: i64 = 20_000;

    /// Microseconds between two of them.
    const GAP_US: i64 = 500;

    fn bits(seed: u64, counter: u64) -> u64 {
        xxh3_64_with_seed(&counter.to_le_bytes(), seed)
    }

    fn unit(seed: u64, counter: u64) -> f64 {
        ((bits(seed, counter) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(seed: u64, counter: u64) -> f64 {
        let radius = (-2.0 * unit(seed, 2 * counter).ln()).sqrt();
        radius * (std::f64::consts::TAU * unit(seed, 2 * counter + 1)).cos()
    }

    /// Latencies of one drive as real ones are: log-normal about 2 ms with a Pareto tail, slow swings that neighbours share,
    /// and now and then a pause after which all that waited comes at once.
    fn latencies(count: i64, seed: u64) -> Vec<f64> {
        let (mut swing, mut pause_us) = (0.0_f64, 0.0_f64);
        let one = |number: u64| {
            swing = 0.98 * swing + 0.05 * normal(seed, 4 * number);
            let base = 2_000.0 * (0.4 * normal(seed, 4 * number + 1) + swing).exp();
            let tail =
                if unit(seed, 8 * number + 3) < 0.03 { unit(seed, 8 * number + 4).powf(-1.0 / 1.8) } else { 1.0 };
            if unit(seed, 8 * number + 5) < 0.000_2 {
                pause_us = 40_000.0 * unit(seed, 8 * number + 6);
            }
            pause_us = (pause_us - GAP_US as f64).max(0.0);
            base * tail + pause_us
        };
        (0..count as u64).map(one).collect()
    }

    /// Measures drives of old and one of new, each of which the machine slows by its own factor, given in the order of `drives`.
    fn measure_on(seed: u64, drives: &[f64], slow: impl Fn(usize, f64) -> f64) -> Latency {
        measure_some(COUNT, seed, drives, slow)
    }

    fn measure_some(count: i64, seed: u64, drives: &[f64], slow: impl Fn(usize, f64) -> f64) -> Latency {
        let spill = SpillSpace::system();
        let mut meter = LatencyMeter::new(drives.len(), &spill);
        let delivery = |number| DeliveryId { topic: "flights", partition: 0, offset: number, attempt: 0 };
        for number in 0..count {
            meter.due(delivery(number), number * GAP_US).unwrap();
        }
        for (drive, factor) in drives.iter().enumerate() {
            for (number, us) in latencies(count, 32 * seed + drive as u64).into_iter().enumerate() {
                let us = if drive == drives.len() - 1 { slow(number, us) } else { us };
                let at_us = number as i64 * GAP_US + (factor * us) as i64;
                meter.arrived(drive as u8, delivery(number as i64), number as i64, at_us).unwrap();
            }
        }
        meter.measure(&|counter| bits(32 * seed + 31, counter), &mut Vec::new()).unwrap().unwrap()
    }

    /// Eight drives of old and one of new on a machine that treats all alike.
    fn measure(seed: u64, slow: impl Fn(usize, f64) -> f64) -> Latency {
        measure_on(seed, &[1.0; 9], slow)
    }

    /// What a busy machine does to each of `count` drives as a whole: a third more or less is nothing rare.
    fn busy(seed: u64, count: u64) -> Vec<f64> {
        (0..count).map(|drive| (0.3 * normal(seed ^ 0xB05E, drive)).exp()).collect()
    }

    fn slower(latency: &Latency) -> Vec<Quantile> {
        Quantile::ALL.into_iter().filter(|q| latency.increase_at(*q).is_some_and(|increase| increase.slower)).collect()
    }

    /// Trials of drives of one build.
    const TRIALS: u64 = 300;

    /// Latencies of one drive by the same law as [`latencies`], from draws that cost less: normal ones are sums of four even ones.
    struct Cheap {
        state: u64,
        swing: f64,
        pause_us: f64,
        /// Share of outputs at which it pauses.
        pauses: f64,
        /// How much neighbours share.
        share: f64,
    }

    impl Cheap {
        fn new(seed: u64, pauses: f64) -> Self {
            // Neighbours share more of what a machine that pauses does to them.
            let share = if pauses > 0.0 { 0.05 } else { 0.02 };
            Self { state: bits(seed, 0), swing: 0.0, pause_us: 0.0, pauses, share }
        }

        fn bits(&mut self) -> u64 {
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        fn unit(&mut self) -> f64 {
            ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            let bits = self.bits();
            let even = |at: u32| ((bits >> (16 * at)) & 0xFFFF) as f64 / 65_536.0;
            (even(0) + even(1) + even(2) + even(3) - 2.0) * 3.0_f64.sqrt()
        }

        fn next_us(&mut self) -> f64 {
            self.swing = 0.98 * self.swing + self.share * self.normal();
            let base = 2_000.0 * (0.4 * self.normal() + self.swing).exp();
            let tail = if self.unit() < 0.03 { self.unit().powf(-1.0 / 1.8) } else { 1.0 };
            if self.unit() < self.pauses {
                self.pause_us = 40_000.0 * self.unit();
            }
            self.pause_us = (self.pause_us - GAP_US as f64).max(0.0);
            base * tail + self.pause_us
        }
    }

    /// What a trial of `count` outputs with a share of `pauses` says at each quantile; the last of `drives` is new, which does `slow` to its latencies.
    fn trial(
        (count, pauses): (i64, f64),
        seed: u64,
        drives: &[f64],
        slow: impl Fn(f64) -> f64,
    ) -> Vec<LatencyIncrease> {
        let mut blocks = Blocks::new(count * GAP_US, drives.len());
        let mut cheap: Vec<Cheap> =
            (0..drives.len() as u64).map(|drive| Cheap::new(64 * seed + drive, pauses)).collect();
        for number in 0..count {
            let of = |(at, cheap): (usize, &mut Cheap)| {
                let us = drives[at] * cheap.next_us();
                (if at + 1 == drives.len() { slow(us) } else { us }) as i64
            };
            blocks.add(number * GAP_US, cheap.iter_mut().enumerate().map(of).collect::<Vec<_>>());
        }
        let estimates = blocks.estimate(&|counter| bits(64 * seed + 63, counter)).into_iter();
        estimates.map(|(quantile, estimate)| increase(quantile, estimate)).collect()
    }

    /// Counts false alarms among trials of drives of one build, which is driven twice as old; so many outputs as tell the median, p90 and p95.
    fn alarms(machine: impl Fn(u64, u64) -> Vec<f64> + Sync) -> usize {
        in_trials(TRIALS, |seed| {
            trial((2_000, 0.000_2), seed, &machine(seed, 3), |us| us).iter().any(|found| found.slower)
        })
    }

    /// Counts the trials, by seed, of which `is_so` is true.
    fn in_trials(trials: u64, is_so: impl Fn(u64) -> bool + Sync) -> usize {
        let half = |from: u64| (from..trials).step_by(2).filter(|seed| is_so(*seed)).count();
        std::thread::scope(|scope| {
            let odd = scope.spawn(|| half(1));
            half(0) + odd.join().unwrap()
        })
    }

    #[test]
    fn drives_of_one_build_pass_in_99_of_100_trials() {
        let alarms = alarms(|_, count| vec![1.0; count as usize]);
        assert!(alarms <= 3, "{alarms} false alarms in {TRIALS} trials");
    }

    #[test]
    fn drives_of_one_build_pass_in_99_of_100_trials_on_a_busy_machine() {
        let alarms = alarms(busy);
        assert!(alarms <= 3, "{alarms} false alarms in {TRIALS} trials");
    }

    #[test]
    fn a_tenth_more_at_the_median_and_a_fifth_more_at_p99_are_found_in_95_of_100_trials() {
        // Six drives of old on a machine that rarely pauses; at p99 only what takes longer than twice the median is slower.
        const COUNT: i64 = 20_000;
        let found = |quantile: Quantile, slow: fn(f64) -> f64| {
            in_trials(20, |seed| {
                let increases = trial((COUNT, 0.0), 1_000 + seed, &[1.0; 7], slow);
                increases.iter().any(|found| found.slower && (found.quantile - quantile.share()).abs() < 1e-9)
            })
        };
        let median = found(Quantile::P50, |us| us * 1.1);
        let p99 = found(Quantile::P99, |us| if us > 4_000.0 { us * 1.2 } else { us });
        assert!(median >= 19 && p99 >= 19, "{median} and {p99} of 20 trials");
    }

    #[test]
    fn what_slows_all_drives_alike_is_no_increase_and_hides_none() {
        for seed in 400..403 {
            assert!(slower(&measure_on(seed, &[3.0; 5], |_, us| us)).is_empty());
            assert!(slower(&measure_on(seed, &[3.0; 5], |_, us| us * 1.5)).contains(&Quantile::P50));
        }
    }

    #[test]
    fn an_increase_counts_only_beyond_what_old_differs_from_itself_by() {
        let median = |drives: &[f64], by: f64| {
            let latency = measure_on(500, drives, |_, us| us * by);
            latency.increase_at(Quantile::P50).unwrap().clone()
        };
        // Old again is two fifths slower than old by the machine's doing: new may be, too.
        let unsteady = median(&[1.0, 1.4, 1.0], 1.43);
        assert!(!unsteady.slower && unsteady.increase > 0.15 && unsteady.interval.0 < 0.0, "{unsteady:?}");
        let noise = unsteady.noise.as_ref().unwrap();
        assert!((0.3..0.5).contains(&noise.increase) && noise.floor > 0.35, "{noise:?}");
        // The same increase on a steady machine counts, and so does on that one what no machine makes.
        assert!(median(&[1.0; 5], 1.43).slower);
        let huge = median(&[1.0, 1.4, 1.2, 1.1, 1.2], 20.0);
        assert!(huge.slower && huge.noise.as_ref().unwrap().drives == 4, "{huge:?}");
        assert_eq!(unsteady.drives_to_tell(), None, "{unsteady:?}");
    }

    #[test]
    fn the_drives_that_would_have_told_tell() {
        let shaky = [1.0, 1.04, 0.98, 1.03, 0.97, 1.02, 1.0, 1.0];
        let told_by = |olds: usize| {
            let drives: Vec<f64> = shaky[..olds].iter().copied().chain([1.0]).collect();
            measure_on(600, &drives, |_, us| us * 1.3).increase_at(Quantile::P50).unwrap().clone()
        };
        let (twice, enough) = (told_by(2), told_by(2).drives_to_tell().unwrap());
        assert!(!twice.slower && (3..=6).contains(&enough), "{enough}: {twice:?}");
        assert!(told_by(enough + 1).slower, "{:?}", told_by(enough + 1));
    }

    #[test]
    fn with_one_drive_of_old_nothing_is_proven() {
        let latency = measure_on(700, &[1.0, 1.0], |_, us| us * 2.0);
        let median = latency.increase_at(Quantile::P50).unwrap();
        assert!(median.noise.is_none() && median.interval.0 > 0.5 && !median.is_proven(), "{median:?}");
    }

    #[test]
    fn a_fifth_more_at_the_median_is_found() {
        for seed in 200..210 {
            let latency = measure(seed, |_, us| us * 1.2);
            assert!(slower(&latency).contains(&Quantile::P50), "{:?}", latency.increases);
            let median = latency.increase_at(Quantile::P50).unwrap();
            assert!((0.1..0.3).contains(&median.increase), "{median:?}");
        }
    }

    #[test]
    fn a_slow_down_of_the_slowest_alone_is_found_at_p99_and_not_at_the_median() {
        let mut at_median = 0;
        for seed in 300..310 {
            // Three in two hundred: too few to move the median by more than a hundredth.
            let latency = measure(seed, |number, us| if number % 200 < 3 { us + 400_000.0 } else { us });
            let found = slower(&latency);
            assert!(found.contains(&Quantile::P99), "{:?}", latency.increases);
            at_median += usize::from(found.contains(&Quantile::P50));
        }
        assert!(at_median <= 1, "{at_median} of 10");
    }

    #[test]
    fn the_same_latencies_and_draws_give_the_same_figures() {
        assert_eq!(measure(7, |_, us| us), measure(7, |_, us| us));
    }

    #[test]
    fn a_quantile_is_told_only_where_a_hundred_lie_beyond_it() {
        for (quantile, least) in [
            (Quantile::P50, 1),
            (Quantile::P90, 1_000),
            (Quantile::P95, 2_000),
            (Quantile::P99, 10_000),
            (Quantile::P999, 100_000),
        ] {
            assert!(quantile.is_told_by(least) && !quantile.is_told_by(least - 1), "{quantile:?}");
        }
        let latency = measure(1, |_, us| us);
        assert!(latency.old.p99_us.is_some() && latency.old.p999_us.is_none());
        assert_eq!(latency.increases.len(), 4);
    }

    #[test]
    fn latency_is_measured_from_the_due_time_of_the_very_delivery() {
        let spill = SpillSpace::system();
        let mut meter = LatencyMeter::new(2, &spill);
        let delivery = |attempt| DeliveryId { topic: "flights", partition: 0, offset: 5, attempt };
        meter.due(delivery(0), 1_000).unwrap();
        meter.due(delivery(1), 900_000).unwrap();
        meter.arrived(0, delivery(0), 0, 1_300).unwrap();
        meter.arrived(0, delivery(1), 1, 900_300).unwrap();
        meter.arrived(1, delivery(1), 0, 899_999).unwrap();
        let latency = meter.measure(&|counter| counter, &mut Vec::new()).unwrap().unwrap();
        assert_eq!((latency.old.count, latency.old.p50_us, latency.old.max_us), (2, Some(300), Some(300)));
        assert_eq!((latency.new.count, latency.new.p50_us), (1, Some(0)));
        assert!(latency.increases.is_empty());
    }

    #[test]
    fn outputs_without_a_planned_cause_measure_nothing() {
        let spill = SpillSpace::system();
        let mut meter = LatencyMeter::new(2, &spill);
        let delivery = DeliveryId { topic: "flights", partition: 0, offset: 5, attempt: 0 };
        meter.arrived(0, delivery, 0, 1_300).unwrap();
        assert_eq!(meter.measure(&|counter| counter, &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn the_adjusted_p_values_of_the_family_decide_what_is_slower() {
        let mut latency = measure(200, |_, us| us * 1.2);
        assert!(slower(&latency).contains(&Quantile::P50));
        latency.settle(&[0.5; 4]);
        assert!(slower(&latency).is_empty());
        latency.settle(&[0.000_1; 4]);
        assert!(slower(&latency).contains(&Quantile::P50));
    }
}
