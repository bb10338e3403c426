//! Part of a recording as a recording of its own, held against a plain list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rehearsal::mask::{Detection, Masker, rewrite};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, GapCause, MissingOffsets, PartitionGaps, Recording, RecordingError,
    RecordingWriter, Role, SliceError, SliceSettings, Source, TopicSource, slice,
};
use tempfile::TempDir;

const TOPICS: [(&str, Role); 4] = [
    ("flights", Role::Input),
    ("payouts", Role::Output),
    ("airports", Role::Table),
    ("store-changelog", Role::Changelog),
];

fn role(topic: &str) -> Role {
    TOPICS.iter().find(|(name, _)| *name == topic).unwrap().1
}

/// A recording with all topics in its source, a row group for every 20 events.
fn recorded(folder: &Path, events: &[Event]) -> Recording {
    recorded_of(folder, events, &BTreeMap::new(), 0)
}

/// One whose partitions begin at `starts`; what holds no event from there on is in its ledger, and `behind` offsets of each behind the
/// last.
fn recorded_of(folder: &Path, events: &[Event], starts: &BTreeMap<i32, i64>, behind: i64) -> Recording {
    let starts = |_| starts.clone();
    let topics = TOPICS
        .map(|(name, role)| TopicSource {
            name: name.to_owned(),
            partitions: 2,
            role,
            starts: starts(name),
            ..TopicSource::default()
        })
        .to_vec();
    let mut next: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for topic in &topics {
        next.extend(topic.starts.iter().map(|(partition, start)| ((topic.name.clone(), *partition), *start)));
    }
    let source = Source { cluster: Some("c".to_owned()), topics, ..Source::default() };
    let mut writer = RecordingWriter::create(folder, source).unwrap();
    // Several row groups, which would be gathered within a segment.
    writer.set_segment_groups(1);
    let lost = |first, last| MissingOffsets { first, last, cause: GapCause::Retention };
    for events in events.chunks(20) {
        let mut builder = EventBatchBuilder::new();
        for event in events {
            if let Some(next) = next.get_mut(&(event.topic.clone(), event.partition)) {
                if *next < event.offset {
                    writer.missing(&event.topic, event.partition, lost(*next, event.offset - 1));
                }
                *next = event.offset + 1;
            }
            builder.push_event(event);
        }
        writer.write(&builder.finish()).unwrap();
        writer.checkpoint().unwrap();
    }
    for ((topic, partition), next) in next.iter().filter(|_| behind > 0) {
        writer.missing(topic, *partition, lost(*next, *next + behind - 1));
    }
    writer.seal().unwrap();
    Recording::open(folder).unwrap()
}

fn read(recording: &Recording) -> Vec<Event> {
    let batches = recording.batches(Columns::ALL);
    batches.flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect()
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let row = (0_usize..4, 0..2_i32, 1..3_i64, option::weighted(0.9, 0..100_i64), option::of(0_u8..5), any::<bool>());
    vec(row, 1..150).prop_map(|rows| {
        let mut next = BTreeMap::new();
        rows.into_iter()
            .map(|(topic, partition, step, timestamp_ms, key, tombstone)| {
                let offset = next.entry((topic, partition)).or_insert(0_i64);
                *offset += step;
                Event {
                    topic: TOPICS[topic].0.to_owned(),
                    partition,
                    offset: *offset,
                    timestamp_ms,
                    key: key.map(|key| vec![b'k', key]),
                    value: (!tombstone).then(|| format!("{offset}").into_bytes()),
                    ..Event::default()
                }
            })
            .collect()
    })
}

#[test]
fn the_end_of_all_time_lies_within_a_slice_without_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let event = |offset, timestamp_ms| Event { topic: "flights".to_owned(), offset, timestamp_ms, ..Event::default() };
    let times = [Some(i64::MIN), Some(-1), Some(0), Some(i64::MAX)];
    let events: Vec<Event> = (0..).zip(times).map(|(offset, time)| event(offset, time)).collect();
    let recording = recorded(&folder.path().join("all"), &events);
    let settings = SliceSettings { topics: vec!["flights".to_owned()], ..SliceSettings::default() };
    let report = slice(&recording, &settings, folder.path().join("slice"), &mut |_| true).unwrap();
    assert_eq!(report.kept, 4);
    let late = SliceSettings { from_us: Some(5), ..SliceSettings::default() };
    assert_eq!(slice(&recording, &late, folder.path().join("late"), &mut |_| true).unwrap().kept, 1);
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let output = inspect.current_dir(folder.path()).args(["inspect", "all", "--verify"]).assert().success();
    let said = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(said.contains("from -262143-01-01T00:00:00") && said.contains("to +262142-12-31T23:59:59"), "{said}");
}

/// What a slice keeps, said as plainly as can be; nothing where nothing of the time that is asked for is left, whatever tables
/// held ahead of it.
fn expected(events: &[Event], settings: &SliceSettings) -> Vec<Event> {
    let (from, to) = (settings.from_us.map(|us| us / 1_000), settings.to_us.map_or(i64::MAX, |us| us / 1_000));
    // Time of the last event of a partition that had one.
    let mut time: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut any_within = false;
    let mut last: BTreeMap<(&str, i32, &[u8]), usize> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        let lane = (event.topic.as_str(), event.partition);
        time.extend(event.timestamp_ms.map(|time| (lane, time)));
        let is_table = matches!(role(&event.topic), Role::Table | Role::Changelog);
        // Where no event so far has a time, the slice has begun only if it has no beginning.
        let ahead = from.is_some_and(|from| time.get(&lane).is_none_or(|time| *time < from));
        let within = !ahead && time.get(&lane).is_none_or(|time| *time < to);
        let asked = (settings.topics.is_empty() || settings.topics.contains(&event.topic))
            && (settings.keys.is_empty() || event.key.as_ref().is_some_and(|key| settings.keys.contains(key)));
        match (is_table, &event.key) {
            (true, _) if settings.without_tables => {}
            (true, Some(key)) if ahead => {
                let earlier = last.insert((lane.0, lane.1, key), at);
                kept.retain(|kept| Some(*kept) != earlier);
                if event.value.is_some() {
                    kept.push(at);
                }
            }
            (is_table, _) if within && (is_table || asked) => {
                any_within = true;
                kept.push(at);
            }
            _ => {}
        }
    }
    kept.retain(|_| any_within);
    kept.sort_unstable();
    kept.into_iter().map(|at| events[at].clone()).collect()
}

fn settings() -> impl Strategy<Value = SliceSettings> {
    let topics = prop_oneof![Just(vec![]), Just(vec!["flights"]), Just(vec!["payouts", "flights"])];
    let keys = prop_oneof![3 => Just(vec![]), 1 => Just(vec![b"k\x01".to_vec(), b"k\x03".to_vec()])];
    let times = (option::of(0..60_i64), option::of(60..120_i64));
    (times, topics, keys, any::<bool>()).prop_map(|((from, to), topics, keys, without_tables)| SliceSettings {
        from_us: from.map(|ms| ms * 1_000),
        to_us: to.map(|ms| ms * 1_000),
        topics: topics.into_iter().map(str::to_owned).collect(),
        keys,
        share: Some(1.0),
        without_tables,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_slice_holds_what_was_asked_for_untouched(
        (events, settings) in (events(), settings()),
        (starts, behind) in (option::of(Just(0)), 0..3_i64),
    ) {
        let folder = TempDir::new().unwrap();
        let starts = starts.map(|start| BTreeMap::from([(0, start), (1, start)])).unwrap_or_default();
        let recording = recorded_of(&folder.path().join("whole"), &events, &starts, behind);
        prop_assert_eq!(recording.verify().unwrap(), []);
        let mut settings = settings;
        settings.topics.retain(|topic| events.iter().any(|event| event.topic == *topic));
        let out = folder.path().join("slice");
        let expected = expected(&events, &settings);
        let is_met = |key: &Vec<u8>| {
            let asked = |event: &Event| matches!(role(&event.topic), Role::Input | Role::Output);
            expected.iter().any(|event| asked(event) && event.key.as_ref() == Some(key))
        };
        match slice(&recording, &settings, &out, &mut |_| true) {
            Ok(report) => {
                let sliced = Recording::open(&out).unwrap();
                prop_assert_eq!(sliced.verify().unwrap(), []);
                prop_assert_eq!(read(&sliced), expected.clone());
                let missing = settings.keys.iter().filter(|key| !is_met(key)).count();
                prop_assert_eq!(report.keys_missing.len(), missing);
                let read = events.len() as u64;
                prop_assert_eq!((report.read, report.kept), (read, expected.len() as u64));
                for topic in &sliced.manifest().source.topics {
                    prop_assert_eq!(topic.role, role(&topic.name));
                    // Where the slice begins in a table of which something stood ahead of it.
                    for (partition, begin) in &topic.windows {
                        let of = |event: &&Event| (&event.topic, event.partition) == (&topic.name, *partition);
                        let from_ms = settings.from_us.unwrap() / 1_000;
                        let is_ahead = |event: &Event| event.timestamp_ms.is_none_or(|time| time < from_ms);
                        let mut stood = expected.iter().filter(of).filter(|event| event.offset < *begin).peekable();
                        prop_assert!(stood.peek().is_some() && stood.all(is_ahead));
                    }
                }
            }
            Err(SliceError::Nothing) => prop_assert!(expected.is_empty() && !out.exists()),
            Err(SliceError::Setting { setting: "--key", .. }) => {
                prop_assert!(!settings.keys.is_empty() && !out.exists());
                prop_assert!(settings.keys.iter().all(|key| !is_met(key)));
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn a_slice_that_is_stopped_leaves_nothing() {
    let event = |topic: &str, offset: i64| Event {
        topic: topic.to_owned(),
        offset,
        timestamp_ms: Some(offset),
        key: Some(vec![1]),
        ..Event::default()
    };
    let folder = TempDir::new().unwrap();
    let events: Vec<Event> = (0..90).map(|at| event(["flights", "airports"][at as usize % 2], at)).collect();
    let recording = recorded(&folder.path().join("whole"), &events);
    let settings = SliceSettings { from_us: Some(50_000), ..SliceSettings::default() };
    // At each step, also while it looks for what tables held.
    let steps = |until: usize| {
        let mut asked = 0;
        let sliced = slice(&recording, &settings, folder.path().join("slice"), &mut |_| {
            asked += 1;
            asked < until
        });
        (sliced, asked)
    };
    let (whole, all) = steps(usize::MAX);
    // The last time right ahead of its name.
    assert!(whole.is_ok() && all == 11, "{all}");
    fs::remove_dir_all(folder.path().join("slice")).unwrap();
    for until in 1..=all {
        let (stopped, asked) = steps(until);
        assert!(matches!(stopped, Err(SliceError::Stopped)) && asked == until, "{until}: {stopped:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{until}");
    }
}

#[test]
fn what_the_cluster_had_deleted_beside_a_slice_is_in_its_ledger() {
    let event = |topic: &str, partition, offset: i64, time_ms: i64, key: &str| Event {
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp_ms: Some(time_ms),
        key: Some(key.as_bytes().to_vec()),
        value: Some(b"1".to_vec()),
        ..Event::default()
    };
    // Of partition 0 the first hundred, ten in between and five at the end are lost; of partition 1 all.
    let times = [(100, 10), (101, 20), (112, 30), (113, 40)];
    let mut events: Vec<Event> = times.map(|(offset, time)| event("flights", 0, offset, time, "a")).to_vec();
    events.extend((0..2).map(|offset| event("airports", 0, offset, 10 * offset, "b")));
    let folder = TempDir::new().unwrap();
    let starts = BTreeMap::from([(0, 0), (1, 0)]);
    let recording = recorded_of(&folder.path().join("whole"), &events, &starts, 5);
    let lost = |topic: &str, slice: &Recording| -> Vec<(i32, i64, i64)> {
        let gaps = slice.manifest().gaps.iter().filter(|gaps| gaps.topic == topic);
        let of_one = |gaps: &PartitionGaps| {
            let lost = gaps.stretches.clone().into_iter().filter(|one| one.cause == GapCause::Retention);
            lost.map(|one| (gaps.partition, one.first, one.last)).collect::<Vec<_>>()
        };
        gaps.flat_map(of_one).collect()
    };
    let all = [(0, 0, 99), (0, 102, 111), (0, 114, 118), (1, 0, 4)];
    assert_eq!(lost("flights", &recording), all);
    let ms = |ms: i64| Some(ms * 1_000);
    let flights = SliceSettings { topics: vec!["flights".to_owned()], ..SliceSettings::default() };
    let keyed = SliceSettings { keys: vec![b"a".to_vec()], ..SliceSettings::default() };
    // Beside a slice in time lies what may have been of its time, and no more.
    let early = SliceSettings { to_us: ms(15), ..SliceSettings::default() };
    let middle = SliceSettings { from_us: ms(15), to_us: ms(25), ..SliceSettings::default() };
    let late = SliceSettings { from_us: ms(35), ..SliceSettings::default() };
    let at_once = SliceSettings { from_us: ms(25), to_us: ms(35), ..SliceSettings::default() };
    for (name, settings, expected) in [
        ("topic", flights, &all[..]),
        ("key", keyed, &all[..]),
        ("early", early, &[all[0], all[3]][..]),
        ("middle", middle, &[all[1], all[3]][..]),
        ("at once", at_once, &[all[1], all[3]][..]),
        ("late", late, &[all[2], all[3]][..]),
    ] {
        let out = folder.path().join(name);
        slice(&recording, &settings, &out, &mut |_| true).unwrap();
        let sliced = Recording::open(&out).unwrap();
        assert_eq!(lost("flights", &sliced), expected, "{name}");
        assert_eq!(sliced.verify().unwrap(), [], "{name}");
    }
}

#[test]
fn a_slice_says_where_it_begins_in_a_table() {
    let event = |topic: &str, offset: i64, time_ms: i64, key: &str| Event {
        topic: topic.to_owned(),
        offset,
        timestamp_ms: Some(time_ms),
        key: Some(key.as_bytes().to_vec()),
        value: Some(b"1".to_vec()),
        ..Event::default()
    };
    let table = [(0, 1, "a"), (1, 2, "b"), (2, 3, "a"), (3, 10, "b")];
    let mut events: Vec<Event> = table.map(|(offset, time, key)| event("airports", offset, time, key)).to_vec();
    events.push(event("flights", 0, 20, "a"));
    let folder = TempDir::new().unwrap();
    let recording = recorded(&folder.path().join("whole"), &events);
    // Within a change of the table, behind its last change, and where nothing stood ahead.
    for (from_ms, tables, begin) in [(5, 2, Some(3)), (15, 2, Some(4)), (1, 0, None)] {
        let out = folder.path().join(from_ms.to_string());
        let settings = SliceSettings { from_us: Some(from_ms * 1_000), ..SliceSettings::default() };
        assert_eq!(slice(&recording, &settings, &out, &mut |_| true).unwrap().tables, tables);
        let sliced = Recording::open(&out).unwrap();
        let topics = &sliced.manifest().source.topics;
        let airports = topics.iter().find(|topic| topic.name == "airports").unwrap();
        assert_eq!(airports.windows.get(&0).copied(), begin, "from {from_ms}");
    }
}

#[test]
fn a_share_keeps_whole_keys_in_all_topics_and_a_larger_one_keeps_more() {
    let event = |topic: &str, offset: i64| Event {
        topic: topic.to_owned(),
        offset,
        key: (offset % 10 < 9).then(|| format!("key-{}", offset % 900).into_bytes()),
        value: Some(b"1".to_vec()),
        ..Event::default()
    };
    let events: Vec<Event> = (0..9_000)
        .map(|offset| event("flights", offset))
        .chain((0..9_000).map(|offset| event("payouts", offset)))
        .collect();
    let folder = TempDir::new().unwrap();
    let recording = recorded(&folder.path().join("whole"), &events);
    let keys_kept = |share: f64| {
        let out = folder.path().join(share.to_string());
        let settings = SliceSettings { share: Some(share), ..SliceSettings::default() };
        slice(&recording, &settings, &out, &mut |_| true).unwrap();
        let mut kept: BTreeMap<(String, Option<Vec<u8>>), usize> = BTreeMap::new();
        for event in read(&Recording::open(&out).unwrap()) {
            *kept.entry((event.topic, event.key)).or_default() += 1;
        }
        kept
    };
    let (some, more) = (keys_kept(0.1), keys_kept(0.3));
    let keys = |topic: &str| {
        let of_topic = some.iter().filter(|((of, key), _)| of == topic && key.is_some());
        of_topic.map(|((_, key), count)| (key.clone(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(keys("flights"), keys("payouts"));
    // 810 keys, ten events of each; 900 events without a key.
    assert!((50..=120).contains(&keys("flights").len()) && keys("flights").iter().all(|(_, count)| *count == 10));
    assert!((50..=150).contains(&some[&("flights".to_owned(), None)]));
    assert!(
        some.iter().all(|(key, count)| more.get(key).is_some_and(|more| more >= count)) && more.len() > 2 * some.len()
    );
}

#[test]
fn what_cannot_be_sliced_is_refused_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let event = Event { topic: "flights".to_owned(), timestamp_ms: Some(5), ..Event::default() };
    let recording = recorded(&folder.path().join("whole"), &[event]);
    let out = folder.path().join("out");
    let refused = |settings: SliceSettings| slice(&recording, &settings, &out, &mut |_| true).unwrap_err().to_string();
    let none = SliceSettings::default();
    for (settings, message) in [
        (none.clone(), "slice: nothing says what to keep"),
        (SliceSettings { from_us: Some(2), to_us: Some(2), ..none.clone() }, "--to: the slice ends before it begins"),
        (SliceSettings { share: Some(0.0), ..none.clone() }, "--share: 0 is no share of keys"),
        (SliceSettings { share: Some(f64::NAN), ..none.clone() }, "--share: NaN is no share of keys"),
        (SliceSettings { share: Some(1.5), ..none.clone() }, "--share: 1.5 is no share of keys"),
        (
            SliceSettings { topics: vec!["fligths".to_owned()], ..none.clone() },
            "of topic `fligths`; there are `flights`",
        ),
        (SliceSettings { from_us: Some(6_000), ..none.clone() }, "no event of the recording is what was asked for"),
    ] {
        let found = refused(settings);
        assert!(found.contains(message), "{found}");
    }
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "").unwrap();
    let taken = slice(&recording, &SliceSettings { to_us: Some(6_000), ..none }, &out, &mut |_| true);
    assert!(matches!(taken, Err(SliceError::Recording(RecordingError::NotEmpty { .. }))));
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["out", "whole"]);
}

#[test]
fn the_command_cuts_an_incident_out() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("incident");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.args(["slice", "recordings/flights", "--out"]).arg(&out).args(arguments);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, message) = run(&["--around", "2013-01-05T12:00:00Z"]);
    assert!(code == Some(2) && message.contains("--span"), "{message}");
    let (code, _, message) = run(&["--from", "yesterday"]);
    assert!(code == Some(2) && message.contains("--from: `yesterday` is no date"), "{message}");
    let (code, _, message) = run(&["--share", "7"]);
    assert!(code == Some(2) && message.contains("--share: 7 is no share"), "{message}");
    let (code, _, message) = run(&["--share", "ten"]);
    assert!(code == Some(2) && message.contains("write it as 0.1 or 10%"), "{message}");
    let (code, shown, _) = run(&["--around", "2013-01-05T12:00:00Z", "--span", "2h", "--share", "100%", "--json"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let (from_ms, to_ms) = (1_357_383_600_000, 1_357_390_800_000);
    let whole = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let mut expected = read(&whole);
    expected.retain(|event| (from_ms..to_ms).contains(&event.timestamp_ms.unwrap()));
    assert!(expected.len() > 50);
    assert_eq!(read(&Recording::open(&out).unwrap()), expected);
    assert_eq!((report["kept"].as_u64(), report["tables"].as_u64()), (Some(expected.len() as u64), Some(0)));
    let (code, _, message) = run(&["--topic", "flights"]);
    assert!(code == Some(2) && message.contains("--out"), "{message}");
}

#[test]
fn a_key_that_no_event_of_the_slice_has_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let event = |offset, key: &str| Event {
        topic: "flights".to_owned(),
        offset,
        timestamp_ms: Some(offset),
        key: Some(key.into()),
        ..Event::default()
    };
    let table = Event { topic: "airports".to_owned(), key: Some(b"nope".to_vec()), ..event(0, "") };
    let recording = recorded(&folder.path().join("all"), &[event(0, "a"), event(1, "b"), table]);
    let of = |keys: &[&str], to_us| {
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let out = folder.path().join(format!("slice-{keys:?}-{to_us:?}"));
        let settings = SliceSettings { keys, to_us, ..SliceSettings::default() };
        slice(&recording, &settings, &out, &mut |_| true).map_err(|error| {
            assert!(!out.exists());
            error.to_string()
        })
    };
    // What a table holds is no event that was asked for by its key.
    assert_eq!(of(&["nope"], None).unwrap_err(), "--key: no event of the slice has the key `nope`");
    assert_eq!(of(&["nope", "x"], None).unwrap_err(), "--key: no event of the slice has the key `nope`, `x`");
    assert_eq!(of(&["b"], Some(1_000)).unwrap_err(), "--key: no event of the slice has the key `b`");
    let some = of(&["a", "nope", "a"], None).unwrap();
    assert_eq!((some.kept, some.keys_missing), (2, vec!["nope".to_owned()]));
    let program = |key: &[&str], out: &str| {
        let mut slice = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        slice.current_dir(folder.path()).args(["slice", "all", "--out", out, "--json"]);
        slice.args(key.iter().flat_map(|key| ["--key", key])).output().unwrap()
    };
    let refused = program(&["nope"], "none");
    assert_eq!(refused.status.code(), Some(2));
    let line: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&line["event"], &line["exit"]), (&"error".into(), &2.into()));
    assert_eq!(line["message"], "--key: no event of the slice has the key `nope`");
    let noted = program(&["a", "nope"], "some");
    let errors = String::from_utf8(noted.stderr).unwrap();
    assert!(noted.status.success() && errors.contains("No event of the slice has the key `nope`."), "{errors}");
    let line: serde_json::Value = serde_json::from_slice(&noted.stdout).unwrap();
    assert_eq!(line["keys_missing"], serde_json::json!(["nope"]));
}

#[test]
fn what_lies_behind_the_end_of_a_capture_is_told_of_slices_that_reach_it() {
    let folder = tempfile::tempdir().unwrap();
    let held_back = BTreeMap::from([(0, 10), (1, 10), (2, 0)]);
    let topic = TopicSource { name: "t".to_owned(), partitions: 3, held_back, deleted: true, ..TopicSource::default() };
    let source = Source { topics: vec![topic], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("all"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    for (partition, times) in [(0, [1, 2]), (1, [2, 9])] {
        for (offset, time) in (0..).zip(times) {
            let timestamp_ms = Some(time);
            batch.push_event(&Event { topic: "t".to_owned(), partition, offset, timestamp_ms, ..Event::default() });
        }
    }
    writer.write(&batch.finish()).unwrap();
    writer.set_ended_early("the topic is gone".to_owned());
    writer.seal().unwrap();
    let recording = Recording::open(folder.path().join("all")).unwrap();
    let left_out = |from_ms: Option<i64>, to_ms: Option<i64>| {
        let us = |ms: Option<i64>| ms.map(|ms| ms * 1_000);
        let settings =
            SliceSettings { from_us: us(from_ms), to_us: us(to_ms), share: Some(1.0), ..SliceSettings::default() };
        let out = folder.path().join(format!("slice-{from_ms:?}-{to_ms:?}"));
        slice(&recording, &settings, &out, &mut |_| true).unwrap();
        let sliced = Recording::open(&out).unwrap();
        let manifest = sliced.manifest();
        let partitions: Vec<i32> = manifest.source.topics[0].held_back.keys().copied().collect();
        assert_eq!(
            manifest.source.topics[0].deleted,
            manifest.left_out().iter().any(|said| said.contains("was deleted"))
        );
        (manifest.ended_early.clone(), partitions, manifest.source.topics[0].deleted)
    };
    let why = Some("the topic is gone".to_owned());
    assert_eq!(left_out(None, None), (why.clone(), vec![0, 1, 2], true));
    assert_eq!(left_out(Some(2), None), (why.clone(), vec![0, 1, 2], true));
    // The second partition goes on behind the slice; of the third, nobody knows when it begins.
    assert_eq!(left_out(None, Some(5)), (why, vec![0, 2], true));
    assert_eq!(left_out(None, Some(2)), (None, vec![2], false));
}

#[test]
fn what_tables_held_ahead_of_a_time_that_nothing_is_of_is_no_slice() {
    let folder = tempfile::tempdir().unwrap();
    let event = |topic: &str, offset: i64| Event {
        topic: topic.to_owned(),
        offset,
        timestamp_ms: Some(offset),
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        ..Event::default()
    };
    let all = recorded(&folder.path().join("all"), &[event("airports", 1), event("flights", 2), event("flights", 5)]);
    let from = |ms: i64, name: &str| {
        let settings = SliceSettings { from_us: Some(ms * 1_000), ..SliceSettings::default() };
        slice(&all, &settings, folder.path().join(name), &mut |_| true)
    };
    let within = from(4, "within").unwrap();
    assert_eq!((within.kept, within.tables), (2, 1));
    assert!(matches!(from(6, "behind").unwrap_err(), SliceError::Nothing));
    assert!(!folder.path().join("behind").exists());
}

#[test]
fn what_looks_personal_is_told_of_slices_that_may_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let mail = |topic: &str, offset: i64| Event {
        topic: topic.to_owned(),
        offset,
        timestamp_ms: Some(offset),
        value: Some(br#"{"mail":"ann.smith@example.org"}"#.to_vec()),
        ..Event::default()
    };
    recorded(&folder.path().join("plain"), &[mail("flights", 1), mail("payouts", 2), mail("payouts", 3)]);
    let plain = Recording::open(folder.path().join("plain")).unwrap();
    let all = folder.path().join("all");
    rewrite(&plain, &mut Masker::new(None, Detection::Warn), &all, &mut |_| true).unwrap();
    let recording = Recording::open(&all).unwrap();
    assert_eq!(recording.manifest().personal.len(), 2);
    let personal = |settings: SliceSettings| {
        let out = tempfile::tempdir().unwrap();
        slice(&recording, &settings, out.path().join("slice"), &mut |_| true).unwrap();
        let told = Recording::open(out.path().join("slice")).unwrap().manifest().personal.clone();
        // The footers say no less.
        std::fs::remove_file(out.path().join("slice/manifest.json")).unwrap();
        Recording::rebuild(out.path().join("slice")).unwrap();
        let rebuilt = Recording::open(out.path().join("slice")).unwrap();
        assert!(told.iter().all(|facts| rebuilt.manifest().personal.contains(facts)));
        told
    };
    let facts = &recording.manifest().personal;
    assert_eq!(personal(SliceSettings { share: Some(1.0), ..SliceSettings::default() }), *facts);
    assert_eq!(personal(SliceSettings { topics: vec!["payouts".to_owned()], ..SliceSettings::default() }), facts[1..]);
    // No event of the other topic is as early.
    assert_eq!(personal(SliceSettings { to_us: Some(2_000), ..SliceSettings::default() }), facts[..1]);
}

#[test]
fn a_recording_is_never_written_inside_of_the_one_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let event = Event { topic: "flights".to_owned(), key: Some(b"a".to_vec()), ..Event::default() };
    recorded(&folder.path().join("all"), &[event]);
    std::fs::write(folder.path().join("mask.toml"), "[[rule]]\nkey = true\nmethod = \"redact\"\n").unwrap();
    std::os::unix::fs::symlink("all", folder.path().join("other")).unwrap();
    let run = |out: &str, command: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        let output = program.current_dir(folder.path()).args(command).args(["--out", out]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let slice = ["slice", "all", "--share", "1"];
    let mask = ["mask", "all", "--policy", "mask.toml"];
    for command in [&slice[..], &mask] {
        for out in ["all/part", "./all/segments/deep/er", "other/part"] {
            let (code, errors) = run(out, command);
            assert_eq!(code, Some(2), "{errors}");
            assert!(errors.contains("lies inside of all") && errors.contains("--out"), "{errors}");
        }
        assert!(run("all", command).1.contains("exists and is not empty"));
        assert_eq!(run(&format!("all-{}", command[0]), command).0, Some(0));
    }
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let inspected = inspect.current_dir(folder.path()).args(["inspect", "all-mask"]).output().unwrap();
    let said = String::from_utf8(inspected.stdout).unwrap();
    assert!(said.contains("\nmasked: key by redact, 1 time\n"), "{said}");
}
