//! The log of a partition that builds write to: on disk, in files without names, appended to and read from anywhere.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::producers::{Admission, Producers};
use super::table::{Table, number};
use super::{Aborted, LogError, Slice, Want};
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
    data: File,
    bytes: u64,
    index: Table<ROW>,
}

/// A batch that was read back, with the moment it arrived.
#[derive(Debug, Clone)]
pub(in crate::drive::stage) struct Arrived {
    pub(in crate::drive::stage) batch: Batch,
    /// Microseconds of the drive's clock.
    pub(in crate::drive::stage) us: i64,
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
    aborted: Vec<Aborted>,
}

impl WrittenLog {
    /// Makes an empty log that keeps its files in `folder`.
    pub(in crate::drive::stage) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            start: 0,
            start_batch: 0,
            next: 0,
            max_timestamp: -1,
            producers: Producers::default(),
            aborted: Vec::new(),
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
        self.producers.note(&kept.header, kept.header.base_offset);
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
        self.append(&batch, arrived_us)?;
        if let Some(first_offset) = self.producers.end(producer_id, epoch)
            && !committed
        {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset });
        }
        Ok(())
    }

    fn append(&mut self, batch: &Batch, arrived_us: i64) -> Result<(), LogError> {
        if self.files.is_none() {
            let data = tempfile::tempfile_in(&self.folder)?;
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
            let at = files.index.partition_point(|row| Entry::decode(row).last_offset < start)?;
            let holds = at < files.index.len();
            self.start_batch = if holds { Entry::decode(&files.index.get(at)?).base_offset } else { self.next };
        }
        self.start = start;
        self.aborted.retain(|aborted| aborted.last_offset >= self.start);
        Ok(self.start)
    }

    /// Bytes that a reader at `offset` would find ahead of `upper`.
    pub(super) fn available(&self, offset: i64, upper: i64) -> Result<u64, LogError> {
        let Some(files) = &self.files else { return Ok(0) };
        let place = |offset| -> Result<u64, LogError> {
            if offset >= self.next {
                return Ok(files.bytes);
            }
            let at = files.index.partition_point(|row| Entry::decode(row).last_offset < offset)?;
            Ok(if at == files.index.len() { files.bytes } else { Entry::decode(&files.index.get(at)?).place })
        };
        Ok(place(upper)?.saturating_sub(place(offset)?))
    }

    /// Reads whole batches from the one that holds `offset` on.
    pub(super) fn read(&self, want: Want, upper: i64) -> Result<Slice, LogError> {
        let mut slice = Slice { high_watermark: self.next, last_stable: self.last_stable(), ..Slice::default() };
        let Some(files) = &self.files else { return Ok(slice) };
        let first = files.index.partition_point(|row| Entry::decode(row).last_offset < want.offset)?;
        let mut run: Option<(u64, u64)> = None;
        let mut end = want.offset;
        for at in first..files.index.len() {
            let entry = Entry::decode(&files.index.get(at)?);
            let whole = run.is_none() && want.first_whole;
            let taken = run.map_or(0, |(_, bytes)| bytes);
            if entry.base_offset >= upper || (!whole && taken + entry.size > want.bytes_max as u64) {
                break;
            }
            run = Some((run.map_or(entry.place, |(place, _)| place), taken + entry.size));
            end = entry.last_offset + 1;
        }
        if let Some((place, bytes)) = run {
            slice.parts = self.bytes_at(files, first, place, bytes)?;
        }
        if want.committed {
            let inside = |aborted: &&Aborted| aborted.last_offset >= want.offset && aborted.first_offset < end;
            slice.aborted = self.aborted.iter().filter(inside).copied().collect();
        }
        Ok(slice)
    }

    /// The `bytes` bytes at `place`, where the `first`-th batch begins: from memory where it is recent.
    fn bytes_at(&self, files: &Files, first: u64, place: u64, bytes: u64) -> Result<Vec<Bytes>, LogError> {
        let oldest = files.index.len() - self.recent.len() as u64;
        if first >= oldest {
            let (mut parts, mut left) = (Vec::new(), bytes as usize);
            for batch in self.recent.range((first - oldest) as usize..) {
                if left == 0 {
                    break;
                }
                left -= batch.len();
                parts.push(batch.clone());
            }
            return Ok(parts);
        }
        let mut buffer = vec![0; bytes as usize];
        files.data.read_exact_at(&mut buffer, place)?;
        Ok(vec![buffer.into()])
    }

    /// Finds the first event whose timestamp is `timestamp` or later, below `upper`: its offset and timestamp.
    pub(super) fn at_time(&self, timestamp: i64, upper: i64) -> Result<Option<(i64, i64)>, LogError> {
        let Some(files) = &self.files else { return Ok(None) };
        let mut at = files.index.partition_point(|row| Entry::decode(row).max_timestamp < timestamp)?;
        while at < files.index.len() {
            let entry = Entry::decode(&files.index.get(at)?);
            let batch = Self::batch(files, &entry)?;
            let fits = |record: &&Record| record.timestamp >= timestamp && record.offset >= self.start;
            if let Some(found) = batch.records().unwrap_or_default().iter().find(fits) {
                return Ok((found.offset < upper).then_some((found.offset, found.timestamp)));
            }
            // Only where the log begins behind the event that was found in the index.
            at += 1;
        }
        Ok(None)
    }

    /// The event with the largest timestamp, the first of several: its offset and timestamp.
    pub(super) fn at_largest_time(&self, upper: i64) -> Result<Option<(i64, i64)>, LogError> {
        if self.max_timestamp < 0 { Ok(None) } else { self.at_time(self.max_timestamp, upper) }
    }

    /// Reads the batch that holds `offset`, or the first behind it.
    pub(in crate::drive::stage) fn arrived(&self, offset: i64) -> Result<Option<Arrived>, LogError> {
        let Some(files) = &self.files else { return Ok(None) };
        let at = files.index.partition_point(|row| Entry::decode(row).last_offset < offset)?;
        if at == files.index.len() {
            return Ok(None);
        }
        let entry = Entry::decode(&files.index.get(at)?);
        Ok(Some(Arrived { batch: Self::batch(files, &entry)?, us: entry.arrived_us }))
    }

    fn batch(files: &Files, entry: &Entry) -> Result<Batch, LogError> {
        let mut buffer = vec![0; entry.size as usize];
        files.data.read_exact_at(&mut buffer, entry.place)?;
        Ok(Batch::split_from(&mut buffer.into())?)
    }

    /// Aborted transactions that reach into the log from `offset` on.
    pub(in crate::drive::stage) fn aborted_from(&self, offset: i64) -> Vec<Aborted> {
        self.aborted.iter().filter(|aborted| aborted.last_offset >= offset).copied().collect()
    }
}
