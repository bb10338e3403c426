//! The stage: a broker of Kafka's protocol inside of this process, that serves a plan and takes what a build writes.
//!
//! A cluster between plan and build would hide both the order and the moment of what a consumer sees. So a [`Stage`] is the
//! broker: it listens on a port of its own and speaks Kafka's protocol with any client. Two kinds of topics stand on it. *Planned*
//! ones are filled by a feeder: events are put ready ahead of their time and become visible when they are due. All others are
//! *written* by builds, and kept on disk.
//!
//! What never happens here: a position of a planned partition falls or changes; a client's rubbish reaches anybody but the client;
//! memory grows with the length of a recording or of an output.
//!
//! # A thread a connection
//!
//! Each connection has a thread that reads a request, answers it and reads the next. Kafka's own broker also answers one request of
//! a connection after the other, so nothing is lost by that, and pipelined requests are in order by themselves. A consumer that
//! waits for data waits on a condition variable that whoever reveals the data rings: it wakes within tens of microseconds. Tokio's
//! timers are rounded to a millisecond and its tasks would share threads with others' decoding, which is what a stage must not
//! have: the time from due to delivered is what it is for. A build has few connections (a client opens two or three), and their
//! number is bounded, so threads cost little; a stack is a megabyte of addresses of which a few pages are touched.
//!
//! When all connections are taken, those that came and never sent a request make room, the oldest first.
//!
//! # What feeds it
//!
//! [`Stage::plan_topic`] makes a planned topic and returns a [`Planned`] for each partition. Whoever walks the plan encodes
//! events with a [`ChunkBuilder`], [stocks](Planned::stock) chunks ahead of their time, bounded by what it lets lie ahead, and
//! [reveals](Planned::reveal) so many events as are due, each at its moment. What consumers have read stays in memory as far as a
//! window reaches; whoever asks for older positions gets them read again by place through [`Reread`] ([`RecordedEvents`] reads a
//! recording). Where nothing is paced, [`Planned::asked`] tells how far consumers have come, so that a feeder need not run ahead
//! of them. [`Planned::take_handed`] tells what consumers were given, and when. What is to be handed over again goes through
//! [`Planned::set_back`] and [`Stage::set_back`].
//!
//! A build is ready when [`Planned::asked`] is known for every partition. It is through when the groups it uses have
//! [committed](Stage::committed) every planned partition's [end](Planned::end), no transaction is
//! [open](Stage::open_transactions), and [outputs](Stage::read) have been quiet.
//!
//! # What goes wrong
//!
//! [`Stage::arm`] puts [`StageFault`]s into force: lost answers and connections, a broker that is slow or gone, partitions that
//! refuse, a group that others visit. [`Stage::fired`] says which request of which client each of them touched.
//!
//! # Differences from Kafka
//!
//! A group that has committed nothing for a planned partition starts at its first position. Planned topics can be neither written,
//! deleted, grown nor cut. Compaction and retention never run. There are no users, no quotas and no transactions of version 2
//! (KIP-890). A group is of the classic protocol or of the consumers' own (KIP-848), never of both at once, and the streams' own
//! (KIP-1071) is not served. A topic may ask for several copies, and has one. A batch of more than a million records and headers is
//! refused, and so is a request of more than a hundred thousand elements. Whatever was asked for and not served stands in
//! [`Stage::asked`].

mod batch;
mod broker;
mod calls;
mod codec;
mod faults;
mod groups;
mod log;
mod partition;
mod planned;
mod reading;
mod record;
mod serve;
mod sessions;
mod settings;
mod topics;
mod transactions;
mod wire;

pub use broker::Gate;
pub use faults::{StageAim, StageFault, StageFaultCount, StageFaultKind, StageFired, StageTrigger};
pub use log::{Chunk, ChunkBuilder, Reread, Spot, Stretch};
pub use planned::{Planned, RecordedEvents};
pub use reading::{Written, WrittenEvent};
pub use settings::StageSettings;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use kafka_protocol::ResponseError;
use log::{Log, PlannedLog};
use partition::Partition;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serve::Server;

use crate::clock::Clock;

/// Why a stage cannot do what it is asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The address cannot be listened at, or no thread can be started.
    #[error("could not listen at {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It would listen everywhere, and nobody says where clients find it.
    #[error("cannot tell clients to connect to {listen}: say which host they are to find the stage at")]
    Advertise {
        /// The address.
        listen: SocketAddr,
    },
    /// A setting lies outside of its range.
    #[error("the stage cannot have {name} of {value}: it is to be {range}")]
    Setting {
        /// Its name in [`StageSettings`].
        name: &'static str,
        /// What it was to be.
        value: String,
        /// What it may be.
        range: String,
    },
    /// A topic cannot be made.
    #[error("cannot make the topic `{topic}` on the stage: {reason}")]
    Topic {
        /// Its name.
        topic: String,
        /// Why not.
        reason: String,
    },
    /// There is no such partition on the stage.
    #[error("topic `{topic}` has no partition {partition} on the stage that is written to")]
    Partition {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// Files of a log cannot be written or read.
    #[error("could not keep the logs of the stage")]
    Files(#[source] io::Error),
    /// Its files, or the recording that it reads again, failed while clients were served: what they were told of it is no word of a
    /// plan's.
    #[error("clients were not served as planned: {0}")]
    Unserved(String),
    /// A fault cannot be put into force.
    #[error("cannot have the fault `{fault}` at the stage: {reason}")]
    Fault {
        /// Its name.
        fault: String,
        /// Why not.
        reason: String,
    },
    /// A log holds what nobody can decode.
    #[error("cannot decode what was written to topic `{topic}` partition {partition}")]
    Undecodable {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
}

/// Something that a client asked for and the stage does not serve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Name of the call, as Kafka has it, or what else was wrong.
    pub call: String,
    /// Its version; -1 where it was no call.
    pub version: i16,
    /// `client.id` of who asked, or its address where it was no call.
    pub client: String,
}

/// Whether a topic may be called so, by Kafka's rules.
pub fn is_topic_name(name: &str) -> bool {
    topics::check_name(name).is_ok()
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCommit {
    /// Id of the group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next position it wants.
    pub position: i64,
}

/// Open files that a stage may need: two for each written partition, and one for each connection.
const OPEN_FILES: u64 = 1 << 16;

/// Lets this process have as many open files as it may, up to [`OPEN_FILES`]. Where it may not, whoever needs more is told then.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

impl fmt::Display for Asked {
    /// As a line of a report says it: the call, its version and who asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)?;
        if self.version >= 0 {
            write!(f, " version {}", self.version)?;
        }
        if self.client.is_empty() { Ok(()) } else { write!(f, ", by client `{}`", self.client) }
    }
}

/// A running broker. It ends, with all that it holds, when dropped.
pub struct Stage {
    broker: Arc<Broker>,
    server: Server,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Stage {
    /// Starts a stage without topics.
    ///
    /// # Errors
    ///
    /// [`StageError::Setting`] for one outside of its range; [`StageError::Listen`] where the address cannot be had;
    /// [`StageError::Advertise`] where it stands for all of them and no host is advertised.
    pub fn start(settings: StageSettings, clock: Arc<dyn Clock>) -> Result<Self, StageError> {
        let listen = settings.listen;
        settings.check()?;
        let listener = TcpListener::bind(listen).map_err(|source| StageError::Listen { listen, source })?;
        Self::start_at(listener, settings, clock)
    }

    /// Starts a stage without topics that is connected to through `listener`, whoever made it.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_at(listener: TcpListener, settings: StageSettings, clock: Arc<dyn Clock>) -> Result<Self, StageError> {
        let listen = settings.listen;
        let failed = |source| StageError::Listen { listen, source };
        settings.check()?;
        if listen.ip().is_unspecified() && settings.advertise.is_none() {
            return Err(StageError::Advertise { listen });
        }
        raise_open_files();
        let address = listener.local_addr().map_err(failed)?;
        let advertised = settings.advertised(address);
        let broker = Arc::new(Broker::new(settings, advertised, clock));
        let server = Server::start(listener, Arc::clone(&broker)).map_err(failed)?;
        Ok(Self { broker, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let (host, port) = (&self.broker.host, self.broker.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Makes a topic that builds write to; `settings` are a topic's own, in Kafka's names.
    ///
    /// # Errors
    ///
    /// [`StageError::Topic`] for a name that Kafka does not take or that stands already, and for no partition.
    pub fn make_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: BTreeMap<String, String>,
    ) -> Result<(), StageError> {
        let made = if (1..=topics::PARTITIONS_MAX).contains(&partitions) {
            self.broker.make_topic(name, partitions, settings)
        } else {
            Err(ResponseError::InvalidPartitions)
        };
        made.map(drop).map_err(|error| StageError::Topic { topic: name.to_owned(), reason: error.to_string() })
    }

    /// Makes a topic that a plan fills: `firsts` holds the first position of each partition, and `again` makes what reads its events
    /// again. Returns what feeds each partition.
    ///
    /// # Errors
    ///
    /// [`StageError::Topic`] as for [`Self::make_topic`]; [`StageError::Files`] where the trail cannot be kept.
    pub fn plan_topic(
        &self,
        name: &str,
        firsts: &[i64],
        settings: BTreeMap<String, String>,
        again: impl Fn(i32) -> Box<dyn Reread>,
    ) -> Result<Vec<Planned>, StageError> {
        let mut partitions = Vec::with_capacity(firsts.len());
        for (index, first) in (0..).zip(firsts) {
            let log = PlannedLog::new(*first, self.broker.settings.window_bytes, &self.broker.settings.folder);
            let log = log.map_err(StageError::Files)?;
            partitions.push(Partition::new(index, Log::Planned(log), Some(again(index))));
        }
        let made = self.broker.topics.make(name, partitions, true, settings);
        let topic = made.map_err(|error| StageError::Topic { topic: name.to_owned(), reason: error.to_string() })?;
        Ok(topic.partitions().into_iter().map(Planned::new).collect())
    }

    /// Names of topics that builds write to, with their numbers of partitions: those made here, and those that builds made.
    pub fn written_topics(&self) -> BTreeMap<String, i32> {
        let written = self.broker.topics.all().into_iter().filter(|topic| !topic.planned);
        written.map(|topic| (topic.name.clone(), topic.count())).collect()
    }

    /// Reads what builds have written to a partition from `offset` on: the batch that holds it, or the first behind it. What
    /// transactions have taken back, and what is not decided yet, is left out.
    ///
    /// # Errors
    ///
    /// [`StageError::Partition`] where it is not there or planned; [`StageError::Files`] and [`StageError::Undecodable`].
    pub fn read(&self, topic: &str, partition: i32, offset: i64) -> Result<Written, StageError> {
        reading::read(&self.broker, topic, partition, offset)
    }

    /// What a group has committed for a partition: the next position it wants. None where it has committed nothing.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.broker.control(|control, _| {
            let committed = control.groups.group(group)?.committed(topic, partition)?;
            Some(committed.offset)
        })
    }

    /// Everything that groups have committed, in order of group, topic and partition.
    pub fn commits(&self) -> Vec<GroupCommit> {
        self.broker.control(|control, _| {
            let groups = control.groups.ids().filter_map(|id| Some((id, control.groups.group(id)?)));
            let commits = groups.flat_map(|(id, group)| group.all_committed().map(move |commit| (id, commit)));
            let commit = |(group, (topic, partition, committed)): (&str, (&str, i32, &groups::Committed))| {
                GroupCommit { group: group.to_owned(), topic: topic.to_owned(), partition, position: committed.offset }
            };
            commits.map(commit).collect()
        })
    }

    /// Sets all groups that have committed beyond `position` of a partition back to it, as after a session that timed out: their
    /// members are no members any more, learn so with their next heartbeat or commit, join anew and go on where the group stands.
    /// Returns the ids of the groups that had no members: nobody can be told of it there.
    pub fn set_back(&self, topic: &str, partition: i32, position: i64) -> Vec<String> {
        self.broker.control(|control, now| control.groups.set_back(topic, partition, position, now))
    }

    /// Ids of all groups.
    pub fn groups(&self) -> Vec<String> {
        self.broker.control(|control, _| control.groups.ids().map(str::to_owned).collect())
    }

    /// Number of transactions that are open.
    pub fn open_transactions(&self) -> usize {
        self.broker.control(|control, _| control.transactions.open())
    }

    /// Has `gate` be asked ahead of each commit of a group's positions, in a transaction or not; once for all.
    pub fn ask_ahead_of_commits(&self, gate: Arc<dyn Gate>) {
        self.broker.gate.get_or_init(|| gate);
    }

    /// How many positions were handed out once more, though nobody had been set back: to whoever took a partition over, or restarted.
    pub fn handed_again(&self) -> u64 {
        self.broker.handed_again()
    }

    /// Puts faults into force, in place of those that were. Moments are counted from `start`, which is on the stage's clock; none
    /// that is over is made up for. With no faults all is well again, as it must be while deliveries drain.
    ///
    /// # Errors
    ///
    /// [`StageError::Fault`] for one that makes no sense: a call that Kafka does not have or that the kind cannot touch, a share that
    /// is none, moments out of order.
    pub fn arm(&self, faults: Vec<StageFault>, start: Duration) -> Result<(), StageError> {
        self.broker.faults.arm(faults, start, self.broker.handed_again())?;
        self.broker.end_pauses();
        self.broker.wake();
        Ok(())
    }

    /// Has all faults rest: they touch nothing and begin nothing, who is held back goes on at once, whoever visits a group leaves it, and
    /// moments pass; or has them act again. Whatever they touch next goes on being counted.
    pub fn rest_faults(&self, resting: bool) {
        self.broker.faults.rest(resting);
        if resting {
            self.broker.end_pauses();
            self.broker.control(|control, now| control.groups.end_visits(now));
        }
        self.broker.wake();
    }

    /// Whether an instance of a fault that has a length goes on, or a group has a visitor.
    pub fn faults_act(&self) -> bool {
        let visited = || self.broker.control(|control, _| control.groups.any_visited());
        self.broker.faults.any() && (self.broker.faults.acts(self.broker.clock.now()) || visited())
    }

    /// Takes what faults touched since it was taken last, in the order it happened: the first hundred thousand of it.
    pub fn take_fired(&self) -> Vec<StageFired> {
        self.broker.faults.take()
    }

    /// What faults touched and nobody took, in the order it happened: the first hundred thousand of it.
    pub fn fired(&self) -> Vec<StageFired> {
        self.broker.faults.fired()
    }

    /// How often each fault fired, by name; one that touched nothing is not among them.
    pub fn fault_counts(&self) -> BTreeMap<String, StageFaultCount> {
        self.broker.faults.counts(self.broker.handed_again())
    }

    /// What went wrong with the stage's own files or the recording, with how often: what clients were told of it was no word of a
    /// plan's.
    pub fn failures(&self) -> Vec<(String, u64)> {
        self.broker.failures()
    }

    /// What clients asked for and the stage does not serve, with how often.
    pub fn asked(&self) -> Vec<(Asked, u64)> {
        self.broker.asked()
    }
}
