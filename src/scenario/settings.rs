//! The whole file: the rooms' settings under one roof.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;

use super::golden::GoldenSettings;
use crate::compare::{CompareSettings, ExpectedSettings, FigureSettings, GateSettings};
use crate::drive::{
    BuildSettings, DriveSettings, EffectSettings, LineageSettings, RegistrySettings, SinkSettings, StubSettings,
    TopicSettings,
};
use crate::mask::TimePath;
use crate::plan::{FaultSettings, FlagChangeSettings, PaceSettings, SelectSettings};
use crate::settings::{Shift, Span};

/// A scenario: which events are replayed into which two builds, what happens to them on the way, and what counts as broken.
///
/// Only `recording`, `old.command` and `new.command` are required. Paths are relative to the scenario's file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Scenario of Rehearsal")]
pub struct ScenarioSettings {
    /// Folder of the recording, relative to this file.
    pub recording: String,
    /// Seed of every draw: the same recording, scenario and seed give the same plan.
    #[serde(default)]
    pub seed: u64,
    /// Slice of the recording that is replayed; without it, all of it.
    #[serde(default)]
    pub select: SelectSettings,
    /// How fast events are handed over and how partitions interleave.
    #[serde(default)]
    pub pace: PaceSettings,
    /// What happens to events on the way, in order.
    #[serde(default)]
    pub fault: Vec<FaultSettings>,
    /// Flags of the builds that take another value on the way.
    #[serde(default)]
    pub flag_change: Vec<FlagChangeSettings>,
    /// The build in production.
    pub old: BuildSettings,
    /// The build to be released.
    pub new: BuildSettings,
    /// How builds are driven.
    #[serde(default)]
    pub drive: DriveSettings,
    /// Kafka: topics of `drive.outputs` that have more than one partition.
    #[serde(default)]
    pub topic: BTreeMap<String, TopicSettings>,
    /// Parts of the world that builds call by HTTP: a stub answers in their place, and each call is compared like an output.
    #[serde(default)]
    pub effect: Vec<EffectSettings>,
    /// The schema registry that each drive has of its own.
    #[serde(default)]
    pub registry: RegistrySettings,
    /// Bounds of such stubs.
    #[serde(default)]
    pub stubs: StubSettings,
    /// What builds leave elsewhere than on topics, looked at behind each drive.
    #[serde(default)]
    pub sink: Vec<SinkSettings>,
    /// How outputs find the events that caused them, where the builds do not say it.
    #[serde(default)]
    pub lineage: LineageSettings,
    /// What is masked of what the builds write, before it touches the disk.
    #[serde(default)]
    pub mask: MaskSettings,
    /// Which outputs stand for each other and which differences count.
    #[serde(default)]
    pub compare: CompareSettings,
    /// What the outputs of each drive come to in the words of the business, old against new.
    #[serde(default)]
    pub figure: Vec<FigureSettings>,
    /// What production wrote, for `run --against recorded`.
    #[serde(default)]
    pub golden: GoldenSettings,
    /// Differences that are intended: no failure where they take place as written, and one where they do not.
    #[serde(default)]
    pub expected: Vec<ExpectedSettings>,
    /// Rules that each build keeps against itself.
    #[serde(default)]
    pub relations: RelationSettings,
    /// Limits that the verdict rests on: a maximum unless the figure ends in `-min`.
    #[serde(default)]
    pub gates: GateSettings,
    /// Limits that only warn; the same figures as `gates`.
    #[serde(default)]
    pub warnings: GateSettings,
}

impl ScenarioSettings {
    /// What the report says of identities that would be called again, by the effect's name.
    pub(super) fn effect_words(&self) -> BTreeMap<String, String> {
        self.effect.iter().filter_map(|effect| Some((effect.name.clone(), effect.repeats.clone()?))).collect()
    }
}

/// What is masked of what the builds write: outputs by the policy's rules, standard error by what looks personal or secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MaskSettings {
    /// File of the policy, relative to this one; without it, only headers that carry credentials are redacted.
    pub policy: Option<String>,
}

/// Rules that each build keeps against itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RelationSettings {
    /// Whether each build is held against itself with and without the redelivered deliveries; by default where a fault
    /// redelivers.
    pub redelivery: Option<bool>,
    /// By how much all events take place later (`24h`), or earlier (`-24h`), in one more drive of each build, whose outputs are to be the
    /// same once their times are shifted back. Left out, nobody looks.
    pub time_shift: Option<Shift>,
    /// Length of the longest windows that builds gather events in, of which the shift has to be a multiple.
    pub windows: Option<Span>,
    /// Times in what builds write, beside the timestamps: paths, or paths with the unit of their numbers.
    pub times: Vec<TimePath>,
    /// Times in events, beside the timestamps, by topic.
    pub event_times: BTreeMap<String, Vec<TimePath>>,
}

/// Returns the JSON Schema of scenarios, from which editors complete them.
pub fn schema() -> Schema {
    schema_for!(ScenarioSettings)
}
