//! The loop that takes events from the cluster and puts them into the recording.

mod ending;
mod growing;
mod losing;
mod tables;
mod taken;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use self::growing::Looked;
use self::taken::{Taken, TakenTopic, missing};
use super::cluster::{Cluster, Topic, cause_of_gaps};
use super::masking::Noticed;
use super::outage::{Outage, Reach, StoreWatch};
use super::resume::Beginning;
use super::schemas::SchemasMet;
use super::watching::{Recreated, Watching};
use super::window::{Limit, Stretch, Window};
use super::writing::Writing;
use super::{
    CaptureEnding, CaptureError, CaptureProgress, CaptureReport, CaptureSettings, CaptureStep, CapturedPartition,
};
use crate::clock::{Clock, Stop};
use crate::kafka::{Polled, Reader, Received};
use crate::mask::{Sighting, Unread};
use crate::recording::{AcknowledgedPartition, EventBatchBuilder, Manifest, RecordingError, Role};
use crate::schema::Part;

/// Events a poll brings at most.
const POLL_EVENTS: usize = 4_096;

/// Bounds every wait for events, so that the end of a duration and a request to stop are seen in time.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// Places that are told at once where something looks personal.
const SIGHTINGS_TOLD: usize = 20;

/// Time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Takes the events of `window` into the recording in `out`.
#[expect(
    clippy::too_many_arguments,
    reason = "what is taken, where from, where to, and the three ways to look in from outside"
)]
pub(in crate::capture) fn take(
    cluster: &Cluster<'_>,
    window: Window,
    settings: &CaptureSettings,
    out: &Path,
    beginning: Beginning<'_>,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &mut dyn FnMut(&CaptureProgress),
) -> Result<CaptureReport, CaptureError> {
    let begun = clock.now();
    let Beginning { writer, masker, schemas, resumed_at, mut notes } = beginning;
    let (events, state) = (writer.rows() - writer.resumed_state(), writer.resumed_state());
    let writer = Writing::start(out, writer, masker)?;
    let mut taking = Taking::begin(cluster, window, (writer, schemas), (events, state), clock)?;
    let ending = taking.run(settings, stop, progress);
    // Whoever wanted so many events has them: what stands behind was not wanted.
    if let Ok(Ran::To(CaptureEnding::Ended | CaptureEnding::Stopped | CaptureEnding::TimeOver)) = ending {
        taking.tell_held_back(settings, progress);
    }
    // Written while the cluster is asked: what was taken stands, whatever the answer.
    let ending = ending.and_then(|ran| taking.hand_over().map(|()| ran));
    let ending = taking.judge(ending, out, &mut notes);
    notes.append(&mut taking.notes);
    let mut sealed = taking.progress(CaptureStep::Sealed);
    let Taking {
        mut writer, schemas, mut batch, reader, mut partitions, topics, events, state, bytes, mut store, ..
    } = taking;
    drop(reader);
    let acknowledged = writer.acknowledged().rows;
    let unfinished = |source| CaptureError::Unfinished { acknowledged, out: out.to_owned(), source };
    let ending = match ending {
        // What the disk refused once it may take in part another time: nothing more is written.
        Err(CaptureError::Unwritable(source)) => return Err(unfinished(source)),
        ending => ending,
    };
    if let Err(why) = &ending {
        writer.note_ended_early(why);
    }
    let finish = || -> Result<_, CaptureError> {
        // Behind an event that must not be kept nothing is.
        if !matches!(ending, Err(CaptureError::Mask(_))) {
            hand_over_rest(&mut writer, &mut batch, &mut partitions, &topics)?;
        }
        writer.seal()
    };
    let mut look = |now| {
        if let Some((step, note)) = store.as_mut().and_then(|store| store.look(now)) {
            progress(&CaptureProgress { step, note: Some(note.clone()), ..sealed.clone() });
            notes.push(note);
        }
    };
    let sealed_as = meanwhile(finish, || look(clock.now())).map_err(|error| match error {
        CaptureError::Unwritable(source) => unfinished(source),
        // Of an event that must not be kept: the first of all, so there is no recording.
        refused => refused,
    })?;
    let (manifest, ending) =
        (&sealed_as.manifest, sealed_as.refused.clone().map_or(ending, |refused| Err(refused.into())));
    sealed.elapsed = clock.now().saturating_sub(begun);
    // Fewer than were taken where one of them must not be kept.
    let rows = manifest.segments.iter().filter_map(|segment| segment.rows).sum();
    (sealed.events, sealed.acknowledged_events, sealed.acknowledged) = (rows, rows, all_of(manifest));
    progress(&sealed);
    let captured = |taken: Taken| CapturedPartition {
        topic: topics[taken.stretch.topic].name.to_string(),
        partition: taken.stretch.partition,
        start: taken.stretch.start,
        next: taken.next,
        events: taken.events,
        state: taken.state,
        vanished: taken.vanished,
        missing: taken.missing,
        span: taken.span,
    };
    let events = events + state;
    let mut warnings = schemas.into_warnings();
    // After a resume nobody knows what was changed before, and of no events nothing could be.
    if resumed_at.is_none() && events > 0 {
        warnings.extend(sealed_as.masker.idle());
    }
    warnings.extend(sealed_as.masker.unread());
    warnings.extend(sealed_as.masker.keyless(&manifest.source));
    match ending {
        Ok(ending) => Ok(CaptureReport {
            events,
            bytes,
            ending,
            resumed_at,
            missing: manifest.missing_by_cause(),
            notes,
            partitions: partitions.into_iter().map(captured).collect(),
            sightings: sealed_as.masker.sightings(),
            warnings,
        }),
        // The recording refused an event: what it holds is sealed, yet it is no result of a capture.
        Err(source) => Err(CaptureError::Interrupted { events: rows, out: out.to_owned(), source: Box::new(source) }),
    }
}

/// Does `work` on a thread of its own, and looks what there is to tell while it lasts: a store may take minutes.
fn meanwhile<T: Send>(work: impl FnOnce() -> T + Send, mut look: impl FnMut()) -> T {
    thread::scope(|scope| {
        let (working_on, ended) = sync_channel::<()>(0);
        let working = scope.spawn(move || {
            let _open_until_done = working_on;
            work()
        });
        while ended.recv_timeout(POLL_WAIT) == Err(RecvTimeoutError::Timeout) {
            look();
        }
        // What came to pass since: a store that answers again lets the work end.
        look();
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Hands over the events that are left, and what the ends of partitions lack.
fn hand_over_rest(
    writer: &mut Writing,
    batch: &mut EventBatchBuilder,
    partitions: &mut [Taken],
    topics: &[TakenTopic],
) -> Result<(), RecordingError> {
    let written = if batch.is_empty() { Ok(()) } else { writer.write(batch.finish()) };
    for taken in partitions {
        // Offsets at the end that hold no event.
        let end = taken.stretch.end.map_or(taken.next, |end| end.min(taken.next));
        if let Some(missing) = missing(taken.accounted, end, taken.cause) {
            taken.missing += missing.offsets();
            writer.missing(&topics[taken.stretch.topic].name, taken.stretch.partition, missing);
        }
    }
    match written {
        Err(CaptureError::Unwritable(source)) => Err(source),
        // What must not be kept is told by the sealing.
        _ => Ok(()),
    }
}

/// Up to where the partitions of a sealed recording are on the disk.
fn all_of(manifest: &Manifest) -> Arc<[AcknowledgedPartition]> {
    let facts = manifest.partitions.iter();
    facts
        .map(|facts| AcknowledgedPartition {
            topic: facts.topic.clone(),
            partition: facts.partition,
            next: facts.last + 1,
        })
        .collect()
}

/// What ended the taking of events.
enum Ran {
    To(CaptureEnding),
    Recreated(Vec<Recreated>),
    /// A topic that no broker has known for so long.
    Deleted(String, Duration),
}

/// A capture under way.
struct Taking<'c> {
    cluster: &'c Cluster<'c>,
    clock: &'c dyn Clock,
    reader: Reader<'c>,
    writer: Writing,
    schemas: SchemasMet<'c>,
    batch: EventBatchBuilder,
    /// Topics by their numbers: in order of name, and behind them those that came up since.
    topics: Vec<TakenTopic>,
    /// In order of topic and partition, and behind them those that came up since.
    partitions: Vec<Taken>,
    limit: Limit,
    /// Events within the windows, those of before a resume too.
    events: u64,
    /// Events of tables ahead of their windows, those of before a resume too.
    state: u64,
    bytes: u64,
    /// Partitions that have not reached their ends.
    open: usize,
    begun: Duration,
    heard: Duration,
    /// When what was taken was last put on the disk, and how many events there were.
    saved: (Duration, u64),
    watching: Watching<'c>,
    reach: Reach,
    store: Option<StoreWatch>,
    looked: Looked,
    /// Places that were told because something looks personal there.
    sighted: usize,
    /// What came up, as sentences.
    notes: Vec<String>,
}

impl<'c> Taking<'c> {
    fn begin(
        cluster: &'c Cluster<'c>,
        window: Window,
        (writer, schemas): (Writing, SchemasMet<'c>),
        (events, state): (u64, u64),
        clock: &'c dyn Clock,
    ) -> Result<Self, CaptureError> {
        let names = cluster.topics.keys().map(String::as_str);
        let reader =
            Reader::new(&cluster.consumer, names, POLL_EVENTS).map_err(|reason| CaptureError::Consumer { reason })?;
        let taken_topic = |(name, topic): (&String, &Topic)| {
            TakenTopic::new(name, topic.role, cause_of_gaps(cluster.configurations.get(name)))
        };
        let mut topics: Vec<TakenTopic> = cluster.topics.iter().map(taken_topic).collect();
        for (index, stretch) in window.partitions.iter().enumerate() {
            topics[stretch.topic].add(stretch.partition, index);
        }
        let begin = |stretch: Stretch| {
            let cause = topics[stretch.topic].cause;
            Taken::begin(stretch, cause)
        };
        let now = clock.now();
        let known_from = |stretch: &Stretch| match topics[stretch.topic].role {
            // Its state ahead of the window is taken, too.
            Role::Table => stretch.low.min(stretch.start),
            Role::Input | Role::Output | Role::Changelog => stretch.start,
        };
        let begins = window.partitions.iter().map(known_from).collect();
        Ok(Self {
            cluster,
            clock,
            reader,
            store: writer.store().cloned().map(StoreWatch::new),
            writer,
            schemas,
            batch: EventBatchBuilder::new(),
            open: window.partitions.len(),
            partitions: window.partitions.into_iter().map(begin).collect(),
            topics,
            limit: window.limit,
            events,
            state,
            bytes: 0,
            begun: now,
            heard: now,
            saved: (now, events + state),
            watching: Watching::begin(cluster, begins, now),
            reach: Reach::default(),
            looked: Looked::begin(now),
            sighted: 0,
            notes: Vec::new(),
        })
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
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<Ran, CaptureError> {
        let clock = self.clock;
        progress(&self.progress(CaptureStep::Started));
        self.take_state(settings, stop, progress)?;
        self.start()?;
        let (mut reported, mut caught_up) = (clock.now(), false);
        loop {
            if self.open == 0 || (!caught_up && self.partitions.iter().all(|taken| taken.done || taken.at_end)) {
                if !caught_up {
                    progress(&self.progress(CaptureStep::CaughtUp));
                }
                caught_up = true;
            }
            if self.open == 0 {
                return Ok(Ran::To(CaptureEnding::Ended));
            }
            if stop.raised() {
                return Ok(Ran::To(CaptureEnding::Stopped));
            }
            let now = clock.now();
            if self.limit.count.is_some_and(|count| self.events >= count) {
                return Ok(Ran::To(CaptureEnding::Counted));
            }
            if self.limit.due.is_some_and(|due| now >= due) {
                return Ok(Ran::To(CaptureEnding::TimeOver));
            }
            if let Some(time_ms) = self.limit.date_ms.filter(|time_ms| clock.date_us() / 1_000 >= *time_ms) {
                self.look_up_ends(time_ms)?;
            }
            if now.saturating_sub(reported) >= PROGRESS_EVERY {
                reported = now;
                progress(&self.progress(CaptureStep::Taking));
            }
            if self.save_when_due(settings, progress)? {
                reported = now;
            }
            let mut answered = false;
            let Self { watching, partitions, .. } = self;
            if let Some(seen) = watching.look(now, || partitions.iter().map(|taken| taken.next).collect()) {
                answered = true;
                if !seen.recreated.is_empty() {
                    return Ok(Ran::Recreated(seen.recreated));
                }
                let waits = |topic: &String| {
                    self.partitions.iter().any(|taken| !taken.done && *self.topics[taken.stretch.topic].name == **topic)
                };
                let deleted: Vec<_> = seen.deleted.into_iter().filter(|(topic, _)| waits(topic)).collect();
                for (topic, gone) in deleted {
                    if !self.came_up(&topic) {
                        return Ok(Ran::Deleted(topic, gone));
                    }
                    self.let_go(&topic, progress);
                }
                for (topic, there) in seen.grown {
                    self.grow(&topic, there, progress)?;
                }
            }
            self.look_for_topics(settings, now, progress)?;
            self.tell_noticed(progress);
            let wait = self.limit.due.map_or(POLL_WAIT, |due| POLL_WAIT.min(due.saturating_sub(now)));
            if self.poll(wait, settings.allow_gaps, clock)? {
                self.heard = clock.now();
                answered = true;
            } else {
                self.check_stall(clock.now(), settings.stall_timeout)?;
            }
            let all_down = self.cluster.all_down();
            match self.reach.hear(clock.now(), answered, all_down) {
                Some(Outage::Lasts(long)) => {
                    let note = format!(
                        "No broker of {} has been reachable for {} s; the capture goes on as soon as one is.",
                        settings.brokers,
                        long.as_secs()
                    );
                    self.tell(CaptureStep::Unreachable, note, progress);
                }
                Some(Outage::Over(long)) => {
                    let note = format!("A broker is reachable again, after {} s.", long.as_secs());
                    self.tell(CaptureStep::Reachable, note, progress);
                }
                None => {}
            }
            if let Some((step, note)) = self.store.as_mut().and_then(|store| store.look(clock.now())) {
                self.tell(step, note, progress);
            }
        }
    }

    /// Says what the masks met for the first time; the report lists all of it.
    fn tell_noticed(&mut self, progress: &mut dyn FnMut(&CaptureProgress)) {
        let noticed: Vec<_> = self.writer.noticed().collect();
        for one in noticed {
            let note = match one {
                Noticed::Personal(Sighting { topic, path, kind, partition, offset, .. }) => {
                    self.sighted += 1;
                    match self.sighted {
                        ..=SIGHTINGS_TOLD => format!(
                            "Topic `{topic}`: {path} holds what looks like {}, first in partition {partition} at offset {offset}.",
                            kind.words()
                        ),
                        more if more == SIGHTINGS_TOLD + 1 => {
                            "More places hold what looks personal; the end of the capture lists all of them.".to_owned()
                        }
                        _ => continue,
                    }
                }
                Noticed::Unread(Unread { topic, part, partition, offset, is_framed }) => format!(
                    "Topic `{topic}`: nobody can read the fields that rules name in the {part} of partition {partition} at offset \
                     {offset}{}: it is redacted as a whole, and so is each like it.",
                    if is_framed { ", as its schema is not at hand or does not fit" } else { ", which is no JSON" }
                ),
            };
            progress(&CaptureProgress { note: Some(note), ..self.progress(CaptureStep::Noted) });
        }
    }

    /// Says something now, and once more in the report.
    fn tell(&mut self, step: CaptureStep, note: String, progress: &mut dyn FnMut(&CaptureProgress)) {
        progress(&CaptureProgress { note: Some(note.clone()), ..self.progress(step) });
        self.notes.push(note);
    }

    /// Takes what comes within `wait` and returns whether anything did.
    fn poll(&mut self, wait: Duration, allow_gaps: bool, clock: &dyn Clock) -> Result<bool, CaptureError> {
        // Taken apart, as the reader hands events to what lies beside it.
        let Self { reader, schemas, batch, writer, partitions, topics, events, bytes, limit, .. } = self;
        let (mut reached, mut out_of_range) = (Vec::new(), Vec::new());
        // One date for all events of a poll: they came together.
        let mut date_us = None;
        let count = reader.poll(wait, |polled| match polled {
            Polled::Event(event) => {
                let index = topics[event.topic].find(event.partition());
                let taken = &mut partitions[index];
                taken.at_end = false;
                if taken.done || limit.count.is_some_and(|count| *events >= count) {
                    taken.passed_over = true;
                    return Ok(());
                }
                // Behind the end: the broker skipped what lies between, so the end is reached.
                if let Some(end) = taken.stretch.end.filter(|&end| event.offset() >= end) {
                    taken.next = taken.next.max(end);
                    reached.push(index);
                    return Ok(());
                }
                if event.offset() < taken.next {
                    return Ok(());
                }
                if let Some(missing) = missing(taken.accounted, event.offset(), taken.cause) {
                    taken.missing += missing.offsets();
                    writer.missing(&topics[event.topic].name, event.partition(), missing);
                }
                let date_us = *date_us.get_or_insert_with(|| clock.date_us());
                let topic = (event.topic, &*topics[event.topic].name);
                schemas.meet(topic, Part::Key, event.key(), writer)?;
                schemas.meet(topic, Part::Value, event.value(), writer)?;
                if let Some(epoch) = taken.entered(event.leader_epoch()) {
                    writer.note_epoch(topic.1, event.partition(), (event.offset(), epoch));
                }
                *bytes += push(batch, schemas, topic, &event, date_us)?;
                *events += 1;
                taken.count(&event);
                if taken.stretch.end.is_some_and(|end| taken.next >= end) {
                    reached.push(index);
                }
                if batch.is_full() {
                    writer.write(batch.finish())?;
                }
                Ok(())
            }
            Polled::End { topic, partition, offset } => {
                let index = topics[topic].find(partition);
                let taken = &mut partitions[index];
                taken.at_end = true;
                // Offsets without events, such as the markers of transactions, are passed over at the end alone.
                if !taken.passed_over {
                    taken.next = taken.next.max(offset);
                }
                reached.push(index);
                Ok(())
            }
            Polled::OutOfRange { topic, partition } => {
                out_of_range.push(topics[topic].find(partition));
                Ok(())
            }
            Polled::Truncated { topic, partition, end } => {
                let Taken { next: wanted, done, .. } = partitions[topics[topic].find(partition)];
                let topic = topics[topic].name.to_string();
                if done { Ok(()) } else { Err(CaptureError::LogCut { topic, partition, wanted, end }) }
            }
            Polled::Failed { topic, partition, reason } => {
                Err(CaptureError::Partition { topic: topics[topic].name.to_string(), partition, reason })
            }
        })?;
        for index in reached {
            self.finish_reached(index);
        }
        let heard = count > out_of_range.len();
        for index in out_of_range {
            let found = self.find_log(index, allow_gaps);
            if let Err(CaptureError::RetentionOvertook { .. }) = found {
                self.find_overtaken();
            }
            found?;
        }
        // Errors of the client itself wait in another queue; librdkafka goes on trying, and a stall is told by its own bound.
        while self.cluster.consumer.poll(Duration::ZERO).is_some() {}
        Ok(heard)
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
        let mut window = Window { partitions, limit: self.limit };
        let names: Vec<&str> = self.topics.iter().map(|topic| &*topic.name).collect();
        window.end_at(self.cluster, &names, time_ms)?;
        self.limit.date_ms = None;
        for (index, stretch) in window.partitions.into_iter().enumerate() {
            self.partitions[index].stretch = stretch;
            self.finish_reached(index);
        }
        Ok(())
    }

    /// Puts what was taken on the disk where it is time to, tells it, and returns whether it did.
    fn save_when_due(
        &mut self,
        settings: &CaptureSettings,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<bool, CaptureError> {
        let (now, events) = (self.clock.now(), self.events + self.state);
        let due = now.saturating_sub(self.saved.0) >= settings.checkpoint_every && events > self.saved.1;
        if due {
            self.saved = (now, events);
            self.checkpoint()?;
            progress(&self.progress(CaptureStep::Checkpoint));
        }
        Ok(due)
    }

    fn checkpoint(&mut self) -> Result<(), CaptureError> {
        self.hand_over()?;
        self.writer.checkpoint()
    }

    /// Hands over what was taken and waits for others.
    fn hand_over(&mut self) -> Result<(), CaptureError> {
        if self.batch.is_empty() { Ok(()) } else { self.writer.write(self.batch.finish()) }
    }

    fn check_stall(&self, now: Duration, timeout: Duration) -> Result<(), CaptureError> {
        let waited = now.saturating_sub(self.heard);
        if waited < timeout {
            return Ok(());
        }
        match self.partitions.iter().find(|taken| !taken.done && !taken.at_end) {
            Some(taken) => Err(CaptureError::Stalled {
                topic: self.topics[taken.stretch.topic].name.to_string(),
                partition: taken.stretch.partition,
                waited,
            }),
            None => Ok(()),
        }
    }

    fn progress(&self, step: CaptureStep) -> CaptureProgress {
        let lag = |taken: &Taken| {
            let Stretch { topic, partition, high, end, .. } = taken.stretch;
            // Before the first answer of a fetch the client knows of no newest event, and not of none ahead.
            let newest = || self.reader.high(topic, partition).map_or(high, |told| told.max(high));
            (end.unwrap_or_else(newest) - taken.next).max(0) as u64
        };
        CaptureProgress {
            step,
            elapsed: self.clock.now().saturating_sub(self.begun),
            events: self.events + self.state,
            bytes: self.bytes,
            acknowledged_events: self.writer.acknowledged().rows,
            acknowledged: Arc::clone(&self.writer.acknowledged().partitions),
            lag: self.partitions.iter().map(lag).sum(),
            note: None,
        }
    }

    fn failed(&self, topic: usize, partition: i32, reason: String) -> CaptureError {
        CaptureError::Partition { topic: self.topics[topic].name.to_string(), partition, reason }
    }
}

/// Puts `event` into `batch` and returns the bytes of its key and value.
fn push(
    batch: &mut EventBatchBuilder,
    schemas: &mut SchemasMet<'_>,
    (number, topic): (usize, &str),
    event: &Received<'_>,
    date_us: i64,
) -> Result<u64, CaptureError> {
    let Some(headers) = event.headers() else {
        let (partition, offset) = (event.partition(), event.offset());
        return Err(CaptureError::HeaderName { topic: topic.to_owned(), partition, offset });
    };
    let headers = headers.into_iter().inspect(|(name, _)| schemas.meet_header((number, topic), name));
    let (timestamp_ms, timestamp_type) = event.timestamp();
    let (partition, offset, key, value) = (event.partition(), event.offset(), event.key(), event.value());
    batch.push(topic, partition, offset, timestamp_ms, timestamp_type, Some(date_us), key, value, headers);
    Ok((key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64)
}
