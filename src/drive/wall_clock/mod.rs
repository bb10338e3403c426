//! A build whose wall clock follows the events that it is handed, `clock = "recorded"`, or is wrong by a fault, `kind = "clock"`.
//!
//! The build runs under libfaketime, which is told by a file what time it is. The file is set anew whenever event time has moved on
//! otherwise than the machine's clock, every few milliseconds at an accelerated pace, so that the clock stands where the schedule stands,
//! and is never behind the event that is handed over. Until the schedule starts the clock runs as the machine's does, from a little before
//! the first event.
//!
//! Without `clock = "recorded"`, and with a fault, it is told what the machine's clock says. By how much a fault sets it wrong is added to
//! either. Where it leaps, timers and monotonic clocks must not, as they do not where a real clock is set.
//!
//! Whether that works is tried ahead of each drive, in the drive's own world: a small program of the build's kind is asked what time it
//! is, and to sleep and to wait. What never happens here: a build is driven under a clock that was not tried, or a clock goes on
//! unnoticed that cannot be set.

mod course;
mod hands;
mod kind;
mod library;
mod probe;
mod profile;
mod wrong;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hands::{Hands, Moment};
use kind::Kind;
use probe::{Probe, Trial};
use profile::Profile;
use wrong::Wrongs;

use super::build::Build;
use super::isolation::launcher_program;
use super::pipe::Pipe;
use super::process::Process;
use super::world::World;
use super::{DeliverySource, DriveError, DriveRules, Job};
use crate::clock::{Clock, Stop, SystemClock};
use crate::outcome::{EndingReport, FaultCount, Touch, WallClockReport};
use crate::plan::{CLOCK, FaultSettings, PlanError, TimePoint};
use crate::settings::SettingError;

pub(super) use course::Course;
pub(super) use probe::{WORD as PROBE_WORD, play as play_probe};

/// How long after it was set the clock is looked at again.
const STEP: Duration = Duration::from_millis(2);

/// Microseconds between two looks at one clock up to which a look at another in between is taken for one at the same moment.
const LOOK_US: i64 = 100;

/// Times that clocks are looked at again for such a moment.
const LOOKS: usize = 5;

/// How far ahead of the first event the clock begins when a build is started.
const AHEAD_US: i64 = 30_000_000;

/// Marks a moment that has not come.
const NEVER: i64 = i64::MIN;

/// How often a way is tried before it is given up: a machine may be busy for a moment.
const TRIES: usize = 2;

/// Which clock a build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WallClockMode {
    /// The machine's.
    #[default]
    System,
    /// One that follows the events that are handed over, under libfaketime.
    Recorded,
}

impl WallClockMode {
    /// Whether it is the default.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what asks hands over a reference")]
    pub(super) fn is_system(&self) -> bool {
        *self == Self::System
    }
}

/// Where event time stands as a schedule passes.
pub struct EventTime<'p> {
    /// How many times as fast as a clock it goes on between points; none where it goes evenly from each to the next.
    pub speed: Option<f64>,
    /// Points of the schedule, in order.
    pub points: Box<dyn Iterator<Item = Result<TimePoint, PlanError>> + Send + 'p>,
}

impl fmt::Debug for EventTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventTime").field("speed", &self.speed).finish_non_exhaustive()
    }
}

/// The clock of one drive's build.
#[derive(Debug)]
pub(super) struct WallClock {
    kind: Kind,
    library: PathBuf,
    /// Holds all that it takes; in the drive's directory, so that the build can read it whatever world it is in.
    folder: PathBuf,
    /// How many times as fast as a clock event time passes; none where that changes.
    speed: Option<f64>,
    /// Event time at the schedule's start; none where it is the machine's clock but for faults.
    begins_us: Option<i64>,
    wrongs: Mutex<Wrongs>,
    /// Timestamps of outputs that were taken for its own.
    own_stamps: AtomicU64,
    clock: SystemClock,
    hands: Mutex<Hands>,
    proven: OnceLock<Proven>,
    started_us: AtomicI64,
    stepped_back_us: AtomicI64,
    over: AtomicBool,
    failed: Mutex<Option<String>>,
}

/// The way that was tried and works.
#[derive(Debug)]
struct Proven {
    profile: Profile,
    tested: String,
    given_up: Vec<String>,
}

/// Refuses builds whose clock cannot be set, and paces that no clock can follow; `builds` by their roles, `faults` all of the scenario's.
///
/// # Errors
///
/// `drive.clock`, or the kind of the first fault that wants it set, with the reason.
pub fn check_clock(
    rules: &DriveRules,
    paced: bool,
    faults: &[FaultSettings],
    builds: &[(&str, &Build)],
) -> Result<(), SettingError> {
    let recorded = rules.clock == WallClockMode::Recorded;
    let fault = faults.iter().position(|fault| fault.kind == CLOCK);
    let (key, what) = match fault {
        _ if recorded => ("drive.clock".to_owned(), "`clock`"),
        Some(index) => (format!("fault[{index}].kind"), "the fault"),
        None => return Ok(()),
    };
    if recorded && !paced {
        let problem = "at the pace `unpaced` there is no schedule that a clock could follow";
        let instead = "Write `mode = \"accelerated\"` and a `speed` under `[pace]`, or leave `clock` out.";
        return Err(SettingError::new(key, problem, instead));
    }
    let steps = faults.iter().any(|fault| fault.kind == CLOCK && fault.shift.is_none() && fault.drift.is_none());
    for (role, build) in builds {
        if let Err(problem) = kind_of(build, rules, steps) {
            let problem = format!("the clock of `{role}` cannot be set: {problem}");
            let instead = format!("Leave {what} out: old and new are to have one clock, or each would act on its own.");
            return Err(SettingError::new(key, problem, instead));
        }
    }
    Ok(())
}

/// Finds out what a build is; `steps` says whether its clock is to leap because of a fault.
///
/// # Errors
///
/// Why its clock cannot be set, as a fragment.
fn kind_of(build: &Build, rules: &DriveRules, steps: bool) -> Result<Kind, String> {
    let program = build.program_file();
    let kind = Kind::of(build.command(), program.as_deref())?;
    if steps && matches!(kind, Kind::Jvm(_)) {
        return Err("under libfaketime the timers of a Java machine leap with its clock, or end early: it can be shifted and drift, and not \
            be stepped"
            .to_owned());
    }
    match program.filter(|program| kind == Kind::Native && rules.kafka.is_some() && kind::waits_by_c(program)) {
        Some(program) => Err(format!(
            "`{}` waits by `cnd_timedwait`, which libfaketime does not know: the threads of its client would wait for years, or not at all",
            program.file_name().unwrap_or_default().to_string_lossy()
        )),
        None => Ok(kind),
    }
}

/// Whether the build of a drive of `plan` has a wall clock of its own that faults set wrong, so that what they do is kept.
///
/// # Errors
///
/// What reading the plan says.
pub(super) fn is_set_wrong(plan: &dyn DeliverySource) -> Result<bool, DriveError> {
    Ok(Wrongs::of_plan(plan)?.any())
}

impl WallClock {
    /// Makes the one of `job`'s drive in `dir`, and the course that it takes where it follows events; none where its build has the
    /// machine's.
    ///
    /// # Errors
    ///
    /// [`DriveError::WallClock`] where there can be none, and what reading the plan says.
    pub(super) fn of<'p>(job: &Job<'p>, dir: &Path) -> Result<Option<(Self, Option<Course<'p>>)>, DriveError> {
        let wrongs = Wrongs::of_plan(job.plan)?;
        let recorded = job.rules.clock == WallClockMode::Recorded;
        if !recorded && !wrongs.any() {
            return Ok(None);
        }
        let refused = |problem: String| DriveError::WallClock { drive: job.name.to_owned(), problem };
        let steps = wrongs.largest_step_us() != 0;
        let library = library::find().ok_or_else(|| {
            refused(
                "libfaketime is not installed; on Debian and Ubuntu `apt-get install faketime` does that".to_owned(),
            )
        })?;
        let kind = kind_of(job.build, job.rules, steps).map_err(refused)?;
        let (mut speed, mut course) = (Some(1.0), None);
        if recorded {
            let none =
                || refused("what is handed over has no schedule in event time that a clock could follow".to_owned());
            let time = job.plan.timeline().filter(|_| job.plan.paced()).ok_or_else(none)?;
            speed = time.speed;
            course = Some(Course::begin(time)?.ok_or_else(none)?);
        }
        let folder = dir.join(".wall-clock");
        let clock = Self {
            kind,
            library,
            speed,
            begins_us: course.as_ref().map(Course::begins_us),
            wrongs: Mutex::new(wrongs),
            own_stamps: AtomicU64::new(0),
            clock: SystemClock::start(),
            hands: Mutex::new(Hands::new(folder.join("time"))),
            folder,
            proven: OnceLock::new(),
            started_us: AtomicI64::new(NEVER),
            stepped_back_us: AtomicI64::new(0),
            over: AtomicBool::new(false),
            failed: Mutex::default(),
        };
        Ok(Some((clock, course)))
    }

    /// Tries the ways of running the build of `job` in `world`, until one works.
    ///
    /// # Errors
    ///
    /// [`DriveError::WallClock`] where none does, [`DriveError::Stopped`] where `stop` is raised meanwhile.
    pub(super) fn prove(&self, world: &World, job: &Job<'_>, stop: &Stop) -> Result<(), DriveError> {
        let refused = |problem: String| DriveError::WallClock { drive: job.name.to_owned(), problem };
        fs::create_dir_all(&self.folder).map_err(|error| refused(format!("its folder cannot be made: {error}")))?;
        let mut given_up = Vec::new();
        for profile in Profile::all(&self.kind, self.speed) {
            let mut tried = Err(String::new());
            for _ in 0..TRIES {
                tried = self.try_out(profile, world, job.build, stop);
                if stop.raised() {
                    return Err(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
                }
                if tried.is_ok() {
                    break;
                }
            }
            match tried {
                Ok(tested) => {
                    // Asked once for each drive.
                    let _ = self.proven.set(Proven { profile, tested, given_up });
                    return Ok(());
                }
                Err(problem) => given_up.push(format!("{}: {problem}", profile.name())),
            }
        }
        let tried = given_up.join("; ");
        Err(refused(format!("no way of setting it works here with {}: {tried}", self.library.display())))
    }

    /// Tries one way; returns what came of it, as a fragment.
    fn try_out(&self, profile: Profile, world: &World, build: &Build, stop: &Stop) -> Result<String, String> {
        let failed = |error: io::Error| format!("a program to try it with cannot be run: {error}");
        profile.furnish(&self.folder).map_err(failed)?;
        let native = launcher_program().ok_or_else(|| "no program is known to try it with".to_owned())?;
        let words = probe::words(&self.kind, &native, &self.folder).map_err(failed)?;
        let hands = Mutex::new(Hands::new(self.folder.join("trial")));
        let clock = SystemClock::start();
        let speed = self.speed.unwrap_or(1.0);
        let file = self.folder.join("trial");
        let (from_us, trial) = {
            let wrongs = lock(&self.wrongs);
            let right_us = self.begins_us.unwrap_or_else(|| clock.date_us());
            (right_us + wrongs.at_start_us(), Trial::of(wrongs.largest_step_us()))
        };
        let dress = |command: &mut Command| profile.apply(command, &self.library, &file, &self.folder);
        // Ahead of its first look.
        lock(&hands).set(clock.date_us(), from_us, profile.speed).map_err(failed)?;
        let (mut child, number, mark) = world.start_beside(build, &words, dress).map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut process = Process::watch(child, number, mark).map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("a program to try it with has no pipes".to_owned());
        };
        let mut stderr = Pipe::reading(stderr).map_err(failed)?;
        let mut probe = Probe {
            stdin: Pipe::writing(stdin).map_err(failed)?,
            stdout: Pipe::reading(stdout).map_err(failed)?,
            hands: &hands,
            clock: &clock,
            stop,
            from_us,
            speed,
            timers: profile.speed.unwrap_or(1.0),
            trial: &trial,
        };
        let over = AtomicBool::new(false);
        let setter = Probe {
            stdin: probe.stdin.share().map_err(failed)?,
            stdout: probe.stdout.share().map_err(failed)?,
            ..probe
        };
        let asked = thread::scope(|scope| {
            let (setter, over) = (&setter, &over);
            scope.spawn(move || {
                probe::keep_set(|| setter.set(STEP, profile.speed), STEP, || over.load(Ordering::SeqCst));
            });
            let asked = probe.ask_all();
            over.store(true, Ordering::SeqCst);
            asked
        });
        process.end();
        asked.map_err(|problem| match last_line(&mut stderr) {
            Some(line) => format!("{problem} ({line})"),
            None => problem,
        })
    }

    /// Has `command`, which starts a process of the build, run under the clock; it begins with the first of them.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn dress(&self, command: &mut Command) -> io::Result<()> {
        let Some(proven) = self.proven.get() else {
            return Err(io::Error::other("its clock was not tried"));
        };
        let mut hands = lock(&self.hands);
        let real_us = self.clock.date_us();
        if hands.shown_at(real_us).is_none() {
            let right_us = self.begins_us.map_or(real_us, |begins_us| begins_us - AHEAD_US);
            hands.set(real_us, right_us + lock(&self.wrongs).at_start_us(), None)?;
        }
        proven.profile.apply(command, &self.library, hands.path(), &self.folder);
        Ok(())
    }

    /// The schedule starts now.
    pub(super) fn start(&self) {
        let mut hands = lock(&self.hands);
        let (now_us, real_us) = self.look();
        if let Some(begins_us) = self.begins_us {
            let begins_us = begins_us + lock(&self.wrongs).at_start_us();
            // A build that took long to start has seen later times than that of the first event.
            let ahead_us = hands.shown_at(real_us).unwrap_or(i64::MIN).saturating_sub(begins_us);
            self.stepped_back_us.store(ahead_us.max(0), Ordering::SeqCst);
            let set = hands.set(real_us, begins_us, self.speed_of_timers());
            self.note(set);
        }
        lock(&self.wrongs).go_on(-1, 0);
        self.started_us.store(now_us, Ordering::SeqCst);
        drop(hands);
        self.leap(0);
    }

    /// Follows `course`, or the machine's clock where there is none, until the drive is over.
    pub(super) fn follow(&self, mut course: Option<Course<'_>>) {
        while !self.over.load(Ordering::SeqCst) {
            thread::park_timeout(STEP);
            let Some(now_us) = self.passed_us() else { continue };
            if let Err(error) = self.keep_up(course.as_mut(), now_us) {
                *lock(&self.failed) = Some(error.to_string());
                return;
            }
        }
    }

    /// Sets the clock as it is to be at `now_us` of the schedule.
    fn keep_up(&self, course: Option<&mut Course<'_>>, now_us: i64) -> Result<(), PlanError> {
        // A leap is no error of the clock.
        self.leap(now_us);
        let step_us = STEP.as_micros() as i64;
        let speed = self.speed_of_timers();
        let mut hands = lock(&self.hands);
        let (now_us, real_us) = self.look();
        let now_us = now_us - self.started_us.load(Ordering::SeqCst);
        // Set for the moment at which it is set again: so it is not behind the events that come until then.
        let (should_us, then_us) = match course {
            Some(course) => (course.at(now_us)?, course.at(now_us + step_us)?),
            None => (real_us, real_us + step_us),
        };
        let show_us = if speed.is_none() { then_us - step_us } else { then_us };
        let passed_us = self.begins_us.map_or(now_us, |begins_us| should_us - begins_us);
        let wrong_us = lock(&self.wrongs).go_on(now_us, passed_us);
        let (should_us, show_us) = (should_us + wrong_us, show_us.max(should_us) + wrong_us);
        let set = hands.follow(Moment { real_us, should_us, show_us }, speed);
        drop(hands);
        self.note(set);
        Ok(())
    }

    /// When the clock is to leap next because of a fault, in microseconds since the schedule's start.
    pub(super) fn next_leap_us(&self) -> Option<i64> {
        lock(&self.wrongs).next_us()
    }

    /// Has the clock leap as it is to by `due_us`, which is now: whoever is handed something from here on sees it.
    pub(super) fn leap(&self, due_us: i64) {
        let mut hands = lock(&self.hands);
        let mut wrongs = lock(&self.wrongs);
        let by_us = wrongs.leap(due_us);
        drop(wrongs);
        let real_us = self.clock.date_us();
        if let Some(shown_us) = hands.shown_at(real_us).filter(|_| by_us != 0) {
            let set = hands.set(real_us, shown_us + by_us, self.speed_of_timers());
            drop(hands);
            self.note(set);
        }
    }

    /// Whether a timestamp, in milliseconds, can be one that the clock gave, or a clock that is `skew_ms` off: nobody can tell it from one that
    /// the build gave on purpose.
    pub(super) fn can_have_given(&self, timestamp_ms: i64, skew_ms: i64) -> bool {
        let Some((least_us, most_us)) = lock(&self.hands).seen_us(self.clock.date_us()) else { return false };
        let own = (least_us / 1_000 - skew_ms..=most_us / 1_000 + skew_ms).contains(&timestamp_ms);
        self.own_stamps.fetch_add(u64::from(own), Ordering::Relaxed);
        own
    }

    /// What faults have begun to do to the clock since this was asked last.
    pub(super) fn take_touches(&self) -> Vec<Touch> {
        lock(&self.wrongs).take_touches()
    }

    /// How much of the schedule has passed, in microseconds; none ahead of its start.
    fn passed_us(&self) -> Option<i64> {
        let started_us = self.started_us.load(Ordering::SeqCst);
        (started_us != NEVER).then(|| self.now_us() - started_us)
    }

    /// The drive is over.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Takes away what was made for it.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// Writes down what became of it.
    pub(super) fn report(&self, report: &mut EndingReport) {
        if let Some(failed) = lock(&self.failed).take() {
            report.warnings.push(format!("the build's wall clock could not be set any more: {failed}"));
        }
        let Some(Proven { profile, tested, given_up }) = self.proven.get() else { return };
        let figures = lock(&self.hands).figures();
        let wrongs = lock(&self.wrongs);
        for (name, instances) in wrongs.counts() {
            report.faults.insert(name.to_owned(), FaultCount { instances, touched: instances, provoked: 0 });
        }
        report.wall_clock = Some(WallClockReport {
            recorded: self.begins_us.is_some(),
            wrong_us_max: wrongs.furthest_us(),
            own_stamps: self.own_stamps.load(Ordering::Relaxed),
            library: self.library.display().to_string(),
            profile: profile.name(),
            tested: tested.clone(),
            given_up: given_up.clone(),
            timers: profile.speed,
            sets: figures.sets,
            apart_us_max: figures.apart_us_max,
            error_us_max: figures.error_us_max,
            stepped_back_us: self.stepped_back_us.load(Ordering::SeqCst),
        });
    }

    fn speed_of_timers(&self) -> Option<f64> {
        self.proven.get().and_then(|proven| proven.profile.speed)
    }

    fn note(&self, set: io::Result<()>) {
        if let Err(error) = set {
            lock(&self.failed).get_or_insert(error.to_string());
        }
    }

    fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }

    /// What the drive's clock and the machine's show at one moment, in microseconds. Whoever is put aside between two looks takes how long
    /// that was for an error of the machine's clock, so they are looked at again then.
    fn look(&self) -> (i64, i64) {
        let mut again = 0..LOOKS;
        loop {
            let (before_us, real_us, after_us) = (self.now_us(), self.clock.date_us(), self.now_us());
            if after_us - before_us <= LOOK_US || again.next().is_none() {
                return (before_us.midpoint(after_us), real_us);
            }
        }
    }
}

/// Ends a clock with what it was for, however that ends.
pub(super) struct Over<'c>(pub(super) &'c WallClock);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The last line that a program wrote, if any.
fn last_line(pipe: &mut Pipe) -> Option<String> {
    let (mut text, mut bytes) = (Vec::new(), vec![0; 16 << 10]);
    while let Ok(Some(count)) = pipe.read(&mut bytes)
        && count > 0
        && text.len() < bytes.len()
    {
        text.extend_from_slice(&bytes[..count]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(|line| line.chars().take(200).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
