//! What the segments of a recording hold after its writing was cut off, whatever its manifest says.
//!
//! The segments alone are the truth. A crash of the process leaves the end of the last segment torn; a loss of power may keep
//! any of the bytes that nobody had made sure of and lose any other. So a segment that no manifest vouches for counts up to the
//! last footer behind which every byte is what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parquet::file::metadata::ParquetMetaDataReader;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::coverage::{COVERAGE_KEY, Coverage, GroupBytes, GroupCoverage, MASKS_KEY, SCHEMAS_KEY, SOURCE_KEY, Tracker};
use super::gaps::Ledger;
use super::gather::remove_left;
use super::manifest::{self, FooterMasks, Manifest, Mask, SchemaSeen, SegmentFacts, Source};
use super::segment::Segment;
use super::segment_writer::hash_text;
use super::store::Stored;
use super::verify::holds_what_it_covers;
use super::writer::SEGMENTS;
use super::{Columns, RecordingError, disk, schemas};

/// A recording as its segments tell it, not sealed.
pub(super) struct Recovered {
    /// Manifest of the segments that are whole now; partitions, gaps and span stand in tracker and ledger.
    pub(super) manifest: Manifest,
    pub(super) tracker: Tracker,
    pub(super) ledger: Ledger,
    /// Events ahead of the windows of their partitions.
    pub(super) state: u64,
    /// Segments that were cut back.
    pub(super) cut: Vec<PathBuf>,
    /// Segments that held nothing whole and were renamed.
    pub(super) lost: Vec<PathBuf>,
    /// Whether there was no manifest that could be read.
    pub(super) manifest_lost: bool,
}

impl Recovered {
    /// Fills in what the manifest says of partitions, gaps and span.
    pub(super) fn complete_manifest(&mut self) {
        self.ledger.take_noted(&self.manifest.gaps, |topic, partition| self.tracker.last_of(topic, partition));
        self.manifest.partitions = self.tracker.facts();
        self.manifest.gaps = self.ledger.facts();
        self.manifest.span = self.tracker.span();
    }
}

/// Reads the manifest of a recording that was not sealed; none where it is gone, or cannot be read, in which case it is kept as
/// `manifest.json.cut`. What is sealed comes back as it is.
pub(super) fn manifest_left(path: &Path) -> Result<Option<Manifest>, RecordingError> {
    match Manifest::read(path) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(RecordingError::NoManifest { .. }) if path.join(SEGMENTS).is_dir() => Ok(None),
        Err(RecordingError::BadManifest { path: file, .. }) if path.join(SEGMENTS).is_dir() => {
            // What is left of it may still say something to a person.
            let aside = file.with_extension("json.cut");
            fs::rename(&file, &aside).map_err(RecordingError::file("rename", &file))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes every segment of the recording in `path` whole: one that was cut is cut back to its last footer of which everything
/// stands, one without such a footer is renamed to end in `.cut`. Where the recording is on its way to a store, the segments that
/// are there already count with those in `path`; they are whole.
pub(super) fn recover(
    path: &Path,
    left: Option<Manifest>,
    stored: Option<&Stored>,
) -> Result<Recovered, RecordingError> {
    let manifest_lost = left.is_none();
    let mut manifest = left.unwrap_or_else(|| Manifest::new(Source::default()));
    let known = std::mem::take(&mut manifest.segments);
    manifest.personal.clear();
    schemas::find(path, &mut manifest)?;
    let (tracker, ledger) = (Tracker::default(), Ledger::default());
    let mut recovered =
        Recovered { manifest, tracker, ledger, state: 0, cut: Vec::new(), lost: Vec::new(), manifest_lost };
    let mut names: BTreeSet<String> = stored.iter().flat_map(|stored| stored.names()).map(str::to_owned).collect();
    let segments = path.join(SEGMENTS);
    for file in segment_files(path)? {
        names.insert(file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned());
    }
    remove_left(&segments).map_err(RecordingError::file("remove", &segments))?;
    // The last segment that lies in the spool alone.
    let mut alone = None;
    for name in names {
        let file = path.join(&name);
        if let Some(stored) = stored
            && let Some(segment) = stored.segment(&name)?
        {
            let vouched = if file.exists() {
                // The spool's manifest vouches for the spool's: what the store's is, its bytes alone say.
                let sha256 = segment.sha256()?;
                stored.settle(&file, &sha256, path)?;
                let (rows, bytes) = (None, Some(segment.bytes()));
                Some(SegmentFacts { file: name.clone(), rows, bytes, sha256: Some(sha256) })
            } else {
                known.iter().find(|facts| facts.file == name && facts.bytes == Some(segment.bytes())).cloned()
            };
            let taken = recovered.take(name, &segment, vouched.as_ref());
            taken.map_err(|error| stored.told(error, alone.as_deref(), path))?;
            continue;
        }
        // The manifest is written once a segment is on the disk: it vouches for one of the same length.
        let length = fs::metadata(&file).map_err(RecordingError::file("read", &file))?.len();
        let vouched = known.iter().find(|facts| facts.file == name && facts.bytes == Some(length));
        if vouched.is_none() && !recovered.make_whole(&file)? {
            continue;
        }
        let taken = recovered.take(name, &Segment::open(&file)?, vouched);
        match stored {
            Some(stored) => taken.map_err(|error| stored.told(error, Some(&file), path))?,
            None => taken?,
        }
        alone = Some(file);
    }
    disk::sync_directory(&segments).map_err(RecordingError::file("write", &segments))?;
    Ok(recovered)
}

impl Recovered {
    /// Cuts the segment back where it must be; returns whether anything of it is left.
    fn make_whole(&mut self, file: &Path) -> Result<bool, RecordingError> {
        if is_whole(file)? {
            // Whoever wrote it may have been killed ahead of its sync: what stands in memory alone, no manifest may vouch for.
            disk::sync_file(file).map_err(RecordingError::file("write", file))?;
            return Ok(true);
        }
        if cut_back(file)? {
            self.cut.push(file.to_owned());
            return Ok(true);
        }
        let aside = file.with_extension("parquet.cut");
        fs::rename(file, &aside).map_err(RecordingError::file("rename", file))?;
        self.lost.push(aside);
        Ok(false)
    }

    /// Adds what a segment says of itself.
    fn take(&mut self, name: String, segment: &Segment, vouched: Option<&SegmentFacts>) -> Result<(), RecordingError> {
        let coverage = segment.coverage()?;
        for group in &coverage.row_groups {
            self.tracker.observe_group(&coverage, group, segment.path())?;
            for gaps in &group.gaps {
                self.ledger.absorb(&coverage.topics[gaps.topic as usize], gaps);
            }
        }
        // A later segment knows of topics that came later.
        if self.manifest_lost
            && let Some(source) = segment.footer_text(SOURCE_KEY).and_then(|text| serde_json::from_str(text).ok())
        {
            self.manifest.source = source;
        }
        self.take_told(segment);
        for (index, group) in coverage.row_groups.iter().enumerate() {
            self.state += state_in(segment, index, group, &coverage.topics, &self.manifest.source)?;
        }
        let hash = match vouched.and_then(|facts| facts.sha256.clone()) {
            Some(hash) => hash,
            None => segment.sha256()?,
        };
        self.manifest.segments.push(SegmentFacts {
            file: name,
            rows: Some(coverage.row_groups.iter().map(|group| group.rows).sum()),
            bytes: Some(segment.bytes()),
            sha256: Some(hash),
        });
        Ok(())
    }
}

impl Recovered {
    /// Takes in what the footer says of masks and schemas, which may be more than the manifest knew when it was last written.
    fn take_told(&mut self, segment: &Segment) {
        let masks = segment.footer_text(MASKS_KEY).and_then(|text| serde_json::from_str(text).ok());
        if let Some(FooterMasks { masking, masks, personal, strict_privacy }) = masks {
            self.manifest.masking = masking;
            self.manifest.strict_privacy |= strict_privacy;
            // With what came behind this footer the manifest counts what is taken again.
            self.manifest.personal = personal;
            // A footer may stand ahead of events that were counted, or behind ones that were not.
            self.manifest.masks = masks.into_iter().map(|mask| Mask { count: None, ..mask }).collect();
        }
        let seen = segment.footer_text(SCHEMAS_KEY).and_then(|text| serde_json::from_str(text).ok());
        for one in seen.into_iter().flat_map(|seen: Vec<SchemaSeen>| seen) {
            schemas::note_seen(&mut self.manifest, one);
        }
    }
}

/// Number of events of a row group that stand ahead of the windows of their partitions. It is read only where it holds some on
/// either side.
fn state_in(
    segment: &Segment,
    index: usize,
    group: &GroupCoverage,
    topics: &[String],
    source: &Source,
) -> Result<u64, RecordingError> {
    let window = |topic: &str, partition: i32| {
        source.topics.iter().find(|known| known.name == topic)?.windows.get(&partition).copied()
    };
    let (mut state, mut both) = (0, BTreeMap::new());
    for extent in &group.extents {
        let name = topics[extent.topic as usize].as_str();
        match window(name, extent.partition) {
            Some(window) if extent.last < window => state += extent.count,
            Some(window) if extent.first < window => {
                both.insert((name, extent.partition), window);
            }
            _ => {}
        }
    }
    if both.is_empty() {
        return Ok(state);
    }
    for batch in segment.read_group(index, Columns::NONE)? {
        let ahead =
            |topic, partition, offset: i64| both.get(&(topic, partition)).is_some_and(|window| offset < *window);
        let batch = batch?;
        state += batch.iter().filter(|event| ahead(event.topic, event.partition, event.offset)).count() as u64;
    }
    Ok(state)
}

/// Segments of the recording, in order of name.
fn segment_files(recording: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let folder = recording.join(SEGMENTS);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        // Whoever made the recording came no further than this.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            disk::create_directories(&folder).map(|()| Vec::new())
        }
        Err(error) => Err(error),
    };
    let mut files: Vec<PathBuf> = entries.map_err(RecordingError::file("read", &folder))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    Ok(files)
}

/// Whether the segment ends with a footer and holds all that it says. One that another tool wrote need only be readable, and must
/// name that tool: zeros read as the end of what Parquet's metadata holds, so that a torn footer of ours may have lost what it
/// covers, and then it has lost the name behind that, too.
fn is_whole(path: &Path) -> Result<bool, RecordingError> {
    let segment = match Segment::open(path) {
        Ok(segment) => segment,
        Err(RecordingError::Parquet { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if segment.footer_text(COVERAGE_KEY).is_none() && !segment.names_its_writer() {
        return Ok(false);
    }
    let Ok(coverage) = segment.coverage() else { return Ok(false) };
    if coverage.row_groups.iter().all(|group| group.bytes.is_none()) {
        return Ok(true);
    }
    let file = fs::File::open(path).map_err(RecordingError::file("open", path))?;
    let mut checked = Checked::default();
    for group in &coverage.row_groups {
        if !checked.holds(&file, group.bytes.as_ref()).map_err(RecordingError::file("read", path))? {
            return Ok(false);
        }
    }
    if coverage.hashed {
        let end = file.metadata().map_err(RecordingError::file("read", path))?.len();
        let footer = footer_before(&file, end).map_err(RecordingError::file("read", path))?;
        return Ok(footer.is_some_and(|(start, bytes)| hash_stands_before(&file, start, &bytes)));
    }
    // Nothing but its events vouches for the last footer of a segment.
    holds_what_it_covers(&segment, &coverage)
}

/// Which row groups hold what their footers say: footers repeat those ahead of them.
#[derive(Default)]
struct Checked(BTreeMap<(u64, u64, String), bool>);

impl Checked {
    fn holds(&mut self, file: &fs::File, bytes: Option<&GroupBytes>) -> std::io::Result<bool> {
        let Some(GroupBytes(start, end, expected)) = bytes else { return Ok(true) };
        let key = (*start, *end, expected.clone());
        if let Some(&known) = self.0.get(&key) {
            return Ok(known);
        }
        let mut hash = Xxh3Default::new();
        let mut buffer = vec![0; 256 << 10];
        let mut at = *start;
        while at < *end {
            let wanted = (*end - at).min(buffer.len() as u64) as usize;
            match file.read_at(&mut buffer[..wanted], at)? {
                0 => break,
                read => {
                    hash.update(&buffer[..read]);
                    at += read as u64;
                }
            }
        }
        let holds = at == *end && hash_text(hash.digest()) == *expected;
        self.0.insert(key, holds);
        Ok(holds)
    }
}

/// The last bytes of a footer.
const MAGIC: &[u8; 4] = b"PAR1";

/// Bytes that are searched at once.
const STEP: u64 = 1 << 20;

/// Cuts the file back to the end of its last whole footer; returns whether there is one.
fn cut_back(path: &Path) -> Result<bool, RecordingError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(RecordingError::file("open", path))?;
    let read = || RecordingError::file("read", path);
    let mut checked = Checked::default();
    let mut end = file.metadata().map_err(read())?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        // Read a little into the stretch behind: a mark may lie across the border.
        let mut bytes = Vec::new();
        let stretch = (end - start) + MAGIC.len() as u64 - 1;
        ReadAt { file: &file, at: start }.take(stretch).read_to_end(&mut bytes).map_err(read())?;
        for at in (0..bytes.len().saturating_sub(MAGIC.len() - 1)).rev() {
            let mark = start + at as u64 + MAGIC.len() as u64;
            if bytes[at..].starts_with(MAGIC) && whole_footer(&file, mark, path, &mut checked).map_err(read())? {
                let cut = file.set_len(mark).and_then(|()| file.sync_all());
                return cut.map(|()| true).map_err(RecordingError::file("write", path));
            }
        }
        end = start;
    }
    Ok(false)
}

/// Whether a footer of ours ends at `end`, ahead of which everything stands. The mark alone may stand in the bytes of an event.
fn whole_footer(file: &fs::File, end: u64, path: &Path, checked: &mut Checked) -> std::io::Result<bool> {
    let Some((start, bytes)) = footer_before(file, end)? else { return Ok(false) };
    let Ok(metadata) = ParquetMetaDataReader::decode_metadata(&bytes[..bytes.len() - 8]) else { return Ok(false) };
    if metadata.num_row_groups() == 0 {
        return Ok(false);
    }
    // Torn, or what an event holds: another tool writes one footer, which is looked at as a whole.
    let Ok(Some(coverage)) = Coverage::from_footer(metadata.file_metadata().key_value_metadata(), path) else {
        return Ok(false);
    };
    // Only footers that vouch for themselves count: the last one of a segment does not. Early ones of the format had no hashes.
    let early = coverage.row_groups.iter().all(|group| group.bytes.is_none());
    let vouched = coverage.hashed && hash_stands_before(file, start, &bytes);
    if !(early || vouched) {
        return Ok(false);
    }
    for group in &coverage.row_groups {
        if !checked.holds(file, group.bytes.as_ref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns where the footer that ends at `end` starts, and its bytes up to the mark; none where there can be none.
fn footer_before(file: &fs::File, end: u64) -> std::io::Result<Option<(u64, Vec<u8>)>> {
    let Some(tail) = end.checked_sub(8).filter(|tail| *tail >= 4) else { return Ok(None) };
    let mut length = [0; 4];
    file.read_exact_at(&mut length, tail)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail.checked_sub(length).filter(|start| *start >= 4) else { return Ok(None) };
    let mut footer = vec![0; (end - start) as usize];
    file.read_exact_at(&mut footer, start)?;
    Ok(Some((start, footer)))
}

/// Whether the hash of a footer's bytes stands right before it.
fn hash_stands_before(file: &fs::File, start: u64, footer: &[u8]) -> bool {
    let mut hash = [0; 8];
    let Some(at) = start.checked_sub(hash.len() as u64) else { return false };
    file.read_exact_at(&mut hash, at).is_ok() && u64::from_le_bytes(hash) == xxh3_64(footer)
}

/// Reads a file from a place on without moving its cursor.
struct ReadAt<'f> {
    file: &'f fs::File,
    at: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What stands in the directory of a recording before its manifest is first written.
pub(super) fn only_begun(entries: &[PathBuf]) -> bool {
    let own = [SEGMENTS, schemas::FOLDER, super::fence::FILE, manifest::UNDER_WAY];
    !entries.is_empty()
        && entries
            .iter()
            .all(|entry| entry.file_name().and_then(|name| name.to_str()).is_some_and(|name| own.contains(&name)))
}
