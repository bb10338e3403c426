//! A plan's parts once everything about them has been checked; shared by its streams.

use std::sync::Arc;

use super::Seed;
use super::faults::Faults;
use super::flag_change::CheckedChange;
use super::pace::Pace;
use super::requests::CheckedRequest;
use super::select::Slice;
use super::source::Source;
use super::summary::{PlannedFault, Summarised};
use crate::recording::Partition;
use crate::spill::SpillSpace;

/// Everything that a stream of deliveries follows from.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) source: Arc<dyn Source>,
    /// In order of topic and partition.
    pub(super) partitions: Vec<Partition>,
    pub(super) topics: Vec<String>,
    /// By partition: index of its topic.
    pub(super) topic_of: Vec<u32>,
    pub(super) slice: Slice,
    pub(super) pace: Pace,
    pub(super) faults: Faults,
    pub(super) named: Vec<PlannedFault>,
    pub(super) requests: Vec<CheckedRequest>,
    pub(super) changes: Vec<CheckedChange>,
    /// All faults in the scenario's order: whether it is at requests, and its place among its like.
    pub(super) order: Vec<(bool, usize)>,
    pub(super) seed: Seed,
    /// Event time of the slice's first event, in microseconds since the Unix epoch.
    pub(super) origin_us: i64,
    pub(super) spill: Arc<SpillSpace>,
    /// Entries of one queue in memory at most.
    pub(super) pending_max: usize,
    /// Summaries once they are known: of all deliveries, and of first attempts alone.
    pub(super) summaries: [std::sync::OnceLock<Summarised>; 2],
}
