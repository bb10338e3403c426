//! What all connections share: topics, groups, transactions, and what was asked for and not served.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::faults::{Faults, Happening};
use super::groups::{Answer, Groups, Ticket, Times};
use super::log::{Log, LogError, WrittenLog};
use super::partition::{Partition, PartitionError, lock};
use super::sessions::Sessions;
use super::topics::{Topic, Topics};
use super::transactions::{Ending, Transactions};
use super::wire::{Request, WireError};
use super::{Asked, StageSettings};
use crate::clock::Clock;

/// The number of the one broker there is.
pub(super) const NODE: i32 = 1;

/// Most different calls that are remembered as asked for and not served.
const ASKED_MAX: usize = 1_000;

/// Groups and transactions: what must change together.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) groups: Groups,
    pub(super) transactions: Transactions,
}

impl Control {
    fn next_due(&self) -> Option<Duration> {
        [self.groups.next_due(), self.transactions.next_due()].into_iter().flatten().min()
    }
}

/// Who is asked ahead of each commit.
pub trait Gate: std::fmt::Debug + Send + Sync {
    /// Returns once the commit may be done, and whether it is: `false` where it is only if whoever asked is still there then.
    fn commit(&self) -> bool;
}

/// See the top of the file.
pub(super) struct Broker {
    pub(super) gate: OnceLock<Arc<dyn Gate>>,
    pub(super) settings: StageSettings,
    /// Where clients are told to find the broker.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) topics: Topics,
    pub(super) sessions: Sessions,
    pub(super) faults: Faults,
    control: Mutex<Control>,
    changed: Condvar,
    /// Locked by those who pause; rung when the stage closes and when faults come to rest.
    pausing: Mutex<()>,
    go_on: Condvar,
    closing: AtomicBool,
    asked: Mutex<BTreeMap<Asked, u64>>,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Broker {
    pub(super) fn new(settings: StageSettings, (host, port): (String, u16), clock: Arc<dyn Clock>) -> Self {
        let times = Times { heartbeat: settings.consumer_heartbeat, session: settings.consumer_session };
        let groups = Groups::new(settings.initial_rebalance_delay, times);
        Self {
            gate: OnceLock::new(),
            settings,
            host,
            port,
            clock,
            topics: Topics::default(),
            sessions: Sessions::default(),
            faults: Faults::default(),
            control: Mutex::new(Control { groups, transactions: Transactions::default() }),
            changed: Condvar::new(),
            pausing: Mutex::default(),
            go_on: Condvar::new(),
            closing: AtomicBool::new(false),
            asked: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Changes groups and transactions, and wakes those who wait for what that brings.
    pub(super) fn control<T>(&self, change: impl FnOnce(&mut Control, Duration) -> T) -> T {
        let mut control = lock(&self.control);
        let before = control.next_due();
        let result = change(&mut control, self.clock.now());
        let sooner = control.next_due().is_some_and(|due| before.is_none_or(|before| due < before));
        if sooner || control.groups.has_answers() {
            self.changed.notify_all();
        }
        result
    }

    /// Waits for the answer to a ticket; none where the stage is closed first. The wait ends with a rebalance, which has a time-out.
    pub(super) fn wait_for(&self, ticket: Ticket) -> Option<Answer> {
        let mut control = lock(&self.control);
        loop {
            if let Some(answer) = control.groups.collect(ticket) {
                return Some(answer);
            }
            if self.is_closing() {
                return None;
            }
            control = self.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has [`Self::keep_time`] look again at what is due.
    pub(super) fn wake(&self) {
        let _control = lock(&self.control);
        self.changed.notify_all();
    }

    /// Waits until `due`, or until the stage is closed or faults come to rest, who have done so `rests` times: an ending is the build's
    /// own only where nothing is held back any more.
    pub(super) fn pause(&self, due: Duration, rests: u64) {
        let mut pausing = lock(&self.pausing);
        while !self.is_closing()
            && self.faults.rests() == rests
            && let Some(left) = due.checked_sub(self.clock.now()).filter(|left| !left.is_zero())
        {
            pausing = self.go_on.wait_timeout(pausing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes those who pause, to see whether they still have to.
    pub(super) fn end_pauses(&self) {
        drop(lock(&self.pausing));
        self.go_on.notify_all();
    }

    /// Does what time asks for until the stage is closed: sessions, rebalances and transactions that took too long, and faults;
    /// `sever` ends all connections.
    pub(super) fn keep_time(&self, sever: &dyn Fn()) {
        let mut control = lock(&self.control);
        while !self.is_closing() {
            let now = self.clock.now();
            for happening in self.faults.happening(now) {
                match happening {
                    Happening::Sever => sever(),
                    Happening::Visit { fault, instance, request, groups, stays } => {
                        for group in control.groups.visit(&groups, stays, now) {
                            self.faults.visited(&fault, (instance, request), &group, now);
                        }
                    }
                }
            }
            control.groups.tick(now);
            for ending in control.transactions.tick(now) {
                // Where that fails, it is tried again.
                let _ = self.end_transaction(&mut control, ending);
            }
            if control.groups.has_answers() {
                self.changed.notify_all();
            }
            control = match [control.next_due(), self.faults.next_due()].into_iter().flatten().min() {
                None => self.changed.wait(control).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_sub(self.clock.now());
                    self.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Writes the markers of a transaction that ends, and commits or drops its offsets. Where a marker cannot be written, the
    /// transaction goes on ending: it counts as open, and is tried again.
    pub(super) fn end_transaction(&self, control: &mut Control, mut ending: Ending) -> Result<(), ResponseError> {
        let (date_ms, now_us) = (self.date_ms(), self.now_us());
        ending.partitions.retain(|(topic, index)| {
            // A topic that was deleted since needs no marker.
            let Ok((_, partition)) = self.partition(topic, *index) else { return false };
            let ended = partition.change(|log| match log {
                Log::Written(log) => {
                    let producer = ending.producer;
                    log.end_transaction(producer.id, producer.epoch, ending.committed, date_ms, now_us)
                }
                Log::Planned(_) => Ok(()),
            });
            ended.map_err(|error| self.fail(&error)).is_err()
        });
        if !ending.partitions.is_empty() {
            control.transactions.go_on_ending(ending, self.clock.now());
            return Err(ResponseError::ConcurrentTransactions);
        }
        control.groups.end_transaction(ending.producer.id, ending.groups.into_iter(), ending.committed);
        Ok(())
    }

    /// What a client is told of an error. Where the stage itself failed, whoever asks for the outcome is told, too.
    pub(super) fn told<E: Error>(&self, error: &E) -> ResponseError
    where
        for<'e> ResponseError: From<&'e E>,
    {
        let told = ResponseError::from(error);
        if told == ResponseError::KafkaStorageError {
            self.fail(error);
        }
        told
    }

    /// A log cannot be kept or read any more.
    fn fail(&self, error: &dyn Error) {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let _ = write!(said, ": {error}");
            source = error.source();
        }
        let mut failures = lock(&self.failures);
        if failures.len() < ASKED_MAX || failures.contains_key(&said) {
            *failures.entry(said).or_default() += 1;
        }
    }

    pub(super) fn failures(&self) -> Vec<(String, u64)> {
        lock(&self.failures).iter().map(|(said, count)| (said.clone(), *count)).collect()
    }

    /// Notes a request that is not served.
    pub(super) fn note_unserved(&self, request: &Request) {
        self.note(request, "");
    }

    /// Notes a request that ended its connection, unless it is noted already.
    pub(super) fn note_closed(&self, request: &Request, error: &WireError) {
        match error {
            WireError::Unserved { .. } => {}
            WireError::Malformed => self.note(request, ": cannot be decoded"),
            WireError::Refused => self.note(request, ": refused, where no answer was asked for"),
            WireError::Answer => self.note(request, ": the answer cannot be encoded"),
        }
    }

    /// Notes a connection that there was no room for.
    pub(super) fn note_refused_connection(&self, peer: &str) {
        let most = self.settings.connections_max;
        let call = format!("a connection beyond {most}");
        self.note_asked(Asked { call, version: -1, client: peer.to_owned() });
    }

    /// Notes a member of the classic protocol that comes to a group of the other, which Kafka lets in.
    pub(super) fn note_mixed(&self, request: &Request) {
        self.note(request, ": to a group of the consumers' own protocol");
    }

    /// Notes a client that would speak TLS.
    pub(super) fn note_tls(&self, peer: &str) {
        let call =
            "a connection with TLS, where the stage speaks plain text (`security.protocol=PLAINTEXT`)".to_owned();
        self.note_asked(Asked { call, version: -1, client: peer.to_owned() });
    }

    fn note(&self, request: &Request, what: &str) {
        let call = ApiKey::try_from(request.key)
            .map_or_else(|()| format!("call {}{what}", request.key), |key| format!("{key:?}{what}"));
        self.note_asked(Asked { call, version: request.version, client: request.client.clone() });
    }

    fn note_asked(&self, asked: Asked) {
        let mut all = lock(&self.asked);
        if all.len() < ASKED_MAX || all.contains_key(&asked) {
            *all.entry(asked).or_default() += 1;
        }
    }

    pub(super) fn asked(&self) -> Vec<(Asked, u64)> {
        lock(&self.asked).iter().map(|(asked, count)| (asked.clone(), *count)).collect()
    }

    /// Why a partition refuses a request, if a fault makes it.
    pub(super) fn refused(&self, request: &Request, topic: &str, index: i32) -> Option<ResponseError> {
        self.faults.refuses(request, topic, index, self.clock.now())
    }

    /// How many positions of planned partitions consumers were handed once more without having been set back.
    pub(super) fn handed_again(&self) -> u64 {
        let again = |log: &Log| if let Log::Planned(log) = log { log.handed_again() } else { 0 };
        let planned = self.topics.all().into_iter().filter(|topic| topic.planned);
        planned.flat_map(|topic| topic.partitions()).map(|partition| partition.look(again)).sum()
    }

    /// A partition by topic and number.
    pub(super) fn partition(&self, topic: &str, index: i32) -> Result<(Arc<Topic>, Arc<Partition>), ResponseError> {
        let topic = self.topics.named(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        Ok((topic, partition))
    }

    /// Makes a topic that builds write to.
    pub(super) fn make_topic(
        &self,
        name: &str,
        count: i32,
        settings: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, ResponseError> {
        let partitions = (0..count).map(|index| self.written(index)).collect();
        self.topics.make(name, partitions, false, settings)
    }

    /// Makes an empty partition that builds write to.
    pub(super) fn written(&self, index: i32) -> Partition {
        Partition::new(
            index,
            Log::Written(WrittenLog::new(&self.settings.folder, self.settings.producer_expiration)),
            None,
        )
    }

    pub(super) fn close(&self) {
        let _control = lock(&self.control);
        self.closing.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        self.end_pauses();
        for topic in self.topics.all() {
            topic.partitions().iter().for_each(|partition| partition.close());
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(super) fn date_ms(&self) -> i64 {
        self.clock.date_us() / 1_000
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }
}

impl From<&PartitionError> for ResponseError {
    fn from(error: &PartitionError) -> Self {
        match error {
            PartitionError::Closed => Self::UnknownTopicOrPartition,
            PartitionError::Log(error) => error.into(),
            PartitionError::Recording(_) => Self::KafkaStorageError,
        }
    }
}

impl From<&LogError> for ResponseError {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::OutOfRange => Self::OffsetOutOfRange,
            LogError::OutOfOrder => Self::OutOfOrderSequenceNumber,
            LogError::Fenced => Self::InvalidProducerEpoch,
            LogError::OutsideOfTransaction => Self::InvalidTxnState,
            LogError::Planned => Self::PolicyViolation,
            LogError::Files(_) | LogError::Batch(_) => Self::KafkaStorageError,
        }
    }
}
