//! One call of a build: what it asked, and what of it is kept.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderName;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::mask::{redact_credentials, redact_secrets};
use crate::recording::Header;

/// A request as it came, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// As sent, without the query.
    pub(super) path: String,
    /// As sent, without the question mark.
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Came,
}

/// What came as the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    Whole(Bytes),
    /// More than there is room for, of so many bytes at least; what it said is gone.
    TooLarge(u64),
    /// Not to its end in the time that a request has.
    TooSlow,
}

impl Asked {
    /// Bytes of the body; none where it did not come as a whole.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.body {
            Came::Whole(bytes) => bytes,
            Came::TooLarge(_) | Came::TooSlow => &[],
        }
    }

    /// First value of a header, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// First value of a name of the query, its escapes undone.
    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        let pairs = self.query.as_ref()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .map(|(key, value)| (unescaped(key, true), value))
            .find(|(key, _)| key == name)
            .map(|(_, value)| unescaped(value, true))
    }

    /// Segments of the path, their escapes undone.
    pub(super) fn segments(&self) -> Vec<String> {
        let segments = self.path.split('/').filter(|segment| !segment.is_empty());
        segments.map(|segment| unescaped(segment, false)).collect()
    }

    #[cfg(test)]
    pub(super) fn sample(method: &str, target: &str, headers: &[(&'static str, &'static str)], body: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value))
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: headers.iter().map(header).collect(),
            body: Came::Whole(Bytes::copy_from_slice(body.as_bytes())),
        }
    }
}

/// Undoes `%41`, and in a query `+`; what is no escape stays.
fn unescaped(text: &str, query: bool) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(if query && *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is kept of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive) struct Call {
    /// When it had come to its end, in microseconds: of the stubs' clock, and once it is taken of the drive's.
    pub(in crate::drive) arrived_us: i64,
    /// Name of the effect: the topic.
    pub(in crate::drive) effect: String,
    /// Idempotency key; where there is none, method and path.
    pub(in crate::drive) key: Vec<u8>,
    /// JSON: `method`, `path`, `query`, `idempotency_key`, `body` and `status`.
    pub(in crate::drive) value: Vec<u8>,
    /// Its body alone, which lineage looks into.
    pub(in crate::drive) body: Bytes,
    /// All of its headers, which lineage looks into.
    pub(in crate::drive) headers: Vec<Header>,
    /// Those that are kept.
    pub(in crate::drive) kept: Vec<Header>,
}

impl Call {
    /// Bytes that it takes while it waits to be kept.
    pub(super) fn size(&self) -> usize {
        let header = |header: &Header| header.name.len() + header.value.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().chain(&self.kept).map(header).sum::<usize>();
        self.key.len() + self.value.len() + self.body.len() + headers + size_of::<Self>()
    }
}

#[derive(Serialize)]
struct Value<'a> {
    method: &'a str,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    idempotency_key: Option<&'a str>,
    /// JSON as it came; text as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Length of a body that was too large to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_bytes: Option<u64>,
    /// None where the call was left without an answer.
    status: Option<u16>,
}

/// Writes down what is kept of `asked` as the value of an output.
pub(super) fn value(asked: &Asked, key: Option<&str>, status: Option<u16>) -> Vec<u8> {
    let bytes = asked.bytes();
    let json = serde_json::from_slice::<&RawValue>(bytes).map(ToOwned::to_owned).ok();
    let text = || std::str::from_utf8(bytes).ok().and_then(|text| to_raw_value(text).ok());
    let body = if bytes.is_empty() { None } else { json.or_else(text) };
    let too_large = match asked.body {
        Came::TooLarge(bytes) => Some(bytes),
        Came::Whole(_) | Came::TooSlow => None,
    };
    let value = Value {
        method: &asked.method,
        path: String::from_utf8_lossy(asked.path.as_bytes()),
        query: asked.query.as_ref().map(|query| without_secrets(query)),
        idempotency_key: key,
        body_base64: (body.is_none() && !bytes.is_empty()).then(|| BASE64_STANDARD.encode(bytes)),
        body,
        body_bytes: too_large,
        status,
    };
    // Writing text to memory cannot fail.
    serde_json::to_vec(&value).unwrap_or_default()
}

/// A query without the values of what is called a secret: services take keys and tokens there.
fn without_secrets(query: &str) -> String {
    let pairs = query.split('&').map(|pair| redact_secrets(&redact_credentials(pair.as_bytes())));
    String::from_utf8_lossy(&pairs.collect::<Vec<_>>().join(&b'&')).into_owned()
}

/// Headers by name, in order, with their repeats.
pub(super) fn headers(asked: &Asked, wanted: impl Fn(&HeaderName) -> bool) -> Vec<Header> {
    let found = asked.headers.iter().filter(|(name, _)| wanted(name));
    found
        .map(|(name, value)| Header { name: name.as_str().to_owned(), value: Some(value.as_bytes().to_vec()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(asked: &Asked, key: Option<&str>) -> String {
        String::from_utf8(value(asked, key, Some(200))).unwrap()
    }

    #[test]
    fn a_body_is_kept_as_it_came() {
        let json = Asked::sample("POST", "/a", &[], "{\"b\": 1.50, \"a\":[ 1]}");
        let expected =
            r#"{"method":"POST","path":"/a","idempotency_key":"k","body":{"b": 1.50, "a":[ 1]},"status":200}"#;
        assert_eq!(kept(&json, Some("k")), expected);
        let form = Asked::sample("POST", "/a", &[], "amount=1&to=a");
        assert!(kept(&form, None).contains(r#""idempotency_key":null,"body":"amount=1&to=a""#));
        let bytes = Asked { body: Came::Whole(Bytes::from_static(&[0, 255])), ..form.clone() };
        assert!(kept(&bytes, None).contains(r#""body_base64":"AP8=""#));
        let large = Asked { body: Came::TooLarge(77), ..form };
        assert!(kept(&large, None).contains(r#""body_bytes":77"#));
        assert!(!kept(&Asked::sample("GET", "/a", &[], ""), None).contains("body"));
    }

    #[test]
    fn no_secret_of_a_query_is_kept() {
        for query in
            ["api_key=hush1234&x=1", "x=1&access_token=hush1234", "password=hush1234", "authorization=hush1234"]
        {
            let value = kept(&Asked::sample("GET", &format!("/a?{query}"), &[], ""), None);
            assert!(!value.contains("hush1234") && value.contains("query"), "{value}");
        }
        assert!(kept(&Asked::sample("GET", "/a?expand=card&limit=3", &[], ""), None).contains("expand=card&limit=3"));
    }

    #[test]
    fn escapes_of_paths_and_queries_are_undone() {
        let asked = Asked::sample("GET", "/subjects/a%2Fb%20c+d/x%", &[], "");
        assert_eq!(asked.segments(), ["subjects", "a/b c+d", "x%"]);
        let asked = Asked::sample("GET", "/?a=1+2&b%5B%5D=%C3%A4&c", &[], "");
        assert_eq!(asked.query_value("a").as_deref(), Some("1 2"));
        assert_eq!(asked.query_value("b[]").as_deref(), Some("ä"));
        assert_eq!((asked.query_value("c").as_deref(), asked.query_value("d")), (Some(""), None));
    }
}
