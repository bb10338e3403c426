//! The stage held against Apache Kafka: each body runs against both, and sees the same.

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
