//! Messages that the JSON mapping writes in a form of their own: times, wrappers, structs, any.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use prost_reflect::MessageDescriptor;

use super::decode::{self, Sorted, members};
use super::wire::{Content, Raw, fields};
use crate::schema::DecodeError;
use crate::schema::out::Out;

/// Whether the JSON mapping has a form of its own for a message.
pub(super) fn has_own_form(message: &MessageDescriptor) -> bool {
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else { return false };
    matches!(name, "Timestamp" | "Duration" | "FieldMask" | "Struct" | "Value" | "ListValue" | "Any")
        || is_wrapper(name)
}

pub(super) fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "DoubleValue"
            | "FloatValue"
            | "Int64Value"
            | "UInt64Value"
            | "Int32Value"
            | "UInt32Value"
            | "BoolValue"
            | "StringValue"
            | "BytesValue"
    )
}

/// Writes a message in its own form; false where it has none, or this one lies outside of what the form can say.
pub(super) fn write(message: &MessageDescriptor, sorted: &Sorted<'_>, out: &mut Out) -> Result<bool, DecodeError> {
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else { return Ok(false) };
    match name {
        "Timestamp" => text(timestamp(number(sorted, 1), number(sorted, 2)), out),
        "Duration" => text(duration(number(sorted, 1), number(sorted, 2)), out),
        "FieldMask" => text(field_mask(sorted), out),
        // Each of these is what the one field that counts holds.
        "Struct" | "ListValue" | "Value" => inner(message, sorted, out),
        "Any" => any(message, sorted, out),
        name if is_wrapper(name) => inner(message, sorted, out),
        _ => Ok(false),
    }
}

fn text(text: Option<String>, out: &mut Out) -> Result<bool, DecodeError> {
    match text {
        Some(text) => out.string(&text).map(|()| true),
        None => Ok(false),
    }
}

/// Writes the one field of a message that counts, without its name.
fn inner(message: &MessageDescriptor, sorted: &Sorted<'_>, out: &mut Out) -> Result<bool, DecodeError> {
    for field in message.fields() {
        let found = sorted.of_field(field.number());
        if !found.is_empty() || !field.supports_presence() {
            decode::content(&field, found, out)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last of a field of whole numbers, zero where there is none.
fn number(sorted: &Sorted<'_>, field: u32) -> i64 {
    match sorted.of_field(field).last() {
        Some(Raw { content: Content::Varint(number), .. }) => *number as i64,
        _ => 0,
    }
}

fn timestamp(seconds: i64, nanos: i64) -> Option<String> {
    // Years 1 to 9999, as the mapping says.
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) {
        return None;
    }
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let time = DateTime::from_timestamp(seconds, nanos)?.naive_utc();
    Some(format!("{}{}Z", time.format("%Y-%m-%dT%H:%M:%S"), fraction(nanos)))
}

fn duration(seconds: i64, nanos: i64) -> Option<String> {
    let fits = seconds.abs_diff(0) <= 315_576_000_000 && nanos.abs_diff(0) < 1_000_000_000;
    let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    (fits && one_sign).then(|| format!("{sign}{}{}s", seconds.abs_diff(0), fraction(nanos.abs_diff(0) as u32)))
}

/// Nothing, or a point and three, six or nine digits.
fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

fn field_mask(sorted: &Sorted<'_>) -> Option<String> {
    let mut paths = Vec::new();
    for raw in sorted.of_field(1) {
        let Content::Bytes(bytes) = raw.content else { return None };
        let path = std::str::from_utf8(bytes).ok()?;
        let camel = camel(path);
        // A path that does not come back is shown as it stands, in the plain form.
        if snake(&camel) != path || path.contains(',') {
            return None;
        }
        paths.push(camel);
    }
    Some(paths.join(","))
}

fn camel(path: &str) -> String {
    let mut text = String::new();
    let mut raised = false;
    for point in path.chars() {
        match point {
            '_' => raised = true,
            _ if raised => {
                text.extend(point.to_uppercase());
                raised = false;
            }
            _ => text.push(point),
        }
    }
    text
}

pub(super) fn snake(path: &str) -> String {
    let mut text = String::new();
    for point in path.chars() {
        if point.is_uppercase() {
            text.push('_');
        }
        text.extend(point.to_lowercase());
    }
    text
}

fn any(message: &MessageDescriptor, sorted: &Sorted<'_>, out: &mut Out) -> Result<bool, DecodeError> {
    let bytes = |number: u32| match sorted.of_field(number).last() {
        Some(Raw { content: Content::Bytes(bytes), .. }) => *bytes,
        _ => &[],
    };
    let Ok(url) = std::str::from_utf8(bytes(1)) else { return Ok(false) };
    if url.is_empty() {
        return Ok(false);
    }
    out.open("{")?;
    out.name("@type")?;
    out.string(url)?;
    let name = url.rsplit('/').next().unwrap_or(url);
    match message.parent_pool().get_message_by_name(name) {
        Some(kind) if has_own_form(&kind) => {
            out.name("value")?;
            decode::message(&kind, bytes(2), out)?;
        }
        Some(kind) => {
            let raws = fields(bytes(2))?;
            members(&kind, &Sorted::of(&kind, &raws), out)?;
        }
        None => {
            out.name("value")?;
            out.string(&BASE64_STANDARD.encode(bytes(2)))?;
        }
    }
    out.close("}")?;
    Ok(true)
}
