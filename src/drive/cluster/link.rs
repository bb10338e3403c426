//! Clients of the cluster that a drive takes place on, and the questions that come first: who it is, and what stands there.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;

use super::super::isolation::Place;
use super::error::ClusterError;
use super::settings::ClusterRules;
use crate::clock::{Clock, Stop};
use crate::kafka::{AskError, Listening, ask};
use crate::recording::Recording;

/// A cluster that may be produced to.
pub(super) struct Link<'a> {
    /// Reads what transactions have committed, and is member of no group.
    pub(super) consumer: BaseConsumer<Listening>,
    pub(super) rules: &'a ClusterRules,
    /// Bounds each wait for an answer.
    pub(super) timeout: Duration,
    pub(super) clock: &'a dyn Clock,
    pub(super) stop: &'a Stop,
}

impl<'a> Link<'a> {
    /// Connects, and makes sure that `recording` does not come from there.
    pub(super) fn connect(
        rules: &'a ClusterRules,
        recording: &Recording,
        timeout: Duration,
        clock: &'a dyn Clock,
        stop: &'a Stop,
    ) -> Result<Self, ClusterError> {
        let link = Self { consumer: consumer(rules, None)?, rules, timeout, clock, stop };
        // The first token is asked for at once, ahead of any question.
        while link.consumer.poll(Duration::ZERO).is_some() {}
        link.ask("who they are", |wait| link.consumer.fetch_metadata(None, wait))?;
        link.keep_off_the_source(recording)?;
        Ok(link)
    }

    /// Nothing is ever produced to the cluster that a recording came from; where nobody can tell, somebody has to vouch for it.
    fn keep_off_the_source(&self, recording: &Recording) -> Result<(), ClusterError> {
        let brokers = self.rules.brokers.clone();
        let found = self.consumer.client().fetch_cluster_id(self.timeout).filter(|id| !id.is_empty());
        match (recording.manifest().source.cluster.as_ref(), found) {
            (Some(recorded), Some(found)) if *recorded == found => {
                Err(ClusterError::Source { brokers, cluster: found })
            }
            (Some(_), Some(_)) => Ok(()),
            _ if self.rules.other_cluster => Ok(()),
            (None, _) => {
                let why = "the recording does not say which that is, as one that was imported or comes from a broker without an id";
                Err(ClusterError::Unknown { brokers, why })
            }
            (Some(_), None) => Err(ClusterError::Unknown { brokers, why: "these brokers do not say whose they are" }),
        }
    }

    /// Where its brokers are: those that clients are told to begin with, and those that these name.
    pub(super) fn places(&self) -> Result<Vec<Place>, ClusterError> {
        let metadata = self.ask("who they are", |wait| self.consumer.fetch_metadata(None, wait))?;
        let first = self.rules.brokers.split(',').filter_map(|broker| {
            let broker = broker.trim();
            // Before a host may stand by which protocol it is spoken to.
            Place::parse(broker.rsplit_once("://").map_or(broker, |(_, rest)| rest))
        });
        let named = metadata.brokers().iter().filter_map(|broker| {
            let (host, port) = (broker.host(), u16::try_from(broker.port()).ok()?);
            Place::parse(&if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
        });
        let mut places: Vec<Place> = first.chain(named).collect();
        places.sort();
        places.dedup();
        Ok(places)
    }

    /// Names of all topics, in order.
    pub(super) fn topics(&self) -> Result<Vec<String>, ClusterError> {
        let metadata = self.ask("their topics", |wait| self.consumer.fetch_metadata(None, wait))?;
        let mut names: Vec<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// Asks until there is an answer, the time is over, or it is told to stop.
    pub(super) fn ask<T>(&self, what: &str, question: impl Fn(Duration) -> KafkaResult<T>) -> Result<T, ClusterError> {
        self.ask_by(&self.consumer, what, question)
    }

    /// As [`Link::ask`], of another client, `consumer`.
    pub(super) fn ask_by<T>(
        &self,
        consumer: &BaseConsumer<Listening>,
        what: &str,
        question: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, ClusterError> {
        let brokers = || self.rules.brokers.clone();
        ask(consumer, self.timeout, self.clock, self.stop, question).map_err(|error| match error {
            AskError::NoEntry(reason) => ClusterError::NoEntry { brokers: brokers(), reason: self.scrub(&reason) },
            AskError::NoAnswer(reason) => self.no_answer(what, &reason),
            AskError::Stopped => ClusterError::Stopped { brokers: brokers() },
        })
    }

    pub(super) fn no_answer(&self, what: &str, reason: &str) -> ClusterError {
        let (brokers, reason) = (self.rules.brokers.clone(), self.scrub(reason));
        ClusterError::NoAnswer { brokers, what: what.to_owned(), reason }
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        self.rules.properties.scrub(text)
    }
}

/// What every client of a drive is made of.
pub(super) fn config(rules: &ClusterRules) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in rules.properties.iter() {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &rules.brokers);
    config
}

/// Makes a consumer that joins no group; with `group`, one that asks for and sets what the group has committed.
pub(super) fn consumer(rules: &ClusterRules, group: Option<&str>) -> Result<BaseConsumer<Listening>, ClusterError> {
    let mut config = config(rules);
    config.set("allow.auto.create.topics", "false");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("offset.store.method", "none");
    config.set("auto.offset.reset", "error");
    config.set("isolation.level", "read_committed");
    // Bounds what librdkafka holds; its default is 64 MiB for each partition.
    config.set("queued.max.messages.kbytes", "65536");
    config.set("fetch.wait.max.ms", "100");
    config.set("fetch.queue.backoff.ms", "2");
    if let Some(group) = group {
        config.set("group.id", group);
    }
    config.create_with_context(Listening::default()).map_err(|error| rules.properties.refused(error).into())
}
