//! A build whose wall clock follows the events that it is handed: `clock = "recorded"`.
//!
//! The build runs under libfaketime, which is told by a file what time it is. The file is set anew whenever event time has moved on
//! otherwise than the machine's clock, every few milliseconds at an accelerated pace, so that the clock stands where the schedule stands,
//! and is never behind the event that is handed over. Until the schedule starts the clock runs as the machine's does, from a little before
//! the first event.
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

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hands::{Hands, Moment};
use kind::Kind;
use probe::Probe;
use profile::Profile;

use super::build::Build;
use super::isolation::launcher_program;
use super::pipe::Pipe;
use super::process::Process;
use super::world::World;
use super::{DriveError, DriveRules, Job};
use crate::clock::{Clock, Stop, SystemClock};
use crate::outcome::{EndingReport, WallClockReport};
use crate::plan::{PlanError, TimePoint};
use crate::settings::SettingError;

pub(super) use course::Course;
pub(super) use probe::{WORD as PROBE_WORD, play as play_probe};

/// How long after it was set the clock is looked at again.
const STEP: Duration = Duration::from_millis(2);

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
    /// Event time at the schedule's start.
    begins_us: i64,
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

/// Refuses builds whose clock cannot be set, and paces that no clock can follow; `builds` by their roles.
///
/// # Errors
///
/// `drive.clock`, with the reason.
pub fn check_clock(rules: &DriveRules, paced: bool, builds: &[(&str, &Build)]) -> Result<(), SettingError> {
    if rules.clock == WallClockMode::System {
        return Ok(());
    }
    let wrong = |problem: String, instead: &str| Err(SettingError::new("drive.clock", problem, instead));
    if !paced {
        let instead = "Write `mode = \"accelerated\"` and a `speed` under `[pace]`, or leave `clock` out.";
        return wrong("at the pace `unpaced` there is no schedule that a clock could follow".to_owned(), instead);
    }
    for (role, build) in builds {
        if let Err(problem) = Kind::of(build.command(), build.program_file().as_deref()) {
            let instead = "Leave `clock` out: old and new are to have one clock, or each would act on its own.";
            return wrong(format!("the clock of `{role}` cannot be set: {problem}"), instead);
        }
    }
    Ok(())
}

impl WallClock {
    /// Makes the one of `job`'s drive in `dir`, and the course that it takes; none where its build has the machine's.
    ///
    /// # Errors
    ///
    /// [`DriveError::WallClock`] where there can be none, and what reading the plan says.
    pub(super) fn of<'p>(job: &Job<'p>, dir: &Path) -> Result<Option<(Self, Course<'p>)>, DriveError> {
        if job.rules.clock == WallClockMode::System {
            return Ok(None);
        }
        let refused = |problem: String| DriveError::WallClock { drive: job.name.to_owned(), problem };
        let library = library::find().ok_or_else(|| {
            refused(
                "libfaketime is not installed; on Debian and Ubuntu `apt-get install faketime` does that".to_owned(),
            )
        })?;
        let kind = Kind::of(job.build.command(), job.build.program_file().as_deref()).map_err(refused)?;
        let none = || refused("what is handed over has no schedule in event time that a clock could follow".to_owned());
        let time = job.plan.timeline().filter(|_| job.plan.paced()).ok_or_else(none)?;
        let speed = time.speed;
        let course = Course::begin(time)?.ok_or_else(none)?;
        let folder = dir.join(".wall-clock");
        let clock = Self {
            kind,
            library,
            speed,
            begins_us: course.begins_us(),
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
        let (from_us, file) = (self.begins_us, self.folder.join("trial"));
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
            hands.set(real_us, self.begins_us - AHEAD_US, None)?;
        }
        proven.profile.apply(command, &self.library, hands.path(), &self.folder);
        Ok(())
    }

    /// The schedule starts now.
    pub(super) fn start(&self) {
        let mut hands = lock(&self.hands);
        let (now_us, real_us) = (self.now_us(), self.clock.date_us());
        // A build that took long to start has seen later times than that of the first event.
        let ahead_us = hands.shown_at(real_us).unwrap_or(i64::MIN).saturating_sub(self.begins_us);
        self.stepped_back_us.store(ahead_us.max(0), Ordering::SeqCst);
        let set = hands.set(real_us, self.begins_us, self.speed_of_timers());
        self.started_us.store(now_us, Ordering::SeqCst);
        self.note(set);
    }

    /// Follows `course` until the drive is over.
    pub(super) fn follow(&self, mut course: Course<'_>) {
        let step_us = STEP.as_micros() as i64;
        while !self.over.load(Ordering::SeqCst) {
            thread::park_timeout(STEP);
            let started_us = self.started_us.load(Ordering::SeqCst);
            if started_us == NEVER {
                continue;
            }
            let mut hands = lock(&self.hands);
            let (now_us, real_us) = (self.now_us() - started_us, self.clock.date_us());
            let speed = self.speed_of_timers();
            // Set for the moment at which it is set again: so it is not behind the events that come until then.
            let at = course.at(now_us).and_then(|should_us| Ok((should_us, course.at(now_us + step_us)?)));
            let (should_us, then_us) = match at {
                Ok(at) => at,
                Err(error) => {
                    *lock(&self.failed) = Some(error.to_string());
                    return;
                }
            };
            let show_us = if speed.is_none() { then_us - step_us } else { then_us };
            let set = hands.follow(Moment { real_us, should_us, show_us: show_us.max(should_us) }, speed);
            drop(hands);
            self.note(set);
        }
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
        report.wall_clock = Some(WallClockReport {
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
