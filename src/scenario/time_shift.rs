//! The relation `time-shift`: each build is driven once more on the same plan over events that all took place so much later, and is to write
//! the same, so much later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::RelationSettings;
use crate::compare::{CompareError, Comparison, Drive, Row, Rules, Shifted, TimeShift, shifted};
use crate::mask::{Moved, Times};
use crate::outcome::{Ending, Outcome, Output, Receipt};
use crate::recording::{EventView, Lens, Recording};
use crate::schema::{SchemaText, Schemas};
use crate::settings::{SettingError, Shift, Span};
use crate::spill::SpillSpace;

/// How the names of its drives end.
pub(super) const SHIFTED: &str = "-shifted";

/// The relation, checked.
#[derive(Debug)]
pub(super) struct ShiftRules {
    by_us: i64,
    outputs: Times,
    events: Arc<Later>,
    schemas: Schemas,
}

/// Events as they would have been so much later.
#[derive(Debug)]
struct Later {
    by_us: i64,
    times: BTreeMap<String, Times>,
    schemas: Schemas,
    /// By topic: times in values that were moved.
    moved: BTreeMap<String, AtomicU64>,
    stamps: AtomicU64,
    unfit: Mutex<Option<String>>,
}

impl ShiftRules {
    /// Checks the relation against the topics `inputs` of a plan; none where it is off.
    ///
    /// # Errors
    ///
    /// The setting at fault, by its key.
    pub(super) fn check(
        settings: &RelationSettings,
        inputs: &[String],
        schemas: &Schemas,
    ) -> Result<Option<Arc<Self>>, SettingError> {
        let wrong = |key: &str, problem: String, instead: &str| {
            Err(SettingError::new(format!("relations.{key}"), problem, instead))
        };
        let Some(Shift(by_us)) = settings.time_shift else {
            let lost = [
                ("windows", settings.windows.is_some()),
                ("times", !settings.times.is_empty()),
                ("event-times", !settings.event_times.is_empty()),
            ];
            return match lost.into_iter().find(|(_, written)| *written) {
                Some((key, _)) => wrong(
                    key,
                    format!("`{key}` is for the relation `time-shift`, which is off"),
                    "Write `time-shift = \"24h\"`, or leave it out.",
                ),
                None => Ok(None),
            };
        };
        if by_us == 0 || by_us % 1_000 != 0 {
            let problem =
                format!("events cannot take place {} away, as their timestamps count milliseconds", Shift(by_us));
            return wrong("time-shift", problem, "Write a multiple of the builds' windows, such as `24h`.");
        }
        let multiple = |windows: &Span| windows.us() > 0 && by_us % windows.us() == 0;
        if let Some(windows) = settings.windows.filter(|windows| !multiple(windows)) {
            let problem =
                format!("{} is no multiple of windows of {windows}: each would hold other events", Shift(by_us));
            return wrong("time-shift", problem, "Write a multiple of them, such as `24h`.");
        }
        let times = |key: &str, paths: &[_]| {
            Times::of(paths).map_err(|(path, problem)| {
                let instead = "Write a JSONPath such as `$.window_start`.";
                SettingError::new(format!("relations.{key}"), format!("`{path}` is no path: {problem}"), instead)
            })
        };
        let mut events = BTreeMap::new();
        for (topic, paths) in &settings.event_times {
            if !inputs.contains(topic) {
                let problem = format!("no event of the plan stands in the topic `{topic}`");
                return wrong("event-times", problem, "Name topics that are handed over.");
            }
            events.insert(topic.clone(), times("event-times", paths)?);
        }
        Ok(Some(Arc::new(Self {
            by_us,
            outputs: times("times", &settings.times)?,
            events: Arc::new(Later {
                by_us,
                moved: events.keys().map(|topic| (topic.clone(), AtomicU64::new(0))).collect(),
                times: events,
                schemas: schemas.clone(),
                stamps: AtomicU64::new(0),
                unfit: Mutex::default(),
            }),
            schemas: schemas.clone(),
        })))
    }

    /// By how much events take place later, in microseconds.
    pub(super) fn by_us(&self) -> i64 {
        self.by_us
    }

    /// The recording as it would have been.
    pub(super) fn recording(&self, recording: &Recording) -> Recording {
        recording.through(Arc::clone(&self.events) as Arc<dyn Lens>)
    }

    /// Holds each build against itself; drives of a build, first the one compared, and its drive on later events.
    ///
    /// # Errors
    ///
    /// As [`shifted`].
    pub(super) fn hold(
        &self,
        (old, old_shifted): (&[Outcome], &Outcome),
        (new, new_shifted): (&[Outcome], &Outcome),
        comparison: &Comparison,
        rules: &Rules,
        spill: &SpillSpace,
    ) -> Result<TimeShift, CompareError> {
        let unfit = Mutex::new(None);
        let of = |with: &[Outcome], outcome: &Outcome| -> Result<Shifted, CompareError> {
            let with: Vec<&dyn Drive> = with.iter().map(|outcome| outcome as &dyn Drive).collect();
            let schemas = self.schemas.and(Drive::schemas(outcome));
            shifted(&with, &Back { outcome, rules: self, schemas, unfit: &unfit }, comparison, rules, spill)
        };
        let (of_old, of_new) = (of(old, old_shifted)?, of(new, new_shifted)?);
        let unfit = unfit.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut untold = self.events.untold().or(unfit);
        if untold.is_none() && old.len() == 1 && (of_old.breaks() || of_new.breaks()) {
            untold = Some("outputs differ, and old was driven once, so nobody knows whether by chance".to_owned());
        }
        Ok(TimeShift { by_us: self.by_us, old: of_old, new: of_new, untold })
    }
}

impl Later {
    /// Why what was handed over is not what was meant, as a fragment.
    fn untold(&self) -> Option<String> {
        let unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unmoved = || {
            let (topic, _) = self.moved.iter().find(|(_, moved)| moved.load(Ordering::Relaxed) == 0)?;
            Some(format!("no event of {topic} has a time where `event-times` says"))
        };
        let unstamped = || {
            let none = self.moved.is_empty() && self.stamps.load(Ordering::Relaxed) == 0;
            none.then(|| "no event has a timestamp, and `event-times` names no path".to_owned())
        };
        unfit.or_else(unmoved).or_else(unstamped)
    }
}

impl Lens for Later {
    fn timestamp_ms(&self, timestamp_ms: i64) -> i64 {
        self.stamps.fetch_add(1, Ordering::Relaxed);
        timestamp_ms.saturating_add(self.by_us / 1_000)
    }

    fn value(&self, event: &EventView<'_>) -> Option<Vec<u8>> {
        let value = event.value?;
        match self.times.get(event.topic)?.moved(value, &self.schemas, self.by_us) {
            Moved::Nothing => None,
            Moved::Moved(count, value) => {
                if let Some(moved) = self.moved.get(event.topic) {
                    moved.fetch_add(count, Ordering::Relaxed);
                }
                Some(value)
            }
            Moved::Unfit(why) => {
                let place = format!("{}/{} offset {}", event.topic, event.partition, event.offset);
                let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
                unfit.get_or_insert(format!("{why} ({place})"));
                None
            }
        }
    }
}

/// A drive whose outputs are shifted back.
struct Back<'a> {
    outcome: &'a Outcome,
    rules: &'a ShiftRules,
    schemas: Schemas,
    unfit: &'a Mutex<Option<String>>,
}

impl Back<'_> {
    fn timestamp_ms(&self, timestamp_ms: Option<i64>) -> Option<i64> {
        timestamp_ms.map(|ms| ms.saturating_sub(self.rules.by_us / 1_000))
    }

    /// The value shifted back; none where that changes nothing. What is no JSON holds no path, and is compared as it is.
    fn value(&self, value: Option<&[u8]>) -> Option<Vec<u8>> {
        let value = value.filter(|_| !self.rules.outputs.is_empty())?;
        match self.rules.outputs.moved(value, &self.schemas, -self.rules.by_us) {
            Moved::Nothing => None,
            Moved::Moved(_, value) => Some(value),
            Moved::Unfit(why) => {
                let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
                unfit.get_or_insert(format!("{why}, in an output"));
                None
            }
        }
    }
}

impl Drive for Back<'_> {
    fn ending(&self) -> Ending {
        Drive::ending(self.outcome)
    }

    fn schemas(&self) -> &[SchemaText] {
        Drive::schemas(self.outcome)
    }

    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        Drive::each(self.outcome, ignored, &mut |row| {
            let value = self.value(row.value);
            take(&Row {
                timestamp_ms: self.timestamp_ms(row.timestamp_ms),
                value: value.as_deref().or(row.value),
                ..*row
            })
        })
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        Drive::at(self.outcome, sequences, &mut |output| {
            let value = self.value(output.value.as_deref()).or_else(|| output.value.clone());
            take(Output { timestamp_ms: self.timestamp_ms(output.timestamp_ms), value, ..output })
        })
    }

    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        Drive::receipts(self.outcome, take)
    }
}
