//! A comparison and where it comes from, joined into one [`Report`]: the same for a run and for outcomes compared again.

use std::collections::BTreeMap;

use crate::compare::{Comparison, Idempotency, Judgement, Kind, Redelivery, Side};
use crate::outcome::{EndingReport, Isolation};
use crate::plan::{FaultSummary, PlanSummary};
use crate::report::{
    BuildFacts, DriveFacts, EffectFacts, FORMAT, FaultFacts, Fidelity, RecordingFacts, RelationFacts, Report,
    ScenarioFacts,
};

/// Where a comparison comes from: all of a report that is not the comparison and its judgement.
pub(super) struct Origin {
    pub(super) scenario: ScenarioFacts,
    pub(super) seed: u64,
    pub(super) recording: RecordingFacts,
    pub(super) builds: BTreeMap<String, BuildFacts>,
    /// Drives in the order in which they are shown.
    pub(super) drives: Vec<DriveFacts>,
    pub(super) plan: PlanSummary,
    pub(super) fidelity: Fidelity,
    pub(super) faults: Vec<FaultFacts>,
    /// What was called of the world outside.
    pub(super) effects: Vec<EffectFacts>,
    /// Whether redelivery was to be looked at.
    pub(super) redelivers: bool,
    /// How far each drive was kept to itself, where that is known.
    pub(super) isolation: Option<BTreeMap<String, Isolation>>,
    /// One command that repeats it.
    pub(super) reproduce: String,
}

impl Origin {
    /// Makes the report of a comparison that comes from here.
    pub(super) fn report(self, comparison: Comparison, mut judgement: Judgement) -> Report {
        judgement.warnings.extend(comparison.idempotency.as_ref().and_then(|_| lost_connections(&self.plan)));
        Report {
            format: FORMAT.to_owned(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: judgement.verdict,
            reasons: judgement.reasons,
            scenario: self.scenario,
            seed: self.seed,
            recording: self.recording,
            builds: self.builds,
            outcome_of_old: None,
            against: None,
            drives: self.drives,
            plan: self.plan,
            fidelity: self.fidelity,
            faults: self.faults,
            effects: self.effects,
            flags: None,
            wall_clock: None,
            registry: None,
            relations: relations(&comparison, self.redelivers),
            outputs: comparison.outputs,
            causes: comparison.causes,
            identities: comparison.identities,
            differences: comparison.differences,
            noise: comparison.noise,
            first_divergence: comparison.first_divergence,
            patterns: comparison.patterns,
            power: comparison.power,
            silenced: comparison.silenced,
            convergence: comparison.convergence,
            tables: comparison.tables,
            figures: comparison.figures,
            expected: comparison.expected,
            idempotency: comparison.idempotency,
            latency: comparison.latency,
            lag: known(comparison.behind.lag),
            freshness: known(comparison.behind.freshness),
            lagging: comparison.lagging,
            measures: comparison.measures,
            series: comparison.series,
            isolation: self.isolation,
            resources: None,
            metrics: Vec::new(),
            gates: judgement.gates,
            warnings: judgement.warnings,
            reproduce: self.reproduce,
        }
    }
}

/// None where nothing is known.
fn known<T>(by_drive: BTreeMap<String, T>) -> Option<BTreeMap<String, T>> {
    Some(by_drive).filter(|by_drive| !by_drive.is_empty())
}

/// What is known of how far drives were kept to themselves, by name as a report spells it.
pub(super) fn isolation<'e>(
    endings: impl Iterator<Item = (&'e str, &'e EndingReport)>,
) -> Option<BTreeMap<String, Isolation>> {
    let known = endings.filter_map(|(drive, ending)| Some((drive.replace('-', "_"), ending.isolation.clone()?)));
    self::known(known.collect())
}

/// Faults that lose connections may make builds write, or be handed, something once more as well. They are in the drives without
/// redelivery all the same: a build that loses what it writes with its connection would else seem to do so for redelivery.
fn lost_connections(plan: &PlanSummary) -> Option<String> {
    let loses =
        |fault: &&FaultSummary| fault.at_requests.is_some() && ["disconnect", "broker-down"].contains(&&*fault.kind);
    let names: Vec<String> = plan.faults.iter().filter(loses).map(|fault| format!("`{}`", fault.name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "a fault that ends connections ({}) acts with redelivery and without it: what a build repeats because of a lost \
             connection may count among what it repeats because of redelivery; drive it without to tell them apart",
            names.join(" and ")
        )
    })
}

/// Says which relations each build keeps; `redelivers` says whether redelivery was to be looked at.
fn relations(comparison: &Comparison, redelivers: bool) -> Vec<RelationFacts> {
    let mut relations = vec![determinism(comparison)];
    match &comparison.idempotency {
        Some(found) => relations.push(redelivery(found)),
        None if redelivers => relations.push(RelationFacts {
            name: "redelivery".into(),
            result: "not judged".into(),
            note: "There are no drives without the redelivered events to hold each build against.".into(),
        }),
        None => {}
    }
    relations.extend(comparison.time_shift.as_ref().map(|found| RelationFacts {
        name: "time-shift".into(),
        result: found.result().into(),
        note: found.note(),
    }));
    relations
}

/// Whether each build does the same twice, of what it was driven twice for.
fn determinism(comparison: &Comparison) -> RelationFacts {
    let noise = |build: Side| comparison.noise.as_ref().filter(|_| comparison.noisy() == build);
    let steady = |noise: &BTreeMap<Kind, u64>| {
        let information = comparison.patterns.iter().filter(|pattern| pattern.information);
        noise.values().sum::<u64>().saturating_sub(information.map(|pattern| pattern.noise_count).sum())
    };
    let old = noise(Side::Old).map(steady);
    let new = comparison.noise_of_new.as_ref().map(|noise| noise.values().sum::<u64>());
    let new = new.or_else(|| noise(Side::New).map(steady));
    let result = match (old.map(|count| count > 0), new.map(|count| count > 0)) {
        (None, None) => "not judged",
        (Some(false), None) => "kept by old",
        (Some(true), None) => "broken by old",
        (None, Some(false)) => "kept by new",
        (Some(false), Some(false)) => "kept by both",
        (Some(true), Some(true)) => "broken by both",
        (None | Some(false), Some(true)) => "broken by new",
        (Some(true), Some(false)) => "mended by new",
    };
    let said = |build: &str, count: Option<u64>| match count {
        None if comparison.production.is_some_and(|side| build.eq_ignore_ascii_case(side.name())) => {
            "Production cannot be driven again".to_owned()
        }
        None => format!("{build} was driven once, so nobody can tell whether it does the same twice"),
        // Of n without noise, at most 3/n have some (95 %).
        Some(0) if comparison.identities > 0 => format!(
            "{build} did the same twice: noise is at most {:.2} % of {} identities (95 %)",
            (300.0 / comparison.identities as f64).min(100.0),
            comparison.identities
        ),
        Some(0) => format!("{build} wrote nothing, twice"),
        Some(1) => format!("1 difference between two drives of {}", build.to_lowercase()),
        Some(count) => format!("{count} differences between two drives of {}", build.to_lowercase()),
    };
    let note = format!("{}. {}.", said("Old", old), said("New", new));
    RelationFacts { name: "determinism".into(), result: result.into(), note }
}

/// Whether redelivery changes what each build does.
fn redelivery(found: &Idempotency) -> RelationFacts {
    let broken = |build: &Redelivery| build.repeated_effects > 0 || build.changed_finals > 0;
    let spared = |build: &Redelivery| build.redelivered + build.provoked == 0;
    let nothing_came = match (spared(&found.old), spared(&found.new)) {
        (true, true) => Some("either build"),
        (true, false) => Some("old"),
        (false, true) => Some("new"),
        (false, false) => None,
    };
    if let Some(build) = nothing_came.filter(|_| !broken(&found.old) && !broken(&found.new)) {
        return RelationFacts {
            name: "redelivery".into(),
            result: "not judged".into(),
            note: format!(
                "Cannot tell: nothing was handed over, and no answer to a write lost, that {build} could repeat."
            ),
        };
    }
    let (result, note) = match (broken(&found.old), broken(&found.new)) {
        (false, false) => {
            ("kept by both", "Neither build does anything twice when events are handed over again.".to_owned())
        }
        (true, true) => (
            "broken by both",
            format!("Both repeat {} identities, new alone {}.", found.broken_by_both, found.broken_by_new),
        ),
        (false, true) => {
            ("broken by new", format!("New repeats {} effects where old repeats none.", found.new.repeated_effects))
        }
        (true, false) => {
            ("mended by new", format!("Old repeats {} effects where new repeats none.", found.old.repeated_effects))
        }
    };
    RelationFacts { name: "redelivery".into(), result: result.into(), note }
}
