//! A drive's schema registry as Confluent's own client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rehearsal::clock::Stop;
use rehearsal::compare::Verdict;
use rehearsal::outcome::{CauseBy, Outcome};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source};
use rehearsal::scenario::{Destination, Scenario, check, run};
use rehearsal::schema::{Part, SchemaKind, SchemaText, Schemas, SubjectVersion};
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

/// Registers `schema` for what it writes, and writes a payout for each order: its id, who gets it, and what `extra` holds.
fn registering(schema: &str, extra: &str) -> String {
    format!(
        "import base64, json, sys, urllib.request\n\
         body = json.dumps({{'schema': json.dumps({schema})}}).encode()\n\
         asked = urllib.request.Request(sys.argv[1] + '/subjects/payouts-value/versions', body, {{'content-type': 'application/json'}})\n\
         number = json.load(urllib.request.urlopen(asked))['id']\n\
         text = lambda said: bytes([len(said) * 2]) + said.encode()\n\
         for line in sys.stdin:\n\
         \x20   event = json.loads(line)\n\
         \x20   order = json.loads(event['value'])['order'] if isinstance(event['value'], str) else event['value']['order']\n\
         \x20   value = b'\\0' + number.to_bytes(4, 'big') + text('pay-' + order) + text(order) + text('ann@example.org') + bytes([{extra}])\n\
         \x20   print(json.dumps({{'topic': 'payouts', 'value_base64': base64.b64encode(value).decode()}}), flush=True)\n"
    )
}

const PAYOUT: &str = "{'type':'record','name':'Payout','fields':[{'name':'id','type':'string'},{'name':'order','type':'string'},\
                      {'name':'mail','type':'string'},{'name':'amount','type':'long'}]}";

#[test]
fn masks_and_lineage_read_what_a_build_writes_by_the_schema_that_it_registered() {
    let desk = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(desk.path().join("orders"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    for offset in 0..40 {
        let value = Some(format!("{{\"order\":\"o{offset}\"}}").into_bytes());
        batch.push_event(&Event { topic: "orders".into(), offset, value, ..Event::default() });
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    let policy = "[[rule]]\ntopics = ['payouts']\nvalue = ['$.mail']\nmethod = 'redact'\n";
    fs::write(desk.path().join("mask.toml"), policy).unwrap();
    let documented = PAYOUT.replace("'name':'Payout'", "'name':'Payout','doc':'what is paid out'");
    let dearer = PAYOUT.replace("}]}", "},{'name':'fee','type':'long','default':0}]}");
    let fields = |bytes: &[u8], schemas: &[SchemaText]| {
        Schemas::new(schemas.to_vec()).decode_value(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
    };
    for (name, old, new, verdict, paths) in [
        ("a comment more", registering(PAYOUT, "8"), registering(&documented, "8"), Verdict::Agree, vec![]),
        ("another amount", registering(PAYOUT, "8"), registering(&documented, "10"), Verdict::Differ, vec!["$.amount"]),
        ("a field more", registering(PAYOUT, "8"), registering(&dearer, "8, 2"), Verdict::Differ, vec!["$.fee"]),
    ] {
        fs::write(desk.path().join("old.py"), old).unwrap();
        fs::write(desk.path().join("new.py"), new).unwrap();
        let text = "recording = 'orders'\n[old]\ncommand = ['python3', 'old.py', '{registry}']\n[new]\ncommand = ['python3', 'new.py', \
                    '{registry}']\n[drive]\noutputs = ['payouts']\nsettle = '50ms'\nrepeat-old = 3\n[pace]\nmode = 'unpaced'\n[mask]\npolicy = 'mask.toml'\n\
                    [lineage]\nevent = '$.order'\noutput = '$.order'\n[compare]\nidentity = ['$.id']\n";
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        let checked = check(Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap(), None).unwrap();
        let to = Destination::Folder { path: desk.path().join("run"), force: true };
        let report = run(&checked, &to, &Silent, &Stop::new()).unwrap().report;
        let differences: Vec<&str> = report.patterns.iter().filter_map(|one| one.path.as_deref()).collect();
        assert_eq!((report.verdict, differences), (verdict, paths), "{name}: {:?}", report.reasons);
        let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
        let schemas = &outcome.ending().registry.as_ref().unwrap().schemas;
        let mut causes = Vec::new();
        for batch in outcome.outputs().unwrap().map(Result::unwrap) {
            for row in (0..batch.len()).map(|row| batch.get(row).to_output()) {
                // No more is taken away than the rule says, and that is.
                let value = fields(row.value.as_deref().unwrap(), schemas);
                assert_eq!(value["mail"], "[redacted]", "{name}");
                assert_eq!(value["id"].as_str().unwrap()[4..], *value["order"].as_str().unwrap(), "{name}");
                let cause = row.cause.unwrap();
                causes.push((cause.by, format!("o{}", cause.offset) == value["order"].as_str().unwrap()));
            }
        }
        assert_eq!(causes, [(CauseBy::Lineage, true); 40], "{name}");
    }
}
