//! `ConsumerGroupHeartbeat`, `ConsumerGroupDescribe`: groups of the consumers' own protocol (KIP-848).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as Shown, DescribedGroup, Member, TopicPartitions as ShownTopic,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, GroupId, TopicName,
};
use uuid::Uuid;

use super::groups::identity;
use super::operators::GROUP_OPERATIONS;
use super::text;
use crate::drive::stage::broker::Broker;
use crate::drive::stage::groups::{Beat, Catalogue, Client, DescribedConsumer, Part};
use crate::drive::stage::wire::{Request, WireError};

/// First version in which clients name themselves.
const NAMES_ITSELF_FROM: i16 = 1;

/// Type of a member that beats, and does not join in the classic way.
const BEATS: i8 = 1;

pub(super) fn heartbeat(broker: &Broker, request: &Request, peer: &str) -> Result<Bytes, WireError> {
    let asked: ConsumerGroupHeartbeatRequest = request.decode()?;
    let said = |text: &Option<kafka_protocol::protocol::StrBytes>| text.as_ref().map(ToString::to_string);
    let owned = asked.topic_partitions.as_ref().map(|topics| {
        let parts = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|index| Part { topic: topic.topic_id, index: *index }));
        parts.collect::<BTreeSet<_>>()
    });
    let beat = Beat {
        identity: identity(&asked.member_id, asked.instance_id.as_ref()),
        epoch: asked.member_epoch,
        rack: said(&asked.rack_id),
        rebalance_timeout: u64::try_from(asked.rebalance_timeout_ms).ok().map(Duration::from_millis),
        names: asked.subscribed_topic_names.as_ref().map(|names| names.iter().map(|name| name.to_string()).collect()),
        regex: said(&asked.subscribed_topic_regex),
        assignor: said(&asked.server_assignor),
        owned,
        client: Client { id: request.client.clone(), host: format!("/{peer}") },
        names_itself: request.version >= NAMES_ITSELF_FROM,
    };
    let topics = broker.topics.all();
    let catalogue = Catalogue(topics.iter().map(|topic| (topic.name.clone(), (topic.id, topic.count()))).collect());
    let beaten = broker.control(|control, now| control.groups.beat(&asked.group_id, &beat, &catalogue, now));
    let answer = ConsumerGroupHeartbeatResponse::default();
    request.answer(&match beaten {
        Ok(beaten) => {
            let parts = |parts: BTreeSet<Part>| {
                let topic =
                    |(topic, partitions)| TopicPartitions::default().with_topic_id(topic).with_partitions(partitions);
                Assignment::default().with_topic_partitions(by_topic(&parts).into_iter().map(topic).collect())
            };
            answer
                .with_member_id(Some(text(&beaten.member)))
                .with_member_epoch(beaten.epoch)
                .with_heartbeat_interval_ms(i32::try_from(beaten.heartbeat.as_millis()).unwrap_or(i32::MAX))
                .with_assignment(beaten.assigned.map(parts))
        }
        Err(refused) => answer.with_error_code(refused.error.code()).with_error_message(Some(text(&refused.reason))),
    })
}

fn by_topic(parts: &BTreeSet<Part>) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for part in parts {
        topics.entry(part.topic).or_default().push(part.index);
    }
    topics
}

pub(super) fn describe(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: ConsumerGroupDescribeRequest = request.decode()?;
    let one = |id: &GroupId| {
        let found = broker.control(|control, _| {
            let group = control.groups.group(id).ok_or("not found")?;
            let consumers = group.consumers().ok_or("is not a consumer group")?;
            Ok(consumers.describe())
        });
        let answer = DescribedGroup::default().with_group_id(id.clone());
        let group = match found {
            Ok(group) => group,
            Err(what) => {
                let what: &str = what;
                let reason = format!("Group {} {what}.", id.as_str());
                return answer
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(text(&reason)));
            }
        };
        let answer = answer
            .with_group_state(text(group.state))
            .with_group_epoch(group.epoch)
            .with_assignment_epoch(group.target_epoch)
            .with_assignor_name(text(group.assignor))
            .with_members(group.members.iter().map(|member| shown(broker, request.version, member)).collect());
        if asked.include_authorized_operations { answer.with_authorized_operations(GROUP_OPERATIONS) } else { answer }
    };
    request.answer(&ConsumerGroupDescribeResponse::default().with_groups(asked.group_ids.iter().map(one).collect()))
}

fn shown(broker: &Broker, version: i16, member: &DescribedConsumer) -> Member {
    let share = |parts: &BTreeSet<Part>| {
        let topic = |(id, partitions)| {
            // One that was deleted has no name any more.
            let name = broker.topics.with_id(id)?.name.clone();
            let topic = ShownTopic::default().with_topic_id(id).with_topic_name(TopicName(text(&name)));
            Some(topic.with_partitions(partitions))
        };
        Shown::default().with_topic_partitions(by_topic(parts).into_iter().filter_map(topic).collect())
    };
    Member::default()
        .with_member_id(text(&member.identity.member))
        .with_instance_id(member.identity.instance.as_deref().map(text))
        .with_rack_id(member.rack.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.client.id))
        .with_client_host(text(&member.client.host))
        .with_subscribed_topic_names(member.names.iter().map(|name| TopicName(text(name))).collect())
        .with_subscribed_topic_regex(Some(text(&member.regex)))
        .with_assignment(share(&member.assigned))
        .with_target_assignment(share(&member.target))
        .with_member_type(if version >= 1 { BEATS } else { -1 })
}
