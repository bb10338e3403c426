//! Faults at requests of Kafka clients, and at the processes of builds: they are part of a plan, follow from its seed, and make no
//! deliveries. What happens to a process counts commits where the others count requests.
//!
//! What a scenario writes is checked here (`check.rs`, by kind in `kind.rs`), and resolved against the plan's schedule
//! (`resolve.rs`): moments become replay time, so that every drive suffers them at the same instants. Where a number of requests
//! begins an instance, nobody can plan which event that request carries: requests are the client's own.

mod check;
mod clock;
mod kind;
mod rate;
mod resolve;
mod sizes;

pub use clock::{ClockChange, Drift};
pub(super) use kind::RequestKind;
pub use rate::Rate;
pub(super) use resolve::{Asking, Resolved, moment_of};
pub use sizes::Sizes;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fault::Preset;
use super::trigger::At;
use super::{Legality, Role, Seed};
use crate::recording::Place;

/// A fault at requests of Kafka clients, or at the build's process, resolved against the schedule of its plan. Times are microseconds of replay time.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFault {
    /// Its place among the scenario's faults.
    pub index: usize,
    /// Name that keys its draws.
    pub name: String,
    /// Kind, as in the catalogue.
    pub kind: &'static str,
    /// Legality class.
    pub legality: Legality,
    /// Whether a client writes, or is handed, something once more because of it: the drives without redelivery do without it.
    pub redelivers: bool,
    /// What it does.
    pub effect: RequestEffect,
    /// Requests that it may touch, by the names that Kafka's protocol has for them; none for all that the kind is about.
    pub requests: Vec<String>,
    /// Topics; none for all.
    pub topics: Vec<String>,
    /// Partitions; none for all.
    pub partitions: Vec<i32>,
    /// Clients, by `client.id`; none for all.
    pub clients: Vec<String>,
    /// Groups; none for all.
    pub groups: Vec<String>,
    /// When an instance begins.
    pub trigger: RequestTrigger,
    /// How long an instance lasts; zero for the one request that begins it.
    pub length_us: i64,
    /// Instances at most.
    pub most: u64,
}

/// What a fault does to the requests that it touches.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestEffect {
    /// The request is done and its answer lost.
    LostAck,
    /// The connection is lost ahead of the request, which is not done.
    Disconnect,
    /// The broker is gone, with all connections.
    BrokerDown,
    /// Every answer is late.
    BrokerSlow {
        /// By how much.
        latency_us: i64,
    },
    /// Events are handed out only so fast.
    SlowReader {
        /// How fast.
        rate: ReadRate,
    },
    /// Events are taken late, and only so fast.
    SlowSink {
        /// How late.
        latency_us: i64,
        /// Bytes a second; none for no bound.
        bytes_per_second: Option<u64>,
    },
    /// A partition refuses this time.
    PartialLoss,
    /// A partition says that another broker leads it.
    NotLeader,
    /// The coordinator says that it is loading.
    Loading,
    /// The client is told to wait, and not heard meanwhile.
    Throttle {
        /// For how long.
        time_us: i64,
    },
    /// Another member joins a group, and leaves it after the fault's length.
    Rebalance,
    /// A fetch gets so many events of a partition, at most.
    Batch {
        /// In turn; zero for as many as there are.
        sizes: Vec<u32>,
    },
    /// A process of the build is killed, and started again after the fault's length. Where a commit begins it, that commit is not done.
    Crash {
        /// Which process.
        victim: Victim,
    },
    /// A process of the build is told to end, killed where it takes too long, and started again after the fault's length.
    Restart {
        /// Which process.
        victim: Victim,
        /// How long it may take to end.
        grace_us: i64,
    },
    /// A process of the build, with all that it started, is stopped, and goes on after the fault's length.
    Freeze {
        /// Which process.
        victim: Victim,
    },
    /// The wall clock of all processes of the build is wrong.
    Clock {
        /// How.
        change: ClockChange,
    },
}

/// Which process of a build a fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// This one, counted from 0.
    Instance(u32),
    /// One that is drawn anew for each instance of the fault.
    Drawn(Seed),
}

impl Victim {
    /// The process that the instance `number` of `fault` happens to, of `processes` that there are.
    pub fn choose(self, fault: &str, number: u64, processes: u32) -> u32 {
        match self {
            Self::Instance(instance) => instance,
            Self::Drawn(seed) => {
                let drawn = seed.draws(&format!("{fault}/instance"))(number);
                ((u128::from(drawn) * u128::from(processes)) >> 64) as u32
            }
        }
    }
}

/// How fast a slow reader reads.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRate {
    /// Bytes in a second of replay time.
    BytesPerSecond(u64),
    /// A share of the rate at which the plan hands events over: mean bytes of `sample`, times `deliveries`, over `length_us`.
    OfInput {
        /// The share.
        share: f64,
        /// Events spread evenly over the plan, warm-up left out.
        sample: Vec<Place>,
        /// Deliveries of the plan, likewise.
        deliveries: u64,
        /// Length of the plan.
        length_us: i64,
    },
}

/// When an instance of a fault at requests begins. Requests (of each partition for faults that touch partitions one by one) count from 1
/// at the schedule's start.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestTrigger {
    /// With each request.
    Always,
    /// With each that a draw picks.
    Probability {
        /// Chance of each, from 0 to 1.
        chance: f64,
        /// What the draws follow from, together with the fault's name.
        seed: Seed,
    },
    /// With this one.
    Nth(u64),
    /// With these, as a fault log has them: by partition where the fault touches partitions one by one, else under none.
    These(BTreeMap<Option<(String, i32)>, BTreeSet<u64>>),
    /// With every so many.
    Every(u64),
    /// With the first of each call.
    OnceEach,
    /// At these moments since the schedule's start, in order.
    Moments(Vec<i64>),
}

/// When a fault at requests fires, or a flag changes, as a summary says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRequests {
    /// When an instance begins, in words.
    pub begins: String,
    /// Whether replay time begins instances, at the same instants in every drive; else a number of requests does, and requests are
    /// the client's own.
    pub by_time: bool,
    /// Whether a client writes, or is handed, something once more because of it: the drives without redelivery do without it.
    pub redelivers: bool,
    /// Build whose drives alone are to see it; none for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Role>,
}

/// A checked fault at requests, as far as that goes without the plan's schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CheckedRequest {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: RequestKind,
    when: When,
    /// Key of the trigger, or of the kind where the preset has it.
    when_key: &'static str,
    length_us: i64,
    most: u64,
    amounts: Amounts,
    /// Key of the rate, likewise.
    rate_key: &'static str,
    requests: Vec<String>,
    topics: Vec<String>,
    partitions: Vec<i32>,
    clients: Vec<String>,
    groups: Vec<String>,
    /// What a fault log has of it, in place of what is written.
    replayed: Option<LoggedRequests>,
}

/// What a fault log has of a fault at requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LoggedRequests {
    pub(super) kind: String,
    /// Moments since the schedule's start.
    pub(super) moments_us: BTreeSet<i64>,
    /// By how much a clock is wrong, in microseconds, where that is said.
    pub(super) by_us: Option<i64>,
    /// Requests, by partition where the fault touches partitions one by one.
    pub(super) requests: BTreeMap<Option<(String, i32)>, BTreeSet<u64>>,
}

/// How long a process that is restarted may take to end, where nothing is said.
const GRACE_US: i64 = 10_000_000;

/// By how much a fault does what it does; each kind reads its own.
#[derive(Debug, Clone, PartialEq)]
struct Amounts {
    latency_us: i64,
    time_us: i64,
    rate: Option<Rate>,
    sizes: Sizes,
    grace_us: i64,
    instance: Option<u32>,
    clock: clock::Written,
}

impl Default for Amounts {
    fn default() -> Self {
        let sizes = Sizes::Turns(Vec::new());
        Self {
            latency_us: 0,
            time_us: 0,
            rate: None,
            sizes,
            grace_us: GRACE_US,
            instance: None,
            clock: clock::Written::of(Preset::Normal),
        }
    }
}

/// When an instance begins, as written.
#[derive(Debug, Clone, PartialEq)]
enum When {
    Always,
    /// From the start on.
    Start,
    Probability(f64),
    Nth(u64),
    Every(u64),
    OnceEach,
    /// At this many drawn moments.
    Times(u64),
    At(Vec<At>),
    /// Each time that so many microseconds of replay time have passed.
    Period(i64),
}

impl When {
    fn is_by_time(&self) -> bool {
        matches!(self, Self::Start | Self::Times(_) | Self::At(_) | Self::Period(_))
    }
}

impl CheckedRequest {
    /// Takes instances from a log: none where it has none.
    pub(super) fn replay(&mut self, logged: Option<&LoggedRequests>) {
        self.replayed = Some(logged.cloned().unwrap_or_default());
    }

    pub(super) fn legality(&self) -> Legality {
        self.kind.legality()
    }

    /// Whether it is there from the start on, whatever the pace.
    pub(super) fn begins_at_start(&self) -> bool {
        self.when == When::Start
    }
}

impl RequestFault {
    /// Whether it happens to the build's process or its clock: over every transport, and begun by commits instead of requests, or by
    /// moments.
    pub fn is_of_process(&self) -> bool {
        matches!(
            self.effect,
            RequestEffect::Crash { .. }
                | RequestEffect::Restart { .. }
                | RequestEffect::Freeze { .. }
                | RequestEffect::Clock { .. }
        )
    }
}
