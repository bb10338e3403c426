//! Watching over a build that reads Kafka, and deciding how its drive ends.

use std::fmt::Write as _;
use std::io;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::super::figures::{Figures, after};
use super::super::process::{Crew, Ended, Flight, Stops, describe};
use super::super::shared::Shared;
use super::super::stdio::{grouped, join, micros};
use super::super::{DriveError, Job, Progress};
use super::broker::Broker;
use super::faults::Log;
use super::keeper::Kept;
use super::schedule::PaceEnd;
use super::{Finished, KafkaRules, Known, log_name};
use crate::clock::{Clock, Stop};
use crate::drive::stage::GroupCommit;
use crate::outcome::{Ending, EndingReport, GaugesWriter, OutcomeError};
use crate::settings::Span;

/// How often the drive looks at its build.
const LOOK: Duration = Duration::from_millis(5);

/// Groups that a reason names.
const GROUPS_NAMED: usize = 5;

/// How long a build that is told to stop may take for it: to flush, commit and leave its group.
const GRACE: Duration = Duration::from_secs(5);

/// The other threads of a drive.
pub(super) struct Heard<'s> {
    pub(super) pacing: ScopedJoinHandle<'s, PaceEnd>,
    pub(super) keeping: ScopedJoinHandle<'s, Result<Kept, DriveError>>,
    /// Of each process.
    pub(super) complaining: Vec<ScopedJoinHandle<'s, io::Result<u64>>>,
    pub(super) talking: Vec<ScopedJoinHandle<'s, io::Result<u64>>>,
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
    broker: &'a dyn Broker,
    shared: &'a Shared,
    known: &'a Known,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    crew: Crew<'a>,
    stops: &'a Stops,
    /// What faults at requests touch.
    log: Log<'b>,
    figures: Figures<'a, 'b>,
    begun_us: i64,
    /// When a fault at requests or processes acted last.
    acted_us: i64,
    /// When one at processes did.
    stopped_us: i64,
    /// Sum of what has been asked for, when it last changed, and when consumers were last at the end of everything.
    asked: i64,
    all_asked_us: i64,
}

impl<'a, 'b> Watch<'a, 'b> {
    #[expect(clippy::too_many_arguments, reason = "it stands in the middle of all that a drive is made of")]
    pub(super) fn new(
        job: &'a Job<'a>,
        rules: &'a KafkaRules,
        broker: &'a dyn Broker,
        shared: &'a Shared,
        known: &'a Known,
        clock: &'a dyn Clock,
        stop: &'a Stop,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
        crew: Crew<'a>,
        stops: &'a Stops,
        gauges: &'b mut GaugesWriter,
        log: Log<'b>,
    ) -> Self {
        let now_us = micros(clock.now());
        Self {
            job,
            rules,
            broker,
            shared,
            known,
            clock,
            stop,
            crew,
            stops,
            log,
            figures: Figures::new(job, shared, progress, gauges, now_us),
            begun_us: now_us,
            acted_us: i64::MIN,
            stopped_us: i64::MIN,
            asked: 0,
            all_asked_us: now_us,
        }
    }

    pub(super) fn run(mut self, heard: Heard<'_>) -> (EndingReport, Option<DriveError>) {
        let Heard { pacing, keeping, complaining, talking } = heard;
        let mut pacing = Some(pacing);
        let mut revealed = Revealed::default();
        let mut exited: Option<i64> = None;
        let cut = loop {
            // Asked ahead of the end of revealing: what ended ahead of it is told apart from what ended behind it.
            if exited.is_none() && self.crew.has_ended() {
                exited = Some(self.now_us());
            }
            if exited.is_none()
                && let Err(error) = self.follow_stops()
            {
                break Cut::Failed(error);
            }
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
        self.broker.rest_faults(true);
        // Where one has ended by itself, and there is no other, nobody is left to be told.
        let alone = exited.is_some() && self.job.build.instances() == 1;
        let ended = self.crew.end(if alone { Duration::ZERO } else { GRACE });
        if let Some(pacing) = pacing {
            join(pacing);
        }
        // Only now: what the build wrote on its way out is kept, too.
        self.shared.close_when_quiet();
        let kept = join(keeping);
        let from_us = self.now_us();
        while !complaining.iter().chain(&talking).all(ScopedJoinHandle::is_finished) {
            // What could not be ended and goes on writing is cut off.
            if self.now_us() - from_us > micros(GRACE) {
                self.shared.close_now();
            }
            thread::park_timeout(LOOK);
        }
        let of = |stream: &'static str, threads: Vec<ScopedJoinHandle<'_, io::Result<u64>>>| {
            let joined = (0..).zip(threads).map(|(instance, thread)| (log_name(stream, instance), join(thread)));
            joined.collect::<Vec<_>>()
        };
        let dropped: Vec<_> = of("stderr", complaining).into_iter().chain(of("stdout", talking)).collect();
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

    /// What stands between plan and build could not do its part.
    fn unserved(&self) -> Option<Cut> {
        self.broker.failure().map(Cut::Failed)
    }

    /// Gathering has ended ahead of everything else: the build wrote too much, or what it wrote cannot be kept, which is told later.
    fn flooded(&self) -> Cut {
        let bytes = grouped(self.job.rules.output_bytes_max);
        Cut::Ending(Ending::TimedOut, format!("wrote more than {bytes} bytes (`output-bytes-max`)"))
    }

    /// Notes how far consumers have come.
    fn follow(&mut self) {
        let now = self.clock.now();
        let asked = (0..self.broker.count()).filter_map(|index| self.broker.asked(index)).fold(0, i64::wrapping_add);
        if asked != self.asked {
            self.asked = asked;
            self.shared.note_taken(now);
        }
        if self.broker.all_asked() {
            self.all_asked_us = micros(now);
        }
    }

    /// Notes what faults at requests have touched, and that one acts: nobody is blamed for standing still meanwhile.
    fn follow_faults(&mut self) -> Result<(), OutcomeError> {
        if self.log.follow(self.broker, self.shared)? || self.broker.faults_act() {
            self.acted_us = self.now_us();
        }
        Ok(())
    }

    /// Ends, stops and starts processes where a fault wants it.
    fn follow_stops(&mut self) -> Result<(), DriveError> {
        if !self.stops.any() {
            return Ok(());
        }
        let now_us = self.now_us();
        let (broker, shared, known) = (self.broker, self.shared, self.known);
        let flight = || flight(broker, shared, known);
        // Ahead of the schedule nothing is due.
        let relative_us = if self.shared.has_started() { self.shared.relative_us(now_us) } else { i64::MIN };
        self.crew
            .step(relative_us, &flight, &|| ())
            .map_err(|source| DriveError::Start { build: self.job.build.name().to_owned(), source })?;
        let touches = self.crew.take_touches();
        self.log.append(&touches)?;
        if self.stops.act_still(now_us, self.shared.progress_us(), Duration::ZERO) {
            (self.acted_us, self.stopped_us) = (now_us, now_us);
        }
        Ok(())
    }

    fn flight(&self) -> Flight {
        flight(self.broker, self.shared, self.known)
    }

    /// Looks whether the drive is over.
    fn look(&self, revealed: &Revealed, exited: Option<i64>) -> Option<Cut> {
        let rules = self.job.rules;
        let now_us = self.now_us();
        let over = |ending, reason| Some(Cut::Ending(ending, reason));
        if self.stop.raised() {
            return Some(Cut::Stopped);
        }
        if let Some(reason) = self.figures.overfull() {
            return over(Ending::TimedOut, reason);
        }
        let through = revealed.complete && self.crew.is_complete() && self.is_through();
        if let Some(exited_us) = exited {
            if revealed.complete && self.broker.known_us() < exited_us {
                // What it committed last is not known yet.
                return None;
            }
            // Its exit code, which is not known before it is reaped, says the rest.
            return over(if through { Ending::Finished } else { Ending::Died }, String::new());
        }
        let output_us = self.shared.output_us().max(revealed.at_us);
        if through && self.known.caught_up_us().saturating_sub(output_us) >= micros(rules.settle) {
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
        if still && !self.broker.all_asked() {
            return over(Ending::StoppedReading, format!("fetched nothing more for {limit} {}", self.after()));
        }
        let stale_us = now_us - self.shared.progress_us().max(revealed.at_us).max(self.stopped_us);
        if revealed.complete && stale_us > micros(rules.drain_timeout) {
            return Some(self.stuck(&limit));
        }
        None
    }

    /// Says how a build ends of which nothing came any more, although everything is visible.
    fn stuck(&self, limit: &str) -> Cut {
        let moved = |commits: &[GroupCommit]| {
            let count = 0..self.broker.count();
            count.into_iter().any(|index| {
                let spot = self.broker.spot(index);
                spot.committed(commits).is_some_and(|position| position > spot.start)
            })
        };
        let open = self.broker.open_transactions();
        let what = match (open, self.rules.finished) {
            (0, Finished::Committed) if !self.broker.knows_who_asks() && moved(&self.broker.commits()) => {
                let reason = format!("committed nothing more for {limit} {}, and not the end of it", self.after());
                return Cut::Ending(Ending::StoppedReading, reason);
            }
            (0, Finished::Committed) => match self.lagging() {
                Some(groups) => format!("but did not commit the end of it: {groups}"),
                None => "but did not commit the end of it; a build that commits elsewhere wants `finished = \"quiet\"`"
                    .to_owned(),
            },
            _ => "but left a transaction open".to_owned(),
        };
        let reason = format!("was handed everything {}, {what}; nothing came of it for {limit}", self.after());
        Cut::Ending(Ending::TimedOut, reason)
    }

    /// Groups that have committed something and not all of it, the first few by name; none where nothing is committed.
    fn lagging(&self) -> Option<String> {
        let lag = self.broker.lag(&self.broker.commits());
        let behind = lag.iter().filter(|(_, lag)| **lag > 0);
        let named: Vec<String> = behind
            .take(GROUPS_NAMED)
            .map(|(group, lag)| format!("group `{group}` is {} behind", grouped(lag.unsigned_abs())))
            .collect();
        (!named.is_empty()).then(|| named.join(", "))
    }

    /// Whether the build has dealt with all that is visible, by what the scenario goes by.
    fn is_through(&self) -> bool {
        let dealt_with = match self.rules.finished {
            Finished::Committed => self.broker.all_committed(),
            Finished::Quiet => self.broker.all_asked(),
        };
        dealt_with && self.broker.open_transactions() == 0
    }

    fn by_which(&self) -> String {
        match self.rules.finished {
            Finished::Committed => format!("committed the end of its input {}", self.after()),
            Finished::Quiet if !self.broker.knows_who_asks() => {
                let settle = Span(self.job.rules.settle);
                format!(
                    "was quiet for {settle} after the last event (`finished = \"quiet\"`) {}; whether it read everything cannot be known",
                    self.after()
                )
            }
            Finished::Quiet => {
                let settle = Span(self.job.rules.settle);
                format!(
                    "fetched its input to the end {} and was quiet for {settle} (`finished = \"quiet\"`)",
                    self.after()
                )
            }
        }
    }

    /// Says what was not done in time.
    fn unready(&self) -> String {
        let limit = Span(self.job.rules.ready_timeout);
        format!("was not ready within {limit} (`ready-timeout`): {}", self.broker.missing())
    }

    fn conclude(
        mut self,
        cut: Cut,
        ended: Ended,
        kept: Result<Kept, DriveError>,
        dropped: Vec<(String, io::Result<u64>)>,
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
        let code = match self.crew.first_to_end() {
            Some(instance) if self.job.build.instances() > 1 => {
                format!("process {instance} ended with {}", describe(ended.status))
            }
            _ => describe(ended.status),
        };
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
                Ok(bytes) if name.starts_with("stderr") => report.stderr_dropped_bytes += bytes,
                Ok(_) => {}
                Err(source) => {
                    failed = failed.or(Some(OutcomeError::Io { path: self.job.out.join(&name), source }.into()));
                }
            }
        }
        if let Err(error) = self.remark(report.taken_back, &mut reason) {
            failed = failed.or(Some(error));
        }
        report.reason = reason;
        report.faults = self.log.counts(self.broker);
        let flight = self.flight();
        self.crew.report(&mut report, flight, self.broker.handed_again());
        let touches = self.crew.take_touches();
        if let Err(error) = self.log.append(&touches).and_then(|()| self.log.follow(self.broker, self.shared)) {
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
        for remark in self.broker.remarks()? {
            let _ = write!(reason, "; {remark}");
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
            let lag = self.broker.lag(&self.known.commits());
            lag.into_iter().map(|(group, lag)| (format!("lag/{group}"), lag as f64))
        };
        self.figures.sample(now_us, last, &self.crew, by_group)
    }

    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}

/// What of the build's work is on its way.
fn flight(broker: &dyn Broker, shared: &Shared, known: &Known) -> Flight {
    broker.flight(shared.outputs(), known.caught_up_us().min(broker.known_us()))
}
