//! Fixed-size entries in 256 buckets: in memory while they fit, beyond that in a spill file, bucket by bucket.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::CompareError;
use crate::spill::SpillSpace;

/// Number of buckets.
pub(super) const BUCKETS: usize = 256;

/// Something of a fixed size that can be spilled.
pub(super) trait Item: Copy {
    /// Bytes of one item in a spill file.
    const SIZE: usize;

    /// Appends the item's bytes.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads an item back from exactly [`Item::SIZE`] bytes.
    fn read(bytes: &[u8]) -> Self;
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
        }
    }

    /// Adds `item` to `bucket`.
    pub(super) fn push(&mut self, bucket: usize, item: T) -> Result<(), CompareError> {
        let items = &mut self.memory[bucket];
        if items.len() == items.capacity() {
            // Grows by a quarter, not twofold: slack counts against the memory budget.
            items.reserve_exact(items.len() / 4 + 16);
        }
        items.push(item);
        self.held += 1;
        if self.held >= self.held_max { self.flush().map_err(CompareError::Spill) } else { Ok(()) }
    }

    /// Takes all items of `bucket` out, in the order they were added.
    pub(super) fn take(&mut self, bucket: usize) -> Result<Vec<T>, CompareError> {
        let rest = std::mem::take(&mut self.memory[bucket]);
        if self.chunks[bucket].is_empty() {
            return Ok(rest);
        }
        self.read(bucket, rest).map_err(CompareError::Spill)
    }

    fn read(&mut self, bucket: usize, rest: Vec<T>) -> io::Result<Vec<T>> {
        let total = self.chunks[bucket].iter().map(|chunk| chunk.items).sum::<usize>() + rest.len();
        let mut items = Vec::with_capacity(total);
        let Some(file) = &mut self.file else { return Ok(rest) };
        let mut bytes = Vec::new();
        for chunk in std::mem::take(&mut self.chunks[bucket]) {
            bytes.resize(chunk.items * T::SIZE, 0);
            file.seek(SeekFrom::Start(chunk.offset))?;
            file.read_exact(&mut bytes)?;
            items.extend(bytes.chunks_exact(T::SIZE).map(T::read));
        }
        items.extend(rest);
        Ok(items)
    }

    fn flush(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.spill.file()?),
        };
        file.seek(SeekFrom::Start(self.end))?;
        let mut bytes = Vec::new();
        for (bucket, items) in self.memory.iter_mut().enumerate().filter(|(_, items)| !items.is_empty()) {
            bytes.clear();
            for item in &*items {
                item.write(&mut bytes);
            }
            file.write_all(&bytes)?;
            self.chunks[bucket].push(Chunk { offset: self.end, items: items.len() });
            self.end += bytes.len() as u64;
            items.clear();
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
                assert_eq!(buckets.take(bucket as usize).unwrap(), expected);
            }
            assert_eq!(bytes == 1, buckets.file.is_some());
        }
    }
}
