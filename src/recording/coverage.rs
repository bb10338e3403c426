//! Which offsets a row group covers: kept in the footer, so that the segments alone are the truth.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::Array;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::gaps::GroupGaps;
use super::manifest::{FORMAT, PartitionFacts, TimeSpan};
use super::{EventBatch, RecordingError};

/// Key of the coverage in a footer.
pub(super) const COVERAGE_KEY: &str = "rehearsal.coverage";

/// Key of the source in a footer.
pub(super) const SOURCE_KEY: &str = "rehearsal.source";

/// Key of the masks in a footer.
pub(super) const MASKS_KEY: &str = "rehearsal.masks";

/// Key of the schemas that events refer to in a footer.
pub(super) const SCHEMAS_KEY: &str = "rehearsal.schemas";

/// What each row group of a segment covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Coverage {
    /// Version of the recording.
    pub(super) format: String,
    /// Topics that extents refer to by index.
    pub(super) topics: Vec<String>,
    /// One entry a row group.
    pub(super) row_groups: Vec<GroupCoverage>,
    /// Whether the XXH3 of the footer's bytes stands right before it, eight bytes in little-endian order: so it is with every
    /// footer but the last of a segment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) hashed: bool,
}

/// What one row group covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupCoverage {
    /// Number of events.
    pub(super) rows: u64,
    /// Span of timestamps.
    pub(super) span: Option<TimeSpan>,
    /// Partitions with events, in order of first appearance.
    pub(super) extents: Vec<Extent>,
    /// Leader epoch of the last event of each of them, below zero where nobody knows; empty where none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) epochs: Vec<i32>,
    /// Where its bytes stand and what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<GroupBytes>,
    /// Offsets without events that were found while it was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<GroupGaps>,
}

/// Where the bytes of a row group stand in its file: start, end, XXH3 of them in hexadecimal.
///
/// A disk that loses power may keep a footer and lose bytes ahead of it that nobody had made sure of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupBytes(pub(super) u64, pub(super) u64, pub(super) String);

/// The stretch of offsets that a row group holds of one partition: topic (index), partition, first, last, count, gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ExtentTuple", into = "ExtentTuple")]
pub(super) struct Extent {
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) count: u64,
    pub(super) gaps: u64,
}

// As a list: with names, a footer of a thousand partitions would be mostly names.
type ExtentTuple = (u32, i32, i64, i64, u64, u64);

impl From<ExtentTuple> for Extent {
    fn from((topic, partition, first, last, count, gaps): ExtentTuple) -> Self {
        Self { topic, partition, first, last, count, gaps }
    }
}

impl From<Extent> for ExtentTuple {
    fn from(extent: Extent) -> Self {
        (extent.topic, extent.partition, extent.first, extent.last, extent.count, extent.gaps)
    }
}

impl Coverage {
    /// Writes it for a footer.
    pub(super) fn to_key_value(&self) -> KeyValue {
        KeyValue::new(COVERAGE_KEY.to_owned(), serde_json::to_string(self).ok())
    }

    /// Reads it from a footer's metadata; none where another tool wrote the segment.
    pub(super) fn from_footer(entries: Option<&Vec<KeyValue>>, path: &Path) -> Result<Option<Self>, RecordingError> {
        let text = entries
            .into_iter()
            .flatten()
            .find(|entry| entry.key == COVERAGE_KEY)
            .and_then(|entry| entry.value.as_ref());
        let Some(text) = text else { return Ok(None) };
        let footer = |problem: String| RecordingError::Footer { path: path.to_owned(), problem };
        let coverage: Self = serde_json::from_str(text)
            .map_err(|error| footer(format!("`{COVERAGE_KEY}` in the footer cannot be read: {error}")))?;
        if coverage.format.split('.').next() != FORMAT.split('.').next() {
            return Err(RecordingError::Version { path: path.to_owned(), found: coverage.format });
        }
        for group in &coverage.row_groups {
            let count: u64 = group.extents.iter().map(|extent| extent.count).sum();
            let known = group.extents.iter().all(|extent| (extent.topic as usize) < coverage.topics.len());
            let whole = group.extents.iter().all(|extent| {
                extent.count > 0 && i128::from(extent.last) - i128::from(extent.first) + 1 >= i128::from(extent.count)
            });
            let known = known && (group.epochs.is_empty() || group.epochs.len() == group.extents.len());
            let known = known && group.gaps.iter().all(|gaps| (gaps.topic as usize) < coverage.topics.len());
            if count != group.rows || !known || !whole {
                return Err(footer(format!("`{COVERAGE_KEY}` in the footer contradicts itself")));
            }
        }
        Ok(Some(coverage))
    }
}

/// Follows the offsets of all partitions as events pass by in order.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    topics: Vec<String>,
    index: BTreeMap<(u32, i32), usize>,
    recent: Vec<Option<(u32, i32, usize)>>,
    partitions: Vec<Tracked>,
    /// Leader epochs of a partition's events: each from an offset on, in order; below zero nobody knows it.
    epochs: BTreeMap<(u32, i32), Vec<(i64, i32)>>,
    touched: Vec<usize>,
    group_rows: u64,
    group_span: Option<TimeSpan>,
    span: Option<TimeSpan>,
}

#[derive(Debug)]
struct Tracked {
    total: Extent,
    group: Option<Extent>,
}

/// Entries of the direct-mapped cache in front of the map of partitions.
const RECENT: usize = 256;

impl Tracker {
    /// Takes in `batch`; `path` is the file that an error names.
    ///
    /// After an error the tracker may have taken in a part of the batch and is of no further use.
    pub(super) fn observe(&mut self, batch: &EventBatch, path: &Path) -> Result<(), RecordingError> {
        let topics: Vec<Option<u32>> = self.topics_of(batch);
        let columns = batch.topic_codes().iter().zip(batch.partitions()).zip(batch.offsets());
        for ((&code, &partition), &offset) in columns {
            let topic = topics[code as usize].unwrap_or_default();
            let at = self.partition_at(topic, partition, offset);
            if let Some(after) = self.partitions[at].observe(offset) {
                let topic = self.topics[topic as usize].clone();
                return Err(RecordingError::OffsetOrder { path: path.to_owned(), topic, partition, offset, after });
            }
            if self.partitions[at].group.is_some_and(|group| group.count == 1) {
                self.touched.push(at);
            }
        }
        let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
        for ms in (0..batch.len()).filter_map(|row| batch.timestamp_ms(row)) {
            first_ms = first_ms.min(ms);
            last_ms = last_ms.max(ms);
        }
        if first_ms <= last_ms {
            self.group_span = TimeSpan::join(self.group_span, Some(TimeSpan { first_ms, last_ms }));
        }
        self.group_rows += batch.len() as u64;
        Ok(())
    }

    /// Returns what the events since the last call cover.
    pub(super) fn end_group(&mut self) -> GroupCoverage {
        let touched = std::mem::take(&mut self.touched);
        let extents: Vec<Extent> = touched.iter().filter_map(|&at| self.partitions[at].group.take()).collect();
        let mut epochs: Vec<i32> = extents.iter().map(|extent| self.pass(extent)).collect();
        if epochs.iter().all(|epoch| *epoch < 0) {
            epochs.clear();
        }
        self.span = TimeSpan::join(self.span, self.group_span);
        let (rows, span) = (std::mem::take(&mut self.group_rows), self.group_span.take());
        GroupCoverage { rows, span, extents, epochs, ..GroupCoverage::default() }
    }

    /// Notes the leader epoch of a partition's events from `offset` on, which lies behind all that were noted before.
    pub(super) fn note_epoch(&mut self, topic: &str, partition: i32, offset: i64, epoch: i32) {
        let topic = self.topic_at(topic);
        self.epochs.entry((topic, partition)).or_default().push((offset, epoch));
    }

    /// Returns the leader epoch of the last event of `extent`, below zero where nobody knows, and forgets those ahead of it.
    fn pass(&mut self, extent: &Extent) -> i32 {
        let Some(epochs) = self.epochs.get_mut(&(extent.topic, extent.partition)) else { return -1 };
        let begun = epochs.partition_point(|(from, _)| *from <= extent.last);
        epochs.drain(..begun.saturating_sub(1));
        if begun == 0 { -1 } else { epochs[0].1 }
    }

    /// Leader epoch of the last event of a partition, by the name of its topic; none where nobody knows.
    pub(super) fn epoch_of(&self, topic: &str, partition: i32) -> Option<i32> {
        let at = self.topics.iter().position(|known| known == topic)?;
        self.epoch_at((at as u32, partition), self.last(at as u32, partition)?)
    }

    fn epoch_at(&self, place: (u32, i32), offset: i64) -> Option<i32> {
        let epochs = self.epochs.get(&place)?;
        let begun = epochs.partition_point(|(from, _)| *from <= offset);
        epochs.get(begun.checked_sub(1)?).map(|(_, epoch)| *epoch).filter(|epoch| *epoch >= 0)
    }

    /// Takes in what a footer says of the leader epochs of a row group whose events were seen.
    pub(super) fn take_epochs(&mut self, coverage: &Coverage, group: &GroupCoverage) {
        for (at, extent) in group.extents.iter().enumerate() {
            let place = (self.topic_at(&coverage.topics[extent.topic as usize]), extent.partition);
            match group.epochs.get(at) {
                Some(&epoch) => drop(self.epochs.insert(place, vec![(extent.last, epoch)])),
                None => drop(self.epochs.remove(&place)),
            }
        }
    }

    /// Returns the last offset of a partition; none where no event of it was seen.
    pub(super) fn last(&self, topic: u32, partition: i32) -> Option<i64> {
        self.index.get(&(topic, partition)).map(|&at| self.partitions[at].total.last)
    }

    /// Returns the last offset of a partition by the name of its topic; none where no event of it was seen.
    pub(super) fn last_of(&self, topic: &str, partition: i32) -> Option<i64> {
        let at = self.topics.iter().position(|known| known == topic)?;
        self.last(at as u32, partition)
    }

    /// Topics seen, by index.
    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Span of all ended groups.
    pub(super) fn span(&self) -> Option<TimeSpan> {
        self.span
    }

    /// Facts of all partitions, in order of topic and partition.
    pub(super) fn facts(&self) -> Vec<PartitionFacts> {
        let facts = |tracked: &Tracked| {
            let Extent { topic, partition, last, .. } = tracked.total;
            PartitionFacts { epoch: self.epoch_at((topic, partition), last), ..tracked.total.facts(&self.topics) }
        };
        let mut facts: Vec<PartitionFacts> = self.partitions.iter().map(facts).collect();
        facts.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        facts
    }

    /// Takes in what the footer of a segment says of one row group; its extents follow all that was seen before.
    pub(super) fn observe_group(
        &mut self,
        coverage: &Coverage,
        group: &GroupCoverage,
        path: &Path,
    ) -> Result<(), RecordingError> {
        for extent in &group.extents {
            let name = &coverage.topics[extent.topic as usize];
            let topic = self.topic_at(name);
            match self.index.get(&(topic, extent.partition)).copied() {
                None => {
                    self.index.insert((topic, extent.partition), self.partitions.len());
                    self.partitions.push(Tracked { total: Extent { topic, ..*extent }, group: None });
                }
                Some(at) => {
                    let total = &mut self.partitions[at].total;
                    if extent.first <= total.last {
                        return Err(RecordingError::OffsetOrder {
                            path: path.to_owned(),
                            topic: name.clone(),
                            partition: extent.partition,
                            offset: extent.first,
                            after: total.last,
                        });
                    }
                    let apart = extent.first - 1 > total.last;
                    total.last = extent.last;
                    total.count += extent.count;
                    total.gaps += extent.gaps + u64::from(apart);
                }
            }
        }
        self.take_epochs(coverage, group);
        self.span = TimeSpan::join(self.span, group.span);
        Ok(())
    }

    /// Index of the topic of each code of the batch that is used.
    fn topics_of(&mut self, batch: &EventBatch) -> Vec<Option<u32>> {
        let names = batch.topic_names();
        let mut used = vec![false; names.len()];
        for &code in batch.topic_codes() {
            used[code as usize] = true;
        }
        (0..names.len()).map(|code| used[code].then(|| self.topic_at(names.value(code)))).collect()
    }

    /// Returns the index of a topic, which is a new one where nothing of the topic was seen.
    pub(super) fn topic_at(&mut self, name: &str) -> u32 {
        let at = self.topics.iter().position(|topic| topic == name).unwrap_or_else(|| {
            self.topics.push(name.to_owned());
            self.topics.len() - 1
        });
        at as u32
    }

    #[inline]
    fn partition_at(&mut self, topic: u32, partition: i32, offset: i64) -> usize {
        if self.recent.is_empty() {
            self.recent = vec![None; RECENT];
        }
        let slot = (topic as usize).wrapping_mul(31).wrapping_add(partition as usize) % RECENT;
        if let Some((recent_topic, recent_partition, at)) = self.recent[slot]
            && recent_topic == topic
            && recent_partition == partition
        {
            return at;
        }
        let partitions = &mut self.partitions;
        let at = *self.index.entry((topic, partition)).or_insert_with(|| {
            let total = Extent { topic, partition, first: offset, last: offset, count: 0, gaps: 0 };
            partitions.push(Tracked { total, group: None });
            partitions.len() - 1
        });
        self.recent[slot] = Some((topic, partition, at));
        at
    }
}

impl Tracked {
    /// Takes in the next offset; returns the one ahead of it where it does not rise.
    #[inline]
    fn observe(&mut self, offset: i64) -> Option<i64> {
        let Tracked { total, group } = self;
        if total.count > 0 && offset <= total.last {
            return Some(total.last);
        }
        let apart = total.count > 0 && offset - 1 > total.last;
        total.last = offset;
        total.count += 1;
        total.gaps += u64::from(apart);
        match group {
            Some(group) => {
                group.last = offset;
                group.count += 1;
                group.gaps += u64::from(apart);
            }
            None => *group = Some(Extent { first: offset, last: offset, count: 1, gaps: 0, ..*total }),
        }
        None
    }
}

impl Extent {
    fn facts(&self, topics: &[String]) -> PartitionFacts {
        PartitionFacts {
            topic: topics[self.topic as usize].clone(),
            partition: self.partition,
            first: self.first,
            last: self.last,
            count: self.count,
            gaps: self.gaps,
            epoch: None,
        }
    }
}
