//! Tables that production wrote: their rows at the slice's end against what new leaves, and where nobody can tell.

use std::collections::BTreeMap;
use std::path::Path;

use rehearsal::compare::{
    Change, CompareSettings, Comparison, Drive, Facts, FidelityBounds, Gates, Kind, KnownTable, Production, Remembered,
    Rules, Side, Standing, TableRows, Verdict, compare_drives, judge,
};
use rehearsal::outcome::{Cause, CauseBy, Ending, EndingReport, Output};
use rehearsal::plan::Phase;
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Role, Source, TimestampType, TopicSource};
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::Against;
use rehearsal::spill::SpillSpace;
use serde_json::json;

use super::again::there_and_back;
use super::golden::rehearse_as;

// ---- drives in memory ----

/// Updates as `key=value`, apart by spaces: `-` is a tombstone, a leading `^` says that it stood there before the slice, a leading `~`
/// that it lies at an edge. Those of a build name the event of their place, from 100 on in flight.
fn drive(text: &str, production: bool) -> Remembered {
    let output = |(at, word): (usize, &str)| {
        let (key, value) = word.trim_start_matches(['^', '~']).split_once('=').unwrap();
        let at_edge = word.starts_with('~');
        let offset = at as i64 + if at_edge { 100 } else { 0 };
        let cause = Cause { topic: "orders".into(), partition: 0, offset, attempt: 0, by: CauseBy::Inferred };
        Output {
            sequence: at as i64,
            topic: "balances".to_owned(),
            phase: match word.as_bytes()[0] {
                b'^' => Phase::WarmUp,
                b'~' if production => Phase::Drain,
                _ => Phase::Main,
            },
            key: Some(key.as_bytes().to_vec()),
            value: (value != "-").then(|| value.as_bytes().to_vec()),
            cause: (!production).then_some(cause),
            ..Output::default()
        }
    };
    Remembered::finished(text.split_whitespace().enumerate().map(output).collect())
}

fn rules(side: Side, table: KnownTable) -> Rules {
    let production = Production {
        side,
        in_flight: Some([(("orders".to_owned(), 0), 100)].into()),
        topics: Some([].into()),
        tables: [("balances".to_owned(), table)].into(),
    };
    CompareSettings::default().check().unwrap().against_production(production)
}

const WHOLE: KnownTable = KnownTable { whole: true, untold: None };

fn compared(production: &str, new: &[&str], table: KnownTable) -> Comparison {
    let (production, new) = (drive(production, true), new.iter().map(|text| drive(text, false)).collect::<Vec<_>>());
    let new: Vec<&dyn Drive> = new.iter().map(|drive| drive as &dyn Drive).collect();
    let rules = rules(Side::Old, table.clone());
    let there = compare_drives(&[&production], &new, &rules, None, &SpillSpace::system()).unwrap();
    let rules = self::rules(Side::New, table);
    let back = compare_drives(&new, &[&production], &rules, None, &SpillSpace::system()).unwrap();
    let mirrored = |table: &TableRows| TableRows {
        old: table.new,
        new: table.old,
        only_old: table.only_new,
        only_new: table.only_old,
        ..table.clone()
    };
    assert_eq!(back.tables.iter().map(mirrored).collect::<Vec<_>>(), there.tables);
    assert_eq!((back.at_edges, &back.differences), (there.at_edges, &there.differences));
    there
}

/// Rows of production and of new, those in one alone, and those with another value.
fn counts(found: &Comparison) -> [u64; 5] {
    let table = &found.tables[0];
    [table.old, table.new, table.only_old, table.only_new, table.other]
}

#[test]
fn rows_at_the_end_are_compared_whatever_led_to_them_and_what_nobody_wrote_stands() {
    for (production, new, expected) in [
        ("a=1 b=1 a=2", "b=1 a=2", [2, 2, 0, 0, 0]),
        // What stood there and was not touched stands on both sides, whatever new writes elsewhere.
        ("^z=9 ^y=8 a=1", "a=1", [3, 3, 0, 0, 0]),
        // Written again as it stood: new leaves it standing, which comes to the same.
        ("^z=9 z=9", "", [1, 1, 0, 0, 0]),
        ("^z=9 z=7 z=9", "", [1, 1, 0, 0, 0]),
        ("^z=9", "z=9", [1, 1, 0, 0, 0]),
        ("^z=9 z=-", "z=-", [0, 0, 0, 0, 0]),
        // Production wrote another value, or took it away, and new did not; and the other way round.
        ("^z=9 z=7", "", [1, 1, 0, 0, 1]),
        ("^z=9", "z=7", [1, 1, 0, 0, 1]),
        ("^z=9 z=-", "", [0, 1, 0, 1, 0]),
        ("^z=9", "z=-", [1, 0, 1, 0, 0]),
        ("a=1 b=1", "a=1", [2, 1, 1, 0, 0]),
        ("a=1", "a=1 b=1", [1, 2, 0, 1, 0]),
        ("^z=- a=1", "a=1", [1, 1, 0, 0, 0]),
        ("^z=-", "z=1", [0, 1, 0, 1, 0]),
    ] {
        let found = compared(production, &[new, new], WHOLE);
        assert_eq!(counts(&found), expected, "{production} | {new}");
        let differs = expected[2..].iter().sum::<u64>();
        assert_eq!(found.differences.get(&Kind::FinalState).copied().unwrap_or(0), differs, "{production} | {new}");
        assert_eq!((found.patterns.is_empty(), found.tables[0].judged), (differs == 0, true));
    }
}

#[test]
fn a_row_whose_last_update_lies_at_an_edge_is_left_out_and_counted() {
    for (production, new, left_out) in [
        ("a=1 ~b=2", "a=1", 1),
        ("a=1", "a=1 ~b=2", 1),
        ("~a=1 b=1", "a=2 b=1", 1),
        ("a=1 b=1", "~a=2 b=1", 1),
        // At an edge and the same all the same.
        ("~a=1", "~a=1", 0),
        ("~a=1 a=3", "a=3", 0),
    ] {
        let found = compared(production, &[new, new], WHOLE);
        assert!(found.patterns.is_empty(), "{production} | {new}: {:#?}", found.patterns);
        assert_eq!(found.at_edges, left_out, "{production} | {new}");
    }
    // Not at an edge any more.
    assert_eq!(compared("~a=1 a=3", &["a=2", "a=2"], WHOLE).differences[&Kind::FinalState], 1);
}

#[test]
fn rows_are_tested_as_all_else_is_and_the_noise_is_news() {
    let rows = |changed: usize| {
        (0..60).map(|key| format!("k{key}={}", if key < changed { 2 } else { 1 })).collect::<Vec<_>>().join(" ")
    };
    for (changed, standing) in [(6, Standing::Proven), (3, Standing::Suspected)] {
        let found = compared(&rows(0), &[&rows(changed), &rows(changed)], WHOLE);
        let pattern = &found.patterns[0];
        assert_eq!((pattern.kind, pattern.count, pattern.standing), (Kind::FinalState, changed as u64, standing));
        assert_eq!(pattern.change, Some(Change::Value));
    }
    let found = compared(&rows(0), &[&rows(6), &rows(0)], WHOLE);
    assert_eq!((found.patterns[0].standing, found.noise.unwrap()[&Kind::FinalState]), (Standing::Noise, 6));
}

fn judged(found: &Comparison) -> (Verdict, String) {
    let finished = || EndingReport::new(Ending::Finished, "");
    let facts = Facts {
        comparison: found,
        endings: &["old", "new"].map(|drive| (drive.to_owned(), finished())).into(),
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    let judgement = judge(&facts, &Gates::default());
    (judgement.verdict, judgement.reasons.join("; "))
}

#[test]
fn what_may_have_stood_there_before_the_recording_began_is_no_difference_and_no_agreement() {
    let part = KnownTable { whole: false, untold: None };
    let found = compared("a=1", &["a=1 b=2", "a=1 b=2"], part.clone());
    assert_eq!((counts(&found), found.tables[0].untold, found.patterns.len()), ([1, 2, 0, 0, 0], 1, 0));
    let (verdict, said) = judged(&found);
    assert_eq!(verdict, Verdict::NoVerdict);
    assert!(said.contains("1 row of the table balances may have stood there in production"), "{said}");
    // What production wrote at some time is known of, and so is all of a table that was captured whole.
    assert_eq!(judged(&compared("^b=2 a=1", &["a=1 b=2", "a=1 b=2"], part.clone())).0, Verdict::Agree);
    assert_eq!(judged(&compared("a=1", &["a=1", "a=1"], part)).0, Verdict::Agree);
    assert_eq!(judged(&compared("a=1", &["a=1 b=2", "a=1 b=2"], WHOLE)).0, Verdict::NoVerdict);
}

#[test]
fn a_table_whose_end_is_not_known_is_no_verdict_and_says_why() {
    let lost = KnownTable { whole: true, untold: Some("2 of its offsets are not in the recording".to_owned()) };
    for new in ["a=1", "a=2", ""] {
        let found = compared("a=1", &[new, new], lost.clone());
        assert!(found.patterns.is_empty() && !found.tables[0].judged);
        let (verdict, said) = judged(&found);
        assert_eq!(verdict, Verdict::NoVerdict);
        assert!(said.contains("balances was not held against production's: 2 of its offsets"), "{said}");
    }
}

// ---- whole runs ----

const START_MS: i64 = 1_700_000_000_000;

const KEYS: i64 = 40;

/// A recording of orders, one a second, and of the table that production kept of the last of each of 40 keys, 100 ms later; beside them
/// it holds rows of long ago, and of key `z` whatever `z` says.
fn desk(role: Role, kept: impl Fn(i64) -> Option<i64>, lost: Option<i64>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let topic = |name: &str, role| TopicSource { name: name.to_owned(), partitions: 1, role, ..TopicSource::default() };
    let topics = vec![topic("balances", role), topic("orders", Role::Input)];
    let source = Source { topics, ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("orders"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    let mut event = |topic: &str, offset: i64, at_ms: i64, key: &str, value: &str| {
        batch.push_event(&Event {
            topic: topic.to_owned(),
            offset,
            timestamp_ms: Some(at_ms),
            timestamp_type: TimestampType::Create,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            ..Event::default()
        });
    };
    for (offset, key) in ["x", "y", "z"].into_iter().enumerate() {
        event("balances", offset as i64, START_MS - 86_400_000, key, r#"{"id":-1,"amount":0}"#);
    }
    let mut next = 3;
    for id in 0..120 {
        let (at_ms, key) = (START_MS + id * 1_000, format!("k{}", id % KEYS));
        event("orders", id, at_ms, &key, &json!({ "id": id, "amount": id * 3 }).to_string());
        if let Some(amount) = kept(id) {
            if lost != Some(next) {
                event("balances", next, at_ms + 100, &key, &json!({ "id": id, "amount": amount }).to_string());
            }
            next += 1;
        }
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

const SCENARIO: &str = "recording = 'orders'\n[select]\ntopics = ['orders']\n[new]\ncommand = ['sed', '-u', 's/\"orders\"/\"balances\"/']\n\
    [pace]\nmode = 'unpaced'\n[golden]\nedge = '5s'\n[drive]\nsettle = '50ms'\noutputs = ['balances']\n";

fn rehearse(desk: &Path, more: &str) -> Report {
    rehearse_as(desk, Against::Recorded, &format!("{SCENARIO}{more}"))
}

#[test]
fn a_release_that_leaves_the_table_that_production_left_agrees() {
    // Of some orders production wrote more than once what it came to, of others nothing on the way.
    let desk = desk(Role::Table, |id| (id >= 80 || id % 3 == 0).then_some(id * 3), None);
    let report = rehearse(desk.path(), "");
    assert_eq!(report.verdict, Verdict::Agree, "{:#?} {:#?}", report.reasons, report.patterns);
    let table = &report.tables[0];
    assert_eq!((table.topic.as_str(), table.old, table.new, table.judged), ("balances", 43, 43, true));
    there_and_back(desk.path(), "0001", &report);
    for format in Format::ALL {
        let text = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        for said in ["Compared as tables, by the last value of each key", "the tables that production wrote"] {
            assert!(text.contains(said), "{format}: {said}");
        }
    }
}

#[test]
fn a_release_that_leaves_another_table_differs() {
    let other = |id| Some(if id >= 80 && id % 4 == 0 { id * 3 + 1 } else { id * 3 });
    let desk = desk(Role::Table, other, None);
    let report = rehearse(desk.path(), "");
    assert_eq!(report.verdict, Verdict::Differ, "{:#?}", report.reasons);
    let pattern = report.patterns.iter().find(|pattern| pattern.kind == Kind::FinalState).unwrap();
    assert_eq!((pattern.path.as_deref(), pattern.standing), (Some("$.amount"), Standing::Proven));
    assert_eq!(report.tables[0].other, pattern.count);
    there_and_back(desk.path(), "0001", &report);
}

#[test]
fn rows_are_those_at_the_slices_end_and_not_at_the_recordings() {
    let desk = desk(Role::Table, |id| Some(if id < 80 { id * 3 } else { 0 }), None);
    let slice = SCENARIO.replace("topics = ['orders']", "topics = ['orders']\nto = '2023-11-14T22:14:40Z'");
    let report = rehearse_as(desk.path(), Against::Recorded, &slice);
    assert_eq!(report.verdict, Verdict::Agree, "{:#?} {:#?}", report.reasons, report.patterns);
    assert_eq!(report.tables[0].old, 43);
}

#[test]
fn where_the_recording_does_not_hold_the_tables_end_nobody_can_tell() {
    let lost = desk(Role::Table, |id| Some(id * 3), Some(50));
    let report = rehearse(lost.path(), "");
    assert_eq!(report.verdict, Verdict::NoVerdict);
    assert!(
        report.reasons[0]
            .contains("balances was not held against production's: 1 of its offsets is not in the recording"),
        "{:#?}",
        report.reasons
    );
    assert!(report.against.unwrap().says.iter().any(|said| said.starts_with("Cannot tell what the table balances")));
}

#[test]
fn a_changelog_is_a_table_where_builds_write_it_and_is_said_to_be_left_out_where_they_do_not() {
    let desk = desk(Role::Changelog, |id| Some(id * 3), None);
    let report = rehearse(desk.path(), "");
    assert_eq!((report.verdict, report.tables[0].old), (Verdict::Agree, 43), "{:#?}", report.reasons);
    there_and_back(desk.path(), "0001", &report);
    let elsewhere = SCENARIO.replace("outputs = ['balances']\n", "").replace("edge =", "topics = ['orders']\nedge =");
    let elsewhere = elsewhere.replace("'s/\"orders\"/\"balances\"/'", "'s/a/a/'");
    let report = rehearse_as(desk.path(), Against::Recorded, &elsewhere);
    assert!(report.tables.is_empty(), "{:#?}", report.tables);
}

#[test]
fn outputs_are_rows_where_the_rules_say_so() {
    let desk = desk(Role::Output, |id| (id >= 80 || id % 3 == 0).then_some(id * 3), None);
    assert_eq!(rehearse(desk.path(), "").verdict, Verdict::Differ);
    let report = rehearse(desk.path(), "[compare]\ntables = ['balances']\n");
    assert_eq!(report.verdict, Verdict::Agree, "{:#?} {:#?}", report.reasons, report.patterns);
    let says = &report.against.as_ref().unwrap().says;
    assert!(says.iter().any(|said| said.contains("as `compare.tables` names it")), "{says:#?}");
    there_and_back(desk.path(), "0002", &report);
}
