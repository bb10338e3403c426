//! Recordings as other rooms see them: written, opened, read in every way, and refused where they are bad.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, LargeBinaryArray, LargeStringArray, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rehearsal::recording::{
    Columns, Coordinate, Event, EventBatch, EventBatchBuilder, EventView, Gap, GapCause, Header, Lookup, Manifest,
    MissingOffsets, Partition, Place, Recording, RecordingError, RecordingWriter, Recreation, Role, Source, TimeSpan,
    TimestampType, TopicSource,
};
use xxhash_rust::xxh3::xxh3_64;

fn batch_of(events: &[Event]) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for event in events {
        builder.push_event(event);
    }
    builder.finish()
}

/// Writes one row group for each of `groups`, which are gathered at the end, and opens what came of it.
fn write(folder: &Path, groups: &[&[Event]]) -> Recording {
    let mut writer = RecordingWriter::create(folder, Source::default()).unwrap();
    for events in groups {
        writer.write(&batch_of(events)).unwrap();
        writer.checkpoint().unwrap();
    }
    writer.seal().unwrap();
    Recording::open(folder).unwrap()
}

fn events_of(batch: &EventBatch) -> Vec<Event> {
    batch.iter().map(|event| event.to_event()).collect()
}

fn read(recording: &Recording) -> Vec<Event> {
    recording.batches(Columns::ALL).flat_map(|batch| events_of(&batch.unwrap())).collect()
}

/// Events as a plain list: topic, partition, offset, timestamp.
fn plain(rows: &[(&str, i32, i64, i64)]) -> Vec<Event> {
    let event = |&(topic, partition, offset, ms): &(&str, i32, i64, i64)| Event {
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp_ms: Some(ms),
        timestamp_type: TimestampType::Create,
        key: Some(offset.to_string().into_bytes()),
        value: Some(format!("{topic} {offset}").into_bytes()),
        ..Event::default()
    };
    rows.iter().map(event).collect()
}

fn partition(topic: &str, partition: i32) -> Partition {
    Partition { topic: topic.to_owned(), partition }
}

/// The error and its sources in one line, as the command line prints them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

// ---- round trips ----

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..20))
}

fn header() -> impl Strategy<Value = Header> {
    // Few names, so that they repeat.
    (prop_oneof!["source", "trace", "é?", ""], bytes()).prop_map(|(name, value)| Header { name, value })
}

fn timestamp_ms() -> impl Strategy<Value = Option<i64>> {
    option::of(prop_oneof![Just(-1), Just(0), Just(i64::MIN), Just(i64::MAX), 1_357_000_000_000..1_358_000_000_000_i64])
}

fn kind() -> impl Strategy<Value = TimestampType> {
    prop_oneof![Just(TimestampType::Create), Just(TimestampType::Append), Just(TimestampType::None)]
}

/// Events of interleaved partitions, offsets rising in each with gaps between.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let topic = prop_oneof!["flights", "gates", "größe"];
    let event = (
        topic,
        prop_oneof![Just(0), Just(1), Just(i32::MAX)],
        1..4_i64,
        timestamp_ms(),
        kind(),
        option::of(any::<i64>()),
    )
        .prop_flat_map(|facts| (Just(facts), bytes(), bytes(), vec(header(), 0..4)));
    vec(event, 1..120).prop_map(|rows| {
        let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
        rows.into_iter()
            .map(|((topic, partition, step, timestamp_ms, timestamp_type, captured_at_us), key, value, headers)| {
                let offset = next.entry((topic.clone(), partition)).or_insert(i64::from(partition % 7) - 1);
                *offset += step;
                let offset = *offset;
                Event { topic, partition, offset, timestamp_ms, timestamp_type, captured_at_us, key, value, headers }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_events_come_back_byte_for_byte_in_every_way_of_reading(
        events in events(),
        group in 12..60_usize,
        places in vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let groups: Vec<&[Event]> = events.chunks(group).collect();
        let recording = write(folder.path(), &groups);

        prop_assert_eq!(&read(&recording), &events);
        prop_assert_eq!(recording.verify().unwrap(), []);
        // `verify` holds the events against what the writer followed; opening again holds it against the footers.
        prop_assert_eq!(recording.len(), events.len() as u64);

        // A hundred row groups are one segment, so rows are counted through.
        let wanted: Vec<usize> = places.iter().map(|index| index.index(events.len())).collect();
        let places: Vec<Place> = wanted.iter().map(|&row| Place { segment: (row / (100 * group)) as u32, row: (row % (100 * group)) as u32 }).collect();
        let found = recording.lookup(Columns::ALL).fetch(&places).unwrap();
        prop_assert_eq!(events_of(&found), wanted.iter().map(|&row| events[row].clone()).collect::<Vec<_>>());

        let mut seen = 0;
        for partition in recording.partitions() {
            let coordinates: Vec<Coordinate> = recording.coordinates(&partition, true).map(Result::unwrap).collect();
            let of_partition = |event: &&Event| event.topic == partition.topic && event.partition == partition.partition;
            let expected: Vec<&Event> = events.iter().filter(of_partition).collect();
            prop_assert_eq!(coordinates.len(), expected.len());
            seen += expected.len();
            let places: Vec<Place> = coordinates.iter().map(|coordinate| coordinate.place).collect();
            let found = recording.lookup(Columns::ALL).fetch(&places).unwrap();
            for ((coordinate, event), found) in coordinates.iter().zip(expected).zip(found.iter()) {
                prop_assert_eq!(&found.to_event(), event);
                prop_assert_eq!(coordinate.offset, event.offset);
                prop_assert_eq!(coordinate.timestamp_ms, event.timestamp_ms);
                prop_assert_eq!(coordinate.captured_at_us, event.captured_at_us);
                prop_assert_eq!(coordinate.key_hash, event.key.as_deref().map(xxh3_64));
                prop_assert_eq!(recording.at(&partition, event.offset).unwrap(), Some(*coordinate));
            }
        }
        prop_assert_eq!(seen, events.len());
    }

    #[test]
    fn a_batch_that_was_read_can_be_written_again(events in events()) {
        let folder = tempfile::tempdir().unwrap();
        let first = write(&folder.path().join("first"), &[&events]);
        let mut writer = RecordingWriter::create(folder.path().join("second"), Source::default()).unwrap();
        for batch in first.batches(Columns::ALL) {
            writer.write(&batch.unwrap()).unwrap();
        }
        writer.seal().unwrap();
        prop_assert_eq!(read(&Recording::open(folder.path().join("second")).unwrap()), events);
    }
}

#[test]
fn null_and_empty_are_different_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let header = |value: Option<&[u8]>| Header { name: "source".to_owned(), value: value.map(<[u8]>::to_vec) };
    let event = |offset, bytes: Option<&[u8]>| Event {
        offset,
        key: bytes.map(<[u8]>::to_vec),
        value: bytes.map(<[u8]>::to_vec),
        headers: vec![header(bytes), header(Some(b"twice")), header(bytes)],
        ..Event::default()
    };
    let events = [event(0, None), event(1, Some(b""))];
    let recording = write(folder.path(), &[&events]);
    let batch = recording.batches(Columns::ALL).next().unwrap().unwrap();
    assert_eq!((batch.get(0).key, batch.get(1).key), (None, Some(&b""[..])));
    assert_eq!((batch.get(0).value, batch.get(1).value), (None, Some(&b""[..])));
    let first = |row| batch.get(row).headers.iter().next();
    assert_eq!((first(0), first(1)), (Some(("source", None)), Some(("source", Some(&b""[..])))));
    assert_eq!(events_of(&batch), events);
}

// ---- layouts ----

#[test]
fn partitions_one_after_the_other_are_read_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let topic = |topic: &'static str| -> Vec<Event> {
        plain(&(0..30_000).map(|offset| (topic, 0, offset, offset * 10)).collect::<Vec<_>>())
    };
    let (a, b) = (topic("a"), topic("b"));
    let recording = write(folder.path(), &[&a, &b]);
    let mut cursors =
        [recording.coordinates(&partition("a", 0), false), recording.coordinates(&partition("b", 0), false)];
    for offset in 0..30_000 {
        for (cursor, first_row) in cursors.iter_mut().zip([0, 30_000]) {
            let found = cursor.next().unwrap().unwrap();
            assert_eq!((found.offset, found.key_hash), (offset, None));
            assert_eq!(found.place, Place { segment: 0, row: first_row + offset as u32 });
        }
    }
    assert!(cursors.iter_mut().all(|cursor| cursor.next().is_none()));
}

#[test]
fn many_row_groups_make_several_segments_that_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let events = plain(&(0..230).map(|n| ("flights", (n % 3) as i32, n, n)).collect::<Vec<_>>());
    let groups: Vec<&[Event]> = events.chunks(1).collect();
    let recording = write(folder.path(), &groups);
    let rows: Vec<_> = recording.manifest().segments.iter().map(|segment| segment.rows.unwrap()).collect();
    assert_eq!(rows, [100, 100, 30]);
    assert_eq!(read(&recording), events);
    let places = [Place { segment: 2, row: 29 }, Place { segment: 0, row: 0 }, Place { segment: 1, row: 99 }];
    let found = recording.lookup(Columns::ALL).fetch(&places).unwrap();
    assert_eq!(found.iter().map(|event| event.offset).collect::<Vec<_>>(), [229, 0, 199]);
    let offsets: Vec<i64> =
        recording.coordinates(&partition("flights", 1), false).map(|found| found.unwrap().offset).collect();
    assert_eq!(offsets, (1..230).step_by(3).collect::<Vec<_>>());
    assert_eq!(recording.at(&partition("flights", 1), 2).unwrap(), None);
    assert_eq!(recording.verify().unwrap(), []);
}

#[test]
fn large_events_end_row_groups_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let value = vec![b'x'; 10 << 20];
    let events: Vec<Event> =
        (0..9).map(|offset| Event { offset, value: Some(value.clone()), ..Event::default() }).collect();
    let recording = write(folder.path(), &[&events]);
    let mut most = 0;
    for batch in recording.batches(Columns::ALL) {
        most = most.max(batch.unwrap().len());
    }
    assert!((1..=3).contains(&most), "a batch of {most} events of 10 MiB");
    assert_eq!(read(&recording), events);
}

#[test]
fn columns_that_were_not_asked_for_come_back_empty() {
    let folder = tempfile::tempdir().unwrap();
    let events = [Event {
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        headers: vec![Header { name: "h".to_owned(), value: None }],
        ..Event::default()
    }];
    let recording = write(folder.path(), &[&events]);
    let columns = Columns { key: true, ..Columns::NONE };
    let place = Place { segment: 0, row: 0 };
    for batch in
        [recording.batches(columns).next().unwrap().unwrap(), recording.lookup(columns).fetch(&[place, place]).unwrap()]
    {
        let event = batch.get(0);
        assert_eq!((event.key, event.value, event.headers.len()), (Some(&b"k"[..]), None, 0));
    }
    let batch = recording.batches(columns).next().unwrap().unwrap();
    let mut writer = RecordingWriter::create(folder.path().join("again"), Source::default()).unwrap();
    assert!(matches!(writer.write(&batch), Err(RecordingError::ColumnsLeftOut { .. })));
}

#[test]
fn a_place_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let recording = write(folder.path(), &[&plain(&[("flights", 0, 0, 0)])]);
    for place in [Place { segment: 0, row: 1 }, Place { segment: 1, row: 0 }] {
        let error = recording.lookup(Columns::ALL).fetch(&[place]).unwrap_err();
        assert!(matches!(error, RecordingError::NoSuchPlace { .. }), "{error}");
    }
    assert!(recording.coordinates(&partition("gates", 0), false).next().is_none());
}

#[test]
fn a_recording_without_events_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let recording = write(folder.path(), &[]);
    assert!(recording.is_empty() && recording.partitions().is_empty() && read(&recording).is_empty());
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(recording.summary().unwrap().events, 0);
}

// ---- writing ----

#[test]
fn nothing_is_written_into_a_directory_that_holds_something() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note.txt"), "mine").unwrap();
    let error = RecordingWriter::create(folder.path(), Source::default()).unwrap_err();
    assert!(matches!(error, RecordingError::NotEmpty { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn offsets_that_do_not_rise_are_not_written() {
    for second in [5, 4] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RecordingWriter::create(folder.path(), Source::default()).unwrap();
        writer.write(&batch_of(&plain(&[("flights", 0, 5, 0), ("flights", 1, 5, 0)]))).unwrap();
        let error = writer.write(&batch_of(&plain(&[("flights", 0, second, 0)]))).unwrap_err();
        assert!(
            error.to_string().contains(&format!("offsets out of order in flights/0: {second} stands after 5")),
            "{error}"
        );
    }
}

#[test]
fn a_topic_that_was_made_again_while_it_was_captured_is_told_by_verification_and_inspection() {
    let folder = tempfile::tempdir().unwrap();
    let recreated = Some(Recreation { id: "new".to_owned(), doubtful: BTreeMap::from([(0, 7), (2, 5)]) });
    let topic = TopicSource { name: "flights".to_owned(), partitions: 3, recreated, ..TopicSource::default() };
    let source = Source { topics: vec![topic], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path(), source).unwrap();
    writer.write(&batch_of(&plain(&[("flights", 2, 4, 30), ("flights", 0, 0, 10)]))).unwrap();
    writer.seal().unwrap();
    let says = "Topic flights was deleted and made again while it was captured (its id is new since): partition 0 from \
                offset 7 on, partition 2 from offset 5 on may hold events of both.";
    let problems = Recording::open(folder.path()).unwrap().verify().unwrap();
    assert_eq!(problems.iter().map(|problem| problem.cause.as_str()).collect::<Vec<_>>(), [says]);
    for (arguments, code) in [(&["inspect"][..], 0), (&["inspect", "--json"], 0), (&["inspect", "--verify"], 2)] {
        let mut rehearsal = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        let output = rehearsal.args(arguments).arg(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(says), "{arguments:?}: {said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap().contains(says), arguments.contains(&"--json"));
    }
}

#[test]
fn the_manifest_says_what_is_in_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source {
        cluster: Some("prod".to_owned()),
        topics: vec![TopicSource {
            name: "flights".to_owned(),
            partitions: 3,
            role: Role::Table,
            configuration: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
            ..TopicSource::default()
        }],
        ..Source::default()
    };
    let mut writer = RecordingWriter::create(folder.path(), source.clone()).unwrap();
    writer.write(&batch_of(&plain(&[("flights", 2, 4, 30), ("flights", 0, 0, 10)]))).unwrap();
    writer.checkpoint().unwrap();
    writer.write(&batch_of(&plain(&[("flights", 2, 7, 20), ("flights", 2, 8, 25)]))).unwrap();
    let sealed = writer.seal().unwrap();
    let manifest: Manifest =
        serde_json::from_slice(&std::fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest, sealed);
    assert_eq!((manifest.format.as_str(), manifest.sealed, manifest.source), ("1.0", true, source));
    assert_eq!(manifest.span, Some(TimeSpan { first_ms: 10, last_ms: 30 }));
    let facts: Vec<_> = manifest
        .partitions
        .iter()
        .map(|facts| (facts.partition, facts.first, facts.last, facts.count, facts.gaps, facts.missing()))
        .collect();
    assert_eq!(facts, [(0, 0, 0, 1, 0, 0), (2, 4, 8, 3, 1, 2)]);
    let segment = &manifest.segments[0];
    let file = std::fs::read(folder.path().join(&segment.file)).unwrap();
    assert_eq!((segment.rows, segment.bytes), (Some(4), Some(file.len() as u64)));
    assert_eq!(segment.sha256.as_ref().unwrap().len(), 64);
    assert!(!folder.path().join("manifest.json.new").exists());
}

#[test]
fn what_other_tools_read_is_plain_parquet() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[&plain(&[("flights", 0, 0, 1_357_000_000_000)])]);
    let file = std::fs::File::open(folder.path().join("segments/000000.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let types: Vec<String> =
        reader.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types[..4], ["topic Utf8", "partition Int32", "offset Int64", "timestamp Timestamp(ms, \"UTC\")"]);
    assert_eq!(
        types[4..8],
        ["timestamp_type Utf8", "captured_at Timestamp(µs, \"UTC\")", "key Binary", "value Binary"]
    );
    assert_eq!(reader.build().unwrap().next().unwrap().unwrap().num_rows(), 1);
}

// ---- a manifest lost, a file cut ----

#[test]
fn a_recording_that_was_not_sealed_is_refused_until_it_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source { cluster: Some("prod".to_owned()), ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path(), source).unwrap();
    let events = plain(&[("flights", 0, 0, 1), ("flights", 0, 1, 2)]);
    writer.write(&batch_of(&events)).unwrap();
    writer.checkpoint().unwrap();
    writer.write(&batch_of(&plain(&[("flights", 0, 2, 3)]))).unwrap();
    drop(writer);
    assert!(matches!(Recording::open(folder.path()), Err(RecordingError::Unsealed { .. })));
    let rebuilt = Recording::rebuild(folder.path()).unwrap();
    assert_eq!(rebuilt.manifest.source.cluster.as_deref(), Some("prod"));
    assert_eq!(read(&Recording::open(folder.path()).unwrap()), events);
}

#[test]
fn what_a_cluster_deleted_behind_a_recording_is_in_its_ledger_where_it_is_ended_there() {
    let deleted = |first, last| {
        let missing = MissingOffsets { first, last, cause: GapCause::Retention };
        [("flights".to_owned(), 0, missing), ("flights".to_owned(), 7, missing)]
    };
    let begun = || {
        let folder = tempfile::tempdir().unwrap();
        let flights = TopicSource {
            name: "flights".to_owned(),
            partitions: 8,
            starts: [(0, 0), (7, 2)].into(),
            ..TopicSource::default()
        };
        let source = Source { topics: vec![flights], ..Source::default() };
        let mut writer = RecordingWriter::create(folder.path(), source).unwrap();
        writer.write(&batch_of(&plain(&[("flights", 0, 0, 1), ("flights", 0, 1, 2)]))).unwrap();
        writer.checkpoint().unwrap();
        drop(writer);
        let (mut writer, _) = RecordingWriter::resume(folder.path()).unwrap();
        writer.note_overtaken(&deleted(2, 4));
        writer.note_overtaken(&deleted(2, 9));
        writer.write_manifest().unwrap();
        (folder, writer)
    };
    let ledger = |recording: &Recording| -> Vec<(i32, Vec<(i64, i64)>)> {
        assert_eq!(recording.verify().unwrap(), []);
        let gaps = recording.manifest().gaps.iter();
        gaps.map(|gaps| (gaps.partition, gaps.stretches.iter().map(|one| (one.first, one.last)).collect())).collect()
    };
    let (folder, writer) = begun();
    drop(writer);
    // It says nothing of what is wanted next: the cluster does.
    let (writer, _) = RecordingWriter::resume(folder.path()).unwrap();
    assert_eq!((writer.next_offset("flights", 0), writer.next_offset("flights", 7)), (Some(2), Some(2)));
    drop(writer);
    Recording::rebuild(folder.path()).unwrap();
    assert_eq!(ledger(&Recording::open(folder.path()).unwrap()), [(0, vec![(2, 9)]), (7, vec![(2, 9)])]);
    // Sealed in another way.
    let (folder, writer) = begun();
    writer.seal().unwrap();
    assert_eq!(ledger(&Recording::open(folder.path()).unwrap()), [(0, vec![(2, 9)]), (7, vec![(2, 9)])]);
    // Gone on with from where the cluster has something again: what is known by then counts, and nothing twice.
    let (folder, mut writer) = begun();
    writer.note_overtaken(&[]);
    writer.missing("flights", 0, MissingOffsets { first: 2, last: 11, cause: GapCause::Retention });
    writer.write(&batch_of(&plain(&[("flights", 0, 12, 3)]))).unwrap();
    writer.seal().unwrap();
    assert_eq!(ledger(&Recording::open(folder.path()).unwrap()), [(0, vec![(2, 11)])]);
}

#[test]
fn a_lost_manifest_is_rebuilt_from_the_segments() {
    let folder = tempfile::tempdir().unwrap();
    let recording = write(folder.path(), &[&plain(&[("flights", 0, 0, 1)]), &plain(&[("flights", 0, 4, 2)])]);
    std::fs::remove_file(folder.path().join("manifest.json")).unwrap();
    assert!(matches!(Recording::open(folder.path()), Err(RecordingError::NoManifest { .. })));
    let rebuilt = Recording::rebuild(folder.path()).unwrap();
    assert_eq!(&rebuilt.manifest, recording.manifest());
    assert_eq!((rebuilt.cut.len(), rebuilt.lost.len()), (0, 0));
    assert_eq!(Recording::open(folder.path()).unwrap().verify().unwrap(), []);
}

#[test]
fn a_segment_cut_anywhere_keeps_every_whole_row_group() {
    let folder = tempfile::tempdir().unwrap();
    // The mark of a footer in the bytes of an event deceives nobody.
    let mut events = plain(&(0..6).map(|offset| ("flights", 0, offset, offset)).collect::<Vec<_>>());
    for event in &mut events {
        event.value = Some(b"\x10\0\0\0PAR1\x04\0\0\0PAR1".to_vec());
    }
    let whole = folder.path().join("whole");
    let mut writer = RecordingWriter::create(&whole, Source::default()).unwrap();
    for group in events.chunks(2) {
        writer.write(&batch_of(group)).unwrap();
        writer.checkpoint().unwrap();
    }
    // As it stands while it is written: once it has ended, its row groups are gathered.
    let file = std::fs::read(whole.join("segments/000000.parquet")).unwrap();
    let mut kept_before = 0;
    for length in (0..file.len()).step_by(97).chain([file.len()]) {
        let copy = folder.path().join(format!("cut-{length}"));
        std::fs::create_dir_all(copy.join("segments")).unwrap();
        std::fs::write(copy.join("segments/000000.parquet"), &file[..length]).unwrap();
        let rebuilt = Recording::rebuild(&copy).unwrap();
        let found = rebuilt.cut.len() + rebuilt.lost.len();
        assert_eq!(found, usize::from(length < file.len()), "cut at {length}");
        let recording = Recording::open(&copy).unwrap();
        let kept = read(&recording);
        assert_eq!(kept, events[..kept.len()], "cut at {length}");
        assert_eq!(recording.verify().unwrap(), []);
        assert!(kept.len() >= kept_before && kept.len().is_multiple_of(2), "cut at {length}");
        kept_before = kept.len();
    }
    assert_eq!(kept_before, 6);
    writer.seal().unwrap();
    let gathered = std::fs::read(whole.join("segments/000000.parquet")).unwrap();
    assert!(gathered.len() * 2 < file.len(), "{} of {}", gathered.len(), file.len());
    let recording = Recording::open(&whole).unwrap();
    assert_eq!((read(&recording), recording.verify().unwrap()), (events, vec![]));
}

// ---- other tools ----

/// Writes a recording as another tool would: Parquet from plain Arrow, and a manifest that says no more than it must.
fn write_foreign(folder: &Path, columns: Vec<(&str, ArrayRef)>, entries: Vec<KeyValue>) {
    std::fs::create_dir_all(folder.join("segments")).unwrap();
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let file = std::fs::File::create(folder.join("segments/000000.parquet")).unwrap();
    let properties = WriterProperties::builder().set_key_value_metadata(Some(entries)).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let manifest = r#"{"format": "1.0", "segments": [{"file": "segments/000000.parquet"}], "made-by": "hand"}"#;
    std::fs::write(folder.join("manifest.json"), manifest).unwrap();
}

/// Headers of one event for each entry of `counts`, all of the name `h`, as a list whose item has an unusual name.
fn foreign_headers(counts: &[usize]) -> ArrayRef {
    let total = counts.iter().sum();
    let fields = Fields::from(vec![
        Field::new("note", DataType::Boolean, true),
        Field::new("value", DataType::LargeBinary, true),
        Field::new("name", DataType::LargeUtf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![true; total])),
        Arc::new(LargeBinaryArray::from_iter_values(vec![b"v"; total])),
        Arc::new(LargeStringArray::from_iter_values(vec!["h"; total])),
    ];
    let item = Arc::new(Field::new("element", DataType::Struct(fields.clone()), true));
    let items = StructArray::new(fields, columns, None);
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(counts.iter().copied()), Arc::new(items), None))
}

/// Columns as another tool may write them, with these offsets of one partition.
fn foreign_columns(offsets: &[i64]) -> Vec<(&'static str, ArrayRef)> {
    let rows = offsets.len();
    vec![
        ("added", Arc::new(BooleanArray::from(vec![true; rows]))),
        ("headers", foreign_headers(&vec![1; rows])),
        ("value", Arc::new(LargeBinaryArray::from_iter_values(vec![b"{}"; rows]))),
        ("key", Arc::new(StringArray::from_iter_values(vec!["k"; rows]))),
        ("captured_at", Arc::new(TimestampMicrosecondArray::new_null(rows))),
        ("timestamp_type", Arc::new(StringArray::from_iter_values(vec!["append"; rows]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(vec![-1000; rows]))),
        ("offset", Arc::new(Int64Array::from(offsets.to_vec()))),
        ("partition", Arc::new(Int64Array::from(vec![3; rows]))),
        ("topic", Arc::new(LargeStringArray::from_iter_values(vec!["flights"; rows]))),
    ]
}

fn foreign_event(offset: i64) -> Event {
    Event {
        topic: "flights".to_owned(),
        partition: 3,
        offset,
        timestamp_ms: Some(-1),
        timestamp_type: TimestampType::Append,
        captured_at_us: None,
        key: Some(b"k".to_vec()),
        value: Some(b"{}".to_vec()),
        headers: vec![Header { name: "h".to_owned(), value: Some(b"v".to_vec()) }],
    }
}

#[test]
fn a_recording_that_another_tool_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_foreign(folder.path(), foreign_columns(&[0, 1, 5]), Vec::new());
    let recording = Recording::open(folder.path()).unwrap();
    let events: Vec<Event> = [0, 1, 5].map(foreign_event).to_vec();
    assert_eq!(read(&recording), events);
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(recording.partitions(), [partition("flights", 3)]);
    assert_eq!((recording.len(), recording.manifest().partitions[0].gaps), (3, 1));
    let found = recording.at(&partition("flights", 3), 5).unwrap().unwrap();
    let batch = recording.lookup(Columns::ALL).fetch(&[found.place, Place { segment: 0, row: 0 }]).unwrap();
    assert_eq!(events_of(&batch), [events[2].clone(), events[0].clone()]);
    // What was read may be written: as this program's own.
    let copy = folder.path().join("copy");
    let copy = write_batches(&copy, &recording);
    assert_eq!(read(&copy), events);
}

fn write_batches(folder: &Path, recording: &Recording) -> Recording {
    let mut writer = RecordingWriter::create(folder, Source::default()).unwrap();
    for batch in recording.batches(Columns::ALL) {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.seal().unwrap();
    Recording::open(folder).unwrap()
}

// ---- what is in it ----

#[test]
fn a_summary_counts_rates_gaps_and_disorder() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = plain(&[
        ("flights", 0, 0, 60_000),
        ("flights", 0, 1, 60_500),
        ("flights", 1, 9, 1_000),
        ("flights", 0, 5, 60_100),
        ("flights", 0, 6, 62_000),
        ("gates", 0, 0, 121_000),
    ]);
    events.push(Event { topic: "gates".to_owned(), offset: 1, ..Event::default() });
    let recording = write(folder.path(), &[&events]);
    let summary = recording.summary().unwrap();
    assert_eq!((summary.events, summary.without_timestamp), (7, 1));
    assert_eq!(summary.span, Some(TimeSpan { first_ms: 1_000, last_ms: 121_000 }));
    assert_eq!(summary.rates.mean_per_second, Some(6.0 / 120.0));
    let busiest = |found: Option<rehearsal::recording::Busiest>| found.map(|found| (found.start_ms, found.events));
    assert_eq!(busiest(summary.rates.busiest_second), Some((60_000, 3)));
    assert_eq!(busiest(summary.rates.busiest_minute), Some((60_000, 4)));
    let topics: Vec<_> = summary.topics.iter().map(|topic| (topic.topic.as_str(), topic.events)).collect();
    assert_eq!(topics, [("flights", 5), ("gates", 2)]);
    let first = &summary.topics[0].partitions[0];
    assert_eq!((first.events, first.gaps, first.missing), (4, 1, 3));
    assert_eq!(first.longest_gaps, [Gap { after: 1, missing: 3 }]);
    assert_eq!((first.disorder.events, first.disorder.max_ms), (1, 400));
    assert!((first.disorder.share - 0.25).abs() < 1e-9);
    assert_eq!(summary.topics[0].partitions[1].disorder.events, 0);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["topics"][0]["partitions"][0]["missing"], 3);
}

// ---- bad recordings ----

/// Where a bad recording is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It cannot be opened.
    Opening,
    /// It opens; `verify` names the problem.
    Verifying,
}

/// Every recording of `recordings/bad`: where it is found out, the file that the message names, and the cause.
const BAD: [(&str, Found, &str, &str); 14] = [
    ("footer-lies", Found::Verifying, "segments/000000.parquet", "offsets out of order in flights/3: 3 stands after 5"),
    ("manifest-cut", Found::Opening, "manifest.json", "is no manifest of a recording"),
    ("manifest-missing", Found::Opening, "manifest.json", "is missing"),
    ("missing-column", Found::Opening, "segments/000000.parquet", "has no column `timestamp`"),
    ("not-sealed", Found::Opening, "manifest.json", "not sealed"),
    ("null-offset", Found::Opening, "segments/000000.parquet", "column `offset` is null"),
    (
        "offsets-out-of-order",
        Found::Opening,
        "segments/000000.parquet",
        "offsets out of order in flights/3: 3 stands after 5",
    ),
    ("segment-missing", Found::Opening, "segments/000000.parquet", "No such file"),
    ("segment-outside", Found::Opening, "manifest.json", "outside of the recording"),
    ("segment-version", Found::Opening, "segments/000000.parquet", "recordings of format 2.0 cannot be read"),
    ("truncated", Found::Opening, "segments/000000.parquet", "is cut or was changed"),
    ("wrong-hash", Found::Verifying, "segments/000000.parquet", "wrong hash"),
    ("wrong-type", Found::Opening, "segments/000000.parquet", "column `partition` has the type Utf8"),
    ("wrong-version", Found::Opening, "manifest.json", "recordings of format 2.0 cannot be read"),
];

/// Makes the bad recordings anew in `folder`. `REHEARSAL_MAKE_BAD=1 cargo test --test it bad` does so in `recordings/bad`.
fn make_bad(folder: &Path) {
    let events = plain(&(0..4).map(|offset| ("flights", 3, offset, 1_357_000_000_000 + offset)).collect::<Vec<_>>());
    let made = |name: &str| {
        let folder = folder.join(name);
        write(&folder, &[&events]);
        folder
    };
    let edit = |folder: &Path, from: &str, to: &str| {
        let manifest = folder.join("manifest.json");
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(text.contains(from), "the manifest has no {from}");
        std::fs::write(manifest, text.replace(from, to)).unwrap();
    };
    let segment = |folder: &Path| folder.join("segments/000000.parquet");

    edit(&made("wrong-version"), "\"format\": \"1.0\"", "\"format\": \"2.0\"");
    edit(&made("not-sealed"), "\"sealed\": true", "\"sealed\": false");
    edit(&made("segment-outside"), "segments/000000.parquet", "../truncated/segments/000000.parquet");
    std::fs::remove_file(made("manifest-missing").join("manifest.json")).unwrap();
    let cut = made("manifest-cut").join("manifest.json");
    std::fs::write(&cut, &std::fs::read(&cut).unwrap()[..200]).unwrap();
    let missing = made("segment-missing");
    std::fs::remove_dir_all(missing.join("segments")).unwrap();
    let cut = segment(&made("truncated"));
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    // The mark at the start of the file is read by nobody: only the hash tells that it changed.
    let changed = segment(&made("wrong-hash"));
    let mut bytes = std::fs::read(&changed).unwrap();
    bytes[0] = b'p';
    std::fs::write(&changed, bytes).unwrap();

    write_foreign(&folder.join("offsets-out-of-order"), foreign_columns(&[4, 5, 3]), Vec::new());
    let covered =
        r#"{"format":"1.0","topics":["flights"],"row_groups":[{"rows":3,"span":null,"extents":[[0,3,4,6,3,0]]}]}"#;
    let entry = KeyValue::new("rehearsal.coverage".to_owned(), covered.to_owned());
    write_foreign(&folder.join("footer-lies"), foreign_columns(&[4, 5, 3]), vec![entry]);
    let entry = KeyValue::new("rehearsal.coverage".to_owned(), covered.replace("1.0", "2.0"));
    write_foreign(&folder.join("segment-version"), foreign_columns(&[4, 5, 6]), vec![entry]);
    let mut columns = foreign_columns(&[0]);
    columns.retain(|(name, _)| *name != "timestamp");
    write_foreign(&folder.join("missing-column"), columns, Vec::new());
    let mut columns = foreign_columns(&[0]);
    columns.iter_mut().find(|(name, _)| *name == "offset").unwrap().1 = Arc::new(Int64Array::new_null(1));
    write_foreign(&folder.join("null-offset"), columns, Vec::new());
    let mut columns = foreign_columns(&[0]);
    columns.iter_mut().find(|(name, _)| *name == "partition").unwrap().1 = Arc::new(StringArray::from(vec!["3"]));
    write_foreign(&folder.join("wrong-type"), columns, Vec::new());
}

fn bad_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/bad")
}

/// Holds the bad recordings of `folder` against what is expected of each.
fn check_bad(folder: &Path) {
    let mut found: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(
        found,
        BAD.map(|(name, ..)| name),
        "every bad recording has an expectation, and every expectation a recording"
    );
    for (name, stage, file, cause) in BAD {
        let recording = folder.join(name);
        let (at, message) = match Recording::open(&recording) {
            Err(error) => (Found::Opening, chain(&error)),
            Ok(opened) => {
                let problems = opened.verify().unwrap();
                (Found::Verifying, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            }
        };
        assert_eq!(at, stage, "{name}: {message}");
        assert!(message.contains(recording.join(file).to_str().unwrap()), "{name} names no {file}: {message}");
        assert!(message.contains(cause), "{name} does not say `{cause}`: {message}");
    }
}

#[test]
fn every_bad_recording_is_refused_by_file_and_cause() {
    let folder = bad_folder();
    if std::env::var_os("REHEARSAL_MAKE_BAD").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        make_bad(&folder);
    }
    check_bad(&folder);
}

#[test]
fn bad_recordings_made_today_are_refused_as_those_in_the_repository_are() {
    let folder = tempfile::tempdir().unwrap();
    make_bad(folder.path());
    check_bad(folder.path());
}

#[test]
fn a_footer_that_lies_about_offsets_is_found_out_by_whoever_reads_them() {
    let recording = Recording::open(bad_folder().join("footer-lies")).unwrap();
    let last = recording.coordinates(&partition("flights", 3), false).last().unwrap();
    assert!(matches!(last, Err(RecordingError::OffsetOrder { offset: 3, after: 5, .. })), "{last:?}");
}

#[test]
fn a_column_that_does_not_fit_is_refused_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut columns = foreign_columns(&[0]);
    columns.iter_mut().find(|(name, _)| *name == "partition").unwrap().1 =
        Arc::new(Int64Array::from(vec![1_i64 << 40]));
    write_foreign(folder.path(), columns, Vec::new());
    let error = Recording::open(folder.path()).unwrap_err();
    assert!(matches!(error, RecordingError::ColumnType { column: "partition", .. }), "{error}");
}

#[test]
fn an_unknown_timestamp_type_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut columns = foreign_columns(&[0]);
    columns.iter_mut().find(|(name, _)| *name == "timestamp_type").unwrap().1 =
        Arc::new(StringArray::from(vec!["guess"]));
    write_foreign(folder.path(), columns, Vec::new());
    let error = Recording::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("`guess` is no timestamp type"), "{error}");
}

#[test]
fn readers_by_place_agree_whatever_the_order_they_ask_in() {
    let folder = tempfile::tempdir().unwrap();
    // Two topics one after the other, in more pieces than one reader holds.
    let topic = |topic: &'static str| plain(&(0..60_000).map(|offset| (topic, 0, offset, offset)).collect::<Vec<_>>());
    let recording = write(folder.path(), &[&topic("a"), &topic("b")]);
    let merged: Vec<Place> =
        (0..60_000).flat_map(|row| [Place { segment: 0, row }, Place { segment: 0, row: 60_000 + row }]).collect();
    let mut lookups = [recording.lookup(Columns::ALL), recording.clone().lookup(Columns::ALL)];
    for places in merged.chunks(700) {
        for lookup in &mut lookups {
            let batch = lookup.fetch(places).unwrap();
            for (event, place) in batch.iter().zip(places) {
                let wanted = if place.row < 60_000 { ("a", place.row) } else { ("b", place.row - 60_000) };
                assert_eq!((event.topic, event.offset), (wanted.0, i64::from(wanted.1)));
            }
            assert_eq!(shown(lookup, places), batch.iter().map(|event| event.to_event()).collect::<Vec<_>>());
        }
    }
    // Scattered over all pieces, backwards, each twice.
    let scattered: Vec<Place> =
        (0..120_000).step_by(997).rev().flat_map(|row| [Place { segment: 0, row }; 2]).collect();
    let batch = lookups[0].fetch(&scattered).unwrap();
    let rows: Vec<i64> = batch.iter().map(|event| event.offset + if event.topic == "b" { 60_000 } else { 0 }).collect();
    assert_eq!(rows, scattered.iter().map(|place| i64::from(place.row)).collect::<Vec<_>>());
    assert_eq!(shown(&mut lookups[0], &scattered), batch.iter().map(|event| event.to_event()).collect::<Vec<_>>());
}

/// The events at `places` as they are shown one by one.
fn shown(lookup: &mut Lookup, places: &[Place]) -> Vec<Event> {
    let mut events = Vec::new();
    let show = |index: usize, event: EventView<'_>| {
        assert_eq!(index, events.len());
        events.push(event.to_event());
        Ok::<_, RecordingError>(())
    };
    lookup.each(places, show).unwrap();
    events
}

#[test]
fn recordings_and_their_readers_may_go_to_other_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    shared::<Recording>();
    shared::<EventBatch>();
    sent::<rehearsal::recording::Lookup>();
    sent::<rehearsal::recording::Coordinates>();
    sent::<rehearsal::recording::Batches>();
    sent::<RecordingWriter>();
}

#[test]
fn some_events_are_read_where_all_would_be_too_many_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<Event> =
        (0..6).map(|offset| Event { offset, value: Some(vec![0; 1000]), ..Event::default() }).collect();
    let recording = write(folder.path(), &[&events]);
    let rows = |rows: &[u32]| rows.iter().map(|&row| Place { segment: 0, row }).collect::<Vec<_>>();
    let mut lookup = recording.lookup(Columns::ALL);
    for (places, bytes_max, read) in [
        (rows(&[0, 1, 2, 3]), 1500, 2),
        (rows(&[5, 3, 1]), 0, 1),
        (rows(&[5, 3, 1]), 1 << 20, 3),
        (rows(&[2, 3, 4, 5]), 1 << 20, 4),
        (rows(&[]), 10, 0),
    ] {
        let batch = lookup.fetch_some(&places, bytes_max).unwrap();
        let offsets: Vec<i64> = batch.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, places[..read].iter().map(|place| i64::from(place.row)).collect::<Vec<_>>());
    }
}
