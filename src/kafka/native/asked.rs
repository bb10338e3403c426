//! Requests of an operator, made through a consumer's own client, so that one set of connections and credentials serves all.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr as Code;

use crate::kafka::listening::Listening;

pub(super) fn names(names: &[&str]) -> Result<Vec<CString>, String> {
    let name = |topic: &&str| CString::new(*topic).map_err(|_| format!("the name {topic:?} holds a zero byte"));
    names.iter().map(name).collect()
}

/// What a request is made with.
pub(super) struct Ask {
    pub(super) client: *mut native::rd_kafka_t,
    pub(super) options: *mut native::rd_kafka_AdminOptions_t,
    pub(super) queue: *mut native::rd_kafka_queue_t,
}

/// A request that was made.
pub(super) struct Asked<'c> {
    queue: *mut native::rd_kafka_queue_t,
    /// Whose client lives at least as long.
    consumer: PhantomData<&'c BaseConsumer<Listening>>,
}

impl<'c> Asked<'c> {
    /// Makes a request with `send` to `broker`, or to whom it concerns; its answer comes within `timeout`, if only as an error.
    pub(super) fn of(
        consumer: &'c BaseConsumer<Listening>,
        operation: native::rd_kafka_admin_op_t,
        broker: Option<i32>,
        timeout: Duration,
        send: impl FnOnce(&Ask),
    ) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as `consumer`. The options are made here and destroyed once below, after the last use;
        // the queue is destroyed in `drop`.
        unsafe {
            let ask = Ask {
                client,
                options: native::rd_kafka_AdminOptions_new(client, operation),
                queue: native::rd_kafka_queue_new(client),
            };
            native::rd_kafka_AdminOptions_set_request_timeout(ask.options, whole_ms(timeout), ptr::null_mut(), 0);
            if let Some(broker) = broker {
                // Not the controller, which librdkafka would wait for: any broker knows, and not every cluster has a controller.
                native::rd_kafka_AdminOptions_set_broker(ask.options, broker, ptr::null_mut(), 0);
            }
            send(&ask);
            native::rd_kafka_AdminOptions_destroy(ask.options);
            Self { queue: ask.queue, consumer: PhantomData }
        }
    }

    /// Waits for the answer a little longer than the request, which may take `timeout`: its own error says more.
    pub(super) fn wait(&self, timeout: Duration) -> Result<Answer, String> {
        let answer = self.answer(timeout.saturating_add(Duration::from_secs(1)));
        answer.unwrap_or_else(|| Err("no answer came".to_owned()))
    }

    /// Returns the answer where it comes within `wait`.
    pub(super) fn answer(&self, wait: Duration) -> Option<Result<Answer, String>> {
        // SAFETY: the queue is alive until `drop`; the event is ours, and destroyed in the answer's own.
        let event = unsafe { native::rd_kafka_queue_poll(self.queue, whole_ms(wait)) };
        if event.is_null() {
            return None;
        }
        let answer = Answer { event };
        // SAFETY: the event lives, and with it the text of its error, which ends with a zero.
        Some(unsafe {
            match native::rd_kafka_event_error(event) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(answer),
                _ => Err(CStr::from_ptr(native::rd_kafka_event_error_string(event)).to_string_lossy().into_owned()),
            }
        })
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once, after its last use; librdkafka throws an answer away that comes later.
        unsafe { native::rd_kafka_queue_destroy(self.queue) };
    }
}

fn whole_ms(duration: Duration) -> i32 {
    duration.as_millis().min(i32::MAX as u128) as i32
}

/// The answer to a request.
pub(super) struct Answer {
    pub(super) event: *mut native::rd_kafka_event_t,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: destroyed once, after its last use.
        unsafe { native::rd_kafka_event_destroy(self.event) };
    }
}
