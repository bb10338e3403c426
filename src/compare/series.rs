//! Figures of every drive over replay time, in buckets that are the same for all: what was handed over and written, how far the
//! build was behind, what its processes used.
//!
//! The number of buckets is bounded, so memory does not grow with the recording. Nothing is judged here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CompareError;
use super::ages::Ages;
use super::watched::go_on;
use crate::outcome::Outcome;
use crate::spill::SpillSpace;

/// Most buckets of a replay.
pub(super) const BUCKETS_MAX: usize = 120;

/// Shortest bucket: lag is looked at so often.
const SHORTEST_US: i64 = 100_000;

/// Figures over replay time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    /// Length of a bucket in microseconds; the n-th, from zero, begins n times that after the schedule's start.
    pub bucket_us: i64,
    /// When the last delivery was due, in microseconds since the schedule's start: what lies behind is the drain. None where due times
    /// are not known.
    pub schedule_us: Option<i64>,
    /// Drives by name (`old`, `old_again`, `new`, …).
    pub drives: BTreeMap<String, DriveSeries>,
}

/// Figures of one drive, bucket by bucket; a series is empty where nothing is known of it, and has as many items as there are buckets
/// where something is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DriveSeries {
    /// Deliveries handed over.
    pub deliveries: Vec<u64>,
    /// Outputs that arrived.
    pub outputs: Vec<u64>,
    /// Largest lag, in events that were visible and not committed.
    pub lag: Vec<Option<u64>>,
    /// Largest freshness: the age of the oldest event that was visible and not committed, in microseconds.
    pub freshness_us: Vec<Option<i64>>,
    /// Median age of events that were due in the bucket when their outputs arrived, in microseconds.
    pub age_us: Vec<Option<i64>>,
    /// Largest such age.
    pub age_largest_us: Vec<Option<i64>>,
    /// Processor time used, in microseconds; where it was looked at less often than there are buckets, evenly spread.
    pub cpu_us: Vec<Option<i64>>,
    /// Largest resident memory that was seen, in bytes.
    pub memory_bytes: Vec<Option<u64>>,
}

/// Buckets of equal length, which is one, two or five times a power of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) bucket_us: i64,
    pub(super) buckets: usize,
}

impl Grid {
    /// Makes a grid for replays of up to `length_us` microseconds.
    pub(super) fn of(length_us: i64) -> Self {
        let length_us = length_us.max(1);
        let mut bucket_us = SHORTEST_US;
        let mut widen = [2, 5, 10].into_iter().cycle();
        let mut tens = SHORTEST_US;
        while bucket_us.saturating_mul(BUCKETS_MAX as i64) < length_us {
            let times = widen.next().unwrap_or(10);
            bucket_us = tens.saturating_mul(times);
            if times == 10 {
                tens = bucket_us;
            }
        }
        let buckets = length_us.div_euclid(bucket_us) + i64::from(length_us.rem_euclid(bucket_us) > 0);
        Self { bucket_us, buckets: buckets as usize }
    }

    /// Makes one that all of `drives` fit in.
    pub(super) fn for_drives<'a>(drives: impl Iterator<Item = &'a Outcome>) -> Result<Self, CompareError> {
        let mut length_us = 0;
        for outcome in drives {
            let mut own_us = outcome.ending().length_us.unwrap_or(0);
            if own_us == 0 {
                outcome.each_arrival(|at_us| own_us = own_us.max(at_us.saturating_add(1)))?;
            }
            length_us = length_us.max(own_us);
        }
        Ok(Self::of(length_us))
    }

    /// The bucket in which a moment lies; what lies outside falls into the nearest.
    pub(super) fn bucket(self, at_us: i64) -> usize {
        (at_us.max(0) / self.bucket_us).min(self.buckets as i64 - 1) as usize
    }
}

/// Gathers the figures of `drives` over `grid`; `ages` are those of drives that they were measured of, by name.
///
/// # Errors
///
/// [`CompareError::Outcome`] where an outcome cannot be read, [`CompareError::Stopped`] where `spill` is withdrawn.
pub(super) fn series(
    drives: &[(String, &Outcome)],
    grid: Grid,
    ages: &BTreeMap<String, Ages>,
    spill: &SpillSpace,
) -> Result<Series, CompareError> {
    let mut series = Series { bucket_us: grid.bucket_us, ..Series::default() };
    for (name, outcome) in drives {
        go_on(spill)?;
        if series.schedule_us.is_none() {
            series.schedule_us = last_due(outcome)?;
        }
        let mut own = of_drive(outcome, grid)?;
        if let Some(ages) = ages.get(name).filter(|ages| !ages.is_empty()) {
            (own.age_us, own.age_largest_us) = (ages.medians(), ages.largest());
        }
        series.drives.insert(name.clone(), own);
    }
    Ok(series)
}

fn last_due(outcome: &Outcome) -> Result<Option<i64>, CompareError> {
    let mut last = None;
    outcome.each_due(|due_us| last = last.max(Some(due_us)))?;
    Ok(last)
}

fn of_drive(outcome: &Outcome, grid: Grid) -> Result<DriveSeries, CompareError> {
    let mut own =
        DriveSeries { deliveries: vec![0; grid.buckets], outputs: vec![0; grid.buckets], ..DriveSeries::default() };
    if !outcome.each_sent(|at_us| own.deliveries[grid.bucket(at_us)] += 1)? {
        own.deliveries.clear();
    }
    if !outcome.each_arrival(|at_us| own.outputs[grid.bucket(at_us)] += 1)? {
        own.outputs.clear();
    }
    let commits = !outcome.ending().committed.is_empty();
    let (mut lag, mut freshness, mut memory) = (Highest::new(grid), Highest::new(grid), Highest::new(grid));
    let mut cpu = Spread::new(grid);
    outcome.each_gauge(|time_us, gauge, value| match gauge {
        "lag" if commits => lag.note(time_us, value),
        "freshness-us" if commits => freshness.note(time_us, value),
        "memory-bytes" => memory.note(time_us, value),
        "cpu-us" => cpu.note(time_us, value),
        _ => {}
    })?;
    own.lag = lag.finish(|value| value as u64);
    own.freshness_us = freshness.finish(|value| value as i64);
    own.memory_bytes = memory.finish(|value| value as u64);
    own.cpu_us = cpu.finish();
    Ok(own)
}

/// The largest figure seen in each bucket.
struct Highest {
    grid: Grid,
    values: Vec<Option<f64>>,
}

impl Highest {
    fn new(grid: Grid) -> Self {
        Self { grid, values: vec![None; grid.buckets] }
    }

    fn note(&mut self, time_us: i64, value: f64) {
        if time_us >= 0 {
            let cell = &mut self.values[self.grid.bucket(time_us)];
            *cell = Some(cell.map_or(value, |known| known.max(value)));
        }
    }

    fn finish<T>(self, turn: impl Fn(f64) -> T) -> Vec<Option<T>> {
        if self.values.iter().all(Option::is_none) {
            return Vec::new();
        }
        self.values.into_iter().map(|value| value.map(&turn)).collect()
    }
}

/// How much a figure that only grows grew in each bucket.
struct Spread {
    grid: Grid,
    grown: Vec<Option<f64>>,
    last: Option<(i64, f64)>,
}

impl Spread {
    fn new(grid: Grid) -> Self {
        Self { grid, grown: vec![None; grid.buckets], last: None }
    }

    fn note(&mut self, time_us: i64, value: f64) {
        if let Some((from_us, known)) = self.last.filter(|(from_us, _)| time_us > *from_us) {
            self.spread(from_us, time_us, (value - known).max(0.0));
        }
        self.last = Some((time_us, value));
    }

    /// Gives each bucket its share of `amount`, by how much of the time lies in it; what lies ahead of the schedule's start is no bucket's.
    fn spread(&mut self, from_us: i64, to_us: i64, amount: f64) {
        if to_us <= 0 {
            return;
        }
        let (first, last) = (self.grid.bucket(from_us), self.grid.bucket(to_us - 1));
        for (bucket, cell) in self.grown.iter_mut().enumerate().take(last + 1).skip(first) {
            let begins_us = bucket as i64 * self.grid.bucket_us;
            let ends_us = if bucket == last { to_us } else { begins_us + self.grid.bucket_us };
            let within = ends_us.min(to_us) - begins_us.max(from_us);
            let share = within.max(0) as f64 / (to_us - from_us) as f64;
            *cell = Some(cell.unwrap_or(0.0) + share * amount);
        }
    }

    fn finish(self) -> Vec<Option<i64>> {
        if self.grown.iter().all(Option::is_none) {
            return Vec::new();
        }
        self.grown.into_iter().map(|grown| grown.map(|grown| grown.round() as i64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_round_and_bounded_whatever_the_length() {
        for (length_us, bucket_us, buckets) in [
            (0, 100_000, 1),
            (1, 100_000, 1),
            (12_000_000, 100_000, 120),
            (12_000_001, 200_000, 61),
            (24_000_001, 500_000, 49),
            (60_000_001, 1_000_000, 61),
            (3_600_000_000, 50_000_000, 72),
            (86_400_000_000, 1_000_000_000, 87),
        ] {
            assert_eq!(Grid::of(length_us), Grid { bucket_us, buckets }, "{length_us}");
        }
        for power in 0..63 {
            let grid = Grid::of(1 << power);
            assert!((1..=BUCKETS_MAX).contains(&grid.buckets), "{grid:?}");
            assert_eq!((grid.bucket(-5), grid.bucket(i64::MAX)), (0, grid.buckets - 1));
        }
    }

    #[test]
    fn what_only_grows_is_spread_over_the_time_in_which_it_grew() {
        let mut cpu = Spread::new(Grid { bucket_us: 100, buckets: 5 });
        for (time_us, value) in [(-100, 1_000.0), (100, 3_000.0), (100, 3_000.0), (350, 5_500.0), (500, 5_400.0)] {
            cpu.note(time_us, value);
        }
        // Half of the first two thousand lie ahead of the start.
        assert_eq!(cpu.finish(), [Some(1_000), Some(1_000), Some(1_000), Some(500), Some(0)]);
        let mut once = Spread::new(Grid { bucket_us: 100, buckets: 5 });
        once.note(100, 3_000.0);
        assert!(once.finish().is_empty());
    }

    #[test]
    fn the_largest_of_a_bucket_counts_and_what_was_not_looked_at_is_not_known() {
        let mut lag = Highest::new(Grid { bucket_us: 100, buckets: 4 });
        for (time_us, value) in [(-1, 900.0), (0, 3.0), (99, 7.0), (150, 0.0), (9_000, 2.0)] {
            lag.note(time_us, value);
        }
        assert_eq!(lag.finish(|value| value as u64), [Some(7), Some(0), None, Some(2)]);
    }
}
