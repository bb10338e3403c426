//! Peak memory of whole runs: over a long recording, with duplicates an hour late and outputs in another order; and of a build
//! that floods one identity.
//!
//! Not a timed benchmark: it writes a recording of 5 million events (or as many as `REHEARSAL_BENCH_EVENTS` says), runs the
//! program over it with `cat` as old and `tac` as new, then runs it over a small recording with a new build that writes one
//! output as often, and that as one of two in turn, and prints the largest resident sets that the kernel saw.

#![expect(clippy::print_stdout, reason = "its figure is all that it has to say")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rehearsal::recording::{EventBatchBuilder, RecordingWriter, Source, TimestampType};

const PARTITIONS: u64 = 6;
/// Events a second of event time: an hour holds 3.6 million of them.
const EVENTS_PER_SECOND: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let events = std::env::var("REHEARSAL_BENCH_EVENTS").map_or(Ok(5_000_000), |text| text.parse::<u64>())?;
    let folder = tempfile::tempdir()?;
    write_recording(&folder.path().join("recording"), events)?;
    let (peak, code) = peak_of(folder.path(), SCENARIO)?;
    println!("{events} events: peak {peak} MB, exit code {code:?}");
    write_recording(&folder.path().join("few"), 1_000)?;
    for (what, lines) in [("one output", "again"), ("two outputs in turn", "again\\nand again")] {
        let flood = FLOOD.replace("LINES", lines).replace("COUNT", &events.to_string());
        let (peak, code) = peak_of(folder.path(), &flood)?;
        println!("{events} times {what}: peak {peak} MB, exit code {code:?}");
    }
    Ok(())
}

/// Runs a scenario; the largest resident set in MB, and the exit code.
fn peak_of(folder: &Path, scenario: &str) -> Result<(u64, Option<i32>), Box<dyn Error>> {
    fs::write(folder.join("memory.toml"), scenario)?;
    let mut run = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["run", "memory.toml"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(kib) = peak_so_far_kib(run.id()) {
            peak_kib = peak_kib.max(kib);
        }
        if let Some(status) = run.try_wait()? {
            break status;
        }
        // The kernel keeps the peak; looking at it now and then misses only what the last moment added.
        thread::park_timeout(Duration::from_millis(20));
    };
    Ok((peak_kib * 1_024 / 1_000_000, status.code()))
}

const SCENARIO: &str = r#"
# How much memory does a run over a long recording need?
recording = "recording"

[pace]
mode = "unpaced"

[[fault]]
kind = "duplicate"
probability = 0.2
after = "1h"

[old]
command = ["cat"]

[new]
command = ["tac"]

[drive]
payload = "value"
drain-timeout = "10m"

[compare]
identity = ["$.id"]
order = "none"
"#;

const FLOOD: &str = r#"
# How much memory does a build take that writes the same over and over?
recording = "few"

[pace]
mode = "unpaced"

[old]
command = ["cat"]

[new]
command = ["sh", "-c", "cat; yes \"$(printf 'LINES')\" | head -n COUNT | sed 's/.*/{\"id\":\"\",\"text\":\"&\"}/'"]

[drive]
payload = "value"
drain-timeout = "10m"

[compare]
identity = ["$.id"]
"#;

fn write_recording(path: &Path, events: u64) -> Result<(), Box<dyn Error>> {
    let mut writer = RecordingWriter::create(path, Source::default())?;
    let mut builder = EventBatchBuilder::new();
    for number in 0..events {
        let timestamp_ms = 1_700_000_000_000 + (number * 1_000 / EVENTS_PER_SECOND) as i64;
        // A multiplicative hash stands for the entropy of real fields.
        let field = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let value = format!(
            r#"{{"id":"{number:012}","session":"{field:016x}","amount":{},"note":"{:016x}{:016x}","at_ms":{timestamp_ms}}}"#,
            field % 100_000,
            field.rotate_left(21),
            field.rotate_left(42),
        );
        let key = format!("customer-{}", field % 100_000);
        builder.push(
            "payments",
            (number % PARTITIONS) as i32,
            (number / PARTITIONS) as i64,
            Some(timestamp_ms),
            TimestampType::Create,
            None,
            Some(key.as_bytes()),
            Some(value.as_bytes()),
            std::iter::empty(),
        );
        if builder.len() == 8_192 {
            writer.write(&builder.finish())?;
        }
    }
    writer.write(&builder.finish())?;
    writer.seal()?;
    Ok(())
}

/// Largest resident set of the process so far, in KiB.
fn peak_so_far_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}
