//! A span of time with a direction: ahead or back.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Span;

/// A span of time with a direction, in microseconds: `+5m` and `5m` lie ahead, `-1h` back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Shift(pub i64);

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (back, span) = match text.strip_prefix(['-', '\u{2212}']) {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let wrong =
            |_| format!("`{text}` is no shift; write a duration ahead or back, such as `+5m`, `250ms` or `-1h`");
        let us = span.parse::<Span>().map_err(wrong)?.us();
        Ok(Self(if back { -us } else { us }))
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "+" };
        write!(f, "{sign}{}", Span(Duration::from_micros(self.0.unsigned_abs())))
    }
}

impl<'de> Deserialize<'de> for Shift {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Shift;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration ahead or back in text, such as \"+5m\" or \"-1h\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Shift, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Shift {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Shift {
    fn schema_name() -> Cow<'static, str> {
        "Shift".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[+-]?(\d+(\.\d+)?(us|ms|s|m|min|h|d)\s*)+$",
            "description": "A duration ahead or back: +5m, 250ms, -1h"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_a_duration_ahead_or_back() {
        for (text, us, shown) in [
            ("+5m", 300_000_000, "+5m"),
            ("250ms", 250_000, "+250ms"),
            ("-1h", -3_600_000_000, "-1h"),
            ("-2m30s", -150_000_000, "-150s"),
            ("0s", 0, "+0s"),
        ] {
            assert_eq!(text.parse(), Ok(Shift(us)), "{text}");
            assert_eq!(Shift(us).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Shift(us)));
        }
        for text in ["", "5", "--1h", "+-1h", "an hour"] {
            assert!(text.parse::<Shift>().unwrap_err().contains("`-1h`"), "{text}");
        }
    }
}
