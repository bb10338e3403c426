//! A drive's schema registry as Confluent's own client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rehearsal::clock::Stop;
use rehearsal::outcome::Outcome;
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source};
use rehearsal::scenario::{Destination, Scenario, check, run};
use rehearsal::schema::{Part, SchemaKind, SchemaText, SubjectVersion};
use serde_json::{Value as Json, json};

use super::run::Silent;

/// What the script exits with where Python or its packages cannot be had.
const MISSING: i32 = 75;

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#;

/// Interpreter with Confluent's client. None where it cannot be had, which is said aloud, and fails where `REHEARSAL_PYTHON` is
/// `required`.
fn python(tests: &Path) -> Option<String> {
    let made = Command::new(tests.join("python")).arg("registry.txt").output().unwrap();
    let complaint = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    if made.status.code() == Some(0) {
        return Some(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    }
    assert_eq!(made.status.code(), Some(MISSING), "Python cannot be prepared: {complaint}");
    let required = std::env::var("REHEARSAL_PYTHON").is_ok_and(|value| value == "required");
    assert!(!required, "Python cannot be had: {complaint}");
    // Past what captures the output of tests: what is left out must be seen.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "LEFT OUT: Confluent's client of registries: {complaint}").unwrap();
    None
}

#[test]
fn confluents_client_finds_what_was_recorded_and_registers_above_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers");
    let Some(python) = python(&tests) else { return };
    let desk = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(desk.path().join("orders"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    batch.push_event(&Event { topic: "orders".into(), value: Some(b"\0\0\0\0\x07\x02a".to_vec()), ..Event::default() });
    writer.write(&batch.finish()).unwrap();
    let subjects = vec![SubjectVersion { subject: "orders-value".into(), version: 3 }];
    let (kind, schema) = (SchemaKind::Avro, ORDER.to_owned());
    writer.keep_schema(&SchemaText { id: 7, kind, schema, references: vec![], subjects }).unwrap();
    writer.note_schema("orders", Part::Value, 7);
    writer.seal().unwrap();
    let command = json!([python, tests.join("registry.py"), "{registry}"]);
    let text = format!(
        "recording = 'orders'\n[old]\ncommand = {command}\n[new]\ncommand = {command}\n[drive]\nready-timeout = '5m'\n[pace]\nmode = 'unpaced'\n"
    );
    fs::write(desk.path().join("scenario.toml"), text).unwrap();
    let checked = check(Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap(), None).unwrap();
    let made =
        run(&checked, &Destination::Folder { path: desk.path().join("run"), force: false }, &Silent, &Stop::new());
    let report = made.unwrap().report;
    let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
    let mut told = BTreeMap::new();
    for batch in outcome.outputs().unwrap().map(Result::unwrap) {
        for row in 0..batch.len() {
            let row = batch.get(row);
            let value = row.value.map_or(Json::Null, |value| serde_json::from_slice(value).unwrap());
            told.insert(String::from_utf8(row.key.unwrap().to_vec()).unwrap(), value);
        }
    }
    let next = ORDER.replace("}]}", r#"},{"name":"n","type":"int","default":0}]}"#);
    let log = fs::read_to_string(desk.path().join("run/outcomes/new/stderr.log")).unwrap();
    // Ids by what schemas say, above the recorded ones.
    let ids = ["registered", "protobuf", "referring", "accepted then"].map(|name| told[name].as_i64().unwrap());
    let [registered, protobuf, referring, accepted] = ids;
    assert!(BTreeSet::from(ids).len() == 4 && ids.iter().all(|id| *id > 7), "{ids:?}");
    assert_eq!(
        json!(told),
        json!({
            "recorded": ORDER,
            "latest": ["orders-value", 3, 7, "AVRO", ORDER],
            "subjects": ["orders-value"],
            "registered": registered,
            "again": registered,
            "looked up": ["orders-value", 4, registered, "AVRO", next],
            "versions": [3, 4],
            "compatible": true,
            "incompatible": false,
            "refused": [409, 409],
            "protobuf": protobuf,
            "referring": referring,
            "no subject": [404, 40_401],
            "no id": [404, 40_403],
            "no version": [404, 40_402],
            "level": null,
            "set": {"compatibility": "NONE"},
            "accepted then": accepted,
            "deleted": [1],
        }),
        "{log}"
    );
    let kept = |build: &str| {
        let outcome = Outcome::open(desk.path().join("run/outcomes").join(build)).unwrap();
        let schemas = &outcome.ending().registry.as_ref().unwrap().schemas;
        schemas.iter().map(|text| i64::from(text.id)).collect::<BTreeSet<_>>()
    };
    assert_eq!((kept("old"), kept("new")), (BTreeSet::from(ids), BTreeSet::from(ids)));
    let registry = report.registry.unwrap();
    assert_eq!(registry.says, ["old and new register the same 6 schemas"]);
    assert_eq!(registry.drives["new"][0].compatibility.as_deref(), Some("full"));
}
