//! Why a capture fails.

use std::path::PathBuf;
use std::time::Duration;

use super::RegistryError;
use crate::kafka::PropertyError;
use crate::mask::MaskError;
use crate::recording::{RecordingError, Role};
use crate::settings::Moment;

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
    /// A regular expression matches no topic of the cluster.
    #[error("no topic matches `{pattern}`")]
    NothingMatches {
        /// The regular expression.
        pattern: String,
    },
    /// A topic was chosen twice, for different things.
    #[error("topic `{topic}` is named as {} and as {}", in_words(*one), in_words(*other))]
    TwoRoles {
        /// The topic.
        topic: String,
        /// What it was first named as.
        one: Role,
        /// What it was named as later.
        other: Role,
    },
    /// A topic has no such partition.
    #[error("topic `{topic}` has no partition {partition}; it has {there}, counted from 0")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: i32,
        /// How many there are.
        there: usize,
    },
    /// A start was given for a partition that is not captured.
    #[error("a start is given for topic `{topic}`, partition {partition}, which is not captured")]
    StartOfNothing {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A start was given behind the end of the log.
    #[error(
        "topic `{topic}`, partition {partition}: the log ends at offset {end}, ahead of offset {asked}, where the capture is to \
         begin"
    )]
    StartBehindEnd {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Offset at which the capture was to begin.
        asked: i64,
        /// Offset behind the newest event.
        end: i64,
    },
    /// The window ends where it begins, or ahead of that.
    #[error("the window is empty: it begins at {} and ends ahead of {}", Moment::of_ms(*from_ms), Moment::of_ms(*until_ms))]
    EmptyWindow {
        /// Its begin, in milliseconds since the Unix epoch.
        from_ms: i64,
        /// Its end, likewise.
        until_ms: i64,
    },
    /// The brokers do not let the capture in, or cannot be trusted.
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
    /// It was told to stop while it waited for an answer.
    #[error("stopped before {brokers} gave an answer")]
    Stopped {
        /// Brokers that were asked.
        brokers: String,
    },
    /// The cluster deleted events before they were taken.
    #[error(
        "topic `{topic}`, partition {partition}: retention overtook the capture: offset {wanted} was wanted and the log begins \
         at {oldest}"
    )]
    RetentionOvertook {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset that was to be taken next.
        wanted: i64,
        /// Oldest offset that is left.
        oldest: i64,
    },
    /// The log ends ahead of what was taken of it.
    #[error(
        "topic `{topic}`, partition {partition}: the log ends at offset {end} where {wanted} is wanted next: the topic was \
         recreated, or its brokers lost events"
    )]
    LogEndsEarlier {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset that was to be taken next.
        wanted: i64,
        /// Offset behind the newest event.
        end: i64,
    },
    /// The log is no longer the one that was captured: a leader without all of it took over (an unclean election, a broker that lost its
    /// disk's cache), so that other events stand, or will stand, at offsets that the recording holds.
    #[error(
        "topic `{topic}`, partition {partition}: the brokers lost events that were taken{}, and offsets from there on mean others: \
         {wanted} is wanted next", end.map(|end| format!(" (from offset {end} on)")).unwrap_or_default()
    )]
    LogCut {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset that was to be taken next.
        wanted: i64,
        /// Offset from which on the log is another one; none where its leader does not say.
        end: Option<i64>,
    },
    /// The recording holds events of another cluster.
    #[error("{} was begun from cluster `{recorded}`, and {brokers} are of cluster `{found}`", out.display())]
    OtherCluster {
        /// The recording.
        out: PathBuf,
        /// Id of the cluster it was begun from.
        recorded: String,
        /// Brokers that were asked.
        brokers: String,
        /// Id of their cluster.
        found: String,
    },
    /// A topic was deleted and made again since the recording was begun: its offsets mean other events.
    #[error(
        "topic `{topic}` was recreated since {} was begun: its id was `{recorded}` and is `{found}`", out.display()
    )]
    RecreatedTopic {
        /// The recording.
        out: PathBuf,
        /// Topic.
        topic: String,
        /// Id when the recording was begun.
        recorded: String,
        /// Id now.
        found: String,
    },
    /// A topic was deleted while it was captured.
    #[error("topic `{topic}` was deleted while it was captured: its brokers have not known it for {} s", gone.as_secs())]
    DeletedTopic {
        /// Topic.
        topic: String,
        /// How long no broker knew it.
        gone: Duration,
    },
    /// A recording is to be gone on with, without one of its topics.
    #[error("{} was begun with topic `{topic}`, which is not among those to capture now", out.display())]
    TopicLeftOut {
        /// The recording.
        out: PathBuf,
        /// Topic.
        topic: String,
    },
    /// A recording is to be gone on with, without one of its partitions.
    #[error(
        "{} was begun with topic `{topic}`, partition {partition}, which is not among those to capture now", out.display()
    )]
    PartitionLeftOut {
        /// The recording.
        out: PathBuf,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// A recording is to be gone on with in another way than it was begun.
    #[error("{} was begun otherwise: {what} was {recorded}, and {found} is asked for now", out.display())]
    BegunOtherwise {
        /// The recording.
        out: PathBuf,
        /// What is different, such as the isolation.
        what: String,
        /// How it was when the recording was begun.
        recorded: String,
        /// How it is now.
        found: String,
    },
    /// The recording cannot be written on. It is not sealed; what was acknowledged stays.
    #[error("{} could not be written on; {acknowledged} events in it are safe", out.display())]
    Unfinished {
        /// Events that are on the disk.
        acknowledged: u64,
        /// The recording.
        out: PathBuf,
        /// What went wrong.
        source: RecordingError,
    },
    /// An event cannot be masked, or must not be kept. Nothing of it was written.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The consumer cannot be made.
    #[error("the consumer cannot be made: {reason}")]
    Consumer {
        /// What librdkafka says.
        reason: String,
    },
    /// A property of the client cannot be used.
    #[error(transparent)]
    Properties(#[from] PropertyError),
    /// The registry of schemas cannot be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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

pub(super) fn in_words(role: Role) -> &'static str {
    match role {
        Role::Input => "an input",
        Role::Table => "a table",
        Role::Output => "an output topic",
        Role::Changelog => "a changelog",
    }
}
