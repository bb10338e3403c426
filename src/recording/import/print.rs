//! Events as lines of text, in the formats that an import reads.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::parts::usual_type;
use crate::recording::{EventView, TimestampType};
use crate::schema::{Schemas, frame, recognise_message_pack};

/// How an event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineFormat {
    /// As an import of NDJSON reads it: the value as the JSON it is, everything else exact in base64.
    #[default]
    Ndjson,
    /// As `kcat -J` prints it: key and value as text. Bytes that are no UTF-8 stand in the line as they are, as with kcat. The
    /// broker is unknown: -1.
    Kcat,
}

/// Appends `event` as one line, with its end, to `out`.
///
/// Read again by an import, the line gives the same event but for the time of its capture.
pub fn print_event(event: &EventView<'_>, format: LineFormat, out: &mut Vec<u8>) {
    match format {
        LineFormat::Ndjson => print_ndjson(event, out),
        LineFormat::Kcat => print_kcat(event, out),
    }
    out.push(b'\n');
}

/// Appends `event` as one line in the manner of `kcat -J -s avro`: a key and a value that `schemas` describe stand as the JSON
/// that they say, with the schema's id behind them; a map or an array in MessagePack likewise, with `message-pack` behind it. All
/// else stands as [`LineFormat::Kcat`] has it.
pub fn print_decoded(event: &EventView<'_>, schemas: &Schemas, out: &mut Vec<u8>) {
    let decoded = |bytes: Option<&[u8]>| {
        let framed = |bytes: &[u8]| Some((format!("schema_id\":{}", frame(bytes)?.id), schemas.decode(bytes).ok()?));
        let packed = |bytes: &[u8]| Some(("encoding\":\"message-pack\"".to_owned(), recognise_message_pack(bytes)?));
        bytes.and_then(|bytes| framed(bytes).or_else(|| packed(bytes)))
    };
    let (key, value) = (decoded(event.key), decoded(event.value));
    kcat_head(event, out);
    for (name, part, bytes, decoded) in [("key", "key", event.key, key), ("payload", "value", event.value, value)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        match decoded {
            Some((by, said)) => {
                // JSON that stood on several lines would end the line.
                let on_one_line = said.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
                out.extend(on_one_line);
                out.extend_from_slice(format!(",\"{part}_{by}").as_bytes());
            }
            None => text_or_null(bytes, out),
        }
    }
    out.extend_from_slice(b"}\n");
}

fn print_ndjson(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\":");
    text(event.topic, out);
    out.extend_from_slice(format!(",\"partition\":{},\"offset\":{}", event.partition, event.offset).as_bytes());
    match event.timestamp_ms {
        Some(ms) => out.extend_from_slice(format!(",\"timestamp_ms\":{ms}").as_bytes()),
        None => out.extend_from_slice(b",\"timestamp_ms\":null"),
    }
    if event.timestamp_type != usual_type(event.timestamp_ms) {
        out.extend_from_slice(format!(",\"timestamp_type\":\"{}\"", type_name(event.timestamp_type)).as_bytes());
    }
    match event.key.map(|key| (key, std::str::from_utf8(key))) {
        None => out.extend_from_slice(b",\"key\":null"),
        Some((_, Ok(key))) => {
            out.extend_from_slice(b",\"key\":");
            text(key, out);
        }
        Some((key, Err(_))) => {
            out.extend_from_slice(b",\"key_base64\":");
            base64_text(key, out);
        }
    }
    match event.value {
        None => out.extend_from_slice(b",\"value\":null"),
        Some(value) if stands_as_json(value) => {
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value);
        }
        Some(value) => {
            out.extend_from_slice(b",\"value_base64\":");
            base64_text(value, out);
        }
    }
    out.extend_from_slice(b",\"headers\":[");
    for (index, (name, value)) in event.headers.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",[" } else { b"[" });
        text(name, out);
        out.push(b',');
        match value.map(|value| (value, std::str::from_utf8(value))) {
            None => out.extend_from_slice(b"null"),
            Some((_, Ok(value))) => text(value, out),
            Some((value, Err(_))) => {
                out.extend_from_slice(b"{\"base64\":");
                base64_text(value, out);
                out.push(b'}');
            }
        }
        out.push(b']');
    }
    out.extend_from_slice(b"]}");
}

fn print_kcat(event: &EventView<'_>, out: &mut Vec<u8>) {
    kcat_head(event, out);
    out.extend_from_slice(b",\"key\":");
    text_or_null(event.key, out);
    out.extend_from_slice(b",\"payload\":");
    text_or_null(event.value, out);
    out.push(b'}');
}

/// Writes what stands ahead of the key.
fn kcat_head(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\":");
    lenient_text(event.topic.as_bytes(), out);
    out.extend_from_slice(format!(",\"partition\":{},\"offset\":{}", event.partition, event.offset).as_bytes());
    if event.timestamp_type != TimestampType::None {
        let name = if event.timestamp_type == TimestampType::Create { "create" } else { "logappend" };
        out.extend_from_slice(format!(",\"tstype\":\"{name}\",\"ts\":{}", event.timestamp_ms.unwrap_or(-1)).as_bytes());
    }
    out.extend_from_slice(b",\"broker\":-1");
    let mut headers = event.headers.iter().peekable();
    if headers.peek().is_some() {
        out.extend_from_slice(b",\"headers\":");
        for (index, (name, value)) in headers.enumerate() {
            out.push(if index > 0 { b',' } else { b'[' });
            lenient_text(name.as_bytes(), out);
            out.push(b',');
            text_or_null(value, out);
        }
        out.push(b']');
    }
}

/// Whether `value` can stand in a line as it is and comes back as the same bytes: JSON on one line, without white space around
/// it, which belongs to nobody, and other than `null`, which would be a tombstone.
fn stands_as_json(value: &[u8]) -> bool {
    value != b"null"
        && !value.contains(&b'\n')
        && !value.contains(&b'\r')
        && serde_json::from_slice::<&RawValue>(value).is_ok_and(|raw| raw.get().len() == value.len())
}

fn type_name(timestamp_type: TimestampType) -> &'static str {
    match timestamp_type {
        TimestampType::Create => "create",
        TimestampType::Append => "append",
        TimestampType::None => "none",
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn base64_text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn text_or_null(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => lenient_text(bytes, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Escapes what kcat's JSON library escapes, and nothing else.
fn lenient_text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control if control < 0x20 => out.extend_from_slice(format!("\\u{control:04X}").as_bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}
