//! What a drive leaves, gathered while it goes on, on a thread of its own: receipts of deliveries as consumers took them, and
//! outputs as they were written, each with the delivery behind it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use super::super::called::{keep_call, keep_calls};
use super::super::feed::Announced;
use super::super::keep::Keep;
use super::super::ledger::Ledger;
use super::super::listen::{phase_at, phase_of};
use super::super::pace::Timing;
use super::super::shared::Shared;
use super::super::stubs::{Call, Calls};
use super::super::{DriveError, DriveRules};
use super::broker::Broker;
use super::fifo::{Fifo, Row};
use super::{Finished, Known};
use crate::clock::Clock;
use crate::drive::stage::{Stretch, WrittenEvent};
use crate::outcome::{CauseBy, Channel, Committed, DeliveriesWriter, Lateness, OutcomeError, OutputRow, OutputsWriter};
use crate::plan::{Delivery, Phase};
use crate::recording::{Header, Place};

/// Pause between looks.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes of outputs that are taken in one look.
const LOOK_BYTES: usize = 8 << 20;

/// Microseconds between looks at what groups have committed.
const COMMITS_US: i64 = 10_000;

/// Milliseconds by which a client's clock, or a broker's, may be off.
const SKEW_MS: i64 = 1_000;

/// Microseconds between footers that make what was written readable.
const CHECKPOINT_US: i64 = 20_000_000;

/// A delivery that was revealed and that nobody has been handed yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    delivery: Delivery,
    key: Option<u64>,
    /// How many of the partition's marks are its own.
    marks: u8,
    round: u32,
    revealed_us: i64,
}

/// A delivery that waits for those planned ahead of it to have their receipts.
#[derive(Debug, Clone, Copy)]
struct Done {
    delivery: Delivery,
    sent_us: Option<i64>,
}

/// What is known at the end.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) redelivered: u64,
    pub(super) lateness: Option<Lateness>,
    /// Events of transactions that were taken back.
    pub(super) taken_back: u64,
    pub(super) committed: Vec<Committed>,
}

/// One partition as receipts see it.
#[derive(Debug)]
struct Lane {
    pending: Fifo<Pending>,
    /// Marks of what is pending, in its order.
    marks: Fifo<u64>,
    done: Fifo<Done>,
    round: u32,
    last: Option<i64>,
    /// What consumers were handed of deliveries that are not announced yet: what is handed over again is visible as a whole, and
    /// announced bit by bit.
    ahead: VecDeque<Stretch>,
}

/// See the top of the file.
pub(super) struct Keeper<'a> {
    rules: &'a DriveRules,
    paced: bool,
    topics: &'a [String],
    broker: &'a dyn Broker,
    shared: &'a Shared,
    known: &'a Known,
    clock: &'a dyn Clock,
    keep: Keep<'a>,
    calls: Calls,
    deliveries: &'a mut DeliveriesWriter,
    folder: PathBuf,
    receipts: Vec<Lane>,
    /// Partitions in the order of the plan: whose turn it is to have a receipt written.
    order: Fifo<u32>,
    /// By what consumers have been handed: causes.
    handed: Ledger,
    /// By what is visible: lag.
    visible: Ledger,
    /// By output topic and partition: where to read on.
    cursors: BTreeMap<(String, i32), i64>,
    timing: Timing,
    bytes: u64,
    followed_us: i64,
    /// Date at which the drive began, in milliseconds since the Unix epoch.
    begun_ms: i64,
    kept: Kept,
}

/// An output that was read and not kept yet.
enum Came {
    Event { topic: String, partition: i32, event: WrittenEvent },
    Call(Call),
}

impl Came {
    fn arrived_us(&self) -> i64 {
        match self {
            Self::Event { event, .. } => event.arrived_us,
            Self::Call(call) => call.arrived_us,
        }
    }

    /// Where it stands among what arrived at the same time: calls first, in the order in which they came.
    fn place(&self) -> (i32, i64, &str) {
        match self {
            Self::Event { topic, partition, event } => (*partition, event.offset, topic),
            Self::Call(_) => (i32::MIN, 0, ""),
        }
    }
}

/// What a keeper is made of.
pub(super) struct Parts<'a> {
    pub(super) rules: &'a DriveRules,
    pub(super) paced: bool,
    pub(super) topics: &'a [String],
    pub(super) broker: &'a dyn Broker,
    pub(super) shared: &'a Shared,
    pub(super) known: &'a Known,
    pub(super) clock: &'a dyn Clock,
    pub(super) outputs: &'a mut OutputsWriter,
    pub(super) calls: Calls,
    pub(super) deliveries: &'a mut DeliveriesWriter,
    pub(super) timing: Timing,
}

impl<'a> Keeper<'a> {
    /// `folder` is for rows that memory has no room for.
    pub(super) fn new(parts: Parts<'a>, folder: &Path) -> Self {
        let Parts { rules, paced, topics, broker, shared, known, clock, outputs, calls, deliveries, timing } = parts;
        let lane = |_| Lane {
            pending: Fifo::new(folder),
            marks: Fifo::new(folder),
            done: Fifo::new(folder),
            round: 0,
            last: None,
            ahead: VecDeque::new(),
        };
        Self {
            rules,
            paced,
            topics,
            broker,
            shared,
            known,
            clock,
            keep: Keep::new(rules, outputs),
            calls,
            deliveries,
            folder: folder.to_owned(),
            receipts: (0..broker.count()).map(lane).collect(),
            order: Fifo::new(folder),
            handed: Ledger::new(topics),
            visible: Ledger::new(topics),
            cursors: BTreeMap::new(),
            timing,
            bytes: 0,
            followed_us: i64::MIN,
            begun_ms: clock.date_us() / 1_000,
            kept: Kept::default(),
        }
    }

    /// Gathers until the drive closes and nothing more is there.
    pub(super) fn run(mut self, revealed: &Receiver<Announced>) -> Result<Kept, DriveError> {
        let mut saved_us = self.now_us();
        loop {
            // Asked first: what is written up to then is seen below.
            let closing = self.shared.is_closing();
            let now_us = self.now_us();
            let read_up = self.broker.is_read_up();
            let more = self.look(revealed, now_us)?;
            let caught_up = read_up && !more;
            if caught_up {
                self.known.catch_up(now_us);
            }
            if closing && caught_up {
                return self.finish();
            }
            if self.bytes > self.rules.output_bytes_max {
                self.shared.set_flooded();
                return self.finish();
            }
            if now_us - saved_us > CHECKPOINT_US {
                self.keep.checkpoint()?;
                self.deliveries.checkpoint()?;
                saved_us = now_us;
            }
            if !more {
                thread::park_timeout(LOOK);
            }
        }
    }

    /// Takes what has come; returns whether more is there.
    fn look(&mut self, revealed: &Receiver<Announced>, now_us: i64) -> Result<bool, DriveError> {
        let (mut outputs, more) = self.read()?;
        let mut stretches = Vec::new();
        let mut taken = Vec::new();
        for index in 0..self.receipts.len() {
            self.broker.take_handed(index, &mut taken);
            stretches.extend(taken.drain(..).map(|stretch| (index, stretch)));
        }
        // After the stretches: deliveries are announced before they are revealed, so those of the stretches are among these.
        self.take_revealed(revealed)?;
        for index in 0..self.receipts.len() {
            self.hand_ahead(index)?;
        }
        stretches.sort_by_key(|(lane, stretch)| (stretch.handed_us, *lane, stretch.round, stretch.from));
        outputs.sort_by(|one, other| (one.arrived_us(), one.place()).cmp(&(other.arrived_us(), other.place())));
        let mut stretches = stretches.into_iter().peekable();
        // Who does not know when a consumer asks hears of a hand-over behind what may have come of it.
        let at_once = !self.broker.knows_who_asks();
        for came in &outputs {
            while let Some((lane, stretch)) =
                stretches.next_if(|(_, stretch)| at_once || stretch.handed_us <= came.arrived_us())
            {
                self.hand(lane, stretch)?;
            }
            match came {
                Came::Event { topic, partition, event } => self.output(topic, *partition, event)?,
                Came::Call(call) => {
                    keep_call(call, &mut self.keep, &self.handed, self.rules, self.shared, self.topics)?;
                }
            }
        }
        for (lane, stretch) in stretches {
            self.hand(lane, stretch)?;
        }
        self.write_receipts()?;
        self.shared.set_outputs(self.keep.count());
        self.follow_commits(now_us);
        Ok(more)
    }

    /// Reads what has been written to the output topics, up to a bound; says whether more is there.
    fn read(&mut self) -> Result<(Vec<Came>, bool), DriveError> {
        let (mut outputs, mut bytes) = (Vec::new(), 0);
        // Ahead of the events, as they are seen at once: what a build wrote behind a call is not read before it.
        while bytes <= LOOK_BYTES
            && let Some(call) = self.calls.take()
        {
            bytes += call.value.len();
            self.bytes += call.value.len() as u64;
            outputs.push(Came::Call(call));
        }
        let topics = self.rules.kafka.iter().flat_map(|kafka| kafka.outputs.keys());
        for topic in topics {
            for partition in 0..self.broker.written_partitions(topic) {
                let cursor = self.cursors.entry((topic.clone(), partition)).or_default();
                loop {
                    if bytes > LOOK_BYTES {
                        return Ok((outputs, true));
                    }
                    let read = self.broker.read(topic, partition, *cursor)?;
                    if !read.more {
                        break;
                    }
                    *cursor = read.next;
                    self.kept.taken_back += read.taken_back;
                    for event in read.events {
                        let size = [&event.key, &event.value].into_iter().flatten().map(Vec::len).sum::<usize>();
                        bytes += size + 64;
                        self.bytes += size as u64;
                        self.shared.note_output(event.arrived_us);
                        outputs.push(Came::Event { topic: topic.clone(), partition, event });
                    }
                }
            }
        }
        Ok((outputs, false))
    }

    fn take_revealed(&mut self, revealed: &Receiver<Announced>) -> Result<(), DriveError> {
        loop {
            let announced = match revealed.try_recv() {
                Ok(announced) => announced,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            };
            for row in announced.rows.clone() {
                let batch = &announced.batch;
                let (delivery, key) = (batch.deliveries[row], batch.keys[row]);
                let marks = batch.marks.get(row).map_or(&[][..], Vec::as_slice);
                let index = self.broker.index(delivery.topic, delivery.partition);
                self.kept.planned += 1;
                let lane = &mut self.receipts[index];
                // Positions of one round only rise.
                lane.round += u32::from(lane.last.is_some_and(|last| delivery.position <= last));
                lane.last = Some(delivery.position);
                let (count, round) = (marks.len() as u8, lane.round);
                let pending = Pending { delivery, key, marks: count, round, revealed_us: announced.at_us };
                let mut pushed = lane.pending.push(pending).and_then(|()| self.order.push(index as u32));
                for mark in marks {
                    pushed = pushed.and_then(|()| lane.marks.push(*mark));
                }
                pushed.map_err(|error| spilled(&self.folder, error))?;
                self.visible.note(&delivery, None, &[], announced.at_us);
            }
        }
    }

    /// Deals with what a consumer was handed.
    fn hand(&mut self, index: usize, stretch: Stretch) -> Result<(), DriveError> {
        self.receipts[index].ahead.push_back(stretch);
        self.hand_ahead(index)
    }

    /// Deals with what consumers were handed of a partition, as far as it is announced.
    fn hand_ahead(&mut self, index: usize) -> Result<(), DriveError> {
        while let Some(stretch) = self.receipts[index].ahead.front().copied() {
            self.hand_announced(index, stretch)?;
            let lane = &mut self.receipts[index];
            if lane.last.is_none_or(|last| (lane.round, last + 1) < (stretch.round, stretch.to)) {
                break;
            }
            lane.ahead.pop_front();
        }
        Ok(())
    }

    fn hand_announced(&mut self, index: usize, stretch: Stretch) -> Result<(), DriveError> {
        let mut sent = 0;
        loop {
            let lane = &mut self.receipts[index];
            let front = lane.pending.front().map_err(|error| spilled(&self.folder, error))?;
            let within = |pending: &&Pending| (pending.round, pending.delivery.position) < (stretch.round, stretch.to);
            let Some(pending) = front.filter(within).copied() else { break };
            let Pending { delivery, key, round, revealed_us, .. } = pending;
            let mut marks = Vec::with_capacity(pending.marks.into());
            // What was skipped, or left behind when the partition was set back, was handed to nobody.
            let handed = round == stretch.round && delivery.position >= stretch.from;
            let sent_us = handed.then(|| self.shared.relative_us(stretch.handed_us));
            let mut moved = lane.pending.pop().and_then(|_| lane.done.push(Done { delivery, sent_us }));
            for _ in 0..pending.marks {
                moved = moved.and_then(|()| lane.marks.pop()).map(|mark| marks.extend(mark));
            }
            moved.map_err(|error| spilled(&self.folder, error))?;
            if handed {
                sent += 1;
                self.kept.redelivered += u64::from(delivery.attempt > 0);
                self.handed.note(&delivery, key, &marks, stretch.handed_us);
                self.time(&delivery, revealed_us, stretch);
            }
        }
        self.kept.sent += sent as u64;
        self.shared.add_sent(sent);
        Ok(())
    }

    /// Notes how late a delivery was through no fault of the build: revealed late, or answered late to somebody who had asked.
    fn time(&mut self, delivery: &Delivery, revealed_us: i64, stretch: Stretch) {
        if !self.paced || delivery.phase == Phase::WarmUp {
            return;
        }
        let due_us = delivery.due_us;
        let relative = |us| self.shared.relative_us(us);
        let answered_late = relative(stretch.handed_us) - due_us.max(relative(stretch.asked_us));
        let late_us = (relative(revealed_us) - due_us).max(answered_late).max(0);
        self.timing.note(due_us, due_us + late_us);
    }

    /// Writes receipts in the order of the plan, as far as they are known.
    fn write_receipts(&mut self) -> Result<(), DriveError> {
        loop {
            let index = self.order.front().map_err(|error| spilled(&self.folder, error))?.copied();
            let Some(index) = index else { return Ok(()) };
            let done = self.receipts[index as usize].done.pop().map_err(|error| spilled(&self.folder, error))?;
            let Some(Done { delivery, sent_us }) = done else { return Ok(()) };
            self.order.pop().map_err(|error| spilled(&self.folder, error))?;
            self.deliveries.append(&delivery, sent_us)?;
        }
    }

    fn output(&mut self, topic: &str, partition: i32, event: &WrittenEvent) -> Result<(), OutcomeError> {
        let arrived_us = self.shared.relative_us(event.arrived_us);
        let arrived_in = phase_at(self.shared, event.arrived_us);
        let header = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| Header {
            name: String::from_utf8_lossy(name).into_owned(),
            value: value.clone(),
        };
        let headers: Vec<Header> = event.headers.iter().map(header).collect();
        let (value, key, topics) = (event.value.as_deref(), event.key.as_deref(), self.topics);
        let by_lineage = self.rules.find_by_lineage(&self.handed, value, &headers);
        let cause = match (by_lineage, key) {
            (Some(found), _) => Some((found, CauseBy::Lineage)),
            (None, key) => key.and_then(|key| self.handed.last_of_key(key)).map(|found| (found, CauseBy::Inferred)),
        };
        self.keep.keep(&OutputRow {
            sequence: 0,
            arrived_us,
            phase: phase_of(cause, arrived_in),
            channel: Channel::Output,
            topic,
            partition,
            timestamp_ms: event.timestamp_ms.filter(|timestamp_ms| self.is_given(*timestamp_ms)),
            key,
            value,
            headers: &headers,
            cause: cause.map(|(found, by)| found.view(topics, by)),
            malformed: None,
        })
    }

    /// Whether somebody gave this timestamp to an output: one of the very time of the drive is that of a clock, the client's or the
    /// brokers', and no two drives have it in common.
    fn is_given(&self, timestamp_ms: i64) -> bool {
        if self.shared.clock_can_have_given(timestamp_ms, SKEW_MS) == Some(true) {
            return false;
        }
        let now_ms = self.clock.date_us() / 1_000;
        !(self.begun_ms - SKEW_MS..=now_ms + SKEW_MS).contains(&timestamp_ms)
    }

    /// Learns every now and then what groups have committed.
    fn follow_commits(&mut self, now_us: i64) {
        if now_us.saturating_sub(self.followed_us) < COMMITS_US && !self.shared.is_closing() {
            return;
        }
        self.followed_us = now_us;
        let commits = self.broker.commits();
        for index in 0..self.broker.count() {
            let spot = self.broker.spot(index);
            if let Some(position) = spot.committed(&commits) {
                self.visible.commit(&spot.topic, spot.partition, position);
            }
        }
        // Who says that it commits has everything ahead of it until it does.
        let commits_here = self.rules.kafka.as_ref().is_some_and(|kafka| kafka.finished == Finished::Committed);
        self.shared.set_lag(if commits_here { Some(self.visible.pending()) } else { self.visible.lag() });
        if self.known.note_commits(commits) {
            self.shared.note_taken(Duration::from_micros(now_us.max(0) as u64));
        }
    }

    fn finish(mut self) -> Result<Kept, DriveError> {
        self.calls.close();
        keep_calls(&mut self.calls, i64::MAX, &mut self.keep, &self.handed, self.rules, self.shared, self.topics)?;
        self.shared.set_outputs(self.keep.count());
        for index in 0..self.receipts.len() {
            let lane = &mut self.receipts[index];
            while let Some(Pending { delivery, .. }) =
                lane.pending.pop().map_err(|error| spilled(&self.folder, error))?
            {
                lane.done.push(Done { delivery, sent_us: None }).map_err(|error| spilled(&self.folder, error))?;
            }
        }
        self.write_receipts()?;
        self.kept.lateness = self.timing.report().filter(|_| self.paced);
        self.kept.committed = self.visible.committed();
        Ok(self.kept)
    }

    fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }
}

fn spilled(folder: &Path, source: io::Error) -> DriveError {
    OutcomeError::Io { path: folder.to_owned(), source }.into()
}

impl Row for Pending {
    const BYTES: usize = Delivery::BYTES + 22;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.delivery.write(bytes);
        bytes.push(u8::from(self.key.is_some()));
        bytes.extend_from_slice(&self.key.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend_from_slice(&self.revealed_us.to_be_bytes());
        bytes.push(self.marks);
    }

    fn read(bytes: &[u8]) -> Self {
        let (delivery, rest) = bytes.split_at(Delivery::BYTES);
        Self {
            delivery: Delivery::read(delivery),
            key: (rest[0] == 1).then(|| word(rest, 1) as u64),
            round: half(rest, 9),
            revealed_us: word(rest, 13),
            marks: rest[21],
        }
    }
}

impl Row for Done {
    const BYTES: usize = Delivery::BYTES + 9;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.delivery.write(bytes);
        bytes.push(u8::from(self.sent_us.is_some()));
        bytes.extend_from_slice(&self.sent_us.unwrap_or(0).to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let (delivery, rest) = bytes.split_at(Delivery::BYTES);
        Self { delivery: Delivery::read(delivery), sent_us: (rest[0] == 1).then(|| word(rest, 1)) }
    }
}

impl Row for Delivery {
    const BYTES: usize = 53;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.due_us.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(&self.faults.to_be_bytes());
        bytes.extend_from_slice(&self.topic.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&self.place.segment.to_be_bytes());
        bytes.extend_from_slice(&self.place.row.to_be_bytes());
        bytes.push(match self.phase {
            Phase::WarmUp => 0,
            Phase::Main => 1,
            Phase::Drain => 2,
        });
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            due_us: word(bytes, 0),
            offset: word(bytes, 8),
            position: word(bytes, 16),
            faults: word(bytes, 24) as u64,
            topic: half(bytes, 32),
            partition: half(bytes, 36) as i32,
            attempt: half(bytes, 40) as i32,
            place: Place { segment: half(bytes, 44), row: half(bytes, 48) },
            phase: match bytes[52] {
                0 => Phase::WarmUp,
                1 => Phase::Main,
                _ => Phase::Drain,
            },
        }
    }
}

fn word(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_comes_back_from_the_file_as_it_went(
            longs in any::<[i64; 5]>(),
            words in any::<[u32; 6]>(),
            key in any::<Option<u64>>(),
            sent_us in any::<Option<i64>>(),
            (phase, marks) in (0..3_u8, any::<u8>()),
        ) {
            let phase = [Phase::WarmUp, Phase::Main, Phase::Drain][usize::from(phase)];
            let delivery = Delivery {
                due_us: longs[0],
                offset: longs[1],
                position: longs[2],
                faults: longs[3] as u64,
                topic: words[0],
                partition: words[1] as i32,
                attempt: words[2] as i32,
                phase,
                place: Place { segment: words[3], row: words[4] },
            };
            let pending = Pending { delivery, key, marks, round: words[5], revealed_us: longs[4] };
            let done = Done { delivery, sent_us };
            let mut bytes = Vec::new();
            pending.write(&mut bytes);
            prop_assert_eq!(bytes.len(), Pending::BYTES);
            let read = Pending::read(&bytes);
            prop_assert_eq!((read.delivery, read.key, read.marks), (delivery, key, marks));
            prop_assert_eq!((read.round, read.revealed_us), (words[5], longs[4]));
            bytes.clear();
            done.write(&mut bytes);
            prop_assert_eq!(bytes.len(), Done::BYTES);
            let read = Done::read(&bytes);
            prop_assert_eq!((read.delivery, read.sent_us), (delivery, sent_us));
        }
    }
}
