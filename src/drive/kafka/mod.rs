//! One drive of a build that reads and writes Kafka, from start to ending: Rehearsal is the broker.
//!
//! Each drive has a stage of its own with production's topics. The build's process is started and told where the stage is; once it
//! has fetched from every input partition, the plan is revealed by its schedule, each event at its planned position, and what the
//! build writes is gathered from the output topics. How the drive ended is decided before the build is told to stop.
//!
//! # Handed over
//!
//! A delivery is handed over when the stage first answers a consumer with it. What consumers read again by themselves, after a
//! restart, say, is handed over once. A fault that sets a partition back waits until all that was handed over is committed, puts the
//! members out of the group, as a session that timed out does, and goes on once somebody has come back: so that what is handed over
//! again is what is planned, no less and no more.
//!
//! # Faults at requests
//!
//! They are the stage's ([`super::stage`]), by the plan: from the start of the schedule to its end, the same in every drive. What they
//! touched stands in the outcome's `faults.ndjson`.

mod broker;
mod faults;
mod feeder;
mod fifo;
mod keeper;
mod lanes;
mod schedule;
mod settings;
mod watch;

pub use settings::{Finished, KafkaRules, TopicSettings};

pub(super) use broker::{Broker, Spot};
pub(super) use faults::check as check_faults;
pub(super) use lanes::{configuration, named, partitions};
pub(super) use schedule::{PaceEnd, Schedule};
pub(super) use settings::refuse_elsewhere;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use feeder::{LOADS_WAITING, Pace, Reader};
use keeper::{Keeper, Parts};
use lanes::{Lanes, LanesError};
use regex::bytes::Regex;
use watch::{Heard, Watch};

use super::complaints::Complaints;
use super::feed::Announced;
use super::isolation;
use super::pace::Timing;
use super::placeholders::Address;
use super::process::{Crew, Stops};
use super::shared::Shared;
use super::stage::{Gate, GroupCommit, Stage, StageError, StageSettings};
use super::stdio::micros;
use super::stubs::Outside;
use super::wall_clock::is_set_wrong;
use super::world::World;
use super::{DriveError, Job, Progress};
use crate::clock::{Clock, Stop, SystemClock};
use crate::mask::LogMask;
use crate::outcome::{Ending, EndingReport, Outcome, OutcomeError, OutcomeWriter};

/// Group id that builds are told; any other does as well.
const GROUP: &str = "rehearsal";

/// Groups of deliveries that may wait to be noted down.
const REVEALED_WAITING: usize = 16_384;

/// What the threads of a drive know beside what is [`Shared`].
#[derive(Debug)]
pub(super) struct Known {
    /// Outputs written up to then have been read.
    caught_up_us: AtomicI64,
    commits: Mutex<Vec<GroupCommit>>,
}

impl Known {
    fn new() -> Self {
        Self { caught_up_us: AtomicI64::new(i64::MIN), commits: Mutex::default() }
    }

    fn catch_up(&self, now_us: i64) {
        self.caught_up_us.store(now_us, Ordering::SeqCst);
    }

    fn caught_up_us(&self) -> i64 {
        self.caught_up_us.load(Ordering::SeqCst)
    }

    /// Notes what groups have committed; returns whether that has changed.
    fn note_commits(&self, commits: Vec<GroupCommit>) -> bool {
        let mut known = self.commits();
        let changed = *known != commits;
        *known = commits;
        changed
    }

    fn commits(&self) -> MutexGuard<'_, Vec<GroupCommit>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drives one build on a stage and keeps what it did.
pub(super) fn drive(
    job: &Job<'_>,
    rules: &KafkaRules,
    world: &mut World,
    outside: Outside,
    stop: &Stop,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Outcome, DriveError> {
    // Of its own, for all: what clients do and what is planned have to be told by one.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start_spinning(job.rules.spin));
    let faults = faults::of_plan(job.plan, job.recording)?;
    let mut desk = Desk::open(job, outside, stop)?;
    if !faults.is_empty() {
        desk.keep_touches(faults.iter().map(|fault| fault.name.clone()).collect())?;
    }
    let stage = start(job, rules, world, &clock)?;
    if let Some(isolation) = world.isolation() {
        isolation.offer("stage", stage.address())?;
    }
    let lanes = Lanes::make(&stage, job.plan, job.recording, &rules.outputs).map_err(|error| match error {
        LanesError::Plan(error) => DriveError::from(error),
        LanesError::Stage(error) => error.into(),
    })?;
    for (topic, partitions) in &rules.outputs {
        stage.make_topic(topic, *partitions, BTreeMap::new())?;
    }
    let shared =
        Shared::new(clock.now(), job.rules.timeout).with_flags(world.flags()).with_wall_clock(world.wall_clock());
    let address = Address { brokers: stage.bootstrap(), group: GROUP.to_owned(), topics: BTreeMap::new() };
    connect(world, address, job, rules);
    let between = Between { broker: &lanes, world, ready: None };
    let stops = desk.stops();
    if stops.any() {
        stage.ask_ahead_of_commits(Arc::clone(&stops) as Arc<dyn Gate>);
    }
    let (lanes, shared, clock) = (&lanes, &shared, &*clock);
    let pace = |revealed| {
        let reader = Reader::new(job.plan, job.recording, lanes, job.rules, shared);
        let schedule = Schedule { rules: job.rules, paced: job.plan.paced(), broker: lanes, shared, clock, revealed };
        let pace = Pace { schedule, lanes, faults, stops: &stops };
        thread::scope(|scope| {
            let (load_sender, loads) = sync_channel(LOADS_WAITING);
            scope.spawn(move || reader.run(&load_sender));
            pace.run(&loads)
        })
    };
    desk.drive(job, rules, &between, shared, clock, stop, progress, pace, Vec::new)
}

/// What stands between plan and build.
pub(super) struct Between<'a> {
    pub(super) broker: &'a dyn Broker,
    /// Where the build lives.
    pub(super) world: &'a World,
    /// Line that says that the build is ready, where nothing else does.
    pub(super) ready: Option<&'a Regex>,
}

/// The files of an outcome that is about to come about.
pub(super) struct Desk {
    writer: OutcomeWriter,
    /// Standard error and output of each process.
    logs: Vec<(Complaints, Complaints)>,
    stops: Arc<Stops>,
    outside: Outside,
    /// Names of the faults at requests.
    faults: Vec<String>,
    /// Whether it is kept what faults touch.
    touched: bool,
}

impl Desk {
    /// Opens them, unless somebody asked to stop.
    pub(super) fn open(job: &Job<'_>, outside: Outside, stop: &Stop) -> Result<Self, DriveError> {
        if stop.raised() {
            // Ahead of the start: whoever raised it may be about to end the program, and nobody would end the build then.
            return Err(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
        }
        let writer = OutcomeWriter::create(&job.out, job.plan.topics(), &job.plan.fault_names())?;
        let open = |instance| Ok::<_, DriveError>((log(job, "stderr", instance)?, log(job, "stdout", instance)?));
        let logs = (0..job.build.instances()).map(open).collect::<Result<_, _>>()?;
        let stops = Stops::of_plan(job.plan, job.build.instances())?;
        let touched = stops.any() || is_set_wrong(job.plan)?;
        let mut desk = Self { writer, logs, stops, outside, faults: Vec::new(), touched };
        if touched {
            desk.writer.keep_touches()?;
        }
        Ok(desk)
    }

    /// Faults at the processes of the build.
    pub(super) fn stops(&self) -> Arc<Stops> {
        Arc::clone(&self.stops)
    }

    /// Keeps what faults at requests of these names touch.
    pub(super) fn keep_touches(&mut self, names: Vec<String>) -> Result<(), DriveError> {
        if !self.touched {
            self.writer.keep_touches()?;
        }
        self.faults = names;
        Ok(())
    }

    /// Starts the build, hands over by `pace`, which announces what it is about to hand over, and keeps what comes of it. `afterwards`
    /// is called once the build has ended, and says what else is to be known.
    #[expect(clippy::too_many_arguments, reason = "it stands in the middle of all that a drive is made of")]
    pub(super) fn drive(
        self,
        job: &Job<'_>,
        rules: &KafkaRules,
        between: &Between<'_>,
        shared: &Shared,
        clock: &dyn Clock,
        stop: &Stop,
        progress: &(dyn Fn(Progress<'_>) + Sync),
        pace: impl FnOnce(SyncSender<Announced>) -> PaceEnd + Send,
        afterwards: impl FnOnce() -> Vec<String>,
    ) -> Result<Outcome, DriveError> {
        let Self { mut writer, logs, stops, mut outside, faults, touched: _ } = self;
        let Between { broker, world, ready } = *between;
        let notice = world.java_notice(job.build);
        let (topics, known) = (job.plan.topics(), &Known::new());
        let timing = Timing::new().map_err(|error| DriveError::Start {
            build: job.build.name().to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
        if let Err(error) = world.furnish(job, stop) {
            let mut report = EndingReport::new(Ending::TimedOut, format!("could not be made ready: {error}"));
            report.warnings = world.clean_up(job);
            writer.finish(&report)?;
            return Err(error);
        }
        let (crew, streams) = match Crew::start(world, job, Arc::clone(&stops), clock) {
            Ok(started) => started,
            Err(source) => {
                writer.finish(&EndingReport::new(Ending::Died, format!("could not be started: {source}")))?;
                return Err(DriveError::Start { build: job.build.name().to_owned(), source });
            }
        };
        let OutcomeWriter { outputs, deliveries, gauges, touches, .. } = &mut writer;
        let log = faults::Log { names: faults, writer: touches.as_mut() };
        let (mut report, mut failed) = thread::scope(|scope| {
            let _closing = Closing(shared, &stops);
            let (revealed, revealed_receiver) = sync_channel(REVEALED_WAITING);
            let pacing = scope.spawn(move || pace(revealed));
            let paced = job.plan.paced();
            let calls = outside.calls(clock);
            let parts = Parts {
                rules: job.rules,
                paced,
                topics,
                broker,
                shared,
                known,
                clock,
                outputs,
                calls,
                deliveries,
                timing,
            };
            let keeper = Keeper::new(parts, &job.out);
            let keeping = scope.spawn(move || keeper.run(&revealed_receiver));
            let listening = logs.into_iter().zip(streams).map(|((complaints, words), streams)| {
                let complaints = complaints.without(&notice);
                let complaining = scope.spawn(move || complaints.run(&streams.stderr, ready, shared));
                (complaining, scope.spawn(move || words.run(&streams.stdout, ready, shared)))
            });
            let (complaining, talking) = listening.unzip();
            let watch = Watch::new(job, rules, broker, shared, known, clock, stop, progress, crew, &stops, gauges, log);
            watch.run(Heard { pacing, keeping, complaining, talking })
        });
        outside.report(&mut report);
        for remark in afterwards() {
            report.reason = format!("{}; {remark}", report.reason);
        }
        isolation::report_in(&mut report, world.isolation(), &job.out.join("stderr.log"));
        let arrived_us = shared.relative_us(micros(clock.now()));
        world.wind_up(job, &mut report, &mut failed, &mut writer.outputs, arrived_us, stop);
        // What was written is kept whatever went wrong.
        let outcome = writer.finish(&report)?;
        progress(Progress { drive: job.name, sent: shared.sent(), outputs: shared.outputs() });
        failed.map_or(Ok(outcome), Err)
    }
}

/// Ends the threads of a drive once nobody watches over it any more, also where that was by a panic.
struct Closing<'a>(&'a Shared, &'a Stops);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.1.end();
        self.0.abandon();
        self.0.close_now();
    }
}

/// Opens the file that keeps what a process of a build writes to one of its standard streams, which is `stderr.log` of the first and
/// `stderr-1.log` of the next.
fn log(job: &Job<'_>, stream: &str, instance: u32) -> Result<Complaints, DriveError> {
    let path = job.out.join(log_name(stream, instance));
    let mask = LogMask::new(job.rules.mask.clone());
    let opened = Complaints::create(&path, job.rules.stderr_bytes_max, mask);
    opened.map_err(|source| OutcomeError::Io { path, source }.into())
}

/// What that file is called.
fn log_name(stream: &str, instance: u32) -> String {
    if instance == 0 { format!("{stream}.log") } else { format!("{stream}-{instance}.log") }
}

fn start(job: &Job<'_>, rules: &KafkaRules, world: &World, clock: &Arc<dyn Clock>) -> Result<Stage, DriveError> {
    let mut settings = StageSettings::new(Path::new(&job.out));
    settings.listen = rules.listen;
    // Nobody can connect to "all addresses".
    let anywhere = rules.listen.ip().is_unspecified().then(|| "127.0.0.1".to_owned());
    settings.advertise = rules.advertise.clone().or(anywhere);
    let listen = settings.listen;
    let listener = world.listen(listen).map_err(|source| StageError::Listen { listen, source })?;
    Ok(Stage::start_at(listener, settings, Arc::clone(clock))?)
}

/// Tells the build where its brokers are.
pub(super) fn connect(world: &mut World, address: Address, job: &Job<'_>, rules: &KafkaRules) {
    let env = environment(&address, job.plan.topics().iter().chain(rules.outputs.keys()));
    world.connect(address, env);
}

/// What a build finds in its environment.
fn environment<'t>(address: &Address, topics: impl Iterator<Item = &'t String>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("KAFKA_BOOTSTRAP_SERVERS".to_owned(), address.brokers.clone()),
        ("REHEARSAL_GROUP".to_owned(), address.group.clone()),
    ]);
    for topic in topics {
        let letter = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' };
        let name: String = topic.chars().map(letter).collect();
        env.insert(format!("REHEARSAL_TOPIC_{name}"), address.topic(topic).to_owned());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_finds_its_topics_by_names_that_a_shell_can_say() {
        let address = Address { brokers: "127.0.0.1:9".into(), group: GROUP.into(), topics: BTreeMap::new() };
        let topics = ["orders.v1".to_owned(), "pay-outs".to_owned()];
        let env = environment(&address, topics.iter());
        assert_eq!(env["REHEARSAL_TOPIC_ORDERS_V1"], "orders.v1");
        assert_eq!((&*env["REHEARSAL_TOPIC_PAY_OUTS"], &*env["KAFKA_BOOTSTRAP_SERVERS"]), ("pay-outs", "127.0.0.1:9"));
    }
}
