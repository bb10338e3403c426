//! Positions: what a build sees as offsets when events change places, vanish or come twice.

use std::collections::VecDeque;

/// Gives positions to the deliveries of one partition, in the order in which they are handed over.
///
/// The n-th first attempt takes the n-th smallest of the kept events' recorded offsets, raised by the duplicates inserted
/// before it; a duplicate takes the position after the one before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Positions {
    /// Offsets read and not yet taken, in order, as runs of neighbours: most partitions have no gaps.
    kept: VecDeque<OffsetRun>,
    inserted: i64,
    last: i64,
}

#[derive(Debug, Clone, Copy)]
struct OffsetRun {
    first: i64,
    count: i64,
}

impl Positions {
    /// Adds the offset of an event that will be handed over; offsets come in order.
    pub(super) fn keep(&mut self, offset: i64) {
        match self.kept.back_mut() {
            Some(run) if run.first + run.count == offset => run.count += 1,
            _ => self.kept.push_back(OffsetRun { first: offset, count: 1 }),
        }
    }

    /// Returns the position of the next first attempt, none where more are taken than were kept.
    pub(super) fn first_attempt(&mut self) -> Option<i64> {
        let run = self.kept.front_mut()?;
        let offset = run.first;
        run.first += 1;
        run.count -= 1;
        if run.count == 0 {
            self.kept.pop_front();
        }
        self.last = offset + self.inserted;
        Some(self.last)
    }

    /// Returns the position of a duplicate inserted here.
    pub(super) fn duplicate(&mut self) -> i64 {
        self.inserted += 1;
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_duplicates_raise_what_follows() {
        let mut positions = Positions::default();
        for offset in [5, 6, 9, 10] {
            positions.keep(offset);
        }
        assert_eq!(positions.first_attempt(), Some(5));
        assert_eq!(positions.duplicate(), 6);
        assert_eq!(positions.first_attempt(), Some(7));
        assert_eq!(positions.first_attempt(), Some(10));
        assert_eq!([positions.duplicate(), positions.duplicate()], [11, 12]);
        assert_eq!(positions.first_attempt(), Some(13));
        assert_eq!(positions.first_attempt(), None);
    }
}
