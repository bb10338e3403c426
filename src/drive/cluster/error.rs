//! Why a drive over a real cluster cannot take place.

use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::{PropertyError, Refusal};

/// What keeps a drive over a cluster from taking place. No variant holds the value of a property.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// It is the cluster that the recording was captured from.
    #[error(
        "{brokers} are of cluster `{cluster}`, which the recording was captured from: nothing is ever produced there"
    )]
    Source {
        /// Brokers that were asked.
        brokers: String,
        /// Id of their cluster.
        cluster: String,
    },
    /// Nobody can tell whether it is the cluster that the recording was captured from.
    #[error("nobody can tell whether {brokers} are of the cluster that the recording comes from: {why}")]
    Unknown {
        /// Brokers that were asked.
        brokers: String,
        /// Who does not tell.
        why: &'static str,
    },
    /// A property cannot be used.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// The brokers do not let the drive in, or cannot be trusted.
    #[error("{brokers} cannot be spoken with: {reason}")]
    NoEntry {
        /// Brokers that were asked.
        brokers: String,
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
    /// It was told to stop while it waited for an answer.
    #[error("stopped before {brokers} gave an answer")]
    Stopped {
        /// Brokers that were asked.
        brokers: String,
    },
    /// A topic could not be made.
    #[error("topic `{topic}` could not be made: {reason}")]
    Topic {
        /// Its name on the cluster.
        topic: String,
        /// What the brokers say.
        reason: String,
        /// Whether another try may work.
        passing: bool,
    },
    /// What a drive left behind could not be removed.
    #[error("{name} could not be removed from {brokers}: {reason}")]
    NotRemoved {
        /// Topic or group.
        name: String,
        /// Brokers that were asked.
        brokers: String,
        /// What they say.
        reason: String,
    },
    /// An event cannot be produced as it is.
    #[error("topic `{topic}`, partition {partition}, offset {offset}: cannot be produced: {reason}")]
    Event {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset as recorded.
        offset: i64,
        /// Why not.
        reason: String,
    },
    /// The brokers did not take an event.
    #[error("topic `{topic}`, partition {partition}: an event was not taken: {reason}")]
    NotTaken {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What librdkafka says.
        reason: String,
        /// Whether another try may work.
        passing: bool,
    },
    /// Somebody else writes to the drive's own topic.
    #[error(
        "topic `{topic}`, partition {partition}: an event came to stand at {found} instead of {wanted}: somebody else writes there"
    )]
    Shared {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Where it had to stand.
        wanted: i64,
        /// Where it stands.
        found: i64,
    },
    /// A plan that hands over again what stands there already.
    #[error("topic `{topic}`, partition {partition}: the plan sets it back, which only the stage can do")]
    SetBack {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// What the build wrote could not be read.
    #[error("topic `{topic}`, partition {partition}: what the build wrote could not be read: {reason}")]
    Outputs {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// What librdkafka says.
        reason: String,
    },
}

impl ClusterError {
    /// Whether another try may work; else there is something to set right first.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { .. }
            | Self::Stopped { .. }
            | Self::NotRemoved { .. }
            | Self::Outputs { .. }
            | Self::Shared { .. } => true,
            Self::Topic { passing, .. } | Self::NotTaken { passing, .. } => *passing,
            _ => false,
        }
    }
}

/// Whether what a broker refused for this may work at another time.
pub(super) fn is_passing(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        code,
        Some(
            Code::InvalidTopic
                | Code::InvalidPartitions
                | Code::InvalidReplicationFactor
                | Code::InvalidConfig
                | Code::InvalidTimestamp
                | Code::MessageSizeTooLarge
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TopicAlreadyExists
        )
    )
}

/// The first of what a cluster would not make.
pub(super) fn not_made(refused: Vec<Refusal>) -> Result<(), ClusterError> {
    refused.into_iter().next().map_or(Ok(()), |Refusal { name, code, reason }| {
        Err(ClusterError::Topic { topic: name, reason, passing: is_passing(code) })
    })
}
