//! Why a recording cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::fence::Holder;
use super::store::Claimant;

/// Why a recording cannot be read or written. Every variant names the file and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// There is no directory.
    #[error("{path} is no recording: there is no such directory")]
    NoSuchDirectory {
        /// Directory.
        path: PathBuf,
    },
    /// The directory holds no manifest.
    #[error(
        "{path} is missing: this is no recording, or it was never sealed, or the file was lost; where segments are left, \
         rebuilding the recording writes it again from them"
    )]
    NoManifest {
        /// Manifest that should be there.
        path: PathBuf,
    },
    /// The manifest is not JSON, or lacks what a manifest must say.
    #[error("{path} is no manifest of a recording")]
    BadManifest {
        /// Manifest.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The manifest, or a segment's footer, names a format version that this program does not know.
    #[error("{path}: recordings of format {found} cannot be read, only those of format 1")]
    Version {
        /// Manifest or segment.
        path: PathBuf,
        /// Version as written.
        found: String,
    },
    /// The recording was not finished.
    #[error(
        "{path} says that the recording is not sealed: its writing was cut off; rebuilding the recording keeps every whole row \
         group"
    )]
    Unsealed {
        /// Manifest.
        path: PathBuf,
    },
    /// A file of a schema is none.
    #[error("{path} is no schema of a recording")]
    BadSchema {
        /// File.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The manifest names a segment or a schema outside of the recording.
    #[error("{path} names the file `{file}`, which lies outside of the recording")]
    SegmentOutside {
        /// Manifest.
        path: PathBuf,
        /// Name as written.
        file: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {path}")]
    File {
        /// What was tried, such as `read`.
        action: &'static str,
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A segment has another length than the manifest says.
    #[error("{path} is cut or was changed: it has {found} bytes where the manifest says {expected}")]
    Length {
        /// Segment.
        path: PathBuf,
        /// Bytes the manifest says.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A segment has another number of rows than the manifest says.
    #[error("{path} holds {found} events where the manifest says {expected}")]
    Rows {
        /// Segment.
        path: PathBuf,
        /// Events the manifest says.
        expected: u64,
        /// Events it holds.
        found: u64,
    },
    /// A segment holds more rows than a place can name.
    #[error("{path} holds {rows} events; a segment of a recording has at most {}", u32::MAX)]
    TooManyRows {
        /// Segment.
        path: PathBuf,
        /// Events it holds.
        rows: u64,
    },
    /// A segment cannot be read as Parquet.
    #[error("{path} cannot be read as Parquet")]
    Parquet {
        /// Segment.
        path: PathBuf,
        /// What Parquet says.
        source: parquet::errors::ParquetError,
    },
    /// A segment lacks a column.
    #[error("{path} has no column `{column}`")]
    MissingColumn {
        /// Segment.
        path: PathBuf,
        /// Column.
        column: &'static str,
    },
    /// A column has another type.
    #[error("{path}: column `{column}` has the type {found} where {expected} is wanted")]
    ColumnType {
        /// Segment.
        path: PathBuf,
        /// Column.
        column: &'static str,
        /// Arrow type found.
        found: String,
        /// Type wanted.
        expected: &'static str,
    },
    /// A column that always has a value has none.
    #[error("{path}: column `{column}` is null in a row where it must have a value")]
    Null {
        /// Segment.
        path: PathBuf,
        /// Column.
        column: &'static str,
    },
    /// A timestamp type that the format does not know.
    #[error("{path}: `{found}` is no timestamp type; there are `create`, `append` and `none`")]
    TimestampType {
        /// Segment.
        path: PathBuf,
        /// Text found.
        found: String,
    },
    /// Offsets of a partition do not rise.
    #[error("{path}: offsets out of order in {topic}/{partition}: {offset} stands after {after}")]
    OffsetOrder {
        /// Segment, or the recording that is being written.
        path: PathBuf,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset of the later event.
        offset: i64,
        /// Offset of the event ahead of it.
        after: i64,
    },
    /// The footer of a segment contradicts itself or the manifest.
    #[error("{path}: {problem}")]
    Footer {
        /// Segment.
        path: PathBuf,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// A place that the recording does not have.
    #[error("{path} has no event at row {row} of segment {segment}")]
    NoSuchPlace {
        /// Recording.
        path: PathBuf,
        /// Segment, counted from zero.
        segment: u32,
        /// Row, counted from zero.
        row: u32,
    },
    /// Events of more than a gigabyte were asked for at once.
    #[error("{path}: the {places} events asked for at once take more than 1 GiB")]
    TooLarge {
        /// Recording.
        path: PathBuf,
        /// Number of places asked for.
        places: usize,
    },
    /// The directory to write into is not empty.
    #[error("{path} exists and is not empty; nothing is overwritten")]
    NotEmpty {
        /// Directory.
        path: PathBuf,
    },
    /// Another process writes the recording.
    #[error("{path} is being written by {holder}")]
    Fenced {
        /// Recording.
        path: PathBuf,
        /// Who writes it.
        holder: Holder,
    },
    /// Another process, perhaps on another machine, writes the recording in a store.
    #[error("{path} is being written by {holder}")]
    Claimed {
        /// Recording.
        path: PathBuf,
        /// Who writes it, as it said of itself.
        holder: Box<Claimant>,
    },
    /// The recording in a store is not whole yet: somebody writes it, or was cut off. An object there cannot tell which.
    #[error("{path} is not whole yet: {holder} writes it, or was cut off while it did")]
    UnderWay {
        /// Recording.
        path: PathBuf,
        /// Who writes it, as it said of itself.
        holder: Box<Claimant>,
    },
    /// The object that names the writer of a recording in a store was removed while it was written.
    #[error("{path} is no longer ours to write: the object `writer.json` that said so was removed")]
    ClaimLost {
        /// Recording.
        path: PathBuf,
    },
    /// The spool holds a segment that the store holds otherwise, or that does not go together with the store's. It stays.
    #[error(
        "{path} was gone on with from elsewhere since {spool} was its spool, or is damaged in the store: {file} is another \
         segment than the store's, or does not go together with them"
    )]
    StaleSpool {
        /// Recording.
        path: PathBuf,
        /// Folder of the recording in the spool.
        spool: PathBuf,
        /// Segment in the spool.
        file: PathBuf,
    },
    /// The folder is the spool of another recording.
    #[error("{spool} is the spool of another recording, {found}")]
    OtherSpool {
        /// Folder.
        spool: PathBuf,
        /// Recording it is the spool of.
        found: String,
    },
    /// There is no folder to spool in.
    #[error("{path} cannot be written: there is no folder to spool in, as neither XDG_STATE_HOME nor HOME is set")]
    NoSpool {
        /// Recording.
        path: PathBuf,
    },
    /// A recording that is finished was to be written on.
    #[error("{path} is a recording that is sealed; nothing is added to it")]
    Sealed {
        /// Recording.
        path: PathBuf,
    },
    /// A batch that was read without some of its columns was to be written.
    #[error("{path}: the batch was read without its keys, values or headers and cannot be written")]
    ColumnsLeftOut {
        /// Recording that is being written.
        path: PathBuf,
    },
}

impl RecordingError {
    /// Returns a maker of [`RecordingError::File`] for `map_err`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// Returns a maker of [`RecordingError::Parquet`] for `map_err`.
    pub(super) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        move |source| Self::Parquet { path: path.to_owned(), source }
    }

    /// Returns a maker of the error of a segment that is written, for `map_err`: what the disk refuses is none of Parquet's.
    pub(super) fn unwritten(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;
        move |source| match source {
            ParquetError::External(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => Self::file("write", path)(*error),
                Err(error) => Self::parquet(path)(ParquetError::External(error)),
            },
            source => Self::parquet(path)(source),
        }
    }
}
