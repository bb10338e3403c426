//! `where`: which events a fault may touch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use xxhash_rust::xxh3::xxh3_64;

use super::select::missing_topic;
use crate::recording::{Coordinate, Partition};
use crate::settings::Moment;
use crate::settings::SettingError;

/// `where` of a fault: all conditions that are written must hold. Faults at events take `topics`, `partitions`, `keys`, `from`, `to` and
/// `value`; those at requests `topics`, `partitions`, `clients` and `groups`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WhereSettings {
    /// Topics.
    pub topics: Option<Vec<String>>,
    /// Partitions, by number.
    pub partitions: Option<Vec<i32>>,
    /// Keys, as text.
    pub keys: Option<Vec<String>>,
    /// Event time from which on; events without a time are left alone where this or `to` is written.
    pub from: Option<Moment>,
    /// Event time up to which, this very time excluded.
    pub to: Option<Moment>,
    /// An RFC 9535 filter in which `@` is the event's JSON value: "@.type == 'arrived'".
    pub value: Option<String>,
    /// Faults at requests: clients, by their `client.id`.
    pub clients: Option<Vec<String>>,
    /// `rebalance`: groups in which it takes place.
    pub groups: Option<Vec<String>>,
}

/// A checked `where`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Selector {
    key: String,
    topics: Option<Vec<String>>,
    partitions: Option<Vec<i32>>,
    key_hashes: Option<Vec<u64>>,
    from_us: Option<i64>,
    to_us: Option<i64>,
    value: Option<JsonPath>,
}

impl WhereSettings {
    /// Checks what can be checked without a recording; `key` is the path of this table.
    pub(super) fn check(&self, key: &str) -> Result<Selector, SettingError> {
        for (name, given) in [("clients", self.clients.is_some()), ("groups", self.groups.is_some())] {
            if given {
                return Err(SettingError::new(
                    format!("{key}.{name}"),
                    format!("an event has no {name}: only requests do"),
                    "Leave it out, or choose a fault at requests, such as `lost-ack`.",
                ));
            }
        }
        self.refuse_empty_lists(key)?;
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(SettingError::new(
                format!("{key}.to"),
                "it ends before it begins",
                format!("Write a time after {from}."),
            ));
        }
        let value = self.value.as_ref().map(|expression| filter(expression, key)).transpose()?;
        let key_hashes = self.keys.as_ref().map(|keys| {
            let mut hashes: Vec<u64> = keys.iter().map(|key| xxh3_64(key.as_bytes())).collect();
            hashes.sort_unstable();
            hashes
        });
        Ok(Selector {
            key: key.to_owned(),
            topics: self.topics.clone(),
            partitions: self.partitions.clone(),
            key_hashes,
            from_us: self.from.map(|from| from.0),
            to_us: self.to.map(|to| to.0),
            value,
        })
    }
}

impl WhereSettings {
    /// Refuses lists in which nothing stands.
    pub(super) fn refuse_empty_lists(&self, key: &str) -> Result<(), SettingError> {
        for (name, empty) in [
            ("topics", self.topics.as_ref().is_some_and(Vec::is_empty)),
            ("partitions", self.partitions.as_ref().is_some_and(Vec::is_empty)),
            ("keys", self.keys.as_ref().is_some_and(Vec::is_empty)),
            ("clients", self.clients.as_ref().is_some_and(Vec::is_empty)),
            ("groups", self.groups.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if empty {
                return Err(SettingError::new(
                    format!("{key}.{name}"),
                    "the list is empty, so nothing is selected",
                    "Leave it out to select all.",
                ));
            }
        }
        Ok(())
    }
}

/// Reads a filter expression. The query runs over an array of one, so that `@` is the event's value.
fn filter(expression: &str, key: &str) -> Result<JsonPath, SettingError> {
    JsonPath::parse(&format!("$[?{expression}]")).map_err(|error| {
        SettingError::new(
            format!("{key}.value"),
            format!("`{expression}` is no filter: {}", error.message()),
            "Write an RFC 9535 filter in which `@` is the value, such as `@.type == 'arrived'`.",
        )
    })
}

impl Selector {
    /// Checks topics and partitions against those of the plan.
    pub(super) fn check_partitions(&self, partitions: &[Partition]) -> Result<(), SettingError> {
        for (index, topic) in self.topics.iter().flatten().enumerate() {
            if !partitions.iter().any(|partition| partition.topic == *topic) {
                return Err(missing_topic(format!("{}.topics[{index}]", self.key), topic, partitions));
            }
        }
        for (index, number) in self.partitions.iter().flatten().enumerate() {
            if !partitions.iter().any(|partition| partition.partition == *number) {
                return Err(SettingError::new(
                    format!("{}.partitions[{index}]", self.key),
                    format!("no partition {number} holds events"),
                    "Name a partition of the selected topics.",
                ));
            }
        }
        Ok(())
    }

    /// Whether events of `partition` can be selected at all.
    pub(super) fn takes_partition(&self, partition: &Partition) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.contains(&partition.topic))
            && self.partitions.as_ref().is_none_or(|partitions| partitions.contains(&partition.partition))
    }

    /// Whether the selection looks at events one by one.
    pub(super) fn looks_at_events(&self) -> bool {
        self.key_hashes.is_some() || self.from_us.is_some() || self.to_us.is_some() || self.value.is_some()
    }

    /// Whether key hashes are needed.
    pub(super) fn needs_keys(&self) -> bool {
        self.key_hashes.is_some()
    }

    /// Whether values are needed.
    pub(super) fn needs_values(&self) -> bool {
        self.value.is_some()
    }

    /// Whether the event's key and time are selected.
    pub(super) fn takes_coordinate(&self, coordinate: &Coordinate) -> bool {
        if let Some(hashes) = &self.key_hashes
            && coordinate.key_hash.is_none_or(|hash| hashes.binary_search(&hash).is_err())
        {
            return false;
        }
        if self.from_us.is_none() && self.to_us.is_none() {
            return true;
        }
        coordinate.timestamp_ms.is_some_and(|ms| {
            let us = ms.saturating_mul(1_000);
            self.from_us.is_none_or(|from| us >= from) && self.to_us.is_none_or(|to| us < to)
        })
    }

    /// Whether the event's value, wrapped in an array of one, is selected.
    pub(super) fn takes_value(&self, wrapped: &Value) -> bool {
        self.value.as_ref().is_none_or(|path| !path.query(wrapped).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recording::Place;

    fn coordinate(timestamp_ms: Option<i64>, key: Option<&str>) -> Coordinate {
        Coordinate {
            offset: 0,
            timestamp_ms,
            captured_at_us: None,
            key_hash: key.map(|key| xxh3_64(key.as_bytes())),
            place: Place::default(),
        }
    }

    #[test]
    fn every_condition_that_is_written_must_hold() {
        let settings = WhereSettings {
            keys: Some(vec!["UA".into(), "DL".into()]),
            from: Some(Moment(1_000)),
            to: Some(Moment(5_000)),
            ..WhereSettings::default()
        };
        let selector = settings.check("fault[0].where").unwrap();
        for (timestamp, key, taken) in [
            (Some(1), Some("UA"), true),
            (Some(4), Some("DL"), true),
            (Some(5), Some("UA"), false),
            (Some(0), Some("UA"), false),
            (None, Some("UA"), false),
            (Some(1), Some("AA"), false),
            (Some(1), None, false),
        ] {
            assert_eq!(selector.takes_coordinate(&coordinate(timestamp, key)), taken, "{timestamp:?} {key:?}");
        }
    }

    #[test]
    fn a_filter_sees_the_value_as_its_current_node() {
        let settings =
            WhereSettings { value: Some("@.type == 'arrived' && @.delay >= 180".into()), ..WhereSettings::default() };
        let selector = settings.check("fault[0].where").unwrap();
        for (value, taken) in [
            (json!({"type": "arrived", "delay": 180}), true),
            (json!({"type": "arrived", "delay": 179}), false),
            (json!({"type": "departed", "delay": 500}), false),
            (json!("arrived"), false),
        ] {
            assert_eq!(selector.takes_value(&json!([value])), taken, "{value}");
        }
    }

    #[test]
    fn wrong_conditions_name_their_key() {
        for (settings, key) in [
            (WhereSettings { value: Some("@.type = 3".into()), ..WhereSettings::default() }, "fault[2].where.value"),
            (WhereSettings { topics: Some(Vec::new()), ..WhereSettings::default() }, "fault[2].where.topics"),
            (
                WhereSettings { from: Some(Moment(2)), to: Some(Moment(2)), ..WhereSettings::default() },
                "fault[2].where.to",
            ),
        ] {
            assert_eq!(settings.check("fault[2].where").unwrap_err().key, key);
        }
    }
}
