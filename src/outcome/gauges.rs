//! Writing and reading `gauges.parquet`: figures over time, one a row.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};

use super::OutcomeError;
use super::columns::Columns;
use super::open::Opened;
use super::table::{Layout, Table};

/// Rows gathered before they are handed to the file.
const BATCH_ROWS: usize = 1_024;

/// A figure at a moment.
///
/// Names that drives write: `lag` (deliveries handed over that nothing has acknowledged yet), `freshness-us` (age of the oldest
/// of them); of the build's process and all that it started `cpu-us` (processor time used so far), `memory-bytes` (resident),
/// `memory-peak-bytes` (the most that is known of up to then) and `processes`; and `metrics/SERIES` for each series that the build itself
/// offers, as Prometheus text has it, with `@1` behind it for the second of several processes.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Moment, in microseconds since the schedule's start.
    pub time_us: i64,
    /// What was measured.
    pub name: String,
    /// Figure, in the unit that the name ends in.
    pub value: f64,
}

/// Writes `gauges.parquet`.
#[derive(Debug)]
pub struct GaugesWriter {
    table: Table,
    schema: SchemaRef,
    rows: Vec<Gauge>,
}

impl GaugesWriter {
    pub(super) fn create(dir: &Path) -> Result<Self, OutcomeError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("time_us", DataType::Int64, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("value", DataType::Float64, false),
        ]));
        let layout = [("time_us", Layout::Numbers), ("name", Layout::Words), ("value", Layout::Plain)];
        let table = Table::create(dir.join("gauges.parquet"), Arc::clone(&schema), &layout, &[])?;
        Ok(Self { table, schema, rows: Vec::new() })
    }

    /// Takes one figure.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn append(&mut self, time_us: i64, name: &str, value: f64) -> Result<(), OutcomeError> {
        self.rows.push(Gauge { time_us, name: name.to_owned(), value });
        if self.rows.len() >= BATCH_ROWS { self.hand_over() } else { Ok(()) }
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

    pub(super) fn finish(mut self) -> Result<(), OutcomeError> {
        self.hand_over()?;
        self.table.finish()
    }

    fn hand_over(&mut self) -> Result<(), OutcomeError> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.time_us).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.name))),
            Arc::new(rows.iter().map(|row| row.value).collect::<Float64Array>()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| OutcomeError::format(Path::new("gauges.parquet"), error))?;
        self.table.write(&batch)
    }
}

/// Reads all gauges of `file`; there are some twenty a second.
pub(super) fn read(file: &Opened) -> Result<Vec<Gauge>, OutcomeError> {
    let mut gauges = Vec::new();
    each(file, |time_us, name, value| gauges.push(Gauge { time_us, name: name.to_owned(), value }))?;
    Ok(gauges)
}

/// Shows all gauges of `file` to `look`, in order: time, name, value.
pub(super) fn each(file: &Opened, mut look: impl FnMut(i64, &str, f64)) -> Result<(), OutcomeError> {
    for batch in file.batches(None)? {
        let batch = file.batch(batch)?;
        let columns = Columns { batch: &batch, path: &file.path };
        let times = columns.required("time_us", columns.long("time_us")?)?;
        let names = columns.required("name", columns.text("name")?)?;
        let values = columns.required("value", batch.column_by_name("value").cloned())?;
        let values = values
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| OutcomeError::format(&file.path, "column `value` is no Float64"))?;
        (0..batch.num_rows()).for_each(|row| look(times.value(row), names.value(row), values.value(row)));
    }
    Ok(())
}
