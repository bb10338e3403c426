//! Partitions merged otherwise, each in its own order: which come first is nothing that Kafka promises.
//!
//! Replay time is cut into stretches of one length; in each, some partitions are held back. What is held back longest comes at the
//! stretch's end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seed::{DrawKey, Purpose};

/// How partitions are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// By chance: each event is held back by up to the stretch's length.
    #[default]
    Uniform,
    /// In each stretch one partition, drawn, is ahead, and the others are handed over so many times slower.
    Skewed,
    /// In each stretch one partition, drawn, is handed over at its end.
    Starved,
    /// In each stretch one topic, drawn, comes first, and all others at its end.
    TopicFirst,
}

/// Where an event stands among those that are merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Number of its partition and of its topic, of those that the fault may touch.
    pub(super) partition: usize,
    pub(super) topic: usize,
    /// How many there are.
    pub(super) partitions: usize,
    pub(super) topics: usize,
}

impl Merge {
    /// How long an event is held back that is due at `due_us`, in microseconds. `of_event` draws for the event, `of_all` for the
    /// stretch.
    pub(super) fn held_us(
        self,
        (of_event, of_all): (DrawKey, DrawKey),
        (offset, due_us): (i64, i64),
        (length_us, ratio): (i64, u32),
        standing: Standing,
    ) -> i64 {
        // With a single one there is nothing to merge, and holding it back would be a delay.
        if standing.partitions < 2 {
            return 0;
        }
        let (stretch, into_us) = (due_us.div_euclid(length_us), due_us.rem_euclid(length_us));
        let left_us = length_us - into_us;
        let drawn = |of: usize| of_all.between(stretch, Purpose::Choice, 0, of as i64 - 1) as usize;
        match self {
            Self::Uniform => of_event.between(offset, Purpose::Amount, 0, length_us),
            Self::Skewed if drawn(standing.partitions) == standing.partition => 0,
            Self::Skewed => into_us.saturating_mul(i64::from(ratio)).min(length_us) - into_us,
            Self::Starved if drawn(standing.partitions) == standing.partition => left_us,
            Self::TopicFirst if standing.topics >= 2 && drawn(standing.topics) != standing.topic => left_us,
            Self::Starved | Self::TopicFirst => 0,
        }
    }
}
