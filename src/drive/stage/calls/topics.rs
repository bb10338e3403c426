//! `CreateTopics`, `DeleteTopics`, `CreatePartitions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, TopicName,
};
use uuid::Uuid;

use super::{configs, text};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::topics::{PARTITIONS_MAX, Topic, check_name};
use crate::drive::stage::wire::{Request, WireError};

pub(super) fn create(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: CreateTopicsRequest = request.decode()?;
    let mut named: BTreeMap<&str, u32> = BTreeMap::new();
    asked.topics.iter().for_each(|topic| *named.entry(&topic.name).or_default() += 1);
    let twice = |name: &TopicName| named.get(name.as_str()).is_some_and(|count| *count > 1);
    let one = |topic: &CreatableTopic| {
        let made = if twice(&topic.name) {
            Err((ResponseError::InvalidRequest, "the topic stands in the request twice".to_owned()))
        } else {
            create_one(broker, topic, asked.validate_only).map_err(|error| (error, refusal(broker, error, topic)))
        };
        let answer = CreatableTopicResult::default().with_name(topic.name.clone());
        match made {
            Ok((id, count, settings)) => {
                let shown = configs::all(&settings).into_iter().map(|one| {
                    CreatableTopicConfigs::default()
                        .with_name(text(one.name))
                        .with_value(Some(text(&one.value)))
                        .with_config_source(one.source)
                });
                answer
                    .with_topic_id(id)
                    .with_num_partitions(count)
                    .with_replication_factor(topic.replication_factor.max(1))
                    .with_configs(Some(shown.collect()))
            }
            Err((error, reason)) => answer.with_error_code(error.code()).with_error_message(Some(text(&reason))),
        }
    };
    request.answer(&CreateTopicsResponse::default().with_topics(asked.topics.iter().map(one).collect()))
}

fn refusal(broker: &Broker, error: ResponseError, topic: &CreatableTopic) -> String {
    match error {
        ResponseError::InvalidReplicationFactor => {
            let most = broker.settings.replication_max;
            format!("replication factor {} is not from 1 to {most}", topic.replication_factor)
        }
        ResponseError::InvalidPartitions => format!("{} partitions cannot be made", topic.num_partitions),
        ResponseError::TopicAlreadyExists => format!("Topic '{}' already exists.", topic.name.as_str()),
        other => other.to_string(),
    }
}

fn create_one(
    broker: &Broker,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(Uuid, i32, BTreeMap<String, String>), ResponseError> {
    check_name(&topic.name)?;
    if broker.topics.named(&topic.name).is_some() {
        return Err(ResponseError::TopicAlreadyExists);
    }
    let count = partitions_of(broker, topic)?;
    let mut settings = BTreeMap::new();
    for one in &topic.configs {
        let value = one.value.as_ref().ok_or(ResponseError::InvalidConfig)?;
        configs::check(&one.name, value)?;
        settings.insert(one.name.to_string(), value.to_string());
    }
    if validate_only {
        return Ok((Uuid::nil(), count, settings));
    }
    let made = broker.make_topic(&topic.name, count, settings.clone())?;
    Ok((made.id, count, settings))
}

/// Number of partitions that are asked for, by number or by the brokers they shall be on.
fn partitions_of(broker: &Broker, topic: &CreatableTopic) -> Result<i32, ResponseError> {
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return Err(ResponseError::InvalidRequest);
        }
        let mut indexes: Vec<i32> = topic.assignments.iter().map(|one| one.partition_index).collect();
        indexes.sort_unstable();
        let numbered = indexes.iter().copied().eq(0..indexes.len() as i32);
        let here = topic.assignments.iter().all(|one| one.broker_ids.len() == 1 && one.broker_ids[0].0 == 1);
        return if numbered && here { Ok(indexes.len() as i32) } else { Err(ResponseError::InvalidReplicaAssignment) };
    }
    if !(1..=broker.settings.replication_max).contains(&topic.replication_factor) && topic.replication_factor != -1 {
        return Err(ResponseError::InvalidReplicationFactor);
    }
    match topic.num_partitions {
        -1 => Ok(broker.settings.partitions_default),
        count if (1..=PARTITIONS_MAX).contains(&count) => Ok(count),
        _ => Err(ResponseError::InvalidPartitions),
    }
}

pub(super) fn delete(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DeleteTopicsRequest = request.decode()?;
    let mut wanted: Vec<(Option<TopicName>, Uuid)> =
        asked.topic_names.iter().map(|name| (Some(name.clone()), Uuid::nil())).collect();
    wanted.extend(asked.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)));
    let one = |(name, id): (Option<TopicName>, Uuid)| {
        let found = match &name {
            Some(name) => broker.topics.named(name).ok_or(ResponseError::UnknownTopicOrPartition),
            None => broker.topics.with_id(id).ok_or(ResponseError::UnknownTopicId),
        };
        let answer = DeletableTopicResult::default().with_name(name).with_topic_id(id);
        match found.and_then(|topic| changeable(&topic).map(|()| topic)) {
            Ok(topic) => {
                broker.topics.delete(&topic);
                broker.control(|control, _| control.groups.forget_topic(&topic.name));
                answer.with_name(Some(TopicName(text(&topic.name)))).with_topic_id(topic.id)
            }
            Err(error) => answer.with_error_code(error.code()).with_error_message(Some(text(&error.to_string()))),
        }
    };
    request.answer(&DeleteTopicsResponse::default().with_responses(wanted.into_iter().map(one).collect()))
}

/// The plan's topics stay as they are.
fn changeable(topic: &Topic) -> Result<(), ResponseError> {
    if topic.planned { Err(ResponseError::PolicyViolation) } else { Ok(()) }
}

pub(super) fn grow(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: CreatePartitionsRequest = request.decode()?;
    let one = |wanted: &CreatePartitionsTopic| {
        let grown = grow_one(broker, wanted, asked.validate_only);
        CreatePartitionsTopicResult::default()
            .with_name(wanted.name.clone())
            .with_error_code(super::code_of(&grown))
            .with_error_message(grown.err().map(|error| text(&error.to_string())))
    };
    request.answer(&CreatePartitionsResponse::default().with_results(asked.topics.iter().map(one).collect()))
}

fn grow_one(broker: &Broker, wanted: &CreatePartitionsTopic, validate_only: bool) -> Result<(), ResponseError> {
    let topic: Arc<Topic> = broker.topics.named(&wanted.name).ok_or(ResponseError::UnknownTopicOrPartition)?;
    changeable(&topic)?;
    if wanted.count <= topic.count() || wanted.count > PARTITIONS_MAX {
        return Err(ResponseError::InvalidPartitions);
    }
    if let Some(assignments) = &wanted.assignments {
        let here = assignments.iter().all(|one| one.broker_ids.len() == 1 && one.broker_ids[0].0 == 1);
        if !here || assignments.len() as i32 != wanted.count - topic.count() {
            return Err(ResponseError::InvalidReplicaAssignment);
        }
    }
    if !validate_only {
        topic.grow(wanted.count, |index| broker.written(index));
    }
    Ok(())
}
