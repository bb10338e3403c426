//! Outcomes, format 1: what is written comes back, whoever wrote it, and what is damaged is refused by name.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use rehearsal::outcome::{
    Cause, CauseBy, Channel, Committed, Ending, EndingReport, Lateness, Outcome, OutcomeWriter, Output, Receipt,
    value_hash,
};
use rehearsal::plan::{Delivery, Phase};
use rehearsal::recording::{Header, Place};

const TOPICS: [&str; 2] = ["flights", "bookings"];
const FAULTS: [&str; 3] = ["twice", "late", "reorder-1"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn writer(dir: &Path) -> OutcomeWriter {
    OutcomeWriter::create(dir, &names(&TOPICS), &names(&FAULTS)).unwrap()
}

fn finished() -> EndingReport {
    EndingReport::new(Ending::Finished, "")
}

fn all_outputs(outcome: &Outcome) -> Vec<Output> {
    outcome
        .outputs()
        .unwrap()
        .flat_map(|batch| {
            let batch = batch.unwrap();
            (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()
        })
        .collect()
}

fn all_receipts(outcome: &Outcome) -> Vec<Receipt> {
    outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect()
}

fn numbered(sequence: i64) -> Output {
    Output {
        sequence,
        topic: "payouts".into(),
        value: Some(format!("{{\"n\":{sequence}}}").into()),
        ..Output::default()
    }
}

fn message(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::WarmUp), Just(Phase::Main), Just(Phase::Drain)]
}

fn cause() -> impl Strategy<Value = Cause> {
    let by = prop_oneof![Just(CauseBy::Build), Just(CauseBy::Lineage), Just(CauseBy::Inferred)];
    ("[a-z]{0,5}", any::<i32>(), any::<i64>(), any::<i32>(), by)
        .prop_map(|(topic, partition, offset, attempt, by)| Cause { topic, partition, offset, attempt, by })
}

fn output() -> impl Strategy<Value = Output> {
    let channel =
        prop_oneof![Just(Channel::Output), Just(Channel::DeadLetter), Just(Channel::Http), Just(Channel::Sink)];
    let header = ("[a-z]{0,3}", bytes()).prop_map(|(name, value)| Header { name, value });
    let front = (1_i64..1000, any::<i64>(), phase(), channel, "\\PC{0,6}", any::<i32>());
    let timestamp = proptest::option::of(any::<i64>());
    let malformed = proptest::option::of("\\PC{0,9}".prop_map(String::from));
    (
        front,
        timestamp,
        bytes(),
        bytes(),
        proptest::collection::vec(header, 0..4),
        proptest::option::of(cause()),
        malformed,
    )
        .prop_map(|(front, timestamp_ms, key, value, headers, cause, malformed)| Output {
            sequence: front.0,
            arrived_us: front.1,
            phase: front.2,
            channel: front.3,
            topic: front.4,
            partition: front.5,
            timestamp_ms,
            key,
            value,
            headers,
            cause,
            malformed,
        })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let places = (any::<i64>(), 0_u32..2, any::<i32>(), any::<i64>(), any::<i64>(), any::<i32>());
    (places, phase(), 0_u64..8, proptest::option::of(any::<i64>())).prop_map(|(places, phase, faults, sent_us)| {
        Receipt {
            delivery: Delivery {
                due_us: places.0,
                topic: places.1,
                partition: places.2,
                offset: places.3,
                position: places.4,
                attempt: places.5,
                phase,
                faults,
                place: Place::default(),
            },
            sent_us,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_outcome_comes_back_as_it_was_written(
        mut outputs in proptest::collection::vec(output(), 0..60),
        receipts in proptest::collection::vec(receipt(), 0..60),
        checkpoints in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let mut sequence = -5;
        for output in &mut outputs {
            sequence += output.sequence;
            output.sequence = sequence;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("new"));
        for (output, checkpoint) in outputs.iter().zip(&checkpoints) {
            writer.output(output).unwrap();
            if *checkpoint {
                writer.outputs.checkpoint().unwrap();
            }
        }
        for (receipt, checkpoint) in receipts.iter().zip(&checkpoints) {
            writer.deliveries.append(&receipt.delivery, receipt.sent_us).unwrap();
            if *checkpoint {
                writer.deliveries.checkpoint().unwrap();
            }
        }
        let outcome = writer.finish(&finished()).unwrap();
        prop_assert_eq!(outcome.output_count(), outputs.len() as u64);
        prop_assert_eq!(all_outputs(&outcome), outputs.clone());
        prop_assert_eq!(all_receipts(&outcome), receipts);
        let some: Vec<_> = outputs.iter().step_by(3).cloned().collect();
        let sequences: Vec<_> = some.iter().map(|output| output.sequence).collect();
        prop_assert_eq!(outcome.outputs_at(&sequences).unwrap(), some);
    }
}

#[test]
fn names_gauges_and_the_ending_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    writer.gauges.append(-5, "lag", 12.0).unwrap();
    writer.gauges.append(1_000_000, "memory-bytes", 4096.0).unwrap();
    let report = EndingReport {
        exit_code: Some(3),
        signal: Some(9),
        deliveries: Some(26_398),
        sent: Some(1_204),
        redelivered: Some(7),
        outputs: Some(0),
        committed: vec![Committed { topic: "flights".into(), partition: 2, position: 40 }],
        length_us: Some(5),
        lateness: Some(Lateness { p99_us: 9, slow_down: 0.001, ..Lateness::default() }),
        stderr_dropped_bytes: 11,
        ..EndingReport::new(Ending::Died, "exit code 3 after 1,204 of 26,398 deliveries")
    };
    let outcome = writer.finish(&report).unwrap();
    assert_eq!(outcome.topics(), TOPICS);
    assert_eq!(outcome.faults(), FAULTS);
    assert_eq!(outcome.ending(), &report);
    let gauges = outcome.gauges().unwrap();
    assert_eq!((gauges[0].time_us, gauges[0].name.as_str(), gauges[1].value), (-5, "lag", 4096.0));
}

#[test]
fn a_few_outputs_scattered_over_many_row_groups_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    for sequence in 0..200_000 {
        writer.output(&numbered(sequence)).unwrap();
    }
    let outcome = writer.finish(&finished()).unwrap();
    let wanted = [0, 1, 65_535, 65_536, 70_000, 131_071, 199_999];
    let found: Vec<_> = outcome.outputs_at(&wanted).unwrap();
    assert_eq!(found, wanted.map(numbered));
    assert_eq!(outcome.outputs_at(&[]).unwrap(), []);
    assert_eq!(outcome.outputs_at(&[-1, 200_000]).unwrap(), []);
    for (from, group) in [(-1, 0), (65_535, 0), (65_536, 65_536), (199_999, 196_608), (200_000, 200_000)] {
        let first = outcome.outputs_from(from).unwrap().next().map(|batch| batch.unwrap().get(0).sequence);
        assert_eq!(first, Some(group).filter(|group| *group < 200_000), "{from}");
    }
}

/// Sequence, value and hash.
type Hashed = (i64, Option<Vec<u8>>, Option<u64>);

/// Each output as hashes are read; none where there are none to rely on.
fn hashed(outcome: &Outcome) -> Option<Vec<Hashed>> {
    let rows = outcome.hashed_outputs().unwrap()?.flat_map(|batch| {
        let batch = batch.unwrap();
        let row = |row| {
            let (view, hash) = batch.hashed(row);
            (view.sequence, view.value.map(<[u8]>::to_vec), hash)
        };
        (0..batch.len()).map(row).collect::<Vec<_>>()
    });
    Some(rows.collect())
}

#[test]
fn hashes_stand_for_values_where_nobody_wrote_the_file_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let values: [Option<&[u8]>; 3] = [Some(b"{}"), None, Some(b"")];
    for (sequence, value) in values.into_iter().enumerate() {
        let (sequence, value) = (sequence as i64, value.map(<[u8]>::to_vec));
        writer.output(&Output { sequence, topic: "t".into(), value, ..Output::default() }).unwrap();
    }
    let outcome = writer.finish(&finished()).unwrap();
    let expected = (0..).zip(values).map(|(sequence, value)| (sequence, None, value.map(value_hash)));
    assert_eq!(hashed(&outcome), Some(expected.collect()));
    // Another tool keeps the columns and changes a value: nothing ties the hashes to the values any more.
    let path = folder.path().join("outputs.parquet");
    let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = read.map(Result::unwrap).collect();
    let mut rewritten = ArrowWriter::try_new(File::create(&path).unwrap(), batches[0].schema(), None).unwrap();
    for batch in &batches {
        rewritten.write(batch).unwrap();
    }
    rewritten.close().unwrap();
    let outcome = Outcome::open(folder.path()).unwrap();
    assert_eq!(hashed(&outcome), None);
    assert_eq!(all_outputs(&outcome)[0].value.as_deref(), Some(&b"{}"[..]));
}

#[test]
fn an_outcome_whose_writer_was_killed_keeps_all_that_was_checkpointed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    for sequence in 0..10 {
        writer.output(&numbered(sequence)).unwrap();
        if sequence == 3 || sequence == 7 {
            writer.outputs.checkpoint().unwrap();
        }
    }
    // Nothing is dropped, so nothing is flushed: as after a kill.
    std::mem::forget(writer);
    let outcome = Outcome::open(folder.path()).unwrap();
    assert_eq!(all_outputs(&outcome), (0..8).map(numbered).collect::<Vec<_>>());
    assert_eq!(outcome.ending().ending, Ending::TimedOut);
    assert!(outcome.ending().reason.contains("cut off"), "{}", outcome.ending().reason);
    assert_eq!(all_receipts(&outcome), []);
}

#[test]
fn nothing_already_written_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path()).finish(&finished()).unwrap();
    let error = OutcomeWriter::create(folder.path(), &[], &[]).unwrap_err();
    assert!(message(&error).contains("outputs.parquet"), "{}", message(&error));
}

#[test]
fn an_output_that_does_not_follow_the_last_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    writer.output(&numbered(4)).unwrap();
    assert!(writer.output(&numbered(4)).unwrap_err().to_string().contains("sequence 4 cannot follow 4"));
}

fn foreign(dir: &Path, columns: Vec<(&str, ArrayRef)>) {
    write_parquet(&dir.join("outputs.parquet"), columns);
    fs::write(dir.join("ending.json"), r#"{"format": "1.0", "ending": "finished"}"#).unwrap();
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn sequence(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn an_outcome_of_another_tool_needs_four_columns_and_two_fields() {
    let folder = tempfile::tempdir().unwrap();
    let topic: DictionaryArray<Int32Type> = ["payouts", "alerts"].into_iter().collect();
    foreign(
        folder.path(),
        vec![
            ("sequence", Arc::new(Int32Array::from(vec![3, 9]))),
            ("unheard-of", text(&[Some("x"), None])),
            ("value", Arc::new(LargeBinaryArray::from_opt_vec(vec![Some(b"{}".as_slice()), None]))),
            ("topic", Arc::new(topic)),
            ("key", text(&[None, Some("")])),
        ],
    );
    let outcome = Outcome::open(folder.path()).unwrap();
    let expected = [
        Output { sequence: 3, topic: "payouts".into(), value: Some(b"{}".to_vec()), ..Output::default() },
        Output { sequence: 9, topic: "alerts".into(), key: Some(Vec::new()), ..Output::default() },
    ];
    assert_eq!(all_outputs(&outcome), expected);
    assert_eq!(outcome.outputs_at(&[4, 9]).unwrap(), expected[1..]);
    assert!(outcome.deliveries().unwrap().is_none());
    assert!(!outcome.is_timed());
    assert_eq!(outcome.ending().deliveries, None);
}

#[test]
fn outcomes_of_other_tools_are_read_in_the_usual_compressions() {
    for compression in [
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::UNCOMPRESSED,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let columns = vec![
            ("sequence", sequence(&[0, 1])),
            ("topic", text(&[Some("payouts"), Some("payouts")])),
            ("key", text(&[Some("a"), None])),
            ("value", text(&[Some("{}"), Some("[1]")])),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(dir.path().join("outputs.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::write(dir.path().join("ending.json"), r#"{"format": "1.0", "ending": "finished"}"#).unwrap();
        let outputs = all_outputs(&Outcome::open(dir.path()).unwrap());
        assert_eq!(outputs[1].value.as_deref(), Some(&b"[1]"[..]), "{compression:?}");
    }
}

#[test]
fn deliveries_of_another_tool_bring_their_names_in_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path()).finish(&finished()).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("due", sequence(&[0, 5])),
        ("topic", text(&[Some("b"), Some("a")])),
        ("partition", sequence(&[0, 1])),
        ("offset", sequence(&[7, 8])),
    ];
    write_parquet(&folder.path().join("deliveries.parquet"), columns);
    let outcome = Outcome::open(folder.path()).unwrap();
    assert_eq!(outcome.topics(), ["a", "b"]);
    let receipts = all_receipts(&outcome);
    assert_eq!((receipts[0].delivery.topic, receipts[0].delivery.position, receipts[0].sent_us), (1, 7, None));
}

#[test]
fn what_is_wrong_with_an_outcome_is_named_by_file_and_cause() {
    let fine = || (sequence(&[0, 1]), text(&[Some("a"), Some("a")]), text(&[None, None]), text(&[None, None]));
    let check = |spoil: &dyn Fn(&Path), file: &str, cause: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (sequence, topic, key, value) = fine();
        foreign(folder.path(), vec![("sequence", sequence), ("topic", topic), ("key", key), ("value", value)]);
        spoil(folder.path());
        let read = Outcome::open(folder.path()).and_then(|outcome| outcome.outputs()?.collect::<Result<Vec<_>, _>>());
        let message = message(&read.unwrap_err());
        assert!(message.contains(file) && message.contains(cause), "{message}");
    };
    let ending = |text: &'static str| move |dir: &Path| fs::write(dir.join("ending.json"), text).unwrap();
    check(&|dir| fs::remove_file(dir.join("ending.json")).unwrap(), "ending.json", "No such file");
    check(&ending("{"), "ending.json", "EOF");
    check(&ending(r#"{"ending": "finished"}"#), "ending.json", "no format version");
    check(&ending(r#"{"format": "2.0", "ending": "finished"}"#), "ending.json", "format 2.0");
    check(&ending(r#"{"format": "1.0"}"#), "ending.json", "missing field `ending`");
    check(&ending(r#"{"format": "1.0", "ending": "bored"}"#), "ending.json", "bored");
    check(&|dir| fs::remove_file(dir.join("outputs.parquet")).unwrap(), "outputs.parquet", "No such file");
    check(&|dir| fs::write(dir.join("outputs.parquet"), "PAR1").unwrap(), "outputs.parquet", "truncated");
    let outputs = |columns: &dyn Fn() -> Vec<(&'static str, ArrayRef)>, cause: &str| {
        check(&|dir| write_parquet(&dir.join("outputs.parquet"), columns()), "outputs.parquet", cause);
    };
    let (ok, null) = (Some("a"), None);
    outputs(&|| vec![("sequence", sequence(&[0]))], "column `topic` is missing");
    let with = |name: &'static str, column: ArrayRef| {
        move || {
            let (sequence, topic, key, value) = fine();
            let mut columns = vec![("sequence", sequence), ("topic", topic), ("key", key), ("value", value)];
            columns.retain(|(other, _)| *other != name);
            columns.push((name, Arc::clone(&column)));
            columns
        }
    };
    outputs(&with("sequence", sequence(&[1, 1])), "sequence 1 stands after 1");
    outputs(&with("sequence", text(&[ok, ok])), "column `sequence` is Utf8, not an integer");
    outputs(&with("topic", text(&[ok, null])), "column `topic` holds nulls");
    outputs(&with("key", sequence(&[1, 2])), "column `key` is Int64, not bytes or text");
    outputs(&with("phase", text(&[ok, ok])), "unknown word `a`");
    outputs(&with("headers", text(&[ok, ok])), "column `headers` is Utf8, not a list of name and value");
}

#[test]
fn a_damaged_page_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    (0..5_000).for_each(|sequence| writer.output(&numbered(sequence)).unwrap());
    writer.finish(&finished()).unwrap();
    let path = folder.path().join("outputs.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let outcome = Outcome::open(folder.path()).unwrap();
    let error = outcome.outputs().unwrap().collect::<Result<Vec<_>, _>>().unwrap_err();
    assert!(message(&error).contains("outputs.parquet"), "{}", message(&error));
}
