//! What a world of its own costs a drive: from the program's start to the first command of its build, and from start to end, with isolation
//! and without, in turn.
//!
//! Not a timed benchmark: it drives a build over three events so often as `REHEARSAL_BENCH_DRIVES` says (40), and prints medians and the
//! slowest tenth. The build says itself when it began.

#![expect(clippy::print_stdout, reason = "its figure is all that it has to say")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source};

/// What the build does first: it says when that was, in microseconds.
const BUILD: &str = "date +%s%6N >{dir}/began; exec cat";

/// Milliseconds to the build's first command, and of the whole drive.
type Took = (f64, f64);

fn main() -> Result<(), Box<dyn Error>> {
    let drives = std::env::var("REHEARSAL_BENCH_DRIVES").map_or(Ok(40), |text| text.parse::<usize>())?;
    let folder = tempfile::tempdir()?;
    let mut writer = RecordingWriter::create(folder.path().join("few"), Source::default())?;
    let mut batch = EventBatchBuilder::new();
    for offset in 0..3 {
        batch.push_event(&Event { topic: "few".into(), offset, value: Some(b"{}".to_vec()), ..Event::default() });
    }
    writer.write(&batch.finish())?;
    writer.seal()?;
    let (mut on, mut off) = (Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does meets both.
    for _ in 0..drives {
        off.push(drive(folder.path(), "off")?);
        on.push(drive(folder.path(), "on")?);
    }
    let (off, on) = (tell("without isolation", &off), tell("with isolation", &on));
    println!("costs {:.1} ms to the build, {:.1} ms in all", on.0 - off.0, on.1 - off.1);
    Ok(())
}

/// Prints what drives took; returns the medians.
fn tell(name: &str, took: &[Took]) -> Took {
    let (begun, whole) = took.iter().copied().unzip();
    let (begun, whole) = (quantiles(begun), quantiles(whole));
    println!(
        "{name}: to the build p50 {:.1} ms, p90 {:.1} ms; whole p50 {:.1} ms, p90 {:.1} ms",
        begun.0, begun.1, whole.0, whole.1
    );
    (begun.0, whole.0)
}

fn drive(folder: &Path, isolation: &str) -> Result<Took, Box<dyn Error>> {
    let clock = SystemClock::start();
    let begun_us = clock.date_us();
    let status = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["replay", "few", "--out", "out", "--set", "pace.mode=unpaced", "--set", "drive.settle=1ms"])
        .args([
            "--set",
            "drive.payload=value",
            "--set",
            &format!("drive.isolation={isolation}"),
            "--",
            "sh",
            "-c",
            BUILD,
        ])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let whole = clock.now();
    if !status.success() {
        return Err(format!("a drive ended with {status}").into());
    }
    let said: i64 = fs::read_to_string(folder.join("out/dir/began"))?.trim().parse()?;
    fs::remove_dir_all(folder.join("out"))?;
    Ok(((said - begun_us) as f64 / 1e3, whole.as_secs_f64() * 1e3))
}

/// The median and the ninth tenth.
fn quantiles(mut all: Vec<f64>) -> (f64, f64) {
    all.sort_by(f64::total_cmp);
    (all[all.len() / 2], all[all.len() * 9 / 10])
}
