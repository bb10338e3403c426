//! A rehearsal of a service as many are: a consumer of Java with a database of its own and an API that it calls, ended by a deploy in the
//! middle of its work: `payments/payments.toml`.

use std::io::Write;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::drive::alone;
use crate::pair::classpath;
use crate::postgres::Postgres;
use crate::stage::beside;

/// What the service needs.
struct Desk {
    folder: TempDir,
    classpath: String,
    server: Postgres,
}

/// What a run of it left.
struct Ran {
    code: Option<i32>,
    run: Json,
    summary: String,
}

impl Desk {
    /// Starts the server and compiles the service; none where Java, Kafka's clients or PostgreSQL cannot be had.
    fn ready() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let classpath = classpath("payments/Payments.java", folder.path())?;
        Some(Self { folder, classpath, server: Postgres::start()? })
    }

    /// Rehearses `new`, a release by its name, in place of old.
    fn rehearse(&self, new: &str, settings: &[&str]) -> Ran {
        let out = self.folder.path().join("run");
        let path = format!("{}:{}", self.server.programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.current_dir(&self.folder).arg("run").arg(beside("payments/payments.toml"));
        command.args(["--json", "--force", "--out"]).arg(&out);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.env("PATH", path).env("PGHOST", "127.0.0.1").env("PGPORT", self.server.port.to_string());
        command.env("PGUSER", "postgres").env("PAYMENTS_CLASSPATH", &self.classpath).env("PAYMENTS_NEW", new);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let run: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{errors}"));
        for drive in run["drives"].as_array().unwrap() {
            assert_eq!((drive["ending"].as_str(), &drive["sent"]), (Some("finished"), &drive["deliveries"]), "{drive}");
        }
        assert_eq!(self.server.databases(), "", "each was removed behind its drive");
        let summary = std::fs::read_to_string(out.join("summary.md")).unwrap();
        Ran { code: output.status.code(), run, summary }
    }
}

/// Number at a path of `run.json`.
fn number(run: &Json, path: &str) -> u64 {
    run.pointer(path).and_then(Json::as_u64).unwrap_or_else(|| panic!("no number at {path}"))
}

/// What became of the deploy in a drive: it took place and was followed by a start, nobody had to be killed, and what was not committed by
/// then was delivered again.
fn deployed(run: &Json, drive: &str) {
    let stops = &run["faults"][0]["requests"]["drives"][drive]["stops"];
    let of = |key: &str| stops[key].as_u64().unwrap_or_else(|| panic!("{drive} has no {key}: {stops}"));
    assert_eq!((of("stops"), of("resumed"), of("killed")), (1, 1, 0), "{drive}: {stops}");
    // What it still did once it was told, it did not commit: the rest of what was polled is left, and all of it comes again.
    assert!(of("in_flight") > 0 && of("again") >= of("in_flight") - of("committed"), "{drive}: {stops}");
}

/// The database is let through to; all else of a drive is its own.
fn in_worlds_of_their_own(run: &Json) {
    for (drive, isolation) in run["isolation"].as_object().unwrap() {
        let missing = isolation["layers"].as_array().unwrap().iter().find(|state| state["enforced"] != true);
        if let Some(missing) = missing {
            let mut stderr = std::io::stderr();
            writeln!(stderr, "LEFT OUT: the service in {drive} without a layer: {missing}").unwrap();
            continue;
        }
        assert_eq!(isolation["attempts"], serde_json::json!([]), "{drive}");
        assert!(isolation["allowed"][0]["connections"].as_u64() > Some(0), "{drive}: {isolation}");
    }
}

/// New charged payments again that old did not, and both its calls and the rows of its table show it.
fn pays_twice(ran: &Ran) {
    let run = &ran.run;
    assert_eq!((ran.code, run["verdict"].as_str()), (Some(1), Some("differ")), "{:#}", run["reasons"]);
    let calls = number(run, "/differences/effect");
    assert_eq!(number(run, "/differences/sink-divergence"), calls, "a row for each call");
    let of = |kind: &str| {
        let pattern = run["patterns"].as_array().unwrap().iter().find(|pattern| pattern["kind"] == kind);
        pattern.unwrap_or_else(|| panic!("no {kind}: {:#}", run["patterns"]))
    };
    let (effect, sink) = (of("effect"), of("sink-divergence"));
    for pattern in [effect, sink] {
        assert_eq!(
            (pattern["standing"].as_str(), pattern["count"].as_u64()),
            (Some("proven"), Some(calls)),
            "{pattern}"
        );
        // The second of its flight: old has none beside it.
        assert_eq!((&pattern["change"], &pattern["examples"][0]["old"]), (&"exact".into(), &Json::Null), "{pattern}");
    }
    let row = sink["examples"][0]["new"].to_string();
    assert!(row.contains("flight_id") && row.contains("25000"), "{row}");
    assert_eq!(number(run, "/idempotency/old/repeated_effects"), 0);
    assert!(number(run, "/idempotency/new/repeated_effects") >= 2, "{}", run["idempotency"]);
    assert!(
        ran.summary.contains("new would have charged ") && ran.summary.contains(" payments twice"),
        "{}",
        ran.summary
    );
}

#[test]
fn a_service_that_lost_its_memory_pays_twice_when_a_deploy_ends_it_at_work() {
    let Some(desk) = Desk::ready() else { return };
    let ran = desk.rehearse("new", &[]);
    pays_twice(&ran);
    for drive in ["old", "old-again", "new"] {
        deployed(&ran.run, drive);
        let row = ran.run["drives"].as_array().unwrap().iter().find(|one| one["drive"] == drive).unwrap();
        assert_eq!(row["instances"][0]["starts"], 2, "{row}");
    }
    assert!(ran.summary.contains("delivered again"), "{}", ran.summary);
    in_worlds_of_their_own(&ran.run);
}

#[test]
fn a_service_that_knows_what_it_paid_agrees_with_itself_through_the_same_deploy() {
    let Some(desk) = Desk::ready() else { return };
    let ran = desk.rehearse("old", &[]);
    assert_eq!((ran.code, ran.run["verdict"].as_str()), (Some(0), Some("agree")), "{:#}", ran.run["reasons"]);
    assert_eq!(number(&ran.run, "/idempotency/new/repeated_effects"), 0);
    assert!(number(&ran.run, "/outputs/new") > 200, "{}", ran.run["outputs"]);
    deployed(&ran.run, "new");
}

/// How much of a poll is done when the deploy comes depends on when brokers let the group have it, so how often new pays twice is
/// for the machine to say; what is said of it is not.
#[test]
fn a_service_that_is_deployed_on_a_cluster_has_as_many_calls_as_rows() {
    let (Some(cluster), Some(desk)) = (Cluster::shared(), Desk::ready()) else { return };
    let _alone = alone();
    let broker = format!("drive.broker='{}'", cluster.brokers);
    let ran = desk.rehearse("new", &[&broker, "drive.other-cluster=true"]);
    let of = |kind: &str| ran.run["differences"][kind].as_u64().unwrap_or(0);
    assert_eq!(of("effect"), of("sink-divergence"), "a row for each call");
    assert_eq!((of("missing"), of("extra"), number(&ran.run, "/idempotency/old/repeated_effects")), (0, 0, 0));
    let twice = of("effect") > 0 || number(&ran.run, "/idempotency/new/repeated_effects") > 0;
    assert!(!twice || ran.code != Some(0), "{:#}", ran.run["reasons"]);
    for drive in ["old", "old-again", "new"] {
        let stops = &ran.run["faults"][0]["requests"]["drives"][drive]["stops"];
        assert_eq!((&stops["stops"], &stops["resumed"]), (&1.into(), &1.into()), "{drive}: {stops}");
    }
}
