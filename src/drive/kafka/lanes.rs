//! The input partitions of one drive as they stand on its stage, and how far the build has come with them.

use std::collections::BTreeMap;

use crate::drive::stage::{GroupCommit, Planned, RecordedEvents, Stage, StageError};
use crate::plan::PlanError;
use crate::recording::Recording;

use super::super::DeliverySource;

/// One input partition.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) start: i64,
    pub(super) planned: Planned,
}

/// All of them, in order of topic and partition.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    pub(super) stage: &'a Stage,
    pub(super) all: Vec<Lane>,
    /// By topic of the plan: index of its first partition.
    bases: Vec<usize>,
}

impl<'a> Lanes<'a> {
    /// Makes the topics of a plan on the stage, with the partitions that they have in production.
    pub(super) fn make(stage: &'a Stage, plan: &dyn DeliverySource, recording: &Recording) -> Result<Self, LanesError> {
        let firsts = plan.first_positions()?;
        let partitions = partitions(recording);
        let (mut all, mut bases) = (Vec::new(), Vec::new());
        for (number, topic) in (0_u32..).zip(plan.topics()) {
            let of_plan =
                firsts.range((number, i32::MIN)..=(number, i32::MAX)).map(|((_, partition), _)| partition + 1);
            let count = partitions.get(topic).copied().into_iter().chain(of_plan).max().unwrap_or(1);
            let starts: Vec<i64> =
                (0..count).map(|partition| firsts.get(&(number, partition)).copied().unwrap_or(0)).collect();
            let configuration = configuration(recording, topic);
            let made = stage.plan_topic(topic, &starts, configuration, |_| Box::new(RecordedEvents::new(recording)))?;
            bases.push(all.len());
            all.extend(made.into_iter().zip(starts).map(|(planned, start)| Lane {
                topic: topic.clone(),
                partition: planned.partition(),
                start,
                planned,
            }));
        }
        Ok(Self { stage, all, bases })
    }

    /// Index of a partition of the plan's `topic`.
    pub(super) fn index(&self, topic: u32, partition: i32) -> usize {
        self.bases[topic as usize] + partition as usize
    }

    /// Partitions from which nobody has fetched yet.
    pub(super) fn unasked(&self) -> impl Iterator<Item = &Lane> {
        self.all.iter().filter(|lane| lane.planned.asked().is_none())
    }

    /// Whether somebody has fetched everything that is visible.
    pub(super) fn all_asked(&self) -> bool {
        self.all.iter().all(|lane| lane.planned.asked() >= Some(lane.planned.end()))
    }

    /// Whether every partition's end is committed: by a group at least, and by all that have committed anything there.
    pub(super) fn all_committed(&self) -> bool {
        self.covered(&self.stage.commits())
    }

    pub(super) fn covered(&self, commits: &[GroupCommit]) -> bool {
        self.all.iter().all(|lane| {
            let end = lane.planned.end();
            let mut own = lane.commits(commits).map(|commit| commit.position >= end).peekable();
            end == lane.start || own.peek().is_some() && own.all(|covered| covered)
        })
    }

    /// Positions that are visible and that a group has not committed, by group; of partitions that it has committed at all.
    pub(super) fn lag(&self, commits: &[GroupCommit]) -> BTreeMap<String, i64> {
        let mut lag = BTreeMap::new();
        for lane in &self.all {
            let end = lane.planned.end();
            for commit in lane.commits(commits) {
                *lag.entry(commit.group.clone()).or_default() += (end - commit.position).max(0);
            }
        }
        lag
    }
}

impl Lane {
    fn commits<'c>(&self, commits: &'c [GroupCommit]) -> impl Iterator<Item = &'c GroupCommit> {
        commits.iter().filter(|commit| commit.partition == self.partition && commit.topic == self.topic)
    }

    /// The least that groups have committed, where any has: what all of them have dealt with.
    pub(super) fn committed(&self, commits: &[GroupCommit]) -> Option<i64> {
        self.commits(commits).map(|commit| commit.position).min()
    }
}

/// Why topics cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LanesError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Number of partitions of each topic of a recording, those included that hold no event.
fn partitions(recording: &Recording) -> BTreeMap<String, i32> {
    let mut partitions: BTreeMap<String, i32> =
        recording.manifest().source.topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
    for partition in recording.partitions() {
        let count = partitions.entry(partition.topic).or_default();
        *count = (*count).max(partition.partition + 1);
    }
    partitions
}

/// The configuration that a topic had in production.
fn configuration(recording: &Recording, topic: &str) -> BTreeMap<String, String> {
    let topics = &recording.manifest().source.topics;
    topics.iter().find(|known| known.name == topic).map(|known| known.configuration.clone()).unwrap_or_default()
}
