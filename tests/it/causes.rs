//! Causes: what new does and what is common to its differences, from planted builds to the words of every format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rehearsal::compare::{
    CompareError, CompareSettings, Comparison, Coordinates, EventTimes, Kind, Pattern, Remembered, compare_drives,
};
use rehearsal::outcome::{Cause, CauseBy, Output};
use rehearsal::recording::Header;
use rehearsal::report::{Format, Report, render};
use rehearsal::spill::SpillSpace;

use crate::run::{VALUES, desk, rehearse};

// ---- outcomes made by hand ----

fn output(key: &str, value: String) -> Output {
    let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.into_bytes()));
    Output { topic: "payouts".to_owned(), key, value, ..Output::default() }
}

fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().zip(0..);
    let numbered = numbered.map(|(output, at)| Output { sequence: at, arrived_us: at * 10, ..output });
    Remembered::finished(numbered.collect())
}

fn compared(old: &Remembered, new: &Remembered, toml: &str, events: Option<&dyn EventTimes>) -> Comparison {
    let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
    compare_drives(&[old], &[new], &rules, events, &SpillSpace::system()).unwrap()
}

fn pattern(patterns: &[Pattern], kind: Kind) -> &Pattern {
    patterns.iter().find(|pattern| pattern.kind == kind).unwrap_or_else(|| panic!("{patterns:#?}"))
}

fn ways(pattern: &Pattern) -> Vec<&str> {
    pattern.explained.ways.iter().map(|way| way.says.as_str()).collect()
}

fn common(pattern: &Pattern) -> Option<&str> {
    pattern.explained.common.as_ref().map(|common| common.says.as_str())
}

/// A number that looks like any other, for each purpose another.
fn chance(number: u64, purpose: u64) -> u64 {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
    for _ in 0..3 {
        state = (state ^ (state >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    state ^ (state >> 29)
}

fn carrier(number: u64) -> &'static str {
    ["UA", "B6", "EV", "DL", "AA"][(chance(number, 1) % 5) as usize]
}

/// A payout with a carrier, an hour and an amount.
fn payout(number: u64, amount: u64) -> Output {
    let value = format!(
        r#"{{"id":{number},"carrier":"{}","class":"{}","currency":"USD","amount":{amount}}}"#,
        carrier(number),
        ["economy", "premium"][(chance(number, 2) % 2) as usize],
    );
    let mut output = output(&format!("{}-{number}", ["eu", "us"][(chance(number, 3) % 2) as usize]), value);
    output.headers =
        vec![Header { name: "region".to_owned(), value: Some(vec![b'a' + (chance(number, 4) % 6) as u8]) }];
    output.partition = (chance(number, 5) % 8) as i32;
    output
}

fn payouts(count: u64, amount: impl Fn(u64) -> u64) -> Remembered {
    drive((0..count).map(|number| payout(number, amount(number))))
}

fn amount(number: u64) -> u64 {
    chance(number, 6) % 90_000 + 1_000
}

#[test]
fn what_differs_and_what_does_not_are_told_apart_by_what_outputs_say() {
    let old = payouts(3_000, amount);
    for (what, differs) in [
        ("$.carrier \"UA\"", (|number| carrier(number) == "UA") as fn(u64) -> bool),
        ("key begins with eu", |number| chance(number, 3).is_multiple_of(2)),
        ("header region c", |number| chance(number, 4) % 6 == 2),
        ("partition 5", |number| chance(number, 5) % 8 == 5),
    ] {
        let new = payouts(3_000, |number| amount(number) + if differs(number) { 25 } else { 0 });
        let comparison = compared(&old, &new, "", None);
        let changed = pattern(&comparison.patterns, Kind::Changed);
        let number = (0..3_000).filter(|number| differs(*number)).count();
        let number =
            if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) };
        assert_eq!(ways(changed), [format!("new writes 25 more at $.amount: {number} of 3,000 differ")]);
        let says = common(changed).unwrap_or_else(|| panic!("{what}: {changed:#?}"));
        assert!(says.starts_with(&format!("{what}: all 256 looked at; of ")), "{says}");
        assert!(says.ends_with(" others looked at none"), "{says}");
    }
}

#[test]
fn what_new_did_not_write_has_something_in_common_as_well() {
    let old = payouts(1_000, amount);
    let mut new = old.clone();
    new.outputs.retain(|output| !String::from_utf8_lossy(output.value.as_deref().unwrap()).contains("DL"));
    let comparison = compared(&old, &new, "", None);
    assert!(common(pattern(&comparison.patterns, Kind::Missing)).unwrap().starts_with("$.carrier \"DL\": all "));
    let comparison = compared(&new, &old, "", None);
    assert!(common(pattern(&comparison.patterns, Kind::Extra)).unwrap().starts_with("$.carrier \"DL\": all "));
}

#[test]
fn differences_by_chance_have_neither_a_way_nor_anything_in_common() {
    for trial in 0..40 {
        let old = payouts(1_000, amount);
        let differs = |number| chance(number, 1_000 + trial).is_multiple_of(3 + trial * 2);
        let new =
            payouts(1_000, |number| if differs(number) { chance(number, 7) % 90_000 + 1_000 } else { amount(number) });
        for found in &compared(&old, &new, "", None).patterns {
            assert_eq!((ways(found), common(found)), (Vec::new(), None), "{trial}");
        }
    }
}

/// Events with their times and values.
struct Events(BTreeMap<Coordinates, (i64, Vec<u8>)>);

impl EventTimes for Events {
    fn times(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, i64>, CompareError> {
        Ok(events.iter().filter_map(|event| Some((event.clone(), self.0.get(event)?.0))).collect())
    }

    fn values(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, Vec<u8>>, CompareError> {
        Ok(events.iter().filter_map(|event| Some((event.clone(), self.0.get(event)?.1.clone()))).collect())
    }
}

#[test]
fn what_the_events_behind_differences_have_in_common_is_told() {
    let at = |number: u64| Coordinates { topic: "orders".to_owned(), partition: 0, offset: number as i64 };
    let time = |number: u64| 1_357_300_000_000 + (chance(number, 8) % 240) as i64 * 3_600_000;
    let event = |number: u64| {
        (at(number), (time(number), format!(r#"{{"channel":"c{}"}}"#, chance(number, 9) % 7).into_bytes()))
    };
    let events = Events((0..2_000).map(event).collect());
    let caused = |mut drive: Remembered| {
        for output in &mut drive.outputs {
            let cause = Cause {
                topic: "orders".to_owned(),
                partition: 0,
                offset: output.sequence,
                attempt: 0,
                by: CauseBy::Build,
            };
            output.cause = Some(cause);
        }
        drive
    };
    let old = caused(payouts(2_000, amount));
    let new = caused(payouts(2_000, |number| amount(number) + u64::from(chance(number, 9) % 7 == 3)));
    let comparison = compared(&old, &new, "", Some(&events));
    let says = common(pattern(&comparison.patterns, Kind::Changed)).unwrap();
    assert!(says.starts_with("$.channel of the event \"c3\": all 256 looked at"), "{says}");
    // The same hour, on whatever day.
    let hour = |number: u64| time(number).rem_euclid(86_400_000) / 3_600_000;
    let new = caused(payouts(2_000, |number| amount(number) + u64::from(hour(number) == 9)));
    let comparison = compared(&old, &new, "", Some(&events));
    let says = common(pattern(&comparison.patterns, Kind::Changed)).unwrap();
    assert!(says.starts_with("hour of the day (UTC) 09: all "), "{says}");
}

#[test]
fn a_schema_version_may_be_what_differences_have_in_common() {
    let framed = |number: u64, amount: u64| {
        let mut output = payout(number, amount);
        let id = if chance(number, 10).is_multiple_of(3) { 12_u32 } else { 11 };
        let mut value = vec![0];
        value.extend(id.to_be_bytes());
        value.extend(output.value.take().unwrap());
        Output { value: Some(value), ..output }
    };
    let old = drive((0..900).map(|number| framed(number, amount(number))));
    let new =
        drive((0..900).map(|number| framed(number, amount(number) + u64::from(chance(number, 10).is_multiple_of(3)))));
    let comparison = compared(&old, &new, "", None);
    let says = common(pattern(&comparison.patterns, Kind::Changed)).unwrap();
    assert!(says.starts_with("schema id 12: all "), "{says}");
}

#[test]
fn a_stale_value_is_told_where_key_and_identity_are_one() {
    let of = |number: u64| chance(number, 11) % 1_000_000;
    let wrote = |shift: u64| {
        drive((0..600).map(|number| {
            output(
                &format!("k{}", number % 6),
                format!(r#"{{"n":{number},"price":{}}}"#, of(number - shift.min(number / 6) * 6)),
            )
        }))
    };
    let comparison = compared(&wrote(0), &wrote(1), "order = 'none'\nignore = ['$.n']", None);
    let changed = pattern(&comparison.patterns, Kind::Changed);
    assert!(changed.explained.ways.iter().all(|way| way.name == "stale"), "{:#?}", changed.explained);
}

#[test]
fn other_keys_and_timestamps_are_explained_as_values_are() {
    let stamped = |by: i64, key: fn(&str) -> String| {
        drive((0..50).map(|number| {
            let value = format!(r#"{{"id":{number}}}"#);
            Output {
                timestamp_ms: Some(1_357_300_000_000 + number * 61_000 + by),
                ..output(&key(&format!("Key-{number}")), value)
            }
        }))
    };
    let plain = stamped(0, str::to_owned);
    let comparison = compared(&plain, &stamped(3_600_000, str::to_owned), "identity = ['$.id']", None);
    let metadata = pattern(&comparison.patterns, Kind::Metadata);
    assert_eq!(ways(metadata), ["new writes the timestamp 1 h later, as in another time zone: 50 of 50 differ"]);
    let comparison = compared(&plain, &stamped(0, str::to_lowercase), "identity = ['$.id']", None);
    assert_eq!(
        ways(pattern(&comparison.patterns, Kind::Rerouted)),
        ["new writes the key in lower case: 50 of 50 differ"]
    );
}

// ---- whole runs ----

/// Two builds that differ as `old` and `new` say in awk, in which `n` is the number of the order, `c` its carrier and `f` its fee
/// in tenths of a cent.
fn planted(old: &str, new: &str) -> Report {
    let desk = desk(400);
    let build = |name: &str, body: &str| write(desk.path(), name, body);
    let (old, new) = (build("old.awk", old), build("new.awk", new));
    rehearse(desk.path(), &old, &new, VALUES)
}

fn write(desk: &Path, name: &str, body: &str) -> String {
    let script = format!(
        r#"function money(t) {{ return sprintf("%d.%02d", int(t / 100), t % 100) }}
{{ match($0, /"order_id":[0-9]+/); n = substr($0, RSTART + 11, RLENGTH - 11) + 0
  c = substr("UAB6EVDL", 2 * (n % 4) + 1, 2); f = (n * 1367 % 4001 + 20) * 5
  {body}
}}
"#
    );
    fs::write(desk.join(name), script).unwrap();
    format!("['awk', '-f', '{name}']")
}

#[test]
fn a_build_that_rounds_half_to_even_is_explained_in_every_format() {
    let wrote = r#"printf "{\"order_id\":%d,\"carrier\":\"%s\",\"fee\":%s}\n", n, c, money(q)"#;
    let report = planted(
        &format!("q = int((f + 5) / 10); {wrote}"),
        &format!("q = int(f / 10); if (f % 10 > 5 || f % 10 == 5 && q % 2 == 1) q++; {wrote}"),
    );
    let changed = pattern(&report.patterns, Kind::Changed);
    let expected = format!("new rounds $.fee half to even: {} of 400 differ by 0.01", changed.count);
    assert_eq!(ways(changed), [expected.as_str()], "{changed:#?}");
    for format in Format::ALL {
        let text = render(&report, format).replace('\\', "").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&expected), "{format:?}: {text}");
        let first = if format == Format::Json { "\"first\": {" } else { "into the replay" };
        assert!(text.contains(first), "{format:?}: {text}");
    }
}

#[test]
fn a_build_that_is_wrong_for_one_carrier_is_explained_by_both() {
    let wrote = r#"printf "{\"order_id\":%d,\"carrier\":\"%s\",\"fee\":%s}\n", n, c, money(f)"#;
    let report = planted(wrote, &format!("if (c == \"EV\") f += 25; {wrote}"));
    let changed = pattern(&report.patterns, Kind::Changed);
    assert_eq!(ways(changed), ["new writes 0.25 more at $.fee: 100 of 400 differ"]);
    assert_eq!(common(changed), Some("$.carrier \"EV\": all 100; of 300 others looked at none"));
    for format in Format::ALL {
        let text = render(&report, format).replace(['\\', '`'], "").replace("&quot;", "\"");
        assert!(
            text.split_whitespace().collect::<Vec<_>>().join(" ").contains("of 300 others looked at none"),
            "{format:?}"
        );
    }
}

#[test]
fn a_build_that_moves_a_field_and_cuts_a_text_is_explained() {
    let report = planted(
        r#"printf "{\"order_id\":%d,\"fee\":%d,\"note\":\"%s flight %d of the day\"}\n", n, f, c, f"#,
        r#"printf "{\"order_id\":%d,\"payment\":{\"fee\":%d},\"note\":\"%s\"}\n", n, f, substr(c " flight " f " of the day", 1, 12)"#,
    );
    let said: Vec<&str> = report.patterns.iter().flat_map(ways).collect();
    let has = |start: &str| said.iter().any(|says| says.starts_with(start));
    assert!(has("new writes at $.payment.fee what old writes at $.fee: 400 of 400 differ"), "{said:#?}");
    assert!(has("new cuts $.note to 12 characters: 400 of 400 differ"), "{said:#?}");
}

#[test]
fn a_build_in_another_time_zone_is_explained() {
    let wrote = r#"printf "{\"order_id\":%d,\"at\":%.0f}\n", n, 1357300000000 + n * 61000"#;
    let report = planted(wrote, &wrote.replace("n * 61000", "n * 61000 - 18000000"));
    let changed = pattern(&report.patterns, Kind::Changed);
    assert_eq!(ways(changed), ["new writes $.at 5 h earlier, as in another time zone: 400 of 400 differ"]);
    assert_eq!(common(changed), None, "where all differ nothing tells them from others");
}
