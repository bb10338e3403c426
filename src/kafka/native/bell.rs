//! What waits for a queue of librdkafka, by a clock that nobody sets.
//!
//! librdkafka's own waits end at a time of the wall clock (C11's `cnd_timedwait` knows no other): where that is set back meanwhile, one
//! of 50 ms lasts as much longer, and nothing that was taken would be put on the disk until an event comes. So a queue is only ever
//! asked for what is there, and whoever waits does so here.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Rings where something comes to a queue that was empty.
pub(super) struct Bell {
    heard: UnixStream,
    /// librdkafka writes to it, as long as the queue rings.
    rung: UnixStream,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        // Full, it has been rung often enough: librdkafka must not wait for whoever hears it.
        rung.set_nonblocking(true)?;
        Ok(Self { heard, rung })
    }

    /// Has `queue` ring, until [`Bell::take_from`].
    ///
    /// # Safety
    ///
    /// The queue is alive, and the bell outlives its ringing.
    pub(super) unsafe fn hang_on(&self, queue: *mut native::rd_kafka_queue_t) {
        let stroke = 1_u8;
        // SAFETY: the queue is alive; librdkafka copies the one byte, and writes it to a file that stays open.
        unsafe {
            native::rd_kafka_queue_io_event_enable(queue, self.rung.as_raw_fd(), ptr::from_ref(&stroke).cast(), 1);
        }
    }

    /// Has `queue` ring no longer.
    ///
    /// # Safety
    ///
    /// The queue is alive.
    pub(super) unsafe fn take_from(queue: *mut native::rd_kafka_queue_t) {
        // SAFETY: the queue is alive; without a file nothing is written.
        unsafe { native::rd_kafka_queue_io_event_enable(queue, -1, ptr::null(), 0) }
    }

    /// Waits until it has rung since the last wait, for `timeout` at most. A signal ends the wait, too.
    pub(super) fn wait(&self, timeout: Duration) {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let rang = poll(&mut [PollFd::new(&self.heard, PollFlags::IN)], Some(&timeout));
        if rang.is_ok_and(|ready| ready > 0) {
            // All of it: what it rang for is asked for after this.
            while (&self.heard).read(&mut [0; 512]).is_ok_and(|strokes| strokes > 0) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn a_bell_that_rang_is_not_waited_for_and_one_that_did_not_is_for_as_long_as_was_said() {
        let bell = Bell::new().unwrap();
        let waited = |timeout| {
            let clock = SystemClock::start();
            bell.wait(timeout);
            clock.now()
        };
        // However often: more than it has room for.
        while (&bell.rung).write(&[1]).is_ok_and(|written| written > 0) {}
        assert!(waited(Duration::from_secs(60)) < Duration::from_secs(30));
        let short = Duration::from_millis(40);
        assert!(waited(short) >= short, "what rang before was heard already");
    }
}
