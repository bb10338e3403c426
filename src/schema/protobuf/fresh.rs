//! JSON to messages that no bytes are there for.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use chrono::DateTime;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::known::{has_own_form, is_wrapper, snake};
use super::wire::{put_bytes, put_tag};
use crate::schema::EncodeError;
use crate::schema::frame::{put_varint, put_zigzag};
use crate::schema::out::{DEPTH_MAX, double, member};

/// Writes a message.
pub(super) fn message(
    kind: &MessageDescriptor,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if depth > DEPTH_MAX {
        return Err(EncodeError::TooDeep { path: path.to_owned() });
    }
    if has_own_form(kind) && own_form(kind, value, path, depth, out)? {
        return Ok(());
    }
    let members = value.as_object().ok_or_else(|| EncodeError::unfit(path, format!("a {}", kind.full_name())))?;
    for (name, value) in members {
        let path = member(path, name);
        let found = kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name));
        field(&found.ok_or_else(|| EncodeError::UnknownMember { path: path.clone() })?, value, &path, depth, out)?;
    }
    match kind.fields().find(|field| field.is_required() && !members.contains_key(field.json_name())) {
        Some(field) => Err(EncodeError::Required { path: member(path, field.json_name()) }),
        None => Ok(()),
    }
}

/// Writes all of a field: nothing for null, nor for the default of a field without presence.
pub(super) fn field(
    field: &FieldDescriptor,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let holds_null = matches!(field.kind(), Kind::Message(kind) if kind.full_name() == "google.protobuf.Value")
        || matches!(field.kind(), Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue");
    if value.is_null() && (!holds_null || field.is_list()) {
        return Ok(());
    }
    if field.is_map() {
        let Kind::Message(entry_kind) = field.kind() else { return Ok(()) };
        let members = value.as_object().ok_or_else(|| EncodeError::unfit(path, "a map"))?;
        for (key, value) in members {
            entry(field, &entry_kind, key, value, path, depth, out)?;
        }
        return Ok(());
    }
    if field.is_list() {
        return list(field, value, path, depth, out);
    }
    let mut content = Vec::new();
    scalar(field, value, path, depth, &mut content)?;
    let is_default = match field.kind() {
        Kind::String | Kind::Bytes => content == [0],
        _ => content.iter().all(|byte| *byte == 0),
    };
    if is_default && !field.supports_presence() && !field.is_required() {
        return Ok(());
    }
    tagged(field, &content, out);
    Ok(())
}

/// Writes one entry of a map.
pub(super) fn entry(
    field_of_map: &FieldDescriptor,
    kind: &MessageDescriptor,
    key: &str,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let path = member(path, key);
    let key_field = kind.map_entry_key_field();
    let key = match key_field.kind() {
        Kind::Bool => Value::from(key == "true"),
        _ => Value::from(key),
    };
    let (mut payload, mut content) = (Vec::new(), Vec::new());
    scalar(&key_field, &key, &path, depth, &mut content)?;
    tagged(&key_field, &content, &mut payload);
    content.clear();
    scalar(&kind.map_entry_value_field(), value, &path, depth, &mut content)?;
    tagged(&kind.map_entry_value_field(), &content, &mut payload);
    put_bytes(field_of_map.number(), &payload, out);
    Ok(())
}

fn list(field: &FieldDescriptor, value: &Value, path: &str, depth: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let elements = value.as_array().ok_or_else(|| EncodeError::unfit(path, "an array"))?;
    let mut packed = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let mut content = Vec::new();
        scalar(field, element, &format!("{path}[{index}]"), depth, &mut content)?;
        if field.is_packed() {
            packed.extend_from_slice(&content);
        } else {
            tagged(field, &content, out);
        }
    }
    if !packed.is_empty() {
        put_bytes(field.number(), &packed, out);
    }
    Ok(())
}

/// Writes the tag of a field, its content and, for a group, the tag of its end.
fn tagged(field: &FieldDescriptor, content: &[u8], out: &mut Vec<u8>) {
    let wire_type = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::Message(_) if field.is_group() => 3,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    };
    put_tag(field.number(), wire_type, out);
    out.extend_from_slice(content);
    if wire_type == 3 {
        put_tag(field.number(), 4, out);
    }
}

/// Writes the content of one field, its length too, without its tag.
fn scalar(
    field: &FieldDescriptor,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let unfit = |wanted: &str| EncodeError::unfit(path, wanted);
    let signed = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        // `1.0` and `1e3` are whole numbers in the JSON mapping.
        value => {
            value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64))
        }
    };
    let int32 = |value: &Value| signed(value).and_then(|n: i64| i32::try_from(n).ok()).ok_or_else(|| unfit("an int32"));
    let int64 = |value: &Value| signed(value).ok_or_else(|| unfit("an int64"));
    let uint64 = |value: &Value| match value {
        Value::String(text) => text.parse().map_err(|_| unfit("a uint64")),
        value => value.as_u64().or_else(|| signed(value)?.try_into().ok()).ok_or_else(|| unfit("a uint64")),
    };
    let uint32 = |value: &Value| uint64(value).and_then(|n: u64| u32::try_from(n).map_err(|_| unfit("a uint32")));
    match field.kind() {
        Kind::Double => out.extend(double(value).ok_or_else(|| unfit("a double"))?.to_le_bytes()),
        Kind::Float => out.extend((double(value).ok_or_else(|| unfit("a float"))? as f32).to_le_bytes()),
        Kind::Int32 => put_varint(i64::from(int32(value)?) as u64, out),
        Kind::Int64 => put_varint(int64(value)? as u64, out),
        Kind::Uint32 => put_varint(u64::from(uint32(value)?), out),
        Kind::Uint64 => put_varint(uint64(value)?, out),
        Kind::Sint32 => put_zigzag(i64::from(int32(value)?), out),
        Kind::Sint64 => put_zigzag(int64(value)?, out),
        Kind::Fixed32 => out.extend(uint32(value)?.to_le_bytes()),
        Kind::Fixed64 => out.extend(uint64(value)?.to_le_bytes()),
        Kind::Sfixed32 => out.extend(int32(value)?.to_le_bytes()),
        Kind::Sfixed64 => out.extend(int64(value)?.to_le_bytes()),
        Kind::Bool => out.push(u8::from(value.as_bool().ok_or_else(|| unfit("true or false"))?)),
        Kind::String => put_sized(value.as_str().ok_or_else(|| unfit("a string"))?.as_bytes(), out),
        Kind::Bytes => {
            let text = value.as_str().ok_or_else(|| unfit("bytes in base64"))?;
            let bytes = BASE64_STANDARD.decode(text).or_else(|_| BASE64_URL_SAFE.decode(text));
            put_sized(&bytes.map_err(|_| unfit("bytes in base64"))?, out);
        }
        Kind::Enum(kind) => {
            let number = match value {
                Value::Null => Some(0),
                Value::String(name) => kind.get_value_by_name(name).map(|value| value.number()),
                value => int32(value).ok(),
            };
            let number = number.ok_or_else(|| unfit(&format!("a value of the enum {}", kind.full_name())))?;
            put_varint(i64::from(number) as u64, out);
        }
        Kind::Message(kind) => {
            let mut payload = Vec::new();
            message(&kind, value, path, depth + 1, &mut payload)?;
            if field.is_group() {
                out.extend_from_slice(&payload);
            } else {
                put_sized(&payload, out);
            }
        }
    }
    Ok(())
}

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a message that JSON has a form of its own for; false where the value is in the plain form.
fn own_form(
    kind: &MessageDescriptor,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<bool, EncodeError> {
    let name = kind.full_name().trim_start_matches("google.protobuf.");
    let unfit = || EncodeError::unfit(path, format!("a {}", kind.full_name()));
    match (name, value) {
        ("Timestamp", Value::String(text)) => {
            let time = DateTime::parse_from_rfc3339(text).map_err(|_| unfit())?;
            parts_of_time(time.timestamp(), i64::from(time.timestamp_subsec_nanos()), out);
        }
        ("Duration", Value::String(text)) => {
            let (seconds, nanos) = seconds(text).ok_or_else(unfit)?;
            parts_of_time(seconds, nanos, out);
        }
        ("FieldMask", Value::String(text)) => {
            for path in text.split(',').filter(|path| !path.is_empty()) {
                put_bytes(1, snake(path).as_bytes(), out);
            }
        }
        ("Value", value) => {
            let number = match value {
                Value::Null => 1,
                Value::Number(_) => 2,
                Value::String(_) => 3,
                Value::Bool(_) => 4,
                Value::Object(_) => 5,
                Value::Array(_) => 6,
            };
            only_field(kind, number, value, path, depth, out)?;
        }
        ("Struct" | "ListValue", Value::Object(_) | Value::Array(_)) => only_field(kind, 1, value, path, depth, out)?,
        ("Any", Value::Object(members)) => {
            let url = members.get("@type").and_then(Value::as_str).ok_or_else(unfit)?;
            let content = url.rsplit('/').next().and_then(|name| kind.parent_pool().get_message_by_name(name));
            let mut payload = Vec::new();
            match (content, members.get("value")) {
                (Some(content), Some(value)) if has_own_form(&content) => {
                    message(&content, value, path, depth + 1, &mut payload)?;
                }
                (Some(content), _) => {
                    let mut plain = members.clone();
                    plain.remove("@type");
                    message(&content, &Value::Object(plain), path, depth + 1, &mut payload)?;
                }
                (None, value) => {
                    let text = value.and_then(Value::as_str).ok_or_else(unfit)?;
                    payload = BASE64_STANDARD.decode(text).map_err(|_| unfit())?;
                }
            }
            put_bytes(1, url.as_bytes(), out);
            put_bytes(2, &payload, out);
        }
        (name, value) if is_wrapper(name) && !value.is_object() => only_field(kind, 1, value, path, depth, out)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn only_field(
    kind: &MessageDescriptor,
    number: u32,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match kind.get_field(number) {
        Some(only) => field(&only, value, path, depth + 1, out),
        None => Err(EncodeError::unfit(path, format!("a {}", kind.full_name()))),
    }
}

fn parts_of_time(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    for (number, part) in [(1, seconds), (2, nanos)] {
        if part != 0 {
            put_tag(number, 0, out);
            put_varint(part as u64, out);
        }
    }
}

/// Reads `-1.5s`.
fn seconds(text: &str) -> Option<(i64, i64)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    Some((sign * whole, sign * nanos))
}
