//! One drive of a build that is posted its events, from start to ending.
//!
//! Each delivery is a POST when it is due; what it is answered is an output, caused by it. How the drive ended is decided before the
//! build is told to stop: once everything was answered and outputs were quiet for `settle`.

mod feed;
mod keep;
mod post;
mod request;
mod settings;

pub use settings::HttpRules;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;

use feed::{BYTES_WAITING, WAITING, feed};
use keep::Keeper;
use post::{Note, Post, PostEnd, target};

use super::complaints::Complaints;
use super::figures::{Figures, after};
use super::process::{Crew, Ended, Stops, Streams, describe};
use super::shared::Shared;
use super::stdio::{grouped, join, micros};
use super::stubs::Outside;
use super::wall_clock::is_set_wrong;
use super::world::World;
use super::{DriveError, Job, Progress, isolation};
use crate::clock::{Clock, Stop, SystemClock};
use crate::mask::LogMask;
use crate::outcome::{Ending, EndingReport, GaugesWriter, Outcome, OutcomeError, OutcomeWriter, TouchesWriter};
use crate::settings::Span;

/// When a build ended by itself.
const BEFORE: &str = "before it was told to stop";

/// How often the drive looks at its build.
const LOOK: Duration = Duration::from_millis(2);

/// How long a build that is told to stop may take.
const GRACE: Duration = Duration::from_secs(5);

/// How long a build whose connection ended is given to turn out to have died.
const DEATH: Duration = Duration::from_millis(500);

/// Drives one build and keeps what it did.
pub(super) fn drive(
    job: &Job<'_>,
    rules: &HttpRules,
    world: &World,
    mut outside: Outside,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    if stop.raised() {
        // Ahead of the start: whoever raised it may be about to end the program, and nobody would end the build then.
        return Err(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let mut writer = OutcomeWriter::create(&job.out, job.plan.topics(), &job.plan.fault_names())?;
    let (complaints, words) = (log(job, "stderr.log")?, log(job, "stdout.log")?);
    let complaints = complaints.without(&world.java_notice(job.build));
    let shared = Arc::new(
        Shared::new(clock.now(), job.rules.timeout).with_flags(world.flags()).with_wall_clock(world.wall_clock()),
    );
    let start = |source| DriveError::Start { build: job.build.name().to_owned(), source };
    // Filled ahead of the start: a port is known before its build takes it.
    let find = |url: &str| target(&world.fill(url, job.build.offers(), 0)?).map_err(io::Error::other);
    let url = find(&rules.url).map_err(start)?;
    let ready = rules.ready_url.as_deref().map(find).transpose().map_err(start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(start)?;
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
    let (crew, streams) = match Crew::start_one(world, job, Arc::clone(&stops), &*clock) {
        Ok(started) => started,
        Err(source) => {
            writer.finish(&EndingReport::new(Ending::Died, format!("could not be started: {source}")))?;
            return Err(start(source));
        }
    };
    let (notes, taken) = channel();
    let post = Post {
        isolation: world.isolation().cloned(),
        target: url,
        ready,
        by_line: job.rules.ready.is_some(),
        in_flight: rules.in_flight,
        paced: job.plan.paced(),
        settle: job.rules.settle,
        drain_timeout: job.rules.drain_timeout,
        body_bytes_max: job.rules.line_bytes_max,
        shared: Arc::clone(&shared),
        clock: Arc::clone(&clock),
        stops: Arc::clone(&stops),
        notes,
    };
    let OutcomeWriter { outputs, deliveries, gauges, touches, .. } = &mut writer;
    let touches = touches.as_mut();
    let (shared, clock) = (&*shared, &*clock);
    let keeper = Keeper::new(job, shared, outside.calls(clock), outputs, deliveries).map_err(start)?;
    let (mut report, mut failed) = thread::scope(|scope| {
        let _closing = Closing(shared);
        let room = Arc::new(Semaphore::new(BYTES_WAITING));
        let (sender, postings) = tokio::sync::mpsc::channel(WAITING);
        let (handle, of_feed) = (runtime.handle().clone(), Arc::clone(&room));
        scope.spawn(move || feed(job, shared, &of_feed, &handle, &sender));
        scope.spawn(move || runtime.block_on(post.run(postings, room)));
        let line = job.rules.ready.as_ref();
        let Streams { stdout, stderr } = streams;
        let complaining = scope.spawn(move || complaints.run(&stderr, line, shared));
        let talking = scope.spawn(move || words.run(&stdout, line, shared));
        let watch = Watch::new(job, shared, clock, stop, crew, &stops, keeper, progress, gauges, touches);
        watch.run(&taken, || {
            let dropped = [("stderr.log", join(complaining)), ("stdout.log", join(talking))];
            let lost = |(name, dropped): (&str, io::Result<u64>)| {
                dropped.map_err(|source| OutcomeError::Io { path: job.out.join(name), source }.into())
            };
            let [complained, talked] = dropped.map(lost);
            talked.and(complained)
        })
    });
    outside.report(&mut report);
    isolation::report_in(&mut report, world.isolation(), &job.out.join("stderr.log"));
    let arrived_us = shared.relative_us(micros(clock.now()));
    world.wind_up(job, &mut report, &mut failed, &mut writer.outputs, arrived_us, stop);
    // What was written is kept whatever went wrong.
    let outcome = writer.finish(&report)?;
    progress(Progress { drive: job.name, sent: shared.sent(), outputs: shared.outputs() });
    failed.map_or(Ok(outcome), Err)
}

/// Ends the threads of a drive once nobody watches over it any more, also where that was by a panic.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.abandon();
        self.0.close_now();
    }
}

/// Opens the file that keeps what a build writes to one of its standard streams.
fn log(job: &Job<'_>, name: &str) -> Result<Complaints, DriveError> {
    let path = job.out.join(name);
    let opened = Complaints::create(&path, job.rules.stderr_bytes_max, LogMask::new(job.rules.mask.clone()));
    opened.map_err(|source| OutcomeError::Io { path, source }.into())
}

/// Why a drive ends.
enum Cut {
    Ending(Ending, String),
    Stopped,
    Failed(DriveError),
}

/// Watches over a build and decides how its drive ends.
struct Watch<'a, 'b> {
    job: &'a Job<'a>,
    shared: &'a Shared,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    crew: Crew<'a>,
    stops: &'a Stops,
    touches: Option<&'b mut TouchesWriter>,
    /// When a process was started again last.
    started_us: i64,
    keeper: Keeper<'b>,
    figures: Figures<'a, 'b>,
    begun_us: i64,
    posted: Option<PostEnd>,
    posted_us: i64,
}

impl<'a, 'b> Watch<'a, 'b> {
    #[expect(clippy::too_many_arguments, reason = "it stands in the middle of all that a drive is made of")]
    fn new(
        job: &'a Job<'a>,
        shared: &'a Shared,
        clock: &'a dyn Clock,
        stop: &'a Stop,
        crew: Crew<'a>,
        stops: &'a Stops,
        keeper: Keeper<'b>,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
        gauges: &'b mut GaugesWriter,
        touches: Option<&'b mut TouchesWriter>,
    ) -> Self {
        let begun_us = micros(clock.now());
        let figures = Figures::new(job, shared, progress, gauges, begun_us);
        Self {
            job,
            shared,
            clock,
            stop,
            crew,
            stops,
            touches,
            started_us: begun_us,
            keeper,
            figures,
            begun_us,
            posted: None,
            posted_us: 0,
        }
    }

    fn run(
        mut self,
        notes: &Receiver<Note>,
        logs: impl FnOnce() -> Result<u64, DriveError>,
    ) -> (EndingReport, Option<DriveError>) {
        let mut cut = loop {
            if let Err(error) = self.step(notes) {
                break Cut::Failed(error);
            }
            if let Some(cut) = self.look() {
                break cut;
            }
        };
        let died = matches!(cut, Cut::Ending(Ending::Died, _)) || self.crew.has_ended();
        match cut {
            Cut::Stopped | Cut::Failed(_) => self.shared.abandon(),
            Cut::Ending(..) => self.shared.cut(),
        }
        let ended = self.crew.end(if died { Duration::ZERO } else { GRACE });
        self.shared.close_when_quiet();
        // What was never handed over has receipts that say so; somebody has to take them.
        while self.posted.is_none() {
            if let Err(error) = self.step(notes) {
                cut = Cut::Failed(error);
            }
        }
        if let Err(error) = self.keeper.finish() {
            cut = Cut::Failed(error.into());
        }
        let logs = logs();
        self.conclude(cut, ended, logs)
    }

    /// Takes what was noted for a moment, and the calls that came meanwhile.
    fn step(&mut self, notes: &Receiver<Note>) -> Result<(), DriveError> {
        // Told ahead of the notes: a call that comes behind them is not kept ahead of them.
        let (mut wait, until_us) = (LOOK, self.now_us());
        loop {
            match notes.recv_timeout(wait) {
                Ok(Note::Ended(end)) => (self.posted, self.posted_us) = (Some(end), self.now_us()),
                Ok(note) => self.keeper.take(note)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    if self.posted.is_none() {
                        self.posted = Some(PostEnd::Cut);
                    }
                    thread::park_timeout(wait);
                    break;
                }
            }
            wait = Duration::ZERO;
        }
        self.keeper.keep_calls(until_us)?;
        self.follow_stops()?;
        let now_us = self.now_us();
        self.figures.tell(now_us);
        if self.figures.save(now_us)? {
            self.keeper.checkpoint()?;
        }
        let more = self.keeper.gauges();
        Ok(self.figures.sample(now_us, false, &self.crew, || more)?)
    }

    /// Ends, stops and starts the process where a fault wants it.
    fn follow_stops(&mut self) -> Result<(), DriveError> {
        if !self.stops.any() || self.crew.has_ended() {
            return Ok(());
        }
        let (now_us, keeper, shared) = (self.now_us(), &self.keeper, self.shared);
        // Ahead of the schedule nothing is due.
        let relative_us = if shared.has_started() { shared.relative_us(now_us) } else { i64::MIN };
        let flight = || keeper.flight(now_us);
        let started = self.crew.step(relative_us, &flight, &|| shared.set_unready());
        let start = |source| DriveError::Start { build: self.job.build.name().to_owned(), source };
        if started.map_err(start)? {
            self.started_us = self.now_us();
        }
        Ok(self.note_touches()?)
    }

    fn note_touches(&mut self) -> Result<(), OutcomeError> {
        let touches = self.crew.take_touches();
        let Some(writer) = &mut self.touches else { return Ok(()) };
        touches.iter().try_for_each(|touch| writer.append(touch))
    }

    /// Looks whether the drive is over.
    fn look(&mut self) -> Option<Cut> {
        let (rules, now_us) = (self.job.rules, self.now_us());
        let cut = |ending, reason| Some(Cut::Ending(ending, reason));
        if self.stop.raised() {
            return Some(Cut::Stopped);
        }
        if let Some(reason) = self.figures.overfull() {
            return cut(Ending::TimedOut, reason);
        }
        if self.keeper.is_flooded() {
            let reason = format!("wrote more than {} bytes (`output-bytes-max`)", grouped(rules.output_bytes_max));
            return cut(Ending::TimedOut, reason);
        }
        if now_us - self.begun_us > micros(rules.timeout) {
            let reason = format!("did not end within {} (`timeout`) {}", Span(rules.timeout), self.after());
            return cut(Ending::TimedOut, reason);
        }
        let limit = Span(rules.drain_timeout);
        match self.posted.take_if(|end| !matches!(end, PostEnd::Complete)) {
            Some(PostEnd::Failed(error)) => {
                self.posted = Some(PostEnd::Cut);
                return Some(Cut::Failed(error));
            }
            Some(PostEnd::Refused(why)) => {
                self.posted = Some(PostEnd::Cut);
                return Some(self.refused(&why));
            }
            Some(PostEnd::Stuck) => {
                self.posted = Some(PostEnd::Cut);
                let reason = format!("did not answer for {limit} (`drain-timeout`) {}", self.after());
                return cut(Ending::StoppedReading, reason);
            }
            Some(end) => self.posted = Some(end),
            None => {}
        }
        if self.crew.has_ended() {
            return cut(Ending::Died, BEFORE.to_owned());
        }
        let waits = !self.shared.is_ready() && self.crew.is_complete();
        if waits && now_us - self.started_us > micros(rules.ready_timeout) {
            let reason = format!("was not ready within {} (`ready-timeout`)", Span(rules.ready_timeout));
            return cut(Ending::TimedOut, reason);
        }
        let quiet_us = now_us - self.shared.output_us().max(self.posted_us);
        if matches!(self.posted, Some(PostEnd::Complete)) && self.crew.is_complete() && quiet_us >= micros(rules.settle)
        {
            let reason = format!("answered everything {} and was quiet for {}", self.after(), Span(rules.settle));
            return cut(Ending::Finished, reason);
        }
        None
    }

    /// Tells a build that died from one that closed the door.
    fn refused(&mut self, why: &str) -> Cut {
        let from = self.clock.now();
        while !self.crew.has_ended() && self.clock.now().saturating_sub(from) < DEATH {
            thread::park_timeout(LOOK);
        }
        if self.crew.has_ended() {
            Cut::Ending(Ending::Died, BEFORE.to_owned())
        } else {
            Cut::Ending(Ending::StoppedReading, format!("took no more requests {}: {why}", self.after()))
        }
    }

    fn conclude(mut self, cut: Cut, ended: Ended, logs: Result<u64, DriveError>) -> (EndingReport, Option<DriveError>) {
        use std::os::unix::process::ExitStatusExt;
        let mut failed = None;
        let (ending, mut reason) = match cut {
            Cut::Ending(Ending::Died, how) => {
                (Ending::Died, format!("{} {}, {how}", describe(ended.status), self.after()))
            }
            Cut::Ending(ending, reason) => (ending, reason),
            Cut::Stopped => {
                failed = Some(DriveError::Stopped { drive: self.job.name.to_owned(), path: self.job.out.clone() });
                (Ending::TimedOut, format!("stopped on request {}", self.after()))
            }
            Cut::Failed(error) => {
                let reason = format!("the drive could not go on {}: {error}", self.after());
                failed = Some(error);
                (Ending::TimedOut, reason)
            }
        };
        if ended.left > 0 {
            reason = format!("{reason}; {} processes that it started could not be ended", ended.left);
        }
        let mut report = EndingReport::new(ending, reason);
        report.exit_code = ended.status.and_then(|status| status.code());
        report.signal = ended.status.and_then(|status| status.signal());
        report.outputs = Some(self.shared.outputs());
        report.length_us = Some(self.shared.relative_us(self.now_us()).max(0));
        self.keeper.report(&mut report);
        let again = self.keeper.again();
        self.crew.report(&mut report, self.keeper.flight(i64::MAX), Some(again));
        if let Err(error) = self.note_touches() {
            failed = failed.or(Some(error.into()));
        }
        match logs {
            Ok(bytes) => report.stderr_dropped_bytes = bytes,
            Err(error) => failed = failed.or(Some(error)),
        }
        // The last figures, so that short drives have some.
        let (now_us, more) = (self.now_us(), self.keeper.gauges());
        if let Err(error) = self.figures.sample(now_us, true, &self.crew, || more) {
            failed = failed.or(Some(error.into()));
        }
        (report, failed)
    }

    fn after(&self) -> String {
        after(self.shared.sent(), self.job.deliveries.unwrap_or(0))
    }

    fn now_us(&self) -> i64 {
        micros(self.clock.now())
    }
}
