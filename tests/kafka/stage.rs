//! The stage held against Apache Kafka: each body runs against both, and sees the same.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rehearsal::clock::SystemClock;
use rehearsal::drive::stage::{Stage, StageSettings};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::conformance::Arm;

crate::every_conformance_test!();

/// Runs a body against a stage and against Apache Kafka, where it can be had.
pub(crate) fn on_each_arm(body: fn(&Arm) -> Vec<String>) {
    let Some(cluster) = Cluster::shared() else { return };
    let (stage, _folder) = start();
    let of_kafka = body(&Arm { brokers: cluster.brokers.clone() });
    let of_stage = body(&Arm { brokers: stage.bootstrap() });
    assert_eq!(of_stage, of_kafka, "the stage stands left, Apache Kafka right");
}

fn start() -> (Stage, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut settings = StageSettings::new(folder.path());
    settings.auto_create = false;
    (Stage::start(settings, Arc::new(SystemClock::start())).unwrap(), folder)
}

/// What a program of Java prints that works with a stage, and with Apache Kafka.
fn said_of_both(program: &str) {
    let Some(mut cluster) = Cluster::of(1) else { return };
    let (stage, _folder) = start();
    let of_stage = cluster.run_java(program, &[&stage.bootstrap(), "tried"]);
    let brokers = cluster.brokers.clone();
    let of_kafka = cluster.run_java(program, &[&brokers, "tried"]);
    assert_eq!(of_stage, of_kafka, "the stage stands left, Apache Kafka right");
    assert!(of_stage.len() >= 6, "{of_stage:?}");
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
}

#[test]
fn the_clients_of_java_see_the_same() {
    said_of_both("Clients.java");
}

#[test]
fn kafka_streams_count_the_same_exactly_once_and_not() {
    said_of_both("Streams.java");
}

/// What a script makes ready for tests: the path of a program, or none where it cannot be had, which is said aloud.
fn made_ready(script: &str) -> Option<String> {
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

fn beside(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(file)
}

/// What a program prints that works with a broker.
fn said(command: &mut Command, brokers: &str) -> Vec<String> {
    let output = command.args([brokers, "tried"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_clients_of_python_see_the_same() {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(python) = made_ready("python") else { return };
    let (stage, _folder) = start();
    let with = |brokers: &str| said(Command::new(&python).arg(beside("clients.py")), brokers);
    assert_eq!(with(&stage.bootstrap()), with(&cluster.brokers), "the stage stands left, Apache Kafka right");
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
}

#[test]
fn franz_go_sees_the_same() {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(program) = made_ready("franz/ready") else { return };
    let (stage, _folder) = start();
    let with = |brokers: &str| said(&mut Command::new(&program), brokers);
    assert_eq!(with(&stage.bootstrap()), with(&cluster.brokers), "the stage stands left, Apache Kafka right");
    assert_eq!(stage.asked(), [], "a client asked for what is not served");
}
