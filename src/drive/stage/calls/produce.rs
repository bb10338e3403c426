//! `Produce`.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::text;
use crate::drive::stage::batch::{Batch, BatchError, Produced};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::codec::Codec;
use crate::drive::stage::log::{Appended, Log, LogError};
use crate::drive::stage::partition::Partition;
use crate::drive::stage::topics::Topic;
use crate::drive::stage::transactions::Producer;
use crate::drive::stage::wire::{Request, WireError};

/// First version in which a client may compress with zstd.
const ZSTD_FROM: i16 = 7;

/// Why a batch is not taken, in Kafka's error and words.
struct Refusal {
    error: ResponseError,
    reason: String,
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self { error, reason: error.to_string() }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Checksum => ResponseError::CorruptMessage,
            BatchError::Truncated | BatchError::Format(_) | BatchError::Records => ResponseError::InvalidRecord,
            BatchError::Codec => ResponseError::UnknownServerError,
        };
        Self { error: code, reason: error.to_string() }
    }
}

/// Answers `Produce`: nothing at all where the client asked for no acknowledgement. Such a client learns of a refusal by the end of
/// its connection.
pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Vec<Bytes>, WireError> {
    let asked: ProduceRequest = request.decode()?;
    let topics: Vec<TopicProduceResponse> =
        asked.topic_data.iter().map(|topic| one_topic(broker, request, &asked, topic)).collect();
    if asked.acks == 0 {
        let mut all = topics.iter().flat_map(|topic| &topic.partition_responses);
        return if all.any(|partition| partition.error_code != 0) { Err(WireError::Refused) } else { Ok(Vec::new()) };
    }
    Ok(vec![request.answer(&ProduceResponse::default().with_responses(topics))?])
}

fn one_topic(
    broker: &Broker,
    request: &Request,
    asked: &ProduceRequest,
    data: &TopicProduceData,
) -> TopicProduceResponse {
    let version = request.version;
    let topic = if version >= 13 {
        broker.topics.with_id(data.topic_id).ok_or(ResponseError::UnknownTopicId)
    } else {
        broker.topics.named(&data.name).ok_or(ResponseError::UnknownTopicOrPartition)
    };
    let one = |data: &PartitionProduceData| {
        let taken = topic.as_ref().map_err(|error| Refusal::from(*error)).and_then(|topic| {
            let partition = topic.partition(data.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
            if let Some(error) = broker.refused(request, &topic.name, data.index) {
                note_refused(&partition, data.records.clone());
                return Err(error.into());
            }
            take(broker, version, asked, topic, &partition, data.records.clone()).map(|done| (done, partition))
        });
        let answer = PartitionProduceResponse::default().with_index(data.index);
        match taken {
            Ok((done, partition)) => answer
                .with_base_offset(done.base_offset)
                .with_log_append_time_ms(done.append_time)
                .with_log_start_offset(partition.look(Log::start)),
            Err(refusal) => answer
                .with_error_code(refusal.error.code())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
                .with_error_message(Some(text(&refusal.reason))),
        }
    };
    TopicProduceResponse::default()
        .with_name(data.name.clone())
        .with_topic_id(data.topic_id)
        .with_partition_responses(data.partition_data.iter().map(one).collect())
}

/// Has the partition wait for a batch that a fault refuses. Kafka does so for batches of transactions (KIP-890), and needs it for others
/// less: a partition of its refuses for longer than a client's next batch is on its way.
fn note_refused(partition: &Partition, records: Option<Bytes>) {
    let Ok(batch) = Batch::split_from(&mut records.unwrap_or_default()) else { return };
    partition.change(|log| {
        if let Log::Written(log) = log {
            log.note_refused(&batch);
        }
    });
}

/// Takes the one batch that a client may send a partition at once.
fn take(
    broker: &Broker,
    version: i16,
    asked: &ProduceRequest,
    topic: &Arc<Topic>,
    partition: &Partition,
    records: Option<Bytes>,
) -> Result<Appended, Refusal> {
    if !(-1..=1).contains(&asked.acks) {
        return Err(ResponseError::InvalidRequiredAcks.into());
    }
    let mut bytes = records.unwrap_or_default();
    if bytes.len() > topic.batch_bytes_max().unwrap_or(broker.settings.batch_bytes_max) {
        return Err(ResponseError::MessageTooLarge.into());
    }
    let batch = Batch::split_from(&mut bytes)?;
    // A second batch is refused; part of one is nothing, as on Kafka.
    if !matches!(Batch::split_from(&mut bytes), Err(BatchError::Truncated)) {
        return Err(BatchError::Records.into());
    }
    if Codec::of(batch.header.attributes) == Some(Codec::Zstd) && version < ZSTD_FROM {
        return Err(ResponseError::UnsupportedCompressionType.into());
    }
    let checked = batch.check_produced()?;
    if checked.keyless && topic.is_compacted() {
        let reason = "compacted topic cannot accept message without key".to_owned();
        return Err(Refusal { error: ResponseError::InvalidRecord, reason });
    }
    check_timestamps(topic, &batch, &checked, broker.date_ms())?;
    let append_time = topic.is_append_time().then(|| broker.date_ms());
    let append = || {
        partition.change(|log| match log {
            Log::Written(log) => log.produce(&batch, append_time, broker.now_us()),
            Log::Planned(_) => Err(LogError::Planned),
        })
    };
    let done = if batch.header.is_transactional() {
        let producer = Producer { id: batch.header.producer_id, epoch: batch.header.producer_epoch };
        let id = asked.transactional_id.as_ref().ok_or(ResponseError::InvalidTxnState)?;
        // Groups and transactions stay locked until the batch stands, so that no marker can overtake it.
        broker.control(|control, _| {
            let spot = (topic.name.clone(), partition.index);
            control.transactions.check_partition(id, producer, &spot).map(|()| append())
        })?
    } else {
        append()
    };
    done.map_err(|error| Refusal { error: broker.told(&error), reason: error.to_string() })
}

/// Checks timestamps as Kafka does: those of producers lie within the topic's bounds around `date_ms`, and none of them says that a
/// log has stamped it.
fn check_timestamps(topic: &Topic, batch: &Batch, produced: &Produced, date_ms: i64) -> Result<(), Refusal> {
    let refused = |reason: String| Err(Refusal { error: ResponseError::InvalidTimestamp, reason });
    match produced.timestamps {
        Some((smallest, largest)) if !topic.is_append_time() => {
            let (before, after) = topic.timestamp_bounds();
            let out = [smallest, largest].into_iter().find(|timestamp| {
                date_ms.saturating_sub(*timestamp) > before || timestamp.saturating_sub(date_ms) > after
            });
            match out {
                None => Ok(()),
                Some(timestamp) => refused(format!(
                    "timestamp {timestamp} is out of range: it should lie within {before} ms ahead of {date_ms} and {after} ms \
                     behind it"
                )),
            }
        }
        _ if batch.header.is_append_time() => {
            refused("a producer cannot set the timestamp type to LogAppendTime".to_owned())
        }
        _ => Ok(()),
    }
}
