//! Expectations from both sides: what is as expected, and what is not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::compare::{
    CompareSettings, Comparison, Drive, Facts, FidelityBounds, GateSettings, Gates, Judgement, Remembered, Verdict,
    compare_drives, judge,
};
use crate::outcome::{Ending, EndingReport, Output};
use crate::settings::SettingError;
use crate::spill::SpillSpace;

/// 2026-11-22.
const TODAY: i64 = 20_779;

fn drive(values: impl IntoIterator<Item = String>) -> Remembered {
    let outputs = values.into_iter().enumerate().map(|(at, value)| {
        let (topic, value) = value.split_once(' ').map_or(("payouts", value.as_str()), |(topic, value)| (topic, value));
        Output {
            sequence: at as i64,
            arrived_us: at as i64 * 10,
            topic: topic.to_owned(),
            key: Some(format!("k{at}").into_bytes()),
            value: Some(value.as_bytes().to_vec()),
            ..Output::default()
        }
    });
    Remembered::finished(outputs.collect())
}

/// A drive of `count` outputs, each made by its number.
fn each(count: usize, value: impl Fn(usize) -> String) -> Remembered {
    drive((0..count).map(value))
}

fn expectations(toml: &str, accepted: &[Acceptance]) -> Result<Expectations, SettingError> {
    #[derive(serde::Deserialize)]
    struct Whole {
        #[serde(default)]
        expected: Vec<ExpectedSettings>,
    }
    Expectations::check(&toml::from_str::<Whole>(toml).unwrap().expected, accepted, TODAY)
}

/// Compares under what is expected; old is driven twice and does the same, new is driven again where asked.
fn compared(drives: (&[&Remembered], &[&Remembered]), toml: &str, accepted: &[Acceptance]) -> Comparison {
    compared_by(&CompareSettings::default(), drives, toml, accepted)
}

/// As [`compared`], by other rules.
fn compared_by(
    settings: &CompareSettings,
    drives: (&[&Remembered], &[&Remembered]),
    toml: &str,
    accepted: &[Acceptance],
) -> Comparison {
    let rules = settings.check().unwrap().with_expected(expectations(toml, accepted).unwrap());
    let of = |drives: &[&Remembered]| drives.iter().map(|drive| (*drive).clone()).collect::<Vec<_>>();
    let (old, new) = (of(drives.0), of(drives.1));
    let old: Vec<&dyn Drive> = old.iter().map(|drive| drive as &dyn Drive).collect();
    let new: Vec<&dyn Drive> = new.iter().map(|drive| drive as &dyn Drive).collect();
    compare_drives(&old, &new, &rules, None, &SpillSpace::system()).unwrap()
}

fn judged(comparison: &Comparison, gates: &str) -> Judgement {
    let finished = EndingReport::new(Ending::Finished, "drained");
    let endings: BTreeMap<String, EndingReport> =
        ["old", "old-again", "new"].map(|drive| (drive.to_owned(), finished.clone())).into();
    let facts = Facts {
        comparison,
        endings: &endings,
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    let gates = toml::from_str::<GateSettings>(gates).unwrap();
    judge(&facts, &Gates::check(&gates, &GateSettings::default()).unwrap())
}

/// Verdict of new against old, and what became of every expectation.
fn verdict(
    old: &Remembered,
    new: &Remembered,
    toml: &str,
    accepted: &[Acceptance],
) -> (Verdict, Vec<ExpectedState>, Comparison) {
    let comparison = compared((&[old, old], &[new]), toml, accepted);
    let states = comparison.expected.iter().map(|one| one.state).collect();
    (judged(&comparison, "").verdict, states, comparison)
}

const ADDED: &str =
    "[[expected]]\npath = '$.currency'\nchange = 'added'\nvalue = 'EUR'\nbecause = 'PAY-123'\nuntil = '2026-12-31'\n";

fn plain(at: usize) -> String {
    format!(r#"{{"id":{at}}}"#)
}

fn euro(at: usize) -> String {
    format!(r#"{{"id":{at},"currency":"EUR"}}"#)
}

fn accepted(kind: Kind, path: Option<&str>, change: Option<Change>, (count, of): (u64, u64)) -> Acceptance {
    Acceptance {
        id: pattern_id(kind, "payouts", path, change),
        kind,
        topic: "payouts".to_owned(),
        path: path.map(str::to_owned),
        change,
        share: Some(AcceptedShare { share: count as f64 / of as f64, interval: share_interval(count, of) }),
        because: "PAY-124".to_owned(),
        by: "Ada".to_owned(),
        on: "2026-11-01".to_owned(),
        until: None,
    }
}

#[test]
fn the_value_that_is_expected_is_no_failure() {
    let (verdict, states, comparison) = verdict(&each(200, plain), &each(200, euro), ADDED, &[]);
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Made]));
    let pattern = &comparison.patterns[0];
    assert_eq!((pattern.standing, pattern.count, pattern.expected_by), (Standing::Expected, 200, Some(0)));
    assert_eq!(comparison.expected[0].share, Some(1.0));
    // Without the expectation the same outputs differ.
    assert_eq!(self::verdict(&each(200, plain), &each(200, euro), "", &[]).0, Verdict::Differ);
}

#[test]
fn what_is_expected_holds_where_a_topic_has_rules_of_its_own_and_within_a_set() {
    let settings: CompareSettings = toml::from_str("[topics.payouts]\nset = ['$.tags']\n").unwrap();
    let old = each(200, |at| format!(r#"{{"id":{at},"tags":["a","b"]}}"#));
    let new = each(200, |at| format!(r#"{{"id":{at},"tags":["b","late","a"],"currency":"EUR"}}"#));
    let late = "[[expected]]\npath = '$.tags[*]'\nchange = 'added'\nvalue = 'late'\nbecause = 'PAY-124'\n";
    let told = |expected: &str| {
        let comparison = compared_by(&settings, (&[&old, &old], &[&new]), expected, &[]);
        let patterns = comparison.patterns.iter();
        let patterns: Vec<_> = patterns.map(|one| (one.path.clone().unwrap_or_default(), one.standing)).collect();
        (judged(&comparison, "").verdict, patterns)
    };
    let of = |path: &str, standing| (path.to_owned(), standing);
    let (tags, currency) = ("$.tags[*]", "$.currency");
    assert_eq!(
        told(&format!("{ADDED}{late}")),
        (Verdict::Agree, vec![of(currency, Standing::Expected), of(tags, Standing::Expected)])
    );
    assert_eq!(told(ADDED), (Verdict::Differ, vec![of(tags, Standing::Proven), of(currency, Standing::Expected)]));
}

#[test]
fn another_value_is_a_difference_of_its_own() {
    let new = each(200, |at| if at % 20 == 0 { euro(at).replace("EUR", "USD") } else { euro(at) });
    let (verdict, _, comparison) = verdict(&each(200, plain), &new, ADDED, &[]);
    assert_eq!(verdict, Verdict::Differ);
    let counts: Vec<(Standing, u64)> = comparison.patterns.iter().map(|one| (one.standing, one.count)).collect();
    assert_eq!(counts, [(Standing::Proven, 10), (Standing::Expected, 190)]);
    // Both patterns have a name, and not the same one; what remains has the one that it has without any expectation.
    assert_ne!(comparison.patterns[0].id, comparison.patterns[1].id);
    assert_eq!(
        comparison.patterns[0].id,
        pattern_id(Kind::Changed, "payouts", Some("$.currency"), Some(Change::Added))
    );
    assert_eq!(comparison.differences[&Kind::Changed], 200);
}

#[test]
fn a_change_that_takes_place_nowhere_or_in_part_is_a_difference() {
    for (every, state, lacking) in [(200, ExpectedState::NotMade, 200), (10, ExpectedState::Partly, 20)] {
        let new = each(200, |at| if every == 200 || at % every == 0 { plain(at) } else { euro(at) });
        let (verdict, states, comparison) = verdict(&each(200, plain), &new, ADDED, &[]);
        assert_eq!((verdict, states), (Verdict::Differ, vec![state]));
        let lacks = comparison.patterns.iter().find(|one| one.change == Some(Change::NotMade)).unwrap();
        assert_eq!(
            (lacks.count, lacks.standing, comparison.expected[0].not_made),
            (lacking, Standing::Proven, lacking)
        );
        assert!(
            !lacks.examples.is_empty()
                && lacks.examples.iter().all(|one| !one.new.as_ref().unwrap().value.as_ref().unwrap().contains("EUR"))
        );
        let outputs = comparison.matched + comparison.differences[&Kind::Changed];
        assert_eq!(outputs, 200);
        let reasons = judged(&comparison, "").reasons.join("\n");
        assert!(reasons.contains("lack the change that was expected at $.currency"), "{reasons}");
    }
}

#[test]
fn an_output_that_differs_elsewhere_is_asked_for_the_change_as_well() {
    let new = each(200, |at| if at == 7 { r#"{"id":-7}"#.to_owned() } else { euro(at) });
    let (verdict, _, comparison) = verdict(&each(200, plain), &new, ADDED, &[]);
    assert_eq!((verdict, comparison.expected[0].not_made), (Verdict::Differ, 1));
    // What new alone wrote, and what old had and new took away, is another matter.
    let old = each(200, |at| if at == 3 { euro(at) } else { plain(at) });
    let mut values: Vec<String> = (0..200).map(|at| if at == 3 { plain(at) } else { euro(at) }).collect();
    values.push(plain(200));
    let (_, states, comparison) = self::verdict(&old, &drive(values), ADDED, &[]);
    assert_eq!((states, comparison.expected[0].not_made), (vec![ExpectedState::Made], 0));
    let kinds: Vec<_> = comparison.differences.iter().collect();
    assert_eq!(kinds, [(&Kind::Extra, &1), (&Kind::Changed, &200)]);
}

#[test]
fn what_old_has_too_is_stale_and_fails_where_somebody_asks() {
    let (verdict, states, comparison) = verdict(&each(200, euro), &each(200, euro), ADDED, &[]);
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Stale]));
    let judgement = judged(&comparison, "");
    assert!(judgement.warnings.iter().any(|warning| warning.contains("no longer applies: old has it too")));
    let judgement = judged(&comparison, "stale-expectations = 0");
    assert_eq!(judgement.verdict, Verdict::Differ);
    assert!(judgement.reasons[0].contains("PAY-123") && judgement.reasons[0].contains("stale-expectations"));
    assert!(!judgement.warnings.iter().any(|warning| warning.contains("no longer applies")));
}

#[test]
fn what_has_expired_is_a_difference_again_and_what_expires_soon_is_warned_of() {
    let expired = ADDED.replace("2026-12-31", "2026-11-21");
    let (verdict, states, comparison) = verdict(&each(200, plain), &each(200, euro), &expired, &[]);
    assert_eq!((verdict, states), (Verdict::Differ, vec![ExpectedState::Expired]));
    assert!(judged(&comparison, "").warnings.iter().any(|warning| warning.contains("expired after 2026-11-21")));
    for (until, warned) in [("2026-11-22", true), ("2026-12-06", true), ("2026-12-07", false)] {
        let soon = ADDED.replace("2026-12-31", until);
        let (verdict, _, comparison) = self::verdict(&each(200, plain), &each(200, euro), &soon, &[]);
        assert_eq!(verdict, Verdict::Agree, "{until}");
        let warnings = judged(&comparison, "").warnings;
        assert_eq!(warnings.iter().any(|warning| warning.contains(until)), warned, "{until}: {warnings:?}");
    }
}

#[test]
fn pairs_of_values_are_told_apart_at_one_path() {
    let toml = "[[expected]]\npath = '$.s'\nfrom = 'open'\nvalue = 'OPEN'\nbecause = 'A'\n\
                [[expected]]\npath = '$.s'\nfrom = 'paid'\nvalue = 'PAID'\nbecause = 'B'\n";
    let of = |names: [&'static str; 3]| move |at: usize| format!(r#"{{"s":"{}"}}"#, names[at % 3]);
    let old = each(300, of(["open", "paid", "void"]));
    let (verdict, states, comparison) = verdict(&old, &each(300, of(["OPEN", "PAID", "void"])), toml, &[]);
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Made; 2]));
    assert_eq!(comparison.patterns.iter().map(|one| one.count).collect::<Vec<_>>(), [100, 100]);
    assert_ne!(comparison.patterns[0].id, comparison.patterns[1].id);
    // The other way round nothing of it is expected; one that stays as it was did not take place.
    assert_eq!(self::verdict(&old, &each(300, of(["PAID", "OPEN", "void"])), toml, &[]).0, Verdict::Differ);
    let (verdict, states, _) = self::verdict(&old, &each(300, of(["OPEN", "paid", "void"])), toml, &[]);
    assert_eq!((verdict, states), (Verdict::Differ, vec![ExpectedState::Made, ExpectedState::NotMade]));
}

#[test]
fn one_element_with_another_value_leaves_its_output_a_difference() {
    let items = |values: &[&str]| {
        let items: Vec<String> = values.iter().map(|value| format!(r#"{{"n":1{value}}}"#)).collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    };
    let toml = ADDED.replace("$.currency", "$.items[*].currency");
    let (eur, usd) = (r#","currency":"EUR""#, r#","currency":"USD""#);
    let old = each(40, |_| items(&["", ""]));
    assert_eq!(verdict(&old, &each(40, |_| items(&[eur, eur])), &toml, &[]).0, Verdict::Agree);
    let (verdict, _, comparison) =
        verdict(&old, &each(40, |at| items(&[eur, if at < 9 { usd } else { eur }])), &toml, &[]);
    assert_eq!(verdict, Verdict::Differ);
    assert_eq!((comparison.patterns[0].count, comparison.differences[&Kind::Changed]), (9, 40));
    let (verdict, _, comparison) =
        self::verdict(&old, &each(40, |at| items(&[eur, if at < 9 { "" } else { eur }])), &toml, &[]);
    assert_eq!((verdict, comparison.expected[0].not_made), (Verdict::Differ, 9));
}

#[test]
fn last_values_and_kinds_without_a_path_can_be_expected() {
    // Several outputs a key: the last value of each differs as well, and is covered.
    let keyed = |value: fn(usize) -> String| {
        let mut drive = each(300, value);
        drive.outputs.iter_mut().enumerate().for_each(|(at, output)| output.key = Some(vec![b'a' + (at % 3) as u8]));
        drive
    };
    let (verdict, states, comparison) = verdict(&keyed(plain), &keyed(euro), ADDED, &[]);
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Made]));
    let last = comparison.patterns.iter().find(|one| one.kind == Kind::FinalState).unwrap();
    assert_eq!((last.standing, last.count, last.comparable), (Standing::Expected, 3, 3));
    let missing = "[[expected]]\nkind = 'missing'\ntopic = 'payouts'\nbecause = 'PAY-9'\n";
    let less = each(150, plain);
    assert_eq!(self::verdict(&each(200, plain), &less, missing, &[]).0, Verdict::Agree);
    assert_eq!(self::verdict(&less, &each(200, plain), missing, &[]).0, Verdict::Differ);
    assert_eq!(self::verdict(&less, &less, missing, &[]).1, [ExpectedState::Stale]);
}

#[test]
fn without_a_topic_a_change_is_asked_for_where_it_takes_place_at_all() {
    let of = |other: bool| {
        move |at: usize| {
            let value = if other { euro(at) } else { plain(at) };
            if at.is_multiple_of(2) { value } else { format!("refunds {}", plain(at)) }
        }
    };
    let (old, new) = (each(200, of(false)), each(200, of(true)));
    assert_eq!(verdict(&old, &new, ADDED, &[]).0, Verdict::Agree);
    let asked = format!("{ADDED}topic = 'refunds'\n");
    assert_eq!(verdict(&old, &new, &asked, &[]).1, [ExpectedState::NotMade]);
    // It covers nothing elsewhere.
    assert_eq!(verdict(&old, &new, &asked, &[]).0, Verdict::Differ);
}

#[test]
fn noise_of_old_at_the_same_path_makes_nothing_of_what_remains() {
    // A tenth of the outputs is `z` by chance in every drive, new among them; where old wrote `a`, new is to write `b`.
    let noisy = |seed: usize, to: &'static str| {
        move |at: usize| {
            let chance = xxh3_64(&[seed as u8, at as u8, (at >> 8) as u8]).is_multiple_of(10);
            format!(r#"{{"id":{at},"s":"{}"}}"#, if chance { "z" } else { to })
        }
    };
    let toml = "[[expected]]\npath = '$.s'\nfrom = 'a'\nvalue = 'b'\nbecause = 'A'\n";
    for seed in 0..4 {
        let drives = [noisy(seed * 4, "a"), noisy(seed * 4 + 1, "a")].map(|value| each(2_000, value));
        let (new, again) = (each(2_000, noisy(seed * 4 + 2, "b")), each(2_000, noisy(seed * 4 + 3, "b")));
        let comparison = compared((&[&drives[0], &drives[1]], &[&new, &again]), toml, &[]);
        let remains: Vec<_> = comparison.patterns.iter().filter(|one| one.standing == Standing::Proven).collect();
        assert!(remains.is_empty(), "{seed}: {remains:?}");
        // A regression among them is found all the same.
        let broken =
            each(
                2_000,
                |at| if at % 50 == 0 { r#"{"id":0,"s":"y"}"#.to_owned() } else { noisy(seed * 4 + 2, "b")(at) },
            );
        let comparison = compared((&[&drives[0], &drives[1]], &[&broken, &broken]), toml, &[]);
        assert_eq!(judged(&comparison, "").verdict, Verdict::Differ, "{seed}");
    }
}

#[test]
fn a_share_that_was_accepted_stays_green_in_a_longer_slice() {
    let doubled = |count: usize| {
        each(
            count,
            move |at| if at % 10 == 0 { format!(r#"{{"id":{at},"n":2}}"#) } else { format!(r#"{{"id":{at},"n":1}}"#) },
        )
    };
    let ones = |count: usize| each(count, |at| format!(r#"{{"id":{at},"n":1}}"#));
    let decision = accepted(Kind::Changed, Some("$.n"), Some(Change::Value), (50, 500));
    for count in [250, 500, 1_000, 5_000] {
        let (verdict, states, comparison) = verdict(&ones(count), &doubled(count), "", std::slice::from_ref(&decision));
        assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Made]), "{count}");
        assert_eq!(comparison.expected[0].share, Some(0.1));
    }
}

#[test]
fn a_share_that_grew_beyond_its_interval_is_a_difference_and_one_that_is_gone_is_stale() {
    let old = each(1_000, plain);
    let of = |every: usize| each(1_000, move |at| if at % every == 0 { euro(at) } else { plain(at) });
    let decision = accepted(Kind::Changed, Some("$.currency"), Some(Change::Added), (50, 500));
    for (every, expected, state) in [
        (10, Verdict::Agree, ExpectedState::Made),
        (40, Verdict::Agree, ExpectedState::Made),
        (4, Verdict::Differ, ExpectedState::Grown),
        (5_000_000, Verdict::Differ, ExpectedState::Made),
    ] {
        let (verdict, states, comparison) = verdict(&old, &of(every), "", std::slice::from_ref(&decision));
        // The first output always differs: one of a thousand is far below what was accepted.
        let expected = if every > 1_000 { Verdict::Agree } else { expected };
        assert_eq!((verdict, states), (expected, vec![state]), "{every}");
        if state == ExpectedState::Grown {
            let warnings = judged(&comparison, "").warnings;
            assert!(warnings.iter().any(|warning| warning.contains("has grown: 250 differences")), "{warnings:?}");
        }
    }
    let (verdict, states, _) = verdict(&old, &old, "", std::slice::from_ref(&decision));
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Stale]));
    let past = Acceptance { until: Some("2026-11-21".to_owned()), ..decision.clone() };
    assert_eq!(self::verdict(&old, &of(10), "", &[past]).0, Verdict::Differ);
    // With one drive of old nothing is known of chance, so that a share that grew is suspected alone.
    let comparison = compared((&[&old], &[&of(4)]), "", &[decision]);
    assert_eq!(comparison.patterns[0].standing, Standing::Suspected);
    assert_eq!(judged(&comparison, "").verdict, Verdict::NoVerdict);
}

#[test]
fn what_was_accepted_hides_nothing_else_on_its_topic_and_several_stand_side_by_side() {
    let old = each(400, |at| format!(r#"{{"id":{at},"n":1,"s":"a"}}"#));
    let new = each(400, |at| {
        format!(r#"{{"id":{at},"n":{},"s":{}}}"#, 1 + at % 2, if at % 4 == 0 { "\"b\"" } else { "\"a\"" })
    });
    let number = accepted(Kind::Changed, Some("$.n"), Some(Change::Value), (200, 400));
    let text = accepted(Kind::Changed, Some("$.s"), Some(Change::Value), (100, 400));
    let (verdict, _, comparison) = verdict(&old, &new, "", std::slice::from_ref(&number));
    assert_eq!(verdict, Verdict::Differ);
    assert_eq!(
        (comparison.patterns[0].path.as_deref(), comparison.patterns[0].standing),
        (Some("$.s"), Standing::Proven)
    );
    let (verdict, states, _) = self::verdict(&old, &new, "", &[number.clone(), text]);
    assert_eq!((verdict, states), (Verdict::Agree, vec![ExpectedState::Made; 2]));
    // Another change at the path that was accepted, and a path without one: both at once, each by its own acceptance.
    let typed = each(400, |at| {
        if at % 2 == 0 {
            format!(r#"{{"id":{at},"n":"1","s":"a"}}"#)
        } else {
            format!(r#"{{"id":{at},"n":2,"s":"a"}}"#)
        }
    });
    let kind = accepted(Kind::Changed, Some("$.n"), Some(Change::Type), (200, 400));
    assert_eq!(self::verdict(&old, &typed, "", std::slice::from_ref(&number)).0, Verdict::Differ);
    assert_eq!(self::verdict(&old, &typed, "", &[number, kind]).0, Verdict::Agree);
}

#[test]
fn what_was_rejected_stays_a_difference_and_what_has_no_path_is_accepted_by_share() {
    let (old, new) = (each(500, plain), each(450, plain));
    let decision = accepted(Kind::Missing, None, None, (50, 500));
    assert_eq!(verdict(&old, &new, "", std::slice::from_ref(&decision)).0, Verdict::Agree);
    let (verdict, states, _) = verdict(&old, &each(250, plain), "", std::slice::from_ref(&decision));
    assert_eq!((verdict, states), (Verdict::Differ, vec![ExpectedState::Grown]));
    let (verdict, states, comparison) = self::verdict(&old, &new, "", &[Acceptance { share: None, ..decision }]);
    assert_eq!((verdict, states), (Verdict::Differ, vec![ExpectedState::Rejected]));
    assert_eq!((comparison.patterns[0].standing, comparison.patterns[0].expected_by), (Standing::Proven, Some(0)));
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    for (toml, key) in [
        ("path = '$.a'\nbecause = ' '", "expected[0].because"),
        ("because = 'A'", "expected[0]"),
        ("path = 'a'\nbecause = 'A'", "expected[0].path"),
        ("path = '$.a[0]'\nbecause = 'A'", "expected[0].path"),
        ("path = '$.a'\nuntil = '2026-02-30'\nbecause = 'A'", "expected[0].until"),
        ("path = '$.a'\nuntil = 'soon'\nbecause = 'A'", "expected[0].until"),
        ("kind = 'unseen'\nbecause = 'A'", "expected[0].kind"),
        ("kind = 'died'\nbecause = 'A'", "expected[0].kind"),
        ("kind = 'missing'\npath = '$.a'\nbecause = 'A'", "expected[0].kind"),
        ("kind = 'missing'\nvalue = 1\nbecause = 'A'", "expected[0].value"),
        ("path = '$.a'\nchange = 'added'\nfrom = 1\nbecause = 'A'", "expected[0].from"),
        ("path = '$.a'\nchange = 'removed'\nvalue = 1\nbecause = 'A'", "expected[0].value"),
    ] {
        let error = expectations(&format!("[[expected]]\n{toml}\n"), &[]).unwrap_err();
        assert_eq!(error.key, key, "{toml}");
        assert!(!error.instead.is_empty(), "{toml}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever old and new write: what is expected is counted apart, and nothing is lost of the rest.
    #[test]
    fn an_expectation_takes_away_what_it_covers_and_nothing_else(
        values in prop::collection::vec((0..3_u8, 0..3_u8, 0..2_u8, 0..2_u8), 1..60),
    ) {
        let of = |number: usize| move |at: usize, (a, b, c, d): (u8, u8, u8, u8)| {
            let (s, n) = if number == 0 { (a, c) } else { (b, d) };
            format!(r#"{{"id":{at},"s":{s},"n":{n}}}"#)
        };
        let make = |number: usize| drive(values.iter().enumerate().map(|(at, value)| of(number)(at, *value)).collect::<Vec<_>>());
        let (old, new) = (make(0), make(1));
        let without = compared((&[&old, &old], &[&new]), "", &[]);
        let toml = "[[expected]]\npath = '$.s'\nfrom = 0\nvalue = 1\nbecause = 'A'\n";
        let with = compared((&[&old, &old], &[&new]), toml, &[]);
        let count = |comparison: &Comparison, path: &str, standing: Option<Standing>| -> u64 {
            let of_path = comparison.patterns.iter().filter(|one| one.path.as_deref() == Some(path) && one.change != Some(Change::NotMade));
            of_path.filter(|one| standing.is_none_or(|standing| (one.standing == Standing::Expected) == (standing == Standing::Expected))).map(|one| one.count).sum()
        };
        let covered = values.iter().filter(|(a, b, ..)| (*a, *b) == (0, 1)).count() as u64;
        let kept = values.iter().filter(|(a, b, ..)| (*a, *b) == (0, 0)).count() as u64;
        prop_assert_eq!(count(&with, "$.s", Some(Standing::Expected)), covered);
        prop_assert_eq!(count(&with, "$.s", None), count(&without, "$.s", None));
        prop_assert_eq!(count(&with, "$.n", None), count(&without, "$.n", None));
        prop_assert_eq!(with.expected[0].not_made, kept);
        let all = with.matched + with.differences.values().sum::<u64>();
        prop_assert_eq!(all, values.len() as u64);
    }
}
