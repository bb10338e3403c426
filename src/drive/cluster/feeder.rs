//! Producing a plan by its schedule: one thread reads ahead, another hands each event to the producer when it is due.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseProducer;

use super::acks::Acks;
use super::board::Board;
use super::error::ClusterError;
use super::link::{Link, config};
use crate::drive::feed::{Batch, Then, take};
use crate::drive::kafka::{PaceEnd, Schedule, Spot};
use crate::drive::process::Stops;
use crate::drive::shared::Shared;
use crate::drive::{DeliverySource, DriveError, DriveRules};
use crate::kafka::{Outgoing, Writer};
use crate::plan::{Delivery, Phase, PlanError};
use crate::recording::{Columns, EventView, Lookup, Place, Recording, RecordingError};
use crate::settings::Span;

/// Most deliveries that are read ahead together.
const LOOK_AHEAD: usize = 4_096;

/// Bytes that they should come to, which bounds memory where events are large.
const LOAD_BYTES: usize = 4 << 20;

/// Loads that may wait for their time.
pub(super) const LOADS_WAITING: usize = 4;

/// Pause between looks at what is waited for.
const LOOK: Duration = Duration::from_micros(200);

/// Longest wait for word of the brokers where nothing else can be done.
const LISTEN: Duration = Duration::from_millis(1);

/// Events that are produced between two looks at what the brokers say, where the same thread does both.
const UNHEARD: u64 = 256;

/// Events that may wait in the producer, where they come unpaced so many for each partition within these bounds: five requests of ten
/// thousand are on their way to a broker at once, and while others wait, librdkafka asks without a pause whether they may follow.
const QUEUED: (usize, usize) = (50_000, 200_000);
const QUEUED_OF_PARTITION: usize = 10_000;

/// Milliseconds between the producer's statistics, one for each partition within these bounds: they tell of all of them.
const STATISTICS_MS: (usize, usize) = (100, 5_000);

/// Deliveries with their events.
#[derive(Debug)]
pub(super) struct Load {
    batch: Arc<Batch>,
    /// Keys, values and values of headers, one behind the other.
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

/// Where the parts of one event stand.
#[derive(Debug)]
struct Row {
    lane: usize,
    timestamp_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(String, Option<Range<usize>>)>,
}

/// How far reading ahead has come in one partition.
#[derive(Debug, Clone, Copy, Default)]
struct Ahead {
    /// Where the next event will stand on the cluster.
    next: i64,
    /// Position of the last delivery in the plan.
    last: Option<i64>,
}

/// Reads ahead of the pace.
pub(super) struct Reader<'a> {
    deliveries: Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + 'a>,
    lookup: Lookup,
    board: &'a Board<'a>,
    rules: &'a DriveRules,
    shared: &'a Shared,
    ahead: Vec<Ahead>,
    count: usize,
    used: Receiver<Memory>,
}

/// Memory of a load that was produced. It is used again: fresh pages would cost more than what is written into them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        plan: &'a dyn DeliverySource,
        recording: &Recording,
        board: &'a Board<'a>,
        rules: &'a DriveRules,
        shared: &'a Shared,
        used: Receiver<Memory>,
    ) -> Self {
        let lookup = recording.lookup(Columns { key: true, value: true, headers: true });
        let ahead = vec![Ahead::default(); board.inputs.spots.len()];
        Self { deliveries: plan.deliveries(), lookup, board, rules, shared, ahead, count: LOOK_AHEAD / 16, used }
    }

    /// Sends all deliveries of the plan, at the positions that they will have on the cluster; ends early where nobody takes them.
    /// Once the drive is cut short, deliveries still come, so that their receipts say `never`, but without their events.
    pub(super) fn run(mut self, loads: &SyncSender<Result<Load, DriveError>>) {
        while !self.shared.is_abandoned() {
            let (deliveries, then) = take(&mut *self.deliveries, self.count);
            if !deliveries.is_empty() && loads.send(self.load(deliveries)).is_err() {
                return;
            }
            match then {
                Then::More => {}
                Then::End => return,
                Then::Failed(error) => {
                    // Nobody listens only where the drive has failed already.
                    let _ = loads.send(Err(error));
                    return;
                }
            }
        }
    }

    fn load(&mut self, mut deliveries: Vec<Delivery>) -> Result<Load, DriveError> {
        let mut lanes = Vec::with_capacity(deliveries.len());
        for delivery in &mut deliveries {
            let lane = self.board.inputs.index(delivery.topic, delivery.partition);
            let ahead = &mut self.ahead[lane];
            if ahead.last.replace(delivery.position).is_some_and(|last| delivery.position <= last) {
                let Spot { topic, partition, .. } = self.board.inputs.spots[lane].clone();
                return Err(ClusterError::SetBack { topic, partition }.into());
            }
            // A log of the cluster's own has neither the recorded begin nor recorded gaps.
            delivery.position = ahead.next;
            ahead.next += 1;
            lanes.push(lane);
        }
        let (mut keys, mut marks) = (Vec::with_capacity(deliveries.len()), Vec::new());
        let Memory { mut bytes, mut rows } = self.used.try_recv().unwrap_or_default();
        if self.shared.is_cut() {
            keys.resize(deliveries.len(), None);
            let batch = Arc::new(Batch { deliveries, keys, marks, ends: Vec::new() });
            return Ok(Load { batch, bytes, rows });
        }
        let places: Vec<Place> = deliveries.iter().map(|delivery| delivery.place).collect();
        let rules = self.rules;
        self.lookup.each(&places, |index, event| {
            keys.push(event.key.map(xxhash_rust::xxh3::xxh3_64));
            if let Some(lineage) = &rules.lineage {
                marks.push(lineage.of_event(event.value, event.headers.iter(), &rules.schemas.now()));
            }
            rows.push(Row::of(lanes[index], &event, &mut bytes));
            Ok::<(), RecordingError>(())
        })?;
        // The next load is sized by this one's events: a thousand of a megabyte must not come all at once.
        let mean = bytes.len() / deliveries.len().max(1) + 1;
        self.count = (LOAD_BYTES / mean).clamp(1, LOOK_AHEAD).min(self.count * 4);
        let batch = Arc::new(Batch { deliveries, keys, marks, ends: Vec::new() });
        Ok(Load { batch, bytes, rows })
    }
}

impl Row {
    fn of(lane: usize, event: &EventView<'_>, bytes: &mut Vec<u8>) -> Self {
        let mut put = |part: Option<&[u8]>| {
            let from = bytes.len();
            bytes.extend_from_slice(part?);
            Some(from..bytes.len())
        };
        Self {
            lane,
            timestamp_ms: event.timestamp_ms,
            key: put(event.key),
            value: put(event.value),
            headers: event.headers.iter().map(|(name, value)| (name.to_owned(), put(value))).collect(),
        }
    }
}

/// Makes the producer: each event once and in order, and no more of them waiting than a bound.
pub(super) fn producer(link: &Link<'_>, acks: Acks, paced: bool) -> Result<BaseProducer<Acks>, ClusterError> {
    let mut config = config(link.rules);
    let said = |name: &str| link.rules.properties.iter().any(|(other, _)| other == name);
    // What is due is due: only a plan that waits for nothing lets events wait for each other.
    let linger = if paced { "0" } else { "20" };
    let partitions = acks.partitions();
    let (least, most) = QUEUED;
    let queued = if paced { most } else { (partitions * QUEUED_OF_PARTITION).clamp(least, most) }.to_string();
    for (name, value) in [
        ("queue.buffering.max.ms", linger),
        ("queue.buffering.max.kbytes", "131072"),
        ("queue.buffering.max.messages", &queued),
        ("message.max.bytes", "100000000"),
    ] {
        if !said(name) {
            config.set(name, value);
        }
    }
    config.set("enable.idempotence", "true");
    let (least, most) = STATISTICS_MS;
    config.set("statistics.interval.ms", partitions.clamp(least, most).to_string());
    config.create_with_context(acks).map_err(|error| link.rules.properties.refused(error).into())
}

/// Produces by an absolute schedule. A plan that waits for nothing leaves no time for word of the brokers to be late: this thread listens
/// to them itself then.
pub(super) struct Pace<'a> {
    pub(super) schedule: Schedule<'a>,
    pub(super) board: &'a Board<'a>,
    pub(super) link: &'a Link<'a>,
    pub(super) client: &'a Client<Acks>,
    pub(super) acks: &'a Acks,
    /// Faults at processes, which act while the schedule lasts.
    pub(super) stops: &'a Stops,
    /// Knows the topics on the cluster by the indexes of the plan's partitions.
    pub(super) writer: Writer<'a, Acks>,
    pub(super) used: SyncSender<Memory>,
    /// Events handed to the producer.
    pub(super) sent: u64,
}

impl Pace<'_> {
    /// Produces everything and waits until the brokers have it. Deliveries that are not produced are announced all the same.
    pub(super) fn run(mut self, loads: &Receiver<Result<Load, DriveError>>) -> PaceEnd {
        self.acks.set_producing(self.listens());
        let mut end = self.produce_all(loads).err();
        self.acks.set_producing(false);
        for load in loads {
            match load {
                Ok(load) => self.schedule.announce(&load.batch, 0..load.batch.deliveries.len()),
                Err(error) => end = end.or(Some(PaceEnd::Failed(error))),
            }
        }
        self.schedule.shared.end_input(self.schedule.clock.now());
        end.unwrap_or(PaceEnd::Complete)
    }

    fn produce_all(&mut self, loads: &Receiver<Result<Load, DriveError>>) -> Result<(), PaceEnd> {
        self.wait_for_producer()?;
        while !self.schedule.shared.is_ready() {
            self.schedule.go_on()?;
            thread::park_timeout(LOOK);
        }
        let mut warm_up = false;
        while let Some(load) = self.next(loads) {
            let mut load = load.map_err(PaceEnd::Failed)?;
            let mut row = 0;
            while row < load.batch.deliveries.len() {
                if let Err(end) = self.produce_group(&load, &mut row, &mut warm_up) {
                    self.schedule.announce(&load.batch, row..load.batch.deliveries.len());
                    return Err(end);
                }
            }
            load.bytes.clear();
            load.rows.clear();
            // Where it is not wanted back it is simply freed.
            let _ = self.used.try_send(Memory { bytes: load.bytes, rows: load.rows });
        }
        self.wait_for_acks()?;
        self.start(warm_up)
    }

    /// Starts the schedule, and with it the faults at processes.
    fn start(&self, any: bool) -> Result<(), PaceEnd> {
        if self.schedule.start(any)?.is_some() {
            self.stops.act();
        }
        Ok(())
    }

    /// Waits until the producer stands: how long that takes is no lateness of an event.
    fn wait_for_producer(&self) -> Result<(), PaceEnd> {
        let (clock, timeout) = (self.schedule.clock, self.schedule.rules.ready_timeout);
        let until = clock.now().saturating_add(timeout);
        while !self.acks.is_standing() {
            self.go_on()?;
            if clock.now() > until {
                let silence = || format!("there was none within {} (`ready-timeout`)", Span(timeout));
                let reason = self.acks.heard().unwrap_or_else(silence);
                return Err(PaceEnd::Failed(self.link.no_answer("an id of the producer", &reason).into()));
            }
            self.pause();
        }
        Ok(())
    }

    /// Whether this thread listens to the brokers.
    fn listens(&self) -> bool {
        !self.schedule.paced
    }

    /// The next load, as soon as it is there; none at the end.
    fn next(&self, loads: &Receiver<Result<Load, DriveError>>) -> Option<Result<Load, DriveError>> {
        if !self.listens() {
            return loads.recv().ok();
        }
        loop {
            self.listen();
            match loads.recv_timeout(LOOK) {
                Ok(load) => return Some(load),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Takes note of all that the brokers have said.
    fn listen(&self) {
        while self.acks.listen(self.client, Duration::ZERO) {}
    }

    /// Lets a little time pass, or less where there is word of the brokers.
    fn pause(&self) {
        if self.listens() {
            self.acks.listen(self.client, LISTEN);
        } else {
            thread::park_timeout(LOOK);
        }
    }

    /// Produces the deliveries from `row` on that are due together.
    fn produce_group(&mut self, load: &Load, row: &mut usize, any_warm_up: &mut bool) -> Result<(), PaceEnd> {
        self.go_on()?;
        let deliveries = &load.batch.deliveries;
        let first = &deliveries[*row];
        let warm_up = first.phase == Phase::WarmUp;
        if warm_up {
            *any_warm_up = true;
        } else if !self.schedule.shared.has_started() {
            self.wait_for_acks()?;
            self.start(*any_warm_up)?;
        }
        let until_us = if warm_up || !self.schedule.paced { i64::MAX } else { self.schedule.due(first.due_us)? };
        let together = |delivery: &&Delivery| {
            (delivery.phase == Phase::WarmUp) == warm_up && (warm_up || delivery.due_us <= until_us)
        };
        let from = *row;
        *row += deliveries[from..].iter().take_while(together).count();
        // Ahead of what lets consumers have it.
        self.schedule.announce(&load.batch, from..*row);
        // Those that are cut off cannot be told apart from those that wait in the producer: they have receipts that say `never`.
        for (delivery, event) in deliveries[from..*row].iter().zip(&load.rows[from..*row]) {
            self.produce(delivery, event, &load.bytes)?;
        }
        Ok(())
    }

    fn produce(&mut self, delivery: &Delivery, row: &Row, bytes: &[u8]) -> Result<(), PaceEnd> {
        let spot = &self.board.inputs.spots[row.lane];
        let refuse = |reason: String| {
            let (topic, reason) = (spot.topic.clone(), self.link.scrub(&reason));
            let (partition, offset) = (spot.partition, delivery.offset);
            PaceEnd::Failed(ClusterError::Event { topic, partition, offset, reason }.into())
        };
        let timestamp = match row.timestamp_ms {
            // The client takes zero for "now".
            Some(0) => return Err(refuse("a producer cannot set the time 1970-01-01T00:00:00Z".to_owned())),
            // Kafka's way to write that there is none.
            None => -1,
            Some(ms) => ms,
        };
        let part = |range: &Option<Range<usize>>| range.clone().map(|range| &bytes[range]);
        let (key, value) = (part(&row.key), part(&row.value));
        let event = Outgoing { partition: spot.partition, timestamp_ms: timestamp, key, value, mark: row.lane };
        loop {
            let headers = row.headers.iter().map(|(name, value)| (name.as_str(), part(value)));
            match self.writer.send(row.lane, &event, headers) {
                Ok(()) => {
                    self.sent += 1;
                    if self.sent.is_multiple_of(UNHEARD) && self.listens() {
                        self.listen();
                    }
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull) => {
                    self.go_on()?;
                    self.pause();
                }
                Err(error) => return Err(refuse(KafkaError::MessageProduction(error).to_string())),
            }
        }
    }

    /// Waits until the brokers have everything that was produced.
    fn wait_for_acks(&self) -> Result<(), PaceEnd> {
        while self.acks.taken() < self.sent {
            self.go_on()?;
            self.pause();
        }
        Ok(())
    }

    /// Whether the drive goes on and the brokers take what is produced; what they did not take is told by whoever watches.
    fn go_on(&self) -> Result<(), PaceEnd> {
        if self.acks.has_failed() {
            let failure = self.acks.take_failure();
            return Err(failure.map_or(PaceEnd::Cut, |error| PaceEnd::Failed(error.into())));
        }
        self.schedule.go_on()
    }
}
