//! Deliveries taken from the plan, their events read, their requests written down: on a thread of its own, so that pacing waits for no
//! disk.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::request::{Sending, sending};
use crate::drive::feed::{Then, take};
use crate::drive::lineage::Lineage;
use crate::drive::shared::Shared;
use crate::drive::{DriveError, Job};
use crate::plan::Delivery;
use crate::recording::{Columns, Place, RecordingError};

/// Deliveries that are read together.
const LOOK_AHEAD: usize = 256;

/// Requests that may wait to be sent, be in flight, or have their answers kept.
pub(super) const WAITING: usize = 4_096;

/// Bytes that they may take.
pub(super) const BYTES_WAITING: usize = 64 << 20;

/// A delivery to be posted.
#[derive(Debug)]
pub(super) struct Posting {
    /// Its place in the plan.
    pub(super) number: u64,
    pub(super) delivery: Delivery,
    /// Key of the event.
    pub(super) key: Option<Vec<u8>>,
    /// What its lineage knows it by.
    pub(super) marks: Vec<u64>,
    /// None where nobody will be handed it any more.
    pub(super) sending: Option<Sending>,
    /// Given back when all of it is written down.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What follows from the plan.
pub(super) type Read = Result<Posting, DriveError>;

/// Sends all deliveries of the plan in order; ends early where nobody takes them. Once the drive is cut short, deliveries still come, so
/// that their receipts say `never`, but without their requests.
pub(super) fn feed(job: &Job<'_>, shared: &Shared, room: &Arc<Semaphore>, handle: &Handle, postings: &Sender<Read>) {
    let lineage = job.rules.lineage.as_ref();
    let mut lookup = job.recording.lookup(Columns { key: true, value: true, headers: true });
    let (mut deliveries, topics, mut number) = (job.plan.deliveries(), job.plan.topics(), 0);
    while !shared.is_abandoned() {
        let (taken, then) = take(&mut *deliveries, LOOK_AHEAD);
        let mut post = |delivery: &Delivery, key, marks, sending, room| {
            let posting = Posting { number, delivery: *delivery, key, marks, sending, room };
            number += 1;
            postings.blocking_send(Ok(posting)).map_err(|_| Over::Nobody)
        };
        let places: Vec<Place> = taken.iter().map(|delivery| delivery.place).collect();
        let mut read = 0;
        let posted = lookup.each(&places, |index, event| {
            if shared.is_cut() {
                return Err(Over::Cut);
            }
            let delivery = &taken[index];
            let sending = sending(delivery, &topics[delivery.topic as usize], &event, job.rules.show_attempt);
            let bytes = (sending.body.len() + 512).min(BYTES_WAITING) as u32;
            let room = handle.block_on(Arc::clone(room).acquire_many_owned(bytes)).map_err(|_| Over::Nobody)?;
            let marks = lineage.map_or_else(Vec::new, |lineage| marks_of(lineage, &event, job));
            post(delivery, event.key.map(<[u8]>::to_vec), marks, Some(sending), Some(room))?;
            read += 1;
            Ok(())
        });
        let posted = match posted {
            Err(Over::Cut) => {
                taken[read..].iter().try_for_each(|delivery| post(delivery, None, Vec::new(), None, None))
            }
            posted => posted,
        };
        match (posted, then) {
            (Ok(()), Then::More) => {}
            (Ok(()), Then::End) | (Err(Over::Nobody | Over::Cut), _) => return,
            (Ok(()), Then::Failed(error)) | (Err(Over::Failed(error)), _) => {
                // Nobody listens only where the drive has failed already.
                let _ = postings.blocking_send(Err(error));
                return;
            }
        }
    }
}

fn marks_of(lineage: &Lineage, event: &crate::recording::EventView<'_>, job: &Job<'_>) -> Vec<u64> {
    lineage.of_event(event.value, event.headers.iter(), &job.rules.schemas.now())
}

/// Why no more are read.
enum Over {
    /// Nobody takes them any more.
    Nobody,
    /// The drive was cut short.
    Cut,
    Failed(DriveError),
}

impl From<RecordingError> for Over {
    fn from(error: RecordingError) -> Self {
        Self::Failed(error.into())
    }
}
