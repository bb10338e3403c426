//! An opened recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::RecordingError;
use super::coverage::{Coverage, Tracker};
use super::home::Home;
use super::lens::Lens;
use super::location::Location;
use super::manifest::{self, Manifest, SegmentFacts};
use super::segment::Segment;
use super::store::claim_holder;

/// Opened segments kept at most; each has its footer in memory.
const OPEN_SEGMENTS: usize = 16;

/// Segments that are opened at the same time.
const OPENED_AT_ONCE: usize = 8;

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
    /// What its events are seen through by whoever reads them by place.
    pub(super) lens: Option<Arc<dyn Lens>>,
}

/// What the clones of a recording share.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) home: Home,
    /// Where it lies, as it is shown.
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
    /// Length of its file.
    pub(super) bytes: u64,
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
    /// Opens the recording at `location`, a directory or a store, and checks manifest, version, columns and footers (hashes only
    /// on [`Recording::verify`]).
    ///
    /// # Errors
    ///
    /// Names the file and the cause.
    pub fn open(location: impl Into<Location>) -> Result<Self, RecordingError> {
        let location = location.into();
        let home = Home::of(&location)?;
        let path = home.shown();
        let read = home.manifest();
        let unsealed = match &read {
            Ok(manifest) => !manifest.sealed,
            Err(error) => matches!(error, RecordingError::NoManifest { .. }),
        };
        if let (true, Home::Store(store)) = (unsealed, &home)
            && let Some(holder) = claim_holder(store)?
        {
            return Err(RecordingError::UnderWay { path: path.to_owned(), holder: Box::new(holder) });
        }
        let mut manifest = read?;
        if !manifest.sealed {
            if let Location::Directory(folder) = &location
                && let Some(holder) = super::fence::holder(folder)
            {
                return Err(RecordingError::Fenced { path: folder.clone(), holder });
            }
            return Err(RecordingError::Unsealed { path: path.join(manifest::FILE) });
        }
        let mut tracker = Tracker::default();
        let mut covered = Vec::new();
        for some in manifest.segments.chunks(OPENED_AT_ONCE) {
            for (facts, segment) in some.iter().zip(open_segments(&home, some)) {
                covered.push(check_segment(facts, &segment?, &mut tracker)?);
            }
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
        let segments = covered.into_iter().map(|(path, bytes, coverage)| index(path, bytes, &coverage, &ids)).collect();
        Ok(Self {
            lens: None,
            inner: Arc::new(Opened {
                path: path.to_owned(),
                home,
                manifest,
                segments,
                partitions,
                open: Mutex::default(),
                pieces: super::coordinates::Pieces::default(),
                shelf: super::shelf::Shelf::default(),
            }),
        })
    }

    /// Returns where it lies, as it is shown: the directory, or the address in a store.
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
    /// Opens the segment `index` anew.
    pub(super) fn open_segment(&self, index: usize) -> Result<Segment, RecordingError> {
        let facts = &self.manifest.segments[index];
        self.home.segment(&facts.file, facts.bytes)
    }

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
        let segment = Arc::new(self.open_segment(index as usize)?);
        let mut open = lock();
        if open.len() >= OPEN_SEGMENTS {
            open.remove(0);
        }
        open.push((index, Arc::clone(&segment)));
        Ok(segment)
    }
}

/// Opens segments, those in a store at the same time: each waits for an answer.
fn open_segments(home: &Home, facts: &[SegmentFacts]) -> Vec<Result<Segment, RecordingError>> {
    let open = |facts: &SegmentFacts| home.segment(&facts.file, facts.bytes);
    if matches!(home, Home::Directory(_)) {
        return facts.iter().map(open).collect();
    }
    thread::scope(|scope| {
        let opening: Vec<_> = facts.iter().map(|facts| scope.spawn(move || open(facts))).collect();
        let opened = opening.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        opened.collect()
    })
}

/// Holds a segment against its facts and the offsets seen before it, and returns what it covers.
fn check_segment(
    facts: &SegmentFacts,
    segment: &Segment,
    tracker: &mut Tracker,
) -> Result<(PathBuf, u64, Coverage), RecordingError> {
    let path = segment.path().to_owned();
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
    Ok((path, segment.bytes(), coverage))
}

fn index(path: PathBuf, bytes: u64, coverage: &Coverage, ids: &BTreeMap<(&str, i32), u32>) -> SegmentIndex {
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
    SegmentIndex { path, bytes, groups }
}
