//! What is captured, from where and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::READ_UNCOMMITTED;
use super::topics::read_partition;
use super::{RegistrySettings, TopicChoice};
use crate::kafka::{Owner, Properties};
use crate::mask::{Detection, Policy};
use crate::recording::Role;
use crate::settings::{Moment, Span};

/// What is captured, from where and until when.
#[derive(Debug, Clone)]
pub struct CaptureSettings {
    /// Brokers to begin with, as `HOST:PORT`, joined by commas.
    pub brokers: String,
    /// Topics, each with its role.
    pub topics: Vec<TopicChoice>,
    /// Partitions of all topics that name none of their own; empty means all.
    pub partitions: BTreeSet<i32>,
    /// Where each partition begins.
    pub from: Start,
    /// Offsets at which single partitions begin instead, by topic and partition.
    pub offsets: BTreeMap<(String, i32), i64>,
    /// Where the capture ends.
    pub until: Until,
    /// Ends the capture earlier, after this many events in all; those of a table ahead of its window are not counted.
    pub events_max: Option<u64>,
    /// Ends the capture earlier, after this long.
    pub duration_max: Option<Duration>,
    /// Takes the events of transactions that are open or were aborted, too.
    pub uncommitted: bool,
    /// Extra properties of librdkafka.
    pub properties: Properties,
    /// What is masked before it touches the disk; without one, only headers that carry credentials are redacted.
    pub mask: Option<Arc<Policy>>,
    /// What is done about data that looks personal and that no rule masked.
    pub detection: Detection,
    /// Registry that is asked for each schema that events refer to, once; none where nobody is asked.
    pub registry: Option<RegistrySettings>,
    /// Whether a schema that cannot be fetched ends the capture.
    pub require_schemas: bool,
    /// Bounds each wait for an answer about topics and offsets.
    pub connect_timeout: Duration,
    /// Bounds the wait for brokers that hold events and do not send them.
    pub stall_timeout: Duration,
    /// Time after which an event that came is on the disk, whatever follows it: a crash loses no more than that of what had come,
    /// and takes it again on the next capture to the same recording.
    pub checkpoint_every: Duration,
    /// Row groups after which a segment ends, at most 100. Fewer make smaller files, and the manifest, which vouches for whole
    /// segments, is written more often.
    pub segment_groups: usize,
    /// Whether to go on where the cluster deleted events before they were taken; they stand in the ledger of gaps either way.
    pub allow_gaps: bool,
}

impl CaptureSettings {
    /// Captures all of `topics` (names) that `brokers` hold at this moment, as inputs.
    pub fn new(brokers: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            brokers: brokers.into(),
            topics: topics.into_iter().map(|name| TopicChoice::named(name, Role::Input)).collect(),
            partitions: BTreeSet::new(),
            from: Start::default(),
            offsets: BTreeMap::new(),
            until: Until::default(),
            events_max: None,
            duration_max: None,
            uncommitted: false,
            properties: Properties::of(Owner::Capture),
            mask: None,
            detection: Detection::default(),
            registry: None,
            require_schemas: false,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            checkpoint_every: Duration::from_secs(5),
            segment_groups: 100,
            allow_gaps: false,
        }
    }
}

impl CaptureSettings {
    /// Which events are taken, in Kafka's words: `read_committed`, or `read_uncommitted`.
    pub fn isolation(&self) -> &str {
        let given = self.properties.iter().filter(|(name, _)| *name == "isolation.level").last();
        if self.uncommitted { READ_UNCOMMITTED } else { given.map_or("read_committed", |(_, level)| level) }
    }
}

/// Where the capture of each partition begins. As text: `earliest`, `latest`, a date, or `offset:100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest event that the broker holds.
    #[default]
    Earliest,
    /// Behind the newest event that the broker holds when the capture starts.
    Latest,
    /// At the first event with this timestamp or a later one, in milliseconds since the Unix epoch; as the broker's index of
    /// timestamps says.
    Time(i64),
    /// At this offset, which must not lie behind the end of the log; where retention has taken it, the capture fails unless gaps
    /// are allowed.
    Offset(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.strip_prefix("offset:") {
                Some(offset) => match offset.parse() {
                    Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                    _ => Err(format!("`{offset}` is no offset; write it as `offset:100`")),
                },
                None => Moment::of_date(text).map(Moment::ms).map(Self::Time).map_err(|_| {
                    format!("`{text}` is no start; write `earliest`, `latest`, `2013-01-05T00:00:00Z` or `offset:100`")
                }),
            },
        }
    }
}

/// One `TOPIC:PARTITION=OFFSET`: where a single partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStart {
    /// Topic and partition.
    pub partition: (String, i32),
    /// First offset.
    pub offset: i64,
}

impl FromStr for PartitionStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no start of a partition; write it as `flights:0=100`");
        let (place, offset) = text.split_once('=').ok_or_else(wrong)?;
        let (topic, partition) = place.rsplit_once(':').filter(|(topic, _)| !topic.is_empty()).ok_or_else(wrong)?;
        let offset = offset.trim().parse().ok().filter(|offset| *offset >= 0).ok_or_else(wrong)?;
        Ok(Self { partition: (topic.to_owned(), read_partition(partition)?), offset })
    }
}

/// Where the capture ends. As text: `end`, `stopped`, a date, `count:100`, or a duration such as `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// Caught up: at what each partition held when the capture started.
    #[default]
    End,
    /// Ahead of the first event with this timestamp or a later one, in milliseconds since the Unix epoch. A time to come is
    /// waited for.
    Time(i64),
    /// After this many events in all.
    Count(u64),
    /// After this long.
    Duration(Duration),
    /// When it is told to stop.
    Stopped,
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "end" => Ok(Self::End),
            "stopped" => Ok(Self::Stopped),
            _ => match text.strip_prefix("count:") {
                Some(count) => match count.parse() {
                    Ok(count) if count > 0 => Ok(Self::Count(count)),
                    _ => Err(format!("`{count}` is no number of events; write it as `count:100`")),
                },
                None => Moment::of_date(text)
                    .map(Moment::ms)
                    .map(Self::Time)
                    .or_else(|_| text.parse().map(|Span(duration)| Self::Duration(duration)))
                    .map_err(|_: String| {
                        format!(
                            "`{text}` is no end; write `end`, `stopped`, `2013-01-05T00:00:00Z`, `count:100` or `10m`"
                        )
                    }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_read() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("2013-01-01T10:17:00Z", Start::Time(1_357_035_420_000)),
            ("offset:0", Start::Offset(0)),
        ] {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
        for text in ["", "begin", "offset:", "offset:-1", "5"] {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_start_of_a_single_partition_is_read() {
        let start = PartitionStart { partition: ("flights".to_owned(), 3), offset: 100 };
        assert_eq!("flights:3=100".parse(), Ok(start));
        for text in ["", "flights", "flights=100", "flights:3", "flights:x=1", ":3=1", "flights:3=-1", "flights:3=x"] {
            assert!(text.parse::<PartitionStart>().is_err(), "{text}");
        }
    }

    #[test]
    fn ends_are_read() {
        for (text, until) in [
            ("end", Until::End),
            ("stopped", Until::Stopped),
            ("2013-01-01", Until::Time(1_356_998_400_000)),
            ("count:7", Until::Count(7)),
            ("1m30s", Until::Duration(Duration::from_secs(90))),
        ] {
            assert_eq!(text.parse(), Ok(until), "{text}");
        }
        for text in ["", "never", "count:0", "count:x", "5"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }
}
