//! Fixed-size entries in 256 buckets: in memory while they fit, beyond that in a spill file, bucket by bucket.
//!
//! Items that follow each other directly and are otherwise the same are kept as one: what a build writes over and over in a
//! tight loop takes the room of one item.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::CompareError;
use crate::spill::SpillSpace;

/// Number of buckets.
pub(super) const BUCKETS: usize = 256;

/// Items written or read at a time.
const PIECE: usize = 1_024;

/// The eight bytes from `at` on as a number.
pub(super) fn number_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Something of a fixed size that can be spilled.
pub(super) trait Item: Copy {
    /// Bytes of one item in a spill file.
    const SIZE: usize;

    /// Appends the item's bytes.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads an item back from exactly [`Item::SIZE`] bytes.
    fn read(bytes: &[u8]) -> Self;

    /// How many it stands for.
    fn count(&self) -> u64 {
        1
    }

    /// The n-th of those it stands for, from zero.
    #[must_use]
    fn nth(&self, _n: u64) -> Self {
        *self
    }

    /// Lets it stand for `next` as well, where that follows it directly and is otherwise the same; false where not.
    fn join(&mut self, _next: &Self) -> bool {
        false
    }
}

/// Items by bucket.
pub(super) struct Buckets<'s, T> {
    memory: Vec<Vec<T>>,
    held: usize,
    held_max: usize,
    spill: &'s SpillSpace,
    file: Option<File>,
    end: u64,
    chunks: Vec<Vec<Chunk>>,
    counts: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    offset: u64,
    items: usize,
}

impl<'s, T: Item> Buckets<'s, T> {
    /// Holds up to about `bytes` in memory and the rest in `spill`.
    pub(super) fn new(bytes: u64, spill: &'s SpillSpace) -> Self {
        Self {
            memory: (0..BUCKETS).map(|_| Vec::new()).collect(),
            held: 0,
            held_max: (bytes as usize / size_of::<T>()).max(BUCKETS),
            spill,
            file: None,
            end: 0,
            chunks: vec![Vec::new(); BUCKETS],
            counts: vec![0; BUCKETS],
        }
    }

    /// Adds `item` to `bucket`.
    pub(super) fn push(&mut self, bucket: usize, item: T) -> Result<(), CompareError> {
        let items = &mut self.memory[bucket];
        self.counts[bucket] += item.count();
        if items.last_mut().is_some_and(|last| last.join(&item)) {
            return Ok(());
        }
        if items.len() == items.capacity() {
            // Grows by a quarter, not twofold: slack counts against the memory budget.
            items.reserve_exact(items.len() / 4 + 16);
        }
        items.push(item);
        self.held += 1;
        if self.held >= self.held_max { self.flush().map_err(CompareError::Spill) } else { Ok(()) }
    }

    /// How many items `bucket` holds, each counted.
    pub(super) fn count(&self, bucket: usize) -> u64 {
        self.counts[bucket]
    }

    /// Takes all items of `bucket` out, those that were joined as one, in the order they were added; few of them are in memory
    /// at a time.
    pub(super) fn drain(
        &mut self,
        bucket: usize,
        take: &mut dyn FnMut(T) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let mut bytes = Vec::new();
        for chunk in std::mem::take(&mut self.chunks[bucket]) {
            bytes.resize(PIECE * T::SIZE, 0);
            for from in (0..chunk.items).step_by(PIECE) {
                let bytes = &mut bytes[..(chunk.items - from).min(PIECE) * T::SIZE];
                if let Some(file) = &self.file {
                    let offset = chunk.offset + (from * T::SIZE) as u64;
                    file.read_exact_at(bytes, offset).map_err(CompareError::Spill)?;
                }
                bytes.chunks_exact(T::SIZE).try_for_each(|item| take(T::read(item)))?;
            }
        }
        std::mem::take(&mut self.memory[bucket]).into_iter().try_for_each(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.spill.file()?),
        };
        let mut bytes = Vec::new();
        for (bucket, items) in self.memory.iter_mut().enumerate().filter(|(_, items)| !items.is_empty()) {
            self.chunks[bucket].push(Chunk { offset: self.end, items: items.len() });
            for piece in items.chunks(PIECE) {
                bytes.clear();
                for item in piece {
                    item.write(&mut bytes);
                }
                file.write_all_at(&bytes, self.end)?;
                self.end += bytes.len() as u64;
            }
            items.clear();
            // A bucket that was full once, when others are next, would keep its room beside theirs.
            items.shrink_to(self.held_max / BUCKETS);
        }
        self.held = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for u64 {
        const SIZE: usize = 8;

        fn write(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }

        fn read(bytes: &[u8]) -> Self {
            Self::from_le_bytes(bytes.try_into().unwrap())
        }
    }

    #[test]
    fn items_come_back_in_order_whether_they_were_spilled_or_not() {
        let spill = SpillSpace::system();
        for bytes in [1, 1 << 20] {
            let mut buckets = Buckets::<u64>::new(bytes, &spill);
            (0..3_000).for_each(|item| buckets.push(item as usize % 7, item).unwrap());
            for bucket in 0..7 {
                let expected: Vec<u64> = (0..3_000).filter(|item| item % 7 == bucket).collect();
                let mut taken = Vec::new();
                let take = &mut |item| {
                    taken.push(item);
                    Ok(())
                };
                buckets.drain(bucket as usize, take).unwrap();
                assert_eq!(taken, expected);
            }
            assert_eq!(bytes == 1, buckets.file.is_some());
        }
    }
}
