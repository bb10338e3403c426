//! Outputs in columns, as they come from `outputs.parquet`.

use std::path::Path;

use arrow::array::{Array, AsArray as _, BinaryArray, Int32Array, Int64Array, RecordBatch};

use super::columns::{Columns, HeadersColumn};
use super::read_columns::HASHES;
use super::words::{Texts, Words};
use super::{Cause, CauseBy, Channel, OutcomeError, Output};
use crate::plan::Phase;
use crate::recording::HeadersView;

/// Outputs in columns; a row costs no copy.
#[derive(Debug, Clone)]
pub struct OutputBatch {
    sequence: Int64Array,
    topic: Texts,
    key: BinaryArray,
    value: BinaryArray,
    hash: Option<Int64Array>,
    arrived: Option<Int64Array>,
    phase: Option<Words<Phase>>,
    channel: Option<Words<Channel>>,
    partition: Option<Int32Array>,
    timestamp: Option<Int64Array>,
    headers: Option<HeadersColumn>,
    cause: Option<CauseColumns>,
    malformed: Option<Texts>,
}

#[derive(Debug, Clone)]
struct CauseColumns {
    topic: Texts,
    partition: Int32Array,
    offset: Int64Array,
    attempt: Option<Int32Array>,
    by: Option<Words<CauseBy>>,
}

/// One output, borrowed from its batch. Fields as in [`Output`]; what the file lacks has the default.
#[derive(Debug, Clone, Copy)]
pub struct OutputView<'a> {
    /// Order of arrival.
    pub sequence: i64,
    /// Arrival.
    pub arrived_us: i64,
    /// Phase.
    pub phase: Phase,
    /// Channel.
    pub channel: Channel,
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Timestamp.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Cause.
    pub cause: Option<CauseView<'a>>,
    /// Why it could not be read.
    pub malformed: Option<&'a str>,
    /// Headers in order.
    pub headers: HeadersView<'a>,
}

/// A cause, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CauseView<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset as recorded.
    pub offset: i64,
    /// Attempt.
    pub attempt: i32,
    /// How it is known.
    pub by: CauseBy,
}

impl OutputView<'_> {
    /// Copies the output out of its batch.
    pub fn to_output(&self) -> Output {
        Output {
            sequence: self.sequence,
            arrived_us: self.arrived_us,
            phase: self.phase,
            channel: self.channel,
            topic: self.topic.to_owned(),
            partition: self.partition,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.to_headers(),
            cause: self.cause.map(|cause| Cause {
                topic: cause.topic.to_owned(),
                partition: cause.partition,
                offset: cause.offset,
                attempt: cause.attempt,
                by: cause.by,
            }),
            malformed: self.malformed.map(str::to_owned),
        }
    }
}

impl OutputBatch {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.sequence.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sequences of all rows.
    pub(super) fn sequences(&self) -> &[i64] {
        self.sequence.values()
    }

    /// Output at `row`, borrowed.
    ///
    /// # Panics
    ///
    /// `row` is not below [`OutputBatch::len`].
    pub fn get(&self, row: usize) -> OutputView<'_> {
        OutputView {
            sequence: self.sequence.value(row),
            arrived_us: self.arrived.as_ref().map_or(0, |column| column.value(row)),
            phase: self.phase.as_ref().and_then(|column| column.at(row)).unwrap_or_default(),
            channel: self.channel.as_ref().and_then(|column| column.at(row)).unwrap_or_default(),
            topic: self.topic.value(row),
            partition: self.partition.as_ref().map_or(0, |column| column.value(row)),
            timestamp_ms: self.timestamp.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row)),
            key: bytes_at(&self.key, row),
            value: bytes_at(&self.value, row),
            cause: self.cause.as_ref().and_then(|columns| columns.get(row)),
            malformed: self.malformed.as_ref().and_then(|column| column.at(row)),
            headers: self.headers.as_ref().map_or(HeadersView::EMPTY, |column| column.at(row)),
        }
    }

    /// Output at `row` with the hash of its value; read by [`Outcome::hashed_outputs`](super::Outcome::hashed_outputs), it has no
    /// value besides.
    ///
    /// # Panics
    ///
    /// `row` is not below [`OutputBatch::len`].
    pub fn hashed(&self, row: usize) -> (OutputView<'_>, Option<u64>) {
        let hash = self.hash.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row) as u64);
        (self.get(row), hash)
    }

    /// Takes the columns of `batch`, a part of the file at `path`, apart.
    pub(super) fn read(batch: &RecordBatch, path: &Path) -> Result<Self, OutcomeError> {
        let columns = Columns { batch, path };
        Ok(Self {
            sequence: columns.required("sequence", columns.long("sequence")?)?,
            topic: required_texts(&columns, "topic")?,
            key: columns.bytes("key")?.unwrap_or_else(|| BinaryArray::new_null(batch.num_rows())),
            value: columns.bytes("value")?.unwrap_or_else(|| BinaryArray::new_null(batch.num_rows())),
            hash: batch.column_by_name(HASHES).and_then(|column| column.as_primitive_opt()).cloned(),
            arrived: columns.long("arrived")?,
            phase: Words::read(&columns, "phase", phase)?,
            channel: Words::read(&columns, "channel", channel)?,
            partition: columns.int("partition")?,
            timestamp: columns.time_ms("timestamp")?,
            headers: columns.headers("headers")?,
            cause: CauseColumns::read(&columns)?,
            malformed: Texts::read(&columns, "malformed")?,
        })
    }
}

impl CauseColumns {
    fn read(columns: &Columns<'_>) -> Result<Option<Self>, OutcomeError> {
        let parts =
            (Texts::read(columns, "cause_topic")?, columns.int("cause_partition")?, columns.long("cause_offset")?);
        let (Some(topic), Some(partition), Some(offset)) = parts else { return Ok(None) };
        Ok(Some(Self {
            topic,
            partition,
            offset,
            attempt: columns.int("cause_attempt")?,
            by: Words::read(columns, "cause_by", cause_by)?,
        }))
    }

    /// The cause of a row: known where topic, partition and offset all are.
    fn get(&self, row: usize) -> Option<CauseView<'_>> {
        let topic = self.topic.at(row)?;
        if self.partition.is_null(row) || self.offset.is_null(row) {
            return None;
        }
        Some(CauseView {
            topic,
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            attempt: self.attempt.as_ref().map_or(0, |column| column.value(row)),
            by: self.by.as_ref().and_then(|column| column.at(row)).unwrap_or(CauseBy::Build),
        })
    }
}

fn required_texts(columns: &Columns<'_>, name: &str) -> Result<Texts, OutcomeError> {
    let texts = Texts::read(columns, name)?.ok_or_else(|| columns.missing(name))?;
    if texts.null_count() > 0 { Err(columns.holds_nulls(name)) } else { Ok(texts) }
}

/// Reads a phase from its word.
pub(super) fn phase(word: &str) -> Option<Phase> {
    match word {
        "warm-up" => Some(Phase::WarmUp),
        "main" => Some(Phase::Main),
        "drain" => Some(Phase::Drain),
        _ => None,
    }
}

fn channel(word: &str) -> Option<Channel> {
    match word {
        "output" => Some(Channel::Output),
        "dead-letter" => Some(Channel::DeadLetter),
        "http" => Some(Channel::Http),
        "sink" => Some(Channel::Sink),
        _ => None,
    }
}

fn cause_by(word: &str) -> Option<CauseBy> {
    match word {
        "build" => Some(CauseBy::Build),
        "lineage" => Some(CauseBy::Lineage),
        "inferred" => Some(CauseBy::Inferred),
        _ => None,
    }
}

fn bytes_at(column: &BinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}
