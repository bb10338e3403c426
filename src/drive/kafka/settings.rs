//! What a scenario says of builds that read and write Kafka: checked before anything is started.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::path::Path;

use crate::drive::cluster::{ClusterRules, check_faults, said};
use crate::drive::stage::is_topic_name;
use crate::drive::{DriveSettings, Payload};
use crate::settings::SettingError;

/// Most partitions of an output topic.
const PARTITIONS_MAX: i32 = 1_000;

/// How it is known that a build has dealt with all of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Finished {
    /// It has committed the end of every input partition, no transaction is open, and outputs are quiet.
    #[default]
    Committed,
    /// It has fetched every input partition to the end, no transaction is open, and outputs are quiet: for builds that commit
    /// elsewhere.
    Quiet,
}

/// A topic that builds write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopicSettings {
    /// Number of its partitions; one where nothing is said.
    pub partitions: i32,
}

/// Checked settings of the transport `kafka`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaRules {
    /// What builds connect to, where it is a real cluster instead of a stage.
    pub cluster: Option<ClusterRules>,
    /// Where each drive's stage listens; the port is chosen anew.
    pub listen: SocketAddr,
    /// Host that builds are told to connect to, where it is another.
    pub advertise: Option<String>,
    /// How it is known that a build is through.
    pub finished: Finished,
    /// Topics that builds write, each with its number of partitions.
    pub outputs: BTreeMap<String, i32>,
}

/// Refuses what has no meaning where builds do not speak Kafka.
pub(in crate::drive) fn refuse_elsewhere(
    settings: &DriveSettings,
    topics: &BTreeMap<String, TopicSettings>,
) -> Result<(), SettingError> {
    let own = [
        ("broker", settings.broker.is_some()),
        ("listen", settings.listen.is_some()),
        ("advertise", settings.advertise.is_some()),
        ("finished", settings.finished.is_some()),
    ];
    let key = own.into_iter().chain(said(settings)).find(|(_, said)| *said).map(|(key, _)| format!("drive.{key}"));
    match key.or_else(|| topics.keys().next().map(|topic| format!("topic.{topic}"))) {
        None => Ok(()),
        Some(key) => {
            let instead = "Write `transport = \"kafka\"` under `[drive]`, or take it out.";
            Err(SettingError::new(key, "only the transport `kafka` knows what to do with this", instead))
        }
    }
}

impl KafkaRules {
    /// Checks what stands under `drive` and `topic`. Builds may write no topic where `beside`: what they call or leave is compared.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub(in crate::drive) fn check(
        settings: &DriveSettings,
        topics: &BTreeMap<String, TopicSettings>,
        folder: &Path,
        beside: bool,
    ) -> Result<Self, SettingError> {
        let cluster = settings.broker.as_deref().filter(|broker| *broker != "stage");
        refuse_lines(settings, cluster.is_some())?;
        let cluster = cluster.map(|brokers| ClusterRules::check(settings, brokers, folder)).transpose()?;
        if cluster.is_none()
            && let Some((key, _)) = said(settings).into_iter().find(|(_, said)| *said)
        {
            let instead = "Write `broker = \"HOST:PORT\"` under `[drive]`, or take it out.";
            return Err(SettingError::new(
                format!("drive.{key}"),
                "only a cluster knows what to do with this",
                instead,
            ));
        }
        let (listen, advertise) = (listen(settings)?, settings.advertise.as_deref().map(host).transpose()?);
        if listen.is_unspecified() && advertise.is_none() {
            let problem = format!("nobody can connect to {listen}: it means every address of this machine");
            let instead = "Say which of them builds are told: `advertise = \"host.docker.internal\"`, say.";
            return Err(SettingError::new("drive.advertise", problem, instead));
        }
        Ok(Self {
            cluster,
            listen: (listen, 0).into(),
            advertise,
            finished: settings.finished.unwrap_or_default(),
            outputs: outputs(settings, topics, beside)?,
        })
    }

    /// Holds the settings against what is handed over: topics of the plan, and kinds of its faults.
    ///
    /// # Errors
    ///
    /// The setting that does not go with it, by its key.
    pub(in crate::drive) fn check_plan<'a>(
        &self,
        inputs: &[String],
        faults: impl Iterator<Item = &'a str>,
    ) -> Result<(), SettingError> {
        if let Some(both) = self.outputs.keys().find(|output| inputs.contains(output)) {
            let problem = format!("the topic `{both}` is handed to the builds: they cannot write to it, too");
            let instead = "Leave it out here, or take it out of what is replayed with `topics` under `[select]`.";
            return Err(SettingError::new("drive.outputs", problem, instead));
        }
        if self.cluster.is_some() {
            return check_faults(faults);
        }
        for (index, kind) in faults.enumerate() {
            if kind == "rewind" && self.finished == Finished::Quiet {
                let problem =
                    "a build that commits elsewhere cannot be set back: its group has no position to fall back to";
                let instead = "Leave the fault out, or write `finished = \"committed\"` under `[drive]`.";
                return Err(SettingError::new(format!("fault[{index}].kind"), problem, instead));
            }
        }
        Ok(())
    }
}

/// Refuses what is said of lines of standard input and output.
fn refuse_lines(settings: &DriveSettings, cluster: bool) -> Result<(), SettingError> {
    let lines = [
        ("payload", settings.payload != Payload::Envelope),
        ("show-attempt", settings.show_attempt),
        ("not-an-output", settings.not_an_output.is_some()),
    ];
    if let Some((key, _)) = lines.iter().find(|(_, said)| *said) {
        let problem = "a build that reads and writes Kafka is handed events, not lines";
        return Err(SettingError::new(format!("drive.{key}"), problem, "Take it out."));
    }
    // Of a cluster nobody knows who fetches; a build without a group has to say it.
    if settings.ready.is_some() && !cluster {
        let problem = "a build that reads Kafka is ready once it has fetched from every input partition";
        return Err(SettingError::new("drive.ready", problem, "Take it out; `ready-timeout` bounds the wait."));
    }
    Ok(())
}

fn listen(settings: &DriveSettings) -> Result<IpAddr, SettingError> {
    let Some(text) = &settings.listen else { return Ok(Ipv4Addr::LOCALHOST.into()) };
    text.parse().map_err(|_| {
        let problem = format!("`{text}` is no address to listen at");
        let instead = "Write an IP address of this machine without a port, such as `\"0.0.0.0\"`: each drive has a port of its own.";
        SettingError::new("drive.listen", problem, instead)
    })
}

fn host(text: &str) -> Result<String, SettingError> {
    let letter = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | '_');
    if !text.is_empty() && text.len() <= 253 && text.chars().all(letter) || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let problem = format!("`{text}` is no host to connect to");
    let instead = "Write a name or an address without a port, such as `\"host.docker.internal\"`.";
    Err(SettingError::new("drive.advertise", problem, instead))
}

/// The topics that builds write, with their numbers of partitions.
fn outputs(
    settings: &DriveSettings,
    topics: &BTreeMap<String, TopicSettings>,
    beside: bool,
) -> Result<BTreeMap<String, i32>, SettingError> {
    let wrong = |problem: String, instead: &str| Err(SettingError::new("drive.outputs", problem, instead));
    if settings.outputs.is_empty() && !beside {
        return wrong(
            "nothing says which topics the builds write".to_owned(),
            "Write `outputs = [\"payouts\"]`, say: what is written elsewhere is compared with nothing. Builds that write none want an `[[effect]]` or a `[[sink]]`.",
        );
    }
    if let Some(bad) = settings.outputs.iter().find(|topic| !is_topic_name(topic)) {
        return wrong(
            format!("no topic can be called `{bad}`"),
            "Write letters, digits, `.`, `_` and `-`, 249 of them at most.",
        );
    }
    for (topic, said) in topics {
        if !settings.outputs.contains(topic) {
            let near = settings
                .outputs
                .iter()
                .find(|other| strsim::damerau_levenshtein(other, topic) <= 1 + topic.len() / 4)
                .map_or_else(String::new, |near| format!("Did you mean `{near}`? "));
            let problem = format!("the topic `{topic}` is none that the builds write");
            let instead = format!(
                "{near}It has to stand in `outputs` under `[drive]`; what is handed over has the recording's partitions."
            );
            return Err(SettingError::new(format!("topic.{topic}"), problem, instead));
        }
        if !(1..=PARTITIONS_MAX).contains(&said.partitions) {
            let problem = format!("no topic has {} partitions", said.partitions);
            let instead = format!("Write a number from 1 to {PARTITIONS_MAX}.");
            return Err(SettingError::new(format!("topic.{topic}.partitions"), problem, instead));
        }
    }
    let partitions = |topic: &String| topics.get(topic).map_or(1, |said| said.partitions);
    Ok(settings.outputs.iter().map(|topic| (topic.clone(), partitions(topic))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, topics: &str) -> Result<KafkaRules, SettingError> {
        let settings: DriveSettings = toml::from_str(&format!("transport = 'kafka'\n{text}")).unwrap();
        let rules = settings.check_with(&toml::from_str(topics).unwrap())?;
        Ok(rules.kafka.unwrap())
    }

    #[test]
    fn a_list_of_outputs_is_enough() {
        let rules = check("outputs = ['payouts', 'audit']", "audit = { partitions = 3 }").unwrap();
        assert_eq!((rules.listen, rules.advertise), ("127.0.0.1:0".parse().unwrap(), None));
        assert_eq!((rules.finished, rules.outputs["payouts"], rules.outputs["audit"]), (Finished::Committed, 1, 3));
        let rules = check(
            "outputs = ['a']\nlisten = '0.0.0.0'\nadvertise = 'host.docker.internal'\nfinished = 'quiet'\nbroker = 'stage'",
            "",
        );
        let rules = rules.unwrap();
        assert_eq!((rules.listen.to_string().as_str(), rules.finished), ("0.0.0.0:0", Finished::Quiet));
        assert_eq!(rules.advertise.as_deref(), Some("host.docker.internal"));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (text, topics, key, word) in [
            ("", "", "drive.outputs", "which topics"),
            ("outputs = ['a b']", "", "drive.outputs", "a b"),
            ("outputs = ['a']", "b = { partitions = 1 }", "topic.b", "none that the builds write"),
            ("outputs = ['a']", "a = { partitions = 0 }", "topic.a.partitions", "0 partitions"),
            ("outputs = ['a']\nbroker = 'kafka'", "", "drive.broker", "`kafka`"),
            ("outputs = ['a']\nlisten = '0.0.0.0:9092'", "", "drive.listen", "0.0.0.0:9092"),
            ("outputs = ['a']\nlisten = '0.0.0.0'", "", "drive.advertise", "every address"),
            ("outputs = ['a']\nadvertise = 'host:1'", "", "drive.advertise", "host:1"),
            ("outputs = ['a']\npayload = 'value'", "", "drive.payload", "lines"),
            ("outputs = ['a']\nshow-attempt = true", "", "drive.show-attempt", "lines"),
            ("outputs = ['a']\nnot-an-output = 'x'", "", "drive.not-an-output", "lines"),
            ("outputs = ['a']\nready = { line = 'x' }", "", "drive.ready", "every input partition"),
        ] {
            let error = check(text, topics).unwrap_err();
            assert!(error.key == key && error.problem.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn builds_whose_calls_or_sinks_are_compared_may_write_no_topic() {
        let check = |text: &str, topics: &str| {
            let settings: DriveSettings = toml::from_str(&format!("transport = 'kafka'\n{text}")).unwrap();
            let rules = settings.check_in(&toml::from_str(topics).unwrap(), Path::new(""), true)?;
            Ok::<_, SettingError>(rules.kafka.unwrap().outputs)
        };
        assert_eq!(check("", "").unwrap(), BTreeMap::new());
        assert_eq!(check("outputs = ['a']", "").unwrap().len(), 1);
        assert_eq!(check("", "a = { partitions = 2 }").unwrap_err().key, "topic.a");
    }

    #[test]
    fn over_lines_nothing_of_kafka_is_taken_in_silence() {
        for (text, topics, key) in [
            ("broker = 'stage'", "", "drive.broker"),
            ("listen = '0.0.0.0'", "", "drive.listen"),
            ("advertise = 'a'", "", "drive.advertise"),
            ("finished = 'quiet'", "", "drive.finished"),
            ("", "a = { partitions = 1 }", "topic.a"),
        ] {
            let settings: DriveSettings = toml::from_str(text).unwrap();
            assert_eq!(settings.check_with(&toml::from_str(topics).unwrap()).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn what_the_plan_cannot_go_with_is_refused_by_name() {
        let rules = |text: &str| check(&format!("outputs = ['payouts']\n{text}"), "").unwrap();
        let error = rules("").check_plan(&["payouts".into()], std::iter::empty()).unwrap_err();
        assert_eq!(error.key, "drive.outputs");
        let faults = || ["delay", "rewind"].into_iter();
        assert!(rules("").check_plan(&["orders".into()], faults()).is_ok());
        let error = rules("finished = 'quiet'").check_plan(&["orders".into()], faults()).unwrap_err();
        assert_eq!(error.key, "fault[1].kind");
    }
}
