//! Writing `outputs.parquet`.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    BinaryBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::read_columns::{HASHES, value_hash};
use super::table::{Layout, Table, taken, taken_bytes};
use super::{CauseBy, CauseView, Channel, OutcomeError, Output};
use crate::plan::Phase;
use crate::recording::Header;

/// Rows gathered before they are handed to the file; few, so that they are still in the processor's cache.
const BATCH_ROWS: usize = 1_024;

/// Bytes of values gathered before they are handed to the file.
const BATCH_BYTES: usize = 8 << 20;

/// One output as it is written, borrowed. Fields as in [`Output`].
#[derive(Debug, Clone, Copy)]
pub struct OutputRow<'a> {
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
    /// Headers in order.
    pub headers: &'a [Header],
    /// Cause.
    pub cause: Option<CauseView<'a>>,
    /// Why it could not be read.
    pub malformed: Option<&'a str>,
}

impl<'a> From<&'a Output> for OutputRow<'a> {
    fn from(output: &'a Output) -> Self {
        Self {
            sequence: output.sequence,
            arrived_us: output.arrived_us,
            phase: output.phase,
            channel: output.channel,
            topic: &output.topic,
            partition: output.partition,
            timestamp_ms: output.timestamp_ms,
            key: output.key.as_deref(),
            value: output.value.as_deref(),
            headers: &output.headers,
            cause: output.cause.as_ref().map(|cause| CauseView {
                topic: &cause.topic,
                partition: cause.partition,
                offset: cause.offset,
                attempt: cause.attempt,
                by: cause.by,
            }),
            malformed: output.malformed.as_deref(),
        }
    }
}

/// Writes `outputs.parquet`, in order of sequence.
#[derive(Debug)]
pub struct OutputsWriter {
    table: Table,
    last: Option<i64>,
    rows: usize,
    bytes: usize,
    sequence: Int64Builder,
    arrived: Int64Builder,
    phase: StringBuilder,
    channel: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    timestamp: TimestampMillisecondBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    hash: Int64Builder,
    headers: ListBuilder<StructBuilder>,
    cause_topic: StringBuilder,
    cause_partition: Int32Builder,
    cause_offset: Int64Builder,
    cause_attempt: Int32Builder,
    cause_by: StringBuilder,
    malformed: StringBuilder,
}

impl OutputsWriter {
    /// Creates `outputs.parquet` in `dir`; a file of that name must not be there.
    pub(super) fn create(dir: &Path) -> Result<Self, OutcomeError> {
        let table = Table::create(dir.join("outputs.parquet"), Arc::clone(&SCHEMA), LAYOUT, &[])?;
        let pair = StructBuilder::from_fields(pair_fields(), 0);
        Ok(Self {
            table,
            last: None,
            rows: 0,
            bytes: 0,
            sequence: Int64Builder::new(),
            arrived: Int64Builder::new(),
            phase: StringBuilder::new(),
            channel: StringBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            timestamp: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            hash: Int64Builder::new(),
            headers: ListBuilder::new(pair).with_field(headers_item()),
            cause_topic: StringBuilder::new(),
            cause_partition: Int32Builder::new(),
            cause_offset: Int64Builder::new(),
            cause_attempt: Int32Builder::new(),
            cause_by: StringBuilder::new(),
            malformed: StringBuilder::new(),
        })
    }

    /// The least sequence that the next output may have.
    pub fn next_sequence(&self) -> i64 {
        self.last.map_or(0, |last| last + 1)
    }

    /// Takes one output.
    ///
    /// # Errors
    ///
    /// Its sequence is not above the last one's ([`OutcomeError::Format`]), or the file cannot be written.
    pub fn append(&mut self, output: &OutputRow<'_>) -> Result<(), OutcomeError> {
        if let Some(last) = self.last.filter(|last| output.sequence <= *last) {
            let problem = format!("sequence {} cannot follow {last}", output.sequence);
            return Err(OutcomeError::format(Path::new("outputs.parquet"), problem));
        }
        self.last = Some(output.sequence);
        self.sequence.append_value(output.sequence);
        self.arrived.append_value(output.arrived_us);
        self.phase.append_value(phase_word(output.phase));
        self.channel.append_value(channel_word(output.channel));
        self.topic.append_value(output.topic);
        self.partition.append_value(output.partition);
        self.timestamp.append_option(output.timestamp_ms);
        self.key.append_option(output.key);
        self.value.append_option(output.value);
        self.hash.append_option(output.value.map(|value| value_hash(value) as i64));
        self.append_headers(output.headers);
        self.cause_topic.append_option(output.cause.map(|cause| cause.topic));
        self.cause_partition.append_option(output.cause.map(|cause| cause.partition));
        self.cause_offset.append_option(output.cause.map(|cause| cause.offset));
        self.cause_attempt.append_option(output.cause.map(|cause| cause.attempt));
        self.cause_by.append_option(output.cause.map(|cause| cause_by_word(cause.by)));
        self.malformed.append_option(output.malformed);
        self.rows += 1;
        self.bytes += output.value.map_or(0, <[u8]>::len) + output.key.map_or(0, <[u8]>::len);
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.hand_over() } else { Ok(()) }
    }

    /// Makes everything taken so far readable from the file, even if this process is killed the next moment. Each call closes a
    /// row group, so it is for every few seconds at most.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.hand_over()?;
        self.table.checkpoint()
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(), OutcomeError> {
        self.hand_over()?;
        self.table.finish()
    }

    fn append_headers(&mut self, headers: &[Header]) {
        let pairs = self.headers.values();
        for header in headers {
            if let Some(names) = pairs.field_builder::<StringBuilder>(0) {
                names.append_value(&header.name);
            }
            if let Some(values) = pairs.field_builder::<BinaryBuilder>(1) {
                values.append_option(header.value.as_deref());
            }
            pairs.append(true);
        }
        self.headers.append(true);
    }

    fn hand_over(&mut self) -> Result<(), OutcomeError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        self.bytes = 0;
        let long = || Int64Builder::with_capacity(BATCH_ROWS);
        let int = || Int32Builder::with_capacity(BATCH_ROWS);
        let time = TimestampMillisecondBuilder::with_capacity(BATCH_ROWS).with_timezone("UTC");
        let columns = vec![
            taken(&mut self.sequence, long()),
            taken(&mut self.arrived, long()),
            taken_bytes(&mut self.phase, BATCH_ROWS),
            taken_bytes(&mut self.channel, BATCH_ROWS),
            taken_bytes(&mut self.topic, BATCH_ROWS),
            taken(&mut self.partition, int()),
            taken(&mut self.timestamp, time),
            taken_bytes(&mut self.key, BATCH_ROWS),
            taken_bytes(&mut self.value, BATCH_ROWS),
            taken(&mut self.hash, long()),
            Arc::new(self.headers.finish()),
            taken_bytes(&mut self.cause_topic, BATCH_ROWS),
            taken(&mut self.cause_partition, int()),
            taken(&mut self.cause_offset, long()),
            taken(&mut self.cause_attempt, int()),
            taken_bytes(&mut self.cause_by, BATCH_ROWS),
            taken_bytes(&mut self.malformed, BATCH_ROWS),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
            .map_err(|error| OutcomeError::format(Path::new("outputs.parquet"), error))?;
        self.table.write(&batch)
    }
}

const LAYOUT: &[(&str, Layout)] = &[
    ("sequence", Layout::Searched),
    ("arrived", Layout::Numbers),
    ("phase", Layout::Words),
    ("channel", Layout::Words),
    ("topic", Layout::Words),
    ("partition", Layout::Numbers),
    ("timestamp", Layout::SparseNumbers),
    ("key", Layout::Plain),
    ("value", Layout::Plain),
    (HASHES, Layout::Hashes),
    ("headers.list.item.name", Layout::SparseWords),
    ("headers.list.item.value", Layout::Plain),
    ("cause_topic", Layout::SparseWords),
    ("cause_partition", Layout::Numbers),
    ("cause_offset", Layout::Numbers),
    ("cause_attempt", Layout::Numbers),
    ("cause_by", Layout::Words),
    ("malformed", Layout::SparseWords),
];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("sequence", DataType::Int64, false),
        Field::new("arrived", DataType::Int64, false),
        Field::new("phase", DataType::Utf8, false),
        Field::new("channel", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("timestamp", time, true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new(HASHES, DataType::Int64, true),
        Field::new("headers", DataType::List(Arc::new(headers_item())), false),
        Field::new("cause_topic", DataType::Utf8, true),
        Field::new("cause_partition", DataType::Int32, true),
        Field::new("cause_offset", DataType::Int64, true),
        Field::new("cause_attempt", DataType::Int32, true),
        Field::new("cause_by", DataType::Utf8, true),
        Field::new("malformed", DataType::Utf8, true),
    ]))
});

fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

fn headers_item() -> Field {
    Field::new("item", DataType::Struct(pair_fields()), false)
}

pub(super) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Main => "main",
        Phase::Drain => "drain",
    }
}

fn channel_word(channel: Channel) -> &'static str {
    match channel {
        Channel::Output => "output",
        Channel::DeadLetter => "dead-letter",
        Channel::Http => "http",
        Channel::Sink => "sink",
    }
}

fn cause_by_word(by: CauseBy) -> &'static str {
    match by {
        CauseBy::Build => "build",
        CauseBy::Lineage => "lineage",
        CauseBy::Inferred => "inferred",
    }
}
