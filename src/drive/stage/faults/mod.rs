//! Faults at the place where they happen: at clients' requests, at their connections, in their groups.
//!
//! A plan says what is to go wrong, as a list of [`StageFault`]s, and [`super::Stage::arm`] puts it into force. Each has a trigger,
//! that says when an *instance* of it begins, and a length: for so long it then touches whatever it aims at. A length of nothing
//! touches the one request that began it. What each touched, and of whom, stands in the log.
//!
//! What a fault does is what a broker of Kafka does in that case, in the protocol's own terms, so that a client that keeps to the
//! protocol survives it. Nothing here draws: a trigger with a share hashes the number of the request with its seed, so the same
//! requests in the same order are touched in every drive. Numbers are counted per fault, and per partition where a fault touches
//! partitions one by one, since their order among themselves is the client's own.

mod armed;
mod log;
mod rate;
mod spots;
mod throttle;

pub(super) use armed::{Acting, Faults, Happening};
pub use log::{StageFaultCount, StageFired};
pub(super) use throttle::put as put_throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::wire::Api;
use crate::plan::{Legality, Seed};

/// Something that goes wrong at the stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageFault {
    /// Its name in the log; keys the draws.
    pub name: String,
    /// What happens.
    pub kind: StageFaultKind,
    /// Whom it may touch.
    pub aim: StageAim,
    /// When an instance of it begins.
    pub trigger: StageTrigger,
    /// How long an instance lasts; nothing for the one request that began it.
    pub length: Duration,
    /// Instances at most.
    pub most: u64,
}

impl StageFault {
    /// A fault that touches whatever it may at all times, under the kind's own name.
    pub fn always(kind: StageFaultKind) -> Self {
        Self {
            name: kind.name().to_owned(),
            kind,
            aim: StageAim::default(),
            trigger: StageTrigger::Always,
            length: Duration::ZERO,
            most: u64::MAX,
        }
    }
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum StageFaultKind {
    /// The request is done and the answer lost with its connection.
    LostAck,
    /// The connection is lost ahead of the request, which is not done.
    Disconnect,
    /// The broker is gone: all connections are lost, and new ones too.
    BrokerDown,
    /// Every answer takes longer.
    BrokerSlow {
        /// By how much.
        latency: Duration,
    },
    /// Events are handed out only so fast, to all consumers together.
    SlowReader {
        /// Bytes of answers to `Fetch` in a second.
        bytes_per_second: u64,
    },
    /// Events are taken slowly.
    SlowSink {
        /// By how much each answer to `Produce` is late.
        latency: Duration,
        /// Bytes of requests in a second, of all producers together; none for no bound. A client whose request takes longer than
        /// its time-out sends it again.
        bytes_per_second: Option<u64>,
    },
    /// A partition refuses to be read or written this time, with an error after which clients try again.
    PartialLoss,
    /// A partition says that another broker leads it.
    NotLeader,
    /// The coordinator of groups and transactions says that it is still loading them.
    Loading,
    /// The client is told that it is over its quota, and not heard for so long.
    Throttle {
        /// How long.
        time: Duration,
    },
    /// Another member joins a group, gets its share, stays for the fault's length and leaves. It commits nothing. A group whose
    /// protocol knows more than topics (Kafka Streams) is asked to join again instead.
    Rebalance,
    /// A fetch gets so many events of a planned partition, at most.
    Batch {
        /// How many, one after the other and then from the first again; a number of zero stands for as many as there are.
        sizes: Vec<u32>,
    },
}

impl StageFaultKind {
    /// Its name in scenarios and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LostAck => "lost-ack",
            Self::Disconnect => "disconnect",
            Self::BrokerDown => "broker-down",
            Self::BrokerSlow { .. } => "broker-slow",
            Self::SlowReader { .. } => "slow-reader",
            Self::SlowSink { .. } => "slow-sink",
            Self::PartialLoss => "partial-loss",
            Self::NotLeader => "not-leader",
            Self::Loading => "loading",
            Self::Throttle { .. } => "throttle",
            Self::Rebalance => "rebalance",
            Self::Batch { .. } => "batch",
        }
    }

    /// Whether Kafka promises not to do it.
    pub fn legality(&self) -> Legality {
        match self {
            Self::LostAck => Legality::B,
            _ => Legality::A,
        }
    }

    /// Whether it touches partitions one by one, and not requests.
    fn is_of_partitions(&self) -> bool {
        matches!(self, Self::PartialLoss | Self::NotLeader | Self::Batch { .. })
    }

    /// Calls that it touches where none are named.
    fn calls(&self) -> Vec<ApiKey> {
        use ApiKey::{Fetch, ListOffsets, OffsetCommit, Produce, TxnOffsetCommit};
        match self {
            Self::LostAck => vec![Produce, OffsetCommit, TxnOffsetCommit],
            Self::SlowReader { .. } | Self::Batch { .. } => vec![Fetch],
            Self::SlowSink { .. } => vec![Produce],
            Self::PartialLoss | Self::Throttle { .. } => vec![Produce, Fetch],
            Self::NotLeader => vec![Produce, Fetch, ListOffsets],
            Self::Loading => COORDINATED.to_vec(),
            Self::Rebalance => vec![OffsetCommit],
            Self::Disconnect | Self::BrokerDown | Self::BrokerSlow { .. } => Api::all().map(|api| api.key).collect(),
        }
    }

    /// Names of the calls that it can touch.
    pub fn touchable(&self) -> Vec<String> {
        Api::all().filter(|api| self.can_touch(api.key)).map(|api| format!("{:?}", api.key)).collect()
    }

    /// Whether it can touch a call.
    fn can_touch(&self, key: ApiKey) -> bool {
        match self {
            // Whatever somebody asks may be what makes another come to a group.
            Self::LostAck | Self::Disconnect | Self::BrokerDown | Self::BrokerSlow { .. } | Self::Rebalance => true,
            Self::Throttle { .. } => throttle::can_tell(key),
            _ => self.calls().contains(&key),
        }
    }
}

/// Calls that the coordinator of groups or transactions answers.
const COORDINATED: [ApiKey; 14] = [
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::InitProducerId,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeGroups,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
];

/// Whom a fault may touch: what is left empty excludes nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageAim {
    /// Calls, by Kafka's names (`Produce`); left empty, those that the kind is about.
    pub calls: BTreeSet<String>,
    /// Topics; a request is touched where it is about one of them.
    pub topics: BTreeSet<String>,
    /// Partitions of these topics, or of all.
    pub partitions: BTreeSet<i32>,
    /// Clients, by `client.id`.
    pub clients: BTreeSet<String>,
    /// Groups in which a `rebalance` takes place.
    pub groups: BTreeSet<String>,
}

/// When an instance of a fault begins. Requests (or partitions of requests) that it may touch are counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub enum StageTrigger {
    /// With each.
    Always,
    /// With these.
    Nth(BTreeSet<u64>),
    /// With these, of each partition where the fault touches partitions one by one; else under none.
    These(BTreeMap<Option<(String, i32)>, BTreeSet<u64>>),
    /// With every so many.
    Every(u64),
    /// With the first request of each call.
    FirstOfEach,
    /// With each that a draw picks.
    Share {
        /// Of all, from 0 to 1.
        share: f64,
        /// What the draws follow from, together with the fault's name.
        seed: Seed,
    },
    /// At these moments since the start that [`super::Stage::arm`] was told, in order; without a length, with the first request after
    /// each.
    At(Vec<Duration>),
}
