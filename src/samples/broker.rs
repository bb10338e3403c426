//! An in-process Kafka broker for the demo and for tests: librdkafka's mock cluster, filled from a recording.
//!
//! Know its limits: a partition keeps 5 MiB of what was produced (compressed as the producer sent it), a search by timestamp
//! finds nothing, and every partition starts at offset 0.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::recording::{Columns, EventView, Recording, RecordingError, TimestampType};

/// Bounds the wait for the broker to take the last events.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a broker cannot be started or filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The broker cannot be started.
    #[error("the in-process broker cannot be started: {reason}")]
    Start {
        /// What librdkafka says.
        reason: String,
    },
    /// The recording cannot be read.
    #[error("the recording cannot be read")]
    Recording(#[from] RecordingError),
    /// An event cannot be produced as it is.
    #[error("topic `{topic}`, partition {partition}, offset {offset}: cannot be produced: {reason}")]
    Event {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset in the recording.
        offset: i64,
        /// Why not.
        reason: String,
    },
    /// The broker did not take what was produced.
    #[error("the broker did not take all events: {reason}")]
    Refused {
        /// What librdkafka says.
        reason: String,
    },
}

/// A running broker. It ends, with all that it holds, when dropped.
#[derive(Debug)]
pub struct Broker {
    brokers: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker with `topics`, each with its number of partitions.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Start`] where librdkafka refuses, for one because a topic has no partition.
    pub fn start<'t>(topics: impl IntoIterator<Item = (&'t str, i32)>) -> Result<Self, BrokerError> {
        let topics: Vec<(String, i32)> =
            topics.into_iter().map(|(topic, partitions)| (topic.to_owned(), partitions)).collect();
        let (started, starting) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        // The cluster may not leave the thread that made it, so it gets one of its own.
        let serve = move || match cluster(&topics) {
            Ok(cluster) => {
                let _ = started.send(Ok(cluster.bootstrap_servers()));
                // Ends with an error when the sender is dropped, which is what is waited for.
                let _ = stopped.recv();
            }
            Err(error) => drop(started.send(Err(BrokerError::Start { reason: error.to_string() }))),
        };
        let thread = thread::Builder::new().name("broker".to_owned()).spawn(serve);
        let thread = thread.map_err(|error| BrokerError::Start { reason: error.to_string() })?;
        let silent = || BrokerError::Start { reason: "its thread ended".to_owned() };
        let brokers = starting.recv().map_err(|_| silent())??;
        Ok(Self { brokers, stop: Some(stop), thread: Some(thread) })
    }

    /// Starts a broker with the topics and partitions of `recording`, without its events.
    ///
    /// # Errors
    ///
    /// As [`Broker::start`].
    pub fn start_for(recording: &Recording) -> Result<Self, BrokerError> {
        let mut topics = std::collections::BTreeMap::new();
        for source in &recording.manifest().source.topics {
            topics.insert(source.name.clone(), source.partitions);
        }
        for partition in recording.partitions() {
            let partitions = topics.entry(partition.topic).or_default();
            *partitions = (*partitions).max(partition.partition + 1);
        }
        Self::start(topics.iter().map(|(topic, partitions)| (topic.as_str(), *partitions)))
    }

    /// Returns its address, as `HOST:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn cluster(
    topics: &[(String, i32)],
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1)?;
    }
    Ok(cluster)
}

/// Produces all events of `recording`, in its order, to their recorded partitions on `brokers`: key, value, headers and
/// timestamp as they are. Returns the number of events once the broker has taken all of them; `progress` is told it on the way.
///
/// # Errors
///
/// [`BrokerError::Event`] where an event cannot be produced as it is: librdkafka's producer sets the time itself where there is
/// none or it is zero, and cannot pretend that the broker set it.
pub fn fill(brokers: &str, recording: &Recording, progress: &mut dyn FnMut(u64)) -> Result<u64, BrokerError> {
    let producer = producer(brokers)?;
    let mut filled = 0;
    for batch in recording.batches(Columns { key: true, value: true, headers: true }) {
        let batch = batch?;
        for event in batch.iter() {
            produce(&producer, event)?;
        }
        producer.poll(Duration::ZERO);
        filled += batch.len() as u64;
        progress(filled);
    }
    producer.flush(FLUSH_TIMEOUT).map_err(|error| BrokerError::Refused { reason: error.to_string() })?;
    producer.context().verdict().map(|()| filled)
}

fn producer(brokers: &str) -> Result<BaseProducer<Deliveries>, BrokerError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    // The broker writes the retries of an idempotent producer twice. One request at a time keeps the order without it.
    config.set("enable.idempotence", "false");
    config.set("max.in.flight.requests.per.connection", "1");
    config.set("compression.type", "zstd");
    config.set("linger.ms", "5");
    config.set("message.max.bytes", "100000000");
    config.create_with_context(Deliveries::default()).map_err(|error| BrokerError::Start { reason: error.to_string() })
}

fn produce(producer: &BaseProducer<Deliveries>, event: EventView<'_>) -> Result<(), BrokerError> {
    let refuse = |reason: String| BrokerError::Event {
        topic: event.topic.to_owned(),
        partition: event.partition,
        offset: event.offset,
        reason,
    };
    let timestamp = match (event.timestamp_type, event.timestamp_ms) {
        (TimestampType::Create, Some(ms)) if ms != 0 => ms,
        (TimestampType::Create | TimestampType::None, _) => {
            return Err(refuse("a producer cannot leave its timestamp out, nor set it to zero".to_owned()));
        }
        (TimestampType::Append, _) => return Err(refuse("its timestamp was set by a broker".to_owned())),
    };
    let mut headers = OwnedHeaders::new();
    for (key, value) in event.headers.iter() {
        headers = headers.insert(Header { key, value });
    }
    let mut next = BaseRecord::<[u8], [u8]>::to(event.topic).partition(event.partition).timestamp(timestamp);
    (next.key, next.payload) = (event.key, event.value);
    if event.headers.iter().next().is_some() {
        next = next.headers(headers);
    }
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                producer.poll(Duration::from_millis(10));
                next = again;
            }
            Err((error, _)) => return Err(refuse(error.to_string())),
        }
    }
}

/// Keeps the first event that the broker did not take.
#[derive(Default)]
struct Deliveries(Mutex<Option<BrokerError>>);

impl Deliveries {
    fn verdict(&self) -> Result<(), BrokerError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, event)) = result {
            let place = format!("topic `{}`, partition {}", event.topic(), event.partition());
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| BrokerError::Refused { reason: format!("{place}: {error}") });
        }
    }
}
