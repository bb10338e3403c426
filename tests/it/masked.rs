//! Masks where they are applied: ahead of what a capture writes, and of what is kept of builds.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rehearsal::capture::{CaptureError, CaptureSettings, TopicChoice, Until, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::mask::{Detection, MaskError, Policy};
use rehearsal::outcome::Outcome;
use rehearsal::recording::{Event, Recording, Role};
use rehearsal::samples::{Broker, fill};
use tempfile::TempDir;

use super::mask::{
    KEY, OTHER_KEY, RULES, SECRETS, desk, event, events, events_with_secrets, files, holds_no_secret, masked, policy,
    policy_with, recorded, rehearsal, text,
};

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
fn a_capture_warns_of_a_rule_that_changed_nothing() {
    let (broker, folder) = filled(&events_with_secrets());
    let rules = format!("{RULES}\n[[rule]]\nvalue = ['$.nope']\nmethod = 'redact'");
    let settings = capture_settings(&broker, Some(policy(&rules)), Detection::Off);
    let report = capture(&settings, folder.path().join("r"), &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    let [warning, whole] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.starts_with("Rule 4 of the policy (`$.nope`) changed nothing: "), "{warning}");
    assert!(whole.starts_with("Redacted as a whole: 1 value in which"), "{whole}");
}

#[test]
fn what_a_table_held_ahead_of_its_window_is_masked_as_well() {
    let value = |n| format!("{{\"customer_id\":\"c-1001\",\"email\":\"ann.smith@example.org\",\"n\":{n}}}");
    let one = |offset| event("customers", offset, Some("c-1001"), Some(value(offset).as_str()), &[]);
    let (broker, folder) = filled(&(0..4).map(one).collect::<Vec<_>>());
    let mut settings = capture_settings(&broker, Some(policy(RULES)), Detection::Refuse);
    settings.topics = TopicChoice::parse("customers", Role::Table).unwrap();
    settings.offsets.insert(("customers".to_owned(), one(0).partition), 3);
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
fn what_goes_as_a_whole_is_told_as_soon_as_it_is_met() {
    let value = |offset, value| event("payments", offset, None, Some(value), &[]);
    let (broker, folder) = filled(&[value(0, "{\"n\":1}"), value(1, "plain"), value(2, "\0\0\0\0\u{7}framed")]);
    let settings =
        CaptureSettings { until: Until::Stopped, ..capture_settings(&broker, Some(policy(RULES)), Detection::Off) };
    let (mut notes, stop) = (Vec::new(), Stop::new());
    let report = capture(&settings, folder.path().join("r"), &SystemClock::start(), &stop, &mut |progress| {
        if let Some(note) = &progress.note {
            notes.push(note.clone());
            stop.raise();
        }
    });
    // Once, however many there are; the report counts them.
    let says = "Topic `payments`: nobody can read the fields that rules name in the value of partition 2 at offset 1, which is no \
                JSON: it is redacted as a whole, and so is each like it.";
    assert_eq!(notes, [says]);
    let warnings = report.unwrap().warnings;
    assert!(warnings.iter().any(|one| one.starts_with("Redacted as a whole: 2 values")), "{warnings:?}");
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
    // Whoever opens it later sees that it is not all.
    let left_out = recording.manifest().left_out();
    assert!(left_out.len() == 1 && left_out[0].contains("offset 20: $.mail holds what looks like"), "{left_out:?}");
    assert!(recording.manifest().strict_privacy && recording.manifest().personal.is_empty());
    holds_no_secret(&out, &recording);
}

#[test]
fn what_looks_personal_is_told_at_once_and_over_every_resume() {
    let mail = |offset| event("payments", offset, None, Some("{\"mail\":\"ann.smith@example.org\"}"), &[]);
    let plain = |offset| event("payments", offset, None, Some("{\"n\":1}"), &[]);
    let source: Vec<Event> = [plain(0), mail(1), plain(2), mail(3)].into();
    let (broker, folder) = filled(&source);
    let out = folder.path().join("out");
    let settings = |until: Until, detection: Detection| CaptureSettings {
        until,
        checkpoint_every: Duration::from_millis(1),
        ..capture_settings(&broker, None, detection)
    };
    let (mut notes, stop) = (Vec::new(), Stop::new());
    let settled = settings(Until::Stopped, Detection::Warn);
    let report = capture(&settled, &out, &SystemClock::start(), &stop, &mut |progress| {
        if let Some(note) = &progress.note {
            notes.push(note.clone());
            stop.raise();
        }
    });
    assert_eq!(report.unwrap().sightings[0].count, 2);
    let says = "Topic `payments`: $.mail holds what looks like an e-mail address, first in partition 2 at offset 1.";
    assert_eq!(notes, [says]);
    let personal = || Recording::open(&out).unwrap().manifest().personal.clone();
    let facts = personal();
    assert_eq!(
        (facts[0].path.as_str(), facts[0].kind.as_str(), facts[0].count, facts[0].offset),
        ("$.mail", "email", 2, 1)
    );
    for lost_manifest in [false, true] {
        cut_off(&out, lost_manifest);
        // What was kept before must not stand in a recording that says that nothing such was.
        let strict = settings(Until::End, Detection::Refuse);
        let refused = capture(&strict, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
        assert!(
            matches!(&refused, CaptureError::BegunOtherwise { what, .. } if what.contains("--strict-privacy")),
            "{refused}"
        );
        let report =
            capture(&settings(Until::End, Detection::Warn), &out, &SystemClock::start(), &Stop::new(), &mut |_| {})
                .unwrap();
        assert_eq!((report.resumed_at, report.sightings.len()), (Some(4), 1), "{lost_manifest}");
        assert_eq!(personal(), facts);
    }
}

/// Makes a sealed recording one that was cut off right before it was sealed, with its manifest or without.
fn cut_off(out: &Path, lost_manifest: bool) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["sealed"] = false.into();
    fs::write(&path, manifest.to_string()).unwrap();
    if lost_manifest {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_capture_that_was_cut_off_is_gone_on_with_by_the_same_masks_alone() {
    let (broker, folder) = filled(&events_with_secrets());
    let captured = |out: &Path, mask: Option<Arc<Policy>>, until| {
        let settings = CaptureSettings { until, ..capture_settings(&broker, mask, Detection::Warn) };
        capture(&settings, out, &SystemClock::start(), &Stop::new(), &mut |_| {})
    };
    let otherwise = |out: &Path, mask: Option<Arc<Policy>>| match captured(out, mask, Until::End).unwrap_err() {
        CaptureError::BegunOtherwise { what, recorded, found, .. } => (what, recorded, found),
        error => panic!("{error}"),
    };
    let other_rules = format!("{RULES}\n[[rule]]\nvalue = ['$.n']\nmethod = 'bucket'\nsize = 10");
    let masking = policy(RULES).masking();
    for lost_manifest in [false, true] {
        let out = folder.path().join(format!("masked-{lost_manifest}"));
        assert_eq!(captured(&out, Some(policy(RULES)), Until::Count(3)).unwrap().events, 3);
        cut_off(&out, lost_manifest);
        let (what, recorded, found) = otherwise(&out, None);
        assert_eq!((what.as_str(), found.as_str()), ("the mask policy (its SHA-256)", "none"));
        assert!(recorded.len() == 12 && masking.policy.starts_with(&recorded), "{recorded}");
        let (what, also, found) = otherwise(&out, Some(policy(&other_rules)));
        assert!(what.starts_with("the mask policy") && also == recorded && found.len() == 12, "{what} {also} {found}");
        let (what, recorded, found) = otherwise(&out, Some(policy_with(OTHER_KEY, RULES)));
        assert_eq!(what, "the key of the mask policy (its fingerprint)");
        assert!(Some(&recorded) == masking.key.as_ref() && found != recorded && found.len() == 16);

        let kept = format!("{RULES}\n[[keep]]\npaths = ['$.shop']");
        let report = captured(&out, Some(policy(&kept)), Until::End).unwrap();
        assert_eq!((report.events, report.resumed_at), (5, Some(3)));
        let recording = Recording::open(&out).unwrap();
        holds_no_secret(&out, &recording);
        assert_eq!(recording.verify().unwrap(), []);
        let manifest = recording.manifest();
        assert_eq!(manifest.masking.as_ref(), Some(&masking));
        assert!(manifest.masks.iter().any(|mask| mask.what == "key" && mask.key == masking.key));
        // Who counted what came ahead of the cut is gone.
        assert!(manifest.masks.iter().all(|mask| mask.count.is_none()), "{:?}", manifest.masks);
    }
    let out = folder.path().join("plain");
    captured(&out, None, Until::Count(3)).unwrap();
    cut_off(&out, true);
    let (what, recorded, _) = otherwise(&out, Some(policy(RULES)));
    assert_eq!((what.as_str(), recorded.as_str()), ("the mask policy (its SHA-256)", "none"));
    assert_eq!(captured(&out, None, Until::End).unwrap().events, 5);
}

/// A build that writes down all it should not, wherever it can.
const TALKATIVE: &str = r#"
echo "mail to ann.smith@example.org" >&2
echo "> Authorization: Basic sesame-open" >&2
echo "the key is $REHEARSAL_MASK_KEY." >&2
echo 'refused {"event":{"email":"sesame-open","n":1}}' >&2
number=0
while read -r line; do
  number=$((number + 1))
  echo '{"key":"c-1001","value":{"n":'$number',"email":"ann.smith@example.org"},"headers":[["Cookie","sid=sesame-open"]]}'
  echo '{"value":{"street":"10 Downing"},"partition":"ann.smith"}'
  echo '{"value_base64":"c2VzYW1lLW9wZW4="}'
done
"#;

#[test]
fn what_builds_write_is_masked_before_it_touches_the_disk() {
    let desk = desk("[[rule]]\ntopics = ['out*']\nkey = true\nvalue = ['$.email']\nmethod = 'token'");
    rehearsal(&desk, 0, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
    fs::write(desk.path().join("build.sh"), TALKATIVE).unwrap();
    fs::write(
        desk.path().join("scenario.toml"),
        "recording = 'empty'\nold.command = ['sh', 'build.sh']\nnew.command = ['sh', 'build.sh']\npace.mode = 'unpaced'\n\
         [drive]\noutputs = ['output']\nsettle = '50ms'\n[compare]\nidentity = ['$.n']\n[mask]\npolicy = 'mask.toml'\n",
    )
    .unwrap();
    let quiet: Vec<Event> = (0..3).map(|offset| event("orders", offset, None, Some("{\"n\":1}"), &[])).collect();
    recorded(&quiet, &desk.path().join("empty"));
    // Lines that nobody can read are no agreement.
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let output = command
        .current_dir(desk.path())
        .env("REHEARSAL_MASK_KEY", KEY)
        .args(["run", "scenario.toml", "--out", "run"])
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
    let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
    let mut written = Vec::new();
    for batch in outcome.outputs().unwrap().map(Result::unwrap) {
        written.extend((0..batch.len()).map(|row| batch.get(row).to_output()));
    }
    assert_eq!(written.len(), 9);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(desk.path().join("run/run.json")).unwrap()).unwrap();
    assert!(!report["warnings"].to_string().contains("masked before it is kept"), "tokens keep what is equal");
    let (key, value) = (text(written[0].key.as_ref()).unwrap(), text(written[0].value.as_ref()).unwrap());
    assert!(key.starts_with("tok_") && value.starts_with("{\"n\":1,\"email\":\"tok_"), "{key} {value}");
    assert_eq!(text(written[0].headers[0].value.as_ref()), Some("[redacted]"));
    assert_eq!((text(written[1].value.as_ref()), written[1].malformed.is_some()), (Some("[redacted]"), true));
    assert_eq!(text(written[2].value.as_ref()), Some("[redacted]"));
    let log = fs::read_to_string(desk.path().join("run/outcomes/new/stderr.log")).unwrap();
    let told = "mail to [e-mail]\n> Authorization: [redacted]\nthe key is .\nrefused {\"event\":{\"email\":\"tok_";
    assert!(log.starts_with(told) && log.ends_with("\",\"n\":1}}\n"), "{log}");
    let mut paths = Vec::new();
    files(&desk.path().join("run"), &mut paths);
    let mut haystacks: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    haystacks.extend([output.stdout, output.stderr]);
    haystacks.extend(written.into_iter().flat_map(|output| [output.key, output.value]).flatten());
    for secret in SECRETS.iter().copied().chain([KEY]) {
        for (number, bytes) in haystacks.iter().enumerate() {
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "`{secret}` in {:?}", paths.get(number));
        }
    }
}

/// Runs builds that write bytes around a secret, masked or not, and returns all that the run left behind.
fn bytes_around_a_secret(masked: bool) -> Vec<u8> {
    let desk = desk("[[rule]]\nvalue = ['$.email']\nmethod = 'redact'");
    let events: Vec<Event> = (0..3).map(|offset| event("orders", offset, None, Some("{\"n\":1}"), &[])).collect();
    recorded(&events, &desk.path().join("three"));
    for (build, last) in [("old", 1), ("new", 2)] {
        let value = BASE64_STANDARD.encode([&[0xFF, last][..], b"ann.smith@example.org"].concat());
        let line = format!("{{\"key\":\"k\",\"value_base64\":\"{value}\"}}");
        fs::write(desk.path().join(build), format!("while read -r line; do echo '{line}'; done\n")).unwrap();
    }
    let policy = if masked { "[mask]\npolicy = 'mask.toml'\n" } else { "" };
    let scenario = format!(
        "recording = 'three'\nold.command = ['sh', 'old']\nnew.command = ['sh', 'new']\npace.mode = 'unpaced'\n\
         [drive]\nsettle = '50ms'\n{policy}"
    );
    fs::write(desk.path().join("scenario.toml"), scenario).unwrap();
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let run = command.current_dir(desk.path()).env("REHEARSAL_MASK_KEY", KEY);
    let output = run.args(["run", "scenario.toml", "--out", "run"]).output().unwrap();
    let mut paths = Vec::new();
    files(&desk.path().join("run"), &mut paths);
    let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    let values =
        batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output().value).collect::<Vec<_>>());
    let left = paths.iter().map(|path| fs::read(path).unwrap()).chain([output.stdout]).chain(values.flatten());
    left.collect::<Vec<_>>().concat()
}

#[test]
fn a_view_in_hex_shows_nothing_that_a_mask_hides() {
    let holds = |left: &[u8], what: &[u8]| left.windows(what.len()).any(|window| window == what);
    // Masks act before anything is kept, and the report knows only what is kept.
    let (plain, masked) = (bytes_around_a_secret(false), bytes_around_a_secret(true));
    for secret in [&b"ann.smith@exam"[..], b"61 6e 6e 2e 73 6d 69 74", b"616e6e2e736d697468"] {
        assert!(!holds(&masked, secret), "{}", String::from_utf8_lossy(secret));
    }
    for shown in [&b"ann.smith@exam"[..], b"61 6e 6e 2e 73 6d 69 74"] {
        assert!(holds(&plain, shown), "{}", String::from_utf8_lossy(shown));
    }
    assert!(holds(&masked, b"[redacted]"));
}

#[test]
fn what_a_policy_hides_from_the_comparison_is_said() {
    let desk = desk(
        "[[rule]]\nvalue = ['$.iban']\nheaders = ['who']\nmethod = 'redact'\n[[rule]]\nvalue = ['$.amount']\nmethod = 'bucket'\nsize = 100",
    );
    let scenario = "recording = 'one'\nold.command = ['cat']\nnew.command = ['sed', 's/1/2/']\npace.mode = 'unpaced'\n\
                    [drive]\npayload = 'value'\nsettle = '50ms'\n[compare]\nidentity = ['$.n']\n[mask]\npolicy = 'mask.toml'\n";
    fs::write(desk.path().join("scenario.toml"), scenario).unwrap();
    let value = "{\"iban\":\"1\",\"n\":7}";
    recorded(&[event("orders", 0, None, Some(value), &[])], &desk.path().join("one"));
    let (said, _) = rehearsal(&desk, 0, &["run", "scenario.toml", "--out", "run"]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("a difference within $.iban redact, header who redact, $.amount bucket cannot be seen"),
        "{said}"
    );
}

/// A build whose lines nobody can read, and that logs what it was given.
const BROKEN: &str = r#"
while read -r line; do
  echo '{"key":"c-1001","value":1,"headers":[["Authorization","Basic sesame-open"],["x"]]}'
  echo '{"value":1,"headers":[["x","said"],["x"]]}' | sed "s/said/$SAID-open/"
  echo '{"key":"c-1001","headers":[["Authorization","Basic sesame-open"]]}' >&2
done
echo 'Traceback' >&2
echo "  KeyError: ('Cookie', 'sid=sesame-open')" >&2
exit 3
"#;

#[test]
fn lines_that_nobody_can_read_hold_no_credentials_and_with_a_policy_nothing() {
    for (mask, said, expected) in [
        (
            None,
            "plain",
            [
                r#"{"key":"c-1001","value":1,"headers":[["Authorization","[redacted]"],["x"]]}"#,
                r#"{"value":1,"headers":[["x","plain-open"],["x"]]}"#,
            ],
        ),
        (Some("keep"), "sesame", ["[redacted]"; 2]),
        (Some("redact"), "sesame", ["[redacted]"; 2]),
    ] {
        let rules = format!(
            "otherwise = '{}'\n[[rule]]\nheaders = ['x']\nkey = true\nmethod = 'redact'",
            mask.unwrap_or("keep")
        );
        let desk = desk(&rules);
        fs::write(desk.path().join("build.sh"), BROKEN).unwrap();
        let builds = ["old", "new"]
            .map(|name| format!("{name}.command = ['sh', 'build.sh']\n{name}.env = {{ SAID = '{said}' }}\n"));
        let policy = mask.map_or("", |_| "[mask]\npolicy = 'mask.toml'\n");
        let scenario = format!(
            "recording = 'empty'\n{}pace.mode = 'unpaced'\n[drive]\nsettle = '50ms'\n{policy}",
            builds.concat()
        );
        fs::write(desk.path().join("scenario.toml"), scenario).unwrap();
        recorded(&[event("orders", 0, None, Some("{\"n\":1}"), &[])], &desk.path().join("empty"));
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        let run = command.current_dir(desk.path()).env("REHEARSAL_MASK_KEY", KEY);
        let output = run.args(["run", "scenario.toml", "--out", "run"]).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
        let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
        let written: Vec<_> = outcome
            .outputs()
            .unwrap()
            .map(Result::unwrap)
            .flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>())
            .collect();
        let values: Vec<_> = written.iter().map(|output| text(output.value.as_ref()).unwrap()).collect();
        assert_eq!(values, expected, "{mask:?}");
        assert!(written.iter().all(|output| output.malformed.is_some()));
        let mut paths = Vec::new();
        files(&desk.path().join("run"), &mut paths);
        for path in &paths {
            let bytes = fs::read(path).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"sesame-open"), "{mask:?}: {}", path.display());
        }
        let log = fs::read_to_string(desk.path().join("run/outcomes/new/stderr.log")).unwrap();
        assert!(
            log.contains("[[\"Authorization\",\"[redacted]\"]]}\n") && log.contains("('Cookie', [redacted]\n"),
            "{log}"
        );
    }
}

#[test]
fn a_policy_that_cannot_be_used_stops_a_run_before_anything_is_started() {
    let desk = desk("[[rule]]\nmethod = 'token'");
    let text =
        "recording = 'orders'\nold.command = ['touch', 'started']\nnew.command = ['cat']\nmask.policy = 'mask.toml'\n";
    fs::write(desk.path().join("scenario.toml"), text).unwrap();
    let (_, err) = rehearsal(&desk, 2, &["run", "scenario.toml"]);
    assert!(err.contains("mask.toml:2:") && err.contains("masks nothing"), "{err}");
    fs::write(desk.path().join("scenario.toml"), text.replace("mask.toml", "none.toml")).unwrap();
    let (_, err) = rehearsal(&desk, 2, &["run", "scenario.toml"]);
    assert!(err.contains("scenario.toml:4:15") && err.contains("none.toml"), "{err}");
    assert!(!desk.path().join("started").exists() && !desk.path().join("target").exists());
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
    assert!(err.contains("$.customer.email"), "{err}");
    // Nothing stands ahead of the first event, so nothing is in the way of the next try.
    assert!(!err.contains("choose another --out"), "{err}");
    assert!(!folder.path().join("strict").exists());
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
