//! New against what production itself wrote: an outcome, or the output topics in the recording, stands in old's place and new is driven
//! again for the noise.
//!
//! What production wrote for events of the slice is told by time: an output ahead of the slice, or more than [`GoldenSettings::edge`]
//! behind its end, is of other events and left out. Those within that of its beginning or behind its end may be of either; so may what
//! new writes for events so close to the end of the capture that production's answer may not be there. Each of them is compared, but
//! where it stands alone it is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scenario;
use super::ScenarioError;
use super::against::{RECORDED, against};
use super::checked::Checked;
use super::facts::recording_hash;
use super::folder::RunFolder;
use super::golden_tables::{Tables, phase_of};
use super::reuse::link;
use crate::clock::Stop;
use crate::compare::{CompareError, Comparison, Production, Rules, Side};
use crate::outcome::{Ending, EndingReport, InFlight, Outcome, OutcomeWriter, Output, ProductionReport};
use crate::plan::Phase;
use crate::recording::{Columns, Recording, Role};
use crate::report::AgainstFacts;
use crate::settings::{Moment, SettingError, Span};

/// What stands for the required keys that a scenario needs no more where new is held against production.
pub(super) const FILLERS: [&str; 1] = ["old.command=['-']"];

/// How long production may take to write what an event makes it write, where the scenario says nothing.
const EDGE_MS: i64 = 60_000;

/// What new is held against in old's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// The output topics in the recording.
    Recorded,
    /// An outcome that is there already.
    Outcome(PathBuf),
}

impl Against {
    /// Reads what stands behind `--against`: `recorded`, or the folder of an outcome.
    pub fn named(text: &str) -> Self {
        if text == RECORDED { Self::Recorded } else { Self::Outcome(PathBuf::from(text)) }
    }

    /// As it is written behind `--against`.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Recorded => RECORDED.to_owned(),
            Self::Outcome(path) => path.display().to_string(),
        }
    }
}

/// `[golden]`: what production wrote, for `run --against recorded`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GoldenSettings {
    /// Topics of the recording that production's own build wrote; those captured as such where it is left out.
    pub topics: Option<Vec<String>>,
    /// How long production takes at most to write what an event makes it write; a minute where it is left out. What lies so near to
    /// the beginning or the end of the slice and stands on one side alone is no difference.
    pub edge: Option<Span>,
}

/// Finds what is wrong with holding new against production, ahead of everything.
pub(super) fn check(scenario: &Scenario, recording: &Recording) -> Result<(), SettingError> {
    if scenario.against != Some(Against::Recorded) {
        return Ok(());
    }
    let topics = topics(scenario, recording);
    let there: BTreeSet<String> = recording.partitions().into_iter().map(|partition| partition.topic).collect();
    if let Some(at) = topics.iter().position(|topic| !there.contains(topic)) {
        let named =
            if scenario.settings.golden.topics.is_some() { format!("golden.topics[{at}]") } else { "recording".into() };
        let problem = format!("there are no events of topic `{}`", topics[at]);
        let there = there.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
        return Err(SettingError::new(named, problem, format!("The recording has {there}.")));
    }
    if topics.is_empty() && Tables::of(scenario, recording).compared.is_empty() {
        let instead = "Capture what production writes beside what it reads (`capture --output-topic TOPIC`), or name its topics \
            in `[golden]`: `topics = [\"payouts\"]`.";
        return Err(SettingError::new("recording", "it holds no topic that production wrote", instead));
    }
    Ok(())
}

/// Topics of the recording that production wrote.
fn topics(scenario: &Scenario, recording: &Recording) -> Vec<String> {
    if let Some(topics) = &scenario.settings.golden.topics {
        return topics.clone();
    }
    let source = recording.manifest().source.topics.iter();
    let mut topics: Vec<String> =
        source.filter(|topic| topic.role == Role::Output).map(|topic| topic.name.clone()).collect();
    let wanted = &scenario.settings.drive.outputs;
    topics.retain(|topic| wanted.is_empty() || wanted.contains(topic));
    topics
}

/// What production wrote, as a drive of old.
pub(super) struct Golden {
    pub(super) outcome: Outcome,
    production: ProductionReport,
}

impl Golden {
    /// Puts what new is held against into `folder` as the outcome of old, which says of itself what is known of it: outcomes are compared
    /// again by that. Files of an outcome that is there already get another name.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Outcome`] where the outcome cannot be read or written, [`ScenarioError::Recording`] where the recording cannot,
    /// [`ScenarioError::Problems`] where the slice is shorter than its edges, [`ScenarioError::Folder`] where the disk refuses.
    pub(super) fn open(checked: &Checked, folder: &RunFolder, stop: &Stop) -> Result<Option<Self>, ScenarioError> {
        let to = folder.path().join("outcomes/old");
        let outcome = match &checked.scenario.against {
            None => return Ok(None),
            Some(Against::Outcome(path)) => linked(path, &to, checked)?,
            Some(Against::Recorded) => recorded(checked, &to, stop)?,
        };
        let production = outcome.ending().production.clone().unwrap_or_default();
        Ok(Some(Self { outcome, production }))
    }

    /// What new is compared with it by.
    pub(super) fn rules(&self, rules: &Rules) -> Rules {
        rules.clone().against_production(Production::of(&self.production, Side::Old))
    }

    /// Says what was compared, what was left out and what cannot be judged.
    pub(super) fn facts(&self, comparison: &Comparison) -> AgainstFacts {
        against(&self.production, Side::Old, comparison)
    }
}

/// An outcome that is there already, in a run's folder. What an earlier run knew of it holds as long as events are the same.
fn linked(from: &Path, to: &Path, checked: &Checked) -> Result<Outcome, ScenarioError> {
    let outcome = Outcome::open(from)?;
    let recording = recording_hash(&checked.recording);
    let known = outcome.ending().production.clone().filter(|known| known.recording == recording);
    link(from, to).map_err(|source| ScenarioError::Folder { path: to.to_owned(), source })?;
    let production = ProductionReport {
        source: from.display().to_string(),
        recording,
        faults: suffers(checked),
        ..known.unwrap_or_default()
    };
    Ok(Outcome::open(to)?.note_production(production)?)
}

/// Whether new is driven by a plan with faults.
fn suffers(checked: &Checked) -> bool {
    !checked.scenario.settings.fault.is_empty()
}

/// What the recording holds of production's outputs, written as an outcome.
fn recorded(checked: &Checked, to: &Path, stop: &Stop) -> Result<Outcome, ScenarioError> {
    let slice = Slice::of(checked);
    if slice.is_lost() {
        let edge = Span::from(Duration::from_millis(slice.edge_ms.unsigned_abs()));
        let problem = format!("the slice is shorter than its edges, {edge} at each end");
        let instead = "Choose a longer slice, or say how fast production is: `[golden]` `edge = \"5s\"`.";
        let error = SettingError::new("golden.edge", problem, instead);
        return Err(vec![checked.scenario.problem(&error)].into());
    }
    let mut tables = Tables::of(&checked.scenario, &checked.recording);
    let mut topics = topics(&checked.scenario, &checked.recording);
    topics.retain(|topic| !tables.has(topic));
    let mut known = ProductionReport {
        source: RECORDED.to_owned(),
        recording: recording_hash(&checked.recording),
        edge_us: Some(slice.edge_ms * 1_000),
        faults: suffers(checked),
        ..ProductionReport::default()
    };
    let (mut outputs, mut last_ms) = (0, BTreeMap::new());
    let mut writer = OutcomeWriter::create(to, &[], &[])?;
    for batch in checked.recording.batches(Columns { key: true, value: true, headers: true }) {
        if stop.raised() {
            return Err(CompareError::Stopped.into());
        }
        let batch = batch?;
        for event in batch.iter() {
            let is_row = tables.has(event.topic);
            let phase = if is_row {
                let last = last_ms.entry((event.topic.to_owned(), event.partition)).or_insert(i64::MIN);
                *last = event.timestamp_ms.map_or(*last, |time| time.max(*last));
                phase_of(&slice, event.timestamp_ms)
            } else if topics.iter().any(|topic| topic == event.topic) {
                slice.phase_of(event.timestamp_ms)
            } else {
                continue;
            };
            let Some(phase) = phase else {
                known.outside += u64::from(!is_row);
                continue;
            };
            known.at_edges += u64::from(phase == Phase::Drain && !is_row);
            let since = event.timestamp_ms.map_or(0, |ms| ms.saturating_sub(slice.from_ms));
            writer.output(&Output {
                sequence: outputs,
                arrived_us: since.saturating_mul(1_000),
                phase,
                topic: event.topic.to_owned(),
                partition: event.partition,
                timestamp_ms: event.timestamp_ms,
                key: event.key.map(<[u8]>::to_vec),
                value: event.value.map(<[u8]>::to_vec),
                headers: event.headers.to_headers(),
                ..Output::default()
            })?;
            outputs += 1;
        }
    }
    known.in_flight = Some(slice.in_flight(checked, stop)?);
    known.topics = Some(topics);
    tables.look_at_ends(checked.recording.manifest(), &slice, &last_ms);
    (known.tables, known.tables_left_out) = (tables.compared, tables.left_out);
    let report = EndingReport {
        outputs: Some(outputs.unsigned_abs()),
        production: Some(known),
        ..EndingReport::new(Ending::Finished, "what production wrote, as it was captured")
    };
    Ok(writer.finish(&report)?)
}

/// The slice of a run, in milliseconds of event time.
#[expect(clippy::struct_field_names, reason = "the unit stands last in every name that has one")]
pub(super) struct Slice {
    pub(super) from_ms: i64,
    /// None where it ends with the recording.
    pub(super) to_ms: Option<i64>,
    /// Last event time that was captured of anything.
    pub(super) end_ms: i64,
    pub(super) edge_ms: i64,
}

impl Slice {
    fn of(checked: &Checked) -> Self {
        let settings = &checked.scenario.settings;
        let from_ms = settings.select.from.map_or(checked.plan.origin(), |from| from).ms();
        let end_ms = checked.recording.manifest().span.map_or(from_ms, |span| span.last_ms);
        let edge_ms = settings.golden.edge.map_or(EDGE_MS, |edge| edge.us() / 1_000);
        Self { from_ms, to_ms: settings.select.to.map(Moment::ms).filter(|to| *to <= end_ms), end_ms, edge_ms }
    }

    /// Event time from which on events may still have been in flight when production was no longer looked at.
    fn in_flight_from_ms(&self) -> i64 {
        self.end_ms.saturating_sub(self.edge_ms).saturating_add(1)
    }

    /// Whether nothing lies between the edges.
    fn is_lost(&self) -> bool {
        let end = self.to_ms.map_or(self.in_flight_from_ms(), |to| to.min(self.in_flight_from_ms()));
        self.from_ms.saturating_add(self.edge_ms) >= end
    }

    /// The phase of what production wrote at this time: `drain` at an edge; none where it is of events outside of the slice. What has
    /// no time is compared as any other.
    pub(super) fn phase_of(&self, timestamp_ms: Option<i64>) -> Option<Phase> {
        let Some(time) = timestamp_ms else { return Some(Phase::Main) };
        let to = self.to_ms.unwrap_or(i64::MAX);
        if time < self.from_ms || time >= to.saturating_add(self.edge_ms) {
            return None;
        }
        Some(if time < self.from_ms.saturating_add(self.edge_ms) || time >= to { Phase::Drain } else { Phase::Main })
    }

    /// First offset of each input partition whose outputs may not have been there when production was no longer looked at.
    fn in_flight(&self, checked: &Checked, stop: &Stop) -> Result<Vec<InFlight>, ScenarioError> {
        let from_ms = self.in_flight_from_ms();
        let mut first = Vec::new();
        if self.to_ms.is_some_and(|to| to <= from_ms) {
            return Ok(first);
        }
        let inputs = checked.recording.partitions();
        for partition in inputs.into_iter().filter(|partition| checked.plan.topics().contains(&partition.topic)) {
            for coordinate in checked.recording.coordinates(&partition, false) {
                if stop.raised() {
                    return Err(CompareError::Stopped.into());
                }
                let coordinate = coordinate?;
                if coordinate.timestamp_ms.is_some_and(|time| time >= from_ms) {
                    let (topic, number) = (partition.topic.clone(), partition.partition);
                    first.push(InFlight { topic, partition: number, offset: coordinate.offset });
                    break;
                }
            }
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_production_wrote_belongs_where_its_time_says() {
        let slice = Slice { from_ms: 100, to_ms: Some(200), end_ms: 1_000, edge_ms: 10 };
        for (time, phase) in [
            (Some(99), None),
            (Some(100), Some(Phase::Drain)),
            (Some(109), Some(Phase::Drain)),
            (Some(110), Some(Phase::Main)),
            (Some(199), Some(Phase::Main)),
            (Some(200), Some(Phase::Drain)),
            (Some(209), Some(Phase::Drain)),
            (Some(210), None),
            (None, Some(Phase::Main)),
        ] {
            assert_eq!(slice.phase_of(time), phase, "{time:?}");
        }
        let whole = Slice { to_ms: None, end_ms: 200, ..slice };
        assert_eq!((whole.phase_of(Some(200)), whole.in_flight_from_ms()), (Some(Phase::Main), 191));
    }

    #[test]
    fn a_slice_that_is_all_edges_is_none() {
        let slice = |to_ms, end_ms, edge_ms| Slice { from_ms: 100, to_ms, end_ms, edge_ms };
        for (slice, is_lost) in [
            (slice(Some(200), 1_000, 99), false),
            (slice(Some(200), 1_000, 100), true),
            (slice(None, 199, 50), true),
            (slice(None, 200, 50), false),
            (slice(Some(195), 200, 50), false),
            (slice(None, 100, 0), false),
        ] {
            assert_eq!(slice.is_lost(), is_lost);
        }
    }
}
