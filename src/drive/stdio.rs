//! One drive over standard input and output, from start to ending.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::complaints::Complaints;
use super::feed::{CHUNKS_WAITING, Feed};
use super::figures::{Figures, after};
use super::isolation;
use super::line::LineFormat;
use super::listen::{Heard, Listener, Restarts};
use super::pace::{Again, Note, Pace, PaceEnd, Timing};
use super::pipe::Pipe;
use super::process::{Crew, Ended, Flight, Stops, Streams, describe};
use super::shared::Shared;
use super::stubs::Outside;
use super::wall_clock::is_set_wrong;
use super::world::World;
use super::{DriveError, Job, Progress};
use crate::clock::{Clock, Stop};
use crate::mask::LogMask;
use crate::outcome::{
    DeliveriesWriter, Ending, EndingReport, Lateness, Outcome, OutcomeError, OutcomeWriter, TouchesWriter,
};
use crate::settings::Span;

/// How often the drive looks at its build.
const LOOK: Duration = Duration::from_millis(10);

/// How long a build that is ended may take to tidy up.
const GRACE: Duration = Duration::from_millis(500);

/// Notes that may wait to be written.
const NOTES_WAITING: usize = 64;

/// Drives one build and keeps what it did.
pub(super) fn drive(
    job: &Job<'_>,
    world: &World,
    mut outside: Outside,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    if stop.raised() {
        // Ahead of the start: whoever raised it may be about to end the program, and nobody would end the build then.
        return Err(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
    }
    let topics = job.plan.topics();
    let mut writer = OutcomeWriter::create(&job.out, topics, &job.plan.fault_names())?;
    let log = job.out.join("stderr.log");
    let complaints = Complaints::create(&log, job.rules.stderr_bytes_max, LogMask::new(job.rules.mask.clone()))
        .map_err(|source| OutcomeError::Io { path: log.clone(), source })?
        .without(&world.java_notice(job.build));
    let shared =
        Shared::new(clock.now(), job.rules.timeout).with_flags(world.flags()).with_wall_clock(world.wall_clock());
    if job.rules.ready.is_none() {
        shared.set_ready();
    }
    if let Err(error) = world.furnish(job, stop) {
        let mut report = EndingReport::new(Ending::TimedOut, format!("could not be made ready: {error}"));
        report.warnings = world.clean_up(job);
        writer.finish(&report)?;
        return Err(error);
    }
    let stops = Stops::of_plan(job.plan, job.build.instances())?;
    if stops.any() || is_set_wrong(job.plan)? {
        writer.keep_touches()?;
    }
    let (mut crew, streams) = match Crew::start_one(world, job, Arc::clone(&stops), clock) {
        Ok(started) => started,
        Err(source) => {
            writer.finish(&EndingReport::new(Ending::Died, format!("could not be started: {source}")))?;
            return Err(DriveError::Start { build: job.build.name().to_owned(), source });
        }
    };
    let OutcomeWriter { outputs, deliveries, gauges, touches, .. } = &mut writer;
    let Streams { stdout, stderr } = streams;
    let stdin = crew.take_stdin().ok_or_else(|| DriveError::Start {
        build: job.build.name().to_owned(),
        source: std::io::ErrorKind::BrokenPipe.into(),
    })?;
    let (fresh, stdins) = channel();
    let (wants, wanted) = channel();
    let timing = Timing::new().map_err(|error| DriveError::Start {
        build: job.build.name().to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let report = thread::scope(|scope| {
        let (chunk_sender, chunks) = sync_channel(CHUNKS_WAITING);
        let (note_sender, notes) = sync_channel(NOTES_WAITING);
        let (shared, stops) = (&shared, &*stops);
        let _closing = Closing(stops);
        let format = LineFormat::new(job.rules.payload, job.rules.show_attempt, topics);
        let (used, used_chunks) = sync_channel(CHUNKS_WAITING);
        let feed = Feed::new(job.plan, job.recording, format.clone(), job.rules, shared, used_chunks);
        scope.spawn(move || feed.run(&chunk_sender));
        let again = Again { plan: job.plan, recording: job.recording, format, stops, stdins, wanted, come_back: 0 };
        let pace = Pace {
            stdin,
            again: stops.any().then_some(again),
            handed: 0,
            rules: job.rules,
            paced: job.plan.paced(),
            shared,
            clock,
            notes: note_sender,
            used,
            timing,
            written_at: Duration::ZERO,
        };
        scope.spawn(move || pace.run(&chunks));
        let listener =
            Listener::new(job.rules, shared, clock, topics, outputs, outside.calls(clock), Restarts { stops, wants });
        let listening = scope.spawn(move || listener.run(&stdout));
        let ready = job.rules.ready.as_ref();
        let complaining = scope.spawn(move || complaints.run(&stderr, ready, shared));
        let watch = Watch {
            job,
            clock,
            stop,
            shared,
            crew,
            stops,
            touches: touches.as_mut(),
            stdins: fresh,
            started_us: micros(clock.now()),
            deliveries,
            figures: Figures::new(job, shared, progress, gauges, micros(clock.now())),
            counts: Counts::default(),
            begun_us: micros(clock.now()),
        };
        watch.run(&notes, listening, complaining, &log)
    });
    // What was written is kept whatever went wrong.
    let (mut report, mut failed) = report;
    outside.report(&mut report);
    isolation::report_in(&mut report, world.isolation(), &log);
    let arrived_us = shared.relative_us(micros(clock.now()));
    world.wind_up(job, &mut report, &mut failed, &mut writer.outputs, arrived_us, stop);
    let outcome = writer.finish(&report)?;
    progress(Progress { drive: job.name, sent: shared.sent(), outputs: shared.outputs() });
    failed.map_or(Ok(outcome), Err)
}

/// Lets go of whoever waits for a process once nobody watches over it any more.
struct Closing<'a>(&'a Stops);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Debug, Default)]
struct Counts {
    planned: u64,
    sent: u64,
    redelivered: u64,
    /// Of those, what was handed over once more to a process that was started again.
    again: u64,
}

/// Why a drive is cut short.
#[derive(Debug)]
enum Cut {
    Ending(Ending, String),
    Stopped,
    Failed(DriveError),
}

/// Watches over a build and decides how its drive ends.
struct Watch<'a, 'b> {
    job: &'a Job<'a>,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    shared: &'a Shared,
    crew: Crew<'a>,
    stops: &'a Stops,
    touches: Option<&'b mut TouchesWriter>,
    /// Takes standard input of each process that is started again.
    stdins: Sender<Pipe>,
    /// When it was started last.
    started_us: i64,
    deliveries: &'b mut DeliveriesWriter,
    figures: Figures<'a, 'b>,
    counts: Counts,
    begun_us: i64,
}

/// What is known of the end so far.
#[derive(Default)]
struct Ends {
    pace: Option<PaceEnd>,
    pace_us: i64,
    lateness: Option<Lateness>,
    exited_us: Option<i64>,
    cut: Option<Cut>,
    held_open: bool,
}

impl Watch<'_, '_> {
    fn run(
        mut self,
        notes: &Receiver<Note>,
        listening: ScopedJoinHandle<'_, Result<Heard, OutcomeError>>,
        complaining: ScopedJoinHandle<'_, std::io::Result<u64>>,
        log: &Path,
    ) -> (EndingReport, Option<DriveError>) {
        let mut ends = Ends::default();
        loop {
            if let Err(error) = self.take_notes(notes, &mut ends) {
                ends.cut.get_or_insert(Cut::Failed(error.into()));
            }
            if let Some(PaceEnd::Failed(error)) = ends.pace.take_if(|end| matches!(end, PaceEnd::Failed(_))) {
                ends.pace = Some(PaceEnd::Cut);
                ends.cut.get_or_insert(Cut::Failed(error));
            }
            if ends.cut.is_none() && listening.is_finished() && self.shared.is_flooded() {
                let bytes = self.job.rules.output_bytes_max;
                let reason = format!("wrote more than {} bytes (`output-bytes-max`)", grouped(bytes));
                ends.cut = Some(Cut::Ending(Ending::TimedOut, reason));
            }
            if ends.cut.is_none() {
                ends.cut = self.look(&ends);
            }
            if ends.exited_us.is_none() && self.crew.has_ended() {
                ends.exited_us = Some(self.now_us());
                self.crew.start_no_more();
            }
            if ends.exited_us.is_none()
                && let Err(error) = self.follow_stops()
            {
                ends.cut.get_or_insert(Cut::Failed(error));
            }
            match &ends.cut {
                Some(Cut::Stopped | Cut::Failed(_)) => self.shared.abandon(),
                Some(Cut::Ending(..)) => self.shared.cut(),
                None if ends.exited_us.is_some() => self.shared.cut(),
                None => {}
            }
            if ends.cut.is_some() {
                break;
            }
            if let Some(exited_us) = ends.exited_us {
                let heard = listening.is_finished() || self.shared.has_said_all();
                if ends.pace.is_some() && heard && complaining.is_finished() {
                    break;
                }
                // Whoever else holds the pipes gets as long as the build itself would have.
                let quiet_us = self.now_us() - exited_us.max(self.shared.output_us()).max(ends.pace_us);
                if ends.pace.is_some() && quiet_us > micros(self.job.rules.drain_timeout) {
                    ends.held_open = true;
                    break;
                }
            }
            if let Err(error) = self.sample(false) {
                ends.cut = Some(Cut::Failed(error.into()));
            }
        }
        let ended = self.crew.end(if ends.exited_us.is_some() { Duration::ZERO } else { GRACE });
        if self.shared.is_flooded() {
            self.shared.close_now();
        } else {
            self.shared.close_when_quiet();
        }
        // The pacing thread has receipts for what was never handed over; it needs somebody to take them.
        while ends.pace.is_none() {
            if let Err(error) = self.take_notes(notes, &mut ends) {
                ends.cut = Some(Cut::Failed(error.into()));
            }
        }
        let heard = self.join(listening);
        let dropped = join(complaining).map_err(|source| OutcomeError::Io { path: log.to_owned(), source });
        self.conclude(ends, ended, heard, dropped)
    }

    /// Waits for all that listens. What could not be ended and goes on writing is cut off after the drain time-out.
    fn join(&self, listening: ScopedJoinHandle<'_, Result<Heard, OutcomeError>>) -> Result<Heard, OutcomeError> {
        let from_us = self.now_us();
        while !listening.is_finished() {
            if self.now_us() - from_us > micros(self.job.rules.drain_timeout) {
                self.shared.close_now();
            }
            thread::park_timeout(LOOK / 10);
        }
        join(listening)
    }

    /// Takes notes of the pacing thread for a moment.
    fn take_notes(&mut self, notes: &Receiver<Note>, ends: &mut Ends) -> Result<(), OutcomeError> {
        let mut wait = LOOK;
        loop {
            match notes.recv_timeout(wait) {
                Ok(Note::Receipts { batch, from, sent_us }) => {
                    for (delivery, sent_us) in batch.deliveries[from..].iter().zip(sent_us) {
                        self.counts.planned += 1;
                        self.counts.sent += u64::from(sent_us.is_some());
                        self.counts.redelivered += u64::from(sent_us.is_some() && delivery.attempt > 0);
                        self.deliveries.append(delivery, sent_us)?;
                    }
                }
                Ok(Note::Again(count)) => {
                    self.counts.again += count;
                    self.counts.redelivered += count;
                }
                Ok(Note::Ended { end, lateness }) => {
                    (ends.pace, ends.lateness, ends.pace_us) = (Some(end), lateness, self.now_us());
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    if ends.pace.is_none() {
                        ends.pace = Some(PaceEnd::Cut);
                    }
                    thread::park_timeout(wait);
                    return Ok(());
                }
            }
            wait = Duration::ZERO;
        }
    }

    /// Ends, stops and starts the process where a fault wants it.
    fn follow_stops(&mut self) -> Result<(), DriveError> {
        if !self.stops.any() {
            return Ok(());
        }
        let (now_us, shared) = (self.now_us(), self.shared);
        // Ahead of the schedule nothing is due.
        let relative_us = if shared.has_started() { shared.relative_us(now_us) } else { i64::MIN };
        let waits = self.job.rules.ready.is_some();
        let away = || {
            if waits {
                shared.set_unready();
            }
        };
        let started = self.crew.step(relative_us, &|| flight(shared, now_us), &away);
        if started.map_err(|source| DriveError::Start { build: self.job.build.name().to_owned(), source })? {
            self.started_us = self.now_us();
            if let Some(stdin) = self.crew.take_stdin() {
                // Whoever hands over has ended only where the drive has.
                let _ = self.stdins.send(stdin);
            }
        }
        Ok(self.note_touches()?)
    }

    fn note_touches(&mut self) -> Result<(), OutcomeError> {
        let touches = self.crew.take_touches();
        let Some(writer) = &mut self.touches else { return Ok(()) };
        touches.iter().try_for_each(|touch| writer.append(touch))
    }

    /// Looks whether the drive has to be cut short.
    fn look(&self, ends: &Ends) -> Option<Cut> {
        let rules = self.job.rules;
        let now_us = self.now_us();
        let cut = |ending, reason| Some(Cut::Ending(ending, reason));
        if self.stop.raised() {
            return Some(Cut::Stopped);
        }
        if let Some(reason) = self.figures.overfull() {
            return cut(Ending::TimedOut, reason);
        }
        if now_us - self.begun_us > micros(rules.timeout) {
            let reason = format!("did not end within {} (`timeout`) {}", Span(rules.timeout), self.after());
            return cut(Ending::TimedOut, reason);
        }
        let waits = !self.shared.is_ready() && self.crew.is_complete();
        if waits && now_us - self.started_us > micros(rules.ready_timeout) {
            let reason = format!("was not ready within {} (`ready-timeout`)", Span(rules.ready_timeout));
            return cut(Ending::TimedOut, reason);
        }
        let quiet_us = now_us - self.shared.output_us().max(ends.pace_us).max(self.started_us);
        let quiet = quiet_us > micros(rules.drain_timeout) && ends.exited_us.is_none() && self.crew.is_complete();
        let limit = format!("{} (`drain-timeout`)", Span(rules.drain_timeout));
        match &ends.pace {
            Some(PaceEnd::Stuck) => {
                cut(Ending::StoppedReading, format!("took no more input for {limit} {}", self.after()))
            }
            Some(PaceEnd::Closed) if quiet => {
                cut(Ending::StoppedReading, format!("closed its standard input {} and went on", self.after()))
            }
            Some(PaceEnd::Complete) if quiet => {
                cut(Ending::TimedOut, format!("neither wrote nor ended for {limit} after the end of input"))
            }
            _ => None,
        }
    }

    fn conclude(
        mut self,
        mut ends: Ends,
        ended: Ended,
        heard: Result<Heard, OutcomeError>,
        dropped: Result<u64, OutcomeError>,
    ) -> (EndingReport, Option<DriveError>) {
        use std::os::unix::process::ExitStatusExt;
        // What cut the drive short comes before what went wrong on the way out.
        let mut failed = None;
        let (ending, mut reason) = match ends.cut.take() {
            Some(Cut::Ending(ending, reason)) => (ending, reason),
            Some(Cut::Stopped) => {
                let drive = self.job.name.to_owned();
                failed = failed.or(Some(DriveError::Stopped { drive, path: self.job.out.clone() }));
                (Ending::TimedOut, format!("stopped on request {}", self.after()))
            }
            Some(Cut::Failed(error)) => {
                let reason = format!("the drive could not go on {}: {error}", self.after());
                failed = failed.or(Some(error));
                (Ending::TimedOut, reason)
            }
            None => self.judge(&ends, ended, heard.as_ref().ok()),
        };
        if ended.left > 0 {
            let _ = write!(reason, "; {} processes that it started could not be ended", ended.left);
        }
        let mut report = EndingReport::new(ending, reason);
        report.exit_code = ended.status.and_then(|status| status.code());
        report.signal = ended.status.and_then(|status| status.signal());
        report.deliveries = Some(self.counts.planned);
        report.sent = Some(self.counts.sent);
        report.redelivered = Some(self.counts.redelivered);
        report.outputs = Some(self.shared.outputs());
        report.length_us = Some(self.shared.relative_us(self.now_us()).max(0));
        report.lateness = ends.lateness;
        self.crew.report(&mut report, flight(self.shared, i64::MAX), Some(self.counts.again));
        if let Err(error) = self.note_touches() {
            failed = failed.or(Some(error.into()));
        }
        match heard {
            Ok(heard) => report.committed = heard.committed,
            Err(error) => failed = failed.or(Some(error.into())),
        }
        match dropped {
            Ok(bytes) => report.stderr_dropped_bytes = bytes,
            Err(error) => failed = failed.or(Some(error.into())),
        }
        // The last figures, so that short drives have some.
        if let Err(error) = self.sample(true) {
            failed = failed.or(Some(error.into()));
        }
        (report, failed)
    }

    /// Decides how a build that ended by itself did.
    fn judge(&self, ends: &Ends, ended: Ended, heard: Option<&Heard>) -> (Ending, String) {
        let code = describe(ended.status);
        if !matches!(ends.pace, Some(PaceEnd::Complete)) {
            return (Ending::Died, format!("{code} {}, before the end of its input", self.after()));
        }
        if !ended.status.is_some_and(|status| status.success()) {
            return (Ending::Died, format!("{code} {}, after the end of its input", self.after()));
        }
        let mut reason = format!("{code} {}", self.after());
        let closed_us = heard.and_then(|heard| heard.ended_us);
        if ends.held_open || ended.others {
            reason += "; what it started went on and was ended";
        } else if let (Some(closed_us), Some(ended_us)) = (closed_us, self.shared.input_end_us())
            && closed_us < ended_us
        {
            reason += "; it closed its standard output before the end of its input";
        }
        (Ending::Finished, reason)
    }

    fn after(&self) -> String {
        after(self.shared.sent(), self.counts.planned.max(self.job.deliveries.unwrap_or(0)))
    }

    fn sample(&mut self, last: bool) -> Result<(), OutcomeError> {
        let now_us = self.now_us();
        self.figures.tell(now_us);
        if self.figures.save(now_us)? {
            self.deliveries.checkpoint()?;
        }
        self.figures.sample(now_us, last, &self.crew, || [])
    }

    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}

/// What of the build's work is on its way.
fn flight(shared: &Shared, known_us: i64) -> Flight {
    let (committed, open) = shared.commits().unzip();
    Flight { open, committed, outputs: shared.outputs(), known_us }
}

/// Waits for a thread; its panic is ours.
pub(super) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Writes a number with commas: `26,398`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
