//! Calls that a coordinator answers while it loads its groups and transactions: with that error, but for two that Kafka answers
//! otherwise, since clients know no way on from it there. Whoever waits for its share is asked to join again, as the rebalance is
//! forgotten; a sign of life is taken as it is.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey,
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, EndTxnResponse, GroupId, HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProducerId,
    SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse, consumer_group_describe_response,
    offset_commit_request, offset_fetch_request, txn_offset_commit_request,
};

use super::text;
use crate::drive::stage::wire::{Request, WireError};

/// What nearly all of them say.
const LOADING: ResponseError = ResponseError::CoordinatorLoadInProgress;

/// First version of `OffsetFetch` whose answer has an error of its own.
const OFFSETS_ERROR_FROM: i16 = 2;

/// First version of `OffsetFetch` in which several groups are asked for at once.
const OFFSETS_GROUPS_FROM: i16 = 8;

/// Refuses a request of a call that coordinators answer; none where it is of another call, or cannot be decoded, so that it meets
/// what it would have met otherwise.
pub(in crate::drive::stage) fn answer(request: &Request) -> Option<Bytes> {
    refuse(request)?.ok()
}

fn refuse(request: &Request) -> Option<Result<Bytes, WireError>> {
    let answered = match ApiKey::try_from(request.key).ok()? {
        ApiKey::JoinGroup => request.answer(
            &JoinGroupResponse::default()
                .with_error_code(LOADING.code())
                .with_generation_id(-1)
                .with_protocol_name(if request.version >= 7 { None } else { Some(text("")) }),
        ),
        ApiKey::SyncGroup => {
            let again = ResponseError::RebalanceInProgress.code();
            request.answer(&SyncGroupResponse::default().with_error_code(again))
        }
        ApiKey::Heartbeat => request.answer(&HeartbeatResponse::default()),
        ApiKey::LeaveGroup => request.answer(&LeaveGroupResponse::default().with_error_code(LOADING.code())),
        ApiKey::DescribeGroups => described(request),
        ApiKey::ConsumerGroupHeartbeat => {
            request.answer(&ConsumerGroupHeartbeatResponse::default().with_error_code(LOADING.code()))
        }
        ApiKey::ConsumerGroupDescribe => consumers_described(request),
        ApiKey::OffsetCommit => committed(request),
        ApiKey::OffsetFetch => offsets(request),
        ApiKey::TxnOffsetCommit => committed_in_transaction(request),
        ApiKey::InitProducerId => request.answer(
            &InitProducerIdResponse::default()
                .with_error_code(LOADING.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        ),
        ApiKey::AddPartitionsToTxn => added(request),
        ApiKey::AddOffsetsToTxn => request.answer(&AddOffsetsToTxnResponse::default().with_error_code(LOADING.code())),
        ApiKey::EndTxn => request.answer(&EndTxnResponse::default().with_error_code(LOADING.code())),
        _ => return None,
    };
    Some(answered)
}

fn consumers_described(request: &Request) -> Result<Bytes, WireError> {
    let asked: ConsumerGroupDescribeRequest = request.decode()?;
    let group = |id: &GroupId| {
        consumer_group_describe_response::DescribedGroup::default()
            .with_group_id(id.clone())
            .with_error_code(LOADING.code())
    };
    request.answer(&ConsumerGroupDescribeResponse::default().with_groups(asked.group_ids.iter().map(group).collect()))
}

fn described(request: &Request) -> Result<Bytes, WireError> {
    let asked: DescribeGroupsRequest = request.decode()?;
    let group = |id: &GroupId| DescribedGroup::default().with_group_id(id.clone()).with_error_code(LOADING.code());
    request.answer(&DescribeGroupsResponse::default().with_groups(asked.groups.iter().map(group).collect()))
}

fn committed(request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetCommitRequest = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let one = |asked: &offset_commit_request::OffsetCommitRequestPartition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(LOADING.code())
        };
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(one).collect())
    });
    request.answer(&OffsetCommitResponse::default().with_topics(topics.collect()))
}

fn committed_in_transaction(request: &Request) -> Result<Bytes, WireError> {
    let asked: TxnOffsetCommitRequest = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let one = |asked: &txn_offset_commit_request::TxnOffsetCommitRequestPartition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(LOADING.code())
        };
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(one).collect())
    });
    request.answer(&TxnOffsetCommitResponse::default().with_topics(topics.collect()))
}

fn offsets(request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetFetchRequest = request.decode()?;
    let answer = OffsetFetchResponse::default();
    if request.version >= OFFSETS_GROUPS_FROM {
        let group = |group: &offset_fetch_request::OffsetFetchRequestGroup| {
            OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone()).with_error_code(LOADING.code())
        };
        return request.answer(&answer.with_groups(asked.groups.iter().map(group).collect()));
    }
    if request.version >= OFFSETS_ERROR_FROM {
        return request.answer(&answer.with_error_code(LOADING.code()));
    }
    let topics = asked.topics.iter().flatten().map(|topic| {
        let one = |index: &i32| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_committed_offset(-1)
                .with_metadata(Some(text("")))
                .with_error_code(LOADING.code())
        };
        OffsetFetchResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partition_indexes.iter().map(one).collect())
    });
    request.answer(&answer.with_topics(topics.collect()))
}

fn added(request: &Request) -> Result<Bytes, WireError> {
    let asked: AddPartitionsToTxnRequest = request.decode()?;
    let topics = asked.v3_and_below_topics.iter().map(|topic| {
        let one = |index: &i32| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(LOADING.code())
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(one).collect())
    });
    request.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect()))
}
