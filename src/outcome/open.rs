//! Opening an outcome and reading its outputs, in order or by sequence.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Fields, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;

use super::batch::phase;
use super::columns::Columns;
use super::deliveries::{DeliveryBatches, Names};
use super::read_columns::ReadColumns;
use super::table::failed;
use super::words::Words;
use super::{EndingReport, Gauge, OutcomeError, Output, OutputBatch, Touches, gauges};
use crate::plan::Phase;
use crate::recording::ParquetInput;

/// Columns of outputs that are read as texts, many rows of which have the same one.
const TEXTS: [&str; 6] = ["topic", "phase", "channel", "cause_topic", "cause_by", "malformed"];

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// Rows of a batch where each may cost a page.
const PICKED_ROWS: usize = 1_024;

/// An outcome on disk, opened for reading. Cheap to clone; many readers may read at once.
#[derive(Debug, Clone)]
pub struct Outcome {
    path: PathBuf,
    ending: Arc<EndingReport>,
    outputs: Opened,
    columns: ReadColumns,
    deliveries: Option<Opened>,
    names: Arc<Names>,
}

impl Outcome {
    /// Opens the directory `path`; checks format version and columns.
    ///
    /// `outputs.parquet` (with the columns `sequence`, `topic`, `key` and `value`) and `ending.json` suffice.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where a file is missing or cannot be read, [`OutcomeError::Format`] where it is not what the format
    /// says; both name the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OutcomeError> {
        let path = path.as_ref().to_owned();
        let ending = EndingReport::read(&path)?;
        let outputs = Opened::open(path.join("outputs.parquet"))?.with_dictionaries();
        for column in ["sequence", "topic", "key", "value"] {
            if !outputs.has(column) {
                return Err(OutcomeError::format(&outputs.path, format_args!("column `{column}` is missing")));
            }
        }
        // A batch of no rows still has every column, so each type is checked here and not hours later.
        OutputBatch::read(&RecordBatch::new_empty(Arc::clone(outputs.metadata.schema())), &outputs.path)?;
        let deliveries = path.join("deliveries.parquet");
        let deliveries = if deliveries.exists() { Some(Opened::open(deliveries)?) } else { None };
        let names = deliveries.as_ref().map(Names::read).transpose()?.unwrap_or_default();
        let columns = ReadColumns::of(&outputs.metadata);
        Ok(Self { path, ending: Arc::new(ending), outputs, columns, deliveries, names: Arc::new(names) })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it ended.
    pub fn ending(&self) -> &EndingReport {
        &self.ending
    }

    /// Topics that its deliveries point into; empty where it has no deliveries.
    pub fn topics(&self) -> &[String] {
        &self.names.topics
    }

    /// Names of the faults that its deliveries point into: bit n stands for the n-th.
    pub fn faults(&self) -> &[String] {
        &self.names.faults
    }

    /// Number of outputs, from the footer.
    pub fn output_count(&self) -> u64 {
        self.outputs.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// Whether it is known when outputs arrived; an outcome made by another tool need not say.
    pub fn is_timed(&self) -> bool {
        self.outputs.has("arrived")
    }

    /// Outputs in order of sequence, in batches.
    ///
    /// # Errors
    ///
    /// The file cannot be read. A batch is an error where rows do not ascend by sequence.
    pub fn outputs(&self) -> Result<OutputBatches, OutcomeError> {
        Ok(self.batches_of(self.outputs.batches(Some(self.columns.whole.clone()))?))
    }

    /// Outputs as [`Outcome::outputs`], for [`OutputBatch::hashed`]: with hashes of values instead of values, and without saying when
    /// they arrived. None where the file has no hashes to rely on: they are relied on where nobody wrote the file anew.
    ///
    /// # Errors
    ///
    /// As [`Outcome::outputs`].
    pub fn hashed_outputs(&self) -> Result<Option<OutputBatches>, OutcomeError> {
        let Some(columns) = &self.columns.hashed else { return Ok(None) };
        Ok(Some(self.batches_of(self.outputs.batches(Some(columns.clone()))?)))
    }

    fn batches_of(&self, batches: ParquetRecordBatchReader) -> OutputBatches {
        OutputBatches { batches, file: self.outputs.clone(), last: i64::MIN }
    }

    /// Outputs as [`Outcome::outputs`], from the row group on that `sequence` stands in, or ahead of it where the footer does not say
    /// where that is.
    ///
    /// # Errors
    ///
    /// As [`Outcome::outputs`].
    pub fn outputs_from(&self, sequence: i64) -> Result<OutputBatches, OutcomeError> {
        let groups = self.outputs.metadata.metadata().row_groups();
        let ends_before = |group: &RowGroupMetaData| bounds(group).is_some_and(|(_, most)| most < sequence);
        let first = groups.iter().take_while(|group| ends_before(group)).count();
        let reader = self.outputs.builder()?.with_row_groups((first..groups.len()).collect());
        let reader = reader.with_projection(self.columns.whole.clone()).with_batch_size(BATCH_ROWS);
        let batches = reader.build().map_err(|error| failed(&self.outputs.path, error))?;
        Ok(self.batches_of(batches))
    }

    /// Deliveries in the order of the plan, in batches; none where the outcome has no `deliveries.parquet`.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] or [`OutcomeError::Format`] where the file cannot be read; both name it.
    pub fn deliveries(&self) -> Result<Option<DeliveryBatches>, OutcomeError> {
        self.deliveries.as_ref().map(|file| DeliveryBatches::start(file, &self.names)).transpose()
    }

    /// Figures over time, in the order they were taken; empty where the outcome has no `gauges.parquet`.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] or [`OutcomeError::Format`] where the file cannot be read; both name it.
    pub fn gauges(&self) -> Result<Vec<Gauge>, OutcomeError> {
        let path = self.path.join("gauges.parquet");
        if path.exists() { gauges::read(&Opened::open(path)?) } else { Ok(Vec::new()) }
    }

    /// Shows each gauge to `look`, in the order they were taken: microseconds since the schedule's start, name, figure.
    ///
    /// # Errors
    ///
    /// As [`Self::gauges`].
    pub fn each_gauge(&self, look: impl FnMut(i64, &str, f64)) -> Result<(), OutcomeError> {
        let path = self.path.join("gauges.parquet");
        if path.exists() { gauges::each(&Opened::open(path)?, look) } else { Ok(()) }
    }

    /// Shows when each output arrived to `look`, in microseconds since the schedule's start; those of the warm-up are left out.
    /// Reads nothing else of them. False where it is not known ([`Self::is_timed`]).
    ///
    /// # Errors
    ///
    /// As [`Self::outputs`].
    pub fn each_arrival(&self, look: impl FnMut(i64)) -> Result<bool, OutcomeError> {
        self.outputs.moments("arrived", look)
    }

    /// Shows when each delivery was handed over to `look`, likewise; those that never were are left out, too. False where the outcome
    /// has no `deliveries.parquet`, or it does not say.
    ///
    /// # Errors
    ///
    /// As [`Self::deliveries`].
    pub fn each_sent(&self, look: impl FnMut(i64)) -> Result<bool, OutcomeError> {
        self.deliveries.as_ref().map_or(Ok(false), |file| file.moments("sent", look))
    }

    /// Shows when each delivery was due to `look`, likewise. False where the outcome has no `deliveries.parquet`.
    ///
    /// # Errors
    ///
    /// As [`Self::deliveries`].
    pub fn each_due(&self, look: impl FnMut(i64)) -> Result<bool, OutcomeError> {
        self.deliveries.as_ref().map_or(Ok(false), |file| file.moments("due", look))
    }

    /// What faults at requests touched, in the order it was noted; none where the outcome has no `faults.ndjson`.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be read; an item is [`OutcomeError::Format`] where a line is none of them.
    pub fn touches(&self) -> Result<Option<Touches>, OutcomeError> {
        Touches::open(&self.path)
    }

    /// Reads the outputs with these sequences (ascending), wherever they stand. Sequences that are not there are left out.
    ///
    /// Costs about a page a sequence, whatever the length of the file: row groups are skipped by their statistics, pages by
    /// their index.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] or [`OutcomeError::Format`] where the file cannot be read; both name it.
    pub fn outputs_at(&self, sequences: &[i64]) -> Result<Vec<Output>, OutcomeError> {
        let mut outputs = Vec::new();
        for batch in self.batches_at(sequences)? {
            let batch = batch?;
            outputs.extend((0..batch.len()).map(|row| batch.get(row).to_output()));
        }
        Ok(outputs)
    }

    /// Reads as [`Outcome::outputs_at`] does, in batches small enough that whoever reads them can stop in between.
    ///
    /// # Errors
    ///
    /// As [`Outcome::outputs_at`].
    pub fn batches_at(&self, sequences: &[i64]) -> Result<OutputBatches, OutcomeError> {
        let (mut groups, mut selectors) = (Vec::new(), Vec::new());
        for (number, group) in self.outputs.metadata.metadata().row_groups().iter().enumerate() {
            let rows = self.rows_of(number, group, sequences)?;
            if !rows.is_empty() {
                groups.push(number);
                select(&mut selectors, &rows, group.num_rows() as usize);
            }
        }
        let reader = self.outputs.builder()?.with_row_groups(groups).with_row_selection(RowSelection::from(selectors));
        let reader = reader.with_projection(self.columns.whole.clone()).with_batch_size(PICKED_ROWS);
        let batches = reader.build().map_err(|error| failed(&self.outputs.path, error))?;
        Ok(self.batches_of(batches))
    }

    /// Finds the rows of a row group that hold one of `sequences`, ascending.
    fn rows_of(&self, number: usize, group: &RowGroupMetaData, sequences: &[i64]) -> Result<Vec<usize>, OutcomeError> {
        let Some((least, most)) = bounds(group) else { return self.scan(number, sequences) };
        let from = sequences.partition_point(|sequence| *sequence < least);
        let inside = &sequences[from..sequences.partition_point(|sequence| *sequence <= most)];
        // Sequences are distinct, so as many as fit between the bounds stand there without a gap, row by row.
        if most - least + 1 == group.num_rows() {
            return Ok(inside.iter().map(|sequence| (sequence - least) as usize).collect());
        }
        if inside.is_empty() { Ok(Vec::new()) } else { self.scan(number, inside) }
    }

    /// Reads the sequences of one row group to find rows.
    fn scan(&self, number: usize, sequences: &[i64]) -> Result<Vec<usize>, OutcomeError> {
        let projection = ProjectionMask::columns(self.outputs.parquet_schema(), ["sequence"]);
        let reader = self.outputs.builder()?.with_row_groups(vec![number]).with_projection(projection);
        let reader = reader.build().map_err(|error| failed(&self.outputs.path, error))?;
        let (mut rows, mut base) = (Vec::new(), 0);
        for batch in reader {
            let batch = self.outputs.batch(batch)?;
            let columns = Columns { batch: &batch, path: &self.outputs.path };
            let found: Int64Array = columns.required("sequence", columns.long("sequence")?)?;
            let wanted = |row: &usize| sequences.binary_search(&found.value(*row)).is_ok();
            rows.extend((0..found.len()).filter(wanted).map(|row| base + row));
            base += found.len();
        }
        Ok(rows)
    }
}

/// Least and greatest sequence of a row group, where its statistics say.
fn bounds(group: &RowGroupMetaData) -> Option<(i64, i64)> {
    let column = group.columns().iter().find(|column| column.column_path().string() == "sequence")?;
    match column.statistics()? {
        Statistics::Int64(found) => Some((*found.min_opt()?, *found.max_opt()?)),
        Statistics::Int32(found) => Some(((*found.min_opt()?).into(), (*found.max_opt()?).into())),
        _ => None,
    }
}

/// Adds the selection of `rows` (ascending, perhaps repeated) out of `total`.
fn select(selectors: &mut Vec<RowSelector>, rows: &[usize], total: usize) {
    let mut at = 0;
    for row in rows {
        if *row >= at {
            selectors.push(RowSelector::skip(row - at));
            selectors.push(RowSelector::select(1));
            at = row + 1;
        }
    }
    selectors.push(RowSelector::skip(total - at));
}

/// Batches of outputs, borrowed by row.
#[derive(Debug)]
pub struct OutputBatches {
    file: Opened,
    batches: ParquetRecordBatchReader,
    last: i64,
}

impl OutputBatches {
    fn check(&mut self, batch: &OutputBatch) -> Result<(), OutcomeError> {
        for &sequence in batch.sequences() {
            if sequence <= self.last {
                let problem = format!("sequence {sequence} stands after {}; rows must ascend by sequence", self.last);
                return Err(OutcomeError::format(&self.file.path, problem));
            }
            self.last = sequence;
        }
        Ok(())
    }
}

impl Iterator for OutputBatches {
    type Item = Result<OutputBatch, OutcomeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        let read = |batch| OutputBatch::read(&batch, &self.file.path);
        Some(self.file.batch(batch).and_then(read).and_then(|batch| self.check(&batch).map(|()| batch)))
    }
}

/// A Parquet file whose footer has been read.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl Opened {
    pub(super) fn open(path: PathBuf) -> Result<Self, OutcomeError> {
        let file = ParquetInput::open(&path).map_err(|source| OutcomeError::io(&path, source))?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged(&path, error))?;
        Ok(Self { path, metadata })
    }

    /// Leaves those of [`TEXTS`] whose pages are dictionaries as such: of few texts each is then decoded once, not row by row.
    fn with_dictionaries(self) -> Self {
        let groups = self.metadata.metadata().row_groups();
        let has_dictionary = |name: &str| {
            groups.iter().all(|group| {
                let mut columns = group.columns().iter();
                let column = columns.find(|column| column.column_path().string() == name);
                column.is_some_and(|column| column.dictionary_page_offset().is_some())
            })
        };
        let fields = self.metadata.schema().fields().iter().map(|field| {
            let is_read_so = TEXTS.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8;
            if is_read_so && has_dictionary(field.name()) {
                let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                Arc::new(field.as_ref().clone().with_data_type(kind))
            } else {
                Arc::clone(field)
            }
        });
        let schema = Schema::new_with_metadata(fields.collect::<Fields>(), self.metadata.schema().metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        match ArrowReaderMetadata::try_new(Arc::clone(self.metadata.metadata()), options) {
            Ok(metadata) => Self { metadata, ..self },
            // What cannot be read so is read as it was before.
            Err(_) => self,
        }
    }

    pub(super) fn parquet_schema(&self) -> &SchemaDescriptor {
        self.metadata.parquet_schema()
    }

    /// Text that the footer keeps under `name`.
    pub(super) fn note(&self, name: &str) -> Option<&str> {
        let notes = self.metadata.metadata().file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == name)?.value.as_deref()
    }

    /// All rows in batches, of all columns or of some.
    pub(super) fn batches(&self, projection: Option<ProjectionMask>) -> Result<ParquetRecordBatchReader, OutcomeError> {
        let builder = self.builder()?.with_batch_size(BATCH_ROWS);
        let builder = match projection {
            Some(projection) => builder.with_projection(projection),
            None => builder,
        };
        builder.build().map_err(|error| failed(&self.path, error))
    }

    /// Shows the moments in `column` to `look`, those of the warm-up left out; false where the file lacks it.
    fn moments(&self, column: &str, mut look: impl FnMut(i64)) -> Result<bool, OutcomeError> {
        if !self.has(column) {
            return Ok(false);
        }
        let projection = ProjectionMask::columns(self.parquet_schema(), [column, "phase"]);
        for batch in self.batches(Some(projection))? {
            let batch = self.batch(batch)?;
            let columns = Columns { batch: &batch, path: &self.path };
            let Some(moments) = columns.long(column)? else { return Ok(false) };
            let phases = Words::read(&columns, "phase", phase)?;
            let counts = |row: usize| phases.as_ref().and_then(|phases| phases.at(row)) != Some(Phase::WarmUp);
            (0..batch.num_rows())
                .filter(|row| moments.is_valid(*row) && counts(*row))
                .for_each(|row| look(moments.value(row)));
        }
        Ok(true)
    }

    /// Names the file of a batch that could not be decoded.
    pub(super) fn batch(&self, batch: Result<RecordBatch, ArrowError>) -> Result<RecordBatch, OutcomeError> {
        batch.map_err(|error| {
            let problem = match compression(&error.to_string()) {
                Some(name) => {
                    format!("its pages are compressed with {name}, which is not built in: write zstd, or none")
                }
                None => format!("damaged: {error}"),
            };
            OutcomeError::Format { path: self.path.clone(), problem }
        })
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<ParquetInput>, OutcomeError> {
        let file = ParquetInput::open(&self.path).map_err(|source| OutcomeError::io(&self.path, source))?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone()))
    }

    fn has(&self, column: &str) -> bool {
        self.metadata.schema().field_with_name(column).is_ok()
    }
}

/// Names the compression that a reader lacks, if that is what `error` says.
fn compression(error: &str) -> Option<&str> {
    let (_, name) = error.split_once("Disabled feature at compile time: ")?;
    Some(name.trim_end()).filter(|name| !name.contains(' '))
}

fn damaged(path: &Path, error: ParquetError) -> OutcomeError {
    match failed(path, error) {
        OutcomeError::Format { path, problem } => {
            OutcomeError::Format { path, problem: format!("truncated or no Parquet file ({problem})") }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::compression;

    #[test]
    fn a_compression_that_is_not_built_in_is_told_from_damage() {
        let lacking = "Parquet argument error: Parquet error: Disabled feature at compile time: snap";
        assert_eq!(compression(lacking), Some("snap"));
        assert_eq!(compression("Parquet argument error: EOF: eof decoding byte array"), None);
    }
}
