//! A rehearsal of two topologies of Kafka Streams, as builds that know nothing of it: `pair.toml`.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::stage::{beside, made_ready};

/// Where Java finds the pair and Kafka Streams; none where they cannot be had.
fn classpath(folder: &Path) -> Option<String> {
    let artifacts = made_ready("artifacts")?;
    let mut compiler = Command::new("javac");
    compiler.args(["-cp", &format!("{artifacts}/*"), "-d"]).arg(folder).arg(beside("Pair.java"));
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(format!("{}:{artifacts}/*", folder.display()))
}

/// Rehearses `new` in place of old; returns `run.json`.
fn rehearsed(classpath: &str, new: &str, guarantee: &str, settings: &[&str]) -> Json {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(&folder).arg("run").arg(beside("pair.toml")).arg("--json");
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.env("PAIR_CLASSPATH", classpath).env("PAIR_NEW", new).env("PAIR_GUARANTEE", guarantee);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let run: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{errors}"));
    for drive in run["drives"].as_array().unwrap() {
        assert_eq!((drive["ending"].as_str(), &drive["sent"]), (Some("finished"), &drive["deliveries"]), "{drive}");
    }
    run
}

/// Kinds of differences that are more than information, and how many.
fn found(run: &Json) -> Vec<(String, u64)> {
    let patterns = run["patterns"].as_array().unwrap().iter().filter(|pattern| pattern["information"] != true);
    patterns.map(|pattern| (pattern["kind"].as_str().unwrap().to_owned(), pattern["count"].as_u64().unwrap())).collect()
}

#[test]
fn a_topology_that_lost_its_store_pays_twice_when_its_group_is_set_back() {
    let classes = TempDir::new().unwrap();
    let Some(classpath) = classpath(classes.path()) else { return };
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
    let Some(classpath) = classpath(classes.path()) else { return };
    let run = rehearsed(&classpath, "old", "exactly_once_v2", &["relations.redelivery=false"]);
    assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), vec![]), "{:#}", run["reasons"]);
    assert!(run["outputs"]["old"].as_u64() > Some(100) && run["outputs"]["new"] == run["outputs"]["old"]);
}
