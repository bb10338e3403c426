//! The input partitions of one drive as they stand on its stage, and how far the build has come with them.

use std::collections::BTreeMap;

use super::broker::{Broker, Spot};
use crate::drive::stage::{
    GroupCommit, Planned, RecordedEvents, Stage, StageError, StageFaultCount, StageFired, Stretch, Written,
};
use crate::plan::PlanError;
use crate::recording::Recording;

use super::super::stdio::grouped;
use super::super::{DeliverySource, DriveError};

/// Partitions, and calls, that are named where many would have to be.
const NAMED_MAX: usize = 5;

/// One input partition.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spot: Spot,
    pub(super) planned: Planned,
}

/// All of them, in order of topic and partition.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    pub(super) stage: &'a Stage,
    pub(super) all: Vec<Lane>,
    /// By topic of the plan: index of its first partition.
    bases: Vec<usize>,
    /// Topics whose events are kept.
    outputs: &'a BTreeMap<String, i32>,
}

impl<'a> Lanes<'a> {
    /// Makes the topics of a plan on the stage, with the partitions that they have in production.
    pub(super) fn make(
        stage: &'a Stage,
        plan: &dyn DeliverySource,
        recording: &Recording,
        outputs: &'a BTreeMap<String, i32>,
    ) -> Result<Self, LanesError> {
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
            all.extend(made.into_iter().zip(starts).map(|(planned, start)| {
                let spot = Spot { topic: topic.clone(), partition: planned.partition(), start };
                Lane { spot, planned }
            }));
        }
        Ok(Self { stage, all, bases, outputs })
    }

    /// Partitions from which nobody has fetched yet.
    pub(super) fn unasked(&self) -> impl Iterator<Item = &Lane> {
        self.all.iter().filter(|lane| lane.planned.asked().is_none())
    }

    /// Output topics that `outputs` does not name, and that are no affair of the build's own.
    fn unlisted(&self) -> Result<Vec<String>, StageError> {
        let mut unlisted = Vec::new();
        for (topic, partitions) in self.stage.written_topics() {
            if self.outputs.contains_key(&topic) || is_internal(&topic) {
                continue;
            }
            for partition in 0..partitions {
                if self.stage.read(&topic, partition, 0)?.more {
                    unlisted.push(format!("`{topic}`"));
                    break;
                }
            }
        }
        Ok(unlisted)
    }
}

impl Broker for Lanes<'_> {
    fn count(&self) -> usize {
        self.all.len()
    }

    fn spot(&self, index: usize) -> &Spot {
        &self.all[index].spot
    }

    fn index(&self, topic: u32, partition: i32) -> usize {
        self.bases[topic as usize] + partition as usize
    }

    fn end(&self, index: usize) -> i64 {
        self.all[index].planned.end()
    }

    fn asked(&self, index: usize) -> Option<i64> {
        self.all[index].planned.asked()
    }

    fn knows_who_asks(&self) -> bool {
        true
    }

    fn take_handed(&self, index: usize, into: &mut Vec<Stretch>) {
        self.all[index].planned.take_handed(into);
    }

    fn rest_faults(&self, resting: bool) {
        self.stage.rest_faults(resting);
    }

    fn faults_act(&self) -> bool {
        self.stage.faults_act()
    }

    fn handed_again(&self) -> Option<u64> {
        Some(self.stage.handed_again())
    }

    fn take_fired(&self) -> Vec<StageFired> {
        self.stage.take_fired()
    }

    fn fault_counts(&self) -> BTreeMap<String, StageFaultCount> {
        self.stage.fault_counts()
    }

    fn commits(&self) -> Vec<GroupCommit> {
        self.stage.commits()
    }

    fn known_us(&self) -> i64 {
        i64::MAX
    }

    fn open_transactions(&self) -> usize {
        self.stage.open_transactions()
    }

    fn written_partitions(&self, topic: &str) -> i32 {
        self.stage.written_topics().get(topic).copied().unwrap_or(0)
    }

    fn read(&self, topic: &str, partition: i32, cursor: i64) -> Result<Written, DriveError> {
        Ok(self.stage.read(topic, partition, cursor)?)
    }

    fn is_read_up(&self) -> bool {
        true
    }

    fn failure(&self) -> Option<DriveError> {
        let (what, _) = self.stage.failures().into_iter().next()?;
        Some(StageError::Unserved(what).into())
    }

    fn remarks(&self) -> Result<Vec<String>, DriveError> {
        let mut remarks = Vec::new();
        let unlisted = self.unlisted()?;
        if !unlisted.is_empty() {
            remarks.push(format!("it also wrote to {}, which `outputs` does not name", unlisted.join(", ")));
        }
        let asked = self.stage.asked();
        if !asked.is_empty() {
            let named = asked.iter().take(NAMED_MAX);
            let calls = named.map(|(asked, count)| match count {
                1 => format!("{asked}, once"),
                count => format!("{asked}, {} times", grouped(*count)),
            });
            let calls: Vec<String> = calls.collect();
            remarks.push(format!("asked for what the stage does not serve: {}", calls.join("; ")));
        }
        Ok(remarks)
    }

    fn missing(&self) -> String {
        format!("it has not fetched from {}", named(self.unasked().map(|lane| &lane.spot)))
    }
}

/// Names partitions by topic, the first few of each.
pub(in crate::drive) fn named<'s>(spots: impl Iterator<Item = &'s Spot>) -> String {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    spots.for_each(|spot| by_topic.entry(&spot.topic).or_default().push(spot.partition));
    let named = by_topic.iter().map(|(topic, partitions)| {
        let shown: Vec<String> = partitions.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = partitions.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("`{topic}` partition {}{more}", shown.join(", "))
    });
    let named: Vec<String> = named.collect();
    named.join("; ")
}

/// Whether a topic is a build's own affair by the names that Kafka Streams gives.
pub(super) fn is_internal(topic: &str) -> bool {
    topic.ends_with("-changelog") || topic.ends_with("-repartition")
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
pub(in crate::drive) fn partitions(recording: &Recording) -> BTreeMap<String, i32> {
    let mut partitions: BTreeMap<String, i32> =
        recording.manifest().source.topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
    for partition in recording.partitions() {
        let count = partitions.entry(partition.topic).or_default();
        *count = (*count).max(partition.partition + 1);
    }
    partitions
}

/// The configuration that a topic had in production.
pub(in crate::drive) fn configuration(recording: &Recording, topic: &str) -> BTreeMap<String, String> {
    let topics = &recording.manifest().source.topics;
    topics.iter().find(|known| known.name == topic).map(|known| known.configuration.clone()).unwrap_or_default()
}
