//! One drive of a build that reads and writes Kafka, on a real cluster.
//!
//! The drive has topics and a group of its own there, whose names nothing else has; the build is told them. The plan is produced on
//! schedule, each event to its recorded partition, and what the build writes is read as it comes. All of it is removed afterwards,
//! however the drive ends. What never happens here: anything is produced to the cluster that the recording came from.
//!
//! # What is known, and what is not
//!
//! Positions are the brokers' own: they begin at zero in every partition and have no gaps. A delivery is handed over when the brokers
//! have acknowledged it, and late by as much as that is behind its due time; when a consumer reads it only shows in what its group
//! commits. Timestamps are the recorded ones and always of the type `CreateTime`, as a producer sets them. Aborted transactions of a
//! build are not seen, nor is what it writes to topics other than its outputs.

mod acks;
mod board;
mod error;
mod feeder;
mod group;
mod link;
mod lodging;
mod outputs;
mod settings;
mod standing;

pub use error::ClusterError;
pub use settings::{ClusterRules, PropertySettings};

pub(super) use settings::{check_faults, said};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rdkafka::producer::{Producer, PurgeConfig};

use acks::Acks;
use board::{Board, Inputs};
use feeder::{LOADS_WAITING, Pace, Reader, producer};
use group::Group;
use link::Link;
use lodging::{Leftover, Lodging, Names, Room, leftovers};
use outputs::Outputs;

use super::kafka::{Between, Broker, Desk, KafkaRules, PaceEnd, Schedule, Spot, configuration, connect};
use super::placeholders::Address;
use super::shared::Shared;
use super::stubs::Outside;
use super::world::World;
use super::{DriveError, DriveRules, Job, Progress};
use crate::clock::{Clock, Stop, SystemClock};
use crate::kafka::Writer;
use crate::outcome::Outcome;
use crate::recording::Recording;

/// Longest wait for word of the brokers before looking whether the drive goes on.
const POLL: Duration = Duration::from_millis(20);

/// A setting of a topic in production that its events may need.
const SIZE_MAX: &str = "max.message.bytes";

/// Drives one build on a cluster and keeps what it did.
pub(super) fn drive(
    job: &Job<'_>,
    kafka: &KafkaRules,
    rules: &ClusterRules,
    world: &mut World,
    outside: Outside,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    let stopped = || DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() };
    let failed = |error| match error {
        ClusterError::Stopped { .. } => stopped(),
        error => error.into(),
    };
    if stop.raised() {
        return Err(stopped());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start_spinning(job.rules.spin));
    let link = Link::connect(rules, job.recording, job.rules.ready_timeout, &*clock, stop).map_err(failed)?;
    if let Some(isolation) = world.isolation() {
        for place in link.places().map_err(failed)? {
            isolation.lead_to(&place)?;
        }
    }
    let inputs = Inputs::of(job.plan, job.recording)?;
    let names = Names::of(job.name, &*clock);
    let lodging = Lodging::make(&link, names.clone(), &rooms(&inputs, job.recording, kafka)).map_err(failed)?;
    let group = Group::at_the_begin(&link, &names, &inputs).map_err(failed)?;
    let acks = Acks::new(inputs.spots.clone(), &rules.properties, Arc::clone(&clock));
    let producer = producer(&link, acks, job.plan.paced()).map_err(failed)?;
    let acks: &Acks = producer.context();
    let board = Board::new(&inputs, &kafka.outputs, acks);
    let shared =
        Shared::new(clock.now(), job.rules.timeout).with_flags(world.flags()).with_wall_clock(world.wall_clock());
    connect(world, address(rules, &names, &inputs, kafka), job, kafka);
    let desk = Desk::open(job, outside, stop)?;
    let stops = desk.stops();
    let between = Between { broker: &board, world, ready: job.rules.ready.as_ref() };
    let (board, shared, clock, link, names, producer) = (&board, &shared, &*clock, &link, &names, &producer);
    thread::scope(|scope| {
        let _ending = Ending(board);
        scope.spawn(move || {
            while !board.is_over() {
                // Where the thread that produces listens itself, this one would take the word from it.
                if acks.is_producing() {
                    thread::park_timeout(POLL);
                } else {
                    acks.listen(producer.client(), POLL);
                }
            }
        });
        scope.spawn(move || group.follow(board, shared, job.rules, clock));
        scope.spawn(move || match Outputs::begin(link, names, &kafka.outputs, board, shared, clock) {
            Ok(outputs) => outputs.gather(job.rules),
            Err(error) => board.fail(error),
        });
        let pace = |revealed| {
            let (broker, paced): (&dyn Broker, _) = (board, job.plan.paced());
            let schedule = Schedule { rules: job.rules, paced, broker, shared, clock, revealed };
            let (used, used_loads) = sync_channel(LOADS_WAITING);
            let reader = Reader::new(job.plan, job.recording, board, job.rules, shared, used_loads);
            let topics: Vec<String> = board.inputs.spots.iter().map(|spot| names.topic(&spot.topic)).collect();
            let client = producer.client();
            let writer = match Writer::new(client, topics.iter().map(String::as_str)) {
                Ok(writer) => writer,
                Err(reason) => return PaceEnd::Failed(link.no_answer("a topic", &reason).into()),
            };
            let pace = Pace { schedule, board, link, client, acks, stops: &stops, writer, used, sent: 0 };
            thread::scope(|scope| {
                let (load_sender, loads) = sync_channel(LOADS_WAITING);
                scope.spawn(move || reader.run(&load_sender));
                pace.run(&loads)
            })
        };
        let afterwards = || {
            board.end();
            // What still waits for its way must not make the topics again.
            producer.purge(PurgeConfig::default().queue().inflight());
            lodging.leave(job.rules.drain_timeout)
        };
        desk.drive(job, kafka, &between, shared, clock, stop, progress, pace, afterwards)
    })
}

/// Ends the threads of a drive, also where it panics.
struct Ending<'b, 'a>(&'b Board<'a>);

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The topics that a drive needs: its inputs with production's partitions, its outputs with those of the scenario.
fn rooms(inputs: &Inputs, recording: &Recording, kafka: &KafkaRules) -> Vec<Room> {
    let of_input = |(topic, partitions): (&str, i32)| {
        // A bound that was raised in production has to be raised here, too; all else is the brokers' default.
        let size_max = configuration(recording, topic).remove(SIZE_MAX).map(|bytes| (SIZE_MAX, bytes));
        Room { topic: topic.to_owned(), partitions, configuration: size_max.into_iter().collect() }
    };
    let outputs = kafka.outputs.iter();
    let of_output = |(topic, partitions): (&String, &i32)| {
        let size_max = configuration(recording, topic).remove(SIZE_MAX).map(|bytes| (SIZE_MAX, bytes));
        Room { topic: topic.clone(), partitions: *partitions, configuration: size_max.into_iter().collect() }
    };
    inputs.topics().map(of_input).chain(outputs.map(of_output)).collect()
}

fn address(rules: &ClusterRules, names: &Names, inputs: &Inputs, kafka: &KafkaRules) -> Address {
    let all = inputs.spots.iter().map(|Spot { topic, .. }| topic).chain(kafka.outputs.keys());
    let topics: BTreeMap<String, String> = all.map(|topic| (topic.clone(), names.topic(topic))).collect();
    Address { brokers: rules.brokers.clone(), group: names.group().to_owned(), topics }
}

/// What a drive that is no longer there left on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// How all of it begins, such as `rehearsal-20260105093000-1a2b3c4d`.
    pub drive: String,
    /// Topics, in order.
    pub topics: Vec<String>,
    /// Groups, in order.
    pub groups: Vec<String>,
}

/// Looks at the cluster that drives by `rules` would take place on, before anything is made there: refuses the one that `recording`
/// came from, and returns what drives that were killed left there. Over anything but a cluster there is nothing to look at.
///
/// # Errors
///
/// [`DriveError::Cluster`], also where `stop` is raised meanwhile.
pub fn look_around(rules: &DriveRules, recording: &Recording, stop: &Stop) -> Result<Vec<LeftBehind>, DriveError> {
    let Some(cluster) = rules.kafka.as_ref().and_then(|kafka| kafka.cluster.as_ref()) else { return Ok(Vec::new()) };
    let _heeding = stop.heed();
    let clock = SystemClock::start();
    let link = Link::connect(cluster, recording, rules.ready_timeout, &clock, stop)?;
    let left = |(drive, left): (String, Leftover)| {
        let Leftover { topics, groups } = left;
        LeftBehind { drive, topics: topics.into_iter().collect(), groups: groups.into_iter().collect() }
    };
    Ok(leftovers(&link)?.into_iter().map(left).collect())
}

/// Removes what drives that were killed left on the cluster of `rules`: of `drive` alone, as [`LeftBehind::drive`] names it, or of all
/// whose groups have no members. Returns what was removed.
///
/// # Errors
///
/// As [`look_around`], and [`ClusterError::NotRemoved`] for the first that the cluster keeps.
pub fn sweep(
    rules: &DriveRules,
    recording: &Recording,
    drive: Option<&str>,
    stop: &Stop,
) -> Result<Vec<LeftBehind>, DriveError> {
    let mut found = look_around(rules, recording, stop)?;
    found.retain(|left| drive.is_none_or(|drive| left.drive == drive));
    let Some(cluster) = rules.kafka.as_ref().and_then(|kafka| kafka.cluster.as_ref()) else { return Ok(found) };
    let clock = SystemClock::start();
    let link = Link::connect(cluster, recording, rules.ready_timeout, &clock, stop)?;
    for left in &found {
        lodging::remove(&link, &left.topics, &left.groups)?;
    }
    Ok(found)
}
