//! Calls as they were recorded: one JSON object a line.
//!
//! `{"request":{"method","path","query","body"},"response":{"status","headers","body","body_base64","latency_ms"}}`. Of the request `method`
//! and `path` are required; without `query` or `body` it stands for any. Of the response `status` is required. Lines of the same request are
//! its answers in order: the same call again gets the next, the last one ever after.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::call::Asked;

/// Bytes of a file of recorded calls at most: all of it is kept in memory.
const FILE_BYTES_MAX: usize = 256 << 20;

/// Calls by what was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    answers: HashMap<String, Vec<Response>>,
}

/// One answer as recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Vec<u8>,
    /// What the body is, where no header says it.
    pub(super) kind: Option<&'static str>,
    pub(super) latency: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    request: RequestLine,
    response: ResponseLine,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    method: String,
    path: String,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    body: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseLine {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    latency_ms: f64,
}

impl Recorded {
    /// Reads all lines; empty ones are passed over.
    ///
    /// # Errors
    ///
    /// What is wrong, with the number of the line.
    pub(super) fn read(mut lines: impl BufRead) -> Result<Self, String> {
        let (mut recorded, mut line, mut bytes) = (Self::default(), Vec::new(), 0);
        for number in 1.. {
            line.clear();
            bytes += lines.read_until(b'\n', &mut line).map_err(|error| format!("line {number}: {error}"))?;
            if line.is_empty() {
                break;
            }
            if bytes > FILE_BYTES_MAX {
                return Err(format!("line {number}: more than {FILE_BYTES_MAX} bytes"));
            }
            if !line.trim_ascii().is_empty() {
                recorded.add(&line).map_err(|problem| format!("line {number}: {problem}"))?;
            }
        }
        if recorded.answers.is_empty() { Err("it holds no call".to_owned()) } else { Ok(recorded) }
    }

    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let Line { request, response } = serde_json::from_slice(line).map_err(|error| in_words(&error))?;
        if !request.path.starts_with('/') || request.path.contains('?') {
            return Err("`request.path` is no path without a query".to_owned());
        }
        let body = request.body.as_ref().map(Value::to_string);
        let key = key(&request.method.to_ascii_uppercase(), &request.path, request.query.as_deref(), body.as_deref());
        self.answers.entry(key).or_default().push(response.read()?);
        Ok(())
    }

    /// What was answered to this call when it came for the `nth` time, from zero; the most exact request counts.
    pub(super) fn answer(&self, asked: &Asked, json: Option<&Value>, nth: u32) -> Option<&Response> {
        let body = match json {
            Some(json) => json.to_string(),
            None => Value::from(String::from_utf8_lossy(asked.bytes())).to_string(),
        };
        let query = asked.query.as_deref().unwrap_or("");
        let found = [(Some(query), Some(&*body)), (None, Some(&*body)), (Some(query), None), (None, None)]
            .into_iter()
            .find_map(|(query, body)| self.answers.get(&key(&asked.method, &asked.path, query, body)))?;
        found.get((nth as usize).min(found.len() - 1))
    }
}

impl ResponseLine {
    fn read(self) -> Result<Response, String> {
        if !(200..=599).contains(&self.status) {
            return Err(format!("`response.status` {} is none from 200 to 599", self.status));
        }
        if !(0.0..=3_600_000.0).contains(&self.latency_ms) {
            return Err(format!("`response.latency_ms` {} is none from 0 to 3600000", self.latency_ms));
        }
        let (body, kind) = match (self.body, self.body_base64) {
            (None, None) => (Vec::new(), None),
            (Some(Value::String(text)), None) => (text.into_bytes(), Some("text/plain; charset=utf-8")),
            (Some(json), None) => (json.to_string().into_bytes(), Some("application/json")),
            (None, Some(text)) => {
                let bytes =
                    BASE64_STANDARD.decode(text).map_err(|_| "`response.body_base64` is no base64".to_owned())?;
                (bytes, Some("application/octet-stream"))
            }
            (Some(_), Some(_)) => return Err("`response` has both `body` and `body_base64`".to_owned()),
        };
        // What frames a body on its way belongs to that way.
        let framing = ["content-length", "transfer-encoding", "connection", "content-encoding", "keep-alive"];
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let named = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) =
                named.ok_or_else(|| format!("`response.headers` has `{name}`, which cannot be sent"))?;
            if !framing.contains(&name.as_str()) {
                headers.push((name, value));
            }
        }
        let latency = Duration::from_micros((self.latency_ms * 1e3).round() as u64);
        Ok(Response { status: self.status, headers, body, kind, latency })
    }
}

/// Where a request stands: its parts cannot hold the sign between them.
fn key(method: &str, path: &str, query: Option<&str>, body: Option<&str>) -> String {
    let part = |part: Option<&str>| part.map_or_else(|| "\u{1}".to_owned(), str::to_owned);
    [method.to_owned(), path.to_owned(), part(query), part(body)].join("\u{0}")
}

/// What serde says, without its line: each line is read by itself. No value of it is repeated.
fn in_words(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            // What was found may be a secret; what was expected is not.
            match text.split_once(", expected ").filter(|_| text.starts_with("invalid")) {
                Some((_, wanted)) if wanted.starts_with("struct") => "not an object where one is expected".to_owned(),
                Some((_, wanted)) => format!("not {wanted} where one is expected"),
                None => text.to_owned(),
            }
        }
        _ => "no JSON object on one line".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(lines: &[Value]) -> Recorded {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        Recorded::read(text.join("\n\n").as_bytes()).unwrap()
    }

    fn status(recorded: &Recorded, method: &str, target: &str, body: &str, nth: u32) -> Option<u16> {
        let asked = Asked::sample(method, target, &[], body);
        let json = serde_json::from_str(body).ok();
        recorded.answer(&asked, json.as_ref(), nth).map(|response| response.status)
    }

    #[test]
    fn the_most_exact_request_counts_and_answers_come_in_order() {
        let line = |request: Value, status: u16| json!({"request": request, "response": {"status": status}});
        let recorded = read(&[
            line(json!({"method": "post", "path": "/a"}), 201),
            line(json!({"method": "POST", "path": "/a", "body": {"x": 1, "y": [2]}}), 202),
            line(json!({"method": "POST", "path": "/a", "body": "plain"}), 203),
            line(json!({"method": "GET", "path": "/a", "query": "p=2"}), 204),
            line(json!({"method": "GET", "path": "/b"}), 404),
            line(json!({"method": "GET", "path": "/b"}), 200),
        ]);
        for (method, target, body, nth, expected) in [
            ("POST", "/a", "{}", 0, Some(201)),
            ("POST", "/a", "{ \"y\": [2], \"x\": 1 }", 0, Some(202)),
            ("POST", "/a", "plain", 0, Some(203)),
            ("GET", "/a?p=2", "", 0, Some(204)),
            ("GET", "/a", "", 0, None),
            ("GET", "/b?q=1", "", 0, Some(404)),
            ("GET", "/b", "", 1, Some(200)),
            ("GET", "/b", "", 9, Some(200)),
            ("PUT", "/b", "", 0, None),
        ] {
            assert_eq!(status(&recorded, method, target, body, nth), expected, "{method} {target} {body} {nth}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused_by_its_number() {
        let good = r#"{"request":{"method":"GET","path":"/"},"response":{"status":200}}"#;
        for (line, problem) in [
            ("nonsense", "no JSON object"),
            ("[1]", "not an object"),
            (r#"{"request":{"method":"GET"},"response":{"status":200}}"#, "missing field `path`"),
            (r#"{"request":{"method":"GET","path":"/?a"},"response":{"status":200}}"#, "request.path"),
            (r#"{"request":{"method":"GET","path":"/"},"response":{"status":100}}"#, "status"),
            (r#"{"request":{"method":"GET","path":"/"},"response":{"status":"hush"}}"#, "not u16"),
            (r#"{"request":{"method":"GET","path":"/"},"response":{"status":200,"latency_ms":-1}}"#, "latency_ms"),
            (r#"{"request":{"method":"GET","path":"/"},"response":{"status":200,"body_base64":"!"}}"#, "base64"),
            (r#"{"request":{"method":"GET","path":"/"},"response":{"status":200},"at":1}"#, "unknown field `at`"),
        ] {
            let error = Recorded::read(format!("{good}\n{line}\n").as_bytes()).unwrap_err();
            assert!(error.starts_with("line 2: ") && error.contains(problem), "{line}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
        assert!(Recorded::read(&b"\n"[..]).is_err());
    }
}
