//! Rules of a comparison: what they declare to be the same is silent and counted, what they do not declare is found.

use std::collections::BTreeMap;

use assert_cmd::Command;
use rehearsal::compare::{
    Change, CompareSettings, Comparison, Corruption, Drive, Kind, Redelivered, Remembered, Rules, RulesCheck,
    check_rules, compare_drives, idempotency_of_drives,
};
use rehearsal::outcome::{Channel, Ending, EndingReport, OutcomeWriter, Output};
use rehearsal::plan::Seed;
use rehearsal::spill::SpillSpace;
use tempfile::TempDir;

pub(super) fn output(key: &str, value: &str) -> Output {
    Output {
        topic: "payouts".to_owned(),
        key: (!key.is_empty()).then(|| key.as_bytes().to_vec()),
        value: Some(value.as_bytes().to_vec()),
        ..Output::default()
    }
}

pub(super) fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().enumerate();
    Remembered::finished(
        numbered.map(|(at, output)| Output { sequence: at as i64, arrived_us: at as i64 * 10, ..output }).collect(),
    )
}

pub(super) fn rules(toml: &str) -> Rules {
    toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap()
}

pub(super) fn compared(toml: &str, old: &[&Remembered], new: &Remembered) -> Comparison {
    let old: Vec<&dyn Drive> = old.iter().map(|drive| *drive as &dyn Drive).collect();
    compare_drives(&old, &[new], &rules(toml), None, &SpillSpace::system()).unwrap()
}

/// Patterns that are more than information.
pub(super) fn found(comparison: &Comparison) -> Vec<(Kind, Option<&str>, Option<Change>, u64)> {
    let judged = comparison.patterns.iter().filter(|pattern| !pattern.information);
    judged.map(|pattern| (pattern.kind, pattern.path.as_deref(), pattern.change, pattern.count)).collect()
}

/// Both are the same by `toml`, which silenced as many as `silenced` says, and differ without it.
#[track_caller]
fn check_silent(toml: &str, old: &[Output], new: &[Output], silenced: &[(&str, u64)]) {
    let (old, new) = (drive(old.to_vec()), drive(new.to_vec()));
    let with = compared(toml, &[&old], &new);
    assert_eq!(found(&with), [], "{toml}");
    assert!(with.differences.is_empty(), "{:?}", with.differences);
    assert_eq!(with.matched, old.outputs.len() as u64);
    let counted: Vec<(&str, u64)> = with.silenced.iter().map(|(rule, count)| (rule.as_str(), *count)).collect();
    assert_eq!(counted, silenced);
    assert_ne!(found(&compared("", &[&old], &new)), [], "{toml}");
}

#[track_caller]
fn check_found(toml: &str, old: &[Output], new: &[Output], path: &str, change: Change) {
    let (old, new) = (drive(old.to_vec()), drive(new.to_vec()));
    assert_eq!(found(&compared(toml, &[&old], &new)), [(Kind::Changed, Some(path), Some(change), 1)], "{toml}");
}

fn one(value: &str) -> [Output; 1] {
    [output("a", value)]
}

// ---- benign twins ----

#[test]
fn ties_in_a_top_n_are_silent_and_a_wrong_rank_is_not() {
    let rule = "any-of = [{ path = '$.top', by = '$.n', n = 2 }]";
    let old = one(r#"{"top":[{"id":"x","n":9},{"id":"y","n":5}]}"#);
    check_silent(rule, &old, &one(r#"{"top":[{"id":"x","n":9},{"id":"z","n":5}]}"#), &[("any-of $.top by $.n", 1)]);
    check_found(rule, &old, &one(r#"{"top":[{"id":"x","n":9},{"id":"z","n":4}]}"#), "$.top[*].n", Change::Value);
    check_found(rule, &old, &one(r#"{"top":[{"id":"q","n":9},{"id":"y","n":5}]}"#), "$.top[*].id", Change::Value);
    check_found(rule, &old, &one(r#"{"top":[{"id":"x","n":9}]}"#), "$.top[*]", Change::Removed);
    // Nothing was cut: who stands there is no matter of chance.
    let few = one(r#"{"top":[{"id":"x","n":9}]}"#);
    check_found(rule, &few, &one(r#"{"top":[{"id":"y","n":9}]}"#), "$.top[*].id", Change::Value);
}

#[test]
fn one_of_several_right_answers_is_silent_and_a_wrong_one_is_not() {
    let rule = "any-of = [{ path = '$.gate', among = '$.free' }]";
    let old = one(r#"{"gate":"A1","free":["A1","A2"]}"#);
    check_silent(rule, &old, &one(r#"{"gate":"A2","free":["A1","A2"]}"#), &[("any-of $.gate among $.free", 1)]);
    check_found(rule, &old, &one(r#"{"gate":"B1","free":["A1","A2"]}"#), "$.gate", Change::Value);
}

#[test]
fn arrays_declared_as_sets_or_keyed_lists_are_silent_in_any_order() {
    let old = one(r#"{"tags":["a","b"],"items":[{"sku":1,"n":1},{"sku":2,"n":2}]}"#);
    let rule = "set = ['$.tags']\nkeyed-by = [{ path = '$.items', key = '$.sku' }]";
    check_silent(
        rule,
        &old,
        &one(r#"{"tags":["b","a"],"items":[{"sku":1,"n":1},{"sku":2,"n":2}]}"#),
        &[("set $.tags", 1)],
    );
    let turned = one(r#"{"tags":["a","b"],"items":[{"sku":2,"n":2},{"sku":1,"n":1}]}"#);
    check_silent(rule, &old, &turned, &[("keyed-by $.items by $.sku", 1)]);
    let changed = one(r#"{"tags":["b","a"],"items":[{"sku":2,"n":7},{"sku":1,"n":1}]}"#);
    check_found(rule, &old, &changed, "$.items[*].n", Change::Value);
    let fewer = one(r#"{"tags":["b","a"],"items":[{"sku":2,"n":2}]}"#);
    check_found(rule, &old, &fewer, "$.items[*]", Change::Removed);
    let twice = one(r#"{"tags":["b","a","a"],"items":[{"sku":1,"n":1},{"sku":2,"n":2}]}"#);
    check_found(rule, &old, &twice, "$.tags[*]", Change::Added);
}

#[test]
fn numbers_are_equal_within_an_absolute_and_a_relative_tolerance_and_not_beyond() {
    for (rule, near, far) in [("absolute = 0.01", "10.01", "10.02"), ("relative = 0.001", "10.01", "10.02")] {
        let rule = format!("tolerance = [{{ path = '$.n', {rule} }}]");
        let of = |n: &str| one(&format!(r#"{{"n":{n}}}"#));
        check_silent(&rule, &of("10.00"), &of(near), &[("tolerance $.n", 1)]);
        check_found(&rule, &of("10.00"), &of(far), "$.n", Change::Value);
    }
}

#[test]
fn other_notations_are_silent_only_where_they_are_declared() {
    for (form, old, new, wrong, change) in [
        (
            "timestamp",
            r#""2013-01-05T10:00:00Z""#,
            r#""2013-01-05T11:00:00.000+01:00""#,
            r#""2013-01-05T11:00:00Z""#,
            Change::Value,
        ),
        ("timestamp", r#""2013-01-05T10:00:00Z""#, "1357380000000", "1357380000001", Change::Value),
        ("decimal", "19.9", r#""19.90""#, r#""19.91""#, Change::Precision),
        ("integer", "7", r#""7""#, r#""8""#, Change::Value),
        ("integer", "7", r#""7""#, r#""7.0""#, Change::Type),
        ("lower", r#""Paid""#, r#""PAID""#, r#""PAY""#, Change::Value),
        ("trim", r#""x""#, r#"" x ""#, r#""x y""#, Change::Value),
    ] {
        let rule = format!("normalise = [{{ path = '$.v', as = '{form}' }}]");
        let of = |v: &str| one(&format!(r#"{{"v":{v}}}"#));
        check_silent(&rule, &of(old), &of(new), &[(&format!("normalise $.v as {form}"), 1)]);
        check_found(&rule, &of(old), &of(wrong), "$.v", change);
        // Declared for another path, it is a difference here.
        let (old, new) = (drive(of(old)), drive(of(new)));
        let elsewhere = format!("normalise = [{{ path = '$.w', as = '{form}' }}]");
        assert_ne!(found(&compared(&elsewhere, &[&old], &new)), []);
    }
    // A float beside a decimal: what binary fractions add is for a tolerance.
    let rule = "normalise = [{ path = '$.v', as = 'decimal' }]\ntolerance = [{ path = '$.v', relative = 1e-12 }]";
    let float = one(r#"{"v":19.900000000000002}"#);
    let (old, new) = (drive(one(r#"{"v":"19.90"}"#)), drive(float));
    assert_eq!(found(&compared(rule, &[&old], &new)), []);
}

#[test]
fn what_a_pattern_masks_is_silent_and_what_stands_around_it_is_not() {
    let rule = "mask-regex = [{ path = '$.text', pattern = 'in [0-9]+ ms' }]";
    let old = one(r#"{"text":"paid in 5 ms"}"#);
    check_silent(rule, &old, &one(r#"{"text":"paid in 17 ms"}"#), &[("mask-regex $.text `in [0-9]+ ms`", 1)]);
    check_found(rule, &old, &one(r#"{"text":"lost in 17 ms"}"#), "$.text", Change::Value);
    check_found(rule, &old, &one(r#"{"text":"paid "}"#), "$.text", Change::Value);
}

#[test]
fn reordered_independent_keys_are_silent_and_one_key_in_another_order_is_not() {
    let of = |order: &[(&str, &str)]| drive(order.iter().map(|(key, value)| output(key, value)));
    let old = of(&[("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")]);
    assert_eq!(found(&compared("", &[&old], &of(&[("b", "1"), ("b", "2"), ("a", "1"), ("a", "2")]))), []);
    let swapped = compared("", &[&old], &of(&[("a", "2"), ("b", "1"), ("a", "1"), ("b", "2")]));
    assert!(found(&swapped).iter().any(|found| found.0 == Kind::Reordered), "{:?}", found(&swapped));
}

#[test]
fn refinements_of_a_window_are_silent_where_its_last_value_is_the_same() {
    let of = |values: &[&str]| drive(values.iter().map(|value| output("w", value)));
    let old = of(&["1", "2", "3"]);
    assert_eq!(found(&compared("updates = ['payouts']", &[&old], &of(&["2", "3"]))), []);
    let other_end = compared("updates = ['payouts']", &[&old], &of(&["2", "4"]));
    assert!(found(&other_end).iter().any(|found| found.0 == Kind::FinalState), "{:?}", found(&other_end));
}

// ---- topics ----

#[test]
fn rules_of_a_topic_hold_there_alone_beside_those_for_all() {
    let toml = "ignore = ['$.at']
        [topics.payouts]
        ignore = ['$.run']
        set = ['$.tags']";
    let of = |topic: &str, value: &str| Output { topic: topic.to_owned(), ..output("a", value) };
    let values = [r#"{"at":1,"run":1,"tags":[1,2]}"#, r#"{"at":2,"run":2,"tags":[2,1]}"#];
    let [old, new] = values.map(|value| drive([of("payouts", value), of("refunds", value)]));
    let comparison = compared(toml, &[&old], &new);
    let mut patterns: Vec<(String, Option<String>)> =
        comparison.patterns.iter().map(|pattern| (pattern.topic.clone(), pattern.path.clone())).collect();
    patterns.sort();
    let at = |path: &str| ("refunds".to_owned(), Some(path.to_owned()));
    assert_eq!(patterns, [at("$.run"), at("$.tags")]);
    let counted: Vec<(&str, u64)> = comparison.silenced.iter().map(|(rule, count)| (rule.as_str(), *count)).collect();
    assert_eq!(counted, [("ignore $.at", 1), ("ignore $.run in payouts", 1), ("set $.tags in payouts", 1)]);
}

#[test]
fn an_identity_is_what_its_path_says_once_it_is_normalised() {
    let rule = "identity = ['$.id']\nnormalise = [{ path = '$.id', as = 'integer' }]";
    let of = |ids: [&str; 3]| drive(ids.map(|id| output("", &format!(r#"{{"id":{id}}}"#))));
    let (old, new) = (of(["1", "2", "3"]), of([r#""3""#, r#""1""#, r#""2""#]));
    let comparison = compared(rule, &[&old], &new);
    assert_eq!((found(&comparison), comparison.identities, comparison.matched), (vec![], 3, 3));
    assert_eq!(comparison.silenced, BTreeMap::from([("normalise $.id as integer".to_owned(), 3)]));
    assert_eq!(compared("identity = ['$.id']", &[&old], &new).identities, 6);
}

// ---- noise, memory and redelivery ----

#[test]
fn noise_is_judged_by_what_rules_leave() {
    let of = |turn: usize, wrong: bool| {
        drive((0..200).map(move |number| {
            let mut tags = [number, number + 1, number + 2];
            tags.rotate_left(turn * number % 3);
            let amount = if wrong && number % 2 == 0 { number + 1 } else { number };
            output(&number.to_string(), &format!(r#"{{"tags":{tags:?},"amount":{amount}}}"#))
        }))
    };
    let (old, again, same, wrong) = (of(0, false), of(1, false), of(2, false), of(2, true));
    assert_eq!(found(&compared("set = ['$.tags']", &[&old, &again], &same)), []);
    let comparison = compared("set = ['$.tags']", &[&old, &again], &wrong);
    assert_eq!(found(&comparison), [(Kind::Changed, Some("$.amount"), Some(Change::Value), 100)]);
    assert_eq!(comparison.patterns[0].statistics.odd_new, 100);
    assert!(comparison.noise.unwrap().is_empty());
}

#[test]
fn an_identity_beyond_memory_is_compared_by_the_same_rules() {
    // 60,000 outputs of one key: more than is held at 16 MiB.
    let of = |turn: usize| {
        drive((0..60_000_usize).map(move |number| {
            let mut tags = [number, number + 1];
            tags.rotate_left(turn % 2);
            output("a", &format!(r#"{{"tags":{tags:?}}}"#))
        }))
    };
    let comparison = compared("memory = 16\norder = 'none'\nset = ['$.tags']", &[&of(0)], &of(1));
    assert_eq!((found(&comparison), comparison.matched), (vec![], 60_000));
    assert_eq!(comparison.silenced, BTreeMap::from([("set $.tags".to_owned(), 60_000)]));
}

#[test]
fn redelivery_is_judged_by_the_same_rules_and_what_they_silence_is_counted() {
    let of = |values: &[&str]| drive(values.iter().map(|value| output("a", value)));
    let (once, with) = (of(&[r#"{"tags":[1,2]}"#]), of(&[r#"{"tags":[1,2]}"#, r#"{"tags":[2,1]}"#]));
    let finals = |toml: &str| {
        let (once, with): (&dyn Drive, [&dyn Drive; 1]) = (&once, [&with]);
        let build = Redelivered { with: &with[..], once: &once };
        idempotency_of_drives(&build, &build, &rules(toml), None, &SpillSpace::system()).unwrap()
    };
    let without = finals("");
    assert_eq!((without.new.changed_finals, without.new.repeated_effects), (1, 1));
    let declared = finals("set = ['$.tags']");
    assert_eq!((declared.new.changed_finals, declared.new.repeated_effects), (0, 1));
    assert_eq!(declared.silenced, BTreeMap::from([("set $.tags".to_owned(), 2)]));
}

#[test]
fn plain_text_and_dead_letters_are_under_the_same_rules() {
    let rule = "mask-regex = [{ path = '$', pattern = '[0-9]+' }]";
    let of = |text: &str| [Output { channel: Channel::DeadLetter, ..output("a", text) }];
    let (old, new, wrong) = (drive(of("no 5")), drive(of("no 6")), drive(of("yes 5")));
    assert_eq!(found(&compared(rule, &[&old], &new)), []);
    assert_eq!(found(&compared(rule, &[&old], &wrong)).len(), 1);
}

// ---- what rules still catch ----

fn corrupted(toml: &str, drive: &Remembered, count: u64, seed: u64) -> RulesCheck {
    check_rules(drive, &rules(toml), (count, Seed(seed)), &|_| {}, &SpillSpace::system()).unwrap()
}

fn rich() -> Remembered {
    drive((0..120).map(|number| {
        let value = format!(
            r#"{{"id":{number},"amount":{}.5,"name":"Name{number}","paid":true,"tags":["a","b{number}"],"inner":{{"n":-{number}}}}}"#,
            number * 3 + 1
        );
        output(&format!("k{}", number % 10), &value)
    }))
}

#[test]
fn without_rules_every_corruption_is_caught_but_what_is_truly_equal() {
    let check = corrupted("", &rich(), 600, 7);
    assert_eq!((check.outputs, check.all.made), (120, 600));
    assert_eq!(check.all.caught + check.all.equal, 600);
    assert!(check.all.hidden.is_empty() && check.all.together == 0);
    assert_eq!(check.kinds.len(), Corruption::ALL.len(), "{:?}", check.kinds.keys());
    // Only a place among other outputs can be one that nothing depends on, and -0 is 0.
    for (kind, caught) in &check.kinds {
        assert!(
            caught.equal == 0 || matches!(kind, Corruption::OutputsSwapped | Corruption::Sign),
            "{kind:?} {caught:?}"
        );
        assert!(caught.caught > 0, "{kind:?}");
    }
    assert_eq!(check, corrupted("", &rich(), 600, 7));
    assert_ne!(check.kinds, corrupted("", &rich(), 600, 8).kinds);
}

#[test]
fn an_ignored_path_hides_exactly_the_corruptions_there() {
    let amounts =
        drive((1..50).map(|number| output(&number.to_string(), &format!(r#"{{"amount":{number},"n":{number}}}"#))));
    let check = corrupted("ignore = ['$.amount', '$.nowhere']", &amounts, 500, 1);
    let hidden = check.all.hidden["ignore $.amount"];
    assert_eq!(check.all.hidden_count(), hidden);
    assert_eq!(check.all.made, check.all.caught + check.all.equal + hidden);
    assert_eq!(check.harmless.iter().map(String::as_str).collect::<Vec<_>>(), ["ignore $.nowhere"]);
    for (kind, caught) in &check.kinds {
        // Half the numbers are amounts, half the members; of outputs as a whole none is.
        let is_there = matches!(
            kind,
            Corruption::LastPlace
                | Corruption::OnePercent
                | Corruption::Sign
                | Corruption::Null
                | Corruption::OtherType
                | Corruption::MemberGone
        );
        assert_eq!(caught.hidden_count() > 0, is_there, "{kind:?} {caught:?}");
        // Outputs of different keys depend on nothing.
        assert_eq!(caught.caught > 0, *kind != Corruption::OutputsSwapped, "{kind:?}");
    }
}

#[test]
fn each_rule_is_named_for_what_it_hides() {
    let toml = "set = ['$.tags']
        tolerance = [{ path = '$.amount', relative = 0.02 }]
        normalise = [{ path = '$.name', as = 'lower' }]
        topics.payouts.ignore = ['$.paid']";
    let check = corrupted(toml, &rich(), 1_500, 3);
    let hides = |kind: Corruption| check.kinds[&kind].hidden.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(hides(Corruption::ElementsSwapped), ["set $.tags"]);
    assert_eq!(hides(Corruption::Case), ["normalise $.name as lower"]);
    assert!(hides(Corruption::OnePercent).contains(&"tolerance $.amount"));
    assert!(hides(Corruption::Null).contains(&"ignore $.paid in payouts"));
    assert!(check.harmless.is_empty(), "{:?}", check.harmless);
    assert_eq!(hides(Corruption::OutputLost), [""; 0]);
}

fn outcome(folder: &std::path::Path, outputs: &Remembered) {
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let mut writer = OutcomeWriter::create(folder, &[], &[]).unwrap();
    outputs.outputs.iter().for_each(|output| writer.output(output).unwrap());
    writer.finish(&EndingReport::new(Ending::Finished, "drained")).unwrap();
}

fn rehearsal() -> Command {
    Command::cargo_bin("rehearsal").unwrap()
}

#[test]
fn the_command_takes_an_outcome_or_a_run_and_ends_by_what_is_caught() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    outcome(&run.join("outcomes/old"), &rich());
    let scenario = folder.path().join("rules.toml");
    std::fs::write(&scenario, "seed = 5\n[compare]\nignore = [\"$.amount\"]\n").unwrap();
    let check = |arguments: &[&str]| {
        let all = rehearsal().args(["rules", "check"]).arg(&scenario).args(arguments).output().unwrap();
        (all.status.code(), String::from_utf8(all.stdout).unwrap(), String::from_utf8(all.stderr).unwrap())
    };
    let (named_run, named_old) = (run.display().to_string(), run.join("outcomes/old").display().to_string());
    let (code, text, _) = check(&[&named_run, "--count", "300"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("ignore $.amount") && text.contains("seed 5") && text.contains("output-lost"), "{text}");
    assert_eq!(check(&[&named_old, "--count", "300"]).1, text);
    assert_eq!(check(&[&named_run, "--count", "300", "--at-least", "99.9%"]).0, Some(1));
    assert_eq!(check(&[&named_run, "--count", "300", "--at-least", "50%"]).0, Some(0));
    let (code, json, _) = check(&[&named_run, "--count", "300", "--json", "--set", "compare.ignore=[]"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["caught_share"], &json["seed"]), (Some(0), &1.0.into(), &5.into()));
    assert_eq!(json["all"]["made"], 300);
    let (code, _, error) = check(&["nowhere"]);
    assert_eq!(code, Some(2), "{error}");
    let empty = folder.path().join("empty");
    outcome(&empty, &drive([]));
    assert_eq!(check(&[&empty.display().to_string()]).0, Some(3));
}
