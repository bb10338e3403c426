//! `[select]`: which slice of a recording is replayed, and what warms the builds up ahead of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Phase;
use super::source::{History, Source};
use crate::recording::Partition;
use crate::settings::Moment;
use crate::settings::{SettingError, Span};

/// `[select]`: the slice of the recording that is replayed; without it, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SelectSettings {
    /// Topics to replay; where left out, all that the recording has as inputs or tables.
    pub topics: Option<Vec<String>>,
    /// First event time of the slice, in RFC 3339: "2013-01-05T00:00:00Z".
    pub from: Option<Moment>,
    /// Event time at which the slice ends; an event at this very time is left out.
    pub to: Option<Moment>,
    /// How far ahead of `from` events are handed over first, unpaced and without faults, to fill the builds' state; their
    /// outputs count in nothing. Of a table all events ahead of `from` are, whatever stands here: the last value of each key
    /// that was captured ahead of its window, too.
    pub warm_up: Option<Span>,
}

impl SelectSettings {
    /// Checks what can be checked without a recording.
    ///
    /// # Errors
    ///
    /// The setting at fault.
    pub(super) fn check(&self) -> Result<Slice, SettingError> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(SettingError::new(
                "select.to",
                "the slice ends before it begins",
                format!("Write a time after {from}."),
            ));
        }
        if self.warm_up.is_some() && self.from.is_none() {
            return Err(SettingError::new(
                "select.warm-up",
                "nothing stands ahead of a slice that begins with the recording",
                "Write `from`, the time at which the warm-up ends.",
            ));
        }
        if self.topics.as_ref().is_some_and(Vec::is_empty) {
            return Err(SettingError::new(
                "select.topics",
                "no topic is selected",
                "Leave `topics` out to replay all.",
            ));
        }
        let from_us = self.from.map_or(i64::MIN, |from| from.0);
        Ok(Slice {
            from_us,
            to_us: self.to.map(|to| to.0),
            warm_up_from_us: from_us.saturating_sub(self.warm_up.map_or(0, Span::us)),
        })
    }

    /// Picks the partitions to replay out of those that are there.
    ///
    /// # Errors
    ///
    /// Names the topic that is missing and those that are there.
    pub(super) fn partitions(&self, source: &dyn Source) -> Result<Vec<Partition>, SettingError> {
        let all = source.partitions();
        let Some(topics) = &self.topics else {
            return Ok(all.into_iter().filter(|partition| source.is_input(&partition.topic)).collect());
        };
        for (index, topic) in topics.iter().enumerate() {
            if !all.iter().any(|partition| partition.topic == *topic) {
                return Err(missing_topic(format!("select.topics[{index}]"), topic, &all));
            }
        }
        Ok(all.into_iter().filter(|partition| topics.contains(&partition.topic)).collect())
    }
}

/// Makes the error for a topic that is not among `partitions`.
pub(super) fn missing_topic(key: String, topic: &str, partitions: &[Partition]) -> SettingError {
    let mut topics: Vec<String> = partitions.iter().map(|partition| format!("`{}`", partition.topic)).collect();
    topics.dedup();
    let there =
        if topics.is_empty() { "there are none".to_owned() } else { format!("there are {}", topics.join(", ")) };
    SettingError::new(
        key,
        format!("there are no events of topic `{topic}`"),
        format!("Name a topic of the recording: {there}."),
    )
}

/// A checked `[select]`, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit stands last in every name that has one")]
pub(super) struct Slice {
    from_us: i64,
    to_us: Option<i64>,
    warm_up_from_us: i64,
}

/// Says for the events of one partition, in order of offset, to which part of the slice each belongs.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    slice: Slice,
    /// Offset ahead of which the partition holds the state of a table as it stood when the window began.
    window: i64,
    begun: bool,
    ahead: Option<Phase>,
}

impl Membership {
    pub(super) fn new(slice: Slice, history: History) -> Self {
        let ahead = (slice.from_us == i64::MIN).then_some(Phase::Main);
        let warm_up_from_us = if history.table { i64::MIN } else { slice.warm_up_from_us };
        let window = history.window.unwrap_or(i64::MIN);
        Self { slice: Slice { warm_up_from_us, ..slice }, window, begun: false, ahead }
    }

    /// Returns the phase of the next event, none where it is left out.
    ///
    /// An event belongs where its own time says; one without a time belongs where the event ahead of it does. An event of
    /// the warm-up that stands behind the first of the slice in its partition is left out: handed over ahead of its log it
    /// would have no place there. What a table held ahead of its window is warm-up, whatever its time, in every slice.
    pub(super) fn of(&mut self, offset: i64, time_us: Option<i64>) -> Option<Phase> {
        if offset < self.window {
            return Some(Phase::WarmUp);
        }
        let phase = match time_us {
            None => self.ahead,
            Some(time) if self.slice.to_us.is_some_and(|to_us| time >= to_us) => None,
            Some(time) if time >= self.slice.from_us => Some(Phase::Main),
            Some(time) if time >= self.slice.warm_up_from_us && !self.begun => Some(Phase::WarmUp),
            Some(_) => None,
        };
        self.begun |= phase == Some(Phase::Main);
        self.ahead = phase;
        phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(from: Option<i64>, to: Option<i64>, warm_up: Option<&str>) -> SelectSettings {
        SelectSettings {
            topics: None,
            from: from.map(Moment),
            to: to.map(Moment),
            warm_up: warm_up.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn events_belong_where_their_time_says_and_late_warm_up_is_left_out() {
        let mut membership =
            Membership::new(settings(Some(100), Some(200), Some("50us")).check().unwrap(), History::default());
        for (time, phase) in [
            (None, None),
            (Some(40), None),
            (Some(60), Some(Phase::WarmUp)),
            (None, Some(Phase::WarmUp)),
            (Some(100), Some(Phase::Main)),
            (None, Some(Phase::Main)),
            (Some(60), None),
            (Some(199), Some(Phase::Main)),
            (Some(200), None),
            (None, None),
            (Some(150), Some(Phase::Main)),
        ] {
            assert_eq!(membership.of(0, time), phase, "{time:?}");
        }
    }

    #[test]
    fn the_end_of_all_time_lies_within_a_slice_without_an_end() {
        let mut membership = Membership::new(settings(None, None, None).check().unwrap(), History::default());
        assert_eq!(membership.of(0, Some(i64::MAX)), Some(Phase::Main));
        let mut membership = Membership::new(settings(None, Some(i64::MAX), None).check().unwrap(), History::default());
        assert_eq!(membership.of(0, Some(i64::MAX)), None);
    }

    #[test]
    fn a_table_as_it_stood_is_warm_up_in_every_slice() {
        let history = History { table: true, window: Some(10) };
        let phases = |settings: SelectSettings, events: &[(i64, i64)]| {
            let mut membership = Membership::new(settings.check().unwrap(), history);
            events.iter().map(|(offset, time)| membership.of(*offset, Some(*time))).collect::<Vec<_>>()
        };
        let (warm, main) = (Some(Phase::WarmUp), Some(Phase::Main));
        // Later than the slice's end and yet ahead of the window: it stood in the table when the window began.
        assert_eq!(
            phases(settings(None, Some(50), None), &[(2, 90), (9, 1), (10, 1), (11, 90)]),
            [warm, warm, main, None]
        );
        assert_eq!(
            phases(settings(Some(50), None, None), &[(2, 90), (10, 1), (11, 50), (12, 1)]),
            [warm, warm, main, None]
        );
    }

    #[test]
    fn a_slice_that_cannot_hold_anything_names_its_key() {
        for (settings, key) in [
            (settings(Some(2), Some(1), None), "select.to"),
            (settings(None, Some(1), Some("1s")), "select.warm-up"),
            (SelectSettings { topics: Some(Vec::new()), ..SelectSettings::default() }, "select.topics"),
        ] {
            assert_eq!(settings.check().unwrap_err().key, key);
        }
    }
}
