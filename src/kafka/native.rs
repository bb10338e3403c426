//! Events straight from librdkafka, many at a time.
//!
//! rdkafka's own consumer needs a group to be assigned partitions, hands over one event at a time, and panics at the name of a
//! header that is no UTF-8. librdkafka's simple consumer needs no group and fills an array. Producing many a second is of the same kind
//! (`produce.rs`). This file and those below it are
//! the only ones of the room with foreign calls; why each is sound is said where it stands.

#![expect(
    unsafe_code,
    reason = "librdkafka's simple consumer and its batches are reached through its C interface alone"
)]

mod asked;
mod bell;
mod describe;
mod operate;
mod produce;
mod truncation;

use std::ffi::{CStr, CString};
use std::os::raw::c_void;
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr as Code;

use self::bell::Bell;
pub(crate) use self::describe::{AskedIds, CLEANUP_POLICY, Described, ask_for_topic_ids, configurations, topic_ids};
pub(crate) use self::operate::{NewTopic, Refusal, create_topics, delete_group, delete_topics, members_of};
pub(crate) use self::produce::{Outgoing, Report, Writer, reports};
use super::listening::Listening;
use crate::recording::TimestampType;

/// Reads chosen partitions from chosen offsets through one queue. Stops reading when dropped.
pub(crate) struct Reader<'c> {
    consumer: &'c BaseConsumer<Listening>,
    queue: *mut native::rd_kafka_queue_t,
    bell: Bell,
    topics: Vec<Topic>,
    started: Vec<(usize, i32)>,
    /// Room for one poll; empty between polls.
    polled: Vec<*mut native::rd_kafka_message_t>,
}

struct Topic {
    name: CString,
    handle: *mut native::rd_kafka_topic_t,
}

/// What a poll brought.
pub(crate) enum Polled<'a> {
    /// An event.
    Event(Received<'a>),
    /// The partition has nothing more at this moment; `offset` is the next one.
    End { topic: usize, partition: i32, offset: i64 },
    /// The broker has no such offset: the log begins behind it or ends ahead of it. The partition is read no further.
    OutOfRange { topic: usize, partition: i32 },
    /// The log no longer is the one that was read, or that [`Reader::hold_against`] names: a leader without all of it took over, which
    /// shares it up to `end`, where it says so. The partition is read no further.
    Truncated { topic: usize, partition: i32, end: Option<i64> },
    /// The partition could not be read. librdkafka tries again unless told otherwise.
    Failed { topic: usize, partition: i32, reason: String },
}

impl<'c> Reader<'c> {
    /// Makes a reader that hands over up to `batch` events a poll.
    pub(crate) fn new<'t>(
        consumer: &'c BaseConsumer<Listening>,
        topics: impl Iterator<Item = &'t str>,
        batch: usize,
    ) -> Result<Self, String> {
        let bell = Bell::new().map_err(|error| format!("a pair of sockets cannot be had: {error}"))?;
        // SAFETY: the client lives as long as `consumer`, which this reader borrows; the queue is destroyed in `drop`.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        // SAFETY: the queue was just made, and rings until it is destroyed, ahead of the bell.
        unsafe { bell.hang_on(queue) };
        let polled = Vec::with_capacity(batch);
        let mut reader = Self { consumer, queue, bell, topics: Vec::new(), started: Vec::new(), polled };
        for topic in topics {
            reader.add_topic(topic)?;
        }
        Ok(reader)
    }

    /// Adds a topic, which gets the next number.
    pub(crate) fn add_topic(&mut self, topic: &str) -> Result<(), String> {
        let name = CString::new(topic).map_err(|_| format!("the name of topic {topic:?} holds a zero byte"))?;
        // SAFETY: the client lives, `name` ends with a zero; without a configuration the client's own counts. The handle is
        // destroyed in `drop`, ahead of the client.
        let handle =
            unsafe { native::rd_kafka_topic_new(self.consumer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        if handle.is_null() {
            return Err(last_error());
        }
        self.topics.push(Topic { name, handle });
        Ok(())
    }

    /// Begins to read `partition` of the topic `topic`, counted in the order given, at `offset`.
    pub(crate) fn start(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String> {
        // SAFETY: topic and queue are alive until `drop`.
        let result =
            unsafe { native::rd_kafka_consume_start_queue(self.topics[topic].handle, partition, offset, self.queue) };
        if result == -1 {
            return Err(last_error());
        }
        self.started.push((topic, partition));
        Ok(())
    }

    /// Stops reading a partition. Events of it that wait already may still come.
    pub(crate) fn stop(&mut self, topic: usize, partition: i32) {
        let before = self.started.len();
        self.started.retain(|started| *started != (topic, partition));
        if self.started.len() < before {
            // SAFETY: the topic is alive and the partition was started, once.
            unsafe { native::rd_kafka_consume_stop(self.topics[topic].handle, partition) };
        }
    }

    /// Hands what has come to `take`, in order, and waits up to `timeout` where nothing has. That is a time of the monotonic clock: the
    /// wall clock may be set meanwhile.
    ///
    /// The first error of `take` ends the hand-over; what came with it is lost to this reader.
    pub(crate) fn poll<E>(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(Polled<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut count = self.fetch();
        if count == 0 && !timeout.is_zero() {
            self.bell.wait(timeout);
            count = self.fetch();
        }
        let mut result = Ok(());
        let mut topic = Recent::default();
        for message in self.polled.drain(..) {
            // SAFETY: the message is alive until the next line but one, and nothing that borrows from it outlives `take`.
            let borrowed = unsafe { &*message };
            if result.is_ok() {
                result = take(sort(borrowed, topic.index(&self.topics, borrowed.rkt)));
            }
            // SAFETY: destroyed once, after its last use.
            unsafe { native::rd_kafka_message_destroy(message) };
        }
        result.map(|()| count)
    }

    /// Fills `polled`, which is empty, with what has come, and returns how much that is. Does not wait.
    fn fetch(&mut self) -> usize {
        let room = self.polled.capacity();
        // SAFETY: `polled` is empty and has room for `room` pointers; librdkafka fills the first `count` of them, or returns -1.
        // Each message is then the reader's until it is destroyed, once, where it was polled for.
        unsafe {
            let count = native::rd_kafka_consume_batch_queue(self.queue, 0, self.polled.as_mut_ptr(), room);
            let count = usize::try_from(count).unwrap_or(0);
            self.polled.set_len(count);
            count
        }
    }

    /// Returns the offset behind the newest event of a partition as of the last answer of its broker; none before it.
    pub(crate) fn high(&self, topic: usize, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: client and name are alive, both results point to whole numbers of this frame.
        let code = unsafe {
            native::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                self.topics[topic].name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        while let Some(&(topic, partition)) = self.started.last() {
            self.stop(topic, partition);
        }
        // SAFETY: nothing reads any more; each is destroyed once, and ahead of the client that `consumer` keeps alive.
        unsafe {
            for topic in &self.topics {
                native::rd_kafka_topic_destroy(topic.handle);
            }
            Bell::take_from(self.queue);
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Finds the index of a topic by its handle, remembering the last: neighbours are mostly of one topic.
#[derive(Default)]
struct Recent(Option<(*mut native::rd_kafka_topic_t, usize)>);

impl Recent {
    fn index(&mut self, topics: &[Topic], handle: *mut native::rd_kafka_topic_t) -> Option<usize> {
        if let Some((recent, index)) = self.0
            && recent == handle
        {
            return Some(index);
        }
        if handle.is_null() {
            return None;
        }
        // SAFETY: the handle belongs to a message that is alive, and so does its name, which ends with a zero.
        let name = unsafe { CStr::from_ptr(native::rd_kafka_topic_name(handle)) };
        let index = topics.iter().position(|topic| topic.name.as_c_str() == name)?;
        self.0 = Some((handle, index));
        Some(index)
    }
}

fn sort(message: &native::rd_kafka_message_t, topic: Option<usize>) -> Polled<'_> {
    match (message.err, topic) {
        (Code::RD_KAFKA_RESP_ERR_NO_ERROR, Some(topic)) => Polled::Event(Received { message, topic }),
        (Code::RD_KAFKA_RESP_ERR__PARTITION_EOF, Some(topic)) => {
            Polled::End { topic, partition: message.partition, offset: message.offset }
        }
        (Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, Some(topic)) => match truncation::told(message) {
            Some(truncation::Truncation { end }) => Polled::Truncated { topic, partition: message.partition, end },
            None => Polled::OutOfRange { topic, partition: message.partition },
        },
        (_, topic) => {
            // SAFETY: the text belongs to the message, which is alive, and ends with a zero.
            let reason = unsafe { text(native::rd_kafka_message_errstr(message)) };
            Polled::Failed { topic: topic.unwrap_or(0), partition: message.partition, reason }
        }
    }
}

/// One event, borrowed from librdkafka.
pub(crate) struct Received<'a> {
    message: &'a native::rd_kafka_message_t,
    /// Index of the topic in the order given.
    pub(crate) topic: usize,
}

impl<'a> Received<'a> {
    pub(crate) fn partition(&self) -> i32 {
        self.message.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.message.offset
    }

    /// Number of the leadership under which the event was written; below zero where the broker does not say.
    pub(crate) fn leader_epoch(&self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { native::rd_kafka_message_leader_epoch(self.message) }
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: key and length belong together and live as long as the message.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    /// Milliseconds since the Unix epoch, and who set them.
    pub(crate) fn timestamp(&self) -> (Option<i64>, TimestampType) {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, `kind` belongs to this frame.
        let ms = unsafe { native::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        let kind = match kind {
            native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::Create,
            native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::Append,
            native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return (None, TimestampType::None),
        };
        // -1 is Kafka's way to write that there is none.
        ((ms != -1).then_some(ms), kind)
    }

    /// Returns the headers in order; none where a name is no UTF-8.
    pub(crate) fn headers(&self) -> Option<impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a>> {
        let headers = self.headers_as_bytes().into_iter();
        headers.map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value))).collect::<Option<Vec<_>>>()
    }

    /// Returns the headers in order, names as they are.
    pub(crate) fn headers_as_bytes(&self) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive; on success `list` points to headers that it owns.
        let code = unsafe { native::rd_kafka_message_headers(self.message, &raw mut list) };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        // SAFETY: the list is alive as long as the message.
        let count = unsafe { native::rd_kafka_header_cnt(list) };
        let mut headers = Vec::with_capacity(count);
        for index in 0..count {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0);
            // SAFETY: the list is alive and the results belong to this frame; on success the name ends with a zero, value and
            // size belong together, and all live as long as the message.
            let (name, value) = unsafe {
                let code = native::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size);
                if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                (CStr::from_ptr(name), bytes(value.cast_mut(), size))
            };
            headers.push((name.to_bytes(), value));
        }
        headers
    }
}

/// # Safety
///
/// `start` is null or points to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: said above.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), length) })
}

/// # Safety
///
/// `start` is null or points to text that ends with a zero.
unsafe fn text(start: *const std::os::raw::c_char) -> String {
    if start.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: said above.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

/// What librdkafka says of the call that failed last in this thread.
fn last_error() -> String {
    // SAFETY: takes nothing; the text is a constant.
    unsafe { text(native::rd_kafka_err2str(native::rd_kafka_last_error())) }
}
