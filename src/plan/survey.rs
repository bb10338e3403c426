//! What a plan has to know of the recording before it starts: where the slice begins, and, only where a fault asks, where it
//! ends, how late events are and how far apart.

use hdrhistogram::Histogram;

use super::select::{Membership, Slice};
use super::source::Source;
use super::{Phase, PlanError};
use crate::recording::{Coordinate, Partition};
use crate::settings::Moment;

/// Quantiles kept of the recording's gaps.
const GAP_QUANTILES: u32 = 1_024;

/// Figures of a slice and its recording.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the unit stands last in every name that has one")]
pub(super) struct Survey {
    /// Event time of the slice's last event, in microseconds since the Unix epoch; none where nothing asked.
    pub(super) last_us: Option<i64>,
    /// p99.9 of how far events lie behind the latest of their partition, in microseconds; 0 where they are in order.
    pub(super) lateness_us: i64,
    /// Quantiles of the gaps between neighbours of a partition, in microseconds.
    pub(super) gaps_us: Vec<i64>,
}

/// Finds the event time of the slice's first event.
///
/// Returns none where the slice holds no event, zero where none of its events has a time; else microseconds since the Unix
/// epoch. Reads each partition up to its first event of the slice.
pub(super) fn origin_us(source: &dyn Source, partitions: &[Partition], slice: Slice) -> Result<Option<i64>, PlanError> {
    let mut origin: Option<i64> = None;
    let mut any = false;
    for partition in partitions {
        let mut membership = Membership::new(slice, source.history(partition));
        for coordinate in source.coordinates(partition, false) {
            let coordinate = coordinate?;
            let time_us = coordinate.timestamp_ms.map(|ms| ms.saturating_mul(1_000));
            let main = membership.of(coordinate.offset, time_us) == Some(Phase::Main);
            any |= main;
            if let Some(time) = time_us
                && main
            {
                origin = Some(origin.map_or(time, |first| first.min(time)));
                break;
            }
        }
    }
    Ok(any.then_some(origin.unwrap_or(0)))
}

/// Says which event times the partitions span, for the message that nothing lies in the slice.
pub(super) fn span(source: &dyn Source, partitions: &[Partition]) -> Result<Option<(Moment, Moment)>, PlanError> {
    let mut span: Option<(i64, i64)> = None;
    for partition in partitions {
        for coordinate in source.coordinates(partition, false) {
            if let Some(ms) = coordinate?.timestamp_ms {
                let us = ms.saturating_mul(1_000);
                span = Some(span.map_or((us, us), |(first, last)| (first.min(us), last.max(us))));
            }
        }
    }
    Ok(span.map(|(first, last)| (Moment(first), Moment(last))))
}

/// Whether capture said of the first event of any partition when it received it.
pub(super) fn knows_capture(source: &dyn Source, partitions: &[Partition]) -> Result<bool, PlanError> {
    for partition in partitions {
        if let Some(coordinate) = source.coordinates(partition, false).next()
            && coordinate?.captured_at_us.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Survey {
    /// Reads all coordinates once. Lateness and gaps are those of the whole recording, so that slicing changes no draw.
    pub(super) fn of(source: &dyn Source, partitions: &[Partition], slice: Slice) -> Result<Self, PlanError> {
        let mut last_us: Option<i64> = None;
        let (mut lateness, mut gaps) = (histogram()?, histogram()?);
        for partition in partitions {
            let history = source.history(partition);
            let mut membership = Membership::new(slice, history);
            let mut latest_ms: Option<i64> = None;
            for coordinate in source.coordinates(partition, false) {
                let Coordinate { offset, timestamp_ms: time_ms, .. } = coordinate?;
                let phase = membership.of(offset, time_ms.map(|ms| ms.saturating_mul(1_000)));
                // What a table held ahead of its window says nothing of how events follow each other.
                let Some(ms) = time_ms.filter(|_| history.window.is_none_or(|window| offset >= window)) else {
                    continue;
                };
                if phase == Some(Phase::Main) {
                    last_us = last_us.max(Some(ms.saturating_mul(1_000)));
                }
                if let Some(latest) = latest_ms {
                    lateness.saturating_record(latest.saturating_sub(ms).max(0) as u64);
                    gaps.saturating_record(ms.saturating_sub(latest).max(0) as u64);
                }
                latest_ms = latest_ms.max(Some(ms));
            }
        }
        let quantile =
            |index| gaps.value_at_quantile((f64::from(index) + 0.5) / f64::from(GAP_QUANTILES)) as i64 * 1_000;
        Ok(Self {
            last_us,
            lateness_us: lateness.value_at_quantile(0.999) as i64 * 1_000,
            gaps_us: if gaps.is_empty() { Vec::new() } else { (0..GAP_QUANTILES).map(quantile).collect() },
        })
    }
}

/// Counts milliseconds up to a year, with three digits.
fn histogram() -> Result<Histogram<u64>, PlanError> {
    Histogram::new_with_bounds(1, 366 * 86_400_000, 3)
        .map_err(|error| PlanError::Spill(std::io::Error::other(error.to_string())))
}
