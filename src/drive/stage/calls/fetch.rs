//! `Fetch`: answered as soon as there is enough, or when the client's patience ends, and never held any longer.
//!
//! No sessions are kept: a client that asks for one is told that there is none, and names its partitions each time, which every
//! client can do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

use super::fetched::{self, FetchedPartition, FetchedTopic};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::log::{Log, Slice, Want};
use crate::drive::stage::partition::{Partition, Waiter};
use crate::drive::stage::wire::{Request, WireError};

/// First version in which topics are named by their ids.
const IDS_FROM: i16 = 13;

/// Longest wait that a client may ask for: none asks for more than a few minutes.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Bytes of one answer, at most, unless a single batch is larger.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A partition that is asked for, or why it cannot be.
struct Sought<'r> {
    asked: &'r FetchPartition,
    partition: Result<Arc<Partition>, ResponseError>,
}

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Vec<Bytes>, WireError> {
    let asked: FetchRequest = request.decode()?;
    if asked.session_id != 0 {
        return fetched::refused(request, ResponseError::FetchSessionIdNotFound);
    }
    let sought: Vec<(&FetchTopic, Vec<Sought<'_>>)> =
        asked.topics.iter().map(|topic| (topic, seek(broker, request.version, topic))).collect();
    let committed = asked.isolation_level == 1;
    wait(broker, &asked, committed, &sought);
    let mut room = usize::try_from(asked.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let mut first = true;
    let topics = sought.into_iter().map(|(topic, partitions)| {
        let read = |sought: Sought<'_>| {
            let slice = sought.partition.and_then(|partition| read(&partition, sought.asked, committed, first, room));
            if let Ok((slice, _)) = &slice {
                room = room.saturating_sub(slice.len());
                first &= slice.parts.is_empty();
            }
            FetchedPartition { index: sought.asked.partition, slice }
        };
        let partitions = partitions.into_iter().map(read).collect();
        FetchedTopic { name: &topic.topic, id: topic.topic_id, partitions }
    });
    fetched::encode(request, committed, &topics.collect::<Vec<_>>())
}

fn seek<'r>(broker: &Broker, version: i16, topic: &'r FetchTopic) -> Vec<Sought<'r>> {
    let found = if version >= IDS_FROM {
        broker.topics.with_id(topic.topic_id).ok_or(ResponseError::UnknownTopicId)
    } else {
        broker.topics.named(&topic.topic).ok_or(ResponseError::UnknownTopicOrPartition)
    };
    let sought = |asked: &'r FetchPartition| {
        let found = found.as_ref().map_err(|error| *error);
        let partition =
            found.and_then(|topic| topic.partition(asked.partition).ok_or(ResponseError::UnknownTopicOrPartition));
        // There has been one leader only, of epoch 0.
        let partition = match asked.current_leader_epoch {
            ..=0 => partition,
            _ => partition.and(Err(ResponseError::UnknownLeaderEpoch)),
        };
        Sought { asked, partition }
    };
    topic.partitions.iter().map(sought).collect()
}

/// Waits until there is enough to answer with, or something that must be told at once.
fn wait(broker: &Broker, asked: &FetchRequest, committed: bool, sought: &[(&FetchTopic, Vec<Sought<'_>>)]) {
    let patience = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let due = broker.clock.now() + patience;
    let enough = u64::try_from(asked.min_bytes).unwrap_or(0);
    let all = || sought.iter().flat_map(|(_, partitions)| partitions);
    let is_enough = |waiter: Option<&Arc<Waiter>>| {
        let mut available = 0;
        for one in all() {
            let Ok(partition) = &one.partition else { return true };
            match partition.available(one.asked.fetch_offset, committed, waiter) {
                Ok(bytes) => available += bytes,
                Err(_) => return true,
            }
        }
        available >= enough
    };
    if patience.is_zero() || all().next().is_none() && enough == 0 || is_enough(None) {
        return;
    }
    let waiter = Arc::new(Waiter::default());
    // Asked once more: something may have come before the waiter stood.
    let mut done = is_enough(Some(&waiter));
    while !done && !broker.is_closing() && waiter.wait(due, &*broker.clock) {
        done = is_enough(None);
    }
    for partition in all().filter_map(|one| one.partition.as_ref().ok()) {
        partition.leave(&waiter);
    }
}

/// Reads a partition; with what it holds comes where its log begins.
fn read(
    partition: &Partition,
    asked: &FetchPartition,
    committed: bool,
    first: bool,
    room: usize,
) -> Result<(Slice, i64), ResponseError> {
    let own = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
    let want = Want { offset: asked.fetch_offset, bytes_max: own.min(room), first_whole: first, committed };
    let slice = partition.read(want).map_err(|error| ResponseError::from(&error))?;
    Ok((slice, partition.look(Log::start)))
}
