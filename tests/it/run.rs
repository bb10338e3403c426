//! Whole runs of small builds, from the scenario to the verdict.

use std::fs;
use std::path::Path;

use rehearsal::clock::Stop;
use rehearsal::compare::{Causes, CompareError, Kind, Pattern, Standing, Verdict};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType};
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Destination, Scenario, ScenarioError, Watcher, check, compare_outcomes, run};
use serde_json::json;
use tempfile::TempDir;

pub(crate) struct Silent;

impl Watcher for Silent {
    fn note(&self, _: &str) {}
    fn started(&self, _: &str, _: u64) {}
    fn sent(&self, _: &str, _: u64) {}
    fn ended(&self, _: &str, _: &str) {}
}

/// Asks to stop once the drives called so have ended, which is before anything is compared.
struct StopsAfter<'a>(&'a str, Stop);

impl Watcher for StopsAfter<'_> {
    fn note(&self, _: &str) {}
    fn started(&self, _: &str, _: u64) {}
    fn sent(&self, _: &str, _: u64) {}
    fn ended(&self, drive: &str, _: &str) {
        if drive == self.0 {
            self.1.raise();
        }
    }
}

/// A folder with a recording of orders in one partition, one a second.
pub(crate) fn desk(orders: i64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(folder.path().join("orders"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    for offset in 0..orders {
        batch.push_event(&Event {
            topic: "orders".into(),
            partition: 0,
            offset,
            timestamp_ms: Some(1_700_000_000_000 + offset * 1_000),
            timestamp_type: TimestampType::Create,
            captured_at_us: None,
            key: Some(format!("order-{offset}").into_bytes()),
            value: Some(json!({ "amount": offset * 3, "order_id": offset }).to_string().into_bytes()),
            headers: Vec::new(),
        });
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

/// Runs a scenario of two commands, in TOML; `more` begins within `[drive]`.
pub(crate) fn rehearse(desk: &Path, old: &str, new: &str, more: &str) -> Report {
    let text = format!(
        "recording = 'orders'\n[old]\ncommand = {old}\n[new]\ncommand = {new}\n[drive]\nsettle = '50ms'\n{more}"
    );
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario = Scenario::read(desk.join("scenario.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    let destination = Destination::Numbered { under: desk.join("runs") };
    run(&checked, &destination, &Silent, &Stop::new()).unwrap().report
}

/// Bare values, as fast as they are taken, told apart by their number.
pub(crate) const VALUES: &str = "payload = 'value'\n[pace]\nmode = 'unpaced'\n[compare]\nidentity = ['$.order_id']\n";

fn drives(report: &Report) -> Vec<&str> {
    report.drives.iter().map(|drive| drive.drive.as_str()).collect()
}

fn pattern(report: &Report, kind: Kind) -> &Pattern {
    report.patterns.iter().find(|pattern| pattern.kind == kind).unwrap_or_else(|| panic!("{:#?}", report.patterns))
}

fn relation<'a>(report: &'a Report, name: &str) -> &'a str {
    report.relations.iter().find(|relation| relation.name == name).map_or("", |relation| &relation.result)
}

/// A build that adds to the amount of each of these orders.
fn wrong(orders: &str) -> String {
    format!(r#"['sed', '-E', '/"order_id":({orders})\}}/s/"amount":/"amount":1/']"#)
}

#[test]
fn a_lineage_shows_the_event_behind_a_difference_and_its_share_is_told() {
    let desk = desk(20);
    let new = wrong("7");
    // Bare values state no cause, and have no key to infer one from.
    let report = rehearse(desk.path(), "['cat']", &new, VALUES);
    assert_eq!(pattern(&report, Kind::Changed).first.as_ref().unwrap().offset, None);
    let unknown = Causes { unknown: 20, ..Causes::default() };
    assert_eq!(report.causes["new"], unknown);
    let lineage = format!("{VALUES}[lineage]\noutput = '$.order_id'\n");
    let report = rehearse(desk.path(), "['cat']", &new, &lineage);
    let first = pattern(&report, Kind::Changed).first.clone().unwrap();
    assert_eq!((first.topic.as_deref(), first.offset, first.inferred), (Some("orders"), Some(7), false));
    let found = Causes { lineage: 20, ..Causes::default() };
    assert_eq!((report.causes["old"], report.causes["new"]), (found, found));
    assert!(render(&report, Format::Terminal).contains("new 100 % (20 by lineage)"));
    let silent =
        |report: &Report| !report.warnings.iter().any(|warning| warning.contains("found the event behind no output"));
    assert!(silent(&report));
    assert!(!silent(&rehearse(desk.path(), "['cat']", &new, &format!("{VALUES}[lineage]\nheader = 'trace'\n"))));
    let text = "recording = 'orders'\nold.command = ['cat']\nnew.command = ['cat']\n[lineage]\nevent = 'order_id'\n";
    fs::write(desk.path().join("scenario.toml"), text).unwrap();
    let refused = check(Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap(), None).unwrap_err().to_string();
    assert!(refused.contains("scenario.toml:5") && refused.contains("`order_id` is no JSONPath"), "{refused}");
}

#[test]
fn where_event_time_runs_otherwise_than_builds_clocks_their_timers_are_warned_of() {
    let desk = desk(3);
    let warned = |pace: &str| {
        let report = rehearse(desk.path(), "['cat']", "['cat']", &format!("payload = 'value'\n{pace}"));
        assert_eq!(report.fidelity.clock.contains("sleeping until each due time"), !pace.contains("unpaced"));
        assert!(report.fidelity.enforced.contains("network"));
        let warnings: Vec<String> = report.warnings.into_iter().filter(|warning| warning.contains("timer")).collect();
        warnings.first().map(|warning| warning.split(", builds'").next().unwrap().to_owned())
    };
    let passes = |how: &str| Some(format!("Event time passes {how}"));
    assert_eq!(warned("[pace]\nmode = 'accelerated'\nspeed = 500"), passes("500 times as fast as recorded"));
    assert_eq!(warned("[pace]\nmode = 'unpaced'"), passes("as fast as builds take events"));
    assert_eq!(warned("[pace]\nmode = 'rate'\nrate = 100"), passes("evenly by event"));
    assert_eq!(warned("[pace]\nmode = 'burst'\nspeed = 100"), passes("in bursts"));
    assert_eq!(warned("[pace]\nmode = 'accelerated'\nspeed = 1"), None);
    assert_eq!(warned(""), None);
}

#[test]
fn a_request_to_stop_while_drives_are_compared_ends_the_run_and_keeps_the_drives() {
    let desk = desk(20);
    let text = format!("recording = 'orders'\n[old]\ncommand = ['cat']\n[new]\ncommand = ['cat']\n[drive]\n{VALUES}");
    fs::write(desk.path().join("scenario.toml"), text).unwrap();
    let checked = check(Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap(), None).unwrap();
    let destination = Destination::Folder { path: desk.path().join("run"), force: false };
    let watcher = StopsAfter("new", Stop::new());
    let stopped = run(&checked, &destination, &watcher, &watcher.1);
    let outcomes = desk.path().join("run/outcomes");
    assert!(matches!(&stopped, Err(ScenarioError::Stopped { path }) if *path == outcomes), "{stopped:?}");
    assert!(!desk.path().join("run/run.json").exists());
    // What was written is whole, so that it can be compared another time; that can be stopped as well.
    let (old, new) = (outcomes.join("old"), outcomes.join("new"));
    let again = |stop: &Stop| {
        let rules = Scenario::rules_of_text("", &[]).unwrap();
        compare_outcomes(&old, &[outcomes.join("old-again")], &new, &rules, stop)
    };
    assert_eq!(again(&Stop::new()).unwrap().verdict, Verdict::Agree);
    assert!(matches!(again(&watcher.1), Err(ScenarioError::Compare(CompareError::Stopped))));
}

#[test]
fn three_wrong_outputs_of_two_thousand_are_proven_when_they_come_back() {
    let desk = desk(2_000);
    let report = rehearse(desk.path(), "['cat']", &wrong("17|900|1999"), VALUES);
    assert_eq!(drives(&report), ["old", "old-again", "new", "new-again"]);
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    let changed = pattern(&report, Kind::Changed);
    assert_eq!((changed.count, changed.standing, changed.path.as_deref()), (3, Standing::Proven, Some("$.amount")));
    assert_eq!(changed.statistics.recurred, Some(3));
    assert!(changed.statistics.q_value.is_some_and(|q| q > 0.01), "the count alone proves nothing");
    assert_eq!(relation(&report, "determinism"), "kept by both");
    let first = changed.first.as_ref().unwrap();
    assert_eq!((report.power, first.offset), (Some(1), None), "bare values name no cause");
}

#[test]
fn what_new_does_wrong_once_by_chance_is_no_difference() {
    let desk = desk(2_000);
    let (first, again) = (wrong("17|900|1999"), wrong("4|1200"));
    let words = |command: &str| command.trim_matches(['[', ']']).replace("', '", "\" \"").replace('\'', "\"");
    let sed = |command: &str| words(command).replace("\"sed\" \"-E\" ", "").trim_matches('"').to_owned();
    let script =
        format!("case $1 in new) sed -E '{}' ;; new-again) sed -E '{}' ;; *) exit 9 ;; esac", sed(&first), sed(&again));
    fs::write(desk.path().join("fickle.sh"), script).unwrap();
    let report = rehearse(desk.path(), "['cat']", "['sh', 'fickle.sh', '{drive}']", VALUES);
    assert_eq!(drives(&report), ["old", "old-again", "new", "new-again"]);
    assert_eq!(report.verdict, Verdict::NoVerdict, "{:#?}", report.reasons);
    assert!(report.reasons[0].ends_with("driven again, new did not do it"), "{:#?}", report.reasons);
    assert_eq!(relation(&report, "determinism"), "broken by new");
}

#[test]
fn a_suspicion_that_cannot_be_proven_says_what_would_have_told() {
    let desk = desk(500);
    let report = rehearse(desk.path(), "['cat']", &wrong("17|300"), VALUES);
    assert_eq!(report.verdict, Verdict::NoVerdict, "{:#?}", report.reasons);
    assert!(
        report.reasons[0].ends_with("; 10 drives of old or 901 identities would have told"),
        "{:#?}",
        report.reasons
    );
    let more = VALUES.replace("[pace]", "repeat-old = 9\n[pace]");
    let report = rehearse(desk.path(), "['cat']", &wrong("17|300"), &more);
    // Ten of old and one of new tell; so few might be one burst, which new driven again rules out.
    assert_eq!((report.verdict, drives(&report).len()), (Verdict::Differ, 12), "{:#?}", report.reasons);
    assert_eq!(drives(&report)[11], "new-again");
}

/// A build that writes a number for each order and names the event it did so at; `held` orders wait for the event behind them.
fn counting(desk: &Path, name: &str, held: &str) -> String {
    let script = format!(
        r#"function tell(n, at) {{ printf "{{\"value\":{{\"order_id\":%d}},\"cause\":{{\"topic\":\"orders\",\"partition\":0,\"offset\":%d}}}}\n", n, at }}
{{ match($0, /"offset":[0-9]+/); at = substr($0, RSTART + 9, RLENGTH - 9) + 0
  if (waits) {{ tell(last, at); waits = 0 }}
  if ({held}) {{ last = at; waits = 1 }} else tell(at, at) }}
"#
    );
    fs::write(desk.join(name), script).unwrap();
    format!("['awk', '-f', '{name}']")
}

#[test]
fn later_outputs_are_found_and_cost_another_drive_only_where_a_gate_asks() {
    let desk = desk(2_000);
    let (old, new) = (counting(desk.path(), "old.awk", "0"), counting(desk.path(), "new.awk", "at % 700 == 7"));
    let text = "[pace]\nmode = 'unpaced'\n[compare]\nidentity = ['$.order_id']\n";
    let report = rehearse(desk.path(), &old, &new, text);
    assert_eq!((report.verdict, drives(&report).len()), (Verdict::Agree, 3), "{:#?}", report.reasons);
    let later = pattern(&report, Kind::Later);
    assert_eq!((later.count, later.standing), (3, Standing::Suspected));
    let first = later.first.as_ref().unwrap();
    assert_eq!((first.offset, first.event_time_ms), (Some(8), Some(1_700_000_008_000)));

    let report = rehearse(desk.path(), &old, &new, &format!("{text}[gates]\nlater = 0\n"));
    assert_eq!((report.verdict, drives(&report).len()), (Verdict::Differ, 4), "{:#?}", report.reasons);
    assert_eq!(pattern(&report, Kind::Later).standing, Standing::Proven);
    let report = rehearse(desk.path(), &old, &new, &format!("{text}[gates]\nlater = 3\n"));
    assert_eq!((report.verdict, drives(&report).len()), (Verdict::Agree, 3), "{:#?}", report.reasons);

    let report = rehearse(desk.path(), &new, &old, &format!("{text}[gates]\nearlier = 0\n"));
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    assert_eq!(pattern(&report, Kind::Earlier).count, 3);
}

#[test]
fn a_few_effects_that_only_new_repeats_are_proven_when_they_are_repeated_again() {
    let desk = desk(2_000);
    let old = "['awk', '!seen[$0]++']";
    let new = r#"['awk', '!seen[$0]++ || /"order_id":(17|900)}/']"#;
    // The pattern alone would not be worth a drive: its gate lets it pass.
    let more = format!(
        "{VALUES}[[fault]]\nname = 'twice'\nkind = 'duplicate'\nprobability = 1.0\nafter = '1s'\n[gates]\nrepeated = 100\n"
    );
    let report = rehearse(desk.path(), old, new, &more);
    assert_eq!(drives(&report), ["old", "old-again", "new", "old-once", "new-once", "new-again"]);
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    assert!(
        report.reasons[0].starts_with("redelivery makes new repeat 2 effects beyond old's"),
        "{:#?}",
        report.reasons
    );
    let idempotency = report.idempotency.as_ref().unwrap();
    assert_eq!((idempotency.increase, idempotency.statistics.recurred), (Some(Standing::Proven), Some(2)));
    assert_eq!(relation(&report, "redelivery"), "broken by new");
}

#[test]
fn a_build_that_holds_outputs_back_fails_the_gate_on_latency() {
    let desk = desk(3_000);
    // New writes nothing before the end of its input, a second later than old in the middle. What is late by the machine's doing
    // must not void the gate; four drives of old tell it from what new does, however busy the machine is; and the tail is too
    // much the machine's to be judged here.
    let more = "repeat-old = 3\n[pace]\nmode = 'rate'\nrate = 1500.0\n[gates]\np50-latency-increase = '20%'\nlateness-p99 = '20s'\nslow-down = 50.0\n";
    let report = rehearse(desk.path(), "['cat']", "['dd', 'obs=16M']", more);
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    assert!(report.reasons[0].starts_with("p50 latency grew by"), "{:#?}", report.reasons);
    let latency = report.latency.as_ref().unwrap();
    assert!(latency.increases.iter().all(|increase| increase.q_value.is_some()), "{:#?}", latency.increases);
    assert_eq!(latency.increases[0].noise.as_ref().map(|noise| noise.drives), Some(4));
}

#[test]
fn what_the_machine_does_to_one_drive_of_old_holds_for_new_as_well() {
    let desk = desk(1_500);
    // The machine, played by the build, holds back the second drive of old as much as new: nothing tells which is the rule.
    let script = "case $1 in old) exec cat ;; *) exec dd obs=16M ;; esac";
    fs::write(desk.path().join("uneven.sh"), script).unwrap();
    let build = "['sh', 'uneven.sh', '{drive}']";
    let more = "[pace]\nmode = 'rate'\nrate = 1500.0\n[gates]\np50-latency-increase = '20%'\nlateness-p99 = '20s'\nslow-down = 50.0\n";
    let report = rehearse(desk.path(), build, build, more);
    assert_eq!(report.verdict, Verdict::NoVerdict, "{:#?}", report.reasons);
    assert!(report.reasons[0].contains("perhaps by chance"), "{:#?}", report.reasons);
    assert!(!report.warnings.iter().any(|warning| warning.contains("latency grew")), "{:#?}", report.warnings);
}

/// Answers each event at once; the build told to slow down waits a little before each of the later half. Sleeping is the build's, not the
/// test's.
const SLOWS: &str = r#"
import json, sys, time
late = float(sys.argv[1])
for line in sys.stdin:
    event = json.loads(line)
    if event["offset"] >= 300:
        time.sleep(late)
    print(json.dumps({"value": event["value"], "cause": {k: event[k] for k in ("topic", "partition", "offset")}}), flush=True)
"#;

#[test]
fn a_build_that_slows_from_an_event_on_falls_behind_since_then_and_one_that_does_not_never() {
    let desk = desk(600);
    fs::write(desk.path().join("slows.py"), SLOWS).unwrap();
    let build = |late: &str| format!("['python3', 'slows.py', '{late}']");
    let more = "drain-timeout = '30s'
[pace]
mode = 'rate'
rate = 100.0
[gates]
lateness-p99 = '60s'
slow-down = 50.0
";
    // Twice as long for each of the later half as there is: three seconds behind at the end, whatever the machine does meanwhile.
    let report = rehearse(desk.path(), &build("0"), &build("0.02"), more);
    let series = report.series.as_ref().unwrap();
    let new = &series.drives["new"];
    assert_eq!((new.outputs.iter().sum::<u64>(), new.deliveries.iter().sum::<u64>()), (600, 600));
    for (drive, own) in &series.drives {
        let lengths = [own.outputs.len(), own.deliveries.len(), own.age_us.len(), own.age_largest_us.len()];
        assert!(lengths.iter().all(|length| *length == own.outputs.len() && *length <= 120), "{drive}: {lengths:?}");
    }
    let lagging = report.lagging.as_ref().unwrap();
    let drift = lagging.beyond_old.as_ref().unwrap_or_else(|| panic!("{lagging:#?}"));
    // Due a hundredth of a second after each other; the machine may hide the beginning of it, never bring it forward.
    let onset = &drift.onset;
    assert!(onset.offset.is_some_and(|offset| offset >= 300 - 2 * series.bucket_us / 10_000), "{drift:#?}");
    assert_eq!(onset.event_time_ms, onset.offset.map(|offset| 1_700_000_000_000 + offset * 1_000));
    assert!(drift.new_at_end > drift.old_at_end + 2.0 * lagging.band && lagging.shared.is_none(), "{lagging:#?}");
    assert_eq!(report.measures.iter().map(|found| found.drives.len()).collect::<Vec<_>>(), [3, 3, 3]);

    // Nothing of it, and no gate on it, where nothing is paced.
    let unpaced = "[pace]
mode = 'unpaced'
[gates]
lagging = 0
throughput-decrease = '10%'
";
    let report = rehearse(desk.path(), "['cat']", "['cat']", unpaced);
    assert_eq!((report.verdict, report.series, report.lagging), (Verdict::NoVerdict, None, None));
    assert_eq!(report.measures, []);
}

#[test]
fn an_identity_that_no_output_has_is_no_verdict_and_one_of_several_is_a_warning() {
    let desk = desk(60);
    let lost = VALUES.replace("$.order_id", "$.oder_id");
    let report = rehearse(desk.path(), "['cat']", "['cat']", &lost);
    assert_eq!(report.verdict, Verdict::NoVerdict, "{:#?}", report.reasons);
    assert!(report.reasons[0].starts_with("no output has the identity $.oder_id"), "{:#?}", report.reasons);

    let one_of_two = lost.replace("'$.oder_id'", "'$.order_id', '$.oder_id'");
    let report = rehearse(desk.path(), "['cat']", "['cat']", &one_of_two);
    assert_eq!(report.verdict, Verdict::Agree, "{:#?}", report.reasons);
    assert!(report.warnings.iter().any(|warning| warning.contains("$.oder_id")), "{:#?}", report.warnings);
}
