//! A bound on bytes in a second.

use std::sync::Mutex;
use std::time::Duration;

use super::super::partition::lock;

/// How much a fetch may take at once, as a part of a second: more would keep a client waiting beyond its time-out.
const AT_ONCE: u64 = 4;

/// See the top of the file. Bytes are let go one after the other, each as long after the last as the rate asks for.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: u64,
    free: Mutex<Duration>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free: Mutex::default() }
    }

    /// When `bytes` that are ready at `now` may go.
    pub(super) fn take(&self, bytes: usize, now: Duration) -> Duration {
        let mut free = lock(&self.free);
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *free = (*free).max(now) + time;
        *free
    }

    /// Owes nothing for what was let go so far.
    pub(super) fn forget(&self) {
        *lock(&self.free) = Duration::ZERO;
    }

    /// Bytes that one answer may have.
    pub(super) fn at_once(&self) -> usize {
        usize::try_from(self.bytes_per_second / AT_ONCE).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_no_faster_than_the_rate_and_what_was_not_used_is_lost() {
        let rate = Rate::new(1_000);
        let millis = Duration::from_millis;
        assert_eq!(rate.take(100, millis(0)), millis(100));
        assert_eq!(rate.take(100, millis(20)), millis(200));
        assert_eq!(rate.take(100, millis(5_000)), millis(5_100));
        assert_eq!(rate.at_once(), 250);
        assert_eq!(rate.take(100_000, millis(6_000)), millis(106_000));
        rate.forget();
        assert_eq!(rate.take(100, millis(7_000)), millis(7_100));
    }
}
