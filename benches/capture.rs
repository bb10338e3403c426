//! Capture from an in-process broker beside a bare consumer of the same events, in the same run.
//!
//! Inside the timed region: connecting, fetching over the loopback, and for the capture also encoding, compressing, hashing and
//! syncing the recording. The broker shares the machine's cores with both.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rehearsal::capture::{CaptureSettings, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::recording::{Columns, EventBatchBuilder, Recording, RecordingWriter, Source};
use rehearsal::samples::{Broker, fill};

/// Few enough bytes a partition for the broker to keep them all.
const PARTITIONS: i32 = 16;
const EVENTS: u64 = 400_000;

/// The flights, each cut to 200 bytes of key and value: the entropy is theirs.
fn events_of_200_bytes(out: &Path) -> Recording {
    let flights = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let mut writer = RecordingWriter::create(out, Source::default()).unwrap();
    let mut offsets = BTreeMap::new();
    let mut builder = EventBatchBuilder::new();
    let mut written = 0;
    while written < EVENTS {
        for batch in flights.batches(Columns { key: true, value: true, headers: true }) {
            for event in batch.unwrap().iter().take((EVENTS - written) as usize) {
                let partition = (written % PARTITIONS as u64) as i32;
                let offset = offsets.entry(partition).or_insert(0);
                let (key, value) = (event.key.unwrap(), event.value.unwrap());
                // The end of a flight's value is what tells it from others.
                let value = &value[value.len() - (200 - key.len())..];
                let (time, kind) = (event.timestamp_ms, event.timestamp_type);
                builder.push(
                    "flights",
                    partition,
                    *offset,
                    time,
                    kind,
                    None,
                    Some(key),
                    Some(value),
                    event.headers.iter(),
                );
                *offset += 1;
                written += 1;
            }
            writer.write(&builder.finish()).unwrap();
            if written == EVENTS {
                break;
            }
        }
    }
    writer.seal().unwrap();
    Recording::open(out).unwrap()
}

fn consume(brokers: &str) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset("flights", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut events = 0;
    while events < EVENTS {
        if let Some(event) = consumer.poll(Duration::from_secs(10)) {
            black_box(event.unwrap().payload());
            events += 1;
        }
    }
    events
}

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let source = events_of_200_bytes(&folder.path().join("source"));
    let broker = Broker::start([("flights", PARTITIONS)]).unwrap();
    fill(broker.brokers(), &source, &mut |_| {}).unwrap();
    let mut settings = CaptureSettings::new(broker.brokers(), ["flights"]);
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();

    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("bare consumer", |bencher| bencher.iter(|| consume(broker.brokers())));
    group.bench_function("to parquet", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().unwrap(),
            |folder| {
                let out = folder.path().join("out");
                let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
                assert_eq!(report.events, EVENTS, "the broker kept all events");
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
