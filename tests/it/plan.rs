//! Plans over recordings, as other rooms see them: from a folder to deliveries, `plan.parquet` and the fault log.

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rehearsal::plan::{
    Delivery, FaultLog, FaultSettings, PaceSettings, Phase, Plan, PlanError, PlanSettings, Seed, SelectSettings,
    fault_log, plan, write,
};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Recording, RecordingWriter, Role, Source, TimestampType, TopicSource,
};
use rehearsal::spill::SpillSpace;
use sha2::{Digest, Sha256};

/// Events of three topics; every third of `flights` is an arrival.
fn events() -> Vec<Event> {
    let event = |number: i64| {
        let (topic, partition) = [("flights", 0), ("flights", 1), ("gates", 0), ("board", 0)][number as usize % 4];
        let kind = if number % 3 == 0 { "arrived" } else { "departed" };
        Event {
            topic: topic.to_owned(),
            partition,
            offset: number / 4,
            timestamp_ms: Some(1_357_344_000_000 + number * 250 - number % 5 * 300),
            timestamp_type: TimestampType::Create,
            key: Some(format!("UA{}", number % 7).into_bytes()),
            value: Some(format!(r#"{{"type":"{kind}","number":{number}}}"#).into_bytes()),
            ..Event::default()
        }
    };
    (0..4_000).map(event).collect()
}

fn recording(folder: &Path) -> Recording {
    let topic = |name: &str, role| TopicSource { name: name.to_owned(), partitions: 2, role, ..TopicSource::default() };
    let topics = vec![topic("board", Role::Output), topic("flights", Role::Input), topic("gates", Role::Table)];
    let mut writer = RecordingWriter::create(folder.join("recording"), Source { topics, ..Source::default() }).unwrap();
    let mut builder = EventBatchBuilder::new();
    for event in events() {
        builder.push_event(&event);
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    Recording::open(folder.join("recording")).unwrap()
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parts {
    select: SelectSettings,
    pace: PaceSettings,
    fault: Vec<FaultSettings>,
}

fn settings(text: &str) -> PlanSettings {
    let parts: Parts = toml::from_str(text).unwrap();
    PlanSettings { select: parts.select, pace: parts.pace, faults: parts.fault, ..PlanSettings::default() }
}

fn planned(recording: &Recording, settings: &PlanSettings) -> Plan {
    plan(recording, settings, Seed(7), Arc::new(SpillSpace::system())).unwrap()
}

fn deliveries(plan: &Plan) -> Vec<Delivery> {
    plan.deliveries().collect::<Result<_, _>>().unwrap()
}

fn bytes(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(plan, &mut bytes).unwrap();
    bytes
}

/// One fault of each kind, every distribution that takes a logarithm, and a slice with warm-up.
const EVERYTHING: &str = r#"
[select]
from = "2013-01-05T00:01:00Z"
to = "2013-01-05T00:15:00Z"
warm-up = "30s"

[pace]
mode = "accelerated"
speed = 60
gap-max = "2s"

[[fault]]
kind = "delay"
delay = "5ms"
where = { partitions = [1] }

[[fault]]
kind = "jitter"
distribution = "exponential"
mean = "20ms"

[[fault]]
kind = "jitter"
distribution = "lognormal"
probability = 0.1

[[fault]]
kind = "jitter"
distribution = "pareto"
probability = 0.05

[[fault]]
kind = "jitter"
distribution = "recorded"
max = "100ms"
probability = 0.1

[[fault]]
kind = "straggle"
preset = "harsh"

[[fault]]
kind = "stall"
times = 3
length = "200ms"

[[fault]]
kind = "reorder"
share = 0.1
extent = 16

[[fault]]
kind = "reorder"
share = 0.1
extent = 16
within = "key"

[[fault]]
name = "twice"
kind = "duplicate"
probability = 0.1
after = "50ms..2s"
where = { topics = ["flights"], value = "@.type == 'arrived'" }

[[fault]]
kind = "rewind"
n = 20
times = 2

[[fault]]
kind = "drop"
bursts = { enter = 0.01, leave = 0.2 }
"#;

#[test]
fn a_plan_of_every_fault_is_the_same_on_every_machine() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    let plan = planned(&recording, &settings(EVERYTHING));
    let mut hash = Sha256::new();
    for delivery in deliveries(&plan) {
        let Delivery { due_us, topic, partition, offset, position, attempt, phase, faults, .. } = delivery;
        hash.update(format!("{due_us} {topic} {partition} {offset} {position} {attempt} {phase:?} {faults}\n"));
    }
    let hash = hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(hash, "9471c2d0a5f39795901e04eda1b385d1198ebc1fe70ae2ec317e5a05c48b26cc");
    let summary = plan.summary().unwrap();
    assert!(summary.faults.iter().all(|fault| fault.planned > 0), "{summary:#?}");
}

#[test]
fn the_plan_s_file_holds_every_delivery_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    let plan = planned(&recording, &settings(EVERYTHING));
    let found = deliveries(&plan);
    let written = bytes(&plan);
    assert_eq!(written, bytes(&plan));
    let path = folder.path().join("plan.parquet");
    std::fs::write(&path, written).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let mut row = 0;
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name: &str| {
            arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8).unwrap()
        };
        let (topic, phase) = (text("topic"), text("phase"));
        let long = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
        let int = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>();
        let faults = batch.column_by_name("faults").unwrap().as_list::<i32>();
        for index in 0..batch.num_rows() {
            let delivery = &found[row];
            assert_eq!(long("due").value(index), delivery.due_us);
            assert_eq!(topic.as_string::<i32>().value(index), plan.topics()[delivery.topic as usize]);
            assert_eq!(int("partition").value(index), delivery.partition);
            assert_eq!(long("offset").value(index), delivery.offset);
            assert_eq!(long("position").value(index), delivery.position);
            assert_eq!(int("attempt").value(index), delivery.attempt);
            assert_eq!(
                phase.as_string::<i32>().value(index),
                if delivery.phase == Phase::Main { "main" } else { "warm-up" }
            );
            let names = faults.value(index);
            let names: Vec<&str> = names.as_string::<i32>().iter().flatten().collect();
            let expected: Vec<&str> = plan
                .faults()
                .iter()
                .enumerate()
                .filter(|(bit, _)| delivery.faults >> bit & 1 == 1)
                .map(|(_, fault)| fault.name.as_str())
                .collect();
            assert_eq!(names, expected);
            row += 1;
        }
    }
    assert_eq!(row, found.len());
}

#[test]
fn only_inputs_and_tables_are_replayed_unless_the_scenario_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    assert_eq!(planned(&recording, &settings("")).topics(), ["flights", "gates"]);
    assert_eq!(planned(&recording, &settings("select.topics = ['board']")).topics(), ["board"]);
}

#[test]
fn places_lead_back_to_the_events_and_a_value_filter_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    let text = "[[fault]]\nkind = 'duplicate'\nprobability = 1\nafter = '1s'\nwhere = { topics = ['flights'], value = \"@.type == 'arrived'\" }";
    let plan = planned(&recording, &settings(text));
    let mut lookup = recording.lookup(Columns::ALL);
    let found = deliveries(&plan);
    let mut twice = 0;
    for chunk in found.chunks(500) {
        let places: Vec<_> = chunk.iter().map(|delivery| delivery.place).collect();
        let batch = lookup.fetch(&places).unwrap();
        for (row, delivery) in chunk.iter().enumerate() {
            let event = batch.get(row);
            assert_eq!(
                (event.topic, event.partition, event.offset),
                (plan.topics()[delivery.topic as usize].as_str(), delivery.partition, delivery.offset)
            );
            if delivery.attempt > 0 {
                twice += 1;
                assert!(event.topic == "flights" && String::from_utf8_lossy(event.value.unwrap()).contains("arrived"));
            }
        }
    }
    let arrivals = events()
        .iter()
        .filter(|event| {
            event.topic == "flights" && String::from_utf8_lossy(event.value.as_ref().unwrap()).contains("arrived")
        })
        .count();
    assert_eq!(twice, arrivals);
}

#[test]
fn keys_select_events_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    let plan =
        planned(&recording, &settings("[[fault]]\nkind = 'drop'\nprobability = 1\nwhere = { keys = ['UA3', 'UA5'] }"));
    let inputs: Vec<Event> = events().into_iter().filter(|event| event.topic != "board").collect();
    let dropped = inputs.iter().filter(|event| matches!(event.key.as_deref(), Some(b"UA3" | b"UA5"))).count();
    assert_eq!(deliveries(&plan).len(), inputs.len() - dropped);
}

#[test]
fn a_plan_is_replayed_from_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    let mut settings = settings(EVERYTHING);
    let original = planned(&recording, &settings);
    let mut log = Vec::new();
    fault_log(&original, &mut log).unwrap();
    settings.replay_log = Some(FaultLog::read(log.as_slice()).unwrap());
    let replayed = plan(&recording, &settings, Seed(1_234), Arc::new(SpillSpace::system())).unwrap();
    assert_eq!(bytes(&replayed), bytes(&original));
    let fewer: Vec<&str> =
        std::str::from_utf8(&log).unwrap().lines().filter(|line| line.contains("\"twice\"")).take(3).collect();
    settings.replay_log = Some(FaultLog::read(fewer.join("\n").as_bytes()).unwrap());
    let minimised = planned(&recording, &settings);
    assert_eq!(minimised.summary().unwrap().redeliveries, 3);
}

#[test]
fn a_topic_that_the_recording_lacks_is_refused_with_those_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path());
    for (text, key) in [
        ("select.topics = ['flihgts']", "select.topics[0]"),
        ("[[fault]]\nkind = 'delay'\nwhere = { topics = ['flihgts'] }", "fault[0].where.topics[0]"),
    ] {
        let error = plan(&recording, &settings(text), Seed(7), Arc::new(SpillSpace::system())).unwrap_err();
        let PlanError::Setting(error) = error else { panic!("{error:?}") };
        assert_eq!(error.key, key);
        assert!(error.problem.contains("flihgts") && error.instead.contains("`flights`"), "{error:?}");
    }
}
