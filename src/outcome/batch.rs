//! Outputs in columns, as they come from `outputs.parquet`.

use std::path::Path;

use arrow::array::{Array, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};

use super::columns::{Columns, HeadersColumn};
use super::{Cause, CauseBy, Channel, OutcomeError, Output};
use crate::plan::Phase;
use crate::recording::HeadersView;

/// Outputs in columns; a row costs no copy.
#[derive(Debug, Clone)]
pub struct OutputBatch {
    sequence: Int64Array,
    topic: StringArray,
    key: BinaryArray,
    value: BinaryArray,
    arrived: Option<Int64Array>,
    phase: Option<Vec<Phase>>,
    channel: Option<Vec<Channel>>,
    partition: Option<Int32Array>,
    timestamp: Option<Int64Array>,
    headers: Option<HeadersColumn>,
    cause: Option<CauseColumns>,
    malformed: Option<StringArray>,
}

#[derive(Debug, Clone)]
struct CauseColumns {
    topic: StringArray,
    partition: Int32Array,
    offset: Int64Array,
    attempt: Option<Int32Array>,
    by: Option<Vec<Option<CauseBy>>>,
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

    /// Output at `row`, borrowed.
    ///
    /// # Panics
    ///
    /// `row` is not below [`OutputBatch::len`].
    pub fn get(&self, row: usize) -> OutputView<'_> {
        OutputView {
            sequence: self.sequence.value(row),
            arrived_us: self.arrived.as_ref().map_or(0, |column| column.value(row)),
            phase: self.phase.as_ref().map_or(Phase::Main, |column| column[row]),
            channel: self.channel.as_ref().map_or(Channel::Output, |column| column[row]),
            topic: self.topic.value(row),
            partition: self.partition.as_ref().map_or(0, |column| column.value(row)),
            timestamp_ms: self.timestamp.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row)),
            key: bytes_at(&self.key, row),
            value: bytes_at(&self.value, row),
            cause: self.cause.as_ref().and_then(|columns| columns.get(row)),
            malformed: self.malformed.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row)),
            headers: self.headers.as_ref().map_or(HeadersView::EMPTY, |column| column.at(row)),
        }
    }

    /// Takes the columns of `batch`, a part of the file at `path`, apart.
    pub(super) fn read(batch: &RecordBatch, path: &Path) -> Result<Self, OutcomeError> {
        let columns = Columns { batch, path };
        Ok(Self {
            sequence: columns.required("sequence", columns.long("sequence")?)?,
            topic: columns.required("topic", columns.text("topic")?)?,
            key: columns.bytes("key")?.unwrap_or_else(|| BinaryArray::new_null(batch.num_rows())),
            value: columns.bytes("value")?.unwrap_or_else(|| BinaryArray::new_null(batch.num_rows())),
            arrived: columns.long("arrived")?,
            phase: words(&columns, "phase", phase)?,
            channel: words(&columns, "channel", channel)?,
            partition: columns.int("partition")?,
            timestamp: columns.time_ms("timestamp")?,
            headers: columns.headers("headers")?,
            cause: CauseColumns::read(&columns)?,
            malformed: columns.text("malformed")?,
        })
    }
}

impl CauseColumns {
    fn read(columns: &Columns<'_>) -> Result<Option<Self>, OutcomeError> {
        let parts = (columns.text("cause_topic")?, columns.int("cause_partition")?, columns.long("cause_offset")?);
        let (Some(topic), Some(partition), Some(offset)) = parts else { return Ok(None) };
        Ok(Some(Self {
            topic,
            partition,
            offset,
            attempt: columns.int("cause_attempt")?,
            by: nullable_words(columns, "cause_by", cause_by)?,
        }))
    }

    /// The cause of a row: known where topic, partition and offset all are.
    fn get(&self, row: usize) -> Option<CauseView<'_>> {
        if self.topic.is_null(row) || self.partition.is_null(row) || self.offset.is_null(row) {
            return None;
        }
        Some(CauseView {
            topic: self.topic.value(row),
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            attempt: self.attempt.as_ref().map_or(0, |column| column.value(row)),
            by: self.by.as_ref().and_then(|column| column[row]).unwrap_or(CauseBy::Build),
        })
    }
}

/// Reads a column of words; a null stands for the default.
pub(super) fn words<T: Copy + Default>(
    columns: &Columns<'_>,
    name: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, OutcomeError> {
    Ok(nullable_words(columns, name, read)?.map(|words| words.into_iter().map(Option::unwrap_or_default).collect()))
}

fn nullable_words<T: Copy>(
    columns: &Columns<'_>,
    name: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<Vec<Option<T>>>, OutcomeError> {
    let Some(column) = columns.text(name)? else { return Ok(None) };
    let unknown = |word: &str| {
        OutcomeError::format(columns.path, format_args!("column `{name}` holds the unknown word `{word}`"))
    };
    let word = |word: Option<&str>| word.map(|word| read(word).ok_or_else(|| unknown(word))).transpose();
    column.iter().map(word).collect::<Result<_, _>>().map(Some)
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
