//! What is known of a cluster while a drive lasts: its threads write it up here, whoever gathers and watches reads it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::acks::Acks;
use super::error::ClusterError;
use crate::drive::kafka::{Broker, Spot};
use crate::drive::stage::{GroupCommit, Stretch, Written, WrittenEvent};
use crate::drive::{DeliverySource, DriveError};
use crate::recording::Recording;

/// Bytes of outputs that may wait to be kept.
const WAITING_BYTES: usize = 64 << 20;

/// Input partitions of a plan, in order of topic and partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    pub(super) spots: Vec<Spot>,
    /// By topic of the plan: index of its first partition.
    bases: Vec<usize>,
}

impl Inputs {
    /// As many partitions of each topic as production has, empty ones too. All begin at zero: positions are the brokers' own.
    pub(super) fn of(plan: &dyn DeliverySource, recording: &Recording) -> Result<Self, DriveError> {
        let (firsts, known) = (plan.first_positions()?, crate::drive::kafka::partitions(recording));
        let mut inputs = Self::default();
        for (number, topic) in (0_u32..).zip(plan.topics()) {
            let of_plan =
                firsts.range((number, i32::MIN)..=(number, i32::MAX)).map(|((_, partition), _)| partition + 1);
            let count = known.get(topic).copied().into_iter().chain(of_plan).max().unwrap_or(1);
            inputs.bases.push(inputs.spots.len());
            inputs.spots.extend((0..count).map(|partition| Spot { topic: topic.clone(), partition, start: 0 }));
        }
        Ok(inputs)
    }

    pub(super) fn index(&self, topic: u32, partition: i32) -> usize {
        self.bases[topic as usize] + partition as usize
    }

    /// Topics with their numbers of partitions, in order.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let ends = self.bases.iter().skip(1).copied().chain([self.spots.len()]);
        self.bases.iter().zip(ends).filter(|(from, to)| *from < to).map(|(&from, to)| {
            let topic = self.spots[from].topic.as_str();
            (topic, (to - from) as i32)
        })
    }
}

/// Outputs that were read and not kept yet.
#[derive(Debug, Default)]
struct Waiting {
    by_partition: BTreeMap<(String, i32), VecDeque<WrittenEvent>>,
    bytes: usize,
}

/// See the top of the file.
pub(super) struct Board<'a> {
    pub(super) inputs: &'a Inputs,
    outputs: &'a BTreeMap<String, i32>,
    acks: &'a Acks,
    commits: Mutex<Vec<GroupCommit>>,
    known_us: AtomicI64,
    waiting: Mutex<Waiting>,
    open: AtomicUsize,
    read_up: AtomicBool,
    over: AtomicBool,
    failure: Mutex<Option<ClusterError>>,
    missing: Mutex<String>,
}

impl<'a> Board<'a> {
    pub(super) fn new(inputs: &'a Inputs, outputs: &'a BTreeMap<String, i32>, acks: &'a Acks) -> Self {
        Self {
            inputs,
            outputs,
            acks,
            commits: Mutex::default(),
            known_us: AtomicI64::new(i64::MIN),
            waiting: Mutex::default(),
            open: AtomicUsize::new(0),
            read_up: AtomicBool::new(false),
            over: AtomicBool::new(false),
            failure: Mutex::new(None),
            missing: Mutex::default(),
        }
    }

    /// Ends the threads that write here.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The cluster cannot do its part any more.
    pub(super) fn fail(&self, error: ClusterError) {
        lock(&self.failure).get_or_insert(error);
        self.read_up.store(true, Ordering::SeqCst);
    }

    /// Notes what the group had committed by `known_us`.
    pub(super) fn set_commits(&self, commits: Vec<GroupCommit>, known_us: i64) {
        *lock(&self.commits) = commits;
        self.known_us.store(known_us, Ordering::SeqCst);
    }

    /// Notes what the build has not done yet that has to come first.
    pub(super) fn set_missing(&self, missing: String) {
        *lock(&self.missing) = missing;
    }

    /// Whether there is room for more outputs.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.waiting).bytes < WAITING_BYTES
    }

    /// Adds an output.
    pub(super) fn add(&self, topic: &str, partition: i32, event: WrittenEvent) {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += size(&event);
        waiting.by_partition.entry((topic.to_owned(), partition)).or_default().push_back(event);
    }

    /// Notes whether everything that is there has been read, and how many partitions an open transaction holds back.
    pub(super) fn set_read(&self, read_up: bool, open: usize) {
        self.open.store(open, Ordering::SeqCst);
        self.read_up.store(read_up, Ordering::SeqCst);
    }
}

impl Broker for Board<'_> {
    fn count(&self) -> usize {
        self.inputs.spots.len()
    }

    fn spot(&self, index: usize) -> &Spot {
        &self.inputs.spots[index]
    }

    fn index(&self, topic: u32, partition: i32) -> usize {
        self.inputs.index(topic, partition)
    }

    fn end(&self, index: usize) -> i64 {
        self.acks.end(index)
    }

    fn asked(&self, _: usize) -> Option<i64> {
        None
    }

    fn knows_who_asks(&self) -> bool {
        false
    }

    fn take_handed(&self, index: usize, into: &mut Vec<Stretch>) {
        self.acks.take(index, into);
    }

    fn commits(&self) -> Vec<GroupCommit> {
        lock(&self.commits).clone()
    }

    fn known_us(&self) -> i64 {
        self.known_us.load(Ordering::SeqCst)
    }

    fn open_transactions(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn written_partitions(&self, topic: &str) -> i32 {
        self.outputs.get(topic).copied().unwrap_or(0)
    }

    fn read(&self, topic: &str, partition: i32, cursor: i64) -> Result<Written, DriveError> {
        let mut waiting = lock(&self.waiting);
        let events = waiting.by_partition.remove(&(topic.to_owned(), partition)).unwrap_or_default();
        waiting.bytes -= events.iter().map(size).sum::<usize>();
        drop(waiting);
        let next = events.back().map_or(cursor, |event| event.offset + 1);
        Ok(Written { more: !events.is_empty(), events: events.into(), taken_back: 0, next })
    }

    fn is_read_up(&self) -> bool {
        self.read_up.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<DriveError> {
        let failure = self.acks.take_failure().or_else(|| lock(&self.failure).take());
        failure.map(DriveError::from)
    }

    fn remarks(&self) -> Result<Vec<String>, DriveError> {
        self.failure().map_or_else(|| Ok(Vec::new()), Err)
    }

    fn missing(&self) -> String {
        lock(&self.missing).clone()
    }
}

fn size(event: &WrittenEvent) -> usize {
    let headers = event.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 64);
    [&event.key, &event.value].into_iter().flatten().map(Vec::len).sum::<usize>() + headers.sum::<usize>() + 128
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
