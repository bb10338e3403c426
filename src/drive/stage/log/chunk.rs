//! Events of a planned partition, encoded once ahead of their time and served in slices.
//!
//! The records of a chunk are numbered against the chunk's first position. Any run of them is a batch as soon as a header stands
//! ahead of it, whose base is the chunk's: Kafka allows that, since compaction leaves such batches. So serving an event costs a
//! header and a checksum, and no copy, wherever consumers cut in.

use bytes::Bytes;

use crate::drive::stage::batch::BatchHeader;
use crate::drive::stage::record::{self, Deltas};
use crate::recording::{EventView, Place, TimestampType};

/// Where one event of a chunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Offset in the replayed log.
    pub position: i64,
    /// Timestamp in milliseconds since the Unix epoch; -1 for none.
    pub timestamp_ms: i64,
    /// Where its bytes are recorded.
    pub place: Place,
}

/// Events of one planned partition in the order of their positions, ready to be served. Made by a [`ChunkBuilder`].
#[derive(Debug, Clone)]
pub struct Chunk {
    spots: Vec<Spot>,
    /// Where each event's record ends.
    ends: Vec<u32>,
    body: Bytes,
    append_time: bool,
}

impl Chunk {
    /// Events, with their places.
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// Bytes of memory that it takes, about.
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.spots.len() * (size_of::<Spot>() + size_of::<u32>())
    }

    /// Index of the first event at `position` or behind it.
    pub(super) fn index_of(&self, position: i64) -> usize {
        self.spots.partition_point(|spot| spot.position < position)
    }

    /// Bytes of the records from the `from`-th up to the `to`-th, which is not among them.
    pub(super) fn bytes_between(&self, from: usize, to: usize) -> usize {
        self.start_of(to) - self.start_of(from)
    }

    /// How many events from the `from`-th on, and ahead of the `to`-th, take `bytes_max` bytes with their header.
    pub(super) fn fitting(&self, from: usize, to: usize, bytes_max: usize) -> usize {
        let room = bytes_max.saturating_sub(crate::drive::stage::batch::HEADER_BYTES) + self.start_of(from);
        self.ends[from..to].partition_point(|end| *end as usize <= room)
    }

    /// A batch of the events from the `from`-th up to the `to`-th, which is not among them: header and records.
    pub(in crate::drive::stage) fn batch(&self, from: usize, to: usize) -> Option<[Bytes; 2]> {
        let spots = self.spots.get(from..to)?;
        let (first, last) = (self.spots.first()?, spots.last()?);
        let body = self.body.slice(self.start_of(from)..self.start_of(to));
        let header = BatchHeader {
            base_offset: first.position,
            last_offset_delta: (last.position - first.position) as i32,
            base_timestamp: first.timestamp_ms,
            max_timestamp: spots.iter().map(|spot| spot.timestamp_ms).max()?,
            count: spots.len() as i32,
            ..BatchHeader::default()
        };
        let header = header.with_append_time(self.append_time);
        Some([Bytes::copy_from_slice(&header.encode(&body)), body])
    }

    fn start_of(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |ahead| self.ends[ahead] as usize)
    }
}

/// Encodes events for a planned partition.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    spots: Vec<Spot>,
    ends: Vec<u32>,
    body: Vec<u8>,
    append_time: bool,
}

impl ChunkBuilder {
    /// Bytes of records so far.
    pub fn size_bytes(&self) -> usize {
        self.body.len()
    }

    /// Number of events so far.
    pub fn len(&self) -> usize {
        self.spots.len()
    }

    /// Whether there is no event yet.
    pub fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// Adds the event that stands at `position`, which must be above that of the event ahead. Returns whether it was added: events
    /// stamped by a log share a batch only where they share the timestamp, and positions of a batch lie within 2^31. Where it was not,
    /// [`Self::finish`] the chunk and begin another with it.
    #[must_use]
    pub fn push(&mut self, position: i64, place: Place, event: &EventView<'_>) -> bool {
        let timestamp_ms = event.timestamp_ms.filter(|_| event.timestamp_type != TimestampType::None).unwrap_or(-1);
        let append_time = event.timestamp_type == TimestampType::Append;
        let first = match self.spots.first() {
            None => {
                self.append_time = append_time;
                Spot { position, timestamp_ms, place }
            }
            Some(first) => {
                let joins = append_time == self.append_time
                    && (!append_time || first.timestamp_ms == timestamp_ms)
                    && position - first.position < i64::from(i32::MAX)
                    && self.body.len() < MAX_BODY;
                if !joins {
                    return false;
                }
                *first
            }
        };
        let deltas =
            Deltas { offset: position - first.position, timestamp: timestamp_ms.wrapping_sub(first.timestamp_ms) };
        let headers = || event.headers.iter().map(|(name, value)| (name.as_bytes(), value));
        record::encode(deltas, event.key, event.value, headers, &mut self.body);
        self.spots.push(Spot { position, timestamp_ms, place });
        self.ends.push(self.body.len() as u32);
        true
    }

    /// Ends the chunk, if there is anything in it; the builder is empty then.
    pub fn finish(&mut self) -> Option<Chunk> {
        let made = std::mem::take(self);
        (!made.spots.is_empty()).then(|| Chunk {
            spots: made.spots,
            ends: made.ends,
            body: made.body.into(),
            append_time: made.append_time,
        })
    }
}

/// Bytes after which a chunk takes no more; ends are kept in 32 bits, and one event may bring a gigabyte yet.
const MAX_BODY: usize = 1 << 30;
