//! Deliveries taken from the plan in look-ahead batches, their bytes read, their lines written down: on a thread of its own, so
//! that pacing waits for no disk.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::line::{LineFormat, Unfit};
use super::lineage::Lineage;
use super::settings::DriveRules;
use super::shared::Shared;
use super::{DeliverySource, DriveError, Payload};
use crate::plan::{Delivery, PlanError};
use crate::recording::{Columns, EventView, Lookup, Place, Recording, RecordingError};

/// Most deliveries of a batch.
const LOOK_AHEAD: usize = 4_096;

/// Bytes that a batch should come to, which bounds memory where events are large.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes after which a chunk is closed: a write of this size costs little more than its copying.
const CHUNK_BYTES: usize = 256 << 10;

/// Deliveries of a chunk where events are of a usual size: for so many memory is asked for at once.
const DELIVERIES_LIKELY: usize = 2_048;

/// Chunks that may wait to be handed over.
pub(super) const CHUNKS_WAITING: usize = 4;

/// Deliveries and their lines.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The lines; empty where nobody will read them any more.
    pub(super) lines: Vec<u8>,
    pub(super) batch: Arc<Batch>,
}

/// Deliveries of a chunk.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    /// xxh3 of each key, where keys are asked for.
    pub(super) keys: Vec<Option<u64>>,
    /// Marks of each, where there is a lineage; else empty.
    pub(super) marks: Vec<Vec<u64>>,
    /// Where each delivery's line ends.
    pub(super) ends: Vec<usize>,
}

/// Deliveries of a batch that are about to be handed over.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) batch: Arc<Batch>,
    pub(super) rows: Range<usize>,
    /// Time of the drive's clock, in microseconds.
    pub(super) at_us: i64,
}

/// What follows a batch.
pub(super) enum Then {
    More,
    End,
    Failed(DriveError),
}

/// Reads ahead of the pace.
pub(super) struct Feed<'a> {
    deliveries: Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + 'a>,
    lookup: Lookup,
    topics: &'a [String],
    format: LineFormat,
    rules: &'a DriveRules,
    shared: &'a Shared,
    used: Receiver<Vec<u8>>,
    ahead: usize,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        plan: &'a dyn DeliverySource,
        recording: &Recording,
        format: LineFormat,
        rules: &'a DriveRules,
        shared: &'a Shared,
        used: Receiver<Vec<u8>>,
    ) -> Self {
        Self::of(plan.deliveries(), plan, recording, format, rules, shared, used)
    }

    /// As [`Self::new`], of these deliveries of the plan alone.
    pub(super) fn of(
        deliveries: Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + 'a>,
        plan: &'a dyn DeliverySource,
        recording: &Recording,
        format: LineFormat,
        rules: &'a DriveRules,
        shared: &'a Shared,
        used: Receiver<Vec<u8>>,
    ) -> Self {
        let envelope = format.payload == Payload::Envelope;
        let headers = envelope || rules.lineage.as_ref().is_some_and(Lineage::wants_headers);
        let lookup = recording.lookup(Columns { key: envelope, value: true, headers });
        let topics = plan.topics();
        Self { deliveries, lookup, topics, format, rules, shared, used, ahead: LOOK_AHEAD / 16 }
    }

    /// Sends all deliveries of the plan in chunks; ends early where nobody takes them. Once the drive is cut short, deliveries
    /// still come, so that their receipts say `never`, but without their lines.
    pub(super) fn run(mut self, chunks: &SyncSender<Result<Chunk, DriveError>>) {
        while !self.shared.is_abandoned() {
            let (deliveries, then) = take(&mut *self.deliveries, self.ahead);
            if !deliveries.is_empty() && self.send(deliveries, chunks).is_err() {
                return;
            }
            match then {
                Then::More => {}
                Then::End => return,
                Then::Failed(error) => {
                    // Nobody listens only where the drive has failed already.
                    let _ = chunks.send(Err(error));
                    return;
                }
            }
        }
    }

    fn send(&mut self, deliveries: Vec<Delivery>, chunks: &SyncSender<Result<Chunk, DriveError>>) -> Result<(), ()> {
        if self.shared.is_cut() {
            let batch = Batch { keys: Vec::new(), marks: Vec::new(), ends: vec![0; deliveries.len()], deliveries };
            return chunks.send(Ok(Chunk { lines: Vec::new(), batch: Arc::new(batch) })).map_err(drop);
        }
        let places: Vec<Place> = deliveries.iter().map(|delivery| delivery.place).collect();
        let Self { lookup, format, rules, topics, used, .. } = self;
        let mut sent = 0;
        let mut draft = Draft::new(used, deliveries.len());
        let written = lookup.each(&places, |index, event| {
            let delivery = &deliveries[index];
            draft.add(delivery, &event, format, rules).map_err(|_| Refused::Failed(unfit(topics, delivery)))?;
            if draft.lines.len() >= CHUNK_BYTES {
                sent += draft.lines.len();
                let full = std::mem::replace(&mut draft, Draft::new(used, deliveries.len() - index - 1));
                chunks.send(Ok(full.finish())).map_err(|_| Refused::Nobody)?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {}
            Err(Refused::Nobody) => return Err(()),
            Err(Refused::Failed(error)) => return chunks.send(Err(error)).map_err(drop),
        }
        sent += draft.lines.len();
        if !draft.batch.deliveries.is_empty() {
            chunks.send(Ok(draft.finish())).map_err(drop)?;
        }
        // The next batch is sized by the last one's events: a thousand of a megabyte must not come all at once.
        let mean = sent / deliveries.len().max(1) + 1;
        self.ahead = (BATCH_BYTES / mean).clamp(1, LOOK_AHEAD).min(self.ahead * 4);
        Ok(())
    }
}

/// Takes the next `ahead` deliveries from a plan, and says where it ends.
pub(super) fn take(
    deliveries: &mut (dyn Iterator<Item = Result<Delivery, PlanError>> + Send + '_),
    ahead: usize,
) -> (Vec<Delivery>, Then) {
    let mut taken = Vec::with_capacity(ahead);
    while taken.len() < ahead {
        match deliveries.next() {
            Some(Ok(delivery)) => taken.push(delivery),
            Some(Err(error)) => return (taken, Then::Failed(error.into())),
            None => return (taken, Then::End),
        }
    }
    (taken, Then::More)
}

/// Why no more lines are written down.
enum Refused {
    /// Nobody takes them any more.
    Nobody,
    Failed(DriveError),
}

impl From<RecordingError> for Refused {
    fn from(error: RecordingError) -> Self {
        Self::Failed(error.into())
    }
}

/// A chunk that is being written down.
struct Draft {
    lines: Vec<u8>,
    batch: Batch,
}

impl Draft {
    /// Starts a chunk of `count` deliveries at most.
    fn new(used: &Receiver<Vec<u8>>, count: usize) -> Self {
        // Memory that has been written is used again: fresh pages would cost more than what is written into them.
        let mut lines = used.try_recv().unwrap_or_default();
        lines.clear();
        let count = count.min(DELIVERIES_LIKELY);
        let (deliveries, keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
        Self { lines, batch: Batch { deliveries, keys, marks: Vec::new(), ends: Vec::with_capacity(count) } }
    }

    fn add(
        &mut self,
        delivery: &Delivery,
        event: &EventView<'_>,
        format: &LineFormat,
        rules: &DriveRules,
    ) -> Result<(), Unfit> {
        format.append(delivery, event, &mut self.lines)?;
        self.batch.deliveries.push(*delivery);
        self.batch.keys.push(event.key.map(xxhash_rust::xxh3::xxh3_64));
        if let Some(lineage) = &rules.lineage {
            self.batch.marks.push(lineage.of_event(event.value, event.headers.iter(), &rules.schemas.now()));
        }
        self.batch.ends.push(self.lines.len());
        Ok(())
    }

    fn finish(self) -> Chunk {
        Chunk { lines: self.lines, batch: Arc::new(self.batch) }
    }
}

fn unfit(topics: &[String], delivery: &Delivery) -> DriveError {
    DriveError::Unfit {
        topic: topics[delivery.topic as usize].clone(),
        partition: delivery.partition,
        offset: delivery.offset,
    }
}
