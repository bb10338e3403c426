//! What is in a recording: counts, rates, gaps and disorder.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::manifest::{PartitionFacts, Role, TimeSpan};
use super::{Columns, EventBatch, Partition, Recording, RecordingError};

/// What is in a recording. Plain data: everything `inspect` shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Number of events.
    pub events: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// First and last timestamp.
    pub span: Option<TimeSpan>,
    /// Events without a timestamp.
    pub without_timestamp: u64,
    /// Topics, in order of name; those the source had but of which no event was recorded too.
    pub topics: Vec<TopicSummary>,
    /// Events a second.
    pub rates: Rates,
}

/// What a recording holds of one topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicSummary {
    /// Name.
    pub topic: String,
    /// What it is for.
    pub role: Role,
    /// Number of events.
    pub events: u64,
    /// Partitions at the source, empty ones too; at least those that hold events.
    pub partitions_at_source: u64,
    /// Partitions that hold events.
    pub partitions: Vec<PartitionSummary>,
}

/// What a recording holds of one partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionSummary {
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// Number of events.
    pub events: u64,
    /// Offset at which the window begins, where events ahead of it are held, too: of a table the last value of each key, as it
    /// stood then. What lies between those is no gap.
    pub window: Option<i64>,
    /// Events ahead of the window.
    pub state: u64,
    /// Stretches of offsets without an event.
    pub gaps: u64,
    /// Offsets in those stretches.
    pub missing: u64,
    /// The longest of them, longest first, ten at most.
    pub longest_gaps: Vec<Gap>,
    /// First and last timestamp.
    pub span: Option<TimeSpan>,
    /// Events that are older than an event ahead of them.
    pub disorder: Disorder,
}

/// A stretch of offsets without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Offset of the event ahead of it.
    pub after: i64,
    /// Number of offsets.
    pub missing: u64,
}

/// How many events are older than the newest event ahead of them in their partition, and by how much.
///
/// Quantiles are over those events alone, to two digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Disorder {
    /// Number of such events.
    pub events: u64,
    /// Share of such events among those with a timestamp.
    pub share: f64,
    /// Half of them are at most so far behind, in milliseconds.
    pub p50_ms: u64,
    /// 99 of 100 of them are at most so far behind, in milliseconds.
    pub p99_ms: u64,
    /// The farthest behind, in milliseconds.
    pub max_ms: u64,
}

/// Rates in event time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Rates {
    /// Events with a timestamp over the span; none where the span is shorter than a second.
    pub mean_per_second: Option<f64>,
    /// The second with most events; none where events are spread over too many minutes to count them (some 139 days).
    pub busiest_second: Option<Busiest>,
    /// The minute with most events; none likewise.
    pub busiest_minute: Option<Busiest>,
}

/// The second or minute with most events; the first of them, where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Busiest {
    /// Start, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Number of events.
    pub events: u64,
}

impl Recording {
    /// Reads the coordinates of all events once, in one pass, and says what is in the recording.
    ///
    /// # Errors
    ///
    /// Names the segment that cannot be read, and the cause.
    pub fn summary(&self) -> Result<Summary, RecordingError> {
        let mut count = Count::default();
        for topic in &self.manifest().source.topics {
            for (&partition, &window) in &topic.windows {
                let counted = PartitionCount { window: Some(window), ..PartitionCount::new() };
                count.partitions.insert(Partition { topic: topic.name.clone(), partition }, counted);
            }
        }
        for batch in self.batches(Columns::NONE) {
            count.take(&batch?);
        }
        let manifest = self.manifest();
        let mut topics: BTreeMap<&str, TopicSummary> = BTreeMap::new();
        let summary = |topic: &str| TopicSummary {
            topic: topic.to_owned(),
            role: Role::default(),
            events: 0,
            partitions_at_source: 0,
            partitions: Vec::new(),
        };
        for facts in &manifest.partitions {
            let topic = topics.entry(&facts.topic).or_insert_with(|| summary(&facts.topic));
            topic.events += facts.count;
            topic.partitions_at_source += 1;
            topic.partitions.push(count.partition(facts));
        }
        for source in &manifest.source.topics {
            let topic = topics.entry(&source.name).or_insert_with(|| summary(&source.name));
            topic.role = source.role;
            topic.partitions_at_source = topic.partitions_at_source.max(source.partitions.max(0) as u64);
        }
        Ok(Summary {
            events: self.len(),
            bytes: self.bytes(),
            span: count.span,
            without_timestamp: count.without_timestamp,
            topics: topics.into_values().collect(),
            rates: count.rates(self.len()),
        })
    }

    /// Returns the bytes of all segments, as they were when the recording was opened.
    pub fn bytes(&self) -> u64 {
        self.inner.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Minutes of which the seconds are counted at most: 50 MB.
const MINUTES_MAX: usize = 200_000;

/// Gaps of a partition that are shown at most.
const GAPS_SHOWN: usize = 10;

/// What the pass over all events counts.
#[derive(Default)]
struct Count {
    partitions: BTreeMap<Partition, PartitionCount>,
    span: Option<TimeSpan>,
    without_timestamp: u64,
    minutes: Minutes,
}

struct PartitionCount {
    window: Option<i64>,
    state: u64,
    last: Option<i64>,
    gaps: Vec<Gap>,
    gap_count: u64,
    missing: u64,
    span: Option<TimeSpan>,
    timed: u64,
    behind: Histogram<u64>,
    behind_max: u64,
}

impl Count {
    fn take(&mut self, batch: &EventBatch) {
        // Events of a batch are mostly of few partitions: each is looked up by name once a run.
        let mut start = 0;
        while start < batch.len() {
            let (code, partition) = (batch.topic_codes()[start], batch.partitions()[start]);
            let same = |row: &usize| batch.topic_codes()[*row] == code && batch.partitions()[*row] == partition;
            let end = start + (start..batch.len()).take_while(same).count();
            let topic = batch.topic_names().value(code as usize).to_owned();
            let counted = self.partitions.entry(Partition { topic, partition }).or_insert_with(PartitionCount::new);
            for row in start..end {
                counted.offset(batch.offsets()[row]);
                match batch.timestamp_ms(row) {
                    Some(ms) => {
                        counted.timestamp(ms);
                        self.minutes.take(ms);
                        self.span = TimeSpan::join(self.span, Some(TimeSpan { first_ms: ms, last_ms: ms }));
                    }
                    None => self.without_timestamp += 1,
                }
            }
            start = end;
        }
    }

    fn partition(&mut self, facts: &PartitionFacts) -> PartitionSummary {
        let key = Partition { topic: facts.topic.clone(), partition: facts.partition };
        let counted = self.partitions.remove(&key).unwrap_or_else(PartitionCount::new);
        PartitionSummary {
            partition: facts.partition,
            first: facts.first,
            last: facts.last,
            events: facts.count,
            window: counted.window,
            state: counted.state,
            gaps: counted.gap_count,
            missing: counted.missing,
            disorder: counted.disorder(),
            span: counted.span,
            longest_gaps: counted.gaps,
        }
    }

    fn rates(&self, events: u64) -> Rates {
        let seconds = self.span.map(|span| (span.last_ms as f64 - span.first_ms as f64) / 1e3);
        let timed = events - self.without_timestamp;
        Rates {
            mean_per_second: seconds.filter(|seconds| *seconds >= 1.0).map(|seconds| timed as f64 / seconds),
            busiest_second: self.minutes.busiest_second(),
            busiest_minute: self.minutes.busiest_minute(),
        }
    }
}

impl PartitionCount {
    fn new() -> Self {
        // Two digits are valid for any histogram: the constructor cannot fail.
        let behind = Histogram::new(2).expect("two significant digits are allowed");
        Self {
            window: None,
            state: 0,
            last: None,
            gaps: Vec::new(),
            gap_count: 0,
            missing: 0,
            span: None,
            timed: 0,
            behind,
            behind_max: 0,
        }
    }

    fn offset(&mut self, offset: i64) {
        if self.window.is_some_and(|window| offset < window) {
            self.state += 1;
            return;
        }
        if let Some(last) = self.last
            && offset > last.saturating_add(1)
        {
            self.gap_count += 1;
            self.missing += offset.abs_diff(last) - 1;
            let gap = Gap { after: last, missing: offset.abs_diff(last) - 1 };
            let at = self.gaps.partition_point(|known| known.missing >= gap.missing);
            self.gaps.insert(at, gap);
            self.gaps.truncate(GAPS_SHOWN);
        }
        self.last = Some(offset);
    }

    fn timestamp(&mut self, ms: i64) {
        if let Some(span) = self.span
            && ms < span.last_ms
        {
            let behind = span.last_ms.abs_diff(ms);
            self.behind_max = self.behind_max.max(behind);
            // The histogram grows to whatever is recorded; beyond what it can hold, the maximum still tells.
            let _ = self.behind.record(behind);
        }
        self.timed += 1;
        self.span = TimeSpan::join(self.span, Some(TimeSpan { first_ms: ms, last_ms: ms }));
    }

    fn disorder(&self) -> Disorder {
        if self.behind.is_empty() {
            return Disorder::default();
        }
        Disorder {
            events: self.behind.len(),
            share: self.behind.len() as f64 / self.timed as f64,
            p50_ms: self.behind.value_at_quantile(0.5).min(self.behind_max),
            p99_ms: self.behind.value_at_quantile(0.99).min(self.behind_max),
            max_ms: self.behind_max,
        }
    }
}

/// Events of each second, by minute.
#[derive(Default)]
struct Minutes {
    seconds: BTreeMap<i64, Box<[u32; 60]>>,
    too_many: bool,
}

impl Minutes {
    fn take(&mut self, ms: i64) {
        if self.too_many {
            return;
        }
        let minute = ms.div_euclid(60_000);
        let second = (ms.rem_euclid(60_000) / 1000) as usize;
        self.seconds.entry(minute).or_insert_with(|| Box::new([0; 60]))[second] += 1;
        if self.seconds.len() > MINUTES_MAX {
            self.too_many = true;
            self.seconds.clear();
        }
    }

    fn busiest_second(&self) -> Option<Busiest> {
        let seconds = self.seconds.iter().flat_map(|(minute, seconds)| {
            (0..).zip(seconds.iter()).map(move |(second, &events)| {
                (minute.saturating_mul(60_000).saturating_add(second * 1000), u64::from(events))
            })
        });
        busiest(seconds)
    }

    fn busiest_minute(&self) -> Option<Busiest> {
        let events = |seconds: &[u32; 60]| seconds.iter().map(|&events| u64::from(events)).sum();
        busiest(self.seconds.iter().map(|(minute, seconds)| (minute.saturating_mul(60_000), events(seconds))))
    }
}

fn busiest(counts: impl Iterator<Item = (i64, u64)>) -> Option<Busiest> {
    counts.fold(None, |best: Option<Busiest>, (start_ms, events)| match best {
        Some(best) if best.events >= events => Some(best),
        _ => Some(Busiest { start_ms, events }),
    })
}
