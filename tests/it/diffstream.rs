//! The reducers of the case study in "`DiffStream`: Differential Output Testing for Stream Processing Programs" (Kallas, Niksic,
//! Stanford, Alur, OOPSLA 2020), which go back to the study of reducers in production by Xiao and others (ICSE 2014): five that
//! depend on the order in which events arrive, and seven uses of the like that are harmless.
//!
//! Rebuilt from their descriptions: events have a key, a window, an index, an amount and a name; old reads them one after the
//! other, new from two mappers at once, so that events of one key change places within a window. The seventh harmless one, keys
//! in another order among each other, stands for the paper's parallel pipelines (taxi rides, topic count).

use std::collections::BTreeMap;

use rehearsal::compare::{Change, Comparison, Kind, Remembered};
use rehearsal::outcome::Output;
use serde_json::{Value, json};

use super::rules::{compared, drive, found};

#[derive(Debug, Clone, PartialEq)]
struct Event {
    /// Tells it from all others; no reducer looks at it.
    number: usize,
    key: usize,
    window: usize,
    index: usize,
    amount: usize,
    name: String,
}

/// 1,200 events of four keys in ten windows. `distinct`: what only one event of a window says differs from one to the next; else
/// all events of a key and window say the same.
fn events(distinct: bool) -> Vec<Event> {
    let event = |number: usize| {
        let (key, window) = (number % 4, number / 120);
        let own = if distinct { number / 4 % 30 } else { key * 10 + window };
        Event { number, key, window, index: own % 7, amount: own % 9, name: format!("n{own}") }
    };
    (0..1_200).map(event).collect()
}

/// The same events as two mappers hand them on: each takes every other event, and the second is ahead within each window.
fn shuffled(events: &[Event]) -> Vec<Event> {
    let windows = events.chunk_by(|one, other| one.window == other.window);
    let shuffled = windows.flat_map(|window| {
        let mapped = |mapper: usize| window.iter().enumerate().filter(move |(at, _)| at / 4 % 2 == mapper);
        mapped(1).chain(mapped(0)).map(|(_, event)| event.clone()).collect::<Vec<_>>()
    });
    shuffled.collect()
}

/// One output for each key and window: what `reduce` makes of its events in the order of their arrival.
fn reduced(events: &[Event], reduce: impl Fn(&[&Event]) -> Value) -> Remembered {
    let mut groups: BTreeMap<(usize, usize), Vec<&Event>> = BTreeMap::new();
    for event in events {
        groups.entry((event.window, event.key)).or_default().push(event);
    }
    drive(
        groups.into_iter().map(|((window, key), group)| {
            output(key, &json!({ "window": window, "key": key, "result": reduce(&group) }))
        }),
    )
}

fn output(key: usize, value: &Value) -> Output {
    super::rules::output(&key.to_string(), &value.to_string())
}

/// Compares what `reduce` makes of events in both orders; old twice, so that a difference is no noise.
fn both(events: &[Event], toml: &str, reduce: impl Fn(&[&Event]) -> Value) -> Comparison {
    let (old, new) = (reduced(events, &reduce), reduced(&shuffled(events), &reduce));
    compared(&format!("{toml}\nidentity = ['$.window', '$.key']"), &[&old, &old], &new)
}

/// The first item that arrives stands for all.
fn single_item(group: &[&Event]) -> Value {
    json!({ "name": group[0].name })
}

/// Values by index; of one index the last to arrive counts.
fn index_value_pair(group: &[&Event]) -> Value {
    let pairs: BTreeMap<String, usize> =
        group.iter().map(|event| (format!("i{}", event.index), event.amount)).collect();
    json!(pairs)
}

/// The event of the largest amount; of several the first to arrive.
fn max_row(group: &[&Event]) -> Value {
    let most = group.iter().map(|event| event.amount).max();
    let row = group.iter().find(|event| Some(event.amount) == most).unwrap();
    json!({ "amount": row.amount, "name": row.name })
}

/// The first ten that arrive.
fn first_n(group: &[&Event]) -> Value {
    json!(group.iter().take(10).map(|event| event.name.as_str()).collect::<Vec<_>>())
}

/// All names behind one another.
fn concatenated(group: &[&Event]) -> Value {
    json!(group.iter().map(|event| event.name.as_str()).collect::<Vec<_>>().join("@"))
}

fn names(group: &[&Event]) -> Value {
    json!(group.iter().map(|event| event.name.as_str()).collect::<Vec<_>>())
}

#[track_caller]
fn check_found(comparison: &Comparison, path: &str) {
    let found = found(comparison);
    assert!(found.iter().any(|found| found.0 == Kind::Changed && found.1 == Some(path)), "{path}: {found:?}");
    assert!(comparison.patterns.iter().all(|pattern| pattern.noise_count == 0));
}

#[test]
fn mappers_side_by_side_change_the_order_within_windows_and_nothing_else() {
    for events in [events(true), events(false)] {
        let mut shuffled = shuffled(&events);
        assert!(shuffled != events);
        assert!(shuffled.is_sorted_by_key(|event| event.window));
        shuffled.sort_by_key(|event| event.number);
        assert!(shuffled == events);
    }
}

// ---- five that depend on the order of arrival ----

#[test]
fn faulty_1_a_single_item_for_all_where_items_differ() {
    check_found(&both(&events(true), "", single_item), "$.result.name");
}

#[test]
fn faulty_2_pairs_of_index_and_value_where_an_index_comes_twice() {
    let comparison = both(&events(true), "", index_value_pair);
    assert!(found(&comparison).iter().any(|found| found.1.is_some_and(|path| path.starts_with("$.result.i"))));
}

#[test]
fn faulty_3_the_row_of_a_maximum_that_several_reach() {
    let comparison = both(&events(true), "", max_row);
    check_found(&comparison, "$.result.name");
    assert!(found(&comparison).iter().all(|found| found.1 != Some("$.result.amount")), "the maximum is the same");
}

#[test]
fn faulty_4_the_first_n_of_more() {
    let comparison = both(&events(true), "", first_n);
    assert!(found(&comparison).iter().any(|found| found.1.is_some_and(|path| path.starts_with("$.result"))));
    // As a set they are no better: others are in it.
    let as_set = both(&events(true), "set = ['$.result']", first_n);
    check_found(&as_set, "$.result[*]");
}

#[test]
fn faulty_5_texts_joined_as_they_arrive() {
    check_found(&both(&events(true), "", concatenated), "$.result");
}

// ---- seven that are harmless ----

#[track_caller]
fn check_silent(comparison: &Comparison) {
    assert_eq!(found(comparison), []);
    assert_eq!(comparison.matched, comparison.outputs["old"]);
    assert!(comparison.matched >= 40);
}

#[test]
fn harmless_1_a_single_item_where_all_say_the_same() {
    check_silent(&both(&events(false), "", single_item));
}

#[test]
fn harmless_2_pairs_of_index_and_value_where_an_index_says_one_thing() {
    check_silent(&both(&events(false), "", index_value_pair));
}

#[test]
fn harmless_3_the_row_of_a_maximum_that_one_reaches() {
    let one_each: Vec<Event> =
        events(true).into_iter().map(|event| Event { amount: event.name[1..].parse().unwrap(), ..event }).collect();
    check_silent(&both(&one_each, "", max_row));
}

#[test]
fn harmless_4_the_first_n_where_there_are_no_more_as_a_set() {
    let few: Vec<Event> =
        events(true).into_iter().filter(|event| event.name[1..].parse::<usize>().unwrap() < 8).collect();
    check_silent(&both(&few, "set = ['$.result']", first_n));
    // Their order is no matter of the rule alone: without it they differ.
    assert_ne!(found(&both(&few, "", first_n)), []);
}

#[test]
fn harmless_5_all_names_as_a_set() {
    let comparison = both(&events(true), "set = ['$.result']", names);
    check_silent(&comparison);
    assert_eq!(comparison.silenced["set $.result"], comparison.matched);
}

#[test]
fn harmless_6_items_written_one_by_one_that_do_not_depend_on_each_other() {
    let of = |events: &[Event]| {
        drive(events.iter().map(|event| {
            let value = json!({ "window": event.window, "name": event.name });
            Output { key: None, ..output(event.key, &value) }
        }))
    };
    let events = events(true);
    let (old, new) = (of(&events), of(&shuffled(&events)));
    check_silent(&compared("", &[&old, &old], &new));
    // Where every order counts, it is found.
    let total = compared("order = 'total'", &[&old, &old], &new);
    assert!(found(&total).iter().any(|found| found.0 == Kind::Reordered), "{:?}", found(&total));
}

#[test]
fn harmless_7_keys_in_another_order_among_each_other() {
    let of = |events: &[Event]| drive(events.iter().map(|event| output(event.key, &json!({ "name": event.name }))));
    let events = events(true);
    let mut by_key = events.clone();
    by_key.sort_by_key(|event| event.key);
    let (old, new) = (of(&events), of(&by_key));
    check_silent(&compared("", &[&old, &old], &new));
    // Events of one key in another order are found.
    let within = compared("", &[&old, &old], &of(&shuffled(&events)));
    assert!(found(&within).iter().any(|found| found.0 == Kind::Reordered), "{:?}", found(&within));
}

// ---- what a rule may say of a faulty one ----

#[test]
fn a_row_of_the_maximum_may_be_declared_to_be_any_of_those_that_reach_it() {
    let with_tied = |group: &[&Event]| {
        let mut row = max_row(group);
        let most = group.iter().map(|event| event.amount).max();
        let tied = group.iter().filter(|event| Some(event.amount) == most).map(|event| event.name.as_str());
        row["tied"] = json!(tied.collect::<Vec<_>>());
        row
    };
    let rule = "any-of = [{ path = '$.result.name', among = '$.result.tied' }]\nset = ['$.result.tied']";
    check_silent(&both(&events(true), rule, with_tied));
    check_found(&both(&events(true), "set = ['$.result.tied']", with_tied), "$.result.name");
    // A row that does not reach it stays wrong.
    let wrong = |group: &[&Event]| {
        let mut row = with_tied(group);
        row["name"] = json!(group[0].name);
        row
    };
    let events = events(true);
    let (old, new) = (reduced(&events, with_tied), reduced(&shuffled(&events), wrong));
    let comparison = compared(&format!("{rule}\nidentity = ['$.window', '$.key']"), &[&old, &old], &new);
    let wrongs = found(&comparison);
    assert!(
        wrongs.iter().any(|found| found.1 == Some("$.result.name") && found.2 == Some(Change::Value)),
        "{wrongs:?}"
    );
}
