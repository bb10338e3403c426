//! Rows of one size in a temporary file, the last of them in memory too: memory does not grow with what was appended.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Rows kept in memory.
const RECENT: usize = 4_096;

/// Bytes that wait to be written; the rows they hold are all among the recent ones.
const PENDING_BYTES: usize = 32 << 10;

/// Appended to and read at any place, never changed.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    file: File,
    written_bytes: u64,
    pending: Vec<u8>,
    len: u64,
    recent: VecDeque<[u8; N]>,
}

impl<const N: usize> Table<N> {
    /// Makes an empty table with a file without a name in `folder`.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        const { assert!(PENDING_BYTES / N < RECENT) };
        let file = tempfile::tempfile_in(folder)?;
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
        let writable = std::mem::replace(&mut table.file, File::options().write(true).open("/dev/full").unwrap());
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
    }
}
