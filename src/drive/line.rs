//! Deliveries as lines of standard input.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::Payload;
use crate::plan::Delivery;
use crate::recording::EventView;

/// Why an event cannot be handed over in this payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit;

/// How deliveries are written down.
#[derive(Debug, Clone)]
pub(super) struct LineFormat {
    pub(super) payload: Payload,
    pub(super) show_attempt: bool,
    /// `{"topic":"…","partition":` for each topic of the plan.
    heads: Vec<Vec<u8>>,
}

impl LineFormat {
    pub(super) fn new(payload: Payload, show_attempt: bool, topics: &[String]) -> Self {
        let head = |topic: &String| {
            let mut head = b"{\"topic\":".to_vec();
            string(topic, &mut head);
            head.extend_from_slice(b",\"partition\":");
            head
        };
        Self { payload, show_attempt, heads: topics.iter().map(head).collect() }
    }

    /// Appends the line of `delivery`, whose event is `event`.
    ///
    /// # Errors
    ///
    /// A bare value that holds a line break and is no JSON would come as two.
    pub(super) fn append(&self, delivery: &Delivery, event: &EventView<'_>, line: &mut Vec<u8>) -> Result<(), Unfit> {
        match self.payload {
            Payload::Value => bare(event.value, line)?,
            Payload::Envelope => self.envelope(delivery, event, line),
        }
        line.push(b'\n');
        Ok(())
    }

    fn envelope(&self, delivery: &Delivery, event: &EventView<'_>, line: &mut Vec<u8>) {
        line.extend_from_slice(&self.heads[delivery.topic as usize]);
        number(delivery.partition.into(), line);
        line.extend_from_slice(b",\"offset\":");
        number(delivery.position, line);
        if self.show_attempt {
            line.extend_from_slice(b",\"attempt\":");
            number(delivery.attempt.into(), line);
        }
        line.extend_from_slice(b",\"timestamp_ms\":");
        match event.timestamp_ms {
            Some(timestamp) => number(timestamp, line),
            None => line.extend_from_slice(b"null"),
        }
        match event.key.map(|key| (key, std::str::from_utf8(key))) {
            None => line.extend_from_slice(b",\"key\":null"),
            Some((_, Ok(key))) => {
                line.extend_from_slice(b",\"key\":");
                string(key, line);
            }
            Some((key, Err(_))) => encoded(",\"key_base64\":\"", key, line),
        }
        match event.value.map(|value| (value, json(value))) {
            None => line.extend_from_slice(b",\"value\":null"),
            Some((_, Some(json))) => {
                line.extend_from_slice(b",\"value\":");
                on_one_line(json, line);
            }
            Some((value, None)) => encoded(",\"value_base64\":\"", value, line),
        }
        line.extend_from_slice(b",\"headers\":[");
        for (index, (name, value)) in event.headers.iter().enumerate() {
            line.extend_from_slice(if index == 0 { b"[" } else { b",[" });
            string(name, line);
            match value.map(|value| (value, std::str::from_utf8(value))) {
                None => line.extend_from_slice(b",null"),
                Some((_, Ok(text))) => {
                    line.push(b',');
                    string(text, line);
                }
                Some((value, Err(_))) => {
                    encoded(",{\"base64\":\"", value, line);
                    line.push(b'}');
                }
            }
            line.push(b']');
        }
        line.extend_from_slice(b"]}");
    }
}

fn bare(value: Option<&[u8]>, line: &mut Vec<u8>) -> Result<(), Unfit> {
    match value {
        None => line.extend_from_slice(b"null"),
        Some(value) if !value.contains(&b'\n') => line.extend_from_slice(value),
        Some(value) => on_one_line(json(value).ok_or(Unfit)?, line),
    }
    Ok(())
}

/// The value where it is JSON that can stand inside an object. JSON's own `null` cannot: it would read as a tombstone.
fn json(value: &[u8]) -> Option<&[u8]> {
    let text = serde_json::from_slice::<&RawValue>(value).ok()?.get();
    (text != "null").then_some(text.as_bytes())
}

/// Appends JSON without its line breaks, which can only stand between its tokens.
fn on_one_line(json: &[u8], line: &mut Vec<u8>) {
    let start = line.len();
    line.extend_from_slice(json);
    if json.contains(&b'\n') {
        line[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
}

fn encoded(front: &str, bytes: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(front.as_bytes());
    line.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    line.push(b'"');
}

fn string(text: &str, line: &mut Vec<u8>) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else if let Ok(escaped) = serde_json::to_vec(text) {
        line.extend_from_slice(&escaped);
    }
}

fn number(number: i64, line: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = write!(line, "{number}");
}
