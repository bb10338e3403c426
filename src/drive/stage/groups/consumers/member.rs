//! One member of a consumer group, and how it comes to have what it is to have.

use std::collections::BTreeSet;
use std::time::Duration;

use regex::Regex;

use super::super::member::{Client, Visitor};
use super::assign::{Assignor, Part};

/// Epoch of a static member that has gone and may come back.
pub(super) const AWAY: i32 = -2;

/// Where a member stands on its way to its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// It has what it was to have at its epoch.
    #[default]
    Stable,
    /// It is to give partitions up, and has not said yet that it has.
    Unrevoked,
    /// Others have not given up yet what it is to have.
    Unreleased,
}

/// What a member reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    pub(super) names: BTreeSet<String>,
    pub(super) regex: Option<Regex>,
}

impl Subscription {
    pub(super) fn covers(&self, topic: &str) -> bool {
        self.names.contains(topic) || self.regex.as_ref().is_some_and(|regex| regex.is_match(topic))
    }

    pub(super) fn regex_text(&self) -> &str {
        self.regex.as_ref().map_or("", Regex::as_str)
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.regex_text() == other.regex_text()
    }
}

/// A member.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client: Client,
    pub(super) rebalance_timeout: Duration,
    pub(super) subscription: Subscription,
    pub(super) assignor: Option<Assignor>,
    pub(super) epoch: i32,
    pub(super) epoch_before: i32,
    pub(super) standing: Standing,
    pub(super) assigned: BTreeSet<Part>,
    /// What it is to give up.
    pub(super) revoking: BTreeSet<Part>,
    /// When it is put out if it has not given that up by then.
    pub(super) revoke_until: Option<Duration>,
    /// When it was last heard of.
    pub(super) heard: Duration,
    /// It is nobody's: it came to make the group share anew.
    pub(super) visitor: Option<Visitor>,
}

impl Member {
    /// Whether it has what it is to have by the assignment of that epoch.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.standing == Standing::Stable && self.epoch == target_epoch
    }

    /// Whether nobody else may have the partition yet.
    pub(super) fn holds(&self, part: &Part) -> bool {
        self.assigned.contains(part) || self.revoking.contains(part)
    }

    /// Goes one step towards `target`, the member's part of the assignment of `target_epoch`. `owned` is what it says it has, if it
    /// says; `is_held` tells of partitions that others have not given up yet.
    pub(super) fn reconcile(
        &mut self,
        target_epoch: i32,
        target: &BTreeSet<Part>,
        owned: Option<&BTreeSet<Part>>,
        is_held: impl Fn(&Part) -> bool,
        now: Duration,
    ) {
        match self.standing {
            Standing::Stable if self.epoch == target_epoch => {}
            Standing::Stable | Standing::Unreleased => {
                self.step(self.epoch, target_epoch, target, owned, is_held, now);
            }
            Standing::Unrevoked => {
                if owned.is_some_and(|owned| owned.is_disjoint(&self.revoking)) {
                    // What it has given up others may have: it goes on from there.
                    self.step(self.epoch + 1, target_epoch, target, owned, is_held, now);
                }
            }
        }
    }

    fn step(
        &mut self,
        epoch: i32,
        target_epoch: i32,
        target: &BTreeSet<Part>,
        owned: Option<&BTreeSet<Part>>,
        is_held: impl Fn(&Part) -> bool,
        now: Duration,
    ) {
        let kept: BTreeSet<Part> = self.assigned.intersection(target).copied().collect();
        let revoking: BTreeSet<Part> = self.assigned.difference(&kept).copied().collect();
        let has_some = |owned: &BTreeSet<Part>| !owned.is_disjoint(&revoking);
        self.epoch_before = self.epoch;
        if !revoking.is_empty() && owned.is_none_or(has_some) {
            (self.epoch, self.standing) = (epoch, Standing::Unrevoked);
            (self.assigned, self.revoking) = (kept, revoking);
            self.revoke_until = Some(now + self.rebalance_timeout);
            return;
        }
        let wanted: BTreeSet<Part> = target.difference(&kept).copied().collect();
        let free: BTreeSet<Part> = wanted.iter().filter(|part| !is_held(part)).copied().collect();
        self.standing = if free.len() < wanted.len() { Standing::Unreleased } else { Standing::Stable };
        self.epoch = target_epoch;
        self.assigned = kept;
        self.assigned.extend(free);
        self.revoking.clear();
        self.revoke_until = None;
    }
}
