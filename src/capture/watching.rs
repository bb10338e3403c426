//! What becomes of topics while they are captured: deleted, deleted and made again, or given more partitions.
//!
//! Nothing in the events tells: where the new log has grown behind the offset that is wanted next, its events follow those of the
//! old one without a sign. So the cluster is asked for the topics now and then, and before a recording is sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Cluster;
use crate::kafka::{AskedIds, Described};

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(5);

/// Bounds one question; another broker is asked after it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A topic that brokers do not know for so long is deleted. One that is made again is away for a moment only, and a broker that
/// has just come up may not know it yet.
const DELETED_AFTER: Duration = Duration::from_secs(15);

/// A topic that is another one by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recreated {
    pub(super) topic: String,
    /// Id when the capture began.
    pub(super) recorded: String,
    /// Id now.
    pub(super) found: String,
}

/// What a last look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// All topics are what they were, or never had ids.
    Same,
    /// At least one.
    Recreated(Vec<Recreated>),
    NoAnswer,
}

/// What an answer tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) recreated: Vec<Recreated>,
    /// Topics that have more partitions than when the capture began, and how many.
    pub(super) grown: Vec<(String, usize)>,
    /// Topics that are deleted, with the time since which no broker has known them.
    pub(super) deleted: Vec<(String, Duration)>,
}

/// Asks for topics while events are taken, and waits for no answer meanwhile.
pub(super) struct Watching<'c> {
    cluster: &'c Cluster<'c>,
    /// Topics that are captured.
    names: Vec<String>,
    /// Their ids when their capture began, where the brokers give them.
    ids: BTreeMap<String, String>,
    /// Numbers of partitions that are known, of topics all of which are captured.
    whole: BTreeMap<String, usize>,
    /// A question, and up to where each partition was taken when it was asked.
    asked: Option<(AskedIds<'c>, Vec<i64>)>,
    /// Up to where each partition was taken when the last question was asked whose answer was that the topics are the same: all
    /// of it is theirs.
    trusted: Vec<i64>,
    /// Since when no broker has known a topic.
    unknown: BTreeMap<String, Duration>,
    /// When it was last asked.
    at: Duration,
    turn: usize,
}

impl<'c> Watching<'c> {
    /// Begins at the time `now`, right after the cluster has told the ids; `trusted` is where each partition begins.
    pub(super) fn begin(cluster: &'c Cluster<'c>, trusted: Vec<i64>, now: Duration) -> Self {
        let whole = cluster.topics.iter().filter(|(_, topic)| topic.whole);
        Self {
            cluster,
            names: cluster.topics.keys().cloned().collect(),
            ids: cluster.topic_ids.clone(),
            whole: whole.map(|(name, topic)| (name.clone(), topic.there)).collect(),
            asked: None,
            trusted,
            unknown: BTreeMap::new(),
            at: now,
            turn: 0,
        }
    }

    /// Watches over another topic; `whole` is the number of its partitions where all of them are captured.
    pub(super) fn add_topic(&mut self, name: &str, id: Option<String>, whole: Option<usize>) {
        self.names.push(name.to_owned());
        self.ids.extend(id.map(|id| (name.to_owned(), id)));
        self.whole.extend(whole.map(|there| (name.to_owned(), there)));
    }

    /// Watches over a topic no longer.
    pub(super) fn forget(&mut self, name: &str) {
        self.names.retain(|known| known != name);
        self.ids.remove(name);
        self.whole.remove(name);
        self.unknown.remove(name);
    }

    /// Watches over another partition, from the offset `trusted` on.
    pub(super) fn add_partition(&mut self, trusted: i64) {
        self.trusted.push(trusted);
    }

    /// How many partitions of a topic are known, where all of them are captured.
    pub(super) fn known(&self, topic: &str) -> usize {
        self.whole.get(topic).copied().unwrap_or(0)
    }

    /// Takes note that a topic has so many partitions: no answer tells of it any more.
    pub(super) fn knows(&mut self, topic: &str, there: usize) {
        self.whole.insert(topic.to_owned(), there);
    }

    /// Looks whether an answer has come, asks where it is time to, and returns what an answer tells. `next` says up to where each
    /// partition is taken.
    pub(super) fn look(&mut self, now: Duration, next: impl FnOnce() -> Vec<i64>) -> Option<Seen> {
        if let Some((asked, _)) = &self.asked {
            let answer = asked.answer(Duration::ZERO)?;
            let (_, mut taken) = self.asked.take()?;
            let Ok(described) = answer else {
                self.turn += 1;
                return None;
            };
            let deleted = self.deleted(&described, now);
            let recreated = self.recreated(&described);
            if recreated.is_empty() && described.unknown.is_empty() {
                // Of partitions that came up since the question it says nothing.
                taken.extend_from_slice(&self.trusted[taken.len()..]);
                self.trusted = taken;
            }
            return Some(Seen { recreated, grown: self.grown(&described), deleted });
        }
        if now.saturating_sub(self.at) >= EVERY {
            self.at = now;
            self.asked = self.ask().map(|asked| (asked, next()));
        }
        None
    }

    fn ask(&self) -> Option<AskedIds<'c>> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.cluster.ask_for_topic_ids(&names, self.turn, TIMEOUT)
    }

    /// Asks, waits for the answer, and returns topics that are others.
    pub(super) fn look_now(&mut self) -> Look {
        self.asked = None;
        if self.ids.is_empty() {
            return Look::Same;
        }
        match self.ask().and_then(|asked| asked.answer(TIMEOUT)) {
            Some(Ok(described)) => match self.recreated(&described) {
                recreated if recreated.is_empty() => Look::Same,
                recreated => Look::Recreated(recreated),
            },
            _ => Look::NoAnswer,
        }
    }

    /// Up to where each partition is of the topics with which the capture began.
    pub(super) fn trusted(&self) -> &[i64] {
        &self.trusted
    }

    /// A topic without an id is gone, or is about to be made again: a later look tells.
    fn recreated(&self, described: &Described) -> Vec<Recreated> {
        let other = |(topic, recorded): (&String, &String)| {
            let found = described.ids.get(topic).filter(|found| *found != recorded)?;
            Some(Recreated { topic: topic.clone(), recorded: recorded.clone(), found: found.clone() })
        };
        self.ids.iter().filter_map(other).collect()
    }

    /// Topics all of whose partitions are captured and that have more by now than are known.
    fn grown(&self, described: &Described) -> Vec<(String, usize)> {
        let grown = |(topic, known): (&String, &usize)| {
            let there = described.partitions.get(topic).filter(|there| *there > known)?;
            Some((topic.clone(), *there))
        };
        self.whole.iter().filter_map(grown).collect()
    }

    fn deleted(&mut self, described: &Described, now: Duration) -> Vec<(String, Duration)> {
        self.unknown.retain(|topic, _| described.unknown.contains(topic));
        for topic in &described.unknown {
            self.unknown.entry(topic.clone()).or_insert(now);
        }
        let gone = self.unknown.iter().map(|(topic, since)| (topic.clone(), now.saturating_sub(*since)));
        gone.filter(|(_, gone)| *gone >= DELETED_AFTER).collect()
    }
}
