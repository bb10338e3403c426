//! What a drive tells of the processes of its build: how each ended, and what happened to those that faults ended or stopped.

use serde::{Deserialize, Serialize};

/// What a fault at processes did in one drive, all its instances together. What rests on commits is none where the build told of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StopCount {
    /// Processes that were killed, told to end, or stopped.
    pub stops: u64,
    /// Of those, processes that were started again, or that went on.
    #[serde(default)]
    pub resumed: u64,
    /// Of those that were told to end, processes that took longer than `grace` and were killed.
    #[serde(default)]
    pub killed: u64,
    /// Events in flight when it began: handed over, and not committed.
    #[serde(default)]
    pub in_flight: Option<u64>,
    /// Outputs that were written between the word to end and the end of the process.
    #[serde(default)]
    pub drained: u64,
    /// Events that were committed meanwhile.
    #[serde(default)]
    pub committed: Option<u64>,
    /// Events that had been handed over and were not committed when the process ended: they are delivered again.
    #[serde(default)]
    pub again: Option<u64>,
    /// Longest time from its begin until the process was started again or went on, in microseconds.
    #[serde(default)]
    pub away_us_max: i64,
}

/// What came of reading the figures that a build offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrapeCount {
    /// Readings that brought figures.
    pub read: u64,
    /// Readings that failed once one had brought figures.
    #[serde(default)]
    pub failed: u64,
    /// Why the last of them did.
    #[serde(default)]
    pub problem: Option<String>,
    /// Why there were none ahead of the first; of a build that starts this is no failure.
    #[serde(default)]
    pub waited: Option<String>,
    /// Whether there were more series than are kept.
    #[serde(default)]
    pub beyond: bool,
}

/// How one process of a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Number of the process, from 0 on.
    pub instance: u32,
    /// How often it was started.
    pub starts: u64,
    /// Exit code of the last time.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Signal that ended it the last time.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Whether it ended by itself, without having been told to.
    #[serde(default)]
    pub by_itself: bool,
}
