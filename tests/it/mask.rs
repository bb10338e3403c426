//! Masks: policies, what becomes of events and recordings, what looks personal.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rehearsal::mask::{Detected, Detection, MaskError, Masker, Parts, Policy, RewriteError, rewrite};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Header, Mask, Recording, RecordingError, RecordingWriter, Role, Source,
    TimestampType, TopicSource,
};
use rehearsal::scenario::read_policy;
use tempfile::TempDir;

pub(super) const KEY: &str = "6d61736b2d6b65792d6f662d74657374732d6e6f2d7365637265742d61742d616c6c";
pub(super) const OTHER_KEY: &str = "9f61736b2d6b65792d6f662d74657374732d6e6f2d7365637265742d61742d616c6d";

/// What must be found nowhere.
pub(super) const SECRETS: [&str; 5] = ["ann.smith", "4711-0815", "sesame-open", "c-1001", "Downing"];

/// Customers as JSON, with their number in the key, and payments that join with them.
pub(super) const RULES: &str = r#"
[[rule]]
topics = ["customers", "pay*"]
value = ["$.customer.id", "$.customer_id"]
key = true
method = "token"

[[rule]]
value = ["$..email", "$['street']"]
headers = ["X-User"]
method = "redact"

[[rule]]
value = ["$.pin", "$.lines[?@.secret == true]"]
headers = ["x-drop"]
method = "drop"
"#;

pub(super) fn policy_with(key: &str, rules: &str) -> Arc<Policy> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mask.key"), key).unwrap();
    fs::write(folder.path().join("mask.toml"), format!("key-file = \"mask.key\"\n{rules}")).unwrap();
    Arc::new(read_policy(&folder.path().join("mask.toml")).unwrap())
}

pub(super) fn policy(rules: &str) -> Arc<Policy> {
    policy_with(KEY, rules)
}

pub(super) fn event(
    topic: &str,
    offset: i64,
    key: Option<&str>,
    value: Option<&str>,
    headers: &[(&str, Option<&str>)],
) -> Event {
    let header = |(name, value): &(&str, Option<&str>)| Header {
        name: (*name).to_owned(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    Event {
        topic: topic.to_owned(),
        partition: 2,
        offset,
        timestamp_ms: Some(1_357_035_420_000 + offset),
        timestamp_type: TimestampType::Create,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: headers.iter().map(header).collect(),
        ..Event::default()
    }
}

pub(super) fn events_with_secrets() -> Vec<Event> {
    let customer = r#"{ "customer" : {"id":"c-1001", "email":"ann.smith@example.org"},"n":1.50,"email":"ann.smith@x.org","pin":"4711-0815" }"#;
    let payment =
        r#"{"customer_id":"c-1001","street":"10 Downing","lines":[{"a":1},{"secret":true,"what":"sesame-open"}]}"#;
    vec![
        event(
            "customers",
            0,
            Some("c-1001"),
            Some(customer),
            &[("x-user", Some("ann.smith")), ("source", Some("web"))],
        ),
        event("payments", 0, Some("c-1001"), Some(payment), &[("X-Drop", Some("4711-0815")), ("x-drop", None)]),
        event(
            "payments",
            1,
            None,
            None,
            &[("Authorization", Some("Bearer sesame-open")), ("cookie", Some("c-1001")), ("Cookie", None)],
        ),
        event("payments", 2, Some("c-1001"), Some("no json of c-1001"), &[]),
        event("payments", 3, Some("c-2002"), Some("{\"customer_id\":\"c-2002\",\"n\":[ 1 ]}"), &[]),
    ]
}

pub(super) fn recorded(events: &[Event], out: &Path) -> Recording {
    let mut writer = RecordingWriter::create(out, Source::default()).unwrap();
    let mut builder = EventBatchBuilder::new();
    for event in events {
        builder.push_event(event);
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    Recording::open(out).unwrap()
}

pub(super) fn events(recording: &Recording) -> Vec<Event> {
    let batches = recording.batches(Columns::ALL).map(Result::unwrap);
    batches.flat_map(|batch| batch.iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect()
}

/// Masks `events` by way of a recording and returns what the other one holds, with its folder.
pub(super) fn masked(
    source: &[Event],
    policy: Arc<Policy>,
    detection: Detection,
) -> Result<(Vec<Event>, Recording, TempDir), RewriteError> {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(source, &folder.path().join("source"));
    let out = folder.path().join("out/masked");
    fs::create_dir(folder.path().join("out")).unwrap();
    let mut masker = Masker::new(Some(policy), detection);
    let result = rewrite(&recording, &mut masker, &out, &mut |_| true);
    if result.is_err() {
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 0, "something was left behind");
    }
    result?;
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    Ok((events(&recording), recording, folder))
}

pub(super) fn text(bytes: Option<&Vec<u8>>) -> Option<&str> {
    bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
}

pub(super) fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Looks for secrets in every byte of every file, and in all that the recording says.
pub(super) fn holds_no_secret(folder: &Path, recording: &Recording) {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    assert!(paths.len() >= 2, "{paths:?}");
    let said = format!("{:?}", recording.manifest()).into_bytes();
    let mut haystacks: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).chain([said]).collect();
    for event in events(recording) {
        haystacks.extend([event.key, event.value].into_iter().flatten());
        haystacks.extend(event.headers.into_iter().filter_map(|header| header.value));
    }
    for secret in SECRETS.iter().copied().chain([KEY]) {
        for bytes in &haystacks {
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "`{secret}` in {:?}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn of_an_event_that_stays_as_it_is_no_other_is_made() {
    let mut builder = EventBatchBuilder::new();
    let plain = event("payments", 4, Some("k"), Some("{\"n\":1}"), &[("source", Some("web")), ("none", None)]);
    let (secret, policy) = (events_with_secrets(), policy(RULES));
    secret.iter().chain([&plain]).for_each(|event| builder.push_event(event));
    let batch = builder.finish();
    // A key that is masked as a whole is masked in every event of `pay*`.
    for (policy, same) in [(Some(policy), [false; 6]), (None, [true, true, false, true, true, true])] {
        let maskers = || Masker::new(policy.clone(), Detection::Warn);
        let (mut asked, mut given) = (maskers(), maskers());
        for (event, same) in batch.iter().zip(same) {
            let parts = Parts {
                topic: event.topic,
                partition: event.partition,
                offset: event.offset,
                key: event.key,
                value: event.value,
            };
            let expected = given.mask(parts, event.headers.iter()).unwrap();
            let masked = asked.mask_event(event).unwrap();
            assert_eq!(masked.is_none(), same, "{} {}", event.topic, event.offset);
            let Some(masked) = masked else { continue };
            assert_eq!((&masked.key, &masked.value), (&expected.key, &expected.value));
            assert!(masked.headers().eq(expected.headers()), "{masked:?}");
        }
        assert_eq!(asked.masks(), given.masks());
        assert_eq!(asked.sightings(), given.sightings());
    }
}

#[test]
fn masks_take_what_they_name_and_leave_every_other_byte() {
    let (left, recording, folder) = masked(&events_with_secrets(), policy(RULES), Detection::Warn).unwrap();
    let token = text(left[0].key.as_ref()).unwrap();
    assert!(token.starts_with("tok_") && token.len() == 36, "{token}");
    let customer =
        format!(r#"{{ "customer" : {{"id":"{token}", "email":"[redacted]"}},"n":1.50,"email":"[redacted]" }}"#);
    assert_eq!(text(left[0].value.as_ref()), Some(&*customer));
    let payment = format!(r#"{{"customer_id":"{token}","street":"[redacted]","lines":[{{"a":1}}]}}"#);
    assert_eq!(text(left[1].value.as_ref()), Some(&*payment));
    assert_eq!(left[1].key, left[0].key);
    assert_eq!(text(left[3].value.as_ref()), Some("[redacted]"));
    assert_eq!((&left[2].key, &left[2].value), (&None, &None));
    let shown = |event: &Event| -> Vec<(String, Option<String>)> {
        let value = |header: &Header| text(header.value.as_ref()).map(str::to_owned);
        event.headers.iter().map(|header| (header.name.clone(), value(header))).collect()
    };
    let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    assert_eq!(shown(&left[0]), [some("x-user", "[redacted]"), some("source", "web")]);
    assert_eq!(shown(&left[1]), []);
    assert_eq!(
        shown(&left[2]),
        [some("Authorization", "[redacted]"), some("cookie", "[redacted]"), ("Cookie".to_owned(), None)]
    );
    for (before, after) in events_with_secrets().iter().zip(&left) {
        assert_eq!(
            (before.partition, before.offset, before.timestamp_ms),
            (after.partition, after.offset, after.timestamp_ms)
        );
    }
    holds_no_secret(&folder.path().join("out"), &recording);
}

#[test]
fn the_manifest_says_what_was_masked_and_how_often_but_not_by_which_key() {
    let (_, recording, folder) = masked(&events_with_secrets(), policy(RULES), Detection::Warn).unwrap();
    let masks = &recording.manifest().masks;
    let find =
        |what: &str| masks.iter().find(|mask| mask.what == what).unwrap_or_else(|| panic!("{what} in {masks:?}"));
    let fingerprint = find("key").key.clone();
    assert!(
        fingerprint.as_ref().is_some_and(|fingerprint| fingerprint.len() == 16 && !KEY.contains(fingerprint.as_str()))
    );
    let topic = Some("customers, pay*".to_owned());
    assert_eq!(
        *find("key"),
        Mask { topic, what: "key".into(), method: "token".into(), count: Some(4), key: fingerprint.clone() }
    );
    assert_eq!(
        (find("$..email").count, find("$..email").method.as_str(), &find("$..email").key),
        (Some(2), "redact", &None)
    );
    assert_eq!((find("$.pin").count, find("header x-drop").count), (Some(1), Some(2)));
    assert_eq!((find("header Authorization").count, find("header Cookie").count), (Some(1), Some(1)));
    assert_eq!(find("value that is no JSON").count, Some(1));
    // Masked once more: what was masked before is named still.
    let mut again = Masker::new(Some(policy_with(OTHER_KEY, "[[rule]]\nkey = true\nmethod = 'token'")), Detection::Off);
    let twice = folder.path().join("twice");
    rewrite(&recording, &mut again, &twice, &mut |_| true).unwrap();
    let twice = Recording::open(&twice).unwrap();
    assert_eq!(twice.manifest().masks.len(), masks.len() + 1);
    assert_ne!(twice.manifest().masks.last().unwrap().key, fingerprint);
}

#[test]
fn the_same_value_has_the_same_token_by_one_key_and_another_by_another() {
    let tokens = |key: &str| -> BTreeSet<Vec<u8>> {
        let (left, ..) = masked(&events_with_secrets(), policy_with(key, RULES), Detection::Off).unwrap();
        left.into_iter().filter_map(|event| event.key).collect()
    };
    let (one, again, other) = (tokens(KEY), tokens(KEY), tokens(OTHER_KEY));
    assert_eq!((one.len(), &one), (2, &again));
    assert!(one.is_disjoint(&other));
}

#[test]
fn a_dropped_key_is_null_and_keeps_its_partition() {
    let rules = "[[rule]]\nkey = true\nmethod = 'drop'";
    let (left, ..) = masked(&events_with_secrets(), policy(rules), Detection::Off).unwrap();
    assert!(left.iter().all(|event| event.key.is_none() && event.partition == 2));
}

#[test]
fn fields_of_keys_are_masked_like_fields_of_values() {
    let rules = "[[rule]]\nkey-fields = ['$.id']\nvalue = ['$.id']\nmethod = 'token'\nform = 'number'";
    let source = [event("t", 0, Some("{\"id\": 7, \"n\": 1}"), Some("{\"id\":\"7\"}"), &[])];
    let (left, ..) = masked(&source, policy(rules), Detection::Off).unwrap();
    let (key, value) = (text(left[0].key.as_ref()).unwrap(), text(left[0].value.as_ref()).unwrap());
    let digits: String = key.chars().skip(7).take_while(char::is_ascii_digit).collect();
    assert_eq!(
        (key.to_owned(), value.to_owned()),
        (format!("{{\"id\": {digits}, \"n\": 1}}"), format!("{{\"id\":\"{digits}\"}}"))
    );
    assert_eq!(digits.len(), 16);
}

#[test]
fn what_is_no_json_is_kept_redacted_or_refused_as_the_policy_says() {
    let rules = "[[rule]]\nvalue = ['$.a']\nkey-fields = ['$.a']\nmethod = 'redact'";
    let source = [event("t", 7, Some("k"), Some("plain"), &[]), event("t", 8, None, Some(""), &[])];
    let keep = masked(&source, policy(&format!("otherwise = 'keep'\n{rules}")), Detection::Off).unwrap().0;
    assert_eq!((text(keep[0].key.as_ref()), text(keep[0].value.as_ref())), (Some("k"), Some("plain")));
    let redact = masked(&source, policy(rules), Detection::Off).unwrap().0;
    assert_eq!(
        (text(redact[0].key.as_ref()), text(redact[0].value.as_ref())),
        (Some("[redacted]"), Some("[redacted]"))
    );
    assert_eq!(text(redact[1].value.as_ref()), Some(""));
    let refuse = masked(&source, policy(&format!("otherwise = 'refuse'\n{rules}")), Detection::Off);
    let expected = MaskError::NoJson { topic: "t".into(), partition: 2, offset: 7, part: "key" };
    assert!(matches!(refuse, Err(RewriteError::Mask(error)) if error == expected));
}

#[test]
fn a_rule_for_the_whole_value_masks_what_is_no_json_as_well() {
    let values = ["ann.smith", "{\"a\":\"ann.smith\"}\n{}", "\u{feff}{\"a\":\"ann.smith\"}", "\0\0\0\0\u{7}ann.smith"];
    let mut source: Vec<Event> = (0..).zip(values).map(|(at, value)| event("t", at, None, Some(value), &[])).collect();
    source.push(event("t", 4, Some("\"ann.smith\""), Some("\"ann.smith\""), &[("who", Some("ann.smith"))]));
    source.push(event("t", 5, None, Some(""), &[]));
    for otherwise in ["keep", "refuse", "redact"] {
        let rule = "[[rule]]\nvalue = ['$.b', '$']\nheaders = ['who']\nkey = true\nmethod = 'token'";
        let policy = policy(&format!("otherwise = '{otherwise}'\n{rule}"));
        let (left, recording, folder) = masked(&source, policy, Detection::Off).unwrap();
        let values: Vec<&str> = left.iter().filter_map(|event| text(event.value.as_ref())).collect();
        assert!(values[..4].iter().all(|value| value.starts_with("tok_") && value.len() == 36), "{values:?}");
        // A join goes on with what is JSON, quoted or not.
        let (token, quoted) = (values[0], format!("\"{}\"", values[0]));
        assert_eq!((values[4], text(left[4].key.as_ref()), values[5]), (&*quoted, Some(&*quoted), ""));
        assert_eq!(text(left[4].headers[0].value.as_ref()), Some(token));
        let count = |what: &str| recording.manifest().masks.iter().find(|mask| mask.what == what).unwrap().count;
        assert_eq!((count("$"), count("$.b")), (Some(5), Some(0)));
        holds_no_secret(&folder.path().join("out"), &recording);
    }
}

#[test]
fn json_behind_the_id_of_its_schema_is_masked_like_any_other() {
    let source = [event("t", 0, None, Some("\0\0\0\0\u{7}{\"mail\":\"jo@example.org\",\"n\":1}"), &[])];
    let rules = "[[rule]]\nvalue = ['$.mail']\nmethod = 'redact'";
    let (left, ..) = masked(&source, policy(rules), Detection::Refuse).unwrap();
    assert_eq!(text(left[0].value.as_ref()), Some("\0\0\0\0\u{7}{\"mail\":\"[redacted]\",\"n\":1}"));
    let refused = masked(&source, policy(""), Detection::Refuse).unwrap_err();
    assert!(refused.to_string().contains("$.mail holds what looks like an e-mail"), "{refused}");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_of_what_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(&events_with_secrets(), &folder.path().join("source"));
    let mut masker = Masker::new(Some(policy(RULES)), Detection::Off);
    let taken = rewrite(&recording, &mut masker, recording.path(), &mut |_| true);
    assert!(matches!(taken, Err(RewriteError::Recording(RecordingError::NotEmpty { .. }))));
    let many: Vec<Event> = (0..10_000).map(|offset| event("t", offset, None, Some("{}"), &[])).collect();
    let many = recorded(&many, &folder.path().join("many"));
    let out = folder.path().join("out");
    assert!(matches!(rewrite(&many, &mut masker, &out, &mut |_| false), Err(RewriteError::Stopped)));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["many", "source"]);
}

#[test]
fn what_looks_personal_is_told_by_topic_and_path_and_never_shown() {
    let source = [
        event(
            "shop",
            3,
            Some("jo@example.org"),
            Some(r#"{"a":[{"mail":"jo@example.org"},{"mail":"al@example.org"}]}"#),
            &[],
        ),
        event(
            "shop",
            4,
            Some("k"),
            Some(r#"{"jo@example.org":1,"card":4111111111111111}"#),
            &[("note", Some("+49 151 12345678"))],
        ),
        event("shop", 5, None, Some("DE89370400440532013000"), &[]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(&source, &folder.path().join("source"));
    let look = |rules: &str| {
        let mut masker = Masker::new(Some(policy(rules)), Detection::Warn);
        let out = TempDir::new_in(folder.path()).unwrap();
        rewrite(&recording, &mut masker, out.path(), &mut |_| true).unwrap().sightings
    };
    let sightings = look("");
    let seen: Vec<_> = sightings.iter().map(|seen| (seen.path.as_str(), seen.kind, seen.count, seen.offset)).collect();
    assert_eq!(
        seen,
        [
            ("$.*", Detected::Email, 1, 4),
            ("$.a[*].mail", Detected::Email, 2, 3),
            ("$.card", Detected::Card, 1, 4),
            ("header note", Detected::Phone, 1, 4),
            ("key", Detected::Email, 1, 3),
            ("value", Detected::Iban, 1, 5),
        ]
    );
    assert!(!format!("{sightings:?}").contains("example"));
    // What is masked, and what the policy lists, is not told.
    let rules = "[[rule]]\nkey = true\nvalue = ['$.a[*].mail', '$.card']\nmethod = 'token'\n\
                 [[keep]]\ntopics = ['sh*']\npaths = ['$.*', 'value']\nkinds = ['email', 'iban']";
    let left: Vec<String> = look(rules).into_iter().map(|seen| seen.path).collect();
    // What of the value is no JSON was redacted, for a rule names fields of it.
    assert_eq!(left, ["header note"]);
    let refused = masked(&source, policy(""), Detection::Refuse).unwrap_err();
    assert!(!refused.to_string().contains("example.org"), "{refused}");
    let RewriteError::Mask(MaskError::Personal { topic, offset, path, kind, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((topic.as_str(), offset, path.as_str(), kind), ("shop", 3, "key", Detected::Email));
}

#[test]
fn a_month_of_flights_looks_personal_nowhere() {
    let recording = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let mut masker = Masker::new(None, Detection::Warn);
    let mut count = 0;
    for batch in recording.batches(Columns::ALL) {
        for event in batch.unwrap().iter() {
            let (topic, partition, offset) = (event.topic, event.partition, event.offset);
            masker
                .mask(Parts { topic, partition, offset, key: event.key, value: event.value }, event.headers.iter())
                .unwrap();
            count += 1;
        }
    }
    assert_eq!((count, masker.sightings(), masker.masks()), (recording.len(), Vec::new(), Vec::new()));
}

/// A folder with a recording of [`events_with_secrets`] and a policy whose key stands in the environment of the program alone.
pub(super) fn desk(rules: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    recorded(&events_with_secrets(), &folder.path().join("orders"));
    fs::write(folder.path().join("mask.toml"), format!("key-env = \"REHEARSAL_MASK_KEY\"\n{rules}")).unwrap();
    folder
}

pub(super) fn rehearsal(folder: &TempDir, code: i32, arguments: &[&str]) -> (String, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let output = command.current_dir(folder.path()).env("REHEARSAL_MASK_KEY", KEY).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    for secret in SECRETS.iter().copied().chain([KEY]) {
        assert!(!out.contains(secret) && !err.contains(secret), "`{secret}` was printed:\n{out}\n{err}");
    }
    (out, err)
}

#[test]
fn a_recording_is_masked_by_the_command_and_never_over_another() {
    let desk = desk(RULES);
    let (out, err) = rehearsal(&desk, 0, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
    assert_eq!(out, "Masked 18 parts of 5 events to masked\n");
    // One value is no JSON.
    assert_eq!((err.lines().count(), err.contains("Redacted as a whole: 1 value in which")), (1, true), "{err}");
    let recording = Recording::open(desk.path().join("masked")).unwrap();
    holds_no_secret(&desk.path().join("masked"), &recording);
    let (_, err) = rehearsal(&desk, 2, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
    assert!(err.contains("not empty") && err.contains("--out"), "{err}");
    let arguments = ["mask", "orders", "--policy", "mask.toml", "--out", "again", "--json"];
    let (out, _) = rehearsal(&desk, 0, &arguments);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["events"], &told["personal"]), (&serde_json::json!(5), &serde_json::json!([])));
    assert_eq!(told["masks"][0]["what"], "$.customer.id");
}

#[test]
fn a_rule_that_changes_nothing_is_warned_of() {
    let rules = "[[rule]]\nvalue = ['$..email']\nmethod = 'redact'\n[[rule]]\nvalue = ['$.nope']\nmethod = 'redact'\n\
        [[rule]]\ntopics = ['nosuch']\nkey = true\nmethod = 'token'";
    let desk = desk(rules);
    let (_, err) = rehearsal(&desk, 0, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
    let said: Vec<&str> = err.lines().filter(|line| line.contains("changed nothing")).collect();
    assert_eq!(said.len(), 2, "{err}");
    assert!(said[0].starts_with("warning: Rule 2 of the policy (`$.nope`) changed nothing: "), "{err}");
    assert!(said[1].starts_with("warning: Rule 3 of the policy (`key` in nosuch) changed nothing: "), "{err}");
    let arguments = ["mask", "orders", "--policy", "mask.toml", "--out", "again", "--json"];
    let (out, _) = rehearsal(&desk, 0, &arguments);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["warnings"].as_array().map(Vec::len), Some(3), "{out}");
}

#[test]
fn what_goes_as_a_whole_and_tables_without_keys_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let prices = [0, 1].map(|at| event("prices", at, Some("a"), Some("no JSON"), &[]));
    let topics = [("prices", Role::Table), ("orders", Role::Input)];
    let topic = |(name, role): (&str, Role)| TopicSource {
        name: name.to_owned(),
        partitions: 1,
        role,
        ..TopicSource::default()
    };
    let source = Source { topics: topics.map(topic).to_vec(), ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("orders"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    for event in &prices {
        batch.push_event(event);
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    let warned = |method: &str, more: &str| {
        let rules = format!("key-env = 'REHEARSAL_MASK_KEY'\n[[rule]]\nkey = true\nmethod = '{method}'\n{more}");
        fs::write(folder.path().join("mask.toml"), rules).unwrap();
        let out = format!("{method}{}", more.len());
        rehearsal(&folder, 0, &["mask", "orders", "--policy", "mask.toml", "--out", &out]).1
    };
    for method in ["drop", "redact"] {
        let err = warned(method, "topics = ['*']");
        assert!(
            err.contains("warning: Rule 1 of the policy takes the keys of `prices`") && !err.contains("`orders`"),
            "{err}"
        );
    }
    assert_eq!(warned("drop", "topics = ['orders']").matches("takes the keys").count(), 0);
    let err = warned("token", "[[rule]]\nvalue = ['$.a']\nmethod = 'redact'");
    assert!(!err.contains("takes the keys"), "{err}");
    assert!(err.contains("warning: Redacted as a whole: 2 values in which nobody could read"), "{err}");
    assert!(!err.contains("--registry"), "{err}");
}

#[test]
fn what_a_capture_left_out_is_told_of_the_masked_recording_too() {
    let folder = tempfile::tempdir().unwrap();
    let topic =
        TopicSource { name: "t".to_owned(), partitions: 1, held_back: [(0, 7)].into(), ..TopicSource::default() };
    let source = Source { topics: vec![topic], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("all"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    // What a schema frames, of which nobody knows the schema.
    for offset in 0..1_200 {
        let value = Some(b"\x00\x00\x00\x00\x07abc".to_vec());
        batch.push_event(&Event { topic: "t".to_owned(), offset, value, ..Event::default() });
    }
    writer.write(&batch.finish()).unwrap();
    writer.set_ended_early("the topic is gone".to_owned());
    writer.seal().unwrap();
    fs::write(folder.path().join("mask.toml"), "[[rule]]\nvalue = ['$.a']\nmethod = 'redact'\n").unwrap();
    let err = rehearsal(&folder, 0, &["mask", "all", "--policy", "mask.toml", "--out", "masked"]).1;
    assert!(err.contains("Redacted as a whole: 1,200 values in which"), "{err}");
    assert!(
        err.contains("1,200 of them begin as what a schema frames does") && err.contains("--registry URL"),
        "{err}"
    );
    let masked = Recording::open(folder.path().join("masked")).unwrap();
    let original = Recording::open(folder.path().join("all")).unwrap();
    assert_eq!(masked.manifest().left_out(), original.manifest().left_out());
    assert_eq!(masked.manifest().left_out().len(), 2);
}

#[test]
fn what_was_damaged_is_not_made_a_sound_recording() {
    let desk = desk("[[rule]]\nvalue = ['$..email']\nmethod = 'redact'");
    let segment = desk.path().join("orders/segments/000000.parquet");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[60] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for arguments in [
        &["mask", "orders", "--policy", "mask.toml", "--out", "made"][..],
        &["slice", "orders", "--share", "1", "--out", "made"],
    ] {
        let (_, err) = rehearsal(&desk, 2, arguments);
        assert!(err.contains("orders is damaged: ") && err.contains("segments/000000.parquet: wrong hash"), "{err}");
        assert!(!desk.path().join("made").exists());
    }
}

#[test]
fn what_others_left_who_were_killed_is_tidied_away() {
    let desk = desk("");
    let left = |process: &str| desk.path().join(format!(".made.writing-{process}"));
    for process in ["1", "22", "x", ""] {
        fs::create_dir(left(process)).unwrap();
        fs::write(left(process).join("writer.lock"), "").unwrap();
    }
    fs::create_dir(left("333")).unwrap();
    // Somebody writes there.
    let held = fs::File::open(left("22").join("writer.lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    rehearsal(&desk, 0, &["mask", "orders", "--policy", "mask.toml", "--out", "made"]);
    let stand = ["1", "22", "x", "", "333"].map(|process| left(process).exists());
    assert_eq!(stand, [false, true, true, true, true]);
    assert!(desk.path().join("made/manifest.json").is_file());
}

#[test]
fn what_is_left_personal_is_a_warning_or_by_wish_a_refusal() {
    let desk = desk("");
    let arguments = ["mask", "orders", "--policy", "mask.toml", "--out", "masked"];
    let (_, err) = rehearsal(&desk, 0, &arguments);
    let warning = "warning: topic customers: $.email holds what looks like an e-mail address (1 time, first in partition 2 at offset 0)";
    assert!(err.contains(warning) && err.contains("[[keep]]"), "{err}");
    fs::remove_dir_all(desk.path().join("masked")).unwrap();
    let (_, err) = rehearsal(&desk, 2, &[&arguments[..], &["--strict-privacy"]].concat());
    assert!(
        err.contains("topic `customers`, partition 2, offset 0: $.customer.email holds") && err.contains("[[keep]]"),
        "{err}"
    );
    let mut names: Vec<_> = fs::read_dir(desk.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["mask.toml", "orders"]);
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_its_place_and_what_to_write_instead() {
    for (rules, expected) in [
        ("[[rule]]\nkey = true\nmethd = 'token'", &["mask.toml:4:1", "unknown key `methd`", "`method`?"][..]),
        ("[[rule]]\nkey = true\nmethod = 'tokens'", &["mask.toml:4:10", "unknown choice `tokens`", "`token`?"]),
        ("[[rule]]\nkey = true", &["mask.toml:2:", "`method` is missing"]),
        ("[[rule]]\nvalue = ['$.a', 'b']\nmethod = 'drop'", &["mask.toml:3:17", "JSONPath"]),
        ("[[rule]]\nvalue = ['$']\nmethod = 'drop'", &["mask.toml:3:10", "tombstone", "redact"]),
        ("otherwise = 'refuze'", &["mask.toml:2:13", "`refuse`?"]),
        ("key-file = 'mask.key'", &["mask.toml:2:12", "Keep one of"]),
        (
            "[[keep]]\npaths = ['$.a', '$..user']",
            &["mask.toml:3:17", "no warning shows a path as `$..user`", "`$.shop.email`"],
        ),
        ("[[keep]]\npaths = ['x-user']", &["mask.toml:3:10", "no warning shows", "`header source`"]),
        ("[[keep]]\npaths = ['$.a']\nkinds = ['e-mail']", &["mask.toml:4:10", "`email`?"]),
    ] {
        let desk = desk(rules);
        let (_, err) = rehearsal(&desk, 2, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
        for expected in expected {
            assert!(err.contains(expected), "{rules}\n--- lacks {expected}\n{err}");
        }
        assert!(!desk.path().join("masked").exists());
    }
    let desk = desk("");
    fs::write(desk.path().join("mask.toml"), "key-env = \"REHEARSAL_NOBODY\"").unwrap();
    let (_, err) = rehearsal(&desk, 2, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
    assert!(err.contains("mask.toml:1:11") && err.contains("openssl rand -hex 32"), "{err}");
    let (_, err) = rehearsal(&desk, 2, &["mask", "orders", "--policy", "nothing.toml", "--out", "masked"]);
    assert!(err.contains("could not read the policy nothing.toml"), "{err}");
}

#[test]
fn a_key_that_was_written_into_the_policy_is_not_shown() {
    let desk = desk("");
    // Which of them is printed fails in `rehearsal`, which knows the secrets.
    for (text, expected) in [
        (format!("key-env = '{KEY}'"), &["mask.toml:1:11", "no variable that is set", "key-env = …"][..]),
        ("otherwise = 'keep'\nkey-env = 'sesame-open'".to_owned(), &["mask.toml:2:11", "no variable that is set"]),
        (format!("key-file = '{KEY}'"), &["mask.toml:1:12", "could not read the key", "key-file = …"]),
        (format!("key = '{KEY}'"), &["mask.toml:1:1", "unknown key `key`", "key = …"]),
        ("[[rule]]\nmethod = 'redact'\nkey = 'sesame-open'".to_owned(), &["mask.toml:3:7", "true"]),
        (format!("[[rule]]\nmethod = 'redact'\nkey = \"{KEY}\""), &["mask.toml:3:7", "true"]),
        ("key_env = 'sesame-open'".to_owned(), &["mask.toml:1:1", "`key-env`?"]),
        ("key-env = sesame-open".to_owned(), &["mask.toml:1:", "key-env = …"]),
        (format!("key-env = '{KEY}"), &["mask.toml:1:", "key-env = …"]),
        (KEY.to_owned(), &["mask.toml:1:"]),
        (format!("secret = '{KEY}'"), &["mask.toml:1:1", "unknown key `secret`"]),
        (format!("key-env = ['{KEY}']"), &["mask.toml:1:11", "key-env = …"]),
    ] {
        fs::write(desk.path().join("mask.toml"), &text).unwrap();
        let (_, err) = rehearsal(&desk, 2, &["mask", "orders", "--policy", "mask.toml", "--out", "masked"]);
        for expected in expected {
            assert!(err.contains(expected), "{text}\n--- lacks {expected}\n{err}");
        }
    }
}

#[test]
fn a_rule_that_would_leave_a_credential_counts_for_other_headers_alone() {
    // A number to a bucket, seconds since the epoch to a shift.
    let headers = [("Cookie", Some("1357035420")), ("x-n", Some("1357035420")), ("authorization", Some("sesame-open"))];
    let source = [event("payments", 0, None, None, &headers)];
    for method in ["bucket'\nsize = 1", "shift'"] {
        let rules = format!(
            "[[rule]]\nheaders = ['cookie', 'x-n', 'Authorization']\nmethod = '{method}\n\
             [[rule]]\nheaders = ['authorization']\nmethod = 'token'"
        );
        let (left, recording, _folder) = masked(&source, policy(&rules), Detection::Off).unwrap();
        let value = |at: usize| text(left[0].headers[at].value.as_ref()).unwrap().to_owned();
        assert_eq!((value(0).as_str(), &value(2)[..4]), ("[redacted]", "tok_"), "{method}");
        assert!(value(1).bytes().all(|byte| byte.is_ascii_digit()), "{method}: {}", value(1));
        let masks = &recording.manifest().masks;
        assert_eq!(masks.iter().find(|mask| mask.what == "header Cookie").unwrap().count, Some(1));
    }
}
