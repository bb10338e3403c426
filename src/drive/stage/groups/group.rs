//! One group: its members, its state, its rebalances.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::consumers::Consumers;
use super::join::JoinAnswer;
use super::member::{Client, Identity, Member};
use super::offsets::Offsets;
use super::sync::SyncAnswer;
use super::{Answer, Leaving, Ticket, visit};

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Empty,
    /// Members are to join again, until then.
    Preparing {
        until: Duration,
    },
    /// Members are to ask for their assignment, until then.
    Completing {
        until: Duration,
    },
    Stable,
}

/// The wait of a new group for more members to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    /// What may be waited beyond the present wait.
    left: Duration,
    /// Somebody came during the present wait: there may be more.
    pub(super) came: bool,
}

/// What consumers call their protocol.
pub(in crate::drive::stage) const CONSUMERS: &str = "consumer";

/// Shortest time for a rebalance, whatever members say: with none, time would never come to rest.
const REBALANCE_MIN: Duration = Duration::from_millis(10);

/// A group as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct Described {
    pub(in crate::drive::stage) state: &'static str,
    pub(in crate::drive::stage) protocol_type: String,
    pub(in crate::drive::stage) protocol: String,
    pub(in crate::drive::stage) members: Vec<DescribedMember>,
}

/// A member as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct DescribedMember {
    pub(in crate::drive::stage) identity: Identity,
    pub(in crate::drive::stage) client: Client,
    pub(in crate::drive::stage) metadata: Bytes,
    pub(in crate::drive::stage) assignment: Bytes,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(in crate::drive::stage) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Members in the order they came: the first of them leads.
    pub(super) order: Vec<String>,
    /// Member ids that were given and not used yet, and when they lapse.
    pub(super) promised: BTreeMap<String, Duration>,
    /// Member ids of static members.
    pub(super) instances: BTreeMap<String, String>,
    pub(super) offsets: Offsets,
    /// Somebody is to visit as soon as all have their share, and stay so long.
    pub(super) visit: Option<Duration>,
    /// How long an empty group waits for more members once the first has come.
    initial_delay: Duration,
    pub(super) gathering: Option<Gathering>,
    /// When those are put out that have not asked for their assignment yet, though all have one.
    pub(super) sync_until: Option<Duration>,
    /// Members and their shares where the group is of the consumers' own protocol; there are none of the above then.
    pub(super) consumers: Option<Consumers>,
    answers: Vec<(Ticket, Answer)>,
}

impl Group {
    pub(super) fn new(initial_delay: Duration) -> Self {
        Self { initial_delay, ..Self::default() }
    }

    pub(in crate::drive::stage) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.consumers.as_ref().is_none_or(Consumers::is_empty)
    }

    /// Members and their shares, where the group is of the consumers' own protocol.
    pub(in crate::drive::stage) fn consumers(&self) -> Option<&Consumers> {
        self.consumers.as_ref()
    }

    /// Its type, in Kafka's word.
    pub(in crate::drive::stage) fn kind(&self) -> &'static str {
        if self.consumers.is_some() { "consumer" } else { "classic" }
    }

    pub(in crate::drive::stage) fn state(&self) -> &'static str {
        if let Some(consumers) = &self.consumers {
            return consumers.state();
        }
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub(in crate::drive::stage) fn protocol_type(&self) -> &str {
        if self.consumers.is_some() { CONSUMERS } else { self.protocol_type.as_deref().unwrap_or_default() }
    }

    pub(in crate::drive::stage) fn describe(&self) -> Described {
        let stable = self.phase == Phase::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let member = |member: &Member| DescribedMember {
            identity: Identity { member: member.id.clone(), instance: member.instance.clone() },
            client: member.client.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        };
        Described {
            state: self.state(),
            protocol_type: self.protocol_type().to_owned(),
            members: self.members.values().map(member).collect(),
            protocol,
        }
    }

    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn answer_join(&mut self, ticket: Option<Ticket>, answer: JoinAnswer) {
        let ticket = ticket.filter(|ticket| *ticket != visit::TICKET);
        self.answers.extend(ticket.map(|ticket| (ticket, Answer::Join(answer))));
    }

    pub(super) fn answer_sync(&mut self, ticket: Option<Ticket>, answer: SyncAnswer) {
        let ticket = ticket.filter(|ticket| *ticket != visit::TICKET);
        self.answers.extend(ticket.map(|ticket| (ticket, Answer::Sync(answer))));
    }

    /// The member that a request names, if it is who it says.
    pub(super) fn member(&self, identity: &Identity) -> Result<&Member, ResponseError> {
        if let Some(instance) = &identity.instance {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(member) if *member != identity.member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(&identity.member).ok_or(ResponseError::UnknownMemberId)
    }

    /// Checks that a request comes from a member of this generation.
    pub(super) fn check(&self, identity: &Identity, generation: i32) -> Result<(), ResponseError> {
        self.member(identity)?;
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    pub(super) fn heard(&mut self, member: &str, now: Duration) {
        if let Some(member) = self.members.get_mut(member) {
            member.heard = now;
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        identity: &Identity,
        generation: i32,
        now: Duration,
    ) -> Result<(), ResponseError> {
        self.check(identity, generation)?;
        self.heard(&identity.member, now);
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    pub(super) fn leave(&mut self, leaving: &Leaving, now: Duration) -> Result<(), ResponseError> {
        if let Some(consumers) = &mut self.consumers {
            return consumers.put_out(&leaving.member, leaving.instance.as_deref());
        }
        if self.promised.remove(&leaving.member).is_some() {
            return Ok(());
        }
        let named = leaving.instance.as_ref().filter(|_| leaving.member.is_empty());
        let member = if let Some(instance) = named {
            // An operator removes a static member by its name alone.
            self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
        } else {
            let identity = Identity { member: leaving.member.clone(), instance: leaving.instance.clone() };
            self.member(&identity)?.id.clone()
        };
        self.remove(&member, now);
        Ok(())
    }

    /// Takes a member out, and has the others share what it had.
    pub(super) fn remove(&mut self, id: &str, now: Duration) {
        let Some(member) = self.drop_member(id) else { return };
        self.answer_join(member.joining, JoinAnswer::refused(ResponseError::UnknownMemberId, id));
        self.answer_sync(member.syncing, SyncAnswer::refused(ResponseError::UnknownMemberId));
        match self.phase {
            Phase::Stable | Phase::Completing { .. } => self.prepare(now),
            // Whether the others are complete now is seen as the request settles.
            Phase::Empty | Phase::Preparing { .. } => {}
        }
    }

    /// Takes a member out of all lists.
    pub(super) fn drop_member(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.order.retain(|other| other != id);
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|of| of == id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
        Some(member)
    }

    /// Asks all members to join again.
    pub(super) fn prepare(&mut self, now: Duration) {
        let waiting: Vec<Ticket> = self.members.values_mut().filter_map(|member| member.syncing.take()).collect();
        for ticket in waiting {
            self.answer_sync(Some(ticket), SyncAnswer::refused(ResponseError::RebalanceInProgress));
        }
        let longest = self.longest_rebalance();
        let gathers = self.phase == Phase::Empty && !self.initial_delay.is_zero();
        let left = longest.saturating_sub(self.initial_delay);
        self.gathering = gathers.then_some(Gathering { left, came: false });
        self.phase = Phase::Preparing { until: now + if gathers { self.initial_delay } else { longest } };
        self.visitors_join();
    }

    fn longest_rebalance(&self) -> Duration {
        let longest = self.members.values().map(|member| member.rebalance_timeout).max();
        longest.unwrap_or_default().max(REBALANCE_MIN)
    }

    /// A new group that has waited waits on where somebody came meanwhile, as far as a rebalance may take; else it begins.
    fn gather_or_complete(&mut self, now: Duration) {
        match &mut self.gathering {
            Some(gathering) if gathering.came && !gathering.left.is_zero() => {
                let until = now + self.initial_delay.min(gathering.left);
                gathering.left = gathering.left.saturating_sub(self.initial_delay);
                gathering.came = false;
                self.phase = Phase::Preparing { until };
            }
            _ => self.complete(now),
        }
    }

    /// Goes on where a request left nobody to wait for.
    pub(super) fn settle(&mut self, now: Duration) {
        self.receive(now);
        if !matches!(self.phase, Phase::Preparing { .. }) || self.gathering.is_some() {
            return;
        }
        let all_joined = self.members.values().all(|member| member.joining.is_some());
        if all_joined && self.promised.is_empty() {
            self.complete(now);
        }
    }

    /// Begins a new generation with those who have joined.
    fn complete(&mut self, now: Duration) {
        self.gathering = None;
        let missing = |member: &&Member| member.joining.is_none() && member.instance.is_none();
        let missing: Vec<String> = self.members.values().filter(missing).map(|member| member.id.clone()).collect();
        for id in missing {
            self.drop_member(&id);
        }
        self.visitors_stay_with_others();
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol = None;
            self.leader = None;
            return;
        }
        if self.members.values().all(|member| member.joining.is_none() || member.visitor.is_some()) {
            // Static members alone, none of which has come back yet: they are waited for until their sessions end.
            self.generation -= 1;
            self.prepare(now);
            return;
        }
        self.protocol = self.elect_protocol();
        let leads = |member: &Member| member.joining.is_some() && member.visitor.is_none();
        let joined = |id: &&String| self.members.get(*id).is_some_and(leads);
        if self.leader.as_ref().is_none_or(|leader| !joined(&leader)) {
            self.leader = self.order.iter().find(joined).cloned();
        }
        self.phase = Phase::Completing { until: now + self.longest_rebalance() };
        for id in self.order.clone() {
            let answer = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                (member.synced, member.heard) = (member.visitor.is_some(), now);
                let ticket = member.joining.take();
                self.answer_join(ticket, answer);
            }
        }
    }

    /// What a member is told that has joined this generation: the leader also learns who the others are.
    pub(super) fn joined(&self, id: &str) -> JoinAnswer {
        let leads = self.leader.as_deref() == Some(id);
        let protocol = self.protocol.clone().unwrap_or_default();
        let listed = |member: &Member| {
            let identity = Identity { member: member.id.clone(), instance: member.instance.clone() };
            (identity, member.metadata(&protocol))
        };
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: id.to_owned(),
            skip_assignment: false,
            members: if leads { self.members.values().map(listed).collect() } else { Vec::new() },
        }
    }

    /// Names of protocols that all members can do.
    pub(super) fn shared_protocols(&self) -> Option<BTreeSet<&str>> {
        let names = |member: &'_ Member| -> BTreeSet<String> {
            member.protocols.iter().map(|(name, _)| name.clone()).collect()
        };
        let mut others = self.members.values();
        let first = others.next()?;
        let rest: Vec<BTreeSet<String>> = others.map(names).collect();
        let shared = first.protocols.iter().map(|(name, _)| name.as_str());
        Some(shared.filter(|name| rest.iter().all(|names| names.contains(*name))).collect())
    }

    /// Each member votes for what it likes best of what all can do.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let shared = self.shared_protocols()?;
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let liked = member.protocols.iter().find(|(name, _)| shared.contains(name.as_str()));
            if let Some((name, _)) = liked {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.iter().find(|(_, count)| **count == most).map(|(name, _)| (*name).to_owned())
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if let Some(consumers) = &mut self.consumers {
            return consumers.tick(now);
        }
        self.receive(now);
        self.visitors_leave(now);
        self.promised.retain(|_, lapses| *lapses > now);
        let silent = |member: &&Member| member.session_end().is_some_and(|end| end <= now);
        let silent: Vec<String> = self.members.values().filter(silent).map(|member| member.id.clone()).collect();
        for id in silent {
            self.remove(&id, now);
        }
        match self.phase {
            Phase::Preparing { until } if until <= now => self.gather_or_complete(now),
            Phase::Completing { until } if until <= now => {
                self.drop_late();
                self.prepare(now);
            }
            Phase::Stable if self.late_end().is_some_and(|end| end <= now) => {
                self.drop_late();
                self.prepare(now);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Takes out those who have not asked for their assignment.
    fn drop_late(&mut self) {
        let late = self.members.values().filter(|member| !member.synced).map(|member| member.id.clone());
        for id in late.collect::<Vec<_>>() {
            self.drop_member(&id);
        }
    }

    /// When those are put out who have not asked for their assignment, where there are any.
    fn late_end(&self) -> Option<Duration> {
        self.sync_until.filter(|_| self.members.values().any(|member| !member.synced))
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        if let Some(consumers) = &self.consumers {
            return consumers.next_due();
        }
        let phase = match self.phase {
            Phase::Preparing { until } | Phase::Completing { until } => Some(until),
            Phase::Stable => self.late_end(),
            Phase::Empty => None,
        };
        let sessions = self.members.values().filter_map(Member::session_end);
        sessions.chain(self.promised.values().copied()).chain(phase).chain(self.next_leave()).min()
    }
}
