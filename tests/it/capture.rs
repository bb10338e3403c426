//! Kafka to recordings, from an in-process broker.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rehearsal::capture::{
    CaptureEnding, CaptureError, CaptureProgress, CaptureReport, CaptureSettings, Start, Until, capture,
};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::kafka::{Owner, Properties};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Header, Recording, RecordingWriter, Source, TimestampType, same_events,
};
use rehearsal::samples::{Broker, BrokerError, fill};
use tempfile::TempDir;

const ALL: Columns = Columns { key: true, value: true, headers: true };

fn small() -> Recording {
    Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")).unwrap()
}

/// Settings that do not wait long at the end of a partition, where the in-process broker waits the whole time it is allowed.
fn settings(broker: &Broker, topics: &[&str]) -> CaptureSettings {
    let mut settings = CaptureSettings::new(broker.brokers(), topics.iter().copied());
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    settings
}

fn captured(settings: &CaptureSettings, stop: &Stop) -> Result<(CaptureReport, Recording, TempDir), CaptureError> {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let report = capture(settings, &out, &SystemClock::start(), stop, &mut |_| {})?;
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(recording.len(), report.events);
    Ok((report, recording, folder))
}

fn events(recording: &Recording) -> Vec<Event> {
    let mut events = Vec::new();
    for batch in recording.batches(ALL) {
        let batch = batch.unwrap();
        events.extend(batch.iter().map(|view| Event {
            topic: view.topic.to_owned(),
            partition: view.partition,
            offset: view.offset,
            timestamp_ms: view.timestamp_ms,
            timestamp_type: view.timestamp_type,
            captured_at_us: view.captured_at_us,
            key: view.key.map(<[u8]>::to_vec),
            value: view.value.map(<[u8]>::to_vec),
            headers: view.headers.iter().map(|(name, value)| header(name, value)).collect(),
        }));
    }
    events
}

fn header(name: &str, value: Option<&[u8]>) -> Header {
    Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }
}

fn offsets(recording: &Recording, partition: i32) -> Vec<i64> {
    events(recording).iter().filter(|event| event.partition == partition).map(|event| event.offset).collect()
}

fn full_broker() -> Broker {
    let broker = Broker::start_for(&small()).unwrap();
    assert_eq!(fill(broker.brokers(), &small(), &mut |_| {}).unwrap(), 300);
    broker
}

/// Makes a recording of `events` in a folder of its own.
fn recorded(events: &[Event]) -> (Recording, TempDir) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut writer = RecordingWriter::create(&out, Source::default()).unwrap();
    let mut builder = EventBatchBuilder::new();
    for event in events {
        builder.push_event(event);
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    (Recording::open(&out).unwrap(), folder)
}

#[test]
fn what_was_produced_comes_back_byte_for_byte() {
    let broker = full_broker();
    let before = SystemClock::start().date_us();
    let (report, recording, _folder) = captured(&settings(&broker, &["payments"]), &Stop::new()).unwrap();
    assert_eq!(same_events(&small(), &recording).unwrap(), None);
    assert_eq!((report.events, report.ending), (300, CaptureEnding::Ended));
    assert!(events(&recording).iter().all(|event| event.captured_at_us.is_some_and(|at| at >= before)));
    let source = &recording.manifest().source;
    assert!(source.cluster.as_ref().is_some_and(|id| id.starts_with("mockCluster")), "{source:?}");
    assert_eq!((source.topics[0].name.as_str(), source.topics[0].partitions), ("payments", 3));
}

#[test]
fn the_comparison_of_recordings_names_what_differs() {
    let event = Event {
        topic: "t".to_owned(),
        timestamp_ms: Some(5),
        timestamp_type: TimestampType::Create,
        key: Some(vec![]),
        value: Some(b"x".to_vec()),
        headers: vec![header("a", None), header("a", Some(b""))],
        ..Event::default()
    };
    let (one, _one) = recorded(std::slice::from_ref(&event));
    for (change, says) in [
        (Event { key: None, ..event.clone() }, "the keys differ"),
        (Event { value: Some(b"y".to_vec()), ..event.clone() }, "the values differ"),
        (Event { headers: event.headers.iter().rev().cloned().collect(), ..event.clone() }, "the headers differ"),
        (Event { timestamp_ms: Some(6), ..event.clone() }, "the timestamps differ"),
        (Event { timestamp_type: TimestampType::Append, ..event.clone() }, "the types of the timestamps differ"),
    ] {
        let (other, _other) = recorded(&[change]);
        let difference = same_events(&one, &other).unwrap().unwrap();
        assert_eq!(difference.to_string(), format!("topic `t`, partition 0, event 0: {says}"));
    }
    let (two, _two) = recorded(&[event.clone(), Event { offset: 9, ..event }]);
    assert!(
        same_events(&one, &two).unwrap().unwrap().to_string().ends_with("event 1: only the second recording has it")
    );
    assert!(
        same_events(&two, &one).unwrap().unwrap().to_string().ends_with("event 1: only the first recording has it")
    );
    assert_eq!(same_events(&two, &two).unwrap(), None);
}

#[test]
fn a_capture_keeps_up_while_the_broker_fills() {
    let broker = Broker::start_for(&small()).unwrap();
    let settings = CaptureSettings { until: Until::Count(300), ..settings(&broker, &["payments"]) };
    let (_, recording, _folder) = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| captured(&settings, &Stop::new()).unwrap());
        fill(broker.brokers(), &small(), &mut |_| {}).unwrap();
        capturing.join().unwrap()
    });
    assert_eq!(same_events(&small(), &recording).unwrap(), None);
}

#[test]
fn a_capture_begins_where_it_is_asked_to() {
    let broker = full_broker();
    let from = |from| captured(&CaptureSettings { from, ..settings(&broker, &["payments"]) }, &Stop::new()).unwrap();
    let (_, all, _folder) = from(Start::Earliest);
    let (report, later, _folder) = from(Start::Offset(50));
    for partition in 0..3 {
        let expected: Vec<i64> = offsets(&all, partition).into_iter().filter(|&offset| offset >= 50).collect();
        assert!(!expected.is_empty());
        assert_eq!(offsets(&later, partition), expected);
    }
    assert!(report.partitions.iter().all(|partition| partition.start == 50));
    let (report, _, _folder) = from(Start::Latest);
    assert_eq!((report.events, report.ending), (0, CaptureEnding::Ended));
}

#[test]
fn a_capture_ends_where_it_is_asked_to() {
    let broker = full_broker();
    let until = |until| {
        let (report, ..) =
            captured(&CaptureSettings { until, ..settings(&broker, &["payments"]) }, &Stop::new()).unwrap();
        (report.events, report.ending)
    };
    assert_eq!(until(Until::Count(123)), (123, CaptureEnding::Counted));
    assert_eq!(until(Until::Duration(Duration::from_millis(1_500))), (300, CaptureEnding::TimeOver));
    let soon = SystemClock::start().date_us() / 1_000 + 1_500;
    assert_eq!(until(Until::Time(soon)), (300, CaptureEnding::Ended));
}

#[test]
fn stopping_seals_what_was_taken() {
    let broker = full_broker();
    let settings = CaptureSettings { until: Until::Stopped, ..settings(&broker, &["payments"]) };
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let stop = Stop::new();
    let mut lags = Vec::new();
    let mut raise = |progress: &CaptureProgress| {
        lags.push(progress.lag);
        if progress.events == 300 {
            stop.raise();
        }
    };
    let report = capture(&settings, &out, &SystemClock::start(), &stop, &mut raise).unwrap();
    assert_eq!((report.events, report.ending), (300, CaptureEnding::Stopped));
    // What lies ahead is known before anything was fetched, and of partitions of which nothing was.
    assert_eq!((lags.first(), lags.last()), (Some(&300), Some(&0)));
    assert_eq!(same_events(&small(), &Recording::open(&out).unwrap()).unwrap(), None);
    let stopped = Stop::new();
    stopped.raise();
    let (report, ..) = captured(&settings, &stopped).unwrap();
    assert_eq!((report.events, report.ending), (0, CaptureEnding::Stopped));
}

#[test]
fn several_topics_and_empty_partitions_go_together() {
    let event = |topic: &str, partition, offset| Event {
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp_ms: Some(7),
        timestamp_type: TimestampType::Create,
        ..Event::default()
    };
    let (recording, _folder) = recorded(&[event("b", 1, 0), event("a", 0, 0), event("b", 1, 1), event("a", 3, 0)]);
    let broker = Broker::start([("a", 4), ("b", 2), ("empty", 3)]).unwrap();
    fill(broker.brokers(), &recording, &mut |_| {}).unwrap();
    let (report, taken, _folder) = captured(&settings(&broker, &["b", "empty", "a"]), &Stop::new()).unwrap();
    assert_eq!(same_events(&recording, &taken).unwrap(), None);
    let counts: Vec<(&str, i32, u64)> =
        report.partitions.iter().map(|taken| (taken.topic.as_str(), taken.partition, taken.events)).collect();
    let a = [("a", 0, 1), ("a", 1, 0), ("a", 2, 0), ("a", 3, 1)];
    let rest = [("b", 0, 0), ("b", 1, 2), ("empty", 0, 0), ("empty", 1, 0), ("empty", 2, 0)];
    assert_eq!(counts, [&a[..], &rest].concat());
    let known: Vec<(&str, i32)> =
        taken.manifest().source.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect();
    assert_eq!(known, [("a", 4), ("b", 2), ("empty", 3)]);
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_nothing_is_written() {
    let broker = full_broker();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let settings = settings(&broker, &["payments", "paymnets"]);
    let refused = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
    assert!(matches!(&refused, CaptureError::UnknownTopic { topic, .. } if topic == "paymnets"), "{refused}");
    assert!(!out.exists());
}

#[test]
fn no_secret_is_shown() {
    let broker = Broker::start([("t", 1)]).unwrap();
    for property in ["sasl.password=hunter2", "ssl.key.pem=hunter2", "sasl.mechanism=hunter2", "hunter.one=hunter2"] {
        let mut settings = settings(&broker, &["t"]);
        settings.properties.extend([Properties::parse(property, Owner::Capture).unwrap()]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        match capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}) {
            Ok(_) => assert!(!std::fs::read_to_string(out.join("manifest.json")).unwrap().contains("hunter2")),
            Err(error) => assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}"),
        }
    }
}

#[test]
fn what_a_producer_cannot_write_is_refused_by_name() {
    let event = Event { topic: "t".to_owned(), offset: 3, ..Event::default() };
    let (recording, _folder) = recorded(&[event]);
    let broker = Broker::start_for(&recording).unwrap();
    let refused = fill(broker.brokers(), &recording, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, BrokerError::Event { offset: 3, .. }), "{refused}");
}

#[test]
fn timestamps_of_every_type_survive() {
    let broker = Broker::start([("t", 1)]).unwrap();
    let written = [(Some(0), TimestampType::Create), (Some(77), TimestampType::Append), (None, TimestampType::Create)];
    for (timestamp_ms, timestamp_type) in written {
        produce(&broker, &Wire { timestamp_ms: timestamp_ms.unwrap_or(-1), timestamp_type, header_name: b"a" });
    }
    let (_, recording, _folder) = captured(&settings(&broker, &["t"]), &Stop::new()).unwrap();
    let read: Vec<_> = events(&recording).iter().map(|event| (event.timestamp_ms, event.timestamp_type)).collect();
    assert_eq!(read, written);
}

#[test]
fn an_event_that_cannot_be_kept_ends_the_capture_and_seals_what_came_before() {
    let broker = Broker::start([("t", 1)]).unwrap();
    for header_name in [&b"a"[..], b"b", b"\xff", b"c"] {
        produce(&broker, &Wire { timestamp_ms: 5, timestamp_type: TimestampType::Create, header_name });
    }
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let failed =
        capture(&settings(&broker, &["t"]), &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
    let CaptureError::Interrupted { events: 2, source, .. } = &failed else { panic!("{failed:?}") };
    assert!(matches!(**source, CaptureError::HeaderName { partition: 0, offset: 2, .. }), "{source}");
    let recording = Recording::open(&out).unwrap();
    assert_eq!(events(&recording).iter().map(|event| event.headers[0].name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

/// One event as it goes over the wire, with what no producer lets one choose.
struct Wire {
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    header_name: &'static [u8],
}

/// Sends a Produce request (version 3) of one event to topic `t`, partition 0, and waits for the answer.
fn produce(broker: &Broker, event: &Wire) {
    let batch = event.batch();
    let mut request = Vec::new();
    request.extend(0_i16.to_be_bytes());
    request.extend(3_i16.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(5_000_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend(1_i16.to_be_bytes());
    request.extend(b"t");
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend((batch.len() as i32).to_be_bytes());
    request.extend(batch);
    let mut stream = TcpStream::connect(broker.brokers()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, number of topics, the name `t`, number of partitions, partition; then the error.
    assert_eq!(answer[4 + 4 + 3 + 4 + 4..][..2], [0, 0], "the broker refused the event");
}

impl Wire {
    /// A record batch of version 2 with one record.
    fn batch(&self) -> Vec<u8> {
        let mut record = vec![0, 0, 0];
        record.extend([varint(-1), varint(2)].concat());
        record.extend(b"{}");
        record.extend([varint(1), varint(self.header_name.len() as i32)].concat());
        record.extend(self.header_name);
        record.extend(varint(-1));
        let mut checked = Vec::new();
        checked.extend(if self.timestamp_type == TimestampType::Append { 8_i16 } else { 0 }.to_be_bytes());
        checked.extend(0_i32.to_be_bytes());
        checked.extend(self.timestamp_ms.to_be_bytes());
        checked.extend(self.timestamp_ms.to_be_bytes());
        checked.extend((-1_i64).to_be_bytes());
        checked.extend((-1_i16).to_be_bytes());
        checked.extend((-1_i32).to_be_bytes());
        checked.extend(1_i32.to_be_bytes());
        checked.extend(varint(record.len() as i32));
        checked.extend(record);
        let mut batch = Vec::new();
        batch.extend(0_i64.to_be_bytes());
        batch.extend((checked.len() as i32 + 4 + 1 + 4).to_be_bytes());
        batch.extend((-1_i32).to_be_bytes());
        batch.push(2);
        batch.extend(crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }
}

fn varint(number: i32) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 31)) as u32;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}
