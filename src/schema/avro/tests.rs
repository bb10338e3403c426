//! Avro held against another implementation, on a schema of real size.

use apache_avro::Schema as OtherSchema;
use apache_avro::types::Value as Other;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::frame::put_zigzag;

const ORDER: &str = include_str!("../../../tests/schemas/order.avsc");
const ADDRESS: &str = include_str!("../../../tests/schemas/address.avsc");

fn order() -> Avro {
    Avro::read(ORDER, [ADDRESS]).unwrap()
}

fn avro(text: &str) -> Avro {
    Avro::read(text, []).unwrap()
}

fn text(avro: &Avro, bytes: &[u8]) -> Result<String, DecodeError> {
    avro.decode(bytes).map(|text| String::from_utf8(text).unwrap())
}

/// Null, or what `inner` gives as the branch of that number.
fn maybe(inner: BoxedStrategy<Other>, branch: u32) -> BoxedStrategy<Other> {
    let null = Just(Other::Union(0, Box::new(Other::Null)));
    prop_oneof![null, inner.prop_map(move |value| Other::Union(branch, Box::new(value)))].boxed()
}

fn addresses() -> BoxedStrategy<Other> {
    ("\\PC{0,8}", "[a-z]{0,5}", 0_u32..3, proptest::option::of(prop::collection::vec(-1e3..1e3, 0..3)))
        .prop_map(|(street, city, country, geo)| {
            let geo = match geo {
                None => Other::Union(0, Box::new(Other::Null)),
                Some(geo) => Other::Union(1, Box::new(Other::Array(geo.into_iter().map(Other::Double).collect()))),
            };
            Other::Record(vec![
                ("street".into(), Other::String(street)),
                ("city".into(), Other::String(city)),
                ("country".into(), Other::Enum(country, ["DE", "FR", "US"][country as usize].into())),
                ("geo".into(), geo),
            ])
        })
        .boxed()
}

/// A value of the schema as the other implementation knows it.
fn orders() -> impl Strategy<Value = Other> {
    let address = addresses();
    let customer = (
        any::<i64>(),
        maybe(".{0,6}".prop_map(Other::String).boxed(), 1),
        prop_oneof![
            Just(Other::Union(0, Box::new(Other::Null))),
            any::<i32>().prop_map(|n| Other::Union(1, Box::new(Other::Int(n)))),
            ".{0,3}".prop_map(|text| Other::Union(2, Box::new(Other::String(text)))),
        ],
        maybe(address.clone(), 1),
    )
        .prop_map(|(id, email, tier, address)| {
            Other::Record(vec![
                ("id".into(), Other::Long(id)),
                ("email".into(), email),
                ("tier".into(), tier),
                ("address".into(), address),
            ])
        });
    let line = ("[A-Z]{1,4}", any::<i32>(), any::<i64>(), any::<f32>().prop_filter("finite", |n| n.is_finite()));
    let line = move |bundle: Vec<Other>| {
        line.clone().prop_map(move |(sku, quantity, price, weight)| {
            Other::Record(vec![
                ("sku".into(), Other::String(sku)),
                ("quantity".into(), Other::Int(quantity)),
                ("price".into(), Other::Decimal(apache_avro::Decimal::from(price.to_be_bytes()))),
                ("weight".into(), Other::Float(weight)),
                ("bundle".into(), Other::Array(bundle.clone())),
            ])
        })
    };
    let lines = prop::collection::vec(line(Vec::new()), 0..3)
        .prop_flat_map(move |bundle| prop::collection::vec(line(bundle), 0..3));
    let label = prop_oneof![
        Just(Other::Union(0, Box::new(Other::Null))),
        ".{0,4}".prop_map(|text| Other::Union(1, Box::new(Other::String(text)))),
        any::<f64>().prop_map(|n| Other::Union(2, Box::new(Other::Double(n)))),
        any::<bool>().prop_map(|b| Other::Union(3, Box::new(Other::Boolean(b)))),
    ];
    let shipping = prop_oneof![
        Just(Other::Union(0, Box::new(Other::Null))),
        address.prop_map(|address| Other::Union(1, Box::new(address))),
        "[0-9]{3}"
            .prop_map(|code| { Other::Union(2, Box::new(Other::Record(vec![("code".into(), Other::String(code))]))) }),
    ];
    let head = (
        any::<u128>(),
        any::<i64>(),
        maybe(any::<i32>().prop_map(Other::Date).boxed(), 1),
        0_i32..86_400_000,
        0_u32..4,
        customer,
        lines,
    );
    let tail = (
        any::<i64>(),
        prop::collection::hash_map("[a-z]{1,3}", label, 0..4),
        any::<[u8; 4]>(),
        prop::collection::vec(any::<u8>(), 0..9),
        any::<f64>(),
        shipping,
    );
    (head, tail).prop_map(
        |((id, at, due, pickup, status, customer, lines), (total, labels, signature, raw, score, shipping))| {
            let symbol = ["PLACED", "PAID", "SHIPPED", "CANCELLED"][status as usize];
            let mut wide = [if total < 0 { 0xFF } else { 0 }; 12];
            wide[4..].copy_from_slice(&total.to_be_bytes());
            let uuid = Other::Uuid(apache_avro::Uuid::from_u128(id));
            Other::Record(vec![
                ("order_id".into(), uuid),
                ("placed_at".into(), Other::TimestampMicros(at)),
                ("due".into(), due),
                ("pickup".into(), Other::TimeMillis(pickup)),
                ("status".into(), Other::Enum(status, symbol.into())),
                ("customer".into(), customer),
                ("lines".into(), Other::Array(lines)),
                ("total".into(), Other::Decimal(apache_avro::Decimal::from(wide))),
                ("labels".into(), Other::Map(labels)),
                ("signature".into(), Other::Fixed(4, signature.to_vec())),
                ("raw".into(), Other::Bytes(raw)),
                ("score".into(), Other::Double(score)),
                ("shipping".into(), shipping),
            ])
        },
    )
}

/// What the other implementation encodes.
fn encoded(value: Other) -> Vec<u8> {
    let mut schemata = OtherSchema::parse_list([ADDRESS, ORDER]).unwrap();
    let order = schemata.pop().unwrap();
    let address = schemata.pop().unwrap();
    let writer = GenericDatumWriter::builder(&order).schemata(vec![&address, &order]).unwrap().build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

/// What a value of the other implementation says.
fn said(value: &Other) -> Value {
    // Through text: readers of JSON differ in the last bit of a number with many digits.
    let double = |number: f64| serde_json::from_str(&json!(number).to_string()).unwrap_or(Value::Null);
    match value {
        Other::Boolean(b) => json!(b),
        Other::Int(n) => json!(n),
        Other::Long(n) => json!(n),
        Other::Float(n) => serde_json::from_str(&serde_json::to_string(n).unwrap()).unwrap_or(Value::Null),
        Other::Double(n) => double(*n),
        Other::String(text) => json!(text),
        Other::Uuid(uuid) => json!(uuid.to_string()),
        Other::Enum(_, symbol) => json!(symbol),
        Other::Union(_, inner) => said(inner),
        Other::Array(items) => items.iter().map(said).collect(),
        Other::Map(entries) => Value::Object(entries.iter().map(|(key, value)| (key.clone(), said(value))).collect()),
        Other::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), said(value))).collect())
        }
        Other::Fixed(_, bytes) | Other::Bytes(bytes) => json!(bytes.iter().map(|b| char::from(*b)).collect::<String>()),
        // Checked by their own tests.
        _ => Value::Null,
    }
}

/// Blanks out what [`said`] leaves to other tests.
fn plain(mut value: Value, like: &Value) -> Value {
    match (&mut value, like) {
        (_, Value::Null) => return Value::Null,
        (Value::Object(members), Value::Object(like)) => {
            for (name, member) in members.iter_mut() {
                *member = plain(member.take(), like.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(items), Value::Array(like)) => {
            for (item, like) in items.iter_mut().zip(like) {
                *item = plain(item.take(), like);
            }
        }
        _ => {}
    }
    value
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_decoded_and_written_back_byte_for_byte(value in orders()) {
        let (order, wanted) = (order(), said(&value));
        let bytes = encoded(value);
        let text = order.decode(&bytes).unwrap();
        let decoded: Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(plain(decoded.clone(), &wanted), wanted);
        prop_assert_eq!(&order.encode(&bytes, &decoded).unwrap(), &bytes);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else(value in orders()) {
        let order = order();
        let bytes = encoded(value);
        let mut edited: Value = serde_json::from_slice(&order.decode(&bytes).unwrap()).unwrap();
        edited["customer"]["email"] = json!("masked");
        edited["placed_at"] = json!("2013-01-05T06:07:08.000009Z");
        edited["lines"] = edited["lines"].as_array().unwrap().iter().skip(1).cloned().collect();
        edited["labels"]["zz"] = json!(true);
        let again = order.encode(&bytes, &edited).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&order.decode(&again).unwrap()).unwrap(), edited);
        // Everything ahead of the first edit stands as it stood.
        prop_assert_eq!(&again[..37], &bytes[..37]);
    }

    #[test]
    fn no_bytes_make_the_decoder_fail_in_any_other_way_than_by_saying_so(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for avro in [order(), avro(r#"{"type":"array","items":"null"}"#), avro(r#"{"type":"map","values":["null","long"]}"#)] {
            if let Ok(text) = avro.decode(&bytes) {
                let decoded: Value = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(&avro.encode(&bytes, &decoded).unwrap(), &bytes);
            }
        }
    }

    #[test]
    fn a_value_that_was_damaged_is_refused_or_comes_back(value in orders(), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let order = order();
        let mut bytes = encoded(value);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok(text) = order.decode(&bytes) {
            let decoded: Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(&order.encode(&bytes, &decoded).unwrap(), &bytes);
        }
    }
}

fn zigzag(number: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_zigzag(number, &mut bytes);
    bytes
}

#[test]
fn each_type_says_what_it_stands_for() {
    let fixed = |size: usize, logical: &str| {
        format!(r#"{{"type":"fixed","name":"F","size":{size},"logicalType":"{logical}"}}"#)
    };
    let of = |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
    for (schema, bytes, said) in [
        (r#""null""#.to_owned(), Vec::new(), "null"),
        ("string".to_owned(), b"\x06a\"b".to_vec(), r#""a\"b""#),
        (r#""double""#.to_owned(), f64::NAN.to_le_bytes().to_vec(), r#""NaN""#),
        (r#""float""#.to_owned(), 0.1_f32.to_le_bytes().to_vec(), "0.1"),
        (r#""bytes""#.to_owned(), b"\x04\xffA".to_vec(), "\"\u{ff}A\""),
        (of("int", "date"), zigzag(15_710), r#""2013-01-05""#),
        (of("int", "date"), zigzag(-1), r#""1969-12-31""#),
        (of("int", "time-millis"), zigzag(3_723_004), r#""01:02:03.004""#),
        (of("int", "time-millis"), zigzag(90_000_000), "90000000"),
        (of("long", "time-micros"), zigzag(1), r#""00:00:00.000001""#),
        (of("long", "timestamp-millis"), zigzag(-1), r#""1969-12-31T23:59:59.999Z""#),
        (of("long", "timestamp-nanos"), zigzag(1), r#""1970-01-01T00:00:00.000000001Z""#),
        (of("long", "local-timestamp-micros"), zigzag(0), r#""1970-01-01T00:00:00.000000""#),
        (of("long", "timestamp-millis"), zigzag(i64::MAX), "9223372036854775807"),
        // What a type cannot carry says nothing.
        (of("string", "date"), b"\x02x".to_vec(), r#""x""#),
        (fixed(16, "uuid"), (0..16).collect(), r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#),
        (fixed(12, "duration"), vec![1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], r#"{"months":1,"days":2,"milliseconds":3}"#),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#.to_owned(),
            b"\x04\x04\xd2".to_vec(),
            "12.34",
        ),
    ] {
        let avro = avro(&schema);
        assert_eq!(text(&avro, &bytes).as_deref(), Ok(said), "{schema}");
        let decoded: Value = serde_json::from_str(said).unwrap();
        let mut fresh = Vec::new();
        encode::encode(&avro.0, &bytes, &decoded).unwrap();
        // And an edit to something else is written as what it stands for.
        if let Ok(other) = encode::encode(&avro.0, &bytes, &decoded) {
            fresh.extend(other);
        }
        assert_eq!(fresh, bytes, "{schema}");
    }
}

#[test]
fn what_the_bytes_claim_is_not_believed() {
    let nulls = avro(r#"{"type":"array","items":"null"}"#);
    let endless = avro(r#"{"type":"record","name":"R","fields":[{"name":"next","type":"R"}]}"#);
    let wide = avro(
        r#"{"type":"record","name":"A","fields":[{"name":"l","type":["null","A"]},{"name":"m","type":{"type":"map","values":"A"}}]}"#,
    );
    let claims = |count: i64| zigzag(count);
    for (avro, bytes, error) in [
        (&nulls, claims(i64::MAX), DecodeError::TooLarge),
        (&nulls, claims(i64::MIN), DecodeError::Malformed { what: "a block has no such count" }),
        (&nulls, [claims(-1), claims(-1)].concat(), DecodeError::Malformed { what: "a block has a negative length" }),
        (&endless, Vec::new(), DecodeError::TooDeep),
        (&wide, vec![2; 5_000], DecodeError::TooDeep),
        (&avro(r#""string""#), claims(1 << 60), DecodeError::Cut),
        (&avro(r#""string""#), claims(-1), DecodeError::Malformed { what: "a length is negative" }),
        (&avro(r#""bytes""#), vec![0xFF; 10], DecodeError::Malformed { what: "a number has more than 64 bits" }),
        (&avro(r#""int""#), zigzag(1 << 40), DecodeError::Malformed { what: "an int has more than 32 bits" }),
        (&avro(r#""null""#), vec![0], DecodeError::Trailing),
        (&avro(r#""boolean""#), vec![2], DecodeError::Malformed { what: "a boolean is neither 0 nor 1" }),
        (&avro(r#"["null"]"#), vec![2], DecodeError::Malformed { what: "a union has no such branch" }),
    ] {
        assert_eq!(text(avro, &bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn blocks_with_their_length_are_read_and_kept() {
    let avro = avro(r#"{"type":"array","items":"long"}"#);
    let bytes = [zigzag(-2), zigzag(2), zigzag(1), zigzag(2), zigzag(1), zigzag(3), zigzag(0)].concat();
    assert_eq!(text(&avro, &bytes).unwrap(), "[1,2,3]");
    assert_eq!(avro.encode(&bytes, &json!([1, 2, 3])).unwrap(), bytes);
    let edited = avro.encode(&bytes, &json!([1, 9])).unwrap();
    assert_eq!(edited, [zigzag(2), zigzag(1), zigzag(9), zigzag(0)].concat());
    assert_eq!(avro.encode(&bytes, &json!([])).unwrap(), zigzag(0));
}

#[test]
fn an_edit_that_the_schema_has_no_room_for_is_refused_with_its_path() {
    let avro = avro(
        r#"{"type":"record","name":"R","fields":[
            {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null},
            {"name":"n","type":"int","default":7},
            {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#,
    );
    let bytes = [zigzag(1), zigzag(1), b"\x02x".to_vec(), zigzag(5), b"\x02\x64".to_vec()].concat();
    let encode = |value: Value| avro.encode(&bytes, &value).map_err(|error| error.to_string());
    assert_eq!(
        encode(json!({"id": "x", "note": null, "n": 1, "amount": 1.0})).unwrap_err(),
        "$.id: the schema wants a long"
    );
    assert_eq!(
        encode(json!({"note": null, "n": 1, "amount": 1.0})).unwrap_err(),
        "$.id: the schema has no default, so it cannot be left out"
    );
    assert_eq!(encode(json!({"id": 1, "more": 1})).unwrap_err(), "$.more: the schema has no such field");
    assert_eq!(
        encode(json!({"id": 1, "note": null, "n": 1, "amount": "***"})).unwrap_err(),
        "$.amount: the schema wants bytes"
    );
    // Left out: null where it may be null, else the default.
    let dropped = encode(json!({"id": 1, "amount": 1.0})).unwrap();
    assert_eq!(text(&avro, &dropped).unwrap(), r#"{"id":1,"note":null,"n":7,"amount":1.00}"#);
}

#[test]
fn text_that_stands_for_a_uuid_stays_one() {
    let avro = avro(
        r#"{"type":"record","name":"R","fields":[
            {"name":"id","type":{"type":"string","logicalType":"uuid"}},{"name":"n","type":"int"}]}"#,
    );
    let of = |id: &str| [zigzag(id.len() as i64), id.as_bytes().to_vec(), zigzag(1)].concat();
    let written = of("0b9b5ba3-1c1e-4a11-9e43-6a5b7c1d2e3f");
    let edited = |id: &str| avro.encode(&written, &json!({"id": id, "n": 1})).map_err(|error| error.to_string());
    let other = "FFFFFFFF-1c1e-4a11-9e43-6a5b7c1d2e3f";
    assert_eq!(edited(other).unwrap(), of(other));
    for none in ["tok_5e1f", "[redacted]", "0b9b5ba31c1e4a119e436a5b7c1d2e3f", "0b9b5ba3-1c1e-4a11-9e43-6a5b7c1d2e3g"] {
        assert_eq!(edited(none).unwrap_err(), "$.id: the schema wants a UUID", "{none}");
    }
    // What production wrote is not judged: where another field changes it stays.
    let odd = of("none");
    assert_eq!(avro.encode(&odd, &json!({"id": "none", "n": 2})).unwrap()[..5], odd[..5]);
}

#[test]
fn a_schema_that_is_none_says_why() {
    for (schema, reason) in [
        ("{", "EOF"),
        (r#""Missing""#, "the type `Missing` is not defined"),
        (r#"{"type":"record","name":"R"}"#, "the record `R` has no fields"),
        (r#"{"type":"fixed","name":"F"}"#, "the fixed `F` has no size"),
        (r#"[["null"]]"#, "a union holds a union"),
        (r#"{"type":"array"}"#, "`items` is missing"),
        ("5", "a type is neither"),
    ] {
        let said = Avro::read(schema, []).unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
}
