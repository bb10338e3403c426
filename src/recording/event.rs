//! One Kafka record, byte for byte.

/// One Kafka record with all that Kafka keeps of it. `None` and empty bytes are different things, everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Topic it stood in.
    pub topic: String,
    /// Partition it stood in.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The event's own time in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// When capture received it, in microseconds since the Unix epoch; none where imported.
    pub captured_at_us: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order; a name may stand more than once.
    pub headers: Vec<Header>,
}

/// One header of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value; none is not empty.
    pub value: Option<Vec<u8>>,
}

/// Who set an event's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TimestampType {
    /// The producer.
    Create,
    /// The broker, when it appended the event.
    Append,
    /// Nobody: there is no timestamp.
    #[default]
    None,
}
