//! One partition: its log behind a lock, and those who wait for it to grow.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log::{Log, LogError, Reading, Reread, Slice, Sought, Want};
use crate::clock::Clock;
use crate::recording::RecordingError;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: i32,
    state: Mutex<State>,
    /// Locked on its own: reading events again takes a disk, and revealing others must not wait for it.
    reread: Mutex<Option<Box<dyn Reread>>>,
}

#[derive(Debug)]
struct State {
    log: Log,
    waiting: Vec<Arc<Waiter>>,
    closed: bool,
}

impl State {
    /// Notes that a reader asks for an offset that the log has, or comes next: one that asks for anything else reads nothing, and
    /// whoever does not wait is noted as it reads.
    fn note_asked(&mut self, offset: i64) {
        if let Log::Planned(log) = &mut self.log {
            log.note_asked(offset);
        }
    }
}

/// Somebody who waits for any of several partitions.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Waiter {
    /// Waits until it is rung for or `due` has come; returns whether it was.
    pub(super) fn wait(&self, due: Duration, clock: &dyn Clock) -> bool {
        let mut rung = lock(&self.rung);
        while !*rung {
            let Some(left) = due.checked_sub(clock.now()).filter(|left| !left.is_zero()) else { return false };
            rung = self.bell.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
        true
    }

    pub(super) fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_one();
    }
}

/// Why a partition does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartitionError {
    #[error("the topic was deleted")]
    Closed,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("could not read events again")]
    Recording(#[from] RecordingError),
}

impl Partition {
    pub(super) fn new(index: i32, log: Log, reread: Option<Box<dyn Reread>>) -> Self {
        let state = State { log, waiting: Vec::new(), closed: false };
        Self { index, state: Mutex::new(state), reread: Mutex::new(reread) }
    }

    /// Looks into the log.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.state).log)
    }

    /// Changes the log, and rings for those who wait where it grew for them.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut state = lock(&self.state);
        let before = (state.log.high_watermark(), state.log.upper(true), state.log.start());
        let result = change(&mut state.log);
        if before != (state.log.high_watermark(), state.log.upper(true), state.log.start()) {
            state.waiting.iter().for_each(|waiter| waiter.ring());
        }
        result
    }

    /// Bytes that wait for a reader at `offset`, about; `waiter` is rung for when there are more, until it [leaves](Self::leave).
    pub(super) fn available(
        &self,
        offset: i64,
        committed: bool,
        waiter: Option<&Arc<Waiter>>,
    ) -> Result<u64, PartitionError> {
        let mut state = self.open()?;
        if let Some(waiter) = waiter {
            state.waiting.push(Arc::clone(waiter));
        }
        let available = state.log.available(offset, committed)?;
        state.note_asked(offset);
        Ok(available)
    }

    /// Notes that a reader who asked for `offset` at `asked_us` gets a slice of a planned partition at `handed_us`.
    pub(super) fn note_handed(&self, offset: i64, slice: &Slice, asked_us: i64, handed_us: i64) {
        if let Log::Planned(log) = &mut lock(&self.state).log {
            log.note_asked(offset);
            if let Some(to) = slice.to {
                log.note_handed(offset, to, asked_us, handed_us);
            }
        }
    }

    pub(super) fn leave(&self, waiter: &Arc<Waiter>) {
        lock(&self.state).waiting.retain(|one| !Arc::ptr_eq(one, waiter));
    }

    pub(super) fn read(&self, want: Want) -> Result<Slice, PartitionError> {
        let mut state = self.open()?;
        let reading = state.log.read(want)?;
        state.note_asked(want.offset);
        drop(state);
        let (spots, mut slice) = match reading {
            Reading::Slice(slice) => return Ok(slice),
            Reading::Stored { stored, mut slice } => {
                slice.parts = vec![stored.read().map_err(LogError::Files)?.into()];
                return Ok(slice);
            }
            Reading::Again { spots, slice } => (spots, slice),
        };
        if !want.first_whole && want.bytes_max == 0 {
            return Ok(slice);
        }
        let spots = spots.read().map_err(LogError::Files)?;
        if let Some(reread) = lock(&self.reread).as_mut()
            && let Some(chunk) = reread.reread(&spots, want.bytes_max)?
        {
            slice.parts.extend(chunk.batch(0, chunk.spots().len()).into_iter().flatten());
            slice.to = chunk.spots().last().map(|last| last.position + 1);
        }
        Ok(slice)
    }

    /// Finds the first event of `timestamp` or later: its offset and timestamp.
    pub(super) fn at_time(&self, timestamp: i64, committed: bool) -> Result<Option<(i64, i64)>, LogError> {
        let mut from = 0;
        loop {
            match self.look(|log| log.at_time(timestamp, from, committed))? {
                Sought::Found(found) => return Ok(found),
                Sought::Stored(timed) => match timed.read()? {
                    Some(found) => return Ok(Some(found).filter(|(offset, _)| *offset < timed.upper)),
                    // Only where the log begins behind the event that was found in the index.
                    None => from = timed.next,
                },
            }
        }
    }

    /// Finds the first of the events with the largest timestamp: its offset and timestamp.
    pub(super) fn at_largest_time(&self, committed: bool) -> Result<Option<(i64, i64)>, LogError> {
        self.look(Log::largest_time)?.map_or(Ok(None), |largest| self.at_time(largest, committed))
    }

    /// Ends the partition: nobody waits for it any more, and nobody may ask it.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.waiting.iter().for_each(|waiter| waiter.ring());
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, PartitionError> {
        let state = lock(&self.state);
        if state.closed { Err(PartitionError::Closed) } else { Ok(state) }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Partition {
    pub(super) fn into_log(self) -> Log {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).log
    }
}
