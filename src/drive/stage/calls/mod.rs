//! One call of Kafka's protocol after the other: requests in, answers out.

mod commits;
mod configs;
mod consumers;
mod fetch;
mod fetched;
mod groups;
mod loading;
mod metadata;
mod offsets;
mod operators;
mod produce;
mod refused;
mod topics;
mod transactions;
mod versions;

pub(super) use loading::answer as loading;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use super::broker::Broker;
use super::wire::{Api, Request, WireError};

/// Answers one request: the parts of the answer, none of them where the client wants none.
///
/// # Errors
///
/// Where the connection is to be closed, as Kafka closes it.
pub(super) fn answer(broker: &Broker, request: &Request, peer: &str) -> Result<Vec<Bytes>, WireError> {
    let unserved = WireError::Unserved { key: request.key, version: request.version };
    let Some(api) = Api::of(request.key) else {
        broker.note_unserved(request);
        return refused::answer(request).map(|answer| vec![answer]);
    };
    if api.key == ApiKey::ApiVersions {
        return versions::answer(request).map(|answer| vec![answer]);
    }
    if !api.serves(request.version) {
        broker.note_unserved(request);
        return Err(unserved);
    }
    let one = match api.key {
        ApiKey::Produce => return produce::answer(broker, request),
        ApiKey::Fetch => return fetch::answer(broker, request),
        ApiKey::ListOffsets => offsets::list(broker, request),
        ApiKey::OffsetForLeaderEpoch => offsets::for_leader_epoch(broker, request),
        ApiKey::DeleteRecords => offsets::delete_records(broker, request),
        ApiKey::Metadata => metadata::metadata(broker, request),
        ApiKey::DescribeCluster => metadata::cluster(broker, request),
        ApiKey::FindCoordinator => metadata::coordinator(broker, request),
        ApiKey::CreateTopics => topics::create(broker, request),
        ApiKey::DeleteTopics => topics::delete(broker, request),
        ApiKey::CreatePartitions => topics::grow(broker, request),
        ApiKey::DescribeConfigs => configs::describe(broker, request),
        ApiKey::IncrementalAlterConfigs => configs::alter(broker, request),
        ApiKey::JoinGroup => groups::join(broker, request, peer),
        ApiKey::SyncGroup => groups::sync(broker, request),
        ApiKey::Heartbeat => groups::heartbeat(broker, request),
        ApiKey::LeaveGroup => groups::leave(broker, request),
        ApiKey::ConsumerGroupHeartbeat => consumers::heartbeat(broker, request, peer),
        ApiKey::ConsumerGroupDescribe => consumers::describe(broker, request),
        ApiKey::DescribeGroups => operators::describe(broker, request),
        ApiKey::ListGroups => operators::list(broker, request),
        ApiKey::DeleteGroups => operators::delete(broker, request),
        ApiKey::OffsetDelete => operators::delete_offsets(broker, request),
        ApiKey::OffsetCommit => commits::commit(broker, request),
        ApiKey::OffsetFetch => commits::fetch(broker, request),
        ApiKey::TxnOffsetCommit => commits::commit_in_transaction(broker, request),
        ApiKey::InitProducerId => transactions::init(broker, request),
        ApiKey::AddPartitionsToTxn => transactions::add_partitions(broker, request),
        ApiKey::AddOffsetsToTxn => transactions::add_group(broker, request),
        ApiKey::EndTxn => transactions::end(broker, request),
        _ => Err(unserved),
    };
    one.map(|answer| vec![answer])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

fn code_of<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}
