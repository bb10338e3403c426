//! Masks of MessagePack: fields are found in it, what no rule touches keeps its bytes, and what looks personal is seen.

use std::borrow::Cow;

use proptest::prelude::*;
use rehearsal::mask::{Detected, Detection, MaskError, Masker, Parts};
use rehearsal::schema::from_message_pack;
use rmpv::Value;

use super::mask::policy;

const RULES: &str = "\
[[rule]]\nvalue = ['$.id', '$.lines[*].who']\nmethod = 'token'\n\
[[rule]]\nvalue = ['$..email', '$.photo']\nmethod = 'redact'\n\
[[rule]]\nvalue = ['$.pin']\nmethod = 'drop'\n\
[[rule]]\nvalue = ['$.amount']\nmethod = 'bucket'\nsize = 10\n\
[[rule]]\nvalue = ['$.at', '$.on']\nmethod = 'shift'\n";

fn map(members: Vec<(&str, Value)>) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn masked(masker: &mut Masker, value: &[u8]) -> Result<Option<Vec<u8>>, MaskError> {
    let parts = Parts { topic: "payments", partition: 0, offset: 7, key: None, value: Some(value) };
    masker.mask(parts, []).map(|masked| masked.value.map(Cow::into_owned))
}

fn masked_by(rules: &str, value: &[u8]) -> Vec<u8> {
    masked(&mut Masker::new(Some(policy(rules)), Detection::Off), value).unwrap().unwrap()
}

fn said(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(&from_message_pack(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"))).unwrap()
}

fn payment() -> Value {
    let line = |who: &str| map(vec![("who", who.into()), ("n", 1.into())]);
    map(vec![
        ("id", "c-1001".into()),
        ("amount", 1234.into()),
        ("pin", "4711".into()),
        ("contact", map(vec![("email", "ann@example.org".into()), ("city", "Hull".into())])),
        ("photo", Value::Binary(vec![0xFF, 0xD8, 0xFF])),
        ("at", Value::Ext(-1, 1_357_344_000_u32.to_be_bytes().to_vec())),
        ("on", "2013-01-05".into()),
        ("lines", Value::Array(vec![line("ann"), line("bob"), line("ann")])),
        ("rate", Value::F32(0.5)),
    ])
}

#[test]
fn fields_are_found_and_masked_and_a_token_is_that_of_the_same_text_anywhere() {
    let before = bytes(&payment());
    let after = masked_by(RULES, &before);
    let found = said(&after);
    let json = masked_by(RULES, br#"{"id":"c-1001","lines":[{"who":"ann"}],"on":"2013-01-05"}"#);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&found["id"], &found["lines"][0]["who"]), (&json["id"], &json["lines"][0]["who"]));
    assert_eq!(found["lines"][0]["who"], found["lines"][2]["who"]);
    assert_ne!(found["lines"][0]["who"], found["lines"][1]["who"]);
    assert_eq!((&found["contact"]["email"], &found["contact"]["city"]), (&"[redacted]".into(), &"Hull".into()));
    assert_eq!(
        (&found["photo"], &found["pin"], &found["amount"]),
        (&"[redacted]".into(), &serde_json::Value::Null, &1230.into())
    );
    // A timestamp stays one, moved by as many days as the date beside it.
    let day = |text: &serde_json::Value| text.as_str().unwrap()[..10].to_owned();
    assert_eq!(day(&found["at"]["@time"]), day(&found["on"]));
    assert_eq!((&found["on"], &found["rate"]), (&json["on"], &0.5.into()));
    assert_ne!(day(&found["on"]), "2013-01-05");
    let text = String::from_utf8_lossy(&after).into_owned();
    for secret in ["c-1001", "4711", "ann", "bob", "2013-01-05"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn what_no_rule_names_keeps_its_bytes_and_what_is_spelled_at_length_its_length() {
    let before = bytes(&payment());
    let rule = "[[rule]]\nvalue = ['$.nothing', '$.lines[7]']\nmethod = 'drop'\n";
    assert_eq!(masked_by(rule, &before), before);
    // One number in eight bytes, then the field: only the field is another.
    let long = b"\x82\xa1a\xcf\x00\x00\x00\x00\x00\x00\x00\x01\xa5email\xa3a@b";
    let after = masked_by(RULES, long);
    assert_eq!(after, b"\x82\xa1a\xcf\x00\x00\x00\x00\x00\x00\x00\x01\xa5email\xaa[redacted]");
}

#[test]
fn a_rule_for_bytes_reaches_what_their_notation_holds_and_the_whole_value_goes_as_one() {
    let photo = bytes(&map(vec![("photo", Value::Binary(vec![1, 2, 3]))]));
    let rule = "[[rule]]\nvalue = [\"$.photo['@bin']\"]\nmethod = 'redact'\n";
    assert_eq!(said(&masked_by(rule, &photo)), serde_json::json!({ "photo": "[redacted]" }));
    let whole = masked_by("[[rule]]\nvalue = ['$']\nmethod = 'redact'\n", &photo);
    assert_eq!(whole, b"[redacted]");
    // What is none, and no JSON either, goes as a whole as ever.
    assert_eq!(masked_by(RULES, b"\x82\xa1a\x01\xff"), b"[redacted]");
}

#[test]
fn keys_are_masked_as_values_are() {
    let mut masker = Masker::new(Some(policy("[[rule]]\nkey-fields = ['$.id']\nmethod = 'redact'\n")), Detection::Off);
    let key = bytes(&map(vec![("id", "c-1001".into()), ("n", 1.into())]));
    let parts = Parts { topic: "payments", partition: 0, offset: 7, key: Some(&key), value: None };
    let written = masker.mask(parts, []).unwrap().key.unwrap().into_owned();
    assert_eq!(said(&written), serde_json::json!({ "id": "[redacted]", "n": 1 }));
}

#[test]
fn what_looks_personal_is_seen_by_its_path_and_refused_by_wish() {
    let value = bytes(&map(vec![
        ("contact", map(vec![("mail", "ann@example.org".into())])),
        // A number and bytes say it as well.
        ("card", 4_111_111_111_111_111_u64.into()),
        ("blob", Value::Binary(b"\xff\xfe mail bob@example.org \x00".to_vec())),
        ("n", 5.into()),
    ]));
    let mut masker = Masker::new(None, Detection::Warn);
    assert_eq!(masked(&mut masker, &value).unwrap().as_deref(), Some(&value[..]));
    let seen: Vec<_> = masker.sightings().into_iter().map(|seen| (seen.path, seen.kind)).collect();
    let expected =
        [("$.blob['@bin']", Detected::Email), ("$.card", Detected::Card), ("$.contact.mail", Detected::Email)];
    assert_eq!(seen, expected.map(|(path, kind)| (path.to_owned(), kind)));
    let refused = masked(&mut Masker::new(None, Detection::Refuse), &value).unwrap_err();
    assert!(matches!(refused, MaskError::Personal { offset: 7, .. }), "{refused}");
    // Masked, it is not there any more.
    let rules = "[[rule]]\nvalue = ['$.contact.mail', '$.card', '$.blob']\nmethod = 'redact'\n";
    let mut strict = Masker::new(Some(policy(rules)), Detection::Refuse);
    assert!(masked(&mut strict, &value).is_ok() && strict.sightings().is_empty());
    // The twin: nothing looks personal.
    let value = bytes(&map(vec![("contact", "Hull".into()), ("n", 4_111_111_111_111_112_u64.into())]));
    assert!(masked(&mut Masker::new(None, Detection::Refuse), &value).is_ok());
}

fn some_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::F64),
        "[a-z\u{e9}]{0,12}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Binary),
        (any::<i8>(), prop::collection::vec(any::<u8>(), 0..13)).prop_map(|(kind, data)| Value::Ext(kind, data)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members = prop::collection::vec(("[a-c]", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            members.prop_map(|members| {
                Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_changed_is_the_same_bytes(values in prop::collection::vec(some_value(), 0..5)) {
        let before = bytes(&Value::Array(values));
        for path in ["$.z", "$..z", "$[9]", "$..[?@ == 'zz']"] {
            let rule = format!("[[rule]]\nvalue = [\"{path}\"]\nmethod = 'redact'\n");
            prop_assert_eq!(masked_by(&rule, &before), &before[..], "{}", path);
        }
    }

    /// Wherever a secret stands, it is not there any more, and every byte around it is.
    #[test]
    fn every_byte_outside_of_what_is_named_stays(
        ahead in some_value(),
        behind in some_value(),
        secret in "[A-Z]{20,40}",
        method in prop::sample::select(&["redact", "drop"][..]),
    ) {
        let value = |secret: Option<Value>| {
            let inner = secret.map(|secret| ("s".into(), secret)).into_iter().chain([("x".into(), behind.clone())]);
            bytes(&Value::Array(vec![ahead.clone(), Value::Map(inner.collect()), behind.clone()]))
        };
        // Beside a name that no generated value has.
        let rule = format!("[[rule]]\nvalue = ['$..s']\nmethod = '{method}'\n");
        let left = if method == "drop" { None } else { Some("[redacted]".into()) };
        prop_assert_eq!(masked_by(&rule, &value(Some(secret.as_str().into()))), value(left));
    }
}
