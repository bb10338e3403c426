//! How far a fault reaches, as people write it: replay time, event time or a number of events, one value or a range.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::settings::Span;

/// What a distance is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Microseconds of replay time: what a clock beside the build shows.
    Replay,
    /// Microseconds of event time: the pace turns them into replay time.
    EventTime,
    /// Events of the same partition.
    Events,
}

/// A distance or a range of distances: `50ms`, `50ms..2s`, `5m event-time`, `100 events`, `10..500 events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    /// What is counted.
    pub unit: Unit,
    /// Smallest distance: microseconds or events.
    pub least: i64,
    /// Largest distance, not below `least`.
    pub most: i64,
}

impl Distance {
    /// Makes a distance in replay time.
    pub(super) const fn replay_us(least: i64, most: i64) -> Self {
        Self { unit: Unit::Replay, least, most }
    }

    /// Makes a distance in event time.
    pub(super) const fn event_time_us(us: i64) -> Self {
        Self { unit: Unit::EventTime, least: us, most: us }
    }

    /// Makes a distance in events.
    pub(super) const fn events(count: i64) -> Self {
        Self { unit: Unit::Events, least: count, most: count }
    }

    /// Whether there is but one value to draw.
    pub(super) const fn is_constant(self) -> bool {
        self.least == self.most
    }
}

impl FromStr for Distance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let body = text.trim();
        let (body, unit) = if let Some(body) = body.strip_suffix("event-time") {
            (body.trim_end(), Unit::EventTime)
        } else if let Some(body) = body.strip_suffix("events").or_else(|| body.strip_suffix("event")) {
            (body.trim_end(), Unit::Events)
        } else {
            (body, Unit::Replay)
        };
        let (least, most) = body.split_once("..").unwrap_or((body, body));
        let (least, most) = (amount(text, least, unit)?, amount(text, most, unit)?);
        if least > most {
            return Err(format!("the range `{text}` ends before it begins; write the smaller value first"));
        }
        Ok(Self { unit, least, most })
    }
}

fn amount(text: &str, part: &str, unit: Unit) -> Result<i64, String> {
    let part = part.trim();
    let wrong = || {
        format!(
            "`{text}` is no distance; write replay time such as `50ms..2s`, event time such as `5m event-time`, or a \
             number of events such as `100 events`"
        )
    };
    match unit {
        Unit::Events => {
            let digits: String = part.chars().filter(|c| *c != '_').collect();
            digits.parse::<i64>().ok().filter(|count| *count >= 0).ok_or_else(wrong)
        }
        Unit::Replay | Unit::EventTime => part.parse::<Span>().map(Span::us).map_err(|_| wrong()),
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |value: i64| match self.unit {
            Unit::Events => value.to_string(),
            _ => Span(std::time::Duration::from_micros(value as u64)).to_string(),
        };
        f.write_str(&one(self.least))?;
        if !self.is_constant() {
            write!(f, "..{}", one(self.most))?;
        }
        f.write_str(match self.unit {
            Unit::Replay => "",
            Unit::EventTime => " event-time",
            Unit::Events => " events",
        })
    }
}

impl<'de> Deserialize<'de> for Distance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistanceText)
    }
}

/// Takes text, and explains itself where a bare number stands.
struct DistanceText;

impl de::Visitor<'_> for DistanceText {
    type Value = Distance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a distance in text, such as \"50ms..2s\", \"5m event-time\" or \"100 events\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Distance, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Distance, E> {
        Err(E::custom(format!("{number} has no unit; write `\"{number}ms\"` or `\"{number} events\"`")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Distance, E> {
        Err(E::custom(format!("{number} has no unit; write `\"{number}s\"` or `\"{number}ms\"`")))
    }
}

impl Serialize for Distance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Distance {
    fn schema_name() -> Cow<'static, str> {
        "Distance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A distance or a range of them in replay time (50ms..2s), event time (5m event-time) or events of the same partition (100 events)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_read_in_every_unit_and_print_as_they_were() {
        for (text, unit, least, most) in [
            ("50ms..2s", Unit::Replay, 50_000, 2_000_000),
            ("1s", Unit::Replay, 1_000_000, 1_000_000),
            ("5m event-time", Unit::EventTime, 300_000_000, 300_000_000),
            ("1h..2h event-time", Unit::EventTime, 3_600_000_000, 7_200_000_000),
            ("100 events", Unit::Events, 100, 100),
            ("10..500 events", Unit::Events, 10, 500),
        ] {
            let distance: Distance = text.parse().unwrap();
            assert_eq!(distance, Distance { unit, least, most }, "{text}");
            assert_eq!(distance.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_distance_is_refused_with_an_example() {
        for text in ["", "5", "5..6", "2s..1s", "-3 events", "1.5 events", "event-time", "5 parsecs"] {
            let message = text.parse::<Distance>().unwrap_err();
            assert!(message.contains("write"), "{text}: {message}");
        }
    }
}
