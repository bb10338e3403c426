//! `OffsetCommit`, `OffsetFetch`, `TxnOffsetCommit`.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::groups::identity;
use super::{code, text};
use crate::drive::stage::broker::{Broker, Control};
use crate::drive::stage::groups::{Committed, Group, Identity};
use crate::drive::stage::log::Log;
use crate::drive::stage::transactions::Producer;
use crate::drive::stage::wire::{Request, WireError};

/// First version in which several groups are asked for at once.
const GROUPS_FROM: i16 = 8;

/// First version whose clients know that a group is not there, and what epochs members have.
const GROUP_MISSING_FROM: i16 = 9;

pub(super) fn commit(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetCommitRequest = request.decode()?;
    let identity = identity(&asked.member_id, asked.group_instance_id.as_ref());
    let generation = asked.generation_id_or_member_epoch;
    let topics = broker.control(|control, now| {
        let unknown = control.groups.group(&asked.group_id).is_none();
        let mut group = control.groups.committing(&asked.group_id, &identity, generation, false, now);
        if unknown && request.version >= GROUP_MISSING_FROM {
            group = group.map_err(|_| ResponseError::GroupIdNotFound);
        }
        if request.version < GROUP_MISSING_FROM && !identity.member.is_empty() {
            let told = |group: &Group| {
                if group.consumers().is_some() { Err(ResponseError::UnsupportedVersion) } else { Ok(()) }
            };
            group = group.and_then(|group| told(group).map(|()| group));
        }
        let topic = |topic: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic| {
            let one = |asked: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition| {
                let committed = Committed {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
                };
                let index = asked.partition_index;
                let error = keep(broker, group.as_deref_mut(), &topic.name, index, committed, None);
                OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code(error))
            };
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(one).collect())
        };
        asked.topics.iter().map(topic).collect()
    });
    request.answer(&OffsetCommitResponse::default().with_topics(topics))
}

/// Commits one offset; returns why not.
fn keep(
    broker: &Broker,
    group: Result<&mut Group, &mut ResponseError>,
    topic: &str,
    index: i32,
    committed: Committed,
    producer: Option<i64>,
) -> Option<ResponseError> {
    let group = match group {
        Ok(group) => group,
        Err(error) => return Some(*error),
    };
    if let Err(error) = broker.partition(topic, index) {
        return Some(error);
    }
    group.commit(topic, index, committed, producer).err()
}

pub(super) fn commit_in_transaction(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: TxnOffsetCommitRequest = request.decode()?;
    let identity = identity(&asked.member_id, asked.group_instance_id.as_ref());
    let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let topics = broker.control(|control, now| {
        let Control { groups, transactions } = control;
        let spanned = transactions.check_group(&asked.transactional_id, producer, &asked.group_id);
        let mut group =
            spanned.and_then(|()| groups.committing(&asked.group_id, &identity, asked.generation_id, true, now));
        let topic = |topic: &kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic| {
            let one = |asked: &kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition| {
                let committed = Committed {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
                };
                let index = asked.partition_index;
                let error = keep(broker, group.as_deref_mut(), &topic.name, index, committed, Some(producer.id));
                TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code(error))
            };
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(one).collect())
        };
        asked.topics.iter().map(topic).collect()
    });
    request.answer(&TxnOffsetCommitResponse::default().with_topics(topics))
}

/// What is answered of one partition.
struct Found {
    topic: String,
    index: i32,
    committed: Committed,
    error: Option<ResponseError>,
}

/// What a group is asked for.
struct Sought<'r> {
    group: &'r str,
    /// Who asks, if it says so.
    member: Option<(Identity, i32)>,
    /// Topics and partitions; with none all that it has committed for.
    wanted: Option<Vec<(&'r str, &'r [i32])>>,
}

/// Answers `OffsetFetch`.
///
/// Where a group has committed nothing for a planned partition, the answer is the partition's first position: so a group that the
/// stage has not seen starts at the beginning, whatever `auto.offset.reset` says, and `latest` skips nothing.
pub(super) fn fetch(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetFetchRequest = request.decode()?;
    if request.version < GROUPS_FROM {
        let topics = asked.topics.iter().flatten();
        let wanted = topics.map(|topic| (topic.name.as_str(), &topic.partition_indexes[..])).collect();
        let sought = Sought { group: &asked.group_id, member: None, wanted: asked.topics.is_some().then_some(wanted) };
        let (_, topics) = found_in(broker, &sought, asked.require_stable);
        return request.answer(&OffsetFetchResponse::default().with_topics(topics.into_iter().map(alone).collect()));
    }
    let group = |group: &OffsetFetchRequestGroup| {
        let topics = group.topics.iter().flatten();
        let wanted = topics.map(|topic| (topic.name.as_str(), &topic.partition_indexes[..])).collect();
        let member = group.member_id.as_ref().filter(|id| !id.is_empty() || group.member_epoch >= 0);
        let sought = Sought {
            group: &group.group_id,
            member: member.map(|id| (identity(id, None), group.member_epoch)),
            wanted: group.topics.is_some().then_some(wanted),
        };
        let (error, topics) = found_in(broker, &sought, asked.require_stable);
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id.clone())
            .with_error_code(code(error))
            .with_topics(topics)
    };
    request.answer(&OffsetFetchResponse::default().with_groups(asked.groups.iter().map(group).collect()))
}

/// What a group has committed, topic by topic, or why it is not told.
fn found_in(
    broker: &Broker,
    sought: &Sought<'_>,
    stable: bool,
) -> (Option<ResponseError>, Vec<OffsetFetchResponseTopics>) {
    let may_ask = broker.control(|control, _| {
        let consumers = control.groups.group(sought.group).and_then(Group::consumers);
        consumers.zip(sought.member.as_ref()).map_or(Ok(()), |(consumers, (who, epoch))| consumers.check(who, *epoch))
    });
    if let Err(error) = may_ask {
        return (Some(error), Vec::new());
    }
    let found = find(broker, sought.group, sought.wanted.as_deref(), stable);
    let one = |found: &Found| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(found.index)
            .with_committed_offset(found.committed.offset)
            .with_committed_leader_epoch(found.committed.leader_epoch)
            .with_metadata(Some(text(&found.committed.metadata)))
            .with_error_code(code(found.error))
    };
    let topic = |found: &[Found]| {
        OffsetFetchResponseTopics::default()
            .with_name(TopicName(text(&found[0].topic)))
            .with_partitions(found.iter().map(one).collect())
    };
    (None, found.chunk_by(|one, other| one.topic == other.topic).map(topic).collect())
}

/// A topic as the versions tell it that ask for one group alone.
fn alone(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let one = |one: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(one.partition_index)
            .with_committed_offset(one.committed_offset)
            .with_committed_leader_epoch(one.committed_leader_epoch)
            .with_metadata(one.metadata)
            .with_error_code(one.error_code)
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(one).collect())
}

/// Finds what a group has committed: for the partitions wanted, or with none for all that it has committed for.
fn find(broker: &Broker, group: &str, wanted: Option<&[(&str, &[i32])]>, stable: bool) -> Vec<Found> {
    broker.control(|control, _| {
        let group = control.groups.group(group);
        let Some(wanted) = wanted else {
            let all = group.into_iter().flat_map(Group::all_committed);
            let found = |(topic, index, committed): (&str, i32, &Committed)| {
                found(broker, group, topic, index, Some(committed.clone()), stable)
            };
            return all.map(found).collect();
        };
        let each = wanted.iter().flat_map(|(topic, indexes)| indexes.iter().map(move |index| (*topic, *index)));
        let found = |(topic, index): (&str, i32)| {
            let committed = group.and_then(|group| group.committed(topic, index)).cloned();
            found(broker, group, topic, index, committed, stable)
        };
        each.map(found).collect()
    })
}

fn found(
    broker: &Broker,
    group: Option<&Group>,
    topic: &str,
    index: i32,
    committed: Option<Committed>,
    stable: bool,
) -> Found {
    let nothing = || Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
    let open = stable && group.is_some_and(|group| group.is_held_back(topic, index));
    let committed =
        if open { nothing() } else { committed.unwrap_or_else(|| first(broker, topic, index).unwrap_or_else(nothing)) };
    let error = open.then_some(ResponseError::UnstableOffsetCommit);
    Found { topic: topic.to_owned(), index, committed, error }
}

/// The first position of a planned partition.
fn first(broker: &Broker, topic: &str, index: i32) -> Option<Committed> {
    let (topic, partition) = broker.partition(topic, index).ok()?;
    let offset = partition.look(Log::start);
    topic.planned.then(|| Committed { offset, leader_epoch: -1, metadata: String::new() })
}
