//! Deliveries as requests: `CloudEvents` 1.0 in binary mode.
//!
//! After the HTTP binding, <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>. An event that
//! is a cloud event already, by the Kafka binding (headers `ce_…`, the key being its `partitionkey`), keeps its attributes; any other gets
//! those that are required from where it stands.

use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use crate::plan::Delivery;
use crate::recording::EventView;

/// Type of an event that says none.
const TYPE: &str = "rehearsal.event";

/// Headers of an event that would tell how the request itself is framed and where it goes.
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is sent for a delivery.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Writes a delivery down; `topic` is its name, `show_attempt` whether it says how often it was handed over before.
pub(super) fn sending(delivery: &Delivery, topic: &str, event: &EventView<'_>, show_attempt: bool) -> Sending {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &[u8]| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    };
    let (mut said, mut kind) = (Vec::new(), None);
    for (name, value) in event.headers.iter() {
        let Some(value) = value else { continue };
        let lower = name.to_ascii_lowercase();
        if let Some(attribute) = lower.strip_prefix("ce_").filter(|name| is_attribute(name)) {
            said.push(attribute.to_owned());
            put(&format!("ce-{attribute}"), escaped(value).as_bytes());
        } else if lower == "content-type" {
            kind = Some(value.to_vec());
        } else if !lower.starts_with("ce-") && !FRAMING.contains(&&*lower) {
            put(&lower, value);
        }
    }
    let mut missing = |attribute: &str, value: &str| {
        if !said.iter().any(|known| known == attribute) {
            put(&format!("ce-{attribute}"), escaped(value.as_bytes()).as_bytes());
        }
    };
    missing("specversion", "1.0");
    missing("id", &format!("{topic}/{}/{}", delivery.partition, delivery.position));
    missing("source", &format!("/topics/{topic}"));
    missing("type", TYPE);
    if let Some(time) = event.timestamp_ms.and_then(DateTime::from_timestamp_millis) {
        missing("time", &time.to_rfc3339_opts(SecondsFormat::Millis, true));
    }
    if let Some(key) = event.key {
        match std::str::from_utf8(key) {
            Ok(key) => missing("partitionkey", key),
            Err(_) => missing("partitionkeybase64", &base64(key)),
        }
    }
    if show_attempt {
        missing("attempt", &delivery.attempt.to_string());
    }
    let body = event.value.unwrap_or_default();
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let guessed = || if is_json() { b"application/json".to_vec() } else { b"application/octet-stream".to_vec() };
    // Nothing has no type: a tombstone.
    if event.value.is_some() {
        put(CONTENT_TYPE.as_str(), &kind.unwrap_or_else(guessed));
    }
    Sending { headers, body: Bytes::copy_from_slice(body) }
}

/// Names of attributes are lower-case letters and digits.
fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Value of an attribute as a header: all but printable ASCII, the space, the quotation mark and the percent sign as `%XX`.
fn escaped(value: &[u8]) -> String {
    value.iter().fold(String::with_capacity(value.len()), |mut text, byte| {
        match byte {
            b' ' | b'"' | b'%' | 0..=0x20 | 0x7F..=0xFF => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(*byte)),
        }
        text
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Phase;
    use crate::recording::{Event, EventBatchBuilder, Header, Place};

    fn sent(event: &Event, show_attempt: bool) -> (Vec<(String, String)>, Vec<u8>) {
        let mut batch = EventBatchBuilder::new();
        batch.push_event(event);
        let batch = batch.finish();
        let delivery = Delivery {
            due_us: 0,
            topic: 0,
            partition: 3,
            offset: 7,
            position: 9,
            attempt: 1,
            phase: Phase::Main,
            faults: 0,
            place: Place::default(),
        };
        let Sending { headers, body } = sending(&delivery, "orders", &batch.get(0), show_attempt);
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        (headers.iter().map(header).collect(), body.to_vec())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: Some(value.as_bytes().to_vec()) }
    }

    #[test]
    fn an_event_gets_the_attributes_that_are_required_from_where_it_stands() {
        let event = Event {
            topic: "orders".into(),
            partition: 3,
            offset: 7,
            timestamp_ms: Some(1_357_035_420_000),
            key: Some("Zü \"1\" 5%".into()),
            value: Some(b"{\"a\":1}".to_vec()),
            headers: vec![header("Trace", "x y"), header("host", "evil"), header("Content-Length", "1")],
            ..Event::default()
        };
        let (headers, body) = sent(&event, true);
        assert_eq!(body, b"{\"a\":1}");
        assert_eq!(
            headers,
            pairs(&[
                ("trace", "x y"),
                ("ce-specversion", "1.0"),
                ("ce-id", "orders/3/9"),
                ("ce-source", "/topics/orders"),
                ("ce-type", "rehearsal.event"),
                ("ce-time", "2013-01-01T10:17:00.000Z"),
                ("ce-partitionkey", "Z%C3%BC%20%221%22%205%25"),
                ("ce-attempt", "1"),
                ("content-type", "application/json"),
            ])
        );
    }

    #[test]
    fn an_event_that_is_a_cloud_event_already_keeps_its_attributes() {
        let event = Event {
            topic: "orders".into(),
            value: Some(b"<a/>".to_vec()),
            headers: vec![
                header("ce_specversion", "1.0"),
                header("ce_id", "A-1"),
                header("ce_source", "/shop"),
                header("ce_type", "order.made"),
                header("ce_tenant", "north"),
                header("content-type", "text/xml"),
            ],
            ..Event::default()
        };
        let (headers, _) = sent(&event, false);
        assert_eq!(
            headers,
            pairs(&[
                ("ce-specversion", "1.0"),
                ("ce-id", "A-1"),
                ("ce-source", "/shop"),
                ("ce-type", "order.made"),
                ("ce-tenant", "north"),
                ("content-type", "text/xml"),
            ])
        );
    }

    #[test]
    fn a_tombstone_has_neither_body_nor_type() {
        let (headers, body) = sent(&Event { key: Some(vec![255]), ..Event::default() }, false);
        assert!(body.is_empty() && headers.iter().all(|(name, _)| name != "content-type"));
        assert!(headers.contains(&("ce-partitionkeybase64".to_owned(), "/w==".to_owned())));
    }
}
