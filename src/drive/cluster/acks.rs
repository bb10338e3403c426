//! What the brokers say of events that were produced: when each came to stand in its partition, and where.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::error::{ClusterError, is_passing};
use super::standing::stands;
use crate::clock::Clock;
use crate::drive::kafka::Spot;
use crate::drive::stage::Stretch;
use crate::kafka::{Listening, Properties, Report, reports};

/// One partition.
#[derive(Debug, Default)]
struct Lane {
    /// Position behind the last event that stands there.
    next: i64,
    /// What came to stand there since somebody last looked.
    stretches: Vec<Stretch>,
}

/// See the top of the file. An event is known by the index of its partition alone: within one they are acknowledged in order.
pub(super) struct Acks {
    heard: Listening,
    clock: Arc<dyn Clock>,
    spots: Vec<Spot>,
    properties: Properties,
    lanes: Mutex<Vec<Lane>>,
    /// Held by whoever listens: what two heard at once would be in no order.
    ear: Mutex<()>,
    /// Whether the thread that produces listens, too.
    producing: AtomicBool,
    /// Whether what is handed to the producer goes its way at once.
    standing: AtomicBool,
    taken: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<ClusterError>>,
}

impl Acks {
    pub(super) fn new(spots: Vec<Spot>, properties: &Properties, clock: Arc<dyn Clock>) -> Self {
        let lanes = spots.iter().map(|_| Lane::default()).collect();
        Self {
            heard: Listening::default(),
            clock,
            spots,
            properties: properties.clone(),
            lanes: Mutex::new(lanes),
            ear: Mutex::default(),
            producing: AtomicBool::new(false),
            standing: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Number of partitions.
    pub(super) fn partitions(&self) -> usize {
        self.spots.len()
    }

    /// Events that stand on the cluster.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Position behind the last event that stands in a partition.
    pub(super) fn end(&self, lane: usize) -> i64 {
        lock(&self.lanes)[lane].next
    }

    /// Takes what came to stand in a partition since.
    pub(super) fn take(&self, lane: usize, into: &mut Vec<Stretch>) {
        into.append(&mut lock(&self.lanes)[lane].stretches);
    }

    /// The first event that was not taken, once.
    pub(super) fn take_failure(&self) -> Option<ClusterError> {
        if self.failed.load(Ordering::Acquire) { lock(&self.failure).take() } else { None }
    }

    /// Whether an event was not taken.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn fail(&self, error: ClusterError) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// Waits up to `wait` for word of the brokers, and takes note of it; returns whether there was any. Somebody else who listens
    /// already is left to it.
    pub(super) fn listen(&self, client: &Client<Self>, wait: Duration) -> bool {
        let _ear = match self.ear.try_lock() {
            Ok(ear) => ear,
            Err(TryLockError::Poisoned(ear)) => ear.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        reports(client, wait, |report| self.note(&report))
    }

    /// Whether the thread that produces listens, too, from now on: an event is freed where it was made, and nobody is woken for it.
    pub(super) fn set_producing(&self, producing: bool) {
        self.producing.store(producing, Ordering::Release);
    }

    pub(super) fn is_producing(&self) -> bool {
        self.producing.load(Ordering::Acquire)
    }

    /// Whether the producer has all that it needs ahead of its first event. One that has failed for good counts as well: its events
    /// say why.
    pub(super) fn is_standing(&self) -> bool {
        self.standing.load(Ordering::Acquire)
    }

    /// What the client heard last.
    pub(super) fn heard(&self) -> Option<String> {
        self.heard.refused().or_else(|| self.heard.heard())
    }

    /// Events of a partition came to stand there, or were not taken.
    fn note(&self, report: &Report) {
        let index = report.mark;
        let spot = || self.spots[index].clone();
        if let Some(code) = report.error {
            let Spot { topic, partition, .. } = spot();
            let reason = self.properties.scrub(&KafkaError::MessageProduction(code).to_string());
            return self.fail(ClusterError::NotTaken { topic, partition, reason, passing: is_passing(Some(code)) });
        }
        let now_us = self.clock.now().as_micros() as i64;
        let mut lanes = lock(&self.lanes);
        let lane = &mut lanes[index];
        let at = lane.next;
        if report.offset >= 0 && report.offset != at {
            drop(lanes);
            let Spot { topic, partition, .. } = spot();
            return self.fail(ClusterError::Shared { topic, partition, wanted: at, found: report.offset });
        }
        lane.next += report.count;
        match lane.stretches.last_mut().filter(|last| last.handed_us == now_us) {
            Some(last) => last.to = lane.next,
            // Nobody knows when a consumer asked: always, for all that this can tell.
            None => lane.stretches.push(Stretch { round: 0, from: at, to: lane.next, asked_us: 0, handed_us: now_us }),
        }
        drop(lanes);
        self.taken.fetch_add(report.count as u64, Ordering::Release);
    }
}

impl ClientContext for Acks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.heard.generate_oauth_token(config)
    }

    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.standing.store(true, Ordering::Release);
        }
        self.heard.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if !self.is_standing() && stands(statistics, self.spots.len()) {
            self.standing.store(true, Ordering::Release);
        }
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    /// Only what is thrown away with the producer comes this way, when nobody listens any more.
    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;
    use crate::kafka::Owner;

    fn acks() -> Acks {
        let spot = |partition| Spot { topic: "t".into(), partition, start: 0 };
        Acks::new(vec![spot(0), spot(1)], &Properties::of(Owner::Drive), Arc::new(SimulatedClock::new()))
    }

    #[test]
    fn events_that_are_acknowledged_together_are_one_stretch() {
        let acks = acks();
        for (mark, offset, count) in [(0, 0, 1), (1, 0, 1), (0, 1, 2), (1, -1, 3), (0, 3, 1)] {
            acks.note(&Report { mark, offset, count, error: None });
        }
        let mut stretches = Vec::new();
        acks.take(0, &mut stretches);
        assert_eq!(stretches.iter().map(|one| (one.from, one.to)).collect::<Vec<_>>(), [(0, 4)]);
        assert_eq!((acks.end(0), acks.end(1), acks.taken(), acks.has_failed()), (4, 4, 8, false));
        stretches.clear();
        acks.take(0, &mut stretches);
        assert!(stretches.is_empty());
    }

    #[test]
    fn an_event_that_stands_elsewhere_than_planned_ends_the_drive() {
        let acks = acks();
        acks.note(&Report { mark: 1, offset: 0, count: 1, error: None });
        acks.note(&Report { mark: 1, offset: 2, count: 5, error: None });
        let said = acks.take_failure().unwrap().to_string();
        assert!(said.contains("at 2 instead of 1") && acks.has_failed(), "{said}");
    }

    #[test]
    fn a_producer_stands_once_it_has_its_id_or_has_failed_for_good() {
        let partitions = r#""topics": {"t": {"partitions": {"0": {"leader": 1}, "1": {"leader": 1}}}}"#;
        let said = |state: &str| format!(r#"{{"eos": {{"idemp_state": "{state}"}}, {partitions}}}"#);
        let producer = acks();
        producer.stats_raw(said("WaitPID").as_bytes());
        producer.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "nobody there");
        assert!(!producer.is_standing());
        assert_eq!(producer.heard().as_deref(), Some("nobody there"));
        producer.stats_raw(said("Assigned").as_bytes());
        // Once and for all: what comes later shows in what becomes of events.
        producer.stats_raw(said("DrainReset").as_bytes());
        assert!(producer.is_standing());
        let failed = acks();
        failed.error(KafkaError::Global(RDKafkaErrorCode::Fatal), "not allowed");
        assert!(failed.is_standing());
    }

    #[test]
    fn an_event_that_was_not_taken_ends_the_drive_and_stands_nowhere() {
        let acks = acks();
        let error = Some(RDKafkaErrorCode::MessageSizeTooLarge);
        acks.note(&Report { mark: 1, offset: -1, count: 2, error });
        assert!(matches!(acks.take_failure(), Some(ClusterError::NotTaken { partition: 1, passing: false, .. })));
        assert_eq!((acks.end(1), acks.taken(), acks.has_failed()), (0, 0, true));
    }
}
