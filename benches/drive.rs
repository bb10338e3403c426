//! Drives over stdio into `cat`: how many events a second go out and come back.
//!
//! Timed for `value` and `envelope`: starting `cat`, planning, reading the events from Parquet, writing them down as lines, handing
//! them over unpaced, reading what comes back, and writing and opening the outcome. Timed for `bare`: starting `cat`, one thread
//! that writes the same lines of the payload `value` from memory and one that reads them back line by line. Events are of about
//! 200 bytes with JSON of real entropy; all three run on the same machine, one after the other.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::drive::{BuildSettings, DriveSettings, Job, drive};
use rehearsal::outcome::Ending;
use rehearsal::plan::{PlanSettings, Seed, plan};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType};
use rehearsal::spill::SpillSpace;

const EVENTS: u64 = 1 << 20;

/// A flight that never was, from the number of its event alone.
fn made_up(number: u64) -> Event {
    const CARRIERS: [&str; 12] = ["UA", "AA", "B6", "DL", "EV", "MQ", "US", "9E", "WN", "FL", "VX", "AS"];
    const AIRPORTS: [&str; 8] = ["IAH", "MIA", "BQN", "ATL", "ORD", "FLL", "LAX", "SFO"];
    let draw = |salt: u64, below: u64| {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
    };
    let (carrier, flight) = (CARRIERS[draw(1, 12) as usize], draw(2, 6000));
    let (origin, dest) = (["EWR", "JFK", "LGA"][draw(3, 3) as usize], AIRPORTS[draw(4, 8) as usize]);
    let minute = number * 43_200 / EVENTS;
    let key = format!("2013-01-{:02}/{carrier}{flight}/{origin}-{dest}", 1 + minute / 1440);
    let (tail, miles, delay) = (100 + draw(5, 900), 180 + draw(7, 2400), draw(8, 90) as i64 - 15);
    let at = format!("2013-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60);
    let mut value = String::new();
    let _ = write!(
        value,
        r#"{{"carrier":"{carrier}","flight":{flight},"tail":"N{tail}","origin":"{origin}","dest":"{dest}","distance_miles":{miles},"type":"departed","at":"{at}","departure_delay_minutes":{delay}}}"#
    );
    Event {
        topic: "flights".to_owned(),
        partition: (number % 6) as i32,
        offset: (number / 6) as i64,
        timestamp_ms: Some(1_357_000_000_000 + minute as i64 * 60_000),
        timestamp_type: TimestampType::Create,
        key: Some(key.into_bytes()),
        value: Some(value.into_bytes()),
        ..Event::default()
    }
}

fn record(path: &Path) -> Vec<u8> {
    let mut writer = RecordingWriter::create(path, Source::default()).unwrap();
    let (mut builder, mut lines) = (EventBatchBuilder::new(), Vec::new());
    for number in 0..EVENTS {
        let event = made_up(number);
        builder.push_event(&event);
        lines.extend_from_slice(event.value.as_deref().unwrap());
        lines.push(b'\n');
        if builder.is_full() {
            writer.write(&builder.finish()).unwrap();
        }
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    lines
}

/// What anybody would write first: a thread that writes lines, a thread that reads lines.
fn bare(lines: &[u8]) -> u64 {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let read = thread::scope(|scope| {
        scope.spawn(move || {
            let mut stdin = BufWriter::new(stdin);
            lines.split_inclusive(|byte| *byte == b'\n').for_each(|line| stdin.write_all(line).unwrap());
        });
        let reader = scope.spawn(move || {
            let (mut stdout, mut line, mut read) = (BufReader::new(stdout), Vec::new(), 0);
            while stdout.read_until(b'\n', &mut line).unwrap() > 0 {
                line.clear();
                read += 1;
            }
            read
        });
        reader.join().unwrap()
    });
    child.wait().unwrap();
    read
}

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let lines = record(&path);
    let recording = Recording::open(&path).unwrap();
    let mut group = criterion.benchmark_group("drive");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    group.bench_function("bare", |bencher| bencher.iter(|| assert_eq!(bare(&lines), EVENTS)));
    let settings = BuildSettings { command: vec!["cat".to_owned()], ..BuildSettings::default() };
    let build = settings.check("new", folder.path()).unwrap();
    for payload in ["value", "envelope"] {
        let settings: PlanSettings =
            PlanSettings { pace: toml::from_str("mode = 'unpaced'").unwrap(), ..PlanSettings::default() };
        let rules = toml::from_str::<DriveSettings>(&format!("payload = '{payload}'")).unwrap().check().unwrap();
        let mut number = 0;
        group.bench_function(payload, |bencher| {
            bencher.iter(|| {
                number += 1;
                let out = folder.path().join(format!("{payload}-{number}"));
                let plan = plan(&recording, &settings, Seed(1), Arc::new(SpillSpace::system())).unwrap();
                let job = Job {
                    name: "new",
                    plan: &plan,
                    recording: &recording,
                    deliveries: None,
                    build: &build,
                    rules: &rules,
                    out: out.clone(),
                };
                let outcome = drive(&job, &SystemClock::start(), &Stop::new(), &|_| {}).unwrap();
                assert_eq!((outcome.ending().ending, outcome.output_count()), (Ending::Finished, EVENTS));
                std::fs::remove_dir_all(out).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(drives, benches);
criterion_main!(drives);
