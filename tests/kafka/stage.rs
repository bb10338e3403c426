//! The stage held against Apache Kafka: each body runs against both, and sees the same.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
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
    settings.consumer_session = Duration::from_secs(6);
    settings.replication_max = 1;
    (Stage::start(settings, Arc::new(SystemClock::start())).unwrap(), folder)
}

/// What a client bears, beyond what all do.
struct Bears {
    /// Calls in which its connection is lost.
    lost: &'static [&'static str],
    /// Calls whose answers are lost with the connection.
    lost_answers: &'static [&'static str],
    /// Calls about partitions that another broker leads.
    led_elsewhere: &'static [&'static str],
    /// Calls to a coordinator that loads, now and then, and some more often.
    loading: &'static [&'static str],
    loading_often: &'static [&'static str],
}

const FRANZ: Bears = Bears {
    lost: &["Fetch", "Produce", "Heartbeat"],
    lost_answers: &["EndTxn", "AddPartitionsToTxn"],
    led_elsewhere: &["Fetch", "Produce", "ListOffsets"],
    loading: &["OffsetFetch", "AddPartitionsToTxn", "EndTxn"],
    loading_often: &["JoinGroup", "SyncGroup", "InitProducerId"],
};

/// Where a coordinator that loads has forgotten a share, Java's members join again, which makes a static member's way back a rebalance.
/// Those of their own protocol tell once that they go: where that is lost, their names are taken until their sessions end.
const JAVA: Bears = Bears { loading_often: &["JoinGroup", "InitProducerId"], ..FRANZ };

/// Streams join in the classic way.
const STREAMS: Bears = FRANZ;

/// aiokafka raises the error of a fetch once more as its consumer stops.
const PYTHON: Bears = Bears { lost: &["Produce", "Heartbeat"], ..FRANZ };

/// kafkajs takes a coordinator that loads for the end, where it asks for offsets or joins: its consumer begins anew then, and forgets
/// where it was to read from. Of its transactions it asks nothing twice when a connection is lost, and of offsets nothing at all.
const KAFKAJS: Bears = Bears {
    lost_answers: &["Produce"],
    led_elsewhere: &["Fetch", "Produce"],
    loading: &["AddPartitionsToTxn", "EndTxn"],
    loading_often: &["SyncGroup", "InitProducerId"],
    ..FRANZ
};

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
        fault(StageFaultKind::NotLeader, bears.led_elsewhere, StageTrigger::Every(9)),
        fault(StageFaultKind::Loading, bears.loading_often, StageTrigger::Every(3)),
        fault(StageFaultKind::Loading, bears.loading, StageTrigger::Every(5)),
        fault(StageFaultKind::Disconnect, bears.lost, StageTrigger::Every(13)),
        fault(StageFaultKind::LostAck, bears.lost_answers, StageTrigger::Every(2)),
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

/// Bounds a program that works with a broker, whatever goes wrong with it: the slowest takes a fifth of it.
const PROGRAM: Duration = Duration::from_secs(300);

/// What a program prints that works with a broker.
fn said(mut command: Command, brokers: &str, name: &str) -> Vec<String> {
    command.args([brokers, name]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let complaining = thread::spawn(move || read_all(&mut stderr));
    let (tell, told) = mpsc::channel();
    let talking = thread::spawn(move || {
        let said = read_all(&mut stdout);
        let _ = tell.send(());
        said
    });
    let late = told.recv_timeout(PROGRAM).is_err();
    if late {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let (said, complaint) = (talking.join().unwrap(), complaining.join().unwrap());
    assert!(!late, "did not end within {PROGRAM:?}, after saying:\n{said}\n{complaint}");
    assert!(status.success(), "{status}, after saying:\n{said}\n{complaint}");
    said.lines().map(str::to_owned).collect()
}

fn read_all(from: &mut dyn Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Has a program work with a stage, and with Apache Kafka where it can be had; `script` makes it ready.
fn seen_by_both(client: &'static str, script: &str, bears: Option<&Bears>, program: impl Fn(&str) -> Command) {
    let suite = OfSuite::with(client);
    let cluster = Cluster::shared();
    let Some(ready) = made_ready(script) else {
        suite.left_out(STAGE);
        return suite.left_out(KAFKA);
    };
    // Programs share a cluster, and each has names of its own there.
    let name: String = client.chars().filter(char::is_ascii_alphanumeric).collect();
    let (stage, _folder) = start();
    let of_stage = said(program(&ready), &stage.bootstrap(), &name);
    assert!(of_stage.len() >= 6, "{of_stage:?}");
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
    suite.ran(STAGE);
    if let Some(bears) = bears {
        let (faulty, _folder) = start();
        with_faults(&faulty, bears);
        let of_faulty = said(program(&ready), &faulty.bootstrap(), &name);
        assert_eq!(of_faulty, of_stage, "the stage with faults stands left, without them right");
        has_met(&faulty);
        suite.ran(FAULTY);
    }
    let Some(cluster) = cluster else { return suite.left_out(KAFKA) };
    let of_kafka = said(program(&ready), &cluster.brokers, &name);
    suite.ran(KAFKA);
    assert_eq!(of_stage, of_kafka, "{SIDES}");
}

/// Runs a program of Java that stands beside this file. Java comes with Kafka's artifacts, or neither can be had.
fn java(program: &'static str) -> impl Fn(&str) -> Command {
    move |artifacts| {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-cp", &format!("{artifacts}/*")]).arg(beside(program));
        command
    }
}

#[test]
fn the_clients_of_java_see_the_same() {
    seen_by_both("Java's clients", "artifacts", Some(&JAVA), java("Clients.java"));
}

#[test]
fn kafka_streams_count_the_same_exactly_once_and_not() {
    seen_by_both("Kafka Streams", "artifacts", Some(&STREAMS), java("Streams.java"));
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
    seen_by_both("kafkajs", "kafkajs/ready", Some(&KAFKAJS), |modules| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(beside("kafkajs/clients.js"));
        command
    });
}
