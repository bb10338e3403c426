//! The ledger of gaps: which offsets hold no event, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Stretches of one partition that a manifest lists at most: the gravest first, the longest of a cause first.
const LISTED: usize = 100;

/// Stretches of one partition and cause that a row group's coverage lists at most.
const LISTED_IN_GROUP: usize = 8;

/// Why offsets hold no event, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    /// The cluster had deleted them before they were taken: events are lost to the recording.
    Retention,
    /// Nobody can tell, such as where the cluster does not say how it cleans the topic. Events may be lost.
    Unknown,
    /// The topic is compacted: later events of the same keys replaced them. Markers of transactions in a compacted topic count
    /// here too, as nothing that a consumer sees tells them apart.
    Compaction,
    /// Markers of transactions, and events of transactions that were aborted. No event is lost.
    TransactionMarkers,
    /// The recording that this one is a slice of has them.
    LeftOut,
}

impl GapCause {
    /// Returns its name, as files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Unknown => "unknown",
            Self::Compaction => "compaction",
            Self::TransactionMarkers => "transaction-markers",
            Self::LeftOut => "left-out",
        }
    }
}

/// A stretch of offsets without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingOffsets {
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// Why there is no event.
    pub cause: GapCause,
}

impl MissingOffsets {
    /// Returns the number of offsets.
    pub fn offsets(self) -> u64 {
        self.last.abs_diff(self.first) + 1
    }
}

/// What is missing for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseFacts {
    /// The cause.
    pub cause: GapCause,
    /// Number of stretches.
    pub stretches: u64,
    /// Number of offsets in them.
    pub offsets: u64,
}

/// What is missing of one partition, from where its capture began to the last offset that is accounted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionGaps {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// All that is missing, by cause, the gravest first.
    pub causes: Vec<CauseFacts>,
    /// The gravest and longest stretches, 100 at most, in order of offset.
    pub stretches: Vec<MissingOffsets>,
    /// Last offset of the last stretch.
    pub through: i64,
}

/// What a row group's coverage says of the gaps of one partition and cause: topic (index), partition, cause, stretches, offsets,
/// last offset, and some of the stretches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "GroupGapsTuple", into = "GroupGapsTuple")]
pub(super) struct GroupGaps {
    pub(super) topic: u32,
    pub(super) partition: i32,
    facts: CauseFacts,
    through: i64,
    listed: Vec<(i64, i64)>,
}

// As a list, for the same reason as extents.
type GroupGapsTuple = (u32, i32, GapCause, u64, u64, i64, Vec<(i64, i64)>);

impl From<GroupGapsTuple> for GroupGaps {
    fn from((topic, partition, cause, stretches, offsets, through, listed): GroupGapsTuple) -> Self {
        Self { topic, partition, facts: CauseFacts { cause, stretches, offsets }, through, listed }
    }
}

impl From<GroupGaps> for GroupGapsTuple {
    fn from(gaps: GroupGaps) -> Self {
        let CauseFacts { cause, stretches, offsets } = gaps.facts;
        (gaps.topic, gaps.partition, cause, stretches, offsets, gaps.through, gaps.listed)
    }
}

impl GroupGaps {
    /// What the ledger of another recording says of one partition, whose topic has the index `topic` here.
    pub(super) fn of_ledger(topic: u32, gaps: &PartitionGaps) -> Vec<Self> {
        let of_cause = |facts: &CauseFacts| {
            let listed = gaps.stretches.iter().filter(|one| one.cause == facts.cause);
            let listed = listed.map(|one| (one.first, one.last)).collect();
            Self { topic, partition: gaps.partition, facts: *facts, through: gaps.through, listed }
        };
        gaps.causes.iter().map(of_cause).collect()
    }

    /// Bytes that it takes in a footer, about.
    pub(super) fn bytes(&self) -> usize {
        48 + self.listed.len() * 24
    }
}

/// Sums up the gaps of a row group; each comes with the index of its topic and its partition.
pub(super) fn sum_up(gaps: impl IntoIterator<Item = (u32, i32, MissingOffsets)>) -> Vec<GroupGaps> {
    let mut sums: BTreeMap<(u32, i32, GapCause), GroupGaps> = BTreeMap::new();
    for (topic, partition, missing) in gaps {
        let facts = CauseFacts { cause: missing.cause, stretches: 0, offsets: 0 };
        let sum = sums.entry((topic, partition, missing.cause)).or_insert_with(|| GroupGaps {
            topic,
            partition,
            facts,
            through: missing.last,
            listed: Vec::new(),
        });
        sum.facts.stretches += 1;
        sum.facts.offsets += missing.offsets();
        sum.through = sum.through.max(missing.last);
        sum.listed.push((missing.first, missing.last));
        if sum.listed.len() > 2 * LISTED_IN_GROUP {
            keep_longest(&mut sum.listed);
        }
    }
    sums.into_values()
        .map(|mut sum| {
            keep_longest(&mut sum.listed);
            sum
        })
        .collect()
}

fn keep_longest(listed: &mut Vec<(i64, i64)>) {
    listed.sort_by_key(|&(first, last)| (std::cmp::Reverse(last.abs_diff(first)), first));
    listed.truncate(LISTED_IN_GROUP);
    listed.sort_unstable();
}

/// The gaps of all partitions. Bounded for each of them, however many gaps there are.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<(String, i32), PartitionGaps>);

impl Ledger {
    /// Takes in one stretch.
    pub(super) fn add(&mut self, topic: &str, partition: i32, missing: MissingOffsets) {
        let facts = CauseFacts { cause: missing.cause, stretches: 1, offsets: missing.offsets() };
        self.take(topic, partition, facts, missing.last, &[(missing.first, missing.last)]);
    }

    /// Takes in what a row group's coverage says; `topic` is the name behind its index.
    pub(super) fn absorb(&mut self, topic: &str, gaps: &GroupGaps) {
        self.take(topic, gaps.partition, gaps.facts, gaps.through, &gaps.listed);
    }

    fn take(&mut self, topic: &str, partition: i32, facts: CauseFacts, through: i64, listed: &[(i64, i64)]) {
        let known = self.0.entry((topic.to_owned(), partition)).or_insert_with(|| PartitionGaps {
            topic: topic.to_owned(),
            partition,
            causes: Vec::new(),
            stretches: Vec::new(),
            through,
        });
        known.through = known.through.max(through);
        match known.causes.binary_search_by_key(&facts.cause, |known| known.cause) {
            Ok(at) => {
                known.causes[at].stretches += facts.stretches;
                known.causes[at].offsets += facts.offsets;
            }
            Err(at) => known.causes.insert(at, facts),
        }
        let cause = facts.cause;
        known.stretches.extend(listed.iter().map(|&(first, last)| MissingOffsets { first, last, cause }));
        if known.stretches.len() > LISTED {
            known.stretches.sort_by_key(|one| (one.cause, std::cmp::Reverse(one.offsets()), one.first));
            known.stretches.truncate(LISTED);
        }
        known.stretches.sort_by_key(|one| one.first);
    }

    /// Takes in what the manifest noted ahead of its sealing ([`super::RecordingWriter::note_overtaken`]), as far as it lies behind
    /// what is known of each partition; `last` is the offset of its last event.
    pub(super) fn take_noted(&mut self, noted: &[PartitionGaps], last: impl Fn(&str, i32) -> Option<i64>) {
        for gaps in noted {
            let known = self.through(&gaps.topic, gaps.partition).max(last(&gaps.topic, gaps.partition));
            for one in gaps.stretches.iter().filter(|one| known.is_none_or(|known| one.first > known)) {
                self.add(&gaps.topic, gaps.partition, *one);
            }
        }
    }

    /// Returns the last offset of the last stretch of a partition.
    pub(super) fn through(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(&(topic.to_owned(), partition)).map(|gaps| gaps.through)
    }

    /// Returns the gaps of each partition that has some, in order of topic and partition.
    pub(super) fn facts(&self) -> Vec<PartitionGaps> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(first: i64, last: i64, cause: GapCause) -> MissingOffsets {
        MissingOffsets { first, last, cause }
    }

    #[test]
    fn what_is_listed_is_bounded_and_what_is_counted_is_not() {
        let mut ledger = Ledger::default();
        let stretches = (0..1_000).map(|at| missing(at * 10, at * 10 + at % 3, GapCause::Compaction));
        let sums = sum_up(stretches.map(|missing| (0, 4, missing)));
        assert_eq!((sums.len(), sums[0].listed.len()), (1, LISTED_IN_GROUP));
        ledger.absorb("t", &sums[0]);
        ledger.add("t", 4, missing(20_000, 20_000, GapCause::Retention));
        for at in 0..500 {
            ledger.add("t", 4, missing(30_000 + at * 2, 30_000 + at * 2, GapCause::TransactionMarkers));
        }
        let facts = &ledger.facts()[0];
        let counts: Vec<_> = facts.causes.iter().map(|one| (one.cause.name(), one.stretches, one.offsets)).collect();
        let offsets = (0..1_000).map(|at| at % 3 + 1).sum();
        let expected = [("retention", 1, 1), ("compaction", 1_000, offsets), ("transaction-markers", 500, 500)];
        assert_eq!(counts, expected);
        assert_eq!((facts.stretches.len(), facts.through), (LISTED, 30_998));
        // The gravest stays, however short.
        assert!(facts.stretches.iter().any(|one| one.cause == GapCause::Retention));
        assert!(facts.stretches.is_sorted_by_key(|one| one.first));
    }

    #[test]
    fn the_names_are_those_in_files() {
        for cause in [
            GapCause::Retention,
            GapCause::Unknown,
            GapCause::Compaction,
            GapCause::TransactionMarkers,
            GapCause::LeftOut,
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }
}
