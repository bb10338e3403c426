//! A span of time as people write it: text with a unit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time as people write it: `250ms`, `5s`, `1.5h`, `2m30s`, `7d`; units are `us`, `ms`, `s`, `m`, `h`, `d`.
///
/// A number without a unit is an error: nobody can tell seconds from milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// Returns the span in whole microseconds.
    pub fn us(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no duration; write a number with a unit, such as `250ms`, `5s`, `2m30s` or `1h`");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut seconds = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return Err(wrong()),
            };
            seconds += number * unit;
            rest = rest[letters..].trim_start();
        }
        // Rounded to microseconds, the resolution of every schedule, so that `0.1s` and `100ms` are the same span.
        let us = (seconds * 1e6).round();
        if !us.is_finite() || us > 9.0e18 {
            return Err(wrong());
        }
        Ok(Self(Duration::from_micros(us as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        for (unit, size) in
            [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)]
        {
            if us >= size && us.is_multiple_of(size) {
                return write!(f, "{}{unit}", us / size);
            }
        }
        if us == 0 { f.write_str("0s") } else { write!(f, "{us}us") }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(TextOrNumber("a duration in text, such as \"5s\""))?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?(us|ms|s|m|min|h|d)\s*)+$",
            "description": "A duration with its unit: 250ms, 5s, 2m30s, 1h"
        })
    }
}

/// Takes text, and explains itself where a bare number stands.
struct TextOrNumber(&'static str);

impl de::Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Err(E::custom(format!("{number} has no unit; write `\"{number}s\"` or `\"{number}ms\"`")))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Err(E::custom(format!("{number} has no unit; write `\"{number}s\"` or `\"{number}ms\"`")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Err(E::custom(format!("{number} has no unit; write `\"{number}s\"` or `\"{number}ms\"`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, us) in
            [("250ms", 250_000), ("5s", 5_000_000), ("2m30s", 150_000_000), ("1.5h", 5_400_000_000), ("7us", 7)]
        {
            assert_eq!(text.parse::<Span>().map(Span::us), Ok(us), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "5", "5 parsecs", "ms", "-1s", "1s2", "1..2s"] {
            let message = text.parse::<Span>().unwrap_err();
            assert!(message.contains("`250ms`"), "{text}: {message}");
        }
    }

    #[test]
    fn a_duration_prints_in_the_largest_unit_that_keeps_it_whole() {
        for text in ["250ms", "90s", "2h", "7us", "3d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
