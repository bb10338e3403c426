//! How far builds were behind: lag in events, freshness in time; and the gates on them.
//!
//! Both come from the gauges of an outcome, which are taken ten times a second from the schedule's start on. They are known of
//! builds that commit: what nothing was committed of may have been dealt with all the same.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::CompareError;
use super::assess::Seen;
use super::gates::Gate;
use super::sentences::{count, counted, time};
use super::verdict::{Facts, FidelityBounds, off_schedule};
use crate::outcome::Outcome;

/// Lag of a build in one drive: events that were visible to it, and that it had not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LagFigures {
    /// Largest, in events.
    pub largest: u64,
    /// 99th percentile over time, in events: for all but a hundredth of the time it was no more than this.
    pub p99: u64,
    /// When the drive ended, in events.
    pub at_end: u64,
    /// When it was largest, in microseconds since the schedule's start.
    pub peak_us: i64,
}

/// Freshness of a build in one drive: the age of the oldest event that was visible to it, and that it had not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FreshnessFigures {
    /// Largest age, in microseconds.
    pub largest_us: i64,
    /// 99th percentile over time, in microseconds.
    pub p99_us: i64,
    /// Age when the drive ended, in microseconds.
    pub at_end_us: i64,
    /// When it was largest, in microseconds since the schedule's start.
    pub peak_us: i64,
}

/// How far all drives were behind, by name (`old`, `old_again`, `new`, …); drives of which it is not known are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Behind {
    /// Lag.
    pub lag: BTreeMap<String, LagFigures>,
    /// Freshness.
    pub freshness: BTreeMap<String, FreshnessFigures>,
}

/// What lies beyond is counted as this: more events than a drive hands over, and some thirty years in microseconds.
const LARGEST: u64 = 1 << 50;

/// One gauge over the time of a drive. Moments behind the last at which anything waited are left out: how long a drive stood idle
/// at its end would else decide its quantiles.
struct Course {
    values: Histogram<u64>,
    idle: u64,
    largest: u64,
    peak_us: i64,
    last: u64,
}

impl Course {
    fn new() -> Self {
        Self { values: coarse(), idle: 0, largest: 0, peak_us: 0, last: 0 }
    }

    fn note(&mut self, time_us: i64, value: f64) {
        // Gauges are figures of events and microseconds: no fractions, none below zero.
        let value = value.max(0.0) as u64;
        self.last = value;
        if value == 0 {
            self.idle += 1;
            return;
        }
        self.values.saturating_record_n(0, self.idle);
        self.values.saturating_record(value);
        self.idle = 0;
        if value > self.largest {
            (self.largest, self.peak_us) = (value, time_us);
        }
    }

    fn p99(&self) -> u64 {
        self.values.value_at_quantile(0.99).min(self.largest)
    }
}

/// Three digits, up to [`LARGEST`].
fn coarse() -> Histogram<u64> {
    Histogram::new_with_max(LARGEST, 3).unwrap_or_else(|_| unreachable!("its bounds are constants that fit"))
}

/// Works out how far each of `drives` was behind from its gauges; memory does not grow with them.
///
/// # Errors
///
/// [`CompareError::Outcome`] where the gauges of a drive cannot be read.
pub fn behind<'a>(drives: impl Iterator<Item = (String, &'a Outcome)>) -> Result<Behind, CompareError> {
    let mut behind = Behind::default();
    for (name, outcome) in drives.filter(|(_, outcome)| is_known(outcome)) {
        let (mut lag, mut freshness, mut taken) = (Course::new(), Course::new(), 0_u64);
        outcome.each_gauge(|time_us, gauge, value| match gauge {
            _ if time_us < 0 => {}
            "lag" => {
                lag.note(time_us, value);
                taken += 1;
            }
            "freshness-us" => freshness.note(time_us, value),
            _ => {}
        })?;
        if taken == 0 {
            continue;
        }
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let figures = LagFigures { largest: lag.largest, p99: lag.p99(), at_end: lag.last, peak_us: lag.peak_us };
        behind.lag.insert(name.clone(), figures);
        let figures = FreshnessFigures {
            largest_us: signed(freshness.largest),
            p99_us: signed(freshness.p99()),
            at_end_us: signed(freshness.last),
            peak_us: freshness.peak_us,
        };
        behind.freshness.insert(name, figures);
    }
    Ok(behind)
}

/// Whether a drive tells how far its build was behind: it committed, and kept to a schedule.
fn is_known(outcome: &Outcome) -> bool {
    let ending = outcome.ending();
    !ending.committed.is_empty() && ending.lateness.is_some()
}

/// Holds the largest lag of new against `limit`.
pub(super) fn lag(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, limit: u64) -> Seen {
    let lag = &facts.comparison.behind.lag;
    let by_drive = lag.iter().map(|(drive, figures)| (drive.as_str(), figures.largest)).collect();
    hold(facts, gate, bounds, &by_drive, limit, "the largest lag", |events| counted(events, "event"))
}

/// Holds the 99th percentile of the freshness of new against `limit_us`.
pub(super) fn freshness(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, limit_us: i64) -> Seen {
    let unsigned = |us: i64| us.max(0).unsigned_abs();
    let freshness = &facts.comparison.behind.freshness;
    let by_drive = freshness.iter().map(|(drive, figures)| (drive.as_str(), unsigned(figures.p99_us))).collect();
    let show = |us: u64| time(i64::try_from(us).unwrap_or(i64::MAX));
    hold(facts, gate, bounds, &by_drive, unsigned(limit_us), "p99 freshness", show)
}

/// Holds the worst drive of new against `limit`: it fails beyond both the limit and what drives of old differ by from each other.
fn hold(
    facts: &Facts<'_>,
    gate: &Gate,
    bounds: FidelityBounds,
    by_drive: &BTreeMap<&str, u64>,
    limit: u64,
    what: &str,
    show: impl Fn(u64) -> String,
) -> Seen {
    if !facts.paced {
        return Seen::untold(gate, "the replay was not paced, so it says nothing of time");
    }
    let strayed = off_schedule(facts.endings, bounds);
    if let Some((_, sentence)) = strayed.iter().find(|(drive, _)| matches!(drive.as_str(), "old" | "new")) {
        return Seen::untold(gate, sentence);
    }
    let of = |build: &str| {
        let drives = by_drive.iter().filter(|(drive, _)| drive.starts_with(build));
        drives.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let (old, new) = (of("old"), of("new"));
    let Some(new) = new.into_iter().max() else {
        return Seen::untold(gate, "new committed nothing, so nobody can tell how far it was behind");
    };
    let note = old.iter().max().map(|old| format!("{} in old", show(*old)));
    let observed = if what.contains("lag") { count(new) } else { show(new) };
    if new <= limit {
        return Seen::kept(observed, note);
    }
    let apart = old.iter().max().zip(old.iter().min()).map_or(0, |(most, least)| most - least);
    if new - limit <= apart {
        let reason =
            format!("{what} of new is {}, perhaps by chance: drives of old are {} apart", show(new), show(apart));
        return Seen::suspected(gate, observed, &reason);
    }
    let old = note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    Seen::broken(gate, observed, note.clone(), &format!("{what} of new is {}{old}", show(new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_at_the_end_counts_in_no_quantile() {
        let mut course = Course::new();
        for (time_us, value) in [(0, 0.0), (1, 7.0), (2, 0.0), (3, 5.0)] {
            course.note(time_us, value);
        }
        (4..400).for_each(|time_us| course.note(time_us, 0.0));
        assert_eq!((course.largest, course.peak_us, course.p99(), course.last), (7, 1, 7, 0));
        assert_eq!(course.values.len(), 4);
    }

    #[test]
    fn large_figures_keep_three_digits() {
        let mut course = Course::new();
        for value in [2_500_000.0, 7e12, 2_400_000.0, 1e18] {
            (0..100).for_each(|time_us| course.note(time_us, value));
        }
        assert_eq!(course.largest, 1_000_000_000_000_000_000);
        let close =
            |quantile: f64, value: u64| course.values.value_at_quantile(quantile).abs_diff(value) <= value / 1_000;
        assert!(close(0.25, 2_400_000) && close(0.5, 2_500_000) && close(0.75, 7_000_000_000_000));
    }

    #[test]
    fn a_short_peak_is_the_largest_and_not_the_p99() {
        let mut course = Course::new();
        (0..1_000).for_each(|time_us| course.note(time_us, 10.0));
        course.note(1_000, 900.0);
        course.note(1_001, 10.0);
        assert_eq!((course.largest, course.peak_us, course.p99(), course.last), (900, 1_000, 10, 10));
    }
}
