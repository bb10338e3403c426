//! The only reader of time: a real clock and a simulated one behind one trait.

#![expect(clippy::disallowed_methods, reason = "this is the one file that reads time")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells time and waits. Times are measured from a start that the clock fixes when it is made, and never go back.
pub trait Clock: Send + Sync {
    /// Returns the time since the clock's start.
    fn now(&self) -> Duration;

    /// Waits until `due`, measured from the clock's start; returns at once where that has passed.
    fn wait_until(&self, due: Duration);

    /// Returns the date as microseconds since the Unix epoch.
    fn date_us(&self) -> i64;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    spin: Duration,
}

impl SystemClock {
    /// Starts a clock now that sleeps up to the due time.
    pub fn start() -> Self {
        Self { start: Instant::now(), spin: Duration::ZERO }
    }

    /// Starts a clock that sleeps until `spin` before the due time and then watches the clock: exact to a microsecond, at the
    /// price of a busy core.
    pub fn start_spinning(spin: Duration) -> Self {
        Self { start: Instant::now(), spin }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait_until(&self, due: Duration) {
        // Sleeps are cut short rather than rounded up: an absolute due time is approached, never added to.
        while let Some(left) = due.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            match left.checked_sub(self.spin).filter(|asleep| !asleep.is_zero()) {
                Some(asleep) => thread::sleep(asleep),
                None => std::hint::spin_loop(),
            }
        }
    }

    fn date_us(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
    }
}

/// Sleeps once, by whatever way of sleeping the system's library has, and looks at no clock: for who wants to know what that does.
pub fn sleep_once(length: Duration) {
    thread::sleep(length);
}

/// A clock for tests: waiting moves it on at once.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    now: Mutex<Duration>,
}

impl SimulatedClock {
    /// Makes a clock that stands at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on by `step`.
    pub fn advance(&self, step: Duration) {
        *self.lock() += step;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Duration {
        *self.lock()
    }

    fn wait_until(&self, due: Duration) {
        let mut now = self.lock();
        *now = (*now).max(due);
    }

    fn date_us(&self) -> i64 {
        self.now().as_micros() as i64
    }
}

/// A request to stop, shared by all that wait: raised once (by Ctrl-C, say) and never lowered. Every wait of a room looks at it
/// at least every 100 ms, and says so while it does.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    raised: AtomicBool,
    heeded: AtomicUsize,
}

/// Somebody looks at the request until this is dropped.
#[derive(Debug)]
pub struct Heeding(Arc<Request>);

impl Drop for Heeding {
    fn drop(&mut self) {
        self.0.heeded.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stop {
    /// Makes a request that nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// Says that the caller looks at the request from now on, until the result is dropped.
    #[must_use]
    pub fn heed(&self) -> Heeding {
        self.0.heeded.fetch_add(1, Ordering::SeqCst);
        Heeding(Arc::clone(&self.0))
    }

    /// Whether anybody looks at the request: whoever raises it and finds nobody may end the program instead of waiting.
    pub fn heeded(&self) -> bool {
        self.0.heeded.load(Ordering::SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_no_earlier_than_due() {
        for clock in [SystemClock::start(), SystemClock::start_spinning(Duration::from_millis(1))] {
            let due = clock.now() + Duration::from_millis(3);
            clock.wait_until(due);
            assert!(clock.now() >= due);
        }
    }

    #[test]
    fn a_request_is_heeded_while_somebody_looks_at_it() {
        let stop = Stop::new();
        let (one, other) = (stop.heed(), stop.clone().heed());
        drop(one);
        assert!(stop.heeded());
        drop(other);
        assert!(!stop.heeded() && !stop.raised());
    }

    #[test]
    fn waiting_for_the_past_returns_at_once() {
        let clock = SimulatedClock::new();
        clock.advance(Duration::from_secs(5));
        clock.wait_until(Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_secs(5));
    }
}
