//! Masks: how many events a second pass, on one core.
//!
//! Timed: every part of every event through a masker, without reading or writing a recording. `nothing` has no policy and looks
//! for nothing: only headers are held against the names of those that carry credentials. `looking` adds the look for what seems
//! personal, which every capture takes; `policy` adds a typical policy: two fields and the key by token, one field redacted, one
//! date shifted, one number in buckets; `policy alone` is that without the look. `filter` asks `serde_json_path`.
//!
//! Events are the flights of `recordings/flights`, some 300 bytes of key, value and headers each. `look` is the look alone at values of
//! other kinds, which hold nothing that looks personal, but for `personal`, each of which holds two such things.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::mask::{Detection, Masker, Policy};
use rehearsal::recording::{Columns, Event, EventBatch, EventBatchBuilder, Recording};
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
        black_box(masker.mask_event(event).unwrap());
    }
}

/// The same numbers in every run.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

/// Values by kind.
fn values() -> [(&'static str, Vec<Vec<u8>>); 6] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    const WORDS: &str = "the flight was delayed by weather and 212 passengers waited. In January 2013 UA said it would pay 12.50 EUR \
        (see below) at noon, for everyone who asked; others - none";
    let words: Vec<&str> = WORDS.split(' ').collect();
    let drawn = |length: usize, byte: &dyn Fn(u64) -> u8| -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = numbers().map(byte).take(2_000 * length).collect();
        bytes.chunks(length).map(<[u8]>::to_vec).collect()
    };
    let written =
        |value: &dyn Fn(u64) -> String| numbers().map(|number| value(number).into_bytes()).take(2_000).collect();
    let payment = |n: u64| {
        let (cents, minute, epoch) = (n % 90_000, n % 60, 1_700_000_000_000 + n % 10_000_000_000);
        format!(
            "{{\"payment_id\":\"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}\",\"amount\":{}.{:02},\"currency\":\"EUR\",\"merchant\":\"M{:06}\",\
             \"created_at\":\"2024-05-07T10:{minute:02}:07.125Z\",\"epoch\":{epoch},\"lines\":[{{\"sku\":\"AB-{}\",\"qty\":2}}]}}",
            n & 0xffff_ffff,
            n & 0xffff,
            n & 0xfff,
            n >> 3 & 0xfff,
            n & 0xffff_ffff_ffff,
            cents / 100,
            cents % 100,
            n % 1_000_000,
            n % 9_999
        )
    };
    let text = |n: u64| {
        let words = numbers().skip(n as usize % 100).map(|n| words[n as usize % words.len()]).take(200);
        words.collect::<Vec<_>>().join(" ")
    };
    let personal = |n: u64| {
        format!(
            "{{\"id\":{},\"email\":\"jo{}@example.org\",\"phone\":\"+49 151 {:08}\",\"note\":\"will call back tomorrow\"}}",
            n % 99_999,
            n % 999,
            n % 100_000_000
        )
    };
    [
        ("payments", written(&payment)),
        ("text", written(&text)),
        ("letters 1 KB", drawn(1_000, &|n| LETTERS[(n >> 32) as usize % 64])),
        ("bytes 200 B", drawn(200, &|n| (n >> 32) as u8)),
        ("bytes 1 KB", drawn(1_000, &|n| (n >> 32) as u8)),
        ("personal", written(&personal)),
    ]
}

fn batch(values: Vec<Vec<u8>>) -> EventBatch {
    let mut batch = EventBatchBuilder::new();
    for (offset, value) in values.into_iter().enumerate() {
        batch.push_event(&Event {
            topic: "t".to_owned(),
            offset: offset as i64,
            value: Some(value),
            ..Event::default()
        });
    }
    batch.finish()
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
    let mut group = criterion.benchmark_group("look");
    for (name, values) in values() {
        group.throughput(Throughput::Elements(values.len() as u64)).sample_size(10);
        let batches = [batch(values)];
        group.bench_function(name, |bencher| {
            bencher.iter(|| pass(&batches, &mut Masker::new(None, Detection::Warn)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
