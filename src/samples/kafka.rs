//! What a sample build needs to read and write Kafka: events in, outputs and commits out.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::Serialize;

use super::{Delivered, flag};

/// How long to wait for an event before what is done is committed.
const PAUSE: Duration = Duration::from_millis(20);

/// Events after which what is done is committed even where more are there.
const COMMIT_AFTER: u64 = 500;

/// Longest wait for the broker to take what was written.
const FLUSH: Duration = Duration::from_secs(30);

/// Polls after which brokers that were out of reach are asked for: some ten seconds.
const LONELY_POLLS: u32 = 500;

/// A consumer and a producer. What was read is committed once all that was written because of it has been taken.
pub struct Client {
    consumer: BaseConsumer,
    producer: BaseProducer,
    /// By topic and partition: the next offset wanted, as far as it is not committed yet.
    done: BTreeMap<(String, i32), i64>,
    since: u64,
    /// Polls without an event since no broker could be reached.
    lonely: Option<u32>,
}

impl Client {
    /// Connects to the brokers of `KAFKA_BOOTSTRAP_SERVERS` and reads `topics`, by the names of `REHEARSAL_TOPIC_…`, as a member of
    /// `REHEARSAL_GROUP`. The flag `idempotence` says whether the producer numbers its batches, so that the broker knows one that comes
    /// twice, and `retries` whether it tries again at all; both are set where nothing is said.
    ///
    /// # Errors
    ///
    /// A variable that is missing, or what librdkafka refuses.
    pub fn subscribe(topics: &[&str]) -> io::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", variable("KAFKA_BOOTSTRAP_SERVERS")?);
        // A broker that is back is found soon.
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
        let mut producing = config.clone();
        producing.set("linger.ms", "0").set("enable.idempotence", flag("idempotence", true).to_string());
        if !flag("retries", true) {
            // A producer that numbers its batches cannot give up.
            producing.set("message.send.max.retries", "0").set("enable.idempotence", "false");
        }
        let producer = producing.create();
        config.set("group.id", variable("REHEARSAL_GROUP")?).set("enable.auto.commit", "false");
        // How soon a member learns that it was put out of its group.
        config.set("heartbeat.interval.ms", "100").set("session.timeout.ms", "6000");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "100");
        let consumer: BaseConsumer = config.create().map_err(other)?;
        let there: Vec<String> = topics.iter().map(|topic| called(topic)).collect();
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        consumer.subscribe(&there).map_err(other)?;
        Ok(Self { consumer, producer: producer.map_err(other)?, done: BTreeMap::new(), since: 0, lonely: None })
    }

    /// Waits for the next event. Commits what is done while there is none.
    ///
    /// # Errors
    ///
    /// A value that is no flight, or what librdkafka gives up on.
    pub fn read(&mut self) -> io::Result<Delivered> {
        loop {
            match self.consumer.poll(PAUSE) {
                None => {
                    self.look_for_brokers()?;
                    self.commit()?;
                }
                Some(Ok(event)) => {
                    self.lonely = None;
                    let value = event.payload().map(serde_json::from_slice).transpose()?;
                    return Ok(Delivered {
                        topic: event.topic().to_owned(),
                        partition: event.partition(),
                        offset: event.offset(),
                        timestamp_ms: event.timestamp().to_millis().unwrap_or(0),
                        value,
                    });
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) => {
                    self.lonely = self.lonely.or(Some(0));
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => return Err(other(error)),
            }
        }
    }

    /// Brokers may be gone for a while. Where they stay away, nobody is left to work for.
    fn look_for_brokers(&mut self) -> io::Result<()> {
        let Some(polls) = &mut self.lonely else { return Ok(()) };
        *polls += 1;
        if *polls < LONELY_POLLS {
            return Ok(());
        }
        self.lonely = None;
        self.consumer.fetch_metadata(None, FLUSH).map(drop).map_err(other)
    }

    /// Writes an output to `topic` that happens at `timestamp_ms` of event time.
    ///
    /// # Errors
    ///
    /// A value that cannot be written down, or what librdkafka refuses.
    pub fn write<V: Serialize>(&self, topic: &str, key: &str, timestamp_ms: i64, value: &V) -> io::Result<()> {
        let value = serde_json::to_vec(value)?;
        let topic = called(topic);
        let mut record = BaseRecord::to(&topic).key(key).payload(&value).timestamp(timestamp_ms);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    self.producer.poll(PAUSE);
                    record = again;
                }
                Err((error, _)) => return Err(other(error)),
            }
        }
    }

    /// Says that everything up to and with `done` is dealt with in its partition.
    ///
    /// # Errors
    ///
    /// What was written because of it is not taken.
    pub fn done(&mut self, done: &Delivered) -> io::Result<()> {
        self.done.insert((done.topic.clone(), done.partition), done.offset + 1);
        self.since += 1;
        if self.since >= COMMIT_AFTER { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> io::Result<()> {
        self.since = 0;
        if self.done.is_empty() {
            return Ok(());
        }
        self.producer.flush(FLUSH).map_err(other)?;
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in &self.done {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next)).map_err(other)?;
        }
        match self.consumer.commit(&list, CommitMode::Sync) {
            Err(error) if !is_passing(&error) => return Err(other(error)),
            // Nobody knows whether it stands: it is committed again with what comes next.
            Err(error) if !is_parted(&error) => {}
            // Whoever is no member any more goes on where the group stands.
            _ => self.done.clear(),
        }
        Ok(())
    }
}

/// Whether a consumer goes on by itself after this.
fn is_passing(error: &KafkaError) -> bool {
    error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal)
}

/// Whether the group has gone on without this member.
fn is_parted(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    matches!(error.rdkafka_error_code(), Some(IllegalGeneration | RebalanceInProgress | UnknownMemberId))
}

/// What production's topic is called here: on a cluster that others use, too, it has another name.
fn called(topic: &str) -> String {
    let letter = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' };
    let name: String = topic.chars().map(letter).collect();
    env::var(format!("REHEARSAL_TOPIC_{name}")).unwrap_or_else(|_| topic.to_owned())
}

fn variable(name: &str) -> io::Result<String> {
    let missing = || {
        let what = format!("the variable `{name}` is not set: this sample reads Kafka, under `transport = \"kafka\"`");
        io::Error::new(io::ErrorKind::InvalidInput, what)
    };
    env::var(name).map_err(|_| missing())
}

fn other(error: KafkaError) -> io::Error {
    io::Error::other(error)
}
