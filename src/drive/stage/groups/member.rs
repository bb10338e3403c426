//! One member of a group.

use std::time::Duration;

use bytes::Bytes;

use super::Ticket;

/// Who a request says it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::drive::stage) struct Identity {
    /// Member id; empty for one that has none yet.
    pub(in crate::drive::stage) member: String,
    /// `group.instance.id` of a static member.
    pub(in crate::drive::stage) instance: Option<String>,
}

/// What a client says about itself as it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::drive::stage) struct Client {
    pub(in crate::drive::stage) id: String,
    pub(in crate::drive::stage) host: String,
}

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) client: Client,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Protocols it can do, in the order it likes them, each with its metadata.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// It waits for the others to join.
    pub(super) joining: Option<Ticket>,
    /// It waits for its assignment.
    pub(super) syncing: Option<Ticket>,
    /// It has asked for its assignment since the last rebalance.
    pub(super) synced: bool,
    /// When it was last heard of.
    pub(super) heard: Duration,
    /// It is nobody's: it came to make the group share anew.
    pub(super) visitor: Option<Visitor>,
}

/// What makes a member a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visitor {
    /// How long it stays once it has its share.
    pub(super) stays: Duration,
    /// When it leaves.
    pub(super) leaves: Option<Duration>,
}

impl Member {
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// When it is taken for dead. One that waits for an answer is alive as long as it waits.
    pub(super) fn session_end(&self) -> Option<Duration> {
        let waits = self.joining.is_some() || self.syncing.is_some() || self.visitor.is_some();
        (!waits).then(|| self.heard + self.session_timeout)
    }
}
