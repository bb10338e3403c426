//! Record batches of Kafka's format 2, as they stand on the wire and on disk: header, checksum, what a producer may send.
//!
//! `kafka-protocol` decodes headers of a record into a map, which loses their order and repeats; so records are read and written
//! here. Batches of formats 0 and 1 are refused: no client of the last eight years sends them.

use bytes::Bytes;

use super::codec::Codec;
use super::record::{self, Record};

/// Bytes of a batch ahead of its records.
pub(super) const HEADER_BYTES: usize = 61;

/// Bytes of a batch ahead of what its length counts: base offset and the length itself.
const AHEAD_OF_LENGTH: usize = 12;

/// Where the part begins that the checksum covers.
const CHECKED_FROM: usize = 21;

/// The only format there is.
const MAGIC: i8 = 2;

const APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Most records of a batch, with their headers: a megabyte that was compressed may claim to hold a hundred times as many, and each
/// takes some hundred bytes once it is read.
const ITEMS_MAX: usize = 1 << 20;

/// Why bytes are no batch that a broker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("the batch is cut off")]
    Truncated,
    #[error("the batch has format {0}, where only 2 is taken")]
    Format(i8),
    #[error("the batch's checksum does not fit its bytes")]
    Checksum,
    #[error("the batch is compressed with an unknown codec or cannot be decompressed")]
    Codec,
    #[error("the batch's records do not fit its header")]
    Records,
}

/// The header of a batch. Names are those of Kafka's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) count: i32,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 0,
        }
    }
}

impl BatchHeader {
    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(super) fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    #[must_use]
    pub(super) fn with_append_time(self, append: bool) -> Self {
        let attributes = if append { self.attributes | APPEND_TIME } else { self.attributes & !APPEND_TIME };
        Self { attributes, ..self }
    }

    #[must_use]
    pub(super) fn control(self) -> Self {
        Self { attributes: self.attributes | CONTROL | TRANSACTIONAL, ..self }
    }

    /// Writes the header of a batch whose records are `records`, length and checksum included.
    pub(super) fn encode(&self, records: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let length = (HEADER_BYTES - AHEAD_OF_LENGTH + records.len()) as i32;
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[16] = MAGIC as u8;
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[CHECKED_FROM..]), records);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads a header whose bytes have been checked.
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(part(bytes, 0)),
            leader_epoch: i32::from_be_bytes(part(bytes, 12)),
            attributes: i16::from_be_bytes(part(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(part(bytes, 23)),
            base_timestamp: i64::from_be_bytes(part(bytes, 27)),
            max_timestamp: i64::from_be_bytes(part(bytes, 35)),
            producer_id: i64::from_be_bytes(part(bytes, 43)),
            producer_epoch: i16::from_be_bytes(part(bytes, 51)),
            base_sequence: i32::from_be_bytes(part(bytes, 53)),
            count: i32::from_be_bytes(part(bytes, 57)),
        }
    }
}

fn part<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[from..from + N]);
    part
}

/// One batch as it stands on the wire, its checksum held against its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes the first batch off `bytes`.
    pub(super) fn split_from(bytes: &mut Bytes) -> Result<Self, BatchError> {
        if bytes.len() < MAGIC_AT + 1 {
            return Err(BatchError::Truncated);
        }
        let magic = bytes[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::Format(magic));
        }
        let length = i32::from_be_bytes(part(bytes, 8));
        let size = usize::try_from(length).map_or(0, |length| length + AHEAD_OF_LENGTH);
        if size < HEADER_BYTES || bytes.len() < size {
            return Err(BatchError::Truncated);
        }
        let bytes = bytes.split_to(size);
        let checksum = u32::from_be_bytes(part(&bytes, 17));
        if crc32c::crc32c(&bytes[CHECKED_FROM..]) != checksum {
            return Err(BatchError::Checksum);
        }
        Ok(Self { header: BatchHeader::decode(&part(&bytes, 0)), bytes })
    }

    /// The whole batch.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Makes an uncompressed batch; sets count, last offset and timestamps of `header` by the records, whose offsets rise.
    pub(super) fn of(header: BatchHeader, records: &[Record]) -> Self {
        let base_timestamp = records.first().map_or(-1, |first| first.timestamp);
        let last = records.last().map_or(header.base_offset - 1, |last| last.offset);
        let header = BatchHeader {
            last_offset_delta: (last - header.base_offset) as i32,
            base_timestamp,
            max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap_or(-1),
            count: records.len() as i32,
            ..header
        };
        let mut body = Vec::new();
        for record in records {
            record.encode(header.base_offset, base_timestamp, &mut body);
        }
        Self::with_body(header, &body)
    }

    /// Puts a header ahead of records that are encoded (and perhaps compressed) already.
    pub(super) fn with_body(header: BatchHeader, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&header.encode(body));
        bytes.extend_from_slice(body);
        Self { header, bytes: bytes.into() }
    }

    /// The batch as a log keeps it: from `offset` on, and stamped with the time of the log where that is asked for. The records
    /// stay as they came.
    pub(super) fn appended_at(&self, offset: i64, append_time_ms: Option<i64>) -> Self {
        let mut header = BatchHeader { base_offset: offset, leader_epoch: 0, ..self.header };
        if let Some(time) = append_time_ms {
            header = BatchHeader { max_timestamp: time, ..header.with_append_time(true) };
            return Self::with_body(header, &self.bytes[HEADER_BYTES..]);
        }
        if header.is_append_time() {
            return Self::with_body(header.with_append_time(false), &self.bytes[HEADER_BYTES..]);
        }
        // Offset and epoch stand outside of what the checksum covers.
        let mut bytes = Vec::with_capacity(self.bytes.len());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&self.bytes[8..12]);
        bytes.extend_from_slice(&0_i32.to_be_bytes());
        bytes.extend_from_slice(&self.bytes[16..]);
        Self { header, bytes: bytes.into() }
    }

    /// Decodes the records, in order.
    pub(super) fn records(&self) -> Result<Vec<Record>, BatchError> {
        let codec = Codec::of(self.header.attributes).ok_or(BatchError::Codec)?;
        let body = codec.decompress(self.bytes.slice(HEADER_BYTES..)).ok_or(BatchError::Codec)?;
        let header = &self.header;
        let count =
            usize::try_from(header.count).ok().filter(|count| *count <= ITEMS_MAX).ok_or(BatchError::Records)?;
        let append_time = header.is_append_time().then_some(header.max_timestamp);
        record::decode_all(body, count, header.base_offset, header.base_timestamp, append_time)
            .ok_or(BatchError::Records)
    }

    /// Checks a batch as a broker does that is sent it by a producer: records that can be decoded, numbered one after the other.
    pub(super) fn check_produced(&self) -> Result<Produced, BatchError> {
        let header = &self.header;
        let codec = Codec::of(header.attributes).ok_or(BatchError::Codec)?;
        let body = codec.decompress(self.bytes.slice(HEADER_BYTES..)).ok_or(BatchError::Codec)?;
        let counted = header.count > 0 && header.last_offset_delta == header.count - 1;
        if !counted || header.is_control() {
            return Err(BatchError::Records);
        }
        let mut produced = Produced::default();
        let (mut next, mut items) = (0, 0_usize);
        let passed = record::pass_all(&body, header.count as usize, |record| {
            items = items.saturating_add(1 + record.headers);
            if record.deltas.offset != next || items > ITEMS_MAX {
                return None;
            }
            next += 1;
            let timestamp = header.base_timestamp.checked_add(record.deltas.timestamp)?;
            // All of them have the same where a log stamped them.
            produced.note(if header.is_append_time() { header.max_timestamp } else { timestamp });
            produced.keyless |= !record.has_key;
            Some(())
        });
        passed.map(|()| produced).ok_or(BatchError::Records)
    }
}

/// What a broker must know of the records that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Produced {
    /// Whether any of them lacks a key.
    pub(super) keyless: bool,
    /// Smallest and largest timestamp of those that have one.
    pub(super) timestamps: Option<(i64, i64)>,
}

impl Produced {
    fn note(&mut self, timestamp: i64) {
        if timestamp != -1 {
            let (smallest, largest) = self.timestamps.unwrap_or((timestamp, timestamp));
            self.timestamps = Some((smallest.min(timestamp), largest.max(timestamp)));
        }
    }
}

/// Where the format stands, in every format.
const MAGIC_AT: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drive::stage::record::HeaderOfRecord;

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let headers = prop::collection::vec(
            ("[a-c]{0,2}", bytes()).prop_map(|(name, value)| HeaderOfRecord { name: name.into(), value }),
            0..4,
        );
        let record = (0_i64..5, any::<i32>(), bytes(), bytes(), headers);
        prop::collection::vec(record, 1..20).prop_map(|drawn| {
            let mut offset = 100;
            let place = |(gap, time, key, value, headers)| {
                offset += 1 + gap;
                Record { offset, timestamp: i64::from(time), key, value, headers }
            };
            drawn.into_iter().map(place).collect()
        })
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were_with_every_codec(records in records()) {
            let plain = Batch::of(BatchHeader { base_offset: 100, ..BatchHeader::default() }, &records);
            for codec in Codec::ALL {
                let header = BatchHeader { attributes: codec.attributes(), ..plain.header };
                let batch = Batch::with_body(header, &codec.compress(&plain.bytes[HEADER_BYTES..]));
                let mut wire = batch.bytes.clone();
                let read = Batch::split_from(&mut wire).unwrap();
                prop_assert!(wire.is_empty());
                prop_assert_eq!(read.records().unwrap(), records.clone());
            }
        }

        #[test]
        fn rubbish_is_refused_and_never_more(mut rubbish in prop::collection::vec(any::<u8>(), 0..200), sealed: bool) {
            if sealed && rubbish.len() > HEADER_BYTES {
                // Past the checksum: what follows must be refused by what it says, or be records.
                let length = (rubbish.len() - AHEAD_OF_LENGTH) as i32;
                rubbish[8..12].copy_from_slice(&length.to_be_bytes());
                rubbish[MAGIC_AT] = 2;
                let checksum = crc32c::crc32c(&rubbish[CHECKED_FROM..]);
                rubbish[17..21].copy_from_slice(&checksum.to_be_bytes());
            }
            if let Ok(batch) = Batch::split_from(&mut Bytes::from(rubbish)) {
                // What is taken can be read.
                prop_assert!(batch.check_produced().is_err() || batch.appended_at(0, None).records().is_ok());
            }
        }

        #[test]
        fn a_changed_bit_is_seen(records in records(), at in 0_usize..10_000, bit in 0_u32..8) {
            let batch = Batch::of(BatchHeader { base_offset: 100, ..BatchHeader::default() }, &records);
            let mut wire = batch.bytes.to_vec();
            let at = CHECKED_FROM + at % (wire.len() - CHECKED_FROM);
            wire[at] ^= 1_u8 << bit;
            prop_assert_eq!(Batch::split_from(&mut wire.into()), Err(BatchError::Checksum));
        }
    }

    fn three() -> Batch {
        let record = |offset| Record { offset, timestamp: 7, ..Record::default() };
        Batch::of(BatchHeader::default(), &[record(0), record(1), record(2)])
    }

    #[test]
    fn an_appended_batch_keeps_its_records_and_gets_an_offset() {
        let kept = three().appended_at(40, None);
        let read = Batch::split_from(&mut kept.bytes().clone()).unwrap();
        assert_eq!(read, kept);
        assert_eq!(read.header.last_offset(), 42);
        let records = read.records().unwrap();
        assert_eq!((records[2].offset, records[2].timestamp), (42, 7));
    }

    #[test]
    fn the_time_of_the_log_stands_for_that_of_the_producer() {
        let kept = three().appended_at(40, Some(1_000));
        let read = Batch::split_from(&mut kept.bytes().clone()).unwrap();
        assert_eq!(read.records().unwrap().iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1_000; 3]);
    }

    #[test]
    fn a_producer_numbers_its_records_without_gaps() {
        assert_eq!(three().check_produced(), Ok(Produced { keyless: true, timestamps: Some((7, 7)) }));
        let timed = [(0, 30), (1, -1), (2, 20)].map(|(offset, timestamp)| Record {
            offset,
            timestamp,
            key: Some(Bytes::new()),
            ..Record::default()
        });
        let timed = Batch::of(BatchHeader::default(), &timed);
        assert_eq!(timed.check_produced(), Ok(Produced { keyless: false, timestamps: Some((20, 30)) }));
        let far =
            Batch::with_body(BatchHeader { base_offset: i64::MAX, ..three().header }, &three().bytes[HEADER_BYTES..]);
        assert!(far.check_produced().is_ok());
        let gap = [0, 2].map(|offset| Record { offset, ..Record::default() });
        assert_eq!(Batch::of(BatchHeader::default(), &gap).check_produced(), Err(BatchError::Records));
        let control = Batch::of(BatchHeader::default().control(), &gap[..1]);
        assert_eq!(control.check_produced(), Err(BatchError::Records));
        let empty = Batch::of(BatchHeader::default(), &[]);
        assert_eq!(empty.check_produced(), Err(BatchError::Records));
    }

    #[test]
    fn a_megabyte_that_holds_millions_of_records_is_refused() {
        let one = three().bytes[HEADER_BYTES..].to_vec();
        let one = &one[..one.len() / 3];
        let header = |count: usize| BatchHeader {
            attributes: Codec::Zstd.attributes(),
            count: count as i32,
            last_offset_delta: count as i32 - 1,
            ..BatchHeader::default()
        };
        let mut body = Vec::new();
        for offset in 0..=ITEMS_MAX as i64 {
            let deltas = record::Deltas { offset, timestamp: 0 };
            record::encode(deltas, None, None, std::iter::empty, &mut body);
        }
        let bomb = Batch::with_body(header(ITEMS_MAX + 1), &Codec::Zstd.compress(&body));
        assert_eq!(bomb.check_produced(), Err(BatchError::Records));
        assert_eq!(bomb.records(), Err(BatchError::Records));
        let most = Batch::with_body(header(1), &Codec::Zstd.compress(one));
        assert!(most.check_produced().is_ok());
        // Headers count as well.
        let mut body = Vec::new();
        let headers = || std::iter::repeat_n((&b""[..], None), ITEMS_MAX);
        record::encode(record::Deltas { offset: 0, timestamp: 0 }, None, None, headers, &mut body);
        let bomb = Batch::with_body(header(1), &Codec::Zstd.compress(&body));
        assert!(bomb.bytes.len() < 100_000);
        assert_eq!(bomb.check_produced(), Err(BatchError::Records));
    }

    #[test]
    fn an_older_format_is_refused_by_name() {
        let mut wire = three().bytes().to_vec();
        wire[MAGIC_AT] = 1;
        assert_eq!(Batch::split_from(&mut wire.into()), Err(BatchError::Format(1)));
    }
}
