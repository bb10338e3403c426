//! Masks on a thread of their own, between who takes events and who writes them: neither fetching nor encoding waits for a look.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::thread::{Builder, JoinHandle};

use super::writing::{Gap, Job};
use crate::mask::{Detected, MaskError, Masker, Sighting, Unread};
use crate::recording::{EventBatch, EventBatchBuilder, EventView, Mask};

/// What the masking ended with: the masker with its counts, and why it ended ahead of an event, where it did.
pub(super) type MaskingEnd = (Masker, Option<MaskError>);

/// What is told of as soon as it is met, once each.
pub(super) enum Noticed {
    /// A place in which something looks personal.
    Personal(Sighting),
    /// Keys or values of a topic that go as a whole.
    Unread(Unread),
}

/// Starts the thread. `noticed` is told of each place in which something looks personal, and of what goes as a whole, once. It ends
/// once nobody hands anything over any more, the writer is gone, or an event must not be kept; then what stands ahead of that event is
/// handed on, and nothing behind it.
pub(super) fn start(
    masker: Masker,
    jobs: Receiver<Job>,
    writer: SyncSender<Job>,
    noticed: Sender<Noticed>,
) -> io::Result<JoinHandle<MaskingEnd>> {
    let told = masker.rules();
    let known = masker.sightings().iter().map(place).collect();
    let (counted, unread) = (masker.times_seen(), 0);
    let (builder, gaps) = (EventBatchBuilder::new(), Vec::new());
    let masking = Masking { masker, writer, builder, gaps, told, noticed, known, counted, unread };
    Builder::new().name("masking".to_owned()).spawn(move || masking.run(jobs))
}

struct Masking {
    masker: Masker,
    writer: SyncSender<Job>,
    builder: EventBatchBuilder,
    /// Gaps ahead of events of the next batch.
    gaps: Vec<Gap>,
    /// Masks that the writer knows of, uncounted.
    told: Vec<Mask>,
    /// Bounded by the places that are told apart, and by topics.
    noticed: Sender<Noticed>,
    /// Places that were told.
    known: BTreeSet<(String, String, Detected)>,
    /// How often something looked personal, as the writer knows it.
    counted: u64,
    /// What went as a whole and was told.
    unread: usize,
}

fn place(sighting: &Sighting) -> (String, String, Detected) {
    (sighting.topic.clone(), sighting.path.clone(), sighting.kind)
}

impl Masking {
    fn run(mut self, jobs: Receiver<Job>) -> MaskingEnd {
        for job in jobs {
            match self.take(job) {
                Ok(true) => {}
                Ok(false) => break,
                Err(refused) => return (self.masker, Some(refused)),
            }
        }
        // Behind the last event: only the ledger will know of them.
        self.hand_on_gaps();
        (self.masker, None)
    }

    /// Returns whether there still is a writer.
    fn take(&mut self, job: Job) -> Result<bool, MaskError> {
        match job {
            Job::Missing(gaps) => {
                self.gaps.extend(gaps);
                Ok(true)
            }
            Job::Write(batch) => self.pass(*batch),
            Job::KeepSchema(text) => {
                self.masker.learn((*text).clone());
                Ok(self.hand_on_gaps() && self.hand_on(Job::KeepSchema(text)))
            }
            job => Ok(self.hand_on_gaps() && self.hand_on(job)),
        }
    }

    fn pass(&mut self, batch: EventBatch) -> Result<bool, MaskError> {
        let mut changed = false;
        for row in 0..batch.len() {
            let event = batch.get(row);
            match self.masker.mask_event(event) {
                Ok(None) if changed => self.builder.push_view(event),
                Ok(None) => {}
                Ok(Some(kept)) => {
                    if !changed {
                        changed = true;
                        batch.slice(0..row).iter().for_each(|event| self.builder.push_view(event));
                    }
                    kept.push_to(&mut self.builder, event);
                }
                Err(refused) => {
                    let ahead = if changed { self.builder.finish() } else { batch.slice(0..row) };
                    keep_ahead(&mut self.gaps, &batch, row);
                    if self.hand_on_gaps() && !ahead.is_empty() {
                        self.hand_on(Job::Write(Box::new(ahead)));
                    }
                    return Err(refused);
                }
            }
        }
        let batch = if changed { self.builder.finish() } else { batch };
        self.tell_unread();
        let told = self.hand_on_masks() && self.hand_on_sightings() && self.hand_on_gaps();
        Ok(told && self.hand_on(Job::Write(Box::new(batch))))
    }

    /// Tells of what looks personal in a place for the first time: at once, and on the disk ahead of the events. Of what is known the
    /// writer is told how often, for the next footer.
    fn hand_on_sightings(&mut self) -> bool {
        let counted = self.masker.times_seen();
        if counted == self.counted {
            return true;
        }
        self.counted = counted;
        let all = self.masker.sightings();
        let facts = all.iter().map(Sighting::facts).collect();
        if all.len() == self.known.len() {
            return self.hand_on(Job::CountPersonal(facts));
        }
        for sighting in all {
            if self.known.insert(place(&sighting)) {
                // Nobody listens only where the capture has failed already.
                let _ = self.noticed.send(Noticed::Personal(sighting));
            }
        }
        self.hand_on(Job::NotePersonal(facts))
    }

    /// Tells of keys and values of a topic of which nothing is kept, as nobody can read the fields that rules name: whoever misses a
    /// schema learns it now and not when the day is over.
    fn tell_unread(&mut self) {
        for unread in &self.masker.unread_first()[self.unread..] {
            let _ = self.noticed.send(Noticed::Unread(unread.clone()));
        }
        self.unread = self.masker.unread_first().len();
    }

    /// Tells the writer what masks there are by now: headers that carry credentials come unforeseen.
    fn hand_on_masks(&mut self) -> bool {
        let masks = self.masker.masks();
        if masks.len() == self.told.len() {
            return true;
        }
        self.told = masks.into_iter().map(|mask| Mask { count: None, ..mask }).collect();
        self.hand_on(Job::NoteMasks(self.told.clone()))
    }

    fn hand_on_gaps(&mut self) -> bool {
        match std::mem::take(&mut self.gaps) {
            gaps if gaps.is_empty() => true,
            gaps => self.hand_on(Job::Missing(gaps)),
        }
    }

    fn hand_on(&self, job: Job) -> bool {
        self.writer.send(job).is_ok()
    }
}

/// Leaves out the gaps that lie behind events of the batch that are not kept, which are those from `row` on.
fn keep_ahead(gaps: &mut Vec<Gap>, batch: &EventBatch, row: usize) {
    gaps.retain(|(topic, partition, gap)| {
        let is_behind =
            |event: EventView<'_>| event.topic == topic && event.partition == *partition && event.offset < gap.first;
        !(row..batch.len()).any(|row| is_behind(batch.get(row)))
    });
}
