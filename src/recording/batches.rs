//! All events, in batches.

use std::sync::Arc;

use super::opened::Opened;
use super::segment::SegmentBatches;
use super::{Columns, EventBatch, Recording, RecordingError};

/// Events in the order of the segments, in batches of a few thousand. Ends after an error.
#[derive(Debug)]
pub struct Batches {
    recording: Arc<Opened>,
    columns: Columns,
    segment: u32,
    group: usize,
    current: Option<SegmentBatches>,
}

impl Recording {
    /// Returns all events in the order of the segments, in batches, decoding only `columns`.
    pub fn batches(&self, columns: Columns) -> Batches {
        Batches { recording: Arc::clone(&self.inner), columns, segment: 0, group: 0, current: None }
    }
}

impl Batches {
    fn advance(&mut self) -> Result<Option<EventBatch>, RecordingError> {
        loop {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            self.current = None;
            let Some(index) = self.recording.segments.get(self.segment as usize) else { return Ok(None) };
            if self.group < index.groups.len() {
                let segment = self.recording.segment(self.segment)?;
                self.current = Some(segment.read_group(self.group, self.columns)?);
                self.group += 1;
            } else {
                self.segment += 1;
                self.group = 0;
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<EventBatch, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.current = None;
            self.segment = u32::MAX;
        }
        next
    }
}
