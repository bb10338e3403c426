//! What a type stands for beyond its bytes: dates, times, decimals, UUIDs.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::{Map, Value};

use super::model::Shape;

/// Bytes of the unscaled number of a decimal at most; one that is longer is shown as bytes.
const DECIMAL_BYTES_MAX: usize = 256;

/// What a type stands for. A logical type that its shape cannot carry is ignored, as the specification asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Logical {
    Decimal {
        scale: u32,
    },
    Uuid,
    Date,
    /// Units of time since midnight, in a second.
    Time {
        per_second: i64,
    },
    /// Units of time since the epoch, in a second; local ones belong to no time zone.
    Timestamp {
        per_second: i64,
        local: bool,
    },
    /// Months, days and milliseconds.
    Duration,
}

impl Logical {
    /// Reads what the object of a type says it stands for; `size` is that of a fixed.
    pub(super) fn read(members: &Map<String, Value>, shape: &Shape, size: Option<usize>) -> Option<Self> {
        let number = |name: &str| members.get(name).and_then(Value::as_u64);
        let logical = members.get("logicalType")?.as_str()?;
        let timestamp = |per_second, local| Self::Timestamp { per_second, local };
        let found = match (logical, shape) {
            ("decimal", _) if *shape == Shape::Bytes || size.is_some() => {
                let (scale, precision) = (number("scale").unwrap_or(0), number("precision")?);
                if precision == 0 || scale > precision || scale > DECIMAL_BYTES_MAX as u64 {
                    return None;
                }
                Self::Decimal { scale: scale as u32 }
            }
            ("uuid", Shape::String) => Self::Uuid,
            ("uuid", _) if size == Some(16) => Self::Uuid,
            ("duration", _) if size == Some(12) => Self::Duration,
            ("date", Shape::Int) => Self::Date,
            ("time-millis", Shape::Int) => Self::Time { per_second: 1_000 },
            ("time-micros", Shape::Long) => Self::Time { per_second: 1_000_000 },
            ("timestamp-millis", Shape::Long) => timestamp(1_000, false),
            ("timestamp-micros", Shape::Long) => timestamp(1_000_000, false),
            ("timestamp-nanos", Shape::Long) => timestamp(1_000_000_000, false),
            ("local-timestamp-millis", Shape::Long) => timestamp(1_000, true),
            ("local-timestamp-micros", Shape::Long) => timestamp(1_000_000, true),
            ("local-timestamp-nanos", Shape::Long) => timestamp(1_000_000_000, true),
            _ => return None,
        };
        Some(found)
    }

    /// What a number stands for, as text; none where it has no such form, as a time of day beyond midnight.
    pub(super) fn of_number(&self, number: i64) -> Option<String> {
        match self {
            Self::Date => {
                let date = epoch().date().checked_add_signed(Duration::try_days(number)?)?;
                Some(date.format("%Y-%m-%d").to_string())
            }
            Self::Time { per_second } => {
                let (seconds, rest) = (number.div_euclid(*per_second), number.rem_euclid(*per_second));
                let nanos = rest * (1_000_000_000 / per_second);
                let time = NaiveTime::from_num_seconds_from_midnight_opt(
                    u32::try_from(seconds).ok()?,
                    u32::try_from(nanos).ok()?,
                )?;
                Some(time.format(&format!("%H:%M:%S{}", fraction(*per_second))).to_string())
            }
            Self::Timestamp { per_second, local } => {
                let (seconds, rest) = (number.div_euclid(*per_second), number.rem_euclid(*per_second));
                let nanos = u32::try_from(rest * (1_000_000_000 / per_second)).ok()?;
                let zone = if *local { "" } else { "Z" };
                let time = DateTime::from_timestamp(seconds, nanos)?.naive_utc();
                Some(time.format(&format!("%Y-%m-%dT%H:%M:%S{}{zone}", fraction(*per_second))).to_string())
            }
            _ => None,
        }
    }

    /// The number that text stands for, the reverse of [`Logical::of_number`].
    pub(super) fn to_number(&self, text: &str) -> Option<i64> {
        match self {
            Self::Date => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                Some((date - epoch().date()).num_days())
            }
            Self::Time { per_second } => {
                let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok()?;
                units(time - NaiveTime::MIN, *per_second)
            }
            Self::Timestamp { per_second, local: true } => {
                units(NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()? - epoch(), *per_second)
            }
            Self::Timestamp { per_second, local: false } => {
                let time = match text.strip_suffix('Z') {
                    // Years of more than four digits have a sign, which RFC 3339 does not know.
                    Some(bare) => NaiveDateTime::parse_from_str(bare, "%Y-%m-%dT%H:%M:%S%.f").ok()?,
                    None => DateTime::parse_from_rfc3339(text).ok()?.naive_utc(),
                };
                units(time - epoch(), *per_second)
            }
            _ => None,
        }
    }

    /// What bytes stand for, as JSON text; none where they have no such form.
    pub(super) fn of_bytes(&self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Decimal { scale } => decimal(bytes, *scale),
            Self::Uuid => {
                let hex = format!("{:032x}", u128::from_be_bytes(bytes.try_into().ok()?));
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                Some(format!("\"{}\"", parts.join("-")))
            }
            Self::Duration => {
                let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
                let (months, days, milliseconds) = (number(0)?, number(4)?, number(8)?);
                Some(format!(r#"{{"months":{months},"days":{days},"milliseconds":{milliseconds}}}"#))
            }
            _ => None,
        }
    }

    /// The bytes that JSON stands for, the reverse of [`Logical::of_bytes`]; `size` is that of a fixed.
    pub(super) fn to_bytes(&self, value: &Value, size: Option<usize>) -> Option<Vec<u8>> {
        match self {
            Self::Decimal { scale } => undecimal(value, *scale, size),
            Self::Uuid => {
                let digits: Vec<u8> = value.as_str()?.bytes().filter(|byte| *byte != b'-').collect();
                let text = std::str::from_utf8(&digits).ok().filter(|text| text.is_ascii() && text.len() == 32)?;
                (0..16).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
            }
            Self::Duration => {
                let number = |name: &str| u32::try_from(value.get(name)?.as_u64()?).ok();
                let numbers = [number("months")?, number("days")?, number("milliseconds")?];
                Some(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            }
            _ => None,
        }
    }
}

fn epoch() -> NaiveDateTime {
    NaiveDateTime::default()
}

fn fraction(per_second: i64) -> &'static str {
    match per_second {
        1_000 => "%.3f",
        1_000_000 => "%.6f",
        _ => "%.9f",
    }
}

fn units(since: Duration, per_second: i64) -> Option<i64> {
    let rest = i64::from(since.subsec_nanos()) / (1_000_000_000 / per_second);
    since.num_seconds().checked_mul(per_second)?.checked_add(rest)
}

/// Writes a two's complement number, highest byte first, with `scale` digits behind the point.
fn decimal(bytes: &[u8], scale: u32) -> Option<String> {
    if bytes.is_empty() || bytes.len() > DECIMAL_BYTES_MAX {
        return None;
    }
    let negative = bytes[0] & 0x80 != 0;
    let mut magnitude = bytes.to_vec();
    if negative {
        // The magnitude of the smallest number of its length needs one byte more.
        magnitude.insert(0, 0xFF);
        negate(&mut magnitude);
    }
    // Nine digits a round, the lowest first.
    let mut digits = String::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let rest = magnitude.iter_mut().fold(0_u64, |rest, byte| {
            let number = rest << 8 | u64::from(*byte);
            *byte = (number / 1_000_000_000) as u8;
            number % 1_000_000_000
        });
        digits = format!("{rest:09}{digits}");
    }
    let digits = digits.trim_start_matches('0');
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let sign = if negative { "-" } else { "" };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (negated, overflow) = (!*byte).overflowing_add(u8::from(carry));
        (*byte, carry) = (negated, overflow);
    }
}

/// Reads a number as the unscaled two's complement number, as short as it can be or as long as the fixed is.
fn undecimal(value: &Value, scale: u32, size: Option<usize>) -> Option<Vec<u8>> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 60 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Zeros are added or taken away until the point stands where the scale wants it; a digit that would be lost is an error.
    let shift = i64::from(scale) + exponent - fraction.len() as i64;
    let digits = if shift >= 0 {
        format!("{digits}{}", "0".repeat(usize::try_from(shift).ok().filter(|shift| *shift <= 60)?))
    } else {
        let kept = digits.len().saturating_sub(usize::try_from(-shift).ok()?);
        digits[kept..].bytes().all(|byte| byte == b'0').then(|| digits[..kept].to_owned())?
    };
    let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let bytes = (sign * number).to_be_bytes();
    let fill = if bytes[0] & 0x80 == 0 { 0x00 } else { 0xFF };
    let mut first = 0;
    while first < 15 && bytes[first] == fill && (bytes[first + 1] ^ fill) & 0x80 == 0 {
        first += 1;
    }
    let short = &bytes[first..];
    match size {
        None => Some(short.to_vec()),
        Some(size) => {
            let mut padded = vec![fill; size.checked_sub(short.len())?];
            padded.extend_from_slice(short);
            Some(padded)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn decimals_have_all_their_digits() {
        for (bytes, scale, text) in [
            (&[0x00][..], 0, "0"),
            (&[0x00], 2, "0.00"),
            (&[0xFF], 2, "-0.01"),
            (&[0x80], 0, "-128"),
            (&[0x04, 0xD2], 2, "12.34"),
            (&[0xFB, 0x2E], 2, "-12.34"),
            (&[0xFF; 20], 0, "-1"),
            (
                &[0x4B, 0x3B, 0x4C, 0xA8, 0x5A, 0x86, 0xC4, 0x7A, 0x09, 0x8A, 0x22, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF],
                10,
                "9999999999999999999999999999.9999999999",
            ),
        ] {
            assert_eq!(decimal(bytes, scale).as_deref(), Some(text));
        }
        assert_eq!(decimal(&[], 2), None);
        assert_eq!(decimal(&[1; 257], 2), None);
    }

    #[test]
    fn a_decimal_that_would_lose_digits_is_refused() {
        let bytes = |value: Value, size| undecimal(&value, 2, size);
        assert_eq!(bytes(json!(12.34), None), Some(vec![0x04, 0xD2]));
        assert_eq!(bytes(json!("12.3400"), Some(4)), Some(vec![0, 0, 0x04, 0xD2]));
        assert_eq!(bytes(json!(-1e2), None), Some(vec![0xD8, 0xF0]));
        for (value, size) in [(json!(12.345), None), (json!("x"), None), (json!(true), None), (json!(999_999), Some(2))]
        {
            assert_eq!(bytes(value.clone(), size), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn decimals_come_back(number in any::<i128>(), scale in 0_u32..20) {
            let text = decimal(&number.to_be_bytes(), scale).unwrap();
            let bytes = undecimal(&Value::from(text), scale, Some(16)).unwrap();
            prop_assert_eq!(bytes, number.to_be_bytes().to_vec());
        }

        #[test]
        fn times_come_back(number in any::<i64>(), days in any::<i32>()) {
            for per_second in [1_000, 1_000_000, 1_000_000_000] {
                for logical in
                    [Logical::Timestamp { per_second, local: true }, Logical::Timestamp { per_second, local: false }]
                {
                    if let Some(text) = logical.of_number(number) {
                        prop_assert_eq!(logical.to_number(&text), Some(number), "{}", text);
                    }
                }
                let time = Logical::Time { per_second };
                let within = number.rem_euclid(86_400 * per_second);
                prop_assert_eq!(time.to_number(&time.of_number(within).unwrap()), Some(within));
            }
            if let Some(text) = Logical::Date.of_number(i64::from(days)) {
                prop_assert_eq!(Logical::Date.to_number(&text), Some(i64::from(days)), "{}", text);
            }
        }
    }
}
