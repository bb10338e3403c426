//! A finished segment of many small row groups, gathered into few full ones.
//!
//! Each checkpoint ends a row group and is followed by a footer of all so far, so that a segment that is cut off can be read. Where
//! events come slowly those footers are most of its bytes, and once it is finished nobody reads them any more.

use std::fs;
use std::io;
use std::path::Path;

use super::coverage::{Extent, GroupCoverage};
use super::manifest::{Manifest, SegmentFacts};
use super::schema::Columns;
use super::segment::Segment;
use super::segment_writer::SegmentWriter;
use super::writer::{GROUP_BYTES, GROUP_ROWS};
use super::{RecordingError, disk};

/// What the name of a segment that is being gathered ends with. No reader takes it for a segment.
pub(super) const UNDER_WAY: &str = "parquet.new";

/// Writes the segment that `facts` name again, with the same events in the same order, in row groups as full as they may be, and
/// returns what it then is.
///
/// The segment is whole on the disk, and stays so: the other one takes its name once it is on the disk, all of it. Where the disk has no
/// room for both the segment stays as it is.
pub(super) fn gather(
    recording: &Path,
    facts: SegmentFacts,
    manifest: &Manifest,
) -> Result<SegmentFacts, RecordingError> {
    let path = recording.join(&facts.file);
    let under_way = path.with_extension(UNDER_WAY);
    let gathered = match write_again(&path, &under_way, &facts.file, manifest) {
        Ok(gathered) => gathered,
        Err(error) if lacks_room(&error) => {
            return match fs::remove_file(&under_way) {
                // There was no room for its name even.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(facts),
                removed => removed.map(|()| facts).map_err(RecordingError::file("remove", &under_way)),
            };
        }
        Err(error) => return Err(error),
    };
    let replace = || {
        fs::rename(&under_way, &path)?;
        path.parent().map_or(Ok(()), disk::sync_directory)
    };
    replace().map_err(RecordingError::file("rename", &under_way))?;
    Ok(gathered)
}

/// Removes what whoever was killed while gathering left.
pub(super) fn remove_left(segments: &Path) -> io::Result<()> {
    for entry in fs::read_dir(segments)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(&format!(".{UNDER_WAY}")) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn write_again(path: &Path, under_way: &Path, name: &str, manifest: &Manifest) -> Result<SegmentFacts, RecordingError> {
    let segment = Segment::open(path)?;
    let coverage = segment.coverage()?;
    let mut writer = SegmentWriter::create(under_way.to_owned())?;
    let (mut joined, mut bytes): (Option<GroupCoverage>, usize) = (None, 0);
    for (at, group) in coverage.row_groups.iter().enumerate() {
        let of_group = segment.row_groups()[at].total_byte_size().max(0) as usize;
        let fits =
            |joined: &GroupCoverage| joined.rows + group.rows <= GROUP_ROWS as u64 && bytes + of_group <= GROUP_BYTES;
        if let Some(full) = joined.take_if(|joined| !fits(joined)) {
            writer.end_group(full, &coverage.topics)?;
            // As behind every full row group: next to nothing beside it, and a file cut anywhere opens to the last whole one.
            writer.write_footer(manifest)?;
            bytes = 0;
        }
        for batch in segment.read_group(at, Columns::ALL)? {
            writer.write(&batch?)?;
        }
        bytes += of_group;
        match &mut joined {
            Some(joined) => joined.join(group.clone()),
            none => *none = Some(GroupCoverage { bytes: None, ..group.clone() }),
        }
    }
    if let Some(last) = joined {
        writer.end_group(last, &coverage.topics)?;
    }
    Ok(writer.finish(name.to_owned(), manifest)?.facts)
}

fn lacks_room(error: &RecordingError) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let is_such = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<io::Error>().is_some_and(|error| kinds.contains(&error.kind()))
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if is_such(inner) {
            return true;
        }
        source = inner.source();
    }
    false
}

impl GroupCoverage {
    /// Adds what the row group behind it covers, of the same segment.
    fn join(&mut self, next: Self) {
        let mut epochs = self.epochs_or_unknown();
        for (extent, epoch) in next.extents.iter().zip(next.epochs_or_unknown()) {
            let same = |known: &Extent| (known.topic, known.partition) == (extent.topic, extent.partition);
            if let Some(at) = self.extents.iter().position(same) {
                let known = &mut self.extents[at];
                known.gaps += extent.gaps + u64::from(extent.first - 1 > known.last);
                known.last = extent.last;
                known.count += extent.count;
                epochs[at] = epoch;
            } else {
                self.extents.push(*extent);
                epochs.push(epoch);
            }
        }
        self.epochs = if epochs.iter().all(|epoch| *epoch < 0) { Vec::new() } else { epochs };
        self.rows += next.rows;
        self.span = super::TimeSpan::join(self.span, next.span);
        self.gaps.extend(next.gaps);
    }

    fn epochs_or_unknown(&self) -> Vec<i32> {
        if self.epochs.is_empty() { vec![-1; self.extents.len()] } else { self.epochs.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::recording::{
        Event, EventBatch, EventBatchBuilder, GapCause, MissingOffsets, Recording, RecordingWriter, Source,
    };

    fn batch(offsets: std::ops::Range<i64>, bytes: usize) -> EventBatch {
        let mut batch = EventBatchBuilder::new();
        for offset in offsets {
            let value = Some(format!("{offset:0bytes$}").into_bytes());
            for partition in [0, 1] {
                let (topic, value) = ("t".to_owned(), value.clone());
                batch.push_event(&Event {
                    topic,
                    partition,
                    offset,
                    value,
                    timestamp_ms: Some(offset),
                    ..Event::default()
                });
            }
        }
        batch.finish()
    }

    fn segments(out: &Path) -> Vec<(PathBuf, usize, u64)> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(out.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let facts = |path: PathBuf| {
            let segment = Segment::open(&path).unwrap();
            (path, segment.row_groups().len(), segment.bytes())
        };
        found.into_iter().map(facts).collect()
    }

    /// Two hundred checkpoints of one event a partition, with a gap and a change of leaders on the way.
    fn slow(out: &Path) -> RecordingWriter {
        let mut writer = RecordingWriter::create(out, Source::default()).unwrap();
        for at in 0..200 {
            let offset = if at < 50 { at } else { at + 7 };
            if at == 50 {
                writer.missing("t", 0, MissingOffsets { first: 50, last: 56, cause: GapCause::Compaction });
                writer.missing("t", 1, MissingOffsets { first: 50, last: 56, cause: GapCause::Compaction });
            }
            for partition in [0, 1] {
                if at == 0 || at == 120 {
                    writer.note_epoch("t", partition, offset, if at == 0 { 3 } else { 5 + partition });
                }
            }
            writer.write(&batch(offset..offset + 1, 100)).unwrap();
            writer.checkpoint().unwrap();
        }
        writer
    }

    #[test]
    fn a_slow_topics_row_groups_are_gathered_and_all_that_is_said_of_them_stays() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let writer = slow(&out);
        // Two segments of a hundred row groups each were ended meanwhile.
        let found = segments(&out);
        assert_eq!(found.iter().map(|(_, groups, _)| *groups).collect::<Vec<_>>(), [1, 1]);
        assert!(found.iter().all(|(_, _, bytes)| *bytes < 16 << 10), "{found:?}");
        drop(writer);
        for lost_manifest in [false, true] {
            if lost_manifest {
                fs::remove_file(out.join("manifest.json")).unwrap();
            }
            let (writer, resumed) = RecordingWriter::resume(&out).unwrap();
            assert!(resumed.cut.is_empty() && resumed.lost.is_empty(), "{resumed:?}");
            assert_eq!((writer.rows(), writer.next_offset("t", 1)), (400, Some(207)));
            assert_eq!((writer.last_epoch("t", 0), writer.last_epoch("t", 1)), (Some(5), Some(6)));
        }
        let manifest = RecordingWriter::resume(&out).unwrap().0.seal().unwrap();
        let gaps: Vec<_> = manifest.missing_by_cause().iter().map(|one| (one.cause, one.offsets)).collect();
        assert_eq!(gaps, [(GapCause::Compaction, 14)]);
        assert_eq!(manifest.partitions.iter().map(|facts| facts.gaps).collect::<Vec<_>>(), [1, 1]);
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.verify().unwrap(), []);
        let offsets: Vec<i64> =
            recording.batches(Columns::ALL).flat_map(|batch| batch.unwrap().offsets().to_vec()).collect();
        let expected: Vec<i64> = (0..50).chain(57..207).flat_map(|offset| [offset, offset]).collect();
        assert_eq!(offsets, expected);
    }

    #[test]
    fn what_a_kill_left_of_gathering_is_no_part_of_the_recording_and_goes() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        drop(slow(&out));
        let half = out.join("segments/000001.parquet.new");
        fs::write(&half, "PAR1 half of it").unwrap();
        assert_eq!(RecordingWriter::standing(&out).unwrap(), super::super::Standing::Unsealed);
        let (writer, _) = RecordingWriter::resume(&out).unwrap();
        assert!(!half.exists());
        assert_eq!(writer.rows(), 400);
        writer.seal().unwrap();
        assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
    }

    #[test]
    fn full_row_groups_stay_as_they_are() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut writer = RecordingWriter::create(&out, Source::default()).unwrap();
        for start in 0..3 {
            writer.write(&batch(start * 40_000..(start + 1) * 40_000, 100)).unwrap();
            writer.checkpoint().unwrap();
        }
        writer.seal().unwrap();
        assert_eq!(segments(&out)[0].1, 3);
    }
}
