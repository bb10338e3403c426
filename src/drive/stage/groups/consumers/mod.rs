//! Consumer groups of the protocol of KIP-848: the coordinator shares the partitions, and each member comes to its share by its own
//! heartbeats, giving up first what others are to have. Pure: time is handed in.
//!
//! There are three counts. The *group epoch* grows whenever what the group reads or who is in it changes. The *assignment epoch* is
//! that of the last assignment, made with the next heartbeat after such a change. Each *member's epoch* follows it as the member
//! reconciles: it is what a member is fenced by.

mod assign;
mod member;
#[cfg(test)]
mod tests;

pub(in crate::drive::stage) use assign::Part;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::member::{Client, Identity, Visitor};
use assign::{Assignor, Candidate};
use member::{AWAY, Member, Standing, Subscription};

/// Member epoch of a heartbeat that joins.
const JOINS: i32 = 0;

/// Member epoch of a heartbeat that leaves.
const LEAVES: i32 = -1;

/// Largest regular expression of a subscription, compiled, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Times that a stage gives its consumer groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::drive::stage) struct Times {
    /// `group.consumer.heartbeat.interval.ms`.
    pub(in crate::drive::stage) heartbeat: Duration,
    /// `group.consumer.session.timeout.ms`.
    pub(in crate::drive::stage) session: Duration,
}

/// Topics: id and number of partitions by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::drive::stage) struct Catalogue(pub(in crate::drive::stage) BTreeMap<String, (Uuid, i32)>);

/// A heartbeat; what is left out is as it was.
#[derive(Debug, Clone, Default)]
pub(in crate::drive::stage) struct Beat {
    pub(in crate::drive::stage) identity: Identity,
    pub(in crate::drive::stage) epoch: i32,
    pub(in crate::drive::stage) rack: Option<String>,
    pub(in crate::drive::stage) rebalance_timeout: Option<Duration>,
    pub(in crate::drive::stage) names: Option<BTreeSet<String>>,
    pub(in crate::drive::stage) regex: Option<String>,
    pub(in crate::drive::stage) assignor: Option<String>,
    pub(in crate::drive::stage) owned: Option<BTreeSet<Part>>,
    pub(in crate::drive::stage) client: Client,
    /// Whether the client names itself; older ones are given an id as they join.
    pub(in crate::drive::stage) names_itself: bool,
}

/// What a member gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::drive::stage) struct Beaten {
    pub(in crate::drive::stage) member: String,
    pub(in crate::drive::stage) epoch: i32,
    pub(in crate::drive::stage) heartbeat: Duration,
    /// Where it changed or was asked for.
    pub(in crate::drive::stage) assigned: Option<BTreeSet<Part>>,
}

/// Why a heartbeat is refused: the protocol's error, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct Unheard {
    pub(in crate::drive::stage) error: ResponseError,
    pub(in crate::drive::stage) reason: String,
}

impl From<ResponseError> for Unheard {
    fn from(error: ResponseError) -> Self {
        Self { error, reason: error.to_string() }
    }
}

/// A group as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct DescribedConsumers {
    pub(in crate::drive::stage) state: &'static str,
    pub(in crate::drive::stage) epoch: i32,
    pub(in crate::drive::stage) target_epoch: i32,
    pub(in crate::drive::stage) assignor: &'static str,
    pub(in crate::drive::stage) members: Vec<DescribedConsumer>,
}

/// A member as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct DescribedConsumer {
    pub(in crate::drive::stage) identity: Identity,
    pub(in crate::drive::stage) rack: Option<String>,
    pub(in crate::drive::stage) epoch: i32,
    pub(in crate::drive::stage) client: Client,
    pub(in crate::drive::stage) names: BTreeSet<String>,
    pub(in crate::drive::stage) regex: String,
    pub(in crate::drive::stage) assigned: BTreeSet<Part>,
    pub(in crate::drive::stage) target: BTreeSet<Part>,
}

impl Beat {
    /// Checks what a heartbeat says by itself.
    pub(in crate::drive::stage) fn check(&self, group: &str) -> Result<(), Unheard> {
        let wrong = |reason: &str| Err(Unheard { error: ResponseError::InvalidRequest, reason: reason.to_owned() });
        let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        if group.trim().is_empty() {
            return wrong("GroupId can't be empty.");
        }
        if self.identity.member.trim().is_empty() && (self.names_itself || self.epoch != JOINS) {
            return wrong("MemberId can't be empty.");
        }
        if blank(&self.identity.instance) {
            return wrong("InstanceId can't be empty.");
        }
        if blank(&self.rack) {
            return wrong("RackId can't be empty.");
        }
        match self.epoch {
            JOINS => {
                if self.rebalance_timeout.is_none() {
                    return wrong("RebalanceTimeoutMs must be provided in first request.");
                }
                if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                    return wrong("TopicPartitions must be empty when (re-)joining.");
                }
                if self.names.is_none() && self.regex.is_none() {
                    return wrong(
                        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                    );
                }
            }
            AWAY if self.identity.instance.is_none() => return wrong("InstanceId can't be null."),
            epoch if epoch < AWAY => return wrong("MemberEpoch is invalid."),
            _ => {}
        }
        match &self.assignor {
            Some(name) if Assignor::named(name).is_none() => Err(Unheard {
                error: ResponseError::UnsupportedAssignor,
                reason: format!("ServerAssignor {name} is not supported. Supported assignors: uniform, range."),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a member may join by it.
    pub(in crate::drive::stage) fn joins(&self) -> bool {
        self.epoch == JOINS
    }
}

/// See the top of the file.
#[derive(Debug)]
pub(in crate::drive::stage) struct Consumers {
    times: Times,
    epoch: i32,
    target_epoch: i32,
    target: BTreeMap<String, BTreeSet<Part>>,
    members: BTreeMap<String, Member>,
    /// Member ids of static members.
    instances: BTreeMap<String, String>,
    /// The topics that members read, as they stood when that was looked up last.
    read: Catalogue,
    /// Visitors ever let in.
    visited: u64,
}

impl Consumers {
    pub(super) fn new(times: Times) -> Self {
        Self {
            times,
            epoch: 0,
            target_epoch: 0,
            target: BTreeMap::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            read: Catalogue::default(),
            visited: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Takes a heartbeat.
    pub(super) fn beat(
        &mut self,
        beat: &Beat,
        catalogue: &Catalogue,
        given: &mut u64,
        now: Duration,
    ) -> Result<Beaten, Unheard> {
        if beat.epoch == LEAVES || beat.epoch == AWAY {
            return self.leave(beat);
        }
        let subscription = self.subscription(beat)?;
        let id = self.admit(beat, given)?;
        let Some(member) = self.members.get_mut(&id) else { return Err(ResponseError::UnknownMemberId.into()) };
        let had = member.assigned.clone();
        member.heard = now;
        member.client = beat.client.clone();
        member.rack = beat.rack.clone().or(member.rack.take());
        member.rebalance_timeout = beat.rebalance_timeout.unwrap_or(member.rebalance_timeout);
        member.assignor = beat.assignor.as_deref().and_then(Assignor::named).or(member.assignor);
        let changed = member.subscription != subscription;
        member.subscription = subscription;
        let read = self.read_of(catalogue);
        if changed || read != self.read {
            self.read = read;
            self.epoch += 1;
        }
        if self.epoch > self.target_epoch {
            self.assign();
        }
        self.reconcile(&id, beat.owned.as_ref(), now);
        self.visitors_reconcile(now);
        let Some(member) = self.members.get(&id) else { return Err(ResponseError::UnknownMemberId.into()) };
        let says_all =
            beat.rebalance_timeout.is_some() && (beat.names.is_some() || beat.regex.is_some()) && beat.owned.is_some();
        let tells = beat.joins() || says_all || had != member.assigned;
        Ok(Beaten {
            member: id,
            epoch: member.epoch,
            heartbeat: self.times.heartbeat,
            assigned: tells.then(|| member.assigned.clone()),
        })
    }

    /// What the member reads from this heartbeat on.
    fn subscription(&self, beat: &Beat) -> Result<Subscription, Unheard> {
        let known = self.members.get(&beat.identity.member);
        let before = known.map(|member| member.subscription.clone()).unwrap_or_default();
        let names = beat.names.clone().unwrap_or(before.names);
        let regex = match beat.regex.as_deref() {
            None => before.regex,
            Some("") => None,
            // All of a name is to match, as brokers of Kafka have it.
            Some(text) => {
                let whole = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_BYTES_MAX).build();
                let wrong = |error: regex::Error| Unheard {
                    error: ResponseError::InvalidRegularExpression,
                    reason: format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {error}"),
                };
                Some(whole.map_err(wrong)?)
            }
        };
        Ok(Subscription { names, regex })
    }

    /// The member that a heartbeat is of, made where it joins; returns its id.
    fn admit(&mut self, beat: &Beat, given: &mut u64) -> Result<String, Unheard> {
        let Identity { member: id, instance } = &beat.identity;
        if !beat.joins() {
            if let Some(instance) = instance {
                self.check_instance(instance, id)?;
            }
            let member = self.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
            check_epoch(member, beat)?;
            return Ok(id.clone());
        }
        *given += 1;
        let fresh = || format!("{:08x}-0000-4000-8000-{:012x}", *given >> 32, *given & 0xffff_ffff);
        let id = if id.is_empty() { fresh() } else { id.clone() };
        let earlier = instance.as_ref().and_then(|instance| self.instances.get(instance)).filter(|old| **old != id);
        if let Some(old) = earlier.cloned() {
            let away = self.members.get(&old).is_none_or(|member| member.epoch == AWAY);
            if !away {
                return Err(Unheard {
                    error: ResponseError::UnreleasedInstanceId,
                    reason: format!(
                        "Static member {id} with instance id {} cannot join the group because the instance id is owned by member \
                         {old}.",
                        instance.as_deref().unwrap_or_default()
                    ),
                });
            }
            self.replace(&old, &id);
        }
        if let Some(instance) = instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.entry(id.clone()).or_default().instance.clone_from(instance);
        Ok(id)
    }

    /// A static member that was away is back under another id: what it had and is to have is its own.
    fn replace(&mut self, old: &str, id: &str) {
        if let Some(mut member) = self.members.remove(old) {
            (member.epoch, member.epoch_before) = (JOINS, JOINS);
            self.members.insert(id.to_owned(), member);
        }
        if let Some(target) = self.target.remove(old) {
            self.target.insert(id.to_owned(), target);
        }
    }

    fn check_instance(&self, instance: &str, id: &str) -> Result<(), ResponseError> {
        match self.instances.get(instance) {
            None => Err(ResponseError::UnknownMemberId),
            Some(owner) if owner != id => Err(ResponseError::FencedInstanceId),
            Some(_) => Ok(()),
        }
    }

    fn leave(&mut self, beat: &Beat) -> Result<Beaten, Unheard> {
        let Identity { member: id, instance } = &beat.identity;
        if let Some(instance) = instance {
            self.check_instance(instance, id)?;
        }
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        if beat.epoch == AWAY {
            // It may come back, and has its share until its session ends.
            (member.epoch, member.standing, member.revoke_until) = (AWAY, Standing::Stable, None);
            member.revoking.clear();
        } else {
            self.remove(id);
        }
        Ok(Beaten { member: id.clone(), epoch: beat.epoch, heartbeat: self.times.heartbeat, assigned: None })
    }

    /// Takes a member out; the others share what it had.
    fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|of| of == id)
        {
            self.instances.remove(instance);
        }
        self.target.remove(id);
        self.epoch += 1;
        if self.members.values().all(|member| member.visitor.is_some()) {
            // Without others no visitor stays.
            self.members.clear();
            self.target.clear();
        }
    }

    /// Takes out a member that an operator names, by its id or as a static member.
    pub(super) fn put_out(&mut self, member: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        let id = match instance {
            Some(instance) => {
                let owner = self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?;
                if !member.is_empty() && owner != member {
                    return Err(ResponseError::FencedInstanceId);
                }
                owner
            }
            None => member.to_owned(),
        };
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(&id);
        Ok(())
    }

    /// Puts all members out, visitors too; returns whether there were none.
    pub(super) fn put_all_out(&mut self) -> bool {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in &ids {
            self.remove(id);
        }
        ids.is_empty()
    }

    /// The topics that any member reads.
    fn read_of(&self, catalogue: &Catalogue) -> Catalogue {
        let read = |name: &str| self.members.values().any(|member| member.subscription.covers(name));
        Catalogue(
            catalogue.0.iter().filter(|(name, _)| read(name)).map(|(name, topic)| (name.clone(), *topic)).collect(),
        )
    }

    /// Shares the partitions anew.
    fn assign(&mut self) {
        let candidate = |(id, member): (&String, &Member)| {
            let topics =
                self.read.0.iter().filter(|(name, _)| member.subscription.covers(name)).map(|(_, (id, _))| *id);
            let had = self.target.get(id).cloned().unwrap_or_default();
            (id.clone(), Candidate { instance: member.instance.clone(), topics: topics.collect(), had })
        };
        let candidates: BTreeMap<String, Candidate> = self.members.iter().map(candidate).collect();
        let topics: BTreeMap<Uuid, i32> = self.read.0.values().copied().collect();
        self.target = self.assignor().assign(&candidates, &topics);
        self.target_epoch = self.epoch;
    }

    /// The assignor that most members want, where any of them says.
    fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|member| member.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.iter().max_by_key(|(_, count)| **count).map(|(assignor, _)| *assignor);
        most.unwrap_or(Assignor::ALL[0])
    }

    fn reconcile(&mut self, id: &str, owned: Option<&BTreeSet<Part>>, now: Duration) {
        let Some(mut member) = self.members.remove(id) else { return };
        let none = BTreeSet::new();
        let target = self.target.get(id).unwrap_or(&none);
        let is_held = |part: &Part| self.members.values().any(|other| other.holds(part));
        member.reconcile(self.target_epoch, target, owned, is_held, now);
        self.members.insert(id.to_owned(), member);
    }

    /// Checks who commits or asks for offsets: a member, of the epoch that it says.
    pub(in crate::drive::stage) fn check(&self, identity: &Identity, epoch: i32) -> Result<(), ResponseError> {
        if let Some(instance) = &identity.instance {
            self.check_instance(instance, &identity.member)?;
        }
        let member = self.members.get(&identity.member).ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.subscription.covers(topic))
    }

    /// Lets in somebody who reads what the first member reads, takes a share, and leaves some time after it has it.
    pub(super) fn visit(&mut self, stays: Duration, now: Duration) -> bool {
        if self.members.values().any(|member| member.visitor.is_some()) {
            return false;
        }
        let Some(first) = self.members.values().next() else { return false };
        let visitor = Member {
            client: Client { id: "visitor".to_owned(), host: "/127.0.0.1".to_owned() },
            rebalance_timeout: first.rebalance_timeout,
            subscription: first.subscription.clone(),
            heard: now,
            visitor: Some(Visitor { stays, leaves: None }),
            ..Member::default()
        };
        self.visited += 1;
        self.members.insert(format!("visitor-{}", self.visited), visitor);
        self.epoch += 1;
        true
    }

    /// Visitors beat by themselves, whenever somebody else does. They leave some time after they have their share.
    fn visitors_reconcile(&mut self, now: Duration) {
        let visits = |(_, member): &(&String, &Member)| member.visitor.is_some();
        let ids: Vec<String> = self.members.iter().filter(visits).map(|(id, _)| id.clone()).collect();
        for id in ids {
            // It gives up at once what it is asked to.
            for _ in 0..2 {
                self.reconcile(&id, Some(&BTreeSet::new()), now);
            }
            let target_epoch = self.target_epoch;
            let Some(member) = self.members.get_mut(&id) else { continue };
            let settled = member.is_reconciled_to(target_epoch);
            if let Some(visitor) = member.visitor.as_mut().filter(|visitor| settled && visitor.leaves.is_none()) {
                visitor.leaves = Some(now + visitor.stays);
            }
        }
    }

    /// When a member is put out, or goes by itself.
    fn ends(&self, member: &Member) -> Option<Duration> {
        match member.visitor {
            Some(visitor) => visitor.leaves,
            None => [Some(member.heard + self.times.session), member.revoke_until].into_iter().flatten().min(),
        }
    }

    pub(super) fn tick(&mut self, now: Duration) {
        let over = |member: &Member| self.ends(member).is_some_and(|end| end <= now);
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| over(member)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id);
        }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.members.values().filter_map(|member| self.ends(member)).min()
    }

    pub(in crate::drive::stage) fn describe(&self) -> DescribedConsumers {
        let member = |(id, member): (&String, &Member)| DescribedConsumer {
            identity: Identity { member: id.clone(), instance: member.instance.clone() },
            rack: member.rack.clone(),
            epoch: member.epoch,
            client: member.client.clone(),
            names: member.subscription.names.clone(),
            regex: inner(member.subscription.regex_text()),
            assigned: member.assigned.clone(),
            target: self.target.get(id).cloned().unwrap_or_default(),
        };
        DescribedConsumers {
            state: self.state(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor().name(),
            members: self.members.iter().map(member).collect(),
        }
    }
}

/// A regular expression as the member gave it.
fn inner(whole: &str) -> String {
    whole.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or_default().to_owned()
}

/// Checks the epoch that a member says it has. One that is behind may have missed an answer: it may say so once, as long as it owns no
/// more than it has.
fn check_epoch(member: &Member, beat: &Beat) -> Result<(), Unheard> {
    let own = member.epoch;
    let owns_no_more = || beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
    let how = match beat.epoch.cmp(&own) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less if beat.epoch == member.epoch_before && owns_no_more() => return Ok(()),
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Greater => "greater",
    };
    Err(Unheard {
        error: ResponseError::FencedMemberEpoch,
        reason: format!(
            "The consumer group member has a {how} member epoch ({}) than the one known by the group coordinator ({own}). The member \
             must abandon all its partitions and rejoin.",
            beat.epoch
        ),
    })
}
