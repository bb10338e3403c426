//! One segment as it is read.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest as _, Sha256};

use super::batch::check_column;
use super::coverage::{Coverage, Tracker};
use super::parquet_input::{ParquetInput, ReadFrom};
use super::schema::{self, Columns};
use super::segment_writer::hex;
use super::store::{StoredFile, StoredRead};
use super::{EventBatch, RecordingError};

/// Events of a batch at most.
const BATCH_ROWS: usize = 4096;

/// Bytes of a batch that is aimed at: batches of large events hold fewer.
const BATCH_BYTES: usize = 8 << 20;

/// An opened segment: its file and footer.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    input: SegmentFile,
    metadata: ArrowReaderMetadata,
}

impl Segment {
    /// Opens the segment and checks that it has the columns of format 1.
    pub(super) fn open(path: &Path) -> Result<Self, RecordingError> {
        let input = SegmentFile::open(path).map_err(RecordingError::file("open", path))?;
        Self::of(input, path.to_owned())
    }

    /// Reads the footer of what `path` names in errors, and checks it as [`Self::open`] does.
    pub(super) fn of(input: SegmentFile, path: PathBuf) -> Result<Self, RecordingError> {
        let parquet = || {
            |error| match input.failure() {
                Some(failure) => RecordingError::file("read", &path)(failure),
                None => RecordingError::parquet(&path)(error),
            }
        };
        // Types come from the Parquet schema alone: what the writer's own Arrow types were does not matter.
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&input, options.clone()).map_err(parquet())?;
        for name in schema::COLUMNS {
            let Ok(field) = metadata.schema().field_with_name(name) else {
                return Err(RecordingError::MissingColumn { path, column: name });
            };
            check_column(name, field.data_type(), &path)?;
        }
        let wanted = Arc::new(with_dictionaries(metadata.schema()));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(wanted))
            .map_err(parquet())?;
        Ok(Self { path, input, metadata })
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.input.bytes()
    }

    /// Hashes the whole file with SHA-256.
    pub(super) fn sha256(&self) -> Result<String, RecordingError> {
        self.input.sha256().map_err(RecordingError::file("read", &self.path))
    }

    /// Metadata of the row groups.
    pub(super) fn row_groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    /// What the row groups cover: as the footer says, or found by reading where another tool wrote the segment.
    pub(super) fn coverage(&self) -> Result<Coverage, RecordingError> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata();
        let Some(coverage) = Coverage::from_footer(entries, &self.path)? else { return self.scan() };
        let rows = self.row_groups().iter().map(|group| group.num_rows() as u64);
        if rows.eq(coverage.row_groups.iter().map(|group| group.rows)) {
            Ok(coverage)
        } else {
            let problem = "the footer says otherwise how many events its row groups cover".to_owned();
            Err(RecordingError::Footer { path: self.path.clone(), problem })
        }
    }

    /// Value of `key` in the footer's metadata.
    pub(super) fn footer_text(&self, key: &str) -> Option<&str> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata();
        entries.into_iter().flatten().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref())
    }

    /// Whether the footer names what wrote it, which stands behind all else in it.
    pub(super) fn names_its_writer(&self) -> bool {
        self.metadata.metadata().file_metadata().created_by().is_some()
    }

    fn scan(&self) -> Result<Coverage, RecordingError> {
        let mut tracker = Tracker::default();
        let mut row_groups = Vec::new();
        for group in 0..self.row_groups().len() {
            for batch in self.read_group(group, Columns::NONE)? {
                tracker.observe(&batch?, &self.path)?;
            }
            row_groups.push(tracker.end_group());
        }
        Ok(Coverage {
            format: super::manifest::FORMAT.to_owned(),
            topics: tracker.topics().to_vec(),
            row_groups,
            hashed: false,
        })
    }

    /// Reads a row group in batches of a few thousand events, fewer where they are large.
    pub(super) fn read_group(&self, group: usize, columns: Columns) -> Result<SegmentBatches, RecordingError> {
        self.read(group, None, self.batch_rows(group), columns)
    }

    /// Reads `rows` (counted from the row group's first; none means all) of a row group, in batches of `batch_rows`.
    pub(super) fn read(
        &self,
        group: usize,
        rows: Option<Range<usize>>,
        batch_rows: usize,
        columns: Columns,
    ) -> Result<SegmentBatches, RecordingError> {
        let fields = self.metadata.schema().fields();
        let roots =
            fields.iter().enumerate().filter(|(_, field)| columns.includes(field.name())).map(|(index, _)| index);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let input = match &self.input {
            local @ SegmentFile::Local(_) => local.clone(),
            SegmentFile::Stored(file) => {
                let wanted = self.wanted(group, rows.as_ref(), &mask);
                let wanting = file.wanting(&wanted).map_err(RecordingError::file("read", &self.path))?;
                SegmentFile::Stored(wanting)
            }
        };
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(input.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask);
        let left = rows.as_ref().map_or(self.row_groups()[group].num_rows() as usize, Range::len);
        if let Some(rows) = rows {
            let selection = vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())];
            reader = reader.with_row_selection(RowSelection::from(selection));
        }
        let reader = reader.with_batch_size(batch_rows).build().map_err(RecordingError::parquet(&self.path))?;
        Ok(SegmentBatches { reader, input, left, columns, path: self.path.clone() })
    }

    /// Where the bytes stand that are read of the wanted columns of a row group: whole columns, or only the pages that hold
    /// `rows` where it is known where they are.
    fn wanted(&self, group: usize, rows: Option<&Range<usize>>, mask: &ProjectionMask) -> Vec<Range<u64>> {
        let metadata = self.metadata.metadata();
        let row_group = metadata.row_group(group);
        let index = metadata.page_index_for_row_group(group);
        let mut wanted = Vec::new();
        for (leaf, column) in row_group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf)) {
            let (start, length) = column.byte_range();
            let (Some(rows), Some(pages)) = (rows, index.offset_index(leaf)) else {
                wanted.push(start..start + length);
                continue;
            };
            let pages = pages.page_locations();
            if let Some(first) = pages.first() {
                // The dictionary stands ahead of the first page.
                wanted.push(start..first.offset as u64);
            }
            let ends = pages.iter().skip(1).map(|next| next.first_row_index as usize).chain([usize::MAX]);
            for (page, end) in pages.iter().zip(ends) {
                if (page.first_row_index as usize) < rows.end && end > rows.start {
                    wanted.push(page.offset as u64..page.offset as u64 + page.compressed_page_size as u64);
                }
            }
        }
        wanted
    }

    /// Takes the batch that was read of a row group where it has as many events as it should.
    pub(super) fn whole(
        &self,
        batch: Option<Result<EventBatch, RecordingError>>,
        group: usize,
        rows: usize,
    ) -> Result<EventBatch, RecordingError> {
        match batch.transpose()? {
            Some(batch) if batch.len() == rows => Ok(batch),
            _ => Err(RecordingError::Footer {
                path: self.path.clone(),
                problem: format!("row group {group} holds fewer events than its footer says"),
            }),
        }
    }

    fn batch_rows(&self, group: usize) -> usize {
        let group = &self.row_groups()[group];
        let row_bytes = group.total_byte_size().max(0) as usize / (group.num_rows().max(1) as usize);
        (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS)
    }
}

/// Asks for text that repeats as a dictionary, so that topics are compared as numbers.
fn with_dictionaries(found: &Schema) -> Schema {
    let fields: Vec<Field> = found
        .fields()
        .iter()
        .map(|field| {
            let repeats = matches!(field.name().as_str(), schema::TOPIC | schema::TIMESTAMP_TYPE);
            if repeats && field.data_type() == &DataType::Utf8 {
                field.as_ref().clone().with_data_type(schema::repeated_text())
            } else {
                field.as_ref().clone()
            }
        })
        .collect();
    Schema::new_with_metadata(fields, found.metadata().clone())
}

/// Batches of a row group.
pub(super) struct SegmentBatches {
    reader: ParquetRecordBatchReader,
    input: SegmentFile,
    left: usize,
    columns: Columns,
    path: PathBuf,
}

impl SegmentBatches {
    /// Whether every event was read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}

impl std::fmt::Debug for SegmentBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentBatches").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Iterator for SegmentBatches {
    type Item = Result<EventBatch, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch: RecordBatch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(source) => {
                return Some(Err(match self.input.failure() {
                    Some(failure) => RecordingError::file("read", &self.path)(failure),
                    None => RecordingError::parquet(&self.path)(source.into()),
                }));
            }
        };
        self.left = self.left.saturating_sub(batch.num_rows());
        Some(EventBatch::from_arrow(&batch, self.columns, &self.path))
    }
}

/// A file that several readers read at once, each at its own place.
#[derive(Debug, Clone)]
pub(super) enum SegmentFile {
    /// On the disk.
    Local(ParquetInput),
    /// In a store.
    Stored(StoredFile),
}

/// Bytes that are hashed at once.
const HASHED_BYTES: usize = 256 << 10;

impl SegmentFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        ParquetInput::open(path).map(Self::Local)
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Local(file) => file.len(),
            Self::Stored(file) => file.bytes(),
        }
    }

    /// Hashes it with SHA-256.
    fn sha256(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        match self {
            Self::Local(file) => {
                let mut read = file.reader(0);
                let mut buffer = vec![0; HASHED_BYTES];
                loop {
                    match read.read(&mut buffer)? {
                        0 => break,
                        length => hash.update(&buffer[..length]),
                    }
                }
            }
            Self::Stored(file) => file.each(|bytes| hash.update(bytes))?,
        }
        Ok(hex(&hash.finalize()))
    }

    /// Takes the error of the store behind an error of Parquet's, which has only its text.
    fn failure(&self) -> Option<io::Error> {
        match self {
            Self::Local(_) => None,
            Self::Stored(file) => file.failure(),
        }
    }
}

impl Length for SegmentFile {
    fn len(&self) -> u64 {
        self.bytes()
    }
}

impl ChunkReader for SegmentFile {
    type T = SegmentRead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(match self {
            Self::Local(file) => SegmentRead::Local(file.get_read(start)?),
            Self::Stored(file) => SegmentRead::Stored(BufReader::new(file.reader(start))),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Stored(file) => Ok(file.exactly(start, length).map_err(|error| file.failed(error))?),
        }
    }
}

/// Reads a segment from a place of its own.
#[derive(Debug)]
pub(super) enum SegmentRead {
    Local(BufReader<ReadFrom>),
    Stored(BufReader<StoredRead>),
}

impl Read for SegmentRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(read) => read.read(buffer),
            Self::Stored(read) => read.read(buffer),
        }
    }
}
