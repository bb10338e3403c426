//! Partitions merged into one stream, by one of the orders, warm-up first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::checked::Checked;
use super::cursor::{Cursor, Item, Reading};
use super::pace::Order;
use super::seed::{DrawKey, Purpose};
use super::{Phase, PlanError};

/// An event of the merged stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) partition: usize,
    pub(super) item: Item,
    /// The stream's time since its first event, in microseconds; never decreases. Zero throughout the warm-up.
    pub(super) clock_us: i64,
}

/// Merges all partitions lazily: one event of each is held.
pub(super) struct Intake {
    pub(super) cursors: Vec<Cursor>,
    heads: Vec<Option<Item>>,
    merge: Merge,
    clock_us: i64,
    started: bool,
}

enum Merge {
    /// By phase, key and partition.
    Keyed { order: Order, heap: BinaryHeap<Reverse<(Phase, i64, usize)>> },
    /// Partition after partition.
    Sequential { current: usize, phase: Phase, base_us: i64 },
    /// Places in time from a second reading, filled by draws.
    Seeded { slots: Box<Intake>, draws: DrawKey, drawn: i64, left: Vec<usize>, phase: Phase },
}

impl Intake {
    pub(super) fn new(checked: &Checked) -> Self {
        Self::with(checked, checked.pace.order, true)
    }

    fn with(checked: &Checked, order: Order, hands_over: bool) -> Self {
        let merge = match order {
            Order::Time | Order::Captured => Merge::Keyed { order, heap: BinaryHeap::new() },
            Order::Partition => Merge::Sequential { current: 0, phase: Phase::WarmUp, base_us: 0 },
            Order::Seeded => Merge::Seeded {
                slots: Box::new(Self::with(checked, Order::Time, false)),
                draws: DrawKey::new(checked.seed, "order", "", -1),
                drawn: 0,
                left: Vec::new(),
                phase: Phase::WarmUp,
            },
        };
        let partitions = 0..checked.partitions.len();
        Self {
            cursors: partitions.clone().map(|partition| Cursor::new(checked, partition, hands_over)).collect(),
            heads: partitions.map(|_| None).collect(),
            merge,
            clock_us: 0,
            started: false,
        }
    }

    /// Returns the next event of the merged stream.
    pub(super) fn next(&mut self, reading: &mut Reading<'_>) -> Result<Option<Arrival>, PlanError> {
        if !self.started {
            self.start(reading)?;
        }
        let Some((partition, clock_us)) = self.choose(reading)? else { return Ok(None) };
        let Some(item) = self.heads[partition] else { return Ok(None) };
        if item.phase == Phase::Main {
            self.clock_us = self.clock_us.max(clock_us);
        }
        self.heads[partition] = self.cursors[partition].next(reading)?;
        self.replace(partition);
        Ok(Some(Arrival { partition, item, clock_us: self.clock_us }))
    }

    fn start(&mut self, reading: &mut Reading<'_>) -> Result<(), PlanError> {
        self.started = true;
        for partition in 0..self.cursors.len() {
            self.heads[partition] = self.cursors[partition].next(reading)?;
        }
        match &mut self.merge {
            Merge::Keyed { order, heap } => {
                let order = *order;
                heap.extend(
                    self.heads
                        .iter()
                        .enumerate()
                        .filter_map(|(partition, head)| head.as_ref().map(|item| Reverse(key(order, item, partition)))),
                );
            }
            Merge::Seeded { left, .. } => {
                left.extend((0..self.heads.len()).filter(|index| self.heads[*index].is_some()));
            }
            Merge::Sequential { .. } => {}
        }
        Ok(())
    }

    /// Picks the partition whose event is next, and the stream's time there.
    fn choose(&mut self, reading: &mut Reading<'_>) -> Result<Option<(usize, i64)>, PlanError> {
        match &mut self.merge {
            Merge::Keyed { heap, .. } => Ok(heap.peek().map(|Reverse((_, _, partition))| {
                (*partition, self.heads[*partition].as_ref().map_or(0, |item| item.time_us))
            })),
            Merge::Sequential { current, phase, base_us } => loop {
                if *current == self.heads.len() {
                    if *phase == Phase::Main {
                        return Ok(None);
                    }
                    (*phase, *current) = (Phase::Main, 0);
                } else {
                    match &self.heads[*current] {
                        Some(item) if item.phase == *phase => return Ok(Some((*current, *base_us + item.time_us))),
                        _ => *current += 1,
                    }
                }
                // The next partition begins where this one ended, at its own first event.
                let first_us = self.heads.get(*current).and_then(|head| head.as_ref().map(|item| item.time_us));
                *base_us = self.clock_us - first_us.unwrap_or(0);
            },
            Merge::Seeded { slots, draws, drawn, left, phase } => {
                // Warm-up ahead of the rest, here too.
                let ready: Vec<usize> = left
                    .iter()
                    .copied()
                    .filter(|index| self.heads[*index].as_ref().is_some_and(|item| item.phase == *phase))
                    .collect();
                if ready.is_empty() {
                    if *phase == Phase::Main {
                        return Ok(None);
                    }
                    *phase = Phase::Main;
                    return self.choose(reading);
                }
                let index = draws.between(*drawn, Purpose::Choice, 0, ready.len() as i64 - 1);
                *drawn += 1;
                let slot = slots.next(reading)?;
                Ok(Some((ready[index as usize], slot.map_or(self.clock_us, |slot| slot.clock_us))))
            }
        }
    }

    /// Puts the new head of `partition` in its place.
    fn replace(&mut self, partition: usize) {
        let head = self.heads[partition].as_ref();
        match &mut self.merge {
            Merge::Keyed { order, heap } => match (heap.peek_mut(), head) {
                (Some(mut top), Some(item)) => *top = Reverse(key(*order, item, partition)),
                (Some(top), None) => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
                (None, _) => {}
            },
            Merge::Seeded { left, .. } if head.is_none() => left.retain(|other| *other != partition),
            Merge::Seeded { .. } | Merge::Sequential { .. } => {}
        }
    }
}

fn key(order: Order, item: &Item, partition: usize) -> (Phase, i64, usize) {
    let key = if order == Order::Captured { item.captured_us.unwrap_or(i64::MIN) } else { item.time_us };
    (item.phase, key, partition)
}
