//! Rows of one size in a temporary file, the last of them in memory too: memory does not grow with what was appended.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Rows kept in memory.
const RECENT: usize = 4_096;

/// Bytes that wait to be written; the rows they hold are all among the recent ones.
const PENDING_BYTES: usize = 32 << 10;

/// Appended to and read at any place, never changed.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    file: Arc<File>,
    written_bytes: u64,
    pending: Vec<u8>,
    len: u64,
    recent: VecDeque<[u8; N]>,
}

impl<const N: usize> Table<N> {
    /// Makes an empty table with a file without a name in `folder`.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        const { assert!(PENDING_BYTES / N < RECENT) };
        let file = Arc::new(tempfile::tempfile_in(folder)?);
        Ok(Self { file, written_bytes: 0, pending: Vec::new(), len: 0, recent: VecDeque::new() })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a row; where it cannot be written, the table is as before.
    pub(super) fn push(&mut self, row: [u8; N]) -> io::Result<()> {
        self.pending.extend_from_slice(&row);
        if self.pending.len() >= PENDING_BYTES {
            if let Err(error) = self.file.write_all_at(&self.pending, self.written_bytes) {
                self.pending.truncate(self.pending.len() - N);
                return Err(error);
            }
            self.written_bytes += self.pending.len() as u64;
            self.pending.clear();
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(row);
        self.len += 1;
        Ok(())
    }

    /// Takes the last rows off again, down to `len` of them.
    pub(super) fn truncate(&mut self, len: u64) {
        let gone = self.len.saturating_sub(len);
        self.recent.truncate(self.recent.len().saturating_sub(gone as usize));
        self.len -= gone;
        let bytes = self.len * N as u64;
        self.pending.truncate(bytes.saturating_sub(self.written_bytes) as usize);
        self.written_bytes = self.written_bytes.min(bytes);
    }

    /// Reads the row at `at`, which must be below the length.
    pub(super) fn get(&self, at: u64) -> io::Result<[u8; N]> {
        let first = self.first_recent();
        if at >= first {
            return Ok(self.recent[(at - first) as usize]);
        }
        let mut row = [0; N];
        self.file.read_exact_at(&mut row, at * N as u64)?;
        Ok(row)
    }

    /// The rows from `first` on and ahead of `end`, which must not be beyond the length: to be read where nobody waits for the table.
    pub(super) fn rows(&self, first: u64, end: u64) -> Rows<N> {
        let recent = self.first_recent();
        let in_memory = self
            .recent
            .range((first.clamp(recent, end.max(recent)) - recent) as usize..(end.max(recent) - recent) as usize);
        let stored = Stored {
            file: Arc::clone(&self.file),
            place: first * N as u64,
            size: end.min(recent).saturating_sub(first) * N as u64,
        };
        Rows { stored, recent: in_memory.copied().collect() }
    }

    /// Returns the number of rows at the front for which `before` holds; it must hold for no row behind one that it fails.
    pub(super) fn partition_point(&self, before: impl Fn(&[u8; N]) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = match self.recent.front() {
            Some(front) if before(front) => (self.first_recent() + 1, self.len),
            _ => (0, self.first_recent()),
        };
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.get(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn first_recent(&self) -> u64 {
        self.len - self.recent.len() as u64
    }
}

/// A part of a file that does not change any more: whoever has it reads it without the log that it is of.
#[derive(Debug, Clone)]
pub(in crate::drive::stage) struct Stored {
    pub(super) file: Arc<File>,
    pub(super) place: u64,
    pub(super) size: u64,
}

impl Stored {
    pub(in crate::drive::stage) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size as usize];
        self.file.read_exact_at(&mut bytes, self.place)?;
        Ok(bytes)
    }
}

/// Rows of a table, one after the other: those on disk, and those that were in memory.
#[derive(Debug)]
pub(in crate::drive::stage) struct Rows<const N: usize> {
    stored: Stored,
    recent: Vec<[u8; N]>,
}

impl<const N: usize> Rows<N> {
    pub(in crate::drive::stage) fn read(&self) -> io::Result<Vec<[u8; N]>> {
        let stored = self.stored.read()?;
        let (rows, _) = stored.as_chunks::<N>();
        Ok(rows.iter().chain(&self.recent).copied().collect())
    }
}

/// Eight bytes of a row as a number.
pub(super) fn number(row: &[u8], at: usize) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&row[at..at + 8]);
    i64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: i64) -> [u8; 16] {
        let mut row = [0; 16];
        row[..8].copy_from_slice(&value.to_be_bytes());
        row
    }

    #[test]
    fn a_row_that_cannot_be_written_shifts_no_other() {
        let mut table = Table::<16>::new(&std::env::temp_dir()).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let writable = std::mem::replace(&mut table.file, full.into());
        let fit = (PENDING_BYTES / 16) as i64 - 1;
        (0..fit).for_each(|value| table.push(row(value)).unwrap());
        for _ in 0..3 {
            assert_eq!(table.push(row(-1)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        table.file = writable;
        (fit..20_000).for_each(|value| table.push(row(value)).unwrap());
        assert_eq!(table.len(), 20_000);
        for at in 0..20_000 {
            assert_eq!(number(&table.get(at as u64).unwrap(), 0), at);
        }
    }

    #[test]
    fn rows_that_are_taken_off_make_room_for_others() {
        for (first, kept) in [(10, 4), (10_000, 9_999), (10_000, 7_000), (10_000, 0)] {
            let mut table = Table::<16>::new(&std::env::temp_dir()).unwrap();
            (0..first).for_each(|_| table.push(row(-1)).unwrap());
            table.truncate(kept as u64);
            (kept..20_000).for_each(|value| table.push(row(value)).unwrap());
            assert_eq!(table.len(), 20_000);
            for at in kept..20_000 {
                assert_eq!(number(&table.get(at as u64).unwrap(), 0), at);
            }
        }
    }

    #[test]
    fn rows_are_found_in_memory_and_on_disk() {
        let mut table = Table::<16>::new(&std::env::temp_dir()).unwrap();
        assert_eq!(table.partition_point(|_| true).unwrap(), 0);
        let count = 3 * RECENT as i64 + 17;
        for value in 0..count {
            table.push(row(value * 2)).unwrap();
        }
        for sought in [0, 1, 2, 2 * RECENT as i64, 4 * RECENT as i64 + 34, 2 * count - 2, 2 * count] {
            let at = table.partition_point(|row| number(row, 0) < sought).unwrap();
            assert_eq!(at as i64, (sought + 1) / 2);
            if (at as i64) < count {
                assert_eq!(number(&table.get(at).unwrap(), 0), at as i64 * 2);
            }
        }
        let (len, recent) = (table.len(), table.first_recent());
        for (first, end) in
            [(0, 0), (0, len), (5, 9), (recent - 1, recent), (recent - 2, recent + 3), (len - 1, len), (len, len)]
        {
            let rows = table.rows(first, end).read().unwrap();
            let values: Vec<u64> = rows.iter().map(|row| number(row, 0) as u64).collect();
            assert_eq!(values, (first..end).map(|at| at * 2).collect::<Vec<_>>(), "{first}..{end}");
        }
    }
}
