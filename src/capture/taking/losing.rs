//! What a partition lacks: where retention overtook the capture, or a topic was deleted.

use std::sync::Arc;

use super::Taking;
use super::taken::{Taken, missing};
use crate::capture::CaptureError;
use crate::capture::window::Stretch;
use crate::recording::GapCause;

impl Taking<'_> {
    /// Goes on with a partition whose log does not hold the offset that is wanted next: where retention overtook the capture, at
    /// what is left, if gaps are allowed.
    pub(super) fn find_log(&mut self, index: usize, allow_gaps: bool) -> Result<(), CaptureError> {
        let taken = &self.partitions[index];
        if taken.done {
            return Ok(());
        }
        let Stretch { topic, partition, .. } = taken.stretch;
        let (name, wanted) = (Arc::clone(&self.topics[topic].name), taken.next);
        let (oldest, behind) = self.cluster.watermarks(&name, partition)?;
        if wanted > behind {
            return Err(CaptureError::LogEndsEarlier { topic: name.to_string(), partition, wanted, end: behind });
        }
        if wanted < oldest {
            self.lose(index, oldest);
            if !allow_gaps {
                return Err(CaptureError::RetentionOvertook { topic: name.to_string(), partition, wanted, oldest });
            }
        }
        if !self.finish_reached(index) {
            let next = self.partitions[index].next;
            self.reader.stop(topic, partition);
            self.reader.start(topic, partition, next).map_err(|reason| self.failed(topic, partition, reason))?;
        }
        Ok(())
    }

    /// Notes what a partition lacks whose log begins at `oldest`, behind the offset that is wanted next.
    pub(super) fn lose(&mut self, index: usize, oldest: i64) {
        let taken = &mut self.partitions[index];
        let left = taken.stretch.end.map_or(oldest, |end| end.min(oldest));
        let ahead = missing(taken.accounted, taken.next, taken.cause);
        for missing in ahead.into_iter().chain(missing(taken.next, left, GapCause::Retention)) {
            taken.missing += missing.offsets();
            self.writer.missing(&self.topics[taken.stretch.topic].name, taken.stretch.partition, missing);
        }
        (taken.next, taken.accounted) = (left, left);
    }

    /// Notes what other partitions lack where retention has overtaken one and ends the capture: mostly it has overtaken them, too.
    pub(super) fn find_overtaken(&mut self) {
        for index in 0..self.partitions.len() {
            let Taken { stretch, next, done, .. } = &self.partitions[index];
            if *done {
                continue;
            }
            let name = &self.topics[stretch.topic].name;
            // Without an answer nothing is known, and who waits for the error waits no longer.
            let Ok((oldest, _)) = self.cluster.watermarks(name, stretch.partition) else { return };
            if *next < oldest {
                self.lose(index, oldest);
            }
        }
    }

    /// Notes what the windows of a topic lack that was deleted: nobody has those events any more, as if retention had taken them.
    pub(super) fn lose_rest(&mut self, topic: &str) {
        for index in 0..self.partitions.len() {
            let Taken { stretch, done, .. } = &self.partitions[index];
            if let Some(end) = stretch.end.filter(|_| !done && *self.topics[stretch.topic].name == *topic) {
                self.lose(index, end);
            }
        }
    }
}
