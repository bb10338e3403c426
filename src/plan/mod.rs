//! Which event is handed over when and how often: pace, order, faults, seed.
//!
//! In come a recording, settings and a seed; out comes a [`Plan`], from which any number of drives take the same lazy stream of
//! deliveries. Pure: opens nothing, reads no clock. What never happens here: an event's bytes are changed; a draw depends on
//! anything but seed, fault name, topic, partition and offset.
//!
//! # How an event becomes deliveries
//!
//! 1. The **slice** is chosen by the event's own time. An event without a time belongs where the event ahead of it in its
//!    partition does and stands at that event's time; the first ones stand at the slice's start.
//! 2. Each partition is read in order of offset; `drop` takes events out and `reorder` changes their places, looking ahead no
//!    further than its extent.
//! 3. Partitions are merged by the **order**, and the **pace** gives each event its due time: event time since the slice's
//!    first event, never below what is ahead of it in its partition, silences longer than `gap-max` cut.
//! 4. `delay` and `jitter` add to the due time, and what follows in the partition waits; a `stall` holds back everything that
//!    is due in it. `straggle`, and `reorder` by event time, let what follows overtake.
//! 5. `duplicate` hands the event over once more, `rewind` the last positions of the partition. Both are marked by the faults
//!    of the delivery that repeats, not of the one that is repeated.
//!
//! Within a step faults act in the order of the scenario. What is pending are coordinates, in memory up to a bound and sorted
//! on disk beyond it.

mod checked;
mod cursor;
mod distance;
mod extent;
mod fault;
mod faults;
mod flag_change;
mod intake;
mod interleave;
mod jitter;
mod kind;
mod late;
mod log;
mod pace;
mod pending;
mod positions;
mod requests;
mod seed;
mod select;
mod selector;
mod setback;
mod source;
mod stream;
mod summary;
mod survey;
mod timeline;
mod trigger;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

pub use distance::{Distance, Unit};
pub use extent::{Extent, SetBack};
pub use fault::{BurstSettings, FaultSettings, Preset, StallScope, Within};
pub use flag_change::{FlagChange, FlagChangeSettings, KIND as FLAG_CHANGE, Role};
pub use interleave::Merge;
pub use jitter::Distribution;
pub use log::{BegunInstance, FaultLog, FaultLogError, fault_log, request_log};
pub use pace::{Order, PaceMode, PaceSettings};
pub use requests::{
    AtRequests, ClockChange, Drift, Rate, ReadRate, RequestEffect, RequestFault, RequestTrigger, Sizes, Victim,
};
pub use seed::Seed;
pub use select::SelectSettings;
pub use selector::WhereSettings;
pub use source::{CoordinateCursor, History, Source, Values};
pub use stream::Deliveries;
pub use summary::{FaultSummary, PlanSummary, PlannedFault};
pub use timeline::{TimePoint, Timeline};
pub use trigger::At;
pub use write::write;

use crate::recording::{Partition, Place, Recording};
use crate::settings::Moment;
use crate::settings::SettingError;
use crate::spill::SpillSpace;
use checked::Checked;
use fault::{CheckedFaults, Effect, Fault};
use faults::Faults;
use jitter::Jitter;
use kind::FaultKind;
use pace::Pace;
use requests::RequestKind;
use seed::DrawKey;
use survey::Survey;
use trigger::Trigger;

/// Part of a drive an event or output belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Fills state; not compared.
    WarmUp,
    /// The events under test.
    #[default]
    Main,
    /// After the last delivery; compared like `main`.
    Drain,
}

/// One event handed over once. Small and `Copy`: coordinates, no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When it is handed over, in microseconds since the schedule's start. Warm-up deliveries have 0 and are handed over unpaced.
    pub due_us: i64,
    /// Index into [`Plan::topics`].
    pub topic: u32,
    /// Partition.
    pub partition: i32,
    /// Offset as recorded.
    pub offset: i64,
    /// Offset in the replayed log: what the build sees.
    pub position: i64,
    /// 0 the first time; each redelivery of the event has a number of its own from 1 on.
    pub attempt: i32,
    /// Warm-up or main.
    pub phase: Phase,
    /// Faults that touched it: bit n stands for [`Plan::faults`]`[n]`.
    pub faults: u64,
    /// Where its bytes are.
    pub place: Place,
}

/// All settings of a plan: parts of a scenario, read elsewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanSettings {
    /// `[select]`.
    pub select: SelectSettings,
    /// `[pace]`.
    pub pace: PaceSettings,
    /// `[[fault]]`, in order.
    pub faults: Vec<FaultSettings>,
    /// `[[flag-change]]`, in order.
    pub flag_changes: Vec<FlagChangeSettings>,
    /// Instances to fire instead of drawing them.
    pub replay_log: Option<FaultLog>,
}

impl PlanSettings {
    /// Checks what can be checked without a recording.
    ///
    /// # Errors
    ///
    /// The setting at fault, with its key: `select.…`, `pace.…`, `fault[n].…`, `flag-change[n].…`.
    pub fn check(&self) -> Result<(), SettingError> {
        self.select.check()?;
        let pace = self.pace.check()?;
        let faults = fault::check_all(&self.faults)?;
        faults.requests.iter().try_for_each(|fault| fault.check_pace(&pace))?;
        flag_change::check_all(&self.flag_changes, faults.names(), &pace).map(drop)
    }

    /// Whether a fault of these hands events over more than once. Settings that are wrong redeliver nothing.
    pub fn redelivers(&self) -> bool {
        let redelivers = |kind: &str| {
            let of_events = matches!(kind, "duplicate" | "rewind");
            of_events || repeats_requests(kind)
        };
        self.faults.iter().any(|fault| redelivers(&fault.kind))
    }
}

/// A checked plan: cheap to clone, gives the same deliveries each time it is asked.
#[derive(Debug, Clone)]
pub struct Plan {
    checked: Arc<Checked>,
    once: bool,
    /// By how much event time is moved, in microseconds.
    moved_us: i64,
}

/// Why a plan cannot be made or read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The recording cannot be read.
    #[error("cannot read the recording")]
    Recording(#[from] crate::recording::RecordingError),
    /// Pending deliveries could not be spilled.
    #[error("could not spill pending deliveries")]
    Spill(#[from] std::io::Error),
    /// The fault log does not go with the scenario.
    #[error("cannot use the fault log")]
    FaultLog(#[from] FaultLogError),
    /// The plan's file could not be written.
    #[error("could not write the plan as Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The fault log could not be written.
    #[error("could not write the fault log")]
    Write(#[source] std::io::Error),
}

impl From<arrow::error::ArrowError> for PlanError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Parquet(error.into())
    }
}

/// Plans how `recording` is replayed: checks the settings against it and finds where the slice begins.
///
/// Deliveries are worked out when they are asked for; what has to wait goes to `spill` where it does not fit in memory.
///
/// # Errors
///
/// [`PlanError::Setting`] names the setting at fault, [`PlanError::FaultLog`] what in the log does not fit,
/// [`PlanError::Recording`] what cannot be read.
pub fn plan(
    recording: &Recording,
    settings: &PlanSettings,
    seed: Seed,
    spill: Arc<SpillSpace>,
) -> Result<Plan, PlanError> {
    plan_over(Arc::new(recording.clone()), settings, seed, spill)
}

/// Plans like [`plan`], over events from anywhere.
///
/// # Errors
///
/// As [`plan`].
pub fn plan_over(
    source: Arc<dyn Source>,
    settings: &PlanSettings,
    seed: Seed,
    spill: Arc<SpillSpace>,
) -> Result<Plan, PlanError> {
    plan_bounded(source, settings, seed, spill, pending::PENDING_MAX)
}

/// Plans with `pending_max` deliveries of a queue in memory at most.
fn plan_bounded(
    source: Arc<dyn Source>,
    settings: &PlanSettings,
    seed: Seed,
    spill: Arc<SpillSpace>,
    pending_max: usize,
) -> Result<Plan, PlanError> {
    let slice = settings.select.check()?;
    let pace = settings.pace.check()?;
    let checked = fault::check_all(&settings.faults)?;
    let mut changes = flag_change::check_all(&settings.flag_changes, checked.names(), &pace)?;
    let CheckedFaults { events: mut all, mut requests, order } = checked;
    requests.iter().try_for_each(|fault| fault.check_pace(&pace))?;
    let partitions = settings.select.partitions(source.as_ref())?;
    for fault in &all {
        fault.selector.check_partitions(&partitions)?;
    }
    check_order(source.as_ref(), &partitions, pace)?;
    let Some(origin_us) = survey::origin_us(source.as_ref(), &partitions, slice)? else {
        return Err(empty_slice(source.as_ref(), &partitions)?.into());
    };
    let mut gaps_us = Vec::new();
    if all.iter().any(asks_for_survey) {
        let survey = Survey::of(source.as_ref(), &partitions, slice)?;
        for fault in &mut all {
            resolve(fault, &survey, seed, origin_us);
        }
        gaps_us = survey.gaps_us;
    } else {
        for fault in &mut all {
            resolve(fault, &Survey::default(), seed, origin_us);
        }
    }
    let named = all.iter().map(named).collect();
    let mut faults = Faults::new(all, &partitions, seed, gaps_us);
    if let Some(log) = &settings.replay_log {
        faults.replay(log, &partitions)?;
        log.check_requests(&requests, &changes, pace.waits())?;
        for fault in &mut requests {
            fault.replay(log.requests.get(&fault.name));
        }
        changes.iter_mut().try_for_each(|change| change.replay(log))?;
    }
    let mut topics: Vec<String> = partitions.iter().map(|partition| partition.topic.clone()).collect();
    topics.dedup();
    let index = |partition: &Partition| topics.partition_point(|topic| *topic < partition.topic) as u32;
    let topic_of = partitions.iter().map(index).collect();
    let summaries = [OnceLock::new(), OnceLock::new()];
    let checked = Checked {
        source,
        partitions,
        topics,
        topic_of,
        slice,
        pace,
        faults,
        named,
        requests,
        changes,
        order,
        seed,
        origin_us,
        spill,
        pending_max,
        summaries,
    };
    Ok(Plan { checked: Arc::new(checked), once: false, moved_us: 0 })
}

fn check_order(source: &dyn Source, partitions: &[Partition], pace: Pace) -> Result<(), PlanError> {
    if pace.order == Order::Captured && !survey::knows_capture(source, partitions)? {
        return Err(SettingError::new(
            "pace.order",
            "nobody knows when these events were captured: they were imported",
            "Write `order = \"time\"`.",
        )
        .into());
    }
    Ok(())
}

fn empty_slice(source: &dyn Source, partitions: &[Partition]) -> Result<SettingError, PlanError> {
    let instead = match survey::span(source, partitions)? {
        Some((first, last)) => format!("The selected topics hold events from {first} to {last}."),
        None if partitions.is_empty() => "The recording holds no events.".to_owned(),
        None => "The selected topics hold no events with a time; leave `from` and `to` out.".to_owned(),
    };
    Ok(SettingError::new("select", "no event lies in the slice", instead))
}

fn named(fault: &Fault) -> PlannedFault {
    PlannedFault {
        name: fault.name.clone(),
        kind: fault.kind.name().to_owned(),
        legality: fault.legality(),
        redelivers: matches!(fault.effect, Effect::Duplicate { .. } | Effect::Rewind { .. }),
    }
}

/// Whether a kind of fault, by its name, touches requests of Kafka clients and no events: it takes place where Rehearsal is the broker.
pub fn is_at_requests(kind: &str) -> bool {
    RequestKind::named(kind).is_some_and(|kind| !kind.is_of_process())
}

/// Whether a kind of fault, by its name, happens to the process of a build: over every transport.
pub fn is_of_process(kind: &str) -> bool {
    RequestKind::named(kind).is_some_and(RequestKind::is_of_process)
}

/// Whether a kind of fault at requests, by its name, makes clients write, or be handed, something once more.
fn repeats_requests(kind: &str) -> bool {
    RequestKind::named(kind).is_some_and(RequestKind::redelivers)
}

/// What a fault at the wall clock is called.
pub const CLOCK: &str = "clock";

/// Key of what lets a number of commits begin a fault at processes; none where moments do, or it is no such fault.
pub fn begun_by_commits(fault: &FaultSettings) -> Option<&'static str> {
    let kind = RequestKind::named(&fault.kind).filter(|kind| kind.is_of_process())?;
    let written =
        [("probability", fault.probability.is_some()), ("nth", fault.nth.is_some()), ("every", fault.every.is_some())];
    if let Some((key, _)) = written.into_iter().find(|(_, written)| *written) {
        return Some(key);
    }
    let by_time = fault.times.is_some() || fault.at.is_some() || fault.period.is_some();
    (!by_time && kind.is_begun_by_commits(fault.preset)).then_some("preset")
}

/// Whether the fault depends on figures of the whole recording.
fn asks_for_survey(fault: &Fault) -> bool {
    matches!(fault.trigger, Trigger::Times(_))
        || matches!(
            fault.effect,
            Effect::StraggleByLateness { .. }
                | Effect::Reorder { extent: Extent::Lateness, .. }
                | Effect::Jitter(Jitter::Recorded { .. })
        )
}

/// Replaces what depends on the recording by figures.
fn resolve(fault: &mut Fault, survey: &Survey, seed: Seed, origin_us: i64) {
    let length_us = survey.last_us.map_or(0, |last| last.saturating_sub(origin_us));
    fault.trigger.resolve(DrawKey::new(seed, &fault.name, "", -1), origin_us, length_us);
    match &mut fault.effect {
        Effect::StraggleByLateness { times } => {
            // A recording in perfect order says nothing of lateness: twice what a normal day has.
            let us = if survey.lateness_us > 0 { survey.lateness_us.saturating_mul(*times) } else { 60_000_000 };
            fault.effect = Effect::Straggle(Distance::event_time_us(us));
        }
        Effect::Reorder { extent, .. } if *extent == Extent::Lateness => {
            *extent = if survey.lateness_us > 0 {
                Extent::EventTime(survey.lateness_us)
            } else {
                Extent::EventTime(60_000_000)
            };
        }
        _ => {}
    }
}

impl Plan {
    /// Topics of the plan, in order; deliveries point into it.
    pub fn topics(&self) -> &[String] {
        &self.checked.topics
    }

    /// Faults of the plan that happen to events, in the scenario's order; a delivery's bits count them.
    pub fn faults(&self) -> &[PlannedFault] {
        &self.checked.named
    }

    /// Whether anybody waits for the schedule; false where the pace is `unpaced`.
    pub fn paced(&self) -> bool {
        self.checked.pace.waits()
    }

    /// The pace in words, such as `accelerated, 60 times, silences cut to 2s`.
    pub fn pace_text(&self) -> String {
        self.checked.pace.text()
    }

    /// Seed from which all draws follow.
    pub fn seed(&self) -> Seed {
        self.checked.seed
    }

    /// Event time of the slice's first event; 1970 where no event has a time.
    pub fn origin(&self) -> Moment {
        Moment(self.checked.origin_us)
    }

    /// Whether a fault hands events over more than once, or makes a client write or read once more, and this is not
    /// [`once`](Self::once).
    pub fn redelivers(&self) -> bool {
        let at_requests = || self.checked.requests.iter().any(|fault| fault.kind.redelivers());
        !self.once && (self.checked.named.iter().any(|fault| fault.redelivers) || at_requests())
    }

    /// Faults at requests of Kafka clients, in the scenario's order: the same in every drive, but that [`once`](Self::once) does without
    /// those that redeliver. Runs through the plan as [`Self::summary`] does where there are any, unless that has been done.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub fn request_faults(&self) -> Result<Vec<RequestFault>, PlanError> {
        if self.checked.requests.is_empty() {
            return Ok(Vec::new());
        }
        // Moments are those of the whole plan.
        let whole = Self { once: false, ..self.clone() };
        let all = &whole.summarised()?.requests.0;
        Ok(all.iter().filter(|fault| !(self.once && fault.redelivers)).cloned().collect())
    }

    /// Changes of flags, in the scenario's order: the same in every drive of a build. Runs through the plan as [`Self::summary`] does
    /// where there are any, unless that has been done.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub fn flag_changes(&self) -> Result<Vec<FlagChange>, PlanError> {
        if self.checked.changes.is_empty() {
            return Ok(Vec::new());
        }
        // Moments are those of the whole plan.
        let whole = Self { once: false, ..self.clone() };
        Ok(whole.summarised()?.changes.clone())
    }

    /// Same plan without the deliveries of attempt > 0, all others at the same position and due time, and without the faults at requests
    /// that redeliver.
    #[must_use]
    pub fn once(&self) -> Self {
        Self { once: true, ..self.clone() }
    }

    /// Same plan, each delivery at the same position and due time, over events that all took place `by_us` microseconds later.
    #[must_use]
    pub fn moved(&self, by_us: i64) -> Self {
        Self { moved_us: self.moved_us + by_us, ..self.clone() }
    }

    /// Starts the lazy stream of deliveries: the warm-up first, then by due time, topic, partition, position.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries::new(Arc::clone(&self.checked), self.once)
    }

    /// Starts the lazy stream of where event time stands at each moment of the schedule.
    pub fn timeline(&self) -> Timeline {
        Timeline::new(Arc::clone(&self.checked), self.moved_us)
    }

    /// Runs through the whole plan once and counts, without keeping deliveries. The second time costs nothing.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub fn summary(&self) -> Result<PlanSummary, PlanError> {
        Ok(self.summarised()?.summary.clone())
    }

    /// Position of the first delivery of each partition, by topic and partition; partitions without a delivery are not there. Runs
    /// through the plan as [`Self::summary`] does, unless that has been done.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub fn first_positions(&self) -> Result<BTreeMap<(u32, i32), i64>, PlanError> {
        Ok(self.summarised()?.first_positions.clone())
    }

    fn summarised(&self) -> Result<&summary::Summarised, PlanError> {
        let known = &self.checked.summaries[usize::from(self.once)];
        if let Some(summarised) = known.get() {
            return Ok(summarised);
        }
        let summarised = summary::summarise(&self.checked, self.deliveries())?;
        Ok(known.get_or_init(|| summarised))
    }

    /// Partition by its index in the plan.
    fn partition(&self, index: usize) -> &Partition {
        &self.checked.partitions[index]
    }
}

/// Whether a fault is something Kafka promises not to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Legality {
    /// Can happen with nothing broken.
    A,
    /// Happens under failures or ordinary settings.
    B,
    /// Lies outside Kafka's promise.
    C,
}

#[cfg(test)]
mod tests;
