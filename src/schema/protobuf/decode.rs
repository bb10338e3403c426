//! Messages to JSON text.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::known;
use super::wire::{Content, Raw, fields};
use crate::schema::DecodeError;
use crate::schema::frame::varint;
use crate::schema::out::Out;

/// Member that holds what the schema does not know: the fields, tag included, in base64, by number.
pub(super) const UNKNOWN: &str = "@unknown";

/// The fields of one message, sorted out.
pub(super) struct Sorted<'a> {
    /// Those that the schema knows, by number, in the order in which they stand.
    pub(super) known: BTreeMap<u32, Vec<Raw<'a>>>,
    /// Those that it does not know, or knows as something else.
    pub(super) unknown: BTreeMap<u32, Vec<Raw<'a>>>,
    /// Members of a oneof behind which another one stands, which is the one that counts.
    pub(super) overruled: BTreeSet<u32>,
}

impl<'a> Sorted<'a> {
    pub(super) fn of(message: &MessageDescriptor, raws: &[Raw<'a>]) -> Self {
        let mut sorted = Self { known: BTreeMap::new(), unknown: BTreeMap::new(), overruled: BTreeSet::new() };
        let mut chosen: BTreeMap<String, u32> = BTreeMap::new();
        for raw in raws {
            match message.get_field(raw.number).filter(|field| carries(field, &raw.content)) {
                Some(field) => {
                    sorted.known.entry(raw.number).or_default().push(*raw);
                    if let Some(oneof) = field.containing_oneof()
                        && let Some(before) = chosen.insert(oneof.name().to_owned(), raw.number)
                        && before != raw.number
                    {
                        sorted.overruled.insert(before);
                        sorted.overruled.remove(&raw.number);
                    }
                }
                None => sorted.unknown.entry(raw.number).or_default().push(*raw),
            }
        }
        sorted
    }

    /// What there is of a field; nothing where another member of its oneof counts.
    pub(super) fn of_field(&self, number: u32) -> &[Raw<'a>] {
        if self.overruled.contains(&number) { &[] } else { self.known.get(&number).map_or(&[], Vec::as_slice) }
    }
}

/// Whether the content can be one of the field; repeated numbers come packed or each by itself, whatever the schema says.
pub(super) fn carries(field: &FieldDescriptor, content: &Content<'_>) -> bool {
    let plain = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::Message(_) if field.is_group() => 3,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    };
    let found = content.wire_type();
    found == plain || (found == 2 && field.is_list() && matches!(plain, 0 | 1 | 5))
}

/// Writes what a message says.
pub(super) fn message(message: &MessageDescriptor, bytes: &[u8], out: &mut Out) -> Result<(), DecodeError> {
    let raws = fields(bytes)?;
    let sorted = Sorted::of(message, &raws);
    if sorted.unknown.is_empty() && known::write(message, &sorted, out)? {
        return Ok(());
    }
    out.open("{")?;
    members(message, &sorted, out)?;
    out.close("}")
}

/// Writes the members of a message into an object that is open.
pub(super) fn members(message: &MessageDescriptor, sorted: &Sorted<'_>, out: &mut Out) -> Result<(), DecodeError> {
    for field in message.fields() {
        let found = sorted.of_field(field.number());
        if found.is_empty() && (field.supports_presence() || field.is_required()) {
            continue;
        }
        out.name(field.json_name())?;
        content(&field, found, out)?;
    }
    if sorted.unknown.is_empty() {
        return Ok(());
    }
    out.name(UNKNOWN)?;
    out.open("{")?;
    for (number, raws) in &sorted.unknown {
        out.name(&number.to_string())?;
        out.open("[")?;
        for raw in raws {
            out.comma()?;
            out.string(&BASE64_STANDARD.encode(raw.span))?;
        }
        out.close("]")?;
    }
    out.close("}")
}

/// Writes all that there is of a field.
pub(super) fn content(field: &FieldDescriptor, found: &[Raw<'_>], out: &mut Out) -> Result<(), DecodeError> {
    if field.is_map() {
        map(field, found, out)
    } else if field.is_list() {
        list(field, found, out)
    } else {
        single(field, found, out)
    }
}

fn single(field: &FieldDescriptor, found: &[Raw<'_>], out: &mut Out) -> Result<(), DecodeError> {
    match (found, field.kind()) {
        ([.., _, _], Kind::Message(kind)) => {
            // Parts of one message add up to what their bytes say together.
            let parts = found.iter().map(|raw| match raw.content {
                Content::Bytes(bytes) | Content::Group(bytes) => bytes,
                _ => &[],
            });
            message(&kind, &parts.collect::<Vec<_>>().concat(), out)
        }
        ([.., last], _) => scalar(field, &last.content, out),
        ([], Kind::String | Kind::Bytes) => out.string(""),
        ([], Kind::Bool) => out.raw("false"),
        ([], Kind::Float | Kind::Double) => out.raw("0.0"),
        ([], Kind::Message(_)) => out.raw("null"),
        ([], _) => scalar(field, &Content::Varint(0), out),
    }
}

fn list(field: &FieldDescriptor, found: &[Raw<'_>], out: &mut Out) -> Result<(), DecodeError> {
    out.open("[")?;
    for raw in found {
        match raw.content {
            Content::Bytes(packed) if !matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Message(_)) => {
                each_packed(&field.kind(), packed, |content| {
                    out.comma()?;
                    scalar(field, &content, out)
                })?;
            }
            content => {
                out.comma()?;
                scalar(field, &content, out)?;
            }
        }
    }
    out.close("]")
}

/// Hands each number of a packed field to `item`.
fn each_packed(
    kind: &Kind,
    mut packed: &[u8],
    mut item: impl FnMut(Content<'_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !packed.is_empty() {
        let content = match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
                let (number, rest) = packed.split_first_chunk().ok_or(DecodeError::Cut)?;
                packed = rest;
                Content::Fixed64(u64::from_le_bytes(*number))
            }
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
                let (number, rest) = packed.split_first_chunk().ok_or(DecodeError::Cut)?;
                packed = rest;
                Content::Fixed32(u32::from_le_bytes(*number))
            }
            _ => {
                let (number, rest) = varint(packed).ok_or(DecodeError::Cut)?;
                packed = rest;
                Content::Varint(number)
            }
        };
        item(content)?;
    }
    Ok(())
}

/// Writes a map in the order of its keys: serializers write entries in any order, which says nothing.
fn map(field: &FieldDescriptor, found: &[Raw<'_>], out: &mut Out) -> Result<(), DecodeError> {
    let Kind::Message(entry) = field.kind() else { return out.raw("{}") };
    let mut entries = BTreeMap::new();
    for raw in found {
        let Content::Bytes(bytes) = raw.content else { continue };
        // Of a key that stands twice the last entry counts.
        entries.insert(key(&entry, bytes)?, bytes);
    }
    out.open("{")?;
    for (key, bytes) in entries {
        out.name(&key)?;
        let raws = fields(bytes)?;
        let sorted = Sorted::of(&entry, &raws);
        let value = entry.map_entry_value_field();
        match (sorted.of_field(2), value.kind()) {
            // An entry without its value stands for an empty message.
            ([], Kind::Message(kind)) => message(&kind, &[], out)?,
            (found, _) => single(&value, found, out)?,
        }
    }
    out.close("}")
}

/// The key of an entry as JSON names it.
pub(super) fn key(entry: &MessageDescriptor, bytes: &[u8]) -> Result<String, DecodeError> {
    let raws = fields(bytes)?;
    let sorted = Sorted::of(entry, &raws);
    let mut text = Out::for_value(bytes.len());
    single(&entry.map_entry_key_field(), sorted.of_field(1), &mut text)?;
    let text = text.into_text();
    Ok(match serde_json::from_slice(&text) {
        Ok(serde_json::Value::String(key)) => key,
        _ => String::from_utf8_lossy(&text).into_owned(),
    })
}

fn scalar(field: &FieldDescriptor, content: &Content<'_>, out: &mut Out) -> Result<(), DecodeError> {
    let kind = field.kind();
    match (content, &kind) {
        (Content::Bytes(bytes) | Content::Group(bytes), Kind::Message(kind)) => message(kind, bytes, out),
        (Content::Bytes(bytes), Kind::String) => {
            let text = std::str::from_utf8(bytes);
            out.string(text.map_err(|_| DecodeError::Malformed { what: "a string is no UTF-8" })?)
        }
        (Content::Bytes(bytes), Kind::Bytes) => out.string(&BASE64_STANDARD.encode(bytes)),
        (Content::Fixed64(bits), Kind::Double) => out.double(f64::from_bits(*bits)),
        (Content::Fixed32(bits), Kind::Float) => out.float(f32::from_bits(*bits)),
        (Content::Varint(number), Kind::Bool) => out.raw(if *number == 0 { "false" } else { "true" }),
        (Content::Varint(number), Kind::Enum(kind)) => {
            let number = *number as i32;
            if kind.full_name() == "google.protobuf.NullValue" {
                return out.raw("null");
            }
            match kind.get_value(number) {
                Some(value) => out.string(value.name()),
                None => out.raw(&number.to_string()),
            }
        }
        (Content::Varint(number) | Content::Fixed64(number), kind) => number_text(kind, *number, out),
        (Content::Fixed32(number), kind) => number_text(kind, u64::from(*number), out),
        _ => Err(DecodeError::Malformed { what: "a field has another type" }),
    }
}

/// Writes a whole number; 64 bits are text, as JSON readers lose digits beyond 53.
fn number_text(kind: &Kind, number: u64, out: &mut Out) -> Result<(), DecodeError> {
    let zigzag = |number: u64| (number >> 1) as i64 ^ -((number & 1) as i64);
    match kind {
        Kind::Int32 | Kind::Sfixed32 => out.raw(&(number as i32).to_string()),
        Kind::Uint32 | Kind::Fixed32 => out.raw(&(number as u32).to_string()),
        Kind::Sint32 => out.raw(&(zigzag(u64::from(number as u32)) as i32).to_string()),
        Kind::Sint64 => out.string(&zigzag(number).to_string()),
        Kind::Uint64 | Kind::Fixed64 => out.string(&number.to_string()),
        _ => out.string(&(number as i64).to_string()),
    }
}
