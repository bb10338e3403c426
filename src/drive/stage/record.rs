//! One record of a batch: Kafka's varints, headers in order with their repeats, null and empty kept apart.

use bytes::{Buf, Bytes};

/// One record, decoded. Bytes are slices of the batch they stand in where that is not compressed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch; -1 for none.
    pub(super) timestamp: i64,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<HeaderOfRecord>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HeaderOfRecord {
    /// UTF-8 by Kafka's rules, which nobody enforces.
    pub(super) name: Bytes,
    pub(super) value: Option<Bytes>,
}

impl Record {
    /// Appends the record to the body of a batch that begins at `base_offset` and `base_timestamp`.
    pub(super) fn encode(&self, base_offset: i64, base_timestamp: i64, body: &mut Vec<u8>) {
        let deltas =
            Deltas { offset: self.offset - base_offset, timestamp: self.timestamp.wrapping_sub(base_timestamp) };
        let headers = || self.headers.iter().map(|header| (header.name.as_ref(), header.value.as_deref()));
        encode(deltas, self.key.as_deref(), self.value.as_deref(), headers, body);
    }
}

/// Where a record stands against the base of its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deltas {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
}

/// Appends a record to the body of a batch. `headers` are walked twice: their size stands ahead of them.
pub(super) fn encode<'h, I: Iterator<Item = (&'h [u8], Option<&'h [u8]>)>>(
    deltas: Deltas,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Fn() -> I,
    body: &mut Vec<u8>,
) {
    let text = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint_size(bytes.len() as i64) + bytes.len());
    let (mut count, mut headers_size) = (0, 0);
    for (name, value) in headers() {
        count += 1;
        headers_size += text(Some(name)) + text(value);
    }
    let size = 1
        + varint_size(deltas.timestamp)
        + varint_size(deltas.offset)
        + text(key)
        + text(value)
        + varint_size(count)
        + headers_size;
    body.reserve(size + 5);
    put_varint(size as i64, body);
    body.push(0);
    put_varint(deltas.timestamp, body);
    put_varint(deltas.offset, body);
    put_bytes(key, body);
    put_bytes(value, body);
    put_varint(count, body);
    for (name, value) in headers() {
        put_bytes(Some(name), body);
        put_bytes(value, body);
    }
}

/// Decodes the `count` records of a body, which must end with the last; none where the bytes are no such records.
pub(super) fn decode_all(
    mut body: Bytes,
    count: usize,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
) -> Option<Vec<Record>> {
    // No more memory than the bytes can bear: a record takes seven at least.
    let mut records = Vec::with_capacity(count.min(body.len() / 7));
    for _ in 0..count {
        let size = usize::try_from(varint(&mut body)?).ok().filter(|size| *size <= body.len())?;
        let mut record = decode(body.split_to(size), base_offset, base_timestamp)?;
        record.timestamp = append_time.unwrap_or(record.timestamp);
        records.push(record);
    }
    body.is_empty().then_some(records)
}

/// What is seen of a record in passing, against the base of its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) deltas: Deltas,
    pub(super) has_key: bool,
    pub(super) headers: usize,
}

/// Passes by the `count` records of a body, which must end with the last, and keeps none of them: however many there are, they take
/// no memory. None where the bytes are no such records, or where `each` says so.
pub(super) fn pass_all(mut body: &[u8], count: usize, mut each: impl FnMut(Passed) -> Option<()>) -> Option<()> {
    for _ in 0..count {
        let size = usize::try_from(varint(&mut body)?).ok()?;
        let (record, rest) = body.split_at_checked(size)?;
        body = rest;
        each(pass(record)?)?;
    }
    body.is_empty().then_some(())
}

fn pass(mut bytes: &[u8]) -> Option<Passed> {
    bytes.try_get_u8().ok()?;
    let (timestamp, offset) = (varint(&mut bytes)?, varint(&mut bytes)?);
    let has_key = pass_field(&mut bytes)?;
    pass_field(&mut bytes)?;
    let headers = usize::try_from(varint(&mut bytes)?).ok()?;
    for _ in 0..headers {
        if !pass_field(&mut bytes)? {
            return None;
        }
        pass_field(&mut bytes)?;
    }
    bytes.is_empty().then_some(Passed { deltas: Deltas { offset, timestamp }, has_key, headers })
}

/// Passes by bytes that may be null; returns whether they are there. None stands for bytes that cannot be.
fn pass_field(bytes: &mut &[u8]) -> Option<bool> {
    match varint(bytes)? {
        -1 => Some(false),
        size => {
            *bytes = bytes.get(usize::try_from(size).ok()?..)?;
            Some(true)
        }
    }
}

fn decode(mut bytes: Bytes, base_offset: i64, base_timestamp: i64) -> Option<Record> {
    bytes.try_get_u8().ok()?;
    let timestamp = base_timestamp.checked_add(varint(&mut bytes)?)?;
    let offset = base_offset.checked_add(varint(&mut bytes)?)?;
    let (key, value) = (field(&mut bytes)?, field(&mut bytes)?);
    let count = usize::try_from(varint(&mut bytes)?).ok()?;
    let mut headers = Vec::with_capacity(count.min(bytes.len() / 2));
    for _ in 0..count {
        headers.push(HeaderOfRecord { name: field(&mut bytes)??, value: field(&mut bytes)? });
    }
    bytes.is_empty().then_some(Record { offset, timestamp, key, value, headers })
}

/// Reads bytes that may be null; the outer none stands for bytes that cannot be.
#[expect(clippy::option_option, reason = "null and malformed are different things")]
fn field(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(bytes)? {
        -1 => Some(None),
        size => {
            let size = usize::try_from(size).ok().filter(|size| *size <= bytes.len())?;
            Some(Some(bytes.split_to(size)))
        }
    }
}

fn put_bytes(bytes: Option<&[u8]>, body: &mut Vec<u8>) {
    match bytes {
        None => put_varint(-1, body),
        Some(bytes) => {
            put_varint(bytes.len() as i64, body);
            body.extend_from_slice(bytes);
        }
    }
}

fn varint(bytes: &mut impl Buf) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_varint(value: i64, body: &mut Vec<u8>) {
    let mut value = zigzag(value);
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn varint_size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length_come_back() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8_191, 8_192, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut body = Vec::new();
            put_varint(value, &mut body);
            assert_eq!(body.len(), varint_size(value), "{value}");
            assert_eq!(varint(&mut Bytes::from(body)), Some(value));
        }
    }

    #[test]
    fn headers_keep_their_order_and_repeats() {
        let header = |name: &'static str, value: Option<&'static str>| HeaderOfRecord {
            name: name.into(),
            value: value.map(Into::into),
        };
        let headers = vec![header("b", Some("1")), header("a", None), header("b", Some("")), header("", Some("2"))];
        let record = Record { offset: 5, timestamp: 9, key: None, value: Some(Bytes::new()), headers };
        let mut body = Vec::new();
        record.encode(3, 10, &mut body);
        assert_eq!(decode_all(body.into(), 1, 3, 10, None), Some(vec![record]));
    }

    #[test]
    fn a_count_of_two_billion_asks_for_no_memory() {
        assert_eq!(decode_all(Bytes::from_static(&[0; 20]), 2_000_000_000, 0, 0, None), None);
    }
}
