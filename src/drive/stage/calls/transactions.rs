//! `InitProducerId`, `AddPartitionsToTxn`, `AddOffsetsToTxn`, `EndTxn`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};

use super::{code, code_of};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::transactions::{Init, Producer};
use crate::drive::stage::wire::{Request, WireError};

/// Clients of older versions know no error of their own for a producer that was fenced.
fn known(error: ResponseError, version: i16, since: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < since => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

pub(super) fn init(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: InitProducerIdRequest = request.decode()?;
    let known_producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let init = Init {
        transactional_id: asked.transactional_id.as_ref().map(|id| id.as_str()),
        timeout: Duration::from_millis(u64::try_from(asked.transaction_timeout_ms).unwrap_or(0)),
        known: (known_producer.id >= 0).then_some(known_producer),
    };
    let given = broker.control(|control, _| {
        let (producer, ending) = control.transactions.init(&init)?;
        if let Some(ending) = ending {
            broker.end_transaction(control, ending)?;
        }
        Ok(producer)
    });
    let answer = InitProducerIdResponse::default();
    request.answer(&match given {
        Ok(producer) => {
            answer.with_error_code(0).with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch)
        }
        Err(error) => answer
            .with_error_code(known(error, request.version, 4).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    })
}

pub(super) fn add_partitions(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: AddPartitionsToTxnRequest = request.decode()?;
    let producer = Producer { id: asked.v3_and_below_producer_id.0, epoch: asked.v3_and_below_producer_epoch };
    let topics = &asked.v3_and_below_topics;
    let all =
        || topics.iter().flat_map(|topic| topic.partitions.iter().map(move |index| (topic.name.as_str(), *index)));
    let missing = |topic: &str, index: i32| broker.partition(topic, index).is_err();
    let some_missing = all().any(|(topic, index)| missing(topic, index));
    let error = if some_missing {
        // All or none: those that are there are told that nothing was tried.
        Some(ResponseError::OperationNotAttempted)
    } else {
        let spots = all().map(|(topic, index)| (topic.to_owned(), index)).collect::<Vec<_>>();
        let id = &asked.v3_and_below_transactional_id;
        let added = broker.control(|control, now| control.transactions.add_partitions(id, producer, spots, now));
        added.err().map(|error| known(error, request.version, 2))
    };
    let topic = |topic: &kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic| {
        let one = |index: &i32| {
            let error = if missing(&topic.name, *index) { Some(ResponseError::UnknownTopicOrPartition) } else { error };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(error))
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(one).collect())
    };
    let results = topics.iter().map(topic).collect();
    request.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results))
}

pub(super) fn add_group(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: AddOffsetsToTxnRequest = request.decode()?;
    let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let added = broker.control(|control, now| {
        control.transactions.add_group(&asked.transactional_id, producer, &asked.group_id, now)
    });
    let added = added.map_err(|error| known(error, request.version, 2));
    request.answer(&AddOffsetsToTxnResponse::default().with_error_code(code_of(&added)))
}

pub(super) fn end(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: EndTxnRequest = request.decode()?;
    let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let ended = broker.control(|control, _| {
        if let Some(ending) = control.transactions.end(&asked.transactional_id, producer, asked.committed)? {
            broker.end_transaction(control, ending)?;
        }
        Ok(())
    });
    let ended = ended.map_err(|error| known(error, request.version, 2));
    request.answer(&EndTxnResponse::default().with_error_code(code_of(&ended)))
}
