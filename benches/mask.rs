//! Masks: how many events a second pass, on one core.
//!
//! Timed: every part of every event through a masker, without reading or writing a recording. `nothing` has no policy and looks
//! for nothing: only headers are held against the names of those that carry credentials. `looking` adds the look for what seems
//! personal, which every capture takes; `policy` adds a typical policy: two fields and the key by token, one field redacted, one
//! date shifted, one number in buckets; `policy alone` is that without the look. `filter` asks `serde_json_path`.
//!
//! Events are the flights of `recordings/flights`, some 300 bytes of key, value and headers each.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::mask::{Detection, Masker, Parts, Policy};
use rehearsal::recording::{Columns, EventBatch, Recording};
use rehearsal::scenario::read_policy;

const KEY: &str = "6d61736b2d6b65792d6f662d62656e6368657320206e6f7420612073656372657421";

const TYPICAL: &str = "
[[rule]]
topics = ['fl*']
value = ['$.flight_id', '$.tail']
key = true
method = 'token'
[[rule]]
value = ['$.dest']
method = 'redact'
[[rule]]
value = ['$.at']
method = 'shift'
by = '$.tail'
[[rule]]
value = ['$.distance_miles']
method = 'bucket'
size = 100
";

const FILTER: &str = "[[rule]]\nvalue = ['$[?@ == \"UA\"]']\nmethod = 'redact'\n";

fn policy(rules: &str) -> Arc<Policy> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), KEY).unwrap();
    std::fs::write(folder.path().join("mask.toml"), format!("key-file = 'key'\n{rules}")).unwrap();
    Arc::new(read_policy(&folder.path().join("mask.toml")).unwrap())
}

fn pass(batches: &[EventBatch], masker: &mut Masker) {
    for event in batches.iter().flat_map(EventBatch::iter) {
        let (topic, partition, offset) = (event.topic, event.partition, event.offset);
        let parts = Parts { topic, partition, offset, key: event.key, value: event.value };
        black_box(masker.mask(parts, event.headers.iter()).unwrap());
    }
}

fn bench(criterion: &mut Criterion) {
    let recording = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let batches: Vec<EventBatch> = recording.batches(Columns::ALL).map(Result::unwrap).collect();
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Elements(recording.len())).sample_size(10);
    for (name, rules, detection) in [
        ("nothing", None, Detection::Off),
        ("looking", None, Detection::Warn),
        ("policy", Some(TYPICAL), Detection::Warn),
        ("policy alone", Some(TYPICAL), Detection::Off),
        ("filter", Some(FILTER), Detection::Off),
    ] {
        let policy = rules.map(policy);
        group.bench_function(name, |bencher| {
            bencher.iter(|| pass(&batches, &mut Masker::new(policy.clone(), detection)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
