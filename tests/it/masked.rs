//! Masks where they are applied: ahead of what a capture writes.

use std::fs;
use std::sync::Arc;

use rehearsal::capture::{CaptureError, CaptureSettings, Start, TopicChoice, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::mask::{Detection, MaskError, Policy};
use rehearsal::recording::{Event, Recording, Role};
use rehearsal::samples::{Broker, fill};
use tempfile::TempDir;

use super::mask::{RULES, event, events, events_with_secrets, holds_no_secret, masked, policy, recorded, rehearsal};

fn filled(source: &[Event]) -> (Broker, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(source, &folder.path().join("source"));
    let broker = Broker::start([("customers", 3), ("payments", 3)]).unwrap();
    fill(broker.brokers(), &recording, &mut |_| {}).unwrap();
    (broker, folder)
}

fn capture_settings(broker: &Broker, mask: Option<Arc<Policy>>, detection: Detection) -> CaptureSettings {
    let mut settings = CaptureSettings::new(broker.brokers(), ["customers", "payments"]);
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    (settings.mask, settings.detection) = (mask, detection);
    settings
}

#[test]
fn a_capture_masks_before_anything_touches_the_disk() {
    let (broker, folder) = filled(&events_with_secrets());
    let settings = capture_settings(&broker, Some(policy(RULES)), Detection::Refuse);
    let out = folder.path().join("out");
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!((report.events, report.sightings), (5, Vec::new()));
    let recording = Recording::open(&out).unwrap();
    holds_no_secret(&out, &recording);
    let expected = masked(&events_with_secrets(), policy(RULES), Detection::Off).unwrap().0;
    let mut left = events(&recording);
    left.sort_by(|a, b| (&a.topic, a.offset).cmp(&(&b.topic, b.offset)));
    let parts = |event: &Event| (event.partition, event.key.clone(), event.value.clone(), event.headers.clone());
    assert_eq!(left.iter().map(parts).collect::<Vec<_>>(), expected.iter().map(parts).collect::<Vec<_>>());
    assert_eq!(recording.manifest().masks.iter().find(|mask| mask.what == "key").unwrap().count, Some(4));
}

#[test]
fn what_a_table_held_ahead_of_its_window_is_masked_as_well() {
    let value = |n| format!("{{\"customer_id\":\"c-1001\",\"email\":\"ann.smith@example.org\",\"n\":{n}}}");
    let one = |offset| event("customers", offset, Some("c-1001"), Some(value(offset).as_str()), &[]);
    let (broker, folder) = filled(&(0..4).map(one).collect::<Vec<_>>());
    let mut settings = capture_settings(&broker, Some(policy(RULES)), Detection::Refuse);
    settings.topics = TopicChoice::parse("customers", Role::Table).unwrap();
    settings.from = Start::Offset(3);
    let out = folder.path().join("out");
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    let state: u64 = report.partitions.iter().map(|taken| taken.state).sum();
    assert_eq!((report.events, state), (2, 1));
    let recording = Recording::open(&out).unwrap();
    holds_no_secret(&out, &recording);
    let left = events(&recording);
    assert_eq!(left.iter().map(|event| event.offset).collect::<Vec<_>>(), [2, 3]);
    assert!(left[0].key.is_some() && left[0].key == left[1].key);
}

#[test]
fn a_capture_without_a_policy_redacts_credentials_and_says_what_looks_personal() {
    let (broker, folder) = filled(&events_with_secrets());
    let out = folder.path().join("out");
    let settings = capture_settings(&broker, None, Detection::Warn);
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    let seen: Vec<(&str, u64)> = report.sightings.iter().map(|seen| (seen.path.as_str(), seen.count)).collect();
    assert_eq!(seen, [("$.customer.email", 1), ("$.email", 1)]);
    let recording = Recording::open(&out).unwrap();
    let masks: Vec<(&str, Option<u64>)> =
        recording.manifest().masks.iter().map(|mask| (mask.what.as_str(), mask.count)).collect();
    assert_eq!(masks, [("header Authorization", Some(1)), ("header Cookie", Some(1))]);
    assert!(
        events(&recording)
            .iter()
            .all(|event| event.headers.iter().all(|header| header.value.as_deref() != Some(b"Bearer sesame-open")))
    );
}

#[test]
fn a_strict_capture_stops_ahead_of_what_looks_personal() {
    let mut source: Vec<Event> =
        (0..20).map(|offset| event("payments", offset, None, Some("{\"n\":1}"), &[])).collect();
    source.push(event("payments", 20, None, Some("{\"mail\":\"ann.smith@example.org\"}"), &[]));
    let (broker, folder) = filled(&source);
    let out = folder.path().join("out");
    let settings = capture_settings(&broker, None, Detection::Refuse);
    let error = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
    let CaptureError::Interrupted { events: count, source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, CaptureError::Mask(MaskError::Personal { offset: 20, .. })), "{source:?}");
    let recording = Recording::open(&out).unwrap();
    assert_eq!((recording.len(), count), (20, 20));
    holds_no_secret(&out, &recording);
}

#[test]
fn a_strict_capture_by_the_command_is_a_users_mistake() {
    let (broker, folder) = filled(&events_with_secrets());
    fs::write(folder.path().join("mask.toml"), "key-env = \"REHEARSAL_MASK_KEY\"\n").unwrap();
    let arguments = |more: &[&'static str]| -> Vec<String> {
        let first = ["capture", "--brokers", broker.brokers(), "--topic", "customers", "--set", "fetch.wait.max.ms=10"];
        first.iter().chain(more).map(|&word| word.to_owned()).collect()
    };
    let strict = arguments(&["--mask", "mask.toml", "--strict-privacy", "--out", "strict"]);
    let strict: Vec<&str> = strict.iter().map(String::as_str).collect();
    let (_, err) = rehearsal(&folder, 2, &strict);
    assert!(err.contains("offset 0: $.customer.email holds what looks like an e-mail address"), "{err}");
    assert_eq!(Recording::open(folder.path().join("strict")).unwrap().len(), 0);
    let lenient = arguments(&["--out", "lenient", "--json"]);
    let lenient: Vec<&str> = lenient.iter().map(String::as_str).collect();
    let (out, err) = rehearsal(&folder, 0, &lenient);
    let told: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (told["personal"][0]["kind"].as_str(), told["personal"][0]["path"].as_str()),
        (Some("email"), Some("$.customer.email"))
    );
    assert!(err.starts_with("warning: topic customers: $.customer.email"), "{err}");
}
