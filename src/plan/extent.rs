//! Parameters that are a number or text: how far a reordering reaches, how far a consumer is set back.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::settings::Span;

/// How far a reordering may displace an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Recorded offsets.
    Offsets(i64),
    /// Microseconds of event time.
    EventTime(i64),
    /// The p99.9 lateness of the recording, event time; only presets ask for it.
    Lateness,
}

impl Extent {
    /// Offsets at most: what is held back for them stays in memory.
    pub(super) const OFFSETS_MAX: i64 = 100_000;

    /// Same extent for places that are counted.
    pub(super) fn in_offsets(self) -> Self {
        if let Self::Offsets(_) = self { self } else { Self::Offsets(64) }
    }

    /// Same extent for time that is displaced.
    pub(super) fn in_event_time(self) -> Self {
        match self {
            Self::Offsets(offsets) if offsets <= 4 => Self::EventTime(1_000_000),
            Self::Offsets(_) => Self::EventTime(30_000_000),
            other => other,
        }
    }
}

/// Takes a whole number or text.
struct NumberOrText<T> {
    expecting: &'static str,
    number: fn(i64) -> Result<T, String>,
    text: fn(&str) -> Result<T, String>,
}

impl<T> de::Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.number)(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.number)(i64::try_from(number).unwrap_or(i64::MAX)).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText {
            expecting: "a number of offsets, such as 64, or event time in text, such as \"30s\"",
            number: |offsets| {
                if offsets < 0 {
                    Err(format!("an extent of {offsets} is below zero"))
                } else {
                    Ok(Self::Offsets(offsets))
                }
            },
            text: |text| text.parse::<Span>().map(|span| Self::EventTime(span.us())),
        })
    }
}

impl Serialize for Extent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Offsets(offsets) => serializer.serialize_i64(*offsets),
            Self::EventTime(us) => serializer.collect_str(&Span(std::time::Duration::from_micros(*us as u64))),
            Self::Lateness => serializer.serialize_str("lateness"),
        }
    }
}

impl JsonSchema for Extent {
    fn schema_name() -> Cow<'static, str> {
        "Extent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "description": "A number of recorded offsets (64), or event time (\"30s\")"
        })
    }
}

/// How many events a consumer is set back; `u64::MAX` stands for all since the slice's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBack(pub u64);

impl<'de> Deserialize<'de> for SetBack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText {
            expecting: "a number of events, such as 4000, or \"start\"",
            number: |events| match u64::try_from(events) {
                Ok(events) if events > 0 => Ok(Self(events)),
                _ => Err(format!("set back by {events} events; write 1 or more, or \"start\"")),
            },
            text: |text| match text {
                "start" => Ok(Self(u64::MAX)),
                _ => Err(format!("`{text}` is no way back; write a number of events or \"start\"")),
            },
        })
    }
}

impl Serialize for SetBack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == u64::MAX { serializer.serialize_str("start") } else { serializer.serialize_u64(self.0) }
    }
}

impl JsonSchema for SetBack {
    fn schema_name() -> Cow<'static, str> {
        "SetBack".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "description": "A number of events (4000), or \"start\" for all"
        })
    }
}
