//! The group of a drive on a cluster: set to the begin of everything, watched for its members and for what they commit.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::board::{Board, Inputs};
use super::error::ClusterError;
use super::link::{Link, consumer};
use super::lodging::Names;
use crate::clock::Clock;
use crate::drive::DriveRules;
use crate::drive::kafka::{Spot, named};
use crate::drive::shared::Shared;
use crate::drive::stage::GroupCommit;
use crate::drive::stdio::micros;
use crate::kafka::{Listening, members_of};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(50);

/// Bounds one question.
const REQUEST: Duration = Duration::from_secs(5);

/// See the top of the file.
pub(super) struct Group<'a> {
    consumer: BaseConsumer<Listening>,
    names: &'a Names,
    inputs: &'a Inputs,
    link: &'a Link<'a>,
}

impl<'a> Group<'a> {
    /// Lets the group stand at the begin of every input partition, so that `auto.offset.reset` skips nothing, whatever it says.
    pub(super) fn at_the_begin(link: &'a Link<'a>, names: &'a Names, inputs: &'a Inputs) -> Result<Self, ClusterError> {
        let consumer = consumer(link.rules, Some(names.group()))?;
        while consumer.poll(Duration::ZERO).is_some() {}
        let group = Self { consumer, names, inputs, link };
        let what = "where the drive's group stands";
        let begin = group.partitions(Offset::Offset(0))?;
        // Asked first: where the coordinator is has to be found out.
        link.ask_by(&group.consumer, what, |wait| group.consumer.committed_offsets(begin.clone(), wait))?;
        if begin.count() > 0 {
            link.ask_by(&group.consumer, what, |_| group.consumer.commit(&begin, CommitMode::Sync))?;
        }
        Ok(group)
    }

    fn partitions(&self, offset: Offset) -> Result<TopicPartitionList, ClusterError> {
        let mut list = TopicPartitionList::with_capacity(self.inputs.spots.len());
        for Spot { topic, partition, .. } in &self.inputs.spots {
            list.add_partition_offset(&self.names.topic(topic), *partition, offset)
                .map_err(|error| self.link.no_answer("where the drive's group stands", &error.to_string()))?;
        }
        Ok(list)
    }

    /// Follows the group until the drive is over: says that the build is ready once its members have every input partition, unless
    /// a line says so, and what they have committed.
    pub(super) fn follow(self, board: &Board<'_>, shared: &Shared, rules: &DriveRules, clock: &dyn Clock) {
        let mut heard_us = micros(clock.now());
        while !board.is_over() {
            while self.consumer.poll(Duration::ZERO).is_some() {}
            if !shared.is_ready() {
                self.look_for_members(board, shared, rules);
            }
            let asked_us = micros(clock.now());
            match self.commits() {
                Ok(commits) => {
                    heard_us = asked_us;
                    board.set_commits(commits, asked_us);
                }
                Err(error) if asked_us - heard_us > micros(rules.drain_timeout) => return board.fail(error),
                Err(_) => {}
            }
            thread::park_timeout(EVERY);
        }
    }

    fn look_for_members(&self, board: &Board<'_>, shared: &Shared, rules: &DriveRules) {
        if rules.ready.is_some() {
            return board.set_missing("it did not write the line of `ready`".to_owned());
        }
        let group = self.names.group();
        let taken_from = "a build takes group and topics from `{group}` and `{topic.NAME}`, or from REHEARSAL_GROUP and \
                          REHEARSAL_TOPIC_NAME";
        match members_of(&self.consumer, group, REQUEST) {
            Err(reason) => {
                let reason = self.link.scrub(&reason);
                board.set_missing(format!("its group {group} could not be looked at: {reason}"));
            }
            Ok(members) if members.count == 0 => {
                board.set_missing(format!("its group {group} has no member ({taken_from})"));
            }
            Ok(members) => {
                let has = |spot: &&Spot| members.assigned.contains(&(self.names.topic(&spot.topic), spot.partition));
                let missing: Vec<&Spot> = self.inputs.spots.iter().filter(|spot| !has(spot)).collect();
                if missing.is_empty() {
                    return shared.set_ready();
                }
                let missing = named(missing.into_iter());
                board.set_missing(format!("no member of its group {group} has {missing} ({taken_from})"));
            }
        }
    }

    /// What the group has committed beyond the begin.
    fn commits(&self) -> Result<Vec<GroupCommit>, ClusterError> {
        let what = "what the drive's group has committed";
        let wanted = self.partitions(Offset::Invalid)?;
        let found = self.consumer.committed_offsets(wanted, REQUEST);
        let found = found.map_err(|error| self.link.no_answer(what, &error.to_string()))?;
        let mut commits = Vec::new();
        // In the order in which they were asked for.
        for (element, spot) in found.elements().iter().zip(&self.inputs.spots) {
            element.error().map_err(|error| self.link.no_answer(what, &error.to_string()))?;
            if let Offset::Offset(position) = element.offset()
                && position > 0
            {
                let (group, topic) = (self.names.group().to_owned(), spot.topic.clone());
                commits.push(GroupCommit { group, topic, partition: spot.partition, position });
            }
        }
        Ok(commits)
    }
}
