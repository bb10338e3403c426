//! Writing and reading `faults.ndjson`: what faults at requests touched, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::OutcomeError;

/// Name of the file in an outcome's directory.
const FILE: &str = "faults.ndjson";

/// What a fault touched, once. Readers ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Touch {
    /// When, in microseconds since the schedule's start.
    pub at_us: i64,
    /// Name of the fault.
    pub fault: String,
    /// Its kind, as in the catalogue.
    pub kind: String,
    /// Number of its instance, in the order they began, from 1 on.
    pub instance: u64,
    /// `client.id` of who made the request; none where it was nobody's.
    #[serde(default)]
    pub client: Option<String>,
    /// Address and port that it came from.
    #[serde(default)]
    pub address: Option<String>,
    /// The request, by the name that Kafka's protocol has for it.
    #[serde(default)]
    pub api: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<i16>,
    /// Its number on its connection, as the client gave it.
    #[serde(default)]
    pub correlation: Option<i32>,
    /// Group that was touched.
    #[serde(default)]
    pub group: Option<String>,
    /// Partitions that it was about, if any.
    #[serde(default)]
    pub partitions: Vec<TouchedPartition>,
    /// Where a number of requests began the instance with this: which one it was, from 1 on, of those that the fault may touch (of this
    /// partition, where it touches partitions one by one).
    #[serde(default)]
    pub request: Option<u64>,
    /// By how much the build's wall clock was set wrong with this, in microseconds; back where it is negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_us: Option<i64>,
}

/// A partition that a request was about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TouchedPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

/// Writes `faults.ndjson`.
#[derive(Debug)]
pub struct TouchesWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl TouchesWriter {
    pub(super) fn create(dir: &Path) -> Result<Self, OutcomeError> {
        let path = dir.join(FILE);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| OutcomeError::io(&path, source))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    /// Takes what was touched.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn append(&mut self, touch: &Touch) -> Result<(), OutcomeError> {
        let written = serde_json::to_writer(&mut self.file, touch).map_err(std::io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(|source| OutcomeError::io(&self.path, source))
    }

    /// Makes everything taken so far readable from the file.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.file.flush().map_err(|source| OutcomeError::io(&self.path, source))
    }

    pub(super) fn finish(mut self) -> Result<(), OutcomeError> {
        self.checkpoint()
    }
}

/// What faults touched, line by line.
#[derive(Debug)]
pub struct Touches {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    number: usize,
}

impl Touches {
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, OutcomeError> {
        let path = dir.join(FILE);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { path, lines: BufReader::new(file).lines(), number: 0 })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OutcomeError::io(&path, source)),
        }
    }
}

impl Iterator for Touches {
    type Item = Result<Touch, OutcomeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.lines.next()? {
            Ok(line) => line,
            Err(source) => return Some(Err(OutcomeError::io(&self.path, source))),
        };
        self.number += 1;
        let wrong = |error| OutcomeError::format(&self.path, format_args!("line {}: {error}", self.number));
        Some(serde_json::from_str(&line).map_err(wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_comes_back_and_what_is_not_known_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let touch = Touch {
            at_us: 1_500,
            fault: "answers".to_owned(),
            kind: "lost-ack".to_owned(),
            instance: 3,
            client: Some("payments".to_owned()),
            address: Some("127.0.0.1:4711".to_owned()),
            api: Some("Produce".to_owned()),
            version: Some(7),
            correlation: Some(12),
            group: None,
            partitions: vec![TouchedPartition { topic: "refunds".to_owned(), partition: 0 }],
            request: Some(4),
            by_us: None,
        };
        let mut writer = TouchesWriter::create(folder.path()).unwrap();
        writer.append(&touch).unwrap();
        writer.finish().unwrap();
        let path = folder.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"at_us\":9,\"fault\":\"down\",\"kind\":\"broker-down\",\"instance\":1,\"weather\":\"fine\"}\n{\"at_us\":1}\n";
        std::fs::write(&path, text).unwrap();
        let mut touches = Touches::open(folder.path()).unwrap().unwrap();
        assert_eq!(touches.next().unwrap().unwrap(), touch);
        let other = touches.next().unwrap().unwrap();
        assert_eq!((other.at_us, other.client, other.partitions.len()), (9, None, 0));
        let error = touches.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("faults.ndjson") && error.contains("line 3"), "{error}");
        assert!(touches.next().is_none());
        // What is there already is written over by nobody; what is not there was kept by nobody.
        assert!(TouchesWriter::create(folder.path()).is_err());
        assert!(Touches::open(tempfile::tempdir().unwrap().path()).unwrap().is_none());
    }
}
