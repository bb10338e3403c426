//! Groups of consumers, of the classic protocol and of [theirs](consumers), and the offsets they commit. Pure: time is handed in, and
//! whoever must wait gets a ticket instead of an answer.
//!
//! A group is of one protocol at a time, and changes to the other with the first member of it that comes while it is empty. Kafka's
//! way of having members of both in one group is not gone here.

mod consumers;
mod group;
mod join;
mod member;
mod offsets;
mod sync;
#[cfg(test)]
mod tests;
mod visit;

pub(super) use consumers::{Beat, Beaten, Catalogue, DescribedConsumer, Part, Times, Unheard};
pub(super) use group::{CONSUMERS, DescribedMember, Group};
pub(super) use join::{Join, JoinAnswer};
pub(super) use member::{Client, Identity};
pub(super) use offsets::Committed;
pub(super) use sync::{Sync, SyncAnswer};

use std::collections::BTreeMap;
use std::time::Duration;

use consumers::Consumers;
use kafka_protocol::ResponseError;

/// Number of a request whose answer comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<T> {
    Answer(T),
    Wait(Ticket),
}

/// An answer to somebody who waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Join(JoinAnswer),
    Sync(SyncAnswer),
}

/// Who leaves a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) member: String,
    pub(super) instance: Option<String>,
}

/// All groups, by id.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_id: BTreeMap<String, Group>,
    /// Answers for those who wait.
    ready: BTreeMap<Ticket, Answer>,
    /// Tickets and member ids ever given.
    given: u64,
    /// How long an empty group waits for more members once the first has come, as Kafka's `group.initial.rebalance.delay.ms`.
    initial_delay: Duration,
    /// Times of groups of the consumers' own protocol.
    times: Times,
}

impl Groups {
    pub(super) fn new(initial_delay: Duration, times: Times) -> Self {
        Self { initial_delay, times, ..Self::default() }
    }

    /// Takes a heartbeat of a consumer of the consumers' own protocol.
    pub(super) fn beat(
        &mut self,
        id: &str,
        beat: &Beat,
        catalogue: &Catalogue,
        now: Duration,
    ) -> Result<Beaten, Unheard> {
        beat.check(id)?;
        let missing =
            |what: &str| Err(Unheard { error: ResponseError::GroupIdNotFound, reason: format!("Group {id} {what}.") });
        match self.by_id.get_mut(id) {
            None if !beat.joins() => return missing("not found"),
            None => {}
            Some(group) if group.consumers.is_some() => {}
            // What was committed stays.
            Some(group) if beat.joins() && group.is_empty() => group.consumers = Some(Consumers::new(self.times)),
            Some(_) => return missing("is not a consumer group"),
        }
        let is_new = !self.by_id.contains_key(id);
        let times = self.times;
        let beaten = self.with(id, now, |group, given| {
            group.consumers.get_or_insert_with(|| Consumers::new(times)).beat(beat, catalogue, given, now)
        });
        if is_new && beaten.is_err() {
            self.by_id.remove(id);
        }
        beaten
    }

    /// Takes the answer to a ticket, if it is there.
    pub(super) fn collect(&mut self, ticket: Ticket) -> Option<Answer> {
        self.ready.remove(&ticket)
    }

    pub(super) fn join(&mut self, id: &str, join: Join, now: Duration) -> Step<JoinAnswer> {
        if let Err(error) = join.check(id) {
            return Step::Answer(JoinAnswer::refused(error, &join.identity.member));
        }
        // Only a new member makes a group.
        if !join.identity.member.is_empty() && !self.by_id.contains_key(id) {
            return Step::Answer(JoinAnswer::refused(ResponseError::UnknownMemberId, &join.identity.member));
        }
        if let Some(group) = self.by_id.get_mut(id).filter(|group| group.consumers.is_some()) {
            if !group.is_empty() {
                let error = ResponseError::InconsistentGroupProtocol;
                return Step::Answer(JoinAnswer::refused(error, &join.identity.member));
            }
            group.consumers = None;
        }
        self.with(id, now, |group, given| group.join(join, now, given))
    }

    pub(super) fn sync(&mut self, id: &str, sync: Sync, now: Duration) -> Step<SyncAnswer> {
        if let Err(error) = self.known(id) {
            return Step::Answer(SyncAnswer::refused(error));
        }
        self.with(id, now, |group, given| group.sync(sync, now, given))
    }

    pub(super) fn heartbeat(
        &mut self,
        id: &str,
        identity: &Identity,
        generation: i32,
        now: Duration,
    ) -> Result<(), ResponseError> {
        self.known(id)?;
        self.with(id, now, |group, _| group.heartbeat(identity, generation, now))
    }

    /// Lets members go; returns what each gets.
    pub(super) fn leave(
        &mut self,
        id: &str,
        leaving: &[Leaving],
        now: Duration,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        self.known(id)?;
        Ok(self.with(id, now, |group, _| leaving.iter().map(|one| group.leave(one, now)).collect()))
    }

    fn known(&self, id: &str) -> Result<(), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.by_id.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// The group `id`, made where it is not there yet.
    fn with<T>(&mut self, id: &str, now: Duration, step: impl FnOnce(&mut Group, &mut u64) -> T) -> T {
        let group = self.by_id.entry(id.to_owned()).or_insert_with(|| Group::new(self.initial_delay));
        let result = step(group, &mut self.given);
        group.settle(now);
        self.ready.extend(group.take_answers());
        result
    }

    /// Does what time asks for: members that were not heard of leave, and rebalances that took too long go on without those who are
    /// missing.
    pub(super) fn tick(&mut self, now: Duration) {
        for group in self.by_id.values_mut() {
            group.tick(now);
            self.ready.extend(group.take_answers());
        }
    }

    /// When [`Self::tick`] is next due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.by_id.values().filter_map(Group::next_due).min()
    }

    /// Whether somebody who waits has an answer.
    pub(super) fn has_answers(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.by_id.get(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    /// The group that offsets are committed for, once it is known that whoever commits may; made where it is not there yet, as Kafka
    /// does for those that store offsets only.
    pub(super) fn committing(
        &mut self,
        id: &str,
        identity: &Identity,
        generation: i32,
        transactional: bool,
        now: Duration,
    ) -> Result<&mut Group, ResponseError> {
        if !self.by_id.contains_key(id) && generation >= 0 {
            return Err(ResponseError::IllegalGeneration);
        }
        let group = self.by_id.entry(id.to_owned()).or_insert_with(|| Group::new(self.initial_delay));
        group.check_commit(identity, generation, transactional)?;
        group.heard(&identity.member, now);
        Ok(group)
    }

    /// The group of this id, to change its offsets.
    pub(super) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.by_id.get_mut(id)
    }

    /// Forgets a group that nobody is in.
    pub(super) fn delete(&mut self, id: &str) -> Result<(), ResponseError> {
        let group = self.by_id.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        self.by_id.remove(id);
        Ok(())
    }

    /// Sets all groups that committed beyond `position` back to it and puts their members out; returns those without members.
    pub(super) fn set_back(&mut self, topic: &str, partition: i32, position: i64, now: Duration) -> Vec<String> {
        let beyond = |group: &Group| group.committed(topic, partition).is_some_and(|one| one.offset > position);
        let ids: Vec<String> = self.by_id.iter().filter(|(_, group)| beyond(group)).map(|(id, _)| id.clone()).collect();
        let mut empty = Vec::new();
        for id in ids {
            if self.with(&id, now, |group, _| group.set_back(topic, partition, position, now)) {
                empty.push(id);
            }
        }
        empty
    }

    /// Forgets what was committed for a topic that is no more.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.by_id.values_mut().for_each(|group| group.forget_topic(topic));
    }

    /// Commits or drops the offsets that a producer's transaction holds back.
    pub(super) fn end_transaction(&mut self, producer_id: i64, groups: impl Iterator<Item = String>, committed: bool) {
        for id in groups {
            if let Some(group) = self.by_id.get_mut(&id) {
                group.end_transaction(producer_id, committed);
            }
        }
    }
}
