//! What feeds a planned partition, and what reads its events again.

use std::sync::Arc;

use super::StageError;
use super::log::{Chunk, ChunkBuilder, Log, LogError, PlannedLog, Reread, Spot, Stretch};
use super::partition::Partition;
use crate::recording::{Columns, Lookup, Place, Recording, RecordingError};

/// One planned partition, for whoever feeds it. Clones feed the same.
#[derive(Debug, Clone)]
pub struct Planned {
    partition: Arc<Partition>,
}

impl Planned {
    pub(super) fn new(partition: Arc<Partition>) -> Self {
        Self { partition }
    }

    /// Number of the partition.
    pub fn partition(&self) -> i32 {
        self.partition.index
    }

    /// Puts events ready, behind all that were put ready before; nobody sees them yet.
    ///
    /// # Errors
    ///
    /// [`StageError::Files`] where it cannot be noted down where they stand.
    pub fn stock(&self, chunk: Chunk) -> Result<(), StageError> {
        self.change(|log| log.stock(chunk)).unwrap_or(Ok(())).map_err(|error| match error {
            LogError::Files(error) => StageError::Files(error),
            other => StageError::Files(std::io::Error::other(other)),
        })
    }

    /// Makes the next `events` of those put ready visible, and wakes the consumers that wait for them. Returns how many there were.
    pub fn reveal(&self, events: u64) -> u64 {
        self.change(|log| log.reveal(events)).unwrap_or(0)
    }

    /// Furthest position that a consumer has asked for; none before the first has, or since consumers were set back.
    pub fn asked(&self) -> Option<i64> {
        self.change(|log| log.asked()).flatten()
    }

    /// Takes what was handed to consumers for the first time since this was asked last, in order.
    pub fn take_handed(&self, into: &mut Vec<Stretch>) {
        self.change(|log| log.take_handed(into));
    }

    /// Begins a new round: what was handed over from `position` on is to be handed over again. It is for
    /// [`Stage::set_back`](super::Stage::set_back) to send the consumers back for it.
    pub fn set_back(&self, position: i64) {
        self.change(|log| log.set_back(position));
    }

    /// Whether consumers were set back and none has come back yet for what is to be handed over again.
    pub fn is_awaited(&self) -> bool {
        self.change(|log| log.is_awaited()).unwrap_or(false)
    }

    /// One past the last position that is visible.
    pub fn end(&self) -> i64 {
        self.partition.look(Log::high_watermark)
    }

    fn change<T>(&self, change: impl FnOnce(&mut PlannedLog) -> T) -> Option<T> {
        self.partition.change(|log| match log {
            Log::Planned(log) => Some(change(log)),
            Log::Written(_) => None,
        })
    }
}

/// Reads events again from a recording.
#[derive(Debug)]
pub struct RecordedEvents {
    lookup: Lookup,
}

impl RecordedEvents {
    /// Reads from `recording`.
    pub fn new(recording: &Recording) -> Self {
        Self { lookup: recording.lookup(Columns { key: true, value: true, headers: true }) }
    }
}

impl Reread for RecordedEvents {
    fn reread(&mut self, spots: &[Spot], bytes_max: usize) -> Result<Option<Chunk>, RecordingError> {
        let places: Vec<Place> = spots.iter().map(|spot| spot.place).collect();
        let events = self.lookup.fetch_some(&places, bytes_max)?;
        let mut chunk = ChunkBuilder::default();
        for (spot, event) in spots.iter().zip(events.iter()) {
            let full = !chunk.is_empty() && chunk.size_bytes() >= bytes_max;
            if full || !chunk.push(spot.position, spot.place, &event) {
                break;
            }
        }
        Ok(chunk.finish())
    }
}
