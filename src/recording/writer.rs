//! Events into a new recording.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::coverage::Tracker;
use super::manifest::{Manifest, Mask, SchemaSeen, Source};
use super::segment_writer::SegmentWriter;
use super::{EventBatch, RecordingError};

/// Folder of the segments.
pub(super) const SEGMENTS: &str = "segments";

/// Events of a row group at most.
const GROUP_ROWS: usize = 128 << 10;

/// Bytes of keys, values and headers of a row group at most (one larger event excepted).
const GROUP_BYTES: usize = 32 << 20;

/// Writes a new recording: batches in, a sealed manifest out. Holds one row group in memory, compressed, and no more.
///
/// Within a partition offsets must rise; partitions and topics may be interleaved in any way.
pub struct RecordingWriter {
    path: PathBuf,
    manifest: Manifest,
    segment: Option<SegmentWriter>,
    tracker: Tracker,
    group_rows: usize,
    group_bytes: usize,
    rows: u64,
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl RecordingWriter {
    /// Says whether [`RecordingWriter::create`] would refuse because something stands in `path` already, without making anything.
    ///
    /// # Errors
    ///
    /// As [`RecordingWriter::create`].
    pub fn check(path: impl AsRef<Path>) -> Result<(), RecordingError> {
        let path = path.as_ref();
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(RecordingError::NotEmpty { path: path.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RecordingError::file("create", path)(error)),
        }
    }

    /// Creates a recording in the directory `path`, which must be empty or not exist.
    ///
    /// Until it is sealed its manifest says so, and [`super::Recording::open`] refuses it.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NotEmpty`] where something is there already, [`RecordingError::File`] where the system refuses.
    pub fn create(path: impl AsRef<Path>, source: Source) -> Result<Self, RecordingError> {
        let path = path.as_ref();
        Self::check(path)?;
        fs::create_dir_all(path).map_err(RecordingError::file("create", path))?;
        let segments = path.join(SEGMENTS);
        fs::create_dir(&segments).map_err(RecordingError::file("create", &segments))?;
        let manifest = Manifest::new(source);
        manifest.write(path)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            segment: None,
            tracker: Tracker::default(),
            group_rows: 0,
            group_bytes: 0,
            rows: 0,
        })
    }

    /// Returns the source, to be added to while events come in.
    pub fn source_mut(&mut self) -> &mut Source {
        &mut self.manifest.source
    }

    /// Returns the masks that the manifest will name.
    pub fn masks_mut(&mut self) -> &mut Vec<Mask> {
        &mut self.manifest.masks
    }

    /// Returns the schemas that the manifest will name.
    pub fn schemas_mut(&mut self) -> &mut Vec<SchemaSeen> {
        &mut self.manifest.schemas
    }

    /// Number of events written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the events of `batch`.
    ///
    /// # Errors
    ///
    /// [`RecordingError::OffsetOrder`] where offsets of a partition do not rise; the recording then cannot be sealed any more.
    pub fn write(&mut self, batch: &EventBatch) -> Result<(), RecordingError> {
        let mut start = 0;
        while start < batch.len() {
            let rest = batch.slice(start..batch.len());
            let rows = self.rows_that_fit(&rest);
            self.write_fitting(&rest.slice(0..rows))?;
            start += rows;
        }
        Ok(())
    }

    /// Ends the row group and makes sure that everything written so far is on the disk: a crash loses nothing of it.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] and [`RecordingError::Parquet`] where the disk refuses.
    pub fn checkpoint(&mut self) -> Result<(), RecordingError> {
        if self.group_rows > 0 {
            self.end_group()?;
        }
        match &mut self.segment {
            Some(segment) if segment.is_full() => self.end_segment(),
            Some(segment) => segment.write_footer().and_then(|()| segment.sync()),
            None => Ok(()),
        }
    }

    /// Finishes the recording: the last footer, hashes, and a manifest that says `sealed`, all of it on the disk.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] and [`RecordingError::Parquet`] where the disk refuses.
    pub fn seal(mut self) -> Result<Manifest, RecordingError> {
        if self.group_rows > 0 {
            self.end_group()?;
        }
        self.end_segment()?;
        let segments = self.path.join(SEGMENTS);
        File::open(&segments).and_then(|folder| folder.sync_all()).map_err(RecordingError::file("write", &segments))?;
        self.manifest.partitions = self.tracker.facts();
        self.manifest.span = self.tracker.span();
        self.manifest.source.topics.sort_by(|a, b| a.name.cmp(&b.name));
        self.manifest.sealed = true;
        self.manifest.write(&self.path)?;
        Ok(self.manifest)
    }

    /// Number of the first rows of `batch`, at least one, that may join the row group.
    fn rows_that_fit(&self, batch: &EventBatch) -> usize {
        let rows = batch.len().min(GROUP_ROWS - self.group_rows);
        let room = GROUP_BYTES.saturating_sub(self.group_bytes);
        if batch.payload_bytes(rows) <= room {
            return rows;
        }
        // Bytes never fall with rows, so the split is found by halving.
        let (mut fit, mut over) = (0, rows);
        while over - fit > 1 {
            let middle = fit + (over - fit) / 2;
            if batch.payload_bytes(middle) <= room { fit = middle } else { over = middle }
        }
        fit.max(1)
    }

    fn write_fitting(&mut self, batch: &EventBatch) -> Result<(), RecordingError> {
        let path = self.path.join(segment_name(self.manifest.segments.len()));
        let segment = match &mut self.segment {
            Some(segment) => segment,
            // The footer of the row group before stands at the end only where another row group follows it.
            None => self.segment.insert(SegmentWriter::create(path)?),
        };
        self.tracker.observe(batch, segment.path())?;
        segment.write(batch)?;
        self.rows += batch.len() as u64;
        self.group_rows += batch.len();
        self.group_bytes += batch.payload_bytes(batch.len());
        if self.group_rows >= GROUP_ROWS || self.group_bytes >= GROUP_BYTES {
            self.end_group()?;
            match &mut self.segment {
                Some(segment) if segment.is_full() => self.end_segment()?,
                Some(segment) => segment.write_footer()?,
                None => {}
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), RecordingError> {
        let group = self.tracker.end_group();
        self.group_rows = 0;
        self.group_bytes = 0;
        match &mut self.segment {
            Some(segment) => segment.end_group(group, self.tracker.topics()),
            None => Ok(()),
        }
    }

    fn end_segment(&mut self) -> Result<(), RecordingError> {
        if let Some(segment) = self.segment.take() {
            let name = segment_name(self.manifest.segments.len());
            self.manifest.segments.push(segment.finish(name, &self.manifest.source)?);
        }
        Ok(())
    }
}

/// Name of the segment `index` in its recording.
pub(super) fn segment_name(index: usize) -> String {
    format!("{SEGMENTS}/{index:06}.parquet")
}
