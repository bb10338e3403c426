//! Confluent's wire format: what stands ahead of a value that a registry's schema describes.

use serde::{Deserialize, Serialize};

/// First byte of a framed value.
const MAGIC: u8 = 0;

/// Bytes of the magic byte and the id.
const FRAME_BYTES: usize = 5;

/// Which part of an event a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl Part {
    /// The part as it stands in manifests: `key` or `value`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// Headers in which newer serializers name the schema of the key and of the value by a GUID instead of framing the bytes.
/// Values that are named so are not decoded; whoever meets such a header says so.
pub const HEADERS: [(&str, Part); 2] = [("__key_schema_id", Part::Key), ("__value_schema_id", Part::Value)];

/// A value in its frame: a zero byte and the schema's id in four bytes, the highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'v> {
    /// Id of the schema in its registry, at least one.
    pub id: i32,
    /// What follows the id. For Protobuf the indices of the message stand ahead of the message itself.
    pub rest: &'v [u8],
}

/// Reads the frame of `bytes`; none where there is none.
///
/// A zero byte alone proves nothing: many encodings begin with one. Registries number from one, so an id of zero or less is
/// no frame, which keeps eight-byte integers out. Whether the id is known is for [`super::Schemas`] to say.
///
/// ```
/// use rehearsal::schema::frame;
///
/// assert_eq!(frame(b"\x00\x00\x00\x00\x07rest").map(|frame| (frame.id, frame.rest)), Some((7, &b"rest"[..])));
/// assert_eq!(frame(b"{}"), None);
/// ```
pub fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let id = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0] == MAGIC && id > 0).then_some(Frame { id, rest })
}

/// Most steps of nested messages that indices may name.
const STEPS_MAX: usize = 64;

/// Reads the indices that say which message of a Protobuf schema follows, and returns them with what they stand ahead of.
///
/// They are zig-zag varints: their number, then each; a single zero stands for the first message, `[0]`.
pub(super) fn message_indices(rest: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (count, mut rest) = zigzag(rest)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= STEPS_MAX)?;
    let mut indices = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = zigzag(rest)?;
        indices.push(usize::try_from(index).ok()?);
        rest = after;
    }
    Some((indices, rest))
}

/// Reads one zig-zag varint.
pub(super) fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (plain, rest) = varint(bytes)?;
    Some(((plain >> 1) as i64 ^ -((plain & 1) as i64), rest))
}

/// Reads one varint of at most 64 bits.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has room for one bit.
        if at == 9 && *byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// Writes one varint.
pub(super) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes one zig-zag varint.
pub(super) fn put_zigzag(number: i64, out: &mut Vec<u8>) {
    put_varint(((number << 1) ^ (number >> 63)) as u64, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_a_zero_byte_and_an_id_of_at_least_one() {
        for (bytes, framed) in [
            (&b"\0\0\0\0\x01"[..], Some((1, &b""[..]))),
            (b"\0\x00\x01\x86\xa1xy", Some((100_001, b"xy"))),
            (b"\0\x7f\xff\xff\xff\0", Some((i32::MAX, b"\0"))),
            (b"\0\0\0\0\0\0\0\x2a", None),
            (b"\0\xff\xff\xff\xff", None),
            (b"\x01\0\0\0\x01", None),
            (b"\0\0\0\x01", None),
            (b"", None),
        ] {
            assert_eq!(frame(bytes).map(|frame| (frame.id, frame.rest)), framed, "{bytes:?}");
        }
    }

    #[test]
    fn indices_of_messages_are_read_in_both_forms() {
        for (bytes, indices) in [
            (&b"\0rest"[..], Some((vec![0], &b"rest"[..]))),
            (b"\x02\x00x", Some((vec![0], b"x"))),
            (b"\x04\x02\x04", Some((vec![1, 2], b""))),
            (b"\x02", None),
            (b"\x01", None),
            (b"\x02\x01", None),
            (b"\xff\xff\xff\xff\x0f", None),
            (b"", None),
        ] {
            assert_eq!(message_indices(bytes), indices, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(number in any::<i64>()) {
            let mut bytes = Vec::new();
            put_zigzag(number, &mut bytes);
            prop_assert_eq!(zigzag(&bytes), Some((number, &b""[..])));
            bytes.clear();
            put_varint(number as u64, &mut bytes);
            prop_assert_eq!(varint(&bytes), Some((number as u64, &b""[..])));
        }
    }
}
