//! Faults at the stage, as clients meet them: each fires where it is in force, and is silent where it is not.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use kafka_protocol::messages::*;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use rehearsal::clock::{Clock, SystemClock};
use rehearsal::drive::stage::{Stage, StageAim, StageFault, StageFaultKind, StageFired, StageTrigger};
use rehearsal::plan::{Legality, Seed};
use tempfile::TempDir;

use crate::conformance::wire::{Wire, batch, fetch, offsets};
use crate::conformance::{Arm, WAIT, consumers, poll_until, take, values};
use crate::stage::{arm, planned, start, stock, text};

const NEVER: Duration = Duration::ZERO;

/// A stage with these topics, each of so many partitions.
fn with(topics: &[(&str, i32)]) -> (Stage, TempDir, Arm) {
    let (stage, folder) = start(|_| {});
    for (topic, partitions) in topics {
        stage.make_topic(topic, *partitions, BTreeMap::new()).unwrap();
    }
    let arm = arm(&stage);
    (stage, folder, arm)
}

fn nth<const N: usize>(kind: StageFaultKind, which: [u64; N]) -> StageFault {
    StageFault { trigger: StageTrigger::Nth(which.into()), ..StageFault::always(kind) }
}

/// Aims a fault at some calls.
fn at<const N: usize>(mut fault: StageFault, calls: [&str; N]) -> StageFault {
    fault.aim.calls = calls.map(str::to_owned).into();
    fault
}

fn put(stage: &Stage, faults: Vec<StageFault>) {
    stage.arm(faults, NEVER).unwrap();
}

/// Produces values, and waits until each is acknowledged or given up.
fn produce(arm: &Arm, topic: &str, count: usize, settings: &[(&str, &str)]) -> BaseProducer {
    let producer = arm.producer(settings);
    for number in 0..count {
        let value = number.to_string();
        producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload(&value)).unwrap();
        producer.flush(WAIT).unwrap();
    }
    producer
}

/// All values that stand in a topic's first partition.
fn stands(stage: &Stage, topic: &str) -> Vec<String> {
    let (mut next, mut all) = (0, Vec::new());
    loop {
        let read = stage.read(topic, 0, next).unwrap();
        if !read.more {
            return all;
        }
        next = read.next;
        all.extend(read.events.into_iter().map(|event| String::from_utf8(event.value.unwrap()).unwrap()));
    }
}

/// Polls until something holds, whatever the client has to say about its connections; returns the values that came.
fn persist(consumer: &BaseConsumer, mut holds: impl FnMut(&[String]) -> bool) -> Vec<String> {
    let clock = SystemClock::start();
    let mut taken = Vec::new();
    while !holds(&taken) {
        assert!(clock.now() < WAIT, "what is waited for does not come: {taken:?}");
        if let Some(Ok(event)) = consumer.poll(Duration::from_millis(20)) {
            taken.extend(values(&[event]));
        }
    }
    taken
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Lines of a fault, which all say the same kind and class.
fn lines(stage: &Stage, kind: &str, legality: Legality) -> Vec<StageFired> {
    let lines = stage.fired();
    assert!(lines.iter().all(|line| (line.kind, line.legality) == (kind, legality)), "{lines:#?}");
    assert!(lines.is_sorted_by_key(|line| line.at));
    let touched: u64 = stage.fault_counts().values().map(|count| count.touched).sum();
    assert_eq!(touched, lines.len() as u64);
    lines
}

#[test]
fn an_answer_that_is_lost_makes_a_producer_write_twice_unless_it_numbers_its_batches() {
    for (idempotent, expected) in [("false", vec!["0", "1", "1", "2"]), ("true", vec!["0", "1", "2"])] {
        let (stage, _folder, arm) = with(&[("out", 1)]);
        put(&stage, vec![nth(StageFaultKind::LostAck, [2])]);
        produce(&arm, "out", 3, &[("enable.idempotence", idempotent), ("client.id", "build")]);
        assert_eq!(stands(&stage, "out"), expected);
        let lines = lines(&stage, "lost-ack", Legality::B);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((line.client.as_str(), line.call.as_str()), ("build", "Produce"));
        assert_eq!(line.partitions, [("out".to_owned(), 0)]);
        assert!(line.connection > 0 && line.correlation > 0 && line.version >= 7, "{line:?}");
    }
}

#[test]
fn nothing_fires_where_nothing_is_in_force() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    put(&stage, vec![nth(StageFaultKind::LostAck, [2])]);
    put(&stage, Vec::new());
    produce(&arm, "out", 3, &[("enable.idempotence", "false")]);
    assert_eq!(stands(&stage, "out"), numbers(3));
    assert_eq!((stage.fired(), stage.fault_counts()), (Vec::new(), BTreeMap::new()));
}

#[test]
fn faults_that_rest_touch_nothing_and_go_on_with_their_counting() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let down = StageFault {
        length: Duration::from_secs(60),
        name: "down".to_owned(),
        ..at(nth(StageFaultKind::BrokerDown, [2]), ["Produce"])
    };
    put(&stage, vec![nth(StageFaultKind::LostAck, [1]), down]);
    stage.rest_faults(true);
    produce(&arm, "out", 3, &[("enable.idempotence", "false")]);
    assert!(stage.fired().is_empty() && !stage.faults_act());
    stage.rest_faults(false);
    let producer = arm.producer(&[("enable.idempotence", "false"), ("client.id", "build")]);
    producer.send(BaseRecord::<str, str>::to("out").partition(0).payload("x")).unwrap();
    let clock = SystemClock::start();
    while stage.fired().len() < 2 {
        assert!(clock.now() < WAIT, "{:?}", stage.fired());
        producer.poll(Duration::from_millis(10));
    }
    assert!(stage.faults_act());
    let lines = stage.take_fired();
    assert_eq!(
        lines.iter().map(|line| (line.fault.as_str(), line.instance)).collect::<Vec<_>>(),
        [("lost-ack", 1), ("down", 1)]
    );
    assert!(lines.iter().all(|line| line.address.is_some_and(|address| address.ip().is_loopback())), "{lines:?}");
    assert_ne!(lines[0].address, lines[1].address);
    assert!(stage.fired().is_empty());
    // What would last for a minute is over at once.
    stage.rest_faults(true);
    producer.flush(WAIT / 2).unwrap();
    assert!(!stage.faults_act());
    assert_eq!(stage.fault_counts()["down"].instances, 1);
}

#[test]
fn whoever_is_held_back_goes_on_when_faults_rest() {
    let hour = Duration::from_secs(3_600);
    let slow = [
        StageFaultKind::SlowSink { latency: hour, bytes_per_second: None },
        StageFaultKind::SlowSink { latency: Duration::ZERO, bytes_per_second: Some(1) },
        StageFaultKind::Throttle { time: hour },
    ];
    for kind in slow {
        let (stage, _folder, arm) = with(&[("out", 1)]);
        put(&stage, vec![at(StageFault::always(kind.clone()), ["Produce"])]);
        let producer = arm.producer(&[("linger.ms", "0"), ("max.in.flight.requests.per.connection", "2")]);
        let send = |value: &str| {
            producer.send(BaseRecord::<str, str>::to("out").partition(0).payload(value)).unwrap();
        };
        send("0");
        let clock = SystemClock::start();
        while stands(&stage, "out").is_empty() {
            assert!(clock.now() < WAIT, "{kind:?}");
            producer.poll(Duration::from_millis(10));
        }
        // Answered late, or its client not heard afterwards.
        send("1");
        stage.rest_faults(true);
        producer.flush(WAIT / 2).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(stands(&stage, "out"), numbers(2), "{kind:?}");
    }
}

#[test]
fn whoever_visits_a_group_leaves_it_when_faults_rest() {
    let (stage, _folder, arm) = with(&[("in", 2)]);
    let consumer = arm.consumer("g", &[("client.id", "build")]);
    consumer.subscribe(&["in"]).unwrap();
    poll_until(&[&consumer], || share(&consumer) == 2);
    let trigger = StageTrigger::At(vec![Duration::ZERO]);
    let length = Duration::from_secs(3_600);
    stage
        .arm(vec![StageFault { trigger, length, ..StageFault::always(StageFaultKind::Rebalance) }], Duration::ZERO)
        .unwrap();
    poll_until(&[&consumer], || share(&consumer) == 1);
    assert!(stage.faults_act());
    stage.rest_faults(true);
    poll_until(&[&consumer], || share(&consumer) == 2);
    assert!(!stage.faults_act());
}

#[test]
fn a_fault_touches_none_but_those_it_aims_at() {
    let (stage, _folder, arm) = with(&[("out", 1), ("other", 1)]);
    let aimed = |change: fn(&mut StageAim)| {
        let mut fault = StageFault::always(StageFaultKind::LostAck);
        change(&mut fault.aim);
        fault
    };
    put(
        &stage,
        vec![
            aimed(|aim| aim.topics = ["none".to_owned()].into()),
            aimed(|aim| aim.partitions = [7].into()),
            aimed(|aim| aim.clients = ["nobody".to_owned()].into()),
            aimed(|aim| aim.calls = ["OffsetCommit".to_owned()].into()),
        ],
    );
    produce(&arm, "out", 2, &[]);
    assert_eq!(stage.fired(), []);
    put(&stage, vec![StageFault { most: 1, ..aimed(|aim| aim.topics = ["out".to_owned()].into()) }]);
    produce(&arm, "other", 2, &[]);
    assert_eq!(stage.fired(), []);
    produce(&arm, "out", 2, &[]);
    assert_eq!(lines(&stage, "lost-ack", Legality::B).len(), 1);
}

#[test]
fn a_commit_whose_answer_is_lost_stands() {
    let (stage, _folder, arm) = with(&[("in", 1)]);
    arm.fill("in", 0, &["a", "b"]);
    put(&stage, vec![at(nth(StageFaultKind::LostAck, [1]), ["OffsetCommit"])]);
    let consumer = arm.consumer("g", &[]);
    consumer.subscribe(&["in"]).unwrap();
    let events = take(&consumer, 2);
    // The client may take it for lost, or ask again.
    let _ = consumer.commit_message(&events[0], CommitMode::Sync);
    assert_eq!(stage.committed("g", "in", 0), Some(1));
    let lines = lines(&stage, "lost-ack", Legality::B);
    assert_eq!(
        (lines.len(), lines[0].call.as_str(), &lines[0].partitions[..]),
        (1, "OffsetCommit", &[("in".to_owned(), 0)][..])
    );
}

#[test]
fn a_connection_that_is_lost_does_nothing_and_is_made_again() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    put(&stage, vec![at(nth(StageFaultKind::Disconnect, [2, 3]), ["Produce"])]);
    // Nothing was done, so even a producer without numbers writes once.
    produce(&arm, "out", 4, &[("enable.idempotence", "false")]);
    assert_eq!(stands(&stage, "out"), numbers(4));
    let fired = lines(&stage, "disconnect", Legality::A);
    assert_eq!(fired.len(), 2);
    assert_ne!(fired[0].connection, fired[1].connection);
    put(&stage, vec![at(nth(StageFaultKind::Disconnect, [2, 4]), ["Fetch"])]);
    let reader = arm.reader("out", 0, Offset::Beginning, &[("fetch.wait.max.ms", "50")]);
    assert_eq!(persist(&reader, |taken| taken.len() == 4 && stage.fired().len() == 4), numbers(4));
}

#[test]
fn a_broker_that_is_gone_is_gone_for_all_and_comes_back() {
    // About the stage's own.
    let clock = SystemClock::start();
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let mut idle = Wire::connect(&arm);
    assert_eq!(idle.call(4, &MetadataRequest::default().with_topics(Some(Vec::new()))).brokers.len(), 1);
    let mut waiting = Wire::connect(&arm);
    let mut request = fetch("out", &[(0, 0)]);
    request.max_wait_ms = 60_000;
    waiting.send(11, &request);
    let length = Duration::from_secs(1);
    let trigger = StageTrigger::At(vec![Duration::from_millis(1)]);
    let down = StageFault { trigger, length, ..StageFault::always(StageFaultKind::BrokerDown) };
    let began = clock.now();
    stage.arm(vec![down], began).unwrap();
    // Whoever was connected is not any more, whether silent or waiting.
    assert_eq!(idle.receive_bytes(), None);
    assert_eq!(waiting.receive_bytes(), None);
    let mut newcomer = TcpStream::connect(stage.address()).unwrap();
    let mut rest = Vec::new();
    let _ = newcomer.read_to_end(&mut rest);
    assert!(rest.is_empty() && clock.now() < began + length, "{:?}", clock.now());
    produce(&arm, "out", 3, &[("enable.idempotence", "false")]);
    assert!(clock.now() > began + Duration::from_millis(900), "{:?}", clock.now());
    assert_eq!(stands(&stage, "out"), numbers(3));
    let lines = lines(&stage, "broker-down", Legality::A);
    assert_eq!((lines[0].connection, lines[0].call.as_str()), (0, ""));
    assert_eq!(stage.fault_counts()["broker-down"].instances, 1);
}

#[test]
fn a_request_can_be_what_takes_the_broker_down() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let mut idle = Wire::connect(&arm);
    idle.call(4, &MetadataRequest::default().with_topics(Some(Vec::new())));
    let down = StageFault { length: Duration::from_millis(300), ..nth(StageFaultKind::BrokerDown, [2]) };
    put(&stage, vec![at(down, ["Produce"])]);
    produce(&arm, "out", 3, &[("enable.idempotence", "false")]);
    assert_eq!(idle.receive_bytes(), None);
    assert_eq!(stands(&stage, "out"), numbers(3));
    let lines = lines(&stage, "broker-down", Legality::A);
    assert_eq!(lines[0].call, "Produce");
}

/// How long a call takes.
fn time<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let clock = SystemClock::start();
    let result = call();
    (result, clock.now())
}

#[test]
fn a_slow_broker_answers_late() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let latency = Duration::from_millis(300);
    put(&stage, vec![at(nth(StageFaultKind::BrokerSlow { latency }, [2]), ["Metadata"])]);
    let mut wire = Wire::connect(&arm);
    let mut ask = || time(|| wire.call(4, &MetadataRequest::default().with_topics(Some(Vec::new())))).1;
    let (before, slow, after) = (ask(), ask(), ask());
    assert!(before < latency && slow >= latency && after < latency, "{before:?} {slow:?} {after:?}");
    assert_eq!(lines(&stage, "broker-slow", Legality::A).len(), 1);
}

#[test]
fn a_slow_reader_gets_so_many_bytes_in_a_second() {
    let (stage, _folder, arm) = with(&[]);
    let planned = planned(&stage, 0);
    stock(&planned, 0..2_000);
    planned.reveal(2_000);
    let read = || {
        let reader = arm.reader("planned", 0, Offset::Beginning, &[]);
        time(|| assert_eq!(take(&reader, 2_000).len(), 2_000)).1
    };
    let freely = read();
    assert_eq!(stage.fired(), []);
    // About ten bytes an event.
    let slow = StageFaultKind::SlowReader { bytes_per_second: 10_000 };
    put(&stage, vec![StageFault::always(slow)]);
    let slowly = read();
    assert!(slowly > Duration::from_millis(1_500) && slowly < Duration::from_secs(15), "{slowly:?}");
    assert!(freely < slowly, "{freely:?} {slowly:?}");
    let lines = lines(&stage, "slow-reader", Legality::A);
    assert!(lines.len() > 4 && lines.iter().all(|line| line.call == "Fetch"), "{lines:?}");
}

#[test]
fn a_slow_sink_takes_so_many_bytes_in_a_second_and_answers_late() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let mut wire = Wire::connect(&arm);
    let mut produce = || time(|| wire.produce("out", None, batch((-1, -1), 0, 10, false))).1;
    let freely = produce();
    let latency = Duration::from_millis(200);
    put(&stage, vec![StageFault::always(StageFaultKind::SlowSink { latency, bytes_per_second: None })]);
    let late = produce();
    assert!(freely < latency && late >= latency, "{freely:?} {late:?}");
    let none = Duration::ZERO;
    put(&stage, vec![StageFault::always(StageFaultKind::SlowSink { latency: none, bytes_per_second: Some(1_000) })]);
    let bounded = produce();
    assert!(bounded >= Duration::from_millis(150), "{bounded:?}");
    assert_eq!(lines(&stage, "slow-sink", Legality::A).len(), 2);
    assert_eq!(stands(&stage, "out").len(), 30);
}

/// Writes and reads through a fault of partitions; returns its lines. Nothing is lost, nothing comes twice.
fn through(fault: StageFault) -> (Stage, TempDir, Vec<StageFired>) {
    let (stage, folder, arm) = with(&[("out", 1)]);
    let (kind, legality) = (fault.kind.name(), fault.kind.legality());
    put(&stage, vec![fault]);
    produce(&arm, "out", 20, &[("retry.backoff.ms", "10")]);
    assert_eq!(stands(&stage, "out"), numbers(20));
    let settings = [("fetch.wait.max.ms", "20"), ("fetch.error.backoff.ms", "10")];
    let reader = arm.reader("out", 0, Offset::Beginning, &settings);
    let fetched = || stage.fired().iter().any(|line| line.call == "Fetch");
    assert_eq!(persist(&reader, |taken| taken.len() == 20 && fetched()), numbers(20));
    drop(reader);
    let fired = lines(&stage, kind, legality);
    assert!(fired.iter().any(|line| line.call == "Produce"), "{fired:?}");
    assert!(fired.iter().all(|line| line.partitions == [("out".to_owned(), 0)]));
    (stage, folder, fired)
}

#[test]
fn a_share_of_requests_that_fails_is_tried_again_until_it_does_not() {
    let trigger = StageTrigger::Share { share: 0.4, seed: Seed(7) };
    let (_stage, _folder, lines) = through(StageFault { trigger, ..StageFault::always(StageFaultKind::PartialLoss) });
    assert!(lines.len() >= 5, "{lines:?}");
}

#[test]
fn a_leader_that_is_elsewhere_is_looked_for_again() {
    let (stage, _folder, _lines) = through(nth(StageFaultKind::NotLeader, [1, 4, 5, 23, 24, 26, 28]));
    // What it says stands in the protocol.
    put(&stage, vec![StageFault::always(StageFaultKind::NotLeader)]);
    let mut wire = Wire::connect(&arm(&stage));
    assert_eq!(wire.produce("out", None, batch((-1, -1), -1, 1, false)).0, 6);
    assert_eq!(wire.call(11, &fetch("out", &[(0, 0)])).responses[0].partitions[0].error_code, 6);
    put(&stage, vec![StageFault::always(StageFaultKind::PartialLoss)]);
    assert_eq!(wire.produce("out", None, batch((-1, -1), -1, 1, false)).0, 19);
    assert_eq!(wire.call(11, &fetch("out", &[(0, 0)])).responses[0].partitions[0].error_code, 56);
    assert_eq!(stands(&stage, "out").len(), 20);
}

#[test]
fn a_coordinator_that_loads_is_waited_for() {
    let (stage, _folder, arm) = with(&[("in", 1)]);
    arm.fill("in", 0, &["a"]);
    let first = nth(StageFaultKind::Loading, [1, 2]);
    put(
        &stage,
        ["JoinGroup", "SyncGroup", "OffsetFetch", "OffsetCommit", "Heartbeat", "InitProducerId"]
            .map(|call| StageFault { name: call.to_owned(), ..at(first.clone(), [call]) })
            .into(),
    );
    let consumer = arm.consumer("g", &[]);
    consumer.subscribe(&["in"]).unwrap();
    let events = take(&consumer, 1);
    // Where the client does not ask again by itself, the build must.
    while consumer.commit_message(&events[0], CommitMode::Sync).is_err() {}
    assert_eq!(stage.committed("g", "in", 0), Some(1));
    let producer = arm.producer(&[("transactional.id", "t")]);
    producer.init_transactions(WAIT).unwrap();
    let counts = stage.fault_counts();
    persist(&consumer, |_| stage.fault_counts().len() == 6);
    assert!(counts["JoinGroup"].touched == 2 && counts["OffsetCommit"].touched == 2, "{counts:?}");
}

#[test]
fn every_version_of_what_a_coordinator_answers_can_say_that_it_loads() {
    let (stage, _folder, arm) = with(&[("in", 1)]);
    put(&stage, vec![StageFault::always(StageFaultKind::Loading)]);
    let mut wire = Wire::connect(&arm);
    let group = || GroupId(text("g"));
    let name = TopicName(text("in"));
    let mut said = Vec::new();
    for version in 0..=9 {
        said.push(wire.call(version, &JoinGroupRequest::default().with_group_id(group())).error_code);
    }
    for version in 0..=5 {
        let sync = wire.call(version, &SyncGroupRequest::default().with_group_id(group())).error_code;
        assert_eq!(sync, 27, "the rebalance is forgotten");
        said.push(wire.call(version, &LeaveGroupRequest::default().with_group_id(group())).error_code);
        said.push(wire.call(version, &InitProducerIdRequest::default()).error_code);
    }
    for version in 0..=4 {
        let alive = wire.call(version, &HeartbeatRequest::default().with_group_id(group())).error_code;
        assert_eq!(alive, 0, "who lives is not judged");
        said.push(wire.call(version, &AddOffsetsToTxnRequest::default()).error_code);
        said.push(wire.call(version, &EndTxnRequest::default()).error_code);
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()]);
        let answer = wire.call(version, &TxnOffsetCommitRequest::default().with_topics(vec![topic]));
        said.push(answer.topics[0].partitions[0].error_code);
    }
    for version in 2..=9 {
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![offset_commit_request::OffsetCommitRequestPartition::default()]);
        let answer = wire.call(version, &OffsetCommitRequest::default().with_topics(vec![topic]));
        said.push(answer.topics[0].partitions[0].error_code);
    }
    for version in 1..=9 {
        let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(name.clone())
            .with_partition_indexes(vec![0]);
        let many = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group());
        let request = match version {
            ..=7 => OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic])),
            _ => OffsetFetchRequest::default().with_groups(vec![many]),
        };
        let answer = wire.call(version, &request);
        said.push(match version {
            1 => answer.topics[0].partitions[0].error_code,
            2..=7 => answer.error_code,
            _ => answer.groups[0].error_code,
        });
    }
    for version in 0..=3 {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(name.clone())
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![topic]);
        let answer = wire.call(version, &request);
        said.push(answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code);
    }
    for version in 0..=6 {
        let answer = wire.call(version, &DescribeGroupsRequest::default().with_groups(vec![group()]));
        said.push(answer.groups[0].error_code);
    }
    assert!(said.iter().all(|code| *code == 14), "{said:?}");
    assert_eq!(lines(&stage, "loading", Legality::A).len(), said.len() + 6 + 5);
}

#[test]
fn a_client_is_told_that_it_is_throttled_and_not_heard_meanwhile() {
    let (stage, _folder, arm) = with(&[("out", 1)]);
    let time_ms = 300;
    let kind = StageFaultKind::Throttle { time: Duration::from_millis(time_ms) };
    put(&stage, vec![at(nth(kind, [1, 3]), ["Produce", "Fetch"])]);
    let mut wire = Wire::connect(&arm);
    let (told, first) = time(|| wire.call(11, &fetch("out", &[(0, 0)])).throttle_time_ms);
    // The answer itself comes at once; what is asked next waits.
    assert_eq!(told, time_ms as i32);
    let (_, second) = time(|| wire.produce("out", None, batch((-1, -1), -1, 1, false)));
    assert!(second >= Duration::from_millis(time_ms - 100) && first < second, "{first:?} {second:?}");
    assert_eq!(wire.call(11, &fetch("out", &[(0, 0)])).throttle_time_ms, time_ms as i32);
    assert_eq!(lines(&stage, "throttle", Legality::A).len(), 2);
}

#[test]
fn a_fetch_gets_as_many_events_as_its_turn_says() {
    let (stage, _folder, arm) = with(&[]);
    let planned = planned(&stage, 0);
    stock(&planned, 0..20);
    stock(&planned, 20..40);
    planned.reveal(40);
    let mut wire = Wire::connect(&arm);
    let mut got = |count: usize| {
        let mut next = 0;
        let mut sizes = Vec::new();
        for _ in 0..count {
            let got = offsets(&wire.call(11, &fetch("planned", &[(0, next)])));
            next += got.len() as i64;
            sizes.push(got.len());
        }
        sizes
    };
    assert_eq!(got(2), [40, 0]);
    put(&stage, vec![StageFault::always(StageFaultKind::Batch { sizes: vec![1, 7, 25, 0] })]);
    // The last number stands for whatever there is; a fetch that finds nothing is nobody's turn.
    assert_eq!(got(5), [1, 7, 25, 7, 0]);
    assert_eq!(got(2), [1, 7]);
    assert_eq!(lines(&stage, "batch", Legality::A).len(), 6);
    // A client sees them all, in order.
    put(&stage, vec![StageFault::always(StageFaultKind::Batch { sizes: vec![1] })]);
    let reader = arm.reader("planned", 0, Offset::Beginning, &[]);
    assert_eq!(values(&take(&reader, 40)), numbers(40));
    assert!(stage.fired().len() >= 40);
}

/// Partitions that a consumer has.
fn share(consumer: &BaseConsumer) -> usize {
    consumer.assignment().map_or(0, |list: TopicPartitionList| list.count())
}

#[test]
fn a_visitor_gets_a_share_and_gives_it_back() {
    for assignor in ["range", "cooperative-sticky", "the broker's own"] {
        let (stage, _folder, arm) = with(&[("in", 4)]);
        (0..4).for_each(|partition| arm.fill("in", partition, &["a", "b"]));
        let settings = [("partition.assignment.strategy", assignor), ("client.id", "build")];
        let consumer = match assignor {
            "the broker's own" => consumers::consumer(&arm, "g", &settings[1..]),
            _ => arm.consumer("g", &settings),
        };
        consumer.subscribe(&["in"]).unwrap();
        let clock = SystemClock::start();
        let mut events = 0;
        while events < 8 {
            assert!(clock.now() < WAIT);
            events += usize::from(consumer.poll(Duration::from_millis(50)).is_some());
        }
        assert_eq!((share(&consumer), stage.fired()), (4, Vec::new()));
        let visit = StageFault { length: Duration::from_secs(1), ..nth(StageFaultKind::Rebalance, [1]) };
        put(&stage, vec![at(visit, ["Heartbeat", "ConsumerGroupHeartbeat"])]);
        // Nothing was committed: what the visitor had comes again.
        poll_until(&[&consumer], || share(&consumer) == 2);
        let again = poll_until(&[&consumer], || share(&consumer) == 4);
        assert!(again.len() <= 8, "{again:?}");
        let lines = lines(&stage, "rebalance", Legality::A);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line.group.as_deref(), Some("g"));
        // All is as it was: what comes now is read, and committed.
        arm.fill("in", 0, &["c"]);
        let later = loop {
            assert!(clock.now() < 2 * WAIT);
            let event = consumer.poll(Duration::from_millis(50)).map(Result::unwrap);
            if let Some(event) = event.filter(|event| event.payload() == Some(b"c")) {
                break event;
            }
        };
        consumer.commit_message(&later, CommitMode::Sync).unwrap();
        assert_eq!(stage.committed("g", "in", 0), Some(3));
    }
}

#[test]
fn consumers_of_their_own_protocol_live_with_heartbeats_that_are_lost_or_refused() {
    let (stage, _folder, arm) = with(&[("in", 4)]);
    (0..4).for_each(|partition| arm.fill("in", partition, &["a", "b"]));
    let every = |every, kind: StageFaultKind| {
        let fault = StageFault { trigger: StageTrigger::Every(every), ..StageFault::always(kind) };
        at(fault, ["ConsumerGroupHeartbeat"])
    };
    let faults = vec![
        every(4, StageFaultKind::Loading),
        every(7, StageFaultKind::LostAck),
        every(11, StageFaultKind::Disconnect),
        every(5, StageFaultKind::Throttle { time: Duration::from_millis(20) }),
    ];
    put(&stage, faults);
    let consumers = [1, 2].map(|_| {
        let consumer = consumers::consumer(&arm, "g", &[("client.id", "build"), ("reconnect.backoff.max.ms", "100")]);
        consumer.subscribe(&["in"]).unwrap();
        consumer
    });
    let all: Vec<&BaseConsumer> = consumers.iter().collect();
    let kinds = || stage.fired().iter().map(|line| line.kind).collect::<BTreeSet<&str>>();
    let seen = poll_until(&all, || all.iter().all(|consumer| share(consumer) == 2) && kinds().len() == 4);
    let mut values: Vec<&str> = seen.iter().map(String::as_str).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values, ["a", "b"]);
    assert_eq!(kinds(), BTreeSet::from(["disconnect", "loading", "lost-ack", "throttle"]));
}

#[test]
fn a_visitor_comes_by_the_clock_to_the_groups_it_is_meant_for() {
    let clock = SystemClock::start();
    let (stage, _folder, arm) = with(&[("in", 2)]);
    let consumers: Vec<BaseConsumer> = ["one", "two"]
        .map(|group| {
            let consumer = arm.consumer(group, &[("client.id", "build")]);
            consumer.subscribe(&["in"]).unwrap();
            consumer
        })
        .into();
    let all: Vec<&BaseConsumer> = consumers.iter().collect();
    poll_until(&all, || consumers.iter().all(|consumer| share(consumer) == 2));
    let mut visit = StageFault {
        trigger: StageTrigger::At(vec![Duration::ZERO]),
        length: Duration::from_millis(500),
        ..StageFault::always(StageFaultKind::Rebalance)
    };
    visit.aim.groups = ["two".to_owned()].into();
    // What is over when it is put into force does not take place.
    let over = StageFault { name: "over".to_owned(), ..visit.clone() };
    stage.arm(vec![over], Duration::ZERO).unwrap();
    stage.arm(vec![visit], clock.now()).unwrap();
    poll_until(&all, || share(&consumers[1]) == 1);
    assert_eq!(share(&consumers[0]), 2);
    poll_until(&all, || share(&consumers[1]) == 2);
    assert_eq!(lines(&stage, "rebalance", Legality::A).len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_in_force() {
    let (stage, _folder, _arm) = with(&[]);
    let error = stage.arm(vec![at(StageFault::always(StageFaultKind::Loading), ["Fetch"])], NEVER).unwrap_err();
    assert_eq!(error.to_string(), "cannot have the fault `loading` at the stage: a `loading` cannot touch `Fetch`");
}
