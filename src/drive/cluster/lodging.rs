//! What a drive has on a cluster for as long as it lasts: topics of its own and a group. Both are removed however the drive ends.
//!
//! All of it is called `rehearsal-WHEN-MARK-DRIVE`, `WHEN` being the second (UTC) in which it was made and `MARK` eight digits that no
//! other drive has; topics have their name in production behind it. What begins so and is no longer in use was left behind by a
//! drive that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{ClusterError, not_made};
use super::link::Link;
use crate::clock::Clock;
use crate::kafka::{NewTopic, delete_group, delete_topics, members_of};
use crate::settings::Moment;

/// Ahead of all that a drive has on a cluster.
const FRONT: &str = "rehearsal-";

/// Digits of a moment, to the second.
const WHEN: usize = 14;

/// Digits of a mark.
const MARK: usize = 8;

/// Most characters of a topic's name.
const NAME_MAX: usize = 249;

/// Pause between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for members to go where somebody asked to stop.
const HURRY: Duration = Duration::from_secs(10);

/// Bounds a single request.
const REQUEST: Duration = Duration::from_secs(10);

/// What a drive calls all that it has on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(String);

impl Names {
    /// Makes names for the drive `drive` that nothing else has.
    pub(super) fn of(drive: &str, clock: &dyn Clock) -> Self {
        static DRIVES: AtomicU64 = AtomicU64::new(0);
        let number = DRIVES.fetch_add(1, Ordering::Relaxed);
        let (date_us, machine) = (clock.date_us(), rustix::system::uname());
        let machine = machine.nodename().to_string_lossy();
        let unique = format!("{machine} {} {date_us} {number}", std::process::id());
        let mark = xxh3_64(unique.as_bytes()) as u32;
        let date = Moment::of_ms(date_us / 1_000).to_string();
        let when: String = date.chars().filter(char::is_ascii_digit).take(WHEN).collect();
        Self(format!("{FRONT}{when}-{mark:08x}-{drive}"))
    }

    /// The group.
    pub(super) fn group(&self) -> &str {
        &self.0
    }

    /// What production's topic `name` is called: with its own name at the end, cut and marked where that would be too long.
    pub(super) fn topic(&self, name: &str) -> String {
        let whole = format!("{}-{name}", self.0);
        if whole.len() <= NAME_MAX {
            return whole;
        }
        let mark = format!("-{:016x}", xxh3_64(name.as_bytes()));
        let mut end = NAME_MAX - mark.len();
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{mark}", &whole[..end])
    }

    /// Whether a topic is one of the drive's, or one that its build made below the drive's group, as Kafka Streams does.
    fn holds(&self, topic: &str) -> bool {
        topic.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// The drive that a name tells of, as `rehearsal-WHEN-MARK`; none where the name is none of ours.
fn drive_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(FRONT)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let marks = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (when, rest) = rest.split_once('-').filter(|(when, _)| when.len() == WHEN && digits(when))?;
    let (mark, _) = rest.split_once('-').filter(|(mark, _)| mark.len() == MARK && marks(mark))?;
    name.get(..FRONT.len() + when.len() + 1 + mark.len())
}

/// A topic to be made: its name in production, its partitions, and settings beyond those that all have.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) topic: String,
    pub(super) partitions: i32,
    pub(super) configuration: Vec<(&'static str, String)>,
}

/// The topics and the group of a drive. Where it is dropped without being left, what can be removed at once is.
pub(super) struct Lodging<'l, 'a> {
    link: &'l Link<'a>,
    pub(super) names: Names,
    left: bool,
}

impl<'l, 'a> Lodging<'l, 'a> {
    /// Makes the topics, and waits until they have leaders.
    pub(super) fn make(link: &'l Link<'a>, names: Names, rooms: &[Room]) -> Result<Self, ClusterError> {
        let new = |room: &Room| {
            // Events are as old as they are: what their age would have removed stays for as long as the drive lasts. Their
            // timestamps stay, too, whatever the brokers' default.
            let mut configuration = vec![
                ("cleanup.policy", "delete".to_owned()),
                ("message.timestamp.type", "CreateTime".to_owned()),
                ("retention.bytes", "-1".to_owned()),
                ("retention.ms", "-1".to_owned()),
            ];
            configuration.extend(room.configuration.iter().cloned());
            let replication = link.rules.replication.unwrap_or(-1);
            NewTopic { name: names.topic(&room.topic), partitions: room.partitions, replication, configuration }
        };
        let topics: Vec<NewTopic> = rooms.iter().map(new).collect();
        let lodging = Self { link, names, left: link.rules.keep_topics };
        let refused = crate::kafka::create_topics(&link.consumer, &topics, link.timeout);
        not_made(refused).map_err(|error| match error {
            ClusterError::Topic { topic, reason, passing } => {
                ClusterError::Topic { topic, reason: link.scrub(&reason), passing }
            }
            other => other,
        })?;
        lodging.wait_for_leaders(&topics)?;
        Ok(lodging)
    }

    fn wait_for_leaders(&self, topics: &[NewTopic]) -> Result<(), ClusterError> {
        let Link { consumer, timeout, clock, .. } = self.link;
        let due = clock.now().saturating_add(*timeout);
        loop {
            if self.link.stop.raised() {
                return Err(ClusterError::Stopped { brokers: self.link.rules.brokers.clone() });
            }
            let metadata = self.link.ask("their topics", |wait| consumer.fetch_metadata(None, wait))?;
            let led = |topic: &NewTopic| {
                let found = metadata.topics().iter().find(|found| found.name() == topic.name);
                found.is_some_and(|found| {
                    let partitions = found.partitions();
                    partitions.len() as i32 == topic.partitions
                        && partitions.iter().all(|partition| partition.leader() >= 0 && partition.error().is_none())
                })
            };
            let missing = match topics.iter().find(|topic| !led(topic)) {
                Some(topic) => Some(topic.name.clone()),
                None => self.not_serving(topics),
            };
            let Some(topic) = missing else { return Ok(()) };
            if clock.now() > due {
                let reason = format!("not every partition had a leader within {} s", timeout.as_secs());
                return Err(ClusterError::Topic { topic, reason, passing: true });
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// A topic of which a leader does not serve a partition yet. That is known among brokers before it is known to the leader, which
    /// then refuses a producer's first event and may take the second: the first is lost, and counts as taken.
    fn not_serving(&self, topics: &[NewTopic]) -> Option<String> {
        let mut places = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..topic.partitions {
                // Offsets are asked for by time, and any will do.
                let added = places.add_partition_offset(&topic.name, partition, Offset::Offset(0));
                if added.is_err() {
                    return Some(topic.name.clone());
                }
            }
        }
        match self.link.consumer.offsets_for_times(places, REQUEST) {
            Ok(found) => {
                let elements = found.elements();
                elements.iter().find(|found| found.error().is_err()).map(|found| found.topic().to_owned())
            }
            Err(_) => topics.first().map(|topic| topic.name.clone()),
        }
    }

    /// Removes all of it; a group whose members have not gone yet is waited for up to `wait`. Says what is left.
    pub(super) fn leave(mut self, wait: Duration) -> Vec<String> {
        if std::mem::replace(&mut self.left, true) {
            return vec![format!("its topics are left on the cluster, they begin with {}", self.names.0)];
        }
        let mut said = self.delete_topics();
        said.extend(self.delete_group(wait));
        said
    }

    fn delete_topics(&self) -> Vec<String> {
        let listed = self.link.consumer.fetch_metadata(None, REQUEST);
        let all = match &listed {
            Ok(metadata) => metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name),
            Err(error) => {
                let reason = self.link.scrub(&error.to_string());
                return vec![format!("its topics, which begin with {}, could not be removed: {reason}", self.names.0)];
            }
        };
        let own: Vec<&str> = all.filter(|topic| self.names.holds(topic)).collect();
        if own.is_empty() {
            return Vec::new();
        }
        let refused = delete_topics(&self.link.consumer, &own, REQUEST);
        if refused.is_empty() {
            wait_for_absence(self.link, |topic| self.names.holds(topic));
        }
        let gone = |code: Option<RDKafkaErrorCode>| code == Some(RDKafkaErrorCode::UnknownTopicOrPartition);
        let left = refused.into_iter().filter(|refusal| !gone(refusal.code)).map(|refusal| {
            format!("its topic {} could not be removed: {}", refusal.name, self.link.scrub(&refusal.reason))
        });
        left.collect()
    }

    fn delete_group(&self, wait: Duration) -> Option<String> {
        // Whoever asked to stop does not wait for as long.
        let wait = if self.link.stop.raised() { wait.min(HURRY) } else { wait };
        let due = self.link.clock.now().saturating_add(wait);
        loop {
            let refusal = match delete_group(&self.link.consumer, self.names.group(), REQUEST) {
                Ok(()) => return None,
                Err(refusal) => refusal,
            };
            match refusal.code {
                Some(RDKafkaErrorCode::GroupIdNotFound) => return None,
                Some(
                    RDKafkaErrorCode::NonEmptyGroup
                    | RDKafkaErrorCode::CoordinatorLoadInProgress
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::NotCoordinator,
                ) if self.link.clock.now() < due => std::thread::park_timeout(LOOK),
                _ => {
                    let reason = self.link.scrub(&refusal.reason);
                    return Some(format!("its group {} could not be removed: {reason}", self.names.group()));
                }
            }
        }
    }
}

impl Drop for Lodging<'_, '_> {
    fn drop(&mut self) {
        if !self.left {
            self.delete_topics();
            self.delete_group(Duration::ZERO);
        }
    }
}

/// Waits until brokers no longer tell of topics that were deleted: they do a little longer.
fn wait_for_absence(link: &Link<'_>, is_gone: impl Fn(&str) -> bool) {
    let due = link.clock.now().saturating_add(REQUEST);
    let told_of = || {
        let listed = link.consumer.fetch_metadata(None, REQUEST);
        listed.is_ok_and(|metadata| metadata.topics().iter().any(|topic| is_gone(topic.name())))
    };
    while told_of() && link.clock.now() < due {
        std::thread::park_timeout(LOOK);
    }
}

/// What a drive that is no longer there left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Leftover {
    pub(super) topics: BTreeSet<String>,
    pub(super) groups: BTreeSet<String>,
}

/// Returns what drives have on the cluster that nobody uses: by drive, without those whose groups have members.
pub(super) fn leftovers(link: &Link<'_>) -> Result<BTreeMap<String, Leftover>, ClusterError> {
    let mut found: BTreeMap<String, Leftover> = BTreeMap::new();
    for topic in link.topics()? {
        if let Some(drive) = drive_of(&topic) {
            found.entry(drive.to_owned()).or_default().topics.insert(topic);
        }
    }
    let groups = link.ask("their groups", |wait| link.consumer.fetch_group_list(None, wait))?;
    let mut in_use = BTreeSet::new();
    for group in groups.groups() {
        let Some(drive) = drive_of(group.name()) else { continue };
        let members = members_of(&link.consumer, group.name(), REQUEST);
        if members.is_ok_and(|members| members.count > 0) {
            in_use.insert(drive.to_owned());
        }
        found.entry(drive.to_owned()).or_default().groups.insert(group.name().to_owned());
    }
    found.retain(|drive, _| !in_use.contains(drive));
    Ok(found)
}

/// Removes what a drive left behind.
pub(super) fn remove(link: &Link<'_>, topics: &[String], groups: &[String]) -> Result<(), ClusterError> {
    let not_removed = |name: &str, reason: &str| ClusterError::NotRemoved {
        name: name.to_owned(),
        brokers: link.rules.brokers.clone(),
        reason: link.scrub(reason),
    };
    if !topics.is_empty() {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut refused = delete_topics(&link.consumer, &topics, REQUEST).into_iter();
        let kept = refused.find(|refusal| refusal.code != Some(RDKafkaErrorCode::UnknownTopicOrPartition));
        if let Some(refusal) = kept {
            return Err(not_removed(&refusal.name, &refusal.reason));
        }
        wait_for_absence(link, |topic| topics.contains(&topic));
    }
    for group in groups {
        match delete_group(&link.consumer, group, REQUEST) {
            Err(refusal) if refusal.code != Some(RDKafkaErrorCode::GroupIdNotFound) => {
                return Err(not_removed(group, &refusal.reason));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::super::link::consumer;
    use super::*;
    use crate::clock::{Stop, SystemClock};
    use crate::drive::DriveSettings;

    #[test]
    fn whoever_asks_to_stop_does_not_wait_for_leaders() {
        let brokers: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let text = format!("transport = 'kafka'\noutputs = ['a']\nbroker = '{}'", brokers.bootstrap_servers());
        let rules = toml::from_str::<DriveSettings>(&text).unwrap().check().unwrap();
        let rules = rules.kafka.unwrap().cluster.unwrap();
        let (clock, stop) = (SystemClock::start(), Stop::new());
        let (consumer, timeout) = (consumer(&rules, None).unwrap(), Duration::from_secs(5));
        let link = Link { consumer, rules: &rules, timeout, clock: &clock, stop: &stop };
        let lodging = Lodging { link: &link, names: Names::of("old", &clock), left: true };
        let never = NewTopic { name: "never".to_owned(), partitions: 1, replication: 1, configuration: Vec::new() };
        stop.raise();
        let waited = lodging.wait_for_leaders(&[never]);
        assert!(matches!(waited, Err(ClusterError::Stopped { .. })), "{waited:?}");
    }

    #[test]
    fn no_two_drives_have_a_name_in_common() {
        let clock = SystemClock::start();
        let names: Vec<Names> = (0..1_000).map(|_| Names::of("old", &clock)).collect();
        let unique: BTreeSet<&str> = names.iter().map(Names::group).collect();
        assert_eq!(unique.len(), names.len());
        // One name may begin another one's drive.
        let (old, again) = (Names::of("old", &clock), Names::of("old-again", &clock));
        assert!(old.holds(&old.topic("flights")) && !old.holds(&again.topic("flights")));
        assert!(!old.holds(old.group()), "a topic of the group's own name");
    }

    #[test]
    fn a_name_tells_of_its_drive_and_other_names_tell_nothing() {
        let names = Names::of("old", &SystemClock::start());
        let drive = drive_of(names.group()).unwrap();
        assert_eq!(drive.len(), FRONT.len() + WHEN + 1 + MARK);
        assert_eq!(drive_of(&names.topic("flights")), Some(drive));
        assert_eq!(drive_of(&format!("{}-store-changelog", names.group())), Some(drive));
        for other in [
            "flights",
            "rehearsal-",
            "rehearsal-flights",
            "rehearsal-2026-1a2b3c4d-old",
            "rehearsal-20261122033400-x-old",
        ] {
            assert_eq!(drive_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_stays_its_own() {
        let names = Names::of("old-again", &SystemClock::start());
        assert!(names.topic("flights").ends_with("-old-again-flights"));
        let long = |end: &str| names.topic(&format!("{}{end}", "x".repeat(248)));
        assert_eq!((long("a").len(), long("b").len()), (NAME_MAX, NAME_MAX));
        assert_ne!(long("a"), long("b"));
        assert!(names.holds(&long("a")));
        assert!(names.topic(&"é".repeat(200)).len() <= NAME_MAX);
    }
}
