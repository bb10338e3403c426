//! What is told of a drive while it goes on: its progress, and the gauges of its outcome.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::process::Crew;
use super::shared::Shared;
use super::stdio::grouped;
use super::{Job, Progress};
use crate::outcome::{GaugesWriter, OutcomeError};

/// Bytes of a block, as the system counts a file's.
const BLOCK: u64 = 512;

/// Microseconds between figures of the processes.
const GAUGES_US: i64 = 1_000_000;

/// Microseconds between figures of lag and freshness: a build falls behind and catches up within a second.
const LAG_US: i64 = 100_000;

/// Microseconds between looks at the memory of the build's own process, which only tells of its most as long as it is there.
const PEAK_US: i64 = 50_000;

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
    peeked_us: i64,
    told_us: i64,
    saved_us: i64,
    cpu_us: u64,
    peak_bytes: u64,
    dir_bytes: u64,
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
            peeked_us: i64::MIN,
            told_us: i64::MIN,
            saved_us: now_us,
            cpu_us: 0,
            peak_bytes: 0,
            dir_bytes: 0,
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

    /// Says that the drive's directory holds too much, where it does.
    pub(super) fn overfull(&self) -> Option<String> {
        let most = self.job.rules.dir_bytes_max;
        (self.dir_bytes > most)
            .then(|| format!("filled its directory with more than {} bytes (`dir-bytes-max`)", grouped(most)))
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
        crew: &Crew<'_>,
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
        if now_us.saturating_sub(self.peeked_us) >= PEAK_US {
            self.peeked_us = now_us;
            self.peak_bytes = self.peak_bytes.max(crew.peak_bytes().unwrap_or(0));
        }
        if !last && now_us.saturating_sub(self.sampled_us) < GAUGES_US {
            return Ok(());
        }
        self.sampled_us = now_us;
        self.dir_bytes = bytes_below(&self.job.out.join("dir"), self.job.rules.dir_bytes_max);
        for (name, value) in more().into_iter().chain(crew.offered()) {
            self.gauges.append(time_us, &name, value)?;
        }
        let usage = crew.usage();
        if let Some(usage) = usage {
            // Time of what ended without its parent to wait for it is told of no more.
            self.cpu_us = self.cpu_us.max(usage.cpu_us);
            self.peak_bytes = self.peak_bytes.max(usage.peak_bytes);
            self.gauges.append(time_us, "memory-bytes", usage.memory_bytes as f64)?;
            self.gauges.append(time_us, "processes", usage.processes as f64)?;
        }
        // Once they are gone this is all of it.
        self.cpu_us = self.cpu_us.max(crew.spent_us());
        if usage.is_some() || last && self.peak_bytes > 0 {
            self.gauges.append(time_us, "cpu-us", self.cpu_us as f64)?;
            self.gauges.append(time_us, "memory-peak-bytes", self.peak_bytes as f64)?;
        }
        Ok(())
    }
}

/// Adds up the room that files below `folder` take, until it is more than `enough`. Links are not followed; what cannot be read, or
/// goes meanwhile, counts nothing.
fn bytes_below(folder: &Path, enough: u64) -> u64 {
    let (mut folders, mut bytes) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            // What stands on the disk: a file with holes says more of itself.
            bytes += about.blocks() * BLOCK;
            if about.is_dir() {
                folders.push(entry.path());
            }
            if bytes > enough {
                return bytes;
            }
        }
    }
    bytes
}

/// `after 1,204 of 26,398 deliveries`, or of those known so far.
pub(super) fn after(sent: u64, planned: u64) -> String {
    if planned > sent {
        format!("after {} of {} deliveries", grouped(sent), grouped(planned))
    } else {
        format!("after {} deliveries", grouped(sent))
    }
}
