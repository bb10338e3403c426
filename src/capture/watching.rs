//! Whether a topic is deleted and made again while it is captured.
//!
//! Nothing in the events tells: where the new log has grown behind the offset that is wanted next, its events follow those of the
//! old one without a sign. So the cluster is asked for the ids of the topics now and then, and before a recording is sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Cluster;
use super::native::AskedIds;

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(5);

/// Bounds one question; another broker is asked after it.
const TIMEOUT: Duration = Duration::from_secs(2);

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
    Recreated(Recreated),
    NoAnswer,
}

/// Asks for the ids of topics while events are taken, and waits for no answer meanwhile.
pub(super) struct Watching<'c> {
    cluster: &'c Cluster<'c>,
    asked: Option<AskedIds<'c>>,
    /// When it was last asked.
    at: Duration,
    turn: usize,
}

impl<'c> Watching<'c> {
    /// Begins at the time `now`, right after the cluster has told the ids.
    pub(super) fn begin(cluster: &'c Cluster<'c>, now: Duration) -> Self {
        Self { cluster, asked: None, at: now, turn: 0 }
    }

    /// Looks whether an answer has come, asks where it is time to, and returns a topic that is another one.
    pub(super) fn look(&mut self, now: Duration) -> Option<Recreated> {
        if let Some(asked) = &self.asked {
            let ids = asked.answer(Duration::ZERO)?;
            self.asked = None;
            return self.recreated(ids.ok());
        }
        if now.saturating_sub(self.at) >= EVERY {
            self.at = now;
            self.asked = self.cluster.ask_for_topic_ids(self.turn, TIMEOUT);
        }
        None
    }

    /// Asks, waits for the answer, and returns a topic that is another one.
    pub(super) fn look_now(&mut self) -> Look {
        self.asked = None;
        if self.cluster.topic_ids.is_empty() {
            return Look::Same;
        }
        let asked = self.cluster.ask_for_topic_ids(self.turn, TIMEOUT);
        match asked.and_then(|asked| asked.answer(TIMEOUT)) {
            Some(Ok(ids)) => self.recreated(Some(ids)).map_or(Look::Same, Look::Recreated),
            _ => Look::NoAnswer,
        }
    }

    fn recreated(&mut self, ids: Option<BTreeMap<String, String>>) -> Option<Recreated> {
        let Some(ids) = ids else {
            self.turn += 1;
            return None;
        };
        // A topic without an id is gone, or is about to be made again: the next look tells.
        let other = |(topic, recorded): (&String, &String)| {
            let found = ids.get(topic).filter(|found| *found != recorded)?;
            Some(Recreated { topic: topic.clone(), recorded: recorded.clone(), found: found.clone() })
        };
        self.cluster.topic_ids.iter().find_map(other)
    }
}
