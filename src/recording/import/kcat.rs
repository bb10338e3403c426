//! What `kcat -J` prints: `{"topic":…,"partition":…,"offset":…,"tstype":"create","ts":…,"broker":…,"headers":[name,value,…],
//! "key":…,"payload":…}`.
//!
//! kcat escapes control characters, quotes and backslashes and leaves every other byte as it is, whether it is UTF-8 or not.
//! Read as bytes its lines are therefore exact. A program between kcat and the import (`jq`, an editor) replaces what is no
//! UTF-8 by U+FFFD; such events are counted in [`ImportReport::replaced`](super::ImportReport::replaced). Keys and values that
//! kcat decoded from Avro (`-s`) are refused: they are not the event's own bytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, Visitor};

use super::error::{Flaw, LineProblem};
use super::parts::{HeaderParts, Parts};
use crate::recording::TimestampType;

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Parts<'_>, Flaw> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    for (field, avro) in [
        ("key", line.key_schema_id.or(line.key_error).or(line.key_encoding).is_some()),
        ("payload", line.value_schema_id.or(line.payload_error).or(line.value_encoding).is_some()),
    ] {
        if avro {
            return Err(
                LineProblem::field(field, "was decoded by kcat and lost its own bytes; run kcat without -s").into()
            );
        }
    }
    let value = match line.payload {
        Payload::Bytes(bytes) => Some(bytes.0),
        Payload::Null => None,
        Payload::Missing => {
            let hint = "; kcat prints `null` for a tombstone";
            return Err(LineProblem::Missing { field: "payload", hint }.into());
        }
    };
    let timestamp_type = match line.tstype.as_deref() {
        Some("create") => TimestampType::Create,
        Some("logappend") => TimestampType::Append,
        Some("unknown") | None => TimestampType::None,
        Some(other) => {
            return Err(LineProblem::field("tstype", format!("is `{other}`, not create, logappend or unknown")).into());
        }
    };
    Ok(Parts {
        topic: Some(line.topic.0),
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.ts.filter(|&ts| timestamp_type != TimestampType::None && ts != -1),
        timestamp_type,
        key: line.key.map(|bytes| bytes.0),
        value,
        headers: headers(line.headers.unwrap_or_default())?,
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    topic: Topic<'a>,
    partition: Option<i32>,
    offset: Option<i64>,
    tstype: Option<String>,
    ts: Option<i64>,
    #[serde(rename = "broker")]
    _broker: Option<i64>,
    #[serde(borrow)]
    headers: Option<Vec<Option<Bytes<'a>>>>,
    #[serde(borrow)]
    key: Option<Bytes<'a>>,
    #[serde(borrow, default)]
    payload: Payload<'a>,
    key_schema_id: Option<IgnoredAny>,
    key_error: Option<IgnoredAny>,
    value_schema_id: Option<IgnoredAny>,
    key_encoding: Option<IgnoredAny>,
    value_encoding: Option<IgnoredAny>,
    payload_error: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
struct Topic<'a>(#[serde(borrow)] Cow<'a, str>);

/// Tells `null`, which is a tombstone, from nothing.
#[derive(Default)]
enum Payload<'a> {
    #[default]
    Missing,
    Null,
    Bytes(Bytes<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Bytes))
    }
}

/// Text whose bytes need not be UTF-8.
struct Bytes<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;

        impl<'de> Visitor<'de> for AsBytes {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or null")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(bytes.to_owned())))
            }
        }

        deserializer.deserialize_bytes(AsBytes)
    }
}

/// Pairs names and values, which kcat prints in turn.
fn headers(flat: Vec<Option<Bytes<'_>>>) -> Result<Vec<HeaderParts<'_>>, LineProblem> {
    let mut headers = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let Some(name) = flat.next() {
        let Some(value) = flat.next() else {
            return Err(LineProblem::field("headers", "ends with a name that has no value"));
        };
        let name = match name.map(|name| name.0) {
            Some(Cow::Borrowed(bytes)) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Some(Cow::Owned(bytes)) => String::from_utf8(bytes).ok().map(Cow::Owned),
            None => None,
        };
        let name = name.ok_or_else(|| LineProblem::field("headers", "has a name that is null or no UTF-8"))?;
        headers.push(HeaderParts { name, value: value.map(|value| value.0) });
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rest: &str) -> Vec<u8> {
        format!("{{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"tstype\":\"create\",\"ts\":5,\"broker\":1,{rest}}}")
            .into_bytes()
    }

    #[test]
    fn a_line_of_kcat_is_read() {
        let line = line(r#""headers":["a","x","a",null,"","é"],"key":"k","payload":"{\"n\":1}\n""#);
        let headers: [(&str, Option<&str>); 3] = [("a", Some("x")), ("a", None), ("", Some("é"))];
        let expected = Parts {
            topic: Some("t".into()),
            partition: Some(3),
            offset: Some(7),
            timestamp_ms: Some(5),
            timestamp_type: TimestampType::Create,
            key: Some(Cow::Borrowed(b"k")),
            value: Some(Cow::Borrowed(b"{\"n\":1}\n")),
            headers: headers
                .map(|(name, value)| HeaderParts { name: name.into(), value: value.map(|text| text.as_bytes().into()) })
                .to_vec(),
        };
        assert_eq!(parse(&line), Ok(expected));
    }

    #[test]
    fn bytes_that_are_no_utf8_come_through() {
        let mut line = line("\"key\":null,\"payload\":\"\u{1}\"");
        let at = line.iter().position(|&byte| byte == 1).unwrap();
        line.splice(at..=at, b"\xff\\u0000\xc3\\\\".iter().copied());
        assert_eq!(parse(&line).unwrap().value.as_deref(), Some(&b"\xff\0\xc3\\"[..]));
    }

    #[test]
    fn null_empty_and_missing_payloads_differ() {
        assert_eq!(parse(&line("\"key\":null,\"payload\":null")).unwrap().value, None);
        assert_eq!(parse(&line("\"key\":\"\",\"payload\":\"\"")).unwrap().value.as_deref(), Some(&b""[..]));
        assert!(parse(&line("\"key\":null")).unwrap_err().problem.to_string().contains("`payload` is missing"));
    }

    #[test]
    fn timestamps_have_kcats_types() {
        for (text, timestamp) in [
            ("\"tstype\":\"logappend\",\"ts\":5,", (Some(5), TimestampType::Append)),
            ("\"tstype\":\"unknown\",\"ts\":0,", (None, TimestampType::None)),
            ("", (None, TimestampType::None)),
        ] {
            let line = format!("{{\"topic\":\"t\",{text}\"key\":null,\"payload\":null}}");
            let parts = parse(line.as_bytes()).unwrap();
            assert_eq!((parts.timestamp_ms, parts.timestamp_type), timestamp);
        }
    }

    #[test]
    fn what_lost_its_bytes_is_refused() {
        for rest in [
            "\"key\":null,\"payload\":{\"n\":1},\"value_schema_id\":7",
            "\"key\":null,\"payload\":null,\"payload_error\":\"no such schema\"",
            "\"headers\":{\"a\":[\"x\"]},\"key\":null,\"payload\":null",
            "\"headers\":[\"a\"],\"key\":null,\"payload\":null",
            "\"headers\":[null,\"x\"],\"key\":null,\"payload\":null",
        ] {
            assert!(parse(&line(rest)).is_err(), "{rest}");
        }
    }
}
