//! The log of one partition: written by builds, or planned.

mod chunk;
mod handed;
mod planned;
mod producers;
mod table;
#[cfg(test)]
mod tests;
mod written;

pub use chunk::{Chunk, ChunkBuilder, Spot};
pub use handed::Stretch;
pub use planned::Reread;
pub(super) use planned::{PlannedLog, Spots};
pub(super) use table::Stored;
pub(super) use written::{Appended, Timed, WrittenLog};

use std::io;

use bytes::Bytes;

use super::batch::BatchError;

/// A transaction that was taken back, as consumers are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    /// Where its control batch stands.
    pub(super) last_offset: i64,
}

/// What a reader asks a partition for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) offset: i64,
    pub(super) bytes_max: usize,
    /// Whether the first batch comes whole even where it is larger than that.
    pub(super) first_whole: bool,
    /// Most events of a planned partition; of one that is written to, batches come as they are.
    pub(super) events_max: usize,
    /// Whether only what no transaction can take back any more is asked for.
    pub(super) committed: bool,
}

/// What a partition answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Slice {
    /// Whole batches, shared with the log where they could be.
    pub(super) parts: Vec<Bytes>,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) aborted: Vec<Aborted>,
    /// One past the last event of a planned partition that comes along.
    pub(super) to: Option<i64>,
}

impl Slice {
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// What reading gives. What lies on a disk is read outside of the partition's lock: revealing events must not wait for it.
#[derive(Debug)]
pub(super) enum Reading {
    Slice(Slice),
    /// The batches have left memory.
    Stored {
        stored: Stored,
        slice: Slice,
    },
    /// The events have left memory: they must be read again from the recording.
    Again {
        spots: Spots,
        slice: Slice,
    },
}

/// What a search by time gives.
#[derive(Debug)]
pub(super) enum Sought {
    /// Offset and timestamp of the event, if there is one.
    Found(Option<(i64, i64)>),
    /// A batch that holds the event, unless it lies ahead of where the log begins.
    Stored(Timed),
}

/// Why a log refuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the offset lies outside of the log")]
    OutOfRange,
    #[error("a batch ahead is missing")]
    OutOfOrder,
    #[error("a younger producer of the same id has written since")]
    Fenced,
    #[error("the producer has a transaction open, and the batch belongs to none")]
    OutsideOfTransaction,
    #[error("the log is the plan's: nobody may change it")]
    Planned,
    #[error("could not read or write the files of a log")]
    Files(#[from] io::Error),
    #[error("a log holds bytes that are no batch")]
    Batch(#[from] BatchError),
}

/// See the top of the file.
#[derive(Debug)]
pub(super) enum Log {
    Written(WrittenLog),
    Planned(PlannedLog),
}

impl Log {
    pub(super) fn start(&self) -> i64 {
        match self {
            Self::Written(log) => log.start(),
            Self::Planned(log) => log.start(),
        }
    }

    pub(super) fn high_watermark(&self) -> i64 {
        match self {
            Self::Written(log) => log.next(),
            Self::Planned(log) => log.high_watermark(),
        }
    }

    /// One past the last offset that a reader of that isolation may see.
    pub(super) fn upper(&self, committed: bool) -> i64 {
        match self {
            Self::Written(log) if committed => log.last_stable(),
            _ => self.high_watermark(),
        }
    }

    /// Bytes that wait for a reader at `offset`, about.
    pub(super) fn available(&self, offset: i64, committed: bool) -> Result<u64, LogError> {
        self.check(offset)?;
        match self {
            Self::Written(log) => log.available(offset, self.upper(committed)),
            Self::Planned(log) => Ok(log.available(offset)),
        }
    }

    pub(super) fn read(&self, want: Want) -> Result<Reading, LogError> {
        self.check(want.offset)?;
        match self {
            Self::Written(log) => log.read(want, self.upper(want.committed)),
            Self::Planned(log) => log.read(want),
        }
    }

    fn check(&self, offset: i64) -> Result<(), LogError> {
        let known = self.start()..=self.high_watermark();
        if known.contains(&offset) { Ok(()) } else { Err(LogError::OutOfRange) }
    }

    /// Looks for the first event of `timestamp` or later, from `offset` on.
    pub(super) fn at_time(&self, timestamp: i64, offset: i64, committed: bool) -> Result<Sought, LogError> {
        match self {
            Self::Written(log) => log.at_time(timestamp, offset, self.upper(committed)),
            Self::Planned(log) => log.at_time(timestamp).map(Sought::Found),
        }
    }

    /// The largest timestamp of any event, as far as that is known without looking for it.
    pub(super) fn largest_time(&self) -> Result<Option<i64>, LogError> {
        match self {
            Self::Written(log) => Ok(log.largest_time()),
            Self::Planned(log) => log.largest_time(),
        }
    }
}
