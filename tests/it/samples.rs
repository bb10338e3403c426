//! The scenarios of the repository: what is planted in each new build, how exactly it is found, and that nothing else is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use rehearsal::recording::{Recording, same_events};
use rehearsal::samples::sample;
use rehearsal::scenario::scenarios_in;
use serde_json::{Value as Json, json};

/// A scenario with the faults planted in its new build.
struct Planted {
    scenario: &'static str,
    faults: &'static [Fault],
}

/// A line of a new build that went wrong.
struct Fault {
    /// Flag that mends it.
    flag: &'static str,
    /// What it does to the outputs: kind, topic, path and change, and how often.
    patterns: &'static [(&'static str, u64)],
}

const COMPENSATION: Planted = Planted {
    scenario: "compensation",
    faults: &[
        Fault { flag: "remember", patterns: &[("repeated payouts - exact", 153)] },
        Fault { flag: "round-premium", patterns: &[("changed payouts $.amount value", 127)] },
    ],
};

const DELAY_BOARD: Planted = Planted {
    scenario: "delay-board",
    faults: &[
        Fault {
            flag: "hourly",
            patterns: &[
                ("extra delay-board - -", 2_665),
                ("missing delay-board - -", 141),
                ("changed delay-board $.window_minutes value", 251),
                ("changed delay-board $.departures value", 250),
                ("changed delay-board $.average_delay_minutes value", 247),
                ("final-state delay-board - -", 3),
            ],
        },
        Fault { flag: "correct-at-once", patterns: &[("later corrections - -", 367)] },
        Fault { flag: "keep-boundary", patterns: &[("missing corrections - -", 172)] },
    ],
};

const ALERTS: Planted = Planted {
    scenario: "alerts",
    faults: &[
        Fault { flag: "in-order", patterns: &[("reordered alerts - -", 11), ("final-state alerts - -", 11)] },
        Fault { flag: "empty-batch", patterns: &[("repeated alerts - exact", 37)] },
    ],
};

const REFUNDS: Planted = Planted {
    scenario: "refunds",
    faults: &[
        Fault { flag: "remember", patterns: &[("repeated refunds - exact", 57)] },
        Fault { flag: "round", patterns: &[("changed refunds $.amount value", 149)] },
    ],
};

const PAYMENTS: Planted = Planted {
    scenario: "payments",
    faults: &[
        Fault { flag: "remember", patterns: &[("effect bank - exact", 53)] },
        Fault { flag: "round", patterns: &[("effect bank $.body.amount value", 149)] },
    ],
};

/// Nobody waits for the schedule: the outputs are the same, only sooner.
const UNPACED: &str = "pace.mode=unpaced";

impl Planted {
    /// Runs the scenario with some settings changed and returns `run.json`, after checking that the verdict fits the exit code.
    fn run(&self, settings: &[&str]) -> Json {
        let folder = tempfile::tempdir().unwrap();
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(self.scenario);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.current_dir(&folder).arg("run").arg(scenario.with_extension("toml")).arg("--json");
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let run: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{errors}"));
        let code = match run["verdict"].as_str() {
            Some("agree") => 0,
            Some("differ") => 1,
            verdict => panic!("{verdict:?}: {}\n{errors}", run["reasons"]),
        };
        assert_eq!(output.status.code(), Some(code), "{errors}");
        run
    }

    /// What is to be found where some faults are mended.
    fn without(&self, mended: &[&str]) -> BTreeMap<String, u64> {
        let left = self.faults.iter().filter(|fault| !mended.contains(&fault.flag));
        left.flat_map(|fault| fault.patterns).map(|(signature, count)| ((*signature).to_owned(), *count)).collect()
    }

    /// Runs the scenario with each fault mended alone, and with all mended, and checks that what they did is gone and all else
    /// is there as often as it was. Returns the runs.
    fn mend(&self, settings: &[&str]) -> Vec<Json> {
        let flags: Vec<_> = self.faults.iter().map(|fault| fault.flag).collect();
        let run = |mended: &[&str]| {
            let flags: Vec<_> = mended.iter().map(|flag| format!("new.flags.{flag}=true")).collect();
            let settings: Vec<_> = settings.iter().copied().chain(flags.iter().map(String::as_str)).collect();
            let run = self.run(&settings);
            assert_eq!(found(&run), self.without(mended), "{}: {settings:?}", self.scenario);
            run
        };
        flags.chunks(1).chain([&flags[..]]).map(run).collect()
    }

    /// Runs the scenario with old in place of new and checks that the two agree.
    fn agree_with_itself(&self, settings: &[&str]) {
        let old = format!("new.command=[\"{{rehearsal}}\", \"sample\", \"{}-old\"]", self.scenario);
        let settings: Vec<_> = settings.iter().copied().chain([old.as_str()]).collect();
        let run = self.run(&settings);
        assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), BTreeMap::new()));
        assert_eq!((&run["differences"], &run["noise"]), (&json!({}), &json!({})));
        assert!(run["outputs"]["old"].as_u64() > Some(100) && run["outputs"]["new"] == run["outputs"]["old"]);
    }
}

/// Returns the patterns of a run that are more than information, and checks that each is proven and shows an example.
fn found(run: &Json) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for pattern in run["patterns"].as_array().unwrap().iter().filter(|pattern| pattern["information"] != true) {
        let word = |name: &str| pattern[name].as_str().unwrap_or("-");
        let signature = format!("{} {} {} {}", word("kind"), word("topic"), word("path"), word("change"));
        assert_eq!((word("standing"), &pattern["noise_count"]), ("proven", &json!(0)), "{signature}");
        assert!(!pattern["first"].is_null() && !pattern["examples"].as_array().unwrap().is_empty(), "{signature}");
        assert_eq!(found.insert(signature, pattern["count"].as_u64().unwrap()), None);
    }
    found
}

fn repeated_effects(run: &Json) -> [Option<u64>; 2] {
    ["old", "new"].map(|build| run["idempotency"][build]["repeated_effects"].as_u64())
}

// ---- compensation: also what the demo shows ----

#[test]
fn compensation_is_paid_twice_and_rounded_otherwise() {
    let run = COMPENSATION.run(&[UNPACED]);
    assert_eq!(found(&run), COMPENSATION.without(&[]));
    assert_eq!(repeated_effects(&run), [Some(0), Some(153)]);
    assert_eq!(run["idempotency"]["increase"], "proven");
}

#[test]
fn a_mended_line_of_compensation_takes_its_pattern_along() {
    let runs = COMPENSATION.mend(&[UNPACED]);
    let repeated: Vec<_> = runs.iter().map(repeated_effects).collect();
    assert_eq!(repeated, [[Some(0), Some(0)], [Some(0), Some(153)], [Some(0), Some(0)]]);
}

#[test]
fn old_compensation_agrees_with_itself() {
    COMPENSATION.agree_with_itself(&[UNPACED]);
}

#[test]
fn the_demo_captures_every_flight_and_finds_what_is_planted_in_compensation() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_rehearsal")).current_dir(&folder).args(["demo", "--json"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let demo = folder.path().join("target/rehearsal/demo/0001");
    let flights = Recording::open(demo.join("flights")).unwrap();
    let captured = Recording::open(demo.join("captured")).unwrap();
    assert_eq!(same_events(&flights, &captured).unwrap(), None);
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    let kept: Json = serde_json::from_slice(&fs::read(demo.join("run/run.json")).unwrap()).unwrap();
    assert_eq!(told, kept);
    assert_eq!(found(&kept), COMPENSATION.without(&[]));
    assert!(fs::read_to_string(demo.join("run/report.html")).unwrap().starts_with("<!doctype html>"));
}

// ---- delay-board ----

#[test]
fn the_delay_board_writes_more_and_later_and_drops_what_comes_at_the_boundary() {
    let run = DELAY_BOARD.run(&[]);
    assert_eq!(found(&run), DELAY_BOARD.without(&[]));
    let count = |build: &str| run["outputs"][build].as_u64().unwrap();
    assert!(count("new") > 3 * count("old"));
}

#[test]
fn a_mended_line_of_the_delay_board_takes_its_patterns_along() {
    DELAY_BOARD.mend(&[UNPACED]);
}

#[test]
fn the_old_delay_board_agrees_with_itself() {
    DELAY_BOARD.agree_with_itself(&[UNPACED]);
}

// ---- alerts ----

#[test]
fn alerts_overtake_each_other_and_go_out_twice() {
    assert_eq!(found(&ALERTS.run(&[])), ALERTS.without(&[]));
}

#[test]
fn a_mended_line_of_alerts_takes_its_patterns_along() {
    ALERTS.mend(&[]);
}

#[test]
fn old_alerts_agree_with_themselves() {
    ALERTS.agree_with_itself(&[]);
}

#[test]
fn alerts_go_wrong_only_where_partitions_catch_up_in_bursts() {
    let short = ["fault.0.length=1ms"];
    assert_eq!(found(&ALERTS.run(&short)), BTreeMap::new());
}

// ---- refunds: builds that read and write Kafka ----

#[test]
fn refunds_are_paid_twice_once_the_group_is_set_back() {
    let run = REFUNDS.run(&[]);
    // What is paid twice and wrong is wrong in the end, too.
    let mut planted = REFUNDS.without(&[]);
    planted.insert("final-state refunds $.amount value".to_owned(), 32);
    assert_eq!(found(&run), planted);
    assert_eq!(repeated_effects(&run), [Some(0), Some(57)]);
    assert_eq!(run["idempotency"]["increase"], "proven");
    // Each drive was handed what was planned, and set back as often.
    for drive in run["drives"].as_array().unwrap() {
        assert_eq!((drive["ending"].as_str(), &drive["sent"]), (Some("finished"), &drive["deliveries"]), "{drive}");
    }
    assert_eq!((&run["faults"][0]["planned"], &run["faults"][0]["fired"]), (&json!(4), &json!(4)));
    assert_eq!(run["idempotency"]["new"]["redelivered"], 1_490);
}

#[test]
fn refunds_that_remember_and_round_agree_with_old() {
    let mended = ["new.flags.remember=true", "new.flags.round=true"];
    for settings in
        [&[UNPACED, mended[0], mended[1]][..], &[UNPACED, "new.command=[\"{rehearsal}\", \"sample\", \"refunds-old\"]"]]
    {
        let run = REFUNDS.run(settings);
        // Partitions are read in an order of their own in each drive, so refunds of different flights change places.
        assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), BTreeMap::new()));
        assert_eq!((&run["outputs"]["old"], &run["outputs"]["new"]), (&json!(261), &json!(261)));
    }
    assert_eq!(found(&REFUNDS.run(&[UNPACED, mended[1]])), REFUNDS.without(&["round"]));
}

// ---- payments: builds that call a bank ----

#[test]
fn a_bank_would_pay_twice_and_the_report_says_so_in_its_words() {
    let run = PAYMENTS.run(&[UNPACED]);
    // What is paid twice and wrong is wrong in the end, too.
    let mut planted = PAYMENTS.without(&[]);
    planted.insert("final-state bank $.body.amount value".to_owned(), 33);
    assert_eq!(found(&run), planted);
    assert_eq!((repeated_effects(&run), &run["idempotency"]["increase"]), ([Some(0), Some(53)], &json!("proven")));
    assert_eq!(run["idempotency"]["new"]["effects"], json!({ "bank": { "identities": 53, "calls": 53 } }));
    let bank = &run["effects"][0];
    assert_eq!(bank["repeats"], "new would have paid 53 flights back twice, old none");
    assert_eq!((&bank["drives"]["old"]["calls"], &bank["drives"]["new"]["calls"]), (&json!(261), &json!(314)));
}

#[test]
fn a_mended_line_of_payments_takes_its_pattern_along() {
    PAYMENTS.mend(&[UNPACED]);
}

#[test]
fn old_payments_agree_with_themselves() {
    PAYMENTS.agree_with_itself(&[UNPACED]);
}

// ---- refunds under faults at requests: the same build bears them or not, by one setting ----

const LOST_ANSWERS: Planted = Planted { scenario: "lost-answers", faults: &[] };

const OLD_AS_NEW: &str = "new.command=[\"{rehearsal}\", \"sample\", \"refunds-old\"]";

/// What each drive's faults at requests came to: every drive has some, and the drives without redelivery have none of those that
/// redeliver.
fn fired(run: &Json) -> Vec<&str> {
    let drives = run["faults"][0]["requests"]["drives"].as_object().unwrap();
    assert!(drives.values().all(|fired| fired["instances"].as_u64() > Some(0)), "{drives:?}");
    drives.keys().map(String::as_str).filter(|drive| *drive != "new-again").collect()
}

fn count_of(run: &Json, kind: &str) -> u64 {
    run["differences"][kind].as_u64().unwrap_or(0)
}

#[test]
fn refunds_are_paid_twice_where_answers_are_lost_unless_the_producer_numbers_its_batches() {
    let run = LOST_ANSWERS.run(&[]);
    assert_eq!((run["verdict"].as_str(), fired(&run)), (Some("differ"), vec!["new", "old", "old-again"]));
    let [old, new] = repeated_effects(&run);
    assert!(old == Some(0) && new > Some(0) && count_of(&run, "repeated") > 0, "{run:#}");
    assert!(run["idempotency"]["new"]["provoked"].as_u64() > Some(0) && run["idempotency"]["new"]["redelivered"] == 0);
    let run = LOST_ANSWERS.run(&["new.flags.idempotence=true"]);
    assert_eq!((run["verdict"].as_str(), fired(&run)), (Some("agree"), vec!["new", "old", "old-again"]));
    assert_eq!((found(&run), repeated_effects(&run)), (BTreeMap::new(), [Some(0), Some(0)]));
}

#[test]
fn refunds_are_paid_once_wherever_another_member_joins() {
    // What was dealt with is committed by whoever is a member then: nothing is left for others to read again.
    let run = REFUNDS.run(&["fault=[{ kind = 'rebalance', period = '400ms', length = '50ms' }]", OLD_AS_NEW]);
    assert_eq!((run["verdict"].as_str(), repeated_effects(&run)), (Some("agree"), [Some(0), Some(0)]));
    assert_eq!(fired(&run), ["new", "old", "old-again"]);
}

#[test]
fn refunds_are_lost_with_their_connections_unless_the_producer_tries_again() {
    let fault = "fault=[{ kind = 'disconnect', probability = 0.6, requests = ['Produce'] }]";
    let run = REFUNDS.run(&[fault, OLD_AS_NEW, "new.flags.retries=false"]);
    assert_eq!((run["verdict"].as_str(), fired(&run)), (Some("differ"), vec!["new", "old", "old-again"]));
    assert!(count_of(&run, "missing") > 0 && count_of(&run, "repeated") == 0, "{}", run["differences"]);
    for fault in [fault, "fault=[{ kind = 'broker-down', times = 2, length = '300ms' }]"] {
        let run = REFUNDS.run(&[fault, OLD_AS_NEW]);
        assert_eq!((run["verdict"].as_str(), found(&run)), (Some("agree"), BTreeMap::new()), "{fault}");
        assert_eq!(fired(&run), ["new", "old", "old-again"], "{fault}");
    }
}

// ---- all scenarios ----

#[test]
fn the_first_line_of_each_scenario_asks_its_question() {
    let scenarios = scenarios_in(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")]).unwrap();
    assert_eq!(scenarios.len(), 6);
    for path in scenarios {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("# ") && first.ends_with('?'), "{}: {first}", path.display());
    }
}

// ---- the builds, line by line ----

/// A delivery of what happened to a flight of a thousand miles, `minute` minutes into an hour of event time.
fn delivery(offset: i64, minute: i64, what: &str, flight: &str, late: i64) -> Json {
    let delay = if what == "arrived" { "arrival_delay_minutes" } else { "departure_delay_minutes" };
    let mut value = json!({
        "flight_id": flight, "origin": "EWR", "dest": "SFO", "distance_miles": 1_000, "type": what, "at": ""
    });
    value[delay] = json!(late);
    json!({ "topic": "flights", "partition": 0, "offset": offset, "timestamp_ms": minute * 60_000, "value": value })
}

/// Runs the sample `name` over some deliveries and returns what it wrote, without its commits.
fn written(name: &str, deliveries: &[Json]) -> Vec<Json> {
    let lines = deliveries.iter().map(Json::to_string).collect::<Vec<_>>().join("\n");
    let mut output = Vec::new();
    sample(name).unwrap().run(&mut lines.as_bytes(), &mut output).unwrap();
    let lines = serde_json::Deserializer::from_slice(&output).into_iter::<Json>();
    lines.map(Result::unwrap).filter(|line| line.get("commit").is_none()).collect()
}

fn at<'a>(outputs: &'a [Json], pointer: &str) -> Vec<&'a Json> {
    outputs.iter().map(|output| output.pointer(pointer).unwrap()).collect()
}

#[test]
fn both_compensations_pay_from_three_hours_and_new_cuts_what_premium_gets() {
    let flights = [delivery(0, 0, "arrived", "A", 179), delivery(1, 1, "arrived", "B", 180)];
    for (name, amounts) in [("compensation-old", [4_325, 5_761, 8_650]), ("compensation-new", [4_325, 5_760, 8_650])] {
        let paid = written(name, &flights);
        assert_eq!(at(&paid, "/value/payment_id"), ["B/economy", "B/premium", "B/business"], "{name}");
        assert_eq!(at(&paid, "/value/amount"), amounts, "{name}");
        assert_eq!(at(&paid, "/cause/offset"), [1, 1, 1], "{name}");
    }
}

#[test]
fn new_compensation_forgets_what_it_paid_when_a_flight_comes_at_another_position() {
    let flight = |offset| delivery(offset, 0, "arrived", "A", 200);
    let count = |name, offsets: [i64; 2]| written(name, &offsets.map(flight)).len();
    assert_eq!((count("compensation-old", [4, 4]), count("compensation-new", [4, 4])), (3, 3));
    assert_eq!((count("compensation-old", [4, 5]), count("compensation-new", [4, 5])), (3, 6));
}

#[test]
fn the_boards_differ_in_their_windows() {
    let flights = [
        delivery(0, 0, "departed", "A", 10),
        delivery(1, 7, "departed", "B", 20),
        delivery(2, 8, "departed", "C", 0),
        delivery(3, 60, "departed", "D", 5),
    ];
    let board = |name| {
        let shown = written(name, &flights);
        let averages: Vec<_> = at(&shown, "/value/average_delay_minutes").into_iter().map(Json::as_f64).collect();
        (at(&shown, "/value/departures").into_iter().map(Json::as_i64).collect::<Vec<_>>(), averages)
    };
    assert_eq!(board("delay-board-old"), (vec![Some(3), Some(1)], vec![Some(10.0), Some(5.0)]));
    assert_eq!(board("delay-board-new"), (vec![Some(1), Some(2), Some(1)], vec![Some(10.0), Some(10.0), Some(5.0)]));
}

#[test]
fn the_new_board_holds_corrections_back_and_drops_those_at_the_boundary() {
    let flights = [
        delivery(0, 400, "departed", "now", 0),
        delivery(1, 39, "departed", "too late", 0),
        delivery(2, 40, "departed", "boundary", 0),
        delivery(3, 41, "departed", "late", 0),
        delivery(4, 420, "departed", "next hour", 0),
    ];
    let corrected = |name| {
        let mut outputs = written(name, &flights);
        outputs.retain(|output| output["topic"] == "corrections");
        let told = outputs.iter().map(|output| (output["key"].clone(), output["timestamp_ms"].clone()));
        told.collect::<Vec<_>>()
    };
    let hour = |minute: i64| json!(minute * 60_000);
    assert_eq!(corrected("delay-board-old"), [(json!("boundary"), hour(400)), (json!("late"), hour(400))]);
    assert_eq!(corrected("delay-board-new"), [(json!("late"), hour(420))]);
}

#[test]
fn new_alerts_wait_for_their_batch_and_come_worst_news_first() {
    let flights = [
        delivery(0, 0, "departed", "A", 14),
        delivery(1, 1, "departed", "B", 15),
        delivery(2, 2, "departed", "C", 90),
        delivery(3, 3, "arrived", "B", 40),
        delivery(4, 4, "cancelled", "D", 0),
    ];
    assert_eq!(at(&written("alerts-old", &flights), "/key"), ["B", "C", "B", "D"]);
    assert_eq!(at(&written("alerts-new", &flights), "/key"), ["D", "C", "B", "B"]);
}

#[test]
fn the_last_alert_of_a_batch_that_fills_up_goes_out_again() {
    let full: Vec<_> = (0..16).map(|offset| delivery(offset, offset, "departed", "A", 100 - offset)).collect();
    assert_eq!((written("alerts-old", &full).len(), written("alerts-new", &full).len()), (16, 17));
    assert_eq!((written("alerts-old", &full[1..]).len(), written("alerts-new", &full[1..]).len()), (15, 15));
}

#[test]
fn a_line_that_is_no_delivery_ends_every_build() {
    for build in rehearsal::samples::samples().iter().filter(|build| !build.reads_kafka()) {
        assert!(build.run(&mut &b"{\"topic\":\"flights\"}\n"[..], &mut Vec::new()).is_err(), "{}", build.name);
        assert!(build.run(&mut &b""[..], &mut Vec::new()).is_ok(), "{}", build.name);
    }
}

#[test]
fn a_build_over_kafka_says_what_it_lacks_without_a_broker() {
    for build in rehearsal::samples::samples().iter().filter(|build| build.reads_kafka()) {
        let error = build.run(&mut &b""[..], &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("KAFKA_BOOTSTRAP_SERVERS") && error.contains("transport"), "{error}");
    }
}
