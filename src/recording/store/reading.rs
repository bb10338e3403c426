//! A segment in a store as it is read: few requests, each for much.
//!
//! Whoever opens a segment wants its footer: the first request brings its end. Whoever reads a row group says beforehand which
//! columns of it are wanted: they are fetched at once where they are not large, else a stretch of each column at a time.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Store, StoreError};

/// Bytes at the end of a segment that the first request brings: nearly always its whole footer.
const TAIL_BYTES: u64 = 512 << 10;

/// Bytes between two wanted stretches that are fetched with them: asking twice takes longer.
const BETWEEN_BYTES: u64 = 1 << 20;

/// Bytes that are fetched at once for a row group at most.
const WHOLE_BYTES: u64 = 16 << 20;

/// Bytes of one column that are fetched at once where a row group is larger.
const STRETCH_BYTES: u64 = 4 << 20;

/// Bytes that are fetched at least where nobody said beforehand what is wanted.
const LEAST_BYTES: u64 = 64 << 10;

/// Bytes that are fetched at once to be hashed.
const HASHED_BYTES: u64 = 8 << 20;

/// A segment in a store. Clones fetch for themselves.
pub(in crate::recording) struct StoredFile {
    object: Arc<Object>,
    fetched: Arc<Mutex<Fetched>>,
}

/// What the readers of one object share.
struct Object {
    store: Arc<Store>,
    file: String,
    bytes: u64,
    /// The version that was opened: what is put in its place meanwhile is not mixed with it.
    version: Option<String>,
}

/// What was fetched, and what will be wanted.
#[derive(Default)]
struct Fetched {
    stretches: Vec<Stretch>,
    /// Why the last read failed: Parquet's readers would make a text of it.
    failure: Option<io::Error>,
}

/// A part of the object that is read from its start to its end, and what of it is at hand.
struct Stretch {
    range: Range<u64>,
    at: u64,
    bytes: Bytes,
}

impl Stretch {
    fn slice(&self, at: u64, length: usize) -> Option<Bytes> {
        let start = usize::try_from(at.checked_sub(self.at)?).ok()?;
        let end = start.checked_add(length)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile").field("file", &self.object.file).finish_non_exhaustive()
    }
}

impl Clone for StoredFile {
    fn clone(&self) -> Self {
        Self { object: Arc::clone(&self.object), fetched: Arc::clone(&self.fetched) }
    }
}

impl StoredFile {
    /// Opens an object; `bytes` is its length where that is known. Its end is at hand then.
    pub(in crate::recording) fn open(store: &Arc<Store>, file: &str, bytes: Option<u64>) -> io::Result<Self> {
        // Not every store takes a request for the last bytes: where the length is not known, it is asked for first.
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => match store.range(file, 0..1, None) {
                Err(error) if is_beyond_its_end(&error) => 0,
                first => first?.1.bytes,
            },
        };
        let start = bytes.saturating_sub(TAIL_BYTES);
        let (tail, facts) = match store.range(file, start..bytes.max(1), None) {
            // It ends ahead of that: how long it is in truth says what is wrong with it.
            Err(error) if is_beyond_its_end(&error) => (Bytes::new(), store.facts(file)?),
            read => read?,
        };
        let end = start + tail.len() as u64;
        let object = Object {
            store: Arc::clone(store),
            file: file.to_owned(),
            bytes: facts.bytes,
            version: facts.version.e_tag,
        };
        let stretch = Stretch { range: start..end, at: start, bytes: tail };
        let fetched = Fetched { stretches: vec![stretch], failure: None };
        Ok(Self { object: Arc::new(object), fetched: Arc::new(Mutex::new(fetched)) })
    }

    /// Length of the object.
    pub(in crate::recording) fn bytes(&self) -> u64 {
        self.object.bytes
    }

    /// Returns a reader of the same object that has `wanted` at hand, or fetches it as it is read: stretches of it, each of
    /// which is read from its start on.
    pub(in crate::recording) fn wanting(&self, wanted: &[Range<u64>]) -> io::Result<Self> {
        let together = joined(wanted);
        let all: u64 = together.iter().map(|range| range.end - range.start).sum();
        let stretches = if all <= WHOLE_BYTES {
            let bytes = self.object.store.ranges(&self.object.file, &together, self.object.version.as_deref())?;
            let stretch = |(range, bytes): (Range<u64>, Bytes)| Stretch { at: range.start, range, bytes };
            together.into_iter().zip(bytes).map(stretch).collect()
        } else {
            // Joined, columns would be read in turns and each turn would fetch the same again.
            wanted.iter().map(|range| Stretch { at: range.start, range: range.clone(), bytes: Bytes::new() }).collect()
        };
        let fetched = Fetched { stretches, failure: None };
        Ok(Self { object: Arc::clone(&self.object), fetched: Arc::new(Mutex::new(fetched)) })
    }

    /// Reads exactly so many bytes.
    pub(in crate::recording) fn exactly(&self, at: u64, length: usize) -> io::Result<Bytes> {
        if at.saturating_add(length as u64) > self.object.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.lock().take(&self.object, at, length)
    }

    /// Reads from a place on.
    pub(in crate::recording) fn reader(&self, at: u64) -> StoredRead {
        StoredRead { file: self.clone(), at }
    }

    /// Calls `take` with all bytes from the first to the last.
    pub(in crate::recording) fn each(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut at = 0;
        while at < self.object.bytes {
            let end = (at + HASHED_BYTES).min(self.object.bytes);
            let version = self.object.version.as_deref();
            let (bytes, _) = self.object.store.range(&self.object.file, at..end, version)?;
            take(&bytes);
            at = end;
        }
        Ok(())
    }

    /// Takes the error of the last read that failed.
    pub(in crate::recording) fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    /// Keeps the error of a read for whoever asks for it, and returns one that says the same.
    pub(in crate::recording) fn failed(&self, error: io::Error) -> io::Error {
        let same = io::Error::new(error.kind(), error.to_string());
        self.lock().failure = Some(error);
        same
    }

    fn lock(&self) -> MutexGuard<'_, Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetched {
    /// Some of the bytes from `at` on that need not be fetched, at most `length`.
    fn at_hand(&self, at: u64, length: usize) -> Option<Bytes> {
        let left = |stretch: &Stretch| {
            (stretch.at + stretch.bytes.len() as u64).saturating_sub(at).min(length as u64) as usize
        };
        self.stretches.iter().find_map(|stretch| stretch.slice(at, left(stretch)).filter(|bytes| !bytes.is_empty()))
    }

    fn take(&mut self, object: &Object, at: u64, length: usize) -> io::Result<Bytes> {
        if let Some(found) = self.stretches.iter().find_map(|stretch| stretch.slice(at, length)) {
            return Ok(found);
        }
        let end = at + length as u64;
        let stretch = self.stretches.iter_mut().find(|stretch| stretch.range.contains(&at));
        // Of what nobody announced a little more is fetched, too: the next few bytes are asked for next.
        let (wanted, least) = match &stretch {
            Some(stretch) => (stretch.range.end, STRETCH_BYTES),
            None => (object.bytes, LEAST_BYTES),
        };
        let until = end.max((at + least).min(wanted)).min(object.bytes);
        let (bytes, _) = object.store.range(&object.file, at..until, object.version.as_deref())?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let found = bytes.slice(..length);
        if let Some(stretch) = stretch {
            (stretch.at, stretch.bytes) = (at, bytes);
        } else {
            // The one that was fetched last, of those that nobody announced.
            self.stretches.retain(|stretch| !stretch.range.is_empty());
            self.stretches.push(Stretch { range: at..at, at, bytes });
        }
        Ok(found)
    }
}

/// Reads an object from a place on.
#[derive(Debug)]
pub(in crate::recording) struct StoredRead {
    file: StoredFile,
    at: u64,
}

impl Read for StoredRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.object.bytes.saturating_sub(self.at);
        let length = (buffer.len() as u64).min(left).min(LEAST_BYTES) as usize;
        if length == 0 {
            return Ok(0);
        }
        // As much as is at hand already, however little: the rest comes with the next request.
        let at_hand = self.file.lock().at_hand(self.at, length);
        let bytes = match at_hand {
            Some(bytes) => bytes,
            None => self.file.exactly(self.at, length).map_err(|error| self.file.failed(error))?,
        };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

/// Whether a store has said that an object ends ahead of the bytes it was asked for.
fn is_beyond_its_end(error: &io::Error) -> bool {
    matches!(StoreError::of(error), Some(StoreError::Failed { answer }) if answer.starts_with("416"))
}

/// Joins ranges, which need not be sorted, where little lies between them.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| range.start);
    let mut together: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match together.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(BETWEEN_BYTES) => last.end = last.end.max(range.end),
            _ => together.push(range),
        }
    }
    together
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use object_store::memory::InMemory;
    use parquet::file::reader::ChunkReader as _;
    use proptest::prelude::*;

    use super::*;
    use crate::recording::segment::SegmentFile;

    #[test]
    fn stretches_that_lie_near_each_other_are_fetched_together() {
        let far = 10 + BETWEEN_BYTES;
        let of = |ranges: &[(u64, u64)]| {
            let ranges: Vec<Range<u64>> = ranges.iter().map(|(start, end)| *start..*end).collect();
            joined(&ranges).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[(5, 10), (0, 3), (7, 8), (4, 4)]), [(0, 10)]);
        assert_eq!(of(&[(0, 10), (far, far + 1)]), [(0, far + 1)]);
        assert_eq!(of(&[(0, 10), (far + 1, far + 2)]), [(0, 10), (far + 1, far + 2)]);
        assert_eq!(of(&[]), []);
    }

    /// Longer than what is fetched at once.
    const LENGTH: u64 = WHOLE_BYTES + (3 << 20) + 17;

    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| (0..LENGTH).map(|at| (at * 7 + at / 251) as u8).collect());

    static STORE: LazyLock<Arc<Store>> = LazyLock::new(|| {
        let store = Store::of_memory(Arc::new(InMemory::new()));
        store.write("object", CONTENT.clone()).unwrap();
        store
    });

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        let one = (0..LENGTH, prop_oneof![0..100_000u64, 0..LENGTH]);
        prop::collection::vec(one.prop_map(|(start, length)| start..(start + length).min(LENGTH)), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn any_bytes_of_an_object_are_those_that_stand_there_whatever_was_announced(
            wanted in ranges(),
            reads in prop::collection::vec((0..LENGTH, 0..200_000u64, any::<bool>()), 1..12),
        ) {
            let opened = StoredFile::open(&STORE, "object", Some(LENGTH)).unwrap();
            let file = SegmentFile::Stored(opened.wanting(&wanted).unwrap());
            for (start, length, through_reader) in reads {
                let length = length.min(LENGTH - start) as usize;
                let expected = &CONTENT[start as usize..start as usize + length];
                let found = if through_reader {
                    let mut found = vec![0; length];
                    file.get_read(start).unwrap().read_exact(&mut found).unwrap();
                    found
                } else {
                    file.get_bytes(start, length).unwrap().to_vec()
                };
                prop_assert!(found == expected, "{length} bytes from {start}");
            }
        }
    }

    #[test]
    fn an_object_ends_where_it_ends_and_is_hashed_as_a_whole() {
        let file = StoredFile::open(&STORE, "object", None).unwrap();
        assert_eq!(file.bytes(), LENGTH);
        assert_eq!(file.exactly(LENGTH - 3, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.reader(LENGTH).read(&mut [0; 8]).unwrap(), 0);
        let mut seen = Vec::new();
        file.each(|bytes| seen.extend_from_slice(bytes)).unwrap();
        assert!(seen == *CONTENT);
    }

    #[test]
    fn an_object_that_is_put_in_the_place_of_one_that_is_read_is_not_mixed_with_it() {
        let store = Store::of_memory(Arc::new(InMemory::new()));
        store.write("object", vec![1; 2 << 20]).unwrap();
        let file = StoredFile::open(&store, "object", Some(2 << 20)).unwrap();
        assert_eq!(file.exactly(0, 2).unwrap()[..], [1, 1]);
        store.write("object", vec![2; 2 << 20]).unwrap();
        let error = file.exactly(1 << 20, 2).unwrap_err();
        assert!(error.to_string().contains("another one than before"), "{error}");
    }
}
