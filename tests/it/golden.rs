//! New against what production itself wrote: who is odd, what lies at the slice's edges, and what cannot be judged.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use rehearsal::clock::Stop;
use rehearsal::compare::{
    CompareSettings, Comparison, Drive, Kind, Pattern, Production, Remembered, Rules, Side, Standing, Verdict,
    compare_drives,
};
use rehearsal::outcome::{Cause, CauseBy, Output};
use rehearsal::plan::Phase;
use rehearsal::recording::{
    Event, EventBatchBuilder, Header, RecordingWriter, Role, Source, TimestampType, TopicSource,
};
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Against, Destination, Scenario, check, run};
use rehearsal::spill::SpillSpace;
use serde_json::json;

use super::run::Silent;

// ---- drives in memory ----

fn output(id: usize, amount: &str) -> Output {
    let value = format!(r#"{{"id":{id},"amount":{amount}}}"#).into_bytes();
    Output { topic: "payouts".to_owned(), value: Some(value), ..Output::default() }
}

fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().enumerate();
    Remembered::finished(numbered.map(|(at, output)| Output { sequence: at as i64, ..output }).collect())
}

/// A hundred payouts, of which those called so have another amount.
fn payouts(amount: &str, other: &[usize]) -> Remembered {
    drive((0..100).map(|id| output(id, if other.contains(&id) { amount } else { "5" })))
}

fn rules(production: Production) -> Rules {
    let written = "identity = ['$.id']\norder = 'total'";
    toml::from_str::<CompareSettings>(written).unwrap().check().unwrap().against_production(production)
}

fn compared(production: &Remembered, new: &[&Remembered], rules: &Rules) -> Comparison {
    let new: Vec<&dyn Drive> = new.iter().map(|drive| *drive as &dyn Drive).collect();
    compare_drives(&[production as &dyn Drive], &new, rules, None, &SpillSpace::system()).unwrap()
}

fn pattern(comparison: &Comparison, kind: Kind) -> &Pattern {
    comparison.patterns.iter().find(|pattern| pattern.kind == kind).unwrap_or_else(|| panic!("{comparison:#?}"))
}

#[test]
fn production_that_is_the_odd_one_out_often_enough_proves_that_new_does_otherwise() {
    let production = payouts("5", &[]);
    for (changed, standing) in [(5, Standing::Proven), (4, Standing::Suspected)] {
        let new = payouts("6", &(0..changed).collect::<Vec<_>>());
        let found = compared(&production, &[&new, &new], &rules(Production::default()));
        let pattern = pattern(&found, Kind::Changed);
        let statistics = &pattern.statistics;
        assert_eq!(
            (pattern.count, statistics.odd_new, statistics.odd_any),
            (changed as u64, changed as u64, changed as u64)
        );
        assert_eq!((pattern.path.as_deref(), pattern.standing), (Some("$.amount"), standing), "{changed}");
        assert!(!found.wants_new_again && found.production == Some(Side::Old));
    }
    // A third drive of new makes four enough: (1/4)^4 is 0.004.
    let new = payouts("6", &[0, 1, 2, 3]);
    let found = compared(&production, &[&new, &new, &new], &rules(Production::default()));
    assert_eq!(pattern(&found, Kind::Changed).standing, Standing::Proven);
    assert_eq!(found.outputs["new_again_2"], 100);
}

#[test]
fn what_new_differs_from_itself_by_is_noise() {
    let production = payouts("5", &[]);
    let (first, again) = (payouts("6", &(0..20).collect::<Vec<_>>()), payouts("6", &(20..40).collect::<Vec<_>>()));
    let found = compared(&production, &[&first, &again], &rules(Production::default()));
    let pattern = pattern(&found, Kind::Changed);
    assert_eq!((pattern.count, pattern.noise_count, pattern.statistics.odd_new), (20, 40, 0));
    assert_eq!(pattern.standing, Standing::Noise);
    // Driven once, nobody can tell.
    let found = compared(&production, &[&first], &rules(Production::default()));
    assert_eq!((self::pattern(&found, Kind::Changed).standing, found.noise), (Standing::Suspected, None));
}

#[test]
fn kinds_are_those_of_production_against_new() {
    let production = drive((0..60).filter(|id| id % 10 != 1).map(|id| output(id, "5")));
    let new =
        drive((0..60).filter(|id| id % 10 != 2).flat_map(|id| vec![output(id, "5"); if id % 10 == 3 { 2 } else { 1 }]));
    let found = compared(&production, &[&new, &new], &rules(Production::default()));
    for kind in [Kind::Missing, Kind::Extra, Kind::Repeated] {
        let pattern = pattern(&found, kind);
        assert_eq!((pattern.count, pattern.statistics.odd_new, pattern.standing), (6, 6, Standing::Proven), "{kind:?}");
    }
}

#[test]
fn where_production_put_it_and_when_is_not_compared() {
    let production = drive((0..50).map(|id| Output {
        partition: id as i32 % 3,
        timestamp_ms: Some(1_700_000_000_000 + id as i64),
        ..output(id, "5")
    }));
    let cause =
        |id: usize| Cause { topic: "orders".into(), partition: 0, offset: id as i64, attempt: 0, by: CauseBy::Build };
    // In another order, too: across partitions production's own says nothing.
    let new =
        drive((0..50).rev().map(|id| Output { partition: id as i32 % 2, cause: Some(cause(id)), ..output(id, "5") }));
    let found = compared(&production, &[&new, &new], &rules(Production::default()));
    assert!(found.patterns.iter().all(|pattern| pattern.information), "{:#?}", found.patterns);
    assert_eq!(found.matched, 50);
    // What it says beside its value is.
    let traced = Header { name: "currency".to_owned(), value: Some(b"EUR".to_vec()) };
    let new = drive((0..50).map(|id| Output { headers: vec![traced.clone()], ..output(id, "5") }));
    let found = compared(&production, &[&new, &new], &rules(Production::default()));
    assert_eq!(pattern(&found, Kind::Metadata).count, 50);
}

/// Outputs of production, those in `at_edges` being of the phase `drain`.
fn captured(ids: impl IntoIterator<Item = usize>, at_edges: &[usize]) -> Remembered {
    let phase = |id: usize| if at_edges.contains(&id) { Phase::Drain } else { Phase::Main };
    drive(ids.into_iter().map(|id| Output { phase: phase(id), ..output(id, "5") }))
}

/// What new wrote, each for the event of its number.
fn caused(ids: impl IntoIterator<Item = usize>) -> Remembered {
    let cause = |id: usize| Cause {
        topic: "orders".into(),
        partition: 0,
        offset: id as i64,
        attempt: 0,
        by: CauseBy::Inferred,
    };
    drive(ids.into_iter().map(|id| Output { cause: Some(cause(id)), ..output(id, "5") }))
}

#[test]
fn what_stands_alone_at_an_edge_is_left_out_and_counted_and_elsewhere_it_is_a_difference() {
    let in_flight = Some([(("orders".to_owned(), 0), 95)].into());
    let rules = rules(Production { in_flight, ..Production::default() });
    // 0 to 4 came of events ahead of the slice; of 95 on nothing was captured yet, and of 90 to 94 it was.
    let production = captured(0..95, &[0, 1, 2, 3, 4, 5, 6]);
    let new = caused(5..100);
    let found = compared(&production, &[&new, &new], &rules);
    assert_eq!((found.patterns.len(), found.at_edges, found.matched), (0, 10, 90), "{:#?}", found.patterns);
    // The same between the edges.
    let new = caused((5..100).filter(|id| *id != 50));
    let found = compared(&production, &[&new, &new], &rules);
    assert_eq!((pattern(&found, Kind::Missing).count, found.at_edges), (1, 10));
    let found = compared(
        &captured((0..95).filter(|id| *id != 60), &[0, 1, 2, 3, 4]),
        &[&caused(5..100), &caused(5..100)],
        &rules,
    );
    assert_eq!((pattern(&found, Kind::Extra).count, found.at_edges), (1, 10));
}

#[test]
fn what_new_writes_where_nothing_was_captured_is_counted_and_not_judged() {
    let topics = Some(["payouts".to_owned()].into());
    let rules = rules(Production { topics, ..Production::default() });
    let audit = |id: usize| Output { topic: "audit".to_owned(), ..output(id, "5") };
    let new = drive((0..100).flat_map(|id| [output(id, "5"), audit(id)]));
    let found = compared(&payouts("5", &[]), &[&new, &new], &rules);
    assert!(found.patterns.is_empty(), "{:#?}", found.patterns);
    assert_eq!((found.outputs["new"], found.beside_production["audit"]), (100, 100));
}

// ---- whole runs ----

const START_MS: i64 = 1_700_000_000_000;

/// A recording of orders, one a second, and of what production paid for each of them 100 ms later; of some it paid something else.
pub(crate) fn desk(orders: i64, paid: impl Fn(i64) -> Option<i64>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let topic = |name: &str, role| TopicSource { name: name.to_owned(), partitions: 1, role, ..TopicSource::default() };
    let source =
        Source { topics: vec![topic("orders", Role::Input), topic("payouts", Role::Output)], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("orders"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    let mut event = |topic: &str, (offset, at_ms): (i64, i64), timestamp_type, value: serde_json::Value| {
        batch.push_event(&Event {
            topic: topic.to_owned(),
            offset,
            timestamp_ms: Some(at_ms),
            timestamp_type,
            // Bare values of a build have no key, so what they are held against has none.
            key: (topic == "orders").then(|| value["id"].to_string().into_bytes()),
            value: Some(value.to_string().into_bytes()),
            ..Event::default()
        });
    };
    let mut written = 0;
    for id in 0..orders {
        let at_ms = START_MS + id * 1_000;
        event("orders", (id, at_ms), TimestampType::Create, json!({ "amount": id * 3, "id": id }));
        if let Some(amount) = paid(id) {
            event("payouts", (written, at_ms + 100), TimestampType::Append, json!({ "amount": amount, "id": id }));
            written += 1;
        }
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

pub(crate) const SCENARIO: &str = "recording = 'orders'\n[new]\ncommand = ['cat']\n[pace]\nmode = 'unpaced'\n[golden]\nedge = '5s'\n\
    [drive]\nsettle = '50ms'\npayload = 'value'\noutputs = ['payouts']\n[lineage]\noutput = '$.id'\nevent = '$.id'\n[compare]\nidentity = ['$.id']\n";

pub(crate) fn rehearse(desk: &Path, against: Against, more: &str) -> Report {
    rehearse_as(desk, against, &format!("{SCENARIO}{more}"))
}

/// The same with a scenario of this text.
pub(crate) fn rehearse_as(desk: &Path, against: Against, text: &str) -> Report {
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario =
        Scenario::read_against(desk.join("scenario.toml"), &[], against).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    let destination = Destination::Numbered { under: desk.join("runs") };
    run(&checked, &destination, &Silent, &Stop::new()).unwrap().report
}

fn drives(report: &Report) -> Vec<&str> {
    report.drives.iter().map(|drive| drive.drive.as_str()).collect()
}

#[test]
fn a_release_that_does_as_production_did_agrees_without_an_old_build() {
    // Production had not paid the last three orders when the capture ended.
    let desk = desk(60, |id| (id < 57).then_some(id * 3));
    let report = rehearse(desk.path(), Against::Recorded, "");
    assert_eq!(report.verdict, Verdict::Agree, "{:#?} {:#?}", report.reasons, report.patterns);
    assert_eq!(drives(&report), ["old", "new", "new-again"]);
    let against = report.against.as_ref().unwrap();
    assert_eq!((against.outputs, against.outside, against.at_edges, against.differences_at_edges), (57, 0, 5, 3));
    assert!(report.noise.is_some() && report.latency.is_none() && report.idempotency.is_none());
    assert!(report.reproduce.contains("--against recorded"), "{}", report.reproduce);
    for format in Format::ALL {
        // Terminals are narrow.
        let text = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        for said in
            ["what production wrote to payouts: 57 outputs", "noise is what 2 drives of new differ by", "3 differences"]
        {
            assert!(text.contains(said), "{format}: {said}");
        }
    }
}

#[test]
fn a_plan_against_production_needs_no_old_build_and_names_the_drives_of_new() {
    let desk = desk(60, |id| Some(id * 3));
    fs::write(desk.path().join("scenario.toml"), SCENARIO).unwrap();
    let plan = |more: &[&str]| {
        let mut command = Command::cargo_bin("rehearsal").unwrap();
        command.current_dir(desk.path()).args(["plan", "scenario.toml", "--json"]).args(more).output().unwrap()
    };
    let planned = plan(&["--against", "recorded"]);
    assert_eq!(planned.status.code(), Some(0), "{}", String::from_utf8_lossy(&planned.stderr));
    let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(planned["drives"], json!(["new", "new-again"]));
    // Without it the scenario lacks a build.
    assert_eq!(plan(&[]).status.code(), Some(2));
}

#[test]
fn a_release_that_pays_otherwise_than_production_differs() {
    let desk = desk(60, |id| Some(if id % 5 == 0 { id * 3 + 1 } else { id * 3 }));
    let report = rehearse(desk.path(), Against::Recorded, "");
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    let pattern = report.patterns.iter().find(|pattern| pattern.kind == Kind::Changed).unwrap();
    // Twelve are other; the first lies at the edge on the side of production alone, which is not enough to leave it out.
    assert_eq!((pattern.count, pattern.standing), (12, Standing::Proven));
    assert!(render(&report, Format::Terminal).contains("Production does otherwise"));
}

#[test]
fn production_outside_of_the_slice_is_left_out() {
    let desk = desk(60, |id| Some(id * 3));
    let slice = "[select]\nfrom = '2023-11-14T22:13:30Z'\nto = '2023-11-14T22:14:00Z'\n";
    let report = rehearse(desk.path(), Against::Recorded, slice);
    assert_eq!(report.verdict, Verdict::Agree, "{:#?} {:#?}", report.reasons, report.patterns);
    let against = report.against.unwrap();
    // Ten seconds ahead of it and fifteen behind it; five behind its end may be of its last events, and stand alone.
    assert_eq!((against.outside, against.outputs, against.differences_at_edges), (25, 35, 5));
}

#[test]
fn a_written_gate_that_production_cannot_tell_is_no_verdict() {
    let desk = desk(60, |id| Some(id * 3));
    for gate in ["p99-latency-increase = '10%'", "p99-latency = '5s'", "repeated-effects = 0"] {
        let report = rehearse(desk.path(), Against::Recorded, &format!("[gates]\n{gate}\n"));
        assert_eq!(report.verdict, Verdict::NoVerdict, "{gate}: {:#?}", report.reasons);
    }
}

#[test]
fn an_outcome_stands_for_production_as_well() {
    let desk = desk(60, |id| Some(id * 3));
    rehearse(desk.path(), Against::Recorded, "");
    let name = desk.path().file_name().unwrap();
    let outcome = desk.path().join("runs").join(name).join("0001/outcomes/new");
    let report = rehearse(desk.path(), Against::Outcome(outcome), "");
    assert_eq!(
        (report.verdict, drives(&report)),
        (Verdict::Agree, vec!["old", "new", "new-again"]),
        "{:#?}",
        report.reasons
    );
    assert_eq!(report.outputs["old"], 60);
}

#[test]
fn what_cannot_be_held_against_production_is_refused_with_its_key() {
    let desk = desk(60, |id| Some(id * 3));
    let refused = |text: &str| {
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        let scenario = Scenario::read_against(desk.path().join("scenario.toml"), &[], Against::Recorded).unwrap();
        match check(scenario, None) {
            Err(error) => error.to_string(),
            Ok(checked) => {
                let destination = Destination::Numbered { under: desk.path().join("runs") };
                run(&checked, &destination, &Silent, &Stop::new()).unwrap_err().to_string()
            }
        }
    };
    for (from, to, said) in [
        ("edge = '5s'", "edge = '1h'", "the slice is shorter than its edges"),
        ("edge = '5s'", "topics = ['refunds']", "there are no events of topic `refunds`"),
        ("outputs = ['payouts']", "outputs = ['refunds']", "it holds no topic that production wrote"),
    ] {
        let text = refused(&SCENARIO.replace(from, to));
        assert!(text.contains(said), "{said}: {text}");
    }
}
