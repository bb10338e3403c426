//! The stage, as clients see it. What any broker does is held against Apache Kafka, too: see `tests/kafka/conformance`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset};
use rehearsal::clock::{Clock, SystemClock};
use rehearsal::drive::stage::{ChunkBuilder, Planned, RecordedEvents, Reread, Spot, Stage, StageSettings};
use rehearsal::recording::{Columns, EventView, HeadersView, Place, Recording, RecordingError, TimestampType};
use tempfile::TempDir;

use crate::conformance::wire::{Wire, fetch};
use crate::conformance::{Arm, WAIT, consumers, poll_until, take, values};

crate::every_conformance_test!(conformance);

/// Runs a body against a stage of its own.
pub(crate) fn on_each_arm(body: fn(&Arm) -> Vec<String>) {
    let (stage, _folder) = start(|_| {});
    body(&arm(&stage));
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
}

pub(crate) fn start(set: impl FnOnce(&mut StageSettings)) -> (Stage, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut settings = StageSettings::new(folder.path());
    settings.auto_create = false;
    settings.consumer_session = Duration::from_secs(6);
    set(&mut settings);
    (Stage::start(settings, Arc::new(SystemClock::start())).unwrap(), folder)
}

pub(crate) fn arm(stage: &Stage) -> Arm {
    Arm { brokers: stage.bootstrap() }
}

/// Reads made-up events again: the value is the position.
#[derive(Debug)]
struct Numbers;

impl Reread for Numbers {
    fn reread(
        &mut self,
        spots: &[Spot],
        bytes_max: usize,
    ) -> Result<Option<rehearsal::drive::stage::Chunk>, RecordingError> {
        let mut chunk = ChunkBuilder::default();
        for spot in spots {
            if (!chunk.is_empty() && chunk.size_bytes() >= bytes_max) || !push(&mut chunk, spot.position) {
                break;
            }
        }
        Ok(chunk.finish())
    }
}

fn push(chunk: &mut ChunkBuilder, position: i64) -> bool {
    let value = position.to_string();
    let event = EventView {
        topic: "planned",
        partition: 0,
        offset: position,
        timestamp_ms: Some(position * 10),
        timestamp_type: TimestampType::Create,
        captured_at_us: None,
        key: None,
        value: Some(value.as_bytes()),
        headers: HeadersView::EMPTY,
    };
    chunk.push(position, Place { segment: 0, row: position as u32 }, &event)
}

/// Puts events ready.
pub(crate) fn stock(planned: &Planned, positions: impl IntoIterator<Item = i64>) {
    let mut chunk = ChunkBuilder::default();
    for position in positions {
        assert!(push(&mut chunk, position));
    }
    planned.stock(chunk.finish().unwrap()).unwrap();
}

pub(crate) fn planned(stage: &Stage, first: i64) -> Planned {
    let made = stage.plan_topic("planned", &[first], BTreeMap::new(), |_| Box::new(Numbers)).unwrap();
    made.into_iter().next().unwrap()
}

#[test]
fn events_come_when_they_are_revealed_and_not_before() {
    let (stage, _folder) = start(|_| {});
    let planned = planned(&stage, 100);
    // A gap, as recorded ones are.
    stock(&planned, (100..110).chain(120..130));
    planned.reveal(2);
    // Whatever the reset policy says: a group that is new starts where the plan begins, and skips nothing.
    let consumer = arm(&stage).consumer("new", &[("auto.offset.reset", "latest")]);
    consumer.subscribe(&["planned"]).unwrap();
    assert_eq!(values(&take(&consumer, 2)), ["100", "101"]);
    assert!(planned.asked() >= Some(100));
    assert!(consumer.poll(Duration::from_millis(200)).is_none());
    planned.reveal(1);
    let events = take(&consumer, 1);
    assert_eq!(values(&events), ["102"]);
    assert_eq!(events[0].timestamp().to_millis(), Some(1_020));
    assert!(consumer.poll(Duration::from_millis(200)).is_none());
    assert_eq!(planned.reveal(100), 17);
    let rest = take(&consumer, 17);
    assert_eq!(rest.last().unwrap().offset(), 129);
    assert_eq!(stage.committed("new", "planned", 0), None);
    consumer.commit_message(rest.last().unwrap(), CommitMode::Sync).unwrap();
    assert_eq!(stage.committed("new", "planned", 0), Some(planned.end()));
}

#[test]
fn a_group_that_is_set_back_reads_again_and_one_without_members_is_named() {
    set_back(|arm| arm.consumer("member", &[("heartbeat.interval.ms", "100")]));
}

#[test]
fn a_group_of_the_consumers_own_protocol_that_is_set_back_reads_again() {
    set_back(|arm| consumers::consumer(arm, "member", &[]));
}

fn set_back(member: impl Fn(&Arm) -> BaseConsumer) {
    let (stage, _folder) = start(|_| {});
    let planned = planned(&stage, 0);
    stock(&planned, 0..10);
    planned.reveal(10);
    let consumer = member(&arm(&stage));
    consumer.subscribe(&["planned"]).unwrap();
    consumer.commit_message(take(&consumer, 10).last().unwrap(), CommitMode::Sync).unwrap();
    planned.set_back(4);
    assert_eq!(stage.set_back("planned", 0, 4), Vec::<String>::new());
    assert!(planned.is_awaited());
    assert_eq!((planned.asked(), stage.committed("member", "planned", 0)), (None, Some(4)));
    assert_eq!(values(&take(&consumer, 6)), ["4", "5", "6", "7", "8", "9"]);
    assert!(!planned.is_awaited());
    let mut stretches = Vec::new();
    planned.take_handed(&mut stretches);
    let last = stretches.last().unwrap();
    assert_eq!((stretches[0].round, stretches[0].from, last.round, last.to), (0, 0, 1, 10));
    assert!(stretches.iter().all(|stretch| stretch.asked_us <= stretch.handed_us));

    // Nobody can tell a consumer that is member of nothing.
    let alone = arm(&stage).consumer("alone", &[]);
    let mut assigned = rdkafka::TopicPartitionList::new();
    assigned.add_partition_offset("planned", 0, Offset::Offset(0)).unwrap();
    alone.assign(&assigned).unwrap();
    alone.commit_message(take(&alone, 10).last().unwrap(), CommitMode::Sync).unwrap();
    assert_eq!(stage.set_back("planned", 0, 2), ["alone"]);
    let commits: Vec<_> = stage.commits().into_iter().map(|commit| (commit.group, commit.position)).collect();
    assert_eq!(commits, [("alone".to_owned(), 2), ("member".to_owned(), 2)]);
}

#[test]
fn what_has_left_the_window_is_read_again() {
    let (stage, _folder) = start(|settings| settings.window_bytes = 10_000);
    let planned = planned(&stage, 0);
    for first in (0..20_000).step_by(100) {
        stock(&planned, first..first + 100);
        planned.reveal(100);
    }
    for from in [0, 7_777] {
        let reader = arm(&stage).reader("planned", 0, Offset::Offset(from), &[("check.crcs", "true")]);
        let events = take(&reader, 20_000 - from as usize);
        let expected: Vec<String> = (from..20_000).map(|position| position.to_string()).collect();
        assert_eq!(values(&events), expected);
    }
}

#[test]
fn a_recording_is_served_as_it_is() {
    let recording =
        Recording::open(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let (stage, _folder) = start(|settings| settings.window_bytes = 10_000);
    let again = recording.clone();
    let made = stage.plan_topic("flights", &[0], BTreeMap::new(), |_| Box::new(RecordedEvents::new(&again))).unwrap();
    let mut expected = Vec::new();
    for batch in recording.batches(Columns::ALL) {
        let batch = batch.unwrap();
        for event in batch.iter() {
            let position = expected.len() as i64;
            expected.push((event.key.map(<[u8]>::to_vec), event.value.map(<[u8]>::to_vec), event.timestamp_ms));
            let mut chunk = ChunkBuilder::default();
            let place = Place { segment: 0, row: position as u32 };
            assert!(chunk.push(position, place, &event));
            made[0].stock(chunk.finish().unwrap()).unwrap();
        }
    }
    made[0].reveal(expected.len() as u64);
    let reader = arm(&stage).reader("flights", 0, Offset::Beginning, &[]);
    for (event, (key, value, time)) in take(&reader, expected.len()).iter().zip(&expected) {
        assert_eq!((event.key(), event.payload()), (key.as_deref(), value.as_deref()));
        assert_eq!(event.timestamp().to_millis(), *time);
    }
}

#[test]
fn what_the_plan_fills_nobody_changes() {
    let (stage, _folder) = start(|_| {});
    let planned = planned(&stage, 5);
    stock(&planned, 5..8);
    planned.reveal(3);
    let arm = arm(&stage);
    let producer = arm.producer(&[("message.timeout.ms", "2000")]);
    producer.send(BaseRecord::<str, str>::to("planned").payload("x")).unwrap();
    producer.flush(WAIT).unwrap();
    let admin = arm.admin();
    let deleted = crate::conformance::wait(admin.delete_topics(&["planned"], &crate::conformance::options())).unwrap();
    assert!(deleted[0].is_err());
    let consumer = arm.consumer("none", &[]);
    assert_eq!(consumer.fetch_watermarks("planned", 0, WAIT).unwrap(), (5, 8));
    assert!(stage.read("planned", 0, 0).is_err());
}

#[test]
fn what_builds_wrote_is_read_without_what_they_took_back() {
    let (stage, _folder) = start(|_| {});
    stage.make_topic("out", 1, BTreeMap::new()).unwrap();
    let arm = arm(&stage);
    let producer = arm.producer(&[("transactional.id", "t")]);
    producer.init_transactions(WAIT).unwrap();
    let headers = || {
        OwnedHeaders::new().insert(Header { key: "h", value: Some("1") }).insert(Header { key: "h", value: Some("2") })
    };
    for (value, commit) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to("out").key("k").payload(value).headers(headers())).unwrap();
        if commit {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.flush(WAIT).unwrap();
            producer.abort_transaction(WAIT).unwrap();
        }
    }
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<str, str>::to("out").payload("open")).unwrap();
    producer.flush(WAIT).unwrap();
    assert_eq!(stage.open_transactions(), 1);
    let (mut next, mut events) = (0, Vec::new());
    loop {
        let read = stage.read("out", 0, next).unwrap();
        if !read.more {
            break;
        }
        next = read.next;
        events.extend(read.events);
    }
    let seen: Vec<_> = events.iter().map(|event| (event.offset, event.value.as_deref().unwrap())).collect();
    assert_eq!(seen, [(0, &b"a"[..]), (4, b"c")]);
    assert_eq!(events[0].headers, [(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), Some(b"2".to_vec()))]);
    assert!(events[0].arrived_us > 0 && events[0].arrived_us <= events[1].arrived_us);
    assert_eq!(stage.written_topics(), BTreeMap::from([("out".to_owned(), 1)]));
}

#[test]
fn a_transaction_that_is_left_open_is_taken_back_in_time() {
    let (stage, _folder) = start(|_| {});
    stage.make_topic("out", 1, BTreeMap::new()).unwrap();
    let arm = arm(&stage);
    let producer = arm.producer(&[("transactional.id", "t"), ("transaction.timeout.ms", "1000")]);
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<str, str>::to("out").payload("left")).unwrap();
    producer.flush(WAIT).unwrap();
    arm.fill("out", 0, &["later"]);
    let committed = arm.reader("out", 0, Offset::Beginning, &[("isolation.level", "read_committed")]);
    assert_eq!(values(&take(&committed, 1)), ["later"]);
    assert_eq!(stage.open_transactions(), 0);
    assert!(producer.commit_transaction(WAIT).is_err());
}

#[test]
fn topics_are_made_by_those_who_write_to_them_where_that_is_set() {
    let (stage, _folder) = start(|settings| (settings.auto_create, settings.partitions_default) = (true, 3));
    arm(&stage).fill("anything", 2, &["x"]);
    assert_eq!(stage.written_topics(), BTreeMap::from([("anything".to_owned(), 3)]));
}

#[test]
fn a_client_that_speaks_tls_is_told_of_once() {
    let (stage, _folder) = start(|_| {});
    for _ in 0..3 {
        let mut stream = std::net::TcpStream::connect(stage.address()).unwrap();
        // A client's first words of TLS.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
        let mut rest = Vec::new();
        // It is closed, in the one way or the other.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    let asked = stage.asked();
    let [(one, 3)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(
        one.to_string(),
        "a connection with TLS, where the stage speaks plain text (`security.protocol=PLAINTEXT`), by client `127.0.0.1`"
    );
}

#[test]
fn a_member_of_the_classic_protocol_is_not_let_in_among_others_and_the_report_says_so() {
    let (stage, _folder) = start(|_| {});
    let arm = arm(&stage);
    let topic = arm.topic("mixed", 1, &[]);
    let own = consumers::consumer(&arm, "mixed", &[]);
    own.subscribe(&[&topic]).unwrap();
    poll_until(&[&own], || own.assignment().unwrap().count() == 1);
    let classic = arm.consumer("mixed", &[("client.id", "classic")]);
    classic.subscribe(&[&topic]).unwrap();
    let clock = SystemClock::start();
    let told = loop {
        assert!(clock.now() < WAIT);
        if let Some(Err(error)) = classic.poll(Duration::from_millis(50)) {
            break error.rdkafka_error_code();
        }
    };
    assert_eq!(told, Some(RDKafkaErrorCode::InconsistentGroupProtocol));
    let asked: Vec<String> = stage.asked().iter().map(|(asked, _)| asked.to_string()).collect();
    assert!(asked[0].starts_with("JoinGroup: to a group of the consumers' own protocol version"), "{asked:?}");
    assert!(asked[0].ends_with(", by client `classic`"), "{asked:?}");
}

#[test]
fn a_setting_out_of_its_range_is_refused_by_name() {
    let mut settings = StageSettings::new("/nowhere");
    settings.connections_max = 0;
    let refused = Stage::start(settings, Arc::new(SystemClock::start())).unwrap_err();
    assert_eq!(refused.to_string(), "the stage cannot have connections_max of 0: it is to be from 1 to 100000");
}

#[test]
fn rubbish_ends_the_connection_that_sends_it_and_no_other() {
    let (stage, _folder) = start(|settings| settings.connections_max = 50);
    let planned = planned(&stage, 0);
    stock(&planned, 0..100);
    let reader = arm(&stage).reader("planned", 0, Offset::Beginning, &[]);
    poll_until(&[&reader], || planned.asked().is_some());
    let open = || TcpStream::connect(stage.address()).unwrap();
    // Each is closed: a length of two gigabytes, a negative one, a length of rubbish, a body whose arrays claim billions.
    let metadata_of_billions = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
    let flexible_billions = [0, 0, 0, 17, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let unknown = [0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let wrong: [&[u8]; 7] = [
        &i32::MAX.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &[0, 0, 0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
        &metadata_of_billions,
        &flexible_billions,
        &unknown,
    ];
    for bytes in wrong {
        let mut stream = open();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Closed, with or without a reset.
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{bytes:?}");
    }
    // Half a request that never goes on, kept open.
    let mut half = open();
    half.write_all(&[0, 0, 1, 0, 0, 3]).unwrap();
    // Ten thousand that come and say nothing; some are left open, some are closed.
    let mut left = Vec::new();
    for number in 0..10_000 {
        let stream = open();
        if number % 40 == 0 {
            left.push(stream);
        }
    }
    planned.reveal(100);
    assert_eq!(take(&reader, 100).len(), 100);
    // Whoever comes now is served, too: at once, or as it tries again where those that left are still being cleared away.
    let late = arm(&stage).reader("planned", 0, Offset::Offset(90), &[]);
    let (clock, mut served) = (SystemClock::start(), 0);
    while served < 10 {
        assert!(clock.now() < WAIT, "{served} of 10 events came");
        match late.poll(Duration::from_millis(100)) {
            Some(Ok(_)) => served += 1,
            Some(Err(error)) => assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AllBrokersDown)),
            None => {}
        }
    }
}

#[test]
fn what_is_not_served_is_refused_and_noted() {
    let (stage, _folder) = start(|_| {});
    let mut wire = Wire::connect(&arm(&stage));
    assert_eq!(wire.call(3, &DescribeAclsRequest::default()).error_code, 35);
    assert_eq!(wire.call(9, &MetadataRequest::default().with_topics(Some(Vec::new()))).brokers.len(), 1);
    // An answer without a place for the error: the connection ends.
    wire.send(3, &CreateAclsRequest::default());
    assert_eq!(wire.receive_bytes(), None);
    let shown: Vec<String> = stage.asked().iter().map(|(asked, count)| format!("{count} times {asked}")).collect();
    assert_eq!(
        shown,
        ["1 times CreateAcls version 3, by client `by-hand`", "1 times DescribeAcls version 3, by client `by-hand`"]
    );
    let asked: Vec<_> =
        stage.asked().into_iter().map(|(asked, count)| (asked.call, asked.version, asked.client, count)).collect();
    let line = |call: &str| (call.to_owned(), 3, "by-hand".to_owned(), 1);
    assert_eq!(asked, [line("CreateAcls"), line("DescribeAcls")]);
}

#[test]
fn a_build_made_for_three_brokers_makes_its_topics() {
    let (stage, _folder) = start(|_| {});
    let mut wire = Wire::connect(&arm(&stage));
    let topic = |factor: i16| {
        create_topics_request::CreatableTopic::default()
            .with_name(TopicName(text(&format!("of{factor}"))))
            .with_num_partitions(2)
            .with_replication_factor(factor)
    };
    let request = CreateTopicsRequest::default().with_topics([-1, 0, 1, 3, 4].map(topic).to_vec());
    let answer = wire.call(5, &request);
    let made: Vec<_> = answer.topics.iter().map(|one| (one.error_code, one.replication_factor)).collect();
    assert_eq!(made, [(0, 1), (38, -1), (0, 1), (0, 3), (38, -1)]);
    assert!(answer.topics[4].error_message.as_deref().unwrap().contains("from 1 to 3"));
    assert_eq!(stage.written_topics().len(), 3);
}

#[test]
fn a_connection_without_room_is_refused_and_noted() {
    let (stage, _folder) = start(|settings| settings.connections_max = 3);
    let asks = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::connect(&arm(&stage))).collect();
    for wire in &mut wires {
        drop(wire.call(9, &asks));
    }
    let mut late = Wire::connect(&arm(&stage));
    assert_eq!(late.receive_bytes(), None);
    let asked: Vec<_> = stage.asked().into_iter().map(|(asked, count)| (asked.call, asked.client, count)).collect();
    assert_eq!(asked, [("a connection beyond 3".to_owned(), "127.0.0.1".to_owned(), 1)]);
    for wire in &mut wires {
        drop(wire.call(9, &asks));
    }
}

#[test]
fn a_stage_has_the_files_that_thousands_of_partitions_need() {
    let (stage, _folder) = start(|_| {});
    let count = 2_000;
    stage.make_topic("wide", count, BTreeMap::new()).unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert!(limit.current.is_none_or(|current| current >= 65_536) || limit.current == limit.maximum, "{limit:?}");
    let producer = arm(&stage).producer(&[]);
    for partition in 0..count {
        producer.send(BaseRecord::<str, str>::to("wide").partition(partition).payload("x")).unwrap();
    }
    producer.flush(WAIT).unwrap();
    assert_eq!(stage.read("wide", count - 1, 0).unwrap().events.len(), 1);
}

#[test]
fn whoever_asks_is_noted_however_it_asks_and_whoever_asks_for_nothing_is_not() {
    let (stage, _folder) = start(|_| {});
    let made = stage.plan_topic("planned", &[100, 100], BTreeMap::new(), |_| Box::new(Numbers)).unwrap();
    stock(&made[0], 100..110);
    stock(&made[1], 100..110);
    for planned in &made {
        assert_eq!(planned.reveal(5), 5);
    }
    let asked = || made.iter().map(Planned::asked).collect::<Vec<_>>();
    let mut wire = Wire::connect(&arm(&stage));
    // An offset of some other cluster's log, and one that is gone.
    for offset in [1_000_000, 106, 99] {
        let answer = wire.call(11, &fetch("planned", &[(0, offset)]));
        assert_eq!((answer.responses[0].partitions[0].error_code, asked()), (1, vec![None, None]));
    }
    // Without patience, and behind a partition that is out of range.
    let request = fetch("planned", &[(0, 1_000_000), (1, 103)]);
    wire.call(11, &request.clone().with_max_wait_ms(0));
    assert_eq!(asked(), [None, Some(103)]);
    wire.call(11, &fetch("planned", &[(1, 1_000_000), (0, 105)]));
    assert_eq!(asked(), [Some(105), Some(103)]);
    // Somebody who waits is noted as it begins to.
    wire.send(11, &fetch("planned", &[(1, 105)]).with_max_wait_ms(30_000));
    let clock = SystemClock::start();
    while asked() != [Some(105), Some(105)] {
        assert!(clock.now() < WAIT / 3, "{:?}", asked());
        std::thread::yield_now();
    }
}

#[test]
fn clients_are_told_where_the_stage_can_be_found() {
    let everywhere = |settings: &mut StageSettings| settings.listen = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
    let mut settings = StageSettings::new("/nowhere");
    everywhere(&mut settings);
    let refused = Stage::start(settings, Arc::new(SystemClock::start())).unwrap_err();
    assert!(refused.to_string().contains("0.0.0.0:0"), "{refused}");
    let (stage, _folder) = start(|settings| {
        everywhere(settings);
        settings.advertise = Some("localhost".to_owned());
    });
    assert_eq!(stage.bootstrap(), format!("localhost:{}", stage.address().port()));
    let (stage, _folder) = start(|settings| settings.advertise = Some("::1".to_owned()));
    assert_eq!(stage.bootstrap(), format!("[::1]:{}", stage.address().port()));
}

/// A recording that has gone since.
#[derive(Debug)]
struct Gone;

impl Reread for Gone {
    fn reread(&mut self, _: &[Spot], _: usize) -> Result<Option<rehearsal::drive::stage::Chunk>, RecordingError> {
        Err(RecordingError::NoManifest { path: "orders.manifest".into() })
    }
}

#[test]
fn what_cannot_be_read_again_is_told_to_whoever_asks_for_the_outcome() {
    let (stage, _folder) = start(|settings| settings.window_bytes = 1);
    let made = stage.plan_topic("planned", &[0], BTreeMap::new(), |_| Box::new(Gone)).unwrap();
    for first in (0..100).step_by(10) {
        stock(&made[0], first..first + 10);
        made[0].reveal(10);
    }
    let mut wire = Wire::connect(&arm(&stage));
    let mut error = |offset| wire.call(11, &fetch("planned", &[(0, offset)])).responses[0].partitions[0].error_code;
    assert_eq!(error(95), 0);
    assert_eq!(stage.failures(), []);
    assert_eq!((error(5), error(5)), (56, 56));
    let failures = stage.failures();
    assert!(failures.len() == 1 && failures[0].0.contains("orders.manifest") && failures[0].1 == 2, "{failures:?}");
}

#[test]
fn a_transaction_does_not_end_before_its_markers_stand() {
    let (stage, folder) = start(|_| {});
    stage.make_topic("out", 1, BTreeMap::new()).unwrap();
    let mut wire = Wire::connect(&arm(&stage));
    let producer = wire.new_producer(Some("t"));
    let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(TopicName(text("out")))
        .with_partitions(vec![0]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text("t")))
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![topic]);
    wire.call(3, &add);
    let end = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text("t")))
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_committed(true);
    // Files of a log are made with its first batch, which is the marker.
    std::fs::remove_dir(folder.path()).unwrap();
    assert_eq!(wire.call(3, &end).error_code, 51);
    assert_eq!(stage.open_transactions(), 1);
    assert!(stage.failures()[0].0.contains("No such file"), "{:?}", stage.failures());
    std::fs::create_dir(folder.path()).unwrap();
    assert_eq!(wire.call(3, &end).error_code, 0);
    assert_eq!(stage.open_transactions(), 0);
    assert_eq!(wire.call(11, &fetch("out", &[(0, 0)])).responses[0].partitions[0].last_stable_offset, 1);
}

/// Sends one request in each of these versions, and looks at each answer.
fn each_version<Q: Request>(
    wire: &mut Wire,
    versions: std::ops::RangeInclusive<i16>,
    request: impl Fn(i16) -> Q,
    good: impl Fn(&Q::Response) -> bool,
) where
    Q::Response: std::fmt::Debug,
{
    for version in versions {
        let answer = wire.call(version, &request(version));
        assert!(good(&answer), "{} version {version}: {answer:?}", Q::KEY);
    }
}

/// A stage with a topic `t` that holds two events.
fn with_two_events() -> (Stage, TempDir) {
    let (stage, folder) = start(|_| {});
    stage.make_topic("t", 1, BTreeMap::new()).unwrap();
    arm(&stage).fill("t", 0, &["a", "b"]);
    (stage, folder)
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

#[test]
fn every_version_of_calls_about_topics_is_answered() {
    let (stage, _folder) = with_two_events();
    let wire = &mut Wire::connect(&arm(&stage));
    let name = TopicName(text("t"));
    let metadata = |_| {
        let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name.clone()));
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true)
    };
    each_version(wire, 0..=13, metadata, |answer| answer.topics[0].partitions.len() == 1 && answer.brokers.len() == 1);
    let offsets = |timestamp: i64| {
        let name = name.clone();
        move |_| {
            let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(name.clone())
                .with_partitions(vec![partition]);
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
        }
    };
    each_version(wire, 1..=10, offsets(-1), |answer| answer.topics[0].partitions[0].offset == 2);
    each_version(wire, 1..=10, offsets(-2), |answer| answer.topics[0].partitions[0].offset == 0);
    each_version(wire, 1..=10, offsets(0), |answer| answer.topics[0].partitions[0].timestamp > 0);
    let create = |version: i16| {
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(TopicName(text(&format!("made-{version}"))))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000)
    };
    each_version(wire, 2..=7, create, |answer| answer.topics[0].error_code == 0);
    let grow = |version: i16| {
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(name_of(version + 2))
            .with_count(3)
            .with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    };
    each_version(wire, 0..=3, grow, |answer| answer.results[0].error_code == 0);
    let delete = |version: i16| {
        let one = delete_topics_request::DeleteTopicState::default().with_name(Some(name_of(version + 1)));
        match version {
            ..=5 => DeleteTopicsRequest::default().with_topic_names(vec![name_of(version + 1)]),
            _ => DeleteTopicsRequest::default().with_topics(vec![one]),
        }
    };
    each_version(wire, 1..=6, delete, |answer| answer.responses[0].error_code == 0);
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let describe =
        |_| DescribeConfigsRequest::default().with_resources(vec![resource.clone()]).with_include_synonyms(true);
    each_version(wire, 1..=4, describe, |answer| answer.results[0].configs.len() > 20);
    each_version(wire, 0..=2, |_| DescribeClusterRequest::default(), |answer| answer.brokers.len() == 1);
    let epoch = |_| {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(0);
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(name.clone())
            .with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    };
    each_version(wire, 2..=4, epoch, |answer| answer.topics[0].partitions[0].end_offset == 2);
    let cut = |version: i16| {
        let partition =
            delete_records_request::DeleteRecordsPartition::default().with_offset(i64::from(version.min(1)));
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    };
    each_version(wire, 0..=2, cut, |answer| answer.topics[0].partitions[0].error_code == 0);
    assert_eq!(stage.asked(), []);
}

#[test]
fn every_version_of_calls_about_groups_is_answered() {
    let (stage, _folder) = with_two_events();
    let wire = &mut Wire::connect(&arm(&stage));
    let name = TopicName(text("t"));
    let group = GroupId(text("g"));
    let coordinator = |version| match version {
        ..=3 => FindCoordinatorRequest::default().with_key(text("g")),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
    };
    each_version(wire, 0..=6, coordinator, |answer| {
        answer.error_code == 0 && answer.coordinators.first().map_or(answer.port, |one| one.port) > 0
    });
    let commit = |_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(7)
            .with_committed_metadata(Some(text("note")));
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default().with_group_id(group.clone()).with_topics(vec![topic])
    };
    each_version(wire, 2..=9, commit, |answer| answer.topics[0].partitions[0].error_code == 0);
    let fetch_some = |version| {
        let one = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(name.clone())
            .with_partition_indexes(vec![0]);
        let other = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(name.clone())
            .with_partition_indexes(vec![0]);
        let of_group = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group.clone())
            .with_topics(Some(vec![other]));
        match version {
            ..=7 => OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(vec![one])),
            _ => OffsetFetchRequest::default().with_groups(vec![of_group]),
        }
    };
    each_version(wire, 1..=9, fetch_some, |answer| {
        let old = answer.topics.first().map(|topic| topic.partitions[0].committed_offset);
        old.or_else(|| answer.groups.first().map(|group| group.topics[0].partitions[0].committed_offset)) == Some(7)
    });
    let join = |version: i16| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("p"));
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(&format!("joined-{version}"))))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(if version == 0 { -1 } else { 10_000 })
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    };
    each_version(wire, 0..=9, join, |answer| matches!(answer.error_code, 0 | 79) && !answer.member_id.is_empty());
    let beat = |_| HeartbeatRequest::default().with_group_id(group.clone()).with_member_id(text("x"));
    each_version(wire, 0..=4, beat, |answer| answer.error_code == 25);
    let sync = |version: i16| {
        let sync = SyncGroupRequest::default().with_group_id(group.clone()).with_member_id(text("x"));
        if version < 5 { sync } else { sync.with_protocol_type(Some(text("c"))).with_protocol_name(Some(text("p"))) }
    };
    each_version(wire, 0..=5, sync, |answer| answer.error_code == 25);
    let leave = |version: i16| {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text("x"));
        match version {
            ..=2 => LeaveGroupRequest::default().with_group_id(group.clone()).with_member_id(text("x")),
            _ => LeaveGroupRequest::default().with_group_id(group.clone()).with_members(vec![member]),
        }
    };
    each_version(wire, 0..=5, leave, |answer| {
        answer.members.first().map_or(answer.error_code, |member| member.error_code) == 25
    });
    let describe = |_| DescribeGroupsRequest::default().with_groups(vec![group.clone(), GroupId(text("joined-0"))]);
    each_version(wire, 0..=6, describe, |answer| answer.groups[1].members.len() == 1);
    each_version(wire, 0..=5, |_| ListGroupsRequest::default(), |answer| answer.groups.len() > 3);
    let gone = |_| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("nobody"))]);
    each_version(wire, 0..=2, gone, |answer| answer.results[0].error_code == 69);
    assert_eq!(stage.asked(), []);
}

#[test]
fn every_version_of_calls_about_transactions_is_answered() {
    let (stage, _folder) = with_two_events();
    let wire = &mut Wire::connect(&arm(&stage));
    let name = TopicName(text("t"));
    let init = |version: i16| {
        InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(&format!("id-{version}")))))
            .with_transaction_timeout_ms(1_000)
    };
    each_version(wire, 0..=5, init, |answer| answer.error_code == 0);
    let add = |_| {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text("x")))
            .with_v3_and_below_topics(vec![topic])
    };
    each_version(wire, 0..=3, add, |answer| {
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 49
    });
    let add = |_| AddOffsetsToTxnRequest::default().with_transactional_id(TransactionalId(text("x")));
    each_version(wire, 0..=4, add, |answer| answer.error_code == 49);
    let end = |_| EndTxnRequest::default().with_transactional_id(TransactionalId(text("x")));
    each_version(wire, 0..=4, end, |answer| answer.error_code == 49);
    let commit = |_| {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default().with_transactional_id(TransactionalId(text("x"))).with_topics(vec![topic])
    };
    each_version(wire, 0..=4, commit, |answer| answer.topics[0].partitions[0].error_code == 49);
    assert_eq!(stage.asked(), []);
}

fn name_of(number: i16) -> TopicName {
    TopicName(StrBytes::from_string(format!("made-{number}")))
}

#[test]
fn a_stage_ends_at_once_whoever_waits() {
    let (stage, _folder) = start(|_| {});
    let planned = planned(&stage, 0);
    let reader = arm(&stage).reader(
        "planned",
        0,
        Offset::Beginning,
        &[("fetch.wait.max.ms", "60000"), ("socket.timeout.ms", "90000")],
    );
    poll_until(&[&reader], || planned.asked().is_some());
    let began = SystemClock::start();
    drop(stage);
    assert!(began.now() < Duration::from_secs(5), "{:?}", began.now());
}
