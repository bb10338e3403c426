//! Builds over Kafka whose wall clock is set, on the stage. Left out where libfaketime or Python's clients cannot be had.

use std::fs;
use std::path::Path;
use std::process::Command;

use rehearsal::outcome::Outcome;
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType};
use rehearsal::report::Report;
use serde_json::{Value as Json, json};

use crate::stage::made_ready;

/// When the first order was made, in milliseconds; each other one comes a second after it.
const FIRST_MS: i64 = 1_700_000_000_000;

/// Writes what time it is at each order.
const BUILD: &str = r#"import json, os, time
from kafka import KafkaConsumer, KafkaProducer
brokers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
producer = KafkaProducer(bootstrap_servers=brokers)
consumer = KafkaConsumer("orders", bootstrap_servers=brokers, group_id=os.environ["REHEARSAL_GROUP"], enable_auto_commit=False,
                         auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=2000)
for event in consumer:
    n = json.loads(event.value)["order_id"]
    at = time.time_ns() // 1000000
    producer.send(os.environ["REHEARSAL_TOPIC_SEEN"], json.dumps({"n": n, "at": at}).encode(), key=event.key)
    producer.flush()
    consumer.commit()
"#;

fn orders(folder: &Path) {
    let mut writer = RecordingWriter::create(folder.join("orders"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    for offset in 0..8 {
        batch.push_event(&Event {
            topic: "orders".into(),
            partition: 0,
            offset,
            timestamp_ms: Some(FIRST_MS + offset * 1_000),
            timestamp_type: TimestampType::Create,
            captured_at_us: None,
            key: Some(format!("order-{offset}").into_bytes()),
            value: Some(json!({ "order_id": offset }).to_string().into_bytes()),
            headers: Vec::new(),
        });
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
}

/// How far behind each order the clock was, in milliseconds.
fn behind_ms(folder: &Path, drive: &str) -> Vec<i64> {
    let outcome = Outcome::open(folder.join("run/outcomes").join(drive)).unwrap();
    let batches: Vec<_> = outcome.outputs().unwrap().map(Result::unwrap).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()));
    rows.map(|output| {
        let value: Json = serde_json::from_slice(&output.value.unwrap()).unwrap();
        value["at"].as_i64().unwrap() - FIRST_MS - value["n"].as_i64().unwrap() * 1_000
    })
    .collect()
}

#[test]
fn builds_over_kafka_see_the_time_of_their_events_with_several_processes_and_though_it_steps() {
    let there = |folder: &str| Path::new(folder).join("faketime/libfaketimeMT.so.1").is_file();
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    if !below.map(|entry| entry.path()).any(|folder| there(&folder.to_string_lossy())) && !there("/usr/lib") {
        return;
    }
    let Some(python) = made_ready("python") else { return };
    let folder = tempfile::tempdir().unwrap();
    orders(folder.path());
    fs::write(folder.path().join("build.py"), BUILD).unwrap();
    let build = format!("command = ['{python}', 'build.py']\ninstances = 2\n");
    for (fault, stepped) in [("", 0), ("[[fault]]\nkind = 'clock'\nstep = '-1h'\nat = ['4s']\n", 4)] {
        let text = format!(
            "recording = 'orders'\n[old]\n{build}[new]\n{build}[compare]\nignore = ['$.at']\n[drive]\ntransport = 'kafka'\noutputs = ['seen']\n\
             settle = '50ms'\nclock = 'recorded'\nrepeat-old = 0\nlateness-p99-max = '10s'\nslow-down-max = '500%'\n\
             [pace]\nmode = 'accelerated'\nspeed = 10.0\n{fault}"
        );
        fs::write(folder.path().join("clock.toml"), text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
            .current_dir(folder.path())
            .args(["run", "clock.toml", "--out", "run", "--force", "--json"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(output.status.code(), Some(0), "{:?}", report.reasons);
        // What the producer's clock gave is no difference.
        assert!(report.differences.is_empty(), "{:?}", report.differences);
        for drive in ["old", "new"] {
            let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
            let behind = behind_ms(folder.path(), drive);
            let early = -1 - clock.error_us_max / 1_000;
            let set_back = behind.iter().filter(|behind| **behind < -3_000_000).count();
            assert_eq!(behind.len(), 8, "{drive}: {behind:?}");
            // A build that is slow takes orders from ahead of the step behind it, none from behind it ahead of it.
            assert!((stepped == 0) == (set_back == 0) && set_back >= stepped, "{drive}: {behind:?}");
            assert!(behind[8 - stepped..].iter().all(|behind| *behind < -3_000_000), "{drive}: {behind:?}");
            let near = behind.iter().filter(|behind| (early..300_000).contains(*behind)).count();
            assert_eq!(near, 8 - set_back, "{drive}: {behind:?} {clock:?}");
            assert_eq!(clock.own_stamps, 8, "{clock:?}");
        }
    }
}
