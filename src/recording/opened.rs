//! An opened recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::RecordingError;
use super::coverage::{Coverage, Tracker};
use super::manifest::{self, Manifest, SegmentFacts};
use super::segment::Segment;

/// Opened segments kept at most; each has its footer in memory.
const OPEN_SEGMENTS: usize = 16;

/// One partition of one topic in a recording.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

/// An opened recording: its manifest and where its segments stand. Cheap to clone; many readers may read at once.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) inner: Arc<Opened>,
}

/// What the clones of a recording share.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) segments: Vec<SegmentIndex>,
    pub(super) partitions: Vec<Partition>,
    open: Mutex<Vec<(u32, Arc<Segment>)>>,
    pub(super) pieces: super::coordinates::Pieces,
    pub(super) shelf: super::shelf::Shelf,
}

/// What is kept of a segment: where it is and what its row groups cover.
#[derive(Debug)]
pub(super) struct SegmentIndex {
    pub(super) path: PathBuf,
    pub(super) groups: Vec<GroupIndex>,
}

/// What is kept of a row group.
#[derive(Debug)]
pub(super) struct GroupIndex {
    /// Row in the segment of its first event.
    pub(super) first_row: u32,
    /// Number of events.
    pub(super) rows: u32,
    /// Partitions with events in it, by index.
    pub(super) extents: Box<[GroupExtent]>,
}

/// Offsets of one partition in a row group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupExtent {
    /// Index into [`Opened::partitions`].
    pub(super) partition: u32,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Recording {
    /// Opens the recording in the directory `path` and checks manifest, version, columns and footers (hashes only on
    /// [`Recording::verify`]).
    ///
    /// # Errors
    ///
    /// Names the file and the cause.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let path = path.as_ref();
        let mut manifest = Manifest::read(path)?;
        if !manifest.sealed {
            return Err(RecordingError::Unsealed { path: path.join(manifest::FILE) });
        }
        let mut tracker = Tracker::default();
        let mut covered = Vec::new();
        for facts in &manifest.segments {
            covered.push(open_segment(path, facts, &mut tracker)?);
        }
        let found = tracker.facts();
        if manifest.partitions.is_empty() {
            manifest.partitions = found;
            manifest.span = tracker.span();
        } else if manifest.partitions != found {
            let path = path.join(manifest::FILE);
            let problem = "the offsets it names are not those that the segments' footers cover".to_owned();
            return Err(RecordingError::Footer { path, problem });
        }
        let partitions: Vec<Partition> = manifest
            .partitions
            .iter()
            .map(|facts| Partition { topic: facts.topic.clone(), partition: facts.partition })
            .collect();
        let ids: BTreeMap<(&str, i32), u32> = partitions
            .iter()
            .zip(0..)
            .map(|(partition, id)| ((partition.topic.as_str(), partition.partition), id))
            .collect();
        let segments = covered.into_iter().map(|(path, coverage)| index(path, &coverage, &ids)).collect();
        Ok(Self {
            inner: Arc::new(Opened {
                path: path.to_owned(),
                manifest,
                segments,
                partitions,
                open: Mutex::default(),
                pieces: super::coordinates::Pieces::default(),
                shelf: super::shelf::Shelf::default(),
            }),
        })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns what the recording says of itself. Partitions and span are there even where the manifest's file leaves them out.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Returns the partitions that hold events, in order of topic and partition.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.partitions.clone()
    }

    /// Returns the number of events.
    pub fn len(&self) -> u64 {
        self.inner.manifest.partitions.iter().map(|facts| facts.count).sum()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.inner.partitions.is_empty()
    }
}

impl Opened {
    /// Returns the segment `index`, opened; the few that were used last stay open.
    pub(super) fn segment(&self, index: u32) -> Result<Arc<Segment>, RecordingError> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut open = lock();
            open.iter().position(|(known, _)| *known == index).map(|at| {
                // The one used last stands at the end.
                let entry = open.remove(at);
                open.push(entry.clone());
                entry.1
            })
        };
        if let Some(segment) = known {
            return Ok(segment);
        }
        // Opened without the lock: nobody waits for another's disk.
        let segment = Arc::new(Segment::open(&self.segments[index as usize].path)?);
        let mut open = lock();
        if open.len() >= OPEN_SEGMENTS {
            open.remove(0);
        }
        open.push((index, Arc::clone(&segment)));
        Ok(segment)
    }
}

/// Opens a segment, holds it against its facts and the offsets seen before it, and returns what it covers.
fn open_segment(
    recording: &Path,
    facts: &SegmentFacts,
    tracker: &mut Tracker,
) -> Result<(PathBuf, Coverage), RecordingError> {
    let path = recording.join(&facts.file);
    let length = std::fs::metadata(&path).map_err(RecordingError::file("open", &path))?.len();
    if let Some(expected) = facts.bytes
        && expected != length
    {
        return Err(RecordingError::Length { path, expected, found: length });
    }
    let segment = Segment::open(&path)?;
    let coverage = segment.coverage()?;
    let rows: u64 = coverage.row_groups.iter().map(|group| group.rows).sum();
    if let Some(expected) = facts.rows
        && expected != rows
    {
        return Err(RecordingError::Rows { path, expected, found: rows });
    }
    if rows > u64::from(u32::MAX) {
        return Err(RecordingError::TooManyRows { path, rows });
    }
    for group in &coverage.row_groups {
        tracker.observe_group(&coverage, group, &path)?;
    }
    Ok((path, coverage))
}

fn index(path: PathBuf, coverage: &Coverage, ids: &BTreeMap<(&str, i32), u32>) -> SegmentIndex {
    let mut first_row = 0;
    let groups = coverage
        .row_groups
        .iter()
        .map(|group| {
            let extents = group
                .extents
                .iter()
                .filter_map(|extent| {
                    let topic = coverage.topics[extent.topic as usize].as_str();
                    let &partition = ids.get(&(topic, extent.partition))?;
                    Some(GroupExtent { partition, first: extent.first, last: extent.last })
                })
                .collect();
            let index = GroupIndex { first_row, rows: group.rows as u32, extents };
            first_row += index.rows;
            index
        })
        .collect();
    SegmentIndex { path, groups }
}
