//! `JoinGroup`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::group::{Group, Phase};
use super::member::{Client, Identity, Member};
use super::sync::SyncAnswer;
use super::{Step, Ticket};

/// Bounds of `session.timeout.ms`, as Kafka has them by default.
const SESSION_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(1_800);

/// A request to join.
#[derive(Debug, Clone)]
pub(in crate::drive::stage) struct Join {
    pub(in crate::drive::stage) identity: Identity,
    pub(in crate::drive::stage) client: Client,
    pub(in crate::drive::stage) session_timeout: Duration,
    pub(in crate::drive::stage) rebalance_timeout: Duration,
    pub(in crate::drive::stage) protocol_type: String,
    pub(in crate::drive::stage) protocols: Vec<(String, Bytes)>,
    /// Whether the client knows that a new member is told its id first and joins with it then.
    pub(in crate::drive::stage) asks_for_id: bool,
    /// Whether the client knows that a leader may be told to assign nothing.
    pub(in crate::drive::stage) can_skip_assignment: bool,
}

impl Join {
    pub(super) fn check(&self, group: &str) -> Result<(), ResponseError> {
        if group.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if !SESSION_TIMEOUT.contains(&self.session_timeout) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        Ok(())
    }
}

/// What a member gets that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) struct JoinAnswer {
    pub(in crate::drive::stage) error: Option<ResponseError>,
    pub(in crate::drive::stage) generation: i32,
    pub(in crate::drive::stage) protocol_type: Option<String>,
    pub(in crate::drive::stage) protocol: Option<String>,
    pub(in crate::drive::stage) leader: String,
    pub(in crate::drive::stage) member: String,
    pub(in crate::drive::stage) skip_assignment: bool,
    /// All members with their metadata, for the leader alone.
    pub(in crate::drive::stage) members: Vec<(Identity, Bytes)>,
}

impl JoinAnswer {
    pub(in crate::drive::stage) fn refused(error: ResponseError, member: &str) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member: member.to_owned(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

impl Group {
    pub(super) fn join(&mut self, join: Join, now: Duration, given: &mut u64) -> Step<JoinAnswer> {
        let refused = |error| Step::Answer(JoinAnswer::refused(error, &join.identity.member));
        if !self.can_do(&join) {
            return refused(ResponseError::InconsistentGroupProtocol);
        }
        if join.identity.member.is_empty() {
            return self.join_new(join, now, given);
        }
        if self.promised.remove(&join.identity.member).is_some() {
            return self.add(join.identity.member.clone(), join, now, given);
        }
        let member = match self.member(&join.identity) {
            Ok(member) => member,
            Err(error) => return refused(error),
        };
        let changed = member.protocols != join.protocols;
        let id = member.id.clone();
        let leads = self.leader.as_deref() == Some(id.as_str());
        match self.phase {
            Phase::Empty => refused(ResponseError::UnknownMemberId),
            // The answer to an earlier join may have been lost.
            Phase::Completing { .. } if !changed => Step::Answer(self.joined(&id)),
            Phase::Stable if !changed && !leads => Step::Answer(self.joined(&id)),
            Phase::Preparing { .. } => self.join_again(&id, join, now, given),
            Phase::Completing { .. } | Phase::Stable => {
                self.prepare(now);
                self.join_again(&id, join, now, given)
            }
        }
    }

    /// Whether there is a protocol in common with all that the members said so far, the one that joins again included.
    fn can_do(&self, join: &Join) -> bool {
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let fits = |names: std::collections::BTreeSet<&str>| {
            join.protocols.iter().any(|(name, _)| names.contains(name.as_str()))
        };
        self.protocol_type.as_ref() == Some(&join.protocol_type) && self.shared_protocols().is_none_or(fits)
    }

    fn join_new(&mut self, join: Join, now: Duration, given: &mut u64) -> Step<JoinAnswer> {
        *given += 1;
        // The number makes it unique; a name makes it readable, as Kafka's are.
        let name = join.identity.instance.as_ref().unwrap_or(&join.client.id);
        let id = format!("{name}-{:08x}-0000-4000-8000-{:012x}", *given >> 32, *given & 0xffff_ffff);
        if let Some(instance) = join.identity.instance.clone() {
            return match self.instances.get(&instance).cloned() {
                Some(old) => self.replace(&old, id, join, now, given),
                None => self.add(id, join, now, given),
            };
        }
        if join.asks_for_id {
            self.promised.insert(id.clone(), now + join.session_timeout);
            return Step::Answer(JoinAnswer::refused(ResponseError::MemberIdRequired, &id));
        }
        self.add(id, join, now, given)
    }

    pub(super) fn add(&mut self, id: String, join: Join, now: Duration, given: &mut u64) -> Step<JoinAnswer> {
        let ticket = ticket(given);
        self.protocol_type = Some(join.protocol_type.clone());
        if let Some(instance) = &join.identity.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.order.push(id.clone());
        let member = Member {
            id: id.clone(),
            instance: join.identity.instance,
            client: join.client,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            synced: false,
            heard: now,
            visitor: None,
        };
        self.members.insert(id, member);
        if let Some(gathering) = &mut self.gathering {
            // Only a group that never was waits for longer.
            gathering.came = self.generation == 0;
        }
        if !matches!(self.phase, Phase::Preparing { .. }) {
            self.prepare(now);
        }
        Step::Wait(ticket)
    }

    fn join_again(&mut self, id: &str, join: Join, now: Duration, given: &mut u64) -> Step<JoinAnswer> {
        let ticket = ticket(given);
        let Some(member) = self.members.get_mut(id) else {
            return Step::Answer(JoinAnswer::refused(ResponseError::UnknownMemberId, id));
        };
        member.client = join.client;
        (member.session_timeout, member.rebalance_timeout) = (join.session_timeout, join.rebalance_timeout);
        (member.protocols, member.heard) = (join.protocols, now);
        // A client that asks twice has given up on its first question.
        let earlier = member.joining.replace(ticket);
        self.answer_join(earlier, JoinAnswer::refused(ResponseError::RebalanceInProgress, id));
        Step::Wait(ticket)
    }

    /// A static member has come back under a new id: it takes the place of the old one, which is fenced.
    fn replace(&mut self, old: &str, id: String, join: Join, now: Duration, given: &mut u64) -> Step<JoinAnswer> {
        let led = self.leader.as_deref() == Some(old);
        let place = self.order.iter().position(|other| other == old);
        let Some(mut member) = self.drop_member(old) else { return self.add(id, join, now, given) };
        self.answer_join(member.joining.take(), JoinAnswer::refused(ResponseError::FencedInstanceId, old));
        self.answer_sync(member.syncing.take(), SyncAnswer::refused(ResponseError::FencedInstanceId));
        member.id.clone_from(&id);
        member.client = join.client.clone();
        (member.session_timeout, member.rebalance_timeout) = (join.session_timeout, join.rebalance_timeout);
        (member.protocols, member.heard) = (join.protocols.clone(), now);
        self.instances.extend(member.instance.clone().map(|instance| (instance, id.clone())));
        self.order.insert(place.unwrap_or(0), id.clone());
        self.members.insert(id.clone(), member);
        if led {
            self.leader = Some(id.clone());
        }
        // What it says of itself may differ (Java's clients tell the generation they were in): the assignment stands all the same.
        let same = self.phase == Phase::Stable && self.elect_protocol() == self.protocol;
        if !same {
            if !matches!(self.phase, Phase::Preparing { .. }) {
                self.prepare(now);
            }
            return self.join_again(&id, join, now, given);
        }
        let mut answer = self.joined(&id);
        if led && join.can_skip_assignment {
            answer.skip_assignment = true;
        } else if led {
            // A leader would assign anew, which nobody waits for: it is told that somebody else leads.
            old.clone_into(&mut answer.leader);
            answer.members.clear();
        }
        Step::Answer(answer)
    }
}

pub(super) fn ticket(given: &mut u64) -> Ticket {
    *given += 1;
    Ticket(*given)
}
