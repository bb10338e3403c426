//! `[pace]`: how event time becomes replay time, and how partitions interleave.
//!
//! Every due time is worked out from the schedule's start, never from the one ahead of it, so rounding does not add up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{SettingError, Span};

/// `[pace]`: how fast the recording is replayed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PaceSettings {
    /// How event time becomes replay time.
    pub mode: PaceMode,
    /// How many times as fast as recorded; `accelerated` needs it, `burst` and `unpaced` take it (default 1).
    pub speed: Option<f64>,
    /// Events per second over all partitions, evenly spread; for `rate` only.
    pub rate: Option<f64>,
    /// How many times as fast a burst is as what surrounds it; for `burst` only. Default: 5.
    pub factor: Option<f64>,
    /// Event time that one burst compresses; for `burst` only. Default: 1m.
    pub length: Option<Span>,
    /// Event time from the start of one burst to the start of the next; for `burst` only. Default: ten times `length`.
    pub period: Option<Span>,
    /// Silences of all partitions together that last longer than this are cut to it, in replay time.
    pub gap_max: Option<Span>,
    /// How partitions interleave.
    pub order: Order,
}

/// How event time becomes replay time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PaceMode {
    /// As fast as it was.
    #[default]
    Recorded,
    /// `speed` times as fast.
    Accelerated,
    /// `rate` events per second, evenly.
    Rate,
    /// As recorded, but of every `period` the first `length` is handed over `factor` times as fast.
    Burst,
    /// On the schedule of `accelerated` (as recorded without a `speed`), without the waiting: as fast as a build takes it.
    Unpaced,
}

/// How partitions interleave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By event time.
    #[default]
    Time,
    /// As capture received them. Due times follow the event time reached so far; where that would change places, they lie a
    /// microsecond apart.
    Captured,
    /// One partition after the other, each on its own schedule.
    Partition,
    /// The schedule stays as by `time`, but each of its places goes to a partition drawn by the seed.
    Seeded,
}

impl PaceSettings {
    /// Checks the settings and makes the pace.
    ///
    /// # Errors
    ///
    /// The setting at fault.
    pub(super) fn check(&self) -> Result<Pace, SettingError> {
        self.refuse_what_the_mode_does_not_take()?;
        let speed = positive("pace.speed", self.speed)?;
        let rate = positive("pace.rate", self.rate)?;
        let factor = positive("pace.factor", self.factor)?.unwrap_or(5.0);
        let clock = match self.mode {
            PaceMode::Recorded => Clock::Speed(1.0),
            PaceMode::Unpaced => Clock::Speed(speed.unwrap_or(1.0)),
            PaceMode::Accelerated => Clock::Speed(speed.ok_or_else(|| {
                SettingError::new(
                    "pace.speed",
                    "`accelerated` needs a speed",
                    "Write how many times as fast, such as `speed = 60`.",
                )
            })?),
            PaceMode::Rate => Clock::Rate(rate.ok_or_else(|| {
                SettingError::new(
                    "pace.rate",
                    "`rate` needs a rate",
                    "Write events per second, such as `rate = 10_000`.",
                )
            })?),
            PaceMode::Burst => self.burst(speed.unwrap_or(1.0), factor)?,
        };
        if self.gap_max.is_some_and(|span| span.us() == 0) {
            return Err(SettingError::new(
                "pace.gap-max",
                "a silence cannot be cut to nothing",
                "Use `mode = \"unpaced\"` to wait for nothing.",
            ));
        }
        Ok(Pace { mode: self.mode, order: self.order, clock, gap_max_us: self.gap_max.map(Span::us) })
    }

    fn burst(&self, speed: f64, factor: f64) -> Result<Clock, SettingError> {
        let length_us = self.length.map_or(60_000_000, Span::us);
        let period_us = self.period.map_or(length_us.saturating_mul(10), Span::us);
        if length_us == 0 {
            return Err(SettingError::new(
                "pace.length",
                "a burst of no length compresses nothing",
                "Write `1m`, say.",
            ));
        }
        if period_us < length_us {
            return Err(SettingError::new(
                "pace.period",
                "bursts overlap",
                "Write a period that is at least as long as `length`.",
            ));
        }
        Ok(Clock::Burst { speed, factor, length_us, period_us })
    }

    fn refuse_what_the_mode_does_not_take(&self) -> Result<(), SettingError> {
        let given = [
            ("speed", self.speed.is_some(), "`accelerated`, `burst` and `unpaced` take it"),
            ("rate", self.rate.is_some(), "`rate` takes it"),
            ("factor", self.factor.is_some(), "`burst` takes it"),
            ("length", self.length.is_some(), "`burst` takes it"),
            ("period", self.period.is_some(), "`burst` takes it"),
        ];
        for (name, given, who) in given {
            if given && !self.mode.takes(name) {
                let mode = self.mode.name();
                return Err(SettingError::new(
                    format!("pace.{name}"),
                    format!("the pace `{mode}` takes no `{name}`"),
                    format!("Leave it out or change `mode`: {who}."),
                ));
            }
        }
        Ok(())
    }
}

/// Refuses what is no positive, finite number.
pub(super) fn positive(key: &str, value: Option<f64>) -> Result<Option<f64>, SettingError> {
    match value {
        Some(value) if !(value > 0.0 && value.is_finite()) => {
            Err(SettingError::new(key, format!("{value} is not above zero"), "Write a number above zero."))
        }
        value => Ok(value),
    }
}

impl PaceMode {
    fn takes(self, parameter: &str) -> bool {
        match self {
            Self::Recorded => false,
            Self::Accelerated | Self::Unpaced => parameter == "speed",
            Self::Rate => parameter == "rate",
            Self::Burst => matches!(parameter, "speed" | "factor" | "length" | "period"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Accelerated => "accelerated",
            Self::Rate => "rate",
            Self::Burst => "burst",
            Self::Unpaced => "unpaced",
        }
    }
}

/// A checked `[pace]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) mode: PaceMode,
    pub(super) order: Order,
    clock: Clock,
    gap_max_us: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Clock {
    Speed(f64),
    Rate(f64),
    Burst { speed: f64, factor: f64, length_us: i64, period_us: i64 },
}

impl Pace {
    /// Whether anybody waits for the schedule.
    pub(super) fn waits(&self) -> bool {
        self.mode != PaceMode::Unpaced
    }

    /// How many times as fast as a clock event time goes, where that is always the same.
    pub(super) fn speed(&self) -> Option<f64> {
        match self.clock {
            Clock::Speed(speed) => Some(speed),
            Clock::Rate(_) | Clock::Burst { .. } => None,
        }
    }

    /// Turns time into replay time, in microseconds: `clock_us` since the slice's first event, `index` events ahead.
    fn replay_us(&self, clock_us: i64, index: u64) -> i64 {
        match self.clock {
            // Not divided by one: whole microseconds stay exact beyond 2^53.
            Clock::Speed(1.0) => clock_us,
            Clock::Speed(speed) => (clock_us as f64 / speed) as i64,
            Clock::Rate(rate) => (index as f64 * 1e6 / rate) as i64,
            Clock::Burst { speed, factor, length_us, period_us } => {
                let (periods, rest) = (clock_us / period_us, clock_us % period_us);
                let burst = length_us as f64 / factor;
                let whole = periods as f64 * (burst + (period_us - length_us) as f64);
                let part = if rest < length_us { rest as f64 / factor } else { burst + (rest - length_us) as f64 };
                ((whole + part) / speed) as i64
            }
        }
    }

    /// Turns a stretch of event time behind the last event into replay time, in microseconds.
    pub(super) fn tail_us(&self, event_time_us: i64) -> i64 {
        let us = match self.clock {
            Clock::Speed(speed) | Clock::Burst { speed, .. } => (event_time_us as f64 / speed) as i64,
            Clock::Rate(_) => 0,
        };
        self.gap_max_us.map_or(us, |gap_max| us.min(gap_max))
    }

    /// Says the pace in words, for reports.
    pub(super) fn text(&self) -> String {
        let text = match self.clock {
            Clock::Speed(speed) if self.mode == PaceMode::Accelerated => format!("accelerated, {speed} times"),
            Clock::Speed(_) => self.mode.name().to_owned(),
            Clock::Rate(rate) => format!("rate, {rate} events/s"),
            Clock::Burst { speed, factor, length_us, period_us } => {
                let span = |us: i64| Span(std::time::Duration::from_micros(us as u64));
                format!(
                    "burst, {factor} times for {} of every {}, {speed} times over all",
                    span(length_us),
                    span(period_us)
                )
            }
        };
        match self.gap_max_us {
            Some(us) => format!("{text}, silences cut to {}", Span(std::time::Duration::from_micros(us as u64))),
            None => text,
        }
    }
}

/// Walks the merged stream and gives each event its due time ahead of any fault.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pace: Pace,
    index: u64,
    ahead_us: i64,
    cut_us: i64,
    due_us: i64,
    /// Silences cut so far.
    pub(super) gaps_cut: u64,
    last_partition: usize,
}

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, index: 0, ahead_us: 0, cut_us: 0, due_us: 0, gaps_cut: 0, last_partition: 0 }
    }

    /// Returns the due time of the next event of the merged stream, in microseconds; never below the one ahead of it.
    ///
    /// `clock_us` is the stream's time since its first event and never decreases.
    pub(super) fn next(&mut self, clock_us: i64, partition: usize) -> i64 {
        let replay_us = self.pace.replay_us(clock_us, self.index);
        self.index += 1;
        let silence_us = replay_us - self.ahead_us;
        if let Some(gap_max) = self.pace.gap_max_us
            && silence_us > gap_max
        {
            self.cut_us += silence_us - gap_max;
            self.gaps_cut += 1;
        }
        self.ahead_us = replay_us;
        let due_us = self.due_us.max(replay_us - self.cut_us);
        // Deliveries due at once stand in order of partition. An order that says otherwise is kept by a microsecond.
        let keeps_places = matches!(self.pace.order, Order::Captured | Order::Seeded);
        let goes_back = keeps_places && due_us == self.due_us && partition < self.last_partition;
        self.due_us = if goes_back { due_us + 1 } else { due_us };
        self.last_partition = partition;
        self.due_us
    }

    /// Replay time saved by cutting so far, in microseconds.
    pub(super) fn cut_us(&self) -> i64 {
        self.cut_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(settings: &PaceSettings, clocks: &[i64]) -> Vec<i64> {
        let mut schedule = Schedule::new(settings.check().unwrap());
        clocks.iter().map(|clock| schedule.next(*clock, 0)).collect()
    }

    fn read(text: &str) -> PaceSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_pace_turns_time_as_it_says() {
        let clocks = [0, 1_000_000, 1_000_000, 61_000_000, 120_000_000];
        for (text, expected) in [
            ("", [0, 1_000_000, 1_000_000, 61_000_000, 120_000_000]),
            ("mode = 'unpaced'", [0, 1_000_000, 1_000_000, 61_000_000, 120_000_000]),
            ("mode = 'unpaced'\nspeed = 10", [0, 100_000, 100_000, 6_100_000, 12_000_000]),
            ("mode = 'accelerated'\nspeed = 10", [0, 100_000, 100_000, 6_100_000, 12_000_000]),
            ("mode = 'rate'\nrate = 4", [0, 250_000, 500_000, 750_000, 1_000_000]),
            (
                "mode = 'burst'\nfactor = 10\nlength = '10s'\nperiod = '60s'",
                [0, 100_000, 100_000, 51_100_000, 102_000_000],
            ),
            ("gap-max = '2s'", [0, 1_000_000, 1_000_000, 3_000_000, 5_000_000]),
        ] {
            assert_eq!(dues(&read(text), &clocks), expected, "{text}");
        }
    }

    #[test]
    fn rounding_does_not_add_up() {
        let clocks: Vec<i64> = (0..1_000_000).collect();
        let dues = dues(&read("mode = 'accelerated'\nspeed = 3"), &clocks);
        assert_eq!(dues.last(), Some(&333_333));
    }

    #[test]
    fn wrong_settings_name_their_key() {
        for (text, key) in [
            ("speed = 3", "pace.speed"),
            ("mode = 'accelerated'", "pace.speed"),
            ("mode = 'accelerated'\nspeed = 0", "pace.speed"),
            ("mode = 'accelerated'\nspeed = nan", "pace.speed"),
            ("mode = 'rate'", "pace.rate"),
            ("mode = 'rate'\nrate = -1.0", "pace.rate"),
            ("mode = 'rate'\nrate = 5\nfactor = 2", "pace.factor"),
            ("mode = 'burst'\nlength = '2s'\nperiod = '1s'", "pace.period"),
            ("mode = 'burst'\nlength = '0s'", "pace.length"),
            ("gap-max = '0s'", "pace.gap-max"),
        ] {
            assert_eq!(read(text).check().unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn unknown_keys_and_bare_durations_are_refused() {
        for text in ["sped = 3", "gap-max = 2", "mode = 'warp'", "order = 'random'"] {
            assert!(toml::from_str::<PaceSettings>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_that_goes_back_at_the_same_time_is_kept_by_a_microsecond() {
        let mut schedule = Schedule::new(read("order = 'seeded'").check().unwrap());
        let places = [(0, 1), (0, 0), (0, 1), (0, 0), (10, 0)];
        assert_eq!(places.map(|(clock, partition)| schedule.next(clock, partition)), [0, 1, 1, 2, 10]);
    }
}
