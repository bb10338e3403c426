//! `[[sink]]`: what builds leave elsewhere than on topics, looked at behind each drive: tables of a database, files.
//!
//! A command writes a snapshot, line by line; each line is an output on the channel `sink`, whose topic is the sink's name.

mod rows;

pub(super) use rows::Rows;

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json_path::JsonPath;

use crate::settings::{SettingError, Span};

/// A place that builds write to, and how it is looked at.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkSettings {
    /// What the report calls it, such as `payments`.
    pub name: String,
    /// Command that writes what stands in it to standard output, once the build has ended; placeholders, directory and environment are
    /// those of the build: `["psql", "--csv", "-c", "select * from payments"]`.
    pub snapshot: Vec<String>,
    /// What its lines are.
    #[serde(default)]
    pub format: SinkFormat,
    /// Path of what says which lines of two snapshots stand for each other, such as `$.payment_id`, where `compare.identity` does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Longest time that the command may take.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Most bytes that it may write.
    #[serde(default = "bytes_max")]
    pub bytes_max: u64,
}

fn timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn bytes_max() -> u64 {
    1 << 30
}

/// What the lines of a snapshot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SinkFormat {
    /// Each line as it is; one that is JSON is compared as such.
    #[default]
    Text,
    /// One JSON object a line; what is none is malformed.
    Json,
    /// Comma-separated values (RFC 4180), whose first line names the columns: each row becomes an object by column. A cell that is a
    /// number of at most 15 digits is one, an empty cell without quotes is null, all else is text.
    Csv,
}

/// A sink whose settings have been checked.
#[derive(Debug, Clone)]
pub struct Sink {
    pub(super) name: String,
    pub(super) snapshot: Vec<String>,
    pub(super) format: SinkFormat,
    pub(super) key: Option<JsonPath>,
    pub(super) timeout: Duration,
    pub(super) bytes_max: u64,
}

impl Sink {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command that writes its snapshot, placeholders unfilled.
    pub fn snapshot(&self) -> &[String] {
        &self.snapshot
    }
}

/// Checks sinks, which stand under `sink`; `topics` are names that are taken.
///
/// # Errors
///
/// The first setting that cannot be used, by its key.
pub fn check_sinks(settings: &[SinkSettings], topics: &[String]) -> Result<Vec<Sink>, SettingError> {
    let mut names: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let mut sinks = Vec::new();
    for (index, sink) in settings.iter().enumerate() {
        let wrong = |key: &str, problem: String, instead: &str| {
            Err(SettingError::new(format!("sink[{index}].{key}"), problem, instead))
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if sink.name.is_empty() || !sink.name.bytes().all(is_word) {
            let problem = format!("`{}` is no name of a sink", sink.name);
            return wrong("name", problem, "Write letters, digits, hyphens, underscores and dots.");
        }
        if !names.insert(&sink.name) {
            let problem = format!("`{}` is the name of a topic, of an effect or of another sink", sink.name);
            return wrong("name", problem, "Write a name of its own.");
        }
        if sink.timeout.0.is_zero() {
            return wrong(
                "timeout",
                "no command is that fast".to_owned(),
                "Write a duration above zero, such as `\"60s\"`.",
            );
        }
        if sink.bytes_max == 0 || sink.bytes_max > 1 << 44 {
            return wrong(
                "bytes-max",
                format!("{} bytes are out of range", sink.bytes_max),
                "Write a number of at least 1.",
            );
        }
        let key = match sink.key.as_ref().map(|path| JsonPath::parse(path).map_err(|error| (path, error))).transpose() {
            Ok(key) => key,
            Err((path, error)) => {
                return wrong(
                    "key",
                    format!("`{path}` is no JSONPath: {error}"),
                    "Write a path, such as `$.payment_id`.",
                );
            }
        };
        sinks.push(Sink {
            name: sink.name.clone(),
            snapshot: sink.snapshot.clone(),
            format: sink.format,
            key,
            timeout: sink.timeout.0,
            bytes_max: sink.bytes_max,
        });
    }
    Ok(sinks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (text, key) in [
            ("name = ''\nsnapshot = ['a']", "sink[0].name"),
            ("name = 'a b'\nsnapshot = ['a']", "sink[0].name"),
            ("name = 'payouts'\nsnapshot = ['a']", "sink[0].name"),
            ("name = 'a'\nsnapshot = ['a']\nkey = 'id'", "sink[0].key"),
            ("name = 'a'\nsnapshot = ['a']\ntimeout = '0s'", "sink[0].timeout"),
            ("name = 'a'\nsnapshot = ['a']\nbytes-max = 0", "sink[0].bytes-max"),
        ] {
            let settings: SinkSettings = toml::from_str(text).unwrap();
            assert_eq!(check_sinks(&[settings], &["payouts".to_owned()]).unwrap_err().key, key, "{text}");
        }
        let one: SinkSettings = toml::from_str("name = 'a'\nsnapshot = ['a']").unwrap();
        assert_eq!(check_sinks(&[one.clone(), one.clone()], &[]).unwrap_err().key, "sink[1].name");
        assert_eq!(check_sinks(&[one], &[]).unwrap()[0].bytes_max, 1 << 30);
    }
}
