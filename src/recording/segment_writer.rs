//! One segment as it is written: row groups, a footer after each, and the hash of every byte.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter};
use parquet::file::writer::SerializedFileWriter;
use serde::Serialize;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::coverage::{Coverage, GroupBytes, GroupCoverage, MASKS_KEY, SCHEMAS_KEY, SOURCE_KEY};
use super::gaps::GroupGaps;
use super::manifest::{FORMAT, FooterMasks, Manifest, SegmentFacts};
use super::{EventBatch, RecordingError, disk, schema};

/// Row groups of a segment at most: each one repeats the footer of those before it.
pub(super) const GROUPS_MAX: usize = 100;

/// Share of a segment's bytes that footers may take which more followed, in thousandths.
const FOOTERS_MAX: u64 = 15;

/// Bytes of coverage in a footer after which a segment ends, so that many partitions do not make footers outweigh events.
const COVERAGE_BYTES_MAX: usize = 256 << 10;

/// Writes one segment.
///
/// After each row group but the last a whole footer is written, which the next row group follows: a file cut anywhere still holds
/// a footer for all row groups that were whole, and readers of the finished file never look at it.
pub(super) struct SegmentWriter {
    path: PathBuf,
    file: SerializedFileWriter<HashedFile>,
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<ArrowColumnWriter>,
    coverage: Coverage,
    coverage_bytes: usize,
    rows: u64,
    /// Where the row group that is written began.
    group_start: u64,
    /// Bytes of footers that more followed.
    footer_bytes: u64,
}

/// A segment that is finished.
pub(super) struct Finished {
    pub(super) facts: SegmentFacts,
    /// Whether footers that nobody reads any more take more of it than they may.
    pub(super) footers_outweigh: bool,
}

impl SegmentWriter {
    /// Creates the file, which must not exist.
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordingError> {
        let create = || {
            let file = File::create_new(&path)?;
            // Its name, before anything in it can count as kept.
            path.parent().map_or(Ok(()), disk::sync_directory)?;
            Ok(file)
        };
        let file = create().map_err(RecordingError::file("create", &path))?;
        let hashed = HashedFile { file, hash: Sha256::new(), group: Xxh3Default::new(), bytes: 0 };
        let make = || {
            let parquet_schema = ArrowSchemaConverter::new().convert(&schema::schema())?;
            let file =
                SerializedFileWriter::new(hashed, parquet_schema.root_schema_ptr(), Arc::new(schema::properties()))?;
            let factory = ArrowRowGroupWriterFactory::new(&file, schema::schema());
            Ok((file, factory))
        };
        let (file, factory) = make().map_err(RecordingError::unwritten(&path))?;
        let coverage = Coverage { format: FORMAT.to_owned(), ..Coverage::default() };
        let columns = Vec::new();
        Ok(Self { path, file, factory, columns, coverage, coverage_bytes: 0, rows: 0, group_start: 0, footer_bytes: 0 })
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds events to the row group that is being written.
    pub(super) fn write(&mut self, batch: &EventBatch) -> Result<(), RecordingError> {
        let arrays = batch.arrays().ok_or_else(|| RecordingError::ColumnsLeftOut { path: self.path.clone() })?;
        self.write_arrays(&arrays).map_err(RecordingError::unwritten(&self.path))
    }

    fn write_arrays(&mut self, arrays: &[arrow::array::ArrayRef]) -> Result<(), ParquetError> {
        if self.columns.is_empty() {
            self.columns = self.factory.create_column_writers(self.coverage.row_groups.len())?;
        }
        let mut columns = self.columns.iter_mut();
        for (field, array) in schema::schema().fields().iter().zip(arrays) {
            for leaf in compute_leaves(field, array)? {
                columns
                    .next()
                    .ok_or_else(|| ParquetError::General("more leaves than columns".to_owned()))?
                    .write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Ends the row group, which covers `group`. `topics` are all topics by index.
    pub(super) fn end_group(&mut self, mut group: GroupCoverage, topics: &[String]) -> Result<(), RecordingError> {
        let end = |writer: &mut Self| {
            let columns = std::mem::take(&mut writer.columns);
            let mut row_group = writer.file.next_row_group()?;
            for column in columns {
                column.close()?.append_to_row_group(&mut row_group)?;
            }
            row_group.close().map(drop)
        };
        end(self).map_err(RecordingError::unwritten(&self.path))?;
        self.file.flush().map_err(RecordingError::file("write", &self.path))?;
        let end = self.file.inner().bytes;
        group.bytes = Some(GroupBytes(self.group_start, end, hash_text(self.file.inner().group.digest())));
        self.begin_group();
        self.rows += group.rows;
        self.coverage_bytes += 80 + group.extents.len() * 48 + group.gaps.iter().map(GroupGaps::bytes).sum::<usize>();
        self.coverage.topics = topics.to_vec();
        self.coverage.row_groups.push(group);
        Ok(())
    }

    /// Whether the next row group belongs into another segment, where one holds `groups_max` at most.
    pub(super) fn is_full(&self, groups_max: usize) -> bool {
        self.coverage.row_groups.len() >= groups_max || self.coverage_bytes >= COVERAGE_BYTES_MAX
    }

    /// Writes a footer for all row groups so far, which more may follow.
    ///
    /// It leaves out where the pages are: a recording that is rebuilt from such a footer reads single events slower, no more.
    /// The hash of the footer stands right before it, where no reader looks.
    pub(super) fn write_footer(&mut self, manifest: &Manifest) -> Result<(), RecordingError> {
        let told = told(manifest, false);
        let write = |writer: &mut Self| -> Result<(), ParquetError> {
            writer.coverage.hashed = true;
            let entries = std::iter::once(writer.coverage.to_key_value()).chain(told).collect();
            writer.coverage.hashed = false;
            let metadata = FileMetaData::new(
                writer.file.properties().writer_version().as_num(),
                writer.rows as i64,
                Some(writer.file.properties().created_by().to_owned()),
                Some(entries),
                Arc::new(writer.file.schema_descr().clone()),
                None,
            );
            let metadata = ParquetMetaData::new(metadata, writer.file.flushed_row_groups().to_vec());
            let mut footer = Vec::new();
            ParquetMetaDataWriter::new(&mut footer, &metadata).with_preserve_page_index_locations(false).finish()?;
            writer.file.write_all(&xxh3_64(&footer).to_le_bytes())?;
            writer.file.write_all(&footer)?;
            writer.file.flush()?;
            Ok(())
        };
        let start = self.file.inner().bytes;
        write(self).map_err(RecordingError::unwritten(&self.path))?;
        self.footer_bytes += self.file.inner().bytes - start;
        self.begin_group();
        Ok(())
    }

    /// What is written from now on is of the next row group.
    fn begin_group(&mut self) {
        let file = self.file.inner_mut();
        self.group_start = file.bytes;
        file.group.reset();
    }

    /// Adds gaps that no event follows to the last row group.
    pub(super) fn add_gaps(&mut self, gaps: Vec<GroupGaps>, topics: &[String]) {
        if let Some(group) = self.coverage.row_groups.last_mut() {
            group.gaps.extend(gaps);
            self.coverage.topics = topics.to_vec();
        }
    }

    /// Makes sure that all that was written is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), RecordingError> {
        self.file
            .flush()
            .and_then(|()| self.file.inner().file.sync_all())
            .map_err(RecordingError::file("write", &self.path))
    }

    /// Writes the last footer, makes sure that the file is on the disk, and returns its facts; `name` is its path in the
    /// recording.
    pub(super) fn finish(mut self, name: String, manifest: &Manifest) -> Result<Finished, RecordingError> {
        self.file.append_key_value_metadata(self.coverage.to_key_value());
        for entry in told(manifest, true) {
            self.file.append_key_value_metadata(entry);
        }
        let hashed = self.file.into_inner().map_err(RecordingError::unwritten(&self.path))?;
        hashed.file.sync_all().map_err(RecordingError::file("write", &self.path))?;
        let facts = SegmentFacts {
            file: name,
            rows: Some(self.rows),
            bytes: Some(hashed.bytes),
            sha256: Some(hex(&hashed.hash.finalize())),
        };
        Ok(Finished { facts, footers_outweigh: self.footer_bytes * 1_000 > hashed.bytes * FOOTERS_MAX })
    }
}

/// What a footer repeats of the manifest: the source, masks and schemas met so far. The configuration of topics need not stand in
/// each.
fn told(manifest: &Manifest, with_configuration: bool) -> Vec<KeyValue> {
    let mut source = manifest.source.clone();
    if !with_configuration {
        source.topics.iter_mut().for_each(|topic| topic.configuration.clear());
    }
    let mut entries = vec![entry(SOURCE_KEY, &source)];
    let masks = FooterMasks::of(manifest);
    if masks != FooterMasks::default() {
        entries.push(entry(MASKS_KEY, &masks));
    }
    if !manifest.schemas.is_empty() {
        entries.push(entry(SCHEMAS_KEY, &manifest.schemas));
    }
    entries.into_iter().flatten().collect()
}

fn entry(key: &str, content: &impl Serialize) -> Option<KeyValue> {
    Some(KeyValue::new(key.to_owned(), serde_json::to_string(content).ok()?))
}

/// A file that is hashed as it is written.
struct HashedFile {
    file: File,
    hash: Sha256,
    /// Hash of the row group that is written.
    group: Xxh3Default,
    bytes: u64,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.group.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes an XXH3 as footers have it.
pub(super) fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Writes bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
