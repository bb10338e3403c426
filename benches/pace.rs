//! Pacing: how late deliveries are at 10,000 a second, sleeping and spinning; and how far the time that a build with a recorded clock reads
//! is from that of its events.
//!
//! Not a timed benchmark: it drives `cat` with `REHEARSAL_BENCH_EVENTS` events (100,000 by default, which take ten seconds; 6,000,000 take
//! ten minutes) at five times their speed, and prints what the drive itself measured: the time from when a delivery was due to when the
//! write began that handed its line over, and by how much the whole replay took longer than planned.
//!
//! Of the recorded clock a tenth of the events, ten seconds at one and at 60 times their speed: this program, started again, reads the time
//! of day at each line, and what it reads less the event's timestamp is the error: what the line took on its way is part of it.

#![expect(clippy::print_stdout, reason = "what was measured is shown where it was asked for")]

use std::error::Error;
use std::io::BufRead as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rehearsal::clock::{Clock as _, Stop, SystemClock};
use rehearsal::drive::{BuildSettings, DriveSettings, Job, drive, launch_if_asked};
use rehearsal::plan::{PlanSettings, Seed};
use rehearsal::recording::{EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType};
use rehearsal::spill::SpillSpace;

const PARTITIONS: i64 = 6;
const EVENTS_PER_SECOND: i64 = 2_000;

/// Argument by which the program knows that it is the build that reads the time.
const READER: &str = "--reads-the-time";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(code) = launch_if_asked() {
        return Ok(code);
    }
    if std::env::args().nth(1).as_deref() == Some(READER) {
        read_the_time()?;
        return Ok(ExitCode::SUCCESS);
    }
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
    for speed in [1_u32, 60] {
        clock(folder.path(), &recording, speed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers each line with how far the time of day is from the event's, in microseconds.
fn read_the_time() -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::start();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let now_us = clock.date_us();
        let stamp = line.split_once("\"timestamp_ms\":").and_then(|(_, rest)| rest.split(',').next());
        let stamp_us = stamp.ok_or("an event without a timestamp")?.parse::<i64>()? * 1_000;
        println!("{{\"key\":null,\"value\":{}}}", now_us - stamp_us);
    }
    Ok(())
}

/// Drives a build with a recorded clock for ten seconds and prints how far it was from its events, in microseconds of the machine's time.
fn clock(folder: &Path, recording: &Recording, speed: u32) -> Result<(), Box<dyn Error>> {
    let name = format!("clock, {speed} times");
    let program = std::env::current_exe()?.display().to_string();
    let build = BuildSettings { command: vec![program, READER.to_owned()], ..BuildSettings::default() };
    let build = build.check("new", folder)?;
    let first_ms = recording.manifest().span.ok_or("no event has a time")?.first_ms;
    let to = rehearsal::settings::Moment::of_ms(first_ms + 10_000 * i64::from(speed));
    let mut plan = PlanSettings {
        pace: toml::from_str(&format!("mode = 'accelerated'\nspeed = {speed}"))?,
        select: toml::from_str(&format!("to = '{to}'"))?,
        ..PlanSettings::default()
    };
    // As many events in each second, whatever the speed.
    plan.faults =
        toml::from_str::<Faults>(&format!("[[fault]]\nkind = 'drop'\nprobability = {}", 1.0 - 0.5 / f64::from(speed)))?
            .fault;
    let plan = rehearsal::plan::plan(recording, &plan, Seed(1), Arc::new(SpillSpace::system()))?;
    let rules = toml::from_str::<DriveSettings>("clock = 'recorded'")?.check()?;
    let job = Job {
        name: &name,
        plan: &plan,
        recording,
        deliveries: None,
        build: &build,
        rules: &rules,
        out: folder.join(&name),
    };
    let outcome = drive(&job, &SystemClock::start(), &Stop::new(), &|_| {})?;
    let mut errors_us = Vec::new();
    for batch in outcome.outputs()? {
        let batch = batch?;
        for row in 0..batch.len() {
            let value = std::str::from_utf8(batch.get(row).value.unwrap_or_default())?;
            errors_us.push(value.parse::<f64>()?);
        }
    }
    errors_us.sort_by(f64::total_cmp);
    let at = |share: f64| errors_us[((errors_us.len() - 1) as f64 * share) as usize] / 1e3;
    println!(
        "{name}: {} events, the build reads p1 {} ms, p50 {} ms, p99 {} ms, max {} ms of event time behind its event",
        errors_us.len(),
        at(0.01),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// Faults as a scenario writes them.
#[derive(serde::Deserialize)]
struct Faults {
    fault: Vec<rehearsal::plan::FaultSettings>,
}
