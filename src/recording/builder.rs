//! Events into columns, one after the other.

use std::mem;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, ListArray, NullBufferBuilder, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::batch::{ALL_KINDS, BatchColumns};
use super::schema;
use super::{Event, EventBatch, EventView, TimestampType};

/// Rows after which a batch is large enough to be written or handed on.
const FULL_ROWS: usize = 4096;

/// Bytes of keys, values and headers after which a batch is large enough.
const FULL_BYTES: usize = 8 << 20;

/// Builds batches of events from borrowed parts.
///
/// A batch holds at most 2 GiB of keys, of values and of headers; [`Self::is_full`] is true long before that.
///
/// ```
/// use rehearsal::recording::{Event, EventBatchBuilder};
///
/// let mut builder = EventBatchBuilder::new();
/// builder.push_event(&Event { topic: "flights".to_owned(), value: Some(b"{}".to_vec()), ..Event::default() });
/// let batch = builder.finish();
/// assert_eq!(batch.get(0).value, Some(&b"{}"[..]));
/// ```
#[derive(Debug)]
pub struct EventBatchBuilder {
    topic_names: Vec<String>,
    topics: Vec<i32>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    timestamps_valid: NullBufferBuilder,
    timestamp_types: Vec<i32>,
    captured_at: Vec<i64>,
    captured_at_valid: NullBufferBuilder,
    keys: Bytes,
    values: Bytes,
    header_ends: Vec<i32>,
    header_names: Bytes,
    header_values: Bytes,
}

impl EventBatchBuilder {
    /// Makes an empty builder.
    pub fn new() -> Self {
        Self {
            topic_names: Vec::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            offsets: Vec::new(),
            timestamps: Vec::new(),
            timestamps_valid: NullBufferBuilder::new(FULL_ROWS),
            timestamp_types: Vec::new(),
            captured_at: Vec::new(),
            captured_at_valid: NullBufferBuilder::new(FULL_ROWS),
            keys: Bytes::new(),
            values: Bytes::new(),
            header_ends: vec![0],
            header_names: Bytes::new(),
            header_values: Bytes::new(),
        }
    }

    /// Adds one event from its parts. Times are in milliseconds and microseconds since the Unix epoch; `headers` yields names
    /// and values in order.
    #[expect(
        clippy::too_many_arguments,
        reason = "an event has these parts, and a struct of borrowed parts would be built only to be taken apart"
    )]
    #[inline]
    pub fn push<'h>(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        timestamp_ms: Option<i64>,
        timestamp_type: TimestampType,
        captured_at_us: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) {
        let code = self.topic_code(topic);
        self.topics.push(code);
        self.partitions.push(partition);
        self.offsets.push(offset);
        self.timestamps.push(timestamp_ms.unwrap_or_default());
        self.timestamps_valid.append(timestamp_ms.is_some());
        self.timestamp_types.push(match timestamp_type {
            TimestampType::Create => 0,
            TimestampType::Append => 1,
            TimestampType::None => 2,
        });
        self.captured_at.push(captured_at_us.unwrap_or_default());
        self.captured_at_valid.append(captured_at_us.is_some());
        self.keys.push(key);
        self.values.push(value);
        for (name, value) in headers {
            self.header_names.push(Some(name.as_bytes()));
            self.header_values.push(value);
        }
        self.header_ends.push(self.header_names.len() as i32);
    }

    /// Adds `event`.
    pub fn push_event(&mut self, event: &Event) {
        let headers = event.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
        self.push(
            &event.topic,
            event.partition,
            event.offset,
            event.timestamp_ms,
            event.timestamp_type,
            event.captured_at_us,
            event.key.as_deref(),
            event.value.as_deref(),
            headers,
        );
    }

    /// Adds an event of another batch.
    #[inline]
    pub fn push_view(&mut self, event: EventView<'_>) {
        self.push(
            event.topic,
            event.partition,
            event.offset,
            event.timestamp_ms,
            event.timestamp_type,
            event.captured_at_us,
            event.key,
            event.value,
            event.headers.iter(),
        );
    }

    /// Number of events so far.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Whether the batch is large enough to be finished: a few thousand events or a few megabytes.
    pub fn is_full(&self) -> bool {
        self.len() >= FULL_ROWS || self.bytes() >= FULL_BYTES
    }

    /// Bytes of keys, values and headers so far.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len() + self.header_names.data.len() + self.header_values.data.len()
    }

    /// Returns the batch and starts the next one.
    pub fn finish(&mut self) -> EventBatch {
        let topic_names: Vec<&str> = self.topic_names.iter().map(String::as_str).collect();
        let header_names = self.header_names.finish_text();
        let header_values = self.header_values.finish();
        let headers = ListArray::new(
            schema::header_item(),
            OffsetBuffer::new(ScalarBuffer::from(mem::replace(&mut self.header_ends, vec![0]))),
            Arc::new(StructArray::new(
                schema::header_fields(),
                vec![Arc::new(header_names.clone()) as ArrayRef, Arc::new(header_values.clone())],
                None,
            )),
            None,
        );
        let capacity = self.len();
        let batch = EventBatch::from_columns(BatchColumns {
            topics: DictionaryArray::new(
                take(&mut self.topics, capacity).into(),
                Arc::new(StringArray::from(topic_names)),
            ),
            partitions: Int32Array::from(take(&mut self.partitions, capacity)),
            offsets: Int64Array::from(take(&mut self.offsets, capacity)),
            timestamps: TimestampMillisecondArray::new(
                take(&mut self.timestamps, capacity).into(),
                self.timestamps_valid.finish(),
            )
            .with_timezone("UTC"),
            timestamp_types: DictionaryArray::new(take(&mut self.timestamp_types, capacity).into(), kind_names()),
            captured_at: TimestampMicrosecondArray::new(
                take(&mut self.captured_at, capacity).into(),
                self.captured_at_valid.finish(),
            )
            .with_timezone("UTC"),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers,
            header_names,
            header_values,
        });
        self.topic_names.clear();
        batch
    }

    #[inline]
    fn topic_code(&mut self, topic: &str) -> i32 {
        // Most events have the topic of the one ahead of them.
        if let Some(&last) = self.topics.last()
            && self.topic_names[last as usize] == topic
        {
            return last;
        }
        let code = self.topic_names.iter().position(|name| name == topic).unwrap_or_else(|| {
            self.topic_names.push(topic.to_owned());
            self.topic_names.len() - 1
        });
        code as i32
    }
}

impl Default for EventBatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the values and leaves room for as many.
fn take<T>(values: &mut Vec<T>, capacity: usize) -> Vec<T> {
    mem::replace(values, Vec::with_capacity(capacity))
}

/// Texts of the timestamp types, in the order of [`ALL_KINDS`].
fn kind_names() -> ArrayRef {
    static NAMES: LazyLock<ArrayRef> = LazyLock::new(|| {
        Arc::new(StringArray::from_iter_values(ALL_KINDS.iter().map(|kind| match kind {
            TimestampType::Create => "create",
            TimestampType::Append => "append",
            TimestampType::None => "none",
        })))
    });
    Arc::clone(&NAMES)
}

/// A column of byte strings, some of them null.
#[derive(Debug)]
struct Bytes {
    ends: Vec<i32>,
    data: Vec<u8>,
    valid: NullBufferBuilder,
}

impl Bytes {
    fn new() -> Self {
        Self { ends: vec![0], data: Vec::new(), valid: NullBufferBuilder::new(FULL_ROWS) }
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    #[inline]
    fn push(&mut self, bytes: Option<&[u8]>) {
        self.data.extend_from_slice(bytes.unwrap_or_default());
        self.ends.push(i32::try_from(self.data.len()).expect("a batch holds less than 2 GiB a column"));
        self.valid.append(bytes.is_some());
    }

    fn finish(&mut self) -> BinaryArray {
        let (offsets, data) = self.take();
        BinaryArray::new(offsets, data, self.valid.finish())
    }

    fn finish_text(&mut self) -> StringArray {
        let (offsets, data) = self.take();
        self.valid.finish();
        StringArray::new(offsets, data, None)
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let rows = self.ends.len();
        let bytes = self.data.len();
        let mut ends = Vec::with_capacity(rows);
        ends.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(mem::replace(&mut self.ends, ends)));
        (offsets, Buffer::from_vec(mem::replace(&mut self.data, Vec::with_capacity(bytes))))
    }
}
