//! Brings together, for each delivery, when it was due and when the outputs it caused arrived.
//!
//! Causes come in another order than deliveries, and far apart where a build waits; so all moments are sorted by delivery, in
//! runs of fixed size that go to the spill space, and merged. Memory is one run, and then 32 KiB for each run of half a million;
//! what one delivery caused is paired as it comes, however many outputs those are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
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

/// The n-th output that a delivery caused, in microseconds since the schedule's start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answered {
    /// When the delivery was due; none where the plan does not hold it.
    pub(super) due: Option<i64>,
    /// Its arrival in each drive, by its number; none where that wrote fewer.
    pub(super) arrivals: Vec<Option<i64>>,
}

/// Gathers moments in any order.
#[derive(Debug)]
pub(super) struct Arrivals<'a> {
    pub(super) spill: &'a SpillSpace,
    drives: usize,
    topics: BTreeMap<String, u32>,
    run: Vec<Moment>,
    run_size: usize,
    waiting_max: usize,
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
        Self {
            spill,
            drives,
            topics: BTreeMap::new(),
            run: Vec::new(),
            run_size: RUN,
            waiting_max: RUN,
            runs: Vec::new(),
            file: None,
        }
    }

    /// Adds that `step` happened to `delivery` at `at_us`; `sequence` orders several outputs of one delivery.
    pub(super) fn add(&mut self, delivery: DeliveryId<'_>, step: Step, sequence: i64, at_us: i64) -> io::Result<()> {
        let DeliveryId { partition, offset, attempt, .. } = delivery;
        let topic = self.topic(delivery.topic);
        self.run.push(Moment { topic, partition, offset, attempt, step, sequence, at_us });
        if self.run.len() >= self.run_size { self.spill_run() } else { Ok(()) }
    }

    /// Hands over each output once, in order of delivery and, within it, of sequence.
    pub(super) fn for_each(mut self, mut take: impl FnMut(&Answered)) -> Result<(), CompareError> {
        if self.runs.is_empty() {
            self.run.sort_unstable();
            let mut groups = Groups::new(self.drives, &mut take, self.waiting_max, self.spill);
            self.run.iter().try_for_each(|moment| groups.add(*moment))?;
            return groups.finish();
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
        let mut groups = Groups::new(self.drives, take, self.waiting_max, spill);
        while let Some(Reverse((moment, number))) = heads.pop() {
            go_on(spill)?;
            groups.add(moment)?;
            let next = cursors[number].next(&file).map_err(CompareError::Spill)?;
            heads.extend(next.map(|moment| Reverse((moment, number))));
        }
        groups.finish()
    }
}

/// Pairs moments of one delivery, all of a drive's coming ahead of the next one's.
struct Groups<'a> {
    take: &'a mut dyn FnMut(&Answered),
    current: Option<Moment>,
    answered: Answered,
    /// Of each drive but the last, whose outputs wait for none.
    waiting: Vec<Waiting<'a>>,
    spill: &'a SpillSpace,
}

impl<'a> Groups<'a> {
    fn new(drives: usize, take: &'a mut dyn FnMut(&Answered), waiting_max: usize, spill: &'a SpillSpace) -> Self {
        let ahead = drives.saturating_sub(1);
        let held_max = waiting_max / ahead.max(1);
        let waiting = (0..ahead).map(|_| Waiting::new(held_max, spill)).collect();
        let answered = Answered { due: None, arrivals: vec![None; drives] };
        Self { take, current: None, answered, waiting, spill }
    }

    fn add(&mut self, moment: Moment) -> Result<(), CompareError> {
        if self.current.is_some_and(|current| current.delivery() != moment.delivery()) {
            self.finish()?;
        }
        self.current = Some(moment);
        match moment.step {
            Step::Due => self.answered.due = Some(moment.at_us),
            Step::Arrived(drive) => match self.waiting.get_mut(usize::from(drive)) {
                Some(waiting) => waiting.push(moment.at_us).map_err(CompareError::Spill)?,
                None => self.hand_over(Some(moment.at_us)).map(|_| ())?,
            },
        }
        Ok(())
    }

    /// Hands over the next output of the delivery, which arrived in the last drive at `last`; false where no drive has it.
    fn hand_over(&mut self, last: Option<i64>) -> Result<bool, CompareError> {
        let Some((of_last, ahead)) = self.answered.arrivals.split_last_mut() else { return Ok(false) };
        *of_last = last;
        for (arrival, waiting) in ahead.iter_mut().zip(&mut self.waiting) {
            *arrival = waiting.pop().map_err(CompareError::Spill)?;
        }
        let arrived = self.answered.arrivals.iter().any(Option::is_some);
        if arrived {
            (self.take)(&self.answered);
        }
        Ok(arrived)
    }

    fn finish(&mut self) -> Result<(), CompareError> {
        while self.hand_over(None)? {
            go_on(self.spill)?;
        }
        self.answered.due = None;
        Ok(())
    }
}

/// Arrivals in a drive that wait for those in the others, first come first: a build in a tight loop writes any number for one
/// delivery.
struct Waiting<'a> {
    /// Those ahead of the ones in the file.
    first: VecDeque<i64>,
    /// Those behind them.
    last: Vec<i64>,
    held_max: usize,
    spill: &'a SpillSpace,
    file: Option<File>,
    /// What stands in the file, in bytes.
    written: Range<u64>,
}

impl<'a> Waiting<'a> {
    fn new(held_max: usize, spill: &'a SpillSpace) -> Self {
        Self { first: VecDeque::new(), last: Vec::new(), held_max, spill, file: None, written: 0..0 }
    }

    fn push(&mut self, at_us: i64) -> io::Result<()> {
        self.last.push(at_us);
        if self.last.len() < self.held_max {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.spill.file()?),
        };
        let bytes: Vec<u8> = self.last.drain(..).flat_map(i64::to_le_bytes).collect();
        file.write_all_at(&bytes, self.written.end)?;
        self.written.end += bytes.len() as u64;
        Ok(())
    }

    fn pop(&mut self) -> io::Result<Option<i64>> {
        if self.first.is_empty() {
            if self.written.is_empty() {
                self.written = 0..0;
                self.first.extend(self.last.drain(..));
            } else if let Some(file) = &self.file {
                let mut bytes = vec![0; (self.written.end - self.written.start).min((CHUNK * 8) as u64) as usize];
                file.read_exact_at(&mut bytes, self.written.start)?;
                self.written.start += bytes.len() as u64;
                self.first.extend(bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)));
            }
        }
        Ok(self.first.pop_front())
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

    fn gather(run_size: usize, waiting_max: usize) -> Vec<Answered> {
        let spill = SpillSpace::system();
        let mut arrivals = Arrivals::new(2, &spill);
        (arrivals.run_size, arrivals.waiting_max) = (run_size, waiting_max);
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
        let all = gather(RUN, RUN);
        assert_eq!(all.len(), 1_001);
        assert_eq!(all[0], Answered { due: Some(0), arrivals: vec![Some(50), Some(80)] });
        assert_eq!(all[1], Answered { due: Some(0), arrivals: vec![None, Some(90)] });
        assert_eq!(all[1_000], Answered { due: None, arrivals: vec![Some(3), None] });
    }

    #[test]
    fn what_is_spilled_comes_back_as_it_was() {
        for run_size in [1, 7, 333, 2_001, 2_002] {
            assert_eq!(gather(run_size, 1), gather(RUN, RUN), "runs of {run_size}");
        }
    }

    #[test]
    fn outputs_of_one_delivery_are_paired_in_order_however_many_they_are() {
        let paired = |outputs: &[i64], waiting_max| {
            let spill = SpillSpace::system();
            let mut arrivals = Arrivals::new(outputs.len(), &spill);
            arrivals.waiting_max = waiting_max;
            arrivals.add(id(1, 0), Step::Due, 0, 7).unwrap();
            let last = outputs.len() as u8 - 1;
            for (drive, count) in (0..).zip(outputs) {
                let step = Step::Arrived(drive);
                (0..*count).for_each(|at| arrivals.add(id(1, 0), step, at, at * 10 + i64::from(drive)).unwrap());
            }
            // The next delivery begins anew.
            arrivals.add(id(2, 0), Step::Arrived(last), 5_000, 1).unwrap();
            let mut all = Vec::new();
            arrivals.for_each(|answered| all.push(answered.clone())).unwrap();
            all
        };
        let floods: [&[i64]; 9] = [
            &[5_000, 5_000],
            &[5_000, 3_001],
            &[2_999, 5_000],
            &[1, 0],
            &[0, 0],
            &[5_000, 3, 4_000, 1_700],
            &[0, 2_500, 0, 2_600],
            &[3_000, 3_000, 3_000],
            &[3],
        ];
        for outputs in floods {
            let most = outputs.iter().copied().max().unwrap();
            let arrival = |drive: usize, at: i64| (at < outputs[drive]).then_some(at * 10 + drive as i64);
            let row = |at| (0..outputs.len()).map(|drive| arrival(drive, at)).collect();
            let mut expected: Vec<Answered> =
                (0..most).map(|at| Answered { due: Some(7), arrivals: row(at) }).collect();
            let mut next = vec![None; outputs.len()];
            next[outputs.len() - 1] = Some(1);
            expected.push(Answered { due: None, arrivals: next });
            for waiting_max in [1, 10, 801, RUN] {
                assert_eq!(paired(outputs, waiting_max), expected, "{outputs:?} {waiting_max}");
            }
        }
    }

    #[test]
    fn nothing_gathered_is_nothing_handed_over() {
        let spill = SpillSpace::system();
        Arrivals::new(2, &spill).for_each(|_| panic!("nothing was added")).unwrap();
    }
}
