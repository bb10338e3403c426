//! What has been handed over, so that what comes back finds its delivery: positions to offsets and attempts, keys to their last
//! delivery, commits and lag. Bounded, whatever the length of a drive.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::feed::Announced;
use crate::outcome::{CauseBy, CauseView, Committed};
use crate::plan::{Delivery, Phase};

/// Most runs of positions that are remembered, about 60 bytes each. A plan without faults is one run a partition; each reordered
/// or inserted event makes one or two more. Beyond this the oldest positions of the fullest partition are forgotten, and an
/// output that names one of them has no cause.
const RUNS_MAX: usize = 1 << 20;

/// Most keys, and most marks, of a generation; those of the last two generations are remembered.
const LAST_MAX: usize = 1 << 17;

/// Most moments a partition keeps to tell how old what is pending is.
const MOMENTS_MAX: usize = 1_024;

/// A delivery that an output can be laid at the door of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) attempt: i32,
    pub(super) phase: Phase,
}

impl Found {
    /// As a row of outputs names it; `topics` are those of the plan.
    pub(super) fn view(self, topics: &[String], by: CauseBy) -> CauseView<'_> {
        let Self { topic, partition, offset, attempt, .. } = self;
        CauseView { topic: &topics[topic as usize], partition, offset, attempt, by }
    }
}

/// Positions that follow each other, and so do their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    position: i64,
    offset: i64,
    length: i64,
    attempt: i32,
    phase: Phase,
}

impl Run {
    fn end(&self) -> i64 {
        self.position + self.length
    }

    /// The part of the run within `from..to`.
    fn part(&self, from: i64, to: i64) -> Option<Self> {
        let (from, to) = (from.max(self.position), to.min(self.end()));
        let offset = self.offset + (from - self.position);
        (from < to).then_some(Self { position: from, offset, length: to - from, ..*self })
    }
}

#[derive(Debug)]
struct Log {
    topic: u32,
    partition: i32,
    /// Grows with each delivery; newer than all of `runs`.
    head: Option<Run>,
    runs: BTreeMap<i64, Run>,
    /// First position handed over.
    start: i64,
    /// Position after the largest handed over.
    end: i64,
    /// Position after the last of the warm-up.
    warm_up_end: Option<i64>,
    committed: Option<i64>,
    /// Position after the largest that a commit covers or a cause names.
    acknowledged: Option<i64>,
    /// Ends of the log and when they were reached, oldest first, only what is not acknowledged.
    moments: VecDeque<(i64, i64)>,
}

/// Everything handed over so far.
#[derive(Debug)]
pub(super) struct Ledger {
    logs: Vec<Log>,
    places: BTreeMap<(u32, i32), usize>,
    topics: Vec<String>,
    runs: usize,
    keys: LastOf,
    marks: LastOf,
    handed: u64,
    warm_up: u64,
}

/// The delivery last handed over with each of many hashes, and its number.
#[derive(Debug, Default)]
struct LastOf([HashMap<u64, (Found, u64)>; 2]);

impl LastOf {
    fn note(&mut self, hash: u64, found: Found, handed: u64) {
        if self.0[0].len() >= LAST_MAX {
            self.0.swap(0, 1);
            self.0[0].clear();
        }
        self.0[0].insert(hash, (found, handed));
    }

    fn find(&self, hash: u64) -> Option<(Found, u64)> {
        let [young, old] = &self.0;
        young.get(&hash).or_else(|| old.get(&hash)).copied()
    }
}

/// Lag of a build, where it speaks of positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Positions handed over beyond those acknowledged.
    pub(super) positions: i64,
    /// When the oldest of them was handed over, in the microseconds of [`Announced::at_us`].
    pub(super) since_us: Option<i64>,
}

impl Ledger {
    /// Makes an empty ledger.
    pub(super) fn new(topics: &[String]) -> Self {
        Self {
            logs: Vec::new(),
            places: BTreeMap::new(),
            topics: topics.to_vec(),
            runs: 0,
            keys: LastOf::default(),
            marks: LastOf::default(),
            handed: 0,
            warm_up: 0,
        }
    }

    /// Takes note of deliveries about to be handed over, in order.
    pub(super) fn announce(&mut self, announced: &Announced) {
        for row in announced.rows.clone() {
            let batch = &announced.batch;
            let marks = batch.marks.get(row).map_or(&[][..], Vec::as_slice);
            self.note(&batch.deliveries[row], batch.keys[row], marks, announced.at_us);
        }
    }

    /// Takes note of one delivery, handed over at `at_us`; `key` is the xxh3 of its key, where keys are asked for, `marks` are
    /// what its lineage knows it by.
    pub(super) fn note(&mut self, delivery: &Delivery, key: Option<u64>, marks: &[u64], at_us: i64) {
        let place = self.place(delivery.topic, delivery.partition);
        self.warm_up += u64::from(delivery.phase == Phase::WarmUp);
        self.runs += self.logs[place].announce(delivery, at_us);
        self.handed += 1;
        if let Some(key) = key {
            self.keys.note(key, found(delivery), self.handed);
        }
        for mark in marks {
            self.marks.note(*mark, found(delivery), self.handed);
        }
        while self.runs > RUNS_MAX {
            let Some(log) = self.logs.iter_mut().max_by_key(|log| log.runs.len()) else { break };
            log.runs.pop_first();
            self.runs -= 1;
        }
    }

    /// The topic's number in the plan.
    pub(super) fn topic(&self, name: &str) -> Option<u32> {
        self.topics.iter().position(|topic| topic == name).map(|at| at as u32)
    }

    /// The delivery last handed over at a position. Naming it as a cause acknowledges it.
    pub(super) fn at(&mut self, topic: &str, partition: i32, position: i64) -> Option<Found> {
        let topic = self.topic(topic)?;
        let log = &mut self.logs[*self.places.get(&(topic, partition))?];
        let run = log.find(position)?;
        log.acknowledge(position + 1);
        let offset = run.offset + (position - run.position);
        Some(Found { topic, partition, offset, attempt: run.attempt, phase: run.phase })
    }

    /// The delivery of this key that was handed over last.
    pub(super) fn last_of_key(&self, key: &[u8]) -> Option<Found> {
        self.keys.find(xxhash_rust::xxh3::xxh3_64(key)).map(|(found, _)| found)
    }

    /// Of the deliveries that had one of these marks, the one that was handed over last.
    pub(super) fn last_of_marks(&self, marks: &[u64]) -> Option<Found> {
        let found = marks.iter().filter_map(|mark| self.marks.find(*mark));
        found.max_by_key(|(_, handed)| *handed).map(|(found, _)| found)
    }

    /// Takes a commit; false where no delivery of that partition has been handed over.
    pub(super) fn commit(&mut self, topic: &str, partition: i32, position: i64) -> bool {
        let place = self.topic(topic).and_then(|topic| self.places.get(&(topic, partition)));
        let Some(log) = place.map(|place| &mut self.logs[*place]) else { return false };
        log.committed = Some(position);
        log.acknowledge(position);
        true
    }

    /// Number of warm-up deliveries announced, where commits cover them all.
    pub(super) fn warm_up_covered(&self) -> Option<u64> {
        let covered = |log: &Log| log.warm_up_end.is_none_or(|end| log.committed.is_some_and(|next| next >= end));
        (self.warm_up > 0 && self.logs.iter().all(covered)).then_some(self.warm_up)
    }

    /// Lag over all partitions; none where the build never named a position.
    pub(super) fn lag(&self) -> Option<Lag> {
        self.logs.iter().any(|log| log.acknowledged.is_some()).then(|| self.pending())
    }

    /// Lag over all partitions of a build that will name positions: what it has named none of is pending.
    pub(super) fn pending(&self) -> Lag {
        Lag {
            positions: self.logs.iter().map(Log::lag).sum(),
            since_us: self.logs.iter().filter_map(|log| log.moments.front().map(|(_, at)| *at)).min(),
        }
    }

    /// How many positions are committed, and how many were handed over and are not; none where the build never committed anything.
    pub(super) fn commits(&self) -> Option<(u64, u64)> {
        let any = self.logs.iter().any(|log| log.committed.is_some());
        let sum = |of: fn(&Log) -> i64| self.logs.iter().map(|log| of(log).max(0).unsigned_abs()).sum();
        any.then(|| {
            let committed = |log: &Log| log.committed.map_or(0, |next| next - log.start);
            let open = |log: &Log| log.end.saturating_sub(log.committed.unwrap_or(log.start));
            (sum(committed), sum(open))
        })
    }

    /// Commits, in order of topic and partition.
    pub(super) fn committed(&self) -> Vec<Committed> {
        let mut committed: Vec<_> = self
            .logs
            .iter()
            .filter_map(|log| {
                let topic = self.topics[log.topic as usize].clone();
                Some(Committed { topic, partition: log.partition, position: log.committed? })
            })
            .collect();
        committed.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        committed
    }

    fn place(&mut self, topic: u32, partition: i32) -> usize {
        *self.places.entry((topic, partition)).or_insert_with(|| {
            self.logs.push(Log::new(topic, partition));
            self.logs.len() - 1
        })
    }
}

impl Log {
    fn new(topic: u32, partition: i32) -> Self {
        Self {
            topic,
            partition,
            head: None,
            runs: BTreeMap::new(),
            start: i64::MAX,
            end: i64::MIN,
            warm_up_end: None,
            committed: None,
            acknowledged: None,
            moments: VecDeque::new(),
        }
    }

    /// Takes note of a delivery; returns by how much the number of runs grew.
    fn announce(&mut self, delivery: &Delivery, at_us: i64) -> usize {
        let next = delivery.position + 1;
        self.start = self.start.min(delivery.position);
        if delivery.phase == Phase::WarmUp {
            self.warm_up_end = self.warm_up_end.max(Some(next));
        }
        if next > self.end {
            self.end = next;
            self.remember(next, at_us);
        }
        if let Some(head) = &mut self.head {
            let follows = head.end() == delivery.position && head.offset + head.length == delivery.offset;
            if follows && head.attempt == delivery.attempt && head.phase == delivery.phase {
                head.length += 1;
                return 0;
            }
        }
        let run = Run {
            position: delivery.position,
            offset: delivery.offset,
            length: 1,
            attempt: delivery.attempt,
            phase: delivery.phase,
        };
        match self.head.replace(run) {
            Some(closed) => self.lay_over(closed),
            None => 0,
        }
    }

    /// Adds a closed run; what older runs say of its positions is forgotten. Returns by how much the number of runs grew.
    fn lay_over(&mut self, run: Run) -> usize {
        let before = self.runs.len();
        if self.runs.last_key_value().is_none_or(|(_, last)| last.end() <= run.position) {
            self.runs.insert(run.position, run);
            return 1;
        }
        while let Some((_, older)) =
            self.runs.range(..run.end()).next_back().filter(|(_, older)| older.end() > run.position)
        {
            let older = *older;
            self.runs.remove(&older.position);
            let kept = [older.part(i64::MIN, run.position), older.part(run.end(), i64::MAX)];
            self.runs.extend(kept.into_iter().flatten().map(|part| (part.position, part)));
        }
        self.runs.insert(run.position, run);
        self.runs.len().saturating_sub(before)
    }

    fn find(&self, position: i64) -> Option<Run> {
        let holds = |run: &Run| run.position <= position && position < run.end();
        self.head.filter(holds).or_else(|| self.runs.range(..=position).next_back().map(|(_, run)| *run).filter(holds))
    }

    fn acknowledge(&mut self, next: i64) {
        self.acknowledged = self.acknowledged.max(Some(next));
        while self.moments.front().is_some_and(|(end, _)| *end <= next) {
            self.moments.pop_front();
        }
    }

    fn lag(&self) -> i64 {
        // Where nothing is acknowledged, everything handed over is pending.
        (self.end - self.acknowledged.unwrap_or(self.start)).max(0)
    }

    /// Remembers when the log reached `end`. Moments merge where they are close or many: ages are then told too old, never too
    /// young.
    fn remember(&mut self, end: i64, at_us: i64) {
        match self.moments.back_mut() {
            Some(last) if last.1 == at_us => last.0 = end,
            _ => self.moments.push_back((end, at_us)),
        }
        if self.moments.len() > MOMENTS_MAX {
            let merged: VecDeque<_> =
                self.moments.make_contiguous().chunks(2).map(|pair| (pair[pair.len() - 1].0, pair[0].1)).collect();
            self.moments = merged;
        }
    }
}

fn found(delivery: &Delivery) -> Found {
    Found {
        topic: delivery.topic,
        partition: delivery.partition,
        offset: delivery.offset,
        attempt: delivery.attempt,
        phase: delivery.phase,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::feed::Batch;
    use super::*;
    use crate::recording::Place;

    fn delivery(position: i64, offset: i64, attempt: i32) -> Delivery {
        Delivery {
            due_us: 0,
            topic: 0,
            partition: 0,
            offset,
            position,
            attempt,
            phase: Phase::Main,
            faults: 0,
            place: Place::default(),
        }
    }

    fn announce(ledger: &mut Ledger, deliveries: Vec<Delivery>, keys: Vec<Option<u64>>, at_us: i64) {
        let rows = 0..deliveries.len();
        let batch = Arc::new(Batch { deliveries, keys, marks: Vec::new(), ends: Vec::new() });
        ledger.announce(&Announced { batch, rows, at_us });
    }

    fn ledger() -> Ledger {
        Ledger::new(&["t".to_owned()])
    }

    proptest! {
        #[test]
        fn a_position_finds_what_was_handed_over_there_last(
            deliveries in proptest::collection::vec((0_i64..30, 0_i64..4, 0_i32..3), 1..120)
        ) {
            let mut ledger = ledger();
            let mut last = BTreeMap::new();
            for (position, shift, attempt) in deliveries {
                last.insert(position, (position + shift, attempt));
                announce(&mut ledger, vec![delivery(position, position + shift, attempt)], vec![None], 0);
            }
            for position in -1..31 {
                let found = ledger.at("t", 0, position).map(|found| (found.offset, found.attempt));
                prop_assert_eq!(found, last.get(&position).copied(), "position {}", position);
            }
        }
    }

    #[test]
    fn a_million_deliveries_in_order_are_one_run() {
        let mut ledger = ledger();
        let deliveries: Vec<_> = (0..1_000_000).map(|at| delivery(at, at, 0)).collect();
        let keys = (0..1_000_000).map(Some).collect();
        announce(&mut ledger, deliveries, keys, 0);
        assert_eq!(ledger.runs, 0);
        assert!(ledger.keys.0.iter().all(|keys| keys.len() <= LAST_MAX));
        assert_eq!(ledger.at("t", 0, 999_999).map(|found| found.offset), Some(999_999));
    }

    #[test]
    fn memory_has_a_bound_however_disturbed_the_order_is() {
        let mut ledger = ledger();
        let deliveries: Vec<_> = (0..RUNS_MAX as i64 + 10).map(|at| delivery(at, at * 2, 0)).collect();
        let keys = vec![None; deliveries.len()];
        announce(&mut ledger, deliveries, keys, 0);
        assert_eq!(ledger.runs, RUNS_MAX);
        assert_eq!(ledger.at("t", 0, 0), None);
        assert_eq!(ledger.at("t", 0, 100).map(|found| found.offset), Some(200));
    }

    #[test]
    fn a_key_finds_its_last_delivery() {
        let mut ledger = ledger();
        let key = |text: &str| Some(xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
        announce(
            &mut ledger,
            vec![delivery(0, 0, 0), delivery(1, 1, 0), delivery(2, 0, 1)],
            vec![key("a"), key("b"), key("a")],
            0,
        );
        assert_eq!(ledger.last_of_key(b"a").map(|found| (found.offset, found.attempt)), Some((0, 1)));
        assert_eq!(ledger.last_of_key(b"c"), None);
    }

    #[test]
    fn lag_counts_what_is_not_acknowledged_and_since_when() {
        let mut ledger = ledger();
        announce(&mut ledger, vec![delivery(10, 10, 0), delivery(11, 11, 0)], vec![None; 2], 5);
        announce(&mut ledger, vec![delivery(12, 12, 0)], vec![None], 9);
        assert_eq!(ledger.lag(), None);
        assert_eq!(ledger.pending(), Lag { positions: 3, since_us: Some(5) });
        assert!(ledger.at("t", 0, 11).is_some());
        assert_eq!(ledger.lag(), Some(Lag { positions: 1, since_us: Some(9) }));
        assert!(ledger.commit("t", 0, 13));
        assert_eq!(ledger.lag(), Some(Lag { positions: 0, since_us: None }));
        assert!(!ledger.commit("t", 1, 13));
        assert_eq!(ledger.committed(), [Committed { topic: "t".into(), partition: 0, position: 13 }]);
    }
}
