//! One way of writing what may be written in several: timestamps, numbers and texts.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};

use super::declared::{EpochUnit, Form};
use super::json::Decimal;

/// A noncharacter of Unicode: no text that a build writes begins with it, so what stands behind it is ours.
pub(super) const OURS: char = '\u{FFFF}';

/// A text or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf<'a> {
    Text(Cow<'a, str>),
    Number(Cow<'a, str>),
}

impl Leaf<'_> {
    fn written(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }
}

/// Writes a leaf in the one way of `form`; none where it cannot be read as such.
pub(super) fn written(leaf: &Leaf<'_>, form: Form, unit: Option<EpochUnit>) -> Option<Leaf<'static>> {
    let text = |text: String| Some(Leaf::Text(Cow::Owned(text)));
    match (form, leaf) {
        (Form::Timestamp, _) => text(format!("{OURS}{} ns", nanoseconds(leaf.written(), unit)?)),
        (Form::Decimal, _) => number(leaf.written(), |_| true),
        (Form::Integer, Leaf::Text(digits)) if digits.contains(['.', 'e', 'E']) => None,
        (Form::Integer, _) => number(leaf.written(), |number| number.exponent >= 0),
        (Form::Lower, Leaf::Text(said)) => text(said.to_lowercase()),
        (Form::Trim, Leaf::Text(said)) => text(said.trim().to_owned()),
        (Form::Lower | Form::Trim, Leaf::Number(_)) => None,
    }
}

/// Writes a number as its digits and their power of ten, whatever zeros and signs stand around them.
fn number(text: &str, fits: impl Fn(&Decimal) -> bool) -> Option<Leaf<'static>> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let number = Decimal::read(is_number(plain).then_some(plain)?);
    if !fits(&number) {
        return None;
    }
    let digits = String::from_utf8_lossy(&number.digits);
    let sign = if number.negative { "-" } else { "" };
    let written = match (digits.is_empty(), number.exponent) {
        (true, _) => "0".to_owned(),
        (_, 0) => format!("{sign}{digits}"),
        (_, exponent) => format!("{sign}{digits}e{exponent}"),
    };
    Some(Leaf::Number(Cow::Owned(written)))
}

/// Whether a text is a number as JSON has it, but that zeros may stand in front.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let whole = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(mantissa),
    };
    whole && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Reads a moment, in nanoseconds since the Unix epoch.
fn nanoseconds(text: &str, unit: Option<EpochUnit>) -> Option<i128> {
    let text = text.trim();
    if is_number(text.strip_prefix('+').unwrap_or(text)) {
        return since_epoch(text, unit);
    }
    iso(text).or_else(|| {
        let moment = DateTime::parse_from_rfc2822(text).ok()?;
        Some(i128::from(moment.timestamp()) * SECOND + i128::from(moment.timestamp_subsec_nanos()))
    })
}

const SECOND: i128 = 1_000_000_000;

fn since_epoch(text: &str, unit: Option<EpochUnit>) -> Option<i128> {
    let number = Decimal::read(text.strip_prefix('+').unwrap_or(text));
    if number.digits.is_empty() {
        return Some(0);
    }
    let whole_digits = number.digits.len() as i64 + number.exponent;
    let nines = match unit {
        Some(EpochUnit::S) => 9,
        Some(EpochUnit::Ms) => 6,
        Some(EpochUnit::Us) => 3,
        None if whole_digits <= 11 => 9,
        None if whole_digits <= 14 => 6,
        None if whole_digits <= 17 => 3,
        Some(EpochUnit::Ns) | None => 0,
    };
    // Parts of a nanosecond, and what no clock shows, are compared as they are written.
    let zeros = u32::try_from(number.exponent + nines).ok().filter(|_| whole_digits + nines <= 30)?;
    let digits: i128 = std::str::from_utf8(&number.digits).ok()?.parse().ok()?;
    let moment = digits.checked_mul(10_i128.checked_pow(zeros)?)?;
    Some(if number.negative { -moment } else { moment })
}

/// Reads ISO 8601: a day, or a day and a time with or without a zone, with or without `-` and `:`.
fn iso(text: &str) -> Option<i128> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let dashed = skip(&mut rest, '-');
    let month = digits(&mut rest, 2)?;
    if dashed != skip(&mut rest, '-') {
        return None;
    }
    let day = digits(&mut rest, 2)?;
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    let days = i128::from(date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days());
    let midnight = days * 86_400 * SECOND;
    if rest.is_empty() {
        return dashed.then_some(midnight);
    }
    rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = time_of_day(rest)?;
    Some(midnight + time - zone(rest.trim_start())? * 60 * SECOND)
}

fn time_of_day(mut rest: &str) -> Option<(i128, &str)> {
    let hours = digits(&mut rest, 2)?;
    let colon = skip(&mut rest, ':');
    let minutes = digits(&mut rest, 2)?;
    let has_seconds = if colon { skip(&mut rest, ':') } else { rest.starts_with(|c: char| c.is_ascii_digit()) };
    let seconds = if has_seconds { digits(&mut rest, 2)? } else { 0 };
    // 24:00 is the end of a day, second 60 a leap second.
    if hours > 24 || minutes > 59 || seconds > 60 || (hours == 24 && minutes + seconds > 0) {
        return None;
    }
    let mut time = i128::from(hours * 3_600 + minutes * 60 + seconds) * SECOND;
    if has_seconds && let Some(after) = rest.strip_prefix(['.', ',']) {
        let part = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (written, behind) = after.split_at(part);
        let significant = written.trim_end_matches('0');
        if part == 0 || significant.len() > 9 {
            return None;
        }
        time += format!("{significant:0<9}").parse::<i128>().ok()?;
        rest = behind;
    }
    Some((time, rest))
}

/// Reads a zone as minutes ahead of UTC.
fn zone(text: &str) -> Option<i128> {
    if matches!(text, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (ahead, mut rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix(['-', '\u{2212}'])?),
    };
    let hours = digits(&mut rest, 2)?;
    skip(&mut rest, ':');
    let minutes = if rest.is_empty() { 0 } else { digits(&mut rest, 2)? };
    (rest.is_empty() && hours < 24 && minutes < 60).then(|| ahead * i128::from(hours * 60 + minutes))
}

fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let (number, behind) = rest.split_at_checked(count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = behind;
    number.parse().ok()
}

fn skip(rest: &mut &str, sign: char) -> bool {
    match rest.strip_prefix(sign) {
        Some(behind) => {
            *rest = behind;
            true
        }
        None => false,
    }
}
