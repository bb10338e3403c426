//! Brings together, for each delivery, when it was due and when the outputs it caused arrived.
//!
//! Causes come in another order than deliveries, and far apart where a build waits; so all moments are sorted by delivery, in
//! runs of fixed size that go to the spill space, and merged. Memory is one run, and then 32 KiB for each run of half a million.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::CompareError;
use super::watched::go_on;
use crate::spill::SpillSpace;

/// Moments sorted in memory at once: 20 MB.
const RUN: usize = 1 << 19;

/// Moments read from a run at once.
const CHUNK: usize = 800;

/// Bytes of a moment on disk.
const SIZE: usize = 40;

/// A delivery, by what a build can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeliveryId<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) attempt: i32,
}

/// What happened to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It was due.
    Due,
    /// The drive of this number wrote an output for it.
    Arrived(u8),
}

/// One delivery with what came of it, in microseconds since the schedule's start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answered {
    /// When it was due; none where the plan does not hold it.
    pub(super) due: Option<i64>,
    /// Arrivals of each drive, by its number, in order of sequence.
    pub(super) arrivals: Vec<Vec<i64>>,
}

/// Gathers moments in any order.
#[derive(Debug)]
pub(super) struct Arrivals<'a> {
    pub(super) spill: &'a SpillSpace,
    drives: usize,
    topics: BTreeMap<String, u32>,
    run: Vec<Moment>,
    run_size: usize,
    runs: Vec<(u64, u64)>,
    file: Option<File>,
}

/// Ordered by delivery, then due time ahead of arrivals, then sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    topic: u32,
    partition: i32,
    offset: i64,
    attempt: i32,
    step: Step,
    sequence: i64,
    at_us: i64,
}

impl<'a> Arrivals<'a> {
    /// Makes room for the moments of so many drives.
    pub(super) fn new(drives: usize, spill: &'a SpillSpace) -> Self {
        Self { spill, drives, topics: BTreeMap::new(), run: Vec::new(), run_size: RUN, runs: Vec::new(), file: None }
    }

    /// Adds that `step` happened to `delivery` at `at_us`; `sequence` orders several outputs of one delivery.
    pub(super) fn add(&mut self, delivery: DeliveryId<'_>, step: Step, sequence: i64, at_us: i64) -> io::Result<()> {
        let DeliveryId { partition, offset, attempt, .. } = delivery;
        let topic = self.topic(delivery.topic);
        self.run.push(Moment { topic, partition, offset, attempt, step, sequence, at_us });
        if self.run.len() >= self.run_size { self.spill_run() } else { Ok(()) }
    }

    /// Hands over each delivery once, in order of delivery.
    pub(super) fn for_each(mut self, mut take: impl FnMut(&Answered)) -> Result<(), CompareError> {
        if self.runs.is_empty() {
            self.run.sort_unstable();
            let mut groups = Groups::new(self.drives, &mut take);
            self.run.iter().for_each(|moment| groups.add(*moment));
            groups.finish();
            return Ok(());
        }
        self.spill_run().map_err(CompareError::Spill)?;
        self.merge(&mut take)
    }

    fn topic(&mut self, name: &str) -> u32 {
        if let Some(number) = self.topics.get(name) {
            return *number;
        }
        let number = self.topics.len() as u32;
        self.topics.insert(name.to_owned(), number);
        number
    }

    fn spill_run(&mut self) -> io::Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        self.run.sort_unstable();
        let start = self.runs.last().map_or(0, |(_, end)| *end);
        let file = match self.file.take() {
            Some(file) => file,
            None => self.spill.file()?,
        };
        for (number, moments) in self.run.chunks(CHUNK).enumerate() {
            let bytes: Vec<u8> = moments.iter().flat_map(|moment| moment.to_bytes()).collect();
            file.write_all_at(&bytes, start + (number * CHUNK * SIZE) as u64)?;
        }
        self.runs.push((start, start + (self.run.len() * SIZE) as u64));
        self.run.clear();
        self.file = Some(file);
        Ok(())
    }

    fn merge(self, take: &mut dyn FnMut(&Answered)) -> Result<(), CompareError> {
        let spill = self.spill;
        let Some(file) = self.file else { return Ok(()) };
        let mut cursors: Vec<Cursor> = self.runs.iter().map(|(start, end)| Cursor::new(*start, *end)).collect();
        let mut heads = BinaryHeap::new();
        for (number, cursor) in cursors.iter_mut().enumerate() {
            let first = cursor.next(&file).map_err(CompareError::Spill)?;
            heads.extend(first.map(|moment| Reverse((moment, number))));
        }
        let mut groups = Groups::new(self.drives, take);
        while let Some(Reverse((moment, number))) = heads.pop() {
            go_on(spill)?;
            groups.add(moment);
            let next = cursors[number].next(&file).map_err(CompareError::Spill)?;
            heads.extend(next.map(|moment| Reverse((moment, number))));
        }
        groups.finish();
        Ok(())
    }
}

/// Joins moments of one delivery that come one after the other.
struct Groups<'a> {
    take: &'a mut dyn FnMut(&Answered),
    current: Option<Moment>,
    answered: Answered,
}

impl<'a> Groups<'a> {
    fn new(drives: usize, take: &'a mut dyn FnMut(&Answered)) -> Self {
        Self { take, current: None, answered: Answered { due: None, arrivals: vec![Vec::new(); drives] } }
    }

    fn add(&mut self, moment: Moment) {
        if self.current.is_some_and(|current| current.delivery() != moment.delivery()) {
            self.finish();
        }
        self.current = Some(moment);
        match moment.step {
            Step::Due => self.answered.due = Some(moment.at_us),
            Step::Arrived(drive) => self.answered.arrivals[usize::from(drive)].push(moment.at_us),
        }
    }

    fn finish(&mut self) {
        if self.current.take().is_some() {
            (self.take)(&self.answered);
            self.answered.due = None;
            self.answered.arrivals.iter_mut().for_each(Vec::clear);
        }
    }
}

/// Reads one run.
struct Cursor {
    at: u64,
    end: u64,
    chunk: std::vec::IntoIter<Moment>,
}

impl Cursor {
    fn new(at: u64, end: u64) -> Self {
        Self { at, end, chunk: Vec::new().into_iter() }
    }

    fn next(&mut self, file: &File) -> io::Result<Option<Moment>> {
        if let Some(moment) = self.chunk.next() {
            return Ok(Some(moment));
        }
        let size = (self.end - self.at).min((CHUNK * SIZE) as u64) as usize;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, self.at)?;
        self.at += size as u64;
        self.chunk = bytes.as_chunks().0.iter().map(Moment::from_bytes).collect::<Vec<_>>().into_iter();
        Ok(self.chunk.next())
    }
}

impl Moment {
    fn delivery(&self) -> (u32, i32, i64, i32) {
        (self.topic, self.partition, self.offset, self.attempt)
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0..4].copy_from_slice(&self.topic.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.partition.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.attempt.to_le_bytes());
        if let Step::Arrived(drive) = self.step {
            (bytes[20], bytes[21]) = (1, drive);
        }
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.at_us.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; SIZE]) -> Self {
        let wide = |at: usize| i64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        let narrow = |at: usize| i32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        let step = if bytes[20] == 0 { Step::Due } else { Step::Arrived(bytes[21]) };
        Self {
            topic: narrow(0).cast_unsigned(),
            partition: narrow(4),
            offset: wide(8),
            attempt: narrow(16),
            step,
            sequence: wide(24),
            at_us: wide(32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(offset: i64, attempt: i32) -> DeliveryId<'static> {
        DeliveryId { topic: "flights", partition: 1, offset, attempt }
    }

    fn gather(run_size: usize) -> Vec<Answered> {
        let spill = SpillSpace::system();
        let mut arrivals = Arrivals::new(2, &spill);
        arrivals.run_size = run_size;
        for offset in (0..500).rev() {
            arrivals.add(id(offset, 0), Step::Arrived(1), 2 * offset + 1, offset + 90).unwrap();
            arrivals.add(id(offset, 0), Step::Arrived(0), offset, offset + 50).unwrap();
        }
        for offset in 0..500 {
            arrivals.add(id(offset, 0), Step::Due, 0, offset).unwrap();
            arrivals.add(id(offset, 0), Step::Arrived(1), 2 * offset, offset + 80).unwrap();
        }
        arrivals.add(id(7, 1), Step::Due, 0, 10_000).unwrap();
        arrivals.add(DeliveryId { topic: "crews", ..id(7, 0) }, Step::Arrived(0), 9, 3).unwrap();
        let mut all = Vec::new();
        arrivals.for_each(|answered| all.push(answered.clone())).unwrap();
        all
    }

    #[test]
    fn moments_of_a_delivery_come_together_in_order_of_sequence() {
        let all = gather(RUN);
        assert_eq!(all.len(), 502);
        assert_eq!(all[0], Answered { due: Some(0), arrivals: vec![vec![50], vec![80, 90]] });
        assert_eq!(all[8], Answered { due: Some(10_000), arrivals: vec![vec![], vec![]] });
        assert_eq!(all[501], Answered { due: None, arrivals: vec![vec![3], vec![]] });
    }

    #[test]
    fn what_is_spilled_comes_back_as_it_was() {
        for run_size in [1, 7, 333, 2_001, 2_002] {
            assert_eq!(gather(run_size), gather(RUN), "runs of {run_size}");
        }
    }

    #[test]
    fn nothing_gathered_is_nothing_handed_over() {
        let spill = SpillSpace::system();
        Arrivals::new(2, &spill).for_each(|_| panic!("nothing was added")).unwrap();
    }
}
