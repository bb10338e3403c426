//! Members of groups, spoken by hand: what a broker holds them to.

use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;

use rehearsal::clock::{Clock, SystemClock};

use super::wire::{Wire, text};
use super::{Arm, WAIT, unique};

/// One member's connection to one group.
struct Talker {
    wire: Wire,
    group: String,
    member: String,
    instance: Option<&'static str>,
    generation: i32,
}

impl Talker {
    fn new(arm: &Arm, group: &str, instance: Option<&'static str>) -> Self {
        let mut wire = Wire::connect(arm);
        wire.find_coordinator(group, 0);
        Self { wire, group: group.to_owned(), member: String::new(), instance, generation: -1 }
    }

    /// A request to join with protocols and what is said by each.
    fn join(&self, protocols: &[(&str, &'static str)]) -> JoinGroupRequest {
        let protocol = |(name, said): &(&str, &'static str)| {
            JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(said.as_bytes()))
        };
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_member_id(text(&self.member))
            .with_group_instance_id(self.instance.map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(protocols.iter().map(protocol).collect())
    }

    fn send_join(&mut self, protocols: &[(&str, &'static str)]) {
        self.wire.send(9, &self.join(protocols));
    }

    fn joined(&mut self) -> JoinGroupResponse {
        let answer = self.wire.receive::<JoinGroupRequest>(9);
        if answer.error_code == 0 || answer.error_code == 79 {
            self.member = answer.member_id.to_string();
            self.generation = answer.generation_id;
        }
        answer
    }

    /// Joins, with the id that it is told first where it is new.
    fn enter(&mut self, protocols: &[(&str, &'static str)]) -> JoinGroupResponse {
        let answer = self.wire.call_ready(9, &self.join(protocols), |answer| answer.error_code);
        if answer.error_code == 79 {
            self.member = answer.member_id.to_string();
            self.send_join(protocols);
            return self.joined();
        }
        self.member = answer.member_id.to_string();
        self.generation = answer.generation_id;
        answer
    }

    fn sync(&mut self, shares: &[(&str, &'static str)]) -> SyncGroupResponse {
        let share = |(member, share): &(&str, &'static str)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::from_static(share.as_bytes()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member))
            .with_group_instance_id(self.instance.map(text))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("p")))
            .with_assignments(shares.iter().map(share).collect());
        self.wire.call(5, &request)
    }

    fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member))
            .with_group_instance_id(self.instance.map(text));
        self.wire.call(4, &request).error_code
    }

    fn described(&mut self) -> DescribedGroup {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(&self.group))]);
        let clock = SystemClock::start();
        loop {
            let group = self.wire.call(5, &request).groups.remove(0);
            // Kafka shows a group once its log has it, which may be some moments later.
            if group.group_state.as_str() != "Dead" {
                return group;
            }
            assert!(clock.now() < WAIT, "the group does not come up");
            std::thread::yield_now();
        }
    }
}

/// What a group shows: its state, its protocol, and for each member how much is told of it.
fn shown(group: &DescribedGroup) -> String {
    let members = group.members.iter();
    let mut sizes: Vec<_> = members.map(|one| (one.member_metadata.len(), one.member_assignment.len())).collect();
    sizes.sort_unstable();
    format!("{} {:?} {sizes:?}", group.group_state.as_str(), group.protocol_data.as_str())
}

pub(crate) fn a_static_member_that_comes_back_changes_nothing_for_the_others(arm: &Arm) -> Vec<String> {
    let group = unique("static");
    let mut first = Talker::new(arm, &group, Some("a"));
    let mut second = Talker::new(arm, &group, Some("b"));
    let mut seen = Vec::new();
    first.enter(&[("p", "one")]);
    let own = first.member.clone();
    first.sync(&[(&own, "all")]);
    // The second comes: both share.
    second.send_join(&[("p", "two")]);
    while first.beat() == 0 {
        std::thread::yield_now();
    }
    first.send_join(&[("p", "one")]);
    let led = first.joined();
    seen.push(format!("{} {} {}", second.joined().error_code, second.generation, led.members.len()));
    let (one, two) = (first.member.clone(), second.member.clone());
    assert!(one.starts_with("a-") && two.starts_with("b-"), "{one} {two}");
    first.sync(&[(&one, "mine"), (&two, "yours")]);
    seen.push(format!("{:?}", second.sync(&[]).assignment));
    // Each is killed and comes back, and says something else of itself than before.
    for (old, name, instance) in [(&one, "leader", "a"), (&two, "follower", "b")] {
        let mut back = Talker::new(arm, &group, Some(instance));
        let answer = back.enter(&[("p", "came back")]);
        let (skips, listed) = (answer.skip_assignment, answer.members.len());
        seen.push(format!("{name} {} {} {skips} {listed}", answer.error_code, answer.generation_id));
        seen.push(format!("led by itself {} another id {}", answer.leader == answer.member_id, back.member != *old));
        seen.push(format!("{:?} {}", back.sync(&[]).assignment, back.beat()));
    }
    seen.push(format!("the ones before {} {}", first.beat(), second.beat()));
    seen
}

pub(crate) fn a_member_that_changes_what_it_can_do_is_held_to_the_others(arm: &Arm) -> Vec<String> {
    let group = unique("changes");
    let mut alone = Talker::new(arm, &group, None);
    let mut seen = Vec::new();
    alone.enter(&[("p", "one")]);
    let own = alone.member.clone();
    alone.sync(&[(&own, "all")]);
    for protocols in [&[("q", "one")][..], &[("q", "one"), ("p", "one")], &[("q", "one")], &[("p", "one")]] {
        alone.send_join(protocols);
        let answer = alone.joined();
        seen.push(format!("{} {} {:?}", answer.error_code, answer.generation_id, answer.protocol_name));
    }
    seen
}

pub(crate) fn a_group_that_shares_anew_shows_the_shares_it_had(arm: &Arm) -> Vec<String> {
    let group = unique("shown");
    let mut first = Talker::new(arm, &group, None);
    let mut second = Talker::new(arm, &group, None);
    first.enter(&[("p", "one")]);
    let mut seen = vec![shown(&first.described())];
    let own = first.member.clone();
    first.sync(&[(&own, "share")]);
    seen.push(shown(&first.described()));
    second.send_join(&[("p", "three")]);
    second.joined();
    second.send_join(&[("p", "three")]);
    while first.beat() == 0 {
        std::thread::yield_now();
    }
    seen.push(shown(&first.described()));
    seen
}

pub(crate) fn offsets_of_a_group_that_nobody_knows_are_refused_by_version(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("nobody", 1, &[]);
    arm.fill(&topic, 0, &["a"]);
    let mut wire = Wire::connect(arm);
    let group = unique("nobody");
    wire.find_coordinator(&group, 0);
    let mut seen = Vec::new();
    for version in [5, 8, 9] {
        for generation in [3, -1] {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(1);
            let one = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(TopicName(text(&topic)))
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(text(&format!("{group}-{version}{generation}"))))
                .with_generation_id_or_member_epoch(generation)
                .with_member_id(text(if generation < 0 { "" } else { "somebody" }))
                .with_topics(vec![one]);
            let error = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
            let answer = wire.call_ready(version, &request, error);
            seen.push(format!("{version} {generation} {}", error(&answer)));
        }
    }
    seen
}
