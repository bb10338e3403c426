//! Schemas of a registry: fetched once while capturing, kept, and used offline by everything that looks into values.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use assert_cmd::Command;
use native_tls::{Identity, TlsAcceptor};
use rehearsal::capture::{
    CaptureError, CaptureReport, CaptureSettings, Registry, RegistryError, RegistrySettings, Start, TopicChoice,
    capture,
};
use rehearsal::clock::{SimulatedClock, Stop, SystemClock};
use rehearsal::compare::{Change, CompareSettings, Drive, Kind, Remembered, compare_drives};
use rehearsal::mask::{Detection, Masker, rewrite};
use rehearsal::outcome::Output;
use rehearsal::plan::{PlanSettings, Seed, plan};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Recording, RecordingWriter, Role, SchemaSeen, SliceSettings, Source,
    TimestampType, slice,
};
use rehearsal::samples::{Broker, fill};
use rehearsal::schema::{Part, SchemaKind, SchemaText, Schemas, SubjectVersion};
use rehearsal::spill::SpillSpace;
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::{any, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::mask::policy;

pub(super) const ADDRESS: &str = include_str!("../schemas/address.avsc");
pub(super) const ORDER_PROTO: &str = include_str!("../schemas/order.proto");
pub(super) const ADDRESS_PROTO: &str = include_str!("../schemas/address.proto");

/// A customer who refers to an address in a schema of its own.
pub(super) const CUSTOMER: &str = r#"{"type":"record","name":"Customer","namespace":"shop.orders","fields":[
    {"name":"id","type":"long"},{"name":"balance","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"address","type":["null","shop.common.Address"],"default":null}]}"#;

/// A registry in this process, on threads of its own.
pub(super) struct Served {
    runtime: tokio::runtime::Runtime,
    server: MockServer,
}

impl Served {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(MockServer::start());
        let unknown = json!({"error_code": 404, "message": "HTTP 404 Not Found"});
        let other =
            Mock::given(any()).respond_with(ResponseTemplate::new(404).set_body_json(unknown)).with_priority(255);
        runtime.block_on(other.mount(&server));
        Self { runtime, server }
    }

    pub(super) fn mount(&self, mock: Mock) {
        self.runtime.block_on(mock.mount(&self.server));
    }

    /// Answers `at` with `answer`, to be asked for exactly `times` times.
    pub(super) fn answers(&self, at: &str, answer: &Value, times: u64) {
        let template = ResponseTemplate::new(200).set_body_json(answer);
        self.mount(Mock::given(method("GET")).and(path(at)).respond_with(template).expect(times));
    }

    pub(super) fn settings(&self) -> RegistrySettings {
        let mut settings = RegistrySettings::new(&self.server.uri()).unwrap();
        settings.timeout = Duration::from_secs(5);
        settings
    }

    fn verify(&self) {
        self.runtime.block_on(self.server.verify());
    }
}

pub(super) fn framed(id: i32, payload: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), payload].concat()
}

pub(super) fn customer(id: i64, cents: i64, city: Option<&str>) -> Vec<u8> {
    let mut schemata = apache_avro::Schema::parse_list([ADDRESS, CUSTOMER]).unwrap();
    let (customer, address) = (schemata.pop().unwrap(), schemata.pop().unwrap());
    let city = match city {
        None => Avro::Union(0, Box::new(Avro::Null)),
        Some(city) => Avro::Union(
            1,
            Box::new(Avro::Record(vec![
                ("street".into(), Avro::String("Main 1".into())),
                ("city".into(), Avro::String(city.into())),
                ("country".into(), Avro::Enum(0, "DE".into())),
                ("geo".into(), Avro::Union(0, Box::new(Avro::Null))),
            ])),
        ),
    };
    let value = Avro::Record(vec![
        ("id".into(), Avro::Long(id)),
        ("balance".into(), Avro::Decimal(apache_avro::Decimal::from(cents.to_be_bytes()))),
        ("address".into(), city),
    ]);
    let writer = GenericDatumWriter::builder(&customer).schemata(vec![&address, &customer]).unwrap().build().unwrap();
    framed(7, &writer.write_value_to_vec(value).unwrap())
}

pub(super) fn event(topic: &str, offset: i64, key: &[u8], value: Vec<u8>) -> Event {
    Event {
        topic: topic.to_owned(),
        offset,
        timestamp_ms: Some(1_357_344_000_000 + offset),
        timestamp_type: TimestampType::Create,
        key: Some(key.to_vec()),
        value: Some(value),
        ..Event::default()
    }
}

/// Customers in Avro, orders in Protobuf, notes in JSON, and bytes that look framed and are not.
fn events() -> Vec<Event> {
    let mut events: Vec<Event> = (0..20)
        .map(|n| event("customers", n, b"c", customer(n, n * 100 + 5, (n % 2 == 0).then_some("Berlin"))))
        .collect();
    // The message that is meant, in the short form, then `order_id` and a field that the schema does not know.
    events.extend((0..5).map(|n| event("orders", n, &framed(9, b"\"k\""), framed(8, b"\x00\x0a\x02o1\xa2\x06\x01x"))));
    events.extend((0..3).map(|n| event("notes", n, b"n", framed(9, br#"{ "note" : "hi" }"#))));
    events.push(event("notes", 3, b"n", framed(99, b"no schema")));
    events.push(event("notes", 4, b"n", 42_i64.to_be_bytes().to_vec()));
    events
}

fn recording(path: &Path) -> Recording {
    let mut writer = RecordingWriter::create(path, Source::default()).unwrap();
    let mut builder = EventBatchBuilder::new();
    for event in events() {
        builder.push_event(&event);
    }
    writer.write(&builder.finish()).unwrap();
    writer.seal().unwrap();
    Recording::open(path).unwrap()
}

fn serve_all(served: &Served) {
    serve_schemas(served);
    served.mount(
        Mock::given(method("GET"))
            .and(path("/schemas/ids/99"))
            .respond_with(ResponseTemplate::new(404).set_body_json(json!({"error_code": 40403})))
            .expect(1),
    );
}

pub(super) fn serve_schemas(served: &Served) {
    let reference = json!([{"name": "shop.common.Address", "subject": "addresses/value", "version": 2}]);
    served.answers("/schemas/types", &json!(["AVRO", "PROTOBUF", "JSON"]), 1);
    served.answers("/schemas/ids/7", &json!({"schema": CUSTOMER, "references": reference}), 1);
    served.answers("/schemas/ids/7/versions", &json!([{"subject": "customers-value", "version": 3}]), 1);
    served.answers("/subjects/addresses%2Fvalue/versions/2", &json!({"schema": ADDRESS, "id": 5, "version": 2}), 1);
    let imports = json!([{"name": "shop/common/address.proto", "subject": "address", "version": 1}]);
    served.answers(
        "/schemas/ids/8",
        &json!({"schema": ORDER_PROTO, "schemaType": "PROTOBUF", "references": imports}),
        1,
    );
    served.answers("/schemas/ids/8/versions", &json!([{"subject": "orders-value", "version": 1}]), 1);
    served.answers("/subjects/address/versions/1", &json!({"schema": ADDRESS_PROTO, "schemaType": "PROTOBUF"}), 1);
    served.answers("/schemas/ids/9", &json!({"schema": "{\"type\":\"object\"}", "schemaType": "JSON"}), 1);
    served.answers("/schemas/ids/9/versions", &json!([{"subject": "notes-value", "version": 1}]), 1);
}

fn captured(
    folder: &Path,
    change: impl FnOnce(&mut CaptureSettings),
) -> Result<(CaptureReport, Recording), CaptureError> {
    let source = recording(&folder.join("source"));
    let broker = Broker::start_for(&source).unwrap();
    fill(broker.brokers(), &source, &mut |_| {}).unwrap();
    let mut settings = CaptureSettings::new(broker.brokers(), ["customers", "orders", "notes"]);
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    change(&mut settings);
    let out = folder.join("out");
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {})?;
    Ok((report, Recording::open(out).unwrap()))
}

#[test]
fn each_schema_is_fetched_once_kept_and_needed_from_nowhere_else_afterwards() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    serve_all(&served);
    let (report, recording) = captured(folder.path(), |settings| settings.registry = Some(served.settings())).unwrap();
    served.verify();
    drop(served);
    assert_eq!(report.events, events().len() as u64);
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(
        report.warnings[0].starts_with("What schema 99 frames in values of notes stays bytes: the registry http://")
    );
    let seen = |topic: &str, part: &str, id| SchemaSeen { topic: topic.to_owned(), part: part.to_owned(), id };
    let wanted = [
        seen("customers", "value", 7),
        seen("notes", "value", 9),
        seen("orders", "key", 9),
        seen("orders", "value", 8),
    ];
    assert_eq!(recording.manifest().schemas, wanted);
    let files: Vec<&str> = recording.manifest().schema_files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, ["schemas/7.json", "schemas/8.json", "schemas/9.json"]);
    assert_eq!(recording.verify().unwrap(), []);
    let schemas = recording.schemas().unwrap();
    assert_eq!(schemas.problems().count(), 0);
    let kinds: Vec<SchemaKind> = schemas.texts().map(|text| text.kind).collect();
    assert_eq!(kinds, [SchemaKind::Avro, SchemaKind::Protobuf, SchemaKind::Json]);
    assert_eq!(
        String::from_utf8(schemas.decode(&customer(4, 405, Some("Berlin"))).unwrap()).unwrap(),
        r#"{"id":4,"balance":4.05,"address":{"street":"Main 1","city":"Berlin","country":"DE","geo":null}}"#
    );
    prints_what_values_say(recording.path());
    selects_by_what_values_say(&recording);
    compares_what_values_say(&schemas);
    a_slice_keeps_the_schemas_of_its_topics(&recording, folder.path());
    damage_is_found_and_a_lost_manifest_finds_them_again(recording.path());
}

#[test]
fn schemas_met_ahead_of_a_cut_outlast_it_and_are_not_fetched_again() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    serve_schemas(&served);
    let topics = |topics: &[&str]| topics.iter().map(|name| TopicChoice::named(*name, Role::Input)).collect();
    let source = recording(&folder.path().join("source"));
    let broker = Broker::start_for(&source).unwrap();
    fill(broker.brokers(), &source, &mut |_| {}).unwrap();
    let out = folder.path().join("out");
    let captured = |registry: &Served, names: &[&str]| {
        let mut settings = CaptureSettings::new(broker.brokers(), [""; 0]);
        settings.properties.set("fetch.wait.max.ms", "10").unwrap();
        (settings.topics, settings.registry) = (topics(names), Some(registry.settings()));
        capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap()
    };
    captured(&served, &["customers", "orders"]);
    let before = Recording::open(&out).unwrap().manifest().clone();
    std::fs::remove_file(out.join("manifest.json")).unwrap();
    // Whoever is asked now knows none of them.
    let again = Served::new();
    again.answers("/schemas/types", &json!(["AVRO"]), 1);
    let report = captured(&again, &["customers", "orders", "notes"]);
    assert_eq!((report.events, report.resumed_at), (events().len() as u64, Some(25)));
    let recording = Recording::open(&out).unwrap();
    let manifest = recording.manifest();
    assert_eq!(manifest.schema_files, before.schema_files);
    assert!(before.schemas.len() == 3 && before.schemas.iter().all(|seen| manifest.schemas.contains(seen)));
    let notes: Vec<i32> = manifest.schemas.iter().filter(|seen| seen.topic == "notes").map(|seen| seen.id).collect();
    assert_eq!((notes, report.warnings.len()), (vec![9], 1), "{:?}", report.warnings);
    assert_eq!(recording.verify().unwrap(), []);
    // Whoever goes on without a registry is told what that means.
    std::fs::remove_file(out.join("manifest.json")).unwrap();
    let mut settings = CaptureSettings::new(broker.brokers(), [""; 0]);
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    settings.topics = topics(&["customers", "orders", "notes"]);
    let report = capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("begun with --registry")), "{:?}", report.notes);
}

/// The only event of the schema stands ahead of the window, and is masked behind the schema's id.
#[test]
fn the_schemas_of_a_tables_state_are_kept_and_masked_events_are_still_read_by_them() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    served.answers("/schemas/types", &json!(["JSON"]), 1);
    served.answers("/schemas/ids/9", &json!({"schema": "{\"type\":\"object\"}", "schemaType": "JSON"}), 1);
    served.answers("/schemas/ids/9/versions", &json!([{"subject": "notes-value", "version": 1}]), 1);
    let (report, recording) = captured(folder.path(), |settings| {
        settings.topics = TopicChoice::parse("notes", Role::Table).unwrap();
        settings.from = Start::Offset(3);
        settings.registry = Some(served.settings());
        settings.mask = Some(policy("[[rule]]\nvalue = ['$.note']\nmethod = 'redact'\n"));
    })
    .unwrap();
    served.verify();
    assert_eq!((report.events, report.partitions[0].state), (3, 1));
    let masked = framed(9, br#"{ "note" : "[redacted]" }"#);
    let out = folder.path().join("masked-again");
    rewrite(&recording, &mut Masker::new(None, Detection::Off), &out, &mut |_| true).unwrap();
    for recording in [recording, Recording::open(out).unwrap()] {
        assert_eq!(recording.verify().unwrap(), []);
        assert_eq!(recording.manifest().schema_files.len(), 1);
        let first = recording.batches(Columns::ALL).next().unwrap().unwrap();
        let event = first.iter().next().unwrap();
        assert_eq!((event.offset, event.value), (2, Some(masked.as_slice())));
        assert_eq!(recording.schemas().unwrap().decode(&masked).unwrap(), masked[5..]);
    }
}

/// `inspect --events` shows what values say, and `--raw` what they are.
fn prints_what_values_say(path: &Path) {
    let run = |more: &[&str]| {
        let path = path.to_str().unwrap();
        let output = Command::cargo_bin("rehearsal").unwrap().args(["inspect", path, "--events"]).args(more).output();
        output.unwrap().stdout
    };
    let lines: Vec<Value> =
        run(&[]).split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let of = |topic: &str, offset: i64| {
        lines.iter().find(|line| line["topic"] == topic && line["offset"] == offset).unwrap_or(&Value::Null)
    };
    assert_eq!(of("customers", 2)["payload"]["address"]["city"], "Berlin");
    assert_eq!(of("customers", 2)["value_schema_id"], 7);
    assert_eq!(of("orders", 0)["payload"]["orderId"], "o1");
    assert_eq!(of("orders", 0)["payload"]["@unknown"], json!({"100": ["ogYBeA=="]}));
    assert_eq!((&of("orders", 0)["key"], &of("orders", 0)["key_schema_id"]), (&json!("k"), &json!(9)));
    assert_eq!(of("notes", 0)["payload"], json!({"note": "hi"}));
    // Its id is not known, so it is what it is.
    assert_eq!(of("notes", 3)["payload"], "\u{0}\u{0}\u{0}\u{0}cno schema");
    let raw = run(&["--raw"]);
    assert!(String::from_utf8_lossy(&raw).contains(r#""payload":"\u0000\u0000\u0000\u0000\t{ \"note\" : \"hi\" }""#));
}

/// A filter of a fault sees what values say.
fn selects_by_what_values_say(recording: &Recording) {
    let mut settings = PlanSettings::default();
    let fault = "kind = 'duplicate'\nprobability = 1.0\nafter = '1ms'\nwhere = { topics = ['customers'], value = \"@.address.city == 'Berlin' && @.balance > 10\" }";
    settings.faults.push(toml::from_str(fault).unwrap());
    settings.select.topics = Some(vec!["customers".to_owned()]);
    let plan = plan(recording, &settings, Seed(1), Arc::new(SpillSpace::system())).unwrap();
    let repeated = plan.deliveries().filter(|delivery| delivery.as_ref().unwrap().faults != 0).count();
    // Every second of twenty is from Berlin; of 0.05, 2.05, … the first five are not above 10.
    assert_eq!(repeated, 5);
}

fn output(value: Vec<u8>) -> Output {
    Output { topic: "customers".to_owned(), key: Some(b"c".to_vec()), value: Some(value), ..Output::default() }
}

/// Outputs differ by path, whatever bytes say so, and their frames are metadata.
fn compares_what_values_say(schemas: &Schemas) {
    let found = |toml: &str, old: Vec<u8>, new: Vec<u8>| {
        let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap().with_schemas(schemas.clone());
        let (old, new) = (Remembered::finished(vec![output(old)]), Remembered::finished(vec![output(new)]));
        let comparison =
            compare_drives(&[&old as &dyn Drive], &[&new as &dyn Drive], &rules, None, &SpillSpace::system()).unwrap();
        let patterns = comparison.patterns.iter();
        let found: Vec<_> = patterns.map(|pattern| (pattern.kind, pattern.path.clone(), pattern.change)).collect();
        found
    };
    let path = |path: &str| Some(path.to_owned());
    let berlin = || customer(1, 100, Some("Berlin"));
    assert_eq!(found("", berlin(), berlin()), []);
    let changed = found("", berlin(), customer(1, 100, Some("Bern")));
    assert_eq!(changed, [(Kind::Changed, path("$.address.city"), Some(Change::Value))]);
    assert_eq!(found("ignore = ['$.address.city']", berlin(), customer(1, 100, Some("Bern"))), []);
    let tolerance = "tolerance = [{ path = '$.balance', absolute = 0.05 }]";
    assert_eq!(found(tolerance, berlin(), customer(1, 104, Some("Berlin"))), []);
    assert_eq!(found(tolerance, berlin(), customer(1, 106, Some("Berlin"))).len(), 1);
    // Fields of Protobuf in another order say the same; a field that the schema does not know is seen.
    let order = |payload: &[u8]| framed(8, &[&[0][..], payload].concat());
    let other_bytes = found("", order(b"\x0a\x01a\xc0\x01\x01"), order(b"\xc0\x01\x01\x0a\x01a"));
    assert_eq!(other_bytes, [(Kind::Changed, None, Some(Change::Encoding))]);
    let unknown = found("", order(b"\x0a\x01a\xa2\x06\x01x"), order(b"\x0a\x01a\xa2\x06\x01y"));
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].1.as_deref().is_some_and(|path| path.contains("@unknown")), "{unknown:?}");
    // The same message by the long form of its index.
    let long = found("", order(b"\x0a\x01a"), framed(8, b"\x02\x00\x0a\x01a"));
    assert_eq!(long, [(Kind::Metadata, None, Some(Change::Encoding))]);
}

fn a_slice_keeps_the_schemas_of_its_topics(recording: &Recording, folder: &Path) {
    let settings = SliceSettings { topics: vec!["orders".to_owned()], ..SliceSettings::default() };
    let out = folder.join("orders");
    slice(recording, &settings, &out, &mut |_| true).unwrap();
    let sliced = Recording::open(&out).unwrap();
    assert_eq!(sliced.verify().unwrap(), []);
    let ids: Vec<i32> = sliced.schemas().unwrap().texts().map(|text| text.id).collect();
    assert_eq!(ids, [8, 9]);
    assert!(sliced.manifest().schemas.iter().all(|seen| seen.topic == "orders"));
}

fn damage_is_found_and_a_lost_manifest_finds_them_again(path: &Path) {
    let before = Recording::open(path).unwrap().manifest().clone();
    std::fs::remove_file(path.join("manifest.json")).unwrap();
    let rebuilt = Recording::rebuild(path).unwrap().manifest;
    assert_eq!(rebuilt.schema_files, before.schema_files);
    let file = path.join("schemas/7.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("Customer", "Customers")).unwrap();
    let recording = Recording::open(path).unwrap();
    for problems in [recording.verify().unwrap(), recording.verify_hashes().unwrap()] {
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("schemas/7.json: wrong hash"), "{}", problems[0]);
    }
}

#[test]
fn a_registry_that_fails_costs_a_warning_or_where_schemas_are_required_the_capture() {
    let (served, folder) = (Served::new(), TempDir::new().unwrap());
    served.answers("/schemas/types", &json!(["AVRO"]), 2);
    // Three more tries for the first schema, and then nobody asks again; and one try of the second capture.
    let down = ResponseTemplate::new(503);
    served.mount(Mock::given(method("GET")).and(path("/schemas/ids/7")).respond_with(down).expect(5));
    let mut settings = served.settings();
    let (report, recording) = captured(folder.path(), |capture| capture.registry = Some(settings.clone())).unwrap();
    assert_eq!(report.events, events().len() as u64);
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("it answered 503"), "{:?}", report.warnings);
    // What was seen is noted, so that somebody can look for it.
    assert!(recording.manifest().schemas.len() >= 4);
    assert!(recording.schemas().unwrap().is_empty());

    let folder = TempDir::new().unwrap();
    settings.retries = 0;
    let required = captured(folder.path(), |capture| {
        capture.registry = Some(settings);
        capture.require_schemas = true;
    });
    let Err(CaptureError::Interrupted { source, .. }) = required else { panic!("{required:?}") };
    assert!(matches!(*source, CaptureError::Registry(RegistryError::Unreachable { .. })), "{source:?}");
    served.verify();
}

#[test]
fn credentials_are_sent_and_never_shown_and_each_failure_has_its_name() {
    let served = Served::new();
    let of = |at: &str| Mock::given(method("GET")).and(path(at.to_owned()));
    served.mount(
        of("/schemas/ids/1")
            .and(header("authorization", "Basic bWU6aHVudGVyMg=="))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"schema": "\"string\""}))),
    );
    served.mount(of("/schemas/ids/2").respond_with(ResponseTemplate::new(401)));
    served.mount(of("/schemas/ids/3").respond_with(ResponseTemplate::new(200).set_body_string("<html>")));
    served.mount(
        of("/schemas/ids/4")
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"schema": "x", "schemaType": "THRIFT"}))),
    );
    // Busy once, then there.
    served.mount(of("/schemas/ids/5").respond_with(ResponseTemplate::new(429)).up_to_n_times(1));
    served.mount(
        of("/schemas/ids/5").respond_with(ResponseTemplate::new(200).set_body_json(json!({"schema": "\"long\""}))),
    );
    let endless = json!({"schema": "\"long\"", "references": [{"name": "a", "subject": "loop", "version": 1}]});
    served.answers("/schemas/ids/6", &endless, 1);
    served.answers("/subjects/loop/versions/1", &endless, 1);
    served.mount(
        of("/schemas/ids/7").respond_with(ResponseTemplate::new(302).insert_header("location", "http://elsewhere/")),
    );
    let clock = SimulatedClock::new();
    let mut settings = served.settings();
    settings.properties("basic.auth.user.info=me:hunter2").unwrap();
    let registry = Registry::new(settings, &clock).unwrap();
    assert_eq!(registry.schema(1).unwrap().kind, SchemaKind::Avro);
    assert_eq!(registry.schema(5).unwrap().schema, "\"long\"");
    assert_eq!(registry.schema(6).unwrap().references.len(), 1);
    for (id, name) in [(2, "Refused"), (3, "Strange"), (4, "Strange"), (7, "Strange"), (8, "Missing")] {
        let error = registry.schema(id).unwrap_err();
        let (debug, said) = (format!("{error:?}"), error.to_string());
        assert!(debug.starts_with(name), "{id}: {debug}");
        assert!(!said.contains("hunter2") && !debug.contains("hunter2") && !said.contains("bWU6"), "{said}");
    }
    served.verify();
    // Nobody listens there any more.
    let mut gone = RegistrySettings::new("http://127.0.0.1:1").unwrap();
    gone.retries = 1;
    let error = Registry::new(gone, &clock).unwrap().schema(1).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    // And a capture that could not be asked for is refused ahead of its recording.
    let folder = TempDir::new().unwrap();
    let mut nowhere = RegistrySettings::new("http://127.0.0.1:1").unwrap();
    nowhere.retries = 0;
    let refused = captured(folder.path(), |capture| capture.registry = Some(nowhere)).unwrap_err();
    assert!(matches!(refused, CaptureError::Registry(RegistryError::Unreachable { .. })), "{refused:?}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn what_answers_like_no_registry_is_refused_ahead_of_a_recording() {
    let served = Served::new();
    let said = ResponseTemplate::new(404).set_body_string("<html>Not Found</html>");
    served.mount(Mock::given(any()).respond_with(said).up_to_n_times(2).with_priority(1));
    let folder = TempDir::new().unwrap();
    let refused = captured(folder.path(), |capture| capture.registry = Some(served.settings())).unwrap_err();
    assert!(matches!(refused, CaptureError::Registry(RegistryError::Strange { .. })), "{refused:?}");
    assert!(!folder.path().join("out").exists());
    // One that does not know what types of schemas there are is one by its subjects.
    let clock = SimulatedClock::new();
    served.mount(
        Mock::given(path("/schemas/types")).respond_with(ResponseTemplate::new(405)).up_to_n_times(1).with_priority(1),
    );
    served.answers("/subjects", &json!(["notes-value"]), 1);
    Registry::new(served.settings(), &clock).unwrap().check().unwrap();
    // And an old one by how it says no.
    Registry::new(served.settings(), &clock).unwrap().check().unwrap();
    served.verify();
}

/// Answers each of `connections` over TLS, with a certificate that signed itself; those that break off are passed over.
fn serve_over_tls(connections: usize) -> (std::net::SocketAddr, std::thread::JoinHandle<usize>) {
    let (certificate, key) =
        (include_bytes!("../schemas/tls/certificate.pem"), include_bytes!("../schemas/tls/key.pem"));
    let acceptor = TlsAcceptor::new(Identity::from_pkcs8(certificate, key).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |listener: &TcpListener| {
        let (stream, _) = listener.accept().ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut stream = acceptor.accept(stream).ok()?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            request.push(byte[0]);
        }
        let body = "[\"AVRO\"]";
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).ok()
    };
    let thread = std::thread::spawn(move || (0..connections).filter_map(|_| answer(&listener)).count());
    (address, thread)
}

#[test]
fn over_tls_only_a_registry_whose_certificate_is_trusted_is_asked() {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/tls/certificate.pem");
    let clock = SimulatedClock::new();
    let (address, answered) = serve_over_tls(2);
    let ask = |properties: &str| {
        let mut settings = RegistrySettings::new(&format!("https://localhost:{}", address.port())).unwrap();
        settings.properties(properties).unwrap();
        (settings.retries, settings.timeout) = (0, Duration::from_secs(5));
        Registry::new(settings, &clock)?.check()
    };
    // Nobody that this machine trusts has signed it.
    let error = ask("").unwrap_err();
    assert!(matches!(error, RegistryError::Insecure { .. }), "{error:?}");
    assert!(error.to_string().ends_with(": its certificate is not trusted, or is another host's"), "{error}");
    // Nor does one speak TLS that answers in the clear.
    let plain = Served::new().server.uri().replace("http://", "https://");
    let error = Registry::new(RegistrySettings::new(&plain).unwrap(), &clock).unwrap().check().unwrap_err();
    assert!(error.to_string().ends_with(": it answers, but not in TLS"), "{error}");
    ask(&format!("ssl.ca.location={authority}")).unwrap();
    assert_eq!(answered.join().unwrap(), 1);
    for (properties, problem) in [
        ("ssl.ca.location=/nowhere.pem", "ssl.ca.location /nowhere.pem: "),
        ("ssl.ca.location=/dev/null", "ssl.ca.location /dev/null holds no certificate"),
    ] {
        let said = ask(properties).unwrap_err().to_string();
        assert!(said.starts_with(problem), "{said}");
    }
}

#[test]
fn schemas_are_listed_with_what_breaks_between_each_and_the_next() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("recording");
    let mut writer = RecordingWriter::create(&path, Source::default()).unwrap();
    let fields =
        ["", r#",{"name":"note","type":"string","default":""}"#, r#",{"name":"note","type":"int","default":0}"#];
    for (number, more) in (1..).zip(fields) {
        let schema = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"id","type":"long"}}{more}]}}"#);
        let subjects = vec![SubjectVersion { subject: "orders-value".to_owned(), version: number }];
        let text = SchemaText { id: 10 + number, kind: SchemaKind::Avro, schema, references: Vec::new(), subjects };
        writer.keep_schema(&text).unwrap();
        writer.note_schema("orders", Part::Value, 10 + number);
    }
    // Without subjects they follow on each other where they are met; one is not what its type says.
    for (id, schema) in [(20, "{"), (21, "{}")] {
        let kind = SchemaKind::Json;
        let text = SchemaText { id, kind, schema: schema.to_owned(), references: Vec::new(), subjects: Vec::new() };
        writer.keep_schema(&text).unwrap();
        writer.note_schema("notes", Part::Key, id);
    }
    writer.note_schema("notes", Part::Value, 99);
    writer.seal().unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::cargo_bin("rehearsal").unwrap();
        let output = command.args(["inspect", path.to_str().unwrap(), "--schemas"]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(&[]);
    for line in [
        "    11  Avro, as orders-value v1, in orders (value)",
        "    99  not kept, in notes (value)",
        "        what it frames stays bytes: schema 20 cannot be read as JSON Schema: EOF while parsing an object",
        "orders-value: v1 (id 11) to v2 (id 12): fully compatible",
        "orders-value: v2 (id 12) to v3 (id 13): not compatible",
        "  new cannot read old at $.note: TYPE_MISMATCH (int is read where string was written)",
        "  old cannot read new at $.note: TYPE_MISMATCH (string is read where int was written)",
        "notes (key): id 20 to id 21: cannot be told",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    let listing: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(listing["schemas"].as_array().unwrap().len(), 6);
    assert_eq!(
        listing["schemas"][5],
        json!({"id": 99, "type": null, "subjects": [], "frames": ["notes (value)"], "problem": null})
    );
    let last = &listing["successions"][2];
    assert_eq!((&last["level"], &last["old"]), (&json!("none"), &json!({"id": 12, "version": 2})));
    let broken = json!({"direction": "backward", "path": "$.note", "rule": "TYPE_MISMATCH", "what": "int is read where string was written"});
    assert_eq!(last["breaks"][0], broken);
}
