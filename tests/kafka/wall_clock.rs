//! Builds over Kafka whose wall clock is set, on the stage and on a real cluster. Left out where libfaketime, Python's clients or the
//! cluster cannot be had.

use std::fs;
use std::path::Path;
use std::process::Command;

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::outcome::Outcome;
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType};
use rehearsal::report::Report;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::drive::{alone, left_on};
use crate::stage::made_ready;

/// When the first order was made, in milliseconds; each other one comes a second after it.
const FIRST_MS: i64 = 1_700_000_000_000;

/// Writes what time it is at each order.
const BUILD: &str = r#"import json, os, time
from kafka import KafkaConsumer, KafkaProducer
brokers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
producer = KafkaProducer(bootstrap_servers=brokers)
consumer = KafkaConsumer(os.environ["REHEARSAL_TOPIC_ORDERS"], bootstrap_servers=brokers, group_id=os.environ["REHEARSAL_GROUP"], enable_auto_commit=False,
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

/// What the clock showed at each order, by the order's number, in milliseconds.
fn shown_ms(folder: &Path, drive: &str) -> Vec<(i64, i64)> {
    let outcome = Outcome::open(folder.join("run/outcomes").join(drive)).unwrap();
    let batches: Vec<_> = outcome.outputs().unwrap().map(Result::unwrap).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()));
    rows.map(|output| {
        let value: Json = serde_json::from_slice(&output.value.unwrap()).unwrap();
        (value["n"].as_i64().unwrap(), value["at"].as_i64().unwrap())
    })
    .collect()
}

/// How far behind each order the clock was, in milliseconds.
fn behind_ms(folder: &Path, drive: &str) -> Vec<i64> {
    shown_ms(folder, drive).into_iter().map(|(n, at)| at - FIRST_MS - n * 1_000).collect()
}

fn is_installed() -> bool {
    let there = |folder: &str| Path::new(folder).join("faketime/libfaketimeMT.so.1").is_file();
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    below.map(|entry| entry.path()).any(|folder| there(&folder.to_string_lossy())) || there("/usr/lib")
}

/// A folder with the orders and the build.
fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    orders(folder.path());
    fs::write(folder.path().join("build.py"), BUILD).unwrap();
    folder
}

/// Rehearses the build against itself, ten times as fast as it was, with `drive` under `[drive]` and a `fault`; both must agree.
fn agree(folder: &Path, python: &str, drive: &str, fault: &str) -> Report {
    let build = format!("command = ['{python}', 'build.py']\ninstances = 2\n");
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[compare]\nignore = ['$.at']\n[drive]\ntransport = 'kafka'\n\
         outputs = ['seen']\nsettle = '50ms'\nrepeat-old = 0\nlateness-p99-max = '10s'\nslow-down-max = '500%'\n{drive}\n\
         [pace]\nmode = 'accelerated'\nspeed = 10.0\n{fault}"
    );
    fs::write(folder.join("clock.toml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(folder)
        .args(["run", "clock.toml", "--out", "run", "--force", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(0), "{:?}", report.reasons);
    // What the producer's clock gave is no difference.
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    report
}

/// Holds what a drive's build saw under a recorded clock against the times of its orders: an hour back for the last `stepped`.
fn follows(folder: &Path, drive: &str, report: &Report, stepped: usize) {
    let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
    let behind = behind_ms(folder, drive);
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

const STEP: &str = "[[fault]]\nkind = 'clock'\nstep = '-1h'\nat = ['4s']\n";

#[test]
fn builds_over_kafka_see_the_time_of_their_events_with_several_processes_and_though_it_steps() {
    let Some(python) = made_ready("python").filter(|_| is_installed()) else { return };
    let folder = desk();
    for (fault, stepped) in [("", 0), (STEP, 4)] {
        let report = agree(folder.path(), &python, "clock = 'recorded'", fault);
        for drive in ["old", "new"] {
            follows(folder.path(), drive, &report, stepped);
        }
    }
}

#[test]
fn on_a_real_cluster_the_clock_follows_the_events_and_is_set_wrong() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let Some(python) = made_ready("python").filter(|_| is_installed()) else { return };
    let folder = desk();
    let broker = format!("broker = '{}'\nother-cluster = true", cluster.brokers);
    for (fault, stepped) in [("", 0), (STEP, 4)] {
        let report = agree(folder.path(), &python, &format!("{broker}\nclock = 'recorded'"), fault);
        for drive in ["old", "new"] {
            follows(folder.path(), drive, &report, stepped);
        }
        assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
    }
    // Beside the machine's clock, which says when the build was shown each order.
    let now_ms = || SystemClock::start().date_us() / 1_000;
    let from_ms = now_ms();
    let report = agree(folder.path(), &python, &broker, STEP);
    for drive in ["old", "new"] {
        let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
        assert!(!clock.recorded && clock.wrong_us_max == 3_600_000_000 && clock.own_stamps == 8, "{clock:?}");
        let shown = shown_ms(folder.path(), drive);
        let wrong = |at: i64| (from_ms - 3_600_000..=now_ms() - 3_600_000).contains(&at);
        assert!(shown.iter().all(|(_, at)| wrong(*at) || (from_ms..=now_ms()).contains(at)), "{drive}: {shown:?}");
        // Whoever is slow takes what came ahead of the step behind it.
        assert!(shown.len() == 8 && shown.iter().all(|(n, at)| wrong(*at) || *n < 4), "{drive}: {shown:?}");
        let fired = Outcome::open(folder.path().join("run/outcomes").join(drive)).unwrap();
        assert_eq!(fired.ending().faults["clock-1"].instances, 1, "{drive}");
    }
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
}
