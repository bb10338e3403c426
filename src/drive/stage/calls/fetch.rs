//! `Fetch`: answered as soon as there is enough, or when the client's patience ends, and never held any longer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FetchRequest, TopicName};
use uuid::Uuid;

use super::fetched::{self, FetchedPartition, FetchedTopic};
use crate::drive::stage::broker::Broker;
use crate::drive::stage::log::{Log, Slice, Want};
use crate::drive::stage::partition::{Partition, Waiter};
use crate::drive::stage::sessions::{Opened, Opening, Told, TopicKey, Wanted};
use crate::drive::stage::topics::Topic;
use crate::drive::stage::wire::{Request, WireError};

/// First version in which topics are named by their ids.
const IDS_FROM: i16 = 13;

/// First version with sessions.
const SESSIONS_FROM: i16 = 7;

/// Longest wait that a client may ask for: none asks for more than a few minutes.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Bytes of one answer, at most, unless a single batch is larger.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A partition that is asked for, or why it cannot be.
struct Sought<'r> {
    asked: &'r Wanted,
    found: Result<(Arc<Topic>, Arc<Partition>), ResponseError>,
}

/// What a partition gives: what it holds and where its log begins.
type Given = Result<(Slice, i64), ResponseError>;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Vec<Bytes>, WireError> {
    let asked: FetchRequest = request.decode()?;
    let opened = match broker.sessions.open(opening(request.version, &asked), broker.clock.now()) {
        Ok(opened) => opened,
        Err(error) => return fetched::refused(request, error),
    };
    let sought: Vec<Sought<'_>> = opened.wanted.iter().map(|wanted| seek(broker, request, wanted)).collect();
    let (committed, asked_us) = (asked.isolation_level == 1, broker.now_us());
    wait(broker, &asked, committed, &sought);
    let given = read_all(broker, request, &asked, asked_us, &sought);
    let told = tell(broker, &opened, &given);
    let mut topics: Vec<FetchedTopic<'_>> = Vec::new();
    for ((wanted, given), _) in opened.wanted.iter().zip(given).zip(told).filter(|(_, told)| *told) {
        let partition = FetchedPartition { index: wanted.index, slice: given };
        if let Some(last) =
            topics.last_mut().filter(|last| last.name == wanted.topic.name && last.id == wanted.topic.id)
        {
            last.partitions.push(partition);
        } else {
            let (name, id) = (wanted.topic.name.as_str(), wanted.topic.id);
            topics.push(FetchedTopic { name, id, partitions: vec![partition] });
        }
    }
    fetched::encode(request, committed, opened.session, &topics)
}

/// What a request says about sessions. Older versions know none.
fn opening(version: i16, asked: &FetchRequest) -> Opening {
    let key = |name: &TopicName, id: Uuid| TopicKey { name: name.to_string(), id };
    let wanted = asked.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |one| Wanted {
            topic: key(&topic.topic, topic.topic_id),
            index: one.partition,
            offset: one.fetch_offset,
            bytes_max: one.partition_max_bytes,
            leader_epoch: one.current_leader_epoch,
        })
    });
    let forgotten = asked
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |index| (key(&topic.topic, topic.topic_id), *index)));
    let has_sessions = version >= SESSIONS_FROM;
    Opening {
        session: if has_sessions { asked.session_id } else { 0 },
        epoch: if has_sessions { asked.session_epoch } else { -1 },
        by_id: version >= IDS_FROM,
        wanted: wanted.collect(),
        forgotten: forgotten.collect(),
    }
}

fn seek<'r>(broker: &Broker, request: &Request, asked: &'r Wanted) -> Sought<'r> {
    let topic = if request.version >= IDS_FROM {
        broker.topics.with_id(asked.topic.id).ok_or(ResponseError::UnknownTopicId)
    } else {
        broker.topics.named(&asked.topic.name).ok_or(ResponseError::UnknownTopicOrPartition)
    };
    let found = topic.and_then(|topic| {
        let partition = topic.partition(asked.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        // There has been one leader only, of epoch 0.
        if asked.leader_epoch > 0 {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        match broker.refused(request, &topic.name, asked.index) {
            Some(error) => Err(error),
            None => Ok((topic, partition)),
        }
    });
    Sought { asked, found }
}

/// Waits until there is enough to answer with, or something that must be told at once.
fn wait(broker: &Broker, asked: &FetchRequest, committed: bool, sought: &[Sought<'_>]) {
    let patience = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let due = broker.clock.now() + patience;
    let enough = u64::try_from(asked.min_bytes.min(asked.max_bytes)).unwrap_or(0);
    let is_enough = |waiter: Option<&Arc<Waiter>>| {
        let mut available = 0;
        for one in sought {
            let partition = match &one.found {
                Ok((_, partition)) => partition,
                // Told together with what comes for the others.
                Err(ResponseError::UnknownTopicOrPartition | ResponseError::UnknownTopicId) => continue,
                Err(_) => return true,
            };
            match partition.available(one.asked.offset, committed, waiter) {
                Ok(bytes) => available += bytes,
                Err(_) => return true,
            }
        }
        available >= enough
    };
    if patience.is_zero() || sought.iter().all(|one| one.found.is_err()) || is_enough(None) {
        return;
    }
    let waiter = Arc::new(Waiter::default());
    // Asked once more: something may have come before the waiter stood.
    let mut done = is_enough(Some(&waiter));
    while !done && !broker.is_closing() && waiter.wait(due, &*broker.clock) {
        done = is_enough(None);
    }
    for (_, partition) in sought.iter().filter_map(|one| one.found.as_ref().ok()) {
        partition.leave(&waiter);
    }
}

fn read_all(
    broker: &Broker,
    request: &Request,
    asked: &FetchRequest,
    asked_us: i64,
    sought: &[Sought<'_>],
) -> Vec<Given> {
    let committed = asked.isolation_level == 1;
    let mut room = usize::try_from(asked.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    room = room.min(request.room.unwrap_or(usize::MAX));
    let mut first = true;
    let read = |sought: &Sought<'_>| {
        let (topic, partition) = sought.found.as_ref().map_err(|error| *error)?;
        let own = usize::try_from(sought.asked.bytes_max).unwrap_or(0);
        let mut want = Want {
            offset: sought.asked.offset,
            bytes_max: own.min(room),
            first_whole: first,
            committed,
            events_max: usize::MAX,
        };
        if broker.faults.any() && topic.planned && partition.available(want.offset, committed, None).unwrap_or(0) > 0 {
            let events = broker.faults.batch(request, &topic.name, sought.asked.index, broker.clock.now());
            want.events_max = events.unwrap_or(usize::MAX);
        }
        let slice = partition.read(want).map_err(|error| broker.told(&error))?;
        partition.note_handed(want.offset, &slice, asked_us, broker.now_us());
        room = room.saturating_sub(slice.len());
        first &= slice.parts.is_empty();
        Ok((slice, partition.look(Log::start)))
    };
    sought.iter().map(read).collect()
}

/// Which partitions the answer tells of: in a session those with something new.
fn tell(broker: &Broker, opened: &Opened, given: &[Given]) -> Vec<bool> {
    if opened.session == 0 {
        return vec![true; given.len()];
    }
    let told = |given: &Given| match given {
        Ok((slice, log_start)) => Told {
            failed: false,
            has_events: !slice.parts.is_empty(),
            high_watermark: slice.high_watermark,
            log_start: *log_start,
        },
        Err(_) => Told { failed: true, has_events: false, high_watermark: -1, log_start: -1 },
    };
    broker.sessions.told(opened, &given.iter().map(told).collect::<Vec<_>>())
}
