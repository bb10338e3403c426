//! Settings of a stage.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::StageError;
use super::topics::PARTITIONS_MAX;

/// Longest time that any setting may say: a year.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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

    /// Checks each setting by itself.
    ///
    /// # Errors
    ///
    /// [`StageError::Setting`] with the first that lies outside of its range.
    pub fn check(&self) -> Result<(), StageError> {
        let millis = Duration::from_millis;
        if let Some(host) = self.advertise.as_ref().filter(|host| host.trim().is_empty()) {
            let (value, range) = (format!("`{host}`"), "the name or address of a host".to_owned());
            return Err(StageError::Setting { name: "advertise", value, range });
        }
        within("connections_max", &self.connections_max, 1..=100_000)?;
        within("request_bytes_max", &self.request_bytes_max, 1_024..=i32::MAX as usize)?;
        within("batch_bytes_max", &self.batch_bytes_max, 1..=i32::MAX as usize)?;
        within("partitions_default", &self.partitions_default, 1..=PARTITIONS_MAX)?;
        within("replication_max", &self.replication_max, 1..=i16::MAX)?;
        within("initial_rebalance_delay", &self.initial_rebalance_delay, Duration::ZERO..=millis(3_600_000))?;
        within("consumer_heartbeat", &self.consumer_heartbeat, millis(10)..=millis(60_000))?;
        // A member that beats as it is told to is not put out.
        within("consumer_session", &self.consumer_session, self.consumer_heartbeat * 2..=millis(1_800_000))?;
        within("producer_expiration", &self.producer_expiration, millis(1)..=YEAR)?;
        within("window_bytes", &self.window_bytes, 0..=1 << 40)
    }

    /// Host and port that clients are told, where the stage listens at `address`.
    pub(super) fn advertised(&self, address: SocketAddr) -> (String, u16) {
        (self.advertise.clone().unwrap_or_else(|| address.ip().to_string()), address.port())
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    name: &'static str,
    value: &T,
    range: RangeInclusive<T>,
) -> Result<(), StageError> {
    if range.contains(value) {
        return Ok(());
    }
    let range = format!("from {:?} to {:?}", range.start(), range.end());
    Err(StageError::Setting { name, value: format!("{value:?}"), range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_held_to_its_range_by_name() {
        let wrong = |change: &dyn Fn(&mut StageSettings)| {
            let mut settings = StageSettings::new("/nowhere");
            assert!(settings.check().is_ok());
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        let changes: [&dyn Fn(&mut StageSettings); 11] = [
            &|settings| settings.advertise = Some(" ".to_owned()),
            &|settings| settings.connections_max = 0,
            &|settings| settings.request_bytes_max = 1 << 40,
            &|settings| settings.batch_bytes_max = 0,
            &|settings| settings.partitions_default = 0,
            &|settings| settings.replication_max = 0,
            &|settings| settings.initial_rebalance_delay = YEAR,
            &|settings| settings.consumer_heartbeat = Duration::ZERO,
            &|settings| settings.consumer_session = settings.consumer_heartbeat,
            &|settings| settings.producer_expiration = Duration::ZERO,
            &|settings| settings.window_bytes = usize::MAX,
        ];
        let names = [
            "advertise",
            "connections_max",
            "request_bytes_max",
            "batch_bytes_max",
            "partitions_default",
            "replication_max",
            "initial_rebalance_delay",
            "consumer_heartbeat",
            "consumer_session",
            "producer_expiration",
            "window_bytes",
        ];
        for (name, change) in names.into_iter().zip(changes) {
            let error = wrong(change);
            assert!(error.contains(&format!("cannot have {name} of ")), "{error}");
        }
        let error = wrong(&|settings| settings.partitions_default = -1);
        assert_eq!(error, "the stage cannot have partitions_default of -1: it is to be from 1 to 10000");
    }
}
