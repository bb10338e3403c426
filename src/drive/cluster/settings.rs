//! What a scenario says of a real cluster: checked before anything is started.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::DriveSettings;
use crate::kafka::{Owner, Properties, check_brokers};
use crate::plan::is_of_process;
use crate::settings::SettingError;

/// Most copies of a partition.
const REPLICATION_MAX: i32 = 1_000;

/// Kinds of faults that a producer can make: what decides when an event is handed over, how often, and in which order.
const KINDS: [&str; 9] = ["delay", "jitter", "straggle", "stall", "interleave", "reorder", "late", "duplicate", "drop"];

/// Properties of librdkafka by name. Values may be secrets and are never shown.
///
/// Written `{ "security.protocol" = "ssl" }`, or without quotes as a table in tables, which comes to the same.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PropertySettings(BTreeMap<String, String>);

impl PropertySettings {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for PropertySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Serialize for PropertySettings {
    /// Names alone.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, "[redacted]")))
    }
}

impl<'de> Deserialize<'de> for PropertySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Node::Table(BTreeMap::new()))? {
            Node::Table(table) => {
                let mut flat = BTreeMap::new();
                flatten("", table, &mut flat);
                Ok(Self(flat))
            }
            Node::Value(_) => {
                Err(de::Error::custom("properties are a table, such as { \"security.protocol\" = \"ssl\" }"))
            }
        }
    }
}

impl JsonSchema for PropertySettings {
    fn schema_name() -> Cow<'static, str> {
        "Properties".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Properties of librdkafka by name, such as \"security.protocol\"",
            "additionalProperties": { "type": ["string", "boolean", "number", "object"] }
        })
    }
}

/// What stands at a name: a dot in a name that is not quoted makes a table.
enum Node {
    Value(String),
    Table(BTreeMap<String, Node>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self::Table(BTreeMap::new()))
    }
}

impl<'de> de::Visitor<'de> for Node {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a boolean or a number")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self, E> {
        Ok(Self::Value(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self, E> {
        Ok(Self::Value(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self, E> {
        Ok(Self::Value(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self, E> {
        Ok(Self::Value(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self, E> {
        Ok(Self::Value(value.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((name, node)) = map.next_entry::<String, Self>()? {
            table.insert(name, node);
        }
        Ok(Self::Table(table))
    }
}

fn flatten(front: &str, table: BTreeMap<String, Node>, into: &mut BTreeMap<String, String>) {
    for (name, node) in table {
        let name = if front.is_empty() { name } else { format!("{front}.{name}") };
        match node {
            Node::Value(value) => drop(into.insert(name, value)),
            Node::Table(inside) => flatten(&name, inside, into),
        }
    }
}

/// Checked settings of a real cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRules {
    /// Brokers to begin with, as `HOST:PORT`, joined by commas.
    pub brokers: String,
    /// Extra properties of librdkafka.
    pub properties: Properties,
    /// Copies of each partition of a drive's topics; none for the brokers' own default.
    pub replication: Option<i32>,
    /// Whether somebody vouches for it that the recording does not come from this cluster, where nothing else tells.
    pub other_cluster: bool,
    /// Whether a drive's topics are left where they are.
    pub keep_topics: bool,
}

/// Keys of `[drive]` that only a real cluster wants, and whether they are set.
pub(in crate::drive) fn said(settings: &DriveSettings) -> [(&'static str, bool); 5] {
    [
        ("properties", !settings.properties.is_empty()),
        ("config", settings.config.is_some()),
        ("replication", settings.replication.is_some()),
        ("other-cluster", settings.other_cluster),
        ("keep-topics", settings.keep_topics),
    ]
}

impl ClusterRules {
    /// Checks what `settings` says of the cluster at `brokers`; files are relative to `folder`.
    pub(in crate::drive) fn check(
        settings: &DriveSettings,
        brokers: &str,
        folder: &Path,
    ) -> Result<Self, SettingError> {
        for (key, said) in [("listen", settings.listen.is_some()), ("advertise", settings.advertise.is_some())] {
            if said {
                let problem = format!("`{brokers}` is a cluster, which listens where it does");
                return Err(SettingError::new(format!("drive.{key}"), problem, "Take it out."));
            }
        }
        check_brokers(brokers).map_err(|error| {
            SettingError::new("drive.broker", error.to_string(), "Write `broker = \"kafka:9092\"`, say.")
        })?;
        if let Some(wrong) = brokers.split(',').find(|broker| !is_address(broker.trim())) {
            let problem = format!("`{wrong}` is no address of a broker");
            let instead = "Write `broker = \"stage\"`, or HOST:PORT, several joined by commas.";
            return Err(SettingError::new("drive.broker", problem, instead));
        }
        if let Some(copies) = settings.replication.filter(|copies| !(1..=REPLICATION_MAX).contains(copies)) {
            let problem = format!("no partition has {copies} copies");
            let instead = "Write a number from 1, or take it out for the brokers' own default.";
            return Err(SettingError::new("drive.replication", problem, instead));
        }
        Ok(Self {
            brokers: brokers.to_owned(),
            properties: properties(settings, folder)?,
            replication: settings.replication,
            other_cluster: settings.other_cluster,
            keep_topics: settings.keep_topics,
        })
    }
}

/// Refuses faults that a producer cannot make; `faults` are the kinds of the scenario's faults, in order.
pub(in crate::drive) fn check_faults<'a>(faults: impl Iterator<Item = &'a str>) -> Result<(), SettingError> {
    for (index, kind) in faults.enumerate() {
        if !KINDS.contains(&kind) && !is_of_process(kind) {
            let problem = format!("only the stage can make `{kind}`: a cluster does what it does by itself");
            let instead = "Leave the fault out, or write `broker = \"stage\"` under `[drive]`.";
            return Err(SettingError::new(format!("fault[{index}].kind"), problem, instead));
        }
    }
    Ok(())
}

/// Whether a text is a host and a port.
fn is_address(text: &str) -> bool {
    let host = |host: &str| {
        !host.is_empty() && host.chars().all(|sign| sign.is_ascii_alphanumeric() || "-._:[]".contains(sign))
    };
    text.rsplit_once(':').is_some_and(|(name, port)| host(name) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The properties of a file, and those of the scenario behind it, which count more.
fn properties(settings: &DriveSettings, folder: &Path) -> Result<Properties, SettingError> {
    let mut properties = match &settings.config {
        None => Properties::of(Owner::Drive),
        Some(path) => Properties::from_file(&folder.join(path), Owner::Drive).map_err(|error| {
            let problem = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
            let instead = "Write a file of name=value lines, relative to this one.";
            SettingError::new("drive.config", problem, instead)
        })?,
    };
    for (name, value) in &settings.properties.0 {
        properties.set(name, value).map_err(|error| {
            let instead = "Take it out; TLS and SASL are set here, such as `\"security.protocol\" = \"ssl\"`.";
            SettingError::new("drive.properties", error.to_string(), instead)
        })?;
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<ClusterRules, SettingError> {
        let text = format!("transport = 'kafka'\noutputs = ['a']\n{text}");
        let settings: DriveSettings = toml::from_str(&text).unwrap();
        Ok(settings.check()?.kafka.unwrap().cluster.unwrap())
    }

    #[test]
    fn a_cluster_is_named_by_its_addresses() {
        let rules = check("broker = 'kafka-1:9092, [::1]:9093'").unwrap();
        assert_eq!((&*rules.brokers, rules.replication), ("kafka-1:9092, [::1]:9093", None));
        let rules = check("broker = 'k:1'\nreplication = 3\nother-cluster = true\nkeep-topics = true").unwrap();
        assert_eq!((rules.replication, rules.other_cluster, rules.keep_topics), (Some(3), true, true));
    }

    #[test]
    fn properties_are_read_with_and_without_quotes_and_those_of_the_scenario_count_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("client.properties");
        std::fs::write(&file, "security.protocol=plaintext\nsasl.username=me\nbootstrap.servers=elsewhere:1\n")
            .unwrap();
        let text = format!(
            "broker = 'k:1'\nconfig = '{}'\n[properties]\nsecurity.protocol = 'ssl'\n\"ssl.ca.location\" = '/ca'\n\
             enable.ssl.certificate.verification = false\nlinger.ms = 7",
            file.display()
        );
        let rules = check(&text).unwrap();
        let last =
            |name: &str| rules.properties.iter().filter(|(other, _)| *other == name).last().map(|(_, value)| value);
        assert_eq!((last("security.protocol"), last("sasl.username")), (Some("ssl"), Some("me")));
        assert_eq!((last("ssl.ca.location"), last("queue.buffering.max.ms")), (Some("/ca"), Some("7")));
        assert_eq!(last("enable.ssl.certificate.verification"), Some("false"));
        assert_eq!(rules.brokers, "k:1");
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key_and_no_secret_is_shown() {
        for (text, key, word) in [
            ("broker = 'kafka'", "drive.broker", "`kafka`"),
            ("broker = 'me:hunter2@kafka:9092'", "drive.broker", "names a user"),
            ("broker = 'k:0'", "drive.broker", "k:0"),
            ("broker = 'k:1,'", "drive.broker", "``"),
            ("broker = 'k:1'\nlisten = '0.0.0.0'", "drive.listen", "k:1"),
            ("broker = 'k:1'\nadvertise = 'h'", "drive.advertise", "k:1"),
            ("broker = 'k:1'\nreplication = 0", "drive.replication", "0 copies"),
            ("broker = 'k:1'\nconfig = '/nowhere'", "drive.config", "/nowhere"),
            ("broker = 'k:1'\nproperties = { acks = 'hunter2' }", "drive.properties", "acks belongs to the drive"),
            ("broker = 'k:1'\nproperties = { 'sasl.jaas.config' = 'hunter2' }", "drive.properties", "Java"),
            ("properties = { a = 'hunter2' }", "drive.properties", "a cluster"),
            ("broker = 'stage'\nreplication = 2", "drive.replication", "a cluster"),
            ("keep-topics = true", "drive.keep-topics", "a cluster"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.key == key && error.problem.contains(word), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let text = "broker = 'k:1'\nproperties = { 'sasl.password' = 'hunter2' }";
        let settings: DriveSettings = toml::from_str(text).unwrap();
        let shown = format!("{settings:?} {:?} {}", check(text).unwrap(), toml::to_string(&settings).unwrap());
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_only_the_stage_can_make_is_refused_by_name() {
        assert!(check_faults(KINDS.into_iter()).is_ok());
        // What happens to processes is the drive's own doing.
        assert!(check_faults(["crash", "restart", "freeze"].into_iter()).is_ok());
        for kind in ["rewind", "lost-ack", "rebalance", "broker-down"] {
            let error = check_faults(["delay", kind].into_iter()).unwrap_err();
            assert!(error.key == "fault[1].kind" && error.problem.contains(kind), "{error}");
        }
    }
}
