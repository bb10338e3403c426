//! Outcomes compared again: those of a run against production say what the run said, and the other way round its mirror.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use proptest::prelude::*;
use rehearsal::clock::Stop;
use rehearsal::compare::{Change, Kind, Pattern, Verdict};
use rehearsal::outcome::{
    Cause, CauseBy, Ending, EndingReport, InFlight, Outcome, OutcomeWriter, Output, ProductionReport,
};
use rehearsal::plan::Phase;
use rehearsal::report::Report;
use rehearsal::scenario::{Against, Scenario, compare_outcomes};
use serde_json::{Value, json};

use super::golden::{SCENARIO, desk, rehearse, rehearse_as};

/// The outcomes of the run `number` at a desk.
fn outcomes(desk: &Path, number: &str) -> PathBuf {
    desk.join("runs").join(desk.file_name().unwrap()).join(number).join("outcomes")
}

fn compared(desk: &Path, old: &Path, new: &Path) -> Report {
    let rules = Scenario::read_rules(desk.join("scenario.toml"), &[]).unwrap();
    compare_outcomes(old, &[], new, &rules, &Stop::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// All that a report says of how two builds differ.
fn said(report: &Report) -> Value {
    json!({
        "verdict": report.verdict,
        "reasons": report.reasons,
        "against": report.against,
        "outputs": report.outputs,
        "causes": report.causes,
        "identities": report.identities,
        "differences": report.differences,
        "noise": report.noise,
        "first_divergence": report.first_divergence,
        "patterns": report.patterns,
        "power": report.power,
        "silenced": report.silenced,
        "convergence": report.convergence,
        "tables": report.tables,
        "figures": report.figures,
        "relations": report.relations,
        "latency": report.latency,
        "lag": report.lag,
        "freshness": report.freshness,
        "measures": report.measures,
        "gates": report.gates,
    })
}

/// Patterns by kind, path and change, with how often they are seen and what is known of them; `mirrored` as the other side sees them.
fn patterns(report: &Report, mirrored: bool) -> Vec<String> {
    let named = |pattern: &Pattern| {
        let kind = match (pattern.kind, mirrored) {
            (Kind::Missing, true) => Kind::Extra,
            (Kind::Extra, true) => Kind::Missing,
            (kind, _) => kind,
        };
        let change = match (pattern.change, mirrored) {
            (Some(Change::Added), true) => Some(Change::Removed),
            (Some(Change::Removed), true) => Some(Change::Added),
            (change, _) => change,
        };
        let Pattern { path, count, noise_count, standing, statistics, .. } = pattern;
        let odd = (statistics.odd_new, statistics.odd_any, statistics.odd_all);
        format!("{kind:?} {path:?} {change:?} {count} {noise_count} {standing:?} {odd:?} {:?}", statistics.q_value)
    };
    let mut patterns: Vec<String> = report.patterns.iter().map(named).collect();
    patterns.sort();
    patterns
}

/// Runs at a desk, then compares what the run left, both ways round.
pub(crate) fn there_and_back(desk: &Path, number: &str, run: &Report) -> (Report, Report) {
    let outcomes = outcomes(desk, number);
    let again = compared(desk, &outcomes.join("old"), &outcomes.join("new"));
    assert_eq!(said(&again), said(run));
    let back = compared(desk, &outcomes.join("new"), &outcomes.join("old"));
    assert_eq!(patterns(&back, true), patterns(run, false));
    let sides = (back.against.as_ref().unwrap(), run.against.as_ref().unwrap());
    assert_eq!((sides.0.outputs, sides.0.differences_at_edges), (sides.1.outputs, sides.1.differences_at_edges));
    assert_eq!((back.verdict, back.identities, back.power), (run.verdict, run.identities, run.power));
    assert_eq!(back.outputs["old_again"], run.outputs["new_again"]);
    (again, back)
}

#[test]
fn outcomes_of_a_run_against_production_say_what_the_run_said() {
    let slice = "[select]\nfrom = '2023-11-14T22:13:30Z'\nto = '2023-11-14T22:14:00Z'\n";
    let figures = "[[figure]]\nname = 'paid'\nkind = 'sum'\ntopic = 'payouts'\npath = '$.amount'\n[gates]\nfreshness-p99 = '1h'\n";
    let late: fn(i64) -> Option<i64> = |id| (id < 57).then_some(id * 3);
    let other: fn(i64) -> Option<i64> = |id| Some(if id % 5 == 0 { id * 3 + 1 } else { id * 3 });
    let lost: fn(i64) -> Option<i64> = |id| (id % 6 != 0).then_some(id * 3);
    let rare: fn(i64) -> Option<i64> = |id| Some(if id == 30 { 1 } else { id * 3 });
    for (paid, more, verdict) in [
        (late, "", Verdict::Agree),
        (late, figures, Verdict::NoVerdict),
        (other, "", Verdict::Differ),
        (lost, "", Verdict::Differ),
        (rare, "", Verdict::NoVerdict),
        (|id| Some(id * 3), slice, Verdict::Agree),
    ] {
        let desk = desk(60, paid);
        let run = rehearse(desk.path(), Against::Recorded, more);
        assert_eq!(run.verdict, verdict, "{more} {:#?}", run.reasons);
        let (again, back) = there_and_back(desk.path(), "0001", &run);
        assert!(again.against.unwrap().says[0].starts_with("New is held against what production wrote to payouts"));
        assert!(back.against.unwrap().says[0].starts_with("Old is held against what production wrote to payouts"));
    }
}

#[test]
fn so_do_those_of_a_run_against_an_outcome_and_of_one_with_more_drives() {
    let desk = desk(60, |id| Some(if id % 5 == 0 { id * 3 + 1 } else { id * 3 }));
    rehearse(desk.path(), Against::Recorded, "");
    let first = outcomes(desk.path(), "0001");
    // A drive of new stands for production, then what production wrote, of which all is known that was known then.
    for (number, outcome, verdict) in [("0002", "new", Verdict::Agree), ("0003", "old", Verdict::Differ)] {
        let run = rehearse(desk.path(), Against::Outcome(first.join(outcome)), "");
        assert_eq!(run.verdict, verdict, "{:#?}", run.reasons);
        there_and_back(desk.path(), number, &run);
        assert_eq!(run.against.unwrap().edge_us.is_some(), outcome == "old");
    }
    let run = rehearse_as(desk.path(), Against::Recorded, &SCENARIO.replace("[drive]\n", "[drive]\nrepeat-old = 2\n"));
    assert_eq!(run.outputs["new_again_2"], 60);
    there_and_back(desk.path(), "0004", &run);
}

#[test]
fn what_is_named_on_the_command_line_is_what_the_run_left_and_production_has_no_further_drive() {
    let desk = desk(60, |id| (id < 57).then_some(id * 3));
    let run = rehearse(desk.path(), Against::Recorded, "");
    let folder = outcomes(desk.path(), "0001").parent().unwrap().to_owned();
    let compare = |more: &[&str]| {
        let mut command = Command::cargo_bin("rehearsal").unwrap();
        let named =
            ["compare", folder.to_str().unwrap(), folder.to_str().unwrap(), "--rules", "scenario.toml", "--json"];
        command.current_dir(desk.path()).args(named).args(more).output().unwrap()
    };
    let compared = compare(&[]);
    assert_eq!(compared.status.code(), Some(0), "{}", String::from_utf8_lossy(&compared.stderr));
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    assert_eq!(compared["against"]["differences_at_edges"], 3);
    assert_eq!(compared["noise"], json!(run.noise));
    let new = folder.join("outcomes/new");
    let refused = compare(&["--old-again", new.to_str().unwrap()]);
    let problem = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), problem.contains("production wrote")), (Some(2), true), "{problem}");
}

#[test]
fn an_outcome_that_says_nothing_of_production_is_one_of_a_build_as_ever() {
    let desk = desk(60, |id| (id < 57).then_some(id * 3));
    rehearse(desk.path(), Against::Recorded, "");
    let outcomes = outcomes(desk.path(), "0001");
    let path = outcomes.join("old/ending.json");
    let mut ending: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(ending.as_object_mut().unwrap().remove("production").is_some());
    fs::write(&path, ending.to_string()).unwrap();
    let found = compared(desk.path(), &outcomes.join("old"), &outcomes.join("new"));
    assert!(found.against.is_none() && found.noise.is_none());
    assert_eq!((found.verdict, found.differences[&Kind::Extra]), (Verdict::NoVerdict, 3));
}

// ---- properties ----

/// An output as its identity and its amount.
type Said = (u8, u8);

fn some_outputs() -> impl Strategy<Value = Vec<Said>> {
    prop::collection::vec((0_u8..12, 0_u8..3), 0..24)
}

/// Whether outputs of an identity lie at an edge of the slice: of some on one side, of others on the other or on both.
fn is_at_edge(id: u8, production: bool) -> bool {
    if production { id < 4 } else { (2..6).contains(&id) }
}

/// From this offset on, events were in flight when production was no longer looked at.
const IN_FLIGHT: i64 = 100;

/// Writes the outcome of production, or of a build.
fn write(folder: &Path, name: &str, outputs: &[Said], production: bool) -> PathBuf {
    let mut writer = OutcomeWriter::create(folder.join(name), &[], &[]).unwrap();
    for (at, (id, amount)) in outputs.iter().enumerate() {
        let at_edge = is_at_edge(*id, production);
        let offset = if at_edge { IN_FLIGHT } else { 0 } + i64::from(*id);
        let cause = Cause { topic: "orders".into(), partition: 0, offset, attempt: 0, by: CauseBy::Build };
        let output = Output {
            sequence: at as i64,
            topic: "payouts".into(),
            partition: i32::from(production),
            phase: if production && at_edge { Phase::Drain } else { Phase::Main },
            value: Some(json!({ "id": id, "amount": amount }).to_string().into_bytes()),
            cause: (!production).then_some(cause),
            ..Output::default()
        };
        writer.output(&output).unwrap();
    }
    let known = ProductionReport {
        in_flight: Some(vec![InFlight { topic: "orders".into(), partition: 0, offset: IN_FLIGHT }]),
        topics: Some(vec!["payouts".into()]),
        ..ProductionReport::default()
    };
    let report = EndingReport { production: production.then_some(known), ..EndingReport::new(Ending::Finished, "") };
    let outcome: Outcome = writer.finish(&report).unwrap();
    outcome.path().to_owned()
}

/// Differences by kind; how often an identity is written more is what `repeated` and `extra` have in common.
fn counts(report: &Report, mirrored: bool) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for (kind, count) in &report.differences {
        let name = match kind {
            Kind::Missing => ["fewer", "more"][usize::from(mirrored)],
            Kind::Extra | Kind::Repeated => ["more", "fewer"][usize::from(mirrored)],
            Kind::Changed => "changed",
            _ => continue,
        };
        *counts.entry(name).or_default() += count;
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn production_on_the_other_side_mirrors(
        production in some_outputs(),
        new in some_outputs(),
        again in prop::option::of(some_outputs()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let theirs = write(folder.path(), "production", &production, true);
        let ours = write(folder.path(), "ours", &new, false);
        write(folder.path(), "ours-again", again.as_ref().unwrap_or(&new), false);
        let rules = Scenario::rules_of_text("[compare]\nidentity = ['$.id']\norder = 'none'\n", &[]).unwrap();
        let compared = |old: &Path, new: &Path| compare_outcomes(old, &[], new, &rules, &Stop::new()).unwrap();
        let (there, back) = (compared(&theirs, &ours), compared(&ours, &theirs));
        prop_assert_eq!(counts(&there, false), counts(&back, true));
        prop_assert_eq!(there.against.as_ref().unwrap().differences_at_edges, back.against.as_ref().unwrap().differences_at_edges);
        prop_assert_eq!((there.identities, &there.outputs["old"]), (back.identities, &back.outputs["new"]));
        prop_assert_eq!(there.noise.is_some(), back.noise.is_some());
    }
}
