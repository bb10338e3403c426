//! The recording's writer on a thread of its own, so that encoding, compressing and syncing hold up no fetching.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::recording::{EventBatch, Manifest, RecordingError, RecordingWriter, Source};

/// Batches that wait at most: who takes events faster than they can be written waits with them.
const AHEAD: usize = 4;

/// Hands batches to a writer on another thread. An error of the writer comes back with a later call, and ends the writing.
pub(super) struct Writing {
    out: PathBuf,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<RecordingWriter, RecordingError>>>,
}

enum Job {
    Write(Box<EventBatch>),
    /// Answered once everything ahead is safe on the disk.
    Checkpoint(SyncSender<()>),
}

impl Writing {
    /// Creates the recording and starts the thread.
    pub(super) fn create(out: &Path, source: Source) -> Result<Self, RecordingError> {
        let mut writer = RecordingWriter::create(out, source)?;
        let (jobs, waiting) = sync_channel(AHEAD);
        let work = move || {
            for job in waiting {
                match job {
                    Job::Write(batch) => writer.write(&batch)?,
                    Job::Checkpoint(done) => {
                        writer.checkpoint()?;
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                }
            }
            Ok(writer)
        };
        let thread =
            thread::Builder::new().name("writing".to_owned()).spawn(work).map_err(|error| broken(out, error))?;
        Ok(Self { out: out.to_owned(), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a batch; waits while too many are waiting.
    pub(super) fn write(&mut self, batch: EventBatch) -> Result<(), RecordingError> {
        self.hand_over(Job::Write(Box::new(batch)))
    }

    /// Waits until everything handed over is safe on the disk.
    pub(super) fn checkpoint(&mut self) -> Result<(), RecordingError> {
        let (done, wait) = sync_channel(1);
        self.hand_over(Job::Checkpoint(done))?;
        match wait.recv() {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure()),
        }
    }

    /// Finishes the recording.
    pub(super) fn seal(mut self) -> Result<Manifest, RecordingError> {
        self.end()?.seal()
    }

    fn hand_over(&mut self, job: Job) -> Result<(), RecordingError> {
        match self.jobs.as_ref().map(|jobs| jobs.send(job)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// What the writer ended with, as it takes nothing any more.
    fn failure(&mut self) -> RecordingError {
        match self.end() {
            Err(error) => error,
            Ok(_) => broken(&self.out, io::Error::other("the writing has ended")),
        }
    }

    /// Ends the thread and returns the writer.
    fn end(&mut self) -> Result<RecordingWriter, RecordingError> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // A panic goes on where somebody sees it.
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(broken(&self.out, io::Error::other("an error has ended the writing before"))),
        }
    }
}

fn broken(out: &Path, source: io::Error) -> RecordingError {
    RecordingError::File { action: "write", path: out.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Event, EventBatchBuilder, Recording};

    fn batch(offsets: std::ops::Range<i64>) -> EventBatch {
        let mut batch = EventBatchBuilder::new();
        for offset in offsets {
            batch.push_event(&Event { topic: "t".to_owned(), offset, ..Event::default() });
        }
        batch.finish()
    }

    #[test]
    fn what_was_handed_over_stands_in_the_recording_in_order() {
        let folder = tempfile::TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut writing = Writing::create(&out, Source::default()).unwrap();
        for start in 0..20 {
            writing.write(batch(start * 10..start * 10 + 10)).unwrap();
        }
        writing.checkpoint().unwrap();
        writing.write(batch(200..201)).unwrap();
        assert_eq!(writing.seal().unwrap().partitions[0].count, 201);
        assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
    }

    #[test]
    fn an_error_of_the_writer_comes_back_and_ends_the_writing() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut writing = Writing::create(&folder.path().join("out"), Source::default()).unwrap();
        writing.write(batch(5..6)).unwrap();
        writing.write(batch(5..6)).unwrap();
        let error = writing.checkpoint().unwrap_err();
        assert!(matches!(error, RecordingError::OffsetOrder { offset: 5, .. }), "{error}");
        assert!(writing.write(batch(6..7)).is_err());
        assert!(writing.seal().is_err());
    }
}
