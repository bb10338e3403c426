//! `clock`: the wall clock that a build sees is wrong, from its start, from a moment on, or more and more.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::Seed;
use super::super::fault::{Check, Preset};
use super::{RequestKind, When};
use crate::settings::{SettingError, Shift, Span};

const SECOND: i64 = 1_000_000;

/// What is wrong with a build's wall clock. Its timers and its monotonic clock stay right, as a machine's do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockChange {
    /// It is wrong by this much from the build's start on, in microseconds.
    Shift(i64),
    /// It leaps by this much at each moment, in microseconds, and back again after the fault's length, where that has one.
    Step(i64),
    /// It gains this share of the time that passes, from the schedule's start on; loses where it is negative.
    Drift(f64),
}

impl ClockChange {
    /// By how much it is wrong at once, in microseconds; none of one that drifts.
    pub fn by_us(self) -> Option<i64> {
        match self {
            Self::Shift(us) | Self::Step(us) => Some(us),
            Self::Drift(_) => None,
        }
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shift(us) => write!(f, "shifted by {}", Shift(*us)),
            Self::Step(us) => write!(f, "stepped by {}", Shift(*us)),
            Self::Drift(rate) => write!(f, "drifting by {}", Drift(*rate)),
        }
    }
}

/// `drift` of a `clock`: what a clock gains of the time that passes, as a share; negative where it loses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift(pub f64);

impl FromStr for Drift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no drift; write what the clock gains, such as `200 ppm`, `0.5%` or `-1%`");
        let text = text.trim();
        let (number, unit) = match (text.strip_suffix("ppm"), text.strip_suffix('%')) {
            (Some(number), _) => (number, 1e-6),
            (_, Some(number)) => (number, 1e-2),
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Some(Self(number * unit)).filter(|drift| drift.0.is_finite()).ok_or_else(wrong)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ppm = (self.0 * 1e9).round() / 1e3;
        if ppm.abs() >= 1e3 { write!(f, "{:+}%", ppm / 1e4) } else { write!(f, "{ppm:+} ppm") }
    }
}

impl<'de> Deserialize<'de> for Drift {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Drift;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share of time in text, such as \"200 ppm\" or \"-1%\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Drift, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Drift {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Drift {
    fn schema_name() -> Cow<'static, str> {
        "Drift".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "What a clock gains of the time that passes (\"200 ppm\", \"0.5%\"), or loses (\"-1%\")"
        })
    }
}

/// By how much a clock is wrong, as written or by the preset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Written {
    This(ClockChange),
    /// Stepped by so much; which way is drawn.
    EitherWay(i64),
}

impl Written {
    /// What a preset has: a second either way, five minutes either way, an hour back.
    pub(super) fn of(preset: Preset) -> Self {
        preset.choose(
            Self::EitherWay(SECOND),
            Self::EitherWay(300 * SECOND),
            Self::This(ClockChange::Step(-3_600 * SECOND)),
        )
    }

    /// Draws what is to be drawn: the same for the same seed and name of the fault.
    pub(super) fn draw(self, seed: Seed, name: &str) -> ClockChange {
        match self {
            Self::This(change) => change,
            Self::EitherWay(us) => {
                let ahead = seed.draws(&format!("{name}/direction"))(0).is_multiple_of(2);
                ClockChange::Step(if ahead { us } else { -us })
            }
        }
    }
}

impl Check<'_, RequestKind> {
    /// What is wrong with the clock; `written` says whether moments are.
    pub(super) fn clock(&self, written: bool) -> Result<Written, SettingError> {
        let s = self.settings;
        let given = [("shift", s.shift.is_some()), ("step", s.step.is_some()), ("drift", s.drift.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
        if let [first, second, ..] = given[..] {
            let problem = format!("`{first}` already says what is wrong with the clock");
            return Err(self.wrong(second, problem, "Keep one of the two, or write a `[[fault]]` for each."));
        }
        let (key, change) = match (s.shift, s.step, s.drift) {
            (Some(Shift(us)), ..) => ("shift", ClockChange::Shift(us)),
            (_, Some(Shift(us)), _) => ("step", ClockChange::Step(us)),
            (.., Some(Drift(rate))) => ("drift", ClockChange::Drift(rate)),
            _ => return Ok(Written::of(s.preset)),
        };
        match change {
            ClockChange::Shift(0) | ClockChange::Step(0) => {
                Err(self.wrong(key, "a clock that is wrong by nothing is right", "Write `-1h`, say."))
            }
            ClockChange::Drift(0.0) => {
                Err(self.wrong(key, "a clock that gains nothing is right", "Write `200 ppm`, say."))
            }
            ClockChange::Drift(rate) if rate.abs() >= 1.0 => {
                let problem = format!("a clock that drifts by {} is none", Drift(rate));
                Err(self.wrong(key, problem, "Write less than 100%; `step` and `shift` make it wrong at once."))
            }
            ClockChange::Step(_) => Ok(Written::This(change)),
            // From the start on, to the end.
            _ if written || s.length.is_some() => {
                let other = if written { "at" } else { "length" };
                let of = ["times", "at", "period"].into_iter().find(|name| self.is_given(name)).unwrap_or(other);
                let problem = format!("a `{key}` lasts from the start to the end, so it has no `{of}`");
                Err(self.wrong(of, problem, "Leave it out, or write `step`."))
            }
            _ => Ok(Written::This(change)),
        }
    }
}

impl Written {
    /// When it begins where no moment is written.
    pub(super) fn when(self) -> When {
        match self {
            Self::This(ClockChange::Shift(_) | ClockChange::Drift(_)) => When::Start,
            Self::EitherWay(_) | Self::This(ClockChange::Step(_)) => When::Times(1),
        }
    }
}

/// Name and figure, as a report shows them.
pub(super) fn figures(change: ClockChange, length_us: i64) -> Vec<(String, f64)> {
    let mut figures = match change {
        ClockChange::Shift(us) | ClockChange::Step(us) => vec![("by-s".to_owned(), us as f64 / 1e6)],
        ClockChange::Drift(rate) => vec![("drift-ppm".to_owned(), (rate * 1e9).round() / 1e3)],
    };
    if length_us > 0 {
        figures.push(("length-s".to_owned(), length_us as f64 / 1e6));
    }
    figures
}

/// How long a clock stays wrong, in words.
pub(super) fn for_long(length_us: i64) -> String {
    format!("right again after {}", Span(Duration::from_micros(length_us.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_is_a_share_of_the_time_that_passes() {
        for (text, rate, shown) in [("200 ppm", 2e-4, "+200 ppm"), ("-1%", -1e-2, "-1%"), ("0.5 %", 5e-3, "+0.5%")] {
            let drift: Drift = text.parse().unwrap();
            assert!((drift.0 - rate).abs() < 1e-12, "{text}");
            assert_eq!(drift.to_string(), shown);
        }
        for text in ["", "1", "1s", "fast", "inf%"] {
            assert!(text.parse::<Drift>().unwrap_err().contains("`200 ppm`"), "{text}");
        }
    }

    #[test]
    fn which_way_a_preset_steps_follows_from_seed_and_name() {
        let drawn: Vec<ClockChange> = (0..40).map(|seed| Written::EitherWay(5).draw(Seed(seed), "clock-1")).collect();
        assert!(drawn.contains(&ClockChange::Step(5)) && drawn.contains(&ClockChange::Step(-5)));
        assert!((0..40).map(|seed| Written::EitherWay(5).draw(Seed(seed), "clock-1")).eq(drawn.iter().copied()));
        assert!(!(0..40).map(|seed| Written::EitherWay(5).draw(Seed(seed), "other")).eq(drawn));
    }
}
