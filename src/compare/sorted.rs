//! Items in order, however many: sorted in memory while they fit, beyond that in runs that are merged in the spill space.
//!
//! Memory is one run, and 32 KiB for each run that is merged; there are 256 of those at most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::CompareError;
use super::buckets::Item;
use super::watched::go_on;
use crate::spill::SpillSpace;

/// Items read from a file at once.
const CHUNK: usize = 512;

/// Runs that are merged at once.
const RUNS_MAX: usize = 256;

/// Takes items in any order.
pub(super) struct Sorter<'s, T, K> {
    key: fn(&T) -> K,
    joins: bool,
    held: Vec<T>,
    held_max: usize,
    spill: &'s SpillSpace,
    file: Option<File>,
    runs: Vec<Range<u64>>,
}

impl<'s, T: Item, K: Ord> Sorter<'s, T, K> {
    /// Sorts by `key`, which no two items share; holds up to `held_max` items in memory. Items that follow each other directly
    /// are kept as one, so nothing may stand between them in the order of `key`.
    pub(super) fn new(key: fn(&T) -> K, held_max: usize, spill: &'s SpillSpace) -> Self {
        Self { key, joins: true, held: Vec::new(), held_max: held_max.max(2), spill, file: None, runs: Vec::new() }
    }

    /// Keeps each item apart.
    pub(super) fn one_by_one(self) -> Self {
        Self { joins: false, ..self }
    }

    /// Adds an item.
    pub(super) fn push(&mut self, item: T) -> Result<(), CompareError> {
        if self.joins && self.held.last_mut().is_some_and(|last| last.join(&item)) {
            return Ok(());
        }
        if self.held.len() >= self.held_max {
            self.spill_run()?;
        }
        self.held.push(item);
        Ok(())
    }

    /// Adds an item that may stand for several.
    pub(super) fn push_run(&mut self, item: T) -> Result<(), CompareError> {
        if self.joins && item.count() > 1 {
            if self.held.len() >= self.held_max {
                self.spill_run()?;
            }
            self.held.push(item);
            return Ok(());
        }
        (0..item.count()).try_for_each(|n| self.push(item.nth(n)))
    }

    /// Ends adding.
    pub(super) fn finish(mut self) -> Result<Sorted<T>, CompareError> {
        if self.runs.is_empty() {
            self.held.sort_unstable_by_key(self.key);
            return Ok(Sorted { held: self.held, file: None, items: 0 });
        }
        self.spill_run()?;
        self.held = Vec::new();
        if self.runs.len() > 1 {
            self.merge()?;
        }
        Ok(Sorted { held: Vec::new(), file: self.file, items: self.runs.last().map_or(0, |run| run.end) })
    }

    fn spill_run(&mut self) -> Result<(), CompareError> {
        go_on(self.spill)?;
        self.held.sort_unstable_by_key(self.key);
        let file = match self.file.take() {
            Some(file) => file,
            None => self.spill.file().map_err(CompareError::Spill)?,
        };
        let mut written = Written::from(self.runs.last().map_or(0, |run| run.end));
        let start = written.items;
        self.held.iter().try_for_each(|item| written.push(item, &file))?;
        self.runs.push(start..written.finish(&file)?);
        self.held.clear();
        self.file = Some(file);
        if self.runs.len() == RUNS_MAX { self.merge() } else { Ok(()) }
    }

    /// Makes one run of all.
    fn merge(&mut self) -> Result<(), CompareError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let mut runs: Vec<Runs<'_, T>> = self.runs.drain(..).map(|run| Part::Disk(&file, run).runs()).collect();
        let mut heads = Vec::with_capacity(runs.len());
        let mut order = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter_mut().enumerate() {
            let first = run.next().transpose()?;
            order.extend(first.as_ref().map(|first| Reverse(((self.key)(first), number))));
            heads.push(first);
        }
        let merged = self.spill.file().map_err(CompareError::Spill)?;
        let mut written = Written::from(0);
        while let Some(Reverse((_, number))) = order.pop() {
            go_on(self.spill)?;
            let next = runs[number].next().transpose()?;
            order.extend(next.as_ref().map(|next| Reverse(((self.key)(next), number))));
            if let Some(head) = std::mem::replace(&mut heads[number], next) {
                written.push(&head, &merged)?;
            }
        }
        self.runs.push(0..written.finish(&merged)?);
        self.file = Some(merged);
        Ok(())
    }
}

/// What was written to a file, item after item.
struct Written {
    items: u64,
    bytes: Vec<u8>,
    /// Items of `bytes`.
    waiting: usize,
}

impl Written {
    fn from(items: u64) -> Self {
        Self { items, bytes: Vec::new(), waiting: 0 }
    }

    fn push<T: Item>(&mut self, item: &T, file: &File) -> Result<(), CompareError> {
        item.write(&mut self.bytes);
        self.waiting += 1;
        if self.waiting == CHUNK { self.flush::<T>(file).map_err(CompareError::Spill) } else { Ok(()) }
    }

    fn flush<T: Item>(&mut self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.bytes, self.items * T::SIZE as u64)?;
        self.items += self.waiting as u64;
        self.waiting = 0;
        self.bytes.clear();
        Ok(())
    }
}

impl Written {
    /// Writes what is left; the number of items in the file.
    fn finish(mut self, file: &File) -> Result<u64, CompareError> {
        let size = self.bytes.len().checked_div(self.waiting).unwrap_or_default() as u64;
        file.write_all_at(&self.bytes, self.items * size).map_err(CompareError::Spill)?;
        self.items += self.waiting as u64;
        Ok(self.items)
    }
}

/// Items in order.
pub(super) struct Sorted<T> {
    held: Vec<T>,
    file: Option<File>,
    items: u64,
}

impl<T: Item> Sorted<T> {
    /// All of them.
    pub(super) fn all(&self) -> Part<'_, T> {
        match &self.file {
            Some(file) => Part::Disk(file, 0..self.items),
            None => Part::Held(&self.held),
        }
    }

    /// Shows all items of the same `key` together to `take`, group by group. Groups of up to `held_max` items are in memory.
    pub(super) fn groups<K: PartialEq>(
        &self,
        key: impl Fn(&T) -> K,
        held_max: usize,
        mut take: impl FnMut(Part<'_, T>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let Some(file) = &self.file else {
            return self
                .held
                .chunk_by(|one, other| key(one) == key(other))
                .try_for_each(|group| take(Part::Held(group)));
        };
        let (mut group, mut start, mut of) = (Vec::new(), 0, None);
        for (at, item) in self.all().runs().enumerate() {
            let (item, at) = (item?, at as u64);
            let next = Some(key(&item));
            if of.is_some() && of != next {
                take(Self::group(&group, file, start..at))?;
                group.clear();
                start = at;
            }
            of = next;
            if group.len() < held_max && at - start == group.len() as u64 {
                group.push(item);
            }
        }
        if of.is_some() { take(Self::group(&group, file, start..self.items)) } else { Ok(()) }
    }

    fn group<'a>(held: &'a [T], file: &'a File, range: Range<u64>) -> Part<'a, T> {
        if held.len() as u64 == range.end - range.start { Part::Held(held) } else { Part::Disk(file, range) }
    }
}

/// Items that stand one after the other.
#[derive(Debug, Clone)]
pub(super) enum Part<'a, T> {
    /// In memory.
    Held(&'a [T]),
    /// In a file, by their numbers.
    Disk(&'a File, Range<u64>),
}

impl<'a, T: Item> Part<'a, T> {
    /// Those from one number to another.
    pub(super) fn part(&self, range: Range<u64>) -> Self {
        match self {
            Self::Held(items) => Self::Held(&items[range.start as usize..range.end as usize]),
            Self::Disk(file, all) => Self::Disk(file, all.start + range.start..all.start + range.end),
        }
    }

    /// Item by item, those that were joined as one.
    pub(super) fn runs(&self) -> Runs<'a, T> {
        Runs { left: self.clone(), chunk: Vec::new().into_iter() }
    }

    /// Each item of its own.
    pub(super) fn each(&self) -> Each<'a, T> {
        Each { runs: self.runs(), current: None, at: 0 }
    }

    /// How many there are, each of its own.
    pub(super) fn count(&self) -> Result<u64, CompareError> {
        self.runs().try_fold(0, |count, item| Ok(count + item?.count()))
    }

    fn read(file: &File, range: &mut Range<u64>) -> io::Result<Vec<T>> {
        let count = (range.end - range.start).min(CHUNK as u64);
        let mut bytes = vec![0; count as usize * T::SIZE];
        file.read_exact_at(&mut bytes, range.start * T::SIZE as u64)?;
        range.start += count;
        Ok(bytes.chunks_exact(T::SIZE).map(T::read).collect())
    }
}

/// See [`Part::runs`].
pub(super) struct Runs<'a, T> {
    left: Part<'a, T>,
    chunk: std::vec::IntoIter<T>,
}

impl<T: Item> Iterator for Runs<'_, T> {
    type Item = Result<T, CompareError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.left {
            Part::Held(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(Ok(*first))
            }
            Part::Disk(file, range) => {
                if self.chunk.len() == 0 && !range.is_empty() {
                    match Part::read(file, range) {
                        Ok(chunk) => self.chunk = chunk.into_iter(),
                        Err(error) => return Some(Err(CompareError::Spill(error))),
                    }
                }
                self.chunk.next().map(Ok)
            }
        }
    }
}

/// See [`Part::each`].
pub(super) struct Each<'a, T> {
    runs: Runs<'a, T>,
    current: Option<T>,
    at: u64,
}

impl<T: Item> Iterator for Each<'_, T> {
    type Item = Result<T, CompareError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.current.is_none_or(|current| self.at >= current.count()) {
            (self.current, self.at) = (None, 0);
            match self.runs.next()? {
                Ok(item) => self.current = Some(item),
                Err(error) => return Some(Err(error)),
            }
        }
        let at = self.at;
        self.at += 1;
        self.current.map(|current| Ok(current.nth(at)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::order::Pair;
    use super::*;
    use crate::outcome::Channel;

    fn pair(old: i64) -> Pair {
        Pair { old, other: old + 5, topic: 0, drive: 0, channel: Channel::Output, more: 0 }
    }

    proptest! {
        #[test]
        fn items_come_in_order_and_in_groups_whatever_is_held(
            numbers in prop::collection::btree_set(0_i64..2_000, 0..900).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle(),
            held in prop::sample::select(vec![2_usize, 3, 50, 10_000]),
            joins in any::<bool>(),
        ) {
            let spill = SpillSpace::system();
            let sorter = Sorter::new(|pair: &Pair| pair.old, held, &spill);
            let mut sorter = if joins { sorter } else { sorter.one_by_one() };
            numbers.iter().try_for_each(|number| sorter.push(pair(*number))).unwrap();
            let sorted = sorter.finish().unwrap();
            prop_assert_eq!(sorted.file.is_none(), sorted.held.len() == sorted.all().runs().count());
            let found: Vec<i64> = sorted.all().each().map(|pair| pair.unwrap().old).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(sorted.all().count().unwrap(), numbers.len() as u64);
            if !joins {
                let mut grouped = Vec::new();
                sorted.groups(|pair| pair.old / 100, 10, |group| {
                    grouped.push(group.each().map(|pair| pair.unwrap().old).collect::<Vec<_>>());
                    Ok(())
                }).unwrap();
                let expected: Vec<Vec<i64>> =
                    expected.chunk_by(|one, other| one / 100 == other / 100).map(<[i64]>::to_vec).collect();
                prop_assert_eq!(grouped, expected);
            }
        }
    }

    #[test]
    fn what_follows_directly_takes_the_room_of_one() {
        let spill = SpillSpace::system();
        let mut adding = Sorter::new(|pair: &Pair| pair.old, 2, &spill);
        (0..100_000).try_for_each(|number| adding.push(pair(number))).unwrap();
        let sorted = adding.finish().unwrap();
        assert_eq!((sorted.all().runs().count(), sorted.all().count().unwrap()), (1, 100_000));
        let all = sorted.all();
        let mut each = all.each();
        assert_eq!(each.nth(70_000).unwrap().unwrap().other, 70_005);
        assert_eq!((each.by_ref().count(), each.next().is_none()), (29_999, true));
    }
}
