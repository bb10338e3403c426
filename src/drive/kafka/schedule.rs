//! What handing over by an absolute schedule is made of, whoever the broker is: late is late, no due time moves because an earlier
//! one slipped.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use super::super::feed::{Announced, Batch};
use super::super::shared::Shared;
use super::super::{DriveError, DriveRules};
use super::Finished;
use super::broker::Broker;
use crate::clock::Clock;

/// Pause between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(1);

/// Why handing over ended.
#[derive(Debug)]
pub(in crate::drive) enum PaceEnd {
    /// Everything is visible.
    Complete,
    /// The build did not go on for longer than the drain time-out; with what was waited for.
    Stuck(String),
    /// The drive was cut short.
    Cut,
    /// The plan or the recording could not be read on, or the broker not written to.
    Failed(DriveError),
}

/// See the top of the file.
pub(in crate::drive) struct Schedule<'a> {
    pub(in crate::drive) rules: &'a DriveRules,
    pub(in crate::drive) paced: bool,
    pub(in crate::drive) broker: &'a dyn Broker,
    pub(in crate::drive) shared: &'a Shared,
    pub(in crate::drive) clock: &'a dyn Clock,
    /// Takes deliveries just before they are handed over.
    pub(in crate::drive) revealed: SyncSender<Announced>,
}

impl Schedule<'_> {
    /// Announces deliveries that are about to be handed over, ahead of what lets consumers have them.
    pub(in crate::drive) fn announce(&self, batch: &Arc<Batch>, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        // Nobody listens only where the drive has failed already.
        let _ = self.revealed.send(Announced { batch: Arc::clone(batch), rows, at_us: self.now_us() });
    }

    /// Waits for a due time; returns the time it is then, in microseconds since the schedule's start.
    pub(in crate::drive) fn due(&self, due_us: i64) -> Result<i64, PaceEnd> {
        self.shared.wait_until_due(due_us, self.clock).ok_or(PaceEnd::Cut)
    }

    /// Starts the schedule, where it has not started yet: once the warm-up is over, if there was `any`. Returns when, where it did.
    pub(in crate::drive) fn start(&self, any: bool) -> Result<Option<Duration>, PaceEnd> {
        if self.shared.has_started() {
            return Ok(None);
        }
        self.wait_for_warm_up(any)?;
        let now = self.clock.now();
        self.shared.start(now);
        Ok(Some(now))
    }

    /// Waits until commits cover the warm-up, or it has been fetched and outputs have been quiet for a while.
    fn wait_for_warm_up(&self, any: bool) -> Result<(), PaceEnd> {
        if !any {
            return Ok(());
        }
        let from_us = self.now_us();
        let settle_us = self.rules.settle.as_micros() as i64;
        // Where nobody can know what has been fetched, quiet says nothing of a build that commits.
        let commits = self.rules.kafka.as_ref().is_some_and(|kafka| kafka.finished == Finished::Committed);
        let counts = self.broker.knows_who_asks() || !commits;
        loop {
            let now_us = self.now_us();
            let quiet =
                counts && self.broker.all_asked() && now_us - self.shared.progress_us().max(from_us) >= settle_us;
            if quiet || self.broker.all_committed() || now_us - from_us >= self.drain_us() {
                return Ok(());
            }
            self.go_on()?;
            thread::park_timeout(LOOK);
        }
    }

    pub(in crate::drive) fn drain_us(&self) -> i64 {
        i64::try_from(self.rules.drain_timeout.as_micros()).unwrap_or(i64::MAX / 4)
    }

    pub(in crate::drive) fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }

    pub(in crate::drive) fn go_on(&self) -> Result<(), PaceEnd> {
        if self.shared.is_cut() { Err(PaceEnd::Cut) } else { Ok(()) }
    }
}
