//! Pacing: how late deliveries are at 10,000 a second, sleeping and spinning.
//!
//! Not a timed benchmark: it drives `cat` with `REHEARSAL_BENCH_EVENTS` events (100,000 by default, which take ten seconds; 6,000,000 take
//! ten minutes) at five times their speed, and prints what the drive itself measured: the time from when a delivery was due to when the
//! write began that handed its line over, and by how much the whole replay took longer than planned.

#![expect(clippy::print_stdout, reason = "what was measured is shown where it was asked for")]

use std::error::Error;
use std::sync::Arc;

use rehearsal::clock::{Stop, SystemClock};
use rehearsal::drive::{BuildSettings, DriveSettings, Job, drive};
use rehearsal::plan::{PlanSettings, Seed};
use rehearsal::recording::{EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType};
use rehearsal::spill::SpillSpace;

const PARTITIONS: i64 = 6;
const EVENTS_PER_SECOND: i64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let events =
        std::env::var("REHEARSAL_BENCH_EVENTS").ok().map(|text| text.parse()).transpose()?.unwrap_or(100_000_i64);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("recording");
    let mut writer = RecordingWriter::create(&path, Source::default())?;
    let mut builder = EventBatchBuilder::new();
    for number in 0..events {
        let time_ms = 1_357_000_000_000 + number * 1_000 / EVENTS_PER_SECOND;
        let value = format!(r#"{{"payment":{number},"amount":{}}}"#, number * 7_919 % 10_007);
        let (partition, offset) = ((number % PARTITIONS) as i32, number / PARTITIONS);
        let kind = TimestampType::Create;
        let headers = std::iter::empty();
        builder.push("payments", partition, offset, Some(time_ms), kind, None, None, Some(value.as_bytes()), headers);
        if builder.is_full() {
            writer.write(&builder.finish())?;
        }
    }
    writer.write(&builder.finish())?;
    writer.seal()?;
    let recording = Recording::open(&path)?;
    let build = BuildSettings { command: vec!["cat".to_owned()], ..BuildSettings::default() };
    let build = build.check("new", folder.path())?;
    let pace = toml::from_str("mode = 'accelerated'\nspeed = 5")?;
    let plan = PlanSettings { pace, ..PlanSettings::default() };
    let plan = rehearsal::plan::plan(&recording, &plan, Seed(1), Arc::new(SpillSpace::system()))?;
    for (name, spin) in [("sleep", false), ("spin", true)] {
        let rules = toml::from_str::<DriveSettings>(&format!("payload = 'value'\nspin = {spin}"))?.check()?;
        let job = Job {
            name,
            plan: &plan,
            recording: &recording,
            deliveries: None,
            build: &build,
            rules: &rules,
            out: folder.path().join(name),
        };
        let outcome = drive(&job, &SystemClock::start_spinning(rules.spin), &Stop::new(), &|_| {})?;
        let late = outcome.ending().lateness.ok_or("the drive was not paced")?;
        println!(
            "{name}: p50 {} us, p99 {} us, p99.9 {} us, max {} us, slow-down {:+.5}",
            late.p50_us, late.p99_us, late.p999_us, late.max_us, late.slow_down
        );
    }
    Ok(())
}
