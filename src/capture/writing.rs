//! The recording's writer on a thread of its own, so that encoding, compressing and syncing hold up no fetching.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::CaptureError;
use super::masking::{self, MaskingEnd, Noticed};
use crate::mask::{MaskError, Masker, Sighting};
use crate::recording::{
    AcknowledgedPartition, EventBatch, Manifest, Mask, MissingOffsets, PersonalFacts, RecordingError, RecordingWriter,
    Recreation, StoreReach, TopicSource,
};
use crate::schema::{Part, SchemaText};

/// Batches that wait for the masks at most, each of some megabytes at most: who takes events faster than they can be written waits
/// with them.
const AHEAD: usize = 4;

/// Masked batches that wait for the writer at most.
const MASKED_AHEAD: usize = 2;

/// Hands batches to masks and a writer on other threads. An error of either comes back with a later call, and ends the writing.
pub(super) struct Writing {
    out: PathBuf,
    /// Whether the recording holds something of before.
    resumed: bool,
    acknowledged: Acknowledged,
    /// Topics that became others, by name.
    recreated: Vec<(String, Recreation)>,
    /// Topics that were deleted.
    deleted: Vec<String>,
    /// Offsets from which on open transactions hold events back, with topic and partition.
    held_back: Vec<(String, i32, i64)>,
    /// What ends the capture ahead of the end of its window.
    ended_early: Option<String>,
    /// Gaps that are handed over ahead of the next batch, in the order of the events.
    gaps: Vec<Gap>,
    /// Leader epochs that begin with an event of the next batch, handed over ahead of it.
    epochs: Vec<Epoch>,
    jobs: Option<SyncSender<Job>>,
    /// What the masking noticed, each once.
    noticed: Receiver<Noticed>,
    masking: Option<JoinHandle<MaskingEnd>>,
    /// What the masking ended with, where it has ended.
    masked: Option<MaskingEnd>,
    thread: Option<JoinHandle<Result<RecordingWriter, RecordingError>>>,
    store: Option<StoreReach>,
}

/// A topic, a partition, and offsets of it that hold no event.
pub(super) type Gap = (String, i32, MissingOffsets);

/// A topic, a partition, an offset, and the leader epoch of its events from there on.
pub(super) type Epoch = (String, i32, (i64, i32));

/// A recording that is finished.
pub(super) struct Sealed {
    pub(super) manifest: Manifest,
    pub(super) masker: Masker,
    /// Why the recording ends ahead of an event, where it does.
    pub(super) refused: Option<MaskError>,
}

/// What is safe on the disk, as of a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) rows: u64,
    pub(super) partitions: Arc<[AcknowledgedPartition]>,
}

impl Acknowledged {
    fn of(writer: &RecordingWriter) -> Self {
        Self { rows: writer.acknowledged_rows(), partitions: writer.acknowledged() }
    }
}

/// What goes from thread to thread, in order.
pub(super) enum Job {
    Missing(Vec<Gap>),
    NoteEpochs(Vec<Epoch>),
    Write(Box<EventBatch>),
    /// Says that events of a topic refer to a schema.
    NoteSchema(String, Part, i32),
    KeepSchema(Box<SchemaText>),
    /// Says what has come up of topics.
    NoteTopic(Box<TopicSource>),
    /// Says what masks there are by now, uncounted.
    NoteMasks(Vec<Mask>),
    /// Says what looks personal by now; the manifest on the disk does ahead of the events.
    NotePersonal(Vec<PersonalFacts>),
    /// Says how often it does by now; the next footer does.
    CountPersonal(Vec<PersonalFacts>),
    /// Answered once everything ahead is safe on the disk.
    Checkpoint(SyncSender<Acknowledged>),
}

impl Writing {
    /// Starts the threads for the writer of the recording in `out`, and the masks ahead of it.
    pub(super) fn start(out: &Path, writer: RecordingWriter, masker: Masker) -> Result<Self, RecordingError> {
        let acknowledged = Acknowledged::of(&writer);
        let (resumed, store) = (writer.rows() > 0, writer.store().cloned());
        let ((jobs, taken), (onwards, waiting)) = (sync_channel(AHEAD), sync_channel(MASKED_AHEAD));
        let work = move || write_all(writer, waiting, resumed);
        let failed = |error| broken(out, error);
        let thread = thread::Builder::new().name("writing".to_owned()).spawn(work).map_err(failed)?;
        let (notice, noticed) = channel();
        let masking = masking::start(masker, taken, onwards, notice).map_err(failed)?;
        Ok(Self {
            out: out.to_owned(),
            resumed,
            acknowledged,
            recreated: Vec::new(),
            deleted: Vec::new(),
            held_back: Vec::new(),
            ended_early: None,
            gaps: Vec::new(),
            epochs: Vec::new(),
            jobs: Some(jobs),
            noticed,
            masking: Some(masking),
            masked: None,
            thread: Some(thread),
            store,
        })
    }

    /// What the masking noticed since the last call, each once.
    pub(super) fn noticed(&self) -> impl Iterator<Item = Noticed> {
        self.noticed.try_iter()
    }

    /// Whether the store that it is written to answers; none where it is written to a directory.
    pub(super) fn store(&self) -> Option<&StoreReach> {
        self.store.as_ref()
    }

    /// What is safe on the disk, as of the last checkpoint.
    pub(super) fn acknowledged(&self) -> &Acknowledged {
        &self.acknowledged
    }

    /// Notes that offsets behind all events of the partition that were taken so far hold no event.
    pub(super) fn missing(&mut self, topic: &str, partition: i32, missing: MissingOffsets) {
        self.gaps.push((topic.to_owned(), partition, missing));
    }

    /// Notes the leader epoch of a partition's events from an offset on, which lies behind all that were handed over so far.
    pub(super) fn note_epoch(&mut self, topic: &str, partition: i32, from: (i64, i32)) {
        self.epochs.push((topic.to_owned(), partition, from));
    }

    /// Notes in the manifest, once it is sealed, that a topic became another one.
    pub(super) fn note_recreated(&mut self, topic: &str, recreation: Recreation) {
        self.recreated.push((topic.to_owned(), recreation));
    }

    /// Notes in the manifest, once it is sealed, that a topic was deleted and the capture goes on without it.
    pub(super) fn note_deleted(&mut self, topic: &str) {
        self.deleted.push(topic.to_owned());
    }

    /// Notes a topic, or partitions of a topic, that came up; the manifest on the disk says so ahead of their events.
    pub(super) fn note_topic(&mut self, topic: TopicSource) -> Result<(), CaptureError> {
        self.hand_over(Job::NoteTopic(Box::new(topic)))
    }

    /// Notes in the manifest, once it is sealed, that an open transaction holds events back from `offset` on.
    pub(super) fn note_held_back(&mut self, topic: &str, partition: i32, offset: i64) {
        self.held_back.push((topic.to_owned(), partition, offset));
    }

    /// Notes in the manifest, once it is sealed, what ends the capture ahead of the end of its window.
    pub(super) fn note_ended_early(&mut self, why: &CaptureError) {
        self.ended_early = Some(why.to_string());
    }

    /// Hands over a batch; waits while too many are waiting.
    pub(super) fn write(&mut self, batch: EventBatch) -> Result<(), CaptureError> {
        // Ahead of the gaps, which the masks hold back until they know which events of the batch are kept.
        match std::mem::take(&mut self.epochs) {
            epochs if epochs.is_empty() => {}
            epochs => self.hand_over(Job::NoteEpochs(epochs))?,
        }
        self.hand_over_gaps()?;
        self.hand_over(Job::Write(Box::new(batch)))
    }

    /// Notes that events of `topic` refer to the schema `id` of a registry.
    pub(super) fn note_schema(&mut self, topic: &str, part: Part, id: i32) -> Result<(), CaptureError> {
        self.hand_over(Job::NoteSchema(topic.to_owned(), part, id))
    }

    /// Keeps a schema; it is on the disk, and the masks know it, before any batch that is handed over later.
    pub(super) fn keep_schema(&mut self, text: SchemaText) -> Result<(), CaptureError> {
        self.hand_over(Job::KeepSchema(Box::new(text)))
    }

    /// Waits until everything handed over is safe on the disk.
    pub(super) fn checkpoint(&mut self) -> Result<(), CaptureError> {
        self.hand_over_gaps()?;
        let (done, wait) = sync_channel(1);
        self.hand_over(Job::Checkpoint(done))?;
        match wait.recv() {
            Ok(acknowledged) => {
                self.acknowledged = acknowledged;
                Ok(())
            }
            Err(_) => Err(self.failure()),
        }
    }

    /// Finishes the recording, whose manifest then says how often each mask changed something; where the recording was gone on with
    /// nobody knows how often. What lies behind an event that must not be kept is no part of it; where nothing lies ahead of that,
    /// nothing stays.
    pub(super) fn seal(mut self) -> Result<Sealed, CaptureError> {
        // Where the masking has ended ahead of an event, the gaps lie behind the end.
        if let Err(CaptureError::Unwritable(source)) = self.hand_over_gaps() {
            return Err(source.into());
        }
        let ended = self.end_masking();
        let mut writer = self.end()?;
        let Some((masker, refused)) = ended else {
            return Err(broken(&self.out, io::Error::other("the masking has ended before")).into());
        };
        if self.resumed {
            join_masks(writer.masks_mut(), masker.masks());
        } else {
            *writer.masks_mut() = masker.masks();
        }
        let why = refused.as_ref().map(ToString::to_string);
        if let Some(why) = why.or(self.ended_early.take()) {
            writer.set_ended_early(why);
        }
        // What was refused was not kept.
        let kept = if writer.strict_privacy() { Vec::new() } else { masker.sightings() };
        *writer.personal_mut() = kept.iter().map(Sighting::facts).collect();
        for (name, recreation) in std::mem::take(&mut self.recreated) {
            if let Some(topic) = writer.source_mut().topics.iter_mut().find(|topic| topic.name == name) {
                topic.recreated = Some(recreation);
            }
        }
        for topic in &mut writer.source_mut().topics {
            topic.deleted |= self.deleted.contains(&topic.name);
        }
        for (name, partition, offset) in std::mem::take(&mut self.held_back) {
            if let Some(topic) = writer.source_mut().topics.iter_mut().find(|topic| topic.name == name) {
                topic.held_back.insert(partition, offset);
            }
        }
        if let Some(refused) = refused.clone().filter(|_| writer.rows() == 0) {
            writer.discard()?;
            return Err(refused.into());
        }
        Ok(Sealed { manifest: writer.seal()?, masker, refused })
    }

    fn hand_over_gaps(&mut self) -> Result<(), CaptureError> {
        match std::mem::take(&mut self.gaps) {
            gaps if gaps.is_empty() => Ok(()),
            gaps => self.hand_over(Job::Missing(gaps)),
        }
    }

    fn hand_over(&mut self, job: Job) -> Result<(), CaptureError> {
        match self.jobs.as_ref().map(|jobs| jobs.send(job)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// What masks or writer ended with, as they take nothing any more. Of an event that must not be kept the writer knows nothing:
    /// it can still seal.
    fn failure(&mut self) -> CaptureError {
        self.masked = self.end_masking();
        if let Some((_, Some(refused))) = &self.masked {
            return refused.clone().into();
        }
        match self.end() {
            Err(error) => error.into(),
            Ok(_) => broken(&self.out, io::Error::other("the writing has ended")).into(),
        }
    }

    /// Ends the masking and returns what it came to.
    fn end_masking(&mut self) -> Option<MaskingEnd> {
        self.jobs = None;
        match self.masking.take().map(JoinHandle::join) {
            Some(Ok(ended)) => Some(ended),
            // A panic goes on where somebody sees it.
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => self.masked.take(),
        }
    }

    /// Ends the writing, which waits for the masking, and returns the writer.
    fn end(&mut self) -> Result<RecordingWriter, RecordingError> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(broken(&self.out, io::Error::other("an error has ended the writing before"))),
        }
    }
}

fn write_all(
    mut writer: RecordingWriter,
    waiting: Receiver<Job>,
    resumed: bool,
) -> Result<RecordingWriter, RecordingError> {
    for job in waiting {
        match job {
            Job::Missing(gaps) => {
                for (topic, partition, gap) in gaps {
                    writer.missing(&topic, partition, gap);
                }
            }
            Job::NoteEpochs(epochs) => {
                for (topic, partition, (offset, epoch)) in epochs {
                    writer.note_epoch(&topic, partition, offset, epoch);
                }
            }
            Job::Write(batch) => writer.write(&batch)?,
            Job::NoteSchema(topic, part, id) => writer.note_schema(&topic, part, id),
            Job::KeepSchema(text) => writer.keep_schema(&text)?,
            Job::NoteTopic(topic) => {
                writer.source_mut().add(*topic);
                writer.write_manifest()?;
            }
            Job::NoteMasks(masks) if resumed => join_masks(writer.masks_mut(), masks),
            Job::NoteMasks(masks) => *writer.masks_mut() = masks,
            Job::NotePersonal(personal) => {
                *writer.personal_mut() = personal;
                writer.write_manifest()?;
            }
            Job::CountPersonal(personal) => *writer.personal_mut() = personal,
            Job::Checkpoint(done) => {
                writer.checkpoint()?;
                // Whoever asked may have gone.
                let _ = done.send(Acknowledged::of(&writer));
            }
        }
    }
    Ok(writer)
}

impl Drop for Writing {
    /// Waits for the threads, so that nobody writes the recording any more once this is gone.
    fn drop(&mut self) {
        self.jobs = None;
        // A panic was told where it came up; what masks and writer ended with nobody asked for.
        drop(self.masking.take().map(JoinHandle::join));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Adds `masks` to those that a recording was masked by before, uncounted: what came ahead was counted by nobody who is left.
fn join_masks(known: &mut Vec<Mask>, masks: Vec<Mask>) {
    for mask in masks.into_iter().map(|mask| Mask { count: None, ..mask }) {
        if !known.contains(&mask) {
            known.push(mask);
        }
    }
}

fn broken(out: &Path, source: io::Error) -> RecordingError {
    RecordingError::File { action: "write", path: out.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Detection;
    use crate::recording::{Event, EventBatchBuilder, GapCause, Recording, Source};

    fn batch(offsets: std::ops::Range<i64>) -> EventBatch {
        let mut batch = EventBatchBuilder::new();
        for offset in offsets {
            batch.push_event(&Event { topic: "t".to_owned(), offset, ..Event::default() });
        }
        batch.finish()
    }

    fn masker() -> Masker {
        Masker::new(None, Detection::Refuse)
    }

    fn start(out: &Path) -> Writing {
        Writing::start(out, RecordingWriter::create(out, Source::default()).unwrap(), masker()).unwrap()
    }

    #[test]
    fn gaps_stand_ahead_of_the_events_behind_them_and_only_a_checkpoint_acknowledges() {
        let folder = tempfile::TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut writing = start(&out);
        writing.write(batch(0..10)).unwrap();
        writing.missing("t", 0, MissingOffsets { first: 10, last: 19, cause: GapCause::Compaction });
        writing.write(batch(20..30)).unwrap();
        assert_eq!((writing.acknowledged().rows, writing.acknowledged().partitions.len()), (0, 0));
        writing.checkpoint().unwrap();
        assert_eq!((writing.acknowledged().rows, writing.acknowledged().partitions[0].next), (20, 30));
        // Dropped, it leaves the recording to whoever comes next, who finds all of it.
        drop(writing);
        let (writer, _) = RecordingWriter::resume(&out).unwrap();
        let mut writing = Writing::start(&out, writer, masker()).unwrap();
        assert_eq!((writing.acknowledged().rows, writing.acknowledged().partitions[0].next), (20, 30));
        writing.missing("t", 0, MissingOffsets { first: 30, last: 31, cause: GapCause::Retention });
        let manifest = writing.seal().unwrap().manifest;
        let causes: Vec<_> = manifest.missing_by_cause().iter().map(|one| (one.cause, one.offsets)).collect();
        assert_eq!(causes, [(GapCause::Retention, 2), (GapCause::Compaction, 10)]);
        assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
    }

    #[test]
    fn how_often_something_looks_personal_outlasts_a_kill() {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, lost_manifest, expected) in
            [("there", false, Some(3)), ("lost", true, Some(3)), ("aside", false, None)]
        {
            let out = folder.path().join(name);
            let mails = |offset| {
                let mut batch = EventBatchBuilder::new();
                let value = Some(br#"{"mail":"ann.smith@example.org"}"#.to_vec());
                batch.push_event(&Event { topic: "t".to_owned(), offset, value, ..Event::default() });
                batch.finish()
            };
            let writer = RecordingWriter::create(&out, Source::default()).unwrap();
            let mut writing = Writing::start(&out, writer, Masker::new(None, Detection::Warn)).unwrap();
            for offset in 0..3 {
                writing.write(mails(offset)).unwrap();
                writing.checkpoint().unwrap();
            }
            assert_eq!(writing.noticed().count(), 1);
            // As after a kill: nobody sealed it.
            drop(writing);
            if lost_manifest {
                std::fs::remove_file(out.join("manifest.json")).unwrap();
            }
            if expected.is_none() {
                // A segment of which nothing is whole: its events are taken again, and counted again.
                std::fs::write(out.join("segments/000000.parquet"), "rot").unwrap();
            }
            let (writer, _) = RecordingWriter::resume(&out).unwrap();
            let counts: Vec<_> = writer.personal().iter().map(|one| (one.path.as_str(), one.count)).collect();
            assert_eq!(counts, expected.map(|count| ("$.mail", count)).into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn what_was_handed_over_stands_in_the_recording_in_order() {
        let folder = tempfile::TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut writing = start(&out);
        for start in 0..20 {
            writing.write(batch(start * 10..start * 10 + 10)).unwrap();
        }
        writing.checkpoint().unwrap();
        writing.write(batch(200..201)).unwrap();
        assert_eq!(writing.seal().unwrap().manifest.partitions[0].count, 201);
        assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
    }

    #[test]
    fn an_error_of_the_writer_comes_back_and_ends_the_writing() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut writing = start(&folder.path().join("out"));
        writing.write(batch(5..6)).unwrap();
        writing.write(batch(5..6)).unwrap();
        let error = writing.checkpoint().unwrap_err();
        assert!(matches!(error, CaptureError::Unwritable(RecordingError::OffsetOrder { offset: 5, .. })), "{error}");
        assert!(writing.write(batch(6..7)).is_err());
        assert!(writing.seal().is_err());
    }
}
