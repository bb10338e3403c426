//! What of a planned partition consumers have been handed, and when: so that a delivery's receipt tells when it really was.

use std::collections::VecDeque;

/// Most stretches that wait to be taken; beyond, neighbours merge, and their events count as handed over when the later ones were.
const STRETCHES_MAX: usize = 16_384;

/// Positions of one partition that were handed to a consumer for the first time, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// How often the partition had been set back before.
    pub round: u32,
    /// First position.
    pub from: i64,
    /// One past the last position.
    pub to: i64,
    /// When the consumer asked, in microseconds of the stage's clock.
    pub asked_us: i64,
    /// When the answer was ready to be sent, likewise.
    pub handed_us: i64,
}

/// See the top of the file. What a second consumer reads again, or a consumer after a restart, was handed over already.
#[derive(Debug)]
pub(super) struct Handed {
    round: u32,
    next: i64,
    /// Consumers have been set back, and none has come back for it yet.
    awaited: bool,
    /// Positions that were handed out once more without having been set back.
    again: u64,
    stretches: VecDeque<Stretch>,
}

impl Handed {
    pub(super) fn new(start: i64) -> Self {
        Self { round: 0, next: start, awaited: false, again: 0, stretches: VecDeque::new() }
    }

    /// Whether consumers have been set back and none has asked for that position, or one ahead of it, since.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// How many positions were handed out once more, though nobody had been set back: to whoever took a partition over, or restarted.
    pub(super) fn again(&self) -> u64 {
        self.again
    }

    /// A consumer asks for `position`.
    pub(super) fn note_asked(&mut self, position: i64) {
        self.awaited &= position > self.next;
    }

    /// A consumer that asked for `position` at `asked_us` gets what stands there up to `to` at `handed_us`.
    pub(super) fn note_handed(&mut self, position: i64, to: i64, asked_us: i64, handed_us: i64) {
        if self.awaited {
            return;
        }
        self.again += u64::try_from(to.min(self.next) - position).unwrap_or(0);
        if to <= self.next {
            return;
        }
        // Whoever seeks ahead is not handed what lies between.
        let stretch = Stretch { round: self.round, from: position.max(self.next), to, asked_us, handed_us };
        self.next = to;
        keep(&mut self.stretches, stretch, STRETCHES_MAX);
    }

    /// What was handed over up to now will be handed over again from `position` on, to consumers that ask for it from now on.
    pub(super) fn set_back(&mut self, position: i64) {
        (self.round, self.next, self.awaited) = (self.round + 1, position, true);
    }

    pub(super) fn take(&mut self, into: &mut Vec<Stretch>) {
        into.extend(self.stretches.drain(..));
    }
}

/// Adds a stretch behind the others; where they are too many, neighbours of one round merge.
fn keep(stretches: &mut VecDeque<Stretch>, stretch: Stretch, most: usize) {
    if stretches.len() >= most {
        let mut merged: VecDeque<Stretch> = VecDeque::with_capacity(most);
        for (index, stretch) in stretches.drain(..).enumerate() {
            match merged.back_mut() {
                Some(last) if index % 2 == 1 && last.round == stretch.round => {
                    (last.to, last.handed_us) = (stretch.to, stretch.handed_us);
                }
                _ => merged.push_back(stretch),
            }
        }
        *stretches = merged;
    }
    stretches.push_back(stretch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(handed: &mut Handed) -> Vec<(u32, i64, i64, i64)> {
        let mut stretches = Vec::new();
        handed.take(&mut stretches);
        stretches.iter().map(|one| (one.round, one.from, one.to, one.handed_us)).collect()
    }

    #[test]
    fn what_is_read_a_second_time_was_handed_over_the_first() {
        let mut handed = Handed::new(100);
        handed.note_handed(100, 110, 0, 1);
        handed.note_handed(100, 105, 0, 2);
        handed.note_handed(103, 112, 0, 3);
        handed.note_handed(112, 112, 0, 4);
        assert_eq!(taken(&mut handed), [(0, 100, 110, 1), (0, 110, 112, 3)]);
        assert_eq!(handed.again(), 5 + 7);
        assert_eq!(taken(&mut handed), []);
    }

    #[test]
    fn a_consumer_that_seeks_ahead_was_not_handed_what_lies_between() {
        let mut handed = Handed::new(0);
        handed.note_handed(50, 60, 0, 1);
        assert_eq!(taken(&mut handed), [(0, 50, 60, 1)]);
    }

    #[test]
    fn after_a_set_back_only_who_comes_back_for_it_counts() {
        let mut handed = Handed::new(0);
        handed.note_handed(0, 10, 0, 1);
        handed.set_back(4);
        // Somebody who has not learned of it yet.
        handed.note_asked(10);
        handed.note_handed(10, 12, 0, 2);
        assert!(handed.is_awaited());
        handed.note_asked(4);
        assert!(!handed.is_awaited());
        handed.note_handed(4, 12, 0, 3);
        assert_eq!(taken(&mut handed), [(0, 0, 10, 1), (1, 4, 12, 3)]);
        assert_eq!(handed.again(), 0);
    }

    #[test]
    fn stretches_merge_where_they_are_many_and_lose_no_position() {
        let mut stretches = VecDeque::new();
        for at in 0..1_000 {
            let round = u32::from(at >= 333);
            let stretch = Stretch { round, from: at, to: at + 1, asked_us: at, handed_us: at };
            keep(&mut stretches, stretch, 64);
        }
        assert!(stretches.len() <= 64);
        let mut next = 0;
        for stretch in &stretches {
            assert_eq!((stretch.from, stretch.handed_us), (next, stretch.to - 1));
            next = stretch.to;
        }
        assert_eq!(next, 1_000);
        assert!(stretches.iter().any(|one| one.round == 1 && one.from == 333), "rounds do not mix");
    }
}
