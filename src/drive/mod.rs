//! Plan and build to outcome: processes, pipes, pace.
//!
//! In come a plan, a recording and a [`Build`]; the build's process is started, each delivery is written to its standard input
//! when it is due, and what it writes to standard output is kept as an [`Outcome`]. What never happens here: two drives share
//! anything that can block; a build outlives its drive; a wait has no bound.
//!
//! # Lines
//!
//! With the payload `envelope` a delivery is one JSON object a line:
//! `{"topic","partition","offset","timestamp_ms","key","value","headers":[[name,text]]}`, `offset` being the position in the
//! replayed log. A value that is no JSON comes as `value_base64`, a key that is no UTF-8 as `key_base64`, a header's value that is
//! no UTF-8 as `{"base64": …}`. JSON's own `null` as a value comes as `value_base64` too: `"value":null` is a tombstone.
//!
//! An output has the same keys, of which only `value` is required, and may name its `cause` (`{"topic","partition","offset"}`, and
//! `attempt` where it knows). An output without a cause that carries `topic`, `partition` and `offset` of a delivery, as a filter
//! writes that passes its input on, has that delivery as its cause; else the last delivery of the same key, marked as inferred.
//! `{"commit":{"topic","partition","offset"}}` names the next position wanted. Any other line is kept as bytes, `malformed`.
//!
//! With the payload `value` a line is a value, both ways. Line breaks of a JSON value become blanks in both payloads.
//!
//! # Endings
//!
//! `finished`: everything was taken, end of input was reached, exit code 0. `died`: another exit code, a signal, or an exit
//! before all input was taken. `stopped-reading`: input waited for longer than `drain-timeout` without a sign of life, or standard
//! input was closed. `timed-out`: `timeout`, `ready-timeout` or `output-bytes-max` passed, or nothing came for `drain-timeout`
//! after the end of input.
//!
//! However a drive ends, everything that its build started ends with it. On Linux a drive has processes of its own where the system
//! grants that ([`IsolationRules`]), and the system itself ends them all. Elsewhere on Linux it reaches beyond the process group: a build has
//! the variable `REHEARSAL_DRIVE` in its environment, and whatever carries the same text, descends from what does, or holds the
//! build's standard output or error is ended, too. A process that gave up all three, or that belongs to another user, is not found;
//! nor is, elsewhere than on Linux, what left the process group. Where Rehearsal itself is killed, nobody ends its builds: they see
//! the end of their input.

mod build;
mod called;
mod cluster;
mod complaints;
mod feed;
mod figures;
mod flags;
mod http;
mod isolation;
mod kafka;
mod keep;
mod known;
mod leash;
mod ledger;
mod line;
mod lineage;
mod listen;
mod living;
mod making;
mod memory;
mod pace;
mod pipe;
mod placeholders;
mod process;
mod reply;
mod settings;
mod shared;
mod sink;
mod spin;
pub mod stage;
mod stdio;
mod stubs;
mod unsaid;
mod wall_clock;
mod world;

pub use crate::settings::Flag;
pub use build::{Build, BuildSettings, Stands};
pub use cluster::{ClusterError, ClusterRules, LeftBehind, PropertySettings, look_around, sweep};
pub use flags::check_flag_changes;
pub use http::HttpRules;
pub use isolation::{IsolationError, IsolationMode, IsolationRules, Place, launch_by, launch_if_asked};
pub use kafka::{Finished, KafkaRules, TopicSettings};
pub use known::KnownSchemas;
pub use lineage::{Lineage, LineageSettings};
pub use living::end_all_builds;
pub use making::{MakeError, Making, make};
pub use placeholders::Offers;
pub use process::check_instances;
pub use settings::{DriveRules, DriveSettings, Payload, Percent, ReadySettings, Transport};
pub use sink::{Sink, SinkFormat, SinkSettings, check_sinks};
pub use spin::Spin;
pub use stubs::{
    AnswerBody, AnswerSettings, EffectSettings, LatencySettings, RegistryLevel, RegistrySettings, StubRules,
    StubSettings,
};
pub use wall_clock::{EventTime, WallClockMode, check_clock};

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::thread;

use stubs::Outside;
use wall_clock::Over;
use world::World;

use crate::clock::{Clock, Stop, SystemClock};
use crate::outcome::{Outcome, OutcomeError};
use crate::plan::{Delivery, FlagChange, Plan, PlanError, RequestFault};
use crate::recording::{Recording, RecordingError};

/// Where deliveries come from: a [`Plan`], or a list made otherwise.
pub trait DeliverySource: fmt::Debug + Sync {
    /// Topics that deliveries point into.
    fn topics(&self) -> &[String];

    /// Names of the faults: bit n of [`Delivery::faults`] stands for the n-th.
    fn fault_names(&self) -> Vec<String>;

    /// Whether due times are waited for; `false` drops the waiting and nothing else.
    fn paced(&self) -> bool;

    /// Starts the stream of deliveries, ordered by due time, warm-up first; each drive takes one of its own.
    fn deliveries(&self) -> Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + '_>;

    /// Position of the first delivery of each partition, by topic and partition: where consumers start.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    fn first_positions(&self) -> Result<BTreeMap<(u32, i32), i64>, PlanError> {
        let mut firsts = BTreeMap::new();
        for delivery in self.deliveries() {
            let delivery = delivery?;
            firsts.entry((delivery.topic, delivery.partition)).or_insert(delivery.position);
        }
        Ok(firsts)
    }

    /// Faults at requests of Kafka clients, which act while the schedule lasts.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    fn request_faults(&self) -> Result<Vec<RequestFault>, PlanError> {
        Ok(Vec::new())
    }

    /// Changes of flags, which take place while the schedule lasts.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    fn flag_changes(&self) -> Result<Vec<FlagChange>, PlanError> {
        Ok(Vec::new())
    }

    /// Where event time stands as the schedule passes; none where nobody knows.
    fn timeline(&self) -> Option<EventTime<'_>> {
        None
    }
}

impl DeliverySource for Plan {
    fn topics(&self) -> &[String] {
        Plan::topics(self)
    }

    fn fault_names(&self) -> Vec<String> {
        self.faults().iter().map(|fault| fault.name.clone()).collect()
    }

    fn paced(&self) -> bool {
        Plan::paced(self)
    }

    fn deliveries(&self) -> Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + '_> {
        Box::new(Plan::deliveries(self))
    }

    fn first_positions(&self) -> Result<BTreeMap<(u32, i32), i64>, PlanError> {
        Plan::first_positions(self)
    }

    fn request_faults(&self) -> Result<Vec<RequestFault>, PlanError> {
        Plan::request_faults(self)
    }

    fn flag_changes(&self) -> Result<Vec<FlagChange>, PlanError> {
        Plan::flag_changes(self)
    }

    fn timeline(&self) -> Option<EventTime<'_>> {
        let timeline = Plan::timeline(self);
        Some(EventTime { speed: timeline.speed(), points: Box::new(timeline) })
    }
}

/// One drive to be done.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Name of the drive, such as `old-again`.
    pub name: &'a str,
    /// What is handed over.
    pub plan: &'a dyn DeliverySource,
    /// Where its events are.
    pub recording: &'a Recording,
    /// Deliveries planned, where known: only for sentences such as "after 12 of 40 deliveries".
    pub deliveries: Option<u64>,
    /// Who is driven.
    pub build: &'a Build,
    /// How.
    pub rules: &'a DriveRules,
    /// Directory of the outcome; made here, and must not hold one.
    pub out: PathBuf,
}

/// How far a drive has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the drive.
    pub drive: &'a str,
    /// Deliveries handed over.
    pub sent: u64,
    /// Outputs kept.
    pub outputs: u64,
}

/// Why there is no outcome of a drive. How a build ended is never an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// What a drive has of its own could not be made.
    #[error("could not make what the drive {drive} has of its own")]
    World {
        /// Name of the drive.
        drive: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A command that a build wants run ahead of it failed.
    #[error("{command} of the drive {drive} failed: {problem}{}", said(lines, path))]
    Prepare {
        /// Name of the drive.
        drive: String,
        /// Which, such as `prepare[0] (createdb)`.
        command: String,
        /// How, such as `exit code 1`.
        problem: String,
        /// Its last lines; may be empty.
        lines: String,
        /// Where all of them are.
        path: PathBuf,
    },
    /// The state that a build starts from could not be copied.
    #[error("could not copy the state of the drive {drive}: {path}")]
    State {
        /// Name of the drive.
        drive: String,
        /// What cannot be copied.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The build's process could not be started.
    #[error("could not start the build {build}")]
    Start {
        /// Name of the build.
        build: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The plan cannot be read on.
    #[error("cannot read the plan on")]
    Plan(#[from] PlanError),
    /// The recording cannot be read.
    #[error("cannot read the events of the plan")]
    Recording(#[from] RecordingError),
    /// The stage, which is the broker of a build that reads Kafka, cannot be set up or does not go on.
    #[error("the stage of the drive failed")]
    Stage(#[from] stage::StageError),
    /// The drive has no world of its own, or not the one that it needs.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// The build's wall clock cannot be set.
    #[error("the wall clock of the drive {drive} cannot be set: {problem}")]
    WallClock {
        /// Name of the drive.
        drive: String,
        /// Why.
        problem: String,
    },
    /// The cluster that the drive takes place on cannot be used, or does not go on.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The outcome could not be kept.
    #[error("could not keep the outcome")]
    Outcome(#[from] OutcomeError),
    /// An event cannot be handed over as a bare value.
    #[error(
        "the value of {topic} partition {partition} offset {offset} holds a line break and is no JSON, so it cannot be a line of its \
         own; set `payload = \"envelope\"`"
    )]
    Unfit {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset as recorded.
        offset: i64,
    },
    /// Somebody asked to stop. What was written up to then is kept.
    #[error("the drive {drive} was stopped; what it wrote is kept in {path}")]
    Stopped {
        /// Name of the drive.
        drive: String,
        /// Directory of the outcome.
        path: PathBuf,
    },
}

/// Shows the last lines of a command, and where the others are.
fn said(lines: &str, path: &std::path::Path) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let indented = lines.replace('\n', "\n    ");
    format!("; its last lines, of all in {}:\n    {indented}", path.display())
}

/// Drives one build with one plan and keeps what it did in [`Job::out`].
///
/// Returns when the build and all it started have ended, one way or another; how it ended stands in the outcome. A broker and a client
/// of HTTP cannot live by a clock that waits for nobody: but over lines, the drive has one of its own instead of `clock`.
///
/// # Errors
///
/// [`DriveError`]: never for what the build does, only for what keeps the drive from taking place. The outcome up to then is kept.
pub fn drive(
    job: &Job<'_>,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    let mut world = World::new(job, clock)?;
    let isolated = if stop.raised() { Ok(()) } else { world.isolate(job).map_err(DriveError::from) };
    let driven = isolated.and_then(|()| drive_in(&mut world, job, clock, stop, progress));
    // Where the drive ended ahead of its outcome, which would have said what went wrong in it: the error is what counts.
    world.clean_up(job);
    drop(world);
    if driven.is_err() {
        // Where nothing took place, nothing is to stand there: it goes only if nothing is in it.
        let _ = fs::remove_dir(&job.out);
    }
    driven
}

/// Drives a build in `world` by the transport that the rules say.
fn drive_in(
    world: &mut World,
    job: &Job<'_>,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    world.take_flags(job)?;
    let course = world.take_wall_clock(job)?;
    let Some(wall_clock) = world.wall_clock() else {
        return drive_by(world, job, clock, stop, progress);
    };
    thread::scope(|scope| {
        let _over = Over(&wall_clock);
        scope.spawn(|| wall_clock.follow(course));
        drive_by(world, job, clock, stop, progress)
    })
}

fn drive_by(
    world: &mut World,
    job: &Job<'_>,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    let rules = job.rules.of_one_drive();
    let job = &Job { rules: &rules, ..job.clone() };
    let outside = Outside::open(job, world)?;
    match (&job.rules.http, &job.rules.kafka) {
        (Some(rules), _) => http::drive(job, rules, world, outside, stop, progress),
        (None, Some(rules)) => match &rules.cluster {
            Some(cluster) => cluster::drive(job, rules, cluster, world, outside, stop, progress),
            None => kafka::drive(job, rules, world, outside, stop, progress),
        },
        (None, None) => stdio::drive(job, world, outside, clock, stop, progress),
    }
}

/// Does several drives, side by side where `together` says so, else one after the other; each has a clock of its own.
///
/// Returns one result a job, in order: a drive that fails takes no other's outcome with it.
pub fn drive_all(
    jobs: &[Job<'_>],
    together: bool,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Vec<Result<Outcome, DriveError>> {
    let _heeding = stop.heed();
    let one = |job: &Job<'_>| drive(job, &SystemClock::start_spinning(job.rules.spin), stop, progress);
    if !together {
        return jobs.iter().map(one).collect();
    }
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(move || one(job))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    memory::give_back();
    outcomes
}
