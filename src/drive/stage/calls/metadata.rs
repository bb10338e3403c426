//! `Metadata`, `DescribeCluster`, `FindCoordinator`: one broker, which leads and coordinates all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, TopicName,
};

use super::text;
use crate::drive::stage::broker::{Broker, NODE};
use crate::drive::stage::topics::{Topic, check_name};
use crate::drive::stage::wire::{Request, WireError};

/// The cluster that a stage says it is.
const CLUSTER: &str = "rehearsal-stage";

/// All that may be done with a topic, as bits by the number of the operation.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// All that may be done with the cluster.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Kinds of what is coordinated: groups and transactions.
const COORDINATED: [i8; 2] = [0, 1];

/// Answers `Metadata`; makes topics that are asked for and not there, where the settings and the client say so.
pub(super) fn metadata(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: MetadataRequest = request.decode()?;
    let create = broker.settings.auto_create && (request.version < 4 || asked.allow_auto_topic_creation);
    let operations = asked.include_topic_authorized_operations;
    let every = match &asked.topics {
        None => true,
        Some(topics) => topics.is_empty() && request.version == 0,
    };
    let topics = if every {
        broker.topics.all().iter().map(|topic| described(topic, operations)).collect()
    } else {
        let topics = asked.topics.unwrap_or_default();
        // Whoever names one a thousand times is told of it once.
        let mut told = BTreeSet::new();
        let named = topics.iter().filter(|topic| told.insert((topic.name.as_deref(), topic.topic_id)));
        named.map(|topic| one(broker, topic, create, operations)).collect()
    };
    let node = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(text(&broker.host))
        .with_port(i32::from(broker.port));
    let answer = MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(text(CLUSTER)))
        .with_controller_id(BrokerId(NODE))
        .with_topics(topics);
    let cluster_operations = asked.include_cluster_authorized_operations && (8..=10).contains(&request.version);
    request.answer(&if cluster_operations {
        answer.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        answer
    })
}

fn one(broker: &Broker, asked: &MetadataRequestTopic, create: bool, operations: bool) -> MetadataResponseTopic {
    let refused = |error: ResponseError| {
        MetadataResponseTopic::default()
            .with_name(asked.name.clone())
            .with_topic_id(asked.topic_id)
            .with_error_code(error.code())
    };
    // Whoever asks by an id may leave the name out, or empty.
    let name = asked.name.as_ref().filter(|_| asked.topic_id.is_nil());
    let Some(name) = name else {
        let topic = broker.topics.with_id(asked.topic_id);
        let missing = || refused(ResponseError::UnknownTopicId).with_name(None);
        return topic.map_or_else(missing, |topic| described(&topic, operations));
    };
    let made = || {
        check_name(name)?;
        if !create {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        match broker.make_topic(name, broker.settings.partitions_default, BTreeMap::new()) {
            // Another client was faster.
            Err(ResponseError::TopicAlreadyExists) => {
                broker.topics.named(name).ok_or(ResponseError::UnknownTopicOrPartition)
            }
            made => made,
        }
    };
    let topic: Result<Arc<Topic>, _> = broker.topics.named(name).map_or_else(made, Ok);
    topic.map_or_else(refused, |topic| described(&topic, operations))
}

fn described(topic: &Topic, operations: bool) -> MetadataResponseTopic {
    let nodes = vec![BrokerId(NODE)];
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE))
            .with_leader_epoch(0)
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes.clone())
    };
    let described = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id)
        .with_partitions((0..topic.count()).map(partition).collect());
    if operations { described.with_topic_authorized_operations(TOPIC_OPERATIONS) } else { described }
}

pub(super) fn cluster(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DescribeClusterRequest = request.decode()?;
    let node = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE))
        .with_host(text(&broker.host))
        .with_port(i32::from(broker.port));
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(text(CLUSTER))
        .with_controller_id(BrokerId(NODE))
        .with_brokers(vec![node]);
    // Controllers of their own there are none.
    if request.version >= 1 && asked.endpoint_type != 1 {
        let refused = DescribeClusterResponse::default().with_error_code(ResponseError::MismatchedEndpointType.code());
        return request.answer(&refused.with_endpoint_type(1));
    }
    request.answer(&if asked.include_cluster_authorized_operations {
        answer.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        answer
    })
}

pub(super) fn coordinator(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: FindCoordinatorRequest = request.decode()?;
    let known = COORDINATED.contains(&asked.key_type);
    let error = if known { 0 } else { ResponseError::InvalidRequest.code() };
    let (node, host, port) =
        if known { (BrokerId(NODE), text(&broker.host), i32::from(broker.port)) } else { (BrokerId(-1), text(""), -1) };
    if request.version < 4 {
        let answer = FindCoordinatorResponse::default().with_error_code(error);
        return request.answer(&answer.with_node_id(node).with_host(host).with_port(port));
    }
    let one = |key: &kafka_protocol::protocol::StrBytes| {
        Coordinator::default()
            .with_key(key.clone())
            .with_error_code(error)
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
    };
    request
        .answer(&FindCoordinatorResponse::default().with_coordinators(asked.coordinator_keys.iter().map(one).collect()))
}
