//! Whether a way of running a build does what it says: a small program of the same kind, started the same way, is asked what time it is,
//! and to sleep and to wait.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::hands::{Hands, Moment};
use super::kind::Kind;
use crate::clock::{Clock, Stop, SystemClock, sleep_once};
use crate::drive::pipe::Pipe;
use crate::settings::Span;

/// Argument by which the program knows that it is to be one.
pub(in crate::drive) const WORD: &str = "--as-probe-of-a-clock";

/// How long it is to sleep and to wait, in milliseconds of the machine's clock.
const LENGTH_MS: i64 = 50;

/// Shorter than this, it did not.
const LENGTH_MS_MIN: i64 = 40;

/// Longer than this, it hangs: machines are busy.
const LENGTH_MS_MAX: i64 = 5_000;

/// Longest that it may take to start and to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What a clock is read to, in microseconds: some say no more than milliseconds.
const READ_TO_US: i64 = 1_000;

const PYTHON: &str = include_str!("probe.py");

/// By which it is known as a file of Java.
const JAVA_NAME: &str = "ClockProbe";

/// What `javac --release 8` makes of `ClockProbe.java`.
const JAVA: &[u8] = include_bytes!("ClockProbe.class");

/// Plays the probe of native programs: answers each line with the time of day in microseconds, having slept or waited if it says so.
pub(in crate::drive) fn play() -> ExitCode {
    for question in io::stdin().lock().lines().map_while(Result::ok) {
        let (word, milliseconds) = question.split_once(' ').unwrap_or((&question, "0"));
        let length = Duration::from_millis(milliseconds.parse().unwrap_or(0));
        match word {
            "sleep" => sleep_once(length),
            "wait" => {
                let (never, held) = (std::sync::Condvar::new(), Mutex::new(()));
                let guard = held.lock().unwrap_or_else(PoisonError::into_inner);
                drop(never.wait_timeout_while(guard, length, |()| true));
            }
            _ => {}
        }
        let answer = format!("{}\n", SystemClock::start().date_us());
        let mut left = answer.as_bytes();
        while !left.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), left) {
                Ok(count) => left = &left[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return ExitCode::FAILURE,
            }
        }
    }
    ExitCode::SUCCESS
}

/// The words that start a probe of `kind`, which finds what it needs in `folder`; `native` plays it for native programs.
///
/// # Errors
///
/// What the system says.
pub(super) fn words(kind: &Kind, native: &Path, folder: &Path) -> io::Result<Vec<OsString>> {
    let text = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    match kind {
        Kind::Native | Kind::Shell | Kind::Launcher => Ok(vec![native.as_os_str().to_owned(), WORD.into()]),
        Kind::Python(own) => Ok(own.iter().map(OsString::from).chain(text(&["-c", PYTHON])).collect()),
        Kind::Jvm(java) => {
            fs::write(folder.join(format!("{JAVA_NAME}.class")), JAVA)?;
            let mut words = text(&[java, "-XX:TieredStopAtLevel=1", "-Xmx32m", "-cp"]);
            words.push(folder.as_os_str().to_owned());
            words.push(JAVA_NAME.into());
            Ok(words)
        }
    }
}

/// A probe that runs.
pub(super) struct Probe<'p> {
    pub(super) stdin: Pipe,
    pub(super) stdout: Pipe,
    /// What tells it the time.
    pub(super) hands: &'p Mutex<Hands>,
    pub(super) clock: &'p SystemClock,
    pub(super) stop: &'p Stop,
    /// What its clock shows at `clock`'s zero, and how fast it runs.
    pub(super) from_us: i64,
    pub(super) speed: f64,
    /// How fast it is to believe that timers run.
    pub(super) timers: f64,
    pub(super) trial: &'p Trial,
}

/// A step of the clock that is tried while a program sleeps and waits: what faults do to the build's.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// By how much, in microseconds; zero where none is to be tried.
    pub(super) by_us: i64,
    /// How wrong it is now.
    wrong_us: AtomicI64,
}

impl Trial {
    pub(super) fn of(by_us: i64) -> Self {
        Self { by_us, wrong_us: AtomicI64::new(0) }
    }
}

impl Probe<'_> {
    /// What its clock should show at `now_us`.
    fn should_show(&self, now_us: i64) -> i64 {
        self.from_us + (now_us as f64 * self.speed) as i64 + self.trial.wrong_us.load(Ordering::SeqCst)
    }

    /// Sets its clock; `step` is the time until it is set again.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn set(&self, step: Duration, speed: Option<f64>) -> io::Result<()> {
        // Held from here on: of two that set it, the later one knows what the other knew.
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        let (now_us, real_us) = (self.now_us(), self.clock.date_us());
        let step_us = step.as_micros() as i64;
        let show_us = self.should_show(now_us + step_us) - if speed.is_none() { step_us } else { 0 };
        let moment = Moment { real_us, should_us: self.should_show(now_us), show_us };
        hands.follow(moment, speed)
    }

    fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }

    /// Asks all that there is to ask; returns what came of it, as a fragment.
    ///
    /// # Errors
    ///
    /// What is wrong, as a fragment.
    pub(super) fn ask_all(&mut self) -> Result<String, String> {
        let mut off_us = 0;
        let mut lengths = [0; 2];
        // The first answer comes when it has started.
        for word in ["clock", "clock", "clock"] {
            off_us = off_us.max(self.ask(word, 0)?.0);
        }
        for (word, length) in ["sleep", "wait"].into_iter().zip(&mut lengths) {
            let (off, took_ms) = self.ask(word, (LENGTH_MS as f64 * self.timers) as i64)?;
            off_us = off_us.max(off);
            *length = took_ms;
            if took_ms < LENGTH_MS_MIN {
                return Err(format!("told to {word} for {LENGTH_MS} ms, it does for {took_ms} ms"));
            }
            if self.trial.by_us != 0 {
                off_us = off_us.max(self.ask("clock", 0)?.0);
            }
        }
        // No digits that say nothing.
        let off = Span(match off_us.unsigned_abs() {
            us @ 10_000_000.. => Duration::from_secs(us / 1_000_000),
            us @ 10_000.. => Duration::from_millis(us / 1_000),
            us => Duration::from_micros(us),
        });
        let [slept, waited] = lengths;
        Ok(format!("right to {off}; slept {slept} and waited {waited} of {LENGTH_MS} ms"))
    }

    /// Asks once; returns how far the answer is from what it should be, and how long it took in milliseconds.
    fn ask(&mut self, word: &str, milliseconds: i64) -> Result<(i64, i64), String> {
        let lost = |error: io::Error| format!("it cannot be asked: {error}");
        let from_us = self.now_us();
        let before_us = self.trial.wrong_us.load(Ordering::SeqCst);
        self.stdin.write(format!("{word} {milliseconds}\n").as_bytes()).map_err(lost)?;
        if milliseconds > 0 && self.trial.by_us != 0 {
            self.step()?;
        }
        let most = if milliseconds > 0 { Duration::from_millis(LENGTH_MS_MAX as u64) } else { ANSWER_MAX };
        let answer = self.answer(word, from_us, most)?;
        let until_us = self.now_us();
        let shown_us: i64 = answer.trim().parse().map_err(|_| format!("it answers `{}`", answer.trim()))?;
        let off_us = (self.should_show(from_us) - shown_us).max(shown_us - self.should_show(until_us)).max(0);
        // What leaps meanwhile may have leapt behind the answer as well as ahead of it.
        let leapt_us = self.trial.wrong_us.load(Ordering::SeqCst) - before_us;
        let shown_us = shown_us + leapt_us;
        let early_us = (self.should_show(from_us) - shown_us).max(shown_us - self.should_show(until_us)).max(0);
        let off_us = off_us.min(early_us);
        // As far as it can be off because it is set in steps, and at a speed from the first look after each.
        let apart_us = self.hands.lock().unwrap_or_else(PoisonError::into_inner).apart_us(self.clock.date_us());
        let may_us = (3.0 * apart_us as f64 * self.speed.max(1.0)) as i64 + READ_TO_US;
        if off_us > may_us {
            let span = |us: i64| Span(Duration::from_micros(us.unsigned_abs()));
            return Err(format!("its clock is off by {}, which could be {} at most", span(off_us), span(may_us)));
        }
        Ok((off_us, (until_us - from_us) / 1_000))
    }

    /// Has the clock leap once what is to sleep or to wait is likely to do so; by turns there and back.
    fn step(&self) -> Result<(), String> {
        thread::park_timeout(Duration::from_millis(LENGTH_MS as u64 / 3));
        let wrong_us = self.trial.wrong_us.load(Ordering::SeqCst);
        self.trial.wrong_us.store(if wrong_us == 0 { self.trial.by_us } else { 0 }, Ordering::SeqCst);
        // Timers run as the machine's where there are steps.
        self.set(Duration::ZERO, None).map_err(|error| format!("its clock cannot be set: {error}"))
    }

    fn answer(&mut self, word: &str, from_us: i64, most: Duration) -> Result<String, String> {
        let lost = |error: io::Error| format!("it cannot be heard: {error}");
        let mut line = Vec::new();
        let mut bytes = [0; 256];
        while !line.ends_with(b"\n") {
            match self.stdout.read(&mut bytes).map_err(lost)? {
                Some(0) => return Err(format!("it ends when it is to {word}")),
                Some(count) => line.extend_from_slice(&bytes[..count]),
                None if self.stop.raised() => return Err("stopped on request".to_owned()),
                None if self.now_us() - from_us > most.as_micros() as i64 => {
                    return Err(format!("it does not answer within {} when it is to {word}", Span(most)));
                }
                None => self.stdout.wait().map_err(lost)?,
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// Sets a probe's clock until `over` says so.
pub(super) fn keep_set(set: impl Fn() -> io::Result<()>, step: Duration, over: impl Fn() -> bool) {
    while !over() && set().is_ok() {
        thread::park_timeout(step);
    }
}
