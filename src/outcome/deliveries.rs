//! Writing and reading `deliveries.parquet`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::OutcomeError;
use super::batch::phase;
use super::columns::Columns;
use super::open::Opened;
use super::outputs::phase_word;
use super::table::{Layout, Table, taken, taken_bytes};
use super::words::Words;
use crate::plan::Delivery;
use crate::recording::Place;

/// Rows gathered before they are handed to the file.
const BATCH_ROWS: usize = 4_096;

/// Note in the footer that holds the topics, as a JSON array.
const TOPICS: &str = "rehearsal.topics";

/// Note in the footer that holds the faults, as a JSON array.
const FAULTS: &str = "rehearsal.faults";

/// A delivery and when it was really handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What was planned; `topic` indexes [`Outcome::topics`](super::Outcome::topics), bit n of `faults` stands for
    /// [`Outcome::faults`](super::Outcome::faults)`[n]`. Its place is not kept: read events again by offset.
    pub delivery: Delivery,
    /// When it was handed over, in microseconds since the schedule's start; none if never.
    pub sent_us: Option<i64>,
}

/// Writes deliveries, in the order of the plan.
#[derive(Debug)]
pub struct DeliveriesWriter {
    table: Table,
    schema: SchemaRef,
    topics: Vec<String>,
    faults: Vec<String>,
    rows: usize,
    due: Int64Builder,
    sent: Int64Builder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    position: Int64Builder,
    attempt: Int32Builder,
    phase: StringBuilder,
    fault: ListBuilder<StringBuilder>,
}

impl DeliveriesWriter {
    /// Creates the file `path` for deliveries of a drive, with the column `sent`. A delivery's `topic` and `faults` point into
    /// `topics` and `faults`.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file is there already or cannot be made.
    pub fn create(path: impl Into<PathBuf>, topics: &[String], faults: &[String]) -> Result<Self, OutcomeError> {
        let schema = schema();
        let note = |names: &[String]| serde_json::Value::from(names.to_vec()).to_string();
        let notes = [(TOPICS, note(topics)), (FAULTS, note(faults))];
        Ok(Self {
            table: Table::create(path.into(), Arc::clone(&schema), LAYOUT, &notes)?,
            schema,
            topics: topics.to_vec(),
            faults: faults.to_vec(),
            rows: 0,
            due: Int64Builder::new(),
            sent: Int64Builder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            position: Int64Builder::new(),
            attempt: Int32Builder::new(),
            phase: StringBuilder::new(),
            fault: ListBuilder::new(StringBuilder::new()).with_field(fault_item()),
        })
    }

    /// Takes one delivery and when it was handed over, in microseconds since the schedule's start.
    ///
    /// # Errors
    ///
    /// It points beyond the topics or faults of this file ([`OutcomeError::Format`]), or the file cannot be written.
    pub fn append(&mut self, delivery: &Delivery, sent_us: Option<i64>) -> Result<(), OutcomeError> {
        let beyond = |what| {
            OutcomeError::format(Path::new("deliveries.parquet"), format_args!("a delivery of an unknown {what}"))
        };
        let topic = self.topics.get(delivery.topic as usize).ok_or_else(|| beyond("topic"))?;
        let mut faults = delivery.faults;
        while faults != 0 {
            let name = self.faults.get(faults.trailing_zeros() as usize).ok_or_else(|| beyond("fault"))?;
            self.fault.values().append_value(name);
            faults &= faults - 1;
        }
        self.fault.append(true);
        self.due.append_value(delivery.due_us);
        self.sent.append_option(sent_us);
        self.topic.append_value(topic);
        self.partition.append_value(delivery.partition);
        self.offset.append_value(delivery.offset);
        self.position.append_value(delivery.position);
        self.attempt.append_value(delivery.attempt);
        self.phase.append_value(phase_word(delivery.phase));
        self.rows += 1;
        if self.rows >= BATCH_ROWS { self.hand_over() } else { Ok(()) }
    }

    /// Makes everything taken so far readable from the file.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.hand_over()?;
        self.table.checkpoint()
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn finish(mut self) -> Result<(), OutcomeError> {
        self.hand_over()?;
        self.table.finish()
    }

    fn hand_over(&mut self) -> Result<(), OutcomeError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let long = || Int64Builder::with_capacity(BATCH_ROWS);
        let int = || Int32Builder::with_capacity(BATCH_ROWS);
        let columns = vec![
            taken(&mut self.due, long()),
            taken(&mut self.sent, long()),
            taken_bytes(&mut self.topic, BATCH_ROWS),
            taken(&mut self.partition, int()),
            taken(&mut self.offset, long()),
            taken(&mut self.position, long()),
            taken(&mut self.attempt, int()),
            taken_bytes(&mut self.phase, BATCH_ROWS),
            Arc::new(self.fault.finish()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| OutcomeError::format(Path::new("deliveries.parquet"), error))?;
        self.table.write(&batch)
    }
}

const LAYOUT: &[(&str, Layout)] = &[
    ("due", Layout::Numbers),
    ("sent", Layout::Numbers),
    ("topic", Layout::Words),
    ("partition", Layout::Numbers),
    ("offset", Layout::Numbers),
    ("position", Layout::Numbers),
    ("attempt", Layout::Numbers),
    ("phase", Layout::Words),
    ("faults.list.item", Layout::Words),
];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("due", DataType::Int64, false),
        Field::new("sent", DataType::Int64, true),
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("position", DataType::Int64, false),
        Field::new("attempt", DataType::Int32, false),
        Field::new("phase", DataType::Utf8, false),
        Field::new("faults", DataType::List(Arc::new(fault_item())), false),
    ]))
}

fn fault_item() -> Field {
    Field::new("item", DataType::Utf8, false)
}

/// The names that a file's deliveries point into.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) topics: Vec<String>,
    pub(super) faults: Vec<String>,
}

impl Names {
    /// Reads them from the footer or, where another tool wrote the file, gathers them from its columns.
    pub(super) fn read(file: &Opened) -> Result<Self, OutcomeError> {
        let note = |name| file.note(name).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
        match (note(TOPICS), note(FAULTS)) {
            (Some(topics), Some(faults)) => Ok(Self { topics, faults }),
            _ => Self::gather(file),
        }
    }

    fn gather(file: &Opened) -> Result<Self, OutcomeError> {
        let (mut topics, mut faults) = (BTreeSet::new(), BTreeSet::new());
        let projection = ProjectionMask::columns(file.parquet_schema(), ["topic", "faults"]);
        for batch in file.batches(Some(projection))? {
            let batch = file.batch(batch)?;
            let columns = Columns { batch: &batch, path: &file.path };
            let topic = columns.required("topic", columns.text("topic")?)?;
            topic.iter().flatten().for_each(|name| note_name(&mut topics, name));
            if let Some((_, texts)) = columns.text_lists("faults")? {
                texts.iter().flatten().for_each(|name| note_name(&mut faults, name));
            }
        }
        if faults.len() > 64 {
            return Err(OutcomeError::format(
                &file.path,
                format_args!("it names {} faults; 64 are the most", faults.len()),
            ));
        }
        Ok(Self { topics: topics.into_iter().collect(), faults: faults.into_iter().collect() })
    }

    fn topic(&self, name: &str) -> Option<u32> {
        self.topics.iter().position(|topic| topic == name).map(|at| at as u32)
    }

    fn fault(&self, name: &str) -> Option<u64> {
        self.faults.iter().position(|fault| fault == name).map(|at| 1 << at)
    }
}

fn note_name(names: &mut BTreeSet<String>, name: &str) {
    if !names.contains(name) {
        names.insert(name.to_owned());
    }
}

/// Batches of receipts, in the order of the plan.
#[derive(Debug)]
pub struct DeliveryBatches {
    file: Opened,
    names: Arc<Names>,
    batches: ParquetRecordBatchReader,
}

impl DeliveryBatches {
    pub(super) fn start(file: &Opened, names: &Arc<Names>) -> Result<Self, OutcomeError> {
        Ok(Self { file: file.clone(), names: Arc::clone(names), batches: file.batches(None)? })
    }

    fn read(&self, batch: &RecordBatch) -> Result<Vec<Receipt>, OutcomeError> {
        let columns = Columns { batch, path: &self.file.path };
        let topic = columns.required("topic", columns.text("topic")?)?;
        let partition = columns.required("partition", columns.int("partition")?)?;
        let offset = columns.required("offset", columns.long("offset")?)?;
        let due = columns.required("due", columns.long("due")?)?;
        let (sent, position, attempt) = (columns.long("sent")?, columns.long("position")?, columns.int("attempt")?);
        let phases = Words::read(&columns, "phase", phase)?;
        let faults = columns.text_lists("faults")?;
        let unknown =
            |name: &str| OutcomeError::format(&self.file.path, format_args!("its footer lacks the name `{name}`"));
        let receipt = |row: usize| {
            let mut bits = 0;
            if let Some((offsets, names)) = &faults {
                for at in offsets[row]..offsets[row + 1] {
                    let name = names.value(at as usize);
                    bits |= self.names.fault(name).ok_or_else(|| unknown(name))?;
                }
            }
            let name = topic.value(row);
            let delivery = Delivery {
                due_us: due.value(row),
                topic: self.names.topic(name).ok_or_else(|| unknown(name))?,
                partition: partition.value(row),
                offset: offset.value(row),
                position: position.as_ref().map_or(offset.value(row), |column| column.value(row)),
                attempt: attempt.as_ref().map_or(0, |column| column.value(row)),
                phase: phases.as_ref().and_then(|column| column.at(row)).unwrap_or_default(),
                faults: bits,
                place: Place::default(),
            };
            let sent_us = sent.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row));
            Ok(Receipt { delivery, sent_us })
        };
        (0..batch.num_rows()).map(receipt).collect()
    }
}

impl Iterator for DeliveryBatches {
    type Item = Result<Vec<Receipt>, OutcomeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(self.file.batch(batch).and_then(|batch| self.read(&batch)))
    }
}
