//! Settings of a stage.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How a stage is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSettings {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Host that clients are told to connect to, where it is not the address listened at: for builds in containers.
    pub advertise: Option<String>,
    /// Folder for the logs' files, which have no names there.
    pub folder: PathBuf,
    /// Most connections at once; a build of 32 threads that writes in transactions has some 230.
    pub connections_max: usize,
    /// Largest request in bytes, as Kafka's `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Largest batch in bytes, as Kafka's `message.max.bytes`; a topic's `max.message.bytes` goes before it.
    pub batch_bytes_max: usize,
    /// Whether asking for a topic that is not there makes it, as Kafka's `auto.create.topics.enable`.
    pub auto_create: bool,
    /// Partitions of a topic where nobody says how many, as Kafka's `num.partitions`.
    pub partitions_default: i32,
    /// Largest replication factor that a topic may be made with, though all stands on the one broker there is: a build that was made for
    /// a cluster asks for what its cluster has.
    pub replication_max: i16,
    /// How long an empty group waits for more members once the first has come, and again where more have, as Kafka's
    /// `group.initial.rebalance.delay.ms`. Kafka's three seconds are for members that start one after the other on many machines; the
    /// threads of one build come within some ten milliseconds, and its first event comes later by this much.
    pub initial_rebalance_delay: Duration,
    /// How often a member of a group of the consumers' own protocol (KIP-848) is to tell that it lives, as Kafka's
    /// `group.consumer.heartbeat.interval.ms`. A member learns with its next heartbeat that it is to give a partition up, or has lost
    /// them all: Kafka's five seconds are for clusters with thousands of groups.
    pub consumer_heartbeat: Duration,
    /// How long such a member may be silent, as Kafka's `group.consumer.session.timeout.ms`.
    pub consumer_session: Duration,
    /// How long a partition remembers a producer that it hears nothing of, as Kafka's `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
    /// Bytes of visible events that stay in memory, for each planned partition.
    pub window_bytes: usize,
}

impl StageSettings {
    /// Kafka's own defaults on a free port of this machine, with logs in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            advertise: None,
            folder: folder.into(),
            connections_max: 2_000,
            request_bytes_max: 100 << 20,
            batch_bytes_max: 1_048_588,
            auto_create: true,
            partitions_default: 1,
            replication_max: 3,
            initial_rebalance_delay: Duration::from_millis(200),
            consumer_heartbeat: Duration::from_millis(500),
            consumer_session: Duration::from_secs(45),
            producer_expiration: Duration::from_secs(24 * 60 * 60),
            window_bytes: 4 << 20,
        }
    }

    /// Host and port that clients are told, where the stage listens at `address`.
    pub(super) fn advertised(&self, address: SocketAddr) -> (String, u16) {
        (self.advertise.clone().unwrap_or_else(|| address.ip().to_string()), address.port())
    }
}
