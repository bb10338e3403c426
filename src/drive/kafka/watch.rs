//! Watching over a build that reads Kafka, and deciding how its drive ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::super::figures::{Figures, after};
use super::super::process::{Ended, Process, describe};
use super::super::shared::Shared;
use super::super::stage::StageError;
use super::super::stdio::{grouped, join, micros};
use super::super::{DriveError, Job, Progress};
use super::faults::Log;
use super::feeder::PaceEnd;
use super::keeper::Kept;
use super::lanes::Lanes;
use super::{Finished, KafkaRules, Known};
use crate::clock::{Clock, Stop};
use crate::outcome::{Ending, EndingReport, GaugesWriter, OutcomeError};
use crate::settings::Span;

/// How often the drive looks at its build.
const LOOK: Duration = Duration::from_millis(5);

/// How long a build that is told to stop may take for it: to flush, commit and leave its group.
const GRACE: Duration = Duration::from_secs(5);

/// Partitions that are named where many would have to be.
const NAMED_MAX: usize = 5;

/// The other threads of a drive.
pub(super) struct Heard<'s> {
    pub(super) pacing: ScopedJoinHandle<'s, PaceEnd>,
    pub(super) keeping: ScopedJoinHandle<'s, Result<Kept, DriveError>>,
    pub(super) complaining: ScopedJoinHandle<'s, io::Result<u64>>,
    pub(super) talking: ScopedJoinHandle<'s, io::Result<u64>>,
}

/// Why a drive is over.
#[derive(Debug)]
enum Cut {
    Ending(Ending, String),
    Stopped,
    Failed(DriveError),
}

/// Where revealing stands.
#[derive(Debug, Default)]
struct Revealed {
    complete: bool,
    /// When it ended.
    at_us: i64,
}

pub(super) struct Watch<'a, 'b> {
    job: &'a Job<'a>,
    rules: &'a KafkaRules,
    lanes: &'a Lanes<'a>,
    shared: &'a Shared,
    known: &'a Known,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    process: Process,
    /// What faults at requests touch.
    log: Log<'b>,
    figures: Figures<'a, 'b>,
    begun_us: i64,
    /// When a fault at requests acted last.
    acted_us: i64,
    /// Sum of what has been asked for, when it last changed, and when consumers were last at the end of everything.
    asked: i64,
    all_asked_us: i64,
}

impl<'a, 'b> Watch<'a, 'b> {
    #[expect(clippy::too_many_arguments, reason = "it stands in the middle of all that a drive is made of")]
    pub(super) fn new(
        job: &'a Job<'a>,
        rules: &'a KafkaRules,
        lanes: &'a Lanes<'a>,
        shared: &'a Shared,
        known: &'a Known,
        clock: &'a dyn Clock,
        stop: &'a Stop,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
        process: Process,
        gauges: &'b mut GaugesWriter,
        log: Log<'b>,
    ) -> Self {
        let now_us = micros(clock.now());
        Self {
            job,
            rules,
            lanes,
            shared,
            known,
            clock,
            stop,
            process,
            log,
            figures: Figures::new(job, shared, progress, gauges, now_us),
            begun_us: now_us,
            acted_us: i64::MIN,
            asked: 0,
            all_asked_us: now_us,
        }
    }

    pub(super) fn run(mut self, heard: Heard<'_>) -> (EndingReport, Option<DriveError>) {
        let Heard { pacing, keeping, complaining, talking } = heard;
        let mut pacing = Some(pacing);
        let mut revealed = Revealed::default();
        let mut exited = false;
        let cut = loop {
            // Asked ahead of the end of revealing: what ended ahead of it is told apart from what ended behind it.
            exited |= self.process.has_ended();
            if let Some(ended) = pacing.take_if(|pacing| pacing.is_finished())
                && let Some(cut) = self.revealed(join(ended), &mut revealed)
            {
                break cut;
            }
            if keeping.is_finished() {
                break self.flooded();
            }
            self.follow();
            if let Err(error) = self.follow_faults() {
                break Cut::Failed(error.into());
            }
            if let Some(cut) = self.look(&revealed, exited) {
                break cut;
            }
            if let Err(error) = self.sample(false) {
                break Cut::Failed(error.into());
            }
            if let Some(failed) = self.unserved() {
                break failed;
            }
            thread::park_timeout(LOOK);
        };
        // What came at the very end, too: of a stage that failed nobody can tell what the build would have done.
        let cut = if matches!(cut, Cut::Ending(..)) { self.unserved().unwrap_or(cut) } else { cut };
        if matches!(cut, Cut::Stopped | Cut::Failed(_)) {
            self.shared.abandon();
        }
        self.shared.cut();
        // However it ends, it ends at peace.
        self.lanes.stage.rest_faults(true);
        let ended = if exited { self.process.end() } else { self.process.end_within(GRACE) };
        if let Some(pacing) = pacing {
            join(pacing);
        }
        // Only now: what the build wrote on its way out is kept, too.
        self.shared.close_when_quiet();
        let kept = join(keeping);
        let from_us = self.now_us();
        while !complaining.is_finished() || !talking.is_finished() {
            // What could not be ended and goes on writing is cut off.
            if self.now_us() - from_us > micros(GRACE) {
                self.shared.close_now();
            }
            thread::park_timeout(LOOK);
        }
        let dropped = [("stderr.log", join(complaining)), ("stdout.log", join(talking))];
        self.conclude(cut, ended, kept, dropped)
    }

    /// Takes note of the end of revealing.
    fn revealed(&mut self, end: PaceEnd, revealed: &mut Revealed) -> Option<Cut> {
        revealed.at_us = self.now_us();
        match end {
            PaceEnd::Complete => revealed.complete = true,
            PaceEnd::Cut => {}
            PaceEnd::Stuck(reason) => {
                return Some(Cut::Ending(Ending::StoppedReading, format!("{reason} {}", self.after())));
            }
            PaceEnd::Failed(error) => return Some(Cut::Failed(error)),
        }
        None
    }

    /// The stage could not do its part.
    fn unserved(&self) -> Option<Cut> {
        let (what, _) = self.lanes.stage.failures().into_iter().next()?;
        Some(Cut::Failed(StageError::Unserved(what).into()))
    }

    /// Gathering has ended ahead of everything else: the build wrote too much, or what it wrote cannot be kept, which is told later.
    fn flooded(&self) -> Cut {
        let bytes = grouped(self.job.rules.output_bytes_max);
        Cut::Ending(Ending::TimedOut, format!("wrote more than {bytes} bytes (`output-bytes-max`)"))
    }

    /// Notes how far consumers have come.
    fn follow(&mut self) {
        let now = self.clock.now();
        let asked = self.lanes.all.iter().filter_map(|lane| lane.planned.asked()).fold(0, i64::wrapping_add);
        if asked != self.asked {
            self.asked = asked;
            self.shared.note_taken(now);
        }
        if self.lanes.all_asked() {
            self.all_asked_us = micros(now);
        }
    }

    /// Notes what faults at requests have touched, and that one acts: nobody is blamed for standing still meanwhile.
    fn follow_faults(&mut self) -> Result<(), OutcomeError> {
        if self.log.follow(self.lanes.stage, self.shared)? || self.lanes.stage.faults_act() {
            self.acted_us = self.now_us();
        }
        Ok(())
    }

    /// Looks whether the drive is over.
    fn look(&self, revealed: &Revealed, exited: bool) -> Option<Cut> {
        let rules = self.job.rules;
        let now_us = self.now_us();
        let over = |ending, reason| Some(Cut::Ending(ending, reason));
        if self.stop.raised() {
            return Some(Cut::Stopped);
        }
        let through = revealed.complete && self.is_through();
        if exited {
            // Its exit code, which is not known before it is reaped, says the rest.
            return over(if through { Ending::Finished } else { Ending::Died }, String::new());
        }
        let output_us = self.shared.output_us().max(revealed.at_us);
        if through && self.known.caught_up_us() - output_us >= micros(rules.settle) {
            return over(Ending::Finished, self.by_which());
        }
        if now_us - self.begun_us > micros(rules.timeout) {
            let reason = format!("did not end within {} (`timeout`) {}", Span(rules.timeout), self.after());
            return over(Ending::TimedOut, reason);
        }
        if !self.shared.is_ready() {
            let late = now_us - self.begun_us > micros(rules.ready_timeout);
            return late.then(|| Cut::Ending(Ending::TimedOut, self.unready()));
        }
        let limit = format!("{} (`drain-timeout`)", Span(rules.drain_timeout));
        let quiet_us = self.shared.progress_us().max(revealed.at_us).max(self.all_asked_us).max(self.acted_us);
        let still_us = now_us - quiet_us;
        let still = still_us > micros(rules.drain_timeout);
        if still && !self.lanes.all_asked() {
            return over(Ending::StoppedReading, format!("fetched nothing more for {limit} {}", self.after()));
        }
        let stale_us = now_us - self.shared.progress_us().max(revealed.at_us);
        if revealed.complete && stale_us > micros(rules.drain_timeout) {
            let open = self.lanes.stage.open_transactions();
            let what = match (open, self.rules.finished) {
                (0, Finished::Committed) => {
                    "but did not commit the end of it; a build that commits elsewhere wants `finished = \"quiet\"`"
                }
                _ => "but left a transaction open",
            };
            let reason = format!("was handed everything {}, {what}; nothing came of it for {limit}", self.after());
            return over(Ending::TimedOut, reason);
        }
        None
    }

    /// Whether the build has dealt with all that is visible, by what the scenario goes by.
    fn is_through(&self) -> bool {
        let dealt_with = match self.rules.finished {
            Finished::Committed => self.lanes.all_committed(),
            Finished::Quiet => self.lanes.all_asked(),
        };
        dealt_with && self.lanes.stage.open_transactions() == 0
    }

    fn by_which(&self) -> String {
        match self.rules.finished {
            Finished::Committed => format!("committed the end of its input {}", self.after()),
            Finished::Quiet => {
                let settle = Span(self.job.rules.settle);
                format!(
                    "fetched its input to the end {} and was quiet for {settle} (`finished = \"quiet\"`)",
                    self.after()
                )
            }
        }
    }

    /// Says what was not fetched from in time.
    fn unready(&self) -> String {
        let limit = Span(self.job.rules.ready_timeout);
        let mut missing: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        self.lanes.unasked().for_each(|lane| missing.entry(&lane.topic).or_default().push(lane.partition));
        let named = missing.iter().map(|(topic, partitions)| {
            let shown: Vec<String> = partitions.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = partitions.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("`{topic}` partition {}{more}", shown.join(", "))
        });
        let named: Vec<String> = named.collect();
        format!("was not ready within {limit} (`ready-timeout`): it has not fetched from {}", named.join("; "))
    }

    fn conclude(
        mut self,
        cut: Cut,
        ended: Ended,
        kept: Result<Kept, DriveError>,
        dropped: [(&str, io::Result<u64>); 2],
    ) -> (EndingReport, Option<DriveError>) {
        use std::os::unix::process::ExitStatusExt;
        // What cut the drive short comes before what went wrong on the way out.
        let mut failed = None;
        let (ending, mut reason) = match cut {
            Cut::Ending(ending, reason) => (ending, reason),
            Cut::Stopped => {
                let drive = self.job.name.to_owned();
                failed = Some(DriveError::Stopped { drive, path: self.job.out.clone() });
                (Ending::TimedOut, format!("stopped on request {}", self.after()))
            }
            Cut::Failed(error) => {
                let reason = format!("the drive could not go on {}: {error}", self.after());
                failed = Some(error);
                (Ending::TimedOut, reason)
            }
        };
        let code = describe(ended.status);
        let success = ended.status.is_some_and(|status| status.success());
        let ending = match ending {
            // It left by itself, which is as good as being told to, unless it says otherwise.
            Ending::Finished if reason.is_empty() && !success => {
                reason = format!("{code} {}, after the end of its input", self.after());
                Ending::Died
            }
            Ending::Finished if reason.is_empty() => {
                reason = format!("{code} {}", self.after());
                Ending::Finished
            }
            Ending::Died => {
                reason = format!("{code} {}, before it was through with its input", self.after());
                Ending::Died
            }
            other => other,
        };
        if ended.left > 0 {
            let _ = write!(reason, "; {} processes that it started could not be ended", ended.left);
        }
        let mut report = EndingReport::new(ending, String::new());
        report.exit_code = ended.status.and_then(|status| status.code());
        report.signal = ended.status.and_then(|status| status.signal());
        report.outputs = Some(self.shared.outputs());
        report.length_us = Some(self.shared.relative_us(self.now_us()).max(0));
        match kept {
            Ok(kept) => {
                report.deliveries = Some(kept.planned.max(self.job.deliveries.unwrap_or(0)));
                report.sent = Some(kept.sent);
                report.redelivered = Some(kept.redelivered);
                report.lateness = kept.lateness;
                report.committed = kept.committed;
                report.taken_back = kept.taken_back;
            }
            Err(error) => {
                if failed.is_none() {
                    reason = format!("the drive could not go on {}: {error}", self.after());
                    report.ending = Ending::TimedOut;
                }
                failed = failed.or(Some(error));
            }
        }
        for (name, dropped) in dropped {
            match dropped {
                Ok(bytes) if name == "stderr.log" => report.stderr_dropped_bytes = bytes,
                Ok(_) => {}
                Err(source) => {
                    failed = failed.or(Some(OutcomeError::Io { path: self.job.out.join(name), source }.into()));
                }
            }
        }
        if let Err(error) = self.remark(report.taken_back, &mut reason) {
            failed = failed.or(Some(error));
        }
        report.reason = reason;
        report.faults = self.log.counts(self.lanes.stage);
        if let Err(error) = self.log.follow(self.lanes.stage, self.shared) {
            failed = failed.or(Some(error.into()));
        }
        // The last figures, so that short drives have some.
        if let Err(error) = self.sample(true) {
            failed = failed.or(Some(error.into()));
        }
        (report, failed)
    }

    /// Adds what else is to be known of what the build did.
    fn remark(&self, taken_back: u64, reason: &mut String) -> Result<(), DriveError> {
        if taken_back > 0 {
            let _ = write!(reason, "; it took {} outputs back with their transactions", grouped(taken_back));
        }
        let mut unlisted = Vec::new();
        for (topic, partitions) in self.lanes.stage.written_topics() {
            if self.rules.outputs.contains_key(&topic) || is_internal(&topic) {
                continue;
            }
            for partition in 0..partitions {
                if self.lanes.stage.read(&topic, partition, 0)?.more {
                    unlisted.push(format!("`{topic}`"));
                    break;
                }
            }
        }
        if !unlisted.is_empty() {
            let _ = write!(reason, "; it also wrote to {}, which `outputs` does not name", unlisted.join(", "));
        }
        let asked = self.lanes.stage.asked();
        if !asked.is_empty() {
            let calls = asked.iter().take(NAMED_MAX).map(|(asked, count)| {
                let who = if asked.client.is_empty() { String::new() } else { format!(" by `{}`", asked.client) };
                format!("{} version {}{who}, {} times", asked.call, asked.version, grouped(*count))
            });
            let calls: Vec<String> = calls.collect();
            let _ = write!(reason, "; asked for what the stage does not serve: {}", calls.join("; "));
        }
        Ok(())
    }

    fn after(&self) -> String {
        after(self.shared.sent(), self.job.deliveries.unwrap_or(0))
    }

    fn sample(&mut self, last: bool) -> Result<(), OutcomeError> {
        let now_us = self.now_us();
        self.figures.tell(now_us);
        if self.figures.save(now_us)? {
            self.log.checkpoint()?;
        }
        let by_group = || {
            let lag = self.lanes.lag(&self.known.commits());
            lag.into_iter().map(|(group, lag)| (format!("lag/{group}"), lag as f64))
        };
        self.figures.sample(now_us, last, &self.process, by_group)
    }

    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}

/// Whether a topic is a build's own affair by the names that Kafka Streams gives.
pub(super) fn is_internal(topic: &str) -> bool {
    topic.ends_with("-changelog") || topic.ends_with("-repartition")
}
