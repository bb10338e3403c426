//! `DescribeConfigs`, `IncrementalAlterConfigs`: settings of topics and of the broker, in Kafka's names.
//!
//! Settings of a topic are kept and shown. These change what the stage does: `message.timestamp.type`,
//! `message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`, `max.message.bytes`, and `cleanup.policy` (which makes keys
//! compulsory; compaction itself never runs).

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::{code_of, text};
use crate::drive::stage::broker::{Broker, NODE};
use crate::drive::stage::wire::{Request, WireError};

/// Kinds of what has settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
const SET: i8 = 1;
const DEFAULT: i8 = 5;

/// Types of values, as the protocol counts them.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

/// Settings of a topic: name, Kafka's default, type.
const OF_TOPIC: &[(&str, &str, i8)] = &[
    ("cleanup.policy", "delete", LIST),
    ("compression.gzip.level", "-1", INT),
    ("compression.lz4.level", "9", INT),
    ("compression.type", "producer", STRING),
    ("compression.zstd.level", "3", INT),
    ("delete.retention.ms", "86400000", LONG),
    ("file.delete.delay.ms", "60000", LONG),
    ("flush.messages", "9223372036854775807", LONG),
    ("flush.ms", "9223372036854775807", LONG),
    ("follower.replication.throttled.replicas", "", LIST),
    ("index.interval.bytes", "4096", INT),
    ("leader.replication.throttled.replicas", "", LIST),
    ("local.retention.bytes", "-2", LONG),
    ("local.retention.ms", "-2", LONG),
    ("max.compaction.lag.ms", "9223372036854775807", LONG),
    ("max.message.bytes", "1048588", INT),
    ("message.timestamp.after.max.ms", "3600000", LONG),
    ("message.timestamp.before.max.ms", "9223372036854775807", LONG),
    ("message.timestamp.type", "CreateTime", STRING),
    ("min.cleanable.dirty.ratio", "0.5", DOUBLE),
    ("min.compaction.lag.ms", "0", LONG),
    ("min.insync.replicas", "1", INT),
    ("preallocate", "false", BOOLEAN),
    ("remote.storage.enable", "false", BOOLEAN),
    ("retention.bytes", "-1", LONG),
    ("retention.ms", "604800000", LONG),
    ("segment.bytes", "1073741824", INT),
    ("segment.index.bytes", "10485760", INT),
    ("segment.jitter.ms", "0", LONG),
    ("segment.ms", "604800000", LONG),
    ("unclean.leader.election.enable", "false", BOOLEAN),
];

/// A setting of a topic.
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: i8,
    kind: i8,
    default: &'static str,
}

/// All settings of a topic, set or not.
pub(super) fn all(set: &BTreeMap<String, String>) -> Vec<Shown> {
    let shown = |&(name, default, kind): &(&'static str, &'static str, i8)| {
        let value = set.get(name);
        let source = if value.is_some() { SET } else { DEFAULT };
        Shown { name, value: value.cloned().unwrap_or_else(|| default.to_owned()), source, kind, default }
    };
    OF_TOPIC.iter().map(shown).collect()
}

/// Checks that a topic has the setting and that it may have the value.
pub(super) fn check(name: &str, value: &str) -> Result<(), ResponseError> {
    let known = OF_TOPIC.iter().find(|(known, _, _)| *known == name);
    let (_, _, kind) = known.ok_or(ResponseError::InvalidConfig)?;
    let legal = match (name, *kind) {
        ("message.timestamp.type", _) => matches!(value, "CreateTime" | "LogAppendTime"),
        ("cleanup.policy", _) => value.split(',').all(|one| matches!(one.trim(), "compact" | "delete" | "")),
        ("compression.type", _) => {
            matches!(value, "producer" | "uncompressed" | "none" | "gzip" | "snappy" | "lz4" | "zstd")
        }
        (_, BOOLEAN) => matches!(value, "true" | "false"),
        (_, INT) => value.trim().parse::<i32>().is_ok(),
        (_, LONG) => value.trim().parse::<i64>().is_ok(),
        (_, DOUBLE) => value.trim().parse::<f64>().is_ok_and(f64::is_finite),
        _ => true,
    };
    if legal { Ok(()) } else { Err(ResponseError::InvalidConfig) }
}

pub(super) fn describe(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: DescribeConfigsRequest = request.decode()?;
    let one = |resource: &DescribeConfigsResource| {
        let wanted = |name: &str| {
            let keys = resource.configuration_keys.as_deref().unwrap_or_default();
            keys.is_empty() || keys.iter().any(|key| key.as_str() == name)
        };
        let found = of_resource(broker, resource.resource_type, &resource.resource_name);
        let error = code_of(&found);
        let reason = found.as_ref().err().map(|error| text(&error.to_string()));
        let shown = found.unwrap_or_default().into_iter().filter(|one| wanted(one.name));
        let version = request.version;
        let configs = shown.map(|one| described(&one, version, asked.include_synonyms)).collect();
        DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(error)
            .with_error_message(reason)
            .with_configs(configs)
    };
    request.answer(&DescribeConfigsResponse::default().with_results(asked.resources.iter().map(one).collect()))
}

fn described(one: &Shown, version: i16, synonyms: bool) -> DescribeConfigsResourceResult {
    let value = |value: &str, source| {
        DescribeConfigsSynonym::default().with_name(text(one.name)).with_value(Some(text(value))).with_source(source)
    };
    let set = (one.source == SET).then(|| value(&one.value, SET));
    let listed = set.into_iter().chain([value(one.default, DEFAULT)]);
    let shown = DescribeConfigsResourceResult::default()
        .with_name(text(one.name))
        .with_value(Some(text(&one.value)))
        .with_config_source(one.source)
        .with_synonyms(if synonyms { listed.collect() } else { Vec::new() });
    if version >= 3 { shown.with_config_type(one.kind) } else { shown }
}

fn of_resource(broker: &Broker, kind: i8, name: &str) -> Result<Vec<Shown>, ResponseError> {
    match kind {
        TOPIC => {
            let topic = broker.topics.named(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
            Ok(all(&topic.settings()))
        }
        BROKER if name.is_empty() || name == NODE.to_string() => Ok(of_broker(broker)),
        _ => Err(ResponseError::InvalidRequest),
    }
}

/// What clients look for in a broker's settings; Kafka Streams asks for some of them as it starts.
fn of_broker(broker: &Broker) -> Vec<Shown> {
    let shown = |name, value: String, kind| Shown { name, value, source: DEFAULT, kind, default: "" };
    vec![
        shown("auto.create.topics.enable", broker.settings.auto_create.to_string(), BOOLEAN),
        shown("broker.id", NODE.to_string(), INT),
        shown("default.replication.factor", "1".to_owned(), INT),
        shown("message.max.bytes", broker.settings.batch_bytes_max.to_string(), INT),
        shown("num.partitions", broker.settings.partitions_default.to_string(), INT),
        shown("transaction.max.timeout.ms", "900000".to_owned(), INT),
    ]
}

pub(super) fn alter(broker: &Broker, request: &Request) -> Result<Bytes, WireError> {
    let asked: IncrementalAlterConfigsRequest = request.decode()?;
    let one = |resource: &AlterConfigsResource| {
        let altered = alter_one(broker, resource, asked.validate_only);
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(code_of(&altered))
            .with_error_message(altered.err().map(|error| text(&error.to_string())))
    };
    request
        .answer(&IncrementalAlterConfigsResponse::default().with_responses(asked.resources.iter().map(one).collect()))
}

fn alter_one(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), ResponseError> {
    if resource.resource_type != TOPIC {
        return Err(ResponseError::InvalidRequest);
    }
    let topic = broker.topics.named(&resource.resource_name).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut settings = topic.settings();
    let mut changes = Vec::new();
    for config in &resource.configs {
        let value = altered(config, &settings)?;
        if let Some(value) = &value {
            settings.insert(config.name.to_string(), value.clone());
        }
        changes.push((config.name.clone(), value));
    }
    if !validate_only {
        for (name, value) in &changes {
            topic.set(name, value.as_deref());
        }
    }
    Ok(())
}

/// The new value of a setting; none to take it back.
fn altered(config: &AlterableConfig, settings: &BTreeMap<String, String>) -> Result<Option<String>, ResponseError> {
    let name = config.name.as_str();
    let (_, default, kind) =
        OF_TOPIC.iter().find(|(known, _, _)| *known == name).ok_or(ResponseError::InvalidConfig)?;
    let now = settings.get(name).map_or(*default, String::as_str);
    let given = || config.value.as_deref().ok_or(ResponseError::InvalidConfig);
    let list = || now.split(',').filter(|one| !one.is_empty());
    // Set, delete, append, subtract.
    let value = match (config.config_operation, *kind) {
        (0, _) => given()?.to_owned(),
        (1, _) => return Ok(None),
        (2, LIST) => {
            list().chain(given()?.split(',').filter(|one| list().all(|old| old != *one))).collect::<Vec<_>>().join(",")
        }
        (3, LIST) => {
            let gone: Vec<&str> = given()?.split(',').collect();
            list().filter(|one| !gone.contains(one)).collect::<Vec<_>>().join(",")
        }
        _ => return Err(ResponseError::InvalidConfig),
    };
    check(name, &value)?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_legal() {
        for (name, default, _) in OF_TOPIC {
            assert_eq!(check(name, default), Ok(()), "{name}");
        }
        for (name, value) in [("cleanup.policy", "keep"), ("retention.ms", "soon"), ("nothing", "1")] {
            assert_eq!(check(name, value), Err(ResponseError::InvalidConfig), "{name}");
        }
    }

    #[test]
    fn values_are_set_taken_back_and_added_to() {
        let set = BTreeMap::from([("cleanup.policy".to_owned(), "delete".to_owned())]);
        let change = |operation, value: Option<&str>| {
            let config = AlterableConfig::default()
                .with_name(text("cleanup.policy"))
                .with_config_operation(operation)
                .with_value(value.map(text));
            altered(&config, &set)
        };
        assert_eq!(change(0, Some("compact")), Ok(Some("compact".to_owned())));
        assert_eq!(change(1, None), Ok(None));
        assert_eq!(change(2, Some("compact")), Ok(Some("delete,compact".to_owned())));
        assert_eq!(change(3, Some("delete")), Ok(Some(String::new())));
        assert_eq!(change(0, None), Err(ResponseError::InvalidConfig));
        assert_eq!(change(9, Some("compact")), Err(ResponseError::InvalidConfig));
    }
}
