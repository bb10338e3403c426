//! The lazy stream of deliveries: events come in by their schedule, wait as coordinates, and leave when they are due.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::checked::Checked;
use super::cursor::{Item, Reading};
use super::distance::Unit;
use super::fault::{Effect, StallScope};
use super::faults::{FaultStates, bits};
use super::intake::{Arrival, Intake};
use super::late::Lateness;
use super::log::{Amount, Fired};
use super::pace::Schedule;
use super::pending::{Entry, Pending, REWIND};
use super::requests::Asking;
use super::setback::{LogEntry, LogTail};
use super::source::Values;
use super::trigger::Occasion;
use super::{Delivery, Phase, PlanError};

/// Sequence numbers below this are those of marks at which a partition is set back.
const MARKS_END: u64 = 1 << 63;

/// Late events that wait for one on time, at most: where nearly all come late there may be none.
const OVERDUE_MAX: usize = 4_096;

/// Lazy stream of deliveries; each drive has its own.
///
/// The warm-up comes first, in the order in which partitions interleave; then everything else by due time, topic, partition
/// and position. After an error the stream ends.
pub struct Deliveries {
    checked: Arc<Checked>,
    once: bool,
    states: FaultStates,
    values: Option<Box<dyn Values + Send>>,
    intake: Intake,
    pub(super) schedule: Schedule,
    /// By due time.
    due: Pending,
    /// By the stream's time, for distances in event time.
    by_time: Pending,
    /// By partition, by number of events: for distances in events.
    by_count: BTreeMap<usize, Pending>,
    lanes: Vec<Lane>,
    set_back: Option<SetBackRun>,
    sequence: u64,
    marks: u64,
    /// Due time below which nothing new can come.
    frontier_us: i64,
    /// Due time below which everything was handed over.
    handed_us: i64,
    clock_us: i64,
    /// The largest time of the stream of an event that was not late itself.
    watermark_us: i64,
    /// Late events that wait for the next one that comes on time itself.
    overdue: Vec<Entry>,
    stage: Stage,
    /// By fault: how late events came.
    pub(super) lateness: BTreeMap<usize, Lateness>,
    pub(super) counts: Counts,
    pub(super) trace: Trace,
    /// What faults at requests have to know of the schedule; nobody asks but a summary.
    pub(super) asking: Asking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// Everything is read; what waits for event time beyond the last event is left.
    Tail,
    Done,
    Failed,
}

/// Events so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) warm_up: u64,
    pub(super) main: u64,
}

/// What else is known of the last delivery.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trace {
    /// Index of its partition.
    pub(super) partition: usize,
    /// Due time of the event's first attempt.
    pub(super) origin_us: i64,
    /// Recorded offsets of which the place was taken since the event's own.
    pub(super) distance: i64,
}

/// What a stream remembers of one partition.
struct Lane {
    /// Nothing that waits its turn is due before this.
    flow_us: i64,
    /// First attempts that came in, for distances in events.
    counted: i64,
    /// Largest recorded offset of what came on time, or was held back by a `late` and came since.
    furthest: i64,
    stalls: Vec<Stall>,
    tail: Option<LogTail>,
    /// Moment of the latest mark at which it is set back.
    set_back_us: i64,
    /// Moment at which it was set back last.
    set_back_at_us: i64,
    /// How often it was set back.
    set_back: i64,
    /// Recorded offset whose place was taken last.
    taken: i64,
    inserted: i64,
}

#[derive(Debug, Clone, Copy)]
struct Stall {
    from_us: i64,
    until_us: i64,
    fault: usize,
}

/// A partition's log on its way again.
struct SetBackRun {
    partition: usize,
    due_us: i64,
    faults: u64,
    next: u64,
    end: u64,
    entries: VecDeque<LogEntry>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("stage", &self.stage)
            .field("frontier_us", &self.frontier_us)
            .finish_non_exhaustive()
    }
}

impl Iterator for Deliveries {
    type Item = Result<Delivery, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stage == Stage::Failed {
            return None;
        }
        loop {
            match self.step() {
                Ok(Some(delivery)) if self.once && delivery.attempt > 0 => {}
                Ok(delivery) => return delivery.map(Ok),
                Err(error) => {
                    self.stage = Stage::Failed;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Deliveries {
    pub(super) fn new(checked: Arc<Checked>, once: bool) -> Self {
        let rewinds = checked.faults.rewinds;
        let longest = |partition: usize| {
            bits(rewinds & checked.faults.in_partition[partition])
                .map(|fault| checked.faults.longest_way_back(fault))
                .max()
                .map(|longest| LogTail::new(longest, Arc::clone(&checked.spill)))
        };
        let lanes = (0..checked.partitions.len()).map(|partition| Lane::new(longest(partition))).collect();
        let queue = || Pending::new(Arc::clone(&checked.spill), checked.pending_max);
        Self {
            once,
            states: FaultStates::new(&checked.faults, checked.partitions.len()),
            values: None,
            intake: Intake::new(&checked),
            schedule: Schedule::new(checked.pace),
            due: queue(),
            by_time: queue(),
            by_count: BTreeMap::new(),
            lanes,
            set_back: None,
            sequence: MARKS_END,
            marks: 0,
            frontier_us: 0,
            handed_us: 0,
            clock_us: 0,
            watermark_us: 0,
            overdue: Vec::new(),
            lateness: BTreeMap::new(),
            stage: Stage::Reading,
            counts: Counts::default(),
            trace: Trace::default(),
            asking: Asking::default(),
            checked,
        }
    }

    /// Keeps each instance that fires until it is taken.
    pub(super) fn keep_log(&mut self) {
        self.states.log = Some(Vec::new());
    }

    /// Takes the instances that fired since.
    pub(super) fn take_log(&mut self) -> Vec<Fired> {
        self.states.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Instances so far, by fault.
    pub(super) fn fired(&self) -> &[u64] {
        &self.states.fired
    }

    fn step(&mut self) -> Result<Option<Delivery>, PlanError> {
        loop {
            if self.set_back.is_some()
                && let Some(delivery) = self.hand_over_again()?
            {
                return Ok(Some(delivery));
            }
            if let Some(entry) = self.due.pop_below(self.frontier_us)? {
                if let Some(delivery) = self.hand_over(entry)? {
                    return Ok(Some(delivery));
                }
                continue;
            }
            match self.stage {
                Stage::Reading => {
                    if let Some(delivery) = self.take_in()? {
                        return Ok(Some(delivery));
                    }
                }
                Stage::Tail => self.take_in_tail()?,
                Stage::Done | Stage::Failed => return Ok(None),
            }
        }
    }

    /// Reads one event; one of the warm-up is handed over at once.
    fn take_in(&mut self) -> Result<Option<Delivery>, PlanError> {
        let mut reading = Reading { checked: &self.checked, states: &mut self.states, values: &mut self.values };
        let Some(arrival) = self.intake.next(&mut reading)? else {
            self.stage = Stage::Tail;
            return Ok(None);
        };
        if arrival.item.phase == Phase::WarmUp {
            self.counts.warm_up += 1;
            return Ok(Some(self.warm_up(arrival)));
        }
        self.counts.main += 1;
        let due_us = self.schedule.next(arrival.clock_us, arrival.partition);
        self.asking.event(arrival.item.time_us, due_us);
        let on_time = arrival.item.dropped || !self.comes_late(arrival.partition, &arrival.item);
        self.release(arrival.clock_us, due_us, on_time && !arrival.item.dropped)?;
        (self.handed_us, self.frontier_us) = (self.frontier_us, due_us);
        self.clock_us = arrival.clock_us;
        if on_time && !arrival.item.dropped {
            self.watermark_us = self.watermark_us.max(arrival.clock_us);
        }
        if !arrival.item.dropped {
            self.plan_event(arrival.partition, arrival.item)?;
        }
        Ok(None)
    }

    fn warm_up(&mut self, Arrival { partition, item, .. }: Arrival) -> Delivery {
        self.trace = Trace { partition, origin_us: 0, distance: 0 };
        Delivery {
            due_us: 0,
            topic: self.checked.topic_of[partition],
            partition: self.checked.partitions[partition].partition,
            offset: item.offset,
            position: item.offset,
            attempt: 0,
            phase: Phase::WarmUp,
            faults: 0,
            place: item.place,
        }
    }

    /// Lets go of what waits for event time up to `clock_us`. A moment between two events is due in proportion between them.
    /// `on_time` says whether the event at `clock_us` comes now itself.
    fn release(&mut self, clock_us: i64, due_us: i64, on_time: bool) -> Result<(), PlanError> {
        let frees = on_time || self.overdue.len() >= OVERDUE_MAX;
        if frees && !self.overdue.is_empty() {
            for entry in std::mem::take(&mut self.overdue) {
                self.come_behind(entry, clock_us, due_us)?;
            }
        }
        while let Some(entry) = self.by_time.pop_below(clock_us.saturating_add(1))? {
            if self.comes_behind(entry, clock_us) {
                if frees {
                    self.come_behind(entry, clock_us, due_us)?;
                } else {
                    self.overdue.push(entry);
                }
                continue;
            }
            let (stretch, passed) = (clock_us - self.clock_us, entry.key - self.clock_us);
            let share = i128::from(due_us - self.frontier_us) * i128::from(passed) / i128::from(stretch.max(1));
            let moment_us = self.frontier_us + share as i64;
            let entry = self.count_late(entry, self.watermark_us, moment_us);
            self.settle(entry, moment_us, entry.key)?;
        }
        Ok(())
    }

    /// Lets an event come that a `late` held back, behind the one at `clock_us`.
    fn come_behind(&mut self, entry: Entry, clock_us: i64, due_us: i64) -> Result<(), PlanError> {
        let entry = self.count_late(entry, self.watermark_us.max(clock_us), due_us);
        self.settle(entry, due_us.saturating_add(1), clock_us)
    }

    /// Whether a `late` holds an event back.
    fn comes_late(&self, partition: usize, item: &Item) -> bool {
        let faults = &self.checked.faults;
        bits(item.eligible & faults.lates).any(|fault| {
            self.states.fired[fault] < faults.all[fault].most && faults.late_us(fault, partition, item.offset) > 0
        })
    }

    /// Whether an event that waits for event time because of a `late` comes behind the event at `clock_us`: where that makes it
    /// exactly as late as drawn, and where it is to be too late.
    fn comes_behind(&self, entry: Entry, clock_us: i64) -> bool {
        let (faults, partition) = (&self.checked.faults, entry.partition as usize);
        let is_beyond = |fault| {
            let drawn_us = faults.amount(fault, partition, entry.offset).value;
            faults.late(fault).is_some_and(|late| late.is_beyond(drawn_us))
        };
        let mut lates = bits(entry.faults & faults.lates).filter(|_| entry.attempt == 0);
        lates.any(|fault| entry.key == clock_us || is_beyond(fault))
    }

    /// Notes how far behind the watermark an event comes that waited for event time because of a `late`. A fault that did not make it
    /// late did not touch it: where events are rare, the next one may be further away than it was held back.
    fn count_late(&mut self, mut entry: Entry, watermark_us: i64, due_us: i64) -> Entry {
        let faults = &self.checked.faults;
        if entry.attempt > 0 {
            return entry;
        }
        for fault in bits(entry.faults & faults.lates) {
            let Some(late) = faults.late(fault) else { continue };
            let drawn_us = faults.amount(fault, entry.partition as usize, entry.offset).value;
            let own_us = entry.key - drawn_us;
            let partition = &mut self.lanes[entry.partition as usize];
            let in_order = partition.furthest <= entry.offset;
            if !self.lateness.entry(fault).or_default().count(late, watermark_us - own_us, in_order) {
                entry.faults &= !(1 << fault);
                // It is like any other now: nothing overtakes it, and what comes behind it is late because of it.
                entry.origin_us = entry.origin_us.max(partition.flow_us);
                partition.flow_us = due_us.max(entry.origin_us);
                self.watermark_us = self.watermark_us.max(own_us);
            }
            partition.furthest = partition.furthest.max(entry.offset);
        }
        entry
    }

    /// Past the last event: what waits for a number of events comes at once, then what waits for event time, at the pace.
    fn take_in_tail(&mut self) -> Result<(), PlanError> {
        for (partition, mut waiting) in std::mem::take(&mut self.by_count) {
            while let Some(entry) = waiting.pop_below(i64::MAX)? {
                let due_us = entry.origin_us.max(self.lanes[partition].flow_us).max(self.frontier_us);
                self.push(Entry { key: due_us, ..entry })?;
            }
        }
        for entry in std::mem::take(&mut self.overdue) {
            let entry = self.count_late(entry, self.watermark_us, self.frontier_us);
            self.settle(entry, self.frontier_us, self.clock_us)?;
        }
        if let Some(entry) = self.by_time.pop_below(i64::MAX)? {
            let due_us = self.frontier_us.saturating_add(self.checked.pace.tail_us(entry.key - self.clock_us));
            let entry = self.count_late(entry, self.watermark_us, due_us);
            self.clock_us = entry.key;
            self.frontier_us = due_us;
            return self.settle(entry, due_us, entry.key);
        }
        self.frontier_us = i64::MAX;
        self.stage = Stage::Done;
        Ok(())
    }

    /// Asks the faults of timing and delivery about an event that has its turn.
    fn plan_event(&mut self, partition: usize, item: Item) -> Result<(), PlanError> {
        let faults = &self.checked.faults;
        let (delays, stalls, duplicates, rewinds) = (faults.delays, faults.stalls, faults.duplicates, faults.rewinds);
        let asked = delays | faults.straggles | faults.time_reorders | stalls | duplicates | rewinds;
        let due_us = self.frontier_us;
        let at = Occasion { partition, offset: item.offset, time_us: item.time_us, due_us };
        let mut touched = item.faults;
        let (mut held_us, mut behind_us, mut later_us) = (0_i64, 0_i64, 0_i64);
        let mut copies = 0;
        for fault in bits(item.eligible & asked) {
            let Some(amount) = self.states.fire(&self.checked.faults, fault, at) else { continue };
            let bit = 1 << fault;
            touched |= bit;
            if delays & bit != 0 {
                held_us = held_us.saturating_add(amount.value);
            } else if stalls & bit != 0 {
                self.stall(fault, partition, due_us, due_us.saturating_add(amount.value));
            } else if duplicates & bit != 0 {
                copies += 1;
            } else if rewinds & bit == 0 {
                let sum = if amount.unit == Some(Unit::EventTime) { &mut later_us } else { &mut behind_us };
                *sum = sum.saturating_add(amount.value);
            }
        }
        let lane = &mut self.lanes[partition];
        let (free_us, stalled_by) = lane.past_stalls(due_us.saturating_add(held_us));
        touched |= stalled_by;
        let turn_us = lane.flow_us.max(free_us);
        let straggles = behind_us > 0 || later_us > 0;
        if !straggles {
            lane.furthest = lane.furthest.max(item.offset);
            lane.flow_us = turn_us;
        }
        lane.counted += 1;
        let entry = Entry {
            key: 0,
            partition: partition as u32,
            attempt: 0,
            copies,
            sequence: 0,
            offset: item.offset,
            place: item.place,
            faults: touched,
            origin_us: turn_us.saturating_add(behind_us),
        };
        if later_us > 0 {
            let sequence = self.number();
            self.by_time.push(Entry { key: self.clock_us.saturating_add(later_us), sequence, ..entry })?;
        } else {
            self.settle(entry, entry.origin_us, self.clock_us)?;
        }
        self.release_counted(partition, turn_us)
    }

    /// Lets go of what waits for the number of events that came in so far.
    fn release_counted(&mut self, partition: usize, due_us: i64) -> Result<(), PlanError> {
        let counted = self.lanes[partition].counted;
        while let Some(waiting) = self.by_count.get_mut(&partition)
            && let Some(entry) = waiting.pop_below(counted.saturating_add(1))?
        {
            self.push(Entry { key: entry.origin_us.max(due_us), ..entry })?;
        }
        Ok(())
    }

    /// Gives an entry its due time, and a first attempt its duplicates.
    fn settle(&mut self, entry: Entry, due_us: i64, clock_us: i64) -> Result<(), PlanError> {
        let due_us = due_us.max(entry.origin_us);
        if entry.attempt > 0 || entry.copies == 0 {
            let origin_us = if entry.attempt == 0 { due_us } else { entry.origin_us };
            return self.push(Entry { key: due_us, origin_us, ..entry });
        }
        self.push(Entry { key: due_us, origin_us: due_us, ..entry })?;
        let partition = entry.partition as usize;
        for (index, fault) in bits(entry.faults & self.checked.faults.duplicates).enumerate() {
            let copy = Entry { attempt: index as u16 + 1, faults: 1 << fault, origin_us: due_us, ..entry };
            let Amount { unit, value } = self.checked.faults.amount(fault, partition, entry.offset);
            let sequence = self.number();
            match unit {
                Some(Unit::EventTime) => {
                    self.by_time.push(Entry { key: clock_us.saturating_add(value), sequence, ..copy })?;
                }
                Some(Unit::Events) if value > 0 => {
                    let key = self.lanes[partition].counted.saturating_add(value);
                    let (spill, bound) = (&self.checked.spill, self.checked.pending_max / self.lanes.len());
                    let waiting = self
                        .by_count
                        .entry(partition)
                        .or_insert_with(|| Pending::new(Arc::clone(spill), bound.max(1_024)));
                    waiting.push(Entry { key, sequence, ..copy })?;
                }
                _ => self.push(Entry { key: due_us.saturating_add(if unit.is_some() { value } else { 0 }), ..copy })?,
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> Result<(), PlanError> {
        let sequence = self.number();
        Ok(self.due.push(Entry { sequence, ..entry })?)
    }

    fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn stall(&mut self, fault: usize, partition: usize, from_us: i64, until_us: i64) {
        let all = matches!(self.checked.faults.all[fault].effect, Effect::Stall { scope: StallScope::All, .. });
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if index == partition || all && self.checked.faults.in_partition[index] & 1 << fault != 0 {
                // What waits is asked again when it is due: a stall counts until nothing is left that falls into it.
                lane.stalls.retain(|stall| stall.until_us > self.handed_us);
                lane.stalls.push(Stall { from_us, until_us, fault });
            }
        }
    }

    /// Turns an entry that is due into a delivery; none where it has to wait on, or is a mark.
    fn hand_over(&mut self, entry: Entry) -> Result<Option<Delivery>, PlanError> {
        let partition = entry.partition as usize;
        let lane = &mut self.lanes[partition];
        let (due_us, stalls) = lane.past_stalls(entry.key);
        if due_us > entry.key {
            let faults = entry.faults | if entry.attempt == REWIND { 0 } else { stalls };
            self.due.push(Entry { key: due_us, faults, ..entry })?;
            return Ok(None);
        }
        if entry.attempt == REWIND {
            // Old positions come again at a moment of their own: a stall may have brought another rewind here as well.
            if lane.set_back_at_us == entry.key {
                self.due.push(Entry { key: entry.key + 1, ..entry })?;
            } else {
                lane.set_back_at_us = entry.key;
                self.start_set_back(entry)?;
            }
            return Ok(None);
        }
        let positions = &mut self.intake.cursors[partition].positions;
        let position = if entry.attempt == 0 {
            let position = positions.first_attempt().unwrap_or(entry.offset);
            lane.taken = position - lane.inserted;
            position
        } else {
            lane.inserted += 1;
            positions.duplicate()
        };
        self.trace = Trace { partition, origin_us: entry.origin_us, distance: lane.taken - entry.offset };
        if let Some(tail) = &mut lane.tail {
            tail.push(LogEntry {
                offset: entry.offset,
                position,
                place: entry.place,
                attempt: i32::from(entry.attempt),
                copies: i32::from(entry.copies),
                set_back: lane.set_back,
            })?;
        }
        let to_come = self.checked.faults.duplicates | self.checked.faults.rewinds;
        if entry.attempt == 0 {
            for fault in bits(entry.faults & self.checked.faults.rewinds) {
                self.mark_set_back(fault, &entry)?;
            }
        }
        let faults = if entry.attempt == 0 { entry.faults & !to_come } else { entry.faults };
        Ok(Some(Delivery {
            due_us,
            topic: self.checked.topic_of[partition],
            partition: self.checked.partitions[partition].partition,
            offset: entry.offset,
            position,
            attempt: i32::from(entry.attempt),
            phase: Phase::Main,
            faults,
            place: entry.place,
        }))
    }

    /// Sets the partition back a microsecond from now: old positions come after what they follow.
    fn mark_set_back(&mut self, fault: usize, entry: &Entry) -> Result<(), PlanError> {
        let lane = &mut self.lanes[entry.partition as usize];
        lane.set_back_us = (entry.key + 1).max(lane.set_back_us + 1);
        // A stall may bring several marks to one moment: they keep their order, ahead of what waits there.
        self.marks += 1;
        let mark = Entry { key: lane.set_back_us, attempt: REWIND, sequence: self.marks, faults: 1 << fault, ..*entry };
        Ok(self.due.push(mark)?)
    }

    fn start_set_back(&mut self, mark: Entry) -> Result<(), PlanError> {
        let partition = mark.partition as usize;
        let fault = mark.faults.trailing_zeros() as usize;
        let n = self.checked.faults.amount(fault, partition, mark.offset).value;
        let lane = &mut self.lanes[partition];
        let end = lane.tail.as_mut().map_or(Ok(0), LogTail::len)?;
        lane.set_back += 1;
        let next = end.saturating_sub(n as u64);
        self.set_back =
            Some(SetBackRun { partition, due_us: mark.key, faults: mark.faults, next, end, entries: VecDeque::new() });
        Ok(())
    }

    /// Hands over the next old position, none where the partition has caught up.
    fn hand_over_again(&mut self) -> Result<Option<Delivery>, PlanError> {
        let Some(run) = &mut self.set_back else { return Ok(None) };
        let lane = &self.lanes[run.partition];
        if run.entries.is_empty()
            && run.next < run.end
            && let Some(tail) = &lane.tail
        {
            run.entries.extend(tail.read(run.next, run.end)?);
            run.next += run.entries.len() as u64;
        }
        let Some(entry) = run.entries.pop_front() else {
            self.set_back = None;
            return Ok(None);
        };
        // Duplicates have the attempts up to `copies`. Each time that the log comes again takes the next block of numbers, a
        // number for each place at which the event stands: unique, and without gaps where it stands but once.
        let before = lane.set_back - 1 - entry.set_back;
        let attempt = i64::from(entry.copies) + 1 + before * (i64::from(entry.copies) + 1) + i64::from(entry.attempt);
        self.trace = Trace { partition: run.partition, origin_us: run.due_us, distance: 0 };
        Ok(Some(Delivery {
            due_us: run.due_us,
            topic: self.checked.topic_of[run.partition],
            partition: self.checked.partitions[run.partition].partition,
            offset: entry.offset,
            position: entry.position,
            attempt: attempt as i32,
            phase: Phase::Main,
            faults: run.faults,
            place: entry.place,
        }))
    }
}

impl Lane {
    fn new(tail: Option<LogTail>) -> Self {
        Self {
            flow_us: 0,
            counted: 0,
            furthest: -1,
            stalls: Vec::new(),
            tail,
            set_back_us: 0,
            set_back_at_us: -1,
            set_back: 0,
            taken: 0,
            inserted: 0,
        }
    }

    /// Moves a due time to the end of the stalls it falls into, and says which these are.
    fn past_stalls(&self, mut due_us: i64) -> (i64, u64) {
        let mut faults = 0;
        while let Some(stall) = self.stalls.iter().find(|stall| (stall.from_us..stall.until_us).contains(&due_us)) {
            due_us = stall.until_us;
            faults |= 1 << stall.fault;
        }
        (due_us, faults)
    }
}
