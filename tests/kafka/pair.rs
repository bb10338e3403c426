//! A rehearsal of two topologies of Kafka Streams, as builds that know nothing of it: `pair.toml`.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::drive::alone;
use crate::stage::{beside, made_ready};

/// Where Java finds what `source`, beside this file, is compiled to in `folder`, and the artifacts that it stands on; none where they
/// cannot be had.
pub(crate) fn classpath(source: &str, folder: &Path) -> Option<String> {
    let artifacts = made_ready("artifacts")?;
    let mut compiler = Command::new("javac");
    compiler.args(["-cp", &format!("{artifacts}/*"), "-d"]).arg(folder).arg(beside(source));
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(format!("{}:{artifacts}/*", folder.display()))
}

/// Rehearses `new` in place of old; returns `run.json`.
fn rehearsed(classpath: &str, new: &str, guarantee: &str, settings: &[&str]) -> Json {
    rehearsed_as(&beside("pair.toml"), classpath, new, guarantee, settings)
}

/// Rehearses what a scenario says; returns `run.json`.
fn rehearsed_as(scenario: &Path, classpath: &str, new: &str, guarantee: &str, settings: &[&str]) -> Json {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(&folder).arg("run").arg(scenario).arg("--json");
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.env("PAIR_CLASSPATH", classpath).env("PAIR_NEW", new).env("PAIR_GUARANTEE", guarantee);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let run: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{errors}"));
    for drive in run["drives"].as_array().unwrap() {
        assert_eq!((drive["ending"].as_str(), &drive["sent"]), (Some("finished"), &drive["deliveries"]), "{drive}");
    }
    in_networks_of_their_own(&run);
    run
}

/// Java's machines live in worlds of their own like any other build, and want nothing beyond.
fn in_networks_of_their_own(run: &Json) {
    for (drive, isolation) in run["isolation"].as_object().unwrap() {
        let missing = isolation["layers"].as_array().unwrap().iter().find(|state| state["enforced"] != true);
        if let Some(missing) = missing {
            let mut stderr = std::io::stderr();
            writeln!(stderr, "LEFT OUT: Java in {drive} without a layer: {missing}").unwrap();
        }
        assert_eq!((&isolation["attempts"], &isolation["allowed"]), (&json!([]), &json!([])), "{drive}");
    }
}

/// Kinds of differences that are more than information, and how many.
fn found(run: &Json) -> Vec<(String, u64)> {
    let patterns = run["patterns"].as_array().unwrap().iter().filter(|pattern| pattern["information"] != true);
    patterns.map(|pattern| (pattern["kind"].as_str().unwrap().to_owned(), pattern["count"].as_u64().unwrap())).collect()
}

#[test]
fn a_topology_that_lost_its_store_pays_twice_when_its_group_is_set_back() {
    let classes = TempDir::new().unwrap();
    let Some(classpath) = classpath("Pair.java", classes.path()) else { return };
    let run = rehearsed(&classpath, "new", "at_least_once", &[]);
    assert_eq!(run["verdict"], "differ", "{:#}", run["reasons"]);
    let twice = run["idempotency"]["new"]["repeated_effects"].as_u64().unwrap();
    assert_eq!(
        (found(&run), run["idempotency"]["old"]["repeated_effects"].as_u64()),
        (vec![("repeated".into(), twice)], Some(0))
    );
    assert!(twice > 10 && run["idempotency"]["new"]["redelivered"].as_u64() > Some(300), "{}", run["idempotency"]);
    assert_eq!(run["faults"][0]["fired"], run["faults"][0]["planned"]);
}

#[test]
fn a_topology_that_works_exactly_once_agrees_with_itself() {
    let classes = TempDir::new().unwrap();
    let Some(classpath) = classpath("Pair.java", classes.path()) else { return };
    let run = rehearsed(&classpath, "old", "exactly_once_v2", &["relations.redelivery=false"]);
    assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), vec![]), "{:#}", run["reasons"]);
    assert!(run["outputs"]["old"].as_u64() > Some(100) && run["outputs"]["new"] == run["outputs"]["old"]);
}

#[test]
fn a_topology_of_java_reaches_a_cluster_from_a_network_of_its_own() {
    let classes = TempDir::new().unwrap();
    let (Some(cluster), Some(classpath)) = (Cluster::shared(), classpath("Pair.java", classes.path())) else { return };
    let _alone = alone();
    let text = std::fs::read_to_string(beside("pair.toml")).unwrap();
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights");
    let (ahead, behind) = text.split_once("[[fault]]").unwrap();
    let builds = &behind[behind.find("[old]").unwrap()..];
    let text = format!("{ahead}{builds}").replace("../../recordings/flights", recording.to_str().unwrap());
    let scenario = classes.path().join("cluster.toml");
    std::fs::write(&scenario, text).unwrap();
    let broker = format!("drive.broker='{}'", cluster.brokers);
    let settings = [&*broker, "drive.other-cluster=true", "select.from='2013-01-31T18:00:00Z'"];
    let run = rehearsed_as(&scenario, &classpath, "old", "at_least_once", &settings);
    assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), vec![]), "{:#}", run["reasons"]);
    assert!(run["outputs"]["new"].as_u64() > Some(10), "{}", run["outputs"]);
}
