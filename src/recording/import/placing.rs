//! Topic, partition and offset of events that leave them open, and a watch over those that do not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::error::LineProblem;
use super::murmur2;
use super::parts::Parts;
use crate::recording::TopicSource;

/// Gives every event its place, in the order in which the events come.
#[derive(Debug)]
pub(super) struct Placing {
    topic: Option<String>,
    partitions: i32,
    topics: BTreeMap<String, Placed>,
}

/// What has been placed of one topic.
#[derive(Debug, Default)]
struct Placed {
    /// Whether a partition was chosen for one of its events.
    chosen: bool,
    /// Events without partition and key so far.
    keyless: u64,
    /// The last offset of each partition.
    last: BTreeMap<i32, i64>,
}

impl Placing {
    pub(super) fn new(topic: Option<String>, partitions: i32) -> Self {
        Self { topic, partitions, topics: BTreeMap::new() }
    }

    /// Fills in the topic where the line left it open, and returns partition and offset, chosen where they are open.
    pub(super) fn place(&mut self, parts: &mut Parts<'_>) -> Result<(i32, i64), LineProblem> {
        if parts.topic.is_none() {
            parts.topic = self.topic.clone().map(Cow::Owned);
        }
        let topic = match parts.topic.as_deref() {
            Some("") => return Err(LineProblem::field("topic", "is empty")),
            Some(topic) => topic,
            None => {
                return Err(LineProblem::Missing {
                    field: "topic",
                    hint: "; name it in every line, or for all with --topic",
                });
            }
        };
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), Placed::default());
        }
        let placed = self.topics.get_mut(topic).expect("just put there");
        let partition = match parts.partition {
            Some(partition) if partition < 0 => {
                return Err(LineProblem::field("partition", format!("is {partition}, below 0")));
            }
            Some(partition) => partition,
            None => placed.choose(parts.key.as_deref(), self.partitions),
        };
        let last = placed.last.get(&partition).copied();
        let offset = match (parts.offset, last) {
            (Some(offset), _) if offset < 0 => {
                return Err(LineProblem::field("offset", format!("is {offset}, below 0")));
            }
            (Some(offset), Some(previous)) if offset <= previous => {
                return Err(LineProblem::Disorder { topic: topic.to_owned(), partition, offset, previous });
            }
            (Some(offset), _) => offset,
            (None, None) => 0,
            (None, Some(previous)) => {
                previous.checked_add(1).ok_or_else(|| LineProblem::field("offset", "has no number left to follow"))?
            }
        };
        placed.last.insert(partition, offset);
        Ok((partition, offset))
    }

    /// Returns the topics met so far, in order of name, each with as many partitions as it must have had.
    pub(super) fn topics(&self) -> Vec<TopicSource> {
        let topic = |(name, placed): (&String, &Placed)| {
            let highest = placed.last.keys().next_back().map_or(0, |highest| highest + 1);
            let chosen = if placed.chosen { self.partitions } else { 0 };
            TopicSource { name: name.clone(), partitions: highest.max(chosen), ..TopicSource::default() }
        };
        self.topics.iter().map(topic).collect()
    }
}

impl Placed {
    /// Events without a key are spread in turn: Kafka's producers draw lots, and an import must be repeatable.
    fn choose(&mut self, key: Option<&[u8]>, partitions: i32) -> i32 {
        self.chosen = true;
        let Some(key) = key else {
            self.keyless += 1;
            return ((self.keyless - 1) % partitions as u64) as i32;
        };
        murmur2::partition_of(key, partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(partition: Option<i32>, offset: Option<i64>, key: Option<&'static [u8]>) -> Parts<'static> {
        Parts { partition, offset, key: key.map(Cow::Borrowed), ..Parts::default() }
    }

    fn place(lines: Vec<Parts<'static>>, partitions: i32) -> Result<Vec<(i32, i64)>, LineProblem> {
        let mut placing = Placing::new(Some("t".to_owned()), partitions);
        lines.into_iter().map(|mut parts| placing.place(&mut parts)).collect()
    }

    #[test]
    fn missing_offsets_are_dense_in_each_partition() {
        let lines = vec![parts(Some(0), None, None), parts(Some(1), None, None), parts(Some(0), None, None)];
        assert_eq!(place(lines, 1), Ok(vec![(0, 0), (1, 0), (0, 1)]));
    }

    #[test]
    fn a_missing_offset_follows_the_one_before_it() {
        assert_eq!(
            place(vec![parts(Some(0), Some(41), None), parts(Some(0), None, None)], 1),
            Ok(vec![(0, 41), (0, 42)])
        );
    }

    #[test]
    fn a_missing_partition_is_kafkas_choice_for_the_key() {
        // murmur2("abc") is 479,470,107.
        assert_eq!(place(vec![parts(None, None, Some(b"abc"))], 6), Ok(vec![(479_470_107 % 6, 0)]));
    }

    #[test]
    fn events_without_a_key_take_turns() {
        let lines = vec![parts(None, None, None); 4];
        assert_eq!(place(lines, 3), Ok(vec![(0, 0), (1, 0), (2, 0), (0, 1)]));
    }

    #[test]
    fn an_offset_that_does_not_rise_is_refused_by_name() {
        for (offset, previous) in [(7, 7), (6, 7)] {
            let refused = place(vec![parts(Some(2), Some(previous), None), parts(Some(2), Some(offset), None)], 1);
            assert_eq!(refused, Err(LineProblem::Disorder { topic: "t".to_owned(), partition: 2, offset, previous }));
        }
    }

    #[test]
    fn places_below_zero_are_refused() {
        assert!(place(vec![parts(Some(-1), None, None)], 1).is_err());
        assert!(place(vec![parts(Some(0), Some(-1), None)], 1).is_err());
    }
}
