//! The stage held against Apache Kafka: each body runs against both, and sees the same.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rehearsal::clock::SystemClock;
use rehearsal::drive::stage::{Stage, StageFault, StageFaultKind, StageSettings, StageTrigger};
use rehearsal::plan::Seed;
use tempfile::TempDir;

use crate::arms::{FAULTY, KAFKA, OfSuite, STAGE};
use crate::cluster::Cluster;
use crate::conformance::Arm;

crate::every_conformance_test!(conformance);

/// Tests of other clients' programs, in this file.
const PROGRAMS: usize = 5;

/// Tests of the whole suite.
pub(crate) const SUITE: usize = crate::every_conformance_test!(count_bodies) + PROGRAMS;

/// What differs is the stage's fault.
const SIDES: &str = "the stage stands left, Apache Kafka right";

/// Runs a body against a stage and against Apache Kafka, where it can be had.
pub(crate) fn on_each_arm(body: fn(&Arm) -> Vec<String>) {
    let suite = OfSuite::with("librdkafka");
    let (stage, _folder) = start();
    let cluster = Cluster::shared();
    let of_stage = body(&Arm { brokers: stage.bootstrap() });
    suite.ran(STAGE);
    let Some(cluster) = cluster else { return suite.left_out(KAFKA) };
    let of_kafka = body(&Arm { brokers: cluster.brokers.clone() });
    suite.ran(KAFKA);
    assert_eq!(of_stage, of_kafka, "{SIDES}");
}

fn start() -> (Stage, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut settings = StageSettings::new(folder.path());
    // As the cluster that it is held against.
    settings.auto_create = false;
    settings.initial_rebalance_delay = Duration::ZERO;
    settings.replication_max = 1;
    (Stage::start(settings, Arc::new(SystemClock::start())).unwrap(), folder)
}

/// What a client bears, beyond what all do.
struct Bears {
    /// Calls in which its connection is lost.
    lost: &'static [&'static str],
    /// Calls to a coordinator that loads.
    loading: &'static [&'static str],
}

const FRANZ: Bears =
    Bears { lost: &["Fetch", "Produce", "Heartbeat"], loading: &["OffsetFetch", "AddPartitionsToTxn", "EndTxn"] };

/// aiokafka raises the error of a fetch once more as its consumer stops.
const PYTHON: Bears = Bears { lost: &["Produce", "Heartbeat"], loading: FRANZ.loading };

/// Puts into force what a client must live with without anybody noticing.
fn with_faults(stage: &Stage, bears: &Bears) {
    let seed = Seed(7);
    let latency = Duration::from_millis(30);
    let fault = |kind: StageFaultKind, calls: &[&str], trigger: StageTrigger| {
        let name = format!("{} {calls:?}", kind.name());
        // Some clients take seconds to look for another leader.
        let most = if kind == StageFaultKind::NotLeader { 3 } else { 20 };
        let mut fault = StageFault { name, trigger, most, ..StageFault::always(kind) };
        fault.aim.calls = calls.iter().map(|call| (*call).to_owned()).collect();
        fault
    };
    let share = |share| StageTrigger::Share { share, seed };
    let faults = vec![
        fault(StageFaultKind::PartialLoss, &[], share(0.1)),
        fault(StageFaultKind::NotLeader, &[], StageTrigger::Every(9)),
        fault(StageFaultKind::Loading, &["JoinGroup", "SyncGroup", "InitProducerId"], StageTrigger::Every(3)),
        fault(StageFaultKind::Loading, bears.loading, StageTrigger::Every(5)),
        fault(StageFaultKind::Disconnect, bears.lost, StageTrigger::Every(13)),
        fault(StageFaultKind::LostAck, &["EndTxn", "AddPartitionsToTxn"], StageTrigger::Every(2)),
        fault(StageFaultKind::BrokerSlow { latency }, &[], StageTrigger::Every(10)),
        fault(StageFaultKind::Throttle { time: latency }, &["Fetch", "Produce"], StageTrigger::Every(7)),
    ];
    stage.arm(faults, Duration::ZERO).unwrap();
}

/// Each of these kinds has met the client.
fn has_met(stage: &Stage) {
    let kinds: BTreeSet<&str> = stage.fired().iter().map(|line| line.kind).collect();
    let expected = ["broker-slow", "disconnect", "loading", "lost-ack", "not-leader", "partial-loss", "throttle"];
    assert_eq!(kinds, expected.into());
}

/// What a program of Java prints that works with a stage, and with Apache Kafka. Java comes with Kafka, or neither can be had.
fn said_of_both(client: &'static str, program: &str) {
    let suite = OfSuite::with(client);
    let Some(mut cluster) = Cluster::of(1) else {
        suite.left_out(STAGE);
        return suite.left_out(KAFKA);
    };
    let (stage, _folder) = start();
    let of_stage = cluster.run_java(program, &[&stage.bootstrap(), "tried"]);
    suite.ran(STAGE);
    let brokers = cluster.brokers.clone();
    let of_kafka = cluster.run_java(program, &[&brokers, "tried"]);
    suite.ran(KAFKA);
    assert_eq!(of_stage, of_kafka, "{SIDES}");
    assert!(of_stage.len() >= 6, "{of_stage:?}");
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
}

#[test]
fn the_clients_of_java_see_the_same() {
    said_of_both("Java's clients", "Clients.java");
}

#[test]
fn kafka_streams_count_the_same_exactly_once_and_not() {
    said_of_both("Kafka Streams", "Streams.java");
}

/// What a script makes ready for tests: the path of a program, or none where it cannot be had, which is said aloud.
pub(crate) fn made_ready(script: &str) -> Option<String> {
    let made = Command::new(beside(script)).output().unwrap();
    if made.status.success() {
        return Some(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(75), "{complaint}");
    let required = std::env::var("REHEARSAL_KAFKA").is_ok_and(|value| value == "required");
    assert!(!required, "{complaint}");
    // Past what captures the output of tests: what is left out must be seen.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let mut stderr = std::io::stderr();
    writeln!(stderr, "LEFT OUT: {name}: {}", complaint.trim()).unwrap();
    None
}

pub(crate) fn beside(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(file)
}

/// What a program prints that works with a broker.
fn said(mut command: Command, brokers: &str) -> Vec<String> {
    let output = command.args([brokers, "tried"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Has a program work with a stage, and with Apache Kafka where it can be had; `script` makes it ready.
fn seen_by_both(client: &'static str, script: &str, bears: Option<&Bears>, program: impl Fn(&str) -> Command) {
    let suite = OfSuite::with(client);
    let cluster = Cluster::shared();
    let Some(ready) = made_ready(script) else {
        suite.left_out(STAGE);
        return suite.left_out(KAFKA);
    };
    let (stage, _folder) = start();
    let of_stage = said(program(&ready), &stage.bootstrap());
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
    suite.ran(STAGE);
    if let Some(bears) = bears {
        let (faulty, _folder) = start();
        with_faults(&faulty, bears);
        let of_faulty = said(program(&ready), &faulty.bootstrap());
        assert_eq!(of_faulty, of_stage, "the stage with faults stands left, without them right");
        has_met(&faulty);
        suite.ran(FAULTY);
    }
    let Some(cluster) = cluster else { return suite.left_out(KAFKA) };
    let of_kafka = said(program(&ready), &cluster.brokers);
    suite.ran(KAFKA);
    assert_eq!(of_stage, of_kafka, "{SIDES}");
}

#[test]
fn the_clients_of_python_see_the_same() {
    seen_by_both("aiokafka and kafka-python", "python", Some(&PYTHON), |python| {
        let mut command = Command::new(python);
        command.arg(beside("clients.py"));
        command
    });
}

#[test]
fn franz_go_sees_the_same() {
    seen_by_both("franz-go", "franz/ready", Some(&FRANZ), |program| Command::new(program));
}

#[test]
fn kafkajs_sees_the_same() {
    seen_by_both("kafkajs", "kafkajs/ready", None, |modules| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(beside("kafkajs/clients.js"));
        command
    });
}
