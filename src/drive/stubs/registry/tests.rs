use super::*;
use crate::schema::{Reference, SubjectVersion};

const V1: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#;
const V2: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int","default":0}]}"#;
const BROKEN: &str =
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"}]}"#;

fn text(id: i32, schema: &str, subjects: &[(&str, i32)]) -> SchemaText {
    let subject =
        |(subject, version): &(&str, i32)| SubjectVersion { subject: (*subject).to_owned(), version: *version };
    SchemaText {
        id,
        kind: SchemaKind::Avro,
        schema: schema.to_owned(),
        references: vec![],
        subjects: subjects.iter().map(subject).collect(),
    }
}

fn registry() -> Registry {
    let schemas = Schemas::new([text(7, V1, &[("orders-value", 3)]), text(9, "\"string\"", &[])]);
    let seen = [("orders", "value", 7), ("orders", "key", 9)];
    Registry::new(&Recorded::new(&schemas, seen.into_iter(), Level::Backward), KnownSchemas::default())
}

fn ask(registry: &Registry, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = registry.answer(&Asked::sample(method, target, &[], &body));
    (answer.status.unwrap().as_u16(), serde_json::from_slice(&answer.body).unwrap())
}

fn get(registry: &Registry, target: &str) -> (u16, Value) {
    ask(registry, "GET", target, &Value::Null)
}

#[test]
fn what_the_recording_has_is_served_by_id_and_by_subject() {
    let registry = registry();
    for (target, answer) in [
        ("/schemas/ids/7", json!({"schema": V1})),
        ("/schemas/ids/7?fetchMaxId=true", json!({"schema": V1, "maxId": 9})),
        ("/schemas/ids/7/versions", json!([{"subject": "orders-value", "version": 3}])),
        ("/schemas/ids/9/subjects", json!(["orders-key"])),
        ("/schemas/ids/9/schema", json!("string")),
        ("/subjects", json!(["orders-key", "orders-value"])),
        ("/subjects?subjectPrefix=orders-v", json!(["orders-value"])),
        ("/subjects/orders-value/versions", json!([3])),
        (
            "/subjects/orders-value/versions/latest",
            json!({"schema": V1, "subject": "orders-value", "version": 3, "id": 7}),
        ),
        (
            "/subjects/orders-key/versions/1",
            json!({"schema": "\"string\"", "subject": "orders-key", "version": 1, "id": 9}),
        ),
        ("/config", json!({"compatibilityLevel": "BACKWARD"})),
        ("/mode", json!({"mode": "READWRITE"})),
        ("/schemas/types", json!(["JSON", "PROTOBUF", "AVRO"])),
    ] {
        assert_eq!(get(&registry, target), (200, answer), "{target}");
    }
}

#[test]
fn what_is_not_there_is_refused_by_the_codes_that_clients_know() {
    let registry = registry();
    let order = json!({"schema": V2});
    for (method, target, body, status, code) in [
        ("GET", "/schemas/ids/8", &Value::Null, 404, 40_403),
        ("GET", "/subjects/none/versions", &Value::Null, 404, 40_401),
        ("GET", "/subjects/orders-value/versions/1", &Value::Null, 404, 40_402),
        ("GET", "/subjects/orders-value/versions/0", &Value::Null, 422, 42_202),
        ("GET", "/subjects/orders-value/versions/x", &Value::Null, 422, 42_202),
        ("POST", "/subjects/none", &order, 404, 40_401),
        ("POST", "/subjects/orders-value", &order, 404, 40_403),
        ("POST", "/subjects/a/versions", &json!({"schema": "{"}), 422, 42_201),
        ("POST", "/subjects/a/versions", &json!({"schema": V1, "schemaType": "THRIFT"}), 422, 42_201),
        ("POST", "/subjects/a/versions", &json!({"shema": V1}), 422, 42_201),
        ("GET", "/config/orders-value", &Value::Null, 404, 40_408),
        ("PUT", "/config", &json!({"compatibility": "SOMETIMES"}), 422, 42_203),
        ("GET", "/mode/orders-value", &Value::Null, 404, 40_409),
        ("GET", "/nowhere", &Value::Null, 404, 404),
        ("DELETE", "/subjects/none", &Value::Null, 404, 40_401),
    ] {
        let (found, answer) = ask(&registry, method, target, body);
        assert_eq!((found, &answer["error_code"]), (status, &json!(code)), "{method} {target}: {answer}");
    }
    assert_eq!(registry.count().missed["/schemas/ids/8"], 1);
}

#[test]
fn what_a_drive_registers_has_ids_above_the_recorded_ones_and_the_same_schema_the_same_id_in_every_drive() {
    let (one, other) = (registry(), registry());
    let register = |registry: &Registry, subject: &str, schema: &str| {
        let (status, answer) =
            ask(registry, "POST", &format!("/subjects/{subject}/versions"), &json!({"schema": schema}));
        (status, answer["id"].clone(), answer["version"].clone())
    };
    // Known already, however it is spelled.
    let spelled = format!(" {}", V1.replace(r#""type":"record","name":"Order""#, r#""name":"Order", "type":"record""#));
    assert_eq!(register(&one, "orders-value", &spelled), (200, json!(7), json!(3)));
    let (_, id, _) = register(&one, "orders-value", V2);
    assert!(id.as_i64().unwrap() > 9, "{id}");
    assert_eq!(register(&one, "orders-value", V2), (200, id.clone(), json!(4)));
    assert_eq!(register(&one, "elsewhere-value", V2), (200, id.clone(), json!(1)));
    assert_eq!(register(&one, "elsewhere-value", "\"int\"").0, 409);
    assert_eq!(get(&other, &format!("/schemas/ids/{id}")).0, 404, "another drive sees nothing of it");
    // Whatever it registers ahead of it, and however that is spelled.
    let (_, first, _) = register(&other, "others-value", "\"int\"");
    assert_eq!(register(&other, "others-value", &V2.replace(',', " , ")).0, 409);
    assert_eq!(register(&other, "orders-value", &V2.replace(',', " , ")), (200, id.clone(), json!(4)));
    assert_ne!(first, id);
    let kept = |registry: &Registry| registry.count().schemas.iter().map(|text| json!(text.id)).collect::<Vec<_>>();
    assert_eq!(kept(&one), vec![id.clone()]);
    assert!(kept(&other).len() == 2 && kept(&other).contains(&id) && kept(&other).contains(&first));
    assert_eq!(ask(&one, "POST", "/subjects/orders-value", &json!({"schema": V2})).1["version"], 4);
    let told = one.count().registered;
    let told: Vec<_> =
        told.iter().map(|one| (&*one.subject, one.version, one.compatibility.as_deref(), one.breaks.len())).collect();
    assert_eq!(
        told,
        [
            ("orders-value", Some(4), Some("full"), 0),
            ("elsewhere-value", Some(1), None, 0),
            ("elsewhere-value", None, Some("none"), 2)
        ]
    );
}

#[test]
fn what_cannot_follow_is_refused_unless_the_level_lets_it() {
    let registry = registry();
    let broken = json!({"schema": BROKEN});
    let (status, answer) = ask(&registry, "POST", "/subjects/orders-value/versions", &broken);
    assert!(
        status == 409 && answer["message"].as_str().unwrap().contains("READER_FIELD_MISSING_DEFAULT_VALUE"),
        "{answer}"
    );
    let target = "/compatibility/subjects/orders-value/versions/latest";
    assert_eq!(ask(&registry, "POST", target, &broken), (200, json!({"is_compatible": false})));
    let verbose = ask(&registry, "POST", &format!("{target}?verbose=true"), &broken).1;
    assert_eq!(verbose["messages"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&registry, "POST", target, &json!({"schema": V2})).1, json!({"is_compatible": true}));
    let level = json!({"compatibility": "NONE"});
    assert_eq!(ask(&registry, "PUT", "/config/orders-value", &level), (200, level.clone()));
    assert_eq!(get(&registry, "/config/orders-value").1, json!({"compatibilityLevel": "NONE"}));
    assert_eq!(ask(&registry, "POST", "/subjects/orders-value/versions", &broken).0, 200);
    assert_eq!(ask(&registry, "DELETE", "/config/orders-value", &Value::Null).0, 200);
    // Transitive: what the latest would let pass, an earlier one does not.
    assert_eq!(ask(&registry, "PUT", "/config", &json!({"compatibility": "BACKWARD_TRANSITIVE"})).0, 200);
    let renamed = BROKEN.replace(r#""type":"string""#, r#""type":["string","int"]"#);
    let (status, answer) = ask(&registry, "POST", "/subjects/orders-value/versions", &json!({"schema": renamed}));
    assert_eq!(status, 409, "{answer}");
}

#[test]
fn what_a_schema_refers_to_is_found_in_the_recording_and_among_what_was_registered() {
    let address = r#"{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"}]}"#;
    let customer = r#"{"type":"record","name":"C","namespace":"shop","fields":[{"name":"a","type":"shop.Address"}]}"#;
    let reference =
        Reference { name: "shop.Address".into(), subject: "address".into(), version: 2, schema: address.into() };
    let recorded = SchemaText { references: vec![reference], ..text(5, customer, &[("c-value", 1)]) };
    let schemas = Schemas::new([recorded]);
    let registry =
        Registry::new(&Recorded::new(&schemas, std::iter::empty(), Level::Backward), KnownSchemas::default());
    assert_eq!(get(&registry, "/schemas/ids/5").1["references"][0]["subject"], "address");
    assert!(registry.count().schemas.is_empty(), "nobody asked for it");
    let served = get(&registry, "/subjects/address/versions/2");
    assert_eq!((served.0, &served.1["schema"], &served.1["id"]), (200, &json!(address), &json!(6)));
    // Whoever asked may write by it.
    assert_eq!(registry.count().schemas.iter().map(|text| text.id).collect::<Vec<_>>(), [6]);
    assert_eq!(get(&registry, "/subjects/c-value/versions/latest").1["id"], 5);
    assert_eq!(registry.count().schemas.len(), 1, "what the recording has is kept with it");
    let body =
        json!({"schema": customer, "references": [{"name": "shop.Address", "subject": "address", "version": 2}]});
    assert_eq!(ask(&registry, "POST", "/subjects/c-value/versions", &body).1["id"], 5);
    let body =
        json!({"schema": customer, "references": [{"name": "shop.Address", "subject": "address", "version": 1}]});
    assert_eq!(ask(&registry, "POST", "/subjects/c-value/versions", &body).1["error_code"], 42_201);
}

#[test]
fn what_was_deleted_is_gone_and_its_number_is_not_given_again() {
    let registry = registry();
    assert_eq!(ask(&registry, "DELETE", "/subjects/orders-value/versions/latest", &Value::Null), (200, json!(3)));
    assert_eq!(get(&registry, "/subjects/orders-value/versions").1["error_code"], 40_401);
    assert_eq!(get(&registry, "/schemas/ids/7").0, 200);
    let again = ask(&registry, "POST", "/subjects/orders-value/versions", &json!({"schema": V1}));
    assert_eq!((&again.1["id"], &again.1["version"]), (&json!(7), &json!(4)));
}
