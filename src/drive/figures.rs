//! What is told of a drive while it goes on: its progress, and the gauges of its outcome.

use super::process::Process;
use super::shared::Shared;
use super::stdio::grouped;
use super::{Job, Progress};
use crate::outcome::{GaugesWriter, OutcomeError};

/// Microseconds between figures of the process.
const GAUGES_US: i64 = 1_000_000;

/// Microseconds between figures of lag and freshness: a build falls behind and catches up within a second.
const LAG_US: i64 = 100_000;

/// Microseconds between reports of progress.
const PROGRESS_US: i64 = 100_000;

/// Microseconds between footers that make what was written readable.
const CHECKPOINT_US: i64 = 20_000_000;

/// Tells and writes down, each as often as is due.
pub(super) struct Figures<'a, 'b> {
    job: &'a Job<'a>,
    shared: &'a Shared,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    gauges: &'b mut GaugesWriter,
    sampled_us: i64,
    lagged_us: i64,
    told_us: i64,
    saved_us: i64,
}

impl<'a, 'b> Figures<'a, 'b> {
    pub(super) fn new(
        job: &'a Job<'a>,
        shared: &'a Shared,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
        gauges: &'b mut GaugesWriter,
        now_us: i64,
    ) -> Self {
        Self {
            job,
            shared,
            progress,
            gauges,
            sampled_us: i64::MIN,
            lagged_us: i64::MIN,
            told_us: i64::MIN,
            saved_us: now_us,
        }
    }

    /// Tells the progress, where that is due.
    pub(super) fn tell(&mut self, now_us: i64) {
        if now_us.saturating_sub(self.told_us) >= PROGRESS_US {
            self.told_us = now_us;
            let (sent, outputs) = (self.shared.sent(), self.shared.outputs());
            (self.progress)(Progress { drive: self.job.name, sent, outputs });
        }
    }

    /// Makes what was written readable, where that is due; returns whether it was: for what others have written, too.
    pub(super) fn save(&mut self, now_us: i64) -> Result<bool, OutcomeError> {
        if now_us.saturating_sub(self.saved_us) < CHECKPOINT_US {
            return Ok(false);
        }
        self.saved_us = now_us;
        self.gauges.checkpoint()?;
        Ok(true)
    }

    /// Writes gauges down, where that is due or these are the `last`; `more` are those that only one transport has.
    pub(super) fn sample<I: IntoIterator<Item = (String, f64)>>(
        &mut self,
        now_us: i64,
        last: bool,
        process: &Process,
        more: impl FnOnce() -> I,
    ) -> Result<(), OutcomeError> {
        let time_us = self.shared.relative_us(now_us);
        if last || now_us.saturating_sub(self.lagged_us) >= LAG_US {
            self.lagged_us = now_us;
            if let Some(lag) = self.shared.lag() {
                let age_us = lag.since_us.map_or(0, |since| (now_us - since).max(0));
                self.gauges.append(time_us, "lag", lag.positions as f64)?;
                self.gauges.append(time_us, "freshness-us", age_us as f64)?;
            }
        }
        if !last && now_us.saturating_sub(self.sampled_us) < GAUGES_US {
            return Ok(());
        }
        self.sampled_us = now_us;
        for (name, value) in more() {
            self.gauges.append(time_us, &name, value)?;
        }
        if let Some((cpu_us, memory_bytes)) = process.usage() {
            self.gauges.append(time_us, "cpu-us", cpu_us as f64)?;
            self.gauges.append(time_us, "memory-bytes", memory_bytes as f64)?;
        }
        Ok(())
    }
}

/// `after 1,204 of 26,398 deliveries`, or of those known so far.
pub(super) fn after(sent: u64, planned: u64) -> String {
    if planned > sent {
        format!("after {} of {} deliveries", grouped(sent), grouped(planned))
    } else {
        format!("after {} deliveries", grouped(sent))
    }
}
