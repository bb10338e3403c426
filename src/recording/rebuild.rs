//! A recording without its manifest, or cut off while it was written, made whole again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parquet::file::metadata::ParquetMetaDataReader;

use super::coverage::{SOURCE_KEY, Tracker};
use super::manifest::{Manifest, SegmentFacts, Source};
use super::segment::Segment;
use super::verify::sha256;
use super::writer::SEGMENTS;
use super::{Recording, RecordingError};

/// What rebuilding a recording came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The manifest that was written; sealed.
    pub manifest: Manifest,
    /// Segments that had been cut: they keep every whole row group, what came after was dropped.
    pub cut: Vec<PathBuf>,
    /// Segments without a single whole row group: they were renamed to end in `.cut` and are no part of the recording.
    pub lost: Vec<PathBuf>,
}

impl Recording {
    /// Writes the manifest of the recording in the directory `path` again, from its segments.
    ///
    /// For a recording whose manifest was lost or is damaged (then it is kept as `manifest.json.cut`), or whose writing was cut off. A segment that was cut is cut back to its last
    /// whole row group. The source (cluster, topics and their configuration), masks and schemas come from a manifest that is not
    /// sealed where there is one, else the source comes from the segments' footers. What is sealed stays as it is.
    ///
    /// # Errors
    ///
    /// Names the file and the cause.
    pub fn rebuild(path: impl AsRef<Path>) -> Result<Rebuilt, RecordingError> {
        let path = path.as_ref();
        let mut manifest = match Manifest::read(path) {
            Ok(manifest) if manifest.sealed => {
                return Ok(Rebuilt { manifest, cut: Vec::new(), lost: Vec::new() });
            }
            Ok(manifest) => manifest,
            Err(RecordingError::NoManifest { .. }) if path.join(SEGMENTS).is_dir() => Manifest::new(Source::default()),
            Err(RecordingError::BadManifest { path: file, .. }) if path.join(SEGMENTS).is_dir() => {
                // What is left of it may still say something to a person.
                let aside = file.with_extension("json.cut");
                fs::rename(&file, &aside).map_err(RecordingError::file("rename", &file))?;
                Manifest::new(Source::default())
            }
            Err(error) => return Err(error),
        };
        manifest.segments.clear();
        let (mut cut, mut lost) = (Vec::new(), Vec::new());
        let mut tracker = Tracker::default();
        for file in segment_files(path)? {
            let segment = match Segment::open(&file) {
                Ok(segment) => segment,
                Err(RecordingError::Parquet { .. }) => {
                    if !cut_back(&file)? {
                        let aside = file.with_extension("parquet.cut");
                        fs::rename(&file, &aside).map_err(RecordingError::file("rename", &file))?;
                        lost.push(aside);
                        continue;
                    }
                    cut.push(file.clone());
                    Segment::open(&file)?
                }
                Err(error) => return Err(error),
            };
            take(&mut manifest, path, &segment, &mut tracker)?;
        }
        manifest.partitions = tracker.facts();
        manifest.span = tracker.span();
        manifest.sealed = true;
        manifest.write(path)?;
        Ok(Rebuilt { manifest, cut, lost })
    }
}

/// Adds what a segment says of itself to the manifest.
fn take(
    manifest: &mut Manifest,
    recording: &Path,
    segment: &Segment,
    tracker: &mut Tracker,
) -> Result<(), RecordingError> {
    let coverage = segment.coverage()?;
    for group in &coverage.row_groups {
        tracker.observe_group(&coverage, group, segment.path())?;
    }
    if manifest.source == Source::default()
        && let Some(source) = segment.footer_text(SOURCE_KEY).and_then(|text| serde_json::from_str(text).ok())
    {
        manifest.source = source;
    }
    let name = segment.path().strip_prefix(recording).unwrap_or(segment.path());
    manifest.segments.push(SegmentFacts {
        file: name.to_string_lossy().into_owned(),
        rows: Some(coverage.row_groups.iter().map(|group| group.rows).sum()),
        bytes: Some(segment.bytes()),
        sha256: Some(sha256(segment.path()).map_err(RecordingError::file("read", segment.path()))?),
    });
    Ok(())
}

/// Segments of the recording, in order of name.
fn segment_files(recording: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let folder = recording.join(SEGMENTS);
    let entries = fs::read_dir(&folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut files: Vec<PathBuf> = entries.map_err(RecordingError::file("read", &folder))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    Ok(files)
}

/// The last bytes of a footer.
const MAGIC: &[u8; 4] = b"PAR1";

/// Bytes that are searched at once.
const STEP: u64 = 1 << 20;

/// Cuts the file back to the end of its last whole footer; returns whether there is one.
fn cut_back(path: &Path) -> Result<bool, RecordingError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(RecordingError::file("open", path))?;
    let read = || RecordingError::file("read", path);
    let mut end = file.metadata().map_err(read())?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        // Read a little into the stretch behind: a mark may lie across the border.
        let mut bytes = vec![0; (end - start) as usize + MAGIC.len() - 1];
        let filled = read_at_most(&file, &mut bytes, start).map_err(read())?;
        bytes.truncate(filled);
        for at in (0..bytes.len().saturating_sub(MAGIC.len() - 1)).rev() {
            let mark = start + at as u64 + MAGIC.len() as u64;
            if bytes[at..].starts_with(MAGIC) && whole_footer(&file, mark).map_err(read())? {
                let cut = file.set_len(mark).and_then(|()| file.sync_all());
                return cut.map(|()| true).map_err(RecordingError::file("write", path));
            }
        }
        end = start;
    }
    Ok(false)
}

/// Whether a footer ends at `end`. The mark alone may stand in the bytes of an event.
fn whole_footer(file: &fs::File, end: u64) -> std::io::Result<bool> {
    let Some(tail) = end.checked_sub(8).filter(|tail| *tail >= 4) else { return Ok(false) };
    let mut length = [0; 4];
    file.read_exact_at(&mut length, tail)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail.checked_sub(length).filter(|start| *start >= 4) else { return Ok(false) };
    let mut footer = vec![0; length as usize];
    file.read_exact_at(&mut footer, start)?;
    Ok(ParquetMetaDataReader::decode_metadata(&footer).is_ok_and(|metadata| metadata.num_row_groups() > 0))
}

fn read_at_most(file: &fs::File, buffer: &mut [u8], start: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], start + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
