//! Decoded events that all readers by place share.
//!
//! Several drives read the same recording at about the same time: what one decoded, the others find. Nobody waits for another:
//! the lock is held to find and to put back, never to decode.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::opened::Opened;
use super::schema::PAGE_ROWS;
use super::segment::{Segment, SegmentBatches};
use super::{Columns, EventBatch, RecordingError};

/// Bytes of decoded events kept at most; one piece is always kept, however large.
const BYTES_MAX: usize = 48 << 20;

/// Bytes of an event besides key, value and headers, as decoded.
const ROW_BYTES: usize = 64;

/// Streams kept at most; each holds a decoded page of every column.
const STREAMS_MAX: usize = 16;

/// The rows of one page of a row group, decoded.
#[derive(Debug)]
pub(super) struct Piece {
    /// Row in the segment of the first event.
    pub(super) first_row: u32,
    pub(super) batch: EventBatch,
}

/// Names a piece and what of it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PieceKey {
    pub(super) segment: u32,
    pub(super) group: u32,
    /// Counted from the row group's first.
    pub(super) piece: u32,
    pub(super) columns: Columns,
}

/// The bounded store of decoded pieces, and the streams that decode what follows them.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    pieces: BTreeMap<PieceKey, Kept>,
    bytes: usize,
    clock: u64,
    /// Those used last stand at the end.
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Kept {
    piece: Arc<Piece>,
    bytes: usize,
    used: u64,
}

/// A reader that stands in front of a piece, and goes on much faster than a new one would start.
#[derive(Debug)]
struct Stream {
    next: PieceKey,
    segment: Arc<Segment>,
    batches: SegmentBatches,
}

impl Shelf {
    /// Returns the piece, decoding it where nobody did.
    pub(super) fn piece(&self, recording: &Opened, key: PieceKey) -> Result<Arc<Piece>, RecordingError> {
        let stream = {
            let mut content = self.lock();
            if let Some(piece) = content.find(key) {
                return Ok(piece);
            }
            content.stream_for(key)
        };
        let (piece, stream) = decode(recording, key, stream)?;
        let piece = Arc::new(piece);
        let mut content = self.lock();
        content.keep(key, &piece);
        if let Some(stream) = stream {
            if content.streams.len() >= STREAMS_MAX {
                content.streams.remove(0);
            }
            content.streams.push(stream);
        }
        Ok(piece)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to decode a piece with.
enum From {
    /// A stream that stands in front of it.
    Stream(Stream),
    /// A new stream: the piece ahead of it was read, so more will follow.
    Here,
    /// The piece alone: nobody reads its neighbourhood.
    Alone,
}

impl Content {
    fn find(&mut self, key: PieceKey) -> Option<Arc<Piece>> {
        self.clock += 1;
        let kept = self.pieces.get_mut(&key)?;
        kept.used = self.clock;
        Some(Arc::clone(&kept.piece))
    }

    fn stream_for(&mut self, key: PieceKey) -> From {
        if let Some(at) = self.streams.iter().rposition(|stream| stream.next == key) {
            return From::Stream(self.streams.remove(at));
        }
        let follows = key.piece.checked_sub(1).is_none_or(|piece| self.pieces.contains_key(&PieceKey { piece, ..key }));
        if follows { From::Here } else { From::Alone }
    }

    fn keep(&mut self, key: PieceKey, piece: &Arc<Piece>) {
        let bytes = piece.batch.payload_bytes(piece.batch.len()) + piece.batch.len() * ROW_BYTES;
        self.clock += 1;
        let kept = Kept { piece: Arc::clone(piece), bytes, used: self.clock };
        self.bytes += bytes;
        if let Some(known) = self.pieces.insert(key, kept) {
            self.bytes -= known.bytes;
        }
        while self.bytes > BYTES_MAX && self.pieces.len() > 1 {
            let Some(oldest) = self.pieces.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key) else { break };
            if let Some(dropped) = self.pieces.remove(&oldest) {
                self.bytes -= dropped.bytes;
            }
        }
    }
}

/// Decodes a piece; returns the stream that stands behind it where there is one and the row group goes on.
fn decode(recording: &Opened, key: PieceKey, from: From) -> Result<(Piece, Option<Stream>), RecordingError> {
    let index = &recording.segments[key.segment as usize].groups[key.group as usize];
    let start = key.piece as usize * PAGE_ROWS;
    let end = (start + PAGE_ROWS).min(index.rows as usize);
    let first_row = index.first_row + start as u32;
    let open = |end: usize| -> Result<(Arc<Segment>, SegmentBatches), RecordingError> {
        let segment = recording.segment(key.segment)?;
        let batches = segment.read(key.group as usize, Some(start..end), PAGE_ROWS, key.columns)?;
        Ok((segment, batches))
    };
    let (segment, mut batches) = match from {
        From::Stream(stream) => (stream.segment, stream.batches),
        From::Here => open(index.rows as usize)?,
        From::Alone => open(end)?,
    };
    let batch = segment.whole(batches.next(), key.group as usize, end - start)?;
    let next = PieceKey { piece: key.piece + 1, ..key };
    let stream = (end < index.rows as usize && !batches.is_done()).then_some(Stream { next, segment, batches });
    Ok((Piece { first_row, batch }, stream))
}
