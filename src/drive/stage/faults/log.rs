//! What faults touched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::super::wire::Request;
use super::StageFaultKind;
use crate::plan::Legality;

/// Most lines that wait to be taken; beyond them faults are counted only.
const LINES_MAX: usize = 100_000;

/// What a fault touched, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFired {
    /// When, on the stage's clock.
    pub at: Duration,
    /// The fault's name.
    pub fault: String,
    /// Number of the fault's instance, in the order they began, from 1 on.
    pub instance: u64,
    /// Its kind's name.
    pub kind: &'static str,
    /// Whether Kafka promises not to do it.
    pub legality: Legality,
    /// `client.id` of whom it touched; empty where it was nobody's request.
    pub client: String,
    /// Address and port of whom it touched; none where it was nobody's request.
    pub address: Option<SocketAddr>,
    /// Number of the connection, in the order they came; 0 where it was nobody's request.
    pub connection: u64,
    /// The call, by Kafka's name; empty where it was nobody's request.
    pub call: String,
    /// Its version.
    pub version: i16,
    /// Number of the request on its connection, as the client gave it.
    pub correlation: i32,
    /// Topics and partitions it was about, if any.
    pub partitions: Vec<(String, i32)>,
    /// The group that it touched, if it is about one.
    pub group: Option<String>,
    /// Where a number of requests began the instance with this: which one it was of those that it may touch, from 1 on, of the
    /// partition where partitions are touched one by one.
    pub request: Option<u64>,
}

impl StageFired {
    /// A line without a request.
    pub(super) fn by_itself(at: Duration, fault: &str, instance: u64, kind: &StageFaultKind) -> Self {
        Self {
            at,
            fault: fault.to_owned(),
            instance,
            address: None,
            kind: kind.name(),
            legality: kind.legality(),
            client: String::new(),
            connection: 0,
            call: String::new(),
            version: 0,
            correlation: 0,
            partitions: Vec::new(),
            group: None,
            request: None,
        }
    }

    pub(super) fn of(at: Duration, fault: &str, instance: u64, kind: &StageFaultKind, request: &Request) -> Self {
        Self {
            address: request.peer,
            client: request.client.clone(),
            connection: request.connection,
            call: ApiKey::try_from(request.key).map_or_else(|()| request.key.to_string(), |key| format!("{key:?}")),
            version: request.version,
            correlation: request.correlation,
            ..Self::by_itself(at, fault, instance, kind)
        }
    }
}

/// How often a fault fired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageFaultCount {
    /// Instances that began and touched something.
    pub instances: u64,
    /// Requests, partitions of requests, connections and groups that were touched.
    pub touched: u64,
    /// Instances that can have made a client write, or be handed, something once more: each that lost the answer to a `Produce`, and
    /// each visit to a group if events were handed out again without having been set back since the fault is in force. Who handed a
    /// position out again is not known: of several groups that read one topic, each visit counts.
    pub provoked: u64,
}

/// How often a fault fired, and did what may make something repeat.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    instances: u64,
    touched: u64,
    /// Instances that lost the answer to a write.
    lost_writes: u64,
    /// Instances in which somebody came into a group.
    visits: u64,
    /// Highest instance among those of lost answers.
    highest_lost: u64,
}

impl Count {
    /// What is said of it, where positions were handed out `again` or not.
    pub(super) fn told(self, again: bool) -> StageFaultCount {
        let provoked = self.lost_writes + if again { self.visits } else { 0 };
        StageFaultCount { instances: self.instances, touched: self.touched, provoked }
    }
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct FaultLines {
    pub(super) lines: Vec<StageFired>,
    pub(super) counts: BTreeMap<String, Count>,
    /// Highest instance that is counted, by fault and, where it touches partitions one by one, by partition.
    counted: BTreeMap<(String, Option<(String, i32)>), u64>,
}

impl FaultLines {
    /// Notes what was touched; `begins` with what an instance began, `spot` the partition if partitions are touched one by one.
    pub(super) fn add(&mut self, line: StageFired, begins: bool, spot: Option<(&str, i32)>) {
        let count = self.counts.entry(line.fault.clone()).or_default();
        count.touched += 1;
        // What began an instance may have come to nothing, or be noted behind what came later.
        let key = (line.fault.clone(), spot.map(|(topic, index)| (topic.to_owned(), index)));
        let counted = self.counted.entry(key).or_default();
        let first = counts_first(counted, line.instance, begins);
        count.instances += u64::from(first);
        if line.kind == StageFaultKind::Rebalance.name() {
            count.visits += u64::from(first);
        }
        // What only commits, beats or asks is done again without anything being written or handed over twice.
        if line.kind == StageFaultKind::LostAck.name() && line.call == format!("{:?}", ApiKey::Produce) {
            count.lost_writes += u64::from(counts_first(&mut count.highest_lost, line.instance, begins));
        }
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }
}

/// Whether an instance is touched for the first time, where those up to `highest` have been.
fn counts_first(highest: &mut u64, instance: u64, begins: bool) -> bool {
    let first = instance > *highest || begins && instance < *highest;
    *highest = instance.max(*highest);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_repeat_something_counts_as_provoking_it() {
        let provoked = |kind: StageFaultKind, calls: &[ApiKey], again| {
            let mut lines = FaultLines::default();
            for (number, call) in calls.iter().enumerate() {
                let request = Request { key: *call as i16, ..Request::default() };
                lines.add(StageFired::of(Duration::ZERO, "f", number as u64 + 1, &kind, &request), true, None);
            }
            let count = lines.counts["f"].told(again);
            assert_eq!(count.instances, calls.len() as u64);
            count.provoked
        };
        let lost = |calls: &[ApiKey]| [true, false].map(|again| provoked(StageFaultKind::LostAck, calls, again));
        assert_eq!(lost(&[ApiKey::OffsetCommit, ApiKey::Heartbeat, ApiKey::Metadata]), [0, 0]);
        assert_eq!(lost(&[ApiKey::Produce, ApiKey::OffsetCommit, ApiKey::Produce]), [2, 2]);
        let visits = |again| provoked(StageFaultKind::Rebalance, &[ApiKey::OffsetCommit; 3], again);
        assert_eq!((visits(true), visits(false)), (3, 0));
        assert_eq!(provoked(StageFaultKind::Throttle { time: Duration::ZERO }, &[ApiKey::Produce], true), 0);
    }

    #[test]
    fn an_instance_counts_once_whatever_of_it_is_noted_and_when() {
        let instances = |touches: &[(u64, bool)]| {
            let mut lines = FaultLines::default();
            for (instance, begins) in touches {
                let line = StageFired::by_itself(Duration::ZERO, "f", *instance, &StageFaultKind::Loading);
                lines.add(line, *begins, None);
            }
            let count = lines.counts["f"].told(false);
            assert_eq!(count.touched, touches.len() as u64);
            count.instances
        };
        assert_eq!(instances(&[(1, true), (2, true), (3, true)]), 3);
        assert_eq!(instances(&[(2, true), (1, true)]), 2);
        assert_eq!(instances(&[(1, true), (1, false), (1, false), (2, true), (2, false)]), 2);
        // What began it came to nothing, or is noted last.
        assert_eq!(instances(&[(1, false), (1, false)]), 1);
        assert_eq!(instances(&[(1, false), (1, true)]), 1);
        assert_eq!(instances(&[(1, true), (1, true)]), 1);
    }
}
