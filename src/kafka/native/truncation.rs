//! Whether a log still is the one that was read: asked of its leader by the leader epoch of an event (KIP-320).
//!
//! Each event bears the number of the leadership under which it was written. A leader says where the last of an epoch ended in its log;
//! where that is ahead of what was read under it, the log was cut off there, and what came since stands at the same offsets.

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaRespErr as Code;

use super::{Reader, text};

/// What librdkafka writes ahead of the offset up to which a log is shared.
const END: &str = "broker end offset is ";

impl Reader<'_> {
    /// Has the log of a partition that was started held against an event of the leader epoch `epoch` right ahead of `offset`, and reads
    /// it from there: [`super::Polled::Truncated`] comes where it is no longer that, and nothing else does. Brokers that know no
    /// epochs are trusted. Returns false while the client has not heard of the partition yet.
    ///
    /// # Errors
    ///
    /// In words, where the client does not take it within `timeout`.
    pub(crate) fn hold_against(
        &mut self,
        topic: usize,
        partition: i32,
        (offset, epoch): (i64, i32),
        timeout: Duration,
    ) -> Result<bool, String> {
        let client = self.consumer.client().native_ptr();
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: client and name are alive, and the name ends with a zero and is copied; the list is made here, its one element, which it
        // owns, is used until it is destroyed, once. The error is ours, and its text lives until it is destroyed, likewise; null is none.
        unsafe {
            let list = native::rd_kafka_topic_partition_list_new(1);
            let one = native::rd_kafka_topic_partition_list_add(list, self.topics[topic].name.as_ptr(), partition);
            (*one).offset = offset;
            native::rd_kafka_topic_partition_set_leader_epoch(one, epoch);
            let error = native::rd_kafka_seek_partitions(client, list, millis);
            let code = (*one).err;
            native::rd_kafka_topic_partition_list_destroy(list);
            if !error.is_null() {
                let reason = text(native::rd_kafka_error_string(error));
                native::rd_kafka_error_destroy(error);
                return Err(reason);
            }
            match code {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(true),
                Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Ok(false),
                code => Err(text(native::rd_kafka_err2str(code))),
            }
        }
    }
}

/// A log that was cut off, and up to where it is shared, as far as that is known.
pub(super) struct Truncation {
    pub(super) end: Option<i64>,
}

/// Whether the message, which says that an offset is not there, says so of a log that was cut off.
pub(super) fn told(message: &native::rd_kafka_message_t) -> Option<Truncation> {
    // SAFETY: the text belongs to the message, which is alive, and the other is a constant; both end with a zero.
    let (reason, truncation) = unsafe {
        let truncation = native::rd_kafka_err2str(Code::RD_KAFKA_RESP_ERR__LOG_TRUNCATION);
        (text(native::rd_kafka_message_errstr(message)), CStr::from_ptr(truncation).to_string_lossy())
    };
    reason.contains(&*truncation).then(|| Truncation { end: end_in(&reason) })
}

/// The end that librdkafka names in words alone; none where there is none.
fn end_in(reason: &str) -> Option<i64> {
    let (_, behind) = reason.split_once(END)?;
    let number = behind.split(|one: char| !(one.is_ascii_digit() || one == '-')).next()?;
    number.parse().ok().filter(|end| *end >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_shared_is_read_from_what_librdkafka_says() {
        for (reason, expected) in [
            (
                "Partition log truncation detected at offset 90 (leader epoch 3): broker end offset is 60 (offset leader epoch 2). \
                 Reset to INVALID.: Local: Partition log truncation detected (broker 2)",
                Some(60),
            ),
            ("No epoch found less or equal to offset 9 (leader epoch 8): broker end offset is -1 (offset", None),
            ("broker end offset is", None),
            ("fetch failed due to requested offset not available on the broker", None),
        ] {
            assert_eq!(end_in(reason), expected, "{reason}");
        }
    }
}
