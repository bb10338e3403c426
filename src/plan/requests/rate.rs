//! `rate` of a `slow-reader` or `slow-sink`: a share of the input's own rate, or bytes a second.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How fast something goes at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// This share of the rate at which the plan hands events over.
    Share(f64),
    /// So many bytes in a second of replay time.
    BytesPerSecond(u64),
}

/// Units of bytes, as written.
const UNITS: [(&str, f64); 4] = [("kB/s", 1e3), ("MB/s", 1e6), ("GB/s", 1e9), ("B/s", 1.0)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate; write a share of the input's such as `50%`, or `200 kB/s`");
        let above_zero = |number: &str, factor: f64| {
            let number: f64 = number.trim().parse().map_err(|_| wrong())?;
            Some(number * factor).filter(|number| *number > 0.0 && number.is_finite()).ok_or_else(wrong)
        };
        let text = text.trim();
        if let Some(number) = text.strip_suffix('%') {
            return above_zero(number, 0.01).map(Self::Share);
        }
        let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        let (number, factor) = unit.ok_or_else(wrong)?;
        above_zero(number, factor).map(|bytes| Self::BytesPerSecond((bytes.round() as u64).max(1)))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", (share * 1e6).round() / 1e4),
            Self::BytesPerSecond(bytes) => write!(f, "{bytes} B/s"),
        }
    }
}

struct Written;

impl de::Visitor<'_> for Written {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate in text, such as \"50%\" of the input's or \"200 kB/s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A share of the rate at which events are handed over (\"50%\"), or bytes a second (\"200 kB/s\")"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_share_or_bytes_a_second() {
        for (text, rate) in [
            ("50%", Rate::Share(0.5)),
            (" 0.1 % ", Rate::Share(0.001)),
            ("200 kB/s", Rate::BytesPerSecond(200_000)),
            ("1.5MB/s", Rate::BytesPerSecond(1_500_000)),
            ("7B/s", Rate::BytesPerSecond(7)),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for text in ["", "50", "0%", "-1 kB/s", "fast", "5 MB"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("50%"), "{text}");
        }
    }
}
