//! `[drive]`: how deliveries reach a build and how long it is waited for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::cluster::PropertySettings;
use super::http::HttpRules;
use super::isolation::{IsolationMode, IsolationRules};
use super::kafka::{Finished, KafkaRules, TopicSettings, check_faults, refuse_elsewhere};
use super::known::KnownSchemas;
use super::lineage::Lineage;
use super::process::check_stops;
use super::sink::Sink;
use super::spin::Spin;
use super::stubs::StubRules;
use super::wall_clock::WallClockMode;
use crate::mask::Policy;
use crate::plan::{FaultSettings, is_at_requests};
use crate::settings::{SettingError, Span};

/// Most drives of the old build beyond the first: each is a process, and far fewer tell what differs by chance.
const REPEAT_OLD_MAX: u32 = 100;

/// How deliveries reach the builds, what they write, and how long they are waited for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct DriveSettings {
    /// How a build is spoken to: over its standard input and output, as a Kafka client, or by HTTP.
    pub transport: Transport,
    /// Kafka: what the builds connect to. `stage` (the default): Rehearsal is the broker, one of its own for each drive. HOST:PORT: a
    /// real cluster, on which each drive has topics and a group of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Kafka: IP address at which each drive's broker listens, on a port of its own; `127.0.0.1` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Kafka: host that the builds are told to connect to, where it is not the address listened at: for builds in containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// A cluster: properties of librdkafka, such as `"security.protocol" = "ssl"`. They are never shown.
    #[serde(skip_serializing_if = "PropertySettings::is_empty")]
    pub properties: PropertySettings,
    /// A cluster: file of such properties, one name=value a line, relative to the scenario's; those of `properties` count more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// A cluster: copies of each partition of the drives' topics; the brokers' own default where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<i32>,
    /// A cluster: vouches for it that the recording does not come from this cluster, where nothing else can tell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_cluster: bool,
    /// A cluster: leaves the drives' topics where they are, to be looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_topics: bool,
    /// Kafka: how it is known that a build has dealt with all of its input: `committed` (the default) or `quiet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
    /// HTTP: where events are posted to, such as `http://127.0.0.1:{port}/events`; placeholders as in commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// HTTP: requests of one partition that may be in flight. One where nothing is said, which keeps their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// What stands on a line: `envelope` (an object with topic, partition, offset, key, value ...) or `value` (the bare value).
    pub payload: Payload,
    /// Topics that the builds write. Over lines, an output that names none belongs to the first; without any to `output`. Kafka:
    /// all topics that are compared, none where only calls and sinks are; one partition each unless `[topic.NAME] partitions` says more.
    pub outputs: Vec<String>,
    /// Longest wait for a build that makes no progress: while it takes no input, drains or ends. 10 seconds where nothing is said,
    /// 60 for Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Span>,
    /// Longest time that a drive may take in all.
    pub timeout: Span,
    /// Longest time that one command of `prepare` or `cleanup` may take.
    pub prepare_timeout: Span,
    /// Longest time that all commands of `build` of one build may take together.
    pub build_timeout: Span,
    /// Whether all drives run side by side; `false`: one after the other.
    pub together: bool,
    /// Drives of the old build beyond the first: they tell what differs by chance.
    pub repeat_old: u32,
    /// How long outputs must be quiet until the warm-up counts as over, where commits do not say so.
    pub settle: Span,
    /// When the schedule starts; without it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadySettings>,
    /// Longest wait for a build to be ready.
    pub ready_timeout: Span,
    /// Whether each delivery says how often it was handed over before. Production does not.
    pub show_attempt: bool,
    /// Lines of standard output that are no outputs, as a regular expression: log lines, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_an_output: Option<String>,
    /// Largest lateness (99th percentile) of deliveries against their due times at which timing still counts.
    pub lateness_p99_max: Span,
    /// Largest slow-down of the whole schedule at which timing still counts, such as `"1%"`.
    pub slow_down_max: Percent,
    /// How long before each due time to watch the clock instead of sleeping: exact to a microsecond, at the price of a core. `true`
    /// stands for `"1ms"`.
    pub spin: Spin,
    /// Whether each drive has a world of its own: `on` (the default; as far as the system grants it), `required` or `off`.
    #[serde(skip_serializing_if = "is_on")]
    pub isolation: IsolationMode,
    /// Wall clock of the builds: `system` (the default; the machine's), or `recorded`: it follows the events that are handed over, by
    /// libfaketime.
    #[serde(skip_serializing_if = "WallClockMode::is_system")]
    pub clock: WallClockMode,
    /// Hosts of production, as HOST:PORT, and what stands in their place in a drive's world: `stage`, `registry`, `ofrep`
    /// or `effects.NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// Addresses, as HOST:PORT, that builds are let through to from their world. What two drives reach there is state that they share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Vouches for it that what `allow` leads to and `writable` names may be shared: that no drive can tell from it that there are others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Folders and files that builds may write to beside their drive's own folder, relative to the scenario's; Unix sockets in them are let
    /// through to. State that drives share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writable: Vec<PathBuf>,
    /// Most bytes of one line that are kept; what is beyond is cut off and the line is malformed.
    pub line_bytes_max: u64,
    /// Most bytes that a build may write to standard output before it is ended.
    pub output_bytes_max: u64,
    /// Most bytes of standard error that are kept: the first half and the last.
    pub stderr_bytes_max: u64,
    /// Most bytes that a drive's directory (`{dir}`) may hold before the drive is ended.
    pub dir_bytes_max: u64,
}

impl Default for DriveSettings {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            transport: Transport::Stdio,
            broker: None,
            listen: None,
            advertise: None,
            properties: PropertySettings::default(),
            config: None,
            replication: None,
            other_cluster: false,
            keep_topics: false,
            finished: None,
            url: None,
            in_flight: None,
            payload: Payload::Envelope,
            outputs: Vec::new(),
            drain_timeout: None,
            timeout: seconds(30 * 60),
            prepare_timeout: seconds(5 * 60),
            build_timeout: seconds(60 * 60),
            together: true,
            repeat_old: 1,
            settle: seconds(1),
            ready: None,
            ready_timeout: seconds(60),
            show_attempt: false,
            not_an_output: None,
            lateness_p99_max: Span(Duration::from_millis(50)),
            slow_down_max: Percent(0.01),
            spin: Spin::default(),
            isolation: IsolationMode::On,
            clock: WallClockMode::System,
            hosts: BTreeMap::new(),
            allow: Vec::new(),
            shared: false,
            writable: Vec::new(),
            line_bytes_max: 16 << 20,
            output_bytes_max: 64 << 30,
            stderr_bytes_max: 2 << 20,
            dir_bytes_max: 10 << 30,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what asks hands over a reference")]
fn is_on(mode: &IsolationMode) -> bool {
    *mode == IsolationMode::On
}

/// How a build is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// One JSON object a line on standard input and output.
    #[default]
    Stdio,
    /// As a client of Kafka.
    Kafka,
    /// One POST a delivery.
    Http,
}

impl Transport {
    /// How long a build may make no progress, where the scenario does not say: members of a group may be busy with each other for
    /// half a minute.
    fn drain_timeout(self) -> Span {
        Span(Duration::from_secs(if self == Self::Kafka { 60 } else { 10 }))
    }
}

/// What stands on a line of standard input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// A JSON object with topic, partition, offset, timestamp, key, value and headers.
    #[default]
    Envelope,
    /// The bare value.
    Value,
}

/// When a build is ready for its first delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReadySettings {
    /// Regular expression; the first line of standard output or standard error that it matches says that the build is ready. On
    /// standard output that line is no output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// HTTP: address that answers 200 once the build is ready; placeholders as in commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A share as people write it: `"1%"` or `0.01`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(pub f64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PercentVisitor)
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "description": "A share: \"1%\" or 0.01" })
    }
}

struct PercentVisitor;

impl de::Visitor<'_> for PercentVisitor {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share, such as \"1%\" or 0.01")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Percent, E> {
        let wrong = || E::custom(format!("`{text}` is no share; write `\"1%\"` or `0.01`"));
        match text.trim().strip_suffix('%') {
            Some(number) => number.trim().parse().map(|number: f64| Percent(number / 100.0)).map_err(|_| wrong()),
            None => text.trim().parse().map(Percent).map_err(|_| wrong()),
        }
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<Percent, E> {
        Ok(Percent(share))
    }

    fn visit_i64<E: de::Error>(self, share: i64) -> Result<Percent, E> {
        Ok(Percent(share as f64))
    }

    fn visit_u64<E: de::Error>(self, share: u64) -> Result<Percent, E> {
        Ok(Percent(share as f64))
    }
}

/// Checked settings of drives.
#[derive(Debug, Clone)]
pub struct DriveRules {
    /// What stands on a line.
    pub payload: Payload,
    /// Topic of an output that names none.
    pub output_topic: String,
    /// Longest wait for a build that makes no progress.
    pub drain_timeout: Duration,
    /// Longest time of a drive.
    pub timeout: Duration,
    /// Longest time of a command ahead of a build or behind it.
    pub prepare_timeout: Duration,
    /// Longest time that the commands that make a build may take.
    pub build_timeout: Duration,
    /// Whether drives run side by side.
    pub together: bool,
    /// Drives of old beyond the first.
    pub repeat_old: u32,
    /// How long outputs must be quiet after the warm-up.
    pub settle: Duration,
    /// Line that says that the build is ready.
    pub ready: Option<Regex>,
    /// Longest wait for that line.
    pub ready_timeout: Duration,
    /// Whether deliveries carry their attempt.
    pub show_attempt: bool,
    /// Lines that are no outputs.
    pub not_an_output: Option<Regex>,
    /// Bound of the lateness (99th percentile) at which timing counts.
    pub lateness_p99_max: Duration,
    /// Bound of the slow-down at which timing counts, as a share.
    pub slow_down_max: f64,
    /// How long before a due time the clock is watched.
    pub spin: Duration,
    /// Most bytes of a line that are kept.
    pub line_bytes_max: usize,
    /// Most bytes of standard output.
    pub output_bytes_max: u64,
    /// Most bytes of standard error that are kept.
    pub stderr_bytes_max: usize,
    /// Most bytes of a drive's directory.
    pub dir_bytes_max: u64,
    /// What is masked of what builds write; without one, only headers that carry credentials are redacted.
    pub mask: Option<Arc<Policy>>,
    /// How outputs find their causes, beyond what builds state.
    pub lineage: Option<Lineage>,
    /// Schemas by which masks and lineage look into events and what builds write.
    pub schemas: KnownSchemas,
    /// What stands in for the world; none where nothing does.
    pub stubs: Option<StubRules>,
    /// What is looked at once a build has ended.
    pub sinks: Vec<Sink>,
    /// What is said of the transport `http`, where it is that.
    pub http: Option<HttpRules>,
    /// What is said of the transport `kafka`, where it is that.
    pub kafka: Option<KafkaRules>,
    /// How far drives are kept to themselves.
    pub isolation: IsolationRules,
    /// Which wall clock builds have.
    pub clock: WallClockMode,
}

impl DriveSettings {
    /// Checks the settings, which stand under `drive`, where nothing is said of single topics.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub fn check(&self) -> Result<DriveRules, SettingError> {
        self.check_with(&BTreeMap::new())
    }

    /// Checks the settings, which stand under `drive`, and those of `topics`, which stand under `topic`; files are relative to the
    /// working directory.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub fn check_with(&self, topics: &BTreeMap<String, TopicSettings>) -> Result<DriveRules, SettingError> {
        self.check_in(topics, Path::new(""), false)
    }

    /// As [`Self::check_with`], for a scenario in `folder`, which files are relative to. Where `beside`, calls or sinks of the builds are
    /// compared, and those of Kafka may write no topic.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub fn check_in(
        &self,
        topics: &BTreeMap<String, TopicSettings>,
        folder: &Path,
        beside: bool,
    ) -> Result<DriveRules, SettingError> {
        let kafka = match self.transport {
            Transport::Stdio => refuse_elsewhere(self, topics).map(|()| None)?,
            Transport::Kafka => Some(KafkaRules::check(self, topics, folder, beside)?),
            Transport::Http => refuse_elsewhere(self, topics).map(|()| None)?,
        };
        HttpRules::refuse_elsewhere(self)?;
        let http = (self.transport == Transport::Http).then(|| HttpRules::check(self)).transpose()?;
        let drain_timeout = self.drain_timeout.unwrap_or_else(|| self.transport.drain_timeout());
        for (key, span) in [
            ("drive.drain-timeout", drain_timeout),
            ("drive.timeout", self.timeout),
            ("drive.ready-timeout", self.ready_timeout),
            ("drive.prepare-timeout", self.prepare_timeout),
            ("drive.build-timeout", self.build_timeout),
        ] {
            if span.0.is_zero() {
                return Err(SettingError::new(
                    key,
                    "no build is that fast",
                    "Write a duration above zero, such as `\"10s\"`.",
                ));
            }
        }
        if self.repeat_old > REPEAT_OLD_MAX {
            let problem = format!("{} drives of old are more than one machine bears", self.repeat_old);
            let instead = format!("Write a number from 0 to {REPEAT_OLD_MAX}.");
            return Err(SettingError::new("drive.repeat-old", problem, instead));
        }
        for (key, bytes, least) in [
            ("drive.line-bytes-max", self.line_bytes_max, 1_024),
            ("drive.output-bytes-max", self.output_bytes_max, 1_024),
            ("drive.stderr-bytes-max", self.stderr_bytes_max, 1_024),
            ("drive.dir-bytes-max", self.dir_bytes_max, 1_024),
        ] {
            if bytes < least || bytes > 1 << 44 {
                let problem = format!("{bytes} bytes are out of range");
                return Err(SettingError::new(key, problem, format!("Write a number of at least {least}.")));
            }
        }
        if !(self.slow_down_max.0 >= 0.0 && self.slow_down_max.0.is_finite()) {
            return Err(SettingError::new("drive.slow-down-max", "a share is not below zero", "Write `\"1%\"`, say."));
        }
        let regex = |key: &str, text: &str| {
            let instead = "Write a regular expression, such as `\"^INFO \"`.";
            Regex::new(text).map_err(|error| SettingError::new(key, error.to_string(), instead))
        };
        let ready_line = self.ready.as_ref().and_then(|ready| ready.line.as_ref());
        if self.ready.as_ref().is_some_and(|ready| ready.line.is_some() == ready.url.is_some()) {
            let instead = "Write `ready = { line = \"REGEX\" }`, or over HTTP `ready = { url = \"http://…\" }`.";
            return Err(SettingError::new("drive.ready", "one thing says that a build is ready", instead));
        }
        Ok(DriveRules {
            payload: self.payload,
            output_topic: self.outputs.first().cloned().unwrap_or_else(|| "output".to_owned()),
            drain_timeout: drain_timeout.0,
            timeout: self.timeout.0,
            prepare_timeout: self.prepare_timeout.0,
            build_timeout: self.build_timeout.0,
            together: self.together,
            repeat_old: self.repeat_old,
            settle: self.settle.0,
            ready: ready_line.map(|line| regex("drive.ready.line", line)).transpose()?,
            ready_timeout: self.ready_timeout.0,
            show_attempt: self.show_attempt,
            not_an_output: self.not_an_output.as_ref().map(|text| regex("drive.not-an-output", text)).transpose()?,
            lateness_p99_max: self.lateness_p99_max.0,
            slow_down_max: self.slow_down_max.0,
            spin: self.spin.0,
            line_bytes_max: usize::try_from(self.line_bytes_max).unwrap_or(usize::MAX),
            output_bytes_max: self.output_bytes_max,
            stderr_bytes_max: usize::try_from(self.stderr_bytes_max).unwrap_or(usize::MAX),
            dir_bytes_max: self.dir_bytes_max,
            mask: None,
            lineage: None,
            schemas: KnownSchemas::default(),
            stubs: None,
            sinks: Vec::new(),
            http,
            kafka,
            isolation: IsolationRules::check(self, folder)?,
            clock: self.clock,
        })
    }
}

impl DriveRules {
    /// The same rules, with schemas that no other drive teaches.
    pub(super) fn of_one_drive(&self) -> Self {
        Self { schemas: self.schemas.apart(), ..self.clone() }
    }

    /// Holds the settings against what is handed over: `inputs`, the topics of the plan, and kinds of the scenario's faults, in
    /// order.
    ///
    /// # Errors
    ///
    /// The setting that does not go with it, by its key.
    pub fn check_plan<'a>(&self, inputs: &[String], faults: impl Iterator<Item = &'a str>) -> Result<(), SettingError> {
        self.kafka.as_ref().map_or(Ok(()), |kafka| kafka.check_plan(inputs, faults))
    }

    /// Holds the faults at requests of a scenario, all of whose faults are `faults`, against how builds are driven; `inputs` are the
    /// topics of the plan.
    ///
    /// # Errors
    ///
    /// The setting that does not go with it, by its key.
    pub fn check_faults(&self, inputs: &[String], faults: &[FaultSettings]) -> Result<(), SettingError> {
        check_stops(self, faults)?;
        if let Some(kafka) = &self.kafka {
            // Of a cluster `check_plan` tells.
            if kafka.cluster.is_some() {
                return Ok(());
            }
            return check_faults(kafka, inputs, faults);
        }
        match faults.iter().enumerate().find(|(_, fault)| is_at_requests(&fault.kind)) {
            None => Ok(()),
            Some((index, fault)) => {
                let problem =
                    format!("a `{}` happens to requests of Kafka clients, and these builds make none", fault.kind);
                let instead = "Write `transport = \"kafka\"` under `[drive]`, or leave the fault out.";
                Err(SettingError::new(format!("fault[{index}].kind"), problem, instead))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<DriveRules, SettingError> {
        toml::from_str::<DriveSettings>(text).unwrap().check()
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let rules = check("").unwrap();
        assert_eq!((rules.drain_timeout, rules.timeout), (Duration::from_secs(10), Duration::from_secs(1_800)));
        let kafka = check("transport = 'kafka'\noutputs = ['a']").unwrap();
        assert_eq!((kafka.drain_timeout, kafka.settle), (Duration::from_secs(60), Duration::from_secs(1)));
        assert_eq!((rules.settle, rules.lateness_p99_max), (Duration::from_secs(1), Duration::from_millis(50)));
        assert_eq!((rules.together, rules.repeat_old, rules.payload), (true, 1, Payload::Envelope));
        assert_eq!(rules.output_topic, "output");
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (text, key) in [
            ("transport = \"kafka\"", "drive.outputs"),
            ("transport = \"http\"", "drive.url"),
            ("transport = \"http\"\nurl = \"https://a\"", "drive.url"),
            ("transport = \"http\"\nurl = \"http://a\"\nin-flight = 0", "drive.in-flight"),
            ("transport = \"http\"\nurl = \"http://a\"\nready = { url = \"a\" }", "drive.ready.url"),
            ("transport = \"http\"\nurl = \"http://a\"\nbroker = \"stage\"", "drive.broker"),
            ("url = \"http://a\"", "drive.url"),
            ("ready = { url = \"http://a\" }", "drive.ready.url"),
            ("ready = {}", "drive.ready"),
            ("timeout = \"0s\"", "drive.timeout"),
            ("not-an-output = \"(\"", "drive.not-an-output"),
            ("ready = { line = \"[\" }", "drive.ready.line"),
            ("slow-down-max = -1", "drive.slow-down-max"),
            ("line-bytes-max = 3", "drive.line-bytes-max"),
            ("repeat-old = 4000000000", "drive.repeat-old"),
        ] {
            assert_eq!(check(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn shares_are_read_as_percent_or_number() {
        for (text, share) in [("\"1%\"", 0.01), ("\" 2.5 %\"", 0.025), ("0.5", 0.5), ("1", 1.0), ("\"0.25\"", 0.25)] {
            let settings: DriveSettings = toml::from_str(&format!("slow-down-max = {text}")).unwrap();
            assert!((settings.slow_down_max.0 - share).abs() < 1e-12, "{text}");
        }
        assert!(toml::from_str::<DriveSettings>("slow-down-max = \"fast\"").is_err());
    }
}
