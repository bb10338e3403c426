//! Latency of each build, from the due time of a delivery to the arrival of the outputs it caused, and how new differs from old.
//!
//! Measured from the due time, never from the send: a build that blocks its input delays what waits behind, and that counts. A
//! redelivery has a due time of its own.

use std::io;

use hdrhistogram::Histogram;

use super::arrivals::{Arrivals, DeliveryId, Step};
use super::bootstrap::{Blocks, Estimate};
use super::{CompareError, Latency, LatencyFigures, LatencyIncrease};
use crate::outcome::{CauseView, Outcome};
use crate::plan::Phase;
use crate::spill::SpillSpace;

/// Share of false alarms that all tests on timing of one run may come to.
pub(super) const ALPHA: f64 = 0.01;

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
    /// Whether chance is ruled out: its interval lies above zero and its adjusted p-value below 0.01. Until the run's family of
    /// tests is known, the p-value is held against its share of 0.01 among the five quantiles.
    pub fn is_proven(&self) -> bool {
        let rare = self.q_value.map_or(self.p_value * Quantile::ALL.len() as f64 <= ALPHA, |q_value| q_value <= ALPHA);
        self.interval.0 > 0.0 && rare
    }

    fn minimum_effect(&self) -> f64 {
        let quantile = Quantile::ALL.into_iter().find(|quantile| (self.quantile - quantile.share()).abs() < 1e-9);
        quantile.map_or(0.10, Quantile::minimum_effect)
    }
}

/// Measures the latency of both builds and by how much new is slower.
///
/// Due times are those of the deliveries of `old`, or of `new` where `old` has none; both had the same plan. Outputs of the
/// warm-up, outputs without a known cause and lines that could not be read are left out. The n-th output that one delivery
/// caused in old is the pair of the n-th in new. `draw` gives evenly distributed bits for each counter, such as
/// [`Seed::draws`](crate::plan::Seed::draws), so that the same outcomes and seed give the same figures.
///
/// None where there is nothing to measure from: a drive was not paced, arrivals or deliveries are not known, or no output has
/// a known cause. Memory does not grow with the outcomes; what has to be sorted goes to `spill`.
///
/// # Errors
///
/// [`CompareError::Outcome`] where an outcome cannot be read, [`CompareError::Spill`] where the spill space cannot be written.
pub fn latency(
    old: &Outcome,
    new: &Outcome,
    draw: &dyn Fn(u64) -> u64,
    spill: &SpillSpace,
) -> Result<Option<Latency>, CompareError> {
    let paced = |outcome: &Outcome| outcome.is_timed() && outcome.ending().lateness.is_some();
    if !paced(old) || !paced(new) {
        return Ok(None);
    }
    let mut meter = LatencyMeter::new(spill);
    if !take_due(&mut meter, old)? && !take_due(&mut meter, new)? {
        return Ok(None);
    }
    take_arrivals(&mut meter, Step::Old, old)?;
    take_arrivals(&mut meter, Step::New, new)?;
    meter.measure(draw).map_err(CompareError::Spill)
}

/// Adds the due times of an outcome; false where it has no deliveries.
fn take_due(meter: &mut LatencyMeter<'_>, outcome: &Outcome) -> Result<bool, CompareError> {
    let Some(batches) = outcome.deliveries()? else { return Ok(false) };
    for batch in batches {
        for receipt in batch? {
            let delivery = receipt.delivery;
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

fn take_arrivals(meter: &mut LatencyMeter<'_>, build: Step, outcome: &Outcome) -> Result<(), CompareError> {
    for batch in outcome.outputs()? {
        let batch = batch?;
        for row in 0..batch.len() {
            let output = batch.get(row);
            let counts = output.phase != Phase::WarmUp && output.malformed.is_none();
            let Some(cause) = output.cause.filter(|_| counts) else { continue };
            let CauseView { topic, partition, offset, attempt, .. } = cause;
            let delivery = DeliveryId { topic, partition, offset, attempt };
            meter.arrived(build, delivery, output.sequence, output.arrived_us).map_err(CompareError::Spill)?;
        }
    }
    Ok(())
}

/// Gathers due times and arrivals of both builds and measures latency from them. Its memory does not grow with the recording.
#[derive(Debug)]
pub(super) struct LatencyMeter<'a> {
    arrivals: Arrivals<'a>,
    length_us: i64,
}

impl<'a> LatencyMeter<'a> {
    pub(super) fn new(spill: &'a SpillSpace) -> Self {
        Self { arrivals: Arrivals::new(spill), length_us: 0 }
    }

    /// Adds when a delivery was due.
    pub(super) fn due(&mut self, delivery: DeliveryId<'_>, due_us: i64) -> io::Result<()> {
        self.length_us = self.length_us.max(due_us.saturating_add(1));
        self.arrivals.add(delivery, Step::Due, 0, due_us)
    }

    /// Adds when an output that `delivery` caused arrived at a build.
    pub(super) fn arrived(
        &mut self,
        build: Step,
        delivery: DeliveryId<'_>,
        sequence: i64,
        at_us: i64,
    ) -> io::Result<()> {
        self.arrivals.add(delivery, build, sequence, at_us)
    }

    /// Measures both builds and tests the increases; none where no output of either has a known cause.
    pub(super) fn measure(self, draw: &dyn Fn(u64) -> u64) -> io::Result<Option<Latency>> {
        let (mut old, mut new) = (Tally::new(), Tally::new());
        let mut blocks = Blocks::new(self.length_us);
        self.arrivals.for_each(|answered| {
            let Some(due_us) = answered.due else { return };
            for at_us in &answered.old {
                old.add(at_us.saturating_sub(due_us));
            }
            for at_us in &answered.new {
                new.add(at_us.saturating_sub(due_us));
            }
            // The n-th output of one build stands for the n-th of the other.
            for (old_us, new_us) in answered.old.iter().zip(&answered.new) {
                blocks.add(due_us, old_us.saturating_sub(due_us), new_us.saturating_sub(due_us));
            }
        })?;
        if old.is_empty() && new.is_empty() {
            return Ok(None);
        }
        let increases =
            blocks.estimate(draw).into_iter().map(|(quantile, estimate)| increase(quantile, estimate)).collect();
        Ok(Some(Latency { old: old.figures(), new: new.figures(), increases }))
    }
}

fn increase(quantile: Quantile, estimate: Estimate) -> LatencyIncrease {
    let Estimate { log_ratio, interval, p_value } = estimate;
    let mut increase = LatencyIncrease {
        quantile: quantile.share(),
        increase: libm::expm1(log_ratio),
        interval: (libm::expm1(interval.0), libm::expm1(interval.1)),
        slower: false,
        p_value,
        q_value: None,
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
    fn latencies(seed: u64) -> Vec<f64> {
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
        (0..COUNT as u64).map(one).collect()
    }

    fn measure(seed: u64, slow: impl Fn(usize, f64) -> f64) -> Latency {
        let spill = SpillSpace::system();
        let mut meter = LatencyMeter::new(&spill);
        // What slows both, such as a burst of the input, is no difference.
        let (old, new) = (latencies(3 * seed), latencies(3 * seed + 1));
        for (number, (old_us, new_us)) in old.iter().zip(&new).enumerate() {
            let delivery = DeliveryId { topic: "flights", partition: 0, offset: number as i64, attempt: 0 };
            let due_us = number as i64 * GAP_US;
            meter.due(delivery, due_us).unwrap();
            meter.arrived(Step::Old, delivery, number as i64, due_us + *old_us as i64).unwrap();
            meter.arrived(Step::New, delivery, number as i64, due_us + slow(number, *new_us) as i64).unwrap();
        }
        meter.measure(&|counter| bits(3 * seed + 2, counter)).unwrap().unwrap()
    }

    fn slower(latency: &Latency) -> Vec<Quantile> {
        Quantile::ALL.into_iter().filter(|q| latency.increase_at(*q).is_some_and(|increase| increase.slower)).collect()
    }

    #[test]
    fn two_drives_of_one_build_pass_in_99_of_100_trials() {
        let alarms = (0..100).filter(|seed| !slower(&measure(*seed, |_, us| us)).is_empty()).count();
        assert!(alarms <= 1, "{alarms} false alarms in 100 trials");
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
            let latency = measure(seed, |number, us| if number % 200 < 3 { us + 40_000.0 } else { us });
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
        let mut meter = LatencyMeter::new(&spill);
        let delivery = |attempt| DeliveryId { topic: "flights", partition: 0, offset: 5, attempt };
        meter.due(delivery(0), 1_000).unwrap();
        meter.due(delivery(1), 900_000).unwrap();
        meter.arrived(Step::Old, delivery(0), 0, 1_300).unwrap();
        meter.arrived(Step::Old, delivery(1), 1, 900_300).unwrap();
        meter.arrived(Step::New, delivery(1), 0, 899_999).unwrap();
        let latency = meter.measure(&|counter| counter).unwrap().unwrap();
        assert_eq!((latency.old.count, latency.old.p50_us, latency.old.max_us), (2, Some(300), Some(300)));
        assert_eq!((latency.new.count, latency.new.p50_us), (1, Some(0)));
        assert!(latency.increases.is_empty());
    }

    #[test]
    fn outputs_without_a_planned_cause_measure_nothing() {
        let spill = SpillSpace::system();
        let mut meter = LatencyMeter::new(&spill);
        let delivery = DeliveryId { topic: "flights", partition: 0, offset: 5, attempt: 0 };
        meter.arrived(Step::Old, delivery, 0, 1_300).unwrap();
        assert_eq!(meter.measure(&|counter| counter).unwrap(), None);
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
