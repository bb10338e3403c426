//! The wire format: which fields stand where.

use crate::schema::DecodeError;
use crate::schema::frame::{put_varint, varint};
use crate::schema::out::DEPTH_MAX;

/// One field as it stands in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) number: u32,
    pub(super) content: Content<'a>,
    /// All of its bytes, the tag too.
    pub(super) span: &'a [u8],
}

/// What follows a tag.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Group(&'a [u8]),
}

impl Content<'_> {
    /// The number of this wire type in a tag.
    pub(super) fn wire_type(&self) -> u32 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Group(_) => 3,
            Self::Fixed32(_) => 5,
        }
    }
}

/// Splits a message into its fields, in the order in which they stand.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<Raw<'_>>, DecodeError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (raw, rest) = field(bytes, 0)?;
        found.push(raw);
        bytes = rest;
    }
    Ok(found)
}

fn field(bytes: &[u8], depth: u32) -> Result<(Raw<'_>, &[u8]), DecodeError> {
    let (number, wire_type, rest) = tag(bytes)?;
    let (content, rest) = match wire_type {
        0 => varint(rest).map(|(number, rest)| (Content::Varint(number), rest)).ok_or(bad_varint(rest))?,
        1 => {
            let (number, rest) = rest.split_first_chunk().ok_or(DecodeError::Cut)?;
            (Content::Fixed64(u64::from_le_bytes(*number)), rest)
        }
        2 => {
            let (length, rest) = varint(rest).ok_or(bad_varint(rest))?;
            let length = usize::try_from(length).map_err(|_| DecodeError::Cut)?;
            let (content, rest) = rest.split_at_checked(length).ok_or(DecodeError::Cut)?;
            (Content::Bytes(content), rest)
        }
        3 => {
            let (content, rest) = group(rest, number, depth)?;
            (Content::Group(content), rest)
        }
        5 => {
            let (number, rest) = rest.split_first_chunk().ok_or(DecodeError::Cut)?;
            (Content::Fixed32(u32::from_le_bytes(*number)), rest)
        }
        _ => return Err(DecodeError::Malformed { what: "a field has no such wire type" }),
    };
    Ok((Raw { number, content, span: &bytes[..bytes.len() - rest.len()] }, rest))
}

/// Reads up to the end of the group `number`; returns what is in it and what follows it.
fn group(bytes: &[u8], number: u32, depth: u32) -> Result<(&[u8], &[u8]), DecodeError> {
    if depth >= DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    let mut rest = bytes;
    loop {
        let (next, wire_type, after) = tag(rest)?;
        if wire_type == 4 {
            if next == number {
                return Ok((&bytes[..bytes.len() - rest.len()], after));
            }
            return Err(DecodeError::Malformed { what: "a group ends as another" });
        }
        (_, rest) = field(rest, depth + 1)?;
    }
}

fn tag(bytes: &[u8]) -> Result<(u32, u32, &[u8]), DecodeError> {
    let (tag, rest) = varint(bytes).ok_or(bad_varint(bytes))?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    Ok((number.ok_or(DecodeError::Malformed { what: "a field has no such number" })?, (tag & 7) as u32, rest))
}

fn bad_varint(bytes: &[u8]) -> DecodeError {
    if bytes.len() < 10 { DecodeError::Cut } else { DecodeError::Malformed { what: "a number has more than 64 bits" } }
}

/// Writes a tag.
pub(super) fn put_tag(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire_type), out);
}

/// Writes a field of bytes.
pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(number, 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
