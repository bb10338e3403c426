//! What other programs read from a recording: DuckDB and pyarrow. Without Python 3 these tests are left out, and say so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, EventView, Header, Recording, RecordingWriter, Source, TimestampType,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What the script exits with where Python or its packages cannot be had.
const MISSING: i32 = 75;

fn tests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(name)
}

/// Interpreter with both packages. None where it cannot be had, which is said aloud, and fails where `REHEARSAL_PYTHON` is
/// `required`.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let made = Command::new(tests("python")).output().unwrap();
        let complaint = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        match made.status.code() {
            Some(0) => Ok(PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())),
            code => {
                assert_eq!(code, Some(MISSING), "Python cannot be prepared: {complaint}");
                let required = std::env::var("REHEARSAL_PYTHON").is_ok_and(|value| value == "required");
                assert!(!required, "Python cannot be had: {complaint}");
                Err(complaint)
            }
        }
    });
    python.as_deref().map_err(|complaint| left_out(complaint)).ok()
}

/// Past what captures the output of tests: what is left out must be seen.
fn left_out(complaint: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "LEFT OUT: {}: {complaint}", std::thread::current().name().unwrap_or("a test")).unwrap();
}

/// What `reader` found in a recording, one object a partition, in order.
fn found(python: &Path, reader: &str, recording: &Path) -> Vec<Value> {
    let output = Command::new(python).arg(tests("read.py")).arg(reader).arg(recording).output().unwrap();
    assert!(output.status.success(), "{reader}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `rehearsal inspect` counts, in the words of the script: what it does not count is left out.
fn counted(recording: &Path) -> Vec<Value> {
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let output = inspect.args(["inspect", "--json"]).arg(recording).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let topics = facts["summary"]["topics"].as_array().unwrap();
    let partitions = topics.iter().flat_map(|topic| {
        topic["partitions"].as_array().unwrap().iter().map(|one| {
            json!({
                "topic": topic["topic"], "partition": one["partition"], "events": one["events"],
                "first": one["first"], "last": one["last"],
                "first_ms": one["span"]["first_ms"], "last_ms": one["span"]["last_ms"],
            })
        })
    });
    partitions.collect()
}

/// What Rehearsal itself reads, byte for byte, one object a partition, in order.
fn read(recording: &Path) -> Vec<Value> {
    let mut partitions: BTreeMap<(String, i32), (u64, u64, u64, Sha256)> = BTreeMap::new();
    for batch in Recording::open(recording).unwrap().batches(Columns::ALL) {
        for event in batch.unwrap().iter() {
            let entry = partitions.entry((event.topic.to_owned(), event.partition)).or_default();
            entry.0 += event.key.unwrap_or_default().len() as u64;
            entry.1 += event.value.unwrap_or_default().len() as u64;
            entry.2 += event.headers.len() as u64;
            entry.3.update(line(&event));
        }
    }
    let facts = partitions.into_iter().map(|((topic, partition), (key_bytes, value_bytes, headers, content))| {
        json!({
            "topic": topic, "partition": partition, "key_bytes": key_bytes, "value_bytes": value_bytes,
            "headers": headers, "sha256": hex(Some(&content.finalize())),
        })
    });
    facts.collect()
}

/// An event as one line, the same as the script's.
fn line(event: &EventView<'_>) -> String {
    let number = |number: Option<i64>| number.map_or("null".to_owned(), |number| number.to_string());
    let kind = match event.timestamp_type {
        TimestampType::Create => "create",
        TimestampType::Append => "append",
        TimestampType::None => "none",
    };
    let headers: Vec<String> = event.headers.iter().map(|(name, value)| format!("{name}={}", hex(value))).collect();
    let (time, captured) = (number(event.timestamp_ms), number(event.captured_at_us));
    let (key, value) = (hex(event.key), hex(event.value));
    let (topic, partition, offset) = (event.topic, event.partition, event.offset);
    format!("{topic}|{partition}|{offset}|{time}|{kind}|{captured}|{key}|{value}|{}\n", headers.join(","))
}

fn hex(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |bytes| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    })
}

/// Checks that both programs find in the recording what Rehearsal reads and what it counts.
fn both_find_the_same(python: &Path, recording: &Path) {
    let mut expected = counted(recording);
    let contents = read(recording);
    assert_eq!(expected.len(), contents.len());
    for (facts, content) in expected.iter_mut().zip(contents) {
        assert_eq!((&facts["topic"], &facts["partition"]), (&content["topic"], &content["partition"]));
        facts.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    }
    for reader in ["duckdb", "pyarrow"] {
        assert_eq!(found(python, reader, recording), expected, "{reader}");
    }
}

/// Events of two topics with everything that is odd, so many of each partition.
fn odd(events: i64) -> Vec<Event> {
    let bytes = |kind: i64, text: String| match kind {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(vec![0, 0xff, b'|', b'\n']),
        _ => Some(text.into_bytes()),
    };
    // None, the epoch, ahead of it, beyond the year 9999.
    let times =
        [None, Some(0), Some(-1), Some(-62_167_219_200_001), Some(253_402_300_800_000), Some(1_357_035_420_123)];
    let mut all = Vec::new();
    for offset in 0..events {
        for (topic, partition) in [("orders", 0), ("orders", 7), ("größe", i32::MAX)] {
            let header = |name: &str, kind| Header { name: name.to_owned(), value: bytes(kind, format!("h{offset}")) };
            let headers = [header("trace", 0), header("trace", 1), header("", 2), header("é", 3)];
            all.push(Event {
                topic: topic.to_owned(),
                partition,
                offset: offset * 3,
                timestamp_ms: times[(offset % 6) as usize],
                timestamp_type: [TimestampType::Create, TimestampType::Append, TimestampType::None]
                    [(offset % 3) as usize],
                captured_at_us: (offset % 4 > 0).then_some(1_357_035_420_123_456 + offset),
                key: bytes(offset % 5, format!("key {offset}")),
                value: bytes(offset % 7, format!("value {offset} ").repeat(offset as usize % 50)),
                headers: headers.into_iter().take((offset % 5) as usize).collect(),
            });
        }
    }
    all
}

/// Writes a row group for each of so many parts of the events.
fn write(folder: &Path, events: &[Event], groups: usize) -> RecordingWriter {
    let mut writer = RecordingWriter::create(folder, Source::default()).unwrap();
    for part in events.chunks(events.len().div_ceil(groups)) {
        let mut builder = EventBatchBuilder::new();
        for event in part {
            builder.push_event(event);
        }
        writer.write(&builder.finish()).unwrap();
        writer.checkpoint().unwrap();
    }
    writer
}

#[test]
fn other_programs_read_what_is_counted() {
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    write(&out, &odd(2_000), 3).seal().unwrap();
    both_find_the_same(python, &out);
    both_find_the_same(python, &Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights"));
}

#[test]
fn other_programs_read_what_is_spread_over_row_groups_with_a_footer_each_and_over_segments() {
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    write(&out, &odd(1_000), 230).seal().unwrap();
    assert!(Recording::open(&out).unwrap().manifest().segments.len() > 2);
    both_find_the_same(python, &out);
}

#[test]
fn other_programs_read_a_recording_whose_writing_was_cut_off() {
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    // Neither sealed nor closed: the file ends with the footer behind the last row group.
    std::mem::forget(write(&out, &odd(300), 30));
    let before: Vec<Vec<Value>> = ["duckdb", "pyarrow"].iter().map(|reader| found(python, reader, &out)).collect();
    let left = folder.path().join("left");
    copy(&out, &left);
    Recording::rebuild(&left).unwrap();
    both_find_the_same(python, &left);
    for found_before in before {
        assert_eq!(found_before, found(python, "pyarrow", &left));
    }
}

/// Copies a recording as it stands, as another process finds it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("segments")).unwrap();
    for entry in std::fs::read_dir(from.join("segments")).unwrap() {
        let file = entry.unwrap();
        std::fs::copy(file.path(), to.join("segments").join(file.file_name())).unwrap();
    }
}
