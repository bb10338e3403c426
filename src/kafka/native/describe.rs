//! What brokers say of topics beside their partitions: ids and configuration.
//!
//! Asked for through the consumer's own client, so that one set of connections and credentials serves all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::BaseConsumer;
use rdkafka::types::RDKafkaRespErr as Code;

use super::asked::{Answer, Asked, names};
use super::text;
use crate::kafka::listening::Listening;

/// Setting of a topic that says how it is cleaned, kept even where it is the default.
pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";

/// Returns the ids of topics, as `broker` says; one of which it gives none is left out.
///
/// # Errors
///
/// In words: brokers before Kafka 2.8 know no ids, and some that speak Kafka's protocol never do.
pub(crate) fn topic_ids(
    consumer: &BaseConsumer<Listening>,
    broker: i32,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, String>, String> {
    Ok(described(&ask_for_topic_ids(consumer, broker, topics, timeout)?.0.wait(timeout)?)?.ids)
}

/// What a broker says of topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Described {
    /// Their ids; one without any is left out.
    pub(crate) ids: BTreeMap<String, String>,
    /// How many partitions they have.
    pub(crate) partitions: BTreeMap<String, usize>,
    /// Those that it does not know.
    pub(crate) unknown: BTreeSet<String>,
}

/// A question for the ids of topics whose answer comes later.
pub(crate) struct AskedIds<'c>(Asked<'c>);

impl AskedIds<'_> {
    /// Returns the answer where it comes within `wait`; librdkafka gives one within the question's own bound, if only as an error.
    pub(crate) fn answer(&self, wait: Duration) -> Option<Result<Described, String>> {
        Some(self.0.answer(wait)?.and_then(|answer| described(&answer)))
    }
}

/// Asks `broker` for the ids of topics, and waits for nothing.
///
/// # Errors
///
/// In words, where a topic has a name that cannot be asked for.
pub(crate) fn ask_for_topic_ids<'c>(
    consumer: &'c BaseConsumer<Listening>,
    broker: i32,
    topics: &[&str],
    timeout: Duration,
) -> Result<AskedIds<'c>, String> {
    let names = names(topics)?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let asked = Asked::of(consumer, operation, Some(broker), timeout, |ask| {
        // SAFETY: the names outlive the call, which copies them; the collection is destroyed once, after the request was made.
        unsafe {
            let topics = native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            native::rd_kafka_DescribeTopics(ask.client, topics, ask.options, ask.queue);
            native::rd_kafka_TopicCollection_destroy(topics);
        }
    });
    Ok(AskedIds(asked))
}

fn described(answer: &Answer) -> Result<Described, String> {
    let mut found = Described::default();
    // SAFETY: the event is the answer to this request and lives to the end of the function; the list, its topics, their names
    // and ids belong to it. An id is written out in a buffer that belongs to the id.
    unsafe {
        let result = native::rd_kafka_event_DescribeTopics_result(answer.event);
        if result.is_null() {
            return Err("the answer is of another kind".to_owned());
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            let topic = *topics.add(index);
            let name = text(native::rd_kafka_TopicDescription_name(topic));
            let error = native::rd_kafka_TopicDescription_error(topic);
            let id = native::rd_kafka_TopicDescription_topic_id(topic);
            let code =
                if error.is_null() { Code::RD_KAFKA_RESP_ERR_NO_ERROR } else { native::rd_kafka_error_code(error) };
            if code == Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART {
                found.unknown.insert(name);
                continue;
            }
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                continue;
            }
            let mut partitions = 0;
            native::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
            found.partitions.insert(name.clone(), partitions);
            if id.is_null() {
                continue;
            }
            let halves =
                (native::rd_kafka_Uuid_most_significant_bits(id), native::rd_kafka_Uuid_least_significant_bits(id));
            if halves != (0, 0) {
                found.ids.insert(name, text(native::rd_kafka_Uuid_base64str(id)));
            }
        }
    }
    Ok(found)
}

/// Returns the configuration of topics, as `broker` says: what is not the default, and how they are cleaned. No value that a broker calls
/// sensitive is among them.
///
/// # Errors
///
/// In words: who may read a topic need not be allowed to read its configuration.
pub(crate) fn configurations(
    consumer: &BaseConsumer<Listening>,
    broker: i32,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
    let names = names(topics)?;
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
    let asked = Asked::of(consumer, operation, Some(broker), timeout, |ask| {
        // SAFETY: each resource is made of a name that ends with a zero and is copied, and destroyed once, after the request,
        // which copies it, was made.
        unsafe {
            let topic = native::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources: Vec<_> =
                names.iter().map(|name| native::rd_kafka_ConfigResource_new(topic, name.as_ptr())).collect();
            let (all, count) = (resources.as_mut_ptr(), resources.len());
            native::rd_kafka_DescribeConfigs(ask.client, all, count, ask.options, ask.queue);
            native::rd_kafka_ConfigResource_destroy_array(all, count);
        }
    });
    let answer = asked.wait(timeout)?;
    let mut configurations = BTreeMap::new();
    // SAFETY: the event is the answer to this request and lives to the end of the function; resources, entries and their texts
    // belong to it. The value of an entry may be null, and is read only where it is not.
    unsafe {
        let result = native::rd_kafka_event_DescribeConfigs_result(answer.event);
        if result.is_null() {
            return Err("the answer is of another kind".to_owned());
        }
        let mut count = 0;
        let resources = native::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        for index in 0..count {
            let resource = *resources.add(index);
            if native::rd_kafka_ConfigResource_error(resource) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                continue;
            }
            let mut entries = 0;
            let all = native::rd_kafka_ConfigResource_configs(resource, &raw mut entries);
            let mut configuration = BTreeMap::new();
            for index in 0..entries {
                let entry = *all.add(index);
                let value = native::rd_kafka_ConfigEntry_value(entry);
                if value.is_null() || native::rd_kafka_ConfigEntry_is_sensitive(entry) == 1 {
                    continue;
                }
                let name = text(native::rd_kafka_ConfigEntry_name(entry));
                if name == CLEANUP_POLICY || native::rd_kafka_ConfigEntry_is_default(entry) == 0 {
                    configuration.insert(name, text(value));
                }
            }
            configurations.insert(text(native::rd_kafka_ConfigResource_name(resource)), configuration);
        }
    }
    Ok(configurations)
}
