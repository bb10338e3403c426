//! Visitors of a group: members that are nobody's, come to make the others share anew, and leave again.
//!
//! A visitor says what the group's first member says it wants to read, gets its share, reads nothing and commits nothing. It never
//! leads. Where members tell each other more than topics, nobody could say that for them: such a group is asked to join again
//! instead, with nobody new.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::group::{CONSUMERS, Group, Phase};
use super::member::{Client, Identity, Member, Visitor};
use super::{Groups, Join, Ticket};

/// What answers to visitors are marked with: nobody collects them.
pub(super) const TICKET: Ticket = Ticket(0);

/// A visitor is taken for dead by nobody.
const SESSION: Duration = Duration::from_secs(60);

/// Assignors whose members may say more than topics, and are understood where one does not.
const FORGIVING: [&str; 2] = ["sticky", "cooperative-sticky"];

impl Groups {
    /// Has somebody visit these groups, or with none named all, as soon as their members have their shares; returns those that have
    /// members.
    pub(in crate::drive::stage) fn visit(
        &mut self,
        only: &BTreeSet<String>,
        stays: Duration,
        now: Duration,
    ) -> Vec<String> {
        let mut visited = Vec::new();
        for (id, group) in &mut self.by_id {
            let meant = only.is_empty() || only.contains(id);
            if !meant || group.is_empty() || group.is_visited() {
                continue;
            }
            if let Some(consumers) = &mut group.consumers {
                visited.extend(consumers.visit(stays, now).then(|| id.clone()));
                continue;
            }
            visited.push(id.clone());
            group.visit = Some(stays);
            group.settle(now);
            self.ready.extend(group.take_answers());
        }
        visited
    }

    /// Has all visitors leave as soon as they may, and nobody come.
    pub(in crate::drive::stage) fn end_visits(&mut self, now: Duration) {
        for group in self.by_id.values_mut() {
            group.visit = None;
            for visitor in group.members.values_mut().filter_map(|member| member.visitor.as_mut()) {
                // One that has no share yet leaves once it has.
                visitor.stays = Duration::ZERO;
                visitor.leaves = visitor.leaves.map(|leaves| leaves.min(now));
            }
        }
    }

    /// Whether a group has a visitor, or is about to.
    pub(in crate::drive::stage) fn any_visited(&self) -> bool {
        self.by_id.values().any(Group::is_visited)
    }
}

impl Group {
    fn is_visited(&self) -> bool {
        self.visit.is_some() || self.members.values().any(|member| member.visitor.is_some())
    }

    /// Lets in whoever is to visit, if all have their shares.
    pub(super) fn receive(&mut self, now: Duration) {
        if self.phase != Phase::Stable {
            return;
        }
        let Some(stays) = self.visit.take() else { return };
        let Some(protocols) = self.visitors_protocols() else { return self.prepare(now) };
        let mut given = 0;
        let first = self.members.values().next();
        let rebalance_timeout = first.map_or(SESSION, |member| member.rebalance_timeout);
        let join = Join {
            identity: Identity::default(),
            client: Client { id: "visitor".to_owned(), host: "/127.0.0.1".to_owned() },
            session_timeout: SESSION,
            rebalance_timeout,
            protocol_type: CONSUMERS.to_owned(),
            protocols,
            asks_for_id: false,
            can_skip_assignment: false,
        };
        let id = format!("visitor-{}", self.generation);
        let _ = self.add(id.clone(), join, now, &mut given);
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(TICKET);
            member.visitor = Some(Visitor { stays, leaves: None });
        }
    }

    /// What a visitor says it can do, if it can say it: topics, by every protocol that all members share.
    fn visitors_protocols(&self) -> Option<Vec<(String, Bytes)>> {
        if self.protocol_type.as_deref() != Some(CONSUMERS) {
            return None;
        }
        let shared: BTreeSet<String> = self.shared_protocols()?.into_iter().map(str::to_owned).collect();
        let first = self.members.values().next()?;
        let said = first.protocols.iter().filter(|(name, _)| shared.contains(name));
        said.map(|(name, metadata)| Some((name.clone(), topics_alone(name, metadata)?))).collect()
    }

    /// Visitors join again by themselves.
    pub(super) fn visitors_join(&mut self) {
        for member in self.members.values_mut().filter(|member| member.visitor.is_some()) {
            member.joining = Some(TICKET);
        }
    }

    /// Without others no visitor stays.
    pub(super) fn visitors_stay_with_others(&mut self) {
        if self.members.values().all(|member| member.visitor.is_some()) {
            self.drop_visitors(|_| true);
        }
    }

    /// Takes out the visitors whose time has come.
    pub(super) fn visitors_leave(&mut self, now: Duration) {
        let gone = |visitor: &Visitor| visitor.leaves.is_some_and(|leaves| leaves <= now);
        if self.phase == Phase::Stable && self.drop_visitors(gone) {
            self.prepare(now);
        }
    }

    /// When the next visitor leaves, if nothing keeps it.
    pub(super) fn next_leave(&self) -> Option<Duration> {
        if self.phase != Phase::Stable {
            return None;
        }
        self.members.values().filter_map(|member: &Member| member.visitor?.leaves).min()
    }

    fn drop_visitors(&mut self, which: impl Fn(&Visitor) -> bool) -> bool {
        let gone = |member: &&Member| member.visitor.as_ref().is_some_and(&which);
        let gone: Vec<String> = self.members.values().filter(gone).map(|member| member.id.clone()).collect();
        for id in &gone {
            self.drop_member(id);
        }
        !gone.is_empty()
    }
}

/// The subscription to the same topics and nothing more, if that is all there is to it, in the consumers' protocol: with version 1,
/// where the others have it, comes that no partition is owned yet.
fn topics_alone(protocol: &str, metadata: &Bytes) -> Option<Bytes> {
    let mut said = metadata.clone();
    let version = said.try_get_i16().ok()?;
    let topics = usize::try_from(said.try_get_i32().ok()?).ok()?;
    let mut names = Vec::new();
    for _ in 0..topics {
        let size = usize::try_from(said.try_get_i16().ok()?).ok().filter(|size| *size <= said.len())?;
        names.push(said.split_to(size));
    }
    let more = said.try_get_i32().ok()? > 0;
    if version < 0 || (more && !FORGIVING.contains(&protocol)) {
        return None;
    }
    let mut alone = BytesMut::with_capacity(metadata.len());
    alone.put_i16(version.min(1));
    alone.put_i32(names.len() as i32);
    for name in names {
        alone.put_i16(name.len() as i16);
        alone.put_slice(&name);
    }
    alone.put_i32(-1);
    if version >= 1 {
        alone.put_i32(0);
    }
    Some(alone.freeze())
}
