//! Capture from Apache Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{
    CaptureEnding, CaptureError, CaptureProgress, CaptureReport, CaptureSettings, CaptureStep, Start, TopicChoice,
    Until, capture,
};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::recording::{
    Columns, Event, GapCause, MissingOffsets, Recording, RecordingWriter, Role, Standing, TimestampType, same_events,
};
use rehearsal::samples::fill;
use tempfile::TempDir;

use crate::cluster::Cluster;

/// Start of the made-up events: 2013-01-01T00:00:00Z.
const START_MS: i64 = 1_356_998_400_000;

const WAIT: Duration = Duration::from_secs(30);

type Bytes<'a> = Option<&'a [u8]>;

/// The shared broker with a topic of the test's own.
fn topic(name: &str, partitions: i32, settings: &[(&str, &str)]) -> Option<Arc<Cluster>> {
    let cluster = Cluster::shared()?;
    cluster.create(name, partitions, settings);
    Some(cluster)
}

fn captured(settings: &CaptureSettings) -> (CaptureReport, Recording, TempDir) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let report = capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    (report, recording, folder)
}

fn events(recording: &Recording) -> Vec<Event> {
    let batches = recording.batches(Columns::ALL);
    batches.flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect()
}

/// Causes of what is missing, with their stretches and offsets.
fn causes(recording: &Recording) -> Vec<(&'static str, u64, u64)> {
    let missing = recording.manifest().missing_by_cause();
    missing.iter().map(|one| (one.cause.name(), one.stretches, one.offsets)).collect()
}

/// Makes a sealed recording one that was cut off right before it was sealed.
fn unseal(out: &Path) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["sealed"] = false.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
}

fn values(recording: &Recording) -> Vec<String> {
    events(recording).into_iter().map(|event| String::from_utf8(event.value.unwrap()).unwrap()).collect()
}

/// Offsets of one partition.
fn offsets(recording: &Recording, partition: i32) -> Vec<i64> {
    events(recording).iter().filter(|event| event.partition == partition).map(|event| event.offset).collect()
}

/// Produces one event a second of event time, with values `0`, `1` and so on.
fn produce_a_second_apart(producer: &BaseProducer, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&value);
        producer.send(record.timestamp(START_MS + number * 1_000)).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

#[test]
fn what_was_produced_comes_back_byte_for_byte_and_no_trace_stays() {
    let small = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")).unwrap();
    let Some(cluster) = topic("payments", 3, &[]) else { return };
    assert_eq!(fill(&cluster.brokers, &small, &mut |_| {}).unwrap(), 300);
    let (report, recording, _folder) = captured(&CaptureSettings::new(&cluster.brokers, ["payments"]));
    assert_eq!(report.events, 300);
    assert_eq!(same_events(&small, &recording).unwrap(), None);
    assert_eq!(recording.manifest().source.cluster.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAA"));

    let consumer: BaseConsumer = cluster.config().create().unwrap();
    assert_eq!(consumer.fetch_group_list(None, WAIT).unwrap().groups().len(), 0);
    // Kafka makes this topic as soon as anybody asks for the coordinator of a group.
    let metadata = consumer.fetch_metadata(None, WAIT).unwrap();
    let topics: Vec<&str> = metadata.topics().iter().map(MetadataTopic::name).collect();
    assert!(topics.contains(&"payments") && !topics.contains(&"__consumer_offsets"), "{topics:?}");
}

#[test]
fn a_window_goes_by_the_events_own_time() {
    let Some(cluster) = topic("times", 2, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "times", 0, 0..100);
    produce_a_second_apart(&producer, "times", 1, 0..40);
    let window = |from_ms: Option<i64>, until_ms: Option<i64>| {
        let mut settings = CaptureSettings::new(&cluster.brokers, ["times"]);
        settings.from = from_ms.map_or(Start::Earliest, |ms| Start::Time(START_MS + ms));
        settings.until = until_ms.map_or(Until::End, |ms| Until::Time(START_MS + ms));
        let (_, recording, _folder) = captured(&settings);
        [0, 1].map(|partition| offsets(&recording, partition))
    };
    let all = |range: std::ops::Range<i64>| range.collect::<Vec<i64>>();
    // A time between two events begins, and ends, at the later of them; the end is left out.
    assert_eq!(window(Some(30_500), Some(60_000)), [all(31..60), all(31..40)]);
    assert_eq!(window(Some(31_000), Some(60_001)), [all(31..61), all(31..40)]);
    assert_eq!(window(Some(50_000), None), [all(50..100), all(0..0)]);
    assert_eq!(window(None, Some(10_000)), [all(0..10), all(0..10)]);
    assert_eq!(window(Some(-1_000), Some(1_000_000)), [all(0..100), all(0..40)]);
    assert_eq!(window(Some(1_000_000), None), [all(0..0), all(0..0)]);
}

#[test]
fn what_a_transaction_took_back_is_left_out_and_its_markers_hold_nothing_up() {
    let Some(cluster) = topic("moved", 1, &[]) else { return };
    let mut config = cluster.config();
    let producer: BaseProducer = config.set("transactional.id", "moved").create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    for (numbers, kept) in [(0..5, true), (5..9, false), (9..12, true), (12..15, false)] {
        producer.begin_transaction().unwrap();
        produce_a_second_apart(&producer, "moved", 0, numbers);
        let ended = if kept { producer.commit_transaction(WAIT) } else { producer.abort_transaction(WAIT) };
        ended.unwrap();
    }
    let (report, recording, _folder) = captured(&CaptureSettings::new(&cluster.brokers, ["moved"]));
    assert_eq!(values(&recording), ["0", "1", "2", "3", "4", "9", "10", "11"]);
    // A marker stands behind each transaction: 0..=4, marker, 6..=9 aborted, marker, 11..=13, marker, 15..=17 aborted, marker.
    assert_eq!(offsets(&recording, 0), [0, 1, 2, 3, 4, 11, 12, 13]);
    assert_eq!((report.events, report.partitions[0].next), (8, 19));
    assert_eq!(causes(&recording), [("transaction-markers", 2, 11)]);
    assert_eq!(report.missing, recording.manifest().missing_by_cause());

    let mut all = CaptureSettings::new(&cluster.brokers, ["moved"]);
    all.properties.set("isolation.level", "read_uncommitted").unwrap();
    assert_eq!(values(&captured(&all).1), (0..15).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_an_open_transaction_holds_back_is_told() {
    let Some(cluster) = topic("held-back", 2, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "held-back", 0, 0..1);
    produce_a_second_apart(&producer, "held-back", 1, 0..3);
    let producer: BaseProducer = cluster.config().set("transactional.id", "held-back").create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    produce_a_second_apart(&producer, "held-back", 0, 1..6);
    let (report, recording, _folder) = captured(&CaptureSettings::new(&cluster.brokers, ["held-back"]));
    let says =
        "Topic `held-back`, partition 0: an open transaction holds back 5 offsets from 1 on; --uncommitted takes them.";
    assert_eq!((report.events, report.notes), (4, vec![says.to_owned()]));
    // Whoever opens the recording later is told, too.
    let left_out = recording.manifest().left_out();
    let says =
        "Topic held-back: an open transaction held events back when the capture ended: partition 0 from offset 1 on.";
    assert_eq!(left_out, [says]);
    let uncommitted = CaptureSettings { uncommitted: true, ..CaptureSettings::new(&cluster.brokers, ["held-back"]) };
    let (report, recording, _folder) = captured(&uncommitted);
    assert_eq!((report.events, report.notes, recording.manifest().left_out()), (9, vec![], vec![]));
    producer.abort_transaction(WAIT).unwrap();
}

#[test]
fn partitions_and_topics_that_are_added_while_it_captures_are_taken_from_their_first_events_on() {
    let Some(cluster) = topic("growing", 1, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "growing", 0, 0..4);
    let settings = CaptureSettings {
        topics: TopicChoice::parse("^growing", Role::Input).unwrap(),
        until: Until::Stopped,
        duration_max: Some(2 * WAIT),
        checkpoint_every: Duration::from_millis(200),
        ..CaptureSettings::new(&cluster.brokers, Vec::<String>::new())
    };
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let stop = Stop::new();
    let (mut notes, mut begun) = (Vec::new(), serde_json::Value::Null);
    let mut grow = |progress: &CaptureProgress| match progress.step {
        CaptureStep::CaughtUp => {
            cluster.grow("growing", 3);
            cluster.create("growing-too", 2, &[("max.message.bytes", "2000000")]);
            let producer: BaseProducer = cluster.config().create().unwrap();
            for (topic, partition, numbers) in [
                ("growing", 0, 4..6),
                ("growing", 1, 0..5),
                ("growing", 2, 0..3),
                ("growing-too", 0, 0..2),
                ("growing-too", 1, 0..7),
            ] {
                produce_a_second_apart(&producer, topic, partition, numbers);
            }
        }
        CaptureStep::Noted => notes.extend(progress.note.clone()),
        CaptureStep::Checkpoint if progress.acknowledged_events == 23 => {
            begun = serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
            stop.raise();
        }
        _ => {}
    };
    let report = capture(&settings, &out, &SystemClock::start(), &stop, &mut grow).unwrap();
    assert_eq!((report.ending, report.events, &report.notes), (CaptureEnding::Stopped, 23, &notes));
    assert!(notes[0].contains("`growing` has 3 partitions by now and had 1: the new ones are taken"), "{notes:?}");
    assert!(notes[1].contains("`growing-too` was made after this capture began"), "{notes:?}");
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let mut taken: Vec<_> =
        events(&recording).into_iter().map(|event| (event.topic, event.partition, event.offset)).collect();
    taken.sort();
    let all = [("growing", 0, 6), ("growing", 1, 5), ("growing", 2, 3), ("growing-too", 0, 2), ("growing-too", 1, 7)];
    let sent = all
        .iter()
        .flat_map(|&(topic, partition, count)| (0..count).map(move |offset| (topic.to_owned(), partition, offset)));
    assert_eq!(taken, sent.collect::<Vec<_>>());
    // Whoever goes on after a crash knows of them, too.
    let source = &recording.manifest().source;
    let starts = |index: usize| (source.topics[index].partitions, source.topics[index].starts.clone());
    assert_eq!(
        (starts(0), starts(1)),
        ((3, BTreeMap::from([(0, 0), (1, 0), (2, 0)])), (2, BTreeMap::from([(0, 0), (1, 0)])))
    );
    assert_eq!(source.topics[1].configuration["max.message.bytes"], "2000000");
    assert!(source.topics[1].id.is_some());
    assert_eq!(begun["sealed"], false);
    assert_eq!(begun["source"]["topics"][0]["partitions"], 3, "{begun}");
    assert_eq!(begun["source"]["topics"][1]["name"], "growing-too", "{begun}");
}

#[test]
fn what_compaction_removed_stays_a_gap() {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("max.compaction.lag.ms", "200"),
    ];
    let Some(cluster) = topic("latest", 1, &settings) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    for number in 0..200 {
        let (key, value) = (format!("key-{}", number % 5), number.to_string());
        producer.send(BaseRecord::to("latest").partition(0).key(&key).payload(&value)).unwrap();
        if number == 150 {
            producer.flush(WAIT).unwrap();
            // Longer than `segment.ms`: what follows goes to a new segment, and only old ones are compacted.
            producer.poll(Duration::from_millis(400));
        }
    }
    producer.flush(WAIT).unwrap();
    let clock = SystemClock::start();
    loop {
        let (report, recording, _folder) = captured(&CaptureSettings::new(&cluster.brokers, ["latest"]));
        let offsets = offsets(&recording, 0);
        assert!(offsets.is_sorted() && offsets.contains(&199));
        assert_eq!((report.events, report.partitions[0].next), (offsets.len() as u64, 200));
        if report.events < 200 {
            let summary = recording.summary().unwrap();
            assert_eq!(summary.topics[0].partitions[0].missing, 199 - offsets[0] as u64 + 1 - report.events);
            let causes = causes(&recording);
            assert!(
                causes.len() == 1 && causes[0].0 == "compaction" && causes[0].2 == 200 - report.events,
                "{causes:?}"
            );
            break;
        }
        assert!(rehearsal::clock::Clock::now(&clock) < WAIT, "nothing was compacted");
    }
}

#[test]
fn odd_bytes_and_both_kinds_of_timestamps_survive_a_broker() {
    let Some(cluster) = topic("odd", 1, &[]) else { return };
    cluster.create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let producer: BaseProducer = cluster.config().create().unwrap();
    let headers = || {
        OwnedHeaders::new()
            .insert(Header { key: "trace", value: Some("one") })
            .insert(Header { key: "trace", value: Some("") })
            .insert(Header::<&str> { key: "trace", value: None })
            .insert(Header { key: "", value: Some("no name") })
    };
    let keys_and_values: [(Bytes<'_>, Bytes<'_>); 4] =
        [(None, None), (Some(b""), Some(b"")), (Some(b"k"), None), (Some(b"\xff\x00"), Some(b"\xfe\n"))];
    for topic in ["odd", "stamped"] {
        for (key, value) in keys_and_values {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).timestamp(12_345).headers(headers());
            (record.key, record.payload) = (key, value);
            producer.send(record).unwrap();
        }
    }
    producer.flush(WAIT).unwrap();
    let (_, recording, _folder) = captured(&CaptureSettings::new(&cluster.brokers, ["odd", "stamped"]));
    let found = events(&recording);
    for topic in ["odd", "stamped"] {
        let of_topic: Vec<&Event> = found.iter().filter(|event| event.topic == topic).collect();
        let bytes: Vec<_> = of_topic.iter().map(|event| (event.key.as_deref(), event.value.as_deref())).collect();
        assert_eq!(bytes, keys_and_values);
        for event in of_topic {
            let headers: Vec<_> =
                event.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref())).collect();
            let expected: [(&str, Bytes<'_>); 4] =
                [("trace", Some(b"one")), ("trace", Some(b"")), ("trace", None), ("", Some(b"no name"))];
            assert_eq!(headers, expected);
            let stamped = event.timestamp_type == TimestampType::Append;
            assert_eq!(stamped, topic == "stamped");
            assert_eq!(event.timestamp_ms == Some(12_345), !stamped);
        }
    }
}

#[test]
fn a_broker_that_goes_and_comes_back_is_waited_for() {
    let Some(mut cluster) = Cluster::of(1) else { return };
    cluster.create("restarted", 1, &[]);
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "restarted", 0, 0..100);
    let settings =
        CaptureSettings { until: Until::Count(200), ..CaptureSettings::new(&cluster.brokers, ["restarted"]) };
    let (taken, wait_for_taken) = std::sync::mpsc::channel();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let report = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| {
            let mut tell = |progress: &CaptureProgress| taken.send(progress.events).unwrap();
            capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut tell)
        });
        while wait_for_taken.recv().unwrap() < 100 {}
        cluster.stop(1);
        cluster.start(1);
        produce_a_second_apart(&producer, "restarted", 0, 100..200);
        capturing.join().unwrap().unwrap()
    });
    let recording = Recording::open(&out).unwrap();
    assert_eq!((report.events, recording.verify().unwrap()), (200, vec![]));
    assert_eq!(values(&recording), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Settings with which a capture takes few events at once, so that retention can overtake it.
fn slow(cluster: &Cluster, topic: &str, allow_gaps: bool) -> CaptureSettings {
    let mut settings = CaptureSettings { allow_gaps, ..CaptureSettings::new(&cluster.brokers, [topic]) };
    for (name, value) in [
        ("queued.min.messages", "1"),
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.message.max.bytes", "1000"),
        ("fetch.max.bytes", "1000"),
        ("message.max.bytes", "1000"),
    ] {
        settings.properties.set(name, value).unwrap();
    }
    settings
}

#[test]
fn retention_that_overtakes_a_capture_is_an_error_or_a_gap_and_in_the_ledger_either_way() {
    for allow_gaps in [false, true] {
        let name = format!("overtaken-{allow_gaps}");
        let Some(cluster) = topic(&name, 1, &[]) else { return };
        let producer: BaseProducer = cluster.config().create().unwrap();
        // A batch each, so that a fetch brings few of them.
        for number in 0..400 {
            produce_a_second_apart(&producer, &name, 0, number..number + 1);
        }
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut deleted = false;
        let settings = slow(&cluster, &name, allow_gaps);
        let mut overtake = |_: &CaptureProgress| {
            if !std::mem::replace(&mut deleted, true) {
                cluster.delete_before(&name, 0, 350);
            }
        };
        let result = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut overtake);
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.verify().unwrap(), []);
        let causes = causes(&recording);
        let [("retention", 1, lost)] = causes[..] else { panic!("{causes:?}") };
        let stretch = MissingOffsets { first: 350 - lost.cast_signed(), last: 349, cause: GapCause::Retention };
        assert_eq!(recording.manifest().gaps[0].stretches, [stretch]);
        if allow_gaps {
            let report = result.unwrap();
            assert_eq!((report.events, report.partitions[0].missing), (400 - lost, lost));
        } else {
            let error = result.unwrap_err();
            let CaptureError::Interrupted { source, .. } = &error else { panic!("{error:?}") };
            assert!(matches!(**source, CaptureError::RetentionOvertook { oldest: 350, .. }), "{source}");
            assert_eq!(recording.len(), 350 - lost);
        }
    }
}

#[test]
fn all_partitions_that_retention_has_overtaken_are_in_the_ledger_of_a_capture_that_ends() {
    let Some(cluster) = topic("overtaken-twice", 2, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    for partition in [0, 1] {
        produce_a_second_apart(&producer, "overtaken-twice", partition, 0..50);
    }
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let settings = CaptureSettings::new(&cluster.brokers, ["overtaken-twice"]);
    let mut deleted = false;
    // Ahead of the first event.
    let mut overtake = |_: &CaptureProgress| {
        if !std::mem::replace(&mut deleted, true) {
            cluster.delete_before("overtaken-twice", 0, 20);
            cluster.delete_before("overtaken-twice", 1, 30);
        }
    };
    let error = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut overtake).unwrap_err();
    let CaptureError::Interrupted { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, CaptureError::RetentionOvertook { wanted: 0, .. }), "{source}");
    let recording = Recording::open(&out).unwrap();
    assert_eq!((causes(&recording), recording.verify().unwrap()), (vec![("retention", 2, 50)], vec![]));
}

#[test]
fn retention_between_two_halves_of_a_capture_is_an_error_or_a_gap() {
    let Some(cluster) = topic("halves", 1, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "halves", 0, 0..10);
    let settings = CaptureSettings::new(&cluster.brokers, ["halves"]);
    let (_, recording, _folder) = captured(&settings);
    let out = recording.path().to_owned();
    unseal(&out);
    produce_a_second_apart(&producer, "halves", 0, 10..30);
    cluster.delete_before("halves", 0, 25);
    let run = |settings: &CaptureSettings| capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {});
    let refused = run(&settings).unwrap_err();
    assert!(matches!(refused, CaptureError::RetentionOvertook { wanted: 10, oldest: 25, .. }), "{refused}");
    assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Unsealed);
    // Ended as it stands it says what it lacks.
    let copy = out.with_file_name("copy");
    std::fs::create_dir_all(copy.join("segments")).unwrap();
    for file in ["manifest.json", "segments/000000.parquet"] {
        std::fs::copy(out.join(file), copy.join(file)).unwrap();
    }
    Recording::rebuild(&copy).unwrap();
    let ended = Recording::open(&copy).unwrap();
    assert_eq!((causes(&ended), ended.verify().unwrap()), (vec![("retention", 1, 15)], vec![]));
    let report = run(&CaptureSettings { allow_gaps: true, ..settings }).unwrap();
    assert_eq!((report.events, report.resumed_at, report.partitions[0].missing), (15, Some(10), 15));
    let recording = Recording::open(&out).unwrap();
    assert_eq!((causes(&recording), recording.verify().unwrap()), (vec![("retention", 1, 15)], vec![]));
}

#[test]
fn an_offset_that_retention_has_taken_is_an_error_or_a_gap_and_one_behind_the_end_is_refused() {
    let Some(cluster) = topic("begun-late", 2, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "begun-late", 0, 0..30);
    produce_a_second_apart(&producer, "begun-late", 1, 0..30);
    cluster.delete_before("begun-late", 0, 25);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let from = |offset| CaptureSettings {
        from: Start::Offset(offset),
        ..CaptureSettings::new(&cluster.brokers, ["begun-late"])
    };
    let run = |settings: &CaptureSettings| capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {});
    let refused = run(&from(10)).unwrap_err();
    assert!(
        matches!(refused, CaptureError::RetentionOvertook { partition: 0, wanted: 10, oldest: 25, .. }),
        "{refused}"
    );
    let refused = run(&from(99_999)).unwrap_err();
    assert!(matches!(refused, CaptureError::StartBehindEnd { asked: 99_999, end: 30, .. }), "{refused}");
    assert!(!out.exists());
    // Of one partition alone.
    let mut settings = from(25);
    settings.offsets.insert(("begun-late".to_owned(), 0), 11);
    let refused = run(&settings).unwrap_err();
    assert!(matches!(refused, CaptureError::RetentionOvertook { wanted: 11, .. }), "{refused}");
    let report = run(&CaptureSettings { allow_gaps: true, ..from(10) }).unwrap();
    assert_eq!((report.events, report.partitions[0].missing, report.partitions[1].missing), (25, 15, 0));
    let recording = Recording::open(&out).unwrap();
    assert_eq!((causes(&recording), recording.verify().unwrap()), (vec![("retention", 1, 15)], vec![]));
    let stretch = MissingOffsets { first: 10, last: 24, cause: GapCause::Retention };
    assert_eq!(recording.manifest().gaps[0].stretches, [stretch]);
    assert_eq!(recording.manifest().source.topics[0].starts[&0], 10);
    // Gone on with it is not held against the log again.
    unseal(&out);
    cluster.delete_before("begun-late", 1, 28);
    let report = run(&CaptureSettings { allow_gaps: true, ..from(10) }).unwrap();
    assert_eq!((report.events, report.resumed_at), (25, Some(25)));
    assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
}

#[test]
fn a_capture_that_has_all_it_was_asked_for_is_not_overtaken() {
    let Some(cluster) = topic("complete", 1, &[]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "complete", 0, 0..30);
    let settings = CaptureSettings { events_max: Some(10), ..CaptureSettings::new(&cluster.brokers, ["complete"]) };
    let (_, recording, _folder) = captured(&settings);
    let out = recording.path().to_owned();
    unseal(&out);
    cluster.delete_before("complete", 0, 25);
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!((report.events, report.resumed_at, report.missing), (10, Some(10), vec![]));
    assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
}

#[test]
fn a_topic_that_was_deleted_and_recreated_is_not_gone_on_with() {
    let Some(cluster) = topic("recreated", 1, &[("retention.ms", "86400000")]) else { return };
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "recreated", 0, 0..10);
    let settings = CaptureSettings::new(&cluster.brokers, ["recreated"]);
    let (_, recording, _folder) = captured(&settings);
    let source = recording.manifest().source.topics[0].clone();
    assert_eq!(source.configuration.get("retention.ms").map(String::as_str), Some("86400000"));
    assert_eq!(source.configuration.get("cleanup.policy").map(String::as_str), Some("delete"));
    let out = recording.path().to_owned();
    unseal(&out);
    cluster.delete("recreated");
    let clock = SystemClock::start();
    // A deletion takes a moment to reach every part of the broker.
    while !cluster.try_create("recreated") {
        assert!(rehearsal::clock::Clock::now(&clock) < WAIT, "the topic stays deleted");
    }
    // More events than before: the offsets alone would not give it away.
    let producer: BaseProducer = cluster.config().create().unwrap();
    produce_a_second_apart(&producer, "recreated", 0, 0..20);
    let refused = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
    let CaptureError::RecreatedTopic { topic, recorded, found, .. } = &refused else { panic!("{refused}") };
    assert!(topic == "recreated" && source.id.as_ref() == Some(recorded) && found != recorded, "{refused}");
}

#[test]
fn a_topic_that_is_deleted_and_recreated_while_it_is_captured_ends_the_capture() {
    for until in [Until::Stopped, Until::Count(100)] {
        let name = if until == Until::Stopped { "recreated-at-work" } else { "recreated-at-the-end" };
        let Some(cluster) = topic(name, 1, &[]) else { return };
        let producer: BaseProducer = cluster.config().create().unwrap();
        produce_a_second_apart(&producer, name, 0, 0..50);
        let mut recreated = false;
        let mut recreate = |progress: &CaptureProgress| {
            if progress.events < 50 || std::mem::replace(&mut recreated, true) {
                return;
            }
            cluster.delete(name);
            let clock = SystemClock::start();
            while !cluster.try_create(name) {
                assert!(rehearsal::clock::Clock::now(&clock) < WAIT, "the topic stays deleted");
            }
            // So many that the new log holds the offset that is wanted next: no broker says a word.
            let producer: BaseProducer = cluster.config().create().unwrap();
            produce_a_second_apart(&producer, name, 0, 1_000..1_200);
        };
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let duration_max = Some(WAIT);
        let settings = CaptureSettings { until, duration_max, ..CaptureSettings::new(&cluster.brokers, [name]) };
        let error = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut recreate).unwrap_err();
        let CaptureError::Interrupted { source, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(&**source, CaptureError::RecreatedTopic { topic, .. } if topic == name), "{source}");
        let recording = Recording::open(&out).unwrap();
        let doubts: Vec<String> = recording.verify().unwrap().into_iter().map(|problem| problem.cause).collect();
        assert_eq!(doubts, recording.manifest().doubts());
        let mark = recording.manifest().source.topics[0].recreated.as_ref();
        let new = values(&recording).iter().position(|value| value.parse::<i64>().unwrap() >= 1_000);
        let Some(new) = new else {
            // The look was faster than the first event of the new topic.
            assert_eq!(mark, None);
            continue;
        };
        let (doubtful, mark) = (offsets(&recording, 0)[new], mark.unwrap());
        assert!(mark.doubtful[&0] <= doubtful && doubts.len() == 1 && doubts[0].contains(name), "{mark:?} {doubts:?}");
        assert!(matches!(&**source, CaptureError::RecreatedTopic { found, .. } if *found == mark.id), "{source}");
    }
}

#[test]
fn a_topic_that_is_deleted_while_it_is_captured_ends_the_capture_by_name() {
    for until in [Until::End, Until::Stopped] {
        let name = if until == Until::End { "deleted-in-a-window" } else { "deleted-at-work" };
        let Some(cluster) = topic(name, 1, &[]) else { return };
        let producer: BaseProducer = cluster.config().create().unwrap();
        for number in 0..400 {
            produce_a_second_apart(&producer, name, 0, number..number + 1);
        }
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut deleted = false;
        // Ahead of the first event.
        let mut delete = |_: &CaptureProgress| {
            if !std::mem::replace(&mut deleted, true) {
                cluster.delete(name);
            }
        };
        let settings = CaptureSettings { until, ..slow(&cluster, name, false) };
        let error = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut delete).unwrap_err();
        let CaptureError::Interrupted { source, .. } = &error else { panic!("{error:?}") };
        let CaptureError::DeletedTopic { topic, gone } = &**source else { panic!("{source:?}") };
        assert!(topic == name && (Duration::from_secs(15)..WAIT).contains(gone), "{source}");
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.verify().unwrap(), []);
        // What was not taken of a window with an end is lost, and without an end nobody can tell what would have been.
        let lost = if until == Until::End { 400 - recording.len() } else { 0 };
        let expected = if lost > 0 { vec![("retention", 1, lost)] } else { vec![] };
        assert_eq!(causes(&recording), expected);
    }
}
