//! The log of a partition that builds write to: on disk, in files without names, appended to and read from anywhere.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::producers::{Admission, Producers};
use super::table::{Stored, Table, number};
use super::{Aborted, LogError, Reading, Slice, Sought, Want};
use crate::drive::stage::batch::{Batch, BatchHeader};
use crate::drive::stage::record::Record;

/// Bytes of the last batches that stay in memory, for consumers that keep up.
const RECENT_BYTES: usize = 256 << 10;

/// Bytes of an index row: base offset, last offset, largest timestamp so far, place in the file, size, arrival.
const ROW: usize = 48;

/// What the index holds of one batch.
#[derive(Debug, Clone, Copy)]
struct Entry {
    base_offset: i64,
    last_offset: i64,
    /// Of this batch and all ahead of it, so that a search by time can halve.
    max_timestamp: i64,
    place: u64,
    size: u64,
    arrived_us: i64,
}

impl Entry {
    fn encode(self) -> [u8; ROW] {
        let mut row = [0; ROW];
        let numbers = [
            self.base_offset,
            self.last_offset,
            self.max_timestamp,
            self.place as i64,
            self.size as i64,
            self.arrived_us,
        ];
        for (part, number) in row.chunks_exact_mut(8).zip(numbers) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        row
    }

    fn decode(row: &[u8; ROW]) -> Self {
        Self {
            base_offset: number(row, 0),
            last_offset: number(row, 8),
            max_timestamp: number(row, 16),
            place: number(row, 24) as u64,
            size: number(row, 32) as u64,
            arrived_us: number(row, 40),
        }
    }
}

/// Files of a log; made with its first batch, since most partitions of most drives stay empty.
#[derive(Debug)]
struct Files {
    data: Arc<File>,
    bytes: u64,
    index: Table<ROW>,
}

impl Files {
    fn entry(&self, at: u64) -> Result<Entry, LogError> {
        Ok(Entry::decode(&self.index.get(at)?))
    }

    /// Number of the batch that holds `offset`, or the first behind it.
    fn at(&self, offset: i64) -> Result<u64, LogError> {
        Ok(self.index.partition_point(|row| Entry::decode(row).last_offset < offset)?)
    }

    fn stored(&self, place: u64, size: u64) -> Stored {
        Stored { file: Arc::clone(&self.data), place, size }
    }
}

/// A batch that arrived, to be read where nobody waits for the log.
#[derive(Debug, Clone)]
pub(in crate::drive::stage) struct Arrived {
    pub(in crate::drive::stage) base_offset: i64,
    /// Microseconds of the drive's clock.
    pub(in crate::drive::stage) us: i64,
    /// Transactions taken back whose producers may have written it.
    pub(in crate::drive::stage) aborted: Vec<Aborted>,
    stored: Stored,
}

impl Arrived {
    pub(in crate::drive::stage) fn read(&self) -> Result<Batch, LogError> {
        Ok(Batch::split_from(&mut self.stored.read()?.into())?)
    }
}

/// A batch in which an event is looked for by its timestamp, to be read where nobody waits for the log.
#[derive(Debug)]
pub(in crate::drive::stage) struct Timed {
    timestamp: i64,
    start: i64,
    /// One past what the reader may see.
    pub(in crate::drive::stage) upper: i64,
    /// One past the batch.
    pub(in crate::drive::stage) next: i64,
    stored: Stored,
}

impl Timed {
    /// The first event of the time in the batch, with its timestamp; none where it is one that was deleted.
    pub(in crate::drive::stage) fn read(&self) -> Result<Option<(i64, i64)>, LogError> {
        let batch = Batch::split_from(&mut self.stored.read()?.into())?;
        let fits = |record: &&Record| record.timestamp >= self.timestamp && record.offset >= self.start;
        let records = batch.records().unwrap_or_default();
        Ok(records.iter().find(fits).map(|found| (found.offset, found.timestamp)))
    }
}

/// Bytes of a row about a transaction that was taken back: producer, first offset, place of the control batch, and last stable offset
/// behind it.
const ABORTED_ROW: usize = 32;

fn aborted(row: &[u8; ABORTED_ROW]) -> Aborted {
    Aborted { producer_id: number(row, 0), first_offset: number(row, 8), last_offset: number(row, 16) }
}

/// What becomes of a produced batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drive::stage) struct Appended {
    pub(in crate::drive::stage) base_offset: i64,
    /// The log's own time, or -1 where the producer's stands.
    pub(in crate::drive::stage) append_time: i64,
    /// Whether the batch stood in the log already.
    pub(in crate::drive::stage) duplicate: bool,
}

/// See the top of the file.
#[derive(Debug)]
pub(in crate::drive::stage) struct WrittenLog {
    folder: PathBuf,
    files: Option<Files>,
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
    start: i64,
    /// Base offset of the batch that holds the start.
    start_batch: i64,
    next: i64,
    max_timestamp: i64,
    producers: Producers,
    /// Transactions that were taken back, in the order of their ends; made with the first.
    aborted: Option<Table<ABORTED_ROW>>,
}

impl WrittenLog {
    /// Makes an empty log that keeps its files in `folder`, and forgets producers that were silent for `expiration`.
    pub(in crate::drive::stage) fn new(folder: &Path, expiration: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            files: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            start: 0,
            start_batch: 0,
            next: 0,
            max_timestamp: -1,
            producers: Producers::new(expiration.as_micros() as i64),
            aborted: None,
        }
    }

    pub(in crate::drive::stage) fn start(&self) -> i64 {
        self.start
    }

    /// One past the last offset: with a single broker also the high watermark.
    pub(in crate::drive::stage) fn next(&self) -> i64 {
        self.next
    }

    /// First offset that an open transaction may yet take back.
    pub(in crate::drive::stage) fn last_stable(&self) -> i64 {
        // What was deleted since cannot be waited for; of a batch that was cut nothing is shown yet.
        self.producers.first_open().unwrap_or(self.next).max(self.start_batch)
    }

    /// Appends a batch of a producer, unless it stands there already.
    pub(in crate::drive::stage) fn produce(
        &mut self,
        batch: &Batch,
        append_time: Option<i64>,
        arrived_us: i64,
    ) -> Result<Appended, LogError> {
        match self.producers.admit(&batch.header) {
            Admission::Append => {}
            Admission::Duplicate { base_offset, append_time } => {
                return Ok(Appended { base_offset, append_time, duplicate: true });
            }
            Admission::OutOfOrder => return Err(LogError::OutOfOrder),
            Admission::Fenced => return Err(LogError::Fenced),
            Admission::OutsideOfTransaction => return Err(LogError::OutsideOfTransaction),
        }
        let kept = batch.appended_at(self.next, append_time);
        self.append(&kept, arrived_us)?;
        self.producers.note(&kept.header, kept.header.base_offset, arrived_us);
        Ok(Appended { base_offset: kept.header.base_offset, append_time: append_time.unwrap_or(-1), duplicate: false })
    }

    /// Ends a producer's transaction with a control batch, as Kafka's coordinator does.
    pub(in crate::drive::stage) fn end_transaction(
        &mut self,
        producer_id: i64,
        epoch: i16,
        committed: bool,
        date_ms: i64,
        arrived_us: i64,
    ) -> Result<(), LogError> {
        let header =
            BatchHeader { base_offset: self.next, producer_id, producer_epoch: epoch, ..BatchHeader::default() };
        let marker = Record {
            offset: self.next,
            timestamp: date_ms,
            // Version 0 and the type of the marker; version 0 and the epoch of the coordinator.
            key: Some(Bytes::from_static(if committed { &[0, 0, 0, 1] } else { &[0, 0, 0, 0] })),
            value: Some(Bytes::from_static(&[0, 0, 0, 0, 0, 0])),
            headers: Vec::new(),
        };
        let batch = Batch::of(header.control(), &[marker]);
        let last_offset = self.next;
        let taken_back = self.producers.open_since(producer_id).filter(|_| !committed);
        if let Some(first_offset) = taken_back {
            let last_stable = self.producers.first_open_but(producer_id).unwrap_or(last_offset + 1);
            self.note_aborted([producer_id, first_offset, last_offset, last_stable])?;
        }
        if let Err(error) = self.append(&batch, arrived_us) {
            // The marker is tried again: nothing has been taken back yet.
            if taken_back.is_some()
                && let Some(table) = &mut self.aborted
            {
                table.truncate(table.len() - 1);
            }
            return Err(error);
        }
        self.producers.end(producer_id, epoch, arrived_us);
        Ok(())
    }

    fn note_aborted(&mut self, numbers: [i64; 4]) -> Result<(), LogError> {
        if self.aborted.is_none() {
            self.aborted = Some(Table::new(&self.folder)?);
        }
        let mut row = [0; ABORTED_ROW];
        for (part, number) in row.chunks_exact_mut(8).zip(numbers) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        if let Some(table) = &mut self.aborted {
            table.push(row)?;
        }
        Ok(())
    }

    /// Notes that a batch was refused which its producer is to send again.
    pub(in crate::drive::stage) fn note_refused(&mut self, batch: &Batch) {
        self.producers.note_refused(&batch.header);
    }

    fn append(&mut self, batch: &Batch, arrived_us: i64) -> Result<(), LogError> {
        if self.files.is_none() {
            let data = Arc::new(tempfile::tempfile_in(&self.folder)?);
            self.files = Some(Files { data, bytes: 0, index: Table::new(&self.folder)? });
        }
        let Some(files) = &mut self.files else { return Ok(()) };
        let bytes = batch.bytes();
        files.data.write_all_at(bytes, files.bytes)?;
        let max_timestamp = self.max_timestamp.max(batch.header.max_timestamp);
        let entry = Entry {
            base_offset: batch.header.base_offset,
            last_offset: batch.header.last_offset(),
            max_timestamp,
            place: files.bytes,
            size: bytes.len() as u64,
            arrived_us,
        };
        files.index.push(entry.encode())?;
        files.bytes += bytes.len() as u64;
        self.max_timestamp = max_timestamp;
        self.next = entry.last_offset + 1;
        self.recent_bytes += bytes.len();
        self.recent.push_back(bytes.clone());
        while self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.len();
        }
        Ok(())
    }

    /// Raises the first offset, as `DeleteRecords` does; what lies ahead of it is not served any more.
    pub(in crate::drive::stage) fn delete_before(&mut self, offset: i64) -> Result<i64, LogError> {
        let offset = if offset == -1 { self.next } else { offset };
        if !(0..=self.next).contains(&offset) {
            return Err(LogError::OutOfRange);
        }
        let start = self.start.max(offset);
        if let Some(files) = &self.files {
            let at = files.at(start)?;
            let holds = at < files.index.len();
            self.start_batch = if holds { files.entry(at)?.base_offset } else { self.next };
        }
        self.start = start;
        Ok(self.start)
    }

    /// Bytes that a reader at `offset` would find ahead of `upper`.
    pub(super) fn available(&self, offset: i64, upper: i64) -> Result<u64, LogError> {
        let Some(files) = &self.files else { return Ok(0) };
        let place = |offset| -> Result<u64, LogError> {
            if offset >= self.next {
                return Ok(files.bytes);
            }
            let at = files.at(offset)?;
            Ok(if at == files.index.len() { files.bytes } else { files.entry(at)?.place })
        };
        Ok(place(upper)?.saturating_sub(place(offset)?))
    }

    /// Finds whole batches from the one that holds `offset` on. However small they are, it is found by halving how many fit.
    pub(super) fn read(&self, want: Want, upper: i64) -> Result<Reading, LogError> {
        let mut slice = Slice { high_watermark: self.next, last_stable: self.last_stable(), ..Slice::default() };
        let Some(files) = &self.files else { return Ok(Reading::Slice(slice)) };
        let first = files.at(want.offset)?;
        let mut end_offset = want.offset;
        let mut stored = None;
        if first < files.index.len() {
            let from = files.entry(first)?;
            let room = from.place + want.bytes_max as u64;
            let fits = |entry: Entry| {
                let whole = want.first_whole && entry.base_offset == from.base_offset;
                entry.base_offset < upper && (whole || entry.place + entry.size <= room)
            };
            let end = files.index.partition_point(|row| fits(Entry::decode(row)))?;
            if end > first {
                let last = files.entry(end - 1)?;
                end_offset = last.last_offset + 1;
                stored = Some((from.place, last.place + last.size - from.place));
            }
        }
        if want.committed {
            slice.aborted = self.aborted_between(want.offset, end_offset)?;
        }
        let Some((place, bytes)) = stored else { return Ok(Reading::Slice(slice)) };
        if let Some(parts) = self.recent_from(files, first, bytes) {
            slice.parts = parts;
            return Ok(Reading::Slice(slice));
        }
        Ok(Reading::Stored { stored: files.stored(place, bytes), slice })
    }

    /// The `bytes` bytes of batches from the `first` on, where they are in memory yet.
    fn recent_from(&self, files: &Files, first: u64, bytes: u64) -> Option<Vec<Bytes>> {
        let oldest = files.index.len() - self.recent.len() as u64;
        let at = first.checked_sub(oldest)?;
        let (mut parts, mut left) = (Vec::new(), bytes as usize);
        for batch in self.recent.range(at as usize..) {
            if left == 0 {
                break;
            }
            left -= batch.len();
            parts.push(batch.clone());
        }
        Some(parts)
    }

    /// Looks for the first event from `offset` on whose timestamp is `timestamp` or later, below `upper`.
    pub(super) fn at_time(&self, timestamp: i64, offset: i64, upper: i64) -> Result<Sought, LogError> {
        let Some(files) = &self.files else { return Ok(Sought::Found(None)) };
        let ahead = |entry: Entry| entry.max_timestamp < timestamp || entry.last_offset < offset;
        let at = files.index.partition_point(|row| ahead(Entry::decode(row)))?;
        if at == files.index.len() {
            return Ok(Sought::Found(None));
        }
        let entry = files.entry(at)?;
        let (start, next) = (self.start, entry.last_offset + 1);
        Ok(Sought::Stored(Timed { timestamp, start, upper, next, stored: files.stored(entry.place, entry.size) }))
    }

    /// The largest timestamp of any event.
    pub(super) fn largest_time(&self) -> Option<i64> {
        (self.max_timestamp >= 0).then_some(self.max_timestamp)
    }

    /// Finds the batch that holds `offset`, or the first behind it.
    pub(in crate::drive::stage) fn arrived(&self, offset: i64) -> Result<Option<Arrived>, LogError> {
        let Some(files) = &self.files else { return Ok(None) };
        let at = files.at(offset)?;
        if at == files.index.len() {
            return Ok(None);
        }
        let entry = files.entry(at)?;
        Ok(Some(Arrived {
            base_offset: entry.base_offset,
            us: entry.arrived_us,
            aborted: self.aborted_between(entry.base_offset, entry.last_offset + 1)?,
            stored: files.stored(entry.place, entry.size),
        }))
    }

    /// Transactions that were taken back and reach into the log from `offset` on and ahead of `end`, in the order of their ends.
    fn aborted_between(&self, offset: i64, end: i64) -> Result<Vec<Aborted>, LogError> {
        let mut inside = Vec::new();
        let Some(table) = &self.aborted else { return Ok(inside) };
        let first = table.partition_point(|row| aborted(row).last_offset < offset)?;
        for at in first..table.len() {
            let row = table.get(at)?;
            if aborted(&row).first_offset < end {
                inside.push(aborted(&row));
            }
            // All that ended later began behind what was stable then.
            if number(&row, 24) >= end {
                break;
            }
        }
        Ok(inside)
    }
}
