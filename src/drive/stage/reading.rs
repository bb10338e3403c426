//! What builds have written, for whoever keeps the outcome.

use super::StageError;
use super::batch::BatchHeader;
use super::broker::Broker;
use super::log::{Aborted, Log, LogError};
use super::record::Record;

/// Events that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Events in order; those that a transaction took back are left out.
    pub events: Vec<WrittenEvent>,
    /// Events of a transaction that was taken back, which were left out.
    pub taken_back: u64,
    /// Where to read on.
    pub next: i64,
    /// Whether there was a batch: without one, nothing more is there that is decided.
    pub more: bool,
}

/// One event that a build wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenEvent {
    /// Offset in the partition.
    pub offset: i64,
    /// When it arrived, in microseconds of the clock that the stage was started with.
    pub arrived_us: i64,
    /// Timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values in order, repeats included. A name should be UTF-8, which nobody enforces.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(super) fn read(broker: &Broker, topic: &str, index: i32, offset: i64) -> Result<Written, StageError> {
    let missing = || StageError::Partition { topic: topic.to_owned(), partition: index };
    let (_, partition) = broker.partition(topic, index).map_err(|_| missing())?;
    let found = partition.look(|log| match log {
        Log::Planned(_) => None,
        Log::Written(log) => Some(log.arrived(offset).map(|arrived| (arrived, log.last_stable()))),
    });
    let undecodable = || StageError::Undecodable { topic: topic.to_owned(), partition: index };
    let failed = |error| match error {
        LogError::Files(error) => StageError::Files(error),
        _ => undecodable(),
    };
    let (arrived, stable) = found.ok_or_else(missing)?.map_err(failed)?;
    let Some(arrived) = arrived.filter(|arrived| arrived.base_offset < stable) else {
        return Ok(Written { next: offset, ..Written::default() });
    };
    let batch = arrived.read().map_err(failed)?;
    let next = batch.header.last_offset() + 1;
    let (control, taken_back) = (batch.header.is_control(), is_aborted(&batch.header, &arrived.aborted));
    if control || taken_back {
        let count = if control { 0 } else { batch.header.count.max(0) as u64 };
        return Ok(Written { next, more: true, taken_back: count, ..Written::default() });
    }
    let records = batch.records().map_err(|_| undecodable())?;
    let events = records.into_iter().filter(|record| record.offset >= offset).map(|record| event(record, arrived.us));
    Ok(Written { events: events.collect(), taken_back: 0, next, more: true })
}

fn is_aborted(header: &BatchHeader, aborted: &[Aborted]) -> bool {
    let inside = |one: &Aborted| (one.first_offset..one.last_offset).contains(&header.base_offset);
    header.is_transactional() && aborted.iter().any(|one| one.producer_id == header.producer_id && inside(one))
}

fn event(record: Record, arrived_us: i64) -> WrittenEvent {
    WrittenEvent {
        offset: record.offset,
        arrived_us,
        timestamp_ms: Some(record.timestamp).filter(|timestamp| *timestamp >= 0),
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: record.headers.into_iter().map(|one| (one.name.into(), one.value.map(Into::into))).collect(),
    }
}
