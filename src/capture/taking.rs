//! The loop that takes events from the cluster and puts them into the recording.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Cluster, READ_UNCOMMITTED, Topic};
use super::native::{Polled, Reader, Received};
use super::outage::{Outage, Reach};
use super::resume::Beginning;
use super::schemas::SchemasMet;
use super::state::{LastOffsets, reach};
use super::topics::TopicNames;
use super::watching::{Look, Recreated, Watching};
use super::window::{Limit, Stretch, Window};
use super::writing::Writing;
use super::{CaptureError, CaptureSettings};
use crate::clock::{Clock, Stop};
use crate::mask::Sighting;
use crate::recording::{
    AcknowledgedPartition, CauseFacts, EventBatchBuilder, GapCause, Manifest, MissingOffsets, RecordingError,
    Recreation, Role, Source, TimeSpan, TopicSource,
};
use crate::schema::Part;

/// Events a poll brings at most.
const POLL_EVENTS: usize = 4_096;

/// Bounds every wait for events, so that the end of a duration and a request to stop are seen in time.
const POLL_WAIT: Duration = Duration::from_millis(50);

/// Time between two looks for topics that patterns choose.
const LOOK_FOR_TOPICS_EVERY: Duration = Duration::from_secs(20);

/// Bounds such a look, during which nothing is taken.
const LOOK_FOR_TOPICS_WAIT: Duration = Duration::from_secs(1);

/// Bounds the last question, whether open transactions hold events back.
const HELD_BACK_WAIT: Duration = Duration::from_secs(5);

/// Time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Where a capture stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureStep {
    /// The cluster has answered, and taking begins.
    #[default]
    Started,
    /// Events are taken.
    Taking,
    /// For the first time nothing lies ahead.
    CaughtUp,
    /// What was taken so far is safe on the disk.
    Checkpoint,
    /// No broker has been reachable for some seconds; it goes on as soon as one is.
    Unreachable,
    /// A broker is reachable again.
    Reachable,
    /// Something to know has come up.
    Noted,
    /// The recording is finished.
    Sealed,
}

/// How far a capture has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureProgress {
    /// Where it stands.
    pub step: CaptureStep,
    /// Time since it began.
    pub elapsed: Duration,
    /// Events in the recording, those of before a resume too.
    pub events: u64,
    /// Bytes of the keys and values taken by this capture.
    pub bytes: u64,
    /// Events that are on the disk, of `events`.
    pub acknowledged_events: u64,
    /// Up to where each partition with events is on the disk: no crash and no loss of power takes these events away.
    pub acknowledged: Arc<[AcknowledgedPartition]>,
    /// Events that are still to come: up to the end where there is one, else up to the newest that the brokers told of.
    pub lag: u64,
    /// What there is to know, as a sentence, with the steps that have something to say; [`CaptureReport::notes`] has it, too.
    pub note: Option<String>,
}

/// What a capture took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureReport {
    /// Events in the recording, those of before a resume too. All of them are on the disk.
    pub events: u64,
    /// Bytes of the keys and values taken by this capture.
    pub bytes: u64,
    /// What ended the capture.
    pub ending: CaptureEnding,
    /// Events that the recording held when it was gone on with; none where it is new.
    pub resumed_at: Option<u64>,
    /// Offsets without an event, by cause, the gravest first; those of before a resume too.
    pub missing: Vec<CauseFacts>,
    /// What else there is to know, as sentences: what could not be checked, what was cut off by a crash.
    pub notes: Vec<String>,
    /// What was taken of each partition, in order of topic and partition, empty ones too.
    pub partitions: Vec<CapturedPartition>,
    /// What looked personal in what was kept, by topic and path.
    pub sightings: Vec<Sighting>,
    /// What could not be done for schemas, and rules of the mask policy that changed nothing, as sentences.
    pub warnings: Vec<String>,
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

/// What was taken of one partition by this capture.
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
    /// Events taken, those of the table's state not among them.
    pub events: u64,
    /// Last values of keys that were taken of a table ahead of `start`.
    pub state: u64,
    /// Keys whose last value ahead of `start` was compacted away while it was read: a newer one stands in the window.
    pub vanished: u64,
    /// Offsets that hold no event, of those that this capture came past: ahead of the first event taken and behind the last, too.
    pub missing: u64,
    /// Smallest and largest timestamp of the events taken.
    pub span: Option<TimeSpan>,
}

/// Takes the events of `window` into the recording in `out`.
#[expect(
    clippy::too_many_arguments,
    reason = "what is taken, where from, where to, and the three ways to look in from outside"
)]
pub(super) fn take(
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
    if let Ok(Ran::To(_)) = ending {
        taking.tell_held_back(settings, progress);
    }
    let ending = taking.judge(ending, out, &mut notes);
    notes.append(&mut taking.notes);
    let mut sealed = taking.progress(CaptureStep::Sealed);
    let Taking { mut writer, schemas, mut batch, reader, mut partitions, names, events, state, bytes, .. } = taking;
    drop(reader);
    let acknowledged = writer.acknowledged().rows;
    let unfinished = |source| CaptureError::Unfinished { acknowledged, out: out.to_owned(), source };
    let ending = match ending {
        // What the disk refused once it may take in part another time: nothing more is written.
        Err(CaptureError::Unwritable(source)) => return Err(unfinished(source)),
        ending => ending,
    };
    let finish = || {
        // Behind an event that must not be kept nothing is.
        if !matches!(ending, Err(CaptureError::Mask(_))) {
            hand_over_rest(&mut writer, &mut batch, &mut partitions, &names)?;
        }
        writer.seal()
    };
    let sealed_as = finish().map_err(unfinished)?;
    let (manifest, ending) =
        (&sealed_as.manifest, sealed_as.refused.clone().map_or(ending, |refused| Err(refused.into())));
    sealed.elapsed = clock.now().saturating_sub(begun);
    // Fewer than were taken where one of them must not be kept.
    let rows = manifest.segments.iter().filter_map(|segment| segment.rows).sum();
    (sealed.events, sealed.acknowledged_events, sealed.acknowledged) = (rows, rows, all_of(manifest));
    progress(&sealed);
    let captured = |taken: Taken| CapturedPartition {
        topic: names[taken.stretch.topic].to_owned(),
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

/// Hands over the events that are left, and what the ends of partitions lack.
fn hand_over_rest(
    writer: &mut Writing,
    batch: &mut EventBatchBuilder,
    partitions: &mut [Taken],
    names: &[&str],
) -> Result<(), RecordingError> {
    let written = if batch.is_empty() { Ok(()) } else { writer.write(batch.finish()) };
    for taken in partitions {
        // Offsets at the end that hold no event.
        let end = taken.stretch.end.map_or(taken.next, |end| end.min(taken.next));
        if let Some(missing) = missing(taken.accounted, end, taken.cause) {
            taken.missing += missing.offsets();
            writer.missing(names[taken.stretch.topic], taken.stretch.partition, missing);
        }
    }
    match written {
        Err(CaptureError::Unwritable(source)) => Err(source),
        // What must not be kept is told by the sealing.
        _ => Ok(()),
    }
}

/// The offsets from `first` to `end`, the latter excluded; none where there is none.
fn missing(first: i64, end: i64, cause: GapCause) -> Option<MissingOffsets> {
    (first < end).then(|| MissingOffsets { first, last: end - 1, cause })
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
    names: Vec<&'c str>,
    partitions: Vec<Taken>,
    /// First of `partitions` of each topic, so that a partition is found by its number.
    first: Vec<usize>,
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
    /// When topics that patterns choose were last looked for, and those that were told.
    looked_for: (Duration, BTreeSet<String>),
    /// What came up, as sentences.
    notes: Vec<String>,
}

/// What has been taken of one partition.
struct Taken {
    stretch: Stretch,
    next: i64,
    /// Offset behind the last event or the last gap that was noted.
    accounted: i64,
    /// Why offsets within the log have no event.
    cause: GapCause,
    events: u64,
    state: u64,
    vanished: u64,
    missing: u64,
    span: Option<TimeSpan>,
    /// Whether the broker said that there is no more at this moment.
    at_end: bool,
    /// Whether events came that were not taken: the end of the log then says nothing of what lies ahead of it.
    passed_over: bool,
    done: bool,
}

impl Taken {
    fn begin(stretch: Stretch, cause: GapCause) -> Self {
        Self {
            next: stretch.start,
            accounted: stretch.start,
            cause,
            events: 0,
            state: 0,
            vanished: 0,
            missing: stretch.overtaken,
            span: None,
            at_end: false,
            passed_over: false,
            done: false,
            stretch,
        }
    }

    fn count(&mut self, event: &Received<'_>) {
        let offset = event.offset();
        self.events += 1;
        self.next = offset + 1;
        self.accounted = self.next;
        if let (Some(ms), _) = event.timestamp() {
            let span = self.span.get_or_insert(TimeSpan { first_ms: ms, last_ms: ms });
            (span.first_ms, span.last_ms) = (span.first_ms.min(ms), span.last_ms.max(ms));
        }
    }
}

impl<'c> Taking<'c> {
    fn begin(
        cluster: &'c Cluster<'c>,
        window: Window,
        (writer, schemas): (Writing, SchemasMet<'c>),
        (events, state): (u64, u64),
        clock: &'c dyn Clock,
    ) -> Result<Self, CaptureError> {
        let names: Vec<&str> = cluster.topics.keys().map(String::as_str).collect();
        let reader = Reader::new(&cluster.consumer, names.iter().copied(), POLL_EVENTS)
            .map_err(|reason| CaptureError::Consumer { reason })?;
        let mut first = Vec::new();
        for (index, stretch) in window.partitions.iter().enumerate() {
            if stretch.topic == first.len() {
                first.push(index);
            }
        }
        let causes: Vec<GapCause> = names.iter().map(|name| cluster.cause_of_gaps(name)).collect();
        let begin = |stretch: Stretch| {
            let cause = causes[stretch.topic];
            Taken::begin(stretch, cause)
        };
        let now = clock.now();
        let known_from = |stretch: &Stretch| match cluster.topics[names[stretch.topic]].role {
            // Its state ahead of the window is taken, too.
            Role::Table => stretch.low.min(stretch.start),
            Role::Input | Role::Output | Role::Changelog => stretch.start,
        };
        let begins = window.partitions.iter().map(known_from).collect();
        Ok(Self {
            cluster,
            clock,
            reader,
            writer,
            schemas,
            batch: EventBatchBuilder::new(),
            names,
            open: window.partitions.len(),
            partitions: window.partitions.into_iter().map(begin).collect(),
            first,
            limit: window.limit,
            events,
            state,
            bytes: 0,
            begun: now,
            heard: now,
            saved: (now, events + state),
            watching: Watching::begin(cluster, begins, now),
            reach: Reach::default(),
            looked_for: (now, BTreeSet::new()),
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
                    self.partitions.iter().any(|taken| !taken.done && self.names[taken.stretch.topic] == topic)
                };
                if let Some((topic, gone)) = seen.deleted.into_iter().find(|(topic, _)| waits(topic)) {
                    return Ok(Ran::Deleted(topic, gone));
                }
                for (topic, there) in seen.grown {
                    let taken = self.cluster.topics[&topic].there;
                    let note = format!(
                        "Topic `{topic}` has {there} partitions by now and had {taken} when this capture began: only those are taken."
                    );
                    self.tell(CaptureStep::Noted, note, progress);
                }
            }
            self.look_for_topics(settings, now, progress);
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
        }
    }

    /// Says something now, and once more in the report.
    fn tell(&mut self, step: CaptureStep, note: String, progress: &mut dyn FnMut(&CaptureProgress)) {
        progress(&CaptureProgress { note: Some(note.clone()), ..self.progress(step) });
        self.notes.push(note);
    }

    /// Looks, now and then, for topics that a pattern chooses and that were not there when the capture began.
    fn look_for_topics(
        &mut self,
        settings: &CaptureSettings,
        now: Duration,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) {
        let patterned = settings.topics.iter().any(|choice| matches!(choice.names, TopicNames::Pattern(_)));
        if !patterned || now.saturating_sub(self.looked_for.0) < LOOK_FOR_TOPICS_EVERY {
            return;
        }
        self.looked_for.0 = now;
        for topic in self.cluster.new_topics(settings, LOOK_FOR_TOPICS_WAIT) {
            if self.looked_for.1.insert(topic.clone()) {
                let note = format!(
                    "Topic `{topic}` was made after this capture began and matches what it takes: it is not among what is taken."
                );
                self.tell(CaptureStep::Noted, note, progress);
            }
        }
    }

    /// Says which open transactions hold events back from a capture that has come to an end.
    fn tell_held_back(&mut self, settings: &CaptureSettings, progress: &mut dyn FnMut(&CaptureProgress)) {
        if settings.isolation() == READ_UNCOMMITTED {
            return;
        }
        // The last answer of a fetch tells of the newest event, committed or not; where nothing was fetched nobody knows.
        let may_hold = |taken: &&Taken| {
            let Stretch { topic, partition, .. } = taken.stretch;
            self.reader.high(topic, partition).is_none_or(|high| high > taken.next)
        };
        let places: Vec<(&str, i32)> = self
            .partitions
            .iter()
            .filter(may_hold)
            .map(|taken| (self.names[taken.stretch.topic], taken.stretch.partition))
            .collect();
        if places.is_empty() {
            return;
        }
        for (topic, partition, stable, offsets) in self.cluster.held_back(settings, &places, HELD_BACK_WAIT) {
            let note = format!(
                "Topic `{topic}`, partition {partition}: an open transaction holds back {offsets} offsets from {stable} on; \
                 --uncommitted takes them."
            );
            self.tell(CaptureStep::Noted, note, progress);
        }
    }

    /// Takes a last look at the topics: none of them may have become another one while it was captured.
    fn judge(
        &mut self,
        ran: Result<Ran, CaptureError>,
        out: &Path,
        notes: &mut Vec<String>,
    ) -> Result<CaptureEnding, CaptureError> {
        let ending = match ran {
            Ok(Ran::Recreated(recreated)) => return Err(self.refuse(recreated, out)),
            Ok(Ran::Deleted(topic, gone)) => {
                self.lose_rest(&topic);
                return Err(CaptureError::DeletedTopic { topic, gone });
            }
            Ok(Ran::To(ending)) => Ok(ending),
            // Told to stop while it waited for an answer: what was taken stands.
            Err(CaptureError::Stopped { .. }) => Ok(CaptureEnding::Stopped),
            // A log that ends earlier may be that of another topic.
            Err(error @ CaptureError::LogEndsEarlier { .. }) => Err(error),
            Err(error) => return Err(error),
        };
        match self.watching.look_now() {
            Look::Recreated(recreated) => return Err(self.refuse(recreated, out)),
            Look::NoAnswer if ending.is_ok() => notes.push(
                "Nobody can tell whether a topic was recreated at the end of the capture: the cluster gave no answer."
                    .to_owned(),
            ),
            Look::Same | Look::NoAnswer => {}
        }
        ending
    }

    /// Notes for topics that are others by now from where on events may be of those, and says so of the first.
    fn refuse(&mut self, recreated: Vec<Recreated>, out: &Path) -> CaptureError {
        let mut refused = CaptureError::NoTopic;
        for Recreated { topic, recorded, found } in recreated.into_iter().rev() {
            let trusted = self.partitions.iter().zip(self.watching.trusted());
            let doubtful: BTreeMap<i32, i64> = trusted
                .filter(|(taken, trusted)| self.names[taken.stretch.topic] == topic && taken.accounted > **trusted)
                .map(|(taken, trusted)| (taken.stretch.partition, *trusted))
                .collect();
            if !doubtful.is_empty() {
                self.writer.note_recreated(&topic, Recreation { id: found.clone(), doubtful });
            }
            refused = CaptureError::RecreatedTopic { out: out.to_owned(), topic, recorded, found };
        }
        refused
    }

    /// Notes what the windows of a topic lack that was deleted: nobody has those events any more, as if retention had taken them.
    fn lose_rest(&mut self, topic: &str) {
        for index in 0..self.partitions.len() {
            let Taken { stretch, done, .. } = &self.partitions[index];
            if let Some(end) = stretch.end.filter(|_| !done && self.names[stretch.topic] == topic) {
                self.lose(index, end);
            }
        }
    }

    /// Takes what comes within `wait` and returns whether anything did.
    fn poll(&mut self, wait: Duration, allow_gaps: bool, clock: &dyn Clock) -> Result<bool, CaptureError> {
        // Taken apart, as the reader hands events to what lies beside it.
        let Self { reader, schemas, batch, writer, partitions, names, first, events, bytes, limit, .. } = self;
        let (mut reached, mut out_of_range) = (Vec::new(), Vec::new());
        // One date for all events of a poll: they came together.
        let mut date_us = None;
        let count = reader.poll(wait, |polled| match polled {
            Polled::Event(event) => {
                let index = find(partitions, first, event.topic, event.partition());
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
                    writer.missing(names[event.topic], event.partition(), missing);
                }
                let date_us = *date_us.get_or_insert_with(|| clock.date_us());
                let topic = (event.topic, names[event.topic]);
                schemas.meet(topic, Part::Key, event.key(), writer)?;
                schemas.meet(topic, Part::Value, event.value(), writer)?;
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
                let index = find(partitions, first, topic, partition);
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
                out_of_range.push(find(partitions, first, topic, partition));
                Ok(())
            }
            Polled::Failed { topic, partition, reason } => {
                Err(CaptureError::Partition { topic: names[topic].to_owned(), partition, reason })
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

    /// Goes on with a partition whose log does not hold the offset that is wanted next: where retention overtook the capture, at
    /// what is left, if gaps are allowed.
    fn find_log(&mut self, index: usize, allow_gaps: bool) -> Result<(), CaptureError> {
        let taken = &self.partitions[index];
        if taken.done {
            return Ok(());
        }
        let Stretch { topic, partition, .. } = taken.stretch;
        let (name, wanted) = (self.names[topic], taken.next);
        let (oldest, behind) = self.cluster.watermarks(name, partition)?;
        if wanted > behind {
            return Err(CaptureError::LogEndsEarlier { topic: name.to_owned(), partition, wanted, end: behind });
        }
        if wanted < oldest {
            self.lose(index, oldest);
            if !allow_gaps {
                return Err(CaptureError::RetentionOvertook { topic: name.to_owned(), partition, wanted, oldest });
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
    fn lose(&mut self, index: usize, oldest: i64) {
        let taken = &mut self.partitions[index];
        let left = taken.stretch.end.map_or(oldest, |end| end.min(oldest));
        let ahead = missing(taken.accounted, taken.next, taken.cause);
        for missing in ahead.into_iter().chain(missing(taken.next, left, GapCause::Retention)) {
            taken.missing += missing.offsets();
            self.writer.missing(self.names[taken.stretch.topic], taken.stretch.partition, missing);
        }
        (taken.next, taken.accounted) = (left, left);
    }

    /// Notes what other partitions lack where retention has overtaken one and ends the capture: mostly it has overtaken them, too.
    fn find_overtaken(&mut self) {
        for index in 0..self.partitions.len() {
            let Taken { stretch, next, done, .. } = &self.partitions[index];
            if *done {
                continue;
            }
            let name = self.names[stretch.topic];
            // Without an answer nothing is known, and who waits for the error waits no longer.
            let Ok((oldest, _)) = self.cluster.watermarks(name, stretch.partition) else { return };
            if *next < oldest {
                self.lose(index, oldest);
            }
        }
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
        window.end_at(self.cluster, time_ms)?;
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
        if !self.batch.is_empty() {
            self.writer.write(self.batch.finish())?;
        }
        self.writer.checkpoint()
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

    /// Takes the last value of each key that the tables held ahead of their windows. Asked to stop it leaves off.
    fn take_state(
        &mut self,
        settings: &CaptureSettings,
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<(), CaptureError> {
        let begun = self.clock.now();
        for index in 0..self.partitions.len() {
            let Stretch { topic, low, start, .. } = self.partitions[index].stretch;
            if self.cluster.topics[self.names[topic]].role != Role::Table || low >= start || stop.raised() {
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
                    let Self { schemas, batch, writer, names, bytes, .. } = taking;
                    let topic = (topic, names[topic]);
                    schemas.meet(topic, Part::Key, event.key(), writer)?;
                    schemas.meet(topic, Part::Value, event.value(), writer)?;
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
    fn scan(
        &mut self,
        index: usize,
        range: Range<i64>,
        settings: &CaptureSettings,
        stop: &Stop,
        progress: &mut dyn FnMut(&CaptureProgress),
        mut take: impl FnMut(&mut Self, &Received<'_>) -> Result<(), CaptureError>,
    ) -> Result<(), CaptureError> {
        let Stretch { topic, partition, .. } = self.partitions[index].stretch;
        let name = self.names[topic];
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

/// Says where the events of `window` come from.
pub(super) fn source(cluster: &Cluster<'_>, window: &Window, settings: &CaptureSettings) -> Source {
    let topic = |(index, (name, topic)): (usize, (&String, &Topic))| {
        // Where a table's state stands ahead of its window, the recording has to tell them apart.
        let has_state =
            |stretch: &&Stretch| topic.role == Role::Table && stretch.topic == index && stretch.low < stretch.start;
        TopicSource {
            name: name.clone(),
            id: cluster.topic_ids.get(name).cloned(),
            partitions: topic.there as i32,
            configuration: cluster.configurations.get(name).cloned().unwrap_or_default(),
            starts: window
                .partitions
                .iter()
                .filter(|stretch| stretch.topic == index)
                .map(|stretch| (stretch.partition, stretch.wanted()))
                .collect(),
            recreated: None,
            role: topic.role,
            windows: window
                .partitions
                .iter()
                .filter(has_state)
                .map(|stretch| (stretch.partition, stretch.start))
                .collect(),
        }
    };
    Source {
        cluster: cluster.id.clone(),
        isolation: Some(settings.isolation().to_owned()),
        topics: cluster.topics.iter().enumerate().map(topic).collect(),
    }
}
