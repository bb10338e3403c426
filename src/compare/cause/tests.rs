//! Each explanation on a build that does it, on one that nearly does, and all of them on chance.

use proptest::prelude::*;

use super::*;

/// What is said of these pairs of values; a value of none is a member that is missing.
fn said_of(path: &str, pairs: impl IntoIterator<Item = (String, String)>, change: Change) -> Vec<Way> {
    let signature =
        Signature { kind: Kind::Changed, topic: "t".to_owned(), path: Some(path.to_owned()), change: Some(change) };
    let mut seen = Seen::default();
    let mut differ = 0;
    for (number, (old, new)) in pairs.into_iter().enumerate() {
        let layer = seen.layers.entry(number as u32 % 3).or_default();
        layer.values(path, old.as_bytes(), new.as_bytes(), None);
        differ += 1;
    }
    seen.explain(&signature, differ, 26_398)
}

/// Claims on a member `$.a`, of values written in JSON.
fn claims(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<Way> {
    let member =
        |value: String| if value.is_empty() { r#"{"k":1}"#.to_owned() } else { format!(r#"{{"k":1,"a":{value}}}"#) };
    said_of("$.a", pairs.into_iter().map(|(old, new)| (member(old), member(new))), Change::Value)
}

fn check(name: &str, expected: &str, pairs: impl IntoIterator<Item = (String, String)>) {
    let ways = claims(pairs);
    let said = ways.first().map(|way| (way.name.as_str(), way.says.split(": ").next().unwrap_or_default()));
    assert_eq!(said, Some((name, expected)), "{ways:#?}");
}

/// A near miss: nothing is said that `name` stands for.
fn check_not(name: &str, pairs: impl IntoIterator<Item = (String, String)>) {
    let ways = claims(pairs);
    assert!(!ways.iter().any(|way| way.name == name), "{ways:#?}");
}

/// Numbers of cents that look like any others.
fn cents() -> impl Iterator<Item = i64> {
    (1..80_i64).map(|n| (n * 7_919 + n * n * 31) % 99_991 + 100)
}

fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

fn text(value: impl std::fmt::Display) -> String {
    serde_json::to_string(&value.to_string()).unwrap()
}

fn words() -> impl Iterator<Item = String> {
    cents().map(|n| format!("Flight {} from Newark {}", n, n * 3))
}

#[test]
fn a_build_that_rounds_half_to_even_is_told_by_the_last_digits() {
    // Both round the same halves: old away from zero, new to the even digit. Only where that is another digit they differ.
    let halves = || cents().map(|n| n - n % 2);
    let expected = "new rounds $.a half to even";
    check("rounding", expected, halves().map(|even| (money(even + 1), money(even))));
    let ways = claims(halves().map(|even| (money(even + 1), money(even))));
    assert_eq!(ways[0].says, "new rounds $.a half to even: 79 of 26,398 differ by 0.01");
    check(
        "rounding",
        "new rounds $.a half up where old rounds half to even",
        halves().map(|even| (money(even), money(even + 1))),
    );
    // Amounts as text are amounts as well.
    check("rounding", expected, halves().map(|even| (text(money(even + 1)), text(money(even)))));
    // One cent less, whatever the digit, is no such rounding.
    let ways = claims(cents().map(|n| (money(n), money(n - 1))));
    assert!(ways.iter().all(|way| !way.says.contains("even")), "{ways:#?}");
    assert!(ways.iter().any(|way| way.name == "rounding") && ways.iter().any(|way| way.name == "offset"), "{ways:#?}");
    // Too few to tell an even digit from chance.
    let few = claims(halves().take(6).map(|even| (money(even + 1), money(even))));
    assert!(few.iter().all(|way| !way.says.contains("even")), "{few:#?}");
}

#[test]
fn what_one_build_rounds_and_the_other_writes_in_full_is_told_with_places_and_mode() {
    use super::exact::Mode::{Cut, Floor, HalfEven, HalfUp};
    let fine = |n: i64| Exact { digits: i128::from(if n % 3 == 0 { -n } else { n }), places: 3 };
    for (mode, expected) in [
        (HalfUp, "new rounds $.a half up to 2 places where old writes more digits"),
        (HalfEven, "new rounds $.a half to even to 2 places where old writes more digits"),
        (Cut, "new rounds $.a towards zero to 2 places where old writes more digits"),
        (Floor, "new rounds $.a down to 2 places where old writes more digits"),
    ] {
        let pairs = || cents().map(|n| (fine(n).text(), fine(n).rounded(2, mode).unwrap().text()));
        check("rounding", expected, pairs());
        let swapped = expected.replace("new rounds", "old rounds").replace("old writes", "new writes");
        check("rounding", &swapped, pairs().map(|(old, new)| (new, old)));
    }
    // Without a half nothing tells how halves are rounded.
    let thirds = |n: i64| Exact { digits: i128::from(n) * 3 + 1, places: 4 };
    let no_half = cents().map(thirds).filter(|number| number.digits % 100 != 50);
    let pairs = no_half.map(|number| (number.text(), number.rounded(2, HalfUp).unwrap().text()));
    check("rounding", "new rounds $.a to the nearest to 2 places where old writes more digits", pairs);
    // Noise of the size of the rounding is none.
    check_not("rounding", cents().map(|n| (money(n), money((n + n % 17) / 10 * 10))));
}

#[test]
fn lost_digits_are_told_by_what_holds_the_rest() {
    let fine = |n: i64| format!("{}.{:06}", n, (n * 7_919) % 999_983);
    let single = |n: i64| (fine(n).parse::<f64>().unwrap() as f32).to_string();
    check(
        "precision",
        "new keeps $.a as a 32-bit float, which holds about 7 digits",
        cents().map(|n| (fine(n * 13), single(n * 13))),
    );
    let id = |n: i64| 9_007_199_254_740_993 + n * 2;
    let pairs = cents()
        .filter(|n| (id(*n) as f64) as i64 != id(*n))
        .map(|n| (id(n).to_string(), ((id(n) as f64) as i64).to_string()));
    check("precision", "new computes $.a in 64-bit floats, old in decimals or wider numbers", pairs);
    let sum = |n: i64| (n as f64 * 0.1, Exact { digits: n.into(), places: 1 });
    let pairs = (1..4_000).map(sum).filter(|(float, exact)| float.to_string() != exact.normal().text());
    check(
        "precision",
        "new computes $.a in 64-bit floats, old in decimals or wider numbers",
        pairs.map(|(float, exact)| (exact.text(), float.to_string())),
    );
    let digits = |n: i64| (n * 1_234_567).to_string();
    let kept = |n: i64| format!("{:.3e}", (n * 1_234_567) as f64);
    check(
        "precision",
        "new keeps 4 significant digits of $.a where old has more",
        cents().map(|n| (digits(n), kept(n))),
    );
    check_not("precision", cents().map(|n| (fine(n), fine(n + 1))));
}

#[test]
fn other_units_are_told_by_their_factor() {
    check(
        "unit",
        "new multiplies $.a by 1000, as between thousandths and whole",
        cents().map(|n| (n.to_string(), (n * 1_000).to_string())),
    );
    check(
        "unit",
        "new divides $.a by 60, as between seconds and minutes, or minutes and hours",
        cents().map(|n| (n.to_string(), (n / 60).to_string())),
    );
    check(
        "unit",
        "new divides $.a by 100, as between cents and whole, or percent and share",
        cents().map(|n| (n.to_string(), money(n))),
    );
    check(
        "unit",
        "new multiplies $.a by 1.609344, as between miles and kilometres",
        cents().map(|n| (n.to_string(), format!("{:.1}", n as f64 * 1.609_344))),
    );
    check(
        "factor",
        "new multiplies $.a by 1.5",
        cents().map(|n| (n.to_string(), format!("{}.{}", n * 3 / 2, n % 2 * 5))),
    );
    check_not("unit", cents().map(|n| (n.to_string(), (n * 1_000 + n % 7 - 9).to_string())));
    // Small numbers fit any factor.
    check_not("unit", (1..30).map(|n| (n.to_string(), "0".to_owned())));
    check_not("factor", cents().map(|n| (n.to_string(), (n * 3 / 2 + n % 11).to_string())));
}

#[test]
fn an_offset_and_a_sign_are_told() {
    check("offset", "new writes 25 more at $.a", cents().map(|n| (n.to_string(), (n + 25).to_string())));
    check("offset", "new writes 2.5 less at $.a", cents().map(|n| (money(n), money(n - 250))));
    check_not("offset", cents().map(|n| (n.to_string(), (n + 25 + n % 3).to_string())));
    check(
        "sign",
        "new turns the sign of $.a",
        cents().map(|n| if n % 2 == 0 { (n.to_string(), format!("-{n}")) } else { (format!("-{n}"), n.to_string()) }),
    );
    check("sign", "new drops the minus of $.a", cents().map(|n| (format!("-{n}"), n.to_string())));
    check_not("sign", cents().map(|n| (n.to_string(), format!("-{}", n + 1))));
}

/// Moments of a year, some hours apart.
fn moments() -> impl Iterator<Item = i64> {
    (0..90_i64).map(|n| 1_357_300_000_000_000 + n * 4 * 86_400_000_000 + n * n * 1_061_000_000 % 86_400_000_000)
}

fn iso(us: i64) -> String {
    text(chrono::DateTime::from_timestamp_micros(us).unwrap().format("%Y-%m-%dT%H:%M:%SZ"))
}

#[test]
fn shifted_moments_are_told_in_text_and_in_numbers() {
    const HOUR: i64 = 3_600_000_000;
    let later = "new writes $.a 5 h earlier, as in another time zone";
    check("time-shift", later, moments().map(|at| (iso(at), iso(at - 5 * HOUR))));
    check("time-shift", later, moments().map(|at| ((at / 1_000).to_string(), (at / 1_000 - 18_000_000).to_string())));
    check(
        "time-shift",
        "new writes $.a 1 d later",
        moments().map(|at| ((at / 1_000_000).to_string(), (at / 1_000_000 + 86_400).to_string())),
    );
    check_not("time-shift", moments().map(|at| (iso(at), iso(at - 5 * HOUR - at % 7_000_000))));
    // A number that is no moment has an offset.
    check("offset", "new writes 3600 more at $.a", cents().map(|n| (n.to_string(), (n + 3_600).to_string())));
}

#[test]
fn summer_time_is_told_from_a_shift() {
    use super::times::Summer;
    const HOUR: i64 = 3_600_000_000;
    let local = |at: i64, rule: Summer, base: i64| at + base + if rule.holds(at, base).unwrap() { HOUR } else { 0 };
    let europe = |at| (iso(at), iso(local(at, Summer::Europe, HOUR)));
    check(
        "time-zone",
        "new writes $.a in local time, UTC+1:00 and European summer time, where old writes UTC",
        moments().map(europe),
    );
    let america = |at| (iso(local(at, Summer::America, -5 * HOUR)), iso(at));
    check(
        "time-zone",
        "old writes $.a in local time, UTC-5:00 and American summer time, where new writes UTC",
        moments().map(america),
    );
    // Two shifts that follow no season.
    check_not("time-zone", moments().map(|at| (iso(at), iso(at + HOUR + at / 4_000_000 % 2 * HOUR))));
}

#[test]
fn other_notations_of_moments_are_told() {
    let at = |us: i64, form: &str| text(chrono::DateTime::from_timestamp_micros(us).unwrap().format(form));
    check(
        "notation",
        "new writes the same moments at $.a in another notation",
        moments().map(|us| (iso(us), at(us, "%Y-%m-%d %H:%M:%S+00:00"))),
    );
    check(
        "notation",
        "new writes $.a as milliseconds since 1970 where old writes a date and time",
        moments().map(|us| (iso(us), (us / 1_000_000 * 1_000).to_string())),
    );
    check("time-cut", "new cuts $.a to whole hours", moments().map(|us| (iso(us), at(us, "%Y-%m-%dT%H:00:00Z"))));
    check_not("notation", moments().map(|us| (iso(us), at(us + 60_000_000, "%Y-%m-%d %H:%M:%S+00:00"))));
    let wall = |us: i64| (at(us, "%Y-%m-%dT%H:%M:%S+00:00"), at(us, "%Y-%m-%dT%H:%M:%S+01:00"));
    check("time-zone", "new writes $.a with the same clock time in another zone, 1 h apart", moments().map(wall));
}

#[test]
fn case_and_spaces_are_told() {
    check("case", "new writes $.a in lower case", words().map(|word| (text(&word), text(word.to_lowercase()))));
    check("case", "new writes $.a in upper case", words().map(|word| (text(&word), text(word.to_uppercase()))));
    check_not("case", words().map(|word| (text(&word), text(word.to_lowercase().replace('1', "l")))));
    check(
        "trimming",
        "new trims the spaces around $.a",
        words().enumerate().map(|(n, word)| (text(format!("{word}{}", " ".repeat(n % 3 + 1))), text(word))),
    );
    check_not(
        "trimming",
        words().enumerate().map(|(n, word)| (text(format!("{word}{}", "x".repeat(n % 3 + 1))), text(word))),
    );
    check(
        "trimming",
        "new has other spaces within $.a",
        words().map(|word| (text(&word), text(word.replace(' ', "  ")))),
    );
}

#[test]
fn truncated_text_is_told_with_its_length() {
    check(
        "truncation",
        "new cuts $.a to 8 characters",
        words().map(|word| (text(&word), text(word.chars().take(8).collect::<String>()))),
    );
    check(
        "truncation",
        "new no longer cuts $.a to 8 characters",
        words().map(|word| (text(word.chars().take(8).collect::<String>()), text(&word))),
    );
    check_not(
        "truncation",
        words().enumerate().map(|(n, word)| (text(&word), text(word.chars().take(4 + n % 9).collect::<String>()))),
    );
    // Bytes, where characters take several.
    let wide =
        || cents().map(|n| (0..20).map(|at| if (n >> (at % 7)) & 1 == 0 { 'é' } else { 'e' }).collect::<String>());
    let bytes =
        |word: &str, most: usize| word[..(0..=most).rev().find(|at| word.is_char_boundary(*at)).unwrap()].to_owned();
    check("truncation", "new cuts $.a to 12 bytes", wide().map(|word| (text(&word), text(bytes(&word, 12)))));
    check(
        "truncation",
        "new keeps of $.a what stands before ` ` in old's",
        words()
            .map(|word| (text(&word), text(word.split(' ').next().unwrap())))
            .chain(cents().map(|n| (text(format!("{n} a")), text(n)))),
    );
}

#[test]
fn affixes_separators_and_zeros_are_told() {
    check(
        "affix",
        "new puts `EUR ` in front of $.a",
        cents().map(|n| (text(money(n)), text(format!("EUR {}", money(n))))),
    );
    check("affix", "new no longer puts `-v1` behind $.a", words().map(|word| (text(format!("{word}-v1")), text(word))));
    check_not("affix", words().enumerate().map(|(n, word)| (text(&word), text(format!("{word}{}", n % 40)))));
    check(
        "format",
        "new writes $.a with other separators, letters and digits as before",
        words().map(|word| (text(&word), text(word.replace(' ', "-")))),
    );
    check("format", "new fills up $.a with zeros in front", cents().map(|n| (text(n), text(format!("{n:07}")))));
    check_not("format", words().map(|word| (text(&word), text(word.replace('0', "-")))));
}

#[test]
fn encodings_forms_and_escapes_are_told() {
    let names = || cents().map(|n| format!("Zürich é{n}"));
    check(
        "encoding",
        "new reads UTF-8 as Latin-1 at $.a",
        names().map(|name| (text(&name), text(name.bytes().map(char::from).collect::<String>()))),
    );
    check(
        "encoding",
        "new replaces letters outside of ASCII at $.a",
        names().map(|name| (text(&name), text(name.replace(['ü', 'é'], "?")))),
    );
    check(
        "unicode-form",
        "new writes $.a with composed letters, old with letters and marks",
        names().map(|name| (text(name.replace('ü', "u\u{308}").replace('é', "e\u{301}")), text(&name))),
    );
    check(
        "escape",
        "new escapes $.a as in HTML",
        cents().map(|n| (text(format!("<b>{n}</b> & more")), text(format!("&lt;b&gt;{n}&lt;/b&gt; &amp; more")))),
    );
    check_not("encoding", names().map(|name| (text(&name), text(name.replace('r', "?")))));
    check_not("unicode-form", names().map(|name| (text(name.replace('ü', "u\u{301}")), text(&name))));
    check_not("escape", cents().map(|n| (text(format!("<b>{n}")), text(format!("&lt;b&gt;{}", n + 1)))));
}

#[test]
fn null_and_nothing_constants_and_types_are_told() {
    check(
        "null-or-absent",
        "new leaves out $.a where old writes null",
        cents().take(2).map(|_| ("null".to_owned(), String::new())),
    );
    check(
        "null-or-absent",
        "new writes null at $.a where old writes nothing",
        cents().take(2).map(|_| (String::new(), "null".to_owned())),
    );
    check(
        "constant",
        "new writes \"unknown\" at $.a, whatever old writes",
        words().map(|word| (text(word), text("unknown"))),
    );
    check("constant", "new writes 0 at $.a, whatever old writes", cents().map(|n| (n.to_string(), "0".to_owned())));
    check(
        "constant",
        "new writes null at $.a, whatever old writes",
        cents().map(|n| (n.to_string(), "null".to_owned())),
    );
    check_not("constant", cents().map(|n| (n.to_string(), (n % 4).to_string())));
    check_not("constant", cents().map(|_| ("1".to_owned(), "2".to_owned())));
    check("type", "new writes $.a as text where old writes a number", cents().map(|n| (n.to_string(), text(n))));
    check("type", "new writes $.a as a number where old writes text", cents().map(|n| (text(money(n)), money(n))));
    check_not("type", cents().map(|n| (n.to_string(), text(n + 1))));
    check("added", "new adds $.a with \"EUR\"", cents().map(|_| (String::new(), text("EUR"))));
    check_not("added", cents().map(|n| (String::new(), n.to_string())));
    check(
        "mapping",
        "new writes at $.a \"P\" where old writes \"paid\", \"R\" where old writes \"refused\"",
        cents().map(|n| if n % 2 == 0 { (text("paid"), text("P")) } else { (text("refused"), text("R")) }),
    );
    check_not(
        "mapping",
        cents().map(|n| (text(["paid", "refused"][n as usize % 2]), text(["P", "R"][n as usize / 2 % 2]))),
    );
}

#[test]
fn reordered_and_cut_arrays_are_told() {
    let lists = || cents().map(|n| vec![n % 97, n % 31 + 200, n % 13 + 100, n % 7 + 50]);
    let write = |list: &[i64]| serde_json::to_string(list).unwrap();
    let sorted = |list: &[i64]| {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted
    };
    check(
        "array-order",
        "new sorts $.a",
        lists().map(|list| (write(&list), write(&sorted(&list)))).filter(|(old, new)| old != new),
    );
    check(
        "array-order",
        "new writes the elements of $.a in the opposite order",
        lists().map(|list| (write(&list), write(&list.iter().rev().copied().collect::<Vec<_>>()))),
    );
    let by = |list: &[i64]| {
        serde_json::to_string(&list.iter().map(|n| serde_json::json!({"id": n * 7 % 5, "p": n})).collect::<Vec<_>>())
            .unwrap()
    };
    check(
        "array-order",
        "new sorts $.a by p",
        lists().map(|list| (by(&list), by(&sorted(&list)))).filter(|(old, new)| old != new),
    );
    let turned = |list: &[i64], n: usize| {
        let mut turned = list.to_vec();
        turned.rotate_left(n % 3 + 1);
        turned.swap(0, 2);
        turned
    };
    check_not(
        "array-order",
        lists().enumerate().map(|(n, list)| (write(&list), write(&turned(&list, n)))).filter(|(old, new)| old != new),
    );
    check("truncation", "new keeps the first 2 elements of $.a", lists().map(|list| (write(&list), write(&list[..2]))));
    check_not("truncation", lists().map(|list| (write(&list), write(&list[1..3]))));
}

#[test]
fn fields_under_another_path_are_told() {
    let nested = |n: i64| (format!(r#"{{"id":1,"amount":{n}}}"#), format!(r#"{{"id":1,"payment":{{"total":{n}}}}}"#));
    let first = |path: &str, change, pairs: Vec<(String, String)>| {
        said_of(path, pairs, change)
            .first()
            .map(|way| (way.name.clone(), way.says.split(": ").next().unwrap().to_owned()))
    };
    let expected = Some(("renamed".to_owned(), "new writes at $.payment.total what old writes at $.amount".to_owned()));
    assert_eq!(first("$.amount", Change::Removed, cents().map(nested).collect()), expected);
    // Another number there is another field.
    let near = |n: i64| (nested(n).0, nested(n + n % 2).1);
    assert_eq!(first("$.amount", Change::Removed, cents().map(near).collect()), None);
    // One and the same value may stand anywhere.
    assert_eq!(
        first("$.amount", Change::Removed, cents().map(|_| nested(5)).collect()).map(|(name, _)| name),
        Some("removed".to_owned())
    );
    let flat = |n: i64| (format!(r#"{{"address":{{"city":"c{n}"}}}}"#), format!(r#"{{"address_city":"c{n}"}}"#));
    let expected =
        Some(("renamed".to_owned(), "new writes at $.address_city what old writes at $.address.city".to_owned()));
    assert_eq!(first("$.address_city", Change::Added, cents().map(flat).collect()), expected);
    let other = |n: i64| {
        (format!(r#"{{"net":{n},"gross":{}}}"#, n + n / 5), format!(r#"{{"net":{0},"gross":{0}}}"#, n + n / 5))
    };
    let expected = Some(("another-field".to_owned(), "new writes at $.net what old has at $.gross".to_owned()));
    assert_eq!(first("$.net", Change::Value, cents().map(other).collect()), expected);
}

#[test]
fn a_stale_value_is_told() {
    let stale = |shift: i64| {
        let mut seen = Seen::default();
        for n in cents() {
            let of = |n: i64| format!(r#"{{"a":{}}}"#, n * 31 % 1_009);
            let layer = seen.layers.entry(0).or_default();
            layer.values("$.a", of(n).as_bytes(), of(n + shift).as_bytes(), Some(of(n + 5).as_bytes()));
        }
        let signature =
            Signature { kind: Kind::Changed, topic: "t".to_owned(), path: Some("$.a".to_owned()), change: None };
        seen.explain(&signature, 79, 100).first().map(|way| way.name.clone())
    };
    assert_eq!(stale(5).as_deref(), Some("stale"));
    assert_eq!(stale(4), None);
}

/// A window of a minute that starts so many minutes after the first.
fn window(minute: i64, count: i64, shift: i64) -> String {
    let start = 1_357_300_000_000 / 60_000 * 60_000 + minute * 60_000 + shift;
    format!(r#"{{"carrier":"c{}","window_start":{start},"window_end":{},"count":{count}}}"#, minute % 2, start + 60_000)
}

#[test]
fn windows_off_by_one_are_told() {
    let ways = |path: &str, pairs: Vec<(String, String)>| {
        said_of(path, pairs, Change::Value)
            .first()
            .map(|way| (way.name.clone(), way.says.split(": ").next().unwrap().to_owned()))
    };
    let shifted = |by: i64| (0..50).map(|at| (window(at, at, 0), window(at, at, by))).collect::<Vec<_>>();
    let expected = Some(("window".to_owned(), "new moves $.window_start one window later".to_owned()));
    assert_eq!(ways("$.window_start", shifted(60_000)), expected);
    let expected =
        Some(("window".to_owned(), "new moves $.window_end one 4th of a window, as by one slide earlier".to_owned()));
    assert_eq!(ways("$.window_end", shifted(-15_000)), expected);
    assert_eq!(ways("$.window_start", shifted(61_001)).map(|(name, _)| name).as_deref(), Some("time-shift"));
    // Each second window hands some of what it counts to the next of its carrier.
    let handed = |off: i64| {
        let minutes = (0..40).map(|at| at / 2 * 4 + at % 2);
        let both = minutes.flat_map(|at| [(at, -1 - at % 3), (at + 1, 1 + at % 3 + off)]);
        // One carrier, so that neighbours are its own.
        let one = |text: String| text.replace("c1", "c0");
        both.map(|(at, by)| (one(window(at, 20, 0)), one(window(at, 20 + by, 0)))).collect::<Vec<_>>()
    };
    let pairs: Vec<(String, String)> = handed(0).into_iter().collect();
    let apart: Vec<_> = pairs.iter().enumerate().filter(|(at, _)| at % 4 < 2).map(|(_, pair)| pair.clone()).collect();
    assert_eq!(ways("$.count", apart.clone()).map(|(name, _)| name).as_deref(), Some("window-edge"), "{apart:?}");
    let lost: Vec<_> = handed(1).into_iter().enumerate().filter(|(at, _)| at % 4 < 2).map(|(_, pair)| pair).collect();
    assert_ne!(ways("$.count", lost).map(|(name, _)| name).as_deref(), Some("window-edge"));
}

#[test]
fn an_explanation_says_for_how_many_it_holds_and_too_few_are_none() {
    let with = |exceptions: usize| {
        claims(cents().enumerate().map(move |(at, n)| {
            (n.to_string(), if at < exceptions { (n * 7 + at as i64).to_string() } else { (n + 25).to_string() })
        }))
    };
    let ways = with(3);
    assert_eq!(ways[0].says, "new writes 25 more at $.a: 79 of 26,398 differ; it explains 76 of 79 looked at");
    assert_eq!((ways[0].explains, ways[0].looked_at), (76, 79));
    assert_eq!(with(5), []);
}

#[test]
fn of_a_large_pattern_a_sample_is_looked_at_in_whatever_order_it_comes() {
    let look = |order: &mut dyn Iterator<Item = u64>| {
        let mut seen = Seen::default();
        for number in order {
            let layer = layer_of(number as i64);
            if layer >= seen.from {
                let (old, new) = (format!(r#"{{"a":{number}}}"#), format!(r#"{{"a":{}}}"#, number + 25));
                seen.layers.entry(layer).or_default().values("$.a", old.as_bytes(), new.as_bytes(), None);
                seen.thin_out();
            }
        }
        seen
    };
    let signature =
        Signature { kind: Kind::Changed, topic: "t".to_owned(), path: Some("$.a".to_owned()), change: None };
    let count = 40_000;
    let forwards = look(&mut (0..count)).explain(&signature, count, count);
    assert_eq!(forwards, look(&mut (0..count).rev()).explain(&signature, count, count));
    let mut parts = look(&mut (0..count / 2));
    parts.add(&look(&mut (count / 2..count)));
    assert_eq!(forwards, parts.explain(&signature, count, count));
    let looked = forwards[0].looked_at;
    assert!((LOOKED_AT_MIN..4 * LOOKED_AT_MIN).contains(&looked), "{looked}");
    assert!(forwards[0].says.ends_with("of them were looked at"), "{}", forwards[0].says);
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0..100_000_i64).prop_map(|n| n.to_string()),
        3 => (0..100_000_i64).prop_map(money),
        2 => "[a-z]{1,3}[A-Z ]{0,3}[0-9]{1,6}".prop_map(text),
        1 => prop::collection::vec(0..50_i64, 2..6).prop_map(|list| serde_json::to_string(&list).unwrap()),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        1 => Just("null".to_owned()),
        1 => (0..3_000_000_i64).prop_map(|at| iso(1_357_300_000_000_000 + at * 1_000_000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn chance_is_not_explained(pairs in prop::collection::vec((value(), value()), 20..60)) {
        prop_assert_eq!(claims(pairs), []);
    }

    #[test]
    fn numbers_by_chance_are_not_explained(
        pairs in prop::collection::vec((1..5_000_i64, 1..5_000_i64), 8..60),
        places in 0..3_i32,
    ) {
        let written = |digits: i64| Exact { digits: digits.into(), places }.text();
        prop_assert_eq!(claims(pairs.into_iter().map(|(old, new)| (written(old), written(new)))), []);
    }

    #[test]
    fn small_changes_by_chance_have_no_mode(
        pairs in prop::collection::vec((100..90_000_i64, prop::sample::select(vec![-2_i64, -1, 1, 2])), 20..60),
    ) {
        prop_assert_eq!(claims(pairs.into_iter().map(|(old, by)| (money(old), money(old + by)))), []);
    }
}
