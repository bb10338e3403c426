//! Coordinates of the events of one partition: all that a plan needs, without keys, values and headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::opened::{GroupExtent, Opened, Partition};
use super::{Columns, EventBatch, Place, Recording, RecordingError};

/// One event as a plan needs it: everything but key, value and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinate {
    /// Offset in its partition.
    pub offset: i64,
    /// The event's own time, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// When capture received it, in microseconds since the Unix epoch.
    pub captured_at_us: Option<i64>,
    /// xxh3 (64 bits) of the key; none where the key is null. Zero cost unless asked for.
    pub key_hash: Option<u64>,
    /// Where its bytes are.
    pub place: Place,
}

/// Rows that are decoded at once: those of a page.
const PIECE_ROWS: usize = super::schema::COORDINATE_PAGE_ROWS;

/// Pieces kept at most, about a megabyte each. Cursors of all partitions share them.
const PIECES: usize = 32;

/// Coordinates that a cursor copies from a piece at once, so that it need not hold the piece.
const CURSOR_ROWS: usize = 1024;

/// Rows of a row group, decoded and sorted by partition.
#[derive(Debug)]
struct Piece {
    coordinates: Vec<Coordinate>,
    /// Stretch of the coordinates that each partition has, by its index in the recording.
    stretches: Vec<(u32, std::ops::Range<usize>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PieceKey {
    segment: u32,
    group: u32,
    piece: u32,
    keys: bool,
}

/// A bounded cache of decoded pieces, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<Vec<(PieceKey, Arc<Piece>)>>);

impl Pieces {
    fn find(&self, key: PieceKey) -> Option<Arc<Piece>> {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pieces.iter().rposition(|(known, _)| *known == key)?;
        let entry = pieces.remove(at);
        let piece = Arc::clone(&entry.1);
        pieces.push(entry);
        Some(piece)
    }

    fn keep(&self, key: PieceKey, piece: &Arc<Piece>) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() >= PIECES {
            pieces.remove(0);
        }
        pieces.push((key, Arc::clone(piece)));
    }
}

/// Coordinates of one partition, in order of offset. Ends after an error.
#[derive(Debug)]
pub struct Coordinates {
    recording: Arc<Opened>,
    partition: Option<u32>,
    keys: bool,
    segment: u32,
    group: u32,
    piece: u32,
    /// Coordinates of the piece that were taken already.
    taken: usize,
    last: Option<i64>,
    buffer: std::vec::IntoIter<Coordinate>,
}

impl Recording {
    /// Returns the coordinates of `partition` in order of offset, lazily, in chunks. `keys`: compute key hashes too.
    ///
    /// Cursors of several partitions share a bounded cache of decoded pieces of row groups (the `Recording` and its clones hold
    /// it), so that reading all partitions side by side decodes each row group about once. A partition that the recording does
    /// not have has no coordinates.
    pub fn coordinates(&self, partition: &Partition, keys: bool) -> Coordinates {
        Coordinates {
            recording: Arc::clone(&self.inner),
            partition: self.inner.partitions.binary_search(partition).ok().map(|id| id as u32),
            keys,
            segment: 0,
            group: 0,
            piece: 0,
            taken: 0,
            last: None,
            buffer: Vec::new().into_iter(),
        }
    }

    /// Finds one event by its offset: what the footers say narrows the search to one row group, and only its coordinates are
    /// decoded.
    ///
    /// # Errors
    ///
    /// Names the segment that cannot be read, and the cause.
    pub fn at(&self, partition: &Partition, offset: i64) -> Result<Option<Coordinate>, RecordingError> {
        let opened = &self.inner;
        let Ok(id) = opened.partitions.binary_search(partition) else { return Ok(None) };
        for (segment, index) in (0..).zip(&opened.segments) {
            for (group, index) in (0..).zip(&index.groups) {
                let holds = |extent: &GroupExtent| {
                    extent.partition == id as u32 && (extent.first..=extent.last).contains(&offset)
                };
                if !index.extents.iter().any(holds) {
                    continue;
                }
                for piece in 0..index.rows.div_ceil(PIECE_ROWS as u32) {
                    let piece = opened.piece(PieceKey { segment, group, piece, keys: true })?;
                    let of_partition = piece.of(id as u32);
                    if of_partition.last().is_some_and(|last| last.offset >= offset) {
                        let found = of_partition.binary_search_by_key(&offset, |coordinate| coordinate.offset);
                        return Ok(found.ok().map(|at| of_partition[at]));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Coordinates {
    /// Takes the next coordinates into the buffer; it stays empty at the end.
    fn refill(&mut self) -> Result<(), RecordingError> {
        let Some(partition) = self.partition else { return Ok(()) };
        let recording = Arc::clone(&self.recording);
        while let Some(segment) = recording.segments.get(self.segment as usize) {
            let Some(group) = segment.groups.get(self.group as usize) else {
                (self.segment, self.group) = (self.segment + 1, 0);
                continue;
            };
            let pieces = group.rows.div_ceil(PIECE_ROWS as u32);
            if self.piece >= pieces || !group.extents.iter().any(|extent| extent.partition == partition) {
                (self.group, self.piece, self.taken) = (self.group + 1, 0, 0);
                continue;
            }
            let key = PieceKey { segment: self.segment, group: self.group, piece: self.piece, keys: self.keys };
            let piece = recording.piece(key)?;
            let rest = &piece.of(partition)[self.taken..];
            if rest.is_empty() {
                (self.piece, self.taken) = (self.piece + 1, 0);
                continue;
            }
            let chunk = &rest[..rest.len().min(CURSOR_ROWS)];
            self.check_order(chunk, partition)?;
            self.taken += chunk.len();
            self.buffer = Vec::from(chunk).into_iter();
            return Ok(());
        }
        Ok(())
    }

    /// Makes sure that offsets rise, whatever the footers said.
    fn check_order(&mut self, chunk: &[Coordinate], partition: u32) -> Result<(), RecordingError> {
        for coordinate in chunk {
            if let Some(after) = self.last
                && coordinate.offset <= after
            {
                let Partition { topic, partition } = self.recording.partitions[partition as usize].clone();
                let path = self.recording.segments[self.segment as usize].path.clone();
                return Err(RecordingError::OffsetOrder { path, topic, partition, offset: coordinate.offset, after });
            }
            self.last = Some(coordinate.offset);
        }
        Ok(())
    }
}

impl Iterator for Coordinates {
    type Item = Result<Coordinate, RecordingError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(coordinate) = self.buffer.next() {
            return Some(Ok(coordinate));
        }
        if let Err(error) = self.refill() {
            self.partition = None;
            return Some(Err(error));
        }
        self.buffer.next().map(Ok)
    }
}

impl Opened {
    fn piece(&self, key: PieceKey) -> Result<Arc<Piece>, RecordingError> {
        if let Some(piece) = self.pieces.find(key) {
            return Ok(piece);
        }
        // Decoded without the lock: at worst two cursors decode the same piece, but none waits for another.
        let piece = Arc::new(self.decode(key)?);
        self.pieces.keep(key, &piece);
        Ok(piece)
    }

    fn decode(&self, key: PieceKey) -> Result<Piece, RecordingError> {
        let index = &self.segments[key.segment as usize].groups[key.group as usize];
        let start = key.piece as usize * PIECE_ROWS;
        let end = (start + PIECE_ROWS).min(index.rows as usize);
        let columns = Columns { key: key.keys, ..Columns::NONE };
        let segment = self.segment(key.segment)?;
        let group = key.group as usize;
        let batch =
            segment.whole(segment.read(group, Some(start..end), end - start, columns)?.next(), group, end - start)?;
        let ids = self.partition_ids(&batch);
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for id in &ids {
            *counts.entry(*id).or_default() += 1;
        }
        let mut stretches = Vec::with_capacity(counts.len());
        let mut next: BTreeMap<u32, usize> = BTreeMap::new();
        let mut at = 0;
        for (id, count) in counts {
            stretches.push((id, at..at + count));
            next.insert(id, at);
            at += count;
        }
        let first_row = index.first_row + start as u32;
        let coordinate = |row: usize| Coordinate {
            offset: batch.offsets()[row],
            timestamp_ms: batch.timestamp_ms(row),
            captured_at_us: batch.captured_at_us(row),
            key_hash: batch.key(row).map(xxh3_64),
            place: Place { segment: key.segment, row: first_row + row as u32 },
        };
        let empty =
            Coordinate { offset: 0, timestamp_ms: None, captured_at_us: None, key_hash: None, place: Place::default() };
        let mut coordinates = vec![empty; batch.len()];
        for (row, id) in ids.iter().enumerate() {
            if let Some(at) = next.get_mut(id) {
                coordinates[*at] = coordinate(row);
                *at += 1;
            }
        }
        Ok(Piece { coordinates, stretches })
    }

    /// Index of each event's partition; `u32::MAX` for a partition that no footer names.
    fn partition_ids(&self, batch: &EventBatch) -> Vec<u32> {
        let names = batch.topic_names();
        let mut known: BTreeMap<(i32, i32), u32> = BTreeMap::new();
        let mut last = ((-1, 0), u32::MAX);
        let rows = batch.topic_codes().iter().zip(batch.partitions());
        rows.map(|(&code, &partition)| {
            if last.0 != (code, partition) {
                let id = *known.entry((code, partition)).or_insert_with(|| {
                    let name = names.value(code as usize);
                    let found = self
                        .partitions
                        .binary_search_by(|known| (known.topic.as_str(), known.partition).cmp(&(name, partition)));
                    found.map_or(u32::MAX, |id| id as u32)
                });
                last = ((code, partition), id);
            }
            last.1
        })
        .collect()
    }
}

impl Piece {
    fn of(&self, partition: u32) -> &[Coordinate] {
        let found = self.stretches.binary_search_by_key(&partition, |(id, _)| *id);
        found.map_or(&[], |at| &self.coordinates[self.stretches[at].1.clone()])
    }
}
