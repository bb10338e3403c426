//! State: when both builds came to the same last values for good, and changelog topics as tables.

use std::collections::BTreeMap;

use rehearsal::compare::{
    Change, CompareSettings, Comparison, Convergence, Coordinates, Drive, Facts, FidelityBounds, Gates, Kind, Pattern,
    Remembered, Standing, TableRows, Verdict, compare_drives, judge,
};
use rehearsal::outcome::{Cause, CauseBy, Ending, EndingReport, Output};
use rehearsal::plan::Phase;
use rehearsal::report::{Format, render};
use rehearsal::spill::SpillSpace;

use super::report::fixture;

/// The event of each output has its place as its offset, and happened so many seconds after 1970.
fn output(topic: &str, at: usize, key: &str, value: &str) -> Output {
    let cause = Cause { topic: "orders".into(), partition: 0, offset: at as i64, attempt: 0, by: CauseBy::Build };
    Output {
        sequence: at as i64,
        arrived_us: at as i64 * 1_000,
        topic: topic.to_owned(),
        key: (!key.is_empty()).then(|| key.as_bytes().to_vec()),
        value: (value != "-").then(|| value.as_bytes().to_vec()),
        cause: Some(cause),
        ..Output::default()
    }
}

/// Outputs as `key=value`, apart by spaces; `-` is a tombstone.
fn drive(topic: &str, text: &str) -> Remembered {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).enumerate();
    Remembered::finished(pairs.map(|(at, (key, value))| output(topic, at, key, value)).collect())
}

fn compared(rules: &str, old: &[&Remembered], new: &Remembered) -> Comparison {
    let rules = toml::from_str::<CompareSettings>(rules).unwrap().check().unwrap();
    let event = |offset| Coordinates { topic: "orders".into(), partition: 0, offset };
    let times: BTreeMap<Coordinates, i64> = (0..1_000).map(|offset| (event(offset), offset * 1_000)).collect();
    let old: Vec<&dyn Drive> = old.iter().map(|drive| *drive as &dyn Drive).collect();
    compare_drives(&old, &[new as &dyn Drive], &rules, Some(&times), &SpillSpace::system()).unwrap()
}

/// Keys that differed, those that still do, and the event time of the last difference's end in seconds.
fn convergence(rules: &str, old: &str, new: &str) -> Option<(u64, u64, Option<i64>)> {
    let (old, new) = (drive("board", old), drive("board", new));
    let found = compared(rules, &[&old, &old], &new).convergence;
    assert!(found.len() <= 1, "{found:?}");
    let seconds = |found: &Convergence| found.at.as_ref().map(|at| at.event_time_ms.unwrap() / 1_000);
    found.first().map(|found| (found.keys, found.apart, seconds(found)))
}

#[test]
fn both_became_equal_for_good_with_the_last_update_after_a_difference() {
    for (old, new, expected) in [
        ("a=1 b=1 a=2 b=2", "a=1 b=1 a=2 b=2", None),
        // `a` came to 3 at the sixth event of new, `b` at the fourth.
        ("a=1 b=1 a=2 b=2 a=3", "a=1 b=9 a=7 b=2 a=7 a=3", Some((2, 0, Some(5)))),
        ("a=1 a=2 a=3 a=4", "a=1 a=2 a=9 a=4 b=1", Some((1, 0, Some(3)))),
        ("a=1 a=2", "a=1 a=3", Some((1, 1, None))),
        ("a=1 a=2 b=1 b=2", "a=1 a=3 b=7 b=2", Some((2, 1, None))),
        // Outputs of a key that is never updated, or that one side lacks, have no way to come to the same.
        ("a=1 b=1", "a=2 b=1", None),
        ("a=1 a=2", "b=1 b=2", None),
    ] {
        for rules in ["", "order = 'none'"] {
            assert_eq!(convergence(rules, old, new), expected, "{rules} {old} | {new}");
        }
    }
}

#[test]
fn other_spelling_and_what_rules_leave_out_keep_nothing_apart() {
    let (old, new) = (r#"a={"n":1,"at":1} a={"n":2,"at":2}"#, r#"a={"n":1,"at":1} a={"at":9,"n":2.0}"#);
    assert_eq!(convergence("", old, new), Some((1, 1, None)));
    assert_eq!(convergence("tolerance = [{ path = '$.at', absolute = 10 }]", old, new), Some((1, 0, Some(1))));
    assert!(convergence("ignore = ['$.at']", old, new).is_none_or(|(_, apart, _)| apart == 0));
    assert_eq!(convergence("identity = ['$.n']\nignore = ['$.at']", old, new), None);
}

#[test]
fn updates_on_the_way_that_end_alike_are_a_refinement_and_no_difference() {
    let (old, new) = (drive("board", "a=1 a=2 a=3"), drive("board", "a=1 a=3"));
    let found = compared("updates = ['board']", &[&old, &old], &new);
    assert!(found.patterns.iter().all(|pattern| pattern.information), "{:#?}", found.patterns);
    assert_eq!((found.convergence[0].keys, found.convergence[0].apart), (1, 0));
}

#[test]
fn where_a_drive_did_not_finish_nobody_can_tell() {
    let old = drive("board", "a=1 a=2 a=3");
    let new = Remembered { ending: Ending::Died, ..drive("board", "a=1 a=9 a=3") };
    assert!(compared("", &[&old, &old], &new).convergence.is_empty());
}

const TABLE: &str = "tables = ['store-changelog']";

fn table(old: &str, new: &str) -> (TableRows, Comparison) {
    let (old, new) = (drive("store-changelog", old), drive("store-changelog", new));
    let found = compared(TABLE, &[&old, &old], &new);
    (found.tables[0].clone(), found)
}

fn counts(table: &TableRows) -> [u64; 5] {
    [table.old, table.new, table.only_old, table.only_new, table.other]
}

#[test]
fn a_changelog_is_compared_row_by_row_whatever_led_to_it() {
    for (old, new, expected) in [
        // Other updates, another order, rows taken away and put back: the same table.
        ("a=1 b=1 a=2 c=1 c=-", "b=7 a=2 b=1 d=4 d=-", [2, 2, 0, 0, 0]),
        (r#"a={"x":1,"y":2}"#, r#"a={"y":2.0,"x":1}"#, [1, 1, 0, 0, 0]),
        ("a=1 b=1 c=1", "a=1 b=2 d=1", [3, 3, 1, 1, 1]),
        ("a=1 a=-", "a=1", [0, 1, 0, 1, 0]),
        ("a=1", "a=1 a=- b=-", [1, 0, 1, 0, 0]),
    ] {
        let (rows, found) = table(old, new);
        assert_eq!(counts(&rows), expected, "{old} | {new}");
        assert_eq!((found.outputs["old"], rows.judged), (0, true));
        let differs = expected[2..].iter().sum::<u64>();
        assert_eq!(found.differences.get(&Kind::FinalState).copied().unwrap_or(0), differs, "{old} | {new}");
        assert_eq!(found.patterns.is_empty(), differs == 0);
    }
}

#[test]
fn rows_that_differ_are_proven_and_named_by_their_path() {
    let row = |id: usize, amount: usize| format!(r#"k{id}={{"amount":{amount}}}"#);
    let old: Vec<String> = (0..100).map(|id| row(id, 5)).collect();
    let new: Vec<String> =
        (0..100).filter(|id| id % 10 != 1).map(|id| row(id, if id % 10 == 0 { 6 } else { 5 })).collect();
    let (rows, found) = table(&old.join(" "), &new.join(" "));
    assert_eq!(counts(&rows), [100, 90, 10, 0, 10]);
    let of = |change: Change| found.patterns.iter().find(|pattern| pattern.change == Some(change)).unwrap();
    let (value, removed): (&Pattern, &Pattern) = (of(Change::Value), of(Change::Removed));
    assert_eq!((value.kind, value.path.as_deref(), value.count), (Kind::FinalState, Some("$.amount"), 10));
    assert_eq!((value.standing, removed.standing, removed.count), (Standing::Proven, Standing::Proven, 10));
    let finished = || EndingReport::new(Ending::Finished, "");
    let facts = Facts {
        comparison: &found,
        endings: &["old", "new"].map(|drive| (drive.to_owned(), finished())).into(),
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    let judgement = judge(&facts, &Gates::default());
    assert_eq!(judgement.verdict, Verdict::Differ);
    assert!(judgement.reasons.iter().any(|said| said.contains("10 rows of the table in old alone")), "{judgement:#?}");
}

#[test]
fn a_table_that_builds_agree_on_is_a_verdict_without_an_output_and_noise_in_it_is_noise() {
    let (_, found) = table("a=1", "a=1");
    let finished = || EndingReport::new(Ending::Finished, "");
    let facts = Facts {
        comparison: &found,
        endings: &["old", "new"].map(|drive| (drive.to_owned(), finished())).into(),
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    assert_eq!(judge(&facts, &Gates::default()).verdict, Verdict::Agree);
    let [old, again, new] = ["a=1 b=1", "a=2 b=1", "a=3 b=1"].map(|text| drive("store-changelog", text));
    let found = compared(TABLE, &[&old, &again], &new);
    assert_eq!((found.patterns[0].noise_count, found.patterns[0].standing), (1, Standing::Noise));
}

#[test]
fn what_the_warm_up_put_into_a_table_stays_there_and_what_has_no_key_is_no_row() {
    let warm = |drive: Remembered| Remembered {
        outputs: drive.outputs.into_iter().map(|output| Output { phase: Phase::WarmUp, ..output }).collect(),
        ..drive
    };
    let old = warm(drive("store-changelog", "a=1 =5"));
    let new = drive("store-changelog", "b=1 a=1");
    let found = compared(TABLE, &[&old, &old], &new);
    assert_eq!((counts(&found.tables[0]), found.tables[0].keyless), ([1, 2, 0, 1, 0], 2));
}

#[test]
fn a_table_larger_than_memory_is_compared_as_it_is_in_memory() {
    let rows = |drop: usize| {
        let updates = (0..300_000)
            .filter(move |id| id % drop != 1)
            .map(|id| output("store-changelog", id, &format!("k{}", id % 100_000), "1"));
        Remembered::finished(updates.collect())
    };
    // Sixteen MiB hold a third of what is compared.
    let found = compared("tables = ['store-changelog']\nmemory = 16", &[&rows(1_000_000)], &rows(1_000));
    assert_eq!(counts(&found.tables[0]), [100_000, 99_900, 100, 0, 0]);
    let found = compared("tables = ['store-changelog']\nmemory = 16", &[&rows(1_000_000)], &rows(100_000));
    assert_eq!(counts(&found.tables[0]), [100_000, 99_999, 1, 0, 0]);
}

#[test]
fn every_format_shows_state() {
    let mut report = fixture::differ();
    let (old, new) = (drive("board", "a=1 a=2 a=3"), drive("board", "a=1 a=9 a=3"));
    report.convergence = compared("", &[&old, &old], &new).convergence;
    report.tables = vec![table("a=1 b=1", "a=2").0];
    for format in Format::ALL {
        // Terminals are narrow.
        let text = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        if format == Format::Json {
            assert!(text.contains("\"only_old\": 1") && text.contains("\"apart\": 0"));
            continue;
        }
        for said in [
            "board: 1 key differed on the way; equal for good since",
            "table store-changelog: 2 rows in old, 1 in new; 1 in old alone",
        ] {
            assert!(text.contains(said), "{format}: {said}");
        }
    }
}
