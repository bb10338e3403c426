//! One partition on its way into the plan: its slice, what is dropped from it, and its events in their new order.
//!
//! Looks ahead as far as the largest displacement, never further.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use serde_json::Value;

use super::checked::Checked;
use super::faults::{FaultStates, bits};
use super::positions::Positions;
use super::select::Membership;
use super::source::{CoordinateCursor, Values};
use super::trigger::Occasion;
use super::{Phase, PlanError};
use crate::recording::{Coordinate, Place};

/// An event on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) offset: i64,
    pub(super) place: Place,
    /// Its place in the log, as the offset that stood there.
    slot: i64,
    /// Event time since the slice's first event, in microseconds; never decreases within a partition.
    pub(super) time_us: i64,
    /// When it was captured, likewise never decreasing; none ahead of the first that says.
    pub(super) captured_us: Option<i64>,
    key_hash: Option<u64>,
    pub(super) phase: Phase,
    /// Faults that may touch it.
    pub(super) eligible: u64,
    /// Faults that touched it so far.
    pub(super) faults: u64,
    pub(super) dropped: bool,
    shift_in_key: i64,
    shift_in_partition: i64,
}

/// What cursors share while a plan is read.
pub(super) struct Reading<'a> {
    pub(super) checked: &'a Checked,
    pub(super) states: &'a mut FaultStates,
    pub(super) values: &'a mut Option<Box<dyn Values + Send>>,
}

/// Events read at once where values are looked at.
const CHUNK: usize = 256;

/// Reads one partition.
pub(super) struct Cursor {
    partition: usize,
    source: CoordinateCursor,
    membership: Membership,
    /// Faults of this partition.
    faults: u64,
    /// Whether events are handed over, or only their times are wanted.
    hands_over: bool,
    time_us: i64,
    warm_up_us: i64,
    captured_us: Option<i64>,
    chunk: VecDeque<Item>,
    by_key: KeyStage,
    by_offset: OffsetStage,
    out_us: i64,
    pub(super) positions: Positions,
}

impl Cursor {
    pub(super) fn new(checked: &Checked, partition: usize, hands_over: bool) -> Self {
        let faults = if hands_over { checked.faults.in_partition[partition] } else { 0 };
        let keys = faults & checked.faults.needing_keys != 0;
        Self {
            partition,
            source: checked.source.coordinates(&checked.partitions[partition], keys),
            membership: Membership::new(checked.slice, checked.source.history(&checked.partitions[partition])),
            faults,
            hands_over,
            time_us: 0,
            warm_up_us: i64::MIN,
            captured_us: None,
            chunk: VecDeque::new(),
            by_key: KeyStage::new(checked.faults.extent(faults & checked.faults.key_reorders, partition)),
            by_offset: OffsetStage::new(checked.faults.extent(faults & checked.faults.offset_reorders, partition)),
            out_us: 0,
            positions: Positions::default(),
        }
    }

    /// Returns the next event in the log's new order; warm-up first.
    pub(super) fn next(&mut self, reading: &mut Reading<'_>) -> Result<Option<Item>, PlanError> {
        let item = if self.by_offset.extent == 0 { self.next_by_key(reading)? } else { self.next_by_offset(reading)? };
        Ok(item.map(|mut item| {
            if item.phase == Phase::Main {
                self.out_us = self.out_us.max(item.time_us);
                item.time_us = self.out_us;
            }
            item
        }))
    }

    fn next_by_offset(&mut self, reading: &mut Reading<'_>) -> Result<Option<Item>, PlanError> {
        loop {
            if let Some(item) = self.by_offset.pop() {
                return Ok(Some(item));
            }
            match self.next_by_key(reading)? {
                Some(item) if item.phase == Phase::WarmUp => return Ok(Some(item)),
                Some(item) if self.by_offset.passes(&item) => return Ok(Some(item)),
                Some(item) => self.by_offset.push(item),
                None if self.by_offset.ended => return Ok(None),
                None => self.by_offset.ended = true,
            }
        }
    }

    fn next_by_key(&mut self, reading: &mut Reading<'_>) -> Result<Option<Item>, PlanError> {
        if self.by_key.extent == 0 {
            return self.read(reading);
        }
        loop {
            if let Some(item) = self.by_key.pop() {
                return Ok(Some(item));
            }
            match self.read(reading)? {
                Some(item) if item.phase == Phase::WarmUp => return Ok(Some(item)),
                Some(item) => self.by_key.push(item),
                None if self.by_key.ended => return Ok(None),
                None => self.by_key.ended = true,
            }
        }
    }

    /// Reads the next event of the slice and decides whether it is dropped or displaced.
    fn read(&mut self, reading: &mut Reading<'_>) -> Result<Option<Item>, PlanError> {
        let item = if self.faults & reading.checked.faults.needing_values == 0 {
            self.read_plain(reading)?
        } else {
            if self.chunk.is_empty() {
                self.read_chunk(reading)?;
            }
            self.chunk.pop_front()
        };
        let Some(mut item) = item else { return Ok(None) };
        if item.phase == Phase::Main && self.hands_over {
            self.decide(&mut item, reading);
        }
        Ok(Some(item))
    }

    fn read_plain(&mut self, reading: &Reading<'_>) -> Result<Option<Item>, PlanError> {
        for coordinate in self.source.by_ref() {
            let coordinate = coordinate?;
            let time_us = coordinate.timestamp_ms.map(|ms| ms.saturating_mul(1_000));
            if let Some(phase) = self.membership.of(coordinate.offset, time_us) {
                return Ok(Some(self.item(&coordinate, time_us, phase, reading)));
            }
        }
        Ok(None)
    }

    fn item(&mut self, coordinate: &Coordinate, time_us: Option<i64>, phase: Phase, reading: &Reading<'_>) -> Item {
        // An event without a time stands at that of the event ahead of it, the first ones at the slice's start.
        let since_us = time_us.map(|time| time.saturating_sub(reading.checked.origin_us));
        let clock = if phase == Phase::Main { &mut self.time_us } else { &mut self.warm_up_us };
        *clock = since_us.map_or(*clock, |since| since.max(*clock));
        let time_us = *clock;
        self.captured_us = self.captured_us.max(coordinate.captured_at_us);
        let faults = &reading.checked.faults;
        let mut eligible = if phase == Phase::Main { self.faults } else { 0 };
        for fault in bits(eligible & faults.looking) {
            if !faults.all[fault].selector.takes_coordinate(coordinate) {
                eligible &= !(1 << fault);
            }
        }
        Item {
            offset: coordinate.offset,
            place: coordinate.place,
            slot: coordinate.offset,
            time_us,
            captured_us: self.captured_us,
            key_hash: coordinate.key_hash,
            phase,
            eligible,
            faults: 0,
            dropped: false,
            shift_in_key: 0,
            shift_in_partition: 0,
        }
    }

    /// Reads a chunk and looks at the values of those events that a filter is left to decide on.
    fn read_chunk(&mut self, reading: &mut Reading<'_>) -> Result<(), PlanError> {
        while self.chunk.len() < CHUNK
            && let Some(item) = self.read_plain(reading)?
        {
            self.chunk.push_back(item);
        }
        let faults = &reading.checked.faults;
        let asked: Vec<usize> =
            (0..self.chunk.len()).filter(|index| self.chunk[*index].eligible & faults.needing_values != 0).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let places: Vec<Place> = asked.iter().map(|index| self.chunk[*index].place).collect();
        let values = reading.values.get_or_insert_with(|| reading.checked.source.values());
        let chunk = &mut self.chunk;
        values.each(&places, &mut |index, value| {
            let item = &mut chunk[asked[index]];
            // What is no JSON has no members and no value: no filter selects it.
            let wrapped =
                value.and_then(|bytes| serde_json::from_slice(bytes).ok()).map(|value| Value::Array(vec![value]));
            for fault in bits(item.eligible & faults.needing_values) {
                if !wrapped.as_ref().is_some_and(|wrapped| faults.all[fault].selector.takes_value(wrapped)) {
                    item.eligible &= !(1 << fault);
                }
            }
        })?;
        Ok(())
    }

    fn decide(&mut self, item: &mut Item, reading: &mut Reading<'_>) {
        let faults = &reading.checked.faults;
        let at = Occasion { partition: self.partition, offset: item.offset, time_us: item.time_us, due_us: 0 };
        for fault in bits(item.eligible & faults.drops) {
            // Each is asked, even where another dropped the event: its good and bad times go on.
            if reading.states.fire(faults, fault, at).is_some() {
                item.dropped = true;
                item.faults |= 1 << fault;
            }
        }
        if item.dropped {
            return;
        }
        self.positions.keep(item.offset);
        for fault in bits(item.eligible & (faults.key_reorders | faults.offset_reorders)) {
            if let Some(amount) = reading.states.fire(faults, fault, at) {
                let in_key = faults.key_reorders & 1 << fault != 0;
                let shift = if in_key { &mut item.shift_in_key } else { &mut item.shift_in_partition };
                *shift += amount.value;
                item.faults |= 1 << fault;
            }
        }
    }
}

/// Where an event wants to stand: its place plus its displacement. What was not displaced stands ahead of what was.
fn rank(slot: i64, shift: i64) -> (i64, bool, i64) {
    (slot.saturating_add(shift), shift != 0, slot)
}

/// Sorts a partition by place and displacement.
struct OffsetStage {
    extent: i64,
    waiting: BinaryHeap<Reverse<Ranked>>,
    read: i64,
    ended: bool,
}

struct Ranked((i64, bool, i64), Item);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl OffsetStage {
    fn new(extent: i64) -> Self {
        Self { extent, waiting: BinaryHeap::new(), read: i64::MIN, ended: false }
    }

    fn push(&mut self, item: Item) {
        self.read = item.slot;
        self.waiting.push(Reverse(Ranked(rank(item.slot, item.shift_in_partition), item)));
    }

    /// Whether the event may go on at once: it was not displaced, and nothing that waits stands ahead of it.
    fn passes(&self, item: &Item) -> bool {
        let rank = rank(item.slot, item.shift_in_partition);
        item.shift_in_partition == 0 && self.waiting.peek().is_none_or(|Reverse(first)| rank < first.0)
    }

    /// Takes the first event, once nothing can come ahead of it any more.
    fn pop(&mut self) -> Option<Item> {
        let Reverse(first) = self.waiting.peek()?;
        if !self.ended && first.0.0 > self.read {
            return None;
        }
        self.waiting.pop().map(|Reverse(ranked)| ranked.1)
    }
}

/// Lets the events of a key change places among themselves: the n-th in their new order takes the n-th of their places.
struct KeyStage {
    extent: i64,
    places: VecDeque<Item>,
    waiting: BTreeMap<(u64, (i64, bool, i64)), Item>,
    read: i64,
    ended: bool,
}

impl KeyStage {
    fn new(extent: i64) -> Self {
        Self { extent, places: VecDeque::new(), waiting: BTreeMap::new(), read: i64::MIN, ended: false }
    }

    fn push(&mut self, item: Item) {
        self.read = item.slot;
        if let Some(key) = moves_in_key(&item) {
            self.waiting.insert((key, rank(item.slot, item.shift_in_key)), item);
        }
        self.places.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let place = *self.places.front()?;
        if !self.ended && self.read <= place.slot.saturating_add(self.extent) {
            return None;
        }
        self.places.pop_front();
        let Some(key) = moves_in_key(&place) else { return Some(place) };
        let first = *self.waiting.range((key, (i64::MIN, false, i64::MIN))..).next()?.0;
        let item = self.waiting.remove(&first)?;
        Some(Item { slot: place.slot, time_us: place.time_us, captured_us: place.captured_us, ..item })
    }
}

/// The key among whose events this one changes places; an event without one, or a dropped one, stays.
fn moves_in_key(item: &Item) -> Option<u64> {
    item.key_hash.filter(|_| !item.dropped)
}
