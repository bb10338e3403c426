//! One Parquet file that grows in row groups and can be read at any moment after its first.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, GenericByteBuilder, RecordBatch};
use arrow::datatypes::{ByteArrayType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::OutcomeError;
use super::read_columns::WRITER;

/// Rows after which a row group is closed: what a reader has to look through to find one row.
const ROWS_MAX: usize = 65_536;

/// Bytes held in memory after which a row group is closed early.
const BYTES_MAX: usize = 32 << 20;

/// Rows of one page. Pages are what reading a few scattered rows costs, so they are small.
const PAGE_ROWS: usize = 2_048;

/// Bytes of keys or values after which a page is closed early, as all of it is decompressed for any of its rows.
const PAGE_BYTES: usize = 64 << 10;

/// Rows after which a page may be closed.
const PAGE_STEP_ROWS: usize = 512;

/// A Parquet file under construction.
///
/// After each row group a footer is written behind it, which the next row group overwrites: a process that is killed leaves a
/// file that any reader opens, with all but the last, unfinished row group.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    writer: ArrowWriter<File>,
    footers: File,
    descriptor: Arc<SchemaDescriptor>,
    notes: Vec<KeyValue>,
    rows: i64,
}

/// How a column is laid down.
pub(super) enum Layout {
    /// Few distinct texts: by dictionary.
    Words,
    /// Integers close to their neighbours: by difference.
    Numbers,
    /// Integers that ascend and are searched: by difference, with least and greatest value of each row group.
    Searched,
    /// Few distinct texts, or none at all in many a file: by dictionary, with how many rows have none.
    SparseWords,
    /// Integers close to their neighbours, or none at all: by difference, likewise.
    SparseNumbers,
    /// Integers that are like any others: as they are.
    Hashes,
    /// Anything else, as it is.
    Plain,
}

impl Table {
    /// Creates the file `path`, which must not exist, with `notes` (name, text) in its footer. Each column of `layout` stands
    /// for a leaf of the schema by its dotted path.
    pub(super) fn create(
        path: PathBuf,
        schema: SchemaRef,
        layout: &[(&str, Layout)],
        notes: &[(&str, String)],
    ) -> Result<Self, OutcomeError> {
        let io = |source| OutcomeError::io(&path, source);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io)?;
        let footers = OpenOptions::new().write(true).open(&path).map_err(io)?;
        let notes: Vec<_> = notes.iter().map(|(name, text)| KeyValue::new((*name).to_owned(), text.clone())).collect();
        let properties = properties(layout, &notes).map_err(|error| failed(&path, error))?;
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let descriptor =
            parquet::arrow::ArrowSchemaConverter::new().convert(&schema).map_err(|error| failed(&path, error))?;
        let writer = ArrowWriter::try_new_with_options(file, schema, options).map_err(|error| failed(&path, error))?;
        let mut table = Self { path, writer, footers, descriptor: Arc::new(descriptor), notes, rows: 0 };
        table.mark()?;
        Ok(table)
    }

    /// Takes rows; closes the row group where it is full.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), OutcomeError> {
        self.writer.write(batch).map_err(|error| failed(&self.path, error))?;
        self.rows += batch.num_rows() as i64;
        if self.writer.in_progress_rows() >= ROWS_MAX || self.writer.memory_size() >= BYTES_MAX {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes everything taken so far readable from the file.
    pub(super) fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        if self.writer.in_progress_rows() == 0 {
            return Ok(());
        }
        self.writer.flush().map_err(|error| failed(&self.path, error))?;
        self.mark()
    }

    /// Writes the last footer.
    pub(super) fn finish(mut self) -> Result<(), OutcomeError> {
        self.writer.finish().map_err(|error| failed(&self.path, error))?;
        // A provisional footer may have reached further than the last one does.
        self.footers.set_len(self.writer.bytes_written() as u64).map_err(|source| OutcomeError::io(&self.path, source))
    }

    /// Writes a footer behind the last row group, where the next one will stand.
    fn mark(&mut self) -> Result<(), OutcomeError> {
        self.writer.sync().map_err(|source| OutcomeError::io(&self.path, source))?;
        let about = FileMetaData::new(
            2,
            self.rows,
            Some(WRITER.to_owned()),
            Some(self.notes.clone()),
            Arc::clone(&self.descriptor),
            None,
        );
        let metadata = ParquetMetaData::new(about, self.writer.flushed_row_groups().to_vec());
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish().map_err(|error| failed(&self.path, error))?;
        let place = self.writer.bytes_written() as u64;
        let io = |source| OutcomeError::io(&self.path, source);
        self.footers.seek(SeekFrom::Start(place)).map_err(io)?;
        self.footers.write_all(&footer).map_err(io)?;
        self.footers.set_len(place + footer.len() as u64).map_err(io)
    }
}

// Numbers gain little by compression, but a damaged page is then found out by the decompressor; the decoder of differences would
// take any bytes for numbers, or panic on them.
fn properties(layout: &[(&str, Layout)], notes: &[KeyValue]) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(WRITER.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_STEP_ROWS)
        .set_max_row_group_row_count(None)
        .set_writer_version(parquet::file::properties::WriterVersion::PARQUET_2_0)
        .set_key_value_metadata(Some(notes.to_vec()));
    for (name, layout) in layout {
        let column = ColumnPath::new(name.split('.').map(str::to_owned).collect());
        properties = match layout {
            Layout::Words => properties
                .set_column_dictionary_enabled(column.clone(), true)
                .set_column_compression(column, Compression::UNCOMPRESSED),
            Layout::SparseWords => properties
                .set_column_dictionary_enabled(column.clone(), true)
                .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
                .set_column_statistics_enabled(column, EnabledStatistics::Chunk),
            Layout::Hashes => properties
                .set_column_encoding(column.clone(), Encoding::PLAIN)
                .set_column_compression(column, Compression::UNCOMPRESSED),
            Layout::Numbers => properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            Layout::Searched | Layout::SparseNumbers => properties
                .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_statistics_enabled(column, EnabledStatistics::Chunk),
            Layout::Plain => properties
                .set_column_encoding(column.clone(), Encoding::PLAIN)
                .set_column_data_page_size_limit(column, PAGE_BYTES),
        };
    }
    Ok(properties.build())
}

/// Takes a column and leaves `next` in its place: a finished builder has no room left and would grow step by step again.
pub(super) fn taken<B: ArrayBuilder>(builder: &mut B, next: B) -> ArrayRef {
    std::mem::replace(builder, next).finish()
}

/// Takes a column of texts or bytes and leaves room for `rows` with as many bytes.
pub(super) fn taken_bytes<T: ByteArrayType>(builder: &mut GenericByteBuilder<T>, rows: usize) -> ArrayRef {
    let next = GenericByteBuilder::with_capacity(rows, builder.values_slice().len());
    taken(builder, next)
}

/// Names the file of an error of the Parquet library; what the system says comes through as such.
pub(super) fn failed(path: &Path, error: ParquetError) -> OutcomeError {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(source) => OutcomeError::io(path, *source),
            Err(cause) => OutcomeError::format(path, cause),
        },
        other => OutcomeError::format(path, other),
    }
}
