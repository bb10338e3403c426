//! How long before a due time the clock is watched.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::settings::Span;

/// How long before each due time to watch the clock instead of sleeping: exact to a microsecond, at the price of a core.
///
/// Written as a span, such as `"200us"`, or as `true`, which stands for [`Spin::USUAL`]; `false` stands for no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spin(pub Duration);

impl Spin {
    /// Longer than a sleep overshoots on a machine that is not overloaded.
    pub const USUAL: Self = Self(Duration::from_millis(1));
}

impl Serialize for Spin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Span(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Spin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanOrFlag)
    }
}

struct SpanOrFlag;

impl de::Visitor<'_> for SpanOrFlag {
    type Value = Spin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false`, or a duration in text, such as \"200us\"")
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Spin, E> {
        Ok(if flag { Spin::USUAL } else { Spin::default() })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Spin, E> {
        text.parse().map(|Span(spin)| Spin(spin)).map_err(E::custom)
    }
}

impl JsonSchema for Spin {
    fn schema_name() -> Cow<'static, str> {
        "Spin".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [generator.subschema_for::<Span>(), { "type": "boolean" }],
            "description": "How long before each due time to watch the clock: a duration, or true for 1ms"
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::drive::DriveSettings;

    #[test]
    fn the_clock_is_watched_for_a_span_or_for_the_usual_time() {
        for (text, us) in [("true", 1_000), ("false", 0), ("'200us'", 200), ("'0s'", 0)] {
            let settings: DriveSettings = toml::from_str(&format!("spin = {text}")).unwrap();
            assert_eq!(settings.spin.0.as_micros(), us, "{text}");
            let written = toml::to_string(&settings).unwrap();
            assert_eq!(toml::from_str::<DriveSettings>(&written).unwrap().spin, settings.spin, "{text}");
        }
        for text in ["1", "'soon'", "[]"] {
            assert!(toml::from_str::<DriveSettings>(&format!("spin = {text}")).is_err(), "{text}");
        }
    }
}
