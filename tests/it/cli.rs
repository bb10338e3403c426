//! The program as a person meets it: arguments, messages, exit codes, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use rehearsal::clock::{Clock, SystemClock};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType};
use rehearsal::samples::{Broker, fill};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A folder with a recording of 60 orders in two partitions, in which scenarios are written and run.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RecordingWriter::create(folder.path().join("orders"), Source::default()).unwrap();
        let mut batch = EventBatchBuilder::new();
        for partition in 0..2 {
            for offset in 0..30 {
                batch.push_event(&order(partition, offset));
            }
        }
        writer.write(&batch.finish()).unwrap();
        writer.seal().unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn rehearsal(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.current_dir(self.path()).env_remove("REHEARSAL_NOBODY").args(arguments).output().unwrap()
    }

    /// Runs the program and returns standard output, after checking the exit code.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.rehearsal(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        out
    }

    /// Runs the scenario `text` and checks that it is refused with a message that holds all of `expected`, and that nothing
    /// was started or written.
    fn refuse(&self, text: &str, expected: &[&str]) {
        self.write("bad.toml", text);
        let output = self.rehearsal(&["run", "bad.toml"]);
        let message = self::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for expected in expected {
            assert!(message.contains(expected), "lacks `{expected}`:\n{message}");
        }
        assert!(!self.path().join("started").exists(), "a build was started");
        assert!(!self.path().join("target").exists(), "something was written");
    }
}

fn order(partition: i32, offset: i64) -> Event {
    let number = i64::from(partition) * 100 + offset;
    let value = json!({ "order_id": number, "customer": offset % 7, "amount": number * 3 });
    Event {
        topic: "orders".into(),
        partition,
        offset,
        timestamp_ms: Some(1_700_000_000_000 + offset * 1_000),
        timestamp_type: TimestampType::Create,
        captured_at_us: None,
        key: Some(format!("customer-{}", offset % 7).into_bytes()),
        value: Some(value.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A build that writes each value again.
const SAME: &str = "command = ['cat']";

/// A build that writes each value again, changed as `sed` is told.
fn sed(script: &str) -> String {
    format!("command = ['sed', '-u', '{script}']")
}

fn scenario(old: &str, new: &str, more: &str) -> String {
    format!(
        "# Do orders stay what they are?\nrecording = 'orders'\nseed = 3\n[pace]\nmode = 'unpaced'\n[old]\n{old}\n[new]\n{new}\n\
         [drive]\npayload = 'value'\nsettle = '50ms'\n[compare]\nidentity = ['$.order_id']\n{more}"
    )
}

/// A scenario whose builds leave a mark when they are started.
const MARKED: &str =
    "recording = 'orders'\n[old]\ncommand = ['sh', '-c', 'touch started; cat']\n[new]\ncommand = ['cat']\n";

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let desk = Desk::new();
    desk.refuse(
        &format!("{MARKED}[pace]\ngap-maxx = '2s'\n"),
        &["bad.toml:7:1", "unknown key `gap-maxx`", "`gap-max`?", "^"],
    );
    desk.refuse(&format!("{MARKED}[paec]\nmode = 'unpaced'\n"), &["bad.toml:6:2", "unknown key `paec`", "`pace`?"]);
    desk.refuse(
        &format!("{MARKED}[[fault]]\nkind = 'delay'\nafterr = '1s'\n"),
        &["bad.toml:8:1", "unknown key `afterr`"],
    );
}

#[test]
fn a_wrong_type_is_refused_with_the_right_one() {
    let desk = Desk::new();
    desk.refuse(&format!("seed = 'seven'\n{MARKED}"), &["bad.toml:1:8", "seven", "Write a whole number"]);
    desk.refuse(&format!("{MARKED}[compare]\nidentity = '$.a'\n"), &["bad.toml:7:12", "Write a list"]);
    desk.refuse(&format!("{MARKED}[drive]\ntogether = 'yes'\n"), &["bad.toml:7:12", "`true` or `false`"]);
}

#[test]
fn a_bare_number_for_a_duration_is_refused_with_its_units() {
    Desk::new().refuse(&format!("{MARKED}[drive]\nsettle = 2\n"), &["bad.toml:7:10", "no unit", "\"2s\"", "\"2ms\""]);
}

#[test]
fn a_recording_that_is_missing_is_refused_where_it_is_named() {
    let desk = Desk::new();
    desk.refuse(&MARKED.replace("'orders'", "'order'"), &["bad.toml:1:13", "order", "rehearsal capture"]);
}

#[test]
fn an_unset_variable_is_refused_where_it_stands() {
    let desk = Desk::new();
    let text = MARKED.replace("'orders'", "'${REHEARSAL_NOBODY}'");
    desk.refuse(&text, &["bad.toml:1:14", "`REHEARSAL_NOBODY` is not set", "${REHEARSAL_NOBODY:-default}"]);
}

#[test]
fn a_fault_on_a_topic_that_the_recording_lacks_is_refused() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'delay'\nprobability = 0.5\n[[fault]]\nkind = 'duplicate'\nprobability = 0.1\nwhere = { topics = ['order'] }\n";
    desk.refuse(&format!("{MARKED}{fault}"), &["bad.toml:12:", "`order`", "orders"]);
}

#[test]
fn a_probability_above_one_is_refused() {
    let desk = Desk::new();
    desk.refuse(
        &format!("{MARKED}[[fault]]\nkind = 'duplicate'\nprobability = 2.0\n"),
        &["bad.toml:8:15", "probability", "0", "1"],
    );
}

#[test]
fn a_command_that_does_not_exist_is_refused() {
    let desk = Desk::new();
    desk.refuse(
        &MARKED.replace("['cat']", "['./no-such-build']"),
        &["bad.toml:5:1", "no-such-build", "does not exist"],
    );
    desk.refuse(&MARKED.replace("['cat']", "['no-such-build']"), &["bad.toml:5:1", "no-such-build", "PATH"]);
}

#[test]
fn everything_that_is_wrong_with_the_surroundings_is_said_at_once() {
    let desk = Desk::new();
    let text = MARKED.replace("'orders'", "'order'").replace("['cat']", "['./no-such-build']");
    desk.refuse(&text, &["bad.toml:1:13", "bad.toml:5:1"]);
}

#[test]
fn of_several_scenarios_none_is_started_where_one_is_wrong() {
    let desk = Desk::new();
    desk.write("good.toml", MARKED);
    desk.write("wrong.toml", &MARKED.replace("'orders'", "7"));
    let output = desk.rehearsal(&["run", "good.toml", "wrong.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("wrong.toml:1:13"));
    assert!(!desk.path().join("started").exists() && !desk.path().join("target").exists());
}

#[test]
fn an_override_that_is_wrong_is_named() {
    let desk = Desk::new();
    desk.write("good.toml", MARKED);
    let output = desk.rehearsal(&["run", "good.toml", "--set", "drive.setle=2s"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("--set drive.setle=2s") && message.contains("`settle`?"), "{message}");
}

#[test]
fn a_scenario_that_is_not_there_is_refused() {
    let desk = Desk::new();
    let output = desk.rehearsal(&["run", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nowhere.toml"));
}

#[test]
fn wrong_arguments_end_with_two() {
    let desk = Desk::new();
    let speed = |speed| ["replay", "orders", "--speed", speed, "--out", "outcome", "--", "cat"];
    for arguments in [&["rum"][..], &["run"], &["run", "a.toml", "--speed"], &["report", "x", "--format", "pdf"]]
        .into_iter()
        .chain([&speed("nan")[..], &speed("0"), &speed("inf"), &speed("fast")])
    {
        assert_eq!(desk.rehearsal(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn every_command_has_help() {
    let desk = Desk::new();
    for command in rehearsal::cli::command().get_subcommands() {
        let help = desk.expect(0, &[command.get_name(), "--help"]);
        assert!(help.contains("Usage: rehearsal") && help.contains("Examples:"), "{help}");
    }
}

#[test]
fn builds_that_do_the_same_agree_and_a_run_is_never_overwritten() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    for number in ["0001", "0002"] {
        desk.expect(0, &["run", "same.toml"]);
        let folder = desk.path().join("target/rehearsal/same").join(number);
        for file in
            ["run.json", "report.html", "junit.xml", "summary.md", "plan.parquet", "outcomes/old/outputs.parquet"]
        {
            assert!(folder.join(file).exists(), "{file} is missing");
        }
    }
    let latest = desk.path().join("target/rehearsal/same/latest/run.json");
    let report: Json = serde_json::from_slice(&fs::read(latest).unwrap()).unwrap();
    assert_eq!(report["verdict"], "agree");
    assert_eq!(report["outputs"], json!({ "old": 60, "old_again": 60, "new": 60 }));
    assert_eq!(report["scenario"]["question"], "Do orders stay what they are?");
}

#[test]
fn a_build_that_changes_a_value_differs_and_is_shown_with_its_path() {
    let desk = Desk::new();
    desk.write("changed.toml", &scenario(SAME, &sed(r#"/"customer":3,/s/"amount":/"amount":1/"#), ""));
    let report: Json = serde_json::from_str(&desk.expect(1, &["run", "changed.toml", "--json"])).unwrap();
    assert_eq!(report["verdict"], "differ");
    let changed: Vec<&Json> =
        report["patterns"].as_array().unwrap().iter().filter(|pattern| pattern["kind"] == "changed").collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!((&changed[0]["path"], &changed[0]["count"]), (&json!("$.amount"), &json!(8)));
    desk.expect(0, &["run", "changed.toml", "--exit-zero"]);
    desk.expect(0, &["run", "changed.toml", "--set", "compare.ignore=['$.amount']"]);
}

#[test]
fn the_same_run_is_repeated_by_the_command_that_its_report_names() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.3\nafter = '1s'\n";
    desk.write("twice.toml", &scenario(SAME, SAME, fault));
    let first: Json = serde_json::from_str(&desk.expect(0, &["run", "twice.toml", "--seed", "11", "--json"])).unwrap();
    let command = first["reproduce"].as_str().unwrap().to_owned();
    let mut words: Vec<&str> = command.split(' ').skip(1).collect();
    words.push("--json");
    let second: Json = serde_json::from_str(&desk.expect(0, &words)).unwrap();
    assert_eq!((&first["seed"], &first["faults"]), (&json!(11), &second["faults"]));
    let plans = ["0001", "0002"]
        .map(|run| fs::read(desk.path().join("target/rehearsal/twice").join(run).join("plan.parquet")).unwrap());
    assert!(plans[0] == plans[1], "the plans differ");
}

#[test]
fn a_fault_that_touches_nothing_is_no_verdict() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 1.0\nwhere = { keys = ['nobody'] }\n";
    desk.write("idle.toml", &scenario(SAME, SAME, fault));
    desk.expect(3, &["run", "idle.toml"]);
}

#[test]
fn a_new_build_that_dies_differs_and_an_old_one_that_dies_is_no_verdict() {
    let desk = Desk::new();
    let dead = "command = ['sh', '-c', 'read line; exit 3']";
    desk.write("dead.toml", &scenario(SAME, dead, ""));
    desk.expect(1, &["run", "dead.toml"]);
    desk.write("dead-old.toml", &scenario(dead, SAME, ""));
    desk.expect(3, &["run", "dead-old.toml"]);
    desk.expect(1, &["run", "dead.toml", "dead-old.toml"]);
}

#[test]
fn a_folder_that_exists_is_refused_before_anything_is_started() {
    let desk = Desk::new();
    desk.write("good.toml", MARKED);
    fs::create_dir(desk.path().join("out")).unwrap();
    fs::write(desk.path().join("out/mine.txt"), "mine").unwrap();
    for arguments in [&["run", "good.toml", "--out", "out"][..], &["run", "good.toml", "--out", "out", "--force"]] {
        let output = desk.rehearsal(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("exists already"));
    }
    assert!(!desk.path().join("started").exists());
    assert_eq!(fs::read_to_string(desk.path().join("out/mine.txt")).unwrap(), "mine");
}

#[test]
fn outcomes_are_compared_again_and_a_run_is_rendered_again() {
    let desk = Desk::new();
    desk.write("rules.toml", &scenario(SAME, &sed(r#"s/"customer":[0-9]*,//"#), ""));
    desk.expect(1, &["run", "rules.toml", "--out", "run"]);
    let (old, new) = ("run/outcomes/old", "run/outcomes/new");
    desk.expect(3, &["compare", old, new, "--rules", "rules.toml"]);
    desk.expect(0, &["compare", old, "run/outcomes/old-again"]);
    let again = ["compare", old, new, "--old-again", "run/outcomes/old-again", "--rules", "rules.toml"];
    let report = desk.expect(1, &[&again[..], &["--json", "--out", "compared"]].concat());
    assert_eq!(serde_json::from_str::<Json>(&report).unwrap()["verdict"], "differ");
    assert!(desk.path().join("compared/report.html").exists());
    assert!(!desk.path().join("target").exists());
    for (format, begins) in [("json", "{"), ("html", "<!"), ("junit", "<?xml"), ("markdown", "#")] {
        let out = desk.expect(0, &["report", "run", "--format", format]);
        assert!(out.to_lowercase().starts_with(begins), "{format}: {}", &out[..out.len().min(60)]);
    }
    assert!(desk.expect(0, &["report", "run"]).contains("$.customer"));
}

#[test]
fn outcomes_compared_again_are_judged_as_the_run_was_by_both_drives_of_new() {
    let desk = Desk::new();
    // Three of sixty: too few to prove by their number, so that new is driven again.
    desk.write("few.toml", &scenario(SAME, &sed(r#"s/"order_id":10[123]}/"more":1,&/"#), ""));
    desk.rehearsal(&["run", "few.toml", "--out", "run"]);
    let run: Json = serde_json::from_str(&fs::read_to_string(desk.path().join("run/run.json")).unwrap()).unwrap();
    assert_eq!(run["patterns"][0]["statistics"]["recurred"], 3, "{}", run["patterns"]);
    let outcomes = ["run/outcomes/old", "run/outcomes/new", "--old-again", "run/outcomes/old-again"];
    let output = desk.rehearsal(&[&["compare", "--rules", "few.toml", "--json"][..], &outcomes].concat());
    let again: Json = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!((&again["verdict"], &again["outputs"]), (&run["verdict"], &run["outputs"]));
    assert_eq!(again["patterns"][0]["statistics"]["recurred"], 3);
}

#[test]
fn several_scenarios_print_one_json_document() {
    let desk = Desk::new();
    for name in ["a.toml", "b.toml"] {
        desk.write(name, &scenario(SAME, SAME, ""));
    }
    let both: Json = serde_json::from_str(&desk.expect(0, &["run", "a.toml", "b.toml", "--json"])).unwrap();
    let names: Vec<&Json> = both.as_array().unwrap().iter().map(|report| &report["scenario"]["name"]).collect();
    assert_eq!(names, [&json!("a"), &json!("b")]);
    let one: Json = serde_json::from_str(&desk.expect(0, &["run", "a.toml", "--json"])).unwrap();
    assert_eq!(one["scenario"]["name"], "a");
}

#[test]
fn outcomes_are_held_against_those_without_redelivery_that_stand_beside_them() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 1.0\nafter = '1s'\n";
    // Old does everything twice, new remembers.
    let old = "command = ['cat']";
    desk.write("twice.toml", &scenario(old, "command = ['awk', '!seen[$0]++']", fault));
    desk.expect(1, &["run", "twice.toml", "--out", "run"]);
    let compare = || {
        let arguments =
            ["compare", "run/outcomes/old", "run/outcomes/new", "--old-again", "run/outcomes/old-again", "--json"];
        let output = desk.rehearsal(&arguments);
        serde_json::from_str::<Json>(&text(&output.stdout)).unwrap()
    };
    let relations = |report: &Json| {
        let relations = report["relations"].as_array().unwrap().iter();
        relations.map(|relation| (relation["name"].clone(), relation["result"].clone())).collect::<Vec<_>>()
    };
    let report = compare();
    assert_eq!(report["idempotency"]["old"]["repeated_effects"], 60);
    assert_eq!(report["idempotency"]["new"]["repeated_effects"], 0);
    assert_eq!(
        relations(&report),
        [(json!("determinism"), json!("kept by old")), (json!("redelivery"), json!("mended by new"))]
    );
    fs::rename(desk.path().join("run/outcomes/old-once"), desk.path().join("elsewhere")).unwrap();
    let report = compare();
    assert_eq!(report["idempotency"], Json::Null);
    assert_eq!(relations(&report)[1], (json!("redelivery"), json!("not judged")));
}

#[test]
fn a_plan_is_shown_and_written_without_starting_anything() {
    let desk = Desk::new();
    desk.write("good.toml", &format!("{MARKED}[[fault]]\nkind = 'duplicate'\nprobability = 1.0\nafter = '1s'\n"));
    let shown = desk.expect(0, &["plan", "good.toml"]);
    assert!(shown.contains("120 deliveries") && shown.contains("5 drives"), "{shown}");
    let plan: Json =
        serde_json::from_str(&desk.expect(0, &["plan", "good.toml", "--json", "--out", "plan.parquet"])).unwrap();
    assert_eq!((&plan["plan"]["deliveries"], &plan["plan"]["redeliveries"]), (&json!(120), &json!(60)));
    assert!(desk.path().join("plan.parquet").exists());
    desk.expect(2, &["plan", "good.toml", "--out", "plan.parquet"]);
    assert!(!desk.path().join("started").exists() && !desk.path().join("target").exists());
}

#[test]
fn a_plan_lists_what_happens_to_requests() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/lost-answers.toml");
    let faults = "fault=[{ kind = 'lost-ack', probability = 0.2, name = 'answers' }, { kind = 'broker-down' }, { kind = 'loading', \
                  name = 'past', at = ['9000h'] }]";
    let desk = Desk::new();
    let shown = desk.expect(0, &["plan", scenario.to_str().unwrap(), "--set", faults]);
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{shown}"));
    for (name, words) in [
        ("answers", &["lost-ack", "class B", "by request", "with each request by a chance of 20%"][..]),
        ("broker-down-1", &["class A", "1 planned", "of the replay, for 5s"]),
        ("past", &["0 planned", "touches nothing: there would be no verdict"]),
    ] {
        assert!(words.iter().all(|word| line(name).contains(word)), "{}", line(name));
    }
    assert!(shown.contains("old-once"), "{shown}");
}

#[test]
fn one_build_is_driven_without_comparing() {
    let desk = Desk::new();
    let arguments = ["replay", "orders", "--out", "outcome", "--json", "--set", "drive.payload=value", "--", "cat"];
    let ending: Json = serde_json::from_str(&desk.expect(0, &arguments)).unwrap();
    assert_eq!((&ending["ending"], &ending["outputs"]), (&json!("finished"), &json!(60)));
    assert!(desk.path().join("outcome/outputs.parquet").exists());
    desk.expect(2, &arguments);
}

#[test]
fn the_first_scenario_of_a_recording_can_be_read_and_names_its_reasons() {
    let desk = Desk::new();
    desk.expect(0, &["init", "orders"]);
    let text = fs::read_to_string(desk.path().join("orders.toml")).unwrap();
    assert!(text.contains("identity = [\"$.order_id\"]") && text.contains("no two share a value"), "{text}");
    let scenario = rehearsal::scenario::Scenario::read(desk.path().join("orders.toml"), &[]).unwrap();
    assert_eq!(scenario.recording().unwrap(), desk.path().join("orders").into());
    desk.expect(2, &["init", "orders"]);
}

#[test]
fn events_are_inspected_and_come_back_as_they_were_imported() {
    let desk = Desk::new();
    let summary: Json = serde_json::from_str(&desk.expect(0, &["inspect", "orders", "--json", "--verify"])).unwrap();
    assert_eq!(summary["summary"]["events"], 60);
    assert!(desk.expect(0, &["inspect", "orders"]).contains("60 events in 2 partitions"));
    let lines = desk.expect(0, &["inspect", "orders", "--events"]);
    assert_eq!(lines.lines().count(), 60);
    desk.write("lines.ndjson", &lines);
    desk.expect(0, &["import", "lines.ndjson", "--out", "copy"]);
    assert_eq!(desk.expect(0, &["inspect", "copy", "--events"]), lines);
    desk.expect(2, &["import", "lines.ndjson", "--out", "copy"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let desk = Desk::new();
    let program = env!("CARGO_BIN_EXE_rehearsal");
    let script = format!("set -o pipefail; '{program}' inspect orders --events 2>err | head -1 >/dev/null; cat err");
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(desk.path()).output().unwrap();
    assert_eq!(text(&output.stdout), "");
    assert!(output.status.success());
}

#[test]
fn the_schema_covers_every_key_of_a_full_scenario() {
    let desk = Desk::new();
    let schema: Json = serde_json::from_str(&desk.expect(0, &["schema"])).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for key in [
        "recording",
        "seed",
        "select",
        "pace",
        "fault",
        "old",
        "new",
        "drive",
        "compare",
        "expected",
        "relations",
        "gates",
        "warnings",
    ] {
        assert!(properties.contains_key(key), "{key}");
        let about = schema["properties"][key]["description"].as_str().unwrap_or_default();
        assert!(!about.is_empty(), "{key} is not described");
    }
    assert_eq!(schema["required"], json!(["recording", "old", "new"]));
}

#[test]
fn sample_builds_are_listed() {
    let desk = Desk::new();
    let list = desk.expect(0, &["sample", "--list"]);
    for sample in rehearsal::samples::samples() {
        assert!(list.contains(sample.name));
    }
    let output = desk.rehearsal(&["sample", "compensation-odl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("compensation-old"));
}

/// Waits until `done` or ten seconds have passed, and says which.
fn wait_for(clock: &dyn Clock, mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..200 {
        if done() {
            return true;
        }
        clock.wait_until(clock.now() + Duration::from_millis(50));
    }
    done()
}

#[cfg(unix)]
#[test]
fn an_interrupt_and_a_terminal_that_closes_end_every_build_and_keep_what_was_written() {
    for signal in ["-INT", "-HUP"] {
        ends_every_build_and_keeps_what_was_written(signal);
    }
}

/// Layers without which builds tell by files in the desk which processes they are: as they are where the system grants no world of
/// their own.
#[cfg(unix)]
const SHARED: &str = "writes,processes";

#[cfg(unix)]
fn ends_every_build_and_keeps_what_was_written(signal: &str) {
    let desk = Desk::new();
    let marked = "command = ['sh', '-c', 'echo $$ >> pids; exec cat']";
    let slow = scenario(marked, marked, "").replace("mode = 'unpaced'", "mode = 'recorded'");
    desk.write("slow.toml", &slow);
    let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .env("REHEARSAL_WITHOUT_LAYERS", SHARED)
        .args(["run", "slow.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let clock = SystemClock::start();
    let pids = || fs::read_to_string(desk.path().join("pids")).unwrap_or_default();
    assert!(wait_for(&clock, || pids().lines().count() == 3), "the builds did not start: {}", pids());
    std::process::Command::new("kill").args([signal, &running.id().to_string()]).status().unwrap();
    let mut message = String::new();
    std::io::Read::read_to_string(running.stderr.as_mut().unwrap(), &mut message).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(4), "{message}");
    assert!(message.contains("stopped"), "{message}");
    let folder = desk.path().join("target/rehearsal/slow/0001");
    assert!(folder.join("plan.parquet").exists() && folder.join("outcomes/old").exists());
    assert!(!folder.join("run.json").exists() && !desk.path().join("target/rehearsal/slow/latest").exists());
    let alive = |pid: &str| std::process::Command::new("kill").args(["-0", pid]).output().unwrap().status.success();
    assert!(wait_for(&clock, || !pids().lines().any(alive)), "a build is still there");
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_ends_every_build_at_once() {
    let desk = Desk::new();
    // Each build has a child in a session of its own, and does not end when it is asked to.
    let script = r#"trap "echo asked >> asked" TERM; echo $$ >> pids; setsid sh -c "echo \$\$ >> pids; exec sleep 1000" & while :; do sleep 1000; done"#;
    // So has the command ahead of it, which ends without it.
    let server = r#"setsid sh -c "echo \$\$ >> pids; exec sleep 1000" &"#;
    let stubborn = format!("command = ['sh', '-c', '{script}']\nprepare = [['sh', '-c', '{server}']]");
    let slow = scenario(&stubborn, &stubborn, "").replace("mode = 'unpaced'", "mode = 'recorded'");
    desk.write("slow.toml", &slow);
    let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .env("REHEARSAL_WITHOUT_LAYERS", SHARED)
        .args(["run", "slow.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let clock = SystemClock::start();
    let lines = |name: &str| fs::read_to_string(desk.path().join(name)).unwrap_or_default();
    let interrupt = || std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(wait_for(&clock, || lines("pids").lines().count() == 9), "the builds did not start: {}", lines("pids"));
    interrupt();
    assert!(wait_for(&clock, || !lines("asked").is_empty()), "no build was asked to end");
    interrupt();
    // A machine so slow that the builds' moment to tidy up passes first stops the run as the first interrupt would.
    let code = running.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 4)), "{code:?}");
    let runs = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    assert!(wait_for(&clock, || !lines("pids").lines().any(runs)), "something is still there");
}

/// Says how a program ended, and ends it where it does not within ten seconds.
fn code_of(running: &mut std::process::Child) -> Option<i32> {
    let clock = SystemClock::start();
    for _ in 0..200 {
        if let Some(status) = running.try_wait().unwrap() {
            return status.code();
        }
        clock.wait_until(clock.now() + Duration::from_millis(50));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    None
}

#[cfg(unix)]
#[test]
fn an_interrupt_while_nothing_is_driven_ends_the_program_at_once() {
    let desk = Desk::new();
    // A report that is written to a pipe without a reader is never written.
    let pipe = "target/rehearsal/pipe/0001/.run.json.part";
    let build = format!("command = ['sh', '-c', 'mkfifo {pipe} 2>/dev/null; echo $$ >> pids; exec cat']");
    desk.write("pipe.toml", &scenario(&build, &build, ""));
    let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .env("REHEARSAL_WITHOUT_LAYERS", SHARED)
        .args(["run", "pipe.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let clock = SystemClock::start();
    let outcomes = desk.path().join("target/rehearsal/pipe/0001/outcomes");
    let ended = || ["old", "old-again", "new"].iter().all(|drive| outcomes.join(drive).join("ending.json").exists());
    assert!(wait_for(&clock, ended), "the drives did not end");
    std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert_eq!(code_of(&mut running), Some(4));
    let mut message = String::new();
    std::io::Read::read_to_string(running.stderr.as_mut().unwrap(), &mut message).unwrap();
    assert!(message.contains("stopped before"), "{message}");
    assert!(outcomes.join("new/outputs.parquet").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_of_an_import_leaves_nothing_and_says_so() {
    let desk = Desk::new();
    let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .args(["import", "-", "--format", "ndjson", "--out", "made"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let clock = SystemClock::start();
    let status = format!("/proc/{}/status", running.id());
    let is_watched = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 2 == 2)
    };
    let entries = || fs::read_dir(desk.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = entries().len();
    assert!(wait_for(&clock, || is_watched() && entries().len() > before), "it did not begin");
    let mut input = running.stdin.take().unwrap();
    std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    let lines = "{\"topic\":\"t\",\"value\":{\"n\":1}}\n".repeat(1_000);
    let ended = wait_for(&clock, || std::io::Write::write_all(&mut input, lines.as_bytes()).is_err());
    assert!(ended, "it went on");
    assert_eq!(code_of(&mut running), Some(4));
    let mut message = String::new();
    std::io::Read::read_to_string(running.stderr.as_mut().unwrap(), &mut message).unwrap();
    assert!(message.contains("stopped before all was imported; nothing is left of it"), "{message}");
    assert_eq!(entries().len(), before, "{:?}", entries());
}

#[test]
fn what_came_from_the_environment_is_named_in_the_report_and_never_shown() {
    let desk = Desk::new();
    let command = "command = ['sh', '-c', 'cat; echo ${REHEARSAL_TOKEN} >&2']\nenv = { TOKEN = '${REHEARSAL_TOKEN}' }";
    desk.write("secret.toml", &scenario(command, command, ""));
    let mut run = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    run.current_dir(desk.path()).env("REHEARSAL_TOKEN", "s3cret-token").args(["run", "secret.toml"]);
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("s3cret-token"));
    let folder = desk.path().join("target/rehearsal/secret/0001");
    for file in ["run.json", "report.html", "junit.xml", "summary.md"] {
        let written = fs::read_to_string(folder.join(file)).unwrap();
        assert!(!written.contains("s3cret-token"), "{file} shows the secret");
    }
    let report: Json = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert!(report["builds"]["old"]["command"][2].as_str().unwrap().contains("${REHEARSAL_TOKEN}"));
    assert!(report["builds"]["old"]["env_names"].as_array().unwrap().contains(&json!("TOKEN")));
}

#[test]
fn a_fault_log_brings_back_exactly_the_faults_of_an_earlier_run() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.3\nafter = '1s'\n";
    desk.write("twice.toml", &scenario(SAME, SAME, fault));
    let first: Json =
        serde_json::from_str(&desk.expect(0, &["run", "twice.toml", "--json", "--out", "first"])).unwrap();
    let again = ["run", "twice.toml", "--json", "--seed", "99", "--faults", "first/faults.ndjson", "--out", "second"];
    let second: Json = serde_json::from_str(&desk.expect(0, &again)).unwrap();
    assert_eq!(first["faults"][0]["planned"], second["faults"][0]["planned"]);
    let logs = ["first", "second"].map(|run| fs::read(desk.path().join(run).join("faults.ndjson")).unwrap());
    assert!(!logs[0].is_empty() && logs[0] == logs[1]);
}

#[test]
fn an_advisory_run_of_several_scenarios_hides_verdicts_and_no_errors() {
    let desk = Desk::new();
    desk.write("a.toml", &scenario(SAME, &sed(r#"s/"customer":[0-9]*,//"#), ""));
    // Values with a line break that are no JSON cannot be handed over as bare lines: that drive cannot take place.
    let mut writer = RecordingWriter::create(desk.path().join("texts"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    batch.push_event(&Event { value: Some(b"two\nlines".to_vec()), ..order(0, 0) });
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    desk.write("b.toml", &scenario(SAME, SAME, "").replace("'orders'", "'texts'"));
    desk.expect(0, &["run", "a.toml", "--exit-zero"]);
    let alone = desk.rehearsal(&["run", "b.toml", "--exit-zero"]).status.code();
    assert_eq!(alone, Some(2));
    assert_eq!(desk.rehearsal(&["run", "a.toml", "b.toml", "--exit-zero"]).status.code(), alone);
}

/// Copies a recording of one segment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for file in ["manifest.json", "segments/000000.parquet"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn a_recording_without_a_sealed_manifest_is_made_whole_where_it_is_asked_for() {
    let desk = Desk::new();
    let (unsealed, lost) = (desk.path().join("unsealed"), desk.path().join("lost"));
    copy(&desk.path().join("orders"), &unsealed);
    copy(&desk.path().join("orders"), &lost);
    let manifest = fs::read_to_string(unsealed.join("manifest.json")).unwrap();
    fs::write(unsealed.join("manifest.json"), manifest.replace("\"sealed\": true", "\"sealed\": false")).unwrap();
    fs::remove_file(lost.join("manifest.json")).unwrap();
    for name in ["unsealed", "lost"] {
        let refused = desk.rehearsal(&["inspect", name]);
        assert_eq!(refused.status.code(), Some(2));
        let message = text(&refused.stderr);
        assert!(message.contains(&format!("rehearsal inspect {name} --rebuild")), "{message}");
        // Told in JSON where that is asked for.
        let refused = desk.rehearsal(&["inspect", name, "--json"]);
        let line: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert_eq!((&line["event"], &line["exit"]), (&"error".into(), &2.into()));
        assert!(line["hint"].as_str().unwrap().contains("--rebuild"), "{line}");
        desk.write("cut.toml", &scenario(SAME, SAME, "").replace("'orders'", &format!("'{name}'")));
        let message = text(&desk.rehearsal(&["run", "cut.toml"]).stderr);
        assert!(message.contains("--rebuild"), "{message}");
        let (code, shown) = {
            let output = desk.rehearsal(&["inspect", name, "--rebuild", "--verify"]);
            assert!(text(&output.stderr).contains("again from 1 segment."), "{}", text(&output.stderr));
            (output.status.code(), text(&output.stdout))
        };
        assert_eq!(code, Some(0));
        assert!(shown.contains("60 events in 2 partitions") && shown.contains("every hash verified"), "{shown}");
    }
    // What is whole stays as it is, and what is no recording does not become one.
    let before = fs::read(desk.path().join("orders/manifest.json")).unwrap();
    desk.expect(0, &["inspect", "orders", "--rebuild"]);
    assert_eq!(fs::read(desk.path().join("orders/manifest.json")).unwrap(), before);
    fs::create_dir(desk.path().join("empty")).unwrap();
    desk.expect(2, &["inspect", "empty", "--rebuild"]);
    assert!(!desk.path().join("empty/manifest.json").exists());
}

#[test]
fn topics_are_captured_while_they_fill_and_inspected_afterwards() {
    let desk = Desk::new();
    let orders = Recording::open(desk.path().join("orders")).unwrap();
    let broker = Broker::start([("orders", 2)]).unwrap();
    let capture = ["capture", "--brokers", broker.brokers(), "--topic", "orders", "--until", "count:60"];
    let running = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .args([&capture[..], &["--out", "captured", "--json"]].concat())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(fill(broker.brokers(), &orders, &mut |_| {}).unwrap(), 60);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let last = text(&output.stdout).lines().last().map(str::to_owned).unwrap();
    assert_eq!(serde_json::from_str::<Json>(&last).unwrap()["events"], 60);
    let summary: Json = serde_json::from_str(&desk.expect(0, &["inspect", "captured", "--json", "--verify"])).unwrap();
    assert_eq!(summary["summary"]["events"], 60);
    let events =
        |name| desk.expect(0, &["inspect", name, "--events"]).lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(events("captured"), events("orders"));
}

#[test]
fn a_capture_that_cannot_take_place_says_what_to_do() {
    let desk = Desk::new();
    let broker = Broker::start([("orders", 2)]).unwrap();
    let capture = |topic: &str, out: &str, more: &[&str]| {
        let arguments = ["capture", "--brokers", broker.brokers(), "--topic", topic, "--out", out];
        let output = desk.rehearsal(&[&arguments[..], more].concat());
        (output.status.code(), text(&output.stderr))
    };
    let (code, message) = capture("order", "captured", &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("topic `order` does not exist") && message.contains("Is the name right"), "{message}");
    assert!(!desk.path().join("captured").exists());
    // A recording that is there is the user's to move, and another try would not help.
    let (code, message) = capture("orders", "orders", &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("orders") && message.contains("--out"), "{message}");
    let (code, message) = capture("orders", "captured", &["--until", "soon"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("--until") && message.contains("count:100"), "{message}");
}

#[test]
fn the_example_of_the_first_help_page_can_be_run_where_it_stands() {
    let desk = Desk::new();
    let help = desk.expect(0, &["--help"]);
    let named: Vec<&str> = help.split_whitespace().filter(|word| word.contains(".toml")).collect();
    assert!(!named.is_empty(), "{help}");
    for file in named {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).is_file(), "there is no {file}");
    }
}

#[test]
fn what_is_no_scenario_is_refused_with_what_to_name_instead() {
    let desk = Desk::new();
    fs::write(desk.path().join("binary.toml"), [0xff, 0xfe, 0x00, 0x9f]).unwrap();
    fs::create_dir(desk.path().join("folder")).unwrap();
    for (arguments, expected) in [
        (["run", "binary.toml"], "UTF-8"),
        (["run", "nowhere.toml"], "rehearsal init"),
        (["plan", "folder"], "one scenario"),
        (["run", "folder"], ".toml"),
    ] {
        let output = desk.rehearsal(&arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(arguments[1]) && message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn a_message_shows_paths_as_a_person_writes_them_and_types_by_their_names() {
    let desk = Desk::new();
    desk.refuse(&MARKED.replace("'orders'", "'./nowhere'"), &["error: ./nowhere is no recording"]);
    desk.refuse(&MARKED.replace("'orders'", "'nowhere'"), &["error: nowhere is no recording"]);
    desk.write("events.ndjson", "{}");
    desk.refuse(&MARKED.replace("'orders'", "'events.ndjson'"), &["error: events.ndjson is", "rehearsal import"]);
    desk.refuse(&format!("seed = 99999999999999999999999\n{MARKED}"), &["bad.toml:1:8", "too large", "smaller"]);
    desk.refuse(&MARKED.replace("['cat']", "'cat'"), &["where a list is expected", "Write a list"]);
    desk.refuse(&format!("recording = 'orders'\n{MARKED}"), &["duplicate key", "Keep one"]);
    desk.refuse(&format!("{MARKED}[drive]\nrepeat-old = 4000000000\n"), &["bad.toml:7:14", "repeat", "from 0 to"]);
    let tolerance = "[compare]\ntolerance = [{ path = '$.amount', absolute = -1 }]\n";
    desk.refuse(&format!("{MARKED}{tolerance}"), &["-1 is no positive number", "absolute = 0.005"]);
}

#[test]
fn a_scenario_of_one_endless_line_is_refused_in_few_words() {
    let desk = Desk::new();
    desk.write("deep.toml", &format!("x = {}", "[".repeat(100_000)));
    let output = desk.rehearsal(&["run", "deep.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("deep.toml:1:") && message.len() < 4_000, "{} bytes: {message:.400}", message.len());
}

#[test]
fn what_cannot_be_imported_names_the_option_that_helps() {
    let desk = Desk::new();
    desk.write("orders.csv", "order,amount\n1,3.5\n");
    fs::write(desk.path().join("bytes"), [0xff, 0xfe, 0x00, b'\n']).unwrap();
    for (arguments, expected) in [
        (["import", "orders.csv", "--out", "new"], "--key-column"),
        (["import", "bytes", "--out", "new"], "--format"),
        (["import", "orders.csv", "--out", "orders"], "--"),
    ] {
        let output = desk.rehearsal(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    desk.write("orders.ndjson", "{\"topic\":\"orders\",\"key\":\"a\",\"value\":1}\n");
    let message = text(&desk.rehearsal(&["import", "orders.ndjson", "--out", "orders"]).stderr);
    assert!(message.contains("--out"), "{message}");
}

#[test]
fn a_report_rendered_as_json_is_the_file_as_it_stands() {
    let desk = Desk::new();
    desk.write("changed.toml", &scenario(SAME, &sed(r#"/"customer":3,/s/"amount":/"amount":1/"#), ""));
    desk.expect(1, &["run", "changed.toml", "--out", "run"]);
    let path = desk.path().join("run/run.json");
    let before = fs::read_to_string(&path).unwrap();
    let at = before.find("\"p_value\": ").unwrap();
    let end = at + before[at..].find(',').unwrap();
    // Read and written again, this number ends in another digit.
    let written = format!("{}\"p_value\": 4.643185230328424e-25{}", &before[..at], &before[end..]);
    fs::write(&path, &written).unwrap();
    assert!(desk.expect(0, &["report", "run", "--format", "json"]) == written);
}

#[test]
fn a_build_that_writes_nothing_is_said_to_and_the_report_cuts_no_word_of_its_own() {
    let desk = Desk::new();
    let silent = "command = ['sh', '-c', 'cat >/dev/null']";
    desk.write("silent.toml", &scenario(SAME, silent, ""));
    let shown = desk.expect(1, &["run", "silent.toml"]);
    assert!(shown.contains("new wrote nothing") && !shown.contains("check the identity"), "{shown}");
    let stuck = "command = ['sh', '-c', 'exec 0<&-; exec sleep 600']";
    desk.write(
        "stuck.toml",
        &scenario(SAME, stuck, "[[fault]]\nkind='duplicate'\nprobability=1.0\n")
            .replace("settle = '50ms'", "settle = '50ms'\ndrain-timeout = '300ms'"),
    );
    let shown = desk.expect(1, &["run", "stuck.toml"]);
    assert!(shown.contains(" stopped-reading ") && !shown.contains("stopped-readi…"), "{shown}");
}

#[test]
fn a_sample_is_handed_what_every_build_is_and_says_so() {
    let desk = Desk::new();
    let sample = |input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.args(["sample", "compensation-old"]).write_stdin(input).output().unwrap()
    };
    let output = sample(&desk.expect(0, &["inspect", "orders", "--events"]));
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("timestamp_ms") && !message.contains("inspect --events"), "{message}");
    let message = text(&desk.rehearsal(&["sample", "nothing-like-it"]).stderr);
    assert!(!message.contains("Did you mean") && message.contains("--list"), "{message}");
}

#[test]
fn what_is_wrong_with_the_one_build_of_a_replay_is_said_once() {
    let desk = Desk::new();
    let output = desk.rehearsal(&["replay", "orders", "--out", "outcome", "--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr).matches("error: ").count(), 1, "{}", text(&output.stderr));
    assert!(!desk.path().join("outcome").exists());
}

#[test]
fn what_is_no_outcome_is_refused_with_what_to_name_instead() {
    let desk = Desk::new();
    let output = desk.rehearsal(&["compare", "nowhere", "orders"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("outcomes/old"), "{}", text(&output.stderr));
}

#[test]
fn brokers_without_a_name_are_refused_before_anybody_is_asked() {
    let desk = Desk::new();
    for (brokers, topic) in [("", "orders"), ("127.0.0.1:9", "")] {
        let output = desk.rehearsal(&["capture", "--brokers", brokers, "--topic", topic, "--out", "captured"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_finds_no_room_says_where_it_was_to_go() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    for arguments in [
        &["run", "same.toml"][..],
        &["schema"],
        &["--help"],
        &["inspect", "orders"],
        &["inspect", "orders", "--events"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        let output = command.current_dir(desk.path()).args(arguments).stdout(full).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {message}");
        assert!(message.contains("standard output") && message.contains("No space left"), "{arguments:?}: {message}");
    }
}

#[test]
fn a_run_is_found_by_every_name_that_a_person_has_for_it() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    desk.expect(0, &["run", "same.toml"]);
    // As the demo leaves it.
    desk.expect(0, &["run", "same.toml", "--out", "demo/0001/run"]);
    std::os::unix::fs::symlink("0001", desk.path().join("demo/latest")).unwrap();
    let run = "target/rehearsal/same";
    let names = [run, "target/rehearsal/same/latest", "target/rehearsal/same/0001/run.json", "demo", "demo/latest"];
    for name in names.into_iter().chain(["demo/latest/run", "target/rehearsal/same/latest/report.html"]) {
        let shown = desk.expect(0, &["report", name]);
        assert!(shown.contains("AGREE") && shown.contains("/report.html"), "{name}: {shown}");
    }
    let report: Json = serde_json::from_str(&desk.expect(0, &["compare", run, "demo", "--json"])).unwrap();
    let reproduce = report["reproduce"].as_str().unwrap();
    let (old, new) = ("target/rehearsal/same/latest/outcomes/old", "demo/latest/run/outcomes/new");
    assert!(reproduce.contains(&format!("{old} {new} --old-again {old}-again")), "{reproduce}");
    assert_eq!(report["outputs"], json!({ "old": 60, "old_again": 60, "new": 60 }));
}

#[test]
fn what_is_no_run_is_refused_with_what_it_is_instead() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    fs::create_dir_all(desk.path().join("stopped/outcomes/old")).unwrap();
    for (name, expected) in [
        ("nowhere", "nowhere does not exist"),
        ("orders", "orders holds no run"),
        ("stopped", "no run.json: the run was stopped"),
        ("same.toml", "same.toml cannot be rendered"),
    ] {
        let output = desk.rehearsal(&["report", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let message = text(&output.stderr);
        assert!(message.contains(expected) && message.contains("run.json"), "{name}: {message}");
    }
}

#[test]
fn a_capture_looks_where_it_is_to_write_before_it_asks_a_cluster() {
    let desk = Desk::new();
    // Nobody listens there.
    let output = desk.rehearsal(&["capture", "--brokers", "127.0.0.1:1", "--topic", "orders", "--out", "orders"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("orders is a recording that is sealed"), "{}", text(&output.stderr));
}

#[test]
fn what_out_names_is_written_whole_into_folders_that_are_made_and_never_over_a_file() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    desk.expect(0, &["run", "same.toml", "--out", "run"]);
    for arguments in [
        &["plan", "same.toml", "--out", "new/plan"][..],
        &["report", "run", "--out", "new/report"],
        &["init", "orders", "--out", "new/init"],
    ] {
        desk.expect(0, arguments);
        let path = desk.path().join(arguments[arguments.len() - 1]);
        let written = fs::read(&path).unwrap();
        assert!(!written.is_empty());
        let output = desk.rehearsal(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("exists already") && fs::read(&path).unwrap() == written);
    }
    let mut left: Vec<_> =
        fs::read_dir(desk.path().join("new")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["init", "plan", "report"]);
}

#[test]
fn an_override_is_blamed_for_what_it_sets_and_not_the_file() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    for (set, expected) in [
        ("old.command=['no-such-build']", "no-such-build"),
        ("old.command[0]=no-such-build", "no-such-build"),
        ("fault[0].kind=drop", "no element `0` in `fault`, which is not there"),
        ("recording=", "no recording is named"),
        ("select.from=2013-01-05", "is no date"),
    ] {
        let output = desk.rehearsal(&["plan", "same.toml", "--set", set]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{set}: {message}");
        assert!(message.contains(expected) && message.contains(&format!("--> --set {set}")), "{set}: {message}");
    }
    // A date needs no quotes, in a file as little as behind `--set`.
    let plan = ["plan", "same.toml", "--json", "--set", "select.from=2023-11-14T22:13:40Z"];
    let plan: Json = serde_json::from_str(&desk.expect(0, &plan)).unwrap();
    assert_eq!(plan["plan"]["events"], 20);
}

#[test]
fn a_fault_log_that_cannot_be_used_is_named_with_what_to_name_instead() {
    let desk = Desk::new();
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.3\nafter = '1s'\n";
    desk.write("twice.toml", &scenario(SAME, SAME, fault));
    desk.write(
        "other.log",
        "{\"fault\":\"other\",\"kind\":\"drop\",\"topic\":\"orders\",\"partition\":0,\"offset\":1}\n",
    );
    desk.write("cut.log", "{\"fault\":\"dup");
    for (log, expected) in
        [("nowhere.log", "No such file"), ("cut.log", "line 1"), ("other.log", "`other`"), ("orders", "directory")]
    {
        let output = desk.rehearsal(&["run", "twice.toml", "--faults", log]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{log}: {message}");
        for expected in [log, expected, "faults.ndjson"] {
            assert!(message.contains(expected), "{log} lacks {expected}: {message}");
        }
        assert!(!desk.path().join("target").exists());
    }
}

#[test]
fn no_bad_recording_is_run_and_each_is_refused_with_what_to_do() {
    let desk = Desk::new();
    desk.write("same.toml", &scenario(SAME, SAME, ""));
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/bad");
    let mut count = 0;
    for entry in fs::read_dir(&bad).unwrap() {
        let recording = entry.unwrap().path();
        let recording = recording.to_str().unwrap();
        let output = desk.rehearsal(&["run", "same.toml", "--set", &format!("recording={recording}")]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{recording}: {message}");
        assert!(message.contains(recording), "{recording}: {message}");
        assert!(!desk.path().join("target").exists(), "{recording} was run");
        let output = desk.rehearsal(&["inspect", recording, "--verify"]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{recording}: {message}");
        assert!(message.contains(recording) && message.contains("\n  = "), "{recording}: {message}");
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn a_damaged_manifest_is_kept_beside_the_one_that_is_made_of_the_segments() {
    let desk = Desk::new();
    copy(&desk.path().join("orders"), &desk.path().join("cut"));
    let file = desk.path().join("cut/manifest.json");
    let half = fs::read(&file).unwrap()[..100].to_vec();
    fs::write(&file, &half).unwrap();
    let message = text(&desk.rehearsal(&["inspect", "cut"]).stderr);
    assert!(message.contains("rehearsal inspect cut --rebuild"), "{message}");
    assert!(desk.expect(0, &["inspect", "cut", "--rebuild", "--verify"]).contains("60 events in 2 partitions"));
    assert_eq!(fs::read(desk.path().join("cut/manifest.json.cut")).unwrap(), half);
}

#[test]
fn a_file_where_a_recording_is_wanted_is_refused_with_the_command_that_makes_one() {
    let desk = Desk::new();
    desk.write("orders.ndjson", "{}");
    let message = text(&desk.rehearsal(&["inspect", "orders.ndjson"]).stderr);
    assert!(message.contains("rehearsal import orders.ndjson --out"), "{message}");
}

#[test]
fn a_build_runs_in_the_folder_of_the_command_line_and_what_is_neither_that_nor_a_revision_is_refused() {
    let desk = Desk::new();
    desk.write("build", "#!/bin/sh\nexec cat\n");
    fs::create_dir(desk.path().join("other")).unwrap();
    desk.write("other/build", "#!/bin/sh\nexec sed -u 's/\"amount\":/\"amount\":1/'\n");
    let build = "command = ['sh', './build']";
    desk.write("same.toml", &scenario(build, build, ""));
    desk.expect(0, &["run", "same.toml"]);
    desk.expect(1, &["run", "same.toml", "--new", "other"]);
    desk.expect(0, &["run", "same.toml", "--old", "other", "--new", "other"]);
    let output = desk.rehearsal(&["run", "same.toml", "--old", "HEAD~1"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("old.git") && message.contains("in no git repository"), "{message}");
    let output = desk.rehearsal(&["run", "same.toml", "--new", "./nowhere"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("--new: there is no folder ./nowhere"), "{message}");
}
