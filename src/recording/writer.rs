//! Events into a recording: a new one, or one whose writing was cut off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::coverage::Tracker;
use super::fence::Fence;
use super::gaps::{GroupGaps, Ledger, MissingOffsets, PartitionGaps, sum_up};
use super::gather::gather;
use super::location::Location;
use super::manifest::{FILE as MANIFEST_FILE, Manifest, Mask, Masking, PersonalFacts, Role, Source};
use super::recover::{Recovered, manifest_left, only_begun, recover};
use super::segment_writer::{Finished, GROUPS_MAX, SegmentWriter};
use super::store::{self, Remote, StoreReach, Stored, Target, Whole};
use super::{EventBatch, Recording, RecordingError, disk, schemas};
use crate::schema::{Part, SchemaText, Schemas};

/// Folder of the segments.
pub(super) const SEGMENTS: &str = "segments";

/// Events of a row group at most.
pub(super) const GROUP_ROWS: usize = 128 << 10;

/// Bytes of keys, values and headers of a row group at most (one larger event excepted).
pub(super) const GROUP_BYTES: usize = 32 << 20;

/// Writes a recording: batches in, a sealed manifest out. Holds one row group in memory, compressed, and no more.
///
/// Within a partition offsets must rise; partitions and topics may be interleaved in any way. Nobody else can write the recording
/// meanwhile. After an error of the disk the writer is of no further use: what was acknowledged stays, and
/// [`RecordingWriter::resume`] goes on from it.
pub struct RecordingWriter {
    path: PathBuf,
    manifest: Manifest,
    segment: Option<SegmentWriter>,
    tracker: Tracker,
    ledger: Ledger,
    /// Gaps that no row group's coverage names yet.
    pending: Vec<(u32, i32, MissingOffsets)>,
    /// Gaps of another recording, which the last row group's coverage will name.
    carried: Vec<GroupGaps>,
    acknowledged: Arc<[AcknowledgedPartition]>,
    acknowledged_rows: u64,
    /// Number in the name of the next segment.
    next_segment: usize,
    /// Row groups of a segment at most.
    segment_groups: usize,
    group_rows: usize,
    group_bytes: usize,
    rows: u64,
    /// Events of before a resume that stand ahead of the windows of their partitions.
    resumed_state: u64,
    fence: Fence,
    /// Where `path` is only the spool of.
    remote: Option<Remote>,
}

/// Up to where the events of one partition are on the disk, whatever happens from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset behind the last event that is on the disk.
    pub next: i64,
}

/// What stands in a directory that a recording is to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: [`RecordingWriter::create`] makes one.
    Nothing,
    /// A recording whose writing was cut off: [`RecordingWriter::resume`] goes on with it.
    Unsealed,
    /// A recording that is finished.
    Sealed,
}

/// What was found when the writing of a recording was taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Segments that had been cut: they keep what is whole, what came after was dropped.
    pub cut: Vec<PathBuf>,
    /// Segments without a single whole row group: they were renamed to end in `.cut`.
    pub lost: Vec<PathBuf>,
    /// Whether the manifest was lost and is made of the segments.
    pub manifest_lost: bool,
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl RecordingWriter {
    /// Says whether [`RecordingWriter::create`] would refuse because something is there already, without making anything.
    ///
    /// # Errors
    ///
    /// As [`RecordingWriter::create`].
    pub fn check(target: impl Into<Target>) -> Result<(), RecordingError> {
        let target = target.into();
        match target.location() {
            Location::Directory(path) => Self::check_directory(path),
            Location::Store(url) => match store::standing(&target, url)? {
                Standing::Nothing => Ok(()),
                Standing::Unsealed | Standing::Sealed => {
                    Err(RecordingError::NotEmpty { path: target.shown().to_owned() })
                }
            },
        }
    }

    fn check_directory(path: &Path) -> Result<(), RecordingError> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(RecordingError::NotEmpty { path: path.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RecordingError::file("create", path)(error)),
        }
    }

    /// Says what stands in a directory, or in a store and this machine's spool for it, without changing anything.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NotEmpty`] where something else than a recording is there, [`RecordingError::Version`] where it is one of
    /// another version, [`RecordingError::File`] where the system refuses.
    pub fn standing(target: impl Into<Target>) -> Result<Standing, RecordingError> {
        let target = target.into();
        match target.location() {
            Location::Directory(path) => Self::standing_in(path),
            Location::Store(url) => store::standing(&target, url),
        }
    }

    fn standing_in(path: &Path) -> Result<Standing, RecordingError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Standing::Nothing),
            Err(error) => Err(error),
        };
        let entries: Vec<PathBuf> = entries.map_err(RecordingError::file("read", path))?;
        if entries.is_empty() {
            return Ok(Standing::Nothing);
        }
        match Manifest::read(path) {
            Ok(manifest) if manifest.sealed => Ok(Standing::Sealed),
            Ok(_) => Ok(Standing::Unsealed),
            // The name of the folder of segments alone is no sign: what is in it must be segments.
            Err(RecordingError::NoManifest { .. } | RecordingError::BadManifest { .. })
                if only_begun(&entries) && segments_in(path).is_some_and(|(_, others)| others == 0)
                    || segments_in(path).is_some_and(|(segments, _)| segments > 0) =>
            {
                Ok(Standing::Unsealed)
            }
            Err(RecordingError::NoManifest { .. } | RecordingError::BadManifest { .. }) => {
                Err(RecordingError::NotEmpty { path: path.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a recording in a directory, which must be empty or not exist, or in a store, where nothing may be.
    ///
    /// On its way to a store it is written to a spool on this machine: what is said here of the disk is said of that. Closed
    /// segments are uploaded meanwhile, and leave the spool then.
    ///
    /// Until it is sealed its manifest says so, and [`super::Recording::open`] refuses it. Once this returns, the recording with
    /// its source is on the disk.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NotEmpty`] where something is there already, [`RecordingError::Fenced`] where somebody makes one at this
    /// moment ([`RecordingError::Claimed`] on another machine), [`RecordingError::File`] where the system or the store refuses.
    pub fn create(target: impl Into<Target>, source: Source) -> Result<Self, RecordingError> {
        Self::create_masked(target, source, Vec::new(), None)
    }

    /// Creates a recording as [`RecordingWriter::create`] does, whose manifest names `masks` and the policy they come from before
    /// it holds anything.
    ///
    /// # Errors
    ///
    /// As [`RecordingWriter::create`].
    pub fn create_masked(
        target: impl Into<Target>,
        source: Source,
        masks: Vec<Mask>,
        masking: Option<Masking>,
    ) -> Result<Self, RecordingError> {
        let target = target.into();
        let manifest = Manifest { masks, masking, ..Manifest::new(source) };
        match target.location() {
            Location::Directory(path) => Self::create_in(path, manifest, None),
            Location::Store(url) => {
                if store::standing(&target, url)? != Standing::Nothing {
                    return Err(RecordingError::NotEmpty { path: target.shown().to_owned() });
                }
                let remote = Remote::begin_new(&target, Whole::ByAndBy)?;
                Self::create_in(&remote.recording(), manifest, Some(remote))
            }
        }
    }

    fn create_in(path: &Path, manifest: Manifest, remote: Option<Remote>) -> Result<Self, RecordingError> {
        Self::check_directory(path)?;
        disk::create_directories(path).map_err(RecordingError::file("create", path))?;
        let fence = Fence::take(path)?;
        let segments = path.join(SEGMENTS);
        match fs::create_dir(&segments) {
            // Somebody else made a recording here since it was looked at, and is gone again.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(RecordingError::NotEmpty { path: path.to_owned() });
            }
            made => made.map_err(RecordingError::file("create", &segments))?,
        }
        manifest.write(path)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            segment: None,
            tracker: Tracker::default(),
            ledger: Ledger::default(),
            pending: Vec::new(),
            carried: Vec::new(),
            acknowledged: Arc::default(),
            acknowledged_rows: 0,
            next_segment: 0,
            segment_groups: GROUPS_MAX,
            group_rows: 0,
            group_bytes: 0,
            rows: 0,
            resumed_state: 0,
            fence,
            remote,
        })
    }

    /// Takes up the writing of a recording that was cut off: by a crash, a loss of power, a full disk.
    ///
    /// Of one on its way to a store, the segments that are there count with those in the spool of this machine; where the spool
    /// is lost, they are all there is.
    ///
    /// The segments alone are the truth: one that is torn is cut back to its last footer of which everything stands, and what
    /// comes now goes to a new one. A manifest that was lost is made of the segments.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Sealed`] where it was finished, [`RecordingError::Fenced`] where somebody writes it,
    /// [`RecordingError::NotEmpty`] where something else stands there, [`RecordingError::Claimed`] where somebody writes it on
    /// another machine, [`RecordingError::StaleSpool`] where somebody else has gone on with it; else names the file and the
    /// cause.
    pub fn resume(target: impl Into<Target>) -> Result<(Self, Resumed), RecordingError> {
        let target = target.into();
        match Self::standing(&target)? {
            Standing::Unsealed => {}
            Standing::Sealed => return Err(RecordingError::Sealed { path: target.shown().to_owned() }),
            Standing::Nothing => {
                return Err(RecordingError::NoSuchDirectory { path: target.shown().to_owned() });
            }
        }
        match target.location() {
            Location::Directory(path) => Self::resume_in(path, None),
            Location::Store(_) => {
                let remote = Remote::begin(&target, Whole::ByAndBy)?;
                Self::resume_in(&remote.recording(), Some(remote))
            }
        }
    }

    fn resume_in(path: &Path, remote: Option<Remote>) -> Result<(Self, Resumed), RecordingError> {
        // Where the spool is lost, it begins anew with what the store has.
        disk::create_directories(&path.join(SEGMENTS)).map_err(RecordingError::file("create", path))?;
        let fence = Fence::take(path)?;
        // Under the lock: whoever wrote it may have sealed it since it was looked at.
        let mut left = manifest_left(path)?;
        let mut stored = None;
        if let Some(remote) = &remote {
            let own = left.clone();
            left = remote.fetch_facts(left)?;
            let own = left.is_some() && left == own;
            let mut found = remote.stored()?;
            found.leave_out_late(left.as_ref(), own, path)?;
            stored = Some(found);
        }
        if left.as_ref().is_some_and(|manifest| manifest.sealed) {
            let path = remote.as_ref().map_or(path, |remote| remote.shown());
            return Err(RecordingError::Sealed { path: path.to_owned() });
        }
        // What a manifest vouches for was on the disk under its name, or is in the store: no crash takes it away.
        let in_store = |name: &str| stored.iter().flat_map(Stored::names).any(|stored| stored == name);
        for facts in left.iter().flat_map(|manifest| &manifest.segments).filter(|facts| !in_store(&facts.file)) {
            let file = path.join(&facts.file);
            fs::metadata(&file).map_err(RecordingError::file("open", &file))?;
        }
        let Recovered { manifest, tracker, ledger, state, cut, lost, manifest_lost } =
            recover(path, left, stored.as_ref())?;
        manifest.write(path)?;
        let number = |file: &String| file.strip_prefix(SEGMENTS)?.get(1..)?.strip_suffix(".parquet")?.parse().ok();
        let last: Option<usize> = manifest.segments.iter().filter_map(|segment| number(&segment.file)).max();
        let mut writer = Self {
            path: path.to_owned(),
            next_segment: last.map_or(0, |last| last + 1) + usize::from(remote.as_ref().is_some_and(Remote::took_over)),
            segment_groups: GROUPS_MAX,
            rows: manifest.segments.iter().filter_map(|segment| segment.rows).sum(),
            manifest,
            segment: None,
            tracker,
            ledger,
            pending: Vec::new(),
            carried: Vec::new(),
            acknowledged: Arc::default(),
            acknowledged_rows: 0,
            group_rows: 0,
            group_bytes: 0,
            resumed_state: state,
            fence,
            remote,
        };
        writer.acknowledge();
        writer.upload_what_is_closed()?;
        Ok((writer, Resumed { cut, lost, manifest_lost }))
    }

    /// Ends segments after this many row groups: at least 1, at most the 100 that hold without it.
    pub fn set_segment_groups(&mut self, groups: usize) {
        self.segment_groups = groups.clamp(1, GROUPS_MAX);
    }

    /// Returns the offset of a partition that is wanted next: behind its last event and its last known gap, or where its capture
    /// began; none where the recording knows nothing of it.
    pub fn next_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let last = self.last_offset(topic, partition);
        let accounted = last.max(self.ledger.through(topic, partition)).map(|last| last + 1);
        let source = self.manifest.source.topics.iter().find(|source| source.name == topic);
        accounted.or_else(|| source?.starts.get(&partition).copied())
    }

    /// Returns the offset of the last event of a partition; none where it has no events.
    pub fn last_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.tracker.last_of(topic, partition)
    }

    /// Returns the leader epoch of the last event of a partition: the number of the leadership under which Kafka took it. None where
    /// nobody noted it.
    pub fn last_epoch(&self, topic: &str, partition: i32) -> Option<i32> {
        self.tracker.epoch_of(topic, partition)
    }

    /// Notes the leader epoch of a partition's events from `offset` on, which lies behind all that were written; below zero nobody
    /// knows it. It is on the disk with the row group of the first event that has it.
    pub fn note_epoch(&mut self, topic: &str, partition: i32, offset: i64, epoch: i32) {
        self.tracker.note_epoch(topic, partition, offset, epoch);
    }

    /// Returns where the events come from.
    pub fn source(&self) -> &Source {
        &self.manifest.source
    }

    /// Returns the source, to be added to while events come in.
    pub fn source_mut(&mut self) -> &mut Source {
        &mut self.manifest.source
    }

    /// Returns what the manifest says of what looks personal and was kept.
    pub fn personal(&self) -> &[PersonalFacts] {
        &self.manifest.personal
    }

    /// Returns what the manifest will say of what looks personal and was kept.
    pub fn personal_mut(&mut self) -> &mut Vec<PersonalFacts> {
        &mut self.manifest.personal
    }

    /// Says in the manifest what ends the capture ahead of the end of its window.
    pub fn set_ended_early(&mut self, why: String) {
        self.manifest.ended_early = Some(why);
    }

    /// Whether nothing that looks personal may be kept.
    pub fn strict_privacy(&self) -> bool {
        self.manifest.strict_privacy
    }

    /// Says in the manifest whether nothing that looks personal may be kept.
    pub fn set_strict_privacy(&mut self, strict: bool) {
        self.manifest.strict_privacy = strict;
    }

    /// Returns the masks that the manifest will name.
    pub fn masks_mut(&mut self) -> &mut Vec<Mask> {
        &mut self.manifest.masks
    }

    /// Returns the masks that the manifest names by now.
    pub fn masks(&self) -> &[Mask] {
        &self.manifest.masks
    }

    /// Returns the policy that the masks come from, as the recording tells it.
    pub fn masking(&self) -> Option<&Masking> {
        self.manifest.masking.as_ref()
    }

    /// Reads the schemas that the recording keeps.
    ///
    /// # Errors
    ///
    /// As [`Recording::schemas`].
    pub fn schemas(&self) -> Result<Schemas, RecordingError> {
        schemas::read_all(&self.path, &self.manifest)
    }

    /// Ids of the schemas that the recording keeps.
    pub fn schemas_kept(&self) -> impl Iterator<Item = i32> {
        self.manifest.schema_files.iter().map(|facts| facts.id)
    }

    /// Notes that events of `topic` refer to the schema `id` of a registry.
    pub fn note_schema(&mut self, topic: &str, part: Part, id: i32) {
        schemas::note(&mut self.manifest, topic, part, id);
    }

    /// Keeps the schemas that events of another recording refer to, of the topics that `takes` says by name and role.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] and [`RecordingError::BadSchema`] where one cannot be read or written.
    pub fn keep_schemas_of(
        &mut self,
        recording: &Recording,
        takes: impl Fn(&str, Role) -> bool,
    ) -> Result<(), RecordingError> {
        schemas::keep_of(&self.path, &mut self.manifest, recording, takes)
    }

    /// Keeps a schema in the recording, on the disk at once: what refers to it can be read even after a crash.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where the disk refuses.
    pub fn keep_schema(&mut self, text: &SchemaText) -> Result<(), RecordingError> {
        schemas::keep(&self.path, &mut self.manifest, text)
    }

    /// Number of events written so far, those of before a resume too.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Events of before a resume that stand ahead of the windows of their partitions: what tables held when those began.
    pub fn resumed_state(&self) -> u64 {
        self.resumed_state
    }

    /// Up to where each partition with events is on the disk, as of the last checkpoint: no crash and no loss of power takes
    /// these events away.
    pub fn acknowledged(&self) -> Arc<[AcknowledgedPartition]> {
        Arc::clone(&self.acknowledged)
    }

    /// Number of events that are on the disk, as of the last checkpoint.
    pub fn acknowledged_rows(&self) -> u64 {
        self.acknowledged_rows
    }

    /// Notes that a stretch of offsets behind all events of the partition that were written, or are about to be, holds no event.
    ///
    /// It is in the ledger at once, and on the disk with the row group of the next event of the partition, or else with the next
    /// checkpoint that writes anything: all events ahead of it must have been written by then.
    pub fn missing(&mut self, topic: &str, partition: i32, missing: MissingOffsets) {
        self.ledger.add(topic, partition, missing);
        self.pending.push((self.tracker.topic_at(topic), partition, missing));
    }

    /// Notes in the manifest, once that is written, what the cluster has deleted behind the events of a recording that is not gone
    /// on with for that reason, in place of what was noted so before: where the recording is ended as it stands, it is in the
    /// ledger. Whoever goes on with it sees for himself what the cluster holds, and notes nothing.
    pub fn note_overtaken(&mut self, overtaken: &[(String, i32, MissingOffsets)]) {
        let mut noted = Ledger::default();
        for (topic, partition, missing) in overtaken {
            noted.add(topic, *partition, *missing);
        }
        self.manifest.gaps = noted.facts();
    }

    /// Takes over what the ledger of another recording says, whose events are all written here and no others.
    pub fn carry_gaps(&mut self, gaps: &[PartitionGaps]) {
        for gaps in gaps {
            let topic = self.tracker.topic_at(&gaps.topic);
            for carried in GroupGaps::of_ledger(topic, gaps) {
                self.ledger.absorb(&gaps.topic, &carried);
                self.carried.push(carried);
            }
        }
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
    /// [`RecordingError::File`] and [`RecordingError::Parquet`] where the disk refuses; the writer must then be dropped.
    pub fn checkpoint(&mut self) -> Result<(), RecordingError> {
        if self.group_rows > 0 {
            let pending = std::mem::take(&mut self.pending);
            self.end_group(pending)?;
        }
        match &mut self.segment {
            Some(segment) if segment.is_full(self.segment_groups) => self.rotate()?,
            Some(segment) => {
                segment.write_footer(&self.manifest)?;
                segment.sync()?;
            }
            None => {}
        }
        if let Some(remote) = &mut self.remote {
            // Not only once the next segment is closed, which may take long.
            remote.check_uploads()?;
        }
        self.acknowledge();
        Ok(())
    }

    /// Writes the manifest with what the source says by now; it stays unsealed.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where the disk refuses.
    pub fn write_manifest(&self) -> Result<(), RecordingError> {
        self.manifest.write(&self.path)
    }

    /// Finishes the recording: the last footer, hashes, and a manifest that says `sealed`, all of it on the disk.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] and [`RecordingError::Parquet`] where the disk refuses.
    pub fn seal(mut self) -> Result<Manifest, RecordingError> {
        let pending = std::mem::take(&mut self.pending);
        if self.group_rows > 0 {
            self.end_group(pending)?;
        } else if let Some(segment) = &mut self.segment {
            segment.add_gaps(sum_up(pending), self.tracker.topics());
        }
        if let Some(segment) = &mut self.segment {
            segment.add_gaps(std::mem::take(&mut self.carried), self.tracker.topics());
        }
        self.end_segment()?;
        self.ledger.take_noted(&self.manifest.gaps, |topic, partition| self.tracker.last_of(topic, partition));
        self.manifest.partitions = self.tracker.facts();
        self.manifest.gaps = self.ledger.facts();
        self.manifest.span = self.tracker.span();
        self.manifest.source.topics.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(remote) = self.remote {
            // The spool is never sealed: until the store says that the recording is, whoever comes goes on with it.
            self.manifest.write(&self.path)?;
            remote.seal(&mut self.manifest)?;
            return Ok(self.manifest);
        }
        self.manifest.sealed = true;
        self.manifest.write(&self.path)?;
        self.fence.lift();
        Ok(self.manifest)
    }

    /// Takes away a recording that holds no event: its place is free again.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where the disk or the store refuses.
    pub(crate) fn discard(self) -> Result<(), RecordingError> {
        debug_assert_eq!(self.rows, 0, "what was taken stays");
        if let Some(remote) = self.remote {
            return remote.withdraw();
        }
        let manifest = self.path.join(MANIFEST_FILE);
        for file in self.manifest.schema_files.iter().map(|schema| self.path.join(&schema.file)) {
            fs::remove_file(&file).map_err(RecordingError::file("remove", &file))?;
        }
        fs::remove_file(&manifest).map_err(RecordingError::file("remove", &manifest))?;
        // The lock last: whoever comes meanwhile waits for an empty folder. What somebody else has put there stays, and its folder.
        for folder in [SEGMENTS, schemas::FOLDER] {
            let _ = fs::remove_dir(self.path.join(folder));
        }
        self.fence.lift();
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// Has the closed segments uploaded that are not under way to the store yet.
    fn upload_what_is_closed(&mut self) -> Result<(), RecordingError> {
        let Some(remote) = &mut self.remote else { return Ok(()) };
        remote.upload_closed(&self.manifest)
    }

    /// Whether the store that the recording is written to answers; none where it is written to a directory.
    pub fn store(&self) -> Option<&StoreReach> {
        self.remote.as_ref().map(Remote::reach)
    }

    /// What there is to know about where the recording goes, as sentences.
    pub fn notes(&self) -> Vec<String> {
        self.remote.as_ref().map(Remote::notes).unwrap_or_default()
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
        let path = self.path.join(segment_name(self.next_segment));
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
            let pending = self.pending_within_group();
            self.end_group(pending)?;
            match &mut self.segment {
                Some(segment) if segment.is_full(self.segment_groups) => self.rotate()?,
                Some(segment) => segment.write_footer(&self.manifest)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Takes those gaps out of the pending ones behind which an event was written: whoever reads of such a gap finds all events
    /// ahead of it.
    fn pending_within_group(&mut self) -> Vec<(u32, i32, MissingOffsets)> {
        let tracker = &self.tracker;
        let behind =
            |gap: &mut (u32, i32, MissingOffsets)| tracker.last(gap.0, gap.1).is_some_and(|last| last > gap.2.last);
        self.pending.extract_if(.., behind).collect()
    }

    fn end_group(&mut self, gaps: Vec<(u32, i32, MissingOffsets)>) -> Result<(), RecordingError> {
        let mut group = self.tracker.end_group();
        group.gaps = sum_up(gaps);
        self.group_rows = 0;
        self.group_bytes = 0;
        match &mut self.segment {
            Some(segment) => segment.end_group(group, self.tracker.topics()),
            None => Ok(()),
        }
    }

    /// Ends the segment. The manifest vouches for it from now on, so that no resume need read it again.
    fn rotate(&mut self) -> Result<(), RecordingError> {
        self.end_segment()?;
        self.manifest.write(&self.path)?;
        self.upload_what_is_closed()
    }

    fn end_segment(&mut self) -> Result<(), RecordingError> {
        if let Some(segment) = self.segment.take() {
            let Finished { facts, footers_outweigh } =
                segment.finish(segment_name(self.next_segment), &self.manifest)?;
            let facts = if footers_outweigh { gather(&self.path, facts, &self.manifest)? } else { facts };
            self.manifest.segments.push(facts);
            self.next_segment += 1;
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        let partition = |facts: super::PartitionFacts| AcknowledgedPartition {
            topic: facts.topic,
            partition: facts.partition,
            next: facts.last + 1,
        };
        self.acknowledged = self.tracker.facts().into_iter().map(partition).collect();
        self.acknowledged_rows = self.rows;
    }
}

/// Number of segments, and of other files, in the folder of segments; none where it is no folder.
fn segments_in(path: &Path) -> Option<(usize, usize)> {
    let entries = match fs::read_dir(path.join(SEGMENTS)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some((0, 0)),
        Err(_) => return None,
    };
    let is_segment = |name: &str| name.ends_with(".parquet") || name.ends_with(".parquet.cut");
    let (segments, others): (Vec<_>, Vec<_>) =
        entries.partition(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_segment)));
    Some((segments.len(), others.len()))
}

/// Name of the segment `index` in its recording.
pub(super) fn segment_name(index: usize) -> String {
    format!("{SEGMENTS}/{index:06}.parquet")
}
