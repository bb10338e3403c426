//! What has been taken of each partition.

use std::sync::Arc;

use crate::capture::window::Stretch;
use crate::kafka::Received;
use crate::recording::{GapCause, MissingOffsets, Role, TimeSpan};

/// What has been taken of one partition.
pub(super) struct Taken {
    pub(super) stretch: Stretch,
    pub(super) next: i64,
    /// Offset behind the last event or the last gap that was noted.
    pub(super) accounted: i64,
    /// Why offsets within the log have no event.
    pub(super) cause: GapCause,
    pub(super) events: u64,
    pub(super) state: u64,
    pub(super) vanished: u64,
    pub(super) missing: u64,
    pub(super) span: Option<TimeSpan>,
    /// Leader epoch of the last event, as it was told to the writer.
    epoch: Option<i32>,
    /// Whether the broker said that there is no more at this moment.
    pub(super) at_end: bool,
    /// Whether events came that were not taken: the end of the log then says nothing of what lies ahead of it.
    pub(super) passed_over: bool,
    pub(super) done: bool,
}

impl Taken {
    pub(super) fn begin(stretch: Stretch, cause: GapCause) -> Self {
        Self {
            next: stretch.start,
            accounted: stretch.start,
            cause,
            events: 0,
            state: 0,
            vanished: 0,
            missing: stretch.overtaken,
            span: None,
            epoch: None,
            at_end: false,
            passed_over: false,
            done: false,
            stretch,
        }
    }

    /// Takes the leader epoch of the next event; returns it where the one ahead of it had another.
    pub(super) fn entered(&mut self, epoch: i32) -> Option<i32> {
        (self.epoch.replace(epoch) != Some(epoch)).then_some(epoch)
    }

    pub(super) fn count(&mut self, event: &Received<'_>) {
        let offset = event.offset();
        self.events += 1;
        self.next = offset + 1;
        self.accounted = self.next;
        if let (Some(ms), _) = event.timestamp() {
            let span = self.span.get_or_insert(TimeSpan { first_ms: ms, last_ms: ms });
            (span.first_ms, span.last_ms) = (span.first_ms.min(ms), span.last_ms.max(ms));
        }
    }
}

/// A topic whose events are taken.
pub(super) struct TakenTopic {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// Why offsets within its logs have no event.
    pub(super) cause: GapCause,
    /// Number of each partition, in order, and its index among all partitions that are taken.
    partitions: Vec<(i32, usize)>,
}

impl TakenTopic {
    pub(super) fn new(name: &str, role: Role, cause: GapCause) -> Self {
        Self { name: name.into(), role, cause, partitions: Vec::new() }
    }

    /// Adds a partition, which stands at `index` among all.
    pub(super) fn add(&mut self, partition: i32, index: usize) {
        let place = self.partitions.partition_point(|(number, _)| *number < partition);
        self.partitions.insert(place, (partition, index));
    }

    /// Returns the index of a partition, if it is taken. Numbers of partitions are dense in all clusters met so far, and need not
    /// be.
    pub(super) fn index(&self, partition: i32) -> Option<usize> {
        let guess = usize::try_from(partition).ok().and_then(|guess| self.partitions.get(guess));
        if let Some((_, index)) = guess.filter(|(number, _)| *number == partition) {
            return Some(*index);
        }
        let found = self.partitions.binary_search_by_key(&partition, |(number, _)| *number).ok()?;
        Some(self.partitions[found].1)
    }

    /// Returns the index of a partition that is read.
    pub(super) fn find(&self, partition: i32) -> usize {
        self.index(partition).expect("only partitions that are taken are read")
    }
}

/// The offsets from `first` to `end`, the latter excluded; none where there is none.
pub(super) fn missing(first: i64, end: i64, cause: GapCause) -> Option<MissingOffsets> {
    (first < end).then(|| MissingOffsets { first, last: end - 1, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_by_their_numbers_whatever_came_first() {
        let mut topic = TakenTopic::new("t", Role::Input, GapCause::Unknown);
        for (partition, index) in [(0, 4), (1, 5), (7, 6), (2, 9), (5, 8)] {
            topic.add(partition, index);
        }
        for (partition, index) in
            [(0, Some(4)), (1, Some(5)), (2, Some(9)), (5, Some(8)), (7, Some(6)), (3, None), (-1, None), (8, None)]
        {
            assert_eq!(topic.index(partition), index, "{partition}");
        }
    }
}
