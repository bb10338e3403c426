//! Why a capture fails.

use std::path::PathBuf;
use std::time::Duration;

use crate::recording::RecordingError;

/// Why events could not be captured. No variant holds the value of a property.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No topic was named.
    #[error("no topic is named")]
    NoTopic,
    /// The cluster has no such topic.
    #[error("topic `{topic}` does not exist on {brokers}")]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// Brokers that were asked.
        brokers: String,
    },
    /// A property cannot be used.
    #[error("{name} {problem}")]
    Property {
        /// Its name.
        name: String,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// The consumer cannot be made of the properties.
    #[error("the consumer cannot be made: {reason}")]
    Consumer {
        /// What librdkafka says.
        reason: String,
    },
    /// The brokers did not answer.
    #[error("{brokers} could not be asked for {what}: {reason}")]
    NoAnswer {
        /// Brokers that were asked.
        brokers: String,
        /// What they were asked for.
        what: String,
        /// What librdkafka says.
        reason: String,
    },
    /// A partition cannot be read.
    #[error("topic `{topic}`, partition {partition}: could not be read: {reason}")]
    Partition {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What librdkafka says.
        reason: String,
    },
    /// An event has a header whose name is no UTF-8, as Kafka's protocol asks for.
    #[error(
        "topic `{topic}`, partition {partition}, offset {offset}: the name of a header is no UTF-8 and cannot be kept"
    )]
    HeaderName {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
    },
    /// The brokers hold events and do not send them.
    #[error("topic `{topic}`, partition {partition}: nothing came for {} s although there is more", waited.as_secs())]
    Stalled {
        /// Topic.
        topic: String,
        /// Partition that waits for more.
        partition: i32,
        /// How long nothing came.
        waited: Duration,
    },
    /// The recording cannot be written.
    #[error("the recording cannot be written")]
    Unwritable(#[from] RecordingError),
    /// The capture failed on its way; what was taken until then is sealed.
    #[error("the capture ended early; {events} events are sealed in {}", out.display())]
    Interrupted {
        /// Events in the recording.
        events: u64,
        /// The recording.
        out: PathBuf,
        /// What went wrong.
        source: Box<CaptureError>,
    },
}
