//! Entries of several drives, filed by each of them on its own, taken out bucket by bucket.

use super::CompareError;
use super::buckets::{Buckets, Item as _};
use super::gather::Entry;
use super::sorted::{Sorted, Sorter};
use crate::spill::SpillSpace;

/// Entries of all drives, those of a drive behind those of the drive before it.
#[derive(Default)]
pub(super) struct Filed<'s> {
    drives: Vec<OfDrive<'s>>,
}

/// Entries of a bucket as they were filed, or sorted already.
pub(super) enum Loaded {
    /// Those of a drive behind those of the drive before it, each drive's in order of sequence.
    Small(Vec<Entry>),
    Large(Sorted<Entry>),
}

impl Loaded {
    /// Sorts them by `key`.
    pub(super) fn sorted<K: Ord>(self, Keyed { key, lead }: Keyed<K>) -> Bucket {
        match self {
            Self::Small(entries) => Bucket::Small(in_order(&entries, key, lead)),
            Self::Large(sorted) => Bucket::Large(sorted),
        }
    }
}

/// Entries of a bucket, sorted.
pub(super) enum Bucket {
    /// Each of its own, in memory.
    Small(Vec<Entry>),
    /// More than are held in memory.
    Large(Sorted<Entry>),
}

/// What entries are sorted by. A key begins with the eight bits of the bucket, and goes on with those of `lead`.
#[derive(Clone, Copy)]
pub(super) struct Keyed<K> {
    pub(super) key: fn(&Entry) -> K,
    pub(super) lead: fn(&Entry) -> u64,
}

struct OfDrive<'s> {
    buckets: Buckets<'s, Entry>,
    /// Numbers of its topics among those of all drives.
    topics: Vec<u16>,
}

impl<'s> Filed<'s> {
    /// Adds what the next drive filed, with the numbers of its topics among those of all drives.
    pub(super) fn add(&mut self, buckets: Buckets<'s, Entry>, topics: &[u16]) {
        self.drives.push(OfDrive { buckets, topics: topics.to_vec() });
    }

    /// How many entries `bucket` holds, each counted.
    fn count(&self, bucket: usize) -> u64 {
        self.drives.iter().map(|drive| drive.buckets.count(bucket)).sum()
    }

    /// Takes all entries of `bucket` out, each of its own.
    fn take(&mut self, bucket: usize) -> Result<Vec<Entry>, CompareError> {
        let mut entries = Vec::with_capacity(self.count(bucket) as usize);
        self.drain(bucket, &mut |entry| {
            entries.extend((0..entry.count()).map(|n| entry.nth(n)));
            Ok(())
        })?;
        Ok(entries)
    }

    /// Takes all entries of `bucket` out: in order of `key`, by which no two of them are the same, where they are more than `held`, else
    /// for [`Loaded::sorted`].
    pub(super) fn load<K: Ord>(
        &mut self,
        bucket: usize,
        key: fn(&Entry) -> K,
        held: usize,
        spill: &SpillSpace,
    ) -> Result<Loaded, CompareError> {
        if self.count(bucket) <= held as u64 {
            return self.take(bucket).map(Loaded::Small);
        }
        let mut sorter = Sorter::new(key, held, spill);
        self.drain(bucket, &mut |entry| sorter.push_run(entry))?;
        sorter.finish().map(Loaded::Large)
    }

    /// Takes all entries of `bucket` out, those that were joined as one; few of them are in memory at a time.
    pub(super) fn drain(
        &mut self,
        bucket: usize,
        take: &mut dyn FnMut(Entry) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        for OfDrive { buckets, topics } in &mut self.drives {
            buckets.drain(bucket, &mut |entry| take(Entry { topic: topics[usize::from(entry.topic)], ..entry }))?;
        }
        Ok(())
    }
}

/// Bits by which entries are parted before they are sorted.
const PART_BITS: u32 = 11;

/// Sorts entries by `key`, which begins with the evenly spread bits of `lead`. What is moved about meanwhile are these bits and the
/// places of the entries, parted by the first of the bits, so that what is left to sort fits the processor's nearest cache.
fn in_order<K: Ord>(entries: &[Entry], key: fn(&Entry) -> K, lead: fn(&Entry) -> u64) -> Vec<Entry> {
    let part = |lead: u64| (lead >> (u64::BITS - PART_BITS)) as usize;
    let mut ends = vec![0_usize; 1 << PART_BITS];
    for entry in entries {
        ends[part(lead(entry))] += 1;
    }
    let mut next = 0;
    for end in &mut ends {
        // Where each part starts, until its entries have moved it to where the part ends.
        next += std::mem::replace(end, next);
    }
    let mut places = vec![(0, 0); entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        let lead = lead(entry);
        let place = &mut ends[part(lead)];
        places[*place] = (lead, at as u32);
        *place += 1;
    }
    let mut rest = places.as_mut_slice();
    let mut start = 0;
    for end in ends {
        let (part, behind) = rest.split_at_mut(end - start);
        part.sort_unstable();
        (rest, start) = (behind, end);
    }
    let mut sorted: Vec<Entry> = places.iter().map(|(_, at)| entries[*at as usize]).collect();
    // Entries of the same bits stand as they were filed, which is their order unless their keys go on otherwise behind them.
    for alike in sorted.chunk_by_mut(|one, other| lead(one) == lead(other)) {
        if alike.len() > 1 && !alike.is_sorted_by_key(key) {
            alike.sort_unstable_by_key(key);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scan::mix;

    #[test]
    fn entries_are_sorted_by_their_places_as_at_once() {
        let entry = |number: u64, spread: u64| {
            let identity = u128::from(mix(number % spread, 3)) << 56 | u128::from(mix(number % spread, 5) >> 8);
            let (drive, sequence) = ((number % 2) as u8, number as i64);
            let (content, value, subset, ignored) = (0, 0, 0, 0);
            Entry { identity, content, value, subset, ignored, sequence, topic: 0, drive, flags: 0, more: 0 }
        };
        let key = |entry: &Entry| (entry.identity, entry.drive, entry.sequence);
        for (count, spread) in [(0, 1), (100, 50), (20_000, 9_000), (20_000, 3)] {
            let entries: Vec<Entry> = (0..count).map(|number| entry(number, spread)).collect();
            let mut expected = entries.clone();
            expected.sort_by_key(key);
            for lead in [|entry: &Entry| (entry.identity >> 56) as u64, |_: &Entry| 7] {
                assert_eq!(in_order(&entries, key, lead), expected, "{count} {spread}");
            }
        }
    }
}
