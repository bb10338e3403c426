//! A recording that is read, wherever it lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RecordingError;
use super::location::Location;
use super::manifest::Manifest;
use super::segment::{Segment, SegmentFile};
use super::store::{Patience, Store, StoredFile, connect, manifest_in};

/// Where the files of a recording are read from.
#[derive(Debug, Clone)]
pub(super) enum Home {
    Directory(PathBuf),
    Store(Arc<Store>),
}

impl Home {
    /// Prepares to read what lies at `location`.
    pub(super) fn of(location: &Location) -> Result<Self, RecordingError> {
        match location {
            Location::Directory(path) => Ok(Self::Directory(path.clone())),
            Location::Store(url) => Ok(Self::Store(Arc::new(connect(url, Patience::SHORT)?))),
        }
    }

    /// Where it is, as it is shown.
    pub(super) fn shown(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Store(store) => store.shown(),
        }
    }

    /// Reads the manifest.
    pub(super) fn manifest(&self) -> Result<Manifest, RecordingError> {
        match self {
            Self::Directory(path) => Manifest::read(path),
            Self::Store(store) => manifest_in(store),
        }
    }

    /// Reads a small file; `name` is its path in the recording.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Directory(path) => fs::read(path.join(name)),
            Self::Store(store) => store.read(name).map(|(content, _)| content.into()),
        }
    }

    /// Opens a segment of `bytes` bytes, where that is known.
    pub(super) fn segment(&self, name: &str, bytes: Option<u64>) -> Result<Segment, RecordingError> {
        let path = self.shown().join(name);
        let input = match self {
            Self::Directory(_) => SegmentFile::open(&path),
            Self::Store(store) => StoredFile::open(store, name, bytes).map(SegmentFile::Stored),
        };
        let input = input.map_err(RecordingError::file("open", &path))?;
        if let Some(expected) = bytes
            && expected != input.bytes()
        {
            return Err(RecordingError::Length { path, expected, found: input.bytes() });
        }
        Segment::of(input, path)
    }
}
