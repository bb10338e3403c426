//! Recordings: how many events a second are written and read, on one core.
//!
//! Timed for `write`: creating the recording, writing ready batches, sealing (hashes and fsync too). For `read`: opening the
//! recording and looking at every part of every event. Events are the flights of `recordings/flights` where that is there, else
//! made to look like them; `200-bytes` leaves out members of their values: some 180 bytes of key, value and headers beside 30 of
//! the other columns.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::recording::{
    Columns, Event, EventBatch, EventBatchBuilder, Header, Place, Recording, RecordingWriter, Source, TimestampType,
};

const EVENTS: usize = 1 << 20;

fn flights() -> Vec<Event> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights");
    match Recording::open(folder) {
        Ok(recording) => recording
            .batches(Columns::ALL)
            .flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>())
            .collect(),
        Err(_) => (0..50_000).map(made_up).collect(),
    }
}

/// A flight that never was, from the number of its event alone.
fn made_up(number: u64) -> Event {
    const CARRIERS: [&str; 12] = ["UA", "AA", "B6", "DL", "EV", "MQ", "US", "9E", "WN", "FL", "VX", "AS"];
    const AIRPORTS: [&str; 14] =
        ["IAH", "MIA", "BQN", "ATL", "ORD", "FLL", "IAD", "MCO", "PBI", "TPA", "LAX", "SFO", "DFW", "BOS"];
    let draw = |salt: u64, below: u64| {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % below
    };
    let (carrier, flight) = (CARRIERS[draw(1, 12) as usize], draw(2, 6000));
    let (origin, dest) = (["EWR", "JFK", "LGA"][draw(3, 3) as usize], AIRPORTS[draw(4, 14) as usize]);
    let minute = number * 43_200 / 50_000;
    let time = |minute: u64| format!("2013-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60);
    let flight_id = format!("2013-01-{:02}/{carrier}{flight}/{origin}-{dest}", 1 + minute / 1440);
    let tail = format!("N{}{}", 100 + draw(5, 900), ["NB", "UA", "AA", "JB", "DN"][draw(6, 5) as usize]);
    let (distance, delay) = (180 + draw(7, 2400), draw(8, 90) as i64 - 15);
    let (scheduled, at) = (time(minute.saturating_sub(draw(9, 60))), time(minute));
    let mut value = String::new();
    let _ = write!(
        value,
        r#"{{"flight_id":"{flight_id}","carrier":"{carrier}","flight":{flight},"tail":"{tail}","origin":"{origin}","dest":"{dest}","scheduled_departure":"{scheduled}","distance_miles":{distance},"type":"departed","at":"{at}","departure_delay_minutes":{delay}}}"#
    );
    Event {
        topic: "flights".to_owned(),
        partition: draw(10, 6) as i32,
        offset: 0,
        timestamp_ms: Some(1_357_000_000_000 + minute as i64 * 60_000),
        timestamp_type: TimestampType::Create,
        captured_at_us: None,
        key: Some(flight_id.into_bytes()),
        value: Some(value.into_bytes()),
        headers: vec![Header { name: "source".to_owned(), value: Some(b"bts".to_vec()) }],
    }
}

/// Leaves out members of the value, so that the whole event takes about 200 bytes.
fn shortened(mut event: Event) -> Event {
    let value: serde_json::Value = serde_json::from_slice(event.value.as_deref().unwrap_or(b"null")).unwrap();
    let mut text = String::from("{");
    for (name, member) in value.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "flight_id" | "scheduled_departure" | "distance_miles") {
            let _ = write!(text, "{}\"{name}\":{member}", if text.len() > 1 { "," } else { "" });
        }
    }
    event.value = Some((text + "}").into_bytes());
    event
}

/// Repeats the events until there are enough, with offsets that go on rising.
fn batches(events: &[Event]) -> Vec<EventBatch> {
    let mut next = std::collections::BTreeMap::<i32, i64>::new();
    let mut builder = EventBatchBuilder::new();
    let mut batches = Vec::new();
    for event in events.iter().cycle().take(EVENTS) {
        let offset = next.entry(event.partition).or_default();
        builder.push_event(&Event { offset: *offset, ..event.clone() });
        *offset += 1;
        if builder.is_full() {
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    batches
}

fn write(folder: &Path, batches: &[EventBatch]) {
    let mut writer = RecordingWriter::create(folder, Source::default()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.seal().unwrap();
}

fn bench(criterion: &mut Criterion) {
    let flights = flights();
    let short: Vec<Event> = flights.iter().cloned().map(shortened).collect();
    for (name, events) in [("200-bytes", &short), ("flights", &flights)] {
        let batches = batches(events);
        let folder = tempfile::tempdir().unwrap();
        let stored = folder.path().join("stored");
        write(&stored, &batches);
        let mut group = criterion.benchmark_group(format!("recording/{name}"));
        group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10);
        let mut number = 0;
        group.bench_function("write", |bencher| {
            bencher.iter_batched(
                || {
                    // What the run before wrote is removed outside of the timed region.
                    let _ = std::fs::remove_dir_all(folder.path().join(format!("written-{number}")));
                    number += 1;
                    folder.path().join(format!("written-{number}"))
                },
                |folder| write(&folder, &batches),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("read", |bencher| {
            bencher.iter(|| {
                let recording = Recording::open(&stored).unwrap();
                for batch in recording.batches(Columns::ALL) {
                    for event in batch.unwrap().iter() {
                        black_box(event);
                    }
                }
            });
        });
        if name == "200-bytes" {
            lookups(&mut group, &Recording::open(&stored).unwrap());
        }
        group.finish();
    }
}

fn lookups(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>, recording: &Recording) {
    let place = |row: usize| Place { segment: 0, row: row as u32 };
    let in_order: Vec<Place> = (0..EVENTS).map(place).collect();
    // As a plan with delays reads: neighbours change places, and every fiftieth event comes again, 100,000 events late.
    let nearly: Vec<Place> = (0..EVENTS)
        .map(|row| if row % 50 == 0 { place(row.saturating_sub(100_000)) } else { place((row ^ 1).min(EVENTS - 1)) })
        .collect();
    for (name, places) in [("lookup-in-order", &in_order), ("lookup-nearly-in-order", &nearly)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut lookup = recording.lookup(Columns::ALL);
                for places in places.chunks(512) {
                    black_box(lookup.fetch(places).unwrap());
                }
            });
        });
    }
    let sparse: Vec<Place> = (0..EVENTS).step_by(10_007).rev().map(place).collect();
    group.throughput(Throughput::Elements(sparse.len() as u64));
    group.bench_function("lookup-sparse", |bencher| {
        bencher.iter(|| black_box(recording.lookup(Columns::ALL).fetch(&sparse).unwrap()));
    });
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("coordinates", |bencher| {
        bencher.iter(|| {
            let recording = Recording::open(recording.path()).unwrap();
            let mut cursors: Vec<_> =
                recording.partitions().iter().map(|partition| recording.coordinates(partition, true)).collect();
            // Side by side, as plans read them.
            let mut left = true;
            while left {
                left = false;
                for cursor in &mut cursors {
                    for coordinate in cursor.by_ref().take(100) {
                        black_box(coordinate.unwrap());
                        left = true;
                    }
                }
            }
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
