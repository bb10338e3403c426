//! `[[effect]]` and `[stubs]`: what stands in for the world, checked before anything is started.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;
use hyper::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::effect::{Effect, KeyPlace, Rule};
use super::pattern::Pattern;
use super::recorded::Recorded as RecordedCalls;
use super::registry::{Level, Recorded};
use super::template::{Body, Template};
use crate::drive::Percent;
use crate::mask::carries_credentials;
use crate::plan::Seed;
use crate::schema::Schemas;
use crate::settings::{SettingError, Span};

/// Header that carries an idempotency key where the scenario names no other place.
const KEY_HEADER: &str = "idempotency-key";

/// Names that stand in an effect's place in texts of the scenario.
const TAKEN: [&str; 3] = ["registry", "ofrep", "stage"];

/// One part of the world that builds call by HTTP: a stub answers in its place, and every call is an output on the channel `http`.
///
/// A build finds it at `{effects.NAME}`, or in its environment as `REHEARSAL_EFFECT_NAME`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EffectSettings {
    /// Name: letters, digits, hyphens and underscores. The topic of its calls.
    pub name: String,
    /// Where a call carries its idempotency key: the name of a header, or a JSONPath into its JSON body such as `$.payment_id`;
    /// `Idempotency-Key` where nothing is said. A call without one is known by its method and path.
    #[serde(default)]
    pub key: Option<String>,
    /// Headers of requests that are kept with the calls and compared. None where nothing is said: most differ at every call.
    #[serde(default)]
    pub headers: Vec<String>,
    /// File of recorded calls, relative to the scenario's: one JSON object a line with `request` and `response`. What it knows is
    /// answered as recorded, ahead of all `rules`.
    #[serde(default)]
    pub recorded: Option<String>,
    /// What the report says of identities that a build would have called again, `{count}` being their number: "charged {count} cards
    /// twice".
    #[serde(default)]
    pub repeats: Option<String>,
    /// Answers, the first that fits first. What none fits is answered with 501 and reported.
    #[serde(default)]
    pub rules: Vec<AnswerSettings>,
}

/// One rule: which calls it fits, and what they are answered.
///
/// In `headers` and `body` these stand for parts of the call: `{key}` (idempotency key), `{id}` (sixteen hexadecimal digits that the same
/// call gets in every drive), `{path.NAME}`, `{query.NAME}`, `{header.NAME}`, `{body}` and `{body.NAME.NAME}`. A text of JSON that is such
/// a word alone takes the value with its type.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AnswerSettings {
    /// Method; any where nothing is said.
    #[serde(default)]
    pub method: Option<String>,
    /// Path without its query: `*` stands for anything, `{name}` for one segment; any path where nothing is said.
    #[serde(default)]
    pub path: Option<String>,
    /// An RFC 9535 filter in which `@` is the JSON body: "@.amount > 100".
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
    /// Status of the answer; 200 where nothing is said.
    #[serde(default)]
    pub status: Option<u16>,
    /// Headers of the answer. Without `content-type` among them it is `application/json` or `text/plain`, as the body is.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Body of the answer: text, or a table, list, number or boolean that is written as JSON; empty where nothing is said.
    #[serde(default)]
    #[schemars(with = "Value")]
    pub body: Option<AnswerBody>,
    /// How long the answer takes: `"20ms"`, or drawn evenly from `"20ms..80ms"`.
    #[serde(default)]
    pub latency: Option<LatencySettings>,
    /// Share of calls that fail with `error-status`, such as `"1%"`. What fails is drawn by the seed, the effect's name and the call: the
    /// same in every drive, and drawn anew when the build tries again.
    #[serde(default)]
    pub error_rate: Option<Percent>,
    /// Status of such a failure; 503 where nothing is said.
    #[serde(default)]
    pub error_status: Option<u16>,
    /// Share of calls that are never answered, drawn likewise: the build gives up, or the connection ends after `stubs.request-timeout`.
    #[serde(default)]
    pub timeout_rate: Option<Percent>,
}

/// The body of an answer as it is written: text, or JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerBody {
    /// Text as it stands.
    Text(String),
    /// Anything else, written as JSON.
    Json(Value),
}

impl<'de> Deserialize<'de> for AnswerBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| match value {
            Value::String(text) => Self::Text(text),
            value => Self::Json(value),
        })
    }
}

/// How long an answer takes: one duration, or two with two dots between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySettings {
    /// Least.
    pub least: Span,
    /// Most.
    pub most: Span,
}

impl FromStr for LatencySettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = match text.split_once("..") {
            Some((least, most)) => (least.parse()?, most.parse()?),
            None => (text.parse()?, text.parse()?),
        };
        if least > most {
            return Err(format!("`{text}` ends before it begins; write the shorter duration first"));
        }
        Ok(Self { least, most })
    }
}

impl<'de> Deserialize<'de> for LatencySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for LatencySettings {
    fn schema_name() -> Cow<'static, str> {
        "Latency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A duration, \"20ms\", or two, \"20ms..80ms\"" })
    }
}

/// Bounds of the HTTP stubs of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StubSettings {
    /// Most bytes of a request's body; a larger one is answered with 413.
    pub body_bytes_max: u64,
    /// Most bytes of the bodies that all stubs of a drive hold at once; whoever brings more waits until others have been answered.
    pub in_flight_bytes_max: u64,
    /// Most connections of each stub; whoever comes beyond them waits.
    pub connections_max: u32,
    /// Longest wait for the head of a request; a connection that is kept open without one ends then.
    pub header_timeout: Span,
    /// Longest time that a request may take to come, and longest time that a call stays without an answer.
    pub request_timeout: Span,
}

impl Default for StubSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            in_flight_bytes_max: 64 << 20,
            connections_max: 256,
            header_timeout: Span(Duration::from_secs(60)),
            request_timeout: Span(Duration::from_secs(60)),
        }
    }
}

/// Bytes of bodies that a scenario may ask for: all that wait to be kept have room for one of them.
pub(super) const BODY_BYTES_MOST: u64 = super::calls::BYTES_WAITING as u64;

/// The schema registry that each drive has of its own, at `{registry}`: it serves what the recording keeps, and takes what the drive
/// registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RegistrySettings {
    /// What it asks of schemas that follow on each other, where the builds set nothing else; what breaks it is refused with 409.
    /// `BACKWARD` where nothing is said.
    pub compatibility: Level,
}

/// Checked settings of the stubs of every drive.
#[derive(Debug, Clone)]
pub struct StubRules {
    pub(super) effects: Vec<Arc<Effect>>,
    pub(super) recorded: Recorded,
    pub(super) bounds: StubSettings,
}

impl StubRules {
    /// Checks `effects`, which stand under `effect` in a scenario in `folder`, and `bounds`, which stand under `stubs`; `seed` is the
    /// scenario's.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key; a line of recorded calls by its number.
    pub fn check(
        effects: &[EffectSettings],
        bounds: StubSettings,
        folder: &Path,
        seed: Seed,
    ) -> Result<Self, SettingError> {
        if !(1..=BODY_BYTES_MOST).contains(&bounds.body_bytes_max) {
            let problem = format!("{} bytes are out of range", bounds.body_bytes_max);
            let instead = format!("Write a number from 1 to {BODY_BYTES_MOST}.");
            return Err(SettingError::new("stubs.body-bytes-max", problem, instead));
        }
        if !(bounds.body_bytes_max..=u64::from(u32::MAX)).contains(&bounds.in_flight_bytes_max) {
            let problem = format!("{} bytes are out of range", bounds.in_flight_bytes_max);
            let instead = format!("Write a number from {} (`body-bytes-max`) to {}.", bounds.body_bytes_max, u32::MAX);
            return Err(SettingError::new("stubs.in-flight-bytes-max", problem, instead));
        }
        if !(1..=10_000).contains(&bounds.connections_max) {
            let problem = format!("{} connections are out of range", bounds.connections_max);
            return Err(SettingError::new("stubs.connections-max", problem, "Write a number from 1 to 10000."));
        }
        for (key, span) in [("header-timeout", bounds.header_timeout), ("request-timeout", bounds.request_timeout)] {
            if span.0.is_zero() {
                let instead = "Write a duration above zero, such as `\"10s\"`.";
                return Err(SettingError::new(format!("stubs.{key}"), "nobody is that fast", instead));
            }
        }
        let mut names = BTreeSet::new();
        let mut checked = Vec::new();
        for (index, settings) in effects.iter().enumerate() {
            let key = format!("effect[{index}]");
            let effect = settings.check(&key, folder, seed, bounds)?;
            if !names.insert(settings.name.to_ascii_uppercase().replace('-', "_")) {
                let problem = format!("another effect is called `{}` already", settings.name);
                return Err(SettingError::new(format!("{key}.name"), problem, "Give each a name of its own."));
            }
            checked.push(Arc::new(effect));
        }
        Ok(Self { effects: checked, recorded: Recorded::default(), bounds })
    }

    /// Has registries begin with `schemas`; `seen` says which topic's `key` or `value` each describes.
    #[must_use]
    pub fn with_schemas<'a>(
        mut self,
        settings: RegistrySettings,
        schemas: &Schemas,
        seen: impl Iterator<Item = (&'a str, &'a str, i32)>,
    ) -> Self {
        self.recorded = Recorded::new(schemas, seen, settings.compatibility);
        self
    }

    /// Names of the effects, in the order of the scenario.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.effects.iter().map(|effect| effect.name())
    }
}

impl EffectSettings {
    fn check(&self, key: &str, folder: &Path, seed: Seed, bounds: StubSettings) -> Result<Effect, SettingError> {
        let wrong =
            |name: &str, problem: String, instead: &str| SettingError::new(format!("{key}.{name}"), problem, instead);
        let sound = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
        if self.name.is_empty() || !self.name.chars().all(sound) || TAKEN.contains(&self.name.as_str()) {
            let problem = format!("no effect can be called `{}`", self.name);
            return Err(wrong("name", problem, "Write letters, digits, hyphens and underscores, such as `pay`."));
        }
        if self.rules.is_empty() && self.recorded.is_none() {
            let instead = "Write `[[effect.rules]]`, or `recorded` with a file of recorded calls.";
            return Err(wrong("name", format!("nothing says what `{}` answers", self.name), instead));
        }
        if self.repeats.as_ref().is_some_and(|words| !words.contains("{count}")) {
            let instead = "Write `{count}` where the number is to stand, such as `\"charged {count} cards twice\"`.";
            return Err(wrong("repeats", "it has no place for a number".to_owned(), instead));
        }
        let header = |at: String, name: &str| {
            HeaderName::from_str(name).map_err(|_| {
                let instead = "Write the name of a header, such as `x-tenant`.";
                SettingError::new(at, format!("`{name}` is no header"), instead)
            })
        };
        let place = match self.key.as_deref() {
            None => KeyPlace::Header(HeaderName::from_static(KEY_HEADER)),
            Some(path) if path.starts_with('$') => KeyPlace::Body(JsonPath::parse(path).map_err(|error| {
                wrong("key", format!("`{path}` is no JSONPath: {error}"), "Write a path such as `$.payment_id`.")
            })?),
            Some(name) if carries_credentials(name) => {
                let instead =
                    "Write a header that says which call it is, such as `Idempotency-Key`, or a path into the body.";
                return Err(wrong("key", format!("`{name}` carries credentials, which are kept nowhere"), instead));
            }
            Some(name) => KeyPlace::Header(header(format!("{key}.key"), name)?),
        };
        let kept = self.headers.iter().enumerate();
        let kept = kept.map(|(index, name)| header(format!("{key}.headers[{index}]"), name));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        let recorded = match &self.recorded {
            None => None,
            Some(name) => {
                let path = folder.join(name);
                let unusable = |problem: String| {
                    let instead = "Write a file of recorded calls, one JSON object a line, relative to this file.";
                    wrong("recorded", format!("{}: {problem}", path.display()), instead)
                };
                let file = File::open(&path).map_err(|error| unusable(error.to_string()))?;
                Some(RecordedCalls::read(BufReader::new(file)).map_err(unusable)?)
            }
        };
        let rules = self.rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| rule.check(&format!("{key}.rules[{index}]"), bounds));
        Ok(Effect {
            name: self.name.clone(),
            key: place,
            headers: kept,
            recorded,
            rules: rules.collect::<Result<_, _>>()?,
            seed,
        })
    }
}

impl AnswerSettings {
    fn check(&self, key: &str, bounds: StubSettings) -> Result<Rule, SettingError> {
        let wrong =
            |name: &str, problem: String, instead: &str| SettingError::new(format!("{key}.{name}"), problem, instead);
        let method = self.method.as_ref().map(|name| {
            Method::from_bytes(name.to_ascii_uppercase().as_bytes())
                .map_err(|_| wrong("method", format!("`{name}` is no method"), "Write `POST`, say."))
        });
        let path = Pattern::read(self.path.as_deref().unwrap_or("*")).map_err(|problem| {
            wrong("path", problem, "Write a path such as `/v1/charges/{id}`, in which `*` stands for anything.")
        })?;
        let filter = self.filter.as_ref().map(|text| {
            JsonPath::parse(&format!("$[?{text}]")).map_err(|error| {
                let problem = format!("`{text}` is no filter: {}", error.message());
                wrong("where", problem, "Write an RFC 9535 filter in which `@` is the body, such as `@.amount > 100`.")
            })
        });
        let status = |name: &str, number: Option<u16>, usual: StatusCode| match number {
            None => Ok(usual),
            // Below 200 nothing is final, and a client would go on waiting.
            Some(number @ 200..=599) => StatusCode::from_u16(number)
                .map_err(|_| wrong(name, format!("{number} is no status"), "Write a number from 200 to 599.")),
            Some(number) => Err(wrong(name, format!("{number} is no status"), "Write a number from 200 to 599.")),
        };
        let share = |name: &str, share: Option<Percent>| match share.map_or(0.0, |share| share.0) {
            share if (0.0..=1.0).contains(&share) => Ok(share),
            share => Err(wrong(name, format!("{share} is no share"), "Write `\"1%\"`, say.")),
        };
        let (error_rate, timeout_rate) =
            (share("error-rate", self.error_rate)?, share("timeout-rate", self.timeout_rate)?);
        let template = |name: &str, text: &str| {
            Template::read(text, path.names()).map_err(|(problem, instead)| wrong(name, problem, &instead))
        };
        let mut headers = Vec::new();
        for (name, text) in &self.headers {
            let named = HeaderName::from_str(name).ok().filter(|_| !text.contains(['\r', '\n']));
            let named = named.ok_or_else(|| {
                wrong(
                    &format!("headers.{name}"),
                    "it cannot be sent".to_owned(),
                    "Write a header and one line of text.",
                )
            })?;
            headers.push((named, template(&format!("headers.{name}"), text)?));
        }
        let body = match &self.body {
            None => Body::Empty,
            Some(AnswerBody::Text(text)) => Body::Text(template("body", text)?),
            Some(AnswerBody::Json(json)) => {
                Body::json(json, path.names()).map_err(|(problem, instead)| wrong("body", problem, &instead))?
            }
        };
        let latency = self.latency.unwrap_or(LatencySettings { least: Span::default(), most: Span::default() });
        if latency.most > bounds.request_timeout {
            let problem = format!("no call waits longer than {} (`stubs.request-timeout`)", bounds.request_timeout);
            return Err(wrong(
                "latency",
                problem,
                "Write a shorter one, or a longer `request-timeout` under `[stubs]`.",
            ));
        }
        Ok(Rule {
            method: method.transpose()?,
            filter: filter.transpose()?,
            status: status("status", self.status, StatusCode::OK)?,
            headers,
            body,
            latency_us: (latency.least.us(), latency.most.us()),
            error_rate,
            error_status: status("error-status", self.error_status, StatusCode::SERVICE_UNAVAILABLE)?,
            timeout_rate,
            path,
        })
    }
}
