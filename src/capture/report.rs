//! What a capture tells: how far it is, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use crate::mask::Sighting;
use crate::recording::{AcknowledgedPartition, CauseFacts, TimeSpan};

/// Where a capture stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureStep {
    /// The cluster has answered, and taking begins.
    #[default]
    Started,
    /// Events are taken.
    Taking,
    /// For the first time nothing lies ahead.
    CaughtUp,
    /// What was taken so far is safe on the disk.
    Checkpoint,
    /// No broker, or not the store, has been reachable for some seconds; it goes on as soon as one is.
    Unreachable,
    /// A broker, or the store, is reachable again.
    Reachable,
    /// Something to know has come up.
    Noted,
    /// The recording is finished.
    Sealed,
}

/// How far a capture has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureProgress {
    /// Where it stands.
    pub step: CaptureStep,
    /// Time since it began.
    pub elapsed: Duration,
    /// Events in the recording, those of before a resume too.
    pub events: u64,
    /// Bytes of the keys and values taken by this capture.
    pub bytes: u64,
    /// Events that are on the disk, of `events`.
    pub acknowledged_events: u64,
    /// Up to where each partition with events is on the disk: no crash and no loss of power takes these events away.
    pub acknowledged: Arc<[AcknowledgedPartition]>,
    /// Events that are still to come: up to the end where there is one, else up to the newest that the brokers told of.
    pub lag: u64,
    /// What there is to know, as a sentence, with the steps that have something to say; [`CaptureReport::notes`] has it, too.
    pub note: Option<String>,
}

/// What a capture took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureReport {
    /// Events in the recording, those of before a resume too. All of them are on the disk.
    pub events: u64,
    /// Bytes of the keys and values taken by this capture.
    pub bytes: u64,
    /// What ended the capture.
    pub ending: CaptureEnding,
    /// Events that the recording held when it was gone on with; none where it is new.
    pub resumed_at: Option<u64>,
    /// Offsets without an event, by cause, the gravest first; those of before a resume too.
    pub missing: Vec<CauseFacts>,
    /// What else there is to know, as sentences: what could not be checked, what was cut off by a crash.
    pub notes: Vec<String>,
    /// What was taken of each partition, in order of topic and partition, empty ones too.
    pub partitions: Vec<CapturedPartition>,
    /// What looked personal in what was kept, by topic and path.
    pub sightings: Vec<Sighting>,
    /// What could not be done for schemas, and rules of the mask policy that changed nothing, as sentences.
    pub warnings: Vec<String>,
}

/// What ended a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureEnding {
    /// All partitions were read to their ends.
    Ended,
    /// The number of events was reached.
    Counted,
    /// The duration was over.
    TimeOver,
    /// It was told to stop.
    Stopped,
}

/// What was taken of one partition by this capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset at which the capture began.
    pub start: i64,
    /// Next offset that would have been taken.
    pub next: i64,
    /// Events taken, those of the table's state not among them.
    pub events: u64,
    /// Last values of keys that were taken of a table ahead of `start`.
    pub state: u64,
    /// Keys whose last value ahead of `start` was compacted away while it was read: a newer one stands in the window.
    pub vanished: u64,
    /// Offsets that hold no event, of those that this capture came past: ahead of the first event taken and behind the last, too.
    pub missing: u64,
    /// Smallest and largest timestamp of the events taken.
    pub span: Option<TimeSpan>,
}
