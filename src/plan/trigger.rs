//! Triggers: at which of the selected events a fault fires.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::distance::{Distance, Unit};
use super::seed::{DrawKey, Purpose};
use crate::settings::Moment;
use crate::settings::Span;

/// A moment at which a fault fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A point in event time.
    Time(Moment),
    /// Event time since the slice's first event.
    Since(Span),
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> de::Visitor<'de> for Text {
            type Value = At;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment in text, such as \"2013-01-05T12:00:00Z\" or \"90s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<At, E> {
                text.parse().map(At::Time).or_else(|_| text.parse().map(At::Since)).map_err(|_: String| {
                    E::custom(format!(
                        "`{text}` is no moment; write a time such as `2013-01-05T12:00:00Z` or a span such as `90s`"
                    ))
                })
            }

            /// A date of TOML's own comes as a map.
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<At, A::Error> {
                Moment::deserialize(de::value::MapAccessDeserializer::new(map)).map(At::Time)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(moment) => moment.serialize(serializer),
            Self::Since(span) => span.serialize(serializer),
        }
    }
}

impl JsonSchema for At {
    fn schema_name() -> Cow<'static, str> {
        "At".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time in RFC 3339 (2013-01-05T12:00:00Z), or event time since the slice's first event (90s)"
        })
    }
}

/// When a fault fires.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trigger {
    Probability(f64),
    /// At this offset of each partition.
    Nth(i64),
    /// Where a multiple of this many offsets has passed.
    Every(i64),
    /// At this many drawn moments; becomes `Moments` when the slice's length is known.
    Times(u64),
    /// As written; becomes `Moments` when the slice's first event is known.
    At(Vec<At>),
    /// At the first events at or after these moments, in microseconds since the slice's first event.
    Moments(Vec<i64>),
    /// Each time that this much has passed.
    Period(Distance),
    Bursts(Bursts),
}

/// Chances of the Gilbert-Elliott model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bursts {
    pub(super) enter: f64,
    pub(super) leave: f64,
    pub(super) loss: f64,
}

impl Trigger {
    /// Turns drawn and written moments into microseconds since the slice's first event.
    pub(super) fn resolve(&mut self, key: DrawKey, origin_us: i64, length_us: i64) {
        let mut moments: Vec<i64> = match self {
            // One moment in each equal part of the slice: spread out, and never twice the same.
            Self::Times(times) => (0..*times)
                .map(|index| {
                    let place = (index as f64 + key.unit(index as i64, Purpose::Choice)) / *times as f64;
                    (place * length_us as f64) as i64
                })
                .collect(),
            Self::At(moments) => moments
                .iter()
                .map(|at| match at {
                    At::Time(moment) => moment.0.saturating_sub(origin_us),
                    At::Since(span) => span.us(),
                })
                .collect(),
            _ => return,
        };
        moments.sort_unstable();
        *self = Self::Moments(moments);
    }
}

/// What a trigger remembers while a plan is read.
#[derive(Debug, Clone)]
pub(super) struct TriggerState {
    next_moment: usize,
    /// By partition: whether times are bad, and how many periods have passed.
    partitions: Vec<(bool, i64)>,
}

/// What a trigger may look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion {
    pub(super) partition: usize,
    pub(super) offset: i64,
    /// Event time since the slice's first event, in microseconds.
    pub(super) time_us: i64,
    /// Due time ahead of any fault, in microseconds; zero where it is not known yet.
    pub(super) due_us: i64,
}

impl TriggerState {
    pub(super) fn new(partitions: usize) -> Self {
        Self { next_moment: 0, partitions: vec![(false, 0); partitions] }
    }

    /// Whether `trigger` fires at this event. Asked once an event, in order of offset within a partition.
    pub(super) fn fires(&mut self, trigger: &Trigger, key: DrawKey, at: Occasion) -> bool {
        match trigger {
            Trigger::Probability(probability) => {
                *probability >= 1.0 || key.unit(at.offset, Purpose::Trigger) < *probability
            }
            Trigger::Nth(offset) => at.offset == *offset,
            Trigger::Every(every) => (at.offset + 1) % every == 0,
            Trigger::Moments(moments) => {
                let fires = moments.get(self.next_moment).is_some_and(|moment| at.time_us >= *moment);
                self.next_moment += usize::from(fires);
                fires
            }
            Trigger::Period(period) => self.period(*period, at),
            Trigger::Bursts(bursts) => self.bursts(*bursts, key, at),
            // Both have become moments.
            Trigger::Times(_) | Trigger::At(_) => false,
        }
    }

    fn period(&mut self, period: Distance, at: Occasion) -> bool {
        let reached = match period.unit {
            Unit::Events => return (at.offset + 1) % period.least == 0,
            Unit::Replay => at.due_us / period.least,
            Unit::EventTime => at.time_us / period.least,
        };
        let passed = &mut self.partitions[at.partition].1;
        let fires = reached > *passed;
        *passed = reached.max(*passed);
        fires
    }

    fn bursts(&mut self, bursts: Bursts, key: DrawKey, at: Occasion) -> bool {
        let bad = &mut self.partitions[at.partition].0;
        let change = if *bad { bursts.leave } else { bursts.enter };
        *bad ^= key.unit(at.offset, Purpose::Burst) < change;
        *bad && key.unit(at.offset, Purpose::Trigger) < bursts.loss
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seed;
    use super::*;

    fn fired(trigger: &Trigger, offsets: impl Iterator<Item = i64>) -> Vec<i64> {
        let key = DrawKey::new(Seed(3), "f", "t", 0);
        let mut state = TriggerState::new(1);
        offsets
            .filter(|offset| {
                state.fires(
                    trigger,
                    key,
                    Occasion { partition: 0, offset: *offset, time_us: offset * 10, due_us: offset * 5 },
                )
            })
            .collect()
    }

    #[test]
    fn each_trigger_fires_where_it_says() {
        let period = |text: &str| Trigger::Period(text.parse().unwrap());
        for (trigger, expected) in [
            (Trigger::Probability(0.0), vec![]),
            (Trigger::Probability(1.0), (0..20).collect()),
            (Trigger::Nth(3), vec![3]),
            (Trigger::Every(7), vec![6, 13]),
            (Trigger::Moments(vec![0, 55, 55]), vec![0, 6, 7]),
            (period("50us event-time"), vec![5, 10, 15]),
            (period("50us"), vec![10]),
            (period("6 events"), vec![5, 11, 17]),
        ] {
            assert_eq!(fired(&trigger, 0..20), expected, "{trigger:?}");
        }
    }

    #[test]
    fn moments_are_read_as_text_and_as_dates_of_toml() {
        #[derive(Deserialize)]
        struct Table {
            at: At,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map(|table| table.at).map_err(|error| error.to_string());
        let noon = Ok(At::Time("2013-01-05T12:00:00Z".parse().unwrap()));
        assert_eq!((read("at = '2013-01-05T12:00:00Z'"), read("at = 2013-01-05T12:00:00Z")), (noon.clone(), noon));
        for text in ["at = 2013-01-05", "at = {}", "at = { a = 1 }", "at = 5"] {
            assert!(read(text).unwrap_err().contains("2013-01-05T"), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn counting_goes_by_recorded_offsets_whatever_is_left_out() {
        assert_eq!(fired(&Trigger::Every(5), (0..30).filter(|offset| offset % 2 == 0)), [4, 14, 24]);
    }

    #[test]
    fn bursts_lose_events_in_stretches() {
        let trigger = Trigger::Bursts(Bursts { enter: 0.01, leave: 0.1, loss: 1.0 });
        let lost = fired(&trigger, 0..100_000);
        let share = lost.len() as f64 / 100_000.0;
        assert!((0.08..0.10).contains(&share), "{share}");
        let stretches = 1 + lost.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        let mean = lost.len() as f64 / stretches as f64;
        assert!((8.5..11.5).contains(&mean), "{mean}");
    }

    #[test]
    fn drawn_moments_are_spread_over_the_slice() {
        let mut trigger = Trigger::Times(10);
        trigger.resolve(DrawKey::new(Seed(3), "f", "", 0), 0, 1_000);
        let Trigger::Moments(moments) = trigger else { panic!("{trigger:?}") };
        for (index, moment) in moments.iter().enumerate() {
            assert!((index as i64 * 100..(index as i64 + 1) * 100).contains(moment), "{moments:?}");
        }
    }
}
