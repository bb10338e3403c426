//! The README's way from two commits of a consumer in Python to a report, typed as it stands there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rehearsal::worktree::REDIRECTIONS;
use serde_json::Value as Json;

/// What is typed: every block of commands of the README's section, one after the other.
fn typed() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("From two commits to a report\n")).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

/// Where Python, or its packages, cannot be had, that is said past what captures the output of tests; it fails where `REHEARSAL_PYTHON` is
/// `required`.
fn left_out(complaint: &str) {
    let required = std::env::var("REHEARSAL_PYTHON").is_ok_and(|value| value == "required");
    assert!(!required, "Python cannot be had: {complaint}");
    let mut stderr = std::io::stderr();
    writeln!(stderr, "LEFT OUT: the README's walk-through: {complaint}").unwrap();
}

/// Whether there is what `python3` makes environments with.
fn has_python() -> bool {
    let asked = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    asked.is_ok_and(|output| output.status.success())
}

#[test]
fn from_two_commits_to_a_report_as_the_readme_says() {
    if !has_python() {
        return left_out("no python3 with venv");
    }
    let home = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rehearsal"));
    let path = std::env::var_os("PATH").unwrap();
    let folders = program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    let mut command = Command::new("bash");
    for name in REDIRECTIONS {
        command.env_remove(name);
    }
    for (name, value) in [("NAME", "Jo"), ("EMAIL", "jo@pay.example")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command.args(["-euo", "pipefail", "-c", &typed()]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("PATH", std::env::join_paths(folders).unwrap()).env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(4) && err.contains("(.venv/bin/pip install") {
        return left_out(&err);
    }
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    let run = home.path().join("payouts/target/rehearsal/rehearsal/latest");
    let report: Json = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    assert_eq!(report["verdict"], "differ");
    let repeated = |build: &str| report["idempotency"][build]["repeated_effects"].as_u64().unwrap();
    assert!(repeated("old") == 0 && repeated("new") > 0, "{:#}", report["idempotency"]);
    assert!(out.contains("repeat"), "{out}");
    let source = |build: &str| report["builds"][build]["source"].clone();
    assert_eq!((&source("old")["revision"], &source("new")["revision"]), (&"main~1".into(), &Json::Null));
    assert_eq!((&source("old")["dirty"], &source("new")["dirty"]), (&false.into(), &false.into()));
    assert_ne!(source("old")["commit"], source("new")["commit"]);
    assert!(run.join("report.html").is_file());
}
