//! What the cluster knows of topics and offsets.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};

use super::{CaptureError, CaptureSettings};

/// A connected consumer without a group, and the partitions of the topics that it shall read.
pub(super) struct Cluster {
    pub(super) consumer: BaseConsumer,
    /// Partitions of each topic, empty ones too.
    pub(super) topics: BTreeMap<String, Vec<i32>>,
    pub(super) id: Option<String>,
    brokers: String,
    timeout: std::time::Duration,
}

impl Cluster {
    /// Connects and looks the topics up.
    pub(super) fn connect(settings: &CaptureSettings) -> Result<Self, CaptureError> {
        if settings.topics.is_empty() {
            return Err(CaptureError::NoTopic);
        }
        let mut cluster = Self {
            consumer: consumer(settings)?,
            topics: BTreeMap::new(),
            id: None,
            brokers: settings.brokers.clone(),
            timeout: settings.connect_timeout,
        };
        for topic in &settings.topics {
            let partitions = cluster.partitions(topic)?;
            cluster.topics.insert(topic.clone(), partitions);
        }
        cluster.id = cluster.consumer.client().fetch_cluster_id(cluster.timeout);
        Ok(cluster)
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, CaptureError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), self.timeout)
            .map_err(|error| self.no_answer(format!("topic `{topic}`"), &error))?;
        let described =
            metadata.topics().iter().find(|described| described.name() == topic && described.error().is_none());
        let mut partitions: Vec<i32> = described
            .map(|described| described.partitions().iter().map(MetadataPartition::id).collect())
            .unwrap_or_default();
        if partitions.is_empty() {
            return Err(CaptureError::UnknownTopic { topic: topic.to_owned(), brokers: self.brokers.clone() });
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Returns the oldest offset of a partition and the one behind its newest.
    pub(super) fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), CaptureError> {
        self.consumer
            .fetch_watermarks(topic, partition, self.timeout)
            .map_err(|error| self.no_answer(format!("the offsets of topic `{topic}`, partition {partition}"), &error))
    }

    /// Returns for each partition the first offset at or after `time_ms`; none where there is no such event.
    pub(super) fn offsets_at(&self, time_ms: i64) -> Result<BTreeMap<(String, i32), Option<i64>>, CaptureError> {
        let what = || "the offsets at a time".to_owned();
        let mut wanted = TopicPartitionList::new();
        for (topic, partitions) in &self.topics {
            for &partition in partitions {
                wanted
                    .add_partition_offset(topic, partition, Offset::Offset(time_ms))
                    .map_err(|error| self.no_answer(what(), &error))?;
            }
        }
        let found =
            self.consumer.offsets_for_times(wanted, self.timeout).map_err(|error| self.no_answer(what(), &error))?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(|error| self.no_answer(what(), &error))?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
        Ok(offsets)
    }

    fn no_answer(&self, what: String, error: &KafkaError) -> CaptureError {
        CaptureError::NoAnswer { brokers: self.brokers.clone(), what, reason: error.to_string() }
    }
}

/// Makes a consumer that has no group, so that it cannot join one, look for one's coordinator or commit to one.
fn consumer(settings: &CaptureSettings) -> Result<BaseConsumer, CaptureError> {
    let mut config = ClientConfig::new();
    // Short waits at the end of a partition, so that its end is seen soon; events that are there never wait.
    config.set("fetch.wait.max.ms", "100");
    // Bounds what librdkafka holds; its default is 64 MiB for each partition.
    config.set("queued.max.messages.kbytes", "65536");
    for (name, value) in settings.properties.iter() {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set("allow.auto.create.topics", "false");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("offset.store.method", "none");
    // Where retention overtakes the capture, it goes on at what is left: the hole shows in the offsets.
    config.set("auto.offset.reset", "earliest");
    config.create().map_err(|error| match error {
        // librdkafka's own words repeat the value, which may be a secret.
        KafkaError::ClientConfig(result, _, name, _) => {
            let problem = match result {
                rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "is no property of librdkafka",
                _ => "has a value that librdkafka does not take",
            };
            CaptureError::Property { name, problem: problem.to_owned() }
        }
        other => CaptureError::Consumer { reason: other.to_string() },
    })
}
