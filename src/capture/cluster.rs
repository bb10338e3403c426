//! What the cluster knows of topics and offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::{MetadataBroker, MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};

use super::topics::{Chosen, choose};
use super::{CaptureError, CaptureSettings, Until};
use crate::clock::{Clock, Stop};
use crate::kafka::{
    AskError, AskedIds, CLEANUP_POLICY, Listening, Properties, ask, ask_for_topic_ids, check_brokers, configurations,
    topic_ids,
};
use crate::recording::{GapCause, Role};

/// Takes what transactions have not committed, too.
pub(super) const READ_UNCOMMITTED: &str = "read_uncommitted";

/// Bounds the wait for what a broker need not tell.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connected consumer without a group, and the partitions of the topics that it shall read.
pub(super) struct Cluster<'a> {
    pub(super) consumer: BaseConsumer<Listening>,
    /// Topics to capture, in order of name.
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) id: Option<String>,
    /// Ids of topics, where the brokers give them.
    pub(super) topic_ids: BTreeMap<String, String>,
    /// Configuration of topics, where the brokers tell it.
    pub(super) configurations: BTreeMap<String, Configuration>,
    /// Numbers of the brokers, first the one that told of topics.
    broker_ids: Vec<i32>,
    brokers: &'a str,
    properties: &'a Properties,
    timeout: Duration,
    clock: &'a dyn Clock,
    stop: &'a Stop,
}

/// Names and values.
pub(super) type Configuration = BTreeMap<String, String>;

/// A topic to capture.
pub(super) struct Topic {
    pub(super) role: Role,
    /// Number of partitions at the cluster.
    pub(super) there: usize,
    /// Partitions to capture, in order, empty ones too.
    pub(super) partitions: Vec<i32>,
    /// Whether all of them are chosen, those that are added too.
    pub(super) whole: bool,
    /// Whether a pattern chose it.
    pub(super) patterned: bool,
}

impl<'a> Cluster<'a> {
    /// Connects and looks the topics up.
    pub(super) fn connect(
        settings: &'a CaptureSettings,
        clock: &'a dyn Clock,
        stop: &'a Stop,
    ) -> Result<Self, CaptureError> {
        if settings.topics.is_empty() {
            return Err(CaptureError::NoTopic);
        }
        check_brokers(&settings.brokers)?;
        let mut cluster = Self {
            consumer: consumer(settings)?,
            topics: BTreeMap::new(),
            id: None,
            topic_ids: BTreeMap::new(),
            configurations: BTreeMap::new(),
            broker_ids: Vec::new(),
            brokers: &settings.brokers,
            properties: &settings.properties,
            timeout: settings.connect_timeout,
            clock,
            stop,
        };
        // The first token is asked for at once, ahead of any question.
        while cluster.consumer.poll(Duration::ZERO).is_some() {}
        for (name, chosen) in choose(&settings.topics, || cluster.names())? {
            let topic = cluster.topic(&name, chosen, &settings.partitions)?;
            cluster.topics.insert(name, topic);
        }
        for (topic, partition) in settings.offsets.keys() {
            if cluster.topics.get(topic).is_none_or(|known| !known.partitions.contains(partition)) {
                return Err(CaptureError::StartOfNothing { topic: topic.clone(), partition: *partition });
            }
        }
        cluster.id = cluster.consumer.client().fetch_cluster_id(cluster.timeout);
        cluster.find_brokers();
        let names: Vec<&str> = cluster.topics.keys().map(String::as_str).collect();
        (cluster.topic_ids, cluster.configurations) = cluster.describe(&names);
        Ok(cluster)
    }

    /// Names of all topics, in order.
    fn names(&self) -> Result<Vec<String>, CaptureError> {
        let metadata = self.ask(|| "their topics".to_owned(), |wait| self.consumer.fetch_metadata(None, wait))?;
        let mut names: Vec<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn topic(&self, name: &str, chosen: Chosen, partitions: &BTreeSet<i32>) -> Result<Topic, CaptureError> {
        let there = self.partitions(name)?;
        let wanted = chosen.partitions.unwrap_or_else(|| partitions.clone());
        if let Some(&partition) = wanted.iter().find(|partition| !there.contains(partition)) {
            return Err(CaptureError::UnknownPartition { topic: name.to_owned(), partition, there: there.len() });
        }
        let whole = wanted.is_empty();
        let partitions = if whole { there.clone() } else { wanted.into_iter().collect() };
        Ok(Topic { role: chosen.role, there: there.len(), partitions, whole, patterned: chosen.patterned })
    }

    /// Asks which brokers there are.
    fn find_brokers(&mut self) {
        let timeout = self.timeout.min(DESCRIBE_TIMEOUT);
        let topic = self.topics.keys().next().map(String::as_str);
        let Ok(metadata) = self.consumer.fetch_metadata(topic, timeout) else { return };
        self.broker_ids = metadata.brokers().iter().map(MetadataBroker::id).collect();
        // One that is not known by its number yet may have answered.
        let answered = self.broker_ids.iter().position(|broker| *broker == metadata.orig_broker_id());
        self.broker_ids.rotate_left(answered.unwrap_or(0));
    }

    /// Asks what topics are beside their partitions: ids and configurations. Not every broker tells, nor everybody: what is not
    /// known is left out, and who would need it says so.
    pub(super) fn describe(&self, names: &[&str]) -> (BTreeMap<String, String>, BTreeMap<String, Configuration>) {
        let timeout = self.timeout.min(DESCRIBE_TIMEOUT);
        let Some(&broker) = self.broker_ids.first() else { return Default::default() };
        let ids = topic_ids(&self.consumer, broker, names, timeout);
        let configurations = configurations(&self.consumer, broker, names, timeout);
        (ids.unwrap_or_default(), configurations.unwrap_or_default())
    }

    /// Asks for the ids and the partitions of the topics again. Who is asked takes turns, as a broker may be down.
    pub(super) fn ask_for_topic_ids(&self, names: &[&str], turn: usize, timeout: Duration) -> Option<AskedIds<'_>> {
        let broker = *self.broker_ids.get(turn % self.broker_ids.len().max(1))?;
        ask_for_topic_ids(&self.consumer, broker, names, timeout).ok()
    }

    /// Returns the partitions of a topic, in order, once all of them can be read; none where nobody answers in time. From then on the
    /// client knows them, too.
    pub(super) fn readable(&self, topic: &str, wait: Duration) -> Vec<i32> {
        let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), wait) else { return Vec::new() };
        let described = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
        let led = |partition: &&MetadataPartition| partition.error().is_none() && partition.leader() >= 0;
        let all = described.map(MetadataTopic::partitions).filter(|all| all.iter().all(|one| led(&one)));
        let mut numbers: Vec<i32> = all.unwrap_or_default().iter().map(MetadataPartition::id).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns the oldest offset of a partition; none where nobody answers in time.
    pub(super) fn oldest(&self, topic: &str, partition: i32, wait: Duration) -> Option<i64> {
        self.consumer.fetch_watermarks(topic, partition, wait).ok().map(|(oldest, _)| oldest)
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, CaptureError> {
        let what = || format!("topic `{topic}`");
        let metadata = self.ask(what, |wait| self.consumer.fetch_metadata(Some(topic), wait))?;
        let described =
            metadata.topics().iter().find(|described| described.name() == topic && described.error().is_none());
        let mut partitions: Vec<i32> = described
            .map(|described| described.partitions().iter().map(MetadataPartition::id).collect())
            .unwrap_or_default();
        if partitions.is_empty() {
            return Err(CaptureError::UnknownTopic { topic: topic.to_owned(), brokers: self.brokers.to_owned() });
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Whether it was said since the last call that no broker can be reached.
    pub(super) fn all_down(&self) -> bool {
        self.consumer.context().all_down()
    }

    /// Returns topics that a pattern chooses and that were not there when the capture began; none where nobody answers in time.
    pub(super) fn new_topics(&self, settings: &CaptureSettings, wait: Duration) -> BTreeMap<String, Chosen> {
        let Ok(metadata) = self.consumer.fetch_metadata(None, wait) else { return BTreeMap::new() };
        let names =
            metadata.topics().iter().filter(|topic| topic.error().is_none()).map(|topic| topic.name().to_owned());
        let mut chosen = choose(&settings.topics, || Ok(names.collect())).unwrap_or_default();
        chosen.retain(|name, _| !self.topics.contains_key(name));
        chosen
    }

    /// Returns how many offsets behind the end that a `read_committed` consumer sees an open transaction holds back, of each of
    /// `places` (topic, partition) that has such; nothing of those that are not told within `wait` in all. Where the window ends at
    /// a time, only offsets ahead of it count: who reads what is committed is told of none of them, so that end is asked for anew.
    pub(super) fn held_back(
        &self,
        settings: &CaptureSettings,
        places: &[(&str, i32)],
        wait: Duration,
    ) -> Vec<(String, i32, i64, u64)> {
        let due = self.clock.now().saturating_add(wait);
        let uncommitted = CaptureSettings { uncommitted: true, ..settings.clone() };
        let Ok(other) = consumer(&uncommitted) else { return Vec::new() };
        // The first token is asked for at once, ahead of any question.
        while other.poll(Duration::ZERO).is_some() {}
        let left = || due.saturating_sub(self.clock.now());
        let ends = match settings.until {
            Until::Time(time_ms) => {
                let Ok(wanted) = at_time(places.iter().copied(), time_ms) else { return Vec::new() };
                let Ok(found) = other.offsets_for_times(wanted, left()) else { return Vec::new() };
                if found.elements().iter().any(|element| element.error().is_err()) {
                    return Vec::new();
                }
                found_at_time(&found)
            }
            Until::End | Until::Stopped | Until::Count(_) | Until::Duration(_) => BTreeMap::new(),
        };
        let mut held = Vec::new();
        for &(topic, partition) in places {
            // The newest first: where more is committed meanwhile, less is told, and never what is not held back.
            let Ok((_, newest)) = other.fetch_watermarks(topic, partition, left()) else { break };
            let Ok((_, stable)) = self.consumer.fetch_watermarks(topic, partition, left()) else { break };
            let end = ends.get(&(topic.to_owned(), partition)).copied().flatten();
            let behind = end.map_or(newest, |end| end.min(newest));
            if stable < behind {
                held.push((topic.to_owned(), partition, stable, stable.abs_diff(behind)));
            }
        }
        held
    }

    /// Returns the oldest offset of a partition and the one behind its newest.
    pub(super) fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), CaptureError> {
        let what = || format!("the offsets of topic `{topic}`, partition {partition}");
        self.ask_leaders(what, |wait| self.consumer.fetch_watermarks(topic, partition, wait))
    }

    /// Returns for each of `places` (topic, partition) the first offset at or after `time_ms`; none where there is no such event.
    pub(super) fn offsets_at<'p>(
        &self,
        places: impl Iterator<Item = (&'p str, i32)>,
        time_ms: i64,
    ) -> Result<BTreeMap<(String, i32), Option<i64>>, CaptureError> {
        let what = || "the offsets at a time".to_owned();
        let wanted = at_time(places, time_ms).map_err(|error| self.no_answer(what(), &error.to_string()))?;
        let found = self.ask_leaders(what, |wait| self.consumer.offsets_for_times(wanted.clone(), wait))?;
        for element in found.elements() {
            element.error().map_err(|error| self.no_answer(what(), &error.to_string()))?;
        }
        Ok(found_at_time(&found))
    }

    /// Asks until there is an answer, the time is over, or it is told to stop. Whoever is not let in is told so at once: no later
    /// try is better.
    fn ask<T>(
        &self,
        what: impl Fn() -> String,
        question: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, CaptureError> {
        self.ask_within(self.timeout, what, question)
    }

    /// As [`Self::ask`], of brokers that are known to be there: one that went away without a word is held to lead its partitions for
    /// some ten seconds more.
    fn ask_leaders<T>(
        &self,
        what: impl Fn() -> String,
        question: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, CaptureError> {
        self.ask_within(self.timeout * 3, what, question)
    }

    /// The time of the capture's clock.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Hears what the client has to say of a question to leaders of partitions that was begun at `begun`, and whether to go on waiting
    /// for its answer: as long as [`Self::ask_leaders`] would.
    pub(super) fn wait_on(&self, begun: Duration, what: impl Fn() -> String) -> Result<(), CaptureError> {
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let context = self.consumer.context();
        if let Some(reason) = context.refused() {
            return Err(self.no_entry(&reason));
        }
        if self.stop.raised() {
            return Err(CaptureError::Stopped { brokers: self.brokers.to_owned() });
        }
        if self.clock.now().saturating_sub(begun) >= self.timeout * 3 {
            return Err(self.no_answer(what(), &context.heard().unwrap_or_else(|| "no answer came".to_owned())));
        }
        Ok(())
    }

    fn ask_within<T>(
        &self,
        timeout: Duration,
        what: impl Fn() -> String,
        question: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, CaptureError> {
        ask(&self.consumer, timeout, self.clock, self.stop, question).map_err(|error| match error {
            AskError::NoEntry(reason) => self.no_entry(&reason),
            AskError::NoAnswer(reason) => self.no_answer(what(), &reason),
            AskError::Stopped => CaptureError::Stopped { brokers: self.brokers.to_owned() },
        })
    }

    fn no_entry(&self, reason: &str) -> CaptureError {
        CaptureError::NoEntry { brokers: self.brokers.to_owned(), reason: self.properties.scrub(reason) }
    }

    fn no_answer(&self, what: String, reason: &str) -> CaptureError {
        CaptureError::NoAnswer { brokers: self.brokers.to_owned(), what, reason: self.properties.scrub(reason) }
    }
}

/// The question for the first offset at or after `time_ms`, of each of `places`.
fn at_time<'p>(places: impl Iterator<Item = (&'p str, i32)>, time_ms: i64) -> KafkaResult<TopicPartitionList> {
    let mut wanted = TopicPartitionList::new();
    for (topic, partition) in places {
        wanted.add_partition_offset(topic, partition, Offset::Offset(time_ms))?;
    }
    Ok(wanted)
}

/// The answer to it; none where no event is as late.
fn found_at_time(found: &TopicPartitionList) -> BTreeMap<(String, i32), Option<i64>> {
    let elements = found.elements();
    let offset = |offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    elements
        .iter()
        .map(|element| ((element.topic().to_owned(), element.partition()), offset(element.offset())))
        .collect()
}

/// Returns why offsets of a topic that lie within its log have no event, by its configuration.
pub(super) fn cause_of_gaps(configuration: Option<&Configuration>) -> GapCause {
    match configuration.and_then(|configuration| configuration.get(CLEANUP_POLICY)) {
        Some(policy) if policy.contains("compact") => GapCause::Compaction,
        // Offsets are given without a gap: what a log that is never compacted does not hand over was taken back or is a marker.
        Some(_) => GapCause::TransactionMarkers,
        None => GapCause::Unknown,
    }
}

/// Makes a consumer that has no group, so that it cannot join one, look for one's coordinator or commit to one.
fn consumer(settings: &CaptureSettings) -> Result<BaseConsumer<Listening>, CaptureError> {
    let mut config = ClientConfig::new();
    // Short waits at the end of a partition, so that its end is seen soon; events that are there never wait.
    config.set("fetch.wait.max.ms", "100");
    // Bounds what librdkafka holds; its default is 64 MiB for each partition.
    config.set("queued.max.messages.kbytes", "65536");
    // How soon fetching goes on once there is room again; its default is a second, in which all that waited has long been taken.
    config.set("fetch.queue.backoff.ms", "2");
    for (name, value) in settings.properties.iter() {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set("allow.auto.create.topics", "false");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("offset.store.method", "none");
    if settings.uncommitted {
        config.set("isolation.level", READ_UNCOMMITTED);
    }
    // Where retention overtakes the capture it is told so, and decides itself whether to go on at what is left.
    config.set("auto.offset.reset", "error");
    config.create_with_context(Listening::default()).map_err(|error| settings.properties.refused(error).into())
}
