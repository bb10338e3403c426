//! What tables held ahead of their windows.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{POLL_EVENTS, POLL_WAIT, Taking, push};
use crate::capture::state::{LastOffsets, reach};
use crate::capture::window::Stretch;
use crate::capture::{CaptureError, CaptureProgress, CaptureSettings, CaptureStep};
use crate::clock::Stop;
use crate::kafka::{Polled, Reader, Received};
use crate::recording::Role;
use crate::schema::Part;

impl Taking<'_> {
    /// Takes the last value of each key that the tables held ahead of their windows. Asked to stop it leaves off.
    pub(super) fn take_state(
        &mut self,
        settings: &CaptureSettings,
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<(), CaptureError> {
        let begun = self.clock.now();
        for index in 0..self.partitions.len() {
            let Stretch { topic, low, start, .. } = self.partitions[index].stretch;
            if self.topics[topic].role != Role::Table || low >= start || stop.raised() {
                continue;
            }
            let mut last = LastOffsets::new();
            while last.begin() {
                self.scan(index, low..start, settings, stop, progress, |_, event| {
                    last.take(event.key(), event.value().is_some(), event.offset());
                    Ok(())
                })?;
            }
            let offsets = last.finish();
            let Some(range) = reach(&offsets).filter(|_| !stop.raised()) else { continue };
            let mut wanted = offsets.iter().copied().peekable();
            self.scan(index, range, settings, stop, progress, |taking, event| {
                let taken = &mut taking.partitions[index];
                while wanted.next_if(|offset| *offset < event.offset()).is_some() {
                    taken.vanished += 1;
                }
                if wanted.next_if_eq(&event.offset()).is_some() {
                    taken.state += 1;
                    taking.state += 1;
                    let date_us = taking.clock.date_us();
                    let Self { schemas, batch, writer, partitions, topics, bytes, .. } = taking;
                    let topic = (topic, &*topics[topic].name);
                    schemas.meet(topic, Part::Key, event.key(), writer)?;
                    schemas.meet(topic, Part::Value, event.value(), writer)?;
                    if let Some(epoch) = partitions[index].entered(event.leader_epoch()) {
                        writer.note_epoch(topic.1, event.partition(), (event.offset(), epoch));
                    }
                    *bytes += push(batch, schemas, topic, event, date_us)?;
                    if batch.is_full() {
                        writer.write(batch.finish())?;
                    }
                }
                Ok(())
            })?;
            if !stop.raised() {
                self.partitions[index].vanished += wanted.count() as u64;
            }
            progress(&self.progress(CaptureStep::Taking));
        }
        // How long the capture may take is counted from where the window's own events begin to come.
        self.heard = self.clock.now();
        let spent = self.heard.saturating_sub(begun);
        self.limit.due = self.limit.due.map(|due| due.saturating_add(spent));
        Ok(())
    }

    /// Hands the events of one stretch of a partition to `take`, in order, until its end or until asked to stop.
    pub(super) fn scan(
        &mut self,
        index: usize,
        range: Range<i64>,
        settings: &CaptureSettings,
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
        mut take: impl FnMut(&mut Self, &Received<'_>) -> Result<(), CaptureError>,
    ) -> Result<(), CaptureError> {
        let Stretch { topic, partition, .. } = self.partitions[index].stretch;
        let name = &*Arc::clone(&self.topics[topic].name);
        let failed = |reason| CaptureError::Partition { topic: name.to_owned(), partition, reason };
        let mut reader = Reader::new(&self.cluster.consumer, [name].into_iter(), POLL_EVENTS).map_err(failed)?;
        reader.start(0, partition, range.start).map_err(failed)?;
        let (mut next, mut heard, mut at_end) = (range.start, self.clock.now(), false);
        while next < range.end && !stop.raised() {
            let mut out_of_range = false;
            let count = reader.poll(POLL_WAIT, |polled| match polled {
                Polled::Event(event) => {
                    at_end = false;
                    if (next..range.end).contains(&event.offset()) {
                        take(self, &event)?;
                    }
                    next = next.max(event.offset() + 1);
                    Ok(())
                }
                Polled::End { offset, .. } => {
                    (next, at_end) = (next.max(offset), true);
                    Ok(())
                }
                Polled::OutOfRange { .. } => {
                    out_of_range = true;
                    Ok(())
                }
                Polled::Truncated { end, .. } => {
                    Err(CaptureError::LogCut { topic: name.to_owned(), partition, wanted: next, end })
                }
                Polled::Failed { reason, .. } => {
                    Err(CaptureError::Partition { topic: name.to_owned(), partition, reason })
                }
            })?;
            while self.cluster.consumer.poll(Duration::ZERO).is_some() {}
            if out_of_range {
                let (oldest, behind) = self.cluster.watermarks(name, partition)?;
                if next > behind {
                    let name = name.to_owned();
                    return Err(CaptureError::LogEndsEarlier { topic: name, partition, wanted: next, end: behind });
                }
                // A table's values that are gone by now belong to it no more than those that went before.
                next = next.max(oldest);
                reader.stop(0, partition);
                reader.start(0, partition, next).map_err(failed)?;
            }
            self.save_when_due(settings, progress)?;
            let now = self.clock.now();
            if count > usize::from(out_of_range) {
                heard = now;
            }
            let waited = now.saturating_sub(heard);
            if waited >= settings.stall_timeout && !at_end {
                return Err(CaptureError::Stalled { topic: name.to_owned(), partition, waited });
            }
        }
        Ok(())
    }
}
