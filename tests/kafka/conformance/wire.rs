//! The protocol itself, spoken by hand: what no client lets one say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use rehearsal::clock::{Clock, SystemClock};

use super::{Arm, WAIT, unique};

/// Errors that say "not yet": a broker that has just started, or a transaction whose markers are being written.
const NOT_YET: [i16; 4] = [14, 15, 16, 51];

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    sent: i32,
    received: i32,
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Wire {
    pub(crate) fn connect(arm: &Arm) -> Self {
        let stream = TcpStream::connect(&arm.brokers).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, sent: 0, received: 0 }
    }

    pub(crate) fn send<Q: Request>(&mut self, version: i16, request: &Q) {
        self.sent += 1;
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.sent)
            .with_client_id(Some(text("by-hand")));
        let mut bytes = BytesMut::new();
        encode_request_header_into_buffer(&mut bytes, &header).unwrap();
        request.encode(&mut bytes, version).unwrap();
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, frame: &[u8]) {
        let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next answer as it stands on the wire; none where the connection was closed.
    pub(crate) fn receive_bytes(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    pub(crate) fn receive<Q: Request>(&mut self, version: i16) -> Q::Response {
        let mut frame = self.receive_bytes().expect("the connection was closed");
        self.received += 1;
        let header = ResponseHeader::decode(&mut frame, Q::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.received);
        let answer = Q::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes are left of the answer", frame.len());
        answer
    }

    pub(crate) fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        self.send(version, request);
        self.receive::<Q>(version)
    }

    /// Calls again while the error says that it is not yet time.
    pub(crate) fn call_ready<Q: Request>(
        &mut self,
        version: i16,
        request: &Q,
        error: impl Fn(&Q::Response) -> i16,
    ) -> Q::Response {
        let clock = SystemClock::start();
        loop {
            let answer = self.call(version, request);
            if !NOT_YET.contains(&error(&answer)) {
                return answer;
            }
            assert!(clock.now() < WAIT, "error {} does not go away", error(&answer));
            std::thread::yield_now();
        }
    }

    /// Waits until the broker coordinates what is of that kind: 0 for groups, 1 for transactions.
    pub(crate) fn find_coordinator(&mut self, key: &str, kind: i8) {
        let request = FindCoordinatorRequest::default().with_key_type(kind).with_coordinator_keys(vec![text(key)]);
        self.call_ready(4, &request, |answer| answer.coordinators[0].error_code);
    }

    pub(crate) fn new_producer(&mut self, transactional: Option<&str>) -> (i64, i16) {
        if let Some(id) = transactional {
            self.find_coordinator(id, 1);
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(60_000);
        let answer = self.call_ready(4, &request, |answer| answer.error_code);
        assert_eq!(answer.error_code, 0);
        (answer.producer_id.0, answer.producer_epoch)
    }

    pub(crate) fn produce(&mut self, topic: &str, transactional: Option<&str>, batch: Bytes) -> (i16, i64) {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_transactional_id(transactional.map(|id| TransactionalId(text(id))))
            .with_topic_data(vec![topic]);
        let answer = self.call(9, &request);
        let one = &answer.responses[0].partition_responses[0];
        (one.error_code, one.base_offset)
    }
}

/// A batch of so many events.
pub(crate) fn batch(producer: (i64, i16), sequence: i32, count: i32, transactional: bool) -> Bytes {
    let record = |number| Record {
        transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.0,
        producer_epoch: producer.1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(number),
        sequence: if sequence < 0 { -1 } else { sequence + number },
        timestamp: 1_000,
        key: None,
        value: Some(Bytes::from(format!("{sequence}+{number}"))),
        headers: IndexMap::default(),
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

pub(crate) fn fetch(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let one = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
            .with_current_leader_epoch(-1)
    };
    let topic =
        FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(partitions.iter().map(one).collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

/// Offsets of what an answer holds.
pub(crate) fn offsets(answer: &FetchResponse) -> Vec<i64> {
    let mut all = Vec::new();
    for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
        let mut bytes = partition.records.clone().unwrap_or_default();
        while bytes.has_remaining() {
            let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
            all.extend(set.records.iter().map(|record| record.offset));
        }
    }
    all
}

pub(crate) fn a_version_that_is_not_known_is_answered_with_the_list(arm: &Arm) -> Vec<String> {
    let mut wire = Wire::connect(arm);
    // Key 18, version 99, correlation 7, client "c", no tags.
    wire.send_bytes(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0]);
    let mut frame = wire.receive_bytes().unwrap();
    assert_eq!(frame.get_i32(), 7);
    let answer = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(answer.error_code, 35);
    let own = answer.api_keys.iter().find(|one| one.api_key == 18).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 4));
    // The connection is as good as before.
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("rehearsal"))
        .with_client_software_version(text("1"));
    let mut seen = Vec::new();
    for version in 0..=3 {
        wire.sent = 0;
        wire.received = 0;
        let answer = wire.call(version, &request);
        seen.push(format!("{version} {} {}", answer.error_code, answer.api_keys.len() > 25));
    }
    let wrong = request.clone().with_client_software_name(text("no good name!"));
    wire.sent = 0;
    wire.received = 0;
    seen.push(wire.call(3, &wrong).error_code.to_string());
    seen
}

pub(crate) fn a_retry_after_a_lost_answer_is_not_written_twice(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("retry", 1, &[]);
    arm.fill(&topic, 0, &["first"]);
    let mut wire = Wire::connect(arm);
    let producer = wire.new_producer(None);
    let mut seen = Vec::new();
    let mut produce = |sequence, count| {
        seen.push(format!("{:?}", Wire::connect(arm).produce(&topic, None, batch(producer, sequence, count, false))));
    };
    // Up to five batches are remembered; what is older is out of order.
    for sequence in [0, 0, 2, 2, 0, 4, 6, 8, 10, 2, 10, 0] {
        produce(sequence, 2);
    }
    let answer = wire.call(11, &fetch(&topic, &[(0, 0)]));
    assert_eq!(offsets(&answer), (0..13).collect::<Vec<_>>());
    seen
}

pub(crate) fn a_producer_is_held_to_its_sequence_and_epoch(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("sequence", 1, &[]);
    arm.fill(&topic, 0, &["first"]);
    let mut wire = Wire::connect(arm);
    let (id, _) = wire.new_producer(None);
    let tries =
        [(0, 0, 2), (0, 3, 1), (0, 2, 1), (2, 5, 1), (2, 0, 1), (0, 3, 1), (2, 1, 3), (2, 1, 2), (3, 0, 1), (2, 4, 1)];
    let mut seen = Vec::new();
    for (epoch, sequence, count) in tries {
        let (error, offset) = wire.produce(&topic, None, batch((id, epoch), sequence, count, false));
        seen.push(format!("epoch {epoch} sequence {sequence}: error {error} offset {offset}"));
    }
    assert_eq!(seen[1], "epoch 0 sequence 3: error 45 offset -1");
    assert_eq!(seen[5], "epoch 0 sequence 3: error 47 offset -1");
    seen
}

pub(crate) fn fetches_are_bounded_and_refused_by_name(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("fetch", 2, &[]);
    for _ in 0..3 {
        arm.fill(&topic, 0, &["a"]);
        arm.fill(&topic, 1, &["a"]);
    }
    let mut wire = Wire::connect(arm);
    let mut seen = Vec::new();
    let mut show = |name: &str, answer: &FetchResponse| {
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions).map(|one| {
            let (high, stable, start) = (one.high_watermark, one.last_stable_offset, one.log_start_offset);
            format!("{} {} {high} {stable} {start}", one.partition_index, one.error_code)
        });
        let partitions: Vec<String> = partitions.collect();
        seen.push(format!("{name}: error {} {:?} {partitions:?}", answer.error_code, offsets(answer)));
    };
    for version in [4, 5, 7, 11, 12] {
        let request = fetch(&topic, &[(0, 1), (1, 0)]);
        show(&format!("all {version}"), &wire.call(version, &request));
    }
    let mut small = fetch(&topic, &[(0, 0), (1, 0)]);
    small.max_bytes = 1;
    show("one byte", &wire.call(11, &small));
    let mut small = fetch(&topic, &[(0, 1)]);
    small.topics[0].partitions[0].partition_max_bytes = 1;
    show("one byte of a partition", &wire.call(11, &small));
    show("beyond", &wire.call(11, &fetch(&topic, &[(0, 4), (1, 1)])));
    show("below", &wire.call(11, &fetch(&topic, &[(0, -1)])));
    show("no such partition", &wire.call(11, &fetch(&topic, &[(7, 0)])));
    show("no such topic", &wire.call(11, &fetch("no-such-topic", &[(0, 0)])));
    let mut epoch = fetch(&topic, &[(0, 0)]);
    epoch.topics[0].partitions[0].current_leader_epoch = 5;
    show("epoch", &wire.call(11, &epoch));
    let mut session = fetch(&topic, &[(0, 0)]);
    (session.session_id, session.session_epoch) = (77, 3);
    show("session", &wire.call(11, &session));
    // By id, as clients do since version 13.
    let metadata = MetadataRequest::default().with_topics(Some(vec![
        metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text(&topic)))),
    ]));
    let id = wire.call(12, &metadata).topics[0].topic_id;
    for version in [13, 15, 16] {
        let mut request = fetch(&topic, &[(1, 2)]);
        request.topics[0].topic_id = id;
        show(&format!("id {version}"), &wire.call(version, &request));
    }
    let mut request = fetch(&topic, &[(1, 2)]);
    request.topics[0].topic_id = "00000000-0000-0000-0000-00000000002a".parse().unwrap();
    show("no such id", &wire.call(13, &request));
    // A wait that nothing ends but its time.
    let began = SystemClock::start();
    let mut request = fetch(&topic, &[(0, 3)]);
    request.max_wait_ms = 400;
    show("end", &wire.call(11, &request));
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&began.now()), "{:?}", began.now());
    // More than there is is waited for, and what there is comes then.
    let began = SystemClock::start();
    let mut request = fetch(&topic, &[(0, 0)]);
    (request.max_wait_ms, request.min_bytes) = (300, 100_000);
    show("much", &wire.call(11, &request));
    assert!(began.now() >= Duration::from_millis(300));
    seen
}

pub(crate) fn a_fetch_session_tells_what_changes(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("session", 2, &[]);
    arm.fill(&topic, 0, &["a"]);
    let mut wire = Wire::connect(arm);
    let mut seen = Vec::new();
    let mut show = |name: &str, answer: &FetchResponse| {
        let partitions = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|one| format!("{} {} {}", one.partition_index, one.error_code, one.high_watermark));
        let partitions: Vec<String> = partitions.collect();
        let kept = answer.session_id != 0;
        seen.push(format!("{name}: {} kept {kept} {:?} {partitions:?}", answer.error_code, offsets(answer)));
        answer.session_id
    };
    let within = |session: i32, epoch: i32, partitions: &[(i32, i64)], forgotten: &[i32]| {
        let mut request = fetch(&topic, partitions);
        (request.session_id, request.session_epoch) = (session, epoch);
        if partitions.is_empty() {
            request.topics.clear();
        }
        if !forgotten.is_empty() {
            let topic = fetch_request::ForgottenTopic::default()
                .with_topic(TopicName(text(&topic)))
                .with_partitions(forgotten.to_vec());
            request.forgotten_topics_data = vec![topic];
        }
        request
    };
    let session = show("begins", &wire.call(11, &within(0, 0, &[(0, 0), (1, 0)], &[])));
    show("again", &wire.call(11, &within(session, 1, &[], &[])));
    show("read", &wire.call(11, &within(session, 2, &[(0, 1)], &[])));
    arm.fill(&topic, 1, &["b"]);
    show("other", &wire.call(11, &within(session, 3, &[], &[])));
    arm.fill(&topic, 0, &["c"]);
    show("both", &wire.call(11, &within(session, 4, &[], &[])));
    show("back", &wire.call(11, &within(session, 5, &[(0, 0), (1, 0)], &[])));
    show("forgotten", &wire.call(11, &within(session, 6, &[(1, 1)], &[0])));
    show("beyond", &wire.call(11, &within(session, 7, &[(1, 9)], &[])));
    show("still beyond", &wire.call(11, &within(session, 8, &[], &[])));
    show("mended", &wire.call(11, &within(session, 9, &[(1, 1)], &[])));
    show("wrong epoch", &wire.call(11, &within(session, 12, &[], &[])));
    show("not wrong", &wire.call(11, &within(session, 10, &[(0, 2)], &[])));
    show("by id", &wire.call(13, &within(session, 11, &[], &[])));
    // Another connection may go on with it.
    let mut other = Wire::connect(arm);
    show("by another", &other.call(12, &within(session, 11, &[(0, 1)], &[1])));
    show("ends", &other.call(12, &within(session, -1, &[(0, 0)], &[])));
    show("ended", &wire.call(11, &within(session, 12, &[], &[])));
    let session = show("begins anew", &wire.call(12, &within(0, 0, &[(0, 2)], &[])));
    show("has no more", &wire.call(12, &within(session, 1, &[], &[0])));
    show("is no more", &wire.call(12, &within(session, 2, &[], &[])));
    show("of nothing", &wire.call(12, &within(0, 0, &[], &[])));
    seen
}

pub(crate) fn requests_in_a_row_are_answered_in_order(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("row", 1, &[]);
    arm.fill(&topic, 0, &["a"]);
    let mut wire = Wire::connect(arm);
    // The second waits at the broker; those behind it wait for its answer.
    let mut waiting = fetch(&topic, &[(0, 1)]);
    waiting.max_wait_ms = 300;
    wire.send(11, &fetch(&topic, &[(0, 0)]));
    wire.send(11, &waiting);
    wire.send(11, &fetch(&topic, &[(0, 0)]));
    wire.send(4, &MetadataRequest::default().with_topics(Some(Vec::new())));
    let seen = (0..3).map(|_| format!("{:?}", offsets(&wire.receive::<FetchRequest>(11)))).collect();
    assert_eq!(wire.receive::<MetadataRequest>(4).brokers.len(), 1);
    seen
}

pub(crate) fn group_members_are_held_to_their_generation(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("member", 1, &[]);
    let group = unique("group");
    let id = || GroupId(text(&group));
    let mut wire = Wire::connect(arm);
    wire.find_coordinator(&group, 0);
    let mut seen = Vec::new();
    let protocol =
        |name: &str| JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(b"m"));
    let join = |member: &str, protocols: &[&str]| {
        JoinGroupRequest::default()
            .with_group_id(id())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_member_id(text(member))
            .with_protocol_type(text("consumer"))
            .with_protocols(protocols.iter().map(|name| protocol(name)).collect())
    };
    let error = |answer: &JoinGroupResponse| answer.error_code;
    seen.push(format!("unknown {}", wire.call_ready(5, &join("stranger", &["p"]), error).error_code));
    let first = wire.call_ready(5, &join("", &["p"]), error);
    seen.push(format!("new {} {}", first.error_code, first.generation_id));
    let member = first.member_id.to_string();
    assert!(member.starts_with("by-hand-"), "{member}");
    seen.push(format!("session {}", wire.call(5, &join("", &["p"]).with_session_timeout_ms(10)).error_code));
    seen.push(format!("nothing {}", wire.call(5, &join("", &[])).error_code));
    let joined = wire.call(5, &join(&member, &["p", "q"]));
    let led = joined.leader == joined.member_id;
    let protocol_name = joined.protocol_name.as_deref().map(str::to_owned);
    seen.push(format!("joined {} {} {protocol_name:?} {led}", joined.error_code, joined.generation_id));
    let beat = |generation, member: &str| {
        HeartbeatRequest::default().with_group_id(id()).with_generation_id(generation).with_member_id(text(member))
    };
    let commit = |generation, member: &str, topic: &str| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(3);
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(id())
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(text(member))
            .with_topics(vec![topic])
    };
    let committed = |answer: OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
    seen.push(format!("early heartbeat {}", wire.call(3, &beat(1, &member)).error_code));
    seen.push(format!("early commit {}", committed(wire.call(7, &commit(1, &member, &topic)))));
    let sync = |generation, member: &str| {
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from_static(b"share"));
        SyncGroupRequest::default()
            .with_group_id(id())
            .with_generation_id(generation)
            .with_member_id(text(member))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("p")))
            .with_assignments(vec![assignment])
    };
    seen.push(format!("sync of another generation {}", wire.call(5, &sync(9, &member)).error_code));
    seen.push(format!("sync of a stranger {}", wire.call(5, &sync(1, "stranger")).error_code));
    let other = sync(1, &member).with_protocol_name(Some(text("q")));
    seen.push(format!("sync of another protocol {}", wire.call(5, &other).error_code));
    let synced = wire.call(5, &sync(1, &member));
    seen.push(format!("sync {} {:?} {:?}", synced.error_code, synced.assignment, synced.protocol_name));
    for (generation, who) in [(1, member.as_str()), (2, &member), (1, "stranger")] {
        let name = if who == member { "member" } else { who };
        seen.push(format!("heartbeat {generation} {name} {}", wire.call(3, &beat(generation, who)).error_code));
        let code = committed(wire.call(7, &commit(generation, who, &topic)));
        seen.push(format!("commit {generation} {name} {code}"));
    }
    seen.push(format!("commit of nobody {}", committed(wire.call(7, &commit(-1, "", &topic)))));
    seen.push(format!("commit elsewhere {}", committed(wire.call(7, &commit(1, &member, "no-such-topic")))));
    let inconsistent = wire.call(3, &join("", &["z"])).error_code;
    seen.push(format!("inconsistent {inconsistent}"));
    let leave = |member: &str| {
        let one = leave_group_request::MemberIdentity::default().with_member_id(text(member));
        LeaveGroupRequest::default().with_group_id(id()).with_members(vec![one])
    };
    for who in ["stranger", &member, &member] {
        let answer = wire.call(3, &leave(who));
        seen.push(format!("leave {} {}", answer.error_code, answer.members[0].error_code));
    }
    seen.push(format!("gone {}", wire.call(3, &beat(1, &member)).error_code));
    let empty = HeartbeatRequest::default().with_member_id(text("x"));
    seen.push(format!("no group {}", wire.call(3, &empty).error_code));
    seen
}

pub(crate) fn transactions_are_held_to_their_rules(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("rules", 1, &[]);
    arm.fill(&topic, 0, &["first"]);
    let id = unique("id");
    let mut wire = Wire::connect(arm);
    let producer = wire.new_producer(Some(&id));
    let mut seen = Vec::new();
    let add = |producer: (i64, i16), topics: &[&str]| {
        let topic =
            |name: &&str| AddPartitionsToTxnTopic::default().with_name(TopicName(text(name))).with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(&id)))
            .with_v3_and_below_producer_id(ProducerId(producer.0))
            .with_v3_and_below_producer_epoch(producer.1)
            .with_v3_and_below_topics(topics.iter().map(topic).collect())
    };
    let added = |answer: &AddPartitionsToTxnResponse| -> Vec<i16> {
        let topics = answer.results_by_topic_v3_and_below.iter();
        let mut all: Vec<(String, i16)> =
            topics.map(|topic| (topic.name.to_string(), topic.results_by_partition[0].partition_error_code)).collect();
        all.sort();
        all.into_iter().map(|(_, error)| error).collect()
    };
    let end = |producer: (i64, i16), committed| {
        EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&id)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_committed(committed)
    };
    let ended = |answer: &EndTxnResponse| answer.error_code;
    seen.push(format!("end of nothing {}", wire.call_ready(3, &end(producer, true), ended).error_code));
    let missing = wire.call(3, &add(producer, &["no-such-topic", &topic]));
    seen.push(format!("add what is missing {:?}", added(&missing)));
    seen.push(format!("add with another id {:?}", added(&wire.call(3, &add((producer.0 + 1_000, 0), &[&topic])))));
    let epoch = (producer.0, producer.1 + 1);
    seen.push(format!("add with another epoch {:?}", added(&wire.call(3, &add(epoch, &[&topic])))));
    seen.push(format!("add with another epoch in version 1 {:?}", added(&wire.call(1, &add(epoch, &[&topic])))));
    let answer = wire.call_ready(3, &add(producer, &[&topic]), |answer| added(answer)[0]);
    seen.push(format!("add {:?}", added(&answer)));
    seen.push(format!("produce {:?}", wire.produce(&topic, Some(&id), batch(producer, 0, 2, true))));
    seen.push(format!("end with another epoch {}", wire.call(3, &end(epoch, true)).error_code));
    seen.push(format!("commit {}", wire.call_ready(3, &end(producer, true), ended).error_code));
    seen.push(format!("commit again {}", wire.call_ready(3, &end(producer, true), ended).error_code));
    seen.push(format!("abort what is committed {}", wire.call_ready(3, &end(producer, false), ended).error_code));
    // The same producer again raises the epoch.
    let again = wire.new_producer(Some(&id));
    seen.push(format!("again {} {}", again.0 == producer.0, again.1 - producer.1));
    seen.push(format!("the older ends {}", wire.call(3, &end(producer, true)).error_code));
    let answer = wire.call_ready(3, &add(again, &[&topic]), |answer| added(answer)[0]);
    seen.push(format!("add {:?}", added(&answer)));
    seen.push(format!("produce {:?}", wire.produce(&topic, Some(&id), batch(again, 0, 1, true))));
    seen.push(format!("abort {}", wire.call_ready(3, &end(again, false), ended).error_code));
    let mut committed = fetch(&topic, &[(0, 0)]);
    committed.isolation_level = 1;
    let answer = wait_for(&mut wire, &committed, 6);
    let partition = &answer.responses[0].partitions[0];
    let aborted: Vec<i64> = partition.aborted_transactions.iter().flatten().map(|one| one.first_offset).collect();
    seen.push(format!("{:?} {} {aborted:?}", offsets(&answer), partition.last_stable_offset));
    seen
}

/// Fetches until the partition's stable part ends at `stable`.
fn wait_for(wire: &mut Wire, request: &FetchRequest, stable: i64) -> FetchResponse {
    let clock = SystemClock::start();
    loop {
        let answer = wire.call(11, request);
        if answer.responses[0].partitions[0].last_stable_offset == stable {
            return answer;
        }
        assert!(clock.now() < WAIT, "{answer:?}");
    }
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(sum & 1));
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

pub(crate) fn corrupt_batches_are_refused(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("corrupt", 1, &[]);
    arm.fill(&topic, 0, &["first"]);
    let mut wire = Wire::connect(arm);
    let good = batch((-1, -1), -1, 1, false);
    let mut seen = Vec::new();
    let mut bent = good.to_vec();
    *bent.last_mut().unwrap() ^= 1;
    seen.push(format!("checksum {:?}", wire.produce(&topic, None, bent.into())));
    let mut old = good.to_vec();
    old[16] = 1;
    seen.push(format!("old format {:?}", wire.produce(&topic, None, old.into())));
    seen.push(format!("cut {:?}", wire.produce(&topic, None, good.slice(..good.len() - 3))));
    seen.push(format!("cut in the header {:?}", wire.produce(&topic, None, good.slice(..40))));
    let mut short = good.to_vec();
    short[11] -= 1;
    seen.push(format!("short {:?}", wire.produce(&topic, None, short.into())));
    let mut count = good.to_vec();
    count[60] = 2;
    let checksum = crc32c(&count[21..]);
    count[17..21].copy_from_slice(&checksum.to_be_bytes());
    seen.push(format!("count {:?}", wire.produce(&topic, None, count.into())));
    let mut control = good.to_vec();
    control[22] |= 1 << 5;
    let checksum = crc32c(&control[21..]);
    control[17..21].copy_from_slice(&checksum.to_be_bytes());
    seen.push(format!("control {:?}", wire.produce(&topic, None, control.into())));
    let mut codec = good.to_vec();
    codec[22] |= 1;
    let checksum = crc32c(&codec[21..]);
    codec[17..21].copy_from_slice(&checksum.to_be_bytes());
    seen.push(format!("not compressed {:?}", wire.produce(&topic, None, codec.into())));
    let twice = [&good[..], &good[..]].concat();
    seen.push(format!("two batches {:?}", wire.produce(&topic, None, twice.into())));
    let second = [&good[..], &good[..good.len() - 3]].concat();
    seen.push(format!("one and a half {:?}", wire.produce(&topic, None, second.into())));
    seen.push(format!("nothing {:?}", wire.produce(&topic, None, Bytes::new())));
    seen.push(format!("good {:?}", wire.produce(&topic, None, good.clone())));
    seen.push(format!("no such topic {:?}", wire.produce("no-such-topic-here", None, good)));
    seen
}
