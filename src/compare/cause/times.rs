//! Moments: shifts, time zones, summer time, other notations and cut-off digits, in text and in numbers since the epoch.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::exact::Exact;
use super::sides::Sides;
use super::votes::{Explains, Votes};
use super::{Claim, Evidence};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A moment as text has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant {
    /// What the clock on the wall shows, in microseconds since the Unix epoch.
    pub(super) wall_us: i64,
    /// Offset from UTC in minutes; none where the text names none.
    pub(super) zone: Option<i64>,
}

impl Instant {
    /// Microseconds since the Unix epoch, taken as UTC where no zone is named.
    pub(super) fn us(self) -> i64 {
        self.wall_us - self.zone.unwrap_or_default() * MINUTE
    }
}

/// Reads a date with a time, as `2013-01-05T10:17:05.250+01:00`; seconds and zone may be missing, a space may stand for the `T`.
pub(super) fn instant(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    if !(16..=40).contains(&bytes.len()) || bytes[4] != b'-' || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then(|| text[from..to].parse().ok())?
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(is(7, b'-') && (is(10, b'T') || is(10, b' ')) && is(13, b':')) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(0, 4)?.try_into().ok()?, number(5, 7)?, number(8, 10)?)?;
    let (mut at, mut second, mut us) = (16, 0, 0);
    if is(at, b':') {
        second = number(17, 19)?;
        at = 19;
        if is(at, b'.') || is(at, b',') {
            let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let fraction = &text[at + 1..at + 1 + digits];
            us = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
            at += 1 + digits;
        }
    }
    let time = NaiveTime::from_hms_micro_opt(number(11, 13)?, number(14, 16)?, second, us)?;
    let behind = text[at..].trim_start();
    let zone = if behind.is_empty() { None } else { Some(zone(behind)?) };
    Some(Instant { wall_us: date.and_time(time).and_utc().timestamp_micros(), zone })
}

/// Reads the offset that stands behind a time, in minutes; none where it is none.
fn zone(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let digits = if digits.len() == 2 { digits + "00" } else { digits };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Units of a number since the epoch, by microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EpochUnit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl EpochUnit {
    const ALL: [Self; 4] = [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    fn a_second(self) -> i128 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }
}

/// The moment that a number since the epoch is, from 1990 to 2100: no two units meet there.
fn epoch(number: Exact) -> Option<(i64, EpochUnit)> {
    let units = EpochUnit::ALL.into_iter();
    let from_1990 = |unit: &EpochUnit| {
        let seconds = number.float() / unit.a_second() as f64;
        (631_152_000.0..4_102_444_800.0).contains(&seconds)
    };
    let unit = units.into_iter().find(from_1990)?;
    let us = number.times(1_000_000)?.rounded(0, super::exact::Mode::Floor)?.at(0)? / unit.a_second();
    Some((i64::try_from(us).ok()?, unit))
}

/// Where clocks are put forward in summer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Summer {
    Europe,
    America,
}

impl Summer {
    /// Whether it is summer there at a moment, where clocks are `base_us` ahead of UTC in winter.
    pub(super) fn holds(self, utc_us: i64, base_us: i64) -> Option<bool> {
        let year = chrono::DateTime::from_timestamp_micros(utc_us)?.year();
        let (from, to) = match self {
            // All of Europe at once, at one o'clock in Greenwich.
            Self::Europe => (sunday(year, 3, 31)? + HOUR, sunday(year, 10, 31)? + HOUR),
            // Each zone at two o'clock of its own.
            Self::America => (sunday(year, 3, 14)? + 2 * HOUR - base_us, sunday(year, 11, 7)? + HOUR - base_us),
        };
        Some((from..to).contains(&utc_us))
    }
}

/// Midnight of the last Sunday up to a day.
fn sunday(year: i32, month: u32, day: u32) -> Option<i64> {
    let day = NaiveDate::from_ymd_opt(year, month, day)?;
    let back = (day.weekday().num_days_from_monday() + 7 - Weekday::Sun.num_days_from_monday()) % 7;
    Some(day.checked_sub_days(Days::new(u64::from(back)))?.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

/// An explanation of two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimeWay {
    /// New is later by so many microseconds; earlier where negative.
    Shift(i64),
    /// One side has the local time of a zone with summer time, the other UTC; what is told is winter's offset.
    Summer { rule: Summer, base_us: i64, new_is_local: bool },
    /// The same moment, written in another way.
    Notation,
    /// The same clock on the wall under another zone.
    Wall { minutes: i64 },
    /// New lacks everything below this many microseconds.
    Cut(i64),
    /// Old lacks it, and new has it.
    Filled(i64),
    /// Text on one side, a number since the epoch on the other.
    Epoch { unit: EpochUnit, new_is_number: bool },
}

impl Explains for TimeWay {
    fn kind(&self) -> u8 {
        match self {
            TimeWay::Shift(_) => 1,
            TimeWay::Summer { .. } => 2,
            TimeWay::Wall { .. } => 3,
            _ => 0,
        }
    }
}

/// Finds what explains two moments.
pub(super) fn ways(sides: &Sides<'_, '_>) -> Vec<TimeWay> {
    let (old, new) = (&sides.old, &sides.new);
    let mut ways = Vec::new();
    match (old.instant, new.instant) {
        (Some(one), Some(other)) => texts(one, other, &mut ways),
        (Some(text), None) => {
            if let Some((_, unit)) = new.bare_number().and_then(epoch).filter(|(us, unit)| is_at(text, *us, *unit)) {
                ways.push(TimeWay::Epoch { unit, new_is_number: true });
            }
        }
        (None, Some(text)) => {
            if let Some((_, unit)) = old.bare_number().and_then(epoch).filter(|(us, unit)| is_at(text, *us, *unit)) {
                ways.push(TimeWay::Epoch { unit, new_is_number: false });
            }
        }
        (None, None) => {
            let numbers = old.number.zip(new.number);
            let moments = numbers.and_then(|(old, new)| epoch(old).zip(epoch(new)));
            if let Some(((one, unit), (other, same))) = moments
                && unit == same
                && one != other
            {
                moved(one, other, &mut ways);
            }
        }
    }
    ways
}

fn is_at(text: Instant, us: i64, unit: EpochUnit) -> bool {
    let width = (1_000_000 / unit.a_second()).max(1) as i64;
    text.us().div_euclid(width) == us.div_euclid(width)
}

fn texts(old: Instant, new: Instant, ways: &mut Vec<TimeWay>) {
    if old.us() == new.us() {
        return ways.push(TimeWay::Notation);
    }
    if let (Some(one), Some(other)) = (old.zone, new.zone)
        && old.wall_us == new.wall_us
    {
        ways.push(TimeWay::Wall { minutes: other - one });
    }
    moved(old.us(), new.us(), ways);
}

fn moved(old: i64, new: i64, ways: &mut Vec<TimeWay>) {
    ways.push(TimeWay::Shift(new.saturating_sub(old)));
    for unit in [1_000, SECOND, MINUTE, HOUR, DAY] {
        let cut = |us: i64| us.div_euclid(unit) * unit;
        if cut(old) == new {
            ways.push(TimeWay::Cut(unit));
        }
        if cut(new) == old {
            ways.push(TimeWay::Filled(unit));
        }
    }
    for (utc, local, new_is_local) in [(old, new, true), (new, old, false)] {
        let ahead = local.saturating_sub(utc);
        if ahead % (15 * MINUTE) != 0 || ahead.abs() > 15 * HOUR {
            continue;
        }
        for rule in [Summer::Europe, Summer::America] {
            for (base_us, is_summer) in [(ahead, false), (ahead - HOUR, true)] {
                if rule.holds(utc, base_us) == Some(is_summer) {
                    ways.push(TimeWay::Summer { rule, base_us, new_is_local });
                }
            }
        }
    }
}

/// Says which explanations hold for enough differences.
pub(super) fn claims(votes: &Votes<TimeWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let holding: Vec<(TimeWay, u64)> =
        votes.all().filter(|(_, count)| evidence.is_enough(*count)).map(|(way, count)| (*way, count)).collect();
    // One season alone has one shift, which says as much and less.
    let shifted = holding.iter().filter(|(way, _)| matches!(way, TimeWay::Shift(_))).map(|(_, count)| *count).max();
    let claim = |(way, explains): (TimeWay, u64)| {
        let (name, rank, is_enough) = match way {
            TimeWay::Notation => ("notation", 0, true),
            TimeWay::Epoch { .. } => ("notation", 0, evidence.pairs >= 2),
            TimeWay::Wall { .. } => ("time-zone", 0, evidence.pairs >= 3),
            TimeWay::Shift(_) => ("time-shift", 1, evidence.pairs >= 3 && evidence.olds >= 3),
            TimeWay::Summer { .. } => {
                ("time-zone", 1, evidence.pairs >= 4 && shifted.is_none_or(|shifted| shifted < explains))
            }
            TimeWay::Cut(_) | TimeWay::Filled(_) => ("time-cut", 1, evidence.pairs >= 3),
        };
        is_enough.then(|| Claim { name, rank, explains, says: say(way, evidence.path) })
    };
    let mut claims: Vec<Claim> = holding.iter().copied().filter_map(claim).collect();
    // What is cut to hours is cut to minutes as well: the coarsest that holds tells the most, and comes last.
    let coarsest = claims.iter().rposition(|claim| claim.name == "time-cut");
    let mut at = 0;
    claims.retain(|claim| {
        at += 1;
        claim.name != "time-cut" || Some(at - 1) == coarsest
    });
    claims
}

/// Says what an explanation means.
fn say(way: TimeWay, path: &str) -> String {
    match way {
        TimeWay::Shift(us) => {
            let zone = us % (15 * MINUTE) == 0 && us.abs() <= 14 * HOUR;
            let zone = if zone { ", as in another time zone" } else { "" };
            format!("new writes {path} {} {}{zone}", span(us), if us < 0 { "earlier" } else { "later" })
        }
        TimeWay::Summer { rule, base_us, new_is_local } => {
            let rule = match rule {
                Summer::Europe => "European",
                Summer::America => "American",
            };
            let (local, utc) = if new_is_local { ("new", "old") } else { ("old", "new") };
            format!(
                "{local} writes {path} in local time, {} and {rule} summer time, where {utc} writes UTC",
                offset(base_us / MINUTE)
            )
        }
        TimeWay::Notation => format!("new writes the same moments at {path} in another notation"),
        TimeWay::Wall { minutes } => {
            format!("new writes {path} with the same clock time in another zone, {} apart", span(minutes * MINUTE))
        }
        TimeWay::Cut(unit) => format!("new cuts {path} to whole {}", unit_name(unit)),
        TimeWay::Filled(unit) => format!("new no longer cuts {path} to whole {}", unit_name(unit)),
        TimeWay::Epoch { unit, new_is_number } => {
            let number = format!("{} since 1970", unit.name());
            let (old, new) =
                if new_is_number { ("a date and time", number.as_str()) } else { (number.as_str(), "a date and time") };
            format!("new writes {path} as {new} where old writes {old}")
        }
    }
}

fn unit_name(us: i64) -> &'static str {
    match us {
        DAY => "days",
        HOUR => "hours",
        MINUTE => "minutes",
        SECOND => "seconds",
        _ => "milliseconds",
    }
}

fn offset(minutes: i64) -> String {
    let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
    format!("UTC{sign}{}:{:02}", minutes / 60, minutes % 60)
}

/// Writes a length of time in its largest whole units, as `1 h 30 min`.
pub(super) fn span(us: i64) -> String {
    let mut left = us.unsigned_abs();
    let mut parts = Vec::new();
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1_000, "ms"), (1, "us")] {
        let unit = unit.unsigned_abs();
        if left >= unit {
            parts.push(format!("{} {name}", left / unit));
            left %= unit;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        instant(text).unwrap().us()
    }

    #[test]
    fn moments_are_read_in_their_usual_notations() {
        let at = us("2013-01-05T10:17:05Z");
        assert_eq!(at, 1_357_381_025_000_000);
        for text in [
            "2013-01-05T11:17:05+01:00",
            "2013-01-05 10:17:05",
            "2013-01-05T10:17:05.000Z",
            "2013-01-05T05:17:05-0500",
            "2013-01-05T10:17:05+00",
        ] {
            assert_eq!(us(text), at, "{text}");
        }
        assert_eq!(us("2013-01-05T10:17:05.25Z") - at, 250_000);
        for text in ["2013-01-05", "2013-13-05T10:17Z", "10:17:05", "2013-01-05T10:17:05x", "2013-01-05T10:17:05+9"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn summer_begins_and_ends_where_the_clocks_say() {
        for (rule, base_us, winter, summer) in [
            (Summer::Europe, HOUR, "2013-03-31T00:59:59Z", "2013-03-31T01:00:00Z"),
            (Summer::Europe, HOUR, "2013-10-27T01:00:00Z", "2013-10-27T00:59:59Z"),
            (Summer::America, -5 * HOUR, "2013-03-10T06:59:59Z", "2013-03-10T07:00:00Z"),
            (Summer::America, -5 * HOUR, "2013-11-03T06:00:00Z", "2013-11-03T05:59:59Z"),
        ] {
            assert_eq!(rule.holds(us(winter), base_us), Some(false), "{winter}");
            assert_eq!(rule.holds(us(summer), base_us), Some(true), "{summer}");
        }
    }

    #[test]
    fn spans_are_written_in_their_units() {
        assert_eq!(span(-5_400 * SECOND), "1 h 30 min");
        assert_eq!((span(DAY).as_str(), span(1_250_000).as_str(), span(0).as_str()), ("1 d", "1 s 250 ms", "0 s"));
    }
}
