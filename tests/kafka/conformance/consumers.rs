//! Groups of the consumers' own protocol (KIP-848): spoken by hand, and by librdkafka.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::*;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rehearsal::clock::{Clock, SystemClock};
use uuid::Uuid;

use super::wire::{Wire, text};
use super::{Arm, WAIT, poll_until, take, unique, values};

/// One member, as a client of Kafka is one.
struct Beater {
    wire: Wire,
    group: String,
    topic: String,
    id: Uuid,
    member: String,
    instance: Option<&'static str>,
    epoch: i32,
    owned: BTreeSet<i32>,
}

impl Beater {
    fn new(arm: &Arm, group: &str, topic: &str, instance: Option<&'static str>) -> Self {
        let mut wire = Wire::connect(arm);
        wire.find_coordinator(group, 0);
        let named = metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let asked = MetadataRequest::default().with_topics(Some(vec![named]));
        // 3: the broker has not heard of it yet.
        let clock = SystemClock::start();
        let id = loop {
            let found = wire.call(12, &asked).topics.remove(0);
            if found.error_code == 0 {
                break found.topic_id;
            }
            assert!(clock.now() < WAIT, "error {}", found.error_code);
        };
        let member = unique("member");
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Self { wire, group, topic, id, member, instance, epoch: 0, owned: BTreeSet::new() }
    }

    /// What it has, told in full as clients do when they join or have missed an answer.
    fn full(&self) -> ConsumerGroupHeartbeatRequest {
        self.short()
            .with_rebalance_timeout_ms(20_000)
            .with_subscribed_topic_names(Some(vec![TopicName(text(&self.topic))]))
            .with_topic_partitions(Some(self.owned_topics()))
    }

    /// That it lives, and nothing else.
    fn short(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_member_id(text(&self.member))
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance.map(text))
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    fn owned_topics(&self) -> Vec<TopicPartitions> {
        let owned = TopicPartitions::default().with_topic_id(self.id);
        let owned = owned.with_partitions(self.owned.iter().copied().collect());
        if self.owned.is_empty() { Vec::new() } else { vec![owned] }
    }

    fn call(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let answer = self.wire.call_ready(1, request, |answer| answer.error_code);
        if answer.error_code == 0 {
            self.epoch = answer.member_epoch;
            if let Some(assignment) = &answer.assignment {
                self.owned = assignment.topic_partitions.iter().flat_map(|one| one.partitions.clone()).collect();
            }
        }
        answer
    }

    /// Joins and beats until it has so many partitions.
    fn join(&mut self, count: usize) {
        let full = self.full();
        assert_eq!(self.call(&full).error_code, 0);
        self.beat_until(count);
    }

    fn beat_until(&mut self, count: usize) {
        let clock = SystemClock::start();
        while self.owned.len() != count {
            assert!(clock.now() < WAIT, "{} of {count}", self.owned.len());
            let beat = self.short().with_topic_partitions(Some(self.owned_topics()));
            assert_eq!(self.call(&beat).error_code, 0);
            std::thread::yield_now();
        }
    }

    /// The error of a request that differs from the one that would be taken.
    fn refused(&mut self, change: impl Fn(ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest) -> i16 {
        let request = change(self.short());
        self.wire.call_ready(1, &request, |answer| answer.error_code).error_code
    }

    fn leave(&mut self, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        let request = self.short().with_member_epoch(epoch);
        self.wire.call_ready(1, &request, |answer| answer.error_code)
    }

    /// The group: state, assignor, whether its assignment is the newest, and the sizes of what each has and is to have.
    fn described(&mut self) -> String {
        let asked = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(&self.group))]);
        let group = self.wire.call(1, &asked).groups.remove(0);
        let count = |share: &consumer_group_describe_response::Assignment| {
            share.topic_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>()
        };
        let members = group.members.iter();
        let mut sizes: Vec<_> = members.map(|one| (count(&one.assignment), count(&one.target_assignment))).collect();
        sizes.sort_unstable();
        let newest = group.group_epoch == group.assignment_epoch;
        format!("{} {} {} {newest} {sizes:?}", group.error_code, group.group_state, group.assignor_name)
    }

    fn commit(&mut self, version: i16, member: &str, epoch: i32) -> i16 {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(&self.topic)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        self.wire.call(version, &request).topics[0].partitions[0].error_code
    }

    /// Asks for what is committed: the error of the group, and the offset.
    fn committed(&mut self, member: Option<&str>, epoch: i32) -> String {
        let topic =
            OffsetFetchRequestTopics::default().with_name(TopicName(text(&self.topic))).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let found = self.wire.call(9, &OffsetFetchRequest::default().with_groups(vec![group])).groups.remove(0);
        let offsets: Vec<i64> =
            found.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.committed_offset).collect();
        format!("{} {offsets:?}", found.error_code)
    }
}

/// The error of an answer, how far its epoch is from `epoch`, and how many partitions it gives, if it says.
fn shown(answer: &ConsumerGroupHeartbeatResponse, epoch: i32) -> String {
    let parts = |share: &consumer_group_heartbeat_response::Assignment| {
        share.topic_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>()
    };
    let step = answer.member_epoch - epoch;
    format!("{} {step} {:?}", answer.error_code, answer.assignment.as_ref().map(parts))
}

pub(crate) fn a_consumer_gives_up_what_another_is_to_have(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("beats", 4, &[]);
    let group = unique("beats");
    let mut one = Beater::new(arm, &group, &topic, None);
    let mut two = Beater::new(arm, &group, &topic, None);
    one.join(4);
    let mut seen = vec![one.described()];
    let epoch = one.epoch;
    let full = two.full();
    seen.push(shown(&two.call(&full), epoch));
    seen.push(one.described());
    let mut step = |beater: &mut Beater, owned: bool| {
        let beat = beater.short();
        let beat = if owned { beat.with_topic_partitions(Some(beater.owned_topics())) } else { beat };
        seen.push(shown(&beater.call(&beat), epoch));
    };
    step(&mut two, false);
    // The first is told to give two up, and stays in its epoch until it says that it has.
    step(&mut one, false);
    step(&mut one, false);
    step(&mut two, false);
    step(&mut one, true);
    step(&mut two, false);
    step(&mut two, true);
    assert!(one.owned.is_disjoint(&two.owned) && one.owned.len() + two.owned.len() == 4);
    seen.push(one.described());
    let full = one.full();
    seen.push(shown(&one.call(&full), epoch));
    seen.push(shown(&one.leave(-1), 0));
    seen.push(two.described());
    two.beat_until(4);
    seen.push(format!("{} {}", two.epoch - epoch, two.described()));
    seen.push(format!("{} {}", shown(&two.leave(-1), 0), two.described()));
    seen
}

pub(crate) fn consumers_are_held_to_their_epochs(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("epochs", 2, &[]);
    let group = unique("epochs");
    let mut one = Beater::new(arm, &group, &topic, None);
    let mut seen = Vec::new();
    seen.push(format!("nobody: {}", one.refused(|beat| beat.with_member_epoch(1))));
    seen.push(format!("described: {}", one.described()));
    one.join(2);
    let (member, epoch) = (one.member.clone(), one.epoch);
    seen.push(format!("not a member: {}", one.refused(|beat| beat.with_member_id(text("x")))));
    seen.push(format!("ahead: {}", one.refused(|beat| beat.with_member_epoch(epoch + 1))));
    seen.push(format!("behind: {}", one.refused(|beat| beat.with_member_epoch(epoch + 5))));
    seen.push(format!("no such epoch: {}", one.refused(|beat| beat.with_member_epoch(-3))));
    seen.push(format!("no id: {}", one.refused(|beat| beat.with_member_id(text("")))));
    seen.push(format!("no group: {}", one.refused(|beat| beat.with_group_id(GroupId(text(""))))));
    seen.push(format!("nameless: {}", one.refused(|beat| beat.with_instance_id(Some(text(""))))));
    seen.push(format!("not static: {}", one.refused(|beat| beat.with_member_epoch(-2))));
    seen.push(format!("assignor: {}", one.refused(|beat| beat.with_server_assignor(Some(text("sticky"))))));
    seen.push(format!("pattern: {}", one.refused(|beat| beat.with_subscribed_topic_regex(Some(text("("))))));
    let full = one.full().with_member_epoch(0);
    for (name, change) in [
        ("no time", full.clone().with_rebalance_timeout_ms(-1)),
        ("no topics", full.clone().with_subscribed_topic_names(None)),
        ("owns nothing", full.clone().with_topic_partitions(None)),
        ("owns something", full.with_topic_partitions(Some(one.owned_topics()))),
    ] {
        seen.push(format!("joins, {name}: {}", one.refused(|_| change.clone())));
    }
    for (name, version, member, epoch) in [
        ("right", 9, member.as_str(), epoch),
        ("behind", 9, member.as_str(), epoch - 1),
        ("ahead", 9, member.as_str(), epoch + 1),
        ("stranger", 9, "x", epoch),
        ("nobody", 9, "", -1),
        ("old", 8, member.as_str(), epoch),
    ] {
        seen.push(format!("commits, {name}: {}", one.commit(version, member, epoch)));
    }
    for (name, member, epoch) in [
        ("right", Some(member.as_str()), epoch),
        ("behind", Some(member.as_str()), epoch - 1),
        ("stranger", Some("x"), epoch),
        ("nobody", None, -1),
    ] {
        seen.push(format!("asks, {name}: {}", one.committed(member, epoch)));
    }
    seen.extend(by_the_classic_calls(&mut one));
    one.leave(-1);
    seen.push(format!("left: {}", one.commit(9, "", -1)));
    seen
}

/// What a group of consumers answers to those who take it for a classic one.
fn by_the_classic_calls(one: &mut Beater) -> Vec<String> {
    let group = || GroupId(text(&one.group));
    let wire = &mut one.wire;
    let beat =
        HeartbeatRequest::default().with_group_id(group()).with_member_id(text(&one.member)).with_generation_id(1);
    let mut seen = vec![format!("heartbeat: {}", wire.call(4, &beat).error_code == 0)];
    let stranger = HeartbeatRequest::default().with_group_id(group()).with_member_id(text("x")).with_generation_id(1);
    seen.push(format!("stranger's heartbeat: {}", wire.call(4, &stranger).error_code));
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("p"));
    let join = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("something"))
        .with_protocols(vec![protocol]);
    seen.push(format!("join: {}", wire.call(9, &join).error_code));
    let described = wire.call(6, &DescribeGroupsRequest::default().with_groups(vec![group()])).groups.remove(0);
    seen.push(format!("described: {} {}", described.error_code, described.group_state));
    let deleted = wire.call(2, &DeleteGroupsRequest::default().with_groups_names(vec![group()])).results.remove(0);
    seen.push(format!("deleted: {}", deleted.error_code));
    for kind in ["consumer", "classic"] {
        let listed = wire.call(5, &ListGroupsRequest::default().with_types_filter(vec![text(kind)])).groups;
        let own = listed.iter().find(|listed| listed.group_id == group());
        let own = own.map(|own| format!("{} {} {}", own.group_type, own.protocol_type, own.group_state));
        seen.push(format!("listed as {kind}: {own:?}"));
    }
    seen
}

pub(crate) fn a_static_consumer_comes_back_to_what_it_had(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("named", 4, &[]);
    let group = unique("named");
    let mut one = Beater::new(arm, &group, &topic, Some("a"));
    let mut two = Beater::new(arm, &group, &topic, Some("b"));
    one.join(4);
    let full = two.full();
    two.call(&full);
    one.beat_until(2);
    let owned = one.short().with_topic_partitions(Some(one.owned_topics()));
    one.call(&owned);
    two.beat_until(2);
    let epoch = two.epoch;
    let mut seen = vec![format!("{} {}", one.epoch == epoch, one.described())];
    let mut again = Beater::new(arm, &group, &topic, Some("a"));
    let full = again.full();
    seen.push(format!("while the other is there: {}", again.call(&full).error_code));
    seen.push(shown(&one.leave(-2), 0));
    seen.push(one.described());
    let beat = two.short();
    seen.push(shown(&two.call(&beat), epoch));
    let full = again.full();
    seen.push(shown(&again.call(&full), epoch));
    seen.push(format!("{} {}", again.owned == one.owned, again.described()));
    seen.push(format!("the one before: {}", one.refused(|beat| beat)));
    seen.push(format!("a stranger: {}", one.refused(|beat| beat.with_instance_id(Some(text("c"))))));
    seen.push(shown(&again.leave(-1), 0));
    two.beat_until(4);
    seen.push(two.described());
    seen
}

pub(crate) fn a_consumer_that_is_silent_is_put_out(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("silent", 4, &[]);
    let group = unique("silent");
    let mut one = Beater::new(arm, &group, &topic, None);
    let mut two = Beater::new(arm, &group, &topic, None);
    one.join(4);
    // The second beats, and the first does not hear of it: until its session ends it has all.
    let clock = SystemClock::start();
    two.join(4);
    assert!(clock.now().as_secs() >= 5, "after {:?}", clock.now());
    let mut seen = vec![two.described()];
    seen.push(format!("{} {}", one.refused(|beat| beat), one.commit(9, &one.member.clone(), one.epoch)));
    // It gives all up and begins anew.
    (one.epoch, one.owned) = (0, BTreeSet::new());
    let full = one.full();
    one.call(&full);
    two.beat_until(2);
    let owned = two.short().with_topic_partitions(Some(two.owned_topics()));
    two.call(&owned);
    one.beat_until(2);
    seen.push(one.described());
    seen
}

/// A member of librdkafka that speaks the consumers' own protocol.
pub(crate) fn consumer(arm: &Arm, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = arm.config();
    config
        .set("group.id", group)
        .set("group.protocol", "consumer")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

pub(crate) fn consumers_of_their_own_protocol_share_and_take_over(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("own", 4, &[]);
    let mut seen = Vec::new();
    for assignor in ["uniform", "range"] {
        let group = unique("own");
        let settings = [("group.remote.assignor", assignor)];
        let (first, second) = (consumer(arm, &group, &settings), consumer(arm, &group, &settings));
        let count = |member: &BaseConsumer| member.assignment().unwrap().count();
        // By its name, and by a pattern that its name fits.
        first.subscribe(&[&topic]).unwrap();
        poll_until(&[&first], || count(&first) == 4);
        second.subscribe(&[&format!("^{topic}$")]).unwrap();
        poll_until(&[&first, &second], || count(&first) == 2 && count(&second) == 2);
        let mut all: Vec<Vec<i32>> = Vec::new();
        for member in [&first, &second] {
            let mut own: Vec<i32> =
                member.assignment().unwrap().elements().iter().map(TopicPartitionListElem::partition).collect();
            own.sort_unstable();
            all.push(own);
        }
        all.sort();
        // By ranges they have neighbours; otherwise the first keeps any two.
        if assignor == "range" {
            seen.push(format!("{all:?}"));
        }
        let mut flat = all.concat();
        flat.sort_unstable();
        assert_eq!(flat, [0, 1, 2, 3]);
        drop(first);
        poll_until(&[&second], || count(&second) == 4);
        seen.push(assignor.to_owned());
    }
    seen
}

pub(crate) fn a_group_changes_its_protocol_while_nobody_is_in_it(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("changes", 1, &[]);
    let group = unique("changes");
    arm.fill(&topic, 0, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let mut seen = Vec::new();
    for protocol in ["classic", "consumer", "consumer", "classic"] {
        let member = if protocol == "classic" { arm.consumer(&group, &[]) } else { consumer(arm, &group, &[]) };
        member.subscribe(&[&topic]).unwrap();
        let events = take(&member, 2);
        member.commit_message(&events[1], CommitMode::Sync).unwrap();
        seen.push(format!("{protocol} {} {:?}", events[0].offset(), &values(&events)[..2]));
        drop(events);
        // It leaves, so that the next finds nobody.
        member.unsubscribe();
        drop(member);
    }
    assert_eq!(seen[3], "classic 6 [\"g\", \"h\"]");
    seen
}
