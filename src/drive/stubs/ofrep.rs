//! The stub that evaluates flags: the `OpenFeature` Remote Evaluation Protocol, as flagd serves it.
//!
//! After <https://github.com/open-feature/protocol/blob/main/service/openapi.yaml>: paths, answers and error codes are those that
//! providers know. Every flag is static: no context changes what it is, and how many requests brought one is counted.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{ALLOW, ETAG, HeaderValue, IF_NONE_MATCH};
use serde_json::{Value, json};

use super::call::{Asked, Came};
use super::serve::Answer;
use crate::drive::flags::{Flags, Told};

/// How often a provider may ask for all flags, in milliseconds: a change is to be seen soon.
const POLL_MS: u64 = 100;

/// Tag of what the protocol's configuration says: it never changes.
const CONFIGURED: &str = "\"rehearsal\"";

/// Answers requests by the flags of one drive.
#[derive(Debug)]
pub(super) struct Ofrep(Arc<Flags>);

impl Ofrep {
    pub(super) fn new(flags: Arc<Flags>) -> Self {
        Self(flags)
    }

    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        self.0.count_request();
        let segments = asked.segments();
        let steps: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (asked.method.as_str(), &*steps) {
            ("POST", ["ofrep", "v1", "evaluate", "flags", key]) => self.one(asked, key),
            ("POST", ["ofrep", "v1", "evaluate", "flags"]) => self.all(asked),
            ("GET" | "HEAD", ["ofrep", "v1", "configuration"]) => configuration(asked),
            (_, ["ofrep", "v1", "evaluate", "flags"] | ["ofrep", "v1", "evaluate", "flags", _]) => other_method("POST"),
            (_, ["ofrep", "v1", "configuration"]) => other_method("GET"),
            _ => failure(StatusCode::NOT_FOUND, &json!({ "errorDetails": "there is no such path" })),
        }
    }

    fn one(&self, asked: &Asked, key: &str) -> Answer {
        if let Err((status, mut said)) = self.check(asked) {
            said["key"] = key.into();
            return failure(status, &said);
        }
        if let Some(told) = self.0.ask(key) {
            return Answer::json(StatusCode::OK, &in_words(&told));
        }
        let said = format!("the flag {key} is not in the build's flags");
        failure(StatusCode::NOT_FOUND, &json!({ "key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": said }))
    }

    fn all(&self, asked: &Asked) -> Answer {
        if let Err((status, said)) = self.check(asked) {
            return failure(status, &said);
        }
        let (version, told) = self.0.ask_all(|version| knows(asked, &tag(version)));
        let mut answer = match told {
            Some(all) => {
                let all: Vec<Value> = all.iter().map(in_words).collect();
                Answer::json(StatusCode::OK, &json!({ "flags": all }))
            }
            None => Answer::new(StatusCode::NOT_MODIFIED, Vec::new(), None),
        };
        if let Ok(tag) = HeaderValue::from_str(&tag(version)) {
            answer.put(ETAG, tag);
        }
        answer
    }

    /// Holds a request's body against the protocol, and counts its context where that has something in it.
    fn check(&self, asked: &Asked) -> Result<(), (StatusCode, Value)> {
        if has_context(asked)? {
            self.0.count_context();
        }
        Ok(())
    }
}

fn tag(version: u64) -> String {
    format!("\"flags-{version}\"")
}

/// Whether who asks says that it knows what has this tag.
fn knows(asked: &Asked, tag: &str) -> bool {
    let values = asked.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn in_words(told: &Told) -> Value {
    let Told { name, variant, value } = told;
    json!({ "key": name, "reason": "STATIC", "variant": variant, "value": value, "metadata": {}, "cacheable": false })
}

/// Holds a request's body against the protocol: nothing, or an object whose `context` is one. Returns whether that has something in it.
fn has_context(asked: &Asked) -> Result<bool, (StatusCode, Value)> {
    let wrong =
        |code: &str, said: &str| Err((StatusCode::BAD_REQUEST, json!({ "errorCode": code, "errorDetails": said })));
    match &asked.body {
        Came::TooLarge(_) => {
            let said =
                json!({ "errorCode": "GENERAL", "errorDetails": "the body is larger than `stubs.body-bytes-max`" });
            return Err((StatusCode::PAYLOAD_TOO_LARGE, said));
        }
        Came::TooSlow => {
            let said = json!({ "errorCode": "GENERAL", "errorDetails": "the body did not come" });
            return Err((StatusCode::REQUEST_TIMEOUT, said));
        }
        Came::Whole(bytes) if bytes.is_empty() => return Ok(false),
        Came::Whole(_) => {}
    }
    match serde_json::from_slice::<Value>(asked.bytes()) {
        Ok(Value::Object(body)) => match body.get("context") {
            None => Ok(false),
            Some(Value::Object(context)) => Ok(!context.is_empty()),
            Some(_) => wrong("INVALID_CONTEXT", "the context is no object"),
        },
        Ok(_) => wrong("PARSE_ERROR", "the body is no object of JSON"),
        Err(error) => wrong("PARSE_ERROR", &format!("the body is no JSON: {error}")),
    }
}

fn configuration(asked: &Asked) -> Answer {
    let mut answer = if knows(asked, CONFIGURED) {
        Answer::new(StatusCode::NOT_MODIFIED, Vec::new(), None)
    } else {
        let said = json!({
            "name": "rehearsal",
            "capabilities": {
                "cacheInvalidation": { "polling": { "enabled": true, "minPollingIntervalMs": POLL_MS } },
                "flagEvaluation": { "supportedTypes": ["int", "float", "string", "boolean", "object"] },
                "caching": { "enabled": false },
            },
        });
        Answer::json(StatusCode::OK, &said)
    };
    answer.put(ETAG, HeaderValue::from_static(CONFIGURED));
    answer
}

fn other_method(method: &'static str) -> Answer {
    let said = json!({ "errorDetails": format!("this path takes {method} alone") });
    let mut answer = failure(StatusCode::METHOD_NOT_ALLOWED, &said);
    answer.put(ALLOW, HeaderValue::from_static(method));
    answer
}

fn failure(status: StatusCode, said: &Value) -> Answer {
    Answer::json(status, said)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::plan::FlagChange;
    use crate::settings::Flag;

    fn stub() -> Ofrep {
        let flags = BTreeMap::from([("fast".to_owned(), Flag::from(true)), ("who".to_owned(), Flag::from("a"))]);
        let change = FlagChange {
            name: "kill".to_owned(),
            flag: "fast".to_owned(),
            to: Flag::from(false),
            build: None,
            due_us: Some(10),
        };
        // Nobody wrote the file there: the answers do not depend on it.
        Ofrep::new(Arc::new(Flags::new(&flags, vec![change], Path::new("/nowhere"))))
    }

    fn ask(
        stub: &Ofrep,
        method: &str,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> (u16, Value, Option<String>) {
        let answer = stub.answer(&Asked::sample(method, path, headers, body));
        let tag = answer.headers.iter().find(|(name, _)| *name == ETAG);
        let tag = tag.map(|(_, value)| value.to_str().unwrap().to_owned());
        let said = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status.unwrap().as_u16(), said, tag)
    }

    const FLAGS: &str = "/ofrep/v1/evaluate/flags";

    #[test]
    fn a_flag_is_evaluated_with_its_type_and_what_is_not_set_is_not_found() {
        let stub = stub();
        let (status, said, _) =
            ask(&stub, "POST", "/ofrep/v1/evaluate/flags/fast", &[], r#"{"context":{"targetingKey":"u1"}}"#);
        assert_eq!(
            (status, &said["value"], &said["variant"], &said["reason"]),
            (200, &json!(true), &json!("on"), &json!("STATIC"))
        );
        assert_eq!(ask(&stub, "POST", "/ofrep/v1/evaluate/flags/%77ho", &[], "").1["value"], "a");
        let (status, said, _) = ask(&stub, "POST", "/ofrep/v1/evaluate/flags/slow", &[], "{}");
        assert_eq!((status, &said["errorCode"], &said["key"]), (404, &json!("FLAG_NOT_FOUND"), &json!("slow")));
        for (body, code) in [("[]", "PARSE_ERROR"), ("{", "PARSE_ERROR"), (r#"{"context":7}"#, "INVALID_CONTEXT")] {
            let (status, said, _) = ask(&stub, "POST", "/ofrep/v1/evaluate/flags/fast", &[], body);
            assert_eq!((status, &said["errorCode"], &said["key"]), (400, &json!(code), &json!("fast")), "{body}");
            assert_eq!(ask(&stub, "POST", FLAGS, &[], body).0, 400);
        }
        assert_eq!(ask(&stub, "GET", FLAGS, &[], "").0, 405);
        assert_eq!(ask(&stub, "POST", "/flags", &[], "").0, 404);
        let mut report = crate::outcome::EndingReport::new(crate::outcome::Ending::Finished, "");
        stub.0.report(&mut report);
        let report = report.flags.unwrap();
        // A request that was refused evaluated nothing.
        assert_eq!((report.flags["fast"][0].asked, report.flags["who"][0].asked), (1, 1));
        assert_eq!((report.unset["slow"], report.requests, report.bulk), (1, 11, 0));
        // Of the contexts one had something in it, by which production might have told users apart.
        assert_eq!(report.with_context, 1);
    }

    #[test]
    fn all_flags_are_evaluated_at_once_and_not_again_until_one_changes() {
        let stub = stub();
        let (status, said, tag) = ask(&stub, "POST", FLAGS, &[], r#"{"context":{}}"#);
        let keys: Vec<_> = said["flags"].as_array().unwrap().iter().map(|flag| flag["key"].clone()).collect();
        assert_eq!((status, keys, tag.as_deref()), (200, vec![json!("fast"), json!("who")], Some("\"flags-0\"")));
        let known = [("if-none-match", "\"x\", W/\"flags-0\"")];
        assert_eq!(ask(&stub, "POST", FLAGS, &known, ""), (304, Value::Null, tag));
        stub.0.change(9, 9);
        assert_eq!(ask(&stub, "POST", FLAGS, &known, "").0, 304);
        stub.0.change(10, 12);
        let (status, said, tag) = ask(&stub, "POST", FLAGS, &known, "");
        assert_eq!((status, &said["flags"][0]["value"], &*tag.unwrap()), (200, &json!(false), "\"flags-1\""));
        assert_eq!(ask(&stub, "POST", "/ofrep/v1/evaluate/flags/fast", &[], "").1["variant"], "off");
        let mut report = crate::outcome::EndingReport::new(crate::outcome::Ending::Finished, "");
        stub.0.report(&mut report);
        let flags = report.flags.unwrap();
        let counts: Vec<_> = flags.flags["fast"].iter().map(|count| (count.asked, count.in_bulk)).collect();
        assert_eq!((counts, flags.bulk), (vec![(0, 1), (1, 1)], 4));
        assert_eq!((flags.changes[0].at_us, &flags.changes[0].to), (12, &json!(false)));
        assert_eq!(report.faults["kill"].instances, 1);
    }

    #[test]
    fn a_provider_finds_how_often_it_may_ask() {
        let (status, said, tag) = ask(&stub(), "GET", "/ofrep/v1/configuration", &[], "");
        assert_eq!((status, &said["capabilities"]["cacheInvalidation"]["polling"]["enabled"]), (200, &json!(true)));
        assert_eq!(tag.as_deref(), Some(CONFIGURED));
        assert_eq!(ask(&stub(), "GET", "/ofrep/v1/configuration", &[("if-none-match", "*")], "").0, 304);
    }
}
