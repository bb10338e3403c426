//! Recordings whose writing was cut off: what is kept, who may go on, and what the ledger of gaps says.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rehearsal::mask::{Detection, Masker, rewrite};
use rehearsal::recording::{
    Columns, Event, EventBatch, EventBatchBuilder, GapCause, Holder, Manifest, MissingOffsets, Recording,
    RecordingError, RecordingWriter, SliceSettings, Source, Standing, TopicSource, slice,
};
use tempfile::TempDir;

fn event(partition: i32, offset: i64) -> Event {
    let value = format!("value {offset} of {partition}, of some length, for bytes to go missing in").into_bytes();
    Event { topic: "t".to_owned(), partition, offset, value: Some(value), ..Event::default() }
}

fn batch(partition: i32, offsets: std::ops::Range<i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for offset in offsets {
        builder.push_event(&event(partition, offset));
    }
    builder.finish()
}

fn source() -> Source {
    let starts = [(0, 0), (1, 0)].into();
    let topic = TopicSource {
        name: "t".to_owned(),
        id: Some("id-of-t".to_owned()),
        partitions: 2,
        configuration: [("cleanup.policy".to_owned(), "delete".to_owned())].into(),
        starts,
        ..TopicSource::default()
    };
    Source { cluster: Some("prod".to_owned()), topics: vec![topic], ..Source::default() }
}

fn offsets(recording: &Recording, partition: i32) -> Vec<i64> {
    let batches = recording.batches(Columns::ALL);
    let events: Vec<Event> =
        batches.flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect();
    for found in &events {
        assert_eq!(*found, event(found.partition, found.offset));
    }
    events.iter().filter(|event| event.partition == partition).map(|event| event.offset).collect()
}

fn segment(recording: &Path, number: usize) -> PathBuf {
    recording.join(format!("segments/{number:06}.parquet"))
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    fs::create_dir(to.path().join("segments")).unwrap();
    for folder in ["", "segments"] {
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.path().join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    to
}

fn written(groups: i64) -> (TempDir, u64) {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
    for group in 0..groups {
        writer.write(&batch(0, group * 10..group * 10 + 10)).unwrap();
        writer.checkpoint().unwrap();
    }
    let length = fs::metadata(segment(folder.path(), 0)).unwrap().len();
    drop(writer);
    (folder, length)
}

#[test]
fn a_recording_that_was_cut_off_is_gone_on_with_without_loss_or_repetition() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("deep/er");
    assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Nothing);
    let mut writer = RecordingWriter::create(&out, source()).unwrap();
    assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Unsealed);
    assert_eq!((writer.next_offset("t", 0), writer.next_offset("t", 5)), (Some(0), None));
    writer.write(&batch(0, 0..10)).unwrap();
    assert_eq!((writer.acknowledged().len(), writer.acknowledged_rows()), (0, 0));
    writer.checkpoint().unwrap();
    assert_eq!((writer.acknowledged()[0].next, writer.acknowledged_rows()), (10, 10));
    // Never acknowledged, never seen again.
    writer.write(&batch(0, 10..20)).unwrap();
    assert_eq!(writer.acknowledged()[0].next, 10);
    drop(writer);

    let (mut writer, resumed) = RecordingWriter::resume(&out).unwrap();
    assert_eq!((resumed.cut.len(), resumed.lost.len(), resumed.manifest_lost), (0, 0, false));
    assert_eq!((writer.next_offset("t", 0), writer.next_offset("t", 1), writer.rows()), (Some(10), Some(0), 10));
    assert_eq!((writer.acknowledged()[0].next, writer.source()), (10, &source()));
    writer.write(&batch(0, 10..15)).unwrap();
    writer.write(&batch(1, 0..5)).unwrap();
    writer.seal().unwrap();

    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(offsets(&recording, 0), (0..15).collect::<Vec<_>>());
    assert_eq!(offsets(&recording, 1), (0..5).collect::<Vec<_>>());
    assert_eq!(recording.manifest().segments.len(), 2);
    assert!(!out.join("writer.lock").exists());
    assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Sealed);
    assert!(matches!(RecordingWriter::resume(&out).unwrap_err(), RecordingError::Sealed { .. }));
}

#[test]
fn a_resume_at_any_length_of_the_last_segment_keeps_every_group_that_was_whole() {
    let (folder, length) = written(4);
    let mut ends = Vec::new();
    for cut in (0..=length).rev().step_by(61).chain([0, 1, length - 1]) {
        let copy = copy(folder.path());
        OpenOptions::new().write(true).open(segment(copy.path(), 0)).unwrap().set_len(cut).unwrap();
        let (writer, resumed) = RecordingWriter::resume(copy.path()).unwrap();
        let next = writer.next_offset("t", 0).unwrap();
        assert_eq!((next % 10, resumed.lost.len()), (0, usize::from(next == 0)), "cut at {cut}");
        let mut writer = writer;
        writer.write(&batch(0, next..40)).unwrap();
        writer.seal().unwrap();
        let recording = Recording::open(copy.path()).unwrap();
        assert_eq!((recording.verify().unwrap(), offsets(&recording, 0)), (vec![], (0..40).collect::<Vec<_>>()));
        ends.push(next);
    }
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends, [0, 10, 20, 30, 40]);
}

#[test]
fn bytes_that_a_loss_of_power_took_from_the_middle_are_found_and_cut_off() {
    let (folder, length) = written(4);
    let mut kept = Vec::new();
    for start in (4..length).step_by(97) {
        let copy = copy(folder.path());
        let file = OpenOptions::new().write(true).open(segment(copy.path(), 0)).unwrap();
        file.write_all_at(&vec![0; 64.min((length - start) as usize)], start).unwrap();
        let (mut writer, _) = RecordingWriter::resume(copy.path()).unwrap();
        let next = writer.next_offset("t", 0).unwrap();
        writer.write(&batch(0, next..40)).unwrap();
        writer.seal().unwrap();
        let recording = Recording::open(copy.path()).unwrap();
        assert_eq!((recording.verify().unwrap(), offsets(&recording, 0)), (vec![], (0..40).collect::<Vec<_>>()));
        kept.push(next);
    }
    // Holes in footers that a later one repeats lose nothing. The farther back the others, the more stands ahead of them.
    let (unharmed, harmed): (Vec<i64>, Vec<i64>) = kept.into_iter().partition(|&next| next == 40);
    assert!(harmed.is_sorted() && !unharmed.is_empty(), "{harmed:?}");
    assert!([0, 10, 20, 30].iter().all(|next| harmed.contains(next)), "{harmed:?}");
}

/// Zeros read as the end of what Parquet's metadata holds: a footer whose end is gone may look like one of another tool's.
#[test]
fn a_footer_that_lost_what_it_says_of_events_is_no_other_tools() {
    let ((_, of_one), (folder, length)) = (written(1), written(2));
    let (of_one, length) = (of_one as usize, length as usize);
    let bytes = fs::read(segment(folder.path(), 0)).unwrap();
    let mut rows = Vec::new();
    let footer = u32::from_le_bytes(bytes[length - 8..length - 4].try_into().unwrap()) as usize;
    // Of the second row group's first column something is gone with it, or of its last.
    let (first, last) = (of_one + 20..of_one + 40, length - footer - 80..length - footer - 60);
    for (start, damaged) in
        (length - 8 - footer..length - 8).flat_map(|start| [(start, first.clone()), (start, last.clone())])
    {
        let mut left = bytes.clone();
        left[start..length - 8].fill(0);
        left[damaged].fill(0);
        let again = copy(folder.path());
        fs::write(segment(again.path(), 0), &left).unwrap();
        let (writer, resumed) = RecordingWriter::resume(again.path()).unwrap();
        assert_eq!(resumed.cut.len(), 1, "zeros from {start}");
        rows.push(writer.rows());
    }
    assert!(rows.iter().all(|rows| *rows == 10), "{rows:?}");
}

#[test]
fn the_last_footer_of_a_segment_that_no_manifest_vouches_for_is_held_against_the_events() {
    let ((_, of_two), (folder, _)) = (written(2), written(3));
    let unsealed = fs::read(folder.path().join("manifest.json")).unwrap();
    RecordingWriter::resume(folder.path()).unwrap().0.seal().unwrap();
    let whole = copy(folder.path());
    fs::write(whole.path().join("manifest.json"), &unsealed).unwrap();
    let (writer, resumed) = RecordingWriter::resume(whole.path()).unwrap();
    assert_eq!((writer.next_offset("t", 0), resumed.cut.len()), (Some(30), 0));
    drop(writer);
    let file = OpenOptions::new().write(true).open(segment(whole.path(), 0)).unwrap();
    // In the third row group.
    file.write_all_at(&[0; 4], of_two + 20).unwrap();
    drop(file);
    // A manifest of an earlier time vouched for it: what it vouches for was on the disk, so this is decay, which `verify` finds.
    let (writer, resumed) = RecordingWriter::resume(whole.path()).unwrap();
    assert_eq!((writer.next_offset("t", 0), resumed.cut.len()), (Some(30), 0));
    drop(writer);
    fs::remove_file(whole.path().join("manifest.json")).unwrap();
    let (writer, resumed) = RecordingWriter::resume(whole.path()).unwrap();
    assert_eq!((writer.next_offset("t", 0), resumed.cut.len()), (Some(20), 1));
}

#[test]
fn a_lost_manifest_is_made_of_the_segments_and_so_is_a_folder_that_was_only_begun() {
    let (folder, _) = written(2);
    fs::remove_file(folder.path().join("manifest.json")).unwrap();
    let (mut writer, resumed) = RecordingWriter::resume(folder.path()).unwrap();
    assert!(resumed.manifest_lost);
    let mut known = source();
    known.topics[0].configuration.clear();
    assert_eq!((writer.source(), writer.next_offset("t", 0), writer.next_offset("t", 1)), (&known, Some(20), Some(0)));
    writer.write(&batch(0, 20..30)).unwrap();
    drop(writer.seal().unwrap());
    assert_eq!(offsets(&Recording::open(folder.path()).unwrap(), 0), (0..30).collect::<Vec<_>>());

    for begun in [&["writer.lock"][..], &["writer.lock", "segments/"], &["segments/", "manifest.json.new"]] {
        let folder = TempDir::new().unwrap();
        for name in begun {
            match name.strip_suffix('/') {
                Some(name) => fs::create_dir(folder.path().join(name)).unwrap(),
                None => drop(File::create(folder.path().join(name)).unwrap()),
            }
        }
        assert_eq!(RecordingWriter::standing(folder.path()).unwrap(), Standing::Unsealed, "{begun:?}");
        let (mut writer, _) = RecordingWriter::resume(folder.path()).unwrap();
        writer.write(&batch(0, 0..3)).unwrap();
        writer.seal().unwrap();
        assert_eq!(offsets(&Recording::open(folder.path()).unwrap(), 0), [0, 1, 2]);
    }
}

#[test]
fn a_segment_that_is_gone_is_named_and_not_passed_over() {
    let (folder, _) = written(2);
    let unsealed = fs::read(folder.path().join("manifest.json")).unwrap();
    let manifest = folder.path().join("manifest.json");
    RecordingWriter::resume(folder.path()).unwrap().0.seal().unwrap();
    let sealed = String::from_utf8(fs::read(&manifest).unwrap()).unwrap();
    fs::write(&manifest, sealed.replace("\"sealed\": true", "\"sealed\": false")).unwrap();
    fs::remove_file(segment(folder.path(), 0)).unwrap();
    let refused = RecordingWriter::resume(folder.path()).map(drop).unwrap_err();
    let gone = matches!(&refused, RecordingError::File { path, .. } if *path == segment(folder.path(), 0));
    assert!(gone, "{refused}");
    // One that no manifest vouches for may never have come to the disk.
    fs::write(&manifest, unsealed).unwrap();
    assert_eq!(RecordingWriter::resume(folder.path()).unwrap().0.next_offset("t", 0), Some(0));
}

#[test]
fn a_folder_of_anything_else_is_left_alone() {
    for name in ["notes.txt", "segments", "segments/notes.txt"] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "mine").unwrap();
        let found = RecordingWriter::standing(folder.path());
        let refused = RecordingWriter::resume(folder.path()).map(drop);
        assert!(matches!(found, Err(RecordingError::NotEmpty { .. })), "{name}: {found:?}");
        assert!(matches!(refused, Err(RecordingError::NotEmpty { .. })), "{name}: {refused:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}

#[test]
fn a_second_writer_is_refused_by_name_until_the_first_is_gone() {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
    writer.write(&batch(0, 0..5)).unwrap();
    writer.checkpoint().unwrap();
    let me = Holder(Some(std::process::id()));
    let resumed = RecordingWriter::resume(folder.path()).map(drop).unwrap_err();
    let rebuilt = Recording::rebuild(folder.path()).map(drop).unwrap_err();
    for refused in [resumed, rebuilt] {
        assert!(matches!(refused, RecordingError::Fenced { holder, .. } if holder == me), "{refused}");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    }
    drop(writer);
    assert_eq!(RecordingWriter::resume(folder.path()).unwrap().0.rows(), 5);
}

fn gap(first: i64, last: i64, cause: GapCause) -> MissingOffsets {
    MissingOffsets { first, last, cause }
}

/// Causes with their stretches and offsets.
fn causes(manifest: &Manifest, partition: i32) -> Vec<(&'static str, u64, u64)> {
    manifest.missing("t", partition).iter().map(|one| (one.cause.name(), one.stretches, one.offsets)).collect()
}

fn with_gaps() -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
    writer.missing("t", 0, gap(0, 4, GapCause::Retention));
    writer.write(&batch(0, 5..10)).unwrap();
    writer.missing("t", 0, gap(10, 10, GapCause::TransactionMarkers));
    writer.write(&batch(0, 11..20)).unwrap();
    writer.checkpoint().unwrap();
    writer.write(&batch(1, 0..3)).unwrap();
    writer.missing("t", 0, gap(20, 29, GapCause::Compaction));
    writer.write(&batch(0, 30..31)).unwrap();
    writer.checkpoint().unwrap();
    drop(writer);
    folder
}

#[test]
fn the_ledger_of_gaps_survives_a_crash_with_its_causes() {
    let folder = with_gaps();
    fs::remove_file(folder.path().join("manifest.json")).unwrap();
    let (mut writer, _) = RecordingWriter::resume(folder.path()).unwrap();
    assert_eq!(writer.next_offset("t", 0), Some(31));
    // Behind the last event: only the ledger knows.
    writer.missing("t", 0, gap(31, 32, GapCause::TransactionMarkers));
    let manifest = writer.seal().unwrap();
    let expected = [("retention", 1, 5), ("compaction", 1, 10), ("transaction-markers", 2, 3)];
    assert_eq!(causes(&manifest, 0), expected);
    assert_eq!((causes(&manifest, 1), manifest.gaps[0].through), (vec![], 32));
    assert_eq!(manifest.missing_by_cause(), manifest.missing("t", 0));
    let recording = Recording::open(folder.path()).unwrap();
    assert_eq!((recording.verify().unwrap(), recording.manifest()), (vec![], &manifest));
}

#[test]
fn a_ledger_that_does_not_account_for_what_is_missing_is_found() {
    let folder = with_gaps();
    Recording::rebuild(folder.path()).unwrap();
    let manifest = folder.path().join("manifest.json");
    let honest: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let problems = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = honest.clone();
        change(&mut changed);
        fs::write(&manifest, changed.to_string()).unwrap();
        let problems = Recording::open(folder.path()).unwrap().verify().unwrap();
        problems.iter().map(|problem| problem.cause.clone()).collect::<Vec<_>>()
    };
    assert_eq!(problems(&|_| {}), Vec::<String>::new());
    let wrong = problems(&|manifest| manifest["gaps"][0]["causes"][0]["offsets"] = 4.into());
    assert_eq!(wrong, ["the ledger of gaps accounts for 15 offsets of t/0 where 16 are missing"]);
    let wrong = problems(&|manifest| manifest["gaps"] = serde_json::json!([]));
    // Where nothing is left of the ledger, the start still tells.
    assert_eq!(wrong, ["the ledger of gaps accounts for 0 offsets of t/0 where 16 are missing"]);
    let wrong = problems(&|manifest| manifest["gaps"][0]["stretches"][2]["last"] = 30.into());
    assert_eq!(wrong, ["the ledger of gaps says that t/0 has no event at offset 30"]);
}

#[test]
fn a_gap_never_reaches_the_disk_ahead_of_the_events_before_it() {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
    // The gap is noted while events ahead of it still wait, as capture does; then a row group fills and ends amid the batch.
    writer.missing("t", 0, gap(150_000, 150_009, GapCause::Compaction));
    let mut builder = EventBatchBuilder::new();
    for offset in 0..150_000 {
        builder.push_event(&Event { topic: "t".to_owned(), offset, ..Event::default() });
    }
    writer.write(&builder.finish()).unwrap();
    drop(writer);
    let (writer, _) = RecordingWriter::resume(folder.path()).unwrap();
    assert_eq!(writer.next_offset("t", 0), Some(128 << 10));
}

#[test]
fn what_nobody_names_is_unknown() {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), Source::default()).unwrap();
    writer.write(&batch(0, 3..5)).unwrap();
    writer.write(&batch(0, 9..10)).unwrap();
    let manifest = writer.seal().unwrap();
    assert_eq!(causes(&manifest, 0), [("unknown", 1, 4)]);
    assert_eq!(Recording::open(folder.path()).unwrap().verify().unwrap(), []);
}

#[test]
fn what_a_table_held_ahead_of_its_window_is_no_gap_and_what_lies_within_is() {
    let folder = TempDir::new().unwrap();
    let mut table = source();
    table.topics[0].starts = [(0, 100), (1, 0)].into();
    table.topics[0].windows = [(0, 100)].into();
    let mut writer = RecordingWriter::create(folder.path(), table).unwrap();
    // One row group holds both what stood ahead of the window and the window's own events; between them 103 to 109 are missing.
    for offsets in [3..4, 50..52, 100..103] {
        writer.write(&batch(0, offsets)).unwrap();
    }
    writer.missing("t", 0, MissingOffsets { first: 103, last: 109, cause: GapCause::Compaction });
    writer.write(&batch(0, 110..112)).unwrap();
    writer.checkpoint().unwrap();
    drop(writer);
    let (mut writer, _) = RecordingWriter::resume(folder.path()).unwrap();
    assert_eq!((writer.rows(), writer.resumed_state(), writer.last_offset("t", 0)), (8, 3, Some(111)));
    assert_eq!((writer.last_offset("t", 1), writer.next_offset("t", 1)), (None, Some(0)));
    writer.write(&batch(0, 112..113)).unwrap();
    let manifest = writer.seal().unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let causes: Vec<_> = manifest.missing_by_cause().iter().map(|one| (one.cause, one.offsets)).collect();
    assert_eq!(causes, [(GapCause::Compaction, 7)]);
    // Without the ledger the window's own gap is one that nobody accounts for.
    let path = folder.path().join("manifest.json");
    let mut told: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    told["gaps"] = serde_json::json!([]);
    fs::write(&path, told.to_string()).unwrap();
    let problems = Recording::open(folder.path()).unwrap().verify().unwrap();
    let said: Vec<&str> = problems.iter().map(|problem| problem.cause.as_str()).collect();
    assert_eq!(said, ["the ledger of gaps accounts for 0 offsets of t/0 where 7 are missing"]);
}

#[test]
fn a_masked_recording_has_the_ledger_of_the_one_it_is_made_of() {
    let folder = with_gaps();
    Recording::rebuild(folder.path()).unwrap();
    let whole = Recording::open(folder.path()).unwrap();
    let out = folder.path().with_extension("masked");
    rewrite(&whole, &mut Masker::new(None, Detection::Off), &out, &mut |_| true).unwrap();
    for _ in 0..2 {
        let masked = Recording::open(&out).unwrap();
        assert_eq!(masked.verify().unwrap(), []);
        assert_eq!(masked.manifest().gaps, whole.manifest().gaps);
        assert_eq!(masked.manifest().source.topics[0].starts, whole.manifest().source.topics[0].starts);
        // And so do its segments.
        fs::remove_file(out.join("manifest.json")).unwrap();
        Recording::rebuild(&out).unwrap();
    }
    fs::remove_dir_all(&out).unwrap();
}

#[test]
fn a_slice_says_what_it_left_out_and_what_its_recording_lacks() {
    let folder = with_gaps();
    Recording::rebuild(folder.path()).unwrap();
    let whole = Recording::open(folder.path()).unwrap();
    let out = folder.path().with_extension("part");
    let sliced = |settings: &SliceSettings| {
        slice(&whole, settings, &out, &mut |_| true).unwrap();
        let part = Recording::open(&out).unwrap();
        assert_eq!(part.verify().unwrap(), []);
        fs::remove_dir_all(&out).unwrap();
        part.manifest().clone()
    };
    let all = sliced(&SliceSettings { topics: vec!["t".to_owned()], ..SliceSettings::default() });
    // What the cluster had deleted ahead of the first event, too.
    let lacks = [("retention", 1, 5), ("compaction", 1, 10), ("transaction-markers", 1, 1)];
    assert_eq!((causes(&all, 0), causes(&all, 1)), (causes(whole.manifest(), 0), causes(whole.manifest(), 1)));
    assert_eq!(causes(&all, 0), lacks);
    let share = sliced(&SliceSettings { share: Some(0.5), ..SliceSettings::default() });
    let kept = share.partitions.iter().find(|facts| facts.partition == 0).unwrap().count;
    let (all, left_out) = (causes(&share, 0), share.missing("t", 0).last().copied().unwrap());
    assert_eq!(left_out.cause, GapCause::LeftOut, "{all:?}");
    // What the recording lacks may have been of the share: all of it is told, and every offset is an event, lacking or left out.
    assert!(lacks.iter().all(|one| all.contains(one)), "{all:?}");
    let (start, through) = (share.source.topics[0].starts[&0], share.gaps[0].through);
    let last = share.partitions.iter().find(|facts| facts.partition == 0).unwrap().last.max(through);
    assert_eq!(all.iter().map(|one| one.2).sum::<u64>() + kept, (last - start + 1).unsigned_abs());
}

#[test]
fn a_slice_of_a_captured_recording_holds_what_it_says() {
    let folder = with_gaps();
    Recording::rebuild(folder.path()).unwrap();
    let whole = Recording::open(folder.path()).unwrap();
    let out = folder.path().with_extension("slice");
    let settings = SliceSettings { topics: vec!["t".to_owned()], ..SliceSettings::default() };
    slice(&whole, &settings, &out, &mut |_| true).unwrap();
    let part = Recording::open(&out).unwrap();
    assert_eq!((part.len(), part.verify().unwrap()), (whole.len(), vec![]));
    fs::remove_dir_all(&out).unwrap();
}

#[test]
fn a_segment_ends_after_as_many_row_groups_as_are_set() {
    for (groups, segments) in [(0, 5), (1, 5), (2, 3), (100, 1), (1_000, 1)] {
        let folder = TempDir::new().unwrap();
        let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
        writer.set_segment_groups(groups);
        for group in 0..5 {
            writer.write(&batch(0, group * 10..group * 10 + 10)).unwrap();
            writer.checkpoint().unwrap();
        }
        assert_eq!(writer.seal().unwrap().segments.len(), segments, "{groups}");
        assert_eq!(offsets(&Recording::open(folder.path()).unwrap(), 0).len(), 50);
    }
}

#[test]
fn a_segment_that_the_manifest_does_not_name_is_a_problem() {
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), source()).unwrap();
    writer.write(&batch(0, 0..10)).unwrap();
    writer.seal().unwrap();
    let verified = || Recording::open(folder.path()).unwrap().verify().unwrap();
    // What a resume has put aside, and whatever else lies there, nobody queries.
    fs::copy(segment(folder.path(), 0), folder.path().join("segments/000001.parquet.cut")).unwrap();
    assert_eq!(verified(), []);
    fs::copy(segment(folder.path(), 0), segment(folder.path(), 1)).unwrap();
    let problems = verified();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].file.ends_with("segments/000001.parquet"), "{problems:?}");
    assert!(problems[0].cause.contains("the manifest does not name it") && problems[0].stranger, "{problems:?}");
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let refused = inspect.args(["inspect", "--verify"]).arg(folder.path()).assert().failure();
    let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(said.contains("Take away what is no part of it"), "{said}");
    fs::remove_file(segment(folder.path(), 1)).unwrap();
    assert_eq!(verified(), []);
}
