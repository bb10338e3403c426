//! The answer to `Fetch`, written by hand: batches go to the socket as they lie in the log, without a copy.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use uuid::Uuid;

use crate::drive::stage::log::Slice;
use crate::drive::stage::wire::{Request, WireError};

/// Versions in which fields came.
const ERROR_FROM: i16 = 7;
const LOG_START_FROM: i16 = 5;
const REPLICA_FROM: i16 = 11;
const FLEXIBLE_FROM: i16 = 12;
const IDS_FROM: i16 = 13;

/// A topic of the answer.
pub(super) struct FetchedTopic<'a> {
    pub(super) name: &'a str,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchedPartition>,
}

/// A partition of the answer: what it holds and where its log begins, or why not.
pub(super) struct FetchedPartition {
    pub(super) index: i32,
    pub(super) slice: Result<(Slice, i64), ResponseError>,
}

/// Parts of an answer, the last of them still growing.
struct Parts {
    done: Vec<Bytes>,
    open: BytesMut,
    flexible: bool,
}

/// Encodes an answer in a session; 0 stands for none.
pub(super) fn encode(
    request: &Request,
    committed: bool,
    session: i32,
    topics: &[FetchedTopic<'_>],
) -> Result<Vec<Bytes>, WireError> {
    let mut parts = begin(request, None, session)?;
    parts.count(topics.len());
    for topic in topics {
        if request.version >= IDS_FROM {
            parts.open.put_slice(topic.id.as_bytes());
        } else {
            parts.name(topic.name);
        }
        parts.count(topic.partitions.len());
        for partition in &topic.partitions {
            parts.partition(request.version, committed, partition);
        }
        parts.end_structure();
    }
    parts.finish()
}

/// Encodes an answer that refuses the request as a whole.
pub(super) fn refused(request: &Request, error: ResponseError) -> Result<Vec<Bytes>, WireError> {
    let mut parts = begin(request, Some(error), 0)?;
    parts.count(0);
    parts.finish()
}

fn begin(request: &Request, error: Option<ResponseError>, session: i32) -> Result<Parts, WireError> {
    let mut open = BytesMut::with_capacity(256);
    open.put_i32(0);
    request.put_header(request.version, &mut open)?;
    // Nobody is throttled, unless a fault says so later.
    open.put_i32(0);
    if request.version >= ERROR_FROM {
        open.put_i16(super::code(error));
        open.put_i32(session);
    }
    Ok(Parts { done: Vec::new(), open, flexible: request.version >= FLEXIBLE_FROM })
}

impl Parts {
    fn partition(&mut self, version: i16, committed: bool, partition: &FetchedPartition) {
        let none = (Slice { high_watermark: -1, last_stable: -1, ..Slice::default() }, -1);
        let (error, (slice, log_start)) = match &partition.slice {
            Ok(read) => (0, read),
            Err(error) => (error.code(), &none),
        };
        self.open.put_i32(partition.index);
        self.open.put_i16(error);
        self.open.put_i64(slice.high_watermark);
        self.open.put_i64(slice.last_stable);
        if version >= LOG_START_FROM {
            self.open.put_i64(*log_start);
        }
        if committed {
            self.count(slice.aborted.len());
            for aborted in &slice.aborted {
                self.open.put_i64(aborted.producer_id);
                self.open.put_i64(aborted.first_offset);
                self.end_structure();
            }
        } else {
            self.null();
        }
        if version >= REPLICA_FROM {
            self.open.put_i32(-1);
        }
        self.count(slice.len());
        self.share(&slice.parts);
        self.end_structure();
    }

    /// Number of elements, or of bytes, to come.
    fn count(&mut self, count: usize) {
        if self.flexible {
            self.unsigned(count as u32 + 1);
        } else {
            self.open.put_i32(count as i32);
        }
    }

    fn null(&mut self) {
        if self.flexible {
            self.open.put_u8(0);
        } else {
            self.open.put_i32(-1);
        }
    }

    fn name(&mut self, name: &str) {
        if self.flexible {
            self.unsigned(name.len() as u32 + 1);
        } else {
            self.open.put_i16(name.len() as i16);
        }
        self.open.put_slice(name.as_bytes());
    }

    /// Ends a structure, with no tagged field.
    fn end_structure(&mut self) {
        if self.flexible {
            self.open.put_u8(0);
        }
    }

    fn unsigned(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.open.put_u8(value as u8);
    }

    /// Adds bytes without copying them.
    fn share(&mut self, shared: &[Bytes]) {
        if !shared.is_empty() {
            self.done.push(self.open.split().freeze());
            self.done.extend(shared.iter().cloned());
        }
    }

    fn finish(mut self) -> Result<Vec<Bytes>, WireError> {
        self.end_structure();
        self.done.push(self.open.freeze());
        let size = self.done.iter().map(Bytes::len).sum::<usize>() - 4;
        let size = i32::try_from(size).map_err(|_| WireError::Answer)?;
        let mut first = BytesMut::from(&self.done[0][..]);
        first[..4].copy_from_slice(&size.to_be_bytes());
        self.done[0] = first.freeze();
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::drive::stage::log::Aborted;

    #[test]
    fn the_answer_is_what_a_client_decodes_in_every_version() {
        for version in 4..=17 {
            for committed in [false, true] {
                let request = Request { key: 1, version, correlation: 77, ..Request::default() };
                let aborted = vec![Aborted { producer_id: 5, first_offset: 6, last_offset: 9 }];
                let parts = vec![Bytes::from_static(b"abc"), Bytes::from(vec![7; 300])];
                let slice = Slice { parts, high_watermark: 40, last_stable: 30, aborted, to: None };
                let partitions = vec![
                    FetchedPartition { index: 3, slice: Ok((slice, 2)) },
                    FetchedPartition { index: 4, slice: Err(ResponseError::OffsetOutOfRange) },
                ];
                let topics = [FetchedTopic { name: "topic", id: Uuid::from_u128(8), partitions }];
                let mut wire: Bytes = encode(&request, committed, 9, &topics).unwrap().concat().into();
                assert_eq!(wire.split_to(4), Bytes::copy_from_slice(&(wire.len() as i32).to_be_bytes()));
                wire.advance(if version >= FLEXIBLE_FROM { 5 } else { 4 });
                let read = FetchResponse::decode(&mut wire, version).unwrap();
                assert!(wire.is_empty(), "{version}");
                assert_eq!(read.session_id, if version < ERROR_FROM { 0 } else { 9 });
                let topic = &read.responses[0];
                assert_eq!(topic.topic.as_str(), if version < IDS_FROM { "topic" } else { "" });
                let [good, bad] = &topic.partitions[..] else { panic!("{topic:?}") };
                assert_eq!((good.partition_index, good.high_watermark, good.last_stable_offset), (3, 40, 30));
                assert_eq!(good.records.as_ref().map(Bytes::len), Some(303));
                assert_eq!(good.aborted_transactions.as_ref().map(Vec::len), committed.then_some(1));
                assert_eq!((bad.error_code, bad.high_watermark), (1, -1));
            }
        }
    }
}
