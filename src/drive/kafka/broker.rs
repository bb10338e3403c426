//! What stands between a plan and a build that speaks Kafka, as those see it who gather what comes of it and watch over it: the
//! stage, or a cluster.

use std::collections::BTreeMap;

use super::super::DriveError;
use super::super::process::Flight;
use crate::drive::stage::{GroupCommit, StageFaultCount, StageFired, Stretch, Written};

/// Where an input partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive) struct Spot {
    /// Topic, as production calls it.
    pub(in crate::drive) topic: String,
    pub(in crate::drive) partition: i32,
    /// Position at which it begins.
    pub(in crate::drive) start: i64,
}

/// See the top of the file. Topics have the names that they have in production; partitions are counted
/// from zero.
pub(in crate::drive) trait Broker: Sync {
    /// Number of input partitions, which are in order of topic and partition.
    fn count(&self) -> usize;

    /// Where one of them stands.
    fn spot(&self, index: usize) -> &Spot;

    /// Index of a partition of the plan's `topic`.
    fn index(&self, topic: u32, partition: i32) -> usize;

    /// Position behind what is visible.
    fn end(&self, index: usize) -> i64;

    /// Position behind what consumers have asked for up to now; none where nobody has asked, or nobody can know.
    fn asked(&self, index: usize) -> Option<i64>;

    /// Whether it is known what consumers ask for.
    fn knows_who_asks(&self) -> bool;

    /// Takes what has been handed over since.
    fn take_handed(&self, index: usize, into: &mut Vec<Stretch>);

    /// What groups have committed.
    fn commits(&self) -> Vec<GroupCommit>;

    /// Up to when it is known what groups have committed, in microseconds of the drive's clock.
    fn known_us(&self) -> i64;

    /// Transactions of builds that have neither been committed nor taken back, as far as can be seen.
    fn open_transactions(&self) -> usize;

    /// Number of partitions of an output topic that are there by now.
    fn written_partitions(&self, topic: &str) -> i32;

    /// Reads what was written to an output topic, from `cursor` on.
    fn read(&self, topic: &str, partition: i32, cursor: i64) -> Result<Written, DriveError>;

    /// Whether everything that was written ahead of the end of the build can be read by now.
    fn is_read_up(&self) -> bool;

    /// Why it cannot do its part any more.
    fn failure(&self) -> Option<DriveError>;

    /// What else is to be known of what the build did, to stand behind the reason of its ending: sentences without a begin.
    fn remarks(&self) -> Result<Vec<String>, DriveError>;

    /// Lets faults at requests rest, or act again; a cluster makes none.
    fn rest_faults(&self, _resting: bool) {}

    /// Whether one acts.
    fn faults_act(&self) -> bool {
        false
    }

    /// How many positions were handed out once more without having been set back; none where nobody can know.
    fn handed_again(&self) -> Option<u64> {
        None
    }

    /// Takes what they have touched since it was taken last.
    fn take_fired(&self) -> Vec<StageFired> {
        Vec::new()
    }

    /// How often each fired, by name.
    fn fault_counts(&self) -> BTreeMap<String, StageFaultCount> {
        BTreeMap::new()
    }

    /// Where the build is not ready: what it has not done yet.
    fn missing(&self) -> String;
}

impl dyn Broker + '_ {
    /// Whether somebody has fetched everything that is visible; `true` where nobody can know.
    pub(in crate::drive) fn all_asked(&self) -> bool {
        !self.knows_who_asks() || (0..self.count()).all(|index| self.asked(index) >= Some(self.end(index)))
    }

    /// Whether every partition's end is committed: by a group at least, and by all that have committed anything there.
    pub(in crate::drive) fn all_committed(&self) -> bool {
        let commits = self.commits();
        (0..self.count()).all(|index| {
            let (spot, end) = (self.spot(index), self.end(index));
            let mut own = spot.commits(&commits).map(|commit| commit.position >= end).peekable();
            end == spot.start || own.peek().is_some() && own.all(|covered| covered)
        })
    }

    /// What is on its way: positions that consumers have asked for, or that are visible where nobody knows who asks, against what the
    /// slowest group has committed.
    pub(in crate::drive) fn flight(&self, outputs: u64, known_us: i64) -> Flight {
        let commits = self.commits();
        if commits.is_empty() {
            return Flight { open: None, committed: None, outputs, known_us };
        }
        let (mut open, mut committed) = (0, 0);
        for index in 0..self.count() {
            let spot = self.spot(index);
            let handed = if self.knows_who_asks() { self.asked(index) } else { Some(self.end(index)) };
            let position = spot.committed(&commits).unwrap_or(spot.start);
            open += handed.map_or(0, |handed| (handed - position).max(0).unsigned_abs());
            committed += (position - spot.start).max(0).unsigned_abs();
        }
        Flight { open: Some(open), committed: Some(committed), outputs, known_us }
    }

    /// Positions that are visible and that a group has not committed, by group; of partitions that it has committed at all.
    pub(in crate::drive) fn lag(&self, commits: &[GroupCommit]) -> BTreeMap<String, i64> {
        let mut lag = BTreeMap::new();
        for index in 0..self.count() {
            let end = self.end(index);
            for commit in self.spot(index).commits(commits) {
                *lag.entry(commit.group.clone()).or_default() += (end - commit.position).max(0);
            }
        }
        lag
    }
}

impl Spot {
    fn commits<'c>(&self, commits: &'c [GroupCommit]) -> impl Iterator<Item = &'c GroupCommit> {
        commits.iter().filter(|commit| commit.partition == self.partition && commit.topic == self.topic)
    }

    /// The least that groups have committed, where any has: what all of them have dealt with.
    pub(in crate::drive) fn committed(&self, commits: &[GroupCommit]) -> Option<i64> {
        self.commits(commits).map(|commit| commit.position).min()
    }
}
