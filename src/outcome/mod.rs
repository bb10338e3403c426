//! What one build did with one plan: outputs, receipts, ending, gauges. Format 1: a directory with `outputs.parquet`,
//! `deliveries.parquet`, `gauges.parquet`, `ending.json` and `stderr.log`; and where faults at requests were part of the plan,
//! `faults.ndjson`, which says what they touched.
//!
//! Written in batches while a drive goes on, read in batches by `compare`; memory never depends on its length. What never
//! happens here: an outcome is judged.

mod batch;
mod columns;
mod deliveries;
mod ending;
mod flags;
mod gauges;
mod isolation;
mod open;
mod outputs;
mod production;
mod read_columns;
mod stops;
mod table;
mod touches;
mod wall_clock;
mod words;
mod writer;

pub use batch::{CauseView, OutputBatch, OutputView};
pub use deliveries::{DeliveriesWriter, DeliveryBatches, Receipt};
pub use flags::{FlagChanged, FlagCount, FlagsReport};
pub use gauges::{Gauge, GaugesWriter};
pub use isolation::{Allowed, Attempt, AttemptKind, Isolation, Layer, LayerState};
pub use open::{Outcome, OutputBatches};
pub use outputs::{OutputRow, OutputsWriter};
pub use production::{InFlight, ProductionReport, ProductionTable};
pub use read_columns::value_hash;
pub use stops::{InstanceReport, ScrapeCount, StopCount};
pub use touches::{Touch, TouchedPartition, Touches, TouchesWriter};
pub use wall_clock::WallClockReport;
pub use writer::OutcomeWriter;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Phase;
use crate::recording::Header;
use crate::schema::SchemaText;

/// How a drive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Drained past every cause.
    Finished,
    /// The build's process ended by itself before it was asked to, or with another exit code than 0.
    Died,
    /// A bound of the settings passed, or the drive was interrupted from outside; the report's reason says which.
    TimedOut,
    /// The build took no more input.
    StoppedReading,
}

/// Where an output went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// An ordinary output.
    #[default]
    Output,
    /// What the build could not process.
    DeadLetter,
    /// A call to the outside.
    Http,
    /// A line of a sink's snapshot.
    Sink,
}

/// How an output's cause is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseBy {
    /// The build said so.
    Build,
    /// Found by `[lineage]`.
    Lineage,
    /// The last delivery of the same key.
    Inferred,
}

/// The delivery behind an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset as recorded (not the position).
    pub offset: i64,
    /// Attempt.
    pub attempt: i32,
    /// How it is known.
    pub by: CauseBy,
}

/// One event that a build wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Order of arrival, from zero.
    pub sequence: i64,
    /// When it arrived, in microseconds since the schedule's start (negative during warm-up).
    pub arrived_us: i64,
    /// Phase of its cause; without a cause, by arrival.
    pub phase: Phase,
    /// Where it went.
    pub channel: Channel,
    /// Topic; where the build named none, the first of `outputs`, else `output`.
    pub topic: String,
    /// Partition, 0 where the build named none.
    pub partition: i32,
    /// Timestamp in milliseconds, where the build gave one.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value: the JSON text as the build wrote it, or bytes.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<Header>,
    /// Delivery behind it.
    pub cause: Option<Cause>,
    /// Why the line could not be read; the line is then the value. None for an output that is well-formed. (A column beyond the
    /// design's: readers ignore columns they do not know.)
    pub malformed: Option<String>,
}

/// How a drive went: `ending.json`. Only `format` and `ending` are required when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndingReport {
    /// Format version, `1.0`.
    pub format: String,
    /// How it ended.
    pub ending: Ending,
    /// Sentence that says why, such as "exit code 3 after 1,204 of 26,398 deliveries"; its last lines of standard error are in `stderr.log`.
    #[serde(default)]
    pub reason: String,
    /// Exit code of the build's process.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Deliveries planned for this drive; none where unknown.
    #[serde(default)]
    pub deliveries: Option<u64>,
    /// Deliveries handed over.
    #[serde(default)]
    pub sent: Option<u64>,
    /// Redeliveries (attempt > 0) handed over.
    #[serde(default)]
    pub redelivered: Option<u64>,
    /// Outputs kept.
    #[serde(default)]
    pub outputs: Option<u64>,
    /// Next positions wanted, by topic and partition, as the build committed them.
    #[serde(default)]
    pub committed: Vec<Committed>,
    /// Length of the drive from the schedule's start, in microseconds.
    #[serde(default)]
    pub length_us: Option<i64>,
    /// How well the schedule was kept; none where unpaced.
    #[serde(default)]
    pub lateness: Option<Lateness>,
    /// Outputs of transactions that the build took back; they stand in no table.
    #[serde(default)]
    pub taken_back: u64,
    /// How often each fault at requests fired in this drive, by its name, and each change of a flag; one that is part of the plan and touched nothing has zeros, one
    /// that is not there was no part of it. `faults.ndjson` says what was touched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, FaultCount>,
    /// What each fault at processes did to those of the build, by its name; empty where the plan has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stops: BTreeMap<String, StopCount>,
    /// Each process of the build, where there were several or one was started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceReport>,
    /// What came of reading the figures that the build offers; none where none were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrapes: Option<ScrapeCount>,
    /// What events were answered; none where they were not posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<ResponseCount>,
    /// What was called of each effect, by its name; empty where the scenario has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub effects: BTreeMap<String, EffectCount>,
    /// What was done with the schema registry; none where the drive had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryCount>,
    /// What became of the build's flags; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagsReport>,
    /// How the build's wall clock was set; none where it had the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_clock: Option<WallClockReport>,
    /// Requests to stubs that were none, or broke off before their end: nobody can tell what they asked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub broken_requests: u64,
    /// What came of the snapshot of each sink, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sinks: BTreeMap<String, SinkReport>,
    /// What went wrong beside the build and changes nothing of what it did: a command that was to clean up, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Bytes of standard error that were not kept because of its bound.
    #[serde(default)]
    pub stderr_dropped_bytes: u64,
    /// How far the drive was kept to itself; none where nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// What is known of an outcome that production itself wrote; none where a drive of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<ProductionReport>,
}

/// Serde asks by reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What posted events were answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResponseCount {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Longest time from a request to its answer's end, in microseconds.
    pub longest_us: i64,
    /// Sum of those times.
    pub total_us: i64,
}

/// What one drive did with its schema registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RegistryCount {
    /// Requests.
    pub requests: u64,
    /// Schemas that were registered, or refused, in order and each once.
    #[serde(default)]
    pub registered: Vec<RegisteredSchema>,
    /// Schemas beyond those that are told of one by one.
    #[serde(default)]
    pub untold: u64,
    /// Schemas that were registered and that the recording does not know, under the ids that they were given: they describe values that the
    /// drive wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<SchemaText>,
    /// Requests that were answered with an error other than that something is not there or cannot follow, by status: too large, broken,
    /// no schema.
    #[serde(default)]
    pub errors: BTreeMap<u16, u64>,
    /// Paths that were asked for and are not there, and how often: the first few that differ.
    #[serde(default)]
    pub missed: BTreeMap<String, u64>,
}

/// A schema that a drive registered, or that its registry refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredSchema {
    /// Subject.
    pub subject: String,
    /// `Avro`, `Protobuf` or `JSON Schema`.
    pub kind: String,
    /// Hash of what it says, in hexadecimal: the same in every drive.
    pub schema: String,
    /// Version that it was given; none where it was refused.
    pub version: Option<i32>,
    /// Id that it was given, likewise.
    pub id: Option<i32>,
    /// Compatibility with the latest version there: `full` · `backward` · `forward` · `none`; none for a subject's first.
    pub compatibility: Option<String>,
    /// What breaks it, as sentences.
    #[serde(default)]
    pub breaks: Vec<String>,
}

/// What one drive called of an effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EffectCount {
    /// Calls, warm-up included.
    pub calls: u64,
    /// Of those, calls that no rule answers: they were answered with 501.
    #[serde(default)]
    pub unmatched: u64,
    /// Method and path of such calls, and how often: the first few that differ.
    #[serde(default)]
    pub unmatched_calls: BTreeMap<String, u64>,
    /// Calls that were answered with a status from 500 on.
    #[serde(default)]
    pub failed: u64,
    /// Calls that were left without an answer.
    #[serde(default)]
    pub unanswered: u64,
}

/// What came of the snapshot of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SinkReport {
    /// Rows that were kept, as outputs on the channel `sink`.
    pub rows: u64,
    /// Why there is none, such as `exit code 2`; nothing is kept of a snapshot that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// How often a fault at requests or processes fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FaultCount {
    /// Instances that began and touched something.
    pub instances: u64,
    /// Requests, partitions of requests, connections and groups that were touched.
    pub touched: u64,
    /// Instances that can have made a build write, or be handed, something once more: each that lost the answer to a `Produce`, and each
    /// rebalance, crash, restart and freeze if events were handed out again because of none but faults.
    #[serde(default)]
    pub provoked: u64,
}

/// A committed position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Next position wanted.
    pub position: i64,
}

/// How late deliveries were handed over against their due times.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Lateness {
    /// Median, in microseconds.
    pub p50_us: i64,
    /// 99th percentile, in microseconds.
    pub p99_us: i64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: i64,
    /// Largest, in microseconds.
    pub max_us: i64,
    /// Share later than 5 ms.
    pub beyond_5ms: f64,
    /// Length of the replay over the planned length, minus one.
    pub slow_down: f64,
}

/// Why an outcome cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// A file could not be read or written.
    #[error("could not access {path}")]
    Io {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what the format says.
    #[error("{path} is no outcome of format 1: {problem}")]
    Format {
        /// File.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl OutcomeError {
    /// Blames the system's refusal on `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// Says what is wrong with the content of `path`.
    pub(crate) fn format(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.to_string() }
    }
}
