//! The topics of a stage: names, ids, partitions, settings.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::partition::Partition;

/// Longest name of a topic that Kafka takes.
const NAME_MAX: usize = 249;

/// Most partitions of a topic: each may come to hold two files.
pub(super) const PARTITIONS_MAX: i32 = 10_000;

/// How far a timestamp may lie in the future where a topic does not say, as Kafka has it.
const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    /// Whether the plan fills it.
    pub(super) planned: bool,
    partitions: RwLock<Vec<Arc<Partition>>>,
    settings: RwLock<BTreeMap<String, String>>,
}

impl Topic {
    /// A partition of it, by number.
    pub(super) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }

    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count(&self) -> i32 {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).len() as i32
    }

    /// Adds partitions until there are `count`.
    pub(super) fn grow(&self, count: i32, make: impl Fn(i32) -> Partition) {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        while (partitions.len() as i32) < count {
            let next = partitions.len() as i32;
            partitions.push(Arc::new(make(next)));
        }
    }

    /// What was set for the topic, in Kafka's names.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets one, or with none takes it back.
    pub(super) fn set(&self, name: &str, value: Option<&str>) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => settings.insert(name.to_owned(), value.to_owned()),
            None => settings.remove(name),
        };
    }

    /// Largest batch in bytes, where the topic has a bound of its own.
    pub(super) fn batch_bytes_max(&self) -> Option<usize> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.get("max.message.bytes")?.trim().parse().ok()
    }

    /// Whether each key is to keep its last event only, so that there is none without a key.
    pub(super) fn is_compacted(&self) -> bool {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.get("cleanup.policy").is_some_and(|policy| policy.split(',').any(|one| one.trim() == "compact"))
    }

    /// Milliseconds that a timestamp may lie ahead of the broker's date, and behind it.
    pub(super) fn timestamp_bounds(&self) -> (i64, i64) {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let set = |name: &str| settings.get(name).and_then(|value| value.trim().parse().ok());
        let (before, after) = (set("message.timestamp.before.max.ms"), set("message.timestamp.after.max.ms"));
        (before.unwrap_or(i64::MAX), after.unwrap_or(TIMESTAMP_AFTER_MAX_MS))
    }

    /// Whether events get the time of the log.
    pub(super) fn is_append_time(&self) -> bool {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.get("message.timestamp.type").is_some_and(|value| value == "LogAppendTime")
    }
}

/// All topics, by name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    all: RwLock<Catalogue>,
}

#[derive(Debug, Default)]
struct Catalogue {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: BTreeMap<Uuid, Arc<Topic>>,
    /// Topics ever made, so that one made anew has an id of its own.
    made: u64,
}

impl Topics {
    pub(super) fn named(&self, name: &str) -> Option<Arc<Topic>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    pub(super) fn with_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// Makes a topic of these partitions.
    pub(super) fn make(
        &self,
        name: &str,
        partitions: Vec<Partition>,
        planned: bool,
        settings: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, ResponseError> {
        check_name(name)?;
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.by_name.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        // What is planned was recorded, and stood on a cluster.
        if !planned && name.contains(['.', '_']) && all.by_name.keys().any(|other| collide(name, other)) {
            return Err(ResponseError::InvalidTopicException);
        }
        all.made += 1;
        let hash = xxhash_rust::xxh3::xxh3_128_with_seed(name.as_bytes(), all.made);
        let topic = Arc::new(Topic {
            name: name.to_owned(),
            id: Uuid::from_u128(hash.max(2)),
            planned,
            partitions: RwLock::new(partitions.into_iter().map(Arc::new).collect()),
            settings: RwLock::new(settings),
        });
        all.by_name.insert(name.to_owned(), Arc::clone(&topic));
        all.by_id.insert(topic.id, Arc::clone(&topic));
        Ok(topic)
    }

    /// Takes a topic away; whoever waits for it is told.
    pub(super) fn delete(&self, topic: &Topic) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.by_id.remove(&topic.id);
        all.by_name.retain(|_, other| other.id != topic.id);
        drop(all);
        topic.partitions().iter().for_each(|partition| partition.close());
    }
}

/// Whether two names are one to Kafka's metrics, which know no dots.
fn collide(name: &str, other: &str) -> bool {
    let plain = |sign: u8| if sign == b'.' { b'_' } else { sign };
    name.len() == other.len() && name.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Checks a name by Kafka's rules.
pub(super) fn check_name(name: &str) -> Result<(), ResponseError> {
    let legal = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_' | '-');
    let fits = !name.is_empty() && name.len() <= NAME_MAX && name != "." && name != ".." && name.chars().all(legal);
    if fits { Ok(()) } else { Err(ResponseError::InvalidTopicException) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_made_anew_has_another_id() {
        let topics = Topics::default();
        let first = topics.make("a", Vec::new(), false, BTreeMap::new()).unwrap();
        assert!(matches!(topics.make("a", Vec::new(), false, BTreeMap::new()), Err(ResponseError::TopicAlreadyExists)));
        topics.delete(&first);
        let second = topics.make("a", Vec::new(), false, BTreeMap::new()).unwrap();
        assert_ne!(first.id, second.id);
        assert!(topics.with_id(first.id).is_none() && topics.with_id(second.id).is_some());
    }

    #[test]
    fn names_follow_the_rules_of_kafka() {
        for good in ["a", "a.b_c-D9", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert_eq!(check_name(bad), Err(ResponseError::InvalidTopicException), "{bad}");
        }
    }
}
