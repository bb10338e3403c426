//! What came of the kills.

use std::collections::BTreeMap;

use super::near::Near;
use super::sort::Sort;

/// What came of the kills.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Children that ended by the signal.
    pub(crate) kills: u64,
    /// Kills by what was captured, and where to.
    pub(crate) sorts: BTreeMap<Sort, u64>,
    /// Kills at a request to a store, ahead of it or behind it.
    pub(crate) at_requests: u64,
    /// Kills behind which the manifest was lost and the next capture went on without it, and behind which the recording was rebuilt
    /// from its segments and held against what was acknowledged.
    pub(crate) without_manifest: u64,
    pub(crate) rebuilt: u64,
    /// Kills near something, each counted once, under the rarest.
    pub(crate) near: BTreeMap<Near, u64>,
    /// Kills at instants that nothing but time chose.
    pub(crate) blind: u64,
    /// Kills of children that stood still between two steps.
    pub(crate) stood: u64,
    /// Losses of power that took something away, and of these: those that took bytes, and names.
    pub(crate) power_lost: u64,
    pub(crate) bytes_lost: u64,
    pub(crate) names_lost: u64,
    pub(crate) recordings: u64,
    pub(crate) events: u64,
    /// Times that less was acknowledged than before.
    pub(crate) lost: u64,
    /// Events that a recording lacks, holds twice, or holds otherwise than they were produced.
    pub(crate) wrong: u64,
    /// What else went wrong: children that failed, recordings that do not verify.
    pub(crate) failed: Vec<String>,
}

impl Figures {
    /// Whether nothing was lost, twice or otherwise amiss.
    pub(crate) fn hold(&self) -> bool {
        self.lost == 0 && self.wrong == 0 && self.failed.is_empty()
    }

    pub(crate) fn near(&self, near: Near) -> u64 {
        self.near.get(&near).copied().unwrap_or(0)
    }

    pub(crate) fn of(&self, sort: Sort) -> u64 {
        self.sorts.get(&sort).copied().unwrap_or(0)
    }

    /// Adds what came of other kills.
    pub(crate) fn add(&mut self, other: Self) {
        for (sort, count) in other.sorts {
            *self.sorts.entry(sort).or_default() += count;
        }
        self.at_requests += other.at_requests;
        self.without_manifest += other.without_manifest;
        self.rebuilt += other.rebuilt;
        for (near, count) in other.near {
            *self.near.entry(near).or_default() += count;
        }
        self.kills += other.kills;
        self.blind += other.blind;
        self.stood += other.stood;
        self.power_lost += other.power_lost;
        self.bytes_lost += other.bytes_lost;
        self.names_lost += other.names_lost;
        self.recordings += other.recordings;
        self.events += other.events;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.failed.extend(other.failed);
    }
}
