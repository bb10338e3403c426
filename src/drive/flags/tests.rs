//! The flags of a drive by themselves: its file, and when they change.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::clock::SimulatedClock;
use crate::drive::BuildSettings;
use crate::drive::shared::Shared;
use crate::outcome::Ending;

fn change(name: &str, flag: &str, to: &str, due_us: Option<i64>) -> FlagChange {
    let settings: FlagChangeSettings = toml::from_str(&format!("at = '1s'\nflag = '{flag}'\nto = {to}"))
        .unwrap_or_else(|error| panic!("{to}: {error}"));
    FlagChange { name: name.to_owned(), flag: settings.flag, to: settings.to, build: None, due_us }
}

fn flags(toml: &str) -> BTreeMap<String, Flag> {
    toml::from_str(toml).unwrap()
}

/// The file as it stands.
fn read(flags: &Flags) -> Value {
    serde_json::from_str(&fs::read_to_string(flags.path()).unwrap()).unwrap()
}

#[test]
fn the_file_is_as_flagds_schema_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "fast = false\nshare = 0.5\nwho = 'a'\nlimits = { most = 3 }\nlong = '0123456789012345678901234567890123456789012345678901234567890'";
    let flags = Flags::new(&flags(toml), vec![change("more", "share", "2", Some(5))], folder.path());
    flags.write().unwrap();
    let all = read(&flags);
    assert_eq!(all["$schema"], "https://flagd.dev/schema/v0/flags.json");
    let expected = json!({
        "fast": { "state": "ENABLED", "variants": { "off": false, "on": true }, "defaultVariant": "off" },
        "share": { "state": "ENABLED", "variants": { "0.5": 0.5, "2": 2 }, "defaultVariant": "0.5" },
        "who": { "state": "ENABLED", "variants": { "a": "a" }, "defaultVariant": "a" },
        "limits": { "state": "ENABLED", "variants": { "v1": { "most": 3 } }, "defaultVariant": "v1" },
        "long": { "state": "ENABLED", "variants": { "v1": "0123456789012345678901234567890123456789012345678901234567890" }, "defaultVariant": "v1" },
    });
    assert_eq!(all["flags"], expected);
}

#[test]
fn at_a_change_the_file_is_replaced_as_a_whole_and_behind_the_drive_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let changes = vec![
        change("back", "fast", "true", Some(30)),
        change("kill", "fast", "false", Some(20)),
        change("same", "fast", "true", Some(10)),
        change("never", "fast", "false", None),
    ];
    let flags = Flags::new(&flags("fast = true"), changes, folder.path());
    flags.write().unwrap();
    // Who has opened it reads on in what it was.
    let mut before = fs::File::open(flags.path()).unwrap();
    let now = |flags: &Flags| read(flags)["flags"]["fast"]["defaultVariant"].clone();
    assert_eq!((now(&flags), flags.next_due_us()), (json!("on"), Some(10)));
    flags.change(19, 19);
    assert_eq!((now(&flags), flags.next_due_us()), (json!("on"), Some(20)));
    flags.change(29, 21);
    assert_eq!((now(&flags), flags.next_due_us()), (json!("off"), Some(30)));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut before, &mut text).unwrap();
    assert!(text.contains(r#""defaultVariant": "on""#), "{text}");
    assert_eq!(fs::read_dir(flags.path().parent().unwrap()).unwrap().count(), 1, "a draft was left");
    let mut report = EndingReport::new(Ending::Finished, "");
    flags.report(&mut report);
    let fired: Vec<_> = report.faults.iter().map(|(name, count)| (name.as_str(), count.instances)).collect();
    assert_eq!(fired, [("back", 0), ("kill", 1), ("never", 0), ("same", 0)]);
    flags.remove();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_replaced_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let flags = Flags::new(&flags("fast = true"), vec![change("kill", "fast", "false", Some(1))], folder.path());
    flags.change(1, 1);
    assert!(flags.take_failure().is_some(), "nobody made its folder");
    assert!(flags.take_failure().is_none());
}

#[test]
fn what_is_due_behind_a_change_waits_for_it_and_what_is_due_ahead_is_handed_over_apart() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SimulatedClock::new());
    let flags = Flags::new(&flags("fast = true"), vec![change("kill", "fast", "false", Some(2_000))], folder.path());
    flags.write().unwrap();
    let flags = std::sync::Arc::new(flags);
    let shared = Shared::new(crate::clock::Clock::now(&clock), std::time::Duration::from_secs(9))
        .with_flags(Some(flags.clone()));
    shared.start(crate::clock::Clock::now(&clock));
    assert_eq!(shared.wait_until_due(1_000, &clock), Some(1_000));
    assert_eq!(flags.next_due_us(), Some(2_000));
    // Late: what is due by now, but behind the change, must not go with what is due ahead of it.
    crate::clock::Clock::wait_until(&clock, std::time::Duration::from_millis(5));
    assert_eq!(shared.wait_until_due(1_500, &clock), Some(1_999));
    assert_eq!(flags.ask("fast").unwrap().value, true);
    assert_eq!(shared.wait_until_due(2_000, &clock), Some(5_000));
    assert_eq!(flags.ask("fast").unwrap().value, false);
}

#[test]
fn names_of_flags_that_are_not_set_are_bounded() {
    let flags = Flags::new(&BTreeMap::new(), Vec::new(), Path::new("/nowhere"));
    for number in 0..100 {
        assert_eq!(flags.ask(&format!("{number}-{}", "x".repeat(1_000))), None);
    }
    let mut report = EndingReport::new(Ending::Finished, "");
    flags.report(&mut report);
    let unset = report.flags.unwrap().unset;
    assert!(unset.len() == UNSET_MAX && unset.keys().all(|name| name.len() <= UNSET_BYTES), "{unset:?}");
}

#[test]
fn a_change_is_of_a_flag_that_its_builds_have_and_of_its_type() {
    let build = |flags: &str| {
        let settings: BuildSettings = toml::from_str(&format!("command = ['cat']\nflags = {flags}")).unwrap();
        settings.check("old", Path::new(".")).unwrap()
    };
    let (old, new) = (build("{ fast = true }"), build("{ fast = true, slow = 3 }"));
    let check = |toml: &str| {
        let change: FlagChangeSettings = toml::from_str(&format!("at = '1s'\n{toml}")).unwrap();
        check_flag_changes(&[change], Some(&old), Some(&new))
    };
    for toml in ["flag = 'fast'\nto = false", "flag = 'slow'\nto = 4.5\nbuild = 'new'"] {
        assert_eq!(check(toml), Ok(()), "{toml}");
    }
    for (toml, key, problem, instead) in [
        ("flag = 'fats'\nto = false", "flag-change[0].flag", "old has no flag `fats`", "`fast`"),
        ("flag = 'slow'\nto = 4", "flag-change[0].flag", "old has no flag `slow`", "build = \"new\""),
        (
            "flag = 'slow'\nto = '4'\nbuild = 'new'",
            "flag-change[0].to",
            "is a number in `[new] flags`, and this is text",
            "a number",
        ),
    ] {
        let error = check(toml).unwrap_err();
        assert!(error.key == key && error.problem.contains(problem) && error.instead.contains(instead), "{error:?}");
    }
}
