//! What faults touched.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::super::wire::Request;
use super::StageFaultKind;
use crate::plan::Legality;

/// Most lines that are kept; beyond them faults are counted only.
const LINES_MAX: usize = 100_000;

/// What a fault touched, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFired {
    /// When, on the stage's clock.
    pub at: Duration,
    /// The fault's name.
    pub fault: String,
    /// Its kind's name.
    pub kind: &'static str,
    /// Whether Kafka promises not to do it.
    pub legality: Legality,
    /// `client.id` of whom it touched; empty where it was nobody's request.
    pub client: String,
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
}

impl StageFired {
    /// A line without a request.
    pub(super) fn by_itself(at: Duration, fault: &str, kind: &StageFaultKind) -> Self {
        Self {
            at,
            fault: fault.to_owned(),
            kind: kind.name(),
            legality: kind.legality(),
            client: String::new(),
            connection: 0,
            call: String::new(),
            version: 0,
            correlation: 0,
            partitions: Vec::new(),
            group: None,
        }
    }

    pub(super) fn of(at: Duration, fault: &str, kind: &StageFaultKind, request: &Request) -> Self {
        Self {
            client: request.client.clone(),
            connection: request.connection,
            call: ApiKey::try_from(request.key).map_or_else(|()| request.key.to_string(), |key| format!("{key:?}")),
            version: request.version,
            correlation: request.correlation,
            ..Self::by_itself(at, fault, kind)
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
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct FaultLines {
    pub(super) lines: Vec<StageFired>,
    pub(super) counts: BTreeMap<String, StageFaultCount>,
}

impl FaultLines {
    /// Notes what was touched; `begins` with what an instance began.
    pub(super) fn add(&mut self, line: StageFired, begins: bool) {
        let count = self.counts.entry(line.fault.clone()).or_default();
        count.touched += 1;
        count.instances += u64::from(begins);
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }
}
