//! What a rule makes of one value.

use std::borrow::Cow;
use std::str;

use chrono::{Datelike as _, Days, NaiveDate};

use super::MaskKey;
use super::remembered::Remembered;
use super::scan::Kind;
use super::secret::{Mac, Purpose};

/// What stands where something was redacted.
pub(super) const REDACTED: &str = "[redacted]";

/// Seconds of a day.
const DAY_S: i128 = 86_400;

/// A checked method, with all it needs.
#[derive(Debug, Clone)]
pub(super) enum Method {
    /// A keyed token; as sixteen digits where `digits` says so.
    Token {
        key: MaskKey,
        digits: bool,
    },
    Redact,
    Drop,
    /// Dates by whole days, at most `days_max`.
    Shift {
        key: MaskKey,
        days_max: i64,
    },
    /// Numbers down to a multiple.
    Bucket(Decimal),
}

/// What stands in the place of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// The value itself.
    Same,
    /// A text, none of whose letters JSON would have to escape.
    Text(Cow<'static, str>),
    /// A number.
    Number(String),
    /// JSON's null.
    Null,
}

impl Method {
    /// Masks a value that says `content`; `entity` is whose dates are shifted together. Whether it is dropped is decided by
    /// whoever holds what is around it.
    pub(super) fn replace(&self, kind: Kind, content: &[u8], entity: &[u8]) -> Replacement {
        self.replace_by(kind, content, entity, MaskKey::mac)
    }

    /// As [`Method::replace`], with HMACs that were made before.
    pub(super) fn replace_with(
        &self,
        kind: Kind,
        content: &[u8],
        entity: &[u8],
        remembered: &mut Remembered,
    ) -> Replacement {
        self.replace_by(kind, content, entity, |key, purpose, content| remembered.mac(key, purpose, content))
    }

    fn replace_by(
        &self,
        kind: Kind,
        content: &[u8],
        entity: &[u8],
        mut mac: impl FnMut(&MaskKey, Purpose, &[u8]) -> Mac,
    ) -> Replacement {
        if kind == Kind::Null {
            return Replacement::Same;
        }
        match self {
            Self::Token { key, digits: false } => Replacement::Text(mac(key, Purpose::Token, content).token().into()),
            Self::Token { key, digits: true } => like(kind, mac(key, Purpose::Number, content).number_token()),
            Self::Redact | Self::Drop => redacted(kind),
            Self::Shift { .. } | Self::Bucket(_) if content.is_empty() => Replacement::Same,
            Self::Shift { key, days_max } => {
                let days = mac(key, Purpose::Shift, entity).shift_days(*days_max);
                let shifted = scalar(kind, content).and_then(|text| shifted(text, days));
                shifted.map_or_else(|| redacted(kind), |text| like(kind, text))
            }
            Self::Bucket(size) => {
                let bucket = scalar(kind, content).and_then(Decimal::read).and_then(|number| number.down_to(*size));
                bucket.map_or_else(|| redacted(kind), |number| like(kind, number.to_string()))
            }
        }
    }
}

fn redacted(kind: Kind) -> Replacement {
    if kind == Kind::Text { Replacement::Text(REDACTED.into()) } else { Replacement::Null }
}

/// A number stays a number, all else becomes a text.
fn like(kind: Kind, text: String) -> Replacement {
    if kind == Kind::Number { Replacement::Number(text) } else { Replacement::Text(text.into()) }
}

fn scalar(kind: Kind, content: &[u8]) -> Option<&str> {
    matches!(kind, Kind::Text | Kind::Number).then(|| str::from_utf8(content).ok()).flatten()
}

/// Shifts a date by whole days, so that the time of day, the zone and the spelling stay: RFC 3339, a date alone, or time since
/// the Unix epoch, whose unit shows in its size (see [`epoch_shifted`]). None where it is no date, or leaves the years that can be written.
fn shifted(text: &str, days: i64) -> Option<String> {
    epoch_shifted(text, days).or_else(|| calendar_shifted(text, days))
}

fn calendar_shifted(text: &str, days: i64) -> Option<String> {
    let (date, time) = (text.get(..10)?, text.get(10..)?);
    let bytes = date.as_bytes();
    let signs = bytes[4] == b'-' && bytes[7] == b'-';
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
    let parsed = NaiveDate::from_ymd_opt(year as i32, month, day).filter(|_| signs && is_time(time))?;
    let distance = Days::new(days.unsigned_abs());
    let moved = if days < 0 { parsed.checked_sub_days(distance) } else { parsed.checked_add_days(distance) }?;
    let year = u32::try_from(moved.year()).ok().filter(|year| *year <= 9_999)?;
    let mut shifted = String::with_capacity(text.len());
    push_digits(&mut shifted, year, 1_000);
    shifted.push('-');
    push_digits(&mut shifted, moved.month(), 10);
    shifted.push('-');
    push_digits(&mut shifted, moved.day(), 10);
    shifted.push_str(time);
    Some(shifted)
}

/// Adds the digits of a number from that of `place` down; what formats text would take many times as long.
fn push_digits(text: &mut String, number: u32, place: u32) {
    let mut place = place;
    while place > 0 {
        text.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
}

/// The number that a few digits are; none where there is anything else.
fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Whether `text` is nothing, or a time of day as it stands behind a date: hours and minutes, with or without seconds, their
/// fraction and a zone.
fn is_time(text: &str) -> bool {
    let Some(clock) = text.strip_prefix(['T', 't', ' ']) else { return text.is_empty() };
    let zone = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone);
    let two = |part: Option<&[u8]>, below: u32| {
        part.is_some_and(|part| part.len() == 2 && digits(part).is_some_and(|number| number < below))
    };
    let zoned = match zone.as_bytes() {
        [] | [b'Z' | b'z'] => true,
        [b'Z' | b'z', ..] => false,
        [_, hours @ ..] => {
            let minutes = hours.get(2..).map(|rest| rest.strip_prefix(b":").unwrap_or(rest));
            two(hours.get(..2), 24) && (minutes == Some(b"") && hours.len() == 2 || two(minutes, 60))
        }
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut parts = clock.split(':').map(str::as_bytes);
    let timed = two(parts.next(), 24) && two(parts.next(), 60);
    let seconds = parts.next();
    // A leap second is the sixty-first.
    let timed = timed && seconds.is_none_or(|seconds| two(Some(seconds), 61)) && parts.next().is_none();
    let fractioned = fraction.is_none_or(|fraction| {
        seconds.is_some() && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())
    });
    zoned && timed && fractioned
}

/// Shifts digits alone. Eight or fourteen of them that begin with 19 or 20 are a date (yyyymmdd, yyyymmddHHMMSS), and
/// nothing where there is no such day. Else, from 10^8 (March 1973) a number counts seconds, from 10^10 (April 1970) milliseconds,
/// from 10^13 microseconds, from 10^16 nanoseconds. Smaller ones are years, days or amounts, which a shift by seconds would
/// hardly move or show by how much.
fn epoch_shifted(text: &str, days: i64) -> Option<String> {
    let end = text.find('.').unwrap_or(text.len());
    let (whole, fraction) = text.split_at(end);
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(unsigned) || !(fraction.is_empty() || all_digits(&fraction[1..])) || unsigned.len() > 19 {
        return None;
    }
    if matches!(whole.len(), 8 | 14) && matches!(&whole[..2], "19" | "20") {
        return compact_shifted(text, days);
    }
    let number: i128 = whole.parse().ok()?;
    let unit = match number.unsigned_abs() {
        0..100_000_000 => return None,
        100_000_000..10_000_000_000 => 1,
        10_000_000_000..10_000_000_000_000 => 1_000,
        10_000_000_000_000..10_000_000_000_000_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    let moved = number + i128::from(days) * DAY_S * unit;
    // On the other side of zero a fraction counts the other way.
    let crosses = !fraction.is_empty() && (moved < 0) != whole.starts_with('-');
    (!crosses).then(|| format!("{moved}{fraction}"))
}

/// Shifts yyyymmdd, with or without HHMMSS behind it.
fn compact_shifted(text: &str, days: i64) -> Option<String> {
    let (date, time) = (text.get(..8)?, text.get(8..)?);
    let two = |at: usize| time.get(at..at + 2).and_then(|part| digits(part.as_bytes()));
    let clock = two(0).zip(two(2)).zip(two(4)).is_some_and(|((hour, minute), second)| {
        // A leap second is the sixty-first.
        time.len() == 6 && hour < 24 && minute < 60 && second < 61
    });
    if !(time.is_empty() || clock) {
        return None;
    }
    let spelled = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
    calendar_shifted(&spelled, days).map(|moved| moved.replace('-', "") + time)
}

/// A number as it is written, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    /// The number without its point.
    units: i128,
    /// Digits behind the point.
    places: u32,
}

impl Decimal {
    /// Reads digits with a sign and a point; none where there is anything else, an exponent too, or more digits than fit.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if unsigned.is_empty() || !digits(unsigned) || !digits(fraction) || text.ends_with('.') || text.len() > 30 {
            return None;
        }
        Some(Self { units: format!("{whole}{fraction}").parse().ok()?, places: fraction.len() as u32 })
    }

    pub(super) fn is_above_zero(self) -> bool {
        self.units > 0
    }

    /// The largest multiple of `size` that is not above the number.
    fn down_to(self, size: Self) -> Option<Self> {
        let places = self.places.max(size.places);
        let scaled = |number: Self| number.units.checked_mul(10_i128.checked_pow(places - number.places)?);
        let size_units = scaled(size)?;
        let units = scaled(self)?.div_euclid(size_units).checked_mul(size.units)?;
        Some(Self { units, places: size.places })
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scale = 10_u128.pow(self.places);
        let (whole, part) = (self.units.unsigned_abs() / scale, self.units.unsigned_abs() % scale);
        let sign = if self.units < 0 { "-" } else { "" };
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:0width$}", width = self.places as usize);
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: &str, size: &str) -> Option<String> {
        Decimal::read(number)?.down_to(Decimal::read(size)?).map(|number| number.to_string())
    }

    #[test]
    fn dates_move_by_whole_days_and_keep_their_spelling() {
        for (text, days, expected) in [
            ("2013-01-05", 1, "2013-01-06"),
            ("2013-01-05T10:17:00Z", -5, "2012-12-31T10:17:00Z"),
            ("2012-02-28 23:59:60.123+05:30", 1, "2012-02-29 23:59:60.123+05:30"),
            ("2013-01-05t10:17z", 400, "2014-02-09t10:17z"),
            ("2013-01-05T10:17:00-0500", 1, "2013-01-06T10:17:00-0500"),
            ("1357035420", 1, "1357121820"),
            ("1357035420000", -1, "1356949020000"),
            ("1357035420000000", 1, "1357121820000000"),
            ("1357035420000000000", 1, "1357121820000000000"),
            ("1357035420.25", 1, "1357121820.25"),
            ("-315619200", 1, "-315532800"),
            // Milliseconds of 1971 and 2286 and seconds of 1973.
            ("31536000000", 1, "31622400000"),
            ("9999999999999", 1, "10000086399999"),
            ("100000000", 1, "100086400"),
            ("20130105", 1, "20130106"),
            ("19991231", 1, "20000101"),
            ("20130105101700", -5, "20121231101700"),
        ] {
            assert_eq!(shifted(text, days).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "soon",
            "2013-13-01",
            "2013-1-5",
            "2013-01-05T",
            "2013-01-05T25:00",
            "2013-01-05T10:60",
            "2013-01-05T10:17.5",
            "2013-01-05T10:17:00+5:30",
            "2013-01-05T10:17:00Zx",
            "2013-01-05T10:17:00:00",
            "2013-01-05T10:17:00+5",
            "05.01.2013",
            "1e9",
            "2013-01-05x",
            "1.5.2",
            "99999999999999999999",
            // What counts no seconds would show by how much it was moved.
            "0",
            "1975",
            "4000",
            "-86400",
            "20133",
            "99999999",
            "20131305",
            "20130105.5",
            "20130105256000",
            "19700101000061",
            "ééééé",
        ] {
            assert_eq!(shifted(text, 1), None, "{text}");
        }
        assert_eq!(shifted("9999-12-31", 1), None);
        assert_eq!(shifted("100000000.5", -2_000), None);
    }

    #[test]
    fn numbers_go_down_to_multiples_exactly() {
        for (number, size, expected) in [
            ("1234", "100", "1200"),
            ("-1", "100", "-100"),
            ("0", "100", "0"),
            ("99.99", "10", "90"),
            ("0.37", "0.1", "0.3"),
            ("12.5", "2.5", "12.5"),
            ("100000000000000000001", "10", "100000000000000000000"),
        ] {
            assert_eq!(bucket(number, size).as_deref(), Some(expected), "{number}");
        }
        for number in ["", "1e3", "1.", ".5", "x", "-", "1234567890123456789012345678901234567890"] {
            assert_eq!(bucket(number, "10"), None, "{number}");
        }
    }

    #[test]
    fn what_cannot_be_masked_as_asked_is_redacted() {
        let bucket = Method::Bucket(Decimal::read("10").unwrap());
        assert_eq!(bucket.replace(Kind::Text, b"many", b""), Replacement::Text("[redacted]".into()));
        assert_eq!(bucket.replace(Kind::Object, b"{}", b""), Replacement::Null);
        assert_eq!(bucket.replace(Kind::Number, b"1e3", b""), Replacement::Null);
        assert_eq!(bucket.replace(Kind::Number, b"19", b""), Replacement::Number("10".into()));
        assert_eq!(bucket.replace(Kind::Text, b"19", b""), Replacement::Text("10".into()));
        assert_eq!(Method::Redact.replace(Kind::Null, b"null", b""), Replacement::Same);
        assert_eq!(Method::Redact.replace(Kind::Number, b"5", b""), Replacement::Null);
    }
}
