//! The bytes of a Parquet file, read page by page from many places at once.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A file each of whose pages costs one call of the system: `File` itself is copied, moved and closed for each.
#[derive(Debug, Clone)]
pub(crate) struct ParquetInput {
    file: Arc<File>,
    size_bytes: u64,
}

impl ParquetInput {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), size_bytes })
    }

    /// Reads on from a place of its own.
    pub(super) fn reader(&self, at: u64) -> ReadFrom {
        ReadFrom { file: Arc::clone(&self.file), at }
    }
}

impl Length for ParquetInput {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for ParquetInput {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.reader(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // A footer may say anything of how long a page is.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            let left = self.size_bytes.saturating_sub(start);
            return Err(ParquetError::EOF(format!("Expected to read {length} bytes, read only {left}")));
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        Ok(buffer.into())
    }
}

/// Reads on from a place in a file. `File` itself would not do: its copies share one place.
#[derive(Debug)]
pub(crate) struct ReadFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
