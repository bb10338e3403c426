//! What the threads of one drive tell each other. Nothing here blocks: the locks are held to push or to swap a list.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::feed::Announced;
use super::flags::Flags;
use super::ledger::Lag;
use super::wall_clock::WallClock;
use crate::clock::Clock;

/// Longest wait for a due time before looking whether the drive is still wanted.
const SLICE: Duration = Duration::from_millis(50);

/// Marks a moment that has not come.
const NEVER: i64 = i64::MIN;

/// State of one drive. Times are microseconds of the drive's clock.
#[derive(Debug)]
pub(super) struct Shared {
    begun_us: i64,
    timeout_us: i64,
    cut: AtomicBool,
    abandoned: AtomicBool,
    closing: AtomicU8,
    ready: AtomicBool,
    flooded: AtomicBool,
    said_all: AtomicBool,
    start_us: AtomicI64,
    input_end_us: AtomicI64,
    output_us: AtomicI64,
    taken_us: AtomicI64,
    sent: AtomicU64,
    outputs: AtomicU64,
    warm_up_covered: AtomicU64,
    commits: Mutex<Option<(u64, u64)>>,
    announced: Mutex<Vec<Announced>>,
    lag: Mutex<Option<Lag>>,
    flags: Option<Arc<Flags>>,
    wall_clock: Option<Arc<WallClock>>,
}

impl Shared {
    pub(super) fn new(begun: Duration, timeout: Duration) -> Self {
        let begun_us = begun.as_micros() as i64;
        Self {
            begun_us,
            timeout_us: i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX / 4),
            cut: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            closing: AtomicU8::new(0),
            ready: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
            said_all: AtomicBool::new(false),
            start_us: AtomicI64::new(NEVER),
            input_end_us: AtomicI64::new(NEVER),
            output_us: AtomicI64::new(begun_us),
            taken_us: AtomicI64::new(begun_us),
            sent: AtomicU64::new(0),
            outputs: AtomicU64::new(0),
            warm_up_covered: AtomicU64::new(0),
            commits: Mutex::default(),
            announced: Mutex::new(Vec::new()),
            lag: Mutex::new(None),
            flags: None,
            wall_clock: None,
        }
    }

    /// Changes these flags by the schedule.
    pub(super) fn with_flags(self, flags: Option<Arc<Flags>>) -> Self {
        Self { flags, ..self }
    }

    /// Starts this clock of the build with the schedule.
    pub(super) fn with_wall_clock(self, wall_clock: Option<Arc<WallClock>>) -> Self {
        Self { wall_clock, ..self }
    }

    /// Ends all handing over: the build has ended, or is about to be.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Ends the plan: not even receipts of what was never handed over are wanted.
    pub(super) fn abandon(&self) {
        self.cut();
        self.abandoned.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Ends reading as soon as nothing is there.
    pub(super) fn close_when_quiet(&self) {
        self.closing.fetch_max(1, Ordering::SeqCst);
    }

    /// Ends reading.
    pub(super) fn close_now(&self) {
        self.closing.store(2, Ordering::SeqCst);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst) > 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.load(Ordering::SeqCst) > 1
    }

    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    /// The build is gone, and has to be ready anew.
    pub(super) fn set_unready(&self) {
        self.ready.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn set_flooded(&self) {
        self.flooded.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::SeqCst)
    }

    /// Standard output has ended; who listened to it waits for calls alone.
    pub(super) fn say_all(&self) {
        self.said_all.store(true, Ordering::SeqCst);
    }

    /// A process that was started again may say more.
    pub(super) fn say_more(&self) {
        self.said_all.store(false, Ordering::SeqCst);
    }

    pub(super) fn has_said_all(&self) -> bool {
        self.said_all.load(Ordering::SeqCst)
    }

    /// Starts the schedule at this moment.
    pub(super) fn start(&self, now: Duration) {
        if let Some(wall_clock) = &self.wall_clock {
            wall_clock.start();
        }
        self.start_us.store(now.as_micros() as i64, Ordering::SeqCst);
    }

    /// A moment against the schedule's start. Before the start is known times count from the beginning of the drive, set back by
    /// its time-out: so they are negative, in order, and a second apart where they were.
    pub(super) fn relative_us(&self, now_us: i64) -> i64 {
        match self.start_us.load(Ordering::SeqCst) {
            // Commands ahead of the build are no part of the time-out.
            NEVER => (now_us - self.begun_us - self.timeout_us).min(-1),
            start => now_us - start,
        }
    }

    pub(super) fn has_started(&self) -> bool {
        self.start_us.load(Ordering::SeqCst) != NEVER
    }

    /// Waits for a due time, in microseconds since the schedule's start; returns up to which due time may be handed over then, or none
    /// where the drive was cut short meanwhile. Flags that change by then have changed, and the clock has leapt; none that does so later is
    /// overtaken.
    pub(super) fn wait_until_due(&self, due_us: i64, clock: &dyn Clock) -> Option<i64> {
        while let Some(change_us) = self.next_change_us().filter(|change_us| *change_us <= due_us) {
            let at_us = self.wait_until(change_us, clock)?;
            self.change(change_us, at_us);
        }
        let now_us = self.wait_until(due_us, clock)?;
        Some(self.next_change_us().map_or(now_us, |change_us| now_us.min(change_us - 1)))
    }

    /// Whether a timestamp, in milliseconds, can be one that the build's own clock gave, be it `skew_ms` off; none where that is the
    /// machine's.
    pub(super) fn clock_can_have_given(&self, timestamp_ms: i64, skew_ms: i64) -> Option<bool> {
        self.wall_clock.as_ref().map(|clock| clock.can_have_given(timestamp_ms, skew_ms))
    }

    /// When the next flag changes, or the clock leaps, in microseconds since the schedule's start.
    pub(super) fn next_change_us(&self) -> Option<i64> {
        let flags = self.flags.as_ref().and_then(|flags| flags.next_due_us());
        let clock = self.wall_clock.as_ref().and_then(|clock| clock.next_leap_us());
        flags.into_iter().chain(clock).min()
    }

    /// Changes the flags that are to change by `due_us`, and has the clock leap; it is `at_us` now.
    pub(super) fn change(&self, due_us: i64, at_us: i64) {
        if let Some(wall_clock) = &self.wall_clock {
            wall_clock.leap(due_us);
        }
        if let Some(flags) = &self.flags {
            flags.change(due_us, at_us);
        }
    }

    fn wait_until(&self, due_us: i64, clock: &dyn Clock) -> Option<i64> {
        loop {
            let now = clock.now();
            let now_us = self.relative_us(now.as_micros() as i64);
            if now_us >= due_us {
                return Some(now_us);
            }
            if self.is_cut() {
                return None;
            }
            let left = Duration::from_micros((due_us - now_us) as u64);
            clock.wait_until(now + left.min(SLICE));
        }
    }

    /// End of input has been reached, at this moment.
    pub(super) fn end_input(&self, now: Duration) {
        self.input_end_us.store(now.as_micros() as i64, Ordering::SeqCst);
    }

    pub(super) fn input_end_us(&self) -> Option<i64> {
        Some(self.input_end_us.load(Ordering::SeqCst)).filter(|at| *at != NEVER)
    }

    /// The build wrote something.
    pub(super) fn note_output(&self, now_us: i64) {
        self.output_us.fetch_max(now_us, Ordering::SeqCst);
    }

    pub(super) fn output_us(&self) -> i64 {
        self.output_us.load(Ordering::SeqCst)
    }

    /// The build took some input.
    pub(super) fn note_taken(&self, now: Duration) {
        self.taken_us.fetch_max(now.as_micros() as i64, Ordering::SeqCst);
    }

    /// When the build last did something that shows.
    pub(super) fn progress_us(&self) -> i64 {
        self.output_us().max(self.taken_us.load(Ordering::SeqCst))
    }

    pub(super) fn add_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn set_outputs(&self, count: u64) {
        self.outputs.store(count, Ordering::Relaxed);
    }

    pub(super) fn outputs(&self) -> u64 {
        self.outputs.load(Ordering::Relaxed)
    }

    /// Commits cover this many deliveries of the warm-up, which are all that have been announced.
    pub(super) fn cover_warm_up(&self, deliveries: u64) {
        self.warm_up_covered.store(deliveries, Ordering::SeqCst);
    }

    pub(super) fn warm_up_covered(&self) -> u64 {
        self.warm_up_covered.load(Ordering::SeqCst)
    }

    /// Announces deliveries before they are handed over, so that whoever reads an answer can know what it answers to.
    pub(super) fn announce(&self, announced: Announced) {
        lock(&self.announced).push(announced);
    }

    /// Takes what has been announced since.
    pub(super) fn take_announced(&self, into: &mut Vec<Announced>) {
        into.clear();
        std::mem::swap(&mut *lock(&self.announced), into);
    }

    pub(super) fn set_lag(&self, lag: Option<Lag>) {
        *lock(&self.lag) = lag;
    }

    /// Positions that are committed, and those that were handed over and are not; none where the build never committed anything.
    pub(super) fn set_commits(&self, commits: Option<(u64, u64)>) {
        *lock(&self.commits) = commits;
    }

    pub(super) fn commits(&self) -> Option<(u64, u64)> {
        *lock(&self.commits)
    }

    pub(super) fn lag(&self) -> Option<Lag> {
        *lock(&self.lag)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
