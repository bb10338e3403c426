//! Lines of standard output: outputs, commits, and what is neither.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::recording::Header;

/// What a line of the build says.
#[derive(Debug, PartialEq)]
pub(super) struct Reply<'a> {
    pub(super) output: Option<Said<'a>>,
    pub(super) commit: Option<Spot<'a>>,
}

/// An output as the build wrote it.
#[derive(Debug, PartialEq)]
pub(super) struct Said<'a> {
    pub(super) topic: Option<Cow<'a, str>>,
    pub(super) partition: Option<i32>,
    pub(super) offset: Option<i64>,
    pub(super) attempt: Option<i32>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
    pub(super) headers: Vec<Header>,
    pub(super) cause: Option<Spot<'a>>,
}

/// A position in a partition of the replayed log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Spot<'a> {
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    #[serde(default)]
    pub(super) attempt: Option<i32>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    offset: Option<i64>,
    #[serde(default)]
    attempt: Option<i32>,
    #[serde(default)]
    timestamp_ms: Option<i64>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cause: Option<Spot<'a>>,
    #[serde(borrow, default)]
    commit: Option<Spot<'a>>,
}

/// Tells `"value": null` from no value at all.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64Header<'a> {
    #[serde(borrow)]
    base64: Cow<'a, str>,
}

impl<'a> Reply<'a> {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// Why it is malformed, in the same words for every line of the kind.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, &'static str> {
        let line: Line<'a> = serde_json::from_slice(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "no object of an output",
            _ => "no JSON",
        })?;
        let commit = line.commit;
        if line.value.is_none() && line.value_base64.is_none() {
            return if commit.is_some() { Ok(Self { output: None, commit }) } else { Err("no `value`") };
        }
        let value = match (line.value_base64, line.value.map(RawValue::get)) {
            (Some(text), _) => {
                Some(Cow::Owned(BASE64_STANDARD.decode(&*text).map_err(|_| "`value_base64` is no base64")?))
            }
            (None, Some("null") | None) => None,
            (None, Some(json)) => Some(Cow::Borrowed(json.as_bytes())),
        };
        let key = match (line.key_base64, line.key.map(RawValue::get)) {
            (Some(text), _) => {
                Some(Cow::Owned(BASE64_STANDARD.decode(&*text).map_err(|_| "`key_base64` is no base64")?))
            }
            (None, None | Some("null")) => None,
            (None, Some(json)) => Some(text(json)),
        };
        let headers = line.headers.map_or(Ok(Vec::new()), |headers| read_headers(headers.get()))?;
        let output = Said {
            topic: line.topic,
            partition: line.partition,
            offset: line.offset,
            attempt: line.attempt,
            timestamp_ms: line.timestamp_ms,
            key,
            value,
            headers,
            cause: line.cause,
        };
        Ok(Self { output: Some(output), commit })
    }
}

/// The bytes of a key: those of the text, or of the JSON where it is no text.
fn text(json: &str) -> Cow<'_, [u8]> {
    match serde_json::from_str::<Text<'_>>(json) {
        Ok(Text(Cow::Borrowed(text))) => Cow::Borrowed(text.as_bytes()),
        Ok(Text(Cow::Owned(text))) => Cow::Owned(text.into_bytes()),
        Err(_) => Cow::Borrowed(json.as_bytes()),
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_headers(json: &str) -> Result<Vec<Header>, &'static str> {
    const WRONG: &str = "`headers` are no pairs of name and text";
    if json == "[]" || json == "null" {
        return Ok(Vec::new());
    }
    let pairs: Vec<(Cow<'_, str>, &RawValue)> = serde_json::from_str(json).map_err(|_| WRONG)?;
    let value = |json: &str| match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => Ok(Some(text(json).into_owned())),
        Some(b'{') => {
            let header: Base64Header<'_> = serde_json::from_str(json).map_err(|_| WRONG)?;
            BASE64_STANDARD.decode(&*header.base64).map(Some).map_err(|_| WRONG)
        }
        _ => Err(WRONG),
    };
    pairs.into_iter().map(|(name, json)| Ok(Header { name: name.into_owned(), value: value(json.get())? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(line: &str) -> Said<'_> {
        Reply::read(line.as_bytes()).unwrap().output.unwrap()
    }

    #[test]
    fn a_value_is_kept_as_the_build_wrote_it() {
        let said = output(r#"{"value": {"b":1.50, "a":[ 1]}}"#);
        assert_eq!(said.value.as_deref(), Some(br#"{"b":1.50, "a":[ 1]}"#.as_slice()));
        assert_eq!((said.topic, said.key, said.cause), (None, None, None));
    }

    #[test]
    fn null_and_bytes_are_told_apart() {
        assert_eq!(output(r#"{"value":null}"#).value, None);
        assert_eq!(output(r#"{"value_base64":"AP8="}"#).value.as_deref(), Some([0, 255].as_slice()));
        assert_eq!(output(r#"{"key":"a\n","value":1}"#).key.as_deref(), Some(b"a\n".as_slice()));
        assert_eq!(output(r#"{"key":7,"value":1}"#).key.as_deref(), Some(b"7".as_slice()));
        assert_eq!(output(r#"{"key_base64":"/w==","value":1}"#).key.as_deref(), Some([255].as_slice()));
    }

    #[test]
    fn headers_keep_order_repeats_and_nulls() {
        let said = output(r#"{"value":1,"headers":[["a","x"],["a",null],["b",{"base64":"/w=="}]]}"#);
        let header = |name: &str, value: Option<&[u8]>| Header { name: name.into(), value: value.map(<[u8]>::to_vec) };
        assert_eq!(said.headers, [header("a", Some(b"x")), header("a", None), header("b", Some(&[255]))]);
    }

    #[test]
    fn commits_and_causes_name_positions() {
        let spot = Spot { topic: "t".into(), partition: 2, offset: 7, attempt: None };
        let reply = Reply::read(br#"{"commit":{"topic":"t","partition":2,"offset":7}}"#).unwrap();
        assert_eq!(reply, Reply { output: None, commit: Some(spot.clone()) });
        assert_eq!(output(r#"{"value":1,"cause":{"topic":"t","partition":2,"offset":7}}"#).cause, Some(spot));
    }

    #[test]
    fn what_is_no_output_says_why() {
        for (line, why) in [
            ("", "no JSON"),
            ("INFO started", "no JSON"),
            ("{\"value\":1} x", "no JSON"),
            ("{\"value\":", "no JSON"),
            ("[1]", "no object of an output"),
            ("17", "no object of an output"),
            ("{}", "no `value`"),
            ("{\"key\":\"a\"}", "no `value`"),
            ("{\"value\":1,\"partition\":\"x\"}", "no object of an output"),
            ("{\"value_base64\":\"!\"}", "`value_base64` is no base64"),
            ("{\"value\":1,\"headers\":[[\"a\"]]}", "`headers` are no pairs of name and text"),
        ] {
            assert_eq!(Reply::read(line.as_bytes()), Err(why), "{line}");
        }
    }
}
