//! Events to a producer by the handles of their topics, and what became of them, a batch at a time.
//!
//! rdkafka's own producer looks each event's topic up by its name, under a lock that its threads share, and tells what became of each
//! event by a call of its own. At a million events a second both cost more than what is done with them.

use std::error::Error;
use std::ffi::{CStr, CString};
use std::os::raw::c_void;
use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as native;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr as Code;

use super::{last_error, text};

/// Bytes of what librdkafka says of a token that it does not take.
const COMPLAINT_BYTES: usize = 512;

/// Gives events to a producer, each to a partition of one of its topics.
pub(crate) struct Writer<'c, C: ClientContext> {
    client: &'c Client<C>,
    topics: Vec<*mut native::rd_kafka_topic_t>,
}

/// One event to be produced, borrowed.
pub(crate) struct Outgoing<'e> {
    pub(crate) partition: i32,
    /// Milliseconds since the Unix epoch; -1 for none. Zero stands for "now".
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'e [u8]>,
    pub(crate) value: Option<&'e [u8]>,
    /// Comes back with what became of the event.
    pub(crate) mark: usize,
}

/// What became of events that follow each other: as many as [`Report::count`], of one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) mark: usize,
    /// Offset of the first of them, the others' follow; below zero where the broker did not say.
    pub(crate) offset: i64,
    pub(crate) count: i64,
    /// Why they were not taken.
    pub(crate) error: Option<RDKafkaErrorCode>,
}

impl<'c, C: ClientContext> Writer<'c, C> {
    /// Makes a writer for `topics`, which are known by their number from then on.
    pub(crate) fn new<'t>(client: &'c Client<C>, topics: impl Iterator<Item = &'t str>) -> Result<Self, String> {
        let mut writer = Self { client, topics: Vec::new() };
        for topic in topics {
            let name = CString::new(topic).map_err(|_| format!("the name of topic {topic:?} holds a zero byte"))?;
            // SAFETY: the client lives, `name` ends with a zero; without a configuration the client's own counts. The handle is
            // destroyed in `drop`, ahead of the client.
            let handle = unsafe { native::rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
            if handle.is_null() {
                return Err(last_error());
            }
            writer.topics.push(handle);
        }
        Ok(writer)
    }

    /// Hands one event to the producer, which copies it; what became of it is told by [`reports`]. Names and values of headers are in
    /// order, repeats included.
    pub(crate) fn send<'e>(
        &self,
        topic: usize,
        event: &Outgoing<'e>,
        headers: impl ExactSizeIterator<Item = (&'e str, Option<&'e [u8]>)>,
    ) -> Result<(), RDKafkaErrorCode> {
        let (key, key_bytes) = pointer(event.key);
        let (value, value_bytes) = pointer(event.value);
        let list = Headers::of(headers)?;
        // SAFETY: client and topic are alive. Each name is followed by as many values of the kind that it asks for, and the list is
        // ended. Key and value live for the call, which copies them. The headers belong to the producer where it takes the event.
        let code = unsafe {
            native::rd_kafka_producev(
                self.client.native_ptr(),
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topics[topic],
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                event.partition,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                native::RD_KAFKA_MSG_F_COPY,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value,
                value_bytes,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key,
                key_bytes,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(event.mark),
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                event.timestamp_ms,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                list.0,
                native::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        list.given();
        Ok(())
    }
}

impl<C: ClientContext> Drop for Writer<'_, C> {
    fn drop(&mut self) {
        for topic in &self.topics {
            // SAFETY: made in `new`, destroyed once, and ahead of the client, which this borrows. Events that wait hold the topic
            // themselves.
            unsafe { native::rd_kafka_topic_destroy(*topic) };
        }
    }
}

/// Headers of one event, ours until the producer has taken it; null where there are none.
struct Headers(*mut native::rd_kafka_headers_t);

impl Headers {
    fn of<'e>(headers: impl ExactSizeIterator<Item = (&'e str, Option<&'e [u8]>)>) -> Result<Self, RDKafkaErrorCode> {
        if headers.len() == 0 {
            return Ok(Self(ptr::null_mut()));
        }
        // SAFETY: takes a number alone.
        let list = Self(unsafe { native::rd_kafka_headers_new(headers.len()) });
        for (name, value) in headers {
            let (value, bytes) = pointer(value);
            // SAFETY: the list is alive and ours; name and value live for the call, which copies them, and so long are they.
            let code = unsafe {
                native::rd_kafka_header_add(list.0, name.as_ptr().cast(), name.len() as isize, value, bytes as isize)
            };
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(code.into());
            }
        }
        Ok(list)
    }

    /// They are the producer's now.
    fn given(self) {
        std::mem::forget(self);
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made in `of`, and not given away.
            unsafe { native::rd_kafka_headers_destroy(self.0) };
        }
    }
}

/// Start and length, as librdkafka takes them: null is no key, value or header, and not an empty one.
fn pointer(part: Option<&[u8]>) -> (*mut c_void, usize) {
    part.map_or((ptr::null_mut(), 0), |part| (part.as_ptr().cast_mut().cast(), part.len()))
}

/// Waits up to `timeout` for word of a producer's events, and hands what came with it to `take`, in order within each partition.
/// Returns whether there was any word. What else the client has to say is told to its context.
///
/// Of two threads that ask at once nobody knows which word came first.
pub(crate) fn reports<C: ClientContext>(client: &Client<C>, timeout: Duration, take: impl FnMut(Report)) -> bool {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives; the queue is destroyed below, once. An event is ours until it is destroyed, likewise.
    let (queue, event) = unsafe {
        let queue = native::rd_kafka_queue_get_main(client.native_ptr());
        (queue, native::rd_kafka_queue_poll(queue, millis))
    };
    if !event.is_null() {
        // SAFETY: the event is alive.
        match unsafe { native::rd_kafka_event_type(event) } {
            native::RD_KAFKA_EVENT_DR => each_run(event, take),
            native::RD_KAFKA_EVENT_ERROR => tell_error(client, event),
            native::RD_KAFKA_EVENT_STATS => tell_statistics(client, event),
            native::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => set_token(client, event),
            _ => {}
        }
    }
    // SAFETY: neither is used again; librdkafka takes null for no event.
    unsafe {
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
    }
    !event.is_null()
}

/// Joins the events of one batch: thousands, as a rule, of one partition and with offsets that follow each other.
fn each_run(event: *mut native::rd_kafka_event_t, mut take: impl FnMut(Report)) {
    let mut run: Option<(Report, Code)> = None;
    // SAFETY: the event is alive, and so are its messages as long as it is; null is the end.
    while let Some(message) = unsafe { native::rd_kafka_event_message_next(event).as_ref() } {
        let (mark, offset, code) = (message._private.addr(), message.offset, message.err);
        if let Some((run, of_run)) = &mut run
            && (run.mark, *of_run) == (mark, code)
            && follows(run, offset)
        {
            run.count += 1;
            continue;
        }
        let error = (code != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into());
        if let Some((whole, _)) = run.replace((Report { mark, offset, count: 1, error }, code)) {
            take(whole);
        }
    }
    if let Some((last, _)) = run {
        take(last);
    }
}

fn follows(run: &Report, offset: i64) -> bool {
    if run.offset < 0 { offset < 0 } else { offset == run.offset + run.count }
}

fn tell_error<C: ClientContext>(client: &Client<C>, event: *mut native::rd_kafka_event_t) {
    // SAFETY: the event is alive; its text belongs to it and ends with a zero.
    let (code, reason) =
        unsafe { (native::rd_kafka_event_error(event), text(native::rd_kafka_event_error_string(event))) };
    client.context().error(KafkaError::Global(code.into()), reason.trim());
}

fn tell_statistics<C: ClientContext>(client: &Client<C>, event: *mut native::rd_kafka_event_t) {
    // SAFETY: the event is alive; its text belongs to it and ends with a zero.
    let statistics = unsafe { CStr::from_ptr(native::rd_kafka_event_stats(event)) };
    client.context().stats_raw(statistics.to_bytes());
}

/// Gives the client the token that it asks for, or says why there is none.
fn set_token<C: ClientContext>(client: &Client<C>, event: *mut native::rd_kafka_event_t) {
    // SAFETY: the event is alive; its text belongs to it and ends with a zero, or is null.
    let config = unsafe {
        let config = native::rd_kafka_event_config_string(event);
        (!config.is_null()).then(|| CStr::from_ptr(config).to_string_lossy())
    };
    let made = || -> Result<(CString, CString, i64), Box<dyn Error>> {
        let token = client.context().generate_oauth_token(config.as_deref())?;
        Ok((CString::new(token.token)?, CString::new(token.principal_name)?, token.lifetime_ms))
    };
    let complaint = match made() {
        Ok((token, principal, lifetime_ms)) => {
            let mut complaint = [0; COMPLAINT_BYTES];
            // SAFETY: the client lives, both texts end with a zero and are copied, there are no extensions, and the complaint has as
            // much room as it says; it ends with a zero.
            let (code, complaint) = unsafe {
                let code = native::rd_kafka_oauthbearer_set_token(
                    client.native_ptr(),
                    token.as_ptr(),
                    lifetime_ms,
                    principal.as_ptr(),
                    ptr::null_mut(),
                    0,
                    complaint.as_mut_ptr(),
                    complaint.len(),
                );
                (code, text(complaint.as_ptr()))
            };
            if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            complaint
        }
        Err(error) => error.to_string(),
    };
    let complaint = CString::new(complaint.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the client lives, the text ends with a zero and is copied.
    unsafe { native::rd_kafka_oauthbearer_set_token_failure(client.native_ptr(), complaint.as_ptr()) };
}
