//! Comparing outcomes: each kind of difference is found, its benign twin is not, and chance is told from change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use proptest::prelude::*;
use rehearsal::compare::{
    Causes, Change, CompareError, CompareSettings, Comparison, Coordinates, Drive, EventTimes, GateSettings, Gates,
    Idempotency, Kind, Latency, LatencyIncrease, LatencyNoise, Pattern, Redelivered, Remembered, Rules, Standing,
    Statistics, compare, compare_drives, idempotency_of_drives, settle,
};
use rehearsal::outcome::{Cause, CauseBy, Channel, Ending, EndingReport, Outcome, OutcomeWriter, Output, Receipt};
use rehearsal::plan::{Delivery, Phase};
use rehearsal::recording::{Header, Place};
use rehearsal::spill::SpillSpace;

// ---- outputs in one line ----

fn output(key: &str, value: &str) -> Output {
    Output {
        topic: "payouts".to_owned(),
        key: (!key.is_empty()).then(|| key.as_bytes().to_vec()),
        value: Some(value.as_bytes().to_vec()),
        ..Output::default()
    }
}

fn caused(key: &str, value: &str, offset: i64, attempt: i32) -> Output {
    let cause = Cause { topic: "flights".to_owned(), partition: 0, offset, attempt, by: CauseBy::Build };
    Output { cause: Some(cause), ..output(key, value) }
}

fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().enumerate();
    Remembered::finished(
        numbered.map(|(at, output)| Output { sequence: at as i64, arrived_us: at as i64 * 10, ..output }).collect(),
    )
}

/// Outputs as `key=value`, apart by spaces outside of braces.
fn outputs(text: &str) -> Remembered {
    drive(text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).map(|(key, value)| output(key, value)))
}

fn rules(toml: &str) -> Rules {
    toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap()
}

fn compared(old: &[&Remembered], new: &[&Remembered], rules: &Rules) -> Comparison {
    compared_at(old, new, rules, None)
}

fn compared_at(old: &[&Remembered], new: &[&Remembered], rules: &Rules, times: Option<&dyn EventTimes>) -> Comparison {
    let spill = SpillSpace::system();
    let old: Vec<&dyn Drive> = old.iter().map(|drive| *drive as &dyn Drive).collect();
    let new: Vec<&dyn Drive> = new.iter().map(|drive| *drive as &dyn Drive).collect();
    compare_drives(&old, &new, rules, times, &spill).unwrap()
}

fn kinds(comparison: &Comparison) -> Vec<(Kind, u64)> {
    comparison.differences.iter().map(|(kind, count)| (*kind, *count)).collect()
}

#[track_caller]
fn check(toml: &str, old: &Remembered, new: &Remembered, expected: &[(Kind, u64)]) -> Comparison {
    let comparison = compared(&[old], &[new], &rules(toml));
    assert_eq!(kinds(&comparison), expected);
    comparison
}

fn signatures(comparison: &Comparison) -> Vec<(Kind, Option<&str>, Option<Change>, u64)> {
    let patterns = comparison.patterns.iter();
    patterns.map(|pattern| (pattern.kind, pattern.path.as_deref(), pattern.change, pattern.count)).collect()
}

fn pattern(comparison: &Comparison, kind: Kind) -> &Pattern {
    comparison.patterns.iter().find(|pattern| pattern.kind == kind).unwrap()
}

// ---- kinds ----

#[test]
fn the_same_outputs_do_not_differ() {
    let old = outputs("a=1 b=2 a=3");
    let comparison = check("", &old, &old, &[]);
    assert_eq!((comparison.matched, comparison.identities), (3, 2));
    assert_eq!(comparison.outputs, BTreeMap::from([("old".to_owned(), 3), ("new".to_owned(), 3)]));
}

#[test]
fn one_output_lost_of_fifty_is_one_missing() {
    for lost in [0, 20, 49] {
        let old: Vec<Output> = (0..50).map(|value| output("k", &value.to_string())).collect();
        let mut new = old.clone();
        new.remove(lost);
        let comparison = compared(&[&drive(old)], &[&drive(new)], &rules(""));
        assert_eq!(comparison.differences.get(&Kind::Missing), Some(&1), "{lost}");
        assert_eq!(comparison.differences.get(&Kind::Changed), None, "{lost}");
        assert_eq!(comparison.matched, 49, "{lost}");
    }
}

#[test]
fn an_output_that_new_did_not_write_is_missing_only_where_new_finished() {
    let (old, mut new) = (outputs("a=1 b=2"), outputs("a=1"));
    check("", &old, &new, &[(Kind::Missing, 1)]);
    new.ending = Ending::Died;
    check("", &old, &new, &[(Kind::Unseen, 1), (Kind::Died, 1)]);
    new.ending = Ending::StoppedReading;
    check("", &old, &new, &[(Kind::Unseen, 1), (Kind::NoProgress, 1)]);
}

#[test]
fn an_ending_of_new_is_proven_unless_a_drive_of_old_ended_so_too() {
    let (old, mut new) = (outputs("a=1 b=2"), outputs("a=1"));
    for (ending, kind) in
        [(Ending::Died, Kind::Died), (Ending::TimedOut, Kind::NoProgress), (Ending::StoppedReading, Kind::NoProgress)]
    {
        new.ending = ending;
        let standing = |again| pattern(&compared(&[&old, again], &[&new], &rules("")), kind).standing;
        assert_eq!((standing(&old), standing(&new)), (Standing::Proven, Standing::Suspected), "{ending:?}");
    }
}

#[test]
fn a_name_that_stands_twice_in_an_object_hides_no_change() {
    let of = |value: &str| drive([output("a", value)]);
    for (old, new, path) in [
        (r#"{"n":1,"n":2}"#, r#"{"n":3,"n":2}"#, "$"),
        (r#"{"n":1,"n":2}"#, r#"{"n":1,"n":3}"#, "$.n"),
        (r#"{"n":1,"n":2}"#, r#"{"n":2}"#, "$"),
    ] {
        let comparison = check("", &of(old), &of(new), &[(Kind::Changed, 1)]);
        assert_eq!(signatures(&comparison), [(Kind::Changed, Some(path), Some(Change::Value), 1)]);
    }
}

#[test]
fn an_ending_that_old_had_as_well_is_no_difference() {
    let mut both = outputs("a=1");
    for ending in [Ending::Died, Ending::TimedOut] {
        both.ending = ending;
        check("", &both, &both, &[]);
    }
}

#[test]
fn an_output_only_the_new_build_wrote_is_extra() {
    check("", &outputs("a=1"), &outputs("a=1 b=2"), &[(Kind::Extra, 1)]);
}

#[test]
fn more_outputs_of_an_identity_are_repeated_exactly_semantically_or_in_conflict() {
    let old = outputs(r#"a={"n":1,"m":2}"#);
    for (again, change) in [
        (r#"{"n":1,"m":2}"#, Change::Exact),
        (r#"{"m":2,"n":1.0}"#, Change::Semantic),
        (r#"{"n":7,"m":2}"#, Change::Conflicting),
    ] {
        let new = drive([output("a", r#"{"n":1,"m":2}"#), output("a", again)]);
        let comparison = compared(&[&old], &[&new], &rules("order = 'none'"));
        let repeated = pattern(&comparison, Kind::Repeated);
        assert_eq!((repeated.change, repeated.count, comparison.matched), (Some(change), 1, 1), "{again}");
        assert_eq!(repeated.examples[0].new.as_ref().unwrap().value.as_deref(), Some(again));
    }
    let twice = outputs("a=1 a=1");
    check("", &twice, &twice, &[]);
}

#[test]
fn an_output_without_key_that_comes_twice_is_repeated() {
    check("", &outputs("=1 =2"), &outputs("=1 =2 =1"), &[(Kind::Repeated, 1)]);
    check("", &outputs("=1 =2"), &outputs("=1 =2 =3"), &[(Kind::Extra, 1)]);
}

#[test]
fn a_changed_value_is_named_path_by_path_and_counted_once() {
    let old = outputs(r#"a={"amount":250,"currency":"EUR","items":[{"p":1.25}]}"#);
    let new = outputs(r#"a={"amount":300,"currency":"USD","items":[{"p":1.3}]}"#);
    let comparison = check("", &old, &new, &[(Kind::Changed, 1)]);
    let mut found = signatures(&comparison);
    found.sort();
    assert_eq!(
        found,
        [
            (Kind::Changed, Some("$.amount"), Some(Change::Value), 1),
            (Kind::Changed, Some("$.currency"), Some(Change::Value), 1),
            (Kind::Changed, Some("$.items[*].p"), Some(Change::Precision), 1),
        ]
    );
    assert_eq!(comparison.matched, 0);
}

#[test]
fn other_bytes_of_the_same_json_are_information_unless_bytes_count() {
    let (old, new) = (outputs(r#"a={"n":1,"m":2}"#), outputs(r#"a={"m":2.0,"n":1}"#));
    let comparison = check("", &old, &new, &[(Kind::Changed, 1)]);
    let encoding = pattern(&comparison, Kind::Changed);
    assert_eq!((encoding.change, encoding.information), (Some(Change::Encoding), true));
    let comparison = check("bytes = true", &old, &new, &[(Kind::Changed, 1)]);
    assert!(!pattern(&comparison, Kind::Changed).information);
}

#[test]
fn outputs_without_keys_pair_by_occurrence() {
    let (old, new) = (outputs("=10 =20 =30 =40"), outputs("=10 =21 =30 =41"));
    let comparison = check("", &old, &new, &[(Kind::Changed, 2)]);
    assert_eq!(signatures(&comparison), [(Kind::Changed, Some("$"), Some(Change::Value), 2)]);
    check("", &old, &outputs("=40 =30 =20 =10"), &[(Kind::BenignReorder, 3)]);
}

#[test]
fn what_is_ignored_or_tolerated_is_silent_but_counted() {
    let toml = "ignore = ['$.at']\ntolerance = [{ path = '$.amount', absolute = 0.005 }]";
    let old = outputs(r#"a={"at":1,"amount":1.000} b={"at":1,"amount":2} c={"amount":3,"at":9}"#);
    let new = outputs(r#"a={"at":2,"amount":1.004} b={"at":1,"amount":2} c={"amount":3,"at":8}"#);
    let comparison = check(toml, &old, &new, &[]);
    let silenced = BTreeMap::from([("ignore $.at".to_owned(), 2), ("tolerance $.amount".to_owned(), 1)]);
    assert_eq!((comparison.matched, comparison.silenced), (3, silenced));
    let beyond = outputs(r#"a={"at":2,"amount":1.006} b={"at":1,"amount":2} c={"amount":3,"at":9}"#);
    let comparison = check(toml, &old, &beyond, &[(Kind::Changed, 1)]);
    assert_eq!(signatures(&comparison), [(Kind::Changed, Some("$.amount"), Some(Change::Value), 1)]);
}

#[test]
fn the_same_value_under_another_topic_or_key_is_rerouted() {
    let old = drive([output("a", r#"{"id":1}"#), output("b", r#"{"id":2}"#)]);
    let other_key = drive([output("a", r#"{"id":1}"#), output("c", r#"{"id":2}"#)]);
    let other_topic =
        drive([output("a", r#"{"id":1}"#), Output { topic: "refunds".to_owned(), ..output("b", r#"{"id":2}"#) }]);
    for toml in ["", "identity = ['$.id']"] {
        for (new, change) in [(&other_key, Change::Key), (&other_topic, Change::Topic)] {
            let comparison = check(toml, &old, new, &[(Kind::Rerouted, 1)]);
            assert_eq!(signatures(&comparison), [(Kind::Rerouted, None, Some(change), 1)]);
            assert_eq!(comparison.matched, 1);
        }
    }
}

#[test]
fn what_two_events_caused_is_not_rerouted() {
    let (old, new) = (drive([caused("a", "\"ok\"", 1, 0)]), drive([caused("b", "\"ok\"", 2, 0)]));
    check("", &old, &new, &[(Kind::Missing, 1), (Kind::Extra, 1)]);
}

#[test]
fn another_partition_counts_only_where_both_builds_use_several() {
    let on = |partitions: [i32; 2]| {
        let [one, two] = partitions;
        drive([Output { partition: one, ..output("a", "1") }, Output { partition: two, ..output("b", "2") }])
    };
    check("", &on([0, 1]), &on([1, 0]), &[(Kind::Rerouted, 2)]);
    check("", &on([0, 0]), &on([1, 0]), &[]);
}

#[test]
fn headers_and_given_timestamps_are_metadata() {
    let with = |trace: &str, timestamp_ms| {
        let header = Header { name: "trace".to_owned(), value: Some(trace.as_bytes().to_vec()) };
        drive([Output { headers: vec![header], timestamp_ms: Some(timestamp_ms), ..output("a", "1") }])
    };
    let old = with("x", 1_000);
    let comparison = check("", &old, &with("y", 1_000), &[(Kind::Metadata, 1)]);
    assert_eq!(pattern(&comparison, Kind::Metadata).change, Some(Change::Headers));
    let comparison = check("", &old, &with("x", 1_500), &[(Kind::Metadata, 1)]);
    assert_eq!(pattern(&comparison, Kind::Metadata).change, Some(Change::Timestamp));
    check("ignore-headers = ['trace']", &old, &with("y", 1_000), &[]);
    check("time-tolerance = '1s'", &old, &with("x", 1_500), &[]);
    check("timestamps = false", &old, &with("x", 9_500), &[]);
}

#[test]
fn another_schema_id_is_metadata() {
    let framed = |id: u8| {
        let value = [&[0, 0, 0, 0, id][..], b"{\"n\":1}"].concat();
        drive([Output { value: Some(value), ..output("a", "") }])
    };
    let comparison = check("", &framed(1), &framed(2), &[(Kind::Metadata, 1)]);
    assert_eq!(pattern(&comparison, Kind::Metadata).change, Some(Change::Encoding));
    check("", &framed(1), &framed(1), &[]);
}

#[test]
fn two_outputs_of_a_key_that_swapped_are_reordered() {
    let (old, new) = (outputs("a=1 a=2 b=1"), outputs("a=2 a=1 b=1"));
    let comparison = check("", &old, &new, &[(Kind::Reordered, 1), (Kind::FinalState, 1)]);
    assert_eq!(comparison.matched, 2);
    check("order = 'none'", &old, &new, &[(Kind::BenignReorder, 1), (Kind::FinalState, 1)]);
    check("", &old, &outputs("a=1 b=1 a=2"), &[(Kind::BenignReorder, 1)]);
}

#[test]
fn two_outputs_of_different_keys_that_swapped_are_benign() {
    let (old, new) = (outputs("a=1 b=2 c=3 d=4"), outputs("b=2 a=1 c=3 d=4"));
    let comparison = check("", &old, &new, &[(Kind::BenignReorder, 1)]);
    assert!(pattern(&comparison, Kind::BenignReorder).information);
    assert_eq!((comparison.matched, comparison.reordering.late, comparison.reordering.extent), (4, 1, 1));
    let comparison = check("order = 'total'", &old, &new, &[(Kind::Reordered, 1)]);
    assert_eq!(comparison.matched, 3);
    check("order = 'total'", &old, &old, &[]);
}

#[test]
fn order_within_a_key_counts_across_identities() {
    let of = |ids: [u32; 4]| drive(ids.map(|id| output(if id < 3 { "a" } else { "b" }, &format!("{{\"id\":{id}}}"))));
    let toml = "identity = ['$.id']";
    let comparison = check(toml, &of([1, 2, 3, 4]), &of([2, 1, 3, 4]), &[(Kind::Reordered, 1), (Kind::FinalState, 1)]);
    assert_eq!(comparison.matched, 3);
    check(toml, &of([1, 2, 3, 4]), &of([3, 1, 4, 2]), &[(Kind::BenignReorder, 2)]);
}

#[test]
fn order_within_a_key_counts_whatever_stands_beside_the_values() {
    // What is other each time: order of members, a header, a timestamp, the last places of a sum.
    let of = |drive_number: u64, swapped: bool| {
        let ids = if swapped { [2, 1, 3] } else { [1, 2, 3] };
        drive(ids.map(|id: u64| {
            let (stamp, sum) = (id * 100 + drive_number, format!("0.{id}00000000{drive_number}"));
            let value = match (drive_number + id) % 2 {
                0 => format!("{{\"id\":{id},\"sum\":{sum}}}"),
                _ => format!("{{\"sum\":{sum},\"id\":{id}}}"),
            };
            let header = Header { name: "trace".to_owned(), value: Some(stamp.to_string().into_bytes()) };
            Output { headers: vec![header], timestamp_ms: Some(stamp as i64), ..output("a", &value) }
        }))
    };
    let tolerance = "tolerance = [{ path = '$.sum', absolute = 1e-6 }]";
    for toml in [format!("identity = ['$.id']\n{tolerance}"), tolerance.to_owned()] {
        let found = |new: &Remembered| {
            let comparison = compared(&[&of(1, false)], &[new], &rules(&toml));
            comparison.differences.get(&Kind::Reordered).copied()
        };
        assert_eq!((found(&of(2, false)), found(&of(2, true))), (None, Some(1)), "{toml}");
    }
}

fn times() -> BTreeMap<Coordinates, i64> {
    let at = |offset| Coordinates { topic: "flights".to_owned(), partition: 0, offset };
    (0..10).map(|offset| (at(offset), offset * 1_000)).collect()
}

#[test]
fn the_same_output_at_another_event_time_is_later_or_earlier() {
    let of = |offset| drive([caused("a", "1", offset, 0)]);
    let with =
        |toml: &str, old: i64, new: i64| kinds(&compared_at(&[&of(old)], &[&of(new)], &rules(toml), Some(&times())));
    assert_eq!(with("", 2, 5), [(Kind::Later, 1)]);
    assert_eq!(with("", 5, 2), [(Kind::Earlier, 1)]);
    assert_eq!(with("time-tolerance = '3s'", 2, 5), []);
    assert_eq!(with("", 5, 5), []);
    let stamped = |time| drive([Output { timestamp_ms: Some(time), ..output("a", "1") }]);
    check("event-time = 'timestamp'", &stamped(1), &stamped(2), &[(Kind::Later, 1)]);
    check("event-time = 'timestamp'\ntime-tolerance = '1ms'", &stamped(1), &stamped(2), &[]);
}

#[test]
fn a_cause_that_the_build_did_not_state_says_nothing_of_time_and_tells_nothing_apart() {
    for by in [CauseBy::Inferred, CauseBy::Lineage] {
        let found = |offsets: [i64; 2]| {
            let mut outputs = offsets.map(|offset| caused("a", "1", offset, 0));
            for output in &mut outputs {
                output.cause.as_mut().unwrap().by = by;
            }
            drive(outputs)
        };
        for settings in ["", "order = 'total'", "identity = ['$.id']"] {
            let compared = compared_at(&[&found([1, 2])], &[&found([7, 1])], &rules(settings), Some(&times()));
            assert_eq!(kinds(&compared), [], "{by:?} {settings}");
        }
    }
}

#[test]
fn by_which_way_causes_are_known_is_counted() {
    let by = |by| {
        let cause = Cause { topic: "flights".to_owned(), partition: 0, offset: 7, attempt: 0, by };
        Output { cause: Some(cause), ..output("a", "1") }
    };
    let (build, lineage, inferred) = (CauseBy::Build, CauseBy::Lineage, CauseBy::Inferred);
    let warm_up = Output { phase: Phase::WarmUp, ..by(build) };
    let old = drive([by(build), by(lineage), by(lineage), warm_up]);
    let new = drive([output("a", "1"), by(inferred), by(build)]);
    let comparison = compared(&[&old, &new], &[&new], &rules(""));
    let known = |build, lineage, inferred, unknown| Causes { build, lineage, inferred, unknown };
    let new = known(1, 0, 1, 1);
    let expected = [("new", new), ("old", known(1, 2, 0, 0)), ("old_again", new)];
    assert_eq!(comparison.causes, expected.map(|(drive, causes)| (drive.to_owned(), causes)).into());
    assert_eq!((new.known(), new.unknown), (2, 1));
}

#[test]
fn other_updates_on_the_way_to_the_same_value_are_a_refinement_only_where_a_rule_says_so() {
    let (old, new) = (outputs("a=1 a=5 b=1"), outputs("a=1 a=2 a=3 a=5 b=1"));
    let comparison = check("updates = ['payouts']", &old, &new, &[(Kind::Refinement, 2)]);
    assert!(pattern(&comparison, Kind::Refinement).information);
    check("", &old, &new, &[(Kind::Repeated, 2)]);
    let other_end = outputs("a=1 a=2 a=6 b=1");
    let comparison = compared(&[&old], &[&other_end], &rules("updates = ['payouts']"));
    assert_eq!(comparison.differences.get(&Kind::FinalState), Some(&1));
    assert_eq!(comparison.differences.get(&Kind::Refinement), None);
}

#[test]
fn the_last_value_of_an_updated_key_is_its_final_state() {
    let old = outputs(r#"a={"n":1} a={"n":2}"#);
    let new = outputs(r#"a={"n":1} a={"n":3}"#);
    let comparison = check("", &old, &new, &[(Kind::Changed, 1), (Kind::FinalState, 1)]);
    assert_eq!(pattern(&comparison, Kind::FinalState).path.as_deref(), Some("$.n"));
    // Where another output comes last, the paths of the two are not held against each other.
    let of = |ids: [u32; 2]| drive(ids.map(|id| output("a", &format!("{{\"id\":{id},\"n\":{}}}", id * 7))));
    let comparison =
        check("identity = ['$.id']", &of([1, 2]), &of([2, 1]), &[(Kind::Reordered, 1), (Kind::FinalState, 1)]);
    let of_final = comparison.patterns.iter().filter(|pattern| pattern.kind == Kind::FinalState);
    assert_eq!(of_final.map(|pattern| pattern.path.as_deref()).collect::<Vec<_>>(), [None]);
    // A key with one output on each side has no state beside that output.
    check("", &outputs("a=1"), &outputs("a=2"), &[(Kind::Changed, 1)]);
    // An update on the way changes no final state.
    check("", &outputs("a=1 a=9"), &outputs("a=2 a=9"), &[(Kind::Changed, 1)]);
}

#[test]
fn calls_and_dead_letters_are_kinds_of_their_own() {
    for (channel, kind) in
        [(Channel::Http, Kind::Effect), (Channel::Sink, Kind::SinkDivergence), (Channel::DeadLetter, Kind::DeadLetter)]
    {
        let on = |text: &str| drive(outputs(text).outputs.into_iter().map(|output| Output { channel, ..output }));
        let old = on("a=1 b=2");
        check("", &old, &on("a=1"), &[(kind, 1)]);
        check("", &old, &on("a=1 b=2 c=3"), &[(kind, 1)]);
        check("", &old, &on("a=1 b=3"), &[(kind, 1)]);
        check("", &old, &on("a=1 b=2 b=2"), &[(kind, 1)]);
        check("", &old, &old, &[]);
    }
}

#[test]
fn bytes_that_say_the_same_are_information_on_every_channel() {
    for channel in [Channel::Output, Channel::Http, Channel::Sink, Channel::DeadLetter] {
        let on = |text: &str| drive(outputs(text).outputs.into_iter().map(|output| Output { channel, ..output }));
        let (old, new) = (on(r#"a={"n":1,"m":2}"#), on(r#"a={"m":2,"n":1}"#));
        let comparison = check("", &old, &new, &[(Kind::Changed, 1)]);
        let found = pattern(&comparison, Kind::Changed);
        assert_eq!((found.change, found.information), (Some(Change::Encoding), true), "{channel:?}");
        let comparison = check("bytes = true", &old, &new, &[(Kind::Changed, 1)]);
        assert!(!pattern(&comparison, Kind::Changed).information, "{channel:?}");
    }
}

#[test]
fn rows_of_a_sink_depend_on_none_unless_order_is_total() {
    let on = |text: &str| {
        let rows = outputs(text).outputs.into_iter();
        drive(rows.map(|output| Output { channel: Channel::Sink, ..output }))
    };
    // Of one key, and of several.
    let (old, new) = (on("a=1 a=2 b=3 c=4"), on("c=4 a=2 a=1 b=3"));
    check("", &old, &new, &[]);
    check("order = 'total'", &old, &new, &[(Kind::SinkDivergence, 3)]);
}

#[test]
fn a_line_that_cannot_be_read_is_malformed() {
    let bad = |line: &str| Output { malformed: Some("no JSON".to_owned()), ..output("", line) };
    let (old, new) = (drive([output("a", "1")]), drive([output("a", "1"), bad("Traceback")]));
    let comparison = check("", &old, &new, &[(Kind::Malformed, 1)]);
    assert!(!pattern(&comparison, Kind::Malformed).information);
    let same = check("", &new, &new, &[]);
    assert_eq!(same.unreadable, BTreeMap::from([("old".to_owned(), 1), ("new".to_owned(), 1)]));
    assert!(pattern(&check("", &new, &old, &[(Kind::Malformed, 1)]), Kind::Malformed).information);
}

#[test]
fn a_cause_that_was_only_inferred_from_the_key_is_marked() {
    for (by, inferred) in [(CauseBy::Build, false), (CauseBy::Lineage, false), (CauseBy::Inferred, true)] {
        let cause = Cause { topic: "flights".to_owned(), partition: 0, offset: 7, attempt: 0, by };
        let new = drive([Output { cause: Some(cause), ..output("a", "2") }]);
        let comparison = check("", &outputs("a=1"), &new, &[(Kind::Changed, 1)]);
        assert_eq!(pattern(&comparison, Kind::Changed).first.as_ref().unwrap().inferred, inferred);
    }
}

#[test]
fn warm_up_is_left_out_and_drain_is_compared() {
    let phase = |phase, value: &str| drive([Output { phase, ..output("a", value) }]);
    let comparison = check("", &phase(Phase::WarmUp, "1"), &phase(Phase::WarmUp, "2"), &[]);
    assert_eq!((comparison.outputs["old"], comparison.outputs["new"]), (0, 0));
    check("", &phase(Phase::Drain, "1"), &phase(Phase::Drain, "2"), &[(Kind::Changed, 1)]);
}

#[test]
fn a_null_value_is_not_the_text_null() {
    let null = drive([Output { value: None, ..output("a", "") }]);
    check("", &null, &outputs("a=null"), &[(Kind::Changed, 1)]);
    check("", &null, &null, &[]);
}

#[test]
fn a_pattern_is_first_seen_at_the_due_time_of_its_cause() {
    let old = drive((0..9).map(|offset| caused(&format!("k{offset}"), "1", offset, 0)));
    let mut new =
        drive((0..9).map(|offset| caused(&format!("k{offset}"), if offset < 3 { "1" } else { "2" }, offset, 0)));
    let receipt = |offset: i64| Receipt {
        delivery: Delivery {
            due_us: offset * 500,
            topic: 0,
            partition: 0,
            offset,
            position: offset,
            attempt: 0,
            phase: Phase::Main,
            faults: 0,
            place: Place::default(),
        },
        sent_us: Some(offset * 500 + 20),
    };
    (new.topics, new.receipts) = (vec!["flights".to_owned()], Some((0..9).map(receipt).collect()));
    let comparison = compared_at(&[&old], &[&new], &rules(""), Some(&times()));
    let first = pattern(&comparison, Kind::Changed).first.clone().unwrap();
    assert_eq!((first.offset, first.event_time_ms, first.replay_us), (Some(3), Some(3_000), 1_500));
    assert_eq!(pattern(&comparison, Kind::Changed).examples.len(), 5);
    assert_eq!(pattern(&comparison, Kind::Changed).examples[0].identity, "payouts k3");
}

// ---- sizes ----

#[test]
fn what_does_not_fit_in_memory_is_compared_the_same() {
    let value = |at: u64, changed: bool| format!("{{\"id\":{at},\"n\":{}}}", i32::from(changed));
    let of = |changed: u64, swapped: bool| {
        let mut all: Vec<Output> = (0..400_000)
            .map(|at| output(&format!("k{}", at % 1_000), &value(at, changed > 0 && at % changed == 0)))
            .collect();
        if swapped {
            all.reverse();
        }
        drive(all)
    };
    let (old, new) = (of(0, false), of(1_000, true));
    for toml in ["identity = ['$.id']\norder = 'none'", "order = 'none'"] {
        let small = compared(&[&old], &[&new], &rules(&format!("memory = 16\n{toml}")));
        assert_eq!(small.differences[&Kind::Changed], 400, "{toml}");
        assert_eq!(small.matched, 399_600, "{toml}");
        assert_eq!(small, compared(&[&old], &[&new], &rules(&format!("memory = 2048\n{toml}"))), "{toml}");
    }
}

#[test]
fn an_identity_of_very_many_outputs_is_compared_window_by_window() {
    let of = |lost: &[u64]| {
        drive((0..20_000).filter(|at| !lost.contains(at)).map(|at| output("k", &format!("{{\"n\":{at}}}"))))
    };
    let comparison = check("", &of(&[]), &of(&[5, 9_000]), &[(Kind::Missing, 2)]);
    assert_eq!(comparison.matched, 19_998);
    let mut moved = of(&[]).outputs;
    let late = moved.remove(7);
    moved.insert(15_000, late);
    check("", &of(&[]), &drive(moved), &[(Kind::Reordered, 1)]);
}

// ---- requests to stop ----

/// A spill space that is withdrawn after it was looked at so often.
fn withdrawn_after(looks: u64) -> SpillSpace {
    let left = AtomicU64::new(looks);
    SpillSpace::system().until(move || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err())
}

#[test]
fn whoever_asks_to_stop_gets_no_comparison_however_far_it_has_come() {
    let drive = |seed| noisy(60, 0.1, seed, &[7]);
    let drives = [drive(1), drive(2), drive(3), drive(4)];
    let [old, again, new, once]: [&dyn Drive; 4] = drives.each_ref().map(|drive| drive as &dyn Drive);
    let compared = |spill: &SpillSpace| compare_drives(&[old, again], &[new], &rules("order = 'total'"), None, spill);
    let idempotent = |spill: &SpillSpace| {
        let (old, new) = (Redelivered { with: &[old], once: &again }, Redelivered { with: &[new], once: &once });
        idempotency_of_drives(&old, &new, &rules(""), None, spill)
    };
    stops_at_every_look(|spill| compared(spill).map(drop));
    stops_at_every_look(|spill| idempotent(spill).map(drop));
}

fn stops_at_every_look(work: impl Fn(&SpillSpace) -> Result<(), CompareError>) {
    let looks = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&looks);
    let counted = SpillSpace::system().until(move || {
        counting.fetch_add(1, SeqCst);
        false
    });
    work(&counted).unwrap();
    // Outputs are looked at one by one as they are read, and what is left identity by identity.
    let all = looks.load(SeqCst);
    assert!(all > 240, "{all}");
    for looks in 0..all {
        assert!(matches!(work(&withdrawn_after(looks)), Err(CompareError::Stopped)), "{looks} of {all}");
    }
    work(&withdrawn_after(all)).unwrap();
}

// ---- noise ----

/// A small generator of draws, so that trials are the same on every machine.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 <= share - f64::EPSILON
    }
}

/// A build that now and then loses, repeats or changes an output by chance, and always changes those of `changed`.
fn noisy(outputs: u64, noise: f64, seed: u64, changed: &[u64]) -> Remembered {
    let mut draws = Draws(seed);
    let mut all = Vec::new();
    for at in 0..outputs {
        let key = format!("k{at}");
        let amount = if changed.contains(&at) { 7 } else { 5 };
        match if draws.happens(noise) { draws.next() % 3 } else { 3 } {
            0 => {}
            1 => all.extend([output(&key, r#"{"amount":5}"#), output(&key, r#"{"amount":5}"#)]),
            2 => all.push(output(&key, &format!("{{\"amount\":{}}}", draws.next()))),
            _ => all.push(output(&key, &format!("{{\"amount\":{amount}}}"))),
        }
    }
    drive(all)
}

fn has(comparison: &Comparison, standing: Standing) -> bool {
    comparison.patterns.iter().any(|pattern| !pattern.information && pattern.standing == standing)
}

#[test]
fn a_build_against_itself_is_not_accused_whatever_its_noise() {
    let rules = rules("");
    for (noise, trials) in [(0.0, 10), (0.01, 200), (0.1, 200)] {
        let mut accused = 0;
        for trial in 0..trials {
            let drives: Vec<Remembered> = (0..4).map(|drive| noisy(1_000, noise, trial * 10 + drive, &[])).collect();
            let (old, new) = ([&drives[0], &drives[1]], [&drives[2], &drives[3]]);
            accused += u32::from(has(&compared(&old, &new, &rules), Standing::Proven));
        }
        assert!(accused * 100 <= trials as u32, "{accused} of {trials} at a noise of {noise}");
    }
}

#[test]
fn a_few_wrong_outputs_are_proven_when_they_come_back() {
    let (rules, changed) = (rules(""), [17, 3_000, 9_999]);
    let old = [noisy(10_000, 0.0, 1, &[]), noisy(10_000, 0.0, 2, &[])];
    let new = [noisy(10_000, 0.0, 3, &changed), noisy(10_000, 0.0, 4, &changed)];
    let once = compared(&[&old[0], &old[1]], &[&new[0]], &rules);
    assert!(once.wants_new_again);
    assert_eq!(pattern(&once, Kind::Changed).standing, Standing::Suspected);
    let again = compared(&[&old[0], &old[1]], &[&new[0], &new[1]], &rules);
    let changed = pattern(&again, Kind::Changed);
    assert_eq!((changed.standing, changed.statistics.recurred, changed.count), (Standing::Proven, Some(3), 3));
    assert!(!again.wants_new_again);
    assert_eq!((once.power, again.power), (Some(5), Some(1)));
}

#[test]
fn a_chance_difference_that_does_not_come_back_stays_suspected() {
    let same = noisy(5_000, 0.0, 1, &[]);
    let comparison = compared(&[&same, &same], &[&noisy(5_000, 0.0, 1, &[8]), &same], &rules(""));
    assert_eq!(pattern(&comparison, Kind::Changed).standing, Standing::Suspected);
    assert!(!comparison.wants_new_again);
}

#[test]
fn many_wrong_outputs_are_proven_by_their_number_even_in_noise() {
    let changed: Vec<u64> = (0..100).map(|at| at * 19).collect();
    let old = [noisy(2_000, 0.02, 1, &[]), noisy(2_000, 0.02, 2, &[])];
    let comparison = compared(&[&old[0], &old[1]], &[&noisy(2_000, 0.02, 3, &changed)], &rules(""));
    assert_eq!(pattern(&comparison, Kind::Changed).standing, Standing::Proven);
    for kind in [Kind::Missing, Kind::Repeated] {
        assert_ne!(pattern(&comparison, kind).standing, Standing::Proven);
    }
}

#[test]
fn a_path_on_which_all_drives_differ_cannot_be_judged_and_hides_nothing_else() {
    let of = |seed: u64, amount: u64| {
        let mut draws = Draws(seed);
        drive((0..50).map(|at| output(&format!("k{at}"), &format!("{{\"id\":{},\"amount\":{amount}}}", draws.next()))))
    };
    let same = compared(&[&of(1, 5), &of(2, 5)], &[&of(3, 5)], &rules(""));
    let id = pattern(&same, Kind::Changed);
    assert!(id.unjudgeable);
    assert_eq!((id.path.as_deref(), id.standing, same.wants_new_again), (Some("$.id"), Standing::Noise, false));
    let other = compared(&[&of(1, 5), &of(2, 5)], &[&of(3, 6)], &rules(""));
    let amount = other.patterns.iter().find(|pattern| pattern.path.as_deref() == Some("$.amount")).unwrap();
    assert_eq!((amount.standing, amount.unjudgeable), (Standing::Proven, false));
}

#[test]
fn presence_and_order_are_judged_like_values() {
    let of = |lost: u64, swapped: bool| {
        drive((0..40).flat_map(move |key| {
            let (one, two) = if swapped { (2, 1) } else { (1, 2) };
            let mut all =
                vec![output(&format!("k{key}"), &one.to_string()), output(&format!("k{key}"), &two.to_string())];
            if key < lost {
                all.pop();
            }
            all
        }))
    };
    let old = of(0, false);
    let lost = compared(&[&old, &old], &[&of(10, false)], &rules(""));
    assert_eq!(pattern(&lost, Kind::Missing).standing, Standing::Proven);
    let swapped = compared(&[&old, &old], &[&of(0, true)], &rules(""));
    assert_eq!(pattern(&swapped, Kind::Reordered).standing, Standing::Proven);
    let odd_old = compared(&[&of(10, false), &old], &[&old], &rules(""));
    assert!(!has(&odd_old, Standing::Proven) && !has(&odd_old, Standing::Suspected));
    assert_eq!(odd_old.differences[&Kind::Repeated], 10);
    assert_eq!(odd_old.noise.as_ref().unwrap()[&Kind::Repeated], 10);
}

#[test]
fn what_goes_wrong_together_within_a_key_is_one_piece_of_evidence() {
    let of = |wrong: fn(u64) -> bool| {
        drive((0..600).map(move |id| {
            let key = id / 50;
            output(&format!("k{key}"), &format!("{{\"id\":{id},\"sum\":{}}}", i32::from(wrong(id))))
        }))
    };
    let rules = rules("identity = ['$.id']");
    let old = of(|_| false);
    let burst = compared(&[&old, &old], &[&of(|id| id < 50)], &rules);
    let sum = pattern(&burst, Kind::Changed);
    assert_eq!((sum.count, sum.statistics.odd_new, sum.standing), (50, 1, Standing::Suspected));
    assert!(burst.wants_new_again);
    let everywhere = compared(&[&old, &old], &[&of(|id| id % 50 == 7)], &rules);
    let sum = pattern(&everywhere, Kind::Changed);
    assert_eq!((sum.count, sum.statistics.odd_new, sum.standing), (12, 12, Standing::Proven));
}

#[test]
fn one_burst_of_a_build_s_own_noise_accuses_nobody() {
    // A flush that came early writes the counts of many keys once more, all by one chance.
    let of = |again: std::ops::Range<u64>| {
        let more = again.map(|key| output(&format!("k{key}"), "1"));
        drive((0..400).map(|key| output(&format!("k{key}"), "1")).chain(more))
    };
    let steady = of(0..0);
    let once = compared(&[&steady, &steady], &[&of(30..50)], &rules(""));
    assert!(once.wants_new_again);
    let again = compared(&[&steady, &steady], &[&of(30..50), &steady], &rules(""));
    assert_eq!(pattern(&again, Kind::Repeated).standing, Standing::Suspected);
    assert!(!again.wants_new_again);
    // Drives of old that lack what a flush would have written show the same noise from its other side.
    let late = compared(&[&of(0..300), &of(9..300)], &[&of(0..308)], &rules(""));
    assert_ne!(pattern(&late, Kind::Repeated).standing, Standing::Proven);
}

/// Counts by key, written whenever the wall clock said so: how often is chance, and all keys share it.
fn flushed(seed: u64, unit: &str) -> Remembered {
    let mut draws = Draws(seed);
    let (mut counts, mut waits) = ([0_u64; 600], [false; 600]);
    let mut all = Vec::new();
    for at in 0..30_000_usize {
        let key = at * 7_919 % 600;
        (counts[key], waits[key]) = (counts[key] + 1, true);
        if draws.happens(0.0025) || at == 29_999 {
            for key in (0..600).filter(|key| std::mem::take(&mut waits[*key])) {
                all.push(output(&format!("k{key}"), &format!("{{\"count\":{},\"unit\":\"{unit}\"}}", counts[key])));
            }
        }
    }
    drive(all)
}

#[test]
fn a_build_that_writes_when_its_wall_clock_says_so_is_not_accused() {
    for trial in [2, 4] {
        let of = |drive: u64| flushed(trial * 10 + drive, "flights");
        let (old, new) = ([of(0), of(1)], [of(2), of(3)]);
        let once = compared(&[&old[0], &old[1]], &[&new[0]], &rules(""));
        assert!(!has(&once, Standing::Proven), "{trial}");
        let twice = compared(&[&old[0], &old[1]], &[&new[0], &new[1]], &rules(""));
        assert!(!has(&twice, Standing::Proven) && !has(&twice, Standing::Suspected), "{trial}");
        let changed = compared(&[&old[0], &old[1]], &[&flushed(trial * 10 + 2, "events")], &rules(""));
        let unit = changed.patterns.iter().find(|pattern| pattern.path.as_deref() == Some("$.unit")).unwrap();
        assert_eq!((unit.kind, unit.standing), (Kind::Changed, Standing::Proven), "{trial}");
    }
}

#[test]
fn what_new_breaks_at_random_is_proven_by_as_much_of_it_in_new_again() {
    let steady = outputs_lost(&[]);
    let (new, new_again) = (outputs_lost(&[3, 90, 180, 270, 310, 366]), outputs_lost(&[8, 44, 120, 201, 333, 398]));
    let comparison = compared(&[&steady, &steady], &[&new, &new_again], &rules("identity = ['$.id']"));
    let missing = pattern(&comparison, Kind::Missing);
    assert_eq!((missing.standing, missing.statistics.recurred), (Standing::Proven, Some(0)));
}

/// Four hundred outputs, each of a key of its own, without those `lost`.
fn outputs_lost(lost: &[u64]) -> Remembered {
    let kept = (0..400).filter(|id| !lost.contains(id));
    drive(kept.map(|id| output(&format!("k{id}"), &format!("{{\"id\":{id}}}"))))
}

#[test]
fn changed_outputs_without_keys_are_judged_one_by_one() {
    let of = |changed: u64| {
        drive((0..300).map(move |at| output("", &format!("{{\"n\":{}}}", if at < changed { at + 1_000 } else { at }))))
    };
    let old = of(0);
    let comparison = compared(&[&old, &old], &[&of(20)], &rules(""));
    assert_eq!(kinds(&comparison), [(Kind::Changed, 20)]);
    let changed = pattern(&comparison, Kind::Changed);
    assert_eq!(
        (changed.path.as_deref(), changed.standing, changed.statistics.odd_new),
        (Some("$.n"), Standing::Proven, 20)
    );
}

#[test]
fn an_early_end_of_new_is_not_taken_for_other_last_values() {
    let old = outputs("a=1 a=2 b=1 b=2");
    let mut new = outputs("a=1 a=2 b=1");
    new.ending = Ending::TimedOut;
    check("", &old, &new, &[(Kind::Unseen, 1), (Kind::NoProgress, 1)]);
}

// ---- redelivery ----

fn relation(old: (&Remembered, &Remembered), new: (&Remembered, &Remembered)) -> rehearsal::compare::Idempotency {
    let (old_with, old_once): (&dyn Drive, &dyn Drive) = (old.0, old.1);
    let (new_with, new_once): (&dyn Drive, &dyn Drive) = (new.0, new.1);
    idempotency_of_drives(
        &Redelivered { with: &[old_with], once: &old_once },
        &Redelivered { with: &[new_with], once: &new_once },
        &rules(""),
        Some(&times()),
        &SpillSpace::system(),
    )
    .unwrap()
}

#[test]
fn a_build_that_pays_twice_when_events_come_again_is_found_with_the_event() {
    let once = drive([caused("a", "1", 1, 0), caused("b", "2", 2, 0), caused("c", "3", 3, 0)]);
    let mut twice = drive([
        caused("a", "1", 1, 0),
        caused("b", "2", 2, 0),
        caused("b", "2", 2, 1),
        caused("c", "3", 3, 0),
        caused("c", "4", 3, 1),
    ]);
    let receipt = |offset: i64, attempt: i32, sent_us| Receipt {
        delivery: Delivery {
            due_us: offset * 100 + i64::from(attempt) * 7,
            topic: 0,
            partition: 0,
            offset,
            position: offset,
            attempt,
            phase: Phase::Main,
            faults: 0,
            place: Place::default(),
        },
        sent_us,
    };
    let receipts = vec![receipt(1, 0, Some(1)), receipt(2, 1, Some(2)), receipt(3, 1, Some(3)), receipt(4, 1, None)];
    (twice.topics, twice.receipts) = (vec!["flights".to_owned()], Some(receipts));
    let found = relation((&once, &once), (&twice, &once));
    assert_eq!((found.new.redelivered, found.new.repeated_effects, found.new.changed_finals), (2, 2, 1));
    assert_eq!((found.old.repeated_effects, found.old.changed_finals), (0, 0));
    assert_eq!((found.broken_by_new, found.broken_by_both, found.mended_by_new), (2, 0, 0));
    assert_eq!(found.increase, Some(Standing::Suspected));
    let example = &found.new.examples[0];
    let cause = example.cause.as_ref().unwrap();
    assert_eq!((example.identity.as_str(), cause.offset, cause.replay_us), ("payouts b", Some(2), 207));

    let mended = relation((&twice, &once), (&once, &once));
    assert_eq!((mended.mended_by_new, mended.increase), (2, None));
    let both = relation((&twice, &once), (&twice, &once));
    assert_eq!((both.broken_by_both, both.increase), (2, None));
}

#[test]
fn an_effect_without_key_is_its_value() {
    let once = outputs("=1 =2");
    let mut twice = outputs("=1 =2 =2 =1");
    for output in &mut twice.outputs {
        output.timestamp_ms = Some(output.sequence);
    }
    let found = relation((&once, &once), (&twice, &once));
    assert_eq!((found.new.repeated_effects, found.broken_by_new, found.new.changed_finals), (2, 2, 0));
}

#[test]
fn more_repeated_effects_than_old_are_proven_over_identities() {
    let once = drive((0..30).map(|at| output(&format!("k{at}"), "1")));
    let twice = drive((0..30).flat_map(|at| vec![output(&format!("k{at}"), "1"); if at < 8 { 2 } else { 1 }]));
    let (same, other): (&dyn Drive, &dyn Drive) = (&once, &twice);
    let relation = |new: &dyn Drive| {
        let new = [new];
        idempotency_of_drives(
            &Redelivered { with: &[same, same], once: &same },
            &Redelivered { with: &new, once: &same },
            &rules(""),
            None,
            &SpillSpace::system(),
        )
        .unwrap()
    };
    assert_eq!((relation(other).increase, relation(other).new.repeated_effects), (Some(Standing::Proven), 8));
    assert_eq!(relation(same).increase, None);
}

#[test]
fn a_repetition_that_comes_back_proves_nothing_where_old_is_as_unsteady() {
    // Of 1,000 identities old repeats another 40 each time: one more of new that comes back is no wonder.
    let once = drive((0..1_000).map(|at| output(&format!("k{at}"), "1")));
    let of = |from: usize, to: usize| {
        let repeats = |at: usize| (from..to).contains(&at);
        drive((0..1_000).flat_map(move |at| vec![output(&format!("k{at}"), "1"); if repeats(at) { 2 } else { 1 }]))
    };
    let (old, again, new) = (of(0, 40), of(40, 80), of(80, 84));
    let (once, old, again, new): (&dyn Drive, &dyn Drive, &dyn Drive, &dyn Drive) = (&once, &old, &again, &new);
    let found = idempotency_of_drives(
        &Redelivered { with: &[old, again], once: &once },
        &Redelivered { with: &[new, new], once: &once },
        &rules(""),
        None,
        &SpillSpace::system(),
    )
    .unwrap();
    assert_eq!((found.statistics.odd_new, found.statistics.recurred), (4, Some(4)));
    assert_ne!(found.increase, Some(Standing::Proven));
}

// ---- the family of a run ----

fn gates(toml: &str) -> Gates {
    Gates::check(&toml::from_str(toml).unwrap(), &GateSettings::default()).unwrap()
}

/// Latency of which the test at each quantile came to `p_values`.
fn latency(p_values: [f64; 4]) -> Latency {
    let increase = |(quantile, p_value)| LatencyIncrease {
        quantile,
        increase: 0.5,
        interval: (0.2, 0.8),
        slower: false,
        p_value,
        q_value: None,
        noise: Some(LatencyNoise { drives: 2, increase: 0.0, interval: (0.0, 0.0), floor: 0.0, deviation: 0.0 }),
    };
    let increases = [0.5, 0.9, 0.95, 0.99].into_iter().zip(p_values).map(increase).collect();
    Latency { increases, ..Latency::default() }
}

/// Five outputs of a thousand changed: proven as the only test of a run (p = 1/243), and as one of two, but not of three.
fn five_changed() -> Comparison {
    let old = noisy(1_000, 0.0, 1, &[]);
    compared(&[&old, &old], &[&noisy(1_000, 0.0, 1, &[1, 2, 3, 4, 5])], &rules(""))
}

#[test]
fn all_tests_under_a_gate_share_one_budget() {
    let mut comparison = five_changed();
    assert_eq!(pattern(&comparison, Kind::Changed).standing, Standing::Proven);
    comparison.latency = Some(latency([0.9, 0.9, 0.9, 0.9]));
    for (gated, standing) in [
        ("", Standing::Proven),
        ("p99-latency-increase = 0.1", Standing::Proven),
        ("p99-latency-increase = 0.1\np95-latency-increase = 0.1", Standing::Suspected),
        // A limit on the latency of new alone is no test.
        ("p99-latency = '1s'\np95-latency = '1s'", Standing::Proven),
    ] {
        settle(&mut comparison, &gates(gated));
        assert_eq!(pattern(&comparison, Kind::Changed).standing, standing, "{gated}");
        // Five may be one burst: new driven again tells, proven or not.
        assert!(comparison.wants_new_again, "{gated}");
    }
}

#[test]
fn patterns_and_redelivery_weigh_on_the_tests_of_time() {
    let slower = |comparison: &mut Comparison, gated: &str| {
        settle(comparison, &gates(gated));
        comparison.latency.as_ref().unwrap().increases[3].slower
    };
    let gated = "p99-latency-increase = 0.1";
    let mut comparison = Comparison { latency: Some(latency([0.9, 0.9, 0.9, 0.008])), ..Comparison::default() };
    assert!(slower(&mut comparison, gated));
    assert!(!slower(&mut comparison, ""), "without a gate it is one of all tests");
    let statistics = Statistics { p_value: Some(0.6), noise_rate: Some(0.003), ..Statistics::default() };
    comparison.idempotency =
        Some(Idempotency { increase: Some(Standing::Suspected), statistics, ..Idempotency::default() });
    assert!(!slower(&mut comparison, gated));
    // What is certain elsewhere makes room: of more discoveries, more may be false.
    comparison.idempotency.as_mut().unwrap().statistics.p_value = Some(1e-9);
    assert!(slower(&mut comparison, gated));
    assert_eq!(comparison.idempotency.unwrap().increase, Some(Standing::Proven));
}

#[test]
fn a_suspicion_is_worth_another_drive_only_where_a_gate_could_fail_by_it() {
    let of = |changed: u64, stamped: u64| {
        drive((0..2_000).map(move |at| Output {
            timestamp_ms: Some(if at < stamped { 2 } else { 1 }),
            ..output(&format!("k{at}"), if at >= 2_000 - changed { "2" } else { "1" })
        }))
    };
    let old = of(0, 0);
    let wants = |new: &Remembered, gated: &str| {
        let mut comparison = compared(&[&old, &old], &[new], &rules(""));
        settle(&mut comparison, &gates(gated));
        comparison.wants_new_again
    };
    assert!(!wants(&of(0, 3), "") && wants(&of(0, 3), "metadata = 0"));
    assert!(!wants(&of(0, 3), "metadata = 3") && wants(&of(0, 3), "metadata = 2"));
    assert!(wants(&of(2, 0), "") && !wants(&of(2, 0), "changed = 2"));
    assert!(wants(&of(2, 3), "") && !wants(&of(0, 0), ""));
    // Two outputs that changed at two paths are two differences.
    let at_both = |changed: u64| {
        drive((0..2_000).map(move |at| {
            let n = i32::from(at < changed);
            output(&format!("k{at}"), &format!("{{\"a\":{n},\"b\":{n}}}"))
        }))
    };
    let mut comparison = compared(&[&at_both(0), &at_both(0)], &[&at_both(2)], &rules(""));
    for (gated, wanted) in [("changed = 2", false), ("changed = 1", true)] {
        settle(&mut comparison, &gates(gated));
        assert_eq!(comparison.wants_new_again, wanted, "{gated}");
    }
}

#[test]
fn a_suspected_repetition_is_worth_another_drive_once() {
    let once = drive((0..30).map(|at| output(&format!("k{at}"), "1")));
    let twice = drive((0..30).flat_map(|at| vec![output(&format!("k{at}"), "1"); if at < 2 { 2 } else { 1 }]));
    let (same, other): (&dyn Drive, &dyn Drive) = (&once, &twice);
    let wants = |old: &[&dyn Drive], new: &[&dyn Drive], gated: &str| {
        let (old, new) = (Redelivered { with: old, once: &same }, Redelivered { with: new, once: &same });
        let found = idempotency_of_drives(&old, &new, &rules(""), None, &SpillSpace::system()).unwrap();
        assert_eq!(found.increase, Some(Standing::Suspected));
        let mut comparison = Comparison { idempotency: Some(found), ..Comparison::default() };
        settle(&mut comparison, &gates(gated));
        comparison.wants_new_again
    };
    assert!(wants(&[same, same], &[other], ""));
    assert!(!wants(&[same, same], &[other], "repeated-effects-increase = 2"));
    assert!(wants(&[same, same], &[other], "repeated-effects-increase = 2\nrepeated-effects = 1"));
    assert!(!wants(&[same, same], &[other, other], ""));
    assert!(!wants(&[same], &[other], ""), "with one drive of old chance cannot be ruled out");
}

#[test]
fn numbers_of_one_path_are_one_change_unless_all_are_rounded() {
    let of = |amounts: &[&str]| {
        let amounts = amounts.iter().enumerate();
        drive(amounts.map(|(at, amount)| output(&format!("k{at}"), &format!("{{\"amount\":{amount}}}"))))
    };
    let old = of(&["27.55", "63.1", "5", "8.25"]);
    for (new, change, count) in
        [(&["27.54", "63.09", "5", "8.2"], Change::Value, 3), (&["27.6", "63.1", "5", "8.3"], Change::Precision, 2)]
    {
        let comparison = compared(&[&old, &old], &[&of(new)], &rules(""));
        assert_eq!(signatures(&comparison), [(Kind::Changed, Some("$.amount"), Some(change), count)]);
        assert_eq!(comparison.differences, BTreeMap::from([(Kind::Changed, count)]));
        assert_eq!(comparison.patterns[0].statistics.odd_new, count);
    }
    // Several outputs of one identity are one piece of evidence, whatever each change is called.
    let several = |first: &str, second: &str| drive([first, second].map(|n| output("k", &format!("{{\"n\":{n}}}"))));
    let old = several("1.25", "7");
    let comparison = compared(&[&old, &old], &[&several("1.3", "9")], &rules("order = 'none'"));
    let changed = pattern(&comparison, Kind::Changed);
    assert_eq!((changed.change, changed.count, changed.statistics.odd_any), (Some(Change::Value), 2, 1));
}

// ---- outcomes on disk ----

fn written(folder: &std::path::Path, name: &str, drive: &Remembered) -> Outcome {
    let mut writer = OutcomeWriter::create(folder.join(name), &[], &[]).unwrap();
    drive.outputs.iter().for_each(|output| writer.output(output).unwrap());
    writer.finish(&EndingReport::new(drive.ending, "done")).unwrap()
}

#[test]
fn outcomes_on_disk_compare_as_outputs_in_memory_do() {
    let folder = tempfile::tempdir().unwrap();
    let drives = [noisy(3_000, 0.05, 1, &[]), noisy(3_000, 0.05, 2, &[]), noisy(3_000, 0.05, 3, &[5, 6, 7])];
    let [old, again, new] = ["old", "old-again", "new"].map(|name| {
        let at = ["old", "old-again", "new"].iter().position(|other| *other == name).unwrap();
        written(folder.path(), name, &drives[at])
    });
    let rules = rules("");
    let on_disk = compare(&[old, again], &[new], &rules, None, &SpillSpace::system()).unwrap();
    assert_eq!(on_disk, compared(&[&drives[0], &drives[1]], &[&drives[2]], &rules));
    assert!(on_disk.differences[&Kind::Changed] > 0);
}

// ---- properties ----

fn some_outputs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0_u8..4, 0_u8..4), 0..14)
}

fn drive_of(pairs: &[(u8, u8)]) -> Remembered {
    drive(pairs.iter().map(|(key, value)| {
        output(if *key == 0 { "" } else { ["a", "b", "c"][usize::from(*key) - 1] }, &format!("{{\"n\":{value}}}"))
    }))
}

/// What must be found where order does not count, by counting: by identity, equal values pair first, then by occurrence.
fn naive(old: &[(u8, u8)], new: &[(u8, u8)]) -> (u64, u64, u64, u64) {
    let (mut matched, mut changed, mut missing, mut surplus) = (0, 0, 0, 0);
    for key in 0..4 {
        let count = |side: &[(u8, u8)], value| side.iter().filter(|pair| **pair == (key, value)).count() as u64;
        let total = |side: &[(u8, u8)]| side.iter().filter(|pair| pair.0 == key).count() as u64;
        let equal: u64 = (0..4).map(|value| count(old, value).min(count(new, value))).sum();
        let (old_left, new_left) = (total(old) - equal, total(new) - equal);
        matched += equal;
        changed += old_left.min(new_left);
        missing += old_left.saturating_sub(new_left);
        surplus += new_left.saturating_sub(old_left);
    }
    (matched, changed, missing, surplus)
}

proptest! {
    #[test]
    fn the_matcher_agrees_with_counting(old in some_outputs(), new in some_outputs()) {
        // Causes differ, so that nothing counts as rerouted.
        let of = |pairs: &[(u8, u8)], first: i64| {
            let mut drive = drive_of(pairs);
            for output in &mut drive.outputs {
                output.cause = caused("", "", first, 0).cause;
            }
            drive
        };
        let comparison = compared(&[&of(&old, 1)], &[&of(&new, 2)], &rules("order = 'none'"));
        let count = |kind| comparison.differences.get(&kind).copied().unwrap_or_default();
        let surplus = count(Kind::Extra) + count(Kind::Repeated);
        let found = (comparison.matched, count(Kind::Changed), count(Kind::Missing), surplus);
        prop_assert_eq!(found, naive(&old, &new));
    }

    #[test]
    fn a_drive_never_differs_from_itself(pairs in some_outputs(), order in 0..3_usize, identity in any::<bool>()) {
        let identity = if identity { "identity = ['$.n']\n" } else { "" };
        let rules = rules(&format!("{identity}order = '{}'", ["none", "key", "total"][order]));
        let drive = drive_of(&pairs);
        let comparison = compared(&[&drive, &drive], &[&drive], &rules);
        prop_assert_eq!(kinds(&comparison), []);
        prop_assert_eq!(comparison.matched, pairs.len() as u64);
    }

    #[test]
    fn order_of_arrival_changes_nothing_where_it_does_not_count(pairs in some_outputs(), seed in any::<u64>()) {
        let mut shuffled = pairs.clone();
        let mut draws = Draws(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, (draws.next() % (at as u64 + 1)) as usize);
        }
        let comparison = compared(&[&drive_of(&pairs)], &[&drive_of(&shuffled)], &rules("order = 'none'"));
        let told: u64 = [Kind::BenignReorder, Kind::FinalState].iter().filter_map(|kind| comparison.differences.get(kind)).sum();
        prop_assert_eq!(comparison.differences.values().sum::<u64>(), told);
        prop_assert_eq!(comparison.matched, pairs.len() as u64);
    }

    #[test]
    fn outputs_of_old_are_matched_or_in_one_difference(old in some_outputs(), new in some_outputs(), order in 0..3_usize, identity in any::<bool>()) {
        let identity = if identity { "identity = ['$.n']\n" } else { "" };
        let rules = rules(&format!("{identity}order = '{}'", ["none", "key", "total"][order]));
        let comparison = compared(&[&drive_of(&old)], &[&drive_of(&new)], &rules);
        let two_sided = [Kind::Missing, Kind::Changed, Kind::Rerouted, Kind::Reordered];
        let of_old: u64 = two_sided.iter().filter_map(|kind| comparison.differences.get(kind)).sum();
        prop_assert_eq!(comparison.matched + of_old, old.len() as u64, "{:?}", comparison.differences);
        let beside_new = [Kind::Extra, Kind::Repeated, Kind::Changed, Kind::Rerouted, Kind::Reordered];
        let of_new: u64 = beside_new.iter().filter_map(|kind| comparison.differences.get(kind)).sum();
        prop_assert_eq!(comparison.matched + of_new, new.len() as u64, "{:?}", comparison.differences);
    }
}
