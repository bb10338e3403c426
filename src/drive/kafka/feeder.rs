//! Filling planned partitions by the schedule: one thread reads ahead and encodes, another reveals each event when it is due.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use super::super::feed::{Batch, Then, take};
use super::super::shared::Shared;
use super::super::{DeliverySource, DriveError, DriveRules};
use super::broker::{Broker, Spot};
use super::lanes::Lanes;
use super::schedule::{PaceEnd, Schedule};
use crate::drive::process::Stops;
use crate::drive::stage::{Chunk, ChunkBuilder, StageFault};
use crate::plan::{Delivery, Phase, PlanError};
use crate::recording::{Columns, Lookup, Place, Recording, RecordingError};
use crate::settings::Span;

/// Most deliveries that are read ahead together.
const LOOK_AHEAD: usize = 4_096;

/// Bytes that they should come to, which bounds memory where events are large.
const LOAD_BYTES: usize = 4 << 20;

/// Loads that may wait for their time.
pub(super) const LOADS_WAITING: usize = 2;

/// Pause between looks at what is waited for.
const LOOK: Duration = Duration::from_micros(500);

/// How long an unpaced replay waits for consumers that fetch nothing: they may be waiting for another partition.
const PATIENCE: Duration = Duration::from_millis(100);

/// Deliveries with their events, encoded for their partitions.
#[derive(Debug)]
pub(super) struct Load {
    batch: Arc<Batch>,
    /// How often each delivery's partition had been set back by then.
    rounds: Vec<u32>,
    /// Whether each delivery's event is new to its partition's log.
    fresh: Vec<bool>,
    /// By partition, in order of position.
    chunks: Vec<(usize, Chunk)>,
}

/// How far reading ahead has come in one partition.
#[derive(Debug, Default)]
struct Ahead {
    round: u32,
    /// Position of the last delivery.
    last: Option<i64>,
    /// One past the largest position.
    end: Option<i64>,
    builder: ChunkBuilder,
}

impl Ahead {
    /// Takes note of a delivery; whether its event is not in the log yet.
    fn take(&mut self, position: i64) -> bool {
        // Positions of one round only rise.
        self.round += u32::from(self.last.is_some_and(|last| position <= last));
        self.last = Some(position);
        let fresh = self.end.is_none_or(|end| position >= end);
        self.end = self.end.max(Some(position + 1));
        fresh
    }
}

/// Reads ahead of the pace.
pub(super) struct Reader<'a> {
    deliveries: Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + 'a>,
    lookup: Lookup,
    lanes: &'a Lanes<'a>,
    rules: &'a DriveRules,
    shared: &'a Shared,
    ahead: Vec<Ahead>,
    count: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        plan: &'a dyn DeliverySource,
        recording: &Recording,
        lanes: &'a Lanes<'a>,
        rules: &'a DriveRules,
        shared: &'a Shared,
    ) -> Self {
        let lookup = recording.lookup(Columns { key: true, value: true, headers: true });
        let ahead = lanes.all.iter().map(|_| Ahead::default()).collect();
        Self { deliveries: plan.deliveries(), lookup, lanes, rules, shared, ahead, count: LOOK_AHEAD / 16 }
    }

    /// Sends all deliveries of the plan; ends early where nobody takes them. Once the drive is cut short, deliveries still come, so
    /// that their receipts say `never`, but without their events.
    pub(super) fn run(mut self, loads: &SyncSender<Result<Load, DriveError>>) {
        while !self.shared.is_abandoned() {
            let (deliveries, then) = take(&mut *self.deliveries, self.count);
            if !deliveries.is_empty() && loads.send(self.load(deliveries).map_err(DriveError::from)).is_err() {
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

    fn load(&mut self, deliveries: Vec<Delivery>) -> Result<Load, RecordingError> {
        let lane = |delivery: &Delivery| self.lanes.index(delivery.topic, delivery.partition);
        let lanes: Vec<usize> = deliveries.iter().map(lane).collect();
        let (mut rounds, mut fresh) = (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
        for (delivery, lane) in deliveries.iter().zip(&lanes) {
            let ahead = &mut self.ahead[*lane];
            fresh.push(ahead.take(delivery.position));
            rounds.push(ahead.round);
        }
        if self.shared.is_cut() {
            let keys = vec![None; deliveries.len()];
            let batch = Arc::new(Batch { deliveries, keys, marks: Vec::new(), ends: Vec::new() });
            return Ok(Load { batch, rounds, fresh, chunks: Vec::new() });
        }
        let places: Vec<Place> = deliveries.iter().map(|delivery| delivery.place).collect();
        let (mut keys, mut marks) = (Vec::with_capacity(deliveries.len()), Vec::new());
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let Self { lookup, ahead, rules, .. } = self;
        lookup.each(&places, |index, event| {
            keys.push(event.key.map(xxhash_rust::xxh3::xxh3_64));
            if let Some(lineage) = &rules.lineage {
                marks.push(lineage.of_event(event.value, event.headers.iter(), &rules.schemas.now()));
            }
            if !fresh[index] {
                return Ok(());
            }
            let (lane, position, place) = (lanes[index], deliveries[index].position, places[index]);
            let builder = &mut ahead[lane].builder;
            let before = builder.size_bytes();
            if builder.push(position, place, &event) {
                bytes += builder.size_bytes() - before;
                return Ok(());
            }
            chunks.extend(builder.finish().map(|chunk| (lane, chunk)));
            let joined = builder.push(position, place, &event);
            debug_assert!(joined, "an empty chunk takes any event");
            bytes += builder.size_bytes();
            Ok::<(), RecordingError>(())
        })?;
        for (lane, ahead) in self.ahead.iter_mut().enumerate() {
            chunks.extend(ahead.builder.finish().map(|chunk| (lane, chunk)));
        }
        // The next load is sized by this one's events: a thousand of a megabyte must not come all at once.
        let mean = bytes / deliveries.len().max(1) + 1;
        self.count = (LOAD_BYTES / mean).clamp(1, LOOK_AHEAD).min(self.count * 4);
        Ok(Load { batch: Arc::new(Batch { deliveries, keys, marks, ends: Vec::new() }), rounds, fresh, chunks })
    }
}

/// Reveals by an absolute schedule: late is late, no due time moves because an earlier one slipped.
pub(super) struct Pace<'a> {
    pub(super) schedule: Schedule<'a>,
    pub(super) lanes: &'a Lanes<'a>,
    /// Faults at requests, which act while the schedule lasts.
    pub(super) faults: Vec<StageFault>,
    /// Those at processes, likewise.
    pub(super) stops: &'a Stops,
}

/// How far revealing has come.
#[derive(Debug)]
struct State {
    /// By partition: how often it was set back.
    rounds: Vec<u32>,
    warm_up: bool,
    /// Partitions with something new in the group at hand, and how much.
    counts: Vec<u64>,
    touched: Vec<usize>,
    /// Ends of partitions one load ago, of those that it touched.
    ahead: Vec<(usize, i64)>,
}

impl Pace<'_> {
    /// Reveals everything. Deliveries that are not revealed are announced all the same, at a time before all times.
    pub(super) fn run(self, loads: &Receiver<Result<Load, DriveError>>) -> PaceEnd {
        let mut end = self.reveal_all(loads).and_then(|()| self.let_faults_act()).err();
        // From here on nothing is lost or held back any more, so that an ending is the build's own.
        self.rest_faults(true);
        for load in loads {
            match load {
                Ok(load) => self.schedule.announce(&load.batch, 0..load.batch.deliveries.len()),
                Err(error) => end = end.or(Some(PaceEnd::Failed(error))),
            }
        }
        self.schedule.shared.end_input(self.schedule.clock.now());
        end.unwrap_or(PaceEnd::Complete)
    }

    fn reveal_all(&self, loads: &Receiver<Result<Load, DriveError>>) -> Result<(), PaceEnd> {
        while self.lanes.unasked().next().is_some() {
            self.schedule.go_on()?;
            thread::park_timeout(LOOK);
        }
        self.schedule.shared.set_ready();
        let lanes = self.lanes.all.len();
        let mut state = State {
            rounds: vec![0; lanes],
            warm_up: false,
            counts: vec![0; lanes],
            touched: Vec::new(),
            ahead: Vec::new(),
        };
        for load in loads {
            let load = load.map_err(PaceEnd::Failed)?;
            let touched: Vec<usize> = load.chunks.iter().map(|(lane, _)| *lane).collect();
            for (lane, chunk) in &load.chunks {
                self.lanes.all[*lane].planned.stock(chunk.clone()).map_err(|error| PaceEnd::Failed(error.into()))?;
            }
            let mut row = 0;
            while row < load.batch.deliveries.len() {
                if let Err(end) = self.reveal_group(&load, &mut row, &mut state) {
                    self.schedule.announce(&load.batch, row..load.batch.deliveries.len());
                    return Err(end);
                }
            }
            if !self.schedule.paced || state.warm_up && !self.schedule.shared.has_started() {
                self.let_them_come(&mut state, &touched)?;
            }
        }
        self.start(state.warm_up)
    }

    /// Starts the schedule, where it has not started yet, and with it the faults at requests.
    fn start(&self, any: bool) -> Result<(), PaceEnd> {
        let started = self.schedule.start(any)?;
        if started.is_some() {
            self.stops.act();
        }
        match started {
            Some(now) if !self.faults.is_empty() => {
                let faults = self.faults.clone();
                self.lanes.stage.arm(faults, now).map_err(|error| PaceEnd::Failed(error.into()))
            }
            _ => Ok(()),
        }
    }

    fn rest_faults(&self, resting: bool) {
        if resting {
            self.stops.rest();
        } else {
            self.stops.act();
        }
        if !self.faults.is_empty() {
            self.lanes.stage.rest_faults(resting);
        }
    }

    /// Unpaced, everything is visible long before builds have dealt with it: faults go on until builds have been quiet for a while.
    fn let_faults_act(&self) -> Result<(), PaceEnd> {
        if self.schedule.paced || self.faults.is_empty() && !self.stops.any() {
            return Ok(());
        }
        let (mut from_us, settle_us) = (self.schedule.now_us(), self.schedule.rules.settle.as_micros() as i64);
        loop {
            let now_us = self.schedule.now_us();
            let progress_us = self.schedule.shared.progress_us();
            if self.stops.act_still(now_us, progress_us, self.schedule.rules.drain_timeout) {
                // Whoever was ended or stopped gets the time to come back.
                from_us = now_us;
            } else if now_us - progress_us.max(from_us) >= settle_us || now_us - from_us >= self.schedule.drain_us() {
                return Ok(());
            }
            self.schedule.go_on()?;
            thread::park_timeout(LOOK * 2);
        }
    }

    /// Reveals the deliveries from `row` on that are due together.
    fn reveal_group(&self, load: &Load, row: &mut usize, state: &mut State) -> Result<(), PaceEnd> {
        self.schedule.go_on()?;
        let Load { batch, rounds, fresh, .. } = load;
        let deliveries = &batch.deliveries;
        let first = &deliveries[*row];
        let warm_up = first.phase == Phase::WarmUp;
        if warm_up {
            state.warm_up = true;
        } else {
            self.start(state.warm_up)?;
        }
        let until_us = if warm_up || !self.schedule.paced { i64::MAX } else { self.schedule.due(first.due_us)? };
        let lane = self.lanes.index(first.topic, first.partition);
        let set_back = rounds[*row] > state.rounds[lane];
        state.rounds[lane] = rounds[*row];
        let from = *row;
        while let Some(delivery) = deliveries.get(*row) {
            let together = (delivery.phase == Phase::WarmUp) == warm_up && (warm_up || delivery.due_us <= until_us);
            let lane = self.lanes.index(delivery.topic, delivery.partition);
            if !together || rounds[*row] > state.rounds[lane] {
                break;
            }
            // What is handed over again is visible already.
            if fresh[*row] {
                if state.counts[lane] == 0 {
                    state.touched.push(lane);
                }
                state.counts[lane] += 1;
            }
            *row += 1;
        }
        // Ahead of what lets consumers have it.
        self.schedule.announce(batch, from..*row);
        if set_back {
            self.set_back(lane, first.position)?;
        }
        for lane in state.touched.drain(..) {
            let asked = std::mem::take(&mut state.counts[lane]);
            self.lanes.all[lane].planned.reveal(asked);
        }
        Ok(())
    }

    /// Has everything up to here be dealt with and committed, sets the groups of a partition back to `position`, and waits until
    /// somebody comes back for it: what is handed over again is then exactly what is planned. Faults at requests rest meanwhile.
    fn set_back(&self, lane: usize, position: i64) -> Result<(), PaceEnd> {
        self.rest_faults(true);
        self.set_back_at_rest(lane, position)?;
        self.rest_faults(false);
        Ok(())
    }

    fn set_back_at_rest(&self, lane: usize, position: i64) -> Result<(), PaceEnd> {
        let Spot { topic, partition, .. } = &self.lanes.all[lane].spot;
        self.wait_for(
            || self.lanes.stage.open_transactions() == 0 && self.schedule.broker.all_committed(),
            || format!("did not commit what it was handed before topic `{topic}` partition {partition} was set back"),
        )?;
        self.lanes.all[lane].planned.set_back(position);
        let alone = self.lanes.stage.set_back(topic, *partition, position);
        self.wait_for(
            || !self.lanes.all[lane].planned.is_awaited(),
            || {
                let why = if alone.is_empty() {
                    String::new()
                } else {
                    format!(" (nobody is a member of its group {}: such a consumer cannot be told)", alone.join(", "))
                };
                format!("did not come back for position {position} of topic `{topic}` partition {partition}{why}")
            },
        )
    }

    /// Waits until something holds, as long as the build shows signs of life.
    fn wait_for(&self, holds: impl Fn() -> bool, what: impl Fn() -> String) -> Result<(), PaceEnd> {
        let from_us = self.schedule.now_us();
        while !holds() {
            self.schedule.go_on()?;
            if self.schedule.now_us() - from_us.max(self.schedule.shared.progress_us()) > self.schedule.drain_us() {
                return Err(PaceEnd::Stuck(format!(
                    "{} for {} (`drain-timeout`)",
                    what(),
                    Span(self.schedule.rules.drain_timeout)
                )));
            }
            thread::park_timeout(LOOK * 2);
        }
        Ok(())
    }

    /// Unpaced, consumers are not left behind further than two loads: what they read is then still in memory. Those that fetch
    /// nothing are not waited for.
    fn let_them_come(&self, state: &mut State, touched: &[usize]) -> Result<(), PaceEnd> {
        let all = &self.lanes.all;
        let waited = std::mem::take(&mut state.ahead);
        let mut missing: Vec<(usize, i64)> = waited;
        let mut since = self.schedule.clock.now();
        loop {
            let before = missing.len();
            missing.retain(|(lane, end)| all[*lane].planned.asked() < Some(*end));
            if missing.len() < before {
                since = self.schedule.clock.now();
            }
            if missing.is_empty() || self.schedule.clock.now().saturating_sub(since) > PATIENCE {
                break;
            }
            self.schedule.go_on()?;
            thread::park_timeout(LOOK / 5);
        }
        state.ahead = touched.iter().map(|lane| (*lane, all[*lane].planned.end())).collect();
        Ok(())
    }
}
