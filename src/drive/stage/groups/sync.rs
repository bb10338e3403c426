//! `SyncGroup`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::Step;
use super::group::{Group, Phase};
use super::join::ticket;
use super::member::Identity;

/// A request for the assignment; the leader brings everybody's.
#[derive(Debug, Clone, Default)]
pub(in crate::drive::stage) struct Sync {
    pub(in crate::drive::stage) identity: Identity,
    pub(in crate::drive::stage) generation: i32,
    pub(in crate::drive::stage) protocol_type: Option<String>,
    pub(in crate::drive::stage) protocol: Option<String>,
    /// By member id.
    pub(in crate::drive::stage) assignments: BTreeMap<String, Bytes>,
}

/// What a member gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::drive::stage) struct SyncAnswer {
    pub(in crate::drive::stage) error: Option<ResponseError>,
    pub(in crate::drive::stage) protocol_type: Option<String>,
    pub(in crate::drive::stage) protocol: Option<String>,
    pub(in crate::drive::stage) assignment: Bytes,
}

impl SyncAnswer {
    pub(in crate::drive::stage) fn refused(error: ResponseError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

impl Group {
    pub(super) fn sync(&mut self, sync: Sync, now: Duration, given: &mut u64) -> Step<SyncAnswer> {
        let refused = |error| Step::Answer(SyncAnswer::refused(error));
        if let Err(error) = self.check(&sync.identity, sync.generation) {
            return refused(error);
        }
        let differs = |said: &Option<String>, own: &Option<String>| said.is_some() && said != own;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return refused(ResponseError::InconsistentGroupProtocol);
        }
        let id = sync.identity.member.as_str();
        match self.phase {
            Phase::Empty => refused(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => refused(ResponseError::RebalanceInProgress),
            Phase::Stable => {
                if let Some(member) = self.members.get_mut(id) {
                    (member.synced, member.heard) = (true, now);
                }
                Step::Answer(self.synced(id))
            }
            Phase::Completing { .. } => {
                let ticket = ticket(given);
                if let Some(member) = self.members.get_mut(id) {
                    member.synced = true;
                    let earlier = member.syncing.replace(ticket);
                    self.answer_sync(earlier, SyncAnswer::refused(ResponseError::RebalanceInProgress));
                }
                if self.leader.as_deref() == Some(id) {
                    self.assign(sync.assignments, now);
                }
                Step::Wait(ticket)
            }
        }
    }

    /// Hands out what the leader brought; whoever it left out gets nothing.
    fn assign(&mut self, mut assignments: BTreeMap<String, Bytes>, now: Duration) {
        if let Phase::Completing { until } = self.phase {
            self.sync_until = Some(until);
        }
        self.phase = Phase::Stable;
        for id in self.order.clone() {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = assignments.remove(&id).unwrap_or_default();
            if let Some(visitor) = &mut member.visitor {
                visitor.leaves = Some(now + visitor.stays);
            }
            if let Some(ticket) = member.syncing.take() {
                member.heard = now;
                let answer = self.synced(&id);
                self.answer_sync(Some(ticket), answer);
            }
        }
    }

    fn synced(&self, id: &str) -> SyncAnswer {
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
