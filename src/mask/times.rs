//! Times inside of texts of JSON moved ahead or back, in place: whatever is no such time keeps its bytes.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::edit::unframed;
use super::path::Path;
use super::scan::{Kind, Tape};
use crate::schema::Schemas;

/// What a number that is a time counts since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    #[default]
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl TimeUnit {
    /// So many microseconds in this unit; none where they are no whole number of it.
    fn of_us(self, us: i64) -> Option<i128> {
        let us = i128::from(us);
        let whole = |of: i128| (us % of == 0).then_some(us / of);
        match self {
            Self::S => whole(1_000_000),
            Self::Ms => whole(1_000),
            Self::Us => Some(us),
            Self::Ns => Some(us * 1_000),
        }
    }
}

/// Where a time stands in a value, as written: a path, or a path with the unit that its numbers count. Text is a time as ISO 8601 writes
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePath {
    /// JSONPath of the field.
    pub path: String,
    /// Unit of numbers.
    pub unit: TimeUnit,
}

impl<'de> Deserialize<'de> for TimePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            path: String,
            #[serde(default)]
            unit: TimeUnit,
        }
        struct Written;
        impl<'de> de::Visitor<'de> for Written {
            type Value = TimePath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path such as \"$.at\", or { path = \"$.at\", unit = \"s\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimePath, E> {
                Ok(TimePath { path: text.to_owned(), unit: TimeUnit::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TimePath, A::Error> {
                let Table { path, unit } = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(TimePath { path, unit })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for TimePath {
    fn schema_name() -> Cow<'static, str> {
        "TimePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a time stands: a path ($.at), or a path with the unit of its numbers (s, ms, us, ns; ms where nothing is said)",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "path": { "type": "string", "description": "JSONPath of the field" },
                        "unit": { "enum": ["s", "ms", "us", "ns"], "description": "Unit of numbers; ms where nothing is said" }
                    },
                    "required": ["path"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Times of values, by their paths.
#[derive(Debug, Default)]
pub struct Times {
    paths: Vec<(Path, TimeUnit)>,
}

/// What became of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Nothing is at any of the paths, or nothing but null.
    Nothing,
    /// So many times were moved.
    Moved(u64, Vec<u8>),
    /// Something at a path is no time that can be moved, or the value is no JSON that can be read: why, as a fragment.
    Unfit(String),
}

impl Times {
    /// Reads paths.
    ///
    /// # Errors
    ///
    /// The first that is none, with why.
    pub fn of(paths: &[TimePath]) -> Result<Self, (String, String)> {
        let read = |one: &TimePath| {
            Path::parse(&one.path).map(|path| (path, one.unit)).map_err(|error| (one.path.clone(), error))
        };
        Ok(Self { paths: paths.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Whether no path is named.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Moves the times of `bytes` by `by_us`. Bytes that one of `schemas` describes are those of the JSON that they say, and are described
    /// by the same schema afterwards.
    pub fn moved(&self, bytes: &[u8], schemas: &Schemas, by_us: i64) -> Moved {
        let (head, bare) = unframed(bytes);
        let mut tape = Tape::default();
        if tape.read(bare) {
            return self.moved_in(&tape, bare, head, by_us);
        }
        let Ok(text) = schemas.decode(bytes) else { return Moved::Unfit("a value is no JSON".to_owned()) };
        if !tape.read(&text) {
            return Moved::Unfit("a value is no JSON".to_owned());
        }
        match self.moved_in(&tape, &text, &[], by_us) {
            Moved::Moved(count, text) => {
                let encoded = serde_json::from_slice(&text).ok().map(|value| schemas.encode(bytes, &value));
                match encoded {
                    Some(Ok(encoded)) => Moved::Moved(count, encoded),
                    Some(Err(error)) => Moved::Unfit(error.to_string()),
                    None => Moved::Unfit("a value is no JSON".to_owned()),
                }
            }
            other => other,
        }
    }

    fn moved_in(&self, tape: &Tape, text: &[u8], head: &[u8], by_us: i64) -> Moved {
        let mut edits = Vec::new();
        for (path, unit) in &self.paths {
            let mut found = Vec::new();
            if !path.select(text, tape, &mut found) {
                return Moved::Unfit("names stand twice in a value".to_owned());
            }
            edits.extend(found.into_iter().map(|node| (node, *unit, path)));
        }
        edits.sort_by_key(|(node, ..)| *node);
        edits.dedup_by_key(|(node, ..)| *node);
        edits.retain(|(node, ..)| tape.node(*node).kind != Kind::Null);
        let (mut out, mut at) = (head.to_vec(), 0);
        for (node, unit, path) in &edits {
            let place = tape.node(*node);
            let Some(time) = moved_time(place.kind, &tape.content(text, *node), *unit, by_us) else {
                return Moved::Unfit(format!("what stands at `{}` is no time that can be moved", path.text()));
            };
            out.extend_from_slice(&text[at..place.start]);
            out.extend_from_slice(time.as_bytes());
            at = place.end;
        }
        out.extend_from_slice(&text[at..]);
        if edits.is_empty() { Moved::Nothing } else { Moved::Moved(edits.len() as u64, out) }
    }
}

/// A time moved, as it stands in JSON; none where it is no time, or not to that precision.
fn moved_time(kind: Kind, content: &[u8], unit: TimeUnit, by_us: i64) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    match kind {
        Kind::Number => {
            let by = unit.of_us(by_us)?;
            match text.parse::<i128>() {
                Ok(number) => Some((number + by).to_string()),
                Err(_) => moved_fraction(text, by),
            }
        }
        Kind::Text => moved_date(text, by_us).map(|date| format!("\"{date}\"")),
        _ => None,
    }
}

/// A number with a fraction, moved by a whole number: the fraction stays as it is written, which it does of numbers from zero on.
fn moved_fraction(text: &str, by: i128) -> Option<String> {
    let (whole, fraction) = text.split_once('.')?;
    let moved = whole.parse::<i128>().ok()? + by;
    let plain = fraction.bytes().all(|byte| byte.is_ascii_digit()) && !whole.starts_with('-') && moved >= 0;
    plain.then(|| format!("{moved}.{fraction}"))
}

/// A date with a time, or alone, moved: in the form in which it is written.
fn moved_date(text: &str, by_us: i64) -> Option<String> {
    let by = Duration::microseconds(by_us);
    if text.len() == 10 {
        let date: NaiveDate = text.parse().ok()?;
        let moved = date.checked_add_signed(by)?;
        return (by_us % 86_400_000_000 == 0).then(|| moved.format("%Y-%m-%d").to_string());
    }
    let (seconds, rest) = text.split_at_checked(19)?;
    let digits = rest.strip_prefix('.').map_or(0, |fraction| fraction.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, zone) = rest.split_at(if digits > 0 { digits + 1 } else { 0 });
    let between = seconds.as_bytes().get(10).copied().filter(|byte| b"T t".contains(byte))?;
    let zoned = zone.is_empty() || DateTime::parse_from_rfc3339(&format!("2000-01-01T00:00:00{zone}")).is_ok();
    let moment = NaiveDateTime::parse_from_str(&seconds.replace([' ', 't'], "T"), "%Y-%m-%dT%H:%M:%S").ok()?;
    if !zoned || by_us % 1_000_000 != 0 && digits == 0 {
        return None;
    }
    // What the fraction says, and how many digits say it, stays where whole seconds are added.
    if by_us % 1_000_000 == 0 {
        let moved = moment.checked_add_signed(by)?.format("%Y-%m-%dT%H:%M:%S").to_string();
        return Some(format!("{}{fraction}{zone}", moved.replacen('T', &char::from(between).to_string(), 1)));
    }
    let unit = 10_i64.checked_pow(u32::try_from(digits.min(18)).ok()?)?;
    let parts = i128::from(by_us) * i128::from(unit);
    let number: i64 = fraction[1..].parse().ok()?;
    let sum = i128::from(number) + (parts % 1_000_000 == 0).then_some(parts / 1_000_000)?;
    let seconds = i64::try_from(sum.div_euclid(i128::from(unit))).ok()?;
    let moved = moment.checked_add_signed(Duration::try_seconds(seconds)?)?.format("%Y-%m-%dT%H:%M:%S").to_string();
    let moved = moved.replacen('T', &char::from(between).to_string(), 1);
    Some(format!("{moved}.{:0digits$}{zone}", sum.rem_euclid(i128::from(unit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn times(paths: &[(&str, TimeUnit)]) -> Times {
        let paths: Vec<TimePath> =
            paths.iter().map(|(path, unit)| TimePath { path: (*path).to_owned(), unit: *unit }).collect();
        Times::of(&paths).unwrap()
    }

    fn moved(times: &Times, text: &str, by_us: i64) -> Option<String> {
        match times.moved(text.as_bytes(), &Schemas::default(), by_us) {
            Moved::Moved(_, bytes) => Some(String::from_utf8(bytes).unwrap()),
            Moved::Nothing => Some(text.to_owned()),
            Moved::Unfit(_) => None,
        }
    }

    #[test]
    fn only_times_move_and_all_else_keeps_its_bytes() {
        let at = times(&[("$.at", TimeUnit::Ms), ("$.s", TimeUnit::S), ("$.w[*]", TimeUnit::Us)]);
        let text = "{ \"n\":1.50, \"at\" : 1000 ,\"s\":7, \"w\":[1,null], \"x\":\"\\u0041\" }";
        let expected = "{ \"n\":1.50, \"at\" : 3601000 ,\"s\":3607, \"w\":[3600000001,null], \"x\":\"\\u0041\" }";
        assert_eq!(moved(&at, text, HOUR_US).as_deref(), Some(expected));
        assert_eq!(moved(&at, expected, -HOUR_US).as_deref(), Some(text));
        assert_eq!(moved(&at, "{\"n\":1}", HOUR_US).as_deref(), Some("{\"n\":1}"));
        assert_eq!(moved(&at, "{\"at\":true}", HOUR_US), None);
        assert_eq!(moved(&at, "{\"s\":1}", 500), None, "half a millisecond is no second");
        assert_eq!(moved(&at, "at 1000", HOUR_US), None);
        assert_eq!(moved(&at, "{\"s\":7.250}", HOUR_US).as_deref(), Some("{\"s\":3607.250}"));
        assert_eq!(moved(&at, "{\"s\":1e9}", HOUR_US), None);
    }

    #[test]
    fn dates_keep_the_form_in_which_they_are_written() {
        for (text, by_us, expected) in [
            ("2013-01-05T23:30:00Z", HOUR_US, "2013-01-06T00:30:00Z"),
            ("2013-01-05 23:30:00", HOUR_US, "2013-01-06 00:30:00"),
            ("2013-01-05T23:30:00.120+02:00", HOUR_US, "2013-01-06T00:30:00.120+02:00"),
            ("2013-01-05", 24 * HOUR_US, "2013-01-06"),
            ("2013-01-05T00:00:00.1Z", -200_000, "2013-01-04T23:59:59.9Z"),
            ("2013-01-05T00:00:00.123456Z", 1_500_000, "2013-01-05T00:00:01.623456Z"),
        ] {
            assert_eq!(moved_date(text, by_us).as_deref(), Some(expected), "{text}");
        }
        for (text, by_us) in
            [("2013-01-05", HOUR_US), ("soon", 0), ("2013-01-05T00:00:00Z", 1_000), ("2013-13-05T00:00:00Z", HOUR_US)]
        {
            assert_eq!(moved_date(text, by_us), None, "{text}");
        }
    }
}
