//! Whether a recording holds what it says: every hash, count, offset and time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::coverage::{Coverage, Extent, GroupCoverage, Tracker};
use super::gaps::PartitionGaps;
use super::home::Home;
use super::manifest::{self, Manifest, SegmentFacts, TimeSpan};
use super::segment::Segment;
use super::segment_writer::hex;
use super::writer::SEGMENTS;
use super::{Columns, EventBatch, Recording, RecordingError};

/// One way in which a recording does not hold what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File.
    pub file: PathBuf,
    /// What is wrong, as a lowercase fragment.
    pub cause: String,
    /// Whether the file is no part of the recording: all is well once it is taken away.
    pub stranger: bool,
}

impl Problem {
    /// A part of the recording that does not hold what it should.
    pub(super) fn damage(file: PathBuf, cause: String) -> Self {
        Self { file, cause, stranger: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.cause)
    }
}

impl Recording {
    /// Reads the whole recording and holds it against its manifest and footers: hashes, counts, offsets, span, and the ledger of
    /// gaps, which must account for every offset that is missing. What [`Manifest::doubts`] says is a problem, too. Without problems
    /// the list is empty.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where a file could not be read; what is wrong in a file is a [`Problem`].
    pub fn verify(&self) -> Result<Vec<Problem>, RecordingError> {
        let mut problems = Vec::new();
        let mut tracker = Tracker::default();
        let mut listed = Listed::of(self.manifest());
        for (at, (facts, index)) in self.manifest().segments.iter().zip(&self.inner.segments).enumerate() {
            let checked = self.inner.open_segment(at).and_then(|segment| {
                check_hash(facts, &segment, &mut problems)?;
                verify_segment(&segment, &mut tracker, &mut listed, &mut problems)
            });
            match checked {
                Ok(()) => {}
                Err(error @ RecordingError::File { .. }) => return Err(error),
                Err(error) => problems.push(Problem::damage(index.path.clone(), cause(&error, &index.path))),
            }
        }
        self.check_schemas(&mut problems);
        self.check_strangers(&mut problems)?;
        let manifest = self.path().join(manifest::FILE);
        problems.extend(self.manifest().doubts().into_iter().map(|cause| Problem::damage(manifest.clone(), cause)));
        if problems.is_empty() {
            self.check_manifest(&tracker, &mut problems);
            self.check_ledger(&listed, &mut problems);
        }
        Ok(problems)
    }

    /// Holds only the bytes of every segment against the hashes of the manifest: what was changed or decayed is found without
    /// reading a single event. Without problems the list is empty.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where a file could not be read.
    pub fn verify_hashes(&self) -> Result<Vec<Problem>, RecordingError> {
        let mut problems = Vec::new();
        for (at, facts) in self.manifest().segments.iter().enumerate() {
            check_hash(facts, &*self.inner.segment(at as u32)?, &mut problems)?;
        }
        self.check_schemas(&mut problems);
        Ok(problems)
    }

    /// Holds the manifest against what all segments together hold.
    fn check_manifest(&self, tracker: &Tracker, problems: &mut Vec<Problem>) {
        let file = self.path().join(manifest::FILE);
        let mut problem = |cause: &str| problems.push(Problem::damage(file.clone(), cause.to_owned()));
        if self.manifest().partitions != tracker.facts() {
            problem("the offsets it names are not those of the events");
        }
        if self.manifest().span.is_some() && self.manifest().span != tracker.span() {
            problem("the span it names is not that of the events");
        }
    }
}

impl Recording {
    /// Finds segments that the manifest does not name: whoever queries the folder counts their events, too. In a store an upload may
    /// come to its end after somebody took over from whoever began it, and nobody can call that back; so there it is none.
    fn check_strangers(&self, problems: &mut Vec<Problem>) -> Result<(), RecordingError> {
        let Home::Directory(recording) = &self.inner.home else { return Ok(()) };
        let known: BTreeSet<&str> = self.manifest().segments.iter().map(|facts| facts.file.as_str()).collect();
        let folder = recording.join(SEGMENTS);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(RecordingError::file("read", &folder))?,
        };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names.iter().filter(|name| name.ends_with(".parquet")) {
            if !known.contains(&*format!("{SEGMENTS}/{name}")) {
                let cause =
                    "the manifest does not name it, and who reads all segments takes its events, too".to_owned();
                problems.push(Problem { file: folder.join(name), cause, stranger: true });
            }
        }
        Ok(())
    }

    /// Holds the ledger of gaps against the events: what it lists holds none, and it accounts for every offset.
    fn check_ledger(&self, listed: &Listed<'_>, problems: &mut Vec<Problem>) {
        let file = self.path().join(manifest::FILE);
        let mut problem = |cause: String| problems.push(Problem::damage(file.clone(), cause));
        for ((topic, partition), offset) in &listed.found {
            problem(format!("the ledger of gaps says that {topic}/{partition} has no event at offset {offset}"));
        }
        let manifest = self.manifest();
        let captured: BTreeSet<(&str, i32)> = manifest
            .source
            .topics
            .iter()
            .flat_map(|topic| topic.starts.keys().map(|&partition| (topic.name.as_str(), partition)))
            .chain(manifest.gaps.iter().map(|gaps| (gaps.topic.as_str(), gaps.partition)))
            .collect();
        for (topic, partition) in captured {
            let known = manifest.gaps.iter().find(|gaps| gaps.topic == topic && gaps.partition == partition);
            let accounted: u64 = known.map_or(0, |gaps| gaps.causes.iter().map(|one| one.offsets).sum());
            let state = listed.state.get(topic).and_then(|topic| topic.get(&partition)).map_or(0, |state| state.events);
            let missing = manifest.offsets_missing(topic, partition, state);
            if accounted != missing {
                problem(format!(
                    "the ledger of gaps accounts for {accounted} offsets of {topic}/{partition} where {missing} are missing"
                ));
            }
        }
    }
}

/// The stretches that the ledger lists, the first event of each partition that stands in one, and what stands ahead of windows.
struct Listed<'m> {
    gaps: BTreeMap<&'m str, BTreeMap<i32, &'m PartitionGaps>>,
    found: BTreeMap<(&'m str, i32), i64>,
    state: BTreeMap<&'m str, BTreeMap<i32, Ahead>>,
}

/// Events ahead of the window of a partition.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    window: i64,
    events: u64,
}

impl<'m> Listed<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let mut listed = Self { gaps: BTreeMap::new(), found: BTreeMap::new(), state: BTreeMap::new() };
        for gaps in &manifest.gaps {
            listed.gaps.entry(gaps.topic.as_str()).or_default().insert(gaps.partition, gaps);
        }
        for topic in manifest.source.topics.iter().filter(|topic| !topic.windows.is_empty()) {
            let ahead = |(&partition, &window)| (partition, Ahead { window, events: 0 });
            listed.state.insert(&topic.name, topic.windows.iter().map(ahead).collect());
        }
        listed
    }

    fn observe(&mut self, batch: &EventBatch) {
        if self.gaps.is_empty() && self.state.is_empty() {
            return;
        }
        for event in batch.iter() {
            let ahead = self.state.get_mut(event.topic).and_then(|topic| topic.get_mut(&event.partition));
            if let Some(ahead) = ahead.filter(|ahead| event.offset < ahead.window) {
                ahead.events += 1;
            }
            let Some(gaps) = self.gaps.get(event.topic).and_then(|topic| topic.get(&event.partition)) else { continue };
            let ahead = gaps.stretches.partition_point(|one| one.first <= event.offset);
            if ahead.checked_sub(1).is_some_and(|at| event.offset <= gaps.stretches[at].last) {
                self.found.entry((gaps.topic.as_str(), gaps.partition)).or_insert(event.offset);
            }
        }
    }
}

fn check_hash(facts: &SegmentFacts, segment: &Segment, problems: &mut Vec<Problem>) -> Result<(), RecordingError> {
    let Some(expected) = &facts.sha256 else { return Ok(()) };
    let found = segment.sha256()?;
    if !found.eq_ignore_ascii_case(expected) {
        let cause = format!("wrong hash: SHA-256 is {found} where the manifest says {expected}");
        problems.push(Problem::damage(segment.path().to_owned(), cause));
    }
    Ok(())
}

/// Hashes a file.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn verify_segment(
    segment: &Segment,
    tracker: &mut Tracker,
    listed: &mut Listed<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(), RecordingError> {
    let (coverage, path) = (segment.coverage()?, segment.path());
    for (group, expected) in coverage.row_groups.iter().enumerate() {
        for batch in segment.read_group(group, Columns::ALL)? {
            let batch = batch?;
            tracker.observe(&batch, path)?;
            listed.observe(&batch);
        }
        let found = tracker.end_group();
        // Nothing in the events says them.
        tracker.take_epochs(&coverage, expected);
        if !same(&coverage, expected, tracker.topics(), &found) {
            let cause = format!("row group {group} does not hold the events that the footer says");
            problems.push(Problem::damage(path.to_owned(), cause));
        }
    }
    Ok(())
}

/// Whether the events of a segment can all be read and are those that its footer covers.
pub(super) fn holds_what_it_covers(segment: &Segment, coverage: &Coverage) -> Result<bool, RecordingError> {
    let mut tracker = Tracker::default();
    for (group, expected) in coverage.row_groups.iter().enumerate() {
        let read = segment.read_group(group, Columns::ALL).and_then(|mut batches| {
            batches.try_for_each(|batch| tracker.observe(&batch?, segment.path()))?;
            Ok(tracker.end_group())
        });
        match read {
            Ok(found) if same(coverage, expected, tracker.topics(), &found) => {}
            Err(error @ RecordingError::File { .. }) => return Err(error),
            Ok(_) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Compares what a footer says with what was found; their topics have indices of their own.
fn same(coverage: &Coverage, expected: &GroupCoverage, topics: &[String], found: &GroupCoverage) -> bool {
    type Facts<'a> = (u64, Option<TimeSpan>, Vec<(&'a str, Extent)>);
    fn facts<'a>(topics: &'a [String], group: &GroupCoverage) -> Facts<'a> {
        let mut extents: Vec<_> = group
            .extents
            .iter()
            .map(|extent| (topics[extent.topic as usize].as_str(), Extent { topic: 0, ..*extent }))
            .collect();
        extents.sort_by_key(|(topic, extent)| (*topic, extent.partition));
        (group.rows, group.span, extents)
    }
    facts(&coverage.topics, expected) == facts(topics, found)
}

/// The error with its sources, in one line, without the file that the problem names anyway.
fn cause(error: &RecordingError, file: &Path) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    let named = file.display().to_string();
    text.strip_prefix(&named).map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' '])).to_owned()
}
