//! A point in event time as people write it: RFC 3339 text.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in event time, in microseconds since the Unix epoch; written as RFC 3339 text, `2013-01-05T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// Makes the moment `ms` milliseconds after the Unix epoch; what lies beyond 292,000 years is cut to that.
    pub fn of_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Returns the whole milliseconds since the Unix epoch.
    pub fn ms(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Reads a date as other tools write it: RFC 3339, or a day alone, which begins at midnight UTC.
    ///
    /// # Errors
    ///
    /// A sentence with an example, where `text` is no such date or the day does not exist.
    pub fn of_date(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let midnight = || {
            // chrono takes `2013-1-5` too, of which nobody can tell day and month.
            let day = text.parse::<NaiveDate>().ok().filter(|_| text.len() == 10)?;
            Some(Self(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
        };
        text.parse().or_else(|error| midnight().ok_or(error))
    }

    /// Returns the moment as a date of the calendar.
    pub fn utc(self) -> DateTime<Utc> {
        // 64 bits reach 30,000 years beyond the calendar's 262,000 each way: what lies there is shown as its end.
        let end = if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp_micros(self.0).unwrap_or(end)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A leap second (60) counts as the second after it, as the Unix epoch has none.
        DateTime::parse_from_rfc3339(text.trim()).map(|date| Self(date.timestamp_micros())).map_err(|_| {
            format!("`{text}` is no date; write it in RFC 3339 with its zone, such as `2013-01-05T10:17:00Z`")
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.utc().format("%Y-%m-%dT%H:%M:%S"))?;
        let us = self.0.rem_euclid(1_000_000);
        if us != 0 {
            let digits = format!("{us:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> de::Visitor<'de> for Text {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in text, such as \"2013-01-05T00:00:00Z\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map_err(E::custom)
            }

            /// A date of TOML's own, `from = 2013-01-05T00:00:00Z` without quotes, comes as a map.
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Moment, A::Error> {
                let date = toml::value::Datetime::deserialize(de::value::MapAccessDeserializer::new(map));
                let date = date.map_err(|_| de::Error::invalid_type(de::Unexpected::Map, &self))?;
                date.to_string().parse().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A time in RFC 3339 with its zone: 2013-01-05T00:00:00Z"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_any_zone_and_printed_in_utc() {
        for (text, us, printed) in [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
            ("2013-01-05T00:00:00Z", 1_357_344_000_000_000, "2013-01-05T00:00:00Z"),
            ("2013-01-05T02:00:00+02:00", 1_357_344_000_000_000, "2013-01-05T00:00:00Z"),
            ("2024-02-29 23:59:59.25Z", 1_709_251_199_250_000, "2024-02-29T23:59:59.25Z"),
            ("1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!((moment.0, moment.to_string().as_str()), (us, printed), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in [
            "",
            "2013-01-05",
            "2013-01-05T00:00:00",
            "2013-13-05T00:00:00Z",
            "2013-02-29T00:00:00Z",
            "yesterday",
            "2013-01-05T00:00:00.Z",
        ] {
            assert!(text.parse::<Moment>().unwrap_err().contains("2013-01-05T10:17:00Z"), "{text}");
        }
    }

    #[test]
    fn dates_are_read() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("2013-01-01T10:17:00Z", 1_357_035_420_000),
            ("2013-01-01 10:17:00z", 1_357_035_420_000),
            ("2013-01-01T05:17:00-05:00", 1_357_035_420_000),
            ("2013-01-01T15:47:00.25+05:30", 1_357_035_420_250),
            ("2013-01-01T10:17:00.123456789Z", 1_357_035_420_123),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            assert_eq!(Moment::of_date(text).map(Moment::ms), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_of_other_tools_is_refused_with_an_example() {
        for text in [
            "",
            "yesterday",
            "2013-1-5",
            "2013-02-29",
            "2013-13-01",
            "2013-00-10",
            "2013-01-05T10:17Z",
            "2013-01-05T10:17:00",
            "2013-01-05T24:00:00Z",
            "2013-01-05T10:17:00.Z",
            "2013-01-05T10:17:00+0500",
            "2013-01-05T10:17:00Zulu",
            "2013/01/05",
            "１013-01-05",
        ] {
            assert!(Moment::of_date(text).is_err_and(|message| message.contains("2013-01-05T10:17:00Z")), "{text}");
        }
    }
}
