//! Masks in keys and values that schemas describe: while capturing, over a recording, and in what builds write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rehearsal::capture::{CaptureError, CaptureReport, CaptureSettings, RegistryError, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::mask::{Detection, MaskError, Masker, Parts, RewriteError, Sighting, rewrite};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source};
use rehearsal::samples::{Broker, fill};
use rehearsal::schema::{Reference, SchemaKind, SchemaText, Schemas};
use serde_json::json;
use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use super::mask::{events, policy};
use super::schema::{ADDRESS, ADDRESS_PROTO, CUSTOMER, ORDER_PROTO, Served, customer, event, framed, serve_schemas};

/// What must be found nowhere once it is masked.
const CITY: &str = "Nowherehausen";

const RULES: &str = r#"
[[rule]]
topics = ["customers"]
value = ["$.address.city"]
method = "token"

[[rule]]
value = ["$.orderId", "$.lines[*].sku", "$.note"]
method = "redact"
"#;

fn reference(name: &str, schema: &str) -> Reference {
    Reference { name: name.to_owned(), subject: "s".to_owned(), version: 1, schema: schema.to_owned() }
}

fn texts() -> Vec<SchemaText> {
    let text = |id, kind, schema: &str, references| SchemaText {
        id,
        kind,
        schema: schema.to_owned(),
        references,
        subjects: vec![],
    };
    vec![
        text(7, SchemaKind::Avro, CUSTOMER, vec![reference("shop.common.Address", ADDRESS)]),
        text(8, SchemaKind::Protobuf, ORDER_PROTO, vec![reference("shop/common/address.proto", ADDRESS_PROTO)]),
        text(9, SchemaKind::Json, "{\"type\":\"object\"}", vec![]),
    ]
}

/// An order with an identifier and a field that its schema does not know.
fn order(id: &str) -> Vec<u8> {
    framed(8, &[b"\x00\x0a", &[id.len() as u8][..], id.as_bytes(), b"\xa2\x06\x01x"].concat())
}

fn source_events() -> Vec<Event> {
    let mut events: Vec<Event> =
        (0..6).map(|n| event("customers", n, b"c", customer(n, n * 100 + 5, (n % 2 == 0).then_some(CITY)))).collect();
    events.push(event("orders", 0, &framed(9, b"\"k\""), order("o-secret")));
    events.push(event("notes", 0, b"n", framed(9, br#"{ "note" : "a secret" , "n":1 }"#)));
    events
}

fn recorded(events: &[Event], folder: &Path) -> Recording {
    let mut writer = RecordingWriter::create(folder, Source::default()).unwrap();
    for text in texts() {
        writer.keep_schema(&text).unwrap();
    }
    for id in [7, 8, 9] {
        for part in [rehearsal::schema::Part::Key, rehearsal::schema::Part::Value] {
            for event in events {
                writer.note_schema(&event.topic, part, id);
            }
        }
    }
    let mut builder = EventBatchBuilder::new();
    for event in events {
        builder.push_event(event);
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    Recording::open(folder).unwrap()
}

fn masked(source: &[Event], rules: &str) -> Result<(Vec<Event>, Vec<Sighting>), RewriteError> {
    let folder = TempDir::new().unwrap();
    let recording = recorded(source, &folder.path().join("source"));
    let out = folder.path().join("masked");
    let report = rewrite(&recording, &mut Masker::new(Some(policy(rules)), Detection::Warn), &out, &mut |_| true)?;
    let masked = Recording::open(&out).unwrap();
    assert_eq!(masked.verify().unwrap(), []);
    Ok((events(&masked), report.sightings))
}

fn holds(events: &[Event], secret: &str) -> bool {
    let holds = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().is_some_and(|bytes| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    };
    events.iter().any(|event| holds(&event.key) || holds(&event.value))
}

/// What the capture or the rewriting must make of [`source_events`].
fn check_masked(left: &[Event]) {
    let schemas = Schemas::new(texts());
    assert!(holds(&source_events(), CITY) && !holds(left, CITY) && !holds(left, "secret"));
    for before in source_events() {
        let after = left.iter().find(|event| (&event.topic, event.offset) == (&before.topic, before.offset)).unwrap();
        let (before, after) = (before.value.unwrap(), after.value.as_ref().unwrap());
        let (mut was, is) = (schemas.decode_value(&before).unwrap(), schemas.decode_value(after).unwrap());
        match is {
            _ if was.pointer("/address/city").is_some() => {
                let token = is["address"]["city"].as_str().unwrap();
                assert!(token.starts_with("tok_"), "{is}");
                was["address"]["city"] = token.into();
            }
            _ if was.get("orderId").is_some() => {
                assert!(after.ends_with(b"\xa2\x06\x01x"), "an unknown field is gone");
                was["orderId"] = "[redacted]".into();
            }
            _ if was.get("note").is_some() => assert_eq!(after[5..], *br#"{ "note" : "[redacted]" , "n":1 }"#),
            // No rule names anything of it.
            _ => assert_eq!(before, *after),
        }
        if was.get("note").is_none() {
            assert_eq!(was, is);
        }
    }
}

#[test]
fn fields_of_values_that_schemas_describe_are_masked_and_all_the_rest_keeps_its_bytes() {
    check_masked(&masked(&source_events(), RULES).unwrap().0);
}

#[test]
fn what_does_not_fit_its_schema_is_an_error_at_the_event_and_nothing_is_kept() {
    for (rule, wanted) in [
        ("value = ['$.id']\nmethod = 'token'", "a long"),
        ("value = ['$.address.country']\nmethod = 'redact'", "a symbol of the enum"),
        ("value = ['$..city', '$.id']\nmethod = 'drop'", "a field that is always there"),
    ] {
        let refused = masked(&source_events(), &format!("[[rule]]\ntopics = ['customers']\n{rule}")).unwrap_err();
        let RewriteError::Mask(MaskError::Unfit { topic, offset, part, path, wanted: found, .. }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!((topic.as_str(), *offset, *part), ("customers", 0, "value"));
        assert!(rule.contains(path.as_str()) && found.contains(wanted), "{refused}");
        assert!(!refused.to_string().contains(CITY), "{refused}");
    }
    // As a whole it can be masked whatever its schema wants, as can a number by a number.
    let (left, _) = masked(&source_events(), "[[rule]]\nvalue = ['$']\nmethod = 'redact'").unwrap();
    assert!(
        left.iter().filter(|event| event.topic != "notes").all(|event| event.value.as_deref() == Some(b"[redacted]"))
    );
    let rule = "[[rule]]\ntopics = ['customers']\nvalue = ['$.id']\nmethod = 'token'\nform = 'number'";
    let (left, _) = masked(&source_events(), rule).unwrap();
    let ids = left.iter().filter(|event| event.topic == "customers");
    let id = |event: &Event| Schemas::new(texts()).decode_value(event.value.as_ref().unwrap()).unwrap()["id"].as_i64();
    assert!(ids.map(id).all(|id| id.unwrap() >= 1_000_000_000_000_000));
}

#[test]
fn a_key_has_one_token_by_whatever_schema_it_is_written() {
    let avro = |id, schema: &str| SchemaText {
        id,
        kind: SchemaKind::Avro,
        schema: schema.to_owned(),
        references: vec![],
        subjects: vec![],
    };
    let schemas = Schemas::new([avro(11, "\"string\""), avro(12, "[\"null\",\"string\"]"), avro(13, "\"long\"")]);
    let rules = "[[rule]]\nkey = true\nvalue = ['$', '$.who']\nmethod = 'token'\n";
    let dates = "[[rule]]\ntopics = ['d']\nvalue = ['$']\nmethod = 'shift'\nby = 'key'";
    let mut masker = Masker::new(Some(policy(&format!("{dates}\n{rules}"))), Detection::Off);
    masker.know(schemas.clone());
    let mut left = |topic: &str, key: &[u8], value: &[u8]| {
        let parts = Parts { topic, partition: 0, offset: 0, key: Some(key), value: Some(value) };
        let kept = masker.mask(parts, []).unwrap();
        (kept.key.unwrap().into_owned(), kept.value.unwrap().into_owned())
    };
    let said = |bytes: &[u8]| match schemas.decode_value(bytes) {
        Ok(value) => value.as_str().unwrap().to_owned(),
        Err(_) => String::from_utf8(bytes.to_vec()).unwrap(),
    };
    let token = said(&left("t", b"c-1", b"").0);
    assert!(token.starts_with("tok_"), "{token}");
    let spellings = [
        framed(11, b"\x06c-1"),
        framed(12, b"\x02\x06c-1"),
        framed(99, b"\"c-1\""),
        framed(98, b"\"\\u0063-1\""),
        b"\"c-1\"".to_vec(),
    ];
    for spelling in &spellings {
        let (key, value) = left("t", spelling, spelling);
        for masked in [key, value] {
            assert_eq!(masked.starts_with(b"\0"), spelling.starts_with(b"\0"), "{masked:?}");
            assert!(!masked.starts_with(b"\0") || masked[..5] == spelling[..5]);
            let of_json = String::from_utf8_lossy(&masked[if masked[0] == 0 { 5 } else { 0 }..]).replace('"', "");
            let shown = if schemas.kind(&masked).is_some() { said(&masked) } else { of_json };
            assert_eq!(shown, token, "{spelling:?}");
        }
        // One entity, too.
        assert_eq!(left("d", spelling, b"\"2013-01-05\"").1, left("d", b"c-1", b"\"2013-01-05\"").1);
    }
    // A token of text has no room in a number: it stands bare, and is that of the number anywhere else.
    assert_eq!(left("t", &framed(13, b"\x0e"), b"").0, left("t", b"7", b"").0);
    // Eight bytes that begin like a frame are a number, of which nothing may stay.
    assert!(left("t", b"\0\0\0\0\x01\"a\"", b"").0.starts_with(b"tok_"));
}

#[test]
fn what_refers_to_a_schema_that_nobody_has_is_never_kept_where_a_rule_names_a_field() {
    let mut masker = Masker::new(Some(policy(&format!("otherwise = 'keep'\n{RULES}"))), Detection::Off);
    masker.know(Schemas::new(texts()));
    let cut = customer(1, 5, Some(CITY));
    for (bytes, kept) in [
        (customer(0, 5, Some(CITY)), false),
        (framed(99, b"Nowherehausen"), false),
        (cut[..cut.len() - 3].to_vec(), false),
        (b"Nowherehausen".to_vec(), true),
    ] {
        let parts = Parts { topic: "customers", partition: 0, offset: 0, key: None, value: Some(&bytes) };
        let left = masker.mask(parts, []).unwrap().value.unwrap().into_owned();
        assert_eq!(left.windows(CITY.len()).any(|window| window == CITY.as_bytes()), kept);
    }
}

#[test]
fn what_looks_personal_is_found_by_its_path_in_what_a_schema_describes() {
    let source = [
        event("customers", 0, b"c", customer(1, 5, Some("ann.smith@example.org"))),
        event("orders", 0, b"o", order("ann.smith@example.org")),
    ];
    let (_, seen) = masked(&source, "[[rule]]\nvalue = ['$.other']\nmethod = 'redact'").unwrap();
    let places: Vec<(&str, &str)> = seen.iter().map(|seen| (seen.topic.as_str(), seen.path.as_str())).collect();
    assert_eq!(places, [("customers", "$.address.city"), ("orders", "$.orderId")]);
}

fn captured(registry: &Served, folder: &Path, rules: &str) -> (Result<CaptureReport, CaptureError>, PathBuf) {
    let masked = |settings: &mut CaptureSettings| settings.mask = Some(policy(rules));
    captured_of(&source_events(), registry, folder, masked)
}

fn captured_of(
    source: &[Event],
    registry: &Served,
    folder: &Path,
    change: impl FnOnce(&mut CaptureSettings),
) -> (Result<CaptureReport, CaptureError>, PathBuf) {
    let topics: BTreeSet<&str> = source.iter().map(|event| event.topic.as_str()).collect();
    let source = recorded(source, &folder.join("source"));
    let broker = Broker::start_for(&source).unwrap();
    fill(broker.brokers(), &source, &mut |_| {}).unwrap();
    let mut settings = CaptureSettings::new(broker.brokers(), topics);
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    settings.registry = Some(registry.settings());
    change(&mut settings);
    let out = folder.join("out");
    (capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}), out)
}

#[test]
fn a_capture_has_each_schema_before_it_masks_what_that_describes() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    serve_schemas(&served);
    let (report, out) = captured(&served, folder.path(), RULES);
    assert_eq!(report.unwrap().events, source_events().len() as u64);
    let recording = Recording::open(&out).unwrap();
    assert_eq!((recording.verify().unwrap(), recording.manifest().schema_files.len()), (vec![], 3));
    check_masked(&events(&recording));
}

#[test]
fn a_capture_stops_where_a_schema_is_not_to_be_had_whose_values_it_must_mask() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    served.answers("/schemas/types", &json!(["AVRO"]), 1);
    let busy = Mock::given(method("GET")).and(path("/schemas/ids/7")).respond_with(ResponseTemplate::new(503));
    served.mount(busy);
    let (report, out) = captured(
        &served,
        folder.path(),
        "[[rule]]\ntopics = ['customers']\nvalue = ['$.address.city']\nmethod = 'redact'",
    );
    let error = report.unwrap_err();
    let CaptureError::Interrupted { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, CaptureError::Registry(RegistryError::Unreachable { .. })), "{source}");
    let recording = Recording::open(&out).unwrap();
    assert!(!holds(&events(&recording), CITY) && recording.verify().unwrap().is_empty());
}

#[test]
fn a_strict_capture_whose_first_event_is_refused_leaves_nothing_of_the_schemas_it_has_fetched() {
    let personal = customer(0, 5, Some("ann.smith@example.org"));
    let plain = customer(1, 5, None);
    let refuse = |settings: &mut CaptureSettings| settings.detection = Detection::Refuse;
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    // Fetched by the capture that is refused, and again by those that follow.
    serve_customers(&served, 3);

    let refused = [event("customers", 0, b"c", personal.clone()), event("customers", 1, b"c", plain.clone())];
    let (report, out) = captured_of(&refused, &served, folder.path(), refuse);
    let error = report.unwrap_err();
    assert!(matches!(&error, CaptureError::Mask(MaskError::Personal { offset: 0, .. })), "{error:?}");
    assert!(!out.exists());

    // So another capture begins there, as if nothing had been.
    let again = [event("customers", 0, b"c", plain.clone())];
    std::fs::remove_dir_all(folder.path().join("source")).unwrap();
    let (report, taken) = captured_of(&again, &served, folder.path(), refuse);
    assert_eq!((report.unwrap().events, kept_schemas(&taken)), (1, vec![7]));

    // Where the second is refused the first stays, and with it the schema that it refers to.
    let second = [event("customers", 0, b"c", plain), event("customers", 1, b"c", personal)];
    let second_folder = TempDir::new().unwrap();
    let (report, taken) = captured_of(&second, &served, second_folder.path(), refuse);
    let error = report.unwrap_err();
    let CaptureError::Interrupted { events: 1, source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, CaptureError::Mask(MaskError::Personal { offset: 1, .. })), "{source}");
    assert_eq!(kept_schemas(&taken), [7]);
    assert!(!holds(&events(&Recording::open(&taken).unwrap()), "ann.smith"));
}

/// Serves the schema of customers, which is to be fetched so many times.
fn serve_customers(served: &Served, times: u64) {
    let reference = json!([{"name": "shop.common.Address", "subject": "address", "version": 2}]);
    served.answers("/schemas/types", &json!(["AVRO"]), times);
    served.answers("/schemas/ids/7", &json!({"schema": CUSTOMER, "references": reference}), times);
    served.answers("/schemas/ids/7/versions", &json!([{"subject": "customers-value", "version": 3}]), times);
    served.answers("/subjects/address/versions/2", &json!({"schema": ADDRESS, "id": 5, "version": 2}), times);
}

/// Ids of the schemas that a recording holds and that all of its files vouch for.
fn kept_schemas(out: &Path) -> Vec<i32> {
    let recording = Recording::open(out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let kept: Vec<i32> = recording.manifest().schema_files.iter().map(|schema| schema.id).collect();
    assert_eq!(std::fs::read_dir(out.join("schemas")).unwrap().count(), kept.len());
    kept
}
