//! `ListOffsets`, `OffsetForLeaderEpoch`, `DeleteRecords`.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use super::code_of;
use crate::drive::stage::broker::Broker;
use crate::drive::stage::log::{Log, LogError};
use crate::drive::stage::wire::{Request, WireError};

/// Timestamps that stand for a place in the log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIME: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING: i64 = -6;

/// The epoch of the one leader there has been.
const EPOCH: i32 = 0;

/// First version of `ListOffsets` that tells it.
const EPOCH_FROM: i16 = 4;

pub(super) fn list(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: ListOffsetsRequest = request.decode()?;
    let committed = asked.isolation_level == 1;
    let topic = |topic: &kafka_protocol::messages::list_offsets_request::ListOffsetsTopic| {
        let one = |partition: &ListOffsetsPartition| {
            let found = match broker.refused(request, &topic.name, partition.partition_index) {
                Some(error) => Err(error),
                None => find(broker, &topic.name, partition, committed),
            };
            let answer = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code_of(&found));
            match found {
                Ok(Some((offset, timestamp))) => {
                    // Older versions have no place for the epoch.
                    let epoch = if request.version >= EPOCH_FROM { EPOCH } else { -1 };
                    answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                Ok(None) | Err(_) => answer.with_offset(-1).with_timestamp(-1).with_leader_epoch(-1),
            }
        };
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(one).collect())
    };
    request.answer(&ListOffsetsResponse::default().with_topics(asked.topics.iter().map(topic).collect()))
}

/// Finds the offset that is asked for, with the timestamp of the event there where the search was by time.
fn find(
    broker: &Broker,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<Option<(i64, i64)>, ResponseError> {
    let (_, partition) = broker.partition(topic, asked.partition_index)?;
    if asked.current_leader_epoch > EPOCH {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    let found = match asked.timestamp {
        LATEST => Ok(Some((partition.look(|log| log.upper(committed)), -1))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some((partition.look(Log::start), -1))),
        LARGEST_TIME => partition.at_largest_time(committed),
        // Nothing is kept elsewhere.
        LATEST_TIERED | EARLIEST_PENDING => Ok(None),
        timestamp => partition.at_time(timestamp, committed),
    };
    found.map_err(|error| broker.told(&error))
}

pub(super) fn for_leader_epoch(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: OffsetForLeaderEpochRequest = request.decode()?;
    let topic = |topic: &kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic| {
        let one = |asked: &kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition| {
            let end = broker.partition(&topic.topic, asked.partition).and_then(|(_, partition)| {
                if asked.current_leader_epoch > EPOCH {
                    return Err(ResponseError::UnknownLeaderEpoch);
                }
                Ok((asked.leader_epoch == EPOCH).then(|| partition.look(Log::high_watermark)))
            });
            let answer = EpochEndOffset::default().with_partition(asked.partition).with_error_code(code_of(&end));
            match end {
                Ok(Some(end)) => answer.with_leader_epoch(EPOCH).with_end_offset(end),
                Ok(None) | Err(_) => answer.with_leader_epoch(-1).with_end_offset(-1),
            }
        };
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(topic.partitions.iter().map(one).collect())
    };
    request.answer(&OffsetForLeaderEpochResponse::default().with_topics(asked.topics.iter().map(topic).collect()))
}

pub(super) fn delete_records(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DeleteRecordsRequest = request.decode()?;
    let topic = |topic: &kafka_protocol::messages::delete_records_request::DeleteRecordsTopic| {
        let one = |asked: &kafka_protocol::messages::delete_records_request::DeleteRecordsPartition| {
            let low = broker.partition(&topic.name, asked.partition_index).and_then(|(_, partition)| {
                let deleted = partition.change(|log| match log {
                    Log::Written(log) => log.delete_before(asked.offset),
                    Log::Planned(_) => Err(LogError::Planned),
                });
                deleted.map_err(|error| broker.told(&error))
            });
            DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code_of(&low))
                .with_low_watermark(low.unwrap_or(-1))
        };
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(one).collect())
    };
    request.answer(&DeleteRecordsResponse::default().with_topics(asked.topics.iter().map(topic).collect()))
}
