//! The loop that takes events from the cluster and puts them into the recording.

use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::cluster::Cluster;
use super::native::{Polled, Reader, Received};
use super::window::{Limit, Stretch, Window};
use super::{CaptureError, CaptureSettings};
use crate::clock::{Clock, Stop};
use crate::recording::{EventBatchBuilder, RecordingWriter, Source, TopicSource};

/// Events a poll brings at most.
const POLL_EVENTS: usize = 4_096;

/// Bounds every wait for events, so that the end of a duration and a request to stop are seen in time.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// Time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Time after which what was taken is put on the disk, so that a crash loses no more than that.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// How far a capture has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureProgress {
    /// Events taken.
    pub events: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Events that are still to come: up to the end where there is one, else up to the newest that the brokers told of.
    pub lag: u64,
}

/// What a capture took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureReport {
    /// Events in the recording.
    pub events: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// What ended the capture.
    pub ending: CaptureEnding,
    /// What was taken of each partition, in order of topic and partition, empty ones too.
    pub partitions: Vec<CapturedPartition>,
}

/// What ended a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureEnding {
    /// All partitions were read to their ends.
    Ended,
    /// The number of events was reached.
    Counted,
    /// The duration was over.
    TimeOver,
    /// It was told to stop.
    Stopped,
}

/// What was taken of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset at which the capture began.
    pub start: i64,
    /// Next offset that would have been taken.
    pub next: i64,
    /// Events taken.
    pub events: u64,
}

/// Takes the events of `window` into a new recording in `out`.
pub(super) fn take(
    cluster: &Cluster,
    window: Window,
    settings: &CaptureSettings,
    out: &Path,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &mut dyn FnMut(&CaptureProgress),
) -> Result<CaptureReport, CaptureError> {
    let mut taking = Taking::begin(cluster, window, out, clock.now())?;
    let ending = taking.run(settings, clock, stop, progress);
    progress(&taking.progress());
    let Taking { mut writer, mut batch, reader, partitions, names, events, bytes, .. } = taking;
    drop(reader);
    if !batch.is_empty() {
        writer.write(&batch.finish())?;
    }
    writer.seal()?;
    let captured = |taken: Taken| CapturedPartition {
        topic: names[taken.stretch.topic].to_owned(),
        partition: taken.stretch.partition,
        start: taken.stretch.start,
        next: taken.next,
        events: taken.events,
    };
    match ending {
        Ok(ending) => {
            Ok(CaptureReport { events, bytes, ending, partitions: partitions.into_iter().map(captured).collect() })
        }
        // The recording refused an event: what it holds is sealed, yet it is no result of a capture.
        Err(source) => Err(CaptureError::Interrupted { events, out: out.to_owned(), source: Box::new(source) }),
    }
}

/// A capture under way.
struct Taking<'c> {
    cluster: &'c Cluster,
    reader: Reader<'c>,
    writer: RecordingWriter,
    batch: EventBatchBuilder,
    names: Vec<&'c str>,
    partitions: Vec<Taken>,
    /// First of `partitions` of each topic, so that a partition is found by its number.
    first: Vec<usize>,
    limit: Limit,
    events: u64,
    bytes: u64,
    /// Partitions that have not reached their ends.
    open: usize,
    heard: Duration,
}

/// What has been taken of one partition.
struct Taken {
    stretch: Stretch,
    next: i64,
    events: u64,
    /// Whether the broker said that there is no more at this moment.
    at_end: bool,
    done: bool,
}

impl<'c> Taking<'c> {
    fn begin(cluster: &'c Cluster, window: Window, out: &Path, now: Duration) -> Result<Self, CaptureError> {
        let names: Vec<&str> = cluster.topics.keys().map(String::as_str).collect();
        let consumer: &BaseConsumer = &cluster.consumer;
        let reader = Reader::new(consumer, names.iter().copied(), POLL_EVENTS)
            .map_err(|reason| CaptureError::Consumer { reason })?;
        let mut first = Vec::new();
        for (index, stretch) in window.partitions.iter().enumerate() {
            if stretch.topic == first.len() {
                first.push(index);
            }
        }
        let fresh = |stretch: Stretch| Taken { next: stretch.start, events: 0, at_end: false, done: false, stretch };
        let mut taking = Self {
            cluster,
            reader,
            writer: RecordingWriter::create(out, source(cluster))?,
            batch: EventBatchBuilder::new(),
            names,
            open: window.partitions.len(),
            partitions: window.partitions.into_iter().map(fresh).collect(),
            first,
            limit: window.limit,
            events: 0,
            bytes: 0,
            heard: now,
        };
        taking.start()?;
        Ok(taking)
    }

    fn start(&mut self) -> Result<(), CaptureError> {
        for index in 0..self.partitions.len() {
            if self.finish_reached(index) {
                continue;
            }
            let Stretch { topic, partition, start, .. } = self.partitions[index].stretch;
            self.reader.start(topic, partition, start).map_err(|reason| self.failed(topic, partition, reason))?;
        }
        Ok(())
    }

    fn run(
        &mut self,
        settings: &CaptureSettings,
        clock: &dyn Clock,
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<CaptureEnding, CaptureError> {
        let (mut reported, mut checkpointed) = (clock.now(), clock.now());
        let mut unsaved = 0;
        loop {
            if self.open == 0 {
                return Ok(CaptureEnding::Ended);
            }
            if stop.raised() {
                return Ok(CaptureEnding::Stopped);
            }
            let now = clock.now();
            match self.limit {
                Limit::Count(count) if self.events >= count => return Ok(CaptureEnding::Counted),
                Limit::Due(due) if now >= due => return Ok(CaptureEnding::TimeOver),
                Limit::Date(time_ms) if clock.date_us() / 1_000 >= time_ms => self.look_up_ends(time_ms)?,
                _ => {}
            }
            if now.saturating_sub(reported) >= PROGRESS_EVERY {
                reported = now;
                progress(&self.progress());
            }
            if now.saturating_sub(checkpointed) >= CHECKPOINT_EVERY && self.events > unsaved {
                (checkpointed, unsaved) = (now, self.events);
                self.checkpoint()?;
            }
            let wait = match self.limit {
                Limit::Due(due) => POLL_WAIT.min(due.saturating_sub(now)),
                _ => POLL_WAIT,
            };
            if self.poll(wait, clock)? {
                self.heard = clock.now();
            } else {
                self.check_stall(clock.now(), settings.stall_timeout)?;
            }
        }
    }

    /// Takes what comes within `wait` and returns whether anything did.
    fn poll(&mut self, wait: Duration, clock: &dyn Clock) -> Result<bool, CaptureError> {
        // Taken apart, as the reader hands events to what lies beside it.
        let Self { reader, batch, writer, partitions, names, first, events, bytes, limit, .. } = self;
        let mut reached = Vec::new();
        // One date for all events of a poll: they came together.
        let mut date_us = None;
        let count = reader.poll(wait, |polled| match polled {
            Polled::Event(event) => {
                let index = find(partitions, first, event.topic, event.partition());
                let taken = &mut partitions[index];
                taken.at_end = false;
                if taken.done || matches!(limit, Limit::Count(count) if *events >= *count) {
                    return Ok(());
                }
                // Behind the end: the broker skipped what lies between, so the end is reached.
                if taken.stretch.end.is_some_and(|end| event.offset() >= end) {
                    reached.push(index);
                    return Ok(());
                }
                if event.offset() < taken.next {
                    return Ok(());
                }
                let date_us = *date_us.get_or_insert_with(|| clock.date_us());
                *bytes += push(batch, names[event.topic], &event, date_us)?;
                *events += 1;
                taken.events += 1;
                taken.next = event.offset() + 1;
                if taken.stretch.end.is_some_and(|end| taken.next >= end) {
                    reached.push(index);
                }
                if batch.is_full() {
                    writer.write(&batch.finish())?;
                }
                Ok(())
            }
            Polled::End { topic, partition, offset } => {
                let index = find(partitions, first, topic, partition);
                let taken = &mut partitions[index];
                taken.at_end = true;
                // Offsets without events, such as the markers of transactions, are passed over at the end alone.
                taken.next = taken.next.max(offset);
                reached.push(index);
                Ok(())
            }
            Polled::Failed { topic, partition, reason } => {
                Err(CaptureError::Partition { topic: names[topic].to_owned(), partition, reason })
            }
        })?;
        for index in reached {
            self.finish_reached(index);
        }
        // Errors of the client itself wait in another queue; librdkafka goes on trying, and a stall is told by its own bound.
        while self.cluster.consumer.poll(Duration::ZERO).is_some() {}
        Ok(count > 0)
    }

    /// Stops reading a partition that has come to its end, and returns whether it has.
    fn finish_reached(&mut self, index: usize) -> bool {
        let taken = &mut self.partitions[index];
        let reached = taken.stretch.end.is_some_and(|end| taken.next >= end);
        if reached && !taken.done {
            taken.done = true;
            self.open -= 1;
            self.reader.stop(taken.stretch.topic, taken.stretch.partition);
        }
        reached
    }

    fn look_up_ends(&mut self, time_ms: i64) -> Result<(), CaptureError> {
        let partitions = self.partitions.iter().map(|taken| taken.stretch.clone()).collect();
        let mut window = Window { partitions, limit: Limit::None };
        window.end_at(self.cluster, time_ms)?;
        self.limit = Limit::None;
        for (index, stretch) in window.partitions.into_iter().enumerate() {
            self.partitions[index].stretch = stretch;
            self.finish_reached(index);
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), CaptureError> {
        if !self.batch.is_empty() {
            self.writer.write(&self.batch.finish())?;
        }
        Ok(self.writer.checkpoint()?)
    }

    fn check_stall(&self, now: Duration, timeout: Duration) -> Result<(), CaptureError> {
        let waited = now.saturating_sub(self.heard);
        if waited < timeout {
            return Ok(());
        }
        match self.partitions.iter().find(|taken| !taken.done && !taken.at_end) {
            Some(taken) => Err(CaptureError::Stalled {
                topic: self.names[taken.stretch.topic].to_owned(),
                partition: taken.stretch.partition,
                waited,
            }),
            None => Ok(()),
        }
    }

    fn progress(&self) -> CaptureProgress {
        let lag = |taken: &Taken| {
            let high = || self.reader.high(taken.stretch.topic, taken.stretch.partition);
            taken.stretch.end.or_else(high).map_or(0, |end| (end - taken.next).max(0) as u64)
        };
        CaptureProgress { events: self.events, bytes: self.bytes, lag: self.partitions.iter().map(lag).sum() }
    }

    fn failed(&self, topic: usize, partition: i32, reason: String) -> CaptureError {
        CaptureError::Partition { topic: self.names[topic].to_owned(), partition, reason }
    }
}

/// Returns the index of a partition. Numbers of partitions are dense in all clusters met so far, and need not be.
fn find(partitions: &[Taken], first: &[usize], topic: usize, partition: i32) -> usize {
    let guess = first[topic] + partition as usize;
    let is_it = |taken: &Taken| (taken.stretch.topic, taken.stretch.partition) == (topic, partition);
    if partitions.get(guess).is_some_and(is_it) {
        return guess;
    }
    partitions.iter().position(is_it).expect("only partitions of the window are read")
}

/// Puts `event` into `batch` and returns the bytes of its key and value.
fn push(batch: &mut EventBatchBuilder, topic: &str, event: &Received<'_>, date_us: i64) -> Result<u64, CaptureError> {
    let Some(headers) = event.headers() else {
        let (partition, offset) = (event.partition(), event.offset());
        return Err(CaptureError::HeaderName { topic: topic.to_owned(), partition, offset });
    };
    let (timestamp_ms, timestamp_type) = event.timestamp();
    let (key, value) = (event.key(), event.value());
    batch.push(
        topic,
        event.partition(),
        event.offset(),
        timestamp_ms,
        timestamp_type,
        Some(date_us),
        key,
        value,
        headers,
    );
    Ok((key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64)
}

fn source(cluster: &Cluster) -> Source {
    let topic = |(name, partitions): (&String, &Vec<i32>)| TopicSource {
        name: name.clone(),
        partitions: partitions.len() as i32,
        ..TopicSource::default()
    };
    Source { cluster: cluster.id.clone(), topics: cluster.topics.iter().map(topic).collect() }
}
