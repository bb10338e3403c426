//! The log of a partition that the plan fills: events stand ready before their time and become visible when they are due.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;

use super::chunk::{Chunk, Spot};
use super::handed::{Handed, Stretch};
use super::table::{Rows, Table, number};
use super::{LogError, Reading, Slice, Want};
use crate::recording::{Place, RecordingError};

/// Bytes of a row of the trail: position, largest timestamp so far, segment and row of the recording.
const ROW: usize = 24;

/// Most events that are read again at once.
const AGAIN: u64 = 4_096;

/// Reads events again that have left a partition's memory.
pub trait Reread: Send + fmt::Debug {
    /// Encodes the first of `spots`: as many as take about `bytes_max` bytes, and one at least where there is one.
    ///
    /// # Errors
    ///
    /// As the recording says.
    fn reread(&mut self, spots: &[Spot], bytes_max: usize) -> Result<Option<Chunk>, RecordingError>;
}

/// See the top of the file. Positions never fall: what has been stocked stays where it is, seen or not.
#[derive(Debug)]
pub(in crate::drive::stage) struct PlannedLog {
    start: i64,
    high_watermark: i64,
    /// Chunks in memory: a bounded window behind what is visible, and what the feeder stocked ahead.
    chunks: VecDeque<Chunk>,
    /// Chunks at the front that are visible as a whole, and events of the next one that are.
    seen: (usize, usize),
    /// Events that were stocked ahead of the first chunk in memory.
    gone: u64,
    /// Events that are visible, of all.
    visible: u64,
    behind_bytes: usize,
    window_bytes: usize,
    /// Where each event stands, of all that were ever stocked.
    trail: Table<ROW>,
    max_timestamp: i64,
    asked: Option<i64>,
    handed: Handed,
}

impl PlannedLog {
    /// Makes a log that begins at `start` and keeps about `window_bytes` of what is visible in memory.
    pub(in crate::drive::stage) fn new(start: i64, window_bytes: usize, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            start,
            high_watermark: start,
            chunks: VecDeque::new(),
            seen: (0, 0),
            gone: 0,
            visible: 0,
            behind_bytes: 0,
            window_bytes,
            trail: Table::new(folder)?,
            max_timestamp: -1,
            asked: None,
            handed: Handed::new(start),
        })
    }

    pub(in crate::drive::stage) fn start(&self) -> i64 {
        self.start
    }

    pub(in crate::drive::stage) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Furthest position that a consumer has asked for.
    pub(in crate::drive::stage) fn asked(&self) -> Option<i64> {
        self.asked
    }

    /// Notes that a consumer asks for `position`.
    pub(in crate::drive::stage) fn note_asked(&mut self, position: i64) {
        self.handed.note_asked(position);
        // Whoever has not learned yet that it was set back asks for what it is not to be told of.
        if !self.handed.is_awaited() {
            self.asked = self.asked.max(Some(position));
        }
    }

    /// How many positions consumers were handed once more without having been set back.
    pub(in crate::drive::stage) fn handed_again(&self) -> u64 {
        self.handed.again()
    }

    /// Notes that a consumer that asked for `position` gets what stands there up to `to`.
    pub(in crate::drive::stage) fn note_handed(&mut self, position: i64, to: i64, asked_us: i64, handed_us: i64) {
        self.handed.note_handed(position, to, asked_us, handed_us);
    }

    /// Takes what was handed over since the last time.
    pub(in crate::drive::stage) fn take_handed(&mut self, into: &mut Vec<Stretch>) {
        self.handed.take(into);
    }

    /// From here on, what was handed over from `position` on counts as not handed over.
    pub(in crate::drive::stage) fn set_back(&mut self, position: i64) {
        self.asked = None;
        self.handed.set_back(position);
    }

    /// Whether consumers were set back and nobody has come back for what stands there.
    pub(in crate::drive::stage) fn is_awaited(&self) -> bool {
        self.handed.is_awaited()
    }

    /// Puts events ready that are not due yet.
    pub(in crate::drive::stage) fn stock(&mut self, chunk: Chunk) -> Result<(), LogError> {
        let (len, mut max_timestamp) = (self.trail.len(), self.max_timestamp);
        for spot in chunk.spots() {
            max_timestamp = max_timestamp.max(spot.timestamp_ms);
            if let Err(error) = self.trail.push(row(spot, max_timestamp)) {
                // All of the chunk or nothing: whoever tries it again must not find half of it there.
                self.trail.truncate(len);
                return Err(error.into());
            }
        }
        self.max_timestamp = max_timestamp;
        self.chunks.push_back(chunk);
        Ok(())
    }

    /// Makes the next `events` visible, at most as many as were stocked; returns how many were.
    pub(in crate::drive::stage) fn reveal(&mut self, events: u64) -> u64 {
        let mut left = events.min(self.trail.len() - self.visible);
        let revealed = left;
        self.visible += revealed;
        while left > 0 {
            let (whole, part) = self.seen;
            let Some(chunk) = self.chunks.get(whole) else { break };
            let take = left.min((chunk.spots().len() - part) as u64);
            let seen = part + take as usize;
            self.high_watermark = chunk.spots()[seen - 1].position + 1;
            left -= take;
            self.seen = (whole, seen);
            if seen == chunk.spots().len() {
                self.behind_bytes += chunk.size_bytes();
                self.seen = (whole + 1, 0);
            }
        }
        self.forget();
        revealed
    }

    /// Lets go of chunks at the front that are visible as a whole, as far as the window is overfull. The newest of them stays: those
    /// who keep up are about to ask for it.
    fn forget(&mut self) {
        while self.behind_bytes > self.window_bytes && self.seen.0 > 1 {
            let Some(front) = self.chunks.pop_front() else { break };
            self.behind_bytes -= front.size_bytes();
            self.gone += front.spots().len() as u64;
            self.seen.0 -= 1;
        }
    }

    /// The chunk in memory that holds `offset` or the first event behind it.
    fn chunk_at(&self, offset: i64) -> Option<usize> {
        let at = self.chunks.partition_point(|chunk| chunk.spots().last().is_some_and(|last| last.position < offset));
        (at < self.chunks.len()).then_some(at)
    }

    /// Events of each chunk from the `at`-th on that are visible.
    fn visible_from(&self, at: usize) -> impl Iterator<Item = (&Chunk, usize)> {
        let (whole, part) = self.seen;
        self.chunks.iter().enumerate().skip(at).map_while(move |(index, chunk)| {
            let seen = if index < whole { chunk.spots().len() } else { part * usize::from(index == whole) };
            (seen > 0).then_some((chunk, seen))
        })
    }

    /// Whether the event at `offset` has left memory.
    fn is_gone(&self, offset: i64) -> bool {
        let first = self.chunks.front().and_then(|chunk| chunk.spots().first());
        self.gone > 0 && offset < self.high_watermark && first.is_none_or(|first| offset < first.position)
    }

    pub(super) fn available(&self, offset: i64) -> u64 {
        if self.is_gone(offset) {
            // Far behind: more than anybody waits for.
            return u64::from(u32::MAX);
        }
        let Some(at) = self.chunk_at(offset) else { return 0 };
        let bytes = |(chunk, seen): (&Chunk, usize)| {
            let from = chunk.index_of(offset).min(seen);
            if from == seen { 0 } else { chunk.bytes_between(from, seen) + crate::drive::stage::batch::HEADER_BYTES }
        };
        self.visible_from(at).map(bytes).sum::<usize>() as u64
    }

    pub(super) fn read(&self, want: Want) -> Result<Reading, LogError> {
        let mut slice =
            Slice { high_watermark: self.high_watermark, last_stable: self.high_watermark, ..Slice::default() };
        if self.is_gone(want.offset) {
            let spots = self.spots_from(want.offset, want.events_max)?;
            return Ok(Reading::Again { spots, slice });
        }
        let Some(at) = self.chunk_at(want.offset) else { return Ok(Reading::Slice(slice)) };
        let (mut room, mut events) = (want.bytes_max, want.events_max);
        for (chunk, seen) in self.visible_from(at) {
            let from = chunk.index_of(want.offset).min(seen);
            let whole = slice.parts.is_empty() && want.first_whole && from < seen;
            let count = chunk.fitting(from, seen, room).max(usize::from(whole)).min(events);
            events -= count;
            if let Some(parts) = chunk.batch(from, from + count) {
                room = room.saturating_sub(parts.iter().map(bytes::Bytes::len).sum());
                slice.parts.extend(parts);
                slice.to = Some(chunk.spots()[from + count - 1].position + 1);
            }
            if from + count < seen {
                break;
            }
        }
        Ok(Reading::Slice(slice))
    }

    /// Where the visible events from `offset` on stand in the recording, at most so many, and have left memory.
    fn spots_from(&self, offset: i64, events_max: usize) -> Result<Spots, LogError> {
        let first = self.trail.partition_point(|row| number(row, 0) < offset)?;
        let most = AGAIN.min(events_max as u64);
        let end = (first + most).min(self.gone.max(first + 1)).min(self.visible);
        Ok(Spots(self.trail.rows(first, end.max(first))))
    }

    /// The first visible event of `timestamp` or later.
    pub(super) fn at_time(&self, timestamp: i64) -> Result<Option<(i64, i64)>, LogError> {
        let at = self.trail.partition_point(|row| number(row, 8) < timestamp)?;
        if at >= self.visible {
            return Ok(None);
        }
        // The largest timestamp so far is the event's own where it is the first to reach it.
        let row = self.trail.get(at)?;
        Ok(Some((number(&row, 0), number(&row, 8))))
    }

    /// The largest timestamp of all visible events.
    pub(super) fn largest_time(&self) -> Result<Option<i64>, LogError> {
        let Some(last) = self.visible.checked_sub(1) else { return Ok(None) };
        Ok(Some(number(&self.trail.get(last)?, 8)).filter(|largest| *largest != -1))
    }
}

/// Places of events, to be read where nobody waits for the log.
#[derive(Debug)]
pub(in crate::drive::stage) struct Spots(Rows<ROW>);

impl Spots {
    pub(in crate::drive::stage) fn read(&self) -> io::Result<Vec<Spot>> {
        Ok(self.0.read()?.iter().map(spot).collect())
    }
}

fn row(spot: &Spot, max_timestamp: i64) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[..8].copy_from_slice(&spot.position.to_be_bytes());
    row[8..16].copy_from_slice(&max_timestamp.to_be_bytes());
    row[16..20].copy_from_slice(&spot.place.segment.to_be_bytes());
    row[20..].copy_from_slice(&spot.place.row.to_be_bytes());
    row
}

fn spot(row: &[u8; ROW]) -> Spot {
    let place = number(row, 16) as u64;
    let place = Place { segment: (place >> 32) as u32, row: place as u32 };
    // Whoever reads an event again learns its timestamp from the recording.
    Spot { position: number(row, 0), timestamp_ms: -1, place }
}
