//! Deliveries that wait for their time: coordinates in memory up to a bound, sorted runs on disk beyond it.
//!
//! A radix heap: nothing is ever pushed below what has been popped, so an entry moves a few times between buckets instead of
//! once a level of a tree. Where more wait than the bound allows, all that is in memory becomes one sorted run.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use crate::recording::Place;
use crate::spill::SpillSpace;

/// Entries of one queue in memory at most; 64 bytes each.
pub(super) const PENDING_MAX: usize = 128 * 1024;

/// Room that an emptied bucket keeps: more is given back, or each bucket would hold on to the most it ever held.
const BUCKET_KEEPS: usize = 256;

/// Runs at most before they are merged into one; each holds a file and a buffer open.
const RUNS_MAX: usize = 64;

/// A delivery that waits: everything but its position, which is known when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// When it leaves the queue: microseconds or events.
    pub(super) key: i64,
    /// Index of its partition.
    pub(super) partition: u32,
    /// Which attempt it is; [`REWIND`] for a mark at which a partition is set back.
    pub(super) attempt: u16,
    /// How many duplicates the event has.
    pub(super) copies: u16,
    /// Order among entries of the same key and partition.
    pub(super) sequence: u64,
    pub(super) offset: i64,
    pub(super) place: Place,
    /// Faults that touched it or are to come of it, a bit each.
    pub(super) faults: u64,
    /// Due time of the first attempt, in microseconds; before that is known, the earliest it can be.
    pub(super) origin_us: i64,
}

/// Attempt that stands for no delivery: the partition is set back here.
pub(super) const REWIND: u16 = u16::MAX;

const ENTRY_BYTES: usize = 56;

impl Entry {
    fn order(&self) -> (i64, u32, u64) {
        (self.key, self.partition, self.sequence)
    }

    fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..8].copy_from_slice(&self.key.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.partition.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.copies.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.place.row.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.faults.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.origin_us.to_le_bytes());
        writer.write_all(&bytes)
    }

    fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; ENTRY_BYTES];
        reader.read_exact(&mut bytes)?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        Ok(Self {
            key: word(0) as i64,
            partition: half(8),
            attempt: half(12) as u16,
            copies: (half(12) >> 16) as u16,
            sequence: word(16),
            offset: word(24) as i64,
            place: Place { segment: half(32), row: half(36) },
            faults: word(40),
            origin_us: word(48) as i64,
        })
    }
}

/// A queue that gives entries back in order of key, partition and sequence. Keys pushed are never below the last popped.
#[derive(Debug)]
pub(super) struct Pending {
    buckets: Vec<Vec<Entry>>,
    least: [i64; BUCKETS],
    filled: u128,
    /// Entries of the key `last`, in reverse order.
    ready: Vec<Entry>,
    last: i64,
    in_memory: usize,
    bound: usize,
    runs: Vec<Run>,
    spill: Arc<SpillSpace>,
}

const BUCKETS: usize = 65;

impl Pending {
    /// Makes an empty queue that keeps `bound` entries in memory.
    pub(super) fn new(spill: Arc<SpillSpace>, bound: usize) -> Self {
        Self {
            buckets: vec![Vec::new(); BUCKETS],
            least: [i64::MAX; BUCKETS],
            filled: 0,
            ready: Vec::new(),
            last: 0,
            in_memory: 0,
            bound: bound.max(1),
            runs: Vec::new(),
            spill,
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// What the spill space says.
    pub(super) fn push(&mut self, entry: Entry) -> io::Result<()> {
        debug_assert!(entry.key >= self.last, "pushed below what was popped");
        if self.in_memory >= self.bound {
            self.spill()?;
        }
        self.put(entry);
        self.in_memory += 1;
        Ok(())
    }

    fn put(&mut self, entry: Entry) {
        let bucket = (64 - (entry.key ^ self.last).leading_zeros()) as usize;
        self.buckets[bucket].push(entry);
        self.least[bucket] = self.least[bucket].min(entry.key);
        self.filled |= 1 << bucket;
    }

    /// Takes the first entry, if its key is below `limit`.
    ///
    /// # Errors
    ///
    /// What the spill space says.
    pub(super) fn pop_below(&mut self, limit: i64) -> io::Result<Option<Entry>> {
        if self.ready.is_empty() {
            // What lies behind the runs' heads stays where it is: what is pushed meanwhile may come ahead of it.
            let head = self.runs.iter().map(|run| run.head.key).min();
            let made = self.make_ready(head.map_or(limit, |head| limit.min(head.saturating_add(1))));
            if !made && self.runs.is_empty() {
                return Ok(None);
            }
        }
        if !self.runs.is_empty() {
            return self.pop_with_runs(limit);
        }
        self.in_memory -= 1;
        Ok(self.ready.pop())
    }

    /// Brings the entries of the smallest key in memory together, if that key is below `limit`.
    fn make_ready(&mut self, limit: i64) -> bool {
        if self.filled == 0 {
            return false;
        }
        let bucket = self.filled.trailing_zeros() as usize;
        let least = self.least[bucket];
        // Not moved before it is due: what is pushed meanwhile may still come ahead of it.
        if least >= limit {
            return false;
        }
        self.last = least;
        let mut moved = std::mem::take(&mut self.buckets[bucket]);
        self.least[bucket] = i64::MAX;
        self.filled &= !(1 << bucket);
        for entry in moved.drain(..) {
            if entry.key == least {
                self.ready.push(entry);
            } else {
                self.put(entry);
            }
        }
        if moved.capacity() <= BUCKET_KEEPS {
            self.buckets[bucket] = moved;
        }
        if self.ready.len() > 1 {
            self.ready.sort_unstable_by_key(|entry| std::cmp::Reverse((entry.partition, entry.sequence)));
        }
        true
    }

    fn pop_with_runs(&mut self, limit: i64) -> io::Result<Option<Entry>> {
        let run =
            self.runs.iter().enumerate().min_by_key(|(_, run)| run.head.order()).map(|(index, run)| (index, run.head));
        match (self.ready.last(), run) {
            (Some(ready), Some((_, head))) if ready.order() < head.order() => {}
            (_, Some((index, head))) => {
                if head.key >= limit {
                    return Ok(None);
                }
                if !self.runs[index].advance()? {
                    self.runs.swap_remove(index);
                }
                return Ok(Some(head));
            }
            (_, None) => {}
        }
        let entry = self.ready.pop();
        self.in_memory -= usize::from(entry.is_some());
        Ok(entry)
    }

    /// Writes all that is in memory as one sorted run.
    fn spill(&mut self) -> io::Result<()> {
        let mut writer = RunWriter::start(&self.spill)?;
        // Every key of a bucket is below those of the next: sorted one by one they need no memory besides their own.
        self.buckets[0].append(&mut self.ready);
        for bucket in &mut self.buckets {
            let mut entries = std::mem::take(bucket);
            entries.sort_unstable_by_key(Entry::order);
            for entry in &entries {
                writer.add(entry)?;
            }
        }
        self.least = [i64::MAX; BUCKETS];
        self.filled = 0;
        self.in_memory = 0;
        self.runs.extend(writer.finish()?);
        if self.runs.len() > RUNS_MAX {
            self.merge_runs()?;
        }
        Ok(())
    }

    fn merge_runs(&mut self) -> io::Result<()> {
        let mut writer = RunWriter::start(&self.spill)?;
        let mut runs = std::mem::take(&mut self.runs);
        while let Some(index) = (0..runs.len()).min_by_key(|index| runs[*index].head.order()) {
            writer.add(&runs[index].head)?;
            if !runs[index].advance()? {
                runs.swap_remove(index);
            }
        }
        self.runs.extend(writer.finish()?);
        Ok(())
    }
}

struct RunWriter {
    writer: BufWriter<File>,
    count: u64,
}

impl RunWriter {
    fn start(spill: &SpillSpace) -> io::Result<Self> {
        Ok(Self { writer: BufWriter::with_capacity(64 * 1024, spill.file()?), count: 0 })
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.count += 1;
        entry.write(&mut self.writer)
    }

    fn finish(self) -> io::Result<Option<Run>> {
        let mut file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.count == 0 {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let head = Entry::read(&mut reader)?;
        Ok(Some(Run { reader, head, left: self.count - 1 }))
    }
}

/// A sorted run on disk, read from its front.
#[derive(Debug)]
struct Run {
    reader: BufReader<File>,
    head: Entry,
    left: u64,
}

impl Run {
    /// Moves on to the next entry; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        self.head = Entry::read(&mut self.reader)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: i64, partition: u32, sequence: u64) -> Entry {
        Entry {
            key,
            partition,
            attempt: (sequence % 3) as u16,
            copies: 2,
            sequence,
            offset: -key,
            place: Place { segment: 7, row: sequence as u32 },
            faults: 1 << 63,
            origin_us: key / 2,
        }
    }

    #[test]
    fn emptied_buckets_give_their_memory_back() {
        let bound = 100_000;
        let mut pending = Pending::new(Arc::new(SpillSpace::system()), bound);
        for number in 0..500_000_i64 {
            while pending.pop_below(number * 100).unwrap().is_some() {}
            // Each waits for as long as the next 90,000 take.
            pending.push(entry(number * 100 + 9_000_000, 0, number as u64)).unwrap();
        }
        assert!(pending.runs.is_empty());
        let room: usize = pending.buckets.iter().map(Vec::capacity).sum();
        assert!(room <= 2 * bound + BUCKETS * BUCKET_KEEPS, "{room}");
    }

    /// Pushes with rising limits in between, as a plan does, and returns what came out.
    fn drain(distances: &[(u16, u8)], bound: usize) -> Vec<Entry> {
        let mut pending = Pending::new(Arc::new(SpillSpace::system()), bound);
        let mut out = Vec::new();
        for (sequence, (distance, partition)) in distances.iter().enumerate() {
            let now = sequence as i64 / 3;
            while let Some(entry) = pending.pop_below(now).unwrap() {
                out.push(entry);
            }
            pending.push(entry(now + i64::from(*distance), u32::from(*partition % 4), sequence as u64)).unwrap();
        }
        while let Some(entry) = pending.pop_below(i64::MAX).unwrap() {
            out.push(entry);
        }
        out
    }

    proptest! {
        #[test]
        fn entries_come_back_in_order_whatever_was_spilled(distances in proptest::collection::vec(any::<(u16, u8)>(), 0..160)) {
            let out = drain(&distances, usize::MAX);
            prop_assert_eq!(out.len(), distances.len());
            prop_assert!(out.is_sorted_by_key(Entry::order));
            // A bound of one makes more runs than are kept, so merging takes part.
            for bound in [1, 7, 100] {
                prop_assert_eq!(&drain(&distances, bound), &out);
            }
        }
    }
}
