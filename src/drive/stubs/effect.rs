//! What one effect answers: as recorded, by the first rule that fits, or that nothing does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use serde_json_path::JsonPath;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::call::{Asked, Call, Came, headers, value};
use super::pattern::Pattern;
use super::recorded::{Recorded, Response};
use super::serve::Answer;
use super::template::{Body, Parts, Template};
use crate::outcome::EffectCount;
use crate::plan::Seed;

/// Most calls of a generation of which is remembered how often they came; those of the last two generations are.
const CALLS_MAX: usize = 1 << 17;

/// Requests without a rule that are named.
const NAMED_MAX: usize = 20;

/// Bytes of such a name.
const NAME_BYTES: usize = 200;

/// One part of the world, checked.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub(super) name: String,
    pub(super) key: KeyPlace,
    /// Headers of requests that are kept.
    pub(super) headers: Vec<HeaderName>,
    pub(super) recorded: Option<Recorded>,
    pub(super) rules: Vec<Rule>,
    pub(super) seed: Seed,
}

/// Where a call carries its idempotency key.
#[derive(Debug, Clone)]
pub(super) enum KeyPlace {
    Header(HeaderName),
    Body(JsonPath),
}

/// One rule, checked.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) method: Option<hyper::Method>,
    pub(super) path: Pattern,
    /// Runs over an array of one, so that `@` is the body.
    pub(super) filter: Option<JsonPath>,
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Body,
    /// Least and most, in microseconds.
    pub(super) latency_us: (i64, i64),
    pub(super) error_rate: f64,
    pub(super) error_status: StatusCode,
    pub(super) timeout_rate: f64,
}

/// What is drawn for a call; each draws for itself.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Error,
    Timeout,
    Latency,
}

/// What one drive has called so far.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// How often each call came, young and old generation.
    times: [HashMap<u64, u32>; 2],
    count: EffectCount,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> EffectCount {
        self.lock().count.clone()
    }
}

impl Counted {
    /// How often this call has come before.
    fn time(&mut self, call: u64) -> u32 {
        let [young, old] = &mut self.times;
        if young.len() >= CALLS_MAX {
            std::mem::swap(young, old);
            young.clear();
        }
        let before = young.get(&call).or_else(|| old.get(&call)).copied().unwrap_or(0);
        young.insert(call, before.saturating_add(1));
        before
    }

    fn unmatched(&mut self, asked: &Asked) {
        self.count.unmatched += 1;
        let name: String = format!("{} {}", asked.method, asked.path).chars().take(NAME_BYTES).collect();
        let named = &mut self.count.unmatched_calls;
        if named.len() < NAMED_MAX || named.contains_key(&name) {
            *named.entry(name).or_default() += 1;
        }
    }
}

impl Effect {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Answers a call that had come to its end at `arrived_us`, in microseconds of the stubs' clock.
    pub(super) fn answer(&self, asked: &Asked, arrived_us: i64, seen: &Seen) -> Answer {
        let json: Option<Value> = serde_json::from_slice(asked.bytes()).ok();
        let key = self.key_of(asked, json.as_ref());
        let call = Self::identity(asked, key.as_deref());
        let mut answer = {
            let mut counted = seen.lock();
            let nth = counted.time(call);
            let answer = self.decide(asked, json.as_ref(), key.as_deref(), call, nth, &mut counted);
            counted.count.calls += 1;
            counted.count.failed += u64::from(answer.status.is_some_and(|status| status.is_server_error()));
            counted.count.unanswered += u64::from(answer.status.is_none());
            answer
        };
        let status = answer.status.map(|status| status.as_u16());
        let known_by = key.clone().unwrap_or_else(|| format!("{} {}", asked.method, asked.path));
        answer.call = Some(Call {
            arrived_us,
            effect: self.name.clone(),
            key: known_by.into_bytes(),
            value: value(asked, key.as_deref(), status),
            body: match &asked.body {
                Came::Whole(bytes) => bytes.clone(),
                Came::TooLarge(_) | Came::TooSlow => bytes::Bytes::new(),
            },
            headers: headers(asked, |_| true),
            kept: headers(asked, |name| self.headers.contains(name)),
        });
        answer
    }

    fn decide(
        &self,
        asked: &Asked,
        json: Option<&Value>,
        key: Option<&str>,
        call: u64,
        nth: u32,
        counted: &mut Counted,
    ) -> Answer {
        match asked.body {
            Came::TooLarge(_) => {
                return Answer::json(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &json!({ "error": "the body is larger than `stubs.body-bytes-max`" }),
                );
            }
            Came::TooSlow => {
                return Answer::json(
                    StatusCode::REQUEST_TIMEOUT,
                    &json!({ "error": "the body did not come within `stubs.request-timeout`" }),
                );
            }
            Came::Whole(_) => {}
        }
        if let Some(response) = self.recorded.as_ref().and_then(|recorded| recorded.answer(asked, json, nth)) {
            return as_recorded(response);
        }
        let fits = |rule: &&Rule| rule.method.as_ref().is_none_or(|method| method.as_str() == asked.method);
        for rule in self.rules.iter().filter(fits) {
            let Some(path) = rule.path.fit(&asked.path) else { continue };
            if !rule.takes(json) {
                continue;
            }
            let id = format!("{:016x}", xxh3_64_with_seed(self.name.as_bytes(), call));
            let parts = Parts { asked, json, key, id: &id, path: &path };
            return rule.answer(&parts, |purpose| self.draw(call, nth, purpose));
        }
        counted.unmatched(asked);
        let said = format!("no rule of the effect `{}` answers {} {}", self.name, asked.method, asked.path);
        Answer::json(StatusCode::NOT_IMPLEMENTED, &json!({ "error": said }))
    }

    fn key_of(&self, asked: &Asked, json: Option<&Value>) -> Option<String> {
        match &self.key {
            KeyPlace::Header(name) => asked.header(name.as_str()).filter(|key| !key.is_empty()).map(str::to_owned),
            KeyPlace::Body(path) => match path.query(json?).first()? {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
        }
    }

    /// What a call is known by: its key, else all that it says.
    fn identity(asked: &Asked, key: Option<&str>) -> u64 {
        let target = format!("{}\u{0}{}\u{0}{}", asked.method, asked.path, asked.query.as_deref().unwrap_or(""));
        let rest = key.map_or_else(|| xxh3_64(asked.bytes()), |key| xxh3_64_with_seed(key.as_bytes(), 1));
        xxh3_64_with_seed(target.as_bytes(), rest)
    }

    /// Draws a number from 0 up to, not including, 1, for the `nth` time that a call comes.
    fn draw(&self, call: u64, nth: u32, purpose: Purpose) -> f64 {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&call.to_le_bytes());
        bytes[8..12].copy_from_slice(&nth.to_le_bytes());
        bytes[12] = purpose as u8;
        let bits = self.seed.draws(&format!("effect {}", self.name))(xxh3_64(&bytes));
        (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

impl Rule {
    fn takes(&self, json: Option<&Value>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| json.is_some_and(|json| !filter.query(&Value::Array(vec![json.clone()])).is_empty()))
    }

    fn answer(&self, parts: &Parts<'_>, draw: impl Fn(Purpose) -> f64) -> Answer {
        if self.timeout_rate > 0.0 && draw(Purpose::Timeout) < self.timeout_rate {
            return Answer::never();
        }
        let (least_us, most_us) = self.latency_us;
        let latency_us = least_us + (draw(Purpose::Latency) * (most_us - least_us) as f64) as i64;
        let mut answer = if self.error_rate > 0.0 && draw(Purpose::Error) < self.error_rate {
            Answer::json(self.error_status, &json!({ "error": "failed by `error-rate`" }))
        } else {
            let (body, kind) = self.body.fill(parts);
            let mut answer = Answer::new(self.status, body, kind);
            for (name, template) in &self.headers {
                // What a call cannot say in a header is left out.
                if let Ok(value) = HeaderValue::from_str(&template.text(parts)) {
                    answer.put(name.clone(), value);
                }
            }
            answer
        };
        answer.latency = Duration::from_micros(latency_us.max(0) as u64);
        answer
    }
}

fn as_recorded(response: &Response) -> Answer {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    let mut answer = Answer::new(status, response.body.clone(), response.kind);
    for (name, value) in &response.headers {
        answer.put(name.clone(), value.clone());
    }
    answer.latency = response.latency;
    answer
}

impl Answer {
    /// An answer with a body, of which `kind` says what it is.
    pub(super) fn new(status: StatusCode, body: Vec<u8>, kind: Option<&'static str>) -> Self {
        let headers = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))).into_iter().collect();
        Self { status: Some(status), headers, body, latency: Duration::ZERO, call: None }
    }

    /// An answer of JSON.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, body.to_string().into_bytes(), Some("application/json"))
    }

    /// None: the connection ends after a while.
    fn never() -> Self {
        Self { status: None, headers: Vec::new(), body: Vec::new(), latency: Duration::ZERO, call: None }
    }

    /// Adds a header in place of one of the same name.
    pub(super) fn put(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::drive::stubs::{EffectSettings, StubRules, StubSettings};
    use crate::settings::SettingError;

    fn checked(toml: &str) -> Result<StubRules, SettingError> {
        #[derive(serde::Deserialize)]
        struct Scenario {
            effect: Vec<EffectSettings>,
            #[serde(default)]
            stubs: StubSettings,
        }
        let Scenario { effect, stubs } = toml::from_str(toml).unwrap();
        StubRules::check(&effect, stubs, Path::new("."), Seed(7))
    }

    fn effect(toml: &str) -> Effect {
        (*checked(toml).unwrap().effects[0]).clone()
    }

    fn charge(body: &str, key: &'static str) -> Asked {
        Asked::sample("POST", "/v1/charges", &[("idempotency-key", key)], body)
    }

    const PAY: &str = "
        [[effect]]
        name = 'pay'
        [[effect.rules]]
        method = 'POST'
        path = '/v1/charges'
        where = '@.amount > 100'
        status = 402
        body = { error = 'too much', amount = '{body.amount}' }
        [[effect.rules]]
        method = 'POST'
        path = '/v1/charges'
        status = 201
        headers = { location = '/v1/charges/{id}' }
        body = { id = '{id}', key = '{key}' }
        latency = '20ms..80ms'
        error-rate = '30%'
        [[effect.rules]]
        method = 'GET'
        path = '/v1/charges/{id}'
        body = 'charge {path.id}'
    ";

    #[test]
    fn the_first_rule_that_fits_answers() {
        let (effect, seen) = (effect(PAY), Seen::default());
        let large = effect.answer(&charge(r#"{"amount":101}"#, "a"), 0, &seen);
        assert_eq!(large.status.unwrap(), 402);
        assert_eq!(large.body, br#"{"amount":101,"error":"too much"}"#);
        let read = effect.answer(&Asked::sample("GET", "/v1/charges/ch_7", &[], ""), 0, &seen);
        assert_eq!((read.status.unwrap().as_u16(), &*read.body), (200, &b"charge ch_7"[..]));
        let call = read.call.unwrap();
        assert_eq!((&*call.key, &*call.effect), (&b"GET /v1/charges/ch_7"[..], "pay"));
    }

    #[test]
    fn what_no_rule_fits_is_answered_with_501_and_named() {
        let (effect, seen) = (effect(PAY), Seen::default());
        for _ in 0..3 {
            let answer = effect.answer(&Asked::sample("DELETE", "/v1/charges/1", &[], ""), 0, &seen);
            assert_eq!(answer.status.unwrap(), 501);
            assert!(String::from_utf8(answer.call.unwrap().value).unwrap().contains(r#""status":501"#));
        }
        let count = seen.count();
        assert_eq!((count.calls, count.unmatched), (3, 3));
        assert_eq!(count.unmatched_calls["DELETE /v1/charges/1"], 3);
    }

    #[test]
    fn the_same_call_gets_the_same_in_every_drive_and_another_try_draws_anew() {
        let effect = effect(PAY);
        let drive = || {
            let seen = Seen::default();
            let answers = (0..400).map(|number| {
                // Each charge is tried twice.
                let key: &'static str = Box::leak(format!("k{}", number / 2).into_boxed_str());
                let answer = effect.answer(&charge("{}", key), 0, &seen);
                (answer.status.unwrap().as_u16(), answer.latency, answer.body)
            });
            (answers.collect::<Vec<_>>(), seen.count())
        };
        let ((one, count), (other, _)) = (drive(), drive());
        assert_eq!(one, other);
        let failed = one.iter().filter(|(status, _, _)| *status == 503).count();
        assert!((90..150).contains(&failed), "{failed} of 400 failed where 30 % were to");
        assert_eq!(count.failed, failed as u64);
        assert!(one.chunks(2).any(|pair| pair[0].0 == 503 && pair[1].0 == 201), "no second try went through");
        assert!(one.iter().all(|(_, latency, _)| (20..=80).contains(&latency.as_millis())));
        assert!(one.iter().any(|(_, latency, _)| latency.as_millis() > 60));
    }

    #[test]
    fn a_key_stands_in_a_header_or_in_the_body() {
        let toml = "[[effect]]\nname = 'pay'\nkey = '$.payment_id'\nheaders = ['x-tenant']\n[[effect.rules]]\n";
        let (effect, seen) = (effect(toml), Seen::default());
        let asked = Asked::sample("POST", "/a", &[("x-tenant", "north"), ("user-agent", "x")], r#"{"payment_id":17}"#);
        let call = effect.answer(&asked, 5, &seen).call.unwrap();
        assert_eq!((&*call.key, call.arrived_us), (&b"17"[..], 5));
        assert_eq!((call.kept.len(), &*call.kept[0].name, call.headers.len()), (1, "x-tenant", 2));
        let without = effect.answer(&Asked::sample("POST", "/a", &[], "{}"), 0, &seen).call.unwrap();
        assert_eq!(&*without.key, b"POST /a");
    }

    #[test]
    fn a_call_that_is_to_time_out_has_no_answer() {
        let toml = "[[effect]]\nname = 'pay'\n[[effect.rules]]\ntimeout-rate = 1\n";
        let seen = Seen::default();
        let answer = effect(toml).answer(&charge("{}", "a"), 0, &seen);
        assert_eq!((answer.status, seen.count().unanswered), (None, 1));
        assert!(String::from_utf8(answer.call.unwrap().value).unwrap().contains(r#""status":null"#));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        let rule = |text: &str| format!("[[effect]]\nname = 'pay'\n[[effect.rules]]\n{text}");
        for (toml, key) in [
            ("[[effect]]\nname = 'p y'\nrules = [{}]".to_owned(), "effect[0].name"),
            ("[[effect]]\nname = 'registry'\nrules = [{}]".to_owned(), "effect[0].name"),
            ("[[effect]]\nname = 'pay'".to_owned(), "effect[0].name"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\n[[effect]]\nname = 'A'\nrules = [{}]".to_owned(), "effect[1].name"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\nkey = '$['".to_owned(), "effect[0].key"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\nkey = 'a b'".to_owned(), "effect[0].key"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\nkey = 'authorization'".to_owned(), "effect[0].key"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\nheaders = ['a b']".to_owned(), "effect[0].headers[0]"),
            ("[[effect]]\nname = 'a'\nrules = [{}]\nrepeats = 'twice'".to_owned(), "effect[0].repeats"),
            ("[[effect]]\nname = 'a'\nrecorded = 'nowhere.ndjson'".to_owned(), "effect[0].recorded"),
            (rule("method = 'P T'"), "effect[0].rules[0].method"),
            (rule("path = 'v1'"), "effect[0].rules[0].path"),
            (rule("where = '@.a = 1'"), "effect[0].rules[0].where"),
            (rule("status = 100"), "effect[0].rules[0].status"),
            (rule("error-status = 1000"), "effect[0].rules[0].error-status"),
            (rule("error-rate = 2"), "effect[0].rules[0].error-rate"),
            (rule("timeout-rate = '-1%'"), "effect[0].rules[0].timeout-rate"),
            (rule("latency = '2h'"), "effect[0].rules[0].latency"),
            (rule("headers = { 'a b' = 'x' }"), "effect[0].rules[0].headers.a b"),
            (rule("body = '{path.id}'"), "effect[0].rules[0].body"),
            (rule("[stubs]\nbody-bytes-max = 0"), "stubs.body-bytes-max"),
            (rule("[stubs]\nbody-bytes-max = 1000\nin-flight-bytes-max = 999"), "stubs.in-flight-bytes-max"),
            (rule("[stubs]\nconnections-max = 0"), "stubs.connections-max"),
            (rule("[stubs]\nrequest-timeout = '0s'"), "stubs.request-timeout"),
        ] {
            assert_eq!(checked(&toml).unwrap_err().key, key, "{toml}");
        }
    }
}
