//! `manifest.json`: what a recording says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::gaps::{CauseFacts, GapCause, PartitionGaps};
use super::{RecordingError, disk};

/// Name of the manifest in its recording.
pub(super) const FILE: &str = "manifest.json";

/// Name of a manifest that is being written.
pub(super) const UNDER_WAY: &str = "manifest.json.new";

/// Version that is written. Versions of the same whole number are read, whatever follows the dot.
pub(super) const FORMAT: &str = "1.0";

/// What a recording says of itself, in `manifest.json`. Only `format` and the segments' files must be there: a recording made by
/// another tool needs no more, and fields that are not known are left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format, such as `1.0`.
    pub format: String,
    /// Program that wrote it, with its version.
    #[serde(default)]
    pub tool: String,
    /// Where the events came from.
    #[serde(default)]
    pub source: Source,
    /// Partitions that hold events, in order of topic and partition.
    #[serde(default)]
    pub partitions: Vec<PartitionFacts>,
    /// Offsets without an event of each partition that has some, with their causes, in order of topic and partition; empty where
    /// imported.
    #[serde(default)]
    pub gaps: Vec<PartitionGaps>,
    /// First and last timestamp; none where no event has one.
    #[serde(default)]
    pub span: Option<TimeSpan>,
    /// Masks that were applied, without their keys.
    #[serde(default)]
    pub masks: Vec<Mask>,
    /// The policy that they come from; none where no policy was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<Masking>,
    /// What looks personal in events that were kept, by topic and path, as capture and `mask` saw it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<PersonalFacts>,
    /// Whether nothing that looks personal was kept: whoever goes on with the recording keeps nothing such, either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_privacy: bool,
    /// What ended the capture ahead of the end of its window, as a sentence; none where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// Schemas of a registry that events refer to.
    #[serde(default)]
    pub schemas: Vec<SchemaSeen>,
    /// Files of the schemas that a registry gave.
    #[serde(default)]
    pub schema_files: Vec<SchemaFile>,
    /// Segments, in order.
    pub segments: Vec<SegmentFacts>,
    /// Whether the recording was finished.
    #[serde(default = "yes")]
    pub sealed: bool,
}

/// Where the events of a recording came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Id of the Kafka cluster; none where imported.
    pub cluster: Option<String>,
    /// Which events were taken, in Kafka's words: `read_committed` leaves out those of open and aborted transactions,
    /// `read_uncommitted` takes all; none where imported.
    pub isolation: Option<String>,
    /// Topics, in order of name.
    pub topics: Vec<TopicSource>,
}

impl Source {
    /// Adds a topic, or partitions of a topic that is known, which came up while the recording was made.
    pub(crate) fn add(&mut self, topic: TopicSource) {
        if let Some(known) = self.topics.iter_mut().find(|known| known.name == topic.name) {
            known.partitions = known.partitions.max(topic.partitions);
            known.starts.extend(topic.starts);
        } else {
            let place = self.topics.partition_point(|known| known.name < topic.name);
            self.topics.insert(place, topic);
        }
    }
}

/// One topic as it was at its source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicSource {
    /// Name.
    pub name: String,
    /// Id that the cluster gave it.
    pub id: Option<String>,
    /// Number of partitions, empty ones too.
    pub partitions: i32,
    /// Configuration, as the cluster told it.
    pub configuration: BTreeMap<String, String>,
    /// What it is for.
    pub role: Role,
    /// Offset at which the window of a partition begins where events ahead of it were taken, too: of a table the last value of
    /// each key, as it stood when the window began. They keep their offsets, and what lies between them is no gap.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<i32, i64>,
    /// Offset at which the capture of each partition began; empty where imported.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<i32, i64>,
    /// Set where the topic was deleted and made again while it was captured, and events of the new one may be among the old, or
    /// were not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Recreation>,
    /// First offset of each partition that an open transaction held back when the capture ended: from there on nothing was taken.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_back: BTreeMap<i32, i64>,
    /// Whether the topic was deleted while it was captured: what came of it behind the last event of each partition nobody has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl TopicSource {
    /// What was lost with the topic, as a sentence, where it was deleted.
    fn lost(&self) -> Option<String> {
        let again = match &self.recreated {
            Some(Recreation { id, doubtful }) if doubtful.is_empty() => {
                format!(" It was made again (its id is {id} since), and of the new one nothing was taken.")
            }
            _ => String::new(),
        };
        let said = "was deleted while it was captured: what came of it behind its last events here is lost.";
        self.deleted.then(|| format!("Topic {} {said}{again}", self.name))
    }
}

/// What became of a topic while it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recreation {
    /// Id of the new topic.
    pub id: String,
    /// First offset of each partition from which on an event may be of the new topic: all ahead of it are of the old one. Partitions
    /// of which no such event was taken are left out.
    pub doubtful: BTreeMap<i32, i64>,
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Its events are handed to the builds.
    #[default]
    Input,
    /// A compacted topic of which the last value of each key counts.
    Table,
    /// What production's own build wrote.
    Output,
    /// A processor's internal state.
    Changelog,
}

/// What a recording holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFacts {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// Number of events.
    pub count: u64,
    /// Stretches of offsets between first and last that hold no event: markers of transactions, compaction, or loss.
    #[serde(default)]
    pub gaps: u64,
    /// Leader epoch of the last event: the number of the leadership under which Kafka took it. None where the broker did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i32>,
}

impl PartitionFacts {
    /// Returns the number of offsets between the first and the last that have no event.
    pub fn missing(&self) -> u64 {
        (i128::from(self.last) - i128::from(self.first) + 1 - i128::from(self.count)).clamp(0, i128::from(u64::MAX))
            as u64
    }
}

/// A span of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpan {
    /// Smallest timestamp, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// Largest timestamp, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

impl TimeSpan {
    /// Returns the span of both, either of which may be none.
    pub(super) fn join(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => {
                Some(Self { first_ms: a.first_ms.min(b.first_ms), last_ms: a.last_ms.max(b.last_ms) })
            }
            (a, b) => a.or(b),
        }
    }
}

/// One mask that capture applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Topic; none means all.
    #[serde(default)]
    pub topic: Option<String>,
    /// What was masked: a JSONPath in the value, `key`, or `header NAME`.
    pub what: String,
    /// How, such as `token`.
    pub method: String,
    /// How often it changed something; none where nobody counted.
    #[serde(default)]
    pub count: Option<u64>,
    /// Tells keys of masks apart, without saying anything of the key: recordings with the same one have the same tokens, so they
    /// join. None where the mask has no key.
    #[serde(default)]
    pub key: Option<String>,
}

/// Which policy masked a recording, told so that another one is known from it. Nothing in it says what the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masking {
    /// SHA-256 of the policy's rules, in hexadecimal.
    pub policy: String,
    /// Tells the keys of policies apart, as in [`Mask::key`]; none where the policy names none.
    #[serde(default)]
    pub key: Option<String>,
}

/// What looks personal in one place of the events of one topic, and was kept. A slice has it of the recording it was cut from, with
/// count and first event of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalFacts {
    /// Topic.
    pub topic: String,
    /// Where in the events, as a JSONPath with `[*]` for every element, `value`, `key` or `header NAME`.
    pub path: String,
    /// What it looks like, such as `email`.
    pub kind: String,
    /// How often it was found; of a recording that was gone on with, at least so often.
    pub count: u64,
    /// Partition of the event in which it was found first.
    pub partition: i32,
    /// Offset of that event.
    pub offset: i64,
}

/// What is said of masks in the footers of segments, so that it outlasts the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FooterMasks {
    #[serde(default)]
    pub(super) masking: Option<Masking>,
    pub(super) masks: Vec<Mask>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) personal: Vec<PersonalFacts>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) strict_privacy: bool,
}

impl FooterMasks {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            masking: manifest.masking.clone(),
            masks: manifest.masks.clone(),
            personal: manifest.personal.clone(),
            strict_privacy: manifest.strict_privacy,
        }
    }
}

/// One schema that events refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSeen {
    /// Topic.
    pub topic: String,
    /// `key` or `value`.
    pub part: String,
    /// Id in the registry.
    pub id: i32,
}

/// The file of one schema, with what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaFile {
    /// Id in the registry.
    pub id: i32,
    /// Path below the recording's directory, such as `schemas/7.json`.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// One segment of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// Path below the recording's directory, such as `segments/000000.parquet`.
    pub file: String,
    /// Events; none is not checked.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Length; none is not checked.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// SHA-256 of the file, in hexadecimal; none is not checked.
    #[serde(default)]
    pub sha256: Option<String>,
}

impl Manifest {
    /// Makes the manifest of a recording without events.
    pub(super) fn new(source: Source) -> Self {
        Self {
            format: FORMAT.to_owned(),
            tool: super::tool(),
            source,
            partitions: Vec::new(),
            gaps: Vec::new(),
            span: None,
            masks: Vec::new(),
            personal: Vec::new(),
            strict_privacy: false,
            ended_early: None,
            masking: None,
            schemas: Vec::new(),
            schema_files: Vec::new(),
            segments: Vec::new(),
            sealed: false,
        }
    }

    /// Returns what is missing of one partition, by cause, the gravest first: what the ledger says, and as
    /// [`GapCause::Unknown`] what it does not account for.
    pub fn missing(&self, topic: &str, partition: i32) -> Vec<CauseFacts> {
        let ledger = self.gaps.iter().find(|gaps| gaps.topic == topic && gaps.partition == partition);
        let mut causes = ledger.map(|gaps| gaps.causes.clone()).unwrap_or_default();
        // How many events stand ahead of a window the manifest does not say: there the ledger alone speaks.
        if self.window(topic, partition).is_some() {
            return causes;
        }
        let accounted: u64 = causes.iter().map(|one| one.offsets).sum();
        let rest = self.offsets_missing(topic, partition, 0).saturating_sub(accounted);
        if rest > 0 {
            let gaps = self.partitions.iter().find(|facts| facts.topic == topic && facts.partition == partition);
            let named: u64 = causes.iter().map(|one| one.stretches).sum();
            let stretches = gaps.map_or(1, |facts| facts.gaps).saturating_sub(named).max(1);
            match causes.iter_mut().find(|one| one.cause == GapCause::Unknown) {
                Some(known) => {
                    known.stretches += stretches;
                    known.offsets += rest;
                }
                None => causes.push(CauseFacts { cause: GapCause::Unknown, stretches, offsets: rest }),
            }
            causes.sort_by_key(|one| one.cause);
        }
        causes
    }

    /// Returns what cannot be trusted although every hash is right, as sentences: where events of a topic that was made again may
    /// stand among those of the one before.
    pub fn doubts(&self) -> Vec<String> {
        let one = |topic: &TopicSource| {
            let Recreation { id, doubtful } = topic.recreated.as_ref().filter(|new| !new.doubtful.is_empty())?;
            let places: Vec<String> = doubtful
                .iter()
                .map(|(partition, offset)| format!("partition {partition} from offset {offset} on"))
                .collect();
            Some(format!(
                "Topic {} was deleted and made again while it was captured (its id is {id} since): {} may hold events of both.",
                topic.name,
                places.join(", ")
            ))
        };
        self.source.topics.iter().filter_map(one).collect()
    }

    /// Returns what the window holds and the recording does not, as sentences: what came behind the event or the failure that ended
    /// the capture, what open transactions held back, and what was lost with topics that were deleted. What lies between the events stands in [`Manifest::gaps`].
    pub fn left_out(&self) -> Vec<String> {
        let one = |topic: &TopicSource| {
            let places: Vec<String> = topic
                .held_back
                .iter()
                .map(|(partition, offset)| format!("partition {partition} from offset {offset} on"))
                .collect();
            let said = || {
                let (name, places) = (&topic.name, places.join(", "));
                format!("Topic {name}: an open transaction held events back when the capture ended: {places}.")
            };
            (!places.is_empty()).then(said)
        };
        let early =
            self.ended_early.iter().map(|why| format!("The capture ended ahead of the end of its window: {why}."));
        let topics = &self.source.topics;
        early.chain(topics.iter().filter_map(one)).chain(topics.iter().filter_map(TopicSource::lost)).collect()
    }

    /// Returns what is missing of all partitions, by cause, the gravest first.
    pub fn missing_by_cause(&self) -> Vec<CauseFacts> {
        let with_events = self.partitions.iter().map(|facts| (facts.topic.as_str(), facts.partition));
        let with_gaps = self.gaps.iter().map(|gaps| (gaps.topic.as_str(), gaps.partition));
        let partitions: BTreeSet<(&str, i32)> = with_events.chain(with_gaps).collect();
        let mut causes: BTreeMap<GapCause, CauseFacts> = BTreeMap::new();
        for one in partitions.into_iter().flat_map(|(topic, partition)| self.missing(topic, partition)) {
            let sum = causes.entry(one.cause).or_insert(CauseFacts { stretches: 0, offsets: 0, ..one });
            sum.stretches += one.stretches;
            sum.offsets += one.offsets;
        }
        causes.into_values().collect()
    }

    /// Returns where the window of a partition begins that holds events ahead of it, too.
    fn window(&self, topic: &str, partition: i32) -> Option<i64> {
        self.source.topics.iter().find(|source| source.name == topic)?.windows.get(&partition).copied()
    }

    /// Number of offsets without an event from where the capture of a partition began to the last one that is accounted for.
    /// What lies ahead of its window is none of them; `state` events stand there.
    pub(super) fn offsets_missing(&self, topic: &str, partition: i32, state: u64) -> u64 {
        let facts = self.partitions.iter().find(|facts| facts.topic == topic && facts.partition == partition);
        let ledger = self.gaps.iter().find(|gaps| gaps.topic == topic && gaps.partition == partition);
        let source = self.source.topics.iter().find(|source| source.name == topic);
        let start = source.and_then(|source| source.starts.get(&partition)).copied();
        let begun = [facts.map(|facts| facts.first), start].into_iter().flatten().min();
        let first = self.window(topic, partition).or(begun);
        let last = [facts.map(|facts| facts.last), ledger.map(|gaps| gaps.through)].into_iter().flatten().max();
        let (Some(first), Some(last)) = (first, last) else { return 0 };
        let events = facts.map_or(0, |facts| facts.count.saturating_sub(state));
        (i128::from(last) - i128::from(first) + 1 - i128::from(events)).clamp(0, i128::from(u64::MAX)) as u64
    }

    /// Reads the manifest of the recording in `directory` and checks its version.
    pub(super) fn read(directory: &Path) -> Result<Self, RecordingError> {
        let path = directory.join(FILE);
        if !directory.is_dir() {
            return Err(RecordingError::NoSuchDirectory { path: directory.to_owned() });
        }
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(RecordingError::NoManifest { path });
            }
            Err(error) => return Err(RecordingError::file("read", &path)(error)),
        };
        Self::parse(&text, path)
    }

    /// Reads the text of the manifest at `path` and checks its version.
    pub(super) fn parse(text: &[u8], path: PathBuf) -> Result<Self, RecordingError> {
        // The version first: a manifest of another version may well look otherwise.
        let bad = |source| RecordingError::BadManifest { path: path.clone(), source };
        let Version { format } = serde_json::from_slice(text).map_err(bad)?;
        if format.split('.').next() != FORMAT.split('.').next() {
            return Err(RecordingError::Version { path, found: format });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(bad)?;
        let segments = manifest.segments.iter().map(|segment| &segment.file);
        let mut files = segments.chain(manifest.schema_files.iter().map(|schema| &schema.file));
        match files.find(|file| outside(file)) {
            Some(file) => Err(RecordingError::SegmentOutside { path, file: file.clone() }),
            None => Ok(manifest),
        }
    }

    /// Returns the text of the manifest that is to stand at `path`.
    pub(super) fn text(&self, path: &Path) -> Result<Vec<u8>, RecordingError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|source| RecordingError::BadManifest { path: path.to_owned(), source })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Writes the manifest under a temporary name, makes sure that it is on the disk, and renames it: there is never half of it.
    pub(super) fn write(&self, directory: &Path) -> Result<(), RecordingError> {
        let path = directory.join(FILE);
        let temporary = directory.join(UNDER_WAY);
        let text = self.text(&path)?;
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            disk::sync_directory(directory)
        };
        write().map_err(RecordingError::file("write", &path))
    }
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Version {
    format: String,
}

fn yes() -> bool {
    true
}

/// Whether the path leads out of the recording.
fn outside(file: &str) -> bool {
    use std::path::Component;
    !Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
