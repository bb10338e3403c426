//! Plans: how many deliveries a second come out of one, on one core.
//!
//! Timed: starting the stream and taking every delivery, three faults (jitter, duplicate, reorder) included; making the plan is
//! not. `synthetic`: coordinates worked out on the fly, eight partitions. `recording`: the same coordinates read from a
//! recording. `an-hour-late`: every event comes again an hour late, so that half of all deliveries wait, most of them on disk.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::plan::{CoordinateCursor, FaultSettings, Plan, PlanSettings, Seed, Source, Values, plan, plan_over};
use rehearsal::recording::{
    Coordinate, EventBatchBuilder, Partition, Place, Recording, RecordingError, RecordingWriter, TimestampType,
};
use rehearsal::spill::SpillSpace;

const PARTITIONS: i64 = 8;
const EVENTS: i64 = 1 << 21;

/// Time of the event at `offset` of `partition`: 10,000 a second in all, a little out of step.
fn timestamp_ms(partition: i64, offset: i64) -> i64 {
    1_357_000_000_000 + (offset * PARTITIONS + partition * 3) / 10
}

/// Eight partitions with nothing behind them.
#[derive(Debug)]
struct Synthetic;

impl Source for Synthetic {
    fn partitions(&self) -> Vec<Partition> {
        (0..PARTITIONS)
            .map(|partition| Partition { topic: "flights".to_owned(), partition: partition as i32 })
            .collect()
    }

    fn coordinates(&self, partition: &Partition, _: bool) -> CoordinateCursor {
        let partition = i64::from(partition.partition);
        CoordinateCursor::new((0..EVENTS / PARTITIONS).map(move |offset| {
            Ok(Coordinate {
                offset,
                timestamp_ms: Some(timestamp_ms(partition, offset)),
                captured_at_us: None,
                key_hash: None,
                place: Place { segment: partition as u32, row: offset as u32 },
            })
        }))
    }

    fn values(&self) -> Box<dyn Values + Send> {
        Box::new(Nothing)
    }
}

struct Nothing;

impl Values for Nothing {
    fn each(&mut self, places: &[Place], take: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), RecordingError> {
        (0..places.len()).for_each(|index| take(index, None));
        Ok(())
    }
}

fn recorded(folder: &std::path::Path) -> Recording {
    let mut writer = RecordingWriter::create(folder, rehearsal::recording::Source::default()).unwrap();
    let mut builder = EventBatchBuilder::new();
    for offset in 0..EVENTS / PARTITIONS {
        for partition in 0..PARTITIONS {
            builder.push_event(&rehearsal::recording::Event {
                topic: "flights".to_owned(),
                partition: partition as i32,
                offset,
                timestamp_ms: Some(timestamp_ms(partition, offset)),
                timestamp_type: TimestampType::Create,
                ..rehearsal::recording::Event::default()
            });
        }
        if builder.is_full() {
            writer.write(&builder.finish()).unwrap();
        }
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    Recording::open(folder).unwrap()
}

fn settings(faults: &[&str]) -> PlanSettings {
    let faults: Vec<FaultSettings> = faults.iter().map(|fault| toml::from_str(fault).unwrap()).collect();
    PlanSettings { faults, ..PlanSettings::default() }
}

const THREE: [&str; 3] = [
    "kind = 'jitter'\ndistribution = 'exponential'\nmean = '100ms'",
    "kind = 'duplicate'\nprobability = 0.02\nafter = '50ms..2s'",
    "kind = 'reorder'\nshare = 0.05\nextent = 64",
];

fn drain(plan: &Plan) -> u64 {
    let mut count = 0;
    for delivery in plan.deliveries() {
        count += 1;
        black_box(delivery.unwrap());
    }
    count
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    let spill = Arc::new(SpillSpace::system());
    let synthetic =
        |faults: &[&str]| plan_over(Arc::new(Synthetic), &settings(faults), Seed(7), Arc::clone(&spill)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(&folder.path().join("recording"));
    for (name, plan) in [
        ("synthetic/no-faults", synthetic(&[])),
        ("synthetic/three-faults", synthetic(&THREE)),
        ("recording/three-faults", plan(&recording, &settings(&THREE), Seed(7), Arc::clone(&spill)).unwrap()),
        ("synthetic/an-hour-late", synthetic(&["kind = 'duplicate'\nprobability = 1.0\nafter = '1h'"])),
    ] {
        group.throughput(Throughput::Elements(drain(&plan)));
        group.bench_function(name, |bencher| bencher.iter(|| drain(&plan)));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
