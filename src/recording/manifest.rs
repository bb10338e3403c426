//! `manifest.json`: what a recording says of itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RecordingError;

/// Name of the manifest in its recording.
pub(super) const FILE: &str = "manifest.json";

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
    /// First and last timestamp; none where no event has one.
    #[serde(default)]
    pub span: Option<TimeSpan>,
    /// Masks that were applied, without their keys.
    #[serde(default)]
    pub masks: Vec<Mask>,
    /// Schemas of a registry that events refer to.
    #[serde(default)]
    pub schemas: Vec<SchemaSeen>,
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
    /// How, such as `hash`.
    pub method: String,
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
    /// Schema as the registry gave it; none where there was no registry to ask.
    #[serde(default)]
    pub schema: Option<String>,
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
            span: None,
            masks: Vec::new(),
            schemas: Vec::new(),
            segments: Vec::new(),
            sealed: false,
        }
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
        // The version first: a manifest of another version may well look otherwise.
        let bad = |source| RecordingError::BadManifest { path: path.clone(), source };
        let Version { format } = serde_json::from_slice(&text).map_err(bad)?;
        if format.split('.').next() != FORMAT.split('.').next() {
            return Err(RecordingError::Version { path, found: format });
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(bad)?;
        match manifest.segments.iter().find(|segment| outside(&segment.file)) {
            Some(segment) => Err(RecordingError::SegmentOutside { path, file: segment.file.clone() }),
            None => Ok(manifest),
        }
    }

    /// Writes the manifest under a temporary name, makes sure that it is on the disk, and renames it: there is never half of it.
    pub(super) fn write(&self, directory: &Path) -> Result<(), RecordingError> {
        let path = directory.join(FILE);
        let temporary = directory.join("manifest.json.new");
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|source| RecordingError::BadManifest { path: path.clone(), source })?;
        text.push(b'\n');
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(directory)?.sync_all()
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
