//! Where each partition begins and ends.

use std::time::Duration;

use super::cluster::Cluster;
use super::{CaptureError, CaptureSettings, Start, Until};
use crate::clock::Clock;
use crate::recording::{GapCause, MissingOffsets};

/// The stretch of each partition that is captured.
#[derive(Debug)]
pub(super) struct Window {
    /// Partitions in order of topic and partition.
    pub(super) partitions: Vec<Stretch>,
    pub(super) limit: Limit,
}

/// The stretch of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Topic, counted in order of name.
    pub(super) topic: usize,
    pub(super) partition: i32,
    /// Oldest offset that the broker held when the capture began.
    pub(super) low: i64,
    /// Offset behind the newest event that the broker told of when the capture began.
    pub(super) high: i64,
    /// First offset.
    pub(super) start: i64,
    /// Offset behind the last; none: no end is known.
    pub(super) end: Option<i64>,
    /// Offsets ahead of the first one that were wanted and that retention has taken.
    pub(super) overtaken: u64,
    /// First offset, where a number was asked for: the log need not hold it. None once it was held against the log.
    pub(super) asked: Option<i64>,
}

impl Stretch {
    /// Holds the offset that was asked for, if one was, against the log. Returns what retention has taken of it: the stretch then
    /// begins at what is left.
    pub(super) fn begin_as_asked(&mut self, topic: &str) -> Result<Option<MissingOffsets>, CaptureError> {
        let Some(asked) = self.asked.take() else { return Ok(None) };
        if asked > self.high {
            let (topic, partition, end) = (topic.to_owned(), self.partition, self.high);
            return Err(CaptureError::StartBehindEnd { topic, partition, asked, end });
        }
        if asked >= self.low {
            return Ok(None);
        }
        let missing = MissingOffsets { first: asked, last: self.low - 1, cause: GapCause::Retention };
        self.overtaken = missing.offsets();
        Ok(Some(missing))
    }

    /// The offset at which the capture was to begin, which is the first one unless retention has taken that.
    pub(super) fn wanted(&self) -> i64 {
        self.start - self.overtaken.cast_signed()
    }
}

/// What ends the capture apart from the ends of the partitions, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limit {
    /// This many events.
    pub(super) count: Option<u64>,
    /// This time on the capture's clock.
    pub(super) due: Option<Duration>,
    /// Ends are looked up once the date, in milliseconds since the Unix epoch, has come.
    pub(super) date_ms: Option<i64>,
}

impl Limit {
    fn of(settings: &CaptureSettings, clock: &dyn Clock) -> Self {
        let (mut count, mut duration, mut date_ms) = (settings.events_max, settings.duration_max, None);
        match settings.until {
            Until::Count(events) => count = Some(count.map_or(events, |count| count.min(events))),
            Until::Duration(long) => duration = Some(duration.map_or(long, |duration| duration.min(long))),
            Until::Time(time_ms) if time_ms > clock.date_us() / 1_000 => date_ms = Some(time_ms),
            Until::Time(_) | Until::End | Until::Stopped => {}
        }
        Self { count, due: duration.map(|duration| clock.now().saturating_add(duration)), date_ms }
    }
}

impl Window {
    /// Asks the cluster where the partitions begin and end.
    pub(super) fn resolve(
        cluster: &Cluster<'_>,
        settings: &CaptureSettings,
        clock: &dyn Clock,
    ) -> Result<Self, CaptureError> {
        let begins = match settings.from {
            Start::Time(time_ms) => {
                let places = cluster.topics.iter();
                let places =
                    places.flat_map(|(name, topic)| topic.partitions.iter().map(|&number| (name.as_str(), number)));
                Some(cluster.offsets_at(places, time_ms)?)
            }
            _ => None,
        };
        let limit = Limit::of(settings, clock);
        let mut partitions = Vec::new();
        for (topic, (name, chosen)) in cluster.topics.iter().enumerate() {
            for &partition in &chosen.partitions {
                let (low, high) = cluster.watermarks(name, partition)?;
                let place = (name.clone(), partition);
                let at = begins.as_ref().and_then(|begins| begins.get(&place).copied().flatten());
                let from = settings.offsets.get(&place).copied().map_or(settings.from, Start::Offset);
                let start = start(from, low, high, at);
                let end = (settings.until == Until::End).then_some(high);
                let asked = match from {
                    Start::Offset(offset) => Some(offset),
                    Start::Earliest | Start::Latest | Start::Time(_) => None,
                };
                partitions.push(Stretch { topic, partition, low, high, start, end, overtaken: 0, asked });
            }
        }
        let mut window = Self { partitions, limit };
        if let (Until::Time(time_ms), None) = (settings.until, limit.date_ms) {
            let names: Vec<&str> = cluster.topics.keys().map(String::as_str).collect();
            window.end_at(cluster, &names, time_ms)?;
        }
        Ok(window)
    }

    /// Ends every partition ahead of its first event at or after `time_ms`, or where there is none, behind its newest. `names` are
    /// those of the topics by their numbers.
    pub(super) fn end_at(&mut self, cluster: &Cluster<'_>, names: &[&str], time_ms: i64) -> Result<(), CaptureError> {
        let places = self.partitions.iter().map(|stretch| (names[stretch.topic], stretch.partition));
        let ends = cluster.offsets_at(places, time_ms)?;
        for stretch in &mut self.partitions {
            let name = names[stretch.topic];
            let end = match ends.get(&(name.to_owned(), stretch.partition)).copied().flatten() {
                Some(end) => end,
                None => cluster.watermarks(name, stretch.partition)?.1,
            };
            stretch.end = Some(end);
        }
        Ok(())
    }
}

/// Returns the first offset of a partition that holds the offsets from `low` to `high`, the latter excluded. `at` is the first
/// offset at or after the time asked for, if there is one.
fn start(from: Start, low: i64, high: i64, at: Option<i64>) -> i64 {
    match from {
        Start::Earliest => low,
        Start::Latest => high,
        // No event is as late as that: what comes from now on may be.
        Start::Time(_) => at.unwrap_or(high),
        // One that the log does not hold is told by `Stretch::begin_as_asked`.
        Start::Offset(offset) => offset.clamp(low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_begins_where_it_was_asked_to() {
        for (from, at, expected) in [
            (Start::Earliest, None, 10),
            (Start::Latest, None, 20),
            (Start::Time(5), Some(15), 15),
            (Start::Time(5), None, 20),
            (Start::Offset(12), None, 12),
            (Start::Offset(3), None, 10),
            (Start::Offset(33), None, 20),
        ] {
            assert_eq!(start(from, 10, 20, at), expected, "{from:?}");
        }
    }

    #[test]
    fn an_offset_that_was_asked_for_is_held_against_the_log() {
        let stretch = |asked: i64| Stretch {
            topic: 0,
            partition: 3,
            low: 10,
            high: 20,
            start: start(Start::Offset(asked), 10, 20, None),
            end: None,
            overtaken: 0,
            asked: Some(asked),
        };
        for asked in [10, 12, 20] {
            let mut stretch = stretch(asked);
            assert_eq!(stretch.begin_as_asked("t").unwrap(), None, "{asked}");
            assert_eq!((stretch.start, stretch.wanted()), (asked, asked));
        }
        let mut behind = stretch(3);
        let missing = MissingOffsets { first: 3, last: 9, cause: GapCause::Retention };
        assert_eq!(behind.begin_as_asked("t").unwrap(), Some(missing));
        assert_eq!((behind.start, behind.wanted(), behind.overtaken), (10, 3, 7));
        let refused = stretch(21).begin_as_asked("t").unwrap_err();
        assert!(matches!(refused, CaptureError::StartBehindEnd { partition: 3, asked: 21, end: 20, .. }), "{refused}");
    }
}
