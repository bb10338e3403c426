//! What chance explains and what not, seen from outside: bursts, pairs, power, and what a comparison never depends on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rehearsal::compare::{
    CompareError, CompareSettings, Comparison, Drive, Facts, FidelityBounds, GateSettings, Gates, Judgement, Kind,
    Pattern, Remembered, Standing, Verdict, compare_drives, judge, settle,
};
use rehearsal::outcome::{Cause, CauseBy, Channel, Ending, EndingReport, Output};
use rehearsal::spill::SpillSpace;

fn output(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Output {
    Output {
        topic: "payouts".to_owned(),
        key: Some(key.into()).filter(|key| !key.is_empty()),
        value: Some(value.into()),
        ..Output::default()
    }
}

fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().zip(0_i64..);
    Remembered::finished(numbered.map(|(output, at)| Output { sequence: at, arrived_us: at * 10, ..output }).collect())
}

/// A drive with an output a key that says 5, but for those whose number `wrong` knows.
fn made(outputs: u64, wrong: impl Fn(u64) -> Option<u64>) -> Remembered {
    drive(
        (0..outputs)
            .map(|number| output(format!("k{number}"), format!("{{\"amount\":{}}}", wrong(number).unwrap_or(5)))),
    )
}

fn compared_within(
    old: &[&Remembered],
    new: &[&Remembered],
    toml: &str,
    spill: &SpillSpace,
) -> Result<Comparison, CompareError> {
    let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
    let of = |drives: &[&Remembered]| drives.iter().map(|drive| (*drive).clone()).collect::<Vec<_>>();
    let (old, new) = (of(old), of(new));
    let old: Vec<&dyn Drive> = old.iter().map(|drive| drive as &dyn Drive).collect();
    let new: Vec<&dyn Drive> = new.iter().map(|drive| drive as &dyn Drive).collect();
    compare_drives(&old, &new, &rules, None, spill)
}

fn compared(old: &[&Remembered], new: &[&Remembered], toml: &str) -> Comparison {
    compared_within(old, new, toml, &SpillSpace::system()).unwrap()
}

fn judged(comparison: &mut Comparison, gates: &str) -> Judgement {
    let finished = EndingReport::new(Ending::Finished, "drained");
    let endings: BTreeMap<String, EndingReport> =
        ["old", "old-again", "new"].map(|drive| (drive.to_owned(), finished.clone())).into();
    let gates = toml::from_str::<GateSettings>(gates).unwrap();
    let gates = Gates::check(&gates, &GateSettings::default()).unwrap();
    settle(comparison, &gates);
    let facts = Facts {
        comparison,
        endings: &endings,
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    judge(&facts, &gates)
}

fn of_kind(comparison: &Comparison, kind: Kind) -> &Pattern {
    comparison.patterns.iter().find(|pattern| pattern.kind == kind).unwrap()
}

/// Noise of one drive: of `outputs` one in a hundred is wrong, each in its own way.
fn noisy(drive: u64, number: u64) -> Option<u64> {
    mixed(drive, number).is_multiple_of(100).then_some(1_000 + drive * 1_000_000 + number)
}

/// Bits of a number in one of sixteen drives.
fn mixed(drive: u64, number: u64) -> u64 {
    let mixed =
        (number * 16 + drive).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 31
}

// ---- bursts ----

#[test]
fn one_burst_of_new_asks_for_another_drive_and_spread_changes_do_not() {
    let old = made(4_000, |_| None);
    let burst = compared(&[&old, &old], &[&made(4_000, |number| (1_000..1_060).contains(&number).then_some(7))], "");
    let changed = of_kind(&burst, Kind::Changed);
    assert!(changed.standing == Standing::Proven && burst.wants_new_again, "{:?}", changed.statistics);
    let spread = compared(&[&old, &old], &[&made(4_000, |number| (number % 66 == 0).then_some(7))], "");
    let changed = of_kind(&spread, Kind::Changed);
    assert!(changed.standing == Standing::Proven && !spread.wants_new_again, "{:?}", changed.statistics);
}

#[test]
fn a_burst_that_does_not_come_back_is_suspected_and_one_that_does_is_proven() {
    let old = made(4_000, |_| None);
    let burst = made(4_000, |number| (1_000..1_060).contains(&number).then_some(7));
    let gone = compared(&[&old, &old], &[&burst, &old], "");
    assert_eq!(of_kind(&gone, Kind::Changed).standing, Standing::Suspected);
    let back = compared(&[&old, &old], &[&burst, &burst], "");
    assert_eq!(of_kind(&back, Kind::Changed).standing, Standing::Proven);
}

#[test]
fn bursts_that_old_has_as_well_prove_nothing_however_many_outputs_they_hold() {
    // Each drive has three bursts of 50; counted one by one, new's four are 200 of 500.
    let bursts = |places: &'static [u64]| {
        made(6_400, move |number| places.iter().find(|place| number / 50 == **place).map(|place| 100 + place))
    };
    let (old, again) = (bursts(&[3, 40, 77]), bursts(&[12, 55, 101]));
    let found = compared(&[&old, &again], &[&bursts(&[7, 33, 60, 99])], "");
    let changed = of_kind(&found, Kind::Changed);
    assert_eq!((changed.statistics.odd_new, changed.statistics.odd_any), (200, 500));
    assert_ne!(changed.standing, Standing::Proven, "{:?}", changed.statistics);
    assert!(changed.statistics.p_value.unwrap() > 0.1, "{:?}", changed.statistics);
}

// ---- pairs ----

#[test]
fn a_disorder_that_old_shows_as_well_is_proven_where_new_again_shows_as_much() {
    // Outputs 2n and 2n + 1, of one key, change places where `swaps` says so.
    let ordered = |swaps: &dyn Fn(u64) -> bool| {
        drive((0..200_u64).flat_map(|pair| {
            let ids = if swaps(pair) { [1, 0] } else { [0, 1] };
            ids.map(|id| output(format!("k{pair}"), format!("{{\"id\":{}}}", pair * 2 + id)))
        }))
    };
    let a_little = |drive: u64| ordered(&move |pair| pair % 50 == drive);
    let (steady, burst) = (ordered(&|_| false), ordered(&|pair| (100..160).contains(&pair)));
    for order in ["key", "total"] {
        let toml = format!("identity = ['$.id']\norder = '{order}'");
        let standing =
            |old: [&Remembered; 3], new: &[&Remembered]| of_kind(&compared(&old, new, &toml), Kind::Reordered).standing;
        let [first, second, third] = [0, 1, 2].map(a_little);
        let old = [&first, &second, &third];
        // A machine that was busy for a moment is no build.
        assert_eq!(standing(old, &[&burst, &a_little(3)]), Standing::Suspected, "{order}");
        // As many at the same places, or at others: that is what new does.
        assert_eq!(standing(old, &[&burst, &burst]), Standing::Proven, "{order}");
        let elsewhere = ordered(&|pair| (20..80).contains(&pair));
        assert_eq!(standing(old, &[&burst, &elsewhere]), Standing::Proven, "{order}");
        // So is more than a burst where old never does it.
        assert_eq!(standing([&steady; 3], &[&burst, &steady]), Standing::Proven, "{order}");
        // What was not driven again is judged by what there is, and asks for it.
        let found = compared(&old, &[&burst], &toml);
        let standing = of_kind(&found, Kind::Reordered).standing;
        assert!(standing == Standing::Proven && found.wants_new_again, "{order}");
    }
}

#[test]
fn values_that_new_makes_up_each_time_are_proven_beside_a_little_noise_in_few_outputs() {
    let old = [0, 1, 2].map(|drive| made(400, move |number| (number % 100 == drive).then_some(7)));
    let made_up = |drive: u64| made(400, move |number| Some(1_000 * drive + number));
    let standing = |again: &Remembered| {
        let found = compared(&[&old[0], &old[1], &old[2]], &[&made_up(1), again], "");
        of_kind(&found, Kind::Changed).standing
    };
    assert_eq!(standing(&made_up(2)), Standing::Proven);
    assert_eq!(standing(&made(400, |number| (number % 100 == 3).then_some(7))), Standing::Suspected);
}

#[test]
fn ten_wrong_outputs_are_found_beside_a_hundred_noisy_ones_a_drive() {
    let planted = |number: u64| (number % 1_000 == 501).then_some(7);
    let old = [0, 1].map(|of| made(10_000, move |number| noisy(of, number)));
    let new = [2, 3].map(|of| made(10_000, move |number| planted(number).or(noisy(of, number))));
    let once = compared(&[&old[0], &old[1]], &[&new[0]], "");
    assert!(of_kind(&once, Kind::Changed).standing == Standing::Suspected && once.wants_new_again);
    let again = compared(&[&old[0], &old[1]], &[&new[0], &new[1]], "");
    let changed = of_kind(&again, Kind::Changed);
    assert_eq!(changed.standing, Standing::Proven, "{:?}", changed.statistics);
    assert!(changed.statistics.pairs_new >= Some(9), "{:?}", changed.statistics);
}

#[test]
fn noise_that_two_drives_share_now_and_then_is_no_pair_of_new() {
    let new = [2, 3].map(|of| made(10_000, move |number| noisy(of, number)));
    let old = [0, 1].map(|of| made(10_000, move |number| noisy(of, number)));
    let again = compared(&[&old[0], &old[1]], &[&new[0], &new[1]], "");
    assert_ne!(of_kind(&again, Kind::Changed).standing, Standing::Proven);
    // All wrong in the same way: pairs come, but those of new no more often than others.
    let same = |of: u64| move |number: u64| noisy(of, number).or(noisy(of + 4, number)).map(|_| 7);
    let alike = [0, 1, 2, 3].map(|of| made(20_000, same(of)));
    let again = compared(&[&alike[0], &alike[1]], &[&alike[2], &alike[3]], "");
    let changed = of_kind(&again, Kind::Changed);
    assert!(changed.statistics.pairs_any > Some(10), "{:?}", changed.statistics);
    assert_ne!(changed.standing, Standing::Proven, "{:?}", changed.statistics);
}

/// Noise of one drive: of `outputs` one in ten is wrong, half of them by 1, the others each in its own way.
fn very_noisy(drive: u64, number: u64) -> Option<u64> {
    let own = noisy(drive, number * 10).or_else(|| (1..10).find_map(|at| noisy(drive, number * 10 + at)))?;
    Some(if own.is_multiple_of(2) { 6 } else { own })
}

#[test]
fn ten_wrong_outputs_of_one_kind_are_found_beside_hundreds_that_all_drives_share() {
    let planted = |number: u64| (number % 2_000 == 1_003).then_some(7_005);
    let drives = |first: u64, planted: fn(u64) -> Option<u64>| {
        [0, 1, 2, 3].map(|of| {
            made(20_000, move |number| planted(number).filter(|_| of >= 2).or(very_noisy(first + of, number)))
        })
    };
    for first in [0, 4, 8] {
        let with = drives(first, planted);
        let once = compared(&[&with[0], &with[1]], &[&with[2]], "");
        assert!(of_kind(&once, Kind::Changed).standing == Standing::Suspected && once.wants_new_again);
        let mut again = compared(&[&with[0], &with[1]], &[&with[2], &with[3]], "");
        let changed = of_kind(&again, Kind::Changed);
        assert_eq!(changed.standing, Standing::Proven, "{:?}", changed.statistics);
        let by_change = changed.statistics.couples_by_change.unwrap();
        assert!(by_change.new == by_change.any && by_change.any >= 6, "{by_change:?}");
        assert!(changed.statistics.p_pairs.unwrap() > 0.001, "the pairs of all classes do not tell: {changed:?}");
        assert_eq!(judged(&mut again, "").verdict, Verdict::Differ);
        // The twins: nothing planted, and the same planted in a drive of old and one of new.
        let without = drives(first, |_| None);
        let crossed = [&with[0], &with[2], &without[1], &with[3]];
        let all = [&without[0], &without[1], &without[2], &without[3]];
        for [old, old_again, new, new_again] in [all, crossed] {
            let mut found = compared(&[old, old_again], &[new, new_again], "");
            assert_ne!(of_kind(&found, Kind::Changed).standing, Standing::Proven, "{:?}", found.patterns);
            assert_ne!(judged(&mut found, "").verdict, Verdict::Differ);
        }
    }
}

#[test]
fn a_constant_that_new_writes_is_one_way_of_going_wrong_whatever_stood_there() {
    // Amounts that all differ, so that each changes by another number; noise moves them by one.
    let amounts = |of: u64, zeros: bool| {
        drive((0..10_000_u64).map(|number| {
            let amount = 1_000 + number % 9_000 + u64::from(very_noisy(of, number).is_some());
            let amount = if zeros && number % 900 == 450 { 0 } else { amount };
            output(format!("k{number}"), format!("{{\"amount\":{amount}}}"))
        }))
    };
    let drives = [0, 1, 2, 3].map(|of| amounts(of, of >= 2));
    let found = compared(&[&drives[0], &drives[1]], &[&drives[2], &drives[3]], "");
    let changed = of_kind(&found, Kind::Changed);
    assert_eq!(changed.standing, Standing::Proven, "{:?}", changed.statistics);
    let Some(by_value) = changed.statistics.couples_by_value else { panic!("{changed:?}") };
    assert!(by_value.new == by_value.any && by_value.p_value < 0.000_3, "{by_value:?}");
    assert!(changed.statistics.couples_by_change.unwrap().p_value > 0.01, "{changed:?}");
}

#[test]
fn what_new_does_otherwise_that_is_no_difference_makes_no_couple_its_own() {
    // New writes a hair more, or another note, everywhere; beside that all drives have the same noise.
    let drives = |hair: &'static str, note: &'static str| {
        [0, 1, 2, 3].map(|of| {
            drive((0..10_000_u64).map(move |number| {
                let amount = 5 + u64::from(very_noisy(of, number).is_some());
                let (hair, note) = if of >= 2 { (hair, note) } else { ("", "") };
                output(format!("k{number}"), format!("{{\"amount\":{amount}.0{hair},\"note\":\"{note}\"}}"))
            }))
        })
    };
    let tolerance = "tolerance = [{ path = '$.amount', absolute = 0.01 }]";
    for (hair, note, toml, has_couples) in [
        ("04", "", tolerance, false),
        ("", "new", "ignore = ['$.note']", true),
        ("", "new", "normalise = [{ path = '$.note', as = 'trim' }]\nignore = ['$.note']", false),
    ] {
        let all = drives(hair, note);
        let found = compared(&[&all[0], &all[1]], &[&all[2], &all[3]], toml);
        let changed = of_kind(&found, Kind::Changed);
        assert_ne!(changed.standing, Standing::Proven, "{toml}: {:?}", changed.statistics);
        assert_eq!(changed.statistics.couples_by_change.is_some(), has_couples, "{toml}: {:?}", changed.statistics);
        assert!(changed.statistics.pairs_any.unwrap() > 50, "{toml}: {:?}", changed.statistics);
    }
}

#[test]
fn one_build_against_itself_is_proven_different_in_no_more_trials_than_the_level_allows() {
    const TRIALS: u64 = 60;
    // Bursts of the same wrong number at places where any drive may have them; or single ones of four wrong numbers.
    let bursts = |of: u64, number: u64| {
        let is_trouble = mixed(5, number / 25).is_multiple_of(10);
        (is_trouble && mixed(of, number / 25).is_multiple_of(2)).then_some(6)
    };
    let single = |of: u64, number: u64| very_noisy(of, number).map(|own| 6 + own % 4);
    let mut proven = 0;
    for trial in 0..TRIALS {
        let drives = [0, 1, 2, 3].map(|of| {
            made(1_200, move |number| {
                let number = trial * 100_000 + number;
                if trial % 2 == 0 { single(of, number) } else { bursts(of, number).or(single(of, number)) }
            })
        });
        let found = compared(&[&drives[0], &drives[1]], &[&drives[2], &drives[3]], "");
        proven += found.patterns.iter().filter(|pattern| pattern.standing == Standing::Proven).count();
        assert!(found.patterns.iter().any(|pattern| pattern.statistics.couples_by_change.is_some()), "{trial}");
    }
    // One in a hundred may be; three of sixty are beyond it (p = 0.02).
    assert!(proven < 3, "{proven} of {TRIALS}");
}

#[test]
fn outputs_of_one_cause_are_one_piece_of_evidence() {
    let caused = |wrong: bool, same: bool| {
        drive((0..100_i64).map(|number| {
            let offset = if same { number / 10 } else { number };
            let cause = Cause { topic: "orders".to_owned(), partition: 0, offset, attempt: 0, by: CauseBy::Build };
            let value = if wrong && number < 10 { 7 } else { 5 };
            Output { cause: Some(cause), ..output(format!("k{number}"), format!("{{\"n\":{value}}}")) }
        }))
    };
    for (same, odd, standing) in [(false, 10, Standing::Proven), (true, 1, Standing::Suspected)] {
        let old = caused(false, same);
        let found = compared(&[&old, &old], &[&caused(true, same)], "");
        let changed = of_kind(&found, Kind::Changed);
        assert_eq!((changed.statistics.odd_new, changed.standing, changed.count), (odd, standing, 10));
    }
}

// ---- power ----

#[test]
fn too_little_power_for_a_written_gate_is_no_verdict_and_says_what_would_do() {
    let few = made(300, |_| None);
    let mut green = compared(&[&few, &few], &[&few], "");
    assert_eq!(green.power, Some(5));
    assert_eq!(judged(&mut green, "").verdict, Verdict::Agree);
    assert_eq!(judged(&mut green, "power-at-least = 5").verdict, Verdict::Agree);
    let asked = judged(&mut green, "power-at-least = 3");
    assert_eq!(asked.verdict, Verdict::NoVerdict);
    assert_eq!(
        asked.reasons,
        ["gate power-at-least could not be judged: only a change of 5 outputs would have been proven (95 %); \
          4 drives of old would have been enough for that"]
    );
    let drives = [&few, &few, &few, &few];
    assert_eq!(judged(&mut compared(&drives, &[&few], ""), "power-at-least = 3").verdict, Verdict::Agree);

    let tiny = made(3, |_| None);
    let asked = judged(&mut compared(&[&tiny, &tiny], &[&tiny], ""), "power-at-least = 400");
    assert_eq!(asked.verdict, Verdict::NoVerdict);
    assert!(
        asked.reasons[0].contains("3 outputs compared are too few") && asked.reasons[0].contains("or 5 outputs"),
        "{:?}",
        asked.reasons
    );
    let once = judged(&mut compared(&[&few], &[&few], ""), "power-at-least = 400");
    assert!(
        once.verdict == Verdict::NoVerdict && once.reasons[0].contains("old was driven once"),
        "{:?}",
        once.reasons
    );
}

#[test]
fn power_beside_noise_is_what_a_written_gate_holds() {
    let drives = [0, 1, 2].map(|of| made(40_000, move |number| noisy(of, number)));
    let mut noisy = compared(&[&drives[0], &drives[1]], &[&drives[2]], "");
    assert_eq!(noisy.power, Some(5));
    let strict = judged(&mut noisy, "power-at-least = 20\nchanged = 100000");
    assert_eq!(strict.verdict, Verdict::NoVerdict, "{:?}", strict.reasons);
    assert!(
        strict.reasons[0].contains("beside the noise in changed outputs of payouts at $.amount"),
        "{:?}",
        strict.reasons
    );
    assert_eq!(judged(&mut noisy, "power-at-least = 200\nchanged = 100000").verdict, Verdict::Agree);
    // A failed gate is `differ`, however little could have been proven.
    let old = made(300, |_| None);
    let mut changed = compared(&[&old, &old], &[&made(300, |_| Some(7))], "");
    assert_eq!(judged(&mut changed, "power-at-least = 3").verdict, Verdict::Differ);
}

// ---- what others miss ----

/// Errors by minute, and 100 orders a minute beside them.
fn errors(by_minute: [u64; 6], orders: u64) -> Remembered {
    drive((0..6_u64).flat_map(|minute| {
        let fine = (0..orders).map(move |at| output(format!("order {minute}-{at}"), "{\"paid\":true}"));
        let errors = (0..by_minute[minute as usize]).map(move |at| Output {
            channel: Channel::DeadLetter,
            topic: "errors".to_owned(),
            ..output(format!("lost {minute}-{at}"), "{\"error\":\"timeout\"}")
        });
        fine.chain(errors).collect::<Vec<_>>()
    }))
}

/// A canary analysis by ranks of minutes takes `[0, 1, 2, 1, 0, 0]` beside zeros for no difference. Output by output they are four
/// errors that only new has: proven beside four drives of old; beside two they are suspected, which is never green, also where new
/// does the same again, as a topic of four outputs says little of its noise.
#[test]
fn four_errors_in_six_minutes_beside_none_are_found() {
    let (none, some) = (errors([0; 6], 200), errors([0, 1, 2, 1, 0, 0], 200));
    let mut found = compared(&[&none; 4], &[&some], "");
    assert_eq!(of_kind(&found, Kind::DeadLetter).standing, Standing::Proven);
    assert_eq!(judged(&mut found, "").verdict, Verdict::Differ);
    let mut once = compared(&[&none, &none], &[&some], "");
    assert!(of_kind(&once, Kind::DeadLetter).standing == Standing::Suspected && once.wants_new_again);
    assert_eq!(judged(&mut once, "").verdict, Verdict::NoVerdict);
    let mut again = compared(&[&none, &none], &[&some, &some], "");
    assert_eq!(judged(&mut again, "").verdict, Verdict::NoVerdict);
    // The twin: errors that old has, too.
    let mut alike = compared(&[&some, &none, &some, &none], &[&some], "");
    assert_eq!(judged(&mut alike, "").verdict, Verdict::Agree, "{:?}", alike.patterns);
}

// ---- properties ----

/// Values that differ in every way a value may.
const VALUES: [&str; 8] = [
    r#"{"n":0}"#,
    r#"{"n":1}"#,
    r#"{"n":"1"}"#,
    r#"{"n":null}"#,
    r#"{"n":1,"m":2}"#,
    r#"{"m":2}"#,
    r#"{"n":1.25}"#,
    r#"{"n":1.3}"#,
];

/// Outputs as (key, value): key 0 is none.
fn some_outputs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0_u8..5, 0_u8..8), 0..30)
}

/// Outputs of causes of their own, so that nothing of one drive is taken for the same output elsewhere in another.
fn of(pairs: &[(u8, u8)], first: i64) -> Remembered {
    drive(pairs.iter().zip(first..).map(|((key, value), offset)| {
        let cause = Cause { topic: "orders".to_owned(), partition: 0, offset, attempt: 0, by: CauseBy::Build };
        let key = ["", "a", "b", "c", "d"][usize::from(*key)];
        Output { cause: Some(cause), ..output(key, VALUES[usize::from(*value)]) }
    }))
}

/// Differences by kind; how often old is rewritten is what `repeated` and `extra` have in common.
fn counts(comparison: &Comparison, mirrored: bool) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for (kind, count) in &comparison.differences {
        let name = match kind {
            Kind::Missing => ["fewer", "more"][usize::from(mirrored)],
            Kind::Extra | Kind::Repeated => ["more", "fewer"][usize::from(mirrored)],
            Kind::Changed => "changed",
            Kind::Rerouted => "rerouted",
            Kind::Reordered => "reordered",
            Kind::FinalState => "final",
            _ => continue,
        };
        *counts.entry(name).or_default() += count;
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// Changes of values by path, as text.
fn changes(comparison: &Comparison, mirrored: bool) -> Vec<(String, String, u64)> {
    let changed = comparison.patterns.iter().filter(|pattern| pattern.kind == Kind::Changed);
    let mut by_path: Vec<_> = changed
        .map(|pattern| {
            let change = format!("{:?}", pattern.change);
            let change = match (change.as_str(), mirrored) {
                ("Some(Added)", true) => "Some(Removed)".to_owned(),
                ("Some(Removed)", true) => "Some(Added)".to_owned(),
                _ => change,
            };
            (pattern.path.clone().unwrap_or_default(), change, pattern.count)
        })
        .collect();
    by_path.sort();
    by_path
}

/// The outputs in another order that keeps the order of each key's own.
fn interleaved(pairs: &[(u8, u8)], places: &[u32]) -> Vec<(u8, u8)> {
    let mut by_key: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for ((key, _), place) in pairs.iter().zip(places) {
        by_key.entry(*key).or_default().push(*place);
    }
    for of_key in by_key.values_mut() {
        of_key.sort_unstable_by(|one, other| other.cmp(one));
    }
    let mut moved: Vec<(u32, usize, (u8, u8))> = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        moved.push((by_key.get_mut(&pair.0).and_then(Vec::pop).unwrap_or_default(), at, *pair));
    }
    moved.sort_unstable();
    moved.into_iter().map(|(_, _, pair)| pair).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn swapping_sides_mirrors(old in some_outputs(), new in some_outputs(), order in prop::sample::select(&["none", "key"][..])) {
        let (old, new, toml) = (of(&old, 0), of(&new, 1_000), format!("order = '{order}'"));
        let (there, back) = (compared(&[&old], &[&new], &toml), compared(&[&new], &[&old], &toml));
        prop_assert_eq!(counts(&there, false), counts(&back, true));
        // Where order counts, equally short ways to align two sides may pair what is left otherwise.
        if toml.contains("none") {
            prop_assert_eq!(changes(&there, false), changes(&back, true));
        }
        prop_assert_eq!((there.matched, there.identities), (back.matched, back.identities));
    }

    #[test]
    fn permuting_independent_outputs_changes_nothing(
        old in some_outputs(),
        new in some_outputs(),
        places in prop::collection::vec(any::<u32>(), 30),
    ) {
        let moved = interleaved(&new, &places);
        let (old, new, moved) = (of(&old, 0), of(&new, 1_000), of(&moved, 1_000));
        let (before, after) = (compared(&[&old], &[&new], ""), compared(&[&old], &[&moved], ""));
        prop_assert_eq!(counts(&before, false), counts(&after, false));
        prop_assert_eq!(changes(&before, false), changes(&after, false));
        prop_assert_eq!(before.matched, after.matched);
    }

    #[test]
    fn adding_an_output_adds_one_difference(
        pairs in some_outputs(),
        added in (0_u8..5, 0_u8..8),
        at in 0..31_usize,
        order in prop::sample::select(&["none", "key"][..]),
    ) {
        let mut more = pairs.clone();
        more.insert(at.min(pairs.len()), added);
        let (old, new) = (drive(of(&pairs, 0).outputs), drive(of(&more, 0).outputs));
        // The same causes on both sides, or none: what is added is nobody's twin.
        let bare = |drive: &Remembered| Remembered::finished(
            drive.outputs.iter().map(|output| Output { cause: None, ..output.clone() }).collect(),
        );
        let found = compared(&[&bare(&old)], &[&bare(&new)], &format!("order = '{order}'"));
        let mut counts = counts(&found, false);
        // A key that ends on the new value ends elsewhere than it did: that stands beside, one for the key.
        prop_assert!(counts.remove("final").unwrap_or_default() <= 1);
        prop_assert_eq!(counts, BTreeMap::from([("more", 1)]));
        prop_assert_eq!(found.matched, pairs.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// Enough outputs that 16 MiB do not hold what is kept of them.
    #[test]
    fn partitioned_to_disk_and_in_memory_the_comparison_is_the_same_byte_for_byte(
        seed in 1..1_000_u64,
        identity in any::<bool>(),
        order in prop::sample::select(&["none", "key", "total"][..]),
    ) {
        let identity = if identity { "identity = ['$.amount']\n" } else { "" };
        let coarse = |drive: u64, number: u64| very_noisy(drive + seed * 8, number).or(number.is_multiple_of(97).then_some(number));
        let [old, again, new, new_again] = [0, 1, 2, 3].map(|drive| made(36_000, move |number| coarse(drive, number)));
        let toml = |memory: u64| format!("{identity}order = '{order}'\nmemory = {memory}");
        let nowhere = SpillSpace::new("/nowhere, so that nothing can be spilled");
        let held = compared_within(&[&old, &again], &[&new, &new_again], &toml(1_024), &nowhere).unwrap();
        prop_assert!(matches!(
            compared_within(&[&old, &again], &[&new, &new_again], &toml(16), &nowhere),
            Err(CompareError::Spill(_))
        ));
        let spilled = compared(&[&old, &again], &[&new, &new_again], &toml(16));
        prop_assert_eq!(serde_json::to_string(&held).unwrap(), serde_json::to_string(&spilled).unwrap());
        prop_assert!(held.patterns.iter().any(|pattern| !identity.is_empty() || pattern.statistics.couples_by_change.is_some()));
    }
}
