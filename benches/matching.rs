//! Matching two outcomes on disk: outputs of old a second, new having as many.
//!
//! Timed: reading both outcomes, matching, naming differences. Not timed: writing the outcomes. `REHEARSAL_BENCH_EVENTS` says how
//! many outputs each has (1 million by default).

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rehearsal::compare::{CompareSettings, Comparison, Order, Rules, compare};
use rehearsal::outcome::{Ending, EndingReport, Outcome, OutcomeWriter, Output};
use rehearsal::spill::SpillSpace;

/// Writes an outcome of the outputs `numbers`; one in `changed` (if not zero) says another amount.
fn outcome(folder: &Path, name: &str, numbers: impl Iterator<Item = u64>, changed: u64) -> Outcome {
    let mut writer = OutcomeWriter::create(folder.join(name), &[], &[]).expect("the outcome can be made");
    for (sequence, number) in numbers.enumerate() {
        let flight = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let amount = 100 + flight % 400 + u64::from(changed > 0 && number % changed == 0);
        let value = format!(
            r#"{{"payment_id":"p-{number:08}","flight":"UA{:04}","passenger":"{flight:016x}","amount":{amount}.50,"currency":"EUR","reason":"delay of three hours or more","paid_at":{}}}"#,
            flight % 9_999,
            1_357_000_000_000 + number
        );
        let output = Output {
            sequence: sequence as i64,
            arrived_us: sequence as i64,
            topic: "payouts".to_owned(),
            key: Some(format!("p-{number:08}").into_bytes()),
            value: Some(value.into_bytes()),
            ..Output::default()
        };
        writer.output(&output).expect("the output can be written");
    }
    writer.finish(&EndingReport::new(Ending::Finished, "done")).expect("the outcome can be ended")
}

fn compared(old: &Outcome, new: &Outcome, rules: &Rules) -> Comparison {
    let one = std::slice::from_ref;
    compare(one(old), one(new), rules, None, &SpillSpace::system()).expect("the outcomes compare")
}

fn matching(criterion: &mut Criterion) {
    let outputs: u64 =
        std::env::var("REHEARSAL_BENCH_EVENTS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let old = outcome(folder.path(), "old", 0..outputs, 0);
    let equal = outcome(folder.path(), "equal", 0..outputs, 0);
    let prime = 1_000_003;
    // Odd multiples of a prime modulo the count visit every output once, in another order.
    let shuffled = outcome(folder.path(), "shuffled", (0..outputs).map(|at| at * prime % outputs), 0);
    let changed = outcome(folder.path(), "changed", 0..outputs, 100);
    let all_changed = outcome(folder.path(), "all-changed", 0..outputs, 1);
    let rules = |identity: &[&str], order| {
        let identity = identity.iter().map(|path| (*path).to_owned()).collect();
        CompareSettings { identity, order, ..CompareSettings::default() }.check().expect("the rules are right")
    };
    let by_key = rules(&[], Order::Key);
    let by_path = rules(&["$.payment_id"], Order::None);
    let mut group = criterion.benchmark_group("matching");
    group.sample_size(10).throughput(Throughput::Elements(outputs));
    for (name, new, rules) in [
        ("equal, by topic and key", &equal, &by_key),
        ("equal, by path", &equal, &by_path),
        ("shuffled, by topic and key", &shuffled, &by_key),
        ("shuffled, by path", &shuffled, &by_path),
        ("1 % changed, by topic and key", &changed, &by_key),
        ("1 % changed, by path", &changed, &by_path),
        ("all changed at one path, by topic and key", &all_changed, &by_key),
        ("all changed at one path, by path", &all_changed, &by_path),
    ] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| compared(&old, new, rules)));
    }
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
