//! A queue that memory does not grow with: beyond a bound, rows wait in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Rows in memory at most, beside those on their way to the file or back.
const IN_MEMORY_MAX: usize = 65_536;

/// Rows that go to the file together, and come back together.
const BLOCK: usize = 1_024;

/// What can stand in a queue.
pub(super) trait Row: Copy {
    /// Bytes of a row in the file.
    const BYTES: usize;

    /// Appends its bytes.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads it back.
    fn read(bytes: &[u8]) -> Self;
}

impl Row for u32 {
    const BYTES: usize = 4;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self::from_be_bytes(std::array::from_fn(|at| bytes[at]))
    }
}

impl Row for u64 {
    const BYTES: usize = 8;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self::from_be_bytes(std::array::from_fn(|at| bytes[at]))
    }
}

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Fifo<T> {
    /// The oldest rows.
    front: VecDeque<T>,
    /// Where the file is made, once it is needed; it has no name there.
    folder: PathBuf,
    file: Option<File>,
    /// Rows that were written to the file and read back from it.
    written: u64,
    read: u64,
    /// The youngest rows, where those in front of them wait in the file.
    back: Vec<T>,
}

impl<T: Row> Fifo<T> {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { front: VecDeque::new(), folder: folder.into(), file: None, written: 0, read: 0, back: Vec::new() }
    }

    pub(super) fn push(&mut self, row: T) -> io::Result<()> {
        let straight = self.back.is_empty() && self.written == self.read;
        if straight && self.front.len() < IN_MEMORY_MAX {
            self.front.push_back(row);
            return Ok(());
        }
        self.back.push(row);
        if self.back.len() == BLOCK { self.put_aside() } else { Ok(()) }
    }

    /// The oldest row.
    pub(super) fn front(&mut self) -> io::Result<Option<&T>> {
        if self.front.is_empty() {
            self.fetch()?;
        }
        Ok(self.front.front())
    }

    /// Takes the oldest row.
    pub(super) fn pop(&mut self) -> io::Result<Option<T>> {
        if self.front.is_empty() {
            self.fetch()?;
        }
        Ok(self.front.pop_front())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let mut bytes = Vec::with_capacity(self.back.len() * T::BYTES);
        self.back.iter().for_each(|row| row.write(&mut bytes));
        file.write_all_at(&bytes, self.written * T::BYTES as u64)?;
        self.written += self.back.len() as u64;
        self.back.clear();
        Ok(())
    }

    fn fetch(&mut self) -> io::Result<()> {
        let count = (self.written - self.read).min(BLOCK as u64);
        let Some(file) = self.file.as_ref().filter(|_| count > 0) else {
            self.front.extend(self.back.drain(..));
            return Ok(());
        };
        let mut bytes = vec![0; count as usize * T::BYTES];
        file.read_exact_at(&mut bytes, self.read * T::BYTES as u64)?;
        self.front.extend(bytes.chunks_exact(T::BYTES).map(T::read));
        self.read += count;
        if self.read == self.written {
            // What comes next is written over what nobody needs any more.
            (self.read, self.written) = (0, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_the_order_in_which_they_went_in_whatever_waits() {
        let mut fifo = Fifo::<u32>::new(std::env::temp_dir());
        let (mut next, mut wanted) = (0, 0);
        // More go in than come out at first, so that most wait in the file; then the other way round, and once more.
        for (pushed, popped) in [(3, 1), (1, 3), (3, 1), (0, 9)] {
            for _ in 0..IN_MEMORY_MAX {
                for _ in 0..pushed {
                    fifo.push(next).unwrap();
                    next += 1;
                }
                for _ in 0..popped {
                    assert_eq!(fifo.front().unwrap().copied(), (wanted < next).then_some(wanted));
                    assert_eq!(fifo.pop().unwrap(), (wanted < next).then_some(wanted));
                    wanted += u32::from(wanted < next);
                }
                assert!(fifo.front.len() <= IN_MEMORY_MAX && fifo.back.len() <= BLOCK);
            }
        }
        assert_eq!((wanted, fifo.pop().unwrap()), (next, None));
        assert!(fifo.file.is_some(), "the file was never needed");
    }
}
