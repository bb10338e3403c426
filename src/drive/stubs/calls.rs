//! Calls on their way from the stubs to whoever keeps the outputs. Full, it makes callers wait; nothing is lost.

use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::Call;

/// Calls that may wait to be kept.
const CALLS_WAITING: usize = 4_096;

/// Bytes that they may take.
pub(super) const BYTES_WAITING: usize = 64 << 20;

/// The end that is taken from.
#[derive(Debug, Default)]
pub(in crate::drive) struct Calls {
    waiting: Option<Receiver<Waiting>>,
    /// From the clock of the stubs to the drive's, in microseconds.
    offset_us: i64,
    /// Came later than was asked for.
    next: Option<Call>,
}

/// The end that is put into.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    calls: Sender<Waiting>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    call: Call,
    /// Given back when it is kept.
    room: OwnedSemaphorePermit,
}

/// Makes both ends.
pub(super) fn counter() -> (Counter, Calls) {
    let (sender, receiver) = channel(CALLS_WAITING);
    (
        Counter { calls: sender, room: Arc::new(Semaphore::new(BYTES_WAITING)) },
        Calls { waiting: Some(receiver), ..Calls::default() },
    )
}

impl Counter {
    /// Puts a call where it will be kept, as soon as there is room.
    ///
    /// # Errors
    ///
    /// Nobody keeps calls any more: the drive is over, and this one must not be answered.
    pub(super) async fn put(&self, call: Call) -> Result<(), ()> {
        let bytes = call.size().min(BYTES_WAITING) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(drop)?;
        self.calls.send(Waiting { call, room }).await.map_err(drop)
    }
}

impl Calls {
    /// Tells times by a clock that is so much ahead of that of the stubs.
    pub(super) fn ahead_by(mut self, offset_us: i64) -> Self {
        self.offset_us = offset_us;
        self
    }

    /// Whether any can come.
    pub(in crate::drive) fn may_come(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes the next call in the order of arrival; none where none waits.
    pub(in crate::drive) fn take(&mut self) -> Option<Call> {
        if let Some(call) = self.next.take() {
            return Some(call);
        }
        let Waiting { mut call, room } = self.waiting.as_mut()?.try_recv().ok()?;
        drop(room);
        call.arrived_us += self.offset_us;
        Some(call)
    }

    /// Takes the next call that had arrived at `until_us`, in microseconds of the drive's clock.
    pub(in crate::drive) fn take_until(&mut self, until_us: i64) -> Option<Call> {
        self.next = self.take();
        self.next.take_if(|call| call.arrived_us <= until_us)
    }

    /// Lets no more come in: what is there can be taken still, and what comes later is not answered.
    pub(in crate::drive) fn close(&mut self) {
        if let Some(calls) = &mut self.waiting {
            calls.close();
        }
    }
}
