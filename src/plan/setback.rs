//! The tail of a partition's log, kept so that a consumer that is set back gets it again.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::recording::Place;
use crate::spill::SpillSpace;

/// Log entries kept in memory at most; a longer way back is kept on disk.
const IN_MEMORY_MAX: u64 = 65_536;

/// One position of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogEntry {
    pub(super) offset: i64,
    pub(super) position: i64,
    pub(super) place: Place,
    /// Which attempt stands here.
    pub(super) attempt: i32,
    /// How many duplicates the event has.
    pub(super) copies: i32,
    /// How often the partition had been set back when this was written.
    pub(super) set_back: i64,
}

const BYTES: usize = 40;

/// The last entries of a partition's log.
#[derive(Debug)]
pub(super) enum LogTail {
    Memory { entries: VecDeque<LogEntry>, longest: usize },
    Disk { spill: Arc<SpillSpace>, file: Option<File>, written: u64, buffer: Vec<u8> },
}

impl LogTail {
    /// Makes an empty tail from which `longest` entries may be asked.
    pub(super) fn new(longest: u64, spill: Arc<SpillSpace>) -> Self {
        if longest <= IN_MEMORY_MAX {
            Self::Memory { entries: VecDeque::new(), longest: longest as usize }
        } else {
            Self::Disk { spill, file: None, written: 0, buffer: Vec::new() }
        }
    }

    /// Adds an entry at the end.
    pub(super) fn push(&mut self, entry: LogEntry) -> io::Result<()> {
        match self {
            Self::Memory { entries, longest } => {
                if entries.len() == *longest {
                    entries.pop_front();
                }
                entries.push_back(entry);
                Ok(())
            }
            Self::Disk { buffer, .. } => {
                buffer.extend_from_slice(&entry.bytes());
                if buffer.len() >= 1_024 * BYTES { self.flush() } else { Ok(()) }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self::Disk { spill, file, written, buffer } = self else { return Ok(()) };
        if file.is_none() {
            *file = Some(spill.file()?);
        }
        if let Some(file) = file {
            file.write_all_at(buffer, *written * BYTES as u64)?;
            *written += (buffer.len() / BYTES) as u64;
            buffer.clear();
        }
        Ok(())
    }

    /// Number of entries that can be asked for.
    pub(super) fn len(&mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(match self {
            Self::Memory { entries, .. } => entries.len() as u64,
            Self::Disk { written, .. } => *written,
        })
    }

    /// Returns up to 1,024 entries from `index` on, counted from the first that is kept.
    pub(super) fn read(&self, index: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let count = (end - index).min(1_024) as usize;
        match self {
            Self::Memory { entries, .. } => Ok(entries.iter().skip(index as usize).take(count).copied().collect()),
            Self::Disk { file: Some(file), .. } => {
                let mut bytes = vec![0; count * BYTES];
                file.read_exact_at(&mut bytes, index * BYTES as u64)?;
                Ok(bytes.chunks_exact(BYTES).map(LogEntry::from_bytes).collect())
            }
            Self::Disk { file: None, .. } => Ok(Vec::new()),
        }
    }
}

impl LogEntry {
    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.place.row.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.copies.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.set_back.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| i64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        Self {
            offset: word(0),
            position: word(8),
            place: Place { segment: half(16), row: half(20) },
            attempt: half(24) as i32,
            copies: half(28) as i32,
            set_back: word(32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_on_disk_is_that_in_memory() {
        let spill = Arc::new(SpillSpace::system());
        let mut tails = [LogTail::new(65_536, Arc::clone(&spill)), LogTail::new(u64::MAX, spill)];
        for index in 0..5_000 {
            let entry = LogEntry {
                offset: index,
                position: index * 2,
                place: Place { segment: 3, row: index as u32 },
                attempt: (index % 2) as i32,
                copies: 7,
                set_back: index / 9,
            };
            for tail in &mut tails {
                tail.push(entry).unwrap();
            }
        }
        for from in [0, 1_000, 4_990] {
            let read = tails.each_mut().map(|tail| {
                let end = tail.len().unwrap();
                tail.read(from, end).unwrap()
            });
            assert_eq!(read[0], read[1]);
            assert_eq!(read[0][0].offset, from as i64);
        }
    }
}
