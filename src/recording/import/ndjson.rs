//! One JSON object a line: `topic`, `partition`, `offset`, `timestamp_ms`, `timestamp_type`, `key` or `key_base64`, `value` or
//! `value_base64`, `headers`.
//!
//! Only the value is required; `null` is a tombstone. The value's bytes are those between the colon and the comma. Bytes that
//! are no JSON (value) or no UTF-8 (key) come as base64. A header is `[name, text]`, `[name, null]`, or
//! `[name, {"base64": text}]` where its bytes are no UTF-8.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Flaw, LineProblem};
use super::parts::{HeaderParts, Parts, usual_type};
use crate::recording::TimestampType;

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Parts<'_>, Flaw> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let value = match (line.value, line.value_base64) {
        (Some(_), Some(_)) => return Err(LineProblem::Both { field: "value" }.into()),
        (Some(value), None) => (value.get() != "null").then(|| Cow::Borrowed(value.get().as_bytes())),
        (None, Some(text)) => Some(Cow::Owned(decode("value_base64", &text.0)?)),
        (None, None) => {
            return Err(LineProblem::Missing { field: "value", hint: "; write `null` for a tombstone" }.into());
        }
    };
    let key = match (line.key, line.key_base64) {
        (Some(_), Some(_)) => return Err(LineProblem::Both { field: "key" }.into()),
        (Some(text), None) => Some(into_bytes(text.0)),
        (None, Some(text)) => Some(Cow::Owned(decode("key_base64", &text.0)?)),
        (None, None) => None,
    };
    let mut headers = Vec::new();
    for Header(name, value) in line.headers.unwrap_or_default() {
        headers.push(HeaderParts { name: name.0, value: value.bytes()? });
    }
    Ok(Parts {
        topic: line.topic.map(|text| text.0),
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.timestamp_ms,
        timestamp_type: line.timestamp_type.map_or_else(|| usual_type(line.timestamp_ms), TimestampType::from),
        key,
        value,
        headers,
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    topic: Option<Text<'a>>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp_ms: Option<i64>,
    timestamp_type: Option<Type>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    key_base64: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    value_base64: Option<Text<'a>>,
    #[serde(borrow)]
    headers: Option<Vec<Header<'a>>>,
}

/// Tells `null`, which is a tombstone, from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Text that is borrowed where it holds no escapes; a bare `Option<Cow<str>>` never borrows.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Create,
    Append,
    None,
}

impl From<Type> for TimestampType {
    fn from(named: Type) -> Self {
        match named {
            Type::Create => Self::Create,
            Type::Append => Self::Append,
            Type::None => Self::None,
        }
    }
}

#[derive(serde::Deserialize)]
struct Header<'a>(#[serde(borrow)] Text<'a>, #[serde(borrow)] HeaderValue<'a>);

enum HeaderValue<'a> {
    Null,
    Text(Cow<'a, str>),
    Base64(Cow<'a, str>),
}

impl<'a> HeaderValue<'a> {
    fn bytes(self) -> Result<Option<Cow<'a, [u8]>>, Flaw> {
        Ok(match self {
            Self::Null => None,
            Self::Text(text) => Some(into_bytes(text)),
            Self::Base64(text) => Some(Cow::Owned(decode("headers", &text)?)),
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for HeaderValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyShape;

        impl<'de> Visitor<'de> for AnyShape {
            type Value = HeaderValue<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a header's value: text, null or {\"base64\": text}")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(HeaderValue::Null)
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(HeaderValue::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(HeaderValue::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                match map.next_entry::<Text<'de>, Text<'de>>()? {
                    Some((name, text)) if name.0 == "base64" && map.next_key::<Text<'de>>()?.is_none() => {
                        Ok(HeaderValue::Base64(text.0))
                    }
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(AnyShape)
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, LineProblem> {
    BASE64_STANDARD.decode(text).map_err(|_| LineProblem::field(field, "is no base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<String> {
        parse(line.as_bytes()).unwrap().value.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
    }

    #[test]
    fn a_value_keeps_its_own_bytes() {
        for bytes in ["{ \"b\" : 1.50,\"a\":1e2 }", "\"te\\u0078t\"", "[1, 2]", "-0", "true", "\"\""] {
            assert_eq!(value(&format!("{{\"value\": {bytes} }}")).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn a_tombstone_is_null_and_null_bytes_are_base64() {
        assert_eq!(value("{\"value\":null}"), None);
        assert_eq!(value("{\"value_base64\":\"bnVsbA==\"}").as_deref(), Some("null"));
        assert_eq!(value("{\"value_base64\":\"\"}").as_deref(), Some(""));
    }

    #[test]
    fn null_and_empty_keys_differ() {
        let key = |line: &str| parse(line.as_bytes()).unwrap().key.map(Cow::into_owned);
        assert_eq!(key("{\"value\":1}"), None);
        assert_eq!(key("{\"value\":1,\"key\":null}"), None);
        assert_eq!(key("{\"value\":1,\"key\":\"\"}"), Some(vec![]));
        assert_eq!(key("{\"value\":1,\"key\":\"\\u00e9\"}"), Some("é".into()));
        assert_eq!(key("{\"value\":1,\"key_base64\":\"/w==\"}"), Some(vec![0xff]));
    }

    #[test]
    fn headers_keep_order_and_repeats() {
        let line = br#"{"value":1,"headers":[["a","x"],["a",null],["",""],["b",{"base64":"/w=="}]]}"#;
        let headers: Vec<_> = parse(line).unwrap().headers;
        let expected: [(&str, Option<&[u8]>); 4] =
            [("a", Some(b"x")), ("a", None), ("", Some(b"")), ("b", Some(b"\xff"))];
        assert_eq!(
            headers,
            expected.map(|(name, value)| HeaderParts { name: name.into(), value: value.map(Cow::Borrowed) })
        );
    }

    #[test]
    fn a_timestamp_is_the_producers_unless_said_otherwise() {
        let timestamp =
            |line: &str| parse(line.as_bytes()).map(|parts| (parts.timestamp_ms, parts.timestamp_type)).unwrap();
        assert_eq!(timestamp("{\"value\":1}"), (None, TimestampType::None));
        assert_eq!(timestamp("{\"value\":1,\"timestamp_ms\":-5}"), (Some(-5), TimestampType::Create));
        assert_eq!(
            timestamp("{\"value\":1,\"timestamp_ms\":5,\"timestamp_type\":\"append\"}"),
            (Some(5), TimestampType::Append)
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_column() {
        for (line, column, says) in [
            ("{\"value\":1", Some(10), "EOF while parsing an object"),
            ("{\"value\":1}x", Some(12), "trailing characters"),
            ("{\"value\":tru}", Some(13), "expected ident"),
            ("{\"topic\":\"t\"}", None, "`value` is missing; write `null` for a tombstone"),
            ("{\"value\":1,\"value_base64\":\"\"}", None, "`value` and `value_base64` exclude each other"),
            ("{\"value_base64\":\"?\"}", None, "`value_base64` is no base64"),
            ("{\"value\":1,\"timestamp\":5}", Some(22), "unknown field `timestamp`"),
            ("{\"value\":1,\"value\":2}", Some(18), "duplicate field `value`"),
            ("{\"value\":1,\"key\":5}", Some(18), "invalid type: integer `5`"),
            ("{\"value\":1,\"headers\":[[\"a\",5]]}", Some(28), "a header's value"),
            ("{\"value\":1,\"headers\":[[\"a\",{\"base32\":\"\"}]]}", None, "a header's value"),
            ("{\"value\":1,\"partition\":4294967296}", Some(33), "4294967296"),
            ("[]", None, "expected struct Line"),
        ] {
            let flaw = parse(line.as_bytes()).unwrap_err();
            assert!(flaw.problem.to_string().contains(says), "{line}: {}", flaw.problem);
            if column.is_some() {
                assert_eq!(flaw.column, column, "{line}");
            }
        }
    }
}
